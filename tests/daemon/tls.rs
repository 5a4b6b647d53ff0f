//! TLS of the API, with a client that believes one certificate and no other.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Server, eventually};

/// The answer to one request over TLS, by a client that believes this certificate alone; none: it does not believe the server.
fn ask(
    server: &Server,
    pem: &str,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> Option<(u16, String)> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(("127.0.0.1", server.api.port())).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut tls = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), socket);
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        server.api.port(),
        body.len()
    );
    tls.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    // A server that closes without a farewell has still answered.
    let _end = tls.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer))
}

fn get(server: &Server, pem: &str) -> Option<u16> {
    let bearer = format!("Authorization: Bearer {}\r\n", server.token());
    ask(server, pem, "GET", "/libraries", &bearer, &Value::Null).map(|(status, _)| status)
}

/// A certificate for localhost and its key, in two files.
fn write_pair(folder: &Path) -> String {
    write_made(folder, &rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap())
}

/// The same, as is wanted.
fn write_made(folder: &Path, wanted: &rcgen::CertificateParams) -> String {
    let pair = rcgen::KeyPair::generate().unwrap();
    let pem = wanted.self_signed(&pair).unwrap().pem();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, &pem).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    pem
}

fn with_files(folder: &Path) -> String {
    let config = folder.join("vtl.toml");
    let text = "api.tls.cert = \"cert.pem\"\napi.tls.key = \"key.pem\"\n";
    fs::write(&config, text).unwrap();
    config.display().to_string()
}

#[test]
fn a_certificate_that_is_made_here_is_kept_for_its_owner_and_stays_the_same() {
    let mut server = Server::start(&["--set", "api.tls.self_signed=true"]);
    let file = server.state().join("api.pem");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let pem = fs::read_to_string(&file).unwrap();
    assert_eq!(get(&server, &pem), Some(200));
    let printed = |server: &Server| {
        let line =
            server.welcome.iter().find(|line| line.starts_with("certificate: SHA-256 ")).unwrap().clone();
        line.split([' ', ',']).nth(2).unwrap().to_owned()
    };
    let first = printed(&server);
    assert_eq!(first.len(), 64);
    assert!(server.welcome.iter().any(|line| line.contains("https://127.0.0.1:")), "{:?}", server.welcome);
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(printed(&server), first);
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    assert_eq!(get(&server, &other), None, "who expects another certificate says nothing to it");
}

#[test]
fn with_tls_nothing_is_answered_in_clear() {
    let server = Server::start(&["--set", "api.tls.self_signed=true"]);
    let mut socket = TcpStream::connect(server.api).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"GET /api/v1/libraries HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _end = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn the_cookie_wants_tls_and_browsers_never_ask_without_it_again() {
    let server = Server::start(&["--set", "api.tls.self_signed=true"]);
    let pem = fs::read_to_string(server.state().join("api.pem")).unwrap();
    let body = json!({ "token": server.token() });
    let (status, answer) = ask(&server, &pem, "POST", "/session", "", &body).unwrap();
    assert_eq!(status, 200, "{answer}");
    let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(line.starts_with("__Host-vtl=vtls_"), "{line}");
    assert!(line.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{line}");
    assert!(answer.lines().any(|line| line == "strict-transport-security: max-age=31536000"), "{answer}");
    let origin = format!("Origin: http://localhost:{}\r\n", server.api.port());
    let (status, _) = ask(&server, &pem, "POST", "/session", &origin, &body).unwrap();
    assert_eq!(status, 403, "a page that came without TLS");
}

#[test]
fn a_listener_wider_than_loopback_opens_with_tls_and_not_without() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = Server::refused(folder.path(), &["--api", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("api.listen") && said.contains("api.tls.self_signed"), "{said}");
    let server = Server::start(&["--api", "0.0.0.0:0", "--set", "api.tls.self_signed=true"]);
    let pem = fs::read_to_string(server.state().join("api.pem")).unwrap();
    assert_eq!(get(&server, &pem), Some(200));
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_a_wrong_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_files(folder.path());
    let old = write_pair(folder.path());
    let server = Server::start_at(folder.path(), &["--config", &config]);
    assert_eq!(get(&server, &old), Some(200));
    let new = write_pair(folder.path());
    assert_eq!(get(&server, &old), Some(200), "files alone change nothing");
    server.signal(Signal::HUP);
    eventually("the new certificate is shown", || (get(&server, &new) == Some(200)).then_some(()));
    assert_eq!(get(&server, &old), None);

    fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", server.token());
    let (status, answer) = ask(&server, &new, "POST", "/system/reload", &bearer, &Value::Null).unwrap();
    assert_eq!(status, 400, "{answer}");
    assert!(answer.contains("cert.pem"), "{answer}");
    assert_eq!(get(&server, &new), Some(200));
}

#[test]
fn a_certificate_near_its_end_is_told_with_what_reads_a_new_one_when_no_client_talks_to_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_files(folder.path());
    let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let soon = jiff::Zoned::now().date().saturating_add(jiff::Span::new().days(3));
    let (month, day) = (soon.month().unsigned_abs(), soon.day().unsigned_abs());
    wanted.not_after = rcgen::date_time_ymd(soon.year().into(), month, day);
    let pem = write_made(folder.path(), &wanted);
    let server = Server::start_at(folder.path(), &["--config", &config]);
    let bearer = format!("Authorization: Bearer {}\r\n", server.token());
    let (status, answer) = ask(&server, &pem, "GET", "/system/status", &bearer, &Value::Null).unwrap();
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("the certificate of the API ends at "), "{answer}");
    assert!(answer.contains("then: systemctl reload vtld"), "{answer}");
}

#[test]
fn a_key_that_others_can_read_or_that_is_of_another_certificate_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = with_files(folder.path());
    write_pair(folder.path());
    let key = folder.path().join("key.pem");
    let text = fs::read_to_string(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = || Server::refused(folder.path(), &["--config", &config]);
    let (code, said) = refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("api.tls.key") && said.contains("chmod 600"), "{said}");
    write_pair(folder.path());
    fs::write(&key, text).unwrap();
    let (code, said) = refused();
    assert_eq!(code, Some(1));
    assert!(said.contains("cannot be used together"), "{said}");
}

#[test]
fn who_connects_and_says_nothing_holds_up_nobody() {
    let server = Server::start(&["--set", "api.tls.self_signed=true"]);
    let pem = fs::read_to_string(server.state().join("api.pem")).unwrap();
    let silent: Vec<_> = (0..50).map(|_| TcpStream::connect(server.api).unwrap()).collect();
    assert_eq!(get(&server, &pem), Some(200));
    drop(silent);
}
