//! A file that dies when it is told to, a clock that is moved by hand, and an engine that does as it is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, dead_code, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vtl_jobs::{
    Class, Failure, Job, JobError, JobId, Ledger, Machine, Manager, NewJob, Outcome, Plan, PlannedTask,
    Settings, State, Ticket, Wanted, Work,
};
use vtl_meta::{Meta, MetaError, Module, Tx};

static MODULES: [Module; 1] = [vtl_jobs::MODULE];

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The rows; after so many changes every further one fails, as if the process were gone.
#[derive(Clone)]
pub struct File {
    meta: Arc<Mutex<Meta>>,
    left: Arc<AtomicI64>,
}

impl File {
    pub fn open(folder: &Path) -> Self {
        let meta = Meta::open(&folder.join("db"), &MODULES).unwrap();
        Self { meta: Arc::new(Mutex::new(meta)), left: Arc::new(AtomicI64::new(i64::MAX)) }
    }

    pub fn dies_after(&self, changes: i64) {
        self.left.store(changes, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }
}

impl Ledger for File {
    fn change(&self, work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        let mut meta = self.meta.lock().unwrap();
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.left.store(0, Ordering::SeqCst);
            let source = std::io::Error::other("the process is gone");
            return Err(MetaError::Io { operation: "write", path: "db".into(), source }.into());
        }
        meta.transaction(|tx| work(tx))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        self.meta.lock().unwrap().read(|tx| work(tx))
    }
}

#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    pub fn set(&self, unix_s: u64) {
        self.0.store(unix_s, Ordering::SeqCst);
    }
}

impl Machine for Clock {
    fn unix_s(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.unix_s())
    }

    fn random(&self) -> u64 {
        0
    }
}

/// What is outside and outlives every process.
#[derive(Default)]
pub struct World {
    /// How often each step of each job was done.
    pub steps: BTreeMap<(JobId, u64), u32>,
    /// Jobs that have something half done.
    pub half_done: Vec<JobId>,
    /// Attempts in the order in which they began, with the time.
    pub begun: Vec<(JobId, u64)>,
    pub now: u32,
    pub most: u32,
    /// Whether a job that asked for a transfer beside its own got one at last.
    pub beside: bool,
    /// What the next attempts come to.
    pub failures: VecDeque<Failure>,
    pub undone: Vec<JobId>,
    /// What the next one that is taken back leaves, and the job that goes on with it.
    pub leaves: Option<(Failure, NewJob)>,
}

/// `steps:N`: N steps, each saved. `flaky:N`: the same after the failures that the world has. `transfer:N`: N transfers. `pair`: one, and a second one whenever there is
/// one, until the gate opens. Else it panics.
pub struct Engine {
    pub kind: &'static str,
    pub alone: bool,
    pub world: Arc<Mutex<World>>,
    pub clock: Clock,
    /// Jobs stand before this step until it is raised.
    pub gate: Arc<AtomicU64>,
}

pub const OPEN: u64 = u64::MAX;

impl Engine {
    pub fn new(kind: &'static str, clock: &Clock) -> Self {
        Self {
            kind,
            alone: false,
            world: Arc::default(),
            clock: clock.clone(),
            gate: Arc::new(AtomicU64::new(OPEN)),
        }
    }

    fn steps(&self, ticket: &Ticket, all: u64) -> Result<Outcome, Failure> {
        ticket.set_tasks(&["steps"]);
        let saved = ticket.checkpoint();
        let first = saved.first().copied().map_or(0, u64::from);
        for step in first..all {
            while step >= self.gate.load(Ordering::SeqCst) {
                if ticket.wait(Duration::from_millis(20)) == Wanted::Stop {
                    return Ok(Outcome::Stopped);
                }
            }
            if ticket.wanted() == Wanted::Stop {
                return Ok(Outcome::Stopped);
            }
            {
                let mut world = self.world.lock().unwrap();
                *world.steps.entry((ticket.id(), step)).or_default() += 1;
                if !world.half_done.contains(&ticket.id()) {
                    world.half_done.push(ticket.id());
                }
            }
            ticket.progress(0, step + 1, all);
            ticket.save(vec![u8::try_from(step + 1).unwrap()])?;
        }
        self.world.lock().unwrap().half_done.retain(|id| *id != ticket.id());
        ticket.task_done(0);
        Ok(Outcome::Done(format!("{all} steps")))
    }

