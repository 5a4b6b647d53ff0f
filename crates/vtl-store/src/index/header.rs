//! The header of a table and the directory of its segments.
//!
//! Byte tables: `docs/formats/index.md`.

use vtl_durable::wire::{Malformed, Reader, Writer};

use super::page::{PAGE_BYTES, RECORDS};
use super::record::{HOOK_BITS, MOST_HOOK_BITS};

const MAGIC: [u8; 8] = *b"VTLINDX\0";
pub(crate) const VERSION: u32 = 0;
const HEADER_FIELDS: usize = 144;
pub(crate) const DIRECTORY_ENTRY: usize = 24;
/// Sparseness of hooks from 1 of 64 to 1 of 32768.
pub(crate) const HOOK_LEVELS: usize = (MOST_HOOK_BITS - HOOK_BITS + 1) as usize;

/// The head of a table file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) store_id: [u8; 16],
    pub(crate) table: u64,
    pub(crate) records: u64,
    pub(crate) least_pack: u64,
    pub(crate) most_pack: u64,
    pub(crate) segment_pages: u32,
    pub(crate) segments: u32,
    pub(crate) directory_at: u64,
    pub(crate) filter_bytes: u64,
    /// Hooks with at least 6, 7, … zero bits.
    pub(crate) hooks: [u32; HOOK_LEVELS],
    /// First half of the last key.
    pub(crate) last: u64,
    pub(crate) directory_crc: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(PAGE_BYTES);
        writer.raw(&MAGIC).u32(VERSION).u32(PAGE_BYTES as u32).raw(&self.store_id).u64(self.table);
        writer.u64(self.records).u64(self.least_pack).u64(self.most_pack);
        writer.u32(self.segment_pages).u32(self.segments).u64(self.directory_at).u64(self.filter_bytes);
        for hooks in self.hooks {
            writer.u32(hooks);
        }
        writer.raw(&self.last.to_be_bytes()).u32(self.directory_crc).crc().pad_to(PAGE_BYTES);
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let magic = reader.array::<8>("table magic")?;
        let (version, page) = (reader.u32("table version")?, reader.u32("page size")?);
        let mut header = Self {
            store_id: reader.array("store id")?,
            table: reader.u64("table number")?,
            records: reader.u64("records")?,
            least_pack: reader.u64("smallest pack")?,
            most_pack: reader.u64("largest pack")?,
            segment_pages: reader.u32("segment pages")?,
            segments: reader.u32("segments")?,
            directory_at: reader.u64("directory offset")?,
            filter_bytes: reader.u64("filter bytes")?,
            hooks: [0; HOOK_LEVELS],
            last: 0,
            directory_crc: 0,
        };
        for hooks in &mut header.hooks {
            *hooks = reader.u32("hook count")?;
        }
        header.last = reader.array("last key").map(u64::from_be_bytes)?;
        header.directory_crc = reader.u32("directory checksum")?;
        let crc = reader.u32("header checksum")?;
        let covered = bytes.get(..HEADER_FIELDS - 4).ok_or(reader.malformed("header"))?;
        if magic != MAGIC || crc != crc32c::crc32c(covered) {
            return Err(Malformed { what: "table header", at: 0 });
        }
        if version != VERSION || page != PAGE_BYTES as u32 {
            return Err(Malformed { what: "table of an unknown version", at: 8 });
        }
        header.check().ok_or(Malformed { what: "table header", at: 40 })?;
        Ok(header)
    }

    /// The counts agree with each other.
    fn check(&self) -> Option<()> {
        let segment = u64::from(self.segment_pages).checked_mul(RECORDS as u64)?;
        let fits = segment > 0 && self.records > 0 && self.pages() <= u64::from(u32::MAX);
        (fits && self.records.div_ceil(segment) == u64::from(self.segments)).then_some(())
    }

    pub(crate) fn pages(&self) -> u64 {
        self.records.div_ceil(RECORDS as u64)
    }

    /// Pages of one segment: the last may have fewer.
    pub(crate) fn pages_of(&self, segment: u32) -> u32 {
        let before = u64::from(segment) * u64::from(self.segment_pages);
        let left = self.pages().saturating_sub(before);
        left.min(u64::from(self.segment_pages)) as u32
    }

    pub(crate) fn directory_bytes(&self) -> u64 {
        u64::from(self.segments) * DIRECTORY_ENTRY as u64
    }
}

/// Where a segment is and what it begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectoryEntry {
    pub(crate) first: u64,
    pub(crate) offset: u64,
    pub(crate) hook_bytes: u32,
    pub(crate) filter_bytes: u32,
}

impl DirectoryEntry {
    pub(crate) fn put(&self, writer: &mut Writer) {
        writer.raw(&self.first.to_be_bytes()).u64(self.offset).u32(self.hook_bytes).u32(self.filter_bytes);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            first: reader.array("first key").map(u64::from_be_bytes)?,
            offset: reader.u64("segment offset")?,
            hook_bytes: reader.u32("hook bytes")?,
            filter_bytes: reader.u32("filter bytes")?,
        })
    }
}

