//! A pool whose packs lie in several folders: which ones it takes, where packs go, and what is done when one is not what it was.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Op, ROOT, Random, Run, disk_for, observe, owner};
use vtl_durable::{Disk, Open, SimDisk};
use vtl_store::{FolderState, GcRule, Health, Options, Store, StoreError};

const NEAR: &str = "/near";
const FAR: &str = "/far";

fn options() -> Options {
    Options { folders: vec![NEAR.into(), FAR.into()], ..Options::small() }
}

fn open(disk: &SimDisk, options: &Options) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone())
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// An owner with so much noise, committed; the noise.
fn fill(store: &Store, who: u8, len: usize) -> Vec<u8> {
    let data = noise(u64::from(who), len);
    store.create(owner(who), b"").unwrap();
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::from(data.clone())], false).unwrap();
    stream.commit(b"").unwrap();
    data
}

/// A closed pool with packs in all three folders, and what its owner holds.
fn furnished() -> (SimDisk, Vec<u8>) {
    let disk = disk_for(1, &options());
    let data = fill(&open(&disk, &options()).unwrap(), 1, 300_000);
    assert!([ROOT, NEAR, FAR].iter().all(|folder| !packs_in(&disk, folder).is_empty()));
    (disk, data)
}

fn packs_in(disk: &SimDisk, folder: &str) -> Vec<PathBuf> {
    let is_pack =
        |path: &PathBuf| path.starts_with(folder) && path.extension().is_some_and(|end| end == "pack");
    disk.files().into_iter().filter(is_pack).collect()
}

/// The pool is refused with this folder's path, nothing in it has changed, and it opens when all is as it was.
fn refused(disk: &SimDisk, options: &Options, path: &str, words: &str) {
    let everything = |disk: &SimDisk| -> Vec<_> {
        let files = disk.files().into_iter().filter(|path| !path.starts_with(ROOT));
        files.map(|path| (disk.contents(&path), path)).collect()
    };
    let before = everything(disk);
    let error = open(disk, options).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with(path) && told.contains(words), "{told}");
    assert_eq!(everything(disk), before);
}

fn serves(disk: &SimDisk, options: &Options, data: &[u8]) {
    let store = open(disk, options).unwrap();
    assert_eq!(observe(&store, 1).unwrap().bytes, data);
    assert_eq!(store.check().findings, []);
    assert_eq!(store.health(), Health::Ok);
}

fn copy(disk: &SimDisk, from: &Path, to: &Path) {
    let bytes = disk.contents(from).unwrap();
    let file = disk.open(to, Open::CreateIfMissing).unwrap();
    file.write_at(0, &[std::io::IoSlice::new(&bytes)]).unwrap();
    file.set_size(bytes.len() as u64).unwrap();
    file.sync_data().unwrap();
    disk.sync_folder(to.parent().unwrap()).unwrap();
}

#[test]
fn a_folder_whose_disk_is_not_mounted_is_refused_and_never_taken_for_a_new_one() {
    let (disk, data) = furnished();
    let taken = disk.take_away(Path::new(FAR)).unwrap();
    refused(&disk, &options(), FAR, "mount its disk");
    disk.create_folder(Path::new(FAR)).unwrap();
    refused(&disk, &options(), FAR, "its disk is not mounted");
    // Neither is another empty folder, while one is missing.
    disk.create_folder(Path::new("/new")).unwrap();
    let other = Options { folders: vec![NEAR.into(), "/new".into()], ..options() };
    refused(&disk, &other, FAR, "store.folders does not name it");
    disk.put_back(Path::new(FAR), taken);
    serves(&disk, &options(), &data);
}

#[test]
fn a_folder_that_is_not_configured_any_more_is_asked_for() {
    let (disk, data) = furnished();
    refused(&disk, &Options { folders: vec![NEAR.into()], ..options() }, FAR, "does not name it");
    refused(&disk, &Options { folders: Vec::new(), ..options() }, NEAR, "does not name it");
    serves(&disk, &options(), &data);
}

#[test]
fn folders_that_changed_places_are_the_same_folders() {
    let (disk, data) = furnished();
    let (near, far) = (disk.take_away(Path::new(NEAR)).unwrap(), disk.take_away(Path::new(FAR)).unwrap());
    disk.put_back(Path::new(NEAR), far);
    disk.put_back(Path::new("/elsewhere"), near);
    let other = Options { folders: vec!["/elsewhere".into(), NEAR.into()], ..options() };
    serves(&disk, &other, &data);
    let taken = disk.take_away(Path::new("/elsewhere")).unwrap();
    refused(&disk, &other, "/elsewhere", "mount its disk");
    disk.put_back(Path::new("/elsewhere"), taken);
    serves(&disk, &other, &data);
}

