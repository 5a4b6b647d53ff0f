//! Mode pages: MODE SENSE and MODE SELECT (6)/(10) over pages that are data (SPC-4).
//!
//! A page is its bytes as manufactured, a mask of what may be changed, and what it is now. The device adds header and block descriptor.

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    execute::Device,
    table::SpcOp,
    wire::{array_at, be16_at, len16, u8_at},
};
use crate::{
    command::{Command, Reply},
    persist::{Persist, PersistFault},
    sense::Check,
    unit::UnitAttention,
};

/// A mode page as manufactured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModePage {
    code: u8,
    subpage: u8,
    /// What stands behind the header.
    default: Vec<u8>,
    /// Bits that MODE SELECT may change; as long as `default`.
    changeable: Vec<u8>,
}

impl ModePage {
    /// A page without subpage. `default` is what stands behind the two bytes of header; all of it is fixed.
    #[must_use]
    pub fn new(code: u8, default: &[u8]) -> Self {
        Self::with_subpage(code, 0, default)
    }

    /// A page in subpage format. `default` is what stands behind the four bytes of header; all of it is fixed.
    #[must_use]
    pub fn with_subpage(code: u8, subpage: u8, default: &[u8]) -> Self {
        Self {
            code: code & 0x3f,
            subpage,
            default: default.to_vec(),
            changeable: alloc::vec![0; default.len()],
        }
    }

    /// `mask` may be changed in the byte at `at`, counted from the page's first header byte as standards do.
    #[must_use]
    pub fn changeable(mut self, at: usize, mask: u8) -> Self {
        let index = at.checked_sub(self.header_len());
        if let Some(byte) = index.and_then(|index| self.changeable.get_mut(index)) {
            *byte |= mask;
        }
        self
    }

    const fn header_len(&self) -> usize {
        if self.subpage == 0 { 2 } else { 4 }
    }

    /// PS: it can be saved, since something in it can be changed.
    fn saveable(&self) -> bool {
        self.changeable.iter().any(|mask| *mask != 0)
    }

    fn header(&self) -> Vec<u8> {
        let ps = if self.saveable() { 0x80 } else { 0 };
        let length = len16(self.default.len());
        if self.subpage == 0 {
            alloc::vec![ps | self.code, length.to_be_bytes()[1]]
        } else {
            let [high, low] = length.to_be_bytes();
            alloc::vec![ps | 0x40 | self.code, self.subpage, high, low]
        }
    }

    fn key(&self) -> (u8, u8) {
        (self.code, self.subpage)
    }
}

#[derive(Clone, Debug)]
struct PageState {
    page: ModePage,
    current: Vec<u8>,
    saved: Vec<u8>,
}

impl PageState {
    /// The page with its header, as the page control field wants it.
    fn bytes(&self, control: PageControl) -> Vec<u8> {
        let mut bytes = self.page.header();
        bytes.extend(match control {
            PageControl::Current => &self.current,
            PageControl::Changeable => &self.page.changeable,
            PageControl::Default => &self.page.default,
            PageControl::Saved => &self.saved,
        });
        bytes
    }
}

/// PC of MODE SENSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageControl {
    Current,
    Changeable,
    Default,
    Saved,
}

impl PageControl {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Current,
            1 => Self::Changeable,
            2 => Self::Default,
            _ => Self::Saved,
        }
    }
}

/// All mode pages of a device.
#[derive(Clone, Debug)]
pub struct ModePages {
    /// Ordered by code and subpage, as MODE SENSE lists them.
    pages: BTreeMap<(u8, u8), PageState>,
}

/// Name of the durable value; its bytes are described in `docs/scsi-spc.md`.
const PERSIST_KEY: &str = "mode-pages";
/// "VMOD", version 0.
const MAGIC: [u8; 5] = *b"VMOD\0";

impl ModePages {
    /// Pages as manufactured, with what was saved put over them where it still fits.
    pub(super) fn load(pages: Vec<ModePage>, persist: &impl Persist) -> Self {
        let state = |page: ModePage| {
            let key = page.key();
            (key, PageState { current: page.default.clone(), saved: page.default.clone(), page })
        };
        let mut modes = Self { pages: pages.into_iter().map(state).collect() };
        for (key, value) in decode_saved(&persist.load(PERSIST_KEY).unwrap_or_default()) {
            modes.put_saved(key, &value);
        }
        modes
    }

