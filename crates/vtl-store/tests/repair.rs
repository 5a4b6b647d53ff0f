//! The power is cut, and the disk fails, at every step of a repair.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{ROOT, Random, cases, owner};
use vtl_durable::{Fault, SimDisk};
use vtl_store::{GcRule, Health, LostChunk, Options, PutBack, ReadError, Store};

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn open(disk: &SimDisk, start_random: u64) -> Store {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options { start_random, ..Options::small() })
        .unwrap()
}

fn write(store: &Store, who: u8, bytes: &[u8]) {
    store.create(owner(who), b"").unwrap();
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
    stream.commit(b"").unwrap();
}

/// Reads all in small steps, each the right bytes or an error; bytes that cannot be read.
fn lost(store: &Store, who: u8, right: &[u8], what: &str) -> usize {
    let mut stream = store.open_stream(owner(who)).unwrap();
    assert_eq!(stream.len(), right.len() as u64, "{what}");
    let mut lost = 0;
    for at in (0..right.len()).step_by(256) {
        let end = (at + 256).min(right.len());
        match stream.read(at as u64, (end - at) as u64) {
            Ok(found) => assert_eq!(found.concat(), right[at..end], "{what}, owner {who}"),
            Err(ReadError::Damaged { .. }) => lost += end - at,
            Err(error) => panic!("{what}: {error}"),
        }
    }
    lost
}

/// Owner 1 has damaged chunks in two packs and others whose content nobody else has; owner 2 has brought the content of the former anew,
/// owner 3 shares what is whole.
struct Damaged {
    disk: SimDisk,
    first: Vec<u8>,
    again: Vec<u8>,
}

/// So many bytes of the first owner's come again.
const AGAIN: usize = 30_000;

fn damaged() -> Damaged {
    let disk = SimDisk::new(1);
    let store = open(&disk, 1);
    let first = noise(7, 40_000);
    write(&store, 1, &first);
    drop(store);
    let mut packs: Vec<_> =
        disk.files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack")).collect();
    packs.sort();
    assert!(packs.len() > 3, "{packs:?}");
    // Content in the first two and the last, and a header of a region.
    for (pack, byte) in [(0, 5000), (0, 9000), (1, 6500), (packs.len() - 1, 5000), (1, 4100)] {
        disk.flip_bit(&packs[pack], byte, 3);
    }
    let store = open(&disk, 2);
    assert!(!store.check().findings.is_empty());
    let again = first[..AGAIN].to_vec();
    write(&store, 2, &again);
    write(&store, 3, &first[..8000]);
    drop(store);
    Damaged { disk, first, again }
}

/// After any cut: nobody has less than before, and a repair that is left alone brings all back whose content is there.
fn ends_well(of: &Damaged, store: &Store, before: usize, what: &str) {
    assert!(lost(store, 1, &of.first, what) <= before, "{what}: a repair cost something");
    assert_eq!(lost(store, 2, &of.again, what), 0, "{what}");
    assert_eq!(lost(store, 3, &of.first[..8000], what), 0, "{what}");
    // What was remembered as damaged may have been forgotten with the cut: a check finds it again.
    store.check();
    let report = store.repair().unwrap();
    let left = lost(store, 1, &of.first, what);
    let mut stream = store.open_stream(owner(1)).unwrap();
    let healed =
        stream.read(0, AGAIN as u64 - 1024).unwrap_or_else(|error| panic!("{what}: {report:?}, {error}"));
    assert_eq!(healed.concat(), of.first[..AGAIN - 1024], "{what}");
    drop(stream);
    let findings = store.check().findings;
    assert!(findings.iter().all(|finding| finding.owner == owner(1)), "{what}: {findings:?}");
    assert_eq!(findings.is_empty(), left == 0, "{what}");
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    assert_eq!(lost(store, 1, &of.first, what), left, "{what}: a collection took something");
    assert_eq!(lost(store, 2, &of.again, what), 0, "{what}");
}

#[test]
fn a_power_cut_before_each_step_of_a_repair_costs_nobody_anything_and_the_next_repair_ends_it() {
    for seed in 0..cases(3) {
        let of = damaged();
        let store = open(&of.disk, 3);
        let before = lost(&store, 1, &of.first, "before");
        of.disk.watch(seed);
        let report = store.repair().unwrap();
        assert!(report.healed >= 3 && report.lost > 0, "{report:?}");
        let cuts = of.disk.take_watched();
        assert!(cuts.len() > 20, "{}", cuts.len());
        for (number, disk) in cuts.into_iter().enumerate() {
            let what = format!("seed {seed}, cut {number}");
            ends_well(&of, &open(&disk, 4), before, &what);
            // And so it is after another cut.
            ends_well(&of, &open(&disk.after_crash(seed), 5), before, &format!("{what}, again"));
        }
    }
}

