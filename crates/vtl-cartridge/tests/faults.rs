//! A scripted tape on a disk that stops, fails or fills at every single operation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Content, ID, Model, Op, cases, content, op, open_store, run, settings, spec};
use proptest::{collection::vec, prelude::*};
use vtl_cartridge::{Cartridge, CartridgeError, Object};
use vtl_durable::{Fault, SimDisk};
use vtl_store::Store;

/// Writes, marks, overwrites in the middle and at the end, reads back, two loads: each kind of commit there is.
fn script() -> Vec<Op> {
    use Op::*;
    vec![
        Write(1, 3000),
        Write(2, 700),
        Marks(1),
        Flush,
        Write(3, 5000),
        Write(4, 1),
        Attribute(0x0801, 5),
        Write(5, 2000),
        Marks(2),
        Flush,
        Object(3),
        Write(6, 900),
        Write(7, 900),
        Flush,
        Rewind,
        Read(u32::MAX),
        Write(8, 4000),
        Marks(1),
        Reopen,
        End,
        Write(9, 6000),
        Write(10, 300),
        Flush,
        Object(4),
        Erase,
        Write(11, 2500),
        Reopen,
        End,
        Write(12, 800),
    ]
}

/// What a run left: the states that the tape may be in, oldest first, and the error that ended it.
struct Run {
    allowed: Vec<Content>,
    error: Option<CartridgeError>,
    tape: Option<Cartridge>,
}

/// Runs the script until the first error. Allowed afterwards: the state at the last durable point, each state since, and
/// what the operation that failed was about to make.
fn play(store: &Store, ops: &[Op]) -> Run {
    let mut model = Model::new(1 << 20, 0);
    let mut allowed = vec![model.content.clone()];
    let mut tape = match Cartridge::load(store, ID, settings()) {
        Ok(tape) => Some(tape),
        Err(error) => return Run { allowed, error: Some(error), tape: None },
    };
    for op in ops {
        match run(op, &mut tape, store, &mut model) {
            Ok(()) if op.is_durable_point() => allowed = vec![model.content.clone()],
            Ok(()) => allowed.push(model.content.clone()),
            Err(error) => {
                allowed.extend(intended(op, &model));
                return Run { allowed, error: Some(error), tape };
            }
        }
    }
    Run { allowed, error: None, tape }
}

/// The content that an operation makes, on a disk without faults.
fn intended(op: &Op, before: &Model) -> Option<Content> {
    let mut content = before.content.clone();
    match *op {
        Op::Erase => content.objects.truncate(before.at),
        Op::Format => content.objects.clear(),
        Op::Attribute(id, value) => drop(content.attributes.insert(id, value)),
        Op::Write(seed, len) => {
            content.objects.truncate(before.at);
            content.objects.push(Some(common::block(seed, len)));
        }
        Op::Marks(count) => {
            content.objects.truncate(before.at);
            content.objects.extend((0..count).map(|_| None));
        }
        _ => return None,
    }
    Some(content)
}

