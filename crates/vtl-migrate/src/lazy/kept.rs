//! What is here of a cartridge that is here in part: its manifest and pieces of its image, in the store, as an unfinished copy of its own that no list shows.
//!
//! It is a tape. First the manifest, cut into blocks of [`MANIFEST_BLOCK_BYTES`]. Then pieces in the order in which they came, a block each: `n + 1` filemarks
//! say that the next block is piece `n`, and a block right behind another one is the next piece. Its last 8 bytes are its number once more. So which pieces are here stands in the tape's map
//! alone, what came in order is one run of it, and a piece and the word that it is here are durable in the same record.
//!
//! A crash leaves what was committed. A start removes it when no row of the inventory names it; after a loss of the inventory not before a week is over.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec, Facts, Object, Settings};
use vtl_store::{OwnerId, Store, StoreError};
use vtl_types::{ByteCount, CartridgeId, Label};

/// Bytes of the image in a piece; the last one has what is left. A host that reads here and there waits for so much.
pub(crate) const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of the manifest in a block.
const MANIFEST_BLOCK_BYTES: usize = 1 << 20;
/// Behind the bytes of a piece, its number once more: what the map says of a block, the block says too.
const NUMBER_BYTES: usize = 8;
/// A tape for pieces is never full before the pool is.
const CAPACITY: ByteCount = ByteCount(u64::MAX >> 2);

/// The pieces, open; nobody else can have them open.
pub(crate) struct Kept {
    cartridge: Cartridge,
    /// First piece of each run of pieces, how many, and the object that the first one is.
    runs: BTreeMap<u64, (u64, u64)>,
    /// What the next block would be without filemarks before it.
    next: Option<u64>,
    /// Why nothing more can be kept until it is opened anew.
    broken: Option<String>,
}

impl Kept {
    /// Makes it with the manifest and no piece; whatever was there under this id goes before. Durable when it returns.
    pub(crate) fn begin(
        store: &Store,
        id: CartridgeId,
        label: Label,
        manifest: &Bytes,
    ) -> Result<(), CartridgeError> {
        remove(store, id)?;
        let spec = CartridgeSpec {
            label,
            serial: "PIECES".to_owned(),
            kind: label.media(),
            capacity: CAPACITY,
            early_warning: None,
            write_protected: false,
            created_s: 0,
            place: None,
        };
        Cartridge::begin_copy(store, id, &spec)?;
        let mut cartridge = Cartridge::open(store, id, Settings::default())?;
        for at in (0..manifest.len()).step_by(MANIFEST_BLOCK_BYTES) {
            let end = at.saturating_add(MANIFEST_BLOCK_BYTES).min(manifest.len());
            cartridge.write_block(&[manifest.slice(at..end)], true)?;
        }
        cartridge.close()
    }

    /// Opens it; the bytes of its manifest come with it.
    pub(crate) fn open(store: &Store, id: CartridgeId) -> Result<(Self, Vec<u8>), CartridgeError> {
        let mut cartridge = Cartridge::open(store, id, Settings::default())?;
        let (mut runs, mut next, mut object) = (BTreeMap::new(), None::<u64>, 0_u64);
        for (length, count) in cartridge.runs() {
            match (length, next) {
                (0, _) => next = count.checked_sub(1),
                // Before the first filemark: the manifest.
                (_, None) => {}
                (_, Some(piece)) => {
                    enter(&mut runs, piece, count, object);
                    next = piece.checked_add(count);
                }
            }
            object = object.saturating_add(count);
        }
        let mut manifest = Vec::new();
        while let Object::Block { data, .. } = cartridge.read(u32::MAX)? {
            // The first filemark ends it.
            data.iter().for_each(|bytes| manifest.extend_from_slice(bytes));
        }
        Ok((Self { cartridge, runs, next, broken: None }, manifest))
    }

    /// Whether a piece is here.
    pub(crate) fn has(&self, piece: u64) -> bool {
        self.object_of(piece).is_some()
    }

    fn object_of(&self, piece: u64) -> Option<u64> {
        let (first, (count, object)) = self.runs.range(..=piece).next_back()?;
        let nth = piece - first;
        (nth < *count).then(|| object.saturating_add(nth))
    }

    /// The first pieces from `range` on that are not here, as many as lie side by side; none when all of it is here.
    pub(crate) fn missing(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut at = range.start;
        while let Some((first, (count, _))) = self.runs.range(..=at).next_back()
            && at < first.saturating_add(*count)
        {
            at = first.saturating_add(*count);
        }
        let next = self.runs.range(at..).next().map_or(range.end, |(first, _)| *first);
        (at < range.end).then(|| at..next.min(range.end))
    }

    /// How many pieces are here.
    pub(crate) fn count(&self) -> u64 {
        self.runs.values().map(|(count, _)| *count).fold(0, u64::saturating_add)
    }

