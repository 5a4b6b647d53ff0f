//! Giving a pool one more folder while it is in use.

use std::path::Path;

use vtl_api::{AddFolder, ApiError, Done, ErrorCode};
use vtl_durable::{Disk, DiskError, RealDisk};
use vtl_store::site::{self, Site};
use vtl_store::{Health, StoreError};

use super::{field, refused, unseen};
use crate::daemon::{Daemon, invalid, lock};
use crate::pools::{Pool, SEE_DISK, is_of_the_path, rows};

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
        field("path", make(&folder).map_err(|error| unmade(&error)))?;
        field("path", pool.store.check_folder(&folder).map_err(|error| not_taken_in(&error)))?;
        self.meta
            .change(|tx| Ok(rows::add_folder(tx, &pool.name, &folder)?))
            .map_err(|error| refused(&error))?;
        if let Err(error) = pool.store.add_folder(&folder) {
            self.strike_out(&pool, &folder);
            return field("path", Err(not_taken_in(&error)));
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
    let what = match site::look(&RealDisk::new(), folder).map_err(|error| unseen(&error))? {
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
    match is_of_the_path(error) {
        true => invalid(error.to_string(), "name a folder whose parent is there, and writable for vtld"),
        false => ApiError::new(ErrorCode::Internal, error.to_string(), SEE_DISK),
    }
}

fn make(folder: &Path) -> Result<(), DiskError> {
    let disk = RealDisk::new();
    disk.create_folder(folder)?;
    disk.sync_folder(folder.parent().unwrap_or(folder))
}

fn not_taken_in(error: &StoreError) -> ApiError {
    match error {
        StoreError::Folder { .. } => invalid(error.to_string(), "name an empty folder"),
        StoreError::Io(disk) if is_of_the_path(disk) => unmade(disk),
        _ => ApiError::new(ErrorCode::Internal, error.to_string(), "check its disk, then ask again"),
    }
}
