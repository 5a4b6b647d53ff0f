//! What is wrong with a bundle: always with the object, and with the frame where it is in one.

use std::fmt;
use std::io;

use vtl_codec::KeyError;

use crate::manifest::ManifestError;
use crate::map::MapError;

/// What is wrong at one place.
#[derive(Debug)]
pub enum Fault {
    /// There is no such object.
    Missing,
    /// Reading it failed.
    Read(io::Error),
    /// It ends too early.
    Cut,
    /// More follows where it should end.
    Longer,
    /// Something else than what this format has there.
    Malformed(&'static str),
    /// CRC-32.
    Damaged,
    /// It belongs elsewhere.
    Foreign {
        /// Which field says so.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it would say here.
        wanted: String,
    },
    /// Its SHA-256 is another one than the manifest says.
    Hash,
    /// It is not what was sealed here with this data key.
    NotOpened,
    /// It opened, and does not decompress to what it was.
    NotDecompressed,
    /// The content's BLAKE3 is another one than the manifest says.
    Content,
    /// The cryptographic library refuses.
    Refused,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Read(error) => write!(f, "it cannot be read: {error}"),
            Self::Cut => f.write_str("it is cut short"),
            Self::Longer => f.write_str("more follows after its end"),
            Self::Malformed(what) => write!(f, "its {what} is none of this format"),
            Self::Damaged => f.write_str("it is damaged (its checksum differs)"),
            Self::Foreign { field, found, wanted } => {
                write!(f, "it belongs elsewhere: {field} is {found}, here it is {wanted}")
            }
            Self::Hash => f.write_str("its SHA-256 is not the one in the manifest"),
            Self::NotOpened => f.write_str("it is not what was sealed here"),
            Self::NotDecompressed => f.write_str("it does not decompress to what it was"),
            Self::Content => f.write_str("the content's BLAKE3 is not the one in the manifest"),
            Self::Refused => f.write_str("the cryptographic library refuses it"),
        }
    }
}

/// A fault and its place.
#[derive(Debug)]
pub struct Finding {
    /// Name of the object.
    pub object: String,
    /// Number of the frame in the bundle, when it is in one.
    pub frame: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl Finding {
    pub(crate) fn object(name: &str, fault: Fault) -> Self {
        Self { object: name.to_owned(), frame: None, fault }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.frame {
            Some(frame) => write!(f, "{}, frame {frame}: {}", self.object, self.fault),
            None => write!(f, "{}: {}", self.object, self.fault),
        }
    }
}

impl std::error::Error for Finding {}

/// Why a bundle gives no content.
#[derive(Debug)]
pub enum BundleError {
    /// Something is wrong with an object.
    Finding(Finding),
    /// Something is wrong with the manifest.
    Manifest(ManifestError),
    /// Something is wrong with the map.
    Map(MapError),
    /// It is encrypted, and there is no key.
    NeedsKey {
        /// Fingerprints of the keys that open it.
        recipients: Vec<String>,
    },
    /// The key is of no use.
    Key(KeyError),
    /// The caller's writer failed.
    Write(io::Error),
    /// There is no such file or range.
    Range(String),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(finding) => finding.fmt(f),
            Self::Manifest(error) => error.fmt(f),
            Self::Map(error) => error.fmt(f),
            Self::NeedsKey { recipients } => {
                write!(
                    f,
                    "the bundle is encrypted for {} (give one of these private keys)",
                    recipients.join(", ")
                )
            }
            Self::Key(error) => error.fmt(f),
            Self::Write(error) => write!(f, "the content cannot be written: {error}"),
            Self::Range(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BundleError {}

impl From<Finding> for BundleError {
    fn from(finding: Finding) -> Self {
        Self::Finding(finding)
    }
}

impl From<ManifestError> for BundleError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

impl From<MapError> for BundleError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<KeyError> for BundleError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
