//! The login phase of one connection (RFC 7143, section 6).
//!
//! ```text
//!            first request
//!          CSG=0 |     | CSG=1, only if nobody has to prove anything
//!                v     v
//!  SecurityNegotiation --> OperationalNegotiation --> admission --> FullFeature
//!                |                                       ^  |
//!                +-------- NSG=3, defaults suit us ------+  v
//!                                                        refused
//! ```
//!
//! Any rule that a request breaks ends the login with a status ([`LoginStatus`]) and the connection with it.
//! Randomness and the decision about admission (one session of an initiator port at a time, limits) come from
//! outside; nothing here knows a clock.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{
    chap::{Exchange, Proof},
    config::{self, Auth, Portal},
    keys::{Key, Phase, Rule},
    params::{Negotiation, Params, SessionType},
    pdu::{LoginRequest, LoginResponse, Stage},
    text::{self, Assembler, LOGIN_SEGMENT_LEN, MAX_SIMPLE_LEN, Outgoing, Pair, TextError, TextWriter},
};

/// Most requests of one login. A CHAP login with every exchange split in two needs fewer than 20.
const MAX_REQUESTS: u32 = 64;

/// Which stage may follow which (RFC 7143, 6.3).
const TRANSITIONS: [(Stage, Stage); 3] = [
    (Stage::SecurityNegotiation, Stage::OperationalNegotiation),
    (Stage::SecurityNegotiation, Stage::FullFeature),
    (Stage::OperationalNegotiation, Stage::FullFeature),
];

/// Status class and detail of a login response (RFC 7143, 11.13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginStatus {
    /// 0000
    Success,
    /// 0200: a key, a stage or a sequence that the rules do not allow.
    InitiatorError,
    /// 0201
    AuthenticationFailure,
    /// 0202: this initiator may not use this target.
    AuthorizationFailure,
    /// 0203
    TargetNotFound,
    /// 0204: the target was here a moment ago.
    TargetRemoved,
    /// 0205
    UnsupportedVersion,
    /// 0206: the session has all the connections it may have.
    TooManyConnections,
    /// 0207: InitiatorName, or TargetName of a normal session.
    MissingParameter,
    /// 0208
    CannotIncludeInSession,
    /// 0209
    SessionTypeNotSupported,
    /// 020A: there is no session of that TSIH.
    SessionDoesNotExist,
    /// 020B: a PDU that is not a Login Request.
    InvalidDuringLogin,
    /// 0300
    TargetError,
    /// 0301: not now.
    ServiceUnavailable,
    /// 0302
    OutOfResources,
}

impl LoginStatus {
    /// (class, detail): the only place these numbers stand.
    #[must_use]
    pub const fn code(self) -> (u8, u8) {
        match self {
            Self::Success => (0x00, 0x00),
            Self::InitiatorError => (0x02, 0x00),
            Self::AuthenticationFailure => (0x02, 0x01),
            Self::AuthorizationFailure => (0x02, 0x02),
            Self::TargetNotFound => (0x02, 0x03),
            Self::TargetRemoved => (0x02, 0x04),
            Self::UnsupportedVersion => (0x02, 0x05),
            Self::TooManyConnections => (0x02, 0x06),
            Self::MissingParameter => (0x02, 0x07),
            Self::CannotIncludeInSession => (0x02, 0x08),
            Self::SessionTypeNotSupported => (0x02, 0x09),
            Self::SessionDoesNotExist => (0x02, 0x0a),
            Self::InvalidDuringLogin => (0x02, 0x0b),
            Self::TargetError => (0x03, 0x00),
            Self::ServiceUnavailable => (0x03, 0x01),
            Self::OutOfResources => (0x03, 0x02),
        }
    }
}

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// SendTargets only.
    Discovery,
    /// SCSI with one target.
    Normal {
        /// The target's name as the configuration writes it.
        target: String,
    },
}

/// A login that is right in itself and asks for a place among the sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmitRequest {
    /// The initiator's name in its one writing.
    pub initiator: String,
    /// Initiator's part of the session id.
    pub isid: [u8; 6],
    /// 0: a new session, which displaces an old one of the same initiator, ISID and target. Otherwise one more
    /// connection for the session of this handle: refuse with [`LoginStatus::TooManyConnections`] if there is such
    /// a session of this initiator, with [`LoginStatus::SessionDoesNotExist`] if not, or let the connection take
    /// the place of the old one (same `cid`) by accepting with the same handle.
    pub tsih_asked: u16,
    /// Connection id.
    pub cid: u16,
    /// What the session is for.
    pub kind: SessionKind,
}

/// The answer to an [`AdmitRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Come in.
    Accept {
        /// The session's handle, not 0.
        tsih: u16,
    },
    /// Stay out.
    Refuse(LoginStatus),
}

/// A login response: its header without the sequence numbers, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The header.
    pub header: LoginResponse,
    /// The data segment.
    pub data: Vec<u8>,
}

/// The result of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The initiator's name in its one writing.
    pub initiator: String,
    /// What the initiator calls itself for people.
    pub initiator_alias: Option<String>,
    /// Initiator's part of the session id.
    pub isid: [u8; 6],
    /// Target's part of the session id.
    pub tsih: u16,
    /// Connection id.
    pub cid: u16,
    /// What the session is for.
    pub kind: SessionKind,
    /// Whether the initiator has proved itself by CHAP.
    pub authenticated: bool,
    /// What was agreed on.
    pub params: Params,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// Send this and wait for the next request.
    Respond(Reply),
    /// Ask the driver, then call [`Login::admit`].
    Admit(AdmitRequest),
    /// Send this; what follows is full feature phase under these parameters.
    Done(Reply, LoggedIn),
    /// Send this and close.
    Close(Reply),
}

/// What the first request fixes for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    isid: [u8; 6],
    tsih: u16,
    cid: u16,
    task_tag: u32,
}

/// The names as they came, to be compared with repetitions, and what they mean.
#[derive(Debug)]
struct Names {
    told: Vec<(String, String)>,
    initiator: String,
    kind: SessionKind,
}

/// Where the proof of identity stands.
#[derive(Debug)]
enum Security {
    NotBegun,
    Chap(Exchange),
    /// AuthMethod=None.
    NotAsked,
    Proved,
}

/// What happens when the answer is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Go(Stage),
}

/// An answer on its way out.
#[derive(Debug)]
struct Pending {
    text: Outgoing,
    then: Then,
}

/// One login.
#[derive(Debug)]
pub struct Login {
    portal: Arc<Portal>,
    stage: Stage,
    ids: Option<Ids>,
    names: Option<Names>,
    security: Security,
    negotiation: Option<Negotiation>,
    incoming: Assembler,
    outgoing: Option<Pending>,
    /// The final answer while the driver decides about admission.
    last_reply: Option<Reply>,
    requests: u32,
    over: bool,
}

impl Login {
    /// Waits for the first request.
    #[must_use]
    pub fn new(portal: Arc<Portal>) -> Self {
        let max_text = usize::try_from(portal.limits.max_text_bytes).unwrap_or(usize::MAX);
        Self {
            portal,
            stage: Stage::SecurityNegotiation,
            ids: None,
            names: None,
            security: Security::NotBegun,
            negotiation: None,
            incoming: Assembler::new(max_text.max(LOGIN_SEGMENT_LEN)),
            outgoing: None,
            last_reply: None,
            requests: 0,
            over: false,
        }
    }

