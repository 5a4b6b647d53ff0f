//! A server without a server: a store, an inventory that dies when it is told to, remotes, and the job manager with all engines.
#![allow(dead_code, missing_docs, reason = "each test program uses its part")]

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::runtime::{Handle, Runtime};
use vtl_cartridge::{Cartridge, CartridgeSpec, Kept, Reading};
use vtl_codec::{Key, Method, PrivateKey, PublicKey, Randomness, SigningKey, VerifyingKey};
use vtl_durable::SimDisk;
use vtl_jobs::{
    Class, Failure, Job, JobError, JobId, Ledger, Machine, Manager, NewJob, RetryRule, RetryRules, Ticket,
    Work,
};
use vtl_library::{Counts, InstallationId, LibraryError, NewCartridges, NewLibrary, NewPlace};
use vtl_meta::{Meta, MetaError, Module, Tx};
use vtl_migrate::{
    Blank, Defaults, Export, Fetch, Folders, ForeignRule, Held, Import, Lazies, LazyRow, Prune, Repair,
    Rewrap, Settings, Verify, World,
};
use vtl_remote::{
    Abilities, ByteStream, Checkpoint, Error, Folder, FolderRemote, HalfSent, Hashes, Head, Limiter, Mode,
    ObjectName, Page, Put, Receipt, Remote, Span, StoredHash, Streams,
};
use vtl_store::{Options, OwnerId, RepairReport, Store};
use vtl_transfer::Trouble;
use vtl_types::{ByteCount, CartridgeId, Generation, Label, LibraryName, Place};

pub const PATIENCE: Duration = Duration::from_secs(600);
pub const KEY: &str = "k";
static MODULES: [Module; 4] =
    [vtl_library::MODULE, vtl_jobs::MODULE, vtl_migrate::MODULE, vtl_migrate::LAZY_MODULE];

/// Another key.
pub const OTHER_KEY: &str = "l";

pub fn private_key() -> PrivateKey {
    private_key_of(KEY).unwrap()
}

/// Made-up keys by name.
pub fn private_key_of(name: &str) -> Option<PrivateKey> {
    let pem: &[u8] = match name {
        KEY => include_bytes!("../../../vtl-bundle/tests/vectors/none-sealed/made-up-key-1.pem"),
        OTHER_KEY => include_bytes!("../../../vtl-bundle/tests/vectors/zstd-sealed/made-up-key-2.pem"),
        _ => return None,
    };
    Some(PrivateKey::from_pem(pem).unwrap())
}

/// Made-up keys that sign, by name: `s` and `t`.
pub fn signing_key(name: &str) -> Option<SigningKey> {
    let seed = name.bytes().next().filter(|byte| matches!(byte, b's' | b't'))?;
    let random = Randomness::from_fn(move |bytes| {
        bytes.fill(seed);
        Ok(())
    });
    Some(SigningKey::from_pem(&SigningKey::new_pem(&random).unwrap()).unwrap())
}

/// What outlives every process of one server.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub disk: SimDisk,
    pub store: Store,
    pub meta: Arc<Mutex<Meta>>,
    /// So many changes of the inventory are left before the process is gone.
    left: Arc<AtomicI64>,
    /// Changes of engines alone until each of them is refused.
    engines_left: AtomicI64,
    pub runtime: Runtime,
    pub remotes: Mutex<BTreeMap<String, Arc<dyn Remote>>>,
    pub settings: Mutex<Settings>,
    /// Cartridges that were removed here, with their generations.
    pub deleted: Mutex<Vec<(CartridgeId, u64)>>,
    /// Names of keys whose private parts are here, of both sorts; and of signers whose public parts are.
    pub private: Mutex<Vec<&'static str>>,
    pub signers: Mutex<Vec<&'static str>>,
    pub now_s: Mutex<u64>,
    /// What the site was told of, and what it answers the next time.
    pub vaulted: Mutex<Vec<String>>,
    pub hook_fails: Mutex<Option<Failure>>,
    /// Of the process that was started last.
    pub lazies: Mutex<Option<Arc<Lazies>>>,
    /// What is answered, one after the other, when it is asked where jobs write to; then: nowhere.
    pub written: Mutex<VecDeque<Vec<(String, String)>>>,
}

