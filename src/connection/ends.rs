//! How sessions end that are told to end, or whose time is over: as the initiator at the other end of the socket sees it.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use scsi::disk::RamDisk;
use scsi::{Identity, LogicalUnit, Persist, PersistFault, Reset, UnitAttention};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::sleep;
use vtl_iscsi::config::{Auth, Portal, TargetConfig};

use super::*;
use crate::target::Lun;
use crate::unit::{Unit, UnitFront};

const TARGET: &str = "iqn.2026-11.internal.vtl:t";
/// No single wait is longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// A time that no test lives to see the end of.
const LONG: Duration = Duration::from_secs(3_600);

// Opcodes and events: RFC 7143, 11.2.1.2 and 11.9.1; login statuses: 11.13.5.
const TEXT_RESPONSE: u8 = 0x24;
const NOP_IN: u8 = 0x20;
const ASYNC_MESSAGE: u8 = 0x32;
const SESSION_DROPPED: u8 = 3;
const ACCEPTED: [u8; 2] = [0x00, 0x00];
const TARGET_REMOVED: [u8; 2] = [0x02, 0x04];

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

fn identity() -> Identity {
    Identity::new(&RamDisk::<Nothing>::personality().unwrap(), "D", 1)
}

/// One target that everybody may log in to, with these units.
fn sessions(units: Vec<Arc<dyn UnitFront>>) -> Arc<Sessions> {
    let open = TargetConfig {
        name: TARGET.to_owned(),
        alias: None,
        portal_group_tag: 1,
        auth: Auth::default(),
        initiators: None,
        portals: Vec::new(),
    };
    let sessions = Sessions::new(Portal { targets: vec![open], ..Portal::default() });
    let target = Target::new(TARGET.to_owned(), identity());
    for (number, front) in (0..).zip(units) {
        target.add(number, Lun { identity: identity(), front });
    }
    sessions.add_target(target);
    sessions
}

/// A PDU from the target.
struct Pdu {
    header: [u8; 48],
}

impl Pdu {
    fn opcode(&self) -> u8 {
        self.header[0] & 0x3f
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.header[at..at + 4].try_into().unwrap())
    }
}

