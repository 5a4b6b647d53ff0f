//! Alerts and what is still to be told, as rows. Every function is a part of somebody's transaction. `docs/formats/inventory.md` describes the tables.

use std::fmt;
use std::str::FromStr;

use vtl_meta::{MetaError, Migration, Module, Row, Table, Tx, Value};

use crate::rule::{Change, Finding, Rule};
use crate::send::{Event, Notice};

/// What this crate keeps in the inventory file.
pub const MODULE: Module = Module {
    name: "alerts",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }],
    tables: &[&ALERTS, &OUTBOX, &NUMBERS],
};

static ALERTS: Table = Table {
    name: "alerts",
    columns: &[
        "id",
        "rule",
        "subject",
        "state",
        "message",
        "remedy",
        "raised_s",
        "acknowledged_s",
        "cleared_s",
    ],
    key_len: 1,
};

static OUTBOX: Table =
    Table { name: "alert_outbox", columns: &["id", "receiver", "notice", "attempts", "due_s"], key_len: 1 };

static NUMBERS: Table = Table { name: "alert_numbers", columns: &["what", "next"], key_len: 1 };

const MIGRATION_1: &str = "
    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY CHECK (id >= 1),
        rule TEXT NOT NULL,
        subject TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('raised', 'acknowledged', 'cleared')),
        message TEXT NOT NULL,
        remedy TEXT NOT NULL,
        raised_s INTEGER NOT NULL,
        acknowledged_s INTEGER,
        cleared_s INTEGER,
        row_sum BLOB NOT NULL,
        CHECK ((cleared_s IS NOT NULL) = (state = 'cleared'))
    ) STRICT;

    CREATE INDEX alerts_by_state ON alerts (state);

    CREATE TABLE alert_outbox (
        id INTEGER PRIMARY KEY CHECK (id >= 1),
        receiver TEXT NOT NULL,
        notice TEXT NOT NULL,
        attempts INTEGER NOT NULL CHECK (attempts >= 0),
        due_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT;

    CREATE INDEX alert_outbox_by_receiver ON alert_outbox (receiver, due_s);

    CREATE TABLE alert_numbers (
        what TEXT PRIMARY KEY NOT NULL CHECK (what IN ('alert', 'outgoing')),
        next INTEGER NOT NULL CHECK (next >= 1),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// So many notices wait for one receiver; then the oldest go.
const MOST_WAITING: u64 = 1000;
/// So long a cleared alert stays in the list.
const KEEP_S: u64 = 90 * 24 * 60 * 60;
/// So many notices are taken at once.
const AT_ONCE: usize = 16;

/// An alert's number: counts up for ever, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertId(pub u64);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for AlertId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number >= 1 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(format!("'{text}' is no number of an alert")),
        }
    }
}

/// Where an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody has said that they know.
    Raised,
    /// Somebody has.
    Acknowledged,
    /// It is over.
    Cleared,
}

impl State {
    const ALL: [Self; 3] = [Self::Raised, Self::Acknowledged, Self::Cleared];

    /// The word in its row and for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Acknowledged => "acknowledged",
            Self::Cleared => "cleared",
        }
    }
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its number.
    pub id: AlertId,
    /// By which rule.
    pub rule: Rule,
    /// What it is about.
    pub subject: String,
    /// Where it is.
    pub state: State,
    /// What is wrong, as last seen.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When it was raised, in seconds since 1970.
    pub raised_s: u64,
    /// When somebody said that they know.
    pub acknowledged_s: Option<u64>,
    /// When it was over.
    pub cleared_s: Option<u64>,
}

impl Alert {
    pub(crate) fn is_about(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && self.subject == finding.subject
    }

    fn values(&self) -> [Value; 9] {
        [
            int(self.id.0),
            text(self.rule.word()),
            text(&self.subject),
            text(self.state.word()),
            text(&self.message),
            text(&self.remedy),
            int(self.raised_s),
            self.acknowledged_s.map_or(Value::Null, int),
            self.cleared_s.map_or(Value::Null, int),
        ]
    }

    fn of(row: &Row) -> Result<Self, MetaError> {
        let (rule, state): (String, String) = (row.get("rule")?, row.get("state")?);
        Ok(Self {
            id: AlertId(number(row, "id")?),
            rule: Rule::from_word(&rule).ok_or_else(|| row.damaged())?,
            subject: row.get("subject")?,
            state: State::ALL.into_iter().find(|known| known.word() == state).ok_or_else(|| row.damaged())?,
            message: row.get("message")?,
            remedy: row.get("remedy")?,
            raised_s: number(row, "raised_s")?,
            acknowledged_s: perhaps(row, "acknowledged_s")?,
            cleared_s: perhaps(row, "cleared_s")?,
        })
    }