    /// Only what may be changed is taken from an old value: the rest is as this version makes it.
    fn put_saved(&mut self, key: (u8, u8), value: &[u8]) {
        let Some(state) = self.pages.get_mut(&key) else { return };
        if value.len() != state.page.default.len() {
            return;
        }
        let merged = state.page.default.iter().zip(&state.page.changeable).zip(value);
        state.saved = merged.map(|((default, mask), new)| (default & !mask) | (new & mask)).collect();
        state.current.clone_from(&state.saved);
    }

    /// A page's bytes as they are now, header included (PS is set where it can be saved), at the standard's byte numbers.
    #[must_use]
    pub fn current(&self, code: u8, subpage: u8) -> Option<Vec<u8>> {
        self.pages.get(&(code, subpage)).map(|state| state.bytes(PageControl::Current))
    }

    /// The byte at `at` of a page, counted from its first header byte; 0 when there is no such byte.
    #[must_use]
    pub fn byte(&self, code: u8, subpage: u8, at: usize) -> u8 {
        let state = self.pages.get(&(code, subpage));
        let byte = state.and_then(|state| state.current.get(at.checked_sub(state.page.header_len())?));
        byte.copied().unwrap_or(0)
    }

    /// The world changed: what stands behind a page's header is now this, by default and saved too (geometry of a changer).
    pub fn set_live(&mut self, code: u8, subpage: u8, behind_header: &[u8]) {
        if let Some(state) = self.pages.get_mut(&(code, subpage)) {
            state.page.default = behind_header.to_vec();
            state.page.changeable.resize(behind_header.len(), 0);
            state.current = behind_header.to_vec();
            state.saved = behind_header.to_vec();
        }
    }

    /// The byte at `at` of a page becomes `value` (now and by MODE SENSE), for what another command changes.
    pub fn set_byte(&mut self, code: u8, subpage: u8, at: usize, value: u8) {
        let Some(state) = self.pages.get_mut(&(code, subpage)) else { return };
        let index = at.checked_sub(state.page.header_len());
        if let Some(byte) = index.and_then(|index| state.current.get_mut(index)) {
            *byte = value;
        }
    }

    /// After a reset: pages are as saved (SPC-4).
    pub(super) fn restore_saved(&mut self) {
        for state in self.pages.values_mut() {
            state.current.clone_from(&state.saved);
        }
    }

    fn can_save(&self) -> bool {
        self.pages.values().any(|state| state.page.saveable())
    }

    /// Pages that MODE SENSE names; `None` when there is none.
    fn list(&self, code: u8, subpage: u8, control: PageControl) -> Option<Vec<u8>> {
        let wanted = |(c, s): (u8, u8)| match (code, subpage) {
            (0x3f, 0x00) => s == 0,
            (0x3f, _) => true,
            (code, 0xff) => c == code,
            (code, subpage) => (c, s) == (code, subpage),
        };
        let mut chosen: Vec<_> = self.pages.iter().filter(|(key, _)| wanted(**key)).collect();
        // Page 00h is vendor specific and comes last (SPC-4).
        chosen.sort_by_key(|((code, subpage), _)| (*code == 0, *code, *subpage));
        if chosen.is_empty() && code != 0x3f {
            return None;
        }
        Some(chosen.into_iter().flat_map(|(_, state)| state.bytes(control)).collect())
    }

    fn save(&self, persist: &mut impl Persist) -> Result<(), PersistFault> {
        let mut bytes = MAGIC.to_vec();
        for ((code, subpage), state) in self.pages.iter().filter(|(_, state)| state.page.saveable()) {
            bytes.extend([*code, *subpage]);
            bytes.extend(len16(state.saved.len()).to_be_bytes());
            bytes.extend(&state.saved);
        }
        persist.save(PERSIST_KEY, &bytes)
    }
}

/// What was saved, as far as it can be read.
fn decode_saved(bytes: &[u8]) -> Vec<((u8, u8), Vec<u8>)> {
    let mut found = Vec::new();
    let mut bytes = bytes.strip_prefix(&MAGIC).unwrap_or_default();
    while let (Some([code, subpage]), Some(length)) = (array_at(bytes, 0), be16_at(bytes, 2)) {
        let end = 4 + usize::from(length);
        let Some(value) = bytes.get(4..end) else { break };
        found.push(((code, subpage), value.to_vec()));
        bytes = bytes.get(end..).unwrap_or_default();
    }
    found
}

