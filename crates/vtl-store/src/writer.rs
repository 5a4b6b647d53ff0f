//! The last stage of a stream's way: regions go into packs, chunks become extents.
//!
//! A writer appends to one pack at a time, which no other writer does meanwhile. A pack belongs to no stream: one that is not full when
//! its stream is closed waits in the [`Dock`] for the next stream that needs one.
//!
//! Bytes are gathered in one aligned buffer and written in whole pages, each once: past the page cache where the file was opened so. Zeros fill the page
//! that was begun before a sync, before a footer, and before a reader wants what is not committed.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::PathBuf;

use bytes::Bytes;
use vtl_durable::{Disk, DiskError, DiskFile, PageBuffer};

use crate::codec::{Encoded, Fingerprint};
use crate::cutter::{Item, NewChunk, Probe};
use crate::finder::Finder;
use crate::members::Member;
use crate::pack::{Chunk, Frame, MAX_CHUNKS, MAX_RAW, PAGE, PackId, Table};
use crate::packs::{Packs, View};
use crate::recipe::{Change, Extent, Note, PackEnd, push_extent, truncate_extents};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::types::Soon;
use crate::workers::{Handle, lock};

/// Packs that wait for a stream; what is beyond is sealed.
const BERTHS: usize = 4;

/// In so many pieces the system is asked to write a pack to the disk before a commit wants it there: a sync waits for the last of them, and not for all
/// that came since the one before.
const PUSHES: u64 = 4;

/// What all writers of a pool share.
pub(crate) struct Dock {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) finder: Arc<Finder>,
    pub(crate) pack_bytes: u64,
    pub(crate) write_bytes: usize,
    /// The thread that asks the system to write: it may wait for the disk, and nobody waits for it.
    pub(crate) pusher: Handle,
    /// What all staging buffers take.
    pub(crate) staged_bytes: Arc<AtomicU64>,
    /// Packs that are not full and that no stream writes to.
    pub(crate) idle: Mutex<Vec<OpenPack>>,
}

/// A pack that is being written.
pub(crate) struct OpenPack {
    id: PackId,
    member: Arc<Member>,
    file: Arc<dyn DiskFile>,
    frame: Frame,
    /// Where the next byte goes, with what is staged counted as written.
    end: u64,
    /// Bytes that are in the file: whole pages.
    written: u64,
    /// Bytes that the system was asked to write to the disk, or that a sync has written.
    pushed: u64,
    table: Table,
    /// Chunks that a commit has made durable.
    durable: usize,
    unsynced: bool,
}

/// Why a commit could not be prepared.
pub(crate) enum PrepareError {
    /// Bytes could not be written; the pool goes on.
    Write(String),
    /// Bytes could not be synced; the pool must not.
    Sync(String),
}

/// Why a pack that waits for a stream could not be ended.
pub(crate) enum EndError {
    /// Its footer could not be written; the pack goes on waiting.
    Write(DiskError),
    /// It could not be synced; the pool must not go on.
    Sync(DiskError),
}

impl From<EndError> for PrepareError {
    fn from(error: EndError) -> Self {
        match error {
            EndError::Write(error) => Self::Write(error.to_string()),
            EndError::Sync(error) => Self::Sync(error.to_string()),
        }
    }
}

/// The aligned buffer between a stream and its pack.
struct Staging {
    pages: PageBuffer,
    all_bytes: Arc<AtomicU64>,
}

impl Staging {
    fn new(dock: &Dock, bytes: usize) -> Self {
        let pages = PageBuffer::new(bytes);
        let all_bytes = Arc::clone(&dock.staged_bytes);
        all_bytes.fetch_add(pages.capacity() as u64, Ordering::Relaxed);
        Self { pages, all_bytes }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.pages.capacity() as u64, Ordering::Relaxed);
    }
}

/// A cut with its new content encoded.
pub(crate) struct Ready {
    pub(crate) items: Vec<Item>,
    pub(crate) chunks: Vec<NewChunk>,
    pub(crate) encoded: Option<Encoded>,
    pub(crate) probe: Option<Probe>,
}

