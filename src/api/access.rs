//! Sessions, users, tokens, approvals and the audit log.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::ServiceExt as _;
use vtl_api::{
    AddUser, ApiError, ApprovalInfo, AuditEntry, AuditLines, AuditQuery, AuditReport, BASE, CreateToken,
    Done, EndSessions, FirstUser, ListWebSessions, LogIn, NewTokenInfo, SessionState, SetPassword, SetUser,
    TokenInfo, UserInfo, WebSessionInfo,
};
use vtl_auth::Approval;

use super::admit::Source;
use super::cookie::SESSION;
use super::reading::{self, body};
use super::route::{Nothing, Route, elsewhere};
use super::{error_response, once};
use crate::access::rules::Granted;
use crate::access::{Caller, LoggedIn};
use crate::daemon::{Daemon, internal};

/// All operations without the door: for what has passed it, and was approved since.
#[derive(Clone, Default)]
pub(super) struct Inside(Arc<OnceLock<Router>>);

impl Inside {
    pub(super) fn is(&self, routes: Router) {
        let _once = self.0.set(routes);
    }
}

/// Whether the API speaks TLS.
#[derive(Clone, Copy)]
pub(super) struct Secure(pub(super) bool);

type Shared = State<Arc<Daemon>>;
type Name = Path<String>;
type Who = Extension<Caller>;

/// What the OpenAPI text says of them.
pub(super) fn rows() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    vec![
        elsewhere::<Nothing, SessionState>(GET, "/session", "Who is asking, and what that one may"),
        elsewhere::<LogIn, SessionState>(POST, "/session", "Log in"),
        elsewhere::<Nothing, Done>(DELETE, "/session", "Log out"),
        elsewhere::<ListWebSessions, Vec<WebSessionInfo>>(GET, "/sessions", "Who is logged in"),
        elsewhere::<EndSessions, Done>(DELETE, "/sessions", "End all sessions of somebody"),
        elsewhere::<FirstUser, SessionState>(POST, "/setup", "Make the first user"),
        elsewhere::<Nothing, Vec<UserInfo>>(GET, "/users", "All users"),
        elsewhere::<AddUser, Done>(POST, "/users", "Add a user"),
        elsewhere::<Nothing, UserInfo>(GET, "/users/{name}", "One user"),
        elsewhere::<SetUser, Done>(Method::PATCH, "/users/{name}", "Change a user's roles, or lock a user"),
        elsewhere::<Nothing, Done>(DELETE, "/users/{name}", "Remove a user"),
        elsewhere::<SetPassword, Done>(Method::PUT, "/users/{name}/password", "Set a password"),
        elsewhere::<Nothing, Vec<TokenInfo>>(GET, "/tokens", "Tokens of the caller, or all"),
        elsewhere::<CreateToken, NewTokenInfo>(POST, "/tokens", "Make a token").tells_a_secret(),
        elsewhere::<Nothing, Done>(DELETE, "/tokens/{id}", "Revoke a token"),
        elsewhere::<Nothing, Vec<ApprovalInfo>>(GET, "/approvals", "What waits for a second person"),
        elsewhere::<Nothing, ApprovalInfo>(GET, "/approvals/{id}", "One request that waits or waited"),
        elsewhere::<Nothing, Value>(POST, "/approvals/{id}/approve", "Have it done"),
        elsewhere::<Nothing, Done>(POST, "/approvals/{id}/refuse", "Have it not done"),
        elsewhere::<AuditQuery, Vec<AuditEntry>>(GET, "/audit", "The audit log, the newest first"),
        elsewhere::<Against, AuditReport>(GET, "/audit/verify", "Whether the audit log is whole"),
        elsewhere::<Lines, AuditLines>(GET, "/audit/export", "The audit log as it is in its file"),
    ]
}

/// Runs a blocking operation off the network threads.
pub(super) async fn run<T: Serialize + Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Response {
    match blocking(daemon, operation).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(refused) => error_response(&refused),
    }
}

fn two_persons(daemon: &Daemon) -> bool {
    daemon.config().access.two_person
}

/// The parameters of a request.
fn query<T: DeserializeOwned>(RawQuery(text): &RawQuery) -> Result<T, ApiError> {
    reading::query(text.as_deref().unwrap_or_default())
}

