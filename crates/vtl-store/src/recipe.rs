//! An owner's committed state, the changes that a commit makes to it, and both as bytes.
//!
//! Byte tables: `docs/formats/head.md` and `docs/formats/journal.md`.
//!
//! A stream is a row of *extents*: ranges of raw addresses in packs. No fingerprint stands here, and reading asks no index: what
//! an address of a pack holds never changes, and every region says which pack of which history it belongs to.

use vtl_durable::sealed::Kind;
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::pack::{MAX_RAW, PackId};
use crate::types::{Head, OwnerId};

pub(crate) const HEAD_KIND: Kind = Kind { magic: *b"VTLHEAD\0", version: 0 };
const EXTENT_RECORD: usize = 20;
const PACK_RECORD: usize = 24;
const SEALED: u32 = 1;
const GUARDED: u64 = 1;

/// A range of raw addresses in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Where it begins in the stream.
    pub(crate) start: u64,
    pub(crate) len: u32,
    /// Raw address in the pack.
    pub(crate) at: u32,
    pub(crate) pack: PackId,
}

impl Extent {
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.len))
    }

    /// Raw address behind its end.
    pub(crate) fn raw_end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.len)
    }

    /// Joins the next extent when it goes on in the same pack without a gap.
    fn join(&mut self, next: &Extent) -> bool {
        let follows =
            self.pack == next.pack && self.end() == next.start && self.raw_end() == u64::from(next.at);
        if follows {
            self.len += next.len;
        }
        follows
    }
}

/// Appends an extent to a row, joining it to the last where it can be.
pub(crate) fn push_extent(row: &mut Vec<Extent>, next: Extent) {
    if !row.last_mut().is_some_and(|last| last.join(&next)) {
        row.push(next);
    }
}

/// Cuts a row to the stream length `to`.
pub(crate) fn truncate_extents(row: &mut Vec<Extent>, to: u64) {
    let keep = row.partition_point(|extent| extent.start < to);
    row.truncate(keep);
    if let Some(last) = row.last_mut()
        && last.end() > to
    {
        last.len = (to - last.start) as u32;
    }
}

/// The extent of a sorted row that holds `offset`.
pub(crate) fn extent_at(row: &[Extent], offset: u64) -> Option<&Extent> {
    let after = row.partition_point(|extent| extent.start <= offset);
    let extent = row.get(after.checked_sub(1)?)?;
    (offset < extent.end()).then_some(extent)
}

/// What the owner said with a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    Delta(Vec<u8>),
    Snapshot(Vec<u8>),
}

/// How much of a pack is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackEnd {
    pub(crate) pack: PackId,
    pub(crate) end: u64,
    /// It has its footer, and ends there.
    pub(crate) sealed: bool,
}

/// What one commit does to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) truncate_to: u64,
    /// The guard is put on or taken off with it.
    pub(crate) guard: Option<bool>,
    /// Packs that grew.
    pub(crate) packs: Vec<PackEnd>,
    pub(crate) extents: Vec<Extent>,
    /// By so much packs grew for it, headers and footers of packs apart.
    pub(crate) arrived_bytes: u64,
    pub(crate) note: Note,
}

/// How much an owner has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Length of the stream.
    pub(crate) length: u64,
    /// By so much packs grew for all its commits.
    pub(crate) arrived_bytes: u64,
}

/// An owner as committed.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    /// The journal up to and with this record is in here.
    pub(crate) sequence: u64,
    /// The journal up to and with this record is in the head file.
    pub(crate) saved_sequence: u64,
    /// By so much packs grew for all its commits.
    pub(crate) arrived_bytes: u64,
    /// What is committed may not be cut, nor the owner removed.
    pub(crate) guarded: bool,
    extents: Vec<Extent>,
}

impl State {
    pub(crate) fn new(snapshot: &[u8], sequence: u64) -> Self {
        Self {
            head: Head { snapshot: snapshot.to_vec(), deltas: Vec::new(), length: 0 },
            sequence,
            saved_sequence: sequence,
            arrived_bytes: 0,
            guarded: false,
            extents: Vec::new(),
        }
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.saved_sequence >= self.sequence
    }

