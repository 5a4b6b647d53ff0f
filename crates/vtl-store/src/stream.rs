//! One owner's stream, open for reading and writing.
//!
//! `len` counts all appended bytes: committed ones, those in pack files that a commit has still to name, those on their
//! way through the lane, and the tail that is not a whole chunk yet.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

use crate::error::{ReadError, StoreError};
use crate::lane::{Lane, Located, PrepareError};
use crate::pack::{ChunkEntry, PackId};
use crate::reader::Reader;
use crate::recipe::{Extent, Note, State, extent_at};
use crate::store::{Core, delta, snapshot};
use crate::types::OwnerId;
use crate::workers::lock;

/// Pieces shorter than this are copied together: a chunk of many small pieces is slow to hash and write, and each
/// piece keeps the whole buffer alive that it was cut from.
const SMALL_PIECE: usize = 16 << 10;

/// An open stream. Dropping it gives up what is not committed and lets others open it.
pub struct Stream {
    core: Arc<Core>,
    owner: OwnerId,
    state: Arc<Mutex<State>>,
    lane: Arc<Lane>,
    reader: Reader,
    tail: Tail,
    len: u64,
    /// Bytes below are committed and not cut by the next commit.
    base: u64,
    /// Bytes below are in pack files.
    settled: u64,
    /// Where a sequential reader would go on.
    next_read: u64,
}

/// Appended bytes that are not a whole chunk yet.
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

/// A chunk of the stream, and how far the stream uses it.
struct Place {
    pack: PackId,
    entry: ChunkEntry,
    end: u64,
}

impl Stream {
    pub(crate) fn new(core: Arc<Core>, owner: OwnerId, state: Arc<Mutex<State>>) -> Self {
        let length = lock(&state).head.length;
        let options = &core.options;
        let ahead = (options.readahead_chunks + 2).saturating_mul(options.chunk_bytes);
        let reader = Reader::new(
            Arc::clone(&core.disk),
            core.folder(owner),
            owner,
            Arc::clone(&core.codec),
            options.cache_bytes.max(ahead),
            Arc::clone(&core.cached),
        );
        let lane = Arc::new(core.lane(owner, length));
        let tail = Tail::default();
        Self {
            core,
            owner,
            state,
            lane,
            reader,
            tail,
            len: length,
            base: length,
            settled: length,
            next_read: 0,
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

    /// Appends bytes. Whole chunks are hashed, compressed and written in the background; this call waits only when
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
        self.settle()?;
        self.lane.truncate(len);
        self.len = len;
        self.settled = len;
        self.base = self.base.min(len);
        Ok(())
    }

    /// Exactly `len` bytes from `offset`, verified; bytes that are not committed yet too.
    pub fn read(&mut self, offset: u64, len: u64) -> Result<Vec<Bytes>, ReadError> {
        let out_of_range = ReadError::OutOfRange { offset, len, end: self.len };
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.len) else {
            return Err(out_of_range);
        };
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
        let committed = prepared.and_then(|change| self.core.commit(self.owner, change));
        let dead = committed.map_err(|why| self.fall_back(why))?;
        self.lane.committed(&dead);
        self.core.unlink_packs(self.owner, &dead);
        self.base = self.len;
        self.settled = self.len;
        Ok(())
    }

    fn take_piece(&mut self, mut piece: Bytes) {
        let chunk_bytes = self.core.options.chunk_bytes;
        while !piece.is_empty() {
            let room = chunk_bytes.saturating_sub(self.tail.len).max(1);
            self.tail.push(piece.split_to(room.min(piece.len())));
            if self.tail.len >= chunk_bytes {
                self.cut();
            }
        }
    }

    /// Ends the chunk in the tail and hands it over.
    fn cut(&mut self) {
        if self.tail.len > 0 {
            let compress = self.tail.compress;
            let (pieces, len) = self.tail.take();
            self.lane.submit(&self.core.workers, pieces, len, compress);
        }
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
        let fresh = self.lane.fall_back(length);
        // After a failed sync a record that names these packs may be on the disk all the same: they stay, and the
        // next start knows.
        if self.core.writable().is_ok() {
            self.core.unlink_packs(self.owner, &fresh);
        }
        (self.len, self.base, self.settled) = (length, length, length);
    }

