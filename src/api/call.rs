//! One request from its head to its answer: what is read, what must hold, what is given back.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;
use vtl_api::{ApiError, BASE, ErrorCode};

use super::admit::{Pass, is_plan};
use super::once::{self, Key, Once};
use super::route::{Answered, Asked, Does, Route};
use super::tag::Tag;
use super::things::Things;
use super::{BODY_LIMIT, error_response, page, reading, stream, thing_of};
use crate::access::rules::Granted;
use crate::daemon::{Daemon, internal, invalid};

/// A body must have arrived by then.
const BODY_TIME: Duration = Duration::from_secs(30);

/// So much of a body that is too long is read before that is said.
const HEARD_OUT: usize = 1 << 20;

/// So many requests of each sort are carried out at once; more wait. Each takes a thread, and the threads are also those of transfers.
const MOST_LOOKS: usize = 64;
const MOST_CHANGES: usize = 64;
/// Of those that ask a remote, which may hang.
const MOST_FAR: usize = 8;
/// Who waits for longer is told so.
const TURN_TIME: Duration = Duration::from_secs(30);

/// All that requests share.
pub(super) struct Api {
    daemon: Arc<Daemon>,
    looks: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    far: Arc<Semaphore>,
    routes: Vec<Route>,
    things: Things,
    once: Once,
}

/// What the headers ask beside the request.
#[derive(Default)]
struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    key: Option<Key>,
}

/// What goes back when all went well.
struct Good {
    answered: Answered,
    tag: Option<Tag>,
    /// Whoever asks has it already.
    is_known: bool,
    is_replayed: bool,
}

impl Api {
    pub(super) fn new(daemon: Arc<Daemon>, routes: Vec<Route>) -> Self {
        let [looks, changes, far] =
            [MOST_LOOKS, MOST_CHANGES, MOST_FAR].map(|most| Arc::new(Semaphore::new(most)));
        Self { daemon, looks, changes, far, routes, things: Things::default(), once: Once::default() }
    }

    /// Answers a request for the route with this number.
    pub(super) async fn answer(
        self: Arc<Self>,
        at: usize,
        names: RawPathParams,
        request: Request,
    ) -> Response {
        match self.try_answer(at, names, request).await {
            Ok(response) => response,
            Err(refused) => error_response(&refused),
        }
    }

    async fn try_answer(
        self: Arc<Self>,
        at: usize,
        names: RawPathParams,
        request: Request,
    ) -> Result<Response, ApiError> {
        let route = self.routes.get(at).ok_or_else(|| internal("the request has no route"))?;
        let (head, body) = request.into_parts();
        let path = names.iter().map(|(_, value)| value.to_owned()).collect();
        let query = head.uri.query().unwrap_or_default().to_owned();
        if matches!(route.does, Does::Events) {
            let pass = head.extensions.get::<Pass>().cloned();
            let pass = pass.ok_or_else(|| internal("a stream was not let in by the door"))?;
            return stream::open(&self.daemon.events, &query, &head.headers, pass);
        }
        let granted = head.extensions.get::<Granted>().cloned().unwrap_or_default();
        let body = if route.is_read() { Bytes::new() } else { read(&head, body, BODY_TIME).await? };
        let asked = Asked { path, query, body, granted };
        let conditions = conditions(route, &head.headers, &asked)?;
        let turn = self.turn(route, &asked.body).await?;
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let route = self.routes.get(at).ok_or_else(|| internal("the request has no route"))?;
            let good = self.carry_out(route, &asked, &conditions)?;
            respond(route, &asked, good)
        });
        worked.await.unwrap_or_else(|failed| {
            error!(%failed, "an API operation failed");
            Err(internal("the operation failed; see the log"))
        })
    }

    async fn turn(&self, route: &Route, body: &[u8]) -> Result<OwnedSemaphorePermit, ApiError> {
        let plans_far = || serde_json::from_slice::<Value>(body).is_ok_and(|body| is_plan(&body));
        let is_far = route.is_far || (route.plans_far && plans_far());
        let turns = match (is_far, route.is_read()) {
            (true, _) => &self.far,
            (false, true) => &self.looks,
            (false, false) => &self.changes,
        };
        let turn = tokio::time::timeout(TURN_TIME, turns.clone().acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let message = format!("{TURN_TIME:?} have passed, and others are still before this request");
            ApiError::new(
                ErrorCode::Busy,
                message,
                "ask again in a moment; vtl system status tells what hangs",
            )
        })
    }

    fn carry_out(&self, route: &Route, asked: &Asked, conditions: &Conditions) -> Result<Good, ApiError> {
        if route.is_read() {
            return self.look(route, asked, conditions);
        }
        let Some(thing) = thing_of(route, &self.routes) else {
            if conditions.if_match.is_some() {
                return Err(no_tag());
            }
            return self.change(route, asked, conditions, || Ok(()));
        };
        let named = Asked { path: asked.path.clone(), ..Asked::default() };
        let name = of_path(thing, &named);
        match &conditions.if_match {
            None => self.things.beside(&name, || self.change(route, asked, conditions, || Ok(()))),
            Some(tags) => self.things.alone(&name, || {
                let holds = || {
                    let now = Tag::of(&thing.run(&self.daemon, &named)?.json);
                    if now.holds(tags) { Ok(()) } else { Err(changed(&name)) }
                };
                self.change(route, asked, conditions, holds)
            }),
        }
    }

    fn look(&self, route: &Route, asked: &Asked, conditions: &Conditions) -> Result<Good, ApiError> {
        let answered = route.run(&self.daemon, asked)?;
        let tag = route.is_of_one().then(|| Tag::of(&answered.json));
        let is_known = match (&tag, &conditions.if_none_match) {
            (Some(tag), Some(tags)) => tag.is_known(tags),
            _ => false,
        };
        Ok(Good { answered, tag, is_known, is_replayed: false })
    }

    /// What was done before, with this key, is only told again: whatever has changed since.
    fn change(
        &self,
        route: &Route,
        asked: &Asked,
        conditions: &Conditions,
        holds: impl FnOnce() -> Result<(), ApiError>,
    ) -> Result<Good, ApiError> {
        let operation = || {
            holds()?;
            route.run(&self.daemon, asked)
        };
        let (answered, is_replayed) = match &conditions.key {
            Some(key) => self.once.carry_out(&self.daemon, route, key, operation)?,
            None => (operation()?, false),
        };
        Ok(Good { answered, tag: None, is_known: false, is_replayed })
    }
}

