//! Bytes compressed when it pays; and back.
//!
//! What does not compress is found out by small probes, so that noise costs no compressor's time. A [`Habit`] remembers how the last
//! bytes of the same source did: after bytes that compressed well none are probed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

/// What is shorter than this is not worth a compressor's time.
const MIN_COMPRESSED: usize = 512;
/// Bytes that are tried in some places before the whole is.
const PROBE_BYTES: usize = 4096;
/// Where, in sixths of the whole. One place is not enough: a region of small files has both sorts of content.
const PROBES: [usize; 3] = [1, 3, 5];
/// What is not longer than this is compressed without a probe.
const PROBE_FROM: usize = 8 * PROBE_BYTES;
/// Compressing pays when it saves one byte of so many.
const PAYS: usize = 20;
/// It went well when it saved one byte of so many: then the next bytes are not probed.
const WELL: usize = 4;

/// How bytes are kept; the numbers are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As they are.
    Raw,
    /// Zstandard frames (RFC 8878), one or several behind each other.
    Zstd,
    /// One LZ4 block, without its length.
    Lz4,
}

impl Method {
    /// The number on the disk.
    pub const fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
            Self::Lz4 => 2,
        }
    }

    /// The method of a number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Raw),
            1 => Some(Self::Zstd),
            2 => Some(Self::Lz4),
            _ => None,
        }
    }
}

/// How the last bytes of one source did.
#[derive(Debug, Default)]
pub struct Habit(AtomicBool);

/// Compressors and decompressors that are not in use, so that none is set up for each piece.
pub struct Compressors {
    method: Method,
    level: i32,
    idle: Mutex<Vec<Compressor<'static>>>,
    idle_back: Mutex<Vec<Decompressor<'static>>>,
}

impl Compressors {
    /// `level` is zstd's.
    pub fn new(method: Method, level: i32) -> Self {
        Self { method, level, idle: Mutex::default(), idle_back: Mutex::default() }
    }

    /// Compresses all of `raw` into `room`, whose capacity limits it, when that saves at least 5 %; otherwise what `room` holds means
    /// nothing. A compressor that fails is no reason to lose data.
    pub fn compress(&self, raw: &[u8], room: &mut Vec<u8>, habit: &Habit) -> bool {
        if raw.len() < MIN_COMPRESSED {
            return false;
        }
        match self.method {
            Method::Raw => false,
            Method::Zstd => self.zstd(raw, room, habit),
            Method::Lz4 => lz4(raw, room),
        }
    }

    fn zstd(&self, raw: &[u8], room: &mut Vec<u8>, habit: &Habit) -> bool {
        let idle = lock(&self.idle).pop();
        let Some(mut compressor) = idle.or_else(|| Compressor::new(self.level).ok()) else { return false };
        let try_all = habit.0.load(Ordering::Relaxed) || probe_pays(&mut compressor, raw);
        let smaller = try_all && squeeze(&mut compressor, raw, room);
        lock(&self.idle).push(compressor);
        habit.0.store(smaller && saves(raw.len(), room.len(), WELL), Ordering::Relaxed);
        smaller
    }

    /// Adds a Zstandard frame of all of `raw` to `out`, whether that pays or not. None when it fails; then `out` is as it was.
    pub fn append(&self, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let idle = lock(&self.idle).pop();
        let mut compressor = idle.or_else(|| Compressor::new(self.level).ok())?;
        let frame = compressor.compress(raw);
        lock(&self.idle).push(compressor);
        out.extend_from_slice(&frame.ok()?);
        Some(())
    }

    /// The raw bytes, at most as many as `room` has capacity for. Whether they are right, only a checksum tells.
    pub fn decompress(&self, method: Method, stored: &[u8], room: &mut Vec<u8>) -> Option<()> {
        match method {
            Method::Raw => {
                (stored.len() <= room.capacity()).then_some(())?;
                room.clear();
                room.extend_from_slice(stored);
                Some(())
            }
            Method::Zstd => self.zstd_back(stored, room),
            Method::Lz4 => {
                let most = room.capacity();
                room.resize(most, 0);
                let len = lz4_flex::block::decompress_into(stored, room).ok()?;
                room.truncate(len);
                Some(())
            }
        }
    }

