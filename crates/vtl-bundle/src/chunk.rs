//! The header of a chunk object. Byte table: `docs/formats/bundle.md`.

use vtl_codec::{Cipher, Key, NotDerived};

use crate::error::Fault;
use crate::version::Version;

/// Its length.
pub const HEADER_BYTES: usize = 80;
const MAGIC: [u8; 8] = *b"VTLBNDL\0";
const KEY_INFO: &[u8] = b"vtl bundle chunk v0";

/// What stands at the beginning of a chunk object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Of the format.
    pub version: Version,
    /// From 1; the one in the object's name.
    pub number: u32,
    /// Whose object it is.
    pub bundle: [u8; 16],
    /// Makes the object's key; zeros without one.
    pub salt: [u8; 32],
    /// Number of its first frame.
    pub first_frame: u64,
    /// Whether its frames are sealed.
    pub sealed: bool,
}

impl ChunkHeader {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let fields: [&[u8]; 7] = [
            &MAGIC,
            &self.version.number().to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.bundle,
            &self.salt,
            &self.first_frame.to_le_bytes(),
            &[u8::from(self.sealed), 0, 0, 0],
        ];
        let mut bytes = [0; HEADER_BYTES];
        let fields = fields.iter().flat_map(|field| field.iter());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        let (front, crc) = bytes.split_at_mut(HEADER_BYTES - 4);
        crc.copy_from_slice(&crc32fast::hash(front).to_le_bytes());
        bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    /// They are damaged, or none of this format.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let (front, crc) = bytes.split_at(HEADER_BYTES - 4);
        if !bytes.starts_with(&MAGIC) {
            return Err(Fault::Malformed("magic"));
        }
        if crc != crc32fast::hash(front).to_le_bytes() {
            return Err(Fault::Damaged);
        }
        let mut fields = Fields(&bytes[MAGIC.len()..]);
        let version =
            Version::from_number(u32::from_le_bytes(fields.take())).ok_or(Fault::Malformed("version"))?;
        let number = u32::from_le_bytes(fields.take());
        let (bundle, salt) = (fields.take(), fields.take());
        let first_frame = u64::from_le_bytes(fields.take());
        let sealed = match fields.take() {
            [0, 0, 0, 0] => false,
            [1, 0, 0, 0] => true,
            _ => return Err(Fault::Malformed("cipher")),
        };
        Ok(Self { version, number, bundle, salt, first_frame, sealed })
    }

    /// What the object's frames are sealed with.
    pub(crate) fn cipher(&self, data_key: &Key) -> Result<Cipher, NotDerived> {
        Ok(Cipher::new(&data_key.expand(&self.salt, KEY_INFO)?))
    }
}

/// Takes fields off the front; beyond the end there are zeros, which no table of this format has there.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (taken, rest) = self.0.split_at(N.min(self.0.len()));
        field.iter_mut().zip(taken).for_each(|(to, from)| *to = *from);
        self.0 = rest;
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ChunkHeader {
        let salt = std::array::from_fn(|at| 0x40 + at as u8);
        ChunkHeader {
            version: Version::V0,
            number: 2,
            bundle: [0x55; 16],
            salt,
            first_frame: 0x0102,
            sealed: true,
        }
    }

    /// Typed out from docs/formats/bundle.md; the CRC-32 is zlib's.
    #[rustfmt::skip]
    const BYTES: [u8; HEADER_BYTES] = [
        b'V', b'T', b'L', b'B', b'N', b'D', b'L', 0, 0, 0, 0, 0, 2, 0, 0, 0, // magic, version, number
        0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, // bundle
        0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, // salt
        0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x5b, 0x5c, 0x5d, 0x5e, 0x5f,
        2, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x7a, 0x1e, 0x4a, 0xeb, // first frame, cipher, zeros, CRC-32
    ];

    #[test]
    fn a_chunk_header_keeps_its_bytes() {
        assert_eq!(sample().encode(), BYTES);
        assert_eq!(ChunkHeader::decode(&BYTES).unwrap(), sample());
    }

    #[test]
    fn every_wrong_bit_of_a_chunk_header_is_seen() {
        for bit in 0..HEADER_BYTES * 8 {
            let mut wrong = BYTES;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(ChunkHeader::decode(&wrong).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn reserved_bytes_and_other_versions_are_refused() {
        for at in [8, 72, 73, 75] {
            let mut wrong = BYTES;
            wrong[at] = 2;
            let crc = crc32fast::hash(&wrong[..76]).to_le_bytes();
            wrong[76..].copy_from_slice(&crc);
            assert!(matches!(ChunkHeader::decode(&wrong), Err(Fault::Malformed(_))), "byte {at}");
        }
    }
}
