//! Names that operators give to remotes and keys.

use std::fmt;
use std::str::FromStr;

/// A name such as `offsite-1`. It may become a file's name, so it has no separator and is neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GivenName(String);

/// Longer names do not fit into lists.
const MAX_LEN: usize = 64;
/// Settings say so that there is none.
const TAKEN: &str = "none";

/// How to write one.
pub const HOW: &str = "write 1 to 64 of A-Z, a-z, 0-9, '-', '_' and '.', beginning with a letter or a digit, without '..', such as off-site; \
                       'none' is taken";

/// Why a text is no such name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadName(String);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no name", self.0.escape_debug())
    }
}

impl std::error::Error for BadName {}

impl GivenName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GivenName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well
            && text != TAKEN
            && text.len() <= MAX_LEN
            && text.bytes().all(known)
            && !text.contains("..")
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }
}

impl fmt::Display for GivenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GivenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_lead_out_of_a_folder() {
        for good in ["offsite", "s3.eu-1", "K", "2026_backup"] {
            assert_eq!(good.parse::<GivenName>().map(|name| name.to_string()), Ok(good.to_owned()));
        }
        let long = "x".repeat(65);
        for bad in ["", ".", "..", "a/b", "../k", "a..b", ".hidden", "-x", "a b", "ä", "a\n", "none", &long]
        {
            assert!(bad.parse::<GivenName>().is_err(), "{bad}");
        }
    }
}
