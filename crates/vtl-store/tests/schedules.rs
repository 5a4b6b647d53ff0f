//! A collection beside writers, removals and readers, in schedules that a library chooses (shuttle): at every lock, atomic, channel and call
//! of the disk it decides which thread goes on. All of them come from seeds, so that a run is the same everywhere.
//!
//! What it cannot show: reorderings of weak memory (each atomic is taken for sequentially consistent), and schedules that were not tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use common::{ROOT, Random, cases, observe, owner};
use shuttle::scheduler::{
    PctScheduler, RandomScheduler, Scheduler, UncontrolledNondeterminismCheckScheduler as Twice,
};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{Config, MaxSteps, Runner, thread};
use vtl_durable::{Disk, DiskError, DiskFile, Found, Open, SimDisk};
use vtl_store::{GcRule, Options, ScrubStep, Snapshot, Store, StoreError, Stream};

const ALL_DEAD: GcRule = GcRule { dead_percent: 1, rewrite_bytes: u64::MAX };
/// Bytes that are not worth compressing, and fill more than half of a pack: it is sealed when its stream is closed.
const TEXT_BYTES: usize = 5000;

/// A disk at whose every call another thread may go on.
#[derive(Debug)]
struct Paced {
    disk: SimDisk,
    point: Arc<AtomicBool>,
}

#[derive(Debug)]
struct PacedFile {
    file: Arc<dyn DiskFile>,
    point: Arc<AtomicBool>,
}

fn pause(point: &AtomicBool) {
    point.load(Ordering::SeqCst);
}

impl Paced {
    fn over(disk: &SimDisk) -> Arc<dyn Disk> {
        Arc::new(Self { disk: disk.clone(), point: Arc::default() })
    }

    fn paced(&self) -> &SimDisk {
        pause(&self.point);
        &self.disk
    }
}

impl Disk for Paced {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let file = self.paced().open(path, how)?;
        Ok(Arc::new(PacedFile { file, point: Arc::clone(&self.point) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.paced().rename(from, to)
    }

    fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        self.paced().unlink(path)
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.paced().create_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.paced().remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.paced().sync_folder(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
        self.paced().list(path)
    }

    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        self.paced().free_bytes(path)
    }
}

impl PacedFile {
    fn paced(&self) -> &dyn DiskFile {
        pause(&self.point);
        &*self.file
    }
}

impl DiskFile for PacedFile {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        self.paced().read_at(offset, len, out)
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        self.paced().write_at(offset, parts)
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.paced().size()
    }

    fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        self.paced().set_size(bytes)
    }

    fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        self.paced().allocate(bytes)
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.paced().sync_data()
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        self.paced().try_lock()
    }
}

fn text(number: u64) -> Vec<u8> {
    Random(100 + number).bytes_of_noise(TEXT_BYTES)
}

fn options(workers: usize) -> Options {
    Options { workers, pack_bytes: 8 << 10, ..Options::small() }
}

fn open(disk: &SimDisk, workers: usize) -> Store {
    Store::open(Paced::over(disk), Path::new(ROOT), options(workers)).unwrap()
}

fn append(stream: &mut Stream, bytes: &[u8]) {
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
}

/// What the race begins with, made once. Owner 3 needs half of what 4 brought, so that its pack is rewritten and not removed.
fn prepared() -> &'static SimDisk {
    static PREPARED: OnceLock<SimDisk> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let disk = SimDisk::new(1);
        let made = disk.clone();
        schedule(RandomScheduler::new_from_seed(1, 1), move || {
            let store = open(&made, 0);
            let contents = [(4, text(0)), (5, text(1)), (3, [&text(0)[..TEXT_BYTES / 2], &text(2)].concat())];
            for (who, bytes) in contents {
                store.create(owner(who), b"").unwrap();
                let mut stream = store.open_stream(owner(who)).unwrap();
                append(&mut stream, &bytes);
                stream.commit(b"").unwrap();
            }
        });
        disk.survivor(1)
    })
}

type Contents = BTreeMap<u8, Vec<u8>>;

/// Brings what is there already, or was until a moment ago, in two commits.
fn write_one(store: &Store) -> Vec<u8> {
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    let parts = [text(0), text(1)];
    for part in &parts {
        append(&mut stream, part);
        stream.commit(b"").unwrap();
    }
    parts.concat()
}

