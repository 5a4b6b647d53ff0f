//! How packs get to the disk: in whole aligned pages, each once, past the page cache or through it, with the same bytes in the end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::record::Recorder;
use common::{Op, ROOT, Random, Run, cases, disk_for, encrypted, owner, script};
use vtl_durable::{Fault, RealDisk, SimDisk};
use vtl_store::{DirectIo, Options, PackWrites, Store, Stream};

const PAGE: u64 = 4096;

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Whether it is a pack that streams append to, in its first generation.
fn is_appended_to(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".0000.pack")
}

#[test]
fn a_pack_that_streams_append_to_is_written_in_whole_pages_and_no_page_twice() {
    let mut written = 0;
    for seed in 0..cases(4) {
        let plain = Options { write_bytes: 8192, ..Options::small() };
        let options = if seed % 2 == 0 { plain } else { encrypted(&plain) };
        let recorder = Recorder::default();
        let mut run = Run::new(SimDisk::new(seed), options);
        run.recorder = Some(recorder.clone());
        // No start in between: one that finds a pack without a footer cuts it and ends it, whatever was written behind.
        let script = script(900 + seed, 3, 200, 7000);
        run.run(&script.into_iter().filter(|op| !matches!(op, Op::Reopen)).collect::<Vec<_>>()).unwrap();
        run.close();
        let mut pages: BTreeSet<(PathBuf, u64)> = BTreeSet::new();
        let writes = recorder.take();
        for write in writes.iter().filter(|write| is_appended_to(&write.path)) {
            let len = write.bytes.len() as u64;
            let whole = |bytes: u64| bytes.is_multiple_of(PAGE);
            assert!(whole(write.offset) && whole(len) && len > 0, "{} {len}", write.offset);
            for page in write.offset / PAGE..(write.offset + len) / PAGE {
                assert!(pages.insert((write.path.clone(), page)), "{}, page {page}", write.path.display());
            }
        }
        written += pages.len() as u64;
    }
    // A script that removes much writes little.
    assert!(written > 50 * cases(4), "{written}");
}

/// Packs of 16 KiB are pushed in pieces of 4 KiB and more.
#[test]
fn the_system_is_asked_to_write_each_byte_of_a_pack_once_before_a_sync_has_and_a_full_pack_to_its_end() {
    let recorder = Recorder::default();
    let mut run = Run::new(SimDisk::new(1), Options { direct_io: DirectIo::Off, ..Options::small() });
    run.recorder = Some(recorder.clone());
    run.open().unwrap();
    let store = run.store.as_ref().unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    for number in 0..125 {
        stream.append(&[Bytes::from(noise(number, 1500))], true).unwrap();
        if number % 25 == 24 {
            stream.commit(b"").unwrap();
        }
    }
    drop(stream);
    run.close();
    let mut ends: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for push in recorder.pushes() {
        assert!(push.from < push.to && push.to <= push.written, "{push:?}");
        assert!(push.from >= push.synced, "{push:?}: a sync has written it");
        let end = ends.entry(push.path.clone()).or_default();
        assert!(push.from >= *end, "{push:?}: asked before");
        *end = push.to;
    }
    let whole = |(path, end): (&PathBuf, &u64)| run.disk.contents(path).unwrap().len() as u64 == *end;
    let (packs, full) = (ends.len(), ends.iter().filter(|one| whole(*one)).count());
    assert!(packs > 8 && full > packs / 2, "{full} of {packs}: {ends:?}");
}

#[test]
fn the_files_are_the_same_whichever_way_they_are_written() {
    let mut appended_to = 0;
    for seed in 0..cases(3) {
        let files = |refused: bool, direct_io: DirectIo| {
            let disk = SimDisk::new(seed);
            if refused {
                disk.refuse_direct(Path::new("/"));
            }
            let mut run = Run::new(disk, Options { direct_io, ..Options::small() });
            run.run(&script(800 + seed, 3, 150, 7000)).unwrap();
            let told = run.store.as_ref().unwrap().pack_writes();
            assert_eq!(told == PackWrites::Direct, direct_io != DirectIo::Off && !refused, "{told}");
            run.step(&Op::Reopen).unwrap();
            run.verify("at the end");
            run.close();
            let files = run.disk.files().into_iter();
            files.map(|file| (file.clone(), run.disk.contents(&file).unwrap())).collect::<BTreeMap<_, _>>()
        };
        let direct = files(false, DirectIo::On);
        appended_to += direct.keys().filter(|path| is_appended_to(path)).count();
        assert!(
            [(true, DirectIo::On), (false, DirectIo::Off), (false, DirectIo::Auto)]
                .into_iter()
                .all(|(refused, io)| direct == files(refused, io)),
            "seed {seed}"
        );
    }
    assert!(appended_to > 0);
}

#[test]
fn a_pool_goes_on_in_the_other_way_after_any_start_and_power_cut() {
    for seed in 0..cases(3) {
        let mut run = Run::new(SimDisk::new(seed), Options::small());
        run.open().unwrap();
        for round in 0..4 {
            for op in script(850 + seed * 10 + round, 3, 60, 7000) {
                run.step(&op).unwrap();
            }
            run.close();
            run.disk = run.disk.after_crash(seed + round);
            run.options.direct_io = [DirectIo::Off, DirectIo::On][(round % 2) as usize];
            run.open().unwrap();
            run.verify(&format!("seed {seed}, round {round}"));
        }
    }
}

