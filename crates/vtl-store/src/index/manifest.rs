//! The list of tables that count, and of packs that they know.
//!
//! Byte table: `docs/formats/index.md`.

use vtl_durable::sealed::Kind;
use vtl_durable::wire::{Malformed, Reader, Writer};

use super::packs::{Gone, GoneSet, RangeSet};
use super::record::PARTITIONS;

pub(crate) const NAME: &str = "manifest";
pub(crate) const KIND: Kind = Kind { magic: *b"VTLINMF\0", version: 0 };
const TABLE_BYTES: usize = 40;
const SLICE_BYTES: usize = 8;
const PAIR_BYTES: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) store_id: [u8; 16],
    pub(crate) next_table: u64,
    pub(crate) tables: Vec<TableLine>,
    pub(crate) slices: Vec<SliceLine>,
    pub(crate) covered: RangeSet,
    pub(crate) gone: GoneSet,
}

/// A table as the manifest names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TableLine {
    pub(crate) number: u64,
    pub(crate) age: u64,
    pub(crate) file_bytes: u64,
    pub(crate) least_pack: u64,
    pub(crate) most_pack: u64,
}

/// The partitions in which a table is still used; the table by its place in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SliceLine {
    pub(crate) table: u32,
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let room = 56
            + self.tables.len() * TABLE_BYTES
            + self.slices.len() * SLICE_BYTES
            + (self.covered.len() + self.gone.iter().len()) * PAIR_BYTES;
        let mut writer = Writer::with_capacity(room);
        writer.raw(&self.store_id).u64(self.next_table).u64(self.tables.len() as u64);
        for table in &self.tables {
            writer.u64(table.number).u64(table.age).u64(table.file_bytes);
            writer.u64(table.least_pack).u64(table.most_pack);
        }
        writer.u64(self.slices.len() as u64);
        for slice in &self.slices {
            writer.u32(slice.table).u16(slice.first).u16(slice.last);
        }
        writer.u64(self.covered.len() as u64);
        for (first, last) in self.covered.iter() {
            writer.u64(first).u64(last);
        }
        writer.u64(self.gone.iter().len() as u64);
        for gone in self.gone.iter() {
            writer.u64(gone.pack).u64(gone.since);
        }
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut manifest = Self {
            store_id: reader.array("store id")?,
            next_table: reader.u64("next table")?,
            ..Self::default()
        };
        for _ in 0..reader.count(TABLE_BYTES, "number of tables")? {
            let table = take_table(&mut reader)?;
            if table.number >= manifest.next_table {
                return Err(reader.malformed("table number"));
            }
            manifest.tables.push(table);
        }
        for _ in 0..reader.count(SLICE_BYTES, "number of slices")? {
            let slice = take_slice(&mut reader, manifest.tables.len())?;
            manifest.slices.push(slice);
        }
        let mut next = Some(0);
        for _ in 0..reader.count(PAIR_BYTES, "number of covered ranges")? {
            let (first, last) = (reader.u64("first pack")?, reader.u64("last pack")?);
            if next.is_none_or(|next| first < next) || last < first {
                return Err(reader.malformed("covered range"));
            }
            manifest.covered.insert(first, last);
            next = last.checked_add(2);
        }
        for _ in 0..reader.count(PAIR_BYTES, "number of removed packs")? {
            let gone = Gone { pack: reader.u64("removed pack")?, since: reader.u64("table number")? };
            manifest.gone.push_last(gone).ok_or(reader.malformed("removed pack"))?;
        }
        reader.end("manifest")?;
        Ok(manifest)
    }
}

fn take_table(reader: &mut Reader<'_>) -> Result<TableLine, Malformed> {
    Ok(TableLine {
        number: reader.u64("table number")?,
        age: reader.u64("age")?,
        file_bytes: reader.u64("file bytes")?,
        least_pack: reader.u64("smallest pack")?,
        most_pack: reader.u64("largest pack")?,
    })
}

fn take_slice(reader: &mut Reader<'_>, tables: usize) -> Result<SliceLine, Malformed> {
    let slice = SliceLine {
        table: reader.u32("table of a slice")?,
        first: reader.u16("first partition")?,
        last: reader.u16("last partition")?,
    };
    let right = (slice.table as usize) < tables && slice.first <= slice.last && slice.last < PARTITIONS;
    if right { Ok(slice) } else { Err(reader.malformed("slice")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::Random;

    fn sample() -> Manifest {
        let table = TableLine {
            number: 0x0102_0304_0506_0708,
            age: 7,
            file_bytes: 0x1_0000,
            least_pack: 3,
            most_pack: 0x0a0b_0c0d_0e0f,
        };
        let mut manifest = Manifest {
            store_id: [0x55; 16],
            next_table: 0x0102_0304_0506_0709,
            tables: vec![table],
            slices: vec![SliceLine { table: 0, first: 0x0102, last: 0x0fff }],
            ..Manifest::default()
        };
        manifest.covered.insert(3, 5);
        manifest.covered.insert(9, 9);
        manifest.gone.insert(Gone { pack: 4, since: 6 }, 10);
        manifest
    }

    #[test]
    fn a_manifest_keeps_its_bytes() {
        let mut expected = vec![0x55; 16];
        expected.extend_from_slice(b"\x09\x07\x06\x05\x04\x03\x02\x01\x01\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x07\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0");
        expected.extend_from_slice(b"\x03\0\0\0\0\0\0\0\x0f\x0e\x0d\x0c\x0b\x0a\0\0");
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\0\0\0\0\x02\x01\xff\x0f");
        expected.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x09\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0");
        assert_eq!(sample().encode(), expected);
        assert_eq!(Manifest::decode(&expected), Ok(sample()));
    }

    #[test]
    fn changed_bytes_never_panic_the_reader_and_never_give_what_cannot_be() {
        let mut random = Random(4);
        for _ in 0..50_000 {
            let mut bytes = sample().encode();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            bytes.truncate(bytes.len() - random.below(2) as usize * random.below(80) as usize);
            if let Ok(manifest) = Manifest::decode(&bytes) {
                assert_eq!(manifest.encode(), bytes);
                assert!(manifest.slices.iter().all(|slice| slice.last < 4096));
            }
            let len = random.below(300) as usize;
            let _ = Manifest::decode(&random.bytes(len));
        }
    }
}
