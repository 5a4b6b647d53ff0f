//! Sense data: what went wrong, as a value first and as bytes last (SPC-4, sense data; SSC-4 for what the bits mean on a tape).
//!
//! [`Check`] is this crate's error type. Its numbers stand in one place, [`Check::code`]; what else an initiator learns from it (residual,
//! filemark, end of medium, wrong length, the field to blame) in [`Check::extras`]; the bytes are made in one place, [`Sense`].

use alloc::vec::Vec;

use crate::unit::UnitAttention;

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
    Miscompare = 0xe,
}

/// Why a command ended with CHECK CONDITION. A variant carries what the initiator needs to act.
///
/// `left` is what was asked for and not done, in the unit of the command (blocks with FIXED, bytes without, marks for SPACE and WRITE
/// FILEMARKS); it becomes INFORMATION. An `Option` there means that some commands that end so define no residual. `past_warning` sets EOM.
/// `byte` and `bit` are where the wrong field begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields mean the same in every variant and are described above")]
pub enum Check {
    /// 0/00/00: nothing to tell (REQUEST SENSE).
    NoSense,
    /// 0/00/01 with FILEMARK. `past_warning` also sets EOM (only when REW asked for it).
    Filemark { left: i64, past_warning: bool },
    /// 8/00/05: end of data.
    EndOfData { left: i64 },
    /// 0/00/04 with EOM: beginning of partition.
    Beginning { left: i64 },
    /// 0/00/02 with EOM: the write was taken whole, or `left` was not, and the position is at or past early warning.
    EarlyWarning { left: Option<i64> },
    /// D/00/02 with EOM: no room for `left`.
    EndOfPartition { left: Option<i64> },
    /// 0/00/00 with ILI. `residual`: asked minus length of the block, negative when the block is larger (with FIXED: blocks not read).
    IncorrectLength { residual: i64, past_warning: bool },
    /// 3/11/00: an unrecovered read error.
    UnrecoveredRead { left: Option<i64> },
    /// 3/0C/00: write error.
    WriteError { left: Option<i64> },
    /// 3/31/00: medium format corrupted.
    FormatCorrupted,
    /// 7/27/00: write protected.
    WriteProtected,
    /// 7/30/0C: WORM medium, overwrite attempted.
    WormOverwrite,
    /// 2/04/02: initializing command required.
    InitializingCommandRequired,
    /// 2/04/07: operation in progress.
    OperationInProgress,
    /// 2/3A/00: medium not present.
    MediumNotPresent,
    /// 4/44/00: internal target failure.
    InternalFailure,
    /// 4/53/00: media load or eject failed.
    LoadOrEjectFailed,
    /// 5/0E/03: the transport announced less data than the command needs, and not a whole number of blocks of it.
    InvalidFieldInInformationUnit,
    /// 5/1A/00: parameter list length error.
    ParameterListLength,
    /// 5/20/00: no such operation code on this device.
    InvalidOpcode,
    /// 5/21/00: logical block address out of range.
    LbaOutOfRange,
    /// 5/21/01: invalid element address.
    InvalidElement,
    /// 5/24/00, pointing at the CDB's byte (and bit, when one is to blame).
    InvalidFieldInCdb { byte: u16, bit: Option<u8> },
    /// 5/25/00: logical unit not supported.
    UnitNotSupported,
    /// 5/26/00, pointing at the parameter list's byte.
    InvalidFieldInParameters { byte: u16, bit: Option<u8> },
    /// 5/26/04: invalid release of a persistent reservation.
    InvalidRelease,
    /// 5/30/00: incompatible medium installed.
    IncompatibleMedium,
    /// 5/30/05: cannot write medium, incompatible format.
    CannotWriteFormat,
    /// 5/39/00: saving parameters not supported.
    SavingNotSupported,
    /// 5/3B/0C: position past beginning of medium.
    PositionPastBeginning,
    /// 5/3B/0D: medium destination element full.
    DestinationFull,
    /// 5/3B/0E: medium source element empty.
    SourceEmpty,
    /// 5/53/02: medium removal prevented.
    RemovalPrevented,
    /// 5/55/04: insufficient registration resources.
    InsufficientRegistrations,
    /// 5/55/06: auxiliary memory out of space.
    AttributeMemoryFull,
    /// 6/xx: see [`UnitAttention`].
    Attention(UnitAttention),
    /// B/00/00: aborted, no further reason.
    Aborted,
    /// B/08/00: logical unit communication failure. The block is elsewhere and cannot be reached now; the command may be sent again.
    BlockAway { left: Option<i64> },
    /// B/4B/00: less (or more) data than the command needs.
    DataPhaseError,
    /// E/1D/00: VERIFY found other bytes.
    Miscompare { at: Option<i64> },
}

