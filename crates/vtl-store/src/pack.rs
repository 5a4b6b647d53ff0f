//! The bytes of a pack: header, chunk headers, footer; and a pack's table read back.
//!
//! Byte table: `docs/formats/pack.md`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_durable::{DiskError, DiskFile};

use crate::buffers::{Buffer, Buffers};
use crate::codec::{Algorithm, Encoded, Fingerprint};
use crate::types::{MAX_CHUNK_BYTES, OwnerId};

/// Durable points end on a multiple of this.
pub(crate) const PAGE: u64 = 4096;
pub(crate) const CHUNK_HEADER: u64 = 96;
pub(crate) const ENTRY_BYTES: u64 = 64;
pub(crate) const TRAILER_BYTES: u64 = 64;
const MAGIC: [u8; 8] = *b"VTLPACK\0";
const FOOT_MAGIC: [u8; 8] = *b"VTLPFOOT";
const CHUNK_MAGIC: [u8; 4] = *b"vChk";
const VERSION: u32 = 0;
/// Bytes read at a time when a pack is walked.
const WINDOW: usize = 1 << 20;

/// Which pack; never used twice. The upper half of the epoch counts starts, the lower is random.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PackId {
    pub(crate) epoch: u64,
    pub(crate) number: u32,
}

const SUFFIX: &str = ".pack";

impl PackId {
    pub(crate) fn file_name(self) -> String {
        format!("{self}{SUFFIX}")
    }

    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (epoch, number) = file_name.strip_suffix(SUFFIX)?.split_once('-')?;
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let id = Self { epoch, number: u32::from_str_radix(number, 16).ok()? };
        (id.file_name() == file_name).then_some(id)
    }

    pub(crate) fn put(self, writer: &mut Writer) {
        writer.u64(self.epoch).u32(self.number);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { epoch: reader.u64("pack epoch")?, number: reader.u32("pack number")? })
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.epoch, self.number)
    }
}

/// Whose pack it is, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) owner: OwnerId,
    pub(crate) id: PackId,
}

impl PackHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(PAGE as usize);
        writer.raw(&MAGIC).u32(VERSION).u32(PAGE as u32).raw(&self.store_id).raw(&self.owner.0);
        self.id.put(&mut writer);
        writer.crc().pad_to(PAGE as usize);
        writer.into_bytes()
    }

    /// Why the bytes are not this header, if they are not.
    pub(crate) fn compare(&self, bytes: &[u8]) -> Result<(), &'static str> {
        const FIELDS: usize = 64;
        let mine = self.encode();
        match bytes.get(..FIELDS) {
            None => Err("the pack's header is cut short"),
            Some(found) if Some(found) == mine.get(..FIELDS) => Ok(()),
            Some(_) => Err("the pack's header is not the one it was given"),
        }
    }
}

/// One chunk as a pack's table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkEntry {
    pub(crate) index: u32,
    pub(crate) algorithm: Algorithm,
    pub(crate) raw_len: u32,
    pub(crate) stored_len: u32,
    /// Where the chunk's header begins in the pack.
    pub(crate) offset: u32,
    pub(crate) stream_offset: u64,
    pub(crate) fingerprint: Fingerprint,
}

