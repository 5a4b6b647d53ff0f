//! Retention and hold: what was on the tape reads back the same, whatever is asked, until both are over.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ID, Op, block, cases, content, op, open_store, settings, spec};
use proptest::{collection::vec, prelude::*};
use vtl_cartridge::{Cartridge, CartridgeError, Now};
use vtl_durable::SimDisk;
use vtl_store::{GcRule, OwnerId, Store, StoreError};

const DAY: u64 = 86_400;
const START: Now = Now { wall_s: 20_000 * DAY, counted_s: 500 };

fn tape_with_three_objects(store: &Store) -> Cartridge {
    Cartridge::create(store, ID, &spec("VTL001L8", 100_000, 0)).unwrap();
    let mut tape = Cartridge::load(store, ID, settings()).unwrap();
    tape.write_block(&[block(1, 3_000)], false).unwrap();
    tape.write_filemarks(1).unwrap();
    tape.write_block(&[block(2, 3_000)], true).unwrap();
    tape
}

/// What the cartridge and the store refuse while it is kept; the tape is as before.
fn everything_is_refused(store: &Store, mut tape: Cartridge) -> Cartridge {
    let before = content(&mut tape).unwrap();
    for object in 0..3 {
        tape.locate_object(object);
        let refused = |result| assert!(matches!(result, Err(CartridgeError::WriteOnce)), "{result:?}");
        refused(tape.write_block(&[block(9, 100)], false).map(drop));
        refused(tape.write_filemarks(1).map(drop));
        refused(tape.erase());
        refused(tape.format());
        assert_eq!(tape.position().object, object);
    }
    tape.close().unwrap();
    let removed = store.remove(OwnerId(ID.0));
    assert!(matches!(removed, Err(StoreError::Guarded { .. })), "{removed:?}");
    store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap();
    let mut tape = Cartridge::load(store, ID, settings()).unwrap();
    assert_eq!(content(&mut tape).unwrap(), before);
    tape
}

#[test]
fn a_held_tape_takes_more_at_its_end_and_nothing_else_until_the_hold_is_lifted() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let mut tape = tape_with_three_objects(&store);
    tape.set_hold(true).unwrap();
    let mut tape = everything_is_refused(&store, tape);
    tape.space_to_end();
    tape.erase().unwrap();
    tape.write_block(&[block(3, 500)], false).unwrap();
    tape.flush().unwrap();
    let kept = content(&mut tape).unwrap();
    assert_eq!(kept.objects.len(), 4);
    drop((tape, store));

    let store = open_store(&disk.after_crash(7)).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert_eq!(content(&mut tape).unwrap(), kept);
    let mut tape = everything_is_refused(&store, tape);
    tape.release_if_over(Now { wall_s: u64::MAX, counted_s: u64::MAX }).unwrap();
    assert!(tape.protection().is_on(), "no time lifts a hold");
    tape.set_hold(false).unwrap();
    tape.format().unwrap();
    tape.close().unwrap();
    store.remove(OwnerId(ID.0)).unwrap();
}

#[test]
fn a_retained_tape_is_free_when_clock_and_count_have_passed_and_not_before() {
    let store = open_store(&SimDisk::new(1)).unwrap();
    let mut tape = tape_with_three_objects(&store);
    tape.retain(START.wall_s + 10 * DAY, START).unwrap();
    for (wall_s, counted_s) in [
        (START.wall_s, START.counted_s),
        (START.wall_s + 4_000 * DAY, START.counted_s + 10 * DAY - 1),
        (START.wall_s - 4_000 * DAY, START.counted_s + 4_000 * DAY),
        (0, u64::MAX),
    ] {
        tape.release_if_over(Now { wall_s, counted_s }).unwrap();
        tape = everything_is_refused(&store, tape);
    }
    tape.release_if_over(Now { wall_s: START.wall_s + 10 * DAY, counted_s: START.counted_s + 10 * DAY })
        .unwrap();
    assert!(!tape.protection().is_on());
    tape.rewind();
    tape.write_block(&[block(9, 100)], false).unwrap();
    tape.close().unwrap();
    store.remove(OwnerId(ID.0)).unwrap();
}

#[test]
fn what_was_taken_and_not_yet_durable_is_kept_from_the_moment_of_the_hold() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let mut tape = tape_with_three_objects(&store);
    tape.flush().unwrap();
    tape.write_block(&[block(4, 10)], false).unwrap();
    assert!(tape.is_pending());
    tape.set_hold(true).unwrap();
    assert!(!tape.is_pending());
    drop((tape, store));
    let store = open_store(&disk.after_crash(2)).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert_eq!(content(&mut tape).unwrap().objects.len(), 4);
    assert!(tape.protection().hold);
}