/// The bytes of a PDU: opcode with the immediate bit, flags, fields of 32 bits at their offsets, and data.
fn pdu(opcode: u8, flags: u8, fields: &[(usize, u32)], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 48];
    (bytes[0], bytes[1]) = (opcode, flags);
    bytes[4..8].copy_from_slice(&u32::try_from(data.len()).unwrap().to_be_bytes());
    for (at, value) in fields {
        bytes[*at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Asks for an echo. Its transfer tag is the reserved one: it answers nothing.
fn echo(tag: u32, cmd_sn: u32) -> Vec<u8> {
    pdu(0x40, 0x80, &[(16, tag), (20, u32::MAX), (24, cmd_sn)], &[])
}

/// An initiator.
struct Host {
    socket: TcpStream,
    cmd_sn: u32,
    exp_stat_sn: u32,
}

impl Host {
    /// One that has connected to these sessions and said nothing yet.
    async fn connect(sessions: &Arc<Sessions>, discovery_life: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, peer) = listener.accept().await.unwrap();
        let here = sessions.clone();
        sessions.lobby().enter(async move {
            carry(served, peer, here.clone(), discovery_life).await;
            here.lobby().leave();
        });
        Self { socket, cmd_sn: 1, exp_stat_sn: 0 }
    }

    /// False when the target takes nothing any more.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// None when the connection is closed.
    async fn receive(&mut self) -> Option<Pdu> {
        timeout(PATIENCE, self.next()).await.expect("the target says nothing")
    }

    async fn next(&mut self) -> Option<Pdu> {
        let mut header = [0; 48];
        self.socket.read_exact(&mut header).await.ok()?;
        let length = u32::from_be_bytes([0, header[5], header[6], header[7]]) as usize;
        let mut data = vec![0; length.next_multiple_of(4)];
        self.socket.read_exact(&mut data).await.ok()?;
        Some(Pdu { header })
    }

    /// The first login request: who it is and what it wants. Class and detail of the answer.
    async fn introduce(&mut self, wanted: &str) -> [u8; 2] {
        let names = format!("InitiatorName=iqn.2026-11.test.example:host\0{wanted}AuthMethod=None\0");
        let request = self.login(0x81, &names);
        self.send(&request).await;
        let answer = self.receive().await.unwrap();
        (self.exp_stat_sn, self.cmd_sn) = (answer.u32(24).wrapping_add(1), answer.u32(28));
        [answer.header[36], answer.header[37]]
    }

    /// The second and last one, for the limits of the target.
    fn conclude(&self, is_discovery: bool) -> Vec<u8> {
        let mut keys = "HeaderDigest=None\0DataDigest=None\0MaxRecvDataSegmentLength=262144\0".to_owned();
        if !is_discovery {
            keys += "InitialR2T=Yes\0ImmediateData=Yes\0FirstBurstLength=262144\0MaxBurstLength=1048576\0";
            keys += "MaxOutstandingR2T=1\0MaxConnections=1\0ErrorRecoveryLevel=0\0";
        }
        self.login(0x87, &keys)
    }

    fn login(&self, flags: u8, keys: &str) -> Vec<u8> {
        let mut bytes = pdu(0x43, flags, &[(24, self.cmd_sn), (28, self.exp_stat_sn)], keys.as_bytes());
        bytes[8..14].copy_from_slice(&[0x80, 0, 0, 0, 0, 1]);
        bytes
    }

    /// Both login requests; class and detail of the answer that decides.
    async fn log_in(&mut self, wanted: &str) -> [u8; 2] {
        let first = self.introduce(wanted).await;
        if first != ACCEPTED {
            return first;
        }
        let request = self.conclude(wanted == DISCOVERY);
        self.send(&request).await;
        let answer = self.receive().await.unwrap();
        (self.exp_stat_sn, self.cmd_sn) = (answer.u32(24).wrapping_add(1), answer.u32(28));
        [answer.header[36], answer.header[37]]
    }

    /// A command of one block of 512 bytes, all of them along with it: WRITE(10).
    async fn write(&mut self, tag: u32) {
        let fields = [(16, tag), (20, 512), (24, self.cmd_sn), (28, self.exp_stat_sn)];
        let mut bytes = pdu(0x01, 0xa1, &fields, &[0x5a; 512]);
        bytes[32..42].copy_from_slice(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert!(self.send(&bytes).await);
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
    }
}

const DISCOVERY: &str = "SessionType=Discovery\0";

/// What a host says that wants the target.
fn normal() -> String {
    format!("SessionType=Normal\0TargetName={TARGET}\0")
}

/// Waits until it is so.
async fn until(is_so: impl Fn() -> bool) {
    let all = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("it does not come to this");
}

#[tokio::test]
async fn a_discovery_session_ends_with_its_time_however_much_it_asks_and_a_session_with_a_target_does_not() {
    let life = Duration::from_millis(300);
    let sessions = sessions(Vec::new());
    let mut host = Host::connect(&sessions, life).await;
    assert_eq!(host.log_in(&normal()).await, ACCEPTED);
    let before = Instant::now();
    let mut discovery = Host::connect(&sessions, life).await;
    assert_eq!(discovery.log_in(DISCOVERY).await, ACCEPTED);
    let mut told = Vec::new();
    loop {
        if before.elapsed() < life / 2 {
            let fields = [(16, 7), (20, u32::MAX), (24, discovery.cmd_sn)];
            discovery.send(&pdu(0x44, 0x80, &fields, b"SendTargets=All\0")).await;
        }
        match discovery.receive().await {
            Some(pdu) => told.push(pdu),
            None => break,
        }
    }
    assert!(before.elapsed() >= life);
    let last = told.pop().unwrap();
    assert_eq!((last.opcode(), last.header[36]), (ASYNC_MESSAGE, SESSION_DROPPED));
    assert!(!told.is_empty() && told.iter().all(|pdu| pdu.opcode() == TEXT_RESPONSE));
    let left: Vec<_> = sessions.list().into_iter().map(|row| row.target).collect();
    assert_eq!(left, [Some(TARGET.to_owned())], "its place is free");
    assert!(host.send(&echo(9, host.cmd_sn)).await);
    assert_eq!(host.receive().await.unwrap().opcode(), NOP_IN);
}

#[tokio::test]
async fn a_discovery_session_whose_time_is_over_is_not_kept_by_what_waits_to_be_read() {
    const WAITING: u32 = 2_000;
    let sessions = sessions(Vec::new());
    let mut host = Host::connect(&sessions, Duration::ZERO).await;
    assert_eq!(host.introduce(DISCOVERY).await, ACCEPTED);
    let mut all = host.conclude(true);
    (1..=WAITING).for_each(|tag| all.extend(echo(tag, host.cmd_sn)));
    host.send(&all).await;
    let mut echoed = 0;
    while let Some(pdu) = host.receive().await {
        echoed += u32::from(pdu.opcode() == NOP_IN);
    }
    // What came along with the login has been read with it.
    assert!(echoed < WAITING / 2, "{echoed}");
    assert_eq!(sessions.list().len(), 0);
}

/// Sends what nobody answers, without a pause, until it is dropped or the target takes no more.
struct Flood {
    stop: Arc<AtomicBool>,
    sending: Option<JoinHandle<()>>,
}

impl Flood {
    fn of(host: Host) -> Self {
        // With the reserved tag it asks for no echo.
        let many = echo(u32::MAX, host.cmd_sn).repeat(1_000);
        let mut socket = host.socket.into_std().unwrap();
        socket.set_nonblocking(false).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let send = move || while !told.load(Ordering::Relaxed) && socket.write_all(&many).is_ok() {};
        Self { stop, sending: Some(thread::spawn(send)) }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.sending.take().map(JoinHandle::join));
    }
}

/// Waits for it without the runtime.
fn eventually(about: &str, is_so: impl Fn() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < end, "it did not come to this: {about}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn who_sends_without_a_pause_has_no_thread_to_itself_and_ends_when_it_is_told_to() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let sessions = sessions(Vec::new());
    let host = runtime.block_on(async {
        let mut host = Host::connect(&sessions, LONG).await;
        assert_eq!(host.log_in(&normal()).await, ACCEPTED);
        host
    });
    let flood = Flood::of(host);
    thread::sleep(Duration::from_millis(50));
    let other = runtime.spawn(async {});
    eventually("another task has its turn", || other.is_finished());
    sessions.remove_target(TARGET);
    eventually("the session ends", || sessions.list().is_empty());
    drop(flood);
}

/// A device whose commands take until they may end. It tells what it is at.
struct Slow {
    at: mpsc::Sender<&'static str>,
    go: mpsc::Receiver<()>,
}

impl LogicalUnit for Slow {
    fn execute(&mut self, _command: &Command) -> Reply {
        // Once the test is over nobody listens.
        let _ = self.at.send("a command");
        let _ = self.go.recv();
        Reply::good()
    }

    fn nexus_opened(&mut self, _nexus: NexusId, _port: &InitiatorPort) {}

    fn nexus_closed(&mut self, _nexus: NexusId) {
        let _ = self.at.send("the end of a session");
    }

    fn reset(&mut self, _reset: Reset) {}

    fn take_aborted(&mut self) -> Vec<NexusId> {
        Vec::new()
    }

    fn attention(&mut self, _what: UnitAttention, _except: Option<NexusId>) {}
}

#[tokio::test]
async fn a_session_that_is_told_to_end_takes_its_commands_and_their_data_along_and_does_not_come_back() {
    let ((at, is_at), (may_end, go)) = (mpsc::channel(), mpsc::channel());
    let unit = Unit::start("slow", Slow { at, go }).unwrap();
    let sessions = sessions(vec![Arc::new(unit.clone())]);
    let mut host = Host::connect(&sessions, LONG).await;
    assert_eq!(host.log_in(&normal()).await, ACCEPTED);
    for tag in 1..=4 {
        host.write(tag).await;
    }
    until(|| unit.gauge().waiting == 4 && sessions.in_flight().bytes() >= 4 * 512).await;
    until(|| is_at.try_recv() == Ok("a command")).await;

    // The device is at the first one all the while.
    sessions.remove_target(TARGET);
    let last = host.receive().await.unwrap();
    assert_eq!((last.opcode(), last.header[36]), (ASYNC_MESSAGE, SESSION_DROPPED));
    assert!(host.receive().await.is_none(), "none of them is answered");
    assert_eq!((unit.gauge().waiting, sessions.in_flight().bytes(), sessions.list().len()), (0, 0, 0));
    let mut again = Host::connect(&sessions, LONG).await;
    assert_eq!(again.log_in(&normal()).await, TARGET_REMOVED);

    may_end.send(()).unwrap();
    let mut next = None;
    let ended = async {
        while next.is_none() {
            next = is_at.try_recv().ok();
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the device hears nothing of it");
    assert_eq!(next, Some("the end of a session"), "what waited is never begun");
}
