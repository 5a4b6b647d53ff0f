//! The power is cut at every step of a script, and again while the store recovers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Op, Owner, ROOT, Run, cases, disk_for, encrypted, owner, script};
use vtl_durable::{Disk, DiskError, DiskFile, Found, Open, SimDisk};
use vtl_store::{Options, Store};

/// Cuts the power at `step`; whether the script ended before it.
fn cut_at(script: &[Op], options: &Options, step: u64, seed: u64) -> bool {
    let what = format!("step {step} seed {seed}");
    if std::env::var_os("VTL_TRACE").is_some() {
        eprintln!("{what}");
    }
    let disk = disk_for(seed, options);
    disk.crash_at(disk.steps() + step);
    let mut run = Run::new(disk, options.clone());
    let result = run.run(script);
    let finished = !run.disk.has_crashed();
    assert!(!finished || result.is_ok(), "{what}: {result:?} before the power cut");
    run.store = None;
    run.disk = run.disk.after_crash(seed.wrapping_mul(31).wrapping_add(step));
    // The crashed store's streams are on the old disk and must not touch the model.
    let mut after = Run::new(run.disk.clone(), Options { start_random: seed, ..options.clone() });
    after.model = run.model.clone();
    recover_with_crashes(&mut after, step, seed);
    after.open().unwrap_or_else(|error| panic!("{what}: {error}"));
    after.verify(&what);
    go_on(&mut after, &what);
    finished
}

/// Up to three more power cuts while the store opens.
fn recover_with_crashes(run: &mut Run, step: u64, seed: u64) {
    for again in 0..seed % 4 {
        run.disk.crash_at((step * 7 + again * 5) % 23);
        let opened = run.open().is_ok();
        run.store = None;
        if opened && !run.disk.has_crashed() {
            run.disk.crash_at(u64::MAX);
            return;
        }
        run.disk = run.disk.after_crash(seed * 97 + step * 3 + again);
    }
}

/// The recovered store is a working store.
fn go_on(run: &mut Run, what: &str) {
    let guarded = |model: &Owner| model.committed.as_ref().is_some_and(|kept| kept.guarded);
    let kept: Vec<u8> = run.model.iter().filter(|(_, model)| guarded(model)).map(|(who, _)| *who).collect();
    for op in kept.into_iter().flat_map(|who| [Op::Truncate(who, 0), Op::Remove(who), Op::Collect(1)]) {
        run.step(&op).unwrap_or_else(|error| panic!("{what}, a guarded owner: {error}"));
    }
    let who = run.model.iter().find(|(_, model)| model.committed.is_some()).map(|(who, _)| *who);
    let more = match who {
        Some(who) => vec![Op::Append(who, vec![0x5a; 5000], false), Op::Commit(who, vec![1, 2, 3])],
        None => vec![Op::Create(9, vec![1]), Op::Append(9, vec![0x5a; 5000], true), Op::Commit(9, vec![])],
    };
    for op in more.iter().chain([&Op::Reopen]) {
        run.step(op).unwrap_or_else(|error| panic!("{what}, going on: {error}"));
    }
    run.verify(&format!("{what}, going on"));
}

fn cut_everywhere(script: &[Op], options: &Options, seed: u64, stride: u64) {
    let mut step = seed % stride;
    while !cut_at(script, options, step, seed) {
        step += stride;
        assert!(step < 1_000_000, "the script never ends");
    }
}

#[test]
fn a_power_cut_at_every_step_leaves_each_owner_at_a_commit() {
    for seed in 0..cases(2) {
        cut_everywhere(&script(77, 3, 70, 6000), &Options::small(), seed, 1);
    }
}

#[test]
fn a_power_cut_at_any_step_of_any_script_does() {
    for seed in 100..100 + cases(6) {
        let options = Options { segment_bytes: 12 << 10, ..Options::small() };
        cut_everywhere(&script(seed, 4, 150, 5000), &options, seed, 13);
    }
}

#[test]
fn a_power_cut_with_workers_running_does() {
    for seed in 200..200 + cases(4) {
        let options = Options { workers: 2, readahead_regions: 2, ..Options::small() };
        cut_everywhere(&script(seed, 3, 100, 8000), &options, seed, 17);
    }
}

