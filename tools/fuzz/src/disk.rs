//! Files of a pool as a fuzzer changes them: in memory, with checksums made right again, and with a limit on what reading them may take.

use std::alloc::System;
use std::io::IoSlice;
use std::path::Path;

use cap::Cap;
use crc32c::crc32c;
use vtl_durable::{DiskError, DiskFile};
use vtl_store::inspect::{self, FileKind};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What a parser may take for each byte of its file, and beside that: structures in memory are larger than on the disk, and vectors grow by
/// doubling. A compressed region may become 4 MiB, whatever its length.
const TIMES: usize = 64;
const BESIDE: usize = 10 << 20;

/// Runs `work`; more memory than a file of so many bytes is worth ends the process, which the fuzzer takes for a crash.
pub fn bounded(bytes: usize, work: impl FnOnce()) {
    limited(bytes * TIMES + BESIDE, work);
}

/// Runs `work`; more memory than so many bytes ends the process.
pub fn limited(most: usize, work: impl FnOnce()) {
    let limit = ALLOCATOR.allocated() + most;
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    work();
    ALLOCATOR.set_limit(usize::MAX).expect("there is no limit any more");
}

/// A file that cannot be written.
#[derive(Debug)]
pub struct Memory(pub Vec<u8>);

impl DiskFile for Memory {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        // As a real file does: room for all that is asked for.
        out.reserve_exact(len);
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let end = start.saturating_add(len).min(self.0.len());
        out.extend_from_slice(&self.0[start..end]);
        Ok(end - start)
    }

    fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), DiskError> {
        Err(refused("write"))
    }

    fn size(&self) -> Result<u64, DiskError> {
        Ok(self.0.len() as u64)
    }

    fn set_size(&self, _: u64) -> Result<(), DiskError> {
        Err(refused("truncate"))
    }

    fn allocate(&self, _: u64) -> Result<(), DiskError> {
        Err(refused("allocate"))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        Err(refused("sync"))
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        Err(refused("lock"))
    }
}

fn refused(op: &'static str) -> DiskError {
    DiskError::new(op, Path::new("memory"), std::io::Error::other("it is read only"))
}

/// Looks at a file of this kind as it is, and with checksums made right.
pub fn look(kind: FileKind, data: &[u8], mend: impl FnOnce(&mut Vec<u8>)) {
    let mut mended = data.to_vec();
    mend(&mut mended);
    for bytes in [data.to_vec(), mended] {
        let file = Memory(bytes);
        bounded(file.0.len(), || {
            let name = "0000000100000007-00000000.0000.pack";
            inspect::opened(&file, kind, name, &mut |_| {}).expect("memory does not fail");
        });
    }
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn word(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 4).map_or(0, |word| u32::from_le_bytes(word.try_into().expect("four bytes")) as usize)
}

fn seal(bytes: &mut [u8], covered: std::ops::Range<usize>, at: usize) {
    if let Some(crc) = bytes.get(covered).map(crc32c) {
        put(bytes, at, crc);
    }
}

/// A sealed file: magic and version stay, the rest of the header is made to fit the payload.
pub fn mend_sealed(bytes: &mut Vec<u8>) {
    let len = bytes.len().saturating_sub(32);
    put(bytes, 8, 0);
    seal(bytes, 32..32 + len, 12);
    put(bytes, 16, len as u32);
    put(bytes, 20, 0);
    seal(bytes, 0..28, 28);
}

/// A log: its header, and what begins as a record does, at each block.
pub fn mend_log(bytes: &mut Vec<u8>) {
    put(bytes, 12, 4096);
    seal(bytes, 0..56, 56);
    let id = bytes.get(16..24).map(<[u8]>::to_vec).unwrap_or_default();
    for at in (4096..bytes.len().saturating_sub(32)).step_by(4096) {
        if bytes[at..].starts_with(b"vRec") {
            bytes[at + 16..at + 24].copy_from_slice(&id);
            let len = word(bytes, at + 4).min(bytes.len() - at - 32);
            seal(bytes, at + 32..at + 32 + len, at + 24);
            seal(bytes, at..at + 28, at + 28);
        }
    }
}

/// A pack: its header, what begins as a region does, and its footer.
pub fn mend_pack(bytes: &mut Vec<u8>) {
    seal(bytes, 0..48, 48);
    let footer = bytes.len().checked_sub(64).map(|trailer| (trailer, word(bytes, trailer + 16).min(trailer)));
    for at in 0..bytes.len().saturating_sub(40) {
        if bytes[at..].starts_with(b"vRgn") {
            let chunks = word(bytes, at + 4) >> 16;
            let mut covered = bytes[at..at + 36].to_vec();
            covered.extend_from_slice(bytes.get(at + 40..at + 40 + 40 * chunks).unwrap_or_default());
            put(bytes, at + 36, crc32c(&covered));
        }
    }
    if let Some((trailer, start)) = footer {
        seal(bytes, start..trailer, trailer + 44);
        seal(bytes, trailer..trailer + 60, trailer + 60);
    }
}

/// A table of the index: its header and directory, each page, and the parts of its first segment.
pub fn mend_table(bytes: &mut Vec<u8>) {
    let directory = word(bytes, 72).min(bytes.len());
    let end = bytes.len();
    seal(bytes, directory..end, 136);
    seal(bytes, 0..140, 140);
    for at in (4096..bytes.len().saturating_sub(4095)).step_by(4096) {
        seal(bytes, at + 4..at + 4096, at);
    }
    let (hooks, filter) = (word(bytes, directory + 16), word(bytes, directory + 20));
    let pages = word(bytes, 64).clamp(1, 4);
    let start = word(bytes, directory + 8).saturating_add(pages * 4096).min(bytes.len());
    for (from, len) in [(start, hooks), (start.saturating_add(hooks), filter)] {
        let end = from.saturating_add(len).min(bytes.len());
        if end >= from + 4 {
            seal(bytes, from..end - 4, end - 4);
        }
    }
}