    /// Takes one request. `random` fills bytes that nobody can guess.
    pub fn handle(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> LoginStep {
        let step = self.step(request, data, random);
        step.unwrap_or_else(|status| self.refuse(request, status))
    }

    /// Takes the driver's decision about [`LoginStep::Admit`].
    pub fn admit(&mut self, admission: Admission) -> LoginStep {
        let (Some(mut reply), Some(ids), Some(names)) = (self.last_reply.take(), self.ids, self.names.take())
        else {
            return LoginStep::Close(self.dead_end());
        };
        self.over = true;
        match accepted(ids.tsih, admission) {
            Ok(tsih) => {
                reply.header.tsih = tsih;
                LoginStep::Done(reply, self.logged_in(Ids { tsih, ..ids }, names))
            }
            Err(status) => LoginStep::Close(refusal(reply.header, status)),
        }
    }

    /// The answer to a PDU that is not a Login Request. It closes the connection.
    pub fn refuse_other(&mut self, task_tag: u32) -> LoginStep {
        self.over = true;
        let (isid, tsih) = self.ids.map_or(([0; 6], 0), |ids| (ids.isid, ids.tsih));
        let header = LoginResponse { isid, tsih, task_tag, ..blank(self.stage.code()) };
        LoginStep::Close(refusal(header, LoginStatus::InvalidDuringLogin))
    }

    /// The initiator's name, once it is known.
    #[must_use]
    pub fn initiator(&self) -> Option<&str> {
        self.names.as_ref().map(|names| names.initiator.as_str())
    }

    fn step(
        &mut self,
        request: &LoginRequest,
        data: &[u8],
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Result<LoginStep, LoginStatus> {
        let wish = self.check_header(request)?;
        if self.outgoing.is_some() {
            return self.continue_answer(request, data);
        }
        let Some(text) = self.incoming.push(data, request.continues).map_err(status_of)? else {
            return Ok(LoginStep::Respond(respond(request, Vec::new())));
        };
        let pairs = text::pairs(&text).map_err(status_of)?;
        refuse_repetition(&pairs)?;
        let mut answers = TextWriter::new();
        self.identify(&pairs, &mut answers)?;
        let then = match self.stage {
            Stage::SecurityNegotiation => self.security(&pairs, wish, random, &mut answers)?,
            _ => self.operational(&pairs, wish, &mut answers)?,
        };
        self.outgoing = Some(Pending { text: Outgoing::new(answers.into_bytes()), then });
        self.next_answer(request)
    }

    /// Everything that the header alone says; the stage that the initiator wants to go to.
    fn check_header(&mut self, request: &LoginRequest) -> Result<Option<Stage>, LoginStatus> {
        self.requests += 1;
        if self.over || self.last_reply.is_some() || self.requests > MAX_REQUESTS {
            return Err(LoginStatus::InitiatorError);
        }
        if request.version_min > 0 {
            return Err(LoginStatus::UnsupportedVersion);
        }
        let stage = Stage::from_code(request.current_stage).filter(|stage| *stage != Stage::FullFeature);
        let stage = stage.ok_or(LoginStatus::InitiatorError)?;
        if self.ids.is_none() {
            self.stage = stage;
        }
        if *self.ids.get_or_insert(Ids::of(request)) != Ids::of(request) {
            return Err(LoginStatus::InitiatorError);
        }
        if stage != self.stage || request.transit && request.continues {
            return Err(LoginStatus::InitiatorError);
        }
        if !request.transit {
            return Ok(None);
        }
        let next = Stage::from_code(request.next_stage).filter(|next| TRANSITIONS.contains(&(stage, *next)));
        next.map(Some).ok_or(LoginStatus::InitiatorError)
    }

    /// An empty request fetches the next piece of a long answer (RFC 7143, 6.2).
    fn continue_answer(&mut self, request: &LoginRequest, data: &[u8]) -> Result<LoginStep, LoginStatus> {
        if request.continues || !data.is_empty() {
            return Err(LoginStatus::InitiatorError);
        }
        self.next_answer(request)
    }

    fn next_answer(&mut self, request: &LoginRequest) -> Result<LoginStep, LoginStatus> {
        let pending = self.outgoing.as_mut().ok_or(LoginStatus::TargetError)?;
        let piece = pending.text.next(LOGIN_SEGMENT_LEN);
        let mut reply = respond(request, piece.data);
        if piece.continues {
            reply.header.continues = true;
            return Ok(LoginStep::Respond(reply));
        }
        let then = pending.then;
        self.outgoing = None;
        let Then::Go(next) = then else { return Ok(LoginStep::Respond(reply)) };
        reply.header.transit = true;
        reply.header.next_stage = next.code();
        self.stage = next;
        if next != Stage::FullFeature {
            return Ok(LoginStep::Respond(reply));
        }
        self.last_reply = Some(reply);
        self.admit_request().map(LoginStep::Admit).ok_or(LoginStatus::TargetError)
    }

    /// The names: fixed by the first text, and only repeated in later ones.
    fn identify(&mut self, pairs: &[Pair<'_>], answers: &mut TextWriter) -> Result<(), LoginStatus> {
        if let Some(names) = &self.names {
            return names.only_repeated(pairs);
        }
        let names = Names::read(&self.portal, pairs)?;
        if let SessionKind::Normal { target } = &names.kind {
            let target = self.portal.target(target).ok_or(LoginStatus::TargetNotFound)?;
            if let Some(alias) = &target.alias {
                answers.push("TargetAlias", alias);
            }
            answers.push("TargetPortalGroupTag", target.portal_group_tag);
        }
        self.names = Some(names);
        if self.stage != Stage::SecurityNegotiation && self.auth()?.chap.is_some() {
            return Err(LoginStatus::AuthenticationFailure);
        }
        Ok(())
    }

    /// What this login has to prove.
    fn auth(&self) -> Result<&Auth, LoginStatus> {
        match &self.names.as_ref().ok_or(LoginStatus::TargetError)?.kind {
            SessionKind::Discovery => Ok(&self.portal.discovery_auth),
            SessionKind::Normal { target } => {
                self.portal.target(target).map(|t| &t.auth).ok_or(LoginStatus::TargetNotFound)
            }
        }
    }

    fn security(
        &mut self,
        pairs: &[Pair<'_>],
        wish: Option<Stage>,
        random: &mut dyn FnMut(&mut [u8]),
        answers: &mut TextWriter,
    ) -> Result<Then, LoginStatus> {
        refuse_foreign_keys(pairs, Phase::Security)?;
        let unknown = pairs.iter().filter(|pair| Key::find(pair.key).is_none());
        unknown.for_each(|pair| answers.push(pair.key, "NotUnderstood"));
        let offered = value(pairs, "AuthMethod");
        let proofs = pairs.iter().any(|pair| pair.key.starts_with("CHAP_") && Key::find(pair.key).is_some());
        match (offered, proofs) {
            (Some(methods), false) => self.choose_method(methods, answers)?,
            (None, true) => self.chap(pairs, random, answers)?,
            (None, false) => {}
            (Some(_), true) => return Err(LoginStatus::InitiatorError),
        }
        let Some(next) = wish else { return Ok(Then::Stay) };
        match &self.security {
            Security::Chap(_) => Ok(Then::Stay),
            // Whoever leaves the stage without a word has offered nothing that could prove anything.
            Security::NotBegun if self.auth()?.chap.is_some() => Err(LoginStatus::AuthenticationFailure),
            _ if next == Stage::FullFeature => self.skip_operational(),
            _ => Ok(Then::Go(next)),
        }
    }

    fn choose_method(&mut self, methods: &str, answers: &mut TextWriter) -> Result<(), LoginStatus> {
        if !matches!(self.security, Security::NotBegun) {
            return Err(LoginStatus::InitiatorError);
        }
        let asked = self.auth()?.chap.is_some();
        let (method, next) =
            if asked { ("CHAP", Security::Chap(Exchange::Offered)) } else { ("None", Security::NotAsked) };
        if !methods.split(',').any(|offered| offered == method) {
            return Err(LoginStatus::AuthenticationFailure);
        }
        answers.push("AuthMethod", method);
        self.security = next;
        Ok(())
    }

    fn chap(
        &mut self,
        pairs: &[Pair<'_>],
        random: &mut dyn FnMut(&mut [u8]),
        answers: &mut TextWriter,
    ) -> Result<(), LoginStatus> {
        let auth = self.auth()?.clone();
        let Security::Chap(exchange) = &mut self.security else {
            return Err(LoginStatus::AuthenticationFailure);
        };
        let [algorithms, id, challenge, name, response] =
            ["CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"].map(|key| value(pairs, key));
        let asks_back = id.zip(challenge);
        let half = asks_back.is_none() && (id.is_some() || challenge.is_some());
        let result = match (algorithms, name, response) {
            (Some(list), None, None) if asks_back.is_none() && !half => {
                exchange.challenge(list, random, answers)
            }
            (None, Some(name), Some(response)) if !half => {
                let result = exchange.verify(&auth, Proof { name, response, asks_back }, answers);
                result.map(|()| self.security = Security::Proved)
            }
            _ => return Err(LoginStatus::AuthenticationFailure),
        };
        result.map_err(|_| LoginStatus::AuthenticationFailure)
    }

    /// From security straight to full feature phase: all defaults hold, so they must suit us.
    fn skip_operational(&mut self) -> Result<Then, LoginStatus> {
        if self.negotiation()?.offers(&mut TextWriter::new()) {
            return Err(LoginStatus::InitiatorError);
        }
        Ok(Then::Go(Stage::FullFeature))
    }

    fn operational(
        &mut self,
        pairs: &[Pair<'_>],
        wish: Option<Stage>,
        answers: &mut TextWriter,
    ) -> Result<Then, LoginStatus> {
        refuse_security_keys(pairs)?;
        let negotiation = self.negotiation()?;
        let operational: Vec<Pair<'_>> =
            pairs.iter().copied().filter(|pair| phase(pair) != Some(Phase::AnyStage)).collect();
        negotiation.receive(&operational, answers).map_err(|_| LoginStatus::InitiatorError)?;
        negotiation.declare(answers);
        let Some(next) = wish else { return Ok(Then::Stay) };
        if negotiation.waits() {
            return Err(LoginStatus::InitiatorError);
        }
        Ok(if negotiation.offers(answers) { Then::Stay } else { Then::Go(next) })
    }

    fn negotiation(&mut self) -> Result<&mut Negotiation, LoginStatus> {
        let kind = &self.names.as_ref().ok_or(LoginStatus::TargetError)?.kind;
        let session = match kind {
            SessionKind::Discovery => SessionType::Discovery,
            SessionKind::Normal { .. } => SessionType::Normal,
        };
        Ok(self.negotiation.get_or_insert_with(|| Negotiation::new(session, self.portal.limits)))
    }

    fn admit_request(&self) -> Option<AdmitRequest> {
        let (Ids { isid, tsih, cid, .. }, names) = (self.ids?, self.names.as_ref()?);
        let (initiator, kind) = (names.initiator.clone(), names.kind.clone());
        Some(AdmitRequest { initiator, isid, tsih_asked: tsih, cid, kind })
    }

    fn logged_in(&self, ids: Ids, names: Names) -> LoggedIn {
        let Ids { isid, tsih, cid, .. } = ids;
        LoggedIn {
            initiator_alias: names.told("InitiatorAlias").filter(|a| is_printable(a)).map(String::from),
            initiator: names.initiator,
            isid,
            tsih,
            cid,
            kind: names.kind,
            authenticated: matches!(self.security, Security::Proved),
            params: self.negotiation.as_ref().map(Negotiation::params).unwrap_or_default(),
        }
    }

    fn refuse(&mut self, request: &LoginRequest, status: LoginStatus) -> LoginStep {
        self.over = true;
        self.outgoing = None;
        self.incoming.clear();
        LoginStep::Close(refusal(respond(request, Vec::new()).header, status))
    }

    /// `admit` was called with nothing to admit: the driver's fault, answered in the peer's favour of nothing.
    fn dead_end(&mut self) -> Reply {
        self.over = true;
        refusal(blank(self.stage.code()), LoginStatus::TargetError)
    }
}

impl Ids {
    const fn of(request: &LoginRequest) -> Self {
        let LoginRequest { isid, tsih, cid, task_tag, .. } = *request;
        Self { isid, tsih, cid, task_tag }
    }
}

impl Names {
    fn read(portal: &Portal, pairs: &[Pair<'_>]) -> Result<Self, LoginStatus> {
        let initiator = value(pairs, "InitiatorName").ok_or(LoginStatus::MissingParameter)?;
        let initiator = config::normalised(initiator).ok_or(LoginStatus::InitiatorError)?;
        let kind = match value(pairs, "SessionType") {
            Some("Discovery") => SessionKind::Discovery,
            Some("Normal") | None => Self::find_target(portal, &initiator, pairs)?,
            Some(_) => return Err(LoginStatus::SessionTypeNotSupported),
        };
        let named: Vec<&Pair<'_>> =
            pairs.iter().filter(|pair| phase(pair) == Some(Phase::AnyStage)).collect();
        if named.iter().any(|pair| pair.value.len() > MAX_SIMPLE_LEN) {
            return Err(LoginStatus::InitiatorError);
        }
        let told = named.iter().map(|pair| (pair.key.into(), pair.value.into())).collect();
        Ok(Self { told, initiator, kind })
    }

    fn find_target(portal: &Portal, initiator: &str, pairs: &[Pair<'_>]) -> Result<SessionKind, LoginStatus> {
        let name = value(pairs, "TargetName").ok_or(LoginStatus::MissingParameter)?;
        let target = portal.target(name).ok_or(LoginStatus::TargetNotFound)?;
        if !target.admits(initiator) {
            return Err(LoginStatus::AuthorizationFailure);
        }
        Ok(SessionKind::Normal { target: target.name.clone() })
    }

    fn told(&self, key: &str) -> Option<&str> {
        self.told.iter().find(|(told, _)| told == key).map(|(_, value)| value.as_str())
    }

    /// libiscsi tells the names again in the operational stage; anything but the same again is an error.
    fn only_repeated(&self, pairs: &[Pair<'_>]) -> Result<(), LoginStatus> {
        let mut named = pairs.iter().filter(|pair| phase(pair) == Some(Phase::AnyStage));
        let repeated = named.all(|pair| match pair.key {
            "InitiatorAlias" => self.told(pair.key).is_none_or(|told| told == pair.value),
            "SessionType" => self.told(pair.key).unwrap_or("Normal") == pair.value,
            key => self.told(key) == Some(pair.value),
        });
        if repeated { Ok(()) } else { Err(LoginStatus::InitiatorError) }
    }
}

/// A name for people that neither a terminal nor a log takes for something else.
fn is_printable(alias: &str) -> bool {
    !alias.is_empty() && !alias.chars().any(char::is_control)
}

/// The driver's handle, if it is one that this login can have.
fn accepted(asked: u16, admission: Admission) -> Result<u16, LoginStatus> {
    match admission {
        Admission::Refuse(status) => Err(status),
        Admission::Accept { tsih: 0 } => Err(LoginStatus::TargetError),
        Admission::Accept { tsih } if asked != 0 && asked != tsih => Err(LoginStatus::SessionDoesNotExist),
        Admission::Accept { tsih } => Ok(tsih),
    }
}

fn status_of(error: TextError) -> LoginStatus {
    match error {
        TextError::Syntax => LoginStatus::InitiatorError,
        TextError::TooLong => LoginStatus::OutOfResources,
    }
}

fn value<'a>(pairs: &[Pair<'a>], key: &str) -> Option<&'a str> {
    pairs.iter().find(|pair| pair.key == key).map(|pair| pair.value)
}

fn phase(pair: &Pair<'_>) -> Option<Phase> {
    Key::find(pair.key).map(|row| row.phase)
}

/// No key twice in one text, known or not, and none that only a target sends.
fn refuse_repetition(pairs: &[Pair<'_>]) -> Result<(), LoginStatus> {
    let twice = pairs.iter().zip(0..).any(|(p, i)| pairs.iter().take(i).any(|earlier| earlier.key == p.key));
    let ours = pairs.iter().any(|p| Key::find(p.key).is_some_and(|row| matches!(row.rule, Rule::Ours)));
    if twice || ours { Err(LoginStatus::InitiatorError) } else { Ok(()) }
}

/// In the security stage only its own keys and the names may be sent (RFC 7143, 6.3.2).
fn refuse_foreign_keys(pairs: &[Pair<'_>], stage: Phase) -> Result<(), LoginStatus> {
    let foreign = |p: &Pair<'_>| phase(p).is_some_and(|phase| phase != stage && phase != Phase::AnyStage);
    if pairs.iter().any(foreign) { Err(LoginStatus::InitiatorError) } else { Ok(()) }
}

fn refuse_security_keys(pairs: &[Pair<'_>]) -> Result<(), LoginStatus> {
    let misplaced = pairs.iter().any(|pair| phase(pair) == Some(Phase::Security));
    if misplaced { Err(LoginStatus::InitiatorError) } else { Ok(()) }
}

/// A response that stays in the request's stage.
fn respond(request: &LoginRequest, data: Vec<u8>) -> Reply {
    let header = LoginResponse {
        isid: request.isid,
        tsih: request.tsih,
        task_tag: request.task_tag,
        ..blank(request.current_stage)
    };
    Reply { header, data }
}

fn refusal(header: LoginResponse, status: LoginStatus) -> Reply {
    let (status_class, status_detail) = status.code();
    let header = LoginResponse {
        transit: false,
        continues: false,
        next_stage: 0,
        status_class,
        status_detail,
        ..header
    };
    Reply { header, data: Vec::new() }
}

const fn blank(current_stage: u8) -> LoginResponse {
    LoginResponse {
        transit: false,
        continues: false,
        current_stage,
        next_stage: 0,
        isid: [0; 6],
        tsih: 0,
        task_tag: 0,
        status_class: 0,
        status_detail: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;
    use crate::config::{ChapIn, ChapOut, DigestOffer, TargetConfig};
    use crate::params::Digest;
    use crate::secret::Secret;

    const INITIATOR: &str = "iqn.1993-08.org.debian:01:3bf2a2b5c1a";
    const TARGET: &str = "iqn.2026-11.internal.vtl:lib0";

    fn target(name: &str) -> TargetConfig {
        TargetConfig {
            name: name.into(),
            alias: None,
            portal_group_tag: 1,
            auth: Auth::default(),
            initiators: None,
            portals: Vec::new(),
        }
    }

    fn portal() -> Portal {
        Portal { targets: vec![target(TARGET)], ..Portal::default() }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    fn chap_in(user: &str, password: &str) -> Option<ChapIn> {
        Some(ChapIn { user: user.into(), secret: secret(password) })
    }

    fn chap_out(user: &str, password: &str) -> Option<ChapOut> {
        Some(ChapOut { user: user.into(), secret: secret(password) })
    }

    /// Flags of a request: T, CSG, NSG as the wire has them.
    const STAY_0: u8 = 0x00;
    const STAY_1: u8 = 0x04;
    const FROM_0_TO_1: u8 = 0x81;
    const FROM_0_TO_3: u8 = 0x83;
    const FROM_1_TO_3: u8 = 0x87;
    const MORE_0: u8 = 0x40;
    const MORE_1: u8 = 0x44;

    fn request(flags: u8) -> LoginRequest {
        LoginRequest {
            immediate: true,
            transit: flags & 0x80 != 0,
            continues: flags & 0x40 != 0,
            current_stage: flags >> 2 & 3,
            next_stage: flags & 3,
            version_max: 0,
            version_min: 0,
            isid: [0x00, 0x02, 0x3d, 0x00, 0x00, 0x01],
            tsih: 0,
            task_tag: 0x7788,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        }
    }

    fn text(lines: &[&str]) -> Vec<u8> {
        lines.iter().flat_map(|line| [line.as_bytes(), b"\0"].concat()).collect()
    }

    fn lines(data: &[u8]) -> Vec<String> {
        text::pairs(data).unwrap().iter().map(|p| format!("{}={}", p.key, p.value)).collect()
    }

    fn flags(header: &LoginResponse) -> u8 {
        u8::from(header.transit) << 7
            | u8::from(header.continues) << 6
            | header.current_stage << 2
            | header.next_stage
    }

    /// An initiator with a script.
    struct Peer {
        login: Login,
        tsih: u16,
    }

    impl Peer {
        fn new(portal: Portal) -> Self {
            Self { login: Login::new(Arc::new(portal)), tsih: 0 }
        }

        fn step(&mut self, flags: u8, lines: &[&str]) -> LoginStep {
            self.send(&LoginRequest { tsih: self.tsih, ..request(flags) }, &text(lines))
        }

        /// "Random" bytes count up from 10h.
        fn send(&mut self, request: &LoginRequest, data: &[u8]) -> LoginStep {
            let mut random = |bytes: &mut [u8]| bytes.iter_mut().zip(0x10..).for_each(|(b, n)| *b = n);
            self.login.handle(request, data, &mut random)
        }

        #[track_caller]
        fn expect(&mut self, ask_flags: u8, ask: &[&str], answer_flags: u8, answer: &[&str]) -> &mut Self {
            match self.step(ask_flags, ask) {
                LoginStep::Respond(reply) => {
                    assert_eq!(reply.header.status_class, 0);
                    assert_eq!(lines(&reply.data), answer);
                    assert_eq!(flags(&reply.header), answer_flags);
                }
                other => panic!("{other:?}"),
            }
            self
        }

        #[track_caller]
        fn finish(&mut self, ask_flags: u8, ask: &[&str], answer: &[&str]) -> LoggedIn {
            let LoginStep::Admit(request) = self.step(ask_flags, ask) else { panic!("not admitted") };
            assert_eq!(request.initiator, INITIATOR);
            match self.login.admit(Admission::Accept { tsih: 0x1234 }) {
                LoginStep::Done(reply, session) => {
                    assert_eq!(lines(&reply.data), answer);
                    assert_eq!(flags(&reply.header), ask_flags);
                    assert_eq!((reply.header.tsih, session.tsih), (0x1234, 0x1234));
                    session
                }
                other => panic!("{other:?}"),
            }
        }

        #[track_caller]
        fn refused(&mut self, ask_flags: u8, ask: &[&str], class: u8, detail: u8) {
            assert_closed(self.step(ask_flags, ask), class, detail);
        }
    }

    #[track_caller]
    fn assert_closed(step: LoginStep, class: u8, detail: u8) {
        let LoginStep::Close(reply) = step else { panic!("not refused: {step:?}") };
        assert_eq!((reply.header.status_class, reply.header.status_detail), (class, detail));
        assert!(!reply.header.transit && !reply.header.continues && reply.data.is_empty());
    }

    fn named(more: &[&'static str]) -> Vec<&'static str> {
        let names = [
            "InitiatorName=iqn.1993-08.org.debian:01:3bf2a2b5c1a",
            "TargetName=iqn.2026-11.internal.vtl:lib0",
            "SessionType=Normal",
        ];
        names.iter().chain(more).copied().collect()
    }

    /// The operational keys of open-iscsi's initiator with its default configuration, in its order.
    const OPEN_ISCSI: [&str; 15] = [
        "HeaderDigest=None",
        "DataDigest=None",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=0",
        "IFMarker=No",
        "OFMarker=No",
        "ErrorRecoveryLevel=0",
        "InitialR2T=No",
        "ImmediateData=Yes",
        "MaxBurstLength=16776192",
        "FirstBurstLength=262144",
        "MaxOutstandingR2T=1",
        "MaxConnections=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
    ];

    #[test]
    fn open_iscsi_logs_in_without_chap() {
        let mut peer = Peer::new(portal());
        let first = [
            "InitiatorName=iqn.1993-08.org.debian:01:3bf2a2b5c1a",
            "InitiatorAlias=backup",
            "TargetName=iqn.2026-11.internal.vtl:lib0",
            "SessionType=Normal",
            "AuthMethod=None",
        ];
        peer.expect(FROM_0_TO_1, &first, 0x81, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
        let mut second = OPEN_ISCSI.to_vec();
        second.push("MaxRecvDataSegmentLength=262144");
        let session = peer.finish(
            FROM_1_TO_3,
            &second,
            &[
                "HeaderDigest=None",
                "DataDigest=None",
                "MaxConnections=1",
                "InitialR2T=No",
                "ImmediateData=Yes",
                "MaxBurstLength=1048576",
                "FirstBurstLength=262144",
                "DefaultTime2Wait=2",
                "DefaultTime2Retain=0",
                "MaxOutstandingR2T=1",
                "DataPDUInOrder=Yes",
                "DataSequenceInOrder=Yes",
                "ErrorRecoveryLevel=0",
                "IFMarker=Reject",
                "OFMarker=Reject",
                "MaxRecvDataSegmentLength=262144",
            ],
        );
        assert_eq!(session.kind, SessionKind::Normal { target: TARGET.into() });
        assert_eq!(session.initiator_alias.as_deref(), Some("backup"));
        assert!(!session.authenticated);
        let params = session.params;
        assert_eq!((params.header_digest, params.data_digest), (Digest::None, Digest::None));
        assert_eq!((params.max_burst_length, params.first_burst_length), (1_048_576, 262_144));
        assert_eq!((params.max_recv_ours, params.max_recv_theirs), (262_144, 262_144));
        assert!(!params.initial_r2t && params.immediate_data);
    }

    #[test]
    fn open_iscsi_asks_for_the_targets() {
        let mut peer = Peer::new(portal());
        let first = [
            "InitiatorName=iqn.1993-08.org.debian:01:3bf2a2b5c1a",
            "InitiatorAlias=backup",
            "SessionType=Discovery",
            "AuthMethod=None",
        ];
        peer.expect(FROM_0_TO_1, &first, 0x81, &["AuthMethod=None"]);
        let second = [
            "HeaderDigest=None",
            "DataDigest=None",
            "DefaultTime2Wait=2",
            "DefaultTime2Retain=0",
            "IFMarker=No",
            "OFMarker=No",
            "ErrorRecoveryLevel=0",
            "MaxRecvDataSegmentLength=32768",
        ];
        let answer = [
            "HeaderDigest=None",
            "DataDigest=None",
            "DefaultTime2Wait=2",
            "DefaultTime2Retain=0",
            "ErrorRecoveryLevel=0",
            "IFMarker=Reject",
            "OFMarker=Reject",
            "MaxRecvDataSegmentLength=262144",
        ];
        let session = peer.finish(FROM_1_TO_3, &second, &answer);
        assert_eq!(session.kind, SessionKind::Discovery);
        assert_eq!(session.params.max_recv_theirs, 32768);
    }

    /// libiscsi names its keys in another order, and repeats the names in the operational stage.
    const LIBISCSI: [&str; 16] = [
        "HeaderDigest=None,CRC32C",
        "DataDigest=None",
        "InitialR2T=Yes",
        "ImmediateData=Yes",
        "MaxBurstLength=262144",
        "FirstBurstLength=262144",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=0",
        "MaxOutstandingR2T=1",
        "ErrorRecoveryLevel=0",
        "IFMarker=No",
        "OFMarker=No",
        "MaxConnections=1",
        "MaxRecvDataSegmentLength=262144",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
    ];

    const LIBISCSI_ANSWER: [&str; 16] = [
        "HeaderDigest=None",
        "DataDigest=None",
        "MaxConnections=1",
        "InitialR2T=Yes",
        "ImmediateData=Yes",
        "MaxBurstLength=262144",
        "FirstBurstLength=262144",
        "DefaultTime2Wait=2",
        "DefaultTime2Retain=0",
        "MaxOutstandingR2T=1",
        "DataPDUInOrder=Yes",
        "DataSequenceInOrder=Yes",
        "ErrorRecoveryLevel=0",
        "IFMarker=Reject",
        "OFMarker=Reject",
        "MaxRecvDataSegmentLength=262144",
    ];

    const PASSWORD: &str = "correct horse battery";
    const MUTUAL: &str = "mutual secret 99";

    fn chap_portal(mutual: bool) -> Portal {
        let mut portal = portal();
        portal.targets[0].auth = chap_auth(mutual);
        portal
    }

    fn chap_auth(mutual: bool) -> Auth {
        let mutual = if mutual { chap_out("library", MUTUAL) } else { None };
        Auth { chap: chap_in("host", PASSWORD), mutual }
    }

    /// Python's `hashlib` on identifier 10h, the password and the challenge of 10h to 2Fh.
    const MD5: &str = "CHAP_R=0xde9493d4980412bfab512bf1a55ece2c";
    const SHA1: &str = "CHAP_R=0xca04f0d26179ea16dd9547f5e30d8d20e2add711";
    const SHA256: &str = "CHAP_R=0x51673d9c6a83ce5a7bbe402d2dded1ca9af571b588d7f13f94973294cd62c2a9";
    const SHA3: &str = "CHAP_R=0xc7b2086253d2acffd9ea6a0274e248442017e8572243aae7a2db0ffc88fcf9ef";
    const CHALLENGE: &str = "CHAP_C=0x101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f";

    /// Up to the challenge, as open-iscsi does it.
    fn challenged(portal: Portal, algorithms: &str, chosen: &str) -> Peer {
        let mut peer = Peer::new(portal);
        peer.expect(
            STAY_0,
            &named(&["AuthMethod=CHAP,None"]),
            0x00,
            &["TargetPortalGroupTag=1", "AuthMethod=CHAP"],
        );
        peer.expect(STAY_0, &[algorithms], 0x00, &[chosen, "CHAP_I=16", CHALLENGE]);
        peer
    }

    #[test]
    fn libiscsi_logs_in_without_chap() {
        let mut peer = Peer::new(portal());
        let session = peer.finish(
            FROM_1_TO_3,
            &named(&LIBISCSI),
            &[&["TargetPortalGroupTag=1"], &LIBISCSI_ANSWER[..]].concat(),
        );
        assert!(session.params.initial_r2t);
        assert_eq!(session.params.first_burst_length, 262_144);
    }

    #[test]
    fn libiscsi_logs_in_with_chap_and_repeats_the_names() {
        let mut peer = Peer::new(chap_portal(false));
        let method = named(&["AuthMethod=CHAP,None"]);
        peer.expect(FROM_0_TO_1, &method, 0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"])
            .expect(0x01, &["CHAP_A=5"], 0x00, &["CHAP_A=5", "CHAP_I=16", CHALLENGE])
            .expect(FROM_0_TO_1, &["CHAP_N=host", MD5], 0x81, &[]);
        let session = peer.finish(FROM_1_TO_3, &named(&LIBISCSI), &LIBISCSI_ANSWER);
        assert!(session.authenticated);
    }

    #[test]
    fn every_chap_algorithm_logs_in() {
        let cases = [
            ("CHAP_A=5", "CHAP_A=5", MD5),
            ("CHAP_A=6,5", "CHAP_A=6", SHA1),
            ("CHAP_A=7,6,5", "CHAP_A=7", SHA256),
            ("CHAP_A=8,7,6,5", "CHAP_A=8", SHA3),
            ("CHAP_A=5,6,7,8", "CHAP_A=5", MD5),
        ];
        for (offered, chosen, response) in cases {
            let mut peer = challenged(chap_portal(false), offered, chosen);
            peer.expect(FROM_0_TO_1, &["CHAP_N=host", response], 0x81, &[]);
            assert!(peer.finish(FROM_1_TO_3, &[], &["MaxRecvDataSegmentLength=262144"]).authenticated);
        }
    }

    #[test]
    fn mutual_chap_proves_the_target() {
        let mut peer = challenged(chap_portal(true), "CHAP_A=7", "CHAP_A=7");
        let proof = [
            "CHAP_N=host",
            SHA256,
            "CHAP_I=5",
            "CHAP_C=0xe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ];
        let ours =
            ["CHAP_N=library", "CHAP_R=0x29d0744a61d1a235f244e781ab161649b2e230a895b63bfd61612224c092ff08"];
        peer.expect(FROM_0_TO_1, &proof, 0x81, &ours);
        assert!(peer.finish(FROM_1_TO_3, &[], &["MaxRecvDataSegmentLength=262144"]).authenticated);
    }

    #[test]
    fn discovery_can_ask_for_chap_too() {
        let discovery_auth = chap_auth(false);
        let names = ["InitiatorName=iqn.1993-08.org.debian:01:3bf2a2b5c1a", "SessionType=Discovery"];
        let with = |more: &[&'static str]| [&names[..], more].concat();
        let mut peer = Peer::new(Portal { discovery_auth: discovery_auth.clone(), ..portal() });
        peer.expect(STAY_0, &with(&["AuthMethod=CHAP"]), 0x00, &["AuthMethod=CHAP"])
            .expect(STAY_0, &["CHAP_A=7"], 0x00, &["CHAP_A=7", "CHAP_I=16", CHALLENGE])
            .expect(FROM_0_TO_1, &["CHAP_N=host", SHA256], 0x81, &[]);
        let session = peer.finish(FROM_1_TO_3, &[], &["MaxRecvDataSegmentLength=262144"]);
        assert!(session.authenticated && session.kind == SessionKind::Discovery);

        let portal = Portal { discovery_auth, ..portal() };
        Peer::new(portal.clone()).refused(FROM_0_TO_1, &with(&["AuthMethod=None"]), 0x02, 0x01);
        Peer::new(portal.clone()).refused(FROM_0_TO_1, &with(&[]), 0x02, 0x01);
        Peer::new(portal).refused(FROM_1_TO_3, &with(&[]), 0x02, 0x01);
    }

    #[test]
    fn a_target_with_an_account_lets_nobody_past_without_chap() {
        let offers =
            ["AuthMethod=None", "AuthMethod=", "AuthMethod=KRB5,SRP", "AuthMethod=chap", "AuthMethod=CHAPX"];
        for offer in offers {
            Peer::new(chap_portal(false)).refused(FROM_0_TO_1, &named(&[offer]), 0x02, 0x01);
            Peer::new(chap_portal(false)).refused(STAY_0, &named(&[offer]), 0x02, 0x01);
        }
        for flags in [FROM_0_TO_1, FROM_0_TO_3, FROM_1_TO_3, STAY_1] {
            Peer::new(chap_portal(false)).refused(flags, &named(&[]), 0x02, 0x01);
        }
    }

    #[test]
    fn leaving_security_before_the_proof_is_not_granted() {
        let mut peer = Peer::new(chap_portal(false));
        let method = named(&["AuthMethod=CHAP"]);
        peer.expect(FROM_0_TO_1, &method, 0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"])
            .expect(FROM_0_TO_3, &[], 0x00, &[])
            .expect(FROM_0_TO_1, &["CHAP_A=5"], 0x00, &["CHAP_A=5", "CHAP_I=16", CHALLENGE])
            .expect(FROM_0_TO_3, &[], 0x00, &[])
            .refused(FROM_1_TO_3, &[], 0x02, 0x00);
    }

    #[test]
    fn a_wrong_name_and_a_wrong_secret_look_the_same() {
        let wrong = "CHAP_R=0x00000000000000000000000000000000";
        let wrong_name =
            challenged(chap_portal(true), "CHAP_A=5", "CHAP_A=5").step(FROM_0_TO_1, &["CHAP_N=hosd", MD5]);
        let wrong_secret =
            challenged(chap_portal(true), "CHAP_A=5", "CHAP_A=5").step(FROM_0_TO_1, &["CHAP_N=host", wrong]);
        assert_eq!(wrong_name, wrong_secret);
        assert_closed(wrong_name, 0x02, 0x01);
    }

    #[test]
    fn broken_proofs_are_refused() {
        let challenge = "CHAP_C=0xe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";
        let cases: [&[&str]; 11] = [
            &["CHAP_N=host"],
            &[MD5],
            &["CHAP_N=host", MD5, "CHAP_I=5"],
            &["CHAP_N=host", MD5, challenge],
            &["CHAP_N=host", MD5, "CHAP_A=5"],
            &["CHAP_A=5"],
            &["CHAP_I=5", challenge],
            &["CHAP_N=host", SHA256],
            &["CHAP_N=host", MD5, "CHAP_I=256", challenge],
            &["CHAP_N=host", MD5, "CHAP_I=5", CHALLENGE],
            &["CHAP_N=host", MD5, "CHAP_I=5", "CHAP_C=0x"],
        ];
        for case in cases {
            challenged(chap_portal(true), "CHAP_A=5", "CHAP_A=5").refused(FROM_0_TO_1, case, 0x02, 0x01);
        }
        let asked_back = ["CHAP_N=host", MD5, "CHAP_I=5", challenge];
        challenged(chap_portal(false), "CHAP_A=5", "CHAP_A=5").refused(FROM_0_TO_1, &asked_back, 0x02, 0x01);
    }

    /// The cases of libiscsi's iSCSICHAP.Invalid and worse.
    #[test]
    fn an_algorithm_that_is_not_there_is_refused() {
        for offer in ["CHAP_A=56", "CHAP_A=", "CHAP_A=4", "CHAP_A=MD5", "CHAP_A=-5"] {
            let mut peer = Peer::new(chap_portal(false));
            let method = named(&["AuthMethod=CHAP"]);
            peer.expect(STAY_0, &method, 0x00, &["TargetPortalGroupTag=1", "AuthMethod=CHAP"]);
            peer.refused(STAY_0, &[offer], 0x02, 0x01);
        }
    }

    #[test]
    fn chap_out_of_turn_is_refused() {
        Peer::new(chap_portal(false)).refused(STAY_0, &named(&["CHAP_A=5"]), 0x02, 0x01);
        Peer::new(chap_portal(false)).refused(STAY_0, &named(&["CHAP_N=host", MD5]), 0x02, 0x01);
        Peer::new(chap_portal(false)).refused(STAY_0, &named(&["AuthMethod=CHAP", "CHAP_A=5"]), 0x02, 0x00);
        Peer::new(portal()).refused(STAY_0, &named(&["CHAP_A=5"]), 0x02, 0x01);
        let mut peer = challenged(chap_portal(false), "CHAP_A=5", "CHAP_A=5");
        peer.refused(STAY_0, &["AuthMethod=None"], 0x02, 0x00);
        let mut peer = challenged(chap_portal(false), "CHAP_A=5", "CHAP_A=5");
        peer.expect(STAY_0, &["CHAP_N=host", MD5], 0x00, &[]);
        peer.refused(FROM_0_TO_1, &["CHAP_N=host", MD5], 0x02, 0x01);
    }

    #[test]
    fn one_secret_for_both_directions_lets_nobody_in() {
        let mut portal = portal();
        portal.targets[0].auth =
            Auth { chap: chap_in("host", PASSWORD), mutual: chap_out("library", PASSWORD) };
        challenged(portal, "CHAP_A=5", "CHAP_A=5").refused(FROM_0_TO_1, &["CHAP_N=host", MD5], 0x02, 0x01);
    }

    #[test]
    fn an_open_target_takes_none_even_when_chap_is_liked_better() {
        let mut peer = Peer::new(portal());
        let method = named(&["AuthMethod=CHAP,None"]);
        peer.expect(FROM_0_TO_1, &method, 0x81, &["TargetPortalGroupTag=1", "AuthMethod=None"]);
        Peer::new(portal()).refused(FROM_0_TO_1, &named(&["AuthMethod=CHAP"]), 0x02, 0x01);
    }

    #[test]
    fn the_security_stage_may_be_left_without_a_word() {
        let mut peer = Peer::new(portal());
        peer.expect(FROM_0_TO_1, &named(&[]), 0x81, &["TargetPortalGroupTag=1"]);
        peer.finish(FROM_1_TO_3, &[], &["MaxRecvDataSegmentLength=262144"]);
        let mut peer = Peer::new(portal());
        peer.expect(
            STAY_0,
            &named(&["AuthMethod=None"]),
            0x00,
            &["TargetPortalGroupTag=1", "AuthMethod=None"],
        );
        peer.expect(FROM_0_TO_1, &[], 0x81, &[]);
    }

    #[test]
    fn from_security_straight_to_the_end_all_defaults_hold() {
        let session = Peer::new(portal()).finish(
            FROM_0_TO_3,
            &named(&["AuthMethod=None"]),
            &["TargetPortalGroupTag=1", "AuthMethod=None"],
        );
        assert_eq!(session.params, Params::default());
    }

    #[test]
    fn defaults_that_do_not_suit_us_cannot_be_jumped_into() {
        let strict: [fn(&mut config::Limits); 5] = [
            |l| l.header_digest = DigestOffer::Required,
            |l| l.data_digest = DigestOffer::Required,
            |l| l.immediate_data = false,
            |l| l.max_burst_length = 200_000,
            |l| l.first_burst_length = 65_535,
        ];
        for make in strict {
            let mut portal = portal();
            make(&mut portal.limits);
            Peer::new(portal).refused(FROM_0_TO_3, &named(&["AuthMethod=None"]), 0x02, 0x00);
        }
    }

    fn strict_portal() -> Portal {
        let mut portal = portal();
        portal.limits.header_digest = DigestOffer::Required;
        portal.limits.immediate_data = false;
        portal.limits.max_burst_length = 131_072;
        portal.limits.first_burst_length = 32_768;
        portal
    }

    #[test]
    fn what_the_initiator_left_out_is_offered_if_the_default_does_not_suit_us() {
        let mut peer = Peer::new(strict_portal());
        let ours = [
            "TargetPortalGroupTag=1",
            "MaxBurstLength=100000",
            "MaxRecvDataSegmentLength=262144",
            "HeaderDigest=CRC32C",
            "ImmediateData=No",
            "FirstBurstLength=32768",
        ];
        peer.expect(FROM_1_TO_3, &named(&["MaxBurstLength=100000"]), 0x04, &ours);
        let session = peer.finish(
            FROM_1_TO_3,
            &["HeaderDigest=CRC32C", "ImmediateData=No", "FirstBurstLength=16384"],
            &[],
        );
        assert_eq!(session.params.header_digest, Digest::Crc32c);
        assert!(!session.params.immediate_data);
        assert_eq!((session.params.max_burst_length, session.params.first_burst_length), (100_000, 16_384));
    }

    #[test]
    fn a_rejected_value_leaves_a_default_that_must_suit_us() {
        for offer in ["ImmediateData=maybe", "MaxBurstLength=1", "FirstBurstLength=1", "HeaderDigest=X-sum"] {
            Peer::new(strict_portal()).refused(FROM_1_TO_3, &named(&[offer]), 0x02, 0x00);
            assert!(matches!(Peer::new(portal()).step(FROM_1_TO_3, &named(&[offer])), LoginStep::Admit(_)));
        }
    }

    #[test]
    fn a_bad_answer_to_our_offer_ends_the_login() {
        let good = ["HeaderDigest=CRC32C", "ImmediateData=No", "MaxBurstLength=512", "FirstBurstLength=512"];
        let bad: [(usize, &str); 8] = [
            (0, "HeaderDigest=None"),
            (0, "HeaderDigest=Reject"),
            (0, "HeaderDigest=CRC32C,None"),
            (1, "ImmediateData=NotUnderstood"),
            (2, "MaxBurstLength=131073"),
            (2, "MaxBurstLength=Irrelevant"),
            (3, "FirstBurstLength=32769"),
            (3, "X-com.example.key=1"),
        ];
        for (index, value) in bad {
            let mut peer = Peer::new(strict_portal());
            assert!(matches!(peer.step(FROM_1_TO_3, &named(&[])), LoginStep::Respond(_)));
            let mut answers = good;
            answers[index] = value;
            peer.refused(FROM_1_TO_3, &answers, 0x02, 0x00);
        }
    }

    #[test]
    fn a_stage_may_take_several_exchanges() {
        let mut peer = Peer::new(portal());
        peer.expect(
            STAY_1,
            &named(&["HeaderDigest=CRC32C"]),
            0x04,
            &["TargetPortalGroupTag=1", "HeaderDigest=CRC32C", "MaxRecvDataSegmentLength=262144"],
        );
        peer.expect(STAY_1, &["X-com.example.a=1"], 0x04, &["X-com.example.a=NotUnderstood"]);
        peer.expect(STAY_1, &[], 0x04, &[]);
        let session = peer.finish(FROM_1_TO_3, &["DataDigest=CRC32C"], &["DataDigest=CRC32C"]);
        assert_eq!(
            (session.params.header_digest, session.params.data_digest),
            (Digest::Crc32c, Digest::Crc32c)
        );
    }

    #[test]
    fn a_text_may_come_in_pieces_cut_anywhere() {
        let whole = text(&named(&["AuthMethod=None"]));
        for cut in 0..whole.len() {
            let mut peer = Peer::new(portal());
            let first = peer.send(&request(MORE_0), &whole[..cut]);
            let LoginStep::Respond(reply) = first else { panic!("{first:?}") };
            assert_eq!((flags(&reply.header), reply.data.len()), (0x00, 0));
            let LoginStep::Respond(reply) = peer.send(&request(FROM_0_TO_1), &whole[cut..]) else { panic!() };
            assert_eq!(lines(&reply.data), ["TargetPortalGroupTag=1", "AuthMethod=None"]);
            assert_eq!(flags(&reply.header), 0x81);
        }
    }

    #[test]
    fn a_long_answer_goes_out_in_pieces_that_the_initiator_fetches() {
        let asked: Vec<String> = (0..120).map(|n| format!("{}{n:03}=1", "K".repeat(60))).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let expected: Vec<String> = asked.iter().map(|k| k.replace("=1", "=NotUnderstood")).collect();
        let mut peer = Peer::new(portal());
        peer.expect(FROM_0_TO_1, &named(&[]), 0x81, &["TargetPortalGroupTag=1"]);
        peer.expect(STAY_1, &[], 0x04, &["MaxRecvDataSegmentLength=262144"]);
        let LoginStep::Respond(piece) = peer.step(FROM_1_TO_3, &asked) else { panic!() };
        assert_eq!((flags(&piece.header), piece.data.len()), (0x44, 8192));
        let LoginStep::Admit(_) = peer.step(FROM_1_TO_3, &[]) else { panic!() };
        let LoginStep::Done(last, _) = peer.login.admit(Admission::Accept { tsih: 1 }) else { panic!() };
        assert_eq!(flags(&last.header), 0x87);
        let answer = [piece.data, last.data].concat();
        assert_eq!(answer.len(), expected.iter().map(|line| line.len() + 1).sum::<usize>());
        assert!(expected.iter().all(|line| lines(&answer).contains(line)));
    }

    #[test]
    fn text_while_our_answer_is_not_out_is_refused() {
        let asked: Vec<String> = (0..120).map(|n| format!("{}{n:03}=1", "K".repeat(60))).collect();
        let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
        let mut peer = Peer::new(portal());
        assert!(matches!(peer.step(STAY_1, &named(&asked_static(&asked))), LoginStep::Respond(_)));
        peer.refused(STAY_1, &["HeaderDigest=None"], 0x02, 0x00);
    }

    fn asked_static(asked: &[&str]) -> Vec<&'static str> {
        asked.iter().map(|line| &*String::from(*line).leak()).collect()
    }

    #[test]
    fn a_text_beyond_the_limit_is_refused() {
        let mut portal = portal();
        portal.limits.max_text_bytes = 8192;
        let mut peer = Peer::new(portal);
        for _ in 0..2 {
            assert!(matches!(peer.send(&request(MORE_1), &[b'x'; 4096]), LoginStep::Respond(_)));
        }
        assert_closed(peer.send(&request(MORE_1), b"x"), 0x03, 0x02);
    }

    #[test]
    fn an_endless_login_ends() {
        let mut peer = Peer::new(portal());
        peer.expect(STAY_0, &named(&[]), 0x00, &["TargetPortalGroupTag=1"]);
        for _ in 0..63 {
            peer.expect(STAY_0, &[], 0x00, &[]);
        }
        peer.refused(STAY_0, &[], 0x02, 0x00);
    }

    #[test]
    fn each_missing_or_wrong_name_has_its_status() {
        let host = "InitiatorName=iqn.1993-08.org.debian:01:3bf2a2b5c1a";
        let lib0 = "TargetName=iqn.2026-11.internal.vtl:lib0";
        let long_alias = format!("InitiatorAlias={}", "a".repeat(256));
        let cases: [(&[&str], u8, u8); 12] = [
            (&[], 0x02, 0x07),
            (&[lib0], 0x02, 0x07),
            (&["SessionType=Discovery"], 0x02, 0x07),
            (&[host], 0x02, 0x07),
            (&[host, "SessionType=Normal"], 0x02, 0x07),
            (&[host, lib0, "SessionType=Boot"], 0x02, 0x09),
            (&[host, lib0, "SessionType=normal"], 0x02, 0x09),
            (&[host, "TargetName=iqn.2026-11.internal.vtl:lib1"], 0x02, 0x03),
            (&[host, "TargetName=no name"], 0x02, 0x03),
            (&[host, "TargetName="], 0x02, 0x03),
            (&["InitiatorName=host", lib0], 0x02, 0x00),
            (&[host, lib0, &long_alias], 0x02, 0x00),
        ];
        for (names, class, detail) in cases {
            for flags in [STAY_0, FROM_0_TO_1, FROM_1_TO_3] {
                Peer::new(portal()).refused(flags, names, class, detail);
            }
        }
    }

    #[test]
    fn only_initiators_on_the_list_come_in() {
        let mut portal = portal();
        portal.targets[0].initiators = Some(vec!["iqn.2001-04.com.example:other".into()]);
        Peer::new(portal.clone()).refused(FROM_0_TO_1, &named(&[]), 0x02, 0x02);
        portal.targets[0].initiators = Some(Vec::new());
        Peer::new(portal.clone()).refused(FROM_1_TO_3, &named(&[]), 0x02, 0x02);
        portal.targets[0].initiators = Some(vec!["IQN.1993-08.org.debian:01:3BF2A2B5C1A".into()]);
        Peer::new(portal).finish(
            FROM_1_TO_3,
            &named(&[]),
            &["TargetPortalGroupTag=1", "MaxRecvDataSegmentLength=262144"],
        );
    }

    #[test]
    fn names_in_capitals_are_the_same_names() {
        let mut peer = Peer::new(portal());
        let names = [
            "InitiatorName=IQN.1993-08.ORG.debian:01:3BF2A2B5C1A",
            "TargetName=IQN.2026-11.internal.vtl:LIB0",
        ];
        let session =
            peer.finish(FROM_1_TO_3, &names, &["TargetPortalGroupTag=1", "MaxRecvDataSegmentLength=262144"]);
        assert_eq!(session.kind, SessionKind::Normal { target: TARGET.into() });
    }

    #[test]
    fn the_first_response_tells_alias_and_portal_group() {
        let mut portal = portal();
        portal.targets[0].alias = Some("Library 0".into());
        portal.targets[0].portal_group_tag = 65_535;
        let answer = ["TargetAlias=Library 0", "TargetPortalGroupTag=65535", "AuthMethod=None"];
        Peer::new(portal).expect(FROM_0_TO_1, &named(&["AuthMethod=None"]), 0x81, &answer);
    }

    #[test]
    fn an_alias_that_could_fool_a_log_is_not_kept() {
        let alias = |alias: &str| {
            let line = format!("InitiatorAlias={alias}");
            let mut peer = Peer::new(portal());
            let LoginStep::Admit(_) = peer.step(FROM_1_TO_3, &named(&asked_static(&[&line]))) else {
                panic!()
            };
            let LoginStep::Done(_, session) = peer.login.admit(Admission::Accept { tsih: 1 }) else {
                panic!()
            };
            session.initiator_alias
        };
        assert_eq!(alias("Büro 7").as_deref(), Some("Büro 7"));
        assert_eq!(alias("a\n2026 root logged in"), None);
        assert_eq!(alias("\u{1b}[2J"), None);
        assert_eq!(alias(""), None);
    }

    #[test]
    fn names_may_be_repeated_but_not_changed() {
        for changed in [
            "InitiatorName=iqn.2001-04.com.example:other",
            "InitiatorName=IQN.1993-08.org.debian:01:3bf2a2b5c1a",
            "TargetName=iqn.2026-11.internal.vtl:lib1",
            "SessionType=Discovery",
        ] {
            let mut peer = Peer::new(portal());
            peer.expect(FROM_0_TO_1, &named(&["InitiatorAlias=a"]), 0x81, &["TargetPortalGroupTag=1"]);
            peer.refused(FROM_1_TO_3, &[changed], 0x02, 0x00);
        }
        let mut peer = Peer::new(portal());
        peer.expect(FROM_0_TO_1, &named(&["InitiatorAlias=a"]), 0x81, &["TargetPortalGroupTag=1"]);
        peer.refused(FROM_1_TO_3, &["InitiatorAlias=b"], 0x02, 0x00);
    }

    #[test]
    fn texts_that_break_the_rules_end_the_login() {
        let security: [&str; 6] = [
            "HeaderDigest=None",
            "MaxRecvDataSegmentLength=8192",
            "SendTargets=All",
            "TargetAlias=x",
            "TargetAddress=10.0.0.1",
            "TargetPortalGroupTag=1",
        ];
        for key in security {
            Peer::new(portal()).refused(STAY_0, &named(&[key]), 0x02, 0x00);
        }
        let operational: [&str; 7] = [
            "AuthMethod=None",
            "CHAP_A=5",
            "TargetAlias=x",
            "MaxRecvDataSegmentLength=1",
            "MaxBurstLength=Reject",
            "InitialR2T=Irrelevant",
            "HeaderDigest=NotUnderstood",
        ];
        for key in operational {
            Peer::new(portal()).refused(STAY_1, &named(&[key]), 0x02, 0x00);
        }
        for twice in [["X-a=1", "X-a=1"], ["HeaderDigest=None", "HeaderDigest=None"]] {
            Peer::new(portal()).refused(STAY_1, &named(&twice), 0x02, 0x00);
        }
        Peer::new(portal()).refused(STAY_1, &named(&["SessionType=Normal"]), 0x02, 0x00);
        assert_closed(
            Peer::new(portal()).send(&request(STAY_1), b"InitiatorName=iqn.2001-04.com"),
            0x02,
            0x00,
        );
        assert_closed(Peer::new(portal()).send(&request(STAY_1), b"\xff\xfe=\0"), 0x02, 0x00);
    }

    #[test]
    fn a_key_is_negotiated_once() {
        let mut peer = Peer::new(portal());
        let answer = ["TargetPortalGroupTag=1", "MaxBurstLength=512", "MaxRecvDataSegmentLength=262144"];
        peer.expect(STAY_1, &named(&["MaxBurstLength=512"]), 0x04, &answer);
        peer.refused(STAY_1, &["MaxBurstLength=512"], 0x02, 0x00);
        let mut peer = Peer::new(portal());
        let answer = ["TargetPortalGroupTag=1", "MaxRecvDataSegmentLength=262144"];
        peer.expect(STAY_1, &named(&["MaxRecvDataSegmentLength=512"]), 0x04, &answer);
        peer.refused(STAY_1, &["MaxRecvDataSegmentLength=512"], 0x02, 0x00);
        let mut peer = Peer::new(portal());
        peer.expect(
            STAY_0,
            &named(&["AuthMethod=None"]),
            0x00,
            &["TargetPortalGroupTag=1", "AuthMethod=None"],
        );
        peer.refused(STAY_0, &["AuthMethod=None"], 0x02, 0x00);
    }

    #[test]
    fn stages_follow_one_another() {
        // T, C, CSG, NSG: C with T, reserved stages, backwards, on the spot, or beginning at the end.
        let bad = [0xc1, 0xc7, 0x82, 0x86, 0x80, 0x84, 0x85, 0x08, 0x0c, 0x8f, 0x8b];
        for flags in bad {
            Peer::new(portal()).refused(flags, &named(&[]), 0x02, 0x00);
        }
        let mut peer = Peer::new(portal());
        peer.expect(FROM_0_TO_1, &named(&[]), 0x81, &["TargetPortalGroupTag=1"]);
        peer.refused(FROM_0_TO_1, &[], 0x02, 0x00);
        let mut peer = Peer::new(portal());
        peer.expect(STAY_0, &named(&[]), 0x00, &["TargetPortalGroupTag=1"]);
        peer.refused(FROM_1_TO_3, &[], 0x02, 0x00);
    }

    #[test]
    fn a_login_keeps_its_ids() {
        let changes: [fn(&mut LoginRequest); 4] =
            [|r| r.isid[5] = 9, |r| r.tsih = 9, |r| r.cid = 9, |r| r.task_tag = 9];
        for change in changes {
            let mut other = request(STAY_0);
            change(&mut other);
            let mut peer = Peer::new(portal());
            peer.expect(STAY_0, &named(&[]), 0x00, &["TargetPortalGroupTag=1"]);
            assert_closed(peer.send(&other, &[]), 0x02, 0x00);
            let mut peer = Peer::new(portal());
            assert!(matches!(peer.send(&request(MORE_0), b""), LoginStep::Respond(_)));
            assert_closed(peer.send(&other, &text(&named(&[]))), 0x02, 0x00);
        }
    }

    #[test]
    fn a_version_that_we_do_not_speak_is_refused() {
        let newer = LoginRequest { version_min: 1, version_max: 2, ..request(FROM_1_TO_3) };
        assert_closed(Peer::new(portal()).send(&newer, &text(&named(&[]))), 0x02, 0x05);
        let both = LoginRequest { version_min: 0, version_max: 2, ..request(FROM_1_TO_3) };
        assert!(matches!(Peer::new(portal()).send(&both, &text(&named(&[]))), LoginStep::Admit(_)));
    }

    #[test]
    fn the_answer_to_anything_but_a_login_request_closes() {
        assert_closed(Login::new(Arc::new(portal())).refuse_other(7), 0x02, 0x0b);
        let mut peer = Peer::new(portal());
        peer.expect(STAY_0, &named(&[]), 0x00, &["TargetPortalGroupTag=1"]);
        let step = peer.login.refuse_other(0x99);
        let LoginStep::Close(reply) = &step else { panic!() };
        assert_eq!((reply.header.task_tag, reply.header.isid), (0x99, request(0).isid));
        assert_closed(step, 0x02, 0x0b);
        peer.refused(STAY_0, &[], 0x02, 0x00);
    }

    #[test]
    fn the_driver_may_refuse_with_any_status() {
        let cases = [
            (LoginStatus::TargetRemoved, 0x02, 0x04),
            (LoginStatus::TooManyConnections, 0x02, 0x06),
            (LoginStatus::CannotIncludeInSession, 0x02, 0x08),
            (LoginStatus::SessionDoesNotExist, 0x02, 0x0a),
            (LoginStatus::TargetError, 0x03, 0x00),
            (LoginStatus::ServiceUnavailable, 0x03, 0x01),
            (LoginStatus::OutOfResources, 0x03, 0x02),
        ];
        for (status, class, detail) in cases {
            let mut peer = Peer::new(portal());
            assert!(matches!(peer.step(FROM_1_TO_3, &named(&[])), LoginStep::Admit(_)));
            assert_closed(peer.login.admit(Admission::Refuse(status)), class, detail);
            peer.refused(FROM_1_TO_3, &[], 0x02, 0x00);
        }
    }

    #[test]
    fn a_login_for_an_existing_session_gets_that_session_or_none() {
        let joining = |admission| {
            let mut peer = Peer { tsih: 0x55, ..Peer::new(portal()) };
            let LoginStep::Admit(request) = peer.step(FROM_1_TO_3, &named(&[])) else { panic!() };
            assert_eq!((request.tsih_asked, request.cid), (0x55, 0));
            peer.login.admit(admission)
        };
        assert!(matches!(joining(Admission::Accept { tsih: 0x55 }), LoginStep::Done(..)));
        assert_closed(joining(Admission::Accept { tsih: 0x56 }), 0x02, 0x0a);
        assert_closed(joining(Admission::Refuse(LoginStatus::TooManyConnections)), 0x02, 0x06);
    }

    #[test]
    fn a_careless_driver_lets_nobody_in() {
        let mut peer = Peer::new(portal());
        assert_closed(peer.login.admit(Admission::Accept { tsih: 1 }), 0x03, 0x00);
        let mut peer = Peer::new(portal());
        assert!(matches!(peer.step(FROM_1_TO_3, &named(&[])), LoginStep::Admit(_)));
        assert_closed(peer.login.admit(Admission::Accept { tsih: 0 }), 0x03, 0x00);
        let mut peer = Peer::new(portal());
        assert!(matches!(peer.step(FROM_1_TO_3, &named(&[])), LoginStep::Admit(_)));
        peer.refused(FROM_1_TO_3, &[], 0x02, 0x00);
    }

    #[test]
    fn nothing_that_is_printed_has_a_secret_in_it() {
        let peer = challenged(chap_portal(true), "CHAP_A=5", "CHAP_A=5");
        let printed = format!("{:?}", peer.login);
        assert!(printed.contains("***") && !printed.contains("horse") && !printed.contains("mutual secret"));
    }

    mod any_text {
        use proptest::prelude::*;

        use super::*;

        /// More cases for a long run: `VTL_TEST_CASES=1000` is a thousand times as many.
        fn cases() -> ProptestConfig {
            let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1u32);
            ProptestConfig::with_cases(factor.saturating_mul(256))
        }

        /// Mostly what an initiator would send.
        fn some_flags() -> impl Strategy<Value = u8> {
            let usual = vec![STAY_0, STAY_1, FROM_0_TO_1, FROM_0_TO_3, FROM_1_TO_3, MORE_0, MORE_1];
            prop_oneof![8 => prop::sample::select(usual), 1 => any::<u8>()]
        }

        fn a_value() -> impl Strategy<Value = String> {
            prop_oneof![
                (0u64..20_000_000).prop_map(|n| n.to_string()),
                (0u64..70_000).prop_map(|n| format!("{n:#x}")),
                prop::sample::select(vec![
                    "Yes",
                    "No",
                    "None",
                    "CRC32C",
                    "CRC32C,None",
                    "None,CRC32C",
                    "CHAP,None",
                    "CHAP",
                    "5",
                    "8,7",
                    "Reject",
                    "Irrelevant",
                    "NotUnderstood",
                    "",
                    "Normal",
                    "Discovery",
                    "All",
                    "RFC3720",
                    "host",
                    TARGET,
                    INITIATOR,
                    "0b====",
                    "0x",
                    "1~2",
                    "18446744073709551616",
                    "-1",
                ])
                .prop_map(String::from),
                "[^\0]{0,20}",
            ]
        }

        fn a_line() -> impl Strategy<Value = String> {
            let names: Vec<&str> =
                crate::keys::KEYS.iter().map(|key| key.name).chain(["X-a", "X#b"]).collect();
            (prop::sample::select(names), a_value()).prop_map(|(name, value)| format!("{name}={value}"))
        }

        fn some_limits() -> impl Strategy<Value = config::Limits> {
            let digest =
                || prop::sample::select(vec![DigestOffer::Off, DigestOffer::Allowed, DigestOffer::Required]);
            let numbers =
                (0u32..20_000_000, 0u32..20_000_000, 0u32..20_000_000, 0u32..100, 0u32..4000, 0u32..4000);
            (numbers, any::<(bool, bool)>(), digest(), digest()).prop_map(
                |(n, b, header_digest, data_digest)| config::Limits {
                    max_recv_data_segment_length: n.0,
                    max_burst_length: n.1,
                    first_burst_length: n.2,
                    max_outstanding_r2t: n.3,
                    default_time2wait: n.4,
                    default_time2retain: n.5,
                    initial_r2t: b.0,
                    immediate_data: b.1,
                    header_digest,
                    data_digest,
                    ..config::Limits::default()
                },
            )
        }

        /// What the standard allows, and what both sides said.
        fn assert_within(params: &Params, limits: &config::Limits, asked: &[String]) {
            let theirs = |name: &str| {
                let value = asked.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
                value.and_then(text::number)
            };
            let lengths = 512..=16_777_215;
            assert!(lengths.contains(&params.max_burst_length));
            assert!(lengths.contains(&params.first_burst_length));
            assert!(lengths.contains(&params.max_recv_theirs));
            assert!(params.max_recv_ours >= 8192 && lengths.contains(&params.max_recv_ours));
            assert!(params.first_burst_length <= params.max_burst_length);
            assert!(params.max_burst_length <= limits.max_burst_length.max(512));
            assert!(params.first_burst_length <= limits.first_burst_length.max(512));
            assert!(params.max_outstanding_r2t <= limits.max_outstanding_r2t.max(1));
            assert!((1..=65_535).contains(&params.max_outstanding_r2t));
            let at_most = |ours: u32, name: &str, range: core::ops::RangeInclusive<u64>| {
                if let Some(theirs) = theirs(name).filter(|n| range.contains(n)) {
                    assert!(u64::from(ours) <= theirs, "{name}");
                }
            };
            at_most(params.max_burst_length, "MaxBurstLength", 512..=16_777_215);
            at_most(params.first_burst_length, "FirstBurstLength", 512..=16_777_215);
            at_most(params.max_outstanding_r2t, "MaxOutstandingR2T", 1..=65_535);
            at_most(params.max_recv_theirs, "MaxRecvDataSegmentLength", 512..=16_777_215);
            at_most(params.default_time2retain, "DefaultTime2Retain", 0..=3600);
            assert!(limits.immediate_data || !params.immediate_data);
            assert!(!(params.immediate_data && asked.iter().any(|line| line == "ImmediateData=No")));
            assert!(params.initial_r2t || !asked.iter().any(|line| line == "InitialR2T=Yes"));
            let fits = |offer: DigestOffer, digest: Digest| match offer {
                DigestOffer::Off => digest == Digest::None,
                DigestOffer::Allowed => true,
                DigestOffer::Required => digest == Digest::Crc32c,
            };
            assert!(fits(limits.header_digest, params.header_digest));
            assert!(fits(limits.data_digest, params.data_digest));
            assert_eq!((params.error_recovery_level, params.max_connections), (0, 1));
            assert!(params.data_pdu_in_order && params.data_sequence_in_order);
        }

        proptest! {
            #![proptest_config(cases())]

            #[test]
            fn any_requests_are_answered_and_nobody_unproved_comes_in(
                steps in prop::collection::vec((some_flags(), any::<bool>(), prop::collection::vec(a_line(), 0..5)), 1..8),
            ) {
                let mut peer = Peer::new(chap_portal(true));
                for (flags, with_names, lines) in &steps {
                    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                    let all = if *with_names { named(&[]).into_iter().chain(lines).collect() } else { lines };
                    match peer.step(*flags, &all) {
                        LoginStep::Respond(_) => {}
                        LoginStep::Close(reply) => prop_assert!(reply.header.status_class > 0),
                        // Nobody guesses the response, but a discovery session needs none here.
                        LoginStep::Admit(request) => prop_assert_eq!(request.kind, SessionKind::Discovery),
                        LoginStep::Done(..) => prop_assert!(false, "nobody was admitted"),
                    }
                }
            }

            #[test]
            fn any_bytes_are_answered(
                pieces in prop::collection::vec((some_flags(), prop::collection::vec(any::<u8>(), 0..100)), 1..6),
            ) {
                let mut peer = Peer::new(portal());
                for (flags, data) in &pieces {
                    drop(peer.send(&request(*flags), data));
                }
            }

            #[test]
            fn whatever_is_agreed_on_is_within_the_limits_of_both_sides(
                limits in some_limits(),
                lines in prop::collection::vec(a_line(), 0..12),
            ) {
                let mut peer = Peer::new(Portal { limits, ..portal() });
                let skip = ["InitiatorName", "TargetName", "SessionType", "AuthMethod", "CHAP_", "TargetA", "TargetP"];
                let lines: Vec<String> =
                    lines.into_iter().filter(|line| !skip.iter().any(|key| line.starts_with(key))).collect();
                let mut all = named(&[]);
                let leaked = asked_static(&lines.iter().map(String::as_str).collect::<Vec<_>>());
                all.extend(leaked);
                let mut step = peer.step(FROM_1_TO_3, &all);
                if let LoginStep::Respond(reply) = &step {
                    // Our offers: say them back, as an initiator without limits of its own does.
                    let answers = self::lines(&reply.data);
                    let asked: Vec<&str> = all.iter().filter_map(|line| line.split('=').next()).collect();
                    let back: Vec<&str> = answers
                        .iter()
                        .map(String::as_str)
                        .filter(|line| !asked.contains(&line.split('=').next().unwrap_or_default()))
                        .filter(|line| !line.starts_with("Target") && !line.starts_with("MaxRecv"))
                        .collect();
                    step = peer.step(FROM_1_TO_3, &back);
                }
                if let LoginStep::Admit(_) = step {
                    let LoginStep::Done(_, session) = peer.login.admit(Admission::Accept { tsih: 1 }) else { panic!() };
                    assert_within(&session.params, &limits, &lines);
                }
            }
        }
    }
}
