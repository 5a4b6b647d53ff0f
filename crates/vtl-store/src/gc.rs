//! Collecting what nothing needs any more, while everything goes on.
//!
//! In this order:
//! 1. the gate begins to note which chunks are referred to anew (*pins*), without a clock and without a grace;
//! 2. what each open stream has referred to and not committed is asked of its lane, then what each owner has committed is read: all that is
//!    marked, or pinned, is live;
//! 3. each pack that was sealed before 1 and has enough dead in it is *closed*: from here on only what is live may be referred to;
//! 4. a pack without anything live is unlinked; another is written anew as its next generation, with what is live at its old raw
//!    addresses, synced, and then the old file is unlinked. Owners need not change.
//!
//! The new generation has another name until it is synced. A crash before leaves the old one, after it both; the start keeps the newer. Neither lacks anything
//! that a commit refers to. A collection does not run while the head of an owner cannot be read: what it needs is not known.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use vtl_durable::DiskFile;

use crate::account::{self, Account};
use crate::codec::Algorithm;
use crate::draft::Draft;
use crate::error::StoreError;
use crate::mark::{Ranges, mark};
use crate::pack::{Chunk, PackId, Region, Table};
use crate::packs::{PackState, View};
use crate::reader;
use crate::store::Core;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::workers::lock;

/// When a pack is worth rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcRule {
    /// A pack is rewritten when at least so many percent of its raw bytes are dead. 100: only packs without anything live go.
    pub dead_percent: u8,
    /// At most so many bytes are written for rewriting in one collection.
    pub rewrite_bytes: u64,
}

impl Default for GcRule {
    fn default() -> Self {
        Self { dead_percent: 25, rewrite_bytes: u64::MAX }
    }
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Packs that were looked at.
    pub packs: u64,
    /// Packs unlinked.
    pub removed: u64,
    /// Packs written anew.
    pub rewritten: u64,
    /// Packs that could not be read or rewritten, and stay as they are.
    pub skipped: u64,
    /// Bytes of files that are gone, less those written anew.
    pub freed_bytes: u64,
    /// What is dead and stays, in stored bytes, nearly.
    pub reclaimable_bytes: u64,
    /// It was stopped before all was looked at.
    pub stopped: bool,
}

/// How far a collection is, in bytes of pack files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcProgress {
    /// Of packs that are done with.
    pub done_bytes: u64,
    /// Of all packs that it looks at.
    pub total_bytes: u64,
}

/// Decides which chunks may be referred to anew while a collection runs.
#[derive(Default)]
pub(crate) struct Gate {
    /// Whether there is anything to look up: nearly always there is not.
    watching: AtomicBool,
    state: Mutex<GateState>,
    /// Bytes of streams that were cut or removed since the last collection began.
    released: AtomicU64,
    /// No collection is to begin any more, and one that runs is to end.
    stopped: AtomicBool,
}

#[derive(Default)]
struct GateState {
    collection: Option<Collection>,
    /// Packs that were rewritten (what remains is in this generation) or removed (no generation is high enough).
    retired: HashMap<PackId, u16>,
}

#[derive(Default)]
struct Collection {
    /// Chunks that were referred to since the collection began, by raw address.
    pins: HashMap<PackId, HashSet<u32>>,
    /// Packs that are going to be rewritten or removed, and the chunks that will be left.
    closed: HashMap<PackId, HashSet<u32>>,
}

/// No view has a generation so high.
const GONE: u16 = u16::MAX;

impl Gate {
    /// Whether the chunk at this raw address may be referred to; if so it stays until that reference is committed or dropped.
    pub(crate) fn admit(&self, pack: PackId, generation: u16, at: u32) -> bool {
        if !self.watching.load(Ordering::SeqCst) {
            return true;
        }
        let mut state = lock(&self.state);
        if state.retired.get(&pack).is_some_and(|first| generation < *first) {
            return false;
        }
        let Some(collection) = &mut state.collection else { return true };
        match collection.closed.get(&pack) {
            Some(left) => left.contains(&at),
            None => {
                collection.pins.entry(pack).or_default().insert(at);
                true
            }
        }
    }

