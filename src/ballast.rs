//! Space that is kept for the start: a file in the state folder that is allocated and holds nothing.
//!
//! A start must write: a new journal file, heads, the inventory's log. On a file system that others have filled to the last byte it could not, and
//! who cannot start cannot remove anything either. So a start that finds too little room empties this file first, and the daemon fills it again when
//! there is plenty. That it is empty is the note that it was given up. It helps the store, too, while that lies on the same file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tracing::{info, warn};
use vtl_api::Problem;

/// What is kept: room for what a start needs, and some to go on with.
const BALLAST_BYTES: u64 = 64 << 20;
/// What a start may need: a journal file of 16 MiB, the head of one cartridge at a time (at most 24 MiB), the inventory's log.
const START_BYTES: u64 = 48 << 20;
/// What must be free for the ballast to be made: the store's reserve (128 MiB) and the warning before it (256 MiB) are not touched by it.
const PLENTY_BYTES: u64 = (128 << 20) + (256 << 20) + BALLAST_BYTES;

/// The file. Whoever uses it holds the lock on the state folder.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
}

impl Ballast {
    /// The ballast of a state folder.
    pub fn of(folder: &Path) -> Self {
        Self { path: folder.join("ballast") }
    }

    /// Gives the space back when the start needs it.
    pub fn give_up_if_needed(&self) {
        if self.free().is_some_and(|free| free < START_BYTES) {
            self.give_up();
        }
    }

    /// Makes or fills the file when there is plenty of room.
    pub fn fill_if_there_is_room(&self) {
        if self.len() != Some(BALLAST_BYTES) && self.free().is_some_and(|free| free >= PLENTY_BYTES) {
            match self.fill() {
                Ok(()) => info!(bytes = BALLAST_BYTES, "space is kept for a start on a full file system"),
                Err(error) => {
                    self.give_up();
                    warn!(path = %self.path.display(), %error, "no space is kept for a start on a full file system");
                }
            }
        }
    }

    /// What an operator should know: the next start on a full file system will fail.
    pub fn problem(&self) -> Option<Problem> {
        let given_up = self.len().is_some_and(|len| len < BALLAST_BYTES);
        given_up.then(|| Problem {
            subject: "state folder".to_owned(),
            message: format!(
                "its file system was full at a start, which used up the space kept for that ({}): another such start would fail",
                self.path.display()
            ),
            remedy: format!(
                "free space there, or remove cartridges (vtl cartridge rm LABEL --now --confirm LABEL); with {} MiB free the space is kept again",
                PLENTY_BYTES >> 20
            ),
        })
    }

    fn give_up(&self) {
        // The file stays: an empty one tells that there was one. To cut it off takes no space.
        let emptied = OpenOptions::new().write(true).open(&self.path).and_then(|file| file.set_len(0));
        match emptied {
            Ok(()) => warn!(
                bytes = BALLAST_BYTES,
                "the file system is full: the space kept for this start is given up"
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(path = %self.path.display(), %error, "the space kept for this start cannot be given up")
            }
        }
    }

    fn fill(&self) -> io::Result<()> {
        let file: File =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES)?;
        Ok(())
    }

    fn len(&self) -> Option<u64> {
        std::fs::metadata(&self.path).map(|found| found.len()).ok()
    }

    /// What this process can still write there.
    fn free(&self) -> Option<u64> {
        let system = statvfs(self.path.parent()?).ok()?;
        Some(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_ballast_is_really_allocated_and_an_empty_one_is_a_problem_until_it_is_filled_again() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::of(folder.path());
        assert_eq!(ballast.problem(), None, "a small file system has none, and that is no news");
        ballast.give_up();
        assert_eq!(ballast.len(), None);
        ballast.fill().unwrap();
        let found = std::fs::metadata(folder.path().join("ballast")).unwrap();
        assert!(found.blocks() * 512 >= BALLAST_BYTES, "{} blocks", found.blocks());
        assert_eq!((found.mode() & 0o777, ballast.problem()), (0o600, None));
        ballast.give_up();
        let found = std::fs::metadata(folder.path().join("ballast")).unwrap();
        assert_eq!((found.len(), found.blocks()), (0, 0));
        let problem = ballast.problem().unwrap();
        assert!(problem.remedy.contains("remove cartridges"), "{problem:?}");
        ballast.fill().unwrap();
        assert_eq!(ballast.problem(), None);
    }
}
