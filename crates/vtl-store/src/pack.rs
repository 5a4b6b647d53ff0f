//! The bytes of a pack: header, regions, footer; and a pack's table read back.
//!
//! A pack is an address space of raw bytes: each chunk has its raw address in it, for ever. Rewriting a pack without its dead
//! chunks makes the next *generation* of the same pack, in which every chunk that is left keeps its address; so nothing
//! that refers to a pack has to change when it is rewritten.
//!
//! In an encrypted pool entries and stored bytes are sealed, each for its place in the pack and generation; a [`Frame`] knows how.
//!
//! Byte tables: `docs/formats/pack.md`, `docs/formats/encryption.md`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_durable::{DIRECT_ALIGN, DiskError, DiskFile};

use crate::cipher::{Domain, NotOpened, OVERHEAD, Seal, Use};
use crate::codec::{Algorithm, Encoded, Fingerprint};
use crate::types::{MAX_CHUNK_BYTES, MAX_REGION_BYTES};

/// Durable points end on a multiple of this, and a pack that streams write is written in pieces of whole ones.
pub(crate) const PAGE: u64 = 4096;
const _: () = assert!((PAGE as usize).is_multiple_of(DIRECT_ALIGN), "whole pages can be written directly");
pub(crate) const TRAILER_BYTES: u64 = 64;
/// A region's header without its entries.
pub(crate) const REGION_HEADER: u64 = 40;
pub(crate) const ENTRY_BYTES: u64 = 40;
/// What a region costs in the footer beside its header and entries.
pub(crate) const FOOTER_PREFIX: u64 = 4;
/// A pack has at most so many chunks: their number in the table has 16 bits in the index.
pub(crate) const MAX_CHUNKS: usize = 65_535;
/// A pack's raw addresses stay below.
pub(crate) const MAX_RAW: u64 = 1 << 31;
const MAGIC: [u8; 8] = *b"VTLPACK\0";
const FOOT_MAGIC: [u8; 8] = *b"VTLPFOOT";
const REGION_MAGIC: [u8; 4] = *b"vRgn";
pub(crate) const VERSION: u32 = 0;
const FORCED: u8 = 1;
/// In the place of the algorithm of a sealed region: it stands with the entries.
const SEALED: u8 = 255;
/// What the two parts of a region are sealed for, with the region's offset.
const ENTRIES: u8 = 0;
const STORED: u8 = 1;
/// Bytes read at a time when a pack is walked; no region's header is longer than a second of these.
const WINDOW: usize = 4 << 20;

/// Which pack; never used twice. The upper half of the epoch counts starts of the store, the lower is random, so that two histories
/// of one pool never mean the same pack.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct PackId {
    pub(crate) epoch: u64,
    pub(crate) number: u32,
}

const SUFFIX: &str = ".pack";

impl PackId {
    /// In which start of the store it was made.
    pub(crate) fn start(self) -> u32 {
        (self.epoch >> 32) as u32
    }

    /// What the index knows it by: all but the random part.
    pub(crate) fn key(self) -> u64 {
        u64::from(self.start()) << 32 | u64::from(self.number)
    }

    /// The folder of packs that it is in: one of 256.
    pub(crate) fn folder(self) -> String {
        format!("{:02x}", self.number & 0xff)
    }

    pub(crate) fn file_name(self, generation: u16) -> String {
        format!("{self}.{generation:04x}{SUFFIX}")
    }

    pub(crate) fn parse(file_name: &str) -> Option<(Self, u16)> {
        let (id, generation) = file_name.strip_suffix(SUFFIX)?.split_once('.')?;
        let (epoch, number) = id.split_once('-')?;
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let id = Self { epoch, number: u32::from_str_radix(number, 16).ok()? };
        let generation = u16::from_str_radix(generation, 16).ok()?;
        (id.file_name(generation) == file_name).then_some((id, generation))
    }

    pub(crate) fn put(self, writer: &mut Writer) {
        writer.u64(self.epoch).u32(self.number);
    }

    pub(crate) fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { epoch: reader.u64("pack epoch")?, number: reader.u32("pack number")? })
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.epoch, self.number)
    }
}

/// What a pack says of itself at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackHeader {
    pub(crate) store_id: [u8; 16],
    pub(crate) id: PackId,
    pub(crate) generation: u16,
}

