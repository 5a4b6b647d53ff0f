//! The last stage of a stream's way: regions go into packs, chunks become extents.
//!
//! A writer appends to one pack at a time, which no other writer does meanwhile. A pack belongs to no stream: one that is not full when
//! its stream is closed waits in the [`Dock`] for the next stream that needs one.

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::PathBuf;

use bytes::Bytes;
use vtl_durable::{Disk, DiskError, DiskFile};

use crate::codec::{Encoded, Fingerprint};
use crate::cutter::{Item, NewChunk, Probe};
use crate::finder::Finder;
use crate::members::Member;
use crate::pack::{Chunk, Frame, MAX_CHUNKS, MAX_RAW, PAGE, PackId, Table};
use crate::packs::{Packs, View};
use crate::recipe::{Change, Extent, Note, PackEnd, push_extent, truncate_extents};
use crate::sync::{Arc, Mutex};
use crate::workers::lock;

static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
/// Packs that wait for a stream; what is beyond is sealed.
const BERTHS: usize = 4;

/// What all writers of a pool share.
pub(crate) struct Dock {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) finder: Arc<Finder>,
    pub(crate) pack_bytes: u64,
    pub(crate) write_bytes: usize,
    pub(crate) batch_raw_bytes: usize,
    /// Packs that are not full and that no stream writes to.
    pub(crate) idle: Mutex<Vec<OpenPack>>,
}

/// A pack that is being written.
pub(crate) struct OpenPack {
    id: PackId,
    member: Arc<Member>,
    file: Arc<dyn DiskFile>,
    frame: Frame,
    /// Where the next byte goes, with the batch counted as written.
    end: u64,
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
    /// Pieces that follow the bytes in the current pack's file.
    batch: Vec<Bytes>,
    batch_bytes: usize,
    batch_raw: usize,
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
    /// Packs that got their footer since the last commit, with the length of the file.
    footed: Vec<(View, u64)>,
    /// By so much packs grew since the last commit, their headers and footers apart.
    arrived_bytes: u64,
    /// Where the next chunk begins in the stream.
    end: u64,
}

