//! Requests of the API about settings of libraries.

use std::collections::BTreeMap;

use serde_json::Value;
use vtl_api::{ApiError, ErrorCode, ExportCartridge, LibrarySetting};
use vtl_conf::Config;
use vtl_migrate::EXPORT;
use vtl_types::{Label, LibraryName};

use super::{Checked, Effective, check};
use crate::api::field;
use crate::daemon::{Daemon, invalid};

/// What a request changes: key and value, nothing for the configuration's.
type Changes = Vec<(String, Option<String>)>;

impl Daemon {
    /// Every setting of a library that has a value.
    pub(crate) fn library_settings(&self, library: &LibraryName) -> Result<Vec<LibrarySetting>, ApiError> {
        let effective = self.settings_for(Some(library))?;
        let shown = |(key, value, own): (&str, &str, bool)| LibrarySetting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: if own { "library" } else { "configuration" }.to_owned(),
        };
        Ok(effective.all().into_iter().map(shown).collect())
    }

    /// Sets all of them or none; what has changed, in words.
    pub(crate) fn set_library_settings(
        &self,
        library: &LibraryName,
        asked: &BTreeMap<String, String>,
    ) -> Result<Option<String>, ApiError> {
        let checked =
            |(key, value): (&String, &String)| field(&format!("settings.{key}"), self.checked(key, value));
        let changes: Changes = asked.iter().map(checked).collect::<Result<_, _>>()?;
        let write = |tx: &mut vtl_meta::Tx<'_>| {
            let mut set = changes.iter();
            set.try_for_each(|(key, value)| vtl_library::set_setting(tx, library, key, value.as_deref()))
        };
        self.meta.change(write).map_err(|error| crate::api::refused(&error))?;
        self.policies.settings_changed();
        let told = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{key} is {value}"),
            None => format!("{key} is as the configuration says"),
        };
        let told = changes.iter().map(told).collect::<Vec<_>>().join(", ");
        Ok((!told.is_empty()).then_some(told))
    }

    /// A remote or a key must be there. It cannot go before it is set: requests that change what exists run one at a time.
    fn checked(&self, key: &str, value: &str) -> Result<(String, Option<String>), ApiError> {
        let checked = check(key, value).map_err(|bad| invalid(bad.message, &bad.remedy))?;
        let value = match checked {
            Checked::Reset => None,
            Checked::Value(value) => Some(value),
            Checked::Remote(name) => {
                self.can_export()?;
                self.remotes.open(name.as_str()).map_err(crate::remotes::refused)?;
                Some(name.to_string())
            }
            Checked::Keys(names) => {
                self.keys.publics(&names).map_err(crate::keys::refused)?;
                Some(names)
            }
            Checked::Signer(name) => {
                self.keys.signing(name.as_str()).map_err(crate::keys::refused)?;
                Some(name.to_string())
            }
        };
        Ok((key.to_owned(), value))
    }

    /// Without an engine a cartridge would leave the library for a job that nobody does.
    fn can_export(&self) -> Result<(), ApiError> {
        match self.jobs.manager()?.knows(EXPORT) {
            true => Ok(()),
            false => Err(ApiError::new(
                ErrorCode::Unsupported,
                "this version of the server exports no cartridges",
                "leave migrate.remote unset: cartridges stay in the mailslots",
            )),
        }
    }
}

/// Fields of an export's body, and the settings that they are in place of.
const OF_EXPORT: [(&str, &str); 2] = [("remote", "migrate.remote"), ("key", "migrate.key")];

/// What a request says in place of a library's settings. What it says wrongly is refused when it is done; a plan does nothing.
fn asked(method: &str, route: &str, body: &Value) -> BTreeMap<String, String> {
    match (method, route) {
        _ if body.get("plan").and_then(Value::as_bool) == Some(true) => BTreeMap::new(),
        ("PATCH", "/libraries/{name}") => {
            body.get("settings").and_then(|map| serde_json::from_value(map.clone()).ok()).unwrap_or_default()
        }
        ("POST", "/cartridges/{label}/export") => {
            let row = |(field, key): (&str, &str)| {
                let value = body.get(field)?.as_str().filter(|text| !text.is_empty())?;
                Some((key.to_owned(), value.to_owned()))
            };
            OF_EXPORT.into_iter().filter_map(row).collect()
        }
        _ => BTreeMap::new(),
    }
}

