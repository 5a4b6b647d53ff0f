//! One iSCSI connection: a socket, and a task that carries bytes, time and events between it, the protocol and the units. It takes no decisions of its own.

#[cfg(test)]
mod ends;
pub mod input;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use scsi::{Cdb, Command, InitiatorPort, NexusId, Reply};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, debug, error_span, info};
use vtl_iscsi::Connection;
use vtl_iscsi::event::{
    Admission, AdmitRequest, CloseReason, Event, Outcome, ScsiCommand, SessionKind, TmfFunction, TmfId,
    TmfResponse,
};

use self::input::Input;
use crate::clock;
use crate::sessions::{Registration, Sessions};
use crate::target::{Target, decode_lun};
use crate::unit::{Answer, AnswerTo, TaskKey};

/// Slices given to one vectored write; Linux takes up to 1024.
const SLICES_PER_WRITE: usize = 64;
/// How long a closed connection may take to send its last words.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long a discovery session may last, whatever it does: names are asked for in a moment, and its place is one of few.
const DISCOVERY_LIFE: Duration = Duration::from_secs(60);

/// Runs one connection to its end.
pub async fn serve(socket: TcpStream, peer: SocketAddr, sessions: Arc<Sessions>) {
    let trace = crate::state::hexadecimal(&crate::random::id());
    // Whatever level is logged: a line without its session is of little use.
    let span = error_span!("session", %peer, trace, initiator = Empty);
    carry(socket, peer, sessions, DISCOVERY_LIFE).instrument(span).await;
}

async fn carry(socket: TcpStream, peer: SocketAddr, sessions: Arc<Sessions>, discovery_life: Duration) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%peer, %error, "no TCP_NODELAY");
    }
    let Ok(local) = socket.local_addr() else { return };
    let portal = sessions.portal();
    let input = Input::new(sessions.buffers().clone());
    let most_held_bytes = portal.limits.max_bytes_in_flight;
    let random = Box::new(|bytes: &mut [u8]| crate::random::fill(bytes));
    let protocol = Connection::new(portal, told_address(local), crc32c_append, random, clock::now_iscsi());
    let (answers_to, answers) = mpsc::unbounded_channel();
    let (control_to, control) = mpsc::unbounded_channel();
    let mut driver = Driver {
        socket,
        peer,
        protocol,
        sessions,
        input,
        output: VecDeque::new(),
        answers_to,
        control_to,
        registration: None,
        nexus: None,
        discovery_life,
        ends: None,
        held_bytes: 0,
        most_held_bytes,
        fresh: Vec::new(),
    };
    driver.run(answers, control).await;
    driver.end();
}

/// The address of ours that an initiator is told: in IPv4 when it came by that, also to a listener for both.
fn told_address(local: SocketAddr) -> String {
    SocketAddr::new(local.ip().to_canonical(), local.port()).to_string()
}

fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// What others tell a connection.
#[derive(Debug)]
pub enum Control {
    /// Close the session: another connection takes its place, or the daemon stops.
    Close(CloseReason),
}

struct Driver {
    socket: TcpStream,
    peer: SocketAddr,
    protocol: Connection,
    sessions: Arc<Sessions>,
    input: Input,
    output: VecDeque<Bytes>,
    answers_to: AnswerTo,
    control_to: mpsc::UnboundedSender<Control>,
    registration: Option<Registration>,
    nexus: Option<Nexus>,
    /// How long a discovery session may last.
    discovery_life: Duration,
    /// When a discovery session is over.
    ends: Option<Instant>,
    /// What this session has told [`crate::in_flight::InFlight`] that it holds.
    held_bytes: u64,
    /// What it may hold while there is room.
    most_held_bytes: u64,
    fresh: Vec<Bytes>,
}

/// A session in full feature phase.
struct Nexus {
    id: NexusId,
    target: Arc<Target>,
    /// Units of tasks that may still be aborted one by one.
    units: HashMap<TaskKey, u64>,
}

