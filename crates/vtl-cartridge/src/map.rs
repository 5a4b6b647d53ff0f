//! The block map: which blocks and filemarks a tape has, in which order, and where their bytes begin.
//!
//! It is a sequence of [`Run`]s (equal objects one after the other), kept in memory as the very bytes that stand in
//! a snapshot (`docs/formats/cartridge.md`), so that an adversarial mix of block sizes costs at most 5 bytes a
//! run and a snapshot is a copy. After every [`RUNS_PER_PAGE`] runs an index entry tells the position there: any
//! movement is one binary search over the entries and a scan of at most that many runs.
//!
//! Invariants: neighbouring runs differ in length; no run is empty; the last run (`tail`) stands outside the
//! bytes because it still grows; `end` is the sum of all runs.
//!
//! Cost: 2 to 5 bytes a run (one more for each seven bits of a count above 127) and 40/64 of a byte of index. Blocks of
//! 256 and 128 KiB in turn cost 0.1 byte per 4 KiB of tape. The worst that a host can do is blocks of one and two bytes
//! in turn: 2.6 bytes for 1.5 bytes of tape. [`BlockMap::memory_bytes`] lets the owner limit that.

use crate::leb;

/// Longest block: the 24-bit transfer length of WRITE(6).
pub const MAX_BLOCK_BYTES: u32 = 0x00ff_ffff;

/// Most objects on a tape, so that a number of objects is also a count that a movement can have.
const MAX_OBJECTS: u64 = i64::MAX as u64;
/// Runs between two index entries. A movement decodes at most this many: about a microsecond.
const RUNS_PER_PAGE: usize = 64;
/// A cursor's `next` when the tail has been passed or entered.
const BEHIND_TAIL: usize = usize::MAX;

/// A position on the tape: everything before it, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Blocks and filemarks.
    pub object: u64,
    /// Filemarks.
    pub file: u64,
    /// Bytes of blocks.
    pub byte: u64,
}

/// Equal objects one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Bytes of each block; 0: they are filemarks.
    pub length: u32,
    /// How many.
    pub count: u64,
}

/// What stands at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A block whose bytes begin at `offset` of the stream.
    Block {
        /// First byte in the stream.
        offset: u64,
        /// Bytes.
        length: u32,
    },
    /// A filemark.
    Filemark,
}

/// How far a movement got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spaced {
    /// Units passed over, without sign.
    pub moved: u64,
    /// What ended it before the count was reached.
    pub stop: Option<Stop>,
}

/// What ends a movement early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A filemark while spacing over blocks; it has been passed in the direction of movement.
    Filemark,
    /// End of data.
    EndOfData,
    /// Beginning of tape.
    Beginning,
}

/// A position with what makes the next object cheap to find. Valid until the map changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    at: Point,
    /// Length of the objects in the run that it stands in.
    length: u32,
    /// Objects of that run that lie ahead.
    left: u64,
    /// Where the run after it is encoded.
    next: usize,
}

impl Cursor {
    /// The position.
    pub const fn at(&self) -> Point {
        self.at
    }
}

/// The map of one tape.
#[derive(Clone, Debug, Default)]
pub struct BlockMap {
    /// All runs but the last, encoded.
    runs: Vec<u8>,
    pages: Vec<Page>,
    runs_in_last_page: usize,
    tail: Run,
    tail_start: Point,
    end: Point,
}

#[derive(Clone, Copy, Debug)]
struct Page {
    start: Point,
    offset: usize,
    /// The longest run of filemarks in it.
    longest_marks: u64,
}

/// A run in its place.
#[derive(Clone, Copy, Debug)]
struct Found {
    run: Run,
    start: Point,
    offset: usize,
    next: usize,
}

/// Why foreign bytes are no runs, or runs cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// A number at this offset is cut short, too long or out of range.
    Malformed(usize),
    /// Two neighbours at this offset have one length.
    NotMerged(usize),
    /// More objects or bytes than 64 bits count.
    TooMany,
    /// To keep more objects than there are.
    BeyondEnd,
}

impl BlockMap {
    /// Reads runs; the map is empty before.
    pub fn decode(runs: &[u8]) -> Result<Self, MapError> {
        let mut map = Self::default();
        map.append_encoded(runs)?;
        Ok(map)
    }

