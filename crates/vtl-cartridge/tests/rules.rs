//! Capacity, early warning, write protection, WORM, attributes, counts: each rule by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{ID, block, content, open_store, settings, spec};
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec, Object, Position, Settings, Stop};
use vtl_durable::SimDisk;
use vtl_store::{OwnerId, Store, StoreError};
use vtl_types::{ByteCount, CartridgeId, MediaForm, Place};

fn store() -> Store {
    open_store(&SimDisk::new(1)).unwrap()
}

fn tape_of(store: &Store, spec: &CartridgeSpec) -> Cartridge {
    Cartridge::create(store, ID, spec).unwrap();
    Cartridge::load(store, ID, settings()).unwrap()
}

fn small_tape(store: &Store) -> Cartridge {
    tape_of(store, &spec("VTL001L8", 10_000, 4_000))
}

#[test]
fn the_last_byte_of_capacity_can_be_written_and_no_more() {
    let store = store();
    let mut tape = small_tape(&store);
    let warned = |tape: &mut Cartridge, len| tape.write_block(&[block(1, len)], false).unwrap().early_warning;
    assert!(!warned(&mut tape, 5_999));
    assert!(warned(&mut tape, 1), "early warning begins 4,000 bytes before the end");
    assert!(warned(&mut tape, 3_000));
    assert!(matches!(tape.write_block(&[block(1, 1_001)], false), Err(CartridgeError::EndOfPartition)));
    assert_eq!((tape.position().object, tape.used_bytes()), (3, 9_000));
    assert!(warned(&mut tape, 1_000));
    assert!(tape.write_filemarks(2).unwrap().early_warning, "filemarks cost nothing");
    assert!(matches!(tape.write_block(&[block(1, 1)], false), Err(CartridgeError::EndOfPartition)));
    assert_eq!(tape.facts().remaining_bytes(), 0);
    let end = Position { object: 6, file: 2, end_of_data: true, early_warning: true };
    assert_eq!(tape.position(), end);
    tape.locate_object(1);
    assert!(!tape.write_block(&[block(1, 0)], false).unwrap().early_warning, "no bytes, no change");
    assert_eq!(tape.facts().objects, 6);
}

#[test]
fn early_warning_begins_800_mib_or_an_eighth_before_the_end_unless_told() {
    for (capacity, distance) in [(12_000_000_000_000, 838_860_800), (64 << 20, 8 << 20), (0, 0)] {
        let store = store();
        let spec = CartridgeSpec { early_warning: None, ..spec("VTL001L8", capacity, 0) };
        Cartridge::create(&store, ID, &spec).unwrap();
        assert_eq!(Cartridge::inspect(&store, ID).unwrap().early_warning_bytes, distance);
    }
}

#[test]
fn a_cartridge_that_cannot_be_is_not_made() {
    let store = store();
    let good = spec("VTL001L8", 1000, 0);
    let bad = [
        CartridgeSpec { serial: String::new(), ..good.clone() },
        CartridgeSpec { serial: "with space".into(), ..good.clone() },
        CartridgeSpec { serial: "x".repeat(33), ..good.clone() },
        CartridgeSpec { early_warning: Some(ByteCount(1001)), ..good.clone() },
    ];
    for spec in bad {
        assert!(matches!(Cartridge::create(&store, ID, &spec), Err(CartridgeError::InvalidSpec { .. })));
    }
    Cartridge::create(&store, ID, &good).unwrap();
    let again = Cartridge::create(&store, ID, &good);
    assert!(matches!(again, Err(CartridgeError::Store(StoreError::Exists { .. }))), "{again:?}");
}

#[test]
fn a_block_has_up_to_16_777_215_bytes() {
    let store = store();
    let mut tape = tape_of(&store, &spec("VTL001L8", 1 << 30, 0));
    let longest = Bytes::from(vec![5; 16_777_215]);
    tape.write_block(std::slice::from_ref(&longest), true).unwrap();
    let longer = tape.write_block(&[longest.clone(), Bytes::from_static(b"x")], true);
    assert!(matches!(longer, Err(CartridgeError::BlockTooLong { length: 16_777_216 })), "{longer:?}");
    tape.rewind();
    let Object::Block { length, data } = tape.read(u32::MAX).unwrap() else { panic!() };
    assert_eq!((length, data.concat() == longest), (16_777_215, true));
}

