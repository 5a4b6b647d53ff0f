//! Writes a table from front to back, with working memory that does not grow with the table.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_durable::wire::Writer;
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use super::filter::Builder;
use super::header::{DIRECTORY_ENTRY, DirectoryEntry, HOOK_LEVELS, Header};
use super::page::{self, PAGE_BYTES, PageId, RECORDS};
use super::parts::{Hook, HookPart, PartId, encode_filter};
use super::record::{HOOK_BITS, Key, Record};

const SUFFIX: &str = ".table";

pub(crate) fn file_name(table: u64) -> String {
    format!("{table:016x}{SUFFIX}")
}

/// The number in a table's name; only the form that we write.
pub(crate) fn parse_name(name: &str) -> Option<u64> {
    let table = u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()?;
    (file_name(table) == name).then_some(table)
}

/// Where tables are written, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) folder: PathBuf,
    pub(crate) store_id: [u8; 16],
    pub(crate) segment_pages: u32,
    /// Pages that are written at once.
    pub(crate) batch_pages: usize,
}

impl Shop {
    pub(crate) fn path(&self, table: u64) -> PathBuf {
        self.folder.join(file_name(table))
    }

    fn segment_records(&self) -> usize {
        self.segment_pages as usize * RECORDS
    }

    /// Memory of one [`TableWriter`].
    pub(crate) fn writer_bytes(segment_pages: u32, batch_pages: usize) -> usize {
        let records = segment_pages as usize * RECORDS;
        let filter = Builder::memory_bytes(records);
        // The filter part is made of the filter, then written.
        let parts = filter / 8 + HookPart::memory_bytes(records);
        let pages = (batch_pages + 1) * PAGE_BYTES + RECORDS * size_of::<Record>();
        filter + parts + pages + records * size_of::<Key>() + segment_pages as usize * 12
    }
}

/// A table that is written but not synced.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) header: Header,
    pub(crate) file_bytes: u64,
    pub(crate) directory: Vec<DirectoryEntry>,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// A table that is being written.
#[derive(Debug)]
pub(crate) struct TableWriter<'a> {
    shop: &'a Shop,
    file: Arc<dyn DiskFile>,
    header: Header,
    directory: Vec<DirectoryEntry>,
    /// Where the bytes in `pending` go.
    at: u64,
    pending: Vec<u8>,
    records: Vec<Record>,
    pages: u32,
    segment: Segment,
    builder: Builder,
}

/// What is gathered until a segment ends.
#[derive(Debug)]
struct Segment {
    offset: u64,
    keys: Vec<Key>,
    firsts: Vec<u64>,
    hooks: HookPart,
}

impl<'a> TableWriter<'a> {
    pub(crate) fn create(shop: &'a Shop, table: u64) -> Result<Self, DiskError> {
        let path = shop.path(table);
        let file = shop.disk.open(&path, Open::Create)?;
        let records = shop.segment_records();
        let header = Header {
            store_id: shop.store_id,
            table,
            records: 0,
            least_pack: u64::MAX,
            most_pack: 0,
            segment_pages: shop.segment_pages,
            segments: 0,
            directory_at: 0,
            filter_bytes: 0,
            hooks: [0; HOOK_LEVELS],
            last: 0,
            directory_crc: 0,
        };
        Ok(Self {
            shop,
            file,
            header,
            directory: Vec::new(),
            at: PAGE_BYTES as u64,
            pending: Vec::with_capacity(shop.batch_pages * PAGE_BYTES),
            records: Vec::with_capacity(RECORDS),
            pages: 0,
            segment: Segment {
                offset: PAGE_BYTES as u64,
                keys: Vec::with_capacity(records),
                firsts: Vec::with_capacity(shop.segment_pages as usize),
                hooks: HookPart::for_records(records),
            },
            builder: Builder::for_keys(records),
        })
    }

