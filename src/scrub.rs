//! Drives the scrub of a pool: when a pass begins, how fast it reads, and what its findings come to.
//!
//! One thread has the store's `Scrubber` and takes its steps. [`Plan`] says how many bytes a second, [`Pacer`] how long to wait after a step;
//! neither knows a clock. While a drive works only what the month's pass needs is read, region by region, so a drive waits for one region at
//! most; at rest a small pool is read at [`REST_RATE`], so that it is done soon. Neither is above `store.scrub_rate`. A pass that an operator
//! asks for is a job (`crate::jobs`) and has the rate that was asked for. While its job is paused it stands; what is new is read back all the same.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tracing::{error, info, warn};
use vtl_api::{Damage, Problem, StoreScrub};
use vtl_store::{Pass, ScrubStatus, ScrubStep, Scrubber};
use vtl_types::ByteCount;

use crate::clock::{rfc3339, unix_seconds};
use crate::daemon::{Daemon, lock};
use crate::pools::Pool;
use crate::state::hexadecimal;

/// How often it looks for work when there is none, and asks anew how fast to go.
const LOOK: Duration = Duration::from_secs(5);
const REPLAN: Duration = Duration::from_secs(1);
/// The longest pause between two steps: a change is heeded after it.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Longer nobody waits until a pass stands or ends: its job is cancelled within 5 s, and the request is heeded later, too.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// Shorter pauses are saved up.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// Bytes a second while no drive works: 100 GB in three and a half hours.
const REST_RATE: u64 = 8 << 20;
/// Never slower: a region must end.
const LEAST_RATE: u64 = 64 << 10;
/// A new pack is to be read back within the hour; planned is half of it.
const READ_BACK_S: u64 = 1800;
/// What is left of a pass whose time is over is spread over an hour.
const LATE_S: u64 = 3600;
const DAY_S: u64 = 24 * 60 * 60;
/// So many ranges are named in the status; of more, the number.
const NAMED: usize = 3;

/// What an operator may ask a pass to run at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Without any pause.
    Max,
    /// So many bytes a second.
    Bytes(u64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let bytes = text.parse::<ByteCount>().map_err(|error| error.to_string())?.0;
        if bytes < LEAST_RATE {
            return Err(format!("this is less than {}", ByteCount(LEAST_RATE)));
        }
        Ok(Self::Bytes(bytes))
    }
}

/// The scrub's thread and what is asked of it.
#[derive(Debug, Default)]
pub struct Scrub {
    state: Mutex<State>,
    changed: Condvar,
}

/// What may be asked of the thread. Passes are named by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// A pass is to begin, at this rate; none: as usual.
    Begin(Option<Rate>),
    /// This one goes on, at this rate.
    GoOn(u64, Option<Rate>),
    /// This one stands.
    Hold(u64),
    /// This one ends without a result.
    End(u64),
}

#[derive(Debug, Default)]
struct State {
    /// Not heeded yet.
    asks: Vec<(u64, Ask)>,
    /// So many have been asked, and so many heeded.
    asked: u64,
    heeded: u64,
    /// The number of the last pass that was begun for somebody.
    begun: u64,
    /// The pass that stands.
    held: Option<u64>,
    look_again: bool,
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    /// Starts the thread. It lasts until [`Scrub::stop`].
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(daemon: &Arc<Daemon>, pool: &Arc<Pool>) -> Result<(), String> {
        let (daemon, scrubbed) = (daemon.clone(), pool.clone());
        let thread = Builder::new()
            .name("vtld-scrub".to_owned())
            .spawn(move || match scrubbed.store.scrubber() {
                Some(scrubber) => Driver::new(&daemon, &scrubbed, scrubber).run(),
                None => error!(pool = %scrubbed.name, "the pool is scrubbed by somebody else"),
            })
            .map_err(|error| format!("the system gives no thread: {error}"))?;
        pool.scrub.state().thread = Some(thread);
        Ok(())
    }

