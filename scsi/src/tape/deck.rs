//! A loaded cartridge under the head: reading, writing and moving, with the exact residuals of SSC-4.
//!
//! The deck keeps two promises. What `docs/semantics.md` calls a durable point is one: every motion, and a
//! read after a write, first makes written data durable. The other: a fault of the medium becomes a [`Halt`]
//! here and nowhere else.

use alloc::vec::Vec;
use bytes::Bytes;
use vtl_types::MediaForm;

use super::{alerts::Alert, tally::Tally};
use crate::{
    command::{DataIn, Instant, Reply},
    medium::{Fault, Medium, MediumFacts, Object, Position, Spaced, Stop},
    sense::{Check, Sense, SenseFormat},
};

/// Bytes that one fixed-block READ may ask for: all of it is in memory at once.
pub(super) const MAX_READ_BYTES: u64 = 32 << 20;

/// Why a command ended early, with what had been read until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Halt {
    /// What happened.
    pub(super) check: Check,
    /// It concerns earlier commands, which had ended with GOOD; this one was not executed.
    pub(super) deferred: bool,
    /// Whole blocks (or the part of one that was asked for) read before it.
    pub(super) data: DataIn,
    /// TapeAlert flag that this fault raises.
    pub(super) alert: Option<Alert>,
}

impl Halt {
    /// A halt about an earlier command.
    pub(super) const fn deferred(check: Check) -> Self {
        Self { check, deferred: true, data: Vec::new(), alert: None }
    }

    /// The same for a command that transfers nothing.
    pub(super) fn without_data(self) -> Self {
        self.with_data(Vec::new())
    }

    /// The same, raising a TapeAlert flag.
    pub(super) const fn raising(mut self, alert: Alert) -> Self {
        self.alert = Some(alert);
        self
    }

    fn with_data(mut self, data: DataIn) -> Self {
        self.data = data;
        self
    }

    /// A failed late write, when nothing else than the command in hand can have been lost (`before`: what was
    /// not durable when it began): then the error is this command's own.
    fn blamed_on_this_command(self, before: Buffered, asked: i64) -> Self {
        match self.check {
            Check::WriteError { .. } if before == Buffered::default() => {
                Self { check: Check::WriteError { left: Some(asked) }, deferred: false, ..self }
            }
            _ => self,
        }
    }

    /// The reply to the initiator.
    pub(super) fn into_reply(self) -> Reply {
        let mut reply = Reply::check(self.check).with_data(self.data);
        if self.deferred {
            reply.sense = Some(Sense::deferred(self.check, SenseFormat::Fixed));
        }
        reply
    }
}

impl From<Check> for Halt {
    fn from(check: Check) -> Self {
        Self { check, deferred: false, data: Vec::new(), alert: None }
    }
}

/// How the length of READ, WRITE and VERIFY counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// FIXED 0: one block of this many bytes.
    Variable {
        /// Bytes asked for.
        length: u32,
        /// SILI: a block shorter than asked is no error.
        sili: bool,
    },
    /// FIXED 1: this many blocks of the length in the mode parameter block descriptor.
    Fixed {
        /// Blocks asked for.
        blocks: u32,
    },
}

/// What the mode pages say about writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriteMode {
    /// Data compression enable (DCE of page 0Fh).
    pub(super) compress: bool,
    /// Buffered mode is not 0: status may come before the data is durable.
    pub(super) buffered: bool,
    /// SEW of page 10h: past early warning, nothing stays in the buffer.
    pub(super) synchronize_at_warning: bool,
}

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A logical object number.
    Object(u64),
    /// A logical file number.
    File(u64),
    /// End of data.
    EndOfData,
}

/// What SPACE counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Code 0h.
    Blocks,
    /// Code 1h.
    Filemarks,
    /// Code 2h: runs of filemarks.
    SequentialFilemarks,
    /// Code 3h: the count means nothing.
    EndOfData,
}

/// What was written since the last durable point: the object buffer of READ POSITION.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Buffered {
    /// Blocks and filemarks.
    pub(super) objects: u64,
    /// Bytes of blocks.
    pub(super) bytes: u64,
}

/// A cartridge in the drive, loaded or not.
#[derive(Debug)]
pub(super) struct Deck<M> {
    medium: M,
    /// As they were when the cartridge came in; only what cannot change is read from here.
    facts: MediumFacts,
    buffered: Buffered,
}

impl<M: Medium> Deck<M> {
    pub(super) fn new(medium: M) -> Self {
        let facts = medium.facts();
        Self { medium, facts, buffered: Buffered::default() }
    }

    pub(super) fn into_medium(self) -> M {
        self.medium
    }

    pub(super) const fn medium(&self) -> &M {
        &self.medium
    }

    pub(super) const fn medium_mut(&mut self) -> &mut M {
        &mut self.medium
    }