/// The same in another order, with content of its own; what was committed is cut and brought once more.
fn write_two(store: &Store) -> Vec<u8> {
    store.create(owner(2), b"").unwrap();
    let mut stream = store.open_stream(owner(2)).unwrap();
    append(&mut stream, &text(1));
    stream.commit(b"").unwrap();
    stream.truncate(1000).unwrap();
    append(&mut stream, &text(3)[..2000]);
    stream.commit(b"").unwrap();
    append(&mut stream, &text(0));
    append(&mut stream, &text(1));
    let expected = [&text(1)[..1000], &text(3)[..2000], &text(0), &text(1)].concat();
    assert_eq!(stream.read(500, 6000).unwrap().concat(), expected[500..6500]);
    stream.commit(b"").unwrap();
    expected
}

/// Reads what lies in a pack that is rewritten meanwhile; checks everything, and has the index made again.
fn read(store: &Store, expected: &[u8]) {
    assert!(observe(store, 3).unwrap().bytes == expected);
    assert_eq!(store.check().findings, []);
    store.rebuild_index().unwrap();
    assert!(observe(store, 3).unwrap().bytes == expected);
}

fn remove(store: &Store) {
    store.remove(owner(4)).unwrap();
    store.remove(owner(5)).unwrap();
}

fn collect(store: &Store) {
    for _ in 0..2 {
        store.gc(ALL_DEAD).unwrap();
    }
}

/// All of it at once, and what must be true in the end.
fn race(workers: usize) {
    let disk = prepared().survivor(1);
    let store = open(&disk, workers);
    let kept = [&text(0)[..TEXT_BYTES / 2], &text(2)].concat();
    let with = |work: fn(&Store)| {
        let store = store.clone();
        thread::spawn(move || work(&store))
    };
    let writers = [write_one, write_two].map(|work| {
        let store = store.clone();
        thread::spawn(move || work(&store))
    });
    let others = [with(remove), with(collect)];
    read(&store, &kept);
    let written = writers.map(|thread| thread.join().unwrap());
    others.into_iter().for_each(|thread| thread.join().unwrap());
    let contents: Contents = (1..).zip(written).chain([(3, kept)]).collect();
    verify(&store, &contents, "after the race");
    let cut = disk.survivor(2);
    verify(&open(&cut, 0), &contents, "after a power cut");
    drop(store);
    // A start has a footer made for every pack, so that every one is collected.
    leaves_only_what_is_live(&open(&disk, 0), &contents);
}

/// Owners come and go while everybody looks who is there: nobody takes one that is being made or removed for damage.
fn come_and_go() {
    let disk = prepared().survivor(1);
    let store = open(&disk, 0);
    let (coming, collecting) = (store.clone(), store.clone());
    let come = thread::spawn(move || {
        for who in [6, 7] {
            coming.create(owner(who), b"new").unwrap();
        }
        for who in [4, 6, 5] {
            coming.remove(owner(who)).unwrap();
        }
    });
    let collect = thread::spawn(move || {
        collecting.account().unwrap();
        collecting.gc(ALL_DEAD).unwrap();
    });
    scrub(&store);
    for who in 3..8 {
        let told = store.head(owner(who));
        assert!(
            matches!(told, Ok(_) | Err(StoreError::UnknownOwner { .. } | StoreError::Busy { .. })),
            "{told:?}"
        );
        assert_eq!(store.check().findings, []);
    }
    come.join().unwrap();
    collect.join().unwrap();
    assert_eq!(store.owners(), [owner(3), owner(7)]);
}

/// Snapshots of owners that are made, cut and removed meanwhile hold what they were taken of, whatever is collected.
fn snapshots() {
    let disk = prepared().survivor(1);
    let store = open(&disk, 0);
    let (changing, collecting) = (store.clone(), store.clone());
    let change = thread::spawn(move || {
        // What owner 5 alone had comes to another one while it is collected, and is cut from it again.
        changing.remove(owner(5)).unwrap();
        changing.create(owner(6), b"").unwrap();
        let mut stream = changing.open_stream(owner(6)).unwrap();
        append(&mut stream, &text(1));
        stream.commit(b"").unwrap();
        stream.truncate(100).unwrap();
        stream.commit(b"").unwrap();
        drop(stream);
        changing.remove(owner(4)).unwrap();
        changing.remove(owner(6)).unwrap();
    });
    let collect = thread::spawn(move || collect(&collecting));
    let mut taken: Vec<(u8, Snapshot)> = Vec::new();
    for who in [5, 6, 4, 6, 6, 4] {
        taken.extend(store.snapshot(owner(who)).ok().map(|snapshot| (who, snapshot)));
        taken.iter_mut().for_each(holds);
    }
    change.join().unwrap();
    collect.join().unwrap();
    store.gc(ALL_DEAD).unwrap();
    taken.iter_mut().for_each(holds);
    drop((taken, store));
    let kept = [&text(0)[..TEXT_BYTES / 2], &text(2)].concat();
    leaves_only_what_is_live(&open(&disk, 0), &Contents::from([(3, kept)]));
}

