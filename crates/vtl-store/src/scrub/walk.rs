//! Going through all owners: their heads as they are on the disk, and for each extent whether its chunks are in a pack's table and whole.
//!
//! Here damage gets its names: which owner, and which bytes of its stream.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::StoreError;
use crate::pack::PackId;
use crate::packs::View;
use crate::recipe::{Extent, State, extent_at};
use crate::store::{Core, Phase};
use crate::types::OwnerId;
use crate::workers::lock;

use super::{Broken, MAX_FINDINGS, ScrubFinding};

/// Extents that one step looks at, and packs whose tables it may have to read for that.
const STEP_EXTENTS: usize = 4096;
const STEP_PACKS: usize = 16;
/// What a table costs the pacer, nearly: it may have been in memory.
const TABLE_BYTES: u64 = 128 << 10;

/// Owners that are still to be looked at, and what was found.
pub(super) struct Walk {
    owners: std::vec::IntoIter<OwnerId>,
    owner: Option<Owner>,
    broken: Vec<Broken>,
    found: Found,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Noted>,
    /// Findings above the limit.
    pub(super) more: u64,
}

/// A finding, and the pack whose mending ends it.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) finding: ScrubFinding,
    pub(super) broken: Option<PackId>,
}

struct Owner {
    id: OwnerId,
    extents: Vec<Extent>,
    at: usize,
    /// Packs whose faults have been told for it.
    told: BTreeSet<PackId>,
    findings: Vec<(usize, Noted)>,
}

impl Walk {
    pub(super) fn new(core: &Core, broken: Vec<Broken>) -> Self {
        let owners: Vec<OwnerId> = lock(&core.owners).keys().copied().collect();
        Self { owners: owners.into_iter(), owner: None, broken, found: Found::default() }
    }

    /// Looks at a bounded number of extents; the bytes that were read for it, nearly, and what was found when it was the last step.
    pub(super) fn step(&mut self, core: &Core) -> (u64, Option<Found>) {
        let Some(mut owner) = self.owner.take() else {
            return match self.owners.next() {
                Some(id) => (self.begin(core, id), None),
                None => (0, Some(std::mem::take(&mut self.found))),
            };
        };
        let bytes = owner.step(core, &self.broken);
        if owner.at < owner.extents.len() {
            self.owner = Some(owner);
        } else {
            self.end(core, owner);
        }
        (bytes, None)
    }

    /// Reads the head as it is on the disk; an open stream goes by what is in memory, which may be newer.
    fn begin(&mut self, core: &Core, id: OwnerId) -> u64 {
        // One that is being made, opened or removed is there, or gone, for the next time.
        let on_disk =
            core.load(id).or_else(|_| if is_busy(core, id) { Ok(State::new(&[], 0)) } else { core.load(id) });
        let extents = match (&on_disk, core.loaded(id)) {
            (_, Ok(Some(state))) => {
                let mut state = lock(&state);
                if let Err(error) = &on_disk {
                    mend_head(core, id, &mut state, error);
                }
                state.extents().to_vec()
            }
            (Ok(state), Ok(None)) => state.extents().to_vec(),
            // It is gone, or being made now.
            (_, Err(StoreError::UnknownOwner { .. } | StoreError::Busy { .. })) => return 0,
            (_, Err(error)) => return self.lost(id, &error),
            (Err(error), Ok(None)) => return self.lost(id, error),
        };
        let bytes = extents.len() as u64 * 20;
        self.owner = Some(Owner { id, extents, at: 0, told: BTreeSet::new(), findings: Vec::new() });
        bytes
    }

    /// Nothing of the owner can be read.
    fn lost(&mut self, id: OwnerId, error: &StoreError) -> u64 {
        let finding = ScrubFinding { owner: Some(id), range: 0..u64::MAX, why: error.to_string() };
        self.add(Noted { finding, broken: None });
        0
    }

    /// What was found counts unless the stream was cut or removed since.
    fn end(&mut self, core: &Core, owner: Owner) {
        if owner.findings.is_empty() {
            return;
        }
        let Ok(Some(now)) = core.extents(owner.id) else { return };
        for (at, noted) in owner.findings {
            let Some(then) = owner.extents.get(at) else { continue };
            let still = extent_at(&now, then.start)
                .is_some_and(|extent| extent.pack == then.pack && extent.end() >= noted.finding.range.end);
            if still {
                self.add(noted);
            }
        }
    }

    fn add(&mut self, noted: Noted) {
        if self.found.findings.len() < MAX_FINDINGS {
            self.found.findings.push(noted);
        } else {
            self.found.more += 1;
        }
    }
}

