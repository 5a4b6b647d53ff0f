//! TLS of the API: the certificate that it shows.
//!
//! The certificate is the site's (`api.tls.cert`, `api.tls.key`), or one made here and kept in the state folder. A reload reads
//! it again: connections that begin after that see the new one.

mod validity;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use vtl_conf::Api;

use crate::sealing::What;
use crate::state::{API_PEM, StateError, StateFolder, hexadecimal};

/// A pin is of no use when the certificate changes each year.
const SELF_MADE_YEARS: i64 = 10;
/// No certificate file is longer.
const MOST_FILE: u64 = 1 << 20;

/// A certificate with its key.
#[derive(Debug)]
struct Shown {
    key: Arc<CertifiedKey>,
    /// SHA-256 of the certificate's DER, hexadecimal.
    fingerprint: String,
    /// Seconds since 1970.
    expires_s: u64,
}

/// What new connections are shown.
#[derive(Debug)]
struct Current(RwLock<Arc<Shown>>);

impl Current {
    fn get(&self) -> Arc<Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get().key.clone())
    }
}

/// TLS as it is set up now.
pub struct Tls {
    current: Arc<Current>,
    server: Arc<ServerConfig>,
}

/// A certificate that was read and is not shown yet.
pub struct Fresh(Arc<Shown>);

/// Chosen once for the whole process, so that no two parts of it disagree.
pub fn use_one_provider() {
    // Somebody has chosen already, and there is only one to choose.
    let _chosen = aws_lc_rs::default_provider().install_default();
}

impl Tls {
    /// Reads the certificate, or makes one.
    ///
    /// # Errors
    /// What is wrong with it, with its file.
    pub fn open(tls: &vtl_conf::Tls, api: &Api, state: &StateFolder) -> Result<Self, String> {
        let current = Arc::new(Current(RwLock::new(Arc::new(load(tls, api, state)?))));
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("api.tls: {e}"))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { current, server: Arc::new(server) })
    }

    /// Reads the certificate anew; what is shown stays. A disk that hangs lets this wait.
    ///
    /// # Errors
    /// As [`Tls::open`].
    pub fn read(tls: &vtl_conf::Tls, api: &Api, state: &StateFolder) -> Result<Fresh, String> {
        load(tls, api, state).map(|shown| Fresh(Arc::new(shown)))
    }

    /// Shows this certificate from now on.
    pub fn show(&self, Fresh(shown): Fresh) {
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// SHA-256 of the certificate, hexadecimal: what a client pins.
    pub fn fingerprint(&self) -> String {
        self.current.get().fingerprint.clone()
    }

    /// When the certificate ends, in seconds since 1970.
    pub fn expires_s(&self) -> u64 {
        self.current.get().expires_s
    }

    /// What shakes hands with those who connect.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.server.clone())
    }
}

fn load(tls: &vtl_conf::Tls, api: &Api, state: &StateFolder) -> Result<Shown, String> {
    let provider = aws_lc_rs::default_provider();
    match tls {
        vtl_conf::Tls::Files { cert, key } => of_files(cert, key, &provider),
        vtl_conf::Tls::SelfSigned => {
            // The certificate that was made here, and its key, one file: a half-written pair cannot be.
            let named =
                |why: String| format!("api.tls.self_signed: {}: {why}", state.path().join(API_PEM).display());
            // It names the file itself.
            let told = |e: StateError| format!("api.tls.self_signed: {e}");
            let kept = state.secret(What::Certificate, API_PEM).map_err(told)?;
            let both = match kept {
                Some(both) => both,
                None => {
                    let both = zeroize::Zeroizing::new(make(api)?.as_bytes().to_vec());
                    state.keep_secret(What::Certificate, API_PEM, &both).map_err(told)?;
                    both
                }
            };
            shown(&both, &both, &provider).map_err(named)
        }
    }
}

/// Looks at the files of a site's certificate as a start does. One that is made here is neither made nor opened.
///
/// # Errors
/// As [`Tls::open`].
pub fn look(tls: Option<&vtl_conf::Tls>) -> Result<(), String> {
    match tls {
        Some(vtl_conf::Tls::Files { cert, key }) => {
            of_files(cert, key, &aws_lc_rs::default_provider()).map(drop)
        }
        Some(vtl_conf::Tls::SelfSigned) | None => Ok(()),
    }
}

