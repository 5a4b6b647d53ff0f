//! Our store, by its public interface.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use vtl_durable::RealDisk;
use vtl_store::{DirectIo, Encryption, Options, OwnerId, PoolKey, Store, Stream};

use crate::meter::{self, Cost};
use crate::server::Direct;
use crate::store::engine::{Engine, folder_bytes};
use vtl_initiator::failure;

/// Bytes in an append, and in a tape block.
pub const PIECE: usize = 256 << 10;
const COMMIT_BYTES: usize = 32 << 20;

/// How a pool is made.
#[derive(Clone, Copy)]
pub struct Pool {
    pub chunk_kib: u32,
    pub encrypted: bool,
    pub direct_io: Direct,
}

/// A store and the backups that go into it, in memory before anything is timed.
pub struct Vtl {
    store: Option<Store>,
    root: PathBuf,
    pool: Pool,
    backups: Vec<Vec<Bytes>>,
    /// How many streams were made.
    made: u8,
    peak_kib: u64,
}

impl Vtl {
    pub fn open(root: &Path, pool: Pool, backups: &[PathBuf]) -> io::Result<Self> {
        let root = root.join("pool");
        let backups = backups.iter().map(|path| load(path)).collect::<io::Result<_>>()?;
        Ok(Self { store: Some(open(&root, pool)?), root, pool, backups, made: 0, peak_kib: 0 })
    }

    fn store(&self) -> io::Result<&Store> {
        self.store.as_ref().ok_or_else(|| failure("the store is closed"))
    }

    /// With the memory that it takes beyond what is held before: the backups.
    fn measure(&mut self, work: impl FnOnce(&Store, &[Vec<Bytes>]) -> io::Result<u64>) -> io::Result<Cost> {
        let before = meter::reset_peak()?;
        let store = self.store()?;
        let cost = meter::own(|| work(store, &self.backups))?;
        self.peak_kib = self.peak_kib.max(meter::peak_kib("self").saturating_sub(before));
        Ok(cost)
    }
}

impl Engine for Vtl {
    fn ingest(&mut self, backup: usize) -> io::Result<Cost> {
        self.made += 1;
        let owner = OwnerId([self.made; 16]);
        self.measure(|store, backups| {
            store.create(owner, b"").map_err(io::Error::other)?;
            write(&mut store.open_stream(owner).map_err(io::Error::other)?, &backups[backup])
        })
    }

    fn restore(&mut self, backup: usize) -> io::Result<Cost> {
        // What the store has learned while it wrote shall not help it.
        self.store = None;
        self.store = Some(open(&self.root, self.pool)?);
        let owner = OwnerId([backup as u8 + 1; 16]);
        self.measure(|store, backups| {
            read(&mut store.open_stream(owner).map_err(io::Error::other)?, &backups[backup])
        })
    }

    fn stored_bytes(&self) -> io::Result<u64> {
        Ok(self.store()?.stats().stored_bytes)
    }

    fn files_bytes(&self) -> io::Result<u64> {
        folder_bytes(&self.root)
    }

    fn peak_mib(&self) -> u64 {
        self.peak_kib >> 10
    }
}

/// What opens the pools of the benchmark; it keeps nothing from anybody.
const KEY: &[u8; 32] = b"a key that is in the source code";

fn open(root: &Path, pool: Pool) -> io::Result<Store> {
    let encryption = pool.encrypted.then(|| Encryption::with(PoolKey::from_file(KEY.to_vec())));
    let options = Options {
        chunk_bytes: (pool.chunk_kib as usize) << 10,
        encryption,
        direct_io: match pool.direct_io {
            Direct::Auto => DirectIo::Auto,
            Direct::On => DirectIo::On,
            Direct::Off => DirectIo::Off,
        },
        ..Options::default()
    };
    Store::open(Arc::new(RealDisk::new()), root, options).map_err(io::Error::other)
}

/// A file in pieces.
pub fn load(path: &Path) -> io::Result<Vec<Bytes>> {
    let mut file = File::open(path)?;
    let mut left = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut pieces = Vec::with_capacity(left.div_ceil(PIECE));
    while left > 0 {
        let mut piece = vec![0; left.min(PIECE)];
        file.read_exact(&mut piece)?;
        left -= piece.len();
        pieces.push(Bytes::from(piece));
    }
    Ok(pieces)
}

fn write(stream: &mut Stream, backup: &[Bytes]) -> io::Result<u64> {
    for part in backup.chunks(COMMIT_BYTES / PIECE) {
        for piece in part {
            stream.append(std::slice::from_ref(piece), true).map_err(io::Error::other)?;
        }
        stream.commit(b"").map_err(io::Error::other)?;
    }
    Ok(stream.len())
}

fn read(stream: &mut Stream, backup: &[Bytes]) -> io::Result<u64> {
    let mut offset = 0;
    for expected in backup {
        let len = expected.len() as u64;
        let parts = stream.read(offset, len).map_err(io::Error::other)?;
        if !same(&parts, expected) {
            return Err(failure(format!("bytes from {offset} came back different")));
        }
        offset += len;
    }
    if offset != stream.len() {
        return Err(failure(format!("the stream has {} bytes, not {offset}", stream.len())));
    }
    Ok(offset)
}

fn same(parts: &[Bytes], mut expected: &[u8]) -> bool {
    for part in parts {
        match expected.strip_prefix(&part[..]) {
            Some(rest) => expected = rest,
            None => return false,
        }
    }
    expected.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::{self, Set};
    use crate::store::engine;

    #[test]
    fn a_set_goes_in_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let backups = sets::write(Set::Weekly, 4, folder.path()).unwrap();
        let pool = Pool { chunk_kib: 16, encrypted: false, direct_io: Direct::Auto };
        let mut store = Vtl::open(folder.path(), pool, &backups).unwrap();
        let outcome = engine::run(&mut store, backups.len()).unwrap();
        assert_eq!(outcome.ingests.len(), 6);
        let bytes = std::fs::metadata(&backups[4]).unwrap().len();
        assert_eq!(outcome.restore.bytes, bytes);
        assert!(outcome.ingests.iter().all(|ingest| ingest.cost.bytes > 1_000_000));
        assert!(outcome.ingests[0].stored_bytes > 0);
        assert!(outcome.ingests[5].files_bytes > outcome.ingests[5].stored_bytes);
    }

    #[test]
    fn a_difference_in_what_comes_back_is_seen() {
        let parts = [Bytes::from("ab"), Bytes::from("cd")];
        assert!(same(&parts, b"abcd"));
        assert!(!same(&parts, b"abcx") && !same(&parts, b"abc") && !same(&parts, b"abcde"));
    }
}