impl PackHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(PAGE as usize);
        writer.raw(&MAGIC).u32(VERSION).u32(PAGE as u32).raw(&self.store_id);
        self.id.put(&mut writer);
        writer.u16(self.generation).u16(0).crc().pad_to(PAGE as usize);
        writer.into_bytes()
    }

    /// What a page says that it is, for tools: a store knows what it must be, and compares.
    pub(crate) fn decode(page: &[u8]) -> Result<Self, &'static str> {
        const FIELDS: usize = 48;
        let parse = || {
            let mut reader = Reader::new(page);
            let (magic, version) = (reader.array::<8>("magic")?, reader.u32("version")?);
            reader.u32("page")?;
            let store_id = reader.array("store id")?;
            let id = PackId::take(&mut reader)?;
            let generation = reader.u16("generation")?;
            reader.u16("reserved")?;
            Ok((magic, version, Self { store_id, id, generation }, reader.u32("crc")?))
        };
        let cut = |_: Malformed| "the pack's header is cut short";
        let (magic, version, header, crc) = parse().map_err(cut)?;
        match page.get(..FIELDS).map(crc32c::crc32c) {
            _ if magic != MAGIC => Err("the first bytes are not those of a pack"),
            found if found != Some(crc) => Err("the checksum of the pack's header does not match"),
            _ if version != VERSION => Err("the pack's version is not known"),
            _ => Ok(header),
        }
    }

    /// Whether the whole page is as it was written, its zeros too.
    pub(crate) fn is_whole(&self, page: &[u8]) -> bool {
        page == self.encode()
    }

    /// Why the bytes are not this header, if they are not.
    pub(crate) fn compare(&self, bytes: &[u8]) -> Result<(), &'static str> {
        const FIELDS: usize = 52;
        match bytes.get(..FIELDS) {
            None => Err("the pack's header is cut short"),
            Some(found) if Some(found) == self.encode().get(..FIELDS) => Ok(()),
            Some(_) => Err("the pack's header is not the one it was given"),
        }
    }
}

/// One chunk in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) fingerprint: Fingerprint,
    /// Its raw address in the pack.
    pub(crate) at: u32,
    pub(crate) len: u32,
    /// Its end is not where the content says: it must not be used to guess where another chunk ends.
    pub(crate) forced: bool,
}

impl Chunk {
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.at) + u64::from(self.len)
    }

    fn put(&self, writer: &mut Writer) {
        let flags = if self.forced { FORCED } else { 0 };
        writer.raw(&self.fingerprint).u32(self.at).u32(self.len << 8 | u32::from(flags));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let fingerprint = reader.array("fingerprint")?;
        let (at, rest) = (reader.u32("raw address")?, reader.u32("length and flags")?);
        let chunk = Self { fingerprint, at, len: rest >> 8, forced: rest as u8 & FORCED != 0 };
        let possible = chunk.len > 0 && chunk.len as usize <= MAX_CHUNK_BYTES && chunk.end() <= MAX_RAW;
        if possible { Ok(chunk) } else { Err(reader.malformed("chunk entry")) }
    }
}

/// New chunks that are stored together. In the pack: header, entries, stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    /// Where its header begins in the file.
    pub(crate) offset: u32,
    /// Length of header and entries.
    pub(crate) head_len: u32,
    pub(crate) algorithm: Algorithm,
    pub(crate) raw_len: u32,
    pub(crate) stored_len: u32,
    /// CRC32C of the stored bytes.
    pub(crate) crc: u32,
    pub(crate) chunks: Vec<Chunk>,
}

/// How the bytes of one generation of a pack are written: whose they are, and what they are sealed with.
pub(crate) struct Frame {
    pub(crate) id: PackId,
    generation: u16,
    seal: Seal,
}

impl Frame {
    pub(crate) fn new(domain: &Domain, id: PackId, generation: u16) -> Self {
        let mut name = Writer::with_capacity(14);
        id.put(&mut name);
        name.u16(generation);
        Self { id, generation, seal: domain.seal(Use::Pack, name.as_slice()) }
    }

    /// How long header and entries of a region are.
    pub(crate) fn head_len(&self, chunks: usize) -> u64 {
        head_len(self.seal.is_plain(), chunks)
    }

    /// How long a region is in the file whose bytes are stored in so many.
    pub(crate) fn region_len(&self, chunks: usize, stored: u64) -> u64 {
        self.head_len(chunks) + stored + self.seal.overhead() as u64
    }

