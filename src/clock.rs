//! One monotonic clock for everything that takes time as an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Nanoseconds since the program's first look at the clock.
pub fn now_ns() -> u64 {
    u64::try_from(start().elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Now, as the protocol wants it.
pub fn now_iscsi() -> vtl_iscsi::Instant {
    vtl_iscsi::Instant::from_nanos(now_ns())
}

/// The moment that `ns` nanoseconds of [`now_ns`] name, for timers.
pub fn at(ns: u64) -> Instant {
    start() + Duration::from_nanos(ns)
}

/// Wall time in seconds since 1970, for what people read.
pub fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A wall time as RFC 3339, UTC, whole seconds.
pub fn rfc3339(unix_seconds: u64) -> String {
    i64::try_from(unix_seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| "unknown".to_owned(), |t| t.to_string())
}

/// The minute of the day, in the time zone of this machine.
pub fn minute_of_day() -> u16 {
    let now = jiff::Zoned::now();
    let minute = i32::from(now.hour()) * 60 + i32::from(now.minute());
    u16::try_from(minute).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_print_as_rfc_3339() {
        assert_eq!(rfc3339(1_774_224_000), "2026-03-23T00:00:00Z");
    }

    #[test]
    fn the_clock_does_not_run_backwards() {
        let first = now_ns();
        assert!(now_ns() >= first);
        assert!(at(first) <= Instant::now());
    }
}