#[test]
fn the_write_protect_switch_stops_writes_and_lasts() {
    let store = store();
    let mut tape = small_tape(&store);
    tape.write_block(&[block(1, 10)], false).unwrap();
    tape.set_write_protected(true).unwrap();
    tape.close().unwrap();
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert!(tape.facts().write_protected);
    let refused = |result| assert!(matches!(result, Err(CartridgeError::WriteProtected)));
    refused(tape.write_block(&[block(1, 10)], false).map(drop));
    refused(tape.write_filemarks(1).map(drop));
    refused(tape.erase());
    refused(tape.format());
    assert!(tape.write_filemarks(0).is_ok());
    assert_eq!(tape.position().object, 0);
    assert_eq!(tape.facts().objects, 1);
    tape.set_host_attribute(0x0800, b"VENDOR").unwrap();
    tape.set_write_protected(false).unwrap();
    tape.erase().unwrap();
    assert_eq!(tape.facts().objects, 0);
}

#[test]
fn what_is_on_a_worm_tape_stays() {
    let store = store();
    let mut tape = tape_of(&store, &spec("VTL001LY", 10_000, 0));
    assert_eq!(tape.facts().kind.form, MediaForm::Worm);
    tape.format().unwrap();
    tape.write_block(&[block(1, 10)], false).unwrap();
    tape.write_filemarks(1).unwrap();
    for object in [0, 1] {
        tape.locate_object(object);
        let refused = |result| assert!(matches!(result, Err(CartridgeError::WriteOnce)));
        refused(tape.write_block(&[block(2, 10)], false).map(drop));
        refused(tape.write_filemarks(1).map(drop));
        refused(tape.erase());
        refused(tape.format());
        assert_eq!(tape.position().object, object);
    }
    tape.space_to_end();
    tape.erase().unwrap();
    tape.write_block(&[block(3, 10)], false).unwrap();
    assert_eq!(content(&mut tape).unwrap().objects, [Some(block(1, 10)), None, Some(block(3, 10))]);
}

#[test]
fn attributes_are_durable_at_once_and_have_a_limit() {
    let disk = SimDisk::new(1);
    let store = open_store(&disk).unwrap();
    let mut tape = small_tape(&store);
    tape.write_block(&[block(1, 10)], false).unwrap();
    tape.set_host_attribute(0x0806, b"label of mine").unwrap();
    tape.set_host_attribute(0x0801, b"x").unwrap();
    tape.set_host_attribute(0x0801, b"").unwrap();
    let too_much = tape.set_host_attribute(0x0802, &[1; 33_000]);
    assert!(matches!(too_much, Err(CartridgeError::AttributesFull { limit: 32_768 })));
    drop((tape, store));
    let store = open_store(&disk.after_crash(0)).unwrap();
    let tape = Cartridge::open(&store, ID, settings()).unwrap();
    assert_eq!(tape.host_attributes(), [0x0806]);
    assert_eq!(tape.host_attribute(0x0806), Some(&b"label of mine"[..]));
    assert_eq!(tape.host_attribute(0x0801), None);
    assert_eq!(tape.facts().objects, 1, "what was written before is durable with it");
}

