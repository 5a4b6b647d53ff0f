//! The newest journal file that the packs have lived with, kept beside them: a journal that ends before it comes from an older copy of the
//! pool, to which these packs do not belong any more.
//!
//! File `packs/newest`, byte table in `docs/formats/journal.md`. It is written when a journal file has begun, so that it is never ahead of the
//! journal that it lies with. One that is missing or damaged only tells nothing; the start writes it anew.

use std::path::Path;

use vtl_durable::Disk;
use vtl_durable::sealed::{self, Kind, ReplaceError, SealedError};
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::error::StoreError;

const NAME: &str = "newest";
pub(crate) const KIND: Kind = Kind { magic: *b"VTLNEWST", version: 0 };

/// A journal file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    /// The start that made it.
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

impl Newest {
    fn start(self) -> u64 {
        self.epoch >> 32
    }

    /// Whether packs that have seen this can be those of a journal that ends with `journal`.
    fn is_reached_by(self, journal: Self) -> bool {
        let same = self.epoch == journal.epoch && self.number <= journal.number;
        same || self.start() < journal.start()
    }

    fn encode(self, store_id: [u8; 16]) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32);
        writer.raw(&store_id).u64(self.epoch).u64(self.number);
        writer.into_bytes()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<([u8; 16], Self), Malformed> {
        let mut reader = Reader::new(bytes);
        let store_id = reader.array("store id")?;
        let newest = Self { epoch: reader.u64("epoch")?, number: reader.u64("number")? };
        reader.end("newest journal file")?;
        Ok((store_id, newest))
    }
}

/// Remembers it. When that fails, an older one is there.
pub(crate) fn remember(disk: &dyn Disk, packs: &Path, store_id: [u8; 16], newest: Newest) {
    let written = sealed::replace(disk, packs, NAME, KIND, &newest.encode(store_id));
    if let Err(error) = written.map_err(ReplaceError::into_inner) {
        tracing::warn!(%error, "the packs do not remember the newest journal file");
    }
}

/// Refuses packs of another pool, and those that have seen more than the journal.
pub(crate) fn compare(
    disk: &dyn Disk,
    packs: &Path,
    store_id: [u8; 16],
    journal: Newest,
) -> Result<(), StoreError> {
    let path = packs.join(NAME);
    let Some((whose, newest)) = read(disk, &path)? else { return Ok(()) };
    let refused =
        |why: &str| Err(StoreError::Damaged { path: path.clone(), offset: 0, why: why.to_string() });
    if whose != store_id {
        return refused("the packs belong to another pool (put the right files back)");
    }
    if !newest.is_reached_by(journal) {
        return refused(
            "the journal is older than the packs beside it, as after restoring a copy of a part: put back journal, owners and packs of one moment",
        );
    }
    Ok(())
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<([u8; 16], Newest)>, StoreError> {
    match sealed::read(disk, path, KIND) {
        Ok(payload) => Ok(Newest::decode(&payload).ok()),
        Err(SealedError::Disk(error)) if error.is_not_found() => Ok(None),
        Err(SealedError::Damaged { why, .. }) => {
            tracing::warn!(path = %path.display(), why, "what the packs remember of the journal cannot be read, and is written anew");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: Newest = Newest { epoch: 0x0102_0304_0506_0708, number: 0x090a };

    #[test]
    fn it_keeps_its_bytes() {
        let mut expected = [0x55; 16].to_vec();
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x0a\x09\0\0\0\0\0\0");
        assert_eq!(NEWEST.encode([0x55; 16]), expected);
        assert_eq!(Newest::decode(&expected).unwrap(), ([0x55; 16], NEWEST));
        assert!((0..expected.len()).all(|len| Newest::decode(&expected[..len]).is_err()));
    }

    #[test]
    fn only_a_journal_that_has_come_as_far_in_the_same_history_is_taken() {
        let journal = |epoch, number| Newest { epoch, number };
        assert!(NEWEST.is_reached_by(NEWEST));
        assert!(NEWEST.is_reached_by(journal(NEWEST.epoch, NEWEST.number + 1)));
        assert!(NEWEST.is_reached_by(journal(NEWEST.epoch + (1 << 32), NEWEST.number + 1)));
        for older in [
            journal(NEWEST.epoch, NEWEST.number - 1),
            journal(NEWEST.epoch - (1 << 32), NEWEST.number),
            journal(NEWEST.epoch + 1, NEWEST.number),
            Newest::default(),
        ] {
            assert!(!NEWEST.is_reached_by(older), "{older:?}");
        }
    }
}
