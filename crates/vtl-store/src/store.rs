//! The pool as a whole: who its owners are, and whether it takes writes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vtl_durable::log::LogError;
use vtl_durable::sealed::{self, ReplaceError};
use vtl_durable::{Disk, DiskFile};

use crate::account;
use crate::backend::{Backend, PackName};
use crate::check::{self, CheckReport};
use crate::chunker::{Chunker, Gear};
use crate::cipher::{Domain, Use};
use crate::codec::Codec;
use crate::commit::Committer;
use crate::cutter::{Cutter, Rule};
use crate::drain::{self, DrainReport, Folder};
use crate::error::StoreError;
use crate::gc::{self, GcProgress, GcReport, GcRule};
use crate::index::IndexStats;
use crate::keyring::{KeyStatus, Keyring, PassphraseCost, PoolKey};
use crate::lane::{Context, Lane};
use crate::lost::{self, Lost, LostChunk};
use crate::pack::{Chunk, PackId};
use crate::packs::{Next, Packs, View};
use crate::quarantine::{Damaged, Quarantine};
use crate::recipe::{Begin, Change, Commit, Entry, Extent, HEAD_KIND, Note, Size, State};
use crate::recovery;
use crate::repair::{self, PutBack, RepairReport};
use crate::scrub::{Scrub, ScrubFinding, ScrubStatus, Scrubber};
use crate::snapshot::{Pinned, Snapshot};
use crate::stream::Stream;
use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, Weak};
use crate::types::{Head, Health, MAX_NOTE_BYTES, Options, OwnerId, PackWrites, Share, Stats, Usage};
use crate::workers::{Workers, lock};
use crate::writer::{Dock, PrepareError};

pub(crate) const HEAD: &str = "head";
/// An empty file beside the head, made after it: a folder with it and without a head has lost the head, one without both was being made.
pub(crate) const MADE: &str = "made";
/// With so much free, and the reserve besides, the file system is not asked again for each append.
pub(crate) const PLENTY_BYTES: u64 = 4 << 30;
/// What may be appended between two askings: far less than plenty, and less than the reserve.
pub(crate) const GRANT_BYTES: u64 = 32 << 20;

/// The store. A clone is the same store; it closes when the last clone and the last stream are gone.
#[derive(Clone)]
pub struct Store {
    pub(crate) core: Arc<Core>,
}

/// What is known of one owner.
#[derive(Debug)]
pub(crate) struct Slot {
    /// A stream is open, or the owner is being made or removed.
    pub(crate) busy: bool,
    pub(crate) phase: Phase,
    /// As last seen; exact while the state is not loaded.
    pub(crate) size: Size,
    /// The sequence that the head file has; of a damaged one, that it should have.
    pub(crate) sequence: u64,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// Its first head is being written.
    Making,
    /// All is in the head file.
    Idle,
    Loaded(Arc<Mutex<State>>),
    /// The head cannot be read or is not the last one, so nothing can be read.
    Damaged {
        path: PathBuf,
        offset: u64,
        why: String,
        /// What the journal has for it, should the right head come back.
        kept: Vec<(u64, Commit)>,
    },
    /// The journal says so, and its files are not all gone.
    Removed,
}

pub(crate) struct Core {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) root: PathBuf,
    pub(crate) options: Options,
    pub(crate) domain: Arc<Domain>,
    /// None when the pool is not encrypted.
    pub(crate) keyring: Option<Keyring>,
    pub(crate) workers: Workers,
    /// Those that read ahead: they wait for the disk, so they are more, and nobody who cuts and hashes waits with them.
    pub(crate) readers: Workers,
    /// What the dock's handle runs on.
    pub(crate) _pusher: Workers,
    pub(crate) codec: Arc<Codec>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) dock: Arc<Dock>,
    pub(crate) gear: Arc<Gear>,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) scrub: Scrub,
    /// Lanes of open streams, for the collector.
    pub(crate) lanes: Mutex<Vec<Weak<Lane>>>,
    /// What snapshots need, for the collector.
    pub(crate) snapshots: Mutex<Vec<Weak<Pinned>>>,
    pub(crate) owners: Mutex<BTreeMap<OwnerId, Slot>>,
    pub(crate) committer: Committer,
    pub(crate) health: Mutex<Health>,
    pub(crate) removing: Mutex<()>,
    pub(crate) in_flight: Arc<AtomicU64>,
    pub(crate) cached: Arc<AtomicU64>,
    /// Bytes that may be appended before the file system is asked again.
    pub(crate) granted: AtomicU64,
    /// What the last collection left in packs although nothing needs it.
    pub(crate) reclaimable: AtomicU64,
    /// By so much packs grew for all commits.
    pub(crate) arrived: AtomicU64,
    /// By so much they became shorter since.
    pub(crate) reclaimed: AtomicI64,
    /// What each owner needed of it when that was last looked at.
    pub(crate) marked: Mutex<BTreeMap<OwnerId, Share>>,
    /// Held for its lock on the pool.
    pub(crate) _lock: Arc<dyn DiskFile>,
}

