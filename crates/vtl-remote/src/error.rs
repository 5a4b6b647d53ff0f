//! What can go wrong with a remote, and whether trying again helps.

use std::fmt;
use std::time::Duration;

use crate::name::ObjectName;

/// At most so many characters of what a remote said go into an error.
const MAX_DETAIL: usize = 1_000;

/// What kind of trouble it is. A loop that retries asks [`Class::is_retryable`] and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// There is no such object. Bucket or folder are there.
    NotThere,
    /// A create-only put found an object of that name.
    AlreadyThere,
    /// The asked range ends after the object.
    OutOfRange,
    /// Credentials or rights do not suffice.
    Denied,
    /// Settings cannot work: an unknown host name, bucket, program, option, a bad file.
    Misconfigured,
    /// The remote refuses for another reason that will not pass.
    Refused,
    /// The remote asks for fewer requests.
    Throttled,
    /// No connection, no answer in time, an error of the server's own.
    Unavailable,
    /// The transfer ended before its end.
    Interrupted,
    /// What is there differs from what was sent.
    Damaged,
    /// The remote tells no hash that could be compared.
    Unverifiable,
    /// The remote has no room left.
    Full,
    /// The body that the caller gave is not what the caller said, or cannot be read.
    Source,
    /// Something on this machine: a spool folder, a program that cannot be started.
    Local,
    /// The driver cannot do this.
    Unsupported,
}

/// Class, whether a retry helps, and the word for it: the only place where this is decided.
const CLASSES: &[(Class, bool, &str)] = &[
    (Class::NotThere, false, "not there"),
    (Class::AlreadyThere, false, "already there"),
    (Class::OutOfRange, false, "out of range"),
    (Class::Denied, false, "denied"),
    (Class::Misconfigured, false, "misconfigured"),
    (Class::Refused, false, "refused"),
    (Class::Throttled, true, "throttled"),
    (Class::Unavailable, true, "unavailable"),
    (Class::Interrupted, true, "interrupted"),
    (Class::Damaged, true, "damaged"),
    (Class::Unverifiable, false, "unverifiable"),
    (Class::Full, true, "full"),
    (Class::Source, false, "bad source"),
    (Class::Local, false, "local"),
    (Class::Unsupported, false, "unsupported"),
];

impl Class {
    fn row(self) -> Option<&'static (Self, bool, &'static str)> {
        CLASSES.iter().find(|(class, ..)| *class == self)
    }

    /// True when the same call may succeed later.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        self.row().is_some_and(|(_, retry, _)| *retry)
    }

    /// The word that lists and logs show.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.row().map_or("unknown", |(.., word)| word)
    }
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    /// Reading settings and credentials.
    Open,
    /// Sending an object.
    Put,
    /// Sending an object that must be new.
    Create,
    /// Fetching bytes.
    Get,
    /// Asking for the size.
    Head,
    /// Asking for hashes.
    Hash,
    /// Listing.
    List,
    /// Deleting.
    Delete,
    /// Giving up a half-sent object.
    Abandon,
    /// Comparing what is there with what was sent.
    Verify,
}

impl Doing {
    const fn word(self) -> &'static str {
        match self {
            Self::Open => "opening",
            Self::Put => "putting",
            Self::Create => "creating",
            Self::Get => "getting",
            Self::Head => "asking for the size of",
            Self::Hash => "asking for the hash of",
            Self::List => "listing",
            Self::Delete => "deleting",
            Self::Abandon => "abandoning",
            Self::Verify => "verifying",
        }
    }
}

/// A failed call on a remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    class: Class,
    doing: Doing,
    remote: String,
    object: Option<String>,
    detail: String,
    exit_code: Option<u8>,
    retry_after: Option<Duration>,
    setting: Option<&'static str>,
}

impl Error {
    /// An error of `class`; `detail` says what happened and what to do. It is cut to a bounded length, and control
    /// characters in it are replaced, because it may come from the remote.
    pub fn new(class: Class, doing: Doing, detail: impl AsRef<str>) -> Self {
        Self {
            class,
            doing,
            remote: String::new(),
            object: None,
            detail: printable(detail.as_ref(), MAX_DETAIL),
            exit_code: None,
            retry_after: None,
            setting: None,
        }
    }

    /// The remote's name as the operator gave it.
    #[must_use]
    pub fn on(mut self, remote: &str) -> Self {
        remote.clone_into(&mut self.remote);
        self
    }

    /// The object or folder concerned.
    #[must_use]
    pub fn of(mut self, object: impl fmt::Display) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// The setting that is wrong, by the name of its field.
    #[must_use]
    pub const fn of_setting(mut self, setting: &'static str) -> Self {
        self.setting = Some(setting);
        self
    }

