//! Reading one pack from the medium and comparing all of it: header, each region's header, its stored bytes and chunks, what lies between
//! regions, and the footer.

use std::ops::Range;
use std::sync::Arc;

use vtl_durable::{DiskError, DiskFile};

use crate::pack::{self, Frame, PAGE, PackHeader, PackId, Region, Table};
use crate::packs::{PackState, View};
use crate::reader;
use crate::store::Core;

/// Bytes compared with zero at a time, where there should be nothing.
const GAP_BYTES: u64 = 1 << 20;

/// A pack in hand. Dropped at any moment, nothing is lost but the work.
pub(super) struct Reading {
    view: Arc<View>,
    frame: Frame,
    file: Arc<dyn DiskFile>,
    /// Its footer is on the disk, or should be.
    sealed: bool,
    /// Regions to read: those that are durable.
    regions: Vec<Arc<Region>>,
    at: usize,
    /// Bytes before are compared.
    done: u64,
    seen: Seen,
}

/// What was seen of a pack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes read.
    pub(super) bytes: u64,
    /// Damaged chunks.
    pub(super) damaged: u64,
    /// What is wrong with the file beside chunks, first faults first.
    pub(super) faults: Vec<String>,
    /// Its footer is whole: nothing that it should hold is unknown.
    pub(super) whole_footer: bool,
    /// Bytes between regions that are not zero.
    pub(super) unknown_bytes: bool,
    /// Another generation has taken its place meanwhile: what was seen counts for nothing.
    pub(super) outdated: bool,
}

/// So many faults of one pack are told.
const TOLD: usize = 8;

impl Reading {
    /// Opens the pack. None: it is gone, and nobody need miss it here.
    pub(super) fn open(core: &Core, id: PackId) -> Result<Option<Self>, DiskError> {
        let Some(known) = core.packs.known(id) else { return Ok(None) };
        let view = core.packs.view(id)?;
        let file = match core.packs.file(&view) {
            Err(error) if error.is_not_found() && is_past(core, &view) => return Ok(None),
            other => other?,
        };
        // What is in memory of the file proves nothing about the medium.
        file.forget_cached(0, u64::from(u32::MAX));
        let regions = view.durable_regions().cloned().collect();
        let sealed = known.state == PackState::Sealed;
        let frame = core.packs.frame(view.id, view.generation);
        Ok(Some(Self { view, frame, file, sealed, regions, at: 0, done: 0, seen: Seen::default() }))
    }

    pub(super) fn id(&self) -> PackId {
        self.view.id
    }

    pub(super) fn generation(&self) -> u16 {
        self.view.generation
    }

    /// Reads the header, one region, or what comes behind them; the bytes read, and what was seen when it was the last part.
    pub(super) fn step(&mut self, core: &Core) -> (u64, Option<Seen>) {
        let before = self.seen.bytes;
        let region = self.regions.get(self.at).cloned();
        match region {
            _ if self.done == 0 => self.header(core),
            Some(region) => self.region(core, &region),
            None => {
                self.end();
                self.seen.outdated = is_past(core, &self.view);
                return (self.seen.bytes - before, Some(std::mem::take(&mut self.seen)));
            }
        }
        (self.seen.bytes - before, None)
    }

    fn header(&mut self, core: &Core) {
        self.done = PAGE;
        if !self.sealed && self.regions.is_empty() {
            // Nothing of it is durable: not even this may be there.
            return;
        }
        let View { id, generation, .. } = *self.view;
        let header = PackHeader { store_id: core.domain.store_id, id, generation };
        match self.read(0, PAGE) {
            Ok(page) if header.is_whole(&page) => {}
            Ok(_) => self.fault("its header is not the one it was given".to_owned()),
            Err(error) => self.fault(error.to_string()),
        }
    }

