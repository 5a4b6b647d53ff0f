//! Request and response types of the management API, version 1.
//!
//! Programs outside the project read these: fields are added, never renamed or removed. Bytes are integers, times RFC 3339.
//! Every response is JSON; an error is an [`ApiError`] with an HTTP status of the 4xx or 5xx class.

mod alert;
mod format;

pub use alert::{AlertInfo, AlertTest};
pub use format::{FormatInfo, UpgradeStore};
use serde::{Deserialize, Serialize};

/// Where the version 1 API begins.
pub const BASE: &str = "/api/v1";

/// An answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// A stable word that programs can test.
    pub code: ErrorCode,
    /// The thing, the value and what is wrong, for people.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Classes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The token is missing or wrong: 401.
    Unauthorized,
    /// The request came from a page or host that may not ask: 403.
    Forbidden,
    /// The named thing does not exist: 404.
    NotFound,
    /// The request cannot be understood or a value is out of range: 400.
    Invalid,
    /// Something of that name exists: 409.
    Exists,
    /// The state of things forbids it (loaded, full, prevented, not empty): 409.
    Conflict,
    /// No room: 507.
    Full,
    /// This version cannot do it: 501.
    Unsupported,
    /// Our fault or the disk's: 500.
    Internal,
}

impl ErrorCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Invalid => 400,
            Self::Exists | Self::Conflict => 409,
            Self::Full => 507,
            Self::Unsupported => 501,
            Self::Internal => 500,
        }
    }
}

/// `GET /libraries`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryInfo {
    /// Its name.
    pub name: String,
    /// Personality of the changer.
    pub profile: String,
    /// Personality of its drives.
    pub drive_profile: String,
    /// iSCSI target that its changer is in.
    pub target: String,
    /// `one`: that target has all devices; `per-device`: each drive has a target of its own.
    pub layout: String,
    /// Unit serial number of the changer.
    pub serial: String,
    /// Pool that its new cartridges go into.
    #[serde(default)]
    pub pool: String,
    /// Number of drives.
    pub drives: u16,
    /// Number of slots.
    pub slots: u16,
    /// Number of mailslots.
    pub mailslots: u16,
    /// Cartridges in it.
    pub cartridges: u32,
}

/// `GET /libraries/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryDetail {
    /// The row of the list.
    #[serde(flatten)]
    pub info: LibraryInfo,
    /// The targets that its devices are in.
    pub targets: Vec<LibraryTarget>,
    /// What becomes of cartridges that are put into its mailslots, and how they are exported.
    #[serde(default)]
    pub settings: Vec<LibrarySetting>,
    /// Every element.
    pub elements: Vec<ElementInfo>,
}

/// One setting of a library that has a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibrarySetting {
    /// Dotted key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// `library`, or `configuration`.
    pub origin: String,
}

/// One target of a library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryTarget {
    /// iSCSI name.
    pub name: String,
    /// `library` (all devices), `changer` or `drive`.
    pub shows: String,
    /// The drive's number, if it shows one drive.
    pub drive: Option<u16>,
    /// Logical unit numbers.
    pub luns: Vec<u16>,
}

/// One element of a library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementInfo {
    /// `slot`, `drive` or `mailslot`.
    pub kind: String,
    /// Its number: slots and mailslots from 1, drives from 0.
    pub number: u16,
    /// The number that `mtx` shows: mailslot N is slots + N.
    pub mtx_number: u16,
    /// Element address on the wire.
    pub address: u16,
    /// The cartridge in it.
    pub label: Option<String>,
}