/// What a device puts around its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeHeader {
    /// MEDIUM TYPE.
    pub medium_type: u8,
    /// DEVICE-SPECIFIC PARAMETER: write protection, buffered mode, speed on a tape; WP and DPOFUA on a disk.
    pub device_specific: u8,
    /// The one block descriptor: density, number of blocks, block length. A changer has none.
    pub block_descriptor: Option<[u8; 8]>,
}

/// What MODE SELECT brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeSelect {
    /// MEDIUM TYPE.
    pub medium_type: u8,
    /// DEVICE-SPECIFIC PARAMETER.
    pub device_specific: u8,
    /// Where DEVICE-SPECIFIC PARAMETER stands in the list, for a field pointer.
    pub device_specific_at: u16,
    /// The block descriptor, when there is one.
    pub block_descriptor: Option<[u8; 8]>,
    /// Where the block descriptor begins in the list, for a field pointer.
    pub block_descriptor_at: u16,
    /// SP: the pages are to outlive a power cycle.
    pub save: bool,
    /// Pages, each with its header at the standard's byte numbers; PS is cleared.
    pub pages: Vec<SelectedPage>,
}

/// One page of a MODE SELECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedPage {
    /// Page code.
    pub code: u8,
    /// Subpage code.
    pub subpage: u8,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Where it begins in the list, for a field pointer.
    pub at: u16,
}

const LLBAA: u8 = 4;
const DBD: u8 = 3;

/// MODE SENSE(6)/(10).
pub(super) fn sense<D: Device>(device: &mut D, op: SpcOp, command: &Command) -> Reply {
    device.refresh_modes();
    let cdb = &command.cdb;
    let ten = op == SpcOp::ModeSense10;
    let control = PageControl::from_bits(cdb.byte(2) >> 6);
    let (code, subpage) = (cdb.byte(2) & 0x3f, cdb.byte(3));
    let modes = device.common().modes();
    if control == PageControl::Saved && !modes.can_save() {
        return Check::SavingNotSupported.into();
    }
    let Some(mut pages) = modes.list(code, subpage, control) else {
        let blamed = if subpage == 0 { Check::cdb_bit(2, 5) } else { Check::cdb(3) };
        return blamed.into();
    };
    let mut header = device.mode_header();
    if cdb.bit(1, DBD) {
        header.block_descriptor = None;
    }
    // LLBAA allows long block descriptors; the short one is right for our sizes in either case.
    let _ = cdb.bit(1, LLBAA);
    let mut bytes = encode_header(header, pages.len(), ten);
    bytes.append(&mut pages);
    let allocation = if ten { cdb.be16(7) } else { u16::from(cdb.byte(4)) };
    Reply::allocated(bytes, usize::from(allocation))
}

fn encode_header(header: ModeHeader, pages_len: usize, ten: bool) -> Vec<u8> {
    let ModeHeader { medium_type, device_specific, block_descriptor } = header;
    let descriptor = block_descriptor.as_ref().map_or(&[][..], |bytes| &bytes[..]);
    let descriptor_len = u8::try_from(descriptor.len()).unwrap_or(0);
    // MODE DATA LENGTH does not count itself.
    let mut bytes = if ten {
        let length = len16(6 + descriptor.len() + pages_len);
        let [high, low] = length.to_be_bytes();
        alloc::vec![high, low, medium_type, device_specific, 0, 0, 0, descriptor_len]
    } else {
        let length = u8::try_from(3 + descriptor.len() + pages_len).unwrap_or(u8::MAX);
        alloc::vec![length, medium_type, device_specific, descriptor_len]
    };
    bytes.extend(descriptor);
    bytes
}

/// MODE SELECT(6)/(10): everything is judged before anything is changed.
pub(super) fn select<D: Device>(device: &mut D, op: SpcOp, command: &Command) -> Reply {
    let cdb = &command.cdb;
    let ten = op == SpcOp::ModeSelect10;
    let length = if ten { usize::from(cdb.be16(7)) } else { usize::from(cdb.byte(4)) };
    let wanted = u64::try_from(length).unwrap_or(u64::MAX);
    let result = if length == 0 { Ok(()) } else { select_list(device, ten, command, length) };
    result.map_or_else(Reply::check, |()| Reply::good()).wanting(wanted)
}

