//! What an engine is to the manager, and what a running job is to its engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{Span, error_span};

use crate::meter::Meter;
use crate::retry::Class;
use crate::runner::{Shared, lock};
use crate::table::{Job, JobId, NewJob, TaskRow, TaskState};

/// An engine: does the jobs of one kind.
pub trait Work: Send + Sync {
    /// The kind.
    fn kind(&self) -> &'static str;

    /// Whether one of them runs at a time.
    fn alone(&self) -> bool {
        false
    }

    /// What a job with this request would do. Changes nothing that anybody would miss.
    ///
    /// # Errors
    /// Why it could not be done.
    fn plan(&self, request: &str) -> Result<Plan, Failure>;

    /// Does the job, from its checkpoint on, on a thread of its own. Comes back at the next safe point, within a few seconds, when the ticket says
    /// [`Wanted::Stop`].
    ///
    /// # Errors
    /// Why it could not be done, and whether trying again helps.
    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure>;

    /// The job is about to fail, and then tried again only when somebody asks for it: what it kept at hand for another attempt can go. Of what is asked
    /// of the job meanwhile, and was before, the ticket says nothing: it says [`Wanted::Stop`] when the server stops. A job that is cancelled by then is
    /// not told, because [`Work::undo`] follows.
    ///
    /// # Errors
    /// What is left behind; the job's log says so.
    fn failed(&self, ticket: &Ticket) -> Result<(), Failure> {
        let _ = ticket;
        Ok(())
    }

    /// Takes back what is half done of a job that was cancelled, within a few seconds: what takes longer is left behind. May be called again after a crash.
    ///
    /// # Errors
    /// What is left behind, and in its remedy what removes it; the job is cancelled all the same, and says so. A job that removes it by itself is named to
    /// [`Ticket::follow`] before.
    fn undo(&self, ticket: &Ticket) -> Result<(), Failure>;
}

/// How a job ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is done; what there is to say of it.
    Done(String),
    /// It stopped at a safe point because that was wanted.
    Stopped,
}

/// What stopped an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether trying again helps.
    pub class: Class,
    /// A word that programs can test.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Failure {
    /// What is wrong and what to do about it in one text, where there is room for one only.
    #[must_use]
    pub fn advised(self) -> String {
        match self.remedy {
            Some(remedy) => format!("{}: {remedy}", self.message),
            None => self.message,
        }
    }
}

/// What a job would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Its parts, in order.
    pub tasks: Vec<PlannedTask>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// A part of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTask {
    /// What it does.
    pub name: String,
    /// Bytes that it reads, writes or frees, as its name says.
    pub bytes: u64,
}

/// What is wanted of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it goes on.
    GoOn,
    /// That it stops at the next safe point.
    Stop,
}

/// So many bytes name a job or a session in logs (W3C Trace Context, 3.2.2.3).
const TRACE_BYTES: usize = 16;

/// The same over all attempts and starts.
fn trace_of(job: &Job) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("vtl job trace 1");
    hasher
        .update(&job.id.0.to_le_bytes())
        .update(&job.created_s.to_le_bytes())
        .update(job.request.as_bytes());
    let mut id = [0; TRACE_BYTES];
    hasher.finalize_xof().fill(&mut id);
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A running job, in the hands of its engine.
pub struct Ticket {
    pub(crate) id: JobId,
    pub(crate) kind: String,
    label: Option<String>,
    request: String,
    attempt: u32,
    stop: AtomicBool,
    live: Mutex<Live>,
    shared: Arc<Shared>,
    span: Span,
}

/// What changes all the time, and is written now and then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    pub(crate) tasks: Vec<TaskRow>,
    pub(crate) meter: Meter,
    pub(crate) checkpoint: Vec<u8>,
    /// Goes on with what could not be taken back.
    pub(crate) follows: Option<NewJob>,
}

