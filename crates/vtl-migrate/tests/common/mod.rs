//! A server without a server: a store, an inventory that dies when it is told to, remotes, and the job manager with all engines.
#![allow(dead_code, missing_docs, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::{Handle, Runtime};
use vtl_cartridge::{Cartridge, CartridgeSpec, Object, Reading};
use vtl_codec::{Key, Method, PrivateKey, PublicKey, Randomness};
use vtl_durable::SimDisk;
use vtl_jobs::{
    Class, Failure, Job, JobError, JobId, Ledger, Machine, Manager, NewJob, RetryRule, RetryRules, Ticket,
    Work,
};
use vtl_library::{LibraryError, NewCartridges, NewPlace};
use vtl_meta::{Meta, MetaError, Module, Tx};
use vtl_migrate::{Defaults, Export, Import, Prune, Settings, Verify, World};
use vtl_remote::{
    Abilities, ByteStream, Checkpoint, Error, Folder, FolderRemote, Head, Limiter, Mode, ObjectName, Page,
    Put, Receipt, Remote, Span, StoredHash,
};
use vtl_store::{Options, OwnerId, Store};
use vtl_transfer::Trouble;
use vtl_types::{ByteCount, CartridgeId, Label};

pub const PATIENCE: Duration = Duration::from_secs(600);
pub const KEY: &str = "k";
static MODULES: [Module; 3] = [vtl_library::MODULE, vtl_jobs::MODULE, vtl_migrate::MODULE];

pub fn private_key() -> PrivateKey {
    PrivateKey::from_pem(include_bytes!("../../../vtl-bundle/tests/vectors/none-sealed/made-up-key-1.pem"))
        .unwrap()
}

/// What outlives every process of one server.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: Store,
    pub meta: Arc<Mutex<Meta>>,
    /// So many changes of the inventory are left before the process is gone.
    left: Arc<AtomicI64>,
    pub runtime: Runtime,
    pub remotes: Mutex<BTreeMap<String, Arc<dyn Remote>>>,
    pub settings: Mutex<Settings>,
    /// Cartridges that were removed here, with their generations.
    pub deleted: Mutex<Vec<(CartridgeId, u64)>>,
    pub now_s: Mutex<u64>,
    /// What the site was told of, and what it answers the next time.
    pub vaulted: Mutex<Vec<String>>,
    pub hook_fails: Mutex<Option<Failure>>,
}

/// 2026-11-26 03:15:00 UTC.
pub const NOW_S: u64 = 1_795_662_900;

