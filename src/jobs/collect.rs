//! Collections of pools as jobs of kind `gc`: of one, or of all that are open, one after the other.
//!
//! A collection stops after the owner or pack in hand. What it freed is free; a job that goes on collects anew, so its checkpoint has only the sum of
//! what came before.

use std::sync::{Arc, Weak};

use serde::{Deserialize, Serialize};
use vtl_api::StoreCollected;
use vtl_jobs::{Class, Failure, Outcome, Plan, PlannedTask, Ticket, Wanted, Work};
use vtl_store::{GcReport, GcRule, Stats};

use super::{failure, pools, unreadable, upgrade};
use crate::collect::NotCollected;
use crate::daemon::{Daemon, internal};
use crate::pools::Pool;

pub(crate) const KIND: &str = "gc";

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) dead_percent: u8,
    /// None: all that are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pool: Option<String>,
}

impl Request {
    fn read(text: &str, daemon: &Daemon) -> Result<(GcRule, Vec<Arc<Pool>>), Failure> {
        let request: Self = serde_json::from_str(text).map_err(|why| unreadable(text, &why.to_string()))?;
        let rule = GcRule { dead_percent: request.dead_percent, ..GcRule::default() };
        Ok((rule, pools(daemon, request.pool.as_deref())?))
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
        let daemon = upgrade(&self.0)?;
        let (rule, pools) = Request::read(request, &daemon)?;
        let mut stats = Stats::default();
        for pool in pools {
            daemon.nothing_is_lost(&pool).map_err(|error| failure(Class::Permanent, error))?;
            daemon.account(&pool).map_err(|error| failure(Class::Permanent, error))?;
            let one = pool.store.stats();
            stats.stored_bytes += one.stored_bytes;
            stats.reclaimable_bytes += one.reclaimable_bytes;
        }
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
        let daemon = upgrade(&self.0)?;
        let (rule, pools) = Request::read(ticket.request(), &daemon)?;
        let mut sum: StoreCollected = serde_json::from_slice(&ticket.checkpoint()).unwrap_or_default();
        (sum.packs, sum.skipped, sum.reclaimable_bytes) = (0, 0, 0);
        let tasks: Vec<String> = pools.iter().map(|pool| task_name(pool, pools.len())).collect();
        ticket.set_tasks(&tasks.iter().map(String::as_str).collect::<Vec<_>>());
        let mut refused = None;
        for (at, pool) in pools.iter().enumerate() {
            let collected = daemon.collect_while(pool, rule, &|progress| {
                ticket.progress(at, progress.done_bytes, progress.total_bytes);
                ticket.wanted() == Wanted::GoOn
            });
            let report = match collected {
                Ok(report) => report,
                Err(NotCollected::Busy(error)) => return Err(failure(Class::Busy, error)),
                // The others are collected all the same.
                Err(NotCollected::Refused(error)) => {
                    refused = refused.or(Some(error));
                    continue;
                }
            };
            add(&mut sum, &report);
            if report.stopped {
                ticket.save(text(&sum)?.into_bytes())?;
                return Ok(Outcome::Stopped);
            }
            ticket.task_done(at);
        }
        match refused {
            Some(error) => Err(failure(Class::Permanent, error)),
            None => Ok(Outcome::Done(text(&sum)?)),
        }
    }

    fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
        // What is freed was needed by nothing, and nothing is half done at a safe point.
        Ok(())
    }
}

/// The parts of a job: with one pool what they are called has stayed.
fn task_name(pool: &Pool, of: usize) -> String {
    if of == 1 { "look at packs".to_owned() } else { format!("look at packs of {}", pool.name) }
}

fn text(sum: &StoreCollected) -> Result<String, Failure> {
    serde_json::to_string(sum).map_err(|why| failure(Class::Permanent, internal(&why.to_string())))
}

fn add(sum: &mut StoreCollected, report: &GcReport) {
    sum.packs += report.packs;
    sum.removed += report.removed;
    sum.rewritten += report.rewritten;
    sum.skipped += report.skipped;
    sum.freed_bytes += report.freed_bytes;
    sum.reclaimable_bytes += report.reclaimable_bytes;
}
