//! The way of one stream's bytes from `append` to its pack files.
//!
//! ```text
//! submit -> slot (Waiting) -> worker: hash, compress -> slot (Ready) -> in order -> batch -> write to the pack
//! ```
//!
//! Slots keep the order; whoever makes the front slot ready while nobody writes becomes the writer: the pack writer is
//! taken out of the lane for as long as it works. Bytes in flight are counted from `submit` until they are in the
//! file; above the limit `submit` waits. The first failure is kept, everything after it is dropped, and the stream's
//! next call hears of it.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::codec::{Codec, Encoded};
use crate::pack::{self, CHUNK_HEADER, ChunkEntry, ENTRY_BYTES, PAGE, PackHeader, PackId, TRAILER_BYTES};
use crate::recipe::{Change, Extent, Note, PackInfo, extent_at, push_extent, truncate_extents};
use crate::types::OwnerId;
use crate::workers::{Workers, lock, wait};

static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// What a lane needs of its store.
pub(crate) struct Context {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) store_id: [u8; 16],
    pub(crate) owner: OwnerId,
    pub(crate) epoch: u64,
    pub(crate) next_pack: Arc<AtomicU32>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) pack_bytes: u64,
    pub(crate) write_bytes: usize,
    pub(crate) in_flight_bytes: usize,
    /// The sum over all lanes.
    pub(crate) in_flight_total: Arc<AtomicU64>,
}

pub(crate) struct Lane {
    context: Context,
    state: Mutex<LaneState>,
    changed: Condvar,
}

struct LaneState {
    slots: VecDeque<Slot>,
    /// The number of the front slot.
    first: u64,
    in_flight: usize,
    /// Taken out while somebody writes.
    writer: Option<PackWriter>,
    failure: Option<String>,
}

enum Slot {
    Waiting,
    Ready(Encoded),
    /// The worker panicked.
    Broken,
}

/// Where a byte of the uncommitted part is.
pub(crate) enum Located {
    Chunk(Extent, ChunkEntry),
    /// In the table of this extent's pack, which has a footer.
    InFooter(Extent),
    Nowhere,
}

/// Why a commit could not be prepared.
pub(crate) enum PrepareError {
    /// Bytes could not be written; the pool goes on.
    Write(String),
    /// Bytes could not be synced; the pool must not.
    Sync(String),
}