    /// How long the footer of a pack with so many regions and chunks is.
    pub(crate) fn footer_len(&self, regions: usize, chunks: usize) -> u64 {
        footer_len_of(self.seal.is_plain(), self.generation, regions, chunks)
    }

    /// A region to be written at `offset`, and its bytes.
    pub(crate) fn region(
        &self,
        offset: u64,
        chunks: Vec<Chunk>,
        encoded: Encoded,
    ) -> Result<(Region, Vec<Bytes>), DiskError> {
        let Encoded { algorithm, mut stored } = encoded;
        let offset = offset as u32;
        if !self.seal.is_plain() {
            let len = stored.iter().map(Bytes::len).sum::<usize>() + self.seal.overhead();
            let mut joined = Vec::with_capacity(len);
            stored.iter().for_each(|piece| joined.extend_from_slice(piece));
            self.seal.seal(&place(STORED, offset), &mut joined)?;
            stored = vec![Bytes::from(joined)];
        }
        let region = Region {
            offset,
            head_len: self.head_len(chunks.len()) as u32,
            algorithm,
            raw_len: chunks.iter().map(|chunk| chunk.len).sum(),
            stored_len: stored.iter().map(Bytes::len).sum::<usize>() as u32,
            crc: crc_of(&stored),
            chunks,
        };
        stored.insert(0, Bytes::from(self.encode_head(&region)?));
        Ok((region, stored))
    }

    /// A region's header and entries.
    fn encode_head(&self, region: &Region) -> Result<Vec<u8>, DiskError> {
        let mut writer = Writer::with_capacity(region.head_len as usize);
        self.put_head(region, &mut writer)?;
        Ok(writer.into_bytes())
    }

    fn put_head(&self, region: &Region, writer: &mut Writer) -> Result<(), DiskError> {
        let plain = self.seal.is_plain();
        let (algorithm, raw_len) =
            if plain { (region.algorithm.number(), region.raw_len) } else { (SEALED, 0) };
        let mut own = Writer::with_capacity(REGION_HEADER as usize);
        own.raw(&REGION_MAGIC).u8(algorithm).u8(0).u16(region.chunks.len() as u16);
        own.u32(raw_len).u32(region.stored_len);
        self.id.put(&mut own);
        own.u32(region.crc).u32(0);
        let mut entries = Writer::with_capacity(region.head_len as usize);
        if !plain {
            entries.u8(region.algorithm.number());
        }
        region.chunks.iter().for_each(|chunk| chunk.put(&mut entries));
        let mut entries = entries.into_bytes();
        self.seal.seal(&place(ENTRIES, region.offset), &mut entries)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(own.as_slice()), &entries);
        writer.raw(own.as_slice()).u32(crc).raw(&entries);
        Ok(())
    }

    /// A header at the start of `bytes`, if it is a whole one of this pack and place.
    pub(crate) fn decode(&self, bytes: &[u8], offset: u32) -> Option<Region> {
        let fields = bytes.get(..REGION_HEADER as usize - 4)?;
        let mut reader = Reader::new(bytes);
        if reader.array::<4>("magic").ok()? != REGION_MAGIC {
            return None;
        }
        let algorithm = reader.u8("algorithm").ok()?;
        reader.u8("reserved").ok()?;
        let count = reader.u16("count").ok()?;
        let (raw_len, stored_len) = (reader.u32("raw").ok()?, reader.u32("stored").ok()?);
        let found = PackId::take(&mut reader).ok()?;
        let payload_crc = reader.u32("payload crc").ok()?;
        reader.u32("reserved").ok()?;
        let crc = reader.u32("crc").ok()?;
        let head_len = self.head_len(usize::from(count));
        let entries = bytes.get(REGION_HEADER as usize..head_len as usize)?;
        if found != self.id || crc != crc32c::crc32c_append(crc32c::crc32c(fields), entries) {
            return None;
        }
        let (algorithm, chunks) = self.open_entries(algorithm, count, offset, entries)?;
        // A sealed region does not say it in clear.
        let sum = || chunks.iter().fold(0_u32, |sum, chunk| sum.saturating_add(chunk.len));
        let raw_len = if self.seal.is_plain() { raw_len } else { sum() };
        let head_len = head_len as u32;
        let region = Region { offset, head_len, algorithm, raw_len, stored_len, crc: payload_crc, chunks };
        region.is_possible(self.seal.overhead() as u32).then_some(region)
    }

    fn open_entries(
        &self,
        algorithm: u8,
        count: u16,
        offset: u32,
        entries: &[u8],
    ) -> Option<(Algorithm, Vec<Chunk>)> {
        if self.seal.is_plain() {
            return Some((Algorithm::from_number(algorithm)?, take_chunks(entries, count)?));
        }
        let text = self.seal.opened(&place(ENTRIES, offset), entries).ok().filter(|_| algorithm == SEALED)?;
        let (algorithm, entries) = text.split_first()?;
        Some((Algorithm::from_number(*algorithm)?, take_chunks(entries, count)?))
    }

    /// The bytes of a region as they were before they were sealed.
    pub(crate) fn open_stored(&self, region: &Region, stored: &mut Vec<u8>) -> Result<(), &'static str> {
        let crc = if self.seal.is_plain() { 0 } else { crc32c::crc32c(stored) };
        self.seal.open(&place(STORED, region.offset), stored).map_err(|NotOpened| match crc == region.crc {
            true => "the region is not the one that was sealed for this place",
            false => "the region's sealed bytes are damaged",
        })
    }

    /// The footer of a pack, to be written at `at`.
    pub(crate) fn encode_footer(&self, table: &Table, at: u64) -> Result<Vec<u8>, DiskError> {
        let len = self.footer_len(table.regions.len(), table.len()) as usize;
        let mut entries = Writer::with_capacity(len);
        for region in &table.regions {
            entries.u32(region.offset);
            self.put_head(region, &mut entries)?;
        }
        entries.pad_to(len - TRAILER_BYTES as usize);
        let mut trailer = Writer::with_capacity(TRAILER_BYTES as usize);
        trailer.raw(&FOOT_MAGIC).u32(table.regions.len() as u32).u32(table.len() as u32).u64(at);
        trailer.u64(table.raw_bytes());
        self.id.put(&mut trailer);
        trailer.u32(crc32c::crc32c(entries.as_slice()));
        trailer.pad_to(TRAILER_BYTES as usize - 4).crc();
        entries.raw(trailer.as_slice());
        Ok(entries.into_bytes())
    }
}

