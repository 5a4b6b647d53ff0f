//! A cartridge as it was at its last commit, read from its beginning to its end while drives do with it what they like.

use std::fmt;

use vtl_store::{OwnerId, Portion, ReadError, Snapshot, Store};
use vtl_types::CartridgeId;

use crate::cartridge::read_head;
use crate::error::CartridgeError;
use crate::files::{Files, files};
use crate::head::Head;
use crate::map::{Cursor, Entry};
use crate::spec::Facts;

/// An object as the store has it.
#[derive(Debug)]
pub enum Kept {
    /// Behind the last object.
    EndOfData,
    /// A filemark.
    Filemark,
    /// A block: all its bytes in order, and what they were decompressed from.
    Block(Vec<Portion>),
}

/// What was on a tape at one commit. The store keeps what it needs until it is dropped.
pub struct Reading {
    snapshot: Snapshot,
    head: Head,
    cursor: Cursor,
}

impl Reading {
    /// The cartridge as last committed, at the beginning of its tape. What a drive has taken and not committed is not in it.
    ///
    /// # Errors
    /// There is none with this id, or its head cannot be read.
    pub fn open(store: &Store, id: CartridgeId) -> Result<Self, CartridgeError> {
        let snapshot = store.snapshot(OwnerId(id.0))?;
        let head = read_head(snapshot.head())?;
        Ok(Self { cursor: head.map.start_cursor(), snapshot, head })
    }

    /// What it tells about itself.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts::of(&self.head)
    }

    /// What stands between filemarks, in at most `most` rows.
    #[must_use]
    pub fn files(&self, most: usize) -> Vec<Files> {
        files(self.head.map.runs(), self.head.map.end().file, most)
    }

    /// Host attributes by id, ascending.
    pub fn host_attributes(&self) -> impl Iterator<Item = (u16, &[u8])> {
        self.head.attributes.iter().map(|(id, value)| (*id, value.as_slice()))
    }

    /// The next object, whole.
    ///
    /// # Errors
    /// [`CartridgeError::Unreadable`] with the number of the object.
    pub fn next_object(&mut self) -> Result<Kept, CartridgeError> {
        let object = self.cursor.at().object;
        match self.head.map.step(&mut self.cursor) {
            None => Ok(Kept::EndOfData),
            Some(Entry::Filemark) => Ok(Kept::Filemark),
            Some(Entry::Block { offset, length }) => {
                let portions = self.snapshot.portions(offset, length.into());
                portions.map(Kept::Block).map_err(|error| match error {
                    ReadError::OutOfRange { .. } => CartridgeError::corrupted(error),
                    damaged => CartridgeError::Unreadable { object, why: damaged.to_string() },
                })
            }
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("label", &self.head.label).finish_non_exhaustive()
    }
}
