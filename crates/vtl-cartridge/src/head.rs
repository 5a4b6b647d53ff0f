//! What the store keeps about a cartridge beside its bytes: snapshot and deltas as bytes and as meaning.
//!
//! Byte tables and reasons: `docs/formats/cartridge.md`. Everything is checked here, once; past this file a value is right.

use std::collections::{BTreeMap, BTreeSet};

use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_types::{Generation, Label, LibraryName, MediaForm, MediaKind, Place};

use crate::{
    error::CartridgeError,
    map::BlockMap,
    protection::{Protection, Retention},
};

/// Bytes that all host attributes of a cartridge may take, with four for each one's id and length.
pub const MAX_ATTRIBUTES_BYTES: usize = 32 * 1024;
/// Longest serial number: that of MAM 0401h.
pub const MAX_SERIAL_BYTES: usize = 32;

const SNAPSHOT_MAGIC: [u8; 4] = *b"VTCS";
pub(crate) const DELTA_MAGIC: [u8; 4] = *b"VTCD";
const VERSION: u16 = 0;
/// Beyond what any cartridge counts to.
const MAX_COUNTER: u64 = 1 << 62;
/// The highest write generation that a copy may begin with: it can grow from there for longer than anybody writes.
pub const MAX_COPIED_GENERATION: u64 = 1 << 61;
/// Bytes of a snapshot before its first part of variable length.
const SNAPSHOT_FIXED: usize = 132;
const WRITE_PROTECTED: u8 = 0x01;
const HOLD: u8 = 0x02;
const UNFINISHED: u8 = 0x04;

/// Where a cartridge was when its head was last told.
pub type PlaceHint = Option<(LibraryName, Place)>;
/// Host attributes of medium auxiliary memory.
pub type Attributes = BTreeMap<u16, Vec<u8>>;

/// Everything about a cartridge but its bytes.
#[derive(Clone, Debug)]
pub struct Head {
    pub label: Label,
    pub serial: String,
    pub kind: MediaKind,
    pub capacity_bytes: u64,
    pub early_warning_bytes: u64,
    pub created_s: i64,
    pub write_protected: bool,
    pub protection: Protection,
    /// It is a copy that is still being made.
    pub unfinished: bool,
    pub load_count: u64,
    pub generation: u64,
    /// Number of the last commit that is in here.
    pub number: u64,
    pub place: PlaceHint,
    pub attributes: Attributes,
    pub map: BlockMap,
}

/// What a delta has to tell, as a note of what changed in a [`Head`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Objects that stayed, when blocks or marks changed.
    pub content_from: Option<u64>,
    pub load_count: bool,
    pub write_protected: bool,
    pub place: bool,
    pub protection: bool,
    pub finished: bool,
    pub attributes: BTreeSet<u16>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the write generation counts them.
    pub fn touch_content(&self) -> bool {
        self.content_from.is_some() || !self.attributes.is_empty()
    }
}

pub(crate) mod tag {
    pub const CONTENT: u8 = 1;
    pub const LOAD_COUNT: u8 = 2;
    pub const WRITE_PROTECTED: u8 = 3;
    pub const ATTRIBUTE: u8 = 4;
    pub const PLACE: u8 = 5;
    pub const PROTECTION: u8 = 6;
    pub const FINISHED: u8 = 7;
}

impl Head {
    /// The state that a snapshot and the deltas after it make.
    pub fn replay(snapshot: &[u8], deltas: &[Vec<u8>]) -> Result<Self, CartridgeError> {
        let mut head = Self::decode_snapshot(snapshot)?;
        deltas.iter().try_for_each(|delta| head.apply(delta))?;
        Ok(head)
    }

    /// The whole state.
    pub fn encode_snapshot(&self) -> Vec<u8> {
        let attributes = encode_attributes(&self.attributes);
        let runs = self.map.encode();
        let (kind, number, library) = place_parts(&self.place);
        let len = SNAPSHOT_FIXED + self.serial.len() + library.len() + attributes.len() + runs.len();
        let mut out = Writer::with_capacity(len);
        out.raw(&SNAPSHOT_MAGIC).u16(VERSION).u16(0).u32(len as u32);
        out.u8(self.kind.generation.number()).u8(form_code(self.kind.form));
        let switch = if self.write_protected { WRITE_PROTECTED } else { 0 };
        let unfinished = if self.unfinished { UNFINISHED } else { 0 };
        out.u8(switch | if self.protection.hold { HOLD } else { 0 } | unfinished);
        out.u8(kind).u16(number).u8(self.serial.len() as u8).u8(library.len() as u8);
        out.raw(self.label.as_str().as_bytes());
        out.u64(self.capacity_bytes).u64(self.early_warning_bytes).u64(self.created_s as u64);
        out.u64(self.load_count).u64(self.generation).u64(self.number);
        let end = self.map.end();
        out.u64(end.object).u64(end.file).u64(end.byte);
        out.u32(attributes.len() as u32).u32(runs.len() as u32);
        put_retention(&mut out, self.protection.retention);
        out.raw(self.serial.as_bytes()).raw(library.as_bytes()).raw(&attributes).raw(&runs);
        out.into_bytes()
    }

