//! Pools: each a store of its own with the threads that look after it, and which of them a cartridge is in.
//!
//! The pool `default` is what `store.path` and the keys beside it say; without it the server does not start. All others are listed in the inventory
//! ([`rows`]), made and removed while the server runs (`crate::api::pools`), and opened at each start. One that cannot be opened is *closed*: its
//! cartridges cannot be loaded, the status names it, and everything else works.
//!
//! What a crash leaves, and what the next start does about it: a pool that was being made is made whole, one that was being taken in is taken in,
//! one that was being removed is removed. Where that fails it is closed, and `vtl pool rm` forgets it.

mod memory;
pub(crate) mod rows;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tracing::{error, info};
use vtl_api::{ApiError, ErrorCode};
use vtl_conf::{Config, StoreEncryption, StoreKeyMethod};
use vtl_durable::{Blame, DiskError, RealDisk};
use vtl_library::LibraryError;
use vtl_meta::Tx;
use vtl_store::{DirectIo, Encryption, Options, OwnerId, PoolKey, Store, StoreError, site};
use vtl_types::{CartridgeId, PoolName};

use crate::api::refused;
use crate::daemon::{invalid, lock, not_at};
use crate::keeper::Keeper;
use crate::meta::SharedMeta;
use crate::scrub::Scrub;
use crate::survey::Survey;
use memory::Shares;
use rows::{KeyPlace, PoolRow, PoolState};

/// So many pools there may be, the default one among them: each takes memory, three threads here and those of its store, one for each processor.
pub(crate) const MOST_POOLS: usize = 16;
/// How often and how long it is waited for whoever still reads a pool that is removed.
const RELEASED_LOOK: Duration = Duration::from_millis(20);
const RELEASED_LOOKS: u32 = 500;

/// A pool that is open, and what looks after it.
pub(crate) struct Pool {
    pub(crate) name: PoolName,
    pub(crate) store: Store,
    pub(crate) keeper: Keeper,
    pub(crate) scrub: Scrub,
    pub(crate) survey: Survey,
    /// Its first folder.
    pub(crate) home: PathBuf,
    /// Its share of `store.memory`.
    pub(crate) memory_bytes: usize,
    /// What is in it is to be listed as it is: it was there before.
    pub(crate) is_adopted: bool,
}

impl Pool {
    fn new(name: PoolName, store: Store, home: &Path, memory_bytes: usize, is_adopted: bool) -> Arc<Self> {
        let (keeper, scrub, survey) = (Keeper::default(), Scrub::default(), Survey::new(&store, home));
        Arc::new(Self { name, store, keeper, scrub, survey, home: home.to_owned(), memory_bytes, is_adopted })
    }

    /// How the status calls it.
    pub(crate) fn subject(&self) -> String {
        subject(&self.name)
    }

    /// What is told with its name, unless there was one pool only.
    pub(crate) fn has(&self, id: CartridgeId) -> bool {
        self.store.owners().contains(&OwnerId(id.0))
    }

    /// Its threads begin nothing any more.
    pub(crate) fn stop(&self) {
        self.keeper.stop();
        self.scrub.stop();
        self.survey.stop();
        self.store.stop_collecting();
    }

    /// Waits for their end.
    pub(crate) fn join(&self) {
        self.keeper.join();
        self.scrub.join();
        self.survey.join();
    }
}

/// How the status calls a pool: there was one for long.
pub(crate) fn subject(name: &PoolName) -> String {
    if name.is_default() { "store".to_owned() } else { format!("pool {name}") }
}

/// A pool that is listed and not open.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    pub(crate) row: PoolRow,
    pub(crate) why: String,
}

impl Closed {
    /// How the status calls it.
    pub(crate) fn subject(&self) -> String {
        subject(&self.row.name)
    }

    /// What helps.
    pub(crate) fn remedy(&self) -> String {
        let name = &self.row.name;
        match self.row.state {
            PoolState::Removing => format!("vtl pool rm {name} tries again"),
            _ => format!("mount its disks, put its key file in its place, then: vtl pool open {name}"),
        }
    }
}

/// A pool beside the default one.
#[derive(Clone)]
enum Entry {
    Open(Arc<Pool>),
    Closed(Arc<Closed>),
}

