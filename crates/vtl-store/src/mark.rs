//! Who needs what: raw addresses of packs, marked by everybody who refers to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Weak;

use crate::error::StoreError;
use crate::pack::{Chunk, PackId};
use crate::packs::Known;
use crate::recipe::Extent;
use crate::snapshot;
use crate::store::Core;
use crate::types::OwnerId;
use crate::workers::lock;

/// Who needs a range of addresses: the number of an owner, or [`SHARED`].
type Tag = u32;

/// More than one needs it, or a stream that has not committed it yet.
const SHARED: Tag = u32::MAX;

/// Who needs a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    Nobody,
    /// One owner and nobody else.
    Only(u32),
    Several,
}

/// Marked ranges of raw addresses, brought into order now and then: then they do not overlap.
#[derive(Default)]
pub(crate) struct Ranges {
    ranges: Vec<(u32, u32, Tag)>,
    ordered: usize,
}

impl Ranges {
    fn add(&mut self, from: u32, to: u32, tag: Tag) {
        push(&mut self.ranges, from, to, tag);
        if self.ranges.len() > 2 * self.ordered + 64 {
            self.order();
        }
    }

    fn order(&mut self) {
        let mut edges: Vec<(u32, bool, Tag)> = Vec::with_capacity(self.ranges.len() * 2);
        for (from, to, tag) in self.ranges.drain(..) {
            edges.extend([(from, true, tag), (to, false, tag)]);
        }
        edges.sort_unstable();
        let mut needed_by: BTreeMap<Tag, u32> = BTreeMap::new();
        let mut from = 0;
        for (at, begins, tag) in edges {
            if from < at
                && let Some((first, _)) = needed_by.first_key_value()
            {
                push(&mut self.ranges, from, at, if needed_by.len() == 1 { *first } else { SHARED });
            }
            from = at;
            match begins {
                true => *needed_by.entry(tag).or_default() += 1,
                false => {
                    let left = needed_by.get(&tag).map_or(0, |count| count.saturating_sub(1));
                    if left == 0 {
                        needed_by.remove(&tag);
                    } else {
                        needed_by.insert(tag, left);
                    }
                }
            }
        }
        self.ordered = self.ranges.len();
    }

    /// The ranges that have addresses of the chunk; they must be in order.
    fn at(&self, chunk: &Chunk) -> impl Iterator<Item = Tag> {
        let first = self.ranges.partition_point(|(_, to, _)| *to <= chunk.at);
        let found = self.ranges.iter().skip(first);
        let end = chunk.end();
        found.take_while(move |(from, ..)| u64::from(*from) < end).map(|(_, _, tag)| *tag)
    }

    /// Whether anybody needs any address of the chunk.
    pub(crate) fn touch(&self, chunk: &Chunk) -> bool {
        self.at(chunk).next().is_some()
    }

    /// Who needs any address of the chunk.
    pub(crate) fn need(&self, chunk: &Chunk) -> Need {
        self.at(chunk).fold(Need::Nobody, |need, tag| match need {
            _ if tag == SHARED => Need::Several,
            Need::Nobody => Need::Only(tag),
            Need::Only(other) if other == tag => need,
            _ => Need::Several,
        })
    }
}

/// Joins the range to the last where it goes on.
fn push(ranges: &mut Vec<(u32, u32, Tag)>, from: u32, to: u32, tag: Tag) {
    match ranges.last_mut() {
        Some(last) if last.1 == from && last.2 == tag => last.1 = to,
        _ if from < to => ranges.push((from, to, tag)),
        _ => {}
    }
}

/// Everything that anybody refers to.
pub(crate) struct Marks {
    pub(crate) packs: BTreeMap<PackId, Ranges>,
    /// By number.
    pub(crate) owners: Vec<OwnerId>,
    /// What each of them shares with others, in stored bytes, nearly.
    pub(crate) shared_bytes: Vec<u64>,
}

