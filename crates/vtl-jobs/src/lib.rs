//! Jobs: what takes time, one after the other or side by side, over restarts. `docs/jobs.md` is the design.
//!
//! Who uses it: the daemon enqueues jobs ([`enqueue`], inside its own transaction) and opens one [`Manager`], which has an engine ([`Work`]) for each
//! kind of job and knows nothing of what they do. Decisions are plain values that take time and chance as arguments: the states ([`TRANSITIONS`]),
//! who starts next ([`choose`]), how long to wait ([`RetryRules`]), how fast it goes ([`Meter`]). The rows are in the inventory file
//! (`docs/formats/inventory.md`), written by one function for all events.
//!
//! What a crash leaves: rows. A job that was running is queued again by the next open, with its last checkpoint.

mod choice;
mod error;
mod manager;
mod meter;
mod retry;
mod runner;
mod schema;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod work;

pub use choice::{Candidate, Choice, Occupied, choose};
pub use error::JobError;
pub use manager::{Ledger, Machine, Manager, Settings, Shown};
pub use meter::Meter;
pub use retry::{Class, RetryRule, RetryRules};
pub use schema::MODULE;
pub use state::{Event, State, TRANSITIONS, next};
pub use table::{
    Enqueued, Job, JobId, LogEntry, NewJob, Priority, Select, TaskRow, TaskState, Trouble, enqueue, events,
    is_about, is_completed, known, not_done, note_last, unfinished,
};
pub use work::{Failure, Outcome, Permit, Plan, PlannedTask, Ticket, Wanted, Work};
