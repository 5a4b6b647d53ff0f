//! A cartridge in use.
//!
//! States: *clean* (all that was taken is committed) → a write makes it *pending* → a commit makes it clean again, a
//! failed one rolls it back to the last commit, clean, and says what was lost. When even the way back fails it is
//! *broken*: everything answers with the reason until it is opened anew.
//!
//! Invariants, restored before each call returns:
//! - the map's bytes are the stream's length;
//! - `keep` is what stands on the tape unchanged since the last commit; a delta holds exactly what is behind it;
//! - the cursor was made by the map as it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vtl_store::{Health, OwnerId, ReadError, Store, StoreError, Stream};
use vtl_types::{CartridgeId, Label, MediaForm, Place};

use crate::{
    absent::{Absent, NotHere},
    error::{CartridgeError, Lost},
    head::{Changes, Head, MAX_ATTRIBUTES_BYTES, PlaceHint, set_attribute},
    map::{BlockMap, Cursor, Entry, MAX_BLOCK_BYTES, Point, Run, Spaced, Stop},
    protection::{Now, Protection},
    spec::{CartridgeSpec, Facts, Settings},
};

/// Above this no snapshot is written: the store takes 32 MiB, and one that large takes time.
const SNAPSHOT_MAX_BYTES: usize = 24 << 20;
/// Deltas are replaced by a snapshot when they have grown to its size, but not below this: each then costs
/// at most as much again.
const DELTAS_MIN_BYTES: usize = 64 << 10;
/// What a delta costs beside its own bytes.
const DELTA_OVERHEAD_BYTES: usize = 64;
/// The part of the map's limit at which early warning begins.
const MAP_WARNING_PART: u64 = 16;

/// A position on the tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Blocks and filemarks before it.
    pub object: u64,
    /// Filemarks before it.
    pub file: u64,
    /// Nothing follows.
    pub end_of_data: bool,
    /// At or past early warning.
    pub early_warning: bool,
}

/// What a read met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A block; the position is behind it.
    Block {
        /// Length as written.
        length: u32,
        /// Its first bytes, as many as were asked for.
        data: Vec<Bytes>,
    },
    /// A filemark; the position is behind it.
    Filemark,
    /// End of data; the position has not moved.
    EndOfData,
}

/// A write that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The position is now at or past early warning.
    pub early_warning: bool,
}

/// An open cartridge; nobody else can open it. Dropping it gives up what was not flushed.
#[derive(Debug)]
pub struct Cartridge {
    store: Store,
    owner: OwnerId,
    settings: Settings,
    /// None after the stream could not be opened again, and while the bytes are elsewhere.
    stream: Option<Stream>,
    /// Who has the bytes, when the store does not have them yet.
    absent: Option<Arc<dyn Absent>>,
    head: Head,
    cursor: Cursor,
    /// End of data as last committed.
    committed: Point,
    /// End of what is unchanged since then.
    keep: Point,
    /// Bytes of the map's runs at `keep`, about.
    keep_encoded: usize,
    /// Everything but blocks and marks.
    changes: Changes,
    /// What the deltas since the last snapshot take in the store.
    deltas_bytes: usize,
    /// When there was last nothing to commit, or it was last tried.
    waits_since: Option<Duration>,
    pool_low: bool,
    /// A loss that the call in which it happened could not tell.
    untold: Option<Lost>,
    broken: Option<String>,
}

impl Cartridge {
    /// Makes a cartridge; it is durable when this returns.
    pub fn create(store: &Store, id: CartridgeId, spec: &CartridgeSpec) -> Result<(), CartridgeError> {
        Ok(store.create(OwnerId(id.0), &spec.head()?.encode_snapshot())?)
    }

    /// Makes a cartridge that is to become the copy of another one. It says of itself that it is unfinished until [`Cartridge::finish_copy`], so
    /// that whoever finds it after a crash knows what it is.
    pub fn begin_copy(store: &Store, id: CartridgeId, spec: &CartridgeSpec) -> Result<(), CartridgeError> {
        let head = Head { unfinished: true, ..spec.head()? };
        Ok(store.create(OwnerId(id.0), &head.encode_snapshot())?)
    }

