//! What an object is: its size and hashes, what a remote tells of it, and how the two are compared.

use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};
use sha2::Sha256;
use vtl_digest::Both;

/// The bytes of an MD5.
pub type Md5Bytes = [u8; 16];
/// The bytes of a SHA-256.
pub type Sha256Bytes = [u8; 32];

/// Size and hashes of an object as it is stored. They are known before it is sent and kept here afterwards: what is
/// decided by them does not hang on the remote's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// In bytes.
    pub size: u64,
    /// Of the whole object; many remotes tell it.
    pub md5: Md5Bytes,
    /// Of the whole object; what readers go by.
    pub sha256: Sha256Bytes,
}

impl Content {
    /// Of bytes that are at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut digester = Digester::default();
        digester.update(bytes);
        digester.finish()
    }
}

/// Computes [`Content`] as bytes pass by.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    size: u64,
    hashes: Both,
}

impl Digester {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hashes.update(bytes);
    }

    /// How many bytes have passed.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What has passed.
    #[must_use]
    pub fn finish(self) -> Content {
        let (md5, sha256) = self.hashes.finish();
        Content { size: self.size, md5, sha256 }
    }
}

/// A hash that a remote tells of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredHash {
    /// Of the whole object.
    Md5(Md5Bytes),
    /// Of the whole object.
    Sha256(Sha256Bytes),
    /// MD5 of the MD5s of the parts in which it was sent (the ETag of an object of several parts on S3).
    Md5OfParts {
        /// The hash of hashes.
        digest: Md5Bytes,
        /// How many parts.
        parts: u32,
    },
    /// SHA-256 of the SHA-256s of the parts in which it was sent.
    Sha256OfParts {
        /// The hash of hashes.
        digest: Sha256Bytes,
        /// How many parts.
        parts: u32,
    },
}

impl StoredHash {
    /// The word for the kind of hash.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
            Self::Md5OfParts { .. } => "MD5 of parts",
            Self::Sha256OfParts { .. } => "SHA-256 of parts",
        }
    }
}

/// What a put leaves with its caller, to be kept until the object has been verified: the hashes of hashes of an object
/// that was sent in parts. As text: `parts=N md5=HEX sha256=HEX`, or nothing for an object in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Receipt(Option<PartHashes>);

/// Hashes of the parts' hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PartHashes {
    parts: u32,
    md5: Md5Bytes,
    sha256: Sha256Bytes,
}

impl PartHashes {
    /// From the hashes of each part, in order.
    fn of<'a>(parts: impl IntoIterator<Item = &'a Content>) -> Self {
        let (mut md5, mut sha256, mut count) = (Md5::new(), Sha256::new(), 0);
        for part in parts {
            md5.update(part.md5);
            sha256.update(part.sha256);
            count += 1;
        }
        Self { parts: count, md5: md5.finalize().into(), sha256: sha256.finalize().into() }
    }
}

impl Receipt {
    /// An object that was sent in one piece.
    #[must_use]
    pub const fn whole() -> Self {
        Self(None)
    }

    /// An object that was sent in these parts, in order.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a Content>) -> Self {
        Self(Some(PartHashes::of(parts)))
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(PartHashes { parts, md5, sha256 }) => {
                write!(f, "parts={parts} md5={} sha256={}", hex(md5), hex(sha256))
            }
        }
    }
}

impl FromStr for Receipt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let mut words = text.split(' ');
        let mut field = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let (parts, md5, sha256) = (field("parts"), field("md5"), field("sha256"));
        let hashes = || {
            Some(PartHashes { parts: parts?.parse().ok()?, md5: from_hex(md5?)?, sha256: from_hex(sha256?)? })
        };
        hashes().map(|hashes| Self(Some(hashes))).ok_or_else(|| format!("{text:?} is not a receipt"))
    }
}

/// How what a remote tells compares with what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// One hash at least is equal and none differs; the word is of the kind that was equal.
    Equal(&'static str),
    /// A hash differs.
    Differs(&'static str),
    /// Nothing that could be compared was told.
    Nothing,
}

/// Compares. One hash that differs is enough to say so, whatever the others say.
#[must_use]
pub fn compare(content: &Content, receipt: &Receipt, told: &[StoredHash]) -> Comparison {
    let mut result = Comparison::Nothing;
    for hash in told {
        match is_equal(content, receipt, hash) {
            Some(false) => return Comparison::Differs(hash.word()),
            Some(true) => result = Comparison::Equal(hash.word()),
            None => {}
        }
    }
    result
}

fn is_equal(content: &Content, receipt: &Receipt, told: &StoredHash) -> Option<bool> {
    let in_as_many = |parts: u32| receipt.0.filter(|hashes| hashes.parts == parts);
    match *told {
        StoredHash::Md5(digest) => Some(digest == content.md5),
        StoredHash::Sha256(digest) => Some(digest == content.sha256),
        StoredHash::Md5OfParts { digest, parts } => in_as_many(parts).map(|sent| sent.md5 == digest),
        StoredHash::Sha256OfParts { digest, parts } => in_as_many(parts).map(|sent| sent.sha256 == digest),
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Exactly `N` bytes from hexadecimal of either case.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standards() {
        // RFC 1321, A.5 and FIPS 180-2, B.1.
        let abc = Content::of(b"abc");
        assert_eq!(hex(&abc.md5), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(&abc.sha256), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(abc.size, 3);
    }

    #[test]
    fn one_hash_that_differs_outweighs_all_that_are_equal() {
        let (content, other) = (Content::of(b"abc"), Content::of(b"abd"));
        let compare = |told: &[StoredHash]| compare(&content, &Receipt::whole(), told);
        assert_eq!(compare(&[]), Comparison::Nothing);
        assert_eq!(compare(&[StoredHash::Md5(content.md5)]), Comparison::Equal("MD5"));
        assert_eq!(
            compare(&[StoredHash::Sha256(other.sha256), StoredHash::Md5(content.md5)]),
            Comparison::Differs("SHA-256")
        );
    }

    #[test]
    fn hashes_of_parts_compare_only_with_an_upload_of_as_many_parts() {
        let content = Content::of(b"abcdef");
        let parts = [Content::of(b"abc"), Content::of(b"def")];
        let (sent, receipt) = (PartHashes::of(&parts), Receipt::of_parts(&parts));
        let told = StoredHash::Md5OfParts { digest: sent.md5, parts: 2 };
        assert_eq!(compare(&content, &receipt, &[told]), Comparison::Equal("MD5 of parts"));
        let fewer = StoredHash::Md5OfParts { digest: sent.md5, parts: 1 };
        assert_eq!(compare(&content, &receipt, &[fewer]), Comparison::Nothing);
        assert_eq!(compare(&content, &Receipt::whole(), &[told]), Comparison::Nothing);
        let wrong = StoredHash::Sha256OfParts { digest: [0; 32], parts: 2 };
        assert_eq!(compare(&content, &receipt, &[told, wrong]), Comparison::Differs("SHA-256 of parts"));
    }

    #[test]
    fn a_receipt_survives_as_text() {
        let receipt = Receipt::of_parts(&[Content::of(b"a"), Content::of(b"b")]);
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
        assert_eq!("".parse(), Ok(Receipt::whole()));
        for text in ["parts=1", "parts=x md5=00 sha256=00", " "] {
            assert!(text.parse::<Receipt>().is_err(), "{text:?}");
        }
    }
}
