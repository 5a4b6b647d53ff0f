//! Which tables answer for which partition, youngest first, and which of them to merge next.

use std::sync::Arc;

use super::options::Limits;
use super::record::{Key, PARTITIONS};
use super::resident::Table;

/// A part of a table: from the first of these partitions to the last.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) table: Arc<Table>,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Slice {
    /// What is left of it outside of the partitions from `first` to `last`.
    fn without(self, first: u16, last: u16) -> impl Iterator<Item = Self> {
        let before = first.checked_sub(1).map(|end| self.last.min(end));
        let before = before.filter(|end| *end >= self.first).map(|last| Self { last, ..self.clone() });
        let after = last.checked_add(1).map(|start| self.first.max(start));
        let after = after.filter(|start| *start <= self.last).map(|first| Self { first, ..self });
        before.into_iter().chain(after)
    }

    /// The part of it that lies in these partitions.
    fn within(&self, first: u16, last: u16) -> Option<Self> {
        let (first, last) = (self.first.max(first), self.last.min(last));
        (first <= last).then(|| Self { table: Arc::clone(&self.table), first, last })
    }

    /// Records, if they are spread evenly from the table's first key to its last.
    pub(crate) fn estimate(&self) -> u64 {
        let header = &self.table.file.header;
        let low = self.table.file.directory.first().map_or(0, |entry| entry.first);
        let end = |partition: u16| Key::first_of(partition).high() | u64::MAX >> PARTITIONS.trailing_zeros();
        let from = low.max(Key::first_of(self.first).high());
        let to = header.last.min(end(self.last));
        let span = u128::from(header.last.saturating_sub(low)) + 1;
        let part = to.checked_sub(from).map_or(0, |part| u128::from(part) + 1);
        (u128::from(header.records) * part).div_ceil(span) as u64
    }
}

/// All slices, and for each group of partitions those that lie in it. Never changed: a new one takes its place.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// Youngest first.
    slices: Vec<Slice>,
    /// Where the group's part of `items` begins; one more than groups.
    starts: Vec<u32>,
    items: Vec<u32>,
    group_shift: u32,
}

/// Tables to merge, in a range of partitions.
#[derive(Debug)]
pub(crate) struct Job {
    /// Each only in the partitions in which it takes part.
    pub(crate) inputs: Vec<Slice>,
    /// Nothing older than the inputs is there: what is dead need not be remembered any more.
    pub(crate) is_bottom: bool,
    /// Group at which to look for the next job.
    pub(crate) next_group: u16,
}

impl Layout {
    pub(crate) fn new(mut slices: Vec<Slice>, limits: &Limits) -> Self {
        slices.sort_by_key(|slice| (std::cmp::Reverse(slice.table.file.age), slice.first));
        slices.shrink_to_fit();
        let group_shift = (PARTITIONS / limits.groups).trailing_zeros();
        let mut layout = Self { slices, starts: Vec::new(), items: Vec::new(), group_shift };
        layout.fill_groups(limits.groups);
        layout
    }

    fn fill_groups(&mut self, groups: u16) {
        let shift = self.group_shift;
        let mut counts = vec![0_u32; usize::from(groups) + 1];
        for group in self.slices.iter().flat_map(|slice| slice.first >> shift..=slice.last >> shift) {
            if let Some(count) = counts.get_mut(usize::from(group) + 1) {
                *count += 1;
            }
        }
        for group in 1..counts.len() {
            let before = counts.get(group - 1).copied().unwrap_or_default();
            counts.get_mut(group).into_iter().for_each(|count| *count += before);
        }
        let mut ends = counts.clone();
        self.items = vec![0; counts.last().copied().unwrap_or_default() as usize];
        for (index, slice) in (0..).zip(&self.slices) {
            for group in slice.first >> shift..=slice.last >> shift {
                let Some(end) = ends.get_mut(usize::from(group)) else { continue };
                self.items.get_mut(*end as usize).into_iter().for_each(|item| *item = index);
                *end += 1;
            }
        }
        self.starts = counts;
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.slices.capacity() * size_of::<Slice>() + (self.starts.capacity() + self.items.capacity()) * 4
    }

    pub(crate) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Each table once, youngest first.
    pub(crate) fn tables(&self) -> Vec<&Arc<Table>> {
        let mut tables: Vec<_> = self.slices.iter().map(|slice| &slice.table).collect();
        tables.sort_by_key(|table| (std::cmp::Reverse(table.file.age), table.file.number()));
        tables.dedup_by_key(|table| table.file.number());
        tables
    }

