//! What changes: the memtables, which tables there are, and what is known of packs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::budget::{Budget, Charge};
use super::layout::{Layout, Slice};
use super::memtable::Memtable;
use super::options::Limits;
use super::packs::Packs;
use super::plan::Plan;
use super::record::{Key, Known};
use super::resident::{Mode, Table};
use super::stats::{IndexMode, IndexStats};
use super::table::TableFile;

/// A file that is not needed any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retired {
    pub(crate) number: u64,
    /// A manifest may name it, so it stays until another one is durable.
    pub(crate) named: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) memtable: Memtable,
    /// The full memtable that is being written, or could not be written the last time.
    pub(crate) frozen: Option<Arc<Memtable>>,
    pub(crate) layout: Layout,
    pub(crate) packs: Packs,
    pub(crate) next_table: u64,
    /// Files that the manifest on the disk may name and the next one will not.
    pub(crate) retired: Vec<Retired>,
    /// The manifest on the disk is not what it should be.
    pub(crate) is_changed: bool,
    mode: IndexMode,
    layout_charge: Option<Charge>,
}

impl State {
    pub(crate) fn new(limits: &Limits, packs: Packs, next_table: u64) -> Self {
        Self {
            memtable: Memtable::new(limits.memtable, next_table),
            frozen: None,
            layout: Layout::new(Vec::new(), limits),
            packs,
            next_table,
            retired: Vec::new(),
            is_changed: false,
            mode: IndexMode::Memory,
            layout_charge: None,
        }
    }

    /// What the memtables know.
    pub(crate) fn in_memtables(&self, key: Key) -> Option<Known> {
        let frozen = || self.frozen.as_ref().and_then(|table| table.get(key));
        self.memtable.get(key).or_else(frozen).map(|known| self.packs.gone.judge(known))
    }

    pub(crate) fn take_number(&mut self) -> u64 {
        let number = self.next_table;
        self.next_table += 1;
        number
    }

    /// Takes these slices for the present ones: decides anew what may be in memory, and removes tables that have no
    /// slice any more or no room.
    pub(crate) fn install(&mut self, slices: Vec<Slice>, limits: &Limits, budget: &Arc<Budget>) {
        let before = std::mem::take(&mut self.layout);
        let wanted = Layout::new(slices, limits);
        let room =
            limits.for_tables().saturating_sub(wanted.memory_bytes().saturating_sub(limits.memory / 32));
        let tables = wanted.tables();
        let headers: Vec<_> = tables.iter().map(|table| &table.file.header).collect();
        let plan = Plan::new(&headers, room);
        self.mode = plan.mode();
        let planned: Vec<Arc<Table>> = tables
            .iter()
            .zip(&plan.modes)
            .map(|(table, mode)| {
                if table.mode == *mode {
                    Arc::clone(table)
                } else {
                    Arc::new(Table::new(Arc::clone(&table.file), *mode, budget))
                }
            })
            .collect();
        for table in tables.iter().skip(planned.len()) {
            tracing::warn!(path = %table.file.path().display(), "no memory for a table of the fingerprint index, it is dropped");
            self.packs.lose(table.file.header.least_pack, table.file.header.most_pack);
        }
        let mut planned_by_number: Vec<_> =
            planned.iter().map(|table| (table.file.number(), table)).collect();
        planned_by_number.sort_unstable_by_key(|(number, _)| *number);
        let find = |slice: &Slice| {
            let number = slice.table.file.number();
            let at = planned_by_number.binary_search_by_key(&number, |(number, _)| *number).ok()?;
            let table = planned_by_number.get(at).map(|(_, table)| Arc::clone(table))?;
            Some(Slice { table, ..*slice })
        };
        let slices: Vec<Slice> = wanted.slices().iter().filter_map(find).collect();
        self.layout = Layout::new(slices, limits);
        self.layout_charge = None;
        self.layout_charge = budget.take(self.layout.memory_bytes());
        self.retire_missing(&before);
        let tables = self.layout.tables();
        let numbers = tables.iter().map(|table| table.file.number());
        let frozen = self.frozen.iter().map(|table| table.born());
        let memtable = if self.memtable.is_empty() { self.next_table } else { self.memtable.born() };
        let oldest = numbers.chain(frozen).fold(memtable, u64::min);
        self.packs.gone.retire(oldest.saturating_sub(1));
        self.is_changed = true;
    }

    /// Files of `before` that no slice uses any more.
    fn retire_missing(&mut self, before: &Layout) {
        let tables = self.layout.tables();
        let mut kept: Vec<u64> = tables.iter().map(|table| table.file.number()).collect();
        kept.sort_unstable();
        for table in before.tables() {
            if kept.binary_search(&table.file.number()).is_err() {
                let named = table.file.named.load(Ordering::Relaxed);
                self.retired.push(Retired { number: table.file.number(), named });
            }
        }
    }

    /// Files that can be unlinked at once, because no manifest ever named them.
    pub(crate) fn take_unnamed(&mut self) -> Vec<u64> {
        let unnamed =
            self.retired.iter().filter(|retired| !retired.named).map(|retired| retired.number).collect();
        self.retired.retain(|retired| retired.named);
        unnamed
    }

    /// A table is lost: what packs it knew are not covered any more. Whether it was still there.
    pub(crate) fn drop_table(&mut self, file: &TableFile, limits: &Limits, budget: &Arc<Budget>) -> bool {
        let slices = self.layout.slices();
        let left: Vec<Slice> =
            slices.iter().filter(|slice| slice.table.file.number() != file.number()).cloned().collect();
        if left.len() == slices.len() {
            return false;
        }
        self.packs.lose(file.header.least_pack, file.header.most_pack);
        self.install(left, limits, budget);
        true
    }

    /// The records of the frozen memtable are given up.
    pub(crate) fn discard_frozen(&mut self) {
        if self.frozen.take().is_some() {
            self.packs.lose_frozen();
        }
    }

    pub(crate) fn sizes(&self) -> IndexStats {
        let in_memory = self.memtable.len() + self.frozen.as_ref().map_or(0, |table| table.len());
        let tables = self.layout.tables();
        let cost = |mode: Mode| {
            let headers = tables.iter().map(|table| &table.file.header);
            headers.map(|header| mode.bytes(header) + TableFile::base_bytes(header.segments)).sum()
        };
        IndexStats {
            filter_bytes: cost(Mode::Filter),
            sample_bytes: cost(Mode::Hooks(0)),
            entries: in_memory as u64 + self.layout.slices().iter().map(Slice::estimate).sum::<u64>(),
            runs: self.layout.depth(),
            tables: tables.len(),
            disk_bytes: tables.iter().map(|table| table.file.file_bytes).sum(),
            mode: self.mode,
            ..IndexStats::default()
        }
    }
}
