//! A page of a table: up to 156 records in the order of their keys.
//!
//! Byte table: `docs/formats/index.md`.

use vtl_durable::wire::{Malformed, Reader, Writer};

use super::record::{Key, Known, Place, Record};

pub(crate) const PAGE_BYTES: usize = 4096;
pub(crate) const RECORD_BYTES: usize = 26;
pub(crate) const RECORDS: usize = 156;
const RECORDS_AT: usize = 40;
const FLAG_BYTES: usize = 20;

/// Which page it must be, so that none of another table or place is taken for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PageId {
    pub(crate) table: u64,
    pub(crate) page: u32,
}

/// Appends a page of 4096 bytes. Records beyond the first 156 are not written: the caller gives no more.
pub(crate) fn encode(id: PageId, records: &[Record], out: &mut Vec<u8>) {
    let records = records.get(..RECORDS).unwrap_or(records);
    let mut flags = [0_u8; FLAG_BYTES];
    for (byte, eight) in flags.iter_mut().zip(records.chunks(8)) {
        let dead = eight.iter().enumerate().filter(|(_, record)| record.known.is_dead());
        *byte = dead.fold(0, |bits, (bit, _)| bits | 1 << bit);
    }
    let mut writer = Writer::with_capacity(PAGE_BYTES);
    writer.u32(id.page).u64(id.table).u16(records.len() as u16).u16(0).raw(&flags);
    for record in records {
        let place = record.known.place();
        writer.raw(&record.key.to_bytes()).u64(place.pack).u16(place.chunk);
    }
    writer.pad_to(PAGE_BYTES - 4);
    out.extend_from_slice(&crc32c::crc32c(writer.as_slice()).to_le_bytes());
    out.extend_from_slice(writer.as_slice());
}

/// A page that has been verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'a> {
    flags: &'a [u8],
    records: &'a [u8],
}

impl<'a> Page<'a> {
    /// Verifies a page: only what was written as this page passes.
    pub(crate) fn verify(bytes: &'a [u8], id: PageId) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let crc = reader.u32("page checksum")?;
        let covered = bytes.get(4..PAGE_BYTES).ok_or(reader.malformed("page"))?;
        if crc != crc32c::crc32c(covered) {
            return Err(reader.malformed("page checksum"));
        }
        let found = PageId { page: reader.u32("page number")?, table: reader.u64("table number")? };
        if found != id {
            return Err(reader.malformed("page of another place"));
        }
        let count = usize::from(reader.u16("record count")?);
        reader.u16("reserved")?;
        let flags = reader.raw(FLAG_BYTES, "flags")?;
        if !(1..=RECORDS).contains(&count) {
            return Err(reader.malformed("record count"));
        }
        Ok(Self { flags, records: reader.raw(count * RECORD_BYTES, "records")? })
    }

