//! Passes of the scrub that somebody asks for, as jobs of kind `scrub`: through one pool, or through all that are open, one after the other.
//!
//! The thread of a pool's scrub (`crate::scrub`) reads, and has the pace; the job begins a pass, watches it, and lets it stand while it is paused itself. Its
//! checkpoint is the number of the pass, the pool that it reads, and what is done. The pass's place is the store's business, so a restart goes on with it; a crash between the beginning of a pass
//! and its checkpoint makes the job begin another one.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vtl_api::ErrorCode;
use vtl_jobs::{Class, Failure, Job, Outcome, Plan, PlannedTask, Ticket, Wanted, Work};
use vtl_store::Pass as StorePass;
use vtl_types::PoolName;

use super::{failure, pools, unreadable, upgrade};
use crate::daemon::{Daemon, internal};
use crate::pools::Pool;
use crate::scrub::Rate;

pub(crate) const KIND: &str = "scrub";

/// How often it looks how far the pass is.
const LOOK: Duration = Duration::from_millis(200);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) rate: Option<String>,
    /// None: all that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<String>,
}

impl Request {
    fn read(text: &str, daemon: &Daemon) -> Result<(Option<Rate>, Vec<Arc<Pool>>), Failure> {
        let wrong = |why: String| unreadable(text, &why);
        let request: Self = serde_json::from_str(text).map_err(|why| wrong(why.to_string()))?;
        let rate = request.rate.map(|rate| rate.parse()).transpose().map_err(wrong)?;
        Ok((rate, pools(daemon, request.pool.as_deref())?))
    }
}

/// Where a job is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The pass that it has begun.
    pass: u64,
    /// The pool that this reads; a job of an older version had one pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    /// What passes through other pools came to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<Ended>,
}

impl Place {
    fn of(checkpoint: &[u8]) -> Option<Self> {
        serde_json::from_slice(checkpoint).ok()
    }

    fn pool(&self) -> PoolName {
        self.pool.as_deref().and_then(|name| name.parse().ok()).unwrap_or_default()
    }
}

/// Which pass through which pool a job has begun, if it has.
pub(crate) fn pass_of(checkpoint: &[u8]) -> Option<(PoolName, u64)> {
    Place::of(checkpoint).map(|place| (place.pool(), place.pass))
}

/// A pass whose job has not ended stands until the job says otherwise.
pub(super) fn hold(daemon: &Daemon, unfinished: &[Job]) {
    let passes = unfinished.iter().filter(|job| job.kind == KIND).filter_map(|job| pass_of(&job.checkpoint));
    for (name, pass) in passes {
        if let Ok(pool) = daemon.pools.named(&name) {
            pool.scrub.hold_from_the_start(pass);
        }
    }
}

/// The same of a pool that is opened later.
pub(super) fn hold_in(pool: &Pool, unfinished: &[Job]) {
    let passes = unfinished.iter().filter(|job| job.kind == KIND).filter_map(|job| pass_of(&job.checkpoint));
    passes.filter(|(name, _)| *name == pool.name).for_each(|(_, pass)| pool.scrub.hold_from_the_start(pass));
}

/// What there is to say of a pass that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ended {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    pass: u64,
    packs: u64,
    bytes: u64,
    damaged: u64,
}

/// What a job says at its end: of one pool its pass, of several the sums and each.
#[derive(Debug, Serialize)]
struct Told {
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<u64>,
    packs: u64,
    bytes: u64,
    damaged: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pools: Vec<Ended>,
}

impl Told {
    fn of(done: Vec<Ended>) -> Self {
        let sum = |of: fn(&Ended) -> u64| done.iter().map(of).sum();
        let (packs, bytes, damaged) = (sum(|one| one.packs), sum(|one| one.bytes), sum(|one| one.damaged));
        let pass = if let [one] = done.as_slice() { Some(one.pass) } else { None };
        Self { pass, packs, bytes, damaged, pools: if pass.is_some() { Vec::new() } else { done } }
    }
}

/// The engine.
pub(super) struct Pass(pub(super) Weak<Daemon>);

