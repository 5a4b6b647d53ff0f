//! The management API over HTTP. `docs/api.md` is the contract; who may ask is said in `admit`.
//!
//! A request comes in by a connection (`server`), is let in (`admit`), finds its row in the table of routes ([`table`], a list for each noun), is read
//! (`reading`), and is carried out on a thread that may wait (`call`). Rows that say what a request takes and answers also make the OpenAPI text.

mod access;
mod admit;
mod alerts;
mod call;
mod cartridges;
mod cookie;
mod diag;
#[cfg(test)]
mod door_tests;
mod drives;
mod exports;
#[cfg(test)]
mod field_tests;
mod iscsi;
mod jobs;
mod keys;
mod libraries;
mod oidc;
pub(crate) mod once;
mod openapi;
mod page;
mod pools;
mod reading;
mod remotes;
mod route;
mod server;
mod store;
mod stream;
mod system;
mod tag;
mod things;
mod unlisted;
mod vault;

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{RawPathParams, Request};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Extension, Router};
use schemars::JsonSchema;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use vtl_api::{ApiError, BASE, Done, ErrorCode, JobPlan, ListenTo, PROBLEM_JSON};
use vtl_library::{LibraryError, MoveFault};
use vtl_types::{CartridgeId, IscsiName, Label, LibraryName, PoolName};

pub(crate) use self::admit::is_this_machine;
use self::call::Api;
pub(crate) use self::cartridges::new_size;
pub(crate) use self::pools::folder_problems;
pub(crate) use self::route::field;
use self::route::{Does, Nothing, Route, get};
use crate::daemon::{Daemon, internal, invalid};
use crate::inventory::CarryError;
use crate::tls::Tls;
use crate::unit::Failed;

type Answer<T> = Result<T, ApiError>;

/// No request has a larger body.
const BODY_LIMIT: usize = 64 << 10;

/// Serves until the daemon stops.
pub async fn serve(listener: TcpListener, daemon: Arc<Daemon>) {
    let tls = daemon.tls.as_ref().map(Tls::acceptor);
    server::serve(listener, tls, app(&daemon)).await;
}

/// Everything that is served, behind the door.
fn app(daemon: &Arc<Daemon>) -> Router {
    let (secure, inside) = (daemon.tls.is_some(), access::Inside::default());
    let routes = routes(daemon.clone())
        .merge(access::access().with_state(daemon.clone()))
        .layer(middleware::map_response(in_our_words))
        .layer(Extension(access::Secure(secure)))
        .layer(Extension(inside.clone()));
    inside.is(Router::new().nest(BASE, routes.clone()));
    let guard = Arc::new(admit::Guard::new(daemon.clone(), secure));
    let door = guard.clone();
    let watch = crate::metrics::http::routes(daemon.clone(), move |headers, from| {
        Box::pin(door.clone().may_look(headers, from))
    });
    let routes = routes.layer(middleware::from_fn_with_state(guard, admit::admit));
    let protected = move |answer: Response| async move { admit::protect(answer, secure) };
    Router::new()
        .nest(BASE, routes)
        .merge(watch)
        .fallback(web_page)
        .layer(middleware::map_response(protected))
}

/// What is not of the API is a web page, or nothing.
async fn web_page(request: Request) -> Response {
    crate::web::answer(&request).unwrap_or_else(|| not_found("there is no such page"))
}

/// Every request that there is.
pub(crate) fn table() -> Vec<Route> {
    let nouns = [
        libraries::routes(),
        drives::routes(),
        cartridges::routes(),
        unlisted::routes(),
        vault::routes(),
        exports::routes(),
        store::routes(),
        pools::routes(),
        remotes::routes(),
        keys::routes(),
        jobs::routes(),
        iscsi::routes(),
        system::routes(),
        access::rows(),
        oidc::rows(),
        alerts::routes(),
        own(),
    ];
    nouns.into_iter().flatten().collect()
}

/// Requests about the API itself.
fn own() -> Vec<Route> {
    vec![
        route::events::<ListenTo, String>("/events", "What happens, as server-sent events"),
        get("/openapi.json", "This text", |_: &Daemon, (), _: Nothing| {
            Ok::<_, ApiError>(openapi::document(&table()))
        }),
    ]
}

