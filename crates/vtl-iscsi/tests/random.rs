//! Random operations against a model of an initiator and a device, and random bytes against everything.
//!
//! `VTL_TEST_CASES` multiplies the number of cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use std::collections::{BTreeMap, VecDeque};

use common::*;
use proptest::prelude::*;
use proptest::test_runner::Config;
use vtl_iscsi::event::{Event, Outcome, TaskId, TmfFunction, TmfId, TmfResponse};
use vtl_iscsi::pdu::{
    DataIn, DataOut, Header, NopIn, NopOut, Opcode, R2t, RESERVED_TAG, ScsiRequest, ScsiResponse,
    TaskFunction, TaskRequest, TaskResponse,
};

fn cases(base: u32) -> Config {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    Config { cases: base * factor, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() }
}

const WINDOW: u32 = 8;
const FIRST_BURST: usize = 4096;
const MAX_BURST: usize = 8192;
const OUR_SEGMENT: usize = 4096;
const IN_FLIGHT: u64 = 48 << 10;

#[derive(Clone, Debug)]
enum Op {
    Read {
        lun: u8,
        len: u32,
        yielded: u32,
    },
    Write {
        lun: u8,
        len: u32,
        immediate: u16,
        unsolicited: bool,
    },
    Plain {
        lun: u8,
        immediate: bool,
    },
    Nop,
    /// Keeps the next command back until the one after it has been sent.
    Delay,
    Abort(u8),
    Reset {
        kind: u8,
        lun: u8,
    },
    AnswerR2t(u8),
    Complete {
        pick: u8,
        check: bool,
    },
    FinishTmf(u8),
    Flush,
    Time(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let lun = 0..3u8;
    let len = prop_oneof![Just(0u32), 1..600u32, 1..20_000u32];
    prop_oneof![
        3 => (lun.clone(), len.clone(), len.clone()).prop_map(|(lun, len, yielded)| Op::Read { lun, len, yielded }),
        4 => (lun.clone(), len, any::<u16>(), any::<bool>()).prop_map(|(lun, len, immediate, unsolicited)| Op::Write {
            lun, len, immediate, unsolicited
        }),
        2 => (lun.clone(), any::<bool>()).prop_map(|(lun, immediate)| Op::Plain { lun, immediate }),
        1 => Just(Op::Nop),
        1 => Just(Op::Delay),
        2 => any::<u8>().prop_map(Op::Abort),
        1 => (0..5u8, lun).prop_map(|(kind, lun)| Op::Reset { kind, lun }),
        8 => any::<u8>().prop_map(Op::AnswerR2t),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(pick, check)| Op::Complete { pick, check }),
        2 => any::<u8>().prop_map(Op::FinishTmf),
        4 => Just(Op::Flush),
        1 => any::<u8>().prop_map(Op::Time),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Open,
    Answered,
    Aborted,
}

struct Command {
    request: ScsiRequest,
    data: Vec<u8>,
    got: Vec<u8>,
    r2ts: VecDeque<(R2t, u32)>,
    state: State,
    data_ins: u32,
    /// What the device says: bytes yielded or wanted, status.
    yields: u32,
}

struct AtDevice {
    task: TaskId,
    tag: u32,
}

struct DeviceTmf {
    id: TmfId,
    covered: Vec<TaskId>,
}

struct Model {
    pair: Pair,
    splits: u64,
    delay_next: bool,
    delayed: Vec<Vec<u8>>,
    commands: BTreeMap<u32, Command>,
    tmfs: BTreeMap<u32, Vec<u32>>,
    device: Vec<AtDevice>,
    device_tmfs: Vec<DeviceTmf>,
    /// Tasks that the device forgot without completing.
    forgotten: Vec<TaskId>,
    last_handed_out: Option<u32>,
    nops: usize,
}

impl Model {
    fn new(digests: bool, splits: u64) -> Self {
        let setup = Setup::default()
            .key("InitialR2T", "No")
            .key("ImmediateData", "Yes")
            .key("FirstBurstLength", FIRST_BURST)
            .key("MaxBurstLength", MAX_BURST)
            .key("MaxOutstandingR2T", 3)
            .key("MaxRecvDataSegmentLength", 2048)
            .limits(|l| {
                l.command_window = WINDOW;
                l.max_bytes_in_flight = IN_FLIGHT;
                l.max_recv_data_segment_length = OUR_SEGMENT as u32;
            });
        let pair = Pair::logged_in(if digests { setup.digests() } else { setup });
        Self {
            pair,
            splits,
            delay_next: false,
            delayed: Vec::new(),
            commands: BTreeMap::new(),
            tmfs: BTreeMap::new(),
            device: Vec::new(),
            device_tmfs: Vec::new(),
            forgotten: Vec::new(),
            last_handed_out: None,
            nops: 0,
        }
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Read { lun, len, yielded } => {
                self.send_command(lun, |pair| pair.read(len), 0, false, yielded)
            }
            Op::Write { lun, len, immediate, unsolicited } => {
                self.send_command(lun, |pair| pair.write(len), immediate, unsolicited, len);
            }
            Op::Plain { lun, immediate: false } => {
                self.send_command(lun, |pair| pair.command(TEST_UNIT_READY), 0, false, 0);
            }
            Op::Plain { lun, immediate: true } => {
                let urgent = self.commands.values().filter(|c| c.request.immediate && c.state == State::Open);
                if urgent.count() < 8 {
                    self.send_command(lun, |pair| pair.immediate(TEST_UNIT_READY), 0, false, 0);
                }
            }
            Op::Nop => {
                let nop = self.pair.nop(true);
                self.nops += 1;
                self.feed(&self.pair.bytes_of(nop.encode(), b"echo"));
            }
            Op::Delay => self.delay_next = true,
            Op::Abort(pick) => self.abort(pick),
            Op::Reset { kind, lun } => self.reset(kind, lun),
            Op::AnswerR2t(pick) => self.answer_r2t(pick),
            Op::Complete { pick, check } => self.complete(pick, check),
            Op::FinishTmf(pick) => self.finish_tmf(pick),
            Op::Flush => self.flush(),
            Op::Time(s) => {
                // Often enough that a question of the target is answered in time.
                self.flush();
                self.pair.pass(u64::from(s % 25) * S);
                self.flush();
            }
        }
        self.events();
        self.bounds();
    }