impl Store {
    /// Opens the pool in `root`, making it when the folder is empty or missing (its parent must exist), and finishes
    /// what a crash left unfinished.
    pub fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<Self, StoreError> {
        Ok(Self { core: Arc::new(recovery::open(disk, root, options.bounded())?) })
    }

    /// What the pool is known by for ever; see [`Options::pool_id`].
    pub fn id(&self) -> [u8; 16] {
        self.core.domain.store_id()
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
            owners
                .insert(owner, Slot { busy: true, phase: Phase::Making, size: Size::default(), sequence: 0 });
        }
        let made = core.make_owner(owner, snapshot);
        let mut owners = lock(&core.owners);
        match made {
            Ok(sequence) => {
                owners
                    .insert(owner, Slot { busy: false, phase: Phase::Idle, size: Size::default(), sequence });
                Ok(())
            }
            Err(error) => {
                owners.remove(&owner);
                Err(error)
            }
        }
    }

    /// Removes an owner and frees its packs; the removal is durable when it returns without an error. After
    /// [`StoreError::LateWrite`] it may have happened all the same. An owner with the guard on stays; one whose head is lost says nothing
    /// of a guard, and goes; but not when the head is there again ([`Store::is_mended`]).
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
        if let Err(refused) = core.refuse_guarded(owner) {
            core.free(owner);
            return Err(refused);
        }
        if let Err(failure) = core.committer.commit(core, Entry::Remove(owner)) {
            core.free(owner);
            return Err(StoreError::LateWrite { owner, kept_bytes: core.length_of(owner), why: failure.why });
        }
        core.finish_removal(owner)
    }

    /// The owner's state as last committed.
    pub fn head(&self, owner: OwnerId) -> Result<Head, StoreError> {
        self.core.peek(owner, |state| state.head.clone())
    }

    /// Whether the owner's guard is on, as last committed.
    pub fn is_guarded(&self, owner: OwnerId) -> Result<bool, StoreError> {
        self.core.peek(owner, |state| state.guarded)
    }

    /// Whether the head of an owner was damaged when the pool was opened and is there again: the next opening takes it, this one does not. An older copy
    /// of it is not it.
    ///
    /// # Errors
    /// The disk failed; the head is of a version that this program does not know.
    pub fn is_mended(&self, owner: OwnerId) -> Result<bool, StoreError> {
        self.core.is_mended(owner)
    }

    /// The owner as last committed, to be read whatever becomes of it: written, cut or removed. Other streams and snapshots are in nobody's way.
    ///
    /// # Errors
    /// There is no such owner, or its head cannot be read.
    pub fn snapshot(&self, owner: OwnerId) -> Result<Snapshot, StoreError> {
        Snapshot::take(&self.core, owner)
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

    /// What one owner takes. Its share is that of the last collection or accounting.
    pub fn usage(&self, owner: OwnerId) -> Result<Usage, StoreError> {
        let size = {
            let owners = lock(&self.core.owners);
            let slot = owners.get(&owner).ok_or(StoreError::UnknownOwner { owner })?;
            slot.usable(owner)?;
            slot.current_size()
        };
        let share = lock(&self.core.marked).get(&owner).copied();
        Ok(Usage { logical_bytes: size.length, arrived_bytes: size.arrived_bytes, share })
    }

    /// Finds out what each owner needs and what nobody needs, without freeing anything: for [`Store::usage`] and [`Store::stats`].
    pub fn account(&self) -> Result<(), StoreError> {
        account::account(&self.core)
    }

    /// Counts over the whole pool.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// The folders that its packs lie in, its home first.
    pub fn folders(&self) -> Vec<Folder> {
        drain::folders(&self.core)
    }

    /// Takes a further, blank folder for packs in, while the pool is in use; each later opening has to name it. Done again after a crash or an error it
    /// goes on.
    ///
    /// # Errors
    /// It is not blank, or in the home; the pool takes no writes; the disk failed.
    pub fn add_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.core.writable()?;
        self.core.packs.members.add(folder, self.id(), &self.core.options)
    }

    /// Refuses a folder that [`Store::add_folder`] would not take in, as far as that can be seen, and writes nothing.
    ///
    /// # Errors
    /// As those of [`Store::add_folder`].
    pub fn check_folder(&self, folder: &Path) -> Result<(), StoreError> {
        self.core.writable()?;
        self.core.packs.members.check(folder, self.id()).map(drop)
    }

    /// Whether the home has noted a folder on its disk: an opening has to name it then.
    ///
    /// # Errors
    /// What the home has noted cannot be read.
    pub fn has_noted(&self, folder: &Path) -> Result<bool, StoreError> {
        self.core.packs.members.has_noted(folder, self.id())
    }

    /// How packs are written that streams append to: what the last write in each folder did, before one what an open promises.
    pub fn pack_writes(&self) -> PackWrites {
        let folders = self.core.packs.members.all();
        match folders.iter().filter(|folder| folder.is_direct()).count() {
            0 => PackWrites::Buffered,
            direct if direct == folders.len() => PackWrites::Direct,
            _ => PackWrites::Mixed,
        }
    }

    /// Moves the packs of a folder to the others, while the pool is in use; the folder gets none from then on. When nothing is left in it the pool
    /// does without it from the next opening that does not name it.
    pub fn drain(&self, folder: &Path) -> Result<DrainReport, StoreError> {
        drain::drain(&self.core, folder)
    }

    /// What may still be appended before [`StoreError::Full`].
    pub fn free_bytes(&self) -> u64 {
        self.core.free_bytes().unwrap_or(0)
    }

    /// Whether so many bytes can be appended for sure, as the last asking of the file system said. Costs nothing; false says nothing.
    pub fn surely_has(&self, bytes: u64) -> bool {
        bytes <= PLENTY_BYTES - GRANT_BYTES && self.core.granted.load(Ordering::Relaxed) > 0
    }

    /// The most that pack files may take, if that was said.
    pub fn size_bytes(&self) -> Option<u64> {
        self.core.options.size_bytes
    }

    /// Length of all pack files; costs nothing.
    pub fn stored_bytes(&self) -> u64 {
        self.core.packs.file_bytes()
    }

    /// Reads and verifies every chunk of every owner, while the pool is in use.
    pub fn check(&self) -> CheckReport {
        check::check(&self.core)
    }

    /// Frees what no owner needs any more, while the pool is in use. One collection at a time.
    pub fn gc(&self, rule: GcRule) -> Result<GcReport, StoreError> {
        self.gc_while(rule, &|_| true)
    }

    /// The same, asking `go_on` at each safe point: after each owner that is looked at, and after each pack.
    pub fn gc_while(&self, rule: GcRule, go_on: &dyn Fn(GcProgress) -> bool) -> Result<GcReport, StoreError> {
        gc::collect(&self.core, rule, go_on)
    }

    /// Puts damaged chunks back whose content is elsewhere in the pool.
    pub fn repair(&self) -> Result<RepairReport, StoreError> {
        repair::repair(&self.core)
    }

    /// What an owner has lost, as far as it has been found.
    ///
    /// # Errors
    /// There is no such owner, or its head cannot be read.
    pub fn lost(&self, owner: OwnerId) -> Result<Lost, StoreError> {
        lost::lost(&self.core, owner)
    }

    /// Puts lost chunks back with bytes from elsewhere. Each is compared with the chunk's fingerprint first: other bytes change nothing.
    ///
    /// # Errors
    /// A collection runs, the pool takes no writes, or the disk failed; what is back by then stays.
    pub fn put_back(&self, brought: Vec<(LostChunk, Bytes)>) -> Result<PutBack, StoreError> {
        repair::put_back(
            &self.core,
            brought.into_iter().map(|(chunk, bytes)| (chunk.damaged, bytes)).collect(),
        )
    }

    /// Who reads the whole pool again and again; none when there is one already.
    pub fn scrubber(&self) -> Option<Scrubber> {
        Scrubber::new(&self.core)
    }

    /// How the scrub is doing.
    pub fn scrub_status(&self) -> ScrubStatus {
        self.core.scrub.status(&self.core)
    }

    /// What the scrub knows to be damaged now, at most the first thousand ranges; empty when all is well.
    pub fn scrub_findings(&self) -> Vec<ScrubFinding> {
        self.core.scrub.findings(&self.core)
    }

    /// Whether a damaged chunk's content has been stored again since the last asking: time for a repair.
    pub fn may_heal(&self) -> bool {
        self.core.quarantine.take_came_back()
    }

    /// Forgets the index and makes it again from the packs. Streams can be written meanwhile; they find less to refer to.
    pub fn rebuild_index(&self) -> Result<(), StoreError> {
        self.core.dock.finder.index.clear()?;
        recovery::feed_all(&self.core.dock.finder);
        Ok(())
    }

    /// A bounded piece of the index's work in the background; whether there is more to do. Without it the index becomes slow, not wrong.
    pub fn tend(&self) -> Result<bool, StoreError> {
        Ok(self.core.dock.finder.index.compact_step()?)
    }

    /// How the index is doing.
    pub fn index_stats(&self) -> IndexStats {
        self.core.dock.finder.index.stats()
    }

    /// Bytes of streams that were cut or removed since the last collection began, or since the pool was opened: what a collection may
    /// free, and no more, because others may need the same content.
    pub fn released_bytes(&self) -> u64 {
        self.core.dock.finder.gate.released_bytes()
    }

    /// Before the pool is closed: a collection that runs ends after the pack in hand, and none begins any more.
    pub fn stop_collecting(&self) {
        self.core.dock.finder.gate.stop();
    }

    /// For a process that ends while clones of this are still in use: does what the last one would do when it goes.
    pub fn close(&self) {
        self.core.close();
    }

    /// What may be told of the keyring; none when the pool is not encrypted.
    pub fn key_status(&self) -> Option<KeyStatus> {
        self.core.keyring.as_ref().map(Keyring::status)
    }

    /// From here on another key opens the pool; nothing else of it is written anew. After an error the old key opens it, or the new one.
    pub fn rotate_key(&self, key: PoolKey, cost: PassphraseCost) -> Result<KeyStatus, StoreError> {
        self.core.change_keyring(|keyring| keyring.rotate(&*self.core.disk, key, cost))
    }

    /// The bytes of a file that, with the key, opens the pool when its keyring is lost; and their revision.
    pub fn export_keyring(&self) -> Result<(u64, Vec<u8>), StoreError> {
        Ok(self.core.keyring()?.export())
    }

    /// The export of this revision has been put where it is kept.
    pub fn keyring_exported(&self, revision: u64) -> Result<KeyStatus, StoreError> {
        self.core.change_keyring(|keyring| keyring.exported(&*self.core.disk, revision))
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

/// Whether a head is the last one when what the journal has for it is applied, as an opening does.
fn comes_to(mut state: State, kept: Vec<(u64, Commit)>, due: u64) -> bool {
    for (sequence, commit) in kept {
        if sequence > state.sequence && state.apply(sequence, commit).is_err() {
            return false;
        }
    }
    state.sequence >= due
}

impl Slot {
    fn usable(&self, owner: OwnerId) -> Result<(), StoreError> {
        match &self.phase {
            Phase::Idle | Phase::Loaded(_) => Ok(()),
            Phase::Making => Err(StoreError::Busy { owner }),
            Phase::Removed => Err(StoreError::UnknownOwner { owner }),
            Phase::Damaged { path, offset, why, .. } => {
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

    fn keyring(&self) -> Result<&Keyring, StoreError> {
        let none = || StoreError::Key {
            pool: self.root.clone(),
            why: "it is not encrypted, so it has none (encryption is chosen when a pool is made)".to_owned(),
        };
        self.keyring.as_ref().ok_or_else(none)
    }

    fn change_keyring(
        &self,
        change: impl FnOnce(&Keyring) -> Result<(), StoreError>,
    ) -> Result<KeyStatus, StoreError> {
        let keyring = self.keyring()?;
        self.writable()?;
        change(keyring)?;
        Ok(keyring.status())
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
        let on_disk = self.packs.members.free_bytes()?;
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let in_size = self.options.size_bytes.map(|size| size.saturating_sub(self.packs.file_bytes()));
        Ok(on_disk.min(in_size.unwrap_or(u64::MAX)).saturating_sub(in_flight))
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
        } else {
            // What is left of an older grant must not hide that there is plenty no more.
            self.granted.store(0, relaxed);
        }
        Ok(())
    }

    /// The sequence of the new owner's head.
    fn make_owner(&self, owner: OwnerId, snapshot: &[u8]) -> Result<u64, StoreError> {
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
        made?;
        // The owner is there. Without the mark only the loss of its head would go unnoticed, and each start makes it.
        if let Err(error) = recovery::mark_made(&*self.disk, &folder) {
            tracing::warn!(%owner, %error, "a new owner is not marked as made yet");
        }
        Ok(sequence)
    }

    /// Writes the owner's head.
    pub(crate) fn save_head(&self, owner: OwnerId, state: &mut State) -> Result<(), StoreError> {
        let payload = state.encode(self.domain.store_id, owner);
        let payload = self.domain.seal_whole(Use::Head, &owner.0, payload)?;
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
                Phase::Making | Phase::Idle | Phase::Damaged { .. } => {}
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
            Entry::Remove(_) | Entry::Begin(_) => true,
            Entry::Commit(commit) => match self.loaded(commit.owner) {
                Ok(Some(state)) => lock(&state).check_fits(commit).is_ok(),
                _ => false,
            },
        }
    }

    /// Applies a durable change.
    pub(crate) fn apply(&self, sequence: u64, entry: Entry) {
        match entry {
            Entry::Remove(owner) => {
                if let Some(slot) = lock(&self.owners).get_mut(&owner) {
                    self.dock.finder.gate.release(slot.current_length());
                    slot.phase = Phase::Removed;
                    lock(&self.marked).remove(&owner);
                }
            }
            Entry::Commit(commit) => {
                self.packs.named(&commit.change.packs);
                self.arrived.fetch_add(commit.change.arrived_bytes, Ordering::Relaxed);
                self.apply_commit(sequence, commit);
            }
            Entry::Begin(_) => {}
        }
    }

    fn apply_commit(&self, sequence: u64, commit: Commit) {
        let Ok(Some(state)) = self.loaded(commit.owner) else { return };
        let mut state = lock(&state);
        self.dock.finder.gate.release(state.head.length.saturating_sub(commit.change.truncate_to));
        if let Err(why) = state.apply(sequence, commit) {
            // It was checked before the record was written; if memory and journal part all the same, stop here.
            self.set_read_only(why);
        }
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

    /// What the owner's state says, from memory or from its head; of an owner that others may open or remove meanwhile. One that is being
    /// made is [`StoreError::Busy`].
    pub(crate) fn peek<T>(&self, owner: OwnerId, tell: impl Fn(&State) -> T) -> Result<T, StoreError> {
        if let Some(state) = self.loaded(owner)? {
            return Ok(tell(&lock(&state)));
        }
        match self.load(owner) {
            Ok(state) => Ok(tell(&state)),
            // Opened or removed in between; and when it is neither, what the head says now is the answer.
            Err(_) => match self.loaded(owner)? {
                Some(state) => Ok(tell(&lock(&state))),
                None => self.load(owner).map(|state| tell(&state)),
            },
        }
    }

    /// The owner's extents, as [`Core::peek`] has them; none when it is only now made, or removed.
    pub(crate) fn extents(&self, owner: OwnerId) -> Result<Option<Vec<Extent>>, StoreError> {
        match self.peek(owner, |state| state.extents().to_vec()) {
            Ok(extents) => Ok(Some(extents)),
            Err(StoreError::UnknownOwner { .. } | StoreError::Busy { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The state from the head file.
    pub(crate) fn load(&self, owner: OwnerId) -> Result<State, StoreError> {
        recovery::load_head(&*self.disk, &self.folder(owner), &self.domain, owner)
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
    pub(crate) fn close_stream(&self, owner: OwnerId) {
        if let Ok(Some(state)) = self.loaded(owner) {
            let mut state = lock(&state);
            if !state.is_saved()
                && self.writable().is_ok()
                && let Err(error) = self.save_head(owner, &mut state)
            {
                tracing::warn!(%owner, %error, "the head is not current; the journal is kept");
            }
        }
        lock(&self.lanes).retain(|lane| lane.strong_count() > 0);
        let mut owners = lock(&self.owners);
        if let Some(slot) = owners.get_mut(&owner) {
            slot.busy = false;
            if let Phase::Loaded(state) = &slot.phase {
                let (saved, size, sequence) = {
                    let state = lock(state);
                    (state.is_saved(), state.size(), state.saved_sequence)
                };
                slot.size = size;
                slot.sequence = sequence;
                if saved {
                    slot.phase = Phase::Idle;
                }
            }
        }
    }

    fn is_mended(&self, owner: OwnerId) -> Result<bool, StoreError> {
        let (due, kept) = match lock(&self.owners).get(&owner) {
            Some(Slot { phase: Phase::Damaged { kept, .. }, sequence, .. }) => (*sequence, kept.clone()),
            _ => return Ok(false),
        };
        match self.load(owner) {
            Ok(state) => Ok(comes_to(state, kept, due)),
            Err(StoreError::Damaged { .. }) => Ok(false),
            Err(StoreError::Io(error)) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn refuse_guarded(&self, owner: OwnerId) -> Result<(), StoreError> {
        if self.is_mended(owner)? {
            return Err(StoreError::Mended { owner });
        }
        let guarded = self.loaded(owner).and_then(|loaded| match loaded {
            Some(state) => Ok(lock(&state).guarded),
            None => Ok(self.load(owner)?.guarded),
        });
        match guarded {
            Ok(true) => Err(StoreError::Guarded { owner }),
            Ok(false) | Err(StoreError::Damaged { .. } | StoreError::Format { .. }) => Ok(()),
            Err(StoreError::Io(error)) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn free(&self, owner: OwnerId) {
        if let Some(slot) = lock(&self.owners).get_mut(&owner) {
            slot.busy = false;
        }
    }

    fn length_of(&self, owner: OwnerId) -> u64 {
        lock(&self.owners).get(&owner).map_or(0, Slot::current_length)
    }

    /// The way of a stream that has this length.
    pub(crate) fn lane(&self, length: u64) -> Arc<Lane> {
        let (gear, fixed) = (Arc::clone(&self.gear), self.options.fixed_bytes);
        let (region_bytes, dedupe) = (self.options.region_bytes, self.options.dedupe);
        let held_limit = self.options.in_flight_bytes / 4;
        let finder = dedupe.then(|| Arc::clone(&self.dock.finder));
        let prints = self.codec.prints().clone();
        let new_cutter = move || {
            let rule = match dedupe {
                true => Rule::Content(Box::new(Chunker::new(Arc::clone(&gear)))),
                false => Rule::Fixed(fixed),
            };
            Cutter::new(rule, region_bytes, held_limit, finder.clone(), prints.clone())
        };
        let context = Context {
            dock: Arc::clone(&self.dock),
            codec: Arc::clone(&self.codec),
            workers: self.workers.handle(),
            in_flight_bytes: self.options.in_flight_bytes,
            in_flight_total: Arc::clone(&self.in_flight),
            new_cutter: Box::new(new_cutter),
        };
        let lane = Arc::new(Lane::new(context, length));
        lock(&self.lanes).push(Arc::downgrade(&lane));
        lane
    }

    /// Unlinks packs that no commit has named. What cannot be unlinked now goes at the next start.
    pub(crate) fn unlink_packs(&self, packs: &[PackId]) {
        for id in packs {
            let member = self.packs.member_of(*id);
            match self.packs.delete(*id) {
                Err(error) if !error.is_not_found() => {
                    tracing::warn!(pack = %id, %error, "a pack that nothing needs stays until the next start");
                    continue;
                }
                _ => {}
            }
            // Were it to come back, nothing but what is known of it here would tell that no commit had ever named it: a journal file that is begun
            // before its name is gone for good has to say so.
            match member.folder.sync_names(*id) {
                Ok(()) => self.packs.forget(*id),
                Err(error) => {
                    tracing::warn!(pack = %id, %error, "a pack that nothing needs may be there at the next start");
                    self.packs.may_come_back(*id);
                }
            }
        }
    }

    /// The chunk at this raw address is damaged: it must not be referred to again, so that the next one that brings its content stores
    /// it anew.
    pub(crate) fn distrust_chunk(&self, view: &View, raw: u64) {
        let Some((number, found)) = view.table.holding(raw) else { return };
        let Chunk { at, len, fingerprint, .. } = *found.chunk;
        if self.quarantine.add(Damaged { pack: view.id, at, len, fingerprint }) {
            tracing::error!(pack = %view.id, at, len, "a damaged chunk");
            self.dock.finder.unlearn(&fingerprint, view.id, number as u16);
        }
    }

    /// A pack's next generation, synced, takes the place of the one before.
    pub(crate) fn publish_generation(
        &self,
        next: Next,
        view: View,
        file_bytes: u64,
    ) -> Result<(), StoreError> {
        let (id, generation) = (view.id, view.generation);
        let before = self.packs.content_bytes_of(id);
        let (old, from) = (self.packs.known(id), self.packs.member_of(id));
        // Whether the name is there for a start is not known after an error, and the start would keep this generation: nothing that
        // it lacks may be committed any more.
        next.put.publish().inspect_err(|error| self.set_read_only(&error.to_string()))?;
        self.packs.sealed_in(next.member.number, view, file_bytes);
        let gone = before.cast_signed() - self.packs.content_bytes_of(id).cast_signed();
        self.reclaimed.fetch_add(gone, Ordering::Relaxed);
        self.dock.finder.gate.retire(id, generation);
        let old = PackName { id, generation: old.map_or(0, |known| known.generation) };
        if let Err(error) = from.folder.delete(old) {
            tracing::warn!(pack = %id, %error, "an old generation of a pack stays until the next start");
        }
        Ok(())
    }

    /// Of one owner one at a time: its stream is exclusive.
    pub(crate) fn commit(&self, owner: OwnerId, state: &Mutex<State>, change: Change) -> Result<(), String> {
        let follows = lock(state).sequence;
        let entry = Entry::Commit(Commit { owner, follows, change });
        self.committer.commit(self, entry).map_err(|failure| failure.why)
    }

    /// What the next journal file begins with. Heads are up to date, removals finished, and nothing is committed meanwhile.
    pub(crate) fn begin(&self) -> Begin {
        let owners = lock(&self.owners);
        let kept = owners.values().flat_map(|slot| match &slot.phase {
            Phase::Damaged { kept, .. } => kept.as_slice(),
            _ => &[],
        });
        let kept = kept.cloned().collect();
        drop(owners);
        let arrived_bytes = self.arrived.load(Ordering::Relaxed);
        Begin { packs: self.packs.for_journal(), owners: self.told_owners(), kept, arrived_bytes }
    }

    /// Every owner that there is, with the sequence of its head.
    pub(crate) fn told_owners(&self) -> Vec<(OwnerId, u64)> {
        let owners = lock(&self.owners);
        owners.iter().filter_map(|(owner, slot)| slot.saved_sequence().map(|saved| (*owner, saved))).collect()
    }

    fn stats(&self) -> Stats {
        let sums = self.packs.sums();
        let memory = self.in_flight.load(Ordering::Relaxed) + self.cached.load(Ordering::Relaxed);
        let memory = memory + self.dock.staged_bytes.load(Ordering::Relaxed);
        let memory = memory + self.packs.memory_bytes() as u64 + self.dock.finder.index.memory_bytes() as u64;
        let mut stats = Stats {
            logical_bytes: 0,
            unique_bytes: sums.raw_bytes,
            stored_bytes: sums.file_bytes,
            chunks: sums.chunks,
            packs: sums.packs,
            reclaimable_bytes: self.reclaimable.load(Ordering::Relaxed),
            arrived_bytes: self.arrived.load(Ordering::Relaxed),
            metadata_bytes: sums.file_bytes - sums.content_bytes,
            reclaimed_bytes: self.reclaimed.load(Ordering::Relaxed),
            memory_bytes: memory,
        };
        for slot in lock(&self.owners).values() {
            stats.logical_bytes += slot.current_length();
            if let Phase::Loaded(state) = &slot.phase {
                stats.memory_bytes += lock(state).memory_bytes();
            }
        }
        stats
    }
}

impl Slot {
    fn current_length(&self) -> u64 {
        self.current_size().length
    }

    fn current_size(&self) -> Size {
        match &self.phase {
            Phase::Loaded(state) => lock(state).size(),
            Phase::Idle => self.size,
            Phase::Making | Phase::Damaged { .. } | Phase::Removed => Size::default(),
        }
    }

    /// The sequence that its head file has, or should have; none when there need not be a head.
    fn saved_sequence(&self) -> Option<u64> {
        match &self.phase {
            Phase::Loaded(state) => Some(lock(state).saved_sequence),
            Phase::Idle | Phase::Damaged { .. } => Some(self.sequence),
            Phase::Making | Phase::Removed => None,
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    /// Everything is where the next start finds it without work. What is written after it is found with some, so this can be done again.
    fn close(&self) {
        if self.writable().is_err() {
            return;
        }
        match self.dock.seal_all() {
            Ok(()) => {}
            Err(PrepareError::Write(why)) => tracing::warn!(why, "the next start has to end a pack"),
            Err(PrepareError::Sync(why)) => return self.set_read_only(&why),
        }
        self.quarantine.save();
        self.scrub.save(self);
        if let Err(error) = self.dock.finder.index.flush() {
            tracing::warn!(%error, "the next start has to index packs again");
        }
        if let Err(error) = self.committer.tidy(self) {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;
    use vtl_durable::SimDisk;

    use super::*;

    fn noise(len: u64) -> Vec<u8> {
        let mut state = 1_u64;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state >> 56) as u8
            })
            .collect()
    }

    fn write(store: &Store, who: u8, bytes: &[u8]) -> Vec<u8> {
        let owner = OwnerId([who; 16]);
        store.create(owner, b"").unwrap();
        let mut stream = store.open_stream(owner).unwrap();
        stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
        stream.commit(b"").unwrap();
        stream.read(0, bytes.len() as u64).unwrap().concat()
    }

    /// Every content is said to be where another one is, or in a pack that is not there.
    #[test]
    fn an_index_with_wrong_entries_gives_no_wrong_bytes_and_costs_space_only() {
        let store = Store::open(Arc::new(SimDisk::new(1)), Path::new("/pool"), Options::small()).unwrap();
        let bytes = noise(40_000);
        assert_eq!(write(&store, 1, &bytes), bytes);
        let finder = &store.core.dock.finder;
        type Misplace = fn(u64, u16) -> (u64, u16);
        let wrong: [Misplace; 4] = [
            |pack, number| (pack, number ^ 1),
            |pack, number| (pack ^ 1, number),
            |pack, _| (pack, u16::MAX),
            |_, number| (u64::MAX, number),
        ];
        for (who, place) in (2..).zip(wrong) {
            for (id, _) in finder.packs.all() {
                let view = finder.packs.view(id).unwrap();
                for (chunk, number) in view.table.chunks().zip(0..) {
                    let (pack, number) = place(id.key(), number);
                    finder.index.insert(pack, &[(number, chunk.fingerprint)]);
                }
            }
            assert_eq!(write(&store, who, &bytes), bytes, "owner {who}");
            assert_eq!(store.check().findings, [], "owner {who}");
        }
    }
}
