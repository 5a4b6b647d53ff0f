//! What goes into a device and what comes out of it.

use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::net::IpAddr;

use crate::sense::{Check, Sense, SenseFormat};

/// Nanoseconds since some fixed moment, handed in by the driver: this crate has no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

/// One I_T nexus as the transport numbers it, for as long as the session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NexusId(pub u64);

/// The initiator port behind a nexus. Persistent reservations belong to it and outlive the nexus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InitiatorPort {
    /// iSCSI initiator name, such as `iqn.1993-08.org.debian:01:abc`.
    pub name: String,
    /// Initiator session id: the second part of an iSCSI initiator port's name.
    pub isid: [u8; 6],
    /// Relative target port through which it came.
    pub target_port: u16,
}

/// A command descriptor block: 6, 10, 12 or 16 bytes, padded with zeros by the transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cdb(pub [u8; 16]);

impl Cdb {
    /// A block from its significant bytes; what is missing is zero.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut cdb = [0; 16];
        for (to, from) in cdb.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(cdb)
    }

    /// Operation code.
    #[must_use]
    pub const fn opcode(&self) -> u8 {
        self.0[0]
    }
}

/// A command with all its data.
#[derive(Clone, Debug)]
pub struct Command {
    /// Who sent it.
    pub nexus: NexusId,
    /// Where it came from, if the transport has addresses.
    pub from: Option<IpAddr>,
    /// What is asked.
    pub cdb: Cdb,
    /// Everything that the initiator sent, in order; pieces as they came from the socket.
    pub data_out: Vec<Bytes>,
    /// When it arrived.
    pub now: Instant,
}

impl Command {
    /// Bytes of Data-Out.
    #[must_use]
    pub fn data_out_len(&self) -> usize {
        self.data_out.iter().map(Bytes::len).sum()
    }

    /// The first `limit` bytes of Data-Out in one piece: for parameter lists, which are small.
    #[must_use]
    pub fn parameter_list(&self, limit: usize) -> Vec<u8> {
        self.data_out.iter().flat_map(|piece| piece.iter().copied()).take(limit).collect()
    }
}

/// SAM status codes that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// 00h.
    Good = 0x00,
    /// 02h, with sense data.
    CheckCondition = 0x02,
    /// 18h.
    ReservationConflict = 0x18,
}

/// Pieces of Data-In, in order, never copied together.
pub type DataIn = Vec<Bytes>;

/// The outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// SAM status.
    pub status: Status,
    /// Present with CHECK CONDITION.
    pub sense: Option<Sense>,
    /// Data for the initiator, at most what the CDB's allocation or transfer length allows. The transport cuts it to what the initiator expects
    /// and reports the difference as residual overflow or underflow.
    pub data_in: DataIn,
    /// Bytes of Data-Out that the CDB defines, less what sense data say was not taken. The transport compares it with what the initiator
    /// announced and reports the residual.
    pub data_out_wanted: u64,
}

impl Reply {
    /// GOOD, no data.
    #[must_use]
    pub const fn good() -> Self {
        Self { status: Status::Good, sense: None, data_in: Vec::new(), data_out_wanted: 0 }
    }

    /// GOOD with data.
    #[must_use]
    pub const fn data(data_in: DataIn) -> Self {
        Self { status: Status::Good, sense: None, data_in, data_out_wanted: 0 }
    }

    /// GOOD with one piece of data, cut to the CDB's allocation length.
    #[must_use]
    pub fn allocated(mut bytes: Vec<u8>, allocation_length: usize) -> Self {
        bytes.truncate(allocation_length);
        Self::data(alloc::vec![Bytes::from(bytes)])
    }

    /// CHECK CONDITION with the sense data of `check`.
    #[must_use]
    pub fn check(check: Check) -> Self {
        let sense = Some(Sense::from(check));
        Self { status: Status::CheckCondition, sense, data_in: Vec::new(), data_out_wanted: 0 }
    }

    /// CHECK CONDITION about an earlier command that had ended with GOOD; this one was not run.
    #[must_use]
    pub fn deferred(check: Check) -> Self {
        let sense = Some(Sense::deferred(check, SenseFormat::Fixed));
        Self { status: Status::CheckCondition, sense, data_in: Vec::new(), data_out_wanted: 0 }
    }

    /// A status without sense data.
    #[must_use]
    pub const fn status(status: Status) -> Self {
        Self { status, sense: None, data_in: Vec::new(), data_out_wanted: 0 }
    }

    /// The same reply for a command whose CDB defines `bytes` of Data-Out.
    #[must_use]
    pub const fn wanting(mut self, bytes: u64) -> Self {
        self.data_out_wanted = bytes;
        self
    }

    /// The same reply with data beside it: a tape block that came with CHECK CONDITION.
    #[must_use]
    pub fn with_data(mut self, data_in: DataIn) -> Self {
        self.data_in = data_in;
        self
    }
}

impl From<Check> for Reply {
    fn from(check: Check) -> Self {
        Self::check(check)
    }
}
