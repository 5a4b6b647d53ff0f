//! Signatures: Ed25519 (RFC 8032), with keys as `openssl genpkey -algorithm ed25519` writes them.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::pem::{self, KeyError};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a public key.
pub const VERIFYING_KEY_BYTES: usize = 32;

/// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const WANTED_PUBLIC: &str = "an Ed25519 key, 'PUBLIC KEY' (`openssl pkey -in sign.pem -pubout`)";
const WANTED_PRIVATE: &str =
    "an Ed25519 key, 'PRIVATE KEY' (`openssl genpkey -algorithm ed25519 -out sign.pem`)";

/// Signs. It cannot be printed.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// From PEM (PKCS#8).
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::decode(text)?;
        if block.label != "PRIVATE KEY" {
            return Err(KeyError::Other { found: block.label, wanted: WANTED_PRIVATE });
        }
        let refused = |why: String| KeyError::Refused { why, wanted: WANTED_PRIVATE };
        Ed25519KeyPair::from_pkcs8(&block.der).map(Self).map_err(|error| refused(error.to_string()))
    }

    /// What verifies its signatures.
    pub fn verifying(&self) -> Option<VerifyingKey> {
        Some(VerifyingKey(self.0.public_key().as_ref().try_into().ok()?))
    }

    /// The signature of these bytes; the same each time.
    ///
    /// # Errors
    /// The library refuses.
    pub fn sign(&self, bytes: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        const FAILED: KeyError = KeyError::Failed("nothing could be signed");
        let signature = self.0.try_sign(bytes).map_err(|_| FAILED)?;
        signature.as_ref().try_into().map_err(|_| FAILED)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Verifies signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyingKey([u8; VERIFYING_KEY_BYTES]);

impl VerifyingKey {
    /// From its 32 bytes.
    pub const fn new(bytes: [u8; VERIFYING_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// From PEM (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::decode(text)?;
        let bytes = block.der.strip_prefix(&SPKI).and_then(|rest| rest.try_into().ok());
        match (block.label.as_str(), bytes) {
            ("PUBLIC KEY", Some(bytes)) => Ok(Self(bytes)),
            ("PUBLIC KEY", None) => {
                Err(KeyError::Refused { why: "it is of another sort".to_owned(), wanted: WANTED_PUBLIC })
            }
            _ => Err(KeyError::Other { found: block.label, wanted: WANTED_PUBLIC }),
        }
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; VERIFYING_KEY_BYTES] {
        &self.0
    }

    /// Whether the holder of the signing key signed these bytes.
    pub fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature).is_ok()
    }
}
