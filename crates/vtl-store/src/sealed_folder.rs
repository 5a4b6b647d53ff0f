//! A disk whose files are sealed in blocks: for the index, whose files are read in places and written once, front to back.
//!
//! A file's block of 4096 bytes takes 4124, the last one may be shorter. A write begins where a block does, and ends where one does or where the
//! file does; what the index writes is like that. A block that does not open reads as zeros, which no checksum of the index takes for its own: it
//! is damage then, found and handled like any other.
//!
//! Byte table: `docs/formats/encryption.md`.

use std::borrow::Cow;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_durable::{Disk, DiskError, DiskFile, Found, Open};

use crate::cipher::{Domain, OVERHEAD, Seal, Use};

const BLOCK: u64 = 4096;
const SEALED_BLOCK: u64 = BLOCK + OVERHEAD as u64;
/// A file that is replaced is written under its name with this behind it.
const DRAFT: &str = ".tmp";

/// The disk for a folder of an encrypted pool.
#[derive(Debug)]
pub(crate) struct SealedFolder {
    disk: Arc<dyn Disk>,
    domain: Arc<Domain>,
}

impl SealedFolder {
    /// The disk itself for a pool that is not encrypted.
    pub(crate) fn over(disk: &Arc<dyn Disk>, domain: &Arc<Domain>) -> Arc<dyn Disk> {
        match domain.is_plain() {
            true => Arc::clone(disk),
            false => Arc::new(Self { disk: Arc::clone(disk), domain: Arc::clone(domain) }),
        }
    }
}

impl Disk for SealedFolder {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = self.disk.open(path, how)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let seal = self.domain.seal(Use::Index, name.strip_suffix(DRAFT).unwrap_or(name).as_bytes());
        Ok(Arc::new(SealedFile { file, seal, path: path.to_path_buf() }))
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

struct SealedFile {
    file: Arc<dyn DiskFile>,
    seal: Seal,
    path: PathBuf,
}

impl std::fmt::Debug for SealedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SealedFile {
    fn seal_block(&self, number: u64, text: &[u8], out: &mut Vec<u8>) -> Result<(), DiskError> {
        let mut block = Vec::with_capacity(text.len() + OVERHEAD);
        block.extend_from_slice(text);
        self.seal.seal(&number.to_le_bytes(), &mut block)?;
        out.append(&mut block);
        Ok(())
    }

    /// The text of a block; zeros when it does not open.
    fn open_block<'a>(&self, number: u64, sealed: &'a [u8]) -> Cow<'a, [u8]> {
        let zeros = |_| Cow::Owned(vec![0; sealed.len().saturating_sub(OVERHEAD)]);
        self.seal.opened(&number.to_le_bytes(), sealed).unwrap_or_else(zeros)
    }

    fn misplaced(&self) -> DiskError {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "a sealed file is written in whole blocks");
        DiskError::new("write", &self.path, why)
    }
}

/// How long a file is for who reads it.
fn text_len(sealed: u64) -> u64 {
    sealed / SEALED_BLOCK * BLOCK + (sealed % SEALED_BLOCK).saturating_sub(OVERHEAD as u64)
}

/// How long it is on the disk.
fn sealed_len(text: u64) -> u64 {
    let rest = text % BLOCK;
    let last = if rest == 0 { 0 } else { rest + OVERHEAD as u64 };
    (text / BLOCK).saturating_mul(SEALED_BLOCK).saturating_add(last)
}

