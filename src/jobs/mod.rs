//! The daemon's jobs: the manager, the engines that it has, and how a job looks to the API. What a job is stands in `docs/jobs.md`.

mod collect;
mod outside;
mod scrub;
mod shown;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use vtl_api::{ApiError, ErrorCode, JobPriority, Problem};
use vtl_conf::Config;
use vtl_jobs::{
    Class, Failure, Job, JobError, JobId, Machine, Manager, NewJob, Priority, RetryRule, RetryRules,
    Settings, State, Trouble, Work,
};
use vtl_migrate::{IMPORT, ImportRequest, REPAIR, World};

use crate::daemon::{Daemon, internal, invalid};
use crate::events::{Bus, Kind};
use crate::pools::Pool;
use crate::tape_device::LinuxTapes;

pub(crate) use collect::KIND as COLLECT;
pub(crate) use scrub::{KIND as SCRUB, pass_of};
pub(crate) use told::tell_progress;

/// What an earlier run has left on its way goes, unless an export may go on with it.
fn empty_staging(daemon: &Daemon, unfinished: &[Job]) {
    let exports = unfinished.iter().filter(|job| job.kind == vtl_migrate::EXPORT);
    let but_for: Vec<String> = exports.map(|job| vtl_migrate::staging_of(job.id)).collect();
    if let Err(error) = vtl_transfer::empty(&daemon.staging(), &but_for) {
        daemon.note_problem(Problem {
            subject: "staging".to_owned(),
            message: format!(
                "what an earlier run left in {} is still there: {error}",
                daemon.staging().display()
            ),
            remedy: "remove the folders in it whose names begin with job-".to_owned(),
        });
    }
}

/// The manager, as soon as it is open.
#[derive(Debug, Default)]
pub struct Jobs {
    manager: OnceLock<Manager>,
    told: Arc<told::Told>,
}

impl Jobs {
    /// Takes over the jobs of the last start; none runs before [`Jobs::start`]. Rows that cannot be read keep nothing else from starting.
    pub fn open(daemon: &Arc<Daemon>) {
        let weak = Arc::downgrade(daemon);
        daemon.ejection.tell({
            let daemon = weak.clone();
            move |moved, host, ejected| {
                let Some(daemon) = daemon.upgrade() else { return };
                daemon.access.note_moves(moved, host);
                moved.iter().for_each(|one| daemon.events.publish(Kind::Move, &told::a_move(one)));
                if ejected {
                    daemon.jobs.poke();
                    daemon.jobs.look_for_new(&daemon.events);
                }
                daemon.policies.moved(moved, ejected);
            }
        });
        let world = world(weak.clone());
        let folders = Arc::new(vtl_migrate::Folders::default());
        let works: Vec<Arc<dyn Work>> = vec![
            Arc::new(collect::Collect(weak.clone())),
            Arc::new(scrub::Pass(weak.clone())),
            Arc::new(vtl_migrate::Export::new(world.clone(), folders.clone())),
            Arc::new(vtl_migrate::Import::new(world.clone(), daemon.shelf.lazies().clone())),
            Arc::new(vtl_migrate::Ingest::new(world.clone(), Arc::new(LinuxTapes(weak)))),
            Arc::new(vtl_migrate::Repair::new(world.clone())),
            Arc::new(vtl_migrate::Verify::new(world.clone())),
            Arc::new(vtl_migrate::Prune::new(world.clone(), folders.clone())),
            Arc::new(vtl_migrate::Fetch::new(world.clone())),
            Arc::new(vtl_migrate::Rewrap::new(world, folders)),
        ];
        let opened =
            Manager::open(Box::new(daemon.meta.clone()), Box::new(Clocks), works, settings(&daemon.config()));
        let held = opened.and_then(|manager| {
            let unfinished = manager.unfinished()?;
            scrub::hold(daemon, &unfinished);
            empty_staging(daemon, &unfinished);
            let weak = Arc::downgrade(daemon);
            daemon.jobs.told.follow(&daemon.events, &manager, move |job| {
                if let Some(daemon) = weak.upgrade() {
                    daemon.access.note_job(job);
                }
            });
            Ok(manager)
        });
        match held {
            // There is one daemon and one call.
            Ok(manager) => drop(daemon.jobs.manager.set(manager)),
            Err(error) => daemon.note_problem(Problem {
                subject: "jobs".to_owned(),
                message: format!("jobs cannot be read, so none runs and none can be asked for: {error}"),
                remedy: "put the inventory back from a copy: vtl system restore FILE".to_owned(),
            }),
        }
    }

