//! Who may ask: every request passes here, and nothing else decides.
//!
//! 1. The Host header names this machine (DNS rebinding), and a page that asks comes from it (Origin).
//! 2. Who asks: the `Authorization` header, or else the cookie. A change by cookie shows the text that only its pages know (CSRF).
//! 3. The table of routes (`src/access/rules.rs`) says what the request needs, and the caller's roles whether he may.
//! 4. What wants a second person is kept until there is one.
//! 5. A change is written to the audit log, done, and its outcome written; then the answer goes. Who hangs up does not stop that.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tracing::error;
use vtl_api::{ApiError, BASE, ErrorCode};
use vtl_auth::{Asked, Permission};
use zeroize::Zeroizing;

use super::call::{no_text, whole_body};
use super::cookie::SESSION;
use super::{error_response, once};
use crate::access::rules::{Granted, Need, need, need_of_fields, only_reads};
use crate::access::{Caller, Presence, Shown, redacted};
use crate::daemon::{Daemon, internal};

/// A page sends it with each change.
const CSRF: &str = "x-csrf-token";
/// A page sends it with what it asks by itself, when nobody has touched it for a while. No page changes anything by itself.
const UNATTENDED: &str = "x-vtl-unattended";
/// Browsers open a stream again whenever it ends, whoever sits there.
const STREAM: &str = "/events";

/// What callers are held against.
pub(super) struct Guard {
    daemon: Arc<Daemon>,
    secure: bool,
}

impl Guard {
    pub(super) fn new(daemon: Arc<Daemon>, secure: bool) -> Self {
        Self { daemon, secure }
    }
}

/// Lets a request pass, or answers in its place.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.pass(request, next).await {
        Ok(answer) => answer,
        Err(refused) => error_response(&refused),
    }
}

/// A request as it is looked at: what it is, and where it came from.
struct Knock {
    method: String,
    /// Method and route, for the log.
    what: String,
    route: Option<String>,
    path: String,
    from: IpAddr,
    presence: Presence,
}

impl Knock {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
        let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
        let path = path.strip_prefix(BASE).map(str::to_owned).unwrap_or(path);
        let shown = route.as_deref().map_or("", |route| route.strip_prefix(BASE).unwrap_or(route));
        let method = request.method().as_str().to_owned();
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from = peer.map_or(IpAddr::from([0; 4]), |ConnectInfo(peer)| peer.ip().to_canonical());
        let presence = presence(&method, shown, request.headers());
        Self { what: format!("{method} {shown}"), method, route, path, from, presence }
    }
}

/// Whether somebody is there who asks for this route.
fn presence(method: &str, route: &str, headers: &HeaderMap) -> Presence {
    if only_reads(method) && (route == STREAM || headers.contains_key(UNATTENDED)) {
        Presence::Unattended
    } else {
        Presence::Attended
    }
}

impl Guard {
    async fn pass(self: Arc<Self>, mut request: Request, next: Next) -> Result<Response, ApiError> {
        let knock = Knock::of(&request);
        self.check_names(request.headers())?;
        let need = match &knock.route {
            None => Some(Need::Of(Permission::Read)),
            Some(route) => need(&knock.method, route),
        };
        if need == Some(Need::Open) {
            request.extensions_mut().insert(Source(knock.from));
            let (head, body) = request.into_parts();
            let body = whole_body(&head, body).await?;
            return Ok(next.run(Request::from_parts(head, Body::from(body))).await);
        }
        let caller = self.caller(request.headers(), knock.from, knock.presence).await?;
        let Some(Need::Of(permission)) = need else { return Ok(without_a_row(&knock)) };
        if !only_reads(&knock.method) {
            self.check_page(&caller, request.headers())?;
            // Who hangs up must not leave a change without its outcome.
            let whole = tokio::spawn(self.change(knock, permission, request, next));
            return whole.await.map_err(|failed| {
                error!(%failed, "an API operation failed");
                internal("the operation failed; see the log")
            })?;
        }
        may(&caller, permission)?;
        let shown = shown(request.headers(), self.secure);
        let pass = Pass { daemon: self.daemon.clone(), shown, from: knock.from };
        request.extensions_mut().insert(pass);
        request.extensions_mut().insert(caller);
        Ok(next.run(request).await)
    }