fn holds((who, snapshot): &mut (u8, Snapshot)) {
    let length = snapshot.head().length;
    let whole = text(if *who == 4 { 0 } else { 1 });
    assert!(*who == 6 || length == TEXT_BYTES as u64, "owner {who} was whole or not there");
    let found = snapshot.read(0, length).unwrap().concat();
    assert!(found == whole[..length as usize], "the snapshot of owner {who} is not what it was taken of");
}

/// A pass of the scrub, to its end.
fn scrub(store: &Store) {
    let mut scrubber = store.scrubber().unwrap();
    scrubber.begin(1000);
    let ended = (0..10_000).any(|_| match scrubber.step(2000) {
        ScrubStep::Damage => panic!("the scrub found damage: {:?}", store.scrub_findings()),
        ScrubStep::Finished(pass) => {
            assert_eq!(pass.damaged, 0);
            true
        }
        ScrubStep::Read(_) | ScrubStep::Idle => false,
    });
    assert!(ended, "the pass does not end");
    assert!(store.scrub_findings().is_empty(), "{:?}", store.scrub_findings());
}

fn verify(store: &Store, contents: &Contents, when: &str) {
    for (who, bytes) in contents {
        let found = observe(store, *who).unwrap();
        assert!(found.bytes == *bytes, "{when}: owner {who} does not hold what it committed");
    }
    assert_eq!(store.owners().len(), contents.len(), "{when}");
    assert_eq!(store.check().findings, [], "{when}");
}

fn leaves_only_what_is_live(store: &Store, contents: &Contents) {
    let report = store.gc(ALL_DEAD).unwrap();
    assert_eq!((report.skipped, report.reclaimable_bytes), (0, 0), "{report:?}");
    verify(store, contents, "after the last collection");
    let again = store.gc(ALL_DEAD).unwrap();
    assert_eq!((again.removed, again.rewritten, again.reclaimable_bytes), (0, 0, 0), "{again:?}");
    for who in contents.keys() {
        store.remove(owner(*who)).unwrap();
    }
    store.gc(ALL_DEAD).unwrap();
    let stats = store.stats();
    assert_eq!((stats.packs, stats.chunks, stats.stored_bytes), (0, 0, 0), "{stats:?}");
}

fn schedule(scheduler: impl Scheduler + 'static, work: impl Fn() + Send + Sync + 'static) {
    let mut config = Config::new();
    // Compression and hashing want more than the library's usual stack.
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(2_000_000);
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(work);
}

/// Schedules of a test.
fn schedules(usual: u64) -> usize {
    cases(usual) as usize
}

#[test]
fn in_random_schedules_a_collection_takes_nothing_that_is_needed_and_leaves_nothing_else() {
    prepared();
    schedule(RandomScheduler::new_from_seed(11, schedules(300)), || race(0));
}

/// Threads run as far as they can, and change at a few places only: the schedules in which few steps meet, found with a known probability
/// (Burckhardt and others 2010).
#[test]
fn in_schedules_of_few_changes_a_collection_takes_nothing_that_is_needed_and_leaves_nothing_else() {
    prepared();
    for (seed, changes) in [(21, 2), (22, 3), (23, 5)] {
        schedule(PctScheduler::new_from_seed(seed, changes, schedules(100)), || race(0));
    }
}

#[test]
fn beside_worker_threads_a_collection_takes_nothing_that_is_needed_and_leaves_nothing_else() {
    prepared();
    schedule(RandomScheduler::new_from_seed(31, schedules(50)), || race(2));
    schedule(PctScheduler::new_from_seed(32, 3, schedules(50)), || race(2));
}

#[test]
fn an_owner_that_is_made_or_removed_meanwhile_is_no_damage_and_stops_no_collection() {
    prepared();
    schedule(RandomScheduler::new_from_seed(51, schedules(100)), come_and_go);
    schedule(PctScheduler::new_from_seed(52, 3, schedules(100)), come_and_go);
}

#[test]
fn a_snapshot_holds_what_it_was_taken_of_whatever_is_cut_removed_and_collected_meanwhile() {
    prepared();
    schedule(RandomScheduler::new_from_seed(61, schedules(200)), snapshots);
    for (seed, changes) in [(62, 2), (63, 4)] {
        schedule(PctScheduler::new_from_seed(seed, changes, schedules(150)), snapshots);
    }
}

/// What is found can be found again: nothing but the schedule decides what happens.
#[test]
fn the_same_schedule_is_the_same_run() {
    prepared();
    schedule(Twice::new(RandomScheduler::new_from_seed(41, 5)), || race(2));
}
