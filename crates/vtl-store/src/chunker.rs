//! Where a stream is cut into chunks: by its content, so that bytes inserted or removed move the cuts near them and no others.
//!
//! FastCDC (Xia et al., 2020): after a cut the first `min` bytes are not looked at; from there a gear hash runs over the
//! bytes, and the chunk ends where the hash is below a limit: a low one up to the average length, a higher one behind it,
//! so that lengths gather around the average; at `max` it ends anyway. The gear table comes from the store's key: who does not
//! have the key cannot tell from chunk lengths what was stored. `docs/formats/chunking.md` has the exact rule; the same bytes,
//! key and sizes give the same chunks for ever.

use std::fmt;
use std::sync::Arc;

const KIB: u32 = 1 << 10;
/// Separates this use of the store's key from all others.
const TABLE_CONTEXT: &str = "vtl gear table v1";
/// The limit below the average is two times lower than one that would be met every `avg` bytes, the one above two times
/// higher.
const NORMALISATION_BITS: u32 = 1;
/// No chunk is longer, whatever the options say.
const LARGEST_MAX: u32 = 4 << 20;
const SMALLEST_AVG: u32 = 64;
/// Bytes hashed in one step of the loop.
const STEP: usize = 4;

/// How long chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// A cut found by content has more bytes than this before it.
    pub min: u32,
    /// Where the second limit takes over: a power of two.
    pub avg: u32,
    /// The chunk that reaches this length ends.
    pub max: u32,
}

impl ChunkSizes {
    /// Checked: `min` below `avg` below `max`, `avg` a power of two from 64, `max` up to 4 MiB.
    pub fn new(min: u32, avg: u32, max: u32) -> Result<Self, SizesError> {
        let sizes = Self { min, avg, max };
        let right =
            avg.is_power_of_two() && avg >= SMALLEST_AVG && min < avg && avg < max && max <= LARGEST_MAX;
        if right { Ok(sizes) } else { Err(SizesError(sizes)) }
    }
}

impl Default for ChunkSizes {
    /// 16 KiB: of a weekly full with scattered changes a quarter of what 128 KiB would store anew, with half the chunks of 8 KiB.
    fn default() -> Self {
        Self { min: 4 * KIB, avg: 16 * KIB, max: 64 * KIB }
    }
}

/// Lengths that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizesError(ChunkSizes);

impl fmt::Display for SizesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ChunkSizes { min, avg, max } = self.0;
        write!(
            f,
            "chunks of {min} to {max} bytes around {avg} cannot be cut (the average is a power of two, at least \
             {SMALLEST_AVG}, between the other two, and none is above {LARGEST_MAX})"
        )
    }
}

impl std::error::Error for SizesError {}

/// What all streams of a store cut by: table, limits, lengths.
pub struct Gear {
    table: [u64; 256],
    min: usize,
    avg: usize,
    max: usize,
    /// Holds while the chunk is not longer than `avg`.
    below_avg: u64,
    above_avg: u64,
}

impl Gear {
    /// From the store's key.
    pub fn new(key: &[u8; 32], sizes: ChunkSizes) -> Self {
        let mut bytes = [0; 8 * 256];
        blake3::Hasher::new_derive_key(TABLE_CONTEXT).update(key).finalize_xof().fill(&mut bytes);
        let mut table = [0; 256];
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        // The fields can be set without `ChunkSizes::new`; lengths out of order must not bring a server down.
        let (min, avg) = (sizes.min as usize, sizes.avg.max(SMALLEST_AVG) as usize);
        let bits = avg.ilog2();
        Self {
            table,
            min: min.min(avg),
            avg,
            max: (sizes.max as usize).max(avg),
            below_avg: u64::MAX >> (bits + NORMALISATION_BITS),
            above_avg: u64::MAX >> (bits - NORMALISATION_BITS),
        }
    }

