//! Data-Out, Data-In, R2T and SNACK (RFC 7143, 11.7, 11.8 and 11.16).

use super::Malformed;
use super::command::Residual;
use super::header::{Header, Numbers, RESERVED_TAG};
use super::reject::RejectReason;

/// SCSI Data-Out, 05h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataOut {
    /// F: the last of its sequence.
    pub last: bool,
    /// Logical unit; as in the R2T when it answers one.
    pub lun: u64,
    /// The command's tag.
    pub task_tag: u32,
    /// The R2T's tag; [`RESERVED_TAG`] in unsolicited data.
    pub transfer_tag: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
    /// Counts from 0 within the sequence.
    pub data_sn: u32,
    /// Where in the command's data this piece lies.
    pub offset: u32,
}

impl DataOut {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            last: h.flags() & 0x80 != 0,
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            transfer_tag: h.u32::<20>(),
            exp_stat_sn: h.u32::<28>(),
            data_sn: h.u32::<36>(),
            offset: h.u32::<40>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let mut h = Header::new(0x05, u8::from(self.last) << 7);
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.transfer_tag);
        h.put_u32::<28>(self.exp_stat_sn);
        h.put_u32::<36>(self.data_sn);
        h.put_u32::<40>(self.offset);
        h
    }
}

/// The status that the last Data-In of a command can carry (S bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataInStatus {
    /// SAM status, without sense.
    pub status: u8,
    /// What did not move.
    pub residual: Residual,
}

/// SCSI Data-In, 25h. Without status its StatSN is reserved. The A bit is for error recovery levels above 0 and
/// is never set here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataIn {
    /// F: the last of its sequence.
    pub last: bool,
    /// S, and what comes with it.
    pub status: Option<DataInStatus>,
    /// The command's tag.
    pub task_tag: u32,
    /// Counts from 0 within the command.
    pub data_sn: u32,
    /// Where in the command's data this piece lies.
    pub offset: u32,
}

impl DataIn {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        let flags = h.flags();
        let status = match flags & 0x01 {
            0 => None,
            _ => Some(DataInStatus { status: h.u8::<3>(), residual: Residual::decode(flags, h.u32::<44>()) }),
        };
        Self {
            last: flags & 0x80 != 0,
            status,
            task_tag: h.task_tag(),
            data_sn: h.u32::<36>(),
            offset: h.u32::<40>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x25, u8::from(self.last) << 7);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(RESERVED_TAG);
        match self.status {
            None => Numbers { stat: 0, ..numbers }.put(&mut h),
            Some(DataInStatus { status, residual }) => {
                let flags = h.flags() | 0x01 | residual.flags();
                h.put::<1, 1>([flags]);
                h.put::<3, 1>([status]);
                h.put_u32::<44>(residual.count());
                numbers.put(&mut h);
            }
        }
        h.put_u32::<36>(self.data_sn);
        h.put_u32::<40>(self.offset);
        h
    }
}

/// Ready To Transfer, 31h. Its StatSN is the next one and is not used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct R2t {
    /// As in the command.
    pub lun: u64,
    /// The command's tag.
    pub task_tag: u32,
    /// To be given back in the Data-Out that answer.
    pub transfer_tag: u32,
    /// Counts from 0 within the command.
    pub r2t_sn: u32,
    /// Where in the command's data the wanted piece starts.
    pub offset: u32,
    /// Bytes wanted, 1 to MaxBurstLength.
    pub len: u32,
}

impl R2t {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self {
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            transfer_tag: h.u32::<20>(),
            r2t_sn: h.u32::<36>(),
            offset: h.u32::<40>(),
            len: h.u32::<44>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x31, 0x80);
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.transfer_tag);
        numbers.put(&mut h);
        h.put_u32::<36>(self.r2t_sn);
        h.put_u32::<40>(self.offset);
        h.put_u32::<44>(self.len);
        h
    }
}

/// SNACK Request, 10h. Error recovery level 0 refuses it; only what the refusal needs is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snack {
    /// 0 Data/R2T, 1 status, 2 DataACK, 3 R-Data.
    pub kind: u8,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
}

impl Snack {
    /// Reads the header.
    ///
    /// # Errors
    /// A type that does not exist.
    pub const fn decode(h: &Header) -> Result<Self, Malformed> {
        match h.flags() & 0x0f {
            kind @ 0..=3 => Ok(Self { kind, exp_stat_sn: h.u32::<28>() }),
            _ => Err(Malformed(RejectReason::InvalidPduField)),
        }
    }
}
