//! Test data: known everywhere without being stored twice, different from block to block and from drive to drive.

/// One large pool; block N begins at its own place in it.
pub struct Data {
    pool: Vec<u8>,
}

const POOL: usize = 64 << 20;
/// Distance between the beginnings of neighbouring blocks: odd, so that blocks do not repeat soon.
const STRIDE: usize = 1_048_583;

impl Data {
    /// A pool in which about `compressible` of every 8 bytes repeat; 0: random data, that no compressor shrinks.
    pub fn new(compressible: u8) -> Self {
        let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut pool = Vec::with_capacity(POOL + 8);
        while pool.len() < POOL {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut word = state.to_le_bytes();
            for byte in word.iter_mut().take(usize::from(compressible)) {
                *byte = b' ';
            }
            pool.extend_from_slice(&word);
        }
        Self { pool }
    }

    /// The bytes of block `n` of drive `drive`.
    pub fn block(&self, drive: u8, n: u64, length: usize) -> &[u8] {
        let room = self.pool.len() - length;
        let n = usize::try_from(n).unwrap_or(0).wrapping_mul(STRIDE).wrapping_add(usize::from(drive) * 7919);
        let at = n % room;
        &self.pool[at..at + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_blocks_and_drives_differ() {
        let data = Data::new(0);
        assert_ne!(data.block(0, 0, 4096), data.block(0, 1, 4096));
        assert_ne!(data.block(0, 5, 4096), data.block(1, 5, 4096));
        assert_eq!(data.block(1, 9, 4096), data.block(1, 9, 4096));
    }
}
