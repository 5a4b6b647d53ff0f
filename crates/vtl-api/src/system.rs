//! The daemon as a whole.

use serde::{Deserialize, Serialize};

/// `GET /system/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SystemStatus {
    /// Program version.
    pub version: String,
    /// `ok` or `problem`; the client's exit code follows it.
    pub state: String,
    /// Installation id, hexadecimal.
    pub installation: String,
    /// When the daemon started.
    pub started: String,
    /// Addresses that iSCSI listens on.
    pub portals: Vec<String>,
    /// Sessions now.
    pub sessions: u32,
    /// Bytes that can still be stored in all pools whose disks answer.
    pub free_bytes: u64,
    /// How full the fullest of these is: of its file system, or of its size if that is nearer.
    pub pool_used_percent: u8,
    /// The highest of 80, 90 and 95 that it has reached.
    pub pool_alarm: Option<u8>,
    /// The scrub of the store in one line.
    pub scrub: String,
    /// What an operator should know.
    pub problems: Vec<Problem>,
}

/// Something that needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// What it concerns: a cartridge, the store, a drive.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// `GET /config/effective`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ConfigValue {
    /// Dotted key.
    pub key: String,
    /// The value in effect, as TOML; secrets are masked.
    pub value: String,
    /// What it is from the next start on, when that is another one: as TOML, or `not set`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<String>,
    /// `default`, `file` or `command line`.
    pub origin: String,
}

/// `POST /system/backup` and `POST /system/restore`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    /// Path on the machine of the daemon.
    pub file: String,
}

/// `GET /hooks`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookInfo {
    /// When it runs: `post-vault`.
    pub name: String,
    /// The program; none: there is no such hook.
    pub program: Option<String>,
    /// The longest that it may take.
    pub time_limit_s: u64,
    /// Exit codes that ask for another attempt.
    pub retry_exit_codes: Vec<u8>,
}

/// `POST /hooks/{name}/test`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HookTest {
    /// Its name.
    pub name: String,
    /// It ended with 0.
    pub ok: bool,
    /// How it ended otherwise.
    pub why: Option<String>,
    /// The end of what it said on standard error.
    pub said: String,
}

/// Answer of a request that changes something and has nothing else to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Done {
    /// What was done, for people.
    pub message: String,
    /// Names of the things made or changed.
    #[serde(default)]
    pub names: Vec<String>,
}

/// `POST /config/check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckConfig {
    /// The file; the daemon's own when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// `POST /system/rebuild`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RebuildInventory {
    /// Only tell what would be done; nothing else is possible while the daemon runs.
    #[serde(default)]
    pub plan: bool,
}

/// `POST /system/rebuild`, one row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RebuildRow {
    /// The cartridge, when it can be read.
    pub label: Option<String>,
    /// Its id, hexadecimal, or what cannot be read.
    pub id: String,
    /// What would become of it.
    pub action: String,
}
