//! A pair for protocol scripts: our target and a small initiator, with a clock that is moved by hand.
//!
//! The initiator checks on every PDU it gets what holds in every test: lengths, digests and zero pads are right,
//! StatSN goes up by one with each answer and by nothing else, MaxCmdSN never moves back.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use vtl_iscsi::config::{Auth, Limits, Portal, TargetConfig};
use vtl_iscsi::event::{Admission, Attribute, CloseReason, Event, Outcome, ScsiCommand, SessionKind, TaskId};
use vtl_iscsi::event::{TmfFunction, TmfId};
use vtl_iscsi::pdu::{
    AsyncMessage, DataIn, DataOut, Header, LoginRequest, LoginResponse, LogoutReason, LogoutRequest,
    LogoutResponse, NopIn, NopOut, Numbers, Opcode, R2t, RESERVED_TAG, Reject, RejectReason, ScsiRequest,
    ScsiResponse, TaskFunction, TaskRequest, TaskResponse, TextRequest, TextResponse,
};
use vtl_iscsi::{Connection, Instant};

pub const TARGET: &str = "iqn.2026-01.invalid.example:library";
pub const INITIATOR: &str = "iqn.2026-01.invalid.example:host";
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;
/// The number of the first command of every session here: the wrap is never far away.
pub const FIRST_CMD_SN: u32 = 0xffff_fffd;

pub const TEST_UNIT_READY: [u8; 16] = [0; 16];

/// What a test wants of its session.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub limits: Limits,
    pub keys: Vec<(&'static str, String)>,
}

impl Setup {
    pub fn key(mut self, key: &'static str, value: impl ToString) -> Self {
        self.keys.push((key, value.to_string()));
        self
    }

    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub fn digests(self) -> Self {
        self.key("HeaderDigest", "CRC32C").key("DataDigest", "CRC32C")
    }
}

/// One PDU from the target.
#[derive(Clone, Debug)]
pub struct Pdu {
    pub header: Header,
    pub data: Vec<u8>,
}

impl Pdu {
    pub fn opcode(&self) -> Opcode {
        Opcode::from_code(self.header.opcode()).expect("the target sends known opcodes")
    }

    pub fn numbers(&self) -> Numbers {
        Numbers::of(&self.header)
    }
}

pub struct Pair {
    pub target: Connection,
    /// Bytes that the target has not taken yet.
    pub wire: BytesMut,
    pub now: u64,
    pub header_digest: bool,
    pub data_digest: bool,
    pub cmd_sn: u32,
    pub exp_stat_sn: u32,
    pub max_cmd_sn: u32,
    pub exp_cmd_sn: u32,
    next_tag: u32,
    from_target: Vec<u8>,
}

impl Pair {
    /// Two strangers.
    pub fn new(limits: Limits) -> Self {
        Self::with_auth(limits, Auth::default())
    }

    pub fn with_auth(limits: Limits, auth: Auth) -> Self {
        let target = TargetConfig {
            name: TARGET.into(),
            alias: None,
            portal_group_tag: 1,
            auth,
            initiators: None,
            portals: Vec::new(),
        };
        let portal = Portal { targets: vec![target], discovery_auth: Auth::default(), limits };
        let random = Box::new(|bytes: &mut [u8]| bytes.fill(0x5a));
        let now = 1_000 * S;
        Self {
            target: Connection::new(
                Arc::new(portal),
                "127.0.0.1:3260".into(),
                crc32c::crc32c_append,
                random,
                Instant::from_nanos(now),
            ),
            wire: BytesMut::new(),
            now,
            header_digest: false,
            data_digest: false,
            cmd_sn: FIRST_CMD_SN,
            exp_stat_sn: 0,
            max_cmd_sn: FIRST_CMD_SN.wrapping_sub(1),
            exp_cmd_sn: FIRST_CMD_SN,
            next_tag: 0x100,
            from_target: Vec::new(),
        }
    }

