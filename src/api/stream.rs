//! `GET /events`: the event bus as server-sent events. `docs/api.md` says what a client may count on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use vtl_api::{ApiError, ErrorCode, ListenTo};

use super::admit::Pass;
use super::reading;
use crate::daemon::invalid;
use crate::events::{Bus, Event, EventId, Kind, Listener, MOST_STREAMS};

/// So often a comment says that the stream is alive, and it is asked whether who listens still may.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream and what it sends before it listens.
struct Open {
    listener: Listener,
    kinds: Vec<Kind>,
    first: Option<Sent>,
    pass: Pass,
    looks: Interval,
}

impl Open {
    /// What is sent next. Nothing: who has missed something comes again, and is told so; who may listen no more comes again, and is refused.
    async fn next(&mut self) -> Option<Sent> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            tokio::select! {
                biased;
                _ = self.looks.tick() => if !self.pass.is_good().await { return None },
                event = self.listener.next(&self.kinds) => return Some(told(&*event.ok()?)),
            }
        }
    }
}

/// Begins a stream.
pub(super) fn open(
    bus: &Arc<Bus>,
    query: &str,
    headers: &HeaderMap,
    pass: Pass,
) -> Result<Response, ApiError> {
    open_with(bus, query, headers, (pass, HEARTBEAT))
}

fn open_with(
    bus: &Arc<Bus>,
    query: &str,
    headers: &HeaderMap,
    (pass, heartbeat): (Pass, Duration),
) -> Result<Response, ApiError> {
    let asked: ListenTo = reading::query(query)?;
    let kinds = kinds(asked.types.as_deref())?;
    let Some((listener, known)) = bus.listen(seen(headers)?) else {
        let message = format!("{MOST_STREAMS} streams of events are open");
        return Err(ApiError::new(ErrorCode::Busy, message, "close one, or ask for lists now and then"));
    };
    let reset = || Sent::default().event("reset").id(bus.last().to_string()).data("{}");
    let mut looks = interval_at(Instant::now() + heartbeat, heartbeat);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let open = Open { listener, kinds, first: known.is_err().then(reset), pass, looks };
    let sent = stream::unfold(open, |mut open| async move {
        let next = open.next().await?;
        Some((Ok::<_, Infallible>(next), open))
    });
    let alive = KeepAlive::new().interval(heartbeat).text("alive");
    Ok(Sse::new(sent).keep_alive(alive).into_response())
}

fn told(event: &Event) -> Sent {
    Sent::default().event(event.kind.word()).id(event.id.to_string()).data(&event.data)
}

fn kinds(types: Option<&str>) -> Result<Vec<Kind>, ApiError> {
    let Some(types) = types else { return Ok(Kind::ALL.to_vec()) };
    let kind = |word: &str| {
        let words = Kind::ALL.map(Kind::word).join(", ");
        let refused = || invalid(format!("'{word}' is no type of events"), &format!("write some of {words}"));
        Kind::from_word(word).ok_or_else(|| refused().about("types"))
    };
    types.split(',').map(kind).collect()
}

/// A name that is none of ours is of a start that we do not know: that is missed, not wrong.
fn seen(headers: &HeaderMap) -> Result<Option<EventId>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| text.parse().ok());
    Ok(Some(read.unwrap_or(EventId::UNKNOWN)))
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use axum::http::header;
    use serde_json::json;

    use super::*;
    use crate::daemon::tests::open as daemon;

    #[test]
    fn a_stream_ends_when_the_token_that_opened_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = daemon(folder.path(), &[]);
        let from = std::net::IpAddr::from([127, 0, 0, 1]);
        let root = daemon.access.by_bearer(&daemon.state.token().unwrap(), from).unwrap();
        let ask = serde_json::from_value(json!({ "name": "screen", "role": "viewer" })).unwrap();
        let made = daemon.access.token_create(&root, &ask).unwrap();
        let headers = HeaderMap::from_iter([(
            header::AUTHORIZATION,
            format!("Bearer {}", made.token).parse().unwrap(),
        )]);
        let pass = Pass::of(&daemon, &headers, from);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        runtime.block_on(async {
            assert!(pass.is_good().await);
            let often = Duration::from_millis(10);
            let answer = open_with(&daemon.events, "", &HeaderMap::new(), (pass.clone(), often)).unwrap();
            let ended = tokio::spawn(to_bytes(answer.into_body(), 1 << 20));
            daemon.access.token_remove(&root, &made.info.id).unwrap();
            ended.await.unwrap().unwrap();
            assert!(!pass.is_good().await);
        });
        daemon.stop();
    }
}
