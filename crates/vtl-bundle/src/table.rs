//! The table behind the frames of a chunk object: how long each body is, so that a frame is reached without reading those before it. Byte
//! table: `docs/formats/bundle.md`.

use crate::error::Fault;

const MAGIC: [u8; 4] = *b"VTLX";
/// Magic and count in front, a checksum behind.
const FRAME: u64 = 12;
const ENTRY: u64 = 4;
/// The checksum at its end.
pub(crate) const CRC: u64 = 4;

/// Bytes of the table of so many frames.
pub(crate) const fn len(frames: u64) -> u64 {
    FRAME.saturating_add(frames.saturating_mul(ENTRY))
}

/// Its bytes.
pub(crate) fn encode(lengths: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len(lengths.len() as u64) as usize);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&(lengths.len() as u32).to_le_bytes());
    bytes.extend(lengths.iter().flat_map(|length| length.to_le_bytes()));
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The lengths, of `frames` frames.
pub(crate) fn decode(bytes: &[u8], frames: u64) -> Result<impl ExactSizeIterator<Item = u32>, Fault> {
    if (bytes.len() as u64) < len(frames) {
        return Err(Fault::Cut);
    }
    let Some((front, crc)) = bytes.split_last_chunk::<4>() else { return Err(Fault::Cut) };
    if u32::from_le_bytes(*crc) != crc32fast::hash(front) {
        return Err(Fault::Damaged);
    }
    let Some((magic, rest)) = front.split_first_chunk::<4>() else { return Err(Fault::Cut) };
    let Some((count, entries)) = rest.split_first_chunk::<4>() else { return Err(Fault::Cut) };
    let (entries, more) = entries.as_chunks::<4>();
    let counts = [u64::from(u32::from_le_bytes(*count)), entries.len() as u64];
    if *magic != MAGIC || counts != [frames; 2] || !more.is_empty() {
        return Err(Fault::Malformed("frame table"));
    }
    Ok(entries.iter().map(|entry| u32::from_le_bytes(*entry)))
}

/// A table up to its checksum, of which only hashes are kept: an object may have more frames than there is memory for.
#[derive(Default)]
pub(crate) struct Passing {
    crc: crc32fast::Hasher,
    hash: blake3::Hasher,
}

impl Passing {
    /// What the table of so many frames begins with; the length of each body follows.
    pub(crate) fn begin(frames: u64) -> Self {
        let mut begun = Self::default();
        begun.add(&MAGIC);
        begun.add(&(frames as u32).to_le_bytes());
        begun
    }

    /// The next bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        self.hash.update(bytes);
    }

    /// Whether `found`, with this checksum behind it, is this table.
    pub(crate) fn compare(self, found: Self, crc: [u8; 4]) -> Result<(), Fault> {
        if u32::from_le_bytes(crc) != found.crc.finalize() {
            return Err(Fault::Damaged);
        }
        let same = self.hash.finalize() == found.hash.finalize();
        if same { Ok(()) } else { Err(Fault::Malformed("frame table")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed out from docs/formats/bundle.md; the CRC-32 is zlib's.
    #[rustfmt::skip]
    const BYTES: [u8; 20] = [
        b'V', b'T', b'L', b'X', 2, 0, 0, 0, 0x10, 0x02, 0, 0, 0x01, 0, 0x04, 0, // magic, count, two lengths
        0xb8, 0xf5, 0x9c, 0x90, // CRC-32
    ];

    #[test]
    fn a_table_keeps_its_bytes() {
        assert_eq!(encode(&[0x210, 0x4_0001]), BYTES);
        assert_eq!(decode(&BYTES, 2).unwrap().collect::<Vec<_>>(), [0x210, 0x4_0001]);
        assert_eq!(len(2), 20);
    }

    #[test]
    fn every_wrong_bit_every_other_length_and_another_count_are_seen() {
        for bit in 0..BYTES.len() * 8 {
            let mut wrong = BYTES;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&wrong, 2).is_err(), "bit {bit}");
        }
        for len in 0..BYTES.len() {
            assert!(decode(&BYTES[..len], 2).is_err(), "{len} bytes");
        }
        assert!(matches!(decode(&BYTES, 1), Err(Fault::Malformed("frame table"))));
    }

    #[test]
    fn a_table_that_passes_is_compared_with_what_the_frames_say() {
        let passed = |bytes: &[u8; 20]| {
            let mut wanted = Passing::begin(2);
            for length in [0x210_u32, 0x4_0001] {
                wanted.add(&length.to_le_bytes());
            }
            let (front, crc) = bytes.split_last_chunk().unwrap();
            let mut found = Passing::default();
            front.chunks(3).for_each(|piece| found.add(piece));
            wanted.compare(found, *crc)
        };
        assert!(passed(&BYTES).is_ok());
        for at in 0..BYTES.len() {
            let mut wrong = BYTES;
            wrong[at] ^= 1;
            assert!(matches!(passed(&wrong), Err(Fault::Damaged)), "byte {at}");
        }
        let lies: [u8; 20] = encode(&[0x211, 0x4_0001]).try_into().unwrap();
        assert!(matches!(passed(&lies), Err(Fault::Malformed("frame table"))));
    }
}
