//! A disk that lies: a write that never was made, a write or a read in the wrong place, each acknowledged.
//!
//! What such a write held may be gone; nothing wrong may be served, and what is damaged must be found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use common::{Content, Op, ROOT, Run, cases, disk_for, encrypted, owner, script};
use vtl_durable::Lie;
use vtl_store::{Options, ReadError, Store, StoreError};

const OWNERS: u8 = 3;

/// Every state that each owner was in, or may have been in, at a commit.
#[derive(Default)]
struct History(BTreeMap<u8, Vec<Content>>);

impl History {
    fn note(&mut self, run: &Run) {
        for (who, model) in &run.model {
            let states = self.0.entry(*who).or_default();
            let now = model.committed.iter().chain(model.in_flight.iter().flatten());
            for state in now {
                if states.last() != Some(state) {
                    states.push(state.clone());
                }
            }
        }
    }
}

/// What a run with one lie came to.
#[derive(Default, Debug)]
struct Outcome {
    /// The disk has lied.
    lied: bool,
    /// An operation said so at once.
    noticed: bool,
    /// The pool could not be opened.
    refused: bool,
    /// Owners that could not be opened.
    lost_owners: u32,
    /// Bytes that could not be read.
    lost_bytes: u64,
}

fn lie_at(script: &[Op], options: &Options, call: u64, lie: Lie) -> Outcome {
    let what = format!("{lie:?} after call {call}");
    let disk = disk_for(call, options);
    disk.lie_after(disk.calls() + call, lie);
    let mut run = Run::new(disk, options.clone());
    let (mut history, mut outcome) = (History::default(), Outcome::default());
    for op in [&Op::Reopen].into_iter().chain(script) {
        let result = run.step(op);
        history.note(&run);
        if let Err(error) = result {
            assert!(run.disk.has_failed(), "{what}: {op:?}: {error}");
            outcome.noticed = true;
            break;
        }
    }
    run.close();
    outcome.lied = run.disk.has_failed();
    run.disk.heal();
    match Store::open(Arc::new(run.disk.clone()), Path::new(ROOT), options.clone()) {
        Ok(store) => serve(&store, &history, &mut outcome, &what),
        Err(error) => {
            assert!(outcome.lied && error.to_string().contains(ROOT), "{what}: {error}");
            outcome.refused = true;
        }
    }
    outcome
}

/// Everything that is served is a state that was committed, or an error; the check knows of each lost byte.
fn serve(store: &Store, history: &History, outcome: &mut Outcome, what: &str) {
    for (who, states) in &history.0 {
        match read_owner(store, *who, states, what) {
            Ok(lost) => outcome.lost_bytes += lost,
            Err(StoreError::UnknownOwner { .. }) => {}
            Err(_) => outcome.lost_owners += 1,
        }
    }
    if outcome.lost_bytes > 0 {
        assert!(!store.check().findings.is_empty(), "{what}: the check is silent");
    }
    assert!(outcome.lied || (outcome.lost_bytes == 0 && outcome.lost_owners == 0), "{what}: {outcome:?}");
}

fn read_owner(store: &Store, who: u8, states: &[Content], what: &str) -> Result<u64, StoreError> {
    let head = store.head(owner(who))?;
    let mut stream = store.open_stream(owner(who))?;
    let mut right: Vec<&Content> = states
        .iter()
        .filter(|state| (&state.snapshot, &state.deltas) == (&head.snapshot, &head.deltas))
        .filter(|state| state.bytes.len() as u64 == head.length)
        .collect();
    let mut lost = 0;
    for at in (0..head.length).step_by(512) {
        let len = 512.min(head.length - at);
        match stream.read(at, len) {
            Ok(found) => {
                right.retain(|state| state.bytes[at as usize..(at + len) as usize] == found.concat());
            }
            Err(ReadError::Damaged { .. }) => lost += len,
            Err(ReadError::Io(error)) => return Err(error),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    assert!(!right.is_empty(), "{what}: owner {who} holds what was never committed");
    Ok(lost)
}

fn lie_everywhere(options: &Options, lie: Lie, stride: u64) -> Outcome {
    let stride = if cases(1) > 1 { 1 } else { stride };
    let script = script(77, u64::from(OWNERS), 60, 5000);
    let (mut sum, mut call) = (Outcome::default(), 0);
    loop {
        let outcome = lie_at(&script, options, call, lie);
        if !outcome.lied {
            break;
        }
        sum.noticed |= outcome.noticed;
        sum.refused |= outcome.refused;
        sum.lost_owners += outcome.lost_owners;
        sum.lost_bytes += outcome.lost_bytes;
        call += stride;
    }
    assert!(call > 100, "the script makes hardly any calls: {call}");
    sum
}

#[test]
fn a_write_that_never_was_made_gives_no_wrong_bytes() {
    let sum = lie_everywhere(&Options::small(), Lie::LostWrite, 5);
    assert!(sum.lost_bytes > 0, "no lost write held a chunk: {sum:?}");
}

#[test]
fn a_write_in_the_wrong_place_gives_no_wrong_bytes() {
    let sum = lie_everywhere(&Options::small(), Lie::MisplacedWrite, 5);
    assert!(sum.lost_bytes > 0, "no write hit a chunk: {sum:?}");
}

#[test]
fn a_read_from_the_wrong_place_gives_no_wrong_bytes() {
    // Read again, everything is there.
    let sum = lie_everywhere(&Options::small(), Lie::MisplacedRead, 5);
    assert!(sum.noticed, "no read was noticed: {sum:?}");
    assert_eq!((sum.lost_owners, sum.lost_bytes), (0, 0), "{sum:?}");
}

#[test]
fn a_disk_that_lies_gives_no_wrong_bytes_of_an_encrypted_pool() {
    let options = encrypted(&Options::small());
    for lie in [Lie::LostWrite, Lie::MisplacedWrite, Lie::MisplacedRead] {
        lie_everywhere(&options, lie, 29);
    }
}