/// The `GET` of the thing that a request changes: the longest one that its path begins with.
fn thing_of<'a>(route: &Route, all: &'a [Route]) -> Option<&'a Route> {
    let is_in_front = |of: &&Route| match route.about {
        Some(about) => of.path == about,
        None => route.path.strip_prefix(of.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    all.iter().filter(|of| of.is_of_one()).filter(is_in_front).max_by_key(|of| of.path.len())
}

fn routes(daemon: Arc<Daemon>) -> Router {
    let bundled = daemon.clone();
    let api = Arc::new(Api::new(daemon, table()));
    let with = |router: Router, (at, route): (usize, Route)| {
        let api = api.clone();
        if matches!(route.does, Does::Elsewhere) {
            return router;
        }
        let Ok(filter) = MethodFilter::try_from(route.method) else { return router };
        router.route(
            route.path,
            on(filter, move |names: RawPathParams, request: Request| api.clone().answer(at, names, request)),
        )
    };
    table()
        .into_iter()
        .enumerate()
        .fold(Router::new(), with)
        // The one answer that is no JSON.
        .route("/system/diag/bundle", axum::routing::get(move || diag::bundle(bundled.clone())))
        .fallback(|| async { not_found("there is no such request in this version of the API") })
}

/// An answer that is a plan when one was asked for.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "a form of answers for the OpenAPI text")]
enum Planned<T> {
    Plan(JobPlan),
    Done(T),
}

/// What the HTTP library refuses by itself (a method that a path does not have, a path that is no text) is told as all else is.
async fn in_our_words(response: Response) -> Response {
    let status = response.status();
    if status.is_success() || status.is_redirection() || is_ours(&response) {
        return response;
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = response.headers().get(header::ALLOW).cloned();
        let methods =
            allowed.as_ref().and_then(|allowed| allowed.to_str().ok()).unwrap_or("others").to_owned();
        let message = "the path does not have this method";
        let mut told =
            error_response(&ApiError::new(ErrorCode::MethodNotAllowed, message, format!("use {methods}")));
        told.headers_mut().extend(allowed.map(|allowed| (header::ALLOW, allowed)));
        return told;
    }
    error_response(&ApiError::new(ErrorCode::Invalid, "the request cannot be read", "see docs/openapi.json"))
}

/// The library's own refusals are plain text.
fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
    kind.is_some_and(|kind| {
        ["application/json", PROBLEM_JSON, "text/html"].iter().any(|own| kind.starts_with(own.as_bytes()))
    })
}

fn not_found(message: &str) -> Response {
    error_response(&ApiError::new(ErrorCode::NotFound, message, "see docs/openapi.json for what there is"))
}

/// A refusal as it is sent.
pub(crate) fn error_response(refused: &ApiError) -> Response {
    let status =
        StatusCode::from_u16(refused.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_string(refused).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], text).into_response()
}

/// What requests name by texts of a form of its own.
pub(crate) trait Named: FromStr {
    /// How to write one.
    const HOW: &'static str;
}

impl Named for Label {
    const HOW: &'static str = "write six of A-Z and 0-9, and a media id: L5 to L9, LA; WORM LV to LZ, LH; cleaning CU; such as ABC123L8";
}

impl Named for LibraryName {
    const HOW: &'static str = "write 1 to 32 of a-z, 0-9 and '-', beginning with a letter, such as lib0; 'vault', 'none' and 'diag' are taken";
}

impl Named for PoolName {
    const HOW: &'static str = "write 1 to 32 of a-z, 0-9 and '-', beginning with a letter, such as archive; 'all' and 'none' are taken";
}

impl Named for CartridgeId {
    const HOW: &'static str = "write 32 of 0-9 and a-f, as vtl system status has it";
}

impl Named for IscsiName {
    const HOW: &'static str = IscsiName::FORM;
}

/// The thing that a text names.
pub(crate) fn parse<T: Named>(text: &str) -> Answer<T>
where
    T::Err: Display,
{
    text.parse().map_err(|why: T::Err| invalid(why.to_string(), T::HOW))
}

/// Operations run beside the runtime's own threads, where they may wait for it.
fn runtime() -> Answer<Handle> {
    Handle::try_current().map_err(|e| internal(&e.to_string()))
}

/// What helps against a fault of the program.
const REPORT: &str = "restart vtld, and report what its log says";

fn failed(failed: Failed) -> ApiError {
    ApiError::new(ErrorCode::Internal, failed.to_string(), REPORT)
}