fn of_files(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Shown, String> {
    let named = |what: &str, file: &Path, why: String| format!("api.tls.{what}: {}: {why}", file.display());
    let certificates = read(cert, false).map_err(|why| named("cert", cert, why))?;
    let private = read(key, true).map_err(|why| named("key", key, why))?;
    shown(&certificates, &private, provider).map_err(|why| named("cert", cert, why))
}

/// A file as it is; one that is secret must be its owner's alone.
fn read(path: &Path, is_secret: bool) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    use std::os::unix::fs::PermissionsExt as _;
    let about = std::fs::metadata(path).map_err(|e| e.to_string())?;
    let mode = about.permissions().mode() & 0o7777;
    if is_secret && mode & 0o077 != 0 {
        return Err(format!("others can read it, its mode is {mode:04o}: chmod 600 it"));
    }
    if about.len() > MOST_FILE {
        return Err("it is longer than 1 MiB".to_owned());
    }
    std::fs::read(path).map(zeroize::Zeroizing::new).map_err(|e| e.to_string())
}

fn shown(certificates: &[u8], private: &[u8], provider: &CryptoProvider) -> Result<Shown, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.map_err(|e| format!("this is no PEM: {e}"))?;
    let first = chain.first().ok_or("there is no certificate in it")?;
    let fingerprint = hexadecimal(&Sha256::digest(first));
    let expires_s = validity::not_after(first).ok_or("its end cannot be read")?;
    let key = PrivateKeyDer::from_pem_slice(private).map_err(|e| format!("there is no private key: {e}"))?;
    let key = CertifiedKey::from_der(chain, key, provider);
    let key = key.map_err(|e| format!("the certificate and its key cannot be used together: {e}"))?;
    Ok(Shown { key: Arc::new(key), fingerprint, expires_s })
}

/// A certificate and its key, PEM, for the names by which this machine is called.
fn make(api: &Api) -> Result<zeroize::Zeroizing<String>, String> {
    let fail = |e: &dyn std::fmt::Display| format!("api.tls.self_signed: no certificate can be made: {e}");
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let address = api.listen.ip();
    if !address.is_unspecified() && !is_loopback(address) {
        names.push(address.to_string());
    }
    names.extend(host_name());
    names.extend(api.hosts.iter().cloned());
    let mut wanted = rcgen::CertificateParams::new(names).map_err(|e| fail(&e))?;
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "vtl");
    let today = jiff::Zoned::now().date();
    let end = today.saturating_add(jiff::Span::new().years(SELF_MADE_YEARS));
    let day = |date: jiff::civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(date.year().into(), month, day.min(28))
    };
    // A day back: clients whose clock is behind trust it, too.
    wanted.not_before = day(today.yesterday().unwrap_or(today).first_of_month());
    wanted.not_after = day(end);
    let key = rcgen::KeyPair::generate().map_err(|e| fail(&e))?;
    let certificate = wanted.self_signed(&key).map_err(|e| fail(&e))?;
    let private = zeroize::Zeroizing::new(key.serialize_pem());
    Ok(zeroize::Zeroizing::new(format!("{}{}", certificate.pem(), private.as_str())))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn host_name() -> Option<String> {
    let name = rustix::system::uname().nodename().to_str().ok()?.to_ascii_lowercase();
    let is_usual = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    (!name.is_empty() && name != "localhost" && name.bytes().all(is_usual)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_look_at_the_files_of_a_certificate_finds_what_a_start_would_and_makes_none() {
        let folder = tempfile::tempdir().unwrap();
        let args = crate::args::Args { state: Some(folder.path().join("state")), ..Default::default() };
        let pem = make(&crate::load(&args).unwrap().api).unwrap();
        let [cert, key] = ["site.pem", "site.key"].map(|name| folder.path().join(name));
        let files = vtl_conf::Tls::Files { cert: cert.clone(), key: key.clone() };
        let refused = |part: &str| {
            let why = look(Some(&files)).unwrap_err();
            assert!(why.contains(part), "{part}: {why}");
        };
        refused("api.tls.cert: ");
        fs::write(&cert, pem.as_bytes()).unwrap();
        refused("site.key: No such file");
        fs::write(&key, pem.as_bytes()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        refused("site.key: others can read it");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        look(Some(&files)).unwrap();
        look(Some(&vtl_conf::Tls::SelfSigned)).unwrap();
        assert!(!folder.path().join("state").exists());
    }
}
