//! Bytes that must not reach a log: CHAP secrets, tokens.

use alloc::{string::String, vec::Vec};
use core::fmt;

use zeroize::Zeroize;

/// A secret. Printing shows `***`; the memory is wiped when it is dropped.
///
/// There is no `PartialEq` on purpose: comparing secrets is the protocol's business, in constant time.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes, for the one place that computes with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes the secret has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// An address of the web. Services that take posts tell who posts by a path or a query that is as good as a password: printing shows the host alone.
#[derive(Clone)]
pub struct SecretAddress(String);

impl SecretAddress {
    /// Takes the address over.
    #[must_use]
    pub const fn new(address: String) -> Self {
        Self(address)
    }

    /// The whole address, for the one place that asks there.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str("***") };
        match rest.split_once(['/', '?', '#']) {
            Some((host, secret)) if !secret.is_empty() => write!(f, "{scheme}://{host}/***"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for SecretAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;

    use super::*;

    #[test]
    fn of_an_address_the_host_is_shown() {
        for (address, shown) in [
            ("https://alerts.example.org/hooks/T0/made-up", "https://alerts.example.org/***"),
            ("http://127.0.0.1:8080?token=made-up", "http://127.0.0.1:8080/***"),
            ("https://alerts.example.org/", "https://alerts.example.org/"),
            ("https://alerts.example.org", "https://alerts.example.org"),
            ("alerts.example.org/made-up", "***"),
        ] {
            let secret = SecretAddress::new(address.to_owned());
            assert_eq!(std::format!("{secret} {secret:?}"), std::format!("{shown} {shown}"));
            assert_eq!(secret.expose(), address);
        }
    }

    #[test]
    fn a_secret_never_shows_in_a_debug_print() {
        let secret = Secret::new(b"correct horse".to_vec());
        assert_eq!(std::format!("{secret:?} {:#?}", Some(&secret)), "*** Some(\n    ***,\n)");
        assert_eq!(secret.expose(), b"correct horse");
    }
}