/// `POST /libraries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateLibrary {
    /// Its name: also the last part of its target's name.
    pub name: String,
    /// Personality of the changer.
    pub profile: String,
    /// Number of drives.
    pub drives: u16,
    /// Number of slots.
    pub slots: u16,
    /// Number of mailslots.
    pub mailslots: u16,
    /// Pool that its new cartridges go into; the default one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// `PATCH /libraries/{name}`: settings by key, such as `drives` or `slots`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLibrary {
    /// New number of drives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drives: Option<u16>,
    /// New number of slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u16>,
    /// New number of mailslots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailslots: Option<u16>,
    /// How devices are spread over targets: `one` or `per-device`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<String>,
    /// Pool that its new cartridges go into; those that it has stay where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Settings such as `migrate.remote`, by key; an empty value: as the configuration says.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub settings: std::collections::BTreeMap<String, String>,
    /// End the sessions that are in the way.
    #[serde(default)]
    pub force: bool,
}

/// `GET /drives`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveInfo {
    /// Library that it is in.
    pub library: String,
    /// Its number, from 0.
    pub number: u16,
    /// iSCSI target that it is in.
    pub target: String,
    /// Its logical unit number there.
    pub lun: u16,
    /// Unit serial number.
    pub serial: String,
    /// Personality.
    pub profile: String,
    /// `empty`, `loaded`, `unloaded` (a cartridge is in it, but the host has ejected it), or `failed` (see the system's status).
    pub state: String,
    /// Label of the cartridge.
    pub cartridge: Option<String>,
    /// Block number of the position.
    pub block: Option<u64>,
    /// File number of the position.
    pub file: Option<u64>,
    /// Partition of the position.
    pub partition: Option<u8>,
    /// Name of the initiator that holds a reservation.
    pub initiator: Option<String>,
}

/// Where a cartridge is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceInfo {
    /// `slot`, `drive`, `mailslot`, `vault` or `remote`.
    pub kind: String,
    /// Number within the kind; the vault has none.
    pub number: Option<u16>,
}

/// `GET /cartridges`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartridgeInfo {
    /// Bar code.
    pub label: String,
    /// Library that it is in, if any.
    pub library: Option<String>,
    /// Where it is.
    pub place: PlaceInfo,
    /// Bytes of host data that fit.
    pub capacity_bytes: u64,
    /// Bytes of host data on it.
    pub used_bytes: u64,
    /// LTO generation, such as 8.
    pub generation: u8,
    /// Complete copies elsewhere, as `REMOTE/FOLDER`, of what was on it at the time in the folder's name.
    pub exports: Vec<String>,
    /// Why that cannot be told: then `exports` says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exports_problem: Option<String>,
    /// Why it is in quarantine: it cannot leave the vault until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// Pool that its bytes are in.
    #[serde(default)]
    pub pool: String,
    /// The write-protect switch.
    pub write_protected: bool,
    /// Write once, read many.
    pub worm: bool,
    /// On hold: not removed or overwritten until that is lifted.
    pub hold: bool,
    /// Retained until this time at least, as it was named.
    pub retain_until: Option<String>,
    /// When retention is over at the earliest: later than `retain_until` when the machine's clock was set or the machine was off for long.
    pub retention_ends: Option<String>,
    /// When it was made.
    pub created: String,
    /// What is here of one that is imported lazily; none when all of it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lazy: Option<LazyInfo>,
    /// Bytes of its stream in the store; none when the store cannot read it.
    #[serde(default)]
    pub logical_bytes: Option<u64>,
    /// Bytes on disk that all its writing has caused, after compression, at the last commit.
    #[serde(default)]
    pub arrived_bytes: Option<u64>,
    /// Bytes on disk that only it needs; none until a collection or `POST /store/account` has looked since the start.
    #[serde(default)]
    pub exclusive_bytes: Option<u64>,
    /// Bytes on disk that it needs and others too, nearly, of the same moment.
    #[serde(default)]
    pub shared_bytes: Option<u64>,
}

/// A cartridge that is here in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LazyInfo {
    /// Remote that has the rest.
    pub remote: String,
    /// Folder there.
    pub folder: String,
    /// Bytes of its blocks that are here.
    pub here_bytes: u64,
    /// Bytes of all its blocks.
    pub image_bytes: u64,
    /// What is wrong with it: all was fetched, and it is not what it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// `POST /cartridges`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCartridges {
    /// First label; the following ones count its number up.
    pub label: String,
    /// Library; may be left out when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Capacity in bytes; by generation when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Pool for its bytes; the library's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The label must be that of a WORM cartridge.
    #[serde(default)]
    pub worm: bool,
    /// How many.
    #[serde(default = "one")]
    pub count: u32,
}

