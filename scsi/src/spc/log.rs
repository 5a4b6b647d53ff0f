//! Log pages: LOG SENSE and LOG SELECT over parameters that the device makes when asked (SPC-4).

use alloc::vec::Vec;

use super::{execute::Device, wire::len16};
use crate::{
    command::{Command, Reply},
    sense::Check,
};

/// Page code and subpage code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageCode {
    /// 01h to 3Eh; 00h is ours.
    pub page: u8,
    /// 00h to FEh.
    pub subpage: u8,
}

impl PageCode {
    /// A page without subpage.
    #[must_use]
    pub const fn new(page: u8) -> Self {
        Self { page, subpage: 0 }
    }
}

/// One log parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogParameter {
    /// Parameter code.
    pub code: u16,
    /// Parameter control byte. Its low two bits tell counters from lists.
    pub control: u8,
    /// Parameter value, at most 255 bytes.
    pub value: Vec<u8>,
}

/// FORMAT AND LINKING of the control byte: bounded data counter and binary list.
const BINARY_LIST: u8 = 0x03;
const FORMAT_MASK: u8 = 0x03;

impl LogParameter {
    /// A counter of `width` bytes (1 to 8); what does not fit stays at its maximum, as counters do.
    #[must_use]
    pub fn counter(code: u16, value: u64, width: usize) -> Self {
        let width = width.clamp(1, 8);
        let bits = u32::try_from(width * 8).unwrap_or(64);
        let maximum = u64::MAX.checked_shr(64 - bits).unwrap_or(u64::MAX);
        let bytes = value.min(maximum).to_be_bytes();
        Self { code, control: 0x00, value: bytes.iter().skip(8 - width).copied().collect() }
    }

    /// A binary list parameter: no threshold, no reset value.
    #[must_use]
    pub fn list(code: u16, value: Vec<u8>) -> Self {
        Self { code, control: BINARY_LIST, value }
    }

    /// The value for a page control: cumulative as it is; thresholds of a counter never reached, defaults zero; a list always itself.
    fn value(&self, control: u8) -> Vec<u8> {
        let is_counter = matches!(self.control & FORMAT_MASK, 0x00 | 0x02);
        match control {
            0b00 | 0b10 if is_counter => alloc::vec![0xff; self.value.len()],
            0b11 if is_counter => alloc::vec![0; self.value.len()],
            _ => self.value.clone(),
        }
    }

    fn encode(&self, control: u8, out: &mut Vec<u8>) {
        let value = self.value(control);
        out.extend(self.code.to_be_bytes());
        out.extend([self.control, u8::try_from(value.len()).unwrap_or(u8::MAX)]);
        out.extend(value.iter().take(usize::from(u8::MAX)));
    }
}

/// LOG SENSE.
pub(super) fn sense<D: Device>(device: &D, command: &Command) -> Reply {
    let cdb = &command.cdb;
    let (control, page, subpage) = (cdb.byte(2) >> 6, cdb.byte(2) & 0x3f, cdb.byte(3));
    if cdb.bit(1, 0) {
        return Check::cdb_bit(1, 0).into(); // SP: nothing is saved
    }
    let pointer = cdb.be16(5);
    let payload = match (page, subpage) {
        (0x00, 0x00 | 0xff) if pointer != 0 => return Check::cdb(5).into(),
        (0x00, 0x00) => page_list(device.log_pages()),
        (0x00, 0xff) => subpage_list(device.log_pages(), None),
        (page, 0xff) => {
            if !device.log_pages().iter().any(|code| code.page == page) {
                return Check::cdb_bit(2, 5).into();
            }
            subpage_list(device.log_pages(), Some(page))
        }
        (page, subpage) => match parameters(device, PageCode { page, subpage }, control, pointer) {
            Ok(payload) => payload,
            Err(check) => return check.into(),
        },
    };
    let spf = if subpage == 0 { 0 } else { 0x40 };
    let mut bytes = alloc::vec![spf | page, subpage];
    bytes.extend(len16(payload.len()).to_be_bytes());
    bytes.extend(payload);
    Reply::allocated(bytes, usize::from(cdb.be16(7)))
}

