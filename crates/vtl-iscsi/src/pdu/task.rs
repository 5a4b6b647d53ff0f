//! Task Management Function Request and Response (RFC 7143, 11.5 and 11.6).

use super::header::{Header, Numbers};

/// The functions of RFC 7143, 11.5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFunction {
    /// 1: one task.
    AbortTask,
    /// 2: all tasks of this session on the unit.
    AbortTaskSet,
    /// 3: end of an auto contingent allegiance.
    ClearAca,
    /// 4: all tasks on the unit.
    ClearTaskSet,
    /// 5: the unit.
    LogicalUnitReset,
    /// 6: all units.
    TargetWarmReset,
    /// 7: all units and all sessions.
    TargetColdReset,
    /// 8: moves a task to this connection (error recovery level 2).
    TaskReassign,
    /// Any other number: the answer is "not supported" (RFC 7144 defines 9 to 12).
    Other(u8),
}

impl TaskFunction {
    const CODES: [(u8, Self); 8] = [
        (1, Self::AbortTask),
        (2, Self::AbortTaskSet),
        (3, Self::ClearAca),
        (4, Self::ClearTaskSet),
        (5, Self::LogicalUnitReset),
        (6, Self::TargetWarmReset),
        (7, Self::TargetColdReset),
        (8, Self::TaskReassign),
    ];

    fn from_code(code: u8) -> Self {
        Self::CODES.iter().find(|(c, _)| *c == code).map_or(Self::Other(code), |(_, f)| *f)
    }

    fn code(self) -> u8 {
        match self {
            Self::Other(code) => code & 0x7f,
            known => Self::CODES.iter().find(|(_, f)| *f == known).map_or(0, |(c, _)| *c),
        }
    }
}

/// Task Management Function Request, 02h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRequest {
    /// The I bit.
    pub immediate: bool,
    /// What to do.
    pub function: TaskFunction,
    /// Logical unit, as SAM writes it.
    pub lun: u64,
    /// This request's own tag.
    pub task_tag: u32,
    /// The task meant, by its initiator task tag.
    pub referenced_tag: u32,
    /// Place in the command order.
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
    /// The CmdSN of the task meant (ABORT TASK).
    pub ref_cmd_sn: u32,
}

impl TaskRequest {
    /// Reads the header.
    pub fn decode(h: &Header) -> Self {
        Self {
            immediate: h.immediate(),
            function: TaskFunction::from_code(h.flags() & 0x7f),
            lun: h.u64::<8>(),
            task_tag: h.task_tag(),
            referenced_tag: h.u32::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
            ref_cmd_sn: h.u32::<32>(),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let mut h = Header::new(0x02 | u8::from(self.immediate) << 6, 0x80 | self.function.code());
        h.put_u64::<8>(self.lun);
        h.put_u32::<16>(self.task_tag);
        h.put_u32::<20>(self.referenced_tag);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h.put_u32::<32>(self.ref_cmd_sn);
        h
    }
}

/// The outcomes of RFC 7143, 11.6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TmfResponse {
    /// Done.
    Complete = 0,
    /// There is no such task.
    TaskDoesNotExist = 1,
    /// There is no such unit.
    LunDoesNotExist = 2,
    /// The task belongs to another connection still.
    TaskStillAllegiant = 3,
    /// Tasks cannot be moved here.
    ReassignNotSupported = 4,
    /// There is no such function here.
    NotSupported = 5,
    /// Not for this initiator.
    AuthorizationFailed = 6,
    /// Refused for another reason.
    Rejected = 255,
}

impl TmfResponse {
    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Complete,
            1 => Self::TaskDoesNotExist,
            2 => Self::LunDoesNotExist,
            3 => Self::TaskStillAllegiant,
            4 => Self::ReassignNotSupported,
            5 => Self::NotSupported,
            6 => Self::AuthorizationFailed,
            _ => Self::Rejected,
        }
    }
}

/// Task Management Function Response, 22h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskResponse {
    /// As in the request.
    pub task_tag: u32,
    /// How it went.
    pub response: TmfResponse,
}

impl TaskResponse {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        Self { task_tag: h.task_tag(), response: TmfResponse::from_code(h.u8::<2>()) }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x22, 0x80);
        h.put::<2, 1>([self.response as u8]);
        h.put_u32::<16>(self.task_tag);
        numbers.put(&mut h);
        h
    }
}
