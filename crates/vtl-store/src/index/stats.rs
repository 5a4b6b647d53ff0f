//! What the index counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// How lookups are answered, by the memory there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IndexMode {
    /// Everything is in memory, or will be when it has been asked for once.
    #[default]
    Memory,
    /// Filters are in memory: a read for each hit.
    Filters,
    /// Only samples of the oldest tables are in memory: some duplicates are not found.
    Samples,
}

/// Counts since the start, and sizes now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IndexStats {
    /// Records, replaced and removed ones included until they are merged away.
    pub entries: u64,
    /// Tables that a lookup asks at most.
    pub runs: usize,
    /// Table files.
    pub tables: usize,
    /// Bytes of the table files that are in use.
    pub disk_bytes: u64,
    /// Bytes of memory that filters of all tables take when they are loaded, with all that belongs to them.
    pub filter_bytes: usize,
    /// The same for samples of 1 of 64 records.
    pub sample_bytes: usize,
    /// Bytes of memory at most so far.
    pub memory_peak: usize,
    /// How lookups are answered.
    pub mode: IndexMode,
    /// Lookups answered by the memtable.
    pub memtable: u64,
    /// Lookups that nothing in memory knew and no filter let through: no read.
    pub filtered: u64,
    /// Lookups answered from pages or hooks in memory.
    pub memory_hits: u64,
    /// Lookups for which something was read, and that found the chunk.
    pub read_hits: u64,
    /// Lookups for which something was read, and that found nothing.
    pub read_misses: u64,
    /// Pages read for lookups.
    pub pages_read: u64,
    /// Lookups that went without a table because there was no memory to load its part.
    pub no_memory: u64,
    /// Tables dropped because they were damaged or missing.
    pub dropped: u64,
    /// Pages that were found damaged and count as empty until their table is written anew.
    pub bad_pages: u64,
    /// Records written to tables by merges.
    pub merged_records: u64,
}

/// A count that several threads raise.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.add_many(1);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) memtable: Counter,
    pub(crate) filtered: Counter,
    pub(crate) memory_hits: Counter,
    pub(crate) read_hits: Counter,
    pub(crate) read_misses: Counter,
    pub(crate) pages_read: Counter,
    pub(crate) no_memory: Counter,
    pub(crate) dropped: Counter,
    pub(crate) bad_pages: Counter,
    pub(crate) merged_records: Counter,
}