    fn notice(&self, event: Event, at_s: u64) -> Notice {
        Notice {
            event,
            id: self.id.0,
            rule: self.rule.word().to_owned(),
            severity: self.rule.severity().word().to_owned(),
            subject: self.subject.clone(),
            message: self.message.clone(),
            remedy: self.remedy.clone(),
            at_s,
        }
    }
}

/// Something that a receiver is still to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgoing {
    /// Names it until it is sent.
    pub id: u64,
    /// What is told.
    pub notice: Notice,
    /// Attempts that have failed.
    pub attempts: u32,
}

/// All alerts, those that are over too, in the order in which they came.
///
/// # Errors
/// The file fails.
pub fn all(tx: &Tx<'_>) -> Result<Vec<Alert>, MetaError> {
    tx.all(&ALERTS)?.iter().map(Alert::of).collect()
}

/// Those that are not over.
///
/// # Errors
/// The file fails.
pub fn open(tx: &Tx<'_>) -> Result<Vec<Alert>, MetaError> {
    tx.find(&ALERTS, "state IN ('raised', 'acknowledged')", &[])?.iter().map(Alert::of).collect()
}

/// Writes what a look has led to, and what `receivers` are to be told of it. Old alerts go.
///
/// # Errors
/// The file fails.
pub fn apply(
    tx: &mut Tx<'_>,
    changes: &[Change],
    receivers: &[&str],
    now_s: u64,
) -> Result<Vec<Alert>, MetaError> {
    let mut changed = Vec::new();
    for change in changes {
        let (alert, event) = match change {
            Change::Raise(finding) => (raise(tx, finding, now_s)?, Some(Event::Raised)),
            Change::Reword(id, message) => (reword(tx, *id, message)?, None),
            Change::Clear(id) => (clear(tx, *id, now_s)?, Some(Event::Cleared)),
        };
        if let Some(event) = event {
            let notice = alert.notice(event, now_s);
            receivers.iter().try_for_each(|receiver| tell(tx, receiver, &notice, now_s))?;
            changed.push(alert);
        }
    }
    for old in tx.find(&ALERTS, "cleared_s < ?1", &[int(now_s.saturating_sub(KEEP_S))])? {
        tx.delete(&ALERTS, &[int(number(&old, "id")?)])?;
    }
    Ok(changed)
}

fn raise(tx: &mut Tx<'_>, finding: &Finding, now_s: u64) -> Result<Alert, MetaError> {
    let alert = Alert {
        id: AlertId(next_number(tx, "alert")?),
        rule: finding.rule,
        subject: finding.subject.clone(),
        state: State::Raised,
        message: finding.message.clone(),
        remedy: finding.remedy.clone(),
        raised_s: now_s,
        acknowledged_s: None,
        cleared_s: None,
    };
    tx.insert(&ALERTS, &alert.values())?;
    Ok(alert)
}

fn reword(tx: &mut Tx<'_>, id: AlertId, message: &str) -> Result<Alert, MetaError> {
    change(tx, id, |alert| message.clone_into(&mut alert.message))
}

fn clear(tx: &mut Tx<'_>, id: AlertId, now_s: u64) -> Result<Alert, MetaError> {
    change(tx, id, |alert| (alert.state, alert.cleared_s) = (State::Cleared, Some(now_s)))
}

/// Somebody knows of it. `None`: there is none of this number. One that is over stays so.
///
/// # Errors
/// The file fails.
pub fn acknowledge(tx: &mut Tx<'_>, id: AlertId, now_s: u64) -> Result<Option<Alert>, MetaError> {
    match tx.get(&ALERTS, &[int(id.0)])?.as_ref().map(Alert::of).transpose()? {
        Some(alert) if alert.state == State::Raised => {
            let known =
                |alert: &mut Alert| (alert.state, alert.acknowledged_s) = (State::Acknowledged, Some(now_s));
            change(tx, id, known).map(Some)
        }
        other => Ok(other),
    }
}

fn change(tx: &mut Tx<'_>, id: AlertId, how: impl FnOnce(&mut Alert)) -> Result<Alert, MetaError> {
    let row = tx.get(&ALERTS, &[int(id.0)])?;
    let mut alert = row.as_ref().map(Alert::of).transpose()?.ok_or_else(|| MetaError::Absent(absent(id)))?;
    how(&mut alert);
    tx.update(&ALERTS, &alert.values())?;
    Ok(alert)
}

