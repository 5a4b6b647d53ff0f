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

/// Libraries whose setting `migrate.NOUN` has this name, and jobs that have not ended whose request has a field `NOUN` with it. There may be several
/// names with commas between them.
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
    Ok(users)
}

/// Whether a name is in a list with commas.
pub fn has(list: &str, name: &str) -> bool {
    list.split(',').any(|one| one.trim() == name)
}

/// As the API tells it.
pub fn refused(error: NotTold) -> vtl_api::ApiError {
    match error {
        NotTold::Library(error) => crate::api::refused(&error),
        NotTold::Jobs(error) => crate::jobs::not_done(None, &error),
    }
}