/// Places chunks in packs and keeps what the next commit has to say about them.
pub(crate) struct Writer {
    current: Option<OpenPack>,
    /// What follows the bytes in the current pack's file. None before anything is written.
    staging: Option<Staging>,
    /// So many of the bytes in flight are staged: after compression, since what it saved is no longer held.
    staged: usize,
    released: usize,
    /// The next commit cuts the stream here first.
    truncate_to: u64,
    extents: Vec<Extent>,
    /// Packs made since the last commit.
    fresh: Vec<PackId>,
    /// Where new chunks since the last commit went, in order.
    placed: Vec<(PackId, u32)>,
    /// The same for the index.
    news: Vec<(PackId, Vec<(u16, Fingerprint)>)>,
    unsynced: Vec<(Arc<Member>, Arc<dyn DiskFile>)>,
    dirty_folders: BTreeSet<PathBuf>,
    /// How often was synced: what is to be pushed since before is on the disk.
    syncs: Arc<AtomicU64>,
    /// Packs that got their footer since the last commit, with the length of the file.
    footed: Vec<(View, u64)>,
    /// By so much packs grew since the last commit, their headers and footers apart.
    arrived_bytes: u64,
    /// Where the next chunk begins in the stream.
    end: u64,
    /// Whether what it writes may be read back soon.
    soon: Soon,
}

impl Writer {
    /// For a stream of this length.
    pub(crate) fn new(length: u64, soon: Soon) -> Self {
        Self {
            soon,
            current: None,
            staging: None,
            staged: 0,
            released: 0,
            truncate_to: length,
            extents: Vec::new(),
            fresh: Vec::new(),
            placed: Vec::new(),
            news: Vec::new(),
            unsynced: Vec::new(),
            dirty_folders: BTreeSet::new(),
            syncs: Arc::default(),
            footed: Vec::new(),
            arrived_bytes: 0,
            end: length,
        }
    }

    /// Whether what is written from now on may be read back soon.
    pub(crate) fn set_soon(&mut self, soon: Soon) {
        self.soon = soon;
    }

    /// Bytes of the stream that are in files or need none, since the last asking.
    pub(crate) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    pub(crate) fn fresh_packs(&self) -> Vec<PackId> {
        self.fresh.clone()
    }

    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Appends a cut to the stream.
    pub(crate) fn place(&mut self, dock: &Dock, ready: Ready) -> Result<(), DiskError> {
        let mut new = match ready.encoded {
            Some(encoded) => self.place_region(dock, ready.chunks, encoded)?.into_iter(),
            None => Vec::new().into_iter(),
        };
        for item in ready.items {
            let extent = match item {
                Item::New => new.next(),
                Item::Own { number, len } => self.placed.get(number as usize).map(|(pack, at)| {
                    self.released += len as usize;
                    Extent { start: 0, len, at: *at, pack: *pack }
                }),
                Item::Known { pack, at, len } => {
                    self.released += len as usize;
                    Some(Extent { start: 0, len, at, pack })
                }
            };
            // The cutter counts what it hands on; were it wrong, the stream would be shorter than was said and the commit refused.
            if let Some(extent) = extent {
                let extent = Extent { start: self.end, ..extent };
                self.end += u64::from(extent.len);
                push_extent(&mut self.extents, extent);
            }
        }
        if let Some(probe) = ready.probe {
            // Who asked may have given up.
            let _ = probe.send(self.extents.clone());
        }
        Ok(())
    }

