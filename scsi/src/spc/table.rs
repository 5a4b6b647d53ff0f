//! Command tables: what a device knows, how long it may take, who may send it, which bits of the CDB mean something.

use crate::command::Cdb;

/// One command of a device.
#[derive(Clone, Copy, Debug)]
pub struct Row<H> {
    /// Operation code.
    pub opcode: u8,
    /// Service action (byte 1, bits 4 to 0), where the operation code has them.
    pub action: Option<u8>,
    /// CDB usage data (SPC-4, REPORT SUPPORTED OPERATION CODES): a bit is set where the device looks. Its length is the CDB's;
    /// byte 0 is the operation code, the last one belongs to the control byte.
    pub usage: &'static [u8],
    /// Who may send it while another initiator holds a reservation.
    pub access: Access,
    /// The engine asks [`super::Device::ready`] first.
    pub needs_ready: bool,
    /// A pending unit attention is reported instead of running it. Not so for INQUIRY, REPORT LUNS and REQUEST SENSE.
    pub reports_attention: bool,
    /// For the command timeouts descriptor.
    pub timeouts: Timeouts,
    /// Who runs it.
    pub handler: Handler<H>,
}

/// Seconds (SPC-4, command timeouts descriptor).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Nominal command processing timeout.
    pub nominal_s: u32,
    /// Recommended command timeout.
    pub recommended_s: u32,
}

/// Who runs a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler<H> {
    /// The engine.
    Spc(SpcOp),
    /// The device.
    Device(H),
}

/// What reservations of another initiator mean for a command (SPC-4, SSC-4, SMC-3: tables of commands allowed in the presence of
/// various reservations; SPC-2 for RESERVE).
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Allowed through all of them.
    Always,
    /// Allowed through persistent reservations, not through RESERVE.
    Persistent,
    /// Allowed under the Write Exclusive types.
    Read,
    /// Only for the holder, or registrants where the type includes them.
    Write,
    /// It depends on the CDB.
    ByCdb(fn(&Cdb) -> Access),
}

impl Access {
    /// The answer for this very CDB.
    #[must_use]
    pub fn of(self, cdb: &Cdb) -> Self {
        match self {
            Self::ByCdb(decide) => decide(cdb),
            other => other,
        }
    }
}

/// Commands that the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SpcOp {
    TestUnitReady,
    RequestSense,
    Inquiry,
    ModeSelect6,
    ModeSelect10,
    ModeSense6,
    ModeSense10,
    Reserve6,
    Release6,
    Reserve10,
    Release10,
    SendDiagnostic,
    ReceiveDiagnostic,
    PreventAllow,
    LogSelect,
    LogSense,
    PrReadKeys,
    PrReadReservation,
    PrReportCapabilities,
    PrReadFullStatus,
    PrRegister,
    PrReserve,
    PrRelease,
    PrClear,
    PrPreempt,
    PrPreemptAndAbort,
    PrRegisterAndIgnore,
    ReportLuns,
    ReportOperationCodes,
    ReportTaskManagement,
    ReportTimestamp,
    SetTimestamp,
}

impl<H: Copy> Row<H> {
    /// A command of the device itself. It reports unit attentions and does not need readiness until told otherwise.
    #[must_use]
    pub const fn new(opcode: u8, usage: &'static [u8], access: Access, op: H) -> Self {
        Self {
            opcode,
            action: None,
            usage,
            access,
            needs_ready: false,
            reports_attention: true,
            timeouts: Timeouts { nominal_s: 1, recommended_s: 60 },
            handler: Handler::Device(op),
        }
    }

    /// With a service action.
    #[must_use]
    pub const fn action(mut self, action: u8) -> Self {
        self.action = Some(action);
        self
    }

    /// Only when [`super::Device::ready`] agrees.
    #[must_use]
    pub const fn ready(mut self) -> Self {
        self.needs_ready = true;
        self
    }

    /// With other timeouts.
    #[must_use]
    pub const fn timeouts(mut self, nominal_s: u32, recommended_s: u32) -> Self {
        self.timeouts = Timeouts { nominal_s, recommended_s };
        self
    }

    /// The row of a command that the engine runs.
    #[must_use]
    pub const fn spc(op: SpcOp) -> Self {
        let (opcode, action, usage, access) = spc_numbers(op);
        let exempt = matches!(op, SpcOp::Inquiry | SpcOp::ReportLuns | SpcOp::RequestSense);
        Self {
            opcode,
            action,
            usage,
            access,
            needs_ready: false,
            reports_attention: !exempt,
            timeouts: Timeouts { nominal_s: 1, recommended_s: 60 },
            handler: Handler::Spc(op),
        }
    }
}

