//! What is stored adds up, and what an owner is told to have for itself is what its removal frees.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{Op, ROOT, Random, Run, cases, encrypted, owner, script};
use vtl_durable::SimDisk;
use vtl_store::{GcRule, Options, Share, Store, StoreError};

const ALL_DEAD: GcRule = GcRule { dead_percent: 1, rewrite_bytes: u64::MAX };

/// Lengths of all pack files.
fn physical(disk: &SimDisk) -> u64 {
    let packs = disk.files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack"));
    packs.map(|file| disk.contents(&file).unwrap().len() as u64).sum()
}

/// What came for all owners that there are.
fn arrived(store: &Store) -> u64 {
    store.owners().into_iter().map(|owner| store.usage(owner).unwrap().arrived_bytes).sum()
}

fn adds_up(store: &Store, gone: u64, what: &str) {
    let stats = store.stats();
    let sum = stats.arrived_bytes.cast_signed() + stats.metadata_bytes.cast_signed() - stats.reclaimed_bytes;
    assert_eq!(sum, stats.stored_bytes.cast_signed(), "{what}: {stats:?}");
    assert_eq!(stats.arrived_bytes, arrived(store) + gone, "{what}: {stats:?}");
}

#[test]
fn what_arrived_and_metadata_less_what_was_reclaimed_is_what_lies_there_to_the_byte() {
    let mut collected = 0;
    for seed in 0..cases(4) {
        let plain = Options { segment_bytes: 24 << 10, ..Options::small() };
        let options = if seed % 2 == 0 { plain } else { encrypted(&plain) };
        let mut run = Run::new(SimDisk::new(seed), options);
        run.open().unwrap();
        let mut gone = 0;
        for (number, op) in script(300 + seed, 3, 300, 7000).iter().enumerate() {
            let what = format!("seed {seed}, step {number}, {op:.0?}");
            let store = run.store.clone().unwrap();
            // What is closed uncommitted stays in packs until the next start, and is not counted.
            let dirty = matches!(op, Op::Append(..) | Op::Truncate(..));
            if let Op::Remove(who) = op {
                gone += store.usage(owner(*who)).map_or(0, |usage| usage.arrived_bytes);
            }
            let before = store.stats();
            drop(store);
            run.step(op).unwrap();
            if let (true, Op::Append(who, ..) | Op::Truncate(who, _)) = (dirty, op) {
                run.step(&Op::Commit(*who, vec![1])).unwrap();
            }
            let store = run.store.clone().unwrap();
            adds_up(&store, gone, &what);
            let stats = store.stats();
            assert_eq!(stats.stored_bytes, physical(&run.disk), "{what}");
            if matches!(op, Op::Reopen) {
                // What the counters said is what was found.
                assert_eq!(
                    (stats.arrived_bytes, stats.reclaimed_bytes),
                    (before.arrived_bytes, before.reclaimed_bytes),
                    "{what}"
                );
            }
        }
        collected += run.store.as_ref().unwrap().stats().reclaimed_bytes;
    }
    assert!(collected > 10_000, "hardly anything was collected");
}

#[test]
fn what_is_given_up_uncommitted_is_not_counted_and_gone_with_the_next_start() {
    for seed in 0..cases(4) {
        let mut run = Run::new(SimDisk::new(seed), Options::small());
        run.open().unwrap();
        let mut gone = 0;
        for (number, op) in script(400 + seed, 3, 200, 7000).iter().enumerate() {
            if let Op::Remove(who) = op {
                gone += run.store.as_ref().unwrap().usage(owner(*who)).map_or(0, |usage| usage.arrived_bytes);
            }
            run.step(op).unwrap();
            let store = run.store.clone().unwrap();
            adds_up(&store, gone, &format!("seed {seed}, step {number}"));
            assert!(store.stats().stored_bytes <= physical(&run.disk));
        }
        let before = run.store.as_ref().unwrap().stats();
        run.disk = run.disk.after_crash(seed);
        run.open().unwrap();
        let store = run.store.clone().unwrap();
        adds_up(&store, gone, "after a power cut");
        assert_eq!(store.stats().stored_bytes, physical(&run.disk));
        assert_eq!(store.stats().arrived_bytes, before.arrived_bytes);
        assert_eq!(store.stats().reclaimed_bytes, before.reclaimed_bytes);
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Content that becomes a fifth of its length.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len / 40 + 1).flat_map(|_| random.next().to_le_bytes().repeat(5)).take(len).collect()
}

fn open(disk: &SimDisk) -> Store {
    // Long enough for what several owners bring.
    let options = Options { pack_bytes: 64 << 10, ..Options::small() };
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap()
}

/// Each part in a commit of its own, so that its regions are its own.
fn write(store: &Store, who: u8, parts: &[&[u8]]) {
    store.create(owner(who), b"").unwrap();
    parts.iter().for_each(|part| append(store, who, part));
}

fn append(store: &Store, who: u8, part: &[u8]) {
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::copy_from_slice(part)], true).unwrap();
    stream.commit(b"").unwrap();
}

fn share(store: &Store, who: u8) -> Share {
    store.usage(owner(who)).unwrap().share.unwrap()
}

