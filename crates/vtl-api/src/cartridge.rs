//! Cartridges and where they are.

use serde::{Deserialize, Serialize};

/// Where a cartridge is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlaceInfo {
    /// `slot`, `drive`, `mailslot` or `vault`.
    pub kind: String,
    /// Number within the kind; the vault has none.
    pub number: Option<u16>,
}

/// `GET /cartridges`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveCartridge {
    /// Skip the trash: the data is gone at once. Wants the label in `confirm`.
    #[serde(default)]
    pub now: bool,
    /// The label, typed once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `DELETE /unlisted/{id}`: a cartridge that the inventory does not list and that cannot be read is given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveUnlisted {
    /// Skip the trash: the data is gone at once.
    #[serde(default)]
    pub now: bool,
    /// The id, typed once more; always wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `GET /trash`, one row: a cartridge that was removed and can still be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TrashInfo {
    /// Bar code; empty when nothing but the id is known.
    pub label: String,
    /// The id of one that was given up by it: the inventory does not list it, it cannot be read, and what is on it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Pool that its bytes are in.
    pub pool: String,
    /// Bytes of host data that fit.
    pub capacity_bytes: u64,
    /// Bytes of host data on it.
    pub used_bytes: u64,
    /// LTO generation, such as 8; 0 when it is not known.
    pub generation: u8,
    /// When it was removed; none: it goes as soon as its pool is open, or this cannot be read, which the status tells.
    pub removed: Option<String>,
    /// When it goes for good, give or take ten minutes; none as above.
    pub until: Option<String>,
}

/// `POST /vault/{label}/load`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadFromVault {
    /// The library that it goes to.
    pub library: String,
}

/// A move, as events tell it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MoveEvent {
    /// The cartridge.
    pub label: String,
    /// The library that it is in now.
    pub library: Option<String>,
    /// Where it was.
    pub from: PlaceInfo,
    /// Where it is now.
    pub to: PlaceInfo,
}
