//! The lab's host: a changer and a drive by the built-in initiator, and a tar archive on tape as `tar -b 512` writes one.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;

use vtl_initiator::{Initiator, failure};

/// Target of the library that an empty state begins with; the changer is LUN 0, its first drive LUN 1.
pub const TARGET: &str = "iqn.2026-11.internal.vtl:lib0";
const CHANGER: u8 = 0;
const DRIVE: u8 = 1;

/// Bytes of a record: 512 blocks of 512 bytes.
const RECORD: usize = 512 * 512;

const REWIND: [u8; 6] = [0x01, 0, 0, 0, 0, 0];
const WRITE_ONE_FILEMARK: [u8; 6] = [0x10, 0, 0, 0, 1, 0];
/// Mode page 1Dh, element address assignment, without block descriptors.
const ELEMENT_ADDRESSES: [u8; 6] = [0x1a, 0x08, 0x1d, 0, 255, 0];

/// READ(6) and WRITE(6) of one block of [`RECORD`] bytes, SSC-4.
const fn one_record(opcode: u8) -> [u8; 6] {
    [opcode, 0, (RECORD >> 16) as u8, (RECORD >> 8) as u8, RECORD as u8, 0]
}
const READ: [u8; 6] = one_record(0x08);
const WRITE: [u8; 6] = one_record(0x0a);

/// Where a cartridge may be, counted as the command line counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Slot(u16),
    Mailslot(u16),
    Drive(u16),
}

/// First addresses of slots, mailslots and drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Addresses {
    slots: u16,
    mailslots: u16,
    drives: u16,
}

impl Addresses {
    /// From the answer to MODE SENSE(6): four bytes of header, then the page (SMC-3, 7.3.4).
    fn parse(answer: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_be_bytes(answer.get(at..at + 2)?.try_into().ok()?));
        let is_page = answer.get(4).is_some_and(|code| code & 0x3f == 0x1d);
        is_page.then_some(())?;
        Some(Self { slots: word(10)?, mailslots: word(14)?, drives: word(18)? })
    }

    fn of(self, element: Element) -> u16 {
        match element {
            Element::Slot(number) => self.slots.saturating_add(number).saturating_sub(1),
            Element::Mailslot(number) => self.mailslots.saturating_add(number).saturating_sub(1),
            Element::Drive(number) => self.drives.saturating_add(number),
        }
    }
}

/// A host that is logged in to a library.
pub struct Host {
    changer: Initiator,
    drive: Initiator,
    addresses: Addresses,
}

impl Host {
    pub fn login(portal: SocketAddr) -> io::Result<Self> {
        let mut changer = Initiator::login(portal, TARGET, CHANGER, 1)?;
        let drive = Initiator::login(portal, TARGET, DRIVE, 2)?;
        let answer = changer.run_good(&ELEMENT_ADDRESSES, 255)?;
        let addresses =
            Addresses::parse(&answer).ok_or_else(|| failure("the changer does not tell its elements"))?;
        Ok(Self { changer, drive, addresses })
    }

    pub fn logout(self) -> io::Result<()> {
        self.drive.logout()?;
        self.changer.logout()
    }

    /// MOVE MEDIUM, A5h, SMC-3.
    pub fn move_medium(&mut self, from: Element, to: Element) -> io::Result<()> {
        let ([a, b], [c, d]) = (self.addresses.of(from).to_be_bytes(), self.addresses.of(to).to_be_bytes());
        self.changer.run_good(&[0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0], 0).map(drop)
    }

    /// Writes what is in `folder` as a tar archive and a filemark; records that were written.
    pub fn back_up(&mut self, folder: &Path) -> io::Result<u64> {
        self.drive.run_good(&REWIND, 0)?;
        let mut archive =
            tar::Builder::new(ToTape { drive: &mut self.drive, record: Vec::new(), records: 0 });
        archive.append_dir_all(".", folder)?;
        let records = archive.into_inner()?.finish()?;
        self.drive.run_good(&WRITE_ONE_FILEMARK, 0)?;
        Ok(records)
    }

    /// Reads a tar archive from the beginning of the tape, up to the filemark, into a new folder.
    pub fn restore(&mut self, folder: &Path) -> io::Result<()> {
        self.drive.run_good(&REWIND, 0)?;
        std::fs::create_dir(folder)?;
        let tape = FromTape { drive: &mut self.drive, record: Vec::new(), at: 0, ended: false };
        tar::Archive::new(tape).unpack(folder)
    }
}

/// Collects records. The last one is filled up with zeros.
struct ToTape<'a> {
    drive: &'a mut Initiator,
    record: Vec<u8>,
    records: u64,
}

impl ToTape<'_> {
    fn finish(mut self) -> io::Result<u64> {
        if !self.record.is_empty() {
            self.record.resize(RECORD, 0);
            self.put()?;
        }
        Ok(self.records)
    }

    fn put(&mut self) -> io::Result<()> {
        self.drive.write_good(&WRITE, &self.record)?;
        self.record.clear();
        self.records += 1;
        Ok(())
    }
}

impl Write for ToTape<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (part, _) = bytes.split_at(bytes.len().min(RECORD - self.record.len()));
        self.record.extend_from_slice(part);
        if self.record.len() == RECORD {
            self.put()?;
        }
        Ok(part.len())
    }

    /// A record that is not full waits for more.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records up to a filemark.
struct FromTape<'a> {
    drive: &'a mut Initiator,
    record: Vec<u8>,
    at: usize,
    ended: bool,
}

impl FromTape<'_> {
    fn next(&mut self) -> io::Result<()> {
        let (ended, data) = self.drive.run(&READ, RECORD)?;
        (self.record, self.at) = (data, 0);
        match ended.status {
            0 => Ok(()),
            _ if ended.filemark() => {
                self.ended = true;
                Ok(())
            }
            _ => Err(failure(format!("a record cannot be read: {ended:02x?}"))),
        }
    }
}

impl Read for FromTape<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.record.len() && !self.ended {
            self.next()?;
        }
        let mut left = self.record.get(self.at..).unwrap_or_default();
        let taken = left.read(to)?;
        self.at += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_addresses_are_those_of_the_page_and_numbers_count_as_the_command_line_does() {
        let page = [
            23, 0, 0, 0, 0x1d, 0x12, 0, 0, 0, 1, 0x04, 0x00, 0, 24, 0x03, 0x00, 0, 4, 0x01, 0x00, 0, 2, 0, 0,
        ];
        let addresses = Addresses::parse(&page).unwrap();
        assert_eq!(addresses, Addresses { slots: 0x400, mailslots: 0x300, drives: 0x100 });
        assert_eq!(addresses.of(Element::Slot(1)), 0x400);
        assert_eq!(addresses.of(Element::Mailslot(2)), 0x301);
        assert_eq!(addresses.of(Element::Drive(1)), 0x101);
        assert_eq!(Addresses::parse(&page[..18]), None);
        assert_eq!(Addresses::parse(&[0; 24]), None, "another page");
    }

    #[test]
    fn a_record_is_256_kib_in_its_commands() {
        assert_eq!(READ, [0x08, 0, 0x04, 0x00, 0x00, 0]);
        assert_eq!(WRITE, [0x0a, 0, 0x04, 0x00, 0x00, 0]);
    }
}
