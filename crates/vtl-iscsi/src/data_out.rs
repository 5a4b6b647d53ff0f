//! Gathering the data of a write: immediate, unsolicited and solicited (RFC 7143, 11.7 and 11.8).
//!
//! ```text
//!            F clear                     F
//! command ------------> Unsolicited -----------> Solicited --------> complete
//!    |        F                                     ^    | R2T, Data-Out .. F
//!    +----------------------------------------------+    +--> up to MaxOutstandingR2T at once
//! ```
//! DataPDUInOrder and DataSequenceInOrder are Yes, so every piece must start where the one before ended, and
//! sequences are answered in the order they were asked for.
//!
//! A gathering that went wrong goes on in `Discard`: nothing more is asked for and nothing kept, but what was
//! asked for is awaited, because the status must not overtake it (RFC 7143, 11.17).

use alloc::{collections::VecDeque, vec::Vec};
use core::cmp::Ordering;

use bytes::Bytes;

use crate::framing::SMALL_DATA;
use crate::pdu::{DataOut, RESERVED_TAG};

/// What is wrong with a piece of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFault {
    /// The command cannot be served, the connection can: see [`Condition`].
    Command(Condition),
    /// The peer does not keep to the order of PDUs; nothing after this can be trusted.
    Protocol,
}

/// The iSCSI conditions that end a command with CHECK CONDITION (RFC 7143, 11.4.7.2), and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Data that was not asked for and not agreed upon.
    UnexpectedUnsolicited,
    /// More data than was agreed upon, or less than was asked for.
    IncorrectAmount,
    /// A data segment did not match its digest, or was lost.
    CrcError,
    /// A CDB of more than 16 bytes, or data in both directions.
    UnsupportedCommand,
    /// More data in one command than this target ever holds.
    TooMuchData,
}

impl Condition {
    /// Sense key, ASC, ASCQ: the only place these numbers stand.
    const fn code(self) -> (u8, u8, u8) {
        match self {
            Self::UnexpectedUnsolicited => (0x0b, 0x0c, 0x0c),
            Self::IncorrectAmount => (0x0b, 0x0c, 0x0d),
            Self::CrcError => (0x0b, 0x47, 0x05),
            Self::UnsupportedCommand => (0x05, 0x20, 0x00),
            Self::TooMuchData => (0x05, 0x24, 0x00),
        }
    }

    /// Fixed format sense data (SPC-4).
    pub(crate) const fn sense(self) -> [u8; 18] {
        let (key, asc, ascq) = self.code();
        [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0]
    }
}

/// How much of what may come unasked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataLimits {
    pub first_burst: u32,
    pub max_burst: u32,
    pub max_outstanding_r2t: u16,
    pub initial_r2t: bool,
    pub immediate_data: bool,
}

/// One R2T that is being answered.
#[derive(Debug)]
struct Burst {
    transfer_tag: u32,
    end: u32,
    data_sn: u32,
}

/// One R2T to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub r2t_sn: u32,
    pub offset: u32,
    pub len: u32,
}

/// Small pieces are put together until they have this many bytes.
const JOINED_BYTES: usize = 65_536;

/// The data of one command on its way in.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    pieces: Vec<Bytes>,
    /// Small pieces behind those, one after the other: a million of one byte each must not be a million allocations.
    joined: Vec<u8>,
    /// Everything before this offset has come.
    received: u32,
    expected: u32,
    /// Everything before this offset has come or was asked for.
    asked: u32,
    r2t_sn: u32,
    /// The next DataSN of the unsolicited sequence while it is open.
    unsolicited: Option<u32>,
    open: VecDeque<Burst>,
    discard: bool,
}

impl Gather {
    /// Starts with what came in the command itself. `more`: F was clear, unsolicited Data-Out follow.
    pub(crate) fn start(
        expected: u32,
        immediate: Bytes,
        more: bool,
        limits: DataLimits,
    ) -> (Self, Option<Condition>) {
        let mut gather = Self { expected, unsolicited: more.then_some(0), ..Self::default() };
        let len = immediate.len() as u64;
        let fault = if len > 0 && !limits.immediate_data || more && limits.initial_r2t {
            Some(Condition::UnexpectedUnsolicited)
        } else if len > u64::from(limits.first_burst.min(expected)) {
            Some(Condition::IncorrectAmount)
        } else {
            None
        };
        match fault {
            Some(_) => gather.give_up(),
            None => gather.keep(immediate),
        }
        gather.asked = gather.received;
        (gather, fault)
    }

    /// Takes one Data-Out. `intact`: its digest matched.
    pub(crate) fn take(
        &mut self,
        pdu: &DataOut,
        data: Bytes,
        intact: bool,
        limits: DataLimits,
    ) -> Result<(), DataFault> {
        if self.discard {
            return self.swallow(pdu);
        }
        let taken = match pdu.transfer_tag {
            RESERVED_TAG => self.take_unsolicited(pdu, data, intact, limits),
            _ => self.take_solicited(pdu, data, intact),
        };
        if taken.is_err() {
            self.give_up();
        }
        taken
    }

