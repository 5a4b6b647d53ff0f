//! Drives: what their owner does with them beside commands.

use std::sync::{Arc, Mutex};

use scsi::Personality;
use scsi::spc::Identity;
use scsi::tape::{DriveStatus, EjectFault, State, TapeDrive, Totals};
use vtl_cartridge::Protection;

use crate::daemon::lock;
use crate::media::CartridgeMedium;
use crate::meta::DeviceState;
use crate::unit::Unit;

/// A drive's device model.
pub type Drive = TapeDrive<CartridgeMedium, DeviceState>;

/// A drive's thread.
pub type DriveUnit = Unit<Drive>;

/// A drive as after power on.
pub fn new_drive(identity: Identity, personality: &Personality, state: DeviceState) -> Drive {
    TapeDrive::new(identity, personality.drive.clone().unwrap_or_default(), state)
}

/// Takes the cartridge out, if there is one; its data is durable.
///
/// # Errors
/// Why it is still in.
pub fn take_out(drive: &mut Drive) -> Result<Option<CartridgeMedium>, String> {
    match drive.eject() {
        Ok(medium) => Ok(Some(medium)),
        Err(EjectFault::Empty) => Ok(None),
        Err(fault) => Err(format!("{fault:?}")),
    }
}

/// Takes the cartridge out, if there is one, and closes it.
///
/// # Errors
/// Why it is still in.
pub fn eject(drive: &mut Drive) -> Result<(), String> {
    take_out(drive).map(|medium| medium.into_iter().for_each(CartridgeMedium::close))
}

/// Name of the initiator that holds a reservation.
pub fn holder(drive: &Drive) -> Option<String> {
    drive.common().reservation_holder().map(|port| port.name.clone())
}

/// Starts the thread of a drive; how it was after the last thing that it did is there for who does not wait for it.
///
/// # Errors
/// When the system gives no thread.
pub fn start(name: &str, drive: Drive) -> std::io::Result<(DriveUnit, LastSeen)> {
    let seen = Arc::new(Mutex::new(Seen::of(&drive)));
    let noted = seen.clone();
    let unit = Unit::watched(name, drive, move |drive| *lock(&noted) = Seen::of(drive))?;
    Ok((unit, LastSeen(seen)))
}

/// A drive as it was after the last thing that it did. Its thread writes, others read.
#[derive(Clone)]
pub struct LastSeen(Arc<Mutex<Seen>>);

impl LastSeen {
    /// A copy of it.
    pub fn copy(&self) -> Seen {
        lock(&self.0).clone()
    }
}

/// What is told of a drive.
#[derive(Clone, Debug)]
pub struct Seen {
    /// State, cartridge and position.
    pub status: DriveStatus,
    /// Name of the initiator that holds a reservation.
    pub holder: Option<String>,
    /// What it has done.
    pub work: Work,
    /// Of the cartridge in it: bytes of host data, and what it is kept by unless that is over.
    pub summary: Option<(u64, Protection)>,
}

impl Seen {
    fn of(drive: &Drive) -> Self {
        Self {
            status: drive.status(),
            holder: holder(drive),
            work: Work::of(drive),
            summary: drive.medium().map(crate::media::summary),
        }
    }
}

/// What a drive has done, beside its status.
#[derive(Clone, Debug)]
pub struct Work {
    /// Bytes of blocks before the position of the cartridge in it.
    pub position_bytes: Option<u64>,
    /// Since the server started.
    pub totals: Totals,
    /// Data compression is enabled.
    pub compresses: bool,
}

impl Work {
    fn of(drive: &Drive) -> Self {
        Self {
            position_bytes: drive.medium().map(crate::media::position_bytes),
            totals: drive.tally().drive,
            compresses: drive.compresses(),
        }
    }
}

/// The word of `drive ls`. A drive that has failed says nothing of its state.
pub const fn state_word(state: Option<State>) -> &'static str {
    match state {
        Some(State::Empty) => "empty",
        Some(State::Unloaded) => "unloaded",
        Some(State::Loaded) => "loaded",
        None => "failed",
    }
}
