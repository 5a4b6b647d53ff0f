//! Golden bytes, typed from `docs/formats/cartridge.md`, and foreign bytes.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::map::Run;

/// Two blocks of 256 KiB, a mark, a block of 300 bytes.
const SNAPSHOT: &[u8] = &[
    b'V', b'T', b'C', b'S', 0, 0, 0, 0, //                     magic, version, reserved
    0x9a, 0, 0, 0, //                                          length 154
    8, 1, 3, 2, 3, 0, 3,
    4, //                                 LTO-8, WORM, protected and held, drive 3, lengths 3 and 4
    b'V', b'T', b'L', b'0', b'0', b'1', b'L', b'Y', //         label
    0x00, 0x40, 0x7a, 0x10, 0xf3, 0x5a, 0x00, 0x00, //         capacity 100,000,000,000,000
    0x00, 0x00, 0x00, 0x32, 0x00, 0x00, 0x00, 0x00, //         early warning 800 MiB
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //         two seconds before 1970
    0x05, 0, 0, 0, 0, 0, 0, 0, //                              load count
    0x07, 0, 0, 0, 0, 0, 0, 0, //                              write generation
    0x09, 0, 0, 0, 0, 0, 0, 0, //                              delta number
    0x04, 0, 0, 0, 0, 0, 0, 0, //                              objects
    0x01, 0, 0, 0, 0, 0, 0, 0, //                              filemarks
    0x2c, 0x01, 0x08, 0, 0, 0, 0, 0, //                        bytes 524,588
    0x06, 0, 0, 0, 0x09, 0, 0, 0, //                           lengths of attributes and runs
    0x00, 0x00, 0x01, 0, 0, 0, 0, 0, //                        retained until second 65,536 of 1970
    0x00, 0x01, 0, 0, 0, 0, 0, 0, //                           and until the count is 256
    0x09, 0, 0, 0, 0, 0, 0, 0, //                              the count was 9
    b'X', b'Y', b'1', b'l', b'i', b'b', b'0', //               serial, library
    0x06, 0x08, 0x02, 0x00, 0xaa, 0xbb, //                     attribute 0806h
    0x80, 0x80, 0x10, 0x02, 0x00, 0x01, 0xac, 0x02, 0x01, //   runs
];

/// From object 1 on: a block of 256 KiB, two marks; load 6; not protected; 0801h set, 0806h removed; slot 9 of lib1.
const DELTA: &[u8] = &[
    b'V', b'T', b'C', b'D', 0, 0, 0, 0, //                     magic, version, reserved
    0x95, 0, 0, 0, //                                          length 149
    0x0a, 0, 0, 0, 0, 0, 0, 0, //                              number 10
    0x08, 0, 0, 0, 0, 0, 0, 0, //                              write generation
    1, 0x26, 0, 0, 0, //                                       content, 38 bytes
    0x01, 0, 0, 0, 0, 0, 0, 0, //                              keep
    0x04, 0, 0, 0, 0, 0, 0, 0, //                              objects
    0x02, 0, 0, 0, 0, 0, 0, 0, //                              filemarks
    0x00, 0x00, 0x08, 0, 0, 0, 0, 0, //                        bytes 524,288
    0x80, 0x80, 0x10, 0x01, 0x00, 0x02, //                     runs
    2, 0x08, 0, 0, 0, 0x06, 0, 0, 0, 0, 0, 0, 0, //            load count
    3, 0x01, 0, 0, 0, 0x00, //                                 write protection
    4, 0x05, 0, 0, 0, 0x01, 0x08, b'a', b'b', b'c', //         attribute 0801h
    4, 0x02, 0, 0, 0, 0x06, 0x08, //                           attribute 0806h
    5, 0x07, 0, 0, 0, 1, 9, 0, b'l', b'i', b'b', b'1', //      place
    6, 0x19, 0, 0, 0, 0, //                                    no hold
    0x00, 0x00, 0x02, 0, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0,
    0, // retention
];

fn sample() -> Head {
    let mut map = BlockMap::default();
    for (length, count) in [(262_144, 2), (0, 1), (300, 1)] {
        map.append(Run { length, count }).unwrap();
    }
    Head {
        label: "VTL001LY".parse().unwrap(),
        serial: "XY1".into(),
        kind: MediaKind { generation: Generation::Lto8, form: MediaForm::Worm },
        capacity_bytes: 100_000_000_000_000,
        early_warning_bytes: 800 << 20,
        created_s: -2,
        write_protected: true,
        protection: Protection {
            hold: true,
            retention: Some(Retention { until_s: 65_536, release_at_s: 256, noted_at_s: 9 }),
        },
        unfinished: false,
        load_count: 5,
        generation: 7,
        number: 9,
        place: Some(("lib0".parse().unwrap(), Place::Drive(3))),
        attributes: Attributes::from([(0x0806, vec![0xaa, 0xbb])]),
        map,
    }
}

/// The sample after what the delta tells.
fn changed() -> (Head, Changes) {
    let mut head = sample();
    head.map.truncate(1);
    for (length, count) in [(262_144, 1), (0, 2)] {
        head.map.append(Run { length, count }).unwrap();
    }
    head.load_count = 6;
    head.write_protected = false;
    head.attributes = Attributes::from([(0x0801, b"abc".to_vec())]);
    head.place = Some(("lib1".parse().unwrap(), Place::Slot(9)));
    head.protection = Protection {
        hold: false,
        retention: Some(Retention { until_s: 131_072, release_at_s: 512, noted_at_s: 10 }),
    };
    (head.generation, head.number) = (8, 10);
    let changes = Changes {
        content_from: Some(1),
        load_count: true,
        write_protected: true,
        place: true,
        protection: true,
        finished: false,
        attributes: BTreeSet::from([0x0801, 0x0806]),
    };
    (head, changes)
}

