//! A folder on a WebDAV server (RFC 4918).
//!
//! An object is sent under a name that begins with `.vtl-part-` beside its place and moved there when it is whole, so that
//! nothing half-sent is ever at the object's name. A crash leaves at most such a file; the checkpoint names it, and the next
//! try or `abandon` removes it. Folders are made as they are needed and never removed: WebDAV's DELETE takes along whatever is in
//! one, and what somebody else has put there meanwhile.
//!
//! The requests are made here and not by a library, because those that there are hold a whole object in memory to send it, and
//! put it at its place at once.

mod answer;

use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url};
use vtl_types::Secret;

use crate::body::{self, ByteStream, collect};
use crate::content::{Content, Receipt, StoredHash};
use crate::credential;
use crate::error::{Call, Class, Doing, Error, printable};
use crate::http_setup::{
    After, CONNECT_TIMEOUT, SILENCE, check_endpoint, read_certificates, refuse, shown, without_query,
    wrong_certificates,
};
use crate::listing::Pager;
use crate::name::{Folder, ObjectName, PART_MARK};
use crate::random;
use crate::remote::{
    Abilities, Checkpoint, CreateOnly, HalfSent, Hashes, Head, Page, Put, Remote, Span, Streams, Watch,
};
use crate::status::{MAX_REFUSAL, class_of_status, retry_after};

use answer::{Kind, QUESTION, Thing};

/// What a checkpoint of this driver begins with; the unfinished file's path follows.
const CHECKPOINT: &str = "webdav ";
/// The longest list of one folder that is read, in bytes: some hundred thousand objects.
const MAX_LIST: usize = 64 << 20;
/// The most folders that one listing goes through.
const MAX_FOLDERS: usize = 100_000;
/// So often it is told how much of an object is sent.
const TELL: Duration = Duration::from_millis(500);
/// Longer nobody waits for the removal of what a failed call has left.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// Settings of a WebDAV remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebDavConfig {
    /// The name that the operator gave the remote.
    pub name: String,
    /// `https://host/path` of the folder, which must be there.
    pub endpoint: String,
    /// Certificates of authorities to trust beside the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether `http://` is allowed: everybody on the way can read then, the password too.
    pub allow_http: bool,
    /// Who logs in, and the file with the password; nobody does without.
    pub login: Option<(String, PathBuf)>,
}

/// A folder on a WebDAV server.
#[derive(Clone)]
pub struct WebDavRemote {
    place: Arc<Place>,
}

struct Place {
    name: String,
    /// With a `/` at its end.
    base: Url,
    client: Client,
    login: Option<(String, Secret)>,
}

impl fmt::Debug for WebDavRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = self.place.base.as_str();
        f.debug_struct("WebDavRemote").field("base", &base).finish_non_exhaustive()
    }
}

impl WebDavConfig {
    /// Checks settings and reads the password; nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`], naming the setting and the remedy.
    pub fn open(self) -> Result<WebDavRemote, Error> {
        let place = self.place().map_err(|error| error.on(&self.name))?;
        Ok(WebDavRemote { place: Arc::new(place) })
    }

    fn place(&self) -> Result<Place, Error> {
        check_endpoint(&self.endpoint, self.allow_http, After::Path)?;
        let base = format!("{}/", self.endpoint.trim_end_matches('/'));
        let base = Url::parse(&base).map_err(|error| {
            refuse(format!("the endpoint{}: {error}", shown(&self.endpoint))).of_setting("endpoint")
        })?;
        let login = match &self.login {
            None => None,
            Some((user, _))
                if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) =>
            {
                return Err(refuse(format!(
                    "'{}' is no user: it must have a name without ':'",
                    user.escape_debug()
                ))
                .of_setting("user"));
            }
            Some((user, file)) => {
                let password = credential::read(file).map_err(|error| error.of_setting("password_file"))?;
                Some((user.clone(), password))
            }
        };
        Ok(Place { name: self.name.clone(), base, client: self.client()?, login })
    }

    fn client(&self) -> Result<Client, Error> {
        let mut builder = Client::builder()
            .https_only(!self.allow_http)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE)
            // A redirect would send the password elsewhere, and WebDAV's own methods do not survive one.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &self.ca_file {
            let pem = read_certificates(path)?;
            let certificates = Certificate::from_pem_bundle(&pem)
                .map_err(|error| wrong_certificates(path, &error.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().map_err(|error| refuse(innermost(&error)))
    }
}

/// How an object comes to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Replaces,
    MustBeNew,
}

