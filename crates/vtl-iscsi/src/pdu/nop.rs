//! NOP-Out and NOP-In (RFC 7143, 11.18 and 11.19).

use super::header::{Header, Numbers, RESERVED_TAG};

/// NOP-Out, 00h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NopOut {
    /// The I bit.
    pub immediate: bool,
    /// As in the NOP-In it answers.
    pub lun: u64,
    /// [`RESERVED_TAG`]: no answer wanted.
    pub task_tag: u32,
    /// As in the NOP-In it answers; [`RESERVED_TAG`]: it answers none.
    pub transfer_tag: u32,
    /// Place in the command order.
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
}

impl NopOut {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            immediate: h.immediate(),
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            transfer_tag: h.u32::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let mut h = Header::new(u8::from(self.immediate) << 6, 0x80);
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.transfer_tag);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h
    }
}

/// NOP-In, 20h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NopIn {
    /// The answer to a NOP-Out: its tag and its data. Uses up a StatSN.
    Echo {
        /// As in the NOP-Out.
        task_tag: u32,
    },
    /// Asks whether the initiator is alive. Does not use up its StatSN.
    Ping {
        /// To be given back.
        transfer_tag: u32,
    },
}

impl NopIn {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        match h.task_tag() {
            RESERVED_TAG => Self::Ping { transfer_tag: h.u32::<20>() },
            task_tag => Self::Echo { task_tag },
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let (task_tag, transfer_tag) = match *self {
            Self::Echo { task_tag } => (task_tag, RESERVED_TAG),
            Self::Ping { transfer_tag } => (RESERVED_TAG, transfer_tag),
        };
        let mut h = Header::new(0x20, 0x80);
        h.put_u32::<16>(task_tag);
        h.put_u32::<20>(transfer_tag);
        numbers.put(&mut h);
        h
    }
}
