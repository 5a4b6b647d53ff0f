//! The fingerprint index: where a chunk with this fingerprint is, if the store has one.
//!
//! It is a cache. No read of data uses it; a wrong answer is found when the caller compares all 256 bits with the pack's table,
//! and a missing one costs a second copy of a chunk. So nothing here may stop the store: what is damaged is dropped
//! and named in the log.
//!
//! ```text
//! insert -> memtable -> (full: frozen) -> table ---+--- merged into larger tables, step by step
//! lookup -> memtable, frozen, tables of the key's partition, youngest first: a filter in memory, then one page
//! ```
//!
//! *Memory.* Everything that grows is charged to one [`budget::Budget`]; [`plan::Plan`] decides what of which table may be in
//! memory. While all fits no lookup reads; then filters stay and a hit costs a read; when not even they fit the
//! oldest tables are asked for one key of 64 only, or fewer.
//!
//! *A crash* leaves what the last manifest names. Records since then are lost, and their packs are not covered.
//!
//! *Locks*, in this order: `merging`, `spilling`, `committing`, `state`. `state` is never held while the disk works. Lookups and
//! inserts never sync; an insert that fills the memtable writes it out.
//!
//! Byte tables and crash order: `docs/formats/index.md`.

mod budget;
mod cache;
mod durable;
mod filter;
mod header;
mod layout;
mod manifest;
mod memtable;
mod merge;
mod options;
mod packs;
mod page;
mod parts;
mod plan;
mod record;
mod resident;
mod start;
mod state;
mod stats;
pub(crate) mod survey;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use vtl_durable::{Disk, DiskError};

pub(crate) use header::VERSION as TABLE_VERSION;
pub use options::IndexOptions;
pub use record::Place;
pub use stats::{IndexMode, IndexStats};

use budget::{Budget, Charge};
use cache::PageCache;
use options::Limits;
use record::{Key, Known};
use resident::{Look, Table, Tools};
use state::State;
use stats::Counters;
use table::TableError;
use writer::Shop;

use crate::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Chunks that are inserted before others get their turn.
const TURN: usize = 256;

/// The index of one store. All calls may come from several threads.
#[derive(Debug)]
pub struct Index {
    shop: Arc<Shop>,
    limits: Limits,
    budget: Arc<Budget>,
    cache: PageCache,
    counters: Counters,
    state: RwLock<State>,
    /// Held while a memtable is written.
    spilling: Mutex<()>,
    /// Held while tables are merged: the group at which to look for the next job.
    merging: Mutex<u16>,
    /// Held while the manifest is replaced.
    committing: Mutex<()>,
    _fixed: Option<Charge>,
}

