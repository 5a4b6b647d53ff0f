//! The drive's mode pages, block descriptor and device-specific parameter (SSC-4), and what a MODE SELECT may
//! do to them.
//!
//! The block length and buffered mode are not in a page: they live in [`Settings`] and fall back to their
//! defaults at a reset.

use alloc::vec::Vec;

use super::deck::WriteMode;
use crate::{
    command::{Cdb, Reply, Status},
    sense::Check,
    spc::{ModePage, ModePages, ModeSelect, SelectedPage},
};

/// Data compression page.
const COMPRESSION: u8 = 0x0f;
/// Its byte 2: data compression enable and data compression capable.
const DCE: u8 = 0x80;
const DCC: u8 = 0x40;
/// Device configuration page.
const CONFIGURATION: u8 = 0x10;
/// Its byte 10.
const SEW: u8 = 0x08;
const EEG: u8 = 0x10;
/// Its byte 8: logical object identifiers supported.
const LOIS: u8 = 0x40;
/// Its byte 14, SELECT DATA COMPRESSION ALGORITHM: 0 none, 1 the drive's own.
const SDCA_AT: usize = 14;

/// All pages as manufactured. None of them says what is not so: no partitions, no programmable early warning,
/// no protection method.
pub(super) fn pages() -> Vec<ModePage> {
    let mut compression = [0; 14];
    compression[0] = DCE | DCC;
    compression[1] = 0x80; // DDE: what is compressed is always decompressed
    compression[5] = 0xff; // algorithm: an unregistered one
    compression[9] = 0xff;
    let mut configuration = [0; 14];
    configuration[6] = LOIS; // REW 0: reads do not report early warning
    configuration[8] = EEG | SEW;
    configuration[12] = 0x01; // SDCA
    let mut extension = [0; 28];
    extension[1] = 0x02; // write mode 0h: overwrite allowed; short erase mode 2h: end of data is recorded here
    alloc::vec![
        ModePage::new(0x01, &[0; 10]),                     // read-write error recovery
        ModePage::new(0x02, &[0; 14]),                     // disconnect-reconnect
        ModePage::new(0x0a, &[0; 10]).changeable(2, 0x04), // control: D_SENSE
        ModePage::new(COMPRESSION, &compression).changeable(2, DCE),
        ModePage::new(CONFIGURATION, &configuration).changeable(10, SEW).changeable(SDCA_AT, 0xff),
        ModePage::with_subpage(CONFIGURATION, 0x01, &extension),
        ModePage::new(0x11, &[0, 0, 0x18, 0x03, 0x09, 0]), // medium partition: no additional ones
        ModePage::new(0x1a, &[0; 10]),                     // power condition: all timers off
        ModePage::new(0x1c, &[0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0]), // informational exceptions: DEXCPT
    ]
}

/// MODE SENSE(6)/(10) for page 00h. Vendor specific by SPC-4; on LTO drives it means header and block
/// descriptor and no page, and it is what Linux st asks at each open, so it must answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderRequest {
    ten: bool,
    allocation: usize,
}

impl HeaderRequest {
    pub(super) fn parse(cdb: &Cdb) -> Option<Self> {
        let page_zero = cdb.byte(2) & 0x3f == 0 && cdb.byte(3) == 0;
        match cdb.opcode() {
            0x1a if page_zero => Some(Self { ten: false, allocation: cdb.byte(4).into() }),
            0x5a if page_zero => Some(Self { ten: true, allocation: cdb.be16(7).into() }),
            _ => None,
        }
    }

    /// The same command for a page that exists, all of it.
    pub(super) fn with_page(self, cdb: Cdb) -> Cdb {
        let mut bytes = cdb.0;
        bytes[2] |= 0x01;
        if self.ten {
            bytes[7] = 0xff;
        } else {
            bytes[4] = 0xff;
        }
        Cdb(bytes)
    }

    /// `reply` to that command without the page.
    pub(super) fn without_page(self, reply: Reply) -> Reply {
        if reply.status != Status::Good {
            return reply;
        }
        let mut bytes = reply.data_in.concat();
        // MODE DATA LENGTH does not count itself.
        let (header_len, descriptor_len_at, length_at) = if self.ten { (8, 7, 1) } else { (4, 3, 0) };
        let descriptor_len = bytes.get(descriptor_len_at).copied().unwrap_or(0);
        bytes.truncate(header_len + usize::from(descriptor_len));
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX).saturating_sub(length_at + 1);
        if let Some(byte) = bytes.get_mut(usize::from(length_at)) {
            *byte = length;
        }
        Reply::allocated(bytes, self.allocation)
    }
}