const fn one() -> u32 {
    1
}

/// `PATCH /cartridges/{label}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetCartridge {
    /// The write-protect switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_protect: Option<bool>,
    /// Retain it until this time (RFC 3339) or date at least; never shorter than before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain_until: Option<String>,
    /// The hold, on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<bool>,
}

/// `POST /cartridges/{label}/move`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveCartridge {
    /// `slot:N`, `drive:N`, `mailslot:N` or `vault`.
    pub to: String,
    /// Library of the destination, when the cartridge comes from the vault or another library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Take it even from a drive that prevents removal; initiators are told.
    #[serde(default)]
    pub force: bool,
}

/// `DELETE /cartridges/{label}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveCartridge {
    /// Skip the trash: the data is gone at once. Wants the label in `confirm`.
    #[serde(default)]
    pub now: bool,
    /// The label, typed once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `GET /store/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStats {
    /// Bytes that hosts have written and not overwritten.
    pub logical_bytes: u64,
    /// Bytes of different content among them.
    pub unique_bytes: u64,
    /// Bytes on disk.
    pub stored_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Packs.
    pub packs: u64,
    /// Bytes on disk that nobody needs any more, as the last collection or `POST /store/account` found.
    pub reclaimable_bytes: u64,
    /// Memory that the store holds.
    pub memory_bytes: u64,
    /// Bytes that packs have grown by for all that was ever written, headers and footers of packs apart.
    #[serde(default)]
    pub arrived_bytes: u64,
    /// Headers and footers of packs.
    #[serde(default)]
    pub metadata_bytes: u64,
    /// Bytes that collections have taken: `arrived_bytes + metadata_bytes - reclaimed_bytes` is `stored_bytes`. Below zero when repairs
    /// have added more.
    #[serde(default)]
    pub reclaimed_bytes: i64,
    /// How packs are written that drives append to: `direct`, past the system's page cache; `buffered`, through it; `mixed`, when folders differ.
    pub writes: String,
    /// The scrub in one line: the last pass that ended, how far the one is that runs, what is damaged now.
    pub scrub: String,
    /// Whether what is on disk is encrypted.
    pub encrypted: bool,
    /// Damaged pages of the index that were met since the start: some chunks are stored again, nothing is lost.
    #[serde(default)]
    pub index_bad_pages: u64,
    /// Tables of the index that were removed since the start because they were damaged or missing: the same.
    #[serde(default)]
    pub index_dropped_tables: u64,
    /// The same of each pool, when it is of all that are open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolStats>,
}

/// What one pool takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStats {
    /// Its name.
    pub pool: String,
    /// What it takes.
    #[serde(flatten)]
    pub stats: StoreStats,
}

/// `?pool=NAME` of a `GET`, and the body of a `POST` that has nothing else to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnPool {
    /// The pool; where it is left out each request says which are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// `POST /cartridges/{label}/export`. What is left out is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportCartridge {
    /// Name of the remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Name of the key for whose owner it is encrypted, or up to 16 names with commas between them; `none`: not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name of the Ed25519 key that signs it; `none`: not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_with: Option<String>,
    /// The most bytes that an object may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_size_bytes: Option<u64>,
    /// `zstd`, `lz4` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress: Option<String>,
    /// How what is sent is verified: `remote-hash`, `readback` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Make no job; answer what it would do ([`JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /imports`: what an export job has made, or a folder on a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportCartridge {
    /// Number of an export job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// Name of a remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// A folder there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Label here, when it is not to be the bundle's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_label: Option<String>,
    /// Pool for its bytes; the default one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Loadable at once, blocks fetched when they are read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
}