impl Bench {
    pub fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Arc::new(SimDisk::new(1)), Path::new("/pool"), Options::small()).unwrap();
        let meta = Meta::open(&folder.path().join("db"), &MODULES).unwrap();
        let settings = Settings {
            staging: folder.path().join("staging"),
            margin_bytes: 0,
            slots: 3,
            limiter: Limiter::unlimited(),
            verify: Mode::RemoteHash,
            defaults: Defaults {
                remote: Some("r".into()),
                key: None,
                chunk_bytes: 1 << 20,
                compress: Method::Zstd,
                delete_after_export: false,
            },
        };
        Arc::new(Self {
            folder,
            store,
            meta: Arc::new(Mutex::new(meta)),
            left: Arc::new(AtomicI64::new(i64::MAX)),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap(),
            remotes: Mutex::default(),
            settings: Mutex::new(settings),
            deleted: Mutex::default(),
            now_s: Mutex::new(NOW_S),
            vaulted: Mutex::default(),
            hook_fails: Mutex::default(),
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
        self.left.store(i64::MAX, Ordering::SeqCst);
        vtl_transfer::empty(&self.settings.lock().unwrap().staging, &[]).unwrap();
        for owner in self.store.owners() {
            let facts = Cartridge::inspect(&self.store, CartridgeId(owner.0)).unwrap();
            if facts.unfinished {
                self.store.remove(owner).unwrap();
            }
        }
        let world: Arc<dyn World> = Arc::new(Outside(Arc::clone(self)));
        let works: Vec<Arc<dyn Work>> = vec![
            Arc::new(Export::new(world.clone())),
            Arc::new(Import::new(world.clone())),
            Arc::new(Verify::new(world.clone())),
            Arc::new(Prune::new(world)),
        ];
        let at_once = RetryRule { attempts: Some(3), pause_s: 0, max_pause_s: 0 };
        let settings = vtl_jobs::Settings {
            retry: RetryRules { temporary: at_once, busy: RetryRule { attempts: None, ..at_once } },
            ..vtl_jobs::Settings::default()
        };
        let manager =
            Manager::open(Box::new(Outside(Arc::clone(self))), Box::new(Clock), works, settings).unwrap();
        manager.start().unwrap();
        manager
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
        let new = NewCartridges { first: label, count: 1, library: None, place: NewPlace::Vault };
        let mut meta = self.meta.lock().unwrap();
        meta.transaction(|tx| vtl_library::create_cartridges(tx, &new, &[id], ByteCount(1 << 30), 1))
            .unwrap();
        drop(meta);
        self.append(id, tape);
        id
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
                Object::Block { data, .. } => all.push(Some(data.concat())),
                Object::Filemark => all.push(None),
                Object::EndOfData => return all,
            }
        }
    }

    pub fn rows(&self) -> Vec<vtl_migrate::Row> {
        self.meta.lock().unwrap().read(vtl_migrate::all).unwrap()
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
    fn store_of_new(&self) -> Result<Store, Failure> {
        Ok(self.0.store.clone())
    }

    fn store_of(&self, _: CartridgeId) -> Result<Store, Failure> {
        self.store_of_new()
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
        if name != KEY {
            return Err(missing("there is no such key"));
        }
        Ok(PublicKey::from_der(private_key().public().der()).unwrap())
    }

    fn private_key(&self, fingerprints: &[String]) -> Result<PrivateKey, Failure> {
        let key = private_key();
        let own: String = key.public().fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        if fingerprints.contains(&own) { Ok(key) } else { Err(missing("there is no such key")) }
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
        self.0.meta.lock().unwrap().transaction(|tx| work(tx))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), LibraryError>) -> Result<(), LibraryError> {
        self.0.meta.lock().unwrap().read(|tx| work(tx))
    }

    fn delete_here(&self, id: CartridgeId, generation: u64) -> Result<(), Failure> {
        self.0.deleted.lock().unwrap().push((id, generation));
        Ok(())
    }

    fn freed(&self) {}

    fn vaulted(&self, _: &Ticket, label: Label, library: &str, used_bytes: u64) -> Result<(), Trouble> {
        self.0.vaulted.lock().unwrap().push(format!("{label} of {library}, {used_bytes} bytes"));
        match self.0.hook_fails.lock().unwrap().take() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    fn written_to(&self) -> Result<Vec<(String, String)>, Failure> {
        Ok(Vec::new())
    }
}

fn missing(text: &str) -> Failure {
    Failure { class: Class::Permanent, code: "not-found".into(), message: text.into(), remedy: None }
}

/// A remote that notes what is put, and may hold puts up until it is told to let them go.
#[derive(Debug)]
pub struct Watched {
    pub inner: FolderRemote,
    pub puts: Mutex<Vec<String>>,
    pub held: Mutex<bool>,
}

impl Watched {
    pub fn on(place: &Path) -> Arc<Self> {
        let inner = FolderRemote::open("r", place).unwrap();
        Arc::new(Self { inner, puts: Mutex::default(), held: Mutex::new(false) })
    }
}

#[async_trait]
impl Remote for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        self.puts.lock().unwrap().push(put.name.as_str().rsplit('/').next().unwrap().to_owned());
        while *self.held.lock().unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.inner.put(put).await
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        self.inner.create(name, bytes).await
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        self.inner.get(name, span).await
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