#[test]
fn a_power_cut_at_any_step_of_an_encrypted_pool_does() {
    for seed in 300..300 + cases(2) {
        let options = encrypted(&Options { segment_bytes: 12 << 10, ..Options::small() });
        cut_everywhere(&script(seed, 3, 80, 5000), &options, seed, 5);
        cut_everywhere(&script(seed, 4, 150, 5000), &options, seed, 23);
    }
}

#[test]
fn a_power_cut_in_a_removal_leaves_the_owner_whole_or_gone() {
    let script = [
        Op::Create(1, vec![1]),
        Op::Create(2, vec![2]),
        Op::Append(1, vec![1; 40_000], false),
        Op::Append(2, vec![2; 3000], true),
        Op::Commit(1, vec![1]),
        Op::Commit(2, vec![2]),
        Op::Remove(1),
        Op::Append(2, vec![3; 3000], true),
        Op::Commit(2, vec![3]),
        Op::Create(1, vec![4]),
        Op::Append(1, vec![5; 3000], true),
        Op::Commit(1, vec![6]),
        Op::Remove(2),
    ];
    for seed in 0..cases(4) {
        cut_everywhere(&script, &Options::small(), seed, 1);
    }
}

#[test]
fn a_power_cut_while_packs_are_rewritten_or_removed_loses_nothing_live() {
    for seed in 0..cases(4) {
        cut_everywhere(&rewriting(), &Options::small(), seed, 1);
    }
}

#[test]
fn a_power_cut_while_packs_of_an_encrypted_pool_are_rewritten_loses_nothing_live() {
    for seed in 0..cases(2) {
        cut_everywhere(&rewriting(), &encrypted(&Options::small()), seed, 3);
    }
}

/// Packs that are rewritten, and some that go.
fn rewriting() -> Vec<Op> {
    let text = |seed, len| common::Random(seed).familiar(len);
    vec![
        Op::Create(1, vec![1]),
        Op::Create(2, vec![2]),
        Op::Append(1, text(1, 15_000), true),
        Op::Append(2, text(2, 9000), false),
        Op::Commit(1, vec![1]),
        Op::Commit(2, vec![2]),
        Op::Append(2, text(1, 12_000), true),
        Op::Commit(2, vec![3]),
        Op::Append(1, vec![7; 30_000], false),
        Op::Commit(1, vec![4]),
        Op::Truncate(1, 15_000),
        Op::Commit(1, vec![5]),
        Op::Close(1),
        Op::Close(2),
        Op::Reopen,
        Op::Append(2, text(3, 5000), true),
        Op::Collect(1),
        Op::Commit(2, vec![6]),
        Op::Remove(1),
        Op::Collect(1),
        Op::Append(2, text(1, 15_000), true),
        Op::Commit(2, vec![7]),
        Op::Close(2),
        Op::Reopen,
        Op::Truncate(2, 4000),
        Op::Commit(2, vec![8]),
        Op::Collect(1),
    ]
}

/// An owner is guarded, asked for by everybody, given more, set free and removed. Another one that goes before has some of its content.
fn keeping() -> Vec<Op> {
    let text = |seed, len| common::Random(seed).bytes_of_noise(len);
    let asked = [Op::Truncate(1, 0), Op::Truncate(1, 11_999), Op::Remove(1), Op::Collect(1)];
    let guarded = [
        Op::Create(1, vec![1]),
        Op::Create(2, vec![2]),
        Op::Append(2, text(1, 9000), false),
        Op::Commit(2, vec![1]),
        Op::Append(1, text(1, 12_000), false),
        Op::Guard(1, true),
        Op::Commit(1, vec![2]),
    ];
    let more = [
        Op::Remove(2),
        Op::Collect(1),
        Op::Append(1, text(2, 6000), true),
        Op::Commit(1, vec![3]),
        // A cut of what is not committed is none of the guard's business.
        Op::Append(1, vec![9; 2000], true),
        Op::Truncate(1, 18_500),
        Op::Snapshot(1, vec![4]),
        Op::Guard(1, false),
        // Not committed: it stays on.
        Op::Close(1),
        Op::Reopen,
    ];
    let free = [
        Op::Guard(1, false),
        Op::Commit(1, vec![5]),
        Op::Truncate(1, 5000),
        Op::Guard(1, true),
        Op::Commit(1, vec![6]),
        Op::Remove(1),
        Op::Guard(1, false),
        Op::Commit(1, vec![7]),
        Op::Remove(1),
        Op::Collect(1),
    ];
    let parts: [&[Op]; 5] = [&guarded, &asked, &more, &asked, &free];
    parts.concat()
}