/// `POST /ingests`: what is on a tape in a device of the server's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestCartridge {
    /// The device's file, one without rewind, such as `/dev/nst0`.
    pub device: String,
    /// Label of the cartridge to be.
    pub label: String,
    /// The library that it is to appear in; the vault when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// What it is to hold; as for new cartridges when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// `GET /exports?remote=NAME`, one row: a folder of an export, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFolder {
    /// Its name.
    pub folder: String,
    /// Label of the cartridge.
    pub label: String,
    /// Objects in it, the manifest too.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether it has a manifest. One without is an export that runs or was cut off.
    pub complete: bool,
    /// Whether hashes of it are kept here.
    pub known: bool,
    /// Label of the cartridge here that has this content, if one has it still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cartridge: Option<String>,
}

/// `GET /exports/show?remote=NAME&folder=F`: what the manifest of a folder says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportDetail {
    /// The folder.
    pub folder: String,
    /// Label of the cartridge.
    pub label: String,
    /// Date and time of the export in UTC, as in the folder's name.
    pub created: String,
    /// The cartridge's write generation.
    pub generation: u64,
    /// What frames were tried with.
    pub codec: String,
    /// Whether a key is needed to read it.
    pub encrypted: bool,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// Chunk objects.
    pub objects: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Of the manifest's bytes, hexadecimal.
    pub manifest_sha256: String,
    /// Whether the folder has the name that its manifest says.
    pub folder_fits: bool,
    /// Whether this manifest is the one that was written or read here.
    pub known: bool,
    /// Who signed it: SHA-256 of the DER of the public key, hexadecimal.
    pub signer: Option<String>,
    /// Who made it, as far as that is known here, in words.
    pub made_by: String,
    /// Who can open it.
    pub recipients: Vec<ExportRecipient>,
    /// What is in it.
    pub inside: Option<ExportContent>,
    /// Why that cannot be told.
    pub inside_problem: Option<String>,
}

/// Who can open an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRecipient {
    /// Name of the key here.
    pub key: Option<String>,
    /// Whether its private part is here.
    pub private: bool,
    /// Length of its modulus.
    pub bits: u32,
    /// SHA-256 of the DER of its SubjectPublicKeyInfo, hexadecimal.
    pub fingerprint: String,
}

/// What is in an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportContent {
    /// Blocks.
    pub blocks: u64,
    /// Filemarks.
    pub filemarks: u64,
    /// Entries of the block map: equal neighbours are one.
    pub map_entries: u64,
    /// Bytes of the shortest block.
    pub smallest_block: Option<u32>,
    /// Bytes of the longest block.
    pub largest_block: Option<u32>,
    /// BLAKE3 of all blocks, hexadecimal.
    pub blake3: String,
    /// Serial number and what else belongs to the cartridge.
    pub attributes: std::collections::BTreeMap<String, String>,
    /// What stands between filemarks: the first hundred.
    pub files: Vec<ExportFile>,
}

/// What stands between two filemarks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportFile {
    /// From 0, which is before the first filemark.
    pub number: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// `POST /exports/fetch`: objects and manifest to a folder of the server's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchExport {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
    /// Absolute path of a folder; one with the export's name is made in it.
    pub to: String,
}

/// `POST /exports/rewrap`: the same bundle for other keys. No object is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewrapExport {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
    /// Names of the keys for whose owners it is encrypted then, with commas between them: these and no others.
    pub key: String,
    /// Name of the Ed25519 key that signs the new manifest; `none`: nobody; without it as exports are signed, or as the old one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_with: Option<String>,
}

/// `POST /exports/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyExport {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
    /// So many percent of the objects, at least one; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_percent: Option<u8>,
}

