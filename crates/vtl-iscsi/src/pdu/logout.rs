//! Logout Request and Response (RFC 7143, 11.14 and 11.15).

use super::Malformed;
use super::header::{Header, Numbers};
use super::reject::RejectReason;

/// What a logout is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogoutReason {
    /// The session with all its connections.
    CloseSession = 0,
    /// One connection.
    CloseConnection = 1,
    /// One connection, its tasks to be taken over by another (error recovery level 2).
    RemoveForRecovery = 2,
}

/// Logout Request, 06h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutRequest {
    /// The I bit.
    pub immediate: bool,
    /// What to end.
    pub reason: LogoutReason,
    /// This request's tag.
    pub task_tag: u32,
    /// The connection meant; nothing when the session ends.
    pub cid: u16,
    /// Place in the command order.
    pub cmd_sn: u32,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: u32,
}

impl LogoutRequest {
    /// Reads the header.
    ///
    /// # Errors
    /// A reason that does not exist.
    pub const fn decode(h: &Header) -> Result<Self, Malformed> {
        let reason = match h.flags() & 0x7f {
            0 => LogoutReason::CloseSession,
            1 => LogoutReason::CloseConnection,
            2 => LogoutReason::RemoveForRecovery,
            _ => return Err(Malformed(RejectReason::InvalidPduField)),
        };
        Ok(Self {
            immediate: h.immediate(),
            reason,
            task_tag: h.task_tag(),
            cid: h.u16::<20>(),
            cmd_sn: h.u32::<24>(),
            exp_stat_sn: h.u32::<28>(),
        })
    }

    /// Writes the header.
    pub fn encode(&self) -> Header {
        let mut h = Header::new(0x06 | u8::from(self.immediate) << 6, 0x80 | self.reason as u8);
        h.put_u32::<16>(self.task_tag);
        h.put_u16::<20>(self.cid);
        h.put_u32::<24>(self.cmd_sn);
        h.put_u32::<28>(self.exp_stat_sn);
        h
    }
}

/// The outcomes of RFC 7143, 11.15.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum LogoutResult {
    /// Closed.
    Success = 0,
    /// No such connection in this session.
    CidNotFound = 1,
    /// Connections cannot be recovered here.
    RecoveryNotSupported = 2,
    /// Something could not be cleaned up.
    CleanupFailed = 3,
}

/// Logout Response, 26h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// As in the request.
    pub task_tag: u32,
    /// How it went.
    pub result: LogoutResult,
    /// Seconds to wait before a new login.
    pub time2wait_s: u16,
    /// Seconds after that for which tasks are kept.
    pub time2retain_s: u16,
}

impl LogoutResponse {
    /// Reads the header.
    pub const fn decode(h: &Header) -> Self {
        let result = match h.u8::<2>() {
            0 => LogoutResult::Success,
            1 => LogoutResult::CidNotFound,
            2 => LogoutResult::RecoveryNotSupported,
            _ => LogoutResult::CleanupFailed,
        };
        Self { task_tag: h.task_tag(), result, time2wait_s: h.u16::<40>(), time2retain_s: h.u16::<42>() }
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let mut h = Header::new(0x26, 0x80);
        h.put::<2, 1>([self.result as u8]);
        h.put_u32::<16>(self.task_tag);
        numbers.put(&mut h);
        h.put_u16::<40>(self.time2wait_s);
        h.put_u16::<42>(self.time2retain_s);
        h
    }
}
