//! Settings of one library: what becomes of cartridges that are put into its mailslots, and how they are exported.
//!
//! They are rows of the inventory (`settings`), as text; what a library does not set is as in the configuration. [`KEYS`] is the one table of what they are.

mod requests;

use std::collections::BTreeMap;

use vtl_conf::{Compress, Config, Migrate, Trigger, parse_triggers, split_triggers, triggers_text};
use vtl_library::LibraryError;
use vtl_meta::Tx;
use vtl_migrate::{CHUNK_SIZES, ExportRequest, MAX_RECIPIENTS, SpareRequest};
use vtl_types::{ByteCount, Label, LabelTemplate, LibraryName};

use crate::given_name::GivenName;
pub(crate) use requests::of_export;

/// What values a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Name of a remote, or `none`.
    Remote,
    /// Names of keys, with commas between them, or `none`.
    Key,
    /// Name of a key that signs, or `none`.
    Signer,
    /// Size of an object.
    Chunk,
    /// How labels look.
    Template,
    /// What begins exports.
    Triggers,
    /// One of these words.
    Word(&'static [&'static str]),
}

const SWITCH: Form = Form::Word(&["true", "false"]);
/// A remote or a key that is not there, whatever the configuration says.
const NONE: &str = "none";

/// Settings that have cartridges deleted.
const DELETING: [&str; 2] = ["migrate.delete_after_export", "migrate.delete_clean_import"];
/// Where the copy is, for which a cartridge is deleted, and who can read it.
const COPY: [&str; 2] = ["migrate.remote", "migrate.key"];

/// Key, form, and how a right value looks.
const KEYS: [(&str, Form, &str); 11] = [
    ("migrate.remote", Form::Remote, "the name of a remote (vtl remote ls), or none"),
    ("migrate.key", Form::Key, "the name of a key (vtl key ls), up to 16 with commas between them, or none"),
    ("migrate.sign_with", Form::Signer, "the name of an Ed25519 key (vtl key ls), or none"),
    ("migrate.chunk_size", Form::Chunk, "a size with its unit from 1m to 1t, such as 10240m"),
    ("migrate.compress", Form::Word(&["zstd", "lz4", "none"]), "zstd, lz4 or none"),
    ("migrate.delete_after_export", SWITCH, "true or false"),
    ("migrate.delete_clean_import", SWITCH, "true or false"),
    ("migrate.create_spare", SWITCH, "true or false"),
    ("migrate.spare_label", Form::Template, "series, or six characters of A-Z, 0-9 and #, such as SPR###"),
    ("migrate.verify", Form::Word(&["remote-hash", "readback", "none"]), "remote-hash, readback or none"),
    (
        "migrate.triggers",
        Form::Triggers,
        "mailslot, full, idle:TIME and schedule:[TZ=ZONE ]CRON, joined by commas, such as mailslot,idle:7d; or none",
    ),
];

/// Why a setting is refused: key, value, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// A value that may be kept, and what must be there for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Back to what the configuration says.
    Reset,
    /// As it is.
    Value(String),
    /// The name of a remote.
    Remote(GivenName),
    /// The names of keys, with commas between them.
    Keys(String),
    /// The name of a key that signs.
    Signer(GivenName),
}

/// Checks a value for a key; an empty one resets it.
///
/// # Errors
/// No such key, or no such value.
pub fn check(key: &str, value: &str) -> Result<Checked, BadSetting> {
    let Some((_, form, expects)) = KEYS.iter().find(|(own, ..)| *own == key) else {
        let known = KEYS.map(|(own, ..)| own).join(", ");
        return Err(BadSetting {
            message: format!("'{key}' is no setting of a library"),
            remedy: format!("known are: {known}"),
        });
    };
    if value.is_empty() {
        return Ok(Checked::Reset);
    }
    let bad = || BadSetting {
        message: format!("{key} cannot be '{}'", value.escape_debug()),
        remedy: format!("write {expects}"),
    };
    let name = || value.parse::<GivenName>().map_err(|_| bad());
    let as_it_is = || Ok(Checked::Value(value.to_owned()));
    match form {
        Form::Remote | Form::Key | Form::Signer if value == NONE => as_it_is(),
        Form::Remote => name().map(Checked::Remote),
        Form::Key => key_names(value).map(Checked::Keys).ok_or_else(bad),
        Form::Signer => name().map(Checked::Signer),
        Form::Chunk if has_unit(value) && chunk_bytes(value).is_some() => as_it_is(),
        Form::Template if value.parse::<LabelTemplate>().is_ok() => as_it_is(),
        Form::Triggers => match parse_triggers(value) {
            Ok(_) => as_it_is(),
            Err(why) => Err(BadSetting { message: format!("{key}: {why}"), ..bad() }),
        },
        Form::Word(words) if words.contains(&value) => as_it_is(),
        Form::Chunk | Form::Template | Form::Word(_) => Err(bad()),
    }
}