    /// Where the chunks of a region went.
    fn place_region(
        &mut self,
        dock: &Dock,
        chunks: Vec<NewChunk>,
        encoded: Encoded,
    ) -> Result<Vec<Extent>, DiskError> {
        let stored: usize = encoded.stored.iter().map(Bytes::len).sum();
        let raw: u64 = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let fits = |open: &OpenPack| open.has_room(dock, chunks.len(), stored as u64, raw);
        if self.current.as_ref().is_some_and(|open| !fits(open)) {
            self.seal(dock)?;
        }
        let mut open = match self.current.take() {
            Some(open) => open,
            None => self.start_pack(dock, fits)?,
        };
        let mut at = open.raw_end();
        let first = open.table.len();
        let placed = chunks.iter().map(|chunk| {
            let NewChunk { fingerprint, len, forced } = *chunk;
            let placed = Chunk { fingerprint, at, len, forced };
            at += len;
            placed
        });
        let (region, bytes) = open.frame.region(open.end, placed.collect(), encoded)?;
        let extent = |chunk: &Chunk| Extent { start: 0, len: chunk.len, at: chunk.at, pack: open.id };
        let extents: Vec<Extent> = region.chunks.iter().map(extent).collect();
        self.tell_news(open.id, first, &region.chunks);
        bytes.iter().try_for_each(|piece| self.append(dock, &mut open, piece))?;
        let len = bytes.iter().map(Bytes::len).sum::<usize>();
        let staged = len.min(raw as usize);
        self.staged += staged;
        self.released += raw as usize - staged;
        self.arrived_bytes += len as u64;
        open.table.push(region);
        if !open.unsynced {
            open.unsynced = true;
            self.unsynced.push(open.to_sync());
        }
        self.current = Some(open);
        Ok(extents)
    }

    fn tell_news(&mut self, pack: PackId, first: usize, chunks: &[Chunk]) {
        self.placed.extend(chunks.iter().map(|chunk| (pack, chunk.at)));
        if self.news.last().is_none_or(|(id, _)| *id != pack) {
            self.news.push((pack, Vec::new()));
        }
        if let Some((_, news)) = self.news.last_mut() {
            let numbered = chunks.iter().zip(first..);
            news.extend(numbered.map(|(chunk, number)| (number as u16, chunk.fingerprint)));
        }
    }

    /// Puts bytes at the pack's end; the buffer is written whenever it is full.
    fn append(&mut self, dock: &Dock, open: &mut OpenPack, bytes: &[u8]) -> Result<(), DiskError> {
        let staging = self.staging.get_or_insert_with(|| Staging::new(dock, dock.write_bytes));
        if open.append(dock, &mut staging.pages, bytes)? {
            self.released += std::mem::take(&mut self.staged);
            open.push(dock, dock.pack_bytes / PUSHES, &self.syncs);
        }
        Ok(())
    }

    fn start_pack(&mut self, dock: &Dock, fits: impl Fn(&OpenPack) -> bool) -> Result<OpenPack, DiskError> {
        {
            let mut idle = lock(&dock.idle);
            if let Some(at) = idle.iter().position(fits) {
                return Ok(idle.swap_remove(at));
            }
        }
        let created = dock.packs.create(self.soon)?;
        self.fresh.push(created.id);
        self.dirty_folders.insert(created.folder);
        let (id, member, file) = (created.id, created.member, created.file);
        let (frame, table) = (dock.packs.frame(id, 0), Table::default());
        let mut open = OpenPack {
            id,
            member,
            file,
            frame,
            end: 0,
            written: 0,
            pushed: 0,
            table,
            durable: 0,
            unsynced: false,
        };
        self.append(dock, &mut open, &created.header)?;
        Ok(open)
    }

    /// Writes the footer and leaves the pack.
    fn seal(&mut self, dock: &Dock) -> Result<(), DiskError> {
        self.flush(dock)?;
        let Some(mut open) = self.current.take() else { return Ok(()) };
        if !open.unsynced {
            self.unsynced.push(open.to_sync());
        }
        open.end_with_footer(dock)?;
        open.push(dock, 0, &self.syncs);
        let view = View { id: open.id, generation: 0, durable: open.durable, table: open.table };
        self.footed.push((view, open.end));
        Ok(())
    }

    /// Everything placed so far is in files afterwards. The page that was begun is filled with zeros, since it is not written again.
    pub(crate) fn flush(&mut self, dock: &Dock) -> Result<(), DiskError> {
        if let (Some(open), Some(staging)) = (self.current.as_mut(), self.staging.as_mut()) {
            self.arrived_bytes += open.finish_page(&mut staging.pages);
            open.write(dock, &mut staging.pages)?;
            self.released += std::mem::take(&mut self.staged);
        }
        Ok(())
    }

    /// Readers of the stream find what is not committed yet.
    pub(crate) fn publish(&self, dock: &Dock) {
        for (view, len) in &self.footed {
            dock.packs.publish(view.clone(), *len);
        }
        if let Some(open) = &self.current {
            open.publish(dock);
        }
    }

