//! What each owner takes: stored bytes that it alone needs, that others need as well, and that nobody needs.
//!
//! A region is shared out by the raw bytes of its chunks, since it is compressed as a whole; its header, and the pack's header and footer, belong
//! to an owner only where nobody else needs anything of the region, or of the pack. So what an owner has to itself is what goes when it is removed
//! and everything dead is collected: to the byte where its regions are its own, nearly where compression mixes them with others'.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::mark::{Marks, Need, Ranges, mark};
use crate::pack::{ENTRY_BYTES, FOOTER_PREFIX, Region};
use crate::packs::{Known, PackState, View};
use crate::store::Core;
use crate::sync::atomic::Ordering;
use crate::types::{OwnerId, Share};
use crate::workers::lock;

/// Bytes of packs by who needs them.
pub(crate) struct Account {
    /// By the owner's number.
    exclusive: Vec<u64>,
    /// What nobody needs, in packs that a collection looks at.
    pub(crate) dead_bytes: u64,
}

impl Account {
    pub(crate) fn new(owners: usize) -> Self {
        Self { exclusive: vec![0; owners], dead_bytes: 0 }
    }

    /// Counts a pack as it lies there.
    pub(crate) fn add(&mut self, view: &View, known: &Known, marks: &Ranges) {
        let sealed = known.state == PackState::Sealed;
        let mut whole = Tally::default();
        let mut regions_bytes = 0;
        // What is not durable yet is not counted either.
        for region in view.durable_regions() {
            let tally = weigh(region, marks, sealed);
            regions_bytes += tally.bytes();
            whole.join(tally);
        }
        whole.rest = known.file_bytes.saturating_sub(regions_bytes) + std::mem::take(&mut whole.rest);
        for (need, bytes) in whole.settled() {
            match need {
                Need::Only(number) => {
                    if let Some(sum) = self.exclusive.get_mut(number as usize) {
                        *sum += bytes;
                    }
                }
                Need::Nobody if sealed => self.dead_bytes += bytes,
                Need::Nobody | Need::Several => {}
            }
        }
    }

    /// The share of each owner.
    pub(crate) fn shares(self, owners: &[OwnerId], shared_bytes: &[u64]) -> BTreeMap<OwnerId, Share> {
        let share = |((owner, exclusive), shared): ((&OwnerId, u64), &u64)| {
            (*owner, Share { exclusive_bytes: exclusive, shared_bytes: *shared })
        };
        owners.iter().zip(self.exclusive).zip(shared_bytes).map(share).collect()
    }
}

/// Bytes by who needs them, and those that belong to nobody in particular.
#[derive(Default)]
struct Tally {
    parts: BTreeMap<Need, u64>,
    rest: u64,
}

impl Tally {
    fn bytes(&self) -> u64 {
        self.rest + self.parts.values().sum::<u64>()
    }

    fn join(&mut self, other: Self) {
        for (need, bytes) in other.settled() {
            *self.parts.entry(need).or_default() += bytes;
        }
    }

    /// The rest goes to the one owner that is left, to nobody when none is, and else to all of them.
    fn settled(mut self) -> BTreeMap<Need, u64> {
        let mut alive = self.parts.keys().filter(|need| **need != Need::Nobody);
        let whose = match (alive.next(), alive.next()) {
            (None, _) => Need::Nobody,
            (Some(one), None) => *one,
            _ => Need::Several,
        };
        *self.parts.entry(whose).or_default() += self.rest;
        self.parts
    }
}

/// What a region takes in its file, with what the footer says of it.
fn weigh(region: &Region, marks: &Ranges, sealed: bool) -> Tally {
    let copies = if sealed { 2 } else { 1 };
    let (mut tally, mut raw): (Tally, BTreeMap<Need, u64>) = Default::default();
    for chunk in &region.chunks {
        let need = marks.need(chunk);
        *raw.entry(need).or_default() += u64::from(chunk.len);
        *tally.parts.entry(need).or_default() += copies * ENTRY_BYTES;
    }
    let (stored, all) = (u64::from(region.stored_len), u64::from(region.raw_len).max(1));
    let mut left = stored;
    for (need, raw) in raw {
        let part = stored * raw / all;
        left -= part;
        *tally.parts.entry(need).or_default() += part;
    }
    let header = u64::from(region.head_len).saturating_sub(region.chunks.len() as u64 * ENTRY_BYTES);
    tally.rest = left + copies * header + if sealed { FOOTER_PREFIX } else { 0 };
    tally
}

/// Counts everything without freeing anything.
pub(crate) fn account(core: &Core) -> Result<(), StoreError> {
    let gate = &core.dock.finder.gate;
    // A collection or a repair changes packs meanwhile.
    if !gate.begin() {
        return Err(StoreError::Collecting);
    }
    let counted = mark(core, &|| true).map(|marks| marks.into_iter().for_each(|marks| count(core, marks)));
    gate.end();
    counted
}

fn count(core: &Core, mut marks: Marks) {
    let mut account = Account::new(marks.owners.len());
    for (id, known) in core.packs.all() {
        // One that cannot be read is told by a check.
        if let Ok(view) = core.packs.view(id) {
            account.add(&view, &known, &marks.packs.remove(&id).unwrap_or_default());
        }
    }
    publish(core, account, &marks);
}

/// From here on this is what is told.
pub(crate) fn publish(core: &Core, account: Account, marks: &Marks) {
    core.reclaimable.store(account.dead_bytes, Ordering::Relaxed);
    *lock(&core.marked) = account.shares(&marks.owners, &marks.shared_bytes);
}