/// Why a pool cannot be used.
#[derive(Debug)]
pub(crate) enum PoolError {
    Unknown(String),
    Closed(Arc<Closed>),
    Inventory(LibraryError),
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no pool {name}"),
            Self::Closed(closed) => write!(f, "pool {} is not open: {}", closed.row.name, closed.why),
            Self::Inventory(error) => error.fmt(f),
        }
    }
}

impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        let (code, remedy) = match &error {
            PoolError::Unknown(_) => (ErrorCode::NotFound, "see vtl pool ls".to_owned()),
            PoolError::Closed(closed) => (ErrorCode::Conflict, closed.remedy()),
            PoolError::Inventory(error) => return refused(error),
        };
        Self::new(code, error.to_string(), remedy)
    }
}

/// Why the files of a pool are not opened.
#[derive(Debug)]
pub(crate) enum NotOpened {
    /// The configuration gives one of its folders to the default pool.
    OfDefault(PathBuf),
    /// A folder cannot be made.
    Folder(DiskError),
    /// The file with its key cannot be read: what is wrong with it, and what helps.
    KeyFile(String, String),
    Store(StoreError),
    /// Neither the key before a rotation opens it nor the one after.
    NeitherKey(Box<NotOpened>, Box<NotOpened>),
    Inventory(LibraryError),
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfDefault(folder) => {
                write!(f, "{}: the configuration gives this folder to the default pool", folder.display())
            }
            Self::Folder(error) => error.fmt(f),
            Self::KeyFile(problem, remedy) => write!(f, "{problem}; {remedy}"),
            Self::Store(error) => error.fmt(f),
            Self::NeitherKey(before, after) => write!(f, "{before}; {after}"),
            Self::Inventory(error) => f.write_str(&error.advised()),
        }
    }
}

impl From<StoreError> for NotOpened {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LibraryError> for NotOpened {
    fn from(error: LibraryError) -> Self {
        Self::Inventory(error)
    }
}

impl NotOpened {
    /// Told to whoever asked for the pool with this key.
    fn refused(&self, key: Option<&KeyPlace>) -> ApiError {
        let member = match key.map(|key| key.method) {
            Some(StoreKeyMethod::PassphraseFile) => "passphrase_file",
            Some(StoreKeyMethod::KeyFile) | None => "key_file",
        };
        let told = self.to_string();
        match self {
            Self::KeyFile(problem, remedy) => invalid(problem.clone(), remedy).about(member),
            Self::Store(StoreError::Key { .. }) if key.is_none() => {
                let remedy = "name --key-file FILE or --passphrase-file FILE, with what opens the pool";
                invalid(told, remedy).about(member)
            }
            Self::Store(StoreError::Key { .. }) => {
                invalid(told, "name what opens the pool; none, if it is not encrypted").about(member)
            }
            Self::Store(StoreError::Folder { .. }) | Self::OfDefault(_) => {
                invalid(told, "name the folders of this pool and of no other, its home first").about("paths")
            }
            Self::Store(StoreError::Format { .. } | StoreError::Damaged { .. }) => {
                invalid(told, "name a pool that is whole and that no newer version has made").about("paths")
            }
            Self::Store(StoreError::Io(error)) if error.blame() == Blame::InUse => {
                ApiError::new(ErrorCode::Conflict, told, "stop the other vtld")
            }
            Self::Store(StoreError::Full { .. }) => not_at("paths", told, Blame::Space, PARENT_THERE),
            Self::Folder(error) | Self::Store(StoreError::Io(error)) => {
                not_at("paths", told, error.blame(), PARENT_THERE)
            }
            Self::Inventory(error) => refused(error),
            _ => ApiError::new(ErrorCode::Internal, told, SEE_DISK),
        }
    }
}

/// What helps when neither the request nor what there is is to blame.
pub(crate) const SEE_DISK: &str = "see the log, and check the disk";

/// What helps when the server cannot make a folder, or use it.
pub(crate) const PARENT_THERE: &str = "name a folder that vtld may write to, and whose parent is there";

/// All pools.
pub(crate) struct Pools {
    meta: SharedMeta,
    default: Arc<Pool>,
    others: RwLock<BTreeMap<PoolName, Entry>>,
    shares: Mutex<Shares>,
}

impl Pools {
    /// Opens all that are listed.
    ///
    /// # Errors
    /// The default one cannot be opened, or the inventory cannot be read.
    pub(crate) fn open(config: &Config, meta: &SharedMeta) -> Result<Self, String> {
        let listed = meta.read(|tx| Ok(rows::all(tx)?)).map_err(|error| error.advised())?;
        let total = usize::try_from(config.store.memory.0).unwrap_or(usize::MAX);
        let (shares, each) = Shares::of(total, listed.len() + 1);
        let options = default_options(config, each);
        let home = &config.store.path;
        let store = open_store(home, options).map_err(|error| error.to_string())?;
        let pools = Self {
            meta: meta.clone(),
            default: Pool::new(PoolName::default(), store, home, each, false),
            others: RwLock::default(),
            shares: Mutex::new(shares),
        };
        listed.into_iter().for_each(|row| pools.open_listed(config, row, each));
        Ok(pools)
    }