#[test]
fn snapshot_version_0_keeps_its_bytes() {
    assert_eq!(sample().encode_snapshot(), SNAPSHOT);
    let head = Head::replay(SNAPSHOT, &[]).unwrap();
    assert_eq!(format!("{head:?}"), format!("{:?}", sample()));
}

#[test]
fn delta_version_0_keeps_its_bytes() {
    let (after, changes) = changed();
    assert_eq!(after.encode_delta(&changes), DELTA);
    let head = Head::replay(SNAPSHOT, &[DELTA.to_vec()]).unwrap();
    assert_eq!(head.encode_snapshot(), after.encode_snapshot());
}

/// Number 10, write generation 7; the copy is whole.
const FINISHED: &[u8] = &[
    b'V', b'T', b'C', b'D', 0, 0, 0, 0, 0x21, 0, 0, 0, //      magic, version, reserved, length 33
    0x0a, 0, 0, 0, 0, 0, 0, 0, 0x07, 0, 0, 0, 0, 0, 0, 0, //   number, write generation
    7, 0, 0, 0, 0, //                                          tag, no body
];

#[test]
fn the_mark_of_a_copy_that_is_not_whole_keeps_its_bytes_and_goes_once() {
    let unfinished = Head { unfinished: true, ..sample() };
    let mut snapshot = SNAPSHOT.to_vec();
    snapshot[14] |= 4;
    assert_eq!(unfinished.encode_snapshot(), snapshot);
    assert!(Head::replay(&snapshot, &[]).unwrap().unfinished);
    let finished = Head { number: 10, ..sample() };
    assert_eq!(finished.encode_delta(&Changes { finished: true, ..Changes::default() }), FINISHED);
    let head = Head::replay(&snapshot, &[FINISHED.to_vec()]).unwrap();
    assert_eq!(head.encode_snapshot(), finished.encode_snapshot());
    assert!(Head::replay(SNAPSHOT, &[FINISHED.to_vec()]).is_err(), "it was none");
}

#[test]
fn a_delta_that_is_in_already_changes_nothing() {
    let twice = Head::replay(SNAPSHOT, &[DELTA.to_vec(), DELTA.to_vec()]).unwrap();
    assert_eq!(twice.encode_snapshot(), changed().0.encode_snapshot());
    let newer = Head::replay(&twice.encode_snapshot(), &[DELTA.to_vec()]).unwrap();
    assert_eq!(newer.encode_snapshot(), twice.encode_snapshot());
}

#[test]
fn a_missing_delta_is_damage() {
    let mut later = DELTA.to_vec();
    later[12] += 1;
    assert!(Head::replay(SNAPSHOT, &[later]).is_err());
}

#[test]
fn counters_that_could_overflow_are_damage() {
    for at in [60, 68] {
        let mut bytes = SNAPSHOT.to_vec();
        bytes[at..at + 8].fill(0xff);
        assert!(Head::replay(&bytes, &[]).is_err(), "the counter at {at}");
    }
    for at in [12, 20] {
        let mut bytes = DELTA.to_vec();
        bytes[at..at + 8].fill(0xff);
        assert!(Head::replay(SNAPSHOT, &[bytes]).is_err(), "the counter at {at}");
    }
}

#[test]
fn an_attribute_of_no_bytes_and_a_wrong_order_are_refused() {
    assert!(decode_attributes(&[0x06, 0x08, 0, 0]).is_err());
    assert!(decode_attributes(&[2, 0, 1, 0, 9, 1, 0, 1, 0, 9]).is_err());
    assert!(decode_attributes(&[1, 0, 1, 0, 9, 1, 0, 1, 0, 9]).is_err());
    assert!(decode_attributes(&[1, 0, 1, 0, 9, 2, 0, 1, 0, 9]).is_ok());
}

#[test]
fn no_single_wrong_byte_panics_and_a_wrong_sum_is_found() {
    for golden in [SNAPSHOT, DELTA] {
        for at in 0..golden.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bytes = golden.to_vec();
                bytes[at] = value;
                let _ = Head::replay(&bytes, &[]);
                let _ = Head::replay(SNAPSHOT, &[bytes]);
            }
            let _ = Head::replay(&golden[..at], &[]);
            assert!(Head::replay(SNAPSHOT, &[golden[..at].to_vec()]).is_err(), "cut at {at}");
        }
    }
    for at in [76, 84, 92] {
        let mut bytes = SNAPSHOT.to_vec();
        bytes[at] ^= 1;
        assert!(Head::replay(&bytes, &[]).is_err(), "a sum at {at}");
    }
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), body in vec(any::<u8>(), 0..100)) {
        let _ = Head::replay(&bytes, &[]);
        let mut delta = DELTA.to_vec();
        delta.truncate(28);
        delta.extend(body);
        delta[8] = delta.len() as u8;
        let _ = Head::replay(SNAPSHOT, &[delta]);
    }

    #[test]
    fn attributes_never_grow_beyond_their_room(sizes in vec((0..40u16, 0..3000usize), 0..60)) {
        let mut attributes = Attributes::new();
        for (id, size) in sizes {
            let before = attributes.clone();
            let taken = set_attribute(&mut attributes, id, &vec![1; size]);
            prop_assert!(taken || attributes == before);
            prop_assert!(encode_attributes(&attributes).len() <= 32_768);
        }
    }
}
