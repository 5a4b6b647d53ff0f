//! Whether and when a job that failed is tried again.

/// What an engine says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Trying again does not help.
    Permanent,
    /// It may have gone by the next attempt.
    Temporary,
    /// It may have gone by the next attempt, and this one got further than the one before: it is not counted, so that a long job does not end because
    /// of many small troubles.
    Further,
    /// Something else has what the job needs. Nothing went wrong, so no attempt is counted.
    Busy,
}

/// What follows a failure of one class. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRule {
    /// So many in all; none: as many as it takes.
    pub attempts: Option<u32>,
    /// Before the second attempt; it doubles with each.
    pub pause_s: u64,
    /// And is never longer than this, chance apart.
    pub max_pause_s: u64,
}

/// The rules of all classes but the permanent one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryRules {
    /// Of [`Class::Temporary`].
    pub temporary: RetryRule,
    /// Of [`Class::Busy`].
    pub busy: RetryRule,
}

/// A pause is longer by up to this part of it, by chance: jobs that failed together do not come back together.
const JITTER_PART: u64 = 4;

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            temporary: RetryRule { attempts: Some(5), pause_s: 30, max_pause_s: 30 * 60 },
            busy: RetryRule { attempts: None, pause_s: 5, max_pause_s: 5 },
        }
    }
}

impl RetryRules {
    fn of(&self, class: Class) -> Option<RetryRule> {
        match class {
            Class::Permanent => None,
            Class::Temporary => Some(self.temporary),
            Class::Further => {
                Some(RetryRule { attempts: None, max_pause_s: self.temporary.pause_s, ..self.temporary })
            }
            Class::Busy => Some(self.busy),
        }
    }

    /// The pause after the attempt with this number (from 1) failed; none when there is no further one. `random`: any number.
    #[must_use]
    pub fn pause_s(&self, class: Class, attempt: u32, random: u64) -> Option<u64> {
        let rule = self.of(class)?;
        if rule.attempts.is_some_and(|most| attempt >= most) {
            return None;
        }
        let doubled = 1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
        let pause = rule.pause_s.saturating_mul(doubled).min(rule.max_pause_s);
        Some(pause.saturating_add(random % (pause / JITTER_PART + 1)))
    }

    /// No pause of any class is longer.
    #[must_use]
    pub fn longest_pause_s(&self) -> u64 {
        let most = self.temporary.max_pause_s.max(self.busy.max_pause_s);
        most.saturating_add(most / JITTER_PART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RetryRules = RetryRules {
        temporary: RetryRule { attempts: Some(5), pause_s: 30, max_pause_s: 200 },
        busy: RetryRule { attempts: None, pause_s: 5, max_pause_s: 5 },
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_attempts_end() {
        let pauses: Vec<_> = (1..=6).map(|attempt| RULES.pause_s(Class::Temporary, attempt, 0)).collect();
        assert_eq!(pauses, [Some(30), Some(60), Some(120), Some(200), None, None]);
        assert_eq!(RULES.pause_s(Class::Permanent, 1, 0), None);
        assert_eq!(RULES.pause_s(Class::Busy, u32::MAX, 0), Some(5));
        assert_eq!(
            RULES.pause_s(Class::Further, u32::MAX, 0),
            Some(30),
            "it got further: no attempt is counted"
        );
    }

    #[test]
    fn chance_makes_a_pause_longer_by_a_quarter_at_most_and_never_shorter() {
        for random in (0..1000).chain([u64::MAX]) {
            let pause = RULES.pause_s(Class::Temporary, 1, random).unwrap();
            assert!((30..=37).contains(&pause), "{pause}");
        }
        assert_eq!(RULES.pause_s(Class::Temporary, 1, 7), Some(37));
        assert_eq!(RULES.longest_pause_s(), 250);
    }

    #[test]
    fn no_number_of_attempts_is_too_large_for_the_arithmetic() {
        let many = RetryRules { temporary: RetryRule { attempts: None, ..RULES.temporary }, ..RULES };
        for attempt in [0, 1, 63, 64, 65, u32::MAX] {
            assert!(many.pause_s(Class::Temporary, attempt, 0).unwrap() <= 200);
        }
    }
}
