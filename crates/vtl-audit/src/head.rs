//! The anchor: how many entries there must be, and the hash of the last.
//!
//! Two slots that are written in turn, so that one that tears leaves the other: a slot is `NUMBER HASH SUM` padded with
//! spaces to 256 bytes with a newline at the end; SUM is the SHA-256 of `NUMBER HASH`.

use crate::entry::{Hash, hash, hexadecimal};

/// Bytes of a slot.
pub(crate) const SLOT: usize = 256;

/// How far the log goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Entries in all.
    pub number: u64,
    /// SHA-256 of the last one's line; zeros without one.
    pub hash: Hash,
}

impl Head {
    /// The hash in hexadecimal.
    #[must_use]
    pub fn hash_text(&self) -> String {
        hexadecimal(&self.hash)
    }

    /// A head that somebody noted: number, and hash in hexadecimal.
    #[must_use]
    pub fn parse(number: &str, hash: &str) -> Option<Self> {
        Some(Self { number: number.parse().ok()?, hash: bytes_of(hash)? })
    }

    pub(crate) fn offset(self) -> u64 {
        (self.number % 2) * SLOT as u64
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let body = format!("{} {}", self.number, self.hash_text());
        let sum = hexadecimal(&hash(body.as_bytes()));
        let text = format!("{body} {sum}");
        format!("{text:<width$}\n", width = SLOT - 1).into_bytes()
    }

    /// The newer of the slots that are whole.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.chunks(SLOT).filter_map(slot).max_by_key(|head| head.number)
    }
}

fn slot(bytes: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end();
    let (body, sum) = text.rsplit_once(' ')?;
    if hexadecimal(&hash(body.as_bytes())) != sum {
        return None;
    }
    let (number, hash) = body.split_once(' ')?;
    Head::parse(number, hash)
}

fn bytes_of(text: &str) -> Option<Hash> {
    let mut out = Hash::default();
    if text.len() != 2 * out.len() {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_whole_slot_counts_and_a_torn_one_does_not() {
        let (two, three) = (Head { number: 2, hash: [2; 32] }, Head { number: 3, hash: [3; 32] });
        let mut bytes = [two.encode(), three.encode()].concat();
        assert_eq!((two.offset(), three.offset(), bytes.len()), (0, 256, 512));
        assert!(bytes.starts_with(b"2 0202020202"));
        assert_eq!(Head::decode(&bytes), Some(three));
        bytes[256] = b'9';
        assert_eq!(Head::decode(&bytes), Some(two));
        assert_eq!(Head::decode(&bytes[..256]), Some(two));
        assert_eq!(Head::decode(b""), None);
        assert_eq!(Head::decode(&[0xff; 512]), None);
    }
}