/// Page 00h: supported pages, ascending, each once.
fn page_list(codes: &[PageCode]) -> Vec<u8> {
    let mut pages: Vec<u8> = core::iter::once(0).chain(codes.iter().map(|code| code.page)).collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// Page 00h/FFh, or xxh/FFh: supported pages and subpages.
fn subpage_list(codes: &[PageCode], only: Option<u8>) -> Vec<u8> {
    let ours = [PageCode { page: 0, subpage: 0 }, PageCode { page: 0, subpage: 0xff }];
    let mut all: Vec<PageCode> = ours.into_iter().chain(codes.iter().copied()).collect();
    all.sort_unstable();
    all.iter()
        .filter(|code| only.is_none_or(|page| page == code.page))
        .flat_map(|c| [c.page, c.subpage])
        .collect()
}

fn parameters<D: Device>(device: &D, code: PageCode, control: u8, pointer: u16) -> Result<Vec<u8>, Check> {
    let known = device.log_pages().contains(&code);
    let all = if known { device.log_page(code) } else { None };
    let all = all.ok_or(if code.subpage == 0 { Check::cdb_bit(2, 5) } else { Check::cdb(3) })?;
    let from_pointer: Vec<&LogParameter> = all.iter().filter(|parameter| parameter.code >= pointer).collect();
    // A pointer behind the last parameter is an error (SPC-4).
    if pointer != 0 && from_pointer.is_empty() {
        return Err(Check::cdb(5));
    }
    let mut payload = Vec::new();
    for parameter in from_pointer {
        parameter.encode(control, &mut payload);
    }
    Ok(payload)
}

/// LOG SELECT: only the reset of counters (PCR = 1, or PC = 11b without parameters); nothing can be set.
pub(super) fn select<D: Device>(device: &mut D, command: &Command) -> Reply {
    let cdb = &command.cdb;
    let (reset, save) = (cdb.bit(1, 1), cdb.bit(1, 0));
    let (control, page, subpage) = (cdb.byte(2) >> 6, cdb.byte(2) & 0x3f, cdb.byte(3));
    let length = cdb.be16(7);
    let wanted = u64::from(length);
    if save {
        return Check::cdb_bit(1, 0).into();
    }
    if length != 0 {
        let check = if reset { Check::cdb(7) } else { Check::parameter(0) };
        return Reply::check(check).wanting(wanted);
    }
    let code = PageCode { page, subpage };
    let one = page != 0 || subpage != 0;
    if one && !device.log_pages().contains(&code) {
        return Check::cdb_bit(2, 5).into();
    }
    let default_cumulative = control == 0b11;
    if !reset && !default_cumulative {
        return Reply::good();
    }
    match device.reset_log(one.then_some(code)) {
        true => Reply::good(),
        false => Check::cdb_bit(1, 1).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(parameter: &LogParameter, control: u8) -> Vec<u8> {
        let mut out = Vec::new();
        parameter.encode(control, &mut out);
        out
    }

    #[test]
    fn a_counter_stays_at_its_maximum_and_has_thresholds_and_defaults() {
        let counter = LogParameter::counter(0x0003, 0x0001_0002, 2);
        assert_eq!(encoded(&counter, 0b01), [0x00, 0x03, 0x00, 0x02, 0xff, 0xff]);
        let counter = LogParameter::counter(0x0003, 7, 4);
        assert_eq!(encoded(&counter, 0b01), [0x00, 0x03, 0x00, 0x04, 0, 0, 0, 7]);
        assert_eq!(encoded(&counter, 0b00), [0x00, 0x03, 0x00, 0x04, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(encoded(&counter, 0b11), [0x00, 0x03, 0x00, 0x04, 0, 0, 0, 0]);
        assert_eq!(LogParameter::counter(1, u64::MAX, 8).value, [0xff; 8]);
    }

    #[test]
    fn a_list_is_the_same_for_every_page_control() {
        let list = LogParameter::list(0x0203, alloc::vec![1, 2]);
        for control in 0..4 {
            assert_eq!(encoded(&list, control), [0x02, 0x03, 0x03, 0x02, 1, 2]);
        }
    }

    #[test]
    fn pages_are_listed_once_and_in_order() {
        let codes = [PageCode::new(0x2e), PageCode { page: 0x17, subpage: 1 }, PageCode::new(0x17)];
        assert_eq!(page_list(&codes), [0x00, 0x17, 0x2e]);
        assert_eq!(subpage_list(&codes, None), [0, 0, 0, 0xff, 0x17, 0, 0x17, 1, 0x2e, 0]);
        assert_eq!(subpage_list(&codes, Some(0x17)), [0x17, 0, 0x17, 1]);
    }
}
