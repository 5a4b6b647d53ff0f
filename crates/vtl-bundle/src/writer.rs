//! Blocks and filemarks to objects.
//!
//! ```text
//! block -> image -> frame full: compress -> held back until the next one shows whether it is the last of its object
//!       -> seal for its place -> object: Sink; MD5 and SHA-256, by a thread of their own
//! ```
//!
//! Order: objects one after the other, the manifest last. A writer that failed is of no use afterwards.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use bytes::Bytes;
use vtl_codec::{Cipher, Key, Method, Portion, PublicKey, Randomness, Run, SigningKey};
use vtl_digest::Both;
use vtl_types::Label;

use crate::chunk::{ChunkHeader, HEADER_BYTES as CHUNK_HEADER_BYTES};
use crate::error::Fault;
use crate::frame::{End, Frame, MAX_BODY_BYTES, Packed};
use crate::hashers::Hasher;
use crate::manifest::{
    Attributes, Closed, Inside, MAX_RECIPIENTS, Manifest, ManifestError, Stamp, Stored, hex, manifest_name,
    object_name,
};
use crate::map::{Map, MapError};
use crate::packers::{Lost, Packers};
use crate::table;
use crate::version::Version;

/// How long chunk objects may be at most.
pub const CHUNK_SIZES: RangeInclusive<u64> = 1 << 20..=1 << 40;
const MAX_OBJECTS: u32 = 999_999;

/// Where objects go: one at a time, in order.
pub trait Sink {
    /// A new object; its name is a plain file name.
    ///
    /// # Errors
    /// It cannot be begun.
    fn begin(&mut self, name: &str) -> io::Result<()>;

    /// Its next bytes.
    ///
    /// # Errors
    /// They cannot be kept.
    fn write(&mut self, bytes: &Bytes) -> io::Result<()>;

    /// It is complete: its length and hashes. Of the manifest `frames` is 0.
    ///
    /// # Errors
    /// It cannot be kept, or is not what was written.
    fn end(&mut self, object: &Stored) -> io::Result<()>;
}

/// What a bundle is made with.
pub struct Settings {
    /// Of the format; another one than the newest only to go on with what was begun with it.
    pub version: Version,
    /// The cartridge's label.
    pub label: Label,
    /// When: the folder's name has it too.
    pub created: Stamp,
    /// The cartridge's write generation.
    pub generation: u64,
    /// Serial numbers and what else belongs to the cartridge.
    pub attributes: Attributes,
    /// What frames are tried with.
    pub codec: Method,
    /// zstd's level.
    pub level: i32,
    /// The most that an object may have.
    pub chunk_bytes: u64,
    /// Who can open it; nobody need when there is none: then it is not encrypted.
    pub recipients: Vec<PublicKey>,
    /// Who says that it is his.
    pub signing: Option<SigningKey>,
    /// Where keys, salts and ids come from.
    pub random: Randomness,
}

/// What makes a bundle the one that it is. Who keeps it can go on with a bundle that was cut off.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Random, one for each bundle.
    pub bundle: [u8; 16],
    /// Random; none when the bundle is not encrypted.
    pub data_key: Option<Key>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// There are no random bytes.
    pub fn new(random: &Randomness, sealed: bool) -> io::Result<Self> {
        let mut bundle = [0; 16];
        random.fill(&mut bundle)?;
        let data_key = if sealed { Some(Key::random(random)?) } else { None };
        Ok(Self { bundle, data_key })
    }
}

/// Why there is no bundle.
#[derive(Debug)]
pub enum WriteError {
    /// It cannot be made with these settings.
    Settings(String),
    /// The caller's sink failed.
    Sink {
        /// Which object.
        object: String,
        /// Why.
        error: io::Error,
    },
    /// A block cannot be exported.
    Map(MapError),
    /// The manifest cannot be made.
    Manifest(ManifestError),
    /// There are no random bytes.
    Random(io::Error),
    /// The cryptographic library refuses.
    Refused(Fault),
    /// A thread that compressed or hashed has ended.
    Thread,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(why) => f.write_str(why),
            Self::Sink { object, error } => write!(f, "{object} cannot be written: {error}"),
            Self::Map(error) => error.fmt(f),
            Self::Manifest(error) => error.fmt(f),
            Self::Random(error) => write!(f, "there are no random bytes: {error}"),
            Self::Refused(fault) => write!(f, "a frame cannot be sealed: {fault}"),
            Self::Thread => {
                f.write_str("a thread that compressed or hashed has ended (this is a fault of the program)")
            }
        }
    }
}

