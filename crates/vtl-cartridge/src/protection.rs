//! What keeps a cartridge's content from being altered or removed: retention until a time, and hold.
//!
//! There is no clock here. Whoever asks brings [`Now`]: what the machine's clock says, which can be set, and a count of seconds, which cannot.
//! Retention is over when both have passed; the rule and its reasons are in `docs/semantics.md`.

use crate::error::CartridgeError;

/// Nobody can mean a longer retention: a slip in the year would keep a cartridge for ever.
const LONGEST_RETENTION_S: u64 = 100 * 365 * 24 * 60 * 60 + 25 * 24 * 60 * 60;

/// A moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Seconds since 1970 UTC, as the machine's clock has them.
    pub wall_s: u64,
    /// Seconds that this installation has counted; never less than before.
    pub counted_s: u64,
}

/// Kept until a time. It is only ever made longer, and goes when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The time that was named, in seconds since 1970 UTC; not 0.
    pub until_s: u64,
    /// What the count must have reached as well.
    pub release_at_s: u64,
    /// The count when this was set: it was not lower then, whatever is believed now.
    pub noted_at_s: u64,
}

impl Retention {
    /// Whether both times have passed.
    #[must_use]
    pub const fn is_over(&self, now: Now) -> bool {
        now.wall_s >= self.until_s && now.counted_s >= self.release_at_s
    }

    /// When it is over at the earliest if the clock is right from now on, in seconds since 1970 UTC.
    #[must_use]
    pub fn ends_s(&self, now: Now) -> u64 {
        let left = self.release_at_s.saturating_sub(now.counted_s);
        self.until_s.max(now.wall_s.saturating_add(left))
    }
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Kept until an administrator lifts it.
    pub hold: bool,
    /// Kept until a time.
    pub retention: Option<Retention>,
}

impl Protection {
    /// Whether content stays and takes more at its end only.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.hold || self.retention.is_some()
    }

    /// With retention until `until_s` at least.
    pub(crate) fn retained(self, until_s: u64, now: Now) -> Result<Self, CartridgeError> {
        let left = until_s.saturating_sub(now.wall_s);
        if left == 0 || left > LONGEST_RETENTION_S {
            return Err(CartridgeError::RetentionTime { asked_s: until_s, now_s: now.wall_s });
        }
        let old = self.retention;
        if let Some(old) = old.filter(|old| until_s < old.until_s) {
            return Err(CartridgeError::RetentionShortened { until_s: old.until_s, asked_s: until_s });
        }
        let release = now.counted_s.saturating_add(left);
        let retention = Retention {
            until_s,
            release_at_s: old.map_or(release, |old| old.release_at_s.max(release)),
            noted_at_s: now.counted_s,
        };
        Ok(Self { retention: Some(retention), ..self })
    }

    /// With the hold on, or off; off only when no retention runs.
    pub(crate) fn held(self, on: bool) -> Result<Self, CartridgeError> {
        match self.retention {
            Some(retention) if self.hold && !on => {
                Err(CartridgeError::HoldUnderRetention { until_s: retention.until_s })
            }
            _ => Ok(Self { hold: on, ..self }),
        }
    }

    /// Without a retention that is over.
    #[must_use]
    pub fn at(self, now: Now) -> Self {
        Self { retention: self.retention.filter(|retention| !retention.is_over(now)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    const fn now(wall_s: u64, counted_s: u64) -> Now {
        Now { wall_s, counted_s }
    }

    /// Set at day 100 of the clock and second 7 of the count, for ten days.
    fn ten_days() -> Protection {
        Protection::default().retained(110 * DAY, now(100 * DAY, 7)).unwrap()
    }

    #[test]
    fn retention_is_over_when_the_clock_and_the_count_have_both_passed() {
        for (wall, counted, is_on) in [
            (100 * DAY, 7, true),
            (5000 * DAY, 7 + 10 * DAY - 1, true),
            (110 * DAY - 1, 5000 * DAY, true),
            (0, 5000 * DAY, true),
            (110 * DAY, 7 + 10 * DAY, false),
        ] {
            assert_eq!(ten_days().at(now(wall, counted)).is_on(), is_on, "clock {wall}, count {counted}");
        }
    }

    #[test]
    fn retention_is_made_longer_and_never_shorter() {
        let shorter = ten_days().retained(110 * DAY - 1, now(101 * DAY, DAY));
        assert!(matches!(shorter, Err(CartridgeError::RetentionShortened { .. })), "{shorter:?}");
        let longer = ten_days().retained(120 * DAY, now(101 * DAY, 7 + DAY)).unwrap().retention.unwrap();
        assert_eq!((longer.until_s, longer.release_at_s), (120 * DAY, 7 + 20 * DAY));
    }

    #[test]
    fn a_longer_time_named_while_the_clock_is_set_forward_takes_no_second_away() {
        let forward = now(120 * DAY, 7 + DAY);
        let longer = ten_days().retained(120 * DAY + 1, forward).unwrap().retention.unwrap();
        assert_eq!(longer.release_at_s, 7 + 10 * DAY);
        assert!(!longer.is_over(now(500 * DAY, 7 + 10 * DAY - 1)));
    }

    #[test]
    fn a_time_that_is_past_or_beyond_a_century_is_no_retention() {
        for until in [0, 99 * DAY, 100 * DAY, 100 * DAY + 36_526 * DAY] {
            let refused = Protection::default().retained(until, now(100 * DAY, 0));
            assert!(matches!(refused, Err(CartridgeError::RetentionTime { .. })), "{until}");
        }
        assert!(Protection::default().retained(100 * DAY + 36_525 * DAY, now(100 * DAY, 0)).is_ok());
    }

    #[test]
    fn a_hold_is_lifted_when_no_retention_runs() {
        let held = ten_days().held(true).unwrap();
        assert!(matches!(held.held(false), Err(CartridgeError::HoldUnderRetention { .. })));
        let later = held.at(now(110 * DAY, 7 + 10 * DAY));
        assert_eq!((later.is_on(), later.held(false).unwrap().is_on()), (true, false));
    }

    #[test]
    fn the_end_is_told_by_what_comes_later() {
        let retention = ten_days().retention.unwrap();
        assert_eq!(retention.ends_s(now(101 * DAY, 7 + DAY)), 110 * DAY);
        assert_eq!(retention.ends_s(now(200 * DAY, 7 + DAY)), 209 * DAY, "the count decides");
        assert_eq!(retention.ends_s(now(0, 7 + 9 * DAY)), 110 * DAY, "the clock decides");
    }
}
