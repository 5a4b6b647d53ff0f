//! One owner's stream, open for reading and writing.
//!
//! `len` counts all appended bytes: committed ones, those in pack files that a commit has still to name, those on their
//! way through the lane, and the tail that is not a whole chunk yet.

use std::fmt;

use bytes::{Bytes, BytesMut};

use crate::cutter::Batch;
use crate::error::{ReadError, StoreError};
use crate::lane::Lane;
use crate::recipe::{Change, Extent, Note, State, extent_at};
use crate::seeker::Seeker;
use crate::store::{Core, delta, snapshot};
use crate::sync::{Arc, Mutex};
use crate::types::{OwnerId, Soon};
use crate::workers::lock;
use crate::writer::PrepareError;

/// Pieces shorter than this are copied together: a chunk of many small pieces is slow to hash and write, and each
/// piece keeps the whole buffer alive that it was cut from.
const SMALL_PIECE: usize = 16 << 10;

/// An open stream. Dropping it gives up what is not committed and lets others open it.
pub struct Stream {
    core: Arc<Core>,
    owner: OwnerId,
    state: Arc<Mutex<State>>,
    lane: Arc<Lane>,
    seeker: Seeker,
    tail: Tail,
    len: u64,
    /// Bytes below are committed and not cut by the next commit.
    base: u64,
    /// Bytes below are in pack files.
    settled: u64,
    /// What the next commit does with the guard.
    guard: Option<bool>,
}

/// Appended bytes that are not handed over yet.
#[derive(Default)]
struct Tail {
    pieces: Vec<Bytes>,
    small: BytesMut,
    len: usize,
    compress: bool,
}

impl Tail {
    fn push(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SMALL_PIECE {
            self.small.extend_from_slice(&piece);
        } else {
            self.end_small();
            self.pieces.push(piece);
        }
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(self.small.split().freeze());
        }
    }

    fn take(&mut self) -> (Vec<Bytes>, usize) {
        self.end_small();
        (std::mem::take(&mut self.pieces), std::mem::take(&mut self.len))
    }
}

impl Stream {
    pub(crate) fn new(core: Arc<Core>, owner: OwnerId, state: Arc<Mutex<State>>) -> Self {
        let length = lock(&state).head.length;
        let seeker = Seeker::new(Arc::clone(&core), owner);
        let lane = core.lane(length);
        let tail = Tail::default();
        Self {
            core,
            owner,
            state,
            lane,
            seeker,
            tail,
            len: length,
            base: length,
            settled: length,
            guard: None,
        }
    }

    /// Whose stream it is.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// All appended bytes, durable or not.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the stream has no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes. They are cut, hashed, compressed and written in the background; this call waits only when
    /// too much of that is going on. Pieces of 16 KiB and more are not copied.
    pub fn append(&mut self, data: &[Bytes], compress: bool) -> Result<(), StoreError> {
        self.hear_failure()?;
        self.core.writable()?;
        let added = data.iter().map(Bytes::len).sum::<usize>() as u64;
        if added == 0 {
            return Ok(());
        }
        let limit = u64::MAX >> 1;
        let end = self.len.checked_add(added).filter(|end| *end <= limit);
        let end = end.ok_or(StoreError::TooLong { what: "the stream", len: added, limit })?;
        self.core.scrub.touch();
        self.core.admit_append(added.saturating_add(self.tail.len as u64))?;
        if self.tail.compress != compress {
            self.cut();
            self.tail.compress = compress;
        }
        for piece in data {
            self.take_piece(piece.clone());
        }
        self.len = end;
        self.hear_failure()
    }

    /// Cuts the stream to `len` bytes. Part of the next commit.
    pub fn truncate(&mut self, len: u64) -> Result<(), StoreError> {
        self.hear_failure()?;
        self.core.writable()?;
        if len > self.len {
            return Err(StoreError::TooLong { what: "the length to truncate to", len, limit: self.len });
        }
        if len == self.len {
            return Ok(());
        }
        {
            let state = lock(&self.state);
            if state.guarded && len < state.head.length {
                return Err(StoreError::Guarded { owner: self.owner });
            }
        }
        self.settle()?;
        self.lane.truncate(len);
        self.seeker.cut(len);
        self.len = len;
        self.settled = len;
        self.base = self.base.min(len);
        Ok(())
    }

    /// Puts the guard on, or takes it off; part of the next commit. While it is on, bytes that are committed cannot be cut and the owner
    /// cannot be removed, whatever is asked; more can be appended.
    pub fn guard(&mut self, on: bool) {
        self.guard = Some(on);
    }

    /// Nobody will read soon what is appended from now on: packs that are begun for it go past the system's page cache where they may
    /// ([`crate::DirectIo::Auto`]), whatever memory there is.
    pub fn not_read_soon(&mut self) {
        self.lane.set_soon(Soon::No);
    }

    /// Whether the guard is on, as committed.
    pub fn is_guarded(&self) -> bool {
        lock(&self.state).guarded
    }

