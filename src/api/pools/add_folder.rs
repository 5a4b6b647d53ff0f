//! Giving a pool one more folder while it is in use.

use std::path::Path;

use vtl_api::{AddFolder, ApiError, Done, ErrorCode};
use vtl_durable::{Blame, Disk, DiskError, RealDisk};
use vtl_store::site::{self, Site};
use vtl_store::{Health, StoreError};

use super::{field, refused, unseen};
use crate::daemon::{Daemon, invalid, lock, not_at};
use crate::pools::{PARENT_THERE, Pool, rows};

impl Daemon {
    /// Adds a folder for packs to a pool that the inventory lists:
    ///
    /// 1. everything that may be wrong with it is found, and nothing is written;
    /// 2. it is made, if it is not there, and the store looks at it;
    /// 3. the inventory lists it as the pool's;
    /// 4. the store takes it in, and packs may go there.
    ///
    /// After a crash between 3 and 4 the next start takes it in, as it takes in a new one of the configuration for the default pool.
    ///
    /// # Errors
    /// Why not, with what helps. After an error in 4 the inventory lists it no more, unless the store has noted it: a start would find the
    /// pool closed for a folder that the store refuses. The same request tries again.
    pub(crate) fn pool_add_folder(&self, name: &str, asked: &AddFolder) -> Result<Done, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let pool = self.pools.one(Some(name))?;
        let conflict = |message: String, remedy: &str| ApiError::new(ErrorCode::Conflict, message, remedy);
        if pool.name.is_default() {
            return Err(conflict(
                "the folders of pool default are those of the configuration".to_owned(),
                "name it in store.folders, and restart vtld",
            ));
        }
        if let Health::ReadOnly { why } = pool.store.health() {
            return Err(conflict(
                format!("pool {name} takes no writes: {why}"),
                "check the disk, then restart vtld: it verifies the pool",
            ));
        }
        let folder = field("path", self.new_folder(&asked.path, &[]))?;
        field("path", refuse_used(&pool, &folder))?;
        make(&folder).map_err(|error| unmade(&error))?;
        pool.store.check_folder(&folder).map_err(|error| not_taken_in(&error))?;
        self.meta
            .change(|tx| Ok(rows::add_folder(tx, &pool.name, &folder)?))
            .map_err(|error| refused(&error))?;
        if let Err(error) = pool.store.add_folder(&folder) {
            self.strike_out(&pool, &folder);
            return Err(not_taken_in(&error));
        }
        let message = format!("pool {name} has {} for packs, too", folder.display());
        Ok(Done { message, names: vec![pool.name.to_string()] })
    }

    /// Takes a folder off the inventory's list, unless the store has noted it, or may have.
    fn strike_out(&self, pool: &Pool, folder: &Path) {
        if pool.store.has_noted(folder).unwrap_or(true) {
            return;
        }
        if let Err(error) = self.meta.change(|tx| Ok(rows::drop_folder(tx, folder).map(drop)?)) {
            tracing::warn!(pool = %pool.name, folder = %folder.display(), %error, "a folder that the pool did not take stays on its list");
        }
    }
}

/// A folder that holds anything is refused, unless it is what an earlier attempt has left of it.
fn refuse_used(pool: &Pool, folder: &Path) -> Result<(), ApiError> {
    let what = match site::look(&RealDisk::new(), folder).map_err(|error| unseen(&error, "path"))? {
        Site::Missing | Site::Blank => return Ok(()),
        Site::Member(id) if id == pool.store.id() => return Ok(()),
        Site::Home(_) | Site::Member(_) => "a pool is here already, and is not overwritten".to_owned(),
        // What is left when the making of its mark is cut off.
        Site::Other(name) if name == "packs" || name == "member.tmp" => return Ok(()),
        Site::Other(name) => format!("this holds {name}"),
    };
    Err(ApiError::new(
        ErrorCode::Conflict,
        format!("{}: {what}", folder.display()),
        "name an empty folder, or one that is still to be made",
    ))
}

fn unmade(error: &DiskError) -> ApiError {
    not_at("path", error.to_string(), error.blame(), PARENT_THERE)
}

fn make(folder: &Path) -> Result<(), DiskError> {
    let disk = RealDisk::new();
    disk.create_folder(folder)?;
    disk.sync_folder(folder.parent().unwrap_or(folder))
}

fn not_taken_in(error: &StoreError) -> ApiError {
    match error {
        StoreError::Folder { .. } => invalid(error.to_string(), "name an empty folder").about("path"),
        StoreError::Full { .. } => not_at("path", error.to_string(), Blame::Space, PARENT_THERE),
        StoreError::Io(disk) => unmade(disk),
        _ => ApiError::new(ErrorCode::Internal, error.to_string(), "check its disk, then ask again"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn what_hinders_a_new_folder_names_the_path_unless_the_disk_fails() {
        let disk = |kind: ErrorKind| DiskError::new("create", Path::new("/made-up"), kind.into());
        let of_store = |kind| not_taken_in(&StoreError::Io(disk(kind)));
        let full = || StoreError::Full { needed_bytes: 2, free_bytes: 1 };
        for (refused, code, member) in [
            (unmade(&disk(ErrorKind::NotFound)), ErrorCode::Invalid, Some("path")),
            (unmade(&disk(ErrorKind::ReadOnlyFilesystem)), ErrorCode::Invalid, Some("path")),
            (unmade(&disk(ErrorKind::StorageFull)), ErrorCode::Full, Some("path")),
            (unmade(&disk(ErrorKind::Other)), ErrorCode::Internal, None),
            (of_store(ErrorKind::PermissionDenied), ErrorCode::Invalid, Some("path")),
            (of_store(ErrorKind::QuotaExceeded), ErrorCode::Full, Some("path")),
            (not_taken_in(&full()), ErrorCode::Full, Some("path")),
            (of_store(ErrorKind::Other), ErrorCode::Internal, None),
        ] {
            assert_eq!((refused.code, refused.field.as_deref()), (code, member), "{refused:?}");
            assert!(refused.remedy.is_some(), "{refused:?}");
        }
    }
}
