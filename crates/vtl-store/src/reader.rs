//! Reading regions for one stream: a cache of decoded regions, filled on demand and ahead.
//!
//! A region whose chunks have all been read to their ends has most likely been of use for the last time: of those only a few stay. One that was read in
//! part stays longer, because a stream whose content is scattered comes back for the rest of it.

use std::collections::HashMap;
use std::ops::Range;

use bytes::Bytes;
use vtl_codec::{Compressed, Portion};
use vtl_durable::{DiskError, DiskFile};

use crate::buffers::Buffers;
use crate::cipher::Prints;
use crate::codec::{Codec, Keep};
use crate::pack::{self, Found, Frame, PackId, Region};
use crate::packs::{Packs, View};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, Condvar, Mutex};
use crate::workers::{Handle, lock, wait};

/// Pack files kept open for one stream: the one being read, its neighbours, and some for jumping about.
const KEPT_FILES: usize = 16;

/// A region's content never changes under its key: pack ids are not used twice, and rewriting makes a new generation.
type Key = (PackId, u16, u32);

pub(crate) struct Reader {
    packs: Arc<Packs>,
    cache: Arc<Cache>,
    files: Vec<(PackId, u16, Arc<dyn DiskFile>)>,
    keep: Keep,
}

/// How much is kept.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Decoded regions in all.
    pub(crate) all_bytes: usize,
    /// Above so many, those that have been read to the end go.
    pub(crate) read_bytes: usize,
}

struct Cache {
    codec: Arc<Codec>,
    limits: Limits,
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
        region: Arc<Decoded>,
        used: u64,
        /// Nobody has asked for it yet: it was fetched ahead.
        unread: bool,
    },
}

/// A region's raw bytes, and what has been done with each chunk of it.
struct Decoded {
    raw: Bytes,
    /// What it was decompressed from, where somebody wants it.
    compressed: Option<Compressed>,
    /// Memory that both take: of a buffer all of its room, however much of it is used.
    room: usize,
    chunks: Vec<Done>,
    /// Chunks that nobody has read to the end.
    unread: AtomicUsize,
}

#[derive(Default)]
struct Done {
    /// Compared with its fingerprint: once is enough, however small the pieces are in which it is read.
    proved: AtomicBool,
    read: AtomicBool,
}

impl Decoded {
    fn new((raw, compressed): Fetched, chunks: usize, buffers: &Buffers) -> Arc<Self> {
        let chunks: Vec<_> = (0..chunks).map(|_| Done::default()).collect();
        let beside = compressed.as_ref().map_or(0, |compressed| buffers.room(compressed.zstd().len()));
        let room = buffers.room(raw.len()) + beside;
        Arc::new(Self { raw, compressed, room, unread: AtomicUsize::new(chunks.len()), chunks })
    }

