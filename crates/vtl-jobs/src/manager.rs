//! The one owner of all jobs, as the rest of the program has it: requests, and what is told.
//!
//! One thread decides who starts (`runner`); each running job has a thread of its own. Requests run on the threads of those who ask: they change the row
//! first and tell the engine then, so a crash in between stops the job by its row.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, warn};
use vtl_meta::Tx;

use crate::error::JobError;
use crate::retry::RetryRules;
use crate::runner::{Inner, Shared, WAIT_LOOK, lock};
use crate::state::{Event, State};
use crate::table::{self, Enqueued, Job, JobId, LogEntry, NewJob, Select, TaskRow, apply, enqueue};
use crate::work::{Failure, Permit, Plan, Wanted, Work};

/// Jobs that are told to stop get so long to come to a safe point before the server stops without them.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// What a ledger is asked to do.
pub type Change<'a> = &'a mut dyn FnMut(&mut Tx<'_>) -> Result<(), JobError>;
/// And to look at.
pub type Look<'a> = &'a mut dyn FnMut(&Tx<'_>) -> Result<(), JobError>;

/// Where the rows are.
pub trait Ledger: Send + Sync {
    /// Runs `work` once in a transaction: all of it is durable when this returns, or nothing.
    ///
    /// # Errors
    /// Whatever `work` returns, or a failure of the file.
    fn change(&self, work: Change<'_>) -> Result<(), JobError>;

    /// Runs `work` once on a consistent view.
    ///
    /// # Errors
    /// Whatever `work` returns, or a failure of the file.
    fn read(&self, work: Look<'_>) -> Result<(), JobError>;
}

/// Clocks and chance.
pub trait Machine: Send + Sync {
    /// Seconds since 1970.
    fn unix_s(&self) -> u64;
    /// Time since any moment.
    fn monotonic(&self) -> Duration;
    /// Any number.
    fn random(&self) -> u64;
}

/// What an operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Jobs at once.
    pub max_running: usize,
    /// Transfers at once, over all jobs.
    pub max_transfers: usize,
    /// How long what has ended is kept.
    pub history_keep_s: u64,
    /// What follows a failure.
    pub retry: RetryRules,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_running: 2,
            max_transfers: 4,
            history_keep_s: 90 * 24 * 60 * 60,
            retry: RetryRules::default(),
        }
    }
}

/// A job as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its row, with the bytes of this moment.
    pub job: Job,
    /// Bytes a second while it runs.
    pub rate: Option<u64>,
    /// Seconds left at that rate.
    pub left_s: Option<u64>,
}

/// The manager. Dropping it is like [`Manager::stop`].
pub struct Manager {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager").field("held", &self.held()).finish_non_exhaustive()
    }
}

/// What trying again may do for a job that has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nothing.
    Itself,
    /// A new job.
    Anew,
}

impl Manager {
    /// Takes over what an earlier one left. Nothing runs before [`Manager::start`].
    ///
    /// # Errors
    /// The rows cannot be read or written.
    pub fn open(
        ledger: Box<dyn Ledger>,
        machine: Box<dyn Machine>,
        works: Vec<Arc<dyn Work>>,
        settings: Settings,
    ) -> Result<Self, JobError> {
        let inner = Inner {
            settings,
            held: BTreeMap::new(),
            transfers: 0,
            waiting: 0,
            news: 0,
            called: false,
            stopped: false,
            unreadable: None,
        };
        let observer = OnceLock::new();
        let inner = Mutex::new(inner);
        let (changed, telling) = (Condvar::new(), Mutex::default());
        let shared = Shared { ledger, machine, works, inner, changed, observer, telling };
        shared.recover()?;
        Ok(Self { shared: Arc::new(shared), thread: Mutex::new(None) })
    }

    /// Begins to work.
    ///
    /// # Errors
    /// [`JobError::NoThread`].
    pub fn start(&self) -> Result<(), JobError> {
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new()
            .name("jobs".to_owned())
            .spawn(move || shared.rounds())
            .map_err(|error| JobError::NoThread(error.to_string()))?;
        *lock(&self.thread) = Some(thread);
        Ok(())
    }