pub(super) fn access() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/session",
            get(|Extension(c): Who| async move { axum::Json(c.state()) }).post(log_in).delete(log_out),
        )
        .route(
            "/sessions",
            get(|State(d): Shared, q: RawQuery| {
                run(d, move |d| d.access.session_list(query::<ListWebSessions>(&q)?.user.as_deref()))
            })
            .delete(|State(d): Shared, Extension(c): Who, b: Bytes| {
                run(d, move |d| d.access.sessions_end(&c, &body(&b)?))
            }),
        )
        .route("/setup", post(set_up))
        .route(
            "/users",
            get(|State(d): Shared| run(d, |d| d.access.user_list())).post(
                |State(d): Shared, Extension(c): Who, b: Bytes| {
                    costly(d, move |d| d.access.user_add(&c, &body(&b)?, two_persons(d)))
                },
            ),
        )
        .route(
            "/users/{name}",
            get(|State(d): Shared, Path(n): Name| run(d, move |d| d.access.user_show(&n)))
                .patch(|State(d): Shared, Extension(c): Who, Path(n): Name, b: Bytes| {
                    run(d, move |d| d.access.user_set(&c, &n, &body(&b)?, two_persons(d)))
                })
                .delete(|State(d): Shared, Extension(c): Who, Path(n): Name| {
                    run(d, move |d| d.access.user_remove(&c, &n))
                }),
        )
        .route(
            "/users/{name}/password",
            put(|State(d): Shared, Extension(c): Who, Path(n): Name, b: Bytes| {
                costly(d, move |d| d.access.user_set_password(&c, &n, &body(&b)?, two_persons(d)))
            }),
        )
        .route(
            "/tokens",
            get(|State(d): Shared, Extension(c): Who| run(d, move |d| d.access.token_list(&c))).post(
                |State(d): Shared, Extension(c): Who, b: Bytes| {
                    run(d, move |d| d.access.token_create(&c, &body(&b)?))
                },
            ),
        )
        .route(
            "/tokens/{id}",
            axum::routing::delete(|State(d): Shared, Extension(c): Who, Path(i): Name| {
                run(d, move |d| d.access.token_remove(&c, &i))
            }),
        )
        .merge(super::oidc::routes())
        .merge(second_persons())
        .merge(audit())
}

fn second_persons() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/approvals", get(|State(d): Shared| run(d, |d| d.access.approval_list())))
        .route(
            "/approvals/{id}",
            get(|State(d): Shared, Path(i): Name| run(d, move |d| d.access.approval_show(&i))),
        )
        .route("/approvals/{id}/approve", post(approve))
        .route(
            "/approvals/{id}/refuse",
            post(|State(d): Shared, Extension(c): Who, Path(i): Name| {
                run(d, move |d| {
                    let message = format!("request {i} is refused");
                    d.access.refuse(&c, &i).map(|()| Done { message, names: vec![i.clone()] })
                })
            }),
        )
}

/// A head that was noted elsewhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Against {
    against: Option<String>,
}

/// Which lines.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Lines {
    #[serde(default)]
    after: u64,
    #[serde(default = "most_lines")]
    limit: usize,
}

const fn most_lines() -> usize {
    1000
}

fn audit() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/audit", get(audit_page))
        .route(
            "/audit/verify",
            get(|State(d): Shared, q: RawQuery| {
                run(d, move |d| d.access.audit_verify(query::<Against>(&q)?.against.as_deref()))
            }),
        )
        .route(
            "/audit/export",
            get(|State(d): Shared, q: RawQuery| {
                run(d, move |d| {
                    let Lines { after, limit } = query(&q)?;
                    d.access.audit_export(after, limit)
                })
            }),
        )
}

async fn audit_page(State(d): Shared, q: RawQuery) -> Response {
    let page = blocking(d, move |d| {
        let ask: AuditQuery = query(&q)?;
        d.access.audit_page(&ask).map(|page| (ask, page))
    });
    let (ask, (rows, before)) = match page.await {
        Ok(page) => page,
        Err(refused) => return error_response(&refused),
    };
    let mut answer = axum::Json(rows).into_response();
    if let Some(link) = before.and_then(|before| next_link(&ask, before)) {
        answer.headers_mut().insert(header::LINK, link);
    }
    answer
}

/// RFC 8288: the same question from where this page ended.
fn next_link(ask: &AuditQuery, before: u64) -> Option<HeaderValue> {
    let next = AuditQuery { cursor: Some(before.to_string()), ..ask.clone() };
    let pairs = [
        ("limit", next.limit.map(|limit| limit.to_string())),
        ("cursor", next.cursor),
        ("kind", next.kind),
        ("who", next.who),
        ("what", next.what),
        ("text", next.text),
        ("since", next.since),
        ("until", next.until),
    ];
    let query = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(&value?))));
    let query = query.collect::<Vec<_>>().join("&");
    HeaderValue::from_str(&format!("<{BASE}/audit?{query}>; rel=\"next\"")).ok()
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}

async fn log_in(
    State(d): Shared,
    Extension(Secure(secure)): Extension<Secure>,
    Extension(Source(from)): Extension<Source>,
    headers: HeaderMap,
    b: Bytes,
) -> Response {
    let before = SESSION.of(&headers, secure).map(str::to_owned);
    let outcome = with_turn(d, move |d| {
        let ask: LogIn = body(&b).map_err(without_values)?;
        d.access.log_in(&ask, from, before.as_deref())
    });
    logged_in(outcome.await, secure)
}

async fn set_up(
    State(d): Shared,
    Extension(Secure(secure)): Extension<Secure>,
    Extension(Source(from)): Extension<Source>,
    b: Bytes,
) -> Response {
    let outcome = with_turn(d, move |d| {
        let ask: FirstUser = body(&b).map_err(without_values)?;
        d.access.set_up(&ask, from)
    });
    logged_in(outcome.await, secure)
}

