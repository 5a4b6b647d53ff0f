//! The few SCSI commands that tests send, as their standards draw them.

use super::{Initiator, Outcome};

/// LUNs of the default library.
pub const CHANGER: u8 = 0;
pub const DRIVE: u8 = 1;

pub const TEST_UNIT_READY: [u8; 6] = [0; 6];
pub const REWIND: [u8; 6] = [0x01, 0, 0, 0, 0, 0];
pub const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 96, 0];
pub const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
/// From the position on.
pub const ERASE: [u8; 6] = [0x19, 0, 0, 0, 0, 0];
pub const ONE_FILEMARK: [u8; 6] = [0x10, 0, 0, 0, 1, 0];
pub const PREVENT: [u8; 6] = [0x1e, 0, 0, 0, 1, 0];
pub const ALLOW: [u8; 6] = [0x1e, 0, 0, 0, 0, 0];

/// Element addresses, from mode page 1Dh.
#[derive(Clone, Copy, Debug)]
pub struct Elements {
    pub storage: u16,
    pub import_export: u16,
    pub drive: u16,
}

impl Initiator {
    /// TEST UNIT READY until it is good or something else than a unit attention; the attentions on the way.
    pub fn attentions(&mut self, lun: u8) -> Vec<(u8, u8)> {
        let mut seen = Vec::new();
        for _ in 0..32 {
            match self.run(lun, &TEST_UNIT_READY, 0, &[]).code() {
                (0x06, asc, ascq) => seen.push((asc, ascq)),
                _ => return seen,
            }
        }
        panic!("unit attentions without end: {seen:02x?}");
    }

    pub fn elements(&mut self) -> Elements {
        let page = self.run(CHANGER, &[0x1a, 0x08, 0x1d, 0, 255, 0], 255, &[]).good();
        assert_eq!((page[4] & 0x3f, page[5]), (0x1d, 0x12));
        let word = |at: usize| u16::from_be_bytes([page[at], page[at + 1]]);
        Elements { storage: word(4 + 6), import_export: word(4 + 10), drive: word(4 + 14) }
    }

    pub fn move_medium(&mut self, from: u16, to: u16) -> Outcome {
        let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
        self.run(CHANGER, &[0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0], 0, &[])
    }

    /// Takes the cartridge in `slot` (from 1) to `drive` (from 0) and makes the drive ready.
    #[track_caller]
    pub fn load(&mut self, slot: u16, drive: u16) {
        self.attentions(CHANGER);
        let elements = self.elements();
        self.move_medium(elements.storage + slot - 1, elements.drive + drive).good();
        let lun = DRIVE + drive as u8;
        self.attentions(lun);
        self.run(lun, &TEST_UNIT_READY, 0, &[]).good();
    }

    pub fn start_write(&mut self, lun: u8, block: &[u8]) -> u32 {
        let [_, a, b, c] = (block.len() as u32).to_be_bytes();
        self.start(lun, &[0x0a, 0, a, b, c, 0], 0, block)
    }

    pub fn write(&mut self, lun: u8, block: &[u8]) -> Outcome {
        let tag = self.start_write(lun, block);
        self.wait(tag)
    }

    pub fn read(&mut self, lun: u8, length: usize) -> Outcome {
        let [_, a, b, c] = (length as u32).to_be_bytes();
        self.run(lun, &[0x08, 0, a, b, c, 0], length, &[])
    }

    /// Logical object number and file number, READ POSITION long form.
    pub fn position(&mut self, lun: u8) -> (u64, u64) {
        let data = self.run(lun, &[0x34, 0x06, 0, 0, 0, 0, 0, 0, 0, 0], 32, &[]).good();
        let word = |at: usize| u64::from_be_bytes(data[at..at + 8].try_into().unwrap());
        (word(8), word(16))
    }

    /// The diagnostic disk: blocks of 512 bytes.
    pub fn start_disk_write(&mut self, block: u32, data: &[u8]) -> u32 {
        let cdb = disk_cdb(0x2a, block, data.len());
        self.start(0, &cdb, 0, data)
    }

    pub fn start_disk_read(&mut self, block: u32, length: usize) -> u32 {
        let cdb = disk_cdb(0x28, block, length);
        self.start(0, &cdb, length, &[])
    }
}

fn disk_cdb(opcode: u8, block: u32, length: usize) -> [u8; 10] {
    let [a, b, c, d] = block.to_be_bytes();
    let [high, low] = ((length / 512) as u16).to_be_bytes();
    [opcode, 0, a, b, c, d, 0, high, low, 0]
}
