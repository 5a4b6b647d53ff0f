//! How fast a job goes, of the last seconds, with a clock that is given.

use std::collections::VecDeque;
use std::time::Duration;

/// What is older does not count.
const WINDOW: Duration = Duration::from_secs(10);
/// One sample in this time at most, so that there are few.
const GRAIN: Duration = Duration::from_secs(1);

/// Bytes done over time.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    samples: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// So many bytes are done now. Fewer than before: it has begun anew.
    pub fn add(&mut self, now: Duration, done_bytes: u64) {
        if self.samples.back().is_some_and(|(_, before)| done_bytes < *before) {
            self.samples.clear();
        }
        if self.samples.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= GRAIN) {
            self.samples.push_back((now, done_bytes));
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Duration) {
        while self.samples.len() > 1
            && self.samples.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Bytes a second; none before there is anything to compare.
    #[must_use]
    pub fn rate(&self, now: Duration, done_bytes: u64) -> Option<u64> {
        let (at, before) = self.samples.front()?;
        let over_ms = now.saturating_sub(*at).as_millis();
        if over_ms < GRAIN.as_millis() {
            return None;
        }
        let bytes = u128::from(done_bytes.saturating_sub(*before));
        u64::try_from(bytes * 1000 / over_ms).ok()
    }

    /// Seconds until `left_bytes` are done at this rate; none when nothing moves.
    #[must_use]
    pub fn left_s(rate: Option<u64>, left_bytes: u64) -> Option<u64> {
        left_bytes.checked_div(rate?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate(SECOND, 0), None);
        for second in 0..100_u64 {
            let done = if second < 50 { second * 1000 } else { 50_000 + (second - 50) * 10 };
            meter.add(SECOND * u32::try_from(second).unwrap(), done);
        }
        assert_eq!(meter.rate(SECOND * 99, 50_000 + 490), Some(10));
        assert_eq!(Meter::left_s(Some(10), 95), Some(9));
        assert_eq!((Meter::left_s(Some(0), 95), Meter::left_s(None, 95)), (None, None));
    }

    #[test]
    fn many_calls_leave_few_samples_and_a_new_beginning_forgets_the_old() {
        let mut meter = Meter::default();
        for milli in 0..60_000 {
            meter.add(Duration::from_millis(milli), milli);
        }
        assert!(meter.samples.len() <= 12, "{}", meter.samples.len());
        meter.add(SECOND * 61, 5);
        assert_eq!(meter.samples.len(), 1);
    }
}
