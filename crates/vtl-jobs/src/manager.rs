//! The one owner of all jobs: starts what is due, tells engines to stop, writes down what became of them.
//!
//! One thread decides who starts; each running job has a thread of its own. Requests run on the threads of those who ask: they change the row first and
//! tell the engine then, so a crash in between stops the job by its row. No lock is held while the file is written.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};
use vtl_meta::Tx;

use crate::choice::{Candidate, Choice, Occupied, choose};
use crate::error::JobError;
use crate::meter::Meter;
use crate::retry::{Class, RetryRules};
use crate::state::{Event, State};
use crate::table::{self, Enqueued, Job, JobId, LogEntry, NewJob, TaskRow, Trouble, apply, enqueue};
use crate::work::{Failure, Live, Outcome, Permit, Plan, Ticket, Wanted, Work};

/// How often it looks when nothing calls it.
const LOOK: Duration = Duration::from_secs(60);
/// How soon it tries again to write what could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// How often old rows are looked for.
const PRUNE: Duration = Duration::from_secs(3600);
/// Who waits for a job looks so often even when nothing is told.
const WAIT_LOOK: Duration = Duration::from_secs(1);
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

pub(crate) struct Shared {
    ledger: Box<dyn Ledger>,
    machine: Box<dyn Machine>,
    works: Vec<Arc<dyn Work>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    settings: Settings,
    held: BTreeMap<JobId, Held>,
    transfers: usize,
    /// Counts everything that somebody may wait for.
    news: u64,
    called: bool,
    stopped: bool,
}

/// A job that has a thread, or whose end is not written yet.
struct Held {
    ticket: Arc<Ticket>,
    /// Only what is half done is taken back.
    undo: bool,
    unwritten: Option<End>,
}

/// How an engine came back.
#[derive(Clone, Debug)]
enum End {
    Done(String),
    Stopped,
    Failed(Failure),
    Undone(Option<Failure>),
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let inner =
            Inner { settings, held: BTreeMap::new(), transfers: 0, news: 0, called: false, stopped: false };
        let shared = Shared { ledger, machine, works, inner: Mutex::new(inner), changed: Condvar::new() };
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
        let made = self.shared.change(|tx| enqueue(tx, new, now_s))?;
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
            _ if job.started_s.is_none() => Some(Event::Drop),
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
        self.shared.change(|tx| {
            let mut job = table::job(tx, id)?;
            match event(&job) {
                Some(event) => apply(tx, &mut job, event, now_s, "asked for"),
                None => Ok(()),
            }
        })?;
        self.shared.want(id, wanted);
        self.poke();
        self.show(id)
    }

    /// Tries again: ends the pause of a job that waits, or makes a new job that does what this one did not.
    ///
    /// # Errors
    /// [`JobError::Unknown`], [`JobError::NotRetried`], as [`enqueue`].
    pub fn retry(&self, id: JobId) -> Result<Shown, JobError> {
        let now_s = self.shared.machine.unix_s();
        let tried = self.shared.change(|tx| {
            let mut job = table::job(tx, id)?;
            match job.state {
                State::Queued => {
                    job.not_before_s = 0;
                    table::save(tx, &job)?;
                    table::log(tx, id, now_s, "retry", "its pause is over, as asked")?;
                    Ok(id)
                }
                State::Failed | State::Cancelled => retried(tx, &job, now_s),
                state => Err(JobError::NotRetried { id, state }),
            }
        })?;
        self.poke();
        self.show(tried)
    }

    /// One job.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or the file fails.
    pub fn show(&self, id: JobId) -> Result<Shown, JobError> {
        let job = self.shared.read(|tx| table::job(tx, id))?;
        Ok(self.shared.shown(job))
    }

    /// All jobs, in the order in which they came.
    ///
    /// # Errors
    /// The file fails.
    pub fn list(&self) -> Result<Vec<Shown>, JobError> {
        let jobs = self.shared.read(table::jobs)?;
        Ok(jobs.into_iter().map(|job| self.shared.shown(job)).collect())
    }

    /// Jobs that have not ended.
    ///
    /// # Errors
    /// The file fails.
    pub fn unfinished(&self) -> Result<Vec<Job>, JobError> {
        let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
        self.shared.read(|tx| table::jobs_in(tx, &open))
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
    };
    let made = enqueue(tx, &new, now_s)?;
    if made.made {
        table::log(tx, made.id, now_s, "retry", &format!("it does what job {} did not", job.id))?;
        table::log(tx, job.id, now_s, "retry", &format!("job {} tries again", made.id))?;
    }
    Ok(made.id)
}