fn done(message: impl Into<String>, names: Vec<String>) -> Done {
    Done { message: message.into(), names }
}

/// The one place where the library's refusals become the API's.
pub fn refused(error: &LibraryError) -> ApiError {
    let code = match error {
        LibraryError::UnknownLibrary(_)
        | LibraryError::UnknownCartridge(_)
        | LibraryError::UnknownTarget(_) => ErrorCode::NotFound,
        LibraryError::LibraryExists(_) | LibraryError::LabelTaken(_) => ErrorCode::Exists,
        LibraryError::NoRoom { .. } => ErrorCode::Full,
        LibraryError::Move(MoveFault::InvalidElement { .. } | MoveFault::NoSuchMove { .. })
        | LibraryError::Count { .. }
        | LibraryError::SeriesEnds { .. }
        | LibraryError::SeriesLength { .. }
        | LibraryError::NoLibraryGiven(_)
        | LibraryError::Setting { .. } => ErrorCode::Invalid,
        LibraryError::Move(_)
        | LibraryError::NotInVault { .. }
        | LibraryError::NotEmpty { .. }
        | LibraryError::Quarantined { .. }
        | LibraryError::NotQuarantined(_)
        | LibraryError::Occupied { .. }
        | LibraryError::Loaded { .. }
        | LibraryError::Follow { .. }
        | LibraryError::NoDeviceNumber => ErrorCode::Conflict,
        LibraryError::Meta(_)
        | LibraryError::NotInstalled
        | LibraryError::OtherInstallation
        | LibraryError::Ids
        | LibraryError::NotRemoving(_)
        | LibraryError::TargetExists(_)
        | LibraryError::TargetNameTooLong(_) => ErrorCode::Internal,
    };
    let remedy = error.remedy().or_else(|| (code == ErrorCode::Internal).then(|| REPORT.to_owned()));
    ApiError { code, message: error.to_string(), remedy, field: member(error) }
}

