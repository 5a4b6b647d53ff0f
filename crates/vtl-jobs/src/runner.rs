//! What runs behind the manager: who starts next, the threads of jobs, and what is written when an engine comes back.
//!
//! No lock is held while the file is written. A row is changed before anybody in memory hears of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};
use vtl_meta::Tx;

use crate::choice::{Candidate, Choice, Occupied, choose};
use crate::error::JobError;
use crate::manager::{Ledger, Machine, Settings, Shown};
use crate::meter::Meter;
use crate::retry::{Class, RetryRules};
use crate::state::{Event, State};
use crate::table::{self, Job, JobId, Trouble, apply, enqueue};
use crate::work::{Failure, Live, Outcome, Permit, Ticket, Wanted, Work};

/// How often it looks when nothing calls it.
const LOOK: Duration = Duration::from_secs(60);
/// How soon it tries again to write what could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// How often old rows are looked for.
const PRUNE: Duration = Duration::from_secs(3600);
/// Who waits for something looks so often even when nothing is told.
pub(crate) const WAIT_LOOK: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) ledger: Box<dyn Ledger>,
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) works: Vec<Arc<dyn Work>>,
    pub(crate) inner: Mutex<Inner>,
    pub(crate) changed: Condvar,
    pub(crate) observer: OnceLock<Box<Observer>>,
    /// See [`Shared::in_order`].
    pub(crate) telling: Mutex<()>,
}

/// Hears of jobs whose state has changed.
pub(crate) type Observer = dyn Fn(&Job) + Send + Sync;

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) held: BTreeMap<JobId, Held>,
    pub(crate) transfers: usize,
    /// Who waits for a transfer.
    pub(crate) waiting: usize,
    /// Counts everything that somebody may wait for.
    pub(crate) news: u64,
    pub(crate) called: bool,
    pub(crate) stopped: bool,
    /// Why the list could not be read at the last look.
    pub(crate) unreadable: Option<String>,
}

/// A job that has a thread, or whose end is not written yet.
pub(crate) struct Held {
    pub(crate) ticket: Arc<Ticket>,
    phase: Phase,
    pub(crate) unwritten: Option<End>,
}

/// What the thread of a job does. All but the first is done whatever is asked of the job meanwhile: only the server's own stop interrupts it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The job itself.
    Works,
    /// The job is about to fail: the engine clears away what no attempt will need.
    ClearsAway,
    /// Only what is half done is taken back.
    TakesBack,
}

