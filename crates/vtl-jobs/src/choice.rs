//! Who starts next. It knows neither clock nor rows.

use std::cmp::Reverse;

use crate::state::State;
use crate::table::{JobId, Priority};

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// One job of this kind at a time.
    pub alone: bool,
    /// Who comes first.
    pub priority: Priority,
    /// [`State::Queued`], or [`State::Stopping`]: then only what is half done is to be taken back.
    pub state: State,
    /// Not before this time, in seconds since 1970.
    pub not_before_s: u64,
}

/// A job that has a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// Its kind.
    pub kind: String,
    /// Whether it counts: one that only takes back what is half done does not.
    pub counts: bool,
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// These start, in this order.
    pub start: Vec<JobId>,
    /// In so many seconds the pause of another one is over.
    pub look_in_s: Option<u64>,
}

/// Chooses. A pause that is further away than `longest_pause_s` was set by a clock that has been set back since, and is over.
#[must_use]
pub fn choose(
    waiting: &[Candidate],
    occupied: &[Occupied],
    max_running: usize,
    now_s: u64,
    longest_pause_s: u64,
) -> Choice {
    let mut choice = Choice::default();
    let mut busy: Vec<&str> = occupied.iter().filter(|one| one.counts).map(|one| one.kind.as_str()).collect();
    let mut order: Vec<&Candidate> = waiting.iter().collect();
    order.sort_by_key(|one| (one.state != State::Stopping, Reverse(one.priority), one.id));
    for one in order {
        if one.state == State::Stopping {
            choice.start.push(one.id);
            continue;
        }
        let left_s = one.not_before_s.saturating_sub(now_s);
        if left_s > 0 && left_s <= longest_pause_s {
            choice.look_in_s = Some(choice.look_in_s.map_or(left_s, |sooner| sooner.min(left_s)));
        } else if busy.len() < max_running && !(one.alone && busy.contains(&one.kind.as_str())) {
            busy.push(&one.kind);
            choice.start.push(one.id);
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(id: u64, kind: &str) -> Candidate {
        Candidate {
            id: JobId(id),
            kind: kind.to_owned(),
            alone: kind == "alone",
            priority: Priority::Normal,
            state: State::Queued,
            not_before_s: 0,
        }
    }

    fn running(kind: &str) -> Occupied {
        Occupied { kind: kind.to_owned(), counts: true }
    }

    fn ids(choice: &Choice) -> Vec<u64> {
        choice.start.iter().map(|id| id.0).collect()
    }

    #[test]
    fn jobs_start_in_the_order_in_which_they_came_and_no_more_than_may_run() {
        let all = [waiting(3, "a"), waiting(1, "a"), waiting(2, "b")];
        assert_eq!(ids(&choose(&all, &[], 2, 0, 60)), [1, 2]);
        assert_eq!(ids(&choose(&all, &[running("a")], 2, 0, 60)), [1]);
        assert_eq!(ids(&choose(&all, &[running("a"), running("b")], 2, 0, 60)), [] as [u64; 0]);
    }

    #[test]
    fn the_higher_priority_is_first() {
        let high = Candidate { priority: Priority::High, ..waiting(9, "a") };
        let low = Candidate { priority: Priority::Low, ..waiting(1, "a") };
        assert_eq!(ids(&choose(&[low, waiting(5, "a"), high], &[], 3, 0, 60)), [9, 5, 1]);
    }

    #[test]
    fn of_a_kind_that_is_alone_one_runs_and_others_pass_the_next() {
        let all = [waiting(1, "alone"), waiting(2, "alone"), waiting(3, "a")];
        assert_eq!(ids(&choose(&all, &[], 3, 0, 60)), [1, 3]);
        assert_eq!(ids(&choose(&all, &[running("alone")], 3, 0, 60)), [3]);
    }

    #[test]
    fn a_job_in_its_pause_holds_up_nobody_and_a_clock_set_back_does_not_hold_it() {
        let later = Candidate { not_before_s: 130, ..waiting(1, "a") };
        let all = [later.clone(), Candidate { not_before_s: 150, ..waiting(2, "a") }, waiting(3, "a")];
        let choice = choose(&all, &[], 1, 100, 60);
        assert_eq!((ids(&choice), choice.look_in_s), (vec![3], Some(30)));
        assert_eq!(ids(&choose(std::slice::from_ref(&later), &[], 1, 130, 60)), [1]);
        assert_eq!(ids(&choose(&[later], &[], 1, 3, 60)), [1], "the clock was set back by more than a pause");
    }

    #[test]
    fn what_was_cancelled_is_taken_back_at_once_and_takes_no_place() {
        let stopping = Candidate { state: State::Stopping, ..waiting(7, "a") };
        let all = [waiting(1, "a"), stopping];
        assert_eq!(ids(&choose(&all, &[], 1, 0, 60)), [7, 1]);
        let undoing = Occupied { kind: "alone".to_owned(), counts: false };
        assert_eq!(ids(&choose(&[waiting(1, "alone")], &[undoing], 1, 0, 60)), [1]);
    }
}
