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
        write!(f, "'{}' cannot name a library", self.0)
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
        if is_word(text) && !TAKEN.contains(&text) {
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

/// The name of a pool, such as `default` or `archive`. The same letters as in [`LibraryName`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

/// Why a text cannot name a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNameError(String);

impl fmt::Display for PoolNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' cannot name a pool", self.0)
    }
}

impl core::error::Error for PoolNameError {}

impl PoolName {
    /// The pool that the configuration describes.
    pub const DEFAULT: &'static str = "default";

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the pool that the configuration describes.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == Self::DEFAULT
    }
}

impl Default for PoolName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_string())
    }
}

impl FromStr for PoolName {
    type Err = PoolNameError;

    fn from_str(text: &str) -> Result<Self, PoolNameError> {
        if is_word(text) && !["all", "none"].contains(&text) {
            Ok(Self(text.to_string()))
        } else {
            Err(PoolNameError(text.to_string()))
        }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_word(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    let known = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    starts_well && known && text.len() <= LibraryName::MAX_LEN
}

/// The random id of a cartridge for its whole life; the store's owner id, too. A label can be given again
/// after a cartridge was removed, an id cannot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CartridgeId(pub [u8; 16]);

/// Why a text is no id of a cartridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartridgeIdError(String);

impl fmt::Display for CartridgeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no id of a cartridge", self.0)
    }
}

impl core::error::Error for CartridgeIdError {}

impl FromStr for CartridgeId {
    type Err = CartridgeIdError;

    fn from_str(text: &str) -> Result<Self, CartridgeIdError> {
        let id = u128::from_str_radix(text, 16).map(|value| Self(value.to_be_bytes()));
        // Only the form that is written: no capital letters, no sign, no digit less.
        id.ok().filter(|id| id.to_string() == text).ok_or_else(|| CartridgeIdError(text.to_string()))
    }
}

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
    fn a_pool_name_is_a_word_that_means_no_set_of_pools() {
        for good in ["default", "archive", "p-2"] {
            assert_eq!(good.parse::<PoolName>().map(|n| n.to_string()), Ok(good.to_string()));
        }
        for bad in ["", "Fast", "2p", "a/b", "all", "none", "abcdefghijklmnopqrstuvwxyz0123456"] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
        assert!(PoolName::default().is_default());
    }

    #[test]
    fn a_cartridge_id_prints_as_32_hex_digits() {
        let mut bytes = [0; 16];
        bytes[0] = 0x0a;
        bytes[15] = 0xff;
        assert_eq!(CartridgeId(bytes).to_string(), "0a0000000000000000000000000000ff");
    }

    #[test]
    fn a_cartridge_id_is_read_in_the_form_in_which_it_is_written_and_in_no_other() {
        let text = "0a0000000000000000000000000000ff";
        assert_eq!(text.parse::<CartridgeId>().unwrap().to_string(), text);
        for wrong in [
            "",
            "VTL001L8",
            "a0000000000000000000000000000ff",
            "00a0000000000000000000000000000ff",
            "0A0000000000000000000000000000FF",
            "+a0000000000000000000000000000ff",
            "0a0000000000000000000000000000fg",
        ] {
            let error = wrong.parse::<CartridgeId>().unwrap_err();
            assert_eq!(error.to_string(), format!("'{wrong}' is no id of a cartridge"));
        }
    }
}