impl Lane {
    pub(crate) fn new(context: Context, length: u64) -> Self {
        let state = LaneState {
            slots: VecDeque::new(),
            first: 0,
            in_flight: 0,
            writer: Some(PackWriter::new(length)),
            failure: None,
        };
        Self { context, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Hands a chunk over; blocks while too much is in flight.
    pub(crate) fn submit(
        self: &Arc<Self>,
        workers: &Workers,
        pieces: Vec<Bytes>,
        len: usize,
        compress: bool,
    ) {
        let mut state = lock(&self.state);
        while state.in_flight > 0
            && state.in_flight + len > self.context.in_flight_bytes
            && state.failure.is_none()
        {
            state = wait(&self.changed, state);
        }
        let number = state.first + state.slots.len() as u64;
        state.slots.push_back(Slot::Waiting);
        state.in_flight += len;
        self.context.in_flight_total.fetch_add(len as u64, Ordering::Relaxed);
        drop(state);
        let ticket = Ticket { lane: Arc::clone(self), number, done: false };
        workers.run(Box::new(move || {
            let encoded = ticket.lane.context.codec.encode(pieces, compress);
            ticket.finish(encoded);
        }));
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.state).failure.clone()
    }

    /// Waits until everything handed over is in pack files, unsynced.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let mut state = self.wait_idle();
        if state.failure.is_none()
            && let Some(writer) = state.writer.as_mut()
        {
            let flushed = writer.flush();
            let released = writer.take_released();
            self.release(&mut state, released);
            if let Err(error) = flushed {
                state.failure = Some(error.to_string());
            }
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    /// Writes and syncs all that the next commit refers to, and says what the commit changes.
    pub(crate) fn prepare(&self, note: Note) -> Result<Change, PrepareError> {
        self.settle().map_err(PrepareError::Write)?;
        let mut state = self.wait_idle();
        let Some(writer) = state.writer.as_mut() else {
            return Err(PrepareError::Write("the stream's writer is gone".to_string()));
        };
        writer.finish_page().map_err(|error| PrepareError::Write(error.to_string()))?;
        writer.sync(&self.context).map_err(|error| PrepareError::Sync(error.to_string()))?;
        Ok(writer.change(note))
    }

    /// The commit is durable; `dead` packs are not referred to any more.
    pub(crate) fn committed(&self, dead: &[PackId]) {
        if let Some(writer) = self.wait_idle().writer.as_mut() {
            writer.committed(dead);
        }
    }

    /// Cuts the uncommitted stream. Everything handed over must have been settled.
    pub(crate) fn truncate(&self, to: u64) {
        if let Some(writer) = self.wait_idle().writer.as_mut() {
            writer.truncate(to);
        }
    }

    /// Forgets everything after the last commit and the failure; packs made since then, which nothing refers to.
    pub(crate) fn fall_back(&self, length: u64) -> Vec<PackId> {
        let mut state = self.wait_idle();
        let in_flight = state.in_flight;
        self.release(&mut state, in_flight);
        state.failure = None;
        let fresh = state.writer.as_ref().map(PackWriter::fresh_packs).unwrap_or_default();
        state.writer = Some(PackWriter::new(length));
        fresh
    }

    /// Ends the open pack with a footer, synced, when all that it holds is committed.
    pub(crate) fn seal(&self) -> Result<Option<(PackId, PackInfo)>, PrepareError> {
        let mut state = self.wait_idle();
        let is_sound = state.failure.is_none();
        match state.writer.as_mut() {
            Some(writer) if is_sound => writer.seal_for_close(&self.context),
            _ => Ok(None),
        }
    }

    /// Where the byte at `offset` is that has been settled and not committed.
    pub(crate) fn locate(&self, offset: u64) -> Located {
        let mut state = lock(&self.state);
        loop {
            if let Some(writer) = &state.writer {
                return writer.locate(offset);
            }
            state = wait(&self.changed, state);
        }
    }

    fn wait_idle(&self) -> MutexGuard<'_, LaneState> {
        let mut state = lock(&self.state);
        while state.writer.is_none() || !state.slots.is_empty() {
            state = wait(&self.changed, state);
        }
        state
    }

    fn release(&self, state: &mut LaneState, bytes: usize) {
        state.in_flight = state.in_flight.saturating_sub(bytes);
        self.context.in_flight_total.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn complete(&self, number: u64, slot: Slot) {
        let mut state = lock(&self.state);
        let place = number.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        if let Some(waiting) = place.and_then(|at| state.slots.get_mut(at)) {
            *waiting = slot;
        }
        self.write_out(state);
    }

    /// Writes what is ready at the front, unless somebody else is at it: he looks again when he is done.
    fn write_out<'a>(&'a self, mut state: MutexGuard<'a, LaneState>) {
        loop {
            let ready = state.ready_slots();
            if ready == 0 {
                return;
            }
            let Some(mut writer) = state.writer.take() else { return };
            let slots: Vec<Slot> = state.slots.drain(..ready).collect();
            state.first += ready as u64;
            let mut failure = state.failure.take();
            drop(state);
            for slot in slots {
                if failure.is_none() {
                    failure = self.write_slot(&mut writer, slot);
                }
            }
            let released = writer.take_released();
            state = lock(&self.state);
            state.writer = Some(writer);
            state.failure = failure;
            self.release(&mut state, released);
        }
    }

    fn write_slot(&self, writer: &mut PackWriter, slot: Slot) -> Option<String> {
        match slot {
            Slot::Ready(chunk) => writer.place(&self.context, chunk).err().map(|error| error.to_string()),
            Slot::Waiting | Slot::Broken => Some("a worker stopped in the middle of a chunk".to_string()),
        }
    }
}

impl LaneState {
    fn ready_slots(&self) -> usize {
        self.slots.iter().take_while(|slot| !matches!(slot, Slot::Waiting)).count()
    }
}

/// A slot that a worker owes; one that is dropped unfinished breaks the lane instead of blocking it.
struct Ticket {
    lane: Arc<Lane>,
    number: u64,
    done: bool,
}

impl Ticket {
    fn finish(mut self, chunk: Encoded) {
        self.done = true;
        self.lane.complete(self.number, Slot::Ready(chunk));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.lane.complete(self.number, Slot::Broken);
        }
    }
}

