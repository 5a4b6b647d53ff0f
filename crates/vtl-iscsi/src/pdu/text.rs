//! Text Request and Text Response (RFC 7143, 11.10 and 11.11).

use super::header::{Header, Numbers};

/// Text Request, 04h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextRequest {
    /// The I bit.
    pub immediate: bool,
    /// F: the initiator has said all it wants to say.
    pub last: bool,
    /// C: the keys continue in the next request.
    pub continues: bool,
    /// Given back from the response before.
    pub lun: u64,
    /// This exchange's tag.
    pub task_tag: u32,
    /// From the response before; [`super::RESERVED_TAG`] opens an exchange.
    pub transfer_tag: u32,
    /// Place in the command order.
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
}

impl TextRequest {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            immediate: h.immediate(),
            last: h.flags() & 0x80 != 0,
            continues: h.flags() & 0x40 != 0,
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            transfer_tag: h.u32::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let flags = u8::from(self.last) << 7 | u8::from(self.continues) << 6;
        let mut h = Header::new(0x04 | u8::from(self.immediate) << 6, flags);
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.transfer_tag);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h
    }
}

/// Text Response, 24h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextResponse {
    /// F: the exchange is over.
    pub last: bool,
    /// C: the keys continue in the next response.
    pub continues: bool,
    /// As in the request.
    pub task_tag: u32,
    /// Names the exchange while it goes on; [`super::RESERVED_TAG`] ends it.
    pub transfer_tag: u32,
}

impl TextResponse {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            last: h.flags() & 0x80 != 0,
            continues: h.flags() & 0x40 != 0,
            task_tag: h.task_tag(),
            transfer_tag: h.u32::<20>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x24, u8::from(self.last) << 7 | u8::from(self.continues) << 6);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.transfer_tag);
        numbers.put(&mut h);
        h
    }
}