    /// Something changes, or shall.
    async fn change(
        self: Arc<Self>,
        knock: Knock,
        permission: Permission,
        request: Request,
        next: Next,
    ) -> Result<Response, ApiError> {
        let (mut head, body) = request.into_parts();
        let bytes = whole_body(&head, body).await?;
        // A body may take its time: what counts is what the caller may now.
        let caller = self.caller(&head.headers, knock.from, knock.presence).await?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let detail = redacted(&knock.path, &body);
        let mut needs = vec![permission];
        needs.extend(need_of_fields(&knock.method, knock.route.as_deref().unwrap_or_default(), &body));
        needs.extend(self.need_of_now(&knock, &mut head, &body).await?);
        if let Some(refused) = needs.iter().find_map(|need| may(&caller, *need).err()) {
            let what = knock.what.clone();
            let note = move |daemon: &Daemon| {
                daemon.access.note_refused(&caller, &what, detail, &refused);
                Err(refused)
            };
            return Err(self.off::<ApiError>(note).await?);
        }
        let second = needs.iter().copied().find(|need| self.wants_second(*need, &body));
        let (who, what) = (caller.clone(), knock.what.clone());
        let begun = self.off(move |daemon| daemon.access.note_request(&who, &what, detail)).await?;
        let answer = match second {
            Some(second) => match asked(&knock, &caller, (second, &needs), &head.headers, &bytes) {
                Ok(asked) => self.hold(asked).await,
                Err(refused) => error_response(&refused),
            },
            None => {
                head.extensions.insert(Granted::new(&needs));
                head.extensions.insert(caller);
                next.run(Request::from_parts(head, Body::from(bytes))).await
            }
        };
        let result = result_of(&answer);
        self.off(move |daemon| daemon.access.note_outcome(begun, result)).await?;
        Ok(answer)
    }

    /// What a library is set to may delete cartridges as well as a request does, and a job that is tried again does what it was
    /// asked for once. Both can change until it is done: the operation looks again.
    async fn need_of_now(
        &self,
        knock: &Knock,
        head: &mut Parts,
        body: &Value,
    ) -> Result<Option<Permission>, ApiError> {
        let names = RawPathParams::from_request_parts(head, &()).await;
        let name = names.ok().and_then(|names| names.iter().next().map(|(_, value)| value.to_owned()));
        let (Some(route), Some(name)) = (knock.route.as_deref(), name) else { return Ok(None) };
        let route = route.strip_prefix(BASE).unwrap_or(route).to_owned();
        let (method, body) = (knock.method.clone(), body.clone());
        self.off(move |daemon| match (method.as_str(), route.as_str()) {
            ("POST", "/jobs/{id}/retry") => daemon.need_of_retry(&name),
            _ => {
                let deletes = daemon.would_delete(&method, &route, &name, &body)?;
                Ok(deletes.then_some(Permission::Destroy))
            }
        })
        .await
    }

    /// A plan changes nothing, and needs nobody's yes.
    fn wants_second(&self, need: Permission, body: &Value) -> bool {
        need.wants_two_persons() && !is_plan(body) && self.daemon.config().access.two_person
    }

    async fn hold(&self, asked: Asked) -> Response {
        match self.off(move |daemon| daemon.access.hold(asked)).await {
            Ok(waits) => (StatusCode::ACCEPTED, axum::Json(waits)).into_response(),
            Err(refused) => error_response(&refused),
        }
    }

    /// Work on disk, off the network threads.
    async fn off<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let daemon = self.daemon.clone();
        tokio::task::spawn_blocking(move || work(&daemon)).await.map_err(|failed| {
            error!(%failed, "an API operation failed");
            internal("the operation failed; see the log")
        })?
    }

    async fn caller(
        &self,
        headers: &HeaderMap,
        from: IpAddr,
        presence: Presence,
    ) -> Result<Caller, ApiError> {
        let shown = shown(headers, self.secure);
        self.off(move |daemon| daemon.access.by(&shown, from, presence)).await
    }

    /// A form on another page can send the cookie, and cannot know this text.
    fn check_page(&self, caller: &Caller, headers: &HeaderMap) -> Result<(), ApiError> {
        match caller.is_page(text(headers, CSRF).unwrap_or_default()) {
            true => Ok(()),
            false => Err(ApiError::new(
                ErrorCode::Forbidden,
                "a change by cookie needs the header X-CSRF-Token",
                "send the value csrf of GET /api/v1/session",
            )
            .about("X-CSRF-Token")),
        }
    }

    fn check_names(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let config = self.daemon.config();
        let doors =
            Doors { hosts: &config.api.hosts, any_address: config.api.is_wide(), secure: self.secure };
        doors.check(headers)
    }
}