    fn take_unsolicited(
        &mut self,
        pdu: &DataOut,
        data: Bytes,
        intact: bool,
        limits: DataLimits,
    ) -> Result<(), DataFault> {
        let next = self.unsolicited.ok_or(DataFault::Protocol)?;
        self.unsolicited = if pdu.last { None } else { Some(next.wrapping_add(1)) };
        in_sequence(pdu, next)?;
        let end = self.end_of(pdu, &data)?;
        if end > limits.first_burst.min(self.expected) {
            return Err(DataFault::Command(Condition::IncorrectAmount));
        }
        self.asked = end;
        self.accept(data, intact)
    }

    fn take_solicited(&mut self, pdu: &DataOut, data: Bytes, intact: bool) -> Result<(), DataFault> {
        let burst = self.open.front_mut().filter(|b| b.transfer_tag == pdu.transfer_tag);
        let burst = burst.ok_or(DataFault::Protocol)?;
        let (next, burst_end) = (burst.data_sn, burst.end);
        burst.data_sn = next.wrapping_add(1);
        if pdu.last {
            self.open.pop_front();
        }
        in_sequence(pdu, next)?;
        let end = self.end_of(pdu, &data)?;
        match (end.cmp(&burst_end), pdu.last) {
            (Ordering::Less, true) => Err(DataFault::Command(Condition::IncorrectAmount)),
            (Ordering::Less, false) | (Ordering::Equal, true) => self.accept(data, intact),
            (Ordering::Equal, false) | (Ordering::Greater, _) => Err(DataFault::Protocol),
        }
    }

    /// Given up: only the ends of what was promised count.
    fn swallow(&mut self, pdu: &DataOut) -> Result<(), DataFault> {
        if pdu.transfer_tag == RESERVED_TAG {
            self.unsolicited.ok_or(DataFault::Protocol)?;
            self.unsolicited = self.unsolicited.filter(|_| !pdu.last);
        } else {
            let at = self.open.iter().position(|burst| burst.transfer_tag == pdu.transfer_tag);
            let at = at.ok_or(DataFault::Protocol)?;
            if pdu.last {
                self.open.remove(at);
            }
        }
        Ok(())
    }

    /// Where a piece ends; it must start where the one before it ended.
    fn end_of(&self, pdu: &DataOut, data: &Bytes) -> Result<u32, DataFault> {
        let len = u32::try_from(data.len()).map_err(|_| DataFault::Protocol)?;
        let end = pdu.offset.checked_add(len).ok_or(DataFault::Protocol)?;
        if pdu.offset == self.received { Ok(end) } else { Err(DataFault::Protocol) }
    }

    fn accept(&mut self, data: Bytes, intact: bool) -> Result<(), DataFault> {
        if !intact {
            return Err(DataFault::Command(Condition::CrcError));
        }
        self.keep(data);
        Ok(())
    }

    fn keep(&mut self, data: Bytes) {
        self.received = self.received.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
        let is_all = data.len() == self.expected as usize;
        if data.len() >= SMALL_DATA || is_all && !data.is_empty() {
            self.join();
            self.pieces.push(data);
        } else {
            self.joined.extend_from_slice(&data);
            if self.joined.len() >= JOINED_BYTES {
                self.join();
            }
        }
    }

    /// The small pieces so far become one.
    fn join(&mut self) {
        if !self.joined.is_empty() {
            self.pieces.push(core::mem::take(&mut self.joined).into());
        }
    }

    /// Keeps nothing and asks for nothing any more.
    pub(crate) fn give_up(&mut self) {
        self.discard = true;
        (self.pieces, self.joined) = (Vec::new(), Vec::new());
    }

    /// The length of the next R2T, if one is due.
    pub(crate) fn due(&self, limits: DataLimits) -> Option<u32> {
        let is_due = !self.discard
            && self.unsolicited.is_none()
            && self.asked < self.expected
            && self.open.len() < usize::from(limits.max_outstanding_r2t.max(1));
        is_due.then(|| limits.max_burst.min(self.expected.saturating_sub(self.asked)))
    }

    /// Notes that the due R2T of `len` bytes goes out under `transfer_tag`.
    pub(crate) fn ask(&mut self, len: u32, transfer_tag: u32) -> Wanted {
        let wanted = Wanted { r2t_sn: self.r2t_sn, offset: self.asked, len };
        self.asked = self.asked.saturating_add(len);
        self.r2t_sn = self.r2t_sn.wrapping_add(1);
        self.open.push_back(Burst { transfer_tag, end: self.asked, data_sn: 0 });
        wanted
    }

    /// True when nothing more is to come: all data, or, given up, all that was asked for.
    pub(crate) fn is_complete(&self) -> bool {
        self.unsolicited.is_none() && self.open.is_empty() && (self.discard || self.received == self.expected)
    }

    /// The gathered data.
    pub(crate) fn into_pieces(mut self) -> Vec<Bytes> {
        self.join();
        self.pieces
    }
}

/// A number that was skipped or comes twice means that data was lost on the way, as a digest error does (RFC 7143,
/// 7.9): the command ends, the connection does not.
fn in_sequence(pdu: &DataOut, next: u32) -> Result<(), DataFault> {
    if pdu.data_sn == next { Ok(()) } else { Err(DataFault::Command(Condition::CrcError)) }
}