    /// All runs, as they stand in a snapshot.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_from(0)
    }

    /// All runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.scan(0, Point::default()).map(|found| found.run)
    }

    /// The runs behind the first `keep` objects, as they stand in a delta.
    pub fn encode_from(&self, keep: u64) -> Vec<u8> {
        let Some(found) = self.find(|end| end.object > keep) else { return Vec::new() };
        let rest = self.runs.get(found.next..).unwrap_or_default();
        let mut out = Vec::with_capacity(rest.len() + 32);
        let passed = keep - found.start.object;
        encode_run(&mut out, Run { count: found.run.count - passed, ..found.run });
        out.extend_from_slice(rest);
        if found.next != BEHIND_TAIL {
            encode_run(&mut out, self.tail);
        }
        out
    }

    /// Applies a delta's content: the first `keep` objects stay and `runs` follow. On an error the map is unusable.
    pub fn splice(&mut self, keep: u64, runs: &[u8]) -> Result<(), MapError> {
        if keep > self.end.object {
            return Err(MapError::BeyondEnd);
        }
        self.truncate(keep);
        self.append_encoded(runs)
    }

    fn append_encoded(&mut self, runs: &[u8]) -> Result<(), MapError> {
        let mut at = 0;
        let mut before = None;
        while at < runs.len() {
            let (run, next) = decode_run(runs, at).ok_or(MapError::Malformed(at))?;
            if before == Some(run.length) {
                return Err(MapError::NotMerged(at));
            }
            self.append(run).ok_or(MapError::TooMany)?;
            before = Some(run.length);
            at = next;
        }
        Ok(())
    }

    /// End of data.
    pub const fn end(&self) -> Point {
        self.end
    }

    /// Bytes of memory that are in use; with room to grow, at most twice as much is taken.
    pub fn memory_bytes(&self) -> u64 {
        (self.runs.len() + self.pages.len() * size_of::<Page>()) as u64
    }

    /// Bytes that [`BlockMap::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        let tail = if self.tail.count == 0 { 0 } else { run_len(self.tail) };
        self.runs.len() + tail
    }

    /// Adds equal objects at the end. None, and nothing changed, when 64 bits cannot count them.
    pub fn append(&mut self, run: Run) -> Option<()> {
        let end = self.end.past(run)?;
        if run.count == 0 {
            return Some(());
        }
        if self.tail.count != 0 && self.tail.length == run.length {
            self.tail.count += run.count;
        } else {
            self.close_tail();
            self.tail = run;
            self.tail_start = self.end;
        }
        self.end = end;
        Some(())
    }

    fn close_tail(&mut self) {
        if self.tail.count == 0 {
            return;
        }
        if self.pages.is_empty() || self.runs_in_last_page == RUNS_PER_PAGE {
            self.pages.push(Page { start: self.tail_start, offset: self.runs.len(), longest_marks: 0 });
            self.runs_in_last_page = 0;
        }
        encode_run(&mut self.runs, self.tail);
        self.runs_in_last_page += 1;
        if let (0, Some(page)) = (self.tail.length, self.pages.last_mut()) {
            page.longest_marks = page.longest_marks.max(self.tail.count);
        }
    }

    /// Makes `keep` objects the whole tape. More than there are changes nothing.
    pub fn truncate(&mut self, keep: u64) {
        if keep >= self.end.object {
            return;
        }
        let Some(found) = keep.checked_sub(1).and_then(|last| self.find(|end| end.object > last)) else {
            *self = Self::default();
            return;
        };
        let tail = Run { count: keep - found.start.object, ..found.run };
        self.end = found.start.past(tail).unwrap_or(found.start);
        self.tail = tail;
        self.tail_start = found.start;
        self.runs.truncate(found.offset);
        self.pages.truncate(self.pages.partition_point(|page| page.offset < found.offset));
        self.recount_last_page();
        if self.runs.capacity() / 4 > self.runs.len() + 4096 {
            self.runs.shrink_to(self.runs.len() * 2);
            self.pages.shrink_to(self.pages.len() * 2);
        }
    }

    fn recount_last_page(&mut self) {
        let Some(page) = self.pages.last().copied() else {
            self.runs_in_last_page = 0;
            return;
        };
        let closed = || self.scan(page.offset, page.start).take_while(|found| found.next != BEHIND_TAIL);
        let count = closed().count();
        let longest = closed().filter(|found| found.run.length == 0).map(|found| found.run.count).max();
        self.runs_in_last_page = count;
        if let Some(page) = self.pages.last_mut() {
            page.longest_marks = longest.unwrap_or(0);
        }
    }

    /// The object at the cursor, which moves behind it; None at end of data.
    pub fn step(&self, cursor: &mut Cursor) -> Option<Entry> {
        if cursor.left == 0 {
            let found = self.run_at(cursor.next, cursor.at)?;
            *cursor = Cursor::at_start(&found);
        }
        let at = cursor.at;
        cursor.at = at.past(Run { length: cursor.length, count: 1 })?;
        cursor.left -= 1;
        Some(match cursor.length {
            0 => Entry::Filemark,
            length => Entry::Block { offset: at.byte, length },
        })
    }

    /// Beginning of tape.
    pub fn start_cursor(&self) -> Cursor {
        Cursor::default()
    }

    /// End of data.
    pub const fn end_cursor(&self) -> Cursor {
        Cursor { at: self.end, length: 0, left: 0, next: BEHIND_TAIL }
    }

    /// Before object `object`; end of data when there are not as many.
    pub fn locate_object(&self, object: u64) -> Cursor {
        self.find(|end| end.object > object).map_or(self.end_cursor(), |found| {
            let passed = object - found.start.object;
            Cursor::in_run(&found, passed).unwrap_or(self.end_cursor())
        })
    }

    /// Behind filemark number `file` (counted from 1; 0 is the beginning). None when there are not as many.
    pub fn locate_file(&self, file: u64) -> Option<Cursor> {
        if file == 0 {
            return Some(self.start_cursor());
        }
        let found = self.find(|end| end.file >= file)?;
        Cursor::in_run(&found, file - found.start.file)
    }

    /// Moves over `count` blocks; stops behind a filemark in the direction of movement.
    pub fn space_blocks(&self, cursor: &mut Cursor, count: i64) -> Spaced {
        let at = cursor.at;
        let wanted = count.unsigned_abs();
        if count >= 0 {
            let mark = self.locate_file(at.file + 1);
            let blocks = mark.map_or(self.end.object, |mark| mark.at.object - 1) - at.object;
            if wanted <= blocks {
                return self.moved_to(cursor, at.object + wanted, wanted, None);
            }
            let (target, stop) = match mark {
                Some(_) => (at.object + blocks + 1, Stop::Filemark),
                None => (self.end.object, Stop::EndOfData),
            };
            return self.moved_to(cursor, target, blocks, Some(stop));
        }
        let file_start = self.locate_file(at.file).map_or(0, |start| start.at.object);
        let blocks = at.object - file_start;
        if wanted <= blocks {
            return self.moved_to(cursor, at.object - wanted, wanted, None);
        }
        let stop = if at.file == 0 { Stop::Beginning } else { Stop::Filemark };
        self.moved_to(cursor, file_start.saturating_sub(1), blocks, Some(stop))
    }

    /// Moves over `count` filemarks: behind the last of them forwards, before it backwards.
    pub fn space_filemarks(&self, cursor: &mut Cursor, count: i64) -> Spaced {
        let at = cursor.at;
        let wanted = count.unsigned_abs();
        if wanted == 0 {
            return Spaced { moved: 0, stop: None };
        }
        if count > 0 {
            let marks = self.end.file - at.file;
            if wanted > marks {
                return self.moved_to(cursor, self.end.object, marks, Some(Stop::EndOfData));
            }
            *cursor = self.locate_file(at.file + wanted).unwrap_or(self.end_cursor());
            return Spaced { moved: wanted, stop: None };
        }
        if wanted > at.file {
            return self.moved_to(cursor, 0, at.file, Some(Stop::Beginning));
        }
        let behind = self.locate_file(at.file - wanted + 1).map_or(0, |cursor| cursor.at.object);
        self.moved_to(cursor, behind.saturating_sub(1), wanted, None)
    }

    /// Moves over the first `count` filemarks that follow each other without a block between. Not found: end of
    /// data or beginning. Looks at each index entry once, and only into pages that can hold them.
    pub fn space_sequential_filemarks(&self, cursor: &mut Cursor, count: i64) -> Spaced {
        let wanted = count.unsigned_abs();
        if wanted == 0 {
            return Spaced { moved: 0, stop: None };
        }
        let (target, missed, stop) = if count > 0 {
            (self.marks_ahead(cursor, wanted), self.end.object, Stop::EndOfData)
        } else {
            (self.marks_behind(cursor, wanted), 0, Stop::Beginning)
        };
        match target {
            Some(object) => self.moved_to(cursor, object, wanted, None),
            None => self.moved_to(cursor, missed, 0, Some(stop)),
        }
    }

    fn moved_to(&self, cursor: &mut Cursor, object: u64, moved: u64, stop: Option<Stop>) -> Spaced {
        *cursor = self.locate_object(object);
        Spaced { moved, stop }
    }

    /// The position behind the `wanted`-th of that many marks in a row.
    fn marks_ahead(&self, from: &Cursor, wanted: u64) -> Option<u64> {
        if from.length == 0 && from.left >= wanted {
            return Some(from.at.object + wanted);
        }
        let enough = |found: &Found| found.run.length == 0 && found.run.count >= wanted;
        let start = from.at.past(Run { length: from.length, count: from.left })?;
        let later = self.pages.partition_point(|page| page.offset <= from.next);
        let here_end = self.pages.get(later).map_or(BEHIND_TAIL, |page| page.offset);
        let here = self.scan(from.next, start).take_while(|found| found.offset < here_end).find(enough);
        let in_later = || {
            let pages = self.pages.get(later..).unwrap_or_default().iter();
            pages
                .filter(|page| page.longest_marks >= wanted)
                .find_map(|page| self.scan(page.offset, page.start).take(RUNS_PER_PAGE).find(enough))
        };
        let in_tail = || (from.next != BEHIND_TAIL).then(|| self.tail_found()).flatten().filter(enough);
        let found = here.or_else(in_later).or_else(in_tail)?;
        Some(found.start.object + wanted)
    }

    /// The position before the `wanted`-th of that many marks in a row, counted towards the beginning.
    fn marks_behind(&self, from: &Cursor, wanted: u64) -> Option<u64> {
        let last = from.at.object.checked_sub(1)?;
        let here = self.find(|end| end.object > last)?;
        let passed = from.at.object - here.start.object;
        if here.run.length == 0 && passed >= wanted {
            return Some(from.at.object - wanted);
        }
        let pages = self.pages.get(..self.pages.partition_point(|page| page.offset < here.offset))?;
        let found = pages.iter().rev().filter(|page| page.longest_marks >= wanted).find_map(|page| {
            let runs = self.scan(page.offset, page.start).take(RUNS_PER_PAGE);
            let before = runs.take_while(|found| found.offset < here.offset);
            before.filter(|found| found.run.length == 0 && found.run.count >= wanted).last()
        })?;
        Some(found.start.object + found.run.count - wanted)
    }

    /// The first run whose end satisfies `reached`, which must stay true once it is.
    fn find(&self, reached: impl Fn(Point) -> bool) -> Option<Found> {
        if !reached(self.end) {
            return None;
        }
        if !reached(self.tail_start) {
            return self.tail_found();
        }
        let page = self.pages.partition_point(|page| !reached(page.start)).checked_sub(1)?;
        let page = self.pages.get(page)?;
        self.scan(page.offset, page.start).find(|found| found.start.past(found.run).is_some_and(&reached))
    }

    fn scan(&self, offset: usize, start: Point) -> impl Iterator<Item = Found> {
        std::iter::successors(self.run_at(offset, start), |found| {
            self.run_at(found.next, found.start.past(found.run)?)
        })
    }

    fn run_at(&self, offset: usize, start: Point) -> Option<Found> {
        if offset >= self.runs.len() {
            return (offset != BEHIND_TAIL).then(|| self.tail_found()).flatten();
        }
        decode_run(&self.runs, offset).map(|(run, next)| Found { run, start, offset, next })
    }

    fn tail_found(&self) -> Option<Found> {
        let found =
            Found { run: self.tail, start: self.tail_start, offset: self.runs.len(), next: BEHIND_TAIL };
        (self.tail.count != 0).then_some(found)
    }
}

