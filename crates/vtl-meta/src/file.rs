//! The file itself: who may read it, how it is opened, whether it is whole, how it is copied.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};

use crate::error::MetaError;

/// Only the owner: the file holds CHAP secrets.
const MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// How long to wait for another process that reads the file, such as a copy made by hand with `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Each table has a handful of statements; all of them fit.
const CACHED_STATEMENTS: usize = 128;
/// More findings than this tell nothing new.
const MAX_FINDINGS: u32 = 10;
/// Pages in one step of an online copy: all of them, as the owner of the connection waits for us anyway.
const ALL_PAGES: i32 = -1;
/// So often that step is tried while another program has one of the two files locked; each time SQLite itself waits [`BUSY_TIMEOUT`] at most.
const COPY_TRIES: u32 = 3;
/// Between two tries.
const COPY_PAUSE: Duration = Duration::from_millis(200);

/// Makes the empty file before SQLite does, so that it never exists with a wider mode.
pub(crate) fn create_or_check_mode(path: &Path) -> Result<(), MetaError> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => sync_folder_of(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check_mode(path),
        Err(error) => Err(io_error("create", path)(error)),
    }
}

pub(crate) fn check_mode(path: &Path) -> Result<(), MetaError> {
    let mode = fs::metadata(path).map_err(io_error("look at", path))?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(MetaError::LooseMode { path: path.to_path_buf(), mode });
    }
    Ok(())
}

pub(crate) fn connect(path: &Path) -> Result<Connection, MetaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
    connection.pragma_update(None, "foreign_keys", "on")?;
    // A page that SQLite's structure checks can tell is wrong is an error, not a guess.
    connection.pragma_update(None, "cell_size_check", "on")?;
    // What is removed is overwritten with zeros: it may have been a secret.
    connection.pragma_update(None, "secure_delete", "on")?;
    // Nothing in the file may call back into us: it could have been swapped.
    connection.pragma_update(None, "trusted_schema", "off")?;
    Ok(connection)
}

/// The journal mode is written into the file, so this comes after the file is known to be ours.
pub(crate) fn set_journal(connection: &Connection) -> Result<(), MetaError> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(())
}

pub(crate) fn quick_check(connection: &Connection, path: &Path) -> Result<(), MetaError> {
    let damaged = |findings| MetaError::Damaged { path: path.to_path_buf(), findings };
    let findings = findings(connection).or_else(|error| match not_a_database(&error) {
        true => Ok(vec![error.to_string()]),
        false => Err(error),
    })?;
    match findings.as_slice() {
        [only] if only == "ok" => Ok(()),
        _ => Err(damaged(findings)),
    }
}

fn findings(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let mut statement = connection.prepare(&format!("PRAGMA quick_check({MAX_FINDINGS})"))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// SQLite's two words for a file whose bytes make no sense.
pub(crate) fn not_a_database(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

/// Order: (1) a new file by way of the journal, (2) all of it into the file.
pub(crate) fn sweep(connection: &Connection) -> Result<(), MetaError> {
    connection.execute_batch("VACUUM")?;
    checkpoint(connection)
}

/// All that is in the journal goes into the file, and the journal is cut to nothing.
pub(crate) fn checkpoint(connection: &Connection) -> Result<(), MetaError> {
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    match is_busy {
        false => Ok(()),
        true => Err(busy("another program reads the inventory")),
    }
}

fn busy(why: &str) -> MetaError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some(why.to_owned())).into()
}

/// Order: (1) all pages into `to.part`, (2) what the copy alone has, (3) check them, (4) sync the file, (5) rename, (6) sync the folder. A crash
/// leaves at most `to.part`, which the next copy replaces.
pub(crate) fn copy(
    from: &Connection,
    to: &Path,
    of_copy: impl FnOnce(&mut Connection) -> Result<(), MetaError>,
) -> Result<(), MetaError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(MetaError::Exists(to.to_path_buf()));
    }
    let part = part_name(to);
    let copied = copy_pages(from, &part, of_copy).and_then(|()| put_in_place(&part, to));
    if copied.is_err() {
        // The first error is the one to report; the leftover is replaced by the next copy anyway.
        let _ = fs::remove_file(&part);
    }
    copied
}

fn part_name(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

fn copy_pages(
    from: &Connection,
    part: &Path,
    of_copy: impl FnOnce(&mut Connection) -> Result<(), MetaError>,
) -> Result<(), MetaError> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove the old", part)(error));
        }
        _ => create_or_check_mode(part)?,
    }
    let mut target = Connection::open_with_flags(part, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    copy_all(from, &mut target)?;
    // The copy stands alone: no side files beside it.
    target.pragma_update(None, "journal_mode", "delete")?;
    of_copy(&mut target)?;
    quick_check(&target, part)?;
    target.close().map_err(|(_, error)| error.into())
}

/// That a file is locked is no error to SQLite but a step that has copied nothing: only one that says that it is done has.
pub(crate) fn copy_all(from: &Connection, target: &mut Connection) -> Result<(), MetaError> {
    let backup = Backup::new(from, target)?;
    for _ in 0..COPY_TRIES {
        if backup.step(ALL_PAGES)? == StepResult::Done {
            return Ok(());
        }
        thread::sleep(COPY_PAUSE);
    }
    Err(busy("nothing is copied, since another program has the inventory or the copy locked"))
}

/// A copy in memory, as one consistent view of a file that is only read.
pub(crate) fn in_memory(path: &Path) -> Result<Connection, MetaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let from = Connection::open_with_flags(path, flags)?;
    from.busy_timeout(BUSY_TIMEOUT)?;
    let mut copy = Connection::open_in_memory()?;
    copy_all(&from, &mut copy)?;
    Ok(copy)
}

fn put_in_place(part: &Path, to: &Path) -> Result<(), MetaError> {
    File::open(part).and_then(|file| file.sync_all()).map_err(io_error("sync", part))?;
    fs::rename(part, to).map_err(io_error("rename to", to))?;
    sync_folder_of(to)
}

fn sync_folder_of(path: &Path) -> Result<(), MetaError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder).and_then(|file| file.sync_all()).map_err(io_error("sync", folder))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MetaError {
    let path = path.to_path_buf();
    move |source| MetaError::Io { operation, path, source }
}