impl ChunkEntry {
    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.u32(self.index).u8(self.algorithm.number()).raw(&[0; 3]);
        writer.u32(self.raw_len).u32(self.stored_len).u32(self.offset).u32(0);
        writer.u64(self.stream_offset).raw(&self.fingerprint);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let index = reader.u32("chunk index")?;
        let algorithm = reader.u8("algorithm")?;
        reader.raw(3, "reserved")?;
        let (raw_len, stored_len) = (reader.u32("raw length")?, reader.u32("stored length")?);
        let offset = reader.u32("chunk place")?;
        reader.u32("reserved")?;
        let entry = Self {
            index,
            algorithm: Algorithm::from_number(algorithm).ok_or(reader.malformed("algorithm"))?,
            raw_len,
            stored_len,
            offset,
            stream_offset: reader.u64("stream offset")?,
            fingerprint: reader.array("fingerprint")?,
        };
        if !entry.is_possible() {
            return Err(reader.malformed("chunk entry"));
        }
        Ok(entry)
    }

    fn is_possible(&self) -> bool {
        let longest = MAX_CHUNK_BYTES as u32;
        self.raw_len <= longest
            && self.stored_len <= self.raw_len
            && self.raw_len > 0
            && self.stream_offset.checked_add(u64::from(self.raw_len)).is_some()
    }

    pub(crate) fn stream_end(&self) -> u64 {
        self.stream_offset.saturating_add(u64::from(self.raw_len))
    }

    /// Where the stored bytes begin in the pack.
    pub(crate) fn payload_offset(&self) -> u64 {
        u64::from(self.offset) + CHUNK_HEADER
    }

    fn end(&self) -> u64 {
        self.payload_offset() + u64::from(self.stored_len)
    }

    /// The entry of a chunk that begins at `offset` in its pack.
    pub(crate) fn of(chunk: &Encoded, index: u32, offset: u32, stream_offset: u64) -> Self {
        let stored_len = chunk.stored.iter().map(bytes::Bytes::len).sum::<usize>() as u32;
        Self {
            index,
            algorithm: chunk.algorithm,
            raw_len: chunk.raw_len,
            stored_len,
            offset,
            stream_offset,
            fingerprint: chunk.fingerprint,
        }
    }

    pub(crate) fn encode_header(&self, owner: OwnerId, id: PackId) -> Vec<u8> {
        let mut writer = Writer::with_capacity(CHUNK_HEADER as usize);
        writer.raw(&CHUNK_MAGIC).u8(self.algorithm.number()).raw(&[0; 3]);
        writer.u32(self.index).u32(self.raw_len).u32(self.stored_len).u32(id.number);
        writer.u64(self.stream_offset).raw(&owner.0).raw(&self.fingerprint);
        writer.u64(id.epoch).u32(0).crc();
        writer.into_bytes()
    }

    fn decode_header(bytes: &[u8], owner: OwnerId, id: PackId, offset: u64) -> Option<Self> {
        let covered = bytes.get(..CHUNK_HEADER as usize - 4)?;
        let mut reader = Reader::new(bytes);
        let parse = |reader: &mut Reader<'_>| -> Result<_, Malformed> {
            let magic = reader.array::<4>("magic")?;
            let algorithm = reader.u8("algorithm")?;
            reader.raw(3, "reserved")?;
            let (index, raw_len, stored_len) =
                (reader.u32("index")?, reader.u32("raw")?, reader.u32("stored")?);
            let number = reader.u32("pack number")?;
            let stream_offset = reader.u64("stream offset")?;
            let found_owner = OwnerId(reader.array("owner")?);
            let fingerprint = reader.array("fingerprint")?;
            let epoch = reader.u64("epoch")?;
            reader.u32("reserved")?;
            let crc = reader.u32("crc")?;
            let ours = magic == CHUNK_MAGIC
                && crc == crc32c::crc32c(covered)
                && found_owner == owner
                && PackId { epoch, number } == id;
            Ok((ours, index, algorithm, raw_len, stored_len, stream_offset, fingerprint))
        };
        let (ours, index, algorithm, raw_len, stored_len, stream_offset, fingerprint) =
            parse(&mut reader).ok()?;
        let algorithm = Algorithm::from_number(algorithm)?;
        let offset = u32::try_from(offset).ok()?;
        let entry = Self { index, algorithm, raw_len, stored_len, offset, stream_offset, fingerprint };
        (ours && entry.is_possible()).then_some(entry)
    }
}

/// The footer of a pack whose table begins at `at`.
pub(crate) fn encode_footer(id: PackId, table: &[ChunkEntry], at: u64) -> Vec<u8> {
    let mut entries = Writer::with_capacity(table.len() * ENTRY_BYTES as usize);
    table.iter().for_each(|entry| entry.put(&mut entries));
    let mut trailer = Writer::with_capacity(TRAILER_BYTES as usize);
    trailer.raw(&FOOT_MAGIC).u32(table.len() as u32).u32(crc32c::crc32c(entries.as_slice())).u64(at);
    id.put(&mut trailer);
    trailer.pad_to(TRAILER_BYTES as usize - 4).crc();
    entries.raw(trailer.as_slice());
    entries.into_bytes()
}

/// A sealed pack's table: from its footer, or, when that is damaged, from the chunk headers. Sorted by index.
pub(crate) fn load_table(
    file: &dyn DiskFile,
    owner: OwnerId,
    id: PackId,
) -> Result<Vec<ChunkEntry>, DiskError> {
    match read_footer(file, id)? {
        Some(table) => Ok(table),
        None => {
            tracing::warn!(pack = %id, owner = %owner, "the footer of a pack is damaged, its chunks are searched");
            walk(file, owner, id)
        }
    }
}

