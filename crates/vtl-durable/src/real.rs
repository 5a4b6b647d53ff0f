//! The disk as the operating system gives it.

use std::cell::RefCell;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate, fcntl_getfl, fcntl_setfl, statvfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use rustix::system::sysinfo;

use crate::disk::{DIRECT_ALIGN, Disk, DiskError, DiskFile, Found, Open};
use crate::pages::PageBuffer;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Linux takes at most this many pieces in one `pwritev` (UIO_MAXIOV).
const MAX_PIECES: usize = 1024;
/// Memory lies idle when more than this part of it is used for nothing.
const IDLE_SHARE: u64 = 8;
/// What one direct read brings at most: a region of the usual length and the rest of its first and last page.
const READ_BYTES: usize = (192 + 8) << 10;

/// The real file system.
#[derive(Clone, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The real file system.
    pub fn new() -> Self {
        Self
    }
}

impl RealDisk {
    fn open_file(path: &Path, how: Open) -> Result<RealFile, DiskError> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(FILE_MODE);
        match how {
            Open::Read => {}
            Open::Write => {
                options.write(true);
            }
            Open::Create => {
                options.write(true).create_new(true);
            }
            Open::CreateIfMissing => {
                options.write(true).create(true);
            }
        }
        let op = if how == Open::Create { "create" } else { "open" };
        let file = options.open(path).map_err(|error| DiskError::new(op, path, error))?;
        Ok(RealFile { file, path: path.to_path_buf(), direct: AtomicBool::new(false), past: None })
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(Arc::new(Self::open_file(path, how)?))
    }

    fn open_direct(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = Self::open_file(path, how)?;
        if how == Open::Read {
            // A copy in memory serves a read as well, where there is one.
            let past = Self::open_file(path, how)?;
            past.set_direct(true);
            let past = past.is_direct().then(|| Box::new(past));
            return Ok(Arc::new(RealFile { past, ..file }));
        }
        // Asked of the open file: a file system that refuses it leaves a new file behind when the opening asks.
        file.set_direct(true);
        Ok(Arc::new(file))
    }

    fn has_idle_memory(&self) -> bool {
        let info = sysinfo();
        info.freeram > info.totalram / IDLE_SHARE
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(from, to).map_err(|error| DiskError::new("rename to", to, error))
    }

    fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_file(path).map_err(|error| DiskError::new("unlink", path, error))
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        match fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result.map_err(|error| DiskError::new("create folder", path, error)),
        }
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        fs::remove_dir(path).map_err(|error| DiskError::new("remove folder", path, error))
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        let synced = fs::File::open(path).and_then(|folder| folder.sync_all());
        synced.map_err(|error| DiskError::new("sync folder", path, error))
    }

    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
        let read = || -> io::Result<Vec<Found>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if let Ok(name) = entry.file_name().into_string() {
                    found.push(Found { name, is_folder: entry.file_type()?.is_dir() });
                }
            }
            found.sort();
            Ok(found)
        };
        read().map_err(|error| DiskError::new("list", path, error))
    }

    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        let stat = statvfs(path).map_err(|error| DiskError::new("ask free space of", path, error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn file_system(&self, path: &Path) -> Result<u64, DiskError> {
        let data = fs::metadata(path).map_err(|error| DiskError::new("look at", path, error))?;
        Ok(data.dev())
    }
}

/// Has a file go past the system's copies in memory from now on, or through them; whether it does. Past them it is read and written in whole pages, from memory
/// that is aligned to [`DIRECT_ALIGN`].
pub fn set_direct(file: &fs::File, on: bool) -> bool {
    let set = fcntl_getfl(file).and_then(|flags| {
        let wanted = if on { flags | OFlags::DIRECT } else { flags - OFlags::DIRECT };
        fcntl_setfl(file, wanted)
    });
    set.is_ok()
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
    direct: AtomicBool,
    /// The same file, to be read past the system's copies of it in memory, where there are none.
    past: Option<Box<RealFile>>,
}

impl RealFile {
    fn error(&self, op: &'static str, source: impl Into<io::Error>) -> DiskError {
        DiskError::new(op, &self.path, source.into())
    }

    /// Nothing changes where the file system refuses: [`DiskFile::is_direct`] tells.
    fn set_direct(&self, on: bool) {
        if set_direct(&self.file, on) {
            self.direct.store(on, Ordering::Release);
        }
    }
}

thread_local! {
    /// Where direct reads of this thread arrive.
    static ARRIVALS: RefCell<PageBuffer> = RefCell::new(PageBuffer::new(READ_BYTES));
}

impl RealFile {
    /// Whether the system has a copy of this byte, or there is no such byte.
    fn has_copy(&self, offset: u64) -> bool {
        let mut byte = [0];
        let mut room = [IoSliceMut::new(&mut byte)];
        preadv2(&self.file, &mut room, offset, ReadWriteFlags::NOWAIT).is_ok()
    }

    /// Reads the whole pages around what is wanted, and copies that out of them.
    fn read_direct(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, Errno> {
        ARRIVALS.with_borrow_mut(|pages| {
            let start = out.len();
            while out.len() - start < len {
                let at = offset.saturating_add((out.len() - start) as u64);
                let before = (at % DIRECT_ALIGN as u64) as usize;
                let room = before.saturating_add(len - (out.len() - start));
                let file = &self.file;
                let read = |room: &mut [u8]| rustix::io::pread(file, room, at - before as u64);
                match pages.refill(room, read) {
                    Ok(bytes) => {
                        let came = bytes.get(before..room.min(bytes.len())).unwrap_or_default();
                        if came.is_empty() {
                            break;
                        }
                        out.extend_from_slice(came);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(out.len() - start)
        })
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        let last = offset.saturating_add((len as u64).saturating_sub(1));
        // A hint, and not more: either way the bytes are right.
        if let Some(past) = self.past.as_ref().filter(|_| !(self.has_copy(offset) && self.has_copy(last))) {
            return past.read_at(offset, len, out);
        }
        let start = out.len();
        if self.direct.load(Ordering::Acquire) {
            match self.read_direct(offset, len, out) {
                // It wants more alignment than there is.
                Err(Errno::INVAL) => self.set_direct(false),
                other => return other.map_err(|error| self.error("read", error)),
            }
            out.truncate(start);
        }
        let wanted = start.saturating_add(len);
        out.reserve_exact(len);
        while out.len() < wanted {
            let at = offset.saturating_add((out.len() - start) as u64);
            // Straight into the unused room of the vector: nothing is zeroed first.
            match rustix::io::pread(&self.file, spare_capacity(out), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(self.error("read", error)),
            }
        }
        // The room may be larger than what was asked for.
        out.truncate(wanted);
        Ok(out.len() - start)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let mut owned: Vec<IoSlice<'_>> = parts.to_vec();
        let mut left = owned.as_mut_slice();
        IoSlice::advance_slices(&mut left, 0);
        let mut at = offset;
        while !left.is_empty() {
            let batch = left.get(..MAX_PIECES.min(left.len())).unwrap_or_default();
            match rustix::io::pwritev(&self.file, batch, at) {
                Ok(0) => return Err(self.error("write", io::Error::from(io::ErrorKind::WriteZero))),
                Ok(written) => {
                    IoSlice::advance_slices(&mut left, written);
                    at = at.saturating_add(written as u64);
                }
                Err(Errno::INTR) => {}
                // It wants more alignment than there is, or an earlier write was cut short between two pages.
                Err(Errno::INVAL) if self.is_direct() => {
                    self.set_direct(false);
                    if self.is_direct() {
                        return Err(self.error("write", Errno::INVAL));
                    }
                }
                Err(error) => return Err(self.error("write", error)),
            }
        }
        Ok(())
    }

    fn is_direct(&self) -> bool {
        self.past.is_some() || self.direct.load(Ordering::Acquire)
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.file.metadata().map(|data| data.len()).map_err(|error| self.error("ask size of", error))
    }

    fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.set_len(bytes).map_err(|error| self.error("truncate", error))
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::INTR) => Ok(()),
            Err(error) => Err(self.error("allocate", error)),
        }
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|error| self.error("sync", error))
    }

    fn forget_cached(&self, offset: u64, len: u64) {
        if let Some(len) = NonZeroU64::new(len) {
            // A file system that cannot do it keeps its copy, and nothing is wrong.
            let _ = fadvise(&self.file, offset, Some(len), Advice::DontNeed);
        }
    }

    fn begin_writing(&self, offset: u64, len: u64) {
        // Linux begins to write what is dirty before it forgets what is not: so it is asked once for each byte, before it is on the medium.
        if !self.direct.load(Ordering::Acquire) {
            self.forget_cached(offset, len);
        }
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(self.error("lock", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PageBuffer;

    #[test]
    fn what_a_direct_file_was_given_is_there_for_readers_wherever_the_file_lies() {
        // A file system in memory often refuses, and one on a disk seldom.
        for root in ["/dev/shm", "/var/tmp"].into_iter().filter(|root| Path::new(root).is_dir()) {
            let folder = tempfile::tempdir_in(root).unwrap();
            let path = folder.path().join("file");
            let disk = RealDisk::new();
            let file = disk.open_direct(&path, Open::Create).unwrap();
            let before = file.is_direct();
            let reader = disk.open(&path, Open::Read).unwrap();
            let mut expected = Vec::new();
            for number in 0..3 {
                let mut pages = PageBuffer::new(3 * 4096);
                pages.fill(&[number + 1; 9000]);
                pages.finish_page();
                file.write_at(expected.len() as u64, &[IoSlice::new(pages.bytes())]).unwrap();
                expected.extend_from_slice(pages.bytes());
                let mut found = Vec::new();
                reader.read_at(0, 1 << 20, &mut found).unwrap();
                assert_eq!(found, expected);
            }
            file.sync_data().unwrap();
            assert_eq!(file.is_direct(), before, "no aligned write changes it");
        }
    }

    #[test]
    fn a_file_that_is_read_directly_gives_the_same_bytes_from_the_medium_from_memory_and_from_both() {
        let content: Vec<u8> =
            (0..700_001_u32).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect();
        for root in ["/dev/shm", "/var/tmp"].into_iter().filter(|root| Path::new(root).is_dir()) {
            let folder = tempfile::tempdir_in(root).unwrap();
            let path = folder.path().join("file");
            std::fs::write(&path, &content).unwrap();
            let file = RealDisk::new().open_direct(&path, Open::Read).unwrap();
            // In memory and not on the medium yet; on the medium alone; and some of it in memory.
            for kept in [None, Some(0..content.len()), Some(0..100_000), Some(300_000..content.len())] {
                if let Some(forgotten) = kept {
                    std::fs::File::open(&path).unwrap().sync_all().unwrap();
                    file.forget_cached(forgotten.start as u64, forgotten.len() as u64);
                }
                for (at, len) in
                    [(0, 0), (0, 1), (4095, 2), (4096, 8192), (1, 700_000), (90_000, 300_000), (700_000, 9)]
                {
                    let mut found = b"before".to_vec();
                    let expected = &content[at..content.len().min(at + len)];
                    assert_eq!(file.read_at(at as u64, len, &mut found).unwrap(), expected.len());
                    assert!(found[..6] == *b"before" && &found[6..] == expected, "{root} {at} {len}");
                }
                for at in [700_001, 1 << 40] {
                    assert_eq!(file.read_at(at, 10, &mut Vec::new()).unwrap(), 0, "{root} {at}");
                }
            }
        }
    }

    #[test]
    fn a_direct_file_that_refuses_a_write_takes_it_through_the_page_cache() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let disk = RealDisk::new();
        let file = disk.open_direct(&path, Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(b"not a whole "), IoSlice::new(b"sector")]).unwrap();
        file.write_at(18, &[IoSlice::new(b", and more")]).unwrap();
        let mut found = Vec::new();
        disk.open(&path, Open::Read).unwrap().read_at(0, 100, &mut found).unwrap();
        assert_eq!(found, b"not a whole sector, and more");
    }

    #[test]
    fn a_name_that_is_taken_is_refused_for_direct_writing_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        RealDisk::new().open_direct(&path, Open::Create).unwrap();
        assert!(RealDisk::new().open_direct(&path, Open::Create).is_err());
        assert!(
            RealDisk::new().open_direct(&folder.path().join("other"), Open::Read).unwrap_err().is_not_found()
        );
    }
}