    /// Bytes that [`Head::encode_snapshot`] takes, without making them; a little more than exact.
    pub fn snapshot_len(&self) -> usize {
        SNAPSHOT_FIXED
            + MAX_SERIAL_BYTES
            + LibraryName::MAX_LEN
            + MAX_ATTRIBUTES_BYTES
            + self.map.encoded_len()
    }

    fn decode_snapshot(bytes: &[u8]) -> Result<Self, CartridgeError> {
        let mut from = Reader::new(bytes);
        read_header(&mut from, SNAPSHOT_MAGIC, bytes.len(), "snapshot")?;
        let kind = read_kind(&mut from)?;
        let flags = from.u8("flags")?;
        if flags & !(WRITE_PROTECTED | HOLD | UNFINISHED) != 0 {
            return Err(from.malformed("flags").into());
        }
        let (place_kind, place_number) = (from.u8("place kind")?, from.u16("place number")?);
        let (serial_len, library_len) = (from.u8("serial length")?, from.u8("library length")?);
        let label = text(from.raw(Label::LEN, "label")?, &from, "label")?;
        let label = label.parse().map_err(|_| from.malformed("label"))?;
        let capacity_bytes = from.u64("capacity")?;
        let early_warning_bytes = from.u64("early warning")?;
        let created_s = from.u64("creation time")? as i64;
        let load_count = from.u64("load count")?;
        let generation = read_counter(&mut from, "write generation")?;
        let number = read_counter(&mut from, "delta number")?;
        let sums = [from.u64("objects")?, from.u64("filemarks")?, from.u64("bytes")?];
        let attributes_len = from.u32("attributes length")? as usize;
        let runs_len = from.u32("runs length")? as usize;
        let retention = take_retention(&mut from)?;
        let serial = text(from.raw(usize::from(serial_len), "serial")?, &from, "serial")?.to_owned();
        if !is_serial(&serial) || early_warning_bytes > capacity_bytes {
            return Err(from.malformed("serial or early warning").into());
        }
        let library = from.raw(usize::from(library_len), "library")?;
        let place = place_from_parts(place_kind, place_number, library, &from)?;
        let attributes = decode_attributes(from.raw(attributes_len, "attributes")?)?;
        let map = BlockMap::decode(from.raw(runs_len, "runs")?)?;
        from.end("snapshot")?;
        let head = Self {
            label,
            serial,
            kind,
            capacity_bytes,
            early_warning_bytes,
            created_s,
            write_protected: flags & WRITE_PROTECTED != 0,
            protection: Protection { hold: flags & HOLD != 0, retention },
            unfinished: flags & UNFINISHED != 0,
            load_count,
            generation,
            number,
            place,
            attributes,
            map,
        };
        head.check_sums(sums)?;
        Ok(head)
    }

    /// What changed since the commit before; the state has the new values already, generation and number included.
    pub fn encode_delta(&self, changes: &Changes) -> Vec<u8> {
        let mut body = Writer::new();
        body.u64(self.number).u64(self.generation);
        if let Some(keep) = changes.content_from {
            let end = self.map.end();
            let runs = self.map.encode_from(keep);
            body.u8(tag::CONTENT).u32(32 + runs.len() as u32);
            body.u64(keep).u64(end.object).u64(end.file).u64(end.byte).raw(&runs);
        }
        if changes.load_count {
            body.u8(tag::LOAD_COUNT).u32(8).u64(self.load_count);
        }
        if changes.write_protected {
            body.u8(tag::WRITE_PROTECTED).u32(1).u8(u8::from(self.write_protected));
        }
        for &id in &changes.attributes {
            let value = self.attributes.get(&id).map(Vec::as_slice).unwrap_or_default();
            body.u8(tag::ATTRIBUTE).u32(2 + value.len() as u32).u16(id).raw(value);
        }
        if changes.place {
            let (kind, number, library) = place_parts(&self.place);
            body.u8(tag::PLACE).u32(3 + library.len() as u32).u8(kind).u16(number).raw(library.as_bytes());
        }
        if changes.protection {
            body.u8(tag::PROTECTION).u32(25).u8(u8::from(self.protection.hold));
            put_retention(&mut body, self.protection.retention);
        }
        if changes.finished {
            body.u8(tag::FINISHED).u32(0);
        }
        let body = body.into_bytes();
        let mut out = Writer::with_capacity(12 + body.len());
        out.raw(&DELTA_MAGIC).u16(VERSION).u16(0).u32(12 + body.len() as u32).raw(&body);
        out.into_bytes()
    }

