//! Objects against the manifest, without any key: headers, frames in their order, length and SHA-256.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::chunk::{ChunkHeader, HEADER_BYTES as CHUNK_HEADER_BYTES};
use crate::error::{Fault, Finding};
use crate::frame::{End, FrameHeader, MAX_BODY_BYTES};
use crate::manifest::{Manifest, Stored, hex};
use crate::table::{self, Passing};

/// So much of a frame table is read at once.
const TABLE_PIECE: usize = 4 << 10;

/// Where objects come from.
pub trait Source {
    /// An object that is open. Who takes parts of a bundle needs one that can be read from any place.
    type Object: Read;

    /// Opens an object of the bundle; its name has been checked.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn open(&mut self, name: &str) -> io::Result<Self::Object>;
}

/// What is wrong with the objects, at most one finding for each. `each` is told of every object when it is done.
pub fn verify(
    manifest: &Manifest,
    source: &mut impl Source,
    mut each: impl FnMut(&Stored, Option<&Finding>),
) -> Vec<Finding> {
    let (mut findings, firsts) = (Vec::new(), manifest.first_frames());
    for (at, object) in manifest.objects.iter().enumerate() {
        let finding = verify_object(manifest, at, &firsts, source).err();
        each(object, finding.as_ref());
        findings.extend(finding);
    }
    findings
}

/// One object, by its place in the manifest.
///
/// # Errors
/// What is wrong with it.
pub fn verify_at(manifest: &Manifest, at: usize, source: &mut impl Source) -> Result<(), Finding> {
    verify_object(manifest, at, &manifest.first_frames(), source)
}

/// One object, by its place in the manifest, whose first frames `firsts` are.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn verify_object(
    manifest: &Manifest,
    at: usize,
    firsts: &[u64],
    source: &mut impl Source,
) -> Result<(), Finding> {
    let mut walk = Walk::begin(manifest, at, firsts, source)?;
    let mut body = Vec::with_capacity(MAX_BODY_BYTES);
    while walk.next(&mut body)?.is_some() {}
    walk.finish()
}

/// What is expected of one object.
pub(crate) struct Expected<'a> {
    manifest: &'a Manifest,
    pub(crate) stored: &'a Stored,
    number: u32,
    pub(crate) first: u64,
    /// Behind its last frame.
    pub(crate) end: u64,
    is_last: bool,
}

impl<'a> Expected<'a> {
    /// `firsts`: the manifest's first frames.
    pub(crate) fn new(manifest: &'a Manifest, at: usize, firsts: &[u64]) -> Option<Self> {
        let stored = manifest.objects.get(at)?;
        let (first, end) = (*firsts.get(at)?, *firsts.get(at + 1)?);
        let is_last = at + 1 == manifest.objects.len();
        Some(Self { manifest, stored, number: u32::try_from(at + 1).ok()?, first, end, is_last })
    }

    pub(crate) fn open<S: Source>(&self, source: &mut S) -> Result<S::Object, Finding> {
        source.open(&self.stored.name).map_err(|error| self.finding(None, read_fault(error)))
    }

    pub(crate) fn finding(&self, frame: Option<u64>, fault: Fault) -> Finding {
        Finding { object: self.stored.name.clone(), frame, fault }
    }

    /// The object's header.
    pub(crate) fn chunk(&self, bytes: &[u8; CHUNK_HEADER_BYTES]) -> Result<ChunkHeader, Fault> {
        let header = ChunkHeader::decode(bytes)?;
        same("bundle", hex(&header.bundle), hex(&self.manifest.bundle))?;
        same("version", header.version.number(), self.manifest.version.number())?;
        same("object", header.number, self.number)?;
        same("first frame", header.first_frame, self.first)?;
        same("cipher", u8::from(header.sealed), u8::from(self.manifest.sealed))?;
        Ok(header)
    }

    /// A frame, once its checksum is right.
    pub(crate) fn frame(&self, header: &FrameHeader, number: u64) -> Result<(), Fault> {
        same("frame", header.number, number)?;
        same("object", header.object, self.number)?;
        let is_last = number + 1 == self.end;
        let end = match (is_last, self.is_last) {
            (false, _) => End::None,
            (true, false) => End::Object,
            (true, true) => End::Bundle,
        };
        same("end", format!("{:?}", header.end), format!("{end:?}"))?;
        let most = self.manifest.frame_bytes();
        let start = number.saturating_mul(most);
        let raw_len = self.manifest.image_bytes.saturating_sub(start).min(most);
        same("raw length", u64::from(header.raw_len), raw_len)
    }
}

