//! A pack's next generation while it is written: by the collector without what is dead, by a repair with what was damaged.

use std::io::IoSlice;

use bytes::Bytes;
use vtl_codec::Habit;
use vtl_durable::DiskError;

use crate::error::StoreError;
use crate::pack::{Chunk, Frame, PAGE, PackId, Table};
use crate::packs::{Next, View};
use crate::recovery::feed_index;
use crate::store::Core;

/// Nothing leans on it before [`Draft::publish`]; one that is dropped before is removed.
pub(crate) struct Draft<'a> {
    core: &'a Core,
    id: PackId,
    generation: u16,
    frame: Frame,
    next: Next,
    table: Table,
    end: u64,
    habit: Habit,
}

impl<'a> Draft<'a> {
    /// The generation behind that of `old`.
    pub(crate) fn new(core: &'a Core, old: &View) -> Result<Self, DiskError> {
        let generation = old.generation.saturating_add(1);
        let next = core.packs.put_next(old.id, generation)?;
        let frame = core.packs.frame(old.id, generation);
        let (table, habit) = (Table::default(), Habit::default());
        Ok(Self { core, id: old.id, generation, frame, next, table, end: PAGE, habit })
    }

    /// Adds chunks, at raw addresses behind all before, with their bytes.
    pub(crate) fn add(
        &mut self,
        chunks: Vec<Chunk>,
        raw: Vec<Bytes>,
        compress: bool,
    ) -> Result<(), DiskError> {
        let encoded = self.core.codec.encode(raw, compress, &self.habit);
        let (region, bytes) = self.frame.region(self.end, chunks, encoded)?;
        let parts: Vec<IoSlice<'_>> = bytes.iter().map(|piece| IoSlice::new(piece)).collect();
        self.write(&parts)?;
        self.end = region.end();
        self.table.push(region);
        Ok(())
    }

    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        let (members, member) = (&self.core.packs.members, &self.next.member);
        self.next.put.write(parts).inspect_err(|error| members.blame(member, error))
    }

    /// Syncs it and puts it in the place of the generation before; the length of the file.
    pub(crate) fn publish(mut self) -> Result<u64, StoreError> {
        let footer = self.frame.encode_footer(&self.table, self.end)?;
        self.write(&[IoSlice::new(&footer)])?;
        // The file is new and nothing leans on it yet: a failed sync costs nothing but the work.
        let (members, member) = (&self.core.packs.members, &self.next.member);
        self.next.put.seal().inspect_err(|error| members.blame(member, error))?;
        let bytes = self.end + footer.len() as u64;
        let view =
            View { id: self.id, generation: self.generation, durable: self.table.len(), table: self.table };
        self.core.publish_generation(self.next, view, bytes)?;
        feed_index(&self.core.dock.finder, self.id);
        Ok(bytes)
    }
}
