//! Owners that are missing, or come from an older copy: told by name, kept for who puts them back, and never taken from.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Content, Op, ROOT, Run, cases, observe, owner, script};
use vtl_durable::{Disk, Fault, Open, SimDisk};
use vtl_store::{GcRule, Options, Store, StoreError};

type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files below a folder.
fn files_in(disk: &SimDisk, folder: &Path) -> Files {
    let files = disk.files().into_iter().filter(|file| file.starts_with(folder));
    files.map(|file| (file.clone(), disk.contents(&file).unwrap())).collect()
}

/// Takes all files below a folder away.
fn clear(disk: &SimDisk, folder: &Path) {
    files_in(disk, folder).keys().for_each(|file| disk.unlink(file).unwrap());
}

/// Puts files where they were, as somebody with a copy would.
fn put(disk: &SimDisk, files: &Files) {
    for (file, bytes) in files {
        disk.create_folder(file.parent().unwrap()).unwrap();
        let handle = disk.open(file, Open::CreateIfMissing).unwrap();
        handle.set_size(0).unwrap();
        handle.write_at(0, &[IoSlice::new(bytes)]).unwrap();
        handle.sync_data().unwrap();
        disk.sync_folder(file.parent().unwrap()).unwrap();
    }
}

fn folder(who: u8) -> PathBuf {
    Path::new(ROOT).join("owners").join(owner(who).to_string())
}

/// The owner's folder is gone.
fn lose(disk: &SimDisk, who: u8) {
    clear(disk, &folder(who));
    disk.remove_folder(&folder(who)).unwrap();
    disk.sync_folder(&Path::new(ROOT).join("owners")).unwrap();
}

fn open(disk: &SimDisk) -> Store {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap()
}

fn write(run: &mut Run, who: u8, fill: u8, len: usize) {
    for op in [Op::Append(who, vec![fill; len], false), Op::Commit(who, vec![fill])] {
        run.step(&op).unwrap();
    }
}

/// Three owners, of whom 2 has written nothing since it was made; their folders as they were at an earlier moment.
fn three_owners() -> (Run, Vec<Files>) {
    let mut run = Run::new(SimDisk::new(3), Options::small());
    run.run(&[Op::Create(0, vec![0]), Op::Create(1, vec![1]), Op::Create(2, vec![2])]).unwrap();
    write(&mut run, 0, 10, 9000);
    write(&mut run, 1, 11, 9000);
    run.step(&Op::Reopen).unwrap();
    let old = (0..3).map(|who| files_in(&run.disk, &folder(who))).collect();
    (run, old)
}

/// How the last moment before the damage is reached.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Clean,
    PowerCut,
}

const STOPS: [Stop; 2] = [Stop::Clean, Stop::PowerCut];

fn stop(run: &mut Run, how: Stop) -> SimDisk {
    match how {
        Stop::Clean => run.close(),
        Stop::PowerCut => run.disk = run.disk.after_crash(5),
    }
    run.disk.clone()
}

fn contents(run: &Run) -> Vec<(u8, Content)> {
    run.model.iter().map(|(who, model)| (*who, model.committed.clone().unwrap())).collect()
}

/// Owner `lost` is told with what helps, nothing is collected, the others live; after it has been given up all goes on.
fn is_told_and_can_be_given_up(disk: &SimDisk, lost: u8, all: &[(u8, Content)], what: &str) {
    for start in 0..2 {
        let store = open(disk);
        let what = format!("{what}, owner {lost}, start {start}");
        let told = store.head(owner(lost)).unwrap_err();
        assert!(
            matches!(&told, StoreError::Damaged { path, .. } if path.starts_with(folder(lost))),
            "{what}: {told}"
        );
        assert!(
            told.to_string().contains("put its folder back as it was last, or remove the owner"),
            "{told}"
        );
        assert!(store.owners().contains(&owner(lost)), "{what}");
        assert!(matches!(store.gc(GcRule::default()), Err(StoreError::Damaged { .. })), "{what}");
        assert!(matches!(store.create(owner(lost), b""), Err(StoreError::Exists { .. })), "{what}");
        assert!(store.check().findings.iter().any(|finding| finding.owner == owner(lost)), "{what}");
        for (who, right) in all.iter().filter(|(who, _)| *who != lost) {
            assert_eq!(observe(&store, *who).as_ref(), Some(right), "{what}");
        }
    }
    let store = open(disk);
    store.remove(owner(lost)).unwrap();
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    drop(store);
    let store = open(&disk.after_crash(2));
    assert!(!store.owners().contains(&owner(lost)), "{what}");
    assert_eq!(store.check().findings, [], "{what}");
    store.gc(GcRule::default()).unwrap();
    for (who, right) in all.iter().filter(|(who, _)| *who != lost) {
        assert_eq!(observe(&store, *who).as_ref(), Some(right), "{what}");
    }
    store.create(owner(lost), b"anew").unwrap();
}

