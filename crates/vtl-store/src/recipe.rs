//! An owner's committed state, the changes that a commit makes to it, and both as bytes.
//!
//! Byte tables: `docs/formats/head.md` and `docs/formats/journal.md`.
//!
//! A stream is a row of *extents*: runs of consecutive chunks in one pack. Which chunk holds a byte is in the pack's
//! table: in the footer of a sealed pack, here for one without. So memory and heads grow with packs, not chunks.

use std::collections::BTreeMap;

use vtl_durable::sealed::Kind;
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::pack::{ChunkEntry, ENTRY_BYTES, PackId};
use crate::types::{Head, OwnerId};

pub(crate) const HEAD_KIND: Kind = Kind { magic: *b"VTLHEAD\0", version: 0 };
const PACK_RECORD: usize = 40;
const EXTENT_RECORD: usize = 40;
const TABLE_RECORD: usize = 24;
const SEALED: u32 = 1;
const CUT: u32 = 1;

/// A run of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) pack: PackId,
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// A truncation ended in it: its last chunks are partly or wholly beyond its end.
    pub(crate) cut: bool,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Joins the next extent when it goes on in the same pack without a gap.
    fn join(&mut self, next: &Extent) -> bool {
        let follows = !self.cut
            && self.pack == next.pack
            && self.end() == next.start
            && self.first.checked_add(self.count) == Some(next.first);
        if follows {
            self.len += next.len;
            self.count += next.count;
            self.cut = next.cut;
        }
        follows
    }

    /// The chunk of this extent that holds `offset`, from the pack's table.
    pub(crate) fn find<'a>(&self, table: &'a [ChunkEntry], offset: u64) -> Option<&'a ChunkEntry> {
        let from = table.partition_point(|entry| entry.index < self.first);
        let to = table.partition_point(|entry| entry.index < self.first.saturating_add(self.count));
        let mine = table.get(from..to)?;
        let after = mine.partition_point(|entry| entry.stream_offset <= offset);
        let entry = mine.get(after.checked_sub(1)?)?;
        (offset < entry.stream_end()).then_some(entry)
    }
}

/// Appends an extent to a row, joining it to the last where it can be; whether it became a new one.
pub(crate) fn push_extent(row: &mut Vec<Extent>, next: Extent) -> bool {
    let joined = row.last_mut().is_some_and(|last| last.join(&next));
    if !joined {
        row.push(next);
    }
    !joined
}

/// Cuts a row to the stream length `to`, telling each extent that is dropped whole.
pub(crate) fn truncate_extents(row: &mut Vec<Extent>, to: u64, mut dropped: impl FnMut(&Extent)) {
    while let Some(last) = row.last_mut() {
        if last.start < to {
            if last.end() > to {
                last.len = to - last.start;
                last.cut = true;
            }
            break;
        }
        dropped(last);
        row.pop();
    }
}

/// The extent of a sorted row that holds `offset`.
pub(crate) fn extent_at(row: &[Extent], offset: u64) -> Option<&Extent> {
    let after = row.partition_point(|extent| extent.start <= offset);
    let extent = row.get(after.checked_sub(1)?)?;
    (offset < extent.end()).then_some(extent)
}

/// What is known of a pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackInfo {
    pub(crate) sealed: bool,
    pub(crate) bytes: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) chunks: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    info: PackInfo,
    extents: u32,
}

/// What the owner said with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Delta(Vec<u8>),
    Snapshot(Vec<u8>),
}

/// What one commit does to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) truncate_to: u64,
    pub(crate) packs: Vec<(PackId, PackInfo)>,
    pub(crate) extents: Vec<Extent>,
    pub(crate) tables: Vec<(PackId, Vec<ChunkEntry>)>,
    pub(crate) note: Note,
}

/// An owner as committed.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    /// The journal up to and with this record is in here.
    pub(crate) sequence: u64,
    /// The journal up to and with this record is in the head file.
    pub(crate) saved_sequence: u64,
    packs: BTreeMap<PackId, Known>,
    extents: Vec<Extent>,
    tables: BTreeMap<PackId, Vec<ChunkEntry>>,
    totals: Totals,
}

/// Sums over an owner's packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) length: u64,
    pub(crate) packs: u64,
    pub(crate) chunks: u64,
    pub(crate) pack_bytes: u64,
    pub(crate) raw_bytes: u64,
}

