//! The scrub: damage of every kind is found within one pass and has its name, a pass goes on after a restart, and what happens beside it is
//! no damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use common::{ROOT, Random, encrypted, owner};
use vtl_durable::{Disk, SimDisk};
use vtl_store::{GcRule, Options, Pass, ScrubFinding, ScrubStep, Scrubber, Store};

/// More steps than any pool of these tests needs.
const MOST_STEPS: usize = 20_000;
const CONTENT: usize = 40_000;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

fn open(disk: &SimDisk) -> Store {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap()
}

fn write(store: &Store, who: u8, bytes: &[u8], compress: bool) {
    store.create(owner(who), b"snapshot").unwrap();
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], compress).unwrap();
    stream.commit(b"delta").unwrap();
}

/// Two owners, one of noise and one of text, in several packs with footers.
fn furnished() -> SimDisk {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    write(&store, 1, &noise(1, CONTENT), false);
    let text: Vec<u8> = (0..CONTENT).flat_map(|at| format!("{at} ").into_bytes()).take(CONTENT).collect();
    write(&store, 2, &text, true);
    drop(store);
    disk
}

/// Steps until there is nothing to do.
fn settle(scrubber: &mut Scrubber) {
    let idle = (0..MOST_STEPS).any(|_| scrubber.step(1000) == ScrubStep::Idle);
    assert!(idle, "the scrub does not come to rest");
}

/// One pass from its beginning to its end.
fn pass(scrubber: &mut Scrubber) -> Pass {
    let number = scrubber.begin(1000);
    let finished = (0..MOST_STEPS).find_map(|_| match scrubber.step(2000) {
        ScrubStep::Finished(pass) => Some(pass),
        ScrubStep::Idle => panic!("a pass has begun and there is nothing to do"),
        _ => None,
    });
    let finished = finished.unwrap_or_else(|| panic!("the pass does not end"));
    assert_eq!((finished.number, finished.begun_s, finished.finished_s), (number, 1000, 2000));
    finished
}

fn files(disk: &SimDisk, end: &str) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|file| file.to_string_lossy().ends_with(end)).collect()
}

fn packs(disk: &SimDisk) -> Vec<PathBuf> {
    let packs = files(disk, ".pack");
    assert!(packs.len() > 2, "{packs:?}");
    packs
}

/// The ranges of an owner that are named, in order.
fn named(findings: &[ScrubFinding], who: u8) -> Vec<Range<u64>> {
    let mut ranges: Vec<_> =
        findings.iter().filter(|one| one.owner == Some(owner(who))).map(|one| one.range.clone()).collect();
    ranges.sort_by_key(|range| range.start);
    ranges
}

/// What cannot be read of an owner, byte by byte.
fn unreadable(store: &Store, who: u8) -> Vec<Range<u64>> {
    let mut stream = store.open_stream(owner(who)).unwrap();
    let mut bad: Vec<Range<u64>> = Vec::new();
    for at in 0..stream.len() {
        if stream.read(at, 1).is_err() {
            match bad.last_mut() {
                Some(last) if last.end == at => last.end += 1,
                _ => bad.push(at..at + 1),
            }
        }
    }
    bad
}

#[test]
fn a_whole_pool_has_no_findings_and_all_of_it_is_read() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    assert!(store.scrubber().is_none(), "there is one at a time");
    let pass = pass(&mut scrubber);
    let stats = store.stats();
    assert_eq!((pass.packs, pass.damaged), (stats.packs, 0));
    assert!(pass.bytes >= stats.stored_bytes / 100 * 99, "{pass:?} {stats:?}");
    assert!(pass.bytes <= stats.stored_bytes, "{pass:?} {stats:?}");
    let status = store.scrub_status();
    assert_eq!((status.last, status.current, status.is_damaged()), (Some(pass), None, false));
    drop(scrubber);
    assert!(store.scrubber().is_some());
}

