//! Jobs as rows. Every function is a part of somebody's transaction.

use std::fmt;
use std::str::FromStr;

use vtl_meta::{MetaError, Row, Tx, Value};

use crate::error::JobError;
use crate::schema::{EVENTS, JOBS, KEYS, NUMBERS, TASKS};
use crate::state::{Event, State, next};

/// So many jobs may wait.
const MAX_WAITING: u64 = 10_000;
/// So many events of a job are kept, the last ones.
const MAX_EVENTS: u64 = 100;
/// Old rows that go in one transaction.
const PRUNED_AT_ONCE: usize = 1000;

/// A job's number: counts up for ever, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number >= 1 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Self(number)),
            _ => Err(format!("'{text}' is no number of a job")),
        }
    }
}

/// Who comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// After all others.
    Low,
    /// What most have.
    #[default]
    Normal,
    /// Before all others.
    High,
}

impl Priority {
    const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The word for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// A job that somebody wants.
#[derive(Clone, Debug, Default)]
pub struct NewJob {
    /// Made from the event that wants it; the same key again is the same job.
    pub key: String,
    /// Which engine does it.
    pub kind: String,
    /// What it is about, such as a cartridge.
    pub label: Option<String>,
    /// For the engine alone.
    pub request: String,
    /// Who comes first.
    pub priority: Priority,
    /// Where another job came to that this one takes over from.
    pub checkpoint: Vec<u8>,
    /// What has led to it, word and more: the first lines of its log.
    pub before: Vec<(&'static str, String)>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The job.
    pub id: JobId,
    /// False: there was one of this key before.
    pub made: bool,
}

/// What went wrong last, in the words of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// A word that programs can test.
    pub code: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Which engine does it.
    pub kind: String,
    /// What it is about.
    pub label: Option<String>,
    /// For the engine alone.
    pub request: String,
    /// Who comes first.
    pub priority: Priority,
    /// Where it is.
    pub state: State,
    /// Attempts that have begun.
    pub attempts: u32,
    /// The next start goes on with the last attempt.
    pub in_attempt: bool,
    /// It does not start before, in seconds since 1970.
    pub not_before_s: u64,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
    /// Where the engine goes on.
    pub checkpoint: Vec<u8>,
    /// What the engine says of what it did.
    pub result: Option<String>,
    /// What went wrong last.
    pub trouble: Option<Trouble>,
    /// When it was wanted.
    pub created_s: u64,
    /// When it began.
    pub started_s: Option<u64>,
    /// When it ended.
    pub finished_s: Option<u64>,
}

/// How far a part of a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Its turn comes.
    Waiting,
    /// It is being done.
    Running,
    /// It is done.
    Done,
}

impl TaskState {
    const ALL: [Self; 3] = [Self::Waiting, Self::Running, Self::Done];

    /// The word in its row and for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
        }
    }
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRow {
    /// What it does.
    pub name: String,
    /// How far it is.
    pub state: TaskState,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all; 0: not known.
    pub total_bytes: u64,
}

/// A line of a job's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in seconds since 1970.
    pub at_s: u64,
    /// A word.
    pub event: String,
    /// More.
    pub text: String,
}

/// Puts a job into the queue, as a part of the transaction of whoever wants it. Tell the manager when that is durable: [`crate::Manager::poke`].
///
/// # Errors
/// Too many wait; the file fails.
pub fn enqueue(tx: &mut Tx<'_>, new: &NewJob, now_s: u64) -> Result<Enqueued, JobError> {
    enqueue_within(tx, new, now_s, MAX_WAITING)
}

/// The same when so many may wait.
pub(crate) fn enqueue_within(
    tx: &mut Tx<'_>,
    new: &NewJob,
    now_s: u64,
    most: u64,
) -> Result<Enqueued, JobError> {
    if let Some(known) = tx.get(&KEYS, &[text(&new.key)])? {
        return Ok(Enqueued { id: JobId(number(&known, "job")?), made: false });
    }
    let queued = [text(State::Queued.row_word())];
    if tx.count(&JOBS, "state = ?1", &queued)? >= most {
        return Err(JobError::TooMany(most));
    }
    let job = Job {
        id: take_number(tx)?,
        kind: new.kind.clone(),
        label: new.label.clone(),
        request: new.request.clone(),
        priority: new.priority,
        state: State::Queued,
        attempts: 0,
        in_attempt: false,
        not_before_s: 0,
        done_bytes: 0,
        total_bytes: 0,
        checkpoint: new.checkpoint.clone(),
        result: None,
        trouble: None,
        created_s: now_s,
        started_s: None,
        finished_s: None,
    };
    tx.insert(&JOBS, &values(&job))?;
    tx.insert(&KEYS, &[text(&new.key), int(job.id.0), int(now_s)])?;
    for (event, told) in &new.before {
        log(tx, job.id, now_s, event, told)?;
    }
    log(tx, job.id, now_s, "queued", "")?;
    Ok(Enqueued { id: job.id, made: true })
}

