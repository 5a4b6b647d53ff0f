//! Opening a pool: what is on the disk becomes a running store.
//!
//! Files: `lock`, `pool`, `journal/NUMBER.log`, `owners/OWNER/head`, `owners/OWNER/EPOCH-NUMBER.pack`.
//!
//! In this order; each step can be cut off by a crash and done again:
//! 1. take the lock; read `pool`, or make it when there are no owners and no journal;
//! 2. read the journal's files of the newest epoch, applying each record to the heads that do not have it yet;
//! 3. refuse when a head or a pack is newer than the journal: the journal comes from a copy;
//! 4. write the head of every owner that the journal names, delete owners whose removal it has;
//! 5. start a journal file with a new epoch: it says that all older files are done with; unlink those, oldest first;
//! 6. remove leftovers and packs that their healthy owner does not refer to.
//!
//! Step 4 writes heads even when the file that is read already has everything: after a failed sync, what is read may not be
//! on the medium. For the same reason a torn tail is not cut off but left behind with its epoch.
//!
//! An owner whose head is damaged is kept aside with all its files; the others live.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};

use vtl_durable::log::{self, Header, Scan};
use vtl_durable::sealed::{self, Kind};
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::codec::Codec;
use crate::commit::{Committer, JOURNAL_KIND, Journal, parse_segment, segment_name};
use crate::error::StoreError;
use crate::pack::PackId;
use crate::recipe::{Change, Entry, HEAD_KIND, State, decode_record};
use crate::store::{Core, HEAD, Phase, Slot};
use crate::types::{Health, Options, OwnerId};
use crate::workers::Workers;

pub(crate) const OWNERS: &str = "owners";
const JOURNAL: &str = "journal";
const POOL: &str = "pool";
const LOCK: &str = "lock";
const POOL_KIND: Kind = Kind { magic: *b"VTLPOOL\0", version: 0 };

pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<Core, StoreError> {
    let lock = take_lock(&*disk, root)?;
    let store_id = open_pool(&*disk, root, &options)?;
    let mut found = Found::read(&*disk, root, store_id)?;
    if found.segments.is_empty() {
        // The first start did not get to the end, perhaps at the sync of this very file.
        sealed::replace(&*disk, root, POOL, POOL_KIND, &store_id)?;
        disk.sync_folder(root.parent().unwrap_or(root))?;
    }
    found.refuse_if_rolled_back(&*disk)?;
    found.settle(&*disk)?;
    let epoch = found.next_epoch(options.start_random);
    let journal = found.start_journal(&*disk, epoch, &options)?;
    found.sweep(&*disk)?;
    Ok(Core {
        root: root.to_path_buf(),
        store_id,
        epoch,
        workers: Workers::start(options.workers),
        codec: Arc::new(Codec::new(options.compression_level, options.chunk_bytes)),
        owners: Mutex::new(found.into_slots()),
        committer: Committer::new(journal),
        health: Mutex::new(Health::Ok),
        removing: Mutex::new(()),
        next_pack: Arc::new(AtomicU32::new(0)),
        in_flight: Arc::new(AtomicU64::new(0)),
        cached: Arc::new(AtomicU64::new(0)),
        granted: AtomicU64::new(0),
        _lock: lock,
        disk,
        options,
    })
}

fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Arc<dyn DiskFile>, StoreError> {
    disk.create_folder(root)?;
    let path = root.join(LOCK);
    let file = disk.open(&path, Open::CreateIfMissing)?;
    if !file.try_lock()? {
        let busy = std::io::Error::new(std::io::ErrorKind::ResourceBusy, "another process uses this pool");
        return Err(StoreError::Io(DiskError::new("lock", &path, busy)));
    }
    Ok(file)
}

/// The pool's id. The file comes last when a pool is made, so a pool without one holds nothing.
fn open_pool(disk: &dyn Disk, root: &Path, options: &Options) -> Result<[u8; 16], StoreError> {
    let path = root.join(POOL);
    let payload = match sealed::read(disk, &path, POOL_KIND) {
        Ok(payload) => payload,
        Err(sealed::SealedError::Disk(error)) if error.is_not_found() => {
            return make_pool(disk, root, options);
        }
        Err(error) => return Err(error.into()),
    };
    let wrong = |_| damaged(&path, 0, "its content is not a pool id (put the right file back)");
    <[u8; 16]>::try_from(payload.as_slice()).map_err(wrong)
}