    /// Nobody waits to read what is written from now on: it need not stay in memory.
    pub fn not_read_soon(&mut self) {
        if let Some(stream) = self.stream.as_mut() {
            stream.not_read_soon();
        }
    }

    /// The copy is whole, and has the write generation of what it is a copy of, at most [`crate::MAX_COPIED_GENERATION`]. Durable when it returns, in one record; then it is a cartridge as
    /// others are.
    pub fn finish_copy(mut self, generation: u64) -> Result<(), CartridgeError> {
        self.flush()?;
        if self.head.unfinished {
            self.head.unfinished = false;
            self.head.generation = generation.max(1);
            self.change(|changes| changes.finished = true)?;
        }
        self.close()
    }

    /// What the store knows about a cartridge, open or not, as last committed.
    pub fn inspect(store: &Store, id: CartridgeId) -> Result<Facts, CartridgeError> {
        let kept = store.head(OwnerId(id.0))?;
        read_head(&kept).map(|head| Facts::of(&head))
    }

    /// Opens a cartridge at the beginning of its tape, without counting a load.
    pub fn open(store: &Store, id: CartridgeId, settings: Settings) -> Result<Self, CartridgeError> {
        let owner = OwnerId(id.0);
        // The stream first: while it is open, nobody else changes the head.
        let stream = store.open_stream(owner)?;
        let kept = store.head(owner)?;
        let head = read_head(&kept)?;
        let mut cartridge = Self {
            store: store.clone(),
            owner,
            settings,
            stream: Some(stream),
            absent: None,
            cursor: head.map.start_cursor(),
            committed: head.map.end(),
            keep: head.map.end(),
            keep_encoded: head.map.encoded_len(),
            head,
            changes: Changes::default(),
            deltas_bytes: deltas_bytes(&kept),
            waits_since: None,
            pool_low: false,
            untold: None,
            broken: None,
        };
        // One record puts both on; should they differ all the same, the next commit brings the store's in line.
        cartridge.changes.protection = cartridge.stream()?.is_guarded() != cartridge.head.protection.is_on();
        cartridge.look_at_pool();
        Ok(cartridge)
    }

    /// One whose bytes are elsewhere, at the beginning of its tape.
    pub(crate) fn with_head(
        store: &Store,
        owner: OwnerId,
        settings: Settings,
        head: Head,
        absent: Arc<dyn Absent>,
    ) -> Self {
        Self {
            store: store.clone(),
            owner,
            settings,
            stream: None,
            absent: Some(absent),
            cursor: head.map.start_cursor(),
            committed: head.map.end(),
            keep: head.map.end(),
            keep_encoded: head.map.encoded_len(),
            head,
            changes: Changes::default(),
            deltas_bytes: 0,
            waits_since: None,
            pool_low: false,
            untold: None,
            broken: None,
        }
    }

    pub(crate) fn map(&self) -> &BlockMap {
        &self.head.map
    }

    /// Opens a cartridge for a drive: the load is counted, durably if the pool takes writes. When it does not, the
    /// tape can be read all the same, and the count is kept with the next commit.
    pub fn load(store: &Store, id: CartridgeId, settings: Settings) -> Result<Self, CartridgeError> {
        let mut cartridge = Self::open(store, id, settings)?;
        cartridge.count_load();
        Ok(cartridge)
    }

    /// Counts a load and rewinds, as [`Cartridge::load`] does: for a cartridge that goes from one drive into another. Everything that was written
    /// is flushed before.
    pub fn count_load(&mut self) {
        self.head.load_count = self.head.load_count.saturating_add(1);
        self.changes.load_count = true;
        // On a failure the state is as before, the count in memory only; or broken, which the next call tells.
        let _ = self.commit();
        self.cursor = self.head.map.start_cursor();
    }

    /// Flushes, and lets the store forget the deltas. The cartridge can be opened again when this returns.
    pub fn close(mut self) -> Result<(), CartridgeError> {
        let flushed = self.flush();
        if flushed.is_ok() && self.deltas_bytes > 0 && self.snapshot_fits() {
            let snapshot = self.head.encode_snapshot();
            if let Some(stream) = &mut self.stream {
                // All is durable already: without this snapshot the deltas stay, and nothing is lost.
                let _ = stream.commit_snapshot(&snapshot);
            }
        }
        flushed
    }

