//! Finding the API and talking to it.

use std::fs;
use std::path::PathBuf;

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

/// The largest answer that is a file.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The API answered with an error.
    Api(ApiError),
    /// Anything before that.
    Local(String),
}

/// The API's address and token.
pub struct Client {
    agent: ureq::Agent,
    base: String,
    token: String,
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
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let base = format!("{}{BASE}", connection.api.trim_end_matches('/'));
        Ok(Self { agent: config.into(), base, token })
    }

    /// Sends one request; gives the JSON of a good answer.
    ///
    /// # Errors
    /// The API's refusal, or that there is no API.
    pub fn send(&self, request: &Request) -> Result<Value, Failure> {
        let url = format!("{}{}", self.base, request.path);
        let mut response = self.answer(request, &url)?;
        let status = response.status();
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|e| Failure::Local(format!("the answer of {url} broke off: {e}")))?;
        if status.is_success() {
            return serde_json::from_str(&text).map_err(|e| {
                Failure::Local(format!("the answer of {url} is not JSON: {e}; is that address vtld's?"))
            });
        }
        Err(refused(&url, status, &text))
    }

    /// Fetches a file.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn fetch(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let request = Request { method: Method::Get, path: path.to_owned(), body: None };
        let url = format!("{}{path}", self.base);
        let mut response = self.answer(&request, &url)?;
        let status = response.status();
        let bytes = response
            .body_mut()
            .with_config()
            .limit(MAX_FILE_BYTES)
            .read_to_vec()
            .map_err(|e| Failure::Local(format!("the answer of {url} broke off: {e}")))?;
        if status.is_success() {
            Ok(bytes)
        } else {
            Err(refused(&url, status, &String::from_utf8_lossy(&bytes)))
        }
    }

    fn answer(&self, request: &Request, url: &str) -> Result<ureq::http::Response<ureq::Body>, Failure> {
        let method = match request.method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        };
        let body = request.body.as_ref().map_or_else(String::new, Value::to_string);
        let http = ureq::http::Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body)
            .map_err(|e| Failure::Local(format!("'{url}' is not a usable address: {e}; see --api")))?;
        self.agent.run(http).map_err(|e| {
            Failure::Local(format!(
                "no answer from {url}: {e}; is vtld running, and is --api or VTL_API its address?"
            ))
        })
    }
}

/// What the API says instead, or what somebody else does at its address.
fn refused(url: &str, status: ureq::http::StatusCode, text: &str) -> Failure {
    Failure::Api(serde_json::from_str(text).unwrap_or_else(|_| ApiError {
        code: ErrorCode::Internal,
        message: format!("{url} answered {status}: {}", text.trim()),
        remedy: None,
    }))
}

fn token_path(connection: &Connection) -> PathBuf {
    let state = || connection.state.clone().unwrap_or_else(default_state);
    connection.token_file.clone().unwrap_or_else(|| state().join("api.token"))
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

    #[test]
    fn a_label_with_odd_characters_stays_one_segment() {
        assert_eq!(segment("VTL001L8"), "VTL001L8");
        assert_eq!(segment("a/b c%"), "a%2Fb%20c%25");
    }
}