    /// Label, serial and kind.
    pub(super) const fn identity(&self) -> &MediumFacts {
        &self.facts
    }

    pub(super) const fn buffered(&self) -> Buffered {
        self.buffered
    }

    pub(super) fn position(&self) -> Position {
        self.medium.position()
    }

    /// READ. `block_length`: of the mode parameter block descriptor, 0 for variable.
    pub(super) fn read(
        &mut self,
        shape: Shape,
        block_length: u32,
        tally: &mut Tally,
    ) -> Result<DataIn, Halt> {
        self.settle()?;
        match shape {
            Shape::Variable { length: 0, .. } | Shape::Fixed { blocks: 0 } => Ok(Vec::new()),
            Shape::Variable { length, sili } => {
                let overlength_is_fine = sili && block_length == 0;
                let read = self.read_variable(length, tally)?;
                let residual = i64::from(length) - i64::from(read.length);
                let fine = if residual < 0 { overlength_is_fine } else { sili || residual == 0 };
                if fine {
                    return Ok(read.data);
                }
                Err(Halt::from(Check::IncorrectLength { residual, past_warning: false }).with_data(read.data))
            }
            Shape::Fixed { blocks } => self.read_fixed(blocks, block_length, tally),
        }
    }

    fn read_variable(&mut self, length: u32, tally: &mut Tally) -> Result<BlockRead, Halt> {
        let left = i64::from(length);
        match self.medium.read(length).map_err(|fault| self.halt(fault, Some(left)))? {
            Object::Block { length, data } => {
                tally.count_read(data.iter().map(Bytes::len).sum());
                Ok(BlockRead { length, data })
            }
            Object::Filemark => Err(Check::Filemark { left, past_warning: false }.into()),
            Object::EndOfData => Err(Check::EndOfData { left }.into()),
        }
    }

    /// Blocks of exactly `block_length`; a block of another length ends the transfer and is not delivered, so
    /// that the residual in blocks times the block length is what the transport did not deliver. When a block is
    /// away, nothing is delivered and the position is where it was: hosts repeat the command.
    fn read_fixed(&mut self, blocks: u32, block_length: u32, tally: &mut Tally) -> Result<DataIn, Halt> {
        let mut data = Gather::default();
        let first = self.position().object;
        for done in 0..blocks {
            let left = i64::from(blocks - done);
            let halt = match self.medium.read(block_length) {
                Ok(Object::Block { length, data: block }) if length == block_length => {
                    tally.count_read(block.iter().map(Bytes::len).sum());
                    data.add(block);
                    continue;
                }
                Ok(Object::Block { .. }) => {
                    Check::IncorrectLength { residual: left, past_warning: false }.into()
                }
                Ok(Object::Filemark) => Check::Filemark { left, past_warning: false }.into(),
                Ok(Object::EndOfData) => Check::EndOfData { left }.into(),
                Err(Fault::Away) => return Err(self.back_to(first, i64::from(blocks))),
                Err(fault) => self.halt(fault, Some(left)),
            };
            return Err(halt.with_data(data.finish()));
        }
        Ok(data.finish())
    }

    /// A block is away: all of the command is `left`, and the position is before its `first` block.
    fn back_to(&mut self, first: u64, left: i64) -> Halt {
        let fault = self.medium.locate_object(first).err().unwrap_or(Fault::Away);
        self.halt(fault, Some(left))
    }

    /// WRITE. Halts after the last block when it lies past early warning.
    pub(super) fn write(
        &mut self,
        mut blocks: Blocks,
        mode: WriteMode,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let before = self.buffered;
        let asked = blocks.left();
        let mut early_warning = false;
        loop {
            let left = blocks.left();
            let Some(block) = blocks.next() else { break };
            self.refuse_worm_overwrite()?;
            match self.medium.write(&block, mode.compress) {
                Ok(written) => early_warning = written.early_warning,
                Err(fault) => return Err(self.halt_write(fault, left, mode)),
            }
            let length: usize = block.iter().map(Bytes::len).sum();
            tally.count_written(length);
            self.count_buffered(1, length as u64);
        }
        self.finish_write(mode, early_warning, before, asked)
    }

    /// WRITE FILEMARKS. `immed`: status is due before the marks are durable. Count 0 only makes durable what
    /// was written before.
    pub(super) fn write_filemarks(&mut self, count: u32, immed: bool, mode: WriteMode) -> Result<(), Halt> {
        if count == 0 {
            return if immed { Ok(()) } else { self.settle() };
        }
        self.refuse_worm_overwrite()?;
        let before = self.buffered;
        let left = i64::from(count);
        let written =
            self.medium.write_filemarks(count).map_err(|fault| self.halt_write(fault, left, mode))?;
        self.count_buffered(u64::from(count), 0);
        self.finish_write(WriteMode { buffered: immed, ..mode }, written.early_warning, before, left)
    }

