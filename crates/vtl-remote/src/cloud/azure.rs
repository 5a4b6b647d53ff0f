//! Azure's blob storage, with the account's key.
//!
//! An object of one request has an MD5 that the server computes and tells. Of one in blocks it tells none, and what a client
//! could have it keep would be the client's own word: none is set.

use std::path::PathBuf;

use object_store::ClientOptions;
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use vtl_types::Secret;

use super::told::of_azure;
use super::transport::Connector;
use super::{CloudRemote, Place, check_place, client_options, once};
use crate::credential;
use crate::error::Error;
use crate::http_setup::{After, check_endpoint, refuse};

/// Settings of an Azure remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureConfig {
    /// The name that the operator gave the remote.
    pub name: String,
    /// The storage account.
    pub account: String,
    /// The container, which must be there.
    pub container: String,
    /// In front of every object's name; empty for none.
    pub prefix: String,
    /// `https://host` without the container; that of the account at Azure when it is left out. Servers that have no host
    /// for each account want the account as path.
    pub endpoint: Option<String>,
    /// Certificates of authorities to trust beside the system's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether `http://` is allowed: everybody on the way can read then.
    pub allow_http: bool,
    /// The file with one of the account's keys.
    pub secret_key_file: PathBuf,
    /// The size of blocks, and of the largest object that goes in one request, in bytes.
    pub part_size: u64,
}

impl AzureConfig {
    /// Checks settings and reads the key; nothing is sent.
    ///
    /// # Errors
    ///
    /// [`Class::Misconfigured`](crate::Class), naming the setting and the remedy.
    pub fn open(self) -> Result<CloudRemote, Error> {
        let store = self.store().map_err(|error| error.on(&self.name))?;
        let Self { name, container, prefix, part_size, .. } = self;
        let place =
            Place { remote: name, kind: "azure", bucket: container, prefix, part_size, looks_first: false };
        Ok(CloudRemote::new(place, store))
    }

    fn store(&self) -> Result<MicrosoftAzure, Error> {
        check_names(&self.account, &self.container)?;
        let endpoint = self.endpoint();
        check_endpoint(&endpoint, self.allow_http, After::Path)?;
        check_place(&self.prefix, self.part_size)?;
        let of_key = |error: Error| error.of_setting("secret_key_file");
        let key: Secret = credential::read(&self.secret_key_file).map_err(of_key)?;
        let options = client_options(ClientOptions::new(), self.ca_file.as_deref(), self.allow_http)?;
        let builder = MicrosoftAzureBuilder::new()
            .with_client_options(options)
            .with_http_connector(Connector { told: of_azure, checksums: None })
            .with_endpoint(endpoint)
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_access_key(credential::text(&key))
            .with_retry(once());
        // The library's error may have a piece of the key.
        builder.build().map_err(|_| {
            of_key(refuse(format!(
                "the key in {} is no key of a storage account: it is base64, as the provider shows it",
                self.secret_key_file.display()
            )))
        })
    }

    fn endpoint(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.trim_end_matches('/').to_owned(),
            None => format!("https://{}.blob.core.windows.net", self.account),
        }
    }
}

fn check_names(account: &str, container: &str) -> Result<(), Error> {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if account.len() < 3 || account.len() > 24 || !account.chars().all(lower) {
        return Err(refuse(format!(
            "'{}' is no storage account: 3 to 24 lower-case letters and digits",
            account.escape_debug()
        ))
        .of_setting("account"));
    }
    let in_container = |c: char| lower(c) || c == '-';
    if container.len() < 3 || container.len() > 63 || !container.chars().all(in_container) {
        return Err(refuse(format!(
            "'{}' is no container: 3 to 63 lower-case letters, digits and hyphens",
            container.escape_debug()
        ))
        .of_setting("container"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// `made-up-secret` in base64.
    const KEY: &str = "bWFkZS11cC1zZWNyZXQ=";

    fn open(change: impl Fn(&mut AzureConfig)) -> Result<CloudRemote, String> {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("key", KEY), ("bad", "made-up!")] {
            let path = folder.path().join(file);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut config = AzureConfig {
            name: "cloud".to_owned(),
            account: "tapes".to_owned(),
            container: "exports".to_owned(),
            prefix: String::new(),
            endpoint: None,
            ca_file: None,
            allow_http: false,
            secret_key_file: folder.path().join("key"),
            part_size: super::super::DEFAULT_PART_SIZE,
        };
        change(&mut config);
        if config.secret_key_file.as_os_str() == "bad" {
            config.secret_key_file = folder.path().join("bad");
        }
        config.open().map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_remedy() {
        type Change<'a> = &'a dyn Fn(&mut AzureConfig);
        let cases: [(Change<'_>, &str); 7] = [
            (&|config| config.account = "No-Account".to_owned(), "lower-case letters and digits"),
            (&|config| config.container = "a/b".to_owned(), "no container"),
            (&|config| config.endpoint = Some("http://127.0.0.1/tapes".to_owned()), "allow_http"),
            (&|config| config.prefix = "a/../b".to_owned(), ".."),
            (&|config| config.part_size = 1, "5 MiB"),
            (&|config| config.secret_key_file = "/none/such".into(), "/none/such"),
            (&|config| config.secret_key_file = "bad".into(), "base64"),
        ];
        for (change, remedy) in cases {
            let text = open(change).unwrap_err();
            assert!(text.contains(remedy), "{remedy} in {text}");
            assert!(!text.contains("made-up"), "{text}");
        }
        let remote = format!("{:?}", open(|_| {}).unwrap());
        assert!(!remote.contains("made-up") && !remote.contains(KEY), "{remote}");
    }
}
