//! What of a table is in memory, and the two steps of a lookup: a look without any read, then the reads it asks for.
//!
//! Nothing is loaded before a lookup needs it, and then for one segment: a start reads no filters, and memory that the
//! plan allows is taken when it is used.

use std::sync::{Arc, OnceLock};

use super::budget::{Budget, Charge};
use super::cache::PageCache;
use super::header::{DirectoryEntry, Header};
use super::page::{PAGE_BYTES, Page};
use super::parts::{Filter, Hook, decode_hooks};
use super::record::{HOOK_BITS, Key, Known, Place};
use super::stats::Counters;
use super::table::{TableError, TableFile};

/// How much of a table may be in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mode {
    /// Nothing; it is never asked.
    Blind,
    /// Hooks with so many zero bits beyond those that make a hook. Other keys are not found.
    Hooks(u32),
    /// Filters: a read for each key that is in the table, and for one of 256 others.
    Filter,
    /// Filters and pages: no reads.
    Whole,
}

impl Mode {
    /// Memory of a table in this mode, beyond [`TableFile::base_bytes`].
    pub(crate) fn bytes(self, header: &Header) -> usize {
        let slots = header.segments as usize * SLOT_BYTES;
        let filters = header.filter_bytes as usize;
        match self {
            Self::Blind => 0,
            Self::Hooks(level) => slots + hooks(header, level) * HOOK_MEMORY,
            Self::Filter => slots + filters,
            Self::Whole => slots + filters + header.pages() as usize * PAGE_BYTES,
        }
    }
}

fn hooks(header: &Header, level: u32) -> usize {
    header.hooks.get(level as usize).copied().unwrap_or_default() as usize
}

type Slot = OnceLock<Loaded>;
/// A segment's slot, and what the allocator adds to its few allocations.
const SLOT_BYTES: usize = size_of::<Slot>() + size_of::<u64>() + 64;
/// Of a hook: key, chunk, and pack as a distance from the table's smallest.
const HOOK_MEMORY: usize = 8 + 2 + 4;
/// Stands for a pack that is too far away to be counted from the smallest, and for a dead hook.
const DEAD: u32 = u32::MAX;

#[derive(Debug)]
struct Loaded {
    part: Part,
    _charge: Charge,
}

#[derive(Debug)]
enum Part {
    /// In the slot itself: each pointer on the way to the filter's bytes is a cache miss.
    Filter(Filter, Option<Box<[u8]>>),
    Hooks(Box<Hooks>),
}

#[derive(Debug)]
struct Hooks {
    keys: Box<[u64]>,
    packs: Box<[u32]>,
    chunks: Box<[u16]>,
}

/// What a look without reading finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Look {
    /// Not in this table.
    No,
    /// This.
    Known(Known),
    /// Only a read can tell.
    Read,
}

/// A table in one mode.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) file: Arc<TableFile>,
    pub(crate) mode: Mode,
    slots: Box<[Slot]>,
    /// The first halves of the segments' first keys, side by side.
    firsts: Box<[u64]>,
    _charge: Option<Charge>,
}

/// What a lookup may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tools<'a> {
    pub(crate) budget: &'a Arc<Budget>,
    pub(crate) cache: &'a PageCache,
    pub(crate) counters: &'a Counters,
}

impl Table {
    pub(crate) fn new(file: Arc<TableFile>, mode: Mode, budget: &Arc<Budget>) -> Self {
        let slots = if mode == Mode::Blind { 0 } else { file.header.segments };
        let charge = budget.take(slots as usize * SLOT_BYTES);
        let firsts = file.directory.iter().take(slots as usize).map(|entry| entry.first).collect();
        Self { file, mode, slots: (0..slots).map(|_| OnceLock::new()).collect(), firsts, _charge: charge }
    }

    /// Looks without reading.
    pub(crate) fn look(&self, key: Key) -> Look {
        if !self.may_answer(key) {
            return Look::No;
        }
        let Some((first, last)) = self.segments(key) else { return Look::No };
        let mut segment = last;
        loop {
            match self.look_in(segment, key) {
                Look::No if segment > first => segment -= 1,
                other => return other,
            }
        }
    }

