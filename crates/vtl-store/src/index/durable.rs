//! Memtables to tables, tables to larger tables, and the manifest that names them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vtl_durable::{DiskError, sealed};

use super::layout::{Job, Layout, Slice};
use super::manifest::{self, Manifest, SliceLine, TableLine};
use super::memtable::Memtable;
use super::merge::{Merge, MergeError};
use super::packs::{GoneSet, Packs, RangeSet};
use super::record::{PARTITIONS, Record};
use super::resident::{Mode, Table};
use super::state::{Retired, State};
use super::table::TableFile;
use super::writer::{self, Written};
use super::{Index, lock};

/// Tables over each other before an insert that writes one merges some of them itself. Reached only when background
/// work does not keep up or is not called at all.
const MOST_DEEP: usize = 24;

impl Index {
    /// Writes the memtable, then the manifest, and waits until both are durable. Cheap when nothing changed.
    pub fn flush(&self) -> Result<(), DiskError> {
        {
            let _spilling = lock(&self.spilling);
            // A frozen memtable is there when it could not be written before.
            while self.freeze() {
                self.write_frozen()?;
            }
        }
        self.commit()
    }

    /// One step of background work: merges some tables and makes it durable. Whether there is more to do.
    pub fn compact_step(&self) -> Result<bool, DiskError> {
        if !self.merge_once()? {
            return Ok(false);
        }
        self.commit()?;
        Ok(self.read().layout.wants_merge(&self.limits))
    }

    /// Removes everything. The caller then inserts all tables anew.
    pub fn clear(&self) -> Result<(), DiskError> {
        {
            let _merging = lock(&self.merging);
            let _spilling = lock(&self.spilling);
            let mut state = self.write();
            // The old one is freed before the new one is made.
            state.memtable = Memtable::new(0, 0);
            state.memtable = Memtable::new(self.limits.memtable, state.next_table);
            state.frozen = None;
            state.packs = Packs::new(self.limits.ranges, RangeSet::default(), GoneSet::default());
            state.install(Vec::new(), &self.limits, &self.budget);
        }
        self.commit()
    }

    /// The memtable is full. What cannot be written is given up: the index is a cache, and inserting never fails.
    pub(super) fn make_room(&self) {
        {
            let _spilling = lock(&self.spilling);
            // Another thread may have made room while this one waited.
            if !self.read().memtable.is_full() {
                return;
            }
            self.freeze();
            if let Err(error) = self.write_frozen() {
                tracing::warn!(%error, "the fingerprint index cannot be written, some duplicates will not be found");
                self.write().discard_frozen();
            }
        }
        while self.read().layout.depth() > MOST_DEEP {
            match self.merge_once() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "tables of the fingerprint index cannot be merged");
                    break;
                }
            }
        }
    }

    /// Makes the memtable the frozen one, unless there is one; whether there is one now.
    fn freeze(&self) -> bool {
        let mut state = self.write();
        if state.frozen.is_none() {
            state.packs.freeze();
            if state.memtable.is_empty() {
                state.is_changed |= state.packs.spill();
                return false;
            }
            let empty = Memtable::new(self.limits.memtable, state.next_table);
            let full = std::mem::replace(&mut state.memtable, empty);
            state.frozen = Some(Arc::new(full));
        }
        true
    }

    /// Writes the frozen memtable as a table; it stays frozen when that fails.
    fn write_frozen(&self) -> Result<(), DiskError> {
        let (frozen, number, gone) = {
            let mut state = self.write();
            let Some(frozen) = state.frozen.clone() else { return Ok(()) };
            (frozen, state.take_number(), state.packs.gone.clone())
        };
        let judge = |record: Record| Record { known: gone.judge(record.known), ..record };
        let records = frozen.sorted().map(|record| Ok::<_, DiskError>(judge(record)));
        let written = writer::write_table(&self.shop, number, records)?;
        let mut state = self.write();
        let mut slices = state.layout.slices().to_vec();
        let is_kept = match written {
            None => true,
            Some(written) => self.whole_slice(number, written).map(|slice| slices.push(slice)).is_some(),
        };
        if is_kept {
            state.frozen = None;
            state.packs.spill();
        } else {
            // There is no memory even for its directory.
            state.discard_frozen();
        }
        state.install(slices, &self.limits, &self.budget);
        Ok(())
    }

    fn whole_slice(&self, age: u64, written: Written) -> Option<Slice> {
        let number = written.header.table;
        let Some(file) = TableFile::from_written(&self.shop, age, written, &self.budget) else {
            writer::remove(&*self.shop.disk, &self.shop.path(number));
            return None;
        };
        let table = Arc::new(Table::new(Arc::new(file), Mode::Blind, &self.budget));
        Some(Slice { table, first: 0, last: PARTITIONS - 1 })
    }

    /// One merge, not yet durable; whether there was something to merge.
    fn merge_once(&self) -> Result<bool, DiskError> {
        let mut next_group = lock(&self.merging);
        let (job, number, gone) = {
            let mut state = self.write();
            let Some(job) = state.layout.job(*next_group, &self.limits) else { return Ok(false) };
            (job, state.take_number(), state.packs.gone.clone())
        };
        *next_group = job.next_group;
        let merge = Merge::open(&job, gone, &self.limits, &self.counters);
        match merge.and_then(|merge| writer::write_table(&self.shop, number, merge)) {
            Ok(written) => {
                let installed = self.install_merged(job, written);
                if !installed {
                    // Lookups hold what should be free by now: it is tried again the next time.
                    self.counters.no_memory.add();
                }
                Ok(installed)
            }
            Err(MergeError::Output(error)) => Err(error),
            Err(MergeError::Input(table, super::TableError::Disk(error))) if !error.is_not_found() => {
                tracing::warn!(path = %table.file.path().display(), "a table of the fingerprint index cannot be read");
                Err(error)
            }
            Err(MergeError::Input(table, error)) => {
                self.failed(&table, &error);
                Ok(true)
            }
        }
    }

    /// Whether there was memory for the new table.
    fn install_merged(&self, job: Job, written: Option<Written>) -> bool {
        let (first, last) = job.bounds();
        self.counters.merged_records.add_many(written.as_ref().map_or(0, |written| written.header.records));
        let mut state = self.write();
        let output = match written {
            None => None,
            Some(written) => {
                let Some(slice) = self.whole_slice(job.age(), written) else { return false };
                Some(Slice { first, last, ..slice })
            }
        };
        let slices = state.layout.replaced(&job.inputs, output);
        drop(job);
        state.install(slices, &self.limits, &self.budget);
        let unnamed = state.take_unnamed();
        drop(state);
        unnamed.into_iter().for_each(|number| writer::remove(&*self.shop.disk, &self.shop.path(number)));
        true
    }

    /// Makes the present tables and what is known of packs durable, in this order:
    /// 1. tables that no manifest names yet are synced, then the folder,
    /// 2. the manifest is replaced,
    /// 3. files that it does not name any more are unlinked.
    fn commit(&self) -> Result<(), DiskError> {
        let _committing = lock(&self.committing);
        let Some(draft) = Draft::of(&mut self.write()) else { return Ok(()) };
        let done = self.sync_tables(&draft).and_then(|()| {
            let (disk, folder) = (&*self.shop.disk, &self.shop.folder);
            let payload = draft.manifest(self.shop.store_id).encode();
            let replaced = sealed::replace(disk, folder, manifest::NAME, manifest::KIND, &payload);
            replaced.map_err(sealed::ReplaceError::into_inner)
        });
        if let Err(error) = done {
            let mut state = self.write();
            state.is_changed = true;
            state.retired.extend(draft.retired);
            return Err(error);
        }
        self.write().packs.publish(&draft.spilled);
        for retired in &draft.retired {
            writer::remove(&*self.shop.disk, &self.shop.path(retired.number));
        }
        Ok(())
    }

    fn sync_tables(&self, draft: &Draft) -> Result<(), DiskError> {
        let new: Vec<_> = draft.tables.iter().filter(|file| !file.synced.load(Ordering::Relaxed)).collect();
        for file in &new {
            if let Err(error) = file.file().and_then(|handle| handle.sync_data()) {
                // A later sync that succeeds proves nothing: the table goes, and what it knew of packs.
                tracing::warn!(path = %file.path().display(), "a table of the fingerprint index cannot be synced");
                self.write().drop_table(file, &self.limits, &self.budget);
                return Err(error);
            }
        }
        if !new.is_empty() {
            self.shop.disk.sync_folder(&self.shop.folder)?;
        }
        new.iter().for_each(|file| file.synced.store(true, Ordering::Relaxed));
        Ok(())
    }
}

