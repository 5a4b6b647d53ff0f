//! The store of cartridge bytes: packs, journal, owners.
//!
//! An *owner* has one *stream*: bytes that are appended, cut back and read by offset. What the bytes mean is the
//! owner's business, told to the store as opaque *deltas* that become durable in the same journal record as the
//! bytes they describe, and as a *snapshot* that replaces all deltas before it. A crash leaves each owner exactly at
//! its last commit, or at a later one that was in flight and whole on the disk.
//!
//! ```text
//! append -> cut by content, hash -> known: an extent of an older pack
//!                                   new: region, compress (workers) -> a pack, whoever else may come to need it
//! commit -> sync packs -> one journal record for all owners that wait -> sync -> done
//! open   -> heads + journal -> packs end with footers, heads written anew -> a journal that says what packs there are
//! gc     -> mark what owners, open streams and snapshots refer to -> unlink packs, or write their next generation
//! ```
//!
//! Invariants, checked where the bytes come in:
//! - a byte is served only after its chunk's BLAKE3 has been compared;
//! - a raw address of a pack never changes its content, and no pack id is used twice; after its start a pack gets its footer at most;
//! - an extent refers to what is durable, or becomes durable with the same commit, and what it refers to is not collected;
//! - a journal record exists only when all that it refers to has been synced;
//! - after a failed sync the pool takes nothing more until it is opened anew;
//! - in an encrypted pool nothing reaches a disk but through `cipher.rs`, except headers and the empty marks of owners.
//!
//! Design and reasons: `docs/store.md`; byte tables: `docs/formats/`.

mod account;
mod backend;
mod buffers;
mod check;
#[doc(hidden)]
pub mod chunker;
mod cipher;
mod codec;
mod commit;
mod cutter;
mod draft;
mod drain;
mod error;
mod finder;
mod gc;
#[doc(hidden)]
pub mod index;
pub mod inspect;
mod keyring;
mod lane;
mod lost;
mod mark;
mod members;
mod newest;
mod pack;
mod packs;
mod quarantine;
mod reader;
mod recipe;
mod recovery;
mod repair;
mod roster;
mod scrub;
mod sealed_folder;
mod seeker;
pub mod site;
mod snapshot;
mod store;
mod stream;
mod sync;
mod types;
mod workers;
mod writer;

pub use check::{CheckReport, Finding};
pub use cipher::Randomness;
pub use drain::{DrainReport, Folder, FolderState};
pub use error::{ReadError, StoreError};
pub use gc::{GcProgress, GcReport, GcRule};
pub use index::{IndexMode, IndexStats};
pub use keyring::{
    Encryption, KeyStatus, Keyring, MIN_KEY_FILE_BYTES, MIN_PASSPHRASE_BYTES, Method, PassphraseCost, PoolKey,
};
pub use lost::{Lost, LostChunk};
pub use repair::{PutBack, RepairReport};
pub use scrub::{Pass, ScrubFinding, ScrubStatus, ScrubStep, Scrubber};
pub use snapshot::Snapshot;
pub use store::Store;
pub use stream::Stream;
pub use types::{DirectIo, Head, Health, Options, OwnerId, PackWrites, Share, Stats, Usage};
pub use vtl_codec::Portion;
