//! Frames by their place: which bytes of which object hold a part of the image, and what they are once they are here. Who has the manifest asks, who
//! fetches gives the bytes; nothing is read here.

use std::ops::Range;

use vtl_codec::{Cipher, Key, PrivateKey};

use crate::chunk::HEADER_BYTES as CHUNK_HEADER_BYTES;
use crate::error::{BundleError, Fault, Finding};
use crate::frame::{FrameHeader, HEADER_BYTES, MAX_BODY_BYTES, MAX_FRAME_BYTES, Opener};
use crate::image::{cipher, places, unlock};
use crate::manifest::{Inside, Manifest, Stored};
use crate::table;
use crate::verify::Expected;

/// A bundle whose manifest opened, for who takes frames from anywhere.
pub struct Frames {
    manifest: Manifest,
    firsts: Vec<u64>,
    inside: Inside,
    data_key: Option<Key>,
}

/// Where the frames of one object are, and what opens them.
pub struct Index {
    at: usize,
    chunk_bytes: [u8; CHUNK_HEADER_BYTES],
    cipher: Option<Cipher>,
    /// Number of its first frame.
    first: u64,
    /// Where each frame begins, and where the last one ends.
    places: Vec<u64>,
}

impl Frames {
    /// Opens the inside of the manifest; with the private key when it is sealed.
    ///
    /// # Errors
    /// The key is missing or another one, or the inside does not belong to these objects.
    pub fn open(manifest: Manifest, private: Option<&PrivateKey>) -> Result<Self, BundleError> {
        let (data_key, inside) = unlock(&manifest, private)?;
        Ok(Self { firsts: manifest.first_frames(), manifest, inside, data_key })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What only the owner of the content should know.
    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// The objects that these frames lie in, by their place in the manifest, with the frames in each. What is beyond the last frame is left out.
    pub fn parts(&self, frames: Range<u64>) -> Vec<(usize, Range<u64>)> {
        let frames = frames.start..frames.end.min(self.count());
        let begin = self.firsts.partition_point(|first| *first <= frames.start).saturating_sub(1);
        let ends = self.firsts.windows(2).enumerate().skip(begin);
        ends.map_while(|(at, pair)| {
            let &[first, end] = pair else { return None };
            let part = frames.start.max(first)..frames.end.min(end);
            (first < frames.end).then_some((at, part))
        })
        .filter(|(_, part)| !part.is_empty())
        .collect()
    }

    /// An object by its place in the manifest.
    pub fn object(&self, at: usize) -> Option<&Stored> {
        self.manifest.objects.get(at)
    }

    /// The bytes of an object that tell where its frames are: its header, and its frame table.
    ///
    /// # Errors
    /// It is shorter than its table.
    pub fn outline(&self, at: usize) -> Result<[Range<u64>; 2], Finding> {
        let expected = self.expected(at)?;
        let frames = expected.end - expected.first;
        let table = expected.stored.bytes.checked_sub(table::len(frames));
        let table = table.filter(|start| *start >= CHUNK_HEADER_BYTES as u64);
        let start = table.ok_or_else(|| expected.finding(None, Fault::Malformed("frame table")))?;
        Ok([0..CHUNK_HEADER_BYTES as u64, start..expected.stored.bytes])
    }

    /// Reads what [`Frames::outline`] has named.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn index(&self, at: usize, header: &[u8], table: &[u8]) -> Result<Index, Finding> {
        let expected = self.expected(at)?;
        let read = || {
            let chunk_bytes = *header.first_chunk().ok_or(Fault::Cut)?;
            let chunk = expected.chunk(&chunk_bytes)?;
            let cipher = cipher(&chunk, self.data_key.as_ref())?;
            Ok(Index { at, chunk_bytes, cipher, first: expected.first, places: places(table, &expected)? })
        };
        read().map_err(|fault| expected.finding(None, fault))
    }

    /// The bytes of the image in frames of one object, whose bytes in the object (as [`Index::range`] names them) are here. Each frame is checked by
    /// its checksum and its place, and with a key by its tag.
    ///
    /// # Errors
    /// What is wrong, with object and frame; `out` has what came before it.
    pub fn raw(
        &self,
        index: &Index,
        frames: Range<u64>,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Finding> {
        let expected = self.expected(index.at)?;
        let (opener, mut left) = (Opener::new(), bytes);
        let (mut body, mut raw) = (Vec::with_capacity(MAX_BODY_BYTES), Vec::with_capacity(MAX_FRAME_BYTES));
        for number in frames {
            let opened = index.split(number, &mut left).and_then(|(bytes, stored)| {
                let header = FrameHeader::decode(bytes)?;
                if header.body_len as usize != stored.len() {
                    return Err(Fault::Malformed("length"));
                }
                header.check(bytes, stored)?;
                expected.frame(&header, number)?;
                body.clear();
                body.extend_from_slice(stored);
                opener.open(&header, &index.chunk_bytes, index.cipher.as_ref(), &mut body, &mut raw)
            });
            opened.map_err(|fault| expected.finding(Some(number), fault))?;
            out.extend_from_slice(&raw);
        }
        Ok(())
    }

    fn expected(&self, at: usize) -> Result<Expected<'_>, Finding> {
        Expected::new(&self.manifest, at, &self.firsts).ok_or_else(|| Finding::object("", Fault::Missing))
    }
}

impl Index {
    /// Where frames of the object begin and end in it; none when it does not have them all.
    pub fn range(&self, frames: &Range<u64>) -> Option<Range<u64>> {
        Some(self.place(frames.start)?..self.place(frames.end)?)
    }

    fn place(&self, frame: u64) -> Option<u64> {
        let nth = usize::try_from(frame.checked_sub(self.first)?).ok()?;
        self.places.get(nth).copied()
    }

    /// Takes one frame off the front: its header, and its body.
    fn split<'a>(
        &self,
        number: u64,
        left: &mut &'a [u8],
    ) -> Result<(&'a [u8; HEADER_BYTES], &'a [u8]), Fault> {
        let range = self.range(&(number..number.saturating_add(1))).ok_or(Fault::Cut)?;
        let len = usize::try_from(range.end - range.start).map_err(|_| Fault::Cut)?;
        let (frame, rest) = left.split_at_checked(len).ok_or(Fault::Cut)?;
        *left = rest;
        frame.split_first_chunk().ok_or(Fault::Cut)
    }
}
