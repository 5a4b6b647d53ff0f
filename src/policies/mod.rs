//! What the daemon does with cartridges by rule, without being asked each time. `docs/policies.md` is the design.
//!
//! Each policy has a thread of its own, which waits for a bell: it is rung when something has happened that may concern it, and at a stop.
//!
//! - [`triggers`]: cartridges that are exported when they are full, idle, or at set times;
//! - [`returns`]: cartridges that came back unchanged, and are to go when their copy on the remote is proved.

mod bell;
mod returns;
pub(crate) mod rows;
mod triggers;

use std::sync::Arc;

use vtl_api::Problem;

use crate::daemon::Daemon;
use returns::Returns;
pub(crate) use returns::{note_import, still_goes};
use triggers::Triggers;
use vtl_library::Moved;

/// All of them.
#[derive(Debug, Default)]
pub struct Policies {
    returns: Returns,
    triggers: Triggers,
}

impl Policies {
    /// Starts their threads; they last until [`Policies::stop`]. Jobs are open already.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(daemon: &Arc<Daemon>) -> Result<(), String> {
        Returns::start(daemon)?;
        Triggers::start(daemon)
    }

    /// Cartridges were moved. `ejected`: one was put into a mailslot and has gone on from there.
    pub(crate) fn moved(&self, moved: &[Moved], ejected: bool) {
        self.triggers.moved(moved);
        if ejected {
            self.returns.ring();
        }
    }

    /// Settings may have changed.
    pub(crate) fn settings_changed(&self) {
        self.triggers.ring();
    }

    /// They come to an end at a point where nothing is half done.
    pub(crate) fn stop(&self) {
        self.returns.stop();
        self.triggers.stop();
        self.returns.join();
        self.triggers.join();
    }

    /// What an operator should know.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let (mut problems, others) = (self.returns.problems(), self.triggers.problems());
        problems.extend(others);
        problems
    }
}
