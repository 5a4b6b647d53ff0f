//! The parts of a segment beside its pages: hooks and filter.
//!
//! Byte tables: `docs/formats/index.md`. Everything here checks what it reads; nothing here reads or writes files.

use vtl_durable::wire::{Malformed, Reader, Writer};

use super::filter::Shape;
use super::record::{Key, Known, Place, Record};

const HOOK_BYTES: usize = 20;
const HOOKS_AT: usize = 16;

/// Which segment of which table a part belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartId {
    pub(crate) table: u64,
    pub(crate) segment: u32,
}

impl PartId {
    fn put(self, writer: &mut Writer) {
        writer.u64(self.table).u32(self.segment);
    }

    fn check(self, bytes: &[u8]) -> Result<Reader<'_>, Malformed> {
        let end = Malformed { what: "checksum of a part", at: bytes.len() };
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or(end)?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*crc) {
            return Err(end);
        }
        let mut reader = Reader::new(covered);
        let found = Self { table: reader.u64("table number")?, segment: reader.u32("segment number")? };
        if found == self { Ok(reader) } else { Err(reader.malformed("part of another segment")) }
    }
}

/// A sampled record: enough of the key, and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hook {
    pub(crate) high: u64,
    pub(crate) bits: u32,
    pub(crate) known: Known,
}

impl Hook {
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let bits = record.key.hook_bits()?;
        Some(Self { high: record.key.high(), bits, known: record.known })
    }
}

/// The hooks of a segment while they are gathered, as the bytes that they will be.
#[derive(Debug)]
pub(crate) struct HookPart(Vec<u8>);

impl HookPart {
    /// Room for all records of a segment: those that are dead were mostly hooks before, so that no share is typical.
    pub(crate) fn for_records(records: usize) -> Self {
        let mut bytes = Vec::with_capacity(Self::memory_bytes(records));
        bytes.resize(HOOKS_AT, 0);
        Self(bytes)
    }

    pub(crate) fn memory_bytes(records: usize) -> usize {
        HOOKS_AT + records * HOOK_BYTES + 4
    }

    pub(crate) fn push(&mut self, hook: &Hook) {
        let place = hook.known.place();
        self.0.extend_from_slice(&hook.high.to_be_bytes());
        self.0.extend_from_slice(&place.pack.to_le_bytes());
        self.0.extend_from_slice(&place.chunk.to_le_bytes());
        self.0.extend_from_slice(&[hook.bits as u8, u8::from(hook.known.is_dead())]);
    }

    /// The finished part.
    pub(crate) fn seal(&mut self, id: PartId) -> &[u8] {
        let count = (self.0.len() - HOOKS_AT) / HOOK_BYTES;
        let mut head = Writer::with_capacity(HOOKS_AT);
        id.put(&mut head);
        head.u32(count as u32);
        self.0.iter_mut().zip(head.as_slice()).for_each(|(byte, value)| *byte = *value);
        let crc = crc32c::crc32c(&self.0);
        self.0.extend_from_slice(&crc.to_le_bytes());
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.truncate(HOOKS_AT);
    }
}

/// Calls `each` for every hook, in the order of their keys.
pub(crate) fn decode_hooks(id: PartId, bytes: &[u8], mut each: impl FnMut(Hook)) -> Result<(), Malformed> {
    let mut reader = id.check(bytes)?;
    let count = reader.u32("hook count")?;
    if reader.left() as u64 != u64::from(count) * HOOK_BYTES as u64 {
        return Err(reader.malformed("hook count"));
    }
    for _ in 0..count {
        let high = reader.array("hook").map(u64::from_be_bytes)?;
        let place = Place { pack: reader.u64("pack")?, chunk: reader.u16("chunk")? };
        let bits = u32::from(reader.u8("bits")?);
        each(Hook { high, bits, known: Known::new(place, reader.u8("flags")? & 1 != 0) });
    }
    Ok(())
}