    /// The bytes of a piece that is here.
    pub(crate) fn read(&mut self, piece: u64) -> Result<Option<Bytes>, CartridgeError> {
        let Some(object) = self.object_of(piece) else { return Ok(None) };
        self.cartridge.locate_object(object);
        let Object::Block { data, .. } = self.cartridge.read(u32::MAX)? else { return Ok(None) };
        let mut bytes = Bytes::from(data.concat());
        let number = bytes.split_off(bytes.len().saturating_sub(NUMBER_BYTES));
        if *number == piece.to_le_bytes() {
            return Ok(Some(bytes));
        }
        Err(CartridgeError::Unreadable { object, why: format!("it is not piece {piece}") })
    }

    /// Keeps pieces that follow each other, from `first` on; what is here already stays as it is. Durable when it returns. On an error nothing of it is here.
    pub(crate) fn put(&mut self, first: u64, pieces: &[Bytes]) -> Result<(), CartridgeError> {
        if let Some(why) = &self.broken {
            return Err(CartridgeError::Broken { why: why.clone() });
        }
        self.cartridge.space_to_end();
        let (end, mut next, mut added) = (self.cartridge.position().object, self.next, Vec::new());
        let done = self.append(first, pieces, &mut next, &mut added).and_then(|()| self.cartridge.flush());
        match done {
            Ok(()) => {
                self.next = next;
                added.into_iter().for_each(|(piece, object)| enter(&mut self.runs, piece, 1, object));
                Ok(())
            }
            Err(error) => {
                // Filemarks without the piece that they are of would count for the next one.
                self.cartridge.locate_object(end);
                let undone = self.cartridge.erase();
                self.broken = undone.err().map(|why| format!("{error}; then, taking it back: {why}"));
                Err(error)
            }
        }
    }

    fn append(
        &mut self,
        first: u64,
        pieces: &[Bytes],
        next: &mut Option<u64>,
        added: &mut Vec<(u64, u64)>,
    ) -> Result<(), CartridgeError> {
        for (piece, bytes) in (first..).zip(pieces) {
            if self.has(piece) {
                continue;
            }
            if *next != Some(piece) {
                let marks = u32::try_from(piece.saturating_add(1))
                    .map_err(|_| CartridgeError::InvalidSpec { why: "a tape of more than 4 PiB" })?;
                self.cartridge.write_filemarks(marks)?;
            }
            let object = self.cartridge.position().object;
            let number = Bytes::copy_from_slice(&piece.to_le_bytes());
            self.cartridge.write_block(&[bytes.clone(), number], true)?;
            added.push((piece, object));
            *next = piece.checked_add(1);
        }
        Ok(())
    }
}

/// Notes pieces that begin at an object, as a part of the run before when they continue it.
fn enter(runs: &mut BTreeMap<u64, (u64, u64)>, piece: u64, count: u64, object: u64) {
    if let Some((first, (before, start))) = runs.range_mut(..=piece).next_back()
        && first.saturating_add(*before) == piece
        && start.saturating_add(*before) == object
    {
        *before = before.saturating_add(count);
        return;
    }
    runs.insert(piece, (count, object));
}

/// Removes it. That it is not there is no error.
pub(crate) fn remove(store: &Store, id: CartridgeId) -> Result<(), StoreError> {
    match store.remove(OwnerId(id.0)) {
        Err(StoreError::UnknownOwner { .. }) => Ok(()),
        done => done,
    }
}

