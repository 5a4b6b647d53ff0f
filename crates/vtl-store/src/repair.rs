//! Putting back what was damaged, from the same content elsewhere in the pool.
//!
//! For each chunk in quarantine: it is read again, since not every error stays; if it is still wrong its content is looked for under its
//! fingerprint. With it the pack is written anew as its next generation, with the chunk at its old raw address, so that every owner that lost it
//! has it again. A chunk that nobody else has stays in quarantine; when a backup brings its content again, it is healed then. Who has its bytes from
//! elsewhere ([`crate::lost`]) brings them.
//!
//! The new generation takes the place of the only file that has the old bytes. So nothing is left out of it but what was read and is wrong: a pack of
//! which a part cannot be read that is needed stays as it is for another time.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use vtl_durable::DiskFile;

use crate::codec::Algorithm;
use crate::draft::Draft;
use crate::error::StoreError;
use crate::pack::{Chunk, Found, Frame, MAX_CHUNKS, MAX_RAW, PackId, Region};
use crate::packs::{PackState, View};
use crate::quarantine::Damaged;
use crate::reader::{self, RegionError};
use crate::scrub::Broken;
use crate::store::Core;

/// What a repair did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Chunks that could be read after all.
    pub readable: u64,
    /// Chunks put back from the same content elsewhere.
    pub healed: u64,
    /// Packs written anew because their header, footer or a checksum was damaged; none of their chunks was.
    pub mended: u64,
    /// Chunks whose content is nowhere.
    pub lost: u64,
    /// Bytes in those.
    pub lost_bytes: u64,
}

/// What became of bytes that were brought for lost chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Chunks that are back.
    pub healed: u64,
    /// Bytes in those.
    pub healed_bytes: u64,
    /// Chunks for which other bytes were brought than were lost: they stay as they were.
    pub other: u64,
    /// Chunks whose pack is still being written or cannot be written anew, or cannot be read in another part: they wait for another time.
    pub waiting: u64,
}

/// Repairs what it can. It holds the gate of the collector: both rewrite packs.
pub(crate) fn repair(core: &Core) -> Result<RepairReport, StoreError> {
    core.writable()?;
    if !core.dock.finder.gate.begin() {
        return Err(StoreError::Collecting);
    }
    let result = repair_all(core);
    core.dock.finder.gate.end();
    core.quarantine.save();
    result
}

fn repair_all(core: &Core) -> Result<RepairReport, StoreError> {
    let mut report = RepairReport::default();
    let mut packs: BTreeMap<PackId, Vec<Damaged>> = BTreeMap::new();
    for damaged in core.quarantine.all() {
        packs.entry(damaged.pack).or_default().push(damaged);
    }
    for (id, all) in packs {
        repair_pack(core, id, &all, &mut report)?;
    }
    for broken in core.scrub.broken(core).iter().filter(|one| one.mendable) {
        report.mended += u64::from(mend_pack(core, broken)?);
    }
    Ok(report)
}

