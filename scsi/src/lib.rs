//! SCSI device models: tape drive (SSC), medium changer (SMC), diagnostic disk (SBC) and what they share (SPC).
//!
//! A device is a value: it takes a [`Command`] and gives a [`Reply`]. It knows no transport, file, thread or clock; what it needs of the
//! world stands behind [`Medium`], [`Inventory`] and [`Persist`]. One owner drives it at a time, so it has no lock.
#![cfg_attr(not(test), no_std)]
#![warn(clippy::std_instead_of_core, clippy::std_instead_of_alloc, clippy::little_endian_bytes)]

extern crate alloc;

pub mod changer;
mod command;
pub mod disk;
mod inventory;
mod medium;
mod persist;
pub mod personality;
mod sense;
pub mod spc;
pub mod tape;
#[cfg(test)]
mod testing;
mod unit;

pub use command::{Cdb, Command, DataIn, InitiatorPort, Instant, NexusId, Reply, Status};
pub use inventory::{DriveFacts, Element, ElementState, Geometry, Host, Inventory, MoveFault, Occupant};
pub use medium::{AttributeFault, Fault, Medium, MediumFacts, Object, Position, Spaced, Stop, Written};
pub use persist::{Persist, PersistFault};
pub use personality::Personality;
pub use sense::{Check, Extras, FieldPointer, Sense, SenseFormat, SenseKey};
pub use spc::{Device, Identity};
pub use unit::{LogicalUnit, Reset, UnitAttention, Vitals};
