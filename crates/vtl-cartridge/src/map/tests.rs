//! The map against the obvious model: a vector with one number for each object, 0 for a filemark.

use proptest::{collection::vec, prelude::*};

use super::*;

const K256: u32 = 262_144;

/// How many cases a property runs; `VTL_TEST_CASES` multiplies.
fn cases(default: u32) -> ProptestConfig {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(default * factor)
}

#[derive(Clone, Debug)]
enum Change {
    Append(u32, u64),
    Keep(u16),
}

#[derive(Clone, Debug)]
enum Move {
    Object(u16),
    File(u16),
    Blocks(i64),
    Marks(i64),
    Sequential(i64),
    Steps(u8),
}

fn change() -> impl Strategy<Value = Change> {
    let length = prop_oneof![3 => Just(0), 2 => Just(1), 2 => Just(K256), 1 => Just(MAX_BLOCK_BYTES)];
    let count = prop_oneof![6 => 1..3u64, 2 => 3..9u64, 1 => 200..300u64];
    prop_oneof![30 => (length, count).prop_map(|(l, c)| Change::Append(l, c)), 1 => any::<u16>().prop_map(Change::Keep)]
}

fn movement() -> impl Strategy<Value = Move> {
    let near = prop_oneof![-4..=4i64, -400..=400i64, Just(i64::MIN), Just(i64::MAX)];
    prop_oneof![
        any::<u16>().prop_map(Move::Object),
        any::<u16>().prop_map(Move::File),
        near.clone().prop_map(Move::Blocks),
        near.clone().prop_map(Move::Marks),
        (-9..=9i64).prop_map(Move::Sequential),
        (0..200u8).prop_map(Move::Steps),
    ]
}

/// One number for each object.
#[derive(Default)]
struct Model(Vec<u32>);

/// What lies before each object, and before end of data.
fn points(model: &Model) -> Vec<Point> {
    let mut at = Point::default();
    let mut points = vec![at];
    for &length in &model.0 {
        at.object += 1;
        at.file += u64::from(length == 0);
        at.byte += u64::from(length);
        points.push(at);
    }
    points
}

impl Model {
    /// One unit at a time: the slow way to be right.
    fn space(&self, at: &mut usize, count: i64, what: fn(u32) -> bool, stops: fn(u32) -> bool) -> Spaced {
        let mut moved = 0;
        while moved < count.unsigned_abs() {
            let index = if count > 0 { Some(*at) } else { at.checked_sub(1) };
            let Some(&length) = index.and_then(|index| self.0.get(index)) else {
                let stop = if count > 0 { Stop::EndOfData } else { Stop::Beginning };
                return Spaced { moved, stop: Some(stop) };
            };
            *at = if count > 0 { *at + 1 } else { *at - 1 };
            if stops(length) {
                return Spaced { moved, stop: Some(Stop::Filemark) };
            }
            moved += u64::from(what(length));
        }
        Spaced { moved, stop: None }
    }

    fn sequential(&self, at: &mut usize, count: i64) -> Spaced {
        let wanted = count.unsigned_abs();
        let mut in_a_row = 0;
        while in_a_row < wanted {
            let index = if count > 0 { Some(*at) } else { at.checked_sub(1) };
            let Some(&length) = index.and_then(|index| self.0.get(index)) else {
                let stop = if count > 0 { Stop::EndOfData } else { Stop::Beginning };
                return Spaced { moved: 0, stop: Some(stop) };
            };
            *at = if count > 0 { *at + 1 } else { *at - 1 };
            in_a_row = if length == 0 { in_a_row + 1 } else { 0 };
        }
        Spaced { moved: wanted, stop: None }
    }
}

fn build(changes: &[Change]) -> (BlockMap, Model) {
    let (mut map, mut model) = (BlockMap::default(), Model::default());
    for change in changes {
        match *change {
            Change::Append(length, count) => {
                map.append(Run { length, count }).unwrap();
                model.0.resize(model.0.len() + count as usize, length);
            }
            Change::Keep(part) => {
                let keep = model.0.len() * usize::from(part) / 65_536;
                map.truncate(keep as u64);
                model.0.truncate(keep);
            }
        }
    }
    (map, model)
}

