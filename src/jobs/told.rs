//! Jobs as events: each one that comes, each change of a state, and how far they are.
//!
//! The manager tells of what it writes itself. A job that was enqueued in somebody else's transaction, with an ejection, is found by its number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{error, warn};
use vtl_api::{MoveEvent, PlaceInfo};
use vtl_jobs::{Job, JobId, Manager, Select, Shown};
use vtl_library::Moved;
use vtl_types::Place;

use super::shown::info;
use crate::daemon::{Daemon, lock};
use crate::events::{Bus, Kind};

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(1);
/// So many numbers are remembered until the list is looked at.
const MOST_AHEAD: usize = 4096;

/// Which jobs have been told of: all up to a number, and some beyond.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    all_to: u64,
    ahead: BTreeSet<u64>,
}

impl Numbers {
    fn note(&mut self, id: u64) {
        if id > self.all_to {
            self.ahead.insert(id);
        }
        while self.ahead.len() > MOST_AHEAD
            && let Some(first) = self.ahead.pop_first()
        {
            self.all_to = first;
        }
    }

    /// Whether it is new. What is beyond it may still come.
    fn pass(&mut self, id: u64) -> bool {
        self.all_to = self.all_to.max(id);
        let is_new = !self.ahead.remove(&id);
        self.ahead = self.ahead.split_off(&id);
        is_new
    }
}

impl Told {
    /// Hears of the manager's jobs from now on.
    pub(super) fn follow(self: &Arc<Self>, bus: &Arc<Bus>, manager: &Manager) {
        let last = manager.select(&Select { down: true, most: Some(1), ..Select::default() });
        match last {
            Ok(last) => lock(&self.0).all_to = last.first().map_or(0, |shown| shown.job.id.0),
            Err(error) => warn!(%error, "jobs that are there may be told of as new"),
        }
        let (told, bus) = (Arc::clone(self), Arc::clone(bus));
        manager.tell(move |job| {
            lock(&told.0).note(job.id.0);
            publish(&bus, job);
        });
    }

    /// Tells of jobs that others have enqueued.
    pub(super) fn look(&self, bus: &Bus, manager: &Manager) {
        // Held while the list is read: who looks at the same time would tell the same.
        let mut numbers = lock(&self.0);
        let after = Some(JobId(numbers.all_to));
        match manager.select(&Select { after, ..Select::default() }) {
            Ok(found) => {
                for shown in found {
                    if numbers.pass(shown.job.id.0) {
                        publish(bus, &shown.job);
                    }
                }
            }
            Err(error) => warn!(%error, "new jobs are told of later"),
        }
    }
}

/// A move, as it is told.
pub(super) fn a_move(moved: &Moved) -> MoveEvent {
    let place = |place: Place| PlaceInfo { kind: place.kind().to_owned(), number: place.number() };
    MoveEvent {
        label: moved.cartridge.label.to_string(),
        library: moved.cartridge.library.as_ref().map(ToString::to_string),
        from: place(moved.from),
        to: place(moved.to),
    }
}

fn publish(bus: &Bus, job: &Job) {
    bus.publish(Kind::Job, &info(Shown { job: job.clone(), rate: None, left_s: None }));
}

/// Tells how far jobs are, while somebody listens.
pub(crate) async fn tell_progress(daemon: Arc<Daemon>) {
    let mut told = BTreeMap::new();
    loop {
        tokio::time::sleep(PROGRESS).await;
        if !daemon.events.is_heard() {
            continue;
        }
        let daemon = daemon.clone();
        let looked = tokio::task::spawn_blocking(move || {
            daemon.jobs.tell_progress(&daemon.events, &mut told);
            told
        });
        told = match looked.await {
            Ok(told) => told,
            Err(failed) => {
                error!(%failed, "the look at the progress of jobs failed");
                BTreeMap::new()
            }
        };
    }
}

/// Tells of those whose bytes have moved since `told`.
pub(super) fn progress(bus: &Bus, manager: &Manager, told: &mut BTreeMap<JobId, u64>) {
    let running = manager.running();
    told.retain(|id, _| running.contains(id));
    for shown in running.into_iter().filter_map(|id| manager.show(id).ok()) {
        let before = told.insert(shown.job.id, shown.job.done_bytes);
        if !shown.job.state.is_terminal() && before.is_some_and(|before| before != shown.job.done_bytes) {
            bus.publish(Kind::Job, &info(shown));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_job_is_new_once_in_whatever_order_they_are_heard_of() {
        let mut numbers = Numbers { all_to: 3, ahead: BTreeSet::new() };
        numbers.note(2);
        numbers.note(5);
        assert_eq!([4, 5, 6].map(|id| numbers.pass(id)), [true, false, true]);
        assert!(numbers.ahead.is_empty() && numbers.all_to == 6);
        (7..=7 + 4096).for_each(|id| numbers.note(id));
        assert_eq!((numbers.ahead.len(), numbers.all_to), (4096, 7));
    }
}
