//! A binary fuse filter: about nine and a half bits for each key, one false answer in 256.
//!
//! Graf and Lemire, "Binary Fuse Filters: Fast and Smaller Than Xor Filters", 2022. Written here and not taken from a
//! crate because the bytes are part of our format, must be checked before use, and must be made within a memory bound.

use super::record::Key;

/// How often another seed is tried. Each attempt fails with a probability of a few percent.
const ATTEMPTS: u64 = 64;

/// Where the three bytes of a key are: all that must be stored beside the bytes themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    /// Blocks in which a key's first byte can be; two more follow.
    pub(crate) blocks: u32,
    /// log2 of a block's bytes.
    pub(crate) block_log2: u8,
}

pub(crate) const LEAST_LOG2: u8 = 2;
pub(crate) const MOST_LOG2: u8 = 18;

impl Shape {
    /// What the paper found to work for so many keys.
    pub(crate) fn for_keys(keys: usize) -> Self {
        let count = keys.max(2) as f64;
        let log2 = (count.ln() / 3.33_f64.ln() + 2.25).floor();
        let block_log2 = (log2 as u8).clamp(LEAST_LOG2, MOST_LOG2);
        let factor = (0.875 + 0.25 * 1e6_f64.ln() / count.ln()).max(1.125);
        let bytes = (count * factor).round() as usize;
        let blocks = bytes.div_ceil(1 << block_log2).saturating_sub(2).max(1);
        Self { seed: 0, blocks: u32::try_from(blocks).unwrap_or(u32::MAX), block_log2 }
    }

    /// A filter without bytes: every key may be in it.
    pub(crate) fn none() -> Self {
        Self { seed: 0, blocks: 0, block_log2: LEAST_LOG2 }
    }

    /// Bytes of the filter, if this is a shape at all.
    pub(crate) fn bytes(self) -> Option<usize> {
        if !(LEAST_LOG2..=MOST_LOG2).contains(&self.block_log2) {
            return None;
        }
        if self.blocks == 0 {
            return Some(0);
        }
        let blocks = usize::try_from(self.blocks).ok()?.checked_add(2)?;
        blocks.checked_mul(1 << self.block_log2)
    }

    /// What stands for the key: 64 random bits.
    fn hash(self, key: Key) -> u64 {
        mix(mix(key.high().wrapping_add(self.seed)) ^ key.low())
    }

    fn places(self, hash: u64) -> [usize; 3] {
        let block = 1_u64 << self.block_log2;
        let firsts = u64::from(self.blocks) << self.block_log2;
        let first = ((u128::from(hash) * u128::from(firsts)) >> 64) as u64;
        let second = (first + block) ^ ((hash >> 18) & (block - 1));
        let third = (first + 2 * block) ^ (hash & (block - 1));
        [first as usize, second as usize, third as usize]
    }

    /// Whether the key may be among those that the filter was made of.
    pub(crate) fn may_contain(self, bytes: &[u8], key: Key) -> bool {
        let hash = self.hash(key);
        let [first, second, third] = self.places(hash);
        match (bytes.get(first), bytes.get(second), bytes.get(third)) {
            (Some(a), Some(b), Some(c)) => a ^ b ^ c == mark(hash),
            // No filter, or one that is too short for its shape.
            _ => true,
        }
    }
}

fn mark(hash: u64) -> u8 {
    (hash ^ (hash >> 32)) as u8
}

/// The finisher of MurmurHash3 (Appleby).
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Makes filters, and keeps its working memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    cells: Vec<Cell>,
    alone: Vec<u32>,
    order: Vec<(u64, u8)>,
    bytes: Vec<u8>,
}

/// The keys that share a byte: how many, and the sums of their hashes and of which of their three places it is.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    hashes: u64,
    count: u32,
    which: u32,
}

impl Builder {
    /// Working memory for segments of so many keys, all there from the start: charged once, never exceeded.
    pub(crate) fn for_keys(keys: usize) -> Self {
        let cells = Shape::for_keys(keys).bytes().unwrap_or_default();
        Self {
            cells: Vec::with_capacity(cells),
            alone: Vec::with_capacity(cells),
            order: Vec::with_capacity(keys),
            bytes: Vec::with_capacity(cells),
        }
    }

    /// Bytes of memory that [`Builder::for_keys`] takes.
    pub(crate) fn memory_bytes(keys: usize) -> usize {
        let cells = Shape::for_keys(keys).bytes().unwrap_or_default();
        cells * (size_of::<Cell>() + 4 + 1) + keys * size_of::<(u64, u8)>()
    }

    /// A filter of different keys. When none is found in many attempts it is one that says yes to all.
    pub(crate) fn build(&mut self, keys: &[Key]) -> (Shape, &[u8]) {
        let plain = Shape::for_keys(keys.len());
        for seed in 1..=ATTEMPTS {
            let shape = Shape { seed: mix(seed), ..plain };
            if self.peel(shape, keys) {
                self.assign(shape);
                return (shape, &self.bytes);
            }
        }
        self.bytes.clear();
        (Shape::none(), &self.bytes)
    }

