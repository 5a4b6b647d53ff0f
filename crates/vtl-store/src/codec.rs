//! Regions: compressed when it pays; and back.

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use crate::buffers::{Buffer, Buffers};
use crate::cipher::Prints;
use crate::sync::{Arc, Mutex};
use crate::types::MAX_REGION_BYTES;
use crate::workers::lock;

/// A region shorter than this is not worth a compressor's time.
const MIN_COMPRESSED: usize = 512;
/// Bytes that are tried in some places before a whole region is.
const PROBE_BYTES: usize = 4096;
/// Where, in sixths of the region. One place is not enough: a region of small files has both sorts of content.
const PROBES: [usize; 3] = [1, 3, 5];
/// A region is compressed without a probe when it is not longer than this.
const PROBE_FROM: usize = 8 * PROBE_BYTES;

/// How a region's bytes are stored; the numbers are on the disk.
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

/// A region's bytes as its pack gets them.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) algorithm: Algorithm,
    pub(crate) stored: Vec<Bytes>,
}

/// Compressors and decompressors that are not in use, so that none is set up for each chunk.
pub(crate) struct Codec {
    level: i32,
    prints: Prints,
    buffers: Arc<Buffers>,
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl Codec {
    /// `usual_bytes`: how long most regions are.
    pub(crate) fn new(level: i32, usual_bytes: usize, prints: Prints) -> Self {
        let buffers = Buffers::new(usual_bytes);
        Self { level, prints, buffers, compressors: Mutex::default(), decompressors: Mutex::default() }
    }

    /// How the content of chunks is told apart.
    pub(crate) fn prints(&self) -> &Prints {
        &self.prints
    }

    /// Room for regions.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Pieces in order make one region; together they are not longer than a region may be.
    pub(crate) fn encode(&self, pieces: Vec<Bytes>, compress: bool) -> Encoded {
        let raw_len = pieces.iter().map(Bytes::len).sum();
        let smaller =
            if compress && raw_len >= MIN_COMPRESSED { self.compress(&pieces, raw_len) } else { None };
        match smaller {
            Some(bytes) => Encoded { algorithm: Algorithm::Zstd, stored: vec![bytes] },
            None => Encoded { algorithm: Algorithm::Raw, stored: pieces },
        }
    }

    /// The compressed region when that saves at least 5 %. A compressor that fails is no reason to lose data.
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

    /// The raw bytes of a region. Whether they are right, the fingerprints of its chunks tell.
    pub(crate) fn decode(
        &self,
        algorithm: Algorithm,
        raw_len: usize,
        stored: Buffer,
    ) -> Result<Bytes, &'static str> {
        if raw_len > MAX_REGION_BYTES {
            return Err("the region is longer than any region");
        }
        let raw = match algorithm {
            Algorithm::Raw => stored,
            Algorithm::Zstd => {
                self.decompress(&stored.bytes, raw_len).ok_or("the region cannot be decompressed")?
            }
        };
        if raw.bytes.len() != raw_len {
            return Err("the region has another length than it had");
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
    let mut room = Vec::with_capacity(PROBE_BYTES);
    PROBES.iter().any(|sixths| {
        let start = raw.len() / 6 * sixths - PROBE_BYTES / 2;
        room.clear();
        raw.get(start..start + PROBE_BYTES).is_some_and(|probe| squeeze(compressor, probe, &mut room))
    })
}

/// Compresses into `room`, which is as long as the raw bytes; whether that saved 5 %.
fn squeeze(compressor: &mut Compressor<'static>, raw: &[u8], room: &mut Vec<u8>) -> bool {
    compressor.compress_to_buffer(raw, room).is_ok_and(|len| len <= raw.len() - raw.len() / 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::Domain;

    fn codec() -> Codec {
        Codec::new(1, 8000, Domain::plain([0; 16]).prints())
    }

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
        let codec = codec();
        let raw = pieces.concat();
        let encoded = codec.encode(pieces, compress);
        let stored = encoded.stored.concat();
        let back = codec.decode(encoded.algorithm, raw.len(), read(&codec, &stored));
        assert_eq!(back.unwrap(), raw);
        (encoded.algorithm, stored.len())
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
    fn a_region_with_noise_in_its_middle_is_compressed_when_the_rest_is_worth_it() {
        let mut bytes = "filemark ".repeat(30_000).into_bytes();
        bytes[100_000..180_000].copy_from_slice(&noise(80_000));
        assert_eq!(round_trip(vec![Bytes::from(bytes)], true).0, Algorithm::Zstd);
    }

    #[test]
    fn pieces_make_the_same_region_as_the_whole() {
        let whole = Bytes::from("abcdefgh".repeat(1000));
        let pieces = vec![whole.slice(..13), whole.slice(13..5000), whole.slice(5000..)];
        let codec = codec();
        let (one, several) = (codec.encode(vec![whole], true), codec.encode(pieces, true));
        assert_eq!(one.stored.concat(), several.stored.concat());
    }

    #[test]
    fn cut_or_wrong_lengths_are_an_error() {
        let codec = codec();
        let stored = codec.encode(vec![Bytes::from("abcdefgh".repeat(1000))], true).stored.concat();
        for len in 0..stored.len() {
            assert!(codec.decode(Algorithm::Zstd, 8000, read(&codec, &stored[..len])).is_err());
        }
        assert!(codec.decode(Algorithm::Raw, 6, read(&codec, b"hello")).is_err());
        assert!(codec.decode(Algorithm::Zstd, 1 << 30, read(&codec, &stored)).is_err());
    }
}
