//! A pack's next generation while it is written: by the collector without what is dead, by a repair with what was damaged.

use std::io::IoSlice;

use bytes::Bytes;
use vtl_durable::DiskError;

use crate::error::StoreError;
use crate::pack::{Chunk, Frame, PAGE, Table};
use crate::packs::{Created, View};
use crate::recovery::feed_index;
use crate::store::Core;

/// Nothing leans on it before [`Draft::publish`]; one that is dropped before is removed.
pub(crate) struct Draft<'a> {
    core: &'a Core,
    created: Created,
    generation: u16,
    frame: Frame,
    table: Table,
    end: u64,
    published: bool,
}

impl<'a> Draft<'a> {
    /// The generation behind that of `old`.
    pub(crate) fn new(core: &'a Core, old: &View) -> Result<Self, DiskError> {
        let generation = old.generation.saturating_add(1);
        let created = core.packs.create_next(old.id, generation)?;
        let frame = core.packs.frame(old.id, generation);
        let draft =
            Self { core, created, generation, frame, table: Table::default(), end: PAGE, published: false };
        draft.created.file.write_at(0, &[IoSlice::new(&draft.created.header)])?;
        Ok(draft)
    }

    /// Adds chunks, at raw addresses behind all before, with their bytes.
    pub(crate) fn add(
        &mut self,
        chunks: Vec<Chunk>,
        raw: Vec<Bytes>,
        compress: bool,
    ) -> Result<(), DiskError> {
        let encoded = self.core.codec.encode(raw, compress);
        let (region, bytes) = self.frame.region(self.end, chunks, encoded)?;
        let parts: Vec<IoSlice<'_>> = bytes.iter().map(|piece| IoSlice::new(piece)).collect();
        self.created.file.write_at(self.end, &parts)?;
        self.end = region.end();
        self.table.push(region);
        Ok(())
    }

    /// Syncs it and puts it in the place of the generation before; the length of the file.
    pub(crate) fn publish(mut self) -> Result<u64, StoreError> {
        let (id, generation) = (self.created.id, self.generation);
        let footer = self.frame.encode_footer(&self.table, self.end)?;
        self.created.file.write_at(self.end, &[IoSlice::new(&footer)])?;
        // The file is new and nothing leans on it yet: a failed sync costs nothing but the work.
        self.created.file.sync_data()?;
        let bytes = self.end + footer.len() as u64;
        let table = std::mem::take(&mut self.table);
        self.core.publish_generation(View { id, generation, durable: table.len(), table }, bytes)?;
        self.published = true;
        feed_index(&self.core.dock.finder, id);
        Ok(bytes)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            self.core.packs.drop_next(self.created.id, self.generation);
        }
    }
}
