//! What a server that runs takes of a configuration that it reads again, and what waits for its next start.

use crate::{
    config::{Api, CartridgeDefaults, Config, Iscsi, Setting, Store},
    keys::{self, CountsFrom, KEYS, Key},
};

/// Whether there is TLS at all waits for a start. Which certificate it shows does not.
const TLS: &str = "api.tls.";

/// A key that changes at the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its name in the table.
    pub key: &'static str,
    /// Its value then, as TOML; none: it is not set any more.
    pub value: Option<String>,
}

impl Config {
    /// This configuration as a server takes it that runs with `running`: what counts from a start on stays as it is there.
    #[must_use]
    pub fn taken_by(self, running: &Self) -> Self {
        let waits = |key: &&Key| self.waits(key, running);
        let waiting: Vec<Waiting> = KEYS
            .iter()
            .filter(waits)
            .map(|key| Waiting { key: key.name, value: self.value(key.name).map(str::to_owned) })
            .collect();
        let settings = self.settings_beside(running, &waiting);
        let has_switched = self.has_switched_tls(running);
        let kept = running.clone();
        // What was named before is in use for as long as the server runs.
        let mut secret_files = [self.secret_files.as_slice(), &kept.secret_files].concat();
        secret_files.sort();
        secret_files.dedup();
        Self {
            state: kept.state,
            iscsi: Iscsi {
                listen: kept.iscsi.listen,
                diagnostic_disk: kept.iscsi.diagnostic_disk,
                max_connections: kept.iscsi.max_connections,
                ..self.iscsi
            },
            api: Api {
                listen: kept.api.listen,
                tls: if has_switched { kept.api.tls } else { self.api.tls },
                ..self.api
            },
            secrets: kept.secrets,
            library: kept.library,
            cartridge: CartridgeDefaults { early_warning: kept.cartridge.early_warning, ..self.cartridge },
            store: Store {
                gc: self.store.gc,
                scrub_days: self.store.scrub_days,
                scrub_rate: self.store.scrub_rate,
                ..kept.store
            },
            retention: kept.retention,
            log: kept.log,
            settings,
            secret_files,
            waiting,
            ..self
        }
    }

    /// The keys that change at the next start, in the order of [`KEYS`]; none unless [`Config::taken_by`] has made this.
    #[must_use]
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    fn waits(&self, key: &Key, running: &Self) -> bool {
        let is_late = key.counts_from == CountsFrom::Start
            || (key.name.starts_with(TLS) && self.has_switched_tls(running));
        is_late
            && (self.value(key.name) != running.value(key.name) || self.names_another_secret(key, running))
    }

    fn has_switched_tls(&self, running: &Self) -> bool {
        self.api.tls.is_some() != running.api.tls.is_some()
    }

    /// Whether a file or variable of the same name holds another secret now.
    fn names_another_secret(&self, key: &Key, running: &Self) -> bool {
        let is_set = key.default.is_none() && self.value(key.name).is_some();
        match key.name.split_once('.') {
            Some(("secrets", _)) => is_set && self.secrets != running.secrets,
            Some(("store", "key_file" | "passphrase_file" | "passphrase_env")) => {
                is_set && self.store.encryption != running.store.encryption
            }
            _ => false,
        }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }

    /// The settings of this one, but those that wait as they are in the other one.
    fn settings_beside(&self, running: &Self, waiting: &[Waiting]) -> Vec<Setting> {
        let waits = |setting: &Setting| waiting.iter().any(|one| one.key == setting.key);
        let own = self.settings.iter().filter(|setting| !waits(setting));
        let kept = running.settings.iter().filter(|setting| waits(setting));
        let mut all: Vec<Setting> = own.chain(kept).cloned().collect();
        all.sort_by_key(|setting| keys::place(&setting.key));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;
    use crate::{LogLevel, Surroundings, load};

    /// A folder with a configuration file, and the secrets that it may name.
    struct Desk(tempfile::TempDir);

    impl Desk {
        fn new() -> Self {
            let desk = Self(tempfile::tempdir().unwrap());
            desk.secret("words", "a passphrase made up");
            desk.secret("key", &"k".repeat(32));
            desk.secret("pem", "something made up");
            desk
        }

        fn secret(&self, name: &str, content: &str) {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }

        fn load(&self, text: &str) -> Config {
            let file = self.0.path().join("vtl.toml");
            fs::write(&file, text).unwrap();
            let mut surroundings = Surroundings { root: true, ..Surroundings::default() };
            surroundings.environment.insert("WORDS".to_owned(), "a passphrase made up".into());
            load(Some(&file), &[], &surroundings).unwrap()
        }
    }

    fn waiting(config: &Config) -> Vec<&'static str> {
        config.waiting().iter().map(|one| one.key).collect()
    }

