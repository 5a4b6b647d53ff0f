//! Lock-out with back-off: who guesses waits, longer each time.
//!
//! Failures are counted by the name that was tried, whether there is such a user or not, and by the address that tried.
//! After a few that are free each failure doubles the wait before the next attempt is looked at. What was forgotten for an
//! hour is forgotten. The table is bounded: the entry whose wait is over first goes.

use std::collections::HashMap;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// Attempts on one name that cost nothing: people mistype.
const FREE_OF_USER: u32 = 5;
/// Attempts from one address that cost nothing: an office may stand behind one.
const FREE_OF_ADDRESS: u32 = 20;
/// The longest wait: who is locked out on purpose by somebody else gets in again within it.
const MOST_WAIT_S: u64 = 15 * 60;
/// After so long without a failure it never happened.
const FORGET_S: u64 = 60 * 60;
/// Entries in all: some hundred bytes each.
const MOST_ENTRIES: usize = 8192;

/// Whom failures are counted for. A name is kept as a hash, so that its length takes no memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A name, as it was typed.
    User([u8; 32]),
    /// An address; of IPv6 the 64 bits that a site has.
    Address([u8; 16]),
}

impl Subject {
    /// The name that was tried.
    #[must_use]
    pub fn user(name: &str) -> Self {
        Self::User(Sha256::digest(name.to_ascii_lowercase().as_bytes()).into())
    }

    /// Where the attempt came from.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        let IpAddr::V6(six) = address.to_canonical() else {
            let IpAddr::V4(four) = address.to_canonical() else { return Self::Address([0; 16]) };
            return Self::Address(four.to_ipv6_mapped().octets());
        };
        let site = u128::from_be_bytes(six.octets()) >> 64 << 64;
        Self::Address(site.to_be_bytes())
    }

    const fn free(&self) -> u32 {
        match self {
            Self::User(_) => FREE_OF_USER,
            Self::Address(_) => FREE_OF_ADDRESS,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last_s: u64,
    not_before_s: u64,
}

/// Failures of late.
#[derive(Debug, Default)]
pub struct Throttle {
    entries: HashMap<Subject, Entry>,
}

impl Throttle {
    /// How many seconds these have to wait; none: the attempt is looked at. It counts as failed until
    /// [`Throttle::succeeded`], so that attempts at the same time are not free.
    pub fn attempt(&mut self, subjects: &[Subject], now_s: u64) -> Result<(), u64> {
        let wait = subjects.iter().filter_map(|subject| self.entries.get(subject));
        let wait = wait.map(|entry| entry.not_before_s.saturating_sub(now_s)).max().unwrap_or(0);
        if wait > 0 {
            return Err(wait);
        }
        subjects.iter().for_each(|subject| self.count(subject, now_s));
        Ok(())
    }

    /// The secret was right: nothing is counted for these any more.
    pub fn succeeded(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            self.entries.remove(subject);
        }
    }

    fn count(&mut self, subject: &Subject, now_s: u64) {
        let known = self.entries.get(subject).filter(|entry| now_s < entry.last_s.saturating_add(FORGET_S));
        let failures = known.map_or(0, |entry| entry.failures).saturating_add(1);
        let not_before_s = now_s.saturating_add(wait_s(failures, subject.free()));
        if known.is_none() {
            self.make_room(now_s);
        }
        self.entries.insert(subject.clone(), Entry { failures, last_s: now_s, not_before_s });
    }

    fn make_room(&mut self, now_s: u64) {
        if self.entries.len() < MOST_ENTRIES {
            return;
        }
        self.entries.retain(|_, entry| now_s < entry.last_s.saturating_add(FORGET_S));
        while self.entries.len() >= MOST_ENTRIES {
            let first = self.entries.iter().min_by_key(|(_, entry)| (entry.not_before_s, entry.last_s));
            let Some(subject) = first.map(|(subject, _)| subject.clone()) else { return };
            self.entries.remove(&subject);
        }
    }
}

/// 1, 2, 4 .. seconds from the first failure on that is not free.
fn wait_s(failures: u32, free: u32) -> u64 {
    match failures.checked_sub(free) {
        None => 0,
        Some(beyond) => 1_u64.checked_shl(beyond).unwrap_or(MOST_WAIT_S).min(MOST_WAIT_S),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Subject {
        Subject::address(text.parse().unwrap())
    }

    #[test]
    fn five_attempts_on_a_name_are_free_and_then_the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let mut throttle = Throttle::default();
        let alice = [Subject::user("alice")];
        let mut now_s = 1000;
        for n in 0..5 {
            assert_eq!(throttle.attempt(&alice, now_s), Ok(()), "{n}");
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(throttle.attempt(&alice, now_s), Err(wait));
            assert_eq!(throttle.attempt(&alice, now_s + wait - 1), Err(1));
            now_s += wait;
            assert_eq!(throttle.attempt(&alice, now_s), Ok(()));
        }
        assert_eq!(throttle.attempt(&[Subject::user("bob")], now_s), Ok(()), "another name is free");
        assert_eq!(throttle.attempt(&[Subject::user("ALICE")], now_s), Err(900), "the same name");
    }

    #[test]
    fn many_names_from_one_address_are_held_up_as_well() {
        let mut throttle = Throttle::default();
        let from = |n: u32, text: &str| [Subject::user(&format!("user{n}")), address(text)];
        for n in 0..20 {
            assert_eq!(throttle.attempt(&from(n, "2001:db8::1"), 5), Ok(()), "{n}");
        }
        assert_eq!(throttle.attempt(&from(99, "2001:db8::ffff"), 5), Err(1), "the same site");
        assert_eq!(throttle.attempt(&from(99, "2001:db8:0:1::1"), 5), Ok(()), "another site");
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }

    #[test]
    fn a_right_password_or_an_hour_of_quiet_makes_attempts_free_again() {
        let mut throttle = Throttle::default();
        let alice = [Subject::user("alice")];
        (0..5).for_each(|_| assert_eq!(throttle.attempt(&alice, 0), Ok(())));
        assert_eq!(throttle.attempt(&alice, 0), Err(1));
        throttle.succeeded(&alice);
        (0..5).for_each(|_| assert_eq!(throttle.attempt(&alice, 0), Ok(())));
        assert_eq!(throttle.attempt(&alice, 0), Err(1));
        (0..5).for_each(|_| assert_eq!(throttle.attempt(&alice, 3600), Ok(())));
    }

    #[test]
    fn names_that_an_attacker_makes_up_do_not_fill_the_memory_and_do_not_wash_out_who_waits() {
        let mut throttle = Throttle::default();
        let alice = [Subject::user("alice")];
        (0..5).for_each(|_| assert_eq!(throttle.attempt(&alice, 0), Ok(())));
        for n in 0..10_000 {
            assert_eq!(throttle.attempt(&[Subject::user(&format!("made-up-{n}"))], 0), Ok(()));
        }
        assert_eq!(throttle.entries.len(), 8192);
        assert_eq!(throttle.attempt(&alice, 0), Err(1));
    }
}
