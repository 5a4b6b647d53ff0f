//! The order in which a command is judged, and who runs it.

use alloc::vec::Vec;

use super::{
    Common, LogParameter, ModeHeader, ModeSelect, PageCode, Row, SpcOp, diagnostic, log, luns, mode, opcodes,
    persistent, reserve,
    table::{Found, Handler, find, unknown_bit},
    timestamp,
};
use crate::{
    command::{Command, NexusId, Reply},
    persist::Persist,
    sense::{Check, Sense},
};

/// What a device adds to the engine. Hooks with a default are for what it does not have.
pub trait Device {
    /// Its own commands.
    type Op: Copy + core::fmt::Debug + 'static;
    /// Where its durable values go.
    type Store: Persist;

    /// Its commands, all of them, ascending by operation code and service action.
    fn commands(&self) -> &'static [Row<Self::Op>];

    /// The engine's state.
    fn common(&self) -> &Common<Self::Store>;

    /// The engine's state, to change.
    fn common_mut(&mut self) -> &mut Common<Self::Store>;

    /// Runs one of its own commands. Unit attentions, reservations, unknown bits and readiness are already checked.
    fn run(&mut self, op: Self::Op, command: &Command) -> Reply;

    /// TEST UNIT READY, and the gate of every row that needs readiness.
    ///
    /// # Errors
    /// Why it is not ready.
    fn ready(&mut self) -> Result<(), Check> {
        Ok(())
    }

    /// An error of an earlier, acknowledged command that this nexus is to hear of now; told once.
    fn take_deferred(&mut self, nexus: NexusId) -> Option<Check> {
        let _ = nexus;
        None
    }

    /// What REQUEST SENSE tells when nothing is pending: a state such as 2/3A/00, not an error.
    fn idle_sense(&mut self) -> Check {
        Check::NoSense
    }

    /// The number of nexuses that prevent removal changed from none to some (`true`) or back.
    fn removal_prevention_changed(&mut self, prevented: bool) {
        let _ = prevented;
    }

    /// Called before MODE SENSE and MODE SELECT look at the pages: a device whose pages follow the world sets them here.
    fn refresh_modes(&mut self) {}

    /// Medium type, device-specific parameter and block descriptor for MODE SENSE.
    fn mode_header(&self) -> ModeHeader {
        ModeHeader::default()
    }

    /// Judges a MODE SELECT whose pages the engine has already found in order; nothing is changed yet.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_mode_select(&self, select: &ModeSelect) -> Result<(), Check> {
        let _ = select;
        Ok(())
    }

    /// Applies header and block descriptor before the engine applies the pages; says whether anything changed, so that other initiators
    /// hear of it. What must be durable before a mode change is made durable here.
    ///
    /// # Errors
    /// Then nothing is changed.
    fn apply_mode_select(&mut self, select: &ModeSelect) -> Result<bool, Check> {
        let _ = select;
        Ok(false)
    }

    /// Log pages that it has beside 00h, ascending.
    fn log_pages(&self) -> &[PageCode] {
        &[]
    }

    /// The parameters of one of those pages, ascending by code.
    fn log_page(&self, page: PageCode) -> Option<Vec<LogParameter>> {
        let _ = page;
        None
    }

    /// LOG SELECT with PCR: counters of this page (or all) go to zero. `false` when it cannot be done.
    fn reset_log(&mut self, page: Option<PageCode>) -> bool {
        let _ = page;
        false
    }
}

/// Runs one command to its end; see the module for the order.
pub fn execute<D: Device>(device: &mut D, command: &Command) -> Reply {
    let mut reply = match admit(device, command) {
        Ok(Handler::Spc(op)) => run_spc(device, op, command),
        Ok(Handler::Device(op)) => device.run(op, command),
        Err(refusal) => refusal,
    };
    if let Some(sense) = reply.sense {
        reply.sense = Some(sense.in_format(device.common().sense_format()));
    }
    reply
}

/// Everything before the command itself.
fn admit<D: Device>(device: &mut D, command: &Command) -> Result<Handler<D::Op>, Reply> {
    let found = find(device.commands(), &command.cdb);
    let row = match &found {
        Found::Row(row) => Some(**row),
        Found::NoAction | Found::Nothing => None,
    };
    let missing = match found {
        Found::NoAction => Check::cdb_bit(1, 4),
        _ => Check::InvalidOpcode,
    };
    if row.is_none_or(|row| row.reports_attention)
        && let Some(what) = device.common_mut().take_attention(command.nexus)
    {
        return Err(Check::Attention(what).into());
    }
    let row = row.ok_or(missing)?;
    if !reserve::is_allowed(device.common(), command.nexus, row.access, &command.cdb) {
        return Err(reserve::conflict());
    }
    // Behind the reservation: who may not use the device takes no error away from those who do.
    if row.reports_attention
        && let Some(check) = device.take_deferred(command.nexus)
    {
        return Err(Reply::deferred(check));
    }
    if let Some((byte, bit)) = unknown_bit(row.usage, &command.cdb) {
        return Err(Check::cdb_bit(byte, bit).into());
    }
    if row.needs_ready {
        device.ready()?;
    }
    Ok(row.handler)
}