#[test]
fn any_turned_bit_of_any_pack_is_found_within_one_pass_and_what_it_costs_has_a_name() {
    let disk = furnished();
    for reopened in [false, true] {
        let mut store = Some(open(&disk));
        let (stride, files) = (if reopened { 1499 } else { 397 }, packs(&disk));
        for (nth, file) in files.into_iter().enumerate() {
            let len = disk.contents(&file).unwrap().len() as u64;
            for byte in (nth as u64 * 37..len).step_by(stride) {
                let what = format!("{} byte {byte}, reopened {reopened}", file.display());
                if reopened {
                    store = None;
                    assert!(store.is_none());
                }
                disk.flip_bit(&file, byte, (byte % 8) as u8);
                let store = store.get_or_insert_with(|| open(&disk));
                let mut scrubber = store.scrubber().unwrap();
                let damaged = pass(&mut scrubber).damaged;
                let (findings, status) = (store.scrub_findings(), store.scrub_status());
                assert!(damaged > 0 && status.is_damaged() && !findings.is_empty(), "{what}: {status:?}");
                assert_eq!(status.findings, findings.len() as u64);
                if byte % 20 == 0 {
                    for who in [1, 2] {
                        let mut lost = named(&findings, who);
                        lost.retain(|range| !range.is_empty());
                        assert_eq!(lost, unreadable(store, who), "{what}: {findings:?}");
                    }
                }
                // An error that does not stay.
                disk.flip_bit(&file, byte, (byte % 8) as u8);
                assert_eq!(pass(&mut scrubber).damaged, 0, "{what}");
                let report = store.repair().unwrap();
                assert_eq!((report.lost, report.mended), (0, 0), "{what}");
                scrubber.look_again();
                settle(&mut scrubber);
                assert_eq!(store.scrub_findings(), [], "{what}");
            }
        }
    }
}

#[test]
fn an_encrypted_pool_is_read_whole_and_a_turned_bit_of_it_is_found_and_named() {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options::small());
    let open = || Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone()).unwrap();
    write(&open(), 1, &noise(1, CONTENT), false);
    let store = open();
    let mut scrubber = store.scrubber().unwrap();
    let whole = pass(&mut scrubber);
    assert_eq!((whole.packs, whole.damaged), (store.stats().packs, 0));
    for file in packs(&disk) {
        let len = disk.contents(&file).unwrap().len() as u64;
        for byte in (0..len).step_by(3001) {
            let what = format!("{} byte {byte}", file.display());
            disk.flip_bit(&file, byte, 3);
            assert!(pass(&mut scrubber).damaged > 0, "{what}");
            let mut lost = named(&store.scrub_findings(), 1);
            lost.retain(|range| !range.is_empty());
            assert_eq!(lost, unreadable(&store, 1), "{what}");
            // An error that does not stay.
            disk.flip_bit(&file, byte, 3);
            assert_eq!(pass(&mut scrubber).damaged, 0, "{what}");
            store.repair().unwrap();
            scrubber.look_again();
            settle(&mut scrubber);
            assert_eq!(store.scrub_findings(), [], "{what}");
        }
    }
}