    /// A normal session in full feature phase, under the standard's defaults where the setup says nothing.
    pub fn logged_in(setup: Setup) -> Self {
        let mut pair = Self::new(setup.limits);
        pair.login("Normal", &setup);
        pair
    }

    /// A discovery session in full feature phase.
    pub fn discovery(setup: Setup) -> Self {
        let mut pair = Self::new(setup.limits);
        pair.login("Discovery", &setup);
        pair
    }

    fn login(&mut self, session_type: &str, setup: &Setup) {
        let mut text = format!("InitiatorName={INITIATOR}\0SessionType={session_type}\0");
        if session_type == "Normal" {
            text += &format!("TargetName={TARGET}\0");
        }
        for (key, value) in &setup.keys {
            text += &format!("{key}={value}\0");
        }
        let mut answers = String::new();
        // The target may make offers of its own; whatever they are, they suit this initiator.
        for _ in 0..8 {
            self.send_login(&text);
            if let Some(Event::Admit(request)) = self.target.poll_event() {
                assert_eq!(request.initiator, INITIATOR);
                let is_discovery = request.kind == SessionKind::Discovery;
                assert_eq!(is_discovery, session_type == "Discovery");
                self.target.admit(Admission::Accept { tsih: 7 });
            }
            let pdu = self.one();
            let response = LoginResponse::decode(&pdu.header);
            assert_eq!((response.status_class, response.status_detail), (0, 0), "login refused");
            let answer = String::from_utf8(pdu.data).expect("text");
            answers += &answer;
            if response.transit {
                break;
            }
            text = agree_to(&answer, &setup.keys);
        }
        assert!(matches!(self.target.poll_event(), Some(Event::LoggedIn)));
        self.header_digest = answers.contains("HeaderDigest=CRC32C\0");
        self.data_digest = answers.contains("DataDigest=CRC32C\0");
    }

    pub fn send_login(&mut self, text: &str) {
        let request = LoginRequest {
            immediate: true,
            transit: true,
            continues: false,
            current_stage: 1,
            next_stage: 3,
            version_max: 0,
            version_min: 0,
            isid: [0x80, 1, 2, 3, 4, 5],
            tsih: 0,
            task_tag: 1,
            cid: 9,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        };
        self.send(request.encode(), text.as_bytes());
    }

    // ---- time ----

