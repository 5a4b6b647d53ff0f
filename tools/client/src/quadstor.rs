//! `vtl config import-quadstor`: the configuration of an older product, in the words of this one.
//!
//! Two files are known: `quadstor.conf` of its daemon and `rclone.conf` of its migration script (not rclone's own file of that name). Both have lines
//! `KEY=VALUE`. [`KEYS`] is the one table of what is known; what is not in it, and a value that can mean two things, is named and not taken over.

use serde::Serialize;

/// What came of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The new configuration.
    pub toml: String,
    /// What must be done before a server reads it.
    pub commands: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Lines that are not in the new configuration.
    pub not_taken_over: Vec<NotTaken>,
}

/// A line that is not in the new configuration, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotTaken {
    /// The file.
    pub file: String,
    /// Its number, from 1.
    pub line: usize,
    /// As it stands there.
    pub text: String,
    /// Why.
    pub why: String,
}

/// What a line means here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Section, key and value, as TOML.
    Set(&'static str, &'static str, String),
    /// A remote of rclone, with a path on it.
    Remote(String),
    /// Flags for every call of rclone.
    Flags(Vec<String>),
    /// The name of a key file.
    Key(String),
    /// It is so here without a word, or somebody should know something.
    Note(String),
}

type Meaning = fn(&str) -> Result<Part, String>;

/// Every key that is known.
const KEYS: &[(&str, Meaning)] = &[
    ("PostVaultCmd", post_vault),
    ("MaxVCartSize", |value| Ok(Part::Set("cartridge", "size", sized(value, "g", 64 << 10)?))),
    ("EWSize", |value| Ok(Part::Set("cartridge", "early_warning", sized(value, "m", 64 << 10)?))),
    ("UseFreeSlot", use_free_slot),
    ("rcloneflags", flags),
    ("remotename", remote),
    ("chunksize", chunk_size),
    ("enckey", key),
    ("compressdata", |value| word(value, "compress", "\"none\"", "\"zstd\"")),
    ("deleteexport", |value| word(value, "delete_after_export", "false", "true")),
    ("deleteimport", |value| word(value, "delete_clean_import", "false", "true")),
    ("createspare", |value| word(value, "create_spare", "false", "true")),
    ("cachedir", |value| Ok(Part::Set("migrate", "staging_dir", absolute(value)?))),
    ("skipmd5check", |value| word(value, "verify", "\"remote-hash\"", "\"none\"")),
];

/// Sections in the order in which they are printed.
const SECTIONS: [&str; 3] = ["cartridge", "migrate", "hooks"];
/// The script of the older product that did what the server does itself.
const OWN_SCRIPT: &str = "cloudmigrate.sh";
/// The most that an object may have, in mebibytes.
const MAX_CHUNK_MIB: u64 = 1 << 20;

/// One line that is understood.
struct Taken<'a> {
    source: Source<'a>,
    key: &'static str,
    part: Part,
}

/// A line of a file.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a str,
    number: usize,
    text: &'a str,
}

impl Source<'_> {
    fn refused(self, why: impl Into<String>) -> NotTaken {
        let text = match self.text.split_once('=') {
            Some((name, value)) if is_secret(value) => format!("{name}=..."),
            _ => self.text.to_owned(),
        };
        NotTaken { file: self.file.to_owned(), line: self.number, text, why: why.into() }
    }
}

/// Whether there is a flag in it that may carry a secret: such is printed nowhere.
fn is_secret(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    ["pass", "secret", "token", "access-key", "account-key"].iter().any(|word| value.contains(word))
}

