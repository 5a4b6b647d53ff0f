//! The pool as a whole: who its owners are, and whether it takes writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vtl_durable::log::LogError;
use vtl_durable::sealed::{self, ReplaceError};
use vtl_durable::{Disk, DiskFile};

use crate::check::{self, CheckReport};
use crate::codec::Codec;
use crate::commit::Committer;
use crate::error::StoreError;
use crate::lane::{Context, Lane};
use crate::pack::PackId;
use crate::recipe::{Change, Entry, HEAD_KIND, Note, State, Totals};
use crate::recovery;
use crate::stream::Stream;
use crate::types::{Head, Health, MAX_NOTE_BYTES, Options, OwnerId, Stats};
use crate::workers::{Workers, lock};

pub(crate) const HEAD: &str = "head";
/// With so much free, and the reserve besides, the file system is not asked again for each append.
const PLENTY_BYTES: u64 = 4 << 30;
/// What may be appended between two askings: far less than plenty, and less than the reserve.
const GRANT_BYTES: u64 = 32 << 20;

/// The store. A clone is the same store; it closes when the last clone and the last stream are gone.
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
}

/// What is known of one owner.
#[derive(Debug)]
pub(crate) struct Slot {
    /// A stream is open, or the owner is being made or removed.
    pub(crate) busy: bool,
    pub(crate) phase: Phase,
    /// As last seen; exact while the state is not loaded.
    pub(crate) totals: Totals,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// All is in the head file.
    Idle,
    Loaded(Arc<Mutex<State>>),
    /// The head cannot be read, so nothing can.
    Damaged {
        path: PathBuf,
        offset: u64,
        why: String,
    },
    /// The journal says so, and its files are not all gone.
    Removed,
}

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    pub(crate) options: Options,
    pub(crate) store_id: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) workers: Workers,
    pub(crate) codec: Arc<Codec>,
    pub(crate) owners: Mutex<BTreeMap<OwnerId, Slot>>,
    pub(crate) committer: Committer,
    pub(crate) health: Mutex<Health>,
    pub(crate) removing: Mutex<()>,
    pub(crate) next_pack: Arc<AtomicU32>,
    pub(crate) in_flight: Arc<AtomicU64>,
    pub(crate) cached: Arc<AtomicU64>,
    /// Bytes that may be appended before the file system is asked again.
    pub(crate) granted: AtomicU64,
    /// Held for its lock on the pool.
    pub(crate) _lock: Arc<dyn DiskFile>,
}

