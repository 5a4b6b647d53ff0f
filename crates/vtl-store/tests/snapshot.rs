//! A snapshot reads what was there when it was taken, whatever becomes of the owner, and gives it back afterwards.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vtl_codec::{Compressors, Method};
use vtl_durable::SimDisk;
use vtl_store::{GcRule, Options, OwnerId, ReadError, Store, StoreError};

const WHO: OwnerId = OwnerId([7; 16]);

fn store(disk: &SimDisk) -> Store {
    Store::open(Arc::new(disk.clone()), Path::new("/pool"), Options::small()).unwrap()
}

/// Bytes that repeat nowhere near.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 56) as u8
        })
        .collect()
}

fn write(store: &Store, cut_to: u64, bytes: &[u8], note: &[u8]) {
    let mut stream = store.open_stream(WHO).unwrap();
    stream.truncate(cut_to).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], true).unwrap();
    stream.commit(note).unwrap();
}

const ALL: GcRule = GcRule { dead_percent: 1, rewrite_bytes: u64::MAX };

#[test]
fn a_snapshot_reads_what_was_there_while_the_owner_is_written_over_collected_and_removed() {
    let disk = SimDisk::new(1);
    let store = store(&disk);
    store.create(WHO, b"first").unwrap();
    let (old, new) = (noise(1, 200_000), noise(2, 150_000));
    write(&store, 0, &old, b"one");
    let mut snapshot = store.snapshot(WHO).unwrap();
    assert_eq!((snapshot.head().length, &snapshot.head().deltas), (200_000, &vec![b"one".to_vec()]));
    write(&store, 10, &new, b"two");
    store.gc(ALL).unwrap();
    assert_eq!(snapshot.read(0, 200_000).unwrap().concat(), old);
    store.remove(WHO).unwrap();
    store.gc(ALL).unwrap();
    // From the middle, and by itself: nothing is in a cache for it.
    let mut again = Vec::new();
    for from in (0..200_000).step_by(7_000) {
        again.extend(snapshot.read(from, 7_000.min(200_000 - from)).unwrap().concat());
    }
    assert_eq!(again, old);
    assert!(matches!(snapshot.read(199_999, 2), Err(ReadError::OutOfRange { end: 200_000, .. })));
    drop(snapshot);
    let before = store.stored_bytes();
    let report = store.gc(ALL).unwrap();
    assert!(report.freed_bytes > 150_000 && store.stored_bytes() < before, "{report:?}");
}

#[test]
fn there_is_no_snapshot_of_an_owner_that_is_not_there_and_one_of_an_open_stream_has_what_was_committed() {
    let disk = SimDisk::new(2);
    let store = store(&disk);
    assert!(matches!(store.snapshot(WHO), Err(StoreError::UnknownOwner { owner: WHO })));
    store.create(WHO, b"").unwrap();
    let mut stream = store.open_stream(WHO).unwrap();
    let bytes = noise(3, 50_000);
    stream.append(&[Bytes::copy_from_slice(&bytes)], false).unwrap();
    stream.commit(b"").unwrap();
    stream.append(&[Bytes::copy_from_slice(b"not yet")], false).unwrap();
    let mut snapshot = store.snapshot(WHO).unwrap();
    assert_eq!(snapshot.head().length, 50_000);
    assert_eq!(snapshot.read(0, 50_000).unwrap().concat(), bytes);
    stream.truncate(0).unwrap();
    stream.commit(b"").unwrap();
    assert_eq!(snapshot.read(49_000, 1_000).unwrap().concat(), bytes[49_000..]);
}

#[test]
fn portions_say_what_they_were_decompressed_from_and_where_in_it_they_are() {
    let disk = SimDisk::new(3);
    let store = store(&disk);
    store.create(WHO, b"").unwrap();
    let text: Vec<u8> =
        (0..20_000).flat_map(|number| format!("line {number} of a text\n").into_bytes()).collect();
    let bytes = [text.clone(), noise(5, 50_000), text[7..].to_vec()].concat();
    write(&store, 0, &bytes, b"");
    let mut snapshot = store.snapshot(WHO).unwrap();
    let back = Compressors::new(Method::Raw, 0);
    let (mut whole, mut told) = (Vec::new(), 0);
    for from in (0..bytes.len() as u64).step_by(10_000) {
        for portion in snapshot.portions(from, 10_000.min(bytes.len() as u64 - from)).unwrap() {
            if let Some((compressed, at)) = &portion.of {
                let mut raw = Vec::with_capacity(compressed.raw_len());
                back.decompress(Method::Zstd, compressed.zstd(), &mut raw).unwrap();
                assert_eq!(raw.len(), compressed.raw_len());
                assert_eq!(portion.bytes, raw[*at..*at + portion.bytes.len()]);
                told += portion.bytes.len();
            }
            whole.extend_from_slice(&portion.bytes);
        }
    }
    assert!(whole == bytes);
    assert!((text.len()..bytes.len()).contains(&told), "text was compressed and noise was not: {told}");
}
