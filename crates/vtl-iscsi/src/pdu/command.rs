//! SCSI Command and SCSI Response (RFC 7143, 11.3 and 11.4).

use super::Malformed;
use super::header::{Header, Numbers};
use super::reject::RejectReason;

/// The task attribute of a command (RFC 7143, 11.3.1.2; SAM-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// 0: none given.
    Untagged,
    /// 1: in the order of arrival.
    Simple,
    /// 2: after everything before, before everything after.
    Ordered,
    /// 3: before everything that waits.
    HeadOfQueue,
    /// 4: allowed while an auto contingent allegiance holds.
    Aca,
}

impl Attribute {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Untagged),
            1 => Some(Self::Simple),
            2 => Some(Self::Ordered),
            3 => Some(Self::HeadOfQueue),
            4 => Some(Self::Aca),
            _ => None,
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Untagged => 0,
            Self::Simple => 1,
            Self::Ordered => 2,
            Self::HeadOfQueue => 3,
            Self::Aca => 4,
        }
    }
}

/// SCSI Command, 01h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiRequest {
    /// The I bit.
    pub immediate: bool,
    /// F: no unsolicited Data-Out follows.
    pub last: bool,
    /// R: data to the initiator is expected.
    pub read: bool,
    /// W: data from the initiator is expected.
    pub write: bool,
    /// ATTR.
    pub attribute: Attribute,
    /// Logical unit, as SAM writes it.
    pub lun: u64,
    /// Initiator task tag.
    pub task_tag: u32,
    /// Expected data transfer length in bytes; of the write, when both directions are set.
    pub expected_len: u32,
    /// Place in the command order.
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
    /// The CDB, padded with zero, or the first 16 bytes of a longer one.
    pub cdb: [u8; 16],
}

impl ScsiRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// An attribute that does not exist; a command without data direction and F that promises data.
    pub const fn decode(h: &Header) -> Result<Self, Malformed> {
        let flags = h.flags();
        let Some(attribute) = Attribute::from_code(flags & 0b111) else {
            return Err(Malformed(RejectReason::InvalidPduField));
        };
        let (last, write) = (flags & 0x80 != 0, flags & 0x20 != 0);
        if !last && !write {
            // 11.3.1.1: F is 1 unless unsolicited data follows, which only a write can have.
            return Err(Malformed(RejectReason::InvalidPduField));
        }
        Ok(Self {
            immediate: h.immediate(),
            last,
            read: flags & 0x40 != 0,
            write,
            attribute,
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            expected_len: h.u32::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
            cdb: h.get::<32, 16>(),
        })
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let flags = u8::from(self.last) << 7
            | u8::from(self.read) << 6
            | u8::from(self.write) << 5
            | self.attribute.code();
        let mut h = Header::new(0x01 | u8::from(self.immediate) << 6, flags);
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.expected_len);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h.put::<32, 16>(self.cdb);
        h
    }
}

/// How the data moved differs from what the initiator expected (RFC 7143, 11.4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// As expected.
    None,
    /// U: this many bytes of the expected ones did not move.
    Underflow(u32),
    /// O: this many bytes more would have moved.
    Overflow(u32),
}

impl Residual {
    /// The residual of a transfer that wanted to move `wanted` bytes of `expected`.
    pub fn new(expected: u32, wanted: u64) -> Self {
        match u64::from(expected).checked_sub(wanted) {
            Some(0) => Self::None,
            Some(left) => Self::Underflow(u32::try_from(left).unwrap_or(expected)),
            None => {
                Self::Overflow(u32::try_from(wanted.saturating_sub(u64::from(expected))).unwrap_or(u32::MAX))
            }
        }
    }

    /// Reads the bits O (04h) and U (02h) and the count that goes with them.
    pub(super) const fn decode(flags: u8, count: u32) -> Self {
        match flags & 0b110 {
            0b100 => Self::Overflow(count),
            0b010 => Self::Underflow(count),
            _ => Self::None,
        }
    }

    pub(super) const fn flags(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Underflow(_) => 0b010,
            Self::Overflow(_) => 0b100,
        }
    }

    pub(super) const fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Underflow(n) | Self::Overflow(n) => n,
        }
    }
}

/// SCSI Response, 21h. Its data segment is the length of the sense data in two bytes, then the sense data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// As in the command.
    pub task_tag: u32,
    /// 00h: the command ran and `status` counts; 01h: target failure.
    pub response: u8,
    /// SAM status.
    pub status: u8,
    /// Data-In and R2T PDUs sent for the command.
    pub exp_data_sn: u32,
    /// What did not move.
    pub residual: Residual,
}

impl ScsiResponse {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            task_tag: h.task_tag(),
            response: h.u8::<2>(),
            status: h.u8::<3>(),
            exp_data_sn: h.u32::<36>(),
            residual: Residual::decode(h.flags(), h.u32::<44>()),
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x21, 0x80 | self.residual.flags());
        h.put::<2, 2>([self.response, self.status]);
        h.put_u32::<16>(self.task_tag);
        numbers.put(&mut h);
        h.put_u32::<36>(self.exp_data_sn);
        h.put_u32::<44>(self.residual.count());
        h
    }
}