#[test]
fn a_damaged_header_footer_or_padding_costs_nothing_and_a_repair_writes_the_pack_anew() {
    let disk = furnished();
    let len = |file: &PathBuf| disk.contents(file).unwrap().len() as u64;
    // The pack's header, the zeros behind it, the first region's header, the trailer, the footer before it.
    for at in [|_| 9, |_| 3000, |_| 4096 + 20, |len| len - 20, |len: u64| len - 100] {
        let store = open(&disk);
        let mut scrubber = store.scrubber().unwrap();
        let file = &packs(&disk)[0];
        disk.flip_bit(file, at(len(file)), 2);
        assert_eq!(pass(&mut scrubber).damaged, 1);
        let findings = store.scrub_findings();
        assert!(findings.iter().all(|one| one.range.is_empty() && one.why.contains("pack")), "{findings:?}");
        assert_eq!(findings.len(), 1, "{findings:?}");
        let report = store.repair().unwrap();
        assert_eq!((report.mended, report.lost), (1, 0));
        assert_eq!(store.scrub_findings(), [], "it has been written anew");
        assert_eq!(pass(&mut scrubber).damaged, 0);
        assert_eq!((unreadable(&store, 1), unreadable(&store, 2)), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_lost_pack_is_named_with_all_that_needed_it() {
    let disk = furnished();
    disk.unlink(&packs(&disk)[0]).unwrap();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    pass(&mut scrubber);
    let lost = named(&store.scrub_findings(), 1);
    assert!(!lost.is_empty());
    assert_eq!(lost, unreadable(&store, 1));
    store.remove(owner(1)).unwrap();
    pass(&mut scrubber);
    assert_eq!(named(&store.scrub_findings(), 1), []);
}

#[test]
fn a_damaged_head_is_named_by_its_owner_until_the_owner_is_gone() {
    let disk = furnished();
    let store = open(&disk);
    let head = disk.files().into_iter().find(|file| file.ends_with("02020202020202020202020202020202/head"));
    disk.flip_bit(&head.unwrap(), 60, 1);
    let mut scrubber = store.scrubber().unwrap();
    assert_eq!(pass(&mut scrubber).damaged, 1);
    let findings = store.scrub_findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].owner, &findings[0].range), (Some(owner(2)), &(0..u64::MAX)));
    assert!(findings[0].why.contains("head"), "{findings:?}");
    store.remove(owner(2)).unwrap();
    assert_eq!(pass(&mut scrubber).damaged, 0);
    assert_eq!(store.scrub_findings(), []);
}

#[test]
fn a_head_that_is_damaged_while_its_stream_is_open_is_written_anew_from_memory() {
    let disk = furnished();
    let store = open(&disk);
    let stream = store.open_stream(owner(1)).unwrap();
    let head = disk.files().into_iter().find(|file| file.ends_with("01010101010101010101010101010101/head"));
    disk.flip_bit(&head.unwrap(), 60, 1);
    let mut scrubber = store.scrubber().unwrap();
    pass(&mut scrubber);
    drop((stream, scrubber, store));
    assert_eq!(open(&disk).head(owner(1)).unwrap().length, CONTENT as u64);
}

#[test]
fn a_damaged_quarantine_is_written_anew_and_a_damaged_pool_file_is_told_before_the_next_start_needs_it() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    disk.flip_bit(&packs(&disk)[0], 5000, 1);
    assert_eq!(pass(&mut scrubber).damaged, 1);
    let quarantine = Path::new(ROOT).join("quarantine");
    let right = disk.contents(&quarantine).unwrap();
    disk.flip_bit(&quarantine, 40, 1);
    assert_eq!(pass(&mut scrubber).damaged, 2, "the chunk and the list");
    assert_eq!(disk.contents(&quarantine).unwrap(), right);
    let pool = Path::new(ROOT).join("pool");
    disk.flip_bit(&pool, 40, 1);
    pass(&mut scrubber);
    let told = |store: &Store| store.scrub_findings().iter().any(|one| one.why.contains("/pool/pool"));
    assert!(told(&store), "{:?}", store.scrub_findings());
    disk.flip_bit(&pool, 40, 1);
    pass(&mut scrubber);
    assert!(!told(&store));
}

#[test]
fn a_pass_goes_on_after_a_restart_where_it_was() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    settle(&mut scrubber);
    let number = scrubber.begin(500);
    while store.scrub_status().current.unwrap().packs < 2 {
        scrubber.step(600);
    }
    let before = store.scrub_status().current.unwrap();
    drop((scrubber, store));
    let store = open(&disk);
    assert_eq!(store.scrub_status().current, Some(before));
    let mut scrubber = store.scrubber().unwrap();
    let end = (0..MOST_STEPS).find_map(|_| match scrubber.step(700) {
        ScrubStep::Finished(pass) => Some(pass),
        _ => None,
    });
    let end = end.unwrap();
    assert_eq!((end.number, end.begun_s, end.finished_s, end.packs), (number, 500, 700, store.stats().packs));
    assert!(end.bytes <= store.stats().stored_bytes, "nothing was read twice: {end:?}");
    drop((scrubber, store));
    assert_eq!(open(&disk).scrub_status().last, Some(end), "its date survives a restart too");
}

