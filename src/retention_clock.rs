//! The count of seconds that retention goes by beside the machine's clock: it grows, and nobody can set it.
//!
//! [`Count`] is the rule, a plain value: what the machine says goes in, how many seconds are believed comes out. [`RetentionClock`] keeps it in
//! the file `retention.clock` of the state folder (`docs/formats/retention-clock.md`). Why the rule is as it is stands in `docs/semantics.md`.
//!
//! A crash leaves the count of ten minutes ago at most; in the same run of the machine what is missing is found again, since the kernel's time
//! since boot tells it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;
use vtl_api::Problem;
use vtl_cartridge::Now;
use vtl_durable::RealDisk;
use vtl_durable::sealed::{self, Kind, SealedError};
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::daemon::lock;

const FILE: &str = "retention.clock";
const KIND: Kind = Kind { magic: *b"VTLCLOCK", version: 0 };
/// How often the count is written while nothing else asks for it.
const WRITE_EVERY_S: u64 = 600;
/// The allowance is kept in tenths of a second: each second that the machine runs adds one.
const TENTHS: u64 = 10;

/// What the machine says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its clock, in seconds since 1970 UTC; anybody with the right to do so can set it.
    pub wall_s: u64,
    /// Which run of the machine this is.
    pub boot: [u8; 16],
    /// Seconds since that run began, suspended ones included; nobody can set them.
    pub since_boot_s: u64,
}

/// Where readings come from: the machine, or a test.
pub type Machine = Arc<dyn Fn() -> Reading + Send + Sync>;

/// The machine that this runs on.
pub fn machine() -> Machine {
    let boot = boot_id();
    Arc::new(move || {
        let since_boot_s = u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or(0);
        Reading { wall_s: crate::clock::unix_seconds(), boot, since_boot_s }
    })
}

/// Without the kernel's word each start of the program is a run of its own, so that no time is believed that might not have been.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    match u128::from_str_radix(&digits, 16) {
        Ok(id) => id.to_be_bytes(),
        Err(_) => crate::random::id(),
    }
}

/// The count, and the reading that it goes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    counted_s: u64,
    at: Reading,
    /// What may be believed of times in which the machine was off, in tenths of a second.
    allowance: u64,
    /// The clock when the count was 0, as seconds since 1970.
    began_wall_s: u64,
}

impl Count {
    fn new(at: Reading, counted_s: u64, allowance_s: u64) -> Self {
        let began_wall_s = at.wall_s.saturating_sub(counted_s);
        Self { counted_s, at, allowance: allowance_s.saturating_mul(TENTHS), began_wall_s }
    }

    fn advance(&mut self, now: Reading, most_s: u64) {
        let ran = now.since_boot_s.checked_sub(self.at.since_boot_s).filter(|_| now.boot == self.at.boot);
        let most = most_s.saturating_mul(TENTHS);
        match ran {
            Some(ran) => {
                self.counted_s = self.counted_s.saturating_add(ran);
                self.allowance = self.allowance.saturating_add(ran).min(most);
            }
            None => {
                let believed =
                    now.wall_s.saturating_sub(self.at.wall_s).min(self.allowance.min(most) / TENTHS);
                self.counted_s = self.counted_s.saturating_add(believed);
                self.allowance = self.allowance.min(most) - believed * TENTHS;
            }
        }
        self.at = now;
    }

    /// By how many seconds the clock is ahead of the count since that began; negative when it is behind.
    fn ahead_s(&self) -> i64 {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        signed(self.at.wall_s)
            .saturating_sub(signed(self.began_wall_s))
            .saturating_sub(signed(self.counted_s))
    }

    fn now(&self) -> Now {
        Now { wall_s: self.at.wall_s, counted_s: self.counted_s }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(self.counted_s).u64(self.at.wall_s).raw(&self.at.boot).u64(self.at.since_boot_s);
        out.u64(self.allowance).u64(self.began_wall_s);
        out.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Reader::new(bytes);
        let (counted_s, wall_s) = (from.u64("count")?, from.u64("clock")?);
        let at = Reading { wall_s, boot: from.array("boot")?, since_boot_s: from.u64("time since boot")? };
        let (allowance, began_wall_s) = (from.u64("allowance")?, from.u64("clock at the beginning")?);
        from.end("count")?;
        Ok(Self { counted_s, at, allowance, began_wall_s })
    }
}

struct State {
    count: Count,
    written_s: u64,
}

/// The count of this installation; one for the daemon.
pub struct RetentionClock {
    folder: PathBuf,
    machine: Machine,
    /// What of a time in which the machine was off is believed at most.
    most_s: u64,
    /// By how much the clock was ahead of the count before this start.
    ahead_before_s: i64,
    state: Mutex<State>,
}

