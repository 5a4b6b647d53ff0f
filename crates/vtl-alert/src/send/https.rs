//! What asks a server of the web that an operator has named: where it goes is said in one place, so no redirect is followed and no proxy is used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider};

/// The largest file of certificates that is read.
const MAX_CA_FILE: u64 = 1 << 20;

/// One that trusts the certificates of a file, or the system's, and gives up after this time.
///
/// # Errors
/// The certificates cannot be used.
pub fn agent(ca_file: Option<&Path>, time_limit: Duration) -> Result<Agent, String> {
    let roots = match ca_file {
        Some(file) => RootCerts::Specific(Arc::new(certificates(file)?)),
        None => RootCerts::PlatformVerifier,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = Agent::config_builder()
        .timeout_global(Some(time_limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .tls_config(tls)
        .build();
    Ok(config.into())
}

/// Those that are trusted in place of the system's.
fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let bad = |why: String| format!("{}: {why}", file.display());
    let about = std::fs::metadata(file).map_err(|error| bad(error.to_string()))?;
    if !about.is_file() || about.len() > MAX_CA_FILE {
        return Err(bad("this is no file with certificates".to_owned()));
    }
    let pem = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(bad("there is no certificate in it".to_owned())) } else { Ok(found) }
}