impl Place {
    /// The address of a path below the folder.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        // An address with a host has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/').filter(|segment| !segment.is_empty()));
        }
        url
    }

    /// The same of a folder, which ends with a separator.
    fn folder_url(&self, path: &str) -> Url {
        let mut url = self.url(path);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("");
        }
        url
    }

    fn request(&self, method: &str, url: Url, call: &Call) -> Result<RequestBuilder, Error> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|error| call.fail(Class::Local, format!("{method}: {error}")))?;
        let request = self.client.request(method, url).header(ACCEPT_ENCODING, "identity");
        Ok(match &self.login {
            None => request,
            Some((user, password)) => request.basic_auth(user, Some(credential::text(password))),
        })
    }

    /// Everything that is right under a path, and itself; `None` when nothing is there.
    async fn ask(&self, url: Url, depth: &str, call: &Call) -> Result<Option<Vec<Thing>>, Error> {
        let request = self.request("PROPFIND", url, call)?;
        let request = request.header("Depth", depth).header(CONTENT_TYPE, "application/xml").body(QUESTION);
        let answer = send(request, call).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = succeeded(answer, call).await?;
        let blame = call.clone();
        let stream = answer.bytes_stream().map_err(move |error| unreachable_server(&error, &blame));
        let bytes = collect(stream.boxed(), MAX_LIST).await.map_err(|error| call.name(error))?;
        let things = answer::read(&String::from_utf8_lossy(&bytes), &self.base);
        things.map(Some).map_err(|why| {
            let why = format!("the server's answer to PROPFIND is not understood, is it WebDAV? {why}");
            call.fail(Class::Misconfigured, why)
        })
    }

    /// What is at a path.
    async fn stat(&self, path: &str, call: &Call) -> Result<Option<Thing>, Error> {
        let found = self.ask(self.url(path), "0", call).await?;
        let Some(found) = found else {
            // Gone is gone, unless the whole folder is.
            self.must_be_there(call).await?;
            return Ok(None);
        };
        Ok(found.into_iter().find(|thing| thing.path.as_deref() == Ok(path)))
    }

    async fn must_be_there(&self, call: &Call) -> Result<(), Error> {
        match self.ask(self.base.clone(), "0", call).await? {
            Some(_) => Ok(()),
            None => Err(call.fail(
                Class::Misconfigured,
                format!("the folder {} is not there: create it, or correct the endpoint", self.base),
            )),
        }
    }

    /// The size of a file, and what is told of it.
    async fn file(&self, name: &ObjectName, call: &Call) -> Result<(u64, Vec<StoredHash>), Error> {
        match self.stat(name.as_str(), call).await? {
            Some(Thing { kind: Kind::File { size }, hashes, .. }) => Ok((size, hashes)),
            Some(Thing { kind: Kind::Unknown, .. }) => Err(no_size(call)),
            _ => Err(call.fail(Class::NotThere, "there is no such object")),
        }
    }

    /// Makes a folder and those above it that are missing.
    async fn make_folder(&self, path: &str, call: &Call) -> Result<(), Error> {
        let mut missing = Vec::new();
        let mut next = path;
        while !next.is_empty() {
            let answer = send(self.request("MKCOL", self.folder_url(next), call)?, call).await?;
            match answer.status() {
                // The one above it is missing.
                StatusCode::CONFLICT | StatusCode::NOT_FOUND => missing.push(next),
                // It is there.
                StatusCode::METHOD_NOT_ALLOWED => break,
                _ => {
                    succeeded(answer, call).await?;
                    break;
                }
            }
            next = split(next).0;
        }
        if next.is_empty() && !missing.is_empty() {
            self.must_be_there(call).await?;
        }
        while let Some(path) = missing.pop() {
            let answer = send(self.request("MKCOL", self.folder_url(path), call)?, call).await?;
            if answer.status() != StatusCode::METHOD_NOT_ALLOWED {
                succeeded(answer, call).await?;
            }
        }
        Ok(())
    }

    /// Sends what the stream brings to a new unfinished file.
    async fn write(
        &self,
        part: &str,
        stream: ByteStream,
        size: u64,
        sent: &Sent,
        call: &Call,
    ) -> Result<(), Error> {
        // The library hides the error of a body in its own.
        let trouble = Arc::new(Mutex::new(None));
        let (noted, count) = (Arc::clone(&trouble), Arc::clone(&sent.bytes));
        // A server takes a body for complete as soon as it has as many bytes as were announced.
        let stream = body::last_when_done(stream)
            .inspect_ok(move |piece| {
                count.fetch_add(piece.len() as u64, Ordering::Relaxed);
            })
            .inspect_err(move |error| {
                noted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| error.clone());
            });
        let request = self.request("PUT", self.url(part), call)?;
        let request = request.header(CONTENT_LENGTH, size).body(reqwest::Body::wrap_stream(stream));
        let outcome = self.written(request, call).await;
        let body = trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        body.map_or(outcome, |error| Err(call.name(error)))
    }

    async fn written(&self, request: RequestBuilder, call: &Call) -> Result<(), Error> {
        let answer = send(request, call).await?;
        if matches!(answer.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
            self.must_be_there(call).await?;
        }
        succeeded(answer, call).await.map(drop)
    }

    /// Moves an unfinished file to its place.
    async fn finish(
        &self,
        part: &str,
        name: &ObjectName,
        arrival: Arrival,
        call: &Call,
    ) -> Result<(), Error> {
        // To move something onto a folder removes the folder with all that is in it.
        match self.stat(name.as_str(), call).await? {
            Some(Thing { kind: Kind::Folder, .. }) => {
                return Err(call.fail(Class::Refused, "there is a folder of that name"));
            }
            Some(_) if arrival == Arrival::MustBeNew => {
                return Err(call.fail(Class::AlreadyThere, "there is an object of that name"));
            }
            _ => {}
        }
        let overwrite = if arrival == Arrival::Replaces { "T" } else { "F" };
        let request = self.request("MOVE", self.url(part), call)?;
        let request =
            request.header("Destination", self.url(name.as_str()).as_str()).header("Overwrite", overwrite);
        done(send(request, call).await?, call).await
    }

    async fn remove(&self, path: &str, call: &Call) -> Result<(), Error> {
        match self.stat(path, call).await? {
            Some(Thing { kind: Kind::File { .. }, .. }) => {}
            Some(Thing { kind: Kind::Unknown, .. }) => return Err(no_size(call)),
            // A folder is no object, and would be removed with all that is in it.
            _ => return Ok(()),
        }
        let answer = send(self.request("DELETE", self.url(path), call)?, call).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(());
        }
        done(answer, call).await
    }

    /// Takes what is right in a folder into the pager; the folders in it.
    async fn list_one(&self, path: &str, pager: &mut Pager, call: &Call) -> Result<Vec<String>, Error> {
        let found = self.ask(self.folder_url(path), "1", call).await?;
        let Some(found) = found else {
            self.must_be_there(call).await?;
            return Ok(Vec::new());
        };
        let mut folders = Vec::new();
        for thing in found {
            match (thing.path, thing.kind) {
                (Ok(own), _) if own == path => {}
                (Ok(below), _) if split(&below).0 != path => pager.take_foreign(&below),
                (Ok(below), Kind::Folder) => folders.push(below),
                (Ok(below), Kind::File { size }) if !is_part(&below) => pager.take(&below, size),
                (Ok(_), Kind::File { .. }) => {}
                (Ok(below), Kind::Unknown) => pager.take_foreign(&below),
                (Err(elsewhere), _) => pager.take_foreign(&elsewhere),
            }
        }
        Ok(folders)
    }
}

