//! What is told of a pool and has to be asked of its disks: room, folders, counts. A thread of the pool's own asks, since a disk or mount that hangs
//! never answers. Everybody else takes what it has seen last, and waits a moment at most for newer; not at all when that is stale already.
//!
//! The thread holds the pool only while it looks. A stop waits no longer than that moment for it, for each pool; what keeper, scrub and drives have
//! in hand it does wait for, and with a disk that hangs that ends when it answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use vtl_api::Problem;
use vtl_store::{Folder, Pass, ScrubStatus, Stats, Store};

use crate::clock::{rfc3339, unix_seconds};
use crate::pools::{Closed, Pool, Pools};

/// How often it looks when nobody asks.
const LOOK: Duration = Duration::from_secs(10);
/// So long is it waited for a look that was asked for.
const MOMENT: Duration = Duration::from_secs(2);
/// What was seen before that is not told as if it were so now. `docs/operations.md` says so.
const STALE: Duration = Duration::from_secs(60);

/// What was seen of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    at: Instant,
    /// The same as wall time, in seconds since 1970.
    at_s: u64,
    /// What can still be stored.
    pub(crate) free_bytes: u64,
    /// How full it is; none when the file system does not say.
    pub(crate) used_percent: Option<u8>,
    /// Its counts.
    pub(crate) stats: Stats,
    /// Its folders.
    pub(crate) folders: Vec<Folder>,
    /// File systems of those that are there.
    pub(crate) disks: Vec<DiskRoom>,
    /// How its scrub is doing.
    pub(crate) scrub: ScrubStatus,
    /// What the scrub has found before the start is not remembered, and it has not read everything again since.
    pub(crate) forgotten: bool,
}

/// All pools at one moment.
pub(crate) struct Seen {
    /// Those that are open, the default one first.
    pub(crate) open: Vec<(Arc<Pool>, Arc<Sight>)>,
    pub(crate) closed: Vec<Arc<Closed>>,
}

impl Seen {
    /// Open ones whose disks answer.
    pub(crate) fn answering(&self) -> impl Iterator<Item = &(Arc<Pool>, Arc<Sight>)> {
        self.open.iter().filter(|(_, sight)| !sight.is_stale())
    }

    /// All that are open answer.
    pub(crate) fn all_answer(&self) -> bool {
        !self.open.iter().any(|(_, sight)| sight.is_stale())
    }
}

/// The file system of a folder.
#[derive(Clone, Debug)]
pub(crate) struct DiskRoom {
    pub(crate) folder: PathBuf,
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

impl Sight {
    /// `before`: passes of the scrub that an earlier start has begun.
    fn of(store: &Store, home: &Path, before: &[Pass]) -> Self {
        // Before it is looked: what is told is no older than that.
        let (at, at_s) = (Instant::now(), unix_seconds());
        let (folders, scrub) = (store.folders(), store.scrub_status());
        Self {
            at,
            at_s,
            free_bytes: store.free_bytes(),
            used_percent: crate::room::used_percent(store, home),
            stats: store.stats(),
            disks: folders.iter().filter_map(|folder| DiskRoom::of(&folder.path)).collect(),
            folders,
            forgotten: is_forgotten(before, &scrub),
            scrub,
        }
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Duration {
        self.at.elapsed()
    }

    /// It says nothing of now: the disks do not answer.
    pub(crate) fn is_stale(&self) -> bool {
        self.age() > STALE
    }
}

/// Whether a pass of before has found damage, and the last that came to its end is none that began since; or packs of before are to be read, of
/// which some may have been broken.
fn is_forgotten(before: &[Pass], scrub: &ScrubStatus) -> bool {
    let is = |pass: Pass, other: &Pass| (pass.number, pass.begun_s) == (other.number, other.begun_s);
    let in_a_pass = before.iter().any(|pass| pass.damaged > 0)
        && scrub.last.is_none_or(|last| before.iter().any(|pass| is(last, pass)));
    in_a_pass || scrub.left_packs > 0
}

impl DiskRoom {
    /// A folder whose disk is gone has no numbers.
    fn of(folder: &Path) -> Option<Self> {
        let room = statvfs(folder).ok()?;
        Some(Self {
            folder: folder.to_owned(),
            free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
            total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
        })
    }
}

/// The looks at one pool.
#[derive(Debug)]
pub(crate) struct Survey(Arc<Looks>);

#[derive(Debug)]
struct Looks {
    state: Mutex<State>,
    changed: Condvar,
    /// Passes of the scrub that an earlier start has begun.
    before: Vec<Pass>,
}

#[derive(Debug)]
struct State {
    sight: Arc<Sight>,
    /// Looks that were asked for.
    asked: u64,
    /// Those that the last look has answered.
    answered: u64,
    thread: Thread,
    looking: bool,
}

/// Whether there is a thread that looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    NotYet,
    Runs,
    Stopped,
}

impl Survey {
    /// Looks for the first time.
    pub(crate) fn new(store: &Store, home: &Path) -> Self {
        let scrub = store.scrub_status();
        let before: Vec<Pass> = scrub.last.into_iter().chain(scrub.current).collect();
        Self(Arc::new(Looks::new(Sight::of(store, home, &before), before)))
    }

