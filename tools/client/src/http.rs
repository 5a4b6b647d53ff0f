//! Finding the API and talking to it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use serde_json::Value;
use ureq::http::StatusCode;
use vtl_api::{ApiError, BASE, ErrorCode};

use crate::command::Connection;
use crate::token::Place;

/// What a command asks of the API.
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Path below the API's base.
    pub path: String,
    /// JSON body.
    pub body: Option<Value>,
}

/// Methods that the API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Make or do.
    Post,
    /// Set as a whole.
    Put,
    /// Change some keys.
    Patch,
    /// Remove.
    Delete,
}

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The API answered with an error.
    Api(ApiError),
    /// It is not done: it waits for a second person. The answer as it came ([`vtl_api::Waits`]).
    Waits(Value),
    /// Nobody was heard at the address.
    NoAnswer(String),
    /// It was not asked, or there was no answer that can be used.
    Local(String),
}

/// Lists that have pages.
const PAGED: [&str; 6] = ["/cartridges", "/exports", "/iscsi/sessions", "/jobs", "/trash", "/vault"];
/// Rows that are asked for at once.
const PAGE: &str = "limit=1000";
/// A list with more pages is none of ours.
const MOST_PAGES: usize = 10_000;
/// So often a request is sent when its connection is lost, with a pause in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The API's address and token.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
    /// Where the token is from.
    place: Place,
}

/// A good answer.
struct Answer {
    json: Value,
    /// Path of the next page below the API's base.
    next: Option<String>,
}

impl Client {
    /// Finds address and token as the command line and environment say.
    ///
    /// # Errors
    /// There is no token.
    pub fn new(connection: &Connection) -> Result<Self, Failure> {
        Self::showing(connection, Place::find(connection))
    }

    /// The same with the token that is there.
    ///
    /// # Errors
    /// There is no token; what the options name cannot be used.
    pub(crate) fn showing(connection: &Connection, place: Place) -> Result<Self, Failure> {
        let token = place.read()?;
        let base = format!("{}{BASE}", connection.api.trim_end_matches('/'));
        Ok(Self { agent: agent(connection)?, base, token, place })
    }

    /// Sends one request; gives the JSON of a good answer. Of a list, all pages. What makes something is done once, also when it has to be sent again.
    ///
    /// # Errors
    /// The API's refusal, that it waits for a second person, or that there is no API.
    pub fn send(&self, request: &Request) -> Result<Value, Failure> {
        let key = (request.method == Method::Post).then(made_up_key);
        let answer = self.persistent(request, &first_page(request), key.as_deref())?;
        let Answer { json: Value::Array(mut rows), mut next } = answer else { return Ok(answer.json) };
        let mut pages = 1;
        while let Some(path) = next {
            pages += 1;
            if pages > MOST_PAGES {
                return Err(Failure::Local(format!("the list {path} does not come to an end")));
            }
            let page = self.persistent(request, &path, None)?;
            if let Value::Array(more) = page.json {
                rows.extend(more);
            }
            next = page.next;
        }
        Ok(Value::Array(rows))
    }

