//! Clouds whose objects lie in buckets or containers, by the library `object_store`: S3 and what speaks like it, Azure, Google.
//!
//! Small objects go in one request, others in parts that are resumed after a crash (`cloud/upload.rs`). What differs between
//! them is how they are set up and what their headers tell (`cloud/s3.rs`, `cloud/azure.rs`, `cloud/gcs.rs`). The library tries
//! nothing twice here: retries are the caller's.

mod azure;
mod failure;
mod gcs;
mod s3;
mod told;
mod transport;
mod upload;

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, RetryConfig,
};

use crate::body::{self, ByteStream};
use crate::content::{Receipt, StoredHash};
use crate::error::{Call, Class, Doing, Error};
use crate::http_setup::{CONNECT_TIMEOUT, SILENCE, read_certificates, refuse, wrong_certificates};
use crate::limit::LEAST_ROOM;
use crate::listing::Pager;
use crate::name::{Folder, ObjectName, key};
use crate::remote::{
    Abilities, Checkpoint, CreateOnly, HalfSent, Hashes, Head, Page, Put, Remote, Span, Streams,
};

pub use azure::AzureConfig;
pub use gcs::GcsConfig;
pub use s3::{S3Config, Style};

use failure::{error_of, interrupted};
use told::Told;

/// The smallest part: S3 and Google take none below 5 MiB but the last.
const MIN_PART_SIZE: u64 = 5 << 20;
/// The largest part: parts are sent from memory, and one must have room there whatever the number of transfers. So large it is sent alone.
pub const MAX_PART_SIZE: u64 = LEAST_ROOM;
/// Parts as they are sent by default. With two on the way and one that fills, a transfer needs 24 MiB of memory.
pub const DEFAULT_PART_SIZE: u64 = 8 << 20;
/// Parts of one object on the way at the same time, where there is the right to two calls.
const PARTS_AT_ONCE: usize = 2;
/// The most names that a server gives at a time.
const MAX_PAGE: usize = 1_000;
/// The most pages that one listing goes through: a hundred million names.
const MAX_PAGES: u64 = 100_000;

/// What the library's stores have in common, as far as it is used here.
trait Store: ObjectStore + MultipartStore + PaginatedListStore {}

impl<T: ObjectStore + MultipartStore + PaginatedListStore> Store for T {}

/// Where objects lie, and how they get there.
#[derive(Debug)]
struct Place {
    /// The name that the operator gave the remote.
    remote: String,
    /// The word that checkpoints of this driver begin with.
    kind: &'static str,
    /// Bucket or container.
    bucket: String,
    /// In front of every object's name; empty for none.
    prefix: String,
    /// The size of parts, and of the largest object that goes in one request, in bytes.
    part_size: u64,
    /// Whether it is looked first whether an object that must be new is there: not all servers keep the condition.
    looks_first: bool,
}

/// A bucket or container, or a prefix in one.
#[derive(Clone)]
pub struct CloudRemote {
    place: Arc<Place>,
    store: Arc<dyn Store>,
}

impl fmt::Debug for CloudRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The store holds keys.
        f.debug_struct("CloudRemote").field("place", &self.place).finish_non_exhaustive()
    }
}

impl CloudRemote {
    /// One that was defined with larger parts than there are sends the largest.
    fn new<S: Store>(place: Place, store: S) -> Self {
        let place = Place { part_size: place.part_size.min(MAX_PART_SIZE), ..place };
        Self { place: Arc::new(place), store: Arc::new(store) }
    }

    fn call(&self, doing: Doing, name: &ObjectName) -> Call {
        Call::new(&self.place.remote, doing, name)
    }

    fn path(&self, name: &ObjectName, call: &Call) -> Result<Path, Error> {
        Path::parse(key(&self.place.prefix, name.as_str()))
            .map_err(|error| call.fail(Class::Refused, error.to_string()))
    }

