//! Jobs.

use serde::{Deserialize, Serialize};

/// `GET /jobs`, one row. `docs/jobs.md` says what a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobInfo {
    /// Its number.
    pub id: u64,
    /// Such as `gc` or `scrub`.
    pub kind: String,
    /// What it is about, such as a cartridge.
    pub label: Option<String>,
    /// `queued`, `running`, `paused`, `stopping`, `completed`, `cancelled` or `failed`.
    pub state: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
    /// Attempts that have begun.
    pub attempts: u32,
    /// What went wrong last.
    pub error: Option<String>,
    /// What to do about it.
    pub remedy: Option<String>,
    /// `high`, `normal` or `low`.
    pub priority: String,
    /// When it was asked for.
    pub created: String,
    /// When it began.
    pub started: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// It waits until then, after an attempt that failed.
    pub next_attempt: Option<String>,
    /// How fast it goes, while it runs.
    pub bytes_per_s: Option<u64>,
    /// Seconds left at that rate.
    pub left_s: Option<u64>,
    /// Of what has to do with a remote: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// And the folder there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Chunk objects that are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
    /// Why an export that is completed has made no bundle: `blank` or `unchanged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// Who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum JobPriority {
    /// After all others.
    Low,
    /// What most have.
    Normal,
    /// Before all others.
    High,
}

impl JobPriority {
    /// The lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }
}

/// `GET /jobs/{id}`, and the answer of requests about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobDetail {
    /// The row of the list.
    #[serde(flatten)]
    pub info: JobInfo,
    /// What was asked; its form is the kind's.
    pub request: serde_json::Value,
    /// What was done; its form is the kind's.
    pub result: Option<serde_json::Value>,
    /// Its parts.
    pub tasks: Vec<JobTask>,
    /// Its log, oldest first.
    pub events: Vec<JobEvent>,
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobTask {
    /// What it does.
    pub name: String,
    /// `planned` (in a plan), `waiting`, `running` or `done`.
    pub state: String,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobEvent {
    /// When.
    pub at: String,
    /// What happened, in a word.
    pub event: String,
    /// More.
    pub text: String,
}

/// What a job would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobPlan {
    /// Its kind.
    pub kind: String,
    /// Its parts, with bytes.
    pub tasks: Vec<JobTask>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// `DELETE /jobs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobsCleared {
    /// Jobs that had ended and are gone from the list.
    pub removed: u64,
}