fn new_tape(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    Cartridge::create(&open_store(&disk).unwrap(), ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    disk
}

/// What a start after the fault finds must be one of the allowed states, whole.
fn check_after(disk: &SimDisk, allowed: &[Content], what: &str) {
    let store = open_store(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut tape = Cartridge::open(&store, ID, settings()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = content(&mut tape).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(allowed.contains(&found), "{what}: {} objects found", found.objects.len());
    // It works: a block more, durable.
    tape.space_to_end();
    tape.write_block(&[common::block(99, 1234)], true).unwrap_or_else(|error| panic!("{what}: {error}"));
    tape.close().unwrap_or_else(|error| panic!("{what}: {error}"));
}

#[test]
fn a_power_cut_at_any_step_leaves_the_tape_at_its_last_flush_or_a_later_commit() {
    let whole = new_tape(0);
    let first = whole.steps();
    let last_state = play(&open_store(&whole).unwrap(), &script());
    assert!(last_state.error.is_none(), "{:?}", last_state.error);
    drop(last_state);
    let last = whole.steps();
    assert!(last > first + 50, "the script takes {} steps", last - first);
    for step in first..=last {
        for seed in 0..cases(4) {
            let disk = new_tape(0);
            disk.crash_at(step);
            let allowed = match open_store(&disk) {
                Ok(store) => play(&store, &script()).allowed,
                Err(_) => vec![Content::default()],
            };
            check_after(&disk.after_crash(seed), &allowed, &format!("cut at step {step}, seed {seed}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(100) as u32))]

    #[test]
    fn a_power_cut_in_any_use_leaves_the_tape_at_its_last_flush_or_a_later_commit(
        ops in vec(op(), 1..60),
        part: u16,
        seed: u64,
    ) {
        let whole = new_tape(0);
        let first = whole.steps();
        drop(play(&open_store(&whole).unwrap(), &ops));
        let disk = new_tape(0);
        disk.crash_at(first + (whole.steps() - first) * u64::from(part) / 65_536);
        let allowed = match open_store(&disk) {
            Ok(store) => play(&store, &ops).allowed,
            Err(_) => vec![Content::default()],
        };
        check_after(&disk.after_crash(seed), &allowed, &format!("{ops:?}"));
    }
}

#[test]
fn an_error_of_the_disk_at_any_call_is_told_and_costs_no_flushed_block() {
    each_call_fails(Fault::Eio);
}

#[test]
fn a_full_disk_at_any_call_is_told_and_costs_no_flushed_block() {
    each_call_fails(Fault::Enospc);
}

fn each_call_fails(fault: Fault) {
    let whole = new_tape(0);
    let store = open_store(&whole).unwrap();
    let first = whole.calls();
    assert!(play(&store, &script()).error.is_none());
    let last = whole.calls();
    drop(store);
    let mut told = 0;
    for call in first..=last {
        let disk = new_tape(0);
        let store = open_store(&disk).unwrap();
        disk.fail_call(call, fault);
        let what = format!("{fault:?} at call {call}");
        let Run { mut allowed, error, tape } = play(&store, &script());
        disk.heal();
        told += u64::from(error.is_some());
        if let (Some(error), Some(mut tape)) = (&error, tape) {
            allowed = still_usable(&mut tape, &allowed, error, &what);
        }
        drop(store);
        check_after(&disk.after_crash(call), &allowed, &what);
    }
    assert!(told > 10, "only {told} faults reached a caller");
}

/// After an error that was told, the open cartridge shows an allowed state, and either takes a block and keeps it, or
/// says that the pool takes none. Returns what may be found after a restart.
fn still_usable(
    tape: &mut Cartridge,
    allowed: &[Content],
    error: &CartridgeError,
    what: &str,
) -> Vec<Content> {
    // A loss in a call that cannot tell it is told by the next one, once.
    let now = match content(tape) {
        Err(CartridgeError::LateWrite(_)) if !matches!(error, CartridgeError::LateWrite(_)) => content(tape),
        other => other,
    };
    let now = now.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(allowed.contains(&now), "{what}, told as {error}: {} objects", now.objects.len());
    if let CartridgeError::LateWrite(lost) = error {
        assert_eq!(lost.end_object, now.objects.len() as u64, "{what}");
        assert!(lost.objects > 0, "{what}");
    }
    tape.space_to_end();
    let more = common::block(98, 777);
    let mut after = now.clone();
    after.objects.push(Some(more.clone()));
    match tape.write_block(&[more], false).and_then(|_| tape.flush()) {
        Ok(()) => vec![after],
        // A sync had failed: what was in flight then may be found whole by the next start.
        Err(CartridgeError::PoolReadOnly { .. } | CartridgeError::LateWrite(_)) => {
            let mut allowed = allowed.to_vec();
            allowed.push(after);
            allowed
        }
        Err(error) => panic!("{what}: then {error}"),
    }
}

#[test]
fn a_pool_that_fills_up_refuses_the_block_and_keeps_all_before_it() {
    let disk = new_tape(3);
    let store = open_store(&disk).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    disk.set_capacity(
        disk.files().iter().filter_map(|path| disk.contents(path)).map(|c| c.len() as u64).sum::<u64>()
            + 150_000,
    );
    let mut taken = 0;
    let refused = loop {
        match tape.write_block(&[common::block(3 * taken + 1, 3000)], false) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 60, "150 kB never fill up");
    };
    assert!(matches!(refused, CartridgeError::PoolFull), "{refused}");
    assert_eq!(tape.position().object, taken);
    tape.locate_object(1);
    assert!(matches!(tape.write_block(&[common::block(1, 100_000)], false), Err(CartridgeError::PoolFull)));
    tape.space_to_end();
    assert_eq!(tape.position().object, taken, "a refused overwrite costs nothing that is pending");
    assert!(tape.write_filemarks(1).is_ok());
    tape.flush().unwrap();
    tape.locate_object(1);
    let before = content(&mut tape).unwrap();
    tape.locate_object(1);
    assert!(matches!(tape.write_block(&[common::block(1, 100_000)], false), Err(CartridgeError::PoolFull)));
    assert_eq!(tape.position().object, 1, "a refused overwrite moves nothing");
    assert_eq!(content(&mut tape).unwrap(), before, "and costs nothing");
    tape.close().unwrap();
    disk.set_capacity(u64::MAX);
    check_after(&disk.after_crash(0), &[before], "after filling up");
}

#[test]
fn a_pool_that_runs_low_gives_early_warning() {
    let disk = new_tape(3);
    let store = open_store(&disk).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert!(!tape.write_block(&[common::block(1, 100)], false).unwrap().early_warning);
    drop(tape);
    let all = vtl_cartridge::Settings { pool_warning_bytes: u64::MAX, ..settings() };
    let mut tape = Cartridge::load(&store, ID, all).unwrap();
    assert!(tape.write_block(&[common::block(1, 100)], false).unwrap().early_warning);
    tape.rewind();
    assert!(!tape.position().early_warning, "reading has nothing to do with it");
}

#[test]
fn a_pool_that_takes_no_writes_can_still_be_read_and_says_so_to_writers() {
    // Which of the calls of a flush is a sync is the store's to know: each is tried.
    let read_only = (0..40).filter(|call| flush_fails_at(*call)).count();
    assert!(
        (1..40).contains(&read_only),
        "a failed sync closes the pool for writes: {read_only} of 40 calls"
    );
}

/// Fails the flush at one of its calls and checks what is left. True when the pool takes no writes afterwards.
fn flush_fails_at(call: u64) -> bool {
    let disk = new_tape(5);
    let store = open_store(&disk).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    tape.write_block(&[common::block(1, 3000)], true).unwrap();
    tape.write_filemarks(1).unwrap();
    tape.flush().unwrap();
    tape.write_block(&[common::block(2, 3000)], true).unwrap();
    disk.fail_call(disk.calls() + call, Fault::Eio);
    let lost = match tape.flush() {
        Ok(()) => false,
        Err(CartridgeError::LateWrite(lost)) => {
            assert_eq!((lost.objects, lost.bytes, lost.end_object), (1, 3000, 2));
            true
        }
        Err(error) => panic!("{error}"),
    };
    disk.heal();
    assert!(tape.flush().is_ok(), "told once, and nothing is pending");
    drop(tape);

    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert_eq!(tape.load_count(), 2);
    let mut kept = vec![Some(common::block(1, 3000)), None];
    kept.extend((!lost).then(|| Some(common::block(2, 3000))));
    assert_eq!(content(&mut tape).unwrap().objects, kept);
    let read_only = matches!(store.health(), vtl_store::Health::ReadOnly { .. });
    if read_only {
        tape.locate_object(1);
        let refused = [
            tape.write_block(&[common::block(3, 10)], true).map(drop),
            tape.write_filemarks(1).map(drop),
            tape.erase(),
            tape.set_host_attribute(0x0801, b"x"),
            tape.set_write_protected(true),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(CartridgeError::PoolReadOnly { .. })), "{refused:?}");
        }
        assert_eq!(tape.position().object, 1, "what could not be written moves nothing");
        assert_eq!(content(&mut tape).unwrap().objects, kept);
        assert_eq!(tape.host_attribute(0x0801), None);
        assert!(tape.write_protected(), "what is to be protected is, in memory at least");
        assert!(matches!(tape.write_filemarks(1), Err(CartridgeError::WriteProtected)));
    }
    tape.close().unwrap();
    read_only
}

#[test]
fn a_switch_that_could_not_be_made_durable_is_turned_all_the_same_and_goes_with_the_next_commit() {
    let (mut refused, mut kept) = (0, 0);
    for call in 0..40 {
        let disk = new_tape(7);
        let store = open_store(&disk).unwrap();
        let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
        disk.fail_call(disk.calls() + call, Fault::Eio);
        let turned = tape.set_write_protected(true);
        disk.heal();
        assert!(tape.write_protected(), "call {call}: {turned:?}");
        assert!(matches!(tape.write_filemarks(1), Err(CartridgeError::WriteProtected)));
        if turned.is_err() {
            refused += 1;
            match tape.set_host_attribute(0x0801, b"x") {
                Ok(()) => {}
                Err(CartridgeError::PoolReadOnly { .. }) => continue,
                Err(error) => panic!("call {call}: {error}"),
            }
        }
        kept += 1;
        drop(tape);
        assert!(Cartridge::inspect(&store, ID).unwrap().write_protected, "call {call}");
    }
    assert!(refused > 0 && kept > 0, "{refused} of 40 calls were refused, {kept} were kept");
}

#[test]
fn a_sync_that_failed_for_one_cartridge_costs_another_what_it_had_pending_and_says_so() {
    let other_id = vtl_types::CartridgeId([9; 16]);
    let mut closed = 0;
    for call in 0..40 {
        let disk = new_tape(6);
        let store = open_store(&disk).unwrap();
        Cartridge::create(&store, other_id, &spec("VTL002L8", 1 << 20, 0)).unwrap();
        let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
        let mut other = Cartridge::load(&store, other_id, settings()).unwrap();
        tape.write_block(&[common::block(1, 3000)], true).unwrap();
        tape.flush().unwrap();
        tape.write_block(&[common::block(2, 3000)], true).unwrap();
        other.write_block(&[common::block(4, 100)], true).unwrap();
        disk.fail_call(disk.calls() + call, Fault::Eio);
        let _ = other.flush();
        disk.heal();
        if store.health() == vtl_store::Health::Ok {
            continue;
        }
        closed += 1;
        let lost = tape.flush();
        assert!(matches!(&lost, Err(CartridgeError::LateWrite(lost)) if lost.objects == 1), "{lost:?}");
        assert_eq!(tape.position().object, 1);
        assert_eq!(content(&mut tape).unwrap().objects, [Some(common::block(1, 3000))]);
        assert!(matches!(tape.write_filemarks(1), Err(CartridgeError::PoolReadOnly { .. })));
        assert!(tape.flush().is_ok());
    }
    assert!(closed > 0, "no call of a flush was a sync");
}

#[test]
fn a_damaged_chunk_costs_the_blocks_that_need_it_and_no_other() {
    let disk = new_tape(1);
    let store = open_store(&disk).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    for n in 0..40 {
        tape.write_block(&[common::block(3 * n + 1, 700)], false).unwrap();
    }
    tape.close().unwrap();
    drop(store);
    let needle = common::block(3 * 20 + 1, 700);
    let (path, at) = disk
        .files()
        .into_iter()
        .find_map(|path| {
            let bytes = disk.contents(&path)?;
            let at = bytes.windows(100).position(|window| window == &needle[400..500])?;
            Some((path, at))
        })
        .expect("block 20 is stored raw");
    disk.flip_bit(&path, at as u64, 3);
    let store = open_store(&disk).unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    let mut unreadable = Vec::new();
    for n in 0..40u64 {
        match tape.read(u32::MAX) {
            Ok(Object::Block { data, .. }) => assert_eq!(data.concat(), common::block(3 * n + 1, 700)),
            Err(CartridgeError::Unreadable { object, .. }) => {
                assert_eq!(object, n);
                unreadable.push(object);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(tape.position().object, n + 1, "the position is behind an unreadable block, too");
    }
    assert!(unreadable.contains(&20), "{unreadable:?}");
    assert!(unreadable.len() <= 4, "a chunk of 1 KiB concerns few blocks of 700: {unreadable:?}");
}
