//! A logical unit as the daemon runs it: one thread that owns the device model, a queue in front of it, and the set of tasks it owes an answer.
//!
//! The task set is the one truth about what is owed: a task is in it from `submit` until its answer is sent, or until task management takes it out.
//! A command whose task was taken out while it waited is never started; one that was running ends silently. What waits lies in the task set, and only
//! its name in the queue: a task that is taken out takes its data along, however long the device has not looked.
//!
//! A device that panics is not asked again: the command in hand, those that wait and all that come later are answered HARDWARE ERROR, jobs are
//! not run, and the status of the daemon names the unit. What the device held and had not made durable is lost; a cartridge in it stays there until a restart begins anew.
//!
//! What the device has done is noted before anybody hears that it is done: who was told of it and looks finds it.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use scsi::{
    Check, Command, InitiatorPort, Instant, LogicalUnit, NexusId, Reply, Reset, UnitAttention, Vitals,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, error};

use crate::clock;
use crate::metrics::{Histogram, Meter, SenseCode};

/// A task of one nexus, as its connection names it.
pub type TaskKey = vtl_iscsi::event::TaskId;

/// What a unit tells the connection that asked.
#[derive(Debug)]
pub enum Answer {
    /// The command ended.
    Done(TaskKey, Reply),
    /// Another initiator's task management or a reset took the task away: no status is due for it.
    Gone(TaskKey),
}

/// Where a connection hears of its tasks. Bounded by the connection's command window.
pub type AnswerTo = UnboundedSender<Answer>;

type Job<U> = Box<dyn FnOnce(&mut U) -> Tell + Send>;

/// Tells who waits for a job that it is done.
type Tell = Box<dyn FnOnce()>;

enum Message<U> {
    /// The turn of a task, if it is still owed an answer.
    Turn(Key),
    Job(Job<U>),
}

/// A task of all nexuses.
type Key = (NexusId, TaskKey);

/// A task that is owed an answer.
struct Task {
    answer: AnswerTo,
    /// Until the device has it.
    waiting: Option<Waiting>,
}

/// A command that the device has not begun.
struct Waiting {
    command: Command,
    /// Of the session that it came in.
    session: Span,
}

type Tasks = Mutex<HashMap<Key, Task>>;

/// What the front of a unit and its thread share.
#[derive(Default)]
struct Owed {
    tasks: Tasks,
    failure: OnceLock<Failure>,
    meter: Meter,
    /// The device is at something.
    works: AtomicBool,
}

impl Owed {
    fn begin(&self) {
        self.works.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.works.store(false, Ordering::Release);
    }
}

/// The front of a unit; clones share it. The thread ends when the last clone is gone.
pub struct Unit<U> {
    queue: mpsc::Sender<Message<U>>,
    owed: Arc<Owed>,
}

impl<U> Clone for Unit<U> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), owed: self.owed.clone() }
    }
}

/// A job that somebody waits for. Where it is dropped instead of run, what it holds goes before the one who waits hears of it.
struct Asked<J, T> {
    job: J,
    done: mpsc::SyncSender<T>,
}

impl<J, T> Asked<J, T> {
    fn run<U>(self, device: &mut U) -> Tell
    where
        J: FnOnce(&mut U) -> T,
        T: 'static,
    {
        let Self { job, done } = self;
        let told = job(device);
        // Nobody waiting any more is no failure.
        Box::new(move || drop(done.send(told)))
    }
}

/// A device that panicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The unit, as its thread is called.
    pub unit: String,
    /// What the panic said.
    pub why: String,
}

/// What a unit has counted.
#[derive(Clone, Debug)]
pub struct Gauge {
    /// Commands that are owed an answer, the one in hand too.
    pub waiting: usize,
    /// What the device counts.
    pub vitals: Vitals,
    /// By operation code.
    pub commands: Vec<(u8, u64)>,
    /// By sense key, ASC and ASCQ.
    pub sense: Vec<(SenseCode, u64)>,
    /// By class of command.
    pub latencies: Vec<(&'static str, Histogram)>,
}

/// The device failed, in this job or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the device has failed and does nothing until vtld is restarted; see vtl system status")
    }
}