impl DiskFile for SealedFile {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        let first = offset / BLOCK;
        let skip = (offset % BLOCK) as usize;
        let blocks = (skip + len).div_ceil(BLOCK as usize);
        let mut sealed = Vec::new();
        self.file.read_at(first.saturating_mul(SEALED_BLOCK), blocks * SEALED_BLOCK as usize, &mut sealed)?;
        let mut text = Vec::with_capacity(blocks * BLOCK as usize);
        for (number, block) in (first..).zip(sealed.chunks(SEALED_BLOCK as usize)) {
            text.extend_from_slice(&self.open_block(number, block));
        }
        let wanted = text.get(skip..).unwrap_or_default();
        let wanted = wanted.get(..len).unwrap_or(wanted);
        out.extend_from_slice(wanted);
        Ok(wanted.len())
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let text = parts.iter().fold(Vec::new(), |mut text, part| {
            text.extend_from_slice(part);
            text
        });
        let end = offset.saturating_add(text.len() as u64);
        let in_blocks = offset.is_multiple_of(BLOCK)
            && (end.is_multiple_of(BLOCK) || sealed_len(end) >= self.file.size()?);
        if !in_blocks {
            return Err(self.misplaced());
        }
        let mut sealed = Vec::with_capacity(sealed_len(text.len() as u64) as usize);
        for (number, block) in (offset / BLOCK..).zip(text.chunks(BLOCK as usize)) {
            self.seal_block(number, block, &mut sealed)?;
        }
        self.file.write_at(offset / BLOCK * SEALED_BLOCK, &[IoSlice::new(&sealed)])
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.file.size().map(text_len)
    }

    fn set_size(&self, _bytes: u64) -> Result<(), DiskError> {
        // Nothing in the index does it; a cut inside a block could not be opened.
        Err(self.misplaced())
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        self.file.allocate(sealed_len(bytes))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        self.file.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::{Key, Randomness};
    use vtl_durable::SimDisk;

    fn folder() -> (SimDisk, Arc<dyn Disk>) {
        let disk = SimDisk::new(1);
        let domain = Domain::sealed([1; 16], Key::new([2; 32]), Randomness::system());
        let under: Arc<dyn Disk> = Arc::new(disk.clone());
        (disk, SealedFolder::over(&under, &Arc::new(domain)))
    }

    fn text(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 7) as u8 | 1).collect()
    }

    #[test]
    fn a_file_reads_as_it_was_written_and_its_name_may_change_from_a_draft() {
        let (disk, sealed) = folder();
        let text = text(10_000);
        let file = sealed.open(Path::new("/x.tmp"), Open::Create).unwrap();
        let (one, two) = text.split_at(4096);
        file.write_at(4096, &[IoSlice::new(&two[..100]), IoSlice::new(&two[100..])]).unwrap();
        file.write_at(0, &[IoSlice::new(one)]).unwrap();
        sealed.rename(Path::new("/x.tmp"), Path::new("/x")).unwrap();
        let file = sealed.open(Path::new("/x"), Open::Read).unwrap();
        assert_eq!(file.size().unwrap(), 10_000);
        for (from, len) in
            [(0, 10_000), (0, 4096), (4090, 20), (4096, 4096), (8191, 2), (9999, 5), (10_000, 1), (99_999, 9)]
        {
            let mut found = Vec::new();
            let got = file.read_at(from, len, &mut found).unwrap();
            let end = (from as usize + len).min(10_000);
            assert_eq!(
                (&found[..], got),
                (text.get(from as usize..end).unwrap_or_default(), found.len()),
                "{from} {len}"
            );
        }
        let stored = disk.contents(Path::new("/x")).unwrap();
        assert_eq!(stored.len(), 10_000 + 3 * OVERHEAD);
        assert!(!stored.windows(8).any(|window| window == &text[500..508]));
    }

    #[test]
    fn a_block_that_is_damaged_or_in_another_place_reads_as_zeros_and_others_as_they_are() {
        let (disk, sealed) = folder();
        let text = text(3 * 4096);
        let file = sealed.open(Path::new("/x"), Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(&text)]).unwrap();
        let read = || {
            let mut found = Vec::new();
            file.read_at(0, 3 * 4096, &mut found).unwrap();
            found
        };
        disk.flip_bit(Path::new("/x"), 5000, 3);
        assert_eq!(read(), [&text[..4096], &[0; 4096], &text[8192..]].concat());
        let stored = disk.contents(Path::new("/x")).unwrap();
        let raw = disk.open(Path::new("/x"), Open::Write).unwrap();
        raw.write_at(0, &[IoSlice::new(&stored[2 * 4124..])]).unwrap();
        assert_eq!(read(), [&[0; 8192], &text[8192..]].concat());
    }

    #[test]
    fn a_write_that_would_leave_half_a_block_is_refused() {
        let (_, sealed) = folder();
        let file = sealed.open(Path::new("/x"), Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(&[1; 8192])]).unwrap();
        assert!(file.write_at(10, &[IoSlice::new(&[1; 4096])]).is_err());
        assert!(file.write_at(0, &[IoSlice::new(&[1; 4000])]).is_err());
        file.write_at(8192, &[IoSlice::new(&[1; 4000])]).unwrap();
    }
}
