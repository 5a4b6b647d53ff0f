//! What a device keeps over a restart: reservations with APTPL, saved mode pages.

use alloc::vec::Vec;

/// It could not be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistFault;

/// A few small values by name, durable.
pub trait Persist {
    /// What was saved under `key`.
    fn load(&self, key: &str) -> Option<Vec<u8>>;

    /// Saves `value` (an empty one removes it); durable when it returns.
    ///
    /// # Errors
    /// When the value is not durable; the old one still stands.
    fn save(&mut self, key: &str, value: &[u8]) -> Result<(), PersistFault>;
}
