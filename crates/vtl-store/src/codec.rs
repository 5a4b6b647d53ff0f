//! One chunk: hashed and, when it pays, compressed; and back.

use bytes::Bytes;
use std::sync::{Arc, Mutex};
use zstd::bulk::{Compressor, Decompressor};

use crate::buffers::{Buffer, Buffers};
use crate::types::MAX_CHUNK_BYTES;
use crate::workers::lock;

/// A chunk shorter than this is not worth a compressor's time.
const MIN_COMPRESSED: usize = 512;
/// Bytes from the middle that are tried before a whole chunk is.
const PROBE_BYTES: usize = 4096;
/// A chunk so long is compressed without a probe when it is not longer than this.
const PROBE_FROM: usize = 4 * PROBE_BYTES;

/// How a chunk's bytes are stored; the numbers are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Raw,
    Zstd,
}

impl Algorithm {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            _ => None,
        }
    }
}

pub(crate) type Fingerprint = [u8; 32];

/// A chunk ready for its pack.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) algorithm: Algorithm,
    pub(crate) raw_len: u32,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) stored: Vec<Bytes>,
}

/// Compressors and decompressors that are not in use, so that none is set up for each chunk.
pub(crate) struct Codec {
    level: i32,
    buffers: Arc<Buffers>,
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl Codec {
    /// `chunk_bytes`: how long most chunks are.
    pub(crate) fn new(level: i32, chunk_bytes: usize) -> Self {
        let buffers = Buffers::new(chunk_bytes);
        Self { level, buffers, compressors: Mutex::default(), decompressors: Mutex::default() }
    }

    /// Room for chunks.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Pieces in order make one chunk; together they are not longer than a chunk may be.
    pub(crate) fn encode(&self, pieces: Vec<Bytes>, compress: bool) -> Encoded {
        let mut hasher = blake3::Hasher::new();
        let mut raw_len = 0;
        for piece in &pieces {
            hasher.update(piece);
            raw_len += piece.len();
        }
        let fingerprint = *hasher.finalize().as_bytes();
        let smaller =
            if compress && raw_len >= MIN_COMPRESSED { self.compress(&pieces, raw_len) } else { None };
        let (algorithm, stored) = match smaller {
            Some(bytes) => (Algorithm::Zstd, vec![bytes]),
            None => (Algorithm::Raw, pieces),
        };
        Encoded { algorithm, raw_len: raw_len as u32, fingerprint, stored }
    }

    /// The compressed chunk when it saves at least 5 %. A compressor that fails is no reason to lose a chunk.
    fn compress(&self, pieces: &[Bytes], raw_len: usize) -> Option<Bytes> {
        let mut joined;
        let raw: &[u8] = match pieces {
            [one] => one,
            several => {
                joined = self.buffers.take(raw_len);
                several.iter().for_each(|piece| joined.bytes.extend_from_slice(piece));
                &joined.bytes
            }
        };
        let idle = lock(&self.compressors).pop();
        let mut compressor = match idle {
            Some(compressor) => compressor,
            None => Compressor::new(self.level).ok()?,
        };
        let mut room = self.buffers.take(raw_len);
        let smaller = probe_pays(&mut compressor, raw) && squeeze(&mut compressor, raw, &mut room.bytes);
        lock(&self.compressors).push(compressor);
        debug_assert_eq!(raw.len(), raw_len);
        smaller.then(|| room.share())
    }

    /// The raw bytes of a chunk, compared with its fingerprint.
    pub(crate) fn decode(
        &self,
        algorithm: Algorithm,
        raw_len: usize,
        fingerprint: &Fingerprint,
        stored: Buffer,
    ) -> Result<Bytes, &'static str> {
        if raw_len > MAX_CHUNK_BYTES {
            return Err("the chunk is longer than any chunk");
        }
        let raw = match algorithm {
            Algorithm::Raw => stored,
            Algorithm::Zstd => {
                self.decompress(&stored.bytes, raw_len).ok_or("the chunk cannot be decompressed")?
            }
        };
        if raw.bytes.len() != raw_len {
            return Err("the chunk has another length than it had");
        }
        if blake3::hash(&raw.bytes).as_bytes() != fingerprint {
            return Err("the chunk's bytes do not match their fingerprint");
        }
        Ok(raw.share())
    }

