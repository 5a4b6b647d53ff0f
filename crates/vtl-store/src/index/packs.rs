//! What is known of whole packs: which are covered, and which are gone.
//!
//! A pack is *open* while its chunks come in, *waiting* when it is complete and some of its records may be in the
//! memtable, *frozen* with the memtable that is being written, *spilled* when all its records are in tables, and *covered*
//! when a manifest on the disk says so. A pack some of whose records were lost on the way is *lost* and will not be covered
//! before it is fed in again after the next start.
//!
//! Every set has a limit. Beyond it covered packs are forgotten (they are fed in again), open and lost ones blurred (more
//! than necessary count as such), gone ones forgotten (their records are found to be wrong when they are used).

use super::record::Known;

/// Numbers, as ranges that do not touch each other.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RangeSet {
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The first range that ends at `number` or later.
    fn at(&self, number: u64) -> usize {
        self.ranges.partition_point(|range| range.1 < number)
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.ranges.get(self.at(number)).is_some_and(|range| range.0 <= number)
    }

    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        // Neighbours that touch are taken in.
        let from = self.at(first.saturating_sub(1));
        let to = self.ranges.partition_point(|range| range.0 <= last.saturating_add(1));
        let joined = match self.ranges.get(from..to) {
            Some([]) | None => (first, last),
            Some(touched) => {
                let low = touched.first().map_or(first, |range| range.0.min(first));
                (low, touched.last().map_or(last, |range| range.1.max(last)))
            }
        };
        self.ranges.splice(from..to.max(from), [joined]);
    }

    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let from = self.at(first);
        let to = self.ranges.partition_point(|range| range.0 <= last).max(from);
        let touched = self.ranges.get(from..to).unwrap_or_default();
        let before = touched.first().filter(|range| range.0 < first).map(|range| (range.0, first - 1));
        let after = touched.last().filter(|range| range.1 > last).map(|range| (last + 1, range.1));
        let left: Vec<_> = before.into_iter().chain(after).collect();
        self.ranges.splice(from..to, left);
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        other.iter().for_each(|(first, last)| self.insert(first, last));
    }

    fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Forgets ranges beyond the limit.
    fn shorten(&mut self, limit: usize) {
        self.ranges.truncate(limit);
    }

    /// Joins ranges until the limit is kept.
    fn blur(&mut self, limit: usize) {
        while self.ranges.len() > limit.max(1) {
            if let Some((first, _)) = self.ranges.pop()
                && let Some(last) = self.ranges.last_mut()
            {
                last.1 = last.1.max(first);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.ranges.capacity()
    }
}

/// A pack that was removed, and the table number from which on tables have none of its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    pub(crate) pack: u64,
    pub(crate) since: u64,
}

/// Removed packs, by number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct GoneSet(Vec<Gone>);

impl GoneSet {
    pub(crate) fn contains(&self, pack: u64) -> bool {
        !self.0.is_empty() && self.0.binary_search_by_key(&pack, |gone| gone.pack).is_ok()
    }

    /// What is known of a key, seen that some packs are gone: their chunks are dead. Older records stay hidden
    /// behind them, because one of those may have been forgotten before the younger one came.
    pub(crate) fn judge(&self, known: Known) -> Known {
        if self.contains(known.place().pack) { Known::Dead(known.place()) } else { known }
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Gone> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn insert(&mut self, gone: Gone, limit: usize) {
        match self.0.binary_search_by_key(&gone.pack, |gone| gone.pack) {
            Ok(at) => {
                if let Some(known) = self.0.get_mut(at) {
                    known.since = known.since.max(gone.since);
                }
            }
            Err(at) => {
                self.0.insert(at, gone);
                if self.0.len() > limit {
                    self.forget_oldest();
                }
            }
        }
    }

    /// Adds one with a higher number than all others.
    pub(crate) fn push_last(&mut self, gone: Gone) -> Option<()> {
        let rises = self.0.last().is_none_or(|last| last.pack < gone.pack);
        rises.then(|| self.0.push(gone))
    }

    /// Half of them, so that it happens seldom.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<u64> = self.0.iter().map(|gone| gone.since).collect();
        ages.sort_unstable();
        let middle = ages.get(ages.len() / 2).copied().unwrap_or(u64::MAX);
        self.retire(middle.saturating_add(1));
    }

    /// No table is older than `oldest`: who is gone for longer is not in any.
    pub(crate) fn retire(&mut self, oldest: u64) {
        self.0.retain(|gone| gone.since > oldest);
    }
}

/// All that is known of packs.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    pub(crate) limit: usize,
    pub(crate) covered: RangeSet,
    pub(crate) gone: GoneSet,
    open: RangeSet,
    waiting: RangeSet,
    frozen: RangeSet,
    pub(crate) spilled: RangeSet,
    lost: RangeSet,
}

impl Packs {
    pub(crate) fn new(limit: usize, covered: RangeSet, gone: GoneSet) -> Self {
        Self { limit: limit.max(1), covered, gone, ..Self::default() }
    }

    /// Chunks of the pack come in.
    pub(crate) fn fed(&mut self, pack: u64) {
        if !self.open.contains(pack) {
            self.open.insert(pack, pack);
            self.open.blur(self.limit);
        }
    }

