//! Log-in by a provider of identities: what is offered, how it begins, and where browsers come back.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router, extract::State};
use vtl_api::{ApiError, ErrorCode, OidcOffer, OidcStart};
use zeroize::Zeroizing;

use super::access::{Secure, blocking, run};
use super::admit::Source;
use super::cookie::{Cookie, OIDC, SESSION};
use super::error_response;
use super::route::{Nothing, Route, elsewhere};
use crate::access::BackHome;
use crate::daemon::{Daemon, internal};

/// Who waits longer for the provider is told so.
const TURN_TIME: Duration = Duration::from_secs(10);

/// What the OpenAPI text says of them. Where browsers come back is no request of a program.
pub(super) fn rows() -> Vec<Route> {
    vec![
        elsewhere::<Nothing, OidcOffer>(Method::GET, "/session/oidc", "Whether people log in by OIDC"),
        elsewhere::<Nothing, OidcStart>(Method::POST, "/session/oidc", "Begin a log-in by OIDC"),
    ]
}

pub(super) fn routes() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/session/oidc", get(offer).post(begin))
        .route("/session/oidc/callback", get(come_back))
}

/// Off the network threads: a reload may have the settings in hand.
async fn offer(State(d): State<Arc<Daemon>>) -> Response {
    run(d, |d| Ok(d.access.oidc_offer())).await
}

/// Runs what may wait for the provider: so many at once.
async fn with_turn<T: Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = tokio::time::timeout(TURN_TIME, daemon.access.asking.clone().acquire_owned()).await;
    let turn = turn.map_err(|_| {
        ApiError::new(ErrorCode::Busy, "others wait for the provider already", "log in once more in a moment")
    })?;
    let turn = turn.map_err(|_| internal("the server stops"))?;
    let in_turn = move |daemon: &Daemon| {
        let _turn = turn;
        operation(daemon)
    };
    blocking(daemon, in_turn).await
}

async fn begin(
    State(d): State<Arc<Daemon>>,
    Extension(Secure(secure)): Extension<Secure>,
    Extension(Source(from)): Extension<Source>,
    headers: HeaderMap,
) -> Response {
    let before = wiped(&SESSION, &headers, secure);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let begun = with_turn(d, move |d| {
        let before = before.as_ref().map(|before| before.as_str());
        d.access.oidc_begin(from, &host, before)
    });
    match begun.await {
        Ok((start, cookie)) => {
            with_cookies(axum::Json(start).into_response(), [OIDC.set(Some(&cookie), secure)])
        }
        Err(refused) => error_response(&refused),
    }
}

fn wiped(cookie: &Cookie, headers: &HeaderMap, secure: bool) -> Option<Zeroizing<String>> {
    cookie.of(headers, secure).map(|value| Zeroizing::new(value.to_owned()))
}

fn with_cookies<const N: usize>(mut answer: Response, cookies: [Option<HeaderValue>; N]) -> Response {
    for line in cookies.into_iter().flatten() {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
    answer
}

/// The browser is back: it gets a session and goes to the pages, or is told why not.
async fn come_back(
    State(d): State<Arc<Daemon>>,
    Extension(Secure(secure)): Extension<Secure>,
    Extension(Source(from)): Extension<Source>,
    address: Uri,
    headers: HeaderMap,
) -> Response {
    let back =
        BackHome { cookie: wiped(&OIDC, &headers, secure), ..read(address.query().unwrap_or_default()) };
    let over = OIDC.set(None, secure);
    match with_turn(d, move |d| d.access.oidc_finish(&back, from)).await {
        Ok(logged_in) => {
            // Nothing that came along says where to go.
            let home = (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response();
            with_cookies(home, [SESSION.set(Some(&logged_in.cookie), secure), over])
        }
        Err(refused) => with_cookies(page(&refused), [over]),
    }
}

/// What the provider put into the address; of what is there twice the last counts, and whatever else is there does not.
fn read(query: &str) -> BackHome {
    let mut back = BackHome::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = value.into_owned();
        match &*name {
            "state" => back.state = value,
            "code" => back.code = Some(Zeroizing::new(value)),
            "error" => back.error = Some(value),
            "iss" => back.issuer = Some(value),
            _ => {}
        }
    }
    back
}

/// For people: there is no page of ours yet that could ask for it.
fn page(refused: &ApiError) -> Response {
    let status =
        StatusCode::from_u16(refused.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (message, remedy) =
        (escaped(&refused.message), escaped(refused.remedy.as_deref().unwrap_or_default()));
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Not logged in – vtl</title>\n\
         <main><h1>Not logged in</h1>\n<p>{message}.</p>\n<p>What to do: {remedy}.</p>\n\
         <p><a href=\"/\">Back to the log-in</a></p></main></html>\n"
    );
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_address_only_what_the_protocol_has_is_read() {
        let back =
            read("session_state=5&code=a%2Fb&state=x&iss=https%3A%2F%2Fid.example.org&return=//evil.example");
        assert_eq!((back.state.as_str(), back.code.unwrap().as_str()), ("x", "a/b"));
        assert_eq!((back.issuer.as_deref(), back.error), (Some("https://id.example.org"), None));
        assert_eq!(read("").state, "");
    }

    #[test]
    fn what_came_from_elsewhere_is_text_in_the_page() {
        assert_eq!(escaped("<script>\"x'&"), "&lt;script&gt;&quot;x&#39;&amp;");
    }
}