/// How an engine came back.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Done(String),
    Stopped,
    Failed(Failure),
    Undone(Option<Failure>),
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, JobError>,
    ) -> Result<T, JobError> {
        let (mut work, mut value) = (Some(work), None);
        self.ledger.change(&mut |tx| {
            if let Some(work) = work.take() {
                value = Some(work(tx)?);
            }
            Ok(())
        })?;
        value.ok_or(JobError::NotRun)
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, JobError>) -> Result<T, JobError> {
        let (mut work, mut value) = (Some(work), None);
        self.ledger.read(&mut |tx| {
            if let Some(work) = work.take() {
                value = Some(work(tx)?);
            }
            Ok(())
        })?;
        value.ok_or(JobError::NotRun)
    }

    /// To be held over a change of a job and its telling, so that changes are told in their order, to observers and to the engine. Observers change no
    /// job. It is taken before [`Shared::inner`], never while that is held.
    pub(crate) fn in_order(&self) -> MutexGuard<'_, ()> {
        lock(&self.telling)
    }

    /// Tells of a change, which is durable.
    pub(crate) fn announce(&self, job: &Job) {
        if let Some(observer) = self.observer.get() {
            observer(job);
        }
    }

    /// What was running when the last server ended.
    pub(crate) fn recover(&self) -> Result<(), JobError> {
        let now_s = self.machine.unix_s();
        self.change(|tx| {
            for mut job in table::jobs_in(tx, &[State::Running, State::Pausing, State::Stopping])? {
                apply(tx, &mut job, Event::Lost, now_s, "the server ended under it")?;
            }
            Ok(())
        })
    }

    /// The thread's work.
    pub(crate) fn rounds(self: Arc<Self>) {
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
        let chosen = self.choose();
        lock(&self.inner).unreadable = chosen.as_ref().err().map(ToString::to_string);
        let choice = match chosen {
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
            .map(|held| Occupied { kind: held.ticket.kind.clone(), counts: held.phase != Phase::TakesBack })
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
            let phase = if undo { Phase::TakesBack } else { Phase::Works };
            inner.held.insert(id, Held { ticket: ticket.clone(), phase, unwritten: None });
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
        let _order = self.in_order();
        let started = self.change(|tx| {
            let mut job = table::job(tx, id)?;
            if !job.in_attempt {
                job.attempts = job.attempts.saturating_add(1);
            }
            job.in_attempt = true;
            job.not_before_s = 0;
            job.started_s = job.started_s.or(Some(now_s));
            let told = format!("attempt {}", job.attempts);
            apply(tx, &mut job, Event::Start, now_s, &told)?;
            Ok(job)
        })?;
        self.announce(&started);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, ticket: Arc<Ticket>, work: Arc<dyn Work>, undo: bool) -> Result<(), JobError> {
        let (shared, id) = (Arc::clone(self), ticket.id);
        let spawned = Builder::new().name(format!("job-{id}")).spawn(move || {
            ticket.span().in_scope(|| shared.carry(&ticket, &*work, undo));
        });
        match spawned {
            Ok(_) => Ok(()),
            Err(error) => {
                // The row says running; nothing of it has been done.
                let now_s = self.machine.unix_s();
                let _order = self.in_order();
                let stopped = self.change(|tx| {
                    let mut job = table::job(tx, id)?;
                    apply(tx, &mut job, Event::Stopped, now_s, "the system gave no thread")?;
                    Ok(job)
                })?;
                self.announce(&stopped);
                Err(JobError::NoThread(error.to_string()))
            }
        }
    }

    /// A job's thread: the engine, its end, and what is to be taken back.
    fn carry(&self, ticket: &Ticket, work: &dyn Work, undo: bool) {
        let id = ticket.id;
        let state = match undo {
            true => Ok(State::Stopping),
            false => {
                let end = run(ticket, work);
                self.before_it_fails(ticket, work, &end);
                self.end(id, end)
            }
        };
        // What the server stops before is taken back by the next start.
        if matches!(state, Ok(State::Stopping)) && self.enter(ticket, Phase::TakesBack) {
            let undone = guarded(ticket, || work.undo(ticket)).err();
            let _state = self.end(id, End::Undone(undone));
        }
        if self.is_written(id) {
            self.let_go(id);
        }
        lock(&self.inner).called = true;
        self.tell();
    }

    /// Has the engine clear away what no attempt will need, when none follows by itself and the job is not taken back in any case.
    fn before_it_fails(&self, ticket: &Ticket, work: &dyn Work, end: &End) {
        let End::Failed(failure) = end else { return };
        let rules = lock(&self.inner).settings.retry;
        if rules.pause_s(failure.class, ticket.attempt(), 0).is_some() || self.is_cancelled(ticket.id) {
            return;
        }
        // While the server stops the ticket says so.
        let _goes_on = self.enter(ticket, Phase::ClearsAway);
        if let Err(left) = guarded(ticket, || work.failed(ticket)) {
            ticket.note(&left.message);
        }
    }

    /// Whether what is half done of a job is taken back as soon as its engine is back.
    fn is_cancelled(&self, id: JobId) -> bool {
        self.read(|tx| table::job(tx, id)).is_ok_and(|job| job.state == State::Stopping)
    }

    /// From now on the thread does this, whatever was asked of the job before. False, and nothing changes: the server stops.
    fn enter(&self, ticket: &Ticket, phase: Phase) -> bool {
        let mut inner = lock(&self.inner);
        if inner.stopped {
            return false;
        }
        if let Some(held) = inner.held.get_mut(&ticket.id) {
            held.phase = phase;
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
        let _order = self.in_order();
        let (ended, follower) = self.change(|tx| {
            let mut job = table::job(tx, id)?;
            take_in(tx, &mut job, &live)?;
            let (end, follower) = handed_over(tx, end, &live, now_s)?;
            let (event, told) = judge(&mut job, &end, &rules, now_s, random);
            apply(tx, &mut job, event, now_s, &told)?;
            Ok((job, follower))
        })?;
        self.announce(&ended);
        follower.iter().for_each(|job| self.announce(job));
        Ok(ended.state)
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

    pub(crate) fn shown(&self, job: Job) -> Shown {
        let Some(live) = self.live(job.id) else { return Shown { job, rate: None, left_s: None } };
        let (done_bytes, total_bytes) = match live.tasks.is_empty() {
            true => (job.done_bytes, job.total_bytes),
            false => (live.done_bytes(), live.total_bytes()),
        };
        let rate = live.meter.rate(self.now(), done_bytes);
        let is_known = total_bytes > 0;
        let left_s = is_known.then(|| Meter::left_s(rate, total_bytes.saturating_sub(done_bytes))).flatten();
        Shown { job: Job { done_bytes, total_bytes, ..job }, rate, left_s }
    }

    pub(crate) fn live(&self, id: JobId) -> Option<Live> {
        let ticket = lock(&self.inner).held.get(&id).map(|held| held.ticket.clone());
        ticket.map(|ticket| ticket.live())
    }

    pub(crate) fn want(&self, id: JobId, wanted: Wanted) {
        let inner = lock(&self.inner);
        if let Some(held) = inner.held.get(&id)
            && !inner.stopped
            && held.phase == Phase::Works
        {
            held.ticket.want(wanted);
        }
    }

    pub(crate) fn work(&self, kind: &str) -> Result<Arc<dyn Work>, JobError> {
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

    pub(crate) fn works_on(&self) -> bool {
        lock(&self.inner).held.values().any(|held| held.unwritten.is_none())
    }

    pub(crate) fn take_transfer(shared: &Arc<Self>, given_up: impl Fn() -> bool) -> Option<Permit> {
        lock(&shared.inner).waiting += 1;
        let taken = Self::wait_for_transfer(shared, given_up);
        let mut inner = lock(&shared.inner);
        inner.waiting = inner.waiting.saturating_sub(1);
        drop(inner);
        taken
    }

    /// One that is free and that nobody waits for.
    pub(crate) fn free_transfer(shared: &Arc<Self>) -> Option<Permit> {
        Self::transfer_if(shared, |inner| inner.waiting == 0)
    }

    fn transfer_if(shared: &Arc<Self>, so: impl Fn(&Inner) -> bool) -> Option<Permit> {
        let mut inner = lock(&shared.inner);
        if inner.transfers >= inner.settings.max_transfers || !so(&inner) {
            return None;
        }
        inner.transfers += 1;
        Some(Permit { shared: Arc::clone(shared) })
    }

    fn wait_for_transfer(shared: &Arc<Self>, given_up: impl Fn() -> bool) -> Option<Permit> {
        loop {
            if given_up() {
                return None;
            }
            if let Some(permit) = Self::transfer_if(shared, |_| true) {
                return Some(permit);
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

    pub(crate) fn tell(&self) {
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

/// Enqueues the job that goes on with what an undo has left, if one does; the end, whose remedy names it, and that job when it is a new one.
fn handed_over(tx: &mut Tx<'_>, end: &End, live: &Live, now_s: u64) -> Result<(End, Option<Job>), JobError> {
    let (End::Undone(Some(left)), Some(new)) = (end, &live.follows) else { return Ok((end.clone(), None)) };
    let made = match enqueue(tx, new, now_s) {
        Ok(made) => made,
        // What is left is told with what helps against it.
        Err(JobError::TooMany(_)) => return Ok((end.clone(), None)),
        Err(error) => return Err(error),
    };
    let follower = if made.made { Some(table::job(tx, made.id)?) } else { None };
    let by_itself = format!("job {} ({}) goes on with it by itself", made.id, new.kind);
    let remedy = match &left.remedy {
        Some(by_hand) => format!("{by_itself}; by hand: {by_hand}"),
        None => by_itself,
    };
    let left = Failure { remedy: Some(remedy), ..left.clone() };
    Ok((End::Undone(Some(left)), follower))
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
            (Event::Undone, left.clone().map_or_else(String::new, Failure::advised))
        }
        End::Failed(failure) => {
            job.trouble = Some(trouble(failure));
            let Some(pause_s) = rules.pause_s(failure.class, job.attempts, random) else {
                return (Event::Fail, failure.message.clone());
            };
            job.in_attempt = matches!(failure.class, Class::Busy | Class::Further);
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