/// A thing's path with the values of its parameters.
fn of_path(route: &Route, asked: &Asked) -> String {
    let mut values = asked.path.iter();
    let part = |part: &str| match part.starts_with('{') {
        true => values.next().cloned().unwrap_or_default(),
        false => part.to_owned(),
    };
    route.path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn no_tag() -> ApiError {
    let error = ApiError::new(
        ErrorCode::Invalid,
        "what this request changes has no ETag",
        "send it without If-Match; docs/api.md says what has one",
    );
    error.about("If-Match")
}

fn changed(name: &str) -> ApiError {
    let message = format!("{name} has changed since the tag in If-Match");
    let error = ApiError::new(ErrorCode::Changed, message, "look at it again, and send its new ETag");
    error.about("If-Match")
}

fn conditions(route: &Route, headers: &HeaderMap, asked: &Asked) -> Result<Conditions, ApiError> {
    let text = |name: &str| Some(headers.get(name)?.to_str().map(str::to_owned).map_err(|_| no_text(name)));
    let key = if route.method == axum::http::Method::POST { Key::of(route, headers, asked)? } else { None };
    Ok(Conditions {
        if_match: text("If-Match").transpose()?,
        if_none_match: text("If-None-Match").transpose()?,
        key,
    })
}

/// A header with a tag in it.
pub(super) fn no_text(name: &str) -> ApiError {
    invalid(format!("{name} is no text"), "send the ETag as it was answered").about(name)
}

/// The body of a request that changes something.
pub(super) async fn whole_body(head: &Parts, body: Body) -> Result<Bytes, ApiError> {
    read(head, body, BODY_TIME).await
}

/// The body, when it is not too long, comes in time and says that it is JSON.
async fn read(head: &Parts, body: Body, time: Duration) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(time, collect(body)).await.map_err(|_| {
        let message = format!("the body has not arrived within {} s", time.as_secs());
        ApiError::new(ErrorCode::Timeout, message, "send it at once")
    })?;
    let body = collected.map_err(|why| invalid(format!("the body broke off: {why}"), "send it again"))?;
    let bytes = body.ok_or_else(|| {
        let message = format!("the request has more than {BODY_LIMIT} bytes");
        ApiError::new(ErrorCode::TooLarge, message, "ask for less at once")
    })?;
    if !bytes.is_empty() {
        reading::is_json(&head.headers)?;
    }
    Ok(bytes)
}

/// Nothing of one that is too long. Some of the rest is read all the same: who still sends does not hear what is said.
async fn collect(mut body: Body) -> Result<Option<Bytes>, axum::Error> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length > HEARD_OUT {
            return Ok(None);
        }
        if length <= BODY_LIMIT {
            kept.extend_from_slice(&data);
        }
    }
    Ok((length <= BODY_LIMIT).then(|| kept.into()))
}

fn respond(route: &Route, asked: &Asked, good: Good) -> Result<Response, ApiError> {
    let Good { answered, tag, is_known, is_replayed } = good;
    let mut response = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], answered.json).into_response(),
    };
    let text = |value: String| HeaderValue::try_from(value).map_err(|why| internal(&why.to_string()));
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, text(tag.text())?);
    }
    if let Some(cursor) = answered.next {
        let link = page::link(&format!("{BASE}{}", route.path), &asked.query, &cursor);
        response.headers_mut().insert(header::LINK, text(link)?);
    }
    if is_replayed {
        response.headers_mut().insert(once::REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    #[test]
    fn a_body_that_does_not_come_to_its_end_in_time_is_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))]);
        let slow = Body::from_stream(begun.chain(stream::pending()));
        let (head, ()) = Request::new(()).into_parts();
        let refused = runtime.block_on(read(&head, slow, Duration::from_millis(50))).unwrap_err();
        assert_eq!((refused.code, refused.code.http_status()), (ErrorCode::Timeout, 408));
    }
}
