//! A tape cartridge: blocks, filemarks, positions, capacity, attributes, on a stream of the store.
//!
//! [`Cartridge`] is what a drive (or a job) holds while it uses a tape. It knows no SCSI and no library: where a
//! cartridge is stands in the inventory; here is a hint only, for rebuilding it.
//!
//! What durable means is in `docs/semantics.md`, bytes in `docs/formats/cartridge.md`. A crash leaves the tape at its
//! last commit, or at a later one that was in flight and whole on the disk; it ends between two objects always,
//! because blocks and the map that describes them are committed in one record.
//!
//! Rules of capacity: bytes of blocks count, filemarks are free, so that a host can always end its file. Early
//! warning begins a fixed distance before the end; everything that a host writes from there on (trailers, a last file's
//! rest) is taken up to the last byte of capacity, and [`Written::early_warning`] says so each time. A block that does
//! not fit whole is refused and nothing of it is written.

mod absent;
mod cartridge;
mod error;
mod files;
mod head;
pub mod inspect;
mod leb;
mod map;
mod protection;
mod reading;
mod spec;

pub use absent::{Absent, NotHere};
pub use cartridge::{Cartridge, Object, Position, Written};
pub use error::{CartridgeError, Lost};
pub use files::Files;
pub use head::{MAX_ATTRIBUTES_BYTES, MAX_COPIED_GENERATION, MAX_SERIAL_BYTES, PlaceHint};
pub use map::{MAX_BLOCK_BYTES, Spaced, Stop};
pub use protection::{Now, Protection, Retention};
pub use reading::{Kept, Reading};
pub use spec::{CartridgeSpec, Facts, Settings};
