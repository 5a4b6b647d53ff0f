//! How fast transfers may go, by time of day, and how much memory they may hold. One limiter is shared by all transfers, and holds for them together.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use vtl_types::ByteCount;

use crate::body::ByteStream;
use crate::remote::Held;

const MINUTES_OF_A_DAY: u16 = 24 * 60;
/// A wait is cut into pieces of this length, so that a change of the rate is felt soon.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A shorter wait is left to the piece that follows, which waits for both: each sleep is up to a millisecond too long.
const LEAST_WAIT: Duration = Duration::from_millis(20);

/// Memory is counted in units of so many bytes.
const UNIT: u64 = 1 << 20;
/// So many bytes that are sent from memory may lie there for each of those that share a limiter: four parts of the default size, of which a transfer
/// has three at most.
const ROOM_OF_EACH: u64 = 32 << 20;
/// And so many in any case: the largest part of an object, since one must fit.
pub(crate) const LEAST_ROOM: u64 = 128 << 20;

/// Bytes in a second, `None` for as fast as it goes.
pub type Rate = Option<u64>;

/// Rates by time of day: each holds from its minute until the next one's, the last over midnight.
/// As text: one rate (`10m`, `off`), or `08:00,512k 19:00,10m 23:00,off`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule(Vec<(u16, Rate)>);

impl Schedule {
    /// The rate at a minute of the day.
    #[must_use]
    pub fn at(&self, minute: u16) -> Rate {
        let begun = self.0.iter().rev().find(|(start, _)| *start <= minute);
        begun.or(self.0.last()).and_then(|(_, rate)| *rate)
    }

    /// The text that rclone's `--bwlimit` takes, each rate divided among `sharers` processes. `None` without a limit.
    #[must_use]
    pub fn for_rclone(&self, sharers: u64) -> Option<String> {
        self.0.iter().find(|(_, rate)| rate.is_some())?;
        let rule = |(minute, rate): &(u16, Rate)| {
            let rate =
                rate.map_or_else(|| "off".to_owned(), |rate| format!("{}B", (rate / sharers.max(1)).max(1)));
            format!("{:02}:{:02},{rate}", minute / 60, minute % 60)
        };
        Some(self.0.iter().map(rule).collect::<Vec<_>>().join(" "))
    }
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleError(String);

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no bandwidth: write a rate such as 10m or off, or rules in the order of their times such as \
             08:00,512k 19:00,10m 23:00,off",
            self.0
        )
    }
}

impl std::error::Error for ScheduleError {}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError(text.to_owned());
        let words: Vec<&str> = text.split_whitespace().collect();
        let rules: Option<Vec<(u16, Rate)>> = match words.as_slice() {
            [rate] if !rate.contains(',') => parse_rate(rate).map(|rate| vec![(0, rate)]),
            rules => rules.iter().map(|rule| parse_rule(rule)).collect(),
        };
        let rules = rules.ok_or_else(wrong)?;
        let rising = rules.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
        if rules.is_empty() || !rising { Err(wrong()) } else { Ok(Self(rules)) }
    }
}

fn parse_rule(rule: &str) -> Option<(u16, Rate)> {
    let (time, rate) = rule.split_once(',')?;
    let (hours, minutes) = time.split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let minute = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
    Some((minute, parse_rate(rate)?))
}

fn parse_rate(rate: &str) -> Option<Rate> {
    match rate {
        "off" => Some(None),
        rate => rate.parse::<ByteCount>().ok().filter(|rate| rate.0 > 0).map(|rate| Some(rate.0)),
    }
}

/// When the line is free again. It knows no clock: times are given, counted from any one moment.
#[derive(Debug, Default)]
struct Line {
    free_at: Duration,
}

impl Line {
    /// Takes the line for `bytes` at `rate`; how long to wait until they may be thought gone.
    fn take(&mut self, now: Duration, rate: Rate, bytes: u64) -> Duration {
        let begin = self.free_at.max(now);
        let takes = rate.map_or(Duration::ZERO, |rate| time_for(bytes, rate));
        self.free_at = begin.saturating_add(takes);
        self.free_at.saturating_sub(now)
    }
}

