//! Entries that nobody may wait for: moves and ends of jobs, written by a thread of their own, in their order.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use vtl_audit::Record;

use crate::daemon::lock;

/// So many wait at most: some hundred bytes each.
const MOST_WAITING: usize = 4096;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Record>,
    /// How many found no room behind those that wait.
    lost: u64,
    /// How many came, and how many of these are written or counted as lost.
    came: u64,
    done: u64,
    stops: bool,
    /// Nobody writes any more.
    ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
}

impl Shared {
    fn wait<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        until: impl Fn(&Queue) -> bool,
    ) -> MutexGuard<'a, Queue> {
        self.news.wait_while(queue, |queue| !until(queue)).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue and its thread.
#[derive(Debug)]
pub(super) struct Later {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Later {
    /// `write` writes an entry; `lost` makes one of how many are not there.
    pub(super) fn start(
        write: impl Fn(Record) + Send + 'static,
        lost: fn(u64) -> Record,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let ends = Ends(shared.clone());
        let work = move || while ends.0.write_some(&write, lost) {};
        let thread = thread::Builder::new().name("audit".to_owned()).spawn(work)?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Has it written, without waiting. What comes back has nobody to write it any more.
    pub(super) fn add(&self, record: Record) -> Option<Record> {
        let mut queue = lock(&self.shared.queue);
        if queue.ended {
            return Some(record);
        }
        queue.came = queue.came.saturating_add(1);
        // Behind one that is lost none is kept before that is written: the order stays.
        if queue.lost > 0 || queue.waiting.len() >= MOST_WAITING {
            queue.lost = queue.lost.saturating_add(1);
        } else {
            queue.waiting.push_back(record);
        }
        self.shared.news.notify_all();
        None
    }

    /// Waits until all that came before is written.
    pub(super) fn flush(&self) {
        let queue = lock(&self.shared.queue);
        let came = queue.came;
        drop(self.shared.wait(queue, |queue| queue.done >= came || queue.ended));
    }

    /// Writes what waits, and ends.
    pub(super) fn stop(&self) {
        lock(&self.shared.queue).stops = true;
        self.shared.news.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes events to the audit log has failed");
        }
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        self.stop();
    }
}

/// However the thread ends, nobody waits for it.
struct Ends(Arc<Shared>);

impl Drop for Ends {
    fn drop(&mut self) {
        lock(&self.0.queue).ended = true;
        self.0.news.notify_all();
    }
}

impl Shared {
    /// Writes what is there, as soon as there is something; whether there may be more.
    fn write_some(&self, write: &impl Fn(Record), lost: fn(u64) -> Record) -> bool {
        let is_due = |queue: &Queue| !queue.waiting.is_empty() || queue.lost > 0 || queue.stops;
        let mut queue = self.wait(lock(&self.queue), is_due);
        let (waiting, missing) = (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.lost));
        let came = queue.came;
        if queue.done == came {
            // Said while it is looked at: what comes now goes back to who brings it.
            queue.ended = true;
            return false;
        }
        drop(queue);
        waiting.into_iter().for_each(write);
        if missing > 0 {
            write(lost(missing));
        }
        lock(&self.queue).done = came;
        self.news.notify_all();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use serde_json::Value;
    use vtl_audit::EntryKind;

    use super::*;

    fn event(what: &str) -> Record {
        Record {
            at: "2026-03-23T00:00:00Z".to_owned(),
            kind: EntryKind::Event,
            of: None,
            who: "vtld".to_owned(),
            from: String::new(),
            what: what.to_owned(),
            detail: Value::Null,
            result: "ok".to_owned(),
        }
    }

    fn lost(count: u64) -> Record {
        event(&format!("{count} lost"))
    }

    /// A writer that tells of each entry, and waits for a word before it writes it.
    fn slow() -> (Later, Sender<()>, Receiver<String>) {
        let ((word, words), (tell, told)) = (channel(), channel());
        let write = move |record: Record| {
            tell.send(record.what).unwrap();
            words.recv().ok();
        };
        (Later::start(write, lost).unwrap(), word, told)
    }

    #[test]
    fn who_brings_an_entry_does_not_wait_for_the_disk_and_what_finds_no_room_is_counted() {
        let (later, word, told) = slow();
        assert!(later.add(event("first")).is_none());
        assert_eq!(told.recv().unwrap(), "first", "it is being written from now on");
        for n in 0..4096 + 3 {
            assert!(later.add(event(&format!("event {n}"))).is_none());
        }
        drop(word);
        later.flush();
        assert!(later.add(event("after")).is_none());
        later.stop();
        let written: Vec<_> = told.try_iter().collect();
        assert_eq!(written.len(), 4096 + 2);
        assert_eq!((written[0].as_str(), written[4095].as_str()), ("event 0", "event 4095"));
        assert_eq!(written[4096..], ["3 lost", "after"]);
    }

    #[test]
    fn a_stop_writes_what_waits_and_what_comes_then_is_given_back() {
        let (later, word, told) = slow();
        ["one", "two", "three"].into_iter().for_each(|what| assert!(later.add(event(what)).is_none()));
        drop(word);
        later.stop();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), ["one", "two", "three"]);
        assert_eq!(later.add(event("late")).unwrap().what, "late");
        later.flush();
    }
}
