//! S3, and what speaks like it, by the library `object_store`.
//!
//! Small objects go in one request, others in parts that are resumed after a crash (`s3/upload.rs`). Every request signs the
//! SHA-256 of its payload, so that a server which checks signatures refuses what changed on the way; a checksum header says
//! it again for servers that keep it. The library tries nothing twice here: retries are the caller's.

mod failure;
mod told;
mod transport;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload, RetryConfig,
};
use vtl_types::Secret;

use crate::body::{self, ByteStream};
use crate::content::{Receipt, StoredHash};
use crate::credential;
use crate::error::{Call, Class, Doing, Error};
use crate::listing::Pager;
use crate::name::{Folder, ObjectName, key};
use crate::remote::{Abilities, Checkpoint, CreateOnly, Head, Page, Put, Remote, Span};

use failure::{error_of, interrupted};
use told::Told;
use transport::Connector;

/// The smallest part: S3 takes none below 5 MiB but the last.
const MIN_PART_SIZE: u64 = 5 << 20;
/// Parts as they are sent by default. With two on the way and one that fills, a transfer needs 24 MiB of memory.
pub const DEFAULT_PART_SIZE: u64 = 8 << 20;
/// Parts of one object on the way at the same time.
const PARTS_AT_ONCE: usize = 2;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long nothing may come: also the time for sending one part, at 28 KB/s at least.
const SILENCE: Duration = Duration::from_secs(300);
/// The most names that a server gives at a time.
const MAX_PAGE: usize = 1_000;
/// The largest file of certificates that is read, in bytes.
const MAX_CA_FILE: u64 = 1 << 20;

/// Where the bucket's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// `https://host/bucket/key`.
    #[default]
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// Settings of an S3 remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The name that the operator gave the remote.
    pub name: String,
    /// `https://host` with a port when it is another than 443; without the bucket.
    pub endpoint: String,
    /// Part of every signature; most servers that are not Amazon's take any.
    pub region: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// In front of every object's name; empty for none.
    pub prefix: String,
    /// Where the bucket's name stands.
    pub style: Style,
    /// Certificates of authorities to trust beside the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether `http://` is allowed: everybody on the way can read then.
    pub allow_http: bool,
    /// The file with the access key id.
    pub access_key_file: PathBuf,
    /// The file with the secret key.
    pub secret_key_file: PathBuf,
    /// Whether a SHA-256 goes with each upload as a header, for the server to check and to keep.
    pub checksums: bool,
    /// The size of parts, and of the largest object that goes in one request, in bytes.
    pub part_size: u64,
}

/// A bucket, or a prefix in one.
#[derive(Clone)]
pub struct S3Remote {
    config: Arc<S3Config>,
    /// For what is written.
    writer: Arc<AmazonS3>,
    /// For what is read: asks for checksums with every answer.
    reader: Arc<AmazonS3>,
}

impl fmt::Debug for S3Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The stores hold keys.
        f.debug_struct("S3Remote").field("config", &self.config).finish_non_exhaustive()
    }
}

impl S3Remote {
    /// Checks settings and reads credentials; nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`], naming the setting and the remedy.
    pub fn open(config: S3Config) -> Result<Self, Error> {
        Self::open_with(config, ClientOptions::new())
    }

    fn open_with(config: S3Config, options: ClientOptions) -> Result<Self, Error> {
        let name = config.name.clone();
        let build = || {
            check(&config)?;
            let keys =
                [credential::read(&config.access_key_file)?, credential::read(&config.secret_key_file)?];
            let options = with_limits(with_certificates(options, &config)?);
            let writer = store(&config, &keys, options.clone())?;
            let reader = store(&config, &keys, options.with_default_headers(ask_for_checksums()))?;
            Ok((writer, reader))
        };
        let (writer, reader) = build().map_err(|error: Error| error.on(&name))?;
        Ok(Self { config: Arc::new(config), writer: Arc::new(writer), reader: Arc::new(reader) })
    }

    fn call(&self, doing: Doing, name: &ObjectName) -> Call {
        Call::new(&self.config.name, doing, name)
    }

    fn path(&self, name: &ObjectName, call: &Call) -> Result<Path, Error> {
        Path::parse(key(&self.config.prefix, name.as_str()))
            .map_err(|error| call.fail(Class::Refused, error.to_string()))
    }

