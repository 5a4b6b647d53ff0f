//! Keys as `openssl` writes them: PEM (RFC 7468), with what little DER is needed to turn the older forms into the newer ones.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

/// A key file longer than this is none: an RSA key of 8192 bits has 6.4 KiB.
const MAX_PEM_BYTES: usize = 64 << 10;

/// `SEQUENCE { OBJECT IDENTIFIER rsaEncryption, NULL }` (RFC 8017, A.1).
const RSA_ALGORITHM: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Why bytes are not the key that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is no PEM block in it, or one that is damaged.
    NotPem(&'static str),
    /// There is a PEM block with another thing.
    Other {
        /// What its first line says.
        found: String,
        /// What it should say.
        wanted: &'static str,
    },
    /// It is protected by a passphrase.
    Encrypted,
    /// The library refuses it.
    Refused {
        /// What it said.
        why: String,
        /// What is taken.
        wanted: &'static str,
    },
    /// A key of another length.
    Bits(usize),
    /// The operation failed: for a private key, it is not the one that was asked for.
    Failed(&'static str),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPem(why) => write!(f, "it is no PEM file: {why} (make a key with `openssl genrsa -out key.pem 3072`)"),
            Self::Other { found, wanted } => write!(f, "it holds '{found}', wanted is {wanted}"),
            Self::Encrypted => {
                f.write_str("it is protected by a passphrase (take that off with `openssl pkey -in key.pem -out plain.pem`, mode 0600)")
            }
            Self::Refused { why, wanted } => write!(f, "the key is refused: {why} (wanted is {wanted})"),
            Self::Bits(bits) => write!(f, "the key has {bits} bits, RSA keys of 2048 to 8192 bits are taken"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for KeyError {}

/// One PEM block: what its first line says, and its bytes.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// The first PEM block of a file.
pub(crate) fn decode(pem: &[u8]) -> Result<Block, KeyError> {
    if pem.len() > MAX_PEM_BYTES {
        return Err(KeyError::NotPem("it is longer than any key"));
    }
    let text = std::str::from_utf8(pem).map_err(|_| KeyError::NotPem("it is not text"))?;
    let begin = text.find("-----BEGIN ").ok_or(KeyError::NotPem("there is no line '-----BEGIN …-----'"))?;
    let after = text.get(begin + "-----BEGIN ".len()..).unwrap_or_default();
    let (label, rest) = after.split_once("-----").ok_or(KeyError::NotPem("its first line is cut off"))?;
    let (body, _) = rest
        .split_once(&format!("-----END {label}-----"))
        .ok_or(KeyError::NotPem("its last line is missing"))?;
    if label.contains("ENCRYPTED") || body.contains("ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    let mut digits: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(body.len()));
    digits.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; digits.len()]);
    let len =
        STANDARD.decode_slice(&*digits, &mut der).map_err(|_| KeyError::NotPem("its base64 is damaged"))?;
    der.truncate(len);
    Ok(Block { label: label.to_owned(), der })
}

/// A PEM block of bytes that are no secret: lines of 64 characters (RFC 7468, 2).
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let lines = digits.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

/// One DER value: tag, length, content.
fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u64).to_be_bytes();
    let significant = &len[len.iter().position(|byte| *byte != 0).unwrap_or(7)..];
    let mut out = Vec::with_capacity(content.len() + 10);
    out.push(tag);
    if content.len() >= 0x80 {
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(content);
    out
}

/// PKCS#8 (RFC 5958) around a private key of PKCS#1.
pub(crate) fn pkcs8_of_pkcs1(pkcs1: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut octets = value(0x04, pkcs1);
    let mut content = [&[0x02, 0x01, 0x00][..], &RSA_ALGORITHM, &octets].concat();
    let whole = Zeroizing::new(value(0x30, &content));
    octets.zeroize();
    content.zeroize();
    whole
}

/// SubjectPublicKeyInfo (RFC 5280) around a public key of PKCS#1.
pub(crate) fn spki_of_pkcs1(pkcs1: &[u8]) -> Vec<u8> {
    let bits = value(0x03, &[&[0][..], pkcs1].concat());
    value(0x30, &[&RSA_ALGORITHM[..], &bits].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_der_wants_them() {
        let front = |len: usize, take: usize| value(0x30, &vec![7; len])[..take].to_vec();
        assert_eq!(front(0, 2), [0x30, 0]);
        assert_eq!(front(0x7f, 3), [0x30, 0x7f, 7]);
        assert_eq!(front(0x80, 4), [0x30, 0x81, 0x80, 7]);
        assert_eq!(front(0x1234, 5), [0x30, 0x82, 0x12, 0x34, 7]);
    }

    #[test]
    fn what_is_no_key_is_named() {
        let why = |text: &str| decode(text.as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(why("hello").contains("no line '-----BEGIN"));
        assert!(why("-----BEGIN X-----\nAAAA\n").contains("last line is missing"));
        assert!(why("-----BEGIN X-----\nA*AA\n-----END X-----").contains("base64 is damaged"));
        assert!(
            why("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----")
                .contains("passphrase")
        );
        let old =
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----";
        assert!(why(old).contains("passphrase"));
        assert!(why(&"x".repeat(MAX_PEM_BYTES + 1)).contains("longer than any key"));
        assert_eq!(decode(b"-----BEGIN X-----\nAAEC\n-----END X-----\n").unwrap().der.as_slice(), [0, 1, 2]);
    }
}