/// `POST /exports/prune`: removes one folder, or all incomplete ones that are old enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneExports {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The folder once more, when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `POST /store/scrub`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScrubStore {
    /// The pool to read; all that are open, one after the other, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Bytes a second, as a size such as `200m`, or `max`; as configured when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Make no job; answer what it would do ([`JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `GET /store/scrub`, and the answer of `POST`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreScrub {
    /// The job that was made for it, in the answer of `POST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// `running`, `idle`, or `paused`: its job is.
    pub state: String,
    /// The pass that runs, or that was begun now; none when its job still waits.
    pub pass: Option<u64>,
    /// When it began.
    pub begun: Option<String>,
    /// Bytes that it has read.
    pub bytes: Option<u64>,
    /// Bytes of all packs when it began.
    pub total_bytes: u64,
    /// The last pass that ended.
    pub last_pass: Option<u64>,
    /// When that began.
    pub last_begun: Option<String>,
    /// When it ended.
    pub last_finished: Option<String>,
    /// Packs that it read.
    pub last_packs: Option<u64>,
    /// Bytes that it read.
    pub last_bytes: Option<u64>,
    /// Damaged chunks, packs and files that it found.
    pub last_damaged: Option<u64>,
    /// Packs that have not been read back since they were written.
    pub unread_packs: u64,
    /// Chunks that are damaged now.
    pub damaged_chunks: u64,
    /// Bytes in them.
    pub damaged_bytes: u64,
    /// What is damaged now; without a cartridge where none needs it.
    pub damage: Vec<Damage>,
    /// Each pool, when there are several and none was named. Passes are those of the default pool then, what is damaged or unread is that of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolScrub>,
}

/// How the scrub of one pool is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolScrub {
    /// Its name.
    pub pool: String,
    /// How it is doing.
    #[serde(flatten)]
    pub scrub: StoreScrub,
}

/// `GET /store/key`: what may be told of the key of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreKey {
    /// `none` or `aes-256-gcm`.
    pub encryption: String,
    /// What opens the pool: `key file` or `passphrase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// 1, and one more with each rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Whether the keyring has been exported since its last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<bool>,
    /// Memory that making a key from the passphrase takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_memory_bytes: Option<u64>,
    /// Passes over that memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_passes: Option<u32>,
}

/// `POST /store/key/rotate`. One of the two; the daemon reads the file, no secret is in the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateStoreKey {
    /// The pool; the default one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Path of the new key file on the machine of the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Path of a file with the new passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<String>,
}

/// `POST /store/key/export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportStoreKey {
    /// The pool; the default one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Path of a file that is not there yet, on the machine of the daemon.
    pub file: String,
}

/// `GET /pools`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// `ok`, `full`, `read-only`, `degraded` (opened for reading without one of its folders), or `closed`: it cannot be opened.
    pub state: String,
    /// Why it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether cartridges go into it when nothing else is said, and the configuration describes it.
    pub default: bool,
    /// Whether what is on disk is encrypted; none when it is closed and that is not known.
    pub encrypted: Option<bool>,
    /// File with the key or the passphrase that opens it at a start; the configuration has that of the default pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Cartridges in it, those in the trash too.
    pub cartridges: u64,
    /// Bytes that hosts have written to them and not overwritten.
    pub logical_bytes: u64,
    /// Bytes of different content among them.
    pub unique_bytes: u64,
    /// The most that its index and caches take: its share of `store.memory`.
    pub memory_share_bytes: u64,
    /// Bytes of its packs.
    pub stored_bytes: u64,
    /// Bytes that can still be stored.
    pub free_bytes: u64,
    /// The folders that its packs lie in, its home first.
    pub folders: Vec<PoolFolder>,
}

/// A folder of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFolder {
    /// Where it is, or was last seen.
    pub path: String,
    /// Its number in the pool; 0 is the home.
    pub number: u32,
    /// `in-use`, `full`, `failed`, `leaving` (it is being emptied), `empty` (and can be left out of the configuration) or `missing`.
    pub state: String,
    /// Packs in it.
    pub packs: u64,
    /// Bytes of its packs.
    pub stored_bytes: u64,
    /// What its file system can still take, the reserve included.
    pub free_bytes: u64,
    /// What happened, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// `POST /pools`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreatePool {
    /// Its name.
    pub name: String,
    /// Its folders, absolute paths on the machine of the daemon; the first is its home.
    pub paths: Vec<String>,
    /// Take in a pool that is there already, with what is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
    /// Encrypt it; wants one of the two files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub encrypted: bool,
    /// Path of the key file that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Path of a file with the passphrase that opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase_file: Option<String>,
    /// Whether content that is there already is found; as `store.dedupe` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<bool>,
    /// Average length of chunks; as `store.chunk_size` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_bytes: Option<u64>,
    /// The zstd level, 1 to 19; as `store.compression_level` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<i32>,
    /// The most that its packs may take; what its disks have when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// `DELETE /pools/{name}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovePool {
    /// Leave its files alone, and only list it no more: for a pool whose folders are gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
}

