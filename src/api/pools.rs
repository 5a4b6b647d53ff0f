//! Requests about pools: what there is, and making, taking in and removing one while the server runs.

mod add_folder;
mod reopen;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_api::{
    AddFolder, ApiError, CreatePool, Done, Drain, Drained, ErrorCode, PoolFolder, PoolInfo, Problem,
    RemovePool,
};
use vtl_conf::{StoreEncryption, StoreKeyMethod};
use vtl_durable::RealDisk;
use vtl_library::{CartridgeState, LibraryError};
use vtl_meta::Tx;
use vtl_store::site::{self, Site};
use vtl_store::{Folder, FolderState, Health, StoreError};
use vtl_types::{LibraryName, PoolName};

use super::route::{Nothing, Route, delete, field, get, post};
use super::{parse, refused};
use crate::daemon::{Daemon, internal, invalid, lock, not_at};
use crate::own_files::not_ours;
use crate::pools::rows::{self, KeyPlace, PoolRow, PoolState};
use crate::pools::{Closed, MOST_POOLS, Pool, PoolError, overlap};
use crate::state::hexadecimal;
use crate::survey::Sight;

type Answer<T> = Result<T, ApiError>;

/// The setting of a library that names the pool for its new cartridges.
const SETTING: &str = "pool";
/// So many things in the way are named in a refusal; of more, the number.
const NAMED: usize = 5;
/// zstd's levels.
const LEVELS: std::ops::RangeInclusive<i32> = 1..=19;
/// Average lengths of chunks that there are.
const CHUNK_BYTES: [u64; 4] = [8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// As `store.size`: less holds no tape.
const LEAST_SIZE: u64 = 64 << 20;

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/pools", "All pools", |d, (), _: Nothing| d.pool_list()),
        post("/pools", "Make a pool", |d, (), b: CreatePool| d.pool_create(&b)),
        get("/pools/{name}", "One pool", |d, n: String, _: Nothing| d.pool_show(&n)),
        delete("/pools/{name}", "Remove an empty pool", |d, n: String, b: RemovePool| d.pool_remove(&n, b)),
        post("/pools/{name}/folders", "Add a folder to a pool", |d, n: String, b: AddFolder| {
            d.pool_add_folder(&n, &b)
        }),
        post("/pools/{name}/open", "Open a pool that is closed", |d, n: String, _: Nothing| d.pool_open(&n)),
        post("/pools/{name}/drain", "Empty a folder of a pool", |d, n: String, b: Drain| {
            d.pool_drain(&n, &b)
        }),
    ]
}

impl Daemon {
    /// All pools.
    pub(crate) fn pool_list(&self) -> Answer<Vec<PoolInfo>> {
        let mut all = Vec::new();
        let seen = self.pools.seen();
        for (pool, sight) in &seen.open {
            all.push(self.pool_told(pool, sight)?);
        }
        for closed in &seen.closed {
            all.push(self.closed_told(closed)?);
        }
        all.sort_by_key(|pool| (!pool.default, pool.name.clone()));
        Ok(all)
    }

    /// One pool.
    pub(crate) fn pool_show(&self, name: &str) -> Answer<PoolInfo> {
        match self.pools.one(Some(name)) {
            Ok(pool) => self.pool_told(&pool, &pool.sight()),
            Err(PoolError::Closed(closed)) => self.closed_told(&closed),
            Err(error) => Err(error.into()),
        }
    }

    fn pool_told(&self, pool: &Pool, sight: &Sight) -> Answer<PoolInfo> {
        let (folders, stats) = (&sight.folders, &sight.stats);
        let missing = folders.iter().any(|folder| folder.state == FolderState::Missing);
        let why = pool.hung_problem(sight).map(|problem| problem.message);
        let state = match pool.store.health() {
            _ if why.is_some() => "hung",
            Health::ReadOnly { .. } if missing => "degraded",
            Health::ReadOnly { .. } => "read-only",
            Health::Ok if sight.free_bytes == 0 => "full",
            Health::Ok => "ok",
        };
        let row = self.meta.read(|tx| Ok(rows::find(tx, &pool.name)?)).map_err(|error| refused(&error))?;
        Ok(PoolInfo {
            name: pool.name.to_string(),
            state: state.to_owned(),
            why,
            default: pool.name.is_default(),
            encrypted: Some(pool.store.key_status().is_some()),
            key_file: row.and_then(|row| row.key).map(|key| key.file),
            cartridges: self.cartridges_in(&pool.name)?,
            logical_bytes: stats.logical_bytes,
            unique_bytes: stats.unique_bytes,
            memory_share_bytes: pool.memory_bytes as u64,
            stored_bytes: folders.iter().map(|folder| folder.stored_bytes).sum(),
            free_bytes: sight.free_bytes,
            folders: folders.iter().map(told).collect(),
        })
    }

