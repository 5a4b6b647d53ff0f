//! One request of the API: what it takes, what it answers, and what does it. From the same rows requests are served and the OpenAPI text is made.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vtl_api::{ApiError, ErrorCode};

use super::page::Page;
use super::reading;
use crate::access::rules::Granted;
use crate::daemon::{Daemon, internal};

/// No parameters, and no body.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What a request brings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Values of the path's parameters, in their order.
    pub path: Vec<String>,
    pub query: String,
    pub body: Bytes,
    /// What the door has asked for.
    pub granted: Granted,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub json: Vec<u8>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Makes the schema of a type known.
pub(crate) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

type Operation = dyn Fn(&Daemon, &Asked) -> Result<Answered, ApiError> + Send + Sync;

/// How a request is carried out.
#[derive(Clone)]
pub(crate) enum Does {
    /// By an operation of the daemon, with an answer in JSON.
    Operation(Arc<Operation>),
    /// It becomes a stream of events.
    Events,
    /// By a handler of its own, which sees headers and the caller: the row is for the OpenAPI text.
    Elsewhere,
}

/// One request.
#[derive(Clone)]
pub(crate) struct Route {
    pub method: Method,
    /// Below the API's base, with parameters in braces.
    pub path: &'static str,
    pub summary: &'static str,
    /// Of its parameters when it only reads, of its body when it changes something.
    pub takes: SchemaOf,
    pub answers: SchemaOf,
    pub does: Does,
    /// Its answer is a list that has pages.
    pub is_paged: bool,
    /// Its answer has a secret that must not be kept.
    pub is_secret: bool,
    /// It answers with a job ([`vtl_api::JobDetail`]).
    pub makes_job: bool,
    /// It asks a remote, and waits for it.
    pub is_far: bool,
    /// It does so when a plan is wanted of it.
    pub plans_far: bool,
    /// The `GET` of the thing that it changes, when its own path does not begin with that.
    pub about: Option<&'static str>,
}

/// The values of a path's parameters.
pub(crate) trait FromPath {
    fn from_path(values: &[String]) -> Self;
}

impl FromPath for () {
    fn from_path(_: &[String]) -> Self {}
}

impl FromPath for String {
    fn from_path(values: &[String]) -> Self {
        values.first().cloned().unwrap_or_default()
    }
}

impl FromPath for (String, String) {
    fn from_path(values: &[String]) -> Self {
        (values.first().cloned().unwrap_or_default(), values.get(1).cloned().unwrap_or_default())
    }
}

/// A request that only reads: from the values in its path and its parameters.
pub(crate) fn get<P: FromPath, Q, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, Q) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    Q: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    let does = move |daemon: &Daemon, asked: &Asked| {
        let query = reading::query(&asked.query)?;
        operation(daemon, P::from_path(&asked.path), query).and_then(|answer| whole(&answer))
    };
    Route::new::<Q, T>(Method::GET, path, summary, Arc::new(does))
}

/// A list that has pages.
pub(crate) fn list<Q, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, (), Q) -> Result<Page<T>, ApiError> + Send + Sync + 'static,
) -> Route
where
    Q: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    let does = move |daemon: &Daemon, asked: &Asked| {
        let page = operation(daemon, (), reading::query(&asked.query)?)?;
        let answered = whole(&page.rows)?;
        Ok(Answered { next: page.next.map(|cursor| cursor.to_string()), ..answered })
    };
    Route { is_paged: true, ..Route::new::<Q, Vec<T>>(Method::GET, path, summary, Arc::new(does)) }
}

/// A request that makes something, or has something done.
pub(crate) fn post<P: FromPath, B, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    change(Method::POST, path, summary, operation)
}

/// A request that sets something as a whole.
pub(crate) fn put<P: FromPath, B, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    change(Method::PUT, path, summary, operation)
}

/// A request that sets some members of something.
pub(crate) fn patch<P: FromPath, B, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    change(Method::PATCH, path, summary, operation)
}

/// A request that removes something.
pub(crate) fn delete<P: FromPath, B, T>(
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    change(Method::DELETE, path, summary, operation)
}

fn change<P: FromPath, B, T>(
    method: Method,
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    change_as_granted(method, path, summary, move |daemon, path, body, _: &Granted| {
        operation(daemon, path, body)
    })
}

