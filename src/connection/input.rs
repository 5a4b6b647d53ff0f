//! Receive buffers. What the protocol cuts from them goes on to the store without a copy, and the room comes back once the last piece is gone:
//! memory that is touched for the first time costs a page fault for each 4 KiB, and those cost as much as receiving the bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use tokio::net::TcpStream;

/// Room for PDUs without much data, and for what comes before the first large one: all that a connection has that never sends data.
const SMALL_BYTES: usize = 16 << 10;
/// Room for large PDUs: four of 256 KiB with headers, or one of 1 MiB.
const LARGE_BYTES: usize = (1 << 20) + SMALL_BYTES;
/// How much is read at once before a header says how much comes.
const AHEAD_BYTES: usize = 8 << 10;
/// A basic header segment (RFC 7143, 11.2.1): read together with the data before it.
const NEXT_HEADER_BYTES: usize = 48;
/// Large buffers of one connection. What is on its way through the units beyond that is allocated anew, piece by piece.
const MAX_KEPT: usize = 32;

/// How many large buffers all connections may have together. Who gets none takes a buffer for each large PDU, just as long as that.
#[derive(Debug)]
pub struct Supply {
    limit: AtomicUsize,
    given: AtomicUsize,
}

impl Supply {
    /// Large buffers of `bytes` together.
    pub fn of(bytes: u64) -> Arc<Self> {
        let supply = Self { limit: AtomicUsize::new(0), given: AtomicUsize::new(0) };
        supply.set_bytes(bytes);
        Arc::new(supply)
    }

    /// The same from now on; what is given stays so.
    pub fn set_bytes(&self, bytes: u64) {
        let buffers = usize::try_from(bytes).unwrap_or(usize::MAX) / LARGE_BYTES;
        self.limit.store(buffers, Ordering::Relaxed);
    }

    fn take(self: &Arc<Self>) -> Option<Given> {
        let limit = self.limit.load(Ordering::Relaxed);
        let one_more = |given: usize| (given < limit).then_some(given + 1);
        self.given.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Given(self.clone()))
    }
}

/// One of a [`Supply`]; given back when dropped.
#[derive(Debug)]
struct Given(Arc<Supply>);

impl Drop for Given {
    fn drop(&mut self) {
        self.0.given.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A large buffer whose bytes have all been taken; pieces of it may still be in use.
#[derive(Debug)]
struct Large {
    bytes: BytesMut,
    given: Given,
}

impl Large {
    /// Whether no piece of it is in use any more.
    fn is_free(&mut self) -> bool {
        self.bytes.try_reclaim(LARGE_BYTES)
    }
}

/// The bytes that have come and are not yet PDUs, and the buffers that they come in.
///
/// A piece keeps the whole buffer alive that it is in, however small it is. What that can cost is bounded: a connection never has more than
/// [`MAX_KEPT`] large buffers, in use or not, all together not more than the [`Supply`]; and a piece that is not copied anyway
/// (`vtl-iscsi` copies what is below 8 KiB) is at least half of any other buffer.
#[derive(Debug)]
pub struct Input {
    /// What the protocol takes from.
    pub buffer: BytesMut,
    /// How long the buffer was when it was allocated.
    allocated: usize,
    /// Set when the buffer is a large one.
    given: Option<Given>,
    /// Large buffers for another turn, longest ago first.
    kept: VecDeque<Large>,
    /// Large buffers that were still in use when the connection came to rest.
    lent: Vec<Large>,
    supply: Arc<Supply>,
}

impl Input {
    /// Nothing has come yet.
    pub fn new(supply: Arc<Supply>) -> Self {
        Self {
            buffer: BytesMut::new(),
            allocated: 0,
            given: None,
            kept: VecDeque::new(),
            lent: Vec::new(),
            supply,
        }
    }

    /// Reads once, at best the `needed` bytes and the header behind them. `Ok(0)` is the end of the stream.
    ///
    /// # Errors
    /// What the socket says, `WouldBlock` among it.
    pub fn read(&mut self, socket: &TcpStream, needed: usize) -> io::Result<usize> {
        let wanted = needed.saturating_add(NEXT_HEADER_BYTES).max(AHEAD_BYTES);
        self.make_room(needed.max(AHEAD_BYTES));
        let room = self.buffer.capacity() - self.buffer.len();
        socket.try_read_buf(&mut (&mut self.buffer).limit(wanted.min(room)))
    }

    /// Lets go of what is kept: nothing has come for a while. What is still in use is let go at a later rest.
    pub fn rest(&mut self) {
        self.lent.extend(self.kept.drain(..));
        self.lent.retain_mut(|large| !large.is_free());
    }

    /// Room for `needed` bytes in one piece with what is there.
    fn make_room(&mut self, needed: usize) {
        let total = needed.saturating_add(self.buffer.len());
        if self.buffer.capacity() - self.buffer.len() >= needed
            || self.fits(total) && self.buffer.try_reclaim(needed)
        {
            return;
        }
        let large = if total > SMALL_BYTES && total <= LARGE_BYTES { self.large() } else { None };
        let (mut fresh, given) = match large {
            Some(Large { bytes, given }) => (bytes, Some(given)),
            None if total <= SMALL_BYTES => (BytesMut::with_capacity(SMALL_BYTES), None),
            None => (BytesMut::with_capacity(total.saturating_add(NEXT_HEADER_BYTES)), None),
        };
        self.allocated = fresh.capacity();
        fresh.extend_from_slice(&self.buffer);
        let mut bytes = std::mem::replace(&mut self.buffer, fresh);
        if let Some(given) = std::mem::replace(&mut self.given, given) {
            bytes.clear();
            self.kept.push_back(Large { bytes, given });
        }
    }

    /// Whether the buffer may be used again for `total` bytes: a piece that comes must not hold much more than itself.
    fn fits(&self, total: usize) -> bool {
        self.given.is_some() || self.allocated <= SMALL_BYTES.max(total.saturating_mul(2))
    }

    /// A large buffer, if this connection may have one.
    fn large(&mut self) -> Option<Large> {
        if let Some(free) = self.kept.iter_mut().position(Large::is_free) {
            return self.kept.remove(free);
        }
        self.lent.retain_mut(|large| !large.is_free());
        let own = self.kept.len() + self.lent.len() + usize::from(self.given.is_some());
        let given = if own < MAX_KEPT { self.supply.take() } else { None }?;
        Some(Large { bytes: BytesMut::with_capacity(LARGE_BYTES), given })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What arrives: `len` bytes into a buffer that must take them in one piece.
    fn arrive(input: &mut Input, len: usize) {
        input.make_room(len);
        let before = input.buffer.capacity();
        input.buffer.put_bytes(0x5a, len);
        assert_eq!(input.buffer.capacity(), before, "room was made for {len} bytes");
    }

    #[test]
    fn a_connection_without_data_keeps_to_one_small_buffer() {
        let mut input = Input::new(Supply::of(1 << 30));
        for _ in 0..1000 {
            arrive(&mut input, 48);
            drop(input.buffer.split_to(48));
        }
        assert_eq!(input.allocated, SMALL_BYTES);
        assert!(input.kept.is_empty());
    }

    #[test]
    fn buffers_come_back_when_their_last_piece_is_gone_and_not_before() {
        let mut input = Input::new(Supply::of(1 << 30));
        let mut pieces = Vec::new();
        for _ in 0..40 {
            arrive(&mut input, 262_144);
            pieces.push(input.buffer.split_to(262_144).freeze());
        }
        assert_eq!(input.kept.len(), 9, "four pieces to a buffer, ten buffers");
        let places: Vec<_> = pieces.iter().map(|piece| piece.as_ptr()).collect();
        assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == 0x5a)));
        drop(pieces);
        for _ in 0..40 {
            arrive(&mut input, 262_144);
            let piece = input.buffer.split_to(262_144);
            assert!(places.contains(&piece.as_ptr()));
        }
    }

