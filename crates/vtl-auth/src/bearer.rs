//! Texts that open something: what they look like, and what is kept of them.
//!
//! `KIND_ID_SECRET`, such as `vtlt_0123456789abcdef_…`: the kind says what it was made for, and opens nothing else; the
//! id finds the row; 32 random bytes prove it. Only the SHA-256 of kind, id and secret is kept: 256 random bits
//! need no slow hash.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Fills bytes with randomness.
pub type Random<'a> = &'a dyn Fn(&mut [u8]);

/// What a text was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session, in a cookie.
    Session,
    /// An API token.
    Token,
    /// The one-time link of the first start.
    Setup,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Session, Self::Token, Self::Setup];

    const fn word(self) -> &'static str {
        match self {
            Self::Session => "vtls",
            Self::Token => "vtlt",
            Self::Setup => "vtlu",
        }
    }
}

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A text that opens something. Printing shows its kind and id alone.
#[derive(Clone)]
pub struct Bearer {
    /// What it was made for.
    pub kind: Kind,
    /// What finds its row.
    pub id: String,
    secret: Zeroizing<String>,
}

impl Bearer {
    /// A new one.
    #[must_use]
    pub fn new(kind: Kind, random: Random<'_>) -> Self {
        let (mut id, mut secret) = ([0; ID_BYTES], Zeroizing::new([0; SECRET_BYTES]));
        random(&mut id);
        random(secret.as_mut_slice());
        Self { kind, id: hexadecimal(&id), secret: Zeroizing::new(hexadecimal(secret.as_slice())) }
    }

    /// Reads what a caller sent; none when it looks like none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once('_')?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word)?;
        let (id, secret) = rest.split_once('_')?;
        let is_hexadecimal =
            |text: &str, bytes: usize| text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit());
        (is_hexadecimal(id, ID_BYTES) && is_hexadecimal(secret, SECRET_BYTES)).then(|| Self {
            kind,
            id: id.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
        })
    }

    /// The whole text, for the one answer that shows it.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}_{}_{}", self.kind.word(), self.id, self.secret.as_str()))
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.expose().as_bytes()).into()
    }

    /// Whether this is what was kept, in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is(&self, digest: &[u8]) -> bool {
        self.digest().as_slice().ct_eq(digest).into()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_***", self.kind.word(), self.id)
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes that count up from this one.
    pub(crate) fn counting(from: u8) -> impl Fn(&mut [u8]) {
        move |bytes| (from..=u8::MAX).cycle().zip(bytes).for_each(|(n, byte)| *byte = n)
    }

    const TEXT: &str =
        "vtlt_0102030405060708_0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";

    #[test]
    fn a_token_has_kind_id_and_256_random_bits_and_its_digest_is_sha_256() {
        let made = Bearer::new(Kind::Token, &counting(1));
        assert_eq!(made.expose().as_str(), TEXT);
        let read = Bearer::parse(TEXT).unwrap();
        assert!(read.is(&made.digest()));
        // printf %s TEXT | sha256sum
        assert_eq!(
            hexadecimal(&made.digest()),
            "9ec4922b6f6b8dfffab50d9ef49ec5f113c00e6a65b9dc29981c60143150575c"
        );
        assert_eq!(format!("{made:?}"), "vtlt_0102030405060708_***");
    }

    #[test]
    fn the_same_secret_under_another_kind_or_id_opens_nothing() {
        let kept = Bearer::parse(TEXT).unwrap().digest();
        for other in [TEXT.replace("vtlt", "vtls"), TEXT.replace("_01", "_02"), TEXT.replace("1f20", "1f21")]
        {
            assert!(!Bearer::parse(&other).unwrap().is(&kept), "{other}");
        }
    }

    #[test]
    fn what_looks_like_none_is_none() {
        let long = format!("{TEXT}0");
        for text in [
            "",
            "vtlt",
            "vtlt__",
            "vtlx_0102030405060708_00",
            "_",
            "ä_ä_ä",
            &long,
            &TEXT.replace("1f20", "1fzz"),
        ] {
            assert!(Bearer::parse(text).is_none(), "{text}");
        }
    }
}
