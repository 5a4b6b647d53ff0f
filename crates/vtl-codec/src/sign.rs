//! Signatures: Ed25519 (RFC 8032), with keys as `openssl genpkey -algorithm ed25519` writes them.

use std::fmt;
use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::key::Randomness;
use crate::pem::{self, KeyError};

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;
/// Bytes of a public key.
pub const VERIFYING_KEY_BYTES: usize = 32;

/// What stands before the 32 bytes in a SubjectPublicKeyInfo (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What stands before the 32 bytes in a private key of PKCS#8 without a public half (RFC 8410, 7).
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;
const BEGIN: &[u8] = b"-----BEGIN PRIVATE KEY-----\n";
const END: &[u8] = b"\n-----END PRIVATE KEY-----\n";
/// Base64 of all 48 bytes.
const LINE_BYTES: usize = 64;
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

    /// The PEM (PKCS#8) of a new key, as `openssl genpkey -algorithm ed25519` writes it; wiped when it is dropped.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn new_pem(random: &Randomness) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut der = Zeroizing::new([0; PKCS8.len() + SEED_BYTES]);
        let (front, seed) = der.split_at_mut(PKCS8.len());
        front.copy_from_slice(&PKCS8);
        random.fill(seed)?;
        // All of it has room from the beginning, and base64 of 48 bytes is one line: no copy stays behind.
        let mut text = Zeroizing::new(Vec::with_capacity(BEGIN.len() + LINE_BYTES + END.len()));
        text.extend_from_slice(BEGIN);
        text.resize(BEGIN.len() + LINE_BYTES, 0);
        let line = text.get_mut(BEGIN.len()..).unwrap_or_default();
        STANDARD.encode_slice(*der, line).map_err(io::Error::other)?;
        text.extend_from_slice(END);
        Ok(text)
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

    /// The DER of its SubjectPublicKeyInfo.
    pub fn der(&self) -> Vec<u8> {
        [&SPKI[..], &self.0].concat()
    }

    /// Its SubjectPublicKeyInfo as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.der())
    }

    /// SHA-256 of its SubjectPublicKeyInfo, by which keys are told apart.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut print = [0; 32];
        print.iter_mut().zip(digest(&SHA256, &self.der()).as_ref()).for_each(|(to, from)| *to = *from);
        print
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