impl Driver {
    async fn run(&mut self, mut answers: UnboundedReceiver<Answer>, mut control: UnboundedReceiver<Control>) {
        loop {
            // A socket that is always ready never lets go of the thread by itself.
            consume_budget().await;
            self.pump().await;
            if self.protocol.is_closed() {
                drop(timeout(LAST_WORDS, self.send_rest()).await);
                return;
            }
            self.tell_held(self.protocol.session().map_or(0, |session| session.bytes_in_flight));
            let room = self.sessions.in_flight().room_for(self.held_bytes);
            if self.protocol.set_room(room) {
                continue;
            }
            // Looked at before anything is read: who sends without a pause does not put it off.
            if self.ends.is_some_and(|ends| ends <= Instant::now()) {
                self.ends = None;
                self.protocol.close(CloseReason::Operator);
                continue;
            }
            let is_squeezed = room < self.most_held_bytes;
            let wants_input = self.protocol.wants_input();
            let ends = self.ends;
            let timer = self.protocol.poll_timeout().map(|t| Instant::from_std(clock::at(t.as_nanos())));
            let ended = tokio::select! {
                biased;
                Some(answer) = answers.recv() => {
                    self.answer(answer);
                    while let Ok(answer) = answers.try_recv() {
                        self.answer(answer);
                    }
                    false
                }
                ready = self.socket.writable(), if !self.output.is_empty() => ready.and_then(|()| self.write()).is_err(),
                // Before what comes in, for the same reason.
                Some(Control::Close(reason)) = control.recv() => { self.protocol.close(reason); false }
                ready = self.socket.readable(), if wants_input => ready.and_then(|()| self.read()).is_err(),
                () = self.sessions.in_flight().fell(), if is_squeezed => false,
                () = sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => false,
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {
                    self.input.rest();
                    self.protocol.handle_timeout(clock::now_iscsi());
                    false
                }
            };
            if ended {
                return;
            }
        }
    }