fn read_footer(file: &dyn DiskFile, id: PackId) -> Result<Option<Vec<ChunkEntry>>, DiskError> {
    let size = file.size()?;
    let Some(trailer_at) = size.checked_sub(TRAILER_BYTES) else { return Ok(None) };
    let mut trailer = Vec::new();
    file.read_at(trailer_at, TRAILER_BYTES as usize, &mut trailer)?;
    let Some((count, crc, at)) = parse_trailer(&trailer, id) else { return Ok(None) };
    let len = u64::from(count) * ENTRY_BYTES;
    if at.checked_add(len) != Some(trailer_at) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.read_at(at, len as usize, &mut bytes)?;
    if bytes.len() as u64 != len || crc32c::crc32c(&bytes) != crc {
        return Ok(None);
    }
    let mut reader = Reader::new(&bytes);
    let table: Result<Vec<_>, _> = (0..count).map(|_| ChunkEntry::take(&mut reader)).collect();
    Ok(table.ok())
}

fn parse_trailer(bytes: &[u8], id: PackId) -> Option<(u32, u32, u64)> {
    let covered = bytes.get(..TRAILER_BYTES as usize - 4)?;
    let mut reader = Reader::new(bytes);
    let magic = reader.array::<8>("magic").ok()?;
    let fields = (reader.u32("count").ok()?, reader.u32("crc").ok()?, reader.u64("table").ok()?);
    let found = PackId::take(&mut reader).ok()?;
    reader.raw(24, "reserved").ok()?;
    let crc = reader.u32("crc").ok()?;
    (magic == FOOT_MAGIC && found == id && crc == crc32c::crc32c(covered)).then_some(fields)
}

/// Finds every whole chunk header of this pack, whatever lies between them.
fn walk(file: &dyn DiskFile, owner: OwnerId, id: PackId) -> Result<Vec<ChunkEntry>, DiskError> {
    let size = file.size()?;
    let mut table: Vec<ChunkEntry> = Vec::new();
    let mut at = PAGE;
    let mut window = Vec::new();
    while at < size {
        window.clear();
        file.read_at(at, WINDOW + CHUNK_HEADER as usize, &mut window)?;
        let (found, next) = first_chunk(&window, at, owner, id);
        match found {
            Some(entry) => {
                at = entry.end();
                table.push(entry);
            }
            None => at = next,
        }
    }
    // Chunk bytes can hold another pack's headers but none of this one's, so indexes rise; be sure all the same.
    table.sort_by_key(|entry| entry.index);
    table.dedup_by_key(|entry| entry.index);
    Ok(table)
}

/// The first chunk whose header begins in the window, or where to look on.
fn first_chunk(window: &[u8], at: u64, owner: OwnerId, id: PackId) -> (Option<ChunkEntry>, u64) {
    let searched = window.len().saturating_sub(CHUNK_HEADER as usize - 1).clamp(1, WINDOW);
    for start in 0..searched {
        let bytes = window.get(start..).unwrap_or_default();
        if bytes.starts_with(&CHUNK_MAGIC) {
            let found = ChunkEntry::decode_header(bytes, owner, id, at + start as u64);
            if found.is_some() {
                return (found, 0);
            }
        }
    }
    (None, at + searched as u64)
}

/// The stored bytes of a chunk, not verified yet; fewer when the pack ends before they do.
pub(crate) fn read_stored(
    file: &dyn DiskFile,
    buffers: &Arc<Buffers>,
    entry: &ChunkEntry,
) -> Result<Buffer, DiskError> {
    let mut stored = buffers.take(entry.stored_len as usize);
    file.read_at(entry.payload_offset(), entry.stored_len as usize, &mut stored.bytes)?;
    Ok(stored)
}