fn select_list<D: Device>(device: &mut D, ten: bool, command: &Command, length: usize) -> Result<(), Check> {
    let list = command.parameter_list(length);
    if list.len() < length {
        return Err(Check::ParameterListLength);
    }
    device.refresh_modes();
    let mut select = parse(&list, ten)?;
    select.save = command.cdb.bit(1, 0);
    // PF = 0 (byte 1, bit 4): SCSI-1 vendor specific pages. Without pages it makes no difference, and old tools leave it out.
    let modes = device.common().modes();
    if select.save && !modes.can_save() {
        return Err(Check::cdb_bit(1, 0));
    }
    for page in &select.pages {
        judge(modes, page)?;
    }
    device.check_mode_select(&select)?;
    // What the device does to pages belongs to them: all of it is undone when saving fails.
    let before = device.common().modes().clone();
    let header_changed = device.apply_mode_select(&select)?;
    let pages_changed = apply(device, &select, before)?;
    if header_changed || pages_changed {
        device.common_mut().attention(UnitAttention::ModeParametersChanged, Some(command.nexus));
    }
    Ok(())
}

/// Cuts the parameter list into header, block descriptor and pages.
fn parse(list: &[u8], ten: bool) -> Result<ModeSelect, Check> {
    let header_len = if ten { 8 } else { 4 };
    let header = list.get(..header_len).ok_or(Check::ParameterListLength)?;
    let (type_at, descriptor_len_at) = if ten { (2, 6) } else { (1, 3) };
    let descriptor_len = match ten {
        true => be16_at(header, descriptor_len_at).unwrap_or(0),
        false => u16::from(u8_at(header, descriptor_len_at).unwrap_or(0)),
    };
    if ten && u8_at(header, 4).unwrap_or(0) & 1 != 0 {
        return Err(Check::InvalidFieldInParameters { byte: 4, bit: Some(0) }); // LONGLBA
    }
    let block_descriptor = match descriptor_len {
        0 => None,
        8 => Some(array_at(list, header_len).ok_or(Check::ParameterListLength)?),
        _ => return Err(Check::parameter(len16(descriptor_len_at))),
    };
    let pages_at = header_len + usize::from(descriptor_len);
    Ok(ModeSelect {
        medium_type: u8_at(header, type_at).unwrap_or(0),
        device_specific: u8_at(header, type_at + 1).unwrap_or(0),
        device_specific_at: len16(type_at + 1),
        block_descriptor,
        block_descriptor_at: len16(header_len),
        save: false,
        pages: parse_pages(list, pages_at)?,
    })
}

fn parse_pages(list: &[u8], mut at: usize) -> Result<Vec<SelectedPage>, Check> {
    let mut pages = Vec::new();
    while at < list.len() {
        let rest = list.get(at..).unwrap_or_default();
        let (subpage, length) = match (rest.first().copied().unwrap_or(0) & 0x40, rest) {
            (0, [_, length, ..]) => (0, 2 + usize::from(*length)),
            (_, [_, subpage, high, low, ..]) => {
                (*subpage, 4 + usize::from(u16::from_be_bytes([*high, *low])))
            }
            _ => return Err(Check::ParameterListLength),
        };
        let mut bytes = rest.get(..length).ok_or(Check::ParameterListLength)?.to_vec();
        let first = bytes.first_mut().ok_or(Check::ParameterListLength)?;
        *first &= 0x7f; // PS is reserved here; initiators send back what MODE SENSE gave them
        let code = *first & 0x3f;
        pages.push(SelectedPage { code, subpage, bytes, at: len16(at) });
        at += length;
    }
    Ok(pages)
}

