//! Requests that are carried out once, however often they are sent: `Idempotency-Key`.
//!
//! The order, which decides what a crash leaves:
//!
//! 1. the key is entered, with the request that it came with, and no answer;
//! 2. the operation; a job that it makes carries the key in its own transaction ([`event`]);
//! 3. the answer is entered; a refusal takes the key out again.
//!
//! A crash before 2 leaves a key without an answer and without a job: the request is carried out. Between 2 and 3 the job is found by its key. What is no
//! job is carried out anew, and meets what it made before.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Mutex;

use axum::http::{HeaderMap, header};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::warn;
use vtl_api::{ApiError, Done, ErrorCode};
use vtl_meta::{MetaError, Migration, Module, Table, Tx, Value as Cell};

use super::route::{Answered, Asked, Route};
use crate::daemon::{Daemon, internal, invalid, lock};
use crate::state::hexadecimal;

/// The header.
pub(super) const HEADER: &str = "idempotency-key";
/// The header of an answer that was given before.
pub(super) const REPLAYED: &str = "idempotency-replayed";
/// The longest key.
const MOST_CHARACTERS: usize = 128;
/// How long a key is kept.
const KEPT_S: u64 = 24 * 60 * 60;
/// So many keys are kept.
const MOST_KEYS: u64 = 4096;
/// Of a longer answer only that it was given is kept.
const MOST_BYTES: usize = 256 << 10;

static ANSWERS: Table =
    Table { name: "api_answers", columns: &["key", "request", "made_s", "answer"], key_len: 1 };

/// `docs/formats/inventory.md`.
pub(crate) const MODULE: Module = Module {
    name: "api",
    migrations: &[Migration {
        number: 1,
        sql: "CREATE TABLE api_answers (
            key TEXT NOT NULL,
            request TEXT NOT NULL,
            made_s INTEGER NOT NULL,
            answer BLOB,
            row_sum BLOB NOT NULL,
            PRIMARY KEY (key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX api_answers_by_time ON api_answers (made_s);",
    }],
    tables: &[&ANSWERS],
};

thread_local! {
    /// What the request that this thread carries out is known by, since when, and how many jobs it has made.
    static EVENT: RefCell<Option<(String, u64, u32)>> = const { RefCell::new(None) };
}

/// What makes a job of this thread's request the same job when the request comes again.
pub(crate) fn event() -> Option<String> {
    EVENT.with_borrow_mut(|event| {
        let (key, made_s, jobs) = event.as_mut()?;
        *jobs += 1;
        Some(job_key(key, *made_s, *jobs))
    })
}

/// When the key was entered is part of it: jobs are kept for longer than keys, and what comes with an old key is another request.
fn job_key(key: &str, made_s: u64, number: u32) -> String {
    format!("request:{key}:{made_s}:{number}")
}

/// A key as it is kept: who sent it and what it was are in a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    row: String,
    request: String,
}

impl Key {
    /// The key that a request has.
    pub(super) fn of(route: &Route, headers: &HeaderMap, asked: &Asked) -> Result<Option<Self>, ApiError> {
        let Some(text) = text(headers)? else { return Ok(None) };
        if route.is_secret {
            let error = invalid(
                "an answer with a secret is told once and not kept".to_owned(),
                "send it without Idempotency-Key",
            );
            return Err(error.about("Idempotency-Key"));
        }
        let caller = [header::AUTHORIZATION, header::COOKIE];
        let caller = caller.iter().map(|name| headers.get(name).map_or(&b""[..], |value| value.as_bytes()));
        let body = serde_json::from_slice::<Value>(&asked.body)
            .map_or_else(|_| asked.body.to_vec(), |value| value.to_string().into_bytes());
        let path = asked.path.join("/");
        let request = [route.method.as_str().as_bytes(), route.path.as_bytes(), path.as_bytes(), &body];
        Ok(Some(Self { row: hash(caller.chain([text.as_bytes()])), request: hash(request.into_iter()) }))
    }
}

/// The key as it was sent.
pub(super) fn text(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(Some(text));
    }
    let error = invalid("the key is not right".to_owned(), "send 1 to 128 visible characters");
    Err(error.about("Idempotency-Key"))
}

/// Of parts, each with its length.
fn hash<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())
}

/// What is known of a key.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// It is new.
    New,
    /// It came before, and the answer is not known: the server ended in between.
    Cut,
    /// This was answered.
    Answered(Vec<u8>),
    /// It came with another request.
    Other,
}

/// The requests that are being carried out, by their keys.
#[derive(Debug, Default)]
pub(super) struct Once {
    busy: Mutex<HashSet<String>>,
}

struct Busy<'a> {
    once: &'a Once,
    row: &'a str,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        lock(&self.once.busy).remove(self.row);
    }
}