/// What sense data can say beside its key and code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// INFORMATION.
    pub information: Option<i64>,
    /// FILEMARK bit.
    pub filemark: bool,
    /// EOM bit.
    pub end_of_medium: bool,
    /// ILI bit.
    pub incorrect_length: bool,
    /// The field to blame.
    pub field: Option<FieldPointer>,
}

/// Sense key specific data of ILLEGAL REQUEST (SPC-4, field pointer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPointer {
    /// C/D: the byte is in the CDB, not in the parameter list.
    pub in_cdb: bool,
    /// Which byte.
    pub byte: u16,
    /// Its most significant bit, when one is to blame.
    pub bit: Option<u8>,
}

impl Check {
    /// A CDB's field that begins at this bit of this byte.
    #[must_use]
    pub const fn cdb_bit(byte: u16, bit: u8) -> Self {
        Self::InvalidFieldInCdb { byte, bit: Some(bit) }
    }

    /// A whole byte (or a field beginning there) of the CDB.
    #[must_use]
    pub const fn cdb(byte: u16) -> Self {
        Self::InvalidFieldInCdb { byte, bit: None }
    }

    /// A whole byte (or a field beginning there) of the parameter list.
    #[must_use]
    pub const fn parameter(byte: u16) -> Self {
        Self::InvalidFieldInParameters { byte, bit: None }
    }

