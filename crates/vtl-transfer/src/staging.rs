//! The folder in which objects stay on their way: one folder for each job, files for the owner only, room left for others.
//!
//! Beside an object that is sent in parts lies how far its upload came (`NAME.upload`): a wish and not a promise. It is not synced, since
//! what was lost with it is sent again, and the job knows how to remove what is on the remote.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use vtl_bundle::Stored;
use vtl_jobs::{Class, Failure};
use vtl_remote::{Checkpoint, hex};

use crate::pace::Pace;
use crate::trouble::{Trouble, local};

/// The folders of jobs begin so.
const JOB: &str = "job-";
/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_secs(1);
/// What is added to an object's name for how far its upload came.
const UPLOAD: &str = ".upload";
/// A file is read in pieces of so many bytes.
const PIECE: usize = 1 << 20;
/// After so many bytes of a file it is looked whether there is room for more.
const ROOM_STEP: u64 = 8 << 20;
/// Of a small file system no more is left to others than its part of this number.
const MARGIN_PART: u64 = 4;
/// An object that has its room and is being made may use the margin's part of this number: what others write, and what a file costs beside its
/// bytes, does not stop it at once.
const SLACK_PART: u64 = 2;
/// What helps where others have taken room that was promised.
const MAKE_ROOM: &str = "make room there";

/// Bytes that are promised to files and not yet in them, by the folder that the jobs' folders are in. One count for all jobs of the process: they
/// share the file system, and two that each count for themselves could both wait for ever.
static PROMISED: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

fn promised() -> MutexGuard<'static, BTreeMap<PathBuf, u64>> {
    PROMISED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What it can hold.
    pub all: u64,
    /// What of that is free.
    pub free: u64,
}

/// Who tells how much room there is.
pub trait Measure: std::fmt::Debug + Send + Sync {
    /// Of the file system that this folder is on; none: it cannot be told.
    fn space(&self, folder: &Path) -> Option<Space>;
}

/// The system tells it.
#[derive(Debug)]
struct OfTheSystem;

impl Measure for OfTheSystem {
    fn space(&self, folder: &Path) -> Option<Space> {
        let about = rustix::fs::statvfs(folder).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
        let for_root = about.f_bfree.saturating_sub(about.f_bavail);
        let all = bytes(about.f_blocks.saturating_sub(for_root));
        // Some that are far away tell no size.
        (all > 0).then(|| Space { all, free: bytes(about.f_bavail) })
    }
}

/// Why there is no room for a file. In bytes, with what is left to others.
#[derive(Debug, PartialEq, Eq)]
enum Lack {
    /// There may be later.
    ForNow { needed: u64, free: u64 },
    /// An empty file system would not do.
    ForEver { needed: u64, all: u64 },
}

/// The staging folder of one job. Dropping it removes it with all that is in it, unless it is left.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    margin_bytes: u64,
    by: Arc<dyn Measure>,
    stays: bool,
}

