//! The way of one stream's bytes from `append` to its pack files.
//!
//! ```text
//! submit -> batches -> cutter (one at a time) -> slot (Waiting) -> worker: compress -> slot (Ready) -> writer, in order
//! ```
//!
//! Slots keep the order; whoever makes the front slot ready while nobody writes becomes the writer. Cutter and writer are taken
//! out of the lane for as long as somebody works with them. Bytes in flight are counted from `submit` until they are in a file
//! or turned out to be there already; above the limit `submit` waits. The first failure is kept, everything after it is dropped, and
//! the stream's next call hears of it.

use std::collections::VecDeque;

use bytes::Bytes;
use vtl_codec::Habit;

use crate::codec::Codec;
use crate::cutter::{Batch, Cut, Cutter};
use crate::pack::PackId;
use crate::recipe::{Change, Extent, Note, extent_at};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::mpsc::channel;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard};
use crate::types::Soon;
use crate::workers::{Handle, lock, wait};
use crate::writer::{Dock, PrepareError, Ready, Writer};

/// What a lane needs of its store.
pub(crate) struct Context {
    pub(crate) dock: Arc<Dock>,
    pub(crate) codec: Arc<Codec>,
    pub(crate) workers: Handle,
    pub(crate) in_flight_bytes: usize,
    /// The sum over all lanes.
    pub(crate) in_flight_total: Arc<AtomicU64>,
    /// A cutter as at the beginning of a stream.
    pub(crate) new_cutter: Box<dyn Fn() -> Cutter + Send + Sync>,
}

pub(crate) struct Lane {
    context: Context,
    /// How the stream's last region compressed.
    habit: Habit,
    state: Mutex<LaneState>,
    changed: Condvar,
}

struct LaneState {
    batches: VecDeque<Batch>,
    /// Taken out while somebody cuts.
    cutter: Option<Cutter>,
    slots: VecDeque<Slot>,
    /// The number of the front slot.
    first: u64,
    in_flight: usize,
    /// Taken out while somebody writes.
    writer: Option<Writer>,
    soon: Soon,
    failure: Option<String>,
}

enum Slot {
    Waiting,
    Ready(Ready),
    /// The worker panicked.
    Broken,
}

const BROKEN: &str = "a worker stopped in the middle of a chunk";