    /// Fetches a file.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn fetch(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let url = format!("{}{path}", self.base);
        let lost = |e: ureq::Error| {
            Failure::Local(format!(
                "no answer from {url}: {e}; is vtld running, and is --api or VTL_API its address?"
            ))
        };
        let request = self.agent.get(&url).header("authorization", format!("Bearer {}", self.token));
        let mut response = request.call().map_err(lost)?;
        let status = response.status();
        let bytes = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec().map_err(lost)?;
        if status.is_success() {
            return Ok(bytes);
        }
        Err(self.refusal(&url, status, &String::from_utf8_lossy(&bytes)))
    }

    /// What an answer says that is none of the good ones.
    fn refusal(&self, url: &str, status: StatusCode, text: &str) -> Failure {
        let refused = serde_json::from_str(text).unwrap_or_else(|_| ApiError {
            code: ErrorCode::Internal,
            message: format!("{url} answered {status}: {}", text.trim()),
            remedy: None,
            field: None,
        });
        Failure::Api(self.place.refused(refused))
    }

    /// Sends it again when the connection is lost and that does no harm.
    fn persistent(&self, request: &Request, path: &str, key: Option<&str>) -> Result<Answer, Failure> {
        let url = format!("{}{path}", self.base);
        let may_repeat = key.is_some() || request.method == Method::Get;
        let mut tries = 1;
        loop {
            match self.once(request, &url, key) {
                // The first time has not come to its end; nobody else has this key.
                Ok(Err(Failure::Api(refused))) if tries > 1 && is_under_way(&refused) => {
                    std::thread::sleep(PAUSE);
                }
                Ok(answer) => return answer,
                Err(lost) if may_repeat && tries < TRIES && (tries > 1 || is_lost(&lost)) => {
                    std::thread::sleep(PAUSE * tries);
                    tries += 1;
                }
                Err(lost) => {
                    let told = format!(
                        "no answer from {url}: {lost}; is vtld running, and is --api or VTL_API its address?"
                    );
                    return Err(if is_silence(&lost) {
                        Failure::NoAnswer(told)
                    } else {
                        Failure::Local(told)
                    });
                }
            }
        }
    }

    /// Outside: whether there was an answer at all.
    fn once(
        &self,
        request: &Request,
        url: &str,
        key: Option<&str>,
    ) -> Result<Result<Answer, Failure>, ureq::Error> {
        let body = request.body.as_ref().map_or_else(String::new, Value::to_string);
        let mut http = ureq::http::Request::builder()
            .method(request.method.word())
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json");
        if let Some(key) = key {
            http = http.header("idempotency-key", key);
        }
        let http = match http.body(body) {
            Ok(http) => http,
            Err(e) => {
                let told = format!("'{url}' is not a usable address: {e}; see --api");
                return Ok(Err(Failure::Local(told)));
            }
        };
        let mut response = self.agent.run(http)?;
        let status = response.status();
        let link = response.headers().get("link").and_then(|link| link.to_str().ok());
        let next = link.and_then(next_page).map(str::to_owned);
        let text = response.body_mut().with_config().limit(MOST_BYTES).read_to_string()?;
        if status.is_success() {
            let json = serde_json::from_str(&text).map_err(|e| {
                Failure::Local(format!("the answer of {url} is not JSON: {e}; is that address vtld's?"))
            });
            return Ok(json.and_then(|json| good(status, json)).map(|json| Answer { json, next }));
        }
        Ok(Err(self.refusal(url, status, &text)))
    }
}

/// A good answer, unless it says that nothing is done yet.
fn good(status: StatusCode, json: Value) -> Result<Value, Failure> {
    match status {
        StatusCode::ACCEPTED if json["approval"].is_string() => Err(Failure::Waits(json)),
        _ => Ok(json),
    }
}

/// What sends requests, as the connection's options say.
pub(crate) fn agent(connection: &Connection) -> Result<ureq::Agent, Failure> {
    // The token is for the server alone, and no proxy stands between a machine and itself.
    let mut config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    if let Some(tls) = crate::tls::config(connection)? {
        config = config.tls_config(tls).https_only(true);
    }
    Ok(config.build().into())
}

fn is_under_way(refused: &ApiError) -> bool {
    refused.code == ErrorCode::Conflict && refused.field.as_deref() == Some("Idempotency-Key")
}

/// A longer answer is none of ours.
const MOST_BYTES: u64 = 256 << 20;

