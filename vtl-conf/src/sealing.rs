//! `secrets.*`: what seals the secrets that the server itself keeps.

use std::path::Path;

use serde::Deserialize;
use toml::Value;
use vtl_types::Secret;

use crate::{
    check::Checker,
    config::StoreEncryption,
    document::one_line,
    secrets::{self, Wrong},
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SecretsMirror {
    pub key_file: Option<Value>,
    pub passphrase_file: Option<Value>,
    pub passphrase_env: Option<Value>,
}

type Key = fn(Secret) -> StoreEncryption;

impl Checker<'_> {
    /// No key, or exactly one, and none that lies beside what it seals.
    pub(crate) fn sealing(&mut self, mirror: SecretsMirror, state: Option<&Path>) -> Option<StoreEncryption> {
        let SecretsMirror { key_file, passphrase_file, passphrase_env } = mirror;
        let all = [
            ("key_file", key_file),
            ("passphrase_file", passphrase_file),
            ("passphrase_env", passphrase_env),
        ];
        let given: Vec<(&str, Value)> =
            all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        given.iter().for_each(|(name, value)| self.note(&["secrets", name], value));
        match given.as_slice() {
            [] => Some(StoreEncryption::None),
            [(name, value)] => self.sealing_key(name, value, state?),
            [(first, value), (second, _), ..] => {
                let remedy = format!("keep one of {first} and {second}");
                self.refuse(&["secrets", first], &one_line(value), "there are two keys", Some(&remedy));
                None
            }
        }
    }

    fn sealing_key(&mut self, name: &str, value: &Value, state: &Path) -> Option<StoreEncryption> {
        let made: Key = match name {
            "key_file" => StoreEncryption::KeyFile,
            _ => StoreEncryption::Passphrase,
        };
        let fetch = |this: &Self, text: &str| match name {
            "key_file" => secrets::key_file(&apart(&this.beside(text), state)?),
            "passphrase_file" => secrets::passphrase_file(&apart(&this.beside(text), state)?),
            _ => this.secret_env(text).and_then(secrets::passphrase),
        };
        self.secret(&["secrets", name], value, fetch).map(made)
    }
}

/// A key in the state folder would be in every copy of it.
fn apart(file: &Path, state: &Path) -> Result<std::path::PathBuf, Wrong> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match real(file).starts_with(real(state)) {
        true => Err((
            "it lies in the state folder, beside what it seals".to_owned(),
            Some("keep it elsewhere, best on another disk".to_owned()),
        )),
        false => Ok(file.to_owned()),
    }
}