/// `POST /pools/{name}/folders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddFolder {
    /// The folder, empty or still to be made; its absolute path.
    pub path: String,
}

/// `POST /pools/{name}/drain`, what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The folder to be emptied, as `GET /pools` tells it.
    pub path: String,
}

/// `POST /pools/{name}/drain`, what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Packs that lie in other folders now.
    pub moved: u64,
    /// Bytes in them.
    pub moved_bytes: u64,
    /// Packs that are still there; 0: the folder can be left out of the configuration.
    pub left: u64,
}

/// `POST /store/gc`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectStore {
    /// The pool; all that are open, one after the other, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Make no job; answer what it would do ([`JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// Answer at once, with the job ([`JobDetail`]); otherwise at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// A pack is written anew when at least so many percent of it are dead, 1 to 100; 100: only packs that nothing needs go. 25 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_percent: Option<u8>,
}

/// `POST /store/repair`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairStore {
    /// The pool; all that are open when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Fetch from exports what is nowhere in the store: a job, which is the answer ([`JobDetail`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_exports: bool,
    /// Make no job; answer what it would do ([`JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /store/repair`, what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreRepaired {
    /// Chunks that could be read after all.
    pub readable: u64,
    /// Chunks put back from the same content elsewhere in the store.
    pub healed: u64,
    /// Packs written anew because of damage beside their chunks.
    pub mended: u64,
    /// Chunks whose content is nowhere in the store.
    pub lost: u64,
    /// Bytes in those.
    pub lost_bytes: u64,
}

/// `POST /store/gc`, what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCollected {
    /// The job that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// Packs that were looked at.
    pub packs: u64,
    /// Packs removed.
    pub removed: u64,
    /// Packs written anew without what was dead in them.
    pub rewritten: u64,
    /// Packs that could not be read or written anew, and stay as they are.
    pub skipped: u64,
    /// Bytes on disk that are free now.
    pub freed_bytes: u64,
    /// Bytes on disk that nobody needs and that stay, nearly.
    pub reclaimable_bytes: u64,
}

/// `GET /jobs`, one row. `docs/jobs.md` says what a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its number.
    pub id: u64,
    /// Such as `gc` or `scrub`.
    pub kind: String,
    /// What it is about, such as a cartridge.
    pub label: Option<String>,
    /// `queued`, `running`, `paused`, `stopping`, `completed`, `cancelled` or `failed`.
    pub state: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
    /// Attempts that have begun.
    pub attempts: u32,
    /// What went wrong last.
    pub error: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// When it was asked for.
    pub created: String,
    /// When it began.
    pub started: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// It waits until then, after an attempt that failed.
    pub next_attempt: Option<String>,
    /// How fast it goes, while it runs.
    pub bytes_per_s: Option<u64>,
    /// Seconds left at that rate.
    pub left_s: Option<u64>,
    /// Of what has to do with a remote: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// And the folder there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Chunk objects that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

/// `GET /jobs/{id}`, and the answer of requests about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDetail {
    /// The row of the list.
    #[serde(flatten)]
    pub info: JobInfo,
    /// What was asked; its form is the kind's.
    pub request: serde_json::Value,
    /// What was done; its form is the kind's.
    pub result: Option<serde_json::Value>,
    /// Its parts.
    pub tasks: Vec<JobTask>,
    /// Its log, oldest first.
    pub events: Vec<JobEvent>,
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobTask {
    /// What it does.
    pub name: String,
    /// `planned` (in a plan), `waiting`, `running` or `done`.
    pub state: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// When.
    pub at: String,
    /// What happened, in a word.
    pub event: String,
    /// More.
    pub text: String,
}