/// What the parser says of a body may have a part of it; here that could be a password. So a field is told if it is one of these.
fn without_values(error: ApiError) -> ApiError {
    const MEMBERS: [&str; 3] = ["user", "password", "token"];
    ApiError {
        message: "the request cannot be read: it has other fields than a log-in".to_owned(),
        remedy: Some("send {user, password}, {token}, or for a first user all three".to_owned()),
        field: error.field.filter(|field| MEMBERS.contains(&field.as_str())),
        ..error
    }
}

fn logged_in(outcome: Result<LoggedIn, ApiError>, secure: bool) -> Response {
    match outcome {
        Ok(LoggedIn { cookie, state }) => {
            let mut answer = axum::Json(state).into_response();
            if let Some(value) = SESSION.set(Some(&cookie), secure) {
                answer.headers_mut().insert(header::SET_COOKIE, value);
            }
            answer
        }
        Err(refused) => error_response(&refused),
    }
}

async fn log_out(
    State(d): Shared,
    Extension(Secure(secure)): Extension<Secure>,
    headers: HeaderMap,
) -> Response {
    d.access.log_out(SESSION.of(&headers, secure));
    let mut answer = axum::Json(Done { message: "logged out".to_owned(), names: Vec::new() }).into_response();
    if let Some(value) = SESSION.set(None, secure) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}

/// Does what another has asked for. Its own lines in the audit log name both.
async fn approve(
    State(d): Shared,
    Extension(inside): Extension<Inside>,
    Extension(c): Who,
    peer: ConnectInfo<SocketAddr>,
    Path(id): Name,
) -> Response {
    let approved = blocking(d.clone(), move |d| d.access.approve(&c, &id)).await;
    let done = match approved {
        Ok((approval, asker)) => perform(d, &inside, &approval, asker, peer).await,
        Err(refused) => Err(refused),
    };
    done.unwrap_or_else(|refused| error_response(&refused))
}

async fn perform(
    d: Arc<Daemon>,
    inside: &Inside,
    approval: &Approval,
    caller: Caller,
    peer: ConnectInfo<SocketAddr>,
) -> Result<Response, ApiError> {
    let asked = &approval.asked;
    let what = format!("{} approved by {}", asked.method, approval.decided_by.as_deref().unwrap_or_default());
    let body = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
    let detail = crate::access::redacted(&asked.path, &body);
    let who = caller.clone();
    let begun = blocking(d.clone(), move |d| d.access.note_request(&who, &what, detail)).await?;
    let unusable = |_| internal("the request that was kept is none");
    let conditions = [(header::IF_MATCH.as_str(), &asked.if_match), (once::HEADER, &asked.key)];
    let conditions = conditions.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let request = conditions
        .fold(Request::builder(), |request, (name, value)| request.header(name, value))
        .method(asked.method.as_str())
        .uri(format!("{BASE}{}", asked.path))
        .header(header::CONTENT_TYPE, "application/json")
        // Whose key it is: the door is behind it, so this opens nothing.
        .header(header::AUTHORIZATION, format!("asked by {}", asked.by))
        .extension(Granted::of_words(&asked.needs))
        .extension(caller)
        .extension(peer)
        .body(Body::from(asked.body.clone()))
        .map_err(unusable)?;
    let routes = inside.0.get().cloned().ok_or_else(|| internal("the API is not there yet"))?;
    let answer = match routes.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let status = answer.status();
    let result = if status.is_success() { "ok".to_owned() } else { format!("failed: {status}") };
    blocking(d, move |d| d.access.note_outcome(begun, result)).await?;
    Ok(answer)
}

pub(super) async fn blocking<T: Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(move || operation(&daemon)).await.map_err(|failed| {
        tracing::error!(%failed, "an API operation failed");
        internal("the operation failed; see the log")
    })?
}

/// The same for what hashes a password: so many at once, so that nobody takes all memory and cores by asking.
async fn with_turn<T: Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = daemon.access.hashing.clone().acquire_owned().await;
    let turn = turn.map_err(|_| internal("the server stops"))?;
    // The turn goes with the work, which goes on when who asked for it hangs up.
    let in_turn = move |daemon: &Daemon| {
        let _turn = turn;
        operation(daemon)
    };
    blocking(daemon, in_turn).await
}

async fn costly<T: Serialize + Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Response {
    match with_turn(daemon, operation).await {
        Ok(answer) => (StatusCode::OK, axum::Json(answer)).into_response(),
        Err(refused) => error_response(&refused),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn who_hangs_up_while_a_password_is_hashed_does_not_give_the_turn_back_before_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let turns = daemon.access.hashing.clone();
        let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let asking = runtime.spawn(with_turn(daemon.clone(), move |_| {
            begin.send(()).unwrap();
            ended.recv().ok();
            Ok(())
        }));
        begun.recv().unwrap();
        asking.abort();
        assert!(runtime.block_on(asking).unwrap_err().is_cancelled());
        assert_eq!(turns.available_permits(), 1, "the work goes on");
        end.send(()).unwrap();
        drop(runtime.block_on(turns.acquire_many(2)).unwrap());
        daemon.stop();
    }
}