impl std::error::Error for WriteError {}

impl From<Lost> for WriteError {
    fn from(_: Lost) -> Self {
        Self::Thread
    }
}

impl From<MapError> for WriteError {
    fn from(error: MapError) -> Self {
        Self::Map(error)
    }
}

impl From<ManifestError> for WriteError {
    fn from(error: ManifestError) -> Self {
        Self::Manifest(error)
    }
}

/// Writes one bundle.
pub struct Writer<S> {
    sink: S,
    settings: Settings,
    packers: Packers,
    hasher: Hasher,
    data_key: Option<Key>,
    bundle: [u8; 16],
    map: Map,
    content: blake3::Hasher,
    /// Bytes of the image that make no whole frame yet.
    raw: Vec<u8>,
    /// Where these come from, in order.
    runs: Vec<Run>,
    held: Option<Packed>,
    next_frame: u64,
    /// Frames still to come that are in objects which are done.
    skip: u64,
    object: Option<Open>,
    done: Vec<Stored>,
}

/// The object that is being written.
struct Open {
    name: String,
    number: u32,
    header: [u8; CHUNK_HEADER_BYTES],
    seal: Option<Cipher>,
    bytes: u64,
    /// Of the bodies of its frames.
    lengths: Vec<u32>,
}

impl<S: Sink> Writer<S> {
    /// Begins. Only public keys are needed.
    ///
    /// # Errors
    /// The settings cannot be, or there are no random bytes.
    pub fn new(settings: Settings, sink: S) -> Result<Self, WriteError> {
        let sealed = !settings.recipients.is_empty();
        let identity = Identity::new(&settings.random, sealed).map_err(WriteError::Random)?;
        Self::resume(settings, identity, Vec::new(), sink)
    }

    /// Goes on with a bundle whose first objects are `done`: the same blocks and filemarks must come again, from the first on. Frames of objects
    /// that are done are hashed and passed over; every object that follows gets a salt of its own, so nothing is sealed twice with one key.
    ///
    /// # Errors
    /// As [`Writer::new`]; objects or keys are not those of such a bundle.
    pub fn resume(
        settings: Settings,
        identity: Identity,
        done: Vec<Stored>,
        sink: S,
    ) -> Result<Self, WriteError> {
        if !CHUNK_SIZES.contains(&settings.chunk_bytes) {
            let (least, most) = (CHUNK_SIZES.start() >> 20, CHUNK_SIZES.end() >> 20);
            let why = format!(
                "a chunk size of {} bytes cannot be: it is {least}m to {most}m",
                settings.chunk_bytes
            );
            return Err(WriteError::Settings(why));
        }
        if settings.recipients.len() > MAX_RECIPIENTS {
            let why =
                format!("{} recipients are too many: at most {MAX_RECIPIENTS}", settings.recipients.len());
            return Err(WriteError::Settings(why));
        }
        let Identity { bundle, data_key } = identity;
        let named =
            done.iter().zip(1..).all(|(object, number)| object.name == object_name(settings.label, number));
        if !named || data_key.is_none() != settings.recipients.is_empty() {
            let why = "objects that are done, or the data key, are not those of such a bundle";
            return Err(WriteError::Settings(why.to_owned()));
        }
        let first = done.iter().map(|object| object.frames).sum();
        Ok(Self {
            sink,
            packers: Packers::new(settings.codec, settings.level, 0),
            hasher: Hasher::here(),
            settings,
            data_key,
            bundle,
            map: Map::default(),
            content: blake3::Hasher::new(),
            raw: Vec::with_capacity(MAX_BODY_BYTES),
            runs: Vec::new(),
            held: None,
            next_frame: first,
            skip: first,
            object: None,
            done,
        })
    }

