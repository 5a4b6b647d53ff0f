//! The management API over HTTP: which request is which operation, and how refusals look. Who may ask is said in `admit`.

mod admit;
mod diag;
mod ops;
mod pools;
mod store;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tracing::error;
use vtl_api::{ApiError, BASE, ErrorCode, OnPool};
use vtl_library::{LibraryError, MoveFault};

pub(crate) use admit::is_this_machine;

use crate::daemon::Daemon;
use crate::inventory::CarryError;

/// No request has a larger body.
const BODY_LIMIT: usize = 64 << 10;

/// Serves until the daemon stops.
pub async fn serve(listener: TcpListener, daemon: Arc<Daemon>, token: String) {
    let guard = Arc::new(admit::Guard::new(token));
    let watched = guard.clone();
    let watch = crate::metrics::http::routes(daemon.clone(), move |headers| watched.check(headers));
    let routes = routes(daemon)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::map_response(in_our_words))
        .layer(middleware::from_fn_with_state(guard, admit::admit));
    let app = Router::new()
        .nest(BASE, routes)
        .merge(watch)
        .fallback(|| async { not_found("there is no such page") });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    if let Err(failed) = axum::serve(listener, app).await {
        error!(%failed, "the API has ended");
    }
}

/// Runs a blocking operation off the network threads.
async fn run<T: Serialize + Send + 'static>(
    daemon: Arc<Daemon>,
    operation: impl FnOnce(&Daemon) -> Result<T, ApiError> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(move || operation(&daemon)).await {
        Ok(Ok(answer)) => axum::Json(answer).into_response(),
        Ok(Err(refused)) => error_response(&refused),
        Err(failed) => {
            error!(%failed, "an API operation failed");
            error_response(&crate::daemon::internal("the operation failed; see the log"))
        }
    }
}

/// The one answer that is no JSON.
async fn bundle(daemon: Arc<Daemon>) -> Response {
    match tokio::task::spawn_blocking(move || daemon.diag_bundle()).await {
        Ok(Ok(bytes)) => ([(header::CONTENT_TYPE, "application/gzip")], bytes).into_response(),
        Ok(Err(refused)) => error_response(&refused),
        Err(failed) => {
            error!(%failed, "a diagnostic bundle could not be made");
            error_response(&crate::daemon::internal("the bundle could not be made; see the log"))
        }
    }
}

/// A body that must be JSON of this form.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text)
        .map_err(|e| crate::daemon::invalid(format!("the request cannot be read: {e}"), ""))
}

type Shared = State<Arc<Daemon>>;
type Name = Path<String>;
type Of = Query<OnPool>;

fn routes(daemon: Arc<Daemon>) -> Router {
    let nouns = [
        libraries(),
        cartridges(),
        exports(),
        store(),
        remotes(),
        keys(),
        hooks(),
        jobs(),
        iscsi(),
        system(),
        alerts(),
    ];
    nouns
        .into_iter()
        .fold(Router::new(), Router::merge)
        .fallback(|| async { not_found("there is no such request in this version of the API") })
        .with_state(daemon)
}

/// Libraries and their drives.
fn libraries() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/libraries",
            get(|State(d): Shared| run(d, Daemon::library_list))
                .post(|State(d): Shared, b: Bytes| run(d, move |d| d.library_create(&body(&b)?))),
        )
        .route(
            "/libraries/{name}",
            get(|State(d): Shared, Path(n): Name| run(d, move |d| d.library_show(&n))),
        )
        .route(
            "/libraries/{name}",
            patch(|State(d): Shared, Path(n): Name, b: Bytes| run(d, move |d| d.library_set(&n, &body(&b)?))),
        )
        .route(
            "/libraries/{name}",
            delete(|State(d): Shared, Path(n): Name| run(d, move |d| d.library_remove(&n))),
        )
        .route(
            "/libraries/{name}/drives/{number}",
            get(|State(d): Shared, Path((n, number)): Path<(String, String)>| {
                run(d, move |d| d.drive_show(&n, &number))
            }),
        )
        .route("/drives", get(|State(d): Shared| run(d, Daemon::drive_list)))
}

