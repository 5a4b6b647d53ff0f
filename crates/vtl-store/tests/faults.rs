//! Calls that fail, a disk that is full, bits that turn.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Content, Op, ROOT, Random, Run, cases, disk_for, encrypted, observe, owner, script};
use vtl_durable::{Fault, SimDisk};
use vtl_store::{GcRule, Health, Options, OwnerId, ReadError, RepairReport, Store, StoreError, Stream};

fn who(op: &Op) -> Option<u8> {
    match op {
        Op::Create(who, _) | Op::Remove(who) => Some(*who),
        _ => None,
    }
}

/// Runs a script to its end whatever fails; whether the fault came before that.
fn fail_at(script: &[Op], options: &Options, call: u64, fault: Fault, sticky: bool) -> bool {
    let what = format!("{fault:?} at call {call}, sticky {sticky}");
    let disk = disk_for(call, options);
    let at = disk.calls() + call;
    if sticky {
        disk.fail_from(at, fault);
    } else {
        disk.fail_call(at, fault);
    }
    let mut run = Run::new(disk, Options { start_random: call, ..options.clone() });
    for op in [&Op::Reopen].into_iter().chain(script) {
        if run.store.is_none() && !matches!(op, Op::Reopen) {
            let _ = run.step(&Op::Reopen);
        }
        if run.store.is_none() && !matches!(op, Op::Reopen) {
            continue;
        }
        let result = run.step(op);
        if let (Err(error), Some(who)) = (&result, who(op)) {
            assert!(run.disk.has_failed(), "{what}: {error}");
            if !sticky && run.store.is_some() {
                run.pin(who, &format!("{what}: {op:?}: {result:?}"));
            }
        }
        assert!(result.is_ok() || run.disk.has_failed(), "{what}: {op:?}: {result:?}");
    }
    let failed = run.disk.has_failed();
    run.close();
    run.disk.heal();
    run.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    run.verify(&what);
    assert_eq!(run.store.as_ref().unwrap().health(), Health::Ok);
    // What was reached through a failing disk survives a power cut as well.
    run.close();
    run.disk = run.disk.after_crash(call);
    run.open().unwrap_or_else(|error| panic!("{what}, power cut: {error}"));
    run.verify(&format!("{what}, power cut"));
    let more =
        [Op::Create(8, vec![1]), Op::Append(8, vec![7; 3000], true), Op::Commit(8, vec![1]), Op::Reopen];
    more.iter().for_each(|op| run.step(op).unwrap_or_else(|error| panic!("{what}, going on: {error}")));
    run.verify(&format!("{what}, going on"));
    failed
}

fn fail_everywhere(fault: Fault, sticky: bool, seed: u64, stride: u64) {
    fail_everywhere_with(&Options::small(), fault, sticky, seed, stride);
}

fn fail_everywhere_with(options: &Options, fault: Fault, sticky: bool, seed: u64, stride: u64) {
    let mut script = script(seed, 3, 60, 5000);
    script.extend(options.folders.iter().map(|_| Op::Drain("/far")));
    let mut call = seed % stride;
    while fail_at(&script, options, call, fault, sticky) {
        call += stride;
    }
    assert!(call > 100, "the script makes hardly any calls: {call}");
}

#[test]
fn an_io_error_at_any_call_harms_nothing_committed() {
    fail_everywhere(Fault::Eio, false, 5, 1);
    for seed in 6..6 + cases(2) {
        fail_everywhere(Fault::Eio, false, seed, 7);
    }
}

#[test]
fn a_full_disk_at_any_call_harms_nothing_committed() {
    fail_everywhere(Fault::Enospc, false, 15, 1);
    for seed in 16..16 + cases(2) {
        fail_everywhere(Fault::Enospc, true, seed, 5);
    }
}

#[test]
fn a_disk_that_stays_broken_harms_nothing_committed() {
    for seed in 26..26 + cases(2) {
        fail_everywhere(Fault::Eio, true, seed, 5);
    }
}

#[test]
fn a_disk_that_fails_harms_nothing_committed_to_an_encrypted_pool() {
    let options = encrypted(&Options::small());
    fail_everywhere_with(&options, Fault::Eio, false, 35, 7);
    fail_everywhere_with(&options, Fault::Enospc, false, 36, 13);
    fail_everywhere_with(&options, Fault::Eio, true, 37, 19);
}

