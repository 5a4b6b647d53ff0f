//! What a transfer asks of the job that it is part of.

use std::time::Duration;

use vtl_bundle::Stored;
use vtl_jobs::{Failure, Ticket, Wanted};
use vtl_remote::{Held, Proof};

/// An object that is on the remote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The object.
    pub object: Stored,
    /// What the remote gave back, as text: needed to verify it once more.
    pub receipt: String,
    /// What was proved.
    pub proof: Proof,
}

/// The right to one transfer; dropping it gives it back.
pub type Permission = Held;

/// So long after a stop is wanted a call that creates or deletes a manifest is waited for. With what is taken back after it, a job is cancelled within 5 s.
const PATIENCE: Duration = Duration::from_secs(1);

/// The job, as its transfers see it. Calls come from several threads.
pub trait Pace: Sync {
    /// Whether to go on. Asked several times a second.
    fn goes_on(&self) -> bool;

    /// Waits so long, or until there is a reason to stop; whether to go on.
    fn wait(&self, time: Duration) -> bool;

    /// How long a call that must not take place later is waited for when there is a reason to stop.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// Waits for the right to one transfer; none: stop.
    fn permit(&self) -> Option<Permission>;

    /// The right to one transfer more beside one that is held: when one is free and nobody waits for it. It never waits.
    fn another(&self) -> Option<Permission> {
        None
    }

    /// An object is whole in the staging folder and about to be sent. Durable when it returns.
    ///
    /// # Errors
    /// It could not be kept.
    fn staged(&self, object: &Stored) -> Result<(), Failure> {
        let _ = object;
        Ok(())
    }

    /// The next object in order is on the remote. Durable when it returns.
    ///
    /// # Errors
    /// It could not be kept.
    fn confirmed(&self, object: &Confirmed) -> Result<(), Failure>;

    /// An upload has begun that leaves something when it is cut off: what removes it. Durable when it returns.
    ///
    /// # Errors
    /// It could not be kept.
    fn began(&self, object: &str, checkpoint: &str) -> Result<(), Failure>;

    /// The manifest with this SHA-256 (hexadecimal) is about to be written. Durable when it returns.
    ///
    /// # Errors
    /// It could not be kept.
    fn sealing(&self, sha256: &str) -> Result<(), Failure>;

    /// So many bytes of this object have moved since it was told last. Not told of one that moves while it is made: who makes it knows how far it is.
    fn moved(&self, object: &Stored, bytes: u64);

    /// Something that the operator should know.
    fn note(&self, text: &str);
}

/// A job's pace, until what it is asked for has ended for another reason.
pub(crate) struct Until<'a> {
    pub(crate) pace: &'a dyn Pace,
    pub(crate) is_over: &'a (dyn Fn() -> bool + Sync),
}

impl Pace for Until<'_> {
    fn goes_on(&self) -> bool {
        self.pace.goes_on() && !(self.is_over)()
    }

    fn wait(&self, time: Duration) -> bool {
        self.pace.wait(time) && self.goes_on()
    }

    fn patience(&self) -> Duration {
        self.pace.patience()
    }

    fn permit(&self) -> Option<Permission> {
        self.pace.permit().filter(|_| self.goes_on())
    }

    fn another(&self) -> Option<Permission> {
        self.pace.another()
    }

    fn staged(&self, object: &Stored) -> Result<(), Failure> {
        self.pace.staged(object)
    }

    fn confirmed(&self, object: &Confirmed) -> Result<(), Failure> {
        self.pace.confirmed(object)
    }

    fn began(&self, object: &str, checkpoint: &str) -> Result<(), Failure> {
        self.pace.began(object, checkpoint)
    }

    fn sealing(&self, sha256: &str) -> Result<(), Failure> {
        self.pace.sealing(sha256)
    }

    fn moved(&self, object: &Stored, bytes: u64) {
        self.pace.moved(object, bytes);
    }

    fn note(&self, text: &str) {
        self.pace.note(text);
    }
}

/// What every job does in the same way.
pub mod of_ticket {
    use super::{Duration, Permission, Ticket, Wanted};

    /// Whether to go on.
    #[must_use]
    pub fn goes_on(ticket: &Ticket) -> bool {
        ticket.wanted() == Wanted::GoOn
    }

    /// Waits.
    #[must_use]
    pub fn wait(ticket: &Ticket, time: Duration) -> bool {
        ticket.wait(time) == Wanted::GoOn
    }

    /// Waits for a permit.
    #[must_use]
    pub fn permit(ticket: &Ticket) -> Option<Permission> {
        ticket.transfer().map(|permit| Box::new(permit) as Permission)
    }

    /// A second one, when it is free.
    #[must_use]
    pub fn another(ticket: &Ticket) -> Option<Permission> {
        ticket.another_transfer().map(|permit| Box::new(permit) as Permission)
    }
}