/// Where a pack lies.
pub(crate) fn path(folder: &Path, id: PackId) -> std::path::PathBuf {
    folder.join(id.file_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;
    use vtl_durable::{Disk, Open, SimDisk};

    const ID: PackId = PackId { epoch: 0x0102_0304_0506_0708, number: 0x0a0b_0c0d };
    const OWNER: OwnerId = OwnerId([0xee; 16]);

    fn entry(index: u32) -> ChunkEntry {
        ChunkEntry {
            index,
            algorithm: Algorithm::Zstd,
            raw_len: 0x0003_0000,
            stored_len: 0x0000_1234,
            offset: 0x0000_2000,
            stream_offset: 0x1122_3344_5566,
            fingerprint: [0xab; 32],
        }
    }

    #[test]
    fn a_pack_header_keeps_its_bytes() {
        let header = PackHeader { store_id: [0x55; 16], owner: OWNER, id: ID };
        let bytes = header.encode();
        let mut expected = b"VTLPACK\0\0\0\0\0\0\x10\0\0".to_vec();
        expected.extend_from_slice(&[0x55; 16]);
        expected.extend_from_slice(&[0xee; 16]);
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a");
        assert_eq!(bytes[..60], expected);
        assert_eq!(bytes[60..64], crc32c::crc32c(&expected).to_le_bytes());
        assert!(bytes[64..].iter().all(|byte| *byte == 0));
        assert_eq!(bytes.len(), 4096);
    }

    #[test]
    fn a_chunk_header_keeps_its_bytes() {
        let bytes = entry(7).encode_header(OWNER, ID);
        let mut expected = b"vChk\x01\0\0\0\x07\0\0\0\0\0\x03\0\x34\x12\0\0\x0d\x0c\x0b\x0a".to_vec();
        expected.extend_from_slice(b"\x66\x55\x44\x33\x22\x11\0\0");
        expected.extend_from_slice(&[0xee; 16]);
        expected.extend_from_slice(&[0xab; 32]);
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\0\0\0\0");
        assert_eq!(bytes[..92], expected);
        assert_eq!(bytes[92..], crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(ChunkEntry::decode_header(&bytes, OWNER, ID, 0x2000), Some(entry(7)));
        assert_eq!(ChunkEntry::decode_header(&bytes, OwnerId([1; 16]), ID, 0x2000), None);
    }

    #[test]
    fn a_footer_keeps_its_bytes() {
        let bytes = encode_footer(ID, &[entry(0)], 0x3234);
        let mut table = b"\0\0\0\0\x01\0\0\0\0\0\x03\0\x34\x12\0\0\0\x20\0\0\0\0\0\0".to_vec();
        table.extend_from_slice(b"\x66\x55\x44\x33\x22\x11\0\0");
        table.extend_from_slice(&[0xab; 32]);
        assert_eq!(bytes[..64], table);
        let mut trailer = b"VTLPFOOT\x01\0\0\0".to_vec();
        trailer.extend_from_slice(&crc32c::crc32c(&table).to_le_bytes());
        trailer.extend_from_slice(b"\x34\x32\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a");
        trailer.extend_from_slice(&[0; 24]);
        assert_eq!(bytes[64..124], trailer);
        assert_eq!(bytes[124..], crc32c::crc32c(&trailer).to_le_bytes());
    }

    /// A pack of three raw chunks with a page of padding after the first.
    fn sealed() -> (SimDisk, Vec<ChunkEntry>) {
        let disk = SimDisk::new(1);
        let mut bytes = PackHeader { store_id: [0; 16], owner: OWNER, id: ID }.encode();
        let mut table = Vec::new();
        for index in 0..3_u32 {
            let made = ChunkEntry {
                algorithm: Algorithm::Raw,
                raw_len: 1000,
                stored_len: 1000,
                offset: bytes.len() as u32,
                stream_offset: u64::from(index) * 1000,
                ..entry(index)
            };
            bytes.extend_from_slice(&made.encode_header(OWNER, ID));
            bytes.extend_from_slice(&[index as u8; 1000]);
            table.push(made);
            if index == 0 {
                bytes.resize(8192, 0);
            }
        }
        let footer = encode_footer(ID, &table, bytes.len() as u64);
        bytes.extend_from_slice(&footer);
        let file = disk.open(Path::new("/p"), Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(&bytes)]).unwrap();
        (disk, table)
    }

    #[test]
    fn a_damaged_footer_is_made_again_from_the_chunk_headers() {
        let (disk, table) = sealed();
        let file = disk.open(Path::new("/p"), Open::Read).unwrap();
        assert_eq!(read_footer(&*file, ID).unwrap().unwrap(), table);
        for byte in file.size().unwrap() - 256..file.size().unwrap() {
            disk.flip_bit(Path::new("/p"), byte, 3);
            assert_eq!(load_table(&*file, OWNER, ID).unwrap(), table, "byte {byte}");
            disk.flip_bit(Path::new("/p"), byte, 3);
        }
    }

    #[test]
    fn a_damaged_chunk_header_hides_no_other_chunk_from_a_walk() {
        let (disk, table) = sealed();
        disk.flip_bit(Path::new("/p"), u64::from(table[1].offset) + 30, 3);
        let file = disk.open(Path::new("/p"), Open::Read).unwrap();
        assert_eq!(walk(&*file, OWNER, ID).unwrap(), [table[0], table[2]]);
    }

    #[test]
    fn pack_names_come_back_and_others_are_not_taken() {
        assert_eq!(ID.file_name(), "0102030405060708-0a0b0c0d.pack");
        assert_eq!(PackId::parse("0102030405060708-0a0b0c0d.pack"), Some(ID));
        for name in ["0102030405060708-0A0b0c0d.pack", "1-1.pack", "head", "0102030405060708-0a0b0c0d"] {
            assert_eq!(PackId::parse(name), None, "{name}");
        }
    }
}
