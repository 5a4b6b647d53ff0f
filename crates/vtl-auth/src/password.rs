//! Passwords: Argon2id, version 13h (RFC 9106), with its cost kept beside each hash.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use subtle::ConstantTimeEq;
use vtl_types::Secret;
use zeroize::Zeroizing;

use crate::error::AuthError;

/// What making a hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Threads that it could be done with.
    pub lanes: u32,
}

/// What OWASP's Password Storage Cheat Sheet gives as the least for Argon2id: 19 MiB, 2 passes, 1 lane.
pub const COST: Cost = Cost { memory_kib: 19 << 10, passes: 2, lanes: 1 };

/// A row of the inventory cannot ask for more: it must not take all the memory there is.
const MOST: Cost = Cost { memory_kib: 1 << 18, passes: 16, lanes: 4 };

/// NIST SP 800-63B-4, 3.1.1.2, asks for 15 where a password is the only factor, and 8 beside another; length is what counts.
pub const MIN_PASSWORD: usize = 12;
/// Longer is no password, and hashing it would cost.
const MAX_PASSWORD: usize = 1024;

const SALT: usize = 16;
const HASH: usize = 32;

impl Cost {
    const fn is_bearable(self) -> bool {
        self.memory_kib <= MOST.memory_kib && self.passes <= MOST.passes && self.lanes <= MOST.lanes
    }

    fn hash(self, password: &Secret, salt: &[u8]) -> Option<Zeroizing<[u8; HASH]>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(HASH)).ok()?;
        let mut hash = Zeroizing::new([0; HASH]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password.expose(), salt, &mut *hash).ok()?;
        Some(hash)
    }
}

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    pub(crate) cost: Cost,
    pub(crate) salt: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hashed({:?}, ***)", self.cost)
    }
}

impl Hashed {
    /// Hashes a new password of this user.
    ///
    /// # Errors
    /// It is too short or too long, or the name once more.
    pub fn new(user: &str, password: &Secret, salt: [u8; SALT]) -> Result<Self, AuthError> {
        check(user, password)?;
        let unusable = AuthError::WeakPassword("it cannot be hashed");
        let hash = COST.hash(password, &salt).ok_or(unusable)?;
        Ok(Self { cost: COST, salt: salt.to_vec(), hash: hash.to_vec() })
    }

    /// Whether it is this password. Takes as long for a wrong one.
    #[must_use]
    pub fn is(&self, password: &Secret) -> bool {
        if !self.cost.is_bearable() || password.len() > MAX_PASSWORD {
            return false;
        }
        let made = self.cost.hash(password, &self.salt);
        made.is_some_and(|made| bool::from(made.as_slice().ct_eq(&self.hash)))
    }
}

/// Takes as long as a look at the password of a user who is there, and says no.
#[must_use]
pub fn verify_nobody(password: &Secret) -> bool {
    let nobody = Hashed { cost: COST, salt: vec![0x5a; SALT], hash: vec![0; HASH] };
    let _as_long = nobody.is(password);
    false
}

fn check(user: &str, password: &Secret) -> Result<(), AuthError> {
    let text =
        std::str::from_utf8(password.expose()).map_err(|_| AuthError::WeakPassword("it is no text"))?;
    let refuse = |why| Err(AuthError::WeakPassword(why));
    match text.chars().count() {
        n if n < MIN_PASSWORD => refuse("it has less than 12 characters"),
        _ if text.len() > MAX_PASSWORD => refuse("it has more than 1024 bytes"),
        _ if text.eq_ignore_ascii_case(user) => refuse("it is the name of its user"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    /// Made by the reference implementation (argon2-cffi 25.1): salt, 2 passes, 19456 KiB, 1 lane, 32 bytes.
    const REFERENCE: &str = "456e5502080508e4b9ee2a587bd2c1fabc3623f1d7a98d930e33f94ac731bbb5";

    #[test]
    fn the_hash_is_argon2id_with_19_mib_two_passes_and_one_lane() {
        let made = Hashed::new("alice", &secret("made-up password"), *b"saltsaltsaltsalt").unwrap();
        let hexadecimal: String = made.hash.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hexadecimal, REFERENCE);
        assert_eq!((made.cost.memory_kib, made.cost.passes, made.cost.lanes), (19_456, 2, 1));
    }

    #[test]
    fn the_right_password_is_known_and_nothing_else_is() {
        let kept = Hashed::new("alice", &secret("made-up password"), [1; 16]).unwrap();
        assert!(kept.is(&secret("made-up password")));
        for wrong in ["made-up passwore", "Made-up password", "", "made-up password "] {
            assert!(!kept.is(&secret(wrong)), "{wrong}");
        }
        assert!(!verify_nobody(&secret("made-up password")));
    }

    #[test]
    fn a_row_that_asks_for_all_memory_is_not_computed() {
        let kept = Hashed::new("alice", &secret("made-up password"), [1; 16]).unwrap();
        let greedy = [
            Cost { memory_kib: u32::MAX, ..COST },
            Cost { passes: u32::MAX, ..COST },
            Cost { lanes: u32::MAX, ..COST },
        ];
        for cost in greedy {
            assert!(!Hashed { cost, ..kept.clone() }.is(&secret("made-up password")), "{cost:?}");
        }
    }

    #[test]
    fn what_is_too_short_too_long_or_the_name_is_no_password() {
        let refused =
            |user: &str, text: &str| Hashed::new(user, &secret(text), [1; 16]).unwrap_err().to_string();
        assert!(refused("alice", "elevenchars").contains("less than 12"));
        assert!(refused("alice", &"a".repeat(1025)).contains("more than 1024"));
        assert!(refused("alice-of-the-tapes", "Alice-of-the-Tapes").contains("name of its user"));
        assert!(Hashed::new("alice", &Secret::new(vec![0xff; 20]), [1; 16]).is_err());
    }

    #[test]
    fn a_hash_never_shows_in_a_debug_print() {
        let kept = Hashed::new("alice", &secret("made-up password"), [1; 16]).unwrap();
        assert!(format!("{kept:?}").ends_with("***)"));
    }
}