/// A head that is damaged on the disk while all of it is in memory is written anew.
fn mend_head(core: &Core, id: OwnerId, state: &mut State, error: &StoreError) {
    if core.writable().is_err() {
        return;
    }
    tracing::error!(owner = %id, %error, "a head is damaged on the disk, and written anew from memory");
    if let Err(error) = core.save_head(id, state) {
        tracing::error!(owner = %id, %error, "the head cannot be written");
    }
}

fn is_busy(core: &Core, owner: OwnerId) -> bool {
    let owners = lock(&core.owners);
    owners.get(&owner).is_none_or(|slot| slot.busy && !matches!(slot.phase, Phase::Loaded(_)))
}

impl Owner {
    fn step(&mut self, core: &Core, broken: &[Broken]) -> u64 {
        let mut packs = 0;
        let mut view: Option<std::sync::Arc<View>> = None;
        let end = self.extents.len().min(self.at + STEP_EXTENTS);
        while self.at < end && packs < STEP_PACKS {
            let Some(extent) = self.extents.get(self.at).copied() else { break };
            if view.as_ref().is_none_or(|view| view.id != extent.pack) {
                packs += 1;
                view = self.view(core, &extent);
            }
            if let Some(view) = &view {
                self.extent(core, view, &extent, broken);
            }
            self.at += 1;
        }
        packs as u64 * TABLE_BYTES
    }

    fn view(&mut self, core: &Core, extent: &Extent) -> Option<std::sync::Arc<View>> {
        match core.packs.view(extent.pack) {
            Ok(view) => Some(view),
            Err(error) => {
                let raw = u64::from(extent.at)..extent.raw_end();
                self.note(extent, raw, &error.to_string(), None);
                None
            }
        }
    }

    fn extent(&mut self, core: &Core, view: &View, extent: &Extent, broken: &[Broken]) {
        let at = u64::from(extent.at);
        let faults = broken.iter().filter(|one| one.pack == view.id && one.generation == view.generation);
        for fault in faults {
            if self.told.insert(view.id) {
                self.note(extent, at..at, &format!("{}; its chunks can be read", fault.why), Some(view.id));
            }
        }
        for (raw, why) in wrong_in(core, view, extent) {
            self.note(extent, raw, &why, None);
        }
    }

    fn note(&mut self, extent: &Extent, raw: Range<u64>, why: &str, broken: Option<PackId>) {
        let stream = |raw: u64| extent.start + (raw - u64::from(extent.at));
        let range = stream(raw.start)..stream(raw.end);
        let why = format!("pack {}: {why}", extent.pack);
        let finding = ScrubFinding { owner: Some(self.id), range, why };
        self.findings.push((self.at, Noted { finding, broken }));
    }
}

/// Raw addresses of an extent that are known to be damaged, or that no table has. Neighbours with one reason become one.
pub(crate) fn wrong_in(core: &Core, view: &View, extent: &Extent) -> Vec<(Range<u64>, String)> {
    const DAMAGED: &str = "the chunk's bytes do not match their fingerprint, or cannot be read";
    const LOST: &str = "a chunk's header is lost";
    let (start, end) = (u64::from(extent.at), extent.raw_end());
    // A chunk that begins before the extent reaches into it at most once.
    let first = view.table.holding(start).map_or(start, |(_, found)| u64::from(found.chunk.at));
    let damaged = core.quarantine.within(view.id, first..end);
    let mut wrong: Vec<(Range<u64>, String)> = Vec::new();
    let mut add = |range: Range<u64>, why: &str| {
        let range = range.start.max(start)..range.end.min(end);
        match wrong.last_mut() {
            _ if range.is_empty() => {}
            Some((last, said)) if last.end == range.start && said == why => last.end = range.end,
            _ => wrong.push((range, why.to_owned())),
        }
    };
    let is_damaged = |at: u64| {
        damaged.iter().any(|one| u64::from(one.at) <= at && at < u64::from(one.at) + u64::from(one.len))
    };
    let mut at = start;
    for number in view.table.position(start).. {
        let Some(found) = view.table.get(number).filter(|found| u64::from(found.chunk.at) < end) else {
            break;
        };
        let chunk = u64::from(found.chunk.at)..found.chunk.end();
        if chunk.start > at {
            add(at..chunk.start, if is_damaged(at) { DAMAGED } else { LOST });
        }
        if is_damaged(chunk.start) {
            add(chunk.clone(), DAMAGED);
        }
        at = chunk.end;
    }
    if at < end {
        add(at..end, if is_damaged(at) { DAMAGED } else { LOST });
    }
    wrong
}