    /// The exit code of the program that failed.
    #[must_use]
    pub const fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = Some(code);
        self
    }

    /// How long the remote asks us to wait.
    #[must_use]
    pub const fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// The kind of trouble.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }

    /// What was being done.
    #[must_use]
    pub const fn doing(&self) -> Doing {
        self.doing
    }

    /// What happened, without remote and object.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The exit code of the program that failed, for drivers that run one.
    #[must_use]
    pub const fn exit_code(&self) -> Option<u8> {
        self.exit_code
    }

    /// The setting that is wrong, when it is one.
    #[must_use]
    pub const fn setting(&self) -> Option<&'static str> {
        self.setting
    }

    /// How long the remote asks us to wait, when it said so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// True when the same call may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.class.is_retryable()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.remote.is_empty() {
            write!(f, "remote {}: ", self.remote)?;
        }
        write!(f, "{}", self.doing.word())?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        write!(f, ": {}: {}", self.class.word(), self.detail)?;
        if let Some(code) = self.exit_code {
            write!(f, " (exit code {code})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Names a call, so that its errors name remote and object. Drivers make one for each call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub doing: Doing,
    remote: String,
    object: String,
}

impl Call {
    pub fn new(remote: &str, doing: Doing, object: &ObjectName) -> Self {
        Self { doing, remote: remote.to_owned(), object: object.as_str().to_owned() }
    }

    /// For streams that pass through hands which know neither remote nor object.
    pub const fn unnamed(doing: Doing) -> Self {
        Self { doing, remote: String::new(), object: String::new() }
    }

    pub fn on_folder(remote: &str, doing: Doing, folder: &crate::name::Folder) -> Self {
        Self { doing, remote: remote.to_owned(), object: folder.to_string() }
    }

    pub fn fail(&self, class: Class, detail: impl AsRef<str>) -> Error {
        self.name(Error::new(class, self.doing, detail))
    }

    pub fn name(&self, error: Error) -> Error {
        let error = Error { doing: self.doing, ..error };
        if self.object.is_empty() { error } else { error.on(&self.remote).of(&self.object) }
    }

    /// An error of the file system on this side of a folder remote.
    pub fn io(&self, error: &std::io::Error) -> Error {
        self.fail(class_of_io(error), error.to_string())
    }
}

/// What an error of the file system of a folder remote means.
pub(crate) fn class_of_io(error: &std::io::Error) -> Class {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => Class::NotThere,
        Kind::AlreadyExists => Class::AlreadyThere,
        Kind::PermissionDenied => Class::Denied,
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Class::Full,
        Kind::ReadOnlyFilesystem | Kind::InvalidFilename | Kind::NotADirectory | Kind::IsADirectory => {
            Class::Refused
        }
        // A network file system that is away, a disk that fails: it may be back.
        _ => Class::Unavailable,
    }
}

/// `text` without control characters, at most `most` characters of its end: programs say last what went wrong.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let text = text.trim();
    let count = text.chars().count();
    let cut = text.chars().skip(count.saturating_sub(most));
    cut.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_one_row_and_only_what_may_pass_is_retried() {
        let retried: Vec<Class> =
            CLASSES.iter().map(|(class, ..)| *class).filter(|class| class.is_retryable()).collect();
        let expected =
            [Class::Throttled, Class::Unavailable, Class::Interrupted, Class::Damaged, Class::Full];
        assert_eq!(retried, expected);
        for (class, ..) in CLASSES {
            assert_eq!(CLASSES.iter().filter(|(other, ..)| other == class).count(), 1, "{class:?}");
        }
    }

    #[test]
    fn an_error_names_remote_object_class_and_exit_code() {
        let error = Error::new(Class::Refused, Doing::Put, "no more today").on("cloud").of("a/b");
        assert_eq!(error.to_string(), "remote cloud: putting a/b: refused: no more today");
        assert_eq!(
            error.with_exit_code(7).to_string(),
            "remote cloud: putting a/b: refused: no more today (exit code 7)"
        );
    }

    #[test]
    fn what_a_remote_says_is_bounded_and_cannot_move_the_cursor() {
        let said = format!("{}\u{1b}[2Jlast\nwords", "x".repeat(5_000));
        let error = Error::new(Class::Refused, Doing::Get, said);
        assert_eq!(error.detail().chars().count(), MAX_DETAIL);
        assert!(error.detail().ends_with(" [2Jlast words"), "{}", error.detail());
    }
}