/// Whether the first region of a pack is that of an encrypted pool.
pub(crate) fn is_sealed(file: &dyn DiskFile) -> Result<bool, DiskError> {
    let mut first = Vec::new();
    file.read_at(PAGE, 5, &mut first)?;
    Ok(first.strip_prefix(&REGION_MAGIC) == Some(&[SEALED]))
}

/// The same for any pack of a pool.
pub(crate) fn footer_len(domain: &Domain, generation: u16, regions: usize, chunks: usize) -> u64 {
    footer_len_of(domain.is_plain(), generation, regions, chunks)
}

/// The first generation is written in whole pages, so its footer fills the last one.
fn footer_len_of(is_plain: bool, generation: u16, regions: usize, chunks: usize) -> u64 {
    let heads = regions as u64 * (FOOTER_PREFIX + head_len(is_plain, 0));
    let len = heads + chunks as u64 * ENTRY_BYTES + TRAILER_BYTES;
    if generation == 0 { len.next_multiple_of(PAGE) } else { len }
}

/// Sealed entries have the algorithm before them.
fn head_len(is_plain: bool, chunks: usize) -> u64 {
    let sealed = if is_plain { 0 } else { 1 + OVERHEAD as u64 };
    REGION_HEADER + chunks as u64 * ENTRY_BYTES + sealed
}

fn place(part: u8, offset: u32) -> [u8; 5] {
    let [a, b, c, d] = offset.to_le_bytes();
    [part, a, b, c, d]
}

fn take_chunks(entries: &[u8], count: u16) -> Option<Vec<Chunk>> {
    let mut reader = Reader::new(entries);
    (0..count).map(|_| Chunk::take(&mut reader)).collect::<Result<Vec<_>, _>>().ok()
}

impl Region {
    fn is_possible(&self, overhead: u32) -> bool {
        let sum: u64 = self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
        let rising = self.chunks.is_sorted_by(|one, next| one.end() <= u64::from(next.at));
        rising
            && !self.chunks.is_empty()
            && sum == u64::from(self.raw_len)
            && self.raw_len as usize <= MAX_REGION_BYTES
            && self.stored_len <= self.raw_len + overhead
    }

