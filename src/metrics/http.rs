//! `GET /metrics`, `/health/live` and `/health/ready`: what programs that watch ask for, beside the API.
//!
//! Health needs no token: it says `ok`, or one word. The metrics need the API's token, or the one of `metrics.token_file`, or nothing from this
//! machine with `metrics.open`.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq;
use tracing::error;
use vtl_api::ApiError;
use vtl_store::Health;

use super::CONTENT_TYPE;
use crate::api::{error_response, is_this_machine};
use crate::daemon::Daemon;

/// Whether the API would let a caller with these headers, from there, in.
type Admission = Arc<dyn Fn(HeaderMap, IpAddr) -> Answer + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

#[derive(Clone)]
struct Watched {
    daemon: Arc<Daemon>,
    admission: Admission,
}

/// The pages of this module. `admission`: whom the API lets in.
pub fn routes(
    daemon: Arc<Daemon>,
    admission: impl Fn(HeaderMap, IpAddr) -> Answer + Send + Sync + 'static,
) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "ok\n" }))
        .route("/health/ready", get(ready))
        .with_state(Watched { daemon, admission: Arc::new(admission) })
}

async fn metrics(State(watched): State<Watched>, request: Request) -> Response {
    if !watched.is_open_to(&request) {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from = peer.map_or(IpAddr::from([0; 4]), |ConnectInfo(peer)| peer.ip().to_canonical());
        if let Err(refused) = (watched.admission)(request.headers().clone(), from).await {
            return error_response(&refused);
        }
    }
    let daemon = watched.daemon.clone();
    match tokio::task::spawn_blocking(move || daemon.metrics()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Ok(Err(why)) => failed(&why),
        Err(why) => failed(&why.to_string()),
    }
}

fn failed(why: &str) -> Response {
    error!(why, "the metrics cannot be told");
    error_response(&crate::daemon::internal("the metrics cannot be told; see the log"))
}

async fn ready(State(watched): State<Watched>) -> Response {
    let daemon = watched.daemon.clone();
    match tokio::task::spawn_blocking(move || daemon.unready()).await {
        Ok(None) => "ok\n".into_response(),
        Ok(Some(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "failed\n").into_response(),
    }
}

impl Watched {
    /// Whether the configuration lets this request in without the API's token.
    fn is_open_to(&self, request: &Request) -> bool {
        let metrics = &self.daemon.config().metrics;
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let given =
            text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let has_token =
            metrics.token.as_ref().is_some_and(|token| bool::from(token.expose().ct_eq(given.as_bytes())));
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let from_here = peer.is_some_and(|ConnectInfo(peer)| peer.ip().is_loopback());
        // A page in a browser of this machine is no program that watches.
        let by_name = text(header::HOST).is_some_and(is_this_machine) && text(header::ORIGIN).is_none();
        has_token || (metrics.open && from_here && by_name)
    }
}

impl Daemon {
    /// Why hosts cannot do their work now, in a word.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        let pools = self.pools.open_ones();
        let read_only = pools.iter().any(|pool| matches!(pool.store.health(), Health::ReadOnly { .. }));
        let broken = || self.sessions().targets().iter().any(|target| !target.failures().is_empty());
        let reasons: [(&str, &dyn Fn() -> bool); 4] = [
            ("store", &|| read_only),
            ("pool", &|| !self.pools.closed_ones().is_empty()),
            ("device", &broken),
            ("jobs", &|| !self.jobs.problems().is_empty()),
        ];
        reasons.into_iter().find(|(_, is_so)| is_so()).map(|(word, _)| word)
    }
}