    /// Adds a record; keys must rise.
    pub(crate) fn push(&mut self, record: Record) -> Result<(), DiskError> {
        self.header.records += 1;
        self.header.last = record.key.high();
        if let Some(place) = record.known.live() {
            self.header.least_pack = self.header.least_pack.min(place.pack);
            self.header.most_pack = self.header.most_pack.max(place.pack);
        }
        self.segment.keys.push(record.key);
        if let Some(hook) = Hook::of(&record) {
            self.segment.hooks.push(&hook);
            let levels = (hook.bits.saturating_sub(HOOK_BITS) + 1) as usize;
            self.header.hooks.iter_mut().take(levels).for_each(|count| *count += 1);
        }
        self.records.push(record);
        if self.records.len() == RECORDS { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> Result<(), DiskError> {
        let Some(first) = self.records.first() else { return Ok(()) };
        self.segment.firsts.push(first.key.high());
        let id = PageId { table: self.header.table, page: self.pages };
        page::encode(id, &self.records, &mut self.pending);
        self.records.clear();
        self.pages += 1;
        if self.pending.len() >= self.shop.batch_pages * PAGE_BYTES {
            self.write_pending()?;
        }
        if self.segment.firsts.len() == self.shop.segment_pages as usize {
            self.end_segment()
        } else {
            Ok(())
        }
    }

    fn write_pending(&mut self) -> Result<(), DiskError> {
        self.file.write_at(self.at, &[IoSlice::new(&self.pending)])?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), DiskError> {
        let Some(first) = self.segment.firsts.first().copied() else { return Ok(()) };
        self.write_pending()?;
        let id = PartId { table: self.header.table, segment: self.header.segments };
        let (shape, bytes) = self.builder.build(&self.segment.keys);
        let filter = encode_filter(id, &self.segment.firsts, shape, bytes);
        let hooks = self.segment.hooks.seal(id);
        let padding = (hooks.len() + filter.len()).next_multiple_of(PAGE_BYTES) - hooks.len() - filter.len();
        let zeros = [0; PAGE_BYTES];
        let zeros = zeros.get(..padding).unwrap_or_default();
        self.file.write_at(self.at, &[IoSlice::new(hooks), IoSlice::new(&filter), IoSlice::new(zeros)])?;
        self.at += (hooks.len() + filter.len() + padding) as u64;
        let (hook_bytes, filter_bytes) = (hooks.len() as u32, filter.len() as u32);
        self.directory.push(DirectoryEntry { first, offset: self.segment.offset, hook_bytes, filter_bytes });
        self.count_segment(filter_bytes);
        Ok(())
    }

    fn count_segment(&mut self, filter_bytes: u32) {
        self.header.segments += 1;
        self.header.filter_bytes += u64::from(filter_bytes);
        self.segment.offset = self.at;
        self.segment.keys.clear();
        self.segment.firsts.clear();
        self.segment.hooks.clear();
    }

    /// Writes what is left and the header. The file is not synced.
    pub(crate) fn finish(mut self) -> Result<Written, DiskError> {
        self.end_page()?;
        self.end_segment()?;
        let mut writer = Writer::with_capacity(self.directory.len() * DIRECTORY_ENTRY);
        self.directory.iter().for_each(|entry| entry.put(&mut writer));
        self.header.directory_at = self.at;
        self.header.directory_crc = crc32c::crc32c(writer.as_slice());
        self.file.write_at(self.at, &[IoSlice::new(writer.as_slice())])?;
        self.file.write_at(0, &[IoSlice::new(&self.header.encode())])?;
        self.directory.shrink_to_fit();
        Ok(Written {
            header: self.header,
            file_bytes: self.at + writer.as_slice().len() as u64,
            directory: self.directory,
            file: self.file,
        })
    }
}

/// Writes a table of records in the order of their keys; nothing when there are none, and nothing is left behind
/// when it fails.
pub(crate) fn write_table<E: From<DiskError>>(
    shop: &Shop,
    table: u64,
    records: impl Iterator<Item = Result<Record, E>>,
) -> Result<Option<Written>, E> {
    let mut records = records.peekable();
    if records.peek().is_none() {
        return Ok(None);
    }
    let mut writer = TableWriter::create(shop, table)?;
    let write = || -> Result<(), E> {
        for record in records {
            writer.push(record?)?;
        }
        Ok(())
    };
    let written = write().and_then(|()| writer.finish().map_err(E::from));
    if written.is_err() {
        remove(&*shop.disk, &shop.path(table));
    }
    written.map(Some)
}

/// Unlinks a file that nobody needs. One that stays takes space until the next start, nothing else.
pub(crate) fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.unlink(path)
        && !error.is_not_found()
    {
        tracing::warn!(%error, "a file of the fingerprint index stays behind");
    }
}
