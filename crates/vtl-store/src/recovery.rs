//! Opening a pool: what is on the disk becomes a running store.
//!
//! Files: `lock`, `pool`, in an encrypted pool `keyring` and `keyring.copy`, `quarantine`, `scrub`, `journal/NUMBER.log`,
//! `owners/OWNER/head` and `made`, `packs/XX/EPOCH-NUMBER.GENERATION.pack`, `packs/newest`, `index/`; `members`, when there are further
//! folders with `member`, `lock` and `packs/` of their own.
//!
//! In this order; each step can be cut off by a crash and done again:
//! 1. take the lock; read `pool`, or make it when there are no owners, packs and journal; open the keyring, when it is encrypted;
//! 2. read the journal's files of the newest epoch that has begun, applying each record to the heads that do not have it yet, and compare the owners with those
//!    that there should be;
//! 3. look at the further folders and refuse what is not as it was, before anything is written to one; refuse when a head, a pack, or what the packs remember is newer than the journal: the journal comes from a copy;
//! 4. packs of the last start that no commit named are removed; those without a footer are cut at their durable end and get one; of a pack
//!    in two generations the newer stays;
//! 5. write the head of every owner that the journal names, delete owners whose removal it has;
//! 6. start a journal file with a new epoch: it says that all older files are done with; tell the packs of it; unlink the older ones, oldest first;
//! 7. remove leftovers of heads, mark owners as made, feed the index with what it does not cover.
//!
//! Step 5 writes heads even when the file that is read already has everything: after a failed sync, what is read may not be
//! on the medium. For the same reason a torn tail is not cut off but left behind with its epoch.
//!
//! An epoch has begun with the first record of its first file. A cut in step 6 before that leaves a header that says nothing of owners and packs:
//! the next start unlinks it and reads the epoch before. Where folders are missing step 4 sees a part of the packs only: step 6 says again what the
//! older files said of all, for the start that finds the rest.
//!
//! The journal says which owners there are and how far the head of each is (`Begin`). One that is missing, or whose head is an older copy, is
//! taken as damaged; so is one whose head cannot be read. It is kept aside with all its files, and what the journal has for it is said again
//! in the next file; the others live.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io::IoSlice;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use vtl_durable::log::{self, Header, Scan};
use vtl_durable::sealed::{self, Kind};
use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::backend::{Backend, PackName};
use crate::chunker::{ChunkSizes, Gear};
use crate::cipher::{Domain, Key, OVERHEAD, Use};
use crate::codec::Codec;
use crate::commit::{Committer, JOURNAL_KIND, Journal, journal_seal, parse_segment, segment_name, tell};
use crate::error::StoreError;
use crate::finder::Finder;
use crate::gc::Gate;
use crate::index::{Index, IndexOptions};
use crate::keyring::{self, Keyring};
use crate::members::Members;
use crate::newest::{self, Newest};
use crate::pack::{self, PackId};
use crate::packs::{Known, PackState, Packs, View};
use crate::quarantine::Quarantine;
use crate::recipe::{self, Begin, Commit, Entry, HEAD_KIND, PackEnd, Size, State, decode_record};
use crate::roster::{Entry as Missing, PACKS, Stage};
use crate::scrub::Scrub;
use crate::sealed_folder::SealedFolder;
use crate::site;
use crate::store::{Core, HEAD, MADE, Phase, Slot};
use crate::sync::atomic::{AtomicI64, AtomicU64};
use crate::sync::{Arc, Mutex, thread};
use crate::types::{Health, Options, OwnerId};
use crate::workers::{READERS_PER_WORKER, Workers};
use crate::writer::Dock;

pub(crate) const OWNERS: &str = "owners";
const INDEX: &str = "index";
const JOURNAL: &str = "journal";
pub(crate) const POOL: &str = "pool";
const LOCK: &str = "lock";
/// A disk answers 4 KiB in 0.1 ms when it is asked for one at a time, and for sixteen in not much more.
const READS_AT_START_PER_WORKER: usize = 8;
/// Packs that are looked at one after the other: threads would cost more.
const FEW_PACKS: usize = 64;
/// A pool file from before packs were shared held the store id alone.
const PROVISIONAL_POOL_BYTES: usize = 16;
pub(crate) const POOL_KIND: Kind = Kind { magic: *b"VTLPOOL\0", version: 0 };

pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path, options: Options) -> Result<Core, StoreError> {
    if let Some(id) = options.pool_id {
        site::expect(&*disk, root, id)?;
    }
    let lock = take_lock(&*disk, root)?;
    let pool = open_pool(&*disk, root, &options)?;
    let store_id = pool.store_id;
    let keyring = pool.open_keyring(&*disk, root, &options)?;
    let domain = Arc::new(pool.domain(keyring.as_ref(), &options));
    let mut found = Found::read(&*disk, root, Arc::clone(&domain))?;
    if found.segments.is_empty() {
        // The first start did not get to the end, perhaps at the sync of this very file.
        sealed::replace(&*disk, root, POOL, POOL_KIND, &pool.encode())?;
        disk.sync_folder(root.parent().unwrap_or(root))?;
    }
    let members = Arc::new(Members::open(&disk, root, store_id, &options)?);
    let found_packs = FoundPacks::list(Arc::clone(&members))?;
    found_packs.doubt_empty_folders()?;
    found.refuse_if_rolled_back(&found_packs)?;
    newest::compare(&*disk, &root.join(PACKS), store_id, found.newest)?;
    let epoch = found.next_epoch(options.start_random);
    let views = options.memory_bytes / 4;
    let packs = Arc::new(Packs::new(members, Arc::clone(&domain), epoch, views));
    let readers = options.workers * READS_AT_START_PER_WORKER;
    found_packs.settle(&packs, &found.named_packs, found.first_packs.as_ref(), readers)?;
    found.settle(&*disk)?;
    let journal = found.start_journal(&*disk, epoch, &packs, &options)?;
    found.sweep(&*disk)?;
    let index = Arc::new(open_index(&SealedFolder::over(&disk, &domain), root, store_id, &options)?);
    let quarantine = Arc::new(Quarantine::open(Arc::clone(&disk), root, Arc::clone(&domain)));
    let scrub = Scrub::open(&*disk, root, store_id, &packs);
    let gate = Arc::new(Gate::default());
    let finder =
        Arc::new(Finder { index, packs: Arc::clone(&packs), gate, quarantine: Arc::clone(&quarantine) });
    feed_all(&finder);
    let gear = Arc::new(pool.gear(&domain)?);
    let content_bytes = packs.sums().content_bytes.cast_signed();
    let health = health_without(packs.members.missing());
    let pusher = Workers::start(options.workers.min(1));
    let dock = Arc::new(Dock {
        disk: Arc::clone(&disk),
        packs: Arc::clone(&packs),
        finder,
        pack_bytes: options.pack_bytes,
        write_bytes: options.write_bytes,
        pusher: pusher.handle(),
        staged_bytes: Arc::default(),
        idle: Mutex::default(),
    });
    Ok(Core {
        root: root.to_path_buf(),
        workers: Workers::start(options.workers),
        readers: Workers::start(options.workers * READERS_PER_WORKER),
        _pusher: pusher,
        codec: Arc::new(Codec::new(
            options.compression_level,
            options.region_bytes + options.longest_chunk() + OVERHEAD,
            domain.prints(),
        )),
        domain,
        keyring,
        packs,
        dock,
        gear,
        quarantine,
        scrub,
        lanes: Mutex::default(),
        snapshots: Mutex::default(),
        marked: Mutex::default(),
        arrived: AtomicU64::new(found.arrived_bytes),
        // What came and is not there has been collected.
        reclaimed: AtomicI64::new(found.arrived_bytes.cast_signed().saturating_sub(content_bytes)),
        owners: Mutex::new(found.into_slots()),
        committer: Committer::new(journal),
        health: Mutex::new(health),
        removing: Mutex::new(()),
        in_flight: Arc::new(AtomicU64::new(0)),
        cached: Arc::new(AtomicU64::new(0)),
        granted: AtomicU64::new(0),
        reclaimable: AtomicU64::new(0),
        _lock: lock,
        disk,
        // The keyring has been opened: what opened it need not stay in memory.
        options: Options { encryption: None, ..options },
    })
}

/// Without one of its folders a pool is for reading only: what is written could lean on what an older generation of a pack has and the missing one
/// lacks.
fn health_without(missing: &[Missing]) -> Health {
    let told = missing.iter().map(|entry| format!("{} (folder {})", entry.path, entry.number));
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() {
        return Health::Ok;
    }
    let why = format!("it was opened without {told}; mount it, and take store.degraded away");
    tracing::error!(why, "the pool is for reading only");
    Health::ReadOnly { why }
}

/// Makes the folder when it is not there, and takes its lock.
pub(crate) fn take_lock(disk: &dyn Disk, root: &Path) -> Result<Arc<dyn DiskFile>, StoreError> {
    disk.create_folder(root)?;
    let path = root.join(LOCK);
    let file = disk.open(&path, Open::CreateIfMissing)?;
    if !file.try_lock()? {
        let busy = std::io::Error::new(std::io::ErrorKind::ResourceBusy, "another process uses this pool");
        return Err(StoreError::Io(DiskError::new("lock", &path, busy)));
    }
    Ok(file)
}

/// What a pool is made with and keeps for ever.
pub(crate) struct Pool {
    pub(crate) store_id: [u8; 16],
    /// Average length of a chunk.
    pub(crate) chunk_bytes: u32,
    pub(crate) is_encrypted: bool,
    /// Zeros in an encrypted pool: there it comes from the domain key.
    gear_key: [u8; 32],
}

