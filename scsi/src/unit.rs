//! What a transport sees of a device.

use alloc::vec::Vec;

use crate::command::{Command, InitiatorPort, Instant, NexusId, Reply};

/// A logical unit: one owner calls it, one command at a time.
pub trait LogicalUnit {
    /// Runs one command to its end.
    fn execute(&mut self, command: &Command) -> Reply;

    /// An initiator logged in. The unit owes it a unit attention for what happened before (29h/00h after power on).
    fn nexus_opened(&mut self, nexus: NexusId, port: &InitiatorPort);

    /// The session is gone: reservations by RESERVE, medium removal prevention and unit attentions of this nexus go with it,
    /// and a drive makes its buffered data durable.
    fn nexus_closed(&mut self, nexus: NexusId);

    /// Task management reset.
    fn reset(&mut self, reset: Reset);

    /// Nexuses whose commands the command just executed has aborted (PREEMPT AND ABORT): asked after each `execute`, told once.
    /// The owner forgets what else it holds of them, without a status.
    fn take_aborted(&mut self) -> Vec<NexusId>;

    /// Something happened that all initiators (except the one that caused it) must hear of.
    fn attention(&mut self, what: UnitAttention, except: Option<NexusId>);

    /// When the owner is to call [`LogicalUnit::wake`], whether a command comes or not; asked after each call. `None`: nothing waits.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// It is `now`: a drive commits what has been in its buffer for long enough. What goes wrong is told to those who wrote.
    fn wake(&mut self, now: Instant) {
        let _ = now;
    }

    /// What it has counted, for whoever watches it: asked after each command.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }
}

/// What a device has counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Host bytes that went onto tapes.
    pub written_bytes: u64,
    /// Bytes that hosts got from tapes.
    pub read_bytes: u64,
    /// Cartridges loaded.
    pub loads: u64,
    /// TapeAlert flags that are raised; flag 1 is the most significant bit.
    pub tape_alerts: u64,
}

/// Resets that reach a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// LOGICAL UNIT RESET: 29h/03h... to every initiator; RESERVE ends, persistent reservations stay.
    LogicalUnit,
    /// TARGET WARM RESET or TARGET COLD RESET.
    Target,
}

/// Unit attention conditions (sense key 6h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitAttention {
    /// 29h/00h.
    PowerOn,
    /// 29h/02h, after a target reset.
    BusReset,
    /// 29h/03h, after a logical unit reset.
    DeviceReset,
    /// 28h/00h: a medium was loaded.
    MediumChanged,
    /// 28h/01h: an import or export element was accessed.
    ImportExportAccessed,
    /// 2Ah/01h.
    ModeParametersChanged,
    /// 2Ah/03h.
    ReservationsPreempted,
    /// 2Ah/04h.
    ReservationsReleased,
    /// 2Ah/05h.
    RegistrationsPreempted,
    /// 2Ah/10h.
    TimestampChanged,
    /// 2Fh/00h: another initiator cleared this one's commands.
    CommandsCleared,
    /// 3Fh/0Eh.
    ReportedLunsChanged,
}
