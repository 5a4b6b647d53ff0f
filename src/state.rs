//! The state folder: mode 0700, one daemon at a time, and the token of the API.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;
use vtl_durable::RealDisk;
use vtl_durable::sealed::{self, SealedError};
use vtl_meta::MetaError;

use crate::ballast::Ballast;
use crate::meta::SharedMeta;
use crate::sealing::{SEALED, Sealing, What, begins_sealed};

/// Bytes of a copy of the inventory that are read in one go.
const COPIED_AT_ONCE: usize = 1 << 20;

/// An open state folder. The lock on it lasts as long as this value.
pub struct StateFolder {
    path: PathBuf,
    ballast: Ballast,
    sealing: Sealing,
    /// Who stages a restore: all use the same name for what is not yet checked.
    staging: Mutex<()>,
    _lock: File,
}

/// Why the state folder cannot be used.
#[derive(Debug)]
pub enum StateError {
    /// A system call on this path failed.
    Io(PathBuf, io::Error),
    /// Another daemon has it; its process id, if it left one.
    InUse(PathBuf, String),
    /// Others could read it: its mode.
    TooOpen(PathBuf, u32),
    /// Others could read this file in it: its mode.
    FileTooOpen(PathBuf, u32),
    /// This secret file is there, and no secret can be had from it; why.
    Secret(PathBuf, String),
}

impl std::fmt::Display for StateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => {
                write!(f, "state folder: {}: {error}; choose another with --state", path.display())
            }
            Self::InUse(path, pid) => write!(
                f,
                "state folder {} is in use by another vtld (process {pid}); stop that one or choose another folder with --state",
                path.display()
            ),
            Self::TooOpen(path, mode) => write!(
                f,
                "state folder {0} has mode {mode:04o}, so others can read the tapes; run: chmod 700 {0}",
                path.display()
            ),
            Self::FileTooOpen(path, mode) => write!(
                f,
                "{0} has mode {mode:04o}, so others can read the secret in it; run: chmod 600 {0}",
                path.display()
            ),
            Self::Secret(path, why) => write!(
                f,
                "{}: {why}; put it back from a backup; or remove it: a new one is made{}",
                path.display(),
                loss(path)
            ),
        }
    }
}

impl std::error::Error for StateError {}

/// What is lost with the old one.
fn loss(path: &Path) -> &'static str {
    if path.ends_with(API_PEM) {
        " (its fingerprint changes)"
    } else if path.ends_with(CHECKPOINT_KEY) {
        " (exports that are under way begin anew)"
    } else {
        ""
    }
}

/// Without the path, which is told anyway.
fn reason(error: SealedError) -> String {
    match error {
        SealedError::Damaged { offset, why, .. } => format!("it is damaged at byte {offset}: {why}"),
        other => other.to_string(),
    }
}

const TOKEN_BYTES: usize = 32;
/// What checkpoints of jobs keep secrets with.
const CHECKPOINT_KEY: &str = "checkpoint.key";
/// The API's own certificate with its key.
pub(crate) const API_PEM: &str = "api.pem";
/// Files that are secrets, and can be sealed.
pub(crate) const SECRETS: [(What, &str); 2] =
    [(What::Checkpoint, CHECKPOINT_KEY), (What::Certificate, API_PEM)];
/// No secret of ours is longer, sealed or not.
const MOST_SECRET: u64 = 1 << 20;