    /// Begins to work.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&self) -> Result<(), String> {
        self.manager.get().map_or(Ok(()), |manager| manager.start().map_err(|error| error.to_string()))
    }

    /// There is a new job.
    pub fn poke(&self) {
        if let Some(manager) = self.manager.get() {
            manager.poke();
        }
    }

    /// Tells of jobs that were enqueued with something else.
    fn look_for_new(&self, bus: &Bus) {
        if let Some(manager) = self.manager.get() {
            self.told.look(bus, manager);
        }
    }

    /// Tells of jobs whose bytes have moved since `told`.
    fn tell_progress(&self, bus: &Bus, told: &mut BTreeMap<JobId, u64>) {
        if let Some(manager) = self.manager.get() {
            self.told.look(bus, manager);
            told::progress(bus, manager, told);
        }
    }

    /// Jobs come to a safe point.
    pub fn stop(&self) {
        if let Some(manager) = self.manager.get() {
            manager.stop();
        }
    }

    /// Limits follow the configuration.
    pub fn heed(&self, config: &Config) {
        if let Some(manager) = self.manager.get() {
            manager.set(settings(config));
        }
    }

    /// What an operator should know.
    pub fn problems(&self) -> Vec<Problem> {
        let Some(manager) = self.manager.get() else { return Vec::new() };
        let mut problems = Vec::new();
        if manager.has_failed() {
            problems.push((
                "no job begins any more: the thread that starts them has failed".to_owned(),
                "restart vtld, and report what its log says: this is a fault of the program".to_owned(),
            ));
        }
        if let Some(why) = manager.unreadable() {
            problems.push((
                format!("no job begins, because the list of jobs cannot be read: {why}"),
                "put the inventory back from a copy: vtl system restore FILE".to_owned(),
            ));
        }
        let unwritten = manager.unwritten();
        if unwritten > 0 {
            problems.push((
                format!("the end of {unwritten} jobs could not be written down; it is tried again and again"),
                "see the log, and check the disk of the state folder".to_owned(),
            ));
        }
        let problem = |(message, remedy)| Problem { subject: "jobs".to_owned(), message, remedy };
        problems.into_iter().map(problem).collect()
    }

    /// Jobs in the list by kind and state, those of no job too for each kind that is in it. None when the list cannot be read.
    pub(crate) fn counts(&self) -> Vec<(String, &'static str, u64)> {
        self.manager.get().and_then(|manager| manager.counts().ok()).unwrap_or_default()
    }

    /// Jobs that have failed and are in the list still; none when it cannot be read.
    pub(crate) fn failed(&self) -> Option<Vec<Job>> {
        self.manager.get()?.failed().ok()
    }

    /// The manager.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn manager(&self) -> Result<&Manager, ApiError> {
        self.manager
            .get()
            .ok_or_else(|| ApiError::new(ErrorCode::Internal, "jobs do not run", "see vtl system status"))
    }

    /// Enqueues what somebody asks for now: a job of its own each time, unless the request has an `Idempotency-Key`. `label`: what it is about.
    pub(crate) fn submit(
        &self,
        kind: &str,
        label: Option<String>,
        request: String,
    ) -> Result<JobId, ApiError> {
        self.submit_with(Priority::default(), kind, label, request)
    }

    /// The same with a priority.
    pub(crate) fn submit_with(
        &self,
        priority: Priority,
        kind: &str,
        label: Option<String>,
        request: String,
    ) -> Result<JobId, ApiError> {
        // One that comes again, with the key of its request, is the same job.
        let another = || format!("{kind}:{}", crate::state::hexadecimal(&crate::random::id()));
        let key = crate::api::once::event().unwrap_or_else(another);
        let new = NewJob { key, kind: kind.to_owned(), label, request, priority, ..NewJob::default() };
        self.manager()?.submit(&new).map(|made| made.id).map_err(|error| not_done(None, &error))
    }

    /// Jobs about a pool that have not ended. Without a list of jobs none runs.
    pub(crate) fn about(&self, label: &str) -> Result<Vec<JobId>, ApiError> {
        let Some(manager) = self.manager.get() else { return Ok(Vec::new()) };
        let unfinished = manager.unfinished().map_err(|error| not_done(None, &error))?;
        Ok(unfinished.iter().filter(|job| pool_of(job).as_deref() == Some(label)).map(|job| job.id).collect())
    }

    /// Passes through a pool that is opened now stand until their jobs say otherwise, as at a start.
    pub(crate) fn hold_passes_in(&self, pool: &Pool) {
        if let Some(Ok(unfinished)) = self.manager.get().map(Manager::unfinished) {
            scrub::hold_in(pool, &unfinished);
        }
    }

    /// Waits for the end of a job; what the engine says of it.
    pub(crate) fn result(&self, id: JobId) -> Result<String, ApiError> {
        let ended = self.manager()?.wait_until(id, None, |job| job.state.is_terminal());
        match ended.map_err(|error| not_done(Some(id), &error))? {
            Some(job) => outcome(&job),
            None => Err(ApiError::new(
                ErrorCode::Conflict,
                format!("the server stops; job {id} goes on with the next start"),
                format!("vtl job wait {id}"),
            )),
        }
    }

    /// Waits a while until the job has saved something or has ended.
    pub(crate) fn begun(&self, id: JobId, longest: Duration) -> Result<Job, ApiError> {
        let manager = self.manager()?;
        let begun = |job: &Job| !job.checkpoint.is_empty() || job.state.is_terminal();
        let refused = |error| not_done(Some(id), &error);
        let waited = manager.wait_until(id, Some(longest), begun).map_err(refused)?;
        let job = waited.map_or_else(|| manager.show(id).map(|shown| shown.job), Ok).map_err(refused)?;
        if job.state == State::Failed {
            outcome(&job)?;
        }
        Ok(job)
    }
}

