//! Names of users.

use std::fmt;
use std::str::FromStr;

/// The longest name.
const MOST: usize = 64;

/// 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-` and `@`, a letter or digit first. Capitals are taken as small letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let is_usual = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        if begins && name.len() <= MOST && name.bytes().all(is_usual) {
            return Ok(Self(name));
        }
        let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
        Err(format!("'{shown}' is no name of a user"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_small_letters_and_nothing_that_breaks_a_line_or_a_path() {
        assert_eq!("Alice@Example.org".parse::<UserName>().unwrap().as_str(), "alice@example.org");
        for bad in ["", ".hidden", "a b", "a/b", "a\nb", "ä", &"a".repeat(65)] {
            let told = bad.parse::<UserName>().unwrap_err();
            assert!(told.contains("no name of a user") && !told.contains('\n'), "{told}");
        }
    }
}
