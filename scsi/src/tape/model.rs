//! Random operations on a drive and on a model of a tape that is small enough to be obviously right.
//!
//! The model is a vector of blocks and marks and a position. It knows nothing of sense data encoding, deck or
//! medium; after each step the outcome (data, decoded sense data) and READ POSITION of the drive must be the
//! model's.

use alloc::{vec, vec::Vec};
use proptest::prelude::*;

use super::{
    test_medium::TestMedium,
    tests::{Bench, ONE, Told},
};
use crate::{Cdb, Command, Fault, Instant, LogicalUnit, Medium, Reply};

#[derive(Clone, Debug)]
enum Step {
    /// Length and seed.
    Write(usize, u8),
    /// Number of blocks and seed.
    WriteFixed(u8, u8),
    /// Length and SILI.
    Read(u32, bool),
    ReadFixed(u8),
    Marks(u8, bool),
    SpaceBlocks(i32),
    SpaceMarks(i32),
    SpaceEnd,
    Locate(u8),
    LocateFile(u8),
    Rewind,
    Erase,
    UnloadAndLoad,
    BlockLength(u32),
    Buffered(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![Just(1_usize), Just(7), Just(8), Just(9), 1_usize..40];
    prop_oneof![
        4 => (length.clone(), any::<u8>()).prop_map(|(l, s)| Step::Write(l, s)),
        2 => (0_u8..5, any::<u8>()).prop_map(|(n, s)| Step::WriteFixed(n, s)),
        4 => (prop_oneof![Just(0_u32), Just(8), Just(100), 1_u32..40], any::<bool>()).prop_map(|(l, s)| Step::Read(l, s)),
        3 => (0_u8..6).prop_map(Step::ReadFixed),
        3 => (0_u8..4, any::<bool>()).prop_map(|(n, i)| Step::Marks(n, i)),
        3 => (-6_i32..6).prop_map(Step::SpaceBlocks),
        3 => (-4_i32..4).prop_map(Step::SpaceMarks),
        1 => Just(Step::SpaceEnd),
        2 => (0_u8..30).prop_map(Step::Locate),
        1 => (0_u8..6).prop_map(Step::LocateFile),
        2 => Just(Step::Rewind),
        1 => Just(Step::Erase),
        1 => Just(Step::UnloadAndLoad),
        1 => prop_oneof![Just(8_u32), Just(0), Just(7)].prop_map(Step::BlockLength),
        1 => any::<bool>().prop_map(Step::Buffered),
    ]
}

const CAPACITY: usize = 400;
const WARNING: usize = 100;

#[derive(Clone, Debug, PartialEq)]
enum Thing {
    Block(Vec<u8>),
    Mark,
}

#[derive(Debug)]
struct Tape {
    things: Vec<Thing>,
    at: usize,
    block_length: u32,
    buffered: bool,
}

/// What an initiator gets: data, and (key, asc, ascq, filemark, eom, ili, information).
type Outcome = (Vec<u8>, Option<(u8, u8, u8, bool, bool, bool, Option<i32>)>);

fn bad(key: u8, asc: u8, ascq: u8) -> Outcome {
    (Vec::new(), Some((key, asc, ascq, false, false, false, None)))
}

fn mark(data: Vec<u8>, left: i32) -> Outcome {
    (data, Some((0, 0, 1, true, false, false, Some(left))))
}

fn end_of_data(data: Vec<u8>, left: i32) -> Outcome {
    (data, Some((8, 0, 5, false, false, false, Some(left))))
}

fn wrong_length(data: Vec<u8>, residual: i32) -> Outcome {
    (data, Some((0, 0, 0, false, false, true, Some(residual))))
}

fn beginning(left: i32) -> Outcome {
    (Vec::new(), Some((0, 0, 4, false, true, false, Some(left))))
}

const GOOD: Outcome = (Vec::new(), None);

impl Tape {
    fn bytes_before(&self, at: usize) -> usize {
        self.things[..at].iter().map(|t| if let Thing::Block(b) = t { b.len() } else { 0 }).sum()
    }

