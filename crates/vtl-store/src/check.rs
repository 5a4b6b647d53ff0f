//! Reading and verifying everything, while the pool is in use.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use vtl_durable::{DiskFile, Open};

use crate::error::StoreError;
use crate::pack::{self, ChunkEntry, PackHeader, PackId};
use crate::recipe::{Extent, State, extent_at};
use crate::store::Core;
use crate::types::OwnerId;
use crate::workers::lock;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Owners that were looked at.
    pub owners: u64,
    /// Chunks whose bytes are right.
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
    let mut report = CheckReport::default();
    let owners: Vec<OwnerId> = lock(&core.owners).keys().copied().collect();
    for owner in owners {
        match Checked::new(core, owner) {
            Ok(checked) => {
                report.owners += 1;
                checked.run(&mut report);
            }
            Err(StoreError::UnknownOwner { .. }) => {}
            Err(error) => {
                report.owners += 1;
                report.findings.push(Finding { owner, range: 0..u64::MAX, why: error.to_string() });
            }
        }
    }
    report
}

/// One owner's extents as they were when the check came to it.
struct Checked<'a> {
    core: &'a Core,
    owner: OwnerId,
    state: Arc<Mutex<State>>,
    extents: Vec<Extent>,
}

impl<'a> Checked<'a> {
    fn new(core: &'a Core, owner: OwnerId) -> Result<Self, StoreError> {
        let state = match core.loaded(owner)? {
            Some(state) => state,
            None => Arc::new(Mutex::new(core.load(owner)?)),
        };
        let extents = lock(&state).extents().to_vec();
        Ok(Self { core, owner, state, extents })
    }

    fn run(&self, report: &mut CheckReport) {
        let mut last_pack = None;
        for extent in &self.extents {
            let is_new_pack = last_pack.replace(extent.pack) != Some(extent.pack);
            if let Err(why) = self.check_extent(extent, is_new_pack, report) {
                self.note(report, extent, extent.start..extent.end(), why);
            }
        }
    }

    /// Verifies each chunk of an extent; an error concerns the whole extent.
    fn check_extent(
        &self,
        extent: &Extent,
        is_new_pack: bool,
        report: &mut CheckReport,
    ) -> Result<(), String> {
        let path = pack::path(&self.core.folder(self.owner), extent.pack);
        let file = self.core.disk.open(&path, Open::Read).map_err(|error| error.to_string())?;
        if is_new_pack && let Err(why) = self.check_header(&*file, extent.pack) {
            self.note(report, extent, extent.start..extent.start, why);
        }
        let table = self.table(&*file, extent.pack)?;
        let mut at = extent.start;
        while at < extent.end() {
            let Some(entry) = extent.find(&table, at) else {
                let next = table.iter().map(|entry| entry.stream_offset).filter(|start| *start > at).min();
                let stop = next.unwrap_or(extent.end()).min(extent.end());
                self.note(
                    report,
                    extent,
                    at..stop,
                    format!("pack {}: a chunk's header is lost", extent.pack),
                );
                at = stop;
                continue;
            };
            let stop = entry.stream_end().min(extent.end());
            match self.check_chunk(&*file, entry) {
                Ok(()) => {
                    report.good_chunks += 1;
                    report.good_bytes += stop - at;
                }
                Err(why) => self.note(report, extent, at..stop, format!("pack {}: {why}", extent.pack)),
            }
            at = stop;
        }
        Ok(())
    }

    fn check_header(&self, file: &dyn DiskFile, id: PackId) -> Result<(), String> {
        let mut bytes = Vec::new();
        file.read_at(0, pack::PAGE as usize, &mut bytes).map_err(|error| error.to_string())?;
        let expected = PackHeader { store_id: self.core.store_id, owner: self.owner, id };
        expected.compare(&bytes).map_err(|why| format!("pack {id}: {why}; its chunks can be read"))
    }

    fn table(&self, file: &dyn DiskFile, id: PackId) -> Result<Vec<ChunkEntry>, String> {
        if let Some(table) = lock(&self.state).table(id) {
            return Ok(table.to_vec());
        }
        pack::load_table(file, self.owner, id).map_err(|error| error.to_string())
    }

    fn check_chunk(&self, file: &dyn DiskFile, entry: &ChunkEntry) -> Result<(), String> {
        let stored =
            pack::read_stored(file, self.core.codec.buffers(), entry).map_err(|error| error.to_string())?;
        if stored.bytes.len() != entry.stored_len as usize {
            return Err("the pack ends before the chunk does".to_string());
        }
        let decoded =
            self.core.codec.decode(entry.algorithm, entry.raw_len as usize, &entry.fingerprint, stored);
        decoded.map(|_| ()).map_err(str::to_string)
    }

    /// Notes what is wrong, unless the stream has been cut or removed since the check looked: then the pack was
    /// unlinked under it.
    fn note(&self, report: &mut CheckReport, extent: &Extent, range: Range<u64>, why: String) {
        let still_there = {
            let state = lock(&self.state);
            let now = extent_at(state.extents(), extent.start);
            now.is_some_and(|now| now.pack == extent.pack && now.end() >= range.end)
        };
        if still_there && self.core.loaded(self.owner).is_ok() {
            report.findings.push(Finding { owner: self.owner, range, why });
        }
    }
}