    /// Starts the thread. It lasts until [`Survey::stop`], or until the pool is gone.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(pool: &Arc<Pool>) -> Result<(), String> {
        let (looks, weak) = (pool.survey.0.clone(), Arc::downgrade(pool));
        let look_on = move || {
            while let Some(asked) = looks.rest() {
                let Some(pool) = weak.upgrade() else { return };
                let sight = Sight::of(&pool.store, &pool.home, &looks.before);
                drop(pool);
                looks.note(asked, sight);
            }
        };
        let spawned = Builder::new().name("vtld-survey".to_owned()).spawn(look_on);
        spawned.map_err(|error| format!("the system gives no thread: {error}"))?;
        pool.survey.0.lock().thread = Thread::Runs;
        Ok(())
    }

    /// It looks no more.
    pub(crate) fn stop(&self) {
        self.0.lock().thread = Thread::Stopped;
        self.0.changed.notify_all();
    }

    /// Waits a moment for the look in hand: one at a disk that hangs may never end.
    pub(crate) fn join(&self) {
        let looks = |state: &mut State| state.looking;
        drop(self.0.changed.wait_timeout_while(self.0.lock(), MOMENT, looks));
    }

    /// The disks have not answered for so long that what was seen is stale.
    pub(crate) fn hangs(&self) -> bool {
        let state = self.0.lock();
        state.thread == Thread::Runs && state.sight.is_stale()
    }
}

