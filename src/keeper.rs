//! What the daemon does for a pool by itself, in one thread for each: it empties the trash when a cartridge's time there is over, and collects what
//! nothing needs any more, and has damage repaired that the scrub (`crate::scrub`) finds or that a backup makes good.
//!
//! A collection reads the head of every cartridge and the table of every pack, so it does not begin for nothing, and between two there is a pause of
//! many times what the last one took. [`Schedule`] decides that; it knows neither clock nor store. What forbids a collection altogether is in
//! [`crate::collect`], because it holds for the operator's, too.
//!
//! Nothing is kept over a restart: what was given up before is not known then, so the first collection comes some time after the start.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tracing::{info, warn};
use vtl_api::{ApiError, ErrorCode, Problem};
use vtl_conf::Collections;
use vtl_store::{GcReport, GcRule, Store};
use vtl_types::PoolName;

use crate::daemon::{Daemon, LOW_POOL_BYTES, lock};
use crate::pools::Pool;
use crate::survey::Sight;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(5);
/// Pieces of the index's work in one turn: some seconds of one processor at most.
const TEND_PIECES: u32 = 4;
/// How often it looks into the trash: seven days need not be seven days to the second.
const TRASH_LOOK: Duration = Duration::from_secs(600);
/// When the first collection comes if nothing asks for one.
const FIRST: Duration = Duration::from_secs(600);
/// The pause after a collection is so many times what it took: it has at most a twentieth of the time.
const PAUSE_TIMES: u32 = 19;
/// And never shorter than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(5);
/// The pause after a collection that was refused or failed.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// Space is short below twice of what the status calls low: there is time to collect before drives warn.
const SHORT_BYTES: u64 = 2 * LOW_POOL_BYTES;
/// Much has been given up when it is an eighth of what is stored, and not less than eight packs.
const MUCH_PART: u64 = 8;
const MUCH_BYTES: u64 = 256 << 20;
/// When space is short a pack is worth rewriting for so many percent; otherwise for what the store thinks best.
const SHORT_DEAD_PERCENT: u8 = 5;
/// What one collection writes at most, so that it ends: a few minutes of a disk.
const REWRITE_BYTES: u64 = 16 << 30;

/// The keeper's memory. What it keeps is the pool that it belongs to.
#[derive(Debug, Default)]
pub struct Keeper {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    schedule: Schedule,
    /// Why the last collection did not take place.
    refused: Option<ApiError>,
    next_trash_look: Duration,
    /// The alarm that was told last, in percent.
    alarm: Option<u8>,
    /// Damage was found, and is to be repaired.
    heal: bool,
    called: bool,
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. It lasts until [`Keeper::stop`].
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(daemon: &Arc<Daemon>, pool: &Arc<Pool>) -> Result<(), String> {
        let (daemon, kept) = (daemon.clone(), pool.clone());
        let thread = Builder::new()
            .name("vtld-keeper".to_owned())
            .spawn(move || {
                while kept.keeper.rest() {
                    kept.keeper.turn(&daemon, &kept, now());
                }
            })
            .map_err(|error| format!("the system gives no thread: {error}"))?;
        pool.keeper.state().thread = Some(thread);
        Ok(())
    }