    // ---- the initiator ----

    fn send_command(
        &mut self,
        lun: u8,
        make: impl FnOnce(&mut Pair) -> ScsiRequest,
        immediate: u16,
        unsolicited: bool,
        yields: u32,
    ) {
        let is_open = self.pair.max_cmd_sn.wrapping_sub(self.pair.cmd_sn) < 1 << 31;
        if !is_open {
            return;
        }
        let mut request = make(&mut self.pair);
        request.lun = u64::from(lun) << 48;
        request.cdb[12..].copy_from_slice(&request.task_tag.to_be_bytes());
        let len = if request.write { request.expected_len as usize } else { 0 };
        let data: Vec<u8> = pattern(len + 7).split_off(request.task_tag as usize % 7)[..len].to_vec();
        let first = len.min(FIRST_BURST).min(OUR_SEGMENT);
        let immediate = if first == 0 { 0 } else { usize::from(immediate) % (first + 1) };
        let end = if unsolicited { len.min(FIRST_BURST) } else { immediate };
        request.last = end == immediate;
        let mut bytes = self.pair.bytes_of(request.encode(), &data[..immediate]);
        let mut at = immediate;
        let mut data_sn = 0;
        while at < end {
            let step = (end - at).min(1500);
            let pdu = self.pair.data_out(&request, RESERVED_TAG, data_sn, at as u32, at + step == end);
            bytes.extend(self.pair.bytes_of(pdu.encode(), &data[at..at + step]));
            at += step;
            data_sn += 1;
        }
        let command = Command {
            request,
            data,
            got: Vec::new(),
            r2ts: VecDeque::new(),
            state: State::Open,
            data_ins: 0,
            yields,
        };
        self.commands.insert(request.task_tag, command);
        if std::mem::take(&mut self.delay_next) && !request.immediate {
            self.delayed.push(bytes);
            return;
        }
        self.feed(&bytes);
        if !request.immediate {
            self.send_delayed();
        }
    }

