//! Pools and their folders.

use serde::{Deserialize, Serialize};

/// `GET /pools`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolInfo {
    /// Its name.
    pub name: String,
    /// `ok`, `full`, `read-only`, `degraded` (opened for reading without one of its folders), `hung` (its disks have not answered for a minute, and figures are those of before), or `closed`: it cannot be opened.
    pub state: String,
    /// Why it is closed or hung.
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemovePool {
    /// Leave its files alone, and only list it no more: for a pool whose folders are gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forget: bool,
}

/// `POST /pools/{name}/folders`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AddFolder {
    /// The folder, empty or still to be made; its absolute path.
    pub path: String,
}

/// `POST /pools/{name}/drain`, what is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The folder to be emptied, as `GET /pools` tells it.
    pub path: String,
}

/// `POST /pools/{name}/drain`, what was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drained {
    /// Packs that lie in other folders now.
    pub moved: u64,
    /// Bytes in them.
    pub moved_bytes: u64,
    /// Packs that are still there; 0: the folder can be left out of the configuration.
    pub left: u64,
}