fn time_for(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Memory for what is sent from it. Who wants much is not passed by who wants little.
#[derive(Clone)]
struct Room {
    units: u32,
    free: Arc<Semaphore>,
}

impl Room {
    fn of(sharers: u64) -> Self {
        let bytes = sharers.saturating_mul(ROOM_OF_EACH).max(LEAST_ROOM);
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        let permits = usize::try_from(units).unwrap_or(Semaphore::MAX_PERMITS);
        Self { units, free: Arc::new(Semaphore::new(permits)) }
    }
}

/// Tells the minute of the day, in the operator's time zone.
pub type MinuteOfDay = Arc<dyn Fn() -> u16 + Send + Sync>;

/// Makes transfers wait. Cheap to clone; all clones share one line and one room in memory.
#[derive(Clone)]
pub struct Limiter {
    schedule: Arc<Schedule>,
    minute_of_day: MinuteOfDay,
    line: Arc<Mutex<Line>>,
    begun: Instant,
    sharers: u64,
    room: Room,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("schedule", &self.schedule).finish_non_exhaustive()
    }
}

impl Limiter {
    /// A limiter for at most `sharers` transfers at a time. The room in memory goes by that number; of the rate, only drivers
    /// that cannot share a line, because a program of its own sends each object, take that part.
    #[must_use]
    pub fn new(schedule: Schedule, sharers: u64, minute_of_day: MinuteOfDay) -> Self {
        let line = Arc::new(Mutex::new(Line::default()));
        let room = Room::of(sharers);
        Self { schedule: Arc::new(schedule), minute_of_day, line, begun: Instant::now(), sharers, room }
    }