    fn closed_told(&self, closed: &Closed) -> Answer<PoolInfo> {
        let row = &closed.row;
        let folder = |(number, path): (usize, &PathBuf)| PoolFolder {
            path: path.display().to_string(),
            number: u32::try_from(number).unwrap_or(u32::MAX),
            state: "closed".to_owned(),
            packs: 0,
            stored_bytes: 0,
            free_bytes: 0,
            why: None,
        };
        Ok(PoolInfo {
            name: row.name.to_string(),
            state: "closed".to_owned(),
            why: Some(closed.why.clone()),
            default: false,
            encrypted: row.key.as_ref().map(|_| true),
            key_file: row.key.as_ref().map(|key| key.file.clone()),
            cartridges: self.cartridges_in(&row.name)?,
            logical_bytes: 0,
            unique_bytes: 0,
            memory_share_bytes: 0,
            stored_bytes: 0,
            free_bytes: 0,
            folders: row.all_folders().enumerate().map(folder).collect(),
        })
    }

    fn cartridges_in(&self, pool: &PoolName) -> Answer<u64> {
        self.listed_in(pool).map(|listed| listed.len() as u64).map_err(|error| refused(&error))
    }

    /// The folders that the pools' files lie in, for who makes copies.
    pub(super) fn pool_homes(&self) -> String {
        let homes = self.pools.open_ones().into_iter().map(|pool| pool.home.display().to_string());
        homes.collect::<Vec<_>>().join(", ")
    }

    /// Makes a pool, or takes one in that is there already.
    pub(crate) fn pool_create(&self, request: &CreatePool) -> Answer<Done> {
        let _one_at_a_time = lock(&self.changes);
        let row = self.wanted_pool(request)?;
        let pool = self.pools.make(&self.config(), row)?;
        if request.adopt {
            self.list_what_is_in(std::slice::from_ref(&pool))?;
        }
        self.look_after(&pool).map_err(|why| internal(&why))?;
        let export = match pool.store.key_status().is_some_and(|status| !status.exported) {
            true => format!("; export its keyring: vtl store key export FILE --pool {}", pool.name),
            false => String::new(),
        };
        let (name, listed) = (pool.name.to_string(), self.cartridges_in(&pool.name)?);
        let message = match request.adopt {
            true => format!("pool {name} is taken in, with {listed} cartridges{export}"),
            false => format!("pool {name} is made{export}"),
        };
        Ok(Done { message, names: vec![name] })
    }

    /// Everything that may be wrong with a new pool is found here, before anything is written.
    fn wanted_pool(&self, request: &CreatePool) -> Answer<PoolRow> {
        let name: PoolName = field("name", parse(&request.name))?;
        if !matches!(self.pools.named(&name), Err(PoolError::Unknown(_))) {
            return Err(ApiError::new(
                ErrorCode::Exists,
                format!("there is a pool {name}"),
                "choose another name; see vtl pool ls",
            )
            .about("name"));
        }
        if self.pools.count() >= MOST_POOLS {
            return Err(ApiError::new(
                ErrorCode::Full,
                format!("there are {MOST_POOLS} pools, and there cannot be more"),
                "give a pool more folders, or remove one",
            ));
        }
        let key = key_place(request, self.state.path())?;
        let mut folders = Vec::new();
        for path in &request.paths {
            let folder = field("paths", self.new_folder(path, &folders))?;
            folders.push(folder);
        }
        let Some((home, further)) = folders.split_first() else {
            return Err(invalid("a pool needs a folder".to_owned(), "name one with --path").about("paths"));
        };
        let store_id = field("paths", vacant_or_adopted(home, further, request.adopt))?;
        let config = self.config();
        let (average, usual) = (config.store.chunk_size.0, config.store.compression_level);
        Ok(PoolRow {
            name,
            state: if request.adopt { PoolState::Adopting } else { PoolState::Making },
            store_id,
            home: home.clone(),
            folders: further.to_vec(),
            key,
            next_key: None,
            dedupe: request.dedupe.unwrap_or(config.store.dedupe),
            chunk_bytes: field("chunk_bytes", chunk_bytes(request.chunk_bytes.unwrap_or(average)))?,
            compression_level: field("compression_level", level(request.compression_level.unwrap_or(usual)))?,
            size_bytes: field("size_bytes", request.size_bytes.map(size).transpose())?,
            created_s: crate::clock::unix_seconds(),
        })
    }