    /// All of it but what belongs to both.
    fn told(config: &Config) -> String {
        format!("{:?}", Config { secret_files: Vec::new(), waiting: Vec::new(), ..config.clone() })
    }

    /// Each key that counts from a start on, at a value that is not its default.
    const LATE: &[(&str, &[&str])] = &[
        ("state = \"/srv/state\"", &["state", "store.path"]),
        ("iscsi.listen = \"127.0.0.1:3261\"", &["iscsi.listen"]),
        ("iscsi.diagnostic_disk = \"64m\"", &["iscsi.diagnostic_disk"]),
        ("iscsi.max_connections = 129", &["iscsi.max_connections"]),
        ("api.listen = \"127.0.0.1:8461\"", &["api.listen"]),
        ("secrets.key_file = \"key\"", &["secrets.key_file"]),
        ("secrets.passphrase_file = \"words\"", &["secrets.passphrase_file"]),
        ("secrets.passphrase_env = \"WORDS\"", &["secrets.passphrase_env"]),
        ("library.default = \"none\"", &["library.default"]),
        ("cartridge.early_warning = \"1m\"", &["cartridge.early_warning"]),
        ("store.path = \"/srv/store\"", &["store.path"]),
        ("store.size = \"1t\"", &["store.size"]),
        ("store.folders = [\"/d1\"]", &["store.folders"]),
        ("store.degraded = true", &["store.degraded"]),
        ("store.direct_io = \"off\"", &["store.direct_io"]),
        ("store.compression_level = 3", &["store.compression_level"]),
        ("store.dedupe = false", &["store.dedupe"]),
        ("store.chunk_size = \"32k\"", &["store.chunk_size"]),
        (
            "store.encryption = \"aes-256-gcm\"\nstore.key_file = \"key\"",
            &["store.encryption", "store.key_file"],
        ),
        (
            "store.encryption = \"aes-256-gcm\"\nstore.passphrase_file = \"words\"",
            &["store.encryption", "store.passphrase_file"],
        ),
        (
            "store.encryption = \"aes-256-gcm\"\nstore.passphrase_env = \"WORDS\"",
            &["store.encryption", "store.passphrase_env"],
        ),
        ("store.memory = \"1g\"", &["store.memory"]),
        ("retention.max_clock_step_s = 1", &["retention.max_clock_step_s"]),
        ("log.level = \"debug\"", &["log.level"]),
        ("log.format = \"json\"", &["log.format"]),
    ];

    #[test]
    fn what_counts_from_a_start_on_stays_as_it_is_and_is_named() {
        let desk = Desk::new();
        let running = desk.load("");
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (text, keys) in LATE {
            let taken = desk.load(text).taken_by(&running);
            assert_eq!(waiting(&taken), *keys, "{text}");
            assert_eq!(told(&taken), told(&running), "{text}");
            // It waits for as long as no start has come, and not any more when it is taken back.
            assert_eq!(waiting(&desk.load(text).taken_by(&taken)), *keys, "{text}");
            assert!(desk.load("").taken_by(&taken).waiting().is_empty(), "{text}");
            // And the way back: what the server was started with stays.
            let started = desk.load(text);
            let taken = desk.load("").taken_by(&started);
            assert_eq!((waiting(&taken).as_slice(), told(&taken)), (*keys, told(&started)), "{text}");
            seen.extend(keys.iter().copied());
        }
        let late = KEYS.iter().filter(|key| key.counts_from == CountsFrom::Start).map(|key| key.name);
        assert_eq!(seen, late.collect::<BTreeSet<_>>());
    }