impl State {
    pub(crate) fn new(snapshot: &[u8], sequence: u64) -> Self {
        Self {
            head: Head { snapshot: snapshot.to_vec(), deltas: Vec::new(), length: 0 },
            sequence,
            saved_sequence: sequence,
            packs: BTreeMap::new(),
            extents: Vec::new(),
            tables: BTreeMap::new(),
            totals: Totals::default(),
        }
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.saved_sequence >= self.sequence
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals { length: self.head.length, packs: self.packs.len() as u64, ..self.totals }
    }

    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    pub(crate) fn has_pack(&self, id: PackId) -> bool {
        self.packs.contains_key(&id)
    }

    pub(crate) fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        self.packs.keys().copied()
    }

    /// The table of a pack that has no footer.
    pub(crate) fn table(&self, id: PackId) -> Option<&[ChunkEntry]> {
        self.tables.get(&id).map(Vec::as_slice)
    }

    /// Rough size in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let entries: usize = self.tables.values().map(Vec::len).sum();
        let notes: usize = self.head.snapshot.len() + self.head.deltas.iter().map(Vec::len).sum::<usize>();
        (self.extents.len() * size_of::<Extent>() + self.packs.len() * 64 + entries * 64 + notes) as u64
    }

    /// Applies a commit; the packs that nothing refers to any more. A change that does not fit this state is
    /// refused before anything is changed.
    pub(crate) fn apply(&mut self, sequence: u64, change: Change) -> Result<Vec<PackId>, &'static str> {
        self.check_fits(&change)?;
        let packs = &mut self.packs;
        truncate_extents(&mut self.extents, change.truncate_to, |extent| {
            if let Some(known) = packs.get_mut(&extent.pack) {
                known.extents -= 1;
            }
        });
        for (id, info) in change.packs {
            self.note_pack(id, info);
        }
        for (id, entries) in change.tables {
            let table = self.tables.entry(id).or_default();
            let next = table.last().map_or(0, |last| last.index + 1);
            table.extend(entries.into_iter().filter(|entry| entry.index >= next));
        }
        for extent in change.extents {
            let pack = extent.pack;
            if push_extent(&mut self.extents, extent)
                && let Some(known) = self.packs.get_mut(&pack)
            {
                known.extents += 1;
            }
        }
        self.head.length = self.extents.last().map_or(0, Extent::end);
        match change.note {
            Note::Delta(delta) => self.head.deltas.push(delta),
            Note::Snapshot(snapshot) => {
                self.head.snapshot = snapshot;
                self.head.deltas.clear();
            }
        }
        self.sequence = sequence;
        Ok(self.drop_dead_packs())
    }

    pub(crate) fn check_fits(&self, change: &Change) -> Result<(), &'static str> {
        if change.truncate_to > self.head.length {
            return Err("a commit cuts the stream beyond its end");
        }
        check_row(&change.extents, change.truncate_to)?;
        let known = |id| self.packs.contains_key(id) || change.packs.iter().any(|(new, _)| new == id);
        if !change.extents.iter().all(|extent| known(&extent.pack)) {
            return Err("a commit refers to a pack that is not known");
        }
        Ok(())
    }

    /// The pack got its footer when the stream was closed. Not in the journal: the next head says it, and until then
    /// the table is kept in the old one.
    pub(crate) fn seal_pack(&mut self, id: PackId, info: PackInfo) {
        if self.packs.contains_key(&id) {
            self.note_pack(id, info);
        }
    }

    fn note_pack(&mut self, id: PackId, info: PackInfo) {
        let known = self.packs.entry(id).or_default();
        self.totals.remove(&known.info);
        known.info = info;
        self.totals.add(&info);
        if info.sealed {
            self.tables.remove(&id);
        }
    }

    fn drop_dead_packs(&mut self) -> Vec<PackId> {
        let dead: Vec<_> =
            self.packs.iter().filter(|(_, known)| known.extents == 0).map(|(id, _)| *id).collect();
        for id in &dead {
            if let Some(known) = self.packs.remove(id) {
                self.totals.remove(&known.info);
            }
            self.tables.remove(id);
        }
        dead
    }

    pub(crate) fn encode(&self, store_id: [u8; 16], owner: OwnerId) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&store_id).raw(&owner.0).u64(self.sequence).u64(self.head.length);
        writer.blob(&self.head.snapshot).u64(self.head.deltas.len() as u64);
        for delta in &self.head.deltas {
            writer.blob(delta);
        }
        put_packs(&mut writer, self.packs.len(), self.packs.iter().map(|(id, known)| (*id, known.info)));
        put_extents(&mut writer, &self.extents);
        put_tables(
            &mut writer,
            self.tables.len(),
            self.tables.iter().map(|(id, table)| (*id, table.as_slice())),
        );
        writer.into_bytes()
    }

    /// A head file's payload. What decodes is consistent in itself.
    pub(crate) fn decode(bytes: &[u8], store_id: [u8; 16], owner: OwnerId) -> Result<Self, String> {
        let malformed = |error: Malformed| error.to_string();
        let mut reader = Reader::new(bytes);
        if reader.array::<16>("store id").map_err(malformed)? != store_id {
            return Err("it belongs to another pool (put the right files back)".to_string());
        }
        if reader.array::<16>("owner").map_err(malformed)? != owner.0 {
            return Err("it belongs to another owner (put the right file back)".to_string());
        }
        let state = Self::take(&mut reader).map_err(malformed)?;
        reader.end("head").map_err(malformed)?;
        check_row(&state.extents, 0)?;
        if state.extents.last().map_or(0, Extent::end) != state.head.length {
            return Err("its extents do not add up to its length".to_string());
        }
        state.count_extents()
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sequence = reader.u64("sequence")?;
        let length = reader.u64("length")?;
        let snapshot = reader.blob("snapshot")?.to_vec();
        let count = reader.count(8, "number of deltas")?;
        let deltas =
            (0..count).map(|_| reader.blob("delta").map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
        let mut state = Self::new(&[], sequence);
        state.head = Head { snapshot, deltas, length };
        for (id, info) in take_packs(reader)? {
            state.note_pack(id, info);
        }
        state.extents = take_extents(reader)?;
        state.tables = take_tables(reader)?.into_iter().collect();
        Ok(state)
    }

    fn count_extents(mut self) -> Result<Self, String> {
        for extent in &self.extents {
            let known = self.packs.get_mut(&extent.pack);
            known.ok_or("an extent refers to a pack that is not listed")?.extents += 1;
        }
        Ok(self)
    }
}