    /// A folder for a new pool: as it is found without links, in nobody's way.
    fn new_folder(&self, path: &str, before: &[PathBuf]) -> Answer<PathBuf> {
        let folder = real_path(Path::new(path))?;
        let clash = |what: String, remedy: &str| {
            ApiError::new(ErrorCode::Conflict, format!("{}: {what}", folder.display()), remedy)
        };
        let elsewhere = "name a folder of its own, on another disk as a rule";
        let state = real_path(self.state.path())?;
        if overlap(&folder, &state) {
            return Err(clash("this is in or above the state folder".to_owned(), elsewhere));
        }
        if let Some(other) = before.iter().find(|other| overlap(&folder, other)) {
            return Err(clash(
                format!("this is named twice, or is in or above {}", other.display()),
                "name each folder once, and none in another",
            ));
        }
        for (pool, other) in self.pools.folders() {
            if overlap(&folder, &real_path(&other).unwrap_or(other)) {
                return Err(clash(format!("this is in or above a folder of pool {pool}"), elsewhere));
            }
        }
        for remote in self.remotes.folders().map_err(crate::remotes::refused)? {
            if overlap(&folder, &real_path(&remote).unwrap_or(remote)) {
                return Err(clash("this is in or above the folder of a remote".to_owned(), elsewhere));
            }
        }
        Ok(folder)
    }

    /// Removes a pool that nothing is in, with its files.
    pub(crate) fn pool_remove(&self, name: &str, request: RemovePool) -> Answer<Done> {
        let (row, pool) = {
            let _one_at_a_time = lock(&self.changes);
            let pool = match self.pools.one(Some(name)) {
                Err(PoolError::Closed(closed)) => return self.remove_closed(&closed, request),
                found => found?,
            };
            self.refuse_used(&pool, request)?;
            (self.pools.begin_removal(&pool).map_err(|error| refused(&error))?, pool)
        };
        // Without the lock: the pool's threads may wait for it.
        pool.stop();
        pool.join();
        pool.store.close();
        self.pools.finish_removal(&row, pool).map_err(|why| not_all_gone(&row, &why))?;
        self.forget_problem(&crate::pools::subject(&row.name));
        Ok(removed(&row))
    }