    /// Headers and metadata of an object.
    async fn ask(&self, name: &ObjectName, call: &Call) -> Result<(u64, Vec<StoredHash>), Error> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let path = self.path(name, call)?;
        let answer = self.reader.get_opts(&path, options).await.map_err(|error| error_of(&error, call))?;
        let told = answer.extensions.get::<Told>().map(|told| told.hashes.clone()).unwrap_or_default();
        Ok((answer.meta.size, told))
    }

    /// Takes a page into the pager; the token of the next one.
    async fn list_one(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        token: Option<String>,
        pager: &mut Pager,
        call: &Call,
    ) -> Result<Option<String>, Error> {
        let offset = after.map(|after| key(&self.config.prefix, after.as_str()));
        let options = PaginatedListOptions {
            offset,
            // One more than the page shows whether something comes after it.
            max_keys: Some(pager.most().saturating_add(1).min(MAX_PAGE)),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        let found =
            self.reader.list_paginated(prefix, options).await.map_err(|error| error_of(&error, call))?;
        let own = match self.config.prefix.trim_matches('/') {
            "" => String::new(),
            own => format!("{own}/"),
        };
        for object in &found.result.objects {
            let path = object.location.as_ref();
            match path.strip_prefix(&own) {
                Some(name) => pager.take(name, object.size),
                None => pager.take_foreign(path),
            }
        }
        Ok(found.page_token)
    }
}

#[async_trait]
impl Remote for S3Remote {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { resumes: true, create: CreateOnly::Atomic, hashes_by_reading: false }
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, put.name);
        let path = self.path(put.name, &call)?;
        if put.content.size > self.config.part_size {
            return upload::in_parts(self, &put, &path, &call).await;
        }
        if let Some(left) = put.resume {
            self.abandon(left).await.map_err(|error| call.name(error))?;
        }
        let stream = put.limiter.paced(put.body.open());
        let mut stream = body::checked(stream, *put.content, Class::Source, call.clone());
        let mut pieces = Vec::new();
        while let Some(piece) = stream.next().await {
            pieces.push(piece?);
        }
        let payload = PutPayload::from_iter(pieces);
        self.writer
            .put_opts(&path, payload, PutOptions::default())
            .await
            .map_err(|error| error_of(&error, &call))?;
        put.watch.sent(put.content.size);
        Ok(Receipt::whole())
    }

    async fn create(&self, name: &ObjectName, bytes: Bytes) -> Result<(), Error> {
        let call = self.call(Doing::Create, name);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let path = self.path(name, &call)?;
        self.writer
            .put_opts(&path, bytes.into(), options)
            .await
            .map(drop)
            .map_err(|error| error_of(&error, &call))
    }

    async fn get(&self, name: &ObjectName, span: Span) -> Result<ByteStream, Error> {
        let call = self.call(Doing::Get, name);
        if let Some((start, 0)) = span.range() {
            // A range of nothing cannot be asked for.
            let (size, _) = self.ask(name, &call).await?;
            if start > size {
                return Err(call.fail(Class::OutOfRange, format!("it has {size} bytes")));
            }
            return Ok(futures_util::stream::empty().boxed());
        }
        let range = match span.range() {
            None => None,
            Some((start, length)) => {
                let end = start.checked_add(length);
                let end = end.ok_or_else(|| call.fail(Class::OutOfRange, "no object is so long"))?;
                Some(GetRange::Bounded(start..end))
            }
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let path = self.path(name, &call)?;
        let answer = self.reader.get_opts(&path, options).await.map_err(|error| error_of(&error, &call))?;
        let size = answer.meta.size;
        let Some((start, length)) = span.within(size) else {
            return Err(call.fail(Class::OutOfRange, format!("it has {size} bytes")));
        };
        if answer.range != (start..start + length) {
            return Err(call.fail(Class::Refused, "the server answered with another range than was asked"));
        }
        let blame = call.clone();
        let stream =
            answer.into_stream().map(move |piece| piece.map_err(|error| interrupted(&error, &blame)));
        Ok(body::exact(stream.boxed(), length, call))
    }

    async fn head(&self, name: &ObjectName) -> Result<Head, Error> {
        let (size, _) = self.ask(name, &self.call(Doing::Head, name)).await?;
        Ok(Head { size })
    }

    async fn hashes(&self, name: &ObjectName) -> Result<Vec<StoredHash>, Error> {
        let (_, told) = self.ask(name, &self.call(Doing::Hash, name)).await?;
        Ok(told)
    }

    async fn list(&self, folder: &Folder, after: Option<&ObjectName>, most: usize) -> Result<Page, Error> {
        let call = Call::on_folder(&self.config.name, Doing::List, folder);
        let prefix = match key(&self.config.prefix, folder.as_str().unwrap_or("")) {
            key if key.is_empty() || key.ends_with('/') => key,
            key => format!("{key}/"),
        };
        let mut pager = Pager::new(after, most);
        let mut token = None;
        loop {
            let next = self.list_one(&prefix, after, token.clone(), &mut pager, &call).await?;
            if next.is_none() || pager.is_full() {
                return Ok(pager.page());
            }
            if next == token {
                return Err(call.fail(Class::Refused, "the server gives the same page again and again"));
            }
            token = next;
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let call = self.call(Doing::Delete, name);
        let path = self.path(name, &call)?;
        match self.writer.delete(&path).await.map_err(|error| error_of(&error, &call)) {
            Err(error) if error.class() == Class::NotThere => Ok(()),
            outcome => outcome,
        }
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        upload::abandon(self, checkpoint).await
    }
}

fn refuse(why: impl AsRef<str>) -> Error {
    Error::new(Class::Misconfigured, Doing::Open, why)
}

fn check(config: &S3Config) -> Result<(), Error> {
    let S3Config { endpoint, bucket, region, part_size, prefix, .. } = config;
    let host = match (endpoint.strip_prefix("https://"), endpoint.strip_prefix("http://")) {
        (Some(host), _) => host,
        (None, Some(_)) if !config.allow_http => {
            return Err(refuse(format!(
                "the endpoint {endpoint} would send everything in clear: write https://, or set allow_http"
            )));
        }
        (None, Some(host)) => host,
        (None, None) => {
            return Err(refuse(format!(
                "the endpoint '{endpoint}' is no address: write https://HOST or https://HOST:PORT"
            )));
        }
    };
    if host.contains('@') {
        return Err(refuse("the endpoint has credentials in it: they belong into files of their own"));
    }
    let host_only = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || !host.chars().all(host_only) {
        return Err(refuse(format!(
            "the endpoint '{endpoint}' has more than a host and a port: the bucket and the prefix are settings of their own"
        )));
    }
    let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if bucket.len() < 3 || bucket.len() > 63 || !bucket.chars().all(in_bucket) || bucket.contains("..") {
        return Err(refuse(format!(
            "'{}' is no bucket: 3 to 63 lower-case letters, digits, hyphens and dots",
            bucket.escape_debug()
        )));
    }
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(refuse(format!(
            "'{}' is no region: write us-east-1 when the server has none",
            region.escape_debug()
        )));
    }
    if *part_size < MIN_PART_SIZE {
        return Err(refuse(format!("parts of {part_size} bytes are too small: S3 takes 5 MiB at least")));
    }
    Folder::new(prefix.trim_start_matches('/')).map(drop).map_err(|error| refuse(error.to_string()))
}