/// How much of an object is sent.
#[derive(Debug, Default)]
struct Sent {
    bytes: Arc<AtomicU64>,
}

impl Sent {
    /// Runs a call to its end and tells on the way.
    async fn watched<T>(&self, watch: &dyn Watch, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        let mut told = 0;
        loop {
            let done = tokio::select! {
                done = &mut call => Some(done),
                () = tokio::time::sleep(TELL) => None,
            };
            let now = self.bytes.load(Ordering::Relaxed);
            watch.sent(now - told);
            told = now;
            if let Some(done) = done {
                return done;
            }
        }
    }
}

/// Folder and last segment.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn is_part(path: &str) -> bool {
    split(path).1.starts_with(PART_MARK)
}

/// A new unfinished file beside an object's place.
fn part_of(name: &ObjectName, call: &Call) -> Result<String, Error> {
    let random = random::hex().map_err(|why| call.fail(Class::Local, why))?;
    Ok(match split(name.as_str()) {
        ("", _) => format!("{PART_MARK}{random}"),
        (folder, _) => format!("{folder}/{PART_MARK}{random}"),
    })
}

/// A path of a checkpoint, when it is one of an unfinished file: no other file is ever removed by it.
fn unfinished(checkpoint: &Checkpoint) -> Option<&str> {
    let path = checkpoint.as_str().strip_prefix(CHECKPOINT)?;
    let (folder, last) = split(path);
    let random = last.strip_prefix(PART_MARK)?;
    let is_ours =
        Folder::new(folder).is_ok() && !random.is_empty() && random.bytes().all(|c| c.is_ascii_hexdigit());
    is_ours.then_some(path)
}

