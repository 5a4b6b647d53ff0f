//! Drives: what their owner does with them beside commands.

use scsi::Personality;
use scsi::spc::Identity;
use scsi::tape::{EjectFault, State, TapeDrive};
use tracing::error;

use crate::media::CartridgeMedium;
use crate::meta::DeviceState;
use crate::unit::Unit;

/// A drive's device model.
pub type Drive = TapeDrive<CartridgeMedium, DeviceState>;

/// A drive's thread.
pub type DriveUnit = Unit<Drive>;

/// What came of an eject.
#[derive(Debug, PartialEq, Eq)]
pub enum Ejected {
    /// The cartridge is out, its data durable, its file closed.
    Medium,
    /// There was none.
    Empty,
    /// It is still in: the reason.
    Failed(String),
}

/// A drive as after power on.
pub fn new_drive(identity: Identity, personality: &Personality, state: DeviceState) -> Drive {
    TapeDrive::new(identity, personality.drive.clone().unwrap_or_default(), state)
}

/// Takes the cartridge out and closes it.
pub fn eject(drive: &mut Drive) -> Ejected {
    if drive.medium().is_none() {
        return Ejected::Empty;
    }
    match drive.eject() {
        Ok(medium) => {
            medium.close();
            Ejected::Medium
        }
        Err(EjectFault::Empty) => Ejected::Empty,
        Err(fault) => Ejected::Failed(format!("{fault:?}")),
    }
}

/// Puts a cartridge in; initiators hear of it.
pub fn insert(drive: &mut Drive, medium: CartridgeMedium) {
    if let Err(refused) = drive.insert(medium) {
        error!(fault = ?refused.why, "the drive did not take its cartridge");
        refused.medium.close();
    }
}

/// Name of the initiator that holds a reservation.
pub fn holder(drive: &Drive) -> Option<String> {
    drive.common().reservation_holder().map(|port| port.name.clone())
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