/// The endpoint as the library wants it: with the bucket, when that stands in the host's name.
fn endpoint(config: &S3Config) -> String {
    let endpoint = config.endpoint.trim_end_matches('/');
    match (config.style, endpoint.split_once("://")) {
        (Style::VirtualHost, Some((scheme, host))) => format!("{scheme}://{}.{host}", config.bucket),
        _ => endpoint.to_owned(),
    }
}

fn with_certificates(mut options: ClientOptions, config: &S3Config) -> Result<ClientOptions, Error> {
    let Some(path) = &config.ca_file else { return Ok(options) };
    let wrong = |why: String| refuse(format!("the certificates in {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if !size.is_file() || size.len() > MAX_CA_FILE {
        return Err(wrong("it is no file of at most 1 MiB".to_owned()));
    }
    let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("there is none; PEM begins with -----BEGIN CERTIFICATE-----".to_owned()));
    }
    for certificate in certificates {
        options = options.with_root_certificate(certificate);
    }
    Ok(options)
}

/// A limit on silence and none on a whole transfer, whose length nobody knows.
fn with_limits(options: ClientOptions) -> ClientOptions {
    options.with_timeout_disabled().with_connect_timeout(CONNECT_TIMEOUT).with_read_timeout(SILENCE)
}

fn ask_for_checksums() -> HeaderMap {
    let mode = HeaderName::from_static("x-amz-checksum-mode");
    HeaderMap::from_iter([(mode, HeaderValue::from_static("ENABLED"))])
}

fn store(config: &S3Config, keys: &[Secret; 2], options: ClientOptions) -> Result<AmazonS3, Error> {
    let [id, secret] = keys;
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_client_options(options.with_allow_http(config.allow_http))
        .with_http_connector(Connector)
        .with_endpoint(endpoint(config))
        .with_virtual_hosted_style_request(config.style == Style::VirtualHost)
        .with_region(&config.region)
        .with_bucket_name(&config.bucket)
        .with_access_key_id(credential::text(id))
        .with_secret_access_key(credential::text(secret))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One object at a time: every server knows that, and the answer names the object.
        .with_disable_bulk_delete(true)
        .with_retry(once);
    if config.checksums {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    builder.build().map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests;