/// Cartridges, in libraries and in the vault.
fn cartridges() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/cartridges", get(|State(d): Shared| run(d, Daemon::cartridge_list)))
        .route(
            "/cartridges",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.cartridge_create(&body(&b)?))),
        )
        .route(
            "/cartridges/{label}",
            get(|State(d): Shared, Path(l): Name| run(d, move |d| d.cartridge_show(&l))),
        )
        .route(
            "/cartridges/{label}",
            patch(|State(d): Shared, Path(l): Name, b: Bytes| {
                run(d, move |d| d.cartridge_set(&l, &body(&b)?))
            }),
        )
        .route(
            "/cartridges/{label}",
            delete(|State(d): Shared, Path(l): Name, b: Bytes| {
                run(d, move |d| d.cartridge_remove(&l, &body(&b)?))
            }),
        )
        .route(
            "/cartridges/{label}/move",
            post(|State(d): Shared, Path(l): Name, b: Bytes| {
                run(d, move |d| d.cartridge_move(&l, &body(&b)?))
            }),
        )
        .route(
            "/cartridges/{label}/restore",
            post(|State(d): Shared, Path(l): Name| run(d, move |d| d.cartridge_restore(&l))),
        )
        .route(
            "/cartridges/{label}/release",
            post(|State(d): Shared, Path(l): Name| run(d, move |d| d.cartridge_release(&l))),
        )
        .route("/vault", get(|State(d): Shared| run(d, Daemon::vault_list)))
        .route(
            "/vault/{label}/load",
            post(|State(d): Shared, Path(l): Name, b: Bytes| run(d, move |d| d.vault_load(&l, &body(&b)?))),
        )
        .route(
            "/vault/{label}",
            delete(|State(d): Shared, Path(l): Name| run(d, move |d| d.vault_remove(&l))),
        )
}

/// Where to look for exports.
#[derive(serde::Deserialize)]
struct OnRemote {
    remote: String,
}

/// Which export.
#[derive(serde::Deserialize)]
struct OneExport {
    remote: String,
    folder: String,
}

/// Exports, imports, and what lies on remotes.
fn exports() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/cartridges/{label}/export",
            post(|State(d): Shared, Path(l): Name, b: Bytes| {
                run(d, move |d| d.cartridge_export(&l, &body(&b)?))
            }),
        )
        .route("/imports", post(|State(d): Shared, b: Bytes| run(d, move |d| d.cartridge_import(&body(&b)?))))
        .route("/ingests", post(|State(d): Shared, b: Bytes| run(d, move |d| d.cartridge_ingest(&body(&b)?))))
        .route(
            "/exports",
            get(|State(d): Shared, Query(q): Query<OnRemote>| run(d, move |d| d.export_list(&q.remote))),
        )
        .route(
            "/exports/show",
            get(|State(d): Shared, Query(q): Query<OneExport>| {
                run(d, move |d| d.export_show(&q.remote, &q.folder))
            }),
        )
        .route(
            "/exports/fetch",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.export_fetch(&body(&b)?))),
        )
        .route(
            "/exports/rewrap",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.export_rewrap(&body(&b)?))),
        )
        .route(
            "/exports/verify",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.export_verify(&body(&b)?))),
        )
        .route(
            "/exports/prune",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.export_prune(&body(&b)?))),
        )
}

/// The store and the pools that it lies in.
fn store() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/store/stats",
            get(|State(d): Shared, Query(q): Of| run(d, move |d| d.store_stats(q.pool.as_deref()))),
        )
        .route(
            "/store/account",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_account(&body(&b)?))),
        )
        .route(
            "/store/key",
            get(|State(d): Shared, Query(q): Of| run(d, move |d| d.store_key(q.pool.as_deref()))),
        )
        .route(
            "/store/key/rotate",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_key_rotate(&body(&b)?))),
        )
        .route(
            "/store/key/export",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_key_export(&body(&b)?))),
        )
        .route("/store/check", post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_check(&body(&b)?))))
        .route(
            "/store/scrub",
            get(|State(d): Shared, Query(q): Of| run(d, move |d| d.store_scrub(q.pool.as_deref()))),
        )
        .route(
            "/store/scrub",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_scrub_begin(&body(&b)?))),
        )
        .route(
            "/store/repair",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_repair(&body(&b)?))),
        )
        .route(
            "/store/rebuild-index",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_rebuild_index(&body(&b)?))),
        )
        .route("/store/gc", post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_gc(&body(&b)?))))
        .route(
            "/pools",
            get(|State(d): Shared| run(d, Daemon::pool_list))
                .post(|State(d): Shared, b: Bytes| run(d, move |d| d.pool_create(&body(&b)?))),
        )
        .route(
            "/pools/{name}",
            get(|State(d): Shared, Path(n): Name| run(d, move |d| d.pool_show(&n))).delete(
                |State(d): Shared, Path(n): Name, b: Bytes| run(d, move |d| d.pool_remove(&n, body(&b)?)),
            ),
        )
        .route(
            "/pools/{name}/folders",
            post(|State(d): Shared, Path(n): Name, b: Bytes| {
                run(d, move |d| d.pool_add_folder(&n, &body(&b)?))
            }),
        )
        .route("/pools/{name}/open", post(|State(d): Shared, Path(n): Name| run(d, move |d| d.pool_open(&n))))
        .route(
            "/pools/{name}/drain",
            post(|State(d): Shared, Path(n): Name, b: Bytes| run(d, move |d| d.pool_drain(&n, &body(&b)?))),
        )
}

