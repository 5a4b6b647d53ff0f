//! The drive's commands: the table that dispatches, and what each CDB means (SSC-4; READ and WRITE ATTRIBUTE:
//! SPC-4).

use super::deck::{Shape, Target, Unit};
use crate::{
    command::Cdb,
    sense::Check,
    spc::{Access, Row, SpcOp},
};

/// The commands that the drive runs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapeOp {
    Rewind,
    FormatMedium,
    ReadBlockLimits,
    Read6,
    Write6,
    WriteFilemarks6,
    Space6,
    Verify6,
    Erase6,
    LoadUnload,
    Locate10,
    ReadPosition,
    ReportDensitySupport,
    ReadAttribute,
    WriteAttribute,
    Space16,
    Locate16,
    ReadMediaSerialNumber,
}

/// Service actions of READ POSITION.
const POSITION_USAGE: &[u8] = &[0x34, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0];
const ATTRIBUTE_USAGE: &[u8] =
    &[0x8c, 0x1f, 0, 0, 0, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0];

/// A command that takes as long as a long tape may: seconds, nominal and recommended.
const MOTION_S: (u32, u32) = (60, 900);
/// A command that moves data.
const DATA_S: (u32, u32) = (5, 900);

const fn row(
    opcode: u8,
    usage: &'static [u8],
    access: Access,
    op: TapeOp,
    time_s: (u32, u32),
) -> Row<TapeOp> {
    Row::new(opcode, usage, access, op).timeouts(time_s.0, time_s.1).ready()
}

const fn anytime(opcode: u8, usage: &'static [u8], access: Access, op: TapeOp) -> Row<TapeOp> {
    Row::new(opcode, usage, access, op)
}

const fn position(action: u8) -> Row<TapeOp> {
    row(0x34, POSITION_USAGE, Access::Read, TapeOp::ReadPosition, (1, 60)).action(action)
}

const fn attribute(action: u8) -> Row<TapeOp> {
    row(0x8c, ATTRIBUTE_USAGE, Access::Read, TapeOp::ReadAttribute, (1, 60)).action(action)
}

