//! One TCP connection, from its first byte to its last.
//!
//! ```text
//!          Login Request ..            admit(Accept)
//!   Login ----------------> Admission ---------------> Full ---- logout, protocol error, silence, close() ---+
//!     |  ^                      |                        |                                                   v
//!     |  +-- next request --+   | admit(Refuse)          +-- close(Shutdown): asked to log out, served on, Closed
//!     +-- refused, late ----+---+------------------------------------------------------------------------> Closed
//! ```
//! In `Closed` what is queued can still be taken by `poll_transmit`; nothing is read any more.
//!
//! How to drive it: after anything went in, take all events, then write until `poll_transmit` says no. Read only
//! while `wants_input`. Set a timer to `poll_timeout`.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use bytes::{Bytes, BytesMut};

use crate::config::Portal;
use crate::event::{CloseReason, Event, Outcome, SessionInfo, TaskId, TmfId};
use crate::framing::{Crc32c, Frame, FrameError, Framer};
use crate::login::{Admission, Login, LoginStep};
use crate::nop::{self, Liveness, Verdict};
use crate::params::Digest;
use crate::pdu::{AsyncEvent, AsyncMessage, LoginRequest, Opcode, TmfResponse};
use crate::session::{Ending, Session};
use crate::text::LOGIN_SEGMENT_LEN;
use crate::time::Instant;
use crate::transmit::Reply;

/// Seconds that an initiator has to log out after it was asked to.
const LOGOUT_GRACE_S: u16 = 5;

const NS_PER_S: u64 = 1_000_000_000;

/// Fills bytes that nobody can guess.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

enum Phase {
    Login {
        login: Box<Login>,
        deadline: Instant,
        /// The first request has come.
        begun: bool,
        /// The driver is deciding about admission.
        asked: bool,
    },
    Full {
        liveness: Liveness,
        /// Set: the initiator was asked to log out.
        logout_by: Option<Instant>,
    },
    Closed,
}

/// One TCP connection, and the session that it carries.
pub struct Connection {
    session: Session,
    framer: Framer,
    phase: Phase,
    random: Random,
    /// Bytes that the last `receive` left in the buffer. Only more than these are a sign of life.
    left: usize,
    now: Instant,
}

impl Connection {
    /// A connection that has just been accepted, at `local_address` (`ADDRESS:PORT`).
    pub fn new(
        portal: Arc<Portal>,
        local_address: String,
        crc32c: Crc32c,
        random: Random,
        now: Instant,
    ) -> Self {
        let max_ahs = portal.limits.max_ahs_bytes as usize;
        let phase = Phase::Login {
            login: Box::new(Login::new(Arc::clone(&portal))),
            deadline: now.plus_ns(portal.limits.login_timeout_ns),
            begun: false,
            asked: false,
        };
        Self {
            framer: Framer::new(crc32c, LOGIN_SEGMENT_LEN, max_ahs),
            session: Session::new(portal, local_address, crc32c),
            phase,
            random,
            left: 0,
            now,
        }
    }

    /// Bytes that must be added to `buffered` before anything more can be decided; never 0 after a `receive` that
    /// left `wants_input` true. Reading no more than this puts a data segment exactly where it stays.
    pub fn bytes_needed(&self, buffered: &BytesMut) -> usize {
        self.framer.bytes_needed(buffered)
    }

    /// Takes whole PDUs off `buf`, as many as the limits allow. Call it again, with nothing added, when
    /// `wants_input` has become true again.
    pub fn receive(&mut self, buf: &mut BytesMut, now: Instant) {
        self.now = now;
        if let Phase::Full { liveness, .. } = &mut self.phase
            && buf.len() > self.left
        {
            liveness.alive(now);
        }
        while self.wants_input() {
            match self.framer.next(buf) {
                Ok(Some(frame)) => self.handle(frame),
                Ok(None) => break,
                Err(error) => self.framing_failed(&error),
            }
            self.after();
        }
        if self.is_closed() {
            buf.clear();
        }
        self.left = buf.len();
    }

