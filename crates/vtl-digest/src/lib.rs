//! MD5 and SHA-256 of the same bytes, side by side: what remotes tell of an object, and what readers go by.
//!
//! Each step of MD5 waits for the one before it, and leaves most of a core idle. Block by block in turn, a core has SHA-256 done in the gaps: one with
//! SHA instructions (AMD EPYC, 7003 series) had both with 591 MB/s, and with 415 one after the other (`vtl-bench hashes`). The MD5 is one of our own because that of the crate `md-5`,
//! in the same place, comes to 489: here a step's constant is added before the step has to wait, and not behind. `docs/performance.md` has the figures.

mod md5;

use sha2::{Digest as _, Sha256};

use crate::md5::{BLOCK, Md5};

/// Bytes of an MD5.
pub const MD5_BYTES: usize = md5::BYTES;
/// Bytes of a SHA-256.
pub const SHA256_BYTES: usize = 32;

/// Both hashes of what has passed.
#[derive(Clone, Debug, Default)]
pub struct Both {
    md5: Md5,
    sha256: Sha256,
    /// What makes no whole block yet.
    held: Held,
}

/// Fewer bytes than a block has.
#[derive(Clone, Copy, Debug)]
struct Held {
    block: [u8; BLOCK],
    len: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { block: [0; BLOCK], len: 0 }
    }
}

impl Held {
    fn bytes(&self) -> &[u8] {
        self.block.get(..self.len).unwrap_or_default()
    }

    /// Takes what has room, and gives back the rest.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - self.len));
        self.block.iter_mut().skip(self.len).zip(now).for_each(|(to, from)| *to = *from);
        self.len += now.len();
        rest
    }
}

impl Both {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        if !self.held.bytes().is_empty() {
            bytes = self.held.fill(bytes);
            if self.held.len < BLOCK {
                return;
            }
            let held = std::mem::take(&mut self.held);
            self.blocks(&held.block);
        }
        let rest = self.blocks(bytes);
        self.held.fill(rest);
    }

    /// Takes whole blocks, and gives back what is left.
    fn blocks<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (blocks, rest) = bytes.as_chunks();
        for block in blocks {
            self.md5.block(block);
            self.sha256.update(block);
        }
        rest
    }

    /// MD5 and SHA-256 of all that has passed.
    #[must_use]
    pub fn finish(mut self) -> ([u8; MD5_BYTES], [u8; SHA256_BYTES]) {
        self.sha256.update(self.held.bytes());
        (self.md5.finish(self.held.bytes()), self.sha256.finalize().into())
    }
}
