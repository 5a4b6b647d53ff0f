//! Bytes on disk: what the journal, the packs, the heads and the cartridges stand on.
//!
//! - [`Disk`] and [`DiskFile`]: the few operations that durable code may use, so that every one of them can be
//!   made to fail. [`RealDisk`] does them; [`SimDisk`] keeps only what was synced and can crash at any of them.
//! - [`log`]: an append log of framed records with a recovery scan that tells a torn tail from damage.
//! - [`sealed`]: a small file that is replaced as a whole, atomically and durably.
//! - [`wire`]: little-endian reading and writing that cannot run past its end.
//!
//! Nothing here knows what a record means. The byte tables are in `docs/formats/framing.md`.

mod disk;
pub mod log;
mod pages;
mod real;
pub mod sealed;
mod sim;
pub mod wire;

pub use disk::{Blame, DIRECT_ALIGN, Disk, DiskError, DiskFile, Found, Open};
pub use pages::PageBuffer;
pub use real::{RealDisk, set_direct};
pub use sim::{Fault, Lie, SimDisk, TakenAway};