    fn region(&mut self, core: &Core, region: &Arc<Region>) {
        self.at += 1;
        let offset = u64::from(region.offset);
        self.gap(self.done..offset);
        self.done = region.end();
        let crc_fault = match self.read(offset, region.end() - offset) {
            Err(error) => Some(error.to_string()),
            Ok(bytes) => {
                if self.frame.decode(&bytes, region.offset).as_ref() != Some(region) {
                    self.fault(format!("the header of its region at byte {offset} is damaged"));
                }
                let payload = bytes.get((region.payload_offset() - offset) as usize..).unwrap_or_default();
                let right = payload.len() as u64 == u64::from(region.stored_len)
                    && crc32c::crc32c(payload) == region.crc;
                let why = format!("the checksum of its region at byte {offset} does not match");
                (!right).then_some(why)
            }
        };
        let damaged = self.chunks(core, region);
        if let (Some(why), 0) = (crc_fault, damaged) {
            self.fault(format!("{why}; its chunks are right"));
        }
        self.file.forget_cached(offset, region.end() - offset);
    }

    /// Compares each chunk of a region, and distrusts it as a reader would; how many are damaged.
    fn chunks(&mut self, core: &Core, region: &Region) -> u64 {
        let raw = reader::fetch(&*self.file, &core.codec, &self.frame, region);
        let mut damaged = 0;
        for found in region.found() {
            let right =
                raw.as_ref().is_ok_and(|raw| reader::verified(core.codec.prints(), raw, &found).is_ok());
            if right || is_past(core, &self.view) {
                continue;
            }
            damaged += 1;
            core.distrust_chunk(&self.view, u64::from(found.chunk.at));
        }
        self.seen.damaged += damaged;
        damaged
    }

    /// What comes behind the last region.
    fn end(&mut self) {
        if !self.sealed {
            return;
        }
        match self.footer() {
            Ok(Some((start, table))) => {
                self.seen.whole_footer = table == self.view.table;
                if !self.seen.whole_footer {
                    self.fault("its footer does not say what it holds".to_owned());
                }
                self.gap(self.done..start);
            }
            Ok(None) => self.fault("its footer is damaged".to_owned()),
            Err(error) => self.fault(error.to_string()),
        }
    }

    fn footer(&mut self) -> Result<Option<(u64, Table)>, DiskError> {
        let Some(trailer) = pack::read_trailer(&*self.file, &self.frame)? else { return Ok(None) };
        let size = self.file.size()?;
        let len = self.frame.footer_len(trailer.regions as usize, trailer.chunks as usize);
        self.seen.bytes += len;
        let table = pack::read_footer(&*self.file, &self.frame)?;
        self.file.forget_cached(size.saturating_sub(len), len);
        Ok(table.map(|table| (size.saturating_sub(len), table)))
    }

    /// Between two regions there is nothing, or zeros up to the end of a page.
    fn gap(&mut self, gap: Range<u64>) {
        let mut at = gap.start;
        while at < gap.end {
            let len = GAP_BYTES.min(gap.end - at);
            match self.read(at, len) {
                Ok(bytes) if bytes.iter().all(|byte| *byte == 0) && bytes.len() as u64 == len => {}
                Ok(_) => {
                    self.seen.unknown_bytes = true;
                    return self
                        .fault(format!("between bytes {} and {} there is no region", gap.start, gap.end));
                }
                Err(error) => return self.fault(error.to_string()),
            }
            at += len;
        }
    }

    fn read(&mut self, at: u64, len: u64) -> Result<Vec<u8>, DiskError> {
        let mut bytes = Vec::new();
        self.seen.bytes += self.file.read_at(at, len as usize, &mut bytes)? as u64;
        Ok(bytes)
    }

    fn fault(&mut self, why: String) {
        if self.seen.faults.len() < TOLD {
            self.seen.faults.push(why);
        }
    }
}

/// Whether the pack is gone, or has been written anew.
fn is_past(core: &Core, view: &View) -> bool {
    core.packs.known(view.id).is_none_or(|known| known.generation != view.generation)
}