fn same<T: PartialEq + ToString>(field: &'static str, found: T, wanted: T) -> Result<(), Fault> {
    if found == wanted {
        return Ok(());
    }
    Err(Fault::Foreign { field, found: found.to_string(), wanted: wanted.to_string() })
}

pub(crate) fn read_fault(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        io::ErrorKind::UnexpectedEof => Fault::Cut,
        _ => Fault::Read(error),
    }
}

/// One object from its beginning to its end.
pub(crate) struct Walk<'a, R> {
    expected: Expected<'a>,
    reader: io::BufReader<R>,
    hasher: Sha256,
    bytes: u64,
    pub(crate) chunk_bytes: [u8; CHUNK_HEADER_BYTES],
    pub(crate) chunk: ChunkHeader,
    next: u64,
    /// What the frames so far make of it.
    table: Passing,
}

impl<'a, R: Read> Walk<'a, R> {
    pub(crate) fn begin<S: Source<Object = R>>(
        manifest: &'a Manifest,
        at: usize,
        firsts: &[u64],
        source: &mut S,
    ) -> Result<Self, Finding> {
        let Some(expected) = Expected::new(manifest, at, firsts) else {
            return Err(Finding::object("", Fault::Missing));
        };
        let reader = io::BufReader::with_capacity(MAX_BODY_BYTES, expected.open(source)?);
        let chunk = ChunkHeader {
            version: manifest.version,
            number: 0,
            bundle: [0; 16],
            salt: [0; 32],
            first_frame: 0,
            sealed: false,
        };
        let (next, chunk_bytes) = (expected.first, [0; CHUNK_HEADER_BYTES]);
        let (hasher, table) = (Sha256::new(), Passing::begin(expected.end - expected.first));
        let mut walk = Self { expected, reader, hasher, bytes: 0, chunk_bytes, chunk, next, table };
        let decoded = walk.read().and_then(|bytes| {
            walk.chunk_bytes = bytes;
            walk.expected.chunk(&bytes)
        });
        walk.chunk = decoded.map_err(|fault| walk.expected.finding(None, fault))?;
        Ok(walk)
    }

    /// The next frame and its body as it is stored; none behind the last one.
    pub(crate) fn next(&mut self, body: &mut Vec<u8>) -> Result<Option<FrameHeader>, Finding> {
        if self.next == self.expected.end {
            return Ok(None);
        }
        let number = self.next;
        let header = self.frame(number, body).map_err(|fault| self.expected.finding(Some(number), fault))?;
        self.next += 1;
        Ok(Some(header))
    }

    fn frame(&mut self, number: u64, body: &mut Vec<u8>) -> Result<FrameHeader, Fault> {
        let bytes = self.read()?;
        let header = FrameHeader::decode(&bytes)?;
        body.resize(header.body_len as usize, 0);
        self.reader.read_exact(body).map_err(read_fault)?;
        self.count(body);
        header.check(&bytes, body)?;
        self.expected.frame(&header, number)?;
        self.table.add(&header.body_len.to_le_bytes());
        Ok(header)
    }

    fn read<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(read_fault)?;
        self.count(&bytes);
        Ok(bytes)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub(crate) fn fault(&self, frame: u64, fault: Fault) -> Finding {
        self.expected.finding(Some(frame), fault)
    }

    /// Behind the last frame: the table follows and nothing more, and all of it is what the manifest says.
    pub(crate) fn finish(mut self) -> Result<(), Finding> {
        self.end().map_err(|fault| self.expected.finding(None, fault))
    }

    fn end(&mut self) -> Result<(), Fault> {
        self.table()?;
        if self.reader.read(&mut [0]).map_err(read_fault)? > 0 {
            return Err(Fault::Longer);
        }
        let stored = self.expected.stored;
        same("length", self.bytes, stored.bytes)?;
        let sha256 = hex(&std::mem::take(&mut self.hasher).finalize());
        if sha256 == stored.sha256 { Ok(()) } else { Err(Fault::Hash) }
    }

    fn table(&mut self) -> Result<(), Fault> {
        let mut left = table::len(self.expected.end - self.expected.first) - table::CRC;
        let (mut found, mut room) = (Passing::default(), [0; TABLE_PIECE]);
        while left > 0 {
            let len = usize::try_from(left).map_or(TABLE_PIECE, |left| left.min(TABLE_PIECE));
            let piece = &mut room[..len];
            self.reader.read_exact(piece).map_err(read_fault)?;
            self.count(piece);
            found.add(piece);
            left -= len as u64;
        }
        let crc = self.read()?;
        std::mem::take(&mut self.table).compare(found, crc)
    }
}
