//! Google's cloud storage, with the key file of a service account.
//!
//! The server tells the MD5 of an object of one request. Of one in parts it tells a CRC-32C only, which proves too little.

use std::path::PathBuf;

use object_store::ClientOptions;
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use serde::Deserialize;

use super::told::of_gcs;
use super::transport::Connector;
use super::{CloudRemote, Place, check_place, client_options, once};
use crate::credential;
use crate::error::Error;
use crate::http_setup::{After, check_endpoint, refuse};

/// Where Google is.
const ENDPOINT: &str = "https://storage.googleapis.com";

/// Settings of a Google remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsConfig {
    /// The name that the operator gave the remote.
    pub name: String,
    /// The bucket, which must be there.
    pub bucket: String,
    /// In front of every object's name; empty for none.
    pub prefix: String,
    /// `https://host`; Google's when it is left out.
    pub endpoint: Option<String>,
    /// Certificates of authorities to trust beside the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether `http://` is allowed: everybody on the way can read then.
    pub allow_http: bool,
    /// The key file of a service account, as Google gives it.
    pub credentials_file: PathBuf,
    /// The size of parts, and of the largest object that goes in one request, in bytes.
    pub part_size: u64,
}

/// What of a key file says what it is. The rest is the library's.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(default)]
    client_email: Option<String>,
    #[serde(default)]
    private_key: Option<serde::de::IgnoredAny>,
}

impl GcsConfig {
    /// Checks settings and reads the key file; nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`](crate::Class), naming the setting and the remedy.
    pub fn open(self) -> Result<CloudRemote, Error> {
        let store = self.store().map_err(|error| error.on(&self.name))?;
        let Self { name, bucket, prefix, part_size, .. } = self;
        let place = Place { remote: name, kind: "gcs", bucket, prefix, part_size, looks_first: true };
        Ok(CloudRemote::new(place, store))
    }

    fn store(&self) -> Result<GoogleCloudStorage, Error> {
        let endpoint = self.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/');
        check_endpoint(endpoint, self.allow_http, After::HostOnly)?;
        let bucket = &self.bucket;
        let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        if bucket.len() < 3 || bucket.len() > 222 || !bucket.chars().all(in_bucket) {
            return Err(refuse(format!(
                "'{}' is no bucket: 3 to 222 lower-case letters, digits, hyphens, dots and underscores",
                bucket.escape_debug()
            ))
            .of_setting("bucket"));
        }
        check_place(&self.prefix, self.part_size)?;
        let of_key = |error: Error| error.of_setting("credentials_file");
        let wrong = || {
            let shown = self.credentials_file.display();
            of_key(refuse(format!(
                "the credentials in {shown} are no key of a service account: it is a JSON file with client_email and private_key"
            )))
        };
        let key = credential::read_text(&self.credentials_file).map_err(of_key)?;
        let about: KeyFile = serde_json::from_slice(key.expose()).map_err(|_| wrong())?;
        if about.client_email.is_none() || about.private_key.is_none() {
            return Err(wrong());
        }
        let options = client_options(ClientOptions::new(), self.ca_file.as_deref(), self.allow_http)?;
        let builder = GoogleCloudStorageBuilder::new()
            .with_client_options(options)
            .with_http_connector(Connector { told: of_gcs, checksums: None })
            .with_base_url(endpoint)
            .with_bucket_name(bucket)
            .with_service_account_key(credential::text(&key))
            .with_retry(once());
        // The library's error may have a piece of the key.
        builder.build().map_err(|_| wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn open(key: &str, change: impl Fn(&mut GcsConfig)) -> Result<CloudRemote, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.json");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut config = GcsConfig {
            name: "cloud".to_owned(),
            bucket: "tapes".to_owned(),
            prefix: String::new(),
            endpoint: None,
            ca_file: None,
            allow_http: false,
            credentials_file: path,
            part_size: super::super::DEFAULT_PART_SIZE,
        };
        change(&mut config);
        config.open().map_err(|error| error.to_string())
    }

    const KEY: &str = r#"{"private_key": "made-up", "private_key_id": "1", "client_email": "x@example.com", "disable_oauth": true}"#;

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_remedy() {
        type Change<'a> = &'a dyn Fn(&mut GcsConfig);
        let keep: Change<'_> = &|_| {};
        let cases: [(&str, Change<'_>, &str); 7] = [
            (KEY, &|config| config.bucket = "A".to_owned(), "no bucket"),
            (KEY, &|config| config.endpoint = Some("http://127.0.0.1".to_owned()), "allow_http"),
            (KEY, &|config| config.prefix = "..".to_owned(), ".."),
            (KEY, &|config| config.credentials_file = "/none/such".into(), "/none/such"),
            ("made-up", keep, "client_email"),
            ("{}", keep, "client_email"),
            // A private key that is none, for a server that wants to see a token.
            (
                r#"{"private_key": "made-up", "private_key_id": "1", "client_email": "x"}"#,
                keep,
                "private_key",
            ),
        ];
        for (key, change, remedy) in cases {
            let text = open(key, change).unwrap_err();
            assert!(text.contains(remedy), "{remedy} in {text}");
            assert!(!text.contains("made-up"), "{text}");
        }
        assert!(!format!("{:?}", open(KEY, keep).unwrap()).contains("made-up"));
    }
}
