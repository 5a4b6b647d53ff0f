//! The content of a bundle: all of it in order, or a part of it from any place.

use std::collections::VecDeque;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use bytes::Bytes;
use vtl_codec::{Cipher, Key, PrivateKey};

use crate::chunk::{ChunkHeader, HEADER_BYTES as CHUNK_HEADER_BYTES};
use crate::error::{BundleError, Fault, Finding};
use crate::frame::{FrameHeader, HEADER_BYTES, MAX_BODY_BYTES, MAX_FRAME_BYTES, Opener};
use crate::manifest::{Inside, Manifest, manifest_name};
use crate::map::Entry;
use crate::table;
use crate::verify::{Expected, Source, Walk, read_fault, verify_object};

/// One thing on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A block, in one piece or several.
    Block(&'a [Bytes]),
    /// A filemark.
    Filemark,
}

/// The content of a bundle whose manifest opened.
pub struct Image<'a, S> {
    manifest: &'a Manifest,
    firsts: Vec<u64>,
    inside: Inside,
    data_key: Option<Key>,
    source: S,
    opener: Opener,
}

impl<'a, S: Source> Image<'a, S> {
    /// Opens the inside of the manifest; with the private key when it is sealed.
    ///
    /// # Errors
    /// The key is missing or another one, or the inside does not belong to these objects.
    pub fn open(
        manifest: &'a Manifest,
        private: Option<&PrivateKey>,
        source: S,
    ) -> Result<Self, BundleError> {
        let (data_key, inside) = unlock(manifest, private)?;
        Ok(Self {
            manifest,
            firsts: manifest.first_frames(),
            inside,
            data_key,
            source,
            opener: Opener::new(),
        })
    }

    /// What only the owner of the content should know.
    pub fn inside(&self) -> &Inside {
        &self.inside
    }

    /// All bytes of all blocks, in order. Each piece has been checked by its frame; whether all together are right is known when
    /// this returns: until then what came is to be kept apart.
    ///
    /// # Errors
    /// What is wrong, with object and frame.
    pub fn copy(&mut self, out: impl FnMut(Bytes) -> io::Result<()>) -> Result<(), BundleError> {
        let Self { manifest, firsts, inside, data_key, source, opener } = self;
        copy(&Whole { manifest, firsts, inside, data_key: data_key.as_ref(), opener }, source, out)
    }

