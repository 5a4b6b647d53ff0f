//! Senders: each tells one receiver of one notice, and gives up after [`TIME_LIMIT`]. They block; nobody but their own thread waits for them.

mod https;
mod mail;
mod syslog;
mod webhook;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use https::agent;
pub use mail::{Mail, MailTls};
pub use syslog::{Place, Syslog};
pub use webhook::Webhook;

/// The longest that a connection, or a silence on it, may last.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// After a failure: half a minute, doubled each time, an hour at most.
const FIRST_PAUSE_S: u64 = 30;
const LONGEST_PAUSE_S: u64 = 3600;
/// With these pauses about a day.
const MOST_ATTEMPTS: u32 = 30;

/// Why somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Something is wrong.
    Raised,
    /// It is not any more.
    Cleared,
    /// Nothing is wrong; somebody tries whether this arrives.
    Test,
}

impl Event {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cleared => "cleared",
            Self::Test => "test",
        }
    }
}

/// What a receiver is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Why.
    pub event: Event,
    /// Number of the alert; 0: a test.
    pub id: u64,
    /// Word of the rule.
    pub rule: String,
    /// `critical` or `warning`.
    pub severity: String,
    /// What it is about.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When, in seconds since 1970.
    pub at_s: u64,
}

impl Notice {
    /// One that says nothing but that it came.
    #[must_use]
    pub fn test(at_s: u64) -> Self {
        Self {
            event: Event::Test,
            id: 0,
            rule: "test".to_owned(),
            severity: "warning".to_owned(),
            subject: "vtl".to_owned(),
            message: "this is a test: nothing is wrong".to_owned(),
            remedy: String::new(),
            at_s,
        }
    }

    /// As a row keeps it.
    pub(crate) fn json(&self) -> String {
        // Plain texts and numbers: it can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// RFC 3339.
    pub(crate) fn time(&self) -> String {
        let second =
            i64::try_from(self.at_s).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
        second.unwrap_or_default().to_string()
    }
}

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name of the machine.
    pub host: String,
    /// Id of the installation.
    pub installation: String,
}

/// Why a receiver was not told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSent {
    /// In words.
    pub why: String,
    /// Another attempt with the same bytes will end in the same way.
    pub is_permanent: bool,
}

impl NotSent {
    pub(crate) fn may_pass(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), is_permanent: false }
    }

    pub(crate) fn for_good(why: impl fmt::Display) -> Self {
        Self { why: why.to_string(), is_permanent: true }
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// One way to tell somebody.
pub trait Sender: Send + Sync + fmt::Debug {
    /// The receiver's name in rows, metrics and messages.
    fn name(&self) -> &'static str;

    /// Tells it.
    ///
    /// # Errors
    /// It was not told, or nobody knows.
    fn send(&self, notice: &Notice) -> Result<(), NotSent>;
}

/// Seconds until the next attempt after so many that failed; none: it is given up.
#[must_use]
pub fn pause_s(failed: u32, error: &NotSent) -> Option<u64> {
    if error.is_permanent || failed >= MOST_ATTEMPTS {
        return None;
    }
    let doubled = FIRST_PAUSE_S.checked_shl(failed.saturating_sub(1)).unwrap_or(LONGEST_PAUSE_S);
    Some(doubled.min(LONGEST_PAUSE_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_end_after_a_day() {
        let passing = NotSent::may_pass("away");
        let pauses: Vec<_> = [1, 2, 3, 7, 8, 29, 30].map(|failed| pause_s(failed, &passing)).to_vec();
        assert_eq!(pauses, [Some(30), Some(60), Some(120), Some(1920), Some(3600), Some(3600), None]);
        assert_eq!(pause_s(1, &NotSent::for_good("no such address")), None);
    }

    #[test]
    fn a_notice_comes_back_from_its_row_as_it_was() {
        let notice = Notice { message: "a \"quoted\"\nline".to_owned(), ..Notice::test(1_774_224_000) };
        assert_eq!(Notice::from_json(&notice.json()), Some(notice.clone()));
        assert_eq!(notice.time(), "2026-03-23T00:00:00Z");
        assert_eq!(Notice::from_json("{}"), None);
    }
}
