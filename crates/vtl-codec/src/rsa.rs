//! Data keys wrapped with RSA-OAEP (RFC 8017, 7.1): SHA-256 for hash and MGF1, empty label.
//!
//! Private keys are used in AWS-LC alone, which computes in constant time: the `rsa` crate tells something of the key by how long it takes
//! (RUSTSEC-2023-0071), to whoever can send wrapped keys and measure.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use zeroize::Zeroizing;

use crate::key::Key;
use crate::pem::{self, KeyError};

/// Lengths of RSA keys that are taken.
pub const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

const WANTED_PUBLIC: &str =
    "an RSA key of 2048 to 8192 bits, 'PUBLIC KEY' or 'RSA PUBLIC KEY' (`openssl rsa -in key.pem -pubout`)";
const WANTED_PRIVATE: &str = "an RSA key of 2048 to 8192 bits, 'PRIVATE KEY' or 'RSA PRIVATE KEY' (`openssl genrsa -out key.pem 3072`)";

/// Wraps data keys.
pub struct PublicKey {
    key: OaepPublicEncryptingKey,
    der: Vec<u8>,
}

impl PublicKey {
    /// From PEM: SubjectPublicKeyInfo or PKCS#1.
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::decode(text)?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_der(&block.der),
            "RSA PUBLIC KEY" => Self::from_der(&pem::spki_of_pkcs1(&block.der)),
            _ => Err(KeyError::Other { found: block.label, wanted: WANTED_PUBLIC }),
        }
    }

    /// From the DER of a SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let refused = |why: String| KeyError::Refused { why, wanted: WANTED_PUBLIC };
        let key = PublicEncryptingKey::from_der(der).map_err(|error| refused(error.to_string()))?;
        Self::with(key)
    }

    fn with(key: PublicEncryptingKey) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Refused { why: "it cannot be used".to_owned(), wanted: WANTED_PUBLIC };
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(&key).map_err(refused)?.as_ref().to_vec();
        let key = OaepPublicEncryptingKey::new(key).map_err(refused)?;
        match RSA_BITS.contains(&key.key_size_bits()) {
            true => Ok(Self { key, der }),
            false => Err(KeyError::Bits(key.key_size_bits())),
        }
    }

    /// Its length.
    pub fn bits(&self) -> usize {
        self.key.key_size_bits()
    }

    /// SHA-256 of its SubjectPublicKeyInfo, by which recipients are told apart.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut print = [0; 32];
        print.iter_mut().zip(digest(&SHA256, &self.der).as_ref()).for_each(|(to, from)| *to = *from);
        print
    }

    /// The DER of its SubjectPublicKeyInfo.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its SubjectPublicKeyInfo as PEM.
    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.der)
    }

    /// The data key, for the holder of the private key alone. As long as the modulus.
    ///
    /// # Errors
    /// The library refuses.
    pub fn wrap(&self, data_key: &Key) -> Result<Vec<u8>, KeyError> {
        let mut room = vec![0; self.key.ciphertext_size()];
        let wrapped = self.key.encrypt(&OAEP_SHA256_MGF1SHA256, data_key.expose(), &mut room, None);
        let len = wrapped.map_err(|_| KeyError::Failed("the data key could not be wrapped"))?.len();
        room.truncate(len);
        Ok(room)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} bits)", self.bits())
    }
}

/// Unwraps data keys. It cannot be printed.
pub struct PrivateKey {
    key: OaepPrivateDecryptingKey,
    public: PublicKey,
}

impl PrivateKey {
    /// From PEM: PKCS#8, as `openssl genrsa` writes it, or PKCS#1, as it does with `-traditional`.
    ///
    /// # Errors
    /// It is no such key, or it is protected by a passphrase.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::decode(text)?;
        match block.label.as_str() {
            "PRIVATE KEY" => Self::from_pkcs8(&block.der),
            "RSA PRIVATE KEY" => Self::from_pkcs8(&pem::pkcs8_of_pkcs1(&block.der)),
            _ => Err(KeyError::Other { found: block.label, wanted: WANTED_PRIVATE }),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let refused = |why: String| KeyError::Refused { why, wanted: WANTED_PRIVATE };
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|error| refused(error.to_string()))?;
        let public = PublicKey::with(key.public_key())?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|error| refused(error.to_string()))?;
        Ok(Self { key, public })
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The data key that was wrapped for this key.
    ///
    /// # Errors
    /// It was wrapped for another one, or is damaged; nothing tells which.
    pub fn unwrap(&self, wrapped: &[u8]) -> Result<Key, KeyError> {
        const FAILED: KeyError = KeyError::Failed("this key does not unwrap the data key");
        let mut room = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let opened = self.key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut room, None);
        let data_key: &[u8] = opened.map_err(|_| FAILED)?;
        Ok(Key::new(data_key.try_into().map_err(|_| FAILED)?))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
