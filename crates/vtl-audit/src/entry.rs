//! One line of the log.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A change was asked for, and is about to be done.
    Request,
    /// What came of it.
    Outcome,
    /// Somebody logged in or out, or could not.
    Login,
    /// Something that nobody asked for over the API: a move by a host, the end of a job, a start.
    Event,
}

impl EntryKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Request, Self::Outcome, Self::Login, Self::Event];

    /// As texts have it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Outcome => "outcome",
            Self::Login => "login",
            Self::Event => "event",
        }
    }
}

/// What the caller says of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, RFC 3339.
    pub at: String,
    /// What it is about.
    pub kind: EntryKind,
    /// Of an outcome: the number of its request.
    pub of: Option<u64>,
    /// Who.
    pub who: String,
    /// From which address; empty: from nowhere.
    pub from: String,
    /// What: method and route, or the event's name.
    pub what: String,
    /// Names and values; never secrets.
    pub detail: Value,
    /// What came of it; empty: not known yet.
    pub result: String,
}

/// One entry, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Version of the format.
    pub v: u32,
    /// Its number, from 1.
    pub n: u64,
    /// SHA-256 of the line before, without its newline; zeros for the first.
    pub prev: String,
    /// See [`Record`].
    pub at: String,
    /// See [`Record`].
    pub kind: EntryKind,
    /// See [`Record`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// See [`Record`].
    pub who: String,
    /// See [`Record`].
    pub from: String,
    /// See [`Record`].
    pub what: String,
    /// See [`Record`].
    pub detail: Value,
    /// See [`Record`].
    pub result: String,
}

/// What this program writes.
pub(crate) const VERSION: u32 = 0;

/// A hash, as the lines have it.
pub(crate) type Hash = [u8; 32];

pub(crate) fn hash(line: &[u8]) -> Hash {
    Sha256::digest(line).into()
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _written = write!(text, "{byte:02x}");
        text
    })
}

impl Entry {
    pub(crate) fn new(n: u64, prev: &Hash, record: Record) -> Self {
        let Record { at, kind, of, who, from, what, detail, result } = record;
        Self { v: VERSION, n, prev: hexadecimal(prev), at, kind, of, who, from, what, detail, result }
    }

    /// The entry in a line, if it is one.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let entry: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        match entry.v {
            VERSION => Ok(entry),
            other => Err(format!("it is of version {other}, which this program does not know")),
        }
    }
}