#[test]
fn a_chunk_that_one_repair_left_out_is_put_back_between_its_neighbours_by_the_next() {
    let disk = SimDisk::new(1);
    let store = open(&disk, 1);
    let first = noise(7, 10_000);
    write(&store, 1, &first);
    drop(store);
    let pack =
        disk.files().into_iter().find(|file| file.extension().is_some_and(|end| end == "pack")).unwrap();
    [5000, 5600].into_iter().for_each(|byte| disk.flip_bit(&pack, byte, 3));
    let store = open(&disk, 2);
    let before = lost(&store, 1, &first, "before");
    let findings = store.check().findings;
    assert_eq!(findings.len(), 2);
    // Both are in one region. The one behind comes back first: the pack is written anew without the other.
    let from = findings[1].range.start as usize;
    assert!(findings[0].range.start > 0 && from < 2048, "{findings:?}");
    write(&store, 2, &first[from..]);
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.lost), (1, 1));
    assert!(lost(&store, 1, &first, "half") < before);
    write(&store, 3, &first);
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.lost), (1, 0));
    assert_eq!(lost(&store, 1, &first, "all"), 0);
    assert_eq!(lost(&open(&disk.after_crash(3), 3), 1, &first, "all, after a start"), 0);
}

/// A pool of one owner whose first pack has a wrong bit in its first region, and in the next one bytes that cannot be read now.
fn wrong_and_unreadable(first: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    write(&open(&disk, 1), 1, first);
    let pack =
        disk.files().into_iter().find(|file| file.extension().is_some_and(|end| end == "pack")).unwrap();
    disk.flip_bit(&pack, 5000, 3);
    disk.fail_reads(&pack, 8300..8800);
    disk
}

#[test]
fn a_chunk_that_only_could_not_be_read_survives_a_repair_of_its_neighbour() {
    let first = noise(7, 40_000);
    let disk = wrong_and_unreadable(&first);
    let store = open(&disk, 2);
    let findings = store.check().findings;
    assert!(findings.len() > 1, "{findings:?}");
    // What is wrong comes again, and nothing of what cannot be read.
    let wrong = findings[0].range.end as usize;
    assert!(wrong <= findings[1].range.start as usize, "{findings:?}");
    write(&store, 2, &first[..wrong]);
    assert!(store.may_heal());
    for _ in 0..2 {
        let report = store.repair().unwrap();
        assert_eq!((report.healed, report.readable), (0, 0), "{report:?}");
    }
    disk.heal();
    let damaged = findings[0].range.end - findings[0].range.start;
    assert!(lost(&store, 1, &first, "the path is back") < damaged as usize + 512);
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.lost), (1, 0), "{report:?}");
    assert_eq!(report.readable, findings.len() as u64 - 1);
    assert_eq!(lost(&store, 1, &first, "after the repair"), 0);
    drop(store);
    assert_eq!(lost(&open(&disk.after_crash(3), 3), 1, &first, "after a start"), 0);
}

#[test]
fn what_cannot_be_read_is_put_back_when_all_of_its_region_has_come_again() {
    let first = noise(7, 40_000);
    let disk = wrong_and_unreadable(&first);
    let store = open(&disk, 2);
    let findings = store.check().findings.len() as u64;
    write(&store, 2, &first);
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.lost), (findings, 0), "{report:?}");
    assert_eq!(lost(&store, 1, &first, "the old file is not read any more"), 0);
}

#[test]
fn a_disk_that_fails_at_any_call_of_a_repair_costs_nobody_anything() {
    for fault in [Fault::Eio, Fault::Enospc] {
        for call in 0.. {
            let of = damaged();
            let store = open(&of.disk, 3);
            let before = lost(&store, 1, &of.first, "before");
            of.disk.fail_call(of.disk.calls() + call, fault);
            let outcome = store.repair();
            let failed = of.disk.has_failed();
            of.disk.heal();
            let what = format!("{fault:?} at call {call}: {outcome:?}");
            assert!(outcome.is_ok() || failed, "{what}");
            if store.health() == Health::Ok {
                ends_well(&of, &store, before, &what);
            }
            drop(store);
            ends_well(&of, &open(&of.disk.after_crash(call), 4), before, &format!("{what}, power cut"));
            if !failed {
                assert!(call > 20, "a repair makes hardly any calls");
                break;
            }
        }
    }
}