impl Staging {
    /// Makes `parent`/`name`, empty and for the owner only. `margin_bytes`: so much of the file system is left free, or a quarter of it where that is less.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(parent: &Path, name: &str, margin_bytes: u64) -> Result<Self, Trouble> {
        let path = parent.join(name);
        let made = remove(&path).and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(&path));
        made.map_err(|error| local(&format!("the staging folder {}", path.display()), &error))?;
        Ok(Self::at(path, margin_bytes))
    }

    fn at(path: PathBuf, margin_bytes: u64) -> Self {
        Self { path, margin_bytes, by: Arc::new(OfTheSystem), stays: false }
    }

    /// The same, with what a crash has left of these objects, which follow each other: as many from the first on as lie there whole, with
    /// the hash that is known of them. Everything else in the folder goes.
    ///
    /// # Errors
    /// The folder cannot be made or read; or a stop is wanted.
    pub fn reopen(
        parent: &Path,
        name: &str,
        margin_bytes: u64,
        objects: &[Stored],
        pace: &dyn Pace,
    ) -> Result<(Self, Vec<Left>), Trouble> {
        let path = parent.join(name);
        let failed = |error: io::Error| local(&format!("the staging folder {}", path.display()), &error);
        let mut left = Vec::new();
        for object in objects {
            match left_of(&path, object, pace) {
                Ok(Some(one)) => left.push(one),
                Ok(None) => break,
                Err(trouble) => {
                    left.into_iter().for_each(Left::leave);
                    return Err(trouble);
                }
            }
        }
        if left.is_empty() {
            return Ok((Self::open(parent, name, margin_bytes)?, left));
        }
        for entry in fs::read_dir(&path).map_err(failed)? {
            let there = entry.map_err(failed)?.path();
            if !left.iter().any(|one| one.kept.has(&there)) {
                fs::remove_file(&there).map_err(failed)?;
            }
        }
        Ok((Self::at(path, margin_bytes), left))
    }

    /// Leaves it to the next attempt, with what is in it.
    pub fn leave(mut self) {
        self.stays = true;
    }

    /// The same where room is told by somebody else than the system.
    #[must_use]
    pub fn measured(mut self, by: Arc<dyn Measure>) -> Self {
        self.by = by;
        self
    }

    fn space(&self) -> Space {
        // Who cannot tell is not believed to be full; a write that fails says so.
        self.by.space(&self.path).unwrap_or(Space { all: u64::MAX, free: u64::MAX })
    }

    fn margin(&self, space: Space) -> u64 {
        self.margin_bytes.min(space.all / MARGIN_PART)
    }

    /// Waits until so much can be written, with the margin and what is promised to others left, and keeps the room. `otherwise`: what helps when there
    /// is none.
    ///
    /// # Errors
    /// A stop is wanted; or there can never be so much room.
    pub(crate) fn promise(&self, bytes: u64, otherwise: &str, pace: &dyn Pace) -> Result<Room, Trouble> {
        let mut told = false;
        loop {
            match self.try_promise(bytes) {
                Ok(room) => return Ok(room),
                Err(Lack::ForEver { needed, all }) => {
                    return Err(self.too_small(needed, all, otherwise).into());
                }
                Err(Lack::ForNow { needed, free }) => {
                    self.wait(needed, free, &format!("make room there, or {otherwise}"), &mut told, pace)?;
                }
            }
        }
    }

    fn try_promise(&self, bytes: u64) -> Result<Room, Lack> {
        let parent = self.path.parent().unwrap_or(&self.path);
        let mut promised = promised();
        let space = self.space();
        let alone = self.margin(space).saturating_add(bytes);
        if alone > space.all {
            return Err(Lack::ForEver { needed: alone, all: space.all });
        }
        let now = promised.get(parent).copied().unwrap_or(0);
        let needed = alone.saturating_add(now);
        if space.free < needed {
            return Err(Lack::ForNow { needed, free: space.free });
        }
        promised.insert(parent.to_path_buf(), now.saturating_add(bytes));
        Ok(Room { parent: parent.to_path_buf(), left: bytes })
    }

    fn too_small(&self, needed: u64, all: u64, remedy: &str) -> Failure {
        Failure {
            class: Class::Permanent,
            code: "full".to_owned(),
            message: format!(
                "the staging folder {} is too small for an object: {needed} bytes are needed, its file system holds {all}",
                self.path.display()
            ),
            remedy: Some(remedy.to_owned()),
        }
    }

    /// Waits until so much of a file that has its room can be written: others may have taken it.
    fn wait_under_way(&self, bytes: u64, pace: &dyn Pace) -> Result<(), Trouble> {
        let mut told = false;
        loop {
            let space = self.space();
            let needed = (self.margin(space) / SLACK_PART).saturating_add(bytes);
            if space.free >= needed {
                return Ok(());
            }
            self.wait(needed, space.free, MAKE_ROOM, &mut told, pace)?;
        }
    }

    fn wait(
        &self,
        needed: u64,
        free: u64,
        remedy: &str,
        told: &mut bool,
        pace: &dyn Pace,
    ) -> Result<(), Trouble> {
        if !std::mem::replace(told, true) {
            let folder = self.path.display();
            pace.note(&format!(
                "waits for room in the staging folder {folder}: {needed} bytes are needed, {free} are free; {remedy}"
            ));
        }
        if pace.wait(LOOK) { Ok(()) } else { Err(Trouble::Stopped) }
    }

    /// A new file for an object, in room that was promised to it. `name` has been checked: it is a plain file name.
    pub(crate) fn create(&self, name: &str, room: Room) -> Result<Writing<'_>, Trouble> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| local(&format!("staging {name}"), &error))?;
        Ok(Writing {
            staging: self,
            kept: Kept::new(path),
            file,
            bytes: 0,
            looks_at: None,
            room,
            name: name.to_owned(),
        })
    }
}

