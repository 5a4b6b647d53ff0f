//! The basic header segment of a PDU, 48 bytes, as RFC 7143, 11.2 draws it.

use std::io::{self, Read};

const LENGTH: usize = 48;

/// Where fields begin. Several PDUs have different ones at the same place.
pub mod at {
    pub const RESPONSE: usize = 2;
    pub const STATUS: usize = 3;
    pub const AHS_LENGTH: usize = 4;
    pub const DATA_LENGTH: usize = 5;
    pub const ISID: usize = 8;
    /// Second byte of the LUN, peripheral device addressing.
    pub const LUN: usize = 9;
    pub const ISID_LAST: usize = 13;
    pub const TAG: usize = 16;
    pub const EXPECTED_LENGTH: usize = 20;
    pub const TRANSFER_TAG: usize = 20;
    pub const CMD_SN: usize = 24;
    pub const STAT_SN: usize = 24;
    pub const EXP_STAT_SN: usize = 28;
    pub const MAX_CMD_SN: usize = 32;
    pub const CDB: usize = 32;
    pub const LOGIN_CLASS: usize = 36;
    pub const DATA_SN: usize = 36;
    pub const LOGIN_DETAIL: usize = 37;
    pub const BUFFER_OFFSET: usize = 40;
    pub const DESIRED_LENGTH: usize = 44;
}

/// A header. What lies outside of it reads as zero and is not written: no offset from a table above does.
pub struct Header([u8; LENGTH]);

impl Header {
    pub fn new(opcode: u8, flags: u8) -> Self {
        let mut header = Self([0; LENGTH]);
        header.put_bytes(0, &[opcode, flags]);
        header
    }

    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn opcode(&self) -> u8 {
        self.byte(0) & super::OPCODE
    }

    pub fn flags(&self) -> u8 {
        self.byte(1)
    }

    pub fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    pub fn word(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }

    /// Bytes of the data segment.
    pub fn length(&self) -> usize {
        (self.word(at::AHS_LENGTH) & 0x00ff_ffff) as usize
    }

    pub fn put_byte(&mut self, at: usize, value: u8) {
        self.put_bytes(at, &[value]);
    }

    pub fn put(&mut self, at: usize, value: u32) {
        self.put_bytes(at, &value.to_be_bytes());
    }

    pub fn put_bytes(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }

    /// The length of the data segment that follows: three bytes.
    pub fn put_length(&mut self, length: usize) -> io::Result<()> {
        match u32::try_from(length).map(u32::to_be_bytes) {
            Ok([0, length @ ..]) => {
                self.put_bytes(at::DATA_LENGTH, &length);
                Ok(())
            }
            _ => Err(super::failure(format!("{length} bytes are too many for one PDU"))),
        }
    }
}