impl Once {
    /// Carries a request out, or gives the answer of the first time; whether it is that.
    pub(super) fn carry_out(
        &self,
        daemon: &Daemon,
        route: &Route,
        key: &Key,
        operation: impl FnOnce() -> Result<Answered, ApiError>,
    ) -> Result<(Answered, bool), ApiError> {
        let _busy = self.take(key)?;
        let now_s = crate::clock::unix_seconds();
        let (known, made_s) = daemon
            .meta
            .with(|meta| meta.transaction(|tx| enter(tx, key, now_s)))
            .map_err(|e| not_kept(&e))?;
        match known {
            Known::Answered(json) => return Ok((Answered { json, next: None }, true)),
            Known::Other => return Err(another()),
            Known::Cut if route.makes_job => {
                if let Some(answered) = job_of(daemon, key, made_s)? {
                    note(daemon, key, made_s, &answered.json);
                    return Ok((answered, true));
                }
            }
            Known::New | Known::Cut => {}
        }
        let outcome = as_event(key, made_s, operation);
        match &outcome {
            Ok(answered) => note(daemon, key, made_s, &answered.json),
            Err(_) => forget(daemon, key),
        }
        Ok((outcome?, false))
    }

    fn take<'a>(&'a self, key: &'a Key) -> Result<Busy<'a>, ApiError> {
        if lock(&self.busy).insert(key.row.clone()) {
            return Ok(Busy { once: self, row: &key.row });
        }
        let error = ApiError::new(
            ErrorCode::Conflict,
            "a request with this key is being carried out",
            "send it again in a moment, for its answer",
        );
        Err(error.about("Idempotency-Key"))
    }
}

/// Jobs that `operation` makes are those of the key.
fn as_event<T>(key: &Key, made_s: u64, operation: impl FnOnce() -> T) -> T {
    /// Also when the operation panics: the thread is used again.
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            EVENT.set(None);
        }
    }
    EVENT.set(Some((key.row.clone(), made_s, 0)));
    let _clear = Clear;
    operation()
}

/// The job that the request made before the server ended.
fn job_of(daemon: &Daemon, key: &Key, made_s: u64) -> Result<Option<Answered>, ApiError> {
    let known = daemon.meta.with(|meta| meta.read(|tx| vtl_jobs::known(tx, &job_key(&key.row, made_s, 1))));
    let Some(id) = known.map_err(|why| internal(&why.to_string()))? else { return Ok(None) };
    // One that has been cleared from the list since cannot be shown.
    let Ok(job) = daemon.job_show(&id.to_string()) else { return Ok(None) };
    let json = serde_json::to_vec(&job).map_err(|why| internal(&why.to_string()))?;
    Ok(Some(Answered { json, next: None }))
}

/// What is known of the key, and since when.
fn enter(tx: &mut Tx<'_>, key: &Key, now_s: u64) -> Result<(Known, u64), MetaError> {
    let row = [Cell::Text(key.row.clone())];
    if let Some(found) = tx.get(&ANSWERS, &row)? {
        let made_s = u64::try_from(found.get::<i64>("made_s")?).unwrap_or_default();
        if made_s.saturating_add(KEPT_S) >= now_s {
            let is_same = found.get::<String>("request")? == key.request;
            let answer = found.get::<Option<Vec<u8>>>("answer")?;
            let known = if is_same { answer.map_or(Known::Cut, Known::Answered) } else { Known::Other };
            return Ok((known, made_s));
        }
    }
    prune(tx, now_s)?;
    let [name] = row;
    tx.insert(&ANSWERS, &[name, Cell::Text(key.request.clone()), seconds(now_s), Cell::Null])?;
    Ok((Known::New, now_s))
}

/// Old keys go; and the oldest that is answered, when there are too many.
fn prune(tx: &mut Tx<'_>, now_s: u64) -> Result<(), MetaError> {
    let mut old = tx.find(&ANSWERS, "made_s < ?1", &[seconds(now_s.saturating_sub(KEPT_S))])?;
    if tx.count(&ANSWERS, "TRUE", &[])? >= MOST_KEYS {
        let oldest = "key = (SELECT key FROM api_answers WHERE answer IS NOT NULL ORDER BY made_s LIMIT 1)";
        old.extend(tx.find(&ANSWERS, oldest, &[])?);
    }
    for row in old {
        tx.delete(&ANSWERS, &[Cell::Text(row.get("key")?)])?;
    }
    Ok(())
}

fn note(daemon: &Daemon, key: &Key, made_s: u64, json: &[u8]) {
    let long = || {
        let message = "it was done; the answer was too long to be kept".to_owned();
        serde_json::to_vec(&Done { message, names: Vec::new() }).unwrap_or_default()
    };
    let kept = if json.len() <= MOST_BYTES { json.to_vec() } else { long() };
    let row =
        [Cell::Text(key.row.clone()), Cell::Text(key.request.clone()), seconds(made_s), Cell::Blob(kept)];
    let noted = daemon.meta.with(|meta| meta.transaction(|tx| tx.update(&ANSWERS, &row)));
    if let Err(error) = noted {
        let error: MetaError = error;
        warn!(%error, "the answer to a request with a key could not be kept; it would be carried out again");
    }
}

