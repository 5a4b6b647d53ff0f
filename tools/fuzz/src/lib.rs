//! What the fuzz targets share: a source of decisions, devices in memory, an iSCSI connection that is logged in.

pub mod devices;
pub mod disk;
pub mod tape;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use vtl_iscsi::config::{Limits, Portal, TargetConfig};
use vtl_iscsi::event::{Admission, Event, Outcome, TmfResponse};
use vtl_iscsi::{Connection, Instant};

const TARGET: &str = "iqn.2026-11.test.example:target";

/// The fuzzer's bytes, taken from the front.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// At most `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub fn word(&mut self) -> usize {
        self.take(2).iter().fold(0, |word, b| word << 8 | usize::from(*b))
    }
}

/// A connection and the device side that answers whatever it is asked.
pub struct Peer {
    connection: Connection,
    wire: BytesMut,
    now_ns: u64,
    /// Bytes that came out.
    pub sent: Vec<u8>,
}

impl Peer {
    pub fn new() -> Self {
        let target = TargetConfig {
            name: TARGET.into(),
            alias: None,
            portal_group_tag: 1,
            auth: Default::default(),
            initiators: None,
            portals: Vec::new(),
        };
        let limits = Limits { max_bytes_in_flight: 1 << 20, command_window: 8, ..Limits::default() };
        let portal = Portal { targets: vec![target], discovery_auth: Default::default(), limits };
        let random = Box::new(|bytes: &mut [u8]| bytes.fill(1));
        let start = Instant::from_nanos(0);
        let connection =
            Connection::new(Arc::new(portal), "127.0.0.1:3260".into(), crc32c::crc32c_append, random, start);
        Self { connection, wire: BytesMut::new(), now_ns: 0, sent: Vec::new() }
    }

    /// One that is in full feature phase.
    pub fn logged_in() -> Self {
        let mut peer = Self::new();
        let text = format!(
            "InitiatorName=iqn.2026-11.test.example:host\0TargetName={TARGET}\0SessionType=Normal\0\
             InitialR2T=No\0ImmediateData=Yes\0MaxOutstandingR2T=4\0MaxRecvDataSegmentLength=8192\0"
        );
        let mut header = [0_u8; 48];
        (header[0], header[1], header[13]) = (0x43, 0x87, 1);
        header[5..8].copy_from_slice(&(text.len() as u32).to_be_bytes()[1..]);
        let mut bytes = [&header[..], text.as_bytes()].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        peer.feed(&bytes);
        assert!(peer.connection.session().is_some(), "this login is a good one");
        peer
    }

    /// Bytes as from a socket; everything that can be done is done.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.wire.extend_from_slice(bytes);
        for _ in 0..10_000 {
            let before = self.wire.len();
            if self.connection.wants_input() {
                self.connection.receive(&mut self.wire, Instant::from_nanos(self.now_ns));
            }
            let acted = self.act();
            if self.connection.is_closed() || (!acted && self.wire.len() == before) {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    pub fn wait(&mut self, ns: u64) {
        self.now_ns = self.now_ns.saturating_add(ns);
        self.connection.handle_timeout(Instant::from_nanos(self.now_ns));
        self.act();
    }

    pub fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    fn act(&mut self) -> bool {
        let mut acted = false;
        while let Some(event) = self.connection.poll_event() {
            acted = true;
            match event {
                Event::Admit(_) => self.connection.admit(Admission::Accept { tsih: 7 }),
                Event::Command(command) => {
                    assert_eq!(
                        command.data_out.iter().map(Bytes::len).sum::<usize>(),
                        if command.write { command.expected_len as usize } else { 0 },
                        "a command comes with all its data"
                    );
                    let yielded = usize::from(command.cdb[1]) * 97;
                    let outcome = Outcome {
                        status: command.cdb[0] & 2,
                        data_in: vec![Bytes::from(vec![0x5a; yielded])],
                        data_out_wanted: u64::from(command.cdb[2]),
                        ..Outcome::default()
                    };
                    self.connection.complete(command.task, outcome);
                }
                Event::TaskManagement { id, .. } => {
                    self.connection.task_management_done(id, TmfResponse::Complete);
                }
                Event::LoggedIn | Event::LoggedOut | Event::Closed(_) => {}
            }
        }
        let mut out = Vec::new();
        while self.connection.poll_transmit(&mut out) {
            acted = true;
            self.sent.extend(out.drain(..).flatten());
            self.connection.transmitted(Instant::from_nanos(self.now_ns));
        }
        acted
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}