impl Totals {
    fn add(&mut self, info: &PackInfo) {
        self.chunks = self.chunks.saturating_add(u64::from(info.chunks));
        self.pack_bytes = self.pack_bytes.saturating_add(info.bytes);
        self.raw_bytes = self.raw_bytes.saturating_add(info.raw_bytes);
    }

    fn remove(&mut self, info: &PackInfo) {
        self.chunks = self.chunks.saturating_sub(u64::from(info.chunks));
        self.pack_bytes = self.pack_bytes.saturating_sub(info.bytes);
        self.raw_bytes = self.raw_bytes.saturating_sub(info.raw_bytes);
    }
}

/// Extents follow each other without a gap from `start`, none is empty, no sum overflows.
fn check_row(row: &[Extent], start: u64) -> Result<(), &'static str> {
    let mut due = start;
    for extent in row {
        if extent.start != due || extent.len == 0 || extent.count == 0 {
            return Err("its extents do not follow each other");
        }
        due = due.checked_add(extent.len).ok_or("its extents are longer than any stream")?;
    }
    Ok(())
}

/// One owner's part of a group commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Commit(OwnerId, Change),
    Remove(OwnerId),
}

const KIND_DELTA: u8 = 0;
const KIND_SNAPSHOT: u8 = 1;
const KIND_REMOVE: u8 = 2;

impl Entry {
    pub(crate) fn owner(&self) -> OwnerId {
        match self {
            Self::Commit(owner, _) | Self::Remove(owner) => *owner,
        }
    }

    /// Bytes it takes in the journal, nearly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Remove(_) => 17,
            Self::Commit(_, change) => {
                let entries: usize = change.tables.iter().map(|(_, table)| table.len()).sum();
                let (Note::Delta(note) | Note::Snapshot(note)) = &change.note;
                128 + note.len()
                    + (entries + change.packs.len() + change.extents.len()) * ENTRY_BYTES as usize
            }
        }
    }

    fn put(&self, writer: &mut Writer) {
        writer.raw(&self.owner().0);
        let Self::Commit(_, change) = self else {
            writer.u8(KIND_REMOVE);
            return;
        };
        let (kind, note) = match &change.note {
            Note::Delta(note) => (KIND_DELTA, note),
            Note::Snapshot(note) => (KIND_SNAPSHOT, note),
        };
        writer.u8(kind).u64(change.truncate_to);
        put_packs(writer, change.packs.len(), change.packs.iter().copied());
        put_extents(writer, &change.extents);
        let tables = change.tables.iter().map(|(id, table)| (*id, table.as_slice()));
        put_tables(writer, change.tables.len(), tables);
        writer.blob(note);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let owner = OwnerId(reader.array("owner")?);
        let kind = reader.u8("kind")?;
        if kind == KIND_REMOVE {
            return Ok(Self::Remove(owner));
        }
        let truncate_to = reader.u64("truncate to")?;
        let (packs, extents) = (take_packs(reader)?, take_extents(reader)?);
        let tables = take_tables(reader)?;
        let note = reader.blob("note")?.to_vec();
        let note = match kind {
            KIND_DELTA => Note::Delta(note),
            KIND_SNAPSHOT => Note::Snapshot(note),
            _ => return Err(reader.malformed("kind")),
        };
        Ok(Self::Commit(owner, Change { truncate_to, packs, extents, tables, note }))
    }
}