impl Shared {
    fn change<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T, JobError>) -> Result<T, JobError> {
        let (mut work, mut value) = (Some(work), None);
        self.ledger.change(&mut |tx| {
            if let Some(work) = work.take() {
                value = Some(work(tx)?);
            }
            Ok(())
        })?;
        value.ok_or_else(|| JobError::NoThread("the transaction did not take place".to_owned()))
    }

    fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, JobError>) -> Result<T, JobError> {
        let (mut work, mut value) = (Some(work), None);
        self.ledger.read(&mut |tx| {
            if let Some(work) = work.take() {
                value = Some(work(tx)?);
            }
            Ok(())
        })?;
        value.ok_or_else(|| JobError::NoThread("the look did not take place".to_owned()))
    }

    /// What was running when the last server ended.
    fn recover(&self) -> Result<(), JobError> {
        let now_s = self.machine.unix_s();
        self.change(|tx| {
            for mut job in table::jobs_in(tx, &[State::Running, State::Pausing, State::Stopping])? {
                apply(tx, &mut job, Event::Lost, now_s, "the server ended under it")?;
            }
            Ok(())
        })
    }

    /// The thread's work.
    fn rounds(self: Arc<Self>) {
        let mut pruned = None;
        loop {
            let now = self.now();
            if pruned.is_none_or(|at| now.saturating_sub(at) >= PRUNE) {
                pruned = Some(now);
                self.prune();
            }
            let pause = self.round();
            self.wait(pause, || {
                let inner = lock(&self.inner);
                inner.called || inner.stopped
            });
            let mut inner = lock(&self.inner);
            inner.called = false;
            if inner.stopped {
                return;
            }
        }
    }

    fn prune(&self) {
        let keep_s = lock(&self.inner).settings.history_keep_s;
        let before_s = self.machine.unix_s().saturating_sub(keep_s);
        loop {
            match self.change(|tx| table::prune(tx, before_s)) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => return warn!(%error, "old jobs stay in the list for now"),
            }
        }
    }

    /// Looks once and starts what is due; how long until the next look.
    fn round(self: &Arc<Self>) -> Duration {
        let all_written = self.write_ends();
        let choice = match self.choose() {
            Ok(choice) => choice,
            Err(error) => {
                error!(%error, "the list of jobs cannot be read, so none begins");
                return WRITE_AGAIN;
            }
        };
        let mut pause = if all_written { LOOK } else { WRITE_AGAIN };
        for id in choice.start {
            if let Err(error) = self.begin(id) {
                warn!(job = id.0, %error, "a job could not begin");
                pause = pause.min(WRITE_AGAIN);
            }
        }
        choice.look_in_s.map_or(pause, |s| pause.min(Duration::from_secs(s)))
    }

    /// Ends that could not be written when they came; whether all are now.
    fn write_ends(&self) -> bool {
        let ends: Vec<(JobId, End)> = {
            let inner = lock(&self.inner);
            let unwritten = |(id, held): (&JobId, &Held)| Some((*id, held.unwritten.clone()?));
            inner.held.iter().filter_map(unwritten).collect()
        };
        let mut all = true;
        for (id, end) in ends {
            match self.write_end(id, &end) {
                Ok(_) => self.let_go(id),
                Err(_) => all = false,
            }
        }
        all
    }

    fn choose(&self) -> Result<Choice, JobError> {
        let waiting = self.read(|tx| table::jobs_in(tx, &[State::Queued, State::Stopping]))?;
        let inner = lock(&self.inner);
        if inner.stopped {
            return Ok(Choice::default());
        }
        let occupied: Vec<Occupied> = inner
            .held
            .values()
            .map(|held| Occupied { kind: held.ticket.kind.clone(), counts: !held.undo })
            .collect();
        let free = waiting.into_iter().filter(|job| !inner.held.contains_key(&job.id));
        // A kind without an engine is of another version of the server: it waits for that.
        let candidates: Vec<Candidate> = free
            .filter_map(|job| {
                let work = self.work(&job.kind).ok()?;
                Some(Candidate {
                    id: job.id,
                    kind: job.kind,
                    alone: work.alone(),
                    priority: job.priority,
                    state: job.state,
                    not_before_s: job.not_before_s,
                })
            })
            .collect();
        let settings = inner.settings;
        let longest_s = settings.retry.longest_pause_s();
        Ok(choose(&candidates, &occupied, settings.max_running, self.machine.unix_s(), longest_s))
    }

    /// Order: (1) the ticket is there, so that whoever changes the row from now on is heard, (2) the row says running, (3) the engine is called.
    fn begin(self: &Arc<Self>, id: JobId) -> Result<(), JobError> {
        let job = self.read(|tx| table::job(tx, id))?;
        let work = self.work(&job.kind)?;
        let undo = job.state == State::Stopping;
        let counted = job.in_attempt || undo;
        let attempts = if counted { job.attempts } else { job.attempts.saturating_add(1) };
        let ticket = Arc::new(Ticket::new(&Job { attempts, ..job }, self));
        {
            let mut inner = lock(&self.inner);
            if inner.stopped {
                return Ok(());
            }
            inner.held.insert(id, Held { ticket: ticket.clone(), undo, unwritten: None });
        }
        let begun = if undo { Ok(()) } else { self.write_start(id) };
        let spawned = begun.and_then(|()| self.spawn(ticket, work, undo));
        if spawned.is_err() {
            self.let_go(id);
        }
        spawned
    }

    fn write_start(&self, id: JobId) -> Result<(), JobError> {
        let now_s = self.machine.unix_s();
        self.change(|tx| {
            let mut job = table::job(tx, id)?;
            if !job.in_attempt {
                job.attempts = job.attempts.saturating_add(1);
            }
            job.in_attempt = true;
            job.not_before_s = 0;
            job.started_s = job.started_s.or(Some(now_s));
            let told = format!("attempt {}", job.attempts);
            apply(tx, &mut job, Event::Start, now_s, &told)
        })
    }

    fn spawn(self: &Arc<Self>, ticket: Arc<Ticket>, work: Arc<dyn Work>, undo: bool) -> Result<(), JobError> {
        let (shared, id) = (Arc::clone(self), ticket.id);
        let spawned =
            Builder::new().name(format!("job-{id}")).spawn(move || shared.carry(&ticket, &*work, undo));
        match spawned {
            Ok(_) => Ok(()),
            Err(error) => {
                // The row says running; nothing of it has been done.
                let now_s = self.machine.unix_s();
                self.change(|tx| {
                    let mut job = table::job(tx, id)?;
                    apply(tx, &mut job, Event::Stopped, now_s, "the system gave no thread")
                })?;
                Err(JobError::NoThread(error.to_string()))
            }
        }
    }

    /// A job's thread: the engine, its end, and what is to be taken back.
    fn carry(&self, ticket: &Ticket, work: &dyn Work, undo: bool) {
        let id = ticket.id;
        let state = match undo {
            true => Ok(State::Stopping),
            false => self.end(id, run(ticket, work)),
        };
        if matches!(state, Ok(State::Stopping)) && self.begins_to_undo(ticket) {
            let undone = guarded(ticket, || work.undo(ticket)).err();
            let _state = self.end(id, End::Undone(undone));
        }
        if self.is_written(id) {
            self.let_go(id);
        }
        lock(&self.inner).called = true;
        self.tell();
    }

    /// Whether it is to be done now, and not by the next start.
    fn begins_to_undo(&self, ticket: &Ticket) -> bool {
        let mut inner = lock(&self.inner);
        if inner.stopped {
            return false;
        }
        if let Some(held) = inner.held.get_mut(&ticket.id) {
            held.undo = true;
        }
        ticket.want(Wanted::GoOn);
        true
    }

    /// Writes an end, or keeps it until it can be written.
    fn end(&self, id: JobId, end: End) -> Result<State, JobError> {
        let written = self.write_end(id, &end);
        match &written {
            Ok(state) => info!(job = id.0, state = state.word(), "a job has come back"),
            Err(JobError::Unknown(_) | JobError::NoSuchMove { .. }) => {
                error!(job = id.0, ?end, "the end of a job that has no such end");
            }
            Err(failed) => {
                error!(job = id.0, %failed, "the end of a job could not be written; it is tried again");
                if let Some(held) = lock(&self.inner).held.get_mut(&id) {
                    held.unwritten = Some(end);
                }
            }
        }
        written
    }

    fn write_end(&self, id: JobId, end: &End) -> Result<State, JobError> {
        let (now_s, random) = (self.machine.unix_s(), self.machine.random());
        let rules = lock(&self.inner).settings.retry;
        let live = self.live(id).unwrap_or_default();
        self.change(|tx| {
            let mut job = table::job(tx, id)?;
            take_in(tx, &mut job, &live)?;
            let (event, told) = judge(&mut job, end, &rules, now_s, random);
            apply(tx, &mut job, event, now_s, &told)?;
            Ok(job.state)
        })
    }

    pub(crate) fn save_checkpoint(&self, ticket: &Ticket) -> Result<(), JobError> {
        let live = ticket.live();
        self.change(|tx| {
            let mut job = table::job(tx, ticket.id)?;
            take_in(tx, &mut job, &live)?;
            table::save(tx, &job)
        })?;
        self.tell();
        Ok(())
    }

    pub(crate) fn note(&self, id: JobId, told: &str) {
        let now_s = self.machine.unix_s();
        if let Err(error) = self.change(|tx| table::log(tx, id, now_s, "note", told)) {
            warn!(job = id.0, %error, told, "a line of a job's log could not be written");
        }
    }

    fn shown(&self, job: Job) -> Shown {
        let Some(live) = self.live(job.id) else { return Shown { job, rate: None, left_s: None } };
        let (done_bytes, total_bytes) = match live.tasks.is_empty() {
            true => (job.done_bytes, job.total_bytes),
            false => (live.done_bytes(), live.total_bytes()),
        };
        let rate = live.meter.rate(self.now(), done_bytes);
        let left_s = Meter::left_s(rate, total_bytes.saturating_sub(done_bytes));
        Shown { job: Job { done_bytes, total_bytes, ..job }, rate, left_s }
    }

    fn live(&self, id: JobId) -> Option<Live> {
        let ticket = lock(&self.inner).held.get(&id).map(|held| held.ticket.clone());
        ticket.map(|ticket| ticket.live())
    }

    fn want(&self, id: JobId, wanted: Wanted) {
        let inner = lock(&self.inner);
        // While what is half done is taken back only the server's own stop interrupts.
        if let Some(held) = inner.held.get(&id)
            && !inner.stopped
            && !held.undo
        {
            held.ticket.want(wanted);
        }
    }

    fn work(&self, kind: &str) -> Result<Arc<dyn Work>, JobError> {
        let found = self.works.iter().find(|work| work.kind() == kind);
        found.cloned().ok_or_else(|| JobError::UnknownKind(kind.to_owned()))
    }

    fn is_written(&self, id: JobId) -> bool {
        lock(&self.inner).held.get(&id).is_none_or(|held| held.unwritten.is_none())
    }

    fn let_go(&self, id: JobId) {
        lock(&self.inner).held.remove(&id);
        self.tell();
    }

    fn works_on(&self) -> bool {
        lock(&self.inner).held.values().any(|held| held.unwritten.is_none())
    }

    pub(crate) fn take_transfer(shared: &Arc<Self>, given_up: impl Fn() -> bool) -> Option<Permit> {
        loop {
            if given_up() {
                return None;
            }
            {
                let mut inner = lock(&shared.inner);
                if inner.transfers < inner.settings.max_transfers {
                    inner.transfers += 1;
                    return Some(Permit { shared: Arc::clone(shared) });
                }
            }
            shared.wait(WAIT_LOOK, || {
                let inner = lock(&shared.inner);
                inner.transfers < inner.settings.max_transfers || inner.stopped
            });
        }
    }

    pub(crate) fn give_transfer_back(&self) {
        {
            let mut inner = lock(&self.inner);
            inner.transfers = inner.transfers.saturating_sub(1);
        }
        self.tell();
    }

    pub(crate) fn now(&self) -> Duration {
        self.machine.monotonic()
    }

    fn tell(&self) {
        lock(&self.inner).news += 1;
        self.changed.notify_all();
    }

    /// Until `enough`, which is asked whenever something is told, or so long.
    pub(crate) fn wait(&self, time: Duration, enough: impl Fn() -> bool) {
        let end = Instant::now() + time;
        loop {
            let news = lock(&self.inner).news;
            if enough() {
                return;
            }
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return;
            };
            let waited = self.changed.wait_timeout_while(lock(&self.inner), left, |inner| inner.news == news);
            drop(waited);
        }
    }
}