fn check_invariants(map: &BlockMap, model: &Model) {
    assert_eq!(Some(&map.end()), points(model).last());
    let rebuilt = BlockMap::decode(&map.encode()).unwrap();
    assert_eq!(rebuilt.runs, map.runs);
    assert_eq!(rebuilt.tail, map.tail);
    assert_eq!(map.encode().len(), map.encoded_len());
    let marks = |map: &BlockMap| map.pages.iter().map(|page| page.longest_marks).collect::<Vec<_>>();
    assert_eq!(marks(&rebuilt), marks(map), "a truncated map has the index of a fresh one");
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn the_map_says_what_a_vector_of_lengths_says(
        changes in vec(change(), 0..300),
        moves in vec(movement(), 1..40),
    ) {
        let (map, model) = build(&changes);
        check_invariants(&map, &model);
        let (mut cursor, mut at) = (map.start_cursor(), 0);
        let objects = model.0.len();
        let points = points(&model);
        let files = map.end().file;
        for movement in moves {
            match movement {
                Move::Object(part) => {
                    at = (objects + 2) * usize::from(part) / 65_536;
                    cursor = map.locate_object(at as u64);
                    at = at.min(objects);
                }
                Move::File(part) => {
                    let file = (files + 2) * u64::from(part) / 65_536;
                    let found = map.locate_file(file);
                    prop_assert_eq!(found.is_some(), file <= files);
                    cursor = found.unwrap_or(map.end_cursor());
                    at = points.iter().position(|point| point.file == file).unwrap_or(objects);
                }
                Move::Blocks(count) => prop_assert_eq!(
                    map.space_blocks(&mut cursor, count),
                    model.space(&mut at, count, |length| length != 0, |length| length == 0)
                ),
                Move::Marks(count) => prop_assert_eq!(
                    map.space_filemarks(&mut cursor, count),
                    model.space(&mut at, count, |length| length == 0, |_| false)
                ),
                Move::Sequential(count) => prop_assert_eq!(
                    map.space_sequential_filemarks(&mut cursor, count),
                    model.sequential(&mut at, count)
                ),
                Move::Steps(steps) => for _ in 0..steps {
                    let expected = model.0.get(at).map(|&length| match length {
                        0 => Entry::Filemark,
                        length => Entry::Block { offset: points[at].byte, length },
                    });
                    prop_assert_eq!(map.step(&mut cursor), expected);
                    at = (at + 1).min(objects);
                    if expected.is_none() {
                        break;
                    }
                },
            }
            prop_assert_eq!(cursor.at(), points[at]);
        }
    }

    #[test]
    fn a_delta_of_what_changed_makes_the_old_map_the_new_one(
        before in vec(change(), 0..200),
        keep: u16,
        after in vec((prop_oneof![Just(0u32), Just(7), Just(K256)], 1..4u64), 0..200),
    ) {
        let (mut old, model) = build(&before);
        let keep = (model.0.len() * usize::from(keep) / 65_535) as u64;
        let mut new = old.clone();
        new.truncate(keep);
        for (length, count) in after {
            new.append(Run { length, count }).unwrap();
        }
        old.splice(keep, &new.encode_from(keep)).unwrap();
        prop_assert_eq!(old.encode(), new.encode());
        prop_assert_eq!(old.end(), new.end());
    }

    #[test]
    fn foreign_runs_are_refused_or_are_the_only_encoding_of_what_they_say(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(map) = BlockMap::decode(&bytes) {
            prop_assert_eq!(map.encode(), bytes);
        }
    }
}

/// All memory that the map holds, used or not.
fn taken(map: &BlockMap) -> u64 {
    (map.runs.capacity() + map.pages.capacity() * size_of::<Page>()) as u64
}