    /// Has so many threads compress, and others hash, beside the caller's; before the first block. A writer has none unless it is told.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.packers = Packers::new(self.settings.codec, self.settings.level, threads);
        self.hasher = if threads == 0 { Hasher::here() } else { Hasher::thread() };
        self
    }

    /// The next block.
    ///
    /// # Errors
    /// Its length cannot be, or the sink fails.
    pub fn block(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.block_of(&[Portion { bytes: Bytes::copy_from_slice(bytes), of: None }])
    }

    /// The next block, from its pieces. What they were decompressed from is taken as it is where a frame has all of it.
    ///
    /// # Errors
    /// As [`Writer::block`].
    pub fn block_of(&mut self, pieces: &[Portion]) -> Result<(), WriteError> {
        self.map.block(pieces.iter().map(|piece| piece.bytes.len()).sum())?;
        pieces.iter().try_for_each(|piece| self.take(piece))
    }

    fn take(&mut self, piece: &Portion) -> Result<(), WriteError> {
        let frame_bytes = self.settings.version.frame_bytes();
        let mut left: &[u8] = &piece.bytes;
        while !left.is_empty() {
            // A full frame waits for a byte behind it: the last one may be full too.
            if self.raw.len() == frame_bytes {
                self.pack()?;
            }
            let (taken, rest) = left.split_at(left.len().min(frame_bytes - self.raw.len()));
            self.raw.extend_from_slice(taken);
            Run::new(piece, piece.bytes.len() - left.len(), taken.len()).add_to(&mut self.runs);
            left = rest;
        }
        Ok(())
    }

    /// So many filemarks.
    ///
    /// # Errors
    /// There are too many.
    pub fn filemarks(&mut self, count: u64) -> Result<(), WriteError> {
        Ok(self.map.filemarks(count)?)
    }

    /// Bytes of blocks so far.
    pub fn image_bytes(&self) -> u64 {
        self.map.image_bytes()
    }

    /// The end of the tape: last frames, manifest.
    ///
    /// # Errors
    /// The sink fails, or the manifest is too long.
    pub fn finish(mut self) -> Result<(Manifest, S), WriteError> {
        self.pack()?;
        if self.skip > 0 {
            let why = format!("what came is shorter than the objects that are done, by {} frames", self.skip);
            return Err(WriteError::Settings(why));
        }
        while let Some(packed) = self.packers.take()? {
            self.next(packed)?;
        }
        if let Some(last) = self.held.take() {
            self.place(last, End::Bundle)?;
        }
        let mut manifest = Manifest {
            version: self.settings.version,
            bundle: self.bundle,
            label: self.settings.label,
            created: self.settings.created,
            generation: self.settings.generation,
            codec: self.settings.codec,
            sealed: self.data_key.is_some(),
            image_bytes: self.map.image_bytes(),
            objects: self.done,
            recipients: Vec::new(),
            inside: Closed::none(),
        };
        if let Some(key) = &self.data_key {
            manifest.rewrap(key, &self.settings.recipients)?;
        }
        let blake3 = *self.content.finalize().as_bytes();
        let inside = Inside { attributes: self.settings.attributes, blake3, map: self.map };
        manifest.close(inside, self.data_key.as_ref(), &self.settings.random)?;
        let bytes = manifest.encode(self.settings.signing.as_ref())?;
        put(&mut self.sink, &manifest_name(manifest.label), &bytes.into())?;
        Ok((manifest, self.sink))
    }

    /// Has what is there compressed.
    fn pack(&mut self) -> Result<(), WriteError> {
        self.content.update(&self.raw);
        if let Some(left) = self.skip.checked_sub(1) {
            self.skip = left;
            self.raw.clear();
            self.runs.clear();
            return Ok(());
        }
        let raw = std::mem::replace(&mut self.raw, Vec::with_capacity(MAX_BODY_BYTES));
        // A frame may wait for a thread.
        let runs = Run::only_wholes(std::mem::take(&mut self.runs));
        match self.packers.give(Frame { raw, runs })? {
            Some(packed) => self.next(packed),
            None => Ok(()),
        }
    }

    /// The next frame in order is packed: the one before it can be placed.
    fn next(&mut self, packed: Packed) -> Result<(), WriteError> {
        if let Some(before) = self.held.take() {
            let end = if self.fits(&before, &packed) { End::None } else { End::Object };
            self.place(before, end)?;
        }
        self.held = Some(packed);
        Ok(())
    }

    /// Whether the object has room for both.
    fn fits(&self, before: &Packed, next: &Packed) -> bool {
        let sealed = self.data_key.is_some();
        let (used, frames) = self
            .object
            .as_ref()
            .map_or((CHUNK_HEADER_BYTES as u64, 0), |object| (object.bytes, object.lengths.len() as u64));
        let both = before.len(sealed) + next.len(sealed) + table::len(frames + 2);
        used + both <= self.settings.chunk_bytes
    }

    fn place(&mut self, packed: Packed, end: End) -> Result<(), WriteError> {
        let mut object = match self.object.take() {
            Some(object) => object,
            None => self.begin()?,
        };
        let placed = packed.place(self.next_frame, object.number, end, object.seal.as_ref(), &object.header);
        let (header, body) = placed.map_err(WriteError::Refused)?;
        object.lengths.push(body.len() as u32);
        self.write(&mut object, Bytes::copy_from_slice(&header))?;
        self.write(&mut object, body.into())?;
        self.next_frame += 1;
        match end {
            End::None => self.object = Some(object),
            End::Object | End::Bundle => self.end(object)?,
        }
        Ok(())
    }

    fn write(&mut self, object: &mut Open, bytes: Bytes) -> Result<(), WriteError> {
        object.bytes += bytes.len() as u64;
        self.hasher.update(bytes.clone())?;
        self.sink.write(&bytes).map_err(|error| WriteError::Sink { object: object.name.clone(), error })
    }

    fn end(&mut self, mut object: Open) -> Result<(), WriteError> {
        let table = table::encode(&object.lengths);
        self.write(&mut object, table.into())?;
        let (md5, sha256) = self.hasher.finish()?;
        let stored = Stored {
            name: object.name,
            bytes: object.bytes,
            md5: hex(&md5),
            sha256: hex(&sha256),
            frames: object.lengths.len() as u64,
        };
        match self.sink.end(&stored) {
            Ok(()) => self.done.push(stored),
            Err(error) => return Err(WriteError::Sink { object: stored.name, error }),
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Open, WriteError> {
        let number = u32::try_from(self.done.len() + 1).ok().filter(|number| *number <= MAX_OBJECTS);
        let number = number.ok_or_else(|| {
            WriteError::Settings(format!("{MAX_OBJECTS} objects are not enough (choose a larger chunk size)"))
        })?;
        let mut salt = [0; 32];
        if self.data_key.is_some() {
            self.settings.random.fill(&mut salt).map_err(WriteError::Random)?;
        }
        let sealed = self.data_key.is_some();
        let header = ChunkHeader {
            version: self.settings.version,
            number,
            bundle: self.bundle,
            salt,
            first_frame: self.next_frame,
            sealed,
        };
        let seal = self.data_key.as_ref().map(|key| header.cipher(key)).transpose();
        let seal = seal.map_err(|_| WriteError::Refused(Fault::Refused))?;
        let name = object_name(self.settings.label, number);
        self.sink.begin(&name).map_err(|error| WriteError::Sink { object: name.clone(), error })?;
        let mut object = Open { name, number, header: header.encode(), seal, bytes: 0, lengths: Vec::new() };
        let header = Bytes::copy_from_slice(&object.header);
        self.write(&mut object, header)?;
        Ok(object)
    }
}

/// An object that is there already as a whole.
fn put(sink: &mut impl Sink, name: &str, bytes: &Bytes) -> Result<(), WriteError> {
    let mut hashes = Both::new();
    hashes.update(bytes);
    let (md5, sha256) = hashes.finish();
    let (md5, sha256) = (hex(&md5), hex(&sha256));
    let stored = Stored { name: name.to_owned(), bytes: bytes.len() as u64, md5, sha256, frames: 0 };
    let written = sink.begin(name).and_then(|()| sink.write(bytes)).and_then(|()| sink.end(&stored));
    written.map_err(|error| WriteError::Sink { object: name.to_owned(), error })
}
