//! Mail and posts over TLS, against servers made here: who is trusted, and what crosses the network in clear.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use vtl_alert::send::{Mail, MailTls, Notice, Origin, Sender as _, Webhook};
use vtl_types::{Secret, SecretAddress};

/// A client that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "made-up-password";
/// base64 of a zero byte, `ann`, a zero byte, `made-up-password`: RFC 4616.
const PLAIN: &str = "AUTH PLAIN AGFubgBtYWRlLXVwLXBhc3N3b3Jk";

/// An authority, with its certificate in a file, and a server's configuration that it has signed.
struct Site {
    folder: tempfile::TempDir,
    server: Arc<ServerConfig>,
}

impl Site {
    /// With a certificate for this name.
    fn of(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca_pem = authority.as_ref().pem();
        std::fs::write(folder.path().join("ca.pem"), ca_pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone()];
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .unwrap();
        Self { folder, server: Arc::new(server) }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

/// What a server heard, and whether TLS was around it.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    line: String,
    sealed: bool,
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// Serves one connection.
fn serving<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        serve(socket)
    });
    (port, thread)
}

fn sealed(socket: TcpStream, config: &Arc<ServerConfig>) -> BufReader<Box<dyn Stream>> {
    let connection = ServerConnection::new(config.clone()).unwrap();
    BufReader::new(Box::new(StreamOwned::new(connection, socket)))
}

/// How a mail server meets its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Offers STARTTLS, and a log-in before it, too.
    StartTls,
    /// TLS from the first byte on.
    Wrapped,
    /// Offers a log-in in clear, and no TLS.
    Clear,
}

/// Talks SMTP on one connection to its end; what it heard.
fn mail_server(way: Way, config: Arc<ServerConfig>) -> (u16, JoinHandle<Vec<Heard>>) {
    serving(move |socket| {
        let mut heard = Vec::new();
        let raw = socket.try_clone().unwrap();
        let (mut stream, mut is_sealed) = match way {
            Way::Wrapped => (sealed(socket, &config), true),
            _ => (BufReader::new(Box::new(socket) as Box<dyn Stream>), false),
        };
        say(&mut stream, "220 localhost ready");
        while let Some(line) = hear(&mut stream) {
            heard.push(Heard { line: line.clone(), sealed: is_sealed });
            let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            match word.as_str() {
                "EHLO" if way == Way::StartTls && !is_sealed => {
                    say(&mut stream, "250-localhost\r\n250-STARTTLS\r\n250 AUTH PLAIN");
                }
                "EHLO" => say(&mut stream, "250-localhost\r\n250 AUTH PLAIN"),
                "STARTTLS" if way == Way::StartTls => {
                    say(&mut stream, "220 go on");
                    (stream, is_sealed) = (sealed(raw.try_clone().unwrap(), &config), true);
                }
                "STARTTLS" => say(&mut stream, "502 not here"),
                "AUTH" => say(&mut stream, "235 welcome"),
                "DATA" => {
                    say(&mut stream, "354 go on");
                    while let Some(line) = hear(&mut stream).filter(|line| line != ".") {
                        heard.push(Heard { line, sealed: is_sealed });
                    }
                    say(&mut stream, "250 taken");
                }
                "QUIT" => {
                    say(&mut stream, "221 bye");
                    break;
                }
                _ => say(&mut stream, "250 ok"),
            }
        }
        heard
    })
}

fn say(stream: &mut BufReader<Box<dyn Stream>>, text: &str) {
    // A client that is gone is what some tests want.
    drop(write!(stream.get_mut(), "{text}\r\n").and_then(|()| stream.get_mut().flush()));
}