#[test]
fn a_lost_folder_is_told_by_name_until_the_owner_is_given_up() {
    for how in STOPS {
        for lost in 0..3 {
            let (mut run, _) = three_owners();
            write(&mut run, 0, 20, 7000);
            let all = contents(&run);
            let disk = stop(&mut run, how);
            lose(&disk, lost);
            is_told_and_can_be_given_up(&disk, lost, &all, &format!("{how:?}"));
        }
    }
}

#[test]
fn an_older_copy_of_a_head_is_told_by_name_until_the_owner_is_given_up() {
    for how in STOPS {
        for restarts in 0..2 {
            let (mut run, old) = three_owners();
            for who in 0..3 {
                write(&mut run, who, 20 + who, 7000);
                // Heads are written when a stream is closed.
                run.step(&Op::Close(who)).unwrap();
            }
            for _ in 0..restarts {
                run.step(&Op::Reopen).unwrap();
            }
            let all = contents(&run);
            let disk = stop(&mut run, how);
            // A power cut without a start since leaves a journal that brings the older head to the last state.
            let journal_has_it = matches!(how, Stop::PowerCut) && restarts == 0;
            for lost in 0..3 {
                let disk = disk.after_crash(1);
                put(&disk, &old[usize::from(lost)]);
                if journal_has_it {
                    let store = open(&disk);
                    assert_eq!(store.check().findings, []);
                    all.iter()
                        .for_each(|(who, right)| assert_eq!(observe(&store, *who).as_ref(), Some(right)));
                } else {
                    is_told_and_can_be_given_up(&disk, lost, &all, &format!("{how:?}, {restarts} restarts"));
                }
            }
        }
    }
}

#[test]
fn an_owner_whose_head_is_put_back_while_the_pool_is_open_is_not_removed_before_the_next_opening() {
    let (mut run, old) = three_owners();
    write(&mut run, 1, 21, 7000);
    let all = contents(&run);
    let disk = stop(&mut run, Stop::Clean);
    let whole = files_in(&disk, &folder(1));
    lose(&disk, 1);
    let store = open(&disk);
    assert!(!store.is_mended(owner(1)).unwrap());
    put(&disk, &old[1]);
    assert!(!store.is_mended(owner(1)).unwrap(), "it is an older copy");
    put(&disk, &whole);
    assert!(store.is_mended(owner(1)).unwrap());
    assert!(!store.is_mended(owner(0)).unwrap(), "it was never damaged");
    let refused = store.remove(owner(1));
    assert!(matches!(refused, Err(StoreError::Mended { owner: who }) if who == owner(1)), "{refused:?}");
    drop(store);
    let store = open(&disk);
    all.iter().for_each(|(who, right)| assert_eq!(observe(&store, *who).as_ref(), Some(right)));
    store.remove(owner(1)).unwrap();
}

/// A closed pool in which an older copy lies in place of owner 1's head, and what its owners hold.
fn with_an_older_copy() -> (SimDisk, Vec<(u8, Content)>) {
    let (mut run, old) = three_owners();
    write(&mut run, 1, 21, 7000);
    let all = contents(&run);
    let disk = stop(&mut run, Stop::Clean).after_crash(1);
    put(&disk, &old[1]);
    (disk, all)
}

/// Owner 1 is told, and the others are as they were.
fn tells_the_older_copy(disk: &SimDisk, all: &[(u8, Content)], what: &str) {
    let store = open(disk);
    let told = store.head(owner(1));
    assert!(matches!(&told, Err(StoreError::Damaged { .. })), "{what}: {told:?}");
    for who in [0, 2] {
        assert_eq!(observe(&store, who).as_ref(), Some(&all[usize::from(who)].1), "{what}");
    }
}

#[test]
fn a_power_cut_at_any_step_of_a_start_lets_no_older_copy_pass() {
    let (disk, all) = with_an_older_copy();
    for step in 0.. {
        let cut = disk.survivor(1);
        cut.crash_at(cut.steps() + step);
        let opened = Store::open(Arc::new(cut.clone()), Path::new(ROOT), Options::small()).map(drop).is_ok();
        let opened = opened && !cut.has_crashed();
        for seed in 0..4 {
            let after = cut.after_crash(seed);
            (0..2).for_each(|start| {
                tells_the_older_copy(&after, &all, &format!("step {step}, seed {seed}, start {start}"));
            });
        }
        if opened {
            assert!(step > 10, "it takes hardly any steps");
            break;
        }
    }
}