/// Which objects of a remote.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Objects {
    folder: Option<String>,
    after: Option<String>,
}

/// Places where exported objects lie.
fn remotes() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/remotes",
            get(|State(d): Shared| run(d, Daemon::remote_list))
                .post(|State(d): Shared, b: Bytes| run(d, move |d| d.remote_create(&body(&b)?))),
        )
        .route(
            "/remotes/{name}",
            get(|State(d): Shared, Path(n): Name| run(d, move |d| d.remote_show(&n)))
                .delete(|State(d): Shared, Path(n): Name| run(d, move |d| d.remote_remove(&n))),
        )
        .route(
            "/remotes/{name}/objects",
            get(|State(d): Shared, Path(n): Name, Query(which): Query<Objects>| {
                run(d, move |d| d.remote_objects(&n, which.folder.as_deref(), which.after.as_deref()))
            }),
        )
        .route(
            "/remotes/{name}/test",
            post(|State(d): Shared, Path(n): Name| run(d, move |d| d.remote_test(&n))),
        )
}

/// Keys of exports.
fn keys() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/keys",
            get(|State(d): Shared| run(d, Daemon::key_list))
                .post(|State(d): Shared, b: Bytes| run(d, move |d| d.key_import(&body(&b)?))),
        )
        .route(
            "/keys/{name}",
            post(|State(d): Shared, Path(n): Name, b: Bytes| run(d, move |d| d.key_create(&n, &body(&b)?)))
                .delete(|State(d): Shared, Path(n): Name, b: Bytes| {
                    run(d, move |d| d.key_remove(&n, &body(&b)?))
                }),
        )
        .route(
            "/keys/{name}/public",
            get(|State(d): Shared, Path(n): Name| run(d, move |d| d.key_public(&n))),
        )
}

/// Programs of the site.
fn hooks() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/hooks", get(|State(d): Shared| run(d, Daemon::hook_list)))
        .route("/hooks/{name}/test", post(|State(d): Shared, Path(n): Name| run(d, move |d| d.hook_test(&n))))
}

/// What takes time.
fn jobs() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/jobs",
            get(|State(d): Shared| run(d, Daemon::job_list))
                .delete(|State(d): Shared| run(d, Daemon::job_clear)),
        )
        .route("/jobs/{id}", get(|State(d): Shared, Path(i): Name| run(d, move |d| d.job_show(&i))))
        .route("/jobs/{id}/cancel", post(|State(d): Shared, Path(i): Name| run(d, move |d| d.job_cancel(&i))))
        .route("/jobs/{id}/pause", post(|State(d): Shared, Path(i): Name| run(d, move |d| d.job_pause(&i))))
        .route("/jobs/{id}/resume", post(|State(d): Shared, Path(i): Name| run(d, move |d| d.job_resume(&i))))
        .route("/jobs/{id}/retry", post(|State(d): Shared, Path(i): Name| run(d, move |d| d.job_retry(&i))))
}

/// Portals, targets, who may log in.
fn iscsi() -> Router<Arc<Daemon>> {
    Router::new()
        .route(
            "/iscsi/portals",
            get(|State(d): Shared| run(d, Daemon::portal_list))
                .post(|State(d): Shared, b: Bytes| run(d, move |d| d.portal_add(&body(&b)?))),
        )
        .route(
            "/iscsi/portals/{address}",
            delete(|State(d): Shared, Path(a): Name| run(d, move |d| d.portal_remove(&a))),
        )
        .route("/iscsi/targets", get(|State(d): Shared| run(d, Daemon::target_list)))
        .route("/iscsi/sessions", get(|State(d): Shared| run(d, Daemon::session_list)))
        .route(
            "/iscsi/targets/{library}/chap",
            put(|State(d): Shared, Path(n): Name, b: Bytes| run(d, move |d| d.chap_set(&n, &body(&b)?)))
                .delete(|State(d): Shared, Path(n): Name| run(d, move |d| d.chap_remove(&n))),
        )
        .route(
            "/iscsi/targets/{library}/initiators/{initiator}",
            delete(|State(d): Shared, Path((n, i)): Path<(String, String)>| {
                run(d, move |d| d.initiator_remove(&n, &i))
            }),
        )
        .route(
            "/iscsi/targets/{library}/initiators",
            post(|State(d): Shared, Path(n): Name, b: Bytes| {
                run(d, move |d| d.initiator_add(&n, &body(&b)?))
            }),
        )
}