    pub fn instant(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    /// Lets time pass, from timer to timer as a driver would.
    pub fn pass(&mut self, ns: u64) {
        let end = self.now + ns;
        while let Some(at) = self.target.poll_timeout().map(Instant::as_nanos).filter(|at| *at <= end) {
            assert!(at > self.now, "a timer that does not move");
            self.now = at;
            self.target.handle_timeout(self.instant());
        }
        self.now = end;
        self.target.handle_timeout(self.instant());
    }

    // ---- to the target ----

    pub fn bytes_of(&self, mut header: Header, data: &[u8]) -> Vec<u8> {
        assert!(header.set_data_len(data.len()));
        self.bytes_as_is(header, &[], data)
    }

    /// Digests and pads, with the lengths as the header has them.
    pub fn bytes_as_is(&self, header: Header, ahs: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(ahs);
        if self.header_digest {
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        }
        if !data.is_empty() {
            let start = bytes.len();
            bytes.extend(data);
            bytes.resize(start + data.len().next_multiple_of(4), 0);
            if self.data_digest {
                bytes.extend(crc32c::crc32c(&bytes[start..]).to_le_bytes());
            }
        }
        bytes
    }

    pub fn send(&mut self, header: Header, data: &[u8]) -> &mut Self {
        let bytes = self.bytes_of(header, data);
        self.send_bytes(&bytes)
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.wire.extend_from_slice(bytes);
        self.target.receive(&mut self.wire, Instant::from_nanos(self.now));
        self
    }

    pub fn tag(&mut self) -> u32 {
        self.next_tag += 1;
        self.next_tag
    }

    /// A command in order: the next number, a new tag.
    pub fn command(&mut self, cdb: [u8; 16]) -> ScsiRequest {
        let request = ScsiRequest { cmd_sn: self.cmd_sn, task_tag: self.tag(), cdb, ..self.blank() };
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        request
    }

    pub fn immediate(&mut self, cdb: [u8; 16]) -> ScsiRequest {
        ScsiRequest { immediate: true, cmd_sn: self.cmd_sn, task_tag: self.tag(), cdb, ..self.blank() }
    }

    pub fn read(&mut self, expected_len: u32) -> ScsiRequest {
        ScsiRequest { read: true, expected_len, ..self.command([0x08; 16]) }
    }

    pub fn write(&mut self, expected_len: u32) -> ScsiRequest {
        ScsiRequest { write: true, expected_len, ..self.command([0x0a; 16]) }
    }

    fn blank(&self) -> ScsiRequest {
        ScsiRequest {
            immediate: false,
            last: true,
            read: false,
            write: false,
            attribute: Attribute::Simple,
            lun: 0,
            task_tag: 0,
            expected_len: 0,
            cmd_sn: 0,
            exp_stat_sn: self.exp_stat_sn,
            cdb: [0; 16],
        }
    }

    pub fn data_out(
        &self,
        command: &ScsiRequest,
        transfer_tag: u32,
        data_sn: u32,
        offset: u32,
        last: bool,
    ) -> DataOut {
        DataOut {
            last,
            lun: command.lun,
            task_tag: command.task_tag,
            transfer_tag,
            exp_stat_sn: self.exp_stat_sn,
            data_sn,
            offset,
        }
    }

    /// Answers an R2T in pieces of `segment` bytes.
    pub fn answer_r2t(&mut self, r2t: &R2t, data: &[u8], segment: usize) {
        let wanted = &data[r2t.offset as usize..(r2t.offset + r2t.len) as usize];
        let count = wanted.chunks(segment).count();
        for (i, piece) in wanted.chunks(segment).enumerate() {
            let pdu = DataOut {
                last: i + 1 == count,
                lun: r2t.lun,
                task_tag: r2t.task_tag,
                transfer_tag: r2t.transfer_tag,
                exp_stat_sn: self.exp_stat_sn,
                data_sn: u32::try_from(i).unwrap(),
                offset: r2t.offset + u32::try_from(i * segment).unwrap(),
            };
            self.send(pdu.encode(), piece);
        }
    }

    pub fn task_request(&mut self, function: TaskFunction, lun: u64) -> TaskRequest {
        TaskRequest {
            immediate: true,
            function,
            lun,
            task_tag: self.tag(),
            referenced_tag: RESERVED_TAG,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
            ref_cmd_sn: 0,
        }
    }

    pub fn abort(&mut self, command: &ScsiRequest) -> TaskRequest {
        TaskRequest {
            referenced_tag: command.task_tag,
            // An immediate command has no place in the order that could be filled.
            ref_cmd_sn: if command.immediate { self.cmd_sn } else { command.cmd_sn },
            ..self.task_request(TaskFunction::AbortTask, command.lun)
        }
    }

    pub fn nop(&mut self, immediate: bool) -> NopOut {
        let cmd_sn = self.cmd_sn;
        if !immediate {
            self.cmd_sn = self.cmd_sn.wrapping_add(1);
        }
        NopOut {
            immediate,
            lun: 0,
            task_tag: self.tag(),
            transfer_tag: RESERVED_TAG,
            cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        }
    }

    pub fn text(&mut self, last: bool, continues: bool, transfer_tag: u32) -> TextRequest {
        TextRequest {
            immediate: true,
            last,
            continues,
            lun: 0,
            task_tag: 0x77,
            transfer_tag,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        }
    }

    pub fn logout(&mut self, reason: LogoutReason, cid: u16) -> LogoutRequest {
        LogoutRequest {
            immediate: true,
            reason,
            task_tag: self.tag(),
            cid,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: self.exp_stat_sn,
        }
    }

    // ---- from the target ----

    /// Takes one round of output off the target without confirming it.
    pub fn poll_once(&mut self) -> bool {
        let mut pieces = Vec::new();
        let any = self.target.poll_transmit(&mut pieces);
        assert_eq!(any, !pieces.is_empty());
        self.from_target.extend(pieces.iter().flatten());
        any
    }

    /// Everything the target has to say, checked.
    pub fn pdus(&mut self) -> Vec<Pdu> {
        while self.poll_once() {
            self.target.transmitted(Instant::from_nanos(self.now));
        }
        let bytes = std::mem::take(&mut self.from_target);
        let mut rest = &bytes[..];
        let mut pdus = Vec::new();
        while !rest.is_empty() {
            let pdu = self.parse(&mut rest);
            self.check_numbers(&pdu);
            pdus.push(pdu);
        }
        pdus
    }

    fn parse(&self, rest: &mut &[u8]) -> Pdu {
        let header = Header::from_bytes(*rest.first_chunk().expect("a whole header"));
        *rest = &rest[48..];
        assert_eq!(header.ahs_len(), 0);
        let is_login = header.opcode() == 0x23;
        if self.header_digest && !is_login {
            assert_eq!(rest[..4], crc32c::crc32c(header.as_bytes()).to_le_bytes(), "header digest");
            *rest = &rest[4..];
        }
        let len = header.data_len();
        let padded = len.next_multiple_of(4);
        let data = rest[..len].to_vec();
        assert!(rest[len..padded].iter().all(|b| *b == 0), "pad bytes are zero");
        if self.data_digest && !is_login && len > 0 {
            assert_eq!(
                rest[padded..padded + 4],
                crc32c::crc32c(&rest[..padded]).to_le_bytes(),
                "data digest"
            );
            *rest = &rest[4..];
        }
        *rest = &rest[padded..];
        Pdu { header, data }
    }

    fn check_numbers(&mut self, pdu: &Pdu) {
        let numbers = pdu.numbers();
        let is_answer = match pdu.opcode() {
            Opcode::R2t => false,
            Opcode::NopIn => pdu.header.task_tag() != RESERVED_TAG,
            Opcode::DataIn => DataIn::decode(&pdu.header).status.is_some(),
            _ => true,
        };
        if is_answer || pdu.opcode() != Opcode::DataIn {
            assert_eq!(numbers.stat, self.exp_stat_sn, "StatSN of {:?}", pdu.opcode());
        } else {
            assert_eq!(numbers.stat, 0, "reserved");
        }
        self.exp_stat_sn = self.exp_stat_sn.wrapping_add(u32::from(is_answer));
        for (new, old) in [(numbers.max_cmd, self.max_cmd_sn), (numbers.exp_cmd, self.exp_cmd_sn)] {
            assert!(new.wrapping_sub(old) < 1 << 31, "a number moved back");
        }
        (self.max_cmd_sn, self.exp_cmd_sn) = (numbers.max_cmd, numbers.exp_cmd);
    }

    /// The one PDU that the target has to send.
    #[track_caller]
    pub fn one(&mut self) -> Pdu {
        let mut pdus = self.pdus();
        assert_eq!(pdus.len(), 1, "{:?}", pdus.iter().map(Pdu::opcode).collect::<Vec<_>>());
        pdus.remove(0)
    }

    #[track_caller]
    pub fn expect_nothing_sent(&mut self) -> &mut Self {
        let pdus = self.pdus();
        assert!(pdus.is_empty(), "{pdus:?}");
        self
    }

    #[track_caller]
    pub fn expect_no_event(&mut self) -> &mut Self {
        let event = self.target.poll_event();
        assert!(event.is_none(), "{event:?}");
        self
    }

    #[track_caller]
    pub fn expect_command(&mut self) -> ScsiCommand {
        match self.target.poll_event() {
            Some(Event::Command(command)) => command,
            other => panic!("a command, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_task_management(&mut self) -> (TmfId, TmfFunction) {
        match self.target.poll_event() {
            Some(Event::TaskManagement { id, function }) => (id, function),
            other => panic!("task management, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn expect_closed(&mut self, reason: CloseReason) {
        match self.target.poll_event() {
            Some(Event::Closed(why)) => assert_eq!(why, reason),
            other => panic!("an end, not {other:?}"),
        }
        assert!(self.target.is_closed());
        self.expect_no_event();
    }

    #[track_caller]
    pub fn expect_reject(&mut self, reason: RejectReason, bad: &Header) {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::Reject);
        assert_eq!(Reject::decode(&pdu.header), Some(Reject { reason }));
        assert_eq!(pdu.data, bad.as_bytes(), "the bad header comes back");
    }

    #[track_caller]
    pub fn expect_r2ts(&mut self) -> Vec<R2t> {
        let pdus = self.pdus();
        pdus.iter()
            .map(|pdu| {
                assert_eq!(pdu.opcode(), Opcode::R2t);
                R2t::decode(&pdu.header)
            })
            .collect()
    }

    #[track_caller]
    pub fn expect_response(&mut self) -> (ScsiResponse, Vec<u8>) {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::ScsiResponse);
        let sense = match pdu.data.split_at_checked(2) {
            Some((len, sense)) => {
                assert_eq!(usize::from(u16::from_be_bytes([len[0], len[1]])), sense.len());
                sense.to_vec()
            }
            None => Vec::new(),
        };
        (ScsiResponse::decode(&pdu.header), sense)
    }

    #[track_caller]
    pub fn expect_task_response(&mut self) -> TaskResponse {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::TaskResponse);
        TaskResponse::decode(&pdu.header)
    }

    #[track_caller]
    pub fn expect_text(&mut self) -> (TextResponse, Vec<u8>) {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::TextResponse);
        (TextResponse::decode(&pdu.header), pdu.data)
    }

    #[track_caller]
    pub fn expect_logout(&mut self) -> LogoutResponse {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::LogoutResponse);
        LogoutResponse::decode(&pdu.header)
    }

