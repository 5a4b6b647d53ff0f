//! A notice as JSON to an address of the web, signed when there is a secret.

use std::path::Path;

use aws_lc_rs::hmac;
use serde_json::json;
use ureq::Agent;
use vtl_types::{Secret, SecretAddress};

use super::{NotSent, Notice, Origin, Sender, TIME_LIMIT};

/// Seconds since 1970 at which the post was signed: a receiver refuses what is old.
const TIMESTAMP: &str = "x-vtl-timestamp";
/// `sha256=` and the HMAC-SHA-256 of `TIMESTAMP.BODY` in hexadecimal.
const SIGNATURE: &str = "x-vtl-signature";

/// Posts to one address.
pub struct Webhook {
    agent: Agent,
    url: SecretAddress,
    key: Option<hmac::Key>,
    origin: Origin,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Webhook {
    /// One that posts to `url`.
    ///
    /// # Errors
    /// Its certificates cannot be used.
    pub fn new(
        url: SecretAddress,
        secret: Option<&Secret>,
        ca_file: Option<&Path>,
        origin: Origin,
    ) -> Result<Self, String> {
        let agent = super::https::agent(ca_file, TIME_LIMIT)?;
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
        Ok(Self { agent, url, key, origin })
    }

    fn body(&self, notice: &Notice) -> String {
        json!({
            "event": notice.event,
            "id": notice.id,
            "rule": notice.rule,
            "severity": notice.severity,
            "subject": notice.subject,
            "message": notice.message,
            "remedy": notice.remedy,
            "at": notice.time(),
            "host": self.origin.host,
            "installation": self.origin.installation,
        })
        .to_string()
    }
}

impl Sender for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn send(&self, notice: &Notice) -> Result<(), NotSent> {
        let body = self.body(notice);
        let mut request = self.agent.post(self.url.expose()).header("content-type", "application/json");
        if let Some(key) = &self.key {
            let now = jiff::Timestamp::now().as_second();
            request =
                request.header(TIMESTAMP, now.to_string()).header(SIGNATURE, signature(key, now, &body));
        }
        let answer = request.send(&body).map_err(NotSent::may_pass)?;
        let refused = |status| format!("{} answered {status}", self.url);
        match answer.status() {
            status if status.is_success() => Ok(()),
            // Too slow, too often, or its own trouble.
            status if matches!(status.as_u16(), 408 | 429 | 500..) => Err(NotSent::may_pass(refused(status))),
            status => Err(NotSent::for_good(refused(status))),
        }
    }
}

fn signature(key: &hmac::Key, at_s: i64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{at_s}.{body}").as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with this status line; gives its head and its body.
    fn receiver(status: &'static str) -> (SecretAddress, std::thread::JoinHandle<(String, String)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/alerts", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(socket);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .unwrap()
                .1
                .split("\r\n")
                .next()
                .unwrap()
                .parse()
                .unwrap();
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            write!(reader.get_mut(), "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            (head.to_lowercase(), String::from_utf8(body).unwrap())
        });
        (SecretAddress::new(url), thread)
    }

    fn origin() -> Origin {
        Origin { host: "tapes".to_owned(), installation: "00ff".to_owned() }
    }

    #[test]
    fn a_signature_is_the_hmac_that_openssl_makes() {
        // printf '1774224000.{"a":1}' | openssl dgst -sha256 -hmac 'made up for this test'
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"made up for this test");
        assert_eq!(
            signature(&key, 1_774_224_000, "{\"a\":1}"),
            "sha256=228d0ef67d389ab1225e6d1a32c07eb35a3b8218f9e9aaf8d699e8e70bd533ac"
        );
    }

    #[test]
    fn a_post_is_json_and_signed_over_time_and_body() {
        let (url, thread) = receiver("204 No Content");
        let secret = Secret::new(b"made up for this test".to_vec());
        let webhook = Webhook::new(url, Some(&secret), None, origin()).unwrap();
        webhook.send(&Notice::test(1_774_224_000)).unwrap();
        let (head, body) = thread.join().unwrap();
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            told,
            json!({
                "event": "test", "id": 0, "rule": "test", "severity": "warning", "subject": "vtl",
                "message": "this is a test: nothing is wrong", "remedy": "", "at": "2026-03-23T00:00:00Z",
                "host": "tapes", "installation": "00ff",
            })
        );
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.unwrap_or_else(|| panic!("{name} in {head}")).to_owned()
        };
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"made up for this test");
        let at_s = field("x-vtl-timestamp").parse().unwrap();
        assert_eq!(field("x-vtl-signature"), signature(&key, at_s, &body));
        assert!(head.starts_with("post /alerts http/1.1"), "{head}");
    }

    #[test]
    fn what_the_receiver_answers_decides_whether_it_is_tried_again() {
        for (status, is_permanent) in [
            ("500 Internal Server Error", false),
            ("503 Service Unavailable", false),
            ("429 Too Many Requests", false),
            ("404 Not Found", true),
            ("302 Found", true),
        ] {
            let (url, thread) = receiver(status);
            let webhook = Webhook::new(url, None, None, origin()).unwrap();
            let refused = webhook.send(&Notice::test(0)).unwrap_err();
            assert_eq!(refused.is_permanent, is_permanent, "{refused}");
            assert!(!format!("{refused} {webhook:?}").contains("/alerts"), "a path may be a password");
            let (head, _) = thread.join().unwrap();
            assert!(!head.contains("x-vtl-signature"));
        }
        let nobody =
            Webhook::new(SecretAddress::new("http://127.0.0.1:1/".to_owned()), None, None, origin()).unwrap();
        assert!(!nobody.send(&Notice::test(0)).unwrap_err().is_permanent);
    }
}