#[test]
fn a_folder_of_another_pool_is_refused() {
    let (disk, data) = furnished();
    let other = disk_for(2, &options());
    drop(open(&other, &Options { start_random: 99, ..options() }).unwrap());
    let ours = disk.contents(Path::new("/far/member")).unwrap();
    let theirs = other.contents(Path::new("/far/member")).unwrap();
    let put = |bytes: &[u8]| {
        let file = disk.open(Path::new("/far/member"), Open::Write).unwrap();
        file.write_at(0, &[std::io::IoSlice::new(bytes)]).unwrap();
    };
    put(&theirs);
    refused(&disk, &options(), FAR, "another pool");
    put(&ours);
    serves(&disk, &options(), &data);
}

#[test]
fn a_folder_with_files_of_others_is_not_taken() {
    let (disk, data) = furnished();
    disk.create_folder(Path::new("/home")).unwrap();
    disk.open(Path::new("/home/letter"), Open::Create).unwrap();
    let more = Options { folders: vec![NEAR.into(), FAR.into(), "/home".into()], ..options() };
    refused(&disk, &more, "/home", "holds letter");
    let inside = Options { folders: vec![NEAR.into(), FAR.into(), "/pool/packs".into()], ..options() };
    refused(&disk, &inside, "/pool/packs", "home");
    // What every new file system has is nobody's.
    disk.unlink(Path::new("/home/letter")).unwrap();
    disk.create_folder(Path::new("/home/lost+found")).unwrap();
    serves(&disk, &more, &data);
    assert_eq!(open(&disk, &more).unwrap().folders().len(), 4);
}

#[test]
fn a_copy_of_a_folder_beside_it_is_refused() {
    let (disk, data) = furnished();
    disk.create_folder(Path::new("/copy")).unwrap();
    copy(&disk, Path::new("/far/member"), Path::new("/copy/member"));
    let both = Options { folders: vec![NEAR.into(), FAR.into(), "/copy".into()], ..options() };
    refused(&disk, &both, "/copy", "and so is /far");
    let twice = Options { folders: vec![NEAR.into(), FAR.into(), FAR.into()], ..options() };
    refused(&disk, &twice, FAR, "name it once");
    serves(&disk, &options(), &data);
}

#[test]
fn every_flipped_bit_of_the_marks_is_a_refusal_that_names_the_file() {
    let (disk, data) = furnished();
    for path in ["/far/member", "/pool/members"] {
        let bytes = disk.contents(Path::new(path)).unwrap().len() as u64;
        for bit in 0..bytes * 8 {
            disk.flip_bit(Path::new(path), bit / 8, (bit % 8) as u8);
            refused(&disk, &options(), path, "");
            disk.flip_bit(Path::new(path), bit / 8, (bit % 8) as u8);
        }
    }
    // Without the list all folders that are there are the pool's, by their own word.
    disk.unlink(Path::new("/pool/members")).unwrap();
    serves(&disk, &options(), &data);
    refused(&disk, &Options { folders: vec![NEAR.into()], ..options() }, FAR, "does not name it");
}

#[test]
fn a_folder_that_another_process_uses_is_refused() {
    let (disk, data) = furnished();
    let lock = disk.open(Path::new("/far/lock"), Open::Write).unwrap();
    assert!(lock.try_lock().unwrap());
    refused(&disk, &options(), FAR, "another process");
    drop(lock);
    serves(&disk, &options(), &data);
}

#[test]
fn a_power_cut_while_folders_are_taken_in_leaves_a_pool_that_has_them_all() {
    for seed in 0..8 {
        for step in 0.. {
            let disk = disk_for(seed, &options());
            let data = fill(&open(&disk, &Options::small()).unwrap(), 1, 30_000);
            disk.crash_at(disk.steps() + step);
            let opened = open(&disk, &options()).is_ok() && !disk.has_crashed();
            let after = disk.after_crash(seed * 1000 + step);
            serves(&after, &options(), &data);
            let numbers: Vec<u32> =
                open(&after, &options()).unwrap().folders().iter().map(|f| f.number).collect();
            assert!(numbers.len() == 3 && numbers.is_sorted(), "seed {seed}, step {step}: {numbers:?}");
            if opened {
                break;
            }
        }
    }
}

