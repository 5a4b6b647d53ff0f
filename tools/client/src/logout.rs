//! `vtl logout`: the token that `vtl login` has kept opens nothing any more, and its file is removed.
//!
//! The token ends first, by a request that it opens itself; then the file goes. So a log-out that breaks off can be done again. A server that does
//! not answer keeps the file from nothing: the token stays then until its end, which is told.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use vtl_api::ErrorCode;

use crate::command::{Connection, LogoutArguments};
use crate::http::{Client, Failure, Method, Request, segment};
use crate::login::{TOKEN_NAME, kept_token};
use crate::token::Place;

/// What tokens look like (`docs/formats/access.md`): this, an id, `_`, and a secret.
const TOKEN: &str = "vtlt_";
const ID_DIGITS: usize = 16;
const SECRET_DIGITS: usize = 64;

/// What a log-out has come to.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LoggedOut {
    /// For people.
    pub message: String,
    /// Where the token is looked for; none when there is no folder for it.
    pub file: Option<String>,
    /// The token's id, when there was one.
    pub token: Option<String>,
    /// The server has revoked it now.
    pub revoked: bool,
    /// The file was removed.
    pub removed: bool,
}

/// What the server makes of the end of a token.
enum End {
    /// It has revoked it.
    Revoked,
    /// It lets nobody in by it.
    Unknown,
    /// It was not heard of; why.
    NotAsked(String),
}

/// Ends what `vtl login` has kept, and forgets it. Nothing to end is no failure.
///
/// # Errors
/// The file holds no token of a log-in, or cannot be read or removed; the server refuses. The file stays then.
pub fn log_out(connection: &Connection, ask: &LogoutArguments) -> Result<LoggedOut, Failure> {
    let Some(file) = ask.saved.clone().or_else(kept_token) else {
        return Ok(nothing("nobody is logged in: there is no folder to keep a token in".to_owned(), None));
    };
    let path = file.display().to_string();
    let Some(id) = kept_id(&file)? else {
        return Ok(nothing(format!("nobody is logged in: there is no {path}"), Some(path)));
    };
    let end = end(connection, &file, &id)?;
    let told = told(&end, connection, &id);
    fs::remove_file(&file)
        .map_err(|error| Failure::Local(format!("cannot remove {path}: {error}; {told}")))?;
    let message = format!("logged out, {path} is removed; {told}");
    let revoked = matches!(end, End::Revoked);
    Ok(LoggedOut { message, file: Some(path), token: Some(id), revoked, removed: true })
}

fn nothing(message: String, file: Option<String>) -> LoggedOut {
    LoggedOut { message, file, token: None, revoked: false, removed: false }
}

/// The id of the token in this file; none without a file.
fn kept_id(file: &Path) -> Result<Option<String>, Failure> {
    let failed = |why: &str| Failure::Local(format!("cannot log out of {}: {why}", file.display()));
    match fs::read_to_string(file) {
        Ok(text) => match id_of(text.trim()) {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(failed("it holds no token of a log-in, and stays; --saved FILE names another")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error.to_string())),
    }
}

fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(TOKEN)?.split_once('_')?;
    let has = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    (has(id, ID_DIGITS) && has(secret, SECRET_DIGITS)).then_some(id)
}

fn end(connection: &Connection, file: &Path, id: &str) -> Result<End, Failure> {
    let place = Place::Login(file.to_owned());
    match Client::showing(connection, place).and_then(|client| revoke(&client, id)) {
        Ok(None) => Ok(End::Revoked),
        Ok(Some(name)) => Err(Failure::Local(format!(
            "the token in {} is '{name}', which vtl login has not made, and stays as it is; to end it: vtl token rm {id}",
            file.display()
        ))),
        Err(Failure::Api(refused)) if is_unknown(refused.code) => Ok(End::Unknown),
        Err(Failure::Local(why)) => Ok(End::NotAsked(why)),
        Err(other) => Err(other),
    }
}

/// Nobody is let in by it, or there is none of that id.
fn is_unknown(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Unauthorized | ErrorCode::NotFound)
}

/// Has the server end it; its name instead, when no log-in has made it.
fn revoke(client: &Client, id: &str) -> Result<Option<String>, Failure> {
    let list = client.send(&Request { method: Method::Get, path: "/tokens".to_owned(), body: None })?;
    let row = list.as_array().into_iter().flatten().find(|row| row["id"] == id);
    let name = row.and_then(|row| row["name"].as_str());
    if let Some(name) = name.filter(|name| !name.starts_with(TOKEN_NAME)) {
        return Ok(Some(name.to_owned()));
    }
    let path = format!("/tokens/{}", segment(id));
    client.send(&Request { method: Method::Delete, path, body: None })?;
    Ok(None)
}