#[test]
fn a_pass_that_is_held_stands_while_new_packs_are_read_and_goes_on_or_ends_without_a_result() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    settle(&mut scrubber);
    let number = scrubber.begin(1000);
    let some = (0..MOST_STEPS).any(|_| {
        scrubber.step(1000);
        store.scrub_status().current.is_some_and(|pass| pass.packs > 0)
    });
    assert!(some, "a pack of the pass is read");
    scrubber.hold(true);
    let stands = store.scrub_status().current.unwrap();
    write(&store, 3, &noise(3, CONTENT), false);
    let fresh = store.scrub_status().unread_packs;
    assert!(fresh > 0, "there are new packs");
    settle(&mut scrubber);
    let status = store.scrub_status();
    assert_eq!((status.unread_packs, status.current.unwrap().packs), (0, stands.packs));

    scrubber.hold(false);
    let finished = (0..MOST_STEPS).find_map(|_| match scrubber.step(2000) {
        ScrubStep::Finished(pass) => Some(pass),
        _ => None,
    });
    let finished = finished.unwrap();
    assert!(finished.number == number && finished.packs > stands.packs && finished.damaged == 0);

    let next = scrubber.begin(3000);
    scrubber.step(3000);
    scrubber.end_pass(number, 3000);
    assert_eq!(store.scrub_status().current.map(|pass| pass.number), Some(next), "that is another one");
    scrubber.end_pass(next, 3000);
    settle(&mut scrubber);
    let status = store.scrub_status();
    assert_eq!((status.current, status.last.map(|pass| pass.number)), (None, Some(number)));
}

#[test]
fn a_power_cut_costs_the_place_since_its_last_writing_and_nothing_else() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    settle(&mut scrubber);
    let number = scrubber.begin(500);
    for _ in 0..5 {
        scrubber.step(501);
    }
    let after = disk.after_crash(3);
    let store = open(&after);
    let current = store.scrub_status().current.unwrap();
    assert_eq!((current.number, current.begun_s, current.packs), (number, 500, 0));
    drop(store);
    // The file is lost, or is no such file: a pass begins anew, and everything else is there.
    let file = Path::new(ROOT).join("scrub");
    after.flip_bit(&file, 50, 1);
    assert_eq!(open(&after).scrub_status().current, None);
    after.unlink(&file).unwrap();
    let store = open(&after);
    assert_eq!((store.scrub_status().current, store.scrub_status().last), (None, None));
    assert_eq!(pass(&mut store.scrubber().unwrap()).damaged, 0);
}

#[test]
fn packs_that_were_sealed_are_read_back_without_a_pass_also_after_a_restart() {
    let disk = furnished();
    let store = open(&disk);
    let all = store.stats().packs;
    // What the first start sealed at its end waits for the second.
    assert_eq!(store.scrub_status().unread_packs, all);
    disk.flip_bit(&packs(&disk)[1], 6000, 4);
    let mut scrubber = store.scrubber().unwrap();
    settle(&mut scrubber);
    let status = store.scrub_status();
    assert_eq!((status.unread_packs, status.damaged_chunks, status.current, status.last), (0, 1, None, None));
    assert!(!named(&store.scrub_findings(), 1).is_empty());
    drop((scrubber, store));
    let store = open(&disk);
    assert_eq!(store.scrub_status().unread_packs, 0);
    write(&store, 3, &noise(9, CONTENT), false);
    let crashed = open(&disk.after_crash(7));
    assert!(crashed.scrub_status().unread_packs > 0, "they are newer than what was remembered");
}

