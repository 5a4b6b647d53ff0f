//! Receive buffers. What the protocol cuts from them goes on to the store without a copy, and the room comes back once the last piece is gone:
//! memory that is touched for the first time costs a page fault for each 4 KiB, and those cost as much as receiving the bytes.

use std::collections::VecDeque;
use std::io;

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
/// Large buffers kept for another turn. What is on its way through the units beyond that is allocated anew.
const MAX_KEPT: usize = 32;

/// The bytes that have come and are not yet PDUs, and the buffers that they come in.
#[derive(Debug, Default)]
pub struct Input {
    /// What the protocol takes from.
    pub buffer: BytesMut,
    /// How long the buffer was when it was allocated.
    allocated: usize,
    /// Large buffers whose bytes have all been taken, longest ago first; pieces of them may still be in use.
    kept: VecDeque<BytesMut>,
}

impl Input {
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

    /// Lets go of what is kept: nothing has come for a while.
    pub fn rest(&mut self) {
        self.kept.clear();
    }

    /// Room for `needed` bytes in one piece with what is there.
    fn make_room(&mut self, needed: usize) {
        if self.buffer.capacity() - self.buffer.len() >= needed || self.buffer.try_reclaim(needed) {
            return;
        }
        let total = needed.saturating_add(self.buffer.len());
        let allocated = total.max(if total <= SMALL_BYTES { SMALL_BYTES } else { LARGE_BYTES });
        let mut fresh = self.reuse(allocated).unwrap_or_else(|| BytesMut::with_capacity(allocated));
        fresh.extend_from_slice(&self.buffer);
        let used = std::mem::replace(&mut self.buffer, fresh);
        if std::mem::replace(&mut self.allocated, allocated) == LARGE_BYTES {
            self.keep(used);
        }
    }

    fn reuse(&mut self, bytes: usize) -> Option<BytesMut> {
        let free =
            self.kept.iter_mut().position(|buffer| bytes == LARGE_BYTES && buffer.try_reclaim(bytes))?;
        self.kept.remove(free)
    }

    fn keep(&mut self, mut used: BytesMut) {
        used.clear();
        if self.kept.len() >= MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(used);
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
        let mut input = Input::default();
        for _ in 0..1000 {
            arrive(&mut input, 48);
            drop(input.buffer.split_to(48));
        }
        assert_eq!(input.allocated, SMALL_BYTES);
        assert!(input.kept.is_empty());
    }

    #[test]
    fn buffers_come_back_when_their_last_piece_is_gone_and_not_before() {
        let mut input = Input::default();
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
        let mut input = Input::default();
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
        let mut input = Input::default();
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
}
