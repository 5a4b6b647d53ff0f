//! A tape as a vector of objects and a position, and a script of operations that runs on it and on the real one.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use vtl_cartridge::{
    Cartridge, CartridgeError, CartridgeSpec, Object, Position, Settings, Spaced, Stop, Written,
};
use vtl_durable::SimDisk;
use vtl_store::{Options, Store, StoreError};
use vtl_types::{ByteCount, CartridgeId};

pub const ID: CartridgeId = CartridgeId([7; 16]);

/// How many cases a test runs; `VTL_TEST_CASES` multiplies.
pub fn cases(default: u64) -> u64 {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    default * factor
}

pub fn open_store(disk: &SimDisk) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), Path::new("/pool"), Options::small())
}

pub fn spec(label: &str, capacity: u64, early_warning: u64) -> CartridgeSpec {
    let label: vtl_types::Label = label.parse().unwrap();
    CartridgeSpec {
        label,
        serial: "SN0000001".into(),
        kind: label.media(),
        capacity: ByteCount(capacity),
        early_warning: Some(ByteCount(early_warning)),
        write_protected: false,
        created_s: 1_700_000_000,
        place: None,
    }
}

/// No early warning because of the pool: what remains is the tape's own. Commits come by themselves now and then.
pub fn settings() -> Settings {
    Settings { pool_warning_bytes: 0, commit_bytes: 6_000, ..Settings::default() }
}

/// A block that is not all alike, and different from the next.
pub fn block(seed: u64, len: usize) -> Bytes {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        if seed.is_multiple_of(3) { (x as u8) & 3 } else { x as u8 }
    };
    (0..len).map(|_| next()).collect()
}

/// The same block in two pieces, as a network gives it.
pub fn pieces(block: &Bytes) -> Vec<Bytes> {
    let mut rest = block.clone();
    let first = rest.split_to(block.len() / 3);
    vec![first, rest]
}

#[derive(Clone, Debug)]
pub enum Op {
    Write(u64, usize),
    Marks(u32),
    Read(u32),
    SpaceBlocks(i64),
    SpaceMarks(i64),
    SpaceSequential(i64),
    Object(u64),
    File(u64),
    Rewind,
    End,
    Erase,
    Format,
    Attribute(u16, u8),
    Flush,
    Reopen,
}

impl Op {
    /// Everything taken so far is durable when this has succeeded.
    pub fn is_durable_point(&self) -> bool {
        matches!(self, Self::Erase | Self::Format | Self::Attribute(..) | Self::Flush | Self::Reopen)
    }
}

pub fn op() -> impl Strategy<Value = Op> {
    let len = prop_oneof![Just(1usize), Just(512), 1..3000usize, Just(4096)];
    prop_oneof![
        12 => (any::<u64>(), len).prop_map(|(seed, len)| Op::Write(seed, len)),
        5 => (0..4u32).prop_map(Op::Marks),
        6 => prop_oneof![Just(0u32), Just(100), Just(u32::MAX)].prop_map(Op::Read),
        2 => (-6..=6i64).prop_map(Op::SpaceBlocks),
        2 => (-4..=4i64).prop_map(Op::SpaceMarks),
        1 => (-3..=3i64).prop_map(Op::SpaceSequential),
        2 => (0..30u64).prop_map(Op::Object),
        1 => (0..10u64).prop_map(Op::File),
        1 => Just(Op::Rewind),
        2 => Just(Op::End),
        1 => Just(Op::Erase),
        1 => (0..20u8).prop_map(|n| if n == 0 { Op::Format } else { Op::Flush }),
        1 => (0..3u16, any::<u8>()).prop_map(|(id, value)| Op::Attribute(0x0800 + id, value)),
        2 => Just(Op::Flush),
        1 => Just(Op::Reopen),
    ]
}

/// What a tape holds. A mark is None.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub objects: Vec<Option<Bytes>>,
    pub attributes: BTreeMap<u16, u8>,
}

/// The obvious tape.
#[derive(Clone, Debug)]
pub struct Model {
    pub content: Content,
    pub at: usize,
    pub capacity: u64,
    pub early_warning_at: u64,
}

impl Model {
    pub fn new(capacity: u64, early_warning: u64) -> Self {
        Self { content: Content::default(), at: 0, capacity, early_warning_at: capacity - early_warning }
    }

    fn bytes(&self) -> u64 {
        self.content.objects[..self.at].iter().flatten().map(|block| block.len() as u64).sum()
    }

    fn written(&self) -> Written {
        Written { early_warning: self.bytes() >= self.early_warning_at }
    }

    pub fn position(&self) -> Position {
        Position {
            object: self.at as u64,
            file: self.content.objects[..self.at].iter().filter(|object| object.is_none()).count() as u64,
            end_of_data: self.at == self.content.objects.len(),
            early_warning: self.written().early_warning,
        }
    }

    fn write(&mut self, object: Option<Bytes>) {
        self.content.objects.truncate(self.at);
        self.content.objects.push(object);
        self.at += 1;
    }

    fn step(&mut self, forwards: bool) -> Option<Option<Bytes>> {
        let index = if forwards { Some(self.at) } else { self.at.checked_sub(1) }?;
        let object = self.content.objects.get(index)?.clone();
        self.at = if forwards { self.at + 1 } else { self.at - 1 };
        Some(object)
    }

