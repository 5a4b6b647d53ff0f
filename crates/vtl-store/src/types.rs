//! Names, options and answers of the store's interface.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;

use vtl_durable::Disk;

use crate::keyring::Encryption;
use crate::pack::PAGE;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Whose stream it is. The caller makes these unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub [u8; 16]);

impl OwnerId {
    /// The 32 digits that name the owner's folder.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let value = u128::from_str_radix(name, 16).ok()?;
        let owner = Self(value.to_be_bytes());
        // Only the form that we write: no capital letters, no sign.
        (owner.to_string() == name).then_some(owner)
    }
}

impl fmt::Display for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerId({self})")
    }
}

/// Whether what is written now may be read back soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Soon {
    Maybe,
    No,
}

/// When packs go past the system's page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// A pack that is begun while memory lies idle goes through the page cache, where it can be read back from, unless its stream says that nobody will; others
    /// past it, so that they push nothing out of memory.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl DirectIo {
    /// Whether a pack that is begun now is written past the page cache.
    pub(crate) fn writes_past(self, disk: &dyn Disk, soon: Soon) -> bool {
        match self {
            Self::Auto => soon == Soon::No || !disk.has_idle_memory(),
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// How the store works. The defaults are for a server; [`Options::small`] is for tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// A random number of this start: the lower half of the epoch in pack ids, so that a pool restored from a copy
    /// never makes a pack id that exists already.
    pub start_random: u64,
    /// zstd level. 1: 342 MB a second and core, ratio 2.07 on mixed files; 3 costs a third more time for 2 %.
    pub compression_level: i32,
    /// Threads that cut, hash and compress; twice as many read ahead. 0: everything happens in the caller's thread, in order.
    pub workers: usize,
    /// Whether content that is there already is stored again. Off: the stream is cut at fixed lengths.
    pub dedupe: bool,
    /// What opens the pool, and that one that is made now is encrypted; none for a pool that is not.
    pub encryption: Option<Encryption>,
    /// Average length of content-defined chunks, a power of two; the shortest has a quarter, the longest four times
    /// of it. Taken when a pool is made; afterwards the pool's own value counts.
    pub chunk_bytes: usize,
    /// Cut length of the stream without dedupe.
    pub fixed_bytes: usize,
    /// Raw bytes of new chunks that are compressed together. A read decompresses as much.
    pub region_bytes: usize,
    /// Bytes that are handed to the workers at once.
    pub batch_bytes: usize,
    /// Length of a full pack: one file, one sync, one unit to free.
    pub pack_bytes: u64,
    /// Bytes gathered for one write to a pack, in whole pages: an aligned buffer for each stream that is written.
    pub write_bytes: usize,
    /// Whether packs are written and read past the system's page cache where the file system can do that.
    pub direct_io: DirectIo,
    /// Bytes of one stream that may wait for hashing, compression and writing before `append` blocks.
    pub in_flight_bytes: usize,
    /// Length of a journal file after which heads are written and the file is retired.
    pub segment_bytes: u64,
    /// Space never given to appended bytes: journal, heads, footers and a pack's rewriting always fit.
    pub reserve_bytes: u64,
    /// The most that pack files may take together; what must always be possible (the reserve) comes on top. None: what the file system has.
    pub size_bytes: Option<u64>,
    /// Regions read in advance when reads are sequential. 0: none.
    pub readahead_regions: usize,
    /// Decoded regions kept for each stream, as far as they have been read in part only; of those that have been read whole, what is read in advance.
    pub cache_bytes: usize,
    /// Memory for the index and for tables of packs that are not being written.
    pub memory_bytes: usize,
    /// The pool that must be there. None: whatever is there, and a new one is made where none is.
    pub pool_id: Option<[u8; 16]>,
    /// Folders for packs beside the pool's own. One that is empty is made a part of the pool; one that was must be named here, wherever it is.
    pub folders: Vec<PathBuf>,
    /// Opens the pool for reading what is left when one of its folders is missing.
    pub degraded: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            start_random: RandomState::new().build_hasher().finish(),
            compression_level: 1,
            workers: 2,
            dedupe: true,
            encryption: None,
            chunk_bytes: 16 * KIB,
            fixed_bytes: 256 * KIB,
            region_bytes: 128 * KIB,
            batch_bytes: 256 * KIB,
            pack_bytes: 32 * MIB as u64,
            write_bytes: MIB,
            direct_io: DirectIo::Auto,
            in_flight_bytes: 32 * MIB,
            segment_bytes: 16 * MIB as u64,
            reserve_bytes: 128 * MIB as u64,
            size_bytes: None,
            readahead_regions: 16,
            cache_bytes: 16 * MIB,
            memory_bytes: 512 * MIB,
            pool_id: None,
            folders: Vec::new(),
            degraded: false,
        }
    }
}

