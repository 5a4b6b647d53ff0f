//! Reading chunks of one stream: a small cache of decoded chunks, filled on demand and ahead.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::codec::Codec;
use crate::pack::{self, ChunkEntry, PackId};
use crate::types::OwnerId;
use crate::workers::{Workers, lock, wait};

/// Pack files and tables kept open for one stream: the one being read, its neighbours, and some for jumping about.
const KEPT_FILES: usize = 8;
const KEPT_TABLES: usize = 4;

/// A chunk's content never changes under its key: pack ids are not used twice and packs not rewritten.
type Key = (PackId, u32);

pub(crate) struct Reader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    owner: OwnerId,
    cache: Arc<Cache>,
    files: Vec<(PackId, Arc<dyn DiskFile>)>,
    tables: Vec<(PackId, Arc<Vec<ChunkEntry>>)>,
}

struct Cache {
    codec: Arc<Codec>,
    limit_bytes: usize,
    kept: Mutex<Kept>,
    changed: Condvar,
    /// The sum over all readers.
    total_bytes: Arc<AtomicU64>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    bytes: usize,
    tick: u64,
}

enum Slot {
    /// A worker is at it.
    Coming,
    Here {
        chunk: Bytes,
        used: u64,
    },
}

/// Why a chunk could not be had. Either way the bytes that need it are lost to the reader and no others.
pub(crate) enum ChunkError {
    Disk(DiskError),
    Wrong(&'static str),
}

impl std::fmt::Display for ChunkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

impl Reader {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        owner: OwnerId,
        codec: Arc<Codec>,
        limit_bytes: usize,
        total_bytes: Arc<AtomicU64>,
    ) -> Self {
        let cache =
            Cache { codec, limit_bytes, kept: Mutex::default(), changed: Condvar::new(), total_bytes };
        Self { disk, folder, owner, cache: Arc::new(cache), files: Vec::new(), tables: Vec::new() }
    }

    /// The verified raw bytes of a chunk.
    pub(crate) fn chunk(&mut self, pack: PackId, entry: &ChunkEntry) -> Result<Bytes, ChunkError> {
        let key = (pack, entry.index);
        if let Some(chunk) = self.cache.get(key) {
            return Ok(chunk);
        }
        let file = self.file(pack).map_err(ChunkError::Disk)?;
        let chunk = fetch(&*file, &self.cache.codec, entry)?;
        self.cache.put(key, chunk.clone());
        Ok(chunk)
    }

    /// Has a worker fetch a chunk that is not here yet. A failure shows when the chunk is asked for.
    pub(crate) fn prefetch(&mut self, workers: &Workers, pack: PackId, entry: ChunkEntry) {
        let key = (pack, entry.index);
        let Ok(file) = self.file(pack) else { return };
        if !self.cache.announce(key) {
            return;
        }
        let promise = Promise { cache: Arc::clone(&self.cache), key };
        workers.run(Box::new(move || {
            if let Ok(chunk) = fetch(&*file, &promise.cache.codec, &entry) {
                promise.cache.put(key, chunk);
            }
        }));
    }

    /// The table of a sealed pack.
    pub(crate) fn table(&mut self, pack: PackId) -> Result<Arc<Vec<ChunkEntry>>, DiskError> {
        if let Some(at) = self.tables.iter().position(|(id, _)| *id == pack) {
            let found = self.tables.remove(at);
            let table = Arc::clone(&found.1);
            self.tables.push(found);
            return Ok(table);
        }
        let file = self.file(pack)?;
        let table = Arc::new(pack::load_table(&*file, self.owner, pack)?);
        if self.tables.len() >= KEPT_TABLES {
            self.tables.remove(0);
        }
        self.tables.push((pack, Arc::clone(&table)));
        Ok(table)
    }

