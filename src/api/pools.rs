//! Pools as the API tells them. There is one, `default`; the folders that its packs lie in are the configuration's business.

use std::path::Path;

use vtl_api::{ApiError, CreatePool, Drain, Drained, ErrorCode, PoolFolder, PoolInfo, Problem};
use vtl_store::{Folder, FolderState, Health, StoreError};

use crate::daemon::{Daemon, invalid};

const NAME: &str = "default";

impl Daemon {
    /// All pools: the one.
    pub(crate) fn pool_list(&self) -> Result<Vec<PoolInfo>, ApiError> {
        let folders = self.store.folders();
        let missing = folders.iter().any(|folder| folder.state == FolderState::Missing);
        let state = match self.store.health() {
            Health::ReadOnly { .. } if missing => "degraded",
            Health::ReadOnly { .. } => "read-only",
            Health::Ok if self.store.free_bytes() == 0 => "full",
            Health::Ok => "ok",
        };
        Ok(vec![PoolInfo {
            name: NAME.to_owned(),
            state: state.to_owned(),
            stored_bytes: folders.iter().map(|folder| folder.stored_bytes).sum(),
            free_bytes: self.store.free_bytes(),
            folders: folders.iter().map(told).collect(),
        }])
    }

    pub(crate) fn pool_create(&self, request: &CreatePool) -> Result<(), ApiError> {
        let names = request.paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(", ");
        Err(ApiError {
            code: ErrorCode::Unsupported,
            message: format!("there is one pool, {NAME}; a pool {} cannot be made", request.name),
            remedy: Some(format!(
                "to give {NAME} these folders, write store.folders = [{names}] into the configuration, beside those that it has, and restart vtld"
            )),
        })
    }

    pub(crate) fn pool_remove(&self, name: &str) -> Result<(), ApiError> {
        known(name)?;
        Err(ApiError {
            code: ErrorCode::Unsupported,
            message: format!("{NAME} is the only pool and cannot be removed"),
            remedy: Some(
                "remove cartridges with vtl cartridge rm, or empty one of its folders with vtl pool drain"
                    .to_owned(),
            ),
        })
    }

    /// Moves all packs of a folder to the others.
    pub(crate) fn pool_drain(&self, name: &str, request: &Drain) -> Result<Drained, ApiError> {
        known(name)?;
        let report = self.store.drain(Path::new(&request.path)).map_err(|error| match error {
            StoreError::Folder { .. } => {
                invalid(error.to_string(), "see vtl pool ls for the folders that there are")
            }
            other => self.not_collected(&other),
        })?;
        Ok(Drained { moved: report.moved, moved_bytes: report.moved_bytes, left: report.left })
    }

    /// Folders that an operator has to look after.
    pub(crate) fn folder_problems(&self) -> Vec<Problem> {
        let folders = self.store.folders();
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
}

fn known(name: &str) -> Result<(), ApiError> {
    if name == NAME {
        return Ok(());
    }
    Err(ApiError {
        code: ErrorCode::NotFound,
        message: format!("there is no pool {name}"),
        remedy: Some("see vtl pool ls".to_owned()),
    })
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