    fn group(&self, group: u16) -> impl Iterator<Item = &Slice> {
        let start = self.starts.get(usize::from(group)).copied().unwrap_or_default() as usize;
        let end = self.starts.get(usize::from(group) + 1).copied().unwrap_or_default() as usize;
        self.items
            .get(start..end)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| self.slices.get(*item as usize))
    }

    /// Tables that can have the key, youngest first.
    pub(crate) fn stack(&self, key: Key) -> impl Iterator<Item = &Arc<Table>> {
        let partition = key.partition();
        let here = move |slice: &&Slice| slice.first <= partition && partition <= slice.last;
        self.group(partition >> self.group_shift).filter(here).map(|slice| &slice.table)
    }

    /// Tables that lie over each other, at most.
    pub(crate) fn depth(&self) -> usize {
        self.starts.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or_default() as usize
    }

    fn groups(&self) -> u16 {
        self.starts.len().saturating_sub(1) as u16
    }

    fn bounds(&self, group: u16) -> (u16, u16) {
        let first = group << self.group_shift;
        (first, first | ((1 << self.group_shift) - 1))
    }

    /// How many of a group's tables, the youngest, are to be merged: down to the oldest that those above it outweigh, or that has damaged
    /// pages. Sizes then grow by more than a factor of `1 + growth` from table to table.
    fn wanted(&self, group: u16, limits: &Limits) -> Vec<Slice> {
        let (first, last) = self.bounds(group);
        let mut stack: Vec<Slice> = self.group(group).filter_map(|slice| slice.within(first, last)).collect();
        let (mut above, mut count) = (0_u64, 0);
        for (index, slice) in stack.iter().enumerate() {
            let size = slice.estimate();
            let is_outweighed = index > 0 && size <= above.saturating_mul(u64::from(limits.growth));
            if is_outweighed || slice.table.file.has_bad_pages() {
                count = index + 1;
            }
            above = above.saturating_add(size);
        }
        stack.truncate(count.min(limits.inputs));
        stack
    }

    pub(crate) fn wants_merge(&self, limits: &Limits) -> bool {
        (0..self.groups()).any(|group| !self.wanted(group, limits).is_empty())
    }

    /// The next merge, looked for from `from_group` on, all around.
    pub(crate) fn job(&self, from_group: u16, limits: &Limits) -> Option<Job> {
        let groups = self.groups();
        let around = (from_group.min(groups)..groups).chain(0..from_group.min(groups));
        let start = around.into_iter().find(|group| !self.wanted(*group, limits).is_empty())?;
        let mut job = Job { inputs: Vec::new(), is_bottom: true, next_group: start };
        let mut records = 0_u64;
        for group in start..groups {
            let wanted = self.wanted(group, limits);
            let more: u64 = wanted.iter().map(Slice::estimate).sum();
            let new = wanted.iter().filter(|slice| !job.continues(slice)).count();
            let is_first = group == start;
            let fits = records.saturating_add(more) <= limits.step_records
                && job.inputs.len() + new <= limits.inputs;
            if wanted.is_empty() || !(is_first || fits) {
                break;
            }
            records = records.saturating_add(more);
            job.is_bottom &= wanted.len() == self.group(group).count();
            job.extend(wanted);
            job.next_group = group + 1;
        }
        Some(job)
    }

    /// The slices with what was merged taken out, and the result put in.
    pub(crate) fn replaced(&self, inputs: &[Slice], output: Option<Slice>) -> Vec<Slice> {
        let mut slices = Vec::with_capacity(self.slices.len() + inputs.len() + 1);
        for slice in &self.slices {
            let mut left = vec![slice.clone()];
            for input in inputs.iter().filter(|input| is_same(&input.table, &slice.table)) {
                left = left.into_iter().flat_map(|part| part.without(input.first, input.last)).collect();
            }
            slices.extend(left);
        }
        slices.extend(output);
        slices
    }
}

fn is_same(one: &Table, other: &Table) -> bool {
    one.file.number() == other.file.number()
}

impl Job {
    fn continues(&self, slice: &Slice) -> bool {
        self.inputs.iter().any(|input| is_same(&input.table, &slice.table) && input.last + 1 == slice.first)
    }

    fn extend(&mut self, slices: Vec<Slice>) {
        for slice in slices {
            let known = self.inputs.iter_mut().find(|input| {
                is_same(&input.table, &slice.table) && input.last.checked_add(1) == Some(slice.first)
            });
            match known {
                Some(input) => input.last = slice.last,
                None => self.inputs.push(slice),
            }
        }
    }

    /// Partitions from the first to the last that are merged.
    pub(crate) fn bounds(&self) -> (u16, u16) {
        let first = self.inputs.iter().map(|slice| slice.first).min().unwrap_or_default();
        (first, self.inputs.iter().map(|slice| slice.last).max().unwrap_or_default())
    }

    pub(crate) fn age(&self) -> u64 {
        self.inputs.iter().map(|slice| slice.table.file.age).max().unwrap_or_default()
    }
}