/// 2026-11-26 03:15:00 UTC.
pub const NOW_S: u64 = 1_795_662_900;

impl Bench {
    pub fn new() -> Arc<Self> {
        Self::with(Options::small())
    }

    /// For tapes of many MiB.
    pub fn roomy() -> Arc<Self> {
        const KIB: usize = 1 << 10;
        Self::with(Options {
            chunk_bytes: 16 * KIB,
            fixed_bytes: 64 * KIB,
            region_bytes: 128 * KIB,
            batch_bytes: 64 * KIB,
            pack_bytes: 4 << 20,
            write_bytes: 64 * KIB,
            in_flight_bytes: 4 << 20,
            segment_bytes: 1 << 20,
            cache_bytes: 1 << 20,
            memory_bytes: 64 << 20,
            ..Options::small()
        })
    }

    fn with(options: Options) -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = SimDisk::new(1);
        let store = Store::open(Arc::new(disk.clone()), Path::new("/pool"), options).unwrap();
        let meta = Meta::open(&folder.path().join("db"), &MODULES).unwrap();
        let settings = Settings {
            staging: folder.path().join("staging"),
            margin_bytes: 0,
            slots: 3,
            limiter: Limiter::unlimited(),
            verify: Mode::RemoteHash,
            foreign: ForeignRule::Accept,
            read_wait: PATIENCE,
            defaults: Defaults {
                remote: Some("r".into()),
                key: None,
                sign_with: None,
                chunk_bytes: 1 << 20,
                compress: Method::Zstd,
                delete_after_export: false,
            },
        };
        Arc::new(Self {
            folder,
            disk,
            store,
            meta: Arc::new(Mutex::new(meta)),
            left: Arc::new(AtomicI64::new(i64::MAX)),
            engines_left: AtomicI64::new(i64::MAX),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            remotes: Mutex::default(),
            settings: Mutex::new(settings),
            deleted: Mutex::default(),
            private: Mutex::new(vec![KEY]),
            signers: Mutex::default(),
            now_s: Mutex::new(NOW_S),
            vaulted: Mutex::default(),
            hook_fails: Mutex::default(),
            lazies: Mutex::default(),
            written: Mutex::default(),
        })
    }

    /// A folder remote `r` in `place`.
    pub fn with_folder(place: &Path) -> Arc<Self> {
        let bench = Self::new();
        bench.put_remote(Arc::new(FolderRemote::open("r", place).unwrap()));
        bench
    }

    pub fn put_remote(&self, remote: Arc<dyn Remote>) {
        self.remotes.lock().unwrap().insert(remote.name().to_owned(), remote);
    }

    pub fn set(&self, work: impl FnOnce(&mut Settings)) {
        work(&mut self.settings.lock().unwrap());
    }

    pub fn dies_after(&self, changes: i64) {
        self.left.store(changes, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    /// So many changes of engines are taken; their jobs go on to know what they are at.
    pub fn refuses_after(&self, changes: i64) {
        self.engines_left.store(changes, Ordering::SeqCst);
    }

    fn refused(&self) -> Result<(), MetaError> {
        match self.engines_left.fetch_sub(1, Ordering::SeqCst) {
            ..=0 => {
                let source = std::io::Error::other("the disk is gone");
                Err(MetaError::Io { operation: "write", path: "db".into(), source })
            }
            _ => Ok(()),
        }
    }

    fn dead(&self) -> Result<(), MetaError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.left.store(0, Ordering::SeqCst);
            let source = std::io::Error::other("the process is gone");
            return Err(MetaError::Io { operation: "write", path: "db".into(), source });
        }
        Ok(())
    }

    /// A process of this server; what an earlier one has left is cleared away as the daemon does.
    pub fn start(self: &Arc<Self>) -> Manager {
        let works = self.works();
        self.start_with(works)
    }

    /// The same before anything runs.
    pub fn open(self: &Arc<Self>) -> Manager {
        let works = self.works();
        self.open_with(works)
    }

    fn works(self: &Arc<Self>) -> Vec<Arc<dyn Work>> {
        let world = self.world();
        let lazies = Arc::new(Lazies::new(world.clone()));
        *self.lazies.lock().unwrap() = Some(lazies.clone());
        let folders = Arc::new(Folders::default());
        vec![
            Arc::new(Export::new(world.clone(), folders.clone())),
            Arc::new(Import::new(world.clone(), lazies)),
            Arc::new(Repair::new(world.clone())),
            Arc::new(Verify::new(world.clone())),
            Arc::new(Prune::new(world.clone(), folders.clone())),
            Arc::new(Fetch::new(world.clone())),
            Arc::new(Rewrap::new(world, folders)),
        ]
    }

    pub fn world(self: &Arc<Self>) -> Arc<dyn World> {
        Arc::new(Outside(Arc::clone(self)))
    }

    /// The same with these engines.
    pub fn start_with(self: &Arc<Self>, works: Vec<Arc<dyn Work>>) -> Manager {
        let manager = self.open_with(works);
        manager.start().unwrap();
        manager
    }

    fn open_with(self: &Arc<Self>, works: Vec<Arc<dyn Work>>) -> Manager {
        self.left.store(i64::MAX, Ordering::SeqCst);
        vtl_transfer::empty(&self.settings.lock().unwrap().staging, &[]).unwrap();
        let named: Vec<CartridgeId> =
            self.lazy_rows().iter().flat_map(|row| [row.cartridge, row.pieces]).collect();
        for owner in self.store.owners() {
            let id = CartridgeId(owner.0);
            let facts = Cartridge::inspect(&self.store, id).unwrap();
            if facts.unfinished && !named.contains(&id) {
                self.store.remove(owner).unwrap();
            }
        }
        let at_once = RetryRule { attempts: Some(3), pause_s: 0, max_pause_s: 0 };
        let settings = vtl_jobs::Settings {
            retry: RetryRules { temporary: at_once, busy: RetryRule { attempts: None, ..at_once } },
            ..vtl_jobs::Settings::default()
        };
        Manager::open(Box::new(Outside(Arc::clone(self))), Box::new(Clock), works, settings).unwrap()
    }

    pub fn cartridge(&self, label: &str, tape: &[Option<Vec<u8>>]) -> CartridgeId {
        let label: Label = label.parse().unwrap();
        let mut id = [0; 16];
        id[..8].copy_from_slice(label.as_str().as_bytes());
        let id = CartridgeId(id);
        let spec = CartridgeSpec {
            label,
            serial: "SERIAL01".into(),
            kind: label.media(),
            capacity: ByteCount(1 << 30),
            early_warning: None,
            write_protected: false,
            created_s: 1_700_000_000,
            place: None,
        };
        Cartridge::create(&self.store, id, &spec).unwrap();
        self.list(id, label.as_str());
        self.append(id, tape);
        id
    }

    /// Library `lib0` with so many slots, all empty.
    pub fn library(&self, slots: u16) {
        let name: LibraryName = "lib0".parse().unwrap();
        let new = NewLibrary {
            target: vtl_library::default_target(&name).unwrap(),
            name,
            profile: "p".into(),
            drive_profile: "d".into(),
            drive_generation: Generation::Lto8,
            counts: Counts { drives: 1, slots, mailslots: 1 },
        };
        let mut meta = self.meta.lock().unwrap();
        meta.transaction(|tx| {
            vtl_library::install(tx, InstallationId([3; 16]))?;
            vtl_library::create_library(tx, &new)
        })
        .unwrap();
    }

    /// Labels of all that is in a slot.
    pub fn in_slots(&self) -> Vec<String> {
        let all = self.meta.lock().unwrap().read(vtl_library::cartridges).unwrap();
        let in_slot = all.iter().filter(|one| matches!(one.place, Place::Slot(_)));
        in_slot.map(|one| one.label.to_string()).collect()
    }

    /// Lists what is in the store under a label, in the vault.
    pub fn list(&self, id: CartridgeId, label: &str) {
        let new =
            NewCartridges { first: label.parse().unwrap(), count: 1, library: None, place: NewPlace::Vault };
        let mut meta = self.meta.lock().unwrap();
        meta.transaction(|tx| vtl_library::create_cartridges(tx, &new, &[id], ByteCount(1 << 30), 1))
            .unwrap();
    }

    pub fn append(&self, id: CartridgeId, tape: &[Option<Vec<u8>>]) {
        let mut cartridge = Cartridge::open(&self.store, id, vtl_cartridge::Settings::default()).unwrap();
        cartridge.space_to_end();
        for thing in tape {
            match thing {
                Some(block) => cartridge.write_block(&[Bytes::copy_from_slice(block)], true).unwrap(),
                None => cartridge.write_filemarks(1).unwrap(),
            };
        }
        cartridge.close().unwrap();
    }

    pub fn id_of(&self, label: &str) -> Option<CartridgeId> {
        let label: Label = label.parse().unwrap();
        let mut meta = self.meta.lock().unwrap();
        meta.read(|tx| vtl_library::cartridge(tx, label)).ok().map(|found| found.id)
    }

    pub fn tape(&self, label: &str) -> Vec<Option<Vec<u8>>> {
        let mut reading =
            Reading::open(&self.store, self.id_of(label).expect("the cartridge is here")).unwrap();
        let mut all = Vec::new();
        loop {
            match reading.next_object().unwrap() {
                Kept::Block(portions) => {
                    all.push(Some(portions.iter().flat_map(|one| one.bytes.to_vec()).collect()))
                }
                Kept::Filemark => all.push(None),
                Kept::EndOfData => return all,
            }
        }
    }

    /// Damages each pack but the last, which may still be written to, in the middle; bytes of the cartridge that are lost.
    pub fn damage(&self, id: CartridgeId) -> u64 {
        let files = self.disk.files();
        let mut packs: Vec<_> =
            files.iter().filter(|file| file.extension().is_some_and(|end| end == "pack")).collect();
        packs.sort();
        for pack in packs.iter().rev().skip(1) {
            let middle = self.disk.contents(pack).unwrap().len() as u64 / 2;
            self.disk.flip_bit(pack, middle, 3);
        }
        self.store.check();
        self.lost(id)
    }

    pub fn lost(&self, id: CartridgeId) -> u64 {
        self.store.lost(OwnerId(id.0)).unwrap().bytes
    }

    pub fn rows(&self) -> Vec<vtl_migrate::Row> {
        self.meta.lock().unwrap().read(vtl_migrate::all).unwrap()
    }

    /// Why a cartridge is in quarantine.
    pub fn quarantined(&self, label: &str) -> Option<String> {
        let id = self.id_of(label).expect("the cartridge is here");
        self.meta.lock().unwrap().read(|tx| vtl_library::quarantined(tx, id)).unwrap()
    }

    pub fn lazy_rows(&self) -> Vec<LazyRow> {
        self.meta.lock().unwrap().read(vtl_migrate::lazy_all).unwrap()
    }

    /// A cartridge that is here in part, as a drive has it.
    pub fn in_drive(&self, label: &str) -> Cartridge {
        let id = self.id_of(label).unwrap();
        let lazies = self.lazies.lock().unwrap().clone().unwrap();
        let lazy = lazies.of(id).unwrap().unwrap();
        let settings = vtl_cartridge::Settings::default();
        Cartridge::open_absent(&self.store, id, settings, lazy.objects(), lazy.absent()).unwrap()
    }

    /// Objects of an export to a folder of `r` that are confirmed, and not in the catalogue yet.
    pub fn confirmed(&self, folder: &str) -> u64 {
        self.meta.lock().unwrap().read(|tx| vtl_migrate::confirmed(tx, "r", folder)).unwrap()
    }

    pub fn staging_is_empty(&self) -> bool {
        let staging = self.settings.lock().unwrap().staging.clone();
        std::fs::read_dir(staging).map_or(true, |mut entries| entries.next().is_none())
    }

    pub fn found(&self) -> Vec<vtl_migrate::Found> {
        let remote = self.remotes.lock().unwrap()["r"].clone();
        self.runtime.block_on(vtl_migrate::found_in(&*remote)).unwrap()
    }
}