    /// Segments in which the key can be, first and last: one, unless many keys share their first half.
    fn segments(&self, key: Key) -> Option<(u32, u32)> {
        let last = self.firsts.partition_point(|first| *first <= key.high()).checked_sub(1)?;
        let mut segment = last;
        while segment > 0 && self.firsts.get(segment).is_some_and(|first| *first == key.high()) {
            segment -= 1;
        }
        Some((segment as u32, last as u32))
    }

    fn may_answer(&self, key: Key) -> bool {
        match self.mode {
            Mode::Blind => false,
            Mode::Hooks(level) => key.hook_bits().is_some_and(|bits| bits >= HOOK_BITS + level),
            Mode::Filter | Mode::Whole => true,
        }
    }

    #[inline]
    fn look_in(&self, segment: u32, key: Key) -> Look {
        match self.slots.get(segment as usize).and_then(OnceLock::get).map(|loaded| &loaded.part) {
            None => Look::Read,
            Some(Part::Filter(filter, _)) if !filter.may_contain(key) => Look::No,
            Some(Part::Filter(_, None)) => Look::Read,
            Some(Part::Filter(filter, Some(pages))) => {
                find_in_pages(filter, pages, key).map_or(Look::No, Look::Known)
            }
            Some(Part::Hooks(hooks)) => {
                hooks.find(key, self.file.header.least_pack).map_or(Look::No, Look::Known)
            }
        }
    }

