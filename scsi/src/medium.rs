//! What a drive needs of the cartridge in it.
//!
//! The model is SSC's: a sequence of blocks and filemarks between beginning of partition and end of data, and
//! a position between two of them. All calls may block; a drive does one thing at a time. Nothing written
//! counts as kept until [`Medium::flush`] has returned.
//!
//! What the drive relies on:
//! - It flushes before every motion and every read that follows a write; an implementation need not.
//! - A fault leaves the medium where the fault's text says, ready for the next call. [`Fault::LateWrite`] is
//!   reported once, by whichever call meets it, and that call has done nothing else.
//! - A commit that an implementation makes by itself belongs to the call in hand: when it loses data, that
//!   call (or the next one) returns `LateWrite`. A loss that no call returns is never told to any host. What is due
//!   while no command comes is committed by [`Medium::commit_due`], whose loss the drive tells those who wrote.
//! - [`Medium::position`] is cheap: it is asked after each command.

use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use vtl_types::MediaKind;

use crate::command::Instant;

/// What does not change while a cartridge is in a drive, except the last two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumFacts {
    /// Bar code.
    pub label: String,
    /// MAM 0401h and READ MEDIA SERIAL NUMBER; never changes in a cartridge's life.
    pub serial: String,
    /// Generation and form.
    pub kind: MediaKind,
    /// The day it was made, as MAM 0406h has it: `20261122`. Empty when that is not known.
    pub made_on: String,
    /// Bytes of host data that fit, by generation or as set when it was made.
    pub capacity_bytes: u64,
    /// Bytes of host data from beginning of tape to end of data.
    pub used_bytes: u64,
    /// The write-protect switch.
    pub write_protected: bool,
}

/// A position on the tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Logical objects (blocks and filemarks) before this position.
    pub object: u64,
    /// Filemarks before this position.
    pub file: u64,
    /// Nothing follows.
    pub end_of_data: bool,
    /// At or past early warning.
    pub early_warning: bool,
}

/// What a read met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A block of `length` bytes; `data` holds its beginning, at most what was asked. The position is behind
    /// the block in any case.
    Block {
        /// Length as written.
        length: u32,
        /// The first bytes of it.
        data: Vec<Bytes>,
    },
    /// A filemark; the position is behind it.
    Filemark,
    /// End of data; the position has not moved.
    EndOfData,
}

/// A write that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The position is now at or past early warning.
    pub early_warning: bool,
}

/// How far a SPACE got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spaced {
    /// Units passed over, without sign.
    pub moved: u64,
    /// What ended it before the count was reached.
    pub stop: Option<Stop>,
}

/// What can end a movement early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A filemark while spacing over blocks; it has been passed in the direction of movement.
    Filemark,
    /// End of data.
    EndOfData,
    /// Beginning of partition.
    Beginning,
}

/// Why the medium could not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Stored bytes of the block at `object` failed their check or could not be read; other blocks are not
    /// concerned. The position is behind it.
    Unreadable {
        /// Which one.
        object: u64,
    },
    /// The bytes of the block at the position are elsewhere and cannot be reached now. The position is before it; the same read may succeed later.
    Away,
    /// A write that had been acknowledged failed later: reported once, as deferred. What was not durable is
    /// lost and the position is at the new end of data.
    LateWrite,
    /// This very write failed; nothing of it is on the medium.
    WriteFailed,
    /// End of partition: no room for this block or mark; nothing of it is on the medium.
    EndOfPartition,
    /// The pool behind the cartridge is full: nothing of it is on the medium.
    PoolFull,
    /// Write protected, by switch or because the pool is read-only.
    WriteProtected,
    /// A write-once cartridge takes data at its end only.
    WriteOnce,
    /// The cartridge's own structure is damaged: its format cannot be trusted.
    FormatCorrupted,
    /// What the cartridge stands on does not answer.
    Hardware,
}

/// Why an attribute could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeFault {
    /// It could not be made durable.
    NotStored,
    /// Nothing of the cartridge can be changed now.
    Protected,
    /// No more room in medium auxiliary memory.
    NoRoom,
}

/// The cartridge in a drive. Partition 0 is the only one for now.
pub trait Medium {
    /// Who this is.
    fn facts(&self) -> MediumFacts;