#[test]
fn a_tape_of_equal_blocks_costs_a_few_bytes_whatever_its_length() {
    let mut map = BlockMap::default();
    for _ in 0..1_000_000 {
        map.append(Run { length: K256, count: 1 }).unwrap();
    }
    assert!(taken(&map) <= 64, "{}", taken(&map));
    assert_eq!(map.encode(), [0x80, 0x80, 0x10, 0xc0, 0x84, 0x3d]);
}

/// The promise is one byte of map for each 4 KiB of tape in blocks of 256 KiB, whatever stands between them.
#[test]
fn the_map_takes_at_most_one_byte_per_4_kib_of_tape() {
    let patterns: &[(&str, &[u32])] = &[
        ("256 KiB and a mark in turn", &[K256, 0]),
        ("256 and 128 KiB in turn", &[K256, K256 / 2]),
        ("256 KiB, one byte less, a mark", &[K256, K256 - 1, 0]),
        ("no two neighbours alike", &[K256, K256 - 1, K256 - 2, K256 - 3, K256 - 4]),
    ];
    for (name, pattern) in patterns {
        let mut map = BlockMap::default();
        for index in 0..200_000 {
            map.append(Run { length: pattern[index % pattern.len()], count: 1 }).unwrap();
        }
        let (memory, disk) = (taken(&map) * 4096, map.encoded_len() as u64 * 4096);
        assert!(memory <= map.end().byte, "{name}: {} per 4 KiB", memory as f64 / map.end().byte as f64);
        assert!(disk <= map.end().byte, "{name}");
    }
}

#[test]
fn the_worst_mix_of_sizes_costs_what_the_module_says() {
    let mut map = BlockMap::default();
    for index in 0..1_000_000 {
        map.append(Run { length: 1 + index % 2, count: 1 }).unwrap();
    }
    let used = map.memory_bytes();
    assert!(used <= 2_630_000, "{used} bytes for a million blocks of one and two bytes");
}

#[test]
fn millions_of_filemarks_are_found_in_no_time() {
    let mut map = BlockMap::default();
    for _ in 0..3_000_000 {
        map.append(Run { length: 10_240, count: 1 }).unwrap();
        map.append(Run { length: 0, count: 1 }).unwrap();
    }
    let start = std::time::Instant::now();
    let mut x = 1u64;
    for _ in 0..20_000 {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let file = (x >> 33) % 3_000_000;
        assert_eq!(map.locate_file(file).unwrap().at().object, file * 2);
    }
    // A scan of half the map would take minutes; the limit is wide because tests share their machine.
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn more_than_can_be_counted_is_refused_and_changes_nothing() {
    let mut map = BlockMap::default();
    map.append(Run { length: MAX_BLOCK_BYTES, count: 3 }).unwrap();
    let end = map.end();
    assert_eq!(map.append(Run { length: MAX_BLOCK_BYTES, count: 1 << 41 }), None);
    assert_eq!(map.append(Run { length: 0, count: u64::MAX }), None);
    assert_eq!(map.append(Run { length: 0, count: 1 << 63 }), None);
    assert_eq!(map.end(), end);
    assert_eq!(map.encode(), [0xff, 0xff, 0xff, 0x07, 0x03]);
}

#[test]
fn foreign_runs_are_refused_with_the_offset() {
    for (bytes, error) in [
        (&[0x01, 0x01, 0x01, 0x01][..], MapError::NotMerged(2)),
        (&[0x01, 0x00], MapError::Malformed(0)),
        (&[0x01], MapError::Malformed(0)),
        (&[0x00, 0x01, 0x80, 0x80, 0x80, 0x08, 0x01], MapError::Malformed(2)),
        (&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], MapError::TooMany),
    ] {
        assert_eq!(BlockMap::decode(bytes).err(), Some(error), "{bytes:02x?}");
    }
    assert_eq!(BlockMap::default().splice(1, &[]), Err(MapError::BeyondEnd));
}