/// Configuration and the whole.
fn system() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/config/effective", get(|State(d): Shared| run(d, Daemon::config_effective)))
        .route(
            "/config/check",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.config_check(&body(&b)?))),
        )
        .route("/system/status", get(|State(d): Shared| run(d, Daemon::system_status)))
        .route("/system/diag", get(|State(d): Shared| run(d, Daemon::system_diag)))
        .route("/system/diag/bundle", get(|State(d): Shared| bundle(d)))
        .route(
            "/system/upgrade",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.store_upgrade(body(&b)?))),
        )
        .route("/system/reload", post(|State(d): Shared| run(d, Daemon::system_reload)))
        .route(
            "/system/backup",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.system_backup(&body(&b)?))),
        )
        .route(
            "/system/restore",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.system_restore(&body(&b)?))),
        )
        .route(
            "/system/rebuild",
            post(|State(d): Shared, b: Bytes| run(d, move |d| d.system_rebuild(&body(&b)?))),
        )
}

/// What somebody should act on.
fn alerts() -> Router<Arc<Daemon>> {
    Router::new()
        .route("/alerts", get(|State(d): Shared| run(d, Daemon::alert_list)))
        .route("/alerts/test", post(|State(d): Shared| run(d, Daemon::alert_test)))
        .route(
            "/alerts/{id}/ack",
            post(|State(d): Shared, Path(i): Name| run(d, move |d| d.alert_acknowledge(&i))),
        )
}

/// What the HTTP library refuses by itself (a body that is too large, a method that a path does not have) is JSON, too.
async fn in_our_words(response: Response) -> Response {
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE => error_response(&refusal(
            ErrorCode::Invalid,
            &format!("the request has more than {BODY_LIMIT} bytes"),
            "ask for less at once",
        )),
        StatusCode::METHOD_NOT_ALLOWED => not_found("there is no such request in this version of the API"),
        status if status.is_success() || is_json(&response) => response,
        _ => error_response(&refusal(
            ErrorCode::Invalid,
            "the request cannot be read",
            "see vtl --help for what there is",
        )),
    }
}

fn is_json(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

fn refusal(code: ErrorCode, message: &str, remedy: &str) -> ApiError {
    ApiError { code, message: message.to_owned(), remedy: Some(remedy.to_owned()) }
}

fn not_found(message: &str) -> Response {
    error_response(&refusal(ErrorCode::NotFound, message, "see vtl --help for what there is"))
}

pub(crate) fn error_response(refused: &ApiError) -> Response {
    let status =
        StatusCode::from_u16(refused.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(refused)).into_response()
}

/// The one place where the library's refusals become the API's.
pub fn refused(error: &LibraryError) -> ApiError {
    let code = match error {
        LibraryError::UnknownLibrary(_)
        | LibraryError::UnknownCartridge(_)
        | LibraryError::UnknownTarget(_) => ErrorCode::NotFound,
        LibraryError::LibraryExists(_) | LibraryError::LabelTaken(_) | LibraryError::TargetExists(_) => {
            ErrorCode::Exists
        }
        LibraryError::Move(MoveFault::InvalidElement { .. } | MoveFault::NoSuchMove { .. }) => {
            ErrorCode::Invalid
        }
        LibraryError::NoRoom { .. } => ErrorCode::Full,
        LibraryError::Move(_)
        | LibraryError::NotInVault { .. }
        | LibraryError::NotEmpty { .. }
        | LibraryError::Quarantined { .. }
        | LibraryError::NotQuarantined(_)
        | LibraryError::Occupied { .. }
        | LibraryError::Loaded { .. } => ErrorCode::Conflict,
        LibraryError::Meta(_) => ErrorCode::Internal,
        _ => ErrorCode::Invalid,
    };
    ApiError { code, message: error.to_string(), remedy: None }
}

/// The same for moves.
pub fn not_carried(error: &CarryError) -> ApiError {
    match error {
        CarryError::Refused(error) => refused(error),
        CarryError::Eject { .. } | CarryError::Load { .. } | CarryError::Failed(_) => {
            crate::daemon::internal(&error.to_string())
        }
    }
}