fn take_number(tx: &mut Tx<'_>) -> Result<JobId, JobError> {
    let one = Value::Integer(1);
    let known = tx.get(&NUMBERS, std::slice::from_ref(&one))?;
    let next = known.as_ref().map_or(Ok(1), |row| number(row, "next"))?;
    let row = [one, int(next + 1)];
    match known {
        Some(_) => tx.update(&NUMBERS, &row)?,
        None => tx.insert(&NUMBERS, &row)?,
    }
    Ok(JobId(next))
}

/// Moves a job, and writes all that is new of it. The one place where a state changes.
pub(crate) fn apply(
    tx: &mut Tx<'_>,
    job: &mut Job,
    event: Event,
    now_s: u64,
    told: &str,
) -> Result<(), JobError> {
    job.state = next(job.state, event)?;
    job.finished_s = job.state.is_terminal().then_some(now_s);
    tx.update(&JOBS, &values(job))?;
    log(tx, job.id, now_s, event.word(), told)
}

/// Writes what is new of a job that stays where it is.
pub(crate) fn save(tx: &mut Tx<'_>, job: &Job) -> Result<(), JobError> {
    Ok(tx.update(&JOBS, &values(job))?)
}

/// Adds to the log of a job, and takes the oldest line from a long one.
pub(crate) fn log(tx: &mut Tx<'_>, id: JobId, now_s: u64, event: &str, told: &str) -> Result<(), JobError> {
    let last = tx.find(
        &EVENTS,
        "job = ?1 AND number = (SELECT max(number) FROM job_events WHERE job = ?1)",
        &[int(id.0)],
    )?;
    let number = last.last().map_or(Ok(0), |row| number(row, "number"))? + 1;
    tx.insert(&EVENTS, &[int(id.0), int(number), int(now_s), text(event), text(told)])?;
    if number > MAX_EVENTS {
        tx.delete(&EVENTS, &[int(id.0), int(number - MAX_EVENTS)])?;
    }
    Ok(())
}

/// The job of this key, as far as history goes.
///
/// # Errors
/// The file fails.
pub fn known(tx: &Tx<'_>, key: &str) -> Result<Option<JobId>, JobError> {
    let row = tx.get(&KEYS, &[text(key)])?;
    Ok(row.map(|row| number(&row, "job")).transpose()?.map(JobId))
}

/// Whether the job of this key is completed; none when there was no such job, as far as history goes. One that was cleared is not, as far as can be told.
///
/// # Errors
/// The file fails.
pub fn is_completed(tx: &Tx<'_>, key: &str) -> Result<Option<bool>, JobError> {
    let Some(id) = known(tx, key)? else { return Ok(None) };
    let row = tx.get(&JOBS, &[int(id.0)])?;
    let job = row.map(|row| job_of(&row)).transpose()?;
    Ok(Some(job.is_some_and(|job| job.state == State::Completed)))
}

/// Whether a job of this kind about this has not ended.
///
/// # Errors
/// The file fails.
pub fn is_about(tx: &Tx<'_>, kind: &str, label: &str) -> Result<bool, JobError> {
    let open = "kind = ?1 AND label = ?2 AND finished_s IS NULL";
    Ok(tx.count(&JOBS, open, &[text(kind), text(label)])? > 0)
}

/// Adds to the log of the last job of this kind about this, if there is one in the list; a part of somebody's transaction.
///
/// # Errors
/// The file fails.
pub fn note_last(
    tx: &mut Tx<'_>,
    kind: &str,
    label: &str,
    now_s: u64,
    event: &str,
    told: &str,
) -> Result<(), JobError> {
    let last = "id = (SELECT max(id) FROM jobs WHERE kind = ?1 AND label = ?2)";
    match tx.find(&JOBS, last, &[text(kind), text(label)])?.first() {
        Some(row) => log(tx, JobId(number(row, "id")?), now_s, event, told),
        None => Ok(()),
    }
}

pub(crate) fn set_tasks(tx: &mut Tx<'_>, id: JobId, tasks: &[TaskRow]) -> Result<(), JobError> {
    let before = tx.count(&TASKS, "job = ?1", &[int(id.0)])?;
    for (at, task) in (0_u64..).zip(tasks) {
        let row = [
            int(id.0),
            int(at),
            text(&task.name),
            text(task.state.word()),
            int(task.done_bytes),
            int(task.total_bytes),
        ];
        match at < before {
            true => tx.update(&TASKS, &row)?,
            false => tx.insert(&TASKS, &row)?,
        }
    }
    for at in tasks.len() as u64..before {
        tx.delete(&TASKS, &[int(id.0), int(at)])?;
    }
    Ok(())
}