impl<U: LogicalUnit + Send + 'static> Unit<U> {
    /// Starts the unit's thread around `device`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, device: U) -> std::io::Result<Self> {
        Self::watched(name, device, |_| ())
    }

    /// The same. `watch` looks at the device now, and whenever it has done something; it must be quick.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn watched(
        name: &str,
        device: U,
        mut watch: impl FnMut(&U) + Send + 'static,
    ) -> std::io::Result<Self> {
        watch(&device);
        let (queue, messages) = mpsc::channel();
        let owed = Arc::new(Owed::default());
        let (shared, unit) = (owed.clone(), name.to_owned());
        let life = move || run(unit, device, &messages, &shared, &mut watch);
        thread::Builder::new().name(name.to_owned()).spawn(life)?;
        Ok(Self { queue, owed })
    }

    /// Whether the device is at something. Who asks this first and then looks at what was noted finds all that was done by then.
    pub fn is_busy(&self) -> bool {
        self.owed.works.load(Ordering::Acquire)
    }

    /// What it has counted and what waits; the device is not asked, however busy it is.
    pub fn gauge(&self) -> Gauge {
        let meter = &self.owed.meter;
        Gauge {
            waiting: lock(&self.owed.tasks).len(),
            vitals: meter.vitals(),
            commands: meter.commands(),
            sense: meter.sense(),
            latencies: meter.latencies(),
        }
    }

    /// Runs `job` on the device, after everything queued before it, and waits for what it returns.
    ///
    /// # Errors
    /// When the device has failed.
    pub fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut U) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let (done, wait) = mpsc::sync_channel(1);
        let asked = Asked { job, done };
        self.queue_job(Box::new(move |device: &mut U| asked.run(device)));
        // As long as this front is there, so is the thread: a job that is dropped has met a failed device.
        wait.recv().map_err(|_| Failed)
    }

    /// Runs `job` on the device when its turn comes, without waiting. A device that has failed runs nothing.
    pub fn post(&self, job: impl FnOnce(&mut U) + Send + 'static) {
        self.queue_job(Box::new(move |device: &mut U| -> Tell {
            job(device);
            Box::new(|| ())
        }));
    }

    fn queue_job(&self, job: Job<U>) {
        drop(self.queue.send(Message::Job(job)));
    }
}

/// What a connection can do with a unit, whatever device it is.
pub trait UnitFront: Send + Sync {
    /// Queues a command; its answer goes to `answer`.
    fn submit(&self, task: TaskKey, command: Command, answer: &AnswerTo);
    /// A session began.
    fn nexus_opened(&self, nexus: NexusId, port: InitiatorPort);
    /// A session is gone: its waiting tasks are dropped, the device cleans up behind it.
    fn nexus_closed(&self, nexus: NexusId);
    /// ABORT TASK: true when the task was still owed an answer.
    fn abort_task(&self, nexus: NexusId, task: TaskKey) -> bool;
    /// ABORT TASK SET: takes all tasks of this nexus out.
    fn abort_task_set(&self, nexus: NexusId);
    /// CLEAR TASK SET: takes all tasks out, tells the other nexuses.
    fn clear_task_set(&self, by: NexusId);
    /// A command that was answered already and that the device should know of: REPORT LUNS ends a unit attention.
    fn observe(&self, command: Command);
    /// Every initiator must hear of this.
    fn attention(&self, what: UnitAttention);
    /// A reset: takes all tasks out and resets the device when it next comes up for air.
    fn reset(&self, by: NexusId, reset: Reset);
    /// Why the device does nothing any more, if it does not.
    fn failure(&self) -> Option<Failure>;
    /// A command was answered in its place.
    fn answered(&self, opcode: u8, reply: &Reply);
    /// What it has counted and what waits.
    fn gauge(&self) -> Gauge;
}