    /// False while no more input is taken: too much is in our hands, or the driver has yet to `admit`.
    pub fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Login { asked, .. } => !asked,
            Phase::Full { .. } => self.session.wants_input(),
            Phase::Closed => false,
        }
    }

    /// What is for the driver to act upon.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.session.events.pop_front()
    }

    /// Appends pieces to be written in order, a bounded amount; true if there were any. Call it again after
    /// `transmitted`.
    pub fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> bool {
        self.session.poll_transmit(out)
    }

    /// Everything that `poll_transmit` gave has been written.
    pub fn transmitted(&mut self, now: Instant) {
        self.now = now;
        // The socket takes a header or two from us whether or not anybody listens, but a peer that takes data
        // slowly and steadily is alive.
        let took_data = self.session.transmitted();
        if let Phase::Full { liveness, .. } = &mut self.phase
            && took_data
        {
            liveness.alive(now);
        }
    }

    /// The answer to [`Event::Admit`].
    pub fn admit(&mut self, decision: Admission) {
        if let Phase::Login { login, asked: asked @ true, .. } = &mut self.phase {
            *asked = false;
            let step = login.admit(decision);
            self.login_step(step);
        }
    }

    /// The answer to [`Event::Command`]. Ignored when the command was aborted.
    pub fn complete(&mut self, task: TaskId, outcome: Outcome) {
        self.session.complete(task, outcome);
    }

    /// The answer to [`Event::TaskManagement`], once no command that it covers can act any more.
    pub fn task_management_done(&mut self, request: TmfId, response: TmfResponse) {
        self.session.task_management_done(request, response);
        self.after();
    }

    /// Ends commands on a unit (`None`: on all) without an answer, because another session's CLEAR TASK SET or
    /// reset did. The driver sees to the unit attention.
    pub fn abort_tasks(&mut self, lun: Option<u64>) {
        self.session.abort_tasks(lun);
    }

    /// Ends one command without an answer, for the same reasons.
    pub fn forget(&mut self, task: TaskId) {
        self.session.drop_task(task);
        self.session.settle();
    }

    /// Acts upon time that has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match &mut self.phase {
            Phase::Login { deadline, .. } if now >= *deadline => self.phase = Phase::Closed,
            Phase::Full { logout_by: Some(by), .. } if now >= *by => {
                self.end(CloseReason::LogoutOverdue);
            }
            Phase::Full { liveness, .. } => {
                if !self.session.wants_input() && !self.session.out.is_busy() {
                    // It is our own device side that everything waits for.
                    liveness.alive(now);
                }
                match liveness.check(now) {
                    Verdict::Fine => {}
                    Verdict::Ask => self.session.out.reply(nop::ping()),
                    Verdict::Dead => self.end(CloseReason::Silent),
                }
            }
            _ => {}
        }
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Login { deadline, .. } => Some(*deadline),
            Phase::Full { liveness, logout_by } => {
                [liveness.deadline(), *logout_by].into_iter().flatten().min()
            }
            Phase::Closed => None,
        }
    }

    /// Ends the connection from outside. [`CloseReason::Shutdown`] first asks the initiator to log out and serves
    /// it until it does or a few seconds have passed; a second call ends it at once.
    pub fn close(&mut self, reason: CloseReason) {
        match &mut self.phase {
            Phase::Full { logout_by: by @ None, .. } if reason == CloseReason::Shutdown => {
                *by = Some(self.now.plus_ns(u64::from(LOGOUT_GRACE_S) * NS_PER_S));
                self.tell(AsyncEvent::LogoutRequested { within_s: LOGOUT_GRACE_S });
            }
            Phase::Full { .. } => {
                if matches!(
                    reason,
                    CloseReason::Shutdown | CloseReason::TargetRemoved | CloseReason::Operator
                ) {
                    self.tell(AsyncEvent::SessionDropped { time2wait_s: 0, time2retain_s: 0 });
                }
                self.end(reason);
            }
            Phase::Login { .. } => self.phase = Phase::Closed,
            Phase::Closed => {}
        }
    }

    /// How many bytes this session may have in flight from now on, at most `Limits::max_bytes_in_flight`: a driver lowers it while
    /// all its sessions together hold too much. The command whose turn it is goes on in any case, so that nothing ever stands still.
    /// True when there is more room than before: events and bytes may have come of it.
    pub fn set_room(&mut self, bytes: u64) -> bool {
        matches!(self.phase, Phase::Full { .. }) && self.session.set_room(bytes)
    }

    /// True when the driver is to write what `poll_transmit` has left and shut the socket.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The session, once it has begun.
    pub fn session(&self) -> Option<SessionInfo<'_>> {
        let login = self.session.login.as_ref()?;
        Some(SessionInfo {
            login,
            params: &self.session.params,
            counters: self.session.counters,
            commands: self.session.tasks.len(),
            unacknowledged: self.session.unacknowledged(),
            bytes_in_flight: self.session.bytes_in_flight(),
        })
    }

    fn handle(&mut self, frame: Frame) {
        match &mut self.phase {
            Phase::Login { .. } => self.login_pdu(&frame),
            Phase::Full { .. } => self.session.handle(frame),
            Phase::Closed => {}
        }
    }

    fn login_pdu(&mut self, frame: &Frame) {
        let Phase::Login { login, begun, .. } = &mut self.phase else { return };
        let is_login = Opcode::from_code(frame.header.opcode()) == Some(Opcode::LoginRequest);
        let step = if is_login && frame.ahs.is_empty() {
            let request = LoginRequest::decode(&frame.header);
            if !core::mem::replace(begun, true) {
                self.session.start_numbering(request.cmd_sn, request.cid);
            }
            login.handle(&request, &frame.data, &mut *self.random)
        } else {
            login.refuse_other(frame.header.task_tag())
        };
        self.login_step(step);
    }

    fn login_step(&mut self, step: LoginStep) {
        match step {
            LoginStep::Respond(reply) => self.login_reply(reply),
            LoginStep::Admit(request) => {
                if let Phase::Login { asked, .. } = &mut self.phase {
                    *asked = true;
                }
                self.session.events.push_back(Event::Admit(request));
            }
            LoginStep::Close(reply) => {
                self.login_reply(reply);
                self.phase = Phase::Closed;
                self.session.events.push_back(Event::Closed(CloseReason::LoginFailed));
            }
            LoginStep::Done(reply, logged_in) => {
                self.login_reply(reply);
                let crc32c = |digest| digest == Digest::Crc32c;
                let params = &logged_in.params;
                self.framer.agree(
                    crc32c(params.header_digest),
                    crc32c(params.data_digest),
                    params.max_recv_ours as usize,
                );
                self.session.agree(logged_in);
                self.phase = Phase::Full { liveness: self.liveness(), logout_by: None };
                self.session.events.push_back(Event::LoggedIn);
            }
        }
    }

    fn login_reply(&mut self, reply: crate::login::Reply) {
        self.session.out.reply(Reply::Login(reply.header, reply.data.into()));
    }

    fn liveness(&self) -> Liveness {
        let limits = &self.session.portal.limits;
        Liveness::new(limits.nop_interval_ns, limits.nop_timeout_ns, !self.session.is_discovery(), self.now)
    }

    fn framing_failed(&mut self, error: &FrameError) {
        match (error, &self.phase) {
            (FrameError::HeaderDigest, _) => self.end(CloseReason::HeaderDigest),
            (FrameError::TooLong(header), Phase::Full { .. }) => self.session.protocol_error(header),
            (FrameError::TooLong(_), _) => self.end(CloseReason::ProtocolError),
        }
    }

    fn tell(&mut self, event: AsyncEvent) {
        self.session.out.reply(Reply::Async(AsyncMessage { event }));
    }

    fn end(&mut self, reason: CloseReason) {
        match self.phase {
            Phase::Full { .. } => self.session.end(Ending::Closed(reason)),
            _ => self.phase = Phase::Closed,
        }
        self.after();
    }

    /// Follows a session into its end.
    fn after(&mut self) {
        if let (Phase::Full { .. }, Some(ending)) = (&self.phase, self.session.ending) {
            self.phase = Phase::Closed;
            self.session.events.push_back(match ending {
                Ending::LoggedOut => Event::LoggedOut,
                Ending::Closed(reason) => Event::Closed(reason),
            });
        }
    }
}