/// Reads files, given as name and text.
#[must_use]
pub fn import(files: &[(String, String)]) -> Imported {
    let mut taken: Vec<Taken<'_>> = Vec::new();
    let mut not_taken_over = Vec::new();
    let lines = files.iter().flat_map(|(file, text)| {
        text.lines().zip(1..).map(move |(text, number)| Source { file, number, text: text.trim() })
    });
    for source in lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#')) {
        match understood(source, &taken) {
            Ok(Some(one)) => taken.push(one),
            Ok(None) => {}
            Err(why) => not_taken_over.push(source.refused(why)),
        }
    }
    let commands = commands(&taken, &mut not_taken_over);
    let notes = taken.iter().filter_map(note).collect();
    Imported { toml: toml(&taken), commands, notes, not_taken_over }
}

/// None: the same stands there already.
fn understood<'a>(source: Source<'a>, before: &[Taken<'a>]) -> Result<Option<Taken<'a>>, String> {
    let (name, value) = source.text.split_once('=').ok_or("it is no line KEY=VALUE")?;
    let name = name.trim();
    let (key, meaning) =
        KEYS.iter().find(|(known, _)| *known == name).ok_or_else(|| format!("'{name}' is not known"))?;
    let part = meaning(unquoted(value.trim())?)?;
    match before.iter().find(|one| one.key == *key) {
        Some(other) if other.part == part => Ok(None),
        Some(Taken { source: Source { file, number, .. }, .. }) => {
            Err(format!("{file}:{number} says something else of '{key}', and was taken"))
        }
        None => Ok(Some(Taken { source, key, part })),
    }
}

fn unquoted(value: &str) -> Result<&str, String> {
    if value.chars().any(char::is_control) {
        return Err("there is a control character in it".to_owned());
    }
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    match inner.unwrap_or(value) {
        "" => Err("it has no value".to_owned()),
        value if value.contains(['"', '\'']) => Err("it has quotes inside".to_owned()),
        value => Ok(value),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn number(value: &str) -> Result<u64, String> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|_| digits).ok_or_else(|| format!("'{value}' is no whole number"))
}

fn sized(value: &str, unit: &str, most: u64) -> Result<String, String> {
    match number(value)? {
        size if (1..=most).contains(&size) => Ok(quoted(&format!("{size}{unit}"))),
        _ => Err(format!("1 to {most} is possible here")),
    }
}

fn absolute(value: &str) -> Result<String, String> {
    if value.starts_with('/') { Ok(quoted(value)) } else { Err("it is no absolute path".to_owned()) }
}

/// A switch of `migrate`.
fn word(value: &str, key: &'static str, off: &str, on: &str) -> Result<Part, String> {
    match value {
        "0" => Ok(Part::Set("migrate", key, off.to_owned())),
        "1" => Ok(Part::Set("migrate", key, on.to_owned())),
        _ => Err("it is neither 0 nor 1".to_owned()),
    }
}

fn post_vault(value: &str) -> Result<Part, String> {
    let path = absolute(value)?;
    if value.rsplit('/').next() == Some(OWN_SCRIPT) {
        return Ok(Part::Note(format!("the server does itself what {OWN_SCRIPT} did: no hook is set")));
    }
    Ok(Part::Set("hooks", "post_vault", path))
}

fn use_free_slot(value: &str) -> Result<Part, String> {
    match value {
        "1" => Ok(Part::Note("new cartridges go to a free slot, as they always do here".to_owned())),
        "0" => {
            Err("new cartridges go to a free slot here; move them: vtl cartridge move LABEL --to mailslot:N"
                .to_owned())
        }
        _ => Err("it is neither 0 nor 1".to_owned()),
    }
}

fn chunk_size(value: &str) -> Result<Part, String> {
    let size = value.strip_suffix('m').ok_or("it has no unit m")?;
    Ok(Part::Set("migrate", "chunk_size", sized(size, "m", MAX_CHUNK_MIB)?))
}

/// `NAME:` or `NAME:PATH`.
fn remote(value: &str) -> Result<Part, String> {
    match value.split_once(':') {
        Some((name, _)) if !name.is_empty() && !value.contains(char::is_whitespace) => {
            Ok(Part::Remote(value.to_owned()))
        }
        _ => Err("it is no remote of rclone such as gdrive: or gcloud:bucket".to_owned()),
    }
}

/// The old script gave them to a shell; here each is one argument, so what a shell would change is not taken.
fn flags(value: &str) -> Result<Part, String> {
    if value.contains(['$', '`', '\\', '*', '?', ';', '&', '|', '<', '>', '(', ')', '~']) {
        return Err("a shell would change it; give each flag with --rclone-flag".to_owned());
    }
    if is_secret(value) {
        return Err("it may carry a secret, which belongs into rclone's own file of mode 0600".to_owned());
    }
    Ok(Part::Flags(one_word_each(value)))
}

/// Each flag with its value in one word, as remotes take it.
fn one_word_each(value: &str) -> Vec<String> {
    let mut flags: Vec<String> = Vec::new();
    for word in value.split_whitespace() {
        match flags.last_mut() {
            Some(flag) if !word.starts_with('-') && !flag.contains('=') => flag.extend(["=", word]),
            _ => flags.push(word.to_owned()),
        }
    }
    flags
}

fn key(value: &str) -> Result<Part, String> {
    if is_name(value) {
        Ok(Part::Key(value.to_owned()))
    } else {
        Err("it is no name that a key can have here: letters, digits, '-', '_' and '.'".to_owned())
    }
}

/// What names of remotes and keys are here.
fn is_name(text: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(right)
        && !text.contains("..")
        && text != "none"
}

/// The remote's name here: that of rclone's, if it can be.
fn remote_name(remote: &str) -> &str {
    remote.split(':').next().filter(|name| is_name(name)).unwrap_or("imported")
}

fn toml(taken: &[Taken<'_>]) -> String {
    let mut text = String::new();
    for section in SECTIONS {
        let lines: Vec<String> = taken.iter().filter_map(|one| line_of(section, one)).collect();
        if !lines.is_empty() {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{section}]\n{}\n", lines.join("\n")));
        }
    }
    text
}

fn line_of(section: &str, one: &Taken<'_>) -> Option<String> {
    let Source { file, number, .. } = one.source;
    let (of, key, value) = match &one.part {
        Part::Set(of, key, value) => (*of, *key, value.clone()),
        Part::Remote(remote) => ("migrate", "remote", quoted(remote_name(remote))),
        Part::Key(name) => ("migrate", "key", quoted(name)),
        Part::Flags(_) | Part::Note(_) => return None,
    };
    (of == section).then(|| format!("{key} = {value}  # {file}:{number}, {}", one.key))
}

fn note(one: &Taken<'_>) -> Option<String> {
    let Source { file, number, .. } = one.source;
    match &one.part {
        Part::Note(text) => Some(format!("{file}:{number}, {}: {text}", one.key)),
        Part::Set("hooks", ..) => Some(format!(
            "{file}:{number}, {}: what the program is given stands in docs/hooks.md, and is not what it was",
            one.key
        )),
        _ => None,
    }
}

fn commands(taken: &[Taken<'_>], not_taken_over: &mut Vec<NotTaken>) -> Vec<String> {
    let flags = taken.iter().find_map(|one| match &one.part {
        Part::Flags(flags) => Some((one.source, flags)),
        _ => None,
    });
    let remote = taken.iter().find_map(|one| match &one.part {
        Part::Remote(remote) => Some(remote),
        _ => None,
    });
    let mut commands = Vec::new();
    match (remote, flags) {
        (Some(remote), flags) => {
            let flags = flags.map(|(_, flags)| flags.as_slice()).unwrap_or_default();
            let flags: String =
                flags.iter().map(|flag| format!(" {}", shell(&format!("--rclone-flag={flag}")))).collect();
            commands.push(format!(
                "vtl remote create {} --type rclone --rclone-remote {}{flags}",
                remote_name(remote),
                shell(remote)
            ));
        }
        (None, Some((source, _))) => {
            not_taken_over.push(source.refused("there is no remotename that it belongs to"))
        }
        (None, None) => {}
    }
    commands.extend(taken.iter().filter_map(|one| match &one.part {
        Part::Key(name) => Some(format!("vtl key import KEYSTORE/{name} --name {name}")),
        _ => None,
    }));
    commands
}

/// One word for a shell.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

impl Imported {
    /// As people read it, and as a configuration file: all but the TOML are comments.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |title: &str, lines: Vec<String>| match lines.is_empty() {
            true => String::new(),
            false => format!(
                "\n# {title}\n{}\n",
                lines.iter().map(|line| format!("#   {line}")).collect::<Vec<_>>().join("\n")
            ),
        };
        let keystore = self.commands.iter().any(|command| command.contains("KEYSTORE/"));
        let title = match keystore {
            true => {
                "Run these before the server reads this file (KEYSTORE: the old server's folder of keys, on this machine):"
            }
            false => "Run these before the server reads this file:",
        };
        [
            self.toml.clone(),
            list(title, self.commands.clone()),
            list("Good to know:", self.notes.clone()),
            list("Not taken over:", self.not_taken_over.iter().map(NotTaken::told).collect()),
        ]
        .concat()
    }
}

