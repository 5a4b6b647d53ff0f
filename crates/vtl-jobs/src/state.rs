//! The states of a job, and every move between them.

use crate::error::JobError;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It waits for a place, or for the end of a pause between attempts.
    Queued,
    /// Its engine works.
    Running,
    /// Its engine is to come to a safe point, and is paused then.
    Pausing,
    /// It stands until somebody resumes or cancels it.
    Paused,
    /// It is cancelled: its engine comes to a safe point and takes back what is half done.
    Stopping,
    /// Done.
    Completed,
    /// Not to be done any more.
    Cancelled,
    /// It could not be done.
    Failed,
}

use State::{Cancelled, Completed, Failed, Paused, Pausing, Queued, Running, Stopping};

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [Queued, Running, Pausing, Paused, Stopping, Completed, Cancelled, Failed];

    /// The word in its row.
    #[must_use]
    pub const fn row_word(self) -> &'static str {
        match self {
            Queued => "queued",
            Running => "running",
            Pausing => "pausing",
            Paused => "paused",
            Stopping => "stopping",
            Completed => "completed",
            Cancelled => "cancelled",
            Failed => "failed",
        }
    }

    /// The word for everybody else.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Pausing => Stopping.row_word(),
            other => other.row_word(),
        }
    }

    /// Whether it never changes any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Completed | Cancelled | Failed)
    }

    pub(crate) fn from_row_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.row_word() == word)
    }
}

/// What happens to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A place is free.
    Start,
    /// Cancelled before anything of it was done.
    Drop,
    /// Cancelled.
    Cancel,
    /// Somebody wants it to stand.
    Pause,
    /// Somebody wants it to go on.
    Resume,
    /// The engine has done all of it.
    Done,
    /// The engine could not do it, and that is that.
    Fail,
    /// The engine could not do it now.
    Again,
    /// The engine is at a safe point.
    Stopped,
    /// What was half done is taken back.
    Undone,
    /// A start found it as the server left it.
    Lost,
}

use Event::{Again, Cancel, Done, Drop, Fail, Lost, Pause, Resume, Start, Stopped, Undone};

impl Event {
    /// All of them.
    pub const ALL: [Self; 11] =
        [Start, Drop, Cancel, Pause, Resume, Done, Fail, Again, Stopped, Undone, Lost];

    /// The word in the log of a job.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Start => "start",
            Drop | Cancel => "cancel",
            Pause => "pause",
            Resume => "resume",
            Done => "done",
            Fail => "fail",
            Again => "again",
            Stopped => "stopped",
            Undone => "undone",
            Lost => "lost",
        }
    }
}

/// Every move that there is; `docs/jobs.md` says when each comes.
pub const TRANSITIONS: &[(State, Event, State)] = &[
    (Queued, Start, Running),
    (Queued, Drop, Cancelled),
    (Paused, Drop, Cancelled),
    (Queued, Cancel, Stopping),
    (Paused, Cancel, Stopping),
    (Running, Cancel, Stopping),
    (Pausing, Cancel, Stopping),
    (Queued, Pause, Paused),
    (Running, Pause, Pausing),
    (Paused, Resume, Queued),
    (Pausing, Resume, Running),
    (Running, Done, Completed),
    (Pausing, Done, Completed),
    (Stopping, Done, Completed),
    (Running, Fail, Failed),
    (Pausing, Fail, Failed),
    (Stopping, Fail, Stopping),
    (Running, Again, Queued),
    (Pausing, Again, Paused),
    (Stopping, Again, Stopping),
    (Running, Stopped, Queued),
    (Pausing, Stopped, Paused),
    (Stopping, Stopped, Stopping),
    (Stopping, Undone, Cancelled),
    (Running, Lost, Queued),
    (Pausing, Lost, Paused),
    (Stopping, Lost, Stopping),
];

/// Where `event` leads from `state`.
///
/// # Errors
/// [`JobError::NoSuchMove`]: the table has no such row.
pub fn next(state: State, event: Event) -> Result<State, JobError> {
    let found = TRANSITIONS.iter().find(|(from, on, _)| (*from, *on) == (state, event));
    found.map(|(.., to)| *to).ok_or(JobError::NoSuchMove { state, event })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_finished_job_never_moves_again() {
        assert!(TRANSITIONS.iter().all(|(from, ..)| !from.is_terminal()));
    }

    #[test]
    fn an_event_leads_to_one_state_only_and_each_state_has_a_way_to_an_end() {
        let pairs: HashSet<_> = TRANSITIONS.iter().map(|(from, event, _)| (from, event)).collect();
        assert_eq!(pairs.len(), TRANSITIONS.len());
        for start in State::ALL {
            let mut reached = HashSet::from([start]);
            for _ in State::ALL {
                let more: Vec<_> = TRANSITIONS
                    .iter()
                    .filter(|(from, ..)| reached.contains(from))
                    .map(|(.., to)| *to)
                    .collect();
                reached.extend(more);
            }
            assert!(reached.iter().any(|state| state.is_terminal()), "{start:?}");
        }
    }

    #[test]
    fn a_crash_in_any_state_leaves_the_job_where_a_start_or_an_operator_takes_it_up() {
        for state in State::ALL {
            let after = next(state, Lost).unwrap_or(state);
            assert!(
                after.is_terminal() || [Queued, Paused, Stopping].contains(&after),
                "{state:?} becomes {after:?}"
            );
        }
    }

    #[test]
    fn words_of_rows_are_read_back_and_others_know_seven_states() {
        for state in State::ALL {
            assert_eq!(State::from_row_word(state.row_word()), Some(state));
        }
        assert_eq!(State::from_row_word("asleep"), None);
        assert_eq!(State::ALL.map(State::word).into_iter().collect::<HashSet<_>>().len(), 7);
    }
}
