//! History is on disk: a thousand finished jobs take no memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use support::{Clock, Engine, File, new, start, until, until_state};
use vtl_jobs::{Settings, State};

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_thousand_finished_jobs_take_no_memory_and_a_clear_leaves_the_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path());
    let engine = Arc::new(Engine::new("any", &Clock::default()));
    engine.clock.set(1000);
    engine.gate.store(1, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let stays = manager.submit(&new("stays", "any", "steps:2")).unwrap().id;
    until(&manager, stays, |job| job.done_bytes == 1);
    let finish = |from: u32, to: u32| {
        for at in from..to {
            let id = manager.submit(&new(&format!("{at}"), "any", "steps:0")).unwrap().id;
            until_state(&manager, id, State::Completed);
        }
    };
    finish(0, 500);
    let before = resident_kib();
    finish(500, 1000);
    let grown = resident_kib().saturating_sub(before);
    // 500 records of 32 KiB would be 16 000.
    assert!(grown < 4000, "{grown} KiB");
    assert_eq!((manager.held(), manager.list().unwrap().len()), (1, 1001));
    assert_eq!(manager.clear().unwrap(), 1000);
    let left: Vec<_> = manager.list().unwrap().into_iter().map(|one| (one.job.id, one.job.state)).collect();
    assert_eq!(left, [(stays, State::Running)]);
}

#[test]
fn what_ended_before_the_time_that_is_kept_is_gone_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path());
    let engine = Arc::new(Engine::new("any", &Clock::default()));
    let settings = Settings { history_keep_s: 100, ..Settings::default() };
    engine.clock.set(1000);
    let manager = start(&file, &engine, settings);
    let old = manager.submit(&new("old", "any", "steps:1")).unwrap().id;
    until_state(&manager, old, State::Completed);
    engine.clock.set(1050);
    let young = manager.submit(&new("young", "any", "steps:1")).unwrap().id;
    until_state(&manager, young, State::Completed);
    drop(manager);
    engine.clock.set(1101);
    let manager = start(&file, &engine, settings);
    support::eventually("the old one goes", || manager.show(old).is_err());
    assert_eq!(manager.show(young).unwrap().job.state, State::Completed);
    // Its key has gone with it; the young one's has not.
    assert!(manager.submit(&new("old", "any", "steps:0")).unwrap().made);
    assert!(!manager.submit(&new("young", "any", "steps:0")).unwrap().made);
}
