//! A frame: up to 512 KiB of the image, compressed, then sealed. Byte table: `docs/formats/bundle.md`.

use bytes::Bytes;
use vtl_codec::{Cipher, Compressors, Habit, Method, NONCE_BYTES, Run, TAG_BYTES, pays};

use crate::chunk::{Fields, HEADER_BYTES as CHUNK_HEADER_BYTES};
use crate::error::Fault;
use crate::version::Version;

/// Length of a frame's header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of the image in a frame, at most: what is larger compresses no better by more than a hundredth, and costs more to reach into.
pub(crate) const MAX_FRAME_BYTES: usize = Version::V1.frame_bytes();
/// A body is not longer.
pub const MAX_BODY_BYTES: usize = MAX_FRAME_BYTES + TAG_BYTES;
const MAGIC: [u8; 4] = *b"VTLF";
/// The part that is sealed along.
const AUTHENTIC: usize = HEADER_BYTES - 4;
const LAST_OF_OBJECT: u8 = 1;
const LAST_OF_BUNDLE: u8 = 2;

/// What stands in front of a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Bytes of the body.
    pub body_len: u32,
    /// From 0, over all objects.
    pub number: u64,
    /// Number of the object.
    pub object: u32,
    /// Bytes of the image.
    pub raw_len: u32,
    /// How they are kept.
    pub method: Method,
    /// Whether an end follows.
    pub end: End,
}

/// What ends with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    None,
    /// The object.
    Object,
    /// The bundle, and the object with it.
    Bundle,
}

impl End {
    const fn flags(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Object => LAST_OF_OBJECT,
            Self::Bundle => LAST_OF_OBJECT | LAST_OF_BUNDLE,
        }
    }

    fn from_flags(flags: u8) -> Option<Self> {
        [Self::None, Self::Object, Self::Bundle].into_iter().find(|end| end.flags() == flags)
    }
}

impl FrameHeader {
    /// Its bytes without the checksum at their end.
    fn authentic(&self) -> [u8; AUTHENTIC] {
        let fields: [&[u8]; 6] = [
            &MAGIC,
            &self.body_len.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.object.to_le_bytes(),
            &self.raw_len.to_le_bytes(),
            &[self.method.number(), self.end.flags(), 0, 0],
        ];
        let mut bytes = [0; AUTHENTIC];
        let fields = fields.iter().flat_map(|field| field.iter());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Its bytes before this body.
    pub fn encode(&self, body: &[u8]) -> [u8; HEADER_BYTES] {
        let front = self.authentic();
        let mut bytes = [0; HEADER_BYTES];
        let fields = front.iter().copied().chain(checksum(&front, body).to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// From its bytes. Whether they are damaged only [`FrameHeader::check`] tells; lengths are in bounds.
    ///
    /// # Errors
    /// They are none of this format.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Fault> {
        let mut fields = Fields(bytes);
        if fields.take() != MAGIC {
            return Err(Fault::Malformed("magic"));
        }
        let body_len = u32::from_le_bytes(fields.take());
        let (number, object) = (u64::from_le_bytes(fields.take()), u32::from_le_bytes(fields.take()));
        let raw_len = u32::from_le_bytes(fields.take());
        let [method, flags, zero, nought] = fields.take();
        if body_len as usize > MAX_BODY_BYTES || raw_len as usize > MAX_FRAME_BYTES {
            return Err(Fault::Malformed("length"));
        }
        let method = Method::from_number(method).ok_or(Fault::Malformed("codec"))?;
        let end = End::from_flags(flags).ok_or(Fault::Malformed("flags"))?;
        if (zero, nought) != (0, 0) {
            return Err(Fault::Malformed("reserved bytes"));
        }
        Ok(Self { body_len, number, object, raw_len, method, end })
    }

    /// Whether header and body are as they were written.
    ///
    /// # Errors
    /// They are damaged.
    pub fn check(&self, bytes: &[u8; HEADER_BYTES], body: &[u8]) -> Result<(), Fault> {
        let (front, crc) = bytes.split_at(AUTHENTIC);
        if crc == checksum(front, body).to_le_bytes() { Ok(()) } else { Err(Fault::Damaged) }
    }

    /// What is sealed along with its body.
    fn about(&self, chunk: &[u8; CHUNK_HEADER_BYTES]) -> [u8; CHUNK_HEADER_BYTES + AUTHENTIC] {
        let mut about = [0; CHUNK_HEADER_BYTES + AUTHENTIC];
        let fields = chunk.iter().copied().chain(self.authentic());
        about.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        about
    }

    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce.iter_mut().zip(self.number.to_le_bytes()).for_each(|(to, from)| *to = from);
        nonce
    }
}

fn checksum(front: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(body);
    hasher.finalize()
}

/// A frame's bytes, and where they come from.
pub(crate) struct Frame {
    pub(crate) raw: Vec<u8>,
    /// Together as long as `raw`; of those that are no whole nothing else is known, and no two of them are neighbours.
    pub(crate) runs: Vec<Run>,
}

impl Frame {
    /// Its bytes in parts: each with what gives it, where that is known.
    fn parts(&self) -> Vec<(&[u8], Option<&Bytes>)> {
        let mut at = 0;
        let parts = self.runs.iter().filter_map(|run| {
            let from = at;
            at += run.len;
            Some((self.raw.get(from..at)?, run.whole()))
        });
        parts.collect()
    }

