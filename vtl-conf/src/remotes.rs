//! `remotes.*`: what the machine's owner lets definitions of remotes say.

use serde::Deserialize;
use toml::Value;

use crate::check::{Checker, Parsed, list, text};

/// More than rclone's own list of what reads or starts something.
const MAX_FLAGS: usize = 64;
/// Words of a flag that carries a secret: it would be in the list of processes and in the inventory.
const SECRET_WORDS: [&str; 6] = ["secret", "pass", "password", "password2", "passphrase", "token"];
/// The same where an address is, or has in it, the secret (`--azureblob-sas-url`).
const SECRET_IN_ADDRESSES: [&str; 10] = [
    "key",
    "pem",
    "credentials",
    "sas",
    "header",
    "headers",
    "connection",
    "grant",
    "authorization",
    "cookies",
];
/// A flag that ends so says where a secret comes from, and carries none.
const SOURCES: [&str; 2] = ["command", "file"];
/// So does this with words of the first list: `--drive-token-url`.
const ADDRESS: &str = "url";
/// The file of a key, whose name does not end so.
const KEY_FILE: &str = "client-key";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RemotesMirror {
    pub rclone_flags: Option<Value>,
}

/// `remotes.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remotes {
    /// Flags of rclone that definitions may have beside the harmless ones, as `--name`.
    pub rclone_flags: Vec<String>,
}

impl Checker<'_> {
    pub(crate) fn remotes(&mut self, mirror: RemotesMirror) -> Option<Remotes> {
        let RemotesMirror { rclone_flags } = mirror;
        Some(Remotes { rclone_flags: self.take("remotes.rclone_flags", rclone_flags, flags)? })
    }
}

fn flags(value: &Value) -> Parsed<Vec<String>> {
    match value {
        Value::Array(values) if values.is_empty() => Ok(Vec::new()),
        Value::Array(values) if values.len() > MAX_FLAGS => Err(format!("these are {} flags", values.len())),
        value => list(value, |one| flag(text(one)?)),
    }
}

fn flag(text: &str) -> Parsed<String> {
    let Some(name) = text.strip_prefix("--") else { return Err("a flag begins with --".to_owned()) };
    let is_usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(is_usual) {
        return Err("a flag is named without a value, in small letters".to_owned());
    }
    match carries_secret(name) {
        true => Err(format!(
            "{text} carries a secret, which every account would see on the command line: put it into rclone.conf (mode 0600)"
        )),
        false => Ok(text.to_owned()),
    }
}

fn carries_secret(name: &str) -> bool {
    let last = name.rsplit('-').next().unwrap_or_default();
    if name == KEY_FILE || SOURCES.contains(&last) {
        return false;
    }
    let is_one_of = |words: &[&str]| name.split('-').any(|word| words.contains(&word));
    is_one_of(&SECRET_IN_ADDRESSES) || (last != ADDRESS && is_one_of(&SECRET_WORDS))
}
