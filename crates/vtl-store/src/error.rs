//! What can go wrong, told so that the reader knows the thing, the value and the remedy.

use std::fmt;
use std::path::PathBuf;

use vtl_durable::DiskError;
use vtl_durable::log::LogError;
use vtl_durable::sealed::{ReplaceError, SealedError};

use crate::types::OwnerId;

/// Why the store refused.
#[derive(Debug)]
pub enum StoreError {
    /// Another stream of this owner is open.
    Busy {
        /// Whose.
        owner: OwnerId,
    },
    /// No such owner.
    UnknownOwner {
        /// Who.
        owner: OwnerId,
    },
    /// The owner is there already.
    Exists {
        /// Who.
        owner: OwnerId,
    },
    /// The guard is on: the owner is not removed, and what it has committed is not cut.
    Guarded {
        /// Whose.
        owner: OwnerId,
    },
    /// The head was damaged when the pool was opened, and is there again: the next opening takes it, and until then the owner is not removed.
    Mended {
        /// Whose.
        owner: OwnerId,
    },
    /// A collection is running already.
    Collecting,
    /// A chunk that had to be copied is damaged.
    LostChunk {
        /// What was found.
        why: String,
    },
    /// No space for these bytes. Nothing was taken; what was appended before is unharmed and can be committed.
    Full {
        /// What the call needed.
        needed_bytes: u64,
        /// What may still be appended.
        free_bytes: u64,
    },
    /// The pool takes no writes.
    ReadOnly {
        /// What happened.
        why: String,
    },
    /// Bytes that were taken could not be made durable: the stream is back at its last commit.
    LateWrite {
        /// Whose.
        owner: OwnerId,
        /// The stream's length now.
        kept_bytes: u64,
        /// What happened.
        why: String,
    },
    /// Bytes on the disk are not what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// How, and what helps.
        why: String,
    },
    /// A length above its limit.
    TooLong {
        /// Of what.
        what: &'static str,
        /// How long it is.
        len: u64,
        /// How long it may be.
        limit: u64,
    },
    /// A file of a version or sort that this program does not know.
    Format {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// The pool's key is missing, wrong or not wanted.
    Key {
        /// The pool's folder.
        pool: PathBuf,
        /// What is wrong, and what helps. No secret is in it.
        why: String,
    },
    /// A folder of the pool that is not what it should be, and was not touched.
    Folder {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what helps.
        why: String,
    },
    /// The disk refused.
    Io(DiskError),
}

impl StoreError {
    /// Whether the same call will fail again until somebody has repaired something.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Full { .. } | Self::LateWrite { .. } | Self::Collecting => false,
            Self::Io(error) => !error.is_full(),
            Self::UnknownOwner { .. }
            | Self::Exists { .. }
            | Self::Guarded { .. }
            | Self::Mended { .. }
            | Self::ReadOnly { .. }
            | Self::Damaged { .. }
            | Self::LostChunk { .. }
            | Self::TooLong { .. }
            | Self::Key { .. }
            | Self::Folder { .. }
            | Self::Format { .. } => true,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { owner } => write!(f, "the stream of {owner} is in use (close it first)"),
            Self::UnknownOwner { owner } => write!(f, "the store has no owner {owner}"),
            Self::Guarded { owner } => {
                write!(
                    f,
                    "{owner} is guarded: it cannot be removed or cut (lift its hold or let its retention end)"
                )
            }
            Self::Mended { owner } => {
                write!(
                    f,
                    "the head of {owner} was damaged when the pool was opened and is there again: it is not removed unseen (open the pool anew)"
                )
            }
            Self::Collecting => f.write_str("a collection is running already (wait for it to end)"),
            Self::LostChunk { why } => write!(f, "a chunk is damaged: {why} (run a repair)"),
            Self::Exists { owner } => write!(f, "the store has owner {owner} already (choose another id)"),
            Self::Full { needed_bytes, free_bytes } => write!(
                f,
                "the pool is full: {needed_bytes} bytes needed, {free_bytes} free (remove cartridges or add space)"
            ),
            Self::ReadOnly { why } => {
                write!(f, "the pool takes no writes: {why} (check the disk, then start the service anew)")
            }
            Self::LateWrite { owner, kept_bytes, why } => write!(
                f,
                "bytes of {owner} after byte {kept_bytes} could not be made durable and are lost: {why} \
                 (write them again)"
            ),
            Self::Damaged { path, offset, why } => {
                write!(f, "{} is damaged at byte {offset}: {why}", path.display())
            }
            Self::TooLong { what, len, limit } => {
                write!(f, "{what} is {len} bytes, at most {limit} are allowed")
            }
            Self::Format { path, why } | Self::Folder { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Key { pool, why } => write!(f, "the key of the pool {}: {why}", pool.display()),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> Self {
        Self::Io(error)
    }
}

impl From<SealedError> for StoreError {
    fn from(error: SealedError) -> Self {
        let why = error.to_string();
        match error {
            SealedError::Disk(error) => Self::Io(error),
            SealedError::Damaged { path, offset, why } => Self::Damaged { path, offset, why },
            SealedError::Version { path, .. } => Self::Format { path, why },
        }
    }
}

impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        let why = error.to_string();
        match error {
            LogError::Disk(error) | LogError::Untrusted(error) => Self::Io(error),
            LogError::Damaged { path, offset, why } => Self::Damaged { path, offset, why },
            LogError::Version { path, .. } => Self::Format { path, why },
            LogError::TooLong { len } => Self::TooLong {
                what: "a journal record",
                len: len as u64,
                limit: vtl_durable::log::MAX_RECORD_BYTES as u64,
            },
        }
    }
}

impl From<ReplaceError> for StoreError {
    fn from(error: ReplaceError) -> Self {
        Self::Io(error.into_inner())
    }
}

/// Why a read gave no bytes.
#[derive(Debug)]
pub enum ReadError {
    /// The bytes of one chunk are lost; others can be read.
    Damaged {
        /// Whose.
        owner: OwnerId,
        /// Where the lost range of the stream begins.
        offset: u64,
        /// How long it is.
        len: u64,
        /// What was found.
        why: String,
    },
    /// The range is not within the stream.
    OutOfRange {
        /// Where the range begins.
        offset: u64,
        /// How long it is.
        len: u64,
        /// Where the stream ends.
        end: u64,
    },
    /// The store refused for another reason.
    Io(StoreError),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { owner, offset, len, why } => {
                write!(f, "{len} bytes of {owner} from byte {offset} are damaged: {why}")
            }
            Self::OutOfRange { offset, len, end } => {
                write!(f, "{len} bytes from byte {offset} are beyond the end at {end}")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        Self::Io(error)
    }
}