#[test]
fn a_fault_at_any_call_on_several_folders_harms_nothing_committed() {
    let options = Options { folders: vec!["/near".into(), "/far".into()], ..Options::small() };
    fail_everywhere_with(&options, Fault::Eio, false, 35, 3);
    for seed in 36..36 + cases(2) {
        fail_everywhere_with(&options, Fault::Eio, true, seed, 13);
        fail_everywhere_with(&options, Fault::Enospc, true, seed, 13);
        fail_everywhere_with(&options, Fault::Enospc, false, seed, 13);
    }
}

#[test]
fn a_full_pool_says_so_early_and_still_commits_what_it_took() {
    let disk = SimDisk::new(1);
    disk.set_capacity(400 << 10);
    // Header and footer of a short pack are half of it.
    let options = Options { pack_bytes: 64 << 10, ..Options::small() };
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap();
    store.create(owner(1), b"").unwrap();
    store.create(owner(2), b"").unwrap();
    let mut random = Random(3);
    let mut stream = store.open_stream(owner(1)).unwrap();
    let mut model = Vec::new();
    let free = loop {
        let data: Vec<u8> = (0..3000).map(|_| random.next() as u8).collect();
        match stream.append(&[Bytes::from(data.clone())], true) {
            Ok(()) => model.extend_from_slice(&data),
            Err(StoreError::Full { needed_bytes, free_bytes }) => {
                assert!(needed_bytes >= 3000 && free_bytes < needed_bytes);
                break free_bytes;
            }
            Err(error) => panic!("{error}"),
        }
        if random.below(4) == 0 {
            stream.commit(&model.len().to_le_bytes()).unwrap();
        }
    };
    assert!(model.len() > 100_000 && free < 6000);
    assert_eq!(stream.len(), model.len() as u64);
    stream.commit(b"last").unwrap();
    for number in 0..200_u32 {
        stream.commit(&number.to_le_bytes()).unwrap_or_else(|error| panic!("commit {number}: {error}"));
        if number % 20 == 19 {
            stream.commit_snapshot(&[1; 300]).unwrap();
        }
    }
    assert_eq!(stream.read(0, model.len() as u64).unwrap().concat(), model);
    drop(stream);
    store.remove(owner(1)).unwrap();
    assert!(store.gc(GcRule::default()).unwrap().freed_bytes > 100_000);
    let mut stream = store.open_stream(owner(2)).unwrap();
    stream.append(&[Bytes::from(model.clone())], true).unwrap();
    stream.commit(b"fits again").unwrap();
    drop((stream, store));
    let store = Store::open(Arc::new(disk.after_crash(4)), Path::new(ROOT), Options::small()).unwrap();
    assert_eq!(observe(&store, 2).unwrap().bytes, model);
}