fn make_pool(disk: &dyn Disk, root: &Path, options: &Options) -> Result<[u8; 16], StoreError> {
    for name in [JOURNAL, OWNERS] {
        disk.create_folder(&root.join(name))?;
        if !disk.list(&root.join(name))?.is_empty() {
            let why = format!("it is missing but {name} holds files (put the pool file back)");
            return Err(StoreError::Damaged { path: root.join(POOL), offset: 0, why });
        }
    }
    disk.sync_folder(root)?;
    let mut id = [0; 16];
    let mut output = blake3::Hasher::new_derive_key("vtl pool id")
        .update(&options.start_random.to_le_bytes())
        .finalize_xof();
    output.fill(&mut id);
    sealed::replace(disk, root, POOL, POOL_KIND, &id)?;
    Ok(id)
}

fn damaged(path: &Path, offset: u64, why: &str) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), offset, why: why.to_string() }
}

/// The state in an owner's head file.
pub(crate) fn load_head(
    disk: &dyn Disk,
    folder: &Path,
    store_id: [u8; 16],
    owner: OwnerId,
) -> Result<State, StoreError> {
    let path = folder.join(HEAD);
    let payload = sealed::read(disk, &path, HEAD_KIND)?;
    State::decode(&payload, store_id, owner).map_err(|why| StoreError::Damaged { path, offset: 0, why })
}

