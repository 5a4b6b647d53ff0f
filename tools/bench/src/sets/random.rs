//! Random numbers with the same values on every machine: integers, and floating point without a function of the C library.

use std::ops::RangeInclusive;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// An index below `n`, small ones far more often: half of all are in the first eighth.
    pub fn skewed(&mut self, n: usize) -> usize {
        let unit = self.unit();
        (unit * unit * unit * n as f64) as usize
    }

    /// 0 up to, and without, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A size whose logarithm is normal with standard deviation `sigma`.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> u64 {
        let normal = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (median * exp(sigma * normal)) as u64
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            word.copy_from_slice(&self.next().to_le_bytes()[..word.len()]);
        }
    }
}

/// Sums and products only: these are exact to the last bit everywhere, the C library's `exp` is not.
fn exp(x: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    // x / 32 is below 1, so the rest is far below a size's whole numbers.
    let part = x / 32.0;
    for n in 1..16 {
        term *= part / f64::from(n);
        sum += term;
    }
    (0..5).fold(sum, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random::new(0);
        // From the reference implementation in C (Vigna, 2015).
        assert_eq!([random.next(), random.next()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn log_normal_sizes_have_their_median_and_mean() {
        let mut random = Random::new(5);
        let mut sizes: Vec<u64> = (0..40_000).map(|_| random.log_normal(3000.0, 1.302)).collect();
        sizes.sort_unstable();
        let mean = sizes.iter().sum::<u64>() / 40_000;
        assert!((2900..3100).contains(&sizes[20_000]), "{}", sizes[20_000]);
        assert!((6500..7300).contains(&mean), "{mean}");
    }

    #[test]
    fn exp_agrees_with_the_library() {
        for x in [-9.0, -1.5, 0.0, 0.3, 7.0, 11.0] {
            assert!((exp(x) / f64::exp(x) - 1.0).abs() < 1e-10);
        }
    }
}