/// A page must be one of ours, as long as ours, and change only what may be changed.
fn judge(modes: &ModePages, selected: &SelectedPage) -> Result<(), Check> {
    let blame = |offset: usize| Check::parameter(selected.at.saturating_add(len16(offset)));
    let state = modes.pages.get(&(selected.code, selected.subpage)).ok_or_else(|| blame(0))?;
    let now = state.bytes(PageControl::Current);
    let masks = state.bytes(PageControl::Changeable);
    if now.len() != selected.bytes.len() {
        return Err(blame(if selected.subpage == 0 { 1 } else { 2 }));
    }
    let header_len = state.page.header_len();
    let compared = now.iter().zip(&masks).zip(&selected.bytes).enumerate().skip(header_len);
    for (offset, ((old, mask), new)) in compared {
        if (old ^ new) & !mask != 0 {
            return Err(blame(offset));
        }
    }
    Ok(())
}

fn apply<D: Device>(device: &mut D, select: &ModeSelect, before: ModePages) -> Result<bool, Check> {
    let (modes, persist) = device.common_mut().modes_and_persist();
    let mut changed = false;
    for selected in &select.pages {
        let Some(state) = modes.pages.get_mut(&(selected.code, selected.subpage)) else { continue };
        let new = selected.bytes.get(state.page.header_len()..).unwrap_or_default();
        changed |= state.current != new;
        state.current = new.to_vec();
    }
    if !select.save {
        return Ok(changed);
    }
    // SP = 1 saves every saveable page, sent now or not (SPC-4).
    for state in modes.pages.values_mut().filter(|state| state.page.saveable()) {
        state.saved.clone_from(&state.current);
    }
    if modes.save(persist).is_err() {
        *modes = before;
        return Err(Check::InternalFailure);
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    fn control() -> ModePage {
        ModePage::new(0x0a, &[0; 10]).changeable(2, 0x04)
    }

    fn saved(value: &[u8]) -> Memory {
        let mut memory = Memory::default();
        memory.save("mode-pages", value).unwrap();
        memory
    }

    #[test]
    fn saved_pages_keep_their_bytes() {
        let mut memory = Memory::default();
        let modes = ModePages::load(alloc::vec![control(), ModePage::new(0x08, &[0; 2])], &memory);
        modes.save(&mut memory).unwrap();
        let expected = [0x56, 0x4d, 0x4f, 0x44, 0x00, 0x0a, 0x00, 0x00, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(memory.load("mode-pages"), Some(expected.to_vec()));
    }

    #[test]
    fn of_an_old_value_only_what_may_change_is_taken() {
        let value = b"VMOD\0\x0a\0\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
        let modes = ModePages::load(alloc::vec![control()], &saved(value));
        assert_eq!(modes.current(0x0a, 0).unwrap(), [0x8a, 0x0a, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_value_that_does_not_fit_is_left_alone() {
        for value in [&b"VMOD\0\x0a\0\0\x01\xff"[..], b"VMOD\0\x0a\0\0\x0a\xff", b"XXXX\0\x0a\0\0\x0a"] {
            let modes = ModePages::load(alloc::vec![control()], &saved(value));
            assert_eq!(modes.byte(0x0a, 0, 2), 0, "{value:x?}");
        }
    }

    #[test]
    fn a_subpage_has_the_long_header() {
        let page = ModePage::with_subpage(0x10, 0x01, &[1, 2, 3]).changeable(5, 0x0f);
        let modes = ModePages::load(alloc::vec![page], &Memory::default());
        assert_eq!(modes.current(0x10, 0x01).unwrap(), [0xd0, 0x01, 0, 3, 1, 2, 3]);
        assert_eq!(modes.byte(0x10, 0x01, 5), 2);
        assert_eq!(modes.list(0x10, 0x01, PageControl::Changeable).unwrap(), [0xd0, 0x01, 0, 3, 0, 0x0f, 0]);
        assert_eq!(modes.list(0x10, 0x00, PageControl::Current), None);
        assert_eq!(modes.list(0x10, 0xff, PageControl::Current).unwrap().len(), 7);
    }

    proptest::proptest! {
        #[test]
        fn any_parameter_list_is_parsed_or_refused(list: Vec<u8>, ten: bool) {
            if let Ok(select) = parse(&list, ten) {
                let pages: usize = select.pages.iter().map(|page| page.bytes.len()).sum();
                let descriptor = select.block_descriptor.map_or(0, |_| 8);
                proptest::prop_assert_eq!(pages + descriptor + if ten { 8 } else { 4 }, list.len());
            }
        }
    }
}