    /// Applies a delta; one that is in here already changes nothing. On an error the state is unusable.
    pub fn apply(&mut self, bytes: &[u8]) -> Result<(), CartridgeError> {
        let mut from = Reader::new(bytes);
        read_header(&mut from, DELTA_MAGIC, bytes.len(), "delta")?;
        let number = read_counter(&mut from, "delta number")?;
        let generation = read_counter(&mut from, "write generation")?;
        if number <= self.number {
            return Ok(());
        }
        if number - self.number != 1 || generation < self.generation {
            return Err(from.malformed("delta number or write generation").into());
        }
        let mut before = (0, 0);
        while from.left() > 0 {
            let tag = from.u8("tag")?;
            let len = from.u32("record length")? as usize;
            let body = from.raw(len, "record")?;
            let id = self.apply_record(tag, body)?;
            if (tag, id) <= before {
                return Err(from.malformed("order of records").into());
            }
            before = (tag, id);
        }
        (self.number, self.generation) = (number, generation);
        Ok(())
    }

    /// Applies one record; the number is what orders it among those of its tag.
    fn apply_record(&mut self, tag: u8, body: &[u8]) -> Result<u32, CartridgeError> {
        let mut from = Reader::new(body);
        match tag {
            tag::CONTENT => {
                let keep = from.u64("kept objects")?;
                let sums = [from.u64("objects")?, from.u64("filemarks")?, from.u64("bytes")?];
                self.map.splice(keep, from.raw(from.left(), "runs")?)?;
                self.check_sums(sums)?;
            }
            tag::LOAD_COUNT => self.load_count = from.u64("load count")?,
            tag::WRITE_PROTECTED => {
                self.write_protected = match from.u8("write protection")? {
                    0 => false,
                    1 => true,
                    _ => return Err(from.malformed("write protection").into()),
                };
            }
            tag::ATTRIBUTE => {
                let id = from.u16("attribute id")?;
                let value = from.raw(from.left(), "attribute")?;
                if !set_attribute(&mut self.attributes, id, value) {
                    return Err(from.malformed("attribute").into());
                }
                return Ok(u32::from(id));
            }
            tag::PLACE => {
                let (kind, number) = (from.u8("place kind")?, from.u16("place number")?);
                let library = from.raw(from.left(), "library")?;
                self.place = place_from_parts(kind, number, library, &from)?;
            }
            tag::PROTECTION => {
                let hold = match from.u8("hold")? {
                    0 => false,
                    1 => true,
                    _ => return Err(from.malformed("hold").into()),
                };
                self.protection = Protection { hold, retention: take_retention(&mut from)? };
            }
            tag::FINISHED if self.unfinished => self.unfinished = false,
            _ => return Err(from.malformed("tag").into()),
        }
        from.end("record")?;
        Ok(0)
    }

    fn check_sums(&self, [objects, filemarks, bytes]: [u64; 3]) -> Result<(), CartridgeError> {
        let end = self.map.end();
        if (end.object, end.file, end.byte) == (objects, filemarks, bytes) {
            return Ok(());
        }
        Err(CartridgeError::corrupted("the block map does not add up"))
    }
}

/// Three zeros: none.
fn put_retention(out: &mut Writer, retention: Option<Retention>) {
    let Retention { until_s, release_at_s, noted_at_s } =
        retention.unwrap_or(Retention { until_s: 0, release_at_s: 0, noted_at_s: 0 });
    out.u64(until_s).u64(release_at_s).u64(noted_at_s);
}

fn take_retention(from: &mut Reader<'_>) -> Result<Option<Retention>, Malformed> {
    let until_s = from.u64("retained until")?;
    let (release_at_s, noted_at_s) = (from.u64("release")?, from.u64("count")?);
    match (until_s, release_at_s, noted_at_s) {
        (0, 0, 0) => Ok(None),
        _ if until_s == 0 || noted_at_s > release_at_s => Err(from.malformed("retention")),
        _ => Ok(Some(Retention { until_s, release_at_s, noted_at_s })),
    }
}