#[test]
fn the_generation_grows_with_content_only_and_loads_are_counted() {
    let store = store();
    let mut tape = small_tape(&store);
    assert_eq!((tape.facts().generation, tape.load_count()), (0, 1));
    tape.set_write_protected(true).unwrap();
    tape.set_write_protected(false).unwrap();
    tape.set_place(Some(("lib0".parse().unwrap(), Place::Drive(1)))).unwrap();
    tape.flush().unwrap();
    assert_eq!(tape.facts().generation, 0);
    tape.write_filemarks(1).unwrap();
    assert_eq!(tape.facts().generation, 0, "not committed yet");
    tape.flush().unwrap();
    tape.flush().unwrap();
    assert_eq!(tape.facts().generation, 1);
    tape.locate_object(0);
    tape.write_filemarks(1).unwrap();
    tape.flush().unwrap();
    assert_eq!(tape.facts().generation, 2, "the same again is a change, too");
    tape.set_host_attribute(0x0801, b"x").unwrap();
    assert_eq!(tape.facts().generation, 3);
    tape.close().unwrap();
    let facts = Cartridge::inspect(&store, ID).unwrap();
    assert_eq!((facts.generation, facts.load_count, facts.filemarks), (3, 1, 1));
    assert_eq!(facts.place, Some(("lib0".parse().unwrap(), Place::Drive(1))));
    let mut tape = Cartridge::open(&store, ID, settings()).unwrap();
    assert_eq!(tape.load_count(), 1, "only a drive's load counts");
    tape.set_place(Some(("lib0".parse().unwrap(), Place::Vault))).unwrap();
    assert_eq!(tape.facts().place, None);
}

#[test]
fn only_one_can_have_a_cartridge_open() {
    let store = store();
    let tape = small_tape(&store);
    let second = Cartridge::open(&store, ID, settings());
    assert!(matches!(second, Err(CartridgeError::Store(StoreError::Busy { .. }))), "{second:?}");
    drop(tape);
    assert!(Cartridge::open(&store, ID, settings()).is_ok());
    let other = Cartridge::open(&store, CartridgeId([8; 16]), settings());
    assert!(matches!(other, Err(CartridgeError::Store(StoreError::UnknownOwner { .. }))));
}

