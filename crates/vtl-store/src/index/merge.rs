//! Reads several slices as one row of records in the order of their keys, the youngest record of each.

use std::sync::Arc;

use vtl_durable::{DiskError, DiskFile};

use super::layout::{Job, Slice};
use super::options::Limits;
use super::packs::GoneSet;
use super::page::{PAGE_BYTES, Page};
use super::record::{Key, Record};
use super::resident::Table;
use super::stats::Counters;
use super::table::TableError;

/// Why a merge ended early.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// A table could not be read.
    Input(Arc<Table>, TableError),
    /// The new table could not be written.
    Output(DiskError),
}

impl From<DiskError> for MergeError {
    fn from(error: DiskError) -> Self {
        Self::Output(error)
    }
}

/// The records of a slice, one after the other.
#[derive(Debug)]
struct Cursor<'a> {
    table: Arc<Table>,
    counters: &'a Counters,
    file: Arc<dyn DiskFile>,
    last: u16,
    read_pages: u32,
    segment: u32,
    /// The next page to read, in its segment.
    page: u32,
    bytes: Vec<u8>,
    /// Pages of `bytes` that are done, and records of the page in hand.
    done_pages: usize,
    done_records: usize,
    record: Option<Record>,
}

impl<'a> Cursor<'a> {
    fn open(slice: &Slice, read_pages: usize, counters: &'a Counters) -> Result<Self, TableError> {
        let file = slice.table.file.file()?;
        let from = Key::first_of(slice.first);
        let directory = &slice.table.file.directory;
        let segment = directory.partition_point(|entry| entry.first < from.high()).saturating_sub(1);
        let mut cursor = Self {
            table: Arc::clone(&slice.table),
            counters,
            file,
            last: slice.last,
            read_pages: read_pages as u32,
            segment: segment as u32,
            page: 0,
            bytes: Vec::with_capacity(read_pages * PAGE_BYTES),
            done_pages: 0,
            done_records: 0,
            record: None,
        };
        cursor.seek(from)?;
        Ok(cursor)
    }

    /// Goes to the first record that is not before `from`.
    fn seek(&mut self, from: Key) -> Result<(), TableError> {
        let (mut low, mut high) = (0, self.table.file.header.pages_of(self.segment));
        while high - low > 1 {
            let middle = low.midpoint(high);
            self.read(middle, 1)?;
            // A page that is damaged has no first key; then the search goes on before it, and a few records more are passed over.
            let first = Page::verified(&self.bytes).and_then(Page::first_key);
            if first.is_some_and(|first| first < from) { low = middle } else { high = middle }
        }
        self.page = low;
        self.bytes.clear();
        self.advance()?;
        while self.record.is_some_and(|record| record.key < from) {
            self.advance()?;
        }
        Ok(())
    }

    /// Reads pages of the segment; those that are damaged are empty.
    fn read(&mut self, page: u32, count: u32) -> Result<(), TableError> {
        let table = &self.table.file;
        let at = table.entry(self.segment).map_or(0, |entry| entry.offset);
        self.bytes.clear();
        let len = count as usize * PAGE_BYTES;
        self.file.read_at(at + u64::from(page) * PAGE_BYTES as u64, len, &mut self.bytes)?;
        self.bytes.resize(len, 0);
        table.contain(self.segment, page, &mut self.bytes, self.counters)?;
        self.done_pages = 0;
        self.done_records = 0;
        Ok(())
    }

    fn advance(&mut self) -> Result<(), TableError> {
        loop {
            if let Some(record) = self.next_in_bytes() {
                self.record = (record.key.partition() <= self.last).then_some(record);
                return Ok(());
            }
            let pages = self.table.file.header.pages_of(self.segment);
            if self.page >= pages {
                self.segment += 1;
                self.page = 0;
            }
            if self.table.file.entry(self.segment).is_none() {
                self.record = None;
                return Ok(());
            }
            let count =
                self.table.file.header.pages_of(self.segment).saturating_sub(self.page).min(self.read_pages);
            self.read(self.page, count)?;
            self.page += count;
        }
    }

    fn next_in_bytes(&mut self) -> Option<Record> {
        loop {
            let at = self.done_pages * PAGE_BYTES;
            let page = Page::verified(self.bytes.get(at..at + PAGE_BYTES)?)?;
            if let Some(record) = page.record(self.done_records) {
                self.done_records += 1;
                return Some(record);
            }
            self.done_pages += 1;
            self.done_records = 0;
        }
    }
}

/// All inputs of a job together.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    /// Youngest first.
    cursors: Vec<Cursor<'a>>,
    gone: GoneSet,
    keep_dead: bool,
    failed: bool,
}

impl<'a> Merge<'a> {
    pub(crate) fn open(
        job: &Job,
        gone: GoneSet,
        limits: &Limits,
        counters: &'a Counters,
    ) -> Result<Self, MergeError> {
        let mut inputs: Vec<&Slice> = job.inputs.iter().collect();
        inputs.sort_by_key(|slice| std::cmp::Reverse(slice.table.file.age));
        let open = |slice: &Slice| {
            Cursor::open(slice, limits.pages, counters)
                .map_err(|error| MergeError::Input(Arc::clone(&slice.table), error))
        };
        let cursors = inputs.into_iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { cursors, gone, keep_dead: !job.is_bottom, failed: false })
    }

    /// The youngest record of the next key; `None` when it is dead and need not be remembered.
    fn next_key(&mut self) -> Result<Option<Option<Record>>, MergeError> {
        let keys = self.cursors.iter().filter_map(|cursor| cursor.record.map(|record| record.key));
        let Some(key) = keys.min() else { return Ok(None) };
        let mut found = None;
        for cursor in &mut self.cursors {
            let Some(record) = cursor.record.filter(|record| record.key == key) else { continue };
            if found.is_none() {
                found = Some(Record { known: self.gone.judge(record.known), ..record });
            }
            if let Err(error) = cursor.advance() {
                return Err(MergeError::Input(Arc::clone(&cursor.table), error));
            }
        }
        Ok(Some(found.filter(|record| self.keep_dead || !record.known.is_dead())))
    }
}

impl Iterator for Merge<'_> {
    type Item = Result<Record, MergeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.next_key() {
                Ok(None) => return None,
                Ok(Some(None)) => {}
                Ok(Some(Some(record))) => return Some(Ok(record)),
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