    /// Durability and early warning, when all of a write has been taken. `asked` is what is left of it if it
    /// cannot be kept.
    fn finish_write(
        &mut self,
        mode: WriteMode,
        early_warning: bool,
        before: Buffered,
        asked: i64,
    ) -> Result<(), Halt> {
        if !mode.buffered || early_warning && mode.synchronize_at_warning {
            self.settle().map_err(|halt| halt.blamed_on_this_command(before, asked))?;
        }
        if early_warning { Err(Check::EarlyWarning { left: Some(0) }.into()) } else { Ok(()) }
    }

    /// A write that the medium did not take. What it took before is made durable at the end of the partition,
    /// and where status waits for it.
    fn halt_write(&mut self, fault: Fault, left: i64, mode: WriteMode) -> Halt {
        let at_end = matches!(fault, Fault::EndOfPartition | Fault::PoolFull);
        let halt = self.halt(fault, Some(left));
        if at_end || !mode.buffered {
            return self.settle().err().unwrap_or(halt);
        }
        halt
    }

    /// A durable point: returns when everything written survives a power cut.
    pub(super) fn settle(&mut self) -> Result<(), Halt> {
        if self.buffered == Buffered::default() {
            return Ok(());
        }
        self.medium.flush().map_err(|fault| self.halt(fault, None))?;
        self.buffered = Buffered::default();
        Ok(())
    }

    /// When [`Self::settle_due`] has something to do.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.medium.due_at()
    }

    /// Makes durable what has waited long enough.
    pub(super) fn settle_due(&mut self, now: Instant) -> Result<(), Halt> {
        if self.medium.commit_due(now).map_err(|fault| self.halt(fault, None))? {
            self.buffered = Buffered::default();
        }
        Ok(())
    }

    /// SPACE. Ends at filemarks (blocks), end of data and beginning of partition as SSC-4 says; residuals
    /// count without sign.
    pub(super) fn space(&mut self, unit: Unit, count: i64) -> Result<(), Halt> {
        self.settle()?;
        let moved = match (unit, count) {
            (Unit::EndOfData, _) => self.medium.space_to_end().map(|()| None),
            (_, 0) => return Ok(()),
            (Unit::Blocks, count) => self.medium.space_blocks(count).map(Some),
            (Unit::Filemarks, count) => self.medium.space_filemarks(count).map(Some),
            (Unit::SequentialFilemarks, count) => self.medium.space_sequential_filemarks(count).map(Some),
        };
        match moved.map_err(|fault| self.halt(fault, None))? {
            Some(Spaced { moved, stop: Some(stop) }) => {
                let left = i64::try_from(count.unsigned_abs().saturating_sub(moved)).unwrap_or(i64::MAX);
                Err(stop_check(stop, left).into())
            }
            _ => Ok(()),
        }
    }

    /// LOCATE and REWIND.
    pub(super) fn locate(&mut self, target: Target) -> Result<(), Halt> {
        self.settle()?;
        let (stop, wanted) = match target {
            Target::Object(object) => (self.medium.locate_object(object), object),
            Target::File(file) => (self.medium.locate_file(file), file),
            Target::EndOfData => (self.medium.space_to_end().map(|()| None), 0),
        };
        let Some(stop) = stop.map_err(|fault| self.halt(fault, None))? else { return Ok(()) };
        let here = self.position();
        let reached = if matches!(target, Target::File(_)) { here.file } else { here.object };
        let left = i64::try_from(wanted.saturating_sub(reached)).unwrap_or(i64::MAX);
        Err(stop_check(stop, left).into())
    }

    /// ERASE: the position becomes end of data.
    pub(super) fn erase(&mut self, long: bool) -> Result<(), Halt> {
        self.settle()?;
        self.refuse_worm_overwrite()?;
        self.medium.erase(long).map_err(|fault| self.halt(fault, None))
    }

    /// FORMAT MEDIUM into one partition; only at its beginning.
    pub(super) fn format(&mut self) -> Result<(), Halt> {
        self.settle()?;
        if self.position().object != 0 {
            return Err(Check::PositionPastBeginning.into());
        }
        self.refuse_worm_overwrite()?;
        self.medium.format().map_err(|fault| self.halt(fault, None))
    }

    /// A write-once medium takes data at its end only.
    fn refuse_worm_overwrite(&self) -> Result<(), Halt> {
        let worm = self.facts.kind.form == MediaForm::Worm;
        if worm && !self.position().end_of_data {
            return Err(worm_overwrite());
        }
        Ok(())
    }

    fn count_buffered(&mut self, objects: u64, bytes: u64) {
        self.buffered.objects = self.buffered.objects.saturating_add(objects);
        self.buffered.bytes = self.buffered.bytes.saturating_add(bytes);
    }

    /// The one place where a fault of the medium becomes sense data. `left`: residual of the command that met
    /// it.
    pub(super) fn halt(&mut self, fault: Fault, left: Option<i64>) -> Halt {
        match fault {
            Fault::Unreadable { .. } => {
                Halt::from(Check::UnrecoveredRead { left }).raising(Alert::ReadFailure)
            }
            Fault::Away => Check::BlockAway { left }.into(),
            Fault::LateWrite => {
                self.buffered = Buffered::default();
                Halt::deferred(Check::WriteError { left: None }).raising(Alert::WriteFailure)
            }
            Fault::WriteFailed => Halt::from(Check::WriteError { left }).raising(Alert::WriteFailure),
            Fault::EndOfPartition | Fault::PoolFull => Check::EndOfPartition { left }.into(),
            Fault::WriteProtected => Halt::from(Check::WriteProtected).raising(Alert::WriteProtect),
            Fault::WriteOnce => worm_overwrite(),
            Fault::FormatCorrupted => Halt::from(Check::FormatCorrupted).raising(Alert::Media),
            Fault::Hardware => Halt::from(Check::InternalFailure).raising(Alert::Hardware),
        }
    }
}

