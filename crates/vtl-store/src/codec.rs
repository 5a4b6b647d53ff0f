//! Regions: compressed when it pays; and back.

use bytes::Bytes;
use vtl_codec::{Compressed, Compressors, Habit, Method};

use crate::buffers::{Buffer, Buffers};
use crate::cipher::Prints;
use crate::sync::Arc;
use crate::types::MAX_REGION_BYTES;

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

/// What is kept of a region that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    Raw,
    /// The compressed bytes too.
    Both,
}

/// Regions to what packs hold, and back.
pub(crate) struct Codec {
    prints: Prints,
    buffers: Arc<Buffers>,
    compressors: Compressors,
}

impl Codec {
    /// `level` is zstd's; `usual_bytes`: how long most regions are.
    pub(crate) fn new(level: i32, usual_bytes: usize, prints: Prints) -> Self {
        let buffers = Buffers::new(usual_bytes);
        Self { prints, buffers, compressors: Compressors::new(Method::Zstd, level) }
    }

    /// How the content of chunks is told apart.
    pub(crate) fn prints(&self) -> &Prints {
        &self.prints
    }

    /// Room for regions.
    pub(crate) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    /// Pieces in order make one region; together they are not longer than a region may be. `habit` is their stream's.
    pub(crate) fn encode(&self, pieces: Vec<Bytes>, compress: bool, habit: &Habit) -> Encoded {
        let smaller = if compress { self.compress(&pieces, habit) } else { None };
        match smaller {
            Some(bytes) => Encoded { algorithm: Algorithm::Zstd, stored: vec![bytes] },
            None => Encoded { algorithm: Algorithm::Raw, stored: pieces },
        }
    }

    /// The compressed region when that pays.
    fn compress(&self, pieces: &[Bytes], habit: &Habit) -> Option<Bytes> {
        let raw_len = pieces.iter().map(Bytes::len).sum();
        let mut joined;
        let raw: &[u8] = match pieces {
            [one] => one,
            several => {
                joined = self.buffers.take(raw_len);
                several.iter().for_each(|piece| joined.bytes.extend_from_slice(piece));
                &joined.bytes
            }
        };
        let mut room = self.buffers.take(raw_len);
        self.compressors.compress(raw, &mut room.bytes, habit).then(|| room.share())
    }

    /// The raw bytes of a region, and with `keep` the compressed ones when it is compressed. Whether they are right, the fingerprints of its chunks tell.
    pub(crate) fn decode(
        &self,
        algorithm: Algorithm,
        raw_len: usize,
        stored: Buffer,
        keep: Keep,
    ) -> Result<(Bytes, Option<Compressed>), &'static str> {
        if raw_len > MAX_REGION_BYTES {
            return Err("the region is longer than any region");
        }
        let (raw, stored) = match algorithm {
            Algorithm::Raw => (stored, None),
            Algorithm::Zstd => {
                let raw =
                    self.decompress(&stored.bytes, raw_len).ok_or("the region cannot be decompressed")?;
                (raw, Some(stored))
            }
        };
        if raw.bytes.len() != raw_len {
            return Err("the region has another length than it had");
        }
        let kept = stored.filter(|_| keep == Keep::Both);
        Ok((raw.share(), kept.map(|stored| Compressed::new(raw_len, stored.share()))))
    }

    fn decompress(&self, stored: &[u8], raw_len: usize) -> Option<Buffer> {
        let mut raw = self.buffers.take(raw_len);
        self.compressors.decompress(Method::Zstd, stored, &mut raw.bytes).map(|()| raw)
    }
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
        let encoded = codec.encode(pieces, compress, &Habit::default());
        let stored = encoded.stored.concat();
        let back = codec.decode(encoded.algorithm, raw.len(), read(&codec, &stored), Keep::Both);
        let (bytes, kept) = back.unwrap();
        assert_eq!(bytes, raw);
        let compressed = (encoded.algorithm == Algorithm::Zstd).then_some(Bytes::from(stored.clone()));
        assert_eq!(kept.map(|kept| kept.zstd().clone()), compressed);
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
        let (one, several) = (
            codec.encode(vec![whole], true, &Habit::default()),
            codec.encode(pieces, true, &Habit::default()),
        );
        assert_eq!(one.stored.concat(), several.stored.concat());
    }

    #[test]
    fn cut_or_wrong_lengths_are_an_error() {
        let codec = codec();
        let stored =
            codec.encode(vec![Bytes::from("abcdefgh".repeat(1000))], true, &Habit::default()).stored.concat();
        for len in 0..stored.len() {
            assert!(codec.decode(Algorithm::Zstd, 8000, read(&codec, &stored[..len]), Keep::Raw).is_err());
        }
        assert!(codec.decode(Algorithm::Raw, 6, read(&codec, b"hello"), Keep::Raw).is_err());
        assert!(codec.decode(Algorithm::Zstd, 1 << 30, read(&codec, &stored), Keep::Raw).is_err());
    }
}