/// What changes all the time goes into the row.
fn take_in(tx: &mut Tx<'_>, job: &mut Job, live: &Live) -> Result<(), JobError> {
    job.checkpoint.clone_from(&live.checkpoint);
    if !live.tasks.is_empty() {
        job.done_bytes = live.done_bytes();
        job.total_bytes = live.total_bytes();
        table::set_tasks(tx, job.id, &live.tasks)?;
    }
    Ok(())
}

/// What an end means for the row.
fn judge(job: &mut Job, end: &End, rules: &RetryRules, now_s: u64, random: u64) -> (Event, String) {
    match end {
        End::Done(result) => {
            job.result = Some(result.clone());
            job.trouble = None;
            (Event::Done, String::new())
        }
        End::Stopped => (Event::Stopped, "at a safe point".to_owned()),
        End::Undone(left) => {
            job.trouble = left.as_ref().map(trouble).or(job.trouble.take());
            (Event::Undone, left.as_ref().map_or_else(String::new, |failure| failure.message.clone()))
        }
        End::Failed(failure) => {
            job.trouble = Some(trouble(failure));
            let Some(pause_s) = rules.pause_s(failure.class, job.attempts, random) else {
                return (Event::Fail, failure.message.clone());
            };
            job.in_attempt = failure.class == Class::Busy;
            job.not_before_s = now_s.saturating_add(pause_s);
            (Event::Again, format!("{}; again in {pause_s} s", failure.message))
        }
    }
}

fn trouble(failure: &Failure) -> Trouble {
    Trouble { code: failure.code.clone(), message: failure.message.clone(), remedy: failure.remedy.clone() }
}

fn run(ticket: &Ticket, work: &dyn Work) -> End {
    match guarded(ticket, || work.run(ticket)) {
        Ok(Outcome::Done(result)) => End::Done(result),
        Ok(Outcome::Stopped) => End::Stopped,
        Err(failure) => End::Failed(failure),
    }
}

/// An engine that panics has failed, and takes nothing else with it.
fn guarded<T>(ticket: &Ticket, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        error!(job = ticket.id.0, kind = ticket.kind, "the engine of a job has panicked");
        Err(Failure {
            class: Class::Permanent,
            code: "internal".to_owned(),
            message: format!("the engine of {} jobs has failed; the log says why", ticket.kind),
            remedy: Some("report what the log says: this is a fault of the program".to_owned()),
        })
    })
}
