//! Keys, records, and where a chunk is.

/// Where a chunk is: the pack, and the chunk's index in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place {
    /// The pack's number.
    pub pack: u64,
    /// The chunk's index in the pack's table.
    pub chunk: u16,
}

/// The first 16 bytes of a fingerprint. Big-endian, so that numbers compare as the byte strings on the disk do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key(pub(crate) u128);

/// Zero bits at its end that make a key a hook: 1 of 64.
pub(crate) const HOOK_BITS: u32 = 6;
/// Zero bits that make a hook of the sparsest sort.
pub(crate) const MOST_HOOK_BITS: u32 = 15;
/// Partitions of the key space, and the bits that name one.
pub(crate) const PARTITIONS: u16 = 1 << PARTITION_BITS;
const PARTITION_BITS: u32 = 12;

impl Key {
    pub(crate) fn of(fingerprint: &[u8; 32]) -> Self {
        let [head, _] = halves(fingerprint);
        Self(u128::from_be_bytes(head))
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    pub(crate) fn from_halves(high: u64, low: u64) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }

    pub(crate) fn high(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub(crate) fn low(self) -> u64 {
        self.0 as u64
    }

    pub(crate) fn partition(self) -> u16 {
        (self.0 >> (128 - PARTITION_BITS)) as u16
    }

    /// The smallest key of a partition.
    pub(crate) fn first_of(partition: u16) -> Self {
        Self(u128::from(partition) << (128 - PARTITION_BITS))
    }

    /// How sparse a hook it is; `None` for a key that is none.
    pub(crate) fn hook_bits(self) -> Option<u32> {
        let bits = self.0.trailing_zeros().min(MOST_HOOK_BITS);
        (bits >= HOOK_BITS).then_some(bits)
    }
}

fn halves(fingerprint: &[u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, bytes) in halves.iter_mut().zip(fingerprint.chunks_exact(16)) {
        half.copy_from_slice(bytes);
    }
    halves
}

/// What is known of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// The chunk is here.
    Live(Place),
    /// Nothing older may be answered; the place is the one that was wrong.
    Dead(Place),
}

impl Known {
    pub(crate) fn place(self) -> Place {
        match self {
            Self::Live(place) | Self::Dead(place) => place,
        }
    }

    pub(crate) fn live(self) -> Option<Place> {
        match self {
            Self::Live(place) => Some(place),
            Self::Dead(_) => None,
        }
    }

    pub(crate) fn is_dead(self) -> bool {
        matches!(self, Self::Dead(_))
    }

    pub(crate) fn new(place: Place, dead: bool) -> Self {
        if dead { Self::Dead(place) } else { Self::Live(place) }
    }
}

/// A line of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub(crate) key: Key,
    pub(crate) known: Known,
}
