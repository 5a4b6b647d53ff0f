//! A cartridge whose blocks lie elsewhere: positions are here, bytes come from who has them, and nothing can be changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{ID, open_store, settings, spec};
use vtl_cartridge::{Absent, Cartridge, CartridgeError, NotHere, Object, Stop};
use vtl_durable::SimDisk;

/// Gives bytes that tell where they are, unless it is told not to.
#[derive(Debug, Default)]
struct Elsewhere {
    not_here: Mutex<Option<NotHere>>,
    asked: Mutex<Vec<(u64, u64)>>,
}

impl Absent for Elsewhere {
    fn read(&self, offset: u64, len: u64) -> Result<Vec<Bytes>, NotHere> {
        self.asked.lock().unwrap().push((offset, len));
        match self.not_here.lock().unwrap().clone() {
            Some(not_here) => Err(not_here),
            None => Ok(vec![(offset..offset + len).map(|at| at as u8).collect()]),
        }
    }
}

/// Two blocks of 100, a mark, three of 7.
const OBJECTS: [(u32, u64); 3] = [(100, 2), (0, 1), (7, 3)];

#[test]
fn bytes_are_asked_for_where_they_are_and_a_read_in_vain_may_be_repeated() {
    let store = open_store(&SimDisk::new(1)).unwrap();
    Cartridge::begin_copy(&store, ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    let elsewhere = Arc::new(Elsewhere::default());
    let mut tape =
        Cartridge::open_absent(&store, ID, settings(), OBJECTS, Arc::clone(&elsewhere) as _).unwrap();
    assert_eq!(tape.runs().collect::<Vec<_>>(), OBJECTS);
    assert_eq!((tape.used_bytes(), tape.facts().objects, tape.facts().filemarks), (221, 6, 1));
    assert_eq!(tape.locate_object(9), Some(Stop::EndOfData));
    assert_eq!(tape.space_filemarks(-1).moved, 1);
    assert_eq!(tape.locate_object(4), None);
    assert_eq!((tape.position().object, tape.position().file), (4, 1));
    assert!(elsewhere.asked.lock().unwrap().is_empty(), "positions ask nobody");

    *elsewhere.not_here.lock().unwrap() = Some(NotHere::Away { why: "no network".into() });
    let error = tape.read(u32::MAX).unwrap_err();
    assert!(matches!(&error, CartridgeError::Away { object: 4, why } if why == "no network"), "{error}");
    assert_eq!(tape.position().object, 4);
    *elsewhere.not_here.lock().unwrap() = None;
    assert_eq!(tape.read(3).unwrap(), Object::Block { length: 7, data: vec![vec![207, 208, 209].into()] });
    *elsewhere.not_here.lock().unwrap() = Some(NotHere::Damaged { why: "a bit".into() });
    assert!(matches!(tape.read(7), Err(CartridgeError::Unreadable { object: 5, .. })));
    assert!(tape.position().end_of_data, "behind the block");
    assert_eq!(*elsewhere.asked.lock().unwrap(), [(207, 7), (207, 3), (214, 7)]);
    tape.locate_object(0);
    assert_eq!(tape.read(0).unwrap(), Object::Block { length: 100, data: Vec::new() });
}

#[test]
fn nothing_of_it_changes_and_who_makes_it_whole_has_it_for_itself() {
    let store = open_store(&SimDisk::new(1)).unwrap();
    Cartridge::begin_copy(&store, ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    let before = store.head(vtl_store::OwnerId(ID.0)).unwrap();
    let mut tape =
        Cartridge::open_absent(&store, ID, settings(), OBJECTS, Arc::new(Elsewhere::default())).unwrap();
    tape.count_load();
    let protected = |done: Result<_, CartridgeError>| matches!(done, Err(CartridgeError::WriteProtected));
    assert!(protected(tape.write_block(&[vec![1].into()], true).map(drop)));
    assert!(protected(tape.write_filemarks(1).map(drop)));
    assert!(protected(tape.erase()) && protected(tape.format()));
    let incomplete = |done: Result<(), CartridgeError>| matches!(done, Err(CartridgeError::Incomplete));
    assert!(incomplete(tape.set_host_attribute(0x0800, b"x")) && incomplete(tape.set_hold(true)));
    assert!(incomplete(tape.set_write_protected(false)) && incomplete(tape.set_place(None)));
    tape.flush().unwrap();
    let mut copy = Cartridge::open(&store, ID, settings()).unwrap();
    copy.write_block(&[vec![5; 9].into()], true).unwrap();
    drop(copy);
    tape.close().unwrap();
    let after = store.head(vtl_store::OwnerId(ID.0)).unwrap();
    assert_eq!((after.snapshot, after.deltas, after.length), (before.snapshot, before.deltas, before.length));
    let beyond = [(1, u64::MAX)];
    assert!(Cartridge::open_absent(&store, ID, settings(), beyond, Arc::new(Elsewhere::default())).is_err());
}