    fn read_to_end(&self, nth: usize) {
        if self.chunks.get(nth).is_some_and(|chunk| !chunk.read.swap(true, Ordering::Relaxed)) {
            self.unread.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn is_read(&self) -> bool {
        self.unread.load(Ordering::Relaxed) == 0
    }

    /// The verified bytes of a chunk.
    fn chunk(&self, prints: &Prints, found: &Found<'_>) -> Result<Bytes, RegionError> {
        let proved = self.chunks.get(found.nth).map(|chunk| &chunk.proved);
        if proved.is_some_and(|proved| proved.load(Ordering::Relaxed)) {
            return slice(&self.raw, found);
        }
        let bytes = verified(prints, &self.raw, found)?;
        if let Some(proved) = proved {
            proved.store(true, Ordering::Relaxed);
        }
        Ok(bytes)
    }
}

/// Why a region could not be had. Either way the bytes that need it are lost to the reader and no others.
#[derive(Debug)]
pub(crate) enum RegionError {
    Disk(DiskError),
    Wrong(&'static str),
}

impl std::fmt::Display for RegionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

impl Reader {
    pub(crate) fn new(
        packs: Arc<Packs>,
        codec: Arc<Codec>,
        limits: Limits,
        total_bytes: Arc<AtomicU64>,
    ) -> Self {
        let cache = Cache { codec, limits, kept: Mutex::default(), changed: Condvar::new(), total_bytes };
        Self { packs, cache: Arc::new(cache), files: Vec::new(), keep: Keep::Raw }
    }

    /// What regions that are read from now on are kept as.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// The verified bytes `within` a chunk, and what of its region was compressed when that is kept.
    pub(crate) fn chunk(
        &mut self,
        view: &View,
        found: &Found<'_>,
        within: Range<usize>,
    ) -> Result<Portion, RegionError> {
        let key = (view.id, view.generation, found.region.offset);
        let region = match self.cache.get(key) {
            Some(region) => region,
            None => {
                let file = self.file(view).map_err(RegionError::Disk)?;
                let frame = self.packs.frame(view.id, view.generation);
                let fetched = fetch_to_keep(&*file, &self.cache.codec, &frame, found.region, self.keep)?;
                let buffers = self.cache.codec.buffers();
                let region = Decoded::new(fetched, found.region.chunks.len(), buffers);
                self.cache.put(key, Arc::clone(&region), false);
                region
            }
        };
        let chunk = region.chunk(self.cache.codec.prints(), found)?;
        if within.end == chunk.len() {
            region.read_to_end(found.nth);
        }
        let at = found.within as usize + within.start;
        let of = region.compressed.as_ref().map(|compressed| (compressed.clone(), at));
        Ok(Portion { bytes: chunk.slice(within), of })
    }

    /// Has a worker fetch a region that is not here yet. A failure shows when the region is asked for.
    pub(crate) fn prefetch(&mut self, workers: &Handle, view: &Arc<View>, region: &Arc<Region>) {
        let key = (view.id, view.generation, region.offset);
        let Ok(file) = self.file(view) else { return };
        if !self.cache.announce(key) {
            return;
        }
        let promise = Promise { cache: Arc::clone(&self.cache), key };
        let region = Arc::clone(region);
        let frame = self.packs.frame(view.id, view.generation);
        let keep = self.keep;
        workers.run(Box::new(move || {
            if let Ok(fetched) = fetch_to_keep(&*file, &promise.cache.codec, &frame, &region, keep) {
                let buffers = promise.cache.codec.buffers();
                let decoded = Decoded::new(fetched, region.chunks.len(), buffers);
                // The reader finds it proved. What is wrong is told when it is asked for.
                let prints = promise.cache.codec.prints();
                region.found().for_each(|found| drop(decoded.chunk(prints, &found)));
                promise.cache.put(key, decoded, true);
            }
        }));
    }

    fn file(&mut self, view: &View) -> Result<Arc<dyn DiskFile>, DiskError> {
        let wanted =
            |(id, generation, _): &(PackId, u16, _)| (*id, *generation) == (view.id, view.generation);
        if let Some(at) = self.files.iter().position(wanted) {
            let found = self.files.remove(at);
            let file = Arc::clone(&found.2);
            self.files.push(found);
            return Ok(file);
        }
        let file = self.packs.file(view)?;
        if self.files.len() >= KEPT_FILES {
            self.files.remove(0);
        }
        self.files.push((view.id, view.generation, Arc::clone(&file)));
        Ok(file)
    }
}

/// A region's raw bytes, and the compressed ones where they are kept.
type Fetched = (Bytes, Option<Compressed>);

/// A region's raw bytes, not verified: that is done for each chunk that is served.
pub(crate) fn fetch(
    file: &dyn DiskFile,
    codec: &Codec,
    frame: &Frame,
    region: &Region,
) -> Result<Bytes, RegionError> {
    fetch_to_keep(file, codec, frame, region, Keep::Raw).map(|(raw, _)| raw)
}

fn fetch_to_keep(
    file: &dyn DiskFile,
    codec: &Codec,
    frame: &Frame,
    region: &Region,
    keep: Keep,
) -> Result<Fetched, RegionError> {
    let mut stored = codec.buffers().take(region.stored_len as usize);
    pack::read_stored(file, region, &mut stored.bytes).map_err(RegionError::Disk)?;
    if stored.bytes.len() != region.stored_len as usize {
        return Err(RegionError::Wrong("the pack ends before the chunk does"));
    }
    frame.open_stored(region, &mut stored.bytes).map_err(RegionError::Wrong)?;
    codec.decode(region.algorithm, region.raw_len as usize, stored, keep).map_err(RegionError::Wrong)
}

/// The bytes of a chunk in its region, compared with their fingerprint.
pub(crate) fn verified(prints: &Prints, raw: &Bytes, found: &Found<'_>) -> Result<Bytes, RegionError> {
    let bytes = slice(raw, found)?;
    if prints.of(&bytes) != found.chunk.fingerprint {
        return Err(RegionError::Wrong("the chunk's bytes do not match their fingerprint"));
    }
    Ok(bytes)
}

fn slice(raw: &Bytes, found: &Found<'_>) -> Result<Bytes, RegionError> {
    let range = found.within as usize..(found.within + found.chunk.len) as usize;
    if range.end > raw.len() {
        return Err(RegionError::Wrong("the region ends before the chunk does"));
    }
    Ok(raw.slice(range))
}

impl Cache {
    fn get(&self, key: Key) -> Option<Arc<Decoded>> {
        let mut kept = lock(&self.kept);
        loop {
            kept.tick += 1;
            let tick = kept.tick;
            match kept.slots.get_mut(&key) {
                None => return None,
                Some(Slot::Here { region, used, unread }) => {
                    (*used, *unread) = (tick, false);
                    return Some(Arc::clone(region));
                }
                Some(Slot::Coming) => kept = wait(&self.changed, kept),
            }
        }
    }

    /// Whether the region is neither here nor coming; then it is coming now.
    fn announce(&self, key: Key) -> bool {
        let mut kept = lock(&self.kept);
        let is_new = !kept.slots.contains_key(&key);
        if is_new {
            kept.slots.insert(key, Slot::Coming);
        }
        is_new
    }

    fn put(&self, key: Key, region: Arc<Decoded>, unread: bool) {
        let mut kept = lock(&self.kept);
        kept.tick += 1;
        let used = kept.tick;
        let added = region.room;
        let before = kept.bytes;
        if let Some(Slot::Here { region, .. }) = kept.slots.insert(key, Slot::Here { region, used, unread }) {
            kept.bytes = kept.bytes.saturating_sub(region.room);
        }
        kept.bytes += added;
        let Limits { all_bytes, read_bytes } = self.limits;
        while kept.bytes > read_bytes && kept.drop_oldest(key, Decoded::is_read) {}
        while kept.bytes > all_bytes && kept.drop_oldest(key, |_| true) {}
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
    /// Drops the region used longest ago of those that `may` go, but not `except`, and what was fetched ahead last of all; whether there was one.
    /// The cache holds some hundred regions at most, so it is searched.
    fn drop_oldest(&mut self, except: Key, may: impl Fn(&Decoded) -> bool) -> bool {
        let age = |(key, slot): (&Key, &Slot)| match slot {
            Slot::Here { used, unread, region } if *key != except && may(region) => {
                Some(((*unread, *used), *key))
            }
            _ => None,
        };
        let Some((_, key)) = self.slots.iter().filter_map(age).min_by_key(|(age, _)| *age) else {
            return false;
        };
        if let Some(Slot::Here { region, .. }) = self.slots.remove(&key) {
            self.bytes = self.bytes.saturating_sub(region.room);
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

/// A region that a worker owes; when it cannot be had, nobody waits for it any more.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Domain;

    const REGION: usize = 1000;

    fn cache(limits: Limits) -> Cache {
        let codec = Arc::new(Codec::new(1, REGION, Domain::plain([0; 16]).prints()));
        Cache { codec, limits, kept: Mutex::default(), changed: Condvar::new(), total_bytes: Arc::default() }
    }

    fn key(region: u32) -> Key {
        (PackId { epoch: 1, number: 0 }, 0, region)
    }

    fn put(cache: &Cache, region: u32) -> Arc<Decoded> {
        let decoded = Decoded::new((Bytes::from(vec![0; REGION]), None), 2, cache.codec.buffers());
        cache.put(key(region), Arc::clone(&decoded), false);
        decoded
    }

    fn here(cache: &Cache) -> Vec<u32> {
        (0..10).filter(|region| cache.get(key(*region)).is_some()).collect()
    }

    #[test]
    fn what_is_kept_counts_with_all_the_room_of_its_buffers() {
        let cache = cache(Limits { all_bytes: 4 * REGION, read_bytes: 4 * REGION });
        let raw = || Bytes::from(vec![0; REGION]);
        // The second one has a buffer of the usual room, and the last one one of its own length.
        for (region, zstd, room) in [(0, None, 1000), (1, Some(300), 2000), (2, Some(10), 1010)] {
            let compressed = zstd.map(|len| Compressed::new(REGION, Bytes::from(vec![0; len])));
            let decoded = Decoded::new((raw(), compressed), 1, cache.codec.buffers());
            assert_eq!(decoded.room, room);
            cache.put(key(region), decoded, false);
        }
        assert_eq!(here(&cache), [1, 2], "4010 bytes are too many");
        assert_eq!(cache.total_bytes.load(Ordering::Relaxed), 3010);
    }

    #[test]
    fn a_region_that_was_read_whole_goes_before_one_that_was_read_in_part() {
        let cache = cache(Limits { all_bytes: 4 * REGION, read_bytes: 2 * REGION });
        let regions: Vec<_> = (0..2).map(|n| put(&cache, n)).collect();
        regions[0].read_to_end(0);
        regions[1].read_to_end(0);
        regions[1].read_to_end(0);
        put(&cache, 2);
        assert_eq!(here(&cache), [0, 1, 2], "half of each is to be read yet");
        regions[1].read_to_end(1);
        put(&cache, 3);
        assert_eq!(here(&cache), [0, 2, 3]);
        put(&cache, 4);
        put(&cache, 5);
        assert_eq!(here(&cache), [2, 3, 4, 5], "the one used longest ago");
        assert_eq!(cache.total_bytes.load(Ordering::Relaxed), 4 * REGION as u64);
    }
}