    /// Reads what is needed to know.
    pub(crate) fn read(&self, key: Key, tools: Tools<'_>) -> Result<Option<Known>, TableError> {
        let Some((first, last)) = self.segments(key) else { return Ok(None) };
        for segment in (first..=last).rev() {
            if !self.load(segment, tools)? {
                continue;
            }
            let found = match self.look_in(segment, key) {
                Look::No => None,
                Look::Known(known) => Some(known),
                Look::Read => self.read_pages(segment, key, tools)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Brings a segment into memory; `false` when there is none left for it.
    fn load(&self, segment: u32, tools: Tools<'_>) -> Result<bool, TableError> {
        let (Some(slot), Some(entry)) = (self.slots.get(segment as usize), self.file.entry(segment)) else {
            return Ok(false);
        };
        if slot.get().is_some() {
            return Ok(true);
        }
        let loaded = match self.mode {
            Mode::Hooks(level) => self.load_hooks(segment, entry, level, tools)?,
            _ => self.load_filter(segment, entry, tools)?,
        };
        if loaded.is_none() {
            tools.counters.no_memory.add();
        }
        // Another thread may have been faster; its part is the same.
        Ok(loaded.map(|loaded| drop(slot.set(loaded))).is_some())
    }

    fn load_filter(
        &self,
        segment: u32,
        entry: &DirectoryEntry,
        tools: Tools<'_>,
    ) -> Result<Option<Loaded>, TableError> {
        let pages = self.file.header.pages_of(segment);
        let (page_bytes, len) = (pages as usize * PAGE_BYTES, entry.filter_bytes as usize);
        let kept = if self.mode == Mode::Whole { len + page_bytes } else { len };
        let (Some(charge), Some(_while_reading)) = (tools.budget.take(kept), tools.budget.take(len)) else {
            return Ok(None);
        };
        let at = entry.offset + page_bytes as u64 + u64::from(entry.hook_bytes);
        let filter = Filter::decode(self.file.part(segment), pages, entry.first, &self.file.read(at, len)?)?;
        let whole = self.mode == Mode::Whole;
        let pages = whole.then(|| self.read_segment(segment, entry.offset, page_bytes, tools.counters));
        Ok(Some(Loaded { part: Part::Filter(filter, pages.transpose()?), _charge: charge }))
    }

    fn load_hooks(
        &self,
        segment: u32,
        entry: &DirectoryEntry,
        level: u32,
        tools: Tools<'_>,
    ) -> Result<Option<Loaded>, TableError> {
        let len = entry.hook_bytes as usize;
        // The bytes as read, and as decoded before they are sorted into their arrays.
        let Some(_while_reading) = tools.budget.take(2 * len) else { return Ok(None) };
        let at = entry.offset + u64::from(self.file.header.pages_of(segment)) * PAGE_BYTES as u64;
        let hooks = self.decode_hooks(segment, level, &self.file.read(at, len)?)?;
        let Some(charge) = tools.budget.take(hooks.keys.len() * HOOK_MEMORY) else { return Ok(None) };
        Ok(Some(Loaded { part: Part::Hooks(Box::new(hooks)), _charge: charge }))
    }

    fn decode_hooks(&self, segment: u32, level: u32, bytes: &[u8]) -> Result<Hooks, TableError> {
        let mut found: Vec<(u64, u32, u16)> = Vec::new();
        let least = self.file.header.least_pack;
        decode_hooks(self.file.part(segment), bytes, |hook| {
            if hook.bits >= HOOK_BITS + level {
                found.extend(compact(hook, least));
            }
        })?;
        Ok(Hooks {
            keys: found.iter().map(|hook| hook.0).collect(),
            packs: found.iter().map(|hook| hook.1).collect(),
            chunks: found.iter().map(|hook| hook.2).collect(),
        })
    }

    /// All pages of a segment, verified; those that are damaged are empty.
    fn read_segment(
        &self,
        segment: u32,
        offset: u64,
        len: usize,
        counters: &Counters,
    ) -> Result<Box<[u8]>, TableError> {
        let mut bytes = self.file.read(offset, len)?;
        self.file.contain(segment, 0, &mut bytes, counters)?;
        Ok(bytes.into_boxed_slice())
    }

    /// Reads the one page in which the key must be; seldom a second.
    fn read_pages(&self, segment: u32, key: Key, tools: Tools<'_>) -> Result<Option<Known>, TableError> {
        let (Some(Part::Filter(filter, _)), Some(entry)) = (
            self.slots.get(segment as usize).and_then(OnceLock::get).map(|loaded| &loaded.part),
            self.file.entry(segment),
        ) else {
            return Ok(None);
        };
        let (first, last) = filter.pages(key);
        for page in (first..=last).rev() {
            let (begins_behind, found) = self.read_page(segment, entry.offset, page, key, tools)?;
            if !begins_behind {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Whether the page begins behind the key, and what it says of it.
    fn read_page(
        &self,
        segment: u32,
        offset: u64,
        page: u32,
        key: Key,
        tools: Tools<'_>,
    ) -> Result<(bool, Option<Known>), TableError> {
        let id = self.file.page(segment, page);
        let look = |page: Page<'_>| (page.first_key().is_none_or(|first| key < first), page.find(key));
        if let Some(Some(answer)) = tools.cache.get(id, |bytes| Page::verified(bytes).map(look)) {
            return Ok(answer);
        }
        tools.counters.pages_read.add();
        let mut bytes = self.file.read(offset + u64::from(page) * PAGE_BYTES as u64, PAGE_BYTES)?;
        self.file.contain(segment, page, &mut bytes, tools.counters)?;
        // A page that was emptied begins behind every key.
        let answer = Page::verified(&bytes).map_or((true, None), look);
        tools.cache.put(id, bytes);
        Ok(answer)
    }
}

/// A hook as it is in memory; one whose pack is too far from the smallest is left out, dead ones never are.
fn compact(hook: Hook, least_pack: u64) -> Option<(u64, u32, u16)> {
    let place = hook.known.place();
    let distance = place.pack.checked_sub(least_pack).and_then(|distance| u32::try_from(distance).ok());
    let pack = if hook.known.is_dead() { DEAD } else { distance.filter(|distance| *distance < DEAD)? };
    Some((hook.high, pack, place.chunk))
}

impl Hooks {
    fn find(&self, key: Key, least_pack: u64) -> Option<Known> {
        let index = self.keys.binary_search(&key.high()).ok()?;
        let (pack, chunk) = (*self.packs.get(index)?, *self.chunks.get(index)?);
        let place = Place { pack: least_pack.wrapping_add(u64::from(pack)), chunk };
        Some(Known::new(place, pack == DEAD))
    }
}

fn find_in_pages(filter: &Filter, pages: &[u8], key: Key) -> Option<Known> {
    let (first, last) = filter.pages(key);
    for number in (first..=last).rev() {
        let at = number as usize * PAGE_BYTES;
        let page = Page::verified(pages.get(at..at + PAGE_BYTES)?)?;
        if page.first_key().is_some_and(|first| first <= key) {
            return page.find(key);
        }
    }
    None
}