/// The same of the body of an export that was read.
pub(crate) fn of_export(asked: &ExportCartridge) -> BTreeMap<String, String> {
    let values = [&asked.remote, &asked.key];
    let row = |((_, key), value): ((&str, &str), &Option<String>)| {
        Some((key.to_owned(), value.clone().filter(|text| !text.is_empty())?))
    };
    OF_EXPORT.into_iter().zip(values).filter_map(row).collect()
}

impl Daemon {
    /// Whether a request would have cartridges deleted by a library's settings, now or later. `name`: of the library or of
    /// the cartridge that the route is about.
    pub(crate) fn would_delete(
        &self,
        method: &str,
        route: &str,
        name: &str,
        body: &Value,
    ) -> Result<bool, ApiError> {
        let asked = asked(method, route, body);
        if asked.is_empty() {
            return Ok(false);
        }
        let library = match method {
            "PATCH" => name.parse().ok(),
            _ => {
                // No label: there is nothing that could be deleted, and the request will say so.
                let Ok(label) = name.parse::<Label>() else { return Ok(false) };
                let found = self.meta.read(|tx| vtl_library::cartridge(tx, label));
                found.map_err(|error| crate::api::refused(&error))?.library
            }
        };
        Ok(self.settings_for(library.as_ref())?.would_delete(&asked))
    }

    /// What holds for a cartridge: the settings of the library that it is in, or the configuration's.
    pub(crate) fn settings_for(&self, library: Option<&LibraryName>) -> Result<Effective, ApiError> {
        let defaults = self.ejection.defaults();
        let Some(library) = library else { return Ok(Effective::of_all(defaults)) };
        self.meta
            .read(|tx| Effective::read(tx, library, &defaults))
            .map_err(|error| crate::api::refused(&error))
    }

    /// What the configuration says holds from now on.
    pub(crate) fn heed(&self) {
        let config = self.config();
        self.ejection.heed(super::defaults(&config));
        self.policies.settings_changed();
        self.remotes.retry_on(&config.transfer.retry_on_exit_codes);
        self.remotes.allow_flags(&config.remotes.rclone_flags);
        self.remotes.keep_here(config.secret_files());
    }

    /// The remote and the key that a configuration names must be there.
    pub(crate) fn check_names(&self, config: &Config) -> Result<(), ApiError> {
        let remote = config.migrate.remote.as_deref().map(|name| self.remotes.is_known(name));
        let key = config.migrate.key.as_deref().map(|names| self.keys.publics(names));
        let signer = config.migrate.sign_with.as_deref().map(|name| self.keys.signing(name));
        remote.transpose().map_err(|error| at("migrate.remote", crate::remotes::refused(error)))?;
        key.transpose().map_err(|error| at("migrate.key", crate::keys::refused(error)))?;
        signer.transpose().map_err(|error| at("migrate.sign_with", crate::keys::refused(error)))?;
        Ok(())
    }

    /// The same at a start, which does not fail for that: how would they be defined?
    pub(crate) fn note_names(&self) {
        if let Err(error) = self.check_names(&self.config()) {
            self.note_problem(vtl_api::Problem {
                subject: "migrate".to_owned(),
                message: error.message,
                remedy: error.remedy.unwrap_or_else(|| "see docs/vault.md".to_owned()),
            });
        }
    }

    /// Whether the configuration names this remote or key.
    pub(crate) fn is_configured(&self, noun: &str, name: &str) -> Option<String> {
        let config = self.config();
        let migrate = &config.migrate;
        let nouns = [("remote", &migrate.remote), ("key", &migrate.key), ("sign_with", &migrate.sign_with)];
        let mut values =
            nouns.into_iter().filter(|(own, _)| *own == noun).filter_map(|(_, value)| value.as_deref());
        values
            .any(|value| crate::used::has(value, name))
            .then(|| format!("the configuration (migrate.{noun})"))
    }
}

fn at(key: &str, error: ApiError) -> ApiError {
    ApiError { message: format!("{key}: {}", error.message), ..error }
}