fn absent(id: AlertId) -> vtl_meta::RowName {
    vtl_meta::RowName { table: ALERTS.name, key: format!("id={id}") }
}

fn tell(tx: &mut Tx<'_>, receiver: &str, notice: &Notice, now_s: u64) -> Result<(), MetaError> {
    let its = [text(receiver)];
    if tx.count(&OUTBOX, "receiver = ?1", &its)? >= MOST_WAITING {
        let oldest = tx.find(&OUTBOX, "id = (SELECT min(id) FROM alert_outbox WHERE receiver = ?1)", &its)?;
        for row in oldest {
            tx.delete(&OUTBOX, &[int(number(&row, "id")?)])?;
        }
    }
    let id = next_number(tx, "outgoing")?;
    tx.insert(&OUTBOX, &[int(id), text(receiver), text(&notice.json()), int(0), int(now_s)])
}

/// The first notices that a receiver is to be told now.
///
/// # Errors
/// The file fails.
pub fn due(tx: &Tx<'_>, receiver: &str, now_s: u64) -> Result<Vec<Outgoing>, MetaError> {
    let rows = tx.find(&OUTBOX, "receiver = ?1 AND due_s <= ?2", &[text(receiver), int(now_s)])?;
    let outgoing = |row: &Row| {
        let notice: String = row.get("notice")?;
        let attempts = u32::try_from(number(row, "attempts")?).map_err(|_| row.damaged())?;
        let notice = Notice::from_json(&notice).ok_or_else(|| row.damaged())?;
        Ok(Outgoing { id: number(row, "id")?, notice, attempts })
    };
    rows.iter().take(AT_ONCE).map(outgoing).collect()
}

/// When the next notice of a receiver is due.
///
/// # Errors
/// The file fails.
pub fn next_due(tx: &Tx<'_>, receiver: &str) -> Result<Option<u64>, MetaError> {
    let first = "id = (SELECT id FROM alert_outbox WHERE receiver = ?1 ORDER BY due_s LIMIT 1)";
    tx.find(&OUTBOX, first, &[text(receiver)])?.first().map(|row| number(row, "due_s")).transpose()
}

/// It was told, or never will be.
///
/// # Errors
/// The file fails.
pub fn sent(tx: &mut Tx<'_>, id: u64) -> Result<(), MetaError> {
    tx.delete(&OUTBOX, &[int(id)]).map(drop)
}

/// An attempt has failed; the next one is due then.
///
/// # Errors
/// The file fails.
pub fn postpone(tx: &mut Tx<'_>, receiver: &str, outgoing: &Outgoing, due_s: u64) -> Result<(), MetaError> {
    let attempts = u64::from(outgoing.attempts) + 1;
    let row = [int(outgoing.id), text(receiver), text(&outgoing.notice.json()), int(attempts), int(due_s)];
    match tx.update(&OUTBOX, &row) {
        // It has gone for newer ones.
        Err(MetaError::Absent(_)) => Ok(()),
        outcome => outcome,
    }
}

fn next_number(tx: &mut Tx<'_>, what: &str) -> Result<u64, MetaError> {
    let Some(row) = tx.get(&NUMBERS, &[text(what)])? else {
        tx.insert(&NUMBERS, &[text(what), int(2)])?;
        return Ok(1);
    };
    let next = number(&row, "next")?;
    tx.update(&NUMBERS, &[text(what), int(next.saturating_add(1))])?;
    Ok(next)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn number(row: &Row, column: &str) -> Result<u64, MetaError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged())
}

fn perhaps(row: &Row, column: &str) -> Result<Option<u64>, MetaError> {
    let found: Option<i64> = row.get(column)?;
    found.map(|number| u64::try_from(number).map_err(|_| row.damaged())).transpose()
}

#[cfg(test)]
mod tests {
    use vtl_meta::Meta;

    use super::*;
    use crate::rule::Reading;

    static MODULES: [Module; 1] = [MODULE];

    fn finding(subject: &str) -> Finding {
        Finding {
            rule: Rule::Space,
            subject: subject.to_owned(),
            reading: Reading::Bad,
            message: "92 % are used".to_owned(),
            remedy: "remove cartridges".to_owned(),
        }
    }

    fn desk() -> (tempfile::TempDir, Meta) {
        let folder = tempfile::tempdir().unwrap();
        let meta = Meta::open(&folder.path().join("inventory.db"), &MODULES).unwrap();
        (folder, meta)
    }

