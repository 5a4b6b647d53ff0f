//! What is stored.

use serde::{Deserialize, Serialize};

/// `GET /store/stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolStats {
    /// Its name.
    pub pool: String,
    /// What it takes.
    #[serde(flatten)]
    pub stats: StoreStats,
}

/// `?pool=NAME` of a `GET`, and the body of a `POST` that has nothing else to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OnPool {
    /// The pool; where it is left out each request says which are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// `POST /store/scrub`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScrubStore {
    /// The pool to read; all that are open, one after the other, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Bytes a second, as a size such as `200m`, or `max`; as configured when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `GET /store/scrub`, and the answer of `POST`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolScrub {
    /// Its name.
    pub pool: String,
    /// How it is doing.
    #[serde(flatten)]
    pub scrub: StoreScrub,
}

/// `GET /store/key`: what may be told of the key of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExportStoreKey {
    /// The pool; the default one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Whole path of a file that is not there yet, on the machine of the daemon.
    pub file: String,
}

/// `POST /store/gc`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectStore {
    /// The pool; all that are open, one after the other, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// Answer at once, with the job ([`crate::JobDetail`]); otherwise at its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub background: bool,
    /// A pack is written anew when at least so many percent of it are dead, 1 to 100; 100: only packs that nothing needs go. 25 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_percent: Option<u8>,
}

/// `POST /store/repair`, what is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RepairStore {
    /// The pool; all that are open when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Fetch from exports what is nowhere in the store: a job, which is the answer ([`crate::JobDetail`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_exports: bool,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /store/repair`, what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// `POST /store/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
