//! Reject (RFC 7143, 11.17).

use super::header::{Header, Numbers, RESERVED_TAG};

/// Why a PDU comes back (RFC 7143, 11.17.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RejectReason {
    /// The data did not match its digest.
    DataDigestError = 0x02,
    /// Nothing can be sent again.
    SnackReject = 0x03,
    /// The PDU does not belong here.
    ProtocolError = 0x04,
    /// There is no such PDU, or not here.
    CommandNotSupported = 0x05,
    /// Too many immediate commands at once.
    TooManyImmediate = 0x06,
    /// A task with this tag runs already.
    TaskInProgress = 0x07,
    /// A DataACK that acknowledges nothing.
    InvalidDataAck = 0x08,
    /// A field has an impossible value.
    InvalidPduField = 0x09,
    /// Resources for an open target transfer tag are lacking.
    LongOperation = 0x0a,
    /// A logout is due, nothing else.
    WaitingForLogout = 0x0c,
}

impl RejectReason {
    const ALL: [Self; 10] = [
        Self::DataDigestError,
        Self::SnackReject,
        Self::ProtocolError,
        Self::CommandNotSupported,
        Self::TooManyImmediate,
        Self::TaskInProgress,
        Self::InvalidDataAck,
        Self::InvalidPduField,
        Self::LongOperation,
        Self::WaitingForLogout,
    ];
}

/// Reject, 3Fh. Its data segment is the header that was bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
}

impl Reject {
    /// Reads the header; nothing for a reason that does not exist.
    pub fn decode(h: &Header) -> Option<Self> {
        let code = h.u8::<2>();
        RejectReason::ALL.into_iter().find(|r| *r as u8 == code).map(|reason| Self { reason })
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x3f, 0x80);
        h.put::<2, 1>([self.reason as u8]);
        h.put_u32::<16>(RESERVED_TAG);
        numbers.put(&mut h);
        h
    }
}
