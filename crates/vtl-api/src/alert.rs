//! Alerts.

use serde::{Deserialize, Serialize};

/// `GET /alerts`, one row, and the answer of `POST /alerts/{id}/ack`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlertInfo {
    /// Its number.
    pub id: u64,
    /// `space`, `job-failed`, `damage`, `pool`, `certificate`, `tape-alert`, `remote-away` or `no-export`.
    pub rule: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// `raised`, `acknowledged` or `cleared`.
    pub state: String,
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When it was raised.
    pub raised: String,
    /// When somebody said that they know.
    pub acknowledged: Option<String>,
    /// When it was over.
    pub cleared: Option<String>,
}

/// `POST /alerts/test`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlertTest {
    /// `email`, `webhook` or `syslog`.
    pub receiver: String,
    /// It has taken the test.
    pub ok: bool,
    /// Why not.
    pub why: Option<String>,
}
