//! Random operations on the index and on a map.

use std::collections::{HashMap, HashSet};

use super::{Random, fingerprint, open, open_sealed};
use crate::index::{Index, Place};
use vtl_durable::SimDisk;

const MIB: usize = 1 << 20;

#[derive(Default)]
struct Model {
    /// What was inserted last.
    live: HashMap<u64, Place>,
    /// Places that must not be answered.
    wrong: HashSet<(u64, Place)>,
    gone: HashSet<u64>,
    next_pack: u64,
    complete: Vec<u64>,
    /// Chunks of each pack.
    packs: HashMap<u64, Vec<u64>>,
}

impl Model {
    fn insert(&mut self, index: &Index, random: &mut Random, keys: u64) {
        let pack = self.next_pack;
        self.next_pack += 1;
        let count = random.below(900);
        let first = random.below(keys);
        let chunks: Vec<u64> = (0..count).map(|n| (first + n) % keys).collect();
        let entries: Vec<_> = chunks.iter().zip(0..).map(|(n, chunk)| (chunk, fingerprint(*n))).collect();
        let (one, other) = entries.split_at(entries.len() / 3);
        index.insert(pack, one);
        index.insert(pack, other);
        for (n, (chunk, _)) in chunks.iter().zip(&entries) {
            let place = Place { pack, chunk: *chunk };
            self.live.insert(*n, place);
            self.wrong.remove(&(*n, place));
        }
        self.packs.insert(pack, chunks);
        if random.below(4) > 0 {
            index.pack_complete(pack);
            self.complete.push(pack);
        }
    }

    fn forget(&mut self, index: &Index, random: &mut Random, keys: u64) {
        for _ in 0..20 {
            let n = random.below(keys);
            if let Some(place) = self.live.remove(&n) {
                index.forget(&fingerprint(n), place);
                self.wrong.insert((n, place));
            }
        }
    }

    fn forget_pack(&mut self, index: &Index, random: &mut Random) {
        if self.next_pack == 0 {
            return;
        }
        let pack = random.below(self.next_pack);
        index.forget_pack(pack);
        self.gone.insert(pack);
        self.complete.retain(|complete| *complete != pack);
        // An older place may come back, or none: both are right.
        self.live.retain(|_, place| place.pack != pack);
    }

    /// Checks some keys; how many were found of those that are there.
    fn check(&self, index: &Index, random: &mut Random, keys: u64, count: u64) -> (u64, u64) {
        let (mut there, mut found) = (0, 0);
        for _ in 0..count {
            let n = random.below(keys * 2);
            let answer = index.lookup(&fingerprint(n));
            if let Some(place) = answer {
                assert!(!self.gone.contains(&place.pack), "{n} {place:?} is of a removed pack");
                assert!(!self.wrong.contains(&(n, place)), "{n} {place:?} was forgotten");
                let chunks = &self.packs[&place.pack];
                assert_eq!(chunks.get(usize::from(place.chunk)), Some(&n), "{n} {place:?} never was there");
            }
            if let Some(place) = self.live.get(&n) {
                there += 1;
                found += u64::from(answer == Some(*place));
            }
        }
        (there, found)
    }
}

fn run(seed: u64, memory: usize, keys: u64, steps: u64) -> (u64, u64) {
    run_with(open, seed, memory, keys, steps)
}

fn run_with(
    open: fn(&SimDisk, usize) -> Index,
    seed: u64,
    memory: usize,
    keys: u64,
    steps: u64,
) -> (u64, u64) {
    let mut random = Random(seed);
    let disk = SimDisk::new(seed);
    let mut index = open(&disk, memory);
    let mut model = Model::default();
    let (mut there, mut found) = (0, 0);
    for _ in 0..steps {
        match random.below(40) {
            0..12 => model.insert(&index, &mut random, keys),
            12..15 => model.forget(&index, &mut random, keys),
            15 => model.forget_pack(&index, &mut random),
            16..20 => index.flush().unwrap(),
            20..26 => assert!(index.compact_step().is_ok()),
            26..28 => {
                index.flush().unwrap();
                assert!(model.complete.iter().all(|pack| index.covers(*pack)));
                assert!(model.gone.iter().all(|pack| !index.covers(*pack)));
                drop(index);
                index = open(&disk, memory);
                assert!(model.complete.iter().all(|pack| index.covers(*pack)));
            }
            28 if random.below(20) == 0 => {
                index.clear().unwrap();
                model = Model { next_pack: model.next_pack, ..Model::default() };
            }
            _ => {
                let (more, hits) = model.check(&index, &mut random, keys, 40);
                there += more;
                found += hits;
            }
        }
        assert!(index.memory_bytes() <= memory, "{} {:?}", index.memory_bytes(), index.stats());
    }
    assert_eq!(index.stats().dropped, 0);
    (there, found)
}

#[test]
fn with_enough_memory_the_index_answers_as_a_map_does() {
    for seed in 0..12 {
        let (there, found) = run(seed, 4 * MIB, 3000, 400);
        assert_eq!(there, found, "seed {seed}");
    }
}

#[test]
fn in_an_encrypted_pool_the_index_answers_as_a_map_does() {
    for seed in 0..2 {
        let (there, found) = run_with(open_sealed, 200 + seed, 4 * MIB, 3000, 400);
        assert_eq!(there, found, "seed {seed}");
    }
}

#[test]
fn records_that_left_the_memtable_are_answered_as_a_map_does() {
    for seed in 100..102 {
        let (there, found) = run(seed, MIB, 60_000, 1200);
        assert_eq!(there, found, "seed {seed}");
    }
}
