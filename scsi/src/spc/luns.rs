//! REPORT LUNS, and the answers of a logical unit number behind which there is no unit (SPC-4).

use alloc::vec::Vec;

use super::{
    identity::Identity,
    wire::{len32, u8_at},
};
use crate::{
    command::{Cdb, Command, Reply},
    sense::{Check, Sense, SenseFormat},
};

/// The shortest allocation length that REPORT LUNS may have.
const MIN_ALLOCATION: u32 = 16;
const HEADER_LEN: usize = 8;

/// Answers REPORT LUNS without the device. `luns` is cut to what the standard's address methods can name (14 bits).
#[must_use]
pub fn report_luns(cdb: &Cdb, luns: &[u16]) -> Reply {
    let selected = match cdb.byte(2) {
        0x00 | 0x02 => luns,
        0x01 => &[], // only well known units: we have none
        _ => return Check::cdb(2).into(),
    };
    let allocation = cdb.be32(6);
    if allocation < MIN_ALLOCATION {
        return Check::cdb(6).into();
    }
    let mut sorted: Vec<u16> = selected.iter().copied().filter(|lun| *lun <= 0x3fff).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let mut bytes = Vec::with_capacity(HEADER_LEN + sorted.len() * 8);
    bytes.extend(len32(sorted.len() * 8).to_be_bytes());
    bytes.extend([0; 4]);
    for lun in sorted {
        bytes.extend(address(lun));
    }
    Reply::allocated(bytes, usize::try_from(allocation).unwrap_or(usize::MAX))
}

/// Peripheral device addressing up to 255, flat space addressing above (SAM-5).
fn address(lun: u16) -> [u8; 8] {
    let method: u16 = if lun < 256 { 0 } else { 0x4000 };
    let [high, low] = (lun | method).to_be_bytes();
    [high, low, 0, 0, 0, 0, 0, 0]
}

/// Answers any command to a logical unit number where there is no unit (SAM-5, incorrect logical unit numbers). `target` gives the looks,
/// `luns` what there is.
#[must_use]
pub fn missing_unit(command: &Command, target: &Identity, luns: &[u16]) -> Reply {
    let cdb = &command.cdb;
    match cdb.opcode() {
        0x12 => target.absent_inquiry(cdb),
        0xa0 => report_luns(cdb, luns),
        0x03 => {
            let format = if cdb.bit(1, 0) { SenseFormat::Descriptor } else { SenseFormat::Fixed };
            let sense = Sense::current(Check::UnitNotSupported, format);
            let allocation = u8_at(&cdb.0, 4).unwrap_or(0);
            Reply::allocated(sense.as_bytes().to_vec(), usize::from(allocation))
        }
        _ => Check::UnitNotSupported.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(reply: &Reply) -> Vec<u8> {
        reply.data_in.iter().flat_map(|piece| piece.iter().copied()).collect()
    }

    #[test]
    fn luns_are_listed_in_order_with_flat_addresses_above_255() {
        let cdb = Cdb::new(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let expected = [
            0, 0, 0, 24, 0, 0, 0, 0, // list length
            0, 0, 0, 0, 0, 0, 0, 0, // LUN 0
            0, 2, 0, 0, 0, 0, 0, 0, // LUN 2
            0x41, 0x2c, 0, 0, 0, 0, 0, 0, // LUN 300
        ];
        assert_eq!(bytes(&report_luns(&cdb, &[2, 300, 0])), expected);
    }

    #[test]
    fn a_short_allocation_cuts_the_list_but_not_its_length_field() {
        let cdb = Cdb::new(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0]);
        let reply = bytes(&report_luns(&cdb, &[0, 1]));
        assert_eq!((reply.len(), &reply[..4]), (16, &[0, 0, 0, 16][..]));
        let too_short = Cdb::new(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0]);
        assert_eq!(report_luns(&too_short, &[0]), Check::cdb(6).into());
    }

    #[test]
    fn select_report_one_lists_no_unit_and_three_is_refused() {
        let wanted = Cdb::new(&[0xa0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(bytes(&report_luns(&wanted, &[0])), [0; 8]);
        let wrong = Cdb::new(&[0xa0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(report_luns(&wrong, &[0]), Check::cdb(2).into());
    }
}