/// The next line; none at the end, and when the handshake fails.
fn hear(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line) {
        Ok(read) if read > 0 => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

fn origin() -> Origin {
    Origin { host: "tapes".to_owned(), installation: "00ff".to_owned() }
}

fn mail(port: u16, tls: MailTls, ca: Option<&PathBuf>) -> Mail {
    let login = ("ann".to_owned(), Secret::new(PASSWORD.as_bytes().to_vec()));
    let to = ["ann@example.org".to_owned()];
    let people = ("vtl@example.org", to.as_slice());
    Mail::new(("localhost", port), tls, ca.map(PathBuf::as_path), Some(&login), people, origin()).unwrap()
}

#[test]
fn a_mail_and_its_log_in_go_to_a_server_that_the_given_authority_vouches_for_and_only_within_tls() {
    let site = Site::of("localhost");
    for (way, tls) in [(Way::StartTls, MailTls::StartTls), (Way::Wrapped, MailTls::Tls)] {
        let (port, server) = mail_server(way, site.server.clone());
        mail(port, tls, Some(&site.ca())).send(&Notice::test(1_774_224_000)).unwrap();
        let heard = server.join().unwrap();
        let login = Heard { line: PLAIN.to_owned(), sealed: true };
        assert!(heard.contains(&login), "{heard:?}");
        let open: Vec<_> =
            heard.iter().filter(|heard| !heard.sealed).map(|heard| heard.line.as_str()).collect();
        let words: Vec<_> = open.iter().map(|line| line.split(' ').next().unwrap()).collect();
        let expected: &[&str] = if way == Way::StartTls { &["EHLO", "STARTTLS"] } else { &[] };
        assert_eq!(words, expected, "in clear: {open:?}");
        for part in
            ["MAIL FROM:<vtl@example.org>", "RCPT TO:<ann@example.org>", "this is a test: nothing is wrong"]
        {
            assert!(
                heard.iter().any(|heard| heard.sealed && heard.line.starts_with(part)),
                "{part}: {heard:?}"
            );
        }
    }
}

#[test]
fn a_server_of_another_authority_or_another_name_gets_neither_log_in_nor_mail() {
    let (site, stranger, renamed) =
        (Site::of("localhost"), Site::of("localhost"), Site::of("elsewhere.example"));
    for (server_of, ca) in [(&stranger, Some(site.ca())), (&renamed, Some(renamed.ca())), (&site, None)] {
        for (way, tls) in [(Way::StartTls, MailTls::StartTls), (Way::Wrapped, MailTls::Tls)] {
            let (port, server) = mail_server(way, server_of.server.clone());
            let refused = mail(port, tls, ca.as_ref()).send(&Notice::test(0)).unwrap_err();
            assert!(refused.why.contains("certificate"), "{refused}");
            assert!(!refused.why.contains(PASSWORD), "{refused}");
            let heard = server.join().unwrap();
            let told = heard
                .iter()
                .any(|heard| !["EHLO", "STARTTLS"].contains(&heard.line.split(' ').next().unwrap()));
            assert!(!told, "{heard:?}");
        }
    }
}

#[test]
fn a_server_that_offers_no_tls_gets_nothing_and_a_log_in_in_clear_is_not_to_be_had() {
    let site = Site::of("localhost");
    let (port, server) = mail_server(Way::Clear, site.server.clone());
    mail(port, MailTls::StartTls, Some(&site.ca())).send(&Notice::test(0)).unwrap_err();
    let heard = server.join().unwrap();
    let words = ["AUTH", "MAIL", "RCPT", "DATA"];
    assert!(!heard.iter().any(|heard| words.iter().any(|word| heard.line.starts_with(word))), "{heard:?}");

    let login = ("ann".to_owned(), Secret::new(PASSWORD.as_bytes().to_vec()));
    let to = ["ann@example.org".to_owned()];
    let people = ("vtl@example.org", to.as_slice());
    let refused =
        Mail::new(("localhost", port), MailTls::None, None, Some(&login), people, origin()).unwrap_err();
    assert!(refused.contains("in clear") && !refused.contains(PASSWORD), "{refused}");
}

#[test]
fn a_file_without_a_certificate_is_refused_and_not_taken_for_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "made-up text\n").unwrap();
    let to = ["ann@example.org".to_owned()];
    let people = ("vtl@example.org", to.as_slice());
    let refused =
        Mail::new(("localhost", 1), MailTls::Tls, Some(&empty), None, people, origin()).unwrap_err();
    assert!(refused.contains("empty.pem: there is no certificate in it"), "{refused}");
    let refused =
        Webhook::new(SecretAddress::new("https://localhost:1/".to_owned()), None, Some(&empty), origin())
            .unwrap_err();
    assert!(refused.contains("empty.pem: there is no certificate in it"), "{refused}");
}

/// Takes one post over TLS; its head and body, nothing when the handshake fails.
fn web_server(config: Arc<ServerConfig>) -> (u16, JoinHandle<Option<String>>) {
    serving(move |socket| {
        let mut stream = sealed(socket, &config);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let line = hear(&mut stream)?;
            head = head + &line + "\r\n";
        }
        let lower = head.to_lowercase();
        let length = lower.split_once("content-length: ")?.1.split("\r\n").next()?.parse().ok()?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        say(&mut stream, "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n");
        Some(head + &String::from_utf8(body).unwrap())
    })
}

#[test]
fn a_post_goes_to_the_server_that_the_given_authority_vouches_for_and_to_no_other() {
    let (site, stranger, renamed) =
        (Site::of("localhost"), Site::of("localhost"), Site::of("elsewhere.example"));
    let (port, server) = web_server(site.server.clone());
    let secret = Secret::new(b"made up for this test".to_vec());
    let to = |port: u16, ca: PathBuf| {
        Webhook::new(
            SecretAddress::new(format!("https://localhost:{port}/alerts")),
            Some(&secret),
            Some(&ca),
            origin(),
        )
        .unwrap()
    };
    to(port, site.ca()).send(&Notice::test(0)).unwrap();
    let told = server.join().unwrap().unwrap();
    assert!(told.starts_with("POST /alerts HTTP/1.1\r\n") && told.contains("\"event\":\"test\""), "{told}");
    for (server_of, ca) in [(&stranger, site.ca()), (&renamed, renamed.ca())] {
        let (port, server) = web_server(server_of.server.clone());
        let refused = to(port, ca).send(&Notice::test(0)).unwrap_err();
        assert!(refused.why.contains("certificate"), "{refused}");
        assert_eq!(server.join().unwrap(), None, "nothing was posted");
    }
}
