//! A logical unit as the daemon runs it: one thread that owns the device model, a queue in front of it, and the set of tasks it owes an answer.
//!
//! The task set is the one truth about what is owed: a task is in it from `submit` until its answer is sent, or until task management takes it out.
//! A command whose task was taken out while it waited is never started; one that was running ends silently.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use scsi::{Command, InitiatorPort, LogicalUnit, NexusId, Reply, Reset, UnitAttention};
use tokio::sync::mpsc::UnboundedSender;

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
        if take_all(&self.tasks, by) {
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
        take_all(&self.tasks, by);
        self.post(move |device| device.reset(reset));
    }
}

/// Empties the task set and tells the other nexuses' connections; true when another nexus lost a task.
fn take_all(tasks: &Tasks, by: NexusId) -> bool {
    let taken: Vec<_> = lock(tasks).drain().collect();
    let mut others = false;
    for ((nexus, task), answer) in taken {
        if nexus != by {
            drop(answer.send(Answer::Gone(task)));
            others = true;
        }
    }
    others
}

fn run<U: LogicalUnit>(mut device: U, messages: &mpsc::Receiver<Message<U>>, tasks: &Tasks) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Job(job) => job(&mut device),
            Message::Command(task, command) => {
                let key = (command.nexus, task);
                if !lock(tasks).contains_key(&key) {
                    continue;
                }
                let reply = device.execute(&command);
                drop(command);
                if let Some(answer) = lock(tasks).remove(&key) {
                    drop(answer.send(Answer::Done(task, reply)));
                }
            }
        }
    }
}

/// A poisoned lock only means that a thread died between two map operations; the map itself is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
