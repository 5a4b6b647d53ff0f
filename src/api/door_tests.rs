//! Requests through the door, in one process: what happens between a request's head and its end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt as _;
use vtl_api::{AuditQuery, BASE, ErrorCode};
use vtl_auth::Permission;
use vtl_jobs::JobId;
use vtl_store::OwnerId;

use crate::access::Caller;
use crate::access::rules::Granted;
use crate::daemon::Daemon;
use crate::daemon::tests::open;
use crate::jobs::Jobs;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const PASSWORD: &str = "made-up password";

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
}

fn root(daemon: &Daemon) -> Caller {
    daemon.access.by_bearer(&daemon.state.token().unwrap(), HERE).unwrap()
}

pub(super) fn add_user(daemon: &Daemon, name: &str, role: &str) {
    let ask = json!({ "name": name, "password": PASSWORD, "roles": [role] });
    daemon.access.user_add(&root(daemon), &serde_json::from_value(ask).unwrap(), false).unwrap();
}

fn set_user(daemon: &Daemon, name: &str, ask: Value) {
    daemon.access.user_set(&root(daemon), name, &serde_json::from_value(ask).unwrap(), false).unwrap();
}

/// Cookie and the text of its page.
fn log_in(daemon: &Daemon, name: &str) -> (String, String) {
    let ask = json!({ "user": name, "password": PASSWORD });
    let session = daemon.access.log_in(&serde_json::from_value(ask).unwrap(), HERE, None).unwrap();
    (format!("vtl={}", *session.cookie), session.state.csrf.unwrap())
}

/// A daemon, what it serves, and the runtime that serves it.
pub(super) struct Door {
    pub(super) daemon: Arc<Daemon>,
    app: Router,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Door {
    pub(super) fn open(set: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), set);
        let app = super::app(&daemon);
        Self { daemon, app, runtime: runtime(), _folder: folder }
    }

    fn ask(&self, request: Request) -> (StatusCode, Value) {
        self.runtime.block_on(async {
            let answer = self.app.clone().oneshot(request).await.unwrap();
            let status = answer.status();
            let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
            (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        })
    }

    /// With headers beside those of who asks.
    fn ask_as(&self, who: &[(&str, &str)], (method, path): (&str, &str), body: Body) -> (StatusCode, Value) {
        let head = Request::builder().method(method).uri(format!("{BASE}{path}"));
        let head = who.iter().fold(head, |head, (name, value)| head.header(*name, *value));
        let request = head
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ConnectInfo(SocketAddr::new(HERE, 1)))
            .body(body);
        self.ask(request.unwrap())
    }

    /// By a user, or with a token. Of two headers with one name the first counts: those that are given here.
    pub(super) fn ask_by(
        &self,
        who: &str,
        at: (&str, &str),
        body: &Value,
        also: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let body = Body::from(body.to_string());
        if who.starts_with("Bearer ") {
            return self.ask_as(&[also, &[("authorization", who)]].concat(), at, body);
        }
        let (cookie, csrf) = log_in(&self.daemon, who);
        self.ask_as(&[also, &[("cookie", cookie.as_str()), ("x-csrf-token", &csrf)]].concat(), at, body)
    }

    fn approve(&self, id: &Value) -> (StatusCode, Value) {
        let path = format!("/approvals/{}/approve", id.as_str().unwrap());
        self.ask_by("sue", ("POST", &path), &Value::Null, &[])
    }

    fn state_of(&self, id: &Value) -> String {
        self.daemon.access.approval_show(id.as_str().unwrap()).unwrap().state
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.daemon.stop();
    }
}

#[test]
fn who_is_locked_out_while_his_body_arrives_changes_nothing() {
    let door = Door::open(&[]);
    add_user(&door.daemon, "ann", "administrator");
    let (cookie, csrf) = log_in(&door.daemon, "ann");
    let locks = door.daemon.clone();
    let body = stream::once(async move {
        set_user(&locks, "ann", json!({ "locked": true }));
        let text = json!({ "name": "vic", "password": PASSWORD, "roles": ["viewer"] }).to_string();
        Ok::<_, std::io::Error>(Bytes::from(text))
    });
    let who = [("cookie", cookie.as_str()), ("x-csrf-token", &csrf)];
    let (status, answer) = door.ask_as(&who, ("POST", "/users"), Body::from_stream(body));
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{answer}");
    assert!(door.daemon.access.user_show("vic").is_err());
}