    /// Sense key, ASC and ASCQ: the only place where these numbers stand.
    #[must_use]
    pub const fn code(self) -> (SenseKey, u8, u8) {
        use SenseKey as K;
        match self {
            Self::NoSense | Self::IncorrectLength { .. } => (K::NoSense, 0x00, 0x00),
            Self::Filemark { .. } => (K::NoSense, 0x00, 0x01),
            Self::Beginning { .. } => (K::NoSense, 0x00, 0x04),
            Self::EarlyWarning { .. } => (K::NoSense, 0x00, 0x02),
            Self::InitializingCommandRequired => (K::NotReady, 0x04, 0x02),
            Self::OperationInProgress => (K::NotReady, 0x04, 0x07),
            Self::MediumNotPresent => (K::NotReady, 0x3a, 0x00),
            Self::WriteError { .. } => (K::MediumError, 0x0c, 0x00),
            Self::UnrecoveredRead { .. } => (K::MediumError, 0x11, 0x00),
            Self::FormatCorrupted => (K::MediumError, 0x31, 0x00),
            Self::InternalFailure => (K::HardwareError, 0x44, 0x00),
            Self::LoadOrEjectFailed => (K::HardwareError, 0x53, 0x00),
            Self::InvalidFieldInInformationUnit => (K::IllegalRequest, 0x0e, 0x03),
            Self::ParameterListLength => (K::IllegalRequest, 0x1a, 0x00),
            Self::InvalidOpcode => (K::IllegalRequest, 0x20, 0x00),
            Self::LbaOutOfRange => (K::IllegalRequest, 0x21, 0x00),
            Self::InvalidElement => (K::IllegalRequest, 0x21, 0x01),
            Self::InvalidFieldInCdb { .. } => (K::IllegalRequest, 0x24, 0x00),
            Self::UnitNotSupported => (K::IllegalRequest, 0x25, 0x00),
            Self::InvalidFieldInParameters { .. } => (K::IllegalRequest, 0x26, 0x00),
            Self::InvalidRelease => (K::IllegalRequest, 0x26, 0x04),
            Self::IncompatibleMedium => (K::IllegalRequest, 0x30, 0x00),
            Self::CannotWriteFormat => (K::IllegalRequest, 0x30, 0x05),
            Self::SavingNotSupported => (K::IllegalRequest, 0x39, 0x00),
            Self::PositionPastBeginning => (K::IllegalRequest, 0x3b, 0x0c),
            Self::DestinationFull => (K::IllegalRequest, 0x3b, 0x0d),
            Self::SourceEmpty => (K::IllegalRequest, 0x3b, 0x0e),
            Self::RemovalPrevented => (K::IllegalRequest, 0x53, 0x02),
            Self::InsufficientRegistrations => (K::IllegalRequest, 0x55, 0x04),
            Self::AttributeMemoryFull => (K::IllegalRequest, 0x55, 0x06),
            Self::Attention(what) => attention_code(what),
            Self::WriteProtected => (K::DataProtect, 0x27, 0x00),
            Self::WormOverwrite => (K::DataProtect, 0x30, 0x0c),
            Self::EndOfData { .. } => (K::BlankCheck, 0x00, 0x05),
            Self::Aborted => (K::AbortedCommand, 0x00, 0x00),
            Self::BlockAway { .. } => (K::AbortedCommand, 0x08, 0x00),
            Self::DataPhaseError => (K::AbortedCommand, 0x4b, 0x00),
            Self::EndOfPartition { .. } => (K::VolumeOverflow, 0x00, 0x02),
            Self::Miscompare { .. } => (K::Miscompare, 0x1d, 0x00),
        }
    }

    /// Residual, marks and field pointer.
    #[must_use]
    pub const fn extras(self) -> Extras {
        let none = Extras {
            information: None,
            filemark: false,
            end_of_medium: false,
            incorrect_length: false,
            field: None,
        };
        match self {
            Self::Filemark { left, past_warning } => {
                Extras { information: Some(left), filemark: true, end_of_medium: past_warning, ..none }
            }
            Self::EndOfData { left } => Extras { information: Some(left), ..none },
            Self::Beginning { left } => Extras { information: Some(left), end_of_medium: true, ..none },
            Self::EarlyWarning { left } | Self::EndOfPartition { left } => {
                Extras { information: left, end_of_medium: true, ..none }
            }
            Self::IncorrectLength { residual, past_warning } => Extras {
                information: Some(residual),
                incorrect_length: true,
                end_of_medium: past_warning,
                ..none
            },
            Self::UnrecoveredRead { left: information }
            | Self::BlockAway { left: information }
            | Self::WriteError { left: information }
            | Self::Miscompare { at: information } => Extras { information, ..none },
            Self::InvalidFieldInCdb { byte, bit } => {
                Extras { field: Some(FieldPointer { in_cdb: true, byte, bit }), ..none }
            }
            Self::InvalidFieldInParameters { byte, bit } => {
                Extras { field: Some(FieldPointer { in_cdb: false, byte, bit }), ..none }
            }
            _ => none,
        }
    }
}

const fn attention_code(what: UnitAttention) -> (SenseKey, u8, u8) {
    let (asc, ascq) = match what {
        UnitAttention::PowerOn => (0x29, 0x00),
        UnitAttention::BusReset => (0x29, 0x02),
        UnitAttention::DeviceReset => (0x29, 0x03),
        UnitAttention::MediumChanged => (0x28, 0x00),
        UnitAttention::ImportExportAccessed => (0x28, 0x01),
        UnitAttention::ModeParametersChanged => (0x2a, 0x01),
        UnitAttention::ReservationsPreempted => (0x2a, 0x03),
        UnitAttention::ReservationsReleased => (0x2a, 0x04),
        UnitAttention::RegistrationsPreempted => (0x2a, 0x05),
        UnitAttention::TimestampChanged => (0x2a, 0x10),
        UnitAttention::CommandsCleared => (0x2f, 0x00),
        UnitAttention::ReportedLunsChanged => (0x3f, 0x0e),
    };
    (SenseKey::UnitAttention, asc, ascq)
}

