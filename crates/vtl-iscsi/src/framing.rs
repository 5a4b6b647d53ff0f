//! Cutting the byte stream into PDUs, with digests (RFC 7143, 11.2 and 13.1).
//!
//! A header is taken off the buffer, and its digest checked, before the length in it is believed. After that the
//! exact number of missing bytes is known, and the data segment can be read straight to where it stays.

use bytes::{Buf, Bytes, BytesMut};

use crate::pdu::Header;

/// Bytes of a CRC32C.
pub(crate) const DIGEST_LEN: usize = 4;

/// Data segments below this are copied out of the receive buffer: a few bytes must not keep a large buffer alive. Half of the smallest receive
/// buffer that a driver should have: what is not copied then never keeps more than twice its length alive in such a one.
pub(crate) const SMALL_DATA: usize = 8192;

/// CRC32C (Castagnoli) of `data`, continuing from the value before (0 at the start).
pub(crate) type Crc32c = fn(u32, &[u8]) -> u32;

/// A digest as it goes on the wire. RFC 7143 treats a CRC as a string of bits, the coefficient of the highest
/// power first; with CRC32C's mirrored bits that is the number's bytes from the least significant one.
pub(crate) const fn digest_bytes(crc: u32) -> [u8; DIGEST_LEN] {
    crc.to_le_bytes()
}

/// Zero bytes that follow `len` bytes of data, up to a multiple of four.
pub(crate) const fn pad_len(len: usize) -> usize {
    len.wrapping_neg() & 0b11
}

/// One PDU off the wire.
#[derive(Debug)]
pub(crate) struct Frame {
    pub header: Header,
    /// Additional header segments, one after the other.
    pub ahs: Bytes,
    /// The data segment without pad.
    pub data: Bytes,
    /// False: the data segment does not match its digest.
    pub intact: bool,
}

/// After any of these the stream cannot be trusted any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The header does not match its digest, so that not even its length is known (RFC 7143, 7.8).
    HeaderDigest,
    /// More data, or more additional headers, than was agreed upon.
    TooLong(Header),
}

/// Cuts PDUs off a buffer. Digests are off until [`Framer::agree`], as the login needs it.
pub(crate) struct Framer {
    crc32c: Crc32c,
    header_digest: bool,
    data_digest: bool,
    max_data: usize,
    max_ahs: usize,
    /// A header that is complete and checked, and whose data segment is awaited.
    head: Option<(Header, Bytes)>,
}

impl Framer {
    pub(crate) const fn new(crc32c: Crc32c, max_data: usize, max_ahs: usize) -> Self {
        Self { crc32c, header_digest: false, data_digest: false, max_data, max_ahs, head: None }
    }

    /// What the login agreed upon, from the next PDU on.
    pub(crate) const fn agree(&mut self, header_digest: bool, data_digest: bool, max_data: usize) {
        self.header_digest = header_digest;
        self.data_digest = data_digest;
        self.max_data = max_data;
    }

    /// Bytes that must be added to `buffered` before [`Framer::next`] can go on.
    pub(crate) fn bytes_needed(&self, buffered: &[u8]) -> usize {
        let total = match &self.head {
            Some((header, _)) => self.data_part_len(header),
            None => Header::LEN + self.head_rest_len(buffered.get(4).copied().unwrap_or(0)),
        };
        total.saturating_sub(buffered.len())
    }

    /// The next whole PDU, if it is there.
    pub(crate) fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let (header, ahs) = match self.head.take() {
            Some(head) => head,
            None => match self.take_head(buf)? {
                Some(head) => head,
                None => return Ok(None),
            },
        };
        if buf.len() < self.data_part_len(&header) {
            self.head = Some((header, ahs));
            return Ok(None);
        }
        let (data, intact) = self.take_data(&header, buf);
        Ok(Some(Frame { header, ahs, data, intact }))
    }

    fn take_head(&self, buf: &mut BytesMut) -> Result<Option<(Header, Bytes)>, FrameError> {
        let Some(header) = buf.first_chunk().copied().map(Header::from_bytes) else { return Ok(None) };
        let with_ahs = Header::LEN + header.ahs_len();
        if self.header_digest {
            let Some((covered, rest)) = buf.split_at_checked(with_ahs) else { return Ok(None) };
            let Some(digest) = rest.first_chunk::<DIGEST_LEN>() else { return Ok(None) };
            if digest_bytes((self.crc32c)(0, covered)) != *digest {
                return Err(FrameError::HeaderDigest);
            }
        }
        if header.data_len() > self.max_data || header.ahs_len() > self.max_ahs {
            return Err(FrameError::TooLong(header));
        }
        if buf.len() < with_ahs {
            return Ok(None);
        }
        buf.advance(Header::LEN);
        let ahs = Bytes::copy_from_slice(&buf.split_to(header.ahs_len()));
        if self.header_digest {
            buf.advance(DIGEST_LEN);
        }
        Ok(Some((header, ahs)))
    }

    /// The data segment; the caller has seen that the buffer holds all of it.
    fn take_data(&self, header: &Header, buf: &mut BytesMut) -> (Bytes, bool) {
        let len = header.data_len();
        if len == 0 {
            return (Bytes::new(), true);
        }
        let pad = pad_len(len);
        let mut intact = true;
        if self.data_digest
            && let Some((covered, rest)) = buf.split_at_checked(len + pad)
        {
            let expected = digest_bytes((self.crc32c)(0, covered));
            intact = rest.first_chunk() == Some(&expected);
        }
        let data = match len < SMALL_DATA {
            true => {
                let data = buf.get(..len).map(Bytes::copy_from_slice).unwrap_or_default();
                buf.advance(len);
                data
            }
            false => buf.split_to(len).freeze(),
        };
        buf.advance(pad + if self.data_digest { DIGEST_LEN } else { 0 });
        (data, intact)
    }

    /// What follows the 48 bytes before the data segment, given byte 4.
    const fn head_rest_len(&self, ahs_words: u8) -> usize {
        ahs_words as usize * 4 + if self.header_digest { DIGEST_LEN } else { 0 }
    }

    const fn data_part_len(&self, header: &Header) -> usize {
        match header.data_len() {
            0 => 0,
            len => len + pad_len(len) + if self.data_digest { DIGEST_LEN } else { 0 },
        }
    }
}