    /// Writes and syncs all that the next commit refers to, and says what the commit changes.
    pub(crate) fn prepare(&mut self, dock: &Dock, note: Note) -> Result<Change, PrepareError> {
        self.flush(dock).map_err(|error| PrepareError::Write(error.to_string()))?;
        self.sync(dock).map_err(|error| PrepareError::Sync(error.to_string()))?;
        let touched = self.current.as_ref().filter(|open| open.durable < open.table.len());
        let unsealed = touched.map(|open| PackEnd { pack: open.id, end: open.end, sealed: false });
        let sealed = self.footed.iter().map(|(view, end)| PackEnd { pack: view.id, end: *end, sealed: true });
        Ok(Change {
            truncate_to: self.truncate_to,
            guard: None,
            packs: sealed.chain(unsealed).collect(),
            extents: self.extents.clone(),
            arrived_bytes: self.arrived_bytes,
            note,
        })
    }

    fn sync(&mut self, dock: &Dock) -> Result<(), DiskError> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        for (member, file) in &self.unsynced {
            file.sync_data().inspect_err(|error| dock.packs.members.blame(member, error))?;
        }
        for folder in &self.dirty_folders {
            dock.disk.sync_folder(folder)?;
        }
        self.unsynced.clear();
        self.dirty_folders.clear();
        if let Some(open) = self.current.as_mut() {
            open.unsynced = false;
            open.pushed = open.written;
        }
        Ok(())
    }

    /// What was prepared is durable, and everybody may know.
    pub(crate) fn committed(&mut self, dock: &Dock) {
        self.truncate_to = self.end;
        self.arrived_bytes = 0;
        self.extents.clear();
        self.fresh.clear();
        self.placed.clear();
        for (mut view, len) in self.footed.drain(..) {
            view.durable = view.table.len();
            dock.packs.sealed(view, len);
        }
        if let Some(open) = self.current.as_mut().filter(|open| open.durable < open.table.len()) {
            open.durable = open.table.len();
            open.publish(dock);
        }
        for (pack, news) in self.news.drain(..) {
            dock.finder.learn(pack, &news);
        }
    }

    /// Cuts the uncommitted stream.
    pub(crate) fn truncate(&mut self, to: u64) {
        truncate_extents(&mut self.extents, to);
        self.truncate_to = self.truncate_to.min(to);
        self.end = to;
    }

    /// The stream is closed: its pack waits for another one, when all that it holds is committed.
    pub(crate) fn leave(&mut self, dock: &Dock) -> Result<(), PrepareError> {
        let clean =
            |open: &OpenPack| open.durable == open.table.len() && !open.unsynced && open.written == open.end;
        let Some(open) = self.current.take_if(|open| clean(open)) else { return Ok(()) };
        let full = open.end >= dock.pack_bytes / 2 || lock(&dock.idle).len() >= BERTHS;
        let full = full || open.member.is_leaving();
        if full {
            return dock.seal_idle(open).map_err(PrepareError::from);
        }
        lock(&dock.idle).push(open);
        Ok(())
    }
}

impl OpenPack {
    fn raw_end(&self) -> u32 {
        let last = self.table.regions.last().and_then(|region| region.chunks.last());
        last.map_or(0, |chunk| chunk.end() as u32)
    }

    fn has_room(&self, dock: &Dock, chunks: usize, stored: u64, raw: u64) -> bool {
        let (regions, all) = (self.table.regions.len() + 1, self.table.len() + chunks);
        let content = (self.end + self.frame.region_len(chunks, stored)).next_multiple_of(PAGE);
        let len = content + self.frame.footer_len(regions, all);
        let fits = len <= dock.pack_bytes && all <= MAX_CHUNKS && u64::from(self.raw_end()) + raw <= MAX_RAW;
        self.table.len() == 0 || (fits && !dock.packs.members.is_better_left(&self.member, stored))
    }

