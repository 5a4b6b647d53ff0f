//! Exports and imports of cartridges: what they do in which order, as engines of the job manager. `docs/export.md` is the design.
//!
//! ```text
//! Export: Reading (a snapshot) -> bundle writer -> vtl-transfer -> remote, manifest last -> catalogue -> delete here, if that is wanted
//! Import: manifest -> vtl-transfer -> bundle reader -> a copy that says it is unfinished -> finished -> inventory and catalogue, in one transaction
//! Verify, Prune: what lies on a remote, against what is known of it
//! ```
//!
//! Who uses it: the daemon, which is the [`World`]. Engines keep nothing between two calls but what is in a job's checkpoint, the store and the
//! catalogue; so a crash at any step leaves a job that goes on.

mod catalogue;
mod export;
mod fail;
mod folder;
mod import;
mod job;
mod prune;
mod request;
mod verify;
mod whereabouts;
mod world;

pub use catalogue::{MODULE, Origin, Row, StoredObject, all, of_cartridge, of_folder};
pub use export::{Export, written_to};
pub use folder::{FolderName, Found, found_in};
pub use import::Import;
pub use job::staging_of;
pub use prune::Prune;
pub use request::{
    EXPORT, ExportRequest, ExportResult, IMPORT, ImportRequest, ImportResult, PRUNE, PruneRequest,
    PruneResult, VERIFY, VerifyRequest, VerifyResult,
};
pub use verify::Verify;
pub use vtl_bundle::CHUNK_SIZES;
pub use whereabouts::Whereabouts;
pub use world::{Defaults, Settings, World};
