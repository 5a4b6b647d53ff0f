//! Lock-out with back-off: who guesses a password waits, longer each time.
//!
//! Failures are counted three times: for a name at an address, for a name from anywhere, and for an address. The first keeps
//! one who guesses waiting, and nobody else; the others are slow, and spare a user where he has got in before: so who
//! guesses from elsewhere keeps nobody out. After a few that are free each failure doubles the wait before the next attempt
//! is looked at. What was forgotten for an hour is forgotten. Both tables are bounded: the entry whose wait is over first
//! goes, and the place where nobody has got in for longest.

use std::collections::HashMap;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// Up to when failures cost nothing, and how long one has to wait at most.
struct Limit {
    free: u32,
    most_wait_s: u64,
}

/// A name at one address: people mistype.
const PLACE: Limit = Limit { free: 5, most_wait_s: 15 * 60 };
/// A name from anywhere. It is for guesses from many addresses; a user at a new address waits no longer than this.
const USER: Limit = Limit { free: 100, most_wait_s: 60 };
/// An address: an office may stand behind one.
const ADDRESS: Limit = Limit { free: 20, most_wait_s: 15 * 60 };
/// After so long without a failure it never happened.
const FORGET_S: u64 = 60 * 60;
/// Entries in all: some hundred bytes each.
const MOST_ENTRIES: usize = 8192;
/// Places where users have got in.
const MOST_KNOWN: usize = 8192;

/// A name, as it was typed, and an address; as a hash, so that its length takes no memory.
type Place = [u8; 32];

/// Whom failures are counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    /// A name at an address.
    Place(Place),
    /// A name, whether there is such a user or not.
    User([u8; 32]),
    /// An address; of IPv6 the 64 bits that a site has.
    Address([u8; 16]),
}

impl Subject {
    const fn limit(&self) -> Limit {
        match self {
            Self::Place(_) => PLACE,
            Self::User(_) => USER,
            Self::Address(_) => ADDRESS,
        }
    }
}

/// Who tries, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    place: Place,
    user: [u8; 32],
    address: [u8; 16],
}

impl Attempt {
    /// On this name, as it was typed, from this address.
    #[must_use]
    pub fn new(name: &str, from: IpAddr) -> Self {
        let address = site(from);
        let user: [u8; 32] = Sha256::digest(name.to_ascii_lowercase().as_bytes()).into();
        let place = Sha256::new().chain_update(user).chain_update(address).finalize().into();
        Self { place, user, address }
    }
}

/// An attempt that is being looked at.
#[derive(Debug)]
#[must_use = "an attempt counts as failed until it is told that it succeeded"]
pub struct Trial {
    place: Place,
    /// Beside the place; nothing where the user has got in before.
    counted: Vec<Subject>,
}

fn site(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(four) => four.to_ipv6_mapped().octets(),
        IpAddr::V6(six) => (u128::from_be_bytes(six.octets()) >> 64 << 64).to_be_bytes(),
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
    /// Where users have got in, and when last.
    known: HashMap<Place, u64>,
}

impl Throttle {
    /// How many seconds this one has to wait; a trial: the attempt is looked at. It counts as failed until
    /// [`Throttle::succeeded`], so that attempts at the same time are not free.
    ///
    /// # Errors
    /// The seconds.
    pub fn attempt(&mut self, attempt: &Attempt, now_s: u64) -> Result<Trial, u64> {
        let place = Subject::Place(attempt.place);
        let counted = match self.known.contains_key(&attempt.place) {
            true => Vec::new(),
            false => vec![Subject::User(attempt.user), Subject::Address(attempt.address)],
        };
        let all = || counted.iter().chain([&place]);
        let wait = all().filter_map(|subject| self.entries.get(subject));
        let wait = wait.map(|entry| entry.not_before_s.saturating_sub(now_s)).max().unwrap_or(0);
        if wait > 0 {
            return Err(wait);
        }
        all().for_each(|subject| self.count(subject, now_s));
        Ok(Trial { place: attempt.place, counted })
    }