    /// Bytes of the chunk that holds `at`, up to `end`, and where they stop.
    fn read_chunk(&mut self, at: u64, end: u64) -> Result<(Bytes, u64), ReadError> {
        let place = self.locate(at)?;
        let chunk = self.reader.chunk(place.pack, &place.entry);
        let lost = |why: String| ReadError::Damaged {
            owner: self.owner,
            offset: place.entry.stream_offset,
            len: place.end.saturating_sub(place.entry.stream_offset),
            why,
        };
        let chunk = chunk.map_err(|error| lost(format!("pack {}: {error}", place.pack)))?;
        let stop = end.min(place.end);
        let range = at - place.entry.stream_offset..stop - place.entry.stream_offset;
        let within = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        match within {
            Some((from, to)) if from <= to && to <= chunk.len() => Ok((chunk.slice(from..to), stop)),
            _ => Err(lost("the chunk is shorter than its table says".to_string())),
        }
    }

    fn locate(&mut self, at: u64) -> Result<Place, ReadError> {
        let located = if at >= self.base { self.lane.locate(at) } else { self.locate_committed(at) };
        match located {
            Located::Chunk(extent, entry) => Ok(self.place(&extent, entry)),
            Located::InFooter(extent) => {
                let lost =
                    |len: u64, why: String| ReadError::Damaged { owner: self.owner, offset: at, len, why };
                let rest = self.usable_end(&extent).saturating_sub(at);
                let table = self.reader.table(extent.pack);
                let table = table.map_err(|error| lost(rest, error.to_string()))?;
                match extent.find(&table, at) {
                    Some(entry) => Ok(self.place(&extent, *entry)),
                    None => {
                        let next = next_chunk(&extent, &table, at).min(at.saturating_add(rest));
                        let why = format!("pack {}: the chunk's header is lost", extent.pack);
                        Err(lost(next.saturating_sub(at), why))
                    }
                }
            }
            Located::Nowhere => Err(ReadError::Damaged {
                owner: self.owner,
                offset: at,
                len: 1,
                why: "no chunk is known to hold this byte".to_string(),
            }),
        }
    }

    fn locate_committed(&self, at: u64) -> Located {
        let state = lock(&self.state);
        let Some(extent) = extent_at(state.extents(), at) else { return Located::Nowhere };
        match state.table(extent.pack) {
            None => Located::InFooter(*extent),
            Some(table) => match extent.find(table, at) {
                Some(entry) => Located::Chunk(*extent, *entry),
                None => Located::Nowhere,
            },
        }
    }

    /// Where an extent ends for a reader: a cut that is not committed counts.
    fn usable_end(&self, extent: &Extent) -> u64 {
        if extent.start < self.base { extent.end().min(self.base) } else { extent.end() }
    }

    fn place(&self, extent: &Extent, entry: ChunkEntry) -> Place {
        Place { pack: extent.pack, entry, end: entry.stream_end().min(self.usable_end(extent)) }
    }

    fn read_ahead(&mut self, offset: u64, end: u64) {
        let sequential = offset == self.next_read && offset < end;
        self.next_read = end;
        if !sequential {
            return;
        }
        let mut at = end;
        for _ in 0..self.core.options.readahead_chunks {
            if at >= self.settled {
                return;
            }
            // What is wrong ahead is told when it is read.
            let Ok(place) = self.locate(at) else { return };
            at = place.end.max(at + 1);
            self.reader.prefetch(&self.core.workers, place.pack, place.entry);
        }
    }
}

/// Where the first chunk of the extent behind `at` begins, as far as the table knows.
fn next_chunk(extent: &Extent, table: &[ChunkEntry], at: u64) -> u64 {
    let mine = extent.first..extent.first.saturating_add(extent.count);
    let behind = table.iter().filter(|entry| mine.contains(&entry.index) && entry.stream_offset > at);
    behind.map(|entry| entry.stream_offset).min().unwrap_or(extent.end())
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("owner", &self.owner).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let clean = self.len == self.base && lock(&self.state).head.length == self.base;
        let mut sealed = None;
        if clean && self.core.writable().is_ok() {
            match self.lane.seal() {
                Ok(pack) => sealed = pack,
                Err(PrepareError::Write(why)) => {
                    tracing::warn!(owner = %self.owner, why, "a pack stays unsealed")
                }
                Err(PrepareError::Sync(why)) => self.core.set_read_only(&why),
            }
        }
        self.give_up();
        self.core.close_stream(self.owner, sealed);
    }
}