    pub(crate) fn size(&self) -> Size {
        Size { length: self.head.length, arrived_bytes: self.arrived_bytes }
    }

    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Rough size in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let notes: usize = self.head.snapshot.len() + self.head.deltas.iter().map(Vec::len).sum::<usize>();
        (self.extents.capacity() * size_of::<Extent>() + notes) as u64
    }

    /// Applies a commit. One that does not fit this state is refused before anything is changed.
    pub(crate) fn apply(&mut self, sequence: u64, commit: Commit) -> Result<(), &'static str> {
        self.check_fits(&commit)?;
        let change = commit.change;
        truncate_extents(&mut self.extents, change.truncate_to);
        change.extents.into_iter().for_each(|extent| push_extent(&mut self.extents, extent));
        self.head.length = self.extents.last().map_or(0, Extent::end);
        self.arrived_bytes = self.arrived_bytes.saturating_add(change.arrived_bytes);
        self.guarded = change.guard.unwrap_or(self.guarded);
        match change.note {
            Note::Delta(delta) => self.head.deltas.push(delta),
            Note::Snapshot(snapshot) => {
                self.head.snapshot = snapshot;
                self.head.deltas.clear();
            }
        }
        self.sequence = sequence;
        Ok(())
    }

    pub(crate) fn check_fits(&self, commit: &Commit) -> Result<(), &'static str> {
        let change = &commit.change;
        if commit.follows != self.sequence {
            return Err("a commit between them is missing");
        }
        if change.truncate_to > self.head.length {
            return Err("a commit cuts the stream beyond its end");
        }
        if self.guarded && change.truncate_to < self.head.length {
            return Err("a commit cuts a guarded stream");
        }
        check_row(&change.extents, change.truncate_to)
    }

    pub(crate) fn encode(&self, store_id: [u8; 16], owner: OwnerId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(96 + self.extents.len() * EXTENT_RECORD);
        writer.raw(&store_id).raw(&owner.0).u64(self.sequence).u64(self.head.length).u64(self.arrived_bytes);
        writer.u64(if self.guarded { GUARDED } else { 0 });
        writer.blob(&self.head.snapshot).u64(self.head.deltas.len() as u64);
        for delta in &self.head.deltas {
            writer.blob(delta);
        }
        put_extents(&mut writer, &self.extents);
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
        Ok(state)
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let sequence = reader.u64("sequence")?;
        let (length, arrived_bytes) = (reader.u64("length")?, reader.u64("arrived bytes")?);
        let guarded = match reader.u64("flags")? {
            0 => false,
            GUARDED => true,
            _ => return Err(reader.malformed("flags")),
        };
        let snapshot = reader.blob("snapshot")?.to_vec();
        let count = reader.count(8, "number of deltas")?;
        let deltas =
            (0..count).map(|_| reader.blob("delta").map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
        let mut state = Self::new(&[], sequence);
        state.head = Head { snapshot, deltas, length };
        state.arrived_bytes = arrived_bytes;
        state.guarded = guarded;
        state.extents = take_extents(reader, 0)?;
        Ok(state)
    }
}

/// Extents follow each other without a gap from `start`, none is empty, none leaves its pack.
fn check_row(row: &[Extent], start: u64) -> Result<(), &'static str> {
    let mut due = start;
    for extent in row {
        if extent.start != due || extent.len == 0 {
            return Err("its extents do not follow each other");
        }
        if extent.raw_end() > MAX_RAW {
            return Err("an extent is longer than any pack");
        }
        due = due.checked_add(u64::from(extent.len)).ok_or("its extents are longer than any stream")?;
    }
    Ok(())
}

/// One owner's commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) owner: OwnerId,
    /// The sequence of the state that it changes.
    pub(crate) follows: u64,
    pub(crate) change: Change,
}

/// One part of a group commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Commit(Commit),
    Remove(OwnerId),
    /// Said at the start of a journal file, because what older files said goes with those.
    Begin(Begin),
}

/// What a journal file begins with: the pool as it finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) packs: Packs,
    /// All owners that there are, and the sequence that the head of each has at least.
    pub(crate) owners: Vec<(OwnerId, u64)>,
    /// Commits of owners whose head is lost, with the sequences they had, oldest first: the right head may be put back.
    pub(crate) kept: Vec<(u64, Commit)>,
    /// By so much packs have grown for all commits that there ever were.
    pub(crate) arrived_bytes: u64,
}

/// The packs as a journal file finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packs {
    /// The first pack that is not made yet.
    pub(crate) next: PackId,
    /// Packs before it that no commit has named. These, and those from `next` on, hold nothing that was ever committed unless a
    /// later record names them.
    pub(crate) uncommitted: Vec<PackId>,
    /// All that have no footer; with folders missing, all that older files named.
    pub(crate) unsealed: Vec<PackEnd>,
}

