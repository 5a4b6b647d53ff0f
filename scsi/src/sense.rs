//! Sense data: what went wrong, as a value first and as bytes last (SPC-4, sense data).
//!
//! [`Check`] is this crate's error type. Its numbers stand in one place, [`Check::code`]; the bytes are made in one place, [`Sense`].

use alloc::vec::Vec;

/// Sense keys that we use (SPC-4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SenseKey {
    NoSense = 0x0,
    NotReady = 0x2,
    MediumError = 0x3,
    HardwareError = 0x4,
    IllegalRequest = 0x5,
    UnitAttention = 0x6,
    DataProtect = 0x7,
    BlankCheck = 0x8,
    AbortedCommand = 0xb,
    VolumeOverflow = 0xd,
}

/// Why a command ended with CHECK CONDITION. A variant carries what the initiator needs to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// 5/20/00: no such operation code on this device.
    InvalidOpcode,
    /// 5/24/00, pointing at the CDB's byte (and bit, when one is to blame).
    InvalidFieldInCdb { byte: u16, bit: Option<u8> },
    /// 5/26/00, pointing at the parameter list's byte.
    InvalidFieldInParameters { byte: u16, bit: Option<u8> },
}

impl Check {
    /// Sense key, ASC and ASCQ: the only place where these numbers stand.
    #[must_use]
    pub const fn code(self) -> (SenseKey, u8, u8) {
        match self {
            Self::InvalidOpcode => (SenseKey::IllegalRequest, 0x20, 0x00),
            Self::InvalidFieldInCdb { .. } => (SenseKey::IllegalRequest, 0x24, 0x00),
            Self::InvalidFieldInParameters { .. } => (SenseKey::IllegalRequest, 0x26, 0x00),
        }
    }
}

/// Sense data as the initiator gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sense(Vec<u8>);

impl Sense {
    /// The bytes, fixed format unless the device was told otherwise.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Check> for Sense {
    fn from(check: Check) -> Self {
        let (key, asc, ascq) = check.code();
        let mut bytes = alloc::vec![0; 18];
        for (at, value) in [(0, 0x70), (2, key as u8), (7, 10), (12, asc), (13, ascq)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        Self(bytes)
    }
}