    fn send_delayed(&mut self) {
        for bytes in std::mem::take(&mut self.delayed) {
            self.feed(&bytes);
        }
    }

    /// Splits the stream at places that the protocol does not know of.
    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.splits =
                self.splits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let len = match self.splits >> 61 {
                0 => 1 + (self.splits >> 40) as usize % 60,
                1..=3 => 1 + (self.splits >> 40) as usize % 3000,
                _ => bytes.len(),
            };
            let (now, later) = bytes.split_at(len.min(bytes.len()));
            self.pair.send_bytes(now);
            bytes = later;
        }
    }

    fn abort(&mut self, pick: u8) {
        if self.tmfs.len() >= 8 || self.commands.is_empty() {
            return;
        }
        let request = self.commands.values().nth(usize::from(pick) % self.commands.len()).unwrap().request;
        let abort = self.pair.abort(&request);
        self.send_tmf(&abort, vec![request.task_tag]);
    }

    fn reset(&mut self, kind: u8, lun: u8) {
        if self.tmfs.len() >= 8 {
            return;
        }
        let lun = u64::from(lun) << 48;
        let function = match kind {
            0 => TaskFunction::AbortTaskSet,
            1 => TaskFunction::ClearTaskSet,
            2 | 3 => TaskFunction::LogicalUnitReset,
            _ => TaskFunction::TargetWarmReset,
        };
        let is_all = function == TaskFunction::TargetWarmReset;
        let open = self.commands.values().filter(|c| c.state == State::Open);
        let covered = open.filter(|c| is_all || c.request.lun == lun).map(|c| c.request.task_tag).collect();
        let request = self.pair.task_request(function, lun);
        self.send_tmf(&request, covered);
    }

    fn send_tmf(&mut self, request: &TaskRequest, covered: Vec<u32>) {
        self.tmfs.insert(request.task_tag, covered);
        self.feed(&self.pair.bytes_of(request.encode(), b""));
    }

    /// Answers the oldest R2T of some command with one more piece. Commands that were aborted are answered still.
    fn answer_r2t(&mut self, pick: u8) {
        let waiting: Vec<u32> =
            self.commands.iter().filter(|(_, c)| !c.r2ts.is_empty()).map(|(tag, _)| *tag).collect();
        let Some(tag) = waiting.get(usize::from(pick) % waiting.len().max(1)) else { return };
        let command = self.commands.get_mut(tag).unwrap();
        let (r2t, data_sn) = command.r2ts.front_mut().unwrap();
        let len = r2t.len.min(1 + u32::from(pick) * 40);
        let pdu = DataOut {
            last: len == r2t.len,
            lun: r2t.lun,
            task_tag: *tag,
            transfer_tag: r2t.transfer_tag,
            exp_stat_sn: 0,
            data_sn: *data_sn,
            offset: r2t.offset,
        };
        let piece = command.data[r2t.offset as usize..(r2t.offset + len) as usize].to_vec();
        *data_sn += 1;
        r2t.offset += len;
        r2t.len -= len;
        if r2t.len == 0 {
            command.r2ts.pop_front();
        }
        self.feed(&self.pair.bytes_of(pdu.encode(), &piece));
    }

    fn flush(&mut self) {
        for pdu in self.pair.pdus() {
            let tag = pdu.header.task_tag();
            match pdu.opcode() {
                Opcode::R2t => self.got_r2t(R2t::decode(&pdu.header)),
                Opcode::DataIn => self.got_data(&DataIn::decode(&pdu.header), &pdu.data),
                Opcode::ScsiResponse => {
                    let response = ScsiResponse::decode(&pdu.header);
                    let data_ins = self.answered(tag);
                    assert_eq!(response.exp_data_sn, data_ins);
                }
                Opcode::TaskResponse => self.got_tmf(TaskResponse::decode(&pdu.header)),
                Opcode::NopIn => match NopIn::decode(&pdu.header) {
                    NopIn::Echo { .. } => {
                        assert_eq!(pdu.data, b"echo");
                        self.nops -= 1;
                    }
                    NopIn::Ping { transfer_tag: RESERVED_TAG } => {}
                    NopIn::Ping { transfer_tag } => {
                        let answer = NopOut { task_tag: RESERVED_TAG, transfer_tag, ..self.pair.nop(true) };
                        self.feed(&self.pair.bytes_of(answer.encode(), b""));
                    }
                },
                other => panic!("{other:?}: {:?}", pdu.header),
            }
        }
        // Room may have come about.
        self.pair.send_bytes(b"");
    }

    fn got_r2t(&mut self, r2t: R2t) {
        let command = self.commands.get_mut(&r2t.task_tag).expect("an R2T for a command");
        assert_eq!(command.state, State::Open);
        assert!(r2t.len >= 1 && r2t.len as usize <= MAX_BURST);
        assert!((r2t.offset + r2t.len) as usize <= command.data.len());
        command.r2ts.push_back((r2t, 0));
        assert!(command.r2ts.len() <= 3);
    }

    fn got_data(&mut self, pdu: &DataIn, data: &[u8]) {
        let command = self.commands.get_mut(&pdu.task_tag).expect("data for a command");
        assert_eq!(command.state, State::Open);
        assert_eq!((pdu.data_sn, pdu.offset as usize), (command.data_ins, command.got.len()));
        assert!(!data.is_empty() && data.len() <= 2048);
        command.data_ins += 1;
        command.got.extend_from_slice(data);
        if pdu.status.is_some() {
            self.answered(pdu.task_tag);
        }
    }

    fn answered(&mut self, tag: u32) -> u32 {
        let command = self.commands.get_mut(&tag).expect("an answer to a command");
        assert_eq!(command.state, State::Open, "one answer, and none after an abort");
        command.state = State::Answered;
        if command.request.read {
            let len = command.request.expected_len.min(command.yields) as usize;
            assert_eq!(command.got, pattern(len), "all data before the status");
        }
        command.data_ins
    }

    fn got_tmf(&mut self, response: TaskResponse) {
        let covered = self.tmfs.remove(&response.task_tag).expect("an answer to a request");
        for tag in covered {
            let is_ending = self.tmfs.values().any(|covered| covered.contains(&tag));
            let command = self.commands.get_mut(&tag).unwrap();
            match (response.response, command.state) {
                (TmfResponse::Complete, State::Open) => command.state = State::Aborted,
                (TmfResponse::Complete, _) => {}
                // A request before this one may have ended it, and not be answered yet.
                (TmfResponse::TaskDoesNotExist, State::Open) => assert!(is_ending, "it does exist"),
                (TmfResponse::TaskDoesNotExist, _) => {}
                (other, _) => panic!("{other:?}"),
            }
        }
    }

    // ---- the device ----

    fn events(&mut self) {
        while let Some(event) = self.pair.target.poll_event() {
            match event {
                Event::Command(handed) => {
                    let tag = u32::from_be_bytes(handed.cdb[12..].try_into().unwrap());
                    let command = &self.commands[&tag];
                    assert_ne!(command.state, State::Answered);
                    assert_eq!(joined(&handed.data_out), command.data, "every byte of a write, once");
                    assert_eq!(
                        (handed.lun, handed.expected_len),
                        (command.request.lun, command.request.expected_len)
                    );
                    if !handed.immediate {
                        let sn = command.request.cmd_sn;
                        assert!(self.last_handed_out.is_none_or(|last| sn.wrapping_sub(last) as i32 > 0));
                        self.last_handed_out = Some(sn);
                    }
                    self.device.push(AtDevice { task: handed.task, tag });
                }
                Event::TaskManagement { id, function } => {
                    let covered = self.covered(function);
                    self.device_tmfs.push(DeviceTmf { id, covered });
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn covered(&self, function: TmfFunction) -> Vec<TaskId> {
        let on = |lun| {
            let commands = &self.commands;
            let here = self.device.iter().filter(move |at| commands[&at.tag].request.lun == lun);
            here.map(|at| at.task).collect()
        };
        match function {
            TmfFunction::AbortTask { task } => vec![task],
            TmfFunction::AbortTaskSet { lun } | TmfFunction::ClearTaskSet { lun } => on(lun),
            TmfFunction::LogicalUnitReset { lun } => on(lun),
            _ => self.device.iter().map(|at| at.task).collect(),
        }
    }

    fn complete(&mut self, pick: u8, check: bool) {
        if let Some(stale) = self.forgotten.pop() {
            self.pair.good_write(stale, 0);
        }
        if self.device.is_empty() {
            return;
        }
        let at = self.device.remove(usize::from(pick) % self.device.len());
        let command = &self.commands[&at.tag];
        let mut outcome = Outcome { data_out_wanted: command.data.len() as u64, ..Outcome::default() };
        if command.request.read {
            let data = pattern(command.yields as usize);
            outcome.data_in = data.chunks(1 + usize::from(pick) * 30).map(|c| c.to_vec().into()).collect();
        }
        if check {
            outcome.status = 0x02;
            outcome.sense = vec![0x70; 18];
        }
        self.pair.target.complete(at.task, outcome);
    }

    fn finish_tmf(&mut self, pick: u8) {
        if self.device_tmfs.is_empty() {
            return;
        }
        let tmf = self.device_tmfs.remove(usize::from(pick) % self.device_tmfs.len());
        for task in tmf.covered {
            if let Some(at) = self.device.iter().position(|at| at.task == task) {
                self.device.remove(at);
                self.forgotten.push(task);
            }
        }
        self.pair.target.task_management_done(tmf.id, TmfResponse::Complete);
    }

    // ---- what always holds ----

    fn bounds(&self) {
        let session = self.pair.target.session().unwrap();
        assert!(session.commands <= (WINDOW + 16) as usize);
        // One command's data beyond the limit, and what may come unasked for each command of the window.
        let most =
            IN_FLIGHT + 20_000 + (u64::from(WINDOW) + 16) * FIRST_BURST as u64 + 20_000 * u64::from(WINDOW);
        assert!(session.bytes_in_flight <= most, "{}", session.bytes_in_flight);
    }

    /// Lets everything come to its end.
    fn settle(&mut self) {
        self.send_delayed();
        // A number that was kept back for ever would keep the rest back, too.
        for round in 0..2000 {
            self.flush();
            self.events();
            self.complete(round as u8, false);
            self.finish_tmf(0);
            self.answer_r2t(255);
            self.bounds();
        }
        self.flush();
        assert!(self.device.is_empty() && self.device_tmfs.is_empty() && self.tmfs.is_empty());
        assert_eq!((self.nops, self.pair.wire.len()), (0, 0));
        for (tag, command) in &self.commands {
            assert_ne!(command.state, State::Open, "{tag:#x} has no answer: {:?}", command.request);
        }
        let nop = self.pair.nop(true);
        self.nops += 1;
        self.feed(&self.pair.bytes_of(nop.encode(), b"echo"));
        self.flush();
        assert_eq!(self.pair.exp_cmd_sn, self.pair.cmd_sn, "no number is missing");
        let window = self.pair.max_cmd_sn.wrapping_sub(self.pair.exp_cmd_sn).wrapping_add(1);
        assert_eq!(window, WINDOW, "every place in the window has been given back");
        let session = self.pair.target.session().unwrap();
        assert_eq!((session.commands, session.bytes_in_flight), (0, 0));
    }
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn random_operations_agree_with_the_model(
        ops in prop::collection::vec(op(), 1..120),
        digests in any::<bool>(),
        splits in any::<u64>(),
    ) {
        let mut model = Model::new(digests, splits);
        ops.iter().for_each(|op| model.run(op));
        model.settle();
    }
}

/// A PDU that is right in some ways and wrong in others.
fn half_right() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![
        0x00u8, 0x40, 0x01, 0x41, 0x02, 0x42, 0x03, 0x43, 0x04, 0x44, 0x05, 0x06, 0x46, 0x10, 0x1f, 0x20,
        0x31, 0x3f,
    ]);
    // Small numbers, so that tags, sequence numbers and offsets meet.
    let small = prop_oneof![Just(0u32), Just(1), 2..6u32, Just(0xffff_ffff), any::<u32>()];
    let sn = (0..8u32).prop_map(|n| FIRST_CMD_SN.wrapping_add(n));
    let head = (opcode, any::<u8>(), 0..3u8, 0..700usize);
    (head, prop::array::uniform10(small), sn, any::<bool>()).prop_map(
        |((opcode, flags, ahs, len), mut rows, sn, use_sn)| {
            if use_sn {
                rows[4] = sn;
            }
            let mut bytes = vec![opcode, flags, 0, 0, if ahs == 2 { 2 } else { 0 }];
            bytes.extend(&u32::try_from(len).unwrap().to_be_bytes()[1..]);
            rows.iter().for_each(|row| bytes.extend(row.to_be_bytes()));
            bytes.resize(48 + if ahs == 2 { 8 } else { 0 } + len.next_multiple_of(4), 0x55);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn random_bytes_never_panic_and_never_cost_more_than_the_limits(
        pdus in prop::collection::vec(prop_oneof![
            8 => half_right(),
            1 => prop::collection::vec(any::<u8>(), 0..200),
        ], 1..60),
        kind in 0..4u8,
        answers in any::<u64>(),
    ) {
        let setup = Setup::default()
            .key("InitialR2T", "No")
            .limits(|l| {
                l.command_window = WINDOW;
                l.max_bytes_in_flight = IN_FLIGHT;
                l.max_recv_data_segment_length = 1024;
                l.max_text_bytes = 8192;
            });
        let mut pair = match kind {
            0 => Pair::new(setup.limits),
            1 => Pair::discovery(setup),
            2 => Pair::logged_in(setup.digests()),
            _ => Pair::logged_in(setup),
        };
        let mut out = Vec::new();
        for (i, pdu) in pdus.iter().enumerate() {
            // Right digests, so that what is behind them is reached.
            let bytes = match pdu.split_first_chunk::<48>() {
                Some((header, rest)) if kind == 2 => pair.bytes_as_is(Header::from_bytes(*header), b"", rest),
                _ => pdu.clone(),
            };
            pair.wire.extend_from_slice(&bytes);
            let now = pair.instant();
            pair.target.receive(&mut pair.wire, now);
            if pair.target.wants_input() {
                prop_assert!(pair.target.bytes_needed(&pair.wire) > 0);
            }
            while let Some(event) = pair.target.poll_event() {
                match event {
                    Event::Command(command) if answers >> (i % 64) & 1 == 0 => pair.good(command.task),
                    Event::TaskManagement { id, .. } if answers >> (i % 61) & 1 == 0 => {
                        pair.target.task_management_done(id, TmfResponse::Complete);
                    }
                    Event::Admit(_) => pair.target.admit(vtl_iscsi::event::Admission::Accept { tsih: 3 }),
                    _ => {}
                }
            }
            if i % 7 == 0 {
                while pair.target.poll_transmit(&mut out) {
                    pair.target.transmitted(now);
                }
                out.clear();
                pair.pass(3 * S);
            }
            if let Some(session) = pair.target.session() {
                prop_assert!(session.commands <= (WINDOW + 16) as usize);
                prop_assert!(session.bytes_in_flight <= 2 * IN_FLIGHT + u64::from(WINDOW) * 65536);
            }
        }
        pair.target.close(vtl_iscsi::event::CloseReason::TransportLost);
        prop_assert!(pair.target.is_closed());
    }
}
