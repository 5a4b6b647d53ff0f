//! A key from a passphrase: Argon2id, version 13h (RFC 9106).

use argon2::{Algorithm, Argon2, Params, Version};
use vtl_types::Secret;

use crate::key::{KEY_BYTES, Key};

/// What making a key from a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Threads that it could be done with.
    pub lanes: u32,
}

/// Beyond these what was read is none of ours: it must not ask for all the memory there is.
pub const MAX_COST: Cost = Cost { memory_kib: 1 << 20, passes: 64, lanes: 16 };

impl Cost {
    /// Whether a file may ask for it.
    pub fn is_bearable(&self) -> bool {
        let most = MAX_COST;
        self.memory_kib <= most.memory_kib && self.passes <= most.passes && self.lanes <= most.lanes
    }
}

/// The key that this passphrase makes with this salt.
///
/// # Errors
/// The cost or the salt is none that Argon2 takes.
pub fn from_passphrase(passphrase: &Secret, salt: &[u8], cost: Cost) -> Result<Key, String> {
    let why = |error: argon2::Error| format!("no key can be made of this passphrase: {error}");
    if !cost.is_bearable() {
        return Err(format!(
            "no key can be made of this passphrase: its cost {cost:?} is above {MAX_COST:?}"
        ));
    }
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).map_err(why)?;
    let mut key = zeroize::Zeroizing::new([0; KEY_BYTES]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.expose(), salt, &mut *key).map_err(why)?;
    Ok(Key::new(*key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_that_no_file_may_ask_for_makes_no_key() {
        let secret = Secret::new(b"made-up passphrase".to_vec());
        let small = Cost { memory_kib: 64, passes: 1, lanes: 1 };
        assert!(from_passphrase(&secret, &[7; 32], small).is_ok());
        let greedy = [
            Cost { memory_kib: u32::MAX, ..small },
            Cost { passes: u32::MAX, ..small },
            Cost { lanes: u32::MAX, ..small },
        ];
        for cost in greedy {
            assert!(from_passphrase(&secret, &[7; 32], cost).unwrap_err().contains("cost"), "{cost:?}");
        }
    }
}