    /// Owners gave up so many bytes: whether anybody else needs them is not known before a collection.
    pub(crate) fn release(&self, bytes: u64) {
        self.released.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn released_bytes(&self) -> u64 {
        self.released.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Whether a collection is running: then a file that is not there may only be about to be forgotten.
    pub(crate) fn is_collecting(&self) -> bool {
        lock(&self.state).collection.is_some()
    }

    /// Whether no collection was running; then one is now.
    pub(crate) fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        let free = state.collection.is_none();
        if free {
            state.collection = Some(Collection::default());
            self.watching.store(true, Ordering::SeqCst);
        }
        free
    }

    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.collection = None;
        self.watching.store(!state.retired.is_empty(), Ordering::SeqCst);
    }

    /// Adds what is pinned to the live chunks of a pack, and closes it when `worth` says so of the result.
    fn close(
        &self,
        pack: PackId,
        mut live: HashSet<u32>,
        worth: impl FnOnce(&HashSet<u32>) -> bool,
    ) -> Option<HashSet<u32>> {
        let mut state = lock(&self.state);
        let collection = state.collection.as_mut()?;
        live.extend(collection.pins.get(&pack).into_iter().flatten());
        worth(&live).then(|| {
            collection.closed.insert(pack, live.clone());
            live
        })
    }

    /// The closed pack stays as it is after all.
    fn reopen(&self, pack: PackId) {
        if let Some(collection) = &mut lock(&self.state).collection {
            collection.closed.remove(&pack);
        }
    }

    /// Of this pack only what is in this generation or a later one may be referred to.
    pub(crate) fn retire(&self, pack: PackId, first: u16) {
        let mut state = lock(&self.state);
        state.retired.insert(pack, first);
        if let Some(collection) = &mut state.collection {
            collection.closed.remove(&pack);
        }
    }
}

/// Collects once. `go_on` is asked after each owner and each pack; one that is stopped, by that or by the gate, ends there and tells what it did until
/// then.
pub(crate) fn collect(
    core: &Core,
    rule: GcRule,
    go_on: &dyn Fn(GcProgress) -> bool,
) -> Result<GcReport, StoreError> {
    core.writable()?;
    let gate = &core.dock.finder.gate;
    if !gate.begin() {
        return Err(StoreError::Collecting);
    }
    let _end = End(core);
    let released = gate.released_bytes();
    let sealed = core.packs.all().into_iter().filter(|(_, known)| known.state == PackState::Sealed);
    let candidates: Vec<(PackId, u64)> = sealed.map(|(id, known)| (id, known.file_bytes)).collect();
    let total_bytes = candidates.iter().map(|(_, bytes)| bytes).sum();
    let mut progress = GcProgress { done_bytes: 0, total_bytes };
    let Some(mut marks) = mark(core, &|| go_on(progress))? else {
        return Ok(GcReport { stopped: true, ..GcReport::default() });
    };
    let mut collector = Collector {
        core,
        rule,
        report: GcReport::default(),
        account: Account::new(marks.owners.len()),
        rewritten_bytes: 0,
    };
    let mut worn = Vec::new();
    let mut stopped = false;
    for (id, bytes) in candidates {
        stopped = gate.is_stopped() || !go_on(progress);
        if stopped {
            break;
        }
        let live = marks.packs.remove(&id).unwrap_or_default();
        match collector.judge(id, live)? {
            Some(one) => worn.push((one, bytes)),
            None => progress.done_bytes += bytes,
        }
    }
    // What costs most and gives least comes last, should space or the budget end.
    worn.sort_by_key(|(one, _)| one.live_raw);
    collector.sync_names();
    for (one, bytes) in worn {
        stopped = stopped || gate.is_stopped() || !go_on(progress);
        if stopped {
            break;
        }
        collector.rewrite(&one)?;
        progress.done_bytes += bytes;
    }
    collector.sync_names();
    // Packs that are not sealed yet.
    for (id, live) in &marks.packs {
        collector.count(*id, live);
    }
    let Collector { mut report, account, .. } = collector;
    report.reclaimable_bytes = account.dead_bytes;
    report.stopped = stopped;
    if !stopped {
        account::publish(core, account, &marks);
        gate.released.fetch_sub(released, Ordering::Relaxed);
    }
    Ok(report)
}

struct End<'a>(&'a Core);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.dock.finder.gate.end();
    }
}

/// A pack with enough dead in it.
struct Worn {
    view: Arc<View>,
    live: HashSet<u32>,
    live_raw: u64,
    marks: Ranges,
}

struct Collector<'a> {
    core: &'a Core,
    rule: GcRule,
    report: GcReport,
    /// Of what stays.
    account: Account,
    rewritten_bytes: u64,
}