impl<U: LogicalUnit + Send + 'static> UnitFront for Unit<U> {
    fn submit(&self, task: TaskKey, command: Command, answer: &AnswerTo) {
        let key = (command.nexus, task);
        let waiting = Waiting { command, session: Span::current() };
        let owed = Task { answer: answer.clone(), waiting: Some(waiting) };
        lock(&self.owed.tasks).insert(key, owed);
        if self.queue.send(Message::Turn(key)).is_err() {
            lock(&self.owed.tasks).remove(&key);
        }
    }

    fn nexus_opened(&self, nexus: NexusId, port: InitiatorPort) {
        self.post(move |device| device.nexus_opened(nexus, &port));
    }

    fn nexus_closed(&self, nexus: NexusId) {
        self.abort_task_set(nexus);
        self.post(move |device| device.nexus_closed(nexus));
    }

    fn abort_task(&self, nexus: NexusId, task: TaskKey) -> bool {
        lock(&self.owed.tasks).remove(&(nexus, task)).is_some()
    }

    fn abort_task_set(&self, nexus: NexusId) {
        lock(&self.owed.tasks).retain(|(owner, _), _| *owner != nexus);
    }

    fn clear_task_set(&self, by: NexusId) {
        // Under the lock: what is submitted from here on must find the unit attention already queued.
        let mut owed = lock(&self.owed.tasks);
        if take_all(&mut owed, by) {
            self.post(move |device| device.attention(UnitAttention::CommandsCleared, Some(by)));
        }
    }

    fn observe(&self, command: Command) {
        self.post(move |device| drop(device.execute(&command)));
    }

    fn attention(&self, what: UnitAttention) {
        self.post(move |device| device.attention(what, None));
    }

    fn reset(&self, by: NexusId, reset: Reset) {
        let mut owed = lock(&self.owed.tasks);
        take_all(&mut owed, by);
        self.post(move |device| device.reset(reset));
    }

    fn failure(&self) -> Option<Failure> {
        self.owed.failure.get().cloned()
    }

    fn answered(&self, opcode: u8, reply: &Reply) {
        self.owed.meter.answered(opcode, reply);
    }

    fn gauge(&self) -> Gauge {
        Unit::gauge(self)
    }
}

/// Empties the task set and tells the other nexuses' connections; true when another nexus lost a task.
fn take_all(tasks: &mut HashMap<Key, Task>, by: NexusId) -> bool {
    let taken: Vec<_> = tasks.drain().collect();
    let mut others = false;
    for ((nexus, task), owed) in taken {
        if nexus != by {
            drop(owed.answer.send(Answer::Gone(task)));
            others = true;
        }
    }
    others
}

/// PREEMPT AND ABORT: takes out what these nexuses wait for and tells their connections.
fn take_those_of(tasks: &Tasks, nexuses: &[NexusId]) {
    if nexuses.is_empty() {
        return;
    }
    for ((_, task), owed) in lock(tasks).extract_if(|(owner, _), _| nexuses.contains(owner)) {
        drop(owed.answer.send(Answer::Gone(task)));
    }
}

/// The thread: serves until the device fails, then answers for it.
fn run<U: LogicalUnit>(
    unit: String,
    mut device: U,
    messages: &mpsc::Receiver<Message<U>>,
    owed: &Owed,
    watch: &mut dyn FnMut(&U),
) {
    // Nobody looks at the device again, whatever state the panic left it in.
    let served = catch_unwind(AssertUnwindSafe(|| serve(&mut device, messages, owed, watch)));
    owed.end();
    let Err(panic) = served else { return };
    let why = said(panic.as_ref());
    error!(unit, why, "a device has failed: it answers HARDWARE ERROR to everything until vtld is restarted");
    let _only_once = owed.failure.set(Failure { unit, why });
    // Not even to take it apart, which could wait for ever or write: a cartridge in it stays there, open, until the restart.
    std::mem::forget(device);
    let broken = || scsi::Reply::check(Check::InternalFailure);
    for ((_, task), one) in lock(&owed.tasks).drain() {
        drop(one.answer.send(Answer::Done(task, broken())));
    }
    while let Ok(message) = messages.recv() {
        if let Message::Turn(key) = message
            && let Some(one) = lock(&owed.tasks).remove(&key)
        {
            drop(one.answer.send(Answer::Done(key.1, broken())));
        }
    }
}

