//! Parameters of lists: which rows, in which order, and which page. `docs/api.md` says what a cursor is.

use serde::{Deserialize, Serialize};

/// A list that has pages and nothing else to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Paged {
    /// So many rows at most; all without it.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub limit: Option<u32>,
    /// Where the page begins, from the header `Link` of the one before.
    pub cursor: Option<String>,
}

/// `GET /cartridges`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListCartridges {
    /// Those in this library.
    pub library: Option<String>,
    /// Those in such a place.
    pub place: Option<PlaceKind>,
    /// Those whose labels begin so.
    pub label: Option<String>,
    /// Those that nothing, or something, has been written to.
    pub blank: Option<bool>,
    /// In which order; by label without it.
    pub sort: Option<CartridgeOrder>,
    /// So many rows at most; all without it.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub limit: Option<u32>,
    /// Where the page begins, from the header `Link` of the one before.
    pub cursor: Option<String>,
}

/// Where a cartridge can be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PlaceKind {
    /// In a slot of a library.
    Slot,
    /// In a drive.
    Drive,
    /// In a mailslot.
    Mailslot,
    /// In no library.
    Vault,
}

impl PlaceKind {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Slot => "slot",
            Self::Drive => "drive",
            Self::Mailslot => "mailslot",
            Self::Vault => "vault",
        }
    }
}

/// Orders of cartridges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CartridgeOrder {
    /// By label.
    #[default]
    #[serde(rename = "label")]
    Label,
    /// By label, the last first.
    #[serde(rename = "-label")]
    LabelDown,
    /// The oldest first.
    #[serde(rename = "created")]
    Created,
    /// The newest first.
    #[serde(rename = "-created")]
    CreatedDown,
    /// The smallest first.
    #[serde(rename = "capacity")]
    Capacity,
    /// The largest first.
    #[serde(rename = "-capacity")]
    CapacityDown,
}

impl CartridgeOrder {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::LabelDown => "-label",
            Self::Created => "created",
            Self::CreatedDown => "-created",
            Self::Capacity => "capacity",
            Self::CapacityDown => "-capacity",
        }
    }
}

/// `GET /jobs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListJobs {
    /// Those in this state.
    pub state: Option<JobState>,
    /// Those of this kind.
    pub kind: Option<String>,
    /// Those about this.
    pub label: Option<String>,
    /// In which order; by number without it.
    pub sort: Option<JobOrder>,
    /// So many rows at most; all without it.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub limit: Option<u32>,
    /// Where the page begins, from the header `Link` of the one before.
    pub cursor: Option<String>,
}

/// States of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// It is being done.
    Running,
    /// It stands.
    Paused,
    /// It comes to a safe point.
    Stopping,
    /// It is done.
    Completed,
    /// It was given up.
    Cancelled,
    /// It could not be done.
    Failed,
}

impl JobState {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// Orders of jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum JobOrder {
    /// The oldest first.
    #[default]
    #[serde(rename = "id")]
    Id,
    /// The newest first.
    #[serde(rename = "-id")]
    IdDown,
}

impl JobOrder {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::IdDown => "-id",
        }
    }
}

/// `GET /exports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListExports {
    /// Name of the remote.
    pub remote: String,
    /// So many rows at most; all without it.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub limit: Option<u32>,
    /// Where the page begins, from the header `Link` of the one before.
    pub cursor: Option<String>,
}

/// `GET /exports/show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OneExport {
    /// Name of the remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
}

/// `GET /remotes/{name}/objects`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListObjects {
    /// Those in this folder and below.
    pub folder: Option<String>,
    /// Those behind this name.
    pub after: Option<String>,
}

/// `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListenTo {
    /// Which events, with commas between them: `job`, `move`, `alert`; all without it.
    pub types: Option<String>,
}