/// Marks everything that anybody refers to; none when that is stopped before all is known. `go_on` is asked before each owner.
pub(crate) fn mark(core: &Core, go_on: &dyn Fn() -> bool) -> Result<Option<Marks>, StoreError> {
    let mut marker = Marker { packs: BTreeMap::new(), known: core.packs.all().into_iter().collect() };
    // Lanes before owners: what is committed in between has been in the lane, or is in the owner by now.
    let lanes: Vec<_> = lock(&core.lanes).iter().filter_map(Weak::upgrade).collect();
    for lane in lanes {
        marker.add(&lane.uncommitted_extents(), SHARED);
    }
    let owners: Vec<OwnerId> = lock(&core.owners).keys().copied().collect();
    let mut needed_bytes = vec![0; owners.len()];
    for ((owner, needed), tag) in owners.iter().zip(&mut needed_bytes).zip(0..) {
        if core.dock.finder.gate.is_stopped() || !go_on() {
            return Ok(None);
        }
        if let Some(mut extents) = core.extents(*owner)? {
            marker.add(&extents, tag);
            *needed = marker.needed_bytes(&mut extents);
        }
    }
    // Snapshots after owners: see there.
    for pinned in snapshot::needed(core) {
        marker.add(pinned.extents(), SHARED);
    }
    marker.packs.values_mut().for_each(Ranges::order);
    let mut shared_bytes = needed_bytes;
    marker.take_alone(&mut shared_bytes);
    Ok(Some(Marks { packs: marker.packs, owners, shared_bytes }))
}

struct Marker {
    packs: BTreeMap<PackId, Ranges>,
    /// As they were in the beginning, so that the same range is always taken for the same stored bytes.
    known: HashMap<PackId, Known>,
}

impl Marker {
    fn add(&mut self, extents: &[Extent], tag: Tag) {
        for extent in extents {
            self.packs.entry(extent.pack).or_default().add(extent.at, extent.raw_end() as u32, tag);
        }
    }

    /// Stored bytes that a stream refers to, each address once.
    fn needed_bytes(&self, extents: &mut [Extent]) -> u64 {
        extents.sort_unstable_by_key(|extent| (extent.pack, extent.at));
        let of_pack = |row: &[Extent]| {
            let mut due = 0;
            let raw = row.iter().map(|extent| {
                let fresh = extent.raw_end().saturating_sub(due.max(u64::from(extent.at)));
                due = due.max(extent.raw_end());
                fresh
            });
            row.first().map_or(0, |first| self.stored(first.pack, raw.sum()))
        };
        extents.chunk_by(|one, next| one.pack == next.pack).map(of_pack).sum()
    }

    /// Takes what only one owner refers to from what each refers to.
    fn take_alone(&self, bytes: &mut [u64]) {
        for (pack, ranges) in &self.packs {
            let mut alone: BTreeMap<Tag, u64> = BTreeMap::new();
            for (from, to, tag) in &ranges.ranges {
                *alone.entry(*tag).or_default() += u64::from(to - from);
            }
            for (tag, raw) in alone {
                if let Some(bytes) = bytes.get_mut(tag as usize) {
                    *bytes = bytes.saturating_sub(self.stored(*pack, raw));
                }
            }
        }
    }

    /// So many raw bytes of a pack, as the pack's other bytes are stored.
    fn stored(&self, pack: PackId, raw: u64) -> u64 {
        let Some(known) = self.known.get(&pack).filter(|known| known.raw_bytes > 0) else { return raw };
        let stored = u128::from(raw) * u128::from(known.file_bytes) / u128::from(known.raw_bytes);
        u64::try_from(stored).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(at: u32, len: u32) -> Chunk {
        Chunk { fingerprint: [0; 32], at, len, forced: false }
    }

    #[test]
    fn ranges_in_any_order_touch_what_they_touch() {
        let mut ranges = Ranges::default();
        for start in (0..100).rev() {
            ranges.add(start * 10, start * 10 + 5, 0);
            ranges.add(start * 10 + 3, start * 10 + 7, 1);
        }
        ranges.order();
        assert!(ranges.touch(&chunk(6, 1)) && ranges.touch(&chunk(8, 3)) && ranges.touch(&chunk(0, 1)));
        assert!(!ranges.touch(&chunk(7, 3)) && !ranges.touch(&chunk(1000, 5)));
    }

    #[test]
    fn an_address_is_needed_by_nobody_by_one_or_by_several() {
        let mut ranges = Ranges::default();
        for (from, to, tag) in [(10, 30, 0), (20, 40, 1), (15, 18, 0), (50, 60, SHARED), (60, 70, 2)] {
            ranges.add(from, to, tag);
        }
        for _ in 0..2 {
            ranges.order();
            let need = |at, len| ranges.need(&chunk(at, len));
            assert_eq!([need(0, 10), need(40, 10), need(70, 5)], [Need::Nobody; 3]);
            assert_eq!([need(0, 11), need(10, 10), need(16, 1)], [Need::Only(0); 3]);
            assert_eq!([need(30, 10), need(62, 2)], [Need::Only(1), Need::Only(2)]);
            assert_eq!([need(19, 2), need(29, 2), need(50, 1), need(59, 2)], [Need::Several; 4]);
        }
    }
}