impl Guard {
    /// Whether somebody who came with these headers may look, with GET, at what lies beside the API.
    pub(super) async fn may_look(self: Arc<Self>, headers: HeaderMap, from: IpAddr) -> Result<(), ApiError> {
        self.check_names(&headers)?;
        let caller = self.caller(&headers, from, presence("GET", "", &headers)).await?;
        may(&caller, Permission::Read)
    }
}

/// Whether a plan is wanted, and nothing done.
pub(super) fn is_plan(body: &Value) -> bool {
    body.get("plan").and_then(Value::as_bool) == Some(true)
}

/// `localhost`, or a loopback address, with or without a port.
pub(crate) fn is_this_machine(host: &str) -> bool {
    Doors { hosts: &[], any_address: false, secure: false }.is_this_machine(host)
}

/// Where a caller without a name comes from, for requests that prove by themselves who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source(pub(super) IpAddr);

/// A request as it is kept for a second person: all of it that decides what it does.
fn asked(
    knock: &Knock,
    caller: &Caller,
    (second, needs): (Permission, &[Permission]),
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Asked, ApiError> {
    let if_match = headers.get(header::IF_MATCH).map(|value| value.to_str().map(str::to_owned)).transpose();
    Ok(Asked {
        method: knock.method.clone(),
        path: knock.path.clone(),
        body: body.to_vec(),
        if_match: if_match.map_err(|_| no_text("If-Match"))?,
        key: once::text(headers)?.map(str::to_owned),
        permission: second.word().to_owned(),
        needs: needs.iter().map(|need| need.word()).collect::<Vec<_>>().join(" "),
        by: caller.who.text(),
        roles: caller.roles,
    })
}

/// What a request was let in with, for an answer that takes long.
#[derive(Clone)]
pub(super) struct Pass {
    daemon: Arc<Daemon>,
    shown: Shown,
    from: IpAddr,
}

impl Pass {
    /// On loopback without TLS.
    #[cfg(test)]
    pub(super) fn of(daemon: &Arc<Daemon>, headers: &HeaderMap, from: IpAddr) -> Self {
        Self { daemon: daemon.clone(), shown: shown(headers, false), from }
    }

    /// Whether it still opens the door.
    pub(super) async fn is_good(&self) -> bool {
        let pass = self.clone();
        let asked =
            tokio::task::spawn_blocking(move || pass.daemon.access.still_opens(&pass.shown, pass.from));
        asked.await.unwrap_or(false)
    }
}

fn shown(headers: &HeaderMap, secure: bool) -> Shown {
    match text(headers, header::AUTHORIZATION) {
        Some(given) => {
            Shown::Bearer(Zeroizing::new(given.strip_prefix("Bearer ").unwrap_or_default().to_owned()))
        }
        None => Shown::Cookie(Zeroizing::new(SESSION.of(headers, secure).unwrap_or_default().to_owned())),
    }
}

fn may(caller: &Caller, permission: Permission) -> Result<(), ApiError> {
    if caller.may(permission) {
        return Ok(());
    }
    let roles = permission.roles().iter().map(vtl_auth::Role::word).collect::<Vec<_>>().join(" or ");
    let why = format!("{} may not do this: it needs '{}'", caller.who.text(), permission.word());
    Err(ApiError::new(ErrorCode::Forbidden, why, format!("ask somebody who is {roles}")))
}

/// A method that the route does not have, or a route that nobody has given a permission: both are closed.
fn without_a_row(knock: &Knock) -> Response {
    let route = knock.route.as_deref().unwrap_or_default();
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        .into_iter()
        .filter(|method| need(method, route).is_some());
    let methods = methods.collect::<Vec<_>>().join(",");
    if methods.is_empty() {
        error!(route, "a route has no permission");
        let why = "nobody may do this: the route has no permission";
        return error_response(&ApiError::new(
            ErrorCode::Forbidden,
            why,
            "report this: it is a fault of vtld",
        ));
    }
    let message = "the path does not have this method";
    let mut told =
        error_response(&ApiError::new(ErrorCode::MethodNotAllowed, message, format!("use {methods}")));
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        told.headers_mut().insert(header::ALLOW, methods);
    }
    told
}

fn result_of(answer: &Response) -> String {
    let status = answer.status();
    match status {
        StatusCode::ACCEPTED => "waits for a second person".to_owned(),
        status if status.is_success() => "ok".to_owned(),
        status => format!("failed: {status}"),
    }
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Headers of every answer: no page of ours is framed, runs what is not ours, or tells others where it was.
const ALWAYS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];
/// With TLS: browsers never ask without it again, for a year.
const WITH_TLS: (&str, &str) = ("strict-transport-security", "max-age=31536000");

