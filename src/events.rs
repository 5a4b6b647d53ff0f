//! What has just happened, for whoever listens: jobs, moves, alerts. A bounded ring with numbers; who reads too slowly has missed something, and is told so.
//!
//! One owner, the [`Bus`]. Publishing never waits for a reader. Nothing of it outlives the process: numbers of another start are known by their epoch.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use tokio::sync::watch;
use tracing::error;

use crate::daemon::lock;

/// So many events are kept for who comes again.
const KEPT: usize = 4096;
/// And so many bytes of them.
const KEPT_BYTES: usize = 8 << 20;
/// So many listen at once.
pub(crate) const MOST_STREAMS: usize = 256;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Job,
    Move,
    Alert,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Job, Self::Move, Self::Alert];

    /// The word on the wire.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Move => "move",
            Self::Alert => "alert",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An event's name: the start that it is of, and its number in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    epoch: u64,
    number: u64,
}

impl EventId {
    /// None that was ever given.
    pub(crate) const UNKNOWN: Self = Self { epoch: 0, number: u64::MAX };
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.number)
    }
}

impl FromStr for EventId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, number) = text.split_once('-').ok_or(())?;
        Ok(Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| ())?,
            number: number.parse().map_err(|_| ())?,
        })
    }
}

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub id: EventId,
    pub kind: Kind,
    /// JSON in one line.
    pub data: String,
}

/// What was missed is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missed;

/// All events of this start.
pub(crate) struct Bus {
    epoch: u64,
    ring: Mutex<Ring>,
    /// The number of the last event.
    news: watch::Sender<u64>,
    streams: AtomicUsize,
}

#[derive(Default)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    last: u64,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("streams", &self.streams()).finish_non_exhaustive()
    }
}

/// Somebody who listens, from one event on.
pub(crate) struct Listener {
    bus: Arc<Bus>,
    news: watch::Receiver<u64>,
    after: u64,
}

impl Bus {
    /// `epoch`: a number that no other start has.
    pub(crate) fn new(epoch: u64) -> Arc<Self> {
        let (news, _) = watch::channel(0);
        Arc::new(Self { epoch, ring: Mutex::default(), news, streams: AtomicUsize::new(0) })
    }

    /// Tells it to all who listen, and to those who come again soon.
    pub(crate) fn publish(&self, kind: Kind, what: &impl Serialize) {
        match serde_json::to_string(what) {
            Ok(data) => self.keep(kind, data),
            Err(why) => error!(kind = kind.word(), %why, "an event could not be told"),
        }
    }

    fn keep(&self, kind: Kind, data: String) {
        let mut ring = lock(&self.ring);
        ring.last += 1;
        let id = EventId { epoch: self.epoch, number: ring.last };
        ring.bytes += data.len();
        ring.events.push_back(Arc::new(Event { id, kind, data }));
        while ring.events.len() > KEPT || (ring.bytes > KEPT_BYTES && ring.events.len() > 1) {
            let gone = ring.events.pop_front().map_or(0, |event| event.data.len());
            ring.bytes -= gone;
        }
        // Inside the lock: numbers are told in their order.
        self.news.send_replace(ring.last);
    }