    /// At a start: what the row says is brought to its end.
    fn open_listed(&self, config: &Config, row: PoolRow, share: usize) {
        if row.state == PoolState::Removing {
            lock(&self.shares).give_back(share);
            let _ = self.erase(&row);
            return;
        }
        let name = row.name.clone();
        let opened = refuse_under_default(config, &row)
            .and_then(|()| make_folders(&row))
            .and_then(|()| self.open_row(config, row.clone(), share));
        if let Err(why) = opened {
            lock(&self.shares).give_back(share);
            let why = why.to_string();
            error!(pool = %name, why, "a pool is not open; its cartridges cannot be used");
            self.close(row, why);
        }
    }

    /// Opens a pool, notes that it is there, and puts it with the others.
    fn open_row(&self, config: &Config, mut row: PoolRow, share: usize) -> Result<Arc<Pool>, NotOpened> {
        let pool = self.open_alone(config, &mut row, share)?;
        self.enter(&pool);
        Ok(pool)
    }

    /// From here on everybody finds it.
    pub(crate) fn enter(&self, pool: &Arc<Pool>) {
        self.write().insert(pool.name.clone(), Entry::Open(pool.clone()));
    }

    /// Opens a pool, and notes that it is there.
    fn open_alone(&self, config: &Config, row: &mut PoolRow, share: usize) -> Result<Arc<Pool>, NotOpened> {
        let store = open_with_its_key(config, row, share)?;
        let is_adopted = row.state == PoolState::Adopting;
        if row.state == PoolState::Making {
            (row.state, row.store_id) = (PoolState::Normal, Some(store.id()));
        }
        self.meta.change(|tx| Ok(rows::update(tx, row)?))?;
        Ok(Pool::new(row.name.clone(), store, &row.home, share, is_adopted))
    }

    /// Opens one that was closed, as a start does. Nobody finds it before [`Pools::enter`]; who gives it up hands it to [`Pools::close_again`].
    ///
    /// # Errors
    /// It stays closed, and the reason is the one of now.
    pub(crate) fn reopen(&self, config: &Config, closed: &Closed) -> Result<(PoolRow, Arc<Pool>), ApiError> {
        let share = self.share()?;
        let mut row = closed.row.clone();
        let opened = refuse_under_default(config, &row)
            .and_then(|()| make_folders(&row))
            .and_then(|()| self.open_alone(config, &mut row, share));
        match opened {
            Ok(pool) => Ok((row, pool)),
            Err(why) => {
                let why = why.to_string();
                lock(&self.shares).give_back(share);
                self.close(closed.row.clone(), why.clone());
                let now = Closed { row: closed.row.clone(), why };
                Err(PoolError::Closed(Arc::new(now)).into())
            }
        }
    }

    /// One that was opened and is not to be used after all.
    pub(crate) fn close_again(&self, row: PoolRow, pool: Arc<Pool>, why: &str) {
        let share = pool.memory_bytes;
        drop(pool);
        lock(&self.shares).give_back(share);
        self.close(row, why.to_owned());
    }

    /// Memory for one pool more.
    fn share(&self) -> Result<usize, ApiError> {
        lock(&self.shares).take().ok_or_else(|| {
            ApiError::new(
                ErrorCode::Full,
                "too little of store.memory is left for another pool until the next start",
                "restart vtld, which shares it out anew; or raise store.memory",
            )
        })
    }