    /// The thread ends after the region in hand.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    /// Waits for its end.
    pub fn join(&self) {
        let thread = self.state().thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the scrub had failed; the log says why");
        }
    }

    /// Begins a pass; its number, or none when no thread is there to begin it.
    pub fn begin(&self, rate: Option<Rate>) -> Option<u64> {
        self.ask(Ask::Begin(rate)).then(|| self.state().begun)
    }

    /// The pass with this number goes on at this rate, when it is the one that there is; false when no thread is there.
    pub fn go_on(&self, pass: u64, rate: Option<Rate>) -> bool {
        self.ask(Ask::GoOn(pass, rate))
    }

    /// The pass with this number stands; what is new is read all the same.
    pub fn hold(&self, pass: u64) -> bool {
        self.ask(Ask::Hold(pass))
    }

    /// The same, for a thread that is not there yet.
    pub fn hold_from_the_start(&self, pass: u64) {
        self.state().put(Ask::Hold(pass));
    }

    /// The pass with this number ends without a result.
    pub fn end(&self, pass: u64) -> bool {
        self.ask(Ask::End(pass))
    }

    /// Whether it was heeded.
    fn ask(&self, ask: Ask) -> bool {
        let mut state = self.state();
        if state.stopped || state.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return false;
        }
        let number = state.put(ask);
        self.changed.notify_all();
        let longest = match ask {
            Ask::Begin(_) | Ask::GoOn(..) => LONGEST_PAUSE,
            Ask::Hold(_) | Ask::End(_) => STOP_WAIT,
        };
        let waited =
            self.changed.wait_timeout_while(state, longest, |state| state.heeded < number && !state.stopped);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // A pass that nobody waits for any more is not to begin. The other requests name theirs, and are right later, too.
        state.asks.retain(|(at, ask)| *at != number || !matches!(ask, Ask::Begin(_)));
        state.heeded >= number
    }

    /// Something was repaired: what is damaged now is to be looked up.
    pub fn look_again(&self) {
        self.state().look_again = true;
        self.changed.notify_all();
    }

    /// What an operator should know.
    pub(crate) fn problems(&self, daemon: &Daemon, pool: &Pool) -> Vec<Problem> {
        let (status, damage) = (pool.store.scrub_status(), daemon.damage(pool));
        let mut problems = Vec::new();
        let failed = {
            let state = self.state();
            state.thread.as_ref().is_some_and(JoinHandle::is_finished) && !state.stopped
        };
        if failed {
            problems.push((
                "what is stored is not verified any more: the thread that reads it has failed".to_owned(),
                "restart vtld, and report what its log says: this is a fault of the program".to_owned(),
            ));
        }
        if status.is_damaged() {
            problems.push((
                told(&status, &damage),
                "vtl store scrub --status names all of it; check the disk; a backup that brings the content again heals it, as vtl store repair --from-exports does with what was exported; or give a cartridge up: vtl cartridge rm LABEL --now --confirm LABEL, and one that has an id in the place of a label: vtl cartridge rm --id ID --now --confirm ID".to_owned(),
            ));
        }
        let config = daemon.config();
        let plan = Plan { days: config.store.scrub_days, ceiling: config.store.scrub_rate.0 };
        let held = self.state().held;
        if let Some(pass) =
            status.current.filter(|pass| held == Some(pass.number) && plan.is_over(*pass, unix_seconds()))
        {
            problems.push((
                format!(
                    "the pass of the scrub that began {} is paused, so not all is verified within store.scrub_days = {}",
                    rfc3339(pass.begun_s), plan.days
                ),
                "resume or cancel its job: vtl job ls".to_owned(),
            ));
        }
        if plan.is_hopeless(status.total_bytes) {
            problems.push((
                format!(
                    "{} bytes cannot be read in store.scrub_days = {} with store.scrub_rate = \"{}\"",
                    status.total_bytes, plan.days, config.store.scrub_rate
                ),
                "raise store.scrub_rate, or store.scrub_days".to_owned(),
            ));
        }
        let problem = |(message, remedy)| Problem { subject: pool.subject(), message, remedy };
        problems.into_iter().map(problem).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Its number.
    fn put(&mut self, ask: Ask) -> u64 {
        self.asked += 1;
        self.asks.push((self.asked, ask));
        self.asked
    }
}

