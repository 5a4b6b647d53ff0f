//! Folders before they are a pool and when they are to be none any more: what is in one, and how a pool's files go.

use std::path::{Path, PathBuf};

use vtl_durable::sealed::{self, SealedError};
use vtl_durable::{Disk, Found};

use crate::error::StoreError;
use crate::recovery::{self, OWNERS, POOL, POOL_KIND};
use crate::roster::{self, BADGE, BADGE_KIND, refused};

/// What a new file system has at its root.
const LOST_AND_FOUND: &str = "lost+found";
const LOCK: &str = "lock";
/// Everything that a pool has in its home, but `pool` and `lock`, which go last. Each may have a `.tmp` beside it.
const IN_HOME: [&str; 9] =
    ["journal", OWNERS, "packs", "index", "quarantine", "scrub", "members", "keyring", "keyring.copy"];
/// The same of a further folder, but `member` and `lock`.
const IN_MEMBER: [&str; 1] = ["packs"];
/// No folder of a pool lies deeper than its packs: `packs/00/x.pack`.
const DEPTH: u32 = 3;

/// What is in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// There is no such folder.
    Missing,
    /// Nothing, or what a new file system has.
    Blank,
    /// The home of the pool with this id.
    Home([u8; 16]),
    /// A further folder of the pool with this id.
    Member([u8; 16]),
    /// Something else, such as this name.
    Other(String),
}

/// Whether a pool has an entry of this name in its home, or in a further folder of its own: what else is there is another's.
pub fn is_of_pool(name: &str) -> bool {
    [POOL, BADGE, LOCK].contains(&name) || IN_HOME.contains(&name)
}

/// Looks at a folder, and writes nothing.
pub fn look(disk: &dyn Disk, folder: &Path) -> Result<Site, StoreError> {
    if let Some(id) = home_of(disk, folder)? {
        return Ok(Site::Home(id));
    }
    if let Some(id) = member_of(disk, folder)? {
        return Ok(Site::Member(id));
    }
    let found = match disk.list(folder) {
        Err(error) if error.is_not_found() => return Ok(Site::Missing),
        found => found?,
    };
    let other = found.into_iter().find(|one| !(one.is_folder && one.name == LOST_AND_FOUND));
    Ok(other.map_or(Site::Blank, |one| Site::Other(one.name)))
}

/// Refuses a folder that is not the home of this pool, and writes nothing.
pub(crate) fn expect(disk: &dyn Disk, home: &Path, id: [u8; 16]) -> Result<(), StoreError> {
    let why = match home_of(disk, home)? {
        Some(found) if found == id => return Ok(()),
        Some(_) => "here is another pool (mount the right disk)",
        None => "the pool's home was here, and is not: its disk is not mounted, or was emptied (mount it)",
    };
    Err(refused(home, why.to_owned()))
}

/// Removes all files of a pool that nobody needs any more and that nobody has open, and leaves the folders. `id`: its id, unless it may never have got
/// as far as having one. Done again after a crash or an error it goes on.
///
/// In this order: the further folders, each with its mark last; then the home, with the pool file last. So what is left says whose it is, and
/// nothing is touched that is another's.
pub fn erase(
    disk: &dyn Disk,
    home: &Path,
    folders: &[PathBuf],
    id: Option<[u8; 16]>,
) -> Result<(), StoreError> {
    let (found, is_known) = (home_of(disk, home)?, id.is_some());
    let id = match (found, id) {
        (Some(found), Some(id)) if found != id => {
            return Err(refused(home, "here is another pool (mount the right disk)".to_owned()));
        }
        (found, id) => id.or(found),
    };
    if !is_known && has_owners(disk, home)? {
        let why = "a pool was to be made here, and here is one that is in use (take it in with vtl pool create --adopt)";
        return Err(refused(home, why.to_owned()));
    }
    for folder in folders {
        erase_member(disk, folder, id)?;
    }
    let listed = match disk.list(home) {
        Err(error) if error.is_not_found() && id.is_none() => return Ok(()),
        Err(error) if error.is_not_found() => return Err(gone(home)),
        listed => listed?,
    };
    // Without a pool file there is nothing left of a pool that was whole, and nothing to know that it is ours by.
    if found.is_none() && id.is_some() {
        return Ok(());
    }
    if found.is_none() {
        return sweep_unmade(disk, home, &listed, &IN_HOME, POOL);
    }
    let _lock = recovery::take_lock(disk, home)?;
    sweep(disk, home, &listed, &IN_HOME)?;
    finish(disk, home, POOL)
}