/// The filter of a segment and the fences that name the page of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    shape: Shape,
    first: u64,
    fence_shift: u8,
    fences: Box<[u16]>,
    bytes: Box<[u8]>,
}

/// The filter part of a segment whose pages begin with `firsts`.
pub(crate) fn encode_filter(id: PartId, firsts: &[u64], shape: Shape, bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::with_capacity(36 + firsts.len() * 2 + bytes.len());
    id.put(&mut writer);
    let base = firsts.first().copied().unwrap_or_default();
    let reach = firsts.last().map_or(0, |last| last.saturating_sub(base));
    let shift = (u64::BITS - reach.leading_zeros()).saturating_sub(u16::BITS);
    writer
        .u32(firsts.len() as u32)
        .u64(shape.seed)
        .u32(shape.blocks)
        .u8(shape.block_log2)
        .u8(shift as u8)
        .u16(0);
    for first in firsts {
        writer.u16((first.saturating_sub(base) >> shift) as u16);
    }
    writer.raw(bytes).crc();
    writer.into_bytes()
}

impl Filter {
    /// Verifies a part against what the directory says of the segment.
    pub(crate) fn decode(id: PartId, pages: u32, first: u64, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = id.check(bytes)?;
        if reader.u32("pages")? != pages {
            return Err(reader.malformed("pages"));
        }
        let shape = Shape {
            seed: reader.u64("seed")?,
            blocks: reader.u32("blocks")?,
            block_log2: reader.u8("block size")?,
        };
        let fence_shift = reader.u8("fence shift")?;
        reader.u16("reserved")?;
        if u32::from(fence_shift) >= u64::BITS {
            return Err(reader.malformed("fence shift"));
        }
        let fences = reader.raw(pages as usize * 2, "fences")?;
        let fences: Box<[u16]> =
            fences.as_chunks::<2>().0.iter().map(|fence| u16::from_le_bytes(*fence)).collect();
        let expected = shape.bytes().ok_or(reader.malformed("filter shape"))?;
        let bytes = reader.raw(expected, "filter")?;
        reader.end("filter")?;
        if fences.is_empty() || !fences.is_sorted() {
            return Err(reader.malformed("fences"));
        }
        Ok(Self { shape, first, fence_shift, fences, bytes: bytes.into() })
    }

    pub(crate) fn may_contain(&self, key: Key) -> bool {
        self.shape.may_contain(&self.bytes, key)
    }