    /// Its chunks with their places in its raw bytes.
    pub(crate) fn found(&self) -> impl Iterator<Item = Found<'_>> {
        let mut within = 0;
        self.chunks.iter().enumerate().map(move |(nth, chunk)| {
            let found = Found { region: self, chunk, nth, within };
            within += chunk.len;
            found
        })
    }

    /// Where the stored bytes begin in the file.
    pub(crate) fn payload_offset(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.head_len)
    }

    pub(crate) fn end(&self) -> u64 {
        self.payload_offset() + u64::from(self.stored_len)
    }
}

/// All that can be found in a pack, in the order of raw addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Shared, so that a copy of a growing table is cheap.
    pub(crate) regions: Vec<Arc<Region>>,
    /// Each chunk in order.
    order: Vec<Spot>,
    raw_bytes: u64,
}

/// Where in a table a chunk is: its region, its number in it, its place in the region's raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    region: u32,
    nth: u32,
    within: u32,
}

/// A chunk of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) region: &'a Region,
    pub(crate) chunk: &'a Chunk,
    /// Its number in the region.
    pub(crate) nth: usize,
    /// Where it begins in the region's raw bytes.
    pub(crate) within: u32,
}

impl Table {
    /// Adds a region behind all others.
    pub(crate) fn push(&mut self, region: Region) {
        let mut spot = Spot { region: self.regions.len() as u32, nth: 0, within: 0 };
        for chunk in &region.chunks {
            self.order.push(spot);
            spot = Spot { nth: spot.nth + 1, within: spot.within + chunk.len, ..spot };
        }
        self.raw_bytes += u64::from(region.raw_len);
        self.regions.push(Arc::new(region));
    }

    /// Regions as found, brought into order; overlapping ones cannot both be right and are left out.
    fn from_regions(mut regions: Vec<Region>) -> Self {
        let first = |region: &Region| region.chunks.first().map_or(0, |chunk| chunk.at);
        regions.sort_by_key(first);
        let mut table = Self::default();
        let mut end = 0;
        for region in regions {
            if u64::from(first(&region)) >= end && table.len() + region.chunks.len() <= MAX_CHUNKS {
                end = region.chunks.last().map_or(end, Chunk::end);
                table.push(region);
            }
        }
        table
    }

    /// Number of chunks.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The chunk with this number.
    pub(crate) fn get(&self, number: usize) -> Option<Found<'_>> {
        self.at_spot(*self.order.get(number)?)
    }

    fn at_spot(&self, spot: Spot) -> Option<Found<'_>> {
        let region = self.regions.get(spot.region as usize)?;
        let chunk = region.chunks.get(spot.nth as usize)?;
        Some(Found { region, chunk, nth: spot.nth as usize, within: spot.within })
    }

    /// The number of the chunk that holds the raw address, or of the next one behind it.
    pub(crate) fn position(&self, raw: u64) -> usize {
        let end = |spot: &Spot| self.at_spot(*spot).map_or(u64::MAX, |found| found.chunk.end());
        self.order.partition_point(|spot| end(spot) <= raw)
    }

    /// The chunk that holds the raw address.
    pub(crate) fn holding(&self, raw: u64) -> Option<(usize, Found<'_>)> {
        let number = self.position(raw);
        let found = self.get(number)?;
        (u64::from(found.chunk.at) <= raw).then_some((number, found))
    }

    /// The region of that chunk.
    pub(crate) fn region_holding(&self, raw: u64) -> Option<&Arc<Region>> {
        let (number, _) = self.holding(raw)?;
        self.regions.get(self.order.get(number)?.region as usize)
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.regions.iter().flat_map(|region| &region.chunks)
    }

    /// Rough size in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.regions.len() * size_of::<Region>() + self.len() * (size_of::<Chunk>() + size_of::<Spot>())
    }
}

/// A sealed pack's last bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) regions: u32,
    pub(crate) chunks: u32,
    pub(crate) raw_bytes: u64,
    at: u64,
    crc: u32,
}

/// The trailer, when the file has a whole one of this pack.
pub(crate) fn read_trailer(file: &dyn DiskFile, frame: &Frame) -> Result<Option<Trailer>, DiskError> {
    let size = file.size()?;
    let Some(trailer_at) = size.checked_sub(TRAILER_BYTES) else { return Ok(None) };
    let mut bytes = Vec::new();
    file.read_at(trailer_at, TRAILER_BYTES as usize, &mut bytes)?;
    Ok(parse_trailer(&bytes, frame.id).filter(|trailer| {
        let len = frame.footer_len(trailer.regions as usize, trailer.chunks as usize);
        trailer.at.checked_add(len) == Some(size)
    }))
}