/// A change that needs more or less as the settings are: it looks again at what the door has asked for.
pub(crate) fn change_as_granted<P: FromPath, B, T>(
    method: Method,
    path: &'static str,
    summary: &'static str,
    operation: impl Fn(&Daemon, P, B, &Granted) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Route
where
    B: DeserializeOwned + JsonSchema,
    T: Serialize + JsonSchema,
{
    let does = move |daemon: &Daemon, asked: &Asked| {
        let Nothing {} = reading::query(&asked.query)?;
        let body = reading::body(&asked.body)?;
        operation(daemon, P::from_path(&asked.path), body, &asked.granted).and_then(|answer| whole(&answer))
    };
    Route::new::<B, T>(method, path, summary, Arc::new(does))
}

/// The stream of events.
pub(crate) fn events<Q: JsonSchema, T: JsonSchema>(path: &'static str, summary: &'static str) -> Route {
    Route { does: Does::Events, ..Route::new::<Q, T>(Method::GET, path, summary, Arc::new(no_operation)) }
}

/// A request that is served beside the table.
pub(crate) fn elsewhere<I: JsonSchema, T: JsonSchema>(
    method: Method,
    path: &'static str,
    summary: &'static str,
) -> Route {
    Route { does: Does::Elsewhere, ..Route::new::<I, T>(method, path, summary, Arc::new(no_operation)) }
}

fn no_operation(_: &Daemon, _: &Asked) -> Result<Answered, ApiError> {
    Err(internal("this request has no operation"))
}

fn whole<T: Serialize>(answer: &T) -> Result<Answered, ApiError> {
    let json = serde_json::to_vec(answer).map_err(|why| internal(&why.to_string()))?;
    Ok(Answered { json, next: None })
}

impl Route {
    fn new<I: JsonSchema, T: JsonSchema>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        does: Arc<Operation>,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            takes: |generator| generator.subschema_for::<I>(),
            answers: |generator| generator.subschema_for::<T>(),
            does: Does::Operation(does),
            is_paged: false,
            is_secret: false,
            makes_job: false,
            is_far: false,
            plans_far: false,
            about: None,
        }
    }

    /// The answer is one of these forms; the operation gives it as plain JSON.
    pub(crate) fn answers<T: JsonSchema>(self) -> Self {
        Self { answers: |generator| generator.subschema_for::<T>(), ..self }
    }

    /// It changes the thing of this path.
    pub(crate) fn about(self, path: &'static str) -> Self {
        Self { about: Some(path), ..self }
    }

    /// It answers with the job that it has made.
    pub(crate) fn makes_job(self) -> Self {
        Self { makes_job: true, ..self }
    }

    /// Its answer is told once and not kept for a repeated request.
    pub(crate) fn tells_a_secret(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// It asks a remote, and waits for it.
    pub(crate) fn asks_a_remote(self) -> Self {
        Self { is_far: true, ..self }
    }

    /// Its plan asks a remote, and waits for it.
    pub(crate) fn plans_at_a_remote(self) -> Self {
        Self { plans_far: true, ..self }
    }

    /// Whether it only reads.
    pub(crate) fn is_read(&self) -> bool {
        self.method == Method::GET
    }

    /// Whether it reads one thing.
    pub(crate) fn is_of_one(&self) -> bool {
        self.is_read() && self.path.contains('{') && !matches!(self.does, Does::Elsewhere)
    }

    /// Names of the path's parameters, in their order.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Carries it out.
    ///
    /// # Errors
    /// What is said instead.
    pub(crate) fn run(&self, daemon: &Daemon, asked: &Asked) -> Result<Answered, ApiError> {
        match &self.does {
            Does::Operation(operation) => operation(daemon, asked),
            Does::Events | Does::Elsewhere => no_operation(daemon, asked),
        }
    }
}

/// What is wrong with one field. What is our fault, or the disk's, is no field's.
pub(crate) fn field<T, E: Into<ApiError>>(name: &str, outcome: Result<T, E>) -> Result<T, ApiError> {
    outcome.map_err(|error| {
        let error: ApiError = error.into();
        if error.code == ErrorCode::Internal { error } else { error.about(name) }
    })
}
