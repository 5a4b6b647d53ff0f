//! The memory ceiling, the modes that it makes, and several threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Random, STORE, open};
use crate::index::{Index, IndexMode, IndexOptions, Place};
use vtl_durable::{Disk, RealDisk, SimDisk};

const MIB: usize = 1 << 20;

/// A fingerprint of random bytes; quicker to make than a real one.
fn quick(n: u64) -> [u8; 32] {
    let mut random = Random(n.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut bytes = [0; 32];
    bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next().to_be_bytes()));
    bytes
}

fn chunks(pack: u64, count: u16) -> Vec<(u16, [u8; 32])> {
    (0..count).map(|chunk| (chunk, quick(pack << 16 | u64::from(chunk)))).collect()
}

fn open_real(folder: &Path, memory_bytes: usize) -> Index {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    Index::open(disk, folder, STORE, IndexOptions { memory_bytes, ..IndexOptions::default() }).unwrap()
}

fn open_steps(disk: &SimDisk, memory_bytes: usize) -> Index {
    let options = IndexOptions { memory_bytes, ..IndexOptions::default() };
    Index::open(Arc::new(disk.clone()), Path::new("/index"), STORE, options).unwrap()
}

/// How many of 2000 lookups of known chunks find theirs; every answer must be right.
fn found(index: &Index, packs: u64, count: u16) -> usize {
    let mut random = Random(packs);
    let right = |_: &u32| {
        let (pack, chunk) = (random.below(packs), random.below(u64::from(count)) as u16);
        let answer = index.lookup(&quick(pack << 16 | u64::from(chunk)));
        assert!(answer.is_none_or(|place| place == Place { pack, chunk }), "{answer:?}");
        answer.is_some()
    };
    (0..2000).filter(right).count()
}

fn misses(index: &Index) {
    assert!((0..2000).all(|n| index.lookup(&quick(u64::MAX - n)).is_none()));
}

/// More with `VTL_LONG=1`: unoptimized, a million chunks take a minute.
fn packs(short: u64, long: u64) -> u64 {
    if super::long() { long } else { short }
}

/// Thousands of chunks for each pack under a ceiling, with and without background work.
fn fill(memory: usize, packs: u64, compact: bool) {
    const COUNT: u16 = 4000;
    let folder = tempfile::tempdir().unwrap();
    let index = open_real(&folder.path().join("index"), memory);
    for pack in 0..packs {
        index.insert(pack, &chunks(pack, COUNT));
        index.pack_complete(pack);
        if compact && pack % 16 == 15 {
            index.flush().unwrap();
            while index.compact_step().unwrap() {}
        }
        if pack % 64 == 0 {
            found(&index, pack + 1, COUNT);
        }
        assert!(index.memory_bytes() <= memory);
    }
    index.flush().unwrap();
    while index.compact_step().unwrap() {}
    misses(&index);
    let hits = found(&index, packs, COUNT);
    let stats = index.stats();
    assert!(stats.memory_peak <= memory, "{stats:?}");
    assert_eq!((stats.no_memory, stats.dropped), (0, 0), "{stats:?}");
    assert!((0..packs).all(|pack| index.covers(pack)));
    match stats.mode {
        // At two chunks for each byte the samples are 1 of 256.
        IndexMode::Samples => assert!(hits > 0, "{stats:?}"),
        _ => assert_eq!(hits, 2000, "{stats:?}"),
    }
    drop(index);
    let index = open_real(&folder.path().join("index"), memory);
    assert!((0..packs).all(|pack| index.covers(pack)));
    assert_eq!(found(&index, packs, COUNT), hits, "after a start");
    assert!(index.stats().memory_peak <= memory);
}

#[test]
fn a_ceiling_of_1_mib_holds_for_millions_of_chunks() {
    fill(MIB, packs(100, 500), true);
}

#[test]
fn a_ceiling_holds_when_nobody_calls_background_work() {
    fill(MIB, packs(60, 250), false);
}