/// With the two-person rule, a security officer `sam`, and `sue`, who approves.
fn with_two_persons() -> Door {
    let door = Door::open(&["access.two_person=true"]);
    ["sam", "sue"].into_iter().for_each(|name| add_user(&door.daemon, name, "security-officer"));
    door
}

const DELETE: (&str, &str) = ("DELETE", "/cartridges/VTL001L8");

#[test]
fn an_approved_request_is_refused_when_the_thing_is_not_as_its_asker_saw_it() {
    let door = with_two_persons();
    let (status, waits) = door.ask_by("sam", DELETE, &json!({}), &[("if-match", "\"made-up\"")]);
    assert_eq!(status, StatusCode::ACCEPTED, "{waits}");
    let (status, answer) = door.approve(&waits["approval"]);
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{answer}");
    assert_eq!(door.ask_by("sam", ("GET", DELETE.1), &Value::Null, &[]).0, StatusCode::OK, "still there");
}

#[test]
fn a_request_that_comes_again_with_its_key_waits_once() {
    let door = with_two_persons();
    let key = [("idempotency-key", "made-up-key")];
    let (status, first) = door.ask_by("sam", DELETE, &json!({}), &key);
    assert_eq!(status, StatusCode::ACCEPTED, "{first}");
    assert_eq!(door.ask_by("sam", DELETE, &json!({}), &key), (StatusCode::ACCEPTED, first));
    let (status, answer) = door.ask_by("sam", ("DELETE", "/cartridges/VTL002L8"), &json!({}), &key);
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    assert_eq!(door.daemon.access.approval_list().unwrap().len(), 1);
    let (status, _) = door.ask_by("sam", DELETE, &json!({}), &[("idempotency-key", "two words")]);
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[test]
fn what_has_an_id_alone_is_given_up_by_two_security_officers_and_that_is_in_the_log() {
    let door = with_two_persons();
    add_user(&door.daemon, "adm", "administrator");
    let (store, owner) = (&door.daemon.pools.default().store, OwnerId([7; 16]));
    store.create(owner, b"no cartridge").unwrap();
    let path = format!("/unlisted/{owner}");
    let (at, body) = (("DELETE", path.as_str()), json!({ "now": true, "confirm": owner.to_string() }));
    let (status, answer) = door.ask_by("adm", at, &body, &[]);
    assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    let (status, waits) = door.ask_by("sam", at, &body, &[]);
    assert_eq!(status, StatusCode::ACCEPTED, "{waits}");
    assert!(store.owners().contains(&owner));
    let (status, answer) = door.approve(&waits["approval"]);
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(!store.owners().contains(&owner));
    let ask = AuditQuery { what: Some("DELETE approved by sue".to_owned()), ..AuditQuery::default() };
    let lines = door.daemon.access.audit_page(&ask).unwrap().0;
    let request = lines.iter().find(|line| line.kind == "request").unwrap();
    assert!(request.who == "sam" && request.detail.to_string().contains(&path), "{request:?}");
}

#[test]
fn a_request_of_one_who_may_not_do_it_any_more_is_not_done_and_waits_on() {
    let door = with_two_persons();
    let waits = door.ask_by("sam", DELETE, &json!({}), &[]).1;
    for change in [json!({ "locked": true }), json!({ "locked": false, "roles": ["viewer"] })] {
        set_user(&door.daemon, "sam", change);
        let (status, answer) = door.approve(&waits["approval"]);
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
        assert_eq!(door.state_of(&waits["approval"]), "pending");
    }
    set_user(&door.daemon, "sam", json!({ "roles": ["security-officer"] }));
    let (status, answer) = door.approve(&waits["approval"]);
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(door.state_of(&waits["approval"]), "approved");
}

#[test]
fn what_a_program_asked_for_is_done_in_its_name_and_not_when_its_token_is_gone() {
    let door = with_two_persons();
    let ask = json!({ "name": "rotation", "role": "security-officer" });
    let made = door.daemon.access.token_create(&root(&door.daemon), &serde_json::from_value(ask).unwrap());
    let made = made.unwrap();
    let bearer = format!("Bearer {}", made.token);
    let waits = door.ask_by(&bearer, DELETE, &json!({}), &[]).1;
    let later = door.ask_by(&bearer, ("DELETE", "/cartridges/VTL002L8"), &json!({}), &[]).1;
    assert_eq!(door.approve(&waits["approval"]).0, StatusCode::OK);
    let ask = AuditQuery { what: Some("DELETE approved by sue".to_owned()), ..AuditQuery::default() };
    let lines = door.daemon.access.audit_page(&ask).unwrap().0;
    let who: Vec<_> = lines.iter().map(|line| (line.who.as_str(), line.kind.as_str())).collect();
    assert_eq!(who, [("token:rotation", "outcome"), ("token:rotation", "request")]);
    door.daemon.access.token_remove(&root(&door.daemon), &made.info.id).unwrap();
    assert_eq!(door.approve(&later["approval"]).0, StatusCode::FORBIDDEN);
    assert_eq!(door.state_of(&later["approval"]), "pending");
}

/// A job that was asked for and cancelled.
fn cancelled(door: &Door, kind: &str, request: &Value) -> JobId {
    let label = Some("VTL001L8".to_owned());
    let id = door.daemon.jobs.submit(kind, label, request.to_string()).unwrap();
    door.daemon.job_cancel(&id.to_string()).unwrap();
    id
}

fn retry(door: &Door, who: &str, id: JobId) -> (StatusCode, Value) {
    door.ask_by(who, ("POST", &format!("/jobs/{id}/retry")), &json!({}), &[])
}

#[test]
fn a_prune_or_a_rewrap_that_is_tried_again_needs_what_it_took_to_ask_for_it() {
    let door = with_two_persons();
    Jobs::open(&door.daemon);
    add_user(&door.daemon, "oli", "operator");
    add_user(&door.daemon, "both", "operator");
    set_user(&door.daemon, "both", json!({ "roles": ["operator", "security-officer"] }));
    let folder = "VTL001L8-20261126_031500";
    let prune = json!({ "remote": "r", "folder": folder, "confirm": folder });
    let rewrap = json!({ "remote": "r", "folder": folder, "key": "k" });
    for (kind, request, need) in [("prune", prune, "destroy"), ("rewrap", rewrap, "export-keys")] {
        let id = cancelled(&door, kind, &request);
        let (status, answer) = retry(&door, "oli", id);
        assert_eq!(status, StatusCode::FORBIDDEN, "{kind}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(&format!("'{need}'")), "{answer}");
        let (status, waits) = retry(&door, "both", id);
        assert_eq!(status, StatusCode::ACCEPTED, "{kind}: {waits}");
        let (status, made) = door.approve(&waits["approval"]);
        assert!(status.is_success() && made["kind"] == kind, "{made}");
        let goes_on = JobId(made["id"].as_u64().unwrap());
        let (status, same) = retry(&door, "oli", goes_on);
        assert!(
            status.is_success() && same["id"] == made["id"],
            "who ends a pause asks for nothing anew: {same}"
        );
    }
    let verify = cancelled(&door, "verify", &json!({ "remote": "r", "folder": folder }));
    assert!(retry(&door, "oli", verify).0.is_success(), "an operator asks for that by himself");
    assert_eq!(retry(&door, "oli", JobId(4096)).0, StatusCode::NOT_FOUND);
}

/// Sets what becomes of exports of `lib0`, in the name of somebody with these permissions.
fn set_exports(door: &Door, settings: Value, may: &[Permission]) -> Result<(), ErrorCode> {
    let request = serde_json::from_value(json!({ "settings": settings })).unwrap();
    door.daemon.library_set("lib0", &request, &Granted::new(may)).map(drop).map_err(|error| error.code)
}

/// Remotes `safe` and `mine`; `lib0` exports to the first one, and deletes then.
fn deleting(door: &Door, place: &std::path::Path) {
    Jobs::open(&door.daemon);
    for name in ["safe", "mine"] {
        let path = place.join(name);
        std::fs::create_dir(&path).unwrap();
        let request = json!({ "name": name, "type": "folder", "path": path });
        door.daemon.remote_create(&serde_json::from_value(request).unwrap()).unwrap();
    }
    let settings = json!({ "migrate.remote": "safe", "migrate.delete_after_export": "true" });
    set_exports(door, settings, &[Permission::Destroy]).unwrap();
}

#[test]
fn an_export_that_deletes_is_tried_again_by_an_operator_while_the_library_says_the_same_and_not_after_that() {
    let (place, door) = (tempfile::tempdir().unwrap(), Door::open(&[]));
    deleting(&door, place.path());
    add_user(&door.daemon, "oli", "operator");
    let asked =
        |remote: &str, gone: bool| json!({ "remote": remote, "key": "none", "delete_after_export": gone });
    let [first, second] = [(); 2].map(|()| cancelled(&door, "export", &asked("safe", true)));
    let elsewhere = cancelled(&door, "export", &asked("mine", true));
    let keeps = cancelled(&door, "export", &asked("mine", false));
    let (status, answer) = retry(&door, "oli", first);
    assert!(status.is_success(), "{answer}");
    assert_eq!(retry(&door, "oli", elsewhere).0, StatusCode::FORBIDDEN, "another copy");
    assert!(retry(&door, "oli", keeps).0.is_success());
    set_exports(&door, json!({ "migrate.delete_after_export": "false" }), &[]).unwrap();
    assert_eq!(retry(&door, "oli", second).0, StatusCode::FORBIDDEN);
    // Let in before the settings were changed, and done after it.
    let late = door.daemon.job_retry(&second.to_string(), &Granted::default()).unwrap_err();
    assert_eq!(late.code, ErrorCode::Conflict);
}

#[test]
fn what_would_delete_by_the_settings_of_now_is_not_done_when_the_door_has_not_asked_for_that() {
    let (place, door) = (tempfile::tempdir().unwrap(), Door::open(&[]));
    deleting(&door, place.path());
    let on = || json!({ "migrate.delete_after_export": "true" });
    set_exports(&door, on(), &[]).unwrap();
    let export = |remote: &str, may: &[Permission]| {
        let request = serde_json::from_value(json!({ "remote": remote })).unwrap();
        let made = door.daemon.cartridge_export("VTL001L8", &request, &Granted::new(may));
        made.map(drop).map_err(|error| error.code)
    };
    assert_eq!(export("mine", &[]), Err(ErrorCode::Conflict));
    assert_eq!(export("safe", &[]), Ok(()));
    assert_eq!(export("mine", &[Permission::Destroy]), Ok(()));
    let elsewhere = json!({ "migrate.delete_after_export": "false", "migrate.remote": "mine" });
    set_exports(&door, elsewhere, &[]).unwrap();
    // It was nothing new when the door looked at it.
    assert_eq!(set_exports(&door, on(), &[]), Err(ErrorCode::Conflict));
    assert_eq!(export("safe", &[]), Ok(()), "nothing is deleted");
}

#[test]
fn a_page_that_asks_for_the_metrics_by_itself_is_nobody_who_uses_its_session() {
    let door = Door::open(&[]);
    let [left, used] = ["left", "used"].map(|name| {
        add_user(&door.daemon, name, "viewer");
        log_in(&door.daemon, name).0
    });
    let used_s = || {
        ["left", "used"].map(|name| {
            let rows = door.daemon.access.session_list(Some(name)).unwrap();
            assert_eq!(rows.len(), 1);
            rows[0].last_used.parse::<jiff::Timestamp>().unwrap().as_second()
        })
    };
    let before = used_s();
    std::thread::sleep(Duration::from_millis(3100));
    for (cookie, also) in [(used, None), (left, Some(("x-vtl-unattended", "1")))] {
        let head = Request::builder().uri("/metrics").header(header::HOST, "localhost");
        let head = head.header(header::COOKIE, cookie).extension(ConnectInfo(SocketAddr::new(HERE, 1)));
        let head = also.into_iter().fold(head, |head, (name, value)| head.header(name, value));
        assert_eq!(door.ask(head.body(Body::empty()).unwrap()).0, StatusCode::OK);
    }
    let after = used_s();
    // Seconds are whole, and counted by two clocks: what is not used may seem to be by one.
    assert!(after[0] <= before[0] + 1, "{before:?} {after:?}");
    assert!(after[1] >= before[1] + 2, "{before:?} {after:?}");
}