    /// Blocks and filemarks, in order; as [`Image::copy`].
    ///
    /// # Errors
    /// What is wrong, with object and frame.
    pub fn events(&mut self, mut each: impl FnMut(Event<'_>) -> io::Result<()>) -> Result<(), BundleError> {
        let Self { manifest, firsts, inside, data_key, source, opener } = self;
        let mut blocks =
            Blocks { entries: inside.map.entries(), left: 0, len: 0, here: 0, block: Vec::new() };
        blocks.marks(&mut each).map_err(BundleError::Write)?;
        let whole = Whole { manifest, firsts, inside, data_key: data_key.as_ref(), opener };
        copy(&whole, source, |bytes| blocks.feed(bytes, &mut each))
    }

    /// Where the blocks of a file lie in the image: file 0 is what comes before the first filemark.
    ///
    /// # Errors
    /// There is no such file.
    pub fn file(&self, number: u64) -> Result<Range<u64>, BundleError> {
        let (mut file, mut at, mut start) = (0_u64, 0_u64, 0_u64);
        for entry in self.inside.map.entries() {
            match entry {
                Entry::Blocks { len, count } => at += u64::from(len) * count,
                Entry::Marks { count } => {
                    if number < file + count {
                        break;
                    }
                    file += count;
                    start = at;
                }
            }
        }
        let last = self.inside.map.marks();
        match number {
            _ if number > last => Err(BundleError::Range(format!(
                "there is no file {number}: with {last} filemarks the files are 0 to {last}"
            ))),
            // Between two filemarks side by side there is nothing.
            _ if number > file => Ok(at..at),
            _ => Ok(start..at),
        }
    }

    /// Where a block lies in the image, counted from 0 without filemarks.
    ///
    /// # Errors
    /// There is no such block.
    pub fn block(&self, number: u64) -> Result<Range<u64>, BundleError> {
        let (mut first, mut at) = (0_u64, 0_u64);
        for entry in self.inside.map.entries() {
            let Entry::Blocks { len, count } = entry else { continue };
            if number < first + count {
                let start = at + (number - first) * u64::from(len);
                return Ok(start..start + u64::from(len));
            }
            first += count;
            at += u64::from(len) * count;
        }
        Err(BundleError::Range(format!("there is no block {number}: there are {first}")))
    }

    /// The objects that a part of the image lies in, each as a whole against the manifest.
    ///
    /// # Errors
    /// What is wrong, with object and frame.
    pub fn check(&mut self, range: Range<u64>) -> Result<(), BundleError> {
        for at in self.objects_of(&range)? {
            verify_object(self.manifest, at, &self.firsts, &mut self.source)?;
        }
        Ok(())
    }

    fn objects_of(&self, range: &Range<u64>) -> Result<Range<usize>, BundleError> {
        let len = self.manifest.image_bytes;
        if range.start > range.end || range.end > len {
            let why = format!("bytes {} to {} are not in an image of {len}", range.start, range.end);
            return Err(BundleError::Range(why));
        }
        let frames = frames_of(range, self.manifest.frame_bytes());
        if frames.is_empty() {
            return Ok(0..0);
        }
        let object = |frame: u64| self.firsts.partition_point(|first| *first <= frame) - 1;
        Ok(object(frames.start)..object(frames.end - 1) + 1)
    }
}

impl<S: Source> Image<'_, S>
where
    S::Object: Seek,
{
    /// A part of the image, by frames alone: each is checked, objects as a whole are not. Who needs that calls [`Image::check`] before.
    ///
    /// # Errors
    /// The range is beyond the image, or something is wrong, with object and frame.
    pub fn read(
        &mut self,
        range: Range<u64>,
        mut out: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), BundleError> {
        let (mut body, mut raw) = (Vec::with_capacity(MAX_BODY_BYTES), Vec::with_capacity(MAX_FRAME_BYTES));
        for at in self.objects_of(&range)? {
            let Some(expected) = Expected::new(self.manifest, at, &self.firsts) else { break };
            let mut object = Object::open(&expected, &mut self.source, self.data_key.as_ref())?;
            let frames = frames_of(&range, self.manifest.frame_bytes());
            for number in frames.start.max(self.firsts[at])..frames.end.min(self.firsts[at + 1]) {
                let place = Some(number);
                object
                    .frame(&expected, number, &mut body, &mut raw, &self.opener)
                    .map_err(|fault| expected.finding(place, fault))?;
                let start = number * self.manifest.frame_bytes();
                let from = range.start.saturating_sub(start).min(raw.len() as u64) as usize;
                let to = (range.end - start).min(raw.len() as u64) as usize;
                out(raw.get(from..to).unwrap_or_default()).map_err(BundleError::Write)?;
            }
        }
        Ok(())
    }
}

/// What it takes to read all objects.
struct Whole<'a> {
    manifest: &'a Manifest,
    firsts: &'a [u64],
    inside: &'a Inside,
    data_key: Option<&'a Key>,
    opener: &'a Opener,
}

fn copy<S: Source>(
    whole: &Whole<'_>,
    source: &mut S,
    mut out: impl FnMut(Bytes) -> io::Result<()>,
) -> Result<(), BundleError> {
    let Whole { manifest, firsts, inside, data_key, opener } = *whole;
    let mut hasher = blake3::Hasher::new();
    let (mut body, mut rooms) = (Vec::with_capacity(MAX_BODY_BYTES), Rooms::default());
    for at in 0..manifest.objects.len() {
        let mut walk = Walk::begin(manifest, at, firsts, source)?;
        let cipher = cipher(&walk.chunk, data_key)
            .map_err(|fault| Finding::object(&manifest.objects[at].name, fault))?;
        while let Some(header) = walk.next(&mut body)? {
            let mut raw = rooms.take();
            opener
                .open(&header, &walk.chunk_bytes, cipher.as_ref(), &mut body, &mut raw)
                .map_err(|fault| walk.fault(header.number, fault))?;
            hasher.update(&raw);
            out(rooms.lend(raw)).map_err(BundleError::Write)?;
        }
        walk.finish()?;
    }
    match *hasher.finalize().as_bytes() == inside.blake3 {
        true => Ok(()),
        false => Err(Finding::object(&manifest_name(manifest.label), Fault::Content).into()),
    }
}

