//! The texts that a configuration is made of: the file and each `--set`, and where each key stands in them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    ops::Range,
    path::{Path, PathBuf},
};

use toml::{
    Table, Value,
    de::{DeTable, DeValue},
};

use crate::{
    error::{ConfError, ConfErrors, Origin},
    mirror::Mirror,
};

/// A configuration file is a page, not a book; anything larger is another file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A value from the command line: `--set KEY=VALUE`, or an option that stands for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The argument as it was given, for errors and [`crate::Config::effective`].
    argument: String,
    /// One line of TOML.
    text: String,
}

impl Assignment {
    /// `KEY=VALUE` of `--set`. The value is TOML (`true`, `12`, `["a", "b"]`); what is no TOML value is taken as a
    /// string, so that `--set library.default=none` needs no quotes.
    ///
    /// # Errors
    /// There is no `=`, or no key before it.
    pub fn parse(text: &str) -> Result<Self, ConfErrors> {
        let argument = format!("--set {text}").replace(char::is_control, " ");
        let (key, value) = split(text).ok_or_else(|| {
            ConfErrors::from(ConfError {
                origin: Origin::CommandLine(argument.clone()),
                key: String::new(),
                value: String::new(),
                problem: "there is no KEY=VALUE".to_owned(),
                remedy: "write for example --set log.level=debug".to_owned(),
            })
        })?;
        let value = match DeValue::parse(value) {
            Ok(_) if !value.contains(['\n', '\r']) => value.to_owned(),
            _ => quoted(value),
        };
        Ok(Self { argument, text: format!("{key} = {value}") })
    }

    /// An option of the command line that names a path, such as `--state DIR` for `state`; relative to where the
    /// program was started, as everybody expects of an option.
    ///
    /// # Errors
    /// The working folder is gone.
    pub fn path(argument: &str, key: &str, path: &Path) -> std::io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self::string(argument, key, &path.display().to_string()))
    }

    /// An option of the command line that stands for a key, such as `--api ADDR:PORT` for `api.listen`.
    #[must_use]
    pub fn string(argument: &str, key: &str, value: &str) -> Self {
        Self { argument: argument.to_owned(), text: format!("{key} = {}", quoted(value)) }
    }

    /// The same for a repeated option, such as `--listen`.
    #[must_use]
    pub fn strings(argument: &str, key: &str, values: &[String]) -> Self {
        let list: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        Self { argument: argument.to_owned(), text: format!("{key} = [{}]", list.join(", ")) }
    }
}

/// At the first `=` that is not inside the quotes of an IQN.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    let at = text.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '=') => return Some(at),
            _ => {}
        }
        None
    })?;
    let (key, value) = text.split_at(at);
    let (key, value) = (key.trim(), value.get(1..)?.trim());
    (!key.is_empty() && !key.contains(['\n', '\r', '#'])).then_some((key, value))
}

/// A TOML basic string on one line, whatever is in it.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as TOML on one line.
pub(crate) fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(values) => format!("[{}]", values.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string().replace('\n', " "),
    }
}

/// A dotted key, word by word.
type KeyPath = Vec<String>;

#[derive(Debug)]
struct Document {
    source: Source,
    /// Start of each key's text, to the byte.
    keys: BTreeMap<KeyPath, Range<usize>>,
    text: String,
}

#[derive(Clone, Debug)]
enum Source {
    File(PathBuf),
    Argument(String),
}

/// All texts, the strongest last, and what they say together.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    documents: Vec<Document>,
    /// The last word on each key.
    pub merged: Table,
    /// Folder of the configuration file, for relative paths in it.
    pub folder: Option<PathBuf>,
}

impl Documents {
    pub fn read(file: Option<&Path>, command_line: &[Assignment]) -> Result<Self, ConfErrors> {
        let mut all = Self::default();
        let mut errors = Vec::new();
        if let Some(path) = file {
            all.folder = path.parent().map(Path::to_path_buf);
            let read = read_text(path);
            errors.extend(read.and_then(|text| all.add(Source::File(path.to_path_buf()), text)).err());
        }
        for Assignment { argument, text } in command_line {
            errors.extend(all.add(Source::Argument(argument.clone()), text.clone()).err());
        }
        match errors.is_empty() {
            true => Ok(all),
            false => Err(ConfErrors(errors.into_iter().flat_map(|e| e.0).collect())),
        }
    }