#[test]
fn a_call_that_fails_in_a_start_lets_no_older_copy_pass() {
    let (disk, all) = with_an_older_copy();
    for call in 0.. {
        let failing = disk.survivor(1);
        failing.fail_call(failing.calls() + call, Fault::Eio);
        let opened = Store::open(Arc::new(failing.clone()), Path::new(ROOT), Options::small());
        drop(opened);
        if !failing.has_failed() {
            assert!(call > 30, "it makes hardly any calls");
            break;
        }
        failing.heal();
        tells_the_older_copy(&failing, &all, &format!("call {call}"));
    }
}

#[test]
fn a_folder_that_is_put_back_is_whole_with_what_only_the_journal_had() {
    for how in STOPS {
        for starts in 1..4 {
            let (mut run, _) = three_owners();
            let old = files_in(&run.disk, &folder(1));
            // Its stream stays open: the head is behind the journal when the power is cut.
            write(&mut run, 1, 21, 7000);
            write(&mut run, 1, 22, 300);
            let all = contents(&run);
            let disk = stop(&mut run, how);
            let last = files_in(&disk, &folder(1));
            assert_eq!(last == old, matches!(how, Stop::PowerCut));
            lose(&disk, 1);
            for start in 0..starts {
                let store = open(&disk);
                assert!(matches!(store.head(owner(1)), Err(StoreError::Damaged { .. })), "start {start}");
                // The others go on, through journal files that are retired.
                let mut stream = store.open_stream(owner(0)).unwrap();
                for _ in 0..20 {
                    stream.commit_snapshot(&[7; 3000]).unwrap();
                }
            }
            put(&disk, &last);
            let store = open(&disk);
            assert_eq!(observe(&store, 1).as_ref(), Some(&all[1].1), "{how:?}, {starts} starts");
            assert_eq!(store.check().findings, []);
            store.gc(GcRule::default()).unwrap();
        }
    }
}

#[test]
fn an_owner_that_was_made_again_under_its_old_id_and_is_lost_is_told() {
    for how in STOPS {
        let (mut run, old) = three_owners();
        for op in
            [Op::Remove(1), Op::Create(1, vec![5]), Op::Append(1, vec![6; 500], true), Op::Commit(1, vec![7])]
        {
            run.step(&op).unwrap();
        }
        let all = contents(&run);
        let disk = stop(&mut run, how);
        for stale in [false, true] {
            let disk = disk.after_crash(1);
            lose(&disk, 1);
            if stale {
                put(&disk, &old[1]);
            }
            is_told_and_can_be_given_up(&disk, 1, &all, &format!("{how:?}, stale {stale}"));
        }
    }
}

#[test]
fn removals_that_a_power_cut_leaves_half_done_are_not_taken_for_losses() {
    let options = Options { segment_bytes: 8 << 10, ..Options::small() };
    let mut run = Run::new(SimDisk::new(8), options.clone());
    let script = [
        Op::Create(1, vec![1]),
        Op::Create(2, vec![2]),
        Op::Commit(1, vec![1]),
        Op::Remove(1),
        Op::Commit(2, vec![1]),
        Op::Create(1, vec![3]),
        Op::Commit(2, vec![1]),
        Op::Remove(2),
        Op::Commit(1, vec![1]),
        Op::Reopen,
        Op::Remove(1),
        Op::Reopen,
    ];
    cut_before_every_step(&mut run, &script, &options);
}

/// Runs the script and starts from a power cut before each of its steps: no owner is ever told as lost, all are as committed.
fn cut_before_every_step(run: &mut Run, script: &[Op], options: &Options) -> usize {
    run.open().unwrap();
    run.disk.watch(1);
    let mut cuts = 0;
    for op in script {
        let before = run.model.clone();
        run.step(op).unwrap_or_else(|error| panic!("{op:?}: {error}"));
        for disk in run.disk.take_watched() {
            cuts += 1;
            let mut after = Run::new(disk, Options { start_random: cuts, ..options.clone() });
            for (who, model) in &run.model {
                let mut both = model.clone();
                let old = before.get(who).and_then(|model| model.committed.clone());
                both.in_flight = Some(std::mem::replace(&mut both.committed, old));
                after.model.insert(*who, both);
            }
            let what = format!("cut {cuts} in {op:?}");
            after.open().unwrap_or_else(|error| panic!("{what}: {error}"));
            after.verify(&what);
            after
                .store
                .as_ref()
                .unwrap()
                .gc(GcRule::default())
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            // What the start has written is as good.
            after.disk = after.disk.after_crash(cuts);
            after.open().unwrap_or_else(|error| panic!("{what}, again: {error}"));
            after.verify(&format!("{what}, again"));
        }
    }
    cuts as usize
}