    /// No limit.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(Schedule::default(), 1, Arc::new(|| 0))
    }

    /// Waits until `bytes` may be thought gone.
    pub async fn pass(&self, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let rate = self.schedule.at((self.minute_of_day)() % MINUTES_OF_A_DAY);
            let slice = rate.map_or(left, |rate| left.min((rate * LONGEST_WAIT.as_secs()).max(1)));
            left -= slice;
            let wait = self.take(rate, slice);
            if wait >= LEAST_WAIT {
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn take(&self, rate: Rate, bytes: u64) -> Duration {
        let now = self.begun.elapsed();
        self.line.lock().unwrap_or_else(PoisonError::into_inner).take(now, rate, bytes)
    }

    /// Waits for room in memory for so many bytes, which are to be sent from there. Who asks for more than there is gets all of it, alone.
    ///
    /// It is for a part that fills or is on its way. Such a one waits for the disk, for the rate and for the remote, but for no turn and no other room, so
    /// that it comes free again.
    pub async fn room(&self, bytes: u64) -> Held {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.room.units);
        // It fails when the room is closed, which nobody does.
        Box::new(Arc::clone(&self.room.free).acquire_many_owned(units).await.ok())
    }

    /// A stream that goes no faster than this.
    #[must_use]
    pub fn paced(&self, stream: ByteStream) -> ByteStream {
        let limiter = self.clone();
        stream
            .and_then(move |piece| {
                let limiter = limiter.clone();
                async move {
                    limiter.pass(piece.len() as u64).await;
                    Ok(piece)
                }
            })
            .boxed()
    }

    /// What one of the programs that share the limit is told with rclone's `--bwlimit`.
    #[must_use]
    pub fn for_rclone(&self) -> Option<String> {
        self.schedule.for_rclone(self.sharers)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_rate_holds_from_its_minute_until_the_next_and_over_midnight() {
        let schedule: Schedule = "08:00,512k 19:00,10m 23:00,off".parse().unwrap();
        for (minute, rate) in [
            (0, None),
            (8 * 60 - 1, None),
            (8 * 60, Some(524_288)),
            (19 * 60, Some(10_485_760)),
            (22 * 60 + 59, Some(10_485_760)),
            (23 * 60, None),
        ] {
            assert_eq!(schedule.at(minute), rate, "minute {minute}");
        }
        assert_eq!("1m".parse::<Schedule>().unwrap().at(700), Some(1_048_576));
        assert_eq!("off".parse::<Schedule>().unwrap().at(700), None);
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_an_example() {
        for text in
            ["", "0", "x", "8,1m", "25:00,1m", "08:60,1m", "08:00,1m 07:00,2m", "08:00,1m 2m", "08:00,0"]
        {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.to_string().contains("19:00,10m"), "{text}");
        }
    }

    #[test]
    fn rclone_is_told_its_share() {
        let schedule: Schedule = "08:00,512k 23:00,off".parse().unwrap();
        assert_eq!(schedule.for_rclone(4).as_deref(), Some("08:00,131072B 23:00,off"));
        assert_eq!("off".parse::<Schedule>().unwrap().for_rclone(4), None);
        assert_eq!(Schedule::default().for_rclone(4), None);
    }

    #[test]
    fn an_idle_line_gives_no_credit_and_a_busy_one_queues() {
        let mut line = Line::default();
        let second = Duration::from_secs;
        assert_eq!(line.take(second(10), Some(100), 100), second(1));
        assert_eq!(line.take(second(10), Some(100), 200), second(3));
        assert_eq!(line.take(second(12), Some(100), 0), second(1));
        assert_eq!(line.take(second(20), Some(100), 100), second(1));
        assert_eq!(line.take(second(20), None, 1 << 40), second(1));
    }

    #[test]
    fn clones_share_the_room_in_memory_which_is_larger_for_more_transfers_and_never_less_than_one_part() {
        const MIB: u64 = 1 << 20;
        for (sharers, all) in [(0, 128 * MIB), (1, 128 * MIB), (4, 128 * MIB), (64, 2_048 * MIB)] {
            let limiter = Limiter::new(Schedule::default(), sharers, Arc::new(|| 0));
            let other = limiter.clone();
            let held = limiter.room(all).now_or_never();
            assert!(held.is_some() && other.room(0).now_or_never().is_some(), "{sharers}");
            assert!(other.room(1).now_or_never().is_none(), "{sharers}: {all} are all");
            drop(held);
            assert!(other.room(u64::MAX).now_or_never().is_some(), "{sharers}: more than all is all");
        }
    }

    #[tokio::test]
    async fn who_wants_much_room_is_not_passed_by_who_wants_little() {
        let limiter = Limiter::unlimited();
        let held = limiter.room(LEAST_ROOM / 2).await;
        let mut much = std::pin::pin!(limiter.room(LEAST_ROOM));
        assert!(much.as_mut().now_or_never().is_none());
        assert!(limiter.room(1).now_or_never().is_none());
        drop(held);
        drop(much.await);
    }

    #[tokio::test]
    async fn clones_share_one_line_and_feel_a_change_of_the_rate() {
        let minute = Arc::new(std::sync::atomic::AtomicU16::new(0));
        let clock = minute.clone();
        let clock = Arc::new(move || clock.load(std::sync::atomic::Ordering::Relaxed));
        let schedule = "00:00,1k 00:01,off".parse().unwrap();
        let limiter = Limiter::new(schedule, 2, clock);
        let other = limiter.clone();
        // Waits are asked for and not waited.
        let first = limiter.take(Some(1_024), 1_024 * 3_600);
        let second = other.take(Some(1_024), 1_024 * 3_600);
        assert!(second > first + Duration::from_secs(3_000));
        minute.store(1, std::sync::atomic::Ordering::Relaxed);
        let free = Limiter::new("00:00,1k 00:01,off".parse().unwrap(), 2, limiter.minute_of_day.clone());
        free.pass(1 << 40).await;
    }

    #[tokio::test]
    async fn many_small_pieces_go_as_fast_as_a_large_one_of_their_length() {
        let limiter = Limiter::new("1m".parse().unwrap(), 1, Arc::new(|| 0));
        let began = std::time::Instant::now();
        for _ in 0..20_000 {
            limiter.pass(6).await;
        }
        // 117 KiB at 1 MiB/s: 114 ms, of which less than a shortest wait may be owed still. With a sleep for each it would be twenty seconds.
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(94) && took < Duration::from_secs(10), "{took:?}");
    }

    #[tokio::test]
    async fn a_transfer_on_its_way_feels_the_next_rule() {
        let minute = Arc::new(std::sync::atomic::AtomicU16::new(0));
        let clock = minute.clone();
        let clock = Arc::new(move || clock.load(std::sync::atomic::Ordering::Relaxed));
        let limiter = Limiter::new("00:00,1k 00:01,off".parse().unwrap(), 1, clock);
        // Thirty years at the first rate.
        let transfer = tokio::spawn(async move { limiter.pass(1 << 40).await });
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(!transfer.is_finished());
        minute.store(1, std::sync::atomic::Ordering::Relaxed);
        transfer.await.unwrap();
    }
}