impl Method {
    const fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Nobody listened: that is told at once. Everything else may have been heard.
fn is_lost(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Nobody was heard. What somebody has said and is not believed, such as a certificate, is invalid data.
fn is_silence(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// Another one each time: the standard library seeds its hashers with what the system calls random.
fn made_up_key() -> String {
    let number = || RandomState::new().build_hasher().finish();
    format!("vtl-{:016x}{:016x}-{:x}", number(), number(), std::process::id())
}

fn first_page(request: &Request) -> String {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if request.method != Method::Get || !PAGED.contains(&path) {
        return request.path.clone();
    }
    match query {
        "" => format!("{path}?{PAGE}"),
        query => format!("{path}?{query}&{PAGE}"),
    }
}

/// Of `<ADDRESS>; rel="next"`, the path below the API's base. The token goes nowhere else.
fn next_page(link: &str) -> Option<&str> {
    let (address, rest) = link.strip_prefix('<')?.split_once('>')?;
    let path = address.strip_prefix(BASE)?;
    (rest.trim() == "; rel=\"next\"" && path.starts_with('/')).then_some(path)
}

/// Text for one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that gives these answers, one for each connection; an empty one is a lost connection. What it was asked comes back.
    pub(crate) fn server(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
        let (address, asked) = listening(answers);
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let place = Place::File("/s/api.token".into());
        let base = format!("{address}{BASE}");
        (Client { agent: config.into(), base, token: "t".to_owned(), place }, asked)
    }

    /// The same as an address.
    pub(crate) fn listening(answers: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked =
            std::thread::spawn(move || answers.iter().map(|answer| serve(&listener, answer)).collect());
        (address, asked)
    }

    /// An answer with this status line's end, these lines of the head, and this body.
    pub(crate) fn answer(status: &str, head: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\n{head}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn serve(listener: &TcpListener, answer: &str) -> String {
        let (socket, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(&socket);
        let (mut head, mut line) = (String::new(), String::new());
        while reader.read_line(&mut line).unwrap() > 2 {
            head += &line.to_ascii_lowercase();
            line.clear();
        }
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        (&socket).write_all(answer.as_bytes()).unwrap();
        head
    }

    fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn done() -> String {
        answer("200 OK", "", "{\"done\":true}")
    }

    #[test]
    fn all_pages_of_a_list_are_one_answer() {
        let (client, asked) = server(vec![
            answer("200 OK", "Link: </api/v1/jobs?limit=1000&cursor=abc>; rel=\"next\"\r\n", "[1,2]"),
            answer("200 OK", "", "[3]"),
        ]);
        let request = Request { method: Method::Get, path: "/jobs".to_owned(), body: None };
        assert_eq!(client.send(&request).unwrap(), serde_json::json!([1, 2, 3]));
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("get /api/v1/jobs?limit=1000 "), "{}", asked[0]);
        assert!(asked[1].starts_with("get /api/v1/jobs?limit=1000&cursor=abc "), "{}", asked[1]);
    }

    #[test]
    fn what_waits_for_a_second_person_is_no_answer_to_go_on_with() {
        let waits = serde_json::json!({ "message": "approve it", "approval": "0123", "expires": "2026-11-27T00:00:00Z" });
        let (client, asked) = server(vec![answer("202 Accepted", "", &waits.to_string())]);
        let request = Request { method: Method::Post, path: "/exports/prune".to_owned(), body: None };
        let Err(Failure::Waits(told)) = client.send(&request) else { panic!("nobody has approved it") };
        assert_eq!(told, waits);
        assert_eq!(asked.join().unwrap().len(), 1);
    }

    #[test]
    fn a_refused_token_is_named() {
        let refusal = ApiError::new(ErrorCode::Unauthorized, "it is wrong", "send another");
        let body = serde_json::json!(refusal).to_string();
        let (client, asked) = server(vec![answer("401 Unauthorized", "", &body)]);
        let request = Request { method: Method::Get, path: "/session".to_owned(), body: None };
        let Err(Failure::Api(told)) = client.send(&request) else { panic!("the token is wrong") };
        assert_eq!(told.message, "it is wrong; the token is the one in /s/api.token");
        asked.join().unwrap();
    }

    #[test]
    fn what_makes_something_is_sent_again_with_the_same_key_when_the_connection_is_lost() {
        let (client, asked) = server(vec![String::new(), done()]);
        let request =
            Request { method: Method::Post, path: "/imports".to_owned(), body: Some(serde_json::json!({})) };
        assert_eq!(client.send(&request).unwrap(), serde_json::json!({ "done": true }));
        let asked = asked.join().unwrap();
        let keys: Vec<_> = asked.iter().map(|head| header(head, "idempotency-key").unwrap()).collect();
        assert_eq!(keys.len(), 2);
        assert!(keys[0] == keys[1] && keys[0] != made_up_key());
    }

    #[test]
    fn what_changes_something_without_a_key_is_not_sent_again() {
        let (client, asked) = server(vec![String::new()]);
        let request = Request { method: Method::Delete, path: "/jobs".to_owned(), body: None };
        let Err(Failure::NoAnswer(told) | Failure::Local(told)) = client.send(&request) else {
            panic!("there was no answer")
        };
        assert!(told.contains("no answer"), "{told}");
        assert_eq!(header(&asked.join().unwrap()[0], "idempotency-key"), None);
    }

    #[test]
    fn a_next_page_elsewhere_is_not_followed() {
        assert_eq!(next_page("</api/v1/jobs?cursor=a>; rel=\"next\""), Some("/jobs?cursor=a"));
        for link in [
            "<http://elsewhere.example/api/v1/jobs>; rel=\"next\"",
            "</api/v1@elsewhere.example/>; rel=\"next\"",
            "</api/v1/jobs>; rel=\"prev\"",
            "/api/v1/jobs",
        ] {
            assert_eq!(next_page(link), None, "{link}");
        }
    }

    #[test]
    fn a_label_with_odd_characters_stays_one_segment() {
        assert_eq!(segment("VTL001L8"), "VTL001L8");
        assert_eq!(segment("a/b c%"), "a%2Fb%20c%25");
    }
}
