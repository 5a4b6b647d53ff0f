//! Libraries and their drives.

use serde::{Deserialize, Serialize};

/// `GET /libraries`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Bytes of blocks before the position.
    #[serde(default)]
    pub position_bytes: Option<u64>,
    /// Bytes that hosts have written to cartridges in it since the server started.
    #[serde(default)]
    pub written_bytes: Option<u64>,
    /// Bytes that it has read for hosts since the server started.
    #[serde(default)]
    pub read_bytes: Option<u64>,
    /// Whether data compression is enabled.
    #[serde(default)]
    pub compression: Option<bool>,
    /// Name of the initiator that holds a reservation.
    pub initiator: Option<String>,
    /// It is at a command or a move that has not ended: the rest of this is as it was before.
    #[serde(default)]
    pub busy: bool,
}
