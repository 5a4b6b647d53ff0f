//! Big-endian fields out of bytes that a peer sent: a missing byte is an answer, not a panic.

use alloc::vec::Vec;

use crate::command::Cdb;

/// The byte at `at`.
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The two bytes from `at` on.
pub(crate) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

/// The eight bytes from `at` on.
pub(crate) fn be64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_be_bytes)
}

/// `N` bytes from `at` on.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// `text` as a field of `width` bytes: left-aligned ASCII, filled with blanks (SPC-4, left-aligned ASCII fields).
pub(crate) fn padded(text: &str, width: usize) -> Vec<u8> {
    let printable = |b: u8| if (0x20..0x7f).contains(&b) { b } else { b' ' };
    text.bytes().map(printable).chain(core::iter::repeat(b' ')).take(width).collect()
}

/// A length as a 16-bit field; what we build is far below that, a foreign count is cut.
pub(crate) fn len16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// A length as a 32-bit field.
pub(crate) fn len32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Cdb {
    /// The byte at `at`; there are sixteen.
    #[must_use]
    pub fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// Whether `bit` of the byte at `at` is set.
    #[must_use]
    pub fn bit(&self, at: usize, bit: u8) -> bool {
        self.byte(at) & (1 << (bit & 7)) != 0
    }

    /// A 16-bit field.
    #[must_use]
    pub fn be16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.byte(at), self.byte(at + 1)])
    }

    /// A 24-bit field.
    #[must_use]
    pub fn be24(&self, at: usize) -> u32 {
        u32::from_be_bytes([0, self.byte(at), self.byte(at + 1), self.byte(at + 2)])
    }

    /// A 32-bit field.
    #[must_use]
    pub fn be32(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.byte(at), self.byte(at + 1), self.byte(at + 2), self.byte(at + 3)])
    }

    /// A 64-bit field.
    #[must_use]
    pub fn be64(&self, at: usize) -> u64 {
        u64::from(self.be32(at)) << 32 | u64::from(self.be32(at + 4))
    }
}