impl StateFolder {
    /// Makes the folder if there is none, and takes it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let fail = |error| StateError::Io(path.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fail)?;
        let mode = fs::metadata(path).map_err(fail)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StateError::TooOpen(path.to_owned(), mode));
        }
        let mut lock = take_lock(path)?;
        let ballast = Ballast::of(path);
        // Before anything is written, and after nobody else can use it.
        ballast.give_up_if_needed();
        sign(&mut lock).map_err(|error| StateError::Io(path.join(LOCK), error))?;
        Ok(Self {
            path: path.to_owned(),
            ballast,
            sealing: Sealing::default(),
            staging: Mutex::default(),
            _lock: lock,
        })
    }

    /// A copy of the inventory that [`stage_restore`] has put beside it takes its place. Whoever opens secrets does that first: a start that a wrong key
    /// ends changes nothing.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) fn put_restored(&self) -> Result<(), StateError> {
        put_restored(&self.path).map_err(|error| StateError::Io(self.path.clone(), error))
    }

    /// Whether the inventory was put back, and no start has said so in it yet.
    pub(crate) fn is_just_restored(&self) -> bool {
        self.path.join(RESTORED).exists()
    }

    /// A start has said so. A mark that stays behind only makes the next start as careful as this one.
    pub(crate) fn forget_restored(&self) {
        if let Err(error) = remove_if_there(&self.path.join(RESTORED)) {
            warn!(file = RESTORED, %error, "a mark of the last restore cannot be removed");
        }
    }

    /// The space kept for a start.
    pub fn ballast(&self) -> &Ballast {
        &self.ballast
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The inventory file.
    pub fn inventory(&self) -> PathBuf {
        self.path.join(INVENTORY)
    }

    /// What the data keys of exports that have not ended are sealed with in their jobs: made when it is first asked for. Without it such an export
    /// begins anew; a copy of the inventory alone opens none.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn checkpoint_key(&self) -> Result<vtl_codec::Key, StateError> {
        let path = self.path.join(CHECKPOINT_KEY);
        if let Some(bytes) = self.secret(What::Checkpoint, CHECKPOINT_KEY)? {
            let key = <[u8; vtl_codec::KEY_BYTES]>::try_from(bytes.as_slice());
            return key.map(vtl_codec::Key::new).map_err(|_| {
                let why = format!("a key has {} bytes, this one has {}", vtl_codec::KEY_BYTES, bytes.len());
                StateError::Secret(path, why)
            });
        }
        let key = vtl_codec::Key::random(&vtl_codec::Randomness::system())
            .map_err(|error| StateError::Io(path, error))?;
        self.keep_secret(What::Checkpoint, CHECKPOINT_KEY, key.expose())?;
        Ok(key)
    }

    /// From now on secrets are kept and opened so.
    pub(crate) fn seal_with(&mut self, sealing: Sealing) {
        self.sealing = sealing;
    }

    /// A secret file of this folder; none when it is not there.
    ///
    /// # Errors
    /// See [`StateError`]; it is sealed and does not open.
    pub(crate) fn secret(
        &self,
        what: What,
        name: &str,
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StateError> {
        let path = self.path.join(name);
        let fail = |error| StateError::Io(path.clone(), error);
        let wrong = |why: String| StateError::Secret(path.clone(), why);
        let about = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            about => about.map_err(fail)?,
        };
        let mode = about.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(StateError::FileTooOpen(path.clone(), mode & 0o7777));
        }
        if about.len() > MOST_SECRET {
            return Err(wrong("it is longer than 1 MiB".to_owned()));
        }
        if !begins_sealed(&path).map_err(fail)? {
            return fs::read(&path).map(zeroize::Zeroizing::new).map(Some).map_err(fail);
        }
        let payload = sealed::read(&RealDisk::new(), &path, SEALED).map_err(|error| wrong(reason(error)))?;
        self.sealing.open_bytes(what, name, payload).map(Some).map_err(|e| wrong(e.to_string()))
    }

    /// Keeps a secret, sealed when secrets are.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) fn keep_secret(&self, what: What, name: &str, secret: &[u8]) -> Result<(), StateError> {
        self.keep_as(what, name, secret, &self.sealing)
    }

    fn keep_as(&self, what: What, name: &str, secret: &[u8], sealing: &Sealing) -> Result<(), StateError> {
        let fail = |why: vtl_codec::SealError| StateError::Io(self.path.join(name), io::Error::other(why));
        match sealing.seal(what, name, secret).map_err(fail)? {
            Some(bytes) => self.keep(name, &sealed::encode(SEALED, &bytes)),
            None => self.keep(name, secret),
        }
    }

    /// Every secret file as `into` says, sealed or open; how many were written. What a crash has left half written goes.
    ///
    /// # Errors
    /// See [`StateError`].
    pub(crate) fn reseal(&self, into: &Sealing) -> Result<usize, StateError> {
        let mut written = 0;
        for (what, name) in SECRETS {
            let (path, fresh) = (self.path.join(name), self.path.join(format!("{name}.new")));
            let fail = |error| StateError::Io(path.clone(), error);
            match fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StateError::Io(fresh, error));
                }
                _ => {}
            }
            if !path.exists() || begins_sealed(&path).map_err(fail)? == into.is_on() {
                continue;
            }
            if let Some(secret) = self.secret(what, name)? {
                self.keep_as(what, name, &secret, into)?;
                written += 1;
            }
        }
        Ok(written)
    }

    /// A file of this folder that nobody else may read: all of it or nothing, over a power cut too.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let (path, fresh) = (self.path.join(name), self.path.join(format!("{name}.new")));
        let written = || {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(bytes).and_then(|()| file.sync_all())?;
            fs::rename(&fresh, &path)?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|error| StateError::Io(path.clone(), error))
    }

    /// The API's token: made at first start, then the same for ever (or as the operator writes it).
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn token(&self) -> Result<String, StateError> {
        let path = self.path.join("api.token");
        let fail = |error| StateError::Io(path.clone(), error);
        match fs::metadata(&path) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => {
                return Err(StateError::FileTooOpen(path.clone(), found.permissions().mode() & 0o7777));
            }
            Ok(_) => return Ok(fs::read_to_string(&path).map_err(fail)?.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fail(error)),
        }
        let mut bytes = [0; TOKEN_BYTES];
        crate::random::fill(&mut bytes);
        let token = hexadecimal(&bytes);
        self.keep("api.token", format!("{token}\n").as_bytes())?;
        Ok(token)
    }
}