#[test]
fn what_is_told_of_writes_is_what_the_file_systems_can_do() {
    let folders: Vec<PathBuf> = vec!["/near".into(), "/far".into()];
    let options = Options { folders, ..Options::small() };
    let told = |refused: Option<&str>, direct_io: DirectIo| {
        let disk = disk_for(1, &options);
        refused.into_iter().for_each(|below| disk.refuse_direct(Path::new(below)));
        let options = Options { direct_io, ..options.clone() };
        Store::open(Arc::new(disk), Path::new(ROOT), options).unwrap().pack_writes().to_string()
    };
    assert_eq!(told(None, DirectIo::On), "direct");
    assert_eq!(told(Some("/far"), DirectIo::On), "mixed");
    assert_eq!(told(Some("/"), DirectIo::On), "buffered");
    assert_eq!(told(None, DirectIo::Off), "buffered");
}

#[test]
fn a_pack_that_is_begun_while_memory_lies_idle_is_left_to_the_page_cache_and_later_ones_are_not() {
    let disk = SimDisk::new(5);
    disk.idle_memory(true);
    let mut run = Run::new(
        disk.clone(),
        Options { direct_io: DirectIo::Auto, pack_bytes: 8 << 10, ..Options::small() },
    );
    run.open().unwrap();
    let told = |run: &Run| run.store.as_ref().unwrap().pack_writes();
    assert_eq!(told(&run), PackWrites::Buffered);
    for (idle, expected) in [(true, PackWrites::Buffered), (false, PackWrites::Direct)] {
        disk.idle_memory(idle);
        for op in script(77, 3, 120, 7000).into_iter().filter(|op| !matches!(op, Op::Reopen)) {
            run.step(&op).unwrap();
        }
        assert_eq!(told(&run), expected, "{idle}");
    }
    run.step(&Op::Reopen).unwrap();
    run.verify("at the end");
}

#[test]
fn what_nobody_reads_soon_goes_past_the_page_cache_while_memory_lies_idle_unless_nothing_may() {
    for (direct_io, expected) in [(DirectIo::Auto, PackWrites::Direct), (DirectIo::Off, PackWrites::Buffered)]
    {
        let disk = SimDisk::new(6);
        disk.idle_memory(true);
        let options = Options { direct_io, pack_bytes: 8 << 10, ..Options::small() };
        let store = Store::open(Arc::new(disk), Path::new(ROOT), options).unwrap();
        store.create(owner(1), b"").unwrap();
        let mut stream = store.open_stream(owner(1)).unwrap();
        let append = |stream: &mut Stream, seed| {
            stream.append(&[Bytes::from(noise(seed, 50_000))], false).unwrap();
            stream.commit(b"").unwrap();
            store.pack_writes()
        };
        assert_eq!(append(&mut stream, 1), PackWrites::Buffered, "it may be read back");
        stream.not_read_soon();
        assert_eq!(append(&mut stream, 2), expected);
        let kept = stream.read(0, 100_000).unwrap().concat();
        assert!(kept == [noise(1, 50_000), noise(2, 50_000)].concat());
    }
}

#[test]
fn a_stream_that_falls_back_to_its_last_commit_is_not_read_soon_still() {
    let disk = SimDisk::new(7);
    disk.idle_memory(true);
    let options = Options { direct_io: DirectIo::Auto, pack_bytes: 8 << 10, ..Options::small() };
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.not_read_soon();
    // The folder of the first pack cannot be made.
    disk.fail_call(disk.calls(), Fault::Enospc);
    let failed = stream.append(&[Bytes::from(noise(1, 50_000))], false).and_then(|()| stream.commit(b""));
    assert!(failed.is_err() && stream.is_empty());
    assert_eq!(store.pack_writes(), PackWrites::Buffered, "nothing was written");
    stream.append(&[Bytes::from(noise(1, 50_000))], false).unwrap();
    stream.commit(b"").unwrap();
    assert_eq!(store.pack_writes(), PackWrites::Direct);
}

#[test]
fn what_is_gathered_for_a_write_counts_as_memory_until_the_stream_is_closed() {
    let options = Options { write_bytes: 64 << 10, in_flight_bytes: 1 << 20, ..Options::small() };
    let store = Store::open(Arc::new(SimDisk::new(1)), Path::new(ROOT), options).unwrap();
    let memory = || store.stats().memory_bytes;
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    let before = memory();
    stream.append(&[Bytes::from(noise(1, 5000))], false).unwrap();
    stream.commit(b"").unwrap();
    let gathering = memory();
    assert!(gathering >= before + (64 << 10), "{before}, {gathering}");
    drop(stream);
    assert!(memory() < gathering - (60 << 10), "{gathering}, {}", memory());
}

#[test]
fn on_a_real_disk_what_was_not_committed_is_read_back_and_what_was_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pool");
    for (number, direct_io) in [DirectIo::On, DirectIo::Off, DirectIo::Auto].into_iter().enumerate() {
        let options = Options { direct_io, workers: 2, pack_bytes: 1 << 20, ..Options::small() };
        let open = || Store::open(Arc::new(RealDisk::new()), &root, options.clone()).unwrap();
        let (who, bytes) = (owner(number as u8), noise(number as u64, 3_000_000));
        let store = open();
        store.create(who, b"").unwrap();
        let mut stream = store.open_stream(who).unwrap();
        for (number, part) in bytes.chunks(77_777).enumerate() {
            stream.append(&[Bytes::copy_from_slice(part)], false).unwrap();
            let end = stream.len();
            match number % 5 {
                1 => assert!(
                    stream.read(end - 1000, 1000).unwrap().concat()
                        == bytes[end as usize - 1000..end as usize]
                ),
                3 => stream.commit(b"").unwrap(),
                _ => {}
            }
        }
        stream.commit(b"").unwrap();
        drop((stream, store));
        let store = open();
        assert!(store.open_stream(who).unwrap().read(0, bytes.len() as u64).unwrap().concat() == bytes);
        assert_eq!(store.check().findings, []);
        assert!(direct_io != DirectIo::Off || store.pack_writes() == PackWrites::Buffered);
    }
}
