//! REPORT TIMESTAMP and SET TIMESTAMP (SPC-4): a clock in milliseconds that an initiator may set. Nothing here depends on it.

use alloc::vec::Vec;

use super::{
    common::Common,
    wire::{array_at, u8_at},
};
use crate::{
    command::{Command, Instant, Reply},
    persist::Persist,
    sense::Check,
    unit::UnitAttention,
};

const NS_PER_MS: u64 = 1_000_000;
/// The field has 48 bits.
const FIELD_MASK: u64 = 0xffff_ffff_ffff;
/// Larger values of the first byte are not taken.
const LARGEST_FIRST_BYTE: u8 = 0xf0;
/// The parameter list of SET TIMESTAMP.
const PARAMETER_LEN: usize = 12;

/// Counts from power on, which is where [`Instant`] begins, until somebody sets it. A logical unit reset leaves it alone, a hard reset
/// brings the count from power on back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock(Option<Setting>);

/// SET TIMESTAMP came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Setting {
    value_ms: u64,
    at: Instant,
}

impl Clock {
    /// TIMESTAMP ORIGIN (000b: zero at power on; 010b: SET TIMESTAMP) and TIMESTAMP.
    fn read(self, now: Instant) -> (u8, u64) {
        let since = |at: u64| now.0.saturating_sub(at) / NS_PER_MS;
        match self.0 {
            None => (0b000, since(0)),
            Some(Setting { value_ms, at }) => (0b010, value_ms.saturating_add(since(at.0)) & FIELD_MASK),
        }
    }
}

pub(super) fn report<P>(common: &Common<P>, command: &Command) -> Reply {
    let (origin, value) = common.clock.read(command.now);
    let [_, _, value @ ..] = value.to_be_bytes();
    let mut bytes: Vec<u8> = alloc::vec![0, 10, origin, 0];
    bytes.extend(value);
    bytes.extend([0, 0]);
    Reply::allocated(bytes, usize::try_from(command.cdb.be32(6)).unwrap_or(usize::MAX))
}

pub(super) fn set<P: Persist>(common: &mut Common<P>, command: &Command) -> Reply {
    let length = command.cdb.be32(6);
    let reply = match usize::try_from(length) {
        Ok(0) => Ok(()),
        Ok(PARAMETER_LEN) => try_set(common, command),
        _ => Err(Check::ParameterListLength),
    };
    reply.map_or_else(Reply::check, |()| Reply::good()).wanting(u64::from(length))
}

fn try_set<P: Persist>(common: &mut Common<P>, command: &Command) -> Result<(), Check> {
    let list = command.parameter_list(PARAMETER_LEN);
    let cut = Check::ParameterListLength;
    if list.len() < PARAMETER_LEN {
        return Err(cut);
    }
    if u8_at(&list, 4).ok_or(cut)? > LARGEST_FIRST_BYTE {
        return Err(Check::parameter(4));
    }
    let [_, _, value @ ..] = array_at::<8>(&list, 2).ok_or(cut)?;
    let [a, b, c, d, e, f] = value;
    let value_ms = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    common.clock = Clock(Some(Setting { value_ms, at: command.now }));
    common.attention(UnitAttention::TimestampChanged, Some(command.nexus));
    Ok(())
}