pub(crate) fn job(tx: &Tx<'_>, id: JobId) -> Result<Job, JobError> {
    let row = tx.get(&JOBS, &[int(id.0)])?;
    row.map_or(Err(JobError::Unknown(id)), |row| Ok(job_of(&row)?))
}

pub(crate) fn jobs(tx: &Tx<'_>) -> Result<Vec<Job>, JobError> {
    Ok(tx.all(&JOBS)?.iter().map(job_of).collect::<Result<_, _>>()?)
}

/// Which jobs, and how many.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// In states with this word for people.
    pub state: Option<&'static str>,
    /// Of this kind.
    pub kind: Option<String>,
    /// About this.
    pub label: Option<String>,
    /// The newest first.
    pub down: bool,
    /// Behind this one.
    pub after: Option<JobId>,
    /// So many at most.
    pub most: Option<usize>,
}

/// The jobs that are asked for; only they are read.
pub(crate) fn select(tx: &Tx<'_>, asked: &Select) -> Result<Vec<Job>, JobError> {
    let (behind, way) = if asked.down { ("<", "DESC") } else { (">", "ASC") };
    let mut wanted = vec!["TRUE".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    if let Some(word) = asked.state {
        let states = State::ALL.into_iter().filter(|state| state.word() == word);
        let words: Vec<String> = states.map(|state| format!("'{}'", state.row_word())).collect();
        wanted.push(format!("state IN ({})", words.join(", ")));
    }
    let texts = [("kind = ", &asked.kind), ("label = ", &asked.label)];
    for (condition, value) in
        texts.into_iter().filter_map(|(condition, value)| Some((condition, value.as_ref()?)))
    {
        values.push(text(value));
        wanted.push(format!("{condition}?{}", values.len()));
    }
    if let Some(JobId(after)) = asked.after {
        values.push(int(after));
        wanted.push(format!("id {behind} ?{}", values.len()));
    }
    // SQLite's word for all is a number below zero.
    values.push(Value::Integer(asked.most.and_then(|most| i64::try_from(most).ok()).unwrap_or(-1)));
    let condition = format!(
        "id IN (SELECT id FROM jobs WHERE {} ORDER BY id {way} LIMIT ?{})",
        wanted.join(" AND "),
        values.len()
    );
    let rows = tx.find(&JOBS, &condition, &values)?;
    let mut found: Vec<Job> = rows.iter().map(job_of).collect::<Result<_, _>>()?;
    if asked.down {
        found.reverse();
    }
    Ok(found)
}

/// Jobs that have not ended, in the order in which they came.
///
/// # Errors
/// The file fails.
pub fn unfinished(tx: &Tx<'_>) -> Result<Vec<Job>, JobError> {
    let open: Vec<State> = State::ALL.into_iter().filter(|state| !state.is_terminal()).collect();
    jobs_in(tx, &open)
}

/// How many jobs of each kind that is in the list are in each state.
pub(crate) fn counts(tx: &Tx<'_>) -> Result<Vec<(String, &'static str, u64)>, JobError> {
    let found = tx.tally(&JOBS, ["kind", "state"])?;
    let mut kinds: Vec<&String> = found.iter().map(|(kind, ..)| kind).collect();
    kinds.dedup();
    let of = |kind: &str, word: &str| {
        found.iter().find(|(k, state, _)| k == kind && state == word).map_or(0, |(.., count)| *count)
    };
    let each =
        |kind| State::ALL.map(|state| (String::clone(kind), state.row_word(), of(kind, state.row_word())));
    Ok(kinds.into_iter().flat_map(each).collect())
}

/// Jobs that have ended and have not done what was wanted, in the order in which they came.
///
/// # Errors
/// The file fails.
pub fn not_done(tx: &Tx<'_>) -> Result<Vec<Job>, JobError> {
    jobs_in(tx, &[State::Failed, State::Cancelled])
}

/// Jobs in any of these states, in the order in which they came.
pub(crate) fn jobs_in(tx: &Tx<'_>, states: &[State]) -> Result<Vec<Job>, JobError> {
    let places = (1..=states.len()).map(|at| format!("?{at}")).collect::<Vec<_>>().join(", ");
    let words: Vec<Value> = states.iter().map(|state| text(state.row_word())).collect();
    let rows = tx.find(&JOBS, &format!("state IN ({places})"), &words)?;
    Ok(rows.iter().map(job_of).collect::<Result<_, _>>()?)
}

pub(crate) fn tasks(tx: &Tx<'_>, id: JobId) -> Result<Vec<TaskRow>, JobError> {
    let task = |row: &Row| {
        let word: String = row.get("state")?;
        let state = TaskState::ALL.into_iter().find(|state| state.word() == word);
        Ok::<_, MetaError>(TaskRow {
            name: row.get("name")?,
            state: state.ok_or_else(|| row.damaged())?,
            done_bytes: number(row, "done_bytes")?,
            total_bytes: number(row, "total_bytes")?,
        })
    };
    Ok(tx.find(&TASKS, "job = ?1", &[int(id.0)])?.iter().map(task).collect::<Result<_, _>>()?)
}

/// The log of a job, oldest line first.
///
/// # Errors
/// The file fails.
pub fn events(tx: &Tx<'_>, id: JobId) -> Result<Vec<LogEntry>, JobError> {
    let entry = |row: &Row| {
        Ok::<_, MetaError>(LogEntry {
            at_s: number(row, "at_s")?,
            event: row.get("event")?,
            text: row.get("text")?,
        })
    };
    Ok(tx.find(&EVENTS, "job = ?1", &[int(id.0)])?.iter().map(entry).collect::<Result<_, _>>()?)
}

/// Removes what has ended before this time, and keys that no job has for so long; whether that was all.
pub(crate) fn prune(tx: &mut Tx<'_>, before_s: u64) -> Result<bool, JobError> {
    let old = tx.find(&JOBS, "finished_s < ?1", &[int(before_s)])?;
    for row in old.iter().take(PRUNED_AT_ONCE) {
        tx.delete(&JOBS, &[int(number(row, "id")?)])?;
    }
    let keys = tx.find(&KEYS, "made_s < ?1 AND job NOT IN (SELECT id FROM jobs)", &[int(before_s)])?;
    for row in keys.iter().take(PRUNED_AT_ONCE) {
        tx.delete(&KEYS, &[text(&row.get::<String>("key")?)])?;
    }
    Ok(old.len() <= PRUNED_AT_ONCE && keys.len() <= PRUNED_AT_ONCE)
}

/// Removes all that has ended; how many.
pub(crate) fn clear(tx: &mut Tx<'_>) -> Result<u64, JobError> {
    let ended = tx.find(&JOBS, "finished_s IS NOT NULL", &[])?;
    for row in &ended {
        tx.delete(&JOBS, &[int(number(row, "id")?)])?;
    }
    Ok(ended.len() as u64)
}

fn values(job: &Job) -> Vec<Value> {
    let trouble = job.trouble.as_ref();
    vec![
        int(job.id.0),
        text(&job.kind),
        optional(job.label.as_deref()),
        text(&job.request),
        Value::Integer(job.priority as i64),
        text(job.state.row_word()),
        int(job.attempts.into()),
        Value::Integer(job.in_attempt.into()),
        int(job.not_before_s),
        int(job.done_bytes),
        int(job.total_bytes),
        Value::Blob(job.checkpoint.clone()),
        optional(job.result.as_deref()),
        optional(trouble.map(|one| one.code.as_str())),
        optional(trouble.map(|one| one.message.as_str())),
        optional(trouble.and_then(|one| one.remedy.as_deref())),
        int(job.created_s),
        job.started_s.map_or(Value::Null, int),
        job.finished_s.map_or(Value::Null, int),
    ]
}

fn job_of(row: &Row) -> Result<Job, MetaError> {
    let state: String = row.get("state")?;
    let priority = number(row, "priority")?;
    let code: Option<String> = row.get("error_code")?;
    let trouble = match code {
        Some(code) => Some(Trouble { code, message: row.get("error")?, remedy: row.get("remedy")? }),
        None => None,
    };
    let damaged = || row.damaged();
    Ok(Job {
        id: JobId(number(row, "id")?),
        kind: row.get("kind")?,
        label: row.get("label")?,
        request: row.get("request")?,
        priority: usize::try_from(priority)
            .ok()
            .and_then(|at| Priority::ALL.get(at).copied())
            .ok_or_else(damaged)?,
        state: State::from_row_word(&state).ok_or_else(damaged)?,
        attempts: u32::try_from(number(row, "attempts")?).map_err(|_| row.damaged())?,
        in_attempt: number(row, "in_attempt")? != 0,
        not_before_s: number(row, "not_before_s")?,
        done_bytes: number(row, "done_bytes")?,
        total_bytes: number(row, "total_bytes")?,
        checkpoint: row.get("checkpoint")?,
        result: row.get("result")?,
        trouble,
        created_s: number(row, "created_s")?,
        started_s: maybe(row, "started_s")?,
        finished_s: maybe(row, "finished_s")?,
    })
}

fn number(row: &Row, column: &str) -> Result<u64, MetaError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged())
}

fn maybe(row: &Row, column: &str) -> Result<Option<u64>, MetaError> {
    let found: Option<i64> = row.get(column)?;
    found.map(|found| u64::try_from(found).map_err(|_| row.damaged())).transpose()
}

fn int(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn optional(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}
