//! Random names from the operating system.

use crate::content::hex as to_hex;

/// Sixteen random digits, for names that meet no other.
pub(crate) fn hex() -> Result<String, String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| format!("the operating system gives no randomness: {error}"))?;
    Ok(to_hex(&bytes))
}