/// Why a copy of the inventory does not wait to take its place.
#[derive(Debug)]
pub enum NotStaged {
    /// The file that was named cannot be read.
    Named(PathBuf, io::Error),
    /// It is no copy that this version can take: what it is.
    NoCopy(PathBuf, String),
    /// A file in the state folder cannot be written.
    Own(PathBuf, io::Error),
    /// What was copied there cannot be looked at.
    Look(MetaError),
}

impl std::fmt::Display for NotStaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(path, error) | Self::Own(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoCopy(path, why) => write!(f, "{}: {why}", path.display()),
            Self::Look(error) => error.fmt(f),
        }
    }
}

/// Checks a copy of the inventory and puts it beside the inventory, to take its place at the next start.
///
/// # Errors
/// What is wrong with the copy. One that was staged before waits on.
pub fn stage_restore(state: &StateFolder, copy: &Path) -> Result<(), NotStaged> {
    // A device or a pipe would have no end, or no beginning.
    let found = fs::metadata(copy).map_err(|error| NotStaged::Named(copy.to_owned(), error))?;
    if !found.is_file() {
        return Err(NotStaged::NoCopy(copy.to_owned(), "this is no plain file".to_owned()));
    }
    let (fresh, staged) = (state.path.join(UNCHECKED), state.path.join(STAGED));
    let _one_at_a_time = state.staging.lock().unwrap_or_else(PoisonError::into_inner);
    let put = copy_checked(copy, &fresh).and_then(|()| {
        fs::rename(&fresh, &staged).map_err(own(&staged))?;
        // Who was told that it will take the inventory's place has it after a power cut, too.
        sync_folder(&state.path).map_err(own(&state.path))
    });
    if put.is_err() {
        // It may hold secrets. The first error is the one to tell; the next restore writes over what cannot be removed.
        drop(remove_side_files(&fresh).and_then(|()| fs::remove_file(&fresh)));
    }
    put
}

/// Copies the file and finds it whole. Order: (1) side files that a restore that was cut off has left, which SQLite would take for this one's, (2) the
/// bytes, (3) the look, (4) what the look has left beside it.
fn copy_checked(copy: &Path, fresh: &Path) -> Result<(), NotStaged> {
    remove_side_files(fresh).map_err(own(fresh))?;
    let mut source = File::open(copy).map_err(|error| NotStaged::Named(copy.to_owned(), error))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(fresh)
        .map_err(own(fresh))?;
    copy_bytes((copy, &mut source), (fresh, &mut file))?;
    file.sync_all().map_err(own(fresh))?;
    drop(file);
    SharedMeta::check(fresh).map_err(|error| not_restored(copy, error))?;
    remove_side_files(fresh).map_err(own(fresh))
}

/// An error is told of the file that it is about.
fn copy_bytes(
    (from, source): (&Path, &mut dyn Read),
    (to, file): (&Path, &mut dyn Write),
) -> Result<(), NotStaged> {
    let mut bytes = vec![0; COPIED_AT_ONCE];
    loop {
        let read = match source.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(NotStaged::Named(from.to_owned(), error)),
        };
        file.write_all(bytes.get(..read).unwrap_or_default()).map_err(own(to))?;
    }
}

