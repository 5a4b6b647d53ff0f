//! Where each cartridge is: libraries, drives, slots, mailslots, the vault, and the moves between them.
//!
//! Who uses it: the daemon opens one transaction of the inventory file and calls the functions here with it, so that
//! a move and what follows from it (a job, say) are one step: `library::move_medium(&mut tx, ..)`. SCSI bytes, the
//! store and sockets are unknown here.
//!
//! # Invariants, held by the tables' constraints and by the code, and checked by [`audit`]
//! - A cartridge is in exactly one place, an element holds at most one cartridge.
//! - A cartridge belongs to a library exactly when it is not in the vault.
//! - A label is unique over the whole installation; an id, a device number and a serial number are never used twice.
//! - A place of a cartridge exists: its number is within the library's counts.
//!
//! # States of a cartridge
//! `normal` → [`begin_remove`] → `removing` (in the vault, unseen by hosts) → [`finish_remove`] → gone, or
//! → [`cancel_remove`] → `normal` while its store is untouched. A crash between leaves `removing`, which [`reconcile`] lists at the next start. Which moves exist is one table,
//! in [`moves`].

mod access;
mod cartridge;
mod element;
mod error;
mod identity;
mod library;
pub mod moves;
mod quarantine;
mod rebuild;
mod schema;
mod select;
#[cfg(test)]
mod tests;
mod transfer;

pub use access::{
    KeptChap, Layout, LibraryTargets, Target, add_initiator, all_chap, chap, clear_chap, default_target,
    initiators, remove_initiator, set_chap, targets, targets_of,
};
pub use cartridge::{
    Cartridge, CartridgeState, NewCartridges, NewPlace, Planned, begin_remove, cancel_remove, cartridge,
    cartridge_by_id, cartridges, create_cartridges, finish_remove, plan_cartridges, set_write_protect,
    used_labels,
};
pub use element::{Element, elements};
pub use error::LibraryError;
pub use identity::{Identity, InstallationId, install, installation};
pub use library::{
    Counts, Drive, Library, MAX_DRIVES, MAX_MAILSLOTS, MAX_SLOTS, NewLibrary, audit, create_library,
    libraries, library, remove_library, set_counts, set_layout, set_setting, settings,
};
pub use moves::{Gates, MoveFault, Mover};
pub use quarantine::{forget_quarantine, quarantine, quarantined, release};
pub use rebuild::{Head, Placement, Reconciliation, Verdict, plan_rebuild, rebuild, reconcile};
pub use schema::MODULE;
pub use select::{By, Order, Select, select};
pub use transfer::{Moved, eject, exchange, load_from_vault, move_label, move_medium, plan_move};