    fn is_past_warning(&self) -> bool {
        self.bytes_before(self.at) + WARNING >= CAPACITY
    }

    fn file(&self) -> usize {
        self.things[..self.at].iter().filter(|t| **t == Thing::Mark).count()
    }

    fn put(&mut self, thing: Thing) -> bool {
        let length = if let Thing::Block(b) = &thing { b.len() } else { 0 };
        if self.bytes_before(self.at) + length > CAPACITY {
            return false;
        }
        self.things.truncate(self.at);
        self.things.push(thing);
        self.at += 1;
        true
    }

    fn after_write(&self) -> Outcome {
        match self.is_past_warning() {
            true => (Vec::new(), Some((0, 0, 2, false, true, false, Some(0)))),
            false => GOOD,
        }
    }

    fn overflow(left: i32) -> Outcome {
        (Vec::new(), Some((0xd, 0, 2, false, true, false, Some(left))))
    }

    fn run(&mut self, step: &Step) -> Outcome {
        match *step {
            Step::Write(length, seed) => match self.put(Thing::Block(vec![seed; length])) {
                true => self.after_write(),
                false => Self::overflow(length as i32),
            },
            Step::WriteFixed(_, _) | Step::ReadFixed(_) if self.block_length == 0 => bad(5, 0x24, 0),
            Step::WriteFixed(0, _) | Step::ReadFixed(0) | Step::Read(0, _) => GOOD,
            Step::WriteFixed(count, seed) => {
                for done in 0..count {
                    if !self.put(Thing::Block(vec![seed; self.block_length as usize])) {
                        return Self::overflow((count - done).into());
                    }
                }
                self.after_write()
            }
            Step::Read(length, sili) => self.read(length as usize, sili),
            Step::ReadFixed(count) => self.read_fixed(count),
            Step::Marks(count, immed) => {
                if immed && !self.buffered {
                    return bad(5, 0x24, 0);
                }
                for _ in 0..count {
                    self.put(Thing::Mark);
                }
                if count == 0 { GOOD } else { self.after_write() }
            }
            Step::SpaceBlocks(count) => self.space(count, false),
            Step::SpaceMarks(count) => self.space(count, true),
            Step::SpaceEnd => {
                self.at = self.things.len();
                GOOD
            }
            Step::Locate(object) => {
                self.at = usize::from(object).min(self.things.len());
                let left = i32::from(object) - self.at as i32;
                if left == 0 { GOOD } else { end_of_data(Vec::new(), left) }
            }
            Step::LocateFile(file) => {
                let marks =
                    self.things.iter().enumerate().filter(|(_, t)| **t == Thing::Mark).map(|(at, _)| at + 1);
                let starts: Vec<usize> = core::iter::once(0).chain(marks).collect();
                match starts.get(usize::from(file)) {
                    Some(start) => {
                        self.at = *start;
                        GOOD
                    }
                    None => {
                        self.at = self.things.len();
                        end_of_data(Vec::new(), i32::from(file) - (starts.len() as i32 - 1))
                    }
                }
            }
            Step::Rewind | Step::UnloadAndLoad => {
                self.at = 0;
                GOOD
            }
            Step::Erase => {
                self.things.truncate(self.at);
                GOOD
            }
            Step::BlockLength(length) => {
                self.block_length = length;
                GOOD
            }
            Step::Buffered(on) => {
                self.buffered = on;
                GOOD
            }
        }
    }

    fn read(&mut self, asked: usize, sili: bool) -> Outcome {
        let thing = self.things.get(self.at).cloned();
        self.at = (self.at + 1).min(self.things.len());
        match thing {
            None => end_of_data(Vec::new(), asked as i32),
            Some(Thing::Mark) => mark(Vec::new(), asked as i32),
            Some(Thing::Block(block)) => {
                let data = block[..block.len().min(asked)].to_vec();
                let residual = asked as i32 - block.len() as i32;
                let forgiven = sili && (residual > 0 || self.block_length == 0);
                if residual == 0 || forgiven { (data, None) } else { wrong_length(data, residual) }
            }
        }
    }