    #[track_caller]
    pub fn expect_nop_in(&mut self) -> (NopIn, Vec<u8>) {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::NopIn);
        (NopIn::decode(&pdu.header), pdu.data)
    }

    #[track_caller]
    pub fn expect_async(&mut self) -> AsyncMessage {
        let pdu = self.one();
        assert_eq!(pdu.opcode(), Opcode::AsyncMessage);
        AsyncMessage::decode(&pdu.header).expect("a known event")
    }

    // ---- the device side ----

    pub fn good(&mut self, task: TaskId) {
        self.target.complete(task, Outcome::default());
    }

    pub fn good_write(&mut self, task: TaskId, wanted: u64) {
        self.target.complete(task, Outcome { data_out_wanted: wanted, ..Outcome::default() });
    }

    pub fn good_read(&mut self, task: TaskId, data: Vec<Bytes>) {
        self.target.complete(task, Outcome { data_in: data, ..Outcome::default() });
    }
}

/// Bytes in which every position can be told from its neighbours.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0]).collect()
}

pub fn joined(pieces: &[Bytes]) -> Vec<u8> {
    pieces.iter().flatten().copied().collect()
}

/// Answers the target's offers with what it offered, unless the initiator has said so already.
fn agree_to(answer: &str, said: &[(&'static str, String)]) -> String {
    let mut text = String::new();
    for (key, value) in answer.split('\0').filter_map(|pair| pair.split_once('=')) {
        let is_negotiated = [
            "MaxBurstLength",
            "FirstBurstLength",
            "MaxOutstandingR2T",
            "InitialR2T",
            "ImmediateData",
            "HeaderDigest",
            "DataDigest",
            "DefaultTime2Wait",
            "DefaultTime2Retain",
        ]
        .contains(&key);
        if is_negotiated && !said.iter().any(|(s, _)| *s == key) {
            text += &format!("{key}={value}\0");
        }
    }
    text
}