#[test]
fn what_an_owner_has_to_itself_is_what_its_removal_frees() {
    for make in [noise, text] {
        for len in [2500, 30_000] {
            let disk = SimDisk::new(1);
            let store = open(&disk);
            // Rewriting leaves the padding of commits out, whoever made it necessary: what others need lies between things that are dead
            // before the counting begins.
            let (first, common, last) = (make(2, len), make(3, 3000), make(4, len));
            write(&store, 1, &[&first]);
            write(&store, 3, &[&noise(1, 1500)]);
            append(&store, 1, &common);
            append(&store, 3, &noise(6, 1500));
            append(&store, 1, &last);
            write(&store, 2, &[&common, &make(5, 700)]);
            drop(store);
            let store = open(&disk);
            store.remove(owner(3)).unwrap();
            assert!(store.gc(ALL_DEAD).unwrap().rewritten > 0);
            store.account().unwrap();
            let (one, two, stats) = (share(&store, 1), share(&store, 2), store.stats());
            assert_eq!(stats.reclaimable_bytes, 0);
            assert!(
                one.exclusive_bytes > 0 && two.exclusive_bytes > 0 && two.shared_bytes > 0,
                "{one:?} {two:?} {stats:?}"
            );
            store.remove(owner(1)).unwrap();
            assert!(matches!(store.usage(owner(1)), Err(StoreError::UnknownOwner { .. })));
            let freed = store.gc(ALL_DEAD).unwrap().freed_bytes;
            assert_eq!(freed, one.exclusive_bytes, "{len}");
            assert_eq!(
                share(&store, 2),
                Share { exclusive_bytes: store.stats().stored_bytes, shared_bytes: 0 }
            );
            assert_eq!(physical(&disk), store.stats().stored_bytes);
        }
    }
}

#[test]
fn what_one_owner_has_and_what_nobody_needs_is_all_there_is() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    write(&store, 1, &[&noise(1, 20_000), &text(2, 20_000), &noise(3, 5000)]);
    let mut stream = store.open_stream(owner(1)).unwrap();
    assert_eq!(store.usage(owner(1)).unwrap().share, None, "nobody has looked");
    stream.truncate(15_000).unwrap();
    stream.commit(b"").unwrap();
    let before = store.usage(owner(1)).unwrap();
    drop((stream, store));
    let store = open(&disk);
    store.account().unwrap();
    let (usage, stats) = (store.usage(owner(1)).unwrap(), store.stats());
    assert_eq!((usage.logical_bytes, usage.arrived_bytes), (15_000, before.arrived_bytes));
    let share = usage.share.unwrap();
    assert!(stats.reclaimable_bytes > 5000 && share.exclusive_bytes > 15_000, "{usage:?} {stats:?}");
    assert_eq!(share.exclusive_bytes + stats.reclaimable_bytes, stats.stored_bytes);
    assert_eq!(share.shared_bytes, 0);
    // An accounting frees nothing, and says what a collection then says.
    assert_eq!(physical(&disk), stats.stored_bytes);
    let report = store.gc(GcRule { dead_percent: 100, ..ALL_DEAD }).unwrap();
    assert_eq!(report.freed_bytes + report.reclaimable_bytes, stats.reclaimable_bytes);
}

#[test]
fn content_that_all_have_belongs_to_none_and_costs_only_the_first() {
    let store = open(&SimDisk::new(1));
    let bytes = noise(1, 40_000);
    (1..=3).for_each(|who| write(&store, who, &[&bytes]));
    let came: BTreeMap<u8, u64> =
        (1..=3).map(|who| (who, store.usage(owner(who)).unwrap().arrived_bytes)).collect();
    assert!(came[&1] > 40_000 && came[&2] == 0 && came[&3] == 0, "{came:?}");
    store.account().unwrap();
    for who in 1..=3 {
        let Share { exclusive_bytes, shared_bytes } = share(&store, who);
        assert_eq!(exclusive_bytes, 0);
        assert_eq!(shared_bytes, store.stats().stored_bytes);
    }
    store.remove(owner(1)).unwrap();
    store.remove(owner(2)).unwrap();
    store.account().unwrap();
    assert_eq!(share(&store, 3), Share { exclusive_bytes: store.stats().stored_bytes, shared_bytes: 0 });
}

#[test]
fn what_is_written_and_not_committed_yet_counts_against_the_size_of_a_pool() {
    let disk = SimDisk::new(1);
    let size = 120_000;
    let options = Options { size_bytes: Some(size), ..Options::small() };
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    let mut refused = false;
    for part in 0..100 {
        match stream.append(&[Bytes::from(noise(part, 5000))], false) {
            Ok(()) => {
                drop(stream.read(stream.len() - 1, 1).unwrap());
                assert_eq!(store.free_bytes(), size.saturating_sub(physical(&disk)), "part {part}");
            }
            Err(StoreError::Full { .. }) => {
                refused = true;
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    // Header, footer and padding of one pack come on top.
    assert!(refused && physical(&disk) <= size + (12 << 10), "{} bytes are written", physical(&disk));
    stream.commit(b"").unwrap();
}