/// Deletes an owner's files: packs first, the head last, so that a half is never taken for an owner without packs.
pub(crate) fn delete_owner(disk: &dyn Disk, owners: &Path, owner: OwnerId) -> Result<(), StoreError> {
    let folder = owners.join(owner.to_string());
    let files = match disk.list(&folder) {
        Ok(files) => files,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for file in files.iter().filter(|file| file.name != HEAD) {
        disk.unlink(&folder.join(&file.name))?;
    }
    disk.sync_folder(&folder)?;
    if files.iter().any(|file| file.name == HEAD) {
        disk.unlink(&folder.join(HEAD))?;
        disk.sync_folder(&folder)?;
    }
    disk.remove_folder(&folder)?;
    disk.sync_folder(owners)?;
    Ok(())
}

/// An owner while the journal is read.
enum Owner {
    Healthy(Box<State>),
    Damaged { path: PathBuf, offset: u64, why: String },
    Removed,
}

struct Found {
    root: PathBuf,
    store_id: [u8; 16],
    owners: BTreeMap<OwnerId, Owner>,
    segments: Vec<u64>,
    /// Owners that the journal names.
    named: BTreeSet<OwnerId>,
    epoch: u64,
    next_sequence: u64,
}

impl Found {
    fn read(disk: &dyn Disk, root: &Path, store_id: [u8; 16]) -> Result<Self, StoreError> {
        let mut found = Self {
            root: root.to_path_buf(),
            store_id,
            owners: BTreeMap::new(),
            segments: Vec::new(),
            named: BTreeSet::new(),
            epoch: 0,
            next_sequence: 1,
        };
        found.read_owners(disk)?;
        found.read_journal(disk)?;
        Ok(found)
    }

    fn owners_folder(&self) -> PathBuf {
        self.root.join(OWNERS)
    }

    fn folder(&self, owner: OwnerId) -> PathBuf {
        self.owners_folder().join(owner.to_string())
    }

    fn read_owners(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        for folder in disk.list(&self.owners_folder())? {
            let Some(owner) = OwnerId::parse(&folder.name).filter(|_| folder.is_folder) else { continue };
            if let Some(found) = self.read_owner(disk, owner)? {
                self.owners.insert(owner, found);
            }
        }
        Ok(())
    }

    fn read_owner(&self, disk: &dyn Disk, owner: OwnerId) -> Result<Option<Owner>, StoreError> {
        let folder = self.folder(owner);
        match load_head(disk, &folder, self.store_id, owner) {
            Ok(state) => Ok(Some(Owner::Healthy(Box::new(state)))),
            Err(StoreError::Damaged { path, offset, why }) => Ok(Some(Owner::Damaged { path, offset, why })),
            Err(StoreError::Io(error)) if error.is_not_found() => self.read_headless(disk, &folder),
            Err(error) => Err(error),
        }
    }

    /// A folder without a head: an owner that was being made, or, if there are packs, one whose head was lost.
    fn read_headless(&self, disk: &dyn Disk, folder: &Path) -> Result<Option<Owner>, StoreError> {
        let files = disk.list(folder)?;
        if files.iter().any(|file| !sealed::is_leftover(&file.name)) {
            let why = "it is missing, and there are packs beside it (put it back)".to_string();
            return Ok(Some(Owner::Damaged { path: folder.join(HEAD), offset: 0, why }));
        }
        for file in files {
            disk.unlink(&folder.join(file.name))?;
        }
        disk.remove_folder(folder)?;
        Ok(None)
    }

    fn read_journal(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let folder = self.root.join(JOURNAL);
        let listed = disk.list(&folder)?;
        self.segments = listed.iter().filter_map(|file| parse_segment(&file.name)).collect();
        self.segments.sort_unstable();
        let mut headers = self.read_headers(disk, &folder)?;
        self.epoch = headers.iter().map(|header| header.log_id).max().unwrap_or(0);
        headers.retain(|header| header.log_id == self.epoch);
        for (at, header) in headers.iter().enumerate() {
            let path = folder.join(segment_name(header.number));
            if at == 0 {
                self.next_sequence = header.first_sequence;
            }
            if header.first_sequence != self.next_sequence
                || self.segments.binary_search(&header.number).is_err()
            {
                let why = "it does not go on where the file before it ended (restore the journal folder)";
                return Err(damaged(&path, 0, why));
            }
            let scan = self.read_segment(disk, &path)?;
            if scan.torn && at + 1 < headers.len() {
                return Err(damaged(
                    &path,
                    scan.end,
                    "its end is torn, but a later file exists (restore it)",
                ));
            }
            self.next_sequence = scan.next_sequence;
        }
        Ok(())
    }

    /// Headers of all files in order. The newest file may have none: it was being made when the machine stopped.
    fn read_headers(&mut self, disk: &dyn Disk, folder: &Path) -> Result<Vec<Header>, StoreError> {
        let mut headers = Vec::new();
        for number in self.segments.clone() {
            let path = folder.join(segment_name(number));
            match log::read_header(disk, &path, JOURNAL_KIND)? {
                Some(header) if header.tag != self.store_id => {
                    return Err(damaged(&path, 0, "it belongs to another pool (put the right file back)"));
                }
                Some(header) if header.number != number => {
                    return Err(damaged(
                        &path,
                        0,
                        "its number is not the one in its name (give it its name back)",
                    ));
                }
                Some(header) => headers.push(header),
                None if self.segments.last() == Some(&number) => {
                    disk.unlink(&path)?;
                    self.segments.pop();
                }
                None => {
                    return Err(damaged(&path, 0, "it has no header, but later files exist (restore it)"));
                }
            }
        }
        Ok(headers)
    }

    fn read_segment(&mut self, disk: &dyn Disk, path: &Path) -> Result<Scan, StoreError> {
        log::scan(disk, path, JOURNAL_KIND, |sequence, payload| {
            let entries = decode_record(payload).map_err(|error| {
                damaged(path, 0, &format!("record {sequence}: {error} (restore this file)"))
            })?;
            for entry in entries {
                self.apply(sequence, entry);
            }
            Ok(())
        })
    }

    fn apply(&mut self, sequence: u64, entry: Entry) {
        let owner = entry.owner();
        self.named.insert(owner);
        match entry {
            Entry::Remove(_) => {
                let newer = matches!(self.owners.get(&owner), Some(Owner::Healthy(state)) if state.sequence >= sequence);
                if !newer {
                    self.owners.insert(owner, Owner::Removed);
                }
            }
            Entry::Commit(_, change) => self.apply_commit(sequence, owner, change),
        }
    }

    fn apply_commit(&mut self, sequence: u64, owner: OwnerId, change: Change) {
        let path = self.folder(owner).join(HEAD);
        let lost = |why: &str| Owner::Damaged { path, offset: 0, why: why.to_string() };
        match self.owners.get_mut(&owner) {
            Some(Owner::Healthy(state)) if state.sequence < sequence => {
                if let Err(why) = state.apply(sequence, change) {
                    let why = format!(
                        "journal record {sequence} does not follow it: {why} (put the right head back)"
                    );
                    self.owners.insert(owner, lost(&why));
                }
            }
            Some(_) => {}
            // Removed later in the journal, or its folder is lost: the removal decides.
            None => {
                self.owners.insert(owner, lost("the owner's folder is missing (put it back)"));
            }
        }
    }

    fn refuse_if_rolled_back(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        const REMEDY: &str = "the journal is older than the files beside it, as after restoring a copy of a part: \
                              put back journal and owners of one moment";
        for (owner, found) in &self.owners {
            let folder = self.folder(*owner);
            if let Owner::Healthy(state) = found
                && state.sequence >= self.next_sequence
            {
                return Err(damaged(&folder.join(HEAD), 0, REMEDY));
            }
            for file in list_or_nothing(disk, &folder)? {
                if PackId::parse(&file).is_some_and(|id| id.epoch >> 32 > self.epoch >> 32) {
                    return Err(damaged(&folder.join(file), 0, REMEDY));
                }
            }
        }
        Ok(())
    }

    /// Makes the disk say what the journal said.
    fn settle(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let owners_folder = self.owners_folder();
        let mut removed = Vec::new();
        for (owner, found) in &mut self.owners {
            match found {
                Owner::Healthy(state) if self.named.contains(owner) => {
                    let payload = state.encode(self.store_id, *owner);
                    let folder = owners_folder.join(owner.to_string());
                    sealed::replace(disk, &folder, HEAD, HEAD_KIND, &payload)?;
                    state.saved_sequence = state.sequence;
                }
                Owner::Removed => removed.push(*owner),
                // A head whose last sync failed is seen here and may be gone after a power cut.
                Owner::Healthy(_) => disk.sync_folder(&owners_folder.join(owner.to_string()))?,
                Owner::Damaged { .. } => {}
            }
        }
        disk.sync_folder(&owners_folder)?;
        for owner in removed {
            delete_owner(disk, &owners_folder, owner)?;
            self.owners.remove(&owner);
        }
        Ok(())
    }

    /// The upper half counts starts; the lower is random, so that two histories of one pool never meet.
    fn next_epoch(&self, start_random: u64) -> u64 {
        let start = (self.epoch >> 32).saturating_add(1);
        (start << 32) | (start_random & 0xffff_ffff)
    }

    fn start_journal(&self, disk: &dyn Disk, epoch: u64, options: &Options) -> Result<Journal, StoreError> {
        let folder = self.root.join(JOURNAL);
        let header = Header {
            magic: JOURNAL_KIND.magic,
            version: JOURNAL_KIND.version,
            log_id: epoch,
            number: self.segments.last().map_or(1, |last| last + 1),
            first_sequence: self.next_sequence,
            tag: self.store_id,
        };
        let current = Journal::start(disk, &folder, header, options.segment_bytes)?;
        let mut journal = Journal { folder, current, retired: VecDeque::from(self.segments.clone()) };
        journal.drop_retired(disk)?;
        Ok(journal)
    }

    fn sweep(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        for (owner, found) in &self.owners {
            let Owner::Healthy(state) = found else { continue };
            let folder = self.folder(*owner);
            let files = list_or_nothing(disk, &folder)?;
            for file in &files {
                let orphan = PackId::parse(file).is_some_and(|id| !state.has_pack(id));
                if orphan || sealed::is_leftover(file) {
                    disk.unlink(&folder.join(file))?;
                }
            }
            for id in state.packs().filter(|id| !files.contains(&id.file_name())) {
                tracing::error!(%owner, pack = %id, "a pack is missing; the bytes in it are lost");
            }
        }
        Ok(())
    }

    fn into_slots(self) -> BTreeMap<OwnerId, Slot> {
        let slot = |owner| match owner {
            Owner::Healthy(state) => Slot { busy: false, phase: Phase::Idle, totals: state.totals() },
            Owner::Removed => Slot { busy: true, phase: Phase::Removed, totals: Default::default() },
            Owner::Damaged { path, offset, why } => {
                tracing::error!(path = %path.display(), why, "an owner's head is damaged");
                Slot { busy: false, phase: Phase::Damaged { path, offset, why }, totals: Default::default() }
            }
        };
        self.owners.into_iter().map(|(owner, found)| (owner, slot(found))).collect()
    }
}

fn list_or_nothing(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>, StoreError> {
    match disk.list(folder) {
        Ok(files) => Ok(files.into_iter().map(|file| file.name).collect()),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
