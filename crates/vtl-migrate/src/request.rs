//! What is asked of the engines, and what they say at the end: JSON in a job's row. What a request leaves out is taken from the settings when the job
//! begins.

use serde::{Deserialize, Serialize};
use vtl_codec::Method;
use vtl_jobs::Failure;
use vtl_types::Label;

use crate::fail::{permanent, unreadable};
use crate::spare::SpareRequest;

/// Kind of exports.
pub const EXPORT: &str = "export";
/// Kind of imports.
pub const IMPORT: &str = "import";
/// Kind of verifications.
pub const VERIFY: &str = "verify";
/// Kind of removals from a remote.
pub const PRUNE: &str = "prune";

/// Kind of fetches to a folder of this machine.
pub const FETCH: &str = "fetch";
/// Kind of new manifests for other keys.
pub const REWRAP: &str = "rewrap";
/// Kind of repairs from exports.
pub const REPAIR: &str = "repair";

/// An export; the job's label says of what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportRequest {
    /// Of what, when the job does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Name of the remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Names of public keys, with commas between them; `none`: not encrypted, whatever the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Name of the key that signs; `none`: not signed, whatever the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign_with: Option<String>,
    /// The most that an object may have, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_bytes: Option<u64>,
    /// `zstd`, `lz4` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compress: Option<String>,
    /// `remote-hash`, `readback` or `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Whether the cartridge goes when its export is proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_after_export: Option<bool>,
    /// The library that it was put out of, when that is why it is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// The spare that is wanted when it is exported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spare: Option<SpareRequest>,
}

/// How an export ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportResult {
    /// Whether there is a bundle.
    pub exported: bool,
    /// Why there is no new one: `blank` or `unchanged`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
    /// The remote.
    pub remote: String,
    /// The folder there; of an unchanged cartridge that of the bundle that is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The cartridge's write generation.
    pub generation: u64,
    /// Chunk objects.
    pub objects: u64,
    /// Bytes of them.
    pub stored_bytes: u64,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// How what was sent was verified, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Name of the key that signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_with: Option<String>,
    /// Whether the cartridge was removed here.
    pub deleted_here: bool,
    /// Why it was not, although that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_because: Option<String>,
    /// Label of the blank cartridge that was made for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spare: Option<String>,
    /// Why there is none, although that was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_spare_because: Option<String>,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// Label here, when it is not to be the bundle's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_label: Option<String>,
    /// Loadable at once, blocks fetched when they are read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
    /// The pool that the cartridge is made in, when it is not to be the one for those that nobody chose a pool for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

impl ImportRequest {
    /// The pool that an import is for, as its job's row tells it.
    #[must_use]
    pub fn pool_of(request: &str) -> Option<String> {
        serde_json::from_str::<Self>(request).ok()?.pool
    }
}

/// How an import ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportResult {
    /// Label here.
    pub label: String,
    /// Where it came from.
    pub remote: String,
    /// And the folder there.
    pub folder: String,
    /// The pool that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// Its write generation.
    pub generation: u64,
    /// Who signed the manifest, in words.
    pub signed: String,
    /// Whether hashes kept here said that it is what was written here.
    pub known: bool,
    /// Why it is in quarantine, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
}

/// A verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// So many percent of the objects, at least one; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_percent: Option<u8>,
}

/// How a verification ended. One that found damage fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyResult {
    /// Objects that were fetched and compared.
    pub checked: u64,
    /// Objects of the bundle.
    pub objects: u64,
    /// Bytes that were compared.
    pub bytes: u64,
    /// Whether the hashes were those kept here, and not only the manifest's.
    pub known: bool,
    /// Who signed the manifest, in words.
    pub signed: String,
}

/// A removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// Name of the remote.
    pub remote: String,
    /// This folder; all that are incomplete and old enough without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The folder once more, when it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
    /// The cancelled job that has left this folder. One that is gone, complete or written to by now stays as it is, which is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_by: Option<u64>,
}

/// How a removal ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneResult {
    /// Folders that are gone.
    pub folders: Vec<String>,
    /// Objects that are gone.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Incomplete folders that stay, because something may still write to them.
    pub left: Vec<String>,
}

/// A fetch to a folder of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchRequest {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// A folder here, an absolute path; the bundle's folder is made in it.
    pub to: String,
}

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchResult {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// Where it is now.
    pub place: String,
    /// Chunk objects.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Who signed the manifest, in words.
    pub signed: String,
    /// Whether the hashes were those kept here, and not only the manifest's.
    pub known: bool,
}

/// The data key of a bundle for other recipients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewrapRequest {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// Names of public keys, with commas between them: all who can open it then.
    pub key: String,
    /// Name of the key that signs the new manifest; `none`: nobody. Without it: as exports are signed, or as the old one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_with: Option<String>,
}

/// How a rewrap ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewrapResult {
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// Names of the keys, with commas between them.
    pub key: String,
    /// Their fingerprints, hexadecimal.
    pub recipients: Vec<String>,
    /// Name of the key that signed the new manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_with: Option<String>,
    /// Hash of the new manifest, hexadecimal.
    pub manifest_sha256: String,
}

/// A repair from exports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepairRequest {
    /// Of this pool; of all that are open without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
}

/// How a repair ended. That something remains is no failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairResult {
    /// Chunks that could be read after all.
    pub readable: u64,
    /// Chunks put back from the same content in their pool.
    pub healed: u64,
    /// Packs written anew because of damage beside their chunks.
    pub mended: u64,
    /// Cartridges that lacked something then.
    pub cartridges: Vec<Repaired>,
}

/// What came of one cartridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repaired {
    /// Its label.
    pub label: String,
    /// Its pool.
    pub pool: String,
    /// Bytes of it that could not be read before.
    pub damaged_bytes: u64,
    /// Chunks put back from exports.
    pub healed_chunks: u64,
    /// Bytes in those.
    pub healed_bytes: u64,
    /// Bytes of it that still cannot be read.
    pub remaining_bytes: u64,
    /// Exports that helped, as `REMOTE/FOLDER`.
    pub from: Vec<String>,
    /// What stood in the way, in words.
    pub why: Vec<String>,
}

impl Repaired {
    pub(crate) fn of(label: Label, pool: &str, damaged_bytes: u64) -> Self {
        Self {
            label: label.to_string(),
            pool: pool.to_owned(),
            damaged_bytes,
            healed_chunks: 0,
            healed_bytes: 0,
            remaining_bytes: damaged_bytes,
            from: Vec::new(),
            why: Vec::new(),
        }
    }
}

/// Reads a request.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Failure> {
    serde_json::from_str(if text.is_empty() { "{}" } else { text }).map_err(|why| unreadable("request", why))
}

/// Writes a result.
pub(crate) fn told<T: Serialize>(result: &T) -> Result<String, Failure> {
    serde_json::to_string(result).map_err(|why| unreadable("result", why))
}

const CODECS: [(&str, Method); 3] = [("zstd", Method::Zstd), ("lz4", Method::Lz4), ("none", Method::Raw)];

/// The codec of a word.
pub(crate) fn codec(word: &str) -> Result<Method, Failure> {
    let known = CODECS.iter().find(|(name, _)| *name == word).map(|(_, method)| *method);
    known
        .ok_or_else(|| permanent("invalid", format!("'{word}' is no compression"), "write zstd, lz4 or none"))
}

/// The word of a codec.
pub(crate) fn codec_word(method: Method) -> &'static str {
    CODECS.iter().find(|(_, known)| *known == method).map_or("none", |(name, _)| name)
}