pub fn submit(manager: &Manager, kind: &str, label: Option<&str>, request: &str) -> JobId {
    let new = NewJob {
        key: format!("{kind}:{label:?}:{request}:{}", manager.list().unwrap().len()),
        kind: kind.into(),
        label: label.map(Into::into),
        request: request.into(),
        ..NewJob::default()
    };
    manager.submit(&new).unwrap().id
}

pub fn ended(manager: &Manager, id: JobId) -> Job {
    manager.wait_until(id, Some(PATIENCE), |job| job.state.is_terminal()).unwrap().expect("the job ends")
}

/// The result of a job that must be completed.
pub fn done(manager: &Manager, id: JobId) -> serde_json::Value {
    let job = ended(manager, id);
    assert_eq!(job.state, vtl_jobs::State::Completed, "{:?}", job.trouble);
    serde_json::from_str(&job.result.unwrap()).unwrap()
}

/// The failure of a job that must have failed.
pub fn failed(manager: &Manager, id: JobId) -> vtl_jobs::Trouble {
    let job = ended(manager, id);
    assert_eq!(job.state, vtl_jobs::State::Failed, "{:?}", job.result);
    job.trouble.unwrap()
}

/// Bytes that repeat nowhere near.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Several objects of 1 MiB, text and noise, marks alone and side by side.
pub fn tape(seed: u64) -> Vec<Option<Vec<u8>>> {
    let mut tape = vec![None];
    tape.extend((0..12).map(|at| Some(noise(seed * 1000 + at, 262_144))));
    tape.extend([None, None]);
    tape.extend((1..40).map(|at| Some(b"text on a tape ".repeat(at * 7))));
    tape.push(None);
    tape
}

