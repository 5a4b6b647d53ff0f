//! Finding the API and talking to it.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use vtl_api::{ApiError, BASE, ErrorCode};

use crate::command::Connection;

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
    /// Anything before that.
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
        let token = match std::env::var("VTL_TOKEN") {
            Ok(token) => token,
            Err(_) => read_token(&token_path(connection))?,
        };
        let base = format!("{}{BASE}", connection.api.trim_end_matches('/'));
        Ok(Self { agent: agent(connection)?, base, token })
    }

    /// Sends one request; gives the JSON of a good answer. Of a list, all pages. What makes something is done once, also when it has to be sent again.
    ///
    /// # Errors
    /// The API's refusal, or that there is no API.
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
        Err(Failure::Api(serde_json::from_slice(&bytes).unwrap_or_else(|_| ApiError {
            code: ErrorCode::Internal,
            message: format!("{url} answered {status}"),
            remedy: None,
            field: None,
        })))
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
                    return Err(Failure::Local(format!(
                        "no answer from {url}: {lost}; is vtld running, and is --api or VTL_API its address?"
                    )));
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
            return Ok(json.map(|json| Answer { json, next }));
        }
        Ok(Err(Failure::Api(serde_json::from_str(&text).unwrap_or_else(|_| ApiError {
            code: ErrorCode::Internal,
            message: format!("{url} answered {status}: {}", text.trim()),
            remedy: None,
            field: None,
        }))))
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

fn token_path(connection: &Connection) -> PathBuf {
    let of_state = connection.state.as_ref().map(|state| state.join("api.token"));
    let named = connection.token_file.clone().or(of_state);
    let logged_in = || crate::login::kept_token().filter(|file| file.exists());
    named.or_else(logged_in).unwrap_or_else(|| default_state().join("api.token"))
}

/// The state folder that vtld uses when it is not told another.
fn default_state() -> PathBuf {
    let xdg = std::env::var_os("XDG_STATE_HOME").map(|base| PathBuf::from(base).join("vtl"));
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/vtl"));
    let system = PathBuf::from("/var/lib/vtl");
    if system.join("api.token").exists() {
        return system;
    }
    xdg.or_else(home).unwrap_or(system)
}

fn read_token(path: &std::path::Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|e| {
        let path = path.display();
        Failure::Local(format!(
            "cannot read the API token {path}: {e}; name it with --token-file or its folder with --state"
        ))
    })?;
    Ok(text.trim().to_owned())
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
mod tests {
    use super::*;

    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    /// A server that gives these answers, one for each connection; an empty one is a lost connection. What it was asked comes back.
    fn server(answers: Vec<&'static str>) -> (Client, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}{BASE}", listener.local_addr().unwrap());
        let asked =
            std::thread::spawn(move || answers.into_iter().map(|answer| serve(&listener, answer)).collect());
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        (Client { agent: config.into(), base, token: "t".to_owned() }, asked)
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

    const DONE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 13\r\n\r\n{\"done\":true}";

    #[test]
    fn all_pages_of_a_list_are_one_answer() {
        let (client, asked) = server(vec![
            "HTTP/1.1 200 OK\r\nConnection: close\r\nLink: </api/v1/jobs?limit=1000&cursor=abc>; rel=\"next\"\r\nContent-Length: 5\r\n\r\n[1,2]",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n[3]",
        ]);
        let request = Request { method: Method::Get, path: "/jobs".to_owned(), body: None };
        assert_eq!(client.send(&request).unwrap(), serde_json::json!([1, 2, 3]));
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("get /api/v1/jobs?limit=1000 "), "{}", asked[0]);
        assert!(asked[1].starts_with("get /api/v1/jobs?limit=1000&cursor=abc "), "{}", asked[1]);
    }

    #[test]
    fn what_makes_something_is_sent_again_with_the_same_key_when_the_connection_is_lost() {
        let (client, asked) = server(vec!["", DONE]);
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
        let (client, asked) = server(vec![""]);
        let request = Request { method: Method::Delete, path: "/jobs".to_owned(), body: None };
        let Err(Failure::Local(told)) = client.send(&request) else { panic!("there was no answer") };
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
