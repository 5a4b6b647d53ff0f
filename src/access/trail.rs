//! Lines for the audit log: before a change, after it, and for what nobody asked for over the API.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use scsi::Host;
use serde_json::{Map, Value, json};
use vtl_api::{ApiError, ErrorCode};
use vtl_audit::{AuditError, AuditLog, EntryKind, Reader, Record, Report};

use super::later::Later;
use super::{Access, Caller, now};
use crate::clock::rfc3339;
use crate::daemon::lock;

/// Fields of bodies whose values are names, numbers and choices. Whatever is not here is not written: a new field with
/// a secret in it stays out by itself.
const SHOWN: &[&str] = &[
    "access_key_file",
    "account",
    "address",
    "adopt",
    "allow_http",
    "as_label",
    "block",
    "bucket",
    "ca_file",
    "cartridge",
    "checksums",
    "chunk_bytes",
    "chunk_size_bytes",
    "codec",
    "compress",
    "compression_level",
    "confirm",
    "container",
    "count",
    "credentials_file",
    "dead_percent",
    "dedupe",
    "device",
    "drives",
    "endpoint",
    "expires",
    "file",
    "folder",
    "folders",
    "force",
    "forget",
    "hold",
    "initiator",
    "job",
    "key",
    "key_file",
    "kind",
    "known_exports",
    "label",
    "lazy",
    "library",
    "locked",
    "mailslots",
    "mutual_user",
    "name",
    "now",
    "part_size_bytes",
    "passphrase_file",
    "path",
    "plan",
    "pool",
    "prefix",
    "priority",
    "profile",
    "rate",
    "rclone_remote",
    "region",
    "remote",
    "retain_until",
    "role",
    "roles",
    "sample_percent",
    "secret_key_file",
    "settings",
    "sign_with",
    "size_bytes",
    "slots",
    "style",
    "targets",
    "to",
    "type",
    "user",
    "verify",
    "worm",
    "write_protect",
];

/// Longer texts are cut.
const MOST_TEXT: usize = 256;
/// The longest name: `oidc:`, an issuer, a subject.
const MOST_WHO: usize = 520;
/// Longer lists and objects are cut.
const MOST_PARTS: usize = 64;
/// A body that is still longer is left out.
const MOST_DETAIL: usize = 8 << 10;
const HIDDEN: &str = "***";
/// Log-ins and refusals that are written in a minute: somebody who knocks all day must not fill the disk.
const KNOCKS_A_MINUTE: u32 = 60;

/// A change that is being done.
#[derive(Debug)]
pub(crate) struct Begun {
    number: u64,
    record: Record,
}

/// How many knocks were written of late.
#[derive(Debug, Default)]
pub(super) struct Knocks {
    minute: u64,
    written: u32,
    left_out: u64,
}

