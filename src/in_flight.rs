//! Bytes in flight over all sessions: what initiators have sent or asked for and what is still in our hands, held to
//! `iscsi.max_bytes_in_flight`.
//!
//! A session may hold what the others leave, and its share in any case, so that a full house delays everybody and stops nobody. The
//! protocol core invites no more data than that, and finishes the command in hand whatever the number says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// How long a squeezed session waits before it looks again.
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

    /// What all sessions hold.
    pub fn bytes(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
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

    /// What a session that holds `own` may hold: what the others leave, and its share in any case.
    pub fn room_for(&self, own: u64) -> u64 {
        let others = self.sum.load(Ordering::Relaxed).saturating_sub(own);
        self.limit.load(Ordering::Relaxed).saturating_sub(others).max(SHARE_BYTES)
    }

    /// Returns when something has left, or after a while: a fall just before the call is not missed for long.
    pub async fn fell(&self) {
        let _ = timeout(PATIENCE, self.fell.notified()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_full_house_leaves_everybody_a_share_and_nobody_more() {
        let bytes = InFlight::new(100 * MIB);
        bytes.moved(0, 60 * MIB);
        assert_eq!((bytes.room_for(60 * MIB), bytes.room_for(0)), (100 * MIB, 40 * MIB));
        bytes.moved(0, 40 * MIB);
        assert_eq!((bytes.room_for(60 * MIB), bytes.room_for(40 * MIB)), (60 * MIB, 40 * MIB));
        assert_eq!(bytes.room_for(0), 8 * MIB);
        bytes.moved(60 * MIB, 0);
        assert_eq!(bytes.room_for(40 * MIB), 100 * MIB);
    }
}