    fn zstd_back(&self, stored: &[u8], room: &mut Vec<u8>) -> Option<()> {
        let idle = lock(&self.idle_back).pop();
        let mut decompressor = idle.or_else(|| Decompressor::new().ok())?;
        let done = decompressor.decompress_to_buffer(stored, room);
        lock(&self.idle_back).push(decompressor);
        done.ok().map(|_| ())
    }
}

/// Whoever holds this leaves it consistent before anything could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether it became smaller by one byte of so many.
fn saves(raw: usize, stored: usize, one_of: usize) -> bool {
    stored <= raw - raw / one_of
}

/// Whether keeping so many bytes in place of the raw ones is worth it.
pub fn pays(raw: usize, stored: usize) -> bool {
    saves(raw, stored, PAYS)
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

/// Compresses into `room`, which has capacity for the raw bytes; whether that paid.
fn squeeze(compressor: &mut Compressor<'static>, raw: &[u8], room: &mut Vec<u8>) -> bool {
    compressor.compress_to_buffer(raw, room).is_ok_and(|len| pays(raw.len(), len))
}

/// LZ4 gives up on noise by itself, fast enough to do without probes.
fn lz4(raw: &[u8], room: &mut Vec<u8>) -> bool {
    let most = lz4_flex::block::get_maximum_output_size(raw.len());
    room.resize(most, 0);
    let done = lz4_flex::block::compress_into(raw, room);
    room.truncate(done.as_ref().map_or(0, |len| *len));
    done.is_ok_and(|len| pays(raw.len(), len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn text() -> Vec<u8> {
        "filemark ".repeat(30_000).into_bytes()
    }

    fn compressed(compressors: &Compressors, raw: &[u8], habit: &Habit) -> Option<Vec<u8>> {
        let mut room = Vec::with_capacity(raw.len());
        compressors.compress(raw, &mut room, habit).then_some(room)
    }

    #[test]
    fn text_is_compressed_and_comes_back_and_noise_is_not_compressed() {
        for method in [Method::Zstd, Method::Lz4] {
            let compressors = Compressors::new(method, 1);
            let small = compressed(&compressors, &text(), &Habit::default()).unwrap();
            assert!(small.len() < text().len() / 20, "{method:?}");
            let mut back = Vec::with_capacity(text().len());
            compressors.decompress(method, &small, &mut back).unwrap();
            assert_eq!(back, text());
            let mut short = Vec::with_capacity(text().len() - 1);
            assert_eq!(compressors.decompress(method, &small, &mut short), None, "{method:?}");
            assert_eq!(compressed(&compressors, &noise(262_144), &Habit::default()), None);
        }
        let raw = Compressors::new(Method::Raw, 1);
        assert_eq!(compressed(&raw, &text(), &Habit::default()), None);
    }

    /// The middle is where nobody probes, and the rest is noise.
    fn hidden_text() -> Vec<u8> {
        let mut bytes = noise(262_144);
        bytes[50_000..120_000].fill(7);
        bytes
    }

    #[test]
    fn after_bytes_that_compressed_well_none_are_probed_and_after_others_they_are() {
        let compressors = Compressors::new(Method::Zstd, 1);
        let habit = Habit::default();
        assert_eq!(compressed(&compressors, &hidden_text(), &habit), None, "probes find only noise");
        assert!(compressed(&compressors, &text(), &habit).is_some());
        assert!(
            compressed(&compressors, &hidden_text(), &habit).is_some(),
            "it is compressed without a probe"
        );
        assert!(compressed(&compressors, &text(), &habit).is_some());
        assert_eq!(compressed(&compressors, &noise(262_144), &habit), None, "noise stays noise");
        assert_eq!(compressed(&compressors, &hidden_text(), &habit), None, "and is probed for from then on");
    }

    #[test]
    fn the_numbers_of_the_methods_are_those_on_the_disk() {
        for (method, number) in [(Method::Raw, 0), (Method::Zstd, 1), (Method::Lz4, 2)] {
            assert_eq!((method.number(), Method::from_number(number)), (number, Some(method)));
        }
        assert!((3..=255).all(|number| Method::from_number(number).is_none()));
    }
}