/// What is left of a folder whose making or removal was cut off: no file but keyring and lock, and no folder with anything in it. Where there is more it
/// stays as it is.
fn sweep_unmade(
    disk: &dyn Disk,
    folder: &Path,
    listed: &[Found],
    names: &[&str],
    last: &str,
) -> Result<(), StoreError> {
    let known = |name: &str| {
        is_one_of(names, name) || [LOCK, LOST_AND_FOUND].contains(&name) || name == format!("{last}.tmp")
    };
    if let Some(other) = listed.iter().find(|one| !known(&one.name)) {
        let why = format!("it is no pool, and holds {} (empty it by hand, if it is to be)", other.name);
        return Err(refused(folder, why));
    }
    let _lock = recovery::take_lock(disk, folder)?;
    for one in listed.iter().filter(|one| is_one_of(names, &one.name)) {
        let path = folder.join(&one.name);
        if one.is_folder { disk.remove_folder(&path)? } else { disk.unlink(&path)? }
    }
    finish(disk, folder, last)
}

fn has_owners(disk: &dyn Disk, home: &Path) -> Result<bool, StoreError> {
    match disk.list(&home.join(OWNERS)) {
        Err(error) if error.is_not_found() => Ok(false),
        found => Ok(!found?.is_empty()),
    }
}

fn erase_member(disk: &dyn Disk, folder: &Path, id: Option<[u8; 16]>) -> Result<(), StoreError> {
    match (member_of(disk, folder)?, id) {
        (Some(found), Some(id)) if found == id => {}
        (Some(_), _) => {
            return Err(refused(
                folder,
                "this folder belongs to another pool (mount the right disk)".to_owned(),
            ));
        }
        (None, _) => {
            // Never marked, or unmarked by a removal that was interrupted.
            return match disk.list(folder) {
                Err(error) if error.is_not_found() && id.is_some() => Err(gone(folder)),
                Err(error) if error.is_not_found() => Ok(()),
                Err(error) => Err(error.into()),
                Ok(listed) => sweep_unmade(disk, folder, &listed, &IN_MEMBER, BADGE),
            };
        }
    }
    let listed = disk.list(folder)?;
    let _lock = recovery::take_lock(disk, folder)?;
    sweep(disk, folder, &listed, &IN_MEMBER)?;
    finish(disk, folder, BADGE)
}

fn gone(folder: &Path) -> StoreError {
    refused(folder, "this folder of the pool is not there (mount its disk)".to_owned())
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.contains(&name.strip_suffix(".tmp").unwrap_or(name))
}

fn sweep(disk: &dyn Disk, folder: &Path, listed: &[Found], names: &[&str]) -> Result<(), StoreError> {
    let ours = listed.iter().filter(|one| is_one_of(names, &one.name));
    ours.into_iter().try_for_each(|one| remove(disk, folder, one, DEPTH))
}

/// The lock, and then the file that says whose folder it is.
fn finish(disk: &dyn Disk, folder: &Path, last: &str) -> Result<(), StoreError> {
    for name in [LOCK.to_owned(), format!("{last}.tmp"), last.to_owned()] {
        disk.sync_folder(folder)?;
        match disk.unlink(&folder.join(name)) {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
    }
    Ok(disk.sync_folder(folder)?)
}

fn remove(disk: &dyn Disk, folder: &Path, one: &Found, depth: u32) -> Result<(), StoreError> {
    let path = folder.join(&one.name);
    if !one.is_folder {
        return Ok(disk.unlink(&path)?);
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(refused(&path, "this folder is none of a pool (take it away)".to_owned()));
    };
    for inner in disk.list(&path)? {
        remove(disk, &path, &inner, depth)?;
    }
    disk.sync_folder(&path)?;
    Ok(disk.remove_folder(&path)?)
}

fn home_of(disk: &dyn Disk, folder: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    match sealed::read(disk, &folder.join(POOL), POOL_KIND) {
        Ok(payload) => recovery::id_of(folder, &payload).map(Some),
        Err(SealedError::Disk(error)) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn member_of(disk: &dyn Disk, folder: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    let path = folder.join(BADGE);
    match sealed::read(disk, &path, BADGE_KIND) {
        Ok(payload) => {
            let badge = roster::decode_badge(&payload);
            let damaged =
                |_| refused(&path, "it is not the mark of a pool's folder (put it back)".to_owned());
            badge.map(|(id, _)| Some(id)).map_err(damaged)
        }
        Err(SealedError::Disk(error)) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