/// Room that is kept for one file. What is not used is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    parent: PathBuf,
    left: u64,
}

impl Room {
    /// So much of it is in the file now, and the file system knows of it.
    fn used(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        let mut all = promised();
        if let Some(sum) = all.get_mut(&self.parent) {
            *sum = sum.saturating_sub(bytes);
            if *sum == 0 {
                all.remove(&self.parent);
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.used(self.left);
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.stays
            && let Err(error) = remove(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a staging folder stays until the next start");
        }
    }
}

/// Removes what earlier processes have left in the staging folder, but for the folders of these jobs, which may go on with it. To be called
/// before any job runs.
///
/// # Errors
/// Something stays.
pub fn empty(parent: &Path, but_for: &[String]) -> io::Result<()> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if !but_for.iter().any(|name| path.ends_with(name)) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes what a job that does not go on may have left.
///
/// # Errors
/// Something stays.
pub fn discard(parent: &Path, name: &str) -> io::Result<()> {
    remove(&parent.join(name))
}

/// Removes a job's folder, when it has the name of one: the operator may have put other things beside.
fn remove(path: &Path) -> io::Result<()> {
    let ours = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(JOB));
    if !ours {
        return Ok(());
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// A file that is removed when this is dropped, with what lies beside it, unless it is left.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    stays: bool,
}

impl Kept {
    const fn new(path: PathBuf) -> Self {
        Self { path, stays: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it to the next attempt.
    pub(crate) fn leave(mut self) {
        self.stays = true;
    }

    fn upload(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(UPLOAD);
        path.into()
    }

    fn has(&self, path: &Path) -> bool {
        path == self.path || path == self.upload()
    }

    /// Notes how far the upload came: whole or not at all.
    pub(crate) fn note(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let upload = self.upload();
        let new = upload.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new);
        file.and_then(|mut file| io::Write::write_all(&mut file, checkpoint.as_str().as_bytes()))?;
        fs::rename(&new, &upload)
    }

    fn noted(&self) -> Option<Checkpoint> {
        fs::read_to_string(self.upload()).ok().filter(|text| !text.is_empty()).map(Checkpoint::new)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        for path in [&self.upload(), &self.path] {
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a staged object stays until its job ends");
            }
        }
    }
}

/// A staged object that a crash has left whole.
#[derive(Debug)]
pub struct Left {
    pub(crate) object: Stored,
    pub(crate) kept: Kept,
    /// How far its upload came, as far as that is known here.
    pub(crate) upload: Option<Checkpoint>,
}

impl Left {
    /// What it is.
    #[must_use]
    pub const fn object(&self) -> &Stored {
        &self.object
    }

    /// Leaves it to the next attempt.
    pub fn leave(self) {
        self.kept.leave();
    }

    /// The same with this word of its upload, when none lies beside it.
    #[must_use]
    pub fn or_upload(mut self, noted: Option<Checkpoint>) -> Self {
        self.upload = self.upload.or(noted);
        self
    }
}

/// What is left of an object, when it is whole.
fn left_of(folder: &Path, object: &Stored, pace: &dyn Pace) -> Result<Option<Left>, Trouble> {
    // A name that came from a checkpoint is a plain one, or it is none of ours.
    if object.name.contains('/') || object.name.starts_with('.') {
        return Ok(None);
    }
    let kept = Kept::new(folder.join(&object.name));
    let hash = match hash_of(kept.path(), object.bytes, pace) {
        Ok(hash) => hash,
        Err(Unread::Stopped) => {
            kept.leave();
            return Err(Trouble::Stopped);
        }
        Err(Unread::Io) => return Ok(None),
    };
    if hash != object.sha256 {
        pace.note(&format!("{} in the staging folder is not what it was: it is made anew", object.name));
        return Ok(None);
    }
    let upload = kept.noted();
    Ok(Some(Left { object: object.clone(), kept, upload }))
}

enum Unread {
    Stopped,
    Io,
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// The SHA-256 of a file of this length, in hexadecimal.
fn hash_of(path: &Path, bytes: u64, pace: &dyn Pace) -> Result<String, Unread> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() != bytes {
        return Err(Unread::Io);
    }
    let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE]);
    loop {
        let count = file.read(&mut piece)?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
        hash.update(read);
        if !pace.goes_on() {
            return Err(Unread::Stopped);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// A file that is being written.
pub(crate) struct Writing<'a> {
    staging: &'a Staging,
    kept: Kept,
    file: File,
    name: String,
    bytes: u64,
    /// From this byte on it is looked once more whether there is room.
    looks_at: Option<u64>,
    room: Room,
}

impl Writing<'_> {
    /// Looks on its way whether others have taken its room, and waits then. For who holds nothing that others need to make some.
    pub(crate) fn watching(mut self) -> Self {
        self.looks_at = Some(0);
        self
    }

    /// Appends bytes; waits while there is no room.
    pub(crate) fn write(&mut self, bytes: &[u8], pace: &dyn Pace) -> Result<(), Trouble> {
        let end = self.bytes + bytes.len() as u64;
        if self.looks_at.is_some_and(|at| end > at) {
            self.staging.wait_under_way(self.room.left.min(ROOM_STEP), pace)?;
            self.looks_at = Some(end + ROOM_STEP);
        }
        let mut told = false;
        // At its place each time: a write that was cut off is done again.
        while let Err(error) = self.file.write_all_at(bytes, self.bytes) {
            if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
                return Err(local(&format!("staging {}", self.name), &error).into());
            }
            let free = self.staging.space().free;
            self.staging.wait(bytes.len() as u64, free, MAKE_ROOM, &mut told, pace)?;
        }
        self.bytes = end;
        self.room.used(bytes.len() as u64);
        Ok(())
    }