    fn file(&mut self, pack: PackId) -> Result<Arc<dyn DiskFile>, DiskError> {
        if let Some(at) = self.files.iter().position(|(id, _)| *id == pack) {
            let found = self.files.remove(at);
            let file = Arc::clone(&found.1);
            self.files.push(found);
            return Ok(file);
        }
        let file = self.disk.open(&pack::path(&self.folder, pack), Open::Read)?;
        if self.files.len() >= KEPT_FILES {
            self.files.remove(0);
        }
        self.files.push((pack, Arc::clone(&file)));
        Ok(file)
    }
}

fn fetch(file: &dyn DiskFile, codec: &Codec, entry: &ChunkEntry) -> Result<Bytes, ChunkError> {
    let stored = pack::read_stored(file, codec.buffers(), entry).map_err(ChunkError::Disk)?;
    if stored.bytes.len() != entry.stored_len as usize {
        return Err(ChunkError::Wrong("the pack ends before the chunk does"));
    }
    let decoded = codec.decode(entry.algorithm, entry.raw_len as usize, &entry.fingerprint, stored);
    decoded.map_err(ChunkError::Wrong)
}

impl Cache {
    fn get(&self, key: Key) -> Option<Bytes> {
        let mut kept = lock(&self.kept);
        loop {
            kept.tick += 1;
            let tick = kept.tick;
            match kept.slots.get_mut(&key) {
                None => return None,
                Some(Slot::Here { chunk, used }) => {
                    *used = tick;
                    return Some(chunk.clone());
                }
                Some(Slot::Coming) => kept = wait(&self.changed, kept),
            }
        }
    }

    /// Whether the chunk is neither here nor coming; then it is coming now.
    fn announce(&self, key: Key) -> bool {
        let mut kept = lock(&self.kept);
        let is_new = !kept.slots.contains_key(&key);
        if is_new {
            kept.slots.insert(key, Slot::Coming);
        }
        is_new
    }

    fn put(&self, key: Key, chunk: Bytes) {
        let mut kept = lock(&self.kept);
        kept.tick += 1;
        let used = kept.tick;
        let added = chunk.len();
        let before = kept.bytes;
        if let Some(Slot::Here { chunk, .. }) = kept.slots.insert(key, Slot::Here { chunk, used }) {
            kept.bytes = kept.bytes.saturating_sub(chunk.len());
        }
        kept.bytes += added;
        while kept.bytes > self.limit_bytes {
            if !kept.drop_oldest(key) {
                break;
            }
        }
        self.account(before, kept.bytes);
        drop(kept);
        self.changed.notify_all();
    }

    fn account(&self, before: usize, after: usize) {
        self.total_bytes.fetch_add(after as u64, Ordering::Relaxed);
        self.total_bytes.fetch_sub(before as u64, Ordering::Relaxed);
    }
}

impl Kept {
    /// Drops the chunk used longest ago, but not `except`; whether there was one. The cache holds tens of chunks,
    /// so it is searched.
    fn drop_oldest(&mut self, except: Key) -> bool {
        let age = |(key, slot): (&Key, &Slot)| match slot {
            Slot::Here { used, .. } if *key != except => Some((*used, *key)),
            _ => None,
        };
        let Some((_, key)) = self.slots.iter().filter_map(age).min_by_key(|(used, _)| *used) else {
            return false;
        };
        if let Some(Slot::Here { chunk, .. }) = self.slots.remove(&key) {
            self.bytes = self.bytes.saturating_sub(chunk.len());
        }
        true
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let bytes = lock(&self.kept).bytes;
        self.account(bytes, 0);
    }
}

/// A chunk that a worker owes; when it cannot be had, nobody waits for it any more.
struct Promise {
    cache: Arc<Cache>,
    key: Key,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let mut kept = lock(&self.cache.kept);
        if matches!(kept.slots.get(&self.key), Some(Slot::Coming)) {
            kept.slots.remove(&self.key);
        }
        drop(kept);
        self.cache.changed.notify_all();
    }
}