impl Lane {
    pub(crate) fn new(context: Context, length: u64) -> Self {
        let state = LaneState {
            batches: VecDeque::new(),
            cutter: Some((context.new_cutter)()),
            slots: VecDeque::new(),
            first: 0,
            in_flight: 0,
            writer: Some(Writer::new(length, Soon::Maybe)),
            soon: Soon::Maybe,
            failure: None,
        };
        Self { context, habit: Habit::default(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Hands bytes over; blocks while too much is in flight.
    pub(crate) fn submit(self: &Arc<Self>, batch: Batch) {
        let len: usize = batch.pieces.iter().map(Bytes::len).sum();
        let mut state = lock(&self.state);
        while state.in_flight > 0
            && state.in_flight + len > self.context.in_flight_bytes
            && state.failure.is_none()
        {
            state = wait(&self.changed, state);
        }
        state.batches.push_back(batch);
        state.in_flight += len;
        self.context.in_flight_total.fetch_add(len as u64, Ordering::Relaxed);
        let Some(cutter) = state.cutter.take() else { return };
        drop(state);
        let turn = Turn { lane: Arc::clone(self), cutter: Some(cutter) };
        self.context.workers.run(Box::new(move || turn.cut_all()));
    }

    pub(crate) fn failure(&self) -> Option<String> {
        lock(&self.state).failure.clone()
    }

    /// Waits until everything handed over is in pack files, unsynced, where readers of the stream find it. The last batch must have
    /// ended its chunk.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let mut state = self.wait_idle();
        if state.failure.is_none()
            && let Some(writer) = state.writer.as_mut()
        {
            let flushed = writer.flush(&self.context.dock);
            // What could not be written is in no pack.
            if flushed.is_ok() {
                writer.publish(&self.context.dock);
            }
            let released = writer.take_released();
            self.release(&mut state, released);
            if let Err(error) = flushed {
                state.failure = Some(error.to_string());
            }
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    /// Writes and syncs all that the next commit refers to, and says what the commit changes.
    pub(crate) fn prepare(&self, note: Note) -> Result<Change, PrepareError> {
        let mut state = self.wait_idle();
        if let Some(failure) = &state.failure {
            return Err(PrepareError::Write(failure.clone()));
        }
        let Some(writer) = state.writer.as_mut() else {
            return Err(PrepareError::Write("the stream's writer is gone".to_string()));
        };
        let change = writer.prepare(&self.context.dock, note);
        // Before the commit: who sees the owner's new extents finds in the packs what they refer to. What could not be written is in none.
        if !matches!(change, Err(PrepareError::Write(_))) {
            writer.publish(&self.context.dock);
        }
        let released = writer.take_released();
        self.release(&mut state, released);
        change
    }

    /// The commit is durable.
    pub(crate) fn committed(&self) {
        let mut state = self.wait_idle();
        if let Some(writer) = state.writer.as_mut() {
            writer.committed(&self.context.dock);
        }
        if let Some(cutter) = state.cutter.as_mut() {
            cutter.committed();
        }
    }

    /// Cuts the uncommitted stream. Everything handed over must have been settled.
    pub(crate) fn truncate(&self, to: u64) {
        if let Some(writer) = self.wait_idle().writer.as_mut() {
            writer.truncate(to);
        }
    }

    /// Whether what is written from now on may be read back soon.
    pub(crate) fn set_soon(&self, soon: Soon) {
        let mut state = self.wait_idle();
        state.soon = soon;
        if let Some(writer) = state.writer.as_mut() {
            writer.set_soon(soon);
        }
    }

    /// Forgets everything after the last commit and the failure; packs made since then, which nothing refers to.
    pub(crate) fn fall_back(&self, length: u64) -> Vec<PackId> {
        let mut state = self.wait_idle();
        let in_flight = state.in_flight;
        self.release(&mut state, in_flight);
        state.failure = None;
        let fresh = state.writer.as_ref().map(Writer::fresh_packs).unwrap_or_default();
        state.writer = Some(Writer::new(length, state.soon));
        state.cutter = Some((self.context.new_cutter)());
        fresh
    }

    /// The stream is closed with everything committed.
    pub(crate) fn leave(&self) -> Result<(), PrepareError> {
        let mut state = self.wait_idle();
        let is_sound = state.failure.is_none();
        match state.writer.as_mut() {
            Some(writer) if is_sound => writer.leave(&self.context.dock),
            _ => Ok(()),
        }
    }

    /// The extent that holds an offset of the uncommitted part.
    pub(crate) fn extent_at(&self, offset: u64) -> Option<Extent> {
        let mut state = lock(&self.state);
        loop {
            if let Some(writer) = &state.writer {
                return extent_at(writer.extents(), offset).copied();
            }
            state = wait(&self.changed, state);
        }
    }

    /// Extents that are not committed yet, after everything handed over before has arrived. For the collector: whatever was found to be
    /// there already before this call is in them, or in a commit. The question goes the way of the bytes, so that a stream that
    /// never rests answers as well; one that failed has nothing that a commit could name.
    pub(crate) fn uncommitted_extents(self: &Arc<Self>) -> Vec<Extent> {
        let (probe, answer) = channel();
        self.submit(Batch { pieces: Vec::new(), compress: false, end: false, probe: Some(probe) });
        answer.recv().unwrap_or_default()
    }

    fn wait_idle(&self) -> MutexGuard<'_, LaneState> {
        let mut state = lock(&self.state);
        while !state.is_idle() {
            state = wait(&self.changed, state);
        }
        state
    }

    fn release(&self, state: &mut LaneState, bytes: usize) {
        state.in_flight = state.in_flight.saturating_sub(bytes);
        self.context.in_flight_total.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Gives each cut a slot, in order, and has its new content encoded.
    fn enter(self: &Arc<Self>, cuts: Vec<Cut>) {
        for cut in cuts {
            let number = {
                let mut state = lock(&self.state);
                state.slots.push_back(Slot::Waiting);
                state.first + state.slots.len() as u64 - 1
            };
            let ticket = Ticket { lane: Arc::clone(self), number, done: false };
            let Cut { items, chunks, pieces, compress, probe } = cut;
            if chunks.is_empty() {
                ticket.finish(Ready { items, chunks, encoded: None, probe });
                continue;
            }
            self.context.workers.run(Box::new(move || {
                let lane = &ticket.lane;
                let encoded = Some(lane.context.codec.encode(pieces, compress, &lane.habit));
                ticket.finish(Ready { items, chunks, encoded, probe });
            }));
        }
    }

    fn complete(&self, number: u64, slot: Slot) {
        let mut state = lock(&self.state);
        let place = number.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        if let Some(waiting) = place.and_then(|at| state.slots.get_mut(at)) {
            *waiting = slot;
        }
        self.write_out(state);
    }

    /// Writes what is ready at the front, unless somebody else is at it: he looks again when he is done.
    fn write_out<'a>(&'a self, mut state: MutexGuard<'a, LaneState>) {
        loop {
            let ready = state.ready_slots();
            if ready == 0 {
                return;
            }
            let Some(mut writer) = state.writer.take() else { return };
            let slots: Vec<Slot> = state.slots.drain(..ready).collect();
            state.first += ready as u64;
            let mut failure = state.failure.take();
            drop(state);
            for slot in slots {
                if failure.is_none() {
                    failure = self.write_slot(&mut writer, slot);
                }
            }
            let released = writer.take_released();
            state = lock(&self.state);
            state.writer = Some(writer);
            state.failure = failure;
            self.release(&mut state, released);
        }
    }

    fn write_slot(&self, writer: &mut Writer, slot: Slot) -> Option<String> {
        match slot {
            Slot::Ready(ready) => {
                writer.place(&self.context.dock, ready).err().map(|error| error.to_string())
            }
            Slot::Waiting | Slot::Broken => Some(BROKEN.to_string()),
        }
    }
}

impl LaneState {
    fn is_idle(&self) -> bool {
        self.batches.is_empty() && self.cutter.is_some() && self.slots.is_empty() && self.writer.is_some()
    }

    fn ready_slots(&self) -> usize {
        self.slots.iter().take_while(|slot| !matches!(slot, Slot::Waiting)).count()
    }
}

/// The cutter, out of its lane; one that is lost in the middle fails the lane instead of blocking it.
struct Turn {
    lane: Arc<Lane>,
    cutter: Option<Cutter>,
}

impl Turn {
    /// Cuts until nothing waits.
    fn cut_all(mut self) {
        let lane = Arc::clone(&self.lane);
        let mut cuts = Vec::new();
        loop {
            let mut state = lock(&lane.state);
            let Some(batch) = state.batches.pop_front() else {
                state.cutter = self.cutter.take();
                lane.changed.notify_all();
                return;
            };
            let failed = state.failure.is_some();
            drop(state);
            // After a failure nothing is kept, so nothing need be cut.
            if let Some(cutter) = self.cutter.as_mut().filter(|_| !failed) {
                cutter.feed(batch, &mut cuts);
                lane.enter(std::mem::take(&mut cuts));
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.cutter.is_none() {
            return;
        }
        let mut state = lock(&self.lane.state);
        state.cutter = Some((self.lane.context.new_cutter)());
        state.batches.clear();
        state.failure.get_or_insert_with(|| BROKEN.to_string());
        self.lane.changed.notify_all();
    }
}

/// A slot that a worker owes; one that is dropped unfinished breaks the lane instead of blocking it.
struct Ticket {
    lane: Arc<Lane>,
    number: u64,
    done: bool,
}

impl Ticket {
    fn finish(mut self, ready: Ready) {
        self.done = true;
        self.lane.complete(self.number, Slot::Ready(ready));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.lane.complete(self.number, Slot::Broken);
        }
    }
}