#[derive(Clone)]
pub struct Outside(pub Arc<Bench>);

impl Ledger for Outside {
    fn change(&self, work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        self.0.dead()?;
        self.0.meta.lock().unwrap().transaction(|tx| work(tx))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        self.0.meta.lock().unwrap().read(|tx| work(tx))
    }
}

struct Clock;

impl Machine for Clock {
    fn unix_s(&self) -> u64 {
        NOW_S
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn random(&self) -> u64 {
        0
    }
}

impl World for Outside {
    fn store_of_new(&self, pool: Option<&str>) -> Result<Store, Failure> {
        match pool {
            None => Ok(self.0.store.clone()),
            Some(name) => Err(missing(&format!("there is no pool {name}"))),
        }
    }

    fn note_pool(&self, _: &mut Tx<'_>, _: CartridgeId, _: Option<&str>) -> Result<(), LibraryError> {
        Ok(())
    }

    fn store_of(&self, _: CartridgeId) -> Result<Store, Failure> {
        self.store_of_new(None)
    }

    fn held(&self, _: Option<&str>) -> Result<Vec<Held>, Failure> {
        let mut meta = self.0.meta.lock().unwrap();
        let listed = meta.read(vtl_library::cartridges).unwrap();
        let held = |one: vtl_library::Cartridge| Held {
            id: one.id,
            label: one.label,
            pool: "default".into(),
            store: self.0.store.clone(),
        };
        Ok(listed.into_iter().map(held).collect())
    }