    /// The secret was right: nothing is counted for the name at this address any more. What others have failed from there, or
    /// with this name elsewhere, stays.
    pub fn succeeded(&mut self, trial: Trial, now_s: u64) {
        self.entries.remove(&Subject::Place(trial.place));
        for subject in trial.counted {
            if let Some(entry) = self.entries.get_mut(&subject) {
                (entry.failures, entry.not_before_s) = (entry.failures.saturating_sub(1), 0);
            }
        }
        if self.known.len() >= MOST_KNOWN && !self.known.contains_key(&trial.place) {
            let oldest = self.known.iter().min_by_key(|(_, last_s)| **last_s).map(|(place, _)| *place);
            oldest.map(|place| self.known.remove(&place));
        }
        self.known.insert(trial.place, now_s);
    }

    fn count(&mut self, subject: &Subject, now_s: u64) {
        let known = self.entries.get(subject).filter(|entry| now_s < entry.last_s.saturating_add(FORGET_S));
        let failures = known.map_or(0, |entry| entry.failures).saturating_add(1);
        let not_before_s = now_s.saturating_add(wait_s(failures, &subject.limit()));
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
fn wait_s(failures: u32, limit: &Limit) -> u64 {
    match failures.checked_sub(limit.free) {
        None => 0,
        Some(beyond) => 1_u64.checked_shl(beyond).unwrap_or(limit.most_wait_s).min(limit.most_wait_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "192.0.2.1";
    const ELSEWHERE: &str = "198.51.100.7";

    fn by(name: &str, from: &str) -> Attempt {
        Attempt::new(name, from.parse().unwrap())
    }

    /// The seconds to wait; 0: it was looked at, and failed.
    fn fails(throttle: &mut Throttle, name: &str, from: &str, now_s: u64) -> u64 {
        throttle.attempt(&by(name, from), now_s).map_or_else(|wait_s| wait_s, |_failed| 0)
    }

    fn gets_in(throttle: &mut Throttle, name: &str, from: &str, now_s: u64) {
        let trial = throttle.attempt(&by(name, from), now_s).unwrap();
        throttle.succeeded(trial, now_s);
    }

    #[test]
    fn five_attempts_on_a_name_at_an_address_are_free_and_then_the_wait_doubles_up_to_a_quarter_of_an_hour() {
        let mut throttle = Throttle::default();
        let mut now_s = 1000;
        for n in 0..5 {
            assert_eq!(fails(&mut throttle, "alice", HERE, now_s), 0, "{n}");
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(fails(&mut throttle, "alice", HERE, now_s), wait);
            assert_eq!(fails(&mut throttle, "alice", HERE, now_s + wait - 1), 1);
            now_s += wait;
            assert_eq!(fails(&mut throttle, "alice", HERE, now_s), 0);
        }
        assert_eq!(fails(&mut throttle, "ALICE", HERE, now_s), 900, "the same name");
        assert_eq!(fails(&mut throttle, "alice", ELSEWHERE, now_s), 0, "she herself, at another address");
    }

    #[test]
    fn who_guesses_at_one_address_for_days_keeps_nobody_out_at_another() {
        let mut throttle = Throttle::default();
        gets_in(&mut throttle, "alice", HERE, 0);
        for n in 0..1000 {
            fails(&mut throttle, "alice", ELSEWHERE, n * 900);
        }
        assert_eq!(fails(&mut throttle, "alice", HERE, 900_000), 0);
    }

    #[test]
    fn guesses_from_many_addresses_are_slow_and_spare_the_addresses_where_the_user_has_got_in() {
        let mut throttle = Throttle::default();
        gets_in(&mut throttle, "alice", HERE, 5);
        for n in 0..100 {
            assert_eq!(fails(&mut throttle, "alice", &format!("198.51.100.{n}"), 5), 0, "{n}");
        }
        assert_eq!(fails(&mut throttle, "alice", "203.0.113.1", 5), 1);
        assert_eq!(fails(&mut throttle, "alice", HERE, 5), 0, "she has got in here");
        for (n, now_s) in (0..20).map(|n| (n, 100 + n * 60)) {
            assert_eq!(
                fails(&mut throttle, "alice", &format!("203.0.113.{n}"), now_s),
                0,
                "a minute is enough"
            );
        }
        assert_eq!(fails(&mut throttle, "alice", "203.0.113.99", 100 + 19 * 60), 60);
    }

    #[test]
    fn many_names_from_one_address_are_held_up_and_a_user_who_has_got_in_there_is_not() {
        let mut throttle = Throttle::default();
        gets_in(&mut throttle, "alice", "2001:db8::7", 5);
        for n in 0..20 {
            assert_eq!(fails(&mut throttle, &format!("user{n}"), "2001:db8::1", 5), 0, "{n}");
        }
        assert_eq!(fails(&mut throttle, "user99", "2001:db8::ffff", 5), 1, "the same site");
        assert_eq!(fails(&mut throttle, "user99", "2001:db8:0:1::1", 5), 0, "another site");
        assert_eq!(fails(&mut throttle, "alice", "2001:db8::1", 5), 0);
        assert_eq!(by("a", "::ffff:192.0.2.1"), by("a", "192.0.2.1"));
        assert_ne!(by("a", "192.0.2.1"), by("a", "192.0.2.2"));
    }

    #[test]
    fn who_has_a_password_of_his_own_gets_no_more_guesses_at_others_by_logging_in_between() {
        let mut throttle = Throttle::default();
        for n in 0..20 {
            assert_eq!(fails(&mut throttle, &format!("user{n}"), HERE, 5), 0);
            if n < 19 {
                gets_in(&mut throttle, "mallory", HERE, 5);
            }
        }
        gets_in(&mut throttle, "mallory", HERE, 5);
        assert_eq!(fails(&mut throttle, "user99", HERE, 5), 1);
    }

    #[test]
    fn a_right_password_or_an_hour_of_quiet_makes_attempts_free_again() {
        let mut throttle = Throttle::default();
        (0..4).for_each(|_| assert_eq!(fails(&mut throttle, "alice", HERE, 0), 0));
        gets_in(&mut throttle, "alice", HERE, 0);
        (0..5).for_each(|_| assert_eq!(fails(&mut throttle, "alice", HERE, 0), 0));
        assert_eq!(fails(&mut throttle, "alice", HERE, 0), 1);
        (0..5).for_each(|_| assert_eq!(fails(&mut throttle, "alice", HERE, 3600), 0));
    }

    #[test]
    fn names_that_an_attacker_makes_up_do_not_fill_the_memory_and_do_not_wash_out_who_waits() {
        let mut throttle = Throttle::default();
        (0..5).for_each(|_| assert_eq!(fails(&mut throttle, "alice", HERE, 0), 0));
        for n in 0..10_000_u32 {
            let from = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
            assert_eq!(fails(&mut throttle, &format!("made-up-{n}"), &from, 0), 0);
        }
        assert_eq!(throttle.entries.len(), 8192);
        assert_eq!(fails(&mut throttle, "alice", HERE, 0), 1);
    }

    #[test]
    fn places_where_users_have_got_in_are_bounded_and_the_oldest_goes() {
        let mut throttle = Throttle::default();
        for n in 0..8193_u32 {
            gets_in(&mut throttle, "alice", &std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string(), n.into());
        }
        assert_eq!(throttle.known.len(), 8192);
        let knows = |throttle: &Throttle, from: &str| throttle.known.contains_key(&by("alice", from).place);
        assert!(!knows(&throttle, "10.0.0.0") && knows(&throttle, "10.0.0.1"));
    }
}
