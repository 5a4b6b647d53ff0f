//! Where blocks end and filemarks are: runs of equal things, in order. Bytes: `docs/formats/bundle.md`.

use std::fmt;

/// Longer blocks no drive takes.
pub const MAX_BLOCK_BYTES: u32 = 0xff_ffff;
/// A tape with more of them is none: a reader who counts them ends.
pub const MAX_FILEMARKS: u64 = u32::MAX as u64;
/// A map that is longer is refused when it is written.
const MAX_MAP_BYTES: usize = 64 << 20;

/// One thing on the tape, so many times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Filemarks.
    Marks {
        /// How many.
        count: u64,
    },
    /// Blocks of one length.
    Blocks {
        /// Bytes of each.
        len: u32,
        /// How many.
        count: u64,
    },
}

/// Why there is no map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapError {
    /// Not what this format has there.
    Malformed {
        /// Where.
        at: usize,
    },
    /// A block of no length, or one that is too long.
    Block(usize),
    /// Too many entries.
    TooLong,
    /// Too many blocks, bytes or filemarks.
    TooMany,
    /// Its sums are not those that it was kept with.
    Sums {
        /// Of what.
        what: &'static str,
        /// In the map.
        found: u64,
        /// Beside it.
        wanted: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { at } => write!(f, "the map is none of this format at byte {at}"),
            Self::Block(len) => {
                write!(
                    f,
                    "a block of {len} bytes cannot be exported: blocks have 1 to {MAX_BLOCK_BYTES} bytes"
                )
            }
            Self::TooLong => write!(
                f,
                "the tape changes its block length too often: its map is longer than {MAX_MAP_BYTES} bytes (write it with equal blocks)"
            ),
            Self::TooMany => {
                write!(f, "the map has more than {MAX_FILEMARKS} filemarks, or more bytes than 64 bits count")
            }
            Self::Sums { what, found, wanted } => {
                write!(f, "the map has {found} {what}, the manifest says {wanted}")
            }
        }
    }
}

impl std::error::Error for MapError {}

/// A map as bytes, and the run that may still grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    bytes: Vec<u8>,
    last: Option<Entry>,
    /// Bytes of all blocks.
    image_bytes: u64,
    blocks: u64,
    filemarks: u64,
}

impl Map {
    /// One block more.
    ///
    /// # Errors
    /// Its length is none, or the map is full.
    pub fn block(&mut self, len: usize) -> Result<(), MapError> {
        let wrong = || MapError::Block(len);
        let len =
            u32::try_from(len).ok().filter(|len| (1..=MAX_BLOCK_BYTES).contains(len)).ok_or_else(wrong)?;
        self.add(Entry::Blocks { len, count: 1 })
    }

    /// So many filemarks more.
    ///
    /// # Errors
    /// The map is full.
    pub fn filemarks(&mut self, count: u64) -> Result<(), MapError> {
        if count == 0 { Ok(()) } else { self.add(Entry::Marks { count }) }
    }

    fn add(&mut self, entry: Entry) -> Result<(), MapError> {
        if self.bytes.len() > MAX_MAP_BYTES {
            return Err(MapError::TooLong);
        }
        self.count(entry).ok_or(MapError::TooMany)?;
        self.last = match (self.last.take(), entry) {
            (Some(Entry::Marks { count }), Entry::Marks { count: more }) => {
                Some(Entry::Marks { count: count.saturating_add(more) })
            }
            (Some(Entry::Blocks { len, count }), Entry::Blocks { len: same, count: more }) if len == same => {
                Some(Entry::Blocks { len, count: count.saturating_add(more) })
            }
            (before, next) => {
                before.iter().for_each(|entry| write(*entry, &mut self.bytes));
                Some(next)
            }
        };
        Ok(())
    }

    fn count(&mut self, entry: Entry) -> Option<()> {
        match entry {
            Entry::Marks { count } => {
                let marks = self.filemarks.checked_add(count)?;
                self.filemarks = Some(marks).filter(|marks| *marks <= MAX_FILEMARKS)?;
            }
            Entry::Blocks { len, count } => {
                self.image_bytes = self.image_bytes.checked_add(count.checked_mul(len.into())?)?;
                self.blocks = self.blocks.checked_add(count)?;
            }
        }
        Some(())
    }

    /// Bytes of all blocks.
    pub fn image_bytes(&self) -> u64 {
        self.image_bytes
    }

    /// How many blocks.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many filemarks.
    pub fn marks(&self) -> u64 {
        self.filemarks
    }

    /// Its bytes.
    pub fn encode(mut self) -> Vec<u8> {
        self.last.iter().for_each(|entry| write(*entry, &mut self.bytes));
        self.bytes
    }