async fn send(request: RequestBuilder, call: &Call) -> Result<Response, Error> {
    request.send().await.map_err(|error| unreachable_server(&error, call))
}

/// The answer, when it is a success.
async fn succeeded(answer: Response, call: &Call) -> Result<Response, Error> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let class = class_of_status(status.as_u16(), call.doing);
    let wait = retry_after(answer.headers());
    let text = match answer.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        Some(place) => {
            let place = String::from_utf8_lossy(place.as_bytes());
            format!("it is at {}: correct the endpoint", printable(without_query(&place), 300))
        }
        None => reason(answer).await,
    };
    Err(call.fail(class, format!("status {status}: {text}")).with_retry_after(wait))
}

/// The end of a call that changes something. An answer of several says success and may hold a failure.
async fn done(answer: Response, call: &Call) -> Result<(), Error> {
    let answer = succeeded(answer, call).await?;
    if answer.status() != StatusCode::MULTI_STATUS {
        return Ok(());
    }
    let blame = call.clone();
    let stream = answer.bytes_stream().map_err(move |error| unreachable_server(&error, &blame));
    let bytes = collect(stream.boxed(), MAX_REFUSAL).await.map_err(|error| call.name(error))?;
    match answer::failed_status(&String::from_utf8_lossy(&bytes)) {
        Ok(None) => Ok(()),
        Ok(Some(status)) => {
            Err(call.fail(class_of_status(status, call.doing), format!("it failed in part, status {status}")))
        }
        Err(why) => {
            let why = format!("it failed in part, and how is not understood: {why}");
            Err(call.fail(Class::Unavailable, why))
        }
    }
}

fn no_size(call: &Call) -> Error {
    call.fail(Class::Unsupported, "the server does not tell its size: look at it there")
}

/// What the server says of a refusal, without the marks of HTML and XML.
async fn reason(answer: Response) -> String {
    let mut bytes = Vec::new();
    let mut stream = answer.bytes_stream();
    while let Some(Ok(piece)) = stream.next().await {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_REFUSAL {
            break;
        }
    }
    let mut text = String::new();
    let mut in_mark = false;
    for c in String::from_utf8_lossy(&bytes).chars() {
        match c {
            '<' => in_mark = true,
            '>' => in_mark = false,
            c if !in_mark => text.push(c),
            _ => {}
        }
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" "), 300)
}

fn unreachable_server(error: &reqwest::Error, call: &Call) -> Error {
    call.fail(Class::Unavailable, innermost(error))
}

/// The innermost cause says most: "connection refused", "invalid peer certificate".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl WebDavRemote {
    fn call(&self, doing: Doing, name: &ObjectName) -> Call {
        Call::new(&self.place.name, doing, name)
    }

    /// Sends an object and moves it to its place. What it leaves when it fails is removed, as far as that is possible now.
    async fn bring(
        &self,
        name: &ObjectName,
        stream: ByteStream,
        content: &Content,
        how: (Arrival, &dyn Watch),
        call: &Call,
    ) -> Result<(), Error> {
        let (arrival, watch) = how;
        let part = part_of(name, call)?;
        self.place.make_folder(split(name.as_str()).0, call).await?;
        watch
            .keep(&Checkpoint::new(format!("{CHECKPOINT}{part}")))
            .map_err(|why| call.fail(Class::Local, format!("the checkpoint cannot be kept: {why}")))?;
        let sent = Sent::default();
        let all = async {
            self.place.write(&part, stream, content.size, &sent, call).await?;
            self.place.finish(&part, name, arrival, call).await
        };
        let outcome = sent.watched(watch, all).await;
        if outcome.is_err() {
            let quiet = Call::new(&self.place.name, Doing::Abandon, name);
            let _ = tokio::time::timeout(CLEAN_UP, self.place.remove(&part, &quiet)).await;
        }
        outcome
    }
}

#[async_trait]
impl Remote for WebDavRemote {
    fn name(&self) -> &str {
        &self.place.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { resumes: false, create: CreateOnly::Checked, hashes: Hashes::OfRemote, near: false }
    }

