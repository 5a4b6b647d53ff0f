//! Moves the objects of a bundle between this machine and a remote. `docs/export.md` is the design.
//!
//! ```text
//! bundle writer -> Outbox (staging, slots + 1 objects) -> put, verify: a thread and a permit for each -> Pace::confirmed, in order
//!               -> Outbox -> stream, verify, where a driver takes an object that is still being made: nothing is staged
//! remote -> get, hash: a thread and a permit for each -> Inbox (staging, slots + 1 objects) -> bundle reader
//! remote that is a disk of this machine -> get -> Inbox -> bundle reader, which hashes it on its way: nothing is staged
//! ```
//!
//! An upload in parts has a second part on its way while there is a permit for it that nobody waits for.
//!
//! Who uses it: the engines of exports and imports, on a job's thread. Nothing is tried twice here: what failed is told with its class, and the job
//! is tried again. A call comes back within a few seconds when it is to stop.
//!
//! What a crash leaves: files in the staging folder, of which those that are whole are sent by the next attempt and the others made anew; objects on the
//! remote, of which the ones that were confirmed are right; a half-sent object, whose checkpoint was kept.

mod arriving;
mod examine;
mod pace;
mod receive;
mod send;
mod staging;
mod stream;
mod telling;
mod trouble;

pub use examine::examine;
pub use pace::{Confirmed, Pace, Permission, of_ticket};
pub use receive::{Fetched, Inbox, receive, receive_for_image};
pub use send::{Outbox, content_of, on_remote, send, to_its_end};
pub use staging::{Left, Measure, Space, Staging, discard, empty};
pub use trouble::{Trouble, failure};

use tokio::runtime::Handle;
use vtl_remote::{Folder, Limiter, Mode, Remote};

/// What all transfers of a job have in common.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Where calls to remotes run.
    pub runtime: &'a Handle,
    /// The other end.
    pub remote: &'a dyn Remote,
    /// The bundle's folder there.
    pub folder: &'a Folder,
    /// Where objects stay on their way.
    pub staging: &'a Staging,
    /// How many objects of this job are on their way at once.
    pub slots: usize,
    /// How fast.
    pub limiter: &'a Limiter,
    /// How what was sent is verified.
    pub verify: Mode,
}