    /// Adds bytes to what is staged for this pack, and writes that whenever there is no room; whether something was written.
    fn append(&mut self, dock: &Dock, pages: &mut PageBuffer, bytes: &[u8]) -> Result<bool, DiskError> {
        let before = self.written;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = pages.fill(rest);
            if pages.is_full() {
                self.write(dock, pages)?;
            }
        }
        self.end += bytes.len() as u64;
        Ok(self.written > before)
    }

    /// Fills the page that was begun with zeros; how many.
    fn finish_page(&mut self, pages: &mut PageBuffer) -> u64 {
        let zeros = pages.finish_page() as u64;
        self.end += zeros;
        zeros
    }

    /// Writes what is staged: whole pages.
    fn write(&mut self, dock: &Dock, pages: &mut PageBuffer) -> Result<(), DiskError> {
        if pages.is_empty() {
            return Ok(());
        }
        let written = self.file.write_at(self.written, &[IoSlice::new(pages.bytes())]);
        written.inspect_err(|error| dock.packs.members.blame(&self.member, error))?;
        self.member.note_writes(&*self.file);
        self.written += pages.len() as u64;
        pages.clear();
        Ok(())
    }

    /// Writes the footer behind what is written: whole pages, too.
    fn end_with_footer(&mut self, dock: &Dock) -> Result<(), DiskError> {
        let footer = self.frame.encode_footer(&self.table, self.end)?;
        let mut staging = Staging::new(dock, footer.len());
        self.append(dock, &mut staging.pages, &footer)?;
        self.write(dock, &mut staging.pages)
    }

    /// Has what was written since the last time, if it is so much, written to the disk.
    fn push(&mut self, dock: &Dock, least: u64, syncs: &Arc<AtomicU64>) {
        let (from, len) = (self.pushed, self.written - self.pushed);
        if len < least.max(1) {
            return;
        }
        self.pushed = self.written;
        let (file, syncs) = (Arc::clone(&self.file), Arc::clone(syncs));
        let before = syncs.load(Ordering::Relaxed);
        dock.pusher.run(Box::new(move || {
            if syncs.load(Ordering::Relaxed) == before {
                file.begin_writing(from, len);
            }
        }));
    }

    fn to_sync(&self) -> (Arc<Member>, Arc<dyn DiskFile>) {
        (Arc::clone(&self.member), Arc::clone(&self.file))
    }

    fn publish(&self, dock: &Dock) {
        let view = View { id: self.id, generation: 0, durable: self.durable, table: self.table.clone() };
        dock.packs.publish(view, self.end);
    }
}

impl Dock {
    /// Ends an idle pack with a footer, synced. One whose footer could not be written goes on waiting.
    fn seal_idle(&self, mut open: OpenPack) -> Result<(), EndError> {
        let (end, written) = (open.end, open.written);
        if let Err(error) = open.end_with_footer(self) {
            // What is there of the footer is behind the durable end: it is written over, or cut off by the next start.
            (open.end, open.written) = (end, written);
            lock(&self.idle).push(open);
            return Err(EndError::Write(error));
        }
        let synced = open.file.sync_data();
        synced.inspect_err(|error| self.packs.members.blame(&open.member, error)).map_err(EndError::Sync)?;
        let view = View { id: open.id, generation: 0, durable: open.table.len(), table: open.table };
        self.packs.sealed(view, open.end);
        Ok(())
    }

    /// Ends the packs in this folder that no stream writes to.
    pub(crate) fn seal_in(&self, member: u32) -> Result<(), EndError> {
        let mut idle = lock(&self.idle);
        let there: Vec<OpenPack> = idle.extract_if(.., |open| open.member.number == member).collect();
        drop(idle);
        self.seal_each(there)
    }

    /// Ends all packs that no stream writes to: at a clean stop.
    pub(crate) fn seal_all(&self) -> Result<(), PrepareError> {
        let idle = std::mem::take(&mut *lock(&self.idle));
        self.seal_each(idle).map_err(PrepareError::from)
    }

    /// A footer that cannot be written does not keep the other packs from getting theirs; the first such error is told.
    fn seal_each(&self, packs: Vec<OpenPack>) -> Result<(), EndError> {
        let mut unwritten = None;
        for open in packs {
            match self.seal_idle(open) {
                Err(EndError::Write(error)) => {
                    unwritten.get_or_insert(error);
                }
                other => other?,
            }
        }
        unwritten.map_or(Ok(()), |error| Err(EndError::Write(error)))
    }
}
