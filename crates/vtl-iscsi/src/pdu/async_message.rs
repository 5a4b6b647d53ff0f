//! Asynchronous Message (RFC 7143, 11.9).

use super::header::{Header, Numbers, RESERVED_TAG};

/// What happened, as far as this target ever says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsyncEvent {
    /// 1: the initiator is to log out within this many seconds.
    LogoutRequested {
        /// Parameter3.
        within_s: u16,
    },
    /// 2: this connection is about to be dropped.
    ConnectionDropped {
        /// Parameter1.
        cid: u16,
        /// Parameter2: seconds to wait before a new login.
        time2wait_s: u16,
        /// Parameter3: seconds after that for which tasks are kept.
        time2retain_s: u16,
    },
    /// 3: all connections of this session are about to be dropped.
    SessionDropped {
        /// Parameter2: seconds to wait before a new login.
        time2wait_s: u16,
        /// Parameter3: seconds after that for which tasks are kept.
        time2retain_s: u16,
    },
}

/// Asynchronous Message, 32h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// What happened.
    pub event: AsyncEvent,
}

impl AsyncMessage {
    /// Reads the header; nothing for an event this target never sends.
    pub const fn decode(h: &Header) -> Option<Self> {
        let (p1, p2, p3) = (h.u16::<38>(), h.u16::<40>(), h.u16::<42>());
        let event = match h.u8::<36>() {
            1 => AsyncEvent::LogoutRequested { within_s: p3 },
            2 => AsyncEvent::ConnectionDropped { cid: p1, time2wait_s: p2, time2retain_s: p3 },
            3 => AsyncEvent::SessionDropped { time2wait_s: p2, time2retain_s: p3 },
            _ => return None,
        };
        Some(Self { event })
    }

    /// Writes the header.
    pub fn encode(&self, numbers: Numbers) -> Header {
        let (code, p1, p2, p3) = match self.event {
            AsyncEvent::LogoutRequested { within_s } => (1, 0, 0, within_s),
            AsyncEvent::ConnectionDropped { cid, time2wait_s, time2retain_s } => {
                (2, cid, time2wait_s, time2retain_s)
            }
            AsyncEvent::SessionDropped { time2wait_s, time2retain_s } => (3, 0, time2wait_s, time2retain_s),
        };
        let mut h = Header::new(0x32, 0x80);
        h.put_u32::<16>(RESERVED_TAG);
        numbers.put(&mut h);
        h.put::<36, 1>([code]);
        h.put_u16::<38>(p1);
        h.put_u16::<40>(p2);
        h.put_u16::<42>(p3);
        h
    }
}
