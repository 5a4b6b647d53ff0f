//! What is on a tape, as a picture of it needs it.

use serde::{Deserialize, Serialize};

/// `GET /cartridges/{label}/map`: the cartridge as it was last committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CartridgeMap {
    /// Bar code.
    pub label: String,
    /// Serial number of the medium.
    pub serial: String,
    /// Grows with every commit that changes what is on it.
    pub write_generation: u64,
    /// How often it was loaded.
    pub load_count: u64,
    /// Bytes of host data that fit.
    pub capacity_bytes: u64,
    /// Bytes of blocks.
    pub used_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Filemarks.
    pub filemarks: u64,
    /// There are so many files that rows stand for several in a row.
    pub grouped: bool,
    /// What stands between filemarks, from the beginning of the tape: at most 500 rows.
    pub files: Vec<TapeFiles>,
}

/// Files in a row: what stands before a filemark, or behind the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TapeFiles {
    /// Number of the first, from 0.
    pub number: u64,
    /// How many.
    pub files: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
}