/// Told of the file that was named: the one that was looked at is ours.
fn not_restored(copy: &Path, error: MetaError) -> NotStaged {
    let why = match &error {
        MetaError::Empty(_) | MetaError::NotOurs { .. } => "it holds no inventory".to_owned(),
        MetaError::Damaged { findings, .. } => format!("it is damaged ({})", findings.join("; ")),
        MetaError::DamagedRow(row) => format!("its row {row} is damaged"),
        MetaError::Newer { module, found, known, .. } => {
            format!(
                "a newer vtl has written it (schema '{module}' is at {found}, this program knows {known})"
            )
        }
        MetaError::MigrationFailed { module, number, source } if error.is_of_content() => {
            format!("it cannot be brought to this version (migration {number} of '{module}': {source})")
        }
        MetaError::MigrationChanged { module, number } => {
            format!("migration {number} of '{module}' is not the one it was made with")
        }
        MetaError::Sqlite(source) if error.is_of_content() => format!("it is damaged ({source})"),
        _ => return NotStaged::Look(error),
    };
    NotStaged::NoCopy(copy.to_owned(), why)
}

fn own(path: &Path) -> impl FnOnce(io::Error) -> NotStaged {
    let path = path.to_owned();
    move |error| NotStaged::Own(path, error)
}

/// A staged copy takes the inventory's place; the old one is kept beside it. Order: (1) the old inventory is kept, see [`keep_old`], (2) side files of the
/// old inventory, also when a crash came after 1, and what a look at the staged copy left beside it, (3) the mark for the start that says in the copy
/// what it is, (4) the staged copy moves to its place. A crash between leaves the staged copy, and the next start goes on.
fn put_restored(folder: &Path) -> io::Result<()> {
    let (staged, inventory) = (folder.join(STAGED), folder.join(INVENTORY));
    if !staged.exists() {
        return Ok(());
    }
    if inventory.exists() {
        keep_old(folder, &inventory, &folder.join(BEFORE_RESTORE))?;
    }
    remove_side_files(&inventory)?;
    remove_side_files(&staged)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(RESTORED))
        .and_then(|mark| mark.sync_all())?;
    // A power cut must not keep the step that follows and lose these.
    sync_folder(folder)?;
    fs::rename(&staged, &inventory)?;
    sync_folder(folder)
}

/// The old inventory moves beside its place, with its journal, in which alone may be what was committed last. Order, each durable before the next:
/// (1) the one before that, with its side files, goes, (2) the journal has its new name besides its old one, (3) the inventory has its new name. So while the
/// inventory is in its place its journal is, too, and all of this is done anew; and once it is not, both are where they are kept.
fn keep_old(folder: &Path, inventory: &Path, before: &Path) -> io::Result<()> {
    remove_side_files(before)?;
    remove_if_there(before)?;
    sync_folder(folder)?;
    name_besides(&beside(inventory, JOURNAL), &beside(before, JOURNAL))?;
    sync_folder(folder)?;
    fs::rename(inventory, before)?;
    sync_folder(folder)
}

/// A second name for a file, if it is there; a copy where the file system has no second names.
fn name_besides(file: &Path, name: &Path) -> io::Result<()> {
    match fs::hard_link(file, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => fs::copy(file, name).and_then(|_| File::open(name)?.sync_all()),
        Ok(()) => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The inventory that the next start uses: the staged copy when there is one.
pub(crate) fn next_inventory(folder: &Path) -> PathBuf {
    let staged = folder.join(STAGED);
    if staged.exists() { staged } else { folder.join(INVENTORY) }
}

pub(crate) const INVENTORY: &str = "inventory.db";
const STAGED: &str = "inventory.restore";
/// A copy before it is known to be one.
const UNCHECKED: &str = "inventory.restore.new";
/// The inventory that a restore has replaced.
pub(crate) const BEFORE_RESTORE: &str = "inventory.before-restore.db";

/// An inventory that was put back, and in which no start has said so yet.
const RESTORED: &str = "inventory.restored";

/// SQLite's write-ahead log, and its index, which is made anew when it is not there.
const JOURNAL: &str = "-wal";
const JOURNAL_INDEX: &str = "-shm";

/// A side file of a database.
fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite's write-ahead files belong to the file that they lie beside and to no other: one that cannot be removed keeps another database from its place.
fn remove_side_files(database: &Path) -> io::Result<()> {
    [JOURNAL, JOURNAL_INDEX].into_iter().try_for_each(|suffix| remove_if_there(&beside(database, suffix)))
}

fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const LOCK: &str = "vtld.lock";

fn take_lock(folder: &Path) -> Result<File, StateError> {
    let path = folder.join(LOCK);
    let fail = |error| StateError::Io(path.clone(), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail)?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        drop(file.read_to_string(&mut pid));
        return Err(StateError::InUse(folder.to_owned(), pid.trim().to_owned()));
    }
    Ok(file)
}

/// Who has the lock.
fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    writeln!(lock, "{}", std::process::id())
}

