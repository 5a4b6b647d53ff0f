//! Alerts: what is wrong, told once to whoever acts on it. `docs/operations.md` is the manual.
//!
//! Who uses it: the daemon looks around now and then and hands over what it found ([`Finding`]); [`Judge`] decides what is raised and what is over,
//! as a plain value that takes time as an argument. Alerts and what is still to be told are rows of the inventory file ([`rows`]), changed in
//! the daemon's transactions. Senders ([`send`]) block, each on a thread of the daemon's that waits for nobody else.
//!
//! States: raised, then perhaps acknowledged, then cleared; the same thing later is another alert. A crash leaves rows: what was to be told is told
//! after the next start, perhaps twice, never not at all.

mod rows;
mod rule;
pub mod send;

pub use rows::{
    Alert, AlertId, MODULE, Outgoing, State, acknowledge, all, apply, due, next_due, open, postpone, sent,
};
pub use rule::{Change, Finding, Judge, Reading, Rule, Severity};