/// Stores a value, or removes it when empty. False, and nothing changed, when there is no room.
pub fn set_attribute(attributes: &mut Attributes, id: u16, value: &[u8]) -> bool {
    if value.is_empty() {
        attributes.remove(&id);
        return true;
    }
    let others = attributes.iter().filter(|(other, _)| **other != id).map(|(_, value)| 4 + value.len());
    if others.sum::<usize>() + 4 + value.len() > MAX_ATTRIBUTES_BYTES {
        return false;
    }
    attributes.insert(id, value.to_vec());
    true
}

/// Whether a text can be a serial number.
pub fn is_serial(text: &str) -> bool {
    (1..=MAX_SERIAL_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(crate) fn read_header(
    from: &mut Reader<'_>,
    magic: [u8; 4],
    len: usize,
    what: &'static str,
) -> Result<(), CartridgeError> {
    if from.array::<4>("magic")? != magic {
        return Err(CartridgeError::corrupted(format_args!("this is no {what} of a cartridge")));
    }
    let version = from.u16("version")?;
    if version != VERSION {
        let why = format_args!("{what} of format version {version}; this program knows {VERSION} only");
        return Err(CartridgeError::corrupted(why));
    }
    if from.u16("reserved")? != 0 || from.u32("length")? as usize != len {
        return Err(from.malformed("length").into());
    }
    Ok(())
}

/// A number that only ever grows by one: what could overflow was never written by us.
pub(crate) fn read_counter(from: &mut Reader<'_>, what: &'static str) -> Result<u64, Malformed> {
    let value = from.u64(what)?;
    if value < MAX_COUNTER { Ok(value) } else { Err(from.malformed(what)) }
}

fn read_kind(from: &mut Reader<'_>) -> Result<MediaKind, Malformed> {
    let generation = Generation::from_number(from.u8("generation")?);
    let form = match from.u8("form")? {
        0 => Some(MediaForm::Data),
        1 => Some(MediaForm::Worm),
        2 => Some(MediaForm::Cleaning),
        _ => None,
    };
    let (Some(generation), Some(form)) = (generation, form) else {
        return Err(from.malformed("generation or form"));
    };
    Ok(MediaKind { generation, form })
}

const fn form_code(form: MediaForm) -> u8 {
    match form {
        MediaForm::Data => 0,
        MediaForm::Worm => 1,
        MediaForm::Cleaning => 2,
    }
}

/// The vault is the place that needs no hint.
fn place_parts(place: &PlaceHint) -> (u8, u16, &str) {
    match place {
        Some((library, Place::Slot(number))) => (1, *number, library.as_str()),
        Some((library, Place::Drive(number))) => (2, *number, library.as_str()),
        Some((library, Place::Mailslot(number))) => (3, *number, library.as_str()),
        Some((_, Place::Vault)) | None => (0, 0, ""),
    }
}

fn place_from_parts(
    kind: u8,
    number: u16,
    library: &[u8],
    from: &Reader<'_>,
) -> Result<PlaceHint, Malformed> {
    let malformed = || from.malformed("place");
    let place = match (kind, number) {
        (0, 0) if library.is_empty() => return Ok(None),
        (1, 1..) => Place::Slot(number),
        (2, _) => Place::Drive(number),
        (3, 1..) => Place::Mailslot(number),
        _ => return Err(malformed()),
    };
    let library = text(library, from, "library")?.parse().map_err(|_| malformed())?;
    Ok(Some((library, place)))
}

fn text<'a>(bytes: &'a [u8], from: &Reader<'_>, what: &'static str) -> Result<&'a str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| from.malformed(what))
}

fn encode_attributes(attributes: &Attributes) -> Vec<u8> {
    let mut out = Writer::new();
    for (&id, value) in attributes {
        out.u16(id).u16(value.len() as u16).raw(value);
    }
    out.into_bytes()
}

fn decode_attributes(bytes: &[u8]) -> Result<Attributes, Malformed> {
    let mut from = Reader::new(bytes);
    let mut attributes = Attributes::new();
    if bytes.len() > MAX_ATTRIBUTES_BYTES {
        return Err(from.malformed("attributes"));
    }
    while from.left() > 0 {
        let (id, len) = (from.u16("attribute id")?, from.u16("attribute length")?);
        let value = from.raw(usize::from(len), "attribute")?;
        let ascending = attributes.last_key_value().is_none_or(|(&last, _)| last < id);
        if len == 0 || !ascending {
            return Err(from.malformed("attribute"));
        }
        attributes.insert(id, value.to_vec());
    }
    Ok(attributes)
}

#[cfg(test)]
mod tests;
