//! Passes of the scrub that somebody asks for, as jobs of kind `scrub`.
//!
//! The thread of the scrub (`crate::scrub`) reads, and has the pace; the job begins a pass, watches it, and lets it stand while it is paused itself. Its
//! checkpoint is the number of the pass. The pass's place is the store's business, so a restart goes on with it; a crash between the beginning of a pass
//! and its checkpoint makes the job begin another one.

use std::sync::Weak;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vtl_api::ErrorCode;
use vtl_jobs::{Class, Failure, Job, Outcome, Plan, PlannedTask, Ticket, Wanted, Work};
use vtl_store::Pass as StorePass;

use super::{failure, unreadable, upgrade};
use crate::daemon::{Daemon, internal};
use crate::scrub::Rate;

pub(crate) const KIND: &str = "scrub";

/// How often it looks how far the pass is.
const LOOK: Duration = Duration::from_millis(200);

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) rate: Option<String>,
}

impl Request {
    fn read(text: &str) -> Result<Option<Rate>, Failure> {
        let wrong = |why: String| unreadable(text, &why);
        let request: Self = serde_json::from_str(text).map_err(|why| wrong(why.to_string()))?;
        request.rate.map(|rate| rate.parse()).transpose().map_err(wrong)
    }
}

/// The pass that a job has begun.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    pass: u64,
}

/// Which pass a job has begun, if it has.
pub(crate) fn pass_of(checkpoint: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Place>(checkpoint).ok().map(|place| place.pass)
}

/// A pass whose job has not ended stands until the job says otherwise.
pub(super) fn hold(daemon: &Daemon, unfinished: &[Job]) {
    let passes = unfinished.iter().filter(|job| job.kind == KIND).filter_map(|job| pass_of(&job.checkpoint));
    passes.for_each(|pass| daemon.scrub.hold_from_the_start(pass));
}

/// What there is to say of a pass that has ended.
#[derive(Debug, Serialize)]
struct Ended {
    pass: u64,
    packs: u64,
    bytes: u64,
    damaged: u64,
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
        let (daemon, rate) = (upgrade(&self.0)?, Request::read(request)?);
        let pace = match rate {
            Some(Rate::Max) => "as fast as the disks are".to_owned(),
            Some(Rate::Bytes(rate)) => format!("at {rate} bytes a second"),
            None => {
                format!("at {} bytes a second at most (store.scrub_rate)", daemon.config().store.scrub_rate.0)
            }
        };
        let task = PlannedTask { name: "read and verify".to_owned(), bytes: daemon.store.stored_bytes() };
        Ok(Plan { tasks: vec![task], notes: vec![pace] })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        let (daemon, rate) = (upgrade(&self.0)?, Request::read(ticket.request())?);
        ticket.set_tasks(&["read and verify"]);
        let pass = self.go_on_or_begin(&daemon, ticket, rate)?;
        loop {
            let status = daemon.store.scrub_status();
            if let Some(ended) = status.last.filter(|ended| ended.number == pass) {
                ticket.progress(0, ended.bytes, ended.bytes);
                ticket.task_done(0);
                return told(&ended).map(Outcome::Done);
            }
            let Some(current) = status.current.filter(|current| current.number == pass) else {
                return Err(lost(pass));
            };
            ticket.progress(0, current.bytes.min(status.total_bytes), status.total_bytes);
            if ticket.wait(LOOK) == Wanted::Stop {
                daemon.scrub.hold(pass);
                return Ok(Outcome::Stopped);
            }
        }
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        if let Some(pass) = pass_of(&ticket.checkpoint()) {
            upgrade(&self.0)?.scrub.end(pass);
        }
        Ok(())
    }
}

impl Pass {
    fn go_on_or_begin(&self, daemon: &Daemon, ticket: &Ticket, rate: Option<Rate>) -> Result<u64, Failure> {
        let status = daemon.store.scrub_status();
        let is = |pass: u64, one: Option<StorePass>| one.is_some_and(|one| one.number == pass);
        if let Some(pass) = pass_of(&ticket.checkpoint())
            && (is(pass, status.current) || is(pass, status.last))
        {
            daemon.scrub.go_on(pass, rate);
            return Ok(pass);
        }
        let begun = daemon.scrub.begin(rate);
        let pass = begun.ok_or_else(|| failure(Class::Busy, busy()))?;
        let place = serde_json::to_vec(&Place { pass })
            .map_err(|why| failure(Class::Permanent, internal(&why.to_string())))?;
        ticket.save(place)?;
        Ok(pass)
    }
}

fn told(ended: &StorePass) -> Result<String, Failure> {
    let StorePass { number: pass, packs, bytes, damaged, .. } = *ended;
    serde_json::to_string(&Ended { pass, packs, bytes, damaged })
        .map_err(|why| failure(Class::Permanent, internal(&why.to_string())))
}

fn busy() -> vtl_api::ApiError {
    vtl_api::ApiError {
        code: ErrorCode::Conflict,
        message: "no pass has begun: the thread that reads the store is busy, has failed, or is stopping"
            .to_owned(),
        remedy: Some("vtl system status tells more".to_owned()),
    }
}

fn lost(pass: u64) -> Failure {
    let error = vtl_api::ApiError {
        code: ErrorCode::Conflict,
        message: format!("pass {pass} was ended by another one, or its place is lost"),
        remedy: Some(
            "vtl store scrub --status tells what runs; vtl store scrub begins another one".to_owned(),
        ),
    };
    failure(Class::Permanent, error)
}
