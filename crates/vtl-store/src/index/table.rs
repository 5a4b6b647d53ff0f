//! A table as lookups see it: a file, and as much of it in memory as the plan allows.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use vtl_durable::wire::Malformed;
use vtl_durable::{DiskError, DiskFile, Open};

use crate::sync::Mutex;

use super::budget::{Budget, Charge};
use super::header::{DIRECTORY_ENTRY, DirectoryEntry, Header, decode_directory};
use super::lock;
use super::page::{PAGE_BYTES, Page, PageId};
use super::parts::PartId;
use super::stats::Counters;
use super::writer::{Shop, Written};

/// Files of the index that are kept open at most; others are opened for each read.
const MOST_OPEN: usize = 128;
static OPEN_FILES: AtomicUsize = AtomicUsize::new(0);

/// A table with more damaged pages than this is lost as a whole: its packs are fed in again then, which costs less than storing so many
/// chunks again.
const MOST_BAD_PAGES: usize = 32;

/// Why a table gave no answer.
#[derive(Debug)]
pub(crate) enum TableError {
    /// The disk refused: it may answer the next time.
    Disk(DiskError),
    /// The bytes are not what was written.
    Damaged(Malformed),
}

impl From<DiskError> for TableError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl From<Malformed> for TableError {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error)
    }
}

impl TableError {
    /// Whether the table will never be right again.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_not_found(),
            Self::Damaged(_) => true,
        }
    }
}

impl std::fmt::Display for TableError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Damaged(error) => error.fmt(f),
        }
    }
}

/// A table's file, its header and directory.
#[derive(Debug)]
pub(crate) struct TableFile {
    pub(crate) header: Header,
    /// Of two tables with the same key the one with the higher age is right.
    pub(crate) age: u64,
    pub(crate) file_bytes: u64,
    pub(crate) directory: Vec<DirectoryEntry>,
    pub(crate) synced: AtomicBool,
    /// A manifest names it, or is about to.
    pub(crate) named: AtomicBool,
    shop: Arc<Shop>,
    kept: OnceLock<Kept>,
    /// Pages that were found damaged, each once, at most [`MOST_BAD_PAGES`].
    bad_pages: Mutex<Vec<u32>>,
    _charge: Charge,
}

/// A handle that stays open with its table.
#[derive(Debug)]
struct Kept(Arc<dyn DiskFile>);

impl Drop for Kept {
    fn drop(&mut self) {
        OPEN_FILES.fetch_sub(1, Ordering::Relaxed);
    }
}

impl TableFile {
    /// Memory that a table of so many segments takes in any mode.
    pub(crate) fn base_bytes(segments: u32) -> usize {
        // The table, its place in the layout, its damaged pages, and the directory.
        size_of::<Self>() + 256 + MOST_BAD_PAGES * size_of::<u32>() + segments as usize * DIRECTORY_ENTRY
    }

    /// A table that was just written; `None` when there is no memory for it.
    pub(crate) fn from_written(
        shop: &Arc<Shop>,
        age: u64,
        written: Written,
        budget: &Arc<Budget>,
    ) -> Option<Self> {
        let Written { header, file_bytes, directory, file } = written;
        let charge = budget.take(Self::base_bytes(header.segments))?;
        let table = Self {
            header,
            age,
            file_bytes,
            directory,
            synced: AtomicBool::new(false),
            named: AtomicBool::new(false),
            shop: Arc::clone(shop),
            kept: OnceLock::new(),
            bad_pages: Mutex::default(),
            _charge: charge,
        };
        table.keep(file);
        Some(table)
    }