    /// The frame compressed, with what was compressed before taken as it is: Zstandard frames one behind the other. None when nothing was, or when that
    /// alone saves too little: the rest may be noise, and would be compressed twice to find it out.
    fn taken_over(&self, compressors: &Compressors) -> Option<Vec<u8>> {
        let parts = self.parts();
        parts.iter().find(|(_, whole)| whole.is_some())?;
        let at_most: usize = parts.iter().map(|(raw, whole)| whole.map_or(raw.len(), Bytes::len)).sum();
        pays(self.raw.len(), at_most).then_some(())?;
        let mut stored = Vec::with_capacity(MAX_BODY_BYTES);
        for (raw, whole) in parts {
            match whole {
                Some(zstd) => stored.extend_from_slice(zstd),
                None => compressors.append(raw, &mut stored)?,
            }
        }
        pays(self.raw.len(), stored.len()).then_some(stored)
    }
}

/// A frame that is compressed and has no place yet.
pub(crate) struct Packed {
    pub(crate) raw_len: u32,
    method: Method,
    stored: Vec<u8>,
}

impl Packed {
    pub(crate) fn new(frame: Frame, compressors: &Compressors, codec: Method, habit: &Habit) -> Self {
        let raw_len = frame.raw.len() as u32;
        if codec == Method::Raw {
            return Self { raw_len, method: Method::Raw, stored: frame.raw };
        }
        let taken = if codec == Method::Zstd { frame.taken_over(compressors) } else { None };
        if let Some(stored) = taken {
            return Self { raw_len, method: Method::Zstd, stored };
        }
        let mut stored = Vec::with_capacity(MAX_BODY_BYTES);
        let smaller = compressors.compress(&frame.raw, &mut stored, habit);
        let (method, stored) = if smaller { (codec, stored) } else { (Method::Raw, frame.raw) };
        Self { raw_len, method, stored }
    }

    /// Bytes in the object.
    pub(crate) fn len(&self, sealed: bool) -> u64 {
        (HEADER_BYTES + self.stored.len() + if sealed { TAG_BYTES } else { 0 }) as u64
    }

    /// Seals it for its place; header and body.
    pub(crate) fn place(
        mut self,
        number: u64,
        object: u32,
        end: End,
        seal: Option<&Cipher>,
        chunk: &[u8; CHUNK_HEADER_BYTES],
    ) -> Result<([u8; HEADER_BYTES], Vec<u8>), Fault> {
        let tag = if seal.is_some() { TAG_BYTES } else { 0 };
        let body_len = (self.stored.len() + tag) as u32;
        let header =
            FrameHeader { body_len, number, object, raw_len: self.raw_len, method: self.method, end };
        if let Some(cipher) = seal {
            let sealed = cipher.seal(header.nonce(), &header.about(chunk), &mut self.stored, 0);
            sealed.map_err(|_| Fault::Refused)?;
        }
        Ok((header.encode(&self.stored), self.stored))
    }
}

/// Opens and decompresses frames.
pub(crate) struct Opener {
    compressors: Compressors,
}

impl Opener {
    pub(crate) fn new() -> Self {
        Self { compressors: Compressors::new(Method::Raw, 0) }
    }

    /// The bytes of the image into `raw`, whose capacity is [`MAX_FRAME_BYTES`] at least. The body is of no use afterwards.
    pub(crate) fn open(
        &self,
        header: &FrameHeader,
        chunk: &[u8; CHUNK_HEADER_BYTES],
        cipher: Option<&Cipher>,
        body: &mut [u8],
        raw: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let stored = match cipher {
            Some(cipher) => {
                cipher.open(header.nonce(), &header.about(chunk), body).map_err(|_| Fault::NotOpened)?
            }
            None => body,
        };
        self.compressors.decompress(header.method, stored, raw).ok_or(Fault::NotDecompressed)?;
        if raw.len() == header.raw_len as usize { Ok(()) } else { Err(Fault::NotDecompressed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> FrameHeader {
        FrameHeader {
            body_len: 8,
            number: 0x0102,
            object: 2,
            raw_len: 8,
            method: Method::Raw,
            end: End::Bundle,
        }
    }

    /// Typed out from docs/formats/bundle.md; the CRC-32 is zlib's, of these bytes and `filemark`.
    #[rustfmt::skip]
    const BYTES: [u8; HEADER_BYTES] = [
        b'V', b'T', b'L', b'F', 8, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, // magic, body, number
        2, 0, 0, 0, 8, 0, 0, 0, 0, 3, 0, 0, 0x50, 0x8f, 0xc9, 0x01, // object, raw length, codec, flags, zeros, CRC-32
    ];

    #[test]
    fn a_frame_header_keeps_its_bytes() {
        assert_eq!(sample().encode(b"filemark"), BYTES);
        assert_eq!(FrameHeader::decode(&BYTES).unwrap(), sample());
    }

    #[test]
    fn every_wrong_bit_of_a_frame_is_seen() {
        let whole = [&BYTES[..], b"filemark"].concat();
        for bit in 0..whole.len() * 8 {
            let mut wrong = whole.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let (header, body) = wrong.split_first_chunk().unwrap();
            let seen = FrameHeader::decode(header).and_then(|decoded| decoded.check(header, body));
            assert!(seen.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn lengths_beyond_a_frame_and_unknown_numbers_are_refused() {
        for (at, value) in [(6, 9), (22, 9), (24, 3), (25, 2), (25, 4), (26, 1), (27, 1)] {
            let mut wrong = BYTES;
            wrong[at] = value;
            assert!(matches!(FrameHeader::decode(&wrong), Err(Fault::Malformed(_))), "byte {at}");
        }
    }
}