    fn refuse_used(&self, pool: &Pool, request: RemovePool) -> Answer<()> {
        let name = &pool.name;
        let conflict =
            |message: String, remedy: String| Err(ApiError::new(ErrorCode::Conflict, message, remedy));
        if name.is_default() {
            return conflict(
                format!("{name} is the pool of the configuration and cannot be removed"),
                "remove cartridges with vtl cartridge rm, or empty one of its folders with vtl pool drain"
                    .to_owned(),
            );
        }
        if request.forget {
            let refused = conflict(
                format!("pool {name} is open: nothing of it is to be forgotten"),
                format!("vtl pool rm {name} removes it with its files"),
            );
            return field("forget", refused);
        }
        self.refuse_listed(name)?;
        let owners = pool.store.owners();
        if let Some(first) = owners.first() {
            return conflict(
                format!(
                    "pool {name} has {} cartridges that the inventory does not list, such as {}",
                    owners.len(),
                    hexadecimal(&first.0)
                ),
                "restart vtld: it lists them, or its status says why not and how each is given up; then remove them"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What the inventory has for a pool that is to go: cartridges, those in the trash and those that are kept among them; libraries; jobs.
    fn refuse_listed(&self, name: &PoolName) -> Answer<()> {
        let conflict =
            |message: String, remedy: String| Err(ApiError::new(ErrorCode::Conflict, message, remedy));
        let listed = self.listed_in(name).map_err(|error| refused(&error))?;
        if let Some(first) = listed.first() {
            let trash = |one: &vtl_library::Cartridge| match one.state {
                CartridgeState::Removing => format!("{} (in the trash)", one.label),
                CartridgeState::Normal => one.label.to_string(),
            };
            return conflict(
                format!("pool {name} has {} cartridges: {}", listed.len(), some(listed.iter().map(trash))),
                format!("remove them first: vtl cartridge rm {0} --now --confirm {0}", first.label),
            );
        }
        for live in self.libraries() {
            if self.pool_setting(&live.name)?.as_ref() == Some(name) {
                return conflict(
                    format!("new cartridges of library {} go into pool {name}", live.name),
                    format!("vtl library set {} pool=default", live.name),
                );
            }
        }
        let jobs = self.jobs.about(name.as_str())?;
        if let Some(first) = jobs.first() {
            return conflict(
                format!(
                    "jobs about pool {name} have not ended: {}",
                    some(jobs.iter().map(ToString::to_string))
                ),
                format!("vtl job cancel {first}"),
            );
        }
        Ok(())
    }

    /// A pool that is not open: only one that was never used, or whose removal has begun, is touched.
    fn remove_closed(&self, closed: &Arc<Closed>, request: RemovePool) -> Answer<Done> {
        let row = &closed.row;
        self.refuse_listed(&row.name)?;
        let is_ours = matches!(row.state, PoolState::Making | PoolState::Removing);
        if is_ours && !request.forget {
            self.pools.erase(row).map_err(|why| not_all_gone(row, &why))?;
            return Ok(removed(row));
        }
        self.pools.forget(&row.name)?;
        let message = format!(
            "pool {} is not listed any more; what is in its folders was left as it is: {}",
            row.name,
            some(row.all_folders().map(|folder| folder.display().to_string()))
        );
        Ok(Done { message, names: vec![row.name.to_string()] })
    }

    /// Moves all packs of a folder to the others. A pool that the inventory lists does without the folder from the next start on.
    pub(crate) fn pool_drain(&self, name: &str, request: &Drain) -> Answer<Drained> {
        let pool = self.pools.one(Some(name))?;
        let folder = Path::new(&request.path);
        let report = pool.store.drain(folder).map_err(|error| match error {
            StoreError::Folder { .. } => {
                invalid(error.to_string(), "see vtl pool ls for the folders that there are").about("path")
            }
            other => self.not_collected(&other),
        })?;
        if report.left == 0 && !pool.name.is_default() {
            self.meta
                .change(|tx| Ok(rows::drop_folder(tx, folder).map(drop)?))
                .map_err(|error| refused(&error))?;
        }
        Ok(Drained { moved: report.moved, moved_bytes: report.moved_bytes, left: report.left })
    }

    /// The pool for a new cartridge: the one that was asked for, or its library's, or the default one.
    pub(crate) fn pool_of_new(
        &self,
        library: Option<&LibraryName>,
        asked: Option<&str>,
    ) -> Answer<Arc<Pool>> {
        match (asked, library) {
            (Some(_), _) | (None, None) => Ok(self.pools.one(asked)?),
            (None, Some(library)) => {
                Ok(self.pools.named(&self.pool_setting(library)?.unwrap_or_default())?)
            }
        }
    }

    /// The pool that a library puts new cartridges into, if it says so.
    pub(super) fn pool_setting(&self, library: &LibraryName) -> Answer<Option<PoolName>> {
        let settings =
            self.meta.read(|tx| vtl_library::settings(tx, library)).map_err(|error| refused(&error))?;
        let found = settings.into_iter().find(|(key, _)| key == SETTING).map(|(_, value)| value);
        found
            .map(|name| name.parse())
            .transpose()
            .map_err(|e: vtl_types::PoolNameError| internal(&e.to_string()))
    }

    /// A pool that a library is to name; it must be open.
    pub(super) fn pool_to_set(&self, asked: Option<&str>) -> Answer<Option<PoolName>> {
        Ok(asked.map(|name| self.pools.one(Some(name))).transpose()?.map(|pool| pool.name.clone()))
    }

    /// What a removal for good cannot reach.
    pub(super) fn left_behind(&self, cartridge: &vtl_library::Cartridge) -> String {
        match self.pools.of(cartridge.id) {
            Err(PoolError::Closed(closed)) => format!(
                " from the inventory; its data is in pool {}, which is not open, and is listed again with it",
                closed.row.name
            ),
            _ => String::new(),
        }
    }
}

/// Which pool a library's new cartridges go into; the default one needs no note.
pub(super) fn set_pool(
    tx: &mut Tx<'_>,
    library: &LibraryName,
    pool: Option<&PoolName>,
) -> Result<(), LibraryError> {
    match pool {
        None => Ok(()),
        Some(pool) if pool.is_default() => vtl_library::set_setting(tx, library, SETTING, None),
        Some(pool) => vtl_library::set_setting(tx, library, SETTING, Some(pool.as_str())),
    }
}

/// Folders of a pool that an operator has to look after.
pub(crate) fn folder_problems(folders: &[Folder]) -> Vec<Problem> {
    // With one folder a write that failed is tried again there, and what stays is told by drives and pool.
    let failed = folders.iter().filter(|_| folders.len() > 1).filter_map(|folder| match &folder.state {
        FolderState::Failed { why } => Some((folder, why)),
        _ => None,
    });
    let problem = |(folder, why): (&Folder, &String)| Problem {
        subject: folder.path.display().to_string(),
        message: format!("this folder of the pool gets no new packs: {why}"),
        remedy: "check its disk, then restart vtld; or move its packs to the others: vtl pool drain"
            .to_owned(),
    };
    failed.map(problem).collect()
}

/// The first of them, and how many more.
fn some(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let named = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn removed(row: &PoolRow) -> Done {
    Done {
        message: format!(
            "pool {} is removed, and its files are: {} can be used for something else",
            row.name,
            some(row.all_folders().map(|folder| folder.display().to_string()))
        ),
        names: vec![row.name.to_string()],
    }
}

fn not_all_gone(row: &PoolRow, why: &str) -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        format!("pool {} is no pool any more, but not all of its files are gone: {why}", row.name),
        format!(
            "vtl pool rm {0} tries again, as the next start does; vtl pool rm {0} --forget leaves them",
            row.name
        ),
    )
}

/// The path without links. Of a folder that is still to be made, its parent's.
fn real_path(path: &Path) -> Answer<PathBuf> {
    let wrong = |why: String| {
        invalid(
            format!("{}: {why}", path.display()),
            "write an absolute path of a folder, whose parent must be there",
        )
    };
    if !path.is_absolute() {
        return Err(wrong("this is no absolute path".to_owned()));
    }
    let found = match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(found), ..) => found,
        (Err(error), Some(parent), Some(name)) if error.kind() == std::io::ErrorKind::NotFound => {
            parent.canonicalize().map_err(|error| wrong(error.to_string()))?.join(name)
        }
        (Err(error), ..) => return Err(wrong(error.to_string())),
    };
    match found.to_str() {
        Some(_) => Ok(found),
        None => Err(wrong("it is no text in UTF-8".to_owned())),
    }
}

