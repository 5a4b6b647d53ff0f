//! What a cartridge is made with, what it tells about itself, and how it is used.

use std::time::Duration;

use vtl_types::{ByteCount, Label, MediaForm, MediaKind, Place};

use crate::{
    error::CartridgeError,
    head::{Attributes, Head, PlaceHint, is_serial},
    map::BlockMap,
    protection::Protection,
};

/// Longest distance of early warning from the end when none is given; LTO drives have about as much.
const EARLY_WARNING_MAX: u64 = 800 << 20;
/// The part of a small cartridge that lies behind early warning.
const EARLY_WARNING_PART: u64 = 8;

/// What a new cartridge is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CartridgeSpec {
    /// Bar code.
    pub label: Label,
    /// Serial number of the medium: 1 to 32 printable characters, never to change.
    pub serial: String,
    /// Generation and form.
    pub kind: MediaKind,
    /// Bytes of host data that fit.
    pub capacity: ByteCount,
    /// Distance of early warning from the end. None: 800 MiB, or an eighth of the capacity when that is less.
    pub early_warning: Option<ByteCount>,
    /// The write-protect switch.
    pub write_protected: bool,
    /// Now, in seconds since 1970 UTC.
    pub created_s: i64,
    /// Where it will be.
    pub place: PlaceHint,
}

impl CartridgeSpec {
    pub(crate) fn head(&self) -> Result<Head, CartridgeError> {
        let invalid = |why| Err(CartridgeError::InvalidSpec { why });
        let capacity_bytes = self.capacity.0;
        let default_warning = EARLY_WARNING_MAX.min(capacity_bytes / EARLY_WARNING_PART);
        let early_warning_bytes = self.early_warning.map_or(default_warning, |distance| distance.0);
        if !is_serial(&self.serial) {
            return invalid(
                "a cartridge's serial number has 1 to 32 printable ASCII characters without spaces",
            );
        }
        if early_warning_bytes > capacity_bytes {
            return invalid("early warning must begin on the tape: its distance is at most the capacity");
        }
        Ok(Head {
            label: self.label,
            serial: self.serial.clone(),
            kind: self.kind,
            capacity_bytes,
            early_warning_bytes,
            created_s: self.created_s,
            write_protected: self.write_protected,
            protection: Protection::default(),
            unfinished: false,
            load_count: 0,
            generation: 0,
            number: 0,
            place: self.place.clone().filter(|(_, place)| *place != Place::Vault),
            attributes: Attributes::new(),
            map: BlockMap::default(),
        })
    }
}

/// What a cartridge tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bar code.
    pub label: Label,
    /// Serial number of the medium.
    pub serial: String,
    /// Generation and form.
    pub kind: MediaKind,
    /// Bytes of host data that fit.
    pub capacity_bytes: u64,
    /// Bytes of host data from beginning of tape to end of data.
    pub used_bytes: u64,
    /// Distance of early warning from the end.
    pub early_warning_bytes: u64,
    /// Blocks and filemarks to end of data.
    pub objects: u64,
    /// Filemarks to end of data.
    pub filemarks: u64,
    /// The write-protect switch.
    pub write_protected: bool,
    /// Retention and hold.
    pub protection: Protection,
    /// It is a copy that is still being made: nobody should use it.
    pub unfinished: bool,
    /// How often it was loaded.
    pub load_count: u64,
    /// Grows with every commit that changes blocks, marks or host attributes. What is not committed does not count yet.
    pub generation: u64,
    /// When it was made, in seconds since 1970 UTC.
    pub created_s: i64,
    /// Where it was when it was last told; None: in the vault, or never told.
    pub place: PlaceHint,
}

impl Facts {
    pub(crate) fn of(head: &Head) -> Self {
        let end = head.map.end();
        Self {
            label: head.label,
            serial: head.serial.clone(),
            kind: head.kind,
            capacity_bytes: head.capacity_bytes,
            used_bytes: end.byte,
            early_warning_bytes: head.early_warning_bytes,
            objects: end.object,
            filemarks: end.file,
            write_protected: head.write_protected,
            protection: head.protection,
            unfinished: head.unfinished,
            load_count: head.load_count,
            generation: head.generation,
            created_s: head.created_s,
            place: head.place.clone(),
        }
    }

    /// Bytes of host data that still fit behind end of data.
    #[must_use]
    pub fn remaining_bytes(&self) -> u64 {
        self.capacity_bytes.saturating_sub(self.used_bytes)
    }

    /// Write once, read many.
    #[must_use]
    pub fn is_worm(&self) -> bool {
        self.kind.form == MediaForm::Worm
    }
}

/// Limits of a cartridge in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A write after which so many bytes are not committed commits them. Default 256 MiB: at disk speed the wait for
    /// the sync is then a few per cent, and a crash costs a host that never syncs at most this.
    pub commit_bytes: u64,
    /// The same for the description of what is pending, which many small blocks of changing sizes make long. Default 4 MiB:
    /// the store takes 32 MiB.
    pub commit_delta_bytes: usize,
    /// [`Cartridge::commit_if_due`](crate::Cartridge::commit_if_due) commits what has been pending for so long. Default 2 s.
    pub commit_interval: Duration,
    /// Memory of the block map from which on the tape counts as full, with early warning before. Default 512 MiB: enough
    /// for 12 TB in blocks of 256 KiB with a mark after each. Without it, a host that writes blocks of one and two bytes
    /// in turn could take any amount of memory.
    pub map_limit_bytes: u64,
    /// Free bytes of the pool below which a write reports early warning. Default 256 MiB.
    pub pool_warning_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            commit_bytes: 256 << 20,
            commit_delta_bytes: 4 << 20,
            commit_interval: Duration::from_secs(2),
            map_limit_bytes: 512 << 20,
            pool_warning_bytes: 256 << 20,
        }
    }
}