    pub(crate) fn complete(&mut self, pack: u64) {
        self.open.remove(pack, pack);
        if self.lost.contains(pack) {
            self.lost.remove(pack, pack);
        } else if !self.covered.contains(pack) {
            self.waiting.insert(pack, pack);
            self.waiting.shorten(self.limit);
        }
    }

    /// The memtable begins to be written.
    pub(crate) fn freeze(&mut self) {
        let waiting = self.waiting.take();
        self.frozen.absorb(&waiting);
        self.frozen.shorten(self.limit);
    }

    /// The frozen memtable is a table now. Whether there is a pack more to cover.
    pub(crate) fn spill(&mut self) -> bool {
        let frozen = self.frozen.take();
        self.spilled.absorb(&frozen);
        self.spilled.shorten(self.limit);
        frozen.len() > 0
    }

    /// A manifest that covers these packs is on the disk. Those lost meanwhile are not in `spilled` any more.
    pub(crate) fn publish(&mut self, published: &RangeSet) {
        let spilled = self.spilled.take();
        for (first, last) in spilled.iter() {
            for (from, to) in published.iter() {
                if from.max(first) <= to.min(last) {
                    self.covered.insert(from.max(first), to.min(last));
                }
            }
        }
        self.spilled = spilled;
        published.iter().for_each(|(first, last)| self.spilled.remove(first, last));
        self.covered.shorten(self.limit);
    }

    /// The records of the frozen memtable are lost.
    pub(crate) fn lose_frozen(&mut self) {
        self.frozen = RangeSet::default();
        self.waiting = RangeSet::default();
        let open = self.open.clone();
        self.lost.absorb(&open);
        self.lost.blur(self.limit);
    }

    /// Records of packs from `first` to `last` are lost.
    pub(crate) fn lose(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        for set in [&mut self.covered, &mut self.waiting, &mut self.frozen, &mut self.spilled] {
            set.remove(first, last);
        }
        let open = self.open.clone();
        for (from, to) in open.iter().filter(|(from, to)| *from <= last && *to >= first) {
            self.lost.insert(from.max(first), to.min(last));
        }
        self.lost.blur(self.limit);
    }

    /// The pack was removed; tables with at least the number `since` will have none of its records.
    pub(crate) fn remove(&mut self, pack: u64, since: u64) {
        let sets =
            [&mut self.covered, &mut self.waiting, &mut self.frozen, &mut self.spilled, &mut self.open];
        for set in sets {
            set.remove(pack, pack);
        }
        self.covered.shorten(self.limit);
        self.gone.insert(Gone { pack, since }, self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::Random;
    use std::collections::BTreeSet;

    #[test]
    fn a_range_set_is_a_set() {
        let mut random = Random(3);
        for _ in 0..200 {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for _ in 0..60 {
                let first = random.below(40);
                let last = first + random.below(6);
                if random.below(3) == 0 {
                    set.remove(first, last);
                    model.retain(|number| !(first..=last).contains(number));
                } else {
                    set.insert(first, last);
                    model.extend(first..=last);
                }
                assert!((0..50).all(|number| set.contains(number) == model.contains(&number)), "{set:?}");
                assert!(set.ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{set:?}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_like_others() {
        let mut set = RangeSet::default();
        set.insert(u64::MAX, u64::MAX);
        set.insert(0, 0);
        assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(1));
        set.insert(0, u64::MAX);
        set.remove(0, 0);
        set.remove(u64::MAX, u64::MAX);
        assert_eq!(set.iter().collect::<Vec<_>>(), [(1, u64::MAX - 1)]);
    }

    #[test]
    fn a_pack_is_covered_only_after_all_steps_in_order() {
        let mut packs = Packs { limit: 10, ..Packs::default() };
        packs.fed(1);
        packs.complete(1);
        packs.spill();
        assert_eq!(packs.spilled.len(), 0);
        packs.freeze();
        packs.spill();
        let published = packs.spilled.clone();
        assert!(!packs.covered.contains(1));
        packs.publish(&published);
        assert!(packs.covered.contains(1));
    }

    #[test]
    fn a_pack_that_lost_records_while_it_grew_is_not_covered_when_it_is_complete() {
        let mut packs = Packs { limit: 10, ..Packs::default() };
        packs.fed(1);
        packs.freeze();
        packs.lose_frozen();
        packs.complete(1);
        packs.freeze();
        packs.spill();
        assert_eq!(packs.spilled.len(), 0);
    }

    #[test]
    fn sets_keep_their_limit() {
        let mut packs = Packs { limit: 10, ..Packs::default() };
        for pack in (0..1000).step_by(2) {
            packs.fed(pack);
            packs.lose(pack, pack);
            packs.fed(pack + 10_001);
            packs.complete(pack + 10_001);
            packs.remove(pack + 20_000, pack);
        }
        packs.freeze();
        packs.spill();
        let published = packs.spilled.clone();
        packs.publish(&published);
        for set in [&packs.covered, &packs.open, &packs.waiting, &packs.frozen, &packs.spilled, &packs.lost] {
            assert!(set.len() <= 10 && set.capacity() <= 20, "{packs:?}");
        }
        assert!(packs.gone.0.len() <= 10);
        assert!((0..1000).step_by(2).all(|pack| packs.lost.contains(pack)));
    }
}