/// What a job would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    /// Its kind.
    pub kind: String,
    /// Its parts, with bytes.
    pub tasks: Vec<JobTask>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// `DELETE /jobs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobsCleared {
    /// Jobs that had ended and are gone from the list.
    pub removed: u64,
}

/// `POST /store/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCheck {
    /// Chunks read and compared with their hashes.
    pub chunks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
}

/// One damaged range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Label of the cartridge, or its id when no label is known.
    pub cartridge: String,
    /// First byte of its stream that cannot be read.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// What is wrong.
    pub why: String,
}

/// `GET /iscsi/sessions`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Target session identifying handle.
    pub tsih: u16,
    /// iSCSI name of the initiator.
    pub initiator: String,
    /// Target; none for a discovery session.
    pub target: Option<String>,
    /// Address that it comes from.
    pub peer: String,
    /// When it logged in.
    pub since: String,
}

/// `GET /iscsi/portals`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortalInfo {
    /// Address and port.
    pub address: String,
    /// `configuration`, or `added` by a request: only those can be removed by one.
    pub origin: String,
}

/// `POST /iscsi/portals`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPortal {
    /// Address and port.
    pub address: String,
}

/// `GET /iscsi/targets`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// iSCSI name.
    pub name: String,
    /// Library behind it, or none for the diagnostic disk.
    pub library: Option<String>,
    /// Logical unit numbers.
    pub luns: Vec<u16>,
    /// CHAP user, if CHAP is demanded.
    pub chap_user: Option<String>,
    /// Initiators that may log in; none: any.
    pub initiators: Option<Vec<String>>,
}

/// `PUT /iscsi/targets/{library}/chap`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetChap {
    /// User that initiators give.
    pub user: String,
    /// Their secret, 12 to 255 bytes.
    pub secret: String,
    /// User that we give back (mutual CHAP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_user: Option<String>,
    /// Our secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutual_secret: Option<String>,
}

impl std::fmt::Debug for SetChap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetChap")
            .field("user", &self.user)
            .field("mutual_user", &self.mutual_user)
            .finish_non_exhaustive()
    }
}

/// `POST /iscsi/targets/{library}/initiators`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddInitiator {
    /// iSCSI name.
    pub initiator: String,
}

/// `GET /system/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Program version.
    pub version: String,
    /// `ok` or `problem`; the client's exit code follows it.
    pub state: String,
    /// Installation id, hexadecimal.
    pub installation: String,
    /// When the daemon started.
    pub started: String,
    /// Addresses that iSCSI listens on.
    pub portals: Vec<String>,
    /// Sessions now.
    pub sessions: u32,
    /// Bytes that can still be stored in all pools.
    pub free_bytes: u64,
    /// How full the fullest pool is: of its file system, or of its size if that is nearer.
    pub pool_used_percent: u8,
    /// The highest of 80, 90 and 95 that it has reached.
    pub pool_alarm: Option<u8>,
    /// The scrub of the store in one line.
    pub scrub: String,
    /// What an operator should know.
    pub problems: Vec<Problem>,
}

/// Something that needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it concerns: a cartridge, the store, a drive.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// `GET /config/effective`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// Dotted key.
    pub key: String,
    /// Its value as TOML; secrets are masked.
    pub value: String,
    /// `default`, `file` or `command line`.
    pub origin: String,
}

/// `POST /system/backup` and `POST /system/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Path on the machine of the daemon.
    pub file: String,
}

