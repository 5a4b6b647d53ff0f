//! The least that chunks of a length can come to: every chunk that was ever seen is remembered, in memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_store::chunker::{ChunkSizes, Chunker, Gear};
use zstd::bulk::Compressor;

use vtl_initiator::failure;

const PIECE: usize = 1 << 20;
/// New chunks that follow each other are compressed together.
pub const REGION_BYTES: usize = 128 << 10;
/// What a pack notes of a chunk.
const NOTE_BYTES: u64 = 40;
pub const LEVEL: i32 = 1;

/// After one backup, over all so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    pub raw_bytes: u64,
    /// Without repeats.
    pub unique_bytes: u64,
    /// The same compressed, and the notes.
    pub stored_bytes: u64,
    pub chunks: u64,
}

/// One figure for each backup.
pub fn measure(chunk_kib: u32, backups: &[PathBuf]) -> io::Result<Vec<Exact>> {
    let mut reference = Reference::new(chunk_kib)?;
    backups.iter().map(|path| reference.add(path)).collect()
}

struct Reference {
    gear: Arc<Gear>,
    known: HashSet<[u8; 32]>,
    region: Vec<u8>,
    compressor: Compressor<'static>,
    so_far: Exact,
}

impl Reference {
    fn new(chunk_kib: u32) -> io::Result<Self> {
        Ok(Self {
            gear: gear(chunk_kib)?,
            known: HashSet::new(),
            region: Vec::new(),
            compressor: Compressor::new(LEVEL)?,
            so_far: Exact::default(),
        })
    }

    fn add(&mut self, path: &Path) -> io::Result<Exact> {
        let mut file = File::open(path)?;
        let mut chunker = Chunker::new(Arc::clone(&self.gear));
        let mut chunk = Vec::new();
        let mut room = vec![0; PIECE];
        loop {
            let len = file.read(&mut room)?;
            if len == 0 {
                break;
            }
            let mut piece = &room[..len];
            while let Some(n) = chunker.next_cut(piece) {
                let (end, rest) = piece.split_at(n);
                chunk.extend_from_slice(end);
                self.take(&chunk)?;
                chunk.clear();
                piece = rest;
            }
            chunk.extend_from_slice(piece);
        }
        if !chunk.is_empty() {
            self.take(&chunk)?;
        }
        self.end_region()?;
        Ok(self.so_far)
    }

    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.so_far.raw_bytes += chunk.len() as u64;
        self.so_far.chunks += 1;
        if !self.known.insert(*blake3::hash(chunk).as_bytes()) {
            return Ok(());
        }
        self.so_far.unique_bytes += chunk.len() as u64;
        self.so_far.stored_bytes += NOTE_BYTES;
        if self.region.len() + chunk.len() > REGION_BYTES {
            self.end_region()?;
        }
        self.region.extend_from_slice(chunk);
        Ok(())
    }

    fn end_region(&mut self) -> io::Result<()> {
        let compressed = self.compressor.compress(&self.region)?.len();
        self.so_far.stored_bytes += compressed.min(self.region.len()) as u64;
        self.region.clear();
        Ok(())
    }
}

/// With the store's sizes for an average and some key.
pub fn gear(chunk_kib: u32) -> io::Result<Arc<Gear>> {
    let avg = chunk_kib << 10;
    let sizes = ChunkSizes::new(avg / 4, avg, avg * 4).map_err(|error| failure(error.to_string()))?;
    Ok(Arc::new(Gear::new(&[0x5a; 32], sizes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::{self, Set};

    #[test]
    fn a_later_full_costs_a_few_per_cent_and_the_same_one_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut backups = sets::write(Set::Weekly, 48, folder.path()).unwrap();
        backups.push(backups[4].clone());
        let after = measure(16, &backups).unwrap();
        let raw = after[0].raw_bytes;
        assert!(after[0].unique_bytes < raw && after[0].stored_bytes < after[0].unique_bytes);
        for (before, after) in after[..5].iter().zip(&after[1..5]) {
            let growth = (after.unique_bytes - before.unique_bytes) as f64 / raw as f64;
            assert!((0.002..0.05).contains(&growth), "{growth}");
        }
        assert_eq!(after[5].stored_bytes, after[4].stored_bytes);
        assert_eq!(
            after[5].raw_bytes,
            backups.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>()
        );
    }
}