impl RetentionClock {
    /// Goes on with the count in `folder`. Without its file the count begins with `remembered`: what cartridges know of it. A file that was lost is
    /// a problem to be told, unless nothing is remembered: then this is the first start.
    pub fn open(
        folder: &Path,
        machine: Machine,
        most_s: u64,
        remembered: impl FnOnce() -> Option<u64>,
    ) -> (Self, Option<Problem>) {
        let reading = machine();
        let read = read(folder);
        let ahead_before_s = read.as_ref().map_or(0, Count::ahead_s);
        let (count, problem) = match read {
            Ok(mut count) => {
                count.advance(reading, most_s);
                (count, None)
            }
            Err(why) => match remembered() {
                None => (Count::new(reading, 0, most_s), None),
                Some(counted_s) => (Count::new(reading, counted_s, 0), Some(lost(&why))),
            },
        };
        let state = Mutex::new(State { count, written_s: count.counted_s });
        let clock = Self { folder: folder.to_owned(), machine, most_s, ahead_before_s, state };
        clock.write();
        (clock, problem)
    }

    /// Clock and count.
    pub fn now(&self) -> Now {
        self.look(&mut lock(&self.state))
    }

    /// Writes the count now.
    pub fn write(&self) {
        let mut state = lock(&self.state);
        self.look(&mut state);
        let written = sealed::replace(&RealDisk::new(), &self.folder, FILE, KIND, &state.count.encode());
        match written {
            Ok(()) => state.written_s = state.count.counted_s,
            Err(error) => {
                warn!(error = %error.into_inner(), "the count of seconds for retention is not kept; it may lose what it counts from here on");
            }
        }
    }

    /// Writes the count when it has not been for a while.
    pub fn write_if_due(&self) {
        let now = self.now();
        let written_s = lock(&self.state).written_s;
        if now.counted_s.saturating_sub(written_s) >= WRITE_EVERY_S {
            self.write();
        }
    }

    /// By how many seconds the clock has got ahead of the count since the last look before this start; negative when it fell behind.
    pub fn parted_s(&self) -> i64 {
        let mut state = lock(&self.state);
        self.look(&mut state);
        state.count.ahead_s().saturating_sub(self.ahead_before_s)
    }

    fn look(&self, state: &mut State) -> Now {
        state.count.advance((self.machine)(), self.most_s);
        state.count.now()
    }
}

fn read(folder: &Path) -> Result<Count, String> {
    let payload = sealed::read(&RealDisk::new(), &folder.join(FILE), KIND)
        .map_err(|error: SealedError| error.to_string())?;
    Count::decode(&payload).map_err(|error| error.to_string())
}