/// Puts the headers of every answer on this one.
pub(super) fn protect(mut answer: Response, secure: bool) -> Response {
    let also = secure.then_some(WITH_TLS);
    for (name, value) in ALWAYS.into_iter().chain(also) {
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    let headers = answer.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// The names that mean this machine.
struct Doors<'c> {
    hosts: &'c [String],
    /// Others can reach it: by any address, which no name server can turn to us.
    any_address: bool,
    secure: bool,
}

impl Doors<'_> {
    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let host = text(headers, header::HOST).unwrap_or_default();
        if !self.is_this_machine(host) {
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                "the Host header does not name this machine",
                "use 127.0.0.1 or localhost, or put the name into api.hosts",
            )
            .about("Host"));
        }
        let scheme = if self.secure { "https://" } else { "http://" };
        let is_ours =
            |origin: &str| origin.strip_prefix(scheme).is_some_and(|from| from.eq_ignore_ascii_case(host));
        match text(headers, header::ORIGIN) {
            Some(origin) if !is_ours(origin) => Err(ApiError::new(
                ErrorCode::Forbidden,
                "pages of other origins may not use the API",
                "use vtl, or a page of this daemon",
            )
            .about("Origin")),
            _ => Ok(()),
        }
    }

    /// `localhost`, a loopback address or a name of the configuration, with or without a port.
    fn is_this_machine(&self, host: &str) -> bool {
        let is_door = |address: IpAddr| self.any_address || address.to_canonical().is_loopback();
        if let Ok(address) = host.parse::<SocketAddr>() {
            return is_door(address.ip());
        }
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return is_door(address);
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors<'c>(hosts: &'c [String], any_address: bool, secure: bool) -> Doors<'c> {
        Doors { hosts, any_address, secure }
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_hosts() {
        let known = ["vtl.example".to_owned()];
        let doors = doors(&known, false, false);
        for host in
            ["127.0.0.1:8460", "localhost", "LOCALHOST:8460", "[::1]:8460", "127.0.0.2", "VTL.example:8460"]
        {
            assert!(doors.is_this_machine(host), "{host}");
        }
        for host in [
            "evil.example",
            "10.0.0.1:8460",
            "localhost.example:80",
            "127.0.0.1.example",
            "",
            "a.vtl.example",
        ] {
            assert!(!doors.is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_wide_listener_is_called_by_its_address_and_still_by_no_name_that_nobody_gave_it() {
        let doors = doors(&[], true, true);
        assert!(doors.is_this_machine("192.0.2.10:8460") && doors.is_this_machine("[2001:db8::1]:8460"));
        assert!(!doors.is_this_machine("evil.example:8460"));
    }

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    /// Host, origin, with TLS, whether it may ask.
    const ORIGINS: [(&str, &str, bool, bool); 7] = [
        ("localhost:8460", "http://localhost:8460", false, true),
        ("localhost:8460", "http://localhost:3000", false, false),
        ("localhost:8460", "http://evil.example", false, false),
        ("localhost:8460", "https://localhost:8460", false, false),
        ("localhost:8460", "null", false, false),
        ("localhost:8460", "https://localhost:8460", true, true),
        ("localhost:8460", "http://localhost:8460", true, false),
    ];

    #[test]
    fn a_page_that_says_so_and_a_stream_are_nobody_who_asks() {
        let page = headers(&[(header::HeaderName::from_static("x-vtl-unattended"), "1")]);
        assert_eq!(presence("GET", "/jobs", &page), Presence::Unattended);
        assert_eq!(presence("DELETE", "/jobs", &page), Presence::Attended, "somebody has pressed a button");
        assert_eq!(presence("GET", "/jobs", &HeaderMap::new()), Presence::Attended);
        assert_eq!(presence("GET", "/events", &HeaderMap::new()), Presence::Unattended);
    }

    #[test]
    fn only_pages_of_this_very_host_port_and_scheme_may_ask() {
        for (host, origin, secure, may) in ORIGINS {
            let found =
                doors(&[], false, secure).check(&headers(&[(header::HOST, host), (header::ORIGIN, origin)]));
            assert_eq!(found.is_ok(), may, "{origin} at {host}");
        }
        assert!(
            doors(&[], false, false).check(&headers(&[(header::HOST, "localhost")])).is_ok(),
            "no page at all"
        );
    }
}