impl Knocks {
    /// Whether one more is written, and how many were left out before it.
    fn knock(&mut self, now_s: u64) -> Option<u64> {
        let minute = now_s / 60;
        if minute != self.minute {
            (self.minute, self.written) = (minute, 0);
        }
        if self.written >= KNOCKS_A_MINUTE {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

fn record(kind: EntryKind, who: &str, from: String, what: &str, detail: Value) -> Record {
    Record {
        at: rfc3339(now().wall_s),
        kind,
        of: None,
        who: who.chars().take(MOST_WHO).collect(),
        from,
        what: what.to_owned(),
        detail,
        result: String::new(),
    }
}

fn event(what: &str, detail: Value, result: String) -> Record {
    Record { result, ..record(EntryKind::Event, "vtld", String::new(), what, detail) }
}

/// The same, done by this host. Its name has the form of an iSCSI name, so it is no user's.
fn done_by(host: &Host, record: Record) -> Record {
    let from = host.address.map_or_else(String::new, |address| address.to_string());
    Record { who: host.name.clone(), from, ..record }
}

fn write(audit: &Mutex<AuditLog>, record: Record) {
    let what = record.what.clone();
    if let Err(error) = lock(audit).append(record) {
        tracing::error!(what, %error, "an entry is not in the audit log");
    }
}

/// Writes events to this log. Those that found no room while it was slow are an entry of their own.
pub(super) fn later(audit: Arc<Mutex<AuditLog>>) -> io::Result<Later> {
    let lost = |count| event("events lost", json!({ "count": count }), "the disk was too slow".to_owned());
    Later::start(move |record| write(&audit, record), lost)
}

pub(super) fn result_of<T>(outcome: Result<T, &ApiError>) -> String {
    match outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("refused: {}", cut(&error.message)),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

/// What may be written of a request: names from its path, and the body's values that are no secrets.
pub(crate) fn redacted(path: &str, body: &Value) -> Value {
    let mut detail = json!({ "path": cut(path) });
    if !body.is_null() {
        let body = short(&without_secrets(body));
        let fits = body.to_string().len() <= MOST_DETAIL;
        detail["body"] = if fits { body } else { Value::from(HIDDEN) };
    }
    detail
}

/// A body to its end, for who decides about it: what could be a secret is hidden, and nothing is cut.
pub(super) fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(without_secrets).collect(),
        Value::Object(fields) => fields.iter().map(field).collect::<Map<_, _>>().into(),
        other => other.clone(),
    }
}

fn field((name, value): (&String, &Value)) -> (String, Value) {
    // Settings of a library are named as the configuration's keys, which are checked before they are used.
    let is_shown = SHOWN.contains(&name.as_str()) || name.starts_with("migrate.");
    (name.clone(), if is_shown { without_secrets(value) } else { Value::from(HIDDEN) })
}

/// The same for a line of the log.
fn short(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::from(cut(text)),
        Value::Array(all) => all.iter().take(MOST_PARTS).map(short).collect(),
        Value::Object(fields) => {
            let part = |(name, value): (&String, &Value)| (cut(name), short(value));
            fields.iter().take(MOST_PARTS).map(part).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

impl Access {
    /// A change is about to be done. Without this line it is not.
    pub(crate) fn note_request(&self, caller: &Caller, what: &str, detail: Value) -> Result<Begun, ApiError> {
        self.begin(record(EntryKind::Request, &caller.who.text(), caller.from.to_string(), what, detail))
    }

    /// The first user is about to be made, by the one-time link.
    pub(super) fn note_first_user(&self, user: &vtl_auth::User, from: IpAddr) -> Result<Begun, ApiError> {
        let detail = json!({ "path": "/setup", "roles": user.roles.to_string() });
        self.begin(record(EntryKind::Request, user.name.as_str(), from.to_string(), "POST /setup", detail))
    }

    fn begin(&self, record: Record) -> Result<Begun, ApiError> {
        let number = lock(&self.audit).append(record.clone()).map_err(|error| not_written(&error))?;
        Ok(Begun { number, record })
    }

    /// What came of it.
    pub(crate) fn note_outcome(&self, begun: Begun, result: String) -> Result<(), ApiError> {
        let Begun { number, record } = begun;
        // The moves that the change made come before its outcome.
        self.later.flush();
        let at = rfc3339(now().wall_s);
        let record = Record { at, kind: EntryKind::Outcome, of: Some(number), result, ..record };
        lock(&self.audit).append(record).map(drop).map_err(|error| {
            let why = format!(
                "the change was done, and its outcome could not be written to the audit log: {error}"
            );
            ApiError::new(
                ErrorCode::Internal,
                why,
                "look what is there now, and free space or check the disk of the state folder",
            )
        })
    }

    /// Somebody asked for what he may not do.
    pub(crate) fn note_refused(&self, caller: &Caller, what: &str, detail: Value, why: &ApiError) {
        let result = result_of::<()>(Err(why));
        let record = record(EntryKind::Outcome, &caller.who.text(), caller.from.to_string(), what, detail);
        self.note_knock(Record { result, ..record });
    }

    /// Somebody logged in or could not. Who got in is written in any case.
    pub(super) fn note_login(
        &self,
        what: &str,
        (who, detail): (&str, Value),
        from: IpAddr,
        outcome: Result<(), &ApiError>,
    ) -> Result<(), ApiError> {
        let record = Record {
            result: result_of(outcome),
            ..record(EntryKind::Login, who, from.to_string(), what, detail)
        };
        match outcome {
            Ok(()) => lock(&self.audit).append(record).map(drop).map_err(|error| not_written(&error)),
            Err(_) => {
                self.note_knock(record);
                Ok(())
            }
        }
    }

    /// Nobody is logged in, after an entry that said so: it is written in any case, too.
    pub(super) fn note_login_undone(
        &self,
        what: &str,
        (who, detail): (&str, Value),
        from: IpAddr,
        why: &ApiError,
    ) {
        let result = result_of::<()>(Err(why));
        self.note(Record { result, ..record(EntryKind::Login, who, from.to_string(), what, detail) });
    }

    fn note_knock(&self, record: Record) {
        let Some(left_out) = lock(&self.knocks).knock(now().count_s) else { return };
        let detail =
            if left_out > 0 { json!({ "left_out_before": left_out }) } else { record.detail.clone() };
        self.note(Record { detail, ..record });
    }

    /// Something that nobody asked for over the API: a move by a host, the end of a job. Nobody waits for it here.
    fn note_event(&self, what: &str, detail: Value, result: String) {
        self.note_later(event(what, detail, result));
    }

    fn note_later(&self, record: Record) {
        if let Some(record) = self.later.add(record) {
            self.note(record);
        }
    }

    /// Cartridges were moved, by this host or as the entry before this one says.
    pub(crate) fn note_moves(&self, moved: &[vtl_library::Moved], host: Option<&Host>) {
        for one in moved {
            let library = one.cartridge.library.as_ref().map(ToString::to_string);
            let detail = json!({
                "label": one.cartridge.label.to_string(),
                "from": one.from.to_string(),
                "to": one.to.to_string(),
                "library": library,
            });
            let record = event("move", detail, "ok".to_owned());
            self.note_later(match host {
                Some(host) => done_by(host, record),
                None => record,
            });
        }
    }

    /// A job has ended.
    pub(crate) fn note_job(&self, job: &vtl_jobs::Job) {
        if !job.state.is_terminal() {
            return;
        }
        let detail = json!({ "id": job.id.0, "kind": job.kind, "label": job.label });
        let why =
            job.trouble.as_ref().map_or_else(String::new, |trouble| format!(": {}", cut(&trouble.message)));
        self.note_event("job", detail, format!("{}{why}", job.state.word()));
    }

    fn note(&self, record: Record) {
        write(&self.audit, record);
    }

    /// The log with all events that came before, for who reads it without keeping others from writing.
    pub(super) fn reader(&self) -> Reader {
        self.later.flush();
        lock(&self.audit).reader()
    }

    /// The log goes on: how it was found, and which changes nobody knows the end of.
    pub(super) fn note_start(&self, report: &Report) {
        let open = lock(&self.audit).without_outcome();
        for number in open {
            let record = record(EntryKind::Outcome, "vtld", String::new(), "start", Value::Null);
            let result = "not known: the server ended before the outcome was written".to_owned();
            self.note(Record { of: Some(number), result, ..record });
        }
        let faults: Vec<String> = report.faults.iter().take(MOST_PARTS).map(ToString::to_string).collect();
        let result = if faults.is_empty() { "the log is whole" } else { "the log is not whole" };
        let detail = json!({ "entries": report.lines, "faults": faults });
        self.note(event("start", detail, result.to_owned()));
        let head = lock(&self.audit).head();
        tracing::info!(number = head.number, head = head.hash_text(), "audit log");
    }
}

fn not_written(error: &AuditError) -> ApiError {
    let code = if error.is_full() { ErrorCode::Full } else { ErrorCode::Internal };
    let why = format!("nothing was done, because it could not be written to the audit log: {error}");
    ApiError::new(code, why, "free space or check the disk of the state folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_written_without_what_could_be_a_secret() {
        let body = json!({
            "user": "backup-host", "secret": "made-up-secret", "mutual_secret": "made-up-other",
            "password": "made-up password", "token": "vtlt_made_up", "new_field": "who knows",
            "settings": { "migrate.key": "off-site", "rclone_flags": ["--pass=made-up"] },
            "roles": ["viewer"], "slots": 4,
        });
        let detail = redacted("/iscsi/targets/lib0/chap", &body);
        assert_eq!(detail["path"], "/iscsi/targets/lib0/chap");
        assert_eq!(
            detail["body"],
            json!({
                "user": "backup-host", "secret": "***", "mutual_secret": "***", "password": "***", "token": "***",
                "new_field": "***", "settings": { "migrate.key": "off-site", "rclone_flags": "***" },
                "roles": ["viewer"], "slots": 4,
            })
        );
        assert!(!detail.to_string().contains("made-up"));
    }

    #[test]
    fn who_decides_about_a_body_sees_it_to_its_end_and_no_secret() {
        let keys = format!("off-site,{}evil", " ".repeat(300));
        let many: Vec<_> = (0..100).map(|n| format!("VTL{n:03}L8")).collect();
        let body =
            json!({ "key": keys, "label": many, "settings": { "migrate.key": keys }, "secret": "made-up" });
        let told = without_secrets(&body);
        assert_eq!((&told["key"], &told["label"]), (&body["key"], &body["label"]));
        assert_eq!((&told["settings"], &told["secret"]), (&body["settings"], &json!("***")));
    }

    #[test]
    fn a_body_of_any_size_makes_a_short_line() {
        let long = "x".repeat(100_000);
        let many: Vec<_> = (0..1000).map(|_| long.clone()).collect();
        let body = json!({ "name": long, "roles": many, long.as_str(): 1 });
        assert!(redacted(&long, &body).to_string().len() < 10_000);
    }

    #[test]
    fn a_move_or_the_end_of_a_job_does_not_wait_for_the_log_and_who_reads_then_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = crate::daemon::tests::open(folder.path(), &[]);
        let held = lock(&daemon.access.audit);
        daemon.access.note_event("move", json!({ "label": "VTL001L8" }), "ok".to_owned());
        drop(held);
        let ask = vtl_api::AuditQuery { what: Some("move".to_owned()), ..Default::default() };
        let found = daemon.access.audit_page(&ask).unwrap().0;
        assert_eq!((found.len(), &found[0].detail["label"]), (1, &json!("VTL001L8")));
        daemon.stop();
        daemon.access.note_event("move", json!({ "label": "VTL002L8" }), "ok".to_owned());
        assert_eq!(daemon.access.audit_page(&ask).unwrap().0.len(), 2, "also after the stop");
    }

    #[test]
    fn sixty_knocks_a_minute_are_written_and_the_next_one_says_how_many_were_not() {
        let mut knocks = Knocks::default();
        (0..60).for_each(|n| assert_eq!(knocks.knock(600 + n % 60), Some(0)));
        (0..40).for_each(|_| assert_eq!(knocks.knock(659), None));
        assert_eq!(knocks.knock(660), Some(40));
        assert_eq!(knocks.knock(661), Some(0));
    }
}