#[test]
fn a_power_cut_at_every_step_while_the_journal_is_retired_loses_no_owner() {
    // Two records that begin a file fill it: each commit retires it.
    let options = Options { segment_bytes: 8 << 10, ..Options::small() };
    for seed in 0..cases(1) {
        let mut run = Run::new(SimDisk::new(seed), options.clone());
        let cuts = cut_before_every_step(&mut run, &script(900 + seed, 4, 90, 1500), &options);
        assert!(cuts > 300, "{cuts}");
    }
}

/// Everything but the packs from a copy that is older than the last start.
#[test]
fn a_pool_that_is_older_than_its_packs_is_refused_and_stays_as_it_is() {
    for (how, makes_packs) in STOPS.into_iter().flat_map(|how| [(how, true), (how, false)]) {
        let (mut run, _) = three_owners();
        write(&mut run, 0, 30, 3000);
        let copy = stop(&mut run, how).after_crash(1);
        let is_pack = |file: &Path| file.starts_with(Path::new(ROOT).join("packs"));
        let mut old = files_in(&copy, Path::new(ROOT));
        old.retain(|file, _| !is_pack(file));
        let mut newer = Run::new(copy, Options::small());
        newer.model = std::mem::take(&mut run.model);
        newer.open().unwrap();
        if makes_packs {
            write(&mut newer, 1, 31, 5000);
        }
        let disk = stop(&mut newer, how);
        files_in(&disk, Path::new(ROOT))
            .keys()
            .filter(|file| !is_pack(file))
            .for_each(|file| disk.unlink(file).unwrap());
        put(&disk, &old);
        let before = files_in(&disk, Path::new(ROOT));
        let error = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("older"),
            "{error}"
        );
        assert_eq!(files_in(&disk, Path::new(ROOT)), before, "{how:?}");
    }
}

#[test]
fn a_pool_that_is_older_than_its_packs_is_refused_within_one_start_when_the_journal_has_been_retired_since() {
    let (mut run, _) = three_owners();
    write(&mut run, 0, 30, 3000);
    let is_pack = |file: &Path| file.starts_with(Path::new(ROOT).join("packs"));
    let mut old = files_in(&run.disk, Path::new(ROOT));
    old.retain(|file, _| !is_pack(file));
    for _ in 0..20 {
        run.step(&Op::Snapshot(1, vec![7; 3000])).unwrap();
    }
    write(&mut run, 1, 31, 3000);
    let disk = run.disk.after_crash(1);
    files_in(&disk, Path::new(ROOT))
        .keys()
        .filter(|file| !is_pack(file))
        .for_each(|file| disk.unlink(file).unwrap());
    put(&disk, &old);
    let before = files_in(&disk, Path::new(ROOT));
    let error = Store::open(Arc::new(disk.clone()), Path::new(ROOT), Options::small()).unwrap_err();
    assert!(error.to_string().contains("older than the packs"), "{error}");
    assert_eq!(files_in(&disk, Path::new(ROOT)), before);
}

#[test]
fn what_the_packs_remember_of_the_journal_can_be_lost_and_packs_of_another_pool_are_refused() {
    let (mut run, _) = three_owners();
    let all = contents(&run);
    run.close();
    let memory = Path::new(ROOT).join("packs/newest");
    let disk = run.disk.after_crash(1);
    disk.flip_bit(&memory, 40, 1);
    let store = open(&disk);
    all.iter().for_each(|(who, right)| assert_eq!(observe(&store, *who).as_ref(), Some(right)));
    drop(store);
    disk.unlink(&memory).unwrap();
    drop(open(&disk));
    let other = SimDisk::new(4);
    drop(Store::open(
        Arc::new(other.clone()),
        Path::new(ROOT),
        Options { start_random: 99, ..Options::small() },
    ));
    put(&disk, &Files::from([(memory.clone(), other.contents(&memory).unwrap())]));
    let error = Store::open(Arc::new(disk), Path::new(ROOT), Options::small()).unwrap_err();
    assert!(error.to_string().contains("another pool"), "{error}");
}