/// Each is a name, and there are no more than a bundle can have recipients.
fn key_names(text: &str) -> Option<String> {
    let names =
        text.split(',').map(|name| name.trim().parse::<GivenName>().ok().map(|name| name.to_string()));
    let names = names.collect::<Option<Vec<_>>>()?;
    (names.len() <= MAX_RECIPIENTS).then(|| names.join(","))
}

/// A number alone may mean bytes to one and megabytes to another, so it has a unit.
fn has_unit(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_alphabetic())
}

fn chunk_bytes(text: &str) -> Option<u64> {
    text.parse::<ByteCount>().ok().map(|size| size.0).filter(|bytes| CHUNK_SIZES.contains(bytes))
}

/// What holds for a library: its own settings over those of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    own: BTreeMap<String, String>,
    defaults: Defaults,
}

/// What holds for libraries that do not say it, by key.
pub type Defaults = BTreeMap<&'static str, String>;

/// Those of a configuration.
pub fn defaults(config: &Config) -> Defaults {
    let Migrate {
        remote,
        key,
        sign_with,
        chunk_size,
        compress,
        verify,
        delete_after_export,
        delete_clean_import,
        create_spare,
        spare_label,
        triggers,
        staging_dir: _,
        foreign_bundles: _,
        read_wait: _,
    } = &config.migrate;
    let compress = match compress {
        Compress::Zstd => "zstd",
        Compress::Lz4 => "lz4",
        Compress::None => "none",
    };
    let rows = [
        ("migrate.remote", remote.clone()),
        ("migrate.key", key.clone()),
        ("migrate.sign_with", sign_with.clone()),
        ("migrate.chunk_size", Some(size_text(chunk_size.0))),
        ("migrate.compress", Some(compress.to_owned())),
        ("migrate.delete_after_export", Some(delete_after_export.to_string())),
        ("migrate.delete_clean_import", Some(delete_clean_import.to_string())),
        ("migrate.create_spare", Some(create_spare.to_string())),
        ("migrate.spare_label", Some(spare_label.to_string())),
        ("migrate.verify", Some((*verify).to_owned())),
        ("migrate.triggers", Some(triggers_text(triggers))),
    ];
    rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// As people write it, without a rest.
fn size_text(bytes: u64) -> String {
    match (bytes % (1 << 20), bytes % (1 << 10)) {
        (0, _) => format!("{}m", bytes >> 20),
        (_, 0) => format!("{}k", bytes >> 10),
        _ => bytes.to_string(),
    }
}

impl Effective {
    /// As it is now.
    ///
    /// # Errors
    /// No such library; the inventory fails.
    pub fn read(tx: &Tx<'_>, library: &LibraryName, defaults: &Defaults) -> Result<Self, LibraryError> {
        let own = vtl_library::settings(tx, library)?.into_iter().collect();
        Ok(Self { own, defaults: defaults.clone() })
    }

    /// As it is for what is in no library.
    pub fn of_all(defaults: Defaults) -> Self {
        Self { own: BTreeMap::new(), defaults }
    }

    /// Every setting that has a value, and whether it is the library's own.
    pub fn all(&self) -> Vec<(&'static str, &str, bool)> {
        let row = |(key, ..): &(&'static str, Form, &str)| {
            let own = self.own.get(*key).map(|value| (*key, value.as_str(), true));
            own.or_else(|| self.defaults.get(key).map(|value| (*key, value.as_str(), false)))
        };
        KEYS.iter().filter_map(row).collect()
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.own.get(key).or_else(|| self.defaults.get(key)).map(String::as_str)
    }

    /// A remote or a key.
    fn named(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|name| *name != NONE)
    }

    /// Where exports go.
    pub fn remote(&self) -> Option<&str> {
        self.named("migrate.remote")
    }

    /// For whom they are encrypted.
    pub fn key(&self) -> Option<&str> {
        self.named("migrate.key")
    }

    fn is_on(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    /// Whether cartridges would be deleted that these settings leave alone, or for another copy than before: when other
    /// settings are asked for, an empty value for the configuration's.
    pub fn would_delete(&self, asked: &BTreeMap<String, String>) -> bool {
        let mut after = self.clone();
        for (key, value) in asked {
            match value.is_empty() {
                true => drop(after.own.remove(key)),
                false => drop(after.own.insert(key.clone(), value.clone())),
            }
        }
        let is_other_copy = COPY.iter().any(|key| after.get(key) != self.get(key));
        DELETING.iter().any(|key| after.is_on(key) && (is_other_copy || !self.is_on(key)))
    }

    /// Who signs them.
    pub fn sign_with(&self) -> Option<&str> {
        self.named("migrate.sign_with")
    }

    /// What the engine is asked for a cartridge, with nothing left open. `library`: the one that it is in.
    pub fn request(&self, label: Label, library: Option<&LibraryName>) -> ExportRequest {
        let text = |key: &str| self.get(key).map(str::to_owned);
        let spare = |library: &LibraryName| SpareRequest {
            library: library.to_string(),
            label: text("migrate.spare_label").unwrap_or_else(|| LabelTemplate::Series.to_string()),
        };
        ExportRequest {
            label: Some(label.to_string()),
            remote: self.remote().map(str::to_owned),
            key: Some(self.key().unwrap_or(NONE).to_owned()),
            sign_with: Some(self.sign_with().unwrap_or(NONE).to_owned()),
            chunk_bytes: self.get("migrate.chunk_size").and_then(chunk_bytes),
            compress: text("migrate.compress"),
            delete_after_export: Some(self.is_on("migrate.delete_after_export")),
            verify: text("migrate.verify"),
            library: None,
            spare: library.filter(|_| self.is_on("migrate.create_spare")).map(spare),
        }
    }

    /// The same for one that has left this library by itself.
    pub fn request_of_ejected(&self, label: Label, library: &LibraryName) -> ExportRequest {
        ExportRequest { library: Some(library.to_string()), ..self.request(label, Some(library)) }
    }

    /// Whether a clean import that is put out goes here.
    pub fn deletes_clean_imports(&self) -> bool {
        self.is_on("migrate.delete_clean_import")
    }

    /// What begins exports; and what cannot be read any more, with the reason.
    pub fn triggers(&self) -> Vec<Result<Trigger, String>> {
        match self.get("migrate.triggers") {
            None => vec![Ok(Trigger::Mailslot)],
            Some(text) => split_triggers(text).iter().map(|one| one.parse()).collect(),
        }
    }

    /// Whether a move to a mailslot begins an export.
    pub fn is_ejecting(&self) -> bool {
        self.remote().is_some() && self.triggers().contains(&Ok(Trigger::Mailslot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// What a library has set, what is asked, whether that deletes.
    type Deletes = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)], bool);

    const AFTER: &str = "migrate.delete_after_export";
    const CLEAN: &str = "migrate.delete_clean_import";
    const REMOTE: &str = "migrate.remote";

    #[test]
    fn switching_deletion_on_deletes_and_so_does_another_place_for_the_copy() {
        let cases: [Deletes; 14] = [
            (&[], &[(AFTER, "true")], true),
            (&[], &[(CLEAN, "true")], true),
            (&[], &[(AFTER, "false"), ("migrate.verify", "none")], false),
            (&[], &[(REMOTE, "other"), ("migrate.key", "mine")], false),
            (&[(AFTER, "true")], &[(AFTER, "true")], false),
            (&[(AFTER, "true")], &[(AFTER, "false"), (REMOTE, "other")], false),
            (&[(AFTER, "true")], &[("migrate.compress", "lz4")], false),
            (&[(AFTER, "true")], &[(REMOTE, "other")], true),
            (&[(CLEAN, "true")], &[("migrate.key", "mine")], true),
            (&[(CLEAN, "true"), (REMOTE, "safe")], &[(REMOTE, "safe")], false),
            (&[(CLEAN, "true"), (REMOTE, "safe")], &[(REMOTE, "")], true),
            (&[(AFTER, "true")], &[(CLEAN, "true")], true),
            (&[(AFTER, "true")], &[(AFTER, "")], false),
            (&[(AFTER, "true")], &[], false),
        ];
        let settings = |own: &[(&str, &str)], defaults| Effective { own: pairs(own), defaults };
        for (own, asked, deletes) in cases {
            let found = settings(own, Defaults::new()).would_delete(&pairs(asked));
            assert_eq!(found, deletes, "{own:?} and then {asked:?}");
        }
        let on_for_all = || Defaults::from([(AFTER, "true".to_owned())]);
        assert!(settings(&[(AFTER, "false")], on_for_all()).would_delete(&pairs(&[(AFTER, "")])), "a reset");
        assert!(
            settings(&[], on_for_all()).would_delete(&pairs(&[(REMOTE, "other")])),
            "the configuration's"
        );
    }

    #[test]
    fn a_value_is_checked_by_its_key_and_refused_with_what_would_be_right() {
        let value = |text: &str| Ok(Checked::Value(text.to_owned()));
        for (key, good) in [
            ("migrate.chunk_size", "64m"),
            ("migrate.chunk_size", "10240m"),
            ("migrate.chunk_size", "1t"),
            ("migrate.compress", "lz4"),
            ("migrate.delete_after_export", "true"),
            ("migrate.create_spare", "true"),
            ("migrate.spare_label", "SPR###"),
            ("migrate.spare_label", "series"),
            ("migrate.verify", "readback"),
            ("migrate.triggers", "none"),
            ("migrate.triggers", "mailslot,full,idle:7d,schedule:0 3,15 * * *"),
            ("migrate.remote", "none"),
        ] {
            assert_eq!(check(key, good), value(good), "{key}={good}");
        }
        assert_eq!(check("migrate.remote", "off-site"), Ok(Checked::Remote("off-site".parse().unwrap())));
        assert_eq!(check("migrate.key", "k"), Ok(Checked::Keys("k".to_owned())));
        assert_eq!(check("migrate.key", "k, l"), Ok(Checked::Keys("k,l".to_owned())));
        assert_eq!(check("migrate.sign_with", "s"), Ok(Checked::Signer("s".parse().unwrap())));
        assert_eq!(check("migrate.key", ""), Ok(Checked::Reset));
        for (key, bad, right) in [
            ("migrate.chunk_size", "64", "with its unit"),
            ("migrate.chunk_size", "0m", "from 1m"),
            ("migrate.chunk_size", "2t", "to 1t"),
            ("migrate.compress", "gzip", "zstd, lz4 or none"),
            ("migrate.create_spare", "1", "true or false"),
            ("migrate.spare_label", "SPARE1", "such as SPR###"),
            ("migrate.triggers", "never", "idle:7d"),
            ("migrate.triggers", "schedule:0 0 31 2 *", "joined by commas"),
            ("migrate.remote", "../x", "vtl remote ls"),
            ("migrate.key", "k,,l", "with commas"),
            ("migrate.key", "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q", "up to 16"),
            ("migrate.sign_with", "s,t", "the name of an Ed25519 key"),
            ("shelves", "3", "known are: migrate.remote"),
        ] {
            let refused = check(key, bad).unwrap_err();
            assert!(refused.remedy.contains(right), "{refused:?}");
            assert!(refused.message.contains(key), "{refused:?}");
        }
    }

    #[test]
    fn a_size_is_shown_as_people_write_it_and_read_back() {
        for (bytes, text) in [(10_737_418_240, "10240m"), (1_049_600, "1025k"), (1_048_577, "1048577")] {
            assert_eq!((size_text(bytes).as_str(), chunk_bytes(text)), (text, Some(bytes)));
        }
    }

    #[test]
    fn what_a_library_sets_stands_over_the_configuration_and_none_stands_over_a_name() {
        let defaults =
            Defaults::from([("migrate.remote", "cloud".to_owned()), ("migrate.key", "k".to_owned())]);
        let with = |own: &[(&str, &str)]| Effective {
            own: own.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            defaults: defaults.clone(),
        };
        assert_eq!((with(&[]).remote(), with(&[]).is_ejecting()), (Some("cloud"), true));
        let own = with(&[("migrate.remote", "here"), ("migrate.key", "none"), ("migrate.chunk_size", "64m")]);
        assert_eq!((own.remote(), own.key()), (Some("here"), None));
        let request = own.request("VTL001L8".parse().unwrap(), None);
        assert_eq!((request.chunk_bytes, request.key.as_deref()), (Some(67_108_864), Some("none")));
        assert_eq!(request.sign_with.as_deref(), Some("none"));
        assert_eq!(own.all()[..2], [("migrate.remote", "here", true), ("migrate.key", "none", true)]);
        assert!(!with(&[("migrate.remote", "none")]).is_ejecting());
        assert!(!with(&[("migrate.triggers", "none")]).is_ejecting());
        assert!(!with(&[("migrate.triggers", "full,idle:7d")]).is_ejecting());
        assert!(with(&[("migrate.triggers", "full,mailslot")]).is_ejecting());
    }
}
