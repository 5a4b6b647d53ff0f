//! Promises of the store that no other test is about. All of them with their tests: `docs/testing.md`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Op, Run, cases, script};
use vtl_durable::SimDisk;
use vtl_store::Options;

fn packs(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let packs = disk.files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack"));
    packs.map(|file| (file.clone(), disk.contents(&file).unwrap())).collect()
}

#[test]
fn what_a_commit_has_named_of_a_pack_never_changes_while_the_file_is_there() {
    for seed in 0..cases(4) {
        let mut run = Run::new(SimDisk::new(seed), Options::small());
        run.open().unwrap();
        let (mut before, mut kept) = (BTreeMap::<PathBuf, Vec<u8>>::new(), 0);
        for op in script(700 + seed, 3, 250, 6000) {
            run.step(&op).unwrap();
            if let Op::Append(who, ..) | Op::Truncate(who, _) = op {
                run.step(&Op::Commit(who, vec![1])).unwrap();
            }
            // Everything in packs is committed now.
            let now = packs(&run.disk);
            for (file, old) in &before {
                if let Some(new) = now.get(file) {
                    assert!(new.starts_with(old), "seed {seed}, {}", file.display());
                    kept += 1;
                }
            }
            before = now;
        }
        assert!(kept > 500, "{kept}");
    }
}

#[test]
fn the_journal_stays_short_however_much_is_committed() {
    let segment_bytes = 16 << 10;
    let mut run = Run::new(SimDisk::new(1), Options { segment_bytes, ..Options::small() });
    run.open().unwrap();
    for who in 0..3 {
        run.step(&Op::Create(who, vec![who])).unwrap();
    }
    for number in 0..300_u32 {
        run.step(&Op::Commit((number % 3) as u8, number.to_le_bytes().to_vec())).unwrap();
        let journal =
            run.disk.files().into_iter().filter(|file| file.starts_with(Path::new("/pool/journal")));
        let lengths: Vec<usize> = journal.map(|file| run.disk.contents(&file).unwrap().len()).collect();
        assert!(lengths.len() == 1 && lengths[0] as u64 <= 2 * segment_bytes, "{lengths:?}");
        if number % 30 == 29 {
            // What deltas pile up to is the owner's to bound.
            run.step(&Op::Snapshot((number % 3) as u8, vec![1])).unwrap();
        }
    }
}