    fn change<T>(meta: &mut Meta, work: impl FnOnce(&mut Tx<'_>) -> Result<T, MetaError>) -> T {
        meta.transaction(work).unwrap()
    }

    #[test]
    fn an_alert_goes_from_raised_over_acknowledged_to_cleared_and_keeps_its_number() {
        let (_folder, mut meta) = desk();
        let raised = change(&mut meta, |tx| apply(tx, &[Change::Raise(finding("store"))], &[], 100));
        assert_eq!((raised[0].id, raised[0].state, raised[0].raised_s), (AlertId(1), State::Raised, 100));
        let known = change(&mut meta, |tx| acknowledge(tx, AlertId(1), 110)).unwrap();
        assert_eq!((known.state, known.acknowledged_s), (State::Acknowledged, Some(110)));
        let again = change(&mut meta, |tx| acknowledge(tx, AlertId(1), 120)).unwrap();
        assert_eq!(again.acknowledged_s, Some(110), "the first one counts");
        assert_eq!(change(&mut meta, |tx| open(tx)).len(), 1);
        change(&mut meta, |tx| apply(tx, &[Change::Clear(AlertId(1))], &[], 130));
        assert_eq!(change(&mut meta, |tx| open(tx)), []);
        let over = change(&mut meta, |tx| acknowledge(tx, AlertId(1), 140)).unwrap();
        assert_eq!((over.state, over.cleared_s), (State::Cleared, Some(130)));
        assert_eq!(change(&mut meta, |tx| acknowledge(tx, AlertId(9), 140)), None);
        let next = change(&mut meta, |tx| apply(tx, &[Change::Raise(finding("store"))], &[], 150));
        assert_eq!(next[0].id, AlertId(2));
    }

    #[test]
    fn each_receiver_is_told_of_a_raise_and_of_its_end_until_it_was_sent() {
        let (_folder, mut meta) = desk();
        let both = ["email", "webhook"];
        change(&mut meta, |tx| apply(tx, &[Change::Raise(finding("store"))], &both, 100));
        let reword = [Change::Reword(AlertId(1), "95 % are used".to_owned())];
        change(&mut meta, |tx| apply(tx, &reword, &both, 105));
        let first = change(&mut meta, |tx| due(tx, "email", 105));
        assert_eq!((first.len(), first[0].notice.event, first[0].notice.at_s), (1, Event::Raised, 100));
        change(&mut meta, |tx| postpone(tx, "email", &first[0], 200));
        assert_eq!(change(&mut meta, |tx| due(tx, "email", 199)), []);
        assert_eq!(change(&mut meta, |tx| next_due(tx, "email")), Some(200));
        assert_eq!(change(&mut meta, |tx| due(tx, "email", 200))[0].attempts, 1);
        change(&mut meta, |tx| sent(tx, first[0].id));
        assert_eq!(change(&mut meta, |tx| next_due(tx, "email")), None);
        change(&mut meta, |tx| apply(tx, &[Change::Clear(AlertId(1))], &both, 300));
        let told: Vec<Event> =
            change(&mut meta, |tx| due(tx, "webhook", 300)).iter().map(|one| one.notice.event).collect();
        assert_eq!(told, [Event::Raised, Event::Cleared]);
    }

    #[test]
    fn a_receiver_that_is_away_for_long_keeps_the_newest_thousand() {
        let (_folder, mut meta) = desk();
        let raises: Vec<Change> = (0..1003).map(|n| Change::Raise(finding(&format!("pool {n}")))).collect();
        change(&mut meta, |tx| apply(tx, &raises, &["syslog"], 1));
        let first = change(&mut meta, |tx| due(tx, "syslog", 1));
        assert_eq!((first.len(), first[0].notice.subject.as_str()), (16, "pool 3"));
        assert_eq!(change(&mut meta, |tx| tx.count(&OUTBOX, "TRUE", &[])), 1000);
    }

    #[test]
    fn an_alert_that_is_long_over_leaves_the_list() {
        let (_folder, mut meta) = desk();
        change(&mut meta, |tx| apply(tx, &[Change::Raise(finding("store"))], &[], 1));
        change(&mut meta, |tx| apply(tx, &[Change::Clear(AlertId(1))], &[], 2));
        change(&mut meta, |tx| apply(tx, &[], &[], 7_776_002));
        assert_eq!(change(&mut meta, |tx| all(tx)).len(), 1);
        change(&mut meta, |tx| apply(tx, &[], &[], 7_776_003));
        assert_eq!(change(&mut meta, |tx| all(tx)), []);
    }
}