#[test]
fn a_ceiling_of_2_mib_holds_for_a_million_chunks() {
    fill(2 * MIB, packs(100, 250), true);
}

#[test]
fn a_ceiling_of_64_mib_keeps_a_million_chunks_in_memory() {
    fill(64 * MIB, packs(150, 250), true);
}

#[test]
fn modes_follow_what_the_memory_allows() {
    for (memory, packs, mode) in
        [(32 * MIB, 60, IndexMode::Memory), (2 * MIB, 60, IndexMode::Filters), (MIB, 120, IndexMode::Samples)]
    {
        let disk = SimDisk::new(1);
        let index = open_steps(&disk, memory);
        (0..packs).for_each(|pack| index.insert(pack, &chunks(pack, 4000)));
        index.flush().unwrap();
        while index.compact_step().unwrap() {}
        assert_eq!(index.stats().mode, mode, "{:?}", index.stats());
        let before = index.stats().pages_read;
        found(&index, packs, 4000);
        let read = index.stats().pages_read - before;
        assert!(if mode == IndexMode::Memory { read == 0 } else { read <= 2100 }, "{read}");
    }
}

#[test]
fn in_the_sampling_mode_what_was_forgotten_stays_forgotten() {
    let disk = SimDisk::new(1);
    let index = open_steps(&disk, MIB);
    (0..120).for_each(|pack| index.insert(pack, &chunks(pack, 4000)));
    index.flush().unwrap();
    while index.compact_step().unwrap() {}
    assert_eq!(index.stats().mode, IndexMode::Samples);
    let known: Vec<_> = (0..120_u64)
        .flat_map(|pack| chunks(pack, 4000).into_iter().map(move |(chunk, key)| (key, Place { pack, chunk })))
        .filter(|(key, place)| index.lookup(key) == Some(*place))
        .collect();
    assert!(known.len() > 2000, "{}", known.len());
    known.iter().for_each(|(key, place)| index.forget(key, *place));
    for round in 0..3 {
        assert!(known.iter().all(|(key, _)| index.lookup(key).is_none()), "round {round}");
        (0..30)
            .for_each(|pack| index.insert(1000 + round * 30 + pack, &chunks(1000 + round * 30 + pack, 4000)));
        index.flush().unwrap();
        while index.compact_step().unwrap() {}
    }
}

#[test]
fn threads_insert_look_up_flush_merge_and_forget_at_the_same_time() {
    const PACKS: u64 = 60;
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB + MIB / 2);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|lane| {
                let index = &index;
                scope.spawn(move || {
                    for pack in (0..PACKS).filter(|pack| pack % 2 == lane) {
                        index.insert(pack, &chunks(pack, 1500));
                        index.pack_complete(pack);
                        index.forget(&quick(pack << 16), Place { pack, chunk: 0 });
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                index.flush().unwrap();
                index.compact_step().unwrap();
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                found(&index, PACKS, 1500);
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        stop.store(true, Ordering::Relaxed);
    });
    index.flush().unwrap();
    assert!((0..PACKS).all(|pack| index.covers(pack)));
    for pack in 0..PACKS {
        assert_eq!(index.lookup(&quick(pack << 16)), None);
        let answer = index.lookup(&quick(pack << 16 | 7));
        assert_eq!(answer, Some(Place { pack, chunk: 7 }));
    }
    assert!(index.stats().memory_peak <= MIB + MIB / 2);
}

#[test]
fn keys_that_somebody_chose_to_be_alike_are_answered_all_the_same() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    let alike = |n: u64| {
        let mut bytes = [0xff; 32];
        bytes[8..16].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        bytes
    };
    let all: Vec<_> = (0..20_000_u16).map(|n| (n, alike(u64::from(n)))).collect();
    index.insert(1, &all);
    index.flush().unwrap();
    while index.compact_step().unwrap() {}
    for (chunk, fingerprint) in all.iter().step_by(37) {
        assert_eq!(index.lookup(fingerprint), Some(Place { pack: 1, chunk: *chunk }));
    }
    assert_eq!(index.lookup(&alike(30_000)), None);
}