/// A journal record's payload.
pub(crate) fn encode_record<'a>(entries: impl ExactSizeIterator<Item = &'a Entry>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u32(entries.len() as u32);
    entries.for_each(|entry| entry.put(&mut writer));
    writer.into_bytes()
}

pub(crate) fn decode_record(bytes: &[u8]) -> Result<Vec<Entry>, Malformed> {
    let mut reader = Reader::new(bytes);
    let count = reader.u32("number of entries")?;
    let entries = (0..count).map(|_| Entry::take(&mut reader)).collect::<Result<Vec<_>, _>>()?;
    reader.end("record")?;
    Ok(entries)
}

fn put_packs(writer: &mut Writer, count: usize, packs: impl Iterator<Item = (PackId, PackInfo)>) {
    writer.u64(count as u64);
    for (id, info) in packs {
        id.put(writer);
        let flags = if info.sealed { SEALED } else { 0 };
        writer.u32(flags).u64(info.bytes).u64(info.raw_bytes).u32(info.chunks).u32(0);
    }
}

fn take_packs(reader: &mut Reader<'_>) -> Result<Vec<(PackId, PackInfo)>, Malformed> {
    let count = reader.count(PACK_RECORD, "number of packs")?;
    let mut packs = Vec::with_capacity(count);
    for _ in 0..count {
        let id = PackId::take(reader)?;
        let sealed = reader.u32("pack flags")? & SEALED != 0;
        let (bytes, raw_bytes) = (reader.u64("pack bytes")?, reader.u64("pack raw bytes")?);
        let chunks = reader.u32("pack chunks")?;
        reader.u32("reserved")?;
        packs.push((id, PackInfo { sealed, bytes, raw_bytes, chunks }));
    }
    Ok(packs)
}

fn put_extents(writer: &mut Writer, extents: &[Extent]) {
    writer.u64(extents.len() as u64);
    for extent in extents {
        writer.u64(extent.start).u64(extent.len);
        extent.pack.put(writer);
        writer.u32(extent.first).u32(extent.count).u32(if extent.cut { CUT } else { 0 });
    }
}

fn take_extents(reader: &mut Reader<'_>) -> Result<Vec<Extent>, Malformed> {
    let count = reader.count(EXTENT_RECORD, "number of extents")?;
    let mut extents = Vec::with_capacity(count);
    for _ in 0..count {
        let (start, len) = (reader.u64("extent start")?, reader.u64("extent length")?);
        let pack = PackId::take(reader)?;
        let (first, count) = (reader.u32("first chunk")?, reader.u32("number of chunks")?);
        let cut = reader.u32("extent flags")? & CUT != 0;
        extents.push(Extent { start, len, pack, first, count, cut });
    }
    Ok(extents)
}

fn put_tables<'a>(
    writer: &mut Writer,
    count: usize,
    tables: impl Iterator<Item = (PackId, &'a [ChunkEntry])>,
) {
    writer.u64(count as u64);
    for (id, table) in tables {
        id.put(writer);
        writer.u32(0).u64(table.len() as u64);
        table.iter().for_each(|entry| entry.put(writer));
    }
}

