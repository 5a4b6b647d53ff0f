//! Drives: what their owner does with them beside commands.

use scsi::Personality;
use scsi::spc::Identity;
use scsi::tape::{EjectFault, State, TapeDrive, Totals};

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

/// What a drive has done, beside its status.
pub struct Work {
    /// Bytes of blocks before the position of the cartridge in it.
    pub position_bytes: Option<u64>,
    /// Since the server started.
    pub totals: Totals,
    /// Data compression is enabled.
    pub compresses: bool,
}

impl Work {
    /// Asked on the drive's own thread.
    pub fn of(drive: &Drive) -> Self {
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
