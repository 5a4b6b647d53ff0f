//! Exports and imports.

use serde::{Deserialize, Serialize};

use crate::JobPriority;

/// `POST /cartridges/{label}/export`. What is left out is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /imports`: what an export job has made, or a folder on a remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /ingests`: what is on a tape in a device of the server's machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `GET /exports?remote=NAME`, one row: a folder of an export, whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct FetchExport {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
    /// Absolute path of a folder; one with the export's name is made in it.
    pub to: String,
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /exports/rewrap`: the same bundle for other keys. No object is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /exports/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VerifyExport {
    /// Name of a remote.
    pub remote: String,
    /// A folder there.
    pub folder: String,
    /// So many percent of the objects, at least one; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_percent: Option<u8>,
    /// When its turn comes: before or after other jobs that wait; `normal` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<JobPriority>,
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// `POST /exports/prune`: removes one folder, or all incomplete ones that are old enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// Make no job; answer what it would do ([`crate::JobPlan`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}
