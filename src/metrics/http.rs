//! `GET /metrics`, `/health/live` and `/health/ready`: what programs that watch ask for, beside the API.
//!
//! Health needs no token: it says `ok`, or one word. The metrics need the API's token, or the one of `metrics.token_file`, or nothing from this
//! machine with `metrics.open`.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::error;
use vtl_api::{ApiError, ErrorCode};
use vtl_store::Health;

use super::CONTENT_TYPE;
use crate::api::{error_response, is_this_machine};
use crate::daemon::Daemon;
use crate::pools::Pool;

/// Whether the API would let a caller with these headers, from there, in.
type Admission = Arc<dyn Fn(HeaderMap, IpAddr) -> Answer + Send + Sync>;
type Answer = Pin<Box<dyn Future<Output = Result<(), ApiError>> + Send>>;

/// So long it may take to tell: less than the ten seconds that Prometheus waits.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Clone)]
struct Watched {
    daemon: Arc<Daemon>,
    admission: Admission,
    metrics: Turn,
    health: Turn,
}

/// One thread at a time finds out what is to be told. When it hangs, whoever asks hears so, and no further thread is lost.
#[derive(Clone)]
struct Turn(Arc<Semaphore>);

impl Turn {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// None: it could not be told in time.
    async fn tell<T: Send + 'static>(
        &self,
        patience: Duration,
        tell: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let told = async {
            let turn = self.0.clone().acquire_owned().await.ok()?;
            let found = spawn_blocking(move || {
                // Kept until it is told, however long nobody has waited for it by then.
                let _turn = turn;
                tell()
            });
            found.await.inspect_err(|why| error!(%why, "what is to be told cannot be found out")).ok()
        };
        timeout(patience, told).await.ok().flatten()
    }
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
        .with_state(Watched {
            daemon,
            admission: Arc::new(admission),
            metrics: Turn::new(),
            health: Turn::new(),
        })
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
    match watched.metrics.tell(PATIENCE, move || daemon.metrics()).await {
        Some(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Some(Err(why)) => failed(&why),
        None => error_response(&ApiError::new(
            ErrorCode::Busy,
            format!("the metrics could not be told within {} s", PATIENCE.as_secs()),
            "check the disks of pools and state folder",
        )),
    }
}

fn failed(why: &str) -> Response {
    error!(why, "the metrics cannot be told");
    error_response(&crate::daemon::internal("the metrics cannot be told; see the log"))
}

async fn ready(State(watched): State<Watched>) -> Response {
    let daemon = watched.daemon.clone();
    match watched.health.tell(PATIENCE, move || daemon.unready()).await {
        Some(None) => "ok\n".into_response(),
        Some(Some(why)) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "busy\n").into_response(),
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
        let takes_none =
            |pool: &Arc<Pool>| matches!(pool.store.health(), Health::ReadOnly { .. }) || pool.survey.hangs();
        let broken = || self.sessions().targets().iter().any(|target| !target.failures().is_empty());
        let reasons: [(&str, &dyn Fn() -> bool); 4] = [
            ("store", &|| pools.iter().any(takes_none)),
            ("pool", &|| !self.pools.closed_ones().is_empty()),
            ("device", &broken),
            ("jobs", &|| !self.jobs.problems().is_empty()),
        ];
        reasons.into_iter().find(|(_, is_so)| is_so()).map(|(word, _)| word)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_look_that_hangs_keeps_one_thread_and_whoever_asks_meanwhile_hears_so() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            // What would take a second thread would wait for ever.
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let turn = Turn::new();
            let (go, wait) = mpsc::channel::<()>();
            let soon = Duration::from_millis(50);
            assert_eq!(turn.tell(soon, move || wait.recv().is_ok()).await, None);
            assert_eq!(turn.tell::<()>(soon, || panic!("the turn is another's")).await, None);
            go.send(()).unwrap();
            assert_eq!(turn.tell(Duration::from_secs(30), || 5).await, Some(5));
            // What fails has no answer, and keeps nobody from the next one.
            assert_eq!(turn.tell::<()>(PATIENCE, || panic!("made to fail")).await, None);
            assert_eq!(turn.tell(Duration::from_secs(30), || 6).await, Some(6));
        });
    }
}