    /// Finds an order in which each key has a byte of its own when those before it are taken away.
    fn peel(&mut self, shape: Shape, keys: &[Key]) -> bool {
        self.cells.clear();
        self.cells.resize(shape.bytes().unwrap_or_default(), Cell::default());
        self.order.clear();
        for key in keys {
            self.toggle(shape, shape.hash(*key), true);
        }
        self.alone.clear();
        let single = self.cells.iter().enumerate().filter(|(_, cell)| cell.count == 1);
        self.alone.extend(single.map(|(place, _)| place as u32));
        while let Some(place) = self.alone.pop() {
            let Some(cell) = self.cells.get(place as usize).copied() else { break };
            if cell.count == 1 {
                self.order.push((cell.hashes, cell.which as u8));
                self.toggle(shape, cell.hashes, false);
                self.note_single(shape, cell.hashes);
            }
        }
        self.order.len() == keys.len()
    }

    fn toggle(&mut self, shape: Shape, hash: u64, add: bool) {
        for (which, place) in (0..).zip(shape.places(hash)) {
            if let Some(cell) = self.cells.get_mut(place) {
                cell.hashes ^= hash;
                cell.which ^= which;
                cell.count = if add { cell.count + 1 } else { cell.count.saturating_sub(1) };
            }
        }
    }

    fn note_single(&mut self, shape: Shape, hash: u64) {
        for place in shape.places(hash) {
            // A cell can be noted only when its count falls to one, which happens once: the list never
            // outgrows the cells.
            if self.cells.get(place).is_some_and(|cell| cell.count == 1)
                && self.alone.len() < self.cells.len()
            {
                self.alone.push(place as u32);
            }
        }
    }

    fn assign(&mut self, shape: Shape) {
        self.bytes.clear();
        self.bytes.resize(self.cells.len(), 0);
        for (hash, which) in self.order.iter().rev() {
            let places = shape.places(*hash);
            let byte = |place: usize| self.bytes.get(place).copied().unwrap_or_default();
            // The key's own byte is still zero, so it does not disturb the sum.
            let value = places.iter().fold(mark(*hash), |sum, place| sum ^ byte(*place));
            let own = places.get(usize::from(*which)).copied().unwrap_or_default();
            if let Some(byte) = self.bytes.get_mut(own) {
                *byte = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::random_key;

    #[test]
    fn a_filter_knows_all_its_keys_whatever_their_number() {
        for count in (0..70).chain([100, 999, 5000, 65_520]) {
            let keys: Vec<Key> = (0..count).map(random_key).collect();
            let mut builder = Builder::for_keys(keys.len());
            let room = builder.cells.capacity();
            let (shape, bytes) = builder.build(&keys);
            assert!(shape.blocks > 0, "{count} keys gave no filter");
            assert_eq!(shape.bytes(), Some(bytes.len()));
            assert!(keys.iter().all(|key| shape.may_contain(bytes, *key)), "{count}");
            assert_eq!(builder.cells.capacity(), room);
        }
    }

    #[test]
    fn a_filter_says_yes_to_one_foreign_key_in_256_and_takes_less_than_ten_bits_a_key() {
        let keys: Vec<Key> = (0..65_520).map(random_key).collect();
        let mut builder = Builder::for_keys(keys.len());
        let (shape, bytes) = builder.build(&keys);
        assert!(bytes.len() * 8 < keys.len() * 10, "{}", bytes.len());
        let wrong = (1_000_000..2_000_000).filter(|n| shape.may_contain(bytes, random_key(*n))).count();
        // 3906 expected, standard deviation 62.
        assert!((3600..4200).contains(&wrong), "{wrong}");
    }

    #[test]
    fn keys_that_share_a_half_are_told_apart() {
        for half in [|n: u64| Key::from_halves(7, n), |n: u64| Key::from_halves(n, 7)] {
            let keys: Vec<Key> = (0..3000).map(half).collect();
            let mut builder = Builder::for_keys(keys.len());
            let (shape, bytes) = builder.build(&keys);
            assert!(shape.blocks > 0);
            let wrong = (10_000..20_000).filter(|n| shape.may_contain(bytes, half(*n))).count();
            assert!(wrong < 100, "{wrong}");
        }
    }

    #[test]
    fn equal_keys_give_a_filter_that_says_yes_to_all() {
        let keys = [random_key(1); 5];
        let mut builder = Builder::for_keys(keys.len());
        let (shape, bytes) = builder.build(&keys);
        assert_eq!((shape, bytes.len()), (Shape::none(), 0));
        assert!(shape.may_contain(bytes, random_key(2)));
    }
}