/// The data key, if there is one, and the inside that it opens.
pub(crate) fn unlock(
    manifest: &Manifest,
    private: Option<&PrivateKey>,
) -> Result<(Option<Key>, Inside), BundleError> {
    let data_key = match (manifest.sealed, private) {
        (false, _) => None,
        (true, Some(private)) => Some(manifest.data_key(private)?),
        (true, None) => {
            let recipients = manifest.recipients.iter().map(|recipient| recipient.key.clone()).collect();
            return Err(BundleError::NeedsKey { recipients });
        }
    };
    let inside = manifest.inside(data_key.as_ref())?;
    Ok((data_key, inside))
}

fn frames_of(range: &Range<u64>, frame_bytes: u64) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / frame_bytes..range.end.div_ceil(frame_bytes)
}

pub(crate) fn cipher(chunk: &ChunkHeader, data_key: Option<&Key>) -> Result<Option<Cipher>, Fault> {
    match data_key {
        Some(key) if chunk.sealed => chunk.cipher(key).map(Some).map_err(|_| Fault::Refused),
        _ => Ok(None),
    }
}

/// An object that frames are taken from by their number.
struct Object<R> {
    reader: R,
    chunk_bytes: [u8; CHUNK_HEADER_BYTES],
    cipher: Option<Cipher>,
    /// Where each frame begins, and where the last one ends.
    places: Vec<u64>,
}

impl<R: Read + Seek> Object<R> {
    fn open<S: Source<Object = R>>(
        expected: &Expected<'_>,
        source: &mut S,
        data_key: Option<&Key>,
    ) -> Result<Self, Finding> {
        let mut reader = expected.open(source)?;
        let object = |fault| expected.finding(None, fault);
        let mut chunk_bytes = [0; CHUNK_HEADER_BYTES];
        reader.read_exact(&mut chunk_bytes).map_err(|error| object(read_fault(error)))?;
        let chunk = expected.chunk(&chunk_bytes).map_err(object)?;
        let cipher = cipher(&chunk, data_key).map_err(object)?;
        let places = table_of(&mut reader, expected).and_then(|table| places(&table, expected));
        let places = places.map_err(object)?;
        Ok(Self { reader, chunk_bytes, cipher, places })
    }

    fn frame(
        &mut self,
        expected: &Expected<'_>,
        number: u64,
        body: &mut Vec<u8>,
        raw: &mut Vec<u8>,
        opener: &Opener,
    ) -> Result<(), Fault> {
        let nth = usize::try_from(number.saturating_sub(expected.first)).unwrap_or(usize::MAX);
        let &[from, to] = self.places.get(nth..).and_then(|at| at.first_chunk()).ok_or(Fault::Cut)?;
        let mut bytes = [0; HEADER_BYTES];
        self.reader.seek(SeekFrom::Start(from)).map_err(read_fault)?;
        self.reader.read_exact(&mut bytes).map_err(read_fault)?;
        let header = FrameHeader::decode(&bytes)?;
        if from + HEADER_BYTES as u64 + u64::from(header.body_len) != to {
            return Err(Fault::Malformed("length"));
        }
        body.resize(header.body_len as usize, 0);
        self.reader.read_exact(body).map_err(read_fault)?;
        header.check(&bytes, body)?;
        expected.frame(&header, number)?;
        opener.open(&header, &self.chunk_bytes, self.cipher.as_ref(), body, raw)
    }
}

/// The frame table at the object's end.
fn table_of(reader: &mut (impl Read + Seek), expected: &Expected<'_>) -> Result<Vec<u8>, Fault> {
    let frames = expected.end - expected.first;
    let end = expected.stored.bytes.checked_sub(table::len(frames)).ok_or(Fault::Malformed("frame table"))?;
    reader.seek(SeekFrom::Start(end)).map_err(read_fault)?;
    let mut bytes = Vec::new();
    reader.take(table::len(frames)).read_to_end(&mut bytes).map_err(read_fault)?;
    Ok(bytes)
}