#[test]
fn a_power_cut_at_every_step_leaves_a_guarded_owner_whole_and_guarded() {
    for seed in 2..2 + cases(1) {
        cut_everywhere(&keeping(), &Options { segment_bytes: 8 << 10, ..Options::small() }, seed, 1);
    }
    cut_everywhere(&keeping(), &encrypted(&Options::small()), 1, 3);
}

#[test]
fn a_power_cut_before_every_step_leaves_a_guarded_owner_whole_and_guarded() {
    for seed in 10..10 + cases(2) {
        let cuts = cut_before_every_step(&keeping(), &Options::small(), seed);
        assert!(cuts > 100, "{cuts}");
    }
}

/// Runs a script once and recovers from a power cut before every step of it; how many there were.
fn cut_before_every_step(script: &[Op], options: &Options, seed: u64) -> usize {
    let mut run = Run::new(disk_for(seed, options), options.clone());
    run.open().unwrap();
    run.disk.watch(seed);
    let mut cuts = 0;
    for (number, op) in script.iter().enumerate() {
        let before = run.model.clone();
        run.step(op).unwrap_or_else(|error| panic!("seed {seed}, {op:?}: {error}"));
        for disk in run.disk.take_watched() {
            cuts += 1;
            let mut after = Run::new(disk, Options { start_random: seed, ..options.clone() });
            for (who, model) in &run.model {
                // What the step in hand makes of an owner is right, and what it was before.
                let old = before.get(who).and_then(|model| model.committed.clone());
                let mut both = model.clone();
                both.in_flight = Some(std::mem::replace(&mut both.committed, old));
                after.model.insert(*who, both);
            }
            let what = format!("seed {seed}, cut {cuts} in step {number}");
            after.open().unwrap_or_else(|error| panic!("{what}: {error}"));
            after.verify(&what);
        }
    }
    cuts
}

#[test]
fn a_power_cut_before_each_of_thousands_of_steps_leaves_each_owner_at_a_commit() {
    let options = Options { segment_bytes: 24 << 10, ..Options::small() };
    let mut cuts = 0;
    for seed in 0..cases(1) {
        cuts += cut_before_every_step(&script(500 + seed, 3, 400, 4000), &options, seed);
    }
    // With `--long` fifty scripts: far more than the ten thousand that are asked for.
    assert!(cuts as u64 > 1000 * cases(1), "{cuts}");
}

fn on_three_folders() -> Options {
    Options { folders: vec!["/near".into(), "/far".into()], segment_bytes: 24 << 10, ..Options::small() }
}

#[test]
fn a_power_cut_at_every_step_on_several_folders_leaves_each_owner_at_a_commit() {
    for seed in 300..300 + cases(1) {
        cut_everywhere(&script(seed, 3, 60, 6000), &on_three_folders(), seed, 1);
    }
    for seed in 310..310 + cases(3) {
        cut_everywhere(&script(seed, 4, 150, 6000), &on_three_folders(), seed, 13);
    }
}

#[test]
fn a_power_cut_while_a_folder_is_emptied_loses_nothing() {
    for seed in 330..330 + cases(2) {
        let mut script = script(seed, 3, 50, 9000);
        script.extend([Op::Drain("/far"), Op::Append(0, vec![3; 4000], true), Op::Commit(0, vec![1])]);
        script.extend([Op::Collect(1), Op::Reopen, Op::Drain("/far")]);
        cut_everywhere(&script, &on_three_folders(), seed, 1);
    }
}

#[test]
fn a_power_cut_before_every_step_on_several_folders_does() {
    for seed in 320..320 + cases(1) {
        let cuts = cut_before_every_step(&script(seed, 3, 200, 6000), &on_three_folders(), seed);
        assert!(cuts > 500, "{cuts}");
    }
}