fn run_spc<D: Device>(device: &mut D, op: SpcOp, command: &Command) -> Reply {
    match op {
        SpcOp::TestUnitReady => device.ready().map_or_else(Reply::check, |()| Reply::good()),
        SpcOp::RequestSense => request_sense(device, command),
        SpcOp::Inquiry => device.common().identity().inquiry(&command.cdb),
        SpcOp::ModeSense6 | SpcOp::ModeSense10 => mode::sense(device, op, command),
        SpcOp::ModeSelect6 | SpcOp::ModeSelect10 => mode::select(device, op, command),
        SpcOp::Reserve6 | SpcOp::Release6 | SpcOp::Reserve10 | SpcOp::Release10 => {
            reserve::run(device.common_mut(), op, command)
        }
        SpcOp::SendDiagnostic => diagnostic::send(command),
        SpcOp::ReceiveDiagnostic => diagnostic::receive(command),
        SpcOp::PreventAllow => prevent_allow(device, command),
        SpcOp::LogSense => log::sense(device, command),
        SpcOp::LogSelect => log::select(device, command),
        SpcOp::PrReadKeys
        | SpcOp::PrReadReservation
        | SpcOp::PrReportCapabilities
        | SpcOp::PrReadFullStatus => persistent::report(device.common(), op, command),
        SpcOp::PrRegister
        | SpcOp::PrReserve
        | SpcOp::PrRelease
        | SpcOp::PrClear
        | SpcOp::PrPreempt
        | SpcOp::PrPreemptAndAbort
        | SpcOp::PrRegisterAndIgnore => persistent_out(device, op, command),
        SpcOp::ReportLuns => {
            let common = device.common_mut();
            let reply = luns::report_luns(&command.cdb, common.luns());
            common.clear_attention(command.nexus, crate::unit::UnitAttention::ReportedLunsChanged);
            reply
        }
        SpcOp::ReportOperationCodes => opcodes::report(device.commands(), &command.cdb),
        SpcOp::ReportTaskManagement => opcodes::report_task_management(&command.cdb),
        SpcOp::ReportTimestamp => timestamp::report(device.common(), command),
        SpcOp::SetTimestamp => timestamp::set(device.common_mut(), command),
    }
}

/// REQUEST SENSE (SPC-4): a pending unit attention or deferred error as data, told once; else the state. Status is GOOD.
fn request_sense<D: Device>(device: &mut D, command: &Command) -> Reply {
    let format = match command.cdb.bit(1, 0) {
        true => crate::sense::SenseFormat::Descriptor,
        false => crate::sense::SenseFormat::Fixed,
    };
    let sense = if let Some(what) = device.common_mut().take_attention(command.nexus) {
        Sense::current(Check::Attention(what), format)
    } else if let Some(check) = device.take_deferred(command.nexus) {
        Sense::deferred(check, format)
    } else {
        Sense::current(device.idle_sense(), format)
    };
    Reply::allocated(sense.as_bytes().to_vec(), usize::from(command.cdb.byte(4)))
}

/// PREVENT ALLOW MEDIUM REMOVAL: per nexus (SPC-4). 10b and 11b are obsolete and refused.
fn prevent_allow<D: Device>(device: &mut D, command: &Command) -> Reply {
    let prevented = match command.cdb.byte(4) & 0x03 {
        0 => false,
        1 => true,
        _ => return Check::cdb_bit(4, 1).into(),
    };
    with_prevention_watched(device, |device| {
        device.common_mut().set_prevented(command.nexus, prevented);
        Reply::good()
    })
}

fn persistent_out<D: Device>(device: &mut D, op: SpcOp, command: &Command) -> Reply {
    with_prevention_watched(device, |device| persistent::change(device.common_mut(), op, command))
}

/// Tells the device when prevention of removal began or ended during `action`.
fn with_prevention_watched<D: Device>(device: &mut D, action: impl FnOnce(&mut D) -> Reply) -> Reply {
    let before = device.common().removal_prevented();
    let reply = action(device);
    let after = device.common().removal_prevented();
    if before != after {
        device.removal_prevention_changed(after);
    }
    reply
}