/// The numbers of ciphers in the pool file.
const CIPHER_NONE: u32 = 0;
const CIPHER_AES_256_GCM: u32 = 1;

impl Pool {
    fn new(options: &Options) -> Self {
        let (mut store_id, mut gear_key) = ([0; 16], [0; 32]);
        let derive = |context, out: &mut [u8]| {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(&options.start_random.to_le_bytes()).finalize_xof().fill(out);
        };
        derive("vtl pool id", &mut store_id);
        let is_encrypted = options.encryption.is_some();
        if !is_encrypted {
            derive("vtl pool gear key", &mut gear_key);
        }
        Self { store_id, chunk_bytes: options.chunk_bytes as u32, is_encrypted, gear_key }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(56);
        let cipher = if self.is_encrypted { CIPHER_AES_256_GCM } else { CIPHER_NONE };
        writer.raw(&self.store_id).u32(self.chunk_bytes).u32(cipher).raw(&self.gear_key);
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let store_id = reader.array("store id")?;
        let chunk_bytes = reader.u32("chunk length")?;
        let is_encrypted = match reader.u32("cipher")? {
            CIPHER_NONE => false,
            CIPHER_AES_256_GCM => true,
            _ => return Err(reader.malformed("cipher")),
        };
        let gear_key = reader.array("gear key")?;
        reader.end("pool")?;
        Ok(Self { store_id, chunk_bytes, is_encrypted, gear_key })
    }

    fn sizes(&self) -> Option<ChunkSizes> {
        let avg = self.chunk_bytes;
        ChunkSizes::new(avg / 4, avg, avg.checked_mul(4)?).ok()
    }

    /// The keyring of an encrypted pool; refused when pool and key do not go together.
    fn open_keyring(
        &self,
        disk: &dyn Disk,
        root: &Path,
        options: &Options,
    ) -> Result<Option<Keyring>, StoreError> {
        match &options.encryption {
            Some(encryption) if self.is_encrypted => {
                Keyring::open(disk, root, self.store_id, encryption).map(Some)
            }
            None if !self.is_encrypted => Ok(None),
            _ => Err(keyring::mismatch(root, self.is_encrypted)),
        }
    }

    fn domain(&self, keyring: Option<&Keyring>, options: &Options) -> Domain {
        match (keyring, &options.encryption) {
            (Some(keyring), Some(encryption)) => {
                Domain::sealed(self.store_id, keyring.domain(), encryption.random.clone())
            }
            _ => Domain::plain(self.store_id),
        }
    }

    fn gear(&self, domain: &Domain) -> Result<Gear, StoreError> {
        let sizes = self.sizes().ok_or_else(|| damaged(Path::new(POOL), 0, "no such chunk length"))?;
        let key = domain.gear_key();
        Ok(Gear::new(key.as_ref().map_or(&self.gear_key, Key::expose), sizes))
    }
}

/// The pool file comes last when a pool is made, so a pool without one holds nothing.
fn open_pool(disk: &dyn Disk, root: &Path, options: &Options) -> Result<Pool, StoreError> {
    let path = root.join(POOL);
    let payload = match sealed::read(disk, &path, POOL_KIND) {
        Ok(payload) => payload,
        Err(sealed::SealedError::Disk(error)) if error.is_not_found() => {
            return make_pool(disk, root, options);
        }
        Err(error) => return Err(error.into()),
    };
    if payload.len() == PROVISIONAL_POOL_BYTES {
        let why = "this pool was made by a development version, in a format that was never released and is not read any more: copy what it \
                   holds with that version, or begin with an empty folder"
            .to_owned();
        return Err(StoreError::Format { path, why });
    }
    let pool = Pool::decode(&payload).ok().filter(|pool| pool.sizes().is_some());
    pool.ok_or_else(|| damaged(&path, 0, "its content is not that of a pool file (put the right file back)"))
}

/// The id that a pool file's payload has.
pub(crate) fn id_of(root: &Path, payload: &[u8]) -> Result<[u8; 16], StoreError> {
    let pool = Pool::decode(payload).map(|pool| pool.store_id);
    pool.map_err(|_| {
        damaged(&root.join(POOL), 0, "its content is not that of a pool file (put the right file back)")
    })
}

/// Why the pool file is not what this pool was opened with, if so.
pub(crate) fn verify_pool(disk: &dyn Disk, root: &Path, store_id: [u8; 16]) -> Option<String> {
    let path = root.join(POOL);
    let payload = match sealed::read(disk, &path, POOL_KIND) {
        Ok(payload) => payload,
        Err(error) => return Some(format!("{error} (put the file back from a copy before the next start)")),
    };
    let same = Pool::decode(&payload).is_ok_and(|pool| pool.store_id == store_id);
    (!same).then(|| {
        format!("{} is that of another pool (put the right file back before the next start)", path.display())
    })
}