/// Places chunks in packs and keeps what the next commit has to say about them.
struct PackWriter {
    current: Option<OpenPack>,
    /// Pieces that follow the bytes in the current pack's file.
    batch: Vec<Bytes>,
    batch_bytes: usize,
    batch_raw: usize,
    released: usize,
    /// The next commit cuts the stream here first.
    truncate_to: u64,
    extents: Vec<Extent>,
    packs: BTreeMap<PackId, PackInfo>,
    /// Packs made since the last commit.
    fresh: Vec<PackId>,
    unsynced: Vec<Arc<dyn DiskFile>>,
    folder_dirty: bool,
    /// Where the next chunk begins in the stream.
    end: u64,
}

struct OpenPack {
    id: PackId,
    file: Arc<dyn DiskFile>,
    /// Where the next byte goes, with the batch counted as written.
    end: u64,
    table: Vec<ChunkEntry>,
    /// Entries that a commit has told the journal.
    told: usize,
    raw_bytes: u64,
    unsynced: bool,
}

impl OpenPack {
    fn info(&self, sealed: bool) -> PackInfo {
        PackInfo { sealed, bytes: self.end, raw_bytes: self.raw_bytes, chunks: self.table.len() as u32 }
    }

    /// Length of the file if one more chunk and then the footer were added.
    fn sealed_len_with(&self, stored: u64) -> u64 {
        self.end + CHUNK_HEADER + stored + PAGE + (self.table.len() as u64 + 1) * ENTRY_BYTES + TRAILER_BYTES
    }
}

impl PackWriter {
    fn new(length: u64) -> Self {
        Self {
            current: None,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_raw: 0,
            released: 0,
            truncate_to: length,
            extents: Vec::new(),
            packs: BTreeMap::new(),
            fresh: Vec::new(),
            unsynced: Vec::new(),
            folder_dirty: false,
            end: length,
        }
    }

    fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    fn fresh_packs(&self) -> Vec<PackId> {
        self.fresh.clone()
    }

    fn place(&mut self, context: &Context, chunk: Encoded) -> Result<(), DiskError> {
        let stored: usize = chunk.stored.iter().map(Bytes::len).sum();
        let fits = |open: &OpenPack| open.sealed_len_with(stored as u64) <= context.pack_bytes;
        if self.current.as_ref().is_some_and(|open| !open.table.is_empty() && !fits(open)) {
            self.seal()?;
        }
        let open = match self.current.take() {
            Some(open) => open,
            None => self.start_pack(context)?,
        };
        self.add(context, open, chunk, stored);
        let much_raw = self.batch_raw >= context.in_flight_bytes / 2;
        if self.batch_bytes >= context.write_bytes || much_raw { self.flush() } else { Ok(()) }
    }

    fn add(&mut self, context: &Context, mut open: OpenPack, chunk: Encoded, stored: usize) {
        let raw = chunk.raw_len as usize;
        let entry = ChunkEntry::of(&chunk, open.table.len() as u32, open.end as u32, self.end);
        self.push(Bytes::from(entry.encode_header(context.owner, open.id)));
        chunk.stored.into_iter().for_each(|piece| self.push(piece));
        self.batch_raw += raw;
        open.end += CHUNK_HEADER + stored as u64;
        open.raw_bytes += raw as u64;
        let extent = Extent {
            start: self.end,
            len: raw as u64,
            pack: open.id,
            first: entry.index,
            count: 1,
            cut: false,
        };
        open.table.push(entry);
        push_extent(&mut self.extents, extent);
        self.end += raw as u64;
        self.packs.insert(open.id, open.info(false));
        if !open.unsynced {
            open.unsynced = true;
            self.unsynced.push(Arc::clone(&open.file));
        }
        self.current = Some(open);
    }

    fn push(&mut self, piece: Bytes) {
        self.batch_bytes += piece.len();
        self.batch.push(piece);
    }

    fn start_pack(&mut self, context: &Context) -> Result<OpenPack, DiskError> {
        let id = PackId { epoch: context.epoch, number: context.next_pack.fetch_add(1, Ordering::Relaxed) };
        let file = context.disk.open(&pack::path(&context.folder, id), Open::Create)?;
        self.fresh.push(id);
        self.folder_dirty = true;
        let header = PackHeader { store_id: context.store_id, owner: context.owner, id };
        self.push(Bytes::from(header.encode()));
        Ok(OpenPack { id, file, end: PAGE, table: Vec::new(), told: 0, raw_bytes: 0, unsynced: false })
    }