    fn decompress(&self, stored: &[u8], raw_len: usize) -> Option<Buffer> {
        let idle = lock(&self.decompressors).pop();
        let mut decompressor = match idle {
            Some(decompressor) => decompressor,
            None => Decompressor::new().ok()?,
        };
        let mut raw = self.buffers.take(raw_len);
        let done = decompressor.decompress_to_buffer(stored, &mut raw.bytes);
        lock(&self.decompressors).push(decompressor);
        done.ok().map(|_| raw)
    }
}

fn probe_pays(compressor: &mut Compressor<'static>, raw: &[u8]) -> bool {
    if raw.len() < PROBE_FROM {
        return true;
    }
    let start = (raw.len() - PROBE_BYTES) / 2;
    let mut room = Vec::with_capacity(PROBE_BYTES);
    raw.get(start..start + PROBE_BYTES).is_some_and(|probe| squeeze(compressor, probe, &mut room))
}

/// Compresses into `room`, which is as long as the raw bytes; whether that saved 5 %.
fn squeeze(compressor: &mut Compressor<'static>, raw: &[u8], room: &mut Vec<u8>) -> bool {
    compressor.compress_to_buffer(raw, room).is_ok_and(|len| len <= raw.len() - raw.len() / 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn read(codec: &Codec, stored: &[u8]) -> Buffer {
        let mut buffer = codec.buffers().take(stored.len());
        buffer.bytes.extend_from_slice(stored);
        buffer
    }

    fn round_trip(pieces: Vec<Bytes>, compress: bool) -> (Algorithm, usize) {
        let codec = Codec::new(1, 8000);
        let raw = pieces.concat();
        let encoded = codec.encode(pieces, compress);
        let stored = encoded.stored.concat();
        let len = stored.len();
        let back = codec.decode(
            encoded.algorithm,
            encoded.raw_len as usize,
            &encoded.fingerprint,
            read(&codec, &stored),
        );
        assert_eq!(back.unwrap(), raw);
        (encoded.algorithm, len)
    }

    #[test]
    fn text_is_compressed_and_noise_is_stored_as_it_is() {
        let text = Bytes::from("filemark ".repeat(30_000));
        let (algorithm, len) = round_trip(vec![text.clone()], true);
        assert_eq!(algorithm, Algorithm::Zstd);
        assert!(len < text.len() / 20);
        assert_eq!(round_trip(vec![text], false).0, Algorithm::Raw);
        assert_eq!(round_trip(vec![Bytes::from(noise(262_144))], true), (Algorithm::Raw, 262_144));
    }

    #[test]
    fn noise_around_a_compressible_middle_is_stored_as_it_is() {
        let mut bytes = noise(262_144);
        bytes[129_000..133_120].fill(0);
        assert_eq!(round_trip(vec![Bytes::from(bytes)], true), (Algorithm::Raw, 262_144));
    }

    #[test]
    fn pieces_make_the_same_chunk_as_the_whole() {
        let whole = Bytes::from("abcdefgh".repeat(1000));
        let pieces = vec![whole.slice(..13), whole.slice(13..5000), whole.slice(5000..)];
        let codec = Codec::new(1, 8000);
        let (one, several) = (codec.encode(vec![whole], true), codec.encode(pieces, true));
        assert_eq!(one.fingerprint, several.fingerprint);
        assert_eq!(one.stored.concat(), several.stored.concat());
    }

    #[test]
    fn wrong_bytes_are_never_given_out() {
        let codec = Codec::new(1, 8000);
        let encoded = codec.encode(vec![Bytes::from("abcdefgh".repeat(1000))], true);
        let stored = encoded.stored.concat();
        for byte in 0..stored.len() {
            let mut bad = stored.clone();
            bad[byte] ^= 0x10;
            let back = codec.decode(encoded.algorithm, 8000, &encoded.fingerprint, read(&codec, &bad));
            assert!(back.is_err() || back.unwrap() == "abcdefgh".repeat(1000));
        }
        assert!(codec.decode(Algorithm::Raw, 5, &[0; 32], read(&codec, b"hello")).is_err());
    }
}