fn parse_trailer(bytes: &[u8], id: PackId) -> Option<Trailer> {
    let covered = bytes.get(..TRAILER_BYTES as usize - 4)?;
    let mut reader = Reader::new(bytes);
    let magic = reader.array::<8>("magic").ok()?;
    let (regions, chunks) = (reader.u32("regions").ok()?, reader.u32("chunks").ok()?);
    let (at, raw_bytes) = (reader.u64("table").ok()?, reader.u64("raw bytes").ok()?);
    let found = PackId::take(&mut reader).ok()?;
    let crc = reader.u32("table crc").ok()?;
    reader.raw(12, "reserved").ok()?;
    let own = reader.u32("crc").ok()?;
    let ours = magic == FOOT_MAGIC && found == id && own == crc32c::crc32c(covered);
    ours.then_some(Trailer { regions, chunks, raw_bytes, at, crc })
}

/// A sealed pack's table: from its footer, or, when that is damaged, from the regions' headers.
pub(crate) fn load_table(file: &dyn DiskFile, frame: &Frame) -> Result<Table, DiskError> {
    match read_footer(file, frame)? {
        Some(table) => Ok(table),
        None => {
            tracing::warn!(pack = %frame.id, "a pack has no whole footer, its regions are searched");
            walk(file, frame, file.size()?)
        }
    }
}

pub(crate) fn read_footer(file: &dyn DiskFile, frame: &Frame) -> Result<Option<Table>, DiskError> {
    let Some(trailer) = read_trailer(file, frame)? else { return Ok(None) };
    let len = frame.footer_len(trailer.regions as usize, trailer.chunks as usize) - TRAILER_BYTES;
    let mut bytes = Vec::new();
    file.read_at(trailer.at, len as usize, &mut bytes)?;
    if bytes.len() as u64 != len || crc32c::crc32c(&bytes) != trailer.crc {
        return Ok(None);
    }
    Ok(parse_footer(&bytes, frame, &trailer))
}

fn parse_footer(bytes: &[u8], frame: &Frame, trailer: &Trailer) -> Option<Table> {
    let mut regions = Vec::new();
    let mut rest = bytes;
    for _ in 0..trailer.regions {
        let offset = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        let region = frame.decode(rest.get(4..)?, offset)?;
        rest = rest.get(4 + region.head_len as usize..)?;
        regions.push(region);
    }
    let table = Table::from_regions(regions);
    let whole = table.len() == trailer.chunks as usize && table.raw_bytes() == trailer.raw_bytes;
    let filled = rest.iter().all(|byte| *byte == 0);
    (filled && whole).then_some(table)
}

/// Finds every whole region header of this pack before `end`, whatever lies between them.
pub(crate) fn walk(file: &dyn DiskFile, frame: &Frame, end: u64) -> Result<Table, DiskError> {
    let mut regions = Vec::new();
    let mut at = PAGE;
    let mut window = Vec::new();
    while at < end {
        window.clear();
        file.read_at(at, (2 * WINDOW).min((end - at) as usize), &mut window)?;
        if window.is_empty() {
            break;
        }
        match first_region(&window, at, frame) {
            (Some(region), _) => {
                at = region.end();
                if at <= end {
                    regions.push(region);
                }
            }
            (None, next) => at = next,
        }
    }
    Ok(Table::from_regions(regions))
}

/// The first region whose header begins in the first half of the window, or where to look on.
fn first_region(window: &[u8], at: u64, frame: &Frame) -> (Option<Region>, u64) {
    let searched = window.len().clamp(1, WINDOW);
    let starts = |start: &usize| window.get(*start..).is_some_and(|rest| rest.starts_with(&REGION_MAGIC));
    for start in (0..searched).filter(starts) {
        let offset = u32::try_from(at + start as u64);
        let bytes = window.get(start..).unwrap_or_default();
        let region = offset.ok().and_then(|offset| frame.decode(bytes, offset));
        if region.is_some() {
            return (region, 0);
        }
    }
    (None, at + searched as u64)
}

/// The stored bytes of a region, not verified yet; fewer when the file ends before they do.
pub(crate) fn read_stored(file: &dyn DiskFile, region: &Region, room: &mut Vec<u8>) -> Result<(), DiskError> {
    file.read_at(region.payload_offset(), region.stored_len as usize, room).map(|_| ())
}