/// Damage in one sentence.
fn told(status: &ScrubStatus, damage: &[Damage]) -> String {
    let mut parts = Vec::new();
    if status.damaged_chunks > 0 {
        parts.push(format!("{} damaged chunks with {} bytes", status.damaged_chunks, status.damaged_bytes));
    }
    parts.extend(damage.iter().take(NAMED).map(|one| match (one.cartridge.as_str(), one.length) {
        ("", _) => one.why.clone(),
        (cartridge, 0) => format!("{cartridge}: {}", one.why),
        (cartridge, _) => format!("{cartridge}: {} bytes from {} cannot be read", one.length, one.offset),
    }));
    let named = damage.len().min(NAMED) as u64;
    if status.findings > named {
        parts.push(format!("and {} more", status.findings - named));
    }
    format!("there is damage in the store: {}", parts.join("; "))
}

/// How fast to go.
#[derive(Clone, Copy, Debug)]
struct Plan {
    days: u32,
    ceiling: u64,
}

impl Plan {
    fn of(daemon: &Daemon) -> Self {
        let config = daemon.config();
        Self { days: config.store.scrub_days, ceiling: config.store.scrub_rate.0 }
    }

    fn period_s(self) -> u64 {
        u64::from(self.days) * DAY_S
    }

    fn is_hopeless(self, total_bytes: u64) -> bool {
        total_bytes / self.period_s().max(1) > self.ceiling
    }

    /// A pass begins its period after the one before began; one from the future was begun by another clock.
    fn is_due(self, status: &ScrubStatus, now_s: u64) -> bool {
        status.current.is_none() && status.last.is_none_or(|pass| self.is_over(pass, now_s))
    }

    /// Whether the period of a pass is over.
    fn is_over(self, pass: Pass, now_s: u64) -> bool {
        pass.begun_s > now_s || now_s - pass.begun_s >= self.period_s()
    }

    /// Bytes a second.
    fn rate(self, status: &ScrubStatus, busy: bool, now_s: u64) -> u64 {
        let needed = status.current.map_or(0, |pass| {
            let left = status.total_bytes.saturating_sub(pass.bytes);
            let over_s = now_s.saturating_sub(pass.begun_s);
            left / self.period_s().saturating_sub(over_s).max(LATE_S)
        });
        let read_back = status.unread_bytes / READ_BACK_S;
        let rest = if busy { LEAST_RATE } else { REST_RATE };
        needed.saturating_add(read_back).max(rest).min(self.ceiling)
    }
}

/// How long to wait so that no more than so many bytes a second are read.
#[derive(Debug, Default)]
struct Pacer {
    /// When all that was read is paid for.
    paid_at: Duration,
}

impl Pacer {
    /// The pause after `bytes` were read. What was not read in time is not made up for.
    fn pause(&mut self, now: Duration, bytes: u64, rate: Option<u64>) -> Duration {
        let Some(rate) = rate else {
            self.paid_at = now;
            return Duration::ZERO;
        };
        let cost = Duration::from_nanos(
            u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX),
        );
        self.paid_at = self.paid_at.max(now).saturating_add(cost);
        let pause = self.paid_at - now;
        if pause < SHORTEST_PAUSE { Duration::ZERO } else { pause.min(LONGEST_PAUSE) }
    }
}

/// The thread's own.
struct Driver<'a> {
    daemon: &'a Daemon,
    pool: &'a Pool,
    scrubber: Scrubber,
    pacer: Pacer,
    /// The rate that was asked for, as long as the pass runs that it was asked for.
    asked: Option<Rate>,
    rate: Option<u64>,
    planned_at: Option<Duration>,
    /// The next damage has been repaired as far as it can be.
    healed: bool,
}

impl<'a> Driver<'a> {
    fn new(daemon: &'a Daemon, pool: &'a Pool, scrubber: Scrubber) -> Self {
        let pacer = Pacer::default();
        Self { daemon, pool, scrubber, pacer, asked: None, rate: None, planned_at: None, healed: false }
    }

