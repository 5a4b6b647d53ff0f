//! Why a request about jobs is refused, and what fails.

use std::fmt;

use vtl_meta::MetaError;

use crate::state::{Event, State};
use crate::table::JobId;

/// A refusal or a failure.
#[derive(Debug)]
pub enum JobError {
    /// No job has this number: it never was, or was cleared.
    Unknown(JobId),
    /// No engine does jobs of this kind.
    UnknownKind(String),
    /// The table of moves has no such row.
    NoSuchMove {
        /// Where the job is.
        state: State,
        /// What was to happen.
        event: Event,
    },
    /// A job in this state is not tried again.
    NotRetried {
        /// Which one.
        id: JobId,
        /// Where it is.
        state: State,
    },
    /// So many jobs wait already.
    TooMany(u64),
    /// The system gives no thread.
    NoThread(String),
    /// The ledger did not run what it was given: a fault of the program.
    NotRun,
    /// The inventory file.
    Meta(MetaError),
}

impl From<MetaError> for JobError {
    fn from(error: MetaError) -> Self {
        Self::Meta(error)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(id) => write!(f, "there is no job {id}"),
            Self::UnknownKind(kind) => write!(f, "no engine does jobs of kind '{kind}'"),
            Self::NoSuchMove { state, event } => {
                write!(f, "a job that is {} takes no '{}'", state.word(), event.word())
            }
            Self::NotRetried { id, state } => {
                write!(
                    f,
                    "job {id} is {}: only one that failed, was cancelled or waits is tried again",
                    state.word()
                )
            }
            Self::TooMany(most) => write!(f, "{most} jobs wait already"),
            Self::NoThread(why) => write!(f, "the system gives no thread: {why}"),
            Self::NotRun => f.write_str("the list of jobs was not asked: a fault of the program"),
            Self::Meta(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for JobError {}
