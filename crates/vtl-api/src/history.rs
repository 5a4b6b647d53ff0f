//! How the store has grown.

use serde::{Deserialize, Serialize};

/// `GET /store/history?since=TIME`, one row: all pools that were open at that time. Oldest first, at most 600 rows; the last one is of now, unless the disks of a pool do not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoreSample {
    /// When.
    pub at: String,
    /// Bytes that hosts had written and not overwritten.
    pub logical_bytes: u64,
    /// Bytes of different content among them.
    pub unique_bytes: u64,
    /// Bytes on disk.
    pub stored_bytes: u64,
    /// Bytes that could still be stored.
    pub free_bytes: u64,
}

/// Its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HistorySince {
    /// RFC 3339; all that is kept when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
