//! Names and ids that are chosen once and then key everything else.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

/// The name of a library, such as `lib0`: it becomes part of the target's IQN, so RFC 7143's naming rules
/// (lower case, digits, hyphen) hold for it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LibraryName(String);

/// Why a text cannot name a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryNameError(String);

impl fmt::Display for LibraryNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' cannot name a library: write 1 to {} of a-z, 0-9 and '-', beginning with a letter; \
             'vault', 'none' and 'diag' are taken",
            self.0,
            LibraryName::MAX_LEN
        )
    }
}

impl core::error::Error for LibraryNameError {}

/// Words that commands and target names already use for something else.
const TAKEN: [&str; 3] = ["vault", "none", "diag"];

impl LibraryName {
    /// Most characters of a name; a target's IQN must stay below 223 bytes with room for more.
    pub const MAX_LEN: usize = 32;

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LibraryName {
    type Err = LibraryNameError;

    fn from_str(text: &str) -> Result<Self, LibraryNameError> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let known = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let fits = text.len() <= Self::MAX_LEN && !TAKEN.contains(&text);
        if starts_well && known && fits {
            Ok(Self(text.to_string()))
        } else {
            Err(LibraryNameError(text.to_string()))
        }
    }
}

impl fmt::Display for LibraryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LibraryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The random id of a cartridge for its whole life; the store's owner id, too. A label can be given again
/// after a cartridge was removed, an id cannot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CartridgeId(pub [u8; 16]);

impl fmt::Display for CartridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for CartridgeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_name_can_stand_in_an_iqn() {
        for good in ["lib0", "l", "tape-east-2", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert_eq!(good.parse::<LibraryName>().map(|n| n.to_string()), Ok(good.to_string()));
        }
        for bad in
            ["", "Lib0", "0lib", "-a", "a_b", "a.b", "a/b", "ä", "vault", "abcdefghijklmnopqrstuvwxyz0123456"]
        {
            assert!(bad.parse::<LibraryName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cartridge_id_prints_as_32_hex_digits() {
        let mut bytes = [0; 16];
        bytes[0] = 0x0a;
        bytes[15] = 0xff;
        assert_eq!(CartridgeId(bytes).to_string(), "0a0000000000000000000000000000ff");
    }
}
