//! Randomness from the operating system.

use std::process;

/// Fills `bytes`. Without randomness there is no safe way on: challenges, ids and nonces would repeat, so the daemon ends.
pub fn fill(bytes: &mut [u8]) {
    if let Err(error) = getrandom::fill(bytes) {
        tracing::error!(%error, "the operating system gives no randomness; stopping");
        process::abort();
    }
}

/// Sixteen random bytes.
pub fn id() -> [u8; 16] {
    let mut id = [0; 16];
    fill(&mut id);
    id
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