    #[test]
    fn what_follows_a_reload_is_taken_and_does_not_wait() {
        let desk = Desk::new();
        let running = desk.load("log.level = \"warn\"");
        for text in [
            "iscsi.max_sessions = 65",
            "iscsi.allow_any_initiator = true",
            "api.hosts = [\"vtl.example.com\"]",
            "cartridge.size = \"64m\"",
            "store.gc = \"manual\"\nstore.scrub_days = 7\nstore.scrub_rate = \"1m\"",
            "jobs.max_running = 3",
            "transfer.retry.attempts = 6",
            "migrate.remote = \"cloud\"",
            "alerts.space_percent = 80",
            "metrics.open = true",
            "[iscsi.target.\"iqn.2026-11.internal.vtl:lib0\"]\ninitiators = [\"iqn.1993-08.org.debian:01:abc\"]",
        ] {
            let fresh = desk.load(&format!("log.level = \"warn\"\n{text}"));
            let taken = fresh.clone().taken_by(&running);
            assert_eq!((told(&taken), waiting(&taken)), (told(&fresh), vec![]), "{text}");
        }
        let taken = desk.load("log.level = \"debug\"\njobs.max_running = 3").taken_by(&running);
        assert_eq!((taken.log.level, taken.jobs.max_running), (LogLevel::Warn, 3));
        let value = Some("\"debug\"".to_owned());
        assert_eq!(taken.waiting(), [Waiting { key: "log.level", value }]);
    }

    #[test]
    fn tls_waits_where_it_is_switched_and_another_certificate_does_not() {
        let desk = Desk::new();
        let (none, made) = (desk.load(""), desk.load("api.tls.self_signed = true"));
        let files = desk.load("api.tls.cert = \"pem\"\napi.tls.key = \"pem\"");
        for (running, fresh, keys) in [
            (&none, &made, &["api.tls.self_signed"][..]),
            (&made, &none, &["api.tls.self_signed"][..]),
            (&none, &files, &["api.tls.cert", "api.tls.key"][..]),
            (&made, &files, &[][..]),
            (&files, &made, &[][..]),
        ] {
            let taken = fresh.clone().taken_by(running);
            let wanted = if keys.is_empty() { fresh } else { running };
            assert_eq!((waiting(&taken), &taken.api.tls), (keys.to_vec(), &wanted.api.tls));
        }
    }

    #[test]
    fn another_secret_in_a_file_of_the_same_name_waits_too_and_both_files_are_kept_here() {
        let desk = Desk::new();
        let text = "secrets.key_file = \"key\"\n\
                    [store]\nencryption = \"aes-256-gcm\"\npassphrase_file = \"words\"";
        let running = desk.load(text);
        desk.secret("key", &"n".repeat(32));
        desk.secret("words", "another passphrase");
        let taken = desk.load(text).taken_by(&running);
        assert_eq!(waiting(&taken), ["secrets.key_file", "store.passphrase_file"]);
        assert!(taken.secrets == running.secrets && taken.store == running.store);
        let taken = desk.load("metrics.token_file = \"pem\"").taken_by(&running);
        let names = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let kept: Vec<String> = taken.secret_files().iter().map(|path| names(path)).collect();
        assert_eq!(kept, ["key", "pem", "words"]);
    }

    #[test]
    fn the_page_of_the_manual_names_each_key_that_counts_from_a_start_on() {
        let late = KEYS.iter().filter(|key| key.counts_from == CountsFrom::Start);
        let names: Vec<String> = late.map(|key| format!("`{}`", key.name)).collect();
        let line = format!("From the next start on count {}.", names.join(", "));
        let page = include_str!("../../docs/configuration.md");
        assert!(page.lines().any(|one| one == line), "docs/configuration.md lacks:\n{line}");
    }
}
