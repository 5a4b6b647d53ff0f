//! A simulated disk that keeps every write.
#![allow(dead_code, reason = "each test program uses its part")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use vtl_durable::{Disk, DiskError, DiskFile, Found, Open, SimDisk};

/// One write, as the disk under the store got it.
pub struct Write {
    pub path: PathBuf,
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// A part of a file that the system was asked to write to the medium.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Push {
    pub path: PathBuf,
    pub from: u64,
    pub to: u64,
    /// Bytes of the file that had been written, and that had been synced, at that moment.
    pub written: u64,
    pub synced: u64,
}

/// Keeps everything that is ever written, also what a crash takes back.
#[derive(Clone, Default)]
pub struct Recorder {
    writes: Arc<Mutex<Vec<Write>>>,
    pushes: Arc<Mutex<Vec<Push>>>,
}

impl Recorder {
    pub fn over(&self, disk: SimDisk) -> Recording {
        Recording { disk, recorder: self.clone() }
    }

    pub fn take(&self) -> Vec<Write> {
        std::mem::take(&mut self.writes.lock().unwrap())
    }

    pub fn pushes(&self) -> Vec<Push> {
        self.pushes.lock().unwrap().clone()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

/// A disk that tells the recorder of its writes.
#[derive(Clone, Debug)]
pub struct Recording {
    pub disk: SimDisk,
    recorder: Recorder,
}

impl Recording {
    fn recorded(&self, path: &Path, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(RecordingFile {
            file,
            path: path.to_path_buf(),
            recorder: self.recorder.clone(),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
        })
    }
}

impl Disk for Recording {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(self.recorded(path, self.disk.open(path, how)?))
    }

    fn open_direct(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(self.recorded(path, self.disk.open_direct(path, how)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.unlink(path)
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.create_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.sync_folder(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
        self.disk.list(path)
    }

    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        self.disk.free_bytes(path)
    }
}

#[derive(Debug)]
struct RecordingFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    recorder: Recorder,
    written: AtomicU64,
    synced: AtomicU64,
}

impl DiskFile for RecordingFile {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        self.file.read_at(offset, len, out)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.recorder.writes.lock().unwrap().push(Write { path: self.path.clone(), offset, bytes });
        let len = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.file.write_at(offset, parts)?;
        self.written.fetch_max(offset + len, Ordering::SeqCst);
        Ok(())
    }

    fn begin_writing(&self, offset: u64, len: u64) {
        let (written, synced) = (self.written.load(Ordering::SeqCst), self.synced.load(Ordering::SeqCst));
        let push = Push { path: self.path.clone(), from: offset, to: offset + len, written, synced };
        self.recorder.pushes.lock().unwrap().push(push);
    }

    fn is_direct(&self) -> bool {
        self.file.is_direct()
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.file.size()
    }

    fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.set_size(bytes)
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.allocate(bytes)
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        let written = self.written.load(Ordering::SeqCst);
        self.file.sync_data()?;
        self.synced.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        self.file.try_lock()
    }
}

/// Writes to packs that go on where the one before in the same file ended, made one.
pub fn joined(writes: Vec<Write>) -> Vec<Write> {
    let mut all: Vec<Write> = Vec::new();
    for write in writes {
        let last = all.iter_mut().rev().find(|one| one.path == write.path);
        let is_pack = write.path.to_string_lossy().contains(".pack");
        match last.filter(|last| is_pack && last.offset + last.bytes.len() as u64 == write.offset) {
            Some(last) => last.bytes.extend(write.bytes),
            None => all.push(write),
        }
    }
    all
}