fn take_tables(reader: &mut Reader<'_>) -> Result<Vec<(PackId, Vec<ChunkEntry>)>, Malformed> {
    let count = reader.count(TABLE_RECORD, "number of tables")?;
    let mut tables = Vec::with_capacity(count);
    for _ in 0..count {
        let id = PackId::take(reader)?;
        reader.u32("reserved")?;
        let entries = reader.count(ENTRY_BYTES as usize, "number of chunks")?;
        let table = (0..entries).map(|_| ChunkEntry::take(reader)).collect::<Result<Vec<_>, _>>()?;
        tables.push((id, table));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Algorithm;

    const PACK: PackId = PackId { epoch: 0x0102_0304_0506_0708, number: 9 };
    const OWNER: OwnerId = OwnerId([0xee; 16]);

    fn entry(index: u32, stream_offset: u64, raw_len: u32) -> ChunkEntry {
        let (algorithm, fingerprint) = (Algorithm::Raw, [0xab; 32]);
        ChunkEntry {
            index,
            algorithm,
            raw_len,
            stored_len: raw_len,
            offset: 4096,
            stream_offset,
            fingerprint,
        }
    }

    fn extent(start: u64, len: u64, first: u32, count: u32) -> Extent {
        Extent { start, len, pack: PACK, first, count, cut: false }
    }

    fn change() -> Change {
        Change {
            truncate_to: 0,
            packs: vec![(PACK, PackInfo { sealed: false, bytes: 0x2000, raw_bytes: 5, chunks: 1 })],
            extents: vec![extent(0, 5, 0, 1)],
            tables: vec![(PACK, vec![entry(0, 0, 5)])],
            note: Note::Delta(b"delta".to_vec()),
        }
    }

    /// A pack, an extent and a table of one entry, typed out from docs/formats/head.md.
    fn lists() -> Vec<u8> {
        let mut bytes = b"\x01\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\0\x20\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x01\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x01\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\0\x05\0\0\0\x05\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(&[0xab; 32]);
        bytes
    }

    #[test]
    fn a_journal_record_keeps_its_bytes() {
        let entries = [Entry::Commit(OWNER, change()), Entry::Remove(OwnerId([0x11; 16]))];
        let mut expected = b"\x02\0\0\0".to_vec();
        expected.extend_from_slice(&[0xee; 16]);
        expected.extend_from_slice(b"\0\0\0\0\0\0\0\0\0");
        expected.extend_from_slice(&lists());
        expected.extend_from_slice(b"\x05\0\0\0\0\0\0\0delta");
        expected.extend_from_slice(&[0x11; 16]);
        expected.push(2);
        assert_eq!(encode_record(entries.iter()), expected);
        assert_eq!(decode_record(&expected).unwrap(), entries);
    }

    #[test]
    fn a_head_keeps_its_bytes() {
        let mut state = State::new(b"snap", 6);
        state.apply(7, change()).unwrap();
        let mut expected = [0x55; 16].to_vec();
        expected.extend_from_slice(&[0xee; 16]);
        expected.extend_from_slice(b"\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x04\0\0\0\0\0\0\0snap\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0delta");
        expected.extend_from_slice(&lists());
        assert_eq!(state.encode([0x55; 16], OWNER), expected);
        let back = State::decode(&expected, [0x55; 16], OWNER).unwrap();
        assert_eq!(back.encode([0x55; 16], OWNER), expected);
        assert!(State::decode(&expected, [0x56; 16], OWNER).unwrap_err().contains("another pool"));
        assert!(
            State::decode(&expected, [0x55; 16], OwnerId([0; 16])).unwrap_err().contains("another owner")
        );
    }

    #[test]
    fn no_cut_head_or_record_is_taken_and_none_panics() {
        let record = encode_record([Entry::Commit(OWNER, change())].iter());
        assert!((0..record.len()).all(|len| decode_record(&record[..len]).is_err()));
        let mut state = State::new(b"snap", 6);
        state.apply(7, change()).unwrap();
        let head = state.encode([0x55; 16], OWNER);
        assert!((0..head.len()).all(|len| State::decode(&head[..len], [0x55; 16], OWNER).is_err()));
        for at in 0..head.len() {
            let mut bytes = head.clone();
            bytes[at] ^= 0xff;
            let _ = State::decode(&bytes, [0x55; 16], OWNER);
        }
    }

    #[test]
    fn a_change_that_does_not_fit_changes_nothing() {
        let mut state = State::new(b"", 1);
        let beyond = Change { truncate_to: 1, ..change() };
        let hole = Change { extents: vec![extent(3, 5, 0, 1)], ..change() };
        let unknown = Change { packs: vec![], ..change() };
        for bad in [beyond, hole, unknown] {
            assert!(state.apply(2, bad).is_err());
            assert_eq!((state.sequence, state.head.length, state.extents().len()), (1, 0, 0));
        }
    }

    #[test]
    fn runs_join_only_when_nothing_was_cut_between_them() {
        let mut row = vec![];
        assert!(push_extent(&mut row, extent(0, 10, 0, 1)));
        assert!(!push_extent(&mut row, extent(10, 10, 1, 1)));
        truncate_extents(&mut row, 15, |_| {});
        assert!(push_extent(&mut row, extent(15, 10, 2, 1)));
        assert_eq!(row.len(), 2);
        let table = [entry(0, 0, 10), entry(1, 10, 10), entry(2, 15, 10)];
        let holder =
            |at: u64| extent_at(&row, at).and_then(|run| run.find(&table, at)).map(|entry| entry.index);
        assert_eq!([0, 9, 10, 14, 15, 24].map(holder), [0, 0, 1, 1, 2, 2].map(Some));
        assert_eq!(holder(25), None);
    }
}
