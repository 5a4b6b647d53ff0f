//! Keys of 256 bits, and where random bytes come from.

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

/// Bytes in a key.
pub const KEY_BYTES: usize = 32;

/// A key of 256 bits. It is wiped when it is dropped, and cannot be printed.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl Key {
    /// Takes the bytes over.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new one.
    ///
    /// # Errors
    /// The source of randomness fails.
    pub fn random(random: &Randomness) -> io::Result<Self> {
        let mut key = Self::new([0; KEY_BYTES]);
        random.fill(&mut *key.0)?;
        Ok(key)
    }

    /// BLAKE3's key derivation.
    pub fn derive(context: &str, material: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        material.iter().for_each(|part| {
            hasher.update(part);
        });
        Self::new(*hasher.finalize().as_bytes())
    }

    /// HKDF-SHA256 (RFC 5869), for formats that other programs read: every language has it.
    ///
    /// # Errors
    /// Never with these lengths; the library may refuse.
    pub fn expand(&self, salt: &[u8], info: &[u8]) -> Result<Self, NotDerived> {
        let mut key = Self::new([0; KEY_BYTES]);
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(&*self.0);
        let filled = secret.expand(&[info], Length).and_then(|out| out.fill(&mut *key.0));
        filled.map_err(|_| NotDerived)?;
        Ok(key)
    }

    /// For the places that compute with it.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The library refused to derive a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotDerived;

impl fmt::Display for NotDerived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cryptographic library refused to derive a key")
    }
}

impl std::error::Error for NotDerived {}

#[derive(Clone, Copy)]
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

/// Where keys, salts and nonces come from.
#[derive(Clone)]
pub struct Randomness(Arc<Fill>);

type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

impl Randomness {
    /// The operating system.
    pub fn system() -> Self {
        Self(Arc::new(|bytes| getrandom::fill(bytes).map_err(io::Error::other)))
    }

    /// For tests that want the same bytes each time. It must never give the same ones twice.
    pub fn from_fn(fill: impl Fn(&mut [u8]) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(fill))
    }

    /// Fills the bytes.
    ///
    /// # Errors
    /// The source fails.
    pub fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        (self.0)(bytes)
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Randomness")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hkdf_gives_what_rfc_5869_gives() {
        // Appendix A.1 has a secret of 22 bytes; this one of 32 was computed by another program (Python, `cryptography` 48).
        let key = Key::new(std::array::from_fn(|at| at as u8));
        let derived = key.expand(&[0x55; 32], b"vtl test").unwrap();
        assert_eq!(derived.expose(), &HKDF);
    }

    #[rustfmt::skip]
    const HKDF: [u8; 32] = [
        0x0f, 0x28, 0x8c, 0x04, 0x52, 0x66, 0x1a, 0x81, 0x6a, 0x52, 0x27, 0x26, 0xcb, 0x71, 0x5c, 0x76,
        0xcd, 0x86, 0x56, 0xc9, 0xde, 0xec, 0x42, 0xea, 0x6c, 0xea, 0xab, 0x9d, 0x72, 0xcd, 0xad, 0x1a,
    ];

    #[test]
    fn a_key_never_shows_in_a_debug_print() {
        assert_eq!(format!("{:?}", Some(Key::new([7; 32]))), "Some(***)");
    }
}