impl Store {
    /// Opens the pool in `root`, making it when the folder is empty or missing (its parent must exist), and finishes
    /// what a crash left unfinished.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<Self, StoreError> {
        Ok(Self { core: Arc::new(recovery::open(disk, root, options.bounded())?) })
    }

    /// All owners, damaged ones too, sorted.
    pub fn owners(&self) -> Vec<OwnerId> {
        let owners = lock(&self.core.owners);
        owners
            .iter()
            .filter(|(_, slot)| !matches!(slot.phase, Phase::Removed))
            .map(|(owner, _)| *owner)
            .collect()
    }

    /// Makes an owner with an empty stream; durable when it returns.
    pub fn create(&self, owner: OwnerId, snapshot: &[u8]) -> Result<(), StoreError> {
        let core = &self.core;
        core.writable()?;
        check_note(snapshot)?;
        core.admit(snapshot.len() as u64)?;
        {
            let mut owners = lock(&core.owners);
            if let Some(slot) = owners.get(&owner) {
                let removed = matches!(slot.phase, Phase::Removed);
                return Err(if removed { StoreError::Busy { owner } } else { StoreError::Exists { owner } });
            }
            owners.insert(owner, Slot { busy: true, phase: Phase::Idle, totals: Totals::default() });
        }
        let made = core.make_owner(owner, snapshot);
        let mut owners = lock(&core.owners);
        match made {
            Ok(()) => {
                if let Some(slot) = owners.get_mut(&owner) {
                    slot.busy = false;
                }
                Ok(())
            }
            Err(error) => {
                owners.remove(&owner);
                Err(error)
            }
        }
    }

    /// Removes an owner and frees its packs; the removal is durable when it returns without an error. After an
    /// error that is not [`StoreError::Busy`] or [`StoreError::UnknownOwner`] it may have happened all the same.
    pub fn remove(&self, owner: OwnerId) -> Result<(), StoreError> {
        let core = &self.core;
        core.writable()?;
        {
            let mut owners = lock(&core.owners);
            let slot = owners.get_mut(&owner).ok_or(StoreError::UnknownOwner { owner })?;
            if matches!(slot.phase, Phase::Removed) {
                return Err(StoreError::UnknownOwner { owner });
            }
            if std::mem::replace(&mut slot.busy, true) {
                return Err(StoreError::Busy { owner });
            }
        }
        if let Err(failure) = core.committer.commit(core, Entry::Remove(owner)) {
            core.free(owner);
            return Err(StoreError::LateWrite { owner, kept_bytes: core.length_of(owner), why: failure.why });
        }
        core.finish_removal(owner)
    }

    /// The owner's state as last committed.
    pub fn head(&self, owner: OwnerId) -> Result<Head, StoreError> {
        match self.core.loaded(owner)? {
            Some(state) => Ok(lock(&state).head.clone()),
            None => Ok(self.core.load(owner)?.head),
        }
    }

    /// Opens the owner's stream; there is one at a time.
    pub fn open_stream(&self, owner: OwnerId) -> Result<Stream, StoreError> {
        let core = &self.core;
        {
            let mut owners = lock(&core.owners);
            let slot = owners.get_mut(&owner).ok_or(StoreError::UnknownOwner { owner })?;
            slot.usable(owner)?;
            if std::mem::replace(&mut slot.busy, true) {
                return Err(StoreError::Busy { owner });
            }
        }
        match core.load_for_stream(owner) {
            Ok(state) => Ok(Stream::new(Arc::clone(core), owner, state)),
            Err(error) => {
                core.free(owner);
                Err(error)
            }
        }
    }

    /// Counts over the whole pool.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// What may still be appended before [`StoreError::Full`].
    pub fn free_bytes(&self) -> u64 {
        self.core.free_bytes().unwrap_or(0)
    }

    /// Reads and verifies every chunk of every owner, while the pool is in use.
    pub fn check(&self) -> CheckReport {
        check::check(&self.core)
    }

    /// Whether the pool takes writes.
    pub fn health(&self) -> Health {
        lock(&self.core.health).clone()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("root", &self.core.root).finish_non_exhaustive()
    }
}

pub(crate) fn check_note(note: &[u8]) -> Result<(), StoreError> {
    if note.len() > MAX_NOTE_BYTES {
        let (len, limit) = (note.len() as u64, MAX_NOTE_BYTES as u64);
        return Err(StoreError::TooLong { what: "a delta or snapshot", len, limit });
    }
    Ok(())
}

impl Slot {
    fn usable(&self, owner: OwnerId) -> Result<(), StoreError> {
        match &self.phase {
            Phase::Idle | Phase::Loaded(_) => Ok(()),
            Phase::Removed => Err(StoreError::UnknownOwner { owner }),
            Phase::Damaged { path, offset, why } => {
                Err(StoreError::Damaged { path: path.clone(), offset: *offset, why: why.clone() })
            }
        }
    }
}

impl Core {
    pub(crate) fn owners_folder(&self) -> PathBuf {
        self.root.join(recovery::OWNERS)
    }

    pub(crate) fn folder(&self, owner: OwnerId) -> PathBuf {
        self.owners_folder().join(owner.to_string())
    }

    pub(crate) fn writable(&self) -> Result<(), StoreError> {
        match &*lock(&self.health) {
            Health::Ok => Ok(()),
            Health::ReadOnly { why } => Err(StoreError::ReadOnly { why: why.clone() }),
        }
    }