fn make_pool(disk: &dyn Disk, root: &Path, options: &Options) -> Result<Pool, StoreError> {
    for name in [JOURNAL, OWNERS, PACKS] {
        disk.create_folder(&root.join(name))?;
        if !disk.list(&root.join(name))?.is_empty() {
            let why = format!("it is missing but {name} holds files (put the pool file back)");
            return Err(StoreError::Damaged { path: root.join(POOL), offset: 0, why });
        }
    }
    disk.sync_folder(root)?;
    let pool = Pool::new(options);
    // Before the pool file, so that there is no pool whose keyring never was.
    if let Some(encryption) = &options.encryption {
        Keyring::make(disk, root, pool.store_id, encryption)?;
    }
    sealed::replace(disk, root, POOL, POOL_KIND, &pool.encode())?;
    Ok(pool)
}

fn open_index(
    disk: &Arc<dyn Disk>,
    root: &Path,
    store_id: [u8; 16],
    options: &Options,
) -> Result<Index, StoreError> {
    let memory_bytes = options.memory_bytes / 4 * 3;
    let options = IndexOptions { memory_bytes, ..IndexOptions::default() };
    Ok(Index::open(Arc::clone(disk), &root.join(INDEX), store_id, options)?)
}

/// The index gets everything that packs hold and that it does not know.
pub(crate) fn feed_all(finder: &Finder) {
    for (id, _) in finder.packs.all() {
        if !finder.index.covers(id.key()) {
            feed_index(finder, id);
        }
    }
}

/// What is durable of a pack is found from now on. A pack that cannot be read is not; that costs space, not data.
pub(crate) fn feed_index(finder: &Finder, id: PackId) {
    let view = match finder.packs.view(id) {
        Ok(view) => view,
        Err(error) => {
            tracing::error!(pack = %id, %error, "a pack's table cannot be read");
            return;
        }
    };
    let numbered = view.table.chunks().zip(0_u16..).take(view.durable);
    let sound = numbered.filter(|(chunk, _)| !finder.quarantine.holds(id, chunk.at));
    let all: Vec<_> = sound.map(|(chunk, number)| (number, chunk.fingerprint)).collect();
    finder.index.insert(id.key(), &all);
    if finder.packs.known(id).is_some_and(|known| known.state == PackState::Sealed) {
        finder.index.pack_complete(id.key());
    }
}

/// Says that the folder's owner has been made.
pub(crate) fn mark_made(disk: &dyn Disk, folder: &Path) -> Result<(), DiskError> {
    disk.open(&folder.join(MADE), Open::CreateIfMissing)?;
    disk.sync_folder(folder)
}

fn damaged(path: &Path, offset: u64, why: &str) -> StoreError {
    StoreError::Damaged { path: path.to_path_buf(), offset, why: why.to_string() }
}

/// The state in an owner's head file.
pub(crate) fn load_head(
    disk: &dyn Disk,
    folder: &Path,
    domain: &Domain,
    owner: OwnerId,
) -> Result<State, StoreError> {
    let path = folder.join(HEAD);
    let payload = sealed::read(disk, &path, HEAD_KIND)?;
    let opened = domain.open_whole(Use::Head, &owner.0, payload).map_err(|error| error.to_string());
    let state = opened.and_then(|text| State::decode(&text, domain.store_id, owner));
    state.map_err(|why| StoreError::Damaged { path, offset: 0, why })
}

