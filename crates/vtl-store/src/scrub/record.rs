//! What is remembered of the scrub over a restart, and its bytes.
//!
//! Byte table: `docs/formats/scrub.md`.

use vtl_durable::sealed::Kind;
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::pack::PackId;

pub(crate) const NAME: &str = "scrub";
pub(crate) const KIND: Kind = Kind { magic: *b"VTLSCRB\0", version: 0 };
const PACK_BYTES: usize = 12;
/// Where a pass stands when all packs have been read.
pub(crate) const PACKS_DONE: PackId = PackId { epoch: u64::MAX, number: u32::MAX };

/// One reading of the whole pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Counted from 1.
    pub number: u64,
    /// Wall time in seconds since 1970.
    pub begun_s: u64,
    /// The same; 0 while it runs.
    pub finished_s: u64,
    /// Packs read so far.
    pub packs: u64,
    /// Bytes of files read so far.
    pub bytes: u64,
    /// Damaged chunks, files and parts of files that it found.
    pub damaged: u64,
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The last one that came to its end.
    pub(crate) last: Option<Pass>,
    /// The one that runs, and the pack that it reads next.
    pub(crate) current: Option<(Pass, PackId)>,
    /// Packs from here on were made later than this was written.
    pub(crate) next: PackId,
    /// Packs before that have not been read back since they were written, or were broken when they were.
    pub(crate) unread: Vec<PackId>,
}

impl Record {
    pub(crate) fn encode(&self, store_id: [u8; 16]) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.raw(&store_id);
        let (current, at) = self.current.unwrap_or_default();
        put_pass(&mut writer, &self.last.unwrap_or_default());
        put_pass(&mut writer, &current);
        at.put(&mut writer);
        self.next.put(&mut writer);
        writer.u64(self.unread.len() as u64);
        self.unread.iter().for_each(|pack| pack.put(&mut writer));
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8], store_id: [u8; 16]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.array::<16>("store id")? != store_id {
            return Err(Malformed { what: "store id", at: 0 });
        }
        let last = take_pass(&mut reader)?;
        let current = take_pass(&mut reader)?;
        let at = PackId::take(&mut reader)?;
        let next = PackId::take(&mut reader)?;
        let count = reader.count(PACK_BYTES, "number of packs")?;
        let unread = (0..count).map(|_| PackId::take(&mut reader)).collect::<Result<_, _>>()?;
        reader.end("scrub")?;
        Ok(Self { last, current: current.map(|pass| (pass, at)), next, unread })
    }
}

fn put_pass(writer: &mut Writer, pass: &Pass) {
    let Pass { number, begun_s, finished_s, packs, bytes, damaged } = pass;
    writer.u64(*number).u64(*begun_s).u64(*finished_s).u64(*packs).u64(*bytes).u64(*damaged);
}

fn take_pass(reader: &mut Reader<'_>) -> Result<Option<Pass>, Malformed> {
    let pass = Pass {
        number: reader.u64("pass")?,
        begun_s: reader.u64("beginning")?,
        finished_s: reader.u64("end")?,
        packs: reader.u64("packs")?,
        bytes: reader.u64("bytes")?,
        damaged: reader.u64("damaged")?,
    };
    Ok((pass.number > 0).then_some(pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_keeps_its_bytes() {
        let last = Pass { number: 1, begun_s: 2, finished_s: 3, packs: 4, bytes: 5, damaged: 6 };
        let current =
            Pass { number: 7, begun_s: 8, finished_s: 0, packs: 0x0a0b, bytes: 0x0102_0304_0506, damaged: 0 };
        let pack = |number| PackId { epoch: 0x1112_1314_1516_1718, number };
        let record = Record {
            last: Some(last),
            current: Some((current, pack(9))),
            next: pack(0x0a0b_0c0d),
            unread: vec![pack(3), pack(8)],
        };
        let mut bytes = [0x55; 16].to_vec();
        for field in [1_u8, 2, 3, 4, 5, 6, 7, 8, 0] {
            bytes.extend_from_slice(&[field, 0, 0, 0, 0, 0, 0, 0]);
        }
        bytes.extend_from_slice(b"\x0b\x0a\0\0\0\0\0\0\x06\x05\x04\x03\x02\x01\0\0\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x18\x17\x16\x15\x14\x13\x12\x11\x09\0\0\0");
        bytes.extend_from_slice(b"\x18\x17\x16\x15\x14\x13\x12\x11\x0d\x0c\x0b\x0a\x02\0\0\0\0\0\0\0");
        bytes.extend_from_slice(b"\x18\x17\x16\x15\x14\x13\x12\x11\x03\0\0\0");
        bytes.extend_from_slice(b"\x18\x17\x16\x15\x14\x13\x12\x11\x08\0\0\0");
        assert_eq!(record.encode([0x55; 16]), bytes);
        assert_eq!(Record::decode(&bytes, [0x55; 16]), Ok(record));
        assert!(Record::decode(&bytes, [0x54; 16]).is_err());
        for cut in 0..bytes.len() {
            assert!(Record::decode(&bytes[..cut], [0x55; 16]).is_err(), "{cut}");
        }
    }
}
