//! An owner as it was at one commit: read while others write to it, cut it or remove it.
//!
//! Nothing is copied and nothing is written: it is a list of extents that a collection takes for needed as long as the snapshot lives. It ends
//! with the process.
//!
//! Order, against a collection that marks meanwhile: the list of snapshots is locked, the owner's state read, the snapshot entered, the list
//! unlocked. A collection takes the list after all owners. So it either finds the snapshot, or the snapshot was taken of what the collection had
//! marked and of what was committed since, which it leaves alone.

use std::fmt;

use bytes::Bytes;
use vtl_codec::Portion;

use crate::codec::Keep;
use crate::error::{ReadError, StoreError};
use crate::recipe::{Extent, extent_at};
use crate::seeker::Seeker;
use crate::store::Core;
use crate::sync::{Arc, Weak};
use crate::types::{Head, OwnerId};
use crate::workers::lock;

/// What a snapshot needs.
pub(crate) struct Pinned {
    extents: Vec<Extent>,
}

/// An owner's head and bytes as they were at one commit. Dropping it lets collections have what only it needs.
pub struct Snapshot {
    head: Head,
    pinned: Arc<Pinned>,
    seeker: Seeker,
}

impl Snapshot {
    pub(crate) fn take(core: &Arc<Core>, owner: OwnerId) -> Result<Self, StoreError> {
        let mut all = lock(&core.snapshots);
        let (head, extents) = core.peek(owner, |state| (state.head.clone(), state.extents().to_vec()))?;
        let pinned = Arc::new(Pinned { extents });
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&pinned));
        Ok(Self { head, pinned, seeker: Seeker::new(Arc::clone(core), owner) })
    }

    /// The owner's state then.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Exactly `len` bytes from `offset`, verified.
    ///
    /// # Errors
    /// They are damaged, or not all there.
    pub fn read(&mut self, offset: u64, len: u64) -> Result<Vec<Bytes>, ReadError> {
        let portions = self.pieces(offset, len)?;
        Ok(portions.into_iter().map(|portion| portion.bytes).collect())
    }

    /// The same, with what they were decompressed from.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn portions(&mut self, offset: u64, len: u64) -> Result<Vec<Portion>, ReadError> {
        self.seeker.keep(Keep::Both);
        self.pieces(offset, len)
    }

    fn pieces(&mut self, offset: u64, len: u64) -> Result<Vec<Portion>, ReadError> {
        let length = self.head.length;
        let Some(end) = offset.checked_add(len).filter(|end| *end <= length) else {
            return Err(ReadError::OutOfRange { offset, len, end: length });
        };
        let pinned = Arc::clone(&self.pinned);
        let extent = |at: u64| extent_at(&pinned.extents, at).copied();
        let (mut pieces, mut at) = (Vec::new(), offset);
        while at < end {
            let (piece, next) = self.seeker.piece(extent(at), at, end)?;
            pieces.push(piece);
            at = next;
        }
        self.seeker.read_ahead(offset, end, length, extent);
        Ok(pieces)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("length", &self.head.length).finish_non_exhaustive()
    }
}

/// What all snapshots that are in use need.
pub(crate) fn needed(core: &Core) -> Vec<Arc<Pinned>> {
    lock(&core.snapshots).iter().filter_map(Weak::upgrade).collect()
}

impl Pinned {
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }
}
