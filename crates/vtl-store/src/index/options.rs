//! What the index may use, and how it is shared out.

use super::cache;
use super::page::{PAGE_BYTES, RECORDS};
use super::record::PARTITIONS;
use super::writer::Shop;

const MIB: usize = 1 << 20;
/// A lower ceiling is taken for this.
const LEAST_MEMORY: usize = MIB;
/// Records of a full memtable are lost with a crash until the next flush, and fed in again at the next start: 256 MiB,
/// 5.6 million chunks, are ten minutes of ingest.
const MOST_MEMTABLE: usize = 256 * MIB;
const MOST_CACHE: usize = 64 * MIB;
/// 65,520 records. Longer segments save no memory worth naming (a filter falls from 9.5 to 9.3 bits a key) and make
/// the first lookup in each read more.
const MOST_SEGMENT_PAGES: usize = 420;
/// Tables that one merge reads at most.
const MOST_INPUTS: usize = 64;
const PAGES_AT_ONCE: usize = 16;

/// How the index works.
#[derive(Clone, Copy, Debug)]
pub struct IndexOptions {
    /// A ceiling that is never exceeded, at least 1 MiB. Below 1.3 bytes for each chunk in the store some
    /// duplicates are not found.
    pub memory_bytes: usize,
    /// Records that one step of background work merges, about; a second of work for a million.
    pub step_records: u64,
    /// A table is merged into when those above it have together at least this part of it: 1 / `growth`. A higher
    /// number means fewer tables to ask and more bytes written.
    pub growth: u32,
}

impl Default for IndexOptions {
    fn default() -> Self {
        Self { memory_bytes: 256 * MIB, step_records: 1_000_000, growth: 2 }
    }
}

/// The shares of the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) memory: usize,
    /// One memtable; there can be two.
    pub(crate) memtable: usize,
    pub(crate) cache: usize,
    pub(crate) segment_pages: u32,
    /// Tables that a merge reads.
    pub(crate) inputs: usize,
    /// Pages that are read or written at once.
    pub(crate) pages: usize,
    /// Ranges in each set of packs.
    pub(crate) ranges: usize,
    /// Groups of partitions that have the same tables.
    pub(crate) groups: u16,
    pub(crate) step_records: u64,
    pub(crate) growth: u32,
}

/// Sets of packs, each with room for twice its ranges while it grows.
pub(crate) const PACK_SETS: usize = 7;
const RANGE_BYTES: usize = 2 * 16;

impl Limits {
    pub(crate) fn new(options: &IndexOptions) -> Self {
        let memory = options.memory_bytes.max(LEAST_MEMORY);
        // One page at a time below 8 MiB, 16 from 64 MiB on.
        let pages = (memory >> 22).clamp(1, PAGES_AT_ONCE);
        let inputs = (memory / 16 / PAGE_BYTES).clamp(8, MOST_INPUTS);
        Self {
            memory,
            memtable: super::memtable::bytes_for((memory / 12).min(MOST_MEMTABLE)),
            cache: (memory / 32).min(MOST_CACHE) / cache::SLOT_BYTES * cache::SLOT_BYTES,
            segment_pages: segment_pages(memory / 8, pages),
            inputs,
            pages,
            ranges: memory / 32 / RANGE_BYTES / PACK_SETS,
            groups: (memory / 16384).next_power_of_two().clamp(16, usize::from(PARTITIONS)) as u16,
            step_records: options.step_records.max(1),
            growth: options.growth.max(1),
        }
    }

    /// Memory that is set aside from the start: both memtables, the cache, the sets of packs, and what a spill and a
    /// merge need at the same time.
    pub(crate) fn fixed(&self) -> usize {
        let writers = 2 * Shop::writer_bytes(self.segment_pages, self.pages);
        let readers = self.inputs * (self.pages * PAGE_BYTES + 256);
        2 * self.memtable + self.cache + self.ranges * RANGE_BYTES * PACK_SETS + writers + readers
    }

    /// What tables may take. A sixteenth is left for lists of tables, the manifest's bytes, and what is
    /// read at this moment.
    pub(crate) fn for_tables(&self) -> usize {
        self.memory.saturating_sub(self.fixed()).saturating_sub(self.memory / 16)
    }
}

/// Pages of a segment such that a writer's memory stays below `bytes`.
fn segment_pages(bytes: usize, batch: usize) -> u32 {
    let per_page = RECORDS * 64;
    let mut pages = (bytes / per_page).clamp(2, MOST_SEGMENT_PAGES) as u32;
    while pages > 2 && Shop::writer_bytes(pages, batch) > bytes {
        pages -= 1;
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_leave_a_third_of_every_ceiling_to_tables() {
        for shift in 20..40 {
            let options = IndexOptions { memory_bytes: 1 << shift, ..IndexOptions::default() };
            let limits = Limits::new(&options);
            assert!(limits.for_tables() > limits.memory / 3, "{limits:?} fixed {}", limits.fixed());
        }
    }
}