/// CRC32C over several pieces.
fn crc_of(pieces: &[Bytes]) -> u32 {
    pieces.iter().fold(0, |crc, piece| crc32c::crc32c_append(crc, piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;
    use std::path::Path;
    use vtl_durable::{Disk, Open, SimDisk};

    const ID: PackId = PackId { epoch: 0x0102_0304_0506_0708, number: 0x0a0b_0c0d };
    const ID_BYTES: &[u8] = b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a";

    fn chunk(at: u32, len: u32) -> Chunk {
        Chunk { fingerprint: [0xab; 32], at, len, forced: false }
    }

    fn frame() -> Frame {
        Frame::new(&Domain::plain([0x55; 16]), ID, 0)
    }

    fn region(offset: u32, chunks: Vec<Chunk>) -> Region {
        let raw_len = chunks.iter().map(|chunk| chunk.len).sum();
        let head_len = frame().head_len(chunks.len()) as u32;
        Region {
            offset,
            head_len,
            algorithm: Algorithm::Raw,
            raw_len,
            stored_len: raw_len,
            crc: 0x1122_3344,
            chunks,
        }
    }

    #[test]
    fn a_pack_header_keeps_its_bytes() {
        let header = PackHeader { store_id: [0x55; 16], id: ID, generation: 0x0203 };
        let bytes = header.encode();
        let mut expected = b"VTLPACK\0\0\0\0\0\0\x10\0\0".to_vec();
        expected.extend_from_slice(&[0x55; 16]);
        expected.extend_from_slice(ID_BYTES);
        expected.extend_from_slice(b"\x03\x02\0\0");
        assert_eq!(bytes[..48], expected);
        assert_eq!(bytes[48..52], crc32c::crc32c(&expected).to_le_bytes());
        assert!(bytes[52..].iter().all(|byte| *byte == 0));
        assert_eq!(bytes.len(), 4096);
        assert!(header.compare(&bytes).is_ok());
        assert!(PackHeader { generation: 1, ..header }.compare(&bytes).is_err());
        assert!(header.compare(&bytes[..40]).is_err());
    }

    /// A region of two chunks, the second forced, typed out from docs/formats/pack.md.
    fn typed_region() -> (Region, Vec<u8>) {
        let chunks = vec![chunk(0x0001_0000, 0x1000), Chunk { forced: true, ..chunk(0x0001_2000, 0x0234) }];
        let region = Region { algorithm: Algorithm::Zstd, stored_len: 0x0777, ..region(0x2000, chunks) };
        let mut fields = b"vRgn\x01\0\x02\0\x34\x12\0\0\x77\x07\0\0".to_vec();
        fields.extend_from_slice(ID_BYTES);
        fields.extend_from_slice(b"\x44\x33\x22\x11\0\0\0\0");
        let mut entries = [0xab; 32].to_vec();
        entries.extend_from_slice(b"\0\0\x01\0\0\0\x10\0");
        entries.extend_from_slice(&[0xab; 32]);
        entries.extend_from_slice(b"\0\x20\x01\0\x01\x34\x02\0");
        let crc = crc32c::crc32c(&[fields.clone(), entries.clone()].concat());
        let bytes = [fields, crc.to_le_bytes().to_vec(), entries].concat();
        (region, bytes)
    }

    #[test]
    fn a_region_header_keeps_its_bytes_and_only_its_pack_takes_it() {
        let (region, bytes) = typed_region();
        assert_eq!(frame().encode_head(&region).unwrap(), bytes);
        assert_eq!(frame().decode(&bytes, 0x2000), Some(region));
        assert_eq!(Frame { id: PackId { number: 1, ..ID }, ..frame() }.decode(&bytes, 0x2000), None);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(frame().decode(&bad, 0x2000), None, "byte {at}");
            assert_eq!(frame().decode(&bytes[..at], 0x2000), None, "cut at {at}");
        }
    }

    #[test]
    fn a_footer_keeps_its_bytes() {
        let (region, header) = typed_region();
        let mut table = Table::default();
        table.push(region);
        let bytes = frame().encode_footer(&table, 0x3234).unwrap();
        let mut entries = b"\0\x20\0\0".to_vec();
        entries.extend_from_slice(&header);
        // 4096 less the trailer.
        entries.resize(4032, 0);
        let mut trailer = b"VTLPFOOT\x01\0\0\0\x02\0\0\0\x34\x32\0\0\0\0\0\0\x34\x12\0\0\0\0\0\0".to_vec();
        trailer.extend_from_slice(ID_BYTES);
        trailer.extend_from_slice(&crc32c::crc32c(&entries).to_le_bytes());
        trailer.extend_from_slice(&[0; 12]);
        trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
        assert_eq!(bytes, [entries, trailer].concat());
        assert_eq!(bytes.len() as u64, frame().footer_len(1, 2));
    }

    /// A pack of three regions of two chunks each, with a page of padding after the first.
    fn sealed() -> (SimDisk, Table) {
        let disk = SimDisk::new(1);
        let mut bytes = PackHeader { store_id: [0; 16], id: ID, generation: 0 }.encode();
        let mut table = Table::default();
        for number in 0..3_u32 {
            let made =
                region(bytes.len() as u32, vec![chunk(number * 1000, 400), chunk(number * 1000 + 400, 600)]);
            bytes.extend_from_slice(&frame().encode_head(&made).unwrap());
            bytes.extend_from_slice(&[number as u8; 1000]);
            table.push(made);
            if number == 0 {
                bytes.resize(8192, 0);
            }
        }
        bytes.extend_from_slice(&frame().encode_footer(&table, bytes.len() as u64).unwrap());
        let file = disk.open(Path::new("/p"), Open::Create).unwrap();
        file.write_at(0, &[IoSlice::new(&bytes)]).unwrap();
        (disk, table)
    }

    #[test]
    fn a_damaged_footer_is_made_again_from_the_region_headers() {
        let (disk, table) = sealed();
        let file = disk.open(Path::new("/p"), Open::Read).unwrap();
        assert_eq!(read_footer(&*file, &frame()).unwrap().unwrap(), table);
        let size = file.size().unwrap();
        for byte in size - frame().footer_len(3, 6)..size {
            disk.flip_bit(Path::new("/p"), byte, 3);
            assert_eq!(load_table(&*file, &frame()).unwrap(), table, "byte {byte}");
            disk.flip_bit(Path::new("/p"), byte, 3);
        }
    }

    #[test]
    fn a_damaged_region_header_hides_no_other_region_from_a_walk() {
        let (disk, table) = sealed();
        disk.flip_bit(Path::new("/p"), u64::from(table.regions[1].offset) + 30, 3);
        let file = disk.open(Path::new("/p"), Open::Read).unwrap();
        let found = walk(&*file, &frame(), u64::from(u32::MAX)).unwrap();
        assert_eq!(found.regions, [Arc::clone(&table.regions[0]), Arc::clone(&table.regions[2])]);
        let behind = table.regions[2].end();
        assert_eq!(
            walk(&*file, &frame(), behind - 1).unwrap().regions.len(),
            1,
            "a region that ends later is not there"
        );
    }

    #[test]
    fn a_raw_address_finds_its_chunk_and_its_place_in_the_region() {
        let (_, table) = sealed();
        let at = |raw: u64| table.holding(raw).map(|(number, found)| (number, found.chunk.at, found.within));
        assert_eq!(at(0), Some((0, 0, 0)));
        assert_eq!(at(399), Some((0, 0, 0)));
        assert_eq!(at(400), Some((1, 400, 400)));
        assert_eq!(at(2999), Some((5, 2400, 400)));
        assert_eq!(at(3000), None);
        let mut sparse = Table::default();
        sparse.push(region(4096, vec![chunk(100, 50), chunk(400, 10)]));
        assert!(sparse.holding(99).is_none() && sparse.holding(150).is_none());
        assert_eq!((sparse.position(150), sparse.position(500), sparse.len()), (1, 2, 2));
    }

    #[test]
    fn pack_names_come_back_and_others_are_not_taken() {
        assert_eq!(ID.file_name(2), "0102030405060708-0a0b0c0d.0002.pack");
        assert_eq!(PackId::parse("0102030405060708-0a0b0c0d.0002.pack"), Some((ID, 2)));
        assert_eq!((ID.folder(), ID.key()), ("0d".to_string(), 0x0102_0304_0a0b_0c0d));
        for name in
            ["0102030405060708-0A0b0c0d.0002.pack", "1-1.1.pack", "head", "0102030405060708-0a0b0c0d.pack"]
        {
            assert_eq!(PackId::parse(name), None, "{name}");
        }
    }
}