/// Which form the bytes take: D_SENSE of the control mode page, DESC of REQUEST SENSE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenseFormat {
    /// Response codes 70h and 71h, 18 bytes.
    #[default]
    Fixed,
    /// Response codes 72h and 73h.
    Descriptor,
}

/// Sense data as the initiator gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sense {
    check: Check,
    deferred: bool,
    bytes: Vec<u8>,
}

impl Sense {
    /// About the command that it comes with.
    #[must_use]
    pub fn current(check: Check, format: SenseFormat) -> Self {
        Self { check, deferred: false, bytes: encode(check, false, format) }
    }

    /// About an earlier command that had already ended with GOOD.
    #[must_use]
    pub fn deferred(check: Check, format: SenseFormat) -> Self {
        Self { check, deferred: true, bytes: encode(check, true, format) }
    }

    /// The same in another format.
    #[must_use]
    pub fn in_format(&self, format: SenseFormat) -> Self {
        Self { check: self.check, deferred: self.deferred, bytes: encode(self.check, self.deferred, format) }
    }

    /// What it says.
    #[must_use]
    pub const fn check(&self) -> Check {
        self.check
    }

    /// The bytes, fixed format unless the device was told otherwise.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl From<Check> for Sense {
    fn from(check: Check) -> Self {
        Self::current(check, SenseFormat::Fixed)
    }
}

fn encode(check: Check, deferred: bool, format: SenseFormat) -> Vec<u8> {
    match format {
        SenseFormat::Fixed => fixed(check, deferred),
        SenseFormat::Descriptor => descriptor(check, deferred),
    }
}

const VALID: u8 = 0x80;
/// Bytes of fixed sense data after byte 7.
const FIXED_ADDITIONAL_LENGTH: u8 = 10;

/// SPC-4, fixed format sense data.
fn fixed(check: Check, deferred: bool) -> Vec<u8> {
    let (key, asc, ascq) = check.code();
    let extras = check.extras();
    // A residual that does not fit is not told at all rather than told wrongly.
    let information = extras.information.and_then(fixed_information);
    let valid = if information.is_some() { VALID } else { 0 };
    let [i0, i1, i2, i3] = information.unwrap_or_default();
    let [s0, s1, s2] = extras.field.map(FieldPointer::bytes).unwrap_or_default();
    let response_code = if deferred { 0x71 } else { 0x70 };
    let key = key as u8 | extras.mark_bits();
    let length = FIXED_ADDITIONAL_LENGTH;
    alloc::vec![valid | response_code, 0, key, i0, i1, i2, i3, length, 0, 0, 0, 0, asc, ascq, 0, s0, s1, s2]
}

/// Two's complement in 32 bits; a positive number may use all of them (a block address).
fn fixed_information(value: i64) -> Option<[u8; 4]> {
    match i32::try_from(value) {
        Ok(signed) => Some(signed.to_be_bytes()),
        Err(_) => u32::try_from(value).ok().map(u32::to_be_bytes),
    }
}