    /// Objects have their length and hash in front.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, put.name);
        if let Some(left) = put.resume {
            self.abandon(left).await.map_err(|error| call.name(error))?;
        }
        let stream = put.limiter.paced(put.body.open());
        let stream = body::checked(stream, *put.content, Class::Source, call.clone());
        self.bring(put.name, stream, put.content, (Arrival::Replaces, put.watch), &call).await?;
        Ok(Receipt::whole())
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let call = self.call(Doing::Create, name);
        let content = Content::of(&bytes);
        let pieces: Vec<Bytes> = body::pieces(&bytes).collect();
        let stream = futures_util::stream::iter(pieces.into_iter().map(Ok)).boxed();
        self.bring(name, stream, &content, (Arrival::MustBeNew, &crate::remote::Unwatched), &call).await
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let call = self.call(Doing::Get, name);
        let (size, _) = self.place.file(name, &call).await?;
        let Some((start, length)) = span.within(size) else {
            return Err(call.fail(Class::OutOfRange, format!("it has {size} bytes")));
        };
        if length == 0 {
            return Ok(futures_util::stream::empty().boxed());
        }
        let mut request = self.place.request("GET", self.place.url(name.as_str()), &call)?;
        let wanted = (length < size).then(|| format!("{start}-{}", start + length - 1));
        if let Some(wanted) = &wanted {
            request = request.header(RANGE, format!("bytes={wanted}"));
        }
        let answer = succeeded(send(request, &call).await?, &call).await?;
        if let Some(wanted) = wanted {
            let came =
                answer.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or("");
            if answer.status() != StatusCode::PARTIAL_CONTENT
                || !came.starts_with(&format!("bytes {wanted}/"))
            {
                let why = "the server answered with something else than the range that was asked";
                return Err(call.fail(Class::Unsupported, why));
            }
        }
        let blame = call.clone();
        let stream =
            answer.bytes_stream().map_err(move |error| blame.fail(Class::Interrupted, innermost(&error)));
        Ok(body::exact(stream.boxed(), length, call))
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        let (size, _) = self.place.file(name, &self.call(Doing::Head, name)).await?;
        Ok(Head { size })
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        let (_, hashes) = self.place.file(name, &self.call(Doing::Hash, name)).await?;
        Ok(hashes)
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let call = Call::on_folder(&self.place.name, Doing::List, folder);
        let mut pager = Pager::new(after, most);
        let mut folders = Folders::from(folder.as_str().unwrap_or(""));
        while let Some(path) = folders.next.pop() {
            let below = self.place.list_one(&path, &mut pager, &call).await?;
            let below = below.into_iter().filter(|below| after.is_none_or(|after| comes_after(below, after)));
            folders.add(below).map_err(|why| call.fail(Class::Refused, why))?;
        }
        Ok(pager.page())
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        self.place.remove(name.as_str(), &self.call(Doing::Delete, name)).await
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Some(path) = unfinished(checkpoint) else { return Ok(()) };
        let call = Call::unnamed(Doing::Abandon);
        let removed = self.place.remove(path, &call).await;
        removed.map_err(|error| error.on(&self.place.name).of(path))
    }

    /// A checkpoint is kept before an upload begins, so it names what there is, but for a manifest, which is small.
    async fn half_sent(&self, _folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        Ok(Vec::new())
    }
}

/// The folders of one listing: how many were found, and those that are still to be asked for.
struct Folders {
    found: usize,
    next: Vec<String>,
}

impl From<&str> for Folders {
    fn from(first: &str) -> Self {
        Self { found: 1, next: vec![first.to_owned()] }
    }
}

impl Folders {
    fn add(&mut self, below: impl Iterator<Item = String>) -> Result<(), String> {
        for path in below {
            self.found += 1;
            if self.found > MAX_FOLDERS {
                return Err(format!(
                    "there are more than {MAX_FOLDERS} folders: give the remote a folder of its own"
                ));
            }
            self.next.push(path);
        }
        Ok(())
    }
}