    #[test]
    fn what_is_left_over_moves_along_and_long_segments_are_not_kept() {
        let mut input = Input::new(Supply::of(1 << 30));
        arrive(&mut input, 100);
        input.buffer[99] = 0x77;
        drop(input.buffer.split_to(60));
        arrive(&mut input, 16_000_000);
        assert_eq!(input.buffer[39], 0x77);
        assert_eq!(input.buffer.len(), 16_000_040);
        let long = input.buffer.split().freeze();
        arrive(&mut input, 300_000);
        assert!(input.kept.is_empty());
        drop(long);
    }

    #[test]
    fn no_more_is_kept_than_the_limit_and_nothing_while_resting() {
        let mut input = Input::new(Supply::of(1 << 30));
        let pieces: Vec<_> = (0..200)
            .map(|_| {
                arrive(&mut input, 1 << 20);
                input.buffer.split().freeze()
            })
            .collect();
        assert_eq!(input.kept.len(), MAX_KEPT);
        input.rest();
        assert!(input.kept.is_empty());
        drop(pieces);
    }

    #[test]
    fn small_pieces_hold_a_bounded_number_of_large_buffers_and_then_about_as_much_as_they_are() {
        let mut input = Input::new(Supply::of(1 << 30));
        let mut pieces = Vec::new();
        let (mut large, mut waste) = (0, 0);
        for _ in 0..500 {
            // A piece that stays, and then so much that goes at once that the next one lies in another buffer.
            arrive(&mut input, SMALL_BYTES / 2);
            pieces.push(input.buffer.split_to(SMALL_BYTES / 2).freeze());
            if input.given.is_some() {
                large += 1;
            } else {
                waste += input.allocated - SMALL_BYTES / 2;
            }
            arrive(&mut input, 1 << 20);
            drop(input.buffer.split_to(1 << 20));
        }
        let held: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(large <= MAX_KEPT, "{large} large buffers");
        assert!(waste <= held, "{waste} bytes beside {held}");
        assert!(input.kept.len() + usize::from(input.given.is_some()) <= MAX_KEPT);
    }

    #[test]
    fn what_is_still_in_use_at_rest_counts_until_it_is_free() {
        let mut input = Input::new(Supply::of(1 << 30));
        let mut pieces = Vec::new();
        for _ in 0..3 {
            for _ in 0..40 {
                arrive(&mut input, 1 << 20);
                pieces.push(input.buffer.split().freeze());
            }
            input.rest();
            assert!(input.kept.is_empty());
            assert_eq!(input.lent.len(), MAX_KEPT);
        }
        drop(pieces);
        input.rest();
        assert!(input.lent.is_empty());
        assert!(input.large().is_some());
    }

    #[test]
    fn all_connections_together_have_no_more_large_buffers_than_there_are() {
        let supply = Supply::of(3 * LARGE_BYTES as u64);
        let mut inputs = [Input::new(supply.clone()), Input::new(supply.clone())];
        let mut pieces = Vec::new();
        for round in 0..10 {
            let input = &mut inputs[round % 2];
            arrive(input, 1 << 20);
            pieces.push(input.buffer.split().freeze());
        }
        assert_eq!(supply.given.load(Ordering::Relaxed), 3);
        drop(inputs);
        assert_eq!(supply.given.load(Ordering::Relaxed), 0);
        assert!(pieces.iter().all(|piece| piece.iter().all(|byte| *byte == 0x5a)));
    }
}