/// The member that a refusal of the library is about, which is called the same in all requests that meet it.
fn member(error: &LibraryError) -> Option<String> {
    let name = match error {
        LibraryError::Occupied { holders, .. } => {
            let (place, _) = holders.first()?;
            return Some(format!("{}s", place.kind()));
        }
        LibraryError::Setting { key } => return Some(format!("settings.{key}")),
        LibraryError::Count { what, .. } => *what,
        LibraryError::SeriesLength { .. } | LibraryError::SeriesEnds { .. } => "count",
        // Fewer would find room; without any, another library would.
        LibraryError::NoRoom { free, needed, .. } if (1..*needed).contains(free) => "count",
        LibraryError::NoRoom { .. } => "library",
        LibraryError::LibraryExists(_) => "name",
        LibraryError::LabelTaken(_) => "label",
        LibraryError::NoLibraryGiven(_) => "library",
        LibraryError::Move(
            MoveFault::InvalidElement { .. }
            | MoveFault::NoSuchMove { .. }
            | MoveFault::DestinationFull { .. }
            | MoveFault::IncompatibleMedium { .. }
            | MoveFault::CleaningCartridge { .. },
        ) => "to",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The same for moves.
pub fn not_carried(error: &CarryError) -> ApiError {
    match error {
        CarryError::Refused(error) => refused(error),
        CarryError::Eject { .. } | CarryError::Load { .. } => {
            ApiError::new(ErrorCode::Internal, error.to_string(), "see vtl system status and vtl store check")
        }
        CarryError::Switch { .. } | CarryError::Failed(_) => {
            ApiError::new(ErrorCode::Internal, error.to_string(), REPORT)
        }
    }
}

#[cfg(test)]
mod tests {
    use vtl_meta::MetaError;
    use vtl_types::Place;

    use super::*;

    /// What a request can meet, and the member that it names.
    fn met() -> Vec<(LibraryError, u16, Option<&'static str>)> {
        let label: Label = "VTL001L8".parse().unwrap();
        let library: LibraryName = "lib0".parse().unwrap();
        let place = Place::Slot(1);
        let damaged =
            MetaError::Damaged { path: "/made-up".into(), findings: vec!["row 1 missing".to_owned()] };
        let loaded = "it was loaded since".to_owned();
        let unsigned = "what it was made of is foreign: it is not signed".to_owned();
        let target = vtl_library::default_target(&library).unwrap();
        vec![
            (LibraryError::UnknownLibrary(library.clone()), 404, None),
            (LibraryError::UnknownCartridge(label), 404, None),
            (LibraryError::UnknownTarget(target.clone()), 404, None),
            (LibraryError::LibraryExists(library.clone()), 409, Some("name")),
            (LibraryError::NotEmpty { library: library.clone(), labels: vec![label], total: 1 }, 409, None),
            (LibraryError::Count { what: "drives", asked: 0, least: 1, most: 2 }, 400, Some("drives")),
            (
                LibraryError::Occupied { library: library.clone(), holders: vec![(place, label)] },
                409,
                Some("slots"),
            ),
            (LibraryError::LabelTaken(label), 409, Some("label")),
            (LibraryError::SeriesEnds { first: label, asked: 2, possible: 1 }, 400, Some("count")),
            (LibraryError::SeriesLength { asked: 0, most: 1 }, 400, Some("count")),
            (
                LibraryError::NoRoom { library: library.clone(), kind: "slot", free: 1, needed: 2 },
                507,
                Some("count"),
            ),
            (LibraryError::NoRoom { library, kind: "slot", free: 0, needed: 2 }, 507, Some("library")),
            (LibraryError::NoLibraryGiven(label), 400, Some("library")),
            (LibraryError::NotInVault { label, place }, 409, None),
            (LibraryError::Loaded { label, place }, 409, None),
            (LibraryError::Follow { label, why: loaded }, 409, None),
            (LibraryError::Quarantined { label, why: unsigned }, 409, None),
            (LibraryError::NotQuarantined(label), 409, None),
            (LibraryError::Setting { key: "odd".to_owned() }, 400, Some("settings.odd")),
            (LibraryError::NoDeviceNumber, 409, None),
            (LibraryError::TargetExists(target), 500, None),
            (LibraryError::TargetNameTooLong("iqn.made-up".to_owned()), 500, None),
            (LibraryError::Meta(damaged), 500, None),
            (LibraryError::Ids, 500, None),
            (LibraryError::NotRemoving(label), 500, None),
            (MoveFault::InvalidElement { place }.into(), 400, Some("to")),
            (MoveFault::NoSuchMove { from: place, to: place }.into(), 400, Some("to")),
            (MoveFault::SourceEmpty { place }.into(), 409, None),
            (MoveFault::DestinationFull { place, holds: label }.into(), 409, Some("to")),
            (MoveFault::RemovalPrevented { place }.into(), 409, None),
            (MoveFault::DriveClosed { drive: 0 }.into(), 409, None),
            (MoveFault::CleaningCartridge { drive: 0, label }.into(), 409, Some("to")),
            (MoveFault::Reserved { label }.into(), 409, None),
        ]
    }

    #[test]
    fn what_the_library_refuses_has_a_remedy_that_is_not_in_its_message() {
        for (error, status, field) in met() {
            let refused = refused(&error);
            assert_eq!((refused.code.http_status(), refused.field.as_deref()), (status, field), "{error:?}");
            assert!(refused.remedy.is_some(), "{error:?}");
            for advice in ["vtl ", "again", "choose", "first", "--", "leave it", "write"] {
                assert!(!refused.message.contains(advice), "{}", refused.message);
            }
        }
    }

    #[test]
    fn a_removal_that_a_host_prevents_tells_of_the_force_that_the_pages_look_for() {
        let refused = refused(&MoveFault::RemovalPrevented { place: Place::Drive(0) }.into());
        assert_eq!(refused.code, ErrorCode::Conflict);
        assert!(refused.remedy.unwrap().contains("--force"));
    }

    #[test]
    fn what_names_nothing_is_refused_with_how_to_write_it_and_without_saying_so_twice() {
        fn told<T: Named + std::fmt::Debug>(text: &str) -> (String, String)
        where
            T::Err: Display,
        {
            let refused = parse::<T>(text).unwrap_err();
            (refused.message, refused.remedy.unwrap())
        }
        for (message, remedy) in
            [told::<Label>("x"), told::<LibraryName>("No"), told::<PoolName>("No"), told::<IscsiName>("lib0")]
        {
            assert!(!message.contains("write") && !message.contains("such as"), "{message}");
            assert!(remedy.starts_with("write ") && remedy.contains("such as"), "{remedy}");
            // Whoever makes a new one is not helped by those that there are.
            assert!(!remedy.contains(" ls"), "{remedy}");
        }
    }
}