/// Every command of the drive, by operation code and service action. Access: moving and reading count as
/// reads; what tells only of the drive or the cartridge's number is open to all, as the T10000's manual has
/// it.
pub(super) const ROWS: &[Row<TapeOp>] = &[
    Row::spc(SpcOp::TestUnitReady),
    row(0x01, &[0x01, 0x01, 0, 0, 0, 0], Access::Read, TapeOp::Rewind, MOTION_S),
    Row::spc(SpcOp::RequestSense),
    row(0x04, &[0x04, 0x01, 0x0f, 0xff, 0xff, 0], Access::Write, TapeOp::FormatMedium, MOTION_S),
    anytime(0x05, &[0x05, 0x01, 0, 0, 0, 0], Access::Always, TapeOp::ReadBlockLimits),
    row(0x08, &[0x08, 0x03, 0xff, 0xff, 0xff, 0], Access::Read, TapeOp::Read6, DATA_S),
    row(0x0a, &[0x0a, 0x01, 0xff, 0xff, 0xff, 0], Access::Write, TapeOp::Write6, DATA_S),
    row(0x10, &[0x10, 0x01, 0xff, 0xff, 0xff, 0], Access::Write, TapeOp::WriteFilemarks6, DATA_S),
    row(0x11, &[0x11, 0x0f, 0xff, 0xff, 0xff, 0], Access::Read, TapeOp::Space6, MOTION_S),
    Row::spc(SpcOp::Inquiry),
    row(0x13, &[0x13, 0x05, 0xff, 0xff, 0xff, 0], Access::Read, TapeOp::Verify6, MOTION_S),
    Row::spc(SpcOp::ModeSelect6),
    Row::spc(SpcOp::Reserve6),
    Row::spc(SpcOp::Release6),
    row(0x19, &[0x19, 0x03, 0, 0, 0, 0], Access::Write, TapeOp::Erase6, MOTION_S),
    Row::spc(SpcOp::ModeSense6),
    anytime(0x1b, &[0x1b, 0x01, 0, 0, 0x0f, 0], Access::Write, TapeOp::LoadUnload).timeouts(60, 900),
    Row::spc(SpcOp::ReceiveDiagnostic),
    Row::spc(SpcOp::SendDiagnostic),
    Row::spc(SpcOp::PreventAllow),
    row(0x2b, &[0x2b, 0x07, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0], Access::Read, TapeOp::Locate10, MOTION_S),
    position(0x00),
    position(0x01),
    position(0x06),
    position(0x08),
    anytime(0x44, &[0x44, 0x03, 0, 0, 0, 0, 0, 0xff, 0xff, 0], Access::Always, TapeOp::ReportDensitySupport),
    Row::spc(SpcOp::LogSelect),
    Row::spc(SpcOp::LogSense),
    Row::spc(SpcOp::ModeSelect10),
    Row::spc(SpcOp::Reserve10),
    Row::spc(SpcOp::Release10),
    Row::spc(SpcOp::ModeSense10),
    Row::spc(SpcOp::PrReadKeys),
    Row::spc(SpcOp::PrReadReservation),
    Row::spc(SpcOp::PrReportCapabilities),
    Row::spc(SpcOp::PrReadFullStatus),
    Row::spc(SpcOp::PrRegister),
    Row::spc(SpcOp::PrReserve),
    Row::spc(SpcOp::PrRelease),
    Row::spc(SpcOp::PrClear),
    Row::spc(SpcOp::PrPreempt),
    Row::spc(SpcOp::PrPreemptAndAbort),
    Row::spc(SpcOp::PrRegisterAndIgnore),
    attribute(0x00),
    attribute(0x01),
    attribute(0x02),
    attribute(0x03),
    attribute(0x05),
    row(
        0x8d,
        &[0x8d, 0x01, 0, 0, 0, 0xff, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        Access::Write,
        TapeOp::WriteAttribute,
        (1, 60),
    ),
    row(
        0x91,
        &[0x91, 0x0f, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        Access::Read,
        TapeOp::Space16,
        MOTION_S,
    ),
    row(
        0x92,
        &[0x92, 0x3b, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        Access::Read,
        TapeOp::Locate16,
        MOTION_S,
    ),
    Row::spc(SpcOp::ReportLuns),
    Row::spc(SpcOp::ReportOperationCodes),
    Row::spc(SpcOp::ReportTaskManagement),
    Row::spc(SpcOp::ReportTimestamp),
    Row::spc(SpcOp::SetTimestamp),
    row(
        0xab,
        &[0xab, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
        Access::Always,
        TapeOp::ReadMediaSerialNumber,
        (1, 60),
    )
    .action(0x01),
];

/// What the host wants of the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TapeCommand {
    /// REWIND, 01h. IMMED makes no difference: a rewind takes no time here.
    Rewind,
    /// FORMAT MEDIUM, 04h, into one partition.
    FormatMedium,
    /// READ BLOCK LIMITS, 05h. `largest_object`: MLOI, the largest logical object number instead.
    ReadBlockLimits { largest_object: bool },
    /// READ(6), 08h.
    Read(Shape),
    /// WRITE(6), 0Ah.
    Write(Shape),
    /// WRITE FILEMARKS(6), 10h.
    WriteFilemarks { count: u32, immed: bool },
    /// SPACE(6), 11h, and SPACE(16), 91h.
    Space { unit: Unit, count: i64 },
    /// VERIFY(6), 13h, without byte compare: blocks are read and checked, not transferred.
    Verify(Shape),
    /// ERASE(6), 19h.
    Erase { long: bool },
    /// LOAD UNLOAD, 1Bh.
    LoadUnload(LoadRequest),
    /// LOCATE(10), 2Bh, and LOCATE(16), 92h.
    Locate(Target),
    /// READ POSITION, 34h.
    ReadPosition { form: PositionForm, allocation: usize },
    /// REPORT DENSITY SUPPORT, 44h.
    ReportDensitySupport { of_medium: bool, medium_types: bool, allocation: usize },
    /// READ ATTRIBUTE, 8Ch.
    ReadAttribute { service: AttributeService, first: u16, allocation: usize },
    /// WRITE ATTRIBUTE, 8Dh. It is durable when status is sent, so WTC makes no difference.
    WriteAttribute { list_length: usize },
    /// READ MEDIA SERIAL NUMBER, ABh/01h.
    ReadMediaSerialNumber { allocation: usize },
}

/// Where LOAD UNLOAD leaves the cartridge. Nothing is wound here, so EOT and RETEN make no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadRequest {
    /// LOAD 1, HOLD 0: ready, at beginning of partition.
    Load,
    /// HOLD 1: in the drive, unthreaded, not ejected.
    Hold,
    /// LOAD 0, HOLD 0: to be taken out; refused while removal is prevented.
    Unload,
}

/// Service actions of READ POSITION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PositionForm {
    /// 00h, and 01h with vendor specific addresses, which are the same here.
    Short,
    /// 06h.
    Long,
    /// 08h.
    Extended,
}

/// Service actions of READ ATTRIBUTE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttributeService {
    /// 00h.
    Values,
    /// 01h: those that exist.
    List,
    /// 02h.
    LogicalVolumes,
    /// 03h.
    Partitions,
    /// 05h: those that may exist.
    Supported,
}

