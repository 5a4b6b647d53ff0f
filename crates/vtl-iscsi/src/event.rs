//! What passes between a connection and whoever drives it.

use alloc::vec::Vec;

use bytes::Bytes;

pub use crate::login::{Admission, AdmitRequest, LoggedIn, SessionKind};
use crate::params::Params;
pub use crate::pdu::{Attribute, TmfResponse};
pub use crate::tasks::TaskId;

/// Something for the driver to act upon.
#[derive(Debug)]
pub enum Event {
    /// The login is ready to end; answer with `Connection::admit`.
    Admit(AdmitRequest),
    /// The session has begun.
    LoggedIn,
    /// A command with all its data; answer with `Connection::complete`.
    Command(ScsiCommand),
    /// An abort or reset; answer with `Connection::task_management_done` once its effect is complete.
    TaskManagement {
        /// To be given back.
        id: TmfId,
        /// What to do.
        function: TmfFunction,
    },
    /// The initiator ended the session. Commands that were handed out have no initiator any more.
    LoggedOut,
    /// The session ended otherwise, or its login was refused. Commands that were handed out have no initiator any more.
    Closed(CloseReason),
}

/// A SCSI command, complete.
#[derive(Debug)]
pub struct ScsiCommand {
    /// To be given back.
    pub task: TaskId,
    /// Logical unit, as SAM writes it in eight bytes.
    pub lun: u64,
    /// The CDB.
    pub cdb: [u8; 16],
    /// Task attribute.
    pub attribute: Attribute,
    /// Delivered outside the command order.
    pub immediate: bool,
    /// The initiator waits for data.
    pub read: bool,
    /// The initiator gives data.
    pub write: bool,
    /// Expected data transfer length, bytes.
    pub expected_len: u32,
    /// All data of a write, `expected_len` bytes in order.
    pub data_out: Vec<Bytes>,
}

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// SAM status.
    pub status: u8,
    /// Sense data, without a length in front.
    pub sense: Vec<u8>,
    /// The data that the command yields, perhaps more than the initiator expects.
    pub data_in: Vec<Bytes>,
    /// Bytes of data that the CDB asked of the initiator.
    pub data_out_wanted: u64,
}

/// Names one task management request, never twice in a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TmfId(pub(crate) u64);

/// A task management function for the device side (RFC 7143, 11.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TmfFunction {
    /// Ends one command that was handed out.
    AbortTask {
        /// The command.
        task: TaskId,
    },
    /// Ends this session's commands on a unit.
    AbortTaskSet {
        /// The unit.
        lun: u64,
    },
    /// Ends an auto contingent allegiance.
    ClearAca {
        /// The unit.
        lun: u64,
    },
    /// Ends all commands on a unit.
    ClearTaskSet {
        /// The unit.
        lun: u64,
    },
    /// Resets a unit.
    LogicalUnitReset {
        /// The unit.
        lun: u64,
    },
    /// Resets all units.
    TargetWarmReset,
    /// Resets all units and ends all sessions with the target; this one ends when it is done.
    TargetColdReset,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The socket failed or the peer shut it.
    TransportLost,
    /// The server stops. From the driver: the initiator is asked to log out first.
    Shutdown,
    /// Another login took this session's place.
    Reinstated,
    /// The target is gone.
    TargetRemoved,
    /// An operator ended the session, or it has lasted as long as one of its kind may.
    Operator,
    /// The login took too long.
    LoginTimeout,
    /// The login was refused.
    LoginFailed,
    /// The initiator was silent, or did not take what was sent.
    Silent,
    /// A header did not match its digest.
    HeaderDigest,
    /// The peer broke the protocol.
    ProtocolError,
    /// The initiator did not log out although it was asked to.
    LogoutOverdue,
    /// TARGET COLD RESET.
    ColdReset,
}

/// What `vtl iscsi session ls` shows of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionInfo<'a> {
    /// Who, with whom, and what was agreed upon at login.
    pub login: &'a LoggedIn,
    /// What holds now: a Text Request can declare a new MaxRecvDataSegmentLength.
    pub params: &'a Params,
    /// What has happened.
    pub counters: Counters,
    /// Answers that the initiator has not acknowledged (StatSN against ExpStatSN).
    pub unacknowledged: u32,
    /// Commands in our hands.
    pub commands: usize,
    /// Their data, and what waits to be sent.
    pub bytes_in_flight: u64,
}

/// Counts since the session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// SCSI commands handed out.
    pub commands: u64,
    /// Data bytes from the initiator.
    pub bytes_in: u64,
    /// Data bytes to the initiator.
    pub bytes_out: u64,
    /// PDUs sent back.
    pub rejects: u64,
    /// Data segments that did not match their digest.
    pub digest_errors: u64,
    /// Commands ended by task management.
    pub aborted: u64,
}
