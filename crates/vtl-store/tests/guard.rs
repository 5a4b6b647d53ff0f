//! The guard: whatever is asked of the store, a guarded owner keeps what it has committed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{ROOT, Random, owner};
use vtl_durable::SimDisk;
use vtl_store::{GcRule, Options, Store, StoreError, Stream};

fn open(disk: &SimDisk) -> Store {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn append(stream: &mut Stream, bytes: &[u8]) {
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
}

/// Owner 1 with 40,000 bytes under the guard.
fn guarded(disk: &SimDisk) -> (Store, Vec<u8>) {
    let store = open(disk);
    store.create(owner(1), b"").unwrap();
    let bytes = noise(1, 40_000);
    let mut stream = store.open_stream(owner(1)).unwrap();
    append(&mut stream, &bytes);
    stream.guard(true);
    assert!(!stream.is_guarded(), "part of the next commit");
    stream.commit(b"").unwrap();
    assert!(stream.is_guarded());
    drop(stream);
    (store, bytes)
}

fn is_guarded<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Guarded { owner: who }) if who == owner(1))
}

#[test]
fn a_guarded_owner_is_not_removed_nor_cut_and_takes_more() {
    let (store, mut bytes) = guarded(&SimDisk::new(1));
    assert!(is_guarded(store.remove(owner(1))));
    let mut stream = store.open_stream(owner(1)).unwrap();
    assert!(is_guarded(stream.truncate(39_999)));
    assert!(is_guarded(stream.truncate(0)));
    append(&mut stream, b"not committed");
    stream.truncate(40_000).unwrap();
    let more = noise(2, 5_000);
    append(&mut stream, &more);
    stream.commit(b"").unwrap();
    bytes.extend(&more);
    assert!(is_guarded(stream.truncate(44_999)), "what came later is kept, too");
    assert_eq!(stream.read(0, 45_000).unwrap().concat(), bytes);
}

#[test]
fn the_guard_survives_a_restart_and_a_power_cut_and_goes_when_a_commit_says_so() {
    let disk = SimDisk::new(1);
    let (store, bytes) = guarded(&disk);
    drop(store);
    let store = open(&disk);
    assert!(is_guarded(store.remove(owner(1))));
    let disk = disk.after_crash(3);
    drop(store);
    let store = open(&disk);
    assert!(is_guarded(store.remove(owner(1))));
    let mut stream = store.open_stream(owner(1)).unwrap();
    assert_eq!(stream.read(0, 40_000).unwrap().concat(), bytes);
    stream.guard(false);
    assert!(is_guarded(stream.truncate(1)), "not before the commit");
    stream.commit(b"").unwrap();
    stream.truncate(1).unwrap();
    stream.commit(b"").unwrap();
    drop(stream);
    store.remove(owner(1)).unwrap();
}

#[test]
fn a_power_cut_while_the_guard_is_put_on_leaves_the_commit_with_the_guard_or_neither() {
    let mut ends = [0, 0];
    for step in 0..60 {
        let disk = SimDisk::new(step);
        let store = open(&disk);
        store.create(owner(1), b"").unwrap();
        let mut stream = store.open_stream(owner(1)).unwrap();
        append(&mut stream, &noise(1, 3_000));
        disk.crash_at(disk.steps() + step);
        stream.guard(true);
        let done = stream.commit(b"with the guard").is_ok();
        drop(stream);
        drop(store);
        let crashed = disk.has_crashed();
        disk.crash_at(u64::MAX);
        let disk = if crashed { disk.after_crash(step) } else { disk };
        let store = open(&disk);
        let stream = store.open_stream(owner(1)).unwrap();
        let committed = store.head(owner(1)).unwrap().length == 3_000;
        assert_eq!(stream.is_guarded(), committed, "step {step}");
        assert!(committed || !done, "step {step}");
        ends[usize::from(committed)] += 1;
    }
    assert!(ends.iter().all(|count| *count > 0), "both were seen: {ends:?}");
}

#[test]
fn a_collection_and_a_repair_leave_what_a_guarded_owner_has() {
    let disk = SimDisk::new(1);
    let (store, bytes) = guarded(&disk);
    // Another owner with the same content goes, and with it whatever only it needed.
    store.create(owner(2), b"").unwrap();
    let mut stream = store.open_stream(owner(2)).unwrap();
    append(&mut stream, &bytes);
    append(&mut stream, &noise(3, 40_000));
    stream.commit(b"").unwrap();
    drop(stream);
    store.remove(owner(2)).unwrap();
    assert!(is_guarded(store.remove(owner(1))));
    let report = store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    assert!(report.freed_bytes >= 40_000, "{report:?}");
    store.repair().unwrap();
    store.rebuild_index().unwrap();
    assert!(store.check().findings.is_empty());
    let mut stream = store.open_stream(owner(1)).unwrap();
    assert_eq!(stream.read(0, 40_000).unwrap().concat(), bytes);
}