/// The text of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it did not say why".to_owned())
}

fn serve<U: LogicalUnit>(
    device: &mut U,
    messages: &mpsc::Receiver<Message<U>>,
    owed: &Owed,
    watch: &mut dyn FnMut(&U),
) {
    let tasks = &owed.tasks;
    let mut note = |device: &U| {
        owed.meter.note(device.vitals());
        watch(device);
        owed.end();
    };
    while let Some(message) = next(device, messages, owed, &mut note) {
        match message {
            Message::Job(job) => {
                owed.begin();
                let tell = job(device);
                note(device);
                tell();
            }
            Message::Turn(key) => {
                let waiting = lock(tasks).get_mut(&key).and_then(|task| task.waiting.take());
                let Some(Waiting { command, session }) = waiting else { continue };
                owed.begin();
                // What is logged on the way is of that session.
                let reply = session.in_scope(|| device.execute(&command));
                owed.meter.ended(&command, &reply, clock::now_ns());
                drop(command);
                let aborted = device.take_aborted();
                note(device);
                // From here on nothing is asked of the device: an answer that was taken is sent.
                let task = lock(tasks).remove(&key);
                take_those_of(tasks, &aborted);
                if let Some(task) = task {
                    drop(task.answer.send(Answer::Done(key.1, reply)));
                }
            }
        }
    }
}