/// A folder that cannot be looked at.
fn unseen(error: &StoreError, field: &str) -> ApiError {
    let remedy = "let the server's user read the folder, or name another one";
    match error {
        StoreError::Io(disk) => not_at(field, error.to_string(), disk.blame(), remedy),
        _ => invalid(error.to_string(), remedy).about(field),
    }
}

/// Folders of a new pool are empty; a pool that is taken in is where its home is said to be.
fn vacant_or_adopted(home: &Path, further: &[PathBuf], adopt: bool) -> Answer<Option<[u8; 16]>> {
    let disk = RealDisk::new();
    let look = |folder: &Path| site::look(&disk, folder).map_err(|error| unseen(&error, "paths"));
    let refuse = |folder: &Path, what: &str, remedy: &str| {
        ApiError::new(ErrorCode::Conflict, format!("{}: {what}", folder.display()), remedy)
    };
    if adopt {
        return match look(home)? {
            Site::Home(id) => Ok(Some(id)),
            _ => Err(refuse(
                home,
                "there is no pool's home here",
                "name the folder with the file `pool` first; without --adopt a new pool is made",
            )),
        };
    }
    for folder in std::iter::once(home).chain(further.iter().map(PathBuf::as_path)) {
        let (what, remedy) = match look(folder)? {
            Site::Missing | Site::Blank => continue,
            Site::Home(_) => (
                "a pool is here already, and is not overwritten".to_owned(),
                "take it in with --adopt, with all of its folders; or name an empty folder",
            ),
            Site::Member(_) => (
                "a folder of a pool is here already, and is not overwritten".to_owned(),
                "take the pool in with --adopt, its home first; or name an empty folder",
            ),
            Site::Other(name) => (format!("this holds {name}"), "name an empty folder"),
        };
        return Err(refuse(folder, &what, remedy));
    }
    Ok(None)
}

