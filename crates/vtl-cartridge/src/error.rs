//! What can go wrong with a cartridge, told apart by what the one who asked can do.

use std::fmt;

use vtl_durable::wire::Malformed;
use vtl_store::StoreError;

use crate::map::MapError;

/// Acknowledged writes that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Blocks and filemarks that had been taken and are not on the tape.
    pub objects: u64,
    /// Bytes of those blocks.
    pub bytes: u64,
    /// End of data now, and the position: the last commit.
    pub end_object: u64,
    /// What failed.
    pub why: String,
}

/// Why a cartridge could not do it.
#[derive(Debug)]
pub enum CartridgeError {
    /// The bytes of one block failed their check or could not be read. The position is behind it; others are not concerned.
    Unreadable {
        /// Its object number.
        object: u64,
        /// What the store says.
        why: String,
    },
    /// The bytes of one block are elsewhere, and cannot be reached now. The position is before it; a later read may succeed.
    Away {
        /// Its object number.
        object: u64,
        /// What who has them says.
        why: String,
    },
    /// Not before all of it is here: blocks of it are elsewhere.
    Incomplete,
    /// Writes that had been taken before failed now. The tape ends at its last commit, and so does the position. What
    /// was asked for has not been done. Told once.
    LateWrite(Lost),
    /// This write failed; nothing of it is on the tape and nothing else was lost.
    WriteFailed {
        /// What the store says.
        why: String,
    },
    /// No room before the end of the tape: nothing written, position unchanged.
    EndOfPartition,
    /// No room in the pool behind all cartridges: nothing written, position unchanged.
    PoolFull,
    /// The pool takes no writes.
    PoolReadOnly {
        /// Since when and why.
        why: String,
    },
    /// The write-protect switch is on.
    WriteProtected,
    /// A WORM cartridge, or one that is retained or on hold: what has been written stays.
    WriteOnce,
    /// No time that a cartridge can be retained until: past, or more than a century away.
    RetentionTime {
        /// What was asked, in seconds since 1970 UTC.
        asked_s: u64,
        /// Now, by the machine's clock.
        now_s: u64,
    },
    /// Retention is never made shorter.
    RetentionShortened {
        /// Until when it runs, in seconds since 1970 UTC.
        until_s: u64,
        /// What was asked.
        asked_s: u64,
    },
    /// A hold is not lifted while retention runs.
    HoldUnderRetention {
        /// Until when it runs, in seconds since 1970 UTC.
        until_s: u64,
    },
    /// A block longer than 16,777,215 bytes.
    BlockTooLong {
        /// Its bytes.
        length: u64,
    },
    /// No room for host attributes.
    AttributesFull {
        /// Bytes that all of them may take.
        limit: usize,
    },
    /// What the cartridge would be made with cannot be.
    InvalidSpec {
        /// Which value, and what would be right.
        why: &'static str,
    },
    /// What the store keeps about this cartridge contradicts itself.
    FormatCorrupted {
        /// Where and how.
        why: String,
    },
    /// A write failed, and so did the way back to the last commit: nothing can be done until it is opened anew.
    Broken {
        /// Both reasons.
        why: String,
    },
    /// The store did not do it; see there.
    Store(StoreError),
}

impl CartridgeError {
    pub(crate) fn corrupted(why: impl fmt::Display) -> Self {
        Self::FormatCorrupted { why: why.to_string() }
    }
}

impl fmt::Display for CartridgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { object, why } => write!(f, "block {object} cannot be read: {why}"),
            Self::Away { object, why } => write!(f, "block {object} is not here yet: {why}"),
            Self::Incomplete => {
                f.write_str("not all of the cartridge is here yet: it can be changed when it is")
            }
            Self::LateWrite(lost) => write!(
                f,
                "{} objects ({} bytes) that had been taken were lost, the tape ends at object {}: {}",
                lost.objects, lost.bytes, lost.end_object, lost.why
            ),
            Self::WriteFailed { why } => write!(f, "the write failed, nothing else was lost: {why}"),
            Self::EndOfPartition => f.write_str("no room before the end of the tape"),
            Self::PoolFull => f.write_str("the pool is full: remove cartridges or add space"),
            Self::PoolReadOnly { why } => write!(f, "the pool is read-only: {why}"),
            Self::WriteProtected => f.write_str("the cartridge is write-protected"),
            Self::WriteOnce => {
                f.write_str("a cartridge that is WORM, retained or on hold takes writes at end of data only")
            }
            Self::RetentionTime { asked_s, now_s } => write!(
                f,
                "second {asked_s} of 1970 is not between now ({now_s}) and a century from now: name such a time"
            ),
            Self::RetentionShortened { until_s, asked_s } => write!(
                f,
                "retention until second {until_s} of 1970 cannot be made shorter ({asked_s} was asked): name a later time"
            ),
            Self::HoldUnderRetention { until_s } => write!(
                f,
                "the hold stays while retention runs, until second {until_s} of 1970: lift it after that"
            ),
            Self::BlockTooLong { length } => {
                write!(f, "a block of {length} bytes: at most 16777215 can be written")
            }
            Self::AttributesFull { limit } => {
                write!(f, "host attributes may take {limit} bytes together: remove others first")
            }
            Self::InvalidSpec { why } => f.write_str(why),
            Self::FormatCorrupted { why } => write!(f, "the cartridge's format is damaged: {why}"),
            Self::Broken { why } => write!(f, "the cartridge must be opened anew: {why}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CartridgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

impl From<StoreError> for CartridgeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Malformed> for CartridgeError {
    fn from(error: Malformed) -> Self {
        Self::corrupted(error)
    }
}

impl From<MapError> for CartridgeError {
    fn from(error: MapError) -> Self {
        Self::corrupted(error)
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(at) => write!(f, "block map: no run at byte {at}"),
            Self::NotMerged(at) => write!(f, "block map: the run at byte {at} belongs to the one before"),
            Self::TooMany => f.write_str("block map: more objects than can be counted"),
            Self::BeyondEnd => f.write_str("block map: a change begins behind end of data"),
        }
    }
}