/// `POST /remotes`. Which settings a type has stands in `docs/remotes.md`; files are named by absolute paths on the machine of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRemote {
    /// Its name.
    pub name: String,
    /// `folder`, `s3`, `azure`, `gcs`, `webdav`, `rclone` or `faulty`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `https://HOST[:PORT]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Bucket, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// In front of every object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `path` or `virtual-host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// File with certificates to trust beside the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Whether `http://` is allowed; no when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    /// Whether a SHA-256 goes with each upload as a header; yes when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<bool>,
    /// Size of the parts of large objects; 8 MiB when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size_bytes: Option<u64>,
    /// File with the access key id, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<String>,
    /// File with the secret key, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<String>,
    /// `NAME:` or `NAME:PATH`, with a name of rclone's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rclone_remote: Option<String>,
    /// Flags put on every call of rclone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rclone_flags: Vec<String>,
    /// The storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Container, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Key file of a service account, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<String>,
    /// Who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The remote that faults are put on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Faults with their chances, such as `drop:5%`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Where the sequence of faults begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// `GET /remotes`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteInfo {
    /// Its name.
    pub name: String,
    /// `folder`, `s3`, `azure`, `gcs`, `webdav`, `rclone` or `faulty`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub place: String,
    /// When it was defined.
    pub created: String,
}

/// `GET /remotes/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteDetail {
    /// The row of the list.
    #[serde(flatten)]
    pub info: RemoteInfo,
    /// Settings by key; credentials are names of files.
    pub settings: std::collections::BTreeMap<String, serde_json::Value>,
    /// Libraries and jobs that use it.
    pub used_by: Vec<String>,
}

/// `GET /remotes/{name}/objects?folder=F&after=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteObjects {
    /// Objects in the folder and below, in the order of their names' bytes.
    pub objects: Vec<RemoteObject>,
    /// The first few names of things that no object may have, as text.
    pub foreign: Vec<String>,
    /// There is more after this name: ask with `after`.
    pub next: Option<String>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteObject {
    /// Its name below the folder.
    pub name: String,
    /// In bytes.
    pub size_bytes: u64,
}

/// `POST /remotes/{name}/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteTest {
    /// Its name.
    pub name: String,
    /// Nothing failed.
    pub usable: bool,
    /// What was tried, in this order. What needs a failed step was not tried.
    pub steps: Vec<RemoteStep>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStep {
    /// What.
    pub step: String,
    /// `works`, `limited` or `failed`.
    pub finding: String,
    /// Which limit, or what failed.
    pub why: Option<String>,
}

/// `GET /keys`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// What it is for: `rsa` encrypts and opens, `ed25519` signs and verifies.
    #[serde(rename = "type", default)]
    pub sort: Option<String>,
    /// Length: of an RSA key that of the modulus.
    pub bits: Option<u32>,
    /// SHA-256 of the DER of its SubjectPublicKeyInfo, hexadecimal.
    pub fingerprint: Option<String>,
    /// Whether the private part is here, which opens what was encrypted, or signs.
    pub private: Option<bool>,
    /// Why the others are not known.
    pub problem: Option<String>,
}

/// `POST /keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportKey {
    /// Its name from now on.
    pub name: String,
    /// Absolute path on the machine of the daemon.
    pub file: String,
}

/// `POST /keys/{name}`: makes a key that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// `ed25519`, which is meant without it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
}

/// `GET /keys/{name}/public`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyText {
    /// Its name.
    pub name: String,
    /// The public part: SubjectPublicKeyInfo, PEM.
    pub pem: String,
}

/// `DELETE /keys/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveKey {
    /// The name, typed once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `GET /hooks`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookInfo {
    /// When it runs: `post-vault`.
    pub name: String,
    /// The program; none: there is no such hook.
    pub program: Option<String>,
    /// The longest that it may take.
    pub time_limit_s: u64,
    /// Exit codes that ask for another attempt.
    pub retry_exit_codes: Vec<u8>,
}

/// `POST /hooks/{name}/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookTest {
    /// Its name.
    pub name: String,
    /// It ended with 0.
    pub ok: bool,
    /// How it ended otherwise.
    pub why: Option<String>,
    /// The end of what it said on standard error.
    pub said: String,
}

/// Answer of a request that changes something and has nothing else to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, for people.
    pub message: String,
    /// Names of the things made or changed.
    #[serde(default)]
    pub names: Vec<String>,
}