#[test]
fn a_pack_that_was_broken_when_it_was_read_back_is_read_first_by_every_start_until_it_is_whole() {
    let disk = furnished();
    let file = packs(&disk).remove(0);
    let trailer = disk.contents(&file).unwrap().len() as u64 - 20;
    // Packs that are unread, how many of these are of before the start, and whether anything is damaged: at a start, and when what is unread has been read.
    let look = || {
        let store = open(&disk);
        let told = || {
            let status = store.scrub_status();
            (status.unread_packs, status.left_packs, status.is_damaged())
        };
        let before = told();
        settle(&mut store.scrubber().unwrap());
        (before, told())
    };
    let all = open(&disk).stats().packs;
    disk.flip_bit(&file, trailer, 2);
    assert_eq!(look(), ((all, all, false), (0, 0, true)));
    assert_eq!(look(), ((1, 1, false), (0, 0, true)));
    disk.flip_bit(&file, trailer, 2);
    assert_eq!(look(), ((1, 1, false), (0, 0, false)));
    assert_eq!(look(), ((0, 0, false), (0, 0, false)));
}

#[test]
fn packs_that_a_collection_removes_or_writes_anew_while_they_are_read_are_no_damage() {
    for stop in 0..12 {
        let disk = furnished();
        let store = open(&disk);
        let mut scrubber = store.scrubber().unwrap();
        settle(&mut scrubber);
        scrubber.begin(1);
        for _ in 0..stop {
            scrubber.step(2);
        }
        let mut stream = store.open_stream(owner(1)).unwrap();
        stream.truncate(5000).unwrap();
        stream.commit(b"").unwrap();
        drop(stream);
        store.remove(owner(2)).unwrap();
        let report = store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
        assert!(report.removed > 0 && report.rewritten > 0, "{report:?}");
        let end = (0..MOST_STEPS).find_map(|_| match scrubber.step(3) {
            ScrubStep::Finished(pass) => Some(pass),
            _ => None,
        });
        assert_eq!(end.unwrap().damaged, 0, "stopped at {stop}");
        assert_eq!(store.scrub_findings(), []);
        assert_eq!((store.scrub_status().unread_packs, store.scrub_status().damaged_chunks), (0, 0));
    }
}

#[test]
fn passes_beside_writers_collections_and_removals_find_nothing() {
    let disk = SimDisk::new(5);
    let store =
        Store::open(Arc::new(disk), Path::new(ROOT), Options { workers: 2, ..Options::small() }).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (1..4_u8)
            .map(|who| {
                let store = store.clone();
                scope.spawn(move || {
                    for round in 0..12_u64 {
                        write(&store, who, &noise(u64::from(who) * 100 + round % 3, 30_000), round % 2 == 0);
                        let mut stream = store.open_stream(owner(who)).unwrap();
                        stream.truncate(11_000).unwrap();
                        stream.commit(b"").unwrap();
                        drop(stream);
                        // Another writer's collection may be running.
                        let _ = store.gc(GcRule { dead_percent: 1, ..GcRule::default() });
                        store.remove(owner(who)).unwrap();
                    }
                })
            })
            .collect();
        let scrubbing = scope.spawn(|| {
            let mut scrubber = store.scrubber().unwrap();
            let mut passes = 0;
            while !done.load(Ordering::SeqCst) || passes == 0 {
                assert_eq!(pass(&mut scrubber).damaged, 0, "{:?}", store.scrub_findings());
                assert_eq!(store.scrub_findings(), []);
                passes += 1;
            }
        });
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
        scrubbing.join().unwrap();
    });
    assert_eq!(store.check().findings, []);
}

#[test]
fn a_stream_that_is_used_makes_the_pool_busy_once() {
    let disk = furnished();
    let store = open(&disk);
    let mut scrubber = store.scrubber().unwrap();
    assert!(!scrubber.take_busy());
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.read(0, 10).unwrap();
    assert!(scrubber.take_busy() && !scrubber.take_busy());
    stream.append(&[Bytes::from_static(b"x")], false).unwrap();
    assert!(scrubber.take_busy());
}