/// A pack whose chunks are all there is written anew, and then all of the file is right again. One with a damaged chunk waits until that is healed.
fn mend_pack(core: &Core, broken: &Broken) -> Result<bool, StoreError> {
    let id = broken.pack;
    let sealed = core.packs.known(id).is_some_and(|known| {
        known.state == PackState::Sealed
            && known.generation == broken.generation
            && known.generation < u16::MAX - 1
    });
    if !sealed || !core.quarantine.within(id, 0..MAX_RAW).is_empty() {
        return Ok(false);
    }
    match write_healed(core, id, &HashMap::new()) {
        Ok(()) => Ok(true),
        Err(StoreError::LostChunk { why }) => {
            tracing::warn!(pack = %id, why, "a pack is repaired next time");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn repair_pack(
    core: &Core,
    id: PackId,
    all: &[Damaged],
    report: &mut RepairReport,
) -> Result<(), StoreError> {
    let mut good = HashMap::new();
    for damaged in all {
        if still_readable(core, damaged) {
            core.quarantine.release(id, damaged.at);
            report.readable += 1;
        } else if let Some(bytes) = elsewhere(core, damaged) {
            good.insert(damaged.at, (*damaged, bytes));
        } else {
            report.lost += 1;
            report.lost_bytes += u64::from(damaged.len);
        }
    }
    report.healed += heal(core, id, &good)?.len() as u64;
    Ok(())
}

/// Chunks whose bytes are known, by their raw address.
type Good = HashMap<u32, (Damaged, Bytes)>;

/// Writes a pack anew with these chunks in their places; those that are back. One of which there is no sealed file stays as it is.
fn heal(core: &Core, id: PackId, good: &Good) -> Result<Vec<Damaged>, StoreError> {
    let Some(known) = core.packs.known(id).filter(|_| !good.is_empty()) else { return Ok(Vec::new()) };
    if known.state != PackState::Sealed || known.generation >= u16::MAX - 1 {
        return Ok(Vec::new());
    }
    match write_healed(core, id, good) {
        Ok(()) => {}
        Err(StoreError::LostChunk { why }) => {
            tracing::warn!(pack = %id, why, "a pack is repaired next time");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    }
    let view = core.packs.view(id)?;
    let is_back = |damaged: &Damaged| {
        let found = view.table.holding(u64::from(damaged.at));
        found.is_some_and(|(_, found)| found.chunk.fingerprint == damaged.fingerprint)
    };
    // One that had no room stays for another time.
    let back: Vec<Damaged> =
        good.values().map(|(damaged, _)| *damaged).filter(|damaged| is_back(damaged)).collect();
    back.iter().for_each(|damaged| core.quarantine.release(id, damaged.at));
    Ok(back)
}

/// Puts chunks back whose bytes somebody has brought, as far as they are those that were lost. It holds the gate of the collector.
pub(crate) fn put_back(core: &Core, brought: Vec<(Damaged, Bytes)>) -> Result<PutBack, StoreError> {
    core.writable()?;
    if !core.dock.finder.gate.begin() {
        return Err(StoreError::Collecting);
    }
    let result = put_all_back(core, brought);
    core.dock.finder.gate.end();
    core.quarantine.save();
    result
}

fn put_all_back(core: &Core, brought: Vec<(Damaged, Bytes)>) -> Result<PutBack, StoreError> {
    let mut report = PutBack::default();
    let mut packs: BTreeMap<PackId, Good> = BTreeMap::new();
    for (damaged, bytes) in brought {
        // Somebody else may have brought it meanwhile.
        if !core.quarantine.holds(damaged.pack, damaged.at) {
            continue;
        }
        if bytes.len() as u64 != u64::from(damaged.len)
            || core.codec.prints().of(&bytes) != damaged.fingerprint
        {
            report.other += 1;
            continue;
        }
        packs.entry(damaged.pack).or_default().insert(damaged.at, (damaged, bytes));
    }
    for (id, good) in packs {
        let back = heal(core, id, &good)?;
        report.healed += back.len() as u64;
        report.healed_bytes += back.iter().map(|one| u64::from(one.len)).sum::<u64>();
        report.waiting += (good.len() - back.len()) as u64;
    }
    Ok(report)
}

fn still_readable(core: &Core, damaged: &Damaged) -> bool {
    let Ok(view) = core.packs.view(damaged.pack) else { return false };
    let found = view.table.holding(u64::from(damaged.at));
    let same = found.filter(|(_, found)| found.chunk.fingerprint == damaged.fingerprint);
    same.is_some_and(|(_, found)| read_chunk(core, &view, &found).is_some())
}

/// The bytes of a chunk of the same content in another place, verified.
fn elsewhere(core: &Core, damaged: &Damaged) -> Option<Bytes> {
    let (view, number) = core.dock.finder.find(&damaged.fingerprint, damaged.len)?;
    let found = view.table.get(number)?;
    let other = view.id != damaged.pack || found.chunk.at != damaged.at;
    if other { read_chunk(core, &view, &found) } else { None }
}

fn read_chunk(core: &Core, view: &View, found: &Found<'_>) -> Option<Bytes> {
    let file = core.packs.file(view).ok()?;
    let frame = core.packs.frame(view.id, view.generation);
    let raw = reader::fetch(&*file, &core.codec, &frame, found.region).ok()?;
    reader::verified(core.codec.prints(), &raw, found).ok()
}

/// The pack's next generation, with the good bytes in their places. What was read, is damaged and not among them is left out; the quarantine
/// remembers it.
fn write_healed(core: &Core, id: PackId, good: &Good) -> Result<(), StoreError> {
    let view = core.packs.view(id)?;
    let old = core.packs.file(&view)?;
    let regions = plan(core, &view, &*old, good)?;
    let mut draft = Draft::new(core, &view)?;
    for (pieces, compress) in regions {
        let (chunks, raw) = pieces.into_iter().unzip();
        draft.add(chunks, raw, compress)?;
    }
    draft.publish().map(drop)
}

type Pieces = Vec<(Chunk, Bytes)>;

/// Regions of the healed pack in the order of raw addresses: the old ones with damaged chunks replaced or left out, and the good chunks that
/// the pack has no header of, between their neighbours or as regions of their own.
fn plan(
    core: &Core,
    view: &Arc<View>,
    old: &dyn DiskFile,
    good: &Good,
) -> Result<Vec<(Pieces, bool)>, StoreError> {
    let mut regions: BTreeMap<u32, (Pieces, bool)> = BTreeMap::new();
    let frame = core.packs.frame(view.id, view.generation);
    for region in &view.table.regions {
        let is_known = region.chunks.iter().all(|chunk| good.contains_key(&chunk.at));
        let raw = if is_known { None } else { read_region(core, &frame, old, region)? };
        let mut pieces = Pieces::new();
        for found in region.found() {
            let chunk = found.chunk;
            let own = || reader::verified(core.codec.prints(), raw.as_ref()?, &found).ok();
            let bytes = good.get(&chunk.at).map(|(_, bytes)| bytes.clone()).or_else(own);
            if bytes.is_none() && !core.quarantine.holds(view.id, chunk.at) {
                // A finding that nobody has looked at twice: it must not cost the chunk.
                core.distrust_chunk(view, u64::from(chunk.at));
                return Err(StoreError::LostChunk {
                    why: format!("pack {}: one more cannot be read", view.id),
                });
            }
            pieces.extend(bytes.map(|bytes| (*chunk, bytes)));
        }
        if let Some((first, _)) = pieces.first() {
            regions.insert(first.at, (pieces, region.algorithm != Algorithm::Raw));
        }
    }
    let room = MAX_CHUNKS.saturating_sub(view.table.len());
    let missing = good.values().filter(|(damaged, _)| view.table.holding(u64::from(damaged.at)).is_none());
    for (damaged, bytes) in missing.take(room) {
        let Damaged { at, len, fingerprint, .. } = *damaged;
        let piece = (Chunk { fingerprint, at, len, forced: true }, bytes.clone());
        // Regions must not overlap: one that goes on behind the chunk takes it in.
        let around = regions.range_mut(..at).next_back().map(|(_, (pieces, _))| pieces);
        match around.filter(|pieces| pieces.last().is_some_and(|(last, _)| last.at > at)) {
            Some(pieces) => pieces.insert(pieces.partition_point(|(chunk, _)| chunk.at < at), piece),
            None => {
                regions.insert(at, (vec![piece], true));
            }
        }
    }
    Ok(regions.into_values().collect())
}

/// The raw bytes of a region; none when what was read of it is wrong. One that cannot be read now may be read another time: until then its pack stays
/// as it is.
fn read_region(
    core: &Core,
    frame: &Frame,
    old: &dyn DiskFile,
    region: &Region,
) -> Result<Option<Bytes>, StoreError> {
    match reader::fetch(old, &core.codec, frame, region) {
        Ok(raw) => Ok(Some(raw)),
        Err(RegionError::Wrong(_)) => Ok(None),
        Err(RegionError::Disk(error)) => Err(StoreError::LostChunk { why: error.to_string() }),
    }
}
