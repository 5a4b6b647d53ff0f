//! Content that is there already: asked of the index, proved by the pack's table.

use std::sync::Arc;

use crate::codec::Fingerprint;
use crate::gc::Gate;
use crate::index::{Index, Place};
use crate::pack::{Found, PackId};
use crate::packs::{Packs, View};
use crate::quarantine::Quarantine;

pub(crate) struct Finder {
    pub(crate) index: Arc<Index>,
    pub(crate) packs: Arc<Packs>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) quarantine: Arc<Quarantine>,
}

impl Finder {
    /// A chunk with this content that may be referred to: its pack's view and its number there.
    pub(crate) fn find(&self, fingerprint: &Fingerprint, len: u32) -> Option<(Arc<View>, usize)> {
        let place = self.index.lookup(fingerprint)?;
        let number = usize::from(place.chunk);
        let Some(id) = self.packs.by_key(place.pack) else {
            self.index.forget(fingerprint, place);
            return None;
        };
        // A pack that cannot be read now may be another time.
        let view = self.packs.view(id).ok()?;
        let same = |found: Option<Found<'_>>| {
            found.is_some_and(|found| found.chunk.fingerprint == *fingerprint && found.chunk.len == len)
        };
        if same(view.table.get(number)) {
            return self.admits(&view, number).then_some((view, number));
        }
        self.index.forget(fingerprint, place);
        // A pack that was rewritten has its chunks under other numbers.
        let number = view.table.chunks().position(|chunk| chunk.fingerprint == *fingerprint)?;
        self.index.insert(place.pack, &[(number as u16, *fingerprint)]);
        (same(view.table.get(number)) && self.admits(&view, number)).then_some((view, number))
    }

    /// Whether the chunk may be referred to; from then on it is not collected.
    pub(crate) fn admits(&self, view: &View, number: usize) -> bool {
        let durable = number < view.durable;
        let at = view.table.get(number).filter(|_| durable).map(|found| found.chunk.at);
        at.is_some_and(|at| {
            !self.quarantine.holds(view.id, at) && self.gate.admit(view.id, view.generation, at)
        })
    }

    /// The chunks of a pack are durable.
    pub(crate) fn learn(&self, pack: PackId, chunks: &[(u16, Fingerprint)]) {
        self.index.insert(pack.key(), chunks);
        self.quarantine.look_at(chunks.iter().map(|(_, fingerprint)| fingerprint));
    }

    /// Never answer with this chunk again.
    pub(crate) fn unlearn(&self, fingerprint: &Fingerprint, pack: PackId, number: u16) {
        self.index.forget(fingerprint, Place { pack: pack.key(), chunk: number });
    }
}