    fn space(&mut self, count: i64, over_marks: bool) -> Spaced {
        let mut moved = 0;
        while moved < count.unsigned_abs() {
            match self.step(count > 0) {
                None => return Spaced { moved, stop: Some(self.stop_at_end(count)) },
                Some(None) if !over_marks => return Spaced { moved, stop: Some(Stop::Filemark) },
                Some(object) => moved += u64::from(object.is_none() == over_marks),
            }
        }
        Spaced { moved, stop: None }
    }

    fn sequential(&mut self, count: i64) -> Spaced {
        let mut row = 0;
        while row < count.unsigned_abs() {
            match self.step(count > 0) {
                None => return Spaced { moved: 0, stop: Some(self.stop_at_end(count)) },
                Some(None) => row += 1,
                Some(Some(_)) => row = 0,
            }
        }
        Spaced { moved: row, stop: None }
    }

    fn stop_at_end(&self, count: i64) -> Stop {
        if count > 0 { Stop::EndOfData } else { Stop::Beginning }
    }
}

/// Runs one operation on both and compares what they say. An error of the real one is handed back and the model
/// is as before; only the two errors that a model can foresee are compared instead.
pub fn run(
    op: &Op,
    tape: &mut Option<Cartridge>,
    store: &Store,
    model: &mut Model,
) -> Result<(), CartridgeError> {
    let mut next = model.clone();
    if let Op::Reopen = op {
        if let Some(tape) = tape.take() {
            tape.close()?;
        }
        *tape = Some(Cartridge::load(store, ID, settings())?);
        model.at = 0;
        return Ok(());
    }
    let Some(tape) = tape.as_mut() else { panic!("the tape is not open") };
    match *op {
        Op::Write(seed, len) => {
            let data = block(seed, len);
            let done = tape.write_block(&pieces(&data), seed.is_multiple_of(2));
            if model.bytes() + len as u64 > model.capacity {
                assert!(matches!(done, Err(CartridgeError::EndOfPartition)), "{done:?}");
            } else {
                next.write(Some(data));
                assert_eq!(done?, next.written());
            }
        }
        Op::Marks(count) => {
            (0..count).for_each(|_| next.write(None));
            assert_eq!(tape.write_filemarks(count)?, next.written());
        }
        Op::Read(limit) => {
            let read = tape.read(limit)?;
            let expected = next.step(true);
            assert_eq!(tape.position(), next.position());
            compare(read, expected, limit);
        }
        Op::SpaceBlocks(count) => assert_eq!(tape.space_blocks(count), next.space(count, false)),
        Op::SpaceMarks(count) => assert_eq!(tape.space_filemarks(count), next.space(count, true)),
        Op::SpaceSequential(count) => {
            assert_eq!(tape.space_sequential_filemarks(count), next.sequential(count));
        }
        Op::Object(object) => {
            let beyond = object > next.content.objects.len() as u64;
            next.at = next.content.objects.len().min(object as usize);
            assert_eq!(tape.locate_object(object), beyond.then_some(Stop::EndOfData));
        }
        Op::File(file) => {
            next.at = 0;
            let found = next.space(file as i64, true);
            assert_eq!(tape.locate_file(file), found.stop);
        }
        Op::Rewind => {
            tape.rewind();
            next.at = 0;
        }
        Op::End => {
            tape.space_to_end();
            next.at = next.content.objects.len();
        }
        Op::Erase => {
            next.content.objects.truncate(next.at);
            tape.erase()?;
        }
        Op::Format => {
            next.content.objects.clear();
            next.at = 0;
            tape.format()?;
        }
        Op::Attribute(id, value) => {
            next.content.attributes.insert(id, value);
            tape.set_host_attribute(id, &[value])?;
        }
        Op::Flush => tape.flush()?,
        Op::Reopen => {}
    }
    *model = next;
    assert_eq!(tape.position(), model.position(), "after {op:?}");
    Ok(())
}

fn compare(read: Object, expected: Option<Option<Bytes>>, limit: u32) {
    match (read, expected) {
        (Object::EndOfData, None) | (Object::Filemark, Some(None)) => {}
        (Object::Block { length, data }, Some(Some(block))) => {
            assert_eq!(length as usize, block.len());
            assert_eq!(data.concat(), block[..block.len().min(limit as usize)]);
        }
        (read, expected) => panic!("{read:?} instead of {expected:?}"),
    }
}

/// Everything on the tape, read from the beginning.
pub fn content(tape: &mut Cartridge) -> Result<Content, CartridgeError> {
    let mut objects = Vec::new();
    tape.rewind();
    loop {
        match tape.read(u32::MAX)? {
            Object::EndOfData => break,
            Object::Filemark => objects.push(None),
            Object::Block { length, data } => {
                let data = Bytes::from(data.concat());
                assert_eq!(data.len(), length as usize);
                objects.push(Some(data));
            }
        }
    }
    let attribute = |id| (id, tape.host_attribute(id).unwrap()[0]);
    let attributes = tape.host_attributes().into_iter().map(attribute).collect();
    let used: usize = objects.iter().flatten().map(Bytes::len).sum();
    assert_eq!((tape.facts().used_bytes, tape.facts().objects), (used as u64, objects.len() as u64));
    Ok(Content { objects, attributes })
}