    /// Whether anybody hears what is published.
    pub(crate) fn is_heard(&self) -> bool {
        self.streams() > 0
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// From now on, or from behind the event that somebody has seen last. None: as many as may listen do.
    pub(crate) fn listen(self: &Arc<Self>, seen: Option<EventId>) -> Option<(Listener, Result<(), Missed>)> {
        let more = |streams| (streams < MOST_STREAMS).then_some(streams + 1);
        self.streams.fetch_update(Ordering::AcqRel, Ordering::Relaxed, more).ok()?;
        let ring = lock(&self.ring);
        let first = ring.events.front().map_or(ring.last + 1, |event| event.id.number);
        let is_kept = |id: &EventId| id.epoch == self.epoch && (first - 1..=ring.last).contains(&id.number);
        let (after, known) = match seen {
            None => (ring.last, Ok(())),
            Some(id) if is_kept(&id) => (id.number, Ok(())),
            Some(_) => (ring.last, Err(Missed)),
        };
        drop(ring);
        Some((Listener { bus: Arc::clone(self), news: self.news.subscribe(), after }, known))
    }

    /// The name of the last event.
    pub(crate) fn last(&self) -> EventId {
        EventId { epoch: self.epoch, number: lock(&self.ring).last }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.bus.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Listener {
    /// The next event of one of these kinds, as soon as there is one.
    ///
    /// # Errors
    /// It came and went before it was asked for.
    pub(crate) async fn next(&mut self, kinds: &[Kind]) -> Result<Arc<Event>, Missed> {
        loop {
            self.news.borrow_and_update();
            while let Some(event) = self.take()? {
                if kinds.contains(&event.kind) {
                    return Ok(event);
                }
            }
            // The sender is in the bus, which we hold.
            if self.news.changed().await.is_err() {
                return Err(Missed);
            }
        }
    }

    fn take(&mut self) -> Result<Option<Arc<Event>>, Missed> {
        let ring = lock(&self.bus.ring);
        if self.after == ring.last {
            return Ok(None);
        }
        let first = ring.events.front().map_or(ring.last + 1, |event| event.id.number);
        let at = (self.after + 1).checked_sub(first).and_then(|at| usize::try_from(at).ok());
        let event = at.and_then(|at| ring.events.get(at)).cloned().ok_or(Missed)?;
        self.after = event.id.number;
        Ok(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Kind] = &Kind::ALL;

    fn block<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn who_comes_again_gets_what_was_missed_in_order_and_only_what_was_asked_for() {
        let bus = Bus::new(7);
        let (mut first, known) = bus.listen(None).unwrap();
        assert_eq!(known, Ok(()));
        bus.publish(Kind::Job, &"a");
        let seen = block(first.next(ALL)).unwrap().id;
        drop(first);
        bus.publish(Kind::Move, &"b");
        bus.publish(Kind::Job, &"c");
        let (mut again, known) = bus.listen(Some(seen)).unwrap();
        assert_eq!(known, Ok(()));
        assert_eq!(block(again.next(&[Kind::Job])).unwrap().data, "\"c\"");
        let (mut all, _) = bus.listen(Some(seen)).unwrap();
        assert_eq!(block(all.next(ALL)).unwrap().data, "\"b\"");
        assert_eq!(seen.to_string().parse(), Ok(seen));
    }

    #[test]
    fn what_is_not_kept_any_more_or_is_of_another_start_is_told_as_missed() {
        let bus = Bus::new(7);
        let (mut slow, _) = bus.listen(None).unwrap();
        (0..=KEPT).for_each(|number| bus.publish(Kind::Job, &number));
        assert_eq!(block(slow.next(ALL)), Err(Missed), "the first one is gone");
        let told = |epoch, number| bus.listen(Some(EventId { epoch, number })).unwrap().1;
        assert_eq!((told(7, 0), told(7, 1)), (Err(Missed), Ok(())));
        assert_eq!((told(8, 1), told(7, 4098), told(7, 4097)), (Err(Missed), Err(Missed), Ok(())));
    }

    #[test]
    fn large_events_push_old_ones_out_by_their_bytes() {
        let bus = Bus::new(7);
        let large = "x".repeat(1 << 20);
        (0..20).for_each(|_| bus.publish(Kind::Alert, &large));
        let ring = lock(&bus.ring);
        assert_eq!((ring.events.len(), ring.last), (7, 20));
        assert_eq!(ring.bytes, ring.events.iter().map(|event| event.data.len()).sum::<usize>());
    }

    #[test]
    fn there_are_256_streams_at_most_and_one_that_ends_makes_room() {
        let bus = Bus::new(7);
        let mut listeners: Vec<_> = (0..256).map(|_| bus.listen(None).unwrap()).collect();
        assert!(bus.listen(None).is_none());
        listeners.pop();
        assert!(bus.listen(None).is_some());
        assert_eq!(bus.streams(), 255);
    }
}