    fn repair(&self, _: Option<&str>) -> Result<Vec<RepairReport>, Failure> {
        Ok(vec![self.0.store.repair().unwrap()])
    }

    fn runtime(&self) -> Result<Handle, Failure> {
        Ok(self.0.runtime.handle().clone())
    }

    fn settings(&self) -> Result<Settings, Failure> {
        Ok(self.0.settings.lock().unwrap().clone())
    }

    fn remote(&self, name: &str) -> Result<Arc<dyn Remote>, Failure> {
        let found = self.0.remotes.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| missing(&format!("there is no remote {name}")))
    }

    fn public_key(&self, name: &str) -> Result<PublicKey, Failure> {
        let key = private_key_of(name).ok_or_else(|| missing("there is no such key"))?;
        Ok(PublicKey::from_der(key.public().der()).unwrap())
    }

    fn private_key(&self, fingerprints: &[String]) -> Result<PrivateKey, Failure> {
        let private = self.0.private.lock().unwrap().clone();
        let fits = |key: &PrivateKey| {
            let own: String = key.public().fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
            fingerprints.contains(&own)
        };
        let found = private.into_iter().filter_map(private_key_of).find(fits);
        found.ok_or_else(|| missing("there is no such key"))
    }

    fn signing_key(&self, name: &str) -> Result<SigningKey, Failure> {
        let is_here = self.0.private.lock().unwrap().contains(&name);
        signing_key(name).filter(|_| is_here).ok_or_else(|| missing("there is no such key"))
    }