/// What is wanted of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To know what it would do.
    Plan,
    /// That it is done, when its turn comes.
    Job(Priority),
}

impl Ask {
    /// As requests say it.
    pub(crate) const fn of(plan: bool, priority: Option<JobPriority>) -> Self {
        match (plan, priority) {
            (true, _) => Self::Plan,
            (false, Some(JobPriority::Low)) => Self::Job(Priority::Low),
            (false, None | Some(JobPriority::Normal)) => Self::Job(Priority::Normal),
            (false, Some(JobPriority::High)) => Self::Job(Priority::High),
        }
    }
}

/// The daemon, as engines see it.
pub(crate) fn world(daemon: Weak<Daemon>) -> Arc<dyn World> {
    Arc::new(outside::Outside::new(daemon))
}

/// The pool that a job names, if it does.
fn pool_of(job: &Job) -> Option<String> {
    match job.kind.as_str() {
        COLLECT | SCRUB | REPAIR => job.label.clone(),
        IMPORT => ImportRequest::pool_of(&job.request),
        _ => None,
    }
}

/// What a job that has ended comes to for whoever waited.
fn outcome(job: &Job) -> Result<String, ApiError> {
    match (job.state, &job.trouble) {
        (State::Completed, _) => Ok(job.result.clone().unwrap_or_default()),
        (State::Failed, Some(trouble)) => Err(refusal(trouble)),
        (state, _) => Err(ApiError::new(
            ErrorCode::Conflict,
            format!("job {} was {}", job.id, state.word()),
            format!("vtl job show {} tells more; vtl job retry {} begins anew", job.id, job.id),
        )),
    }
}

pub(crate) fn refusal(trouble: &Trouble) -> ApiError {
    let code = serde_json::from_value(serde_json::Value::String(trouble.code.clone()));
    ApiError {
        code: code.unwrap_or(ErrorCode::Internal),
        message: trouble.message.clone(),
        remedy: trouble.remedy.clone(),
        field: None,
    }
}

/// The same the other way.
pub(crate) fn failure(class: Class, error: ApiError) -> Failure {
    let code = serde_json::to_value(error.code).ok().and_then(|word| word.as_str().map(str::to_owned));
    Failure {
        class,
        code: code.unwrap_or_else(|| "internal".to_owned()),
        message: error.message,
        remedy: error.remedy,
    }
}

/// A request that cannot be read was written by another version of the program.
fn unreadable(request: &str, why: &str) -> Failure {
    failure(
        Class::Permanent,
        invalid(format!("the request of this job cannot be read: {why}: {request}"), ""),
    )
}

fn settings(config: &Config) -> Settings {
    let transfer = &config.transfer;
    let temporary = RetryRule {
        attempts: Some(transfer.retry_attempts),
        pause_s: transfer.retry_pause.as_secs(),
        max_pause_s: transfer.retry_max_pause.as_secs(),
    };
    Settings {
        max_running: usize::try_from(config.jobs.max_running).unwrap_or(1),
        max_transfers: usize::try_from(config.jobs.max_transfers).unwrap_or(1),
        history_keep_s: config.jobs.history_keep.as_secs(),
        retry: RetryRules { temporary, ..RetryRules::default() },
    }
}

/// The pools that a job is about.
fn pools(daemon: &Daemon, name: Option<&str>) -> Result<Vec<Arc<Pool>>, Failure> {
    daemon.pools.asked(name).map_err(|error| failure(Class::Permanent, error.into()))
}

/// The daemon, unless it is going.
fn upgrade(daemon: &Weak<Daemon>) -> Result<Arc<Daemon>, Failure> {
    daemon.upgrade().ok_or_else(|| failure(Class::Busy, internal("the server stops")))
}