    /// A sync failed: what is on the disk is unknown, so nothing more goes there until recovery has looked.
    pub(crate) fn set_read_only(&self, why: &str) {
        let mut health = lock(&self.health);
        if *health == Health::Ok {
            tracing::error!(why, root = %self.root.display(), "the pool is read-only until it is opened anew");
            *health = Health::ReadOnly { why: why.to_string() };
        }
    }

    /// What a failed journal write means; the reason as text.
    pub(crate) fn distrust_log(&self, error: &LogError) -> String {
        let why = error.to_string();
        if matches!(error, LogError::Untrusted(_)) {
            self.set_read_only(&why);
        }
        why
    }

    pub(crate) fn free_bytes(&self) -> Result<u64, StoreError> {
        let free = self.disk.free_bytes(&self.root)?;
        let spoken_for = self.options.reserve_bytes.saturating_add(self.in_flight.load(Ordering::Relaxed));
        Ok(free.saturating_sub(spoken_for))
    }

    /// Whether so many bytes may be appended.
    pub(crate) fn admit(&self, needed_bytes: u64) -> Result<(), StoreError> {
        let free_bytes = self.free_bytes()?;
        if needed_bytes > free_bytes { Err(StoreError::Full { needed_bytes, free_bytes }) } else { Ok(()) }
    }

    /// The same for the bytes of a stream, without asking the file system for each block while it has plenty.
    pub(crate) fn admit_append(&self, needed_bytes: u64) -> Result<(), StoreError> {
        let relaxed = Ordering::Relaxed;
        let take = |granted: u64| granted.checked_sub(needed_bytes);
        if self.granted.fetch_update(relaxed, relaxed, take).is_ok() {
            return Ok(());
        }
        let free_bytes = self.free_bytes()?;
        if needed_bytes > free_bytes {
            return Err(StoreError::Full { needed_bytes, free_bytes });
        }
        if free_bytes.saturating_sub(needed_bytes) >= PLENTY_BYTES {
            self.granted.store(GRANT_BYTES, relaxed);
        }
        Ok(())
    }

    fn make_owner(&self, owner: OwnerId, snapshot: &[u8]) -> Result<(), StoreError> {
        let folder = self.folder(owner);
        let folder_made = |error: vtl_durable::DiskError| {
            self.set_read_only(&error.to_string());
            error
        };
        self.disk.create_folder(&folder)?;
        self.disk.sync_folder(&self.owners_folder()).map_err(folder_made)?;
        // Records about an earlier owner of this id are below this number and never applied to the new one.
        let sequence = self.committer.next_sequence().saturating_sub(1);
        let mut state = State::new(snapshot, sequence);
        let made = self.save_head(owner, &mut state);
        if made.is_err() && self.writable().is_ok() {
            // Best effort: an empty folder is removed by the next start.
            let _ = self.disk.remove_folder(&folder);
        }
        made
    }

