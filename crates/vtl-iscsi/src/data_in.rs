//! Sending the data of a read (RFC 7143, 11.7): cut by the initiator's MaxRecvDataSegmentLength, F at
//! the end of each MaxBurstLength, the status in the last PDU when it is GOOD.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::pdu::{DataIn, DataInStatus, ScsiResponse};
use crate::tasks::TaskName;

/// How data to the initiator is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataInLimits {
    pub max_segment: u32,
    pub max_burst: u32,
}

/// What follows the last data.
#[derive(Debug)]
pub(crate) enum Finish {
    /// The last Data-In carries the status.
    Collapsed(DataInStatus),
    /// A SCSI Response follows, with this sense data.
    Response(ScsiResponse, Vec<u8>),
}

/// The data and status of one command on their way out.
#[derive(Debug)]
pub(crate) struct DataInStream {
    pub name: TaskName,
    pieces: alloc::vec::IntoIter<Bytes>,
    /// What is left of the piece in hand.
    piece: Bytes,
    offset: u32,
    left: u32,
    data_sn: u32,
    pub finish: Finish,
}

impl DataInStream {
    /// Sends the first `len` bytes of `pieces`, which are at least that long, and not nothing.
    pub(crate) fn new(name: TaskName, pieces: Vec<Bytes>, len: u32, finish: Finish) -> Self {
        let pieces = pieces.into_iter();
        Self { name, pieces, piece: Bytes::new(), offset: 0, left: len, data_sn: 0, finish }
    }

    /// Bytes of data not yet sent.
    pub(crate) const fn left(&self) -> u32 {
        self.left
    }

    /// Data-In PDUs sent.
    pub(crate) const fn data_sn(&self) -> u32 {
        self.data_sn
    }

    /// The next PDU: its meaning and the length of its data. Nothing once all data is sent.
    pub(crate) fn next_pdu(&mut self, limits: DataInLimits) -> Option<(DataIn, u32)> {
        if self.left == 0 {
            return None;
        }
        let burst_left = limits.max_burst.max(1) - self.offset % limits.max_burst.max(1);
        let len = self.left.min(limits.max_segment.max(1)).min(burst_left);
        self.left -= len;
        let status = match self.finish {
            Finish::Collapsed(status) if self.left == 0 => Some(status),
            _ => None,
        };
        let pdu = DataIn {
            last: self.left == 0 || len == burst_left,
            status,
            task_tag: self.name.tag,
            data_sn: self.data_sn,
            offset: self.offset,
        };
        self.offset = self.offset.saturating_add(len);
        self.data_sn = self.data_sn.wrapping_add(1);
        Some((pdu, len))
    }

    /// Appends the pieces that make up the next `len` bytes.
    pub(crate) fn take_data(&mut self, mut len: usize, out: &mut Vec<Bytes>) {
        while len > 0 {
            if self.piece.is_empty() {
                match self.pieces.next() {
                    Some(piece) => self.piece = piece,
                    None => return,
                }
                continue;
            }
            let part = self.piece.split_to(len.min(self.piece.len()));
            len -= part.len();
            out.push(part);
        }
    }
}
