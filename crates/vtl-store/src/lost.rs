//! What an owner has lost: which bytes of its stream, and which chunks whoever has these bytes from elsewhere can put back.
//!
//! A chunk can be put back when its fingerprint is known, which it is in quarantine, and when all of it is in one extent of the owner, so that its bytes are
//! a range of the stream. Of a pack that is gone, or a region whose header is, no fingerprint is known: these bytes are counted and no more.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::StoreError;
use crate::quarantine::Damaged;
use crate::recipe::Extent;
use crate::scrub::wrong_in;
use crate::store::Core;
use crate::types::OwnerId;

/// What an owner has lost, as far as readers, checks and the scrub have found it.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    /// Bytes of its stream that cannot be read.
    pub bytes: u64,
    /// Of these, bytes that no chunk which can be put back has.
    pub unknown_bytes: u64,
    /// Chunks that can be put back with their bytes, pack by pack; each once, however often the stream has it.
    pub chunks: Vec<LostChunk>,
}

/// A chunk that is lost, and where the owner has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostChunk {
    /// Its bytes in the owner's stream.
    pub range: Range<u64>,
    pub(crate) damaged: Damaged,
}

impl LostChunk {
    /// Whether both are put back with one writing of a pack.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.damaged.pack == other.damaged.pack
    }
}

/// What this owner has lost.
pub(crate) fn lost(core: &Core, owner: OwnerId) -> Result<Lost, StoreError> {
    let extents = core.extents(owner)?.unwrap_or_default();
    let mut lost = Lost::default();
    let (mut seen, mut known) = (BTreeSet::new(), 0);
    for extent in &extents {
        lost.bytes += lost_bytes(core, extent);
        for damaged in core.quarantine.within(extent.pack, u64::from(extent.at)..extent.raw_end()) {
            if u64::from(damaged.at) + u64::from(damaged.len) > extent.raw_end() {
                continue;
            }
            known += u64::from(damaged.len);
            if seen.insert((damaged.pack, damaged.at)) {
                let start = extent.start + u64::from(damaged.at - extent.at);
                lost.chunks.push(LostChunk { range: start..start + u64::from(damaged.len), damaged });
            }
        }
    }
    lost.unknown_bytes = lost.bytes.saturating_sub(known);
    lost.chunks.sort_by_key(|chunk| (chunk.damaged.pack, chunk.damaged.at));
    Ok(lost)
}

fn lost_bytes(core: &Core, extent: &Extent) -> u64 {
    match core.packs.view(extent.pack) {
        Ok(view) => wrong_in(core, &view, extent).into_iter().map(|(raw, _)| raw.end - raw.start).sum(),
        Err(_) => u64::from(extent.len),
    }
}