/// Whether something in a folder can come after a name: all names in it begin with the folder's and `/`, whose next byte is `0`.
fn comes_after(folder: &str, after: &ObjectName) -> bool {
    after.as_str() < format!("{folder}0").as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn open(change: impl Fn(&mut WebDavConfig)) -> Result<WebDavRemote, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "made-up").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = WebDavConfig {
            name: "cloud".to_owned(),
            endpoint: "https://h/dav/my tapes".to_owned(),
            ca_file: None,
            allow_http: false,
            login: Some(("u".to_owned(), path)),
        };
        change(&mut config);
        config.open().map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_remedy() {
        type Change<'a> = &'a dyn Fn(&mut WebDavConfig);
        let cases: [(Change<'_>, &str); 6] = [
            (&|config| config.endpoint = "http://h/dav".to_owned(), "allow_http"),
            (&|config| config.endpoint = "https://h/dav?x".to_owned(), "after ?"),
            (&|config| config.endpoint = "https://u:made-up/2@h".to_owned(), "invalid port"),
            (&|config| config.login = Some(("a:b".to_owned(), "/none".into())), "without ':'"),
            (&|config| config.login = Some(("u".to_owned(), "/none/such".into())), "/none/such"),
            (&|config| config.ca_file = Some("/none/such".into()), "/none/such"),
        ];
        for (change, remedy) in cases {
            let text = open(change).unwrap_err();
            assert!(text.contains(remedy) && !text.contains("made-up"), "{remedy} in {text}");
        }
        let shown = format!("{:?}", open(|_| {}).unwrap());
        assert!(shown.contains("https://h/dav/my%20tapes/") && !shown.contains("made-up"), "{shown}");
    }

    fn answer(status: u16, text: &'static str) -> Response {
        let built = http::Response::builder().status(status).header(LOCATION, "https://h/login?token=hush");
        built.body(text).unwrap().into()
    }

    #[tokio::test]
    async fn where_a_server_sends_us_is_told_without_what_comes_after_the_path() {
        let error = succeeded(answer(302, ""), &Call::unnamed(Doing::Head)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("https://h/login:") && !text.contains("hush"), "{text}");
    }

    #[tokio::test]
    async fn a_success_of_several_that_holds_a_failure_is_one() {
        let call = Call::unnamed(Doing::Delete);
        let locked = "<multistatus><response><href>/a</href><status>HTTP/1.1 423 Locked</status></response></multistatus>";
        let forbidden = "<multistatus><response><href>/a</href><status>HTTP/1.1 403 Forbidden</status></response></multistatus>";
        for (text, class) in
            [(locked, Class::Unavailable), (forbidden, Class::Denied), ("what?", Class::Unavailable)]
        {
            assert_eq!(done(answer(207, text), &call).await.unwrap_err().class(), class, "{text}");
        }
        let fine =
            "<multistatus><response><href>/a</href><status>HTTP/1.1 200 OK</status></response></multistatus>";
        assert_eq!(done(answer(207, fine), &call).await, Ok(()));
        assert_eq!(done(answer(204, ""), &call).await, Ok(()));
    }

    #[test]
    fn folders_that_wait_to_be_listed_count_among_the_most_there_may_be() {
        let mut folders = Folders::from("");
        let many = (1..MAX_FOLDERS).map(|number| number.to_string());
        assert_eq!(folders.add(many), Ok(()));
        assert!(folders.add(["one more".to_owned()].into_iter()).unwrap_err().contains("of its own"));
        assert_eq!(folders.next.len(), MAX_FOLDERS);
    }

    #[test]
    fn names_are_segments_of_the_address() {
        let remote = open(|_| {}).unwrap();
        assert_eq!(remote.place.url("a b/%2e?#").as_str(), "https://h/dav/my%20tapes/a%20b/%252e%3F%23");
        assert_eq!(remote.place.folder_url("").as_str(), "https://h/dav/my%20tapes/");
        assert_eq!(remote.place.folder_url("a/b").as_str(), "https://h/dav/my%20tapes/a/b/");
    }

    #[test]
    fn only_unfinished_files_are_removed_by_a_checkpoint() {
        let path = |text: &str| unfinished(&Checkpoint::new(text)).map(str::to_owned);
        assert_eq!(path("webdav a/.vtl-part-0123"), Some("a/.vtl-part-0123".to_owned()));
        assert_eq!(path("webdav .vtl-part-0123"), Some(".vtl-part-0123".to_owned()));
        for text in [
            "",
            "webdav ",
            "webdav a/b",
            "webdav a/../.vtl-part-01",
            "webdav .vtl-part-",
            "webdav .vtl-part-x",
            "folder .vtl-part-01",
        ] {
            assert_eq!(path(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_is_passed_over_when_all_of_it_was_seen() {
        let after = ObjectName::new("b/c").unwrap();
        for (folder, seen) in
            [("a", true), ("b", false), ("b-", true), ("b/b", true), ("b/c", false), ("c", false)]
        {
            assert_eq!(comes_after(folder, &after), !seen, "{folder}");
        }
    }
}