    /// Writes the footer and leaves the pack.
    fn seal(&mut self) -> Result<(), DiskError> {
        let Some(mut open) = self.current.take() else { return Ok(()) };
        let footer = pack::encode_footer(open.id, &open.table, open.end);
        open.end += footer.len() as u64;
        if !open.unsynced {
            self.unsynced.push(Arc::clone(&open.file));
        }
        self.push(Bytes::from(footer));
        self.packs.insert(open.id, open.info(true));
        self.write_batch(&open)
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        match self.current.take() {
            Some(open) => {
                let written = self.write_batch(&open);
                self.current = Some(open);
                written
            }
            None => Ok(()),
        }
    }

    /// The batch always belongs to one pack and ends where that pack ends.
    fn write_batch(&mut self, open: &OpenPack) -> Result<(), DiskError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let at = open.end.saturating_sub(self.batch_bytes as u64);
        let parts: Vec<IoSlice<'_>> = self.batch.iter().map(|piece| IoSlice::new(piece)).collect();
        open.file.write_at(at, &parts)?;
        self.batch.clear();
        self.released += self.batch_raw;
        (self.batch_bytes, self.batch_raw) = (0, 0);
        Ok(())
    }

    /// Fills the last page with zeros: no page that is about to be synced is written again.
    fn finish_page(&mut self) -> Result<(), DiskError> {
        if let Some(open) = self.current.as_mut()
            && open.unsynced
        {
            let rest = open.end.next_multiple_of(PAGE) - open.end;
            open.end += rest;
            let info = open.info(false);
            self.packs.insert(open.id, info);
            let zeros = Bytes::from_static(ZEROS.get(..rest as usize).unwrap_or_default());
            self.push(zeros);
        }
        self.flush()
    }

    fn sync(&mut self, context: &Context) -> Result<(), DiskError> {
        for file in &self.unsynced {
            file.sync_data()?;
        }
        if self.folder_dirty {
            context.disk.sync_folder(&context.folder)?;
        }
        self.unsynced.clear();
        self.folder_dirty = false;
        if let Some(open) = self.current.as_mut() {
            open.unsynced = false;
        }
        Ok(())
    }

    fn change(&self, note: Note) -> Change {
        let untold = |open: &OpenPack| open.table.get(open.told..).unwrap_or_default().to_vec();
        let tables =
            self.current.iter().map(|open| (open.id, untold(open))).filter(|(_, new)| !new.is_empty());
        Change {
            truncate_to: self.truncate_to,
            packs: self.packs.iter().map(|(id, info)| (*id, *info)).collect(),
            extents: self.extents.clone(),
            tables: tables.collect(),
            note,
        }
    }

    fn committed(&mut self, dead: &[PackId]) {
        self.truncate_to = self.end;
        self.extents.clear();
        self.packs.clear();
        self.fresh.clear();
        if let Some(open) = self.current.as_mut() {
            open.told = open.table.len();
        }
        if self.current.as_ref().is_some_and(|open| dead.contains(&open.id)) {
            self.current = None;
        }
    }

    fn truncate(&mut self, to: u64) {
        truncate_extents(&mut self.extents, to, |_| {});
        self.truncate_to = self.truncate_to.min(to);
        self.end = to;
    }

    fn seal_for_close(&mut self, context: &Context) -> Result<Option<(PackId, PackInfo)>, PrepareError> {
        let all_told = self.current.as_ref().is_some_and(|open| open.told == open.table.len());
        let Some(id) =
            self.current.as_ref().filter(|_| all_told && self.batch.is_empty()).map(|open| open.id)
        else {
            return Ok(None);
        };
        self.seal().map_err(|error| PrepareError::Write(error.to_string()))?;
        self.sync(context).map_err(|error| PrepareError::Sync(error.to_string()))?;
        Ok(self.packs.remove(&id).map(|info| (id, info)))
    }

    fn locate(&self, offset: u64) -> Located {
        let Some(extent) = extent_at(&self.extents, offset) else { return Located::Nowhere };
        match &self.current {
            Some(open) if open.id == extent.pack => match extent.find(&open.table, offset) {
                Some(entry) => Located::Chunk(*extent, *entry),
                None => Located::Nowhere,
            },
            _ => Located::InFooter(*extent),
        }
    }
}