    /// Headers and metadata of an object.
    async fn ask(&self, name: &ObjectName, call: &Call) -> Result<(u64, Vec<StoredHash>), Error> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let path = self.path(name, call)?;
        let answer = self.store.get_opts(&path, options).await.map_err(|error| error_of(&error, call))?;
        let told = answer.extensions.get::<Told>().map(|told| told.hashes.clone()).unwrap_or_default();
        Ok((answer.meta.size, told))
    }

    /// What an answer to a range means that is not understood: some servers write nonsense when the range is after the object.
    async fn or_out_of_range(&self, name: &ObjectName, span: Span, error: Error, call: &Call) -> Error {
        if span.range().is_none() || error.class() != Class::Unavailable {
            return error;
        }
        match self.ask(name, call).await {
            Ok((size, _)) if span.within(size).is_none() => {
                call.fail(Class::OutOfRange, format!("it has {size} bytes"))
            }
            _ => error,
        }
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
        let offset = after.map(|after| key(&self.place.prefix, after.as_str()));
        let options = PaginatedListOptions {
            offset,
            // One more than the page shows whether something comes after it.
            max_keys: Some(pager.most().saturating_add(1).min(MAX_PAGE)),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        let found =
            self.store.list_paginated(prefix, options).await.map_err(|error| error_of(&error, call))?;
        let own = match self.place.prefix.trim_matches('/') {
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
impl Remote for CloudRemote {
    fn name(&self) -> &str {
        &self.place.remote
    }

    fn abilities(&self) -> Abilities {
        Abilities { resumes: true, create: CreateOnly::Atomic, hashes: Hashes::OfRemote, near: false }
    }

    /// What was cut off goes on where it was, so its bytes have to be kept.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    async fn put(&self, put: Put<'_>) -> Result<Receipt, Error> {
        let call = self.call(Doing::Put, put.name);
        let path = self.path(put.name, &call)?;
        if put.content.size > self.place.part_size {
            return upload::in_parts(self, &put, &path, &call).await;
        }
        if let Some(left) = put.resume {
            self.abandon(left).await.map_err(|error| call.name(error))?;
        }
        let _room = put.limiter.room(put.content.size).await;
        let stream = put.limiter.paced(put.body.open());
        let mut stream = body::checked(stream, *put.content, Class::Source, call.clone());
        let mut pieces = Vec::new();
        while let Some(piece) = stream.next().await {
            pieces.push(piece?);
        }
        let payload = PutPayload::from_iter(pieces);
        self.store
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
        if self.place.looks_first && upload::told(self, name, &call).await?.is_some() {
            return Err(call.fail(Class::AlreadyThere, "there is an object of that name"));
        }
        self.store
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
        let answer = match self.store.get_opts(&path, options).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.or_out_of_range(name, span, error_of(&error, &call), &call).await),
        };
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
        let call = Call::on_folder(&self.place.remote, Doing::List, folder);
        let prefix = match key(&self.place.prefix, folder.as_str().unwrap_or("")) {
            key if key.is_empty() || key.ends_with('/') => key,
            key => format!("{key}/"),
        };
        let mut pager = Pager::new(after, most);
        let mut token = None;
        let mut turns = Turns::default();
        loop {
            token = self.list_one(&prefix, after, token, &mut pager, &call).await?;
            let Some(next) = token.as_deref().filter(|_| !pager.is_full()) else { return Ok(pager.page()) };
            turns.on_to(next).map_err(|why| call.fail(Class::Refused, why))?;
        }
    }

    async fn delete(&self, name: &ObjectName) -> Result<(), Error> {
        let call = self.call(Doing::Delete, name);
        let path = self.path(name, &call)?;
        match self.store.delete(&path).await.map_err(|error| error_of(&error, &call)) {
            Err(error) if error.class() == Class::NotThere => Ok(()),
            outcome => outcome,
        }
    }

    async fn abandon(&self, checkpoint: &Checkpoint) -> Result<(), Error> {
        upload::abandon(self, checkpoint).await
    }

    /// The library lists no uploads. One whose checkpoint was not kept when a crash came has no part yet, and goes by the bucket's own rules.
    async fn half_sent(&self, _folder: &Folder) -> Result<Vec<HalfSent>, Error> {
        Ok(Vec::new())
    }
}

/// The pages of one listing. A server that leads in a circle is found by one token that is remembered, each time twice as
/// long (R. P. Brent, 1980).
#[derive(Debug, Default)]
struct Turns {
    count: u64,
    remembered: Option<String>,
}

impl Turns {
    fn on_to(&mut self, token: &str) -> Result<(), &'static str> {
        if self.remembered.as_deref() == Some(token) {
            return Err("the server gives the same pages again and again");
        }
        self.count += 1;
        if self.count >= MAX_PAGES {
            return Err("the list has no end: give the remote a bucket or a prefix of its own");
        }
        if self.count.is_power_of_two() {
            self.remembered = Some(token.to_owned());
        }
        Ok(())
    }
}

/// Checks what all buckets have.
fn check_place(prefix: &str, part_size: u64) -> Result<(), Error> {
    if part_size < MIN_PART_SIZE {
        return Err(refuse(format!(
            "parts of {part_size} bytes are too small: 5 MiB is the least that is taken"
        ))
        .of_setting("part_size"));
    }
    let folder = Folder::new(prefix.trim_start_matches('/'));
    folder.map(drop).map_err(|error| refuse(error.to_string()).of_setting("prefix"))
}

/// A limit on silence and none on a whole transfer, whose length nobody knows; trust in the system's certificates and
/// in those of the operator's file.
fn client_options(
    options: ClientOptions,
    ca_file: Option<&FilePath>,
    allow_http: bool,
) -> Result<ClientOptions, Error> {
    let mut options = options
        .with_allow_http(allow_http)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(SILENCE);
    if let Some(path) = ca_file {
        let pem = read_certificates(path)?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|error| wrong_certificates(path, &error.to_string()))?;
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// Each call is tried once.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_a_circle_or_without_an_end_is_given_up() {
        for circle in [1, 2, 3, 7, 100] {
            let mut turns = Turns::default();
            let stopped = (0..10 * circle).find_map(|at| turns.on_to(&(at % circle).to_string()).err());
            assert_eq!(stopped, Some("the server gives the same pages again and again"), "{circle}");
        }
        let mut turns = Turns::default();
        let went = (0_u64..).take_while(|at| turns.on_to(&at.to_string()).is_ok()).count();
        assert_eq!(went as u64, MAX_PAGES - 1);
    }
}