impl Work for Pass {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn alone(&self) -> bool {
        true
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let daemon = upgrade(&self.0)?;
        let (rate, pools) = Request::read(request, &daemon)?;
        let pace = match rate {
            Some(Rate::Max) => "as fast as the disks are".to_owned(),
            Some(Rate::Bytes(rate)) => format!("at {rate} bytes a second"),
            None => {
                format!("at {} bytes a second at most (store.scrub_rate)", daemon.config().store.scrub_rate.0)
            }
        };
        let task = |pool: &Arc<Pool>| PlannedTask {
            name: task_name(pool, pools.len()),
            bytes: pool.store.stored_bytes(),
        };
        Ok(Plan { tasks: pools.iter().map(task).collect(), notes: vec![pace] })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        let daemon = upgrade(&self.0)?;
        let (rate, pools) = Request::read(ticket.request(), &daemon)?;
        let tasks: Vec<String> = pools.iter().map(|pool| task_name(pool, pools.len())).collect();
        ticket.set_tasks(&tasks.iter().map(String::as_str).collect::<Vec<_>>());
        let mut done = Place::of(&ticket.checkpoint()).map_or_else(Vec::new, |place| place.done);
        for (at, pool) in pools.iter().enumerate() {
            if !done.iter().any(|one| one.pool.as_deref() == Some(pool.name.as_str())) {
                match read(pool, ticket, at, rate, &done)? {
                    Some(ended) => done.push(ended),
                    None => return Ok(Outcome::Stopped),
                }
            }
            ticket.task_done(at);
        }
        let told = serde_json::to_string(&Told::of(done));
        told.map(Outcome::Done).map_err(|why| failure(Class::Permanent, internal(&why.to_string())))
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        if let Some((name, pass)) = pass_of(&ticket.checkpoint())
            && let Ok(pool) = upgrade(&self.0)?.pools.named(&name)
        {
            pool.scrub.end(pass);
        }
        Ok(())
    }
}

/// One pass through one pool; none when the job is to stop.
fn read(
    pool: &Pool,
    ticket: &Ticket,
    task: usize,
    rate: Option<Rate>,
    done: &[Ended],
) -> Result<Option<Ended>, Failure> {
    let pass = go_on_or_begin(pool, ticket, rate, done)?;
    loop {
        let status = pool.store.scrub_status();
        if let Some(ended) = status.last.filter(|ended| ended.number == pass) {
            ticket.progress(task, ended.bytes, ended.bytes);
            let StorePass { number: pass, packs, bytes, damaged, .. } = ended;
            return Ok(Some(Ended { pool: Some(pool.name.to_string()), pass, packs, bytes, damaged }));
        }
        let Some(current) = status.current.filter(|current| current.number == pass) else {
            return Err(lost(pass));
        };
        ticket.progress(task, current.bytes.min(status.total_bytes), status.total_bytes);
        if ticket.wait(LOOK) == Wanted::Stop {
            pool.scrub.hold(pass);
            return Ok(None);
        }
    }
}

fn go_on_or_begin(pool: &Pool, ticket: &Ticket, rate: Option<Rate>, done: &[Ended]) -> Result<u64, Failure> {
    let status = pool.store.scrub_status();
    let is = |pass: u64, one: Option<StorePass>| one.is_some_and(|one| one.number == pass);
    if let Some((name, pass)) = pass_of(&ticket.checkpoint())
        && name == pool.name
        && (is(pass, status.current) || is(pass, status.last))
    {
        pool.scrub.go_on(pass, rate);
        return Ok(pass);
    }
    let begun = pool.scrub.begin(rate);
    let pass = begun.ok_or_else(|| failure(Class::Busy, busy()))?;
    let place = Place { pass, pool: Some(pool.name.to_string()), done: done.to_vec() };
    let place =
        serde_json::to_vec(&place).map_err(|why| failure(Class::Permanent, internal(&why.to_string())))?;
    ticket.save(place)?;
    Ok(pass)
}

/// The parts of a job: with one pool what they are called has stayed.
fn task_name(pool: &Pool, of: usize) -> String {
    if of == 1 { "read and verify".to_owned() } else { format!("read and verify {}", pool.name) }
}

fn busy() -> vtl_api::ApiError {
    vtl_api::ApiError::new(
        ErrorCode::Conflict,
        "no pass has begun: the thread that reads the store is busy, has failed, or is stopping",
        "vtl system status tells more",
    )
}

fn lost(pass: u64) -> Failure {
    let error = vtl_api::ApiError::new(
        ErrorCode::Conflict,
        format!("pass {pass} was ended by another one, or its place is lost"),
        "vtl store scrub --status tells what runs; vtl store scrub begins another one",
    );
    failure(Class::Permanent, error)
}