/// Deletes an owner's files: the mark first, so that a half is never taken for an owner that lost its head.
pub(crate) fn delete_owner(disk: &dyn Disk, owners: &Path, owner: OwnerId) -> Result<(), StoreError> {
    let folder = owners.join(owner.to_string());
    let files = match disk.list(&folder) {
        Ok(files) => files,
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let (heads, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.name == HEAD);
    for files in [others, heads].into_iter().filter(|files| !files.is_empty()) {
        for file in files {
            disk.unlink(&folder.join(&file.name))?;
        }
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

/// What helps against a lost head.
const REMEDY: &str = "put its folder back as it was last, or remove the owner";

fn missing() -> String {
    format!("the owner's folder is missing ({REMEDY})")
}

/// More than this of commits for lost heads is not kept in the journal: their owners stay reported.
const KEPT_BYTES: usize = 64 << 20;

struct Found {
    root: PathBuf,
    domain: Arc<Domain>,
    owners: BTreeMap<OwnerId, Owner>,
    segments: Vec<u64>,
    /// Owners that the journal names.
    named: BTreeSet<OwnerId>,
    /// Owners that there should be, and the sequence that the head of each should have when the journal has been applied to it.
    due: BTreeMap<OwnerId, u64>,
    /// Commits that have no head to be applied to, oldest first.
    kept: Vec<(u64, Commit)>,
    kept_bytes: usize,
    /// By so much packs have grown for all commits.
    arrived_bytes: u64,
    /// Packs that the journal names.
    named_packs: BTreeMap<PackId, PackEnd>,
    /// What the first file of the journal says of packs.
    first_packs: Option<recipe::Packs>,
    epoch: u64,
    /// The last file of that epoch.
    newest: Newest,
    next_sequence: u64,
}

impl Found {
    fn read(disk: &dyn Disk, root: &Path, domain: Arc<Domain>) -> Result<Self, StoreError> {
        let mut found = Self {
            root: root.to_path_buf(),
            domain,
            owners: BTreeMap::new(),
            segments: Vec::new(),
            named: BTreeSet::new(),
            due: BTreeMap::new(),
            kept: Vec::new(),
            kept_bytes: 0,
            arrived_bytes: 0,
            named_packs: BTreeMap::new(),
            first_packs: None,
            epoch: 0,
            newest: Newest::default(),
            next_sequence: 1,
        };
        found.read_owners(disk)?;
        found.read_journal(disk)?;
        found.miss_owners();
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
        match load_head(disk, &folder, &self.domain, owner) {
            Ok(state) => Ok(Some(Owner::Healthy(Box::new(state)))),
            Err(StoreError::Damaged { path, offset, why }) => Ok(Some(Owner::Damaged { path, offset, why })),
            Err(StoreError::Io(error)) if error.is_not_found() => self.read_headless(disk, &folder),
            Err(error) => Err(error),
        }
    }

    /// A folder without a head: an owner that was being made or removed, or one whose head was lost.
    fn read_headless(&self, disk: &dyn Disk, folder: &Path) -> Result<Option<Owner>, StoreError> {
        let files = disk.list(folder)?;
        if files.iter().any(|file| !sealed::is_leftover(&file.name)) {
            let why = "it is missing, and its owner had one (put it back)".to_string();
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
        self.drop_unbegun(disk, &folder, &mut headers)?;
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
            let scan = self.read_segment(disk, &path, header)?;
            if scan.torn && at + 1 < headers.len() {
                return Err(damaged(
                    &path,
                    scan.end,
                    "its end is torn, but a later file exists (restore it)",
                ));
            }
            self.next_sequence = scan.next_sequence;
            self.newest = Newest { epoch: self.epoch, number: header.number };
        }
        Ok(())
    }

    /// Headers of all files in order. The newest file may have none: it was being made when the machine stopped.
    fn read_headers(&mut self, disk: &dyn Disk, folder: &Path) -> Result<Vec<Header>, StoreError> {
        let mut headers = Vec::new();
        for number in self.segments.clone() {
            let path = folder.join(segment_name(number));
            match log::read_header(disk, &path, JOURNAL_KIND)? {
                Some(header) if header.tag != self.domain.store_id => {
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

    /// The only file of its epoch, without a record, is of a start that was cut off before it had said what there is. What older files say holds,
    /// and it goes: were it to come back, it would go again.
    fn drop_unbegun(
        &mut self,
        disk: &dyn Disk,
        folder: &Path,
        headers: &mut Vec<Header>,
    ) -> Result<(), StoreError> {
        while let Some(last) = headers.last().copied() {
            let path = folder.join(segment_name(last.number));
            let is_alone = headers.iter().filter(|header| header.log_id == last.log_id).count() == 1;
            if !is_alone || log::has_record(disk, &path, JOURNAL_KIND)? {
                break;
            }
            tracing::warn!(path = %path.display(), "an earlier start did not begin its journal file; the files before it are read");
            disk.unlink(&path)?;
            headers.pop();
            self.segments.pop();
        }
        Ok(())
    }

    fn read_segment(&mut self, disk: &dyn Disk, path: &Path, header: &Header) -> Result<Scan, StoreError> {
        let seal = journal_seal(&self.domain, header);
        log::scan(disk, path, JOURNAL_KIND, |sequence, payload| {
            let wrong = |why: &dyn fmt::Display| {
                damaged(path, 0, &format!("record {sequence}: {why} (restore this file)"))
            };
            let text = seal.opened(&sequence.to_le_bytes(), payload).map_err(|error| wrong(&error))?;
            let entries = decode_record(&text).map_err(|error| wrong(&error))?;
            for entry in entries {
                self.apply(sequence, entry);
            }
            Ok(())
        })
    }

    fn apply(&mut self, sequence: u64, entry: Entry) {
        match entry {
            Entry::Begin(begin) => self.begin(begin),
            Entry::Remove(owner) => {
                self.named.insert(owner);
                self.due.remove(&owner);
                self.kept.retain(|(_, commit)| commit.owner != owner);
                let newer = matches!(self.owners.get(&owner), Some(Owner::Healthy(state)) if state.sequence >= sequence);
                if !newer {
                    self.owners.insert(owner, Owner::Removed);
                }
            }
            Entry::Commit(mut commit) => {
                self.name_packs(std::mem::take(&mut commit.change.packs));
                self.arrived_bytes = self.arrived_bytes.saturating_add(commit.change.arrived_bytes);
                self.apply_commit(sequence, commit);
            }
        }
    }

    /// What the file begins with goes for all that older files say, and is said twice.
    fn begin(&mut self, begin: Begin) {
        self.name_packs(begin.packs.unsealed.clone());
        self.first_packs.get_or_insert(begin.packs);
        self.arrived_bytes = begin.arrived_bytes;
        self.due = begin.owners.into_iter().collect();
        self.kept.clear();
        self.kept_bytes = 0;
        begin.kept.into_iter().for_each(|(sequence, commit)| self.apply_commit(sequence, commit));
    }

    fn name_packs(&mut self, packs: Vec<PackEnd>) {
        self.named_packs.extend(packs.into_iter().map(|named| (named.pack, named)));
    }

    fn apply_commit(&mut self, sequence: u64, commit: Commit) {
        let owner = commit.owner;
        self.named.insert(owner);
        let due = self.due.entry(owner).or_default();
        *due = sequence.max(*due);
        match self.owners.get_mut(&owner) {
            Some(Owner::Healthy(state)) if state.sequence >= sequence => return,
            Some(Owner::Healthy(state)) => {
                let Err(why) = state.check_fits(&commit) else {
                    // It has just been checked.
                    let _ = state.apply(sequence, commit);
                    return;
                };
                let why = format!("journal record {sequence} does not follow it: {why} ({REMEDY})");
                self.lose(owner, why);
            }
            Some(Owner::Damaged { .. }) => {}
            // Removed later in the journal, or its folder is lost: the removal decides.
            Some(Owner::Removed) | None => self.lose(owner, missing()),
        }
        self.keep(sequence, commit);
    }

    fn keep(&mut self, sequence: u64, commit: Commit) {
        self.kept_bytes += commit.weight();
        if self.kept_bytes <= KEPT_BYTES {
            self.kept.push((sequence, commit));
        }
    }

    fn lose(&mut self, owner: OwnerId, why: String) {
        let path = self.folder(owner).join(HEAD);
        self.owners.insert(owner, Owner::Damaged { path, offset: 0, why });
    }

    /// An owner that should be there and is not, or whose head is not the last one, is told by its name; what it needs must not be
    /// taken from it.
    fn miss_owners(&mut self) {
        for (owner, due) in self.due.clone() {
            match self.owners.get(&owner) {
                Some(Owner::Healthy(state)) if state.sequence < due => {
                    let why = format!(
                        "it is an older copy: it has record {}, record {due} was the last ({REMEDY})",
                        state.sequence
                    );
                    self.lose(owner, why);
                }
                // One of this id was removed, and another made since.
                None | Some(Owner::Removed) => self.lose(owner, missing()),
                Some(_) => {}
            }
        }
    }

    fn refuse_if_rolled_back(&self, packs: &FoundPacks) -> Result<(), StoreError> {
        const WHY: &str = "the journal is older than the files beside it, as after restoring a copy of a part: \
                              put back journal and owners of one moment";
        for (owner, found) in &self.owners {
            let folder = self.folder(*owner);
            if let Owner::Healthy(state) = found
                && state.sequence >= self.next_sequence
            {
                return Err(damaged(&folder.join(HEAD), 0, WHY));
            }
        }
        let newer = packs.files.iter().find(|(name, _)| name.id.start() > (self.epoch >> 32) as u32);
        if let Some((name, places)) = newer {
            return Err(damaged(&packs.path(*name, places.first().copied().unwrap_or(0)), 0, WHY));
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
                    let payload = state.encode(self.domain.store_id, *owner);
                    let payload = self.domain.seal_whole(Use::Head, &owner.0, payload)?;
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

    fn start_journal(
        &self,
        disk: &dyn Disk,
        epoch: u64,
        packs: &Packs,
        options: &Options,
    ) -> Result<Journal, StoreError> {
        let folder = self.root.join(JOURNAL);
        let header = Header {
            magic: JOURNAL_KIND.magic,
            version: JOURNAL_KIND.version,
            log_id: epoch,
            number: self.segments.last().map_or(1, |last| last + 1),
            first_sequence: self.next_sequence,
            tag: self.domain.store_id,
        };
        let mut current = Journal::start(disk, &folder, header, options.segment_bytes)?;
        let told = self.told_owners();
        let (kept, arrived_bytes) = (self.kept.clone(), self.arrived_bytes);
        let begin = Begin { packs: self.told_packs(packs), owners: told.clone(), kept, arrived_bytes };
        tell(&mut current, &self.domain, begin)?;
        let mut journal = Journal { folder, current, retired: VecDeque::from(self.segments.clone()), told };
        newest::remember(disk, &self.root.join(PACKS), self.domain.store_id, journal.newest());
        journal.drop_retired(disk)?;
        Ok(journal)
    }

    /// What the new file says of packs. A pool with missing folders is for reading only and makes no packs: what older files said is said again, of
    /// all packs, because nothing else tells the start that finds those folders where their packs end, and which ones no commit has named.
    fn told_packs(&self, packs: &Packs) -> recipe::Packs {
        match &self.first_packs {
            Some(first) if !packs.members.missing().is_empty() => {
                recipe::Packs { unsealed: self.named_packs.values().copied().collect(), ..first.clone() }
            }
            _ => packs.for_journal(),
        }
    }

    /// Every owner with the sequence that its head has, or should have.
    fn told_owners(&self) -> Vec<(OwnerId, u64)> {
        let told = self.owners.iter().filter_map(|(owner, found)| match found {
            Owner::Healthy(state) => Some((*owner, state.sequence)),
            Owner::Damaged { .. } => Some((*owner, self.due_of(*owner))),
            Owner::Removed => None,
        });
        told.collect()
    }

    /// The sequence that a lost head should have, as far as the journal knows.
    fn due_of(&self, owner: OwnerId) -> u64 {
        self.due.get(&owner).copied().unwrap_or(0)
    }

    fn sweep(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        for (owner, found) in &self.owners {
            let Owner::Healthy(_) = found else { continue };
            let folder = self.folder(*owner);
            let files = disk.list(&folder)?;
            for file in files.iter().filter(|file| sealed::is_leftover(&file.name)) {
                disk.unlink(&folder.join(&file.name))?;
            }
            if !files.iter().any(|file| file.name == MADE) {
                mark_made(disk, &folder)?;
            }
        }
        Ok(())
    }

    fn into_slots(self) -> BTreeMap<OwnerId, Slot> {
        let slot = |owner: OwnerId, found: &Owner| match found {
            Owner::Healthy(state) => {
                Slot { busy: false, phase: Phase::Idle, size: state.size(), sequence: state.sequence }
            }
            Owner::Removed => Slot { busy: true, phase: Phase::Removed, size: Size::default(), sequence: 0 },
            Owner::Damaged { path, offset, why } => {
                tracing::error!(%owner, path = %path.display(), why, "an owner's head is damaged");
                let kept = self.kept.iter().filter(|(_, commit)| commit.owner == owner).cloned().collect();
                let phase = Phase::Damaged { path: path.clone(), offset: *offset, why: why.clone(), kept };
                Slot { busy: false, phase, size: Size::default(), sequence: self.due_of(owner) }
            }
        };
        self.owners.iter().map(|(owner, found)| (*owner, slot(*owner, found))).collect()
    }
}

/// Pack files as they lie there, in all folders of the pool.
struct FoundPacks {
    members: Arc<Members>,
    /// By pack, generations ascending, with the numbers of the folders that have it.
    files: BTreeMap<PackName, Vec<u32>>,
}

impl FoundPacks {
    fn list(members: Arc<Members>) -> Result<Self, StoreError> {
        let mut files: BTreeMap<PackName, Vec<u32>> = BTreeMap::new();
        for member in members.all().iter() {
            for name in member.folder.list()? {
                files.entry(name).or_default().push(member.number);
            }
        }
        Ok(Self { members, files })
    }

    /// A folder that was empty for good and has packs, because somebody put them there, is needed again.
    fn doubt_empty_folders(&self) -> Result<(), StoreError> {
        for member in self.members.all().iter() {
            let has_packs = || self.files.values().flatten().any(|number| *number == member.number);
            if self.members.stage(member.number) == Stage::Empty && has_packs() {
                self.members.set_stage(member, Stage::Leaving)?;
            }
        }
        Ok(())
    }

    fn path(&self, name: PackName, member: u32) -> PathBuf {
        self.members.by_number(member).folder.path(name)
    }

    /// Makes every pack one file with a footer, and tells `packs`.
    fn settle(
        &self,
        packs: &Packs,
        named: &BTreeMap<PackId, PackEnd>,
        first: Option<&recipe::Packs>,
        readers: usize,
    ) -> Result<(), StoreError> {
        self.members.all().iter().try_for_each(|member| member.folder.sweep())?;
        let mut sealed = Vec::new();
        let mut at = self.files.iter().peekable();
        while let Some((mut name, mut places)) = at.next() {
            while let Some((newer, there)) = at.next_if(|(next, _)| next.id == name.id) {
                self.replace(*name, places, *newer, there)?;
                (name, places) = (newer, there);
            }
            let id = name.id;
            let is_orphan = first.is_some_and(|first| {
                first.uncommitted.contains(&id) || (id.epoch == first.next.epoch && id >= first.next)
            });
            match named.get(&id) {
                None if is_orphan => self.delete(*name, places)?,
                Some(PackEnd { end, sealed: false, .. }) if name.generation == 0 => {
                    self.seal(packs, id, self.choose(packs, *name, places)?, *end)?;
                }
                _ => sealed.push((*name, self.choose(packs, *name, places)?)),
            }
        }
        self.note_all(packs, &sealed, readers)?;
        // Were an orphan to come back after the next journal has begun, nothing would tell that it is none.
        self.members.all().iter().try_for_each(|member| member.folder.settle())?;
        // One that the journal names and that is not there was collected after it got its footer, or is lost: then reads and checks tell.
        Ok(())
    }

    fn delete(&self, name: PackName, places: &[u32]) -> Result<(), StoreError> {
        for member in places {
            self.members.by_number(*member).folder.delete(name)?;
        }
        Ok(())
    }

    /// Of two generations of a pack the newer stays: it got its name when it was synced.
    fn replace(
        &self,
        older: PackName,
        places: &[u32],
        newer: PackName,
        there: &[u32],
    ) -> Result<(), StoreError> {
        // The name may not have been.
        for member in there {
            self.members.by_number(*member).folder.sync_names(newer.id)?;
        }
        self.delete(older, places)
    }

    /// Of the same file in several folders one stays: it was being moved, or somebody copied it. Files that differ all stay, and the one that is whole is used.
    fn choose(&self, packs: &Packs, name: PackName, places: &[u32]) -> Result<u32, StoreError> {
        let mut ranked = Vec::new();
        for number in places {
            let member = self.members.by_number(*number);
            if places.len() == 1 {
                return Ok(*number);
            }
            let file = member.folder.open(name)?;
            let whole = pack::read_trailer(&*file, &packs.frame(name.id, name.generation))?.is_some();
            let stays = self.members.stage(*number) == Stage::InUse;
            ranked.push(((whole, stays, file.size()?, Reverse(*number)), file));
        }
        ranked.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut ranked = ranked.into_iter();
        let Some(((.., Reverse(best)), file)) = ranked.next() else { return Ok(0) };
        // What is kept has to be there after a power cut, before another goes.
        self.members.by_number(best).folder.sync_all(name)?;
        for ((.., Reverse(number)), other) in ranked {
            if is_same(&*file, &*other)? {
                self.members.by_number(number).folder.delete(name)?;
            } else {
                let (used, other) = (self.path(name, best), self.path(name, number));
                tracing::error!(used = %used.display(), other = %other.display(), "two files of one pack differ: remove the wrong one while the pool is closed");
            }
        }
        Ok(best)
    }

    /// Cuts a pack at its durable end and gives it a footer. Doing it again gives the same file.
    fn seal(&self, packs: &Packs, id: PackId, member: u32, end: u64) -> Result<(), StoreError> {
        let file = self.members.by_number(member).folder.open_unsealed(id)?;
        let end = file.size()?.min(end);
        let frame = packs.frame(id, 0);
        let table = pack::walk(&*file, &frame, end)?;
        let footer = frame.encode_footer(&table, end)?;
        file.set_size(end)?;
        file.write_at(end, &[IoSlice::new(&footer)])?;
        file.sync_data()?;
        let view = View { id, generation: 0, durable: table.len(), table };
        packs.sealed_in(member, view, end + footer.len() as u64);
        Ok(())
    }

    /// Tells `packs` of all, in threads: each costs a read of the disk, and a store of 100 TB has three million.
    fn note_all(&self, packs: &Packs, all: &[(PackName, u32)], readers: usize) -> Result<(), StoreError> {
        let note =
            &|part: &[(PackName, u32)]| part.iter().try_for_each(|(name, at)| self.note(packs, *name, *at));
        if readers < 2 || all.len() <= FEW_PACKS {
            return note(all);
        }
        thread::scope(|scope| {
            let parts = all.chunks(all.len().div_ceil(readers));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || note(part))).collect();
            running
                .into_iter()
                .try_for_each(|reader| reader.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn note(&self, packs: &Packs, name: PackName, member: u32) -> Result<(), StoreError> {
        let file = self.members.by_number(member).folder.open(name)?;
        let (file_bytes, frame) = (file.size()?, packs.frame(name.id, name.generation));
        let trailer = pack::read_trailer(&*file, &frame)?;
        let (regions, chunks) = trailer.map_or((0, 0), |trailer| (trailer.regions, trailer.chunks));
        let known = Known {
            generation: name.generation,
            member,
            file_bytes,
            content_bytes: packs.content_bytes(
                file_bytes,
                name.generation,
                regions as usize,
                chunks as usize,
            ),
            raw_bytes: trailer.map_or(0, |trailer| trailer.raw_bytes),
            chunks: u64::from(chunks),
            state: PackState::Sealed,
        };
        packs.note(name.id, known);
        Ok(())
    }
}

/// Whether two files have the same bytes.
pub(crate) fn is_same(one: &dyn DiskFile, other: &dyn DiskFile) -> Result<bool, DiskError> {
    const WINDOW: usize = 1 << 20;
    let size = one.size()?;
    if size != other.size()? {
        return Ok(false);
    }
    let (mut here, mut there) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < size {
        here.clear();
        there.clear();
        one.read_at(at, WINDOW, &mut here)?;
        other.read_at(at, WINDOW, &mut there)?;
        if here != there || here.is_empty() {
            return Ok(false);
        }
        at += here.len() as u64;
    }
    Ok(true)
}
