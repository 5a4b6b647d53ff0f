//! Little-endian fields, written to a growing vector and read back without ever running past the end.

/// Appends fields to a vector.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty writer with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Two bytes, low byte first.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Four bytes, low byte first.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Eight bytes, low byte first.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A length of eight bytes, then the bytes.
    pub fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64).raw(bytes)
    }

    /// Zeros until the length is `len`; nothing when it is already there.
    pub fn pad_to(&mut self, len: usize) -> &mut Self {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self
    }

    /// Appends the CRC32C of everything so far.
    pub fn crc(&mut self) -> &mut Self {
        let crc = crc32c::crc32c(&self.bytes);
        self.u32(crc)
    }

    /// Bytes so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// The finished bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The bytes ended before the field did, or hold what cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What was being read.
    pub what: &'static str,
    /// Where, counted from the start of the reader's bytes.
    pub at: usize,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {} is cut short or impossible", self.what, self.at)
    }
}

impl std::error::Error for Malformed {}

/// Takes fields off the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes consumed so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Bytes not consumed yet.
    pub fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    /// An error at the present position.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.at }
    }

    /// The next `len` bytes.
    pub fn raw(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or(self.malformed(what))?;
        let taken = self.bytes.get(self.at..end).ok_or(self.malformed(what))?;
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let at = self.at;
        self.raw(N, what)?.try_into().map_err(|_| Malformed { what, at })
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(u8::from_le_bytes)
    }

    /// Two bytes, low byte first.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_le_bytes)
    }

    /// Four bytes, low byte first.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// Eight bytes, low byte first.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `each` bytes: one that cannot fit in what is left is refused, so
    /// that no count from a disk ever sizes an allocation beyond the file it came from.
    pub fn count(&mut self, each: usize, what: &'static str) -> Result<usize, Malformed> {
        let count = self.u64(what)?;
        let room = (self.left() / each.max(1)) as u64;
        if count > room {
            return Err(self.malformed(what));
        }
        usize::try_from(count).map_err(|_| self.malformed(what))
    }

    /// A length of eight bytes, then so many bytes.
    pub fn blob(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.count(1, what)?;
        self.raw(len, what)
    }

    /// Nothing may be left.
    pub fn end(&self, what: &'static str) -> Result<(), Malformed> {
        if self.left() == 0 { Ok(()) } else { Err(self.malformed(what)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_little_endian_and_come_back() {
        let mut writer = Writer::new();
        writer.u8(1).u16(0x0203).u32(0x0405_0607).u64(0x08).blob(b"ab");
        let bytes = writer.into_bytes();
        assert_eq!(bytes, [1, 3, 2, 7, 6, 5, 4, 8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, b'a', b'b']);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8("a"), Ok(1));
        assert_eq!(reader.u16("b"), Ok(0x0203));
        assert_eq!(reader.u32("c"), Ok(0x0405_0607));
        assert_eq!(reader.u64("d"), Ok(8));
        assert_eq!(reader.blob("e"), Ok(&b"ab"[..]));
        assert_eq!(reader.end("end"), Ok(()));
    }

    #[test]
    fn a_count_beyond_the_bytes_left_is_refused() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        assert!(Reader::new(&bytes).count(1, "n").is_err());
        bytes[..8].copy_from_slice(&2_u64.to_le_bytes());
        bytes.extend_from_slice(&[0; 7]);
        assert!(Reader::new(&bytes).count(4, "n").is_err());
        assert_eq!(Reader::new(&bytes).count(3, "n"), Ok(2));
    }
}
