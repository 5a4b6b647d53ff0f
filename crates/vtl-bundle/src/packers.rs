//! Frames compressed by threads, several at a time, and taken back in the order in which they were given.
//!
//! Compressing costs more than all else that a frame needs, and needs nothing but the frame.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use vtl_codec::{Compressors, Habit, Method};

use crate::frame::{Frame, Packed};

/// Frames under way for each thread: one that it has, and one that it finds when it is done.
const FRAMES_PER_THREAD: usize = 2;

/// A frame, and where it goes when it is packed.
type Job = (Frame, SyncSender<Packed>);

/// The thread that had the frame is gone.
#[derive(Debug)]
pub(crate) struct Lost;

pub(crate) struct Packers {
    shared: Arc<Shared>,
    /// None: the caller's thread does it.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    /// Oldest first.
    under_way: VecDeque<Receiver<Packed>>,
}

struct Shared {
    compressors: Compressors,
    codec: Method,
    habit: Habit,
}

impl Shared {
    fn pack(&self, frame: Frame) -> Packed {
        Packed::new(frame, &self.compressors, self.codec, &self.habit)
    }
}

impl Packers {
    /// `threads`: how many; 0 and threads that cannot be started are done without.
    pub(crate) fn new(codec: Method, level: i32, threads: usize) -> Self {
        let compressors = Compressors::new(codec, level);
        let shared = Arc::new(Shared { compressors, codec, habit: Habit::default() });
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let start = |number: usize| {
            let (shared, queue) = (Arc::clone(&shared), Arc::clone(&queue));
            Builder::new().name(format!("bundle-{number}")).spawn(move || work(&shared, &queue)).ok()
        };
        // What does not compress is only copied: that is no work for a thread.
        let wanted = if codec == Method::Raw { 0 } else { threads };
        let threads: Vec<_> = (0..wanted).map_while(start).collect();
        let jobs = (!threads.is_empty()).then_some(jobs);
        Self { shared, jobs, threads, under_way: VecDeque::new() }
    }

    /// Takes a frame; gives the oldest one back when it is there or as many are under way as may be.
    pub(crate) fn give(&mut self, frame: Frame) -> Result<Option<Packed>, Lost> {
        let Some(jobs) = &self.jobs else { return Ok(Some(self.shared.pack(frame))) };
        let (done, packed) = sync_channel(1);
        jobs.send((frame, done)).map_err(|_| Lost)?;
        self.under_way.push_back(packed);
        if self.under_way.len() > self.threads.len() * FRAMES_PER_THREAD { self.take() } else { Ok(None) }
    }

    /// The oldest one that is under way; none when none is.
    pub(crate) fn take(&mut self) -> Result<Option<Packed>, Lost> {
        let oldest = self.under_way.pop_front();
        oldest.map(|packed| packed.recv().map_err(|_| Lost)).transpose()
    }
}

impl Drop for Packers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // One that panicked has been told of by the frame that it did not give back.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((frame, done)) = job else { return };
        // Nobody waits for it when the writer is gone.
        let _ = done.send(shared.pack(frame));
    }
}
