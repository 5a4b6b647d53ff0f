//! Power cuts and failing calls at every step.

use super::{STORE, fingerprint, long, open, open_with};
use crate::index::{Index, Place};
use vtl_durable::{Fault, SimDisk};

const MIB: usize = 1 << 20;
const CHUNKS: u16 = 700;

/// Every call with `VTL_LONG=1`.
fn stride() -> usize {
    if long() { 1 } else { 5 }
}

fn chunks(pack: u64) -> Vec<(u16, [u8; 32])> {
    (0..CHUNKS).map(|chunk| (chunk, fingerprint(pack << 16 | u64::from(chunk)))).collect()
}

/// Feeds packs, flushes, merges, removes a pack. Errors of the disk are the point: they end nothing.
fn work(index: &Index, packs: std::ops::Range<u64>) {
    for pack in packs {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
        if pack % 2 == 1 {
            let _ = index.flush();
        }
        if pack % 3 == 2 {
            let _ = index.compact_step();
        }
    }
    index.forget_pack(1);
    let _ = index.flush();
    let _ = index.compact_step();
}

/// Every covered pack is known to its last chunk, and every answer is one that was inserted.
fn verify(index: &Index, packs: u64, context: &str) {
    for pack in 0..packs {
        let covered = index.covers(pack);
        for (chunk, fingerprint) in chunks(pack).into_iter().step_by(23) {
            let answer = index.lookup(&fingerprint);
            assert!(answer.is_none_or(|place| place == Place { pack, chunk }), "{context}: {answer:?}");
            assert!(
                !covered || answer.is_some(),
                "{context}: chunk {chunk} of covered pack {pack} is missing"
            );
        }
    }
}

#[test]
fn after_a_crash_at_any_step_covered_packs_are_complete_and_nothing_is_in_the_way() {
    for step in 0.. {
        let disk = SimDisk::new(step);
        let index = open(&disk, MIB);
        work(&index, 0..4);
        disk.crash_at(disk.steps() + step);
        work(&index, 4..9);
        let over = !disk.has_crashed();
        drop(index);
        for seed in 0..if long() { 4 } else { 2 } {
            let after = disk.after_crash(2 * step + seed);
            let index = open(&after, MIB);
            let context = format!("step {step} seed {seed}");
            verify(&index, 9, &context);
            assert!(index.covers(0), "{context}: a pack that was flushed before");
            // It works on, and keeps what is flushed now.
            work(&index, 9..12);
            index.flush().unwrap();
            verify(&index, 12, &context);
            assert!((9..12).all(|pack| index.covers(pack)), "{context}");
            let names = after.files().len();
            assert_eq!(names, index.stats().tables + 1, "{context}: {:?}", after.files());
        }
        if over {
            assert!(step > 30, "{step}");
            break;
        }
    }
}

#[test]
fn a_crash_while_starting_after_a_crash_changes_nothing() {
    for step in 0..60 {
        let disk = SimDisk::new(step);
        let index = open(&disk, MIB);
        disk.crash_at(10 + 3 * step);
        work(&index, 0..9);
        drop(index);
        let once = disk.after_crash(step);
        once.crash_at(once.steps() + step % 5);
        if let Ok(index) = open_with(&once, MIB, STORE) {
            work(&index, 9..11);
        }
        let index = open(&once.after_crash(step + 1), MIB);
        verify(&index, 11, &format!("step {step}"));
    }
}

#[test]
fn a_call_that_fails_costs_records_at_most_and_covers_nothing_that_is_missing() {
    for fault in [Fault::Eio, Fault::Enospc] {
        for call in (0..).step_by(stride()) {
            let disk = SimDisk::new(call);
            let index = open(&disk, MIB);
            work(&index, 0..3);
            disk.fail_call(disk.calls() + call, fault);
            work(&index, 3..9);
            let context = format!("{fault:?} at call {call}");
            let over = !disk.has_failed();
            disk.heal();
            verify(&index, 9, &context);
            work(&index, 9..11);
            verify(&index, 11, &context);
            drop(index);
            let index = open(&disk.after_crash(call), MIB);
            verify(&index, 11, &context);
            if over {
                assert!(call > 30);
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_stays_full_takes_nothing_and_stops_nothing() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    work(&index, 0..3);
    disk.fail_from(disk.calls(), Fault::Enospc);
    for pack in 3..40 {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
    }
    assert!(index.flush().is_err());
    assert!(index.memory_bytes() <= MIB);
    verify(&index, 40, "full");
    disk.heal();
    index.flush().unwrap();
    let lost = (3..40).filter(|pack| !index.covers(*pack)).count();
    assert!(lost > 20, "{lost}");
    verify(&index, 40, "space again");
    for pack in 40..50 {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
    }
    index.flush().unwrap();
    assert!((40..50).all(|pack| index.covers(pack)));
}

#[test]
fn a_pack_that_was_not_complete_or_not_flushed_is_not_covered() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    index.insert(1, &chunks(1));
    index.insert(2, &chunks(2));
    index.pack_complete(2);
    assert!(!index.covers(2));
    index.flush().unwrap();
    assert!(!index.covers(1) && index.covers(2));
    index.pack_complete(1);
    index.insert(3, &chunks(3));
    index.pack_complete(3);
    let index = open(&disk, MIB);
    assert!(!index.covers(1) && index.covers(2) && !index.covers(3));
}

#[test]
fn a_flush_without_changes_does_nothing_to_the_disk() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    work(&index, 0..3);
    index.flush().unwrap();
    let calls = disk.calls();
    index.flush().unwrap();
    assert_eq!(disk.calls(), calls);
}

#[test]
fn lookups_and_inserts_never_sync() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    for pack in 0..30 {
        index.insert(pack, &chunks(pack));
        index.lookup(&fingerprint(pack));
    }
    assert!(index.stats().tables > 1);
    // Nothing was synced: a power cut that keeps only what was leaves nothing.
    let index = open(&disk.after_crash(0), MIB);
    assert_eq!((index.stats().tables, index.stats().entries), (0, 0));
}
