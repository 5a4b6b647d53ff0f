//! What every device does the same way (SPC-4): one engine under the drive, the changer and the disk.
//!
//! A device is a table of [`Row`]s, a [`Common`] and a few hooks; [`execute`] does the rest in a fixed order:
//!
//! 1. the row of the operation code and service action (5/20/00, 5/24/00);
//! 2. a unit attention that this nexus has not heard of, except for INQUIRY, REPORT LUNS and REQUEST SENSE;
//! 3. reservations: RESERVATION CONFLICT;
//! 4. a deferred error that the device owes this nexus, with the exceptions of 2;
//! 5. bits that the row does not know (5/24/00 with a field pointer);
//! 6. readiness, where the row asks for it;
//! 7. the command itself, here (INQUIRY, mode and log pages, reservations, diagnostics) or in [`Device::run`].
//!
//! The table that dispatches is the one that REPORT SUPPORTED OPERATION CODES answers from.

mod attention;
mod common;
mod diagnostic;
mod execute;
mod identity;
mod log;
mod luns;
mod mode;
mod opcodes;
mod persistent;
mod registry;
mod reserve;
mod table;
mod timestamp;
pub(crate) mod wire;

pub use common::Common;
pub use execute::{Device, execute};
pub(crate) use identity::dvcid;
pub use identity::{DeviceType, Identity};
pub use log::{LogParameter, PageCode};
pub use luns::{missing_unit, report_luns};
pub use mode::{ModeHeader, ModePage, ModePages, ModeSelect, SelectedPage};
pub use registry::{Held, ReservationType};
#[cfg(test)]
pub(crate) use table::tests::check_table;
pub use table::{Access, Handler, Row, SpcOp, Timeouts};

#[cfg(test)]
mod tests;
