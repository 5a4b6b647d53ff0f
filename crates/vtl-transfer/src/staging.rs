//! The folder in which objects stay on their way: one folder for each job, files for the owner only, room left for others.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pace::Pace;
use crate::trouble::{Trouble, local};

/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_secs(1);
/// After so many bytes of a file it is looked whether there is room for more.
const ROOM_STEP: u64 = 8 << 20;

/// The staging folder of one job. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    margin_bytes: u64,
}

impl Staging {
    /// Makes `parent`/`name`, empty and for the owner only. `margin_bytes`: so much of the file system is left free.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(parent: &Path, name: &str, margin_bytes: u64) -> Result<Self, Trouble> {
        let path = parent.join(name);
        let made = remove(&path).and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&path));
        made.map_err(|error| local(&format!("the staging folder {}", path.display()), &error))?;
        Ok(Self { path, margin_bytes })
    }

    fn has_room(&self, bytes: u64) -> bool {
        let free = rustix::fs::statvfs(&self.path)
            .map(|about| about.f_bavail.saturating_mul(about.f_frsize))
            // Who cannot tell is not believed to be full; a write that fails says so.
            .unwrap_or(u64::MAX);
        free >= self.margin_bytes.saturating_add(bytes)
    }

    /// Waits until so much can be written and the margin is left.
    pub(crate) fn wait_for_room(&self, bytes: u64, pace: &dyn Pace) -> Result<(), Trouble> {
        let mut told = false;
        while !self.has_room(bytes) {
            self.wait(&mut told, pace)?;
        }
        Ok(())
    }

    fn wait(&self, told: &mut bool, pace: &dyn Pace) -> Result<(), Trouble> {
        if !std::mem::replace(told, true) {
            pace.note(&format!("waits for room in the staging folder {}", self.path.display()));
        }
        if pace.wait(LOOK) { Ok(()) } else { Err(Trouble::Stopped) }
    }

    /// A new file for an object. `name` has been checked: it is a plain file name.
    pub(crate) fn create(&self, name: &str) -> Result<Writing<'_>, Trouble> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| local(&format!("staging {name}"), &error))?;
        Ok(Writing { staging: self, kept: Kept(path), file, bytes: 0, room_for: 0, name: name.to_owned() })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a staging folder stays until the next start");
        }
    }
}

/// Removes what earlier processes have left in the staging folder. To be called before any job runs.
///
/// # Errors
/// Something stays.
pub fn empty(parent: &Path) -> io::Result<()> {
    match fs::read_dir(parent) {
        Ok(entries) => entries.into_iter().try_for_each(|entry| remove(&entry?.path())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a job's folder, when it has the name of one: the operator may have put other things beside.
fn remove(path: &Path) -> io::Result<()> {
    let ours = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("job-"));
    if !ours {
        return Ok(());
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// A file that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Kept(PathBuf);

impl Kept {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "a staged object stays until its job ends");
        }
    }
}

/// A file that is being written.
pub(crate) struct Writing<'a> {
    staging: &'a Staging,
    kept: Kept,
    file: File,
    name: String,
    bytes: u64,
    /// Up to here there was room at the last look.
    room_for: u64,
}

impl Writing<'_> {
    /// Appends bytes; waits while there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8], pace: &dyn Pace) -> Result<(), Trouble> {
        let end = self.bytes + bytes.len() as u64;
        if end > self.room_for {
            self.staging.wait_for_room(ROOM_STEP, pace)?;
            self.room_for = end + ROOM_STEP;
        }
        let mut told = false;
        // At its place each time: a write that was cut off is done again.
        while let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return Err(local(&format!("staging {}", self.name), &error).into());
            }
            self.staging.wait(&mut told, pace)?;
        }
        self.bytes = end;
        Ok(())
    }

    /// The whole file, open for reading.
    pub(crate) fn finish(self) -> (Kept, File) {
        (self.kept, self.file)
    }
}