    /// Writes the owner's head.
    pub(crate) fn save_head(&self, owner: OwnerId, state: &mut State) -> Result<(), StoreError> {
        let payload = state.encode(self.store_id, owner);
        let folder = self.folder(owner);
        match sealed::replace(&*self.disk, &folder, HEAD, HEAD_KIND, &payload) {
            Ok(()) => {
                state.saved_sequence = state.sequence;
                Ok(())
            }
            Err(error) => {
                if let ReplaceError::NotSynced(error) = &error {
                    self.set_read_only(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Writes the heads that are behind the journal, and finishes removals.
    pub(crate) fn save_all(&self) -> Result<(), StoreError> {
        let mut loaded = Vec::new();
        let mut removed = Vec::new();
        for (owner, slot) in lock(&self.owners).iter() {
            match &slot.phase {
                Phase::Loaded(state) => loaded.push((*owner, Arc::clone(state))),
                Phase::Removed => removed.push(*owner),
                Phase::Idle | Phase::Damaged { .. } => {}
            }
        }
        for (owner, state) in loaded {
            let mut state = lock(&state);
            if !state.is_saved() {
                self.save_head(owner, &mut state)?;
            }
        }
        removed.into_iter().try_for_each(|owner| self.finish_removal(owner))
    }

    /// Deletes a removed owner's files. The journal has the removal, so this can be done again at any time.
    pub(crate) fn finish_removal(&self, owner: OwnerId) -> Result<(), StoreError> {
        // Two may want to finish the same one, and the id may be in use again when the second gets here.
        let _one_at_a_time = lock(&self.removing);
        let is_due = lock(&self.owners).get(&owner).is_some_and(|slot| matches!(slot.phase, Phase::Removed));
        if !is_due {
            return Ok(());
        }
        recovery::delete_owner(&*self.disk, &self.owners_folder(), owner)?;
        lock(&self.owners).remove(&owner);
        Ok(())
    }

    /// Whether the change can be applied to its owner.
    pub(crate) fn fits(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Remove(_) => true,
            Entry::Commit(owner, change) => match self.loaded(*owner) {
                Ok(Some(state)) => lock(&state).check_fits(change).is_ok(),
                _ => false,
            },
        }
    }

    /// Applies a durable change; the packs that died with it.
    pub(crate) fn apply(&self, sequence: u64, entry: Entry) -> Vec<PackId> {
        match entry {
            Entry::Remove(owner) => {
                if let Some(slot) = lock(&self.owners).get_mut(&owner) {
                    slot.phase = Phase::Removed;
                }
                Vec::new()
            }
            Entry::Commit(owner, change) => self.apply_commit(sequence, owner, change),
        }
    }

    fn apply_commit(&self, sequence: u64, owner: OwnerId, change: Change) -> Vec<PackId> {
        let Ok(Some(state)) = self.loaded(owner) else { return Vec::new() };
        let applied = lock(&state).apply(sequence, change);
        applied.unwrap_or_else(|why| {
            // It was checked before the record was written; if memory and journal part all the same, stop here.
            self.set_read_only(why);
            Vec::new()
        })
    }

    /// The state of an owner that is loaded; none when its head file says everything.
    pub(crate) fn loaded(&self, owner: OwnerId) -> Result<Option<Arc<Mutex<State>>>, StoreError> {
        let owners = lock(&self.owners);
        let slot = owners.get(&owner).ok_or(StoreError::UnknownOwner { owner })?;
        slot.usable(owner)?;
        match &slot.phase {
            Phase::Loaded(state) => Ok(Some(Arc::clone(state))),
            _ => Ok(None),
        }
    }

    /// The state from the head file.
    pub(crate) fn load(&self, owner: OwnerId) -> Result<State, StoreError> {
        recovery::load_head(&*self.disk, &self.folder(owner), self.store_id, owner)
    }

    fn load_for_stream(&self, owner: OwnerId) -> Result<Arc<Mutex<State>>, StoreError> {
        if let Some(state) = self.loaded(owner)? {
            return Ok(state);
        }
        let state = Arc::new(Mutex::new(self.load(owner)?));
        if let Some(slot) = lock(&self.owners).get_mut(&owner) {
            slot.phase = Phase::Loaded(Arc::clone(&state));
        }
        Ok(state)
    }

    /// The stream is closed: the head is brought up to date, and if that worked the state leaves memory.
    pub(crate) fn close_stream(
        &self,
        owner: OwnerId,
        sealed_pack: Option<(PackId, crate::recipe::PackInfo)>,
    ) {
        if let Ok(Some(state)) = self.loaded(owner) {
            let mut state = lock(&state);
            let news = sealed_pack.is_some();
            if let Some((id, info)) = sealed_pack {
                state.seal_pack(id, info);
            }
            if (news || !state.is_saved())
                && self.writable().is_ok()
                && let Err(error) = self.save_head(owner, &mut state)
            {
                tracing::warn!(%owner, %error, "the head is not current; the journal is kept");
            }
        }
        let mut owners = lock(&self.owners);
        if let Some(slot) = owners.get_mut(&owner) {
            slot.busy = false;
            if let Phase::Loaded(state) = &slot.phase {
                let (saved, totals) = {
                    let state = lock(state);
                    (state.is_saved(), state.totals())
                };
                slot.totals = totals;
                if saved {
                    slot.phase = Phase::Idle;
                }
            }
        }
    }

    fn free(&self, owner: OwnerId) {
        if let Some(slot) = lock(&self.owners).get_mut(&owner) {
            slot.busy = false;
        }
    }

    fn length_of(&self, owner: OwnerId) -> u64 {
        lock(&self.owners).get(&owner).map_or(0, |slot| slot.current_totals().length)
    }

    pub(crate) fn lane(&self, owner: OwnerId, length: u64) -> Lane {
        let context = Context {
            disk: Arc::clone(&self.disk),
            folder: self.folder(owner),
            store_id: self.store_id,
            owner,
            epoch: self.epoch,
            next_pack: Arc::clone(&self.next_pack),
            codec: Arc::clone(&self.codec),
            pack_bytes: self.options.pack_bytes,
            write_bytes: self.options.write_bytes,
            in_flight_bytes: self.options.in_flight_bytes,
            in_flight_total: Arc::clone(&self.in_flight),
        };
        Lane::new(context, length)
    }

    /// Unlinks packs that nothing refers to. What cannot be unlinked now goes at the next start.
    pub(crate) fn unlink_packs(&self, owner: OwnerId, packs: &[PackId]) {
        for id in packs {
            match self.disk.unlink(&crate::pack::path(&self.folder(owner), *id)) {
                Err(error) if !error.is_not_found() => {
                    tracing::warn!(%owner, pack = %id, %error, "a dead pack stays until the next start");
                }
                _ => {}
            }
        }
    }

    pub(crate) fn commit(&self, owner: OwnerId, change: Change) -> Result<Vec<PackId>, String> {
        self.committer.commit(self, Entry::Commit(owner, change)).map_err(|failure| failure.why)
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats {
            memory_bytes: self.in_flight.load(Ordering::Relaxed) + self.cached.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for slot in lock(&self.owners).values() {
            let totals = slot.current_totals();
            stats.logical_bytes += totals.length;
            stats.unique_bytes += totals.length;
            stats.stored_bytes += totals.pack_bytes;
            stats.chunks += totals.chunks;
            stats.packs += totals.packs;
            stats.reclaimable_bytes += totals.dead_bytes();
            if let Phase::Loaded(state) = &slot.phase {
                stats.memory_bytes += lock(state).memory_bytes();
            }
        }
        stats
    }
}

impl Slot {
    fn current_totals(&self) -> Totals {
        match &self.phase {
            Phase::Loaded(state) => lock(state).totals(),
            Phase::Idle => self.totals,
            Phase::Damaged { .. } | Phase::Removed => Totals::default(),
        }
    }
}

impl Totals {
    /// Stored bytes times the share of raw bytes that no stream has any more.
    fn dead_bytes(&self) -> u64 {
        let dead = self.raw_bytes.saturating_sub(self.length);
        let share = u128::from(self.pack_bytes) * u128::from(dead) / u128::from(self.raw_bytes.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.writable().is_ok()
            && let Err(error) = self.committer.tidy(self)
        {
            tracing::warn!(%error, "the next start has to read the journal");
        }
    }
}

/// The note of a commit, with its length checked.
pub(crate) fn delta(bytes: &[u8]) -> Result<Note, StoreError> {
    check_note(bytes).map(|()| Note::Delta(bytes.to_vec()))
}

/// The note of a snapshot commit, with its length checked.
pub(crate) fn snapshot(bytes: &[u8]) -> Result<Note, StoreError> {
    check_note(bytes).map(|()| Note::Snapshot(bytes.to_vec()))
}