impl NotTaken {
    fn told(&self) -> String {
        format!("{}:{}: {}: {}", self.file, self.line, self.text, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(file: &str, text: &str) -> Imported {
        import(&[(file.to_owned(), text.to_owned())])
    }

    #[test]
    fn both_files_become_one_configuration_with_the_commands_that_come_first() {
        let daemon =
            "# the daemon\nPostVaultCmd=/usr/local/bin/tell\nMaxVCartSize=100\nEWSize = 800\nUseFreeSlot=1\n";
        let script = "rcloneflags=--config /root/rclone.conf --bwlimit=10M\nremotename=gcloud:vtlremote1\nchunksize=10240m\nenckey=key.pem\ncompressdata=1\n\
                      deleteexport=1\ndeleteimport=0\ncreatespare=1\ncachedir=\"/var/cache/migrate tmp\"\nskipmd5check=0\n";
        let files =
            [("quadstor.conf".to_owned(), daemon.to_owned()), ("rclone.conf".to_owned(), script.to_owned())];
        let imported = import(&files);
        assert_eq!(
            imported.toml,
            "[cartridge]\n\
             size = \"100g\"  # quadstor.conf:3, MaxVCartSize\n\
             early_warning = \"800m\"  # quadstor.conf:4, EWSize\n\
             \n[migrate]\n\
             remote = \"gcloud\"  # rclone.conf:2, remotename\n\
             chunk_size = \"10240m\"  # rclone.conf:3, chunksize\n\
             key = \"key.pem\"  # rclone.conf:4, enckey\n\
             compress = \"zstd\"  # rclone.conf:5, compressdata\n\
             delete_after_export = true  # rclone.conf:6, deleteexport\n\
             delete_clean_import = false  # rclone.conf:7, deleteimport\n\
             create_spare = true  # rclone.conf:8, createspare\n\
             staging_dir = \"/var/cache/migrate tmp\"  # rclone.conf:9, cachedir\n\
             verify = \"remote-hash\"  # rclone.conf:10, skipmd5check\n\
             \n[hooks]\n\
             post_vault = \"/usr/local/bin/tell\"  # quadstor.conf:2, PostVaultCmd\n"
        );
        assert_eq!(
            imported.commands,
            [
                "vtl remote create gcloud --type rclone --rclone-remote gcloud:vtlremote1 \
                 --rclone-flag=--config=/root/rclone.conf --rclone-flag=--bwlimit=10M",
                "vtl key import KEYSTORE/key.pem --name key.pem",
            ]
        );
        assert_eq!(imported.not_taken_over, []);
        let text = imported.text();
        let comments = text.strip_prefix(&imported.toml).unwrap();
        assert!(comments.lines().all(|line| line.is_empty() || line.starts_with('#')), "{comments}");
    }

    #[test]
    fn the_other_side_of_each_switch_and_the_products_own_script() {
        let imported = of(
            "f",
            "PostVaultCmd=/quadstorvtl/bin/cloudmigrate.sh\nremotename='gdrive:'\ncompressdata=0\ndeleteexport=0\ndeleteimport=1\ncreatespare=0\nskipmd5check=1\n",
        );
        assert_eq!(
            imported.toml,
            "[migrate]\n\
             remote = \"gdrive\"  # f:2, remotename\n\
             compress = \"none\"  # f:3, compressdata\n\
             delete_after_export = false  # f:4, deleteexport\n\
             delete_clean_import = true  # f:5, deleteimport\n\
             create_spare = false  # f:6, createspare\n\
             verify = \"none\"  # f:7, skipmd5check\n"
        );
        assert!(imported.notes[0].contains("does itself what cloudmigrate.sh did"), "{:?}", imported.notes);
    }

    #[test]
    fn what_is_not_known_or_can_mean_two_things_is_named_with_its_line_and_nothing_is_guessed() {
        for (line, why) in [
            ("EmulateHH=1", "'EmulateHH' is not known"),
            ("postvaultcmd=/x", "'postvaultcmd' is not known"),
            ("just words", "no line KEY=VALUE"),
            ("[gdrive]", "no line KEY=VALUE"),
            ("UseFreeSlot=0", "new cartridges go to a free slot here"),
            ("MaxVCartSize=1.5", "no whole number"),
            ("MaxVCartSize=0", "1 to 65536"),
            ("chunksize=10240", "no unit m"),
            ("chunksize=0m", "1 to 1048576"),
            ("chunksize=10g", "no unit m"),
            ("enckey=../key.pem", "no name that a key can have"),
            ("compressdata=yes", "neither 0 nor 1"),
            ("cachedir=migratetmp", "no absolute path"),
            ("remotename=/srv/folder", "no remote of rclone"),
            ("remotename=", "it has no value"),
            ("rcloneflags=--config $HOME/x", "a shell would change it"),
            ("rcloneflags=--user-agent \"a b\"", "quotes inside"),
            ("enckey=none", "no name that a key can have"),
            ("rcloneflags=--fast-list", "no remotename that it belongs to"),
            ("PostVaultCmd=tell", "no absolute path"),
        ] {
            let imported = of("old", &format!("# a comment\n\n{line}\n"));
            let [not] = imported.not_taken_over.as_slice() else { panic!("{line}: {imported:?}") };
            assert_eq!((not.file.as_str(), not.line, not.text.as_str()), ("old", 3, line));
            assert!(not.why.contains(why), "{line}: {}", not.why);
            assert_eq!((imported.toml.as_str(), imported.commands.len()), ("", 0), "{line}");
            assert!(imported.text().contains(&format!("old:3: {line}: ")), "{line}");
        }
    }

    #[test]
    fn a_flag_that_may_carry_a_secret_is_printed_nowhere() {
        let imported = of("f", "remotename=gdrive:\nrcloneflags=--sftp-pass=made-up-7\n");
        let told = format!("{imported:?}{}", imported.text());
        assert!(!told.contains("made-up-7"), "{told}");
        let not = &imported.not_taken_over[0];
        assert_eq!((not.line, not.text.as_str()), (2, "rcloneflags=..."));
        assert!(not.why.contains("mode 0600"));
    }

    #[test]
    fn a_key_that_comes_twice_counts_once_and_the_second_is_named_when_it_says_something_else() {
        let same = of("f", "createspare=1\ncreatespare=1\n");
        assert_eq!((same.toml.lines().count(), same.not_taken_over.len()), (2, 0));
        let other = of("f", "createspare=1\ncreatespare=0\n");
        assert!(other.toml.contains("create_spare = true"));
        assert!(other.not_taken_over[0].why.contains("f:1 says something else"), "{other:?}");
    }
}
