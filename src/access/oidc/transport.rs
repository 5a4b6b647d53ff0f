//! Requests to the provider, on the thread that asks: bounded in time and length; no redirect is followed, since it would lead
//! to where nobody has said that the provider is.

use std::path::PathBuf;
use std::time::Duration;

use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};
use vtl_oidc::Transport;

/// From the look-up of the name to the last byte.
const TIME_LIMIT: Duration = Duration::from_secs(10);
const _: () =
    assert!(vtl_oidc::FAILED_AGAIN_S > 2 * TIME_LIMIT.as_secs(), "a failure is remembered when it is there");
/// Of an answer; one with all groups of a large site has some ten thousand bytes.
const MOST_ANSWER: u64 = 512 << 10;
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Over HTTP, with the certificates of a file or of the system. The file is read for each request, so that a new one counts.
#[derive(Debug)]
pub(super) struct Web {
    ca_file: Option<PathBuf>,
}

impl Web {
    pub(super) const fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file }
    }

    fn agent(&self) -> Result<Agent, String> {
        vtl_alert::send::agent(self.ca_file.as_deref(), TIME_LIMIT)
    }
}

fn body(mut answer: Response<Body>) -> Result<Vec<u8>, String> {
    answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec().map_err(|error| error.to_string())
}

impl Transport for Web {
    fn get(&self, address: &str) -> Result<Vec<u8>, String> {
        let answer =
            self.agent()?.get(address).header(ACCEPT, JSON).call().map_err(|error| error.to_string())?;
        match answer.status() {
            StatusCode::OK => body(answer),
            status => Err(format!("it answers {status}")),
        }
    }

    fn post(&self, address: &str, form: &str, authorization: Option<&str>) -> Result<(u16, Vec<u8>), String> {
        let mut request = self.agent()?.post(address).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let answer = request.send(form).map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), body(answer)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread::JoinHandle;

    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::*;

    /// Reads one request, and answers it with this text; what was asked.
    fn answer_one(mut stream: impl Read + Write, answer: &str) -> String {
        let mut asked = Vec::new();
        let mut part = [0; 4096];
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(read @ 1..) => asked.extend_from_slice(&part[..read]),
                // Who does not believe the server hangs up.
                _ => break,
            }
        }
        // Who has heard enough hangs up, too.
        drop(stream.write_all(answer.as_bytes()));
        String::from_utf8(asked).unwrap()
    }

    /// Answers one request with this text; what was asked.
    fn once(answer: String) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let served = std::thread::spawn(move || answer_one(listener.accept().unwrap().0, &answer));
        (address, served)
    }

    /// The same with TLS, by a certificate that nobody knows; as PEM.
    fn once_with_tls(answer: String) -> (String, String, JoinHandle<String>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("https://localhost:{}/keys", listener.local_addr().unwrap().port());
        let served = std::thread::spawn(move || {
            let tls = ServerConnection::new(Arc::new(config)).unwrap();
            answer_one(StreamOwned::new(tls, listener.accept().unwrap().0), &answer)
        });
        (address, made.cert.pem(), served)
    }

    fn answer(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (other, _never) = once(answer("200 OK", "{}"));
        let (address, served) = once(answer(&format!("302 Found\r\nLocation: {other}"), ""));
        assert_eq!(Web::new(None).get(&address), Err("it answers 302 Found".to_owned()));
        assert!(served.join().unwrap().starts_with("GET /keys HTTP/1.1\r\n"));
    }

    #[test]
    fn an_answer_that_does_not_end_is_given_up() {
        let (address, served) = once(answer("200 OK", &"x".repeat(512 << 10)));
        assert!(Web::new(None).get(&address).is_err());
        served.join().unwrap();
        let (address, served) = once(answer("200 OK", &"x".repeat((512 << 10) - 1)));
        assert_eq!(Web::new(None).get(&address).unwrap().len(), (512 << 10) - 1);
        served.join().unwrap();
    }

    #[test]
    fn the_authority_of_the_file_counts_in_place_of_the_systems() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let (address, pem, served) = once_with_tls(answer("200 OK", "{}"));
        std::fs::write(&file, pem).unwrap();
        assert_eq!(Web::new(Some(file.clone())).get(&address), Ok(b"{}".to_vec()));
        assert!(served.join().unwrap().starts_with("GET /keys HTTP/1.1\r\n"));
        // Another certificate, which is neither in the file nor known to the system.
        for ca_file in [Some(file), None] {
            let (address, _, served) = once_with_tls(answer("200 OK", "{}"));
            assert!(Web::new(ca_file).get(&address).unwrap_err().contains("certificate"));
            assert_eq!(served.join().unwrap(), "", "nothing was asked of it");
        }
    }

    #[test]
    fn a_file_of_certificates_that_has_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let ask = || Web::new(Some(file.clone())).get("https://127.0.0.1:1/").unwrap_err();
        assert!(ask().contains("ca.pem"), "{}", ask());
        std::fs::write(&file, "no certificate").unwrap();
        assert!(ask().ends_with("ca.pem: there is no certificate in it"), "{}", ask());
    }
}
