//! Versions of formats.

use serde::{Deserialize, Serialize};

/// `POST /system/upgrade`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpgradeStore {
    /// Only say what would be done.
    #[serde(default)]
    pub plan: bool,
}

/// Its answer, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FormatInfo {
    /// `inventory`, or a pool and a folder of it.
    pub place: String,
    /// What has a version.
    pub what: String,
    /// The version that is there.
    pub found: u32,
    /// The newest one that this program knows.
    pub known: u32,
    /// Files that have it.
    pub files: u64,
    /// What becomes of it.
    pub action: String,
}