    /// Exactly `len` bytes from `offset`, verified; bytes that are not committed yet too.
    pub fn read(&mut self, offset: u64, len: u64) -> Result<Vec<Bytes>, ReadError> {
        let out_of_range = ReadError::OutOfRange { offset, len, end: self.len };
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.len) else {
            return Err(out_of_range);
        };
        self.core.scrub.touch();
        if end > self.settled {
            self.settle()?;
        }
        let mut pieces = Vec::new();
        let mut at = offset;
        while at < end {
            let (piece, next) = self.read_chunk(at, end)?;
            pieces.push(piece);
            at = next;
        }
        self.read_ahead(offset, end);
        Ok(pieces)
    }

    /// Makes everything appended and cut so far durable, and the delta with it.
    pub fn commit(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let note = delta(bytes)?;
        self.commit_note(note)
    }

    /// The same with a snapshot, which replaces all deltas.
    pub fn commit_snapshot(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let note = snapshot(bytes)?;
        self.commit_note(note)
    }

    fn commit_note(&mut self, note: Note) -> Result<(), StoreError> {
        self.core.writable()?;
        self.cut();
        let prepared = self.lane.prepare(note).map_err(|error| match error {
            PrepareError::Write(why) => why,
            PrepareError::Sync(why) => {
                self.core.set_read_only(&why);
                why
            }
        });
        let guard = self.guard;
        let guarded = prepared.map(|change| Change { guard, ..change });
        let committed = guarded.and_then(|change| self.core.commit(self.owner, &self.state, change));
        committed.map_err(|why| self.fall_back(why))?;
        self.guard = None;
        self.lane.committed();
        self.base = self.len;
        self.settled = self.len;
        Ok(())
    }

    /// In batches that are not longer than wanted: one that is could wait for ever for so much to be in flight no more.
    fn take_piece(&mut self, mut piece: Bytes) {
        let batch_bytes = self.core.options.batch_bytes;
        while !piece.is_empty() {
            let room = batch_bytes.saturating_sub(self.tail.len).max(1);
            self.tail.push(piece.split_to(room.min(piece.len())));
            if self.tail.len >= batch_bytes {
                self.hand_over(false);
            }
        }
    }

    fn hand_over(&mut self, end: bool) {
        let compress = self.tail.compress;
        let (pieces, _) = self.tail.take();
        self.lane.submit(Batch { pieces, compress, end, probe: None });
    }

    /// Ends the chunk that is being cut, wherever it is.
    fn cut(&mut self) {
        self.hand_over(true);
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        self.cut();
        self.lane.settle().map_err(|why| self.fall_back(why))?;
        self.settled = self.len;
        Ok(())
    }

    fn hear_failure(&mut self) -> Result<(), StoreError> {
        match self.lane.failure() {
            None => Ok(()),
            Some(why) => Err(self.fall_back(why)),
        }
    }

    /// Back to the last commit, with the error that says so.
    fn fall_back(&mut self, why: String) -> StoreError {
        self.give_up();
        StoreError::LateWrite { owner: self.owner, kept_bytes: self.len, why }
    }

    fn give_up(&mut self) {
        let length = lock(&self.state).head.length;
        self.tail = Tail::default();
        self.guard = None;
        let fresh = self.lane.fall_back(length);
        // After a failed sync a record that names these packs may be on the disk all the same: they stay, and the
        // next start knows.
        if self.core.writable().is_ok() {
            self.core.unlink_packs(&fresh);
        }
        self.seeker.cut(length);
        (self.len, self.base, self.settled) = (length, length, length);
    }

    /// Bytes of the chunk that holds `at`, up to `end`, and where they stop.
    fn read_chunk(&mut self, at: u64, end: u64) -> Result<(Bytes, u64), ReadError> {
        let extent = self.extent_at(at);
        self.seeker.piece(extent, at, end).map(|(portion, next)| (portion.bytes, next))
    }

    fn extent_at(&self, at: u64) -> Option<Extent> {
        extent_of(&self.lane, &self.state, self.base, at)
    }

    fn read_ahead(&mut self, offset: u64, end: u64) {
        let Self { lane, state, base, settled, .. } = self;
        self.seeker.read_ahead(offset, end, *settled, |at| extent_of(lane, state, *base, at));
    }
}

/// The extent of a stream as it is for a reader: a cut below `base` that is not committed counts.
fn extent_of(lane: &Lane, state: &Mutex<State>, base: u64, at: u64) -> Option<Extent> {
    if at >= base {
        return lane.extent_at(at);
    }
    let mut extent = *extent_at(lock(state).extents(), at)?;
    if extent.end() > base {
        extent.len = (base - extent.start) as u32;
    }
    Some(extent)
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("owner", &self.owner).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let clean = self.len == self.base && lock(&self.state).head.length == self.base;
        if clean && self.core.writable().is_ok() {
            match self.lane.leave() {
                Ok(()) => {}
                Err(PrepareError::Write(why)) => {
                    tracing::warn!(owner = %self.owner, why, "a pack has no footer yet and waits for the next stream");
                }
                Err(PrepareError::Sync(why)) => self.core.set_read_only(&why),
            }
        }
        self.give_up();
        self.core.close_stream(self.owner);
    }
}