/// The next message. Meanwhile, and between two messages that follow at once, the device is woken when it is time. `None`: nobody can send any more.
fn next<U: LogicalUnit>(
    device: &mut U,
    messages: &mpsc::Receiver<Message<U>>,
    owed: &Owed,
    note: &mut impl FnMut(&U),
) -> Option<Message<U>> {
    loop {
        let Some(at) = device.wake_at() else { return messages.recv().ok() };
        let now = clock::now_ns();
        if at.0 <= now {
            owed.begin();
            device.wake(Instant(now));
            note(device);
            // A device that wants the same again at once gets it with the next message: it must not keep a processor busy.
            if device.wake_at().is_some_and(|at| at.0 <= now) {
                return messages.recv().ok();
            }
            continue;
        }
        match messages.recv_timeout(Duration::from_nanos(at.0 - now)) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

/// A poisoned lock only means that a thread died between two map operations; the map itself is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use bytes::Bytes;
    use scsi::disk::RamDisk;
    use scsi::spc::Identity;
    use scsi::{Cdb, Persist, PersistFault, Status};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    struct Nothing;

    impl Persist for Nothing {
        fn load(&self, _key: &str) -> Option<Vec<u8>> {
            None
        }

        fn save(&mut self, _key: &str, _value: &[u8]) -> Result<(), PersistFault> {
            Ok(())
        }
    }

    const ONE: NexusId = NexusId(1);
    const TWO: NexusId = NexusId(2);
    const THREE: NexusId = NexusId(3);
    const TEST_UNIT_READY: [u8; 6] = [0; 6];

    /// Three initiators that have heard of the power on.
    fn disk() -> Unit<RamDisk<Nothing>> {
        let personality = RamDisk::<Nothing>::personality().unwrap();
        let device = RamDisk::new(Identity::new(&personality, "D", 1), 1 << 20, Nothing);
        let unit = Unit::start("disk", device).unwrap();
        for (nexus, name) in [(ONE, "iqn.test:1"), (TWO, "iqn.test:2"), (THREE, "iqn.test:3")] {
            unit.nexus_opened(nexus, InitiatorPort { name: name.into(), isid: [0; 6], target_port: 1 });
            drop(run_now(&unit, command(nexus, &TEST_UNIT_READY, &[])));
        }
        unit
    }

    fn command(nexus: NexusId, cdb: &[u8], data: &[u8]) -> Command {
        let data_out = vec![Bytes::copy_from_slice(data)];
        Command { nexus, from: None, cdb: Cdb::new(cdb), data_out, now: scsi::Instant(0) }
    }

    /// PERSISTENT RESERVE OUT, Exclusive Access: service action, key, service action key.
    fn persistent(nexus: NexusId, action: u8, key: u8, action_key: u8) -> Command {
        let mut list = [0; 24];
        (list[7], list[15]) = (key, action_key);
        command(nexus, &[0x5f, action, 0x03, 0, 0, 0, 0, 0, 24, 0], &list)
    }

    fn run_now(unit: &Unit<RamDisk<Nothing>>, command: Command) -> Reply {
        unit.call(move |device| device.execute(&command)).unwrap()
    }

    /// Submits while the unit is busy, so that all of them wait at once; the answers, in the order of the commands.
    fn run_together<U: LogicalUnit + Send + 'static, const N: usize>(
        unit: &Unit<U>,
        commands: [Command; N],
    ) -> [Answer; N] {
        let (go, wait) = mpsc::channel::<()>();
        unit.post(move |_| {
            let _ = wait.recv();
        });
        let mut answers = commands.map(|command| {
            let (to, answers) = unbounded_channel();
            unit.submit(TaskKey::default(), command, &to);
            answers
        });
        go.send(()).unwrap();
        answers.each_mut().map(|answers| answers.blocking_recv().unwrap())
    }

    #[test]
    fn preempt_and_abort_ends_what_the_preempted_initiator_waits_for_without_a_status() {
        let unit = disk();
        for (nexus, key) in [(ONE, 1), (TWO, 2)] {
            assert_eq!(run_now(&unit, persistent(nexus, 0x00, 0, key)).status, Status::Good);
        }
        assert_eq!(run_now(&unit, persistent(TWO, 0x01, 2, 0)).status, Status::Good);
        let waiting = [
            persistent(ONE, 0x05, 1, 2),
            command(TWO, &TEST_UNIT_READY, &[]),
            command(THREE, &TEST_UNIT_READY, &[]),
        ];
        let [preempted, aborted, untouched] = run_together(&unit, waiting);
        assert!(matches!(preempted, Answer::Done(_, reply) if reply.status == Status::Good));
        assert!(matches!(aborted, Answer::Gone(_)), "{aborted:?}");
        assert!(matches!(untouched, Answer::Done(..)), "{untouched:?}");
        let told = run_now(&unit, command(TWO, &TEST_UNIT_READY, &[]));
        assert_eq!(told.sense.unwrap().as_bytes()[12..14], [0x2a, 0x05]);
    }

    #[test]
    fn what_a_device_has_done_is_noted_before_anybody_hears_that_it_is_done() {
        let personality = RamDisk::<Nothing>::personality().unwrap();
        let device = RamDisk::new(Identity::new(&personality, "D", 1), 1 << 20, Nothing);
        let looks = Arc::new(AtomicU64::new(0));
        let count = looks.clone();
        // Whoever is told too early looks too early, too.
        let watch = move |_: &RamDisk<Nothing>| {
            thread::sleep(Duration::from_millis(20));
            count.fetch_add(1, Ordering::Relaxed);
        };
        let unit = Unit::watched("disk", device, watch).unwrap();
        let looks = || looks.load(Ordering::Relaxed);
        assert_eq!((looks(), unit.is_busy()), (1, false));
        unit.call(|_| ()).unwrap();
        assert_eq!((looks(), unit.is_busy()), (2, false));
        let (to, mut answers) = unbounded_channel();
        unit.submit(TaskKey::default(), command(ONE, &TEST_UNIT_READY, &[]), &to);
        answers.blocking_recv().unwrap();
        assert_eq!((looks(), unit.is_busy()), (3, false));
        let (go, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        unit.post(move |_| {
            begun.send(()).unwrap();
            let _ = wait.recv();
        });
        has_begun.recv().unwrap();
        assert!(unit.is_busy());
        go.send(()).unwrap();
        unit.call(|_| ()).unwrap();
        assert_eq!((looks(), unit.is_busy()), (5, false));
    }

    /// Data-Out of which somebody counts the copies.
    struct Counted(Arc<[u8; 512]>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            self.0.as_slice()
        }
    }

    #[test]
    fn a_task_that_is_taken_out_takes_its_data_along_while_the_device_is_busy() {
        let takes: [fn(&Unit<RamDisk<Nothing>>); 5] = [
            |unit| assert!(unit.abort_task(ONE, TaskKey::default())),
            |unit| unit.abort_task_set(ONE),
            |unit| unit.clear_task_set(ONE),
            |unit| unit.reset(TWO, Reset::LogicalUnit),
            |unit| unit.nexus_closed(ONE),
        ];
        let unit = disk();
        for take in takes {
            let (go, wait) = mpsc::channel::<()>();
            unit.post(move |_| {
                let _ = wait.recv();
            });
            let copies = Arc::new([0; 512]);
            let data_out = vec![Bytes::from_owner(Counted(copies.clone()))];
            let write = Command { data_out, ..command(ONE, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[]) };
            let (to, _answers) = unbounded_channel();
            unit.submit(TaskKey::default(), write, &to);
            assert_eq!(Arc::strong_count(&copies), 2);
            take(&unit);
            assert_eq!(Arc::strong_count(&copies), 1, "nothing is kept of it");
            go.send(()).unwrap();
            // Its turn goes by before the next one has its name. A connection never gives one twice.
            unit.call(|_| ()).unwrap();
        }
        assert_eq!(unit.gauge().waiting, 0);
    }

    /// A device that panics when it is asked to rewind, and when it is woken.
    #[derive(Default)]
    struct Fragile {
        wake_at: Option<Instant>,
    }

    impl LogicalUnit for Fragile {
        fn execute(&mut self, command: &Command) -> Reply {
            assert_ne!(command.cdb.opcode(), 0x01, "made to fail");
            Reply::good()
        }

        fn nexus_opened(&mut self, _nexus: NexusId, _port: &InitiatorPort) {}

        fn nexus_closed(&mut self, _nexus: NexusId) {}

        fn reset(&mut self, _reset: Reset) {}

        fn take_aborted(&mut self) -> Vec<NexusId> {
            Vec::new()
        }

        fn attention(&mut self, _what: UnitAttention, _except: Option<NexusId>) {}

        fn wake_at(&self) -> Option<Instant> {
            self.wake_at
        }

        fn wake(&mut self, _now: Instant) {
            panic!("made to fail while nobody asked");
        }
    }

    /// A device that has something to do as soon as nobody asks, takes its time, and raises a flag over it.
    struct Slow {
        begun: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
        tape_alerts: u64,
    }

    impl LogicalUnit for Slow {
        fn execute(&mut self, _command: &Command) -> Reply {
            Reply::good()
        }

        fn nexus_opened(&mut self, _nexus: NexusId, _port: &InitiatorPort) {}

        fn nexus_closed(&mut self, _nexus: NexusId) {}

        fn reset(&mut self, _reset: Reset) {}

        fn take_aborted(&mut self) -> Vec<NexusId> {
            Vec::new()
        }

        fn attention(&mut self, _what: UnitAttention, _except: Option<NexusId>) {}

        fn wake_at(&self) -> Option<Instant> {
            (self.tape_alerts == 0).then_some(Instant(0))
        }

        fn wake(&mut self, _now: Instant) {
            self.begun.send(()).unwrap();
            self.go.recv().unwrap();
            self.tape_alerts = 1;
        }

        fn vitals(&self) -> Vitals {
            Vitals { tape_alerts: self.tape_alerts, ..Vitals::default() }
        }
    }

    #[test]
    fn a_device_that_is_woken_is_busy_and_what_it_has_done_then_is_noted_before_anybody_asks() {
        let ((begun, has_begun), (done, go)) = (mpsc::channel(), mpsc::channel());
        let unit = Unit::start("slow", Slow { begun, go, tape_alerts: 0 }).unwrap();
        has_begun.recv().unwrap();
        assert!(unit.is_busy());
        assert_eq!(unit.gauge().vitals.tape_alerts, 0);
        done.send(()).unwrap();
        let end = clock::now_ns() + 30_000_000_000;
        while unit.is_busy() {
            assert!(clock::now_ns() < end, "it is busy for ever");
            thread::yield_now();
        }
        assert_eq!(unit.gauge().vitals.tape_alerts, 1);
    }

    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("taken apart");
        }
    }

    const REWIND: [u8; 6] = [0x01, 0, 0, 0, 0, 0];

    #[track_caller]
    fn is_hardware_error(answer: Option<Answer>) {
        let Some(Answer::Done(_, reply)) = answer else { panic!("{answer:?}") };
        assert_eq!(reply.status, Status::CheckCondition);
        let sense = reply.sense.unwrap();
        let sense = sense.as_bytes();
        // HARDWARE ERROR, internal target failure; a current error, since the command in hand was not done.
        assert_eq!((sense[0] & 0x7f, sense[2] & 0x0f, sense[12], sense[13]), (0x70, 0x04, 0x44, 0x00));
    }

    fn ask(unit: &Unit<Fragile>, command: Command) -> Option<Answer> {
        let (to, mut answers) = unbounded_channel();
        unit.submit(TaskKey::default(), command, &to);
        answers.blocking_recv()
    }

    #[test]
    fn a_panic_answers_the_command_in_hand_those_that_wait_and_all_that_come_later() {
        let unit = Unit::start("fragile", Fragile::default()).unwrap();
        assert!(matches!(ask(&unit, command(ONE, &TEST_UNIT_READY, &[])), Some(Answer::Done(..))));
        assert_eq!(unit.failure(), None);
        let waiting = [
            command(ONE, &REWIND, &[]),
            command(TWO, &TEST_UNIT_READY, &[]),
            command(THREE, &TEST_UNIT_READY, &[]),
        ];
        for answer in run_together(&unit, waiting) {
            is_hardware_error(Some(answer));
        }
        let failure = unit.failure().unwrap();
        assert_eq!(failure.unit, "fragile");
        assert!(failure.why.contains("made to fail"), "{}", failure.why);
        is_hardware_error(ask(&unit, command(TWO, &TEST_UNIT_READY, &[])));
        assert_eq!(unit.call(|_| 5), Err(Failed), "nobody looks at the device again");
        unit.nexus_closed(TWO);
        unit.reset(ONE, Reset::LogicalUnit);
        is_hardware_error(ask(&unit, command(ONE, &REWIND, &[])));
    }

    #[test]
    fn a_panic_in_a_job_or_without_a_command_fails_the_unit_too() {
        let unit = Unit::start("fragile", Fragile::default()).unwrap();
        assert_eq!(unit.call(|_| -> u8 { panic!("made to fail in a job") }), Err(Failed));
        is_hardware_error(ask(&unit, command(ONE, &TEST_UNIT_READY, &[])));
        let unit = Unit::start("fragile", Fragile { wake_at: Some(Instant(0)) }).unwrap();
        is_hardware_error(ask(&unit, command(ONE, &TEST_UNIT_READY, &[])));
        assert!(unit.failure().unwrap().why.contains("while nobody asked"));
    }

    #[test]
    fn a_device_is_woken_at_its_time_without_a_command() {
        let soon = Instant(clock::now_ns() + 50_000_000);
        let unit = Unit::start("fragile", Fragile { wake_at: Some(soon) }).unwrap();
        assert_eq!(unit.failure(), None);
        while unit.failure().is_none() {
            assert!(clock::now_ns() < soon.0 + 30_000_000_000, "nobody wakes it");
            thread::yield_now();
        }
        assert!(clock::now_ns() >= soon.0);
    }
}
