//! TapeAlert: 64 flags (SSC-4), raised where a fault is seen, shown once to each initiator.

use alloc::collections::BTreeMap;

use crate::command::NexusId;

/// The flags that something in this drive can raise, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Alert {
    /// Media: the cartridge's structure cannot be trusted.
    Media = 0x04,
    /// Read failure.
    ReadFailure = 0x05,
    /// Write failure.
    WriteFailure = 0x06,
    /// Write protect: a write was tried on protected medium.
    WriteProtect = 0x09,
    /// No removal: an unload was tried while removal was prevented.
    NoRemoval = 0x0a,
    /// Hardware A: what the drive stands on does not answer.
    Hardware = 0x1e,
    /// WORM medium, overwrite attempted.
    WormOverwrite = 0x3c,
}

/// The flags. Reading the log page clears them for the initiator that read it; a cartridge's load clears them
/// for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alerts {
    raised: u64,
    shown: BTreeMap<NexusId, u64>,
}

impl Alerts {
    /// Number of flags in the log page.
    pub(super) const COUNT: u16 = 64;

    pub(super) fn raise(&mut self, alert: Alert) {
        let bit = bit(alert as u16);
        self.raised |= bit;
        for shown in self.shown.values_mut() {
            *shown &= !bit;
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn forget(&mut self, nexus: NexusId) {
        self.shown.remove(&nexus);
    }

    /// Flags that `nexus` has not been shown: bit 63 is flag 1, as in the TapeAlert response page.
    pub(super) fn pending(&self, nexus: NexusId) -> u64 {
        self.raised & !self.shown.get(&nexus).copied().unwrap_or_default()
    }

    /// `nexus` has read the page.
    pub(super) fn show(&mut self, nexus: NexusId) {
        self.shown.insert(nexus, self.raised);
    }

    /// All flags, whoever saw them.
    pub(super) const fn raised(&self) -> u64 {
        self.raised
    }
}

/// Flag 1 is the most significant bit.
pub(super) const fn bit(flag: u16) -> u64 {
    match flag {
        1..=Alerts::COUNT => 1 << (Alerts::COUNT - flag),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_shown_once_to_each_initiator() {
        let (one, two) = (NexusId(1), NexusId(2));
        let mut alerts = Alerts::default();
        alerts.raise(Alert::WriteFailure);
        assert_eq!(alerts.pending(one), 1 << 58);
        alerts.show(one);
        assert_eq!((alerts.pending(one), alerts.pending(two)), (0, 1 << 58));
        alerts.raise(Alert::WriteFailure);
        assert_eq!(alerts.pending(one), 1 << 58);
        alerts.clear();
        assert_eq!((alerts.pending(one), alerts.pending(two)), (0, 0));
    }
}