const KIND_DELTA: u8 = 0;
const KIND_SNAPSHOT: u8 = 1;
const KIND_REMOVE: u8 = 2;
const KIND_BEGIN: u8 = 3;

const GUARD_STAYS: u8 = 0;
const GUARD_ON: u8 = 1;
const GUARD_OFF: u8 = 2;

impl Entry {
    /// Bytes it takes in the journal, nearly.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Remove(_) => 17,
            Self::Begin(begin) => begin.weight(),
            Self::Commit(commit) => commit.weight(),
        }
    }

    fn put(&self, writer: &mut Writer) {
        match self {
            Self::Remove(owner) => {
                writer.raw(&owner.0).u8(KIND_REMOVE);
            }
            Self::Begin(begin) => {
                writer.raw(&[0; 16]).u8(KIND_BEGIN);
                begin.put(writer);
            }
            Self::Commit(commit) => commit.put(writer),
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let owner = OwnerId(reader.array("owner")?);
        match reader.u8("kind")? {
            KIND_REMOVE => Ok(Self::Remove(owner)),
            KIND_BEGIN => Begin::take(reader).map(Self::Begin),
            kind => Commit::take_rest(owner, kind, reader).map(Self::Commit),
        }
    }
}

impl Commit {
    pub(crate) fn weight(&self) -> usize {
        let (Note::Delta(note) | Note::Snapshot(note)) = &self.change.note;
        88 + note.len() + self.change.packs.len() * PACK_RECORD + self.change.extents.len() * EXTENT_RECORD
    }

    fn put(&self, writer: &mut Writer) {
        let Self { owner, follows, change } = self;
        let (kind, note) = match &change.note {
            Note::Delta(note) => (KIND_DELTA, note),
            Note::Snapshot(note) => (KIND_SNAPSHOT, note),
        };
        let guard = match change.guard {
            None => GUARD_STAYS,
            Some(true) => GUARD_ON,
            Some(false) => GUARD_OFF,
        };
        writer
            .raw(&owner.0)
            .u8(kind)
            .u8(guard)
            .u64(*follows)
            .u64(change.truncate_to)
            .u64(change.arrived_bytes);
        put_packs(writer, &change.packs);
        put_extents(writer, &change.extents);
        writer.blob(note);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let owner = OwnerId(reader.array("owner")?);
        let kind = reader.u8("kind")?;
        Self::take_rest(owner, kind, reader)
    }

    /// What comes after owner and kind.
    fn take_rest(owner: OwnerId, kind: u8, reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let guard = match reader.u8("guard")? {
            GUARD_STAYS => None,
            GUARD_ON => Some(true),
            GUARD_OFF => Some(false),
            _ => return Err(reader.malformed("guard")),
        };
        let (follows, truncate_to) = (reader.u64("follows")?, reader.u64("truncate to")?);
        let arrived_bytes = reader.u64("arrived bytes")?;
        let packs = take_packs(reader)?;
        let extents = take_extents(reader, truncate_to)?;
        let note = reader.blob("note")?.to_vec();
        let note = match kind {
            KIND_DELTA => Note::Delta(note),
            KIND_SNAPSHOT => Note::Snapshot(note),
            _ => return Err(reader.malformed("kind")),
        };
        Ok(Self {
            owner,
            follows,
            change: Change { truncate_to, guard, packs, extents, arrived_bytes, note },
        })
    }
}

/// An owner and a sequence.
const OWNER_RECORD: usize = 24;

impl Begin {
    fn weight(&self) -> usize {
        let packs = self.packs.uncommitted.len() * 12 + self.packs.unsealed.len() * PACK_RECORD;
        let kept: usize = self.kept.iter().map(|(_, commit)| 8 + commit.weight()).sum();
        64 + packs + self.owners.len() * OWNER_RECORD + kept
    }