    /// What it tells about itself.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(&self.head)
    }

    /// Bar code.
    #[must_use]
    pub fn label(&self) -> Label {
        self.head.label
    }

    /// Bytes of host data from beginning of tape to end of data.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.head.map.end().byte
    }

    /// The write-protect switch.
    #[must_use]
    pub fn write_protected(&self) -> bool {
        self.head.write_protected
    }

    /// Retention and hold, as last known: a retention that is over is there until [`Cartridge::release_if_over`] finds it.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.head.protection
    }

    /// How often it was loaded.
    #[must_use]
    pub fn load_count(&self) -> u64 {
        self.head.load_count
    }

    /// Bytes of blocks before the position.
    #[must_use]
    pub fn position_bytes(&self) -> u64 {
        self.cursor.at().byte
    }

    /// Where we are.
    #[must_use]
    pub fn position(&self) -> Position {
        let at = self.cursor.at();
        Position {
            object: at.object,
            file: at.file,
            end_of_data: at.object == self.head.map.end().object,
            early_warning: self.at_early_warning(),
        }
    }

    /// Whether anything that was taken is not durable yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.keep.object != self.committed.object || self.keep.object != self.head.map.end().object
    }

    /// Reads the object at the position and moves behind it; of a block the first `limit` bytes. The next object is
    /// found without a search, and bytes are handed on as the store has them.
    pub fn read(&mut self, limit: u32) -> Result<Object, CartridgeError> {
        self.usable()?;
        let before = self.cursor;
        let object = before.at().object;
        match self.head.map.step(&mut self.cursor) {
            None => Ok(Object::EndOfData),
            Some(Entry::Filemark) => Ok(Object::Filemark),
            Some(Entry::Block { offset, length }) => {
                let wanted = length.min(limit);
                let data = match (wanted, self.absent.clone()) {
                    (0, _) => Vec::new(),
                    (_, None) => self.read_bytes(object, offset, wanted)?,
                    (_, Some(absent)) => self.fetch_bytes(&*absent, before, offset, wanted)?,
                };
                Ok(Object::Block { length, data })
            }
        }
    }

    /// What cannot be reached now may be asked for once more: the position is before it again.
    fn fetch_bytes(
        &mut self,
        absent: &dyn Absent,
        before: Cursor,
        offset: u64,
        len: u32,
    ) -> Result<Vec<Bytes>, CartridgeError> {
        absent.read(offset, u64::from(len)).map_err(|not_here| match not_here {
            NotHere::Away { why } => {
                self.cursor = before;
                CartridgeError::Away { object: before.at().object, why }
            }
            NotHere::Damaged { why } => CartridgeError::Unreadable { object: before.at().object, why },
        })
    }

    fn read_bytes(&mut self, object: u64, offset: u64, len: u32) -> Result<Vec<Bytes>, CartridgeError> {
        let unreadable = |why: String| CartridgeError::Unreadable { object, why };
        match self.stream()?.read(offset, u64::from(len)) {
            Ok(data) => Ok(data),
            Err(error @ ReadError::Damaged { .. }) => Err(unreadable(error.to_string())),
            Err(error @ ReadError::OutOfRange { .. }) => Err(CartridgeError::corrupted(error)),
            Err(ReadError::Io(
                error @ (StoreError::Io(_) | StoreError::Damaged { .. } | StoreError::Format { .. }),
            )) => Err(unreadable(error.to_string())),
            Err(ReadError::Io(error)) => Err(self.roll_back(error)),
        }
    }

    /// Writes one block at the position; whatever was behind the position is gone with the same commit. The call
    /// commits by itself when [`Settings::commit_bytes`] are pending. A block of no bytes changes nothing.
    pub fn write_block(&mut self, block: &[Bytes], compress: bool) -> Result<Written, CartridgeError> {
        let length = block.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if length > u64::from(MAX_BLOCK_BYTES) {
            return Err(CartridgeError::BlockTooLong { length });
        }
        if length == 0 {
            return self.written();
        }
        self.writable()?;
        let run = Run { length: length as u32, count: 1 };
        self.room_for(run)?;
        self.cut_here(length)?;
        match self.stream()?.append(block, compress) {
            Ok(()) => {}
            // What is pending stays so and can be flushed; a cut alone is undone.
            Err(StoreError::Full { .. }) if self.head.map.end().object > self.keep.object => {
                return Err(CartridgeError::PoolFull);
            }
            Err(error) => return Err(self.roll_back(error)),
        }
        self.add(run)?;
        self.commit_if_large()?;
        self.written()
    }

    /// Writes `count` filemarks at the position, as [`Cartridge::write_block`]. They take no capacity.
    pub fn write_filemarks(&mut self, count: u32) -> Result<Written, CartridgeError> {
        if count == 0 {
            return self.written();
        }
        self.writable()?;
        let run = Run { length: 0, count: u64::from(count) };
        self.room_for(run)?;
        // A block asks the store at once, marks only with the next commit.
        if let Health::ReadOnly { why } = self.store.health() {
            return Err(CartridgeError::PoolReadOnly { why });
        }
        self.cut_here(0)?;
        self.add(run)?;
        self.commit_if_large()?;
        self.written()
    }

    /// Returns when everything taken so far survives a power cut; at once when it does already.
    pub fn flush(&mut self) -> Result<(), CartridgeError> {
        self.usable()?;
        // A count of loads alone does not matter enough to make a tape in a read-only pool unreadable.
        if !self.is_pending() {
            return Ok(());
        }
        self.commit()
    }

    /// Commits what has been pending for [`Settings::commit_interval`]; true when it did. `now` counts from anywhere,
    /// forwards. To be called before writes, from where the interval counts, and when [`Cartridge::commit_due_at`] says so.
    pub fn commit_if_due(&mut self, now: Duration) -> Result<bool, CartridgeError> {
        let since = *self.waits_since.get_or_insert(now);
        if !self.is_pending() {
            self.waits_since = Some(now);
            return Ok(false);
        }
        if now.saturating_sub(since) < self.settings.commit_interval {
            return Ok(false);
        }
        // First: should it fail and leave something pending, the next try is as far away as this one was.
        self.waits_since = Some(now);
        self.flush()?;
        Ok(true)
    }

    /// When [`Cartridge::commit_if_due`] has something to do next, in its time; `None` when nothing is pending.
    #[must_use]
    pub fn commit_due_at(&self) -> Option<Duration> {
        if !self.is_pending() || self.broken.is_some() {
            return None;
        }
        Some(self.waits_since.map_or(Duration::ZERO, |since| since + self.settings.commit_interval))
    }

    /// To the beginning of the tape.
    pub fn rewind(&mut self) {
        self.cursor = self.head.map.start_cursor();
    }

    /// To end of data.
    pub fn space_to_end(&mut self) {
        self.cursor = self.head.map.end_cursor();
    }

    /// Moves over blocks, forwards (positive) or backwards; stops behind a filemark in the direction of movement.
    pub fn space_blocks(&mut self, count: i64) -> Spaced {
        self.head.map.space_blocks(&mut self.cursor, count)
    }

    /// Moves over filemarks.
    pub fn space_filemarks(&mut self, count: i64) -> Spaced {
        self.head.map.space_filemarks(&mut self.cursor, count)
    }

    /// Moves over the first `count` filemarks in a row; when there are none, to the end of data or the beginning.
    pub fn space_sequential_filemarks(&mut self, count: i64) -> Spaced {
        self.head.map.space_sequential_filemarks(&mut self.cursor, count)
    }

    /// To the object with this number; `Some(EndOfData)`, and there, when it lies beyond.
    pub fn locate_object(&mut self, object: u64) -> Option<Stop> {
        self.cursor = self.head.map.locate_object(object);
        (object > self.head.map.end().object).then_some(Stop::EndOfData)
    }

    /// Behind the filemark that begins file `file` (0: to the beginning); `Some(EndOfData)`, and there, when it lies beyond.
    pub fn locate_file(&mut self, file: u64) -> Option<Stop> {
        let found = self.head.map.locate_file(file);
        self.cursor = found.unwrap_or(self.head.map.end_cursor());
        found.is_none().then_some(Stop::EndOfData)
    }

    /// Makes the position end of data; durable when it returns. The bytes behind it cannot be read through this
    /// interface afterwards; the store frees their space with the pack that they are in.
    pub fn erase(&mut self) -> Result<(), CartridgeError> {
        self.writable()?;
        self.cut_here(0)?;
        self.cursor = self.head.map.end_cursor();
        self.flush()
    }

    /// Empties the tape and rewinds; durable when it returns. Host attributes stay. A tape that takes writes at end of data only must be empty.
    pub fn format(&mut self) -> Result<(), CartridgeError> {
        let before = self.cursor;
        self.rewind();
        let done = self.erase();
        if matches!(done, Err(CartridgeError::WriteOnce | CartridgeError::WriteProtected)) {
            self.cursor = before;
        }
        done
    }

    /// A host attribute as stored.
    #[must_use]
    pub fn host_attribute(&self, id: u16) -> Option<&[u8]> {
        self.head.attributes.get(&id).map(Vec::as_slice)
    }

    /// Ids of all host attributes, ascending.
    #[must_use]
    pub fn host_attributes(&self) -> Vec<u16> {
        self.head.attributes.keys().copied().collect()
    }

    /// Stores or, with an empty value, removes a host attribute; durable when it returns, with all that was written
    /// before. The write-protect switch is not asked: it is the tape's, and this is the chip. When writes are lost on the way,
    /// the next reading or writing call says so.
    pub fn set_host_attribute(&mut self, id: u16, value: &[u8]) -> Result<(), CartridgeError> {
        self.changeable()?;
        if !set_attribute(&mut self.head.attributes, id, value) {
            return Err(CartridgeError::AttributesFull { limit: MAX_ATTRIBUTES_BYTES });
        }
        self.change(|changes| {
            changes.attributes.insert(id);
        })
    }

    /// Turns the write-protect switch; durable when it returns. When the store refuses that, it is turned all the same as long as the cartridge is
    /// open, and goes with the next commit: a tape that is to be protected takes no writes while its pool takes none of that.
    pub fn set_write_protected(&mut self, on: bool) -> Result<(), CartridgeError> {
        self.changeable()?;
        if self.head.write_protected == on {
            return Ok(());
        }
        self.head.write_protected = on;
        self.change(|changes| changes.write_protected = true)
    }

    /// Keeps what is on the tape until `until_s` (seconds since 1970 UTC) at least; durable when it returns, with all that was written before.
    pub fn retain(&mut self, until_s: u64, now: Now) -> Result<(), CartridgeError> {
        self.changeable()?;
        self.protect(self.head.protection.retained(until_s, now)?)
    }

    /// Puts the hold on, or lifts it; durable when it returns.
    pub fn set_hold(&mut self, on: bool) -> Result<(), CartridgeError> {
        self.changeable()?;
        self.protect(self.head.protection.held(on)?)
    }

    /// Lets a retention go that is over; durable when it returns. Whoever may be stopped by one asks this first.
    pub fn release_if_over(&mut self, now: Now) -> Result<(), CartridgeError> {
        self.usable_but_untold()?;
        self.protect(self.head.protection.at(now))
    }

    /// The store's guard goes on and off in the same record.
    fn protect(&mut self, protection: Protection) -> Result<(), CartridgeError> {
        if self.head.protection == protection {
            return Ok(());
        }
        self.head.protection = protection;
        self.change(|changes| changes.protection = true)
    }

    /// Notes where the cartridge is; durable when it returns. For rebuilding a lost inventory only.
    pub fn set_place(&mut self, place: PlaceHint) -> Result<(), CartridgeError> {
        self.changeable()?;
        let place = place.filter(|(_, place)| *place != Place::Vault);
        if self.head.place == place {
            return Ok(());
        }
        self.head.place = place;
        self.change(|changes| changes.place = true)
    }

    /// Commits a change that is not a write. A loss of writes on the way is not this call's to tell.
    fn change(&mut self, note: impl FnOnce(&mut Changes)) -> Result<(), CartridgeError> {
        note(&mut self.changes);
        self.commit().map_err(|error| match error {
            CartridgeError::LateWrite(lost) => {
                let why = lost.why.clone();
                self.untold = Some(lost);
                CartridgeError::WriteFailed { why }
            }
            other => other,
        })
    }

    fn stream(&mut self) -> Result<&mut Stream, CartridgeError> {
        let closed = || CartridgeError::Broken { why: "its stream could not be opened again".into() };
        self.stream.as_mut().ok_or_else(closed)
    }

    fn usable(&mut self) -> Result<(), CartridgeError> {
        match self.untold.take() {
            Some(lost) => Err(CartridgeError::LateWrite(lost)),
            None => self.usable_but_untold(),
        }
    }

    /// Whether anything but blocks and marks may be changed.
    fn changeable(&self) -> Result<(), CartridgeError> {
        match self.absent {
            Some(_) => Err(CartridgeError::Incomplete),
            None => self.usable_but_untold(),
        }
    }

    fn usable_but_untold(&self) -> Result<(), CartridgeError> {
        self.broken.as_ref().map_or(Ok(()), |why| Err(CartridgeError::Broken { why: why.clone() }))
    }

    /// Whether a write may change the tape at the position.
    fn writable(&mut self) -> Result<(), CartridgeError> {
        self.usable()?;
        let at_end = self.cursor.at().object == self.head.map.end().object;
        if self.head.write_protected {
            return Err(CartridgeError::WriteProtected);
        }
        // A copy that nobody has had yet may be begun anew.
        let once = self.head.kind.form == MediaForm::Worm || self.head.protection.is_on();
        let appends_only = once && !self.head.unfinished;
        if appends_only && !at_end {
            return Err(CartridgeError::WriteOnce);
        }
        Ok(())
    }

    /// Whether the tape is long enough for a run at the position.
    fn room_for(&self, run: Run) -> Result<(), CartridgeError> {
        let end = self.cursor.at().past(run).map(|end| end.byte);
        let fits = end.is_some_and(|end| run.length == 0 || end <= self.head.capacity_bytes);
        let full = self.head.map.memory_bytes() >= self.settings.map_limit_bytes;
        if fits && !full { Ok(()) } else { Err(CartridgeError::EndOfPartition) }
    }

    /// Makes the position end of data, before `room` bytes are written there.
    fn cut_here(&mut self, room: u64) -> Result<(), CartridgeError> {
        let (at, end) = (self.cursor.at(), self.head.map.end());
        if at.object == end.object {
            return Ok(());
        }
        // Asked before the old data goes: a write that is refused for want of space must not cost what stands there.
        if room > 0 && self.store.free_bytes() < room {
            return Err(CartridgeError::PoolFull);
        }
        if let Err(error) = self.stream()?.truncate(at.byte) {
            return Err(self.roll_back(error));
        }
        self.head.map.truncate(at.object);
        self.cursor = self.head.map.end_cursor();
        if at.object < self.keep.object {
            self.keep = at;
            self.keep_encoded = self.head.map.encoded_len();
        }
        Ok(())
    }

    fn add(&mut self, run: Run) -> Result<(), CartridgeError> {
        self.head.map.append(run).ok_or(CartridgeError::EndOfPartition)?;
        self.cursor = self.head.map.end_cursor();
        self.look_at_pool();
        Ok(())
    }

    /// With each write: others fill the pool as well, and whoever writes next must be warned before it is full.
    fn look_at_pool(&mut self) {
        let warning = self.settings.pool_warning_bytes;
        self.pool_low = !self.store.surely_has(warning) && self.store.free_bytes() < warning;
    }

    fn written(&self) -> Result<Written, CartridgeError> {
        Ok(Written { early_warning: self.at_early_warning() })
    }

    fn at_early_warning(&self) -> bool {
        let (at, end) = (self.cursor.at(), self.head.map.end());
        let begins_at = self.head.capacity_bytes - self.head.early_warning_bytes;
        let limit = self.settings.map_limit_bytes;
        let full_otherwise =
            self.pool_low || self.head.map.memory_bytes() >= limit - limit / MAP_WARNING_PART;
        at.byte >= begins_at || (at.object == end.object && full_otherwise)
    }

    fn commit_if_large(&mut self) -> Result<(), CartridgeError> {
        let bytes = self.head.map.end().byte - self.keep.byte;
        let delta = self.head.map.encoded_len().saturating_sub(self.keep_encoded);
        let due = bytes >= self.settings.commit_bytes || delta >= self.settings.commit_delta_bytes;
        if due { self.commit() } else { Ok(()) }
    }

    fn snapshot_fits(&self) -> bool {
        self.head.snapshot_len() <= SNAPSHOT_MAX_BYTES
    }

    /// One record in the store's journal: the stream up to here, and what it means.
    fn commit(&mut self) -> Result<(), CartridgeError> {
        if self.absent.is_some() {
            return Err(CartridgeError::Incomplete);
        }
        self.changes.content_from = self.is_pending().then_some(self.keep.object);
        if self.changes.is_empty() {
            return Ok(());
        }
        self.head.number += 1;
        // A copy has its generation when it is finished.
        self.head.generation += u64::from(self.changes.touch_content() && !self.head.unfinished);
        let delta = self.head.encode_delta(&self.changes);
        let grown = self.deltas_bytes + delta.len() + DELTA_OVERHEAD_BYTES;
        if self.changes.protection {
            let on = self.head.protection.is_on();
            self.stream()?.guard(on);
        }
        let snapshot_is_due =
            grown > self.head.map.encoded_len().max(DELTAS_MIN_BYTES) && self.snapshot_fits();
        let committed = if snapshot_is_due {
            let snapshot = self.head.encode_snapshot();
            self.stream()?.commit_snapshot(&snapshot)
        } else {
            self.stream()?.commit(&delta)
        };
        if let Err(error) = committed {
            return Err(self.roll_back(error));
        }
        self.deltas_bytes = if snapshot_is_due { 0 } else { grown };
        self.is_clean();
        self.look_at_pool();
        Ok(())
    }

    fn is_clean(&mut self) {
        self.changes = Changes::default();
        self.committed = self.head.map.end();
        self.keep = self.committed;
        self.keep_encoded = self.head.map.encoded_len();
    }

    /// Back to the last commit after the store refused something, with the error that tells what that cost.
    fn roll_back(&mut self, error: StoreError) -> CartridgeError {
        let end = self.head.map.end();
        let at = self.cursor.at().object;
        let (objects, bytes) = (end.object - self.keep.object, end.byte - self.keep.byte);
        let (load_count, write_protected) = (self.head.load_count, self.head.write_protected);
        // Only a cut is undone when nothing was added: the old tape is whole again and the position means what it did.
        if let Err(why) = self.load_committed() {
            self.broken = Some(format!("{error}; then, going back to the last commit: {why}"));
        }
        if objects == 0 {
            self.cursor = self.head.map.locate_object(at);
        }
        self.changes.load_count = load_count != self.head.load_count;
        self.head.load_count = load_count;
        self.changes.write_protected = write_protected != self.head.write_protected;
        self.head.write_protected = write_protected;
        let why = error.to_string();
        let end_object = self.head.map.end().object;
        match error {
            _ if objects > 0 => CartridgeError::LateWrite(Lost { objects, bytes, end_object, why }),
            StoreError::ReadOnly { why } => CartridgeError::PoolReadOnly { why },
            StoreError::Full { .. } => CartridgeError::PoolFull,
            _ => CartridgeError::WriteFailed { why },
        }
    }

    /// Takes the state from the store again: map, attributes and all; the position is end of data.
    fn load_committed(&mut self) -> Result<(), CartridgeError> {
        let kept = self.store.head(self.owner)?;
        self.head = read_head(&kept)?;
        self.deltas_bytes = deltas_bytes(&kept);
        self.cursor = self.head.map.end_cursor();
        self.is_clean();
        if self.stream.as_ref().is_none_or(|stream| stream.len() != kept.length) {
            // What was appended cannot be committed any more; opening again gives it up.
            self.stream = None;
            self.stream = Some(self.store.open_stream(self.owner)?);
        }
        Ok(())
    }
}

/// Snapshot and deltas as a state that fits the bytes in the store.
pub(crate) fn read_head(kept: &vtl_store::Head) -> Result<Head, CartridgeError> {
    let head = Head::replay(&kept.snapshot, &kept.deltas)?;
    let mapped = head.map.end().byte;
    if mapped != kept.length {
        let why = format_args!("the block map has {mapped} bytes, the stream {}", kept.length);
        return Err(CartridgeError::corrupted(why));
    }
    Ok(head)
}

fn deltas_bytes(kept: &vtl_store::Head) -> usize {
    kept.deltas.iter().map(|delta| delta.len() + DELTA_OVERHEAD_BYTES).sum()
}
