//! A logical unit as the daemon runs it: one thread that owns the device model, a queue in front of it, and the set of tasks it owes an answer.
//!
//! The task set is the one truth about what is owed: a task is in it from `submit` until its answer is sent, or until task management takes it out.
//! A command whose task was taken out while it waited is never started; one that was running ends silently.

use std::collections::HashMap;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use scsi::{Command, InitiatorPort, Instant, LogicalUnit, NexusId, Reply, Reset, UnitAttention};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;

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

type Job<U> = Box<dyn FnOnce(&mut U) + Send>;

enum Message<U> {
    Command(TaskKey, Command),
    Job(Job<U>),
}

type Tasks = Arc<Mutex<HashMap<(NexusId, TaskKey), AnswerTo>>>;

/// The front of a unit; clones share it. The thread ends when the last clone is gone.
pub struct Unit<U> {
    queue: mpsc::Sender<Message<U>>,
    tasks: Tasks,
}

impl<U> Clone for Unit<U> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), tasks: self.tasks.clone() }
    }
}

/// The unit's thread has ended: the daemon is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl<U: LogicalUnit + Send + 'static> Unit<U> {
    /// Starts the unit's thread around `device`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(name: &str, device: U) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let tasks = Tasks::default();
        let owed = tasks.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || run(device, &messages, &owed))?;
        Ok(Self { queue, tasks })
    }

    /// Runs `job` on the device, after everything queued before it, and waits for what it returns.
    ///
    /// # Errors
    /// When the unit has stopped.
    pub fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut U) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (done, wait) = mpsc::sync_channel(1);
        self.post(move |device| drop(done.send(job(device))));
        wait.recv().map_err(|_| Stopped)
    }

    /// Runs `job` on the device when its turn comes, without waiting.
    pub fn post(&self, job: impl FnOnce(&mut U) + Send + 'static) {
        drop(self.queue.send(Message::Job(Box::new(job))));
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
}

impl<U: LogicalUnit + Send + 'static> UnitFront for Unit<U> {
    fn submit(&self, task: TaskKey, command: Command, answer: &AnswerTo) {
        let key = (command.nexus, task);
        lock(&self.tasks).insert(key, answer.clone());
        if self.queue.send(Message::Command(task, command)).is_err() {
            lock(&self.tasks).remove(&key);
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
        lock(&self.tasks).remove(&(nexus, task)).is_some()
    }

    fn abort_task_set(&self, nexus: NexusId) {
        lock(&self.tasks).retain(|(owner, _), _| *owner != nexus);
    }

    fn clear_task_set(&self, by: NexusId) {
        // Under the lock: what is submitted from here on must find the unit attention already queued.
        let mut owed = lock(&self.tasks);
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
        let mut owed = lock(&self.tasks);
        take_all(&mut owed, by);
        self.post(move |device| device.reset(reset));
    }
}

/// Empties the task set and tells the other nexuses' connections; true when another nexus lost a task.
fn take_all(tasks: &mut HashMap<(NexusId, TaskKey), AnswerTo>, by: NexusId) -> bool {
    let taken: Vec<_> = tasks.drain().collect();
    let mut others = false;
    for ((nexus, task), answer) in taken {
        if nexus != by {
            drop(answer.send(Answer::Gone(task)));
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
    for ((_, task), answer) in lock(tasks).extract_if(|(owner, _), _| nexuses.contains(owner)) {
        drop(answer.send(Answer::Gone(task)));
    }
}

fn run<U: LogicalUnit>(mut device: U, messages: &mpsc::Receiver<Message<U>>, tasks: &Tasks) {
    while let Some(message) = next(&mut device, messages) {
        match message {
            Message::Job(job) => job(&mut device),
            Message::Command(task, command) => {
                let key = (command.nexus, task);
                if !lock(tasks).contains_key(&key) {
                    continue;
                }
                let reply = device.execute(&command);
                drop(command);
                let answer = lock(tasks).remove(&key);
                take_those_of(tasks, &device.take_aborted());
                if let Some(answer) = answer {
                    drop(answer.send(Answer::Done(task, reply)));
                }
            }
        }
    }
}

/// The next message. Meanwhile, and between two messages that follow at once, the device is woken when it is time. `None`: nobody can send any more.
fn next<U: LogicalUnit>(device: &mut U, messages: &mpsc::Receiver<Message<U>>) -> Option<Message<U>> {
    loop {
        let Some(at) = device.wake_at() else { return messages.recv().ok() };
        let now = clock::now_ns();
        if at.0 <= now {
            device.wake(Instant(now));
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
        Command { nexus, cdb: Cdb::new(cdb), data_out, now: scsi::Instant(0) }
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
    fn run_together<const N: usize>(unit: &Unit<RamDisk<Nothing>>, commands: [Command; N]) -> [Answer; N] {
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
}