impl Index {
    /// Opens what is in `folder`, made if missing. What is damaged, of another store or of another version is
    /// removed and named in the log; only a folder that cannot be made or listed is an error.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        store_id: [u8; 16],
        options: IndexOptions,
    ) -> Result<Self, DiskError> {
        start::open(disk, folder, store_id, &options)
    }

    /// Whether the durable part knows all chunks of this pack. Tables of all other packs are to be given to
    /// [`Index::insert`], then [`Index::pack_complete`].
    pub fn covers(&self, pack: u64) -> bool {
        self.read().packs.covered.contains(pack)
    }

    /// Where a chunk with this fingerprint may be. To be verified: 128 bits were compared at most.
    pub fn lookup(&self, fingerprint: &[u8; 32]) -> Option<Place> {
        let key = Key::of(fingerprint);
        let mut unsure: Vec<Arc<Table>> = Vec::new();
        let mut known = None;
        {
            let state = self.read();
            if let Some(known) = state.in_memtables(key) {
                self.counters.memtable.add();
                return known.live();
            }
            for table in state.layout.stack(key) {
                match table.look(key) {
                    Look::No => {}
                    Look::Read => unsure.push(Arc::clone(table)),
                    Look::Known(found) => {
                        known = Some(state.packs.gone.judge(found));
                        break;
                    }
                }
            }
        }
        if unsure.is_empty() {
            let counter = if known.is_some() { &self.counters.memory_hits } else { &self.counters.filtered };
            counter.add();
            return known.and_then(Known::live);
        }
        let found = self.read_tables(key, &unsure).or(known).and_then(Known::live);
        let counter = if found.is_some() { &self.counters.read_hits } else { &self.counters.read_misses };
        counter.add();
        found
    }

    /// The first of the tables that knows the key, with reads and without locks.
    fn read_tables(&self, key: Key, tables: &[Arc<Table>]) -> Option<Known> {
        let tools = Tools { budget: &self.budget, cache: &self.cache, counters: &self.counters };
        for table in tables {
            match table.read(key, tools) {
                Ok(None) => {}
                Ok(Some(known)) => return Some(self.read().packs.gone.judge(known)),
                Err(error) => self.failed(table, &error),
            }
        }
        None
    }

    /// Chunks of a pack that are durable: all so far, or more of a pack that grew.
    pub fn insert(&self, pack: u64, chunks: &[(u16, [u8; 32])]) {
        for turn in chunks.chunks(TURN) {
            let mut left = turn;
            while let Some(rest) = self.insert_some(pack, left) {
                left = rest;
                self.make_room();
            }
        }
    }

    /// Inserts until the memtable is full; what is left then.
    fn insert_some<'a>(&self, pack: u64, chunks: &'a [(u16, [u8; 32])]) -> Option<&'a [(u16, [u8; 32])]> {
        let mut state = self.write();
        state.packs.fed(pack);
        for (done, (chunk, fingerprint)) in chunks.iter().enumerate() {
            let known = Known::Live(Place { pack, chunk: *chunk });
            if !state.memtable.put(Key::of(fingerprint), known) {
                return chunks.get(done..);
            }
        }
        None
    }

    /// The pack is sealed and all its chunks have been inserted: after the next flush it is covered.
    pub fn pack_complete(&self, pack: u64) {
        self.write().packs.complete(pack);
    }

    /// An answer was wrong, or its chunk is dead or damaged: it is not given again unless it is inserted again. Older places of the
    /// same chunk are forgotten with it; a younger one that was inserted meanwhile is kept.
    pub fn forget(&self, fingerprint: &[u8; 32], place: Place) {
        let key = Key::of(fingerprint);
        loop {
            let mut state = self.write();
            let younger = state.in_memtables(key).and_then(Known::live);
            if younger.is_some_and(|younger| younger != place) || state.memtable.put(key, Known::Dead(place))
            {
                return;
            }
            drop(state);
            self.make_room();
        }
    }

    /// The pack was removed: its chunks are not answered any more, and its records go when tables are merged.
    pub fn forget_pack(&self, pack: u64) {
        let mut state = self.write();
        let since = state.next_table;
        state.packs.remove(pack, since);
        state.is_changed = true;
    }

    /// Bytes of memory in use: capacity, not content.
    pub fn memory_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Counts and sizes.
    pub fn stats(&self) -> IndexStats {
        let counters = &self.counters;
        let sizes = self.read().sizes();
        IndexStats {
            memory_peak: self.budget.peak(),
            memtable: counters.memtable.get(),
            filtered: counters.filtered.get(),
            memory_hits: counters.memory_hits.get(),
            read_hits: counters.read_hits.get(),
            read_misses: counters.read_misses.get(),
            pages_read: counters.pages_read.get(),
            no_memory: counters.no_memory.get(),
            dropped: counters.dropped.get(),
            bad_pages: counters.bad_pages.get(),
            merged_records: counters.merged_records.get(),
            ..sizes
        }
    }

    /// A table gave an error: one that will never be right again goes.
    fn failed(&self, table: &Arc<Table>, error: &TableError) {
        if !error.is_lasting() {
            tracing::warn!(%error, "a lookup in the fingerprint index failed");
            return;
        }
        let was_there = self.write().drop_table(&table.file, &self.limits, &self.budget);
        if was_there {
            self.counters.dropped.add();
            let path = table.file.path();
            tracing::warn!(path = %path.display(), %error, "a damaged table of the fingerprint index is dropped");
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
