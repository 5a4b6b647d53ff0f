//! A cartridge read while others use it, and copies that are not whole yet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{block, open_store, settings, spec};
use vtl_cartridge::{Cartridge, CartridgeError, Kept, Reading};
use vtl_durable::SimDisk;
use vtl_store::{DirectIo, Options, PackWrites, Store};
use vtl_types::CartridgeId;

const ID: CartridgeId = CartridgeId([1; 16]);

fn objects(reading: &mut Reading) -> Vec<Option<Vec<u8>>> {
    let mut all = Vec::new();
    loop {
        match reading.next_object().unwrap() {
            Kept::Block(portions) => {
                all.push(Some(portions.iter().flat_map(|one| one.bytes.to_vec()).collect()));
            }
            Kept::Filemark => all.push(None),
            Kept::EndOfData => return all,
        }
    }
}

#[test]
fn a_reading_has_what_was_committed_while_a_drive_goes_on_writing() {
    let store = open_store(&SimDisk::new(1)).unwrap();
    Cartridge::create(&store, ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    let mut drive = Cartridge::open(&store, ID, settings()).unwrap();
    let blocks: Vec<_> = (0..3).map(|seed| block(seed, 700 + seed as usize)).collect();
    drive.write_block(&[blocks[0].clone()], true).unwrap();
    drive.write_filemarks(2).unwrap();
    drive.write_block(&[blocks[1].clone()], true).unwrap();
    drive.set_host_attribute(0x0806, b"barcode").unwrap();
    let mut reading = Reading::open(&store, ID).unwrap();
    drive.write_block(&[blocks[2].clone()], true).unwrap();
    drive.rewind();
    drive.erase().unwrap();
    let expected = [Some(blocks[0].to_vec()), None, None, Some(blocks[1].to_vec())];
    assert_eq!(objects(&mut reading), expected);
    assert_eq!((reading.facts().objects, reading.facts().used_bytes), (4, 1401));
    assert_eq!(reading.host_attributes().collect::<Vec<_>>(), [(0x0806, &b"barcode"[..])]);
    assert!(Reading::open(&store, ID).unwrap().facts().generation > reading.facts().generation);
    let unknown = Reading::open(&store, CartridgeId([2; 16]));
    assert!(matches!(unknown, Err(CartridgeError::Store(_))));
}

#[test]
fn a_copy_says_that_it_is_unfinished_until_it_is_whole_and_has_the_generation_of_what_it_copies() {
    let disk = SimDisk::new(2);
    let store = open_store(&disk).unwrap();
    Cartridge::begin_copy(&store, ID, &spec("VTL001L8", 1 << 20, 0)).unwrap();
    let mut copy = Cartridge::open(&store, ID, settings()).unwrap();
    copy.write_block(&[block(1, 9_000)], true).unwrap();
    copy.write_filemarks(1).unwrap();
    copy.flush().unwrap();
    copy.close().unwrap();
    // As the next start would find it, were this the end.
    let facts = Cartridge::inspect(&store, ID).unwrap();
    assert!(facts.unfinished && facts.generation == 0 && facts.objects == 2);
    Cartridge::open(&store, ID, settings()).unwrap().finish_copy(77).unwrap();
    drop(store);
    let store = open_store(&disk).unwrap();
    let facts = Cartridge::inspect(&store, ID).unwrap();
    assert_eq!((facts.unfinished, facts.generation, facts.objects), (false, 77, 2));
    let mut used = Cartridge::open(&store, ID, settings()).unwrap();
    used.write_filemarks(1).unwrap();
    used.flush().unwrap();
    assert_eq!(used.facts().generation, 78);
}

#[test]
fn what_nobody_reads_soon_does_not_stay_in_memory_that_lies_idle() {
    let disk = SimDisk::new(4);
    disk.idle_memory(true);
    let options = Options { direct_io: DirectIo::Auto, ..Options::small() };
    let store = Store::open(Arc::new(disk), Path::new("/pool"), options).unwrap();
    for (id, soon, expected) in [(1, true, PackWrites::Buffered), (2, false, PackWrites::Direct)] {
        let id = CartridgeId([id; 16]);
        Cartridge::create(&store, id, &spec("VTL001L8", 1 << 20, 0)).unwrap();
        let mut cartridge = Cartridge::open(&store, id, settings()).unwrap();
        if !soon {
            cartridge.not_read_soon();
        }
        cartridge.write_block(&[block(u64::from(id.0[0]), 300_000)], true).unwrap();
        cartridge.flush().unwrap();
        assert_eq!(store.pack_writes(), expected);
    }
}

#[test]
fn an_unfinished_copy_of_a_worm_tape_is_begun_anew_and_a_finished_one_is_written_once() {
    let store = open_store(&SimDisk::new(3)).unwrap();
    Cartridge::begin_copy(&store, ID, &spec("VTL001LY", 1 << 20, 0)).unwrap();
    let mut copy = Cartridge::open(&store, ID, settings()).unwrap();
    copy.write_block(&[block(1, 9_000)], true).unwrap();
    copy.close().unwrap();
    let mut copy = Cartridge::open(&store, ID, settings()).unwrap();
    copy.erase().unwrap();
    copy.write_block(&[block(2, 7_000)], true).unwrap();
    copy.finish_copy(1).unwrap();
    let mut tape = Cartridge::open(&store, ID, settings()).unwrap();
    assert_eq!(tape.used_bytes(), 7_000);
    assert!(matches!(tape.erase(), Err(CartridgeError::WriteOnce)));
}
