//! Reading and verifying everything, while the pool is in use.
//!
//! Packs are read once each, however many owners share their chunks; what is wrong in them is then told for every owner that needs it. What no commit
//! has named is not looked at: it may be incomplete, and nobody has lost it.

use std::collections::HashMap;
use std::ops::Range;

use crate::pack::{self, Found, PackHeader, PackId, Region};
use crate::packs::View;
use crate::reader;
use crate::recipe::{Extent, extent_at};
use crate::store::Core;
use crate::sync::Arc;
use crate::types::OwnerId;
use crate::workers::lock;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Owners that were looked at.
    pub owners: u64,
    /// Chunks whose bytes are right, each counted once.
    pub good_chunks: u64,
    /// Raw bytes in them.
    pub good_bytes: u64,
    /// What is wrong; empty when all is well.
    pub findings: Vec<Finding>,
}

/// One range that is lost, or an owner that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whose.
    pub owner: OwnerId,
    /// Which bytes of its stream; empty when none is lost (a damaged header that nothing needs).
    pub range: Range<u64>,
    /// What is wrong.
    pub why: String,
}

pub(crate) fn check(core: &Core) -> CheckReport {
    let mut check = Check { core, packs: HashMap::new(), report: CheckReport::default() };
    let owners: Vec<OwnerId> = lock(&core.owners).keys().copied().collect();
    for owner in owners {
        let extents = core.extents(owner);
        check.report.owners += u64::from(!matches!(extents, Ok(None)));
        match extents {
            Ok(extents) => {
                extents.iter().flatten().for_each(|extent| check.check_extent(owner, extent));
            }
            Err(error) => check.note(owner, 0..u64::MAX, error.to_string()),
        }
    }
    core.quarantine.save();
    for verdict in check.packs.values() {
        check.report.good_chunks += verdict.good_chunks;
        check.report.good_bytes += verdict.good_bytes;
    }
    check.report
}

/// What is wrong in one pack: raw addresses, and why.
#[derive(Default)]
struct Verdict {
    /// The table, as far as there is one.
    chunks: Vec<(Range<u64>, Option<String>)>,
    header: Option<String>,
    unreadable: Option<String>,
    good_chunks: u64,
    good_bytes: u64,
}

struct Check<'a> {
    core: &'a Core,
    packs: HashMap<PackId, Verdict>,
    report: CheckReport,
}

impl Check<'_> {
    fn check_extent(&mut self, owner: OwnerId, extent: &Extent) {
        let pack = extent.pack;
        // A pack that is being written has grown since an earlier extent was looked at.
        if self.packs.get(&pack).is_none_or(|verdict| verdict.ends_before(extent)) {
            let verdict = self.check_pack(pack, extent.raw_end());
            self.packs.insert(pack, verdict);
        }
        let Some(verdict) = self.packs.get_mut(&pack) else { return };
        let mut wrong: Vec<(Range<u64>, String)> = Vec::new();
        wrong.extend(verdict.header.take().map(|why| (u64::from(extent.at)..u64::from(extent.at), why)));
        match &verdict.unreadable {
            Some(why) => wrong.push((u64::from(extent.at)..extent.raw_end(), why.clone())),
            None => wrong.extend(verdict.wrong_in(extent)),
        }
        for (raw, why) in wrong {
            let stream = |raw: u64| extent.start + (raw - u64::from(extent.at));
            self.note_extent(
                owner,
                extent,
                stream(raw.start)..stream(raw.end),
                format!("pack {pack}: {why}"),
            );
        }
    }

    /// Reads all of a pack that is committed and compares it with its table. An owner refers to what is before `needed`.
    fn check_pack(&self, id: PackId, needed: u64) -> Verdict {
        let mut verdict = Verdict::default();
        if let Err(why) = self.read_pack(id, needed, &mut verdict) {
            verdict.unreadable = Some(why);
        }
        verdict
    }

    fn read_pack(&self, id: PackId, needed: u64, verdict: &mut Verdict) -> Result<(), String> {
        let view = self.core.packs.view(id).map_err(|error| error.to_string())?;
        let file = self.core.packs.file(&view);
        if file.is_err() && self.core.packs.is_outdated(&view) {
            return self.read_pack(id, needed, verdict);
        }
        let file = file.map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.read_at(0, pack::PAGE as usize, &mut bytes).map_err(|error| error.to_string())?;
        let expected = PackHeader { store_id: self.core.domain.store_id, id, generation: view.generation }
            .compare(&bytes);
        verdict.header = expected.err().map(|why| format!("{why}; its chunks can be read"));
        let frame = self.core.packs.frame(id, view.generation);
        // An owner knows of its commit a moment before its packs do.
        let regions = &view.table.regions;
        let begins_before =
            |region: &Arc<Region>| region.chunks.first().is_some_and(|first| u64::from(first.at) < needed);
        let named = regions.partition_point(begins_before);
        for region in regions.iter().take(named.max(view.durable_regions().count())) {
            let raw = reader::fetch(&*file, &self.core.codec, &frame, region);
            for found in region.found() {
                let checked = match &raw {
                    Ok(raw) => reader::verified(self.core.codec.prints(), raw, &found)
                        .map(drop)
                        .map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                self.judge(&view, &found, checked, verdict);
            }
        }
        Ok(())
    }

    fn judge(&self, view: &View, found: &Found<'_>, checked: Result<(), String>, verdict: &mut Verdict) {
        let range = u64::from(found.chunk.at)..found.chunk.end();
        if checked.is_ok() {
            verdict.good_bytes += range.end - range.start;
            verdict.good_chunks += 1;
        } else {
            self.core.distrust_chunk(view, range.start);
        }
        verdict.chunks.push((range, checked.err()));
    }

    /// Notes what is wrong, unless the stream has been cut or removed since the check looked.
    fn note_extent(&mut self, owner: OwnerId, extent: &Extent, range: Range<u64>, why: String) {
        let still_there = match self.core.extents(owner) {
            Ok(extents) => extent_at(&extents.unwrap_or_default(), extent.start)
                .is_some_and(|now| now.pack == extent.pack && now.end() >= range.end),
            Err(_) => false,
        };
        if still_there {
            self.note(owner, range, why);
        }
    }

    fn note(&mut self, owner: OwnerId, range: Range<u64>, why: String) {
        self.report.findings.push(Finding { owner, range, why });
    }
}

impl Verdict {
    fn ends_before(&self, extent: &Extent) -> bool {
        self.unreadable.is_none() && self.chunks.last().is_none_or(|(range, _)| range.end < extent.raw_end())
    }

    /// Raw addresses of an extent that are damaged or missing.
    fn wrong_in(&self, extent: &Extent) -> Vec<(Range<u64>, String)> {
        let mut wrong = Vec::new();
        let mut at = u64::from(extent.at);
        let first = self.chunks.partition_point(|(range, _)| range.end <= at);
        for (range, why) in self.chunks.get(first..).unwrap_or_default() {
            if at >= extent.raw_end() {
                break;
            }
            if range.start > at {
                wrong.push((at..range.start.min(extent.raw_end()), LOST.to_string()));
            }
            let end = range.end.min(extent.raw_end());
            if let Some(why) = why
                && range.start < extent.raw_end()
            {
                wrong.push((range.start.max(at)..end, why.clone()));
            }
            at = range.end;
        }
        if at < extent.raw_end() {
            wrong.push((at..extent.raw_end(), LOST.to_string()));
        }
        wrong
    }
}

const LOST: &str = "a chunk's header is lost";