#[test]
fn a_commit_that_returned_is_there_after_a_cut_right_behind_it() {
    let disk = SimDisk::new(1);
    let mut run = Run::new(disk.clone(), Options::small());
    run.run(&[Op::Create(1, vec![]), Op::Append(1, vec![9; 10_000], false), Op::Commit(1, vec![7])]).unwrap();
    for seed in 0..50 {
        let mut after = Run::new(run.disk.after_crash(seed), Options::small());
        after.model = run.model.clone();
        after.open().unwrap();
        let head = after.store.as_ref().unwrap().head(owner(1)).unwrap();
        assert_eq!((head.length, head.deltas), (10_000, vec![vec![7]]));
        after.verify("after the commit");
    }
}

/// A disk that does something once, right before the names of packs are synced.
struct Meanwhile {
    disk: SimDisk,
    action: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Meanwhile {
    fn new(disk: SimDisk) -> Self {
        Self { disk, action: Mutex::default() }
    }

    fn before_names_are_synced(&self, action: impl FnOnce() + Send + 'static) {
        *self.action.lock().unwrap() = Some(Box::new(action));
    }
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Disk for Meanwhile {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(path, how)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.disk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.unlink(path)
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.create_folder(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.disk.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        if path.parent() == Some(Path::new("/pool/packs")) {
            let action = self.action.lock().unwrap().take();
            action.into_iter().for_each(|action| action());
        }
        self.disk.sync_folder(path)
    }

    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
        self.disk.list(path)
    }

    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        self.disk.free_bytes(path)
    }
}

fn files_below(disk: &SimDisk, folder: &str, end: &str) -> Vec<PathBuf> {
    let is_one =
        |path: &PathBuf| path.starts_with(folder) && path.extension().is_some_and(|found| found == end);
    disk.files().into_iter().filter(is_one).collect()
}

#[test]
fn a_pack_that_was_given_up_goes_although_the_journal_is_retired_before_its_name_is_gone_for_good() {
    let disk = SimDisk::new(1);
    let meanwhile = Arc::new(Meanwhile::new(disk.clone()));
    let store = Store::open(meanwhile.clone(), Path::new(ROOT), Options::small()).unwrap();
    store.create(owner(1), b"").unwrap();
    store.create(owner(2), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.append(&[Bytes::from(common::Random(1).bytes_of_noise(3000))], false).unwrap();
    // Reading brings it into the pack.
    assert_eq!(stream.read(0, 3000).unwrap().concat().len(), 3000);
    let packs = files_below(&disk, "/pool/packs", "pack");
    let [pack] = &*packs else { panic!("{packs:?}") };
    // The system has written the file on its own.
    disk.open(pack, Open::Write).unwrap().sync_data().unwrap();
    disk.sync_folder(pack.parent().unwrap()).unwrap();
    let journal = files_below(&disk, "/pool/journal", "log");
    let survivors = Arc::new(Mutex::new(Vec::<SimDisk>::new()));
    let (other, now, kept) = (store.clone(), disk.clone(), Arc::clone(&survivors));
    meanwhile.before_names_are_synced(move || {
        let mut stream = other.open_stream(owner(2)).unwrap();
        for _ in 0..20 {
            stream.commit_snapshot(&[7; 3000]).unwrap();
        }
        kept.lock().unwrap().extend((0..8).map(|seed| now.survivor(seed)));
    });
    drop(stream);
    let survivors = std::mem::take(&mut *survivors.lock().unwrap());
    let mut came_back = 0;
    for after in survivors {
        assert!(files_below(&after, "/pool/journal", "log") != journal, "the journal was retired meanwhile");
        came_back += usize::from(after.contents(pack).is_some());
        let store = Store::open(Arc::new(after.clone()), Path::new(ROOT), Options::small()).unwrap();
        assert_eq!(store.stats().packs, 0);
        assert_eq!(files_below(&after, "/pool/packs", "pack"), [] as [PathBuf; 0]);
        assert_eq!(store.check().findings, []);
    }
    assert!(came_back > 0, "its name was gone for good in each");
}
