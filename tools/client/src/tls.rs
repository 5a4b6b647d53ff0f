//! Whom `vtl` believes that it talks to vtld: a certificate authority's file, a fingerprint, or the system's authorities.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, Stream};
use sha2::{Digest, Sha256};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::command::Connection;
use crate::http::Failure;

/// Where Debian and its kin keep the authorities that everybody believes.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";
/// How long a look at the certificate may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the connection's options say; none for plain HTTP.
pub fn config(connection: &Connection) -> Result<Option<TlsConfig>, Failure> {
    let Some(rest) = connection.api.strip_prefix("https://") else { return Ok(None) };
    let roots = match (&connection.pin, &connection.ca_file) {
        (Some(pin), _) => vec![pinned(rest, pin)?],
        (None, Some(file)) => authorities(file)?,
        (None, None) => authorities(Path::new(SYSTEM))?,
    };
    let config = TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    Ok(Some(config))
}

fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let remedy = "name --ca-file FILE, or --pin with the fingerprint that vtld prints when it starts";
    let told = |why: String| {
        Failure::Local(format!("cannot read certificates from {}: {why}; {remedy}", file.display()))
    };
    let bytes = fs::read(file).map_err(|e| told(e.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&bytes) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| told(e.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(told("there is none in it".to_owned())) } else { Ok(found) }
}

/// Looks at the server's certificate. It is believed, and it alone, when its fingerprint is the one that is asked for.
fn pinned(rest: &str, pin: &str) -> Result<Certificate<'static>, Failure> {
    let told = |why: String| Failure::Local(format!("https://{rest}: {why}"));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let (host, port) =
        host_and_port(authority).ok_or_else(|| told("there is no host in it; see --api".to_owned()))?;
    let seen = Arc::new(Seen {
        wanted: normal(pin),
        found: Mutex::default(),
        provider: aws_lc_rs::default_provider(),
    });
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| told(e.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(seen.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|e| told(e.to_string()))?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(|e| told(e.to_string()))?;
    let mut socket = TcpStream::connect((host, port))
        .map_err(|e| Failure::NoAnswer(format!("no answer from https://{rest}: {e}")))?;
    let timed =
        socket.set_read_timeout(Some(PATIENCE)).and_then(|()| socket.set_write_timeout(Some(PATIENCE)));
    timed.map_err(|e| told(e.to_string()))?;
    let mut stream = Stream::new(&mut tls, &mut socket);
    // One request, so that the handshake is whole before the certificate is believed.
    let asked = format!("GET /api/v1/session HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let talked = stream.write_all(asked.as_bytes()).and_then(|()| stream.read(&mut [0; 16]).map(drop));
    talked.map_err(|e| told(format!("no TLS with the server of --pin: {e}")))?;
    let found = seen.found.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.ok_or_else(|| told("the server showed no certificate".to_owned()))
}

/// `host:port`, `[address]:port`, or without a port that of HTTPS.
fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        let port = behind.strip_prefix(':').map_or(Some(443), |port| port.parse().ok())?;
        return Some((host, port));
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => (!authority.is_empty()).then_some((authority, 443)),
    }
}

/// Fingerprints come with and without colons, in small and large letters.
fn normal(pin: &str) -> String {
    pin.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect()
}

#[derive(Debug)]
struct Seen {
    wanted: String,
    found: Mutex<Option<Certificate<'static>>>,
    provider: CryptoProvider,
}

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: String = Sha256::digest(certificate).iter().map(|b| format!("{b:02x}")).collect();
        if found != self.wanted {
            return Err(rustls::Error::General(format!(
                "the certificate's fingerprint is {found}, not {}",
                self.wanted
            )));
        }
        let kept = Certificate::from_der(certificate).to_owned();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_as_they_are_written() {
        assert_eq!(host_and_port("vtl.example:8460"), Some(("vtl.example", 8460)));
        assert_eq!(host_and_port("[2001:db8::1]:8460"), Some(("2001:db8::1", 8460)));
        assert_eq!(host_and_port("[::1]"), Some(("::1", 443)));
        assert_eq!(host_and_port("vtl.example"), Some(("vtl.example", 443)));
        for bad in ["", "a:b", "[::1", "a:99999"] {
            assert_eq!(host_and_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_the_same_with_colons_and_capitals() {
        assert_eq!(normal("AB:cd:01"), "abcd01");
    }
}