impl Options {
    /// Everything small, no threads, no read-ahead, a known epoch: for tests that count operations.
    pub fn small() -> Self {
        Self {
            start_random: 7,
            workers: 0,
            chunk_bytes: 256,
            fixed_bytes: KIB,
            region_bytes: 2 * KIB,
            batch_bytes: KIB,
            pack_bytes: 16 * KIB as u64,
            write_bytes: 4 * KIB,
            direct_io: DirectIo::On,
            in_flight_bytes: 32 * KIB,
            segment_bytes: 32 * KIB as u64,
            reserve_bytes: 128 * KIB as u64,
            readahead_regions: 0,
            cache_bytes: 4 * KIB,
            memory_bytes: MIB,
            ..Self::default()
        }
    }

    /// Values that cannot work are brought to the nearest that can: no option makes the store fail.
    pub(crate) fn bounded(mut self) -> Self {
        self.chunk_bytes = self.chunk_bytes.clamp(256, MAX_CHUNK_BYTES / 4).next_power_of_two();
        self.fixed_bytes = self.fixed_bytes.clamp(64, MAX_CHUNK_BYTES);
        self.region_bytes = self.region_bytes.clamp(64, MAX_REGION_BYTES - MAX_CHUNK_BYTES);
        self.batch_bytes = self.batch_bytes.clamp(1, MAX_REGION_BYTES);
        self.pack_bytes = self.pack_bytes.clamp(8 * KIB as u64, 1 << 30);
        // What may be held back until more comes must leave room for more: a chunk that has not ended, and a quarter each with the cutter and
        // the writer, whose buffer has a page at least.
        let held = 2 * self.longest_chunk() + self.region_bytes + self.batch_bytes + PAGE as usize;
        self.in_flight_bytes = self.in_flight_bytes.max(4 * held);
        let most_pages = self.in_flight_bytes / 4 / PAGE as usize;
        self.write_bytes = self.write_bytes.div_ceil(PAGE as usize).clamp(1, most_pages) * PAGE as usize;
        self.segment_bytes = self.segment_bytes.max(8 * KIB as u64);
        self
    }

    pub(crate) fn longest_chunk(&self) -> usize {
        if self.dedupe { 4 * self.chunk_bytes } else { self.fixed_bytes }
    }
}

/// No chunk is longer, whatever the options say; a longer one on the disk is damage.
pub(crate) const MAX_CHUNK_BYTES: usize = MIB;
/// No region is longer.
pub(crate) const MAX_REGION_BYTES: usize = 4 * MIB;
/// No delta or snapshot is longer.
pub(crate) const MAX_NOTE_BYTES: usize = 32 * MIB;

/// An owner's state as last committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The last snapshot.
    pub snapshot: Vec<u8>,
    /// Deltas since the snapshot, oldest first, one for each commit.
    pub deltas: Vec<Vec<u8>>,
    /// Length of the stream.
    pub length: u64,
}

/// How packs are written that streams append to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackWrites {
    /// Past the system's page cache.
    Direct,
    /// Through it.
    Buffered,
    /// The one in some folders, the other in others.
    Mixed,
}

impl fmt::Display for PackWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Buffered => "buffered",
            Self::Mixed => "mixed",
        })
    }
}

/// Counts over the whole pool, as committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sum of the streams' lengths.
    pub logical_bytes: u64,
    /// Raw bytes of all chunks in packs: each content once, chunks that nothing needs any more included.
    pub unique_bytes: u64,
    /// Sum of the packs' lengths.
    pub stored_bytes: u64,
    /// Chunks in all packs, dead ones included.
    pub chunks: u64,
    /// Pack files.
    pub packs: u64,
    /// What the last collection or accounting found in packs that nothing needs, less what was freed.
    pub reclaimable_bytes: u64,
    /// By so much packs have grown for all commits that there ever were, headers and footers of packs apart.
    pub arrived_bytes: u64,
    /// Headers and footers of packs.
    pub metadata_bytes: u64,
    /// What collections have taken of it: `arrived_bytes + metadata_bytes - reclaimed_bytes` is `stored_bytes`. Below zero when repairs
    /// have added more than was ever taken.
    pub reclaimed_bytes: i64,
    /// Bytes in flight, staging buffers, cached chunks and loaded recipes in memory.
    pub memory_bytes: u64,
}

/// What one owner takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Length of its stream, as last committed.
    pub logical_bytes: u64,
    /// By so much packs grew for all its commits, after compression: what others had already costs nothing, and what it cut since counts.
    pub arrived_bytes: u64,
    /// What others need or do not; none before a collection or an accounting has looked at the owner since the pool was opened.
    pub share: Option<Share>,
}

/// What an owner needs of what is stored, as the last collection or accounting found it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What a collection of everything dead would free if the owner were removed.
    pub exclusive_bytes: u64,
    /// What others need as well, nearly.
    pub shared_bytes: u64,
}

/// Whether the pool takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Ok,
    /// It does not, until it is opened anew.
    ReadOnly {
        /// What happened.
        why: String,
    },
}