impl Collector<'_> {
    /// Removes a pack that has nothing live; gives it when it should be rewritten.
    fn judge(&mut self, id: PackId, marks: Ranges) -> Result<Option<Worn>, StoreError> {
        self.report.packs += 1;
        let Ok(view) = self.core.packs.view(id) else {
            // It may be one that is lost, or one that is live and cannot be read now.
            self.report.skipped += 1;
            return Ok(None);
        };
        let marked = view.table.chunks().filter(|chunk| marks.touch(chunk)).map(|chunk| chunk.at).collect();
        let all = view.table.raw_bytes();
        let percent = u64::from(self.rule.dead_percent.clamp(1, 100));
        let mut live_raw = 0;
        let closed = self.core.dock.finder.gate.close(id, marked, |live| {
            live_raw = raw_bytes(&view.table, live);
            live.is_empty() || (all - live_raw) * 100 >= all * percent && percent < 100
        });
        let Some(live) = closed else {
            self.count(id, &marks);
            return Ok(None);
        };
        if !live.is_empty() {
            return Ok(Some(Worn { view, live, live_raw, marks }));
        }
        self.remove(&view)?;
        Ok(None)
    }

    fn remove(&mut self, view: &View) -> Result<(), StoreError> {
        let known = self.core.packs.known(view.id);
        let bytes = known.map_or(0, |known| known.file_bytes);
        self.core.packs.delete(view.id)?;
        self.core.packs.forget(view.id);
        let content = known.map_or(0, |known| known.content_bytes);
        self.core.reclaimed.fetch_add(content.cast_signed(), Ordering::Relaxed);
        self.core.dock.finder.gate.retire(view.id, GONE);
        self.core.dock.finder.index.forget_pack(view.id.key());
        self.core.quarantine.release_pack(view.id);
        self.report.removed += 1;
        self.report.freed_bytes += bytes;
        Ok(())
    }

    /// Space is free for good when the names are gone for good. One that comes back is found by the next collection.
    fn sync_names(&self) {
        if let Err(error) = self.core.packs.settle_deletions() {
            tracing::warn!(%error, "a removed pack may come back and be collected again");
        }
    }

    /// Counts what stays of a pack.
    fn count(&mut self, id: PackId, marks: &Ranges) {
        if let (Some(known), Ok(view)) = (self.core.packs.known(id), self.core.packs.view(id)) {
            self.account.add(&view, &known, marks);
        }
    }

    fn rewrite(&mut self, worn: &Worn) -> Result<(), StoreError> {
        let (id, old) = (worn.view.id, worn.view.generation);
        let before = self.core.packs.known(id).map_or(0, |known| known.file_bytes);
        let budget = self.rewritten_bytes.saturating_add(before) <= self.rule.rewrite_bytes;
        let room = self.core.packs.has_room_for_next(before)?;
        if !budget || !room || old >= GONE - 1 {
            self.core.dock.finder.gate.reopen(id);
            self.count(id, &worn.marks);
            return Ok(());
        }
        let bytes = match self.write_next(worn) {
            Ok(bytes) => bytes,
            // Which of the two generations a start would keep is not known: nothing more may be committed, and the pack stays closed.
            Err(error) if self.core.writable().is_err() => return Err(error),
            Err(error) => {
                tracing::warn!(pack = %id, %error, "a pack could not be rewritten and stays as it is");
                self.core.dock.finder.gate.reopen(id);
                self.report.skipped += 1;
                self.count(id, &worn.marks);
                return Ok(());
            }
        };
        self.rewritten_bytes += bytes;
        self.report.rewritten += 1;
        self.report.freed_bytes += before.saturating_sub(bytes);
        self.count(id, &worn.marks);
        Ok(())
    }

    /// Writes the next generation and puts it in place; the length of its file.
    fn write_next(&self, worn: &Worn) -> Result<u64, StoreError> {
        let old = self.core.packs.file(&worn.view)?;
        let mut draft = Draft::new(self.core, &worn.view)?;
        for region in &worn.view.table.regions {
            let (chunks, raw) = self.live_of(&*old, &worn.view, region, &worn.live)?;
            if !chunks.is_empty() {
                draft.add(chunks, raw, region.algorithm != Algorithm::Raw)?;
            }
        }
        draft.publish()
    }

    /// What is live of a region, each chunk compared with its fingerprint.
    fn live_of(
        &self,
        old: &dyn DiskFile,
        view: &View,
        region: &Region,
        live: &HashSet<u32>,
    ) -> Result<(Vec<Chunk>, Vec<Bytes>), StoreError> {
        let (mut chunks, mut pieces) = (Vec::new(), Vec::new());
        if !region.chunks.iter().any(|chunk| live.contains(&chunk.at)) {
            return Ok((chunks, pieces));
        }
        let damaged = |error: reader::RegionError| StoreError::LostChunk { why: error.to_string() };
        let frame = self.core.packs.frame(view.id, view.generation);
        let raw = reader::fetch(old, &self.core.codec, &frame, region).map_err(damaged)?;
        for found in region.found().filter(|found| live.contains(&found.chunk.at)) {
            pieces.push(reader::verified(self.core.codec.prints(), &raw, &found).map_err(damaged)?);
            chunks.push(*found.chunk);
        }
        Ok((chunks, pieces))
    }
}

