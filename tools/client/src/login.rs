//! `vtl login`: a session for as long as it takes to make a token, and the token in a file of its own.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vtl_api::{BASE, LogIn};

use crate::command::{Connection, LoginArguments, password};
use crate::http::Failure;
use crate::token::id_of;

/// How names of tokens begin that a log-in has made.
pub(crate) const TOKEN_NAME: &str = "vtl login ";

/// Where the token of a log-in is kept.
#[must_use]
pub fn kept_token() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home)?;
    Some(base.join("vtl/token"))
}

/// The file beside that of a token which has the address of the server that has made it, and in a second line the token's id. Without that id, or
/// with another, it says nothing of the token.
pub(crate) fn address_file(token: &Path) -> PathBuf {
    with_end(token, ".api")
}

fn with_end(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// No failure when there is none.
pub(crate) fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Logs in, makes a token with all that the user may, and keeps it. The file that has it.
///
/// # Errors
/// The API's refusal, or that the file cannot be written.
pub fn log_in(connection: &Connection, ask: &LoginArguments) -> Result<PathBuf, Failure> {
    let nowhere =
        || Failure::Local("there is no folder to keep the token in; name a file: --save FILE".to_owned());
    let file = ask.save.clone().or_else(kept_token).ok_or_else(nowhere)?;
    let agent = crate::http::agent(connection)?;
    let base = format!("{}{BASE}", connection.api.trim_end_matches('/'));
    let body = LogIn {
        user: Some(ask.user.clone()),
        password: Some(password(ask.password_file.as_ref())?),
        token: None,
    };
    let (session, cookie) = send(&agent, &format!("{base}/session"), &json!(body), &[])?;
    let cookie = cookie.ok_or_else(|| Failure::Local("the server gave no cookie; is it vtld?".to_owned()))?;
    let csrf = session["csrf"].as_str().unwrap_or_default().to_owned();
    let headers = [("cookie", cookie.as_str()), ("x-csrf-token", csrf.as_str())];
    let (token, _) = send(&agent, &format!("{base}/tokens"), &json!({ "name": name() }), &headers)?;
    let text =
        token["token"].as_str().ok_or_else(|| Failure::Local("the server gave no token".to_owned()))?;
    let end = agent
        .delete(format!("{base}/session"))
        .header("cookie", &cookie)
        .header("x-csrf-token", &csrf)
        .call();
    if let Err(error) = end {
        eprintln!("vtl: the session that made the token was not ended: {error}");
    }
    keep_both(&file, text, &connection.api)
        .map_err(|e| Failure::Local(format!("cannot keep the token in {}: {e}", file.display())))?;
    Ok(file)
}

/// No two log-ins make tokens of the same name.
fn name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{TOKEN_NAME}{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn send(
    agent: &ureq::Agent,
    url: &str,
    body: &Value,
    headers: &[(&str, &str)],
) -> Result<(Value, Option<String>), Failure> {
    let mut request = agent.post(url).header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let lost = |e| {
        Failure::Local(format!(
            "no answer from {url}: {e}; is vtld running, and is --api or VTL_API its address?"
        ))
    };
    let mut response = request.send(body.to_string()).map_err(lost)?;
    let cookie = response.headers().get("set-cookie").and_then(|value| value.to_str().ok());
    let cookie = cookie.and_then(|line| line.split(';').next()).map(str::to_owned);
    let good = response.status().is_success();
    let text = response.body_mut().read_to_string().map_err(lost)?;
    if good {
        let json = serde_json::from_str(&text);
        return Ok((
            json.map_err(|e| Failure::Local(format!("the answer of {url} is not JSON: {e}")))?,
            cookie,
        ));
    }
    Err(match serde_json::from_str(&text) {
        Ok(refused) => Failure::Api(refused),
        Err(_) => Failure::Local(format!("{url} did not answer as vtld does")),
    })
}

/// The token, and where it counts. Order: (1) the address of the token before goes, (2) the token, (3) its address. A crash leaves no token with the
/// address of another.
fn keep_both(file: &Path, token: &str, address: &str) -> io::Result<()> {
    let beside = address_file(file);
    remove_if_there(&beside)?;
    keep(file, token)?;
    let Some(id) = id_of(token) else { return Ok(()) };
    keep(&beside, &format!("{address}\n{id}"))
}

/// All of it or nothing, for its owner only.
fn keep(file: &Path, lines: &str) -> io::Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let fresh = with_end(file, ".new");
    // What a run that broke off has left could be readable by others.
    remove_if_there(&fresh)?;
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(open, "{lines}")?;
    fs::rename(&fresh, file)
}