/// Bytes as lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use vtl_meta::{Meta, Module};

    use super::*;
    use crate::meta::newest_migrations;

    #[test]
    fn a_second_daemon_on_the_same_folder_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateFolder::open(&path).unwrap();
        let Err(StateError::InUse(_, pid)) = StateFolder::open(&path) else { panic!("taken twice") };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(StateFolder::open(&path).is_ok());
    }

    #[test]
    fn folder_and_token_are_for_their_owner_only_and_the_token_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateFolder::open(&path).unwrap();
        let token = state.token().unwrap();
        assert_eq!((token.len(), state.token().unwrap()), (64, token));
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("api.token"))), (0o700, 0o600));
    }

    #[test]
    fn the_key_of_checkpoints_stays_the_same_is_for_its_owner_only_and_refused_when_others_can_read_it_or_it_is_none()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateFolder::open(&path).unwrap();
        let key = state.checkpoint_key().unwrap();
        assert_eq!(state.checkpoint_key().unwrap().expose(), key.expose());
        let file = path.join("checkpoint.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let open = state.checkpoint_key().unwrap_err();
        assert!(matches!(open, StateError::FileTooOpen(_, 0o640)) && open.to_string().contains("chmod 600"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, b"short").unwrap();
        let short = state.checkpoint_key().unwrap_err().to_string();
        assert!(short.contains("a key has 32 bytes, this one has 5; put it back from a backup"), "{short}");
        assert!(short.contains("begin anew") && !short.contains("--state"), "{short}");
    }

    #[test]
    fn a_sealed_secret_that_does_not_open_is_told_with_what_to_do_and_what_that_costs() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateFolder::open(&folder.path().join("state")).unwrap();
        for (what, name, cost) in [
            (What::Checkpoint, "checkpoint.key", "exports that are under way begin anew"),
            (What::Certificate, "api.pem", "its fingerprint changes"),
        ] {
            state.keep(name, &sealed::encode(SEALED, &[0xa5; 60])).unwrap();
            let why = state.secret(what, name).unwrap_err().to_string();
            assert!(why.contains(name) && why.contains("or remove it: a new one is made"), "{why}");
            assert!(why.contains(cost) && !why.contains("--state"), "{why}");
            state.keep(name, &SEALED.magic).unwrap();
            let torn = state.secret(what, name).unwrap_err();
            assert!(matches!(torn, StateError::Secret(..)), "{torn}");
        }
    }

    #[test]
    fn what_holds_no_inventory_is_not_staged_and_what_was_staged_before_waits_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let state = StateFolder::open(&path("state")).unwrap();
        drop(SharedMeta::open(&path("good.db")).unwrap());
        fs::write(path("empty.db"), b"").unwrap();
        fs::write(path("noise.db"), [0xa5; 8192]).unwrap();
        let good = fs::read(path("good.db")).unwrap();
        fs::write(path("half.db"), &good[..good.len() / 2]).unwrap();
        stage_restore(&state, &path("good.db")).unwrap();
        let staged = inventories(&path("state"));
        assert_eq!(staged.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["inventory.restore"]);
        for (name, why) in [
            ("empty.db", "it holds no inventory"),
            ("noise.db", "it is damaged ("),
            ("half.db", "it is damaged ("),
        ] {
            let refused = stage_restore(&state, &path(name)).unwrap_err();
            let wanted = format!("{}: {why}", path(name).display());
            assert!(refused.to_string().starts_with(&wanted), "{refused}");
            assert!(matches!(refused, NotStaged::NoCopy(..)), "{refused:?}");
            assert!(inventories(&path("state")) == staged, "{name} has left something behind");
        }
    }

    #[test]
    fn a_copy_that_cannot_be_read_is_told_of_the_named_file_and_one_that_cannot_be_written_of_ours() {
        /// A disk that fails.
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (named, ours) = (Path::new("/named"), Path::new("/ours"));
        let unread = copy_bytes((named, &mut Fails), (ours, &mut Vec::<u8>::new()));
        assert!(matches!(&unread, Err(NotStaged::Named(path, _)) if path == named), "{unread:?}");
        let unwritten = copy_bytes((named, &mut b"bytes".as_slice()), (ours, &mut Fails));
        assert!(matches!(&unwritten, Err(NotStaged::Own(path, _)) if path == ours), "{unwritten:?}");
        let mut copied = Vec::<u8>::new();
        copy_bytes((named, &mut b"bytes".as_slice()), (ours, &mut copied)).unwrap();
        assert_eq!(copied, b"bytes");
    }

    #[test]
    fn a_copy_does_not_meet_the_journal_that_a_restore_that_was_cut_off_has_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let state = StateFolder::open(&path("state")).unwrap();
        drop(SharedMeta::open(&path("good.db")).unwrap());
        // A journal of an inventory that is in use: it holds a change that the copy does not.
        let other = SharedMeta::open(&path("other.db")).unwrap();
        other.set_flag("of the other").unwrap();
        fs::copy(path("other.db-wal"), path("state/inventory.restore.new-wal")).unwrap();
        stage_restore(&state, &path("good.db")).unwrap();
        let restored = SharedMeta::open(&path("state/inventory.restore")).unwrap();
        assert!(!restored.flag("of the other").unwrap());
    }

    #[test]
    fn a_copy_of_an_older_version_is_staged_as_one_whole_file_of_this_one() {
        static OLDER: [Module; 1] = [vtl_library::MODULE];
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let state = StateFolder::open(&path("state")).unwrap();
        Meta::open(&path("old.db"), &OLDER).unwrap().close().unwrap();
        stage_restore(&state, &path("old.db")).unwrap();
        let staged = inventories(&path("state"));
        assert_eq!(staged.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["inventory.restore"]);
        // Without the files that may lie beside it.
        fs::write(path("alone.db"), &staged[0].1).unwrap();
        let migrations = vtl_meta::inspect::migrations(&path("alone.db")).unwrap();
        let mut newest: Vec<_> =
            newest_migrations().into_iter().map(|(module, number)| (module.to_owned(), number)).collect();
        newest.sort();
        assert_eq!(migrations, newest);
        fs::set_permissions(path("alone.db"), fs::Permissions::from_mode(0o600)).unwrap();
        SharedMeta::check(&path("alone.db")).unwrap();
    }

    fn inventories(folder: &Path) -> Vec<(String, Vec<u8>)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .flatten()
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
            .filter(|(name, _)| name.starts_with("inventory"))
            .collect();
        found.sort();
        found
    }

    #[test]
    fn a_restored_inventory_waits_while_the_journal_of_another_cannot_be_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("inventory.restore"), "the copy").unwrap();
        // What is a folder is not removed as a file.
        fs::create_dir(path("inventory.db-wal")).unwrap();
        assert!(put_restored(folder.path()).is_err());
        assert!(!path("inventory.db").exists());
        fs::remove_dir(path("inventory.db-wal")).unwrap();
        put_restored(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(path("inventory.db")).unwrap(), "the copy");
        assert!(!path("inventory.restore").exists());
    }

    #[test]
    fn a_restored_inventory_never_meets_the_journal_of_another_whether_a_crash_came_between_or_not() {
        let old =
            [("inventory.db", "old"), ("inventory.db-wal", "of the old"), ("inventory.db-shm", "of it")];
        // After the second name of the journal, and after the rename.
        let named = [old[0], old[1], ("inventory.before-restore.db-wal", "of the old")];
        let cut = [
            ("inventory.before-restore.db", "old"),
            ("inventory.before-restore.db-wal", "of the old"),
            ("inventory.db-wal", "of the old"),
        ];
        for there in [old, named, cut] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state");
            let state = StateFolder::open(&path).unwrap();
            if there == old {
                fs::write(path.join("inventory.before-restore.db"), "older").unwrap();
                fs::write(path.join("inventory.before-restore.db-wal"), "of the older").unwrap();
                fs::write(path.join("inventory.before-restore.db-shm"), "of it").unwrap();
            }
            for (name, bytes) in there {
                fs::write(path.join(name), bytes).unwrap();
            }
            fs::write(path.join("inventory.restore"), "restored").unwrap();
            fs::write(path.join("inventory.restore-shm"), "of a look").unwrap();
            state.put_restored().unwrap();
            let wanted = [
                ("inventory.before-restore.db", "old"),
                ("inventory.before-restore.db-wal", "of the old"),
                ("inventory.db", "restored"),
                ("inventory.restored", ""),
            ];
            assert_eq!(
                inventories(&path),
                wanted.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
            );
        }
    }

    #[test]
    fn an_inventory_that_is_kept_has_what_was_committed_last_wherever_a_crash_came() {
        const LAST: &str = "committed-last";
        let folder = tempfile::tempdir().unwrap();
        let used = SharedMeta::open(&folder.path().join("used.db")).unwrap();
        used.set_flag(LAST).unwrap();
        let bytes = fs::read(folder.path().join("used.db")).unwrap();
        assert!(!bytes.windows(LAST.len()).any(|part| part == LAST.as_bytes()), "its journal alone has it");
        for steps in 0..=3 {
            let home = folder.path().join(steps.to_string());
            let path = |name: &str| home.join(name);
            fs::create_dir(&home).unwrap();
            // As a kill leaves it.
            fs::copy(folder.path().join("used.db"), path("inventory.db")).unwrap();
            fs::copy(folder.path().join("used.db-wal"), path("inventory.db-wal")).unwrap();
            fs::write(path("inventory.restore"), "the copy").unwrap();
            if steps >= 1 {
                fs::hard_link(path("inventory.db-wal"), path("inventory.before-restore.db-wal")).unwrap();
            }
            if steps >= 2 {
                fs::rename(path("inventory.db"), path("inventory.before-restore.db")).unwrap();
            }
            if steps >= 3 {
                fs::remove_file(path("inventory.db-wal")).unwrap();
            }
            put_restored(&home).unwrap();
            assert_eq!(fs::read_to_string(path("inventory.db")).unwrap(), "the copy", "{steps}");
            let kept = SharedMeta::open(&path("inventory.before-restore.db")).unwrap();
            assert!(kept.flag(LAST).unwrap(), "{steps}");
        }
    }

    #[test]
    fn a_journal_whose_inventory_was_removed_does_not_come_to_the_one_that_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("inventory.before-restore.db", "older"),
            ("inventory.db-wal", "of a removed one"),
            ("inventory.restore", "the copy"),
        ] {
            fs::write(path(name), text).unwrap();
        }
        put_restored(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(path("inventory.before-restore.db")).unwrap(), "older");
        assert!(!path("inventory.before-restore.db-wal").exists() && !path("inventory.db-wal").exists());
    }

    #[test]
    fn that_a_copy_was_put_back_is_known_until_a_start_has_said_so_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let state = StateFolder::open(&path).unwrap();
        state.put_restored().unwrap();
        assert!(!state.is_just_restored(), "none was");
        fs::write(path.join("inventory.restore"), "restored").unwrap();
        state.put_restored().unwrap();
        drop(state);
        let state = StateFolder::open(&path).unwrap();
        state.put_restored().unwrap();
        assert!(state.is_just_restored(), "that start was cut off");
        state.forget_restored();
        state.forget_restored();
        assert!(!state.is_just_restored());
    }

    #[test]
    fn a_staged_inventory_stays_staged_until_somebody_puts_it_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        drop(StateFolder::open(&path).unwrap());
        fs::write(path.join("inventory.db"), "old").unwrap();
        assert_eq!(next_inventory(&path), path.join("inventory.db"));
        fs::write(path.join("inventory.restore"), "restored").unwrap();
        let state = StateFolder::open(&path).unwrap();
        assert_eq!(fs::read(path.join("inventory.db")).unwrap(), b"old");
        assert_eq!(next_inventory(&path), path.join("inventory.restore"));
        state.put_restored().unwrap();
        assert_eq!(fs::read(next_inventory(&path)).unwrap(), b"restored");
    }

    #[test]
    fn a_folder_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(StateFolder::open(folder.path()), Err(StateError::TooOpen(_, 0o755))));
    }
}
