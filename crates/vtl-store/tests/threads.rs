//! Several streams at once on a real file system.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::{Random, cases, encrypted, observe, owner};
use vtl_durable::{Fault, RealDisk, SimDisk};
use vtl_store::{GcRule, Options, Store};

fn options() -> Options {
    Options { workers: 2, readahead_regions: 3, segment_bytes: 64 << 10, ..Options::small() }
}

/// One thread's life: appends, cuts, reads and commits; what it has committed at the end.
fn live(store: &Store, number: u8, rounds: u64) -> (Vec<u8>, u64) {
    let mut random = Random(u64::from(number));
    let mut stream = store.open_stream(owner(number)).unwrap();
    let mut bytes = Vec::new();
    for round in 0..rounds {
        let len = random.below(30_000) as usize;
        let data = random.bytes(len);
        stream.append(&[Bytes::from(data.clone())], random.below(2) == 0).unwrap();
        bytes.extend_from_slice(&data);
        if random.below(5) == 0 {
            let to = random.below(bytes.len() as u64 + 1);
            stream.truncate(to).unwrap();
            bytes.truncate(to as usize);
        }
        if random.below(3) == 0 && !bytes.is_empty() {
            let from = random.below(bytes.len() as u64);
            let len = random.below(bytes.len() as u64 - from + 1);
            assert_eq!(stream.read(from, len).unwrap().concat(), bytes[from as usize..(from + len) as usize]);
        }
        stream.commit(&round.to_le_bytes()).unwrap();
    }
    (bytes, rounds)
}

#[test]
fn four_streams_commit_together_while_a_check_runs() {
    four_streams(&options());
}

#[test]
fn four_streams_of_an_encrypted_pool_commit_together_while_a_check_runs() {
    four_streams(&encrypted(&options()));
}

fn four_streams(options: &Options) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pool");
    let store = Store::open(Arc::new(RealDisk::new()), &root, options.clone()).unwrap();
    (0..4).for_each(|number| store.create(owner(number), &[number]).unwrap());
    let stop = AtomicBool::new(false);
    let lived: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                scope.spawn({
                    let store = &store;
                    move || live(store, number, cases(40))
                })
            })
            .collect();
        let checker = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                assert_eq!(store.check().findings, []);
                store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
                store.create(owner(9), b"").unwrap();
                store.remove(owner(9)).unwrap();
                assert!(store.stats().logical_bytes <= store.stats().stored_bytes + (1 << 30));
            }
        });
        let lived = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        checker.join().unwrap();
        lived
    });
    drop(store);
    let store = Store::open(Arc::new(RealDisk::new()), &root, options.clone()).unwrap();
    assert_eq!(store.owners().len(), 4);
    for (number, (bytes, rounds)) in lived.iter().enumerate() {
        let content = observe(&store, number as u8).unwrap();
        assert_eq!(&content.bytes, bytes);
        assert_eq!(content.deltas.len() as u64, *rounds);
        assert_eq!(content.snapshot, [number as u8]);
    }
}

#[test]
fn files_of_a_pool_are_for_the_service_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pool");
    let store = Store::open(Arc::new(RealDisk::new()), &root, Options::default()).unwrap();
    store.create(owner(1), b"x").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.append(&[Bytes::from(vec![1; 700_000])], true).unwrap();
    stream.commit(b"d").unwrap();
    drop((stream, store));
    let (mut todo, mut files) = (vec![root], 0);
    while let Some(path) = todo.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            todo.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
            files += 1;
        }
    }
    assert_eq!(
        files, 10,
        "lock, pool, journal, head and its mark, pack and what packs remember, two of the index, place of the scrub"
    );
}

/// A pool of some hundred packs of noise, closed.
fn many_packs(disk: &SimDisk, options: &Options) -> Vec<u8> {
    let store = Store::open(Arc::new(disk.clone()), Path::new("/pool"), options.clone()).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    let bytes = Random(5).bytes_of_noise(700_000);
    stream.append(&[Bytes::from(bytes.clone())], false).unwrap();
    stream.commit(b"d").unwrap();
    assert!(store.stats().packs > 100, "{:?}", store.stats());
    bytes
}

fn small_packs() -> Options {
    Options { workers: 0, pack_bytes: 4096, segment_bytes: 64 << 10, ..Options::small() }
}

#[test]
fn a_start_with_threads_finds_what_a_start_without_finds() {
    let disk = SimDisk::new(1);
    let bytes = many_packs(&disk, &small_packs());
    let start = |workers| {
        let options = Options { workers, ..small_packs() };
        let store = Store::open(Arc::new(disk.clone()), Path::new("/pool"), options).unwrap();
        assert_eq!(observe(&store, 1).unwrap().bytes, bytes);
        assert_eq!(store.check().findings, []);
        vtl_store::Stats { memory_bytes: 0, ..store.stats() }
    };
    let alone = start(0);
    assert_eq!(start(2), alone);
}

#[test]
fn a_read_that_fails_in_a_start_with_threads_loses_nothing() {
    let disk = SimDisk::new(2);
    let bytes = many_packs(&disk, &small_packs());
    let options = Options { workers: 2, ..small_packs() };
    let begin = disk.calls();
    drop(Store::open(Arc::new(disk.clone()), Path::new("/pool"), options.clone()).unwrap());
    let calls = disk.calls() - begin;
    let mut refused = 0;
    for call in (0..cases(16)).map(|n| n * calls / cases(16)) {
        disk.fail_call(disk.calls() + call, Fault::Eio);
        // A pack without a table is no reason to refuse; anything else says what failed.
        if let Err(error) = Store::open(Arc::new(disk.clone()), Path::new("/pool"), options.clone()) {
            assert!(error.to_string().contains("/pool"), "{error}");
            refused += 1;
        }
        disk.heal();
        let store = Store::open(Arc::new(disk.clone()), Path::new("/pool"), options.clone()).unwrap();
        assert_eq!(observe(&store, 1).unwrap().bytes, bytes);
    }
    assert!(refused > 4, "{refused}");
}
