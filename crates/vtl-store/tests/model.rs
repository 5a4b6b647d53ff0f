//! Random operations on the store and on a model beside it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use common::{Op, Random, Run, cases, disk_for, encrypted, script};
use vtl_store::Options;

fn agree(seed: u64, options: Options) {
    let mut run = Run::new(disk_for(seed, &options), options);
    let script = script(seed, 3, 250, 9000);
    run.run(&script).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    run.step(&Op::Reopen).unwrap();
    run.verify(&format!("seed {seed}"));
}

#[test]
fn the_store_and_the_model_agree_on_random_operations() {
    for seed in 0..cases(12) {
        agree(seed, Options::small());
    }
}

#[test]
fn they_agree_in_an_encrypted_pool() {
    for seed in 0..cases(4) {
        agree(3000 + seed, encrypted(&Options::small()));
        let options = Options { workers: 2, readahead_regions: 3, ..Options::small() };
        agree(4000 + seed, encrypted(&options));
    }
}

#[test]
fn they_agree_on_several_folders() {
    for seed in 0..cases(6) {
        let folders = vec!["/near".into(), "/far".into()];
        let options = Options { folders, workers: (seed % 3) as usize, ..Options::small() };
        agree(5000 + seed, options.clone());
        agree(6000 + seed, encrypted(&options));
    }
}

#[test]
fn they_agree_with_workers_and_read_ahead() {
    for seed in 0..cases(6) {
        let options = Options { workers: 3, readahead_regions: 4, ..Options::small() };
        agree(1000 + seed, options);
    }
}

#[test]
fn they_agree_whatever_the_sizes_are() {
    for seed in 0..cases(10) {
        let mut random = Random(seed);
        let options = Options {
            chunk_bytes: 64 + random.below(5000) as usize,
            pack_bytes: 8192 + random.below(60_000),
            write_bytes: 1 + random.below(9000) as usize,
            in_flight_bytes: 1 + random.below(30_000) as usize,
            segment_bytes: 8192 + random.below(40_000),
            workers: random.below(3) as usize,
            readahead_regions: random.below(4) as usize,
            cache_bytes: random.below(10_000) as usize,
            ..Options::small()
        };
        agree(2000 + seed, options);
    }
}