impl Live {
    pub(crate) fn done_bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.done_bytes).sum()
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.tasks.iter().map(|task| task.total_bytes).sum()
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Ticket {
    pub(crate) fn new(job: &Job, shared: &Arc<Shared>) -> Self {
        Self {
            id: job.id,
            kind: job.kind.clone(),
            label: job.label.clone(),
            request: job.request.clone(),
            attempt: job.attempts,
            stop: AtomicBool::new(false),
            live: Mutex::new(Live { checkpoint: job.checkpoint.clone(), ..Live::default() }),
            shared: Arc::clone(shared),
            // Whatever level is logged: a line without its job is of little use.
            span: error_span!("job", job = job.id.0, kind = job.kind, trace = trace_of(job)),
        }
    }

    /// What the job's lines in the log carry. An engine that starts a thread enters it there.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The job's number.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What it is about.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// What was asked.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// What was saved last, by whichever attempt; empty: nothing.
    pub fn checkpoint(&self) -> Vec<u8> {
        lock(&self.live).checkpoint.clone()
    }

    /// Whether to go on. To be asked at every safe point.
    pub fn wanted(&self) -> Wanted {
        if self.stop.load(Ordering::SeqCst) { Wanted::Stop } else { Wanted::GoOn }
    }

    /// Waits so long, or until a stop is wanted.
    pub fn wait(&self, time: Duration) -> Wanted {
        self.shared.wait(time, || self.wanted() == Wanted::Stop);
        self.wanted()
    }

    /// Names the parts of the job; none of them is begun.
    pub fn set_tasks(&self, names: &[&str]) {
        let task = |name: &&str| TaskRow {
            name: (*name).to_owned(),
            state: TaskState::Waiting,
            done_bytes: 0,
            total_bytes: 0,
        };
        lock(&self.live).tasks = names.iter().map(task).collect();
    }

    /// How far the part with this number (from 0) is. A total of 0 is one that is not known.
    pub fn progress(&self, task: usize, done_bytes: u64, total_bytes: u64) {
        let now = self.shared.now();
        let mut live = lock(&self.live);
        if let Some(task) = live.tasks.get_mut(task) {
            task.state = TaskState::Running;
            task.done_bytes = done_bytes;
            task.total_bytes = if total_bytes == 0 { 0 } else { total_bytes.max(done_bytes) };
        }
        let done = live.done_bytes();
        live.meter.add(now, done);
    }

    /// The part with this number is done.
    pub fn task_done(&self, task: usize) {
        if let Some(task) = lock(&self.live).tasks.get_mut(task) {
            task.state = TaskState::Done;
            task.done_bytes = task.total_bytes;
        }
    }

    /// Remembers where to go on. Durable when it returns.
    ///
    /// # Errors
    /// It is not: what comes next must not be done yet.
    pub fn save(&self, checkpoint: Vec<u8>) -> Result<(), Failure> {
        let before = std::mem::replace(&mut lock(&self.live).checkpoint, checkpoint);
        self.shared.save_checkpoint(self).map_err(|error| {
            lock(&self.live).checkpoint = before;
            Failure {
                class: Class::Temporary,
                code: "internal".to_owned(),
                message: format!("the place of job {} could not be saved: {error}", self.id),
                remedy: Some("see the log, and check the disk of the state folder".to_owned()),
            }
        })
    }

    /// Adds a line to the job's log. One that cannot be written is left out.
    pub fn note(&self, text: &str) {
        self.shared.note(self.id, text);
    }

    /// Names the job that goes on with what an undo leaves behind. It is enqueued with the end of this one, and not before, when [`Work::undo`] says that
    /// something is left; the remedy names it then.
    pub fn follow(&self, new: NewJob) {
        lock(&self.live).follows = Some(new);
    }

    /// Waits for its turn among all transfers; none: a stop is wanted.
    pub fn transfer(&self) -> Option<Permit> {
        Shared::take_transfer(&self.shared, || self.wanted() == Wanted::Stop)
    }

    /// One transfer more, beside one that is held already: when one is free and nobody waits for it. It is never waited for, so that two who hold one
    /// each do not wait for each other.
    pub fn another_transfer(&self) -> Option<Permit> {
        Shared::free_transfer(&self.shared)
    }

    pub(crate) fn want(&self, wanted: Wanted) {
        self.stop.store(wanted == Wanted::Stop, Ordering::SeqCst);
    }

    pub(crate) fn live(&self) -> Live {
        lock(&self.live).clone()
    }
}

/// The right to one transfer; dropping it gives it back.
pub struct Permit {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.give_transfer_back();
    }
}
