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
}