/// SPC-4, descriptor format sense data: information (00h), sense key specific (02h) and stream commands (04h) descriptors.
fn descriptor(check: Check, deferred: bool) -> Vec<u8> {
    let (key, asc, ascq) = check.code();
    let extras = check.extras();
    let mut descriptors = Vec::new();
    if let Some(value) = extras.information {
        descriptors.extend([0x00, 0x0a, VALID, 0]);
        descriptors.extend(value.to_be_bytes());
    }
    if let Some(pointer) = extras.field {
        descriptors.extend([0x02, 0x06, 0, 0]);
        descriptors.extend(pointer.bytes());
        descriptors.push(0);
    }
    if extras.mark_bits() != 0 {
        descriptors.extend([0x04, 0x02, 0, extras.mark_bits()]);
    }
    let response_code = if deferred { 0x73 } else { 0x72 };
    let length = u8::try_from(descriptors.len()).unwrap_or(0);
    let mut bytes = alloc::vec![response_code, key as u8, asc, ascq, 0, 0, 0, length];
    bytes.append(&mut descriptors);
    bytes
}

impl Extras {
    /// FILEMARK, EOM and ILI where both formats have them.
    const fn mark_bits(self) -> u8 {
        (self.filemark as u8) << 7 | (self.end_of_medium as u8) << 6 | (self.incorrect_length as u8) << 5
    }
}

