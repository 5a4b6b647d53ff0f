//! MD5 (RFC 1321).

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;
/// Bytes of a hash.
pub(crate) const BYTES: usize = 16;
/// Where the length of the message stands in the last block.
const LENGTH_AT: usize = BLOCK - 8;

/// RFC 1321, 3.3.
const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Rotations of the four steps of each round: RFC 1321, 3.4.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// 4294967296 times abs(sin(i)), i in radians from 1 on: RFC 1321, 3.4.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Md5 {
    state: [u32; 4],
    blocks: u64,
}

impl Default for Md5 {
    fn default() -> Self {
        Self { state: START, blocks: 0 }
    }
}

impl Md5 {
    /// The next block.
    #[inline]
    pub(crate) fn block(&mut self, block: &[u8; BLOCK]) {
        self.state = step(self.state, block);
        self.blocks = self.blocks.wrapping_add(1);
    }

    /// The hash of all blocks and these bytes, which are fewer than a block has: RFC 1321, 3.1 and 3.2.
    pub(crate) fn finish(mut self, rest: &[u8]) -> [u8; BYTES] {
        last(self.blocks, rest).as_chunks().0.iter().for_each(|block| self.block(block));
        let mut hash = [0; BYTES];
        let bytes = self.state.iter().flat_map(|word| word.to_le_bytes());
        hash.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        hash
    }
}

/// The last block or two, behind so many: these bytes, a bit, zeros, and how many bits there are in all.
fn last(blocks: u64, rest: &[u8]) -> Vec<u8> {
    let bits = blocks.wrapping_mul(BLOCK as u64).wrapping_add(rest.len() as u64).wrapping_mul(8);
    let mut last = rest.to_vec();
    last.push(0x80);
    let end = if last.len() > LENGTH_AT { BLOCK + LENGTH_AT } else { LENGTH_AT };
    last.resize(end, 0);
    last.extend(bits.to_le_bytes());
    last
}

/// One block: RFC 1321, 3.4.
#[inline]
fn step(state: [u32; 4], block: &[u8; BLOCK]) -> [u32; 4] {
    // Where the compiler sees a constant, it adds it last, when all else waits for it.
    let sines = std::hint::black_box(&SINES);
    let (words, _) = block.as_chunks();
    let word = |at: usize| u32::from_le_bytes(words[at % 16]);
    let [mut a, mut b, mut c, mut d] = state;
    macro_rules! round {
        ($round:literal, $mixed:expr, $word:expr) => {
            for at in 0..16 {
                let early = a.wrapping_add(word($word(at))).wrapping_add(sines[$round * 16 + at]);
                let turned = early.wrapping_add($mixed(b, c, d)).rotate_left(TURNS[$round][at % 4]);
                (a, b, c, d) = (d, b.wrapping_add(turned), b, c);
            }
        };
    }
    round!(0, |b: u32, c: u32, d: u32| d ^ (b & (c ^ d)), |at: usize| at);
    // The two halves share no bit: added, the half that is there early need not wait.
    round!(1, |b: u32, c: u32, d: u32| (b & d).wrapping_add(c & !d), |at: usize| 5 * at + 1);
    round!(2, |b: u32, c: u32, d: u32| b ^ c ^ d, |at: usize| 3 * at + 5);
    round!(3, |b: u32, c: u32, d: u32| c ^ (b | !d), |at: usize| 7 * at);
    let [a0, b0, c0, d0] = state;
    [a0.wrapping_add(a), b0.wrapping_add(b), c0.wrapping_add(c), d0.wrapping_add(d)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_long_message_is_told_in_64_bits() {
        // 4 GiB and 3 bytes, in bits, the least byte first.
        let block = last(1 << 26, b"abc");
        assert_eq!((block.len(), &block[..5]), (BLOCK, &b"abc\x80\0"[..]));
        assert_eq!(block[LENGTH_AT..], [24, 0, 0, 0, 8, 0, 0, 0]);
        assert_eq!(last(0, &[1; LENGTH_AT]).len(), 2 * BLOCK, "the length has no room behind the bit");
    }
}