/// What somebody may try beside using the tape.
#[derive(Clone, Debug)]
enum Try {
    Use(Op),
    Remove,
    Collect,
    /// Days forwards or backwards on the machine's clock.
    SetClock(i64),
    /// Seconds that the count grows by, within what is left.
    Pass(u64),
    RetainUntil(i64),
    Unhold,
    PowerCut(u64),
}

fn attempt() -> impl Strategy<Value = Try> {
    prop_oneof![
        20 => op().prop_map(Try::Use),
        2 => Just(Try::Remove),
        1 => Just(Try::Collect),
        3 => (-30_000..30_000i64).prop_map(Try::SetClock),
        3 => (0..DAY).prop_map(Try::Pass),
        2 => (-100..100i64).prop_map(Try::RetainUntil),
        2 => Just(Try::Unhold),
        2 => any::<u64>().prop_map(Try::PowerCut),
    ]
}

/// Does it, whatever comes of it.
fn use_it(tape: &mut Cartridge, op: &Op) {
    match *op {
        Op::Write(seed, len) => drop(tape.write_block(&[block(seed, len)], seed.is_multiple_of(2))),
        Op::Marks(count) => drop(tape.write_filemarks(count)),
        Op::Read(limit) => drop(tape.read(limit)),
        Op::SpaceBlocks(count) => drop(tape.space_blocks(count)),
        Op::SpaceMarks(count) => drop(tape.space_filemarks(count)),
        Op::SpaceSequential(count) => drop(tape.space_sequential_filemarks(count)),
        Op::Object(object) => drop(tape.locate_object(object)),
        Op::File(file) => drop(tape.locate_file(file)),
        Op::Rewind => tape.rewind(),
        Op::End => tape.space_to_end(),
        Op::Erase => drop(tape.erase()),
        Op::Format => drop(tape.format()),
        Op::Attribute(id, value) => drop(tape.set_host_attribute(id, &[value])),
        Op::Flush | Op::Reopen => drop(tape.flush()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(120) as u32))]

    #[test]
    fn no_sequence_of_commands_clock_changes_and_power_cuts_alters_what_is_retained(
        before in vec(op(), 1..40),
        tries in vec(attempt(), 1..100),
        seed: u64,
    ) {
        let mut disk = SimDisk::new(seed);
        let mut store = open_store(&disk).unwrap();
        Cartridge::create(&store, ID, &spec("VTL001L8", 60_000, 0)).unwrap();
        let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
        before.iter().for_each(|op| use_it(&mut tape, op));
        let mut now = START;
        tape.retain(START.wall_s + 10 * DAY, now).unwrap();
        if seed.is_multiple_of(2) {
            tape.set_hold(true).unwrap();
        }
        let kept = content(&mut tape).unwrap().objects;
        let mut left = 10 * DAY - 1;
        for attempt in &tries {
            match attempt {
                Try::Use(Op::Reopen) | Try::Remove => {
                    tape.close().unwrap();
                    prop_assert!(store.remove(OwnerId(ID.0)).is_err());
                    tape = Cartridge::load(&store, ID, settings()).unwrap();
                }
                Try::Use(op) => use_it(&mut tape, op),
                Try::Collect => drop(store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap()),
                Try::SetClock(days) => {
                    let set = START.wall_s.saturating_add_signed(days * DAY as i64);
                    now.wall_s = set;
                }
                Try::Pass(seconds) => {
                    let seconds = (*seconds).min(left);
                    left -= seconds;
                    now.counted_s += seconds;
                    now.wall_s += seconds;
                }
                Try::RetainUntil(days) => {
                    drop(tape.retain(now.wall_s.saturating_add_signed(days * DAY as i64), now));
                }
                Try::Unhold => prop_assert!(!tape.protection().hold || tape.set_hold(false).is_err()),
                Try::PowerCut(how) => {
                    drop(tape);
                    drop(store);
                    disk = disk.after_crash(*how);
                    store = open_store(&disk).unwrap();
                    tape = Cartridge::load(&store, ID, settings()).unwrap();
                }
            }
            // As the daemon does before whatever a retention may forbid.
            tape.release_if_over(now).unwrap();
            prop_assert!(tape.protection().retention.is_some(), "{attempt:?} at {now:?}");
        }
        let objects = content(&mut tape).unwrap().objects;
        prop_assert!(objects.starts_with(&kept));
    }
}
