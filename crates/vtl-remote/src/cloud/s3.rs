//! S3, and what speaks like it.
//!
//! Every request signs the SHA-256 of its payload, so that a server which checks signatures refuses what changed on the way; a
//! checksum header says it again for servers that keep it.

use std::path::{Path, PathBuf};

use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut};

use super::told::of_s3;
use super::transport::{AskForChecksums, Connector};
use super::{CloudRemote, Place, check_place, client_options, once};
use crate::credential;
use crate::error::Error;
use crate::http_setup::{After, check_endpoint, refuse};

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

impl S3Config {
    /// Checks settings and reads credentials; nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`](crate::Class), naming the setting and the remedy.
    pub fn open(self) -> Result<CloudRemote, Error> {
        self.open_with(ClientOptions::new())
    }

    pub(super) fn open_with(self, options: ClientOptions) -> Result<CloudRemote, Error> {
        let store = self.store(options).map_err(|error| error.on(&self.name))?;
        let Self { name, bucket, prefix, part_size, .. } = self;
        let place = Place { remote: name, kind: "s3", bucket, prefix, part_size, looks_first: false };
        Ok(CloudRemote::new(place, store))
    }

    fn store(&self, options: ClientOptions) -> Result<AmazonS3, Error> {
        check(self)?;
        let read = |file: &Path, setting| {
            let secret = credential::read(file).map_err(|error| error.of_setting(setting))?;
            Ok::<_, Error>(credential::text(&secret))
        };
        let id = read(&self.access_key_file, "access_key_file")?;
        let secret = read(&self.secret_key_file, "secret_key_file")?;
        let checksums = AskForChecksums::new(&id, &secret, &self.region);
        let mut builder = AmazonS3Builder::new()
            .with_client_options(client_options(options, self.ca_file.as_deref(), self.allow_http)?)
            .with_http_connector(Connector { told: of_s3, checksums: Some(checksums) })
            .with_endpoint(endpoint(self))
            .with_virtual_hosted_style_request(self.style == Style::VirtualHost)
            .with_region(&self.region)
            .with_bucket_name(&self.bucket)
            .with_access_key_id(id)
            .with_secret_access_key(secret)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One object at a time: every server knows that, and the answer names the object.
            .with_disable_bulk_delete(true)
            .with_retry(once());
        if self.checksums {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        builder.build().map_err(|error| refuse(error.to_string()))
    }
}

fn check(config: &S3Config) -> Result<(), Error> {
    let S3Config { endpoint, bucket, region, .. } = config;
    check_endpoint(endpoint, config.allow_http, After::HostOnly)?;
    let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if bucket.len() < 3 || bucket.len() > 63 || !bucket.chars().all(in_bucket) || bucket.contains("..") {
        return Err(refuse(format!(
            "'{}' is no bucket: 3 to 63 lower-case letters, digits, hyphens and dots",
            bucket.escape_debug()
        ))
        .of_setting("bucket"));
    }
    if region.is_empty() || !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(refuse(format!(
            "'{}' is no region: write us-east-1 when the server has none",
            region.escape_debug()
        ))
        .of_setting("region"));
    }
    check_place(&config.prefix, config.part_size)
}

/// The endpoint as the library wants it: with the bucket, when that stands in the host's name.
fn endpoint(config: &S3Config) -> String {
    let endpoint = config.endpoint.trim_end_matches('/');
    match (config.style, endpoint.split_once("://")) {
        (Style::VirtualHost, Some((scheme, host))) => format!("{scheme}://{}.{host}", config.bucket),
        _ => endpoint.to_owned(),
    }
}

#[cfg(test)]
mod tests;