    /// Running jobs come to a safe point; they go on with the next start.
    pub fn stop(&self) {
        {
            let mut inner = lock(&self.shared.inner);
            inner.stopped = true;
            inner.held.values().for_each(|held| held.ticket.want(Wanted::Stop));
        }
        self.shared.tell();
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            error!("the thread that starts jobs had failed");
        }
        let end = Instant::now() + STOP_WAIT;
        while self.shared.works_on() && Instant::now() < end {
            self.shared.wait(WAIT_LOOK, || !self.shared.works_on());
        }
        if self.shared.works_on() {
            warn!("jobs do not come to a safe point; the next start takes them up");
            return;
        }
        // Ends that could not be written are found by the next start.
        let left = std::mem::take(&mut lock(&self.shared.inner).held);
        drop(left);
    }

    /// Whether its thread has failed, so that no job begins any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let finished = lock(&self.thread).as_ref().is_some_and(JoinHandle::is_finished);
        finished && !lock(&self.shared.inner).stopped
    }

    /// Whether there is an engine for jobs of this kind.
    #[must_use]
    pub fn knows(&self, kind: &str) -> bool {
        self.shared.works.iter().any(|work| work.kind() == kind)
    }

    /// There may be something to start: a job has been enqueued.
    pub fn poke(&self) {
        lock(&self.shared.inner).called = true;
        self.shared.tell();
    }

    /// Enqueues in a transaction of its own.
    ///
    /// # Errors
    /// See [`enqueue`]; and [`JobError::UnknownKind`].
    pub fn submit(&self, new: &NewJob) -> Result<Enqueued, JobError> {
        self.shared.work(&new.kind)?;
        let now_s = self.shared.machine.unix_s();
        let order = self.shared.in_order();
        let (made, job) = self.shared.change(|tx| {
            let made = enqueue(tx, new, now_s)?;
            let job = if made.made { Some(table::job(tx, made.id)?) } else { None };
            Ok((made, job))
        })?;
        job.iter().for_each(|job| self.shared.announce(job));
        drop(order);
        self.poke();
        Ok(made)
    }

    /// What a job with this request would do.
    ///
    /// # Errors
    /// [`JobError::UnknownKind`]; inside, what the engine says against it.
    pub fn plan(&self, kind: &str, request: &str) -> Result<Result<Plan, Failure>, JobError> {
        Ok(self.shared.work(kind)?.plan(request))
    }

    /// Cancels a job; one that is cancelled already stays so.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::NoSuchMove`], or the file fails.
    pub fn cancel(&self, id: JobId) -> Result<Shown, JobError> {
        self.ask(id, Wanted::Stop, |job| match job.state {
            State::Stopping | State::Cancelled => None,
            // What it took over of another job is to be taken back.
            _ if job.started_s.is_none() && job.checkpoint.is_empty() => Some(Event::Drop),
            _ => Some(Event::Cancel),
        })
    }

    /// Pauses a job; one that is paused already stays so.
    ///
    /// # Errors
    /// As [`Manager::cancel`].
    pub fn pause(&self, id: JobId) -> Result<Shown, JobError> {
        self.ask(id, Wanted::Stop, |job| match job.state {
            State::Pausing | State::Paused => None,
            _ => Some(Event::Pause),
        })
    }

    /// Lets a paused job go on.
    ///
    /// # Errors
    /// As [`Manager::cancel`].
    pub fn resume(&self, id: JobId) -> Result<Shown, JobError> {
        self.ask(id, Wanted::GoOn, |_| Some(Event::Resume))
    }

    fn ask(
        &self,
        id: JobId,
        wanted: Wanted,
        event: impl Fn(&Job) -> Option<Event>,
    ) -> Result<Shown, JobError> {
        let now_s = self.shared.machine.unix_s();
        let order = self.shared.in_order();
        let changed = self.shared.change(|tx| {
            let mut job = table::job(tx, id)?;
            let Some(event) = event(&job) else { return Ok(None) };
            apply(tx, &mut job, event, now_s, "asked for")?;
            Ok(Some(job))
        })?;
        changed.iter().for_each(|job| self.shared.announce(job));
        // Before the row changes again: the engine hears last what its row says last.
        self.shared.want(id, wanted);
        drop(order);
        self.poke();
        self.show(id)
    }

    /// Tries again: ends the pause of a job that waits, or makes a new job that does what this one did not.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::NotRetried`], as [`enqueue`].
    pub fn retry(&self, id: JobId) -> Result<Shown, JobError> {
        self.try_again(id, Again::Anew)
    }

    /// Ends the pause of a job that waits, and makes no new one.
    ///
    /// # Errors
    /// As [`Manager::retry`]; of a job that has ended, [`JobError::NotRetried`].
    pub fn end_pause(&self, id: JobId) -> Result<Shown, JobError> {
        self.try_again(id, Again::Itself)
    }

    fn try_again(&self, id: JobId, again: Again) -> Result<Shown, JobError> {
        let now_s = self.shared.machine.unix_s();
        let order = self.shared.in_order();
        let tried = self.shared.change(|tx| {
            let mut job = table::job(tx, id)?;
            match job.state {
                State::Queued => {
                    job.not_before_s = 0;
                    table::save(tx, &job)?;
                    table::log(tx, id, now_s, "retry", "its pause is over, as asked")?;
                    Ok(job)
                }
                State::Failed | State::Cancelled if again == Again::Anew => {
                    let id = retried(tx, &job, now_s)?;
                    table::job(tx, id)
                }
                state => Err(JobError::NotRetried { id, state }),
            }
        })?;
        self.shared.announce(&tried);
        drop(order);
        self.poke();
        self.show(tried.id)
    }

    /// One job.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or the file fails.
    pub fn show(&self, id: JobId) -> Result<Shown, JobError> {
        let job = self.shared.read(|tx| table::job(tx, id))?;
        Ok(self.shared.shown(job))
    }

    /// Some jobs of all.
    ///
    /// # Errors
    /// The file fails.
    pub fn select(&self, asked: &Select) -> Result<Vec<Shown>, JobError> {
        let jobs = self.shared.read(|tx| table::select(tx, asked))?;
        Ok(jobs.into_iter().map(|job| self.shared.shown(job)).collect())
    }

    /// Jobs that have a thread now.
    #[must_use]
    pub fn running(&self) -> Vec<JobId> {
        lock(&self.shared.inner).held.keys().copied().collect()
    }

    /// Who is told of each job that comes and of each change of a state, after it was written. Said once, before [`Manager::start`]. It must not
    /// wait, and it must not ask the manager. What was enqueued in somebody else's transaction it is not told of.
    pub fn tell(&self, observer: impl Fn(&Job) + Send + Sync + 'static) {
        drop(self.shared.observer.set(Box::new(observer)));
    }

    /// All jobs, in the order in which they came.
    ///
    /// # Errors
    /// The file fails.
    pub fn list(&self) -> Result<Vec<Shown>, JobError> {
        let jobs = self.shared.read(table::jobs)?;
        Ok(jobs.into_iter().map(|job| self.shared.shown(job)).collect())
    }

    /// How many jobs of each kind are in each state: all states of a kind that is in the list.
    ///
    /// # Errors
    /// The file fails.
    pub fn counts(&self) -> Result<Vec<(String, &'static str, u64)>, JobError> {
        self.shared.read(table::counts)
    }

    /// Jobs that have failed and were not tried again.
    ///
    /// # Errors
    /// The file fails.
    pub fn failed(&self) -> Result<Vec<Job>, JobError> {
        self.shared.read(|tx| table::jobs_in(tx, &[State::Failed]))
    }

    /// Jobs that have not ended.
    ///
    /// # Errors
    /// The file fails.
    pub fn unfinished(&self) -> Result<Vec<Job>, JobError> {
        self.shared.read(table::unfinished)
    }

    /// The parts of a job and its log.
    ///
    /// # Errors
    /// The file fails.
    pub fn detail(&self, id: JobId) -> Result<(Vec<TaskRow>, Vec<LogEntry>), JobError> {
        let (tasks, events) = self.shared.read(|tx| Ok((table::tasks(tx, id)?, table::events(tx, id)?)))?;
        let live = self.shared.live(id).map(|live| live.tasks).filter(|live| !live.is_empty());
        Ok((live.unwrap_or(tasks), events))
    }

    /// Waits until `enough` says so of the job; none: the manager stops, or the time is over.
    ///
    /// # Errors
    /// As [`Manager::show`].
    pub fn wait_until(
        &self,
        id: JobId,
        longest: Option<Duration>,
        enough: impl Fn(&Job) -> bool,
    ) -> Result<Option<Job>, JobError> {
        let end = longest.map(|longest| Instant::now() + longest);
        loop {
            let news = lock(&self.shared.inner).news;
            let job = self.show(id)?.job;
            if enough(&job) {
                return Ok(Some(job));
            }
            if lock(&self.shared.inner).stopped || end.is_some_and(|end| Instant::now() >= end) {
                return Ok(None);
            }
            self.shared.wait(WAIT_LOOK, || lock(&self.shared.inner).news != news);
        }
    }

    /// Waits for a turn among the transfers of all jobs, for something that is none; nothing when it is given up or the manager stops.
    pub fn transfer(&self, given_up: impl Fn() -> bool) -> Option<Permit> {
        let stopped = || lock(&self.shared.inner).stopped;
        Shared::take_transfer(&self.shared, || given_up() || stopped())
    }

    /// Removes what has ended; how many.
    ///
    /// # Errors
    /// The file fails.
    pub fn clear(&self) -> Result<u64, JobError> {
        self.shared.change(table::clear)
    }

    /// Heeded from now on.
    pub fn set(&self, settings: Settings) {
        lock(&self.shared.inner).settings = settings;
        self.poke();
    }

    /// Why the list cannot be read, so that no job begins.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        lock(&self.shared.inner).unreadable.clone()
    }

    /// Jobs in memory: those that run, and those whose end is not written yet.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.shared.inner).held.len()
    }

    /// Jobs that have come to an end that could not be written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        lock(&self.shared.inner).held.values().filter(|held| held.unwritten.is_some()).count()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.stop();
    }
}

fn retried(tx: &mut Tx<'_>, job: &Job, now_s: u64) -> Result<JobId, JobError> {
    let new = NewJob {
        key: format!("retry:{}", job.id),
        kind: job.kind.clone(),
        label: job.label.clone(),
        request: job.request.clone(),
        priority: job.priority,
        // What a cancelled one had half done is taken back.
        checkpoint: if job.state == State::Failed { job.checkpoint.clone() } else { Vec::new() },
        before: Vec::new(),
    };
    let made = enqueue(tx, &new, now_s)?;
    if made.made {
        table::log(tx, made.id, now_s, "retry", &format!("it does what job {} did not", job.id))?;
        table::log(tx, job.id, now_s, "retry", &format!("job {} tries again", made.id))?;
    }
    Ok(made.id)
}