#[test]
fn an_operator_may_move_packs_between_folders_while_the_pool_is_closed() {
    let (disk, data) = furnished();
    let mut random = Random(5);
    for round in 0..4 {
        for (from, to) in [(FAR, NEAR), (NEAR, "/pool"), ("/pool", FAR)] {
            for pack in packs_in(&disk, from) {
                let target = Path::new(to).join(pack.strip_prefix(from).unwrap());
                if random.below(2) == 0 || disk.contents(&target).is_some() {
                    continue;
                }
                let folder = target.parent().unwrap();
                disk.create_folder(folder).unwrap();
                if round % 2 == 0 {
                    copy(&disk, &pack, &target);
                    disk.sync_folder(folder.parent().unwrap()).unwrap();
                    disk.unlink(&pack).unwrap();
                } else {
                    // A copy that nobody has synced.
                    let bytes = disk.contents(&pack).unwrap();
                    let file = disk.open(&target, Open::Create).unwrap();
                    file.write_at(0, &[std::io::IoSlice::new(&bytes)]).unwrap();
                }
            }
        }
        let count = |disk: &SimDisk| {
            [ROOT, NEAR, FAR].iter().map(|folder| packs_in(disk, folder).len()).sum::<usize>()
        };
        let (before, store) = (count(&disk), open(&disk, &options()).unwrap());
        // Of what was copied and not moved, one is left.
        assert_eq!((count(&disk) as u64, before > count(&disk)), (store.stats().packs, round % 2 == 1));
        assert_eq!(observe(&store, 1).unwrap().bytes, data);
        assert_eq!(store.check().findings, []);
        if round % 2 == 1 {
            (0..8).for_each(|seed| serves(&disk.clone().survivor(seed), &options(), &data));
        }
    }
}

#[test]
fn of_two_files_of_a_pack_that_differ_the_whole_one_is_used_and_both_stay() {
    for turn in [false, true] {
        let (disk, data) = furnished();
        let (from, to) = if turn { (NEAR, FAR) } else { (FAR, NEAR) };
        let pack = packs_in(&disk, from).remove(0);
        let other = Path::new(to).join(pack.strip_prefix(from).unwrap());
        disk.create_folder(other.parent().unwrap()).unwrap();
        copy(&disk, &pack, &other);
        let file = disk.open(&other, Open::Write).unwrap();
        file.set_size(5000).unwrap();
        file.sync_data().unwrap();
        serves(&disk, &options(), &data);
        assert_eq!(disk.contents(&other).unwrap().len(), 5000);
    }
}

#[test]
fn folders_fill_alike_and_a_full_one_is_skipped() {
    let disk = disk_for(1, &options());
    disk.set_capacity(1 << 20);
    disk.mount(Path::new(NEAR), 400 << 10);
    disk.mount(Path::new(FAR), 900 << 10);
    let store = open(&disk, &options()).unwrap();
    fill(&store, 1, 225_000);
    let room = |folder: &str| disk.free_bytes(Path::new(folder)).unwrap() - options().reserve_bytes;
    let used = |folder: &str, capacity: u64| 100 - 100 * room(folder) / (capacity - options().reserve_bytes);
    let shares = [used(ROOT, 1 << 20), used(NEAR, 400 << 10), used(FAR, 900 << 10)];
    assert!(shares.iter().all(|share| (25..35).contains(share)), "{shares:?}");
    // Others fill one of them: the rest goes on.
    disk.mount(Path::new(NEAR), 150 << 10);
    let before = packs_in(&disk, NEAR).len();
    fill(&store, 2, 270_000);
    assert_eq!(packs_in(&disk, NEAR).len(), before);
    assert_eq!(store.check().findings, []);
    let mut total = 0;
    store.create(owner(3), b"").unwrap();
    let mut stream = store.open_stream(owner(3)).unwrap();
    let free = loop {
        match stream.append(&[Bytes::from(noise(100 + total, 5000))], false) {
            Ok(()) => total += 1,
            Err(StoreError::Full { free_bytes, .. }) => break free_bytes,
            Err(error) => panic!("{error}"),
        }
        if total % 5 == 0 {
            stream.commit(b"").unwrap();
        }
    };
    stream.commit(b"last").unwrap();
    assert!(total > 30 && free < 9000, "{total} {free}");
    // What is left in one of them would not hold another pack.
    let least = options().reserve_bytes + options().pack_bytes;
    let full = |folder: &vtl_store::Folder| folder.state == FolderState::Full;
    let folders = store.folders();
    assert!(folders.iter().all(|folder| full(folder) || folder.free_bytes < least), "{folders:?}");
    assert!(folders.iter().filter(|folder| full(folder)).count() > 1, "{folders:?}");
    drop(stream);
    store.remove(owner(3)).unwrap();
    assert!(store.gc(GcRule::default()).unwrap().freed_bytes > 200_000);
    assert_eq!(store.check().findings, []);
}