/// Where frames begin and the last one ends, by the table.
pub(crate) fn places(table: &[u8], expected: &Expected<'_>) -> Result<Vec<u64>, Fault> {
    let frames = expected.end - expected.first;
    let lengths = table::decode(table, frames)?;
    let mut at = CHUNK_HEADER_BYTES as u64;
    let mut places = Vec::with_capacity(lengths.len() + 1);
    places.push(at);
    for length in lengths {
        at += HEADER_BYTES as u64 + u64::from(length);
        places.push(at);
    }
    let end = expected.stored.bytes.checked_sub(table::len(frames));
    if Some(at) == end { Ok(places) } else { Err(Fault::Malformed("frame table")) }
}

/// Memory of frames, taken again when nobody has a share of it any more.
#[derive(Default)]
struct Rooms(VecDeque<Bytes>);

impl Rooms {
    /// Whoever keeps more than so many frames keeps them.
    const MOST: usize = 128;

    fn take(&mut self) -> Vec<u8> {
        let back = self.0.iter().position(Bytes::is_unique).and_then(|at| self.0.remove(at));
        match back.map(Bytes::try_into_mut) {
            Some(Ok(mut back)) => {
                back.clear();
                back.into()
            }
            _ => Vec::with_capacity(MAX_FRAME_BYTES),
        }
    }

    fn lend(&mut self, raw: Vec<u8>) -> Bytes {
        let lent = Bytes::from(raw);
        if self.0.len() < Self::MOST {
            self.0.push_back(lent.clone());
        }
        lent
    }
}

/// Cuts the image into blocks again.
struct Blocks<I> {
    entries: I,
    /// Blocks of this length still to come.
    left: u64,
    len: usize,
    /// So much of the next block is here.
    here: usize,
    block: Vec<Bytes>,
}

impl<I: Iterator<Item = Entry>> Blocks<I> {
    /// Filemarks up to the next block.
    fn marks(&mut self, each: &mut impl FnMut(Event<'_>) -> io::Result<()>) -> io::Result<()> {
        while self.left == 0 {
            match self.entries.next() {
                None => return Ok(()),
                Some(Entry::Marks { count }) => (0..count).try_for_each(|_| each(Event::Filemark))?,
                Some(Entry::Blocks { len, count }) => (self.len, self.left) = (len as usize, count),
            }
        }
        Ok(())
    }

    fn feed(
        &mut self,
        mut bytes: Bytes,
        each: &mut impl FnMut(Event<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() && self.left > 0 {
            let piece = bytes.split_to(bytes.len().min(self.len - self.here));
            self.here += piece.len();
            self.block.push(piece);
            if self.here == self.len {
                each(Event::Block(&self.block))?;
                self.block.clear();
                (self.here, self.left) = (0, self.left - 1);
                self.marks(each)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many frames, each with its number in it, the first of them kept by somebody.
    fn lent(rooms: &mut Rooms, count: u8) -> Vec<Bytes> {
        let fill = |number: u8| {
            let mut room = rooms.take();
            assert!(room.is_empty() && room.capacity() == MAX_FRAME_BYTES, "{number}");
            room.resize(1000, number);
            rooms.lend(room)
        };
        (0..count).map(fill).collect()
    }

    #[test]
    fn memory_of_a_frame_is_taken_again_when_nobody_shares_it_and_not_before() {
        let mut rooms = Rooms::default();
        let mut all = lent(&mut rooms, 3);
        let places: Vec<_> = all.iter().map(|one| one.as_ptr()).collect();
        // A piece of the second one stays with somebody.
        let piece = all[1].slice(10..20);
        all.clear();
        let again = lent(&mut rooms, 3);
        assert_eq!((again[0].as_ptr(), again[1].as_ptr()), (places[0], places[2]));
        assert!(again.iter().all(|one| one.as_ptr() != places[1]));
        assert_eq!(piece, [1; 10].as_slice());
    }

    #[test]
    fn a_frame_that_is_kept_stops_no_other_from_being_used_again() {
        let mut rooms = Rooms::default();
        let kept = lent(&mut rooms, 1);
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            places.extend(lent(&mut rooms, 1).iter().map(|one| one.as_ptr()));
        }
        assert!(places.len() < 4, "{}", places.len());
        assert_eq!(kept[0], [0; 1000].as_slice());
    }
}