    /// Lets the protocol act on what it has: events out, bytes out, as long as there is either.
    async fn pump(&mut self) {
        loop {
            let mut idle = true;
            while let Some(event) = self.protocol.poll_event() {
                idle = false;
                self.event(event).await;
            }
            if self.output.is_empty() && self.protocol.poll_transmit(&mut self.fresh) {
                idle = false;
                self.output.extend(self.fresh.drain(..).filter(|b| !b.is_empty()));
                if self.write().is_err() {
                    self.protocol.close(CloseReason::TransportLost);
                }
            }
            // Bytes that came with earlier ones may have waited for room.
            if self.protocol.wants_input() && !self.input.buffer.is_empty() {
                let before = self.input.buffer.len();
                self.protocol.receive(&mut self.input.buffer, clock::now_iscsi());
                idle &= self.input.buffer.len() == before;
            }
            if idle {
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let needed = self.protocol.bytes_needed(&self.input.buffer);
        match self.input.read(&self.socket, needed) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                self.protocol.receive(&mut self.input.buffer, clock::now_iscsi());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.output.iter().take(SLICES_PER_WRITE).map(|b| IoSlice::new(b)).collect();
            match self.socket.try_write_vectored(&slices) {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.protocol.transmitted(clock::now_iscsi());
        Ok(())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.output.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.output.pop_front();
        }
    }

    async fn send_rest(&mut self) {
        loop {
            if self.output.is_empty() {
                if !self.protocol.poll_transmit(&mut self.fresh) {
                    return;
                }
                self.output.extend(self.fresh.drain(..).filter(|b| !b.is_empty()));
            }
            if self.write().is_err() || (!self.output.is_empty() && self.socket.writable().await.is_err()) {
                return;
            }
        }
    }

    async fn event(&mut self, event: Event) {
        match event {
            Event::Admit(request) => self.admit(request).await,
            Event::LoggedIn => self.logged_in(),
            Event::Command(command) => self.command(command),
            Event::TaskManagement { id, function } => self.task_management(id, function),
            Event::Closed(CloseReason::LoginFailed) => {
                info!(
                    "log-in refused: it did not prove who it is, is on no list of the target, or asked for what is not there"
                );
                self.end();
            }
            Event::LoggedOut | Event::Closed(_) => self.end(),
        }
    }

    async fn admit(&mut self, request: AdmitRequest) {
        let admission = match self.sessions.admit(&request, self.peer, &self.control_to).await {
            Ok(registration) => {
                let tsih = registration.tsih();
                self.registration = Some(registration);
                Admission::Accept { tsih }
            }
            Err(refusal) => Admission::Refuse(refusal),
        };
        self.protocol.admit(admission);
    }

    fn logged_in(&mut self) {
        let Some(session) = self.protocol.session() else { return };
        let login = session.login;
        Span::current().record("initiator", display(&login.initiator));
        info!(authenticated = login.authenticated, "logged in");
        let SessionKind::Normal { target } = &login.kind else {
            self.ends = Some(Instant::now() + self.discovery_life);
            return;
        };
        let Some((target, registration)) = self.sessions.target(target).zip(self.registration.as_ref())
        else {
            // It has gone since the place was given. Nobody would answer a command.
            self.protocol.close(CloseReason::TargetRemoved);
            return;
        };
        let id = registration.nexus();
        let port = InitiatorPort { name: login.initiator.clone(), isid: login.isid, target_port: 1 };
        target.open(id, &port);
        self.nexus = Some(Nexus { id, target, units: HashMap::new() });
    }

    fn command(&mut self, command: ScsiCommand) {
        let task = command.task;
        let Some(nexus) = &mut self.nexus else { return };
        let scsi = Command {
            nexus: nexus.id,
            from: Some(self.peer.ip().to_canonical()),
            cdb: Cdb(command.cdb),
            data_out: command.data_out,
            now: scsi::Instant(clock::now_ns()),
        };
        nexus.units.insert(task, command.lun);
        nexus.target.submit(command.lun, task, scsi, &self.answers_to);
    }

    fn answer(&mut self, answer: Answer) {
        let (Answer::Done(task, _) | Answer::Gone(task)) = &answer;
        if let Some(nexus) = &mut self.nexus {
            nexus.units.remove(task);
        }
        match answer {
            Answer::Done(task, reply) => self.protocol.complete(task, outcome(reply)),
            Answer::Gone(task) => self.protocol.forget(task),
        }
    }

    /// Answered at once, however busy the device is: what task management takes out of the task set is never started, or ends unheard.
    fn task_management(&mut self, id: TmfId, function: TmfFunction) {
        let response = match &mut self.nexus {
            None => TmfResponse::Rejected,
            Some(nexus) => nexus.task_management(function),
        };
        self.protocol.task_management_done(id, response);
    }

    fn tell_held(&mut self, bytes: u64) {
        self.sessions.in_flight().moved(self.held_bytes, bytes);
        self.held_bytes = bytes;
    }

    fn end(&mut self) {
        self.tell_held(0);
        if let Some(nexus) = self.nexus.take() {
            nexus.target.close(nexus.id);
            info!(nexus = nexus.id.0, "session ended");
        }
        self.registration = None;
    }
}

impl Nexus {
    fn task_management(&mut self, function: TmfFunction) -> TmfResponse {
        let unit = |lun| decode_lun(lun).and_then(|n| self.target.lun(n));
        match function {
            TmfFunction::AbortTask { task } => {
                let aborted = self
                    .units
                    .remove(&task)
                    .and_then(unit)
                    .is_some_and(|u| u.front.abort_task(self.id, task));
                match aborted {
                    true => TmfResponse::Complete,
                    // Its status is on the way already.
                    false => TmfResponse::TaskDoesNotExist,
                }
            }
            TmfFunction::AbortTaskSet { lun } => {
                let done = on_unit(unit(lun), |u| u.front.abort_task_set(self.id));
                self.forget_tasks_on(lun);
                done
            }
            TmfFunction::ClearTaskSet { lun } => {
                let done = on_unit(unit(lun), |u| u.front.clear_task_set(self.id));
                self.forget_tasks_on(lun);
                done
            }
            TmfFunction::LogicalUnitReset { lun } => {
                let done = on_unit(unit(lun), |u| u.front.reset(self.id, scsi::Reset::LogicalUnit));
                self.forget_tasks_on(lun);
                done
            }
            TmfFunction::TargetWarmReset | TmfFunction::TargetColdReset => {
                self.target.reset(self.id);
                self.units.clear();
                TmfResponse::Complete
            }
            TmfFunction::ClearAca { .. } => TmfResponse::NotSupported,
        }
    }

    /// One's own tasks that end together end without an answer.
    fn forget_tasks_on(&mut self, lun: u64) {
        let number = decode_lun(lun);
        self.units.retain(|_, of| decode_lun(*of) != number);
    }
}

fn on_unit(unit: Option<crate::target::Lun>, act: impl FnOnce(&crate::target::Lun)) -> TmfResponse {
    match unit {
        Some(unit) => {
            act(&unit);
            TmfResponse::Complete
        }
        None => TmfResponse::LunDoesNotExist,
    }
}

fn outcome(reply: Reply) -> Outcome {
    Outcome {
        status: reply.status as u8,
        sense: reply.sense.map_or_else(Vec::new, |sense| sense.as_bytes().to_vec()),
        data_in: reply.data_in,
        data_out_wanted: reply.data_out_wanted,
    }
}

#[cfg(test)]
mod tests {
    use scsi::disk::RamDisk;
    use scsi::{Identity, Persist, PersistFault};

    use super::*;
    use crate::target::Lun;
    use crate::unit::Unit;

    /// What saves nothing.
    struct Nothing;

    impl Persist for Nothing {
        fn load(&self, _key: &str) -> Option<Vec<u8>> {
            None
        }

        fn save(&mut self, _key: &str, _value: &[u8]) -> Result<(), PersistFault> {
            Ok(())
        }
    }

    #[test]
    fn an_initiator_is_told_the_address_by_which_it_came() {
        let told = |local: &str| told_address(local.parse().unwrap());
        assert_eq!(told("[::ffff:192.0.2.7]:3260"), "192.0.2.7:3260");
        assert_eq!(told("192.0.2.7:3260"), "192.0.2.7:3260");
        assert_eq!(told("[2001:db8::1]:3260"), "[2001:db8::1]:3260");
    }

    /// A session with two units, one command in hand on the second.
    fn nexus() -> Nexus {
        let identity = || Identity::new(&RamDisk::<Nothing>::personality().unwrap(), "D", 1);
        let target = Target::new("iqn.2026-11.internal.vtl:t".to_owned(), identity());
        for number in [0, 1] {
            let unit = Unit::start("disk", RamDisk::new(identity(), 1 << 20, Nothing)).unwrap();
            target.add(number, Lun { identity: identity(), front: Arc::new(unit) });
        }
        let units = HashMap::from([(TaskKey::default(), 0x0001_0000_0000_0000)]);
        Nexus { id: NexusId(1), target, units }
    }

    #[test]
    fn tasks_that_end_together_without_an_answer_are_forgotten() {
        // The second unit, in the other form of its number.
        let (first, lun) = (0, 0x4001_0000_0000_0000);
        let ends = [
            TmfFunction::AbortTaskSet { lun },
            TmfFunction::ClearTaskSet { lun },
            TmfFunction::LogicalUnitReset { lun },
            TmfFunction::TargetWarmReset,
        ];
        for function in ends {
            let mut nexus = nexus();
            nexus.task_management(TmfFunction::ClearTaskSet { lun: first });
            assert_eq!(nexus.units.len(), 1, "it is on another unit");
            assert_eq!(nexus.task_management(function), TmfResponse::Complete);
            assert!(nexus.units.is_empty(), "{function:?}");
        }
    }
}