    fn run(&mut self) {
        let mut pause = Duration::ZERO;
        while self.rest(pause) {
            pause = self.turn(now(), unix_seconds());
        }
    }

    /// Waits; does what was asked for; false when there is no more to do for ever.
    fn rest(&mut self, pause: Duration) -> bool {
        let scrub = &self.pool.scrub;
        let waited = scrub.changed.wait_timeout_while(scrub.state(), pause, |state| {
            !state.stopped && state.asks.is_empty() && !state.look_again
        });
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (asks, look_again) = (std::mem::take(&mut state.asks), std::mem::take(&mut state.look_again));
        let stopped = state.stopped;
        drop(state);
        if look_again {
            self.healed = true;
            self.scrubber.look_again();
        }
        for (number, ask) in asks {
            self.heed(ask);
            scrub.state().heeded = number;
            scrub.changed.notify_all();
        }
        !stopped
    }

    fn heed(&mut self, ask: Ask) {
        let current = self.pool.store.scrub_status().current.map(|pass| pass.number);
        match ask {
            Ask::Begin(rate) => {
                let number = self.scrubber.begin(unix_seconds());
                info!(pool = %self.pool.name, number, "a pass of the scrub begins, as asked");
                self.go_on(rate);
                self.pool.scrub.state().begun = number;
            }
            Ask::GoOn(pass, rate) if current == Some(pass) => self.go_on(rate),
            Ask::Hold(pass) if current == Some(pass) => {
                self.scrubber.hold(true);
                self.pool.scrub.state().held = current;
            }
            Ask::End(pass) if current == Some(pass) => {
                info!(pool = %self.pool.name, pass, "a pass of the scrub ends before its time, as asked");
                self.scrubber.end_pass(pass, unix_seconds());
                self.go_on(None);
            }
            // It has ended meanwhile, or another one has begun.
            Ask::GoOn(..) | Ask::Hold(_) | Ask::End(_) => {}
        }
    }

    fn go_on(&mut self, rate: Option<Rate>) {
        self.scrubber.hold(false);
        self.asked = rate;
        self.planned_at = None;
        // What was read at another rate is not waited for at this one.
        self.pacer = Pacer::default();
        self.pool.scrub.state().held = None;
    }

    /// One step; the pause after it.
    fn turn(&mut self, now: Duration, now_s: u64) -> Duration {
        if self.planned_at.is_none_or(|at| now.saturating_sub(at) >= REPLAN) {
            self.planned_at = Some(now);
            self.plan(now_s);
        }
        match self.scrubber.step(now_s) {
            ScrubStep::Idle => LOOK,
            ScrubStep::Read(bytes) => self.pacer.pause(now, bytes, self.rate),
            ScrubStep::Damage => self.damage(),
            ScrubStep::Finished(pass) => {
                self.asked = None;
                info!(pool = %self.pool.name, pass.number, pass.packs, pass.bytes, pass.damaged, "a pass of the scrub has ended");
                if pass.damaged > 0 { self.damage() } else { Duration::ZERO }
            }
        }
    }

    fn plan(&mut self, now_s: u64) {
        let plan = Plan::of(self.daemon);
        let status = self.pool.store.scrub_status();
        if plan.is_due(&status, now_s) {
            let number = self.scrubber.begin(now_s);
            info!(pool = %self.pool.name, number, "a pass of the scrub begins");
        }
        let busy = self.scrubber.take_busy();
        self.rate = match self.asked {
            Some(Rate::Max) => None,
            Some(Rate::Bytes(rate)) => Some(rate),
            None => Some(plan.rate(&status, busy, now_s)),
        };
    }

    /// The keeper repairs what it can, and then it is looked up again; once for each damage.
    fn damage(&mut self) -> Duration {
        if !std::mem::take(&mut self.healed) {
            self.pool.keeper.heal();
        }
        Duration::ZERO
    }
}