fn raw_bytes(table: &Table, live: &HashSet<u32>) -> u64 {
    table.chunks().filter(|chunk| live.contains(&chunk.at)).map(|chunk| u64::from(chunk.len)).sum()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vtl_durable::{Disk, DiskError, Found as Entry, Open, SimDisk};

    use super::*;
    use crate::{Options, OwnerId, Store};

    const PACK: PackId = PackId { epoch: 1 << 32, number: 0 };

    #[test]
    fn a_hit_during_a_collection_keeps_its_chunk_and_a_closed_pack_gives_only_what_is_left() {
        let gate = Gate::default();
        assert!(gate.begin() && !gate.begin());
        assert!(gate.admit(PACK, 0, 100));
        let left = gate.close(PACK, HashSet::from([0]), |live| live.len() == 2).unwrap();
        assert_eq!(left, HashSet::from([0, 100]));
        assert!(gate.admit(PACK, 0, 100) && gate.admit(PACK, 0, 0) && !gate.admit(PACK, 0, 200));
        gate.reopen(PACK);
        assert!(gate.admit(PACK, 0, 200));
    }

    #[test]
    fn what_was_seen_before_a_pack_was_rewritten_or_removed_is_not_referred_to() {
        let gate = Gate::default();
        gate.begin();
        gate.retire(PACK, 1);
        gate.end();
        assert!(!gate.admit(PACK, 0, 0) && gate.admit(PACK, 1, 0));
        gate.begin();
        gate.retire(PACK, GONE);
        gate.end();
        assert!(!gate.admit(PACK, 1, 0));
    }

    const OWNER: OwnerId = OwnerId([1; 16]);

    fn store_with(bytes: usize) -> Store {
        fill(Arc::new(SimDisk::new(1)), bytes)
    }

    fn fill(disk: Arc<dyn Disk>, bytes: usize) -> Store {
        // Header, footer and a page: several packs for what the tests write.
        let options = Options { pack_bytes: 12 << 10, ..Options::small() };
        let store = Store::open(disk, Path::new("/pool"), options).unwrap();
        write(&store, OWNER, bytes);
        store
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|at| (((at * at) >> 7) ^ (at * 31)) as u8).collect()
    }

    fn write(store: &Store, owner: OwnerId, bytes: usize) {
        store.create(owner, b"").unwrap();
        let mut stream = store.open_stream(owner).unwrap();
        stream.append(&[Bytes::from(noise(bytes))], false).unwrap();
        stream.commit(b"").unwrap();
    }

    #[test]
    fn what_comes_again_in_the_middle_of_a_collection_is_kept_where_it_is_or_stored_anew() {
        let disk = Interrupted::new();
        let store = fill(disk.clone(), 100_000);
        store.remove(OWNER).unwrap();
        let (before, other) = (store.stats(), OwnerId([2; 16]));
        let writing = store.clone();
        // The first pack is closed by now: what it has must be stored anew. The others are dead, but not closed.
        disk.interrupt_with(move || write(&writing, other, 100_000));
        let report = store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
        assert!(report.removed >= 1 && report.removed < before.packs / 2, "{report:?}");
        let grown = store.stats().arrived_bytes - before.arrived_bytes;
        assert!(grown > 1000 && grown < 50_000, "{grown}");
        let check = |store: Store| {
            assert_eq!(store.check().findings, []);
            let mut stream = store.open_stream(other).unwrap();
            assert!(stream.read(0, 100_000).unwrap().concat() == noise(100_000));
        };
        check(store);
        let disk = Arc::new(disk.disk.after_crash(1));
        check(Store::open(disk, Path::new("/pool"), Options::small()).unwrap());
    }

    #[test]
    fn what_owners_gave_up_is_counted_until_a_collection_has_looked_at_it() {
        let store = store_with(100_000);
        assert_eq!(store.released_bytes(), 0);
        let mut stream = store.open_stream(OWNER).unwrap();
        stream.truncate(90_000).unwrap();
        assert_eq!(store.released_bytes(), 0, "not before the commit");
        stream.commit(b"").unwrap();
        assert_eq!(store.released_bytes(), 10_000);
        drop(stream);
        store.remove(OWNER).unwrap();
        assert_eq!(store.released_bytes(), 100_000);
        store.gc(GcRule::default()).unwrap();
        assert_eq!(store.released_bytes(), 0);
    }

    #[test]
    fn a_stopped_collection_takes_nothing_and_what_was_given_up_is_still_known() {
        let store = store_with(100_000);
        store.remove(OWNER).unwrap();
        let before = store.stats();
        store.stop_collecting();
        let report = store.gc(GcRule::default()).unwrap();
        assert_eq!((report.removed, report.rewritten, report.freed_bytes), (0, 0, 0));
        assert_eq!((store.stats(), store.released_bytes()), (before, 100_000));
    }

    /// Does something when the first pack goes.
    struct Interrupted {
        disk: SimDisk,
        action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl std::fmt::Debug for Interrupted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Interrupted")
        }
    }

    impl Interrupted {
        fn new() -> Arc<Self> {
            Arc::new(Self { disk: SimDisk::new(1), action: Mutex::default() })
        }

        fn interrupt_with(&self, action: impl FnOnce() + Send + 'static) {
            *lock(&self.action) = Some(Box::new(action));
        }
    }

    impl Disk for Interrupted {
        fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
            self.disk.open(path, how)
        }

        fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
            self.disk.rename(from, to)
        }

        fn unlink(&self, path: &Path) -> Result<(), DiskError> {
            let action = match path.extension().is_some_and(|end| end == "pack") {
                true => lock(&self.action).take(),
                false => None,
            };
            action.into_iter().for_each(|action| action());
            self.disk.unlink(path)
        }

        fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.create_folder(path)
        }

        fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.remove_folder(path)
        }

        fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.sync_folder(path)
        }

        fn list(&self, path: &Path) -> Result<Vec<Entry>, DiskError> {
            self.disk.list(path)
        }

        fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
            self.disk.free_bytes(path)
        }
    }

    #[test]
    fn a_collection_that_is_not_to_go_on_ends_at_a_safe_point_and_another_takes_the_rest() {
        let store = store_with(100_000);
        store.remove(OWNER).unwrap();
        let before = store.stats();
        let asked = AtomicU64::new(0);
        // There is no owner to ask before, so it is asked before each pack.
        let report =
            store.gc_while(GcRule::default(), &|_| asked.fetch_add(1, Ordering::Relaxed) < 2).unwrap();
        assert_eq!((report.stopped, report.removed, store.stats().packs), (true, 2, before.packs - 2));
        assert_eq!(store.released_bytes(), 100_000, "not all of it has been looked at");
        let last = Mutex::new(GcProgress::default());
        let note = |progress| {
            *lock(&last) = progress;
            true
        };
        let report = store.gc_while(GcRule::default(), &note).unwrap();
        assert!(!report.stopped && report.removed > 0 && store.released_bytes() == 0);
        let last = *lock(&last);
        assert!(last.done_bytes < last.total_bytes && last.total_bytes > 0, "{last:?}");
        // The next one of this pool is not stopped by the last.
        assert!(!store.gc(GcRule::default()).unwrap().stopped);
    }

    #[test]
    fn a_collection_that_is_stopped_ends_after_the_pack_in_hand() {
        let disk = Interrupted::new();
        let store = fill(disk.clone(), 100_000);
        store.remove(OWNER).unwrap();
        let before = store.stats();
        assert!(before.packs > 3, "{before:?}");
        let stopping = store.clone();
        disk.interrupt_with(move || stopping.stop_collecting());
        let report = store.gc(GcRule::default()).unwrap();
        assert_eq!((report.removed, store.stats().packs), (1, before.packs - 1));
        assert_eq!(report.freed_bytes, before.stored_bytes - store.stats().stored_bytes);
        assert_eq!(store.released_bytes(), 100_000, "the rest waits for the next start");
    }
}