    /// Hashes `bytes` up to and with the first after which the hash is not above `limit`; how many those are.
    fn scan(&self, hash: &mut u64, bytes: &[u8], limit: u64) -> Option<usize> {
        let mut h = *hash;
        let (steps, rest) = bytes.as_chunks::<STEP>();
        for (n, step) in steps.iter().enumerate() {
            // What two bytes add is summed up while the hash before them is still on its way: byte by byte each shift and
            // addition would wait for the one before, at half the speed.
            let [a, b, c, d] = step.map(|byte| self.table[usize::from(byte)]);
            let (ab, cd) = ((a << 1).wrapping_add(b), (c << 1).wrapping_add(d));
            let first = (h << 1).wrapping_add(a);
            if first <= limit {
                return Some(n * STEP + 1);
            }
            let second = (h << 2).wrapping_add(ab);
            if second <= limit {
                return Some(n * STEP + 2);
            }
            let third = (second << 1).wrapping_add(c);
            if third <= limit {
                return Some(n * STEP + 3);
            }
            h = (second << 2).wrapping_add(cd);
            if h <= limit {
                return Some(n * STEP + 4);
            }
        }
        for (n, byte) in rest.iter().enumerate() {
            h = (h << 1).wrapping_add(self.table[usize::from(*byte)]);
            if h <= limit {
                return Some(steps.len() * STEP + n + 1);
            }
        }
        *hash = h;
        None
    }
}

impl fmt::Debug for Gear {
    /// Without the table: it is as secret as the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, avg, max, .. } = self;
        f.debug_struct("Gear").field("min", min).field("avg", avg).field("max", max).finish_non_exhaustive()
    }
}

/// One stream between two pieces.
#[derive(Debug)]
pub struct Chunker {
    gear: Arc<Gear>,
    hash: u64,
    pending: usize,
}

impl Chunker {
    /// At the beginning of a stream.
    pub fn new(gear: Arc<Gear>) -> Self {
        Self { gear, hash: 0, pending: 0 }
    }

    /// Bytes since the last cut.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Looks at the next bytes of the stream. `Some(n)`: the chunk ends after the first n bytes of `piece`
    /// (1..=`piece.len()`), and the state starts anew behind it. `None`: all of `piece` belongs to the chunk that goes on.
    pub fn next_cut(&mut self, piece: &[u8]) -> Option<usize> {
        let cut = self.find(piece);
        match cut {
            Some(_) => self.reset(),
            None => self.pending += piece.len(),
        }
        cut
    }

    /// A cut is forced here (durable point, end), or was found by a boundary hint: start anew.
    pub fn reset(&mut self) {
        self.hash = 0;
        self.pending = 0;
    }

    fn find(&mut self, piece: &[u8]) -> Option<usize> {
        let gear = &*self.gear;
        // Where in the piece the chunk is so long; its end when that comes later.
        let place = |length: usize| length.saturating_sub(self.pending).min(piece.len());
        let (min, avg, max) = (place(gear.min), place(gear.avg), place(gear.max));
        if let Some(n) = gear.scan(&mut self.hash, &piece[min..avg], gear.below_avg) {
            return Some(min + n);
        }
        if let Some(n) = gear.scan(&mut self.hash, &piece[avg..max], gear.above_avg) {
            return Some(avg + n);
        }
        (max > 0 && self.pending + max == gear.max).then_some(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 00h, 01h .. 1fh.
    fn key() -> [u8; 32] {
        std::array::from_fn(|n| n as u8)
    }

    /// The first bytes of BLAKE3's output for no input.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn small() -> ChunkSizes {
        ChunkSizes::new(16, 64, 256).unwrap()
    }

    fn gear(sizes: ChunkSizes) -> Arc<Gear> {
        Arc::new(Gear::new(&key(), sizes))
    }

    /// Lengths of the chunks of a stream that comes in these pieces; the last one is what its end cuts off.
    fn lengths<'a>(gear: &Arc<Gear>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<usize> {
        let mut chunker = Chunker::new(Arc::clone(gear));
        let mut lengths = Vec::new();
        for mut piece in pieces {
            let mut pending = chunker.pending();
            while let Some(n) = chunker.next_cut(piece) {
                assert!((1..=piece.len()).contains(&n));
                assert_eq!(chunker.pending(), 0);
                lengths.push(pending + n);
                (pending, piece) = (0, &piece[n..]);
            }
            assert_eq!(chunker.pending(), pending + piece.len());
        }
        lengths.extend(Some(chunker.pending()).filter(|rest| *rest > 0));
        lengths
    }