fn forget(daemon: &Daemon, key: &Key) {
    let gone =
        daemon.meta.with(|meta| meta.transaction(|tx| tx.delete(&ANSWERS, &[Cell::Text(key.row.clone())])));
    if let Err(error) = gone {
        let error: MetaError = error;
        warn!(%error, "the key of a refused request stays; the request can be sent again");
    }
}

fn seconds(time_s: u64) -> Cell {
    Cell::Integer(i64::try_from(time_s).unwrap_or(i64::MAX))
}

fn another() -> ApiError {
    let error = ApiError::new(
        ErrorCode::Conflict,
        "the key was sent before with another request",
        "make up another key for each thing that is wanted",
    );
    error.about("Idempotency-Key")
}

fn not_kept(error: &MetaError) -> ApiError {
    let told = format!("the key of the request cannot be kept: {error}");
    ApiError::new(ErrorCode::Internal, told, error.remedy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;

    fn key(row: &str, request: &str) -> Key {
        Key { row: row.to_owned(), request: request.to_owned() }
    }

    fn entered(daemon: &Daemon, key: &Key, now_s: u64) -> Known {
        daemon.meta.with(|meta| meta.transaction(|tx| enter(tx, key, now_s))).unwrap().0
    }

    #[test]
    fn a_key_is_kept_for_a_day_and_of_too_many_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let day = 24 * 60 * 60;
        assert_eq!(entered(&daemon, &key("a", "r"), 1000), Known::New);
        assert_eq!(entered(&daemon, &key("a", "r"), 1000 + day), Known::Cut);
        assert_eq!(entered(&daemon, &key("a", "other"), 1000 + day), Known::Other);
        note(&daemon, &key("a", "r"), 1000, b"{}");
        assert_eq!(entered(&daemon, &key("a", "r"), 1000 + day), Known::Answered(b"{}".to_vec()));
        assert_eq!(entered(&daemon, &key("a", "other"), 1001 + day), Known::New, "it was old");
        entered(&daemon, &key("b", "r"), 1002 + day);
        note(&daemon, &key("b", "r"), 1002 + day, b"{}");
        for number in 2..4096 {
            entered(&daemon, &key(&format!("k{number}"), "r"), 2000 + day);
        }
        let answered = Known::Answered(b"{}".to_vec());
        assert_eq!(entered(&daemon, &key("b", "r"), 2000 + day), answered, "who is known takes no place");
        assert_eq!(entered(&daemon, &key("last", "r"), 2000 + day), Known::New);
        assert_eq!(entered(&daemon, &key("b", "r"), 2000 + day), Known::New, "the oldest that was answered");
        assert_eq!(entered(&daemon, &key("a", "other"), 2000 + day), Known::Cut, "and none that was not");
        daemon.stop();
    }

    #[test]
    fn jobs_of_one_request_have_keys_of_their_own_and_the_next_request_has_none_of_them() {
        let made = as_event(&key("a", "r"), 7, || (event(), event()));
        assert_eq!(made, (Some("request:a:7:1".to_owned()), Some("request:a:7:2".to_owned())));
        assert_eq!(event(), None);
    }

    #[test]
    fn after_a_crash_between_a_job_and_its_answer_the_request_finds_the_job_and_makes_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &["store.gc=manual"]);
        crate::jobs::Jobs::open(&daemon);
        let gc = |route: &Route| route.path == "/store/gc";
        let route = crate::api::table().into_iter().find(gc).unwrap();
        let key = key("a", "r");
        let now_s = crate::clock::unix_seconds();
        assert_eq!(entered(&daemon, &key, now_s), Known::New);
        let request = r#"{"dead_percent":25}"#.to_owned();
        let made = as_event(&key, now_s, || daemon.jobs.submit("gc", None, request.clone())).unwrap();
        // Here it ends, and comes again.
        let again =
            Once::default().carry_out(&daemon, &route, &key, || panic!("it is not carried out again"));
        let (answered, is_replayed) = again.unwrap();
        let job: Value = serde_json::from_slice(&answered.json).unwrap();
        assert_eq!((job["id"].as_u64(), is_replayed), (Some(made.0), true));
        let jobs = || daemon.jobs.manager().unwrap().list().unwrap().len();
        assert_eq!(jobs(), 1);
        // The same key a day later is another request.
        let later = as_event(&key, now_s + 86_401, || daemon.jobs.submit("gc", None, request)).unwrap();
        assert!(later != made && jobs() == 2);
        daemon.stop();
    }

    #[test]
    fn an_answer_that_is_too_long_is_kept_as_having_been_given() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let long = vec![b' '; (256 << 10) + 1];
        assert_eq!(entered(&daemon, &key("a", "r"), 1), Known::New);
        note(&daemon, &key("a", "r"), 1, &long);
        let Known::Answered(kept) = entered(&daemon, &key("a", "r"), 1) else { panic!("it has an answer") };
        assert!(String::from_utf8(kept).unwrap().contains("too long"));
        daemon.stop();
    }
}