/// Bytes of the image among those that it has.
pub(crate) fn image_bytes(facts: &Facts, manifest_bytes: u64) -> u64 {
    let manifest_blocks = manifest_bytes.div_ceil(MANIFEST_BLOCK_BYTES as u64);
    let pieces = facts.objects.saturating_sub(facts.filemarks).saturating_sub(manifest_blocks);
    let numbers = pieces.saturating_mul(NUMBER_BYTES as u64);
    facts.used_bytes.saturating_sub(manifest_bytes).saturating_sub(numbers)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use vtl_durable::{Fault, SimDisk};
    use vtl_store::Options;

    use super::*;

    const ID: CartridgeId = CartridgeId([7; 16]);
    const MANIFEST: &[u8] = b"two lines, as it were";
    /// In the order in which they come: the first piece of each run, and how many.
    const RUNS: [(u64, u64); 6] = [(5, 2), (7, 1), (0, 1), (3, 1), (1, 2), (9, 1)];

    fn store(disk: &SimDisk) -> Result<Store, StoreError> {
        Store::open(Arc::new(disk.clone()), Path::new("/pool"), Options::small())
    }

    fn begin(store: &Store) -> Result<(), CartridgeError> {
        let manifest = Bytes::from_static(MANIFEST);
        Kept::begin(store, ID, "VTL001L8".parse().unwrap(), &manifest)
    }

    /// Of no length twice.
    fn piece(number: u64) -> Bytes {
        format!("{number} ").repeat(100 + 37 * number as usize).into()
    }

    fn put(kept: &mut Kept, (first, count): (u64, u64)) -> Result<(), CartridgeError> {
        let pieces: Vec<Bytes> = (first..first + count).map(piece).collect();
        kept.put(first, &pieces)
    }

    /// Every piece that is said to be here is that piece; which ones are here.
    fn here(kept: &mut Kept) -> Vec<u64> {
        let here: Vec<u64> = (0..12).filter(|number| kept.has(*number)).collect();
        for number in &here {
            assert_eq!(kept.read(*number).unwrap(), Some(piece(*number)), "piece {number}");
        }
        assert_eq!(kept.count(), here.len() as u64);
        here
    }

    #[test]
    fn pieces_are_found_again_in_whatever_order_they_came() {
        let store = store(&SimDisk::new(1)).unwrap();
        begin(&store).unwrap();
        let (mut kept, manifest) = Kept::open(&store, ID).unwrap();
        assert_eq!((manifest.as_slice(), kept.missing(0..10), kept.next), (MANIFEST, Some(0..10), None));
        for run in RUNS {
            put(&mut kept, run).unwrap();
        }
        assert_eq!(here(&mut kept), [0, 1, 2, 3, 5, 6, 7, 9]);
        assert_eq!(kept.missing(0..10), Some(4..5));
        assert_eq!((kept.missing(5..10), kept.missing(0..4), kept.missing(5..8)), (Some(8..9), None, None));
        assert_eq!(kept.missing(9..20), Some(10..20));
        // What is here already stays, and comes once.
        put(&mut kept, (4, 6)).unwrap();
        drop(kept);
        let (mut kept, manifest) = Kept::open(&store, ID).unwrap();
        assert_eq!((manifest.as_slice(), kept.missing(0..10)), (MANIFEST, None));
        assert_eq!(here(&mut kept).len(), 10);
        let facts = Cartridge::inspect(&store, ID).unwrap();
        let bytes: usize = (0..10).map(|number| piece(number).len()).sum();
        assert_eq!(image_bytes(&facts, MANIFEST.len() as u64), bytes as u64);
        // A new beginning forgets all.
        drop(kept);
        begin(&store).unwrap();
        assert_eq!(Kept::open(&store, ID).unwrap().0.count(), 0);
        remove(&store, ID).unwrap();
        remove(&store, ID).unwrap();
        assert!(store.owners().is_empty());
    }

    /// Keeps runs until the first error; pieces that are here by then.
    fn play(store: &Store) -> (Vec<u64>, Option<CartridgeError>) {
        let mut sure = Vec::new();
        let mut kept = match begin(store).and_then(|()| Kept::open(store, ID)) {
            Ok((kept, _)) => kept,
            Err(error) => return (sure, Some(error)),
        };
        for run in RUNS {
            if let Err(error) = put(&mut kept, run) {
                return (sure, Some(error));
            }
            sure.extend(run.0..run.0 + run.1);
        }
        (sure, None)
    }

    #[test]
    fn a_power_cut_at_any_step_leaves_what_was_kept_and_never_one_piece_for_another() {
        let whole = SimDisk::new(1);
        let opened = store(&whole).unwrap();
        let first = whole.steps();
        assert!(play(&opened).1.is_none());
        let last = whole.steps();
        assert!(last > first + 20, "{first} to {last}");
        for step in first..=last {
            let disk = SimDisk::new(1);
            let opened = store(&disk).unwrap();
            disk.crash_at(step);
            let (sure, _) = play(&opened);
            drop(opened);
            let after = store(&disk.after_crash(step)).unwrap();
            if after.owners().is_empty() {
                assert!(sure.is_empty(), "step {step}");
                continue;
            }
            let (mut kept, manifest) = Kept::open(&after, ID).unwrap();
            let here = here(&mut kept);
            assert!(sure.iter().all(|number| here.contains(number)), "step {step}: {sure:?} {here:?}");
            assert!(sure.is_empty() || manifest == MANIFEST, "step {step}");
        }
    }

    #[test]
    fn a_disk_that_fails_or_is_full_at_any_call_is_told_and_what_comes_later_is_right() {
        let whole = SimDisk::new(1);
        let opened = store(&whole).unwrap();
        let first = whole.calls();
        assert!(play(&opened).1.is_none());
        let (last, mut told) = (whole.calls(), 0);
        for fault in [Fault::Eio, Fault::Enospc] {
            for call in first..=last {
                let disk = SimDisk::new(1);
                let opened = store(&disk).unwrap();
                disk.fail_call(call, fault);
                let Ok((mut kept, _)) = begin(&opened).and_then(|()| Kept::open(&opened, ID)) else {
                    continue;
                };
                let mut sure = Vec::new();
                for run in RUNS {
                    match put(&mut kept, run) {
                        Ok(()) => sure.extend(run.0..run.0 + run.1),
                        Err(_) => told += 1,
                    }
                }
                disk.heal();
                let now = here(&mut kept);
                assert!(
                    sure.iter().all(|number| now.contains(number)),
                    "{fault:?} at {call}: {sure:?} {now:?}"
                );
                drop((kept, opened));
                let after = store(&disk.after_crash(call)).unwrap();
                let found = here(&mut Kept::open(&after, ID).unwrap().0);
                assert!(
                    sure.iter().all(|number| found.contains(number)),
                    "{fault:?} at {call}: {sure:?} {found:?}"
                );
            }
        }
        assert!(told > 4, "{told} faults reached a caller");
    }
}
