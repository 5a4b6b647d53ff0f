//! A cartridge whose blocks lie elsewhere: map and head are here, bytes come from whoever has them. It is read only.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use vtl_store::{OwnerId, Store};
use vtl_types::CartridgeId;

use crate::cartridge::Cartridge;
use crate::error::CartridgeError;
use crate::head::Head;
use crate::map::{BlockMap, Run};
use crate::spec::Settings;

/// Who has the bytes. Whatever it gives is right.
pub trait Absent: fmt::Debug + Send + Sync {
    /// Bytes of the blocks, counted from the beginning of the tape.
    ///
    /// # Errors
    /// See [`NotHere`].
    fn read(&self, offset: u64, len: u64) -> Result<Vec<Bytes>, NotHere>;
}

/// Why bytes are not to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotHere {
    /// Where they are cannot be reached now; a later read may.
    Away {
        /// What it says.
        why: String,
    },
    /// They are damaged there.
    Damaged {
        /// What is wrong with them.
        why: String,
    },
}

impl Cartridge {
    /// Opens a cartridge that is to become a copy ([`Cartridge::begin_copy`]) as if it were one already: with these objects, in order, as their length (0: a
    /// filemark) and how many; bytes come from `absent`. Whatever would change it is refused with [`CartridgeError::Incomplete`], or as write-protected. Who
    /// makes the copy may have it open meanwhile.
    ///
    /// # Errors
    /// There is none with this id, its head cannot be read, or the objects are more than can be counted.
    pub fn open_absent(
        store: &Store,
        id: CartridgeId,
        settings: Settings,
        objects: impl IntoIterator<Item = (u32, u64)>,
        absent: Arc<dyn Absent>,
    ) -> Result<Self, CartridgeError> {
        let owner = OwnerId(id.0);
        let kept = store.head(owner)?;
        let mut head = Head::replay(&kept.snapshot, &kept.deltas)?;
        head.map = BlockMap::default();
        for (length, count) in objects {
            let added = head.map.append(Run { length, count });
            added.ok_or_else(|| CartridgeError::corrupted("more objects than can be counted"))?;
        }
        head.write_protected = true;
        Ok(Self::with_head(store, owner, settings, head, absent))
    }

    /// The objects in order: their length (0: filemarks), and how many of it.
    pub fn runs(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.map().runs().map(|run| (run.length, run.count))
    }
}
