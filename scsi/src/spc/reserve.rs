//! RESERVE and RELEASE (SPC-2), and what reservations of both kinds mean for a command.

use super::{
    common::Common,
    table::{Access, SpcOp},
};
use crate::{
    command::{Cdb, Command, InitiatorPort, NexusId, Reply, Status},
    persist::Persist,
    sense::Check,
};

/// The reply when a reservation stands against a command.
pub(super) const fn conflict() -> Reply {
    Reply::status(Status::ReservationConflict)
}

/// Whether a command of this access may run now.
pub(super) fn is_allowed<P: Persist>(common: &Common<P>, nexus: NexusId, access: Access, cdb: &Cdb) -> bool {
    let access = access.of(cdb);
    if matches!(access, Access::Always) {
        return true;
    }
    if common.reserved_by().is_some_and(|holder| holder != nexus) {
        return false;
    }
    allowed_by_persistent(common, common.port(nexus), access)
}

fn allowed_by_persistent<P: Persist>(
    common: &Common<P>,
    port: Option<&InitiatorPort>,
    access: Access,
) -> bool {
    let Some(held) = common.registry.held() else { return true };
    let holder = port.is_some_and(|port| common.registry.is_holder(port));
    let registered = port.is_some_and(|port| common.registry.key_of(port).is_some());
    holder
        || (held.kind.for_registrants() && registered)
        || match access {
            Access::Always | Access::Persistent => true,
            Access::Read => held.kind.lets_read(),
            Access::Write | Access::ByCdb(_) => false,
        }
}

/// RESERVE(6)/(10) and RELEASE(6)/(10). Third-party and extent reservations are not offered.
pub(super) fn run<P: Persist>(common: &mut Common<P>, op: SpcOp, command: &Command) -> Reply {
    // SPC-4: while anybody is registered, RESERVE and RELEASE are refused (REPORT CAPABILITIES says CRH = 0).
    if !common.registry.registrations().is_empty() {
        return conflict();
    }
    // 3RDPTY and third party id (bits 4 to 1), LONGID, EXTENT (bit 0): SPC-2 lets a device not offer them.
    if command.cdb.byte(1) & 0x1f != 0 {
        return Check::cdb(1).into();
    }
    match (op, common.reserved_by()) {
        (SpcOp::Reserve6 | SpcOp::Reserve10, Some(holder)) if holder != command.nexus => conflict(),
        (SpcOp::Reserve6 | SpcOp::Reserve10, _) => {
            common.set_reserved_by(Some(command.nexus));
            Reply::good()
        }
        // A RELEASE by somebody else ends nothing and is no error (SPC-2).
        (_, Some(holder)) if holder != command.nexus => Reply::good(),
        _ => {
            common.set_reserved_by(None);
            Reply::good()
        }
    }
}