    /// From its bytes.
    ///
    /// # Errors
    /// They are none of this format.
    pub fn decode(bytes: &[u8]) -> Result<Self, MapError> {
        let mut map = Self::default();
        let mut walk = Walk { bytes, at: 0 };
        while walk.at < bytes.len() {
            let at = walk.at;
            let entry = walk.entry().ok_or(MapError::Malformed { at })?;
            map.add(entry)?;
        }
        // Only the shortest form is one.
        let mut tail = Vec::new();
        map.last.iter().for_each(|entry| write(*entry, &mut tail));
        match bytes.strip_prefix(&map.bytes[..]) == Some(&tail[..]) {
            true => Ok(map),
            false => Err(MapError::Malformed { at: map.bytes.len() }),
        }
    }

    /// Its entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut walk = Walk { bytes: &self.bytes, at: 0 };
        std::iter::from_fn(move || walk.entry()).chain(self.last)
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn entry(&mut self) -> Option<Entry> {
        let len = self.number()?;
        let count = self.number().filter(|count| *count > 0)?;
        match len {
            0 => Some(Entry::Marks { count }),
            _ => {
                let len = u32::try_from(len).ok().filter(|len| *len <= MAX_BLOCK_BYTES)?;
                Some(Entry::Blocks { len, count })
            }
        }
    }

    /// LEB128.
    fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            let part = u64::from(byte & 0x7f);
            let shifted = part.checked_shl(shift)?;
            (shifted >> shift == part).then_some(())?;
            value |= shifted;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

fn write(entry: Entry, out: &mut Vec<u8>) {
    let (len, count) = match entry {
        Entry::Marks { count } => (0, count),
        Entry::Blocks { len, count } => (len.into(), count),
    };
    [len, count].into_iter().for_each(|value| write_number(value, out));
}

fn write_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed out from docs/formats/bundle.md: 300 blocks of 65536 bytes, one filemark, one block of 1 byte, two filemarks.
    const BYTES: [u8; 11] = [0x80, 0x80, 0x04, 0xac, 0x02, 0, 1, 1, 1, 0, 2];

    fn sample() -> Map {
        let mut map = Map::default();
        (0..300).for_each(|_| map.block(65536).unwrap());
        map.filemarks(1).unwrap();
        map.block(1).unwrap();
        (0..2).for_each(|_| map.filemarks(1).unwrap());
        map
    }

    #[test]
    fn a_map_keeps_its_bytes_and_comes_back() {
        assert_eq!(sample().encode(), BYTES);
        let map = Map::decode(&BYTES).unwrap();
        assert_eq!((map.image_bytes(), map.blocks(), map.marks()), (300 * 65536 + 1, 301, 3));
        let entries: Vec<Entry> = map.entries().collect();
        assert_eq!(entries[0], Entry::Blocks { len: 65536, count: 300 });
        assert_eq!(entries[3], Entry::Marks { count: 2 });
        assert_eq!(entries.len(), 4);
        assert_eq!(map.encode(), BYTES);
        assert_eq!(Map::decode(&[]).unwrap().entries().count(), 0);
    }

    #[test]
    fn what_is_not_the_shortest_form_or_cut_is_refused() {
        let wrong: [&[u8]; 9] = [
            &[0],                                                          // a count is missing
            &[0, 0],                                                       // none
            &[1, 0],                                                       // none
            &[0, 1, 0, 1],                                                 // one entry would do
            &[5, 1, 5, 1],                                                 // one entry would do
            &[0x81, 0, 1],                                                 // a longer form of 1
            &[0x80],                                                       // cut
            &[0xff, 0xff, 0xff, 0x08, 1],                                  // a block above the longest
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], // more than 64 bits
        ];
        for bytes in wrong {
            assert!(Map::decode(bytes).is_err(), "{bytes:x?}");
        }
        // Sums that no 64 bits hold, and 2^32 filemarks.
        let bytes = [0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(Map::decode(&bytes), Err(MapError::TooMany));
        assert_eq!(Map::decode(&[0, 0x80, 0x80, 0x80, 0x80, 0x10]), Err(MapError::TooMany));
        assert!(Map::decode(&[0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_ok());
    }

    #[test]
    fn a_map_that_is_full_takes_nothing_more_and_says_why() {
        let mut map = Map { bytes: vec![1; MAX_MAP_BYTES + 1], ..Map::default() };
        let error = map.block(5).unwrap_err();
        assert_eq!((error.clone(), map.filemarks(1)), (MapError::TooLong, Err(MapError::TooLong)));
        assert!(error.to_string().contains("write it with equal blocks"));
    }

    #[test]
    fn blocks_of_no_length_or_too_long_a_one_are_refused() {
        for len in [0, MAX_BLOCK_BYTES as usize + 1] {
            assert_eq!(Map::default().block(len), Err(MapError::Block(len)));
        }
        Map::default().block(MAX_BLOCK_BYTES as usize).unwrap();
    }
}