impl TapeCommand {
    /// What `cdb` means; its operation code and bits have been checked against [`ROWS`].
    pub(super) fn parse(op: TapeOp, cdb: &Cdb) -> Result<Self, Check> {
        Ok(match op {
            TapeOp::Rewind => Self::Rewind,
            TapeOp::FormatMedium => {
                only_zero(cdb, 2)?;
                only_zero(cdb, 3)?;
                only_zero(cdb, 4)?;
                Self::FormatMedium
            }
            TapeOp::ReadBlockLimits => Self::ReadBlockLimits { largest_object: cdb.bit(1, 0) },
            TapeOp::Read6 => Self::Read(shape(cdb, cdb.bit(1, 1))?),
            TapeOp::Write6 => Self::Write(shape(cdb, false)?),
            TapeOp::Verify6 => Self::Verify(shape(cdb, false)?),
            TapeOp::WriteFilemarks6 => Self::WriteFilemarks { count: cdb.be24(2), immed: cdb.bit(1, 0) },
            TapeOp::Space6 => Self::Space { unit: unit(cdb)?, count: signed24(cdb.be24(2)) },
            TapeOp::Space16 => Self::Space { unit: unit(cdb)?, count: cdb.be64(4).cast_signed() },
            TapeOp::Erase6 => Self::Erase { long: cdb.bit(1, 0) },
            TapeOp::LoadUnload => Self::LoadUnload(load_request(cdb)?),
            TapeOp::Locate10 => {
                partition_zero(cdb, 8, cdb.bit(1, 1))?;
                Self::Locate(Target::Object(cdb.be32(3).into()))
            }
            TapeOp::Locate16 => {
                partition_zero(cdb, 3, cdb.bit(1, 1))?;
                Self::Locate(target(cdb)?)
            }
            TapeOp::ReadPosition => {
                Self::ReadPosition { form: position_form(cdb)?, allocation: cdb.be16(7).into() }
            }
            TapeOp::ReportDensitySupport => Self::ReportDensitySupport {
                of_medium: cdb.bit(1, 0),
                medium_types: cdb.bit(1, 1),
                allocation: cdb.be16(7).into(),
            },
            TapeOp::ReadAttribute => {
                only_zero(cdb, 5)?;
                only_zero(cdb, 7)?;
                Self::ReadAttribute {
                    service: attribute_service(cdb)?,
                    first: cdb.be16(8),
                    allocation: cdb.be32(10) as usize,
                }
            }
            TapeOp::WriteAttribute => {
                only_zero(cdb, 5)?;
                only_zero(cdb, 7)?;
                Self::WriteAttribute { list_length: cdb.be32(10) as usize }
            }
            TapeOp::ReadMediaSerialNumber => Self::ReadMediaSerialNumber { allocation: cdb.be32(6) as usize },
        })
    }
}

/// A field that has one allowed value: partitions and logical volumes other than 0, formats with partitions.
fn only_zero(cdb: &Cdb, at: u16) -> Result<(), Check> {
    if cdb.byte(at.into()) == 0 { Ok(()) } else { Err(Check::cdb(at)) }
}

