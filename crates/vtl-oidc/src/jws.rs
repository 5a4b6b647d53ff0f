//! Signatures of tokens (RFC 7515, 7518, 8037) and the provider's public keys (RFC 7517).
//!
//! What is accepted is one table. It has no `none`, and nothing that a shared secret makes: who knows a public key must not be
//! able to sign with it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use crate::error::OidcError;

/// Keys of a provider that are looked at: the present, the next, the last, for each algorithm.
const MOST_KEYS: usize = 64;

/// One way to sign.
#[derive(Debug)]
pub(crate) struct Algorithm {
    pub(crate) name: &'static str,
    /// What a key for it says of itself (`kty`, `crv`).
    kind: (&'static str, Option<&'static str>),
    how: How,
}

#[derive(Debug)]
enum How {
    Rsa(&'static RsaParameters),
    /// With the length of a coordinate.
    Ec(&'static EcdsaVerificationAlgorithm, usize),
    Ed25519,
}

const fn rsa(name: &'static str, how: &'static RsaParameters) -> Algorithm {
    Algorithm { name, kind: ("RSA", None), how: How::Rsa(how) }
}

/// RFC 7518, 3.1, RFC 8037 and RFC 9864: all that is accepted.
static ALGORITHMS: [Algorithm; 10] = [
    rsa("RS256", &RSA_PKCS1_2048_8192_SHA256),
    rsa("RS384", &RSA_PKCS1_2048_8192_SHA384),
    rsa("RS512", &RSA_PKCS1_2048_8192_SHA512),
    rsa("PS256", &RSA_PSS_2048_8192_SHA256),
    rsa("PS384", &RSA_PSS_2048_8192_SHA384),
    rsa("PS512", &RSA_PSS_2048_8192_SHA512),
    Algorithm { name: "ES256", kind: ("EC", Some("P-256")), how: How::Ec(&ECDSA_P256_SHA256_FIXED, 32) },
    Algorithm { name: "ES384", kind: ("EC", Some("P-384")), how: How::Ec(&ECDSA_P384_SHA384_FIXED, 48) },
    Algorithm { name: "EdDSA", kind: ("OKP", Some("Ed25519")), how: How::Ed25519 },
    Algorithm { name: "Ed25519", kind: ("OKP", Some("Ed25519")), how: How::Ed25519 },
];

/// The algorithm of this name, if it is accepted.
pub(crate) fn algorithm(name: &str) -> Option<&'static Algorithm> {
    ALGORITHMS.iter().find(|known| known.name == name)
}

/// A public key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Key {
    kty: String,
    pub(crate) kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// Whether it says that it is for this.
    fn is_for(&self, algorithm: &Algorithm) -> bool {
        self.kty == algorithm.kind.0
            && algorithm.kind.1.is_none_or(|curve| self.crv.as_deref() == Some(curve))
            && self.usage.as_deref().is_none_or(|usage| usage == "sig")
            && self.alg.as_deref().is_none_or(|name| name == algorithm.name)
    }

    /// Whether the signature is that of this key.
    pub(crate) fn verifies(&self, algorithm: &Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.is_for(algorithm) && self.try_verify(&algorithm.how, message, signature).is_some()
    }

    fn try_verify(&self, how: &How, message: &[u8], signature: &[u8]) -> Option<()> {
        match how {
            How::Rsa(parameters) => {
                let (n, e) = (number(self.n.as_deref()?)?, number(self.e.as_deref()?)?);
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).ok()
            }
            How::Ec(algorithm, length) => {
                let (x, y) = (bytes(self.x.as_deref()?)?, bytes(self.y.as_deref()?)?);
                (x.len() == *length && y.len() == *length).then_some(())?;
                // SEC 1, 2.3.3: a point that is not compressed.
                let point = [&[0x04], x.as_slice(), y.as_slice()].concat();
                UnparsedPublicKey::new(*algorithm, point).verify(message, signature).ok()
            }
            How::Ed25519 => {
                let x = bytes(self.x.as_deref()?)?;
                UnparsedPublicKey::new(&ED25519, x).verify(message, signature).ok()
            }
        }
    }
}

pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A number in its shortest form.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    Some(bytes.into_iter().skip(zeros).collect())
}

/// The keys that a provider publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Keys of kinds that are not known are left out (RFC 7517, 5).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(text)
            .map_err(|why| OidcError::Unusable("list of keys", why.to_string()))?;
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self(keys.take(MOST_KEYS).collect()))
    }

    /// The one key for a token; without an id there must be one alone that fits (OpenID Connect Core, 10.1).
    pub(crate) fn find(&self, id: Option<&str>, algorithm: &Algorithm) -> Option<&Key> {
        let is_it = |key: &&Key| key.is_for(algorithm) && id.is_none_or(|id| key.kid.as_deref() == Some(id));
        let mut fitting = self.0.iter().filter(is_it);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }
}