    /// The rule of `docs/formats/chunking.md`, word for word.
    fn naive(bytes: &[u8], table: &[u64; 256], sizes: ChunkSizes) -> Vec<usize> {
        let (min, avg, max) = (sizes.min as usize, sizes.avg as usize, sizes.max as usize);
        let (mut lengths, mut start) = (Vec::new(), 0);
        while start < bytes.len() {
            let (mut hash, mut len) = (0_u64, min);
            while start + len < bytes.len() {
                hash = hash.wrapping_mul(2).wrapping_add(table[usize::from(bytes[start + len])]);
                len += 1;
                let zeros = if len <= avg { avg.ilog2() + 1 } else { avg.ilog2() - 1 };
                if hash.leading_zeros() >= zeros || len == max {
                    break;
                }
            }
            let len = len.min(bytes.len() - start);
            lengths.push(len);
            start += len;
        }
        lengths
    }

    /// This and the lengths below were made by a program in another language, from the text of the format alone.
    #[test]
    fn the_table_follows_from_the_key() {
        let gear = gear(ChunkSizes::default());
        let first = [0x445a_6b37_2628_106e, 0xcd0d_a94c_6bbd_abda, 0xe7d4_d64c_e136_9d3b];
        assert_eq!(gear.table[..3], first);
        assert_eq!(gear.table[255], 0xf6d1_e17a_f43f_4cd4);
    }

    #[test]
    fn a_megabyte_of_noise_is_always_cut_in_the_same_places() {
        let expected = [
            6459, 12708, 28812, 5382, 25364, 18269, 33551, 10903, 30417, 25248, 16052, 5893, 8018, 16879,
            18242, 19084, 16580, 23683, 15337, 22539, 7945, 4454, 18437, 5208, 22426, 52651, 17741, 18845,
            24548, 30873, 10617, 8952, 22426, 26190, 17283, 27309, 5026, 28700, 17426, 24842, 32400, 10857,
            18119, 27421, 13973, 19540, 18739, 22055, 19323, 25186, 25539, 16181, 22235, 6856, 13027, 5806,
        ];
        let bytes = noise(1 << 20);
        assert_eq!(lengths(&gear(ChunkSizes::default()), [&bytes[..]]), expected);
        assert_eq!(lengths(&gear(ChunkSizes::default()), bytes.chunks(9973)), expected);
    }

    #[test]
    fn four_kilobytes_of_noise_are_always_cut_in_the_same_small_places() {
        let expected = [
            66, 77, 170, 59, 57, 49, 75, 73, 129, 93, 93, 68, 178, 70, 93, 81, 68, 87, 77, 109, 72, 85, 41,
            78, 65, 117, 133, 60, 195, 34, 137, 69, 76, 31, 223, 44, 77, 167, 92, 90, 94, 71, 117, 26, 130,
        ];
        assert_eq!(lengths(&gear(small()), [&noise(4096)[..]]), expected);
    }

    #[test]
    fn bytes_that_never_meet_the_limit_are_cut_at_the_longest_length() {
        let gear = gear(ChunkSizes::default());
        assert_eq!(lengths(&gear, [&[0; 200_000][..]]), [65536, 65536, 65536, 3392]);
        // A piece that ends right there.
        assert_eq!(lengths(&gear, [0; 131_072].chunks(65_536)), [65536, 65536]);
    }

    #[test]
    fn another_key_gives_other_cuts() {
        let bytes = noise(1 << 20);
        let other = Arc::new(Gear::new(&[0x77; 32], ChunkSizes::default()));
        assert_ne!(lengths(&other, [&bytes[..]]), lengths(&gear(ChunkSizes::default()), [&bytes[..]]));
    }