impl Writer {
    /// For a stream of this length.
    pub(crate) fn new(length: u64) -> Self {
        Self {
            current: None,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_raw: 0,
            released: 0,
            truncate_to: length,
            extents: Vec::new(),
            fresh: Vec::new(),
            placed: Vec::new(),
            news: Vec::new(),
            unsynced: Vec::new(),
            dirty_folders: BTreeSet::new(),
            footed: Vec::new(),
            arrived_bytes: 0,
            end: length,
        }
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
        bytes.into_iter().for_each(|piece| self.push(piece));
        self.batch_raw += raw as usize;
        self.arrived_bytes += region.end() - open.end;
        open.end = region.end();
        open.table.push(region);
        if !open.unsynced {
            open.unsynced = true;
            self.unsynced.push(open.to_sync());
        }
        self.current = Some(open);
        if self.batch_bytes >= dock.write_bytes || self.batch_raw >= dock.batch_raw_bytes {
            self.flush(dock)?;
        }
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

    fn push(&mut self, piece: Bytes) {
        self.batch_bytes += piece.len();
        self.batch.push(piece);
    }

    fn start_pack(&mut self, dock: &Dock, fits: impl Fn(&OpenPack) -> bool) -> Result<OpenPack, DiskError> {
        {
            let mut idle = lock(&dock.idle);
            if let Some(at) = idle.iter().position(fits) {
                return Ok(idle.swap_remove(at));
            }
        }
        let created = dock.packs.create()?;
        self.fresh.push(created.id);
        self.dirty_folders.insert(created.folder);
        self.push(Bytes::from(created.header));
        let (id, member, file) = (created.id, created.member, created.file);
        let (frame, table) = (dock.packs.frame(id, 0), Table::default());
        Ok(OpenPack { id, member, file, frame, end: PAGE, table, durable: 0, unsynced: false })
    }

    /// Writes the footer and leaves the pack.
    fn seal(&mut self, dock: &Dock) -> Result<(), DiskError> {
        let Some(mut open) = self.current.take() else { return Ok(()) };
        let footer = open.frame.encode_footer(&open.table, open.end)?;
        open.end += footer.len() as u64;
        if !open.unsynced {
            self.unsynced.push(open.to_sync());
        }
        self.push(Bytes::from(footer));
        self.write_batch(dock, &open)?;
        let view = View { id: open.id, generation: 0, durable: open.durable, table: open.table };
        self.footed.push((view, open.end));
        Ok(())
    }

    /// Everything placed so far is in files afterwards.
    pub(crate) fn flush(&mut self, dock: &Dock) -> Result<(), DiskError> {
        match self.current.take() {
            Some(open) => {
                let written = self.write_batch(dock, &open);
                self.current = Some(open);
                written
            }
            None => Ok(()),
        }
    }

    /// The batch always belongs to one pack and ends where that pack ends.
    fn write_batch(&mut self, dock: &Dock, open: &OpenPack) -> Result<(), DiskError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let at = open.end.saturating_sub(self.batch_bytes as u64);
        let parts: Vec<IoSlice<'_>> = self.batch.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = open.file.write_at(at, &parts);
        written.inspect_err(|error| dock.packs.members.blame(&open.member, error))?;
        self.batch.clear();
        self.released += self.batch_raw;
        (self.batch_bytes, self.batch_raw) = (0, 0);
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
        self.finish_page(dock).map_err(|error| PrepareError::Write(error.to_string()))?;
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

    /// Fills the last page with zeros: no page that is about to be synced is written again.
    fn finish_page(&mut self, dock: &Dock) -> Result<(), DiskError> {
        if let Some(open) = self.current.as_mut()
            && open.unsynced
        {
            let rest = open.end.next_multiple_of(PAGE) - open.end;
            open.end += rest;
            self.arrived_bytes += rest;
            self.push(Bytes::from_static(ZEROS.get(..rest as usize).unwrap_or_default()));
        }
        self.flush(dock)
    }

    fn sync(&mut self, dock: &Dock) -> Result<(), DiskError> {
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
        let clean = |open: &OpenPack| open.durable == open.table.len() && !open.unsynced;
        let Some(open) = self.current.take_if(|open| clean(open)).filter(|_| self.batch.is_empty()) else {
            return Ok(());
        };
        let full = open.end >= dock.pack_bytes / 2 || lock(&dock.idle).len() >= BERTHS;
        let full = full || open.member.is_leaving();
        if full {
            return dock.seal_idle(open);
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
        let len =
            self.end + self.frame.region_len(chunks, stored) + PAGE + self.frame.footer_len(regions, all);
        let fits = len <= dock.pack_bytes && all <= MAX_CHUNKS && u64::from(self.raw_end()) + raw <= MAX_RAW;
        self.table.len() == 0 || (fits && !dock.packs.members.is_better_left(&self.member, stored))
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
    /// Ends an idle pack with a footer, synced.
    fn seal_idle(&self, mut open: OpenPack) -> Result<(), PrepareError> {
        let blame = |error: &DiskError| self.packs.members.blame(&open.member, error);
        let footer = open.frame.encode_footer(&open.table, open.end);
        let written = footer.and_then(|footer| {
            open.file.write_at(open.end, &[IoSlice::new(&footer)]).inspect_err(blame)?;
            Ok(footer.len() as u64)
        });
        let footer_len = written.map_err(|error| PrepareError::Write(error.to_string()))?;
        let synced = open.file.sync_data().inspect_err(blame);
        synced.map_err(|error| PrepareError::Sync(error.to_string()))?;
        open.end += footer_len;
        let view = View { id: open.id, generation: 0, durable: open.table.len(), table: open.table };
        self.packs.sealed(view, open.end);
        Ok(())
    }

    /// Ends the packs in this folder that no stream writes to.
    pub(crate) fn seal_in(&self, member: u32) -> Result<(), PrepareError> {
        let mut idle = lock(&self.idle);
        let there: Vec<OpenPack> = idle.extract_if(.., |open| open.member.number == member).collect();
        drop(idle);
        there.into_iter().try_for_each(|open| self.seal_idle(open))
    }

    /// Ends all packs that no stream writes to: at a clean stop.
    pub(crate) fn seal_all(&self) -> Result<(), PrepareError> {
        let idle = std::mem::take(&mut *lock(&self.idle));
        idle.into_iter().try_for_each(|open| self.seal_idle(open))
    }
}
