//! `GET /events`: the event bus as server-sent events. `docs/api.md` says what a client may count on.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use vtl_api::{ErrorCode, ListenTo, Refusal};

use super::{reading, refusal};
use crate::daemon::invalid;
use crate::events::{Bus, Event, EventId, Kind, Listener, MOST_STREAMS};

/// So often a comment says that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream and what it sends before it listens.
struct Open {
    listener: Listener,
    kinds: Vec<Kind>,
    first: Option<Sent>,
}

/// Begins a stream.
pub(super) fn open(bus: &Arc<Bus>, query: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let asked: ListenTo = reading::query(query)?;
    let kinds = kinds(asked.types.as_deref())?;
    let Some((listener, known)) = bus.listen(seen(headers)?) else {
        let message = format!("{MOST_STREAMS} streams of events are open");
        return Err(refusal(ErrorCode::Busy, &message, "close one, or ask for lists now and then").into());
    };
    let reset = || Sent::default().event("reset").id(bus.last().to_string()).data("{}");
    let open = Open { listener, kinds, first: known.is_err().then(reset) };
    let sent = stream::unfold(open, |mut open| async move {
        let next = match open.first.take() {
            Some(first) => first,
            // Who has missed something comes again, and is told so.
            None => told(&*open.listener.next(&open.kinds).await.ok()?),
        };
        Some((Ok::<_, Infallible>(next), open))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(sent).keep_alive(alive).into_response())
}

fn told(event: &Event) -> Sent {
    Sent::default().event(event.kind.word()).id(event.id.to_string()).data(&event.data)
}

fn kinds(types: Option<&str>) -> Result<Vec<Kind>, Refusal> {
    let Some(types) = types else { return Ok(Kind::ALL.to_vec()) };
    let kind = |word: &str| {
        let words = Kind::ALL.map(Kind::word).join(", ");
        let refused = || invalid(format!("'{word}' is no type of events"), &format!("write some of {words}"));
        Kind::from_word(word).ok_or_else(|| Refusal::from(refused()).about("types"))
    };
    types.split(',').map(kind).collect()
}

/// A name that is none of ours is of a start that we do not know: that is missed, not wrong.
fn seen(headers: &HeaderMap) -> Result<Option<EventId>, Refusal> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| text.parse().ok());
    Ok(Some(read.unwrap_or(EventId::UNKNOWN)))
}