impl Point {
    /// The position behind `run`, if 64 bits can count it.
    pub fn past(self, run: Run) -> Option<Self> {
        let marks = if run.length == 0 { run.count } else { 0 };
        Some(Self {
            object: self.object.checked_add(run.count).filter(|&object| object <= MAX_OBJECTS)?,
            file: self.file.checked_add(marks)?,
            byte: self.byte.checked_add(run.count.checked_mul(u64::from(run.length))?)?,
        })
    }
}

impl Cursor {
    fn at_start(found: &Found) -> Self {
        Self { at: found.start, length: found.run.length, left: found.run.count, next: found.next }
    }

    fn in_run(found: &Found, passed: u64) -> Option<Self> {
        let length = found.run.length;
        let at = found.start.past(Run { length, count: passed })?;
        Some(Self { at, length, left: found.run.count.checked_sub(passed)?, next: found.next })
    }
}

fn encode_run(out: &mut Vec<u8>, run: Run) {
    leb::push(out, u64::from(run.length));
    leb::push(out, run.count);
}

const fn run_len(run: Run) -> usize {
    leb::len(run.length as u64) + leb::len(run.count)
}

fn decode_run(bytes: &[u8], at: usize) -> Option<(Run, usize)> {
    let (length, at) = leb::read(bytes, at)?;
    let (count, at) = leb::read(bytes, at)?;
    let length = u32::try_from(length).ok().filter(|&length| length <= MAX_BLOCK_BYTES)?;
    (count != 0).then_some((Run { length, count }, at))
}

#[cfg(test)]
mod tests;
