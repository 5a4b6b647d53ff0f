//! Verified pieces of extents, for one reader, and what comes next fetched ahead.

use std::fmt;

use vtl_codec::Portion;

use crate::codec::Keep;
use crate::error::ReadError;
use crate::pack::Chunk;
use crate::reader::{Limits, Reader};
use crate::recipe::Extent;
use crate::store::Core;
use crate::sync::Arc;
use crate::types::OwnerId;

/// A verified piece of the stream, and where the next one begins.
pub(crate) type Piece = (Portion, u64);

pub(crate) struct Seeker {
    core: Arc<Core>,
    owner: OwnerId,
    reader: Reader,
    /// Where a sequential reader would go on.
    next_read: u64,
    /// Workers have been asked for everything before.
    ahead: u64,
}

impl Seeker {
    pub(crate) fn new(core: Arc<Core>, owner: OwnerId) -> Self {
        let options = &core.options;
        let region = options.region_bytes + options.longest_chunk();
        let ahead = (options.readahead_regions + 2).saturating_mul(region);
        let reader = Reader::new(
            Arc::clone(&core.packs),
            Arc::clone(&core.codec),
            Limits { all_bytes: options.cache_bytes.max(ahead), read_bytes: ahead },
            Arc::clone(&core.cached),
        );
        Self { core, owner, reader, next_read: 0, ahead: 0 }
    }

    /// What regions that are read from now on are kept as.
    pub(crate) fn keep(&mut self, keep: Keep) {
        self.reader.keep(keep);
    }

    /// What is behind `len` is another one from here on.
    pub(crate) fn cut(&mut self, len: u64) {
        self.ahead = self.ahead.min(len);
    }

    /// Bytes of the chunk that holds `at`, up to `end`, and where they stop. `extent`: the one that holds `at`.
    pub(crate) fn piece(&mut self, extent: Option<Extent>, at: u64, end: u64) -> Result<Piece, ReadError> {
        let Some(extent) = extent else {
            return Err(self.lost(at, at + 1, "no chunk is known to hold this byte"));
        };
        loop {
            match self.try_piece(&extent, at, end) {
                Tried::Outdated => {}
                Tried::Done(done) => return done,
            }
        }
    }

    fn try_piece(&mut self, extent: &Extent, at: u64, end: u64) -> Tried {
        let pack = extent.pack;
        let unreadable = |error: &dyn fmt::Display| format!("pack {pack}: {error}");
        let view = match self.core.packs.view(pack) {
            Ok(view) => view,
            Err(error) => return Tried::Done(Err(self.lost(at, extent.end(), unreadable(&error)))),
        };
        let raw = u64::from(extent.at) + (at - extent.start);
        let Some((_, found)) = view.table.holding(raw) else {
            let next = view.table.get(view.table.position(raw)).map(|next| u64::from(next.chunk.at));
            let lost = next.map_or(extent.end(), |next| (at + (next - raw)).min(extent.end()));
            return Tried::Done(Err(self.lost(at, lost, unreadable(&"the chunk's header is lost"))));
        };
        let within = raw - u64::from(found.chunk.at);
        let chunk_start = at.saturating_sub(within);
        let chunk_end = (chunk_start + u64::from(found.chunk.len)).min(extent.end());
        let stop = end.min(chunk_end);
        match self.reader.chunk(&view, &found, within as usize..(within + stop - at) as usize) {
            Ok(portion) => Tried::Done(Ok((portion, stop))),
            // Rewritten in between: the next view is of the new file.
            Err(_) if self.core.packs.is_outdated(&view) => Tried::Outdated,
            Err(error) => {
                self.core.distrust_chunk(&view, raw);
                self.core.quarantine.save();
                Tried::Done(Err(self.lost(chunk_start.max(extent.start), chunk_end, unreadable(&error))))
            }
        }
    }

    fn lost(&self, from: u64, to: u64, why: impl fmt::Display) -> ReadError {
        let len = to.saturating_sub(from).max(1);
        ReadError::Damaged { owner: self.owner, offset: from, len, why: why.to_string() }
    }

    /// After a read of `offset..end` in a stream that can be read up to `settled`.
    pub(crate) fn read_ahead(
        &mut self,
        offset: u64,
        end: u64,
        settled: u64,
        extent_at: impl Fn(u64) -> Option<Extent>,
    ) {
        let sequential = offset == self.next_read && offset < end;
        self.next_read = end;
        if !sequential {
            self.ahead = end;
            return;
        }
        // So much, whatever a region is here: what workers have read should still be in a cache of the processor when it is sent.
        let window = self.core.options.readahead_regions * self.core.options.region_bytes;
        let until = end.saturating_add(window as u64).min(settled);
        let workers = self.core.readers.handle();
        self.ahead = self.ahead.max(end);
        while self.ahead < until {
            let at = self.ahead;
            // What is wrong ahead is told when it is read.
            let Some(extent) = extent_at(at) else { return };
            let Ok(view) = self.core.packs.view(extent.pack) else { return };
            let raw = u64::from(extent.at) + (at - extent.start);
            let Some(region) = view.table.region_holding(raw) else { return };
            self.reader.prefetch(&workers, &view, region);
            let region_end = region.chunks.last().map_or(raw + 1, Chunk::end);
            self.ahead = at + region_end.min(extent.raw_end()).saturating_sub(raw).max(1);
        }
    }
}

/// What came of a try.
enum Tried {
    Done(Result<Piece, ReadError>),
    /// The pack was written anew meanwhile.
    Outdated,
}
