//! Names and accounts that iSCSI needs in the configuration, the inventory and the API alike.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use crate::secret::Secret;

/// An iSCSI node name (RFC 7143, 4.2.7), such as `iqn.2026-11.internal.vtl:lib0`. Kept in lower case, as the
/// RFC's normalisation demands; only the ASCII part of its alphabet is supported.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IscsiName(String);

/// Why a text is no iSCSI name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IscsiNameError(String);

impl fmt::Display for IscsiNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no iSCSI name", self.0)
    }
}

impl core::error::Error for IscsiNameError {}

impl IscsiName {
    /// Longest name (RFC 7143, 4.2.7.1).
    pub const MAX_LEN: usize = 223;
    /// How to write one.
    pub const FORM: &str = "write iqn., eui. or naa. followed by letters, digits, '.', ':' and '-', at most 223 characters, \
                            such as iqn.1993-08.org.debian:01:abc";
    const TYPES: [&str; 3] = ["iqn.", "eui.", "naa."];

    /// The name's text, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IscsiName {
    type Err = IscsiNameError;

    fn from_str(text: &str) -> Result<Self, IscsiNameError> {
        let name = text.to_ascii_lowercase();
        let typed = Self::TYPES.iter().any(|t| name.len() > t.len() && name.starts_with(t));
        let known = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'));
        if typed && known && name.len() <= Self::MAX_LEN {
            Ok(Self(name))
        } else {
            Err(IscsiNameError(text.to_string()))
        }
    }
}

impl fmt::Display for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IscsiName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One side of CHAP: a name and the secret that proves it.
#[derive(Clone, Debug)]
pub struct ChapLogin {
    user: String,
    secret: Secret,
}

/// What a target asks of an initiator and, with `mutual`, what it proves in return.
#[derive(Clone, Debug)]
pub struct ChapAccount {
    login: ChapLogin,
    mutual: Option<ChapLogin>,
}

/// Why a CHAP login or account is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChapError {
    /// No user name, or one that is too long or has control characters.
    User,
    /// The secret has this many bytes.
    SecretLength(usize),
    /// Both directions have the same secret: an initiator could be made to answer its own challenge.
    SameSecret,
}

impl fmt::Display for ChapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => {
                write!(f, "a CHAP user name has 1 to {} bytes and no control characters", ChapLogin::MAX_LEN)
            }
            Self::SecretLength(len) => write!(
                f,
                "a CHAP secret has {} to {} bytes, this one has {len}",
                ChapLogin::MIN_SECRET_LEN,
                ChapLogin::MAX_LEN
            ),
            Self::SameSecret => f.write_str("the two directions of CHAP need two different secrets"),
        }
    }
}

impl core::error::Error for ChapError {}

impl ChapLogin {
    /// Shortest secret: 96 bits, below which RFC 7143, 9.2.1 wants IPsec.
    pub const MIN_SECRET_LEN: usize = 12;
    /// Longest user name and secret that we take; a text value of a login may have 255 bytes (RFC 7143, 6.1).
    pub const MAX_LEN: usize = 255;

    /// Checks and joins the two.
    ///
    /// # Errors
    /// [`ChapError::User`] or [`ChapError::SecretLength`].
    pub fn new(user: &str, secret: Secret) -> Result<Self, ChapError> {
        if user.is_empty() || user.len() > Self::MAX_LEN || user.chars().any(char::is_control) {
            return Err(ChapError::User);
        }
        if !(Self::MIN_SECRET_LEN..=Self::MAX_LEN).contains(&secret.len()) {
            return Err(ChapError::SecretLength(secret.len()));
        }
        Ok(Self { user: user.to_string(), secret })
    }

    /// The name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The secret.
    #[must_use]
    pub const fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl ChapAccount {
    /// Checks and joins the two directions.
    ///
    /// # Errors
    /// [`ChapError::SameSecret`].
    pub fn new(login: ChapLogin, mutual: Option<ChapLogin>) -> Result<Self, ChapError> {
        match &mutual {
            // Both were given to us by the same operator: no need to hide how long this comparison takes.
            Some(other) if other.secret.expose() == login.secret.expose() => Err(ChapError::SameSecret),
            _ => Ok(Self { login, mutual }),
        }
    }

    /// What an initiator must prove.
    #[must_use]
    pub const fn login(&self) -> &ChapLogin {
        &self.login
    }

    /// What the target proves when the initiator asks.
    #[must_use]
    pub const fn mutual(&self) -> Option<&ChapLogin> {
        self.mutual.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn login(user: &str, secret: &[u8]) -> Result<ChapLogin, ChapError> {
        ChapLogin::new(user, Secret::new(secret.to_vec()))
    }

    #[test]
    fn an_iscsi_name_is_compared_in_lower_case() {
        let upper: IscsiName = "IQN.1993-08.org.debian:01:ABC".parse().unwrap();
        assert_eq!(upper.as_str(), "iqn.1993-08.org.debian:01:abc");
        for good in ["eui.02004567a425678d", "naa.52004567ba64678d"] {
            assert!(good.parse::<IscsiName>().is_ok(), "{good}");
        }
        let long = format!("iqn.{}", "a".repeat(220));
        for bad in ["", "iqn.", "lib0", "iqn.a b", "iqn.a_b", "iqn.ä", "iqn.a\n", &long] {
            assert!(bad.parse::<IscsiName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_chap_secret_has_12_to_255_bytes() {
        assert_eq!(login("u", &[b'x'; 11]).err(), Some(ChapError::SecretLength(11)));
        assert_eq!(login("u", &[b'x'; 256]).err(), Some(ChapError::SecretLength(256)));
        assert!(login("u", &[b'x'; 12]).is_ok() && login("u", &[b'x'; 255]).is_ok());
        assert_eq!(login("", &[b'x'; 12]).err(), Some(ChapError::User));
        assert_eq!(login("a\nb", &[b'x'; 12]).err(), Some(ChapError::User));
    }

    #[test]
    fn the_two_directions_of_chap_never_share_a_secret() {
        let one = login("initiator", b"aaaaaaaaaaaa").unwrap();
        let same = login("target", b"aaaaaaaaaaaa").unwrap();
        let other = login("target", b"bbbbbbbbbbbb").unwrap();
        assert_eq!(ChapAccount::new(one.clone(), Some(same)).err(), Some(ChapError::SameSecret));
        let account = ChapAccount::new(one, Some(other)).unwrap();
        assert!(!format!("{account:?}").contains("aaaa"));
    }
}