impl FieldPointer {
    /// SKSV, C/D, BPV, BIT POINTER and FIELD POINTER.
    const fn bytes(self) -> [u8; 3] {
        let command_or_data = (self.in_cdb as u8) << 6;
        let bit = match self.bit {
            Some(bit) => 0x08 | bit & 0x07,
            None => 0,
        };
        let [high, low] = self.byte.to_be_bytes();
        [0x80 | command_or_data | bit, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(check: Check) -> Vec<u8> {
        Sense::from(check).as_bytes().to_vec()
    }

    fn descriptor_bytes(check: Check) -> Vec<u8> {
        Sense::current(check, SenseFormat::Descriptor).as_bytes().to_vec()
    }

    #[test]
    fn a_filemark_sets_its_bit_and_tells_the_residual() {
        let expected = [0xf0, 0, 0x80, 0, 0, 0, 3, 10, 0, 0, 0, 0, 0x00, 0x01, 0, 0, 0, 0];
        assert_eq!(bytes(Check::Filemark { left: 3, past_warning: false }), expected);
    }

    #[test]
    fn a_block_larger_than_asked_gives_ili_and_a_negative_residual() {
        // 32 KiB asked, 64 KiB found: -32768.
        let expected = [0xf0, 0, 0x20, 0xff, 0xff, 0x80, 0x00, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes(Check::IncorrectLength { residual: -32768, past_warning: false }), expected);
    }

    #[test]
    fn marks_combine_with_end_of_medium() {
        assert_eq!(bytes(Check::IncorrectLength { residual: 1, past_warning: true })[2], 0x60);
        assert_eq!(bytes(Check::Filemark { left: 1, past_warning: true })[2], 0xc0);
    }

    #[test]
    fn early_warning_is_no_sense_with_eom_and_without_information() {
        let expected = [0x70, 0, 0x40, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x00, 0x02, 0, 0, 0, 0];
        assert_eq!(bytes(Check::EarlyWarning { left: None }), expected);
    }

    #[test]
    fn volume_overflow_end_of_data_and_beginning_have_their_keys() {
        assert_eq!(bytes(Check::EndOfPartition { left: Some(512) })[..7], [0xf0, 0, 0x4d, 0, 0, 2, 0]);
        assert_eq!(bytes(Check::EndOfData { left: 7 })[..14], [0xf0, 0, 8, 0, 0, 0, 7, 10, 0, 0, 0, 0, 0, 5]);
        assert_eq!(
            bytes(Check::Beginning { left: 2 })[..14],
            [0xf0, 0, 0x40, 0, 0, 0, 2, 10, 0, 0, 0, 0, 0, 4]
        );
    }

    #[test]
    fn a_wrong_field_of_the_cdb_is_pointed_at() {
        let expected = [0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0x00, 0, 0xc9, 0, 1];
        assert_eq!(bytes(Check::cdb_bit(1, 1)), expected);
        assert_eq!(bytes(Check::cdb(2))[15..], [0xc0, 0, 2]);
    }

    #[test]
    fn a_wrong_field_of_the_parameter_list_is_told_apart_from_the_cdb() {
        assert_eq!(bytes(Check::parameter(0x0102))[12..], [0x26, 0x00, 0, 0x80, 1, 2]);
    }

    #[test]
    fn information_that_does_not_fit_is_not_valid() {
        let sense = bytes(Check::EndOfData { left: 0x1_0000_0000 });
        assert_eq!(sense[..7], [0x70, 0, 8, 0, 0, 0, 0]);
        assert_eq!(
            bytes(Check::Miscompare { at: Some(0xffff_ffff) })[..7],
            [0xf0, 0, 0x0e, 255, 255, 255, 255]
        );
        assert_eq!(bytes(Check::EndOfData { left: -0x8000_0001 })[0], 0x70);
    }

    #[test]
    fn descriptor_format_carries_sixty_four_bits_and_the_stream_bits() {
        let expected = [
            0x72, 0x00, 0x00, 0x01, 0, 0, 0, 16, // header
            0x00, 0x0a, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, // information 1_0000_0000h
            0x04, 0x02, 0, 0x80, // stream commands: filemark
        ];
        assert_eq!(descriptor_bytes(Check::Filemark { left: 0x1_0000_0000, past_warning: false }), expected);
    }

    #[test]
    fn descriptor_format_points_at_fields_too() {
        let expected = [0x72, 0x05, 0x24, 0x00, 0, 0, 0, 8, 0x02, 0x06, 0, 0, 0xc0, 0, 4, 0];
        assert_eq!(descriptor_bytes(Check::cdb(4)), expected);
    }

    #[test]
    fn deferred_errors_have_their_own_response_codes() {
        let check = Check::WriteError { left: None };
        assert_eq!(Sense::deferred(check, SenseFormat::Fixed).as_bytes()[0], 0x71);
        assert_eq!(Sense::deferred(check, SenseFormat::Descriptor).as_bytes()[0], 0x73);
        assert_eq!(
            Sense::deferred(check, SenseFormat::Fixed).in_format(SenseFormat::Descriptor).as_bytes()[0],
            0x73
        );
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        use UnitAttention as Ua;
        let cases = [
            (Check::UnrecoveredRead { left: None }, [0x3, 0x11, 0x00]),
            (Check::WriteError { left: None }, [0x3, 0x0c, 0x00]),
            (Check::WriteProtected, [0x7, 0x27, 0x00]),
            (Check::WormOverwrite, [0x7, 0x30, 0x0c]),
            (Check::MediumNotPresent, [0x2, 0x3a, 0x00]),
            (Check::OperationInProgress, [0x2, 0x04, 0x07]),
            (Check::LoadOrEjectFailed, [0x4, 0x53, 0x00]),
            (Check::InvalidFieldInInformationUnit, [0x5, 0x0e, 0x03]),
            (Check::ParameterListLength, [0x5, 0x1a, 0x00]),
            (Check::InvalidElement, [0x5, 0x21, 0x01]),
            (Check::DestinationFull, [0x5, 0x3b, 0x0d]),
            (Check::SourceEmpty, [0x5, 0x3b, 0x0e]),
            (Check::RemovalPrevented, [0x5, 0x53, 0x02]),
            (Check::InsufficientRegistrations, [0x5, 0x55, 0x04]),
            (Check::Miscompare { at: None }, [0xe, 0x1d, 0x00]),
            (Check::Attention(Ua::PowerOn), [0x6, 0x29, 0x00]),
            (Check::Attention(Ua::ImportExportAccessed), [0x6, 0x28, 0x01]),
            (Check::Attention(Ua::ReservationsPreempted), [0x6, 0x2a, 0x03]),
            (Check::Attention(Ua::ReportedLunsChanged), [0x6, 0x3f, 0x0e]),
        ];
        for (check, [key, asc, ascq]) in cases {
            let sense = bytes(check);
            assert_eq!([sense[2] & 0x0f, sense[12], sense[13]], [key, asc, ascq], "{check:?}");
        }
    }
}