type Numbers = (u8, Option<u8>, &'static [u8], Access);

/// Operation code, service action, usage data and access of the engine's own commands (SPC-4; RESERVE and RELEASE: SPC-2; PREVENT ALLOW
/// MEDIUM REMOVAL: SPC-4, its two prevent bits).
const fn spc_numbers(op: SpcOp) -> Numbers {
    use Access::{Always, ByCdb, Persistent, Read, Write};
    const PR_OUT: &[u8] = &[0x5f, 0x1f, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0];
    const PR_IN: &[u8] = &[0x5e, 0x1f, 0, 0, 0, 0, 0, 0xff, 0xff, 0];
    match op {
        SpcOp::TestUnitReady => (0x00, None, &[0x00, 0, 0, 0, 0, 0], Persistent),
        SpcOp::RequestSense => (0x03, None, &[0x03, 0x01, 0, 0, 0xff, 0], Always),
        SpcOp::Inquiry => (0x12, None, &[0x12, 0x01, 0xff, 0xff, 0xff, 0], Always),
        SpcOp::ModeSelect6 => (0x15, None, &[0x15, 0x11, 0, 0, 0xff, 0], Write),
        SpcOp::Reserve6 => (0x16, None, &[0x16, 0x1f, 0xff, 0, 0, 0], Always),
        SpcOp::Release6 => (0x17, None, &[0x17, 0x1f, 0xff, 0, 0, 0], Always),
        SpcOp::ModeSense6 => (0x1a, None, &[0x1a, 0x08, 0xff, 0xff, 0xff, 0], Read),
        SpcOp::ReceiveDiagnostic => (0x1c, None, &[0x1c, 0x01, 0xff, 0xff, 0xff, 0], Read),
        SpcOp::SendDiagnostic => (0x1d, None, &[0x1d, 0xf7, 0, 0xff, 0xff, 0], Write),
        SpcOp::PreventAllow => (0x1e, None, &[0x1e, 0, 0, 0, 0x03, 0], ByCdb(prevent_access)),
        SpcOp::LogSelect => (0x4c, None, &[0x4c, 0x03, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], Write),
        SpcOp::LogSense => (0x4d, None, &[0x4d, 0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, 0], Always),
        SpcOp::ModeSelect10 => (0x55, None, &[0x55, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, 0], Write),
        SpcOp::Reserve10 => (0x56, None, &[0x56, 0x1f, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], Always),
        SpcOp::Release10 => (0x57, None, &[0x57, 0x1f, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], Always),
        SpcOp::ModeSense10 => (0x5a, None, &[0x5a, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0], Read),
        SpcOp::PrReadKeys => (0x5e, Some(0x00), PR_IN, Always),
        SpcOp::PrReadReservation => (0x5e, Some(0x01), PR_IN, Always),
        SpcOp::PrReportCapabilities => (0x5e, Some(0x02), PR_IN, Always),
        SpcOp::PrReadFullStatus => (0x5e, Some(0x03), PR_IN, Always),
        SpcOp::PrRegister => (0x5f, Some(0x00), PR_OUT, Always),
        SpcOp::PrReserve => (0x5f, Some(0x01), PR_OUT, Always),
        SpcOp::PrRelease => (0x5f, Some(0x02), PR_OUT, Always),
        SpcOp::PrClear => (0x5f, Some(0x03), PR_OUT, Always),
        SpcOp::PrPreempt => (0x5f, Some(0x04), PR_OUT, Always),
        SpcOp::PrPreemptAndAbort => (0x5f, Some(0x05), PR_OUT, Always),
        SpcOp::PrRegisterAndIgnore => (0x5f, Some(0x06), PR_OUT, Always),
        SpcOp::ReportLuns => (0xa0, None, &[0xa0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], Always),
        SpcOp::ReportOperationCodes => {
            (0xa3, Some(0x0c), &[0xa3, 0x1f, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], Read)
        }
        SpcOp::ReportTaskManagement => {
            (0xa3, Some(0x0d), &[0xa3, 0x1f, 0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], Read)
        }
        SpcOp::ReportTimestamp => {
            (0xa3, Some(0x0f), &[0xa3, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], Always)
        }
        SpcOp::SetTimestamp => {
            (0xa4, Some(0x0f), &[0xa4, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0], Write)
        }
    }
}

/// Allowing removal never conflicts; preventing it does.
fn prevent_access(cdb: &Cdb) -> Access {
    if cdb.byte(4) & 0x03 == 0 { Access::Always } else { Access::Write }
}

/// The row that a CDB means.
pub(super) enum Found<'a, H> {
    /// This one.
    Row(&'a Row<H>),
    /// The operation code is known, this service action of it is not.
    NoAction,
    /// Unknown.
    Nothing,
}

/// Service actions stand in byte 1, bits 4 to 0.
const ACTION_MASK: u8 = 0x1f;

pub(super) fn find<'a, H>(rows: &'a [Row<H>], cdb: &Cdb) -> Found<'a, H> {
    let mut same_code = rows.iter().filter(|row| row.opcode == cdb.opcode()).peekable();
    if same_code.peek().is_none() {
        return Found::Nothing;
    }
    let action = cdb.byte(1) & ACTION_MASK;
    match same_code.find(|row| row.action.is_none_or(|of_row| of_row == action)) {
        Some(row) => Found::Row(row),
        None => Found::NoAction,
    }
}

