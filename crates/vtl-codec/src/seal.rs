//! AES-256-GCM (NIST SP 800-38D), with nonces that the caller chooses or that are drawn anew for each sealing.

use std::fmt;
use std::io;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::key::{Key, Randomness};

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// What bytes that a [`Sealer`] sealed are longer than their text.
pub const OVERHEAD: usize = TAG_BYTES + NONCE_BYTES;

/// Sealed bytes did not open: they are not what was sealed, or not from this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOpened;

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not what was sealed here (put the right file back)")
    }
}

impl std::error::Error for NotOpened {}

/// Why nothing was sealed.
#[derive(Debug)]
pub enum SealError {
    /// No nonce.
    Random(io::Error),
    /// Only a text above 64 GiB, or a library that is out of memory.
    Refused,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => write!(f, "no random bytes: {error}"),
            Self::Refused => f.write_str("the text is longer than the cipher takes"),
        }
    }
}

impl std::error::Error for SealError {}

/// AES-256-GCM with one key. The caller answers for nonces that never come twice.
pub struct Cipher(Option<LessSafeKey>);

impl Cipher {
    /// With this key.
    pub fn new(key: &Key) -> Self {
        // The length is right by its type, so there is always one; without one nothing is sealed and nothing opens.
        Self(UnboundKey::new(&AES_256_GCM, key.expose()).ok().map(LessSafeKey::new))
    }

    /// Seals the text from `start` on where it lies, and puts the tag behind it.
    ///
    /// # Errors
    /// The text is too long.
    pub fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        about: &[u8],
        text: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let key = self.0.as_ref().ok_or(SealError::Refused)?;
        let body = text.get_mut(start..).ok_or(SealError::Refused)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(about), body);
        text.extend_from_slice(tag.map_err(|_| SealError::Refused)?.as_ref());
        Ok(())
    }

    /// Opens ciphertext and tag where they lie. Bytes that do not open are of no use afterwards.
    ///
    /// # Errors
    /// They were not sealed with this key, nonce and associated data.
    pub fn open<'a>(
        &self,
        nonce: [u8; NONCE_BYTES],
        about: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], NotOpened> {
        let key = self.0.as_ref().ok_or(NotOpened)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.open_in_place(nonce, Aad::from(about), sealed).map(|text| &*text).map_err(|_| NotOpened)
    }
}

/// Seals each text with a nonce of its own, drawn at random: ciphertext, tag, nonce.
pub struct Sealer {
    cipher: Cipher,
    /// The beginning of all associated data.
    about: Vec<u8>,
    random: Randomness,
}

impl Sealer {
    /// With this key; `about` is the beginning of all associated data.
    pub fn new(key: &Key, about: Vec<u8>, random: Randomness) -> Self {
        Self { cipher: Cipher::new(key), about, random }
    }

    /// Seals the text for this place.
    ///
    /// # Errors
    /// There are no random bytes, or the text is too long.
    pub fn seal(&self, place: &[u8], text: &mut Vec<u8>) -> Result<(), SealError> {
        let mut nonce = [0; NONCE_BYTES];
        self.random.fill(&mut nonce).map_err(SealError::Random)?;
        text.reserve_exact(OVERHEAD);
        self.cipher.seal(nonce, &self.data(place), text, 0)?;
        text.extend_from_slice(&nonce);
        Ok(())
    }

    /// Gives the text back that was sealed for this place. Bytes that do not open are of no use afterwards.
    ///
    /// # Errors
    /// They were not sealed for this place with this key.
    pub fn open(&self, place: &[u8], sealed: &mut Vec<u8>) -> Result<(), NotOpened> {
        let (body, nonce) = sealed.split_last_chunk_mut::<NONCE_BYTES>().ok_or(NotOpened)?;
        let len = self.cipher.open(*nonce, &self.data(place), body)?.len();
        sealed.truncate(len);
        Ok(())
    }

    fn data(&self, place: &[u8]) -> Vec<u8> {
        [&self.about, place].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::new(std::array::from_fn(|at| at as u8))
    }

    /// Typed out from docs/formats/encryption.md, where another program made it.
    const SEALED: [u8; 36] = [
        0x80, 0x71, 0x10, 0x48, 0x28, 0xaa, 0x70, 0xd4, // ciphertext
        0xf0, 0xd5, 0xb3, 0xb0, 0x89, 0x75, 0x3e, 0x6b, 0x57, 0xb7, 0x72, 0xa7, 0x4c, 0xfe, 0x6d,
        0x25, // tag
        0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, // nonce
    ];

    #[test]
    fn sealed_bytes_are_those_that_another_program_made() {
        let random = Randomness::from_fn(|bytes| {
            bytes.iter_mut().zip(0xa0..).for_each(|(byte, value)| *byte = value);
            Ok(())
        });
        let mut about = b"\0\0\0\0\0".to_vec();
        about.extend_from_slice(&[0x55; 16]);
        about.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a\x03\x02");
        let sealer = Sealer::new(&key(), about, random);
        let mut bytes = b"filemark".to_vec();
        sealer.seal(b"\x01\0\x20\0\0", &mut bytes).unwrap();
        assert_eq!(bytes, SEALED);
        sealer.open(b"\x01\0\x20\0\0", &mut bytes).unwrap();
        assert_eq!(bytes, b"filemark");
    }

    #[test]
    fn no_other_place_nonce_or_bit_opens_it() {
        let cipher = Cipher::new(&key());
        let mut sealed = b"front text".to_vec();
        cipher.seal([1; 12], b"here", &mut sealed, 6).unwrap();
        assert_eq!((&sealed[..6], sealed.len()), (&b"front "[..], 10 + TAG_BYTES));
        let sealed = sealed.split_off(6);
        let open = |nonce, about: &[u8], sealed: &[u8]| {
            cipher.open(nonce, about, &mut sealed.to_vec()).map(<[u8]>::to_vec)
        };
        assert_eq!(open([1; 12], b"here", &sealed).unwrap(), b"text");
        assert_eq!(open([2; 12], b"here", &sealed), Err(NotOpened));
        assert_eq!(open([1; 12], b"there", &sealed), Err(NotOpened));
        for bit in 0..sealed.len() * 8 {
            let mut wrong = sealed.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open([1; 12], b"here", &wrong), Err(NotOpened), "bit {bit}");
        }
        assert!((0..sealed.len()).all(|len| open([1; 12], b"here", &sealed[..len]).is_err()));
    }

    #[test]
    fn without_random_bytes_nothing_is_sealed() {
        let sealer = Sealer::new(&key(), Vec::new(), Randomness::from_fn(|_| Err(io::Error::other("none"))));
        let mut text = b"text".to_vec();
        assert!(matches!(sealer.seal(b"", &mut text), Err(SealError::Random(_))));
        assert_eq!(text, b"text");
    }
}