fn worm_overwrite() -> Halt {
    Halt::from(Check::WormOverwrite).raising(Alert::WormOverwrite)
}

const fn stop_check(stop: Stop, left: i64) -> Check {
    match stop {
        Stop::Filemark => Check::Filemark { left, past_warning: false },
        Stop::EndOfData => Check::EndOfData { left },
        Stop::Beginning => Check::Beginning { left },
    }
}

struct BlockRead {
    length: u32,
    data: DataIn,
}

/// Blocks shorter than this are copied together, so that a million of them does not make a million pieces.
const SMALL_BLOCK_BYTES: usize = 4_096;

/// Data-In of a fixed-block READ while it grows.
#[derive(Default)]
struct Gather {
    pieces: DataIn,
    small: Vec<u8>,
}

impl Gather {
    fn add(&mut self, block: Vec<Bytes>) {
        if block.iter().map(Bytes::len).sum::<usize>() < SMALL_BLOCK_BYTES {
            block.iter().for_each(|piece| self.small.extend_from_slice(piece));
        } else {
            self.seal();
            self.pieces.extend(block);
        }
    }

    fn seal(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(core::mem::take(&mut self.small).into());
        }
    }

    fn finish(mut self) -> DataIn {
        self.seal();
        self.pieces
    }
}

/// The data of one WRITE, cut into blocks one after the other without copying.
#[derive(Debug)]
pub(super) struct Blocks {
    /// What is left of the data; the last piece comes first.
    reversed: Vec<Bytes>,
    /// Blocks left.
    count: u32,
    /// Bytes of one block.
    length: u32,
    /// INFORMATION counts blocks, not bytes.
    fixed: bool,
}

impl Blocks {
    /// `data` as `count` blocks of `length` bytes; none when there is too little of it.
    pub(super) fn new(data: &[Bytes], count: u32, length: u32, fixed: bool) -> Option<Self> {
        let bytes = data.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.len() as u64))?;
        if bytes < u64::from(count) * u64::from(length) {
            return None;
        }
        let reversed = data.iter().rev().cloned().collect();
        Some(Self { reversed, count, length, fixed })
    }

    /// INFORMATION when nothing more is written.
    fn left(&self) -> i64 {
        let left = i64::from(self.count);
        if self.fixed { left } else { left * i64::from(self.length) }
    }
}

impl Iterator for Blocks {
    type Item = Vec<Bytes>;

    fn next(&mut self) -> Option<Vec<Bytes>> {
        self.count = self.count.checked_sub(1)?;
        take(&mut self.reversed, self.length as usize)
    }
}

/// Takes `length` bytes off the end of `reversed`, whose last piece is the first in order.
fn take(reversed: &mut Vec<Bytes>, mut length: usize) -> Option<Vec<Bytes>> {
    let mut taken = Vec::new();
    while length > 0 {
        let mut piece = reversed.pop()?;
        if piece.len() > length {
            reversed.push(piece.split_off(length));
        }
        length = length.saturating_sub(piece.len());
        taken.push(piece);
    }
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_cut_into_blocks_across_the_edges_of_its_pieces() {
        let data = [Bytes::from_static(b"abc"), Bytes::from_static(b"defgh"), Bytes::from_static(b"i")];
        let blocks = Blocks::new(&data, 2, 4, true).unwrap();
        assert_eq!(blocks.left(), 2);
        let text: Vec<Vec<u8>> = blocks.map(|block| block.concat()).collect();
        assert_eq!(text, [b"abcd".to_vec(), b"efgh".to_vec()]);
        assert!(Blocks::new(&data, 10, 1, true).is_none());
    }
}