    /// The whole file, open for reading.
    pub(crate) fn finish(self) -> (Kept, File) {
        (self.kept, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[derive(Debug)]
    struct Disk(Space);

    impl Measure for Disk {
        fn space(&self, _: &Path) -> Option<Space> {
            Some(self.0)
        }
    }

    #[test]
    fn room_that_is_promised_is_promised_once_among_all_jobs_and_what_is_not_used_is_given_back() {
        let home = tempfile::tempdir().unwrap();
        let of_job = |name| Staging::open(home.path(), name, 0).unwrap();
        let (first, second) = (of_job("job-1"), of_job("job-2"));
        let about = rustix::fs::statvfs(home.path()).unwrap();
        // Other tests write meanwhile, but not so much.
        let most = about.f_bavail * about.f_frsize / 3 * 2;
        let mut room = first.try_promise(most).unwrap();
        assert!(first.try_promise(most).is_err() && second.try_promise(most).is_err());
        room.used(most - 5);
        assert_eq!(promised().get(home.path()), Some(&5));
        assert!(second.try_promise(most).is_ok());
        drop(room);
        assert_eq!(promised().get(home.path()), None);
    }

    #[test]
    fn of_a_small_file_system_a_quarter_is_left_free_and_what_fits_in_the_rest_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let tried = |all_mib: u64, free_mib: u64, bytes_mib: u64| {
            let staging = Staging::open(home.path(), "job-1", 256 * MIB).unwrap();
            let space = Space { all: all_mib * MIB, free: free_mib * MIB };
            staging.measured(Arc::new(Disk(space))).try_promise(bytes_mib * MIB).map(drop)
        };
        let for_now = |needed: u64, free: u64| Err(Lack::ForNow { needed: needed * MIB, free: free * MIB });
        let for_ever = |needed: u64, all: u64| Err(Lack::ForEver { needed: needed * MIB, all: all * MIB });
        assert_eq!(tried(128, 128, 96), Ok(()));
        assert_eq!(tried(128, 127, 96), for_now(128, 127));
        assert_eq!(tried(128, 128, 97), for_ever(129, 128));
        assert_eq!(tried(128, 0, 97), for_ever(129, 128));
        assert_eq!(tried(8192, 8192, 10_240), for_ever(10_496, 8192));
        assert_eq!(tried(51_200, 8192, 10_240), for_now(10_496, 8192));
        assert_eq!(tried(51_200, 10_496, 10_240), Ok(()));
    }

    #[test]
    fn a_file_system_of_which_nothing_is_told_is_not_believed_to_be_full() {
        #[derive(Debug)]
        struct Silent;
        impl Measure for Silent {
            fn space(&self, _: &Path) -> Option<Space> {
                None
            }
        }
        let home = tempfile::tempdir().unwrap();
        let staging = Staging::open(home.path(), "job-1", 256 * MIB).unwrap().measured(Arc::new(Silent));
        assert!(staging.try_promise(1 << 50).is_ok());
    }
}