/// Block length and buffered mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Bytes of a block with FIXED; 0: variable.
    pub(super) block_length: u32,
    /// Buffered mode 1h; otherwise 0h.
    pub(super) buffered: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { block_length: 0, buffered: true }
    }
}

impl Settings {
    /// DEVICE-SPECIFIC PARAMETER: WP, buffered mode, speed 0.
    pub(super) fn device_specific(self, write_protected: bool) -> u8 {
        u8::from(write_protected) << 7 | u8::from(self.buffered) << 4
    }

    /// The block descriptor: density, number of blocks 0 ("all"), block length.
    pub(super) const fn block_descriptor(self, density: u8) -> [u8; 8] {
        let [_, a, b, c] = self.block_length.to_be_bytes();
        [density, 0, 0, 0, 0, a, b, c]
    }

    /// What header and block descriptor of a MODE SELECT ask for. `density`: of the medium, or the drive's
    /// own.
    pub(super) fn selected(self, select: &ModeSelect, density: u8, max_block: u32) -> Result<Self, Check> {
        let specific_at = select.device_specific_at;
        let invalid = |byte: u16, bit: u8| Check::InvalidFieldInParameters { byte, bit: Some(bit) };
        let buffered = match select.device_specific >> 4 & 0x07 {
            0 => false,
            1 => true,
            _ => return Err(invalid(specific_at, 6)),
        };
        if select.device_specific & 0x0f != 0 {
            return Err(invalid(specific_at, 3));
        }
        let Some([code, _, _, _, _, a, b, c]) = select.block_descriptor else {
            return Ok(Self { buffered, ..self });
        };
        let descriptor_at = select.block_descriptor_at;
        // 00h: the default; 7Fh: no change (SSC-4).
        if ![0x00, 0x7f, density].contains(&code) {
            return Err(Check::parameter(descriptor_at));
        }
        let block_length = u32::from_be_bytes([0, a, b, c]);
        if block_length > max_block {
            return Err(Check::parameter(descriptor_at.saturating_add(5)));
        }
        Ok(Self { block_length, buffered })
    }
}

/// What the pages and settings mean for a write.
pub(super) fn write_mode(modes: &ModePages, settings: Settings) -> WriteMode {
    WriteMode {
        compress: compresses(modes),
        buffered: settings.buffered,
        synchronize_at_warning: modes.byte(CONFIGURATION, 0, 10) & SEW != 0,
    }
}

/// DCE.
pub(super) fn compresses(modes: &ModePages) -> bool {
    modes.byte(COMPRESSION, 0, 2) & DCE != 0
}

/// DCE of page 0Fh and SDCA of page 10h are two views of one switch: a MODE SELECT with both must not
/// contradict itself.
pub(super) fn check_compression(select: &ModeSelect) -> Result<(), Check> {
    let Some(page) = selected(select, CONFIGURATION) else { return Ok(()) };
    let algorithm = page.bytes.get(SDCA_AT).copied().unwrap_or(0);
    let enable = selected(select, COMPRESSION).map(enables);
    let agrees = enable.is_none_or(|enable| enable == (algorithm != 0));
    if algorithm > 1 || !agrees {
        return Err(Check::parameter(page.at.saturating_add(SDCA_AT as u16)));
    }
    Ok(())
}

/// Moves the view of the switch that `select` does not hold.
pub(super) fn link_compression(modes: &mut ModePages, select: &ModeSelect) {
    match (selected(select, COMPRESSION), selected(select, CONFIGURATION)) {
        (Some(page), None) => modes.set_byte(CONFIGURATION, 0, SDCA_AT, u8::from(enables(page))),
        (None, Some(page)) => {
            let on = page.bytes.get(SDCA_AT).is_some_and(|algorithm| *algorithm != 0);
            modes.set_byte(COMPRESSION, 0, 2, if on { DCE | DCC } else { DCC });
        }
        _ => {}
    }
}

fn enables(page: &SelectedPage) -> bool {
    page.bytes.get(2).is_some_and(|byte| byte & DCE != 0)
}

fn selected(select: &ModeSelect, code: u8) -> Option<&SelectedPage> {
    select.pages.iter().find(|page| page.code == code && page.subpage == 0)
}
