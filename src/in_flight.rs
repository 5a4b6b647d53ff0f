//! Bytes in flight over all sessions: what initiators have sent or asked for and what is still in our hands, held to
//! `iscsi.max_bytes_in_flight`.
//!
//! A session within its share may always go on, so that a full house delays everybody and stops nobody. One that holds more waits until
//! there is room again, but never longer than [`PATIENCE`]: what it holds may be halves of commands that only more input can finish.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a session waits for room before it takes one more read all the same.
const PATIENCE: Duration = Duration::from_millis(100);
/// What a session may hold however full the house is: one block of the largest size that drives announce.
const SHARE_BYTES: u64 = 8 << 20;

/// The sum, and who waits for it to fall.
#[derive(Debug)]
pub struct InFlight {
    limit: AtomicU64,
    sum: AtomicU64,
    fell: Notify,
}

impl InFlight {
    /// Nothing in flight.
    pub fn new(limit: u64) -> Self {
        Self { limit: AtomicU64::new(limit), sum: AtomicU64::new(0), fell: Notify::new() }
    }

    /// The limit from now on.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
        self.fell.notify_waiters();
    }

    /// A session that held `before` holds `after` now.
    pub fn moved(&self, before: u64, after: u64) {
        if after >= before {
            self.sum.fetch_add(after - before, Ordering::Relaxed);
            return;
        }
        let was = self.sum.fetch_sub(before - after, Ordering::Relaxed);
        if was >= self.limit.load(Ordering::Relaxed) {
            self.fell.notify_waiters();
        }
    }

    /// Whether a session that holds `own` may take more now.
    pub fn has_room(&self, own: u64) -> bool {
        own < SHARE_BYTES || self.sum.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed)
    }

    /// Returns when something has left, or patience has.
    pub async fn room(&self) {
        let _ = timeout(PATIENCE, self.fell.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_full_house_stops_those_who_hold_more_than_their_share() {
        let bytes = InFlight::new(100 * MIB);
        bytes.moved(0, 60 * MIB);
        assert!(bytes.has_room(60 * MIB));
        bytes.moved(0, 40 * MIB);
        assert!(!bytes.has_room(60 * MIB) && !bytes.has_room(40 * MIB));
        assert!(bytes.has_room(0) && bytes.has_room(7 * MIB));
        bytes.moved(60 * MIB, 59 * MIB);
        assert!(bytes.has_room(59 * MIB));
    }

    #[tokio::test]
    async fn whoever_waits_goes_on_in_the_end_even_if_nothing_leaves() {
        let bytes = InFlight::new(MIB);
        bytes.moved(0, 100 * MIB);
        bytes.room().await;
        assert!(!bytes.has_room(100 * MIB));
    }
}