    fn add(&mut self, source: Source, text: String) -> Result<(), ConfErrors> {
        let mut document = Document { source, keys: BTreeMap::new(), text };
        let parsed = {
            let root = DeTable::parse(&document.text).map_err(|e| document.error(&e))?;
            let mut keys = BTreeMap::new();
            note_keys(root.get_ref(), &[], &mut keys);
            document.keys = keys;
            // Each text by itself, so that an unknown key is told with its own line.
            let _: Mirror = toml::from_str(&document.text).map_err(|e| document.error(&e))?;
            toml::from_str::<Table>(&document.text).map_err(|e| document.error(&e))?
        };
        merge(&mut self.merged, parsed);
        self.documents.push(document);
        Ok(())
    }

    /// Who has the last word on a key.
    pub fn origin(&self, path: &[&str]) -> Origin {
        let path: KeyPath = path.iter().map(|word| (*word).to_owned()).collect();
        let speaker = self.documents.iter().rev().find_map(|d| d.keys.get(&path).map(|at| (d, at)));
        speaker.map_or(Origin::Default, |(document, at)| document.origin(at.start))
    }
}

fn read_text(path: &Path) -> Result<String, ConfErrors> {
    let unreadable = |problem: String, remedy: &str| {
        ConfErrors::from(ConfError {
            origin: Origin::File { path: path.to_path_buf(), line: 0 },
            key: String::new(),
            value: String::new(),
            problem,
            remedy: remedy.to_owned(),
        })
    };
    let failed = |error: std::io::Error| {
        unreadable(
            format!("cannot read the configuration file: {error}"),
            "name a readable file with --config",
        )
    };
    // Opening a pipe would wait for its writer, so ask first; what is then opened is asked again.
    let is_file = |about: fs::Metadata| match about.is_file() {
        true => Ok(()),
        false => Err(unreadable("this is no regular file".to_owned(), "name a file of text with --config")),
    };
    is_file(fs::metadata(path).map_err(failed)?)?;
    let file = File::open(path).map_err(failed)?;
    is_file(file.metadata().map_err(failed)?)?;
    let mut text = String::new();
    // Some files of the kernel's have no end and the length 0.
    let len = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    match u64::try_from(len) {
        Ok(len) if len <= MAX_FILE_BYTES => Ok(text),
        _ => Err(unreadable("the file is longer than 1 MiB".to_owned(), "a configuration has at most 1 MiB")),
    }
}

fn note_keys(table: &DeTable<'_>, above: &[String], keys: &mut BTreeMap<KeyPath, Range<usize>>) {
    for (key, value) in table {
        let mut path = above.to_vec();
        path.push(key.get_ref().to_string());
        keys.insert(path.clone(), key.span());
        if let DeValue::Table(inner) = value.get_ref() {
            note_keys(inner, &path, keys);
        }
    }
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

impl Document {
    fn origin(&self, byte: usize) -> Origin {
        match &self.source {
            Source::File(path) => Origin::File { path: path.clone(), line: self.line(byte) },
            Source::Argument(argument) => Origin::CommandLine(argument.clone()),
        }
    }

    fn line(&self, byte: usize) -> usize {
        self.text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
    }

    /// TOML's and serde's complaints.
    fn error(&self, error: &toml::de::Error) -> ConfErrors {
        let span = error.span().unwrap_or(0..0);
        let key = self.keys.iter().find(|(_, at)| at.start <= span.start && span.end <= at.end);
        let (problem, remedy) = match error.message().split_once(", expected ") {
            Some((problem, expected)) => (problem.to_owned(), format!("expected {expected}")),
            None => (error.message().to_owned(), "see docs/configuration.md for the keys".to_owned()),
        };
        // A text that is no TOML has no keys yet: show the spot instead.
        let spot = self.text.get(span.clone()).filter(|spot| key.is_none() && !spot.trim().is_empty());
        let problem = spot.map_or(problem.clone(), |spot| format!("{problem} at '{spot}'"));
        ConfErrors::from(ConfError {
            origin: self.origin(span.start),
            key: key.map(|(path, _)| dotted(path)).unwrap_or_default(),
            value: String::new(),
            problem: problem.replace('\n', " "),
            remedy: remedy.replace('\n', " "),
        })
    }
}

/// The path as TOML writes it: words with other characters are quoted.
pub(crate) fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let word = |word: &S| {
        let word = word.as_ref();
        let bare =
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        if bare { word.to_owned() } else { quoted(word) }
    };
    path.iter().map(word).collect::<Vec<_>>().join(".")
}