    #[test]
    fn after_a_forced_cut_the_stream_is_cut_as_if_it_began_there() {
        let bytes = noise(1 << 16);
        let gear = gear(small());
        let mut chunker = Chunker::new(Arc::clone(&gear));
        assert_eq!(chunker.next_cut(&bytes[..50]), None);
        assert_eq!(chunker.pending(), 50);
        chunker.reset();
        assert_eq!(chunker.next_cut(&bytes[50..]), lengths(&gear, [&bytes[50..]]).first().copied());
    }

    #[test]
    fn an_insert_moves_only_the_cuts_around_it() {
        let bytes = noise(1 << 20);
        let shifted = [&bytes[..500_000], b"a few new bytes", &bytes[500_000..]].concat();
        let gear = gear(ChunkSizes::default());
        let (old, new) = (lengths(&gear, [&bytes[..]]), lengths(&gear, [&shifted[..]]));
        let same_first = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let same_last = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(same_first + same_last + 4 >= old.len(), "{same_first} and {same_last} of {}", old.len());
    }

    #[test]
    fn lengths_lie_around_the_average() {
        let bytes = noise(32 << 20);
        let lengths = lengths(&gear(ChunkSizes::default()), [&bytes[..]]);
        let mean_kib = bytes.len() / lengths.len() / 1024;
        assert!((18..=21).contains(&mean_kib), "{mean_kib} KiB");
        let (_, found) = lengths.split_last().unwrap();
        assert!(found.iter().all(|len| (4097..=65536).contains(len)));
    }

    #[test]
    fn sizes_that_do_not_go_together_are_refused() {
        let mib = 1 << 20;
        for (min, avg, max) in [(4096, 16384, 65536), (0, 64, 65), (mib, 2 * mib, 4 * mib)] {
            assert_eq!(ChunkSizes::new(min, avg, max), Ok(ChunkSizes { min, avg, max }));
        }
        for (min, avg, max) in [
            (4096, 16000, 65536),
            (64, 64, 256),
            (16, 64, 64),
            (8, 32, 128),
            (0, 0, 0),
            (mib, 2 * mib, 8 * mib),
        ] {
            let error = ChunkSizes::new(min, avg, max).unwrap_err().to_string();
            assert!(error.contains(&format!("of {min} to {max} bytes around {avg}")), "{error}");
        }
    }

    #[test]
    fn lengths_out_of_order_still_cut() {
        let gear = Arc::new(Gear::new(&key(), ChunkSizes { min: 900, avg: 0, max: 3 }));
        assert_eq!(lengths(&gear, [&noise(130)[..]]), [64, 64, 2]);
    }

    #[test]
    fn the_table_is_not_printed() {
        let text = format!("{:?}", Chunker::new(gear(small())));
        assert!(text.contains("avg: 64") && !text.contains("table"), "{text}");
    }

    /// Few different bytes, so that runs and repeats occur, or all of them.
    fn content() -> impl Strategy<Value = Vec<u8>> {
        let few = prop::collection::vec(0..3_u8, 0..4000);
        let all = prop::collection::vec(any::<u8>(), 0..4000);
        prop_oneof![few, all]
    }

    fn any_sizes() -> impl Strategy<Value = ChunkSizes> {
        (6..9_u32, 0..64_u32, 1..600_u32)
            .prop_map(|(bits, min, more)| ChunkSizes::new(min, 1 << bits, (1 << bits) + more).unwrap())
    }

    proptest! {
        #[test]
        fn every_split_gives_the_cuts_of_the_rule(
            bytes in content(),
            sizes in any_sizes(),
            splits in prop::collection::vec(0..200_usize, 0..60),
        ) {
            let gear = gear(sizes);
            let expected = naive(&bytes, &gear.table, sizes);
            prop_assert_eq!(&lengths(&gear, [&bytes[..]]), &expected);
            let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
            for split in splits {
                let (piece, behind) = rest.split_at(split.min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            pieces.push(rest);
            prop_assert_eq!(&lengths(&gear, pieces), &expected);
            prop_assert_eq!(&lengths(&gear, bytes.chunks(1)), &expected);
        }
    }
}
