//! Byte counts as operators write them: `64m`, `12t`, `4096`.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

/// A number of bytes. Suffixes k, m, g, t are powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(pub u64);

/// Why a text is not a byte count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SizeError {
    /// No digits, or something that is neither a digit nor one known suffix.
    Malformed(String),
    /// More than 2^64 - 1 bytes.
    TooLarge(String),
}

impl fmt::Display for SizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => {
                write!(f, "'{text}' is not a size: write a whole number and k, m, g or t, such as 64m")
            }
            Self::TooLarge(text) => write!(f, "'{text}' is too large for a size in bytes"),
        }
    }
}

impl core::error::Error for SizeError {}

impl FromStr for ByteCount {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let malformed = || SizeError::Malformed(text.to_string());
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = trimmed.split_at(digits);
        let shift = match suffix {
            "" => 0,
            "k" | "K" => 10,
            "m" | "M" => 20,
            "g" | "G" => 30,
            "t" | "T" => 40,
            _ => return Err(malformed()),
        };
        if number.is_empty() {
            return Err(malformed());
        }
        let too_large = || SizeError::TooLarge(text.to_string());
        let number: u64 = number.parse().map_err(|_| too_large())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(too_large)
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, char); 4] = [(40, 't'), (30, 'g'), (20, 'm'), (10, 'k')];
        for (shift, suffix) in UNITS {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_powers_of_1024() {
        assert_eq!("64m".parse(), Ok(ByteCount(67_108_864)));
        assert_eq!("12T".parse(), Ok(ByteCount(13_194_139_533_312)));
        assert_eq!("4096".parse(), Ok(ByteCount(4096)));
    }

    #[test]
    fn nonsense_and_overflow_are_told_apart() {
        for text in ["", "m", "-1", "1.5g", "64mb", "0x10"] {
            assert_eq!(text.parse::<ByteCount>(), Err(SizeError::Malformed(text.into())), "{text}");
        }
        for text in ["16777216t", "18446744073709551616"] {
            assert_eq!(text.parse::<ByteCount>(), Err(SizeError::TooLarge(text.into())), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_number(n: u64) {
            proptest::prop_assert_eq!(ByteCount(n).to_string().parse(), Ok(ByteCount(n)));
        }
    }
}