    /// No turn begins any more. The collection in hand is the store's to end.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for the thread's end, which comes with the end of the pack that a collection has in hand.
    pub fn join(&self) {
        let thread = self.state().thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the keeper had failed; the log says why");
        }
    }

    /// A cartridge was removed for good: whoever did that waits for its space.
    pub fn removed(&self) {
        self.state().schedule.removed();
        self.call();
    }

    /// Damage was found: what has another copy is put back now.
    pub fn heal(&self) {
        self.state().heal = true;
        self.call();
    }

    /// What an operator should know.
    pub(crate) fn problem(&self, daemon: &Daemon, of: &Pool, sight: &Sight) -> Option<Problem> {
        let pool = Counts::seen(&of.store, sight);
        let state = self.state();
        let (message, remedy) = match &state.refused {
            _ if state.thread.as_ref().is_some_and(JoinHandle::is_finished) && !state.stopped => (
                "what is removed frees no space any more: the thread that collects has failed".to_owned(),
                "restart vtld, and report what its log says: this is a fault of the program".to_owned(),
            ),
            Some(refused) => (
                format!("space that nothing needs does not come back: {}", refused.message),
                refused.remedy.clone().unwrap_or_default(),
            ),
            None if daemon.config().store.gc == Collections::Manual
                && state.schedule.is_worth_telling(&pool) =>
            {
                (
                    format!(
                        "up to {} bytes that were removed or overwritten still take space: store.gc = \"manual\"",
                        pool.released_bytes
                    ),
                    "vtl store gc; or set store.gc = \"auto\"".to_owned(),
                )
            }
            None => return None,
        };
        Some(Problem { subject: of.subject(), message, remedy })
    }

    /// Until there may be something to do; false when there is no more to do for ever.
    fn rest(&self) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.state(), LOOK, |state| !state.called && !state.stopped);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.called = false;
        !state.stopped
    }

    fn call(&self) {
        self.state().called = true;
        self.changed.notify_all();
    }

    /// Looks once, and does what is due.
    fn turn(&self, daemon: &Daemon, pool: &Pool, now: Duration) {
        if self.trash_look_is_due(now) {
            daemon.empty_trash_now(pool);
        }
        self.tend(daemon, pool);
        daemon.retention.write_if_due();
        if let Some(used) = pool.sight().used_percent {
            self.tell_alarm(&pool.name, crate::room::alarm(used));
        }
        let counts = Counts::of(&pool.store);
        if daemon.config().store.gc == Collections::Auto && self.state().schedule.is_due(&counts, now) {
            // What came of it is noted and told there.
            let _ = daemon.collect(pool, counts.rule());
        }
    }

    /// Logs each alarm once, and that it is over.
    fn tell_alarm(&self, pool: &PoolName, alarm: Option<u8>) {
        let before = std::mem::replace(&mut self.state().alarm, alarm);
        match alarm {
            Some(percent) if before < alarm => {
                warn!(
                    %pool, "{percent} % of what the pool may take are used: add space or remove cartridges before drives warn of the end"
                );
            }
            _ if alarm < before => info!(%pool, ?alarm, "the pool has more room again"),
            _ => {}
        }
    }

    /// The index's work in the background, in small pieces; and damaged chunks whose content a backup has brought again.
    fn tend(&self, daemon: &Daemon, pool: &Pool) {
        let mut pieces = 0;
        while pieces < TEND_PIECES && !self.state().stopped {
            match pool.store.tend() {
                Ok(true) => pieces += 1,
                Ok(false) => break,
                Err(error) => {
                    warn!(%error, "the index is not in order yet; it is only slower for that");
                    break;
                }
            }
        }
        let due = std::mem::take(&mut self.state().heal);
        if pool.store.may_heal() || due {
            // What came of it is told there. A collection that runs comes first.
            if let Err(ApiError { code: ErrorCode::Conflict, .. }) = daemon.repair(pool) {
                self.state().heal = true;
            }
        }
    }

    fn trash_look_is_due(&self, now: Duration) -> bool {
        let mut state = self.state();
        let due = now >= state.next_trash_look;
        if due {
            state.next_trash_look = now + TRASH_LOOK;
        }
        due
    }

    /// A collection begins, whoever asked for it; to be handed back at its end.
    pub(crate) fn begins(&self) -> Begun {
        Begun { at: now(), removals: self.state().schedule.removals }
    }

    /// It has ended.
    pub(crate) fn collected(&self, pool: &PoolName, begun: &Begun, report: &GcReport) {
        info!(
            %pool,
            removed = report.removed,
            rewritten = report.rewritten,
            skipped = report.skipped,
            freed_bytes = report.freed_bytes,
            reclaimable_bytes = report.reclaimable_bytes,
            "collected what nothing needs"
        );
        let mut state = self.state();
        state.schedule.collected(begun, report, now());
        state.refused = None;
    }

    /// It did not take place, or failed on the way.
    pub(crate) fn refused(&self, pool: &PoolName, refused: &ApiError) {
        let mut state = self.state();
        if state.refused.as_ref() != Some(refused) {
            warn!(%pool, message = refused.message, remedy = refused.remedy, "nothing is collected");
        }
        state.schedule.refused(now());
        state.refused = Some(refused.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A collection that has begun.
#[derive(Debug)]
pub struct Begun {
    at: Duration,
    removals: u64,
}

/// Since the program's first look at the clock, which is nearly its start.
fn now() -> Duration {
    Duration::from_nanos(crate::clock::now_ns())
}

/// What counts of the store at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    released_bytes: u64,
    /// Asked only when much may have been released.
    stored_bytes: u64,
    free_bytes: u64,
}

impl Counts {
    fn of(store: &Store) -> Self {
        let released_bytes = store.released_bytes();
        // The counts of the whole pool wait for whoever writes a head; below the least that is much nobody asks for them.
        let stored_bytes = if released_bytes < MUCH_BYTES { 0 } else { store.stats().stored_bytes };
        Self { released_bytes, stored_bytes, free_bytes: store.free_bytes() }
    }

    /// For who only tells of it.
    fn seen(store: &Store, sight: &Sight) -> Self {
        let released_bytes = store.released_bytes();
        let stored_bytes = if released_bytes < MUCH_BYTES { 0 } else { sight.stats.stored_bytes };
        Self { released_bytes, stored_bytes, free_bytes: sight.free_bytes }
    }

    fn is_short(&self) -> bool {
        self.free_bytes < SHORT_BYTES
    }

    fn much(&self) -> u64 {
        (self.stored_bytes / MUCH_PART).max(MUCH_BYTES)
    }

    fn rule(&self) -> GcRule {
        let usual = GcRule { rewrite_bytes: REWRITE_BYTES, ..GcRule::default() };
        if self.is_short() { GcRule { dead_percent: SHORT_DEAD_PERCENT, ..usual } } else { usual }
    }
}

/// When to collect.
#[derive(Debug, Default)]
struct Schedule {
    /// Cartridges removed for good since the start.
    removals: u64,
    /// Of these, those that a collection has come after.
    served: u64,
    /// The last collection made room and left more: its limit ended it.
    unfinished: bool,
    /// What was given up is known.
    known: bool,
    was_refused: bool,
    not_before: Duration,
}

impl Schedule {
    fn removed(&mut self) {
        self.removals += 1;
        // This may be just what a refusal asked for.
        if std::mem::take(&mut self.was_refused) {
            self.not_before = Duration::ZERO;
        }
    }

    fn is_due(&self, pool: &Counts, now: Duration) -> bool {
        let unknown = !self.known && (pool.is_short() || now >= FIRST);
        now >= self.not_before
            && (unknown || self.removals > self.served || self.unfinished || gave_up_enough(pool))
    }

    /// Whether an operator who collects by hand should do it: not for a blank cartridge.
    fn is_worth_telling(&self, pool: &Counts) -> bool {
        pool.released_bytes > 0 && (self.removals > self.served || gave_up_enough(pool))
    }

    fn collected(&mut self, begun: &Begun, report: &GcReport, now: Duration) {
        // One that was stopped has not looked at all: what was removed waits for the next.
        if !report.stopped {
            self.served = self.served.max(begun.removals);
        }
        let made_room = report.removed + report.rewritten > 0;
        self.unfinished = made_room && report.reclaimable_bytes >= MUCH_BYTES;
        self.known = true;
        self.was_refused = false;
        let took = now.saturating_sub(begun.at);
        self.not_before = now + took.saturating_mul(PAUSE_TIMES).max(SHORTEST_PAUSE);
    }

    fn refused(&mut self, now: Duration) {
        self.was_refused = true;
        self.not_before = now + REFUSED_PAUSE;
    }
}

fn gave_up_enough(pool: &Counts) -> bool {
    pool.released_bytes >= pool.much() || (pool.is_short() && pool.released_bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;
    use crate::kept::tests::Hands;
    use crate::trash::{self, TRASH_SECONDS, Wait};

    const SECOND: Duration = Duration::from_secs(1);
    const GIB: u64 = 1 << 30;
    /// Plenty of space, a TiB stored, nothing given up.
    const AT_EASE: Counts = Counts { released_bytes: 0, stored_bytes: 1 << 40, free_bytes: 1 << 40 };

    fn collected_at(schedule: &mut Schedule, at: Duration, took: Duration, report: GcReport) {
        let begun = Begun { at, removals: schedule.removals };
        schedule.collected(&begun, &report, at + took);
    }

    /// One that has collected once, at ease since.
    fn rested() -> Schedule {
        let mut schedule = Schedule::default();
        collected_at(&mut schedule, Duration::ZERO, SECOND, GcReport::default());
        schedule
    }

    #[test]
    fn nothing_is_collected_for_nothing() {
        let schedule = rested();
        assert!(!schedule.is_due(&AT_EASE, 1_000_000 * SECOND));
        let short = Counts { free_bytes: 1, ..AT_EASE };
        assert!(!schedule.is_due(&short, 1_000_000 * SECOND), "nothing was given up");
    }

    #[test]
    fn the_first_collection_comes_ten_minutes_after_the_start_or_at_once_when_space_is_short() {
        let schedule = Schedule::default();
        assert!(!schedule.is_due(&AT_EASE, 599 * SECOND));
        assert!(schedule.is_due(&AT_EASE, 600 * SECOND));
        assert!(schedule.is_due(&Counts { free_bytes: 511 << 20, ..AT_EASE }, Duration::ZERO));
    }

    #[test]
    fn a_removal_much_overwritten_or_little_space_ask_for_a_collection() {
        let (mut schedule, later) = (rested(), 100 * SECOND);
        let eighth = 128 * GIB;
        assert!(!schedule.is_due(&Counts { released_bytes: eighth - 1, ..AT_EASE }, later));
        assert!(schedule.is_due(&Counts { released_bytes: eighth, ..AT_EASE }, later));
        let small = Counts { stored_bytes: GIB, ..AT_EASE };
        assert!(!schedule.is_due(&Counts { released_bytes: (256 << 20) - 1, ..small }, later));
        assert!(schedule.is_due(&Counts { released_bytes: 256 << 20, ..small }, later));
        assert!(!schedule.is_due(&Counts { released_bytes: 1, free_bytes: 512 << 20, ..AT_EASE }, later));
        assert!(
            schedule.is_due(&Counts { released_bytes: 1, free_bytes: (512 << 20) - 1, ..AT_EASE }, later)
        );
        schedule.removed();
        assert!(schedule.is_due(&AT_EASE, later));
    }

    #[test]
    fn collections_have_at_most_a_twentieth_of_the_time() {
        let mut schedule = Schedule::default();
        let begun = 600 * SECOND;
        collected_at(&mut schedule, begun, 100 * SECOND, GcReport::default());
        schedule.removed();
        assert!(!schedule.is_due(&AT_EASE, begun + 1999 * SECOND));
        assert!(schedule.is_due(&AT_EASE, begun + 2000 * SECOND));
    }

    #[test]
    fn what_is_removed_during_a_collection_waits_for_the_next_and_not_longer() {
        let mut schedule = rested();
        schedule.removed();
        let begun = Begun { at: 100 * SECOND, removals: schedule.removals };
        schedule.removed();
        schedule.collected(&begun, &GcReport::default(), 101 * SECOND);
        assert!(schedule.is_due(&AT_EASE, 200 * SECOND));
        collected_at(&mut schedule, 200 * SECOND, SECOND, GcReport::default());
        assert!(!schedule.is_due(&AT_EASE, 1000 * SECOND));
    }

    #[test]
    fn a_collection_that_its_limit_ended_is_followed_by_another_until_one_makes_no_room() {
        let mut schedule = rested();
        let left = GcReport { rewritten: 500, reclaimable_bytes: GIB, ..GcReport::default() };
        collected_at(&mut schedule, 100 * SECOND, SECOND, left);
        assert!(schedule.is_due(&AT_EASE, 200 * SECOND));
        collected_at(&mut schedule, 200 * SECOND, SECOND, GcReport { rewritten: 0, ..left });
        assert!(!schedule.is_due(&AT_EASE, 10_000 * SECOND));
    }

    #[test]
    fn a_collection_that_was_stopped_is_followed_by_one_that_looks_at_all() {
        let mut schedule = rested();
        schedule.removed();
        let stopped = GcReport { stopped: true, ..GcReport::default() };
        collected_at(&mut schedule, 100 * SECOND, SECOND, stopped);
        assert!(!schedule.is_due(&AT_EASE, 102 * SECOND) && schedule.is_due(&AT_EASE, 200 * SECOND));
    }

    #[test]
    fn a_refusal_makes_a_long_pause_that_a_removal_ends() {
        let mut schedule = rested();
        schedule.removed();
        schedule.refused(100 * SECOND);
        assert!(!schedule.is_due(&AT_EASE, 159 * SECOND));
        assert!(schedule.is_due(&AT_EASE, 160 * SECOND));
        schedule.removed();
        assert!(schedule.is_due(&AT_EASE, 101 * SECOND));
    }

    #[test]
    fn when_space_is_short_packs_with_little_dead_are_rewritten_too() {
        assert_eq!(AT_EASE.rule(), GcRule { dead_percent: 25, rewrite_bytes: 16 << 30 });
        assert_eq!(Counts { free_bytes: 0, ..AT_EASE }.rule().dead_percent, 5);
    }

    /// The first half of a removal.
    fn begin_remove(daemon: &Daemon, label: &str) -> vtl_library::Cartridge {
        daemon.meta.change(|tx| vtl_library::begin_remove(tx, label.parse().unwrap())).unwrap()
    }

    #[test]
    fn the_trash_is_emptied_while_the_daemon_runs_when_seven_days_are_over_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let pool = daemon.pools.default().clone();
        let labels = || daemon.trash().unwrap().iter().map(|one| one.label.to_string()).collect::<Vec<_>>();
        let put_in = |label: &str| {
            let wait = Wait::from_now_on(daemon.retention.now());
            daemon.meta.change(|tx| trash::put_in(tx, label.parse().unwrap(), wait)).unwrap()
        };
        put_in("VTL001L8");
        hands.pass(3600);
        put_in("VTL002L8");
        hands.pass(TRASH_SECONDS - 3600);
        let owners = pool.store.owners().len();
        pool.keeper.turn(&daemon, &pool, Duration::ZERO);
        assert_eq!((labels(), pool.store.owners().len()), (vec!["VTL002L8".to_owned()], owners - 1));

        hands.pass(3600);
        pool.keeper.turn(&daemon, &pool, TRASH_LOOK - SECOND);
        assert_eq!(labels().len(), 1, "it does not look all the time");
        pool.keeper.turn(&daemon, &pool, TRASH_LOOK);
        assert_eq!((labels().len(), pool.store.owners().len()), (0, owners - 2));
        daemon.stop();
    }

    #[test]
    fn by_hand_the_status_says_when_a_collection_is_worth_it_and_for_blank_cartridges_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &["store.gc=manual"]);
        let pool = daemon.pools.default().clone();
        let remove = |label: &str| daemon.destroy(&begin_remove(&daemon, label)).unwrap();
        remove("VTL001L8");
        assert_eq!(pool.keeper.problem(&daemon, &pool, &pool.sight()), None);
        let second = daemon.meta.read(|tx| vtl_library::cartridge(tx, "VTL002L8".parse().unwrap())).unwrap();
        let mut stream = pool.store.open_stream(vtl_store::OwnerId(second.id.0)).unwrap();
        let length = stream.len();
        stream.append(&[bytes::Bytes::from(vec![7; 100_000])], false).unwrap();
        stream.commit(b"").unwrap();
        drop(stream);
        remove("VTL002L8");
        let problem = pool.keeper.problem(&daemon, &pool, &pool.sight()).unwrap();
        assert!(problem.message.contains(&format!("{} bytes", length + 100_000)), "{problem:?}");
        assert!(problem.remedy.contains("vtl store gc"), "{problem:?}");
        // In a pool so full that each byte counts the keeper would come now; by hand it does not.
        pool.keeper.turn(&daemon, &pool, FIRST);
        assert!(pool.store.released_bytes() > 0);
        daemon.collect(&pool, GcRule::default()).unwrap();
        let told = pool.keeper.problem(&daemon, &pool, &pool.sight());
        assert_eq!((pool.store.released_bytes(), told), (0, None));
        daemon.stop();
    }

    #[test]
    fn a_stop_does_not_wait_for_a_pause() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        Keeper::start(&daemon, daemon.pools.default()).unwrap();
        let begun = std::time::Instant::now();
        daemon.stop();
        assert!(begun.elapsed() < LOOK, "{:?}", begun.elapsed());
    }
}