    /// A page that was verified before, when it was put where it is now.
    pub(crate) fn verified(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes.get(16..)?);
        let count = usize::from(reader.u16("record count").ok()?).min(RECORDS);
        let flags = bytes.get(RECORDS_AT - FLAG_BYTES..RECORDS_AT)?;
        let records = bytes.get(RECORDS_AT..RECORDS_AT + count * RECORD_BYTES)?;
        Some(Self { flags, records })
    }

    pub(crate) fn len(self) -> usize {
        self.records.len() / RECORD_BYTES
    }

    fn key(self, index: usize) -> Option<Key> {
        let at = index * RECORD_BYTES;
        let bytes: [u8; 16] = self.records.get(at..at + 16)?.try_into().ok()?;
        Some(Key::from_bytes(bytes))
    }

    pub(crate) fn record(self, index: usize) -> Option<Record> {
        let key = self.key(index)?;
        let mut reader = Reader::new(self.records.get(index * RECORD_BYTES + 16..)?);
        let place = Place { pack: reader.u64("pack").ok()?, chunk: reader.u16("chunk").ok()? };
        let dead = self.flags.get(index / 8).is_some_and(|byte| byte & 1 << (index % 8) != 0);
        Some(Record { key, known: Known::new(place, dead) })
    }

    pub(crate) fn first_key(self) -> Option<Key> {
        self.key(0)
    }

    /// How many records have smaller keys.
    pub(crate) fn records_before(self, key: Key) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle).is_some_and(|found| found < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(crate) fn find(self, key: Key) -> Option<Known> {
        let record = self.record(self.records_before(key))?;
        (record.key == key).then_some(record.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::{Random, random_key};

    const ID: PageId = PageId { table: 0x0102_0304_0506_0708, page: 0x0a0b_0c0d };

    #[test]
    fn a_page_keeps_its_bytes() {
        let known = [
            Known::Live(Place { pack: 0x1112_1314_1516_1718, chunk: 0x2122 }),
            Known::Dead(Place { pack: 1, chunk: 2 }),
        ];
        let key = Key::from_bytes(*b"0123456789abcdef");
        let records = [Record { key, known: known[0] }, Record { key: Key(u128::MAX), known: known[1] }];
        let mut bytes = Vec::new();
        encode(ID, &records, &mut bytes);
        let mut expected = b"\x0d\x0c\x0b\x0a\x08\x07\x06\x05\x04\x03\x02\x01\x02\0\0\0".to_vec();
        expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"0123456789abcdef\x18\x17\x16\x15\x14\x13\x12\x11\x22\x21");
        expected.extend_from_slice(&[0xff; 16]);
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x02\0");
        expected.resize(4092, 0);
        assert_eq!(bytes[4..], expected);
        assert_eq!(bytes[..4], crc32c::crc32c(&expected).to_le_bytes());
        let page = Page::verify(&bytes, ID).unwrap();
        assert_eq!((page.record(0), page.record(1)), (Some(records[0]), Some(records[1])));
        assert_eq!(page.find(key), Some(known[0]));
        assert_eq!(page.find(Key(0)), None);
    }

    #[test]
    fn a_full_page_is_exactly_its_size_and_finds_each_record() {
        let mut keys: Vec<Key> = (0..156).map(random_key).collect();
        keys.sort();
        let record = |(chunk, key): (usize, &Key)| {
            let place = Place { pack: 9, chunk: chunk as u16 };
            Record { key: *key, known: Known::new(place, chunk % 3 == 0) }
        };
        let records: Vec<Record> = keys.iter().enumerate().map(record).collect();
        let mut bytes = vec![0xa5; 3];
        encode(ID, &records, &mut bytes);
        assert_eq!(bytes.len(), 3 + 4096);
        let page = Page::verify(&bytes[3..], ID).unwrap();
        for record in &records {
            assert_eq!(page.find(record.key), Some(record.known));
        }
        assert_eq!(page.find(random_key(200)), None);
    }

    #[test]
    fn a_page_of_another_table_or_place_and_every_flipped_bit_is_refused() {
        let record = Record { key: random_key(1), known: Known::Live(Place { pack: 1, chunk: 1 }) };
        let mut bytes = Vec::new();
        encode(ID, &[record], &mut bytes);
        assert!(Page::verify(&bytes, PageId { table: 1, ..ID }).is_err());
        assert!(Page::verify(&bytes, PageId { page: 1, ..ID }).is_err());
        for bit in 0..4096 * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::verify(&bytes, ID).is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn random_bytes_with_a_right_checksum_never_panic_the_reader() {
        let mut random = Random(5);
        for _ in 0..2000 {
            let mut bytes = random.bytes(PAGE_BYTES);
            bytes[4..16].copy_from_slice(b"\x0d\x0c\x0b\x0a\x08\x07\x06\x05\x04\x03\x02\x01");
            let crc = crc32c::crc32c(&bytes[4..]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            if let Ok(page) = Page::verify(&bytes, ID) {
                page.find(random_key(1));
                assert_eq!((0..200).filter_map(|index| page.record(index)).count(), page.len());
            }
            let short = &bytes[..random.below(4096) as usize];
            assert!(Page::verify(short, ID).is_err());
            Page::verified(short).and_then(|page| page.find(random_key(2)));
        }
    }
}