    /// Pages of the segment in which the key can be, first and last: one, seldom two, if keys are random.
    pub(crate) fn pages(&self, key: Key) -> (u32, u32) {
        let fence = key.high().saturating_sub(self.first) >> self.fence_shift;
        let below = |limit: u64| self.fences.partition_point(|fence| u64::from(*fence) < limit) as u32;
        let last = below(fence.saturating_add(1)).saturating_sub(1);
        // A page whose fence equals the key's may begin behind the key.
        (below(fence).saturating_sub(1).min(last), last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::filter::Builder;
    use crate::index::tests::{Random, random_key};

    const PART: PartId = PartId { table: 0x0102_0304_0506_0708, segment: 0x0a0b_0c0d };

    #[test]
    fn hooks_keep_their_bytes() {
        let known = Known::Dead(Place { pack: 0x1112, chunk: 0x2122 });
        let hook = Hook { high: 0x0102_0304_0506_0708, bits: 6, known };
        let mut part = HookPart::for_records(1);
        part.push(&hook);
        part.seal(PART);
        part.clear();
        part.push(&hook);
        let bytes = part.seal(PART).to_vec();
        assert_eq!(bytes.len(), 40);
        let mut expected = b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a\x01\0\0\0".to_vec();
        expected.extend_from_slice(b"\x01\x02\x03\x04\x05\x06\x07\x08\x12\x11\0\0\0\0\0\0\x22\x21\x06\x01");
        assert_eq!(bytes[..36], expected);
        assert_eq!(bytes[36..], crc32c::crc32c(&expected).to_le_bytes());
        let mut found = Vec::new();
        decode_hooks(PART, &bytes, |hook| found.push(hook)).unwrap();
        assert_eq!(found, [hook]);
        assert!(decode_hooks(PartId { segment: 1, ..PART }, &bytes, |_| ()).is_err());
    }

    #[test]
    fn a_filter_keeps_its_bytes() {
        let shape = Shape { seed: 0x4142_4344_4546_4748, blocks: 1, block_log2: 2 };
        let firsts = [0x1000_0000, 0x1002_0000, 0x1003_ffff];
        let bytes = encode_filter(PART, &firsts, shape, b"abcdefghijkl");
        assert_eq!(bytes.len(), 54);
        let mut expected = b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a\x03\0\0\0".to_vec();
        expected.extend_from_slice(b"\x48\x47\x46\x45\x44\x43\x42\x41\x01\0\0\0\x02\x02\0\0");
        expected.extend_from_slice(b"\0\0\0\x80\xff\xffabcdefghijkl");
        assert_eq!(bytes[..50], expected);
        assert_eq!(bytes[50..], crc32c::crc32c(&expected).to_le_bytes());
        let filter = Filter::decode(PART, 3, firsts[0], &bytes).unwrap();
        assert_eq!(filter.pages(Key::from_halves(0x1000_0000, 0)), (0, 0));
        assert_eq!(filter.pages(Key::from_halves(0x1001_ffff, 0)), (0, 0));
        assert_eq!(filter.pages(Key::from_halves(0x1002_0000, 0)), (0, 1));
        assert_eq!(filter.pages(Key::from_halves(0x1002_0004, 0)), (1, 1));
        assert_eq!(filter.pages(Key(u128::MAX)), (2, 2));
    }

    #[test]
    fn a_filter_answers_as_the_format_text_says() {
        // Computed from the text of docs/formats/index.md by hand-written arithmetic, not by `Shape`.
        let keys: Vec<Key> = (0..500).map(random_key).collect();
        let mut builder = Builder::for_keys(keys.len());
        let (shape, bytes) = builder.build(&keys);
        let mix = |mut x: u64| {
            x ^= x >> 33;
            x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
            x ^= x >> 33;
            x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            x ^ (x >> 33)
        };
        let block = 1_u64 << shape.block_log2;
        for key in keys {
            let h = mix(mix(key.high().wrapping_add(shape.seed)) ^ key.low());
            let i0 = ((u128::from(h) * u128::from(u64::from(shape.blocks) * block)) >> 64) as u64;
            let i1 = (i0 + block) ^ ((h >> 18) & (block - 1));
            let i2 = (i0 + 2 * block) ^ (h & (block - 1));
            let sum = bytes[i0 as usize] ^ bytes[i1 as usize] ^ bytes[i2 as usize];
            assert_eq!(u64::from(sum), (h ^ (h >> 32)) & 0xff);
        }
    }

    #[test]
    fn random_bytes_with_a_right_checksum_never_panic_the_parsers() {
        let mut random = Random(9);
        let sealed = |mut bytes: Vec<u8>| {
            let crc = crc32c::crc32c(&bytes);
            bytes.extend_from_slice(&crc.to_le_bytes());
            bytes
        };
        for round in 0..20_000 {
            let mut bytes = random.bytes(12 + round % 300);
            bytes[..12].copy_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a");
            if let (Some(count), true) = (bytes.get_mut(12..16), round % 2 == 0) {
                count.copy_from_slice(&(random.below(20) as u32).to_le_bytes());
            }
            let bytes = sealed(bytes);
            let _ = decode_hooks(PART, &bytes, |_| ());
            if let Ok(filter) = Filter::decode(PART, random.below(20) as u32, random.next(), &bytes) {
                filter.may_contain(random_key(1));
                filter.pages(random_key(1));
            }
        }
    }
}
