//! Names of objects. A name that came from a manifest or a listing is checked here once; its type says that it is safe
//! to join to a folder, a bucket or a command line.

use std::fmt;

/// The longest name, in bytes. S3 allows 1,024 with the prefix.
pub const MAX_NAME: usize = 800;
/// The longest part between two separators, in bytes: what file systems allow.
pub const MAX_SEGMENT: usize = 255;
/// Files of a folder remote that are not complete begin so; no object may.
pub const PART_MARK: &str = ".vtl-part-";

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    name: String,
    reason: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot name an object: {}", self.name, self.reason)
    }
}

impl std::error::Error for NameError {}

/// The name of an object below a remote's own folder, such as `VTL001L8-20261126_014500/manifest.json`: segments
/// with one `/` between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks `name`.
    ///
    /// # Errors
    ///
    /// Empty or too long; an empty segment (a doubled, leading or trailing separator); `.` and `..`; control
    /// characters and `\`; white space at the edge of a segment; what folders use for files that are not complete.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        match fault(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(NameError { name: name.chars().take(MAX_NAME).collect(), reason }),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A folder of a remote: all of it, or what begins with some segments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder(Option<ObjectName>);

impl Folder {
    /// Everything on the remote.
    #[must_use]
    pub const fn all() -> Self {
        Self(None)
    }

    /// One folder; a separator at its end is taken as meant.
    ///
    /// # Errors
    ///
    /// As [`ObjectName::new`]. The empty text is the whole remote.
    pub fn new(name: &str) -> Result<Self, NameError> {
        match name.strip_suffix('/').unwrap_or(name) {
            "" => Ok(Self(None)),
            name => ObjectName::new(name).map(|name| Self(Some(name))),
        }
    }

    /// Its segments, `None` for the whole remote.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_ref().map(ObjectName::as_str)
    }

    /// The object `name` in this folder.
    ///
    /// # Errors
    ///
    /// As [`ObjectName::new`].
    pub fn object(&self, name: &str) -> Result<ObjectName, NameError> {
        match self.as_str() {
            None => ObjectName::new(name),
            Some(folder) => ObjectName::new(format!("{folder}/{name}")),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str().unwrap_or("everything"))
    }
}

fn fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME {
        return Some("it has more than 800 bytes");
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Some("it has a control character or a backslash");
    }
    name.split('/').find_map(segment_fault)
}

fn segment_fault(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        return Some("a separator is doubled, or stands at an end");
    }
    if segment.len() > MAX_SEGMENT {
        return Some("a part has more than 255 bytes");
    }
    if segment == "." || segment == ".." {
        return Some("a part is . or ..");
    }
    if segment.trim() != segment {
        return Some("a part begins or ends with white space");
    }
    segment.starts_with(PART_MARK).then_some("a part begins with .vtl-part-, which unfinished files have")
}

/// A remote's own folder and an object's name, joined by one separator: the key in a bucket. An empty folder adds none.
#[must_use]
pub fn key(prefix: &str, name: &str) -> String {
    match prefix.trim_matches('/') {
        "" => name.to_owned(),
        prefix => format!("{prefix}/{name}"),
    }
}

/// What rclone calls an object: `remote:path` and the name, joined by one separator, whatever the remote ends with.
#[must_use]
pub fn rclone_path(remote: &str, name: &str) -> String {
    format!("{}/{name}", remote.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_and_a_name_are_joined_by_one_separator() {
        let name = "CCC001L4-20200323_163122/CCC001L4.img.000000";
        for (remote, joined) in [
            ("gdrive:", "gdrive:/CCC001L4-20200323_163122/CCC001L4.img.000000"),
            ("gdrive:/", "gdrive:/CCC001L4-20200323_163122/CCC001L4.img.000000"),
            ("gcloud:vtlremote1", "gcloud:vtlremote1/CCC001L4-20200323_163122/CCC001L4.img.000000"),
            ("gcloud:vtlremote1/", "gcloud:vtlremote1/CCC001L4-20200323_163122/CCC001L4.img.000000"),
            ("gcloud:vtlremote1/a//", "gcloud:vtlremote1/a/CCC001L4-20200323_163122/CCC001L4.img.000000"),
        ] {
            assert_eq!(rclone_path(remote, name), joined);
        }
        for (prefix, joined) in [("", "m.json"), ("/", "m.json"), ("a", "a/m.json"), ("/a/b/", "a/b/m.json")]
        {
            assert_eq!(key(prefix, "m.json"), joined);
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder_or_hide() {
        for name in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a/.",
            "a\\b",
            "a\nb",
            "a/\u{7f}",
            "a\0",
            "\u{9b}x",
            " a",
            "a ",
            "a/ b",
            ".vtl-part-0",
            "a/.vtl-part-0",
        ] {
            assert!(ObjectName::new(name).is_err(), "{name:?}");
        }
        assert!(ObjectName::new("x".repeat(256)).is_err());
        assert!(ObjectName::new(vec!["x".repeat(200); 5].join("/")).is_err());
    }

    #[test]
    fn ordinary_names_are_taken_as_they_are() {
        for name in
            ["a", "a/b", "VTL001L8-20261126_014500/VTL001L8.img.000000", "-x", "a b/ü%\"*[c]", "...", ".a"]
        {
            assert_eq!(ObjectName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_folder_is_everything_or_checked_segments() {
        assert_eq!(Folder::new("").unwrap(), Folder::all());
        assert_eq!(Folder::new("a/b/").unwrap().as_str(), Some("a/b"));
        assert!(Folder::new("a//").is_err() && Folder::new("../x").is_err());
        assert_eq!(Folder::new("a").unwrap().object("b").unwrap().as_str(), "a/b");
        assert!(Folder::new("a").unwrap().object("../b").is_err());
    }
}