    /// Opens a table that the manifest names. Reads its header and directory, not its records.
    pub(crate) fn open(
        shop: &Arc<Shop>,
        number: u64,
        age: u64,
        file_bytes: u64,
        budget: &Arc<Budget>,
    ) -> Result<Self, TableError> {
        let file = shop.disk.open(&shop.path(number), Open::Read)?;
        let wrong = |what| TableError::Damaged(Malformed { what, at: 0 });
        if file.size()? != file_bytes {
            return Err(wrong("length of the file"));
        }
        let mut bytes = Vec::new();
        file.read_at(0, PAGE_BYTES, &mut bytes)?;
        let header = Header::decode(&bytes)?;
        if header.table != number {
            return Err(wrong("table of another name"));
        }
        if header.store_id != shop.store_id {
            return Err(wrong("table of another store"));
        }
        // So that the length that is read is one that the file has.
        if header.directory_at.checked_add(header.directory_bytes()) != Some(file_bytes) {
            return Err(wrong("place of the directory"));
        }
        let no_memory = || wrong("size of the directory, too large for the index's memory");
        let charge = budget.take(Self::base_bytes(header.segments)).ok_or_else(no_memory)?;
        bytes.clear();
        file.read_at(header.directory_at, header.directory_bytes() as usize, &mut bytes)?;
        let directory = decode_directory(&bytes, &header)?;
        Ok(Self {
            header,
            age,
            file_bytes,
            directory,
            synced: AtomicBool::new(true),
            named: AtomicBool::new(true),
            shop: Arc::clone(shop),
            kept: OnceLock::new(),
            bad_pages: Mutex::default(),
            _charge: charge,
        })
    }

    pub(crate) fn number(&self) -> u64 {
        self.header.table
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.shop.path(self.number())
    }

    pub(crate) fn part(&self, segment: u32) -> PartId {
        PartId { table: self.number(), segment }
    }

    pub(crate) fn page(&self, segment: u32, page: u32) -> PageId {
        let before = segment.saturating_mul(self.header.segment_pages);
        PageId { table: self.number(), page: before.saturating_add(page) }
    }

    pub(crate) fn file(&self) -> Result<Arc<dyn DiskFile>, DiskError> {
        if let Some(kept) = self.kept.get() {
            return Ok(Arc::clone(&kept.0));
        }
        let file = self.shop.disk.open(&self.path(), Open::Read)?;
        self.keep(Arc::clone(&file));
        Ok(file)
    }

    fn keep(&self, file: Arc<dyn DiskFile>) {
        if OPEN_FILES.fetch_add(1, Ordering::Relaxed) < MOST_OPEN {
            // When another thread was faster its handle stays and this one's `Kept` is dropped, which counts it down.
            let _ = self.kept.set(Kept(file));
        } else {
            OPEN_FILES.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Exactly so many bytes.
    pub(crate) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, TableError> {
        let mut bytes = Vec::with_capacity(len);
        self.file()?.read_at(offset, len, &mut bytes)?;
        if bytes.len() == len {
            Ok(bytes)
        } else {
            Err(TableError::Damaged(Malformed { what: "length of the file", at: bytes.len() }))
        }
    }

    /// Empties the pages of a segment that are not what was written, so that they are pages without records. The table is lost when there
    /// are too many of them.
    pub(crate) fn contain(
        &self,
        segment: u32,
        first: u32,
        pages: &mut [u8],
        counters: &Counters,
    ) -> Result<(), TableError> {
        for (number, bytes) in (first..).zip(pages.chunks_mut(PAGE_BYTES)) {
            let id = self.page(segment, number);
            if let Err(error) = Page::verify(bytes, id) {
                self.note_bad_page(id.page, error, counters)?;
                bytes.fill(0);
            }
        }
        Ok(())
    }

    fn note_bad_page(&self, page: u32, error: Malformed, counters: &Counters) -> Result<(), TableError> {
        let mut known = lock(&self.bad_pages);
        if known.contains(&page) {
            return Ok(());
        }
        if known.len() == MOST_BAD_PAGES {
            return Err(error.into());
        }
        if known.capacity() == 0 {
            known.reserve_exact(MOST_BAD_PAGES);
        }
        known.push(page);
        counters.bad_pages.add();
        let path = self.path();
        tracing::warn!(path = %path.display(), page, %error, "a damaged page of the fingerprint index counts as empty, its chunks are stored again when they come");
        Ok(())
    }

    /// Whether some of its pages count as empty: then it is to be written anew.
    pub(crate) fn has_bad_pages(&self) -> bool {
        !lock(&self.bad_pages).is_empty()
    }

    pub(crate) fn entry(&self, segment: u32) -> Option<&DirectoryEntry> {
        self.directory.get(segment as usize)
    }
}