    /// Where we are.
    fn position(&self) -> Position;

    /// Reads the object at the position and moves behind it. `limit`: bytes wanted at most.
    ///
    /// # Errors
    /// [`Fault::Unreadable`], [`Fault::Away`], [`Fault::LateWrite`], [`Fault::Hardware`].
    fn read(&mut self, limit: u32) -> Result<Object, Fault>;

    /// Writes one block at the position; whatever was behind the position is gone. Buffered: durable with the
    /// next [`Medium::flush`].
    /// `compress`: the drive's data compression is on.
    ///
    /// # Errors
    /// Any [`Fault`] but `Unreadable` and `Away`.
    fn write(&mut self, block: &[Bytes], compress: bool) -> Result<Written, Fault>;

    /// Writes `count` filemarks (up to 16,777,215, so it must be cheap) at the position, buffered: all of
    /// them or none. With `count` 0 nothing changes.
    ///
    /// # Errors
    /// As [`Medium::write`].
    fn write_filemarks(&mut self, count: u32) -> Result<Written, Fault>;

    /// Returns when everything written so far survives a power cut.
    ///
    /// # Errors
    /// [`Fault::LateWrite`], [`Fault::Hardware`].
    fn flush(&mut self) -> Result<(), Fault>;

    /// When [`Medium::commit_due`] has something to do although no command comes. `None`: nothing waits, or nothing is
    /// ever committed before it is asked for.
    fn due_at(&self) -> Option<Instant> {
        None
    }

    /// Commits what has waited long enough at `now`; true when everything written so far survives a power cut by it.
    ///
    /// # Errors
    /// As [`Medium::flush`].
    fn commit_due(&mut self, now: Instant) -> Result<bool, Fault> {
        let _ = now;
        Ok(false)
    }

    /// Moves over blocks, towards the end (positive) or the beginning (negative); stops behind a filemark in
    /// the direction of movement.
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn space_blocks(&mut self, count: i64) -> Result<Spaced, Fault>;

    /// Moves over filemarks.
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn space_filemarks(&mut self, count: i64) -> Result<Spaced, Fault>;

    /// Moves over the next run of `count` consecutive filemarks (SPACE code 2h, sequential filemarks).
    /// `moved` is `count` when there is one, else 0 at the end that was met.
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn space_sequential_filemarks(&mut self, count: i64) -> Result<Spaced, Fault>;

    /// Moves to end of data.
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn space_to_end(&mut self) -> Result<(), Fault>;

    /// Moves to the object with this number; `Some(EndOfData)` when it lies beyond, the position being at end
    /// of data then. Object 0 is the beginning: the drive goes there when a cartridge is inserted.
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn locate_object(&mut self, object: u64) -> Result<Option<Stop>, Fault>;

    /// Moves behind the filemark that begins file `file` (0: beginning of partition).
    ///
    /// # Errors
    /// [`Fault::Hardware`].
    fn locate_file(&mut self, file: u64) -> Result<Option<Stop>, Fault>;

    /// Makes the position end of data; durable when it returns. `long`: the old bytes are to be unreachable
    /// for good.
    ///
    /// # Errors
    /// As [`Medium::write`] and [`Medium::flush`].
    fn erase(&mut self, long: bool) -> Result<(), Fault>;

    /// FORMAT MEDIUM with one partition: empties the cartridge; durable when it returns.
    ///
    /// # Errors
    /// As [`Medium::write`] and [`Medium::flush`].
    fn format(&mut self) -> Result<(), Fault>;

    /// An attribute that the host has written (0800h to 0BFFh and so on), as stored.
    fn host_attribute(&self, id: u16) -> Option<Vec<u8>>;

    /// Ids of all stored host attributes, ascending.
    fn host_attributes(&self) -> Vec<u16>;

    /// Stores or, with an empty value, removes a host attribute; durable when it returns.
    ///
    /// # Errors
    /// See [`AttributeFault`].
    fn set_host_attribute(&mut self, id: u16, value: &[u8]) -> Result<(), AttributeFault>;

    /// How often this cartridge was loaded (MAM 0003h), counting this time.
    fn load_count(&self) -> u64;
}