fn key_place(request: &CreatePool, state: &Path) -> Answer<Option<KeyPlace>> {
    let place = |method, file: &String| {
        read_key(state, file, method).map(|_| Some(KeyPlace { method, file: file.clone() }))
    };
    match (&request.key_file, &request.passphrase_file) {
        (Some(file), None) => field("key_file", place(StoreKeyMethod::KeyFile, file)),
        (None, Some(file)) => field("passphrase_file", place(StoreKeyMethod::PassphraseFile, file)),
        (Some(_), Some(_)) => {
            let error = invalid("there are two keys".to_owned(), "name a key file or a passphrase file");
            Err(error.about("passphrase_file"))
        }
        (None, None) if request.encrypted => {
            let error = invalid(
                "an encrypted pool needs a key".to_owned(),
                "name --key-file FILE (head -c 32 /dev/urandom, mode 0600) or --passphrase-file FILE",
            );
            Err(error.about("key_file"))
        }
        (None, None) => Ok(None),
    }
}

/// What is in a file with a key for a pool. The file is none of the server's own.
pub(super) fn read_key(state: &Path, file: &str, method: StoreKeyMethod) -> Answer<StoreEncryption> {
    let remedy = "name a file of mode 0600 with the key, by its whole path, in a folder of your own";
    let path = not_ours(state, Path::new(file)).map_err(|why| invalid(format!("{file}: {why}"), remedy))?;
    vtl_conf::store_key(&path, method).map_err(|(problem, remedy)| invalid(problem, &remedy))
}

fn chunk_bytes(bytes: u64) -> Answer<u64> {
    match CHUNK_BYTES.contains(&bytes) {
        true => Ok(bytes),
        false => Err(invalid(format!("chunks cannot have {bytes} bytes"), "write 8k, 16k, 32k or 64k")),
    }
}

fn level(level: i32) -> Answer<i32> {
    match LEVELS.contains(&level) {
        true => Ok(level),
        false => Err(invalid(format!("there is no zstd level {level}"), "write a level from 1 to 19")),
    }
}

fn size(bytes: u64) -> Answer<u64> {
    match bytes >= LEAST_SIZE {
        true => Ok(bytes),
        false => Err(invalid(format!("a pool of {bytes} bytes holds nothing"), "write a size from 64m")),
    }
}

fn told(folder: &Folder) -> PoolFolder {
    let (state, why) = match &folder.state {
        FolderState::InUse => ("in-use", None),
        FolderState::Full => ("full", None),
        FolderState::Failed { why } => ("failed", Some(why.clone())),
        FolderState::Leaving => ("leaving", None),
        FolderState::Empty => ("empty", None),
        FolderState::Missing => ("missing", None),
    };
    PoolFolder {
        path: folder.path.display().to_string(),
        number: folder.number,
        state: state.to_owned(),
        packs: folder.packs,
        stored_bytes: folder.stored_bytes,
        free_bytes: folder.free_bytes,
        why,
    }
}
