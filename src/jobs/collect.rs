//! Collections of the store as jobs of kind `gc`.
//!
//! A collection stops after the owner or pack in hand. What it freed is free; a job that goes on collects anew, so its checkpoint has only the sum of
//! what came before.

use std::sync::Weak;

use serde::{Deserialize, Serialize};
use vtl_api::StoreCollected;
use vtl_jobs::{Class, Failure, Outcome, Plan, PlannedTask, Ticket, Wanted, Work};
use vtl_store::{GcReport, GcRule};

use super::{failure, unreadable, upgrade};
use crate::collect::NotCollected;
use crate::daemon::{Daemon, internal};

pub(crate) const KIND: &str = "gc";

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) dead_percent: u8,
}

impl Request {
    fn read(text: &str) -> Result<GcRule, Failure> {
        let request: Self = serde_json::from_str(text).map_err(|why| unreadable(text, &why.to_string()))?;
        Ok(GcRule { dead_percent: request.dead_percent, ..GcRule::default() })
    }
}

/// The engine.
pub(super) struct Collect(pub(super) Weak<Daemon>);

impl Work for Collect {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn alone(&self) -> bool {
        true
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        let (daemon, rule) = (upgrade(&self.0)?, Request::read(request)?);
        daemon.nothing_is_lost().map_err(|error| failure(Class::Permanent, error))?;
        daemon.account().map_err(|error| failure(Class::Permanent, error))?;
        let stats = daemon.store.stats();
        let task = |name: &str, bytes| PlannedTask { name: name.to_owned(), bytes };
        Ok(Plan {
            tasks: vec![
                task("look at packs", stats.stored_bytes),
                task("free at most", stats.reclaimable_bytes),
            ],
            notes: vec![format!(
                "a pack that nothing needs is removed; one with at least {} percent dead is written anew without that",
                rule.dead_percent
            )],
        })
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        let (daemon, rule) = (upgrade(&self.0)?, Request::read(ticket.request())?);
        let before: StoreCollected = serde_json::from_slice(&ticket.checkpoint()).unwrap_or_default();
        ticket.set_tasks(&["look at packs"]);
        let collected = daemon.collect_while(rule, &|progress| {
            ticket.progress(0, progress.done_bytes, progress.total_bytes);
            ticket.wanted() == Wanted::GoOn
        });
        let report = collected.map_err(|error| match error {
            NotCollected::Busy(error) => failure(Class::Busy, error),
            NotCollected::Refused(error) => failure(Class::Permanent, error),
        })?;
        let sum = add(before, &report);
        let text = serde_json::to_string(&sum)
            .map_err(|why| failure(Class::Permanent, internal(&why.to_string())))?;
        if report.stopped {
            ticket.save(text.into_bytes())?;
            return Ok(Outcome::Stopped);
        }
        ticket.task_done(0);
        Ok(Outcome::Done(text))
    }

    fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
        // What is freed was needed by nothing, and nothing is half done at a safe point.
        Ok(())
    }
}

fn add(before: StoreCollected, report: &GcReport) -> StoreCollected {
    StoreCollected {
        job: None,
        packs: report.packs,
        removed: before.removed + report.removed,
        rewritten: before.rewritten + report.rewritten,
        skipped: report.skipped,
        freed_bytes: before.freed_bytes + report.freed_bytes,
        reclaimable_bytes: report.reclaimable_bytes,
    }
}