    fn read_fixed(&mut self, count: u8) -> Outcome {
        let mut data = Vec::new();
        for left in (1..=i32::from(count)).rev() {
            let thing = self.things.get(self.at).cloned();
            self.at = (self.at + 1).min(self.things.len());
            match thing {
                None => return end_of_data(data, left),
                Some(Thing::Mark) => return mark(data, left),
                Some(Thing::Block(block)) if block.len() as u32 == self.block_length => data.extend(block),
                Some(Thing::Block(_)) => return wrong_length(data, left),
            }
        }
        (data, None)
    }

    fn space(&mut self, count: i32, over_marks: bool) -> Outcome {
        let mut left = count.abs();
        while left > 0 {
            let next = if count > 0 { Some(self.at) } else { self.at.checked_sub(1) };
            let Some(next) = next else { return beginning(left) };
            let Some(thing) = self.things.get(next) else { return end_of_data(Vec::new(), left) };
            let is_mark = *thing == Thing::Mark;
            self.at = if count > 0 { self.at + 1 } else { next };
            if is_mark && !over_marks {
                return mark(Vec::new(), left);
            }
            left -= i32::from(is_mark == over_marks);
        }
        GOOD
    }
}

fn three(count: i32) -> [u8; 3] {
    let [_, a, b, c] = count.to_be_bytes();
    [a, b, c]
}

fn apply(bench: &mut Bench, step: &Step, tape: &Tape) -> Reply {
    let six = |opcode, flags, count| {
        let [a, b, c] = three(count);
        [opcode, flags, a, b, c, 0]
    };
    match *step {
        Step::Write(length, seed) => bench.send(&six(0x0a, 0, length as i32), &vec![seed; length]),
        Step::WriteFixed(count, seed) => {
            let bytes = usize::from(count) * tape.block_length as usize;
            bench.send(&six(0x0a, 1, count.into()), &vec![seed; bytes])
        }
        Step::Read(length, sili) => bench.send(&six(0x08, u8::from(sili) << 1, length as i32), &[]),
        Step::ReadFixed(count) => bench.send(&six(0x08, 1, count.into()), &[]),
        Step::Marks(count, immed) => bench.send(&six(0x10, immed.into(), count.into()), &[]),
        Step::SpaceBlocks(count) => bench.send(&six(0x11, 0, count), &[]),
        Step::SpaceMarks(count) => {
            let mut cdb = vec![0x91, 1, 0, 0];
            cdb.extend(i64::from(count).to_be_bytes());
            bench.send(&cdb, &[])
        }
        Step::SpaceEnd => bench.send(&six(0x11, 3, 0), &[]),
        Step::Locate(object) => bench.send(&[0x2b, 0, 0, 0, 0, 0, object, 0, 0, 0], &[]),
        Step::LocateFile(file) => bench.send(&[0x92, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, file, 0, 0, 0, 0], &[]),
        Step::Rewind => bench.send(&six(0x01, 0, 0), &[]),
        Step::Erase => bench.send(&six(0x19, 0, 0), &[]),
        Step::UnloadAndLoad => {
            let unload = bench.send(&[0x1b, 0, 0, 0, 0, 0], &[]);
            if unload.sense.is_some() { unload } else { bench.send(&[0x1b, 0, 0, 0, 1, 0], &[]) }
        }
        Step::BlockLength(length) => {
            let [a, b, c] = three(length as i32);
            let mode = u8::from(tape.buffered) << 4;
            bench.send(&six(0x15, 0x10, 12), &[0, 0, mode, 8, 0, 0, 0, 0, 0, a, b, c])
        }
        Step::Buffered(on) => bench.send(&six(0x15, 0x10, 4), &[0, 0, u8::from(on) << 4, 0]),
    }
}

fn outcome(reply: &Reply) -> Outcome {
    let told = Told::read(reply).map(|told| {
        assert!(!told.deferred);
        let (filemark, eom, ili) = told.marks;
        (told.key, told.code.0, told.code.1, filemark, eom, ili, told.information)
    });
    (reply.data_in.concat(), told)
}

fn compare(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut medium = TestMedium::blank("VTL001L8", CAPACITY as u64);
    medium.warning_bytes = WARNING as u64;
    let mut bench = Bench::with(medium);
    let mut tape = Tape { things: Vec::new(), at: 0, block_length: 0, buffered: true };
    for step in steps {
        let reply = apply(&mut bench, step, &tape);
        let expected = tape.run(step);
        prop_assert_eq!(outcome(&reply), expected, "{:?} on {:?}", step, &tape);
        check_transport_residual(step, &tape, &reply)?;
        let position = bench.good(&[0x34, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
        let flags = u8::from(tape.at == 0) << 7 | u8::from(tape.is_past_warning()) << 6;
        let mut long = vec![flags, 0, 0, 0, 0, 0, 0, 0];
        long.extend((tape.at as u64).to_be_bytes());
        long.extend((tape.file() as u64).to_be_bytes());
        long.extend([0; 8]);
        prop_assert_eq!(position, long, "after {:?} on {:?}", step, &tape);
        let short = bench.good(&[0x34, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        prop_assert_eq!(&short[4..8], &(tape.at as u32).to_be_bytes()[..]);
        if !tape.buffered {
            prop_assert_eq!(&short[8..12], &short[4..8], "unbuffered: nothing waits");
        }
    }
    Ok(())
}

/// Steps with a failing late write (0) or the end of the session (1) before some of them.
fn lose(steps: &[(Step, u8)]) -> Result<(), TestCaseError> {
    let mut bench = Bench::loaded();
    let mut tape = Tape { things: Vec::new(), at: 0, block_length: 0, buffered: true };
    let mut told = 0;
    for (step, event) in steps {
        match event {
            0 => bench.medium().next_fault = Some(Fault::LateWrite),
            1 => bench.reconnect(),
            _ => {}
        }
        let reply = apply(&mut bench, step, &tape);
        let lost = Told::read(&reply).filter(|told| (told.key, told.code) == (3, (0x0c, 0)));
        told += u64::from(lost.is_some());
        if lost.is_some() {
            continue;
        }
        match step {
            Step::BlockLength(length) => tape.block_length = *length,
            Step::Buffered(on) => tape.buffered = *on,
            _ => {}
        }
        let told_good = reply.status == crate::Status::Good;
        let is_buffered_write = tape.buffered && matches!(step, Step::Write(..) | Step::WriteFixed(..));
        let is_nothing = matches!(step, Step::Marks(_, true));
        if told_good && !is_buffered_write && !is_nothing {
            prop_assert!(bench.medium().all_is_durable(), "{:?} was GOOD", step);
        }
    }
    bench.medium().next_fault = None;
    told += u64::from(Told::read(&bench.send(&[0; 6], &[])).is_some());
    prop_assert_eq!(told, bench.medium().losses);
    Ok(())
}

/// What the transport counts as not delivered is what INFORMATION says, in bytes or in blocks (LTFS compares
/// the two).
fn check_transport_residual(step: &Step, tape: &Tape, reply: &Reply) -> Result<(), TestCaseError> {
    let (asked, unit) = match *step {
        Step::Read(length, _) => (i64::from(length), 1),
        Step::ReadFixed(count) => {
            (i64::from(count) * i64::from(tape.block_length), i64::from(tape.block_length))
        }
        _ => return Ok(()),
    };
    let told = Told::read(reply).and_then(|told| told.information);
    if let Some(residual) = told.filter(|residual| *residual >= 0) {
        let delivered = reply.data_in.concat().len() as i64;
        prop_assert_eq!(asked - delivered, i64::from(residual) * unit);
    }
    Ok(())
}

/// `VTL_TEST_CASES` multiplies the number of cases for long runs.
fn cases(base: u32) -> ProptestConfig {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    ProptestConfig { cases: base.saturating_mul(factor), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_drive_behaves_like_a_list_of_blocks_and_marks(steps in prop::collection::vec(step(), 1..60)) {
        compare(&steps)?;
    }

    #[test]
    fn every_loss_is_told_exactly_once_and_good_means_durable(
        steps in prop::collection::vec((step(), 0_u8..12), 1..60),
    ) {
        lose(&steps)?;
    }

    #[test]
    fn whatever_mode_select_takes_the_modes_stay_consistent(
        changes in prop::collection::vec((0_usize..200, any::<u8>()), 0..6),
        page in prop::sample::select(&[0x0f_u8, 0x10, 0x11, 0x3f, 0x0a][..]),
    ) {
        let mut bench = Bench::loaded();
        let mut list = bench.good(&[0x5a, 0, page, 0, 0, 0, 0, 2, 0, 0]);
        list[0] = 0;
        list[1] = 0;
        for (at, value) in changes {
            let length = list.len();
            list[at % length] = value;
        }
        let [high, low] = (list.len() as u16).to_be_bytes();
        bench.send(&[0x55, 0x10, 0, 0, 0, 0, 0, high, low, 0], &list);
        let now = bench.good(&[0x5a, 0, 0x3f, 0xff, 0, 0, 0, 2, 0, 0]);
        let block_length = u32::from_be_bytes([0, now[13], now[14], now[15]]);
        prop_assert!(block_length <= 0x80_0000);
        prop_assert_eq!(now[3] & 0x8f, 0, "no protection, no speed");
        prop_assert_eq!(now[8], 0x5e);
        let compression = bench.good(&[0x1a, 8, 0x0f, 0, 255, 0]);
        let configuration = bench.good(&[0x1a, 8, 0x10, 0, 255, 0]);
        prop_assert_eq!(compression[6] & 0x80 != 0, configuration[18] != 0, "one switch");
    }

    #[test]
    fn a_write_attribute_changes_all_that_it_names_or_nothing(
        ids in prop::collection::vec(prop_oneof![0x0800_u16..0x0810, any::<u16>()], 1..5),
        length in 0_usize..40,
        format in 0_u8..4,
        cut in 0_usize..4,
    ) {
        let mut bench = Bench::loaded();
        let mut body = Vec::new();
        for id in &ids {
            body.extend(id.to_be_bytes());
            body.extend([format, 0, length as u8]);
            body.extend(vec![b'x'; length]);
        }
        body.truncate(body.len() - cut);
        let mut list = (body.len() as u32).to_be_bytes().to_vec();
        list.extend(body);
        let reply = bench.send(&[0x8d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, list.len() as u8, 0, 0], &list);
        let stored = bench.medium().host_attributes();
        let expected = if Told::read(&reply).is_none() && length > 0 { ids } else { Vec::new() };
        prop_assert_eq!(stored, expected);
    }

    #[test]
    fn no_command_makes_the_drive_panic_or_take_all_memory(
        commands in prop::collection::vec(
            (any_opcode(), any::<[u8; 15]>(), prop::collection::vec(any::<u8>(), 0..80)), 1..40),
    ) {
        let mut bench = Bench::loaded();
        bench.write_block(b"something");
        for (opcode, rest, data) in commands {
            let mut cdb = [0; 16];
            cdb[0] = opcode;
            cdb[1..].copy_from_slice(&rest);
            let data_out = vec![data.clone().into()];
            let command = Command { nexus: ONE, from: None, cdb: Cdb(cdb), data_out, now: Instant(0) };
            let reply = bench.drive.execute(&command);
            let length: usize = reply.data_in.iter().map(bytes::Bytes::len).sum();
            prop_assert!(length <= 32 << 20);
            prop_assert_eq!(reply.sense.is_some(), reply.status == crate::Status::CheckCondition);
        }
    }
}

/// All operation codes, those of the drive more often; bits that would be refused at once are left to `any`.
fn any_opcode() -> impl Strategy<Value = u8> {
    let known: Vec<u8> = super::commands::ROWS.iter().map(|row| row.opcode).collect();
    prop_oneof![3 => prop::sample::select(known), 1 => any::<u8>()]
}