    /// Makes a pool whose row is new, or takes one in that was there.
    ///
    /// 1. the row; 2. its folders; 3. the pool; 4. the row again, which says that it is there.
    ///
    /// # Errors
    /// There is no pool then, unless what was made could not be removed: then it is closed, and the message says so.
    pub(crate) fn make(&self, config: &Config, row: PoolRow) -> Result<Arc<Pool>, ApiError> {
        let share = self.share()?;
        let made = self
            .meta
            .change(|tx| Ok(rows::insert(tx, &row)?))
            .map_err(NotOpened::Inventory)
            .and_then(|()| make_folders(&row))
            .and_then(|()| self.open_row(config, row.clone(), share));
        made.map_err(|why| {
            lock(&self.shares).give_back(share);
            let left = match row.state {
                PoolState::Adopting => self.forget(&row.name).err().map(ApiError::advised),
                _ => self.erase(&row).err(),
            };
            let refused = why.refused(row.key.as_ref());
            let Some(left) = left else { return refused };
            let remedy = refused.remedy.as_deref().unwrap_or_default();
            ApiError {
                message: format!("{}; what was made could not be removed: {left}", refused.message),
                remedy: Some(format!("{remedy}; vtl pool rm {} tries again to remove it", row.name)),
                ..refused
            }
        })
    }

    /// What was adopted is listed.
    pub(crate) fn adopted(&self, pool: &Pool) -> Result<(), LibraryError> {
        self.meta.change(|tx| {
            if let Some(row) = rows::find(tx, &pool.name)?.filter(|row| row.state == PoolState::Adopting) {
                rows::update(tx, &PoolRow { state: PoolState::Normal, ..row })?;
            }
            Ok(())
        })
    }

    /// The first half of a removal: from here on it is no pool. Nothing may be in it.
    ///
    /// # Errors
    /// It is not durable; nothing has changed.
    pub(crate) fn begin_removal(&self, pool: &Pool) -> Result<PoolRow, LibraryError> {
        let row = self.meta.change(|tx| {
            let mut row = rows::find(tx, &pool.name)?.ok_or_else(absent(&pool.name))?;
            row.state = PoolState::Removing;
            rows::update(tx, &row)?;
            Ok(row)
        })?;
        self.close(row.clone(), "it is being removed".to_owned());
        Ok(row)
    }

    /// The second half, when its threads have ended: its files go, then its row.
    ///
    /// # Errors
    /// What is left, and why. The next start and the next removal try again.
    pub(crate) fn finish_removal(&self, row: &PoolRow, pool: Arc<Pool>) -> Result<(), String> {
        let share = pool.memory_bytes;
        drop(pool);
        self.erase(row)?;
        lock(&self.shares).give_back(share);
        Ok(())
    }

    /// Removes the files of a pool that nothing is in, and its row. Done again it goes on.
    pub(crate) fn erase(&self, row: &PoolRow) -> Result<(), String> {
        let removed = erase_released(row).map_err(|error| error.to_string());
        let removed = removed.and_then(|()| self.forget(&row.name).map_err(ApiError::advised));
        if let Err(why) = &removed {
            error!(pool = %row.name, why, "the files of a pool that was removed are not all gone");
            self.close(row.clone(), format!("it was removed, and not all of its files are gone: {why}"));
        }
        removed
    }

    /// Lists a pool no more, and leaves its files alone.
    pub(crate) fn forget(&self, name: &PoolName) -> Result<(), ApiError> {
        let forgotten = self.meta.change(|tx| Ok(rows::remove(tx, name)?));
        forgotten.map_err(|error| refused(&error))?;
        self.write().remove(name);
        info!(pool = %name, "a pool is not listed any more");
        Ok(())
    }

    fn close(&self, row: PoolRow, why: String) {
        self.write().insert(row.name.clone(), Entry::Closed(Arc::new(Closed { row, why })));
    }

    /// Before a rotation: what is to open the pool.
    pub(crate) fn note_next_key(&self, pool: &Pool, key: &KeyPlace) -> Result<(), LibraryError> {
        self.on_row(pool, |row| row.next_key = Some(key.clone()))
    }

