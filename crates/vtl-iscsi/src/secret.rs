//! CHAP secrets: never printed, wiped from memory when dropped, compared in constant time only.

use alloc::vec::Vec;
use core::fmt;

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

/// A CHAP secret. Printing shows `***`. There is no `PartialEq` on purpose: see [`Secret::same_as`].
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// RFC 7143, 12.1.3: without IPsec a secret has at least 96 random bits.
    pub const MIN_LEN: usize = 12;

    /// Takes the bytes over.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the hash.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// True when it is shorter than the standard asks for.
    #[must_use]
    pub fn is_too_short(&self) -> bool {
        self.0.len() < Self::MIN_LEN
    }

    /// Whether two secrets are the same, in a time that depends on their lengths only.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_in_a_debug_print() {
        let secret = Secret::new(b"correct horse".to_vec());
        assert_eq!(std::format!("{secret:?} {:#?}", Some(&secret)), "*** Some(\n    ***,\n)");
    }

    #[test]
    fn secrets_are_compared_by_their_bytes() {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        assert!(bool::from(secret("abc").same_as(&secret("abc"))));
        assert!(!bool::from(secret("abc").same_as(&secret("abd"))));
        assert!(!bool::from(secret("abc").same_as(&secret("abcd"))));
        assert!(secret("eleven char").is_too_short());
        assert!(!secret("twelve chars").is_too_short());
    }
}