/// Byte 1, bits 7 to 5: the LUN in SCSI-2. Linux `ch` and mtx still write it there, so it means nothing here.
const OLD_LUN_BITS: u8 = 0xe0;
/// Control byte: the reserved bits and NACA, which we do not have (ACA). Vendor specific and obsolete bits are let pass.
const CONTROL_REFUSED: u8 = 0x3c;

/// The first bit that is set although the row does not know it, as byte and bit.
pub(super) fn unknown_bit(usage: &[u8], cdb: &Cdb) -> Option<(u16, u8)> {
    let last = usage.len().checked_sub(1)?;
    usage.iter().enumerate().skip(1).find_map(|(at, known)| {
        let refused = match at {
            _ if at == last => CONTROL_REFUSED,
            1 => !(known | OLD_LUN_BITS),
            _ => !known,
        };
        let wrong = cdb.byte(at) & refused;
        let bit = 7u8.checked_sub(u8::try_from(wrong.leading_zeros()).ok()?)?;
        Some((u16::try_from(at).ok()?, bit))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What must hold in every device's table.
    pub(crate) fn check_table<H: core::fmt::Debug>(rows: &[Row<H>]) {
        for (at, row) in rows.iter().enumerate() {
            let length = match row.opcode >> 5 {
                0 => Some(6),
                1 | 2 => Some(10),
                4 => Some(16),
                5 => Some(12),
                _ => None, // vendor specific groups
            };
            assert!(
                length.is_none_or(|length| row.usage.len() == length),
                "{row:?}: CDB length by group code"
            );
            assert_eq!(row.usage[0], row.opcode, "{row:?}: usage data begin with the operation code");
            if row.action.is_some() {
                assert_eq!(row.usage[1] & 0x1f, 0x1f, "{row:?}: a service action is looked at");
            }
            for other in &rows[..at] {
                assert!(other.opcode <= row.opcode, "{row:?} stands behind {other:?}");
                let same = other.opcode == row.opcode;
                assert!(!same || other.action < row.action, "{row:?} stands behind {other:?}");
                assert!(!same || other.action.is_some(), "{row:?}: service actions and none");
            }
        }
    }

    #[test]
    fn old_lun_bits_and_vendor_bits_are_let_pass() {
        let usage = [0xb8, 0x1f, 0xff, 0, 0, 0];
        assert_eq!(unknown_bit(&usage, &Cdb::new(&[0xb8, 0xe0, 0x12, 0, 0, 0xc3])), None);
    }

    #[test]
    fn the_first_unknown_bit_is_pointed_at() {
        let usage = [0x12, 0x01, 0xff, 0, 0xff, 0];
        assert_eq!(unknown_bit(&usage, &Cdb::new(&[0x12, 0x02])), Some((1, 1)));
        assert_eq!(unknown_bit(&usage, &Cdb::new(&[0x12, 0, 0, 0x90])), Some((3, 7)));
    }

    #[test]
    fn naca_is_refused() {
        assert_eq!(unknown_bit(&[0, 0, 0, 0, 0, 0], &Cdb::new(&[0, 0, 0, 0, 0, 0x04])), Some((5, 2)));
    }

    #[test]
    fn bytes_behind_the_cdb_mean_nothing() {
        assert_eq!(unknown_bit(&[0, 0, 0, 0, 0, 0], &Cdb::new(&[0, 0, 0, 0, 0, 0, 0xff])), None);
    }
}