impl Daemon {
    /// What is damaged, with the labels of cartridges.
    pub(crate) fn damage(&self, pool: &Pool) -> Vec<Damage> {
        let findings = pool.store.scrub_findings();
        if findings.is_empty() {
            return Vec::new();
        }
        let listed = self.meta.read(vtl_library::cartridges).unwrap_or_default();
        let pieces = self.owners_of_pieces();
        let name = |owner: [u8; 16]| {
            let id = pieces.get(&owner).unwrap_or(&owner);
            let found = listed.iter().find(|one| one.id.0 == *id);
            found.map_or_else(|| hexadecimal(&owner), |one| one.label.to_string())
        };
        let damage = |one: vtl_store::ScrubFinding| Damage {
            cartridge: one.owner.map_or_else(String::new, |owner| name(owner.0)),
            offset: one.range.start,
            length: one.range.end.saturating_sub(one.range.start),
            why: one.why,
        };
        findings.into_iter().map(damage).collect()
    }

    /// How the scrub is doing. `pass`: the one that was asked for.
    pub(crate) fn scrub_told(&self, pool: &Pool, pass: Option<u64>) -> StoreScrub {
        let status = pool.store.scrub_status();
        let time = |seconds: Option<u64>| seconds.map(rfc3339);
        let held = pool.scrub.state().held;
        let state = match status.current {
            None => "idle",
            Some(pass) if held == Some(pass.number) => "paused",
            Some(_) => "running",
        };
        StoreScrub {
            job: None,
            pools: Vec::new(),
            state: state.to_owned(),
            pass: pass.or(status.current.map(|pass| pass.number)),
            begun: time(status.current.map(|pass| pass.begun_s)),
            bytes: status.current.map(|pass| pass.bytes),
            total_bytes: status.total_bytes,
            last_pass: status.last.map(|pass| pass.number),
            last_begun: time(status.last.map(|pass| pass.begun_s)),
            last_finished: time(status.last.map(|pass| pass.finished_s)),
            last_packs: status.last.map(|pass| pass.packs),
            last_bytes: status.last.map(|pass| pass.bytes),
            last_damaged: status.last.map(|pass| pass.damaged),
            unread_packs: status.unread_packs,
            damaged_chunks: status.damaged_chunks,
            damaged_bytes: status.damaged_bytes,
            damage: self.damage(pool),
        }
    }

    /// The same as one line.
    pub(crate) fn scrub_line(&self, pool: &Pool) -> String {
        let status = pool.store.scrub_status();
        let last = status.last.map_or_else(
            || "no pass has ended yet".to_owned(),
            |pass| format!("last pass ended {}, {} damaged", rfc3339(pass.finished_s), pass.damaged),
        );
        let current = status.current.map_or_else(String::new, |pass| {
            format!("; one is at {} of {} bytes", pass.bytes.min(status.total_bytes), status.total_bytes)
        });
        format!("{last}{current}; {} damaged ranges now", status.findings)
    }
}