    fn signers(&self) -> Result<Vec<(String, VerifyingKey)>, Failure> {
        let names = self.0.signers.lock().unwrap().clone();
        let known = |name: &str| (name.to_owned(), signing_key(name).unwrap().verifying().unwrap());
        Ok(names.into_iter().map(known).collect())
    }

    fn checkpoint_key(&self) -> Result<Key, Failure> {
        Ok(Key::new([7; 32]))
    }

    fn random(&self) -> Randomness {
        Randomness::system()
    }

    fn unix_s(&self) -> u64 {
        *self.0.now_s.lock().unwrap()
    }

    fn change(
        &self,
        work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), LibraryError> {
        self.0.dead()?;
        self.0.refused()?;
        self.0.meta.lock().unwrap().transaction(|tx| work(tx))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), LibraryError>) -> Result<(), LibraryError> {
        self.0.meta.lock().unwrap().read(|tx| work(tx))
    }

    fn delete_here(&self, id: CartridgeId, generation: u64) -> Result<(), Failure> {
        self.0.deleted.lock().unwrap().push((id, generation));
        Ok(())
    }

    fn make_blank(
        &self,
        new: &Blank,
        also: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), LibraryError>,
    ) -> Result<(), Failure> {
        let refused = |error: LibraryError| Failure {
            class: Class::Permanent,
            code: if matches!(error, LibraryError::LabelTaken(_)) { "exists".into() } else { "full".into() },
            message: error.to_string(),
            remedy: None,
        };
        self.0.dead().map_err(|error| refused(error.into()))?;
        let mut id = [1; 16];
        id[..8].copy_from_slice(new.label.as_str().as_bytes());
        let wanted = NewCartridges {
            first: new.label,
            count: 1,
            library: Some(new.library.clone()),
            place: NewPlace::Slot,
        };
        let mut meta = self.0.meta.lock().unwrap();
        let made = meta.transaction(|tx| {
            also(tx)?;
            vtl_library::create_cartridges(tx, &wanted, &[CartridgeId(id)], new.capacity, 1)
        });
        made.map(drop).map_err(refused)
    }

    fn freed(&self, _: Option<&str>) {}

    fn freed_beside(&self, _: CartridgeId) {}

    fn vaulted(&self, _: &Ticket, label: Label, library: &str, used_bytes: u64) -> Result<(), Trouble> {
        self.0.vaulted.lock().unwrap().push(format!("{label} of {library}, {used_bytes} bytes"));
        match self.0.hook_fails.lock().unwrap().take() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    fn written_to(&self) -> Result<Vec<(String, String)>, Failure> {
        Ok(self.0.written.lock().unwrap().pop_front().unwrap_or_default())
    }
}

fn missing(text: &str) -> Failure {
    Failure { class: Class::Permanent, code: "not-found".into(), message: text.into(), remedy: None }
}

/// An object, and where and how many bytes of it were read.
pub type Got = (String, Option<(u64, u64)>);

