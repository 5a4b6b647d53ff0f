//! Remotes.

use serde::{Deserialize, Serialize};

/// `POST /remotes`. Which settings a type has stands in `docs/remotes.md`; files are named by absolute paths on the machine of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRemote {
    /// Its name.
    pub name: String,
    /// `folder`, `s3`, `azure`, `gcs`, `webdav`, `rclone` or `faulty`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What becomes of exports that are known under this name and were made at another place: `keep` when the same objects are at this one, else `forget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_exports: Option<String>,
    /// The folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `https://HOST[:PORT]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Bucket, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// In front of every object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// `path` or `virtual-host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// File with certificates to trust beside the system's, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Whether `http://` is allowed; no when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_http: Option<bool>,
    /// Whether a SHA-256 goes with each upload as a header; yes when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksums: Option<bool>,
    /// Size of the parts of large objects, from 5 MiB to 128 MiB; 8 MiB when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_size_bytes: Option<u64>,
    /// File with the access key id, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_file: Option<String>,
    /// File with the secret key, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<String>,
    /// `NAME:` or `NAME:PATH`, with a name of rclone's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rclone_remote: Option<String>,
    /// Flags put on every call of rclone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rclone_flags: Vec<String>,
    /// The storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Container, which must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Key file of a service account, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<String>,
    /// Who logs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// File with the user's password, mode 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
    /// The remote that faults are put on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<String>,
    /// Faults with their chances, such as `drop:5%`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
    /// Where the sequence of faults begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// `GET /remotes`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteInfo {
    /// Its name.
    pub name: String,
    /// `folder`, `s3`, `azure`, `gcs`, `webdav`, `rclone` or `faulty`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub place: String,
    /// When it was defined.
    pub created: String,
}

/// `GET /remotes/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteDetail {
    /// The row of the list.
    #[serde(flatten)]
    pub info: RemoteInfo,
    /// Settings by key; credentials are names of files.
    pub settings: std::collections::BTreeMap<String, serde_json::Value>,
    /// Libraries and jobs that use it.
    pub used_by: Vec<String>,
}

/// `GET /remotes/{name}/objects?folder=F&after=N`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteObjects {
    /// Objects in the folder and below, in the order of their names' bytes.
    pub objects: Vec<RemoteObject>,
    /// The first few names of things that no object may have, as text.
    pub foreign: Vec<String>,
    /// There is more after this name: ask with `after`.
    pub next: Option<String>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteObject {
    /// Its name below the folder.
    pub name: String,
    /// In bytes.
    pub size_bytes: u64,
}

/// `POST /remotes/{name}/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteTest {
    /// Its name.
    pub name: String,
    /// Nothing failed.
    pub usable: bool,
    /// What was tried, in this order. What needs a failed step was not tried.
    pub steps: Vec<RemoteStep>,
}

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RemoteStep {
    /// What.
    pub step: String,
    /// `works`, `limited` or `failed`.
    pub finding: String,
    /// Which limit, or what failed.
    pub why: Option<String>,
}
