//! The operations that durable code may use, and their error.

use std::fmt;
use std::io;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened. New files have mode 0600.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, reading only.
    Read,
    /// An existing file, reading and writing.
    Write,
    /// A new file, reading and writing; one that exists already is an error.
    Create,
    /// Reading and writing; made when it is not there. For lock files.
    CreateIfMissing,
}

/// Direct writes begin and end at multiples of this, in the file and in memory. No disk wants more.
pub const DIRECT_ALIGN: usize = 4096;

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The name without its folder. A name that is not UTF-8 is never one of ours and is not listed.
    pub name: String,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// A place for files: the real file system or a simulated one. All calls block.
///
/// A new, renamed or unlinked name is durable after [`Disk::sync_folder`] of its folder; written bytes and a changed
/// length are durable after [`DiskFile::sync_data`]. Nothing else is promised, and nothing else may be relied on.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file.
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError>;
    /// Opens a file that is read and written past the system's copies in memory, where that works, and through them elsewhere: [`DiskFile::is_direct`] tells.
    /// Whoever opens it so writes it in pieces aligned to [`DIRECT_ALIGN`], as [`crate::PageBuffer`] has them. What is read may lie anywhere.
    fn open_direct(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open(path, how)
    }
    /// Whether the system has memory that nothing uses: what is written is kept there, and takes the room of nothing else.
    fn has_idle_memory(&self) -> bool {
        false
    }
    /// Gives a file another name in the same folder, replacing what had that name.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError>;
    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> Result<(), DiskError>;
    /// Makes a folder with mode 0700; one that exists already is fine. Its parent must exist.
    fn create_folder(&self, path: &Path) -> Result<(), DiskError>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> Result<(), DiskError>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> Result<(), DiskError>;
    /// The names in a folder, sorted.
    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError>;
    /// Bytes that may still be written by us on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError>;
    /// Which file system holds `path`: two paths with the same answer share their free space.
    fn file_system(&self, _path: &Path) -> Result<u64, DiskError> {
        Ok(0)
    }
}

/// An open file. All calls name their offset; there is no shared position.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Appends up to `len` bytes from `offset` to `out` and returns how many; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError>;
    /// Writes all parts one after the other from `offset`. On an error any part of them may have been written.
    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError>;
    /// The file's length.
    fn size(&self) -> Result<u64, DiskError>;
    /// Cuts or extends the file; new bytes are zeros.
    fn set_size(&self, bytes: u64) -> Result<(), DiskError>;
    /// Reserves space for the first `bytes` bytes without changing the length. A file system that cannot do it
    /// answers as if it had: the reservation is a precaution, not a promise.
    fn allocate(&self, bytes: u64) -> Result<(), DiskError>;
    /// Makes written bytes and the length durable. After an error the file must not be trusted any more.
    fn sync_data(&self) -> Result<(), DiskError>;
    /// Takes the file's exclusive lock for as long as the handle lives; `false` when another has it.
    fn try_lock(&self) -> Result<bool, DiskError>;

    /// Whether reads and writes go past the system's copies in memory. What they wrote is durable after [`DiskFile::sync_data`] all the same, not before.
    fn is_direct(&self) -> bool {
        false
    }

    /// Asks the system to keep no copy of these bytes in memory: what is read next comes from the medium, and what was read takes no room
    /// from others. Bytes that are not synced yet stay. A request: nobody hears whether it was heeded.
    fn forget_cached(&self, _offset: u64, _len: u64) {}

    /// Asks the system to begin writing these bytes to the medium, so that [`DiskFile::sync_data`] finds less to do. A request, too: what goes wrong
    /// is told by the sync. It may wait for a medium that is busy, and of bytes that are there already the copies in memory may go.
    fn begin_writing(&self, _offset: u64, _len: u64) {}

    /// Writes all parts at the end of the file.
    fn append(&self, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        self.write_at(self.size()?, parts)
    }
}

/// What has to change before an operation on a path that failed can succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The path: nothing is where it begins, something is in its place, or the process may not go there.
    Path,
    /// The file system is for reading only, or is so to this process.
    ReadOnly,
    /// No space is left, or a quota is reached.
    Space,
    /// Something else has it in use.
    InUse,
    /// The disk, or nothing that the path would tell.
    Disk,
}

impl Blame {
    /// What an error of this kind is about: the one list of these kinds.
    pub fn of(kind: io::ErrorKind) -> Self {
        use io::ErrorKind::{
            AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound,
            PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, ResourceBusy, StorageFull,
        };
        match kind {
            AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory | NotFound
            | PermissionDenied => Self::Path,
            ReadOnlyFilesystem => Self::ReadOnly,
            StorageFull | QuotaExceeded => Self::Space,
            ResourceBusy => Self::InUse,
            _ => Self::Disk,
        }
    }
}

/// An operation on a path that failed.
#[derive(Debug)]
pub struct DiskError {
    /// What was tried, as a verb: `read`, `write`, `sync`.
    pub op: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    /// An error of `op` on `path`.
    pub fn new(op: &'static str, path: &Path, source: io::Error) -> Self {
        Self { op, path: path.to_path_buf(), source }
    }

    /// What has to change.
    pub fn blame(&self) -> Blame {
        Blame::of(self.source.kind())
    }

    /// No space left, or a quota reached.
    pub fn is_full(&self) -> bool {
        self.blame() == Blame::Space
    }

    /// The name is not there.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    fn remedy(&self) -> &'static str {
        match self.source.kind() {
            _ if self.is_full() => "free space on this file system",
            io::ErrorKind::PermissionDenied => "give the folder to the user that runs the service",
            io::ErrorKind::NotFound => "check that the file system is mounted",
            io::ErrorKind::ResourceBusy => "see what else uses it",
            io::ErrorKind::ReadOnlyFilesystem => {
                "look for disk errors in the system log, then remount it; or open the folder to the service"
            }
            _ => "look for disk errors in the system log",
        }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {} ({})", self.op, self.path.display(), self.source, self.remedy())
    }
}

impl std::error::Error for DiskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_tells_whether_path_mount_space_or_disk_has_to_change() {
        // errno of Linux, asm-generic/errno-base.h and errno.h.
        for (number, blame) in [
            (1, Blame::Path),      // EPERM
            (2, Blame::Path),      // ENOENT
            (5, Blame::Disk),      // EIO
            (13, Blame::Path),     // EACCES
            (16, Blame::InUse),    // EBUSY
            (17, Blame::Path),     // EEXIST
            (20, Blame::Path),     // ENOTDIR
            (21, Blame::Path),     // EISDIR
            (22, Blame::Path),     // EINVAL
            (28, Blame::Space),    // ENOSPC
            (30, Blame::ReadOnly), // EROFS
            (36, Blame::Path),     // ENAMETOOLONG
            (122, Blame::Space),   // EDQUOT
        ] {
            let error = DiskError::new("create", Path::new("/x"), io::Error::from_raw_os_error(number));
            assert_eq!((error.blame(), error.is_full()), (blame, blame == Blame::Space), "{error}");
        }
        let busy = DiskError::new("lock", Path::new("/x"), io::ErrorKind::ResourceBusy.into()).to_string();
        assert!(busy.ends_with("(see what else uses it)"), "{busy}");
    }
}