    fn transfers(&self, ticket: &Ticket, all: u64) -> Result<Outcome, Failure> {
        for _ in 0..all {
            let Some(_permit) = ticket.transfer() else { return Ok(Outcome::Stopped) };
            self.enter();
            while self.gate.load(Ordering::SeqCst) == 0 {
                if ticket.wait(Duration::from_millis(20)) == Wanted::Stop {
                    break;
                }
            }
            self.world.lock().unwrap().now -= 1;
        }
        Ok(Outcome::Done(String::new()))
    }

    fn pair(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        let Some(_own) = ticket.transfer() else { return Ok(Outcome::Stopped) };
        while self.gate.load(Ordering::SeqCst) == 0 && ticket.wait(Duration::from_millis(20)) == Wanted::GoOn
        {
            let beside = ticket.another_transfer();
            self.world.lock().unwrap().beside = beside.is_some();
        }
        Ok(Outcome::Done(String::new()))
    }

    fn enter(&self) {
        let mut world = self.world.lock().unwrap();
        world.now += 1;
        world.most = world.most.max(world.now);
    }
}

impl Work for Engine {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn alone(&self) -> bool {
        self.alone
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let (_, bytes) = request.split_once(':').unwrap_or(("", "0"));
        let task = PlannedTask { name: "steps".to_owned(), bytes: bytes.parse().unwrap() };
        Ok(Plan { tasks: vec![task], notes: Vec::new() })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        {
            let mut world = self.world.lock().unwrap();
            world.begun.push((ticket.id(), self.clock.unix_s()));
            if ticket.request().starts_with("flaky")
                && let Some(failure) = world.failures.pop_front()
            {
                return Err(failure);
            }
        }
        match ticket.request().split_once(':').unwrap_or((ticket.request(), "0")) {
            ("steps" | "flaky", count) => self.steps(ticket, count.parse().unwrap()),
            ("transfer", count) => self.transfers(ticket, count.parse().unwrap()),
            ("pair", _) => self.pair(ticket),
            (other, _) => panic!("this engine was asked to {other}"),
        }
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        let mut world = self.world.lock().unwrap();
        world.half_done.retain(|id| *id != ticket.id());
        world.undone.push(ticket.id());
        let Some((left, follower)) = world.leaves.take() else { return Ok(()) };
        ticket.follow(follower);
        Err(left)
    }
}

pub fn failure(class: Class, message: &str) -> Failure {
    Failure { class, code: "test".to_owned(), message: message.to_owned(), remedy: None }
}

/// A manager that works, with this engine.
pub fn start(file: &File, engine: &Arc<Engine>, settings: Settings) -> Manager {
    let manager = open(file, engine, settings).unwrap();
    manager.start().unwrap();
    manager
}

pub fn open(file: &File, engine: &Arc<Engine>, settings: Settings) -> Result<Manager, JobError> {
    let work: Arc<dyn Work> = engine.clone();
    Manager::open(Box::new(file.clone()), Box::new(engine.clock.clone()), vec![work], settings)
}

pub fn new(key: &str, kind: &str, request: &str) -> NewJob {
    NewJob { key: key.to_owned(), kind: kind.to_owned(), request: request.to_owned(), ..NewJob::default() }
}

/// Waits until the job is so.
pub fn until(manager: &Manager, id: JobId, enough: impl Fn(&Job) -> bool) -> Job {
    let waited = manager.wait_until(id, Some(PATIENCE), enough).unwrap();
    waited.unwrap_or_else(|| panic!("it is still {:?}", manager.show(id)))
}

pub fn until_state(manager: &Manager, id: JobId, state: State) -> Job {
    until(manager, id, |job| job.state == state)
}

/// Waits for anything else.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