    fn put(&self, writer: &mut Writer) {
        writer.u64(self.arrived_bytes);
        self.packs.next.put(writer);
        writer.u64(self.packs.uncommitted.len() as u64);
        self.packs.uncommitted.iter().for_each(|id| id.put(writer));
        put_packs(writer, &self.packs.unsealed);
        writer.u64(self.owners.len() as u64);
        for (owner, sequence) in &self.owners {
            writer.raw(&owner.0).u64(*sequence);
        }
        writer.u64(self.kept.len() as u64);
        for (sequence, commit) in &self.kept {
            writer.u64(*sequence);
            commit.put(writer);
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let arrived_bytes = reader.u64("arrived bytes")?;
        let next = PackId::take(reader)?;
        let count = reader.count(12, "number of packs")?;
        let uncommitted = (0..count).map(|_| PackId::take(reader)).collect::<Result<_, _>>()?;
        let packs = Packs { next, uncommitted, unsealed: take_packs(reader)? };
        let count = reader.count(OWNER_RECORD, "number of owners")?;
        let owner = |reader: &mut Reader<'_>| Ok((OwnerId(reader.array("owner")?), reader.u64("sequence")?));
        let owners = (0..count).map(|_| owner(reader)).collect::<Result<_, Malformed>>()?;
        let count = reader.count(KEPT_RECORD, "number of commits")?;
        let kept = |reader: &mut Reader<'_>| Ok((reader.u64("sequence")?, Commit::take(reader)?));
        let kept = (0..count).map(|_| kept(reader)).collect::<Result<_, Malformed>>()?;
        Ok(Self { packs, owners, kept, arrived_bytes })
    }
}

/// The shortest kept commit: sequence, owner, kind, follows, truncate to, arrived bytes, and three empty lists.
const KEPT_RECORD: usize = 73;

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

fn put_packs(writer: &mut Writer, packs: &[PackEnd]) {
    writer.u64(packs.len() as u64);
    for PackEnd { pack, end, sealed } in packs {
        pack.put(writer);
        writer.u32(if *sealed { SEALED } else { 0 }).u64(*end);
    }
}

fn take_packs(reader: &mut Reader<'_>) -> Result<Vec<PackEnd>, Malformed> {
    let count = reader.count(PACK_RECORD, "number of packs")?;
    (0..count).map(|_| take_pack(reader)).collect()
}

fn take_pack(reader: &mut Reader<'_>) -> Result<PackEnd, Malformed> {
    let pack = PackId::take(reader)?;
    let sealed = reader.u32("pack flags")? & SEALED != 0;
    Ok(PackEnd { pack, end: reader.u64("durable end")?, sealed })
}

fn put_extents(writer: &mut Writer, extents: &[Extent]) {
    writer.u64(extents.len() as u64);
    for extent in extents {
        writer.u32(extent.len).u32(extent.at);
        extent.pack.put(writer);
    }
}

/// Extents that begin at `start` in the stream.
fn take_extents(reader: &mut Reader<'_>, mut start: u64) -> Result<Vec<Extent>, Malformed> {
    let count = reader.count(EXTENT_RECORD, "number of extents")?;
    let mut extents = Vec::with_capacity(count);
    for _ in 0..count {
        let (len, at) = (reader.u32("extent length")?, reader.u32("raw address")?);
        let extent = Extent { start, len, at, pack: PackId::take(reader)? };
        start = extent.end();
        extents.push(extent);
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: PackId = PackId { epoch: 0x0102_0304_0506_0708, number: 9 };
    const OWNER: OwnerId = OwnerId([0xee; 16]);

    fn extent(start: u64, len: u32, at: u32) -> Extent {
        Extent { start, len, at, pack: PACK }
    }

    fn change() -> Change {
        Change {
            truncate_to: 0,
            guard: Some(true),
            packs: vec![PackEnd { pack: PACK, end: 0x2000, sealed: true }],
            extents: vec![extent(0, 5, 0x0a0b)],
            arrived_bytes: 0x0c0d,
            note: Note::Delta(b"delta".to_vec()),
        }
    }

    fn commit() -> Commit {
        Commit { owner: OWNER, follows: 6, change: change() }
    }

    /// An extent, typed out from docs/formats/head.md.
    const EXTENTS: &[u8] = b"\x01\0\0\0\0\0\0\0\
        \x05\0\0\0\x0b\x0a\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0";
    /// A pack and its durable end, typed out from docs/formats/journal.md.
    const PACKS: &[u8] = b"\x01\0\0\0\0\0\0\0\
        \x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\x01\0\0\0\0\x20\0\0\0\0\0\0";

    #[test]
    fn a_journal_record_keeps_its_bytes() {
        let unsealed = vec![PackEnd { pack: PACK, end: 0x2000, sealed: true }];
        let packs = Packs { next: PackId { number: 8, ..PACK }, uncommitted: vec![PACK], unsealed };
        let owners = vec![(OwnerId([0x22; 16]), 0x0304)];
        let begin =
            Entry::Begin(Begin { packs, owners, kept: vec![(0x0506, commit())], arrived_bytes: 0x0e0f });
        let entries = [begin, Entry::Commit(commit()), Entry::Remove(OwnerId([0x11; 16]))];
        let mut expected = b"\x03\0\0\0".to_vec();
        expected.extend_from_slice(&[0; 16]);
        expected.push(3);
        expected.extend_from_slice(b"\x0f\x0e\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x08\0\0\0");
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0");
        expected.extend_from_slice(PACKS);
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0");
        expected.extend_from_slice(&[0x22; 16]);
        expected.extend_from_slice(b"\x04\x03\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x06\x05\0\0\0\0\0\0");
        for _ in ["kept", "of this record"] {
            expected.extend_from_slice(&[0xee; 16]);
            expected.extend_from_slice(b"\0\x01\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0d\x0c\0\0\0\0\0\0");
            expected.extend_from_slice(PACKS);
            expected.extend_from_slice(EXTENTS);
            expected.extend_from_slice(b"\x05\0\0\0\0\0\0\0delta");
        }
        expected.extend_from_slice(&[0x11; 16]);
        expected.push(2);
        assert_eq!(encode_record(entries.iter()), expected);
        assert_eq!(decode_record(&expected).unwrap(), entries);
    }

    #[test]
    fn a_head_keeps_its_bytes() {
        let mut state = State::new(b"snap", 6);
        state.apply(7, commit()).unwrap();
        let mut expected = [0x55; 16].to_vec();
        expected.extend_from_slice(&[0xee; 16]);
        expected
            .extend_from_slice(b"\x07\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x0d\x0c\0\0\0\0\0\0\x01\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x04\0\0\0\0\0\0\0snap\x01\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0delta");
        expected.extend_from_slice(EXTENTS);
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
        let record = encode_record([Entry::Commit(commit())].iter());
        assert!((0..record.len()).all(|len| decode_record(&record[..len]).is_err()));
        let mut state = State::new(b"snap", 6);
        state.apply(7, commit()).unwrap();
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
        let hole = Change { extents: vec![extent(3, 5, 0)], ..change() };
        let outside = Change { extents: vec![extent(0, u32::MAX, 0)], ..change() };
        let follow = |change| Commit { follows: 1, change, ..commit() };
        let skips = Commit { follows: 2, ..commit() };
        for bad in [follow(beyond), follow(hole), follow(outside), skips] {
            assert!(state.apply(2, bad).is_err());
            assert_eq!((state.sequence, state.head.length, state.extents().len()), (1, 0, 0));
        }
    }

    #[test]
    fn a_guarded_state_takes_no_cut_until_a_commit_lifts_the_guard() {
        let mut state = State::new(b"", 1);
        let after = |follows, change| Commit { follows, change, ..commit() };
        state.apply(2, after(1, change())).unwrap();
        let cut = Change { truncate_to: 4, guard: Some(false), extents: Vec::new(), ..change() };
        assert!(state.apply(3, after(2, cut.clone())).unwrap_err().contains("guarded"));
        let longer = Change { truncate_to: 5, guard: None, extents: vec![extent(5, 5, 0)], ..change() };
        state.apply(3, after(2, longer.clone())).unwrap();
        assert_eq!((state.guarded, state.head.length), (true, 10));
        let lifted = Change { truncate_to: 10, guard: Some(false), extents: Vec::new(), ..longer };
        state.apply(4, after(3, lifted)).unwrap();
        state.apply(5, after(4, cut)).unwrap();
        assert_eq!((state.guarded, state.head.length), (false, 4));
    }

    #[test]
    fn runs_join_only_when_nothing_was_cut_between_them() {
        let mut row = vec![];
        push_extent(&mut row, extent(0, 10, 100));
        push_extent(&mut row, extent(10, 10, 110));
        assert_eq!(row, [extent(0, 20, 100)]);
        truncate_extents(&mut row, 15);
        push_extent(&mut row, extent(15, 10, 120));
        assert_eq!(row, [extent(0, 15, 100), extent(15, 10, 120)]);
        let holder = |at: u64| extent_at(&row, at).map(|run| run.at);
        assert_eq!([0, 14, 15, 24].map(holder), [100, 100, 120, 120].map(Some));
        assert_eq!(holder(25), None);
    }
}