fn now() -> Duration {
    Duration::from_nanos(crate::clock::now_ns())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { days: 30, ceiling: 50 << 20 };
    const MONTH_S: u64 = 30 * DAY_S;

    fn running(total_bytes: u64, begun_s: u64, bytes: u64) -> ScrubStatus {
        let current = Some(Pass { number: 1, begun_s, bytes, ..Pass::default() });
        ScrubStatus { current, total_bytes, ..ScrubStatus::default() }
    }

    #[test]
    fn a_large_pool_is_read_within_its_time_whatever_the_drives_do() {
        let status = running(100_000_000_000_000, 1000, 0);
        for busy in [false, true] {
            let rate = PLAN.rate(&status, busy, 1000);
            assert!(rate * MONTH_S >= 99_999_000_000_000 && rate < 39_000_000, "{rate}");
        }
        // Half of the time is over, and nothing has been read: twice as fast, as far as it may.
        assert_eq!(PLAN.rate(&status, true, 1000 + MONTH_S / 2), 50 << 20);
        let late = running(7 << 30, 1000, 6 << 30);
        assert_eq!(PLAN.rate(&late, true, 1000 + 2 * MONTH_S), (1 << 30) / 3600);
    }

    #[test]
    fn a_small_pool_is_done_soon_at_rest_and_hardly_read_while_drives_work() {
        let status = running(10 << 30, 1000, 0);
        assert_eq!(PLAN.rate(&status, false, 1000), 8 << 20);
        assert_eq!(PLAN.rate(&status, true, 1000), 64 << 10);
        assert_eq!(Plan { ceiling: 1 << 20, ..PLAN }.rate(&status, false, 1000), 1 << 20);
    }

    #[test]
    fn new_packs_are_read_back_within_the_hour_also_while_drives_work() {
        let status = ScrubStatus { unread_bytes: 36 << 30, ..ScrubStatus::default() };
        let rate = PLAN.rate(&status, true, 1000);
        assert!(rate * 3600 >= 36 << 30 && rate < 50 << 20, "{rate}");
    }

    #[test]
    fn a_pass_begins_a_month_after_the_last_one_began_and_the_first_at_once() {
        let last = |begun_s| ScrubStatus {
            last: Some(Pass { number: 1, begun_s, finished_s: begun_s + 9, ..Pass::default() }),
            ..ScrubStatus::default()
        };
        assert!(PLAN.is_due(&ScrubStatus::default(), 5));
        assert!(!PLAN.is_due(&running(1, 2, 0), 2 * MONTH_S));
        assert!(!PLAN.is_due(&last(1000), 1000 + MONTH_S - 1) && PLAN.is_due(&last(1000), 1000 + MONTH_S));
        assert!(PLAN.is_due(&last(5000), 4000), "the clock was set back");
    }

    #[test]
    fn a_pool_that_cannot_be_read_in_time_is_told() {
        assert!(!PLAN.is_hopeless(135_000_000_000_000) && PLAN.is_hopeless(137_000_000_000_000));
    }

    #[test]
    fn no_more_than_the_rate_is_read_whatever_the_steps_are() {
        for rate in [64 << 10, 1 << 20, 50 << 20] {
            let (mut pacer, mut now, mut read) = (Pacer::default(), Duration::from_secs(77), 0_u64);
            let begun = now;
            for step in 0..5000_u64 {
                let bytes = step * 7919 % (300 << 10);
                read += bytes;
                let pause = pacer.pause(now, bytes, Some(rate));
                // A pause that was cut short is waited for with the next.
                now += if step % 11 == 0 { pause / 2 } else { pause };
            }
            let allowed = (now - begun).as_secs_f64() * rate as f64 + (rate as f64 / 50.0) + 700_000.0;
            assert!(read as f64 <= allowed, "{read} bytes, {allowed} allowed at {rate}");
        }
        let mut pacer = Pacer::default();
        assert_eq!(pacer.pause(Duration::ZERO, 1 << 40, None), Duration::ZERO);
        assert_eq!(pacer.pause(Duration::ZERO, 1 << 40, Some(1)), LONGEST_PAUSE);
    }

    #[test]
    fn a_thread_that_is_at_something_long_holds_up_no_cancel_and_heeds_it_later() {
        let scrub = Scrub::default();
        let (ends, told) = std::sync::mpsc::channel::<()>();
        scrub.state().thread = Some(std::thread::spawn(move || {
            let _ = told.recv();
        }));
        let began = std::time::Instant::now();
        assert!(!scrub.hold(7) && !scrub.end(7));
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        let asked: Vec<Ask> = scrub.state().asks.iter().map(|(_, ask)| *ask).collect();
        assert_eq!(asked, [Ask::Hold(7), Ask::End(7)]);
        drop(ends);
        scrub.join();
    }

    #[test]
    fn a_rate_is_a_size_or_max() {
        assert_eq!(("max".parse(), "2m".parse()), (Ok(Rate::Max), Ok(Rate::Bytes(2 << 20))));
        assert!("fast".parse::<Rate>().is_err() && "1k".parse::<Rate>().unwrap_err().contains("64k"));
    }
}