/// The partition at `at` counts only with CP.
fn partition_zero(cdb: &Cdb, at: u16, change_partition: bool) -> Result<(), Check> {
    if change_partition { only_zero(cdb, at) } else { Ok(()) }
}

fn shape(cdb: &Cdb, sili: bool) -> Result<Shape, Check> {
    let length = cdb.be24(2);
    match (cdb.bit(1, 0), sili) {
        (true, true) => Err(Check::cdb_bit(1, 1)),
        (true, false) => Ok(Shape::Fixed { blocks: length }),
        (false, sili) => Ok(Shape::Variable { length, sili }),
    }
}

/// SPACE code; setmarks (4h, 5h) are obsolete and refused like the reserved codes.
fn unit(cdb: &Cdb) -> Result<Unit, Check> {
    match cdb.byte(1) & 0x0f {
        0x0 => Ok(Unit::Blocks),
        0x1 => Ok(Unit::Filemarks),
        0x2 => Ok(Unit::SequentialFilemarks),
        0x3 => Ok(Unit::EndOfData),
        _ => Err(Check::cdb_bit(1, 3)),
    }
}

/// Two's complement in 24 bits.
fn signed24(raw: u32) -> i64 {
    i64::from((raw << 8).cast_signed() >> 8)
}

fn load_request(cdb: &Cdb) -> Result<LoadRequest, Check> {
    let (load, end_of_tape, hold) = (cdb.bit(4, 0), cdb.bit(4, 2), cdb.bit(4, 3));
    match (load, hold) {
        (true, _) if end_of_tape => Err(Check::cdb_bit(4, 2)),
        (_, true) => Ok(LoadRequest::Hold),
        (true, false) => Ok(LoadRequest::Load),
        (false, false) => Ok(LoadRequest::Unload),
    }
}

/// LOCATE(16) destination type.
fn target(cdb: &Cdb) -> Result<Target, Check> {
    let identifier = cdb.be64(4);
    match cdb.byte(1) >> 3 & 0x07 {
        0x0 => Ok(Target::Object(identifier)),
        0x1 => Ok(Target::File(identifier)),
        0x3 => Ok(Target::EndOfData),
        _ => Err(Check::cdb_bit(1, 5)),
    }
}

fn position_form(cdb: &Cdb) -> Result<PositionForm, Check> {
    match cdb.byte(1) & 0x1f {
        0x00 | 0x01 => Ok(PositionForm::Short),
        0x06 => Ok(PositionForm::Long),
        0x08 => Ok(PositionForm::Extended),
        _ => Err(Check::cdb_bit(1, 4)),
    }
}

