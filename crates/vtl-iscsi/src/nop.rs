//! NOP-Out echo and keep-alive (RFC 7143, 11.18 and 11.19).

use bytes::Bytes;

use crate::pdu::{NopIn, NopOut, RESERVED_TAG};
use crate::time::Instant;
use crate::transmit::Reply;

/// The transfer tag of our questions. One is open at a time, so one tag is enough.
const PING_TAG: u32 = 0;

/// The answer to a NOP-Out, if it wants one: its own data, as far as the initiator takes it.
pub(crate) fn echo(request: &NopOut, data: &Bytes, max_segment: u32) -> Option<Reply> {
    let len = data.len().min(max_segment as usize);
    let is_wanted = request.task_tag != RESERVED_TAG;
    is_wanted.then(|| Reply::NopIn(NopIn::Echo { task_tag: request.task_tag }, data.slice(..len)))
}

/// Asks whether the initiator is alive.
pub(crate) const fn ping() -> Reply {
    Reply::NopIn(NopIn::Ping { transfer_tag: PING_TAG }, Bytes::new())
}

/// Tells a new MaxCmdSN and asks nothing: both tags are reserved.
pub(crate) const fn window_opened() -> Reply {
    Reply::NopIn(NopIn::Ping { transfer_tag: RESERVED_TAG }, Bytes::new())
}

/// What silence calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fine,
    Ask,
    Dead,
}

/// When the peer was last seen to live: it sent a byte, or took data.
///
/// ```text
/// Heard --interval--> Asked --timeout--> dead
///   ^                   |
///   +-------alive-------+
/// ```
#[derive(Debug)]
pub(crate) struct Liveness {
    interval_ns: u64,
    timeout_ns: u64,
    heard: Instant,
    asked: Option<Instant>,
    /// A peer that need not answer questions (discovery) is not asked.
    may_ask: bool,
}

impl Liveness {
    /// An interval or a timeout of 0 switches the keep-alive off.
    pub(crate) const fn new(interval_ns: u64, timeout_ns: u64, may_ask: bool, now: Instant) -> Self {
        Self { interval_ns, timeout_ns, heard: now, asked: None, may_ask }
    }

    pub(crate) const fn alive(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When [`Liveness::check`] has something to say.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        if self.interval_ns == 0 || self.timeout_ns == 0 {
            return None;
        }
        Some(match self.asked {
            Some(asked) => asked.plus_ns(self.timeout_ns),
            None => self.heard.plus_ns(self.interval_ns),
        })
    }

    pub(crate) fn check(&mut self, now: Instant) -> Verdict {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Verdict::Fine;
        }
        if self.asked.is_some() {
            return Verdict::Dead;
        }
        self.asked = Some(now);
        if self.may_ask { Verdict::Ask } else { Verdict::Fine }
    }
}