fn lost(why: &str) -> Problem {
    Problem {
        subject: "retention".to_owned(),
        message: format!(
            "the count of seconds for retention was lost and goes on from what cartridges remember, so they are kept longer: {why}"
        ),
        remedy: "nothing needs to be done; see vtl cartridge show LABEL for when retention is over"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const DAY: u64 = 86_400;
    const YEAR: u64 = 365 * DAY;

    fn reading(wall_s: u64, boot: u8, since_boot_s: u64) -> Reading {
        Reading { wall_s, boot: [boot; 16], since_boot_s }
    }

    fn fresh() -> Count {
        Count::new(reading(1_000_000, 1, 50), 0, DAY)
    }

    fn after(readings: &[Reading]) -> Count {
        let mut count = fresh();
        readings.iter().for_each(|reading| count.advance(*reading, DAY));
        count
    }

    #[test]
    fn while_the_machine_runs_a_clock_that_is_set_changes_nothing() {
        let forward = after(&[reading(1_000_000 + 10 * YEAR, 1, 60)]);
        assert_eq!(forward.counted_s, 10);
        let back = after(&[reading(1_000_000 + 10 * YEAR, 1, 60), reading(5, 1, 70)]);
        assert_eq!(back.counted_s, 20);
    }

    #[test]
    fn a_time_in_which_the_machine_was_off_counts_as_the_clock_says_up_to_the_allowance() {
        assert_eq!(after(&[reading(1_000_000 + 3_600, 2, 5)]).counted_s, 3_600);
        assert_eq!(after(&[reading(1_000_000 + 10 * YEAR, 2, 5)]).counted_s, DAY);
        assert_eq!(after(&[reading(999_000, 2, 5)]).counted_s, 0, "a clock set back");
    }

    #[test]
    fn restarts_of_the_machine_with_the_clock_set_forward_again_and_again_gain_one_allowance() {
        let restarts: Vec<_> = (1..=100).map(|n| reading(1_000_000 + n * YEAR, n as u8 + 1, 10)).collect();
        assert_eq!(after(&restarts).counted_s, DAY);
        let to_and_fro: Vec<_> =
            (0..100).map(|n| reading(1_000_000 + (n % 2) * YEAR, n as u8 + 2, 10)).collect();
        assert_eq!(after(&to_and_fro).counted_s, DAY);
    }

    #[test]
    fn the_allowance_comes_back_with_a_tenth_of_the_time_that_the_machine_runs_and_no_further() {
        let used = reading(1_000_000 + YEAR, 2, 0);
        let ran = reading(1_000_000 + YEAR, 2, 20_000);
        let again = reading(1_000_000 + 2 * YEAR, 3, 0);
        assert_eq!(after(&[used, ran, again]).counted_s, DAY + 20_000 + 2_000);
        let ran_long = reading(1_000_000 + YEAR, 2, 100 * YEAR);
        assert_eq!(after(&[used, ran_long, again]).counted_s, DAY + 100 * YEAR + DAY);
    }

    #[test]
    fn a_smaller_allowance_in_the_configuration_counts_at_once() {
        let mut count = fresh();
        count.advance(reading(1_000_000 + YEAR, 2, 0), 0);
        assert_eq!(count.counted_s, 0);
    }

    #[test]
    fn the_count_keeps_its_bytes() {
        let count = Count {
            counted_s: 0x0102,
            at: Reading { wall_s: 0x0304, boot: [0xbb; 16], since_boot_s: 0x0506 },
            allowance: 0x0708,
            began_wall_s: 0x090a,
        };
        let mut expected = b"\x02\x01\0\0\0\0\0\0\x04\x03\0\0\0\0\0\0".to_vec();
        expected.extend([0xbb; 16]);
        expected.extend(b"\x06\x05\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\x0a\x09\0\0\0\0\0\0");
        assert_eq!(count.encode(), expected);
        assert_eq!(Count::decode(&expected).unwrap(), count);
        assert!((0..expected.len()).all(|len| Count::decode(&expected[..len]).is_err()));
    }

    /// A machine whose seconds since boot and clock are turned by hand.
    fn by_hand() -> (Machine, Arc<AtomicU64>, Arc<AtomicU64>) {
        let (wall, ran) = (Arc::new(AtomicU64::new(1_000_000)), Arc::new(AtomicU64::new(0)));
        let (wall_read, ran_read) = (wall.clone(), ran.clone());
        let machine = move || reading(wall_read.load(Ordering::Relaxed), 1, ran_read.load(Ordering::Relaxed));
        (Arc::new(machine), wall, ran)
    }

    #[test]
    fn the_count_goes_on_after_a_restart_of_the_program_even_when_it_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (machine, wall, ran) = by_hand();
        let nothing = || None;
        let (clock, problem) = RetentionClock::open(folder.path(), machine.clone(), DAY, nothing);
        assert_eq!((problem, clock.now().counted_s), (None, 0));
        ran.store(100, Ordering::Relaxed);
        drop(clock);
        wall.store(1, Ordering::Relaxed);
        ran.store(300, Ordering::Relaxed);
        let (clock, problem) = RetentionClock::open(folder.path(), machine.clone(), DAY, || unreachable!());
        assert_eq!((problem, clock.now()), (None, Now { wall_s: 1, counted_s: 300 }));
        assert_eq!(clock.parted_s(), 1 - 1_000_000 - 300, "since the file was written");
        clock.write();
        let (clock, _) = RetentionClock::open(folder.path(), machine, DAY, || unreachable!());
        assert_eq!(clock.parted_s(), 0, "that was told");
    }

    #[test]
    fn a_count_that_was_lost_goes_on_from_what_is_remembered_without_an_allowance_and_that_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (machine, wall, ran) = by_hand();
        drop(RetentionClock::open(folder.path(), machine.clone(), DAY, || None));
        std::fs::write(folder.path().join(FILE), b"something else").unwrap();
        let (clock, problem) = RetentionClock::open(folder.path(), machine, DAY, || Some(77));
        assert_eq!((problem.unwrap().subject, clock.now().counted_s), ("retention".to_owned(), 77));
        wall.store(1_000_000 + YEAR, Ordering::Relaxed);
        ran.store(3, Ordering::Relaxed);
        assert_eq!(clock.now().counted_s, 80);
        let other_boot: Machine = Arc::new(|| reading(1_000_000 + 2 * YEAR, 9, 0));
        clock.write();
        let (clock, _) = RetentionClock::open(folder.path(), other_boot, DAY, || None);
        assert_eq!(clock.now().counted_s, 80, "nothing is believed of the time in which it was off");
    }
}
