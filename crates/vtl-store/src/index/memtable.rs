//! The youngest records, in memory: a hash table that is nearly sorted.
//!
//! A key's home is its value scaled to the number of slots, and a key that finds its home taken goes to the next free
//! slot. So each stretch of taken slots holds exactly the keys whose homes are in it, and stretches follow each other
//! in the order of keys: sorting each stretch by itself sorts the whole, without a second copy. Nothing wraps around: behind
//! the last home lie as many spare slots as a key may be pushed away.

use super::record::{Key, Known, Place, Record};

/// High and low half of the key, the pack, and chunk with flags. Zeros are an empty slot, so that a new table
/// is memory as the system gives it.
type Slot = [u64; 4];
const SLOT_BYTES: usize = size_of::<Slot>();
const TAKEN: u64 = 1 << 16;
const DEAD: u64 = 1 << 17;
/// A key farther than this from its home makes the table count as full. With random keys and the load below a
/// stretch of this length appears once in 10^30 tables; keys that somebody chose give small tables, nothing worse.
const FARTHEST: usize = 1024;

#[derive(Debug)]
pub(crate) struct Memtable {
    /// No table written before the one with this number has any of its records.
    born: u64,
    slots: Vec<Slot>,
    homes: usize,
    farthest: usize,
    taken: usize,
    is_full: bool,
}

impl Memtable {
    /// Uses at most `bytes` bytes, but has at least a few slots.
    pub(crate) fn new(bytes: usize, born: u64) -> Self {
        let slots = (bytes / SLOT_BYTES).max(64);
        let farthest = FARTHEST.min(slots / 8);
        Self { born, slots: vec![[0; 4]; slots], homes: slots - farthest, farthest, taken: 0, is_full: false }
    }

    pub(crate) fn born(&self) -> u64 {
        self.born
    }

    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Whether a record was refused.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    pub(crate) fn get(&self, key: Key) -> Option<Known> {
        let slot = self.slots.get(self.find(key)?)?;
        (slot[3] & TAKEN != 0).then(|| known(slot))
    }

    /// Replaces what was known of the key; `false` when the table is full.
    pub(crate) fn put(&mut self, key: Key, known: Known) -> bool {
        let Some(slot) = self.find(key).and_then(|at| self.slots.get_mut(at)) else {
            self.is_full = true;
            return false;
        };
        if slot[3] & TAKEN == 0 {
            // Two thirds: a search that fails looks at five slots on average, three quarters would make it nine.
            if (self.taken + 1).saturating_mul(3) > self.homes * 2 {
                self.is_full = true;
                return false;
            }
            self.taken += 1;
        }
        let place = known.place();
        let dead = if known.is_dead() { DEAD } else { 0 };
        *slot = [key.high(), key.low(), place.pack, u64::from(place.chunk) | TAKEN | dead];
        true
    }

    /// The key's slot, or the free one it would get; `None` when it would be too far away.
    fn find(&self, key: Key) -> Option<usize> {
        let home = ((u128::from(key.high()) * self.homes as u128) >> 64) as usize;
        let reach = self.slots.get(home..home + self.farthest)?;
        let fits = |slot: &Slot| slot[3] & TAKEN == 0 || (slot[0] == key.high() && slot[1] == key.low());
        reach.iter().position(fits).map(|distance| home + distance)
    }

    /// All records in the order of their keys.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = Record> + '_ {
        let stretches = self.slots.split(|slot| slot[3] & TAKEN == 0).filter(|slots| !slots.is_empty());
        stretches.flat_map(|stretch| {
            let mut records: Vec<Record> = stretch.iter().map(record).collect();
            records.sort_unstable_by_key(|record| record.key);
            records
        })
    }
}

fn known(slot: &Slot) -> Known {
    Known::new(Place { pack: slot[2], chunk: slot[3] as u16 }, slot[3] & DEAD != 0)
}

fn record(slot: &Slot) -> Record {
    Record { key: Key::from_halves(slot[0], slot[1]), known: known(slot) }
}

/// What a table of so many bytes really takes.
pub(crate) fn bytes_for(bytes: usize) -> usize {
    (bytes / SLOT_BYTES).max(64) * SLOT_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::random_key;
    use std::collections::BTreeMap;

    fn live(pack: u64) -> Known {
        Known::Live(Place { pack, chunk: pack as u16 })
    }

    #[test]
    fn records_come_out_sorted_and_as_they_were_put_last() {
        let mut table = Memtable::new(1 << 20, 0);
        let mut model = BTreeMap::new();
        for n in 0..30_000 {
            let key = random_key(n % 20_000);
            assert!(table.put(key, live(n)), "{n}");
            model.insert(key.0, live(n));
        }
        assert_eq!(table.len(), model.len());
        for (key, known) in &model {
            assert_eq!(table.get(Key(*key)), Some(*known));
        }
        assert_eq!(table.get(random_key(20_000)), None);
        let sorted: Vec<_> = table.sorted().map(|record| (record.key.0, record.known)).collect();
        assert_eq!(sorted, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_full_table_refuses_new_keys_and_still_takes_known_ones() {
        let mut table = Memtable::new(64 * 32, 0);
        let taken = (0..100).take_while(|n| table.put(random_key(*n), live(*n))).count();
        assert!((20..=37).contains(&taken), "{taken}");
        assert!(table.put(random_key(0), live(7)));
        assert_eq!(table.get(random_key(0)), Some(live(7)));
    }

    #[test]
    fn keys_chosen_to_share_a_home_fill_the_table_early_and_nothing_else() {
        let mut table = Memtable::new(1 << 20, 0);
        let same = |n: u128| Key(u128::MAX - n);
        let taken = (0..100_000).take_while(|n| table.put(same(*n), live(1))).count();
        assert_eq!(taken, FARTHEST);
        assert_eq!(table.sorted().count(), FARTHEST);
        assert_eq!(table.get(same(200_000)), None);
    }
}