fn attribute_service(cdb: &Cdb) -> Result<AttributeService, Check> {
    match cdb.byte(1) & 0x1f {
        0x00 => Ok(AttributeService::Values),
        0x01 => Ok(AttributeService::List),
        0x02 => Ok(AttributeService::LogicalVolumes),
        0x03 => Ok(AttributeService::Partitions),
        0x05 => Ok(AttributeService::Supported),
        _ => Err(Check::cdb_bit(1, 4)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn parse(op: TapeOp, bytes: &[u8]) -> Result<TapeCommand, Check> {
        TapeCommand::parse(op, &Cdb::new(bytes))
    }

    #[test]
    fn rows_are_ascending_and_as_long_as_their_group_says() {
        for row in ROWS {
            let length = [6, 10, 10, 0, 16, 12, 0, 0][usize::from(row.opcode >> 5)];
            assert_eq!(row.usage.len(), length, "{row:?}");
            assert_eq!(row.usage[0], row.opcode, "{row:?}");
        }
        assert!(ROWS.is_sorted_by_key(|row| (row.opcode, row.action)));
        assert!(
            ROWS.windows(2).all(|pair| (pair[0].opcode, pair[0].action) != (pair[1].opcode, pair[1].action))
        );
    }

    #[test]
    fn the_drive_knows_these_commands() {
        let mut codes: Vec<u8> = ROWS.iter().map(|row| row.opcode).collect();
        codes.dedup();
        let expected = [
            0x00, 0x01, 0x03, 0x04, 0x05, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x13, 0x15, 0x16, 0x17, 0x19, 0x1a,
            0x1b, 0x1c, 0x1d, 0x1e, 0x2b, 0x34, 0x44, 0x4c, 0x4d, 0x55, 0x56, 0x57, 0x5a, 0x5e, 0x5f, 0x8c,
            0x8d, 0x91, 0x92, 0xa0, 0xa3, 0xa4, 0xab,
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn fixed_and_sili_together_are_refused() {
        assert_eq!(parse(TapeOp::Read6, &[0x08, 0x03, 0, 0, 1, 0]), Err(Check::cdb_bit(1, 1)));
        let asked = Shape::Variable { length: 0x01_0203, sili: true };
        assert_eq!(parse(TapeOp::Read6, &[0x08, 0x02, 1, 2, 3, 0]), Ok(TapeCommand::Read(asked)));
    }

    #[test]
    fn space_counts_are_signed() {
        let space = |count| Ok(TapeCommand::Space { unit: Unit::Filemarks, count });
        assert_eq!(parse(TapeOp::Space6, &[0x11, 0x01, 0xff, 0xff, 0xfe, 0]), space(-2));
        assert_eq!(parse(TapeOp::Space6, &[0x11, 0x01, 0x7f, 0xff, 0xff, 0]), space(8_388_607));
        assert_eq!(parse(TapeOp::Space6, &[0x11, 0x01, 0x80, 0x00, 0x00, 0]), space(-8_388_608));
        let cdb = [0x91, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(parse(TapeOp::Space16, &cdb), space(-1));
        assert_eq!(parse(TapeOp::Space6, &[0x11, 0x04, 0, 0, 1, 0]), Err(Check::cdb_bit(1, 3)));
    }

    #[test]
    fn locate_knows_object_file_and_end_of_data() {
        let cdb = |flags, partition| [0x92, flags, 0, partition, 0, 0, 0, 1, 0, 0, 0, 2];
        let at = 0x1_0000_0002;
        assert_eq!(parse(TapeOp::Locate16, &cdb(0x00, 9)), Ok(TapeCommand::Locate(Target::Object(at))));
        assert_eq!(parse(TapeOp::Locate16, &cdb(0x08, 0)), Ok(TapeCommand::Locate(Target::File(at))));
        assert_eq!(parse(TapeOp::Locate16, &cdb(0x18, 0)), Ok(TapeCommand::Locate(Target::EndOfData)));
        assert_eq!(parse(TapeOp::Locate16, &cdb(0x10, 0)), Err(Check::cdb_bit(1, 5)));
        assert_eq!(parse(TapeOp::Locate16, &cdb(0x02, 1)), Err(Check::cdb(3)));
    }

    #[test]
    fn a_partition_other_than_0_is_refused_only_when_it_counts() {
        let cdb = |flags| [0x2b, flags, 0, 0, 0, 1, 0, 0, 1, 0];
        assert_eq!(parse(TapeOp::Locate10, &cdb(0x04)), Ok(TapeCommand::Locate(Target::Object(0x100))));
        assert_eq!(parse(TapeOp::Locate10, &cdb(0x02)), Err(Check::cdb(8)));
    }

    #[test]
    fn load_with_end_of_tape_is_refused() {
        assert_eq!(parse(TapeOp::LoadUnload, &[0x1b, 0, 0, 0, 0x05, 0]), Err(Check::cdb_bit(4, 2)));
        let load = |bits| parse(TapeOp::LoadUnload, &[0x1b, 0, 0, 0, bits, 0]);
        assert_eq!(load(0x01), Ok(TapeCommand::LoadUnload(LoadRequest::Load)));
        assert_eq!(load(0x03), Ok(TapeCommand::LoadUnload(LoadRequest::Load)));
        assert_eq!(load(0x06), Ok(TapeCommand::LoadUnload(LoadRequest::Unload)));
        assert_eq!(load(0x08), Ok(TapeCommand::LoadUnload(LoadRequest::Hold)));
    }

    #[test]
    fn formats_with_partitions_are_refused() {
        assert_eq!(parse(TapeOp::FormatMedium, &[0x04, 0, 0x01, 0, 0, 0]), Err(Check::cdb(2)));
        assert_eq!(parse(TapeOp::FormatMedium, &[0x04, 0, 0, 0, 0, 0]), Ok(TapeCommand::FormatMedium));
    }
}