    /// After it.
    pub(crate) fn note_key(&self, pool: &Pool) -> Result<(), LibraryError> {
        self.on_row(pool, |row| row.key = row.next_key.take().or_else(|| row.key.take()))
    }

    /// Changes what is listed of a pool; the default one is not listed.
    fn on_row(&self, pool: &Pool, change: impl FnOnce(&mut PoolRow)) -> Result<(), LibraryError> {
        self.meta.change(|tx| match rows::find(tx, &pool.name)? {
            None => Ok(()),
            Some(mut row) => {
                change(&mut row);
                Ok(rows::update(tx, &row)?)
            }
        })
    }

    /// The pool of the configuration.
    pub(crate) fn default(&self) -> &Arc<Pool> {
        &self.default
    }

    /// All that are open, the default one first.
    pub(crate) fn open_ones(&self) -> Vec<Arc<Pool>> {
        self.all().0
    }

    /// All that are listed and not open.
    pub(crate) fn closed_ones(&self) -> Vec<Arc<Closed>> {
        self.all().1
    }

    /// Both at one moment: none is in neither because it was opened meanwhile.
    pub(crate) fn all(&self) -> (Vec<Arc<Pool>>, Vec<Arc<Closed>>) {
        let (mut open, mut closed) = (vec![self.default.clone()], Vec::new());
        for entry in self.read().values() {
            match entry {
                Entry::Open(pool) => open.push(pool.clone()),
                Entry::Closed(one) => closed.push(one.clone()),
            }
        }
        (open, closed)
    }

    /// Every folder that belongs to a pool, whatever state that is in.
    pub(crate) fn folders(&self) -> Vec<(PoolName, PathBuf)> {
        let mut all = Vec::new();
        for pool in self.open_ones() {
            all.push((pool.name.clone(), pool.home.clone()));
            all.extend(pool.store.folders().into_iter().map(|folder| (pool.name.clone(), folder.path)));
        }
        for closed in self.closed_ones() {
            all.extend(closed.row.all_folders().map(|folder| (closed.row.name.clone(), folder.clone())));
        }
        all
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.read().len() + 1
    }

    /// The pool of this name.
    pub(crate) fn named(&self, name: &PoolName) -> Result<Arc<Pool>, PoolError> {
        if name.is_default() {
            return Ok(self.default.clone());
        }
        match self.read().get(name) {
            Some(Entry::Open(pool)) => Ok(pool.clone()),
            Some(Entry::Closed(closed)) => Err(PoolError::Closed(closed.clone())),
            None => Err(PoolError::Unknown(name.to_string())),
        }
    }

    /// The one that was asked for; all open ones when none was.
    pub(crate) fn asked(&self, name: Option<&str>) -> Result<Vec<Arc<Pool>>, PoolError> {
        name.map_or_else(|| Ok(self.open_ones()), |name| Ok(vec![self.one(Some(name))?]))
    }

    /// The one that was asked for; the default one when none was.
    pub(crate) fn one(&self, name: Option<&str>) -> Result<Arc<Pool>, PoolError> {
        let Some(text) = name else { return Ok(self.default().clone()) };
        let name: PoolName = text.parse().map_err(|_| PoolError::Unknown(text.to_owned()))?;
        self.named(&name)
    }

    /// The name of the pool that a cartridge is in.
    pub(crate) fn name_of(&self, id: CartridgeId) -> Result<PoolName, PoolError> {
        self.meta.read(|tx| Ok(rows::pool_of(tx, id)?)).map_err(PoolError::Inventory)
    }

