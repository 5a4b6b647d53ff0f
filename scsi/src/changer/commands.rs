//! The changer's command table (SMC-3, SPC-4).

use crate::{
    command::Cdb,
    spc::{Access, Row, SpcOp},
};

/// Commands of the changer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// INITIALIZE ELEMENT STATUS.
    InitializeElementStatus,
    /// INITIALIZE ELEMENT STATUS WITH RANGE.
    InitializeWithRange,
    /// OPEN/CLOSE IMPORT/EXPORT ELEMENT.
    OpenCloseImportExport,
    /// POSITION TO ELEMENT.
    PositionToElement,
    /// MOVE MEDIUM.
    MoveMedium,
    /// EXCHANGE MEDIUM.
    ExchangeMedium,
    /// READ ELEMENT STATUS.
    ReadElementStatus,
}

/// An inventory of thousands of elements, and a movement with the load of a drive behind it.
const INVENTORY_S: u32 = 600;
const MOVE_S: u32 = 1800;

pub(super) static COMMANDS: &[Row<Op>] = &[
    Row::spc(SpcOp::TestUnitReady),
    Row::spc(SpcOp::RequestSense),
    Row::new(0x07, &[0x07, 0, 0, 0, 0, 0], Access::Write, Op::InitializeElementStatus)
        .timeouts(5, INVENTORY_S),
    Row::spc(SpcOp::Inquiry),
    Row::spc(SpcOp::ModeSelect6),
    Row::spc(SpcOp::Reserve6),
    Row::spc(SpcOp::Release6),
    Row::spc(SpcOp::ModeSense6),
    Row::new(0x1b, &[0x1b, 0, 0xff, 0xff, 0x1f, 0], Access::Write, Op::OpenCloseImportExport),
    Row::spc(SpcOp::ReceiveDiagnostic),
    Row::spc(SpcOp::SendDiagnostic),
    Row::spc(SpcOp::PreventAllow),
    Row::new(0x2b, &[0x2b, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0], Access::Write, Op::PositionToElement),
    Row::new(0x37, &[0x37, 0x03, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0], Access::Write, Op::InitializeWithRange)
        .timeouts(5, INVENTORY_S),
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
    Row::spc(SpcOp::ReportLuns),
    Row::spc(SpcOp::ReportOperationCodes),
    Row::spc(SpcOp::ReportTaskManagement),
    Row::spc(SpcOp::ReportTimestamp),
    Row::spc(SpcOp::SetTimestamp),
    Row::new(
        0xa5,
        &[0xa5, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x01, 0],
        Access::Write,
        Op::MoveMedium,
    )
    .timeouts(10, MOVE_S),
    Row::new(
        0xa6,
        &[0xa6, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0],
        Access::Write,
        Op::ExchangeMedium,
    )
    .timeouts(20, MOVE_S),
    Row::new(
        0xb8,
        &[0xb8, 0x1f, 0xff, 0xff, 0xff, 0xff, 0x03, 0xff, 0xff, 0xff, 0, 0],
        Access::ByCdb(status_access),
        Op::ReadElementStatus,
    ),
    // The same as 37h, by the vendor specific operation code that IBM libraries and mtx use.
    Row::new(0xe7, &[0xe7, 0x01, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0], Access::Write, Op::InitializeWithRange)
        .timeouts(5, INVENTORY_S),
];

/// With CURDATA no element is moved or looked at, so no reservation stands against it (SMC-3).
fn status_access(cdb: &Cdb) -> Access {
    if cdb.bit(6, 1) { Access::Always } else { Access::Write }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_is_consistent() {
        crate::spc::check_table(super::COMMANDS);
    }
}
