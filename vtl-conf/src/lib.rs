//! The configuration: one TOML file and `--set KEY=VALUE`, checked as a whole before anything is opened.
//!
//! The way of a key: `document` reads the text and remembers the line of each key; `mirror` is what serde makes of
//! it (an unknown key is refused there); `check` takes the mirror apart, field by field, so that a new key does not
//! compile until it is handled, and yields a [`Config`] in which nothing is left to doubt. All errors of a file are
//! reported together. Names, defaults and their reasons are one table, [`KEYS`]; `docs/configuration.md` is its text.

mod check;
mod config;
mod document;
mod doors;
mod error;
mod example;
mod hooks;
mod keys;
mod mirror;
mod oidc;
mod remotes;
mod running;
mod sealing;
mod secrets;
#[cfg(test)]
mod tests;
mod trigger;
mod watch;

use std::{collections::BTreeMap, ffi::OsString, path::Path};

pub use check::CARTRIDGE_BYTES;
pub use config::{
    Access, Api, CartridgeDefaults, Collections, Compress, Config, DefaultLibrary, Digest, DirectIo,
    ForeignBundles, Hooks, Iscsi, Jobs, Library, Log, LogFormat, LogLevel, Migrate, Retention, Setting,
    Store, StoreEncryption, TargetAccess, Tls, Transfer,
};
pub use document::Assignment;
pub use doors::TargetDoor;
pub use error::{ConfError, ConfErrors, Origin};
pub use example::example;
pub use keys::{CountsFrom, KEYS, Key};
pub use oidc::{Oidc, RoleGroups};
pub use remotes::Remotes;
pub use running::Waiting;
pub use trigger::{Schedule, Trigger, parse_triggers, split_triggers, triggers_text};
pub use watch::{Alerts, Email, MailTls, Metrics, Syslog, Webhook};

/// What the defaults depend on: who we are and the environment, as values, so that a test can say them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The process runs as root.
    pub root: bool,
    /// The environment variables.
    pub environment: BTreeMap<String, OsString>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn of_process(root: bool) -> Self {
        let named = |(name, value): (OsString, OsString)| name.into_string().ok().map(|name| (name, value));
        Self { root, environment: std::env::vars_os().filter_map(named).collect() }
    }
}

/// Reads a key for the store from a file, as `store.key_file` and `store.passphrase_file` are read.
///
/// # Errors
/// What is wrong with the file, and what to do. No byte of it is in there.
pub fn store_key(file: &Path, method: StoreKeyMethod) -> Result<StoreEncryption, (String, String)> {
    let read = match method {
        StoreKeyMethod::KeyFile => secrets::key_file(file).map(StoreEncryption::KeyFile),
        StoreKeyMethod::PassphraseFile => secrets::passphrase_file(file).map(StoreEncryption::Passphrase),
    };
    read.map_err(|(problem, remedy)| {
        let remedy = remedy.unwrap_or_else(|| "name a file of mode 0600 with the new key".to_owned());
        (format!("{}: {problem}", file.display()), remedy)
    })
}

/// What a file with a key for the store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKeyMethod {
    /// The key: all its bytes.
    KeyFile,
    /// A passphrase, and perhaps a line end.
    PassphraseFile,
}

/// Reads the file, if one is named, lays the command line's assignments over it (the last one wins) and checks all.
///
/// Whether an iSCSI listener may be wide also depends on the inventory; see [`Config::check_doors`].
///
/// # Errors
/// Everything that is wrong, each with origin, key, value and remedy.
pub fn load(
    file: Option<&Path>,
    command_line: &[Assignment],
    surroundings: &Surroundings,
) -> Result<Config, ConfErrors> {
    let documents = document::Documents::read(file, command_line)?;
    check::check(documents, surroundings)
}
