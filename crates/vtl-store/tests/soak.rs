//! A year of weekly fulls, of which the last eight are kept: what is stored, what is dead in packs and what a
//! restore reads stay within bounds that do not depend on the pool's age.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{ROOT, Random, cases, owner};
use vtl_durable::SimDisk;
use vtl_store::{GcRule, Options, Store};

const WEEKS: u8 = 52;
const KEPT: u8 = 8;
const FILES: usize = 200;

/// The files of a machine; three of a hundred are other ones each week.
struct Machine {
    random: Random,
    files: Vec<Vec<u8>>,
}

impl Machine {
    fn new(seed: u64) -> Self {
        let mut machine = Self { random: Random(seed), files: Vec::new() };
        machine.files = (0..FILES).map(|_| machine.file()).collect();
        machine
    }

    fn file(&mut self) -> Vec<u8> {
        let len = 2000 + self.random.below(4000);
        (0..len).map(|_| self.random.next() as u8).collect()
    }

    fn week(&mut self) {
        for _ in 0..FILES * 3 / 100 {
            let which = self.random.below(FILES as u64) as usize;
            self.files[which] = self.file();
        }
    }
}

/// How it stands at the end of a week.
#[derive(Debug)]
struct Standing {
    /// Stored bytes by those of the different files in what is kept, in percent.
    stored_percent: u64,
    /// What a collection finds dead and leaves, in percent of what is stored.
    dead_percent: u64,
    /// Reads of the disk for each MiB of the newest full.
    reads_per_mib: u64,
}

fn year(seed: u64) -> Vec<Standing> {
    let disk = SimDisk::new(seed);
    let options = Options {
        chunk_bytes: 512,
        region_bytes: 8 << 10,
        pack_bytes: 128 << 10,
        cache_bytes: 64 << 10,
        ..Options::small()
    };
    let store = Store::open(Arc::new(disk.clone()), Path::new(ROOT), options).unwrap();
    let mut machine = Machine::new(seed);
    let mut kept: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut standings = Vec::new();
    for week in 0..WEEKS {
        machine.week();
        write_full(&store, week, &machine.files);
        kept.push(machine.files.clone());
        if week >= KEPT {
            store.remove(owner(week - KEPT)).unwrap();
            kept.remove(0);
        }
        store.gc(GcRule::default()).unwrap();
        let oldest = week.saturating_sub(KEPT - 1);
        assert_eq!(read_full(&store, oldest), kept[0].concat(), "week {week}");
        let before = disk.calls();
        assert_eq!(read_full(&store, week), machine.files.concat(), "week {week}");
        let reads = disk.calls() - before;
        let different: HashSet<&Vec<u8>> = kept.iter().flatten().collect();
        let needed: u64 = different.iter().map(|file| file.len() as u64).sum();
        let stats = store.stats();
        standings.push(Standing {
            stored_percent: stats.stored_bytes * 100 / needed,
            dead_percent: stats.reclaimable_bytes * 100 / stats.stored_bytes,
            reads_per_mib: (reads << 20) / machine.files.concat().len() as u64,
        });
    }
    standings
}

fn write_full(store: &Store, week: u8, files: &[Vec<u8>]) {
    store.create(owner(week), &[]).unwrap();
    let mut stream = store.open_stream(owner(week)).unwrap();
    for file in files {
        stream.append(&[Bytes::copy_from_slice(file)], true).unwrap();
    }
    stream.commit(&[week]).unwrap();
}

fn read_full(store: &Store, week: u8) -> Vec<u8> {
    let mut stream = store.open_stream(owner(week)).unwrap();
    let mut bytes = Vec::new();
    for at in (0..stream.len()).step_by(16 << 10) {
        let len = (16 << 10).min(stream.len() - at);
        bytes.extend(stream.read(at, len).unwrap().concat());
    }
    bytes
}

fn mean(standings: &[Standing], of: impl Fn(&Standing) -> u64) -> u64 {
    standings.iter().map(of).sum::<u64>() / standings.len() as u64
}

#[test]
fn a_year_of_weekly_fulls_takes_and_reads_no_more_than_its_content_needs() {
    let mut years = [0, 0];
    for seed in 0..cases(1) {
        let standings = year(seed);
        let (second, last) = (&standings[13..26], &standings[39..52]);
        let (early, late) = (mean(second, |s| s.stored_percent), mean(last, |s| s.stored_percent));
        // One machine's files differ from another's.
        assert!(late <= early + early / 10, "seed {seed}: {early} to {late} % stored\n{last:#?}");
        years = [years[0] + early, years[1] + late];
        let most = |of: fn(&Standing) -> u64| standings.iter().map(of).max().unwrap();
        assert!(most(|s| s.dead_percent) <= 15, "seed {seed}: {standings:#?}");
        // A file that changed alone lies alone, and ends in another region than it begins at the most.
        let files_per_mib = (1 << 20) / 4000;
        assert!(most(|s| s.reads_per_mib) <= 2 * files_per_mib, "seed {seed}: {standings:#?}");
    }
    assert!(years[1] <= years[0] + years[0] / 20, "{years:?} % stored in all");
}
