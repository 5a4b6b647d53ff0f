//! Keys of exports.

use serde::{Deserialize, Serialize};

/// `GET /keys`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// What it is for: `rsa` encrypts and opens, `ed25519` signs and verifies.
    #[serde(rename = "type", default)]
    pub sort: Option<String>,
    /// Length: of an RSA key that of the modulus.
    pub bits: Option<u32>,
    /// SHA-256 of the DER of its SubjectPublicKeyInfo, hexadecimal.
    pub fingerprint: Option<String>,
    /// Whether the private part is here, which opens what was encrypted, or signs.
    pub private: Option<bool>,
    /// Why the others are not known.
    pub problem: Option<String>,
}

/// `POST /keys`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ImportKey {
    /// Its name from now on.
    pub name: String,
    /// Absolute path on the machine of the daemon.
    pub file: String,
}

/// `POST /keys/{name}`: makes a key that signs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// `ed25519`, which is meant without it.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
}

/// `GET /keys/{name}/public`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KeyText {
    /// Its name.
    pub name: String,
    /// The public part: SubjectPublicKeyInfo, PEM.
    pub pem: String,
}

/// `DELETE /keys/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveKey {
    /// The name, typed once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}
