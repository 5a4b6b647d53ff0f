//! Tests of the whole index; those of its parts stand beside them.

mod crash;
mod damage;
mod limits;
mod model;

use std::path::Path;
use std::sync::Arc;

use vtl_durable::{Disk, DiskError, SimDisk};

use super::record;
use super::{Index, IndexOptions};
use crate::cipher::{Domain, Key, Randomness};
use crate::sealed_folder::SealedFolder;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// Whether every count is the one that takes its time.
pub(crate) fn long() -> bool {
    std::env::var_os("VTL_LONG").is_some_and(|value| value == "1")
}

/// The fingerprint of chunk number `n`.
pub(crate) fn fingerprint(n: u64) -> [u8; 32] {
    *blake3::hash(&n.to_le_bytes()).as_bytes()
}

pub(crate) fn random_key(n: u64) -> record::Key {
    record::Key::of(&fingerprint(n))
}

pub(crate) const STORE: [u8; 16] = [7; 16];
pub(crate) const FOLDER: &str = "/index";

pub(crate) fn open(disk: &SimDisk, memory_bytes: usize) -> Index {
    open_with(disk, memory_bytes, STORE).unwrap()
}

/// The same in an encrypted pool.
pub(crate) fn open_sealed(disk: &SimDisk, memory_bytes: usize) -> Index {
    let options = IndexOptions { memory_bytes, step_records: 3000, ..IndexOptions::default() };
    let domain = Domain::sealed(STORE, Key::new([9; 32]), Randomness::system());
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Index::open(SealedFolder::over(&disk, &Arc::new(domain)), Path::new(FOLDER), STORE, options).unwrap()
}

pub(crate) fn open_with(disk: &SimDisk, memory_bytes: usize, store: [u8; 16]) -> Result<Index, DiskError> {
    let options = IndexOptions { memory_bytes, step_records: 3000, ..IndexOptions::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Index::open(disk, Path::new(FOLDER), store, options)
}
