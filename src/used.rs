//! Who uses a remote or a key, so that it is not taken from under anybody.

use serde_json::Value;
use vtl_jobs::JobError;
use vtl_library::LibraryError;
use vtl_meta::{MetaError, Tx};

/// Why that cannot be told.
#[derive(Debug)]
pub enum NotTold {
    /// The libraries of the inventory.
    Library(LibraryError),
    /// Its jobs.
    Jobs(JobError),
}

impl From<LibraryError> for NotTold {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<MetaError> for NotTold {
    fn from(error: MetaError) -> Self {
        Self::Library(error.into())
    }
}

impl From<JobError> for NotTold {
    fn from(error: JobError) -> Self {
        Self::Jobs(error)
    }
}

/// Libraries whose setting `migrate.NOUN` has this name, jobs that have not ended whose request has a field `NOUN` with it, and for a remote
/// cartridges whose rest is there. There may be several names with commas between them.
///
/// # Errors
/// See [`NotTold`].
pub fn by(tx: &Tx<'_>, noun: &str, name: &str) -> Result<Vec<String>, NotTold> {
    let mut users = Vec::new();
    for library in vtl_library::libraries(tx)? {
        let key = format!("migrate.{noun}");
        let set = vtl_library::settings(tx, &library.name)?;
        if set.iter().any(|(own, value)| *own == key && has(value, name)) {
            users.push(format!("library {}", library.name));
        }
    }
    for job in vtl_jobs::unfinished(tx)? {
        let request: Option<Value> = serde_json::from_str(&job.request).ok();
        if request.is_some_and(|request| request[noun].as_str().is_some_and(|value| has(value, name))) {
            users.push(format!("job {}", job.id));
        }
    }
    if noun == "remote" {
        let rows = vtl_migrate::lazy_all(tx)?.into_iter().filter(|row| row.remote == name);
        users.extend(rows.map(|row| partly_here(&row)));
    }
    Ok(users)
}

/// Whether a name is in a list with commas.
pub fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|one| one.trim() == name)
}

/// Cartridges whose rest opens with the key that has this fingerprint (hexadecimal).
///
/// # Errors
/// See [`NotTold`].
pub fn by_fingerprint(tx: &Tx<'_>, fingerprint: &str) -> Result<Vec<String>, NotTold> {
    let rows = vtl_migrate::lazy_all(tx)?;
    let needs = rows.iter().filter(|row| row.keys.iter().any(|key| key == fingerprint));
    Ok(needs.map(partly_here).collect())
}

fn partly_here(row: &vtl_migrate::LazyRow) -> String {
    format!("cartridge {}, which is not all here yet", row.label)
}

/// As the API tells it.
pub fn refused(error: NotTold) -> vtl_api::ApiError {
    match error {
        NotTold::Library(error) => crate::api::refused(&error),
        NotTold::Jobs(error) => crate::jobs::not_done(None, &error),
    }
}