/// The directory of a table, verified against its header: segments lie inside the file, in the order of their keys.
pub(crate) fn decode_directory(bytes: &[u8], header: &Header) -> Result<Vec<DirectoryEntry>, Malformed> {
    let mut reader = Reader::new(bytes);
    if bytes.len() as u64 != header.directory_bytes() || crc32c::crc32c(bytes) != header.directory_crc {
        return Err(reader.malformed("directory checksum"));
    }
    let mut entries = Vec::with_capacity(bytes.len() / DIRECTORY_ENTRY);
    let (mut end, mut filters) = (PAGE_BYTES as u64, 0_u64);
    for segment in 0..header.segments {
        let entry = DirectoryEntry::take(&mut reader)?;
        let pages = u64::from(header.pages_of(segment)) * PAGE_BYTES as u64;
        let parts = u64::from(entry.hook_bytes) + u64::from(entry.filter_bytes);
        let sorted = entries.last().is_none_or(|last: &DirectoryEntry| last.first <= entry.first);
        if entry.offset != end || !sorted {
            return Err(reader.malformed("directory entry"));
        }
        end = entry.offset.saturating_add(pages).saturating_add(parts).next_multiple_of(PAGE_BYTES as u64);
        filters = filters.saturating_add(u64::from(entry.filter_bytes));
        entries.push(entry);
    }
    if end != header.directory_at || filters != header.filter_bytes {
        return Err(reader.malformed("directory"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::Random;

    fn header() -> Header {
        Header {
            store_id: [0x55; 16],
            table: 0x0102_0304_0506_0708,
            records: 1000,
            least_pack: 3,
            most_pack: 0x7172_7374_7576_7778,
            segment_pages: 4,
            segments: 2,
            directory_at: 0x0011_2233_4455,
            filter_bytes: 0x9999,
            hooks: [10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
            last: 0x3132_3334_3536_3738,
            directory_crc: 0xaabb_ccdd,
        }
    }

    #[test]
    fn a_table_header_keeps_its_bytes() {
        let bytes = header().encode();
        let mut expected = b"VTLINDX\0\0\0\0\0\0\x10\0\0".to_vec();
        expected.extend_from_slice(&[0x55; 16]);
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\xe8\x03\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x03\0\0\0\0\0\0\0\x78\x77\x76\x75\x74\x73\x72\x71");
        expected.extend_from_slice(b"\x04\0\0\0\x02\0\0\0\x55\x44\x33\x22\x11\0\0\0\x99\x99\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x0a\0\0\0\x09\0\0\0\x08\0\0\0\x07\0\0\0\x06\0\0\0");
        expected.extend_from_slice(b"\x05\0\0\0\x04\0\0\0\x03\0\0\0\x02\0\0\0\x01\0\0\0");
        expected.extend_from_slice(b"\x31\x32\x33\x34\x35\x36\x37\x38\xdd\xcc\xbb\xaa");
        assert_eq!(bytes[..140], expected);
        assert_eq!(bytes[140..144], crc32c::crc32c(&expected).to_le_bytes());
        assert!(bytes[144..].iter().all(|byte| *byte == 0));
        assert_eq!(bytes.len(), 4096);
        assert_eq!(Header::decode(&bytes), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let mut bytes = header().encode();
        for bit in 0..144 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bytes).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn a_directory_entry_keeps_its_bytes() {
        let entry = DirectoryEntry {
            first: 0x0102_0304_0506_0708,
            offset: 0x1000,
            hook_bytes: 0x2122,
            filter_bytes: 0x3132,
        };
        let mut writer = Writer::new();
        entry.put(&mut writer);
        let expected = *b"\x01\x02\x03\x04\x05\x06\x07\x08\0\x10\0\0\0\0\0\0\x22\x21\0\0\x32\x31\0\0";
        assert_eq!(writer.into_bytes(), expected);
        assert_eq!(DirectoryEntry::take(&mut Reader::new(&expected)), Ok(entry));
    }

    #[test]
    fn random_fields_with_a_right_checksum_never_panic_the_readers() {
        let mut random = Random(9);
        for _ in 0..20_000 {
            let mut head = header().encode();
            for _ in 0..4 {
                head[16 + random.below(124) as usize] = random.next() as u8;
            }
            let crc = crc32c::crc32c(&head[..140]);
            head[140..144].copy_from_slice(&crc.to_le_bytes());
            if let Ok(mut header) = Header::decode(&head) {
                header.segments = header.segments.min(20);
                let directory = random.bytes(header.directory_bytes() as usize);
                header.directory_crc = crc32c::crc32c(&directory);
                let _ = decode_directory(&directory, &header);
            }
        }
    }
}