impl Looks {
    fn new(sight: Sight, before: Vec<Pass>) -> Self {
        let sight = Arc::new(sight);
        let state = State { sight, asked: 0, answered: 0, thread: Thread::NotYet, looking: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), before }
    }

    /// Until it is time to look, or somebody asks; the number of who asked last. None when there is no more to do for ever.
    fn rest(&self) -> Option<u64> {
        let idle = |state: &mut State| state.thread != Thread::Stopped && state.asked <= state.answered;
        let waited = self.changed.wait_timeout_while(self.lock(), LOOK, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.looking = state.thread != Thread::Stopped;
        state.looking.then_some(state.asked)
    }

    fn note(&self, asked: u64, sight: Sight) {
        let mut state = self.lock();
        (state.sight, state.answered, state.looking) = (Arc::new(sight), asked, false);
        drop(state);
        self.changed.notify_all();
    }

    /// Asks for a look; its number. None when nobody looks.
    fn ask(&self) -> Option<u64> {
        let mut state = self.lock();
        if state.thread != Thread::Runs {
            return None;
        }
        state.asked += 1;
        let asked = state.asked;
        drop(state);
        self.changed.notify_all();
        Some(asked)
    }

    /// What that look has seen; after `until`, or when its disks have not answered for long, what was seen before.
    fn answer(&self, asked: u64, until: Instant) -> Arc<Sight> {
        let waits = |state: &mut State| {
            state.thread == Thread::Runs && state.answered < asked && !state.sight.is_stale()
        };
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(self.lock(), left, waits);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.sight.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    /// The pool as it is now; when its disks hang, as it was last.
    pub(crate) fn sight(&self) -> Arc<Sight> {
        self.seen(self.survey.0.ask(), Instant::now() + MOMENT)
    }

    fn seen(&self, asked: Option<u64>, until: Instant) -> Arc<Sight> {
        match asked {
            Some(asked) => self.survey.0.answer(asked, until),
            // Before the thread begins, and after its end, whoever asks looks.
            None => Arc::new(Sight::of(&self.store, &self.home, &self.survey.0.before)),
        }
    }

    /// Its disks do not answer.
    pub(crate) fn hung_problem(&self, sight: &Sight) -> Option<Problem> {
        sight.is_stale().then(|| Problem {
            subject: self.subject(),
            message: format!(
                "its disks have not answered since {}: drives and jobs that need them wait",
                rfc3339(sight.at_s)
            ),
            remedy:
                "check the disks and mounts of its folders: vtl pool ls; what waits goes on when they answer"
                    .to_owned(),
        })
    }
}

impl Pools {
    /// The same of all pools, in a moment for all of them together.
    pub(crate) fn seen(&self) -> Seen {
        let (open, closed) = self.all();
        let asked: Vec<Option<u64>> = open.iter().map(|pool| pool.survey.0.ask()).collect();
        let until = Instant::now() + MOMENT;
        let seen = |(pool, asked): (Arc<Pool>, Option<u64>)| {
            let sight = pool.seen(asked, until);
            (pool, sight)
        };
        Seen { open: open.into_iter().zip(asked).map(seen).collect(), closed }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What was seen so long ago.
    pub(crate) fn sight(age: Duration, free_bytes: u64) -> Sight {
        Sight {
            at: Instant::now().checked_sub(age).expect("this machine is up for longer"),
            at_s: unix_seconds() - age.as_secs(),
            free_bytes,
            used_percent: Some(95),
            stats: Stats::default(),
            folders: Vec::new(),
            disks: vec![DiskRoom { folder: "/far".into(), free_bytes, total_bytes: 100 }],
            scrub: ScrubStatus::default(),
            forgotten: false,
        }
    }

    /// The pool's disks have not answered for 61 s; before that 7 bytes were free. For one whose thread has not begun.
    pub(crate) fn hang(pool: &Pool) {
        let mut state = pool.survey.0.lock();
        (state.thread, state.sight) = (Thread::Runs, Arc::new(sight(Duration::from_secs(61), 7)));
    }

    /// They answer again.
    pub(crate) fn answer_again(pool: &Pool) {
        pool.survey.0.lock().thread = Thread::NotYet;
    }

    /// So many looks were asked for.
    pub(crate) fn asked(pool: &Pool) -> u64 {
        pool.survey.0.lock().asked
    }

    fn looks() -> Looks {
        let looks = Looks::new(sight(Duration::ZERO, 1), Vec::new());
        looks.lock().thread = Thread::Runs;
        looks
    }

    #[test]
    fn while_a_look_hangs_whoever_asks_gets_what_was_seen_before_in_a_moment() {
        let looks = looks();
        let first = looks.ask().unwrap();
        assert_eq!(looks.rest(), Some(first));
        let begun = Instant::now();
        let second = looks.ask().unwrap();
        let until = begun + MOMENT;
        assert_eq!(looks.answer(second, until).free_bytes, 1);
        assert_eq!(looks.answer(looks.ask().unwrap(), until).free_bytes, 1);
        assert!((MOMENT..20 * MOMENT).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        // It ends after all; who asked meanwhile is owed a look that began later.
        looks.note(first, sight(Duration::ZERO, 2));
        assert_eq!(looks.rest(), Some(3));
        looks.note(3, sight(Duration::ZERO, 3));
        assert_eq!(looks.answer(second, Instant::now()).free_bytes, 3);
    }

    #[test]
    fn nobody_waits_for_disks_that_have_not_answered_for_long() {
        let looks = looks();
        looks.lock().sight = Arc::new(sight(Duration::from_secs(61), 1));
        let begun = Instant::now();
        let asked = looks.ask().unwrap();
        assert_eq!(looks.answer(asked, begun + Duration::from_secs(60)).free_bytes, 1);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!(looks.rest(), Some(1), "the thread looks when it can");
    }

    #[test]
    fn what_was_found_before_a_start_is_forgotten_until_a_pass_that_began_since_has_ended() {
        let is_forgotten =
            |before: &[Pass], last| is_forgotten(before, &ScrubStatus { last, ..ScrubStatus::default() });
        let pass = |number, begun_s, damaged| Pass { number, begun_s, damaged, ..Pass::default() };
        let (whole, bad) = (pass(4, 100, 0), pass(4, 100, 2));
        assert!(!is_forgotten(&[], None) && !is_forgotten(&[whole], Some(whole)));
        assert!(is_forgotten(&[bad], Some(bad)) && !is_forgotten(&[bad], Some(pass(5, 300, 0))));
        // One that was under way at the start goes on after it.
        let under_way = pass(5, 200, 1);
        assert!(is_forgotten(&[under_way], None) && is_forgotten(&[whole, under_way], Some(whole)));
        assert!(is_forgotten(&[whole, under_way], Some(Pass { finished_s: 400, ..under_way })));
        // It was ended without a result: the next one has its number.
        assert!(!is_forgotten(&[whole, under_way], Some(pass(5, 300, 0))));
    }

    #[test]
    fn what_was_found_in_packs_that_a_start_reads_first_is_forgotten_until_they_are_read() {
        let left = |left_packs| ScrubStatus { left_packs, ..ScrubStatus::default() };
        assert!(is_forgotten(&[], &left(1)) && !is_forgotten(&[], &left(0)));
    }

    #[test]
    fn after_its_end_nobody_is_asked_and_what_was_asked_before_waits_no_more() {
        let looks = looks();
        let asked = looks.ask().unwrap();
        looks.lock().thread = Thread::Stopped;
        let begun = Instant::now();
        assert_eq!(looks.answer(asked, begun + Duration::from_secs(60)).free_bytes, 1);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert_eq!((looks.ask(), looks.rest()), (None, None));
    }

    #[test]
    fn what_was_seen_more_than_a_minute_ago_is_stale() {
        let is_stale = |age_s| sight(Duration::from_secs(age_s), 1).is_stale();
        assert_eq!([0, 55, 61].map(is_stale), [false, false, true]);
    }
}
