//! The disk's command table (SBC-3, SPC-4).

use crate::{
    command::Cdb,
    spc::{Access, Row, SpcOp},
};

/// Commands of the disk itself, in all lengths of their CDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// READ.
    Read,
    /// WRITE.
    Write,
    /// WRITE AND VERIFY.
    WriteAndVerify,
    /// VERIFY.
    Verify,
    /// READ CAPACITY(10).
    ReadCapacity10,
    /// READ CAPACITY(16).
    ReadCapacity16,
    /// SYNCHRONIZE CACHE.
    SynchronizeCache,
    /// START STOP UNIT.
    StartStop,
}

/// Usage of an address of 4 bytes and a length of 2: `first` is byte 1.
macro_rules! cdb10 {
    ($opcode:literal, $first:literal) => {
        &[$opcode, $first, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0]
    };
}

/// Usage of an address of 4 bytes and a length of 4.
macro_rules! cdb12 {
    ($opcode:literal, $first:literal) => {
        &[$opcode, $first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0]
    };
}

/// Usage of an address of 8 bytes and a length of 4.
macro_rules! cdb16 {
    ($opcode:literal, $first:literal) => {
        &[$opcode, $first, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 0]
    };
}

pub(super) static COMMANDS: &[Row<Op>] = &[
    Row::spc(SpcOp::TestUnitReady),
    Row::spc(SpcOp::RequestSense),
    Row::new(0x08, &[0x08, 0x1f, 0xff, 0xff, 0xff, 0], Access::Read, Op::Read).ready(),
    Row::new(0x0a, &[0x0a, 0x1f, 0xff, 0xff, 0xff, 0], Access::Write, Op::Write).ready(),
    Row::spc(SpcOp::Inquiry),
    Row::spc(SpcOp::ModeSelect6),
    Row::spc(SpcOp::Reserve6),
    Row::spc(SpcOp::Release6),
    Row::spc(SpcOp::ModeSense6),
    Row::new(0x1b, &[0x1b, 0x01, 0, 0x0f, 0xf7, 0], Access::ByCdb(start_access), Op::StartStop),
    Row::spc(SpcOp::ReceiveDiagnostic),
    Row::spc(SpcOp::SendDiagnostic),
    Row::spc(SpcOp::PreventAllow),
    Row::new(0x25, &[0x25, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0], Access::Persistent, Op::ReadCapacity10)
        .ready(),
    Row::new(0x28, cdb10!(0x28, 0xf8), Access::Read, Op::Read).ready(),
    Row::new(0x2a, cdb10!(0x2a, 0xf8), Access::Write, Op::Write).ready(),
    Row::new(0x2e, cdb10!(0x2e, 0xf6), Access::Write, Op::WriteAndVerify).ready(),
    Row::new(0x2f, cdb10!(0x2f, 0xf6), Access::Read, Op::Verify).ready(),
    Row::new(0x35, cdb10!(0x35, 0x06), Access::Write, Op::SynchronizeCache).ready(),
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
    Row::new(0x88, cdb16!(0x88, 0xf8), Access::Read, Op::Read).ready(),
    Row::new(0x8a, cdb16!(0x8a, 0xf8), Access::Write, Op::Write).ready(),
    Row::new(0x8e, cdb16!(0x8e, 0xf6), Access::Write, Op::WriteAndVerify).ready(),
    Row::new(0x8f, cdb16!(0x8f, 0xf6), Access::Read, Op::Verify).ready(),
    Row::new(0x91, cdb16!(0x91, 0x06), Access::Write, Op::SynchronizeCache).ready(),
    Row::new(
        0x9e,
        &[0x9e, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0],
        Access::Always,
        Op::ReadCapacity16,
    )
    .action(0x10)
    .ready(),
    Row::spc(SpcOp::ReportLuns),
    Row::spc(SpcOp::ReportOperationCodes),
    Row::spc(SpcOp::ReportTaskManagement),
    Row::spc(SpcOp::ReportTimestamp),
    Row::spc(SpcOp::SetTimestamp),
    Row::new(0xa8, cdb12!(0xa8, 0xf8), Access::Read, Op::Read).ready(),
    Row::new(0xaa, cdb12!(0xaa, 0xf8), Access::Write, Op::Write).ready(),
    Row::new(0xae, cdb12!(0xae, 0xf6), Access::Write, Op::WriteAndVerify).ready(),
    Row::new(0xaf, cdb12!(0xaf, 0xf6), Access::Read, Op::Verify).ready(),
];

/// Starting with no power condition takes nothing from a holder; all else of START STOP UNIT does (SBC-2).
fn start_access(cdb: &Cdb) -> Access {
    if cdb.bit(4, 0) && cdb.byte(4) >> 4 == 0 { Access::Always } else { Access::Write }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_consistent() {
        crate::spc::check_table(super::COMMANDS);
    }
}