/// What is about to be made durable.
struct Draft {
    tables: Vec<Arc<TableFile>>,
    slices: Vec<SliceLine>,
    next_table: u64,
    covered: RangeSet,
    spilled: RangeSet,
    gone: GoneSet,
    retired: Vec<Retired>,
}

impl Draft {
    /// `None` when the manifest on the disk is right as it is.
    fn of(state: &mut State) -> Option<Self> {
        if !std::mem::take(&mut state.is_changed) {
            return None;
        }
        let tables: Vec<_> = state.layout.tables().iter().map(|table| Arc::clone(&table.file)).collect();
        tables.iter().for_each(|file| file.named.store(true, Ordering::Relaxed));
        let spilled = state.packs.spilled.clone();
        let mut covered = state.packs.covered.clone();
        covered.absorb(&spilled);
        Some(Self {
            slices: slice_lines(&state.layout, &tables),
            tables,
            next_table: state.next_table,
            covered,
            spilled,
            gone: state.packs.gone.clone(),
            retired: std::mem::take(&mut state.retired),
        })
    }

    fn manifest(&self, store_id: [u8; 16]) -> Manifest {
        let line = |file: &Arc<TableFile>| TableLine {
            number: file.number(),
            age: file.age,
            file_bytes: file.file_bytes,
            least_pack: file.header.least_pack,
            most_pack: file.header.most_pack,
        };
        Manifest {
            store_id,
            next_table: self.next_table,
            tables: self.tables.iter().map(line).collect(),
            slices: self.slices.clone(),
            covered: self.covered.clone(),
            gone: self.gone.clone(),
        }
    }
}

fn slice_lines(layout: &Layout, tables: &[Arc<TableFile>]) -> Vec<SliceLine> {
    let mut places: Vec<(u64, u32)> = (0..).zip(tables).map(|(at, file)| (file.number(), at)).collect();
    places.sort_unstable();
    let line = |slice: &Slice| {
        let number = slice.table.file.number();
        let at = places.binary_search_by_key(&number, |place| place.0).ok()?;
        Some(SliceLine { table: places.get(at)?.1, first: slice.first, last: slice.last })
    };
    layout.slices().iter().filter_map(line).collect()
}
