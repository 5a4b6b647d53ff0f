//! READ POSITION (SSC-4): the three forms of the answer.

use alloc::vec::Vec;

use super::deck::Buffered;
use crate::medium::Position;

const BOP: u8 = 0x80;
const EOP: u8 = 0x40;
/// Short and extended form: the number of objects in the buffer is not told.
const LOCU: u8 = 0x20;
/// Short and extended form: the number of bytes in the buffer is not told.
const BYCU: u8 = 0x10;
/// Short form: the object numbers are not told.
const LOLU: u8 = 0x04;
/// Short form: a number does not fit its field.
const PERR: u8 = 0x02;

/// Where the drive is and what is not durable yet. BPEW stays 0: the programmable early warning zone has size
/// 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) position: Position,
    pub(super) buffered: Buffered,
}

impl Report {
    /// 20 bytes, service actions 00h and 01h.
    pub(super) fn short(self) -> Vec<u8> {
        let fits = u32::try_from(self.position.object).is_ok();
        let unknown = if fits { 0 } else { LOLU | PERR };
        let mut bytes = alloc::vec![self.ends() | self.counts() | unknown, 0, 0, 0];
        let object = |n: u64| if fits { u32::try_from(n).unwrap_or(0) } else { 0 };
        bytes.extend(object(self.position.object).to_be_bytes());
        bytes.extend(object(self.first_not_durable()).to_be_bytes());
        bytes.extend(self.buffered_objects().unwrap_or(0).to_be_bytes());
        bytes.extend(u32::try_from(self.buffered.bytes).unwrap_or(0).to_be_bytes());
        bytes
    }

    /// 32 bytes, service action 06h.
    pub(super) fn long(self) -> Vec<u8> {
        let mut bytes = alloc::vec![self.ends(), 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(self.position.object.to_be_bytes());
        bytes.extend(self.position.file.to_be_bytes());
        bytes.extend([0; 8]);
        bytes
    }

    /// 32 bytes, service action 08h.
    pub(super) fn extended(self) -> Vec<u8> {
        let mut bytes = alloc::vec![self.ends() | (self.counts() & !BYCU), 0, 0, 0x1c];
        bytes.extend(self.buffered_objects().unwrap_or(0).to_be_bytes());
        bytes.extend(self.position.object.to_be_bytes());
        bytes.extend(self.first_not_durable().to_be_bytes());
        bytes.extend(self.buffered.bytes.to_be_bytes());
        bytes
    }

    const fn ends(self) -> u8 {
        let beginning = if self.position.object == 0 { BOP } else { 0 };
        let warning = if self.position.early_warning { EOP } else { 0 };
        beginning | warning
    }

    fn counts(self) -> u8 {
        let objects = if self.buffered_objects().is_none() { LOCU } else { 0 };
        let bytes = if u32::try_from(self.buffered.bytes).is_err() { BYCU } else { 0 };
        objects | bytes
    }

    /// The object that goes to the medium next.
    const fn first_not_durable(self) -> u64 {
        self.position.object.saturating_sub(self.buffered.objects)
    }

    /// The field has 24 bits.
    fn buffered_objects(self) -> Option<u32> {
        u32::try_from(self.buffered.objects).ok().filter(|count| *count < 1 << 24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(object: u64, file: u64, objects: u64, bytes: u64) -> Report {
        let position = Position { object, file, end_of_data: true, early_warning: false };
        Report { position, buffered: Buffered { objects, bytes } }
    }

    #[test]
    fn the_short_form_has_twenty_bytes() {
        let expected = [0, 0, 0, 0, 0, 1, 0, 5, 0, 1, 0, 2, 0, 0, 0, 3, 0, 3, 0, 0];
        assert_eq!(report(0x1_0005, 2, 3, 0x3_0000).short(), expected);
    }

    #[test]
    fn beginning_of_partition_and_early_warning_are_flagged_in_every_form() {
        let begin = report(0, 0, 0, 0);
        assert_eq!([begin.short()[0], begin.long()[0], begin.extended()[0]], [0x80; 3]);
        let mut end = report(9, 0, 0, 0);
        end.position.early_warning = true;
        assert_eq!([end.short()[0], end.long()[0], end.extended()[0]], [0x40; 3]);
    }

    #[test]
    fn an_object_number_beyond_32_bits_is_not_told_in_the_short_form() {
        let far = report(0x1_0000_0000, 7, 1, 1);
        assert_eq!(far.short(), [0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        let expected = [
            0, 0, 0, 0, 0, 0, 0, 0, // flags, partition
            0, 0, 0, 1, 0, 0, 0, 0, // object
            0, 0, 0, 0, 0, 0, 0, 7, // file
            0, 0, 0, 0, 0, 0, 0, 0, // obsolete
        ];
        assert_eq!(far.long(), expected);
    }

    #[test]
    fn the_extended_form_tells_what_is_not_durable_in_full_width() {
        let expected = [
            0x00, 0, 0, 0x1c, 0, 0, 0, 2, // flags, partition, additional length, objects in buffer
            0, 0, 0, 1, 0, 0, 0, 0, // first: the host's next
            0, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe, // last: the medium's next
            0, 0, 0, 1, 0, 0, 0, 9, // bytes
        ];
        assert_eq!(report(0x1_0000_0000, 7, 2, 0x1_0000_0009).extended(), expected);
    }

    #[test]
    fn a_buffer_too_large_to_count_is_said_to_be_unknown() {
        let large = report(0x0200_0000, 0, 0x0100_0000, 0x1_0000_0000);
        assert_eq!(large.short()[0], 0x30);
        assert_eq!(large.extended()[0], 0x20);
    }
}
