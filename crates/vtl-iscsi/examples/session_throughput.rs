//! What the protocol core costs without a socket: 256 KiB writes and reads at depth 32 through an in-memory pair.
//!
//! `cargo run --release -p vtl-iscsi --example session_throughput` prints nanoseconds per command. The initiator's part
//! (building requests, filling the receive buffer as a socket would) is measured alone and subtracted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a measurement, not a program")]

use std::sync::Arc;
use std::time::Instant as Clock;

use bytes::{Bytes, BytesMut};
use vtl_iscsi::config::{Limits, Portal, TargetConfig};
use vtl_iscsi::event::{Admission, Attribute, Event, Outcome};
use vtl_iscsi::pdu::{DataOut, Header, LoginRequest, RESERVED_TAG, ScsiRequest};
use vtl_iscsi::{Connection, Instant};

const TARGET: &str = "iqn.2026-01.invalid.example:library";
const DEPTH: u32 = 32;
const LEN: u32 = 256 << 10;
const ROUNDS: u32 = 400;

fn main() {
    for digests in [false, true] {
        let keys = if digests { "HeaderDigest=CRC32C\0DataDigest=CRC32C\0" } else { "" };
        let name = if digests { "CRC32C" } else { "no digests" };
        report("write, R2T", name, &mut Pair::new(keys, true), Pair::write_solicited);
        report("write, unsolicited", name, &mut Pair::new(keys, false), Pair::write_immediate);
        report("read", name, &mut Pair::new(keys, false), Pair::read);
    }
}

fn report(what: &str, digests: &str, pair: &mut Pair, round: fn(&mut Pair)) {
    round(pair);
    pair.outside_ns = 0;
    let start = Clock::now();
    (0..ROUNDS).for_each(|_| round(pair));
    let all_ns = start.elapsed().as_nanos() as u64;
    let commands = u64::from(ROUNDS * DEPTH);
    let core_ns = all_ns.saturating_sub(pair.outside_ns) / commands;
    let gib_per_s = f64::from(LEN) / core_ns as f64 * 1e9 / f64::from(1 << 30);
    println!(
        "{what:20} {digests:10} {core_ns:8} ns per 256 KiB command in the core ({gib_per_s:.1} GiB/s), {} ns with the pair",
        all_ns / commands
    );
}

struct Pair {
    target: Connection,
    wire: BytesMut,
    payload: Vec<u8>,
    yielded: Bytes,
    cmd_sn: u32,
    digests: bool,
    pieces: Vec<Bytes>,
    /// Time spent in the initiator's part.
    outside_ns: u64,
}

impl Pair {
    fn new(keys: &str, initial_r2t: bool) -> Self {
        let target = TargetConfig {
            name: TARGET.into(),
            alias: None,
            portal_group_tag: 1,
            auth: Default::default(),
            initiators: None,
            portals: Vec::new(),
        };
        let limits = Limits { initial_r2t, ..Limits::default() };
        let portal = Portal { targets: vec![target], discovery_auth: Default::default(), limits };
        let random = Box::new(|bytes: &mut [u8]| bytes.fill(1));
        let now = Instant::from_nanos(0);
        let target =
            Connection::new(Arc::new(portal), "[::1]:3260".into(), crc32c::crc32c_append, random, now);
        let mut pair = Self {
            target,
            wire: BytesMut::new(),
            payload: vec![0x42; LEN as usize],
            yielded: Bytes::from(vec![0x24; LEN as usize]),
            cmd_sn: 1,
            digests: false,
            pieces: Vec::new(),
            outside_ns: 0,
        };
        let yes_no = |yes| if yes { "Yes" } else { "No" };
        let text = format!(
            "InitiatorName=iqn.2026-01.invalid.example:host\0TargetName={TARGET}\0SessionType=Normal\0{keys}\
             InitialR2T={}\0ImmediateData={}\0MaxBurstLength=262144\0FirstBurstLength=262144\0MaxOutstandingR2T=1\0\
             MaxRecvDataSegmentLength=262144\0DefaultTime2Wait=2\0DefaultTime2Retain=0\0",
            yes_no(initial_r2t),
            yes_no(!initial_r2t),
        );
        let login = LoginRequest {
            immediate: true,
            transit: true,
            continues: false,
            current_stage: 1,
            next_stage: 3,
            version_max: 0,
            version_min: 0,
            isid: [0x80, 0, 0, 0, 0, 1],
            tsih: 0,
            task_tag: 0,
            cid: 0,
            cmd_sn: 1,
            exp_stat_sn: 0,
        };
        pair.send(login.encode(), text.as_bytes());
        let Some(Event::Admit(_)) = pair.target.poll_event() else { panic!("login") };
        pair.target.admit(Admission::Accept { tsih: 1 });
        let Some(Event::LoggedIn) = pair.target.poll_event() else { panic!("login") };
        pair.drain();
        pair.digests = !keys.is_empty();
        pair
    }