/// What the first owner lacks, with the bytes that somebody has of it.
fn brought(of: &Damaged, store: &Store) -> Vec<(LostChunk, Bytes)> {
    let chunks = store.lost(owner(1)).unwrap().chunks;
    let bytes = |chunk: &LostChunk| {
        Bytes::copy_from_slice(&of.first[chunk.range.start as usize..chunk.range.end as usize])
    };
    chunks.into_iter().map(|chunk| (chunk.clone(), bytes(&chunk))).collect()
}

/// After any cut: what is back is right, and the next time brings back the rest.
fn comes_back(of: &Damaged, store: &Store, before: usize, what: &str) {
    assert!(lost(store, 1, &of.first, what) <= before, "{what}: it cost something");
    store.check();
    store.put_back(brought(of, store)).unwrap();
    assert_eq!(lost(store, 2, &of.again, what), 0, "{what}");
    // Of a region whose header is lost no fingerprint is known.
    let left = store.lost(owner(1)).unwrap();
    assert!(
        left.chunks.is_empty() || left.chunks.iter().all(|chunk| chunk.range.end > 38_000),
        "{what}: {left:?}"
    );
}

#[test]
fn bytes_that_are_brought_are_taken_when_they_are_those_that_were_lost_and_no_others() {
    let of = damaged();
    let store = open(&of.disk, 3);
    let before = lost(&store, 1, &of.first, "before");
    let right = brought(&of, &store);
    assert!(right.len() > 3, "{right:?}");
    let told = store.lost(owner(1)).unwrap().bytes;
    assert!(told > 0 && told <= before as u64 + 1024, "{told} of {before}");
    let files =
        |disk: &SimDisk| disk.files().into_iter().map(|file| disk.contents(&file)).collect::<Vec<_>>();
    let untouched = files(&of.disk);
    let mut wrong = right.clone();
    for (number, (_, bytes)) in wrong.iter_mut().enumerate() {
        let mut other = bytes.to_vec();
        match number % 2 {
            0 => other[0] ^= 1,
            _ => drop(other.pop()),
        }
        *bytes = other.into();
    }
    let report = store.put_back(wrong).unwrap();
    assert_eq!((report.healed, report.other), (0, right.len() as u64), "{report:?}");
    assert!(files(&of.disk) == untouched, "nothing is written");

    let report = store.put_back(right.clone()).unwrap();
    assert_eq!((report.healed, report.other), (right.len() as u64, 0), "{report:?}");
    assert_eq!(store.put_back(right).unwrap(), PutBack::default(), "it is back already");
    let after = lost(&store, 1, &of.first, "after");
    assert!(after < before);
    assert_eq!(lost(&open(&of.disk.after_crash(3), 4), 1, &of.first, "after a start"), after);
}

#[test]
fn a_power_cut_before_each_step_of_putting_back_costs_nobody_anything() {
    for seed in 0..cases(2) {
        let of = damaged();
        let store = open(&of.disk, 3);
        let before = lost(&store, 1, &of.first, "before");
        let all = brought(&of, &store);
        of.disk.watch(seed);
        store.put_back(all).unwrap();
        let cuts = of.disk.take_watched();
        assert!(cuts.len() > 20, "{}", cuts.len());
        for (number, disk) in cuts.into_iter().enumerate() {
            comes_back(&of, &open(&disk, 4), before, &format!("seed {seed}, cut {number}"));
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_call_of_putting_back_costs_nobody_anything() {
    for fault in [Fault::Eio, Fault::Enospc] {
        for call in 0.. {
            let of = damaged();
            let store = open(&of.disk, 3);
            let before = lost(&store, 1, &of.first, "before");
            let all = brought(&of, &store);
            of.disk.fail_call(of.disk.calls() + call, fault);
            let outcome = store.put_back(all);
            let failed = of.disk.has_failed();
            of.disk.heal();
            let what = format!("{fault:?} at call {call}: {outcome:?}");
            assert!(outcome.is_ok() || failed, "{what}");
            if store.health() == Health::Ok {
                comes_back(&of, &store, before, &what);
            }
            drop(store);
            comes_back(&of, &open(&of.disk.after_crash(call), 4), before, &format!("{what}, power cut"));
            if !failed {
                assert!(call > 20, "it makes hardly any calls");
                break;
            }
        }
    }
}