#[test]
fn after_a_failed_sync_the_pool_only_reads() {
    let disk = SimDisk::new(1);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    store.create(owner(1), b"s").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.append(&[Bytes::from(vec![1; 5000])], false).unwrap();
    stream.commit(b"one").unwrap();
    stream.append(&[Bytes::from(vec![2; 5000])], false).unwrap();
    // The first call of the commit that can fail at a sync: writes come before it.
    for call in 0.. {
        disk.fail_call(disk.calls() + call, Fault::Eio);
        let failed = stream.commit(b"two");
        if store.health() != Health::Ok {
            assert!(matches!(failed, Err(StoreError::LateWrite { kept_bytes: 5000, .. })), "{failed:?}");
            break;
        }
        stream.append(&[Bytes::from(vec![2; 5000])], false).unwrap();
    }
    let len = stream.len();
    assert!(matches!(stream.append(&[Bytes::from_static(b"x")], false), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(stream.commit(b""), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(store.create(owner(2), b""), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(store.remove(owner(1)), Err(StoreError::ReadOnly { .. })));
    assert_eq!(stream.read(0, 5000).unwrap().concat(), [1; 5000]);
    assert_eq!(stream.len(), len);
    drop((stream, store));
    let store = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap();
    assert_eq!(store.health(), Health::Ok);
}

/// A pool with something in every kind of file, and what its owners hold.
fn furnished(clean: bool) -> (SimDisk, Vec<(u8, Content)>) {
    furnished_with(clean, &Options::small())
}

fn furnished_with(clean: bool, options: &Options) -> (SimDisk, Vec<(u8, Content)>) {
    let mut run = Run::new(SimDisk::new(9), options.clone());
    run.run(&script(4242, 3, 60, 7000)).unwrap();
    for who in 0..3 {
        for op in [
            Op::Create(who, vec![who]),
            Op::Append(who, vec![who; 20_000], false),
            Op::Commit(who, vec![who; 9]),
        ] {
            run.step(&op).unwrap();
        }
    }
    let disk = if clean {
        run.close();
        run.disk.clone()
    } else {
        run.disk.after_crash(1)
    };
    let contents = run.model.iter().map(|(who, model)| (*who, model.committed.clone().unwrap())).collect();
    (disk, contents)
}

/// Reads all of an owner in small steps: the right bytes or an error, each step for itself.
fn read_through(store: &Store, who: u8, right: &Content) -> Result<u64, StoreError> {
    let head = store.head(owner(who))?;
    assert_eq!((&head.snapshot, &head.deltas), (&right.snapshot, &right.deltas), "owner {who}");
    assert_eq!(head.length, right.bytes.len() as u64);
    let mut stream = store.open_stream(owner(who))?;
    let mut lost = 0;
    for at in (0..head.length).step_by(512) {
        let len = 512.min(head.length - at);
        match stream.read(at, len) {
            Ok(found) => assert_eq!(found.concat(), right.bytes[at as usize..(at + len) as usize]),
            Err(ReadError::Damaged { owner: whose, offset, len: range, .. }) => {
                assert_eq!(whose, owner(who));
                // A chunk has at most 1024 bytes; where its header and the footer are gone, a region is lost, at most 3072.
                assert!(offset < at + len && offset + range > at && range <= 3072, "{at}: {offset} {range}");
                lost += len;
            }
            Err(error) => panic!("{error}"),
        }
    }
    Ok(lost)
}

fn flip(clean: bool, stride: u64, first: u64, options: &Options) {
    let (disk, contents) = furnished_with(clean, options);
    let files = disk.files();
    let (mut refused, mut lost_owner, mut lost_bytes) = (0, 0, 0);
    for file in &files {
        let size = disk.contents(file).unwrap().len() as u64;
        for byte in (first..size).step_by(stride as usize) {
            let disk = disk.after_crash(1);
            disk.flip_bit(file, byte, (byte % 8) as u8);
            let what = format!("{} byte {byte}", file.display());
            let store = match Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone()) {
                Ok(store) => store,
                Err(StoreError::Damaged { path, .. }) => {
                    assert_eq!(&path, file, "{what}");
                    assert!(!file.starts_with("/pool/owners"), "{what} stops the pool");
                    refused += 1;
                    continue;
                }
                Err(error) => panic!("{what}: {error}"),
            };
            for (who, right) in &contents {
                let mine = file.starts_with(format!("/pool/owners/{}", owner(*who)));
                match read_through(&store, *who, right) {
                    Ok(0) => {}
                    Ok(lost) => {
                        assert!(file.starts_with("/pool/packs"), "{what} harms owner {who}");
                        assert!(!store.check().findings.is_empty(), "{what}: the check is silent");
                        lost_bytes += lost;
                    }
                    Err(StoreError::Damaged { path, .. }) => {
                        assert!(mine && &path == file, "{what} harms owner {who}");
                        lost_owner += 1;
                    }
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    assert!(lost_bytes > 0, "no flip hit a chunk");
    assert!(lost_owner > 0, "no flip hit a head");
    assert!(clean || refused > 0, "no flip hit the journal");
}

#[test]
fn a_turned_bit_anywhere_gives_right_bytes_or_an_error_after_a_clean_stop() {
    flip(true, 397 / cases(1).min(20), 0, &Options::small());
}

#[test]
fn a_turned_bit_anywhere_gives_right_bytes_or_an_error_after_a_power_cut() {
    flip(false, 401 / cases(1).min(20), 3, &Options::small());
}

#[test]
fn a_turned_bit_anywhere_in_an_encrypted_pool_gives_right_bytes_or_an_error() {
    flip(true, 797 / cases(1).min(20), 1, &encrypted(&Options::small()));
    flip(false, 809 / cases(1).min(20), 2, &encrypted(&Options::small()));
}

/// Replaces a file's content, as somebody with a shell would.
fn put(disk: &SimDisk, file: &Path, content: &[u8]) {
    let handle = vtl_durable::Disk::open(disk, file, vtl_durable::Open::Write).unwrap();
    handle.set_size(0).unwrap();
    handle.write_at(0, &[std::io::IoSlice::new(content)]).unwrap();
    handle.sync_data().unwrap();
}

/// What can be done to a file: its new content, or none when it is gone.
fn damages(content: &[u8], others: &[Vec<u8>]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let mut zeroed = content.to_vec();
    let page = zeroed.len() / 2 / 4096 * 4096;
    zeroed.iter_mut().skip(page).take(4096).for_each(|byte| *byte = 0);
    let mut all = vec![
        ("deleted", None),
        ("empty", Some(Vec::new())),
        ("cut in half", Some(content[..content.len() / 2].to_vec())),
        ("cut by a byte", Some(content[..content.len().saturating_sub(1)].to_vec())),
        ("a page of zeros", Some(zeroed)),
    ];
    all.extend(others.iter().map(|other| ("swapped", Some(other.clone()))));
    all
}

#[test]
fn a_lost_cut_zeroed_or_swapped_file_of_any_kind_gives_right_bytes_or_an_error() {
    harm_every_file(&Options::small());
}

#[test]
fn a_lost_cut_zeroed_or_swapped_file_of_an_encrypted_pool_gives_right_bytes_or_an_error() {
    harm_every_file(&encrypted(&Options::small()));
}

fn harm_every_file(options: &Options) {
    for clean in [true, false] {
        let (disk, contents) = furnished_with(clean, options);
        let (mut right, mut wrong) = (0, 0);
        for file in disk.files() {
            let kind = |path: &Path| {
                path.extension().map(ToOwned::to_owned).or_else(|| path.file_name().map(ToOwned::to_owned))
            };
            let others =
                disk.files().into_iter().filter(|other| kind(other) == kind(&file) && *other != file);
            let others: Vec<Vec<u8>> = others.take(2).map(|other| disk.contents(&other).unwrap()).collect();
            for (what, content) in damages(&disk.contents(&file).unwrap(), &others) {
                let disk = disk.after_crash(1);
                match &content {
                    Some(content) => put(&disk, &file, content),
                    None => vtl_durable::Disk::unlink(&disk, &file).unwrap(),
                }
                let what = format!("{} {what}, clean {clean}", file.display());
                let store = match Store::open(Arc::new(disk), Path::new(ROOT), options.clone()) {
                    Ok(store) => store,
                    Err(StoreError::Damaged { .. } | StoreError::Format { .. } | StoreError::Io(_)) => {
                        let whole = !file.starts_with("/pool/owners") && !file.starts_with("/pool/packs");
                        assert!(whole && !file.starts_with("/pool/index"), "{what} stops the pool");
                        wrong += 1;
                        continue;
                    }
                    Err(error) => panic!("{what}: {error}"),
                };
                for (who, content) in &contents {
                    match read_parts(&store, *who, content) {
                        Ok(0) => right += 1,
                        Ok(_) => {
                            assert!(file.starts_with("/pool/packs"), "{what} harms owner {who}");
                            assert!(!store.check().findings.is_empty(), "{what}: the check is silent");
                            wrong += 1;
                        }
                        Err(StoreError::Damaged { .. }) => {
                            let mine = file.starts_with(format!("/pool/owners/{}", owner(*who)));
                            assert!(mine, "{what} harms owner {who}");
                            wrong += 1;
                        }
                        Err(error) => panic!("{what}: {error}"),
                    }
                }
            }
        }
        assert!(right > 100 && wrong > 10, "{right} {wrong}");
    }
}

/// Reads all of an owner in small steps: the right bytes or an error, each step for itself; bytes that are lost.
fn read_parts(store: &Store, who: u8, right: &Content) -> Result<u64, StoreError> {
    let head = store.head(owner(who))?;
    assert_eq!((&head.snapshot, &head.deltas), (&right.snapshot, &right.deltas), "owner {who}");
    let mut stream = store.open_stream(owner(who))?;
    let mut lost = 0;
    for at in (0..head.length).step_by(2048) {
        let len = 2048.min(head.length - at);
        match stream.read(at, len) {
            Ok(found) => assert_eq!(found.concat(), right.bytes[at as usize..(at + len) as usize]),
            Err(ReadError::Damaged { .. }) => lost += len,
            Err(error) => panic!("{error}"),
        }
    }
    Ok(lost)
}

#[test]
fn a_damaged_owner_can_be_removed_and_the_others_live() {
    let (disk, contents) = furnished(true);
    disk.flip_bit(Path::new(&format!("/pool/owners/{}/head", owner(1))), 50, 2);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    assert!(matches!(store.head(owner(1)), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.open_stream(owner(1)), Err(StoreError::Damaged { .. })));
    assert_eq!(store.owners().len(), 3);
    store.remove(owner(1)).unwrap();
    assert_eq!(store.owners(), [owner(0), owner(2)]);
    assert!(!disk.files().iter().any(|file| file.starts_with(format!("/pool/owners/{}", owner(1)))));
    assert_eq!(observe(&store, 0).as_ref(), Some(&contents[0].1));
}

#[test]
fn a_journal_that_is_older_than_its_packs_is_refused() {
    let disk = SimDisk::new(1);
    let mut run = Run::new(disk, Options::small());
    run.run(&[Op::Create(1, vec![]), Op::Append(1, vec![1; 3000], false), Op::Commit(1, vec![])]).unwrap();
    let journal = |disk: &SimDisk| -> Vec<_> {
        disk.files().into_iter().filter(|file| file.starts_with("/pool/journal")).collect()
    };
    let old: Vec<_> = journal(&run.disk)
        .into_iter()
        .map(|file| (file.clone(), run.disk.contents(&file).unwrap()))
        .collect();
    run.close();
    run.run(&[Op::Append(1, vec![2; 3000], false), Op::Commit(1, vec![])]).unwrap();
    let new = run.disk.after_crash(1);
    // The journal folder of the old moment beside the owners of the new one.
    for file in journal(&new) {
        vtl_durable::Disk::unlink(&new, &file).unwrap();
    }
    for (file, bytes) in old {
        let copy = vtl_durable::Disk::open(&new, &file, vtl_durable::Open::Create).unwrap();
        copy.append(&[std::io::IoSlice::new(&bytes)]).unwrap();
    }
    let before = new.files();
    let error = Store::open(Arc::new(new.clone()), Path::new(ROOT), Options::small()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("older"), "{error}");
    assert_eq!(new.files(), before);
}

#[test]
fn a_head_of_an_unknown_version_stops_the_start() {
    let (disk, _) = furnished(true);
    let path = format!("/pool/owners/{}", owner(1));
    let kind = vtl_durable::sealed::Kind { magic: *b"VTLHEAD\0", version: 1 };
    vtl_durable::sealed::replace(&disk, Path::new(&path), "head", kind, b"from the future").unwrap();
    let error = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap_err();
    assert!(matches!(error, StoreError::Format { .. }), "{error}");
}

#[test]
fn a_pool_of_a_format_that_was_never_released_is_refused_with_what_to_do() {
    let disk = SimDisk::new(1);
    vtl_durable::Disk::create_folder(&disk, Path::new(ROOT)).unwrap();
    let kind = vtl_durable::sealed::Kind { magic: *b"VTLPOOL\0", version: 0 };
    vtl_durable::sealed::replace(&disk, Path::new(ROOT), "pool", kind, &[7; 16]).unwrap();
    let error = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap_err();
    assert!(matches!(error, StoreError::Format { .. }), "{error}");
    assert!(error.to_string().contains("development version"), "{error}");
}

#[test]
fn two_stores_cannot_open_one_pool() {
    let disk = SimDisk::new(1);
    let first = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    let second = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small());
    assert!(second.unwrap_err().to_string().contains("another process"));
    drop(first);
    Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap();
}

#[test]
fn a_stream_is_exclusive_and_gives_up_what_is_not_committed() {
    let store = Store::open(Arc::new(SimDisk::new(1)), Path::new(ROOT), Options::small()).unwrap();
    let id = OwnerId([0xab; 16]);
    assert!(matches!(store.open_stream(id), Err(StoreError::UnknownOwner { .. })));
    store.create(id, b"first").unwrap();
    assert!(matches!(store.create(id, b""), Err(StoreError::Exists { .. })));
    let mut stream = store.open_stream(id).unwrap();
    assert!(matches!(store.open_stream(id), Err(StoreError::Busy { .. })));
    assert!(matches!(store.remove(id), Err(StoreError::Busy { .. })));
    stream.append(&[Bytes::from(vec![1; 9000])], true).unwrap();
    assert_eq!(stream.read(8000, 1000).unwrap().concat(), [1; 1000]);
    assert!(matches!(stream.read(8000, 1001), Err(ReadError::OutOfRange { end: 9000, .. })));
    assert!(matches!(stream.truncate(9001), Err(StoreError::TooLong { .. })));
    drop(stream);
    let stream = store.open_stream(id).unwrap();
    assert_eq!(stream.len(), 0);
    assert_eq!(store.head(id).unwrap().snapshot, b"first");
    assert_eq!(store.stats().packs, 0);
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

#[test]
fn what_nothing_needs_is_collected_and_counted_out() {
    let disk = SimDisk::new(1);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    let bytes = noise(1, 100_000);
    stream.append(&[Bytes::from(bytes.clone())], false).unwrap();
    stream.commit(b"").unwrap();
    let full = store.stats();
    assert_eq!((full.logical_bytes, full.unique_bytes, full.reclaimable_bytes), (100_000, 100_000, 0));
    let packs = || {
        let files = disk.files().into_iter();
        let packs = files.filter(|file| file.extension().is_some_and(|end| end == "pack"));
        packs.map(|file| disk.contents(&file).unwrap().len() as u64).collect::<Vec<_>>()
    };
    assert_eq!(full.packs, packs().len() as u64);
    assert_eq!(full.stored_bytes, packs().iter().sum::<u64>());
    stream.truncate(20_000).unwrap();
    let rule = GcRule { dead_percent: 1, ..GcRule::default() };
    assert_eq!(store.gc(rule).unwrap().removed, 0, "not before the commit");
    stream.commit(b"").unwrap();
    let report = store.gc(GcRule { dead_percent: 100, ..rule }).unwrap();
    assert!(report.removed > 3 && report.rewritten == 0 && report.reclaimable_bytes > 0, "{report:?}");
    let removed = store.stats();
    assert_eq!(removed.reclaimable_bytes, report.reclaimable_bytes);
    assert!(store.gc(rule).unwrap().rewritten >= 1);
    let cut = store.stats();
    assert_eq!(cut.logical_bytes, 20_000);
    assert!(cut.packs >= 2 && cut.packs < full.packs / 2 && cut.stored_bytes < removed.stored_bytes);
    assert_eq!(cut.stored_bytes, packs().iter().sum::<u64>());
    assert_eq!(stream.read(0, 20_000).unwrap().concat(), bytes[..20_000]);
    stream.truncate(0).unwrap();
    stream.commit(b"").unwrap();
    drop(stream);
    drop(store);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    store.gc(rule).unwrap();
    assert_eq!((store.stats().packs, packs().len()), (0, 0));
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.append(&[Bytes::from_static(b"again")], false).unwrap();
    stream.commit(b"").unwrap();
    assert_eq!(stream.read(0, 5).unwrap().concat(), b"again");
}

#[test]
fn the_same_content_is_stored_once_whatever_the_pieces_and_wherever_it_begins() {
    let disk = SimDisk::new(1);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    let bytes = noise(5, 60_000);
    let mut shifted = b"a few bytes in front".to_vec();
    shifted.extend_from_slice(&bytes);
    for (who, content, piece) in [(1, &bytes, 7000), (2, &bytes, 333), (3, &shifted, 4096)] {
        store.create(owner(who), b"").unwrap();
        let mut stream = store.open_stream(owner(who)).unwrap();
        for piece in content.chunks(piece) {
            stream.append(&[Bytes::copy_from_slice(piece)], true).unwrap();
        }
        stream.commit(b"").unwrap();
    }
    let stats = store.stats();
    assert_eq!(stats.logical_bytes, 180_020);
    assert!(stats.unique_bytes < 63_000, "{stats:?}");
    // Without the first owner the others are whole.
    store.remove(owner(1)).unwrap();
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    assert_eq!(observe(&store, 2).unwrap().bytes, bytes);
    assert_eq!(observe(&store, 3).unwrap().bytes, shifted);
    store.remove(owner(2)).unwrap();
    store.remove(owner(3)).unwrap();
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    drop(store);
    let store = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap();
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    assert_eq!(store.stats().packs, 0);
}

#[test]
fn without_dedupe_everything_is_stored_as_it_comes() {
    let options = Options { dedupe: false, ..Options::small() };
    let store = Store::open(Arc::new(SimDisk::new(1)), Path::new(ROOT), options).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    for _ in 0..3 {
        stream.append(&[Bytes::from(noise(5, 10_000))], true).unwrap();
        stream.commit(b"").unwrap();
    }
    assert_eq!(store.stats().unique_bytes, 30_000);
    assert_eq!(stream.read(20_000, 10_000).unwrap().concat(), noise(5, 10_000));
}

#[test]
fn a_lost_head_is_told_and_stops_collections() {
    let (disk, contents) = furnished(true);
    vtl_durable::Disk::unlink(&disk, Path::new(&format!("/pool/owners/{}/head", owner(1)))).unwrap();
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    assert!(matches!(store.head(owner(1)), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.gc(GcRule::default()), Err(StoreError::Damaged { .. })));
    assert_eq!(observe(&store, 0).as_ref(), Some(&contents[0].1));
    store.remove(owner(1)).unwrap();
    store.gc(GcRule::default()).unwrap();
    assert_eq!(observe(&store, 0).as_ref(), Some(&contents[0].1));
}

/// A pool with one owner of these bytes, a bit of which is turned in its first pack.
fn with_a_damaged_chunk(bytes: &[u8]) -> (SimDisk, Store) {
    let disk = SimDisk::new(1);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    write(&store, 1, bytes);
    drop(store);
    let pack =
        disk.files().into_iter().find(|file| file.extension().is_some_and(|end| end == "pack")).unwrap();
    disk.flip_bit(&pack, 5000, 3);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    (disk, store)
}

fn write(store: &Store, who: u8, bytes: &[u8]) {
    store.create(owner(who), b"").unwrap();
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
    stream.commit(b"").unwrap();
}

fn read_all(store: &Store, who: u8) -> Result<Vec<u8>, ReadError> {
    let mut stream = store.open_stream(owner(who)).unwrap();
    let len = stream.len();
    stream.read(0, len).map(|pieces| pieces.concat())
}

#[test]
fn a_damaged_chunk_is_put_back_when_its_content_comes_again() {
    let bytes = noise(7, 40_000);
    let (disk, store) = with_a_damaged_chunk(&bytes);
    assert!(matches!(read_all(&store, 1), Err(ReadError::Damaged { .. })));
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.readable, report.lost), (0, 0, 1), "nobody has it");
    assert!(report.lost_bytes > 0 && !store.may_heal());
    // A restart in between changes nothing: what is damaged is known, and not referred to.
    drop(store);
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    write(&store, 2, &bytes);
    assert_eq!(read_all(&store, 2).unwrap(), bytes);
    assert!(store.stats().unique_bytes > 40_000 && store.stats().unique_bytes < 45_000);
    assert!(store.may_heal());
    let report = store.repair().unwrap();
    assert_eq!((report.healed, report.lost), (1, 0));
    assert_eq!(read_all(&store, 1).unwrap(), bytes);
    assert_eq!(store.check().findings, []);
    drop(store);
    let store = Store::open(Arc::new(disk.after_crash(3)), Path::new(ROOT), Options::small()).unwrap();
    assert_eq!(store.check().findings, []);
    assert_eq!(read_all(&store, 1).unwrap(), bytes);
}

#[test]
fn an_error_that_did_not_stay_leaves_no_chunk_in_quarantine() {
    let bytes = noise(7, 40_000);
    let (disk, store) = with_a_damaged_chunk(&bytes);
    assert_eq!(store.check().findings.len(), 1);
    let pack =
        disk.files().into_iter().find(|file| file.extension().is_some_and(|end| end == "pack")).unwrap();
    disk.flip_bit(&pack, 5000, 3);
    assert_eq!(store.repair().unwrap().readable, 1);
    write(&store, 2, &bytes);
    assert_eq!(store.check().findings, []);
}

/// A pool with one owner, and its stream with these bytes committed.
fn with_a_stream(disk: &SimDisk, bytes: &[u8]) -> (Store, Stream) {
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
    stream.commit(b"").unwrap();
    (store, stream)
}

#[test]
fn bytes_that_could_not_be_written_count_for_nothing_and_are_no_damage() {
    type Ends = fn(&mut Stream) -> Result<(), StoreError>;
    let ends: [Ends; 2] = [|stream| stream.truncate(2100), |stream| stream.commit(b"")];
    for (number, end) in ends.into_iter().enumerate() {
        let disk = SimDisk::new(1);
        let (store, mut stream) = with_a_stream(&disk, &noise(1, 2000));
        let before = store.stored_bytes();
        stream.append(&[Bytes::from(noise(2, 500))], false).unwrap();
        disk.fail_call(disk.calls(), Fault::Enospc);
        let failed = end(&mut stream);
        assert!(
            matches!(failed, Err(StoreError::LateWrite { kept_bytes: 2000, .. })),
            "{number}: {failed:?}"
        );
        assert_eq!(store.stored_bytes(), before, "{number}");
        assert_eq!(store.check().findings, [], "{number}");
        assert_eq!(store.repair().unwrap(), RepairReport::default(), "{number}: nothing is in quarantine");
        assert_eq!(stream.read(0, 2000).unwrap().concat(), noise(1, 2000), "{number}");
    }
}

#[test]
fn a_check_says_nothing_of_what_no_commit_has_named() {
    let disk = SimDisk::new(1);
    let (store, mut stream) = with_a_stream(&disk, &noise(1, 2000));
    let more = noise(2, 2000);
    stream.append(&[Bytes::copy_from_slice(&more)], false).unwrap();
    assert_eq!(stream.read(2000, 2000).unwrap().concat(), more);
    let is_pack = |file: &PathBuf| file.extension().is_some_and(|end| end == "pack");
    let pack = disk.files().into_iter().find(is_pack).unwrap();
    let written = disk.contents(&pack).unwrap();
    let byte = written.windows(16).position(|bytes| *bytes == more[1000..1016]).unwrap();
    disk.flip_bit(&pack, byte as u64, 3);
    let report = store.check();
    assert_eq!((report.good_bytes, report.findings), (2000, Vec::new()));
    drop(stream);
    assert_eq!(store.repair().unwrap(), RepairReport::default(), "nothing is in quarantine");
}

#[test]
fn an_index_that_is_made_again_leads_to_nothing_that_a_stream_may_still_give_up() {
    let store = Store::open(Arc::new(SimDisk::new(1)), Path::new(ROOT), Options::small()).unwrap();
    let bytes = noise(5, 10_000);
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    // Some of it is in a file by now.
    stream.append(&[Bytes::copy_from_slice(&bytes)], false).unwrap();
    store.rebuild_index().unwrap();
    write(&store, 2, &bytes);
    drop(stream);
    assert_eq!(store.check().findings, []);
    assert_eq!(read_all(&store, 2).unwrap(), bytes);
}

#[test]
fn an_index_that_is_made_again_finds_what_the_old_one_found() {
    let (disk, _) = furnished(true);
    let store = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap();
    write(&store, 8, &noise(3, 30_000));
    let before = store.stats().unique_bytes;
    store.rebuild_index().unwrap();
    write(&store, 9, &noise(3, 30_000));
    let grown = store.stats().unique_bytes - before;
    assert!(grown < 3000, "{grown}");
}
