//! A host's reads: how long they wait, and what is fetched ahead of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vtl_bundle::Stored;
use vtl_cartridge::{Absent, NotHere};
use vtl_jobs::{Class, Failure};
use vtl_transfer::{Confirmed, Pace, Permission};

use super::kept::PIECE_BYTES;
use super::{Keep, Lazy, Unread};

/// Pieces that are fetched ahead at most.
const MOST_AHEAD: u64 = 16;
/// Between two tries of one read.
const PAUSE: Duration = Duration::from_millis(500);
/// So long what is fetched ahead may take.
const AHEAD: Duration = Duration::from_secs(120);

/// The cartridge as a drive has it.
pub(super) struct Host(pub(super) Arc<Lazy>);

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.0.row.label).finish()
    }
}

impl Absent for Host {
    /// Tried again while it may help, for as long as `migrate.read_wait` says.
    fn read(&self, offset: u64, len: u64) -> Result<Vec<Bytes>, NotHere> {
        let lazy = &self.0;
        let wait = lazy.world.settings().map_or(Duration::ZERO, |settings| settings.read_wait);
        let patience = Patience::new(lazy, wait);
        let _waits = Waits::new(lazy);
        loop {
            let why = match lazy.bytes(offset, len, &patience, Keep::IfThereIsRoom) {
                Ok(bytes) => {
                    look_ahead(lazy, offset, len);
                    return Ok(bytes);
                }
                Err(Unread::Damaged(failure)) => return Err(NotHere::Damaged { why: failure.message }),
                Err(Unread::Stopped) => format!("no answer within {} s", wait.as_secs()),
                Err(Unread::Away(failure)) => {
                    if failure.class == Class::Temporary && patience.wait(PAUSE) {
                        continue;
                    }
                    failure.message
                }
            };
            return Err(NotHere::Away { why });
        }
    }
}

/// Fetches what comes next for a host that reads on, in a thread of its own; twice as much each time.
fn look_ahead(lazy: &Arc<Lazy>, offset: u64, len: u64) {
    let mut state = lazy.lock();
    let goes_on = state.next == offset;
    state.next = offset.saturating_add(len);
    if !goes_on {
        state.window = 1;
        return;
    }
    let first = state.next.div_ceil(PIECE_BYTES);
    let wanted = first..first.saturating_add(state.window).min(lazy.pieces());
    let missing = state.kept.as_ref().and_then(|kept| kept.missing(wanted));
    let Some(missing) = missing.filter(|missing| !state.pending.contains(&missing.start)) else { return };
    if lazy.ahead.swap(true, Ordering::SeqCst) {
        return;
    }
    state.window = state.window.saturating_mul(2).min(MOST_AHEAD);
    drop(state);
    let own = Arc::clone(lazy);
    let spawned = std::thread::Builder::new().name("ahead".to_owned()).spawn(move || {
        // What fails here is told to who reads it.
        let _ = own.bring(missing, &Patience::new(&own, AHEAD), Keep::IfThereIsRoom);
        own.ahead.store(false, Ordering::SeqCst);
    });
    if spawned.is_err() {
        lazy.ahead.store(false, Ordering::SeqCst);
    }
}

/// A host waits: what is fetched for nobody stands back.
struct Waits<'a>(&'a Lazy);

impl<'a> Waits<'a> {
    fn new(lazy: &'a Lazy) -> Self {
        lazy.hosts.fetch_add(1, Ordering::SeqCst);
        Self(lazy)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.hosts.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Goes on until a time, or until the server stops. Hosts need no permit: `jobs.max_transfers` is about jobs.
struct Patience<'a> {
    lazy: &'a Lazy,
    until: Instant,
}

impl<'a> Patience<'a> {
    fn new(lazy: &'a Lazy, wait: Duration) -> Self {
        let now = Instant::now();
        Self { lazy, until: now.checked_add(wait).unwrap_or(now) }
    }
}

impl Pace for Patience<'_> {
    fn goes_on(&self) -> bool {
        !self.lazy.stopping.load(Ordering::SeqCst) && Instant::now() < self.until
    }

    fn wait(&self, time: Duration) -> bool {
        std::thread::sleep(time.min(self.until.saturating_duration_since(Instant::now())));
        self.goes_on()
    }

    fn permit(&self) -> Option<Permission> {
        self.goes_on().then(|| Box::new(()) as Permission)
    }

    fn confirmed(&self, _object: &Confirmed) -> Result<(), Failure> {
        Ok(())
    }

    fn began(&self, _object: &str, _checkpoint: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, _object: &Stored, _bytes: u64) {}

    fn note(&self, _text: &str) {}
}