/// What is so of the token now.
fn told(end: &End, connection: &Connection, id: &str) -> String {
    match end {
        End::Revoked => format!("token {id} opens nothing any more"),
        End::Unknown => format!("{} does not take token {id} (any more)", connection.api),
        End::NotAsked(why) => {
            format!("token {id} opens the server until its end, or until: vtl token rm {id}; {why}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::thread::JoinHandle;

    use clap::Parser as _;
    use serde_json::json;
    use vtl_api::ApiError;

    use super::*;
    use crate::command::Cli;
    use crate::http::tests::{answer, listening};

    const ID: &str = "0123456789abcdef";

    /// Somebody who is logged in at a server that answers so.
    struct Logged {
        folder: tempfile::TempDir,
        address: String,
        asked: JoinHandle<Vec<String>>,
    }

    impl Logged {
        fn at(answers: Vec<String>) -> Self {
            let (address, asked) = listening(answers);
            let logged = Self { folder: tempfile::tempdir().unwrap(), address, asked };
            fs::write(logged.file(), format!("vtlt_{ID}_{}\n", "5".repeat(SECRET_DIGITS))).unwrap();
            logged
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("token")
        }

        fn out(&self) -> Result<LoggedOut, Failure> {
            let file = self.file().display().to_string();
            let cli =
                Cli::try_parse_from(["vtl", "--api", &self.address, "logout", "--saved", &file]).unwrap();
            log_out(&cli.connection, cli.command.logout().unwrap())
        }
    }

    fn tokens(name: &str) -> String {
        answer("200 OK", "", &json!([{ "id": "other", "name": "x" }, { "id": ID, "name": name }]).to_string())
    }

    fn refusal(status: &str, code: ErrorCode) -> String {
        answer(status, "", &json!(ApiError::new(code, "no", "ask somebody")).to_string())
    }

    #[test]
    fn a_token_of_a_log_in_ends_at_the_server_by_itself_and_its_file_goes() {
        let logged = Logged::at(vec![tokens("vtl login 1.000000002"), answer("200 OK", "", "{}")]);
        let out = logged.out().unwrap();
        assert!(out.revoked && out.removed && !logged.file().exists(), "{out:?}");
        assert!(out.message.contains(ID) && !out.message.contains("5555"), "{out:?}");
        assert_eq!(json!(out)["token"], ID);
        let again = logged.out().unwrap();
        assert!(
            !again.revoked && !again.removed && again.message.starts_with("nobody is logged in"),
            "{again:?}"
        );
        let asked = logged.asked.join().unwrap();
        assert!(asked[1].starts_with(&format!("delete /api/v1/tokens/{ID} ")), "{asked:?}");
        let shown = format!("authorization: bearer vtlt_{ID}_5555");
        assert!(asked.iter().all(|head| head.contains(&shown)), "{asked:?}");
    }

    #[test]
    fn a_token_that_is_over_is_forgotten() {
        for answers in [
            vec![refusal("401 Unauthorized", ErrorCode::Unauthorized)],
            vec![tokens("vtl login 1.0"), refusal("404 Not Found", ErrorCode::NotFound)],
        ] {
            let logged = Logged::at(answers);
            let out = logged.out().unwrap();
            assert!(!out.revoked && out.removed && !logged.file().exists(), "{out:?}");
            assert!(out.message.contains("does not take token"), "{out:?}");
            logged.asked.join().unwrap();
        }
    }

    #[test]
    fn without_a_server_the_file_goes_and_it_is_told_that_the_token_stays() {
        let logged = Logged::at(Vec::new());
        // Nobody listens any more.
        while !logged.asked.is_finished() {
            std::thread::yield_now();
        }
        let out = logged.out().unwrap();
        assert!(!out.revoked && out.removed && !logged.file().exists(), "{out:?}");
        let ways = [format!("until: vtl token rm {ID}"), "no answer from".to_owned()];
        assert!(ways.iter().all(|way| out.message.contains(way)), "{out:?}");
    }

    #[test]
    fn what_the_server_refuses_or_no_log_in_has_made_stays() {
        let forbidden = refusal("403 Forbidden", ErrorCode::Forbidden);
        for (answers, told) in [(vec![forbidden], "no"), (vec![tokens("nightly")], "nightly")] {
            let logged = Logged::at(answers);
            let why = match logged.out().unwrap_err() {
                Failure::Api(refused) => refused.message,
                Failure::Local(why) => why,
                Failure::Waits(approval) => approval.to_string(),
            };
            assert!(why.contains(told) && logged.file().exists(), "{why}");
            logged.asked.join().unwrap();
        }
        let logged = Logged::at(Vec::new());
        fs::write(logged.file(), "0123456789abcdef, as in api.token").unwrap();
        let Failure::Local(why) = logged.out().unwrap_err() else { panic!("nobody was asked") };
        assert!(why.contains("no token of a log-in") && logged.file().exists(), "{why}");
    }
}
