//! The audit log: who changed what, from where, and what came of it. One line of JSON for each entry, each with the SHA-256
//! of the line before, and a head beside the file that says how many there must be (`docs/formats/access.md`).
//!
//! Used by the daemon's door (`src/access`). No socket and no clock: times are texts that the caller gives.
//!
//! A change has two entries: the *request* is durable before anything is done, the *outcome* before the answer is sent. A
//! full disk therefore refuses the change, and a crash between the two leaves a request without an outcome, which the next
//! start says in an entry of its own.
//!
//! Invariants, kept by [`AuditLog`] alone: the file ends with a newline; numbers count from 1 without gaps; the head is that
//! of the last entry, or of the one before while an entry is being written.

mod entry;
mod head;
mod log;
#[cfg(test)]
mod tests;
mod verify;

pub use entry::{Entry, EntryKind, Record};
pub use head::Head;
pub use log::{AuditError, AuditLog, Filter, MOST_LINE, Page};
pub use verify::{Fault, Report, verify};