#[test]
fn a_folder_whose_disk_dies_gets_no_new_packs_and_the_pool_goes_on() {
    let disk = disk_for(1, &options());
    let store = open(&disk, &options()).unwrap();
    let first = fill(&store, 1, 100_000);
    store.create(owner(2), b"").unwrap();
    let mut stream = store.open_stream(owner(2)).unwrap();
    disk.fail_below(Path::new(FAR));
    let before = packs_in(&disk, FAR);
    let (mut kept, mut failures) = (Vec::new(), 0);
    for number in 0..60 {
        let data = noise(500 + number, 6000);
        let taken = stream.append(&[Bytes::from(data.clone())], false).and_then(|()| stream.commit(b""));
        match taken {
            Ok(()) => kept.extend(data),
            Err(error @ StoreError::LateWrite { .. }) => {
                assert!(error.to_string().contains("/far"), "{error}");
                failures += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((failures, store.health()), (1, Health::Ok));
    assert!(packs_in(&disk, FAR).len() <= before.len() + 1);
    let state = |store: &Store| {
        store.folders().into_iter().find(|folder| folder.path == Path::new(FAR)).unwrap().state
    };
    assert!(matches!(state(&store), FolderState::Failed { .. }));
    drop(stream);
    assert_eq!(observe(&store, 2).unwrap().bytes, kept);
    drop(store);
    disk.heal();
    let store = open(&disk, &options()).unwrap();
    assert_eq!(state(&store), FolderState::InUse);
    assert_eq!((observe(&store, 1).unwrap().bytes, observe(&store, 2).unwrap().bytes), (first, kept));
    assert_eq!(store.check().findings, []);
}

#[test]
fn without_a_folder_the_pool_is_opened_for_reading_only_when_that_is_asked_for() {
    let (disk, data) = furnished();
    let taken = disk.take_away(Path::new(FAR)).unwrap();
    let degraded = Options { degraded: true, ..options() };
    let store = open(&disk, &degraded).unwrap();
    assert!(matches!(store.health(), Health::ReadOnly { why } if why.contains("/far (folder 2)")));
    assert!(matches!(store.gc(GcRule::default()), Err(StoreError::ReadOnly { .. })));
    assert!(matches!(store.create(owner(2), b""), Err(StoreError::ReadOnly { .. })));
    let (mut good, mut lost) = (0, 0);
    let mut stream = store.open_stream(owner(1)).unwrap();
    for at in (0..data.len()).step_by(1000) {
        match stream.read(at as u64, 1000) {
            Ok(pieces) => {
                assert_eq!(pieces.concat(), data[at..at + 1000]);
                good += 1;
            }
            Err(error) => {
                assert!(matches!(error, vtl_store::ReadError::Damaged { .. }), "{error}");
                lost += 1;
            }
        }
    }
    assert!(good > 100 && lost > 50, "{good} {lost}");
    assert!(!store.check().findings.is_empty());
    let missing = store.folders().into_iter().find(|folder| folder.number == 2).unwrap();
    assert_eq!((missing.path, missing.state), (FAR.into(), FolderState::Missing));
    drop((stream, store));
    // An empty folder there is not taken for a new one even then.
    disk.create_folder(Path::new(FAR)).unwrap();
    drop(open(&disk, &degraded).unwrap());
    assert_eq!(disk.list(Path::new(FAR)).unwrap(), []);
    disk.put_back(Path::new(FAR), taken);
    serves(&disk, &options(), &data);
    serves(&disk, &degraded, &data);
}

/// Packs in all three folders.
fn all_packs(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let packs = [ROOT, NEAR, FAR].into_iter().flat_map(|folder| packs_in(disk, folder));
    packs.map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

/// What each of six owners commits, and what it appends and does not commit.
fn halves(who: u8) -> (Vec<u8>, Vec<u8>) {
    (noise(u64::from(who), 5000), noise(100 + u64::from(who), 30_000))
}

#[test]
fn packs_of_a_folder_that_a_start_lacked_are_ended_where_commits_ended_by_the_start_that_has_it_again() {
    let disk = disk_for(1, &options());
    let store = open(&disk, &options()).unwrap();
    let mut streams = Vec::new();
    for who in 0..6 {
        let (committed, late) = halves(who);
        store.create(owner(who), b"").unwrap();
        let mut stream = store.open_stream(owner(who)).unwrap();
        stream.append(&[Bytes::from(committed)], false).unwrap();
        stream.commit(b"").unwrap();
        stream.append(&[Bytes::from(late)], false).unwrap();
        streams.push(stream);
    }
    let (mut cut, mut removed) = (0, 0);
    for seed in 0..12 {
        let (with_all, without) = (disk.survivor(seed), disk.survivor(seed));
        let before = all_packs(&without);
        drop(open(&with_all, &options()).unwrap());
        let right = all_packs(&with_all);
        let in_far = before.iter().filter(|(path, _)| path.starts_with(FAR));
        for (path, bytes) in in_far {
            match right.get(path) {
                Some(ended) => cut += usize::from(ended != bytes),
                None => removed += 1,
            }
        }
        let taken = without.take_away(Path::new(FAR)).unwrap();
        let degraded = Options { degraded: true, ..options() };
        for _ in 0..2 {
            let store = open(&without, &degraded).unwrap();
            assert!(matches!(store.health(), Health::ReadOnly { .. }));
        }
        without.put_back(Path::new(FAR), taken);
        let store = open(&without, &options()).unwrap();
        assert_eq!(store.health(), Health::Ok);
        assert!(all_packs(&without) == right, "seed {seed}");
        // What was lost comes again, and leans on nothing that was not there for good.
        for who in 0..6 {
            let (committed, late) = halves(who);
            let mut stream = store.open_stream(owner(who)).unwrap();
            stream.append(&[Bytes::from(late.clone())], false).unwrap();
            stream.commit(b"").unwrap();
            drop(stream);
            assert!(observe(&store, who).unwrap().bytes == [committed, late].concat(), "seed {seed}");
        }
        assert_eq!(store.check().findings, [], "seed {seed}");
    }
    assert!(cut > 0 && removed > 0, "{cut} {removed}");
}

#[test]
fn collections_rebuilding_and_repair_work_over_all_folders() {
    let mut run = Run::new(disk_for(7, &options()), options());
    run.run(&common::script(7007, 4, 120, 9000)).unwrap();
    for who in 0..4 {
        run.step(&Op::Create(who, vec![who])).unwrap();
        run.step(&Op::Append(who, noise(u64::from(who), 60_000), false)).unwrap();
        run.step(&Op::Commit(who, vec![who])).unwrap();
        run.step(&Op::Append(who, noise(50 + u64::from(who), 60_000), false)).unwrap();
        run.step(&Op::Commit(who, vec![who])).unwrap();
    }
    run.step(&Op::Remove(1)).unwrap();
    run.step(&Op::Truncate(2, 70_000)).unwrap();
    run.step(&Op::Commit(2, vec![])).unwrap();
    run.step(&Op::Reopen).unwrap();
    let store = run.store.clone().unwrap();
    let report = store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    assert!(report.removed > 3 && report.rewritten > 0, "{report:?}");
    store.rebuild_index().unwrap();
    let before = store.stats().stored_bytes;
    // All of owner 0 is found again, wherever it lies.
    run.step(&Op::Create(9, vec![])).unwrap();
    run.step(&Op::Append(9, noise(0, 60_000), false)).unwrap();
    run.step(&Op::Commit(9, vec![])).unwrap();
    assert!(store.stats().stored_bytes < before + 10_000, "{before} {}", store.stats().stored_bytes);
    let listed: u64 = store.folders().iter().map(|folder| folder.stored_bytes).sum();
    assert_eq!(listed, store.stats().stored_bytes);
    (0..10).for_each(|who| run.step(&Op::Close(who)).unwrap());
    run.verify("after the collection");
    let packs = packs_in(&run.disk, FAR).into_iter();
    let pack = packs.max_by_key(|pack| run.disk.contents(pack).unwrap().len()).unwrap();
    run.disk.flip_bit(&pack, 4096 + 900, 3);
    assert!(!store.check().findings.is_empty());
    run.disk.flip_bit(&pack, 4096 + 900, 3);
    assert!(store.repair().unwrap().readable > 0);
    drop(store);
    run.step(&Op::Reopen).unwrap();
    run.verify("opened anew");
}

#[test]
fn a_folder_is_emptied_while_it_is_read_and_the_pool_does_without_it() {
    let (disk, data) = furnished();
    let store = open(&disk, &options()).unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    assert_eq!(stream.read(0, 1000).unwrap().concat(), data[..1000]);
    let report = store.drain(Path::new(FAR)).unwrap();
    assert!(report.moved > 3 && report.moved_bytes > 50_000 && report.left == 0, "{report:?}");
    assert_eq!(packs_in(&disk, FAR), [] as [PathBuf; 0]);
    assert_eq!(stream.read(0, data.len() as u64).unwrap().concat(), data);
    let state = |store: &Store| {
        store.folders().into_iter().find(|folder| folder.path == Path::new(FAR)).unwrap().state
    };
    assert_eq!(state(&store), FolderState::Empty);
    drop(stream);
    fill(&store, 2, 100_000);
    assert_eq!(packs_in(&disk, FAR), [] as [PathBuf; 0], "it gets no packs any more");
    drop(store);
    assert_eq!(state(&open(&disk, &options()).unwrap()), FolderState::Empty);
    // Its disk is gone.
    disk.take_away(Path::new(FAR)).unwrap();
    let without = Options { folders: vec![NEAR.into()], ..options() };
    serves(&disk, &without, &data);
    assert_eq!(open(&disk, &without).unwrap().folders().len(), 2);
    // What comes after it has another number.
    disk.create_folder(Path::new(FAR)).unwrap();
    let numbers: Vec<u32> =
        open(&disk, &options()).unwrap().folders().iter().map(|folder| folder.number).collect();
    assert_eq!(numbers, [0, 1, 3]);
}

#[test]
fn a_pack_that_is_being_written_stays_until_its_stream_has_left_it() {
    let disk = disk_for(1, &options());
    let store = open(&disk, &options()).unwrap();
    let mut streams = Vec::new();
    for who in 0..6 {
        store.create(owner(who), b"").unwrap();
        let mut stream = store.open_stream(owner(who)).unwrap();
        stream.append(&[Bytes::from(noise(u64::from(who), 3000))], false).unwrap();
        stream.commit(b"").unwrap();
        streams.push(stream);
    }
    let report = store.drain(Path::new(NEAR)).unwrap();
    assert!(report.left > 0, "{report:?}");
    for stream in &mut streams {
        stream.append(&[Bytes::from(noise(77, 3000))], false).unwrap();
        stream.commit(b"").unwrap();
    }
    drop(streams);
    let report = store.drain(Path::new(NEAR)).unwrap();
    assert!(report.moved > 0 && report.left == 0, "{report:?}");
    assert_eq!(store.check().findings, []);
    for wrong in [ROOT, "/nowhere"] {
        assert!(matches!(store.drain(Path::new(wrong)), Err(StoreError::Folder { .. })), "{wrong}");
    }
}

#[test]
fn a_folder_that_can_only_be_read_gives_the_packs_that_have_a_footer_and_the_others_when_it_heals() {
    let (disk, data) = furnished();
    // A pack that is half full would not wait for another stream.
    let store = open(&disk, &Options { pack_bytes: 64 << 10, ..options() }).unwrap();
    let mut streams = Vec::new();
    for who in 10..14 {
        store.create(owner(who), b"").unwrap();
        let mut stream = store.open_stream(owner(who)).unwrap();
        stream.append(&[Bytes::from(noise(u64::from(who), 3000))], false).unwrap();
        stream.commit(b"").unwrap();
        streams.push(stream);
    }
    drop(streams);
    let far = || store.folders().into_iter().find(|folder| folder.path == Path::new(FAR)).unwrap();
    let before = far().packs;
    disk.fail_below(Path::new(FAR));
    for _ in 0..2 {
        let error = store.drain(Path::new(FAR)).unwrap_err();
        assert!(matches!(&error, StoreError::Io(error) if error.path.starts_with(FAR)), "{error}");
        let left = far().packs;
        assert!(left > 0 && left <= 4 && left < before, "{left} of {before}");
    }
    let all = |store: &Store| {
        assert_eq!(observe(store, 1).unwrap().bytes, data);
        for who in 10..14 {
            assert_eq!(observe(store, who).unwrap().bytes, noise(u64::from(who), 3000));
        }
        assert_eq!(store.check().findings, []);
    };
    all(&store);
    disk.heal();
    let report = store.drain(Path::new(FAR)).unwrap();
    assert!(report.moved > 0 && report.left == 0, "{report:?}");
    all(&store);
    drop(store);
    all(&open(&disk.after_crash(1), &options()).unwrap());
}

#[test]
fn without_room_elsewhere_a_folder_keeps_its_packs() {
    let (disk, data) = furnished();
    let store = open(&disk, &options()).unwrap();
    disk.set_capacity(0);
    disk.mount(Path::new(NEAR), 0);
    let report = store.drain(Path::new(FAR));
    assert!(report.is_err(), "the home has no room to note it: {report:?}");
    disk.set_capacity(1 << 40);
    disk.mount(Path::new(NEAR), 0);
    disk.set_capacity((options().reserve_bytes * 2) + 200_000);
    let report = store.drain(Path::new(FAR)).unwrap();
    assert!(report.left > 0 || report.moved > 0, "{report:?}");
    assert_eq!(store.check().findings, []);
    drop(store);
    disk.set_capacity(1 << 40);
    serves(&disk, &options(), &data);
}

/// Every opening from now on names the third folder.
fn with_third() -> Options {
    Options { folders: vec![NEAR.into(), FAR.into(), THIRD.into()], ..options() }
}

const THIRD: &str = "/third";

fn three_with_a_blank_one(seed: u64) -> (SimDisk, Store, Vec<u8>) {
    let disk = disk_for(seed, &options());
    disk.create_folder(Path::new(THIRD)).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    let store = open(&disk, &options()).unwrap();
    let data = fill(&store, 1, 60_000);
    (disk, store, data)
}

#[test]
fn a_folder_that_is_added_gets_packs_at_once_and_is_one_of_the_pool_from_then_on() {
    let (disk, store, data) = three_with_a_blank_one(3);
    let mut stream = store.open_stream(owner(1)).unwrap();
    store.add_folder(Path::new(THIRD)).unwrap();
    stream.append(&[Bytes::from(noise(9, 300_000))], false).unwrap();
    stream.commit(b"").unwrap();
    drop(stream);
    assert!(!packs_in(&disk, THIRD).is_empty());
    assert_eq!(store.folders().iter().map(|folder| folder.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(store.check().findings, []);
    for refused in [THIRD, NEAR, "/pool/below", "/nowhere"] {
        assert!(matches!(store.add_folder(Path::new(refused)), Err(StoreError::Folder { .. })), "{refused}");
    }
    drop(store);
    serves(&disk, &with_third(), &[data, noise(9, 300_000)].concat());
    refused(&disk, &options(), THIRD, "does not name it");
}

#[test]
fn a_power_cut_while_a_folder_is_added_leaves_one_that_the_next_start_takes_in() {
    for seed in 0..4 {
        for step in 0.. {
            let (disk, store, data) = three_with_a_blank_one(seed);
            disk.crash_at(disk.steps() + step);
            let added = store.add_folder(Path::new(THIRD)).is_ok() && !disk.has_crashed();
            let after = disk.after_crash(seed * 1000 + step);
            serves(&after, &with_third(), &data);
            assert_eq!(open(&after, &with_third()).unwrap().folders().len(), 4, "seed {seed}, step {step}");
            if added {
                assert!(step > 3, "it takes hardly any steps");
                break;
            }
        }
    }
}

#[test]
fn a_disk_that_fails_at_any_call_of_adding_a_folder_costs_nothing_and_it_is_added_the_next_time() {
    for call in 0.. {
        let (disk, store, data) = three_with_a_blank_one(5);
        disk.fail_call(disk.calls() + call, vtl_durable::Fault::Eio);
        let added = store.add_folder(Path::new(THIRD));
        let failed = disk.has_failed();
        disk.heal();
        assert!(added.is_ok() || failed, "call {call}: {added:?}");
        assert_eq!(observe(&store, 1).unwrap().bytes, data, "call {call}");
        if added.is_err() {
            // Now, or by the next start.
            let _ = store.add_folder(Path::new(THIRD));
        }
        drop(store);
        serves(&disk, &with_third(), &data);
        if !failed {
            assert!(call > 3, "it makes hardly any calls");
            break;
        }
    }
}