    /// Puts a PDU where a socket would have put it, piece by piece as the core asks, and lets the core take it.
    fn send(&mut self, mut header: Header, data: &[u8]) {
        let outside = Clock::now();
        assert!(header.set_data_len(data.len()));
        self.wire.reserve(64);
        self.wire.extend_from_slice(header.as_bytes());
        if self.digests {
            self.wire.extend_from_slice(&crc32c::crc32c(header.as_bytes()).to_le_bytes());
        }
        self.outside_ns += outside.elapsed().as_nanos() as u64;
        let now = Instant::from_nanos(0);
        self.target.receive(&mut self.wire, now);
        if data.is_empty() {
            return;
        }
        let outside = Clock::now();
        self.wire.reserve(self.target.bytes_needed(&self.wire));
        self.wire.extend_from_slice(data);
        self.wire.extend_from_slice(&[0; 3][..data.len().wrapping_neg() % 4]);
        let crc = self.digests.then(|| crc32c::crc32c(data).to_le_bytes());
        self.wire.extend_from_slice(crc.as_ref().map_or(&[][..], |crc| crc));
        self.outside_ns += outside.elapsed().as_nanos() as u64;
        self.target.receive(&mut self.wire, now);
    }

    fn drain(&mut self) {
        while self.target.poll_transmit(&mut self.pieces) {
            self.target.transmitted(Instant::from_nanos(0));
            self.pieces.clear();
        }
    }

    fn command(&mut self, tag: u32, write: bool) -> Header {
        let request = ScsiRequest {
            immediate: false,
            last: true,
            read: !write,
            write,
            attribute: Attribute::Simple,
            lun: 0,
            task_tag: tag,
            expected_len: LEN,
            cmd_sn: self.cmd_sn,
            exp_stat_sn: 0,
            cdb: [0; 16],
        };
        self.cmd_sn = self.cmd_sn.wrapping_add(1);
        request.encode()
    }

    fn write_solicited(&mut self) {
        let payload = std::mem::take(&mut self.payload);
        for tag in 0..DEPTH {
            let header = self.command(tag, true);
            self.send(header, b"");
        }
        let mut r2ts = Vec::new();
        while self.target.poll_transmit(&mut r2ts) {
            self.target.transmitted(Instant::from_nanos(0));
        }
        for piece in &r2ts {
            let Some(header) = piece.first_chunk::<48>() else { continue };
            let r2t = vtl_iscsi::pdu::R2t::decode(&Header::from_bytes(*header));
            let data_out = DataOut {
                last: true,
                lun: 0,
                task_tag: r2t.task_tag,
                transfer_tag: r2t.transfer_tag,
                exp_stat_sn: 0,
                data_sn: 0,
                offset: 0,
            };
            assert_ne!(r2t.transfer_tag, RESERVED_TAG);
            self.send(data_out.encode(), &payload);
        }
        self.payload = payload;
        self.serve();
    }

    fn write_immediate(&mut self) {
        let payload = std::mem::take(&mut self.payload);
        for tag in 0..DEPTH {
            let header = self.command(tag, true);
            self.send(header, &payload);
        }
        self.payload = payload;
        self.serve();
    }

    fn read(&mut self) {
        for tag in 0..DEPTH {
            let header = self.command(tag, false);
            self.send(header, b"");
        }
        self.serve();
    }

    fn serve(&mut self) {
        let mut served = 0;
        while let Some(event) = self.target.poll_event() {
            let Event::Command(command) = event else { panic!("a command") };
            let data_in = if command.read { vec![self.yielded.clone()] } else { Vec::new() };
            let data_out_wanted = command.data_out.iter().map(|piece| piece.len() as u64).sum();
            self.target.complete(command.task, Outcome { data_in, data_out_wanted, ..Outcome::default() });
            served += 1;
        }
        assert_eq!(served, DEPTH);
        self.drain();
    }
}
