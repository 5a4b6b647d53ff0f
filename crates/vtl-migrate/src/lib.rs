//! Exports and imports of cartridges: what they do in which order, as engines of the job manager. `docs/export.md` is the design.
//!
//! ```text
//! Export: Reading (a snapshot) -> bundle writer -> vtl-transfer -> remote, manifest last -> catalogue -> delete here, if that is wanted
//! Import, lazily: manifest -> the cartridge appears; pieces as they are read, then all of them -> finished
//! Import: manifest -> vtl-transfer -> bundle reader -> a copy that says it is unfinished -> finished -> inventory and catalogue, in one transaction
//! Ingest: a tape device of this machine -> a copy that says it is unfinished -> finished -> inventory
//! Repair: what chunks lack -> only frames that hold it -> the store, which compares each with its fingerprint
//! Verify, Prune: what lies on a remote, against what is known of it
//! Fetch: what lies on a remote to a folder of this machine;   Rewrap: the manifest there for other keys
//! ```
//!
//! Who uses it: the daemon, which is the [`World`]. Engines keep nothing between two calls but what is in a job's checkpoint, the store and the
//! catalogue; so a crash at any step leaves a job that goes on.

mod catalogue;
mod clean;
mod export;
mod fail;
mod fetch;
mod folder;
mod heal;
mod import;
mod ingest;
mod job;
mod lazy;
mod maker;
mod planning;
mod prune;
mod reach;
mod request;
mod rewrap;
mod sent;
mod spare;
mod tape;
mod verify;
mod whereabouts;
mod world;

pub use catalogue::{
    MODULE, Noted, Origin, Row, StoredObject, all, forget_remote, is_exported, made_here, noted,
    of_cartridge, of_folder,
};
pub use clean::{Clean, clean_import, prove};
pub use export::{Export, written_to};
pub use fetch::Fetch;
pub use folder::{FolderName, Found, found_in, manifest_of};
pub use heal::Repair;
pub use import::Import;
pub use ingest::{INGEST, Ingest, IngestRequest, IngestResult, Tapes};
pub use job::{Folders, sha256, staging_of};
pub use lazy::{LAZY_MODULE, Lazies, Lazy, LazyRow, import_anew, lazy_all, lazy_forget, lazy_of, lazy_put};
pub use maker::Maker;
pub use prune::Prune;
pub use request::{
    EXPORT, ExportRequest, ExportResult, FETCH, FetchRequest, FetchResult, IMPORT, ImportRequest,
    ImportResult, PRUNE, PruneRequest, PruneResult, REPAIR, REWRAP, RepairRequest, RepairResult, Repaired,
    RewrapRequest, RewrapResult, VERIFY, VerifyRequest, VerifyResult,
};
pub use rewrap::Rewrap;
pub use sent::confirmed;
pub use spare::SpareRequest;
pub use tape::{Found as FoundOnTape, TapeDevice};
pub use verify::Verify;
pub use vtl_bundle::{CHUNK_SIZES, MAX_RECIPIENTS, Stored};
pub use whereabouts::Whereabouts;
pub use world::{Blank, Defaults, ForeignRule, Held, Settings, World};
