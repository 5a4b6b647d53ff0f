//! Where a cartridge can be.

use core::fmt;

/// A place of one cartridge. Slots and mailslots count from 1, drives from 0, as operators and `mtx` count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A storage element of the library.
    Slot(u16),
    /// A data transfer element of the library.
    Drive(u16),
    /// An import/export element of the library.
    Mailslot(u16),
    /// Outside any library, still held here.
    Vault,
}

impl Place {
    /// The word of the place's kind in commands and JSON.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Slot(_) => "slot",
            Self::Drive(_) => "drive",
            Self::Mailslot(_) => "mailslot",
            Self::Vault => "vault",
        }
    }

    /// The number within its kind; the vault has none.
    #[must_use]
    pub const fn number(self) -> Option<u16> {
        match self {
            Self::Slot(n) | Self::Drive(n) | Self::Mailslot(n) => Some(n),
            Self::Vault => None,
        }
    }

    /// The place that `kind` and `number` name, if there is one.
    #[must_use]
    pub fn from_parts(kind: &str, number: Option<u16>) -> Option<Self> {
        match (kind, number) {
            ("slot", Some(n)) if n > 0 => Some(Self::Slot(n)),
            ("drive", Some(n)) => Some(Self::Drive(n)),
            ("mailslot", Some(n)) if n > 0 => Some(Self::Mailslot(n)),
            ("vault", None) => Some(Self::Vault),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number() {
            Some(n) => write!(f, "{}:{n}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

impl core::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        Self::from_parts(kind, number).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_place_reads_back_as_it_is_written() {
        for text in ["slot:1", "drive:0", "mailslot:4", "vault"] {
            assert_eq!(text.parse::<Place>().map(|p| p.to_string()), Ok(text.to_string()));
        }
    }

    #[test]
    fn slots_and_mailslots_have_no_number_zero() {
        for text in ["slot:0", "mailslot:0", "slot", "vault:1", "drive", "shelf:1", "slot:-1"] {
            assert_eq!(text.parse::<Place>(), Err(()), "{text}");
        }
    }
}