/// A remote that notes what is put, and may hold puts up until it is told to let them go.
#[derive(Debug)]
pub struct Watched {
    pub inner: FolderRemote,
    pub puts: Mutex<Vec<String>>,
    /// And which bytes they had, as SHA-256.
    pub sent: Mutex<BTreeMap<String, Vec<[u8; 32]>>>,
    pub held: Mutex<bool>,
    /// So many puts break off.
    pub breaks: Mutex<u32>,
    /// What was read.
    pub gets: Mutex<Vec<Got>>,
    /// Chunk objects are not given out for now.
    pub gets_held: Mutex<bool>,
    /// Nothing is reached.
    pub gone: Mutex<bool>,
    /// Its hashes may be what was sent along.
    pub tells_what_was_sent: Mutex<bool>,
    /// So many bytes of chunk objects come, and no more for now.
    pub flows: Arc<Mutex<Option<u64>>>,
    /// What another server begins to send when it was looked for what is half sent.
    pub rival: Mutex<Option<PathBuf>>,
}

impl Watched {
    pub fn on(place: &Path) -> Arc<Self> {
        let inner = FolderRemote::open("r", place).unwrap();
        let no = || Mutex::new(false);
        let (puts, gets) = (Mutex::default(), Mutex::default());
        let (sent, breaks) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            inner,
            puts,
            sent,
            breaks,
            held: no(),
            gets,
            gets_held: no(),
            gone: no(),
            tells_what_was_sent: no(),
            flows: Arc::default(),
            rival: Mutex::default(),
        })
    }

    fn flowing(&self, stream: ByteStream) -> ByteStream {
        let flows = Arc::clone(&self.flows);
        let is_held = move |len: u64| match &mut *flows.lock().unwrap() {
            Some(left) if *left < len => true,
            Some(left) => {
                *left -= len;
                false
            }
            None => false,
        };
        let paced = stream.then(move |bytes| {
            let is_held = is_held.clone();
            async move {
                while bytes.as_ref().is_ok_and(|bytes| is_held(bytes.len() as u64)) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                bytes
            }
        });
        paced.boxed()
    }
}

#[async_trait]
impl Remote for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn abilities(&self) -> Abilities {
        let abilities = self.inner.abilities();
        match *self.tells_what_was_sent.lock().unwrap() {
            true => Abilities { hashes: Hashes::PerhapsSent, ..abilities },
            false => abilities,
        }
    }

    /// Tests look at what is staged.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let object = put.name.as_str().rsplit('/').next().unwrap().to_owned();
        self.puts.lock().unwrap().push(object.clone());
        self.sent.lock().unwrap().entry(object).or_default().push(put.content.sha256);
        while *self.held.lock().unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let breaks = std::mem::take(&mut *self.breaks.lock().unwrap());
        *self.breaks.lock().unwrap() = breaks.saturating_sub(1);
        if breaks > 0 {
            let (class, doing) = (vtl_remote::Class::Interrupted, vtl_remote::Doing::Put);
            return Err(Error::new(class, doing, "made to break off"));
        }
        self.inner.put(put).await
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        self.inner.create(name, bytes).await
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let object = name.as_str().rsplit('/').next().unwrap().to_owned();
        while *self.gets_held.lock().unwrap() && object.contains(".img.") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if *self.gone.lock().unwrap() {
            return Err(Error::new(
                vtl_remote::Class::Unavailable,
                vtl_remote::Doing::Get,
                "made to be away",
            ));
        }
        self.gets.lock().unwrap().push((object.clone(), span.range()));
        let stream = self.inner.get(name, span).await?;
        Ok(if object.contains(".img.") { self.flowing(stream) } else { stream })
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        self.inner.head(name).await
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        self.inner.hashes(name).await
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        self.inner.list(folder, after, most).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(name).await
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.inner.abandon(checkpoint).await
    }

    /// One at a time: not all of it need be told at once.
    async fn half_sent(&self, folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        let mut left = self.inner.half_sent(folder).await?;
        left.truncate(1);
        if let Some(rival) = self.rival.lock().unwrap().take() {
            std::fs::create_dir_all(rival.parent().unwrap()).unwrap();
            std::fs::write(rival, b"half").unwrap();
        }
        Ok(left)
    }
}

/// Files below a folder of a remote, by name.
pub fn files(place: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![place.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { all.push(path) }
        }
    }
    all.sort();
    all
}

pub fn owners(store: &Store) -> Vec<OwnerId> {
    store.owners()
}