#[test]
fn a_commit_comes_by_itself_when_much_or_old_is_pending() {
    let store = store();
    Cartridge::create(&store, ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    let limits = Settings { commit_bytes: 5_000, commit_interval: Duration::from_secs(2), ..settings() };
    let mut tape = Cartridge::load(&store, ID, limits).unwrap();
    tape.write_block(&[block(1, 4_999)], false).unwrap();
    assert!(tape.is_pending());
    tape.write_block(&[block(1, 1)], false).unwrap();
    assert!(!tape.is_pending(), "5,000 bytes are due");
    assert!(!tape.commit_if_due(Duration::from_secs(10)).unwrap());
    tape.write_filemarks(1).unwrap();
    assert!(!tape.commit_if_due(Duration::from_millis(11_999)).unwrap());
    assert_eq!(tape.commit_due_at(), Some(Duration::from_secs(12)));
    assert!(tape.commit_if_due(Duration::from_secs(12)).unwrap());
    assert!(!tape.is_pending());
    assert_eq!(tape.commit_due_at(), None);
    assert_eq!(Cartridge::inspect(&store, ID).unwrap().objects, 3);
}

#[test]
fn deltas_never_take_much_more_than_the_snapshot_that_replaces_them() {
    let store = store();
    let mut tape = tape_of(&store, &spec("VTL001L8", 1 << 30, 0));
    let kept = |store: &Store| {
        let head = store.head(OwnerId(ID.0)).unwrap();
        (head.deltas.len(), head.deltas.iter().map(Vec::len).sum::<usize>())
    };
    for n in 0..2_000 {
        tape.write_block(&[block(n, 10)], false).unwrap();
        tape.write_filemarks(1).unwrap();
        tape.flush().unwrap();
        let (deltas, bytes) = kept(&store);
        assert!(deltas < 1_500 && bytes <= 64 << 10, "{deltas} deltas of {bytes} bytes");
    }
    tape.close().unwrap();
    assert_eq!(kept(&store), (0, 0));
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    assert_eq!(tape.locate_file(1_999), None);
    assert_eq!(tape.position().object, 3_998);
    assert_eq!(tape.locate_file(2_001), Some(Stop::EndOfData));
}

#[test]
fn no_delta_grows_beyond_its_limit_also_when_much_is_overwritten() {
    let store = store();
    Cartridge::create(&store, ID, &spec("VTL001L8", 1 << 30, 0)).unwrap();
    let limits = Settings { commit_bytes: u64::MAX, commit_delta_bytes: 1_000, ..settings() };
    let mut tape = Cartridge::load(&store, ID, limits).unwrap();
    for pass in 0..3 {
        tape.rewind();
        for n in 0..3_000 {
            tape.write_block(&[block(pass, 1 + n % 2)], false).unwrap();
        }
        tape.flush().unwrap();
    }
    let longest = store.head(OwnerId(ID.0)).unwrap().deltas.iter().map(Vec::len).max();
    assert!(longest.is_some_and(|longest| (500..1_100).contains(&longest)), "{longest:?}");
}

#[test]
fn a_tape_with_as_many_objects_as_can_be_counted_is_full() {
    let store = store();
    small_tape(&store).close().unwrap();
    let mut snapshot = store.head(OwnerId(ID.0)).unwrap().snapshot;
    // 2^63 - 1 marks: objects at 76, filemarks at 84, the runs' length at 104, and one run.
    let most = i64::MAX.to_le_bytes();
    snapshot[76..84].copy_from_slice(&most);
    snapshot[84..92].copy_from_slice(&most);
    snapshot[104] = 10;
    snapshot.extend([0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
    snapshot[8] = snapshot.len() as u8;
    let mut stream = store.open_stream(OwnerId(ID.0)).unwrap();
    stream.commit_snapshot(&snapshot).unwrap();
    drop(stream);
    let mut tape = Cartridge::load(&store, ID, settings()).unwrap();
    tape.space_to_end();
    assert_eq!(tape.position().file, i64::MAX as u64);
    assert_eq!(tape.space_blocks(1).stop, Some(Stop::EndOfData));
    assert_eq!(tape.space_filemarks(i64::MIN).stop, Some(Stop::Beginning));
    tape.space_to_end();
    assert!(matches!(tape.write_block(&[block(1, 1)], false), Err(CartridgeError::EndOfPartition)));
    assert!(matches!(tape.write_filemarks(u32::MAX), Err(CartridgeError::EndOfPartition)));
    tape.locate_object(5);
    tape.write_block(&[block(1, 1)], false).unwrap();
    tape.close().unwrap();
    assert_eq!(Cartridge::inspect(&store, ID).unwrap().objects, 6);
}

#[test]
fn a_map_at_its_limit_ends_the_tape_after_a_warning() {
    let store = store();
    Cartridge::create(&store, ID, &spec("VTL001L8", 1 << 30, 0)).unwrap();
    let limits = Settings { map_limit_bytes: 1_000, ..settings() };
    let mut tape = Cartridge::load(&store, ID, limits).unwrap();
    let mut warned = false;
    let end = loop {
        match tape.write_block(&[block(1, 1 + tape.position().object as usize % 2)], false) {
            Ok(written) => warned = written.early_warning,
            Err(error) => break error,
        }
        assert!(tape.position().object < 2_000);
    };
    assert!(matches!(end, CartridgeError::EndOfPartition), "{end}");
    assert!(warned);
    tape.flush().unwrap();
}

#[test]
fn heads_that_contradict_the_stream_or_themselves_are_refused() {
    let store = store();
    let mut tape = small_tape(&store);
    tape.write_block(&[block(1, 100)], false).unwrap();
    tape.close().unwrap();
    let snapshot = store.head(OwnerId(ID.0)).unwrap().snapshot;
    let refuse = |bytes: &[u8], what: &str| {
        let mut stream = store.open_stream(OwnerId(ID.0)).unwrap();
        stream.commit_snapshot(bytes).unwrap();
        drop(stream);
        let opened = Cartridge::open(&store, ID, settings());
        assert!(matches!(opened, Err(CartridgeError::FormatCorrupted { .. })), "{what}: {opened:?}");
    };
    refuse(b"", "nothing");
    refuse(&snapshot[..snapshot.len() - 1], "cut");
    let mut longer = snapshot.clone();
    // One block of 100 bytes is written as 64 01; bytes stand at 92.
    let runs = longer.len() - 2;
    assert_eq!(longer[runs..], [0x64, 0x01]);
    (longer[runs], longer[92]) = (0x65, 0x65);
    refuse(&longer, "a map that is longer than the stream");
    let mut newer = snapshot.clone();
    newer[4] = 1;
    refuse(&newer, "another version");
}

#[test]
fn a_cartridge_can_go_to_a_drives_thread() {
    fn can_move<T: Send + 'static>() {}
    can_move::<Cartridge>();
}