/// The one place where the manager's refusals become the API's.
pub(crate) fn not_done(id: Option<JobId>, error: &JobError) -> ApiError {
    let (code, remedy) = match error {
        JobError::Unknown(_) => {
            (ErrorCode::NotFound, "see vtl job ls; what has ended is kept for jobs.history_keep".to_owned())
        }
        JobError::UnknownKind(_) => (ErrorCode::Unsupported, "see vtl --help for what there is".to_owned()),
        JobError::NoSuchMove { state, .. } => (ErrorCode::Conflict, instead(*state, id)),
        JobError::NotRetried { id, state } => (ErrorCode::Conflict, instead(*state, Some(*id))),
        JobError::TooMany(_) => {
            (ErrorCode::Full, "wait until some have ended, or cancel some: vtl job cancel ID".to_owned())
        }
        JobError::Meta(error) => (ErrorCode::Internal, error.remedy()),
        JobError::NoThread(_) | JobError::NotRun => {
            (ErrorCode::Internal, "see the log, and check the disk of the state folder".to_owned())
        }
    };
    let message = match (error, id) {
        (JobError::NoSuchMove { .. }, Some(id)) => format!("job {id}: {error}"),
        _ => error.to_string(),
    };
    ApiError::new(code, message, remedy)
}

/// What can be done with a job in this state.
fn instead(state: State, id: Option<JobId>) -> String {
    let id = id.map_or_else(|| "ID".to_owned(), |id| id.to_string());
    match state {
        State::Completed => "it is done; ask for it anew if it is wanted once more".to_owned(),
        State::Cancelled | State::Failed => format!("it has ended; vtl job retry {id} tries again"),
        State::Paused => format!("vtl job resume {id}, or vtl job cancel {id}"),
        State::Queued | State::Running => format!("vtl job pause {id}, or vtl job cancel {id}"),
        State::Pausing | State::Stopping => format!("it comes to a safe point: vtl job show {id}"),
    }
}

/// This machine's clocks and chance.
struct Clocks;

impl Machine for Clocks {
    fn unix_s(&self) -> u64 {
        crate::clock::unix_seconds()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(crate::clock::now_ns())
    }

    fn random(&self) -> u64 {
        crate::random::number()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use vtl_store::GcRule;

    use super::*;
    use crate::access::rules::Granted;
    use crate::daemon::tests::open;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn until(daemon: &Daemon, id: JobId, so: impl Fn(&Job) -> bool) -> Job {
        let waited = daemon.jobs.manager().unwrap().wait_until(id, Some(PATIENCE), so).unwrap();
        waited.unwrap_or_else(|| panic!("it never came to this: {:?}", daemon.job_show(&id.to_string())))
    }

    #[test]
    fn a_collection_that_meets_another_one_waits_for_it_without_an_attempt_and_can_be_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        Jobs::open(&daemon);
        daemon.jobs.start().unwrap();
        let ((here, is_here), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
        let store = daemon.pools.default().store.clone();
        let other = std::thread::spawn(move || {
            store.gc_while(GcRule::default(), &|_| {
                here.send(()).unwrap();
                // Until the sender is gone.
                may_go_on.recv().is_err()
            })
        });
        is_here.recv().unwrap();
        let request = r#"{"dead_percent":25}"#.to_owned();
        let [first, second] = [(); 2].map(|()| daemon.jobs.submit(COLLECT, None, request.clone()).unwrap());
        let waiting = |job: &Job| job.state == State::Queued && job.trouble.is_some();
        for id in [first, second] {
            let job = until(&daemon, id, waiting);
            assert_eq!((job.attempts, job.trouble.unwrap().code.as_str()), (1, "conflict"));
        }
        daemon.job_cancel(&second.to_string()).unwrap();
        until(&daemon, second, |job| job.state == State::Cancelled);
        drop(go_on);
        assert!(!other.join().unwrap().unwrap().stopped);
        daemon.job_retry(&first.to_string(), &Granted::default()).unwrap();
        assert_eq!(until(&daemon, first, |job| job.state.is_terminal()).state, State::Completed);
        let collected: vtl_api::StoreCollected =
            serde_json::from_str(&daemon.jobs.result(first).unwrap()).unwrap();
        assert_eq!((collected.removed, collected.rewritten), (0, 0));
        daemon.stop();
    }

    #[test]
    fn a_refusal_goes_through_a_job_with_its_class_its_words_and_its_remedy() {
        let error = ApiError::new(ErrorCode::Conflict, "it is in use", "wait");
        let Failure { code, message, remedy, .. } = failure(Class::Busy, error.clone());
        assert_eq!(code, "conflict");
        assert_eq!(refusal(&Trouble { code, message, remedy }), error);
        let odd = Trouble { code: "odd".to_owned(), message: "m".to_owned(), remedy: None };
        assert_eq!(refusal(&odd).code, ErrorCode::Internal);
    }
}