    /// The pool that a cartridge is in: the one place that says so.
    pub(crate) fn of(&self, id: CartridgeId) -> Result<Arc<Pool>, PoolError> {
        self.named(&self.name_of(id)?)
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<PoolName, Entry>> {
        self.others.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<PoolName, Entry>> {
        self.others.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("names", &self.read().keys()).finish_non_exhaustive()
    }
}

/// Notes that a new cartridge is in the pool of this name, which must be listed; in the default one without a name.
pub(crate) fn note(tx: &mut Tx<'_>, id: CartridgeId, name: Option<&str>) -> Result<(), LibraryError> {
    let pool = name.map(|text| text.parse().map_err(|_| absent(text)())).transpose()?;
    Ok(rows::put_in(tx, id, &pool.unwrap_or_default())?)
}

/// A row that the daemon has and the inventory lacks.
fn absent(name: impl fmt::Display) -> impl Fn() -> LibraryError {
    let row = vtl_meta::RowName { table: "pools", key: format!("name={name}") };
    move || LibraryError::Meta(vtl_meta::MetaError::Absent(row.clone()))
}

/// The configuration may name a folder for the default pool that another pool has had for long.
fn refuse_under_default(config: &Config, row: &PoolRow) -> Result<(), NotOpened> {
    let of_default = || std::iter::once(&config.store.path).chain(&config.store.folders);
    let clash = row.all_folders().find(|folder| of_default().any(|other| overlap(folder, other)));
    clash.map_or(Ok(()), |folder| Err(NotOpened::OfDefault(folder.clone())))
}

/// Whether one of two folders is in the other, or both are the same.
pub(crate) fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Folders that are to be there and are not yet; their parents are.
pub(crate) fn make_folders(row: &PoolRow) -> Result<(), NotOpened> {
    use vtl_durable::Disk;
    let disk = RealDisk::new();
    let make = |folder: &PathBuf| {
        disk.create_folder(folder)?;
        disk.sync_folder(folder.parent().unwrap_or(folder))
    };
    let mut missing = row.all_folders().filter(|_| row.state == PoolState::Making);
    missing.try_for_each(make).map_err(NotOpened::Folder)
}

/// Threads that read a pool may take a moment to let go of it.
fn erase_released(row: &PoolRow) -> Result<(), StoreError> {
    let erase = || site::erase(&RealDisk::new(), &row.home, &row.folders, row.store_id);
    for _ in 0..RELEASED_LOOKS {
        match erase() {
            Err(StoreError::Io(error)) if error.op == "lock" => std::thread::sleep(RELEASED_LOOK),
            erased => return erased,
        }
    }
    erase()
}

pub(crate) fn open_store(home: &Path, options: Options) -> Result<Store, StoreError> {
    Store::open(Arc::new(RealDisk::new()), home, options)
}

fn default_options(config: &Config, memory_bytes: usize) -> Options {
    Options {
        encryption: pool_key(&config.store.encryption).map(Encryption::with),
        compression_level: config.store.compression_level,
        dedupe: config.store.dedupe,
        size_bytes: config.store.size.map(|size| size.0),
        chunk_bytes: usize::try_from(config.store.chunk_size.0).unwrap_or(usize::MAX),
        folders: config.store.folders.clone(),
        ..common_options(config, memory_bytes)
    }
}

/// The key that a rotation was to bring in may be in effect or not; the one that opens the pool is the one.
fn open_with_its_key(config: &Config, row: &mut PoolRow, share: usize) -> Result<Store, NotOpened> {
    let open = |row: &PoolRow, key: Option<&KeyPlace>| {
        Ok::<_, NotOpened>(open_store(&row.home, row_options(config, row, key, share)?)?)
    };
    let next = row.next_key.take().filter(|_| row.key.is_some());
    let (before, next) = match (open(row, row.key.as_ref()), next) {
        (Err(before), Some(next)) => (before, next),
        (opened, _) => return opened,
    };
    let store =
        open(row, Some(&next)).map_err(|after| NotOpened::NeitherKey(Box::new(before), Box::new(after)))?;
    row.key = Some(next);
    Ok(store)
}

fn row_options(
    config: &Config,
    row: &PoolRow,
    key: Option<&KeyPlace>,
    memory_bytes: usize,
) -> Result<Options, NotOpened> {
    let read = key.map(|key| vtl_conf::store_key(Path::new(&key.file), key.method)).transpose();
    let read = read.map_err(|(problem, remedy)| NotOpened::KeyFile(problem, remedy))?;
    Ok(Options {
        encryption: read.as_ref().and_then(pool_key).map(Encryption::with),
        compression_level: row.compression_level,
        dedupe: row.dedupe,
        size_bytes: row.size_bytes,
        chunk_bytes: usize::try_from(row.chunk_bytes).unwrap_or(usize::MAX),
        folders: row.folders.clone(),
        pool_id: row.store_id,
        ..common_options(config, memory_bytes)
    })
}

/// What holds for every pool.
fn common_options(config: &Config, memory_bytes: usize) -> Options {
    let mut random = [0; 8];
    crate::random::fill(&mut random);
    Options {
        start_random: u64::from_le_bytes(random),
        memory_bytes,
        degraded: config.store.degraded,
        direct_io: match config.store.direct_io {
            vtl_conf::DirectIo::Auto => DirectIo::Auto,
            vtl_conf::DirectIo::On => DirectIo::On,
            vtl_conf::DirectIo::Off => DirectIo::Off,
        },
        workers: std::thread::available_parallelism().map_or(2, usize::from),
        ..Options::default()
    }
}

/// The key as the store takes it.
pub(crate) fn pool_key(configured: &StoreEncryption) -> Option<PoolKey> {
    match configured {
        StoreEncryption::None => None,
        StoreEncryption::KeyFile(key) => Some(PoolKey::File(key.clone())),
        StoreEncryption::Passphrase(words) => Some(PoolKey::Passphrase(words.clone())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn what_hinders_a_new_pool_names_what_would_have_to_change_and_a_disk_that_fails_names_nothing() {
        let disk = |kind: ErrorKind| DiskError::new("create", Path::new("/made-up"), kind.into());
        let folder = |kind| NotOpened::Folder(disk(kind));
        let of_store = || StoreError::Folder { path: "/made-up".into(), why: "made up".to_owned() };
        let of_disk = |kind| NotOpened::Store(StoreError::Io(disk(kind)));
        let full = StoreError::Full { needed_bytes: 2, free_bytes: 1 };
        let of_another_version = StoreError::Format { path: "/made-up".into(), why: "made up".to_owned() };
        let damaged = StoreError::Damaged { path: "/made-up".into(), offset: 0, why: "made up".to_owned() };
        let inventory = LibraryError::NotInstalled;
        for (error, code, member) in [
            (folder(ErrorKind::NotFound), ErrorCode::Invalid, Some("paths")),
            (folder(ErrorKind::PermissionDenied), ErrorCode::Invalid, Some("paths")),
            (folder(ErrorKind::NotADirectory), ErrorCode::Invalid, Some("paths")),
            (folder(ErrorKind::ReadOnlyFilesystem), ErrorCode::Invalid, Some("paths")),
            (folder(ErrorKind::StorageFull), ErrorCode::Full, Some("paths")),
            (folder(ErrorKind::Other), ErrorCode::Internal, None),
            (NotOpened::OfDefault("/made-up".into()), ErrorCode::Invalid, Some("paths")),
            (NotOpened::Store(of_store()), ErrorCode::Invalid, Some("paths")),
            (of_disk(ErrorKind::PermissionDenied), ErrorCode::Invalid, Some("paths")),
            (of_disk(ErrorKind::ReadOnlyFilesystem), ErrorCode::Invalid, Some("paths")),
            (of_disk(ErrorKind::QuotaExceeded), ErrorCode::Full, Some("paths")),
            (of_disk(ErrorKind::ResourceBusy), ErrorCode::Conflict, None),
            (of_disk(ErrorKind::Other), ErrorCode::Internal, None),
            (NotOpened::Store(full), ErrorCode::Full, Some("paths")),
            (NotOpened::Store(of_another_version), ErrorCode::Invalid, Some("paths")),
            (NotOpened::Store(damaged), ErrorCode::Invalid, Some("paths")),
            (NotOpened::Inventory(inventory), ErrorCode::Internal, None),
        ] {
            let refused = error.refused(None);
            assert_eq!((refused.code, refused.field.as_deref()), (code, member), "{error:?}");
            assert!(refused.remedy.is_some(), "{error:?}");
        }
    }

    #[test]
    fn a_pool_that_is_in_use_or_not_opened_by_the_unit_has_a_remedy_of_its_own() {
        for (kind, part) in [
            (ErrorKind::ResourceBusy, "stop the other vtld"),
            (ErrorKind::ReadOnlyFilesystem, "ReadWritePaths=-/FOLDER (systemctl edit vtld)"),
        ] {
            let error = DiskError::new("lock", Path::new("/made-up"), kind.into());
            let remedy = NotOpened::Store(StoreError::Io(error)).refused(None).remedy.unwrap();
            assert!(remedy.contains(part), "{remedy}");
        }
    }
}
