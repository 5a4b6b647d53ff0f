//! `vtl logout`: the token that `vtl login` has kept opens nothing any more, and its file is removed.
//!
//! The token ends first, by a request that it opens itself; then the file goes. So a log-out that breaks off can be done again. The server that has
//! made the token is asked, whose address lies beside it: what another one says of it means nothing. Another one may have come to that address, so a token that is not taken stays in
//! its file. A server that does not answer keeps the file from nothing: the token stays then until its end, which is told.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use vtl_api::ErrorCode;

use crate::command::{Connection, LogoutArguments};
use crate::http::{Client, Failure, Method, Request, segment};
use crate::login::{TOKEN_NAME, address_file, kept_token, remove_if_there};
use crate::token::{Place, id_of};

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
    /// It has let in by it, and has it no more.
    Gone,
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
    let server = Server::of(&file, &id, connection)?;
    let end = end(&server, &file, &id)?;
    let told = told(&end, &server, &id);
    fs::remove_file(&file)
        .and_then(|()| remove_if_there(&address_file(&file)))
        .map_err(|error| Failure::Local(format!("cannot remove {path}: {error}; {told}")))?;
    let message = format!("logged out, {path} is removed; {told}");
    let revoked = matches!(end, End::Revoked);
    Ok(LoggedOut { message, file: Some(path), token: Some(id), revoked, removed: true })
}

/// The server to ask.
struct Server {
    connection: Connection,
    /// It has made the token; otherwise it is the one that the options name.
    is_known: bool,
}

impl Server {
    fn of(file: &Path, id: &str, connection: &Connection) -> Result<Self, Failure> {
        let kept = kept_address(file, id)?;
        let is_known = kept.is_some();
        let connection = Connection {
            api: kept.unwrap_or_else(|| connection.api.clone()),
            token_file: None,
            ca_file: connection.ca_file.clone(),
            pin: connection.pin.clone(),
            state: None,
        };
        Ok(Self { connection, is_known })
    }

    /// What ends the token there, whatever address is asked otherwise.
    fn way_to_end(&self, id: &str) -> String {
        let address = if self.is_known { self.connection.api.as_str() } else { "ADDRESS" };
        format!("vtl --api {address} token rm {id}")
    }

    /// It takes nobody by the token: that is over, or it is another's.
    fn does_not_take(&self, file: &Path, id: &str) -> Failure {
        let (api, path) = (&self.connection.api, file.display());
        let (why, help) = if self.is_known {
            ("it is over, or another server has come to that address".to_owned(), "")
        } else {
            let beside = address_file(file);
            let why = format!("{} does not say that this server has made it", beside.display());
            (why, "name its server with --api, or ")
        };
        Failure::Local(format!(
            "{api} does not take the token in {path}: {why}; so the file stays: {help}remove it by hand when the token is over; a token opens its \
             server until its end, or until: {}",
            self.way_to_end(id)
        ))
    }
}

/// The address beside the token in this file; none where it is that of another token.
fn kept_address(file: &Path, id: &str) -> Result<Option<String>, Failure> {
    let beside = address_file(file);
    match fs::read_to_string(&beside) {
        Ok(text) => Ok(address_of(&text, id)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Local(format!("cannot read {}: {error}", beside.display()))),
    }
}

fn address_of(text: &str, id: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    let address = lines.next().filter(|address| !address.is_empty())?;
    (lines.next() == Some(id)).then(|| address.to_owned())
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

fn end(server: &Server, file: &Path, id: &str) -> Result<End, Failure> {
    let place = Place::Login(file.to_owned());
    match Client::showing(&server.connection, place).and_then(|client| revoke(&client, id)) {
        Ok(None) => Ok(End::Revoked),
        Ok(Some(name)) => Err(Failure::Local(format!(
            "the token in {} is '{name}', which vtl login has not made, and stays as it is; to end it: vtl --api {} token rm {id}",
            file.display(),
            server.connection.api
        ))),
        Err(Failure::Api(refused)) if refused.code == ErrorCode::Unauthorized => {
            Err(server.does_not_take(file, id))
        }
        Err(Failure::Api(refused)) if refused.code == ErrorCode::NotFound => Ok(End::Gone),
        Err(Failure::NoAnswer(why)) => Ok(End::NotAsked(why)),
        Err(other) => Err(other),
    }
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
fn told(end: &End, server: &Server, id: &str) -> String {
    match end {
        End::Revoked => format!("token {id} opens nothing any more"),
        End::Gone => format!("{} has no token {id} any more", server.connection.api),
        End::NotAsked(why) => {
            format!("token {id} opens the server until its end, or until: {}; {why}", server.way_to_end(id))
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

    /// No server that has made a token.
    const ELSEWHERE: &str = "http://127.0.0.1:1";

    fn token() -> String {
        format!("vtlt_{ID}_{}", "5".repeat(64))
    }

    fn told_by(refused: Failure) -> String {
        match refused {
            Failure::Api(refused) => refused.message,
            Failure::NoAnswer(why) | Failure::Local(why) => why,
            Failure::Waits(approval) => approval.to_string(),
        }
    }

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
            fs::write(logged.file(), format!("{}\n", token())).unwrap();
            logged.keep_address(&logged.address);
            logged
        }

        fn keep_address(&self, address: &str) {
            fs::write(address_file(&self.file()), format!("{address}\n{ID}\n")).unwrap();
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("token")
        }

        fn out(&self) -> Result<LoggedOut, Failure> {
            self.out_by(&["--api", ELSEWHERE])
        }

        fn out_by(&self, options: &[&str]) -> Result<LoggedOut, Failure> {
            let file = self.file().display().to_string();
            let words = [&["vtl", "logout", "--saved", &file], options].concat();
            let cli = Cli::try_parse_from(words).unwrap();
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
    fn a_token_that_ends_while_it_is_revoked_is_forgotten() {
        let logged = Logged::at(vec![tokens("vtl login 1.0"), refusal("404 Not Found", ErrorCode::NotFound)]);
        let out = logged.out().unwrap();
        assert!(!out.revoked && out.removed && !logged.file().exists(), "{out:?}");
        assert!(out.message.contains(&format!("has no token {ID} any more")), "{out:?}");
        logged.asked.join().unwrap();
    }

    #[test]
    fn a_token_that_the_server_at_its_address_does_not_take_stays() {
        let logged = Logged::at(vec![refusal("401 Unauthorized", ErrorCode::Unauthorized)]);
        let why = told_by(logged.out().unwrap_err());
        let way = format!("vtl --api {} token rm {ID}", logged.address);
        assert!(why.contains("the file stays") && why.contains(&way) && !why.contains("5555"), "{why}");
        assert!(logged.file().exists() && address_file(&logged.file()).exists());
        logged.asked.join().unwrap();
    }

    #[test]
    fn the_address_of_another_token_is_not_that_of_this_one() {
        for second_line in ["fedcba9876543210\n", ""] {
            let logged = Logged::at(vec![tokens("vtl login 1.0"), answer("200 OK", "", "{}")]);
            fs::write(address_file(&logged.file()), format!("{ELSEWHERE}\n{second_line}")).unwrap();
            let out = logged.out_by(&["--api", &logged.address]).unwrap();
            assert!(out.revoked && out.removed && !logged.file().exists(), "{out:?}");
            assert_eq!(logged.asked.join().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_log_in_keeps_the_address_of_its_server_and_the_log_out_asks_that_one() {
        let session = answer("200 OK", "Set-Cookie: s=1; Path=/\r\n", "{\"csrf\":\"c\"}");
        let made = answer("200 OK", "", &json!({ "token": token() }).to_string());
        let done = || answer("200 OK", "", "{}");
        let logged = Logged::at(vec![session, made, done(), tokens("vtl login 1.0"), done()]);
        logged.keep_address("http://of.the.token.before");
        let (file, password) = (logged.file().display().to_string(), logged.folder.path().join("password"));
        fs::write(&password, "made up").unwrap();
        let password = password.display().to_string();
        let words =
            ["vtl", "--api", &logged.address, "login", "ann", "--password-file", &password, "--save", &file];
        let cli = Cli::try_parse_from(words).unwrap();
        crate::login::log_in(&cli.connection, cli.command.login().unwrap()).unwrap();
        // Whoever reads the file alone finds the token and nothing else.
        assert_eq!(fs::read_to_string(logged.file()).unwrap(), format!("{}\n", token()));
        assert_eq!(
            fs::read_to_string(address_file(&logged.file())).unwrap(),
            format!("{}\n{ID}\n", logged.address)
        );
        let out = logged.out().unwrap();
        assert!(out.revoked && out.removed && !logged.file().exists(), "{out:?}");
        assert!(!address_file(&logged.file()).exists());
        assert_eq!(logged.asked.join().unwrap().len(), 5);
    }

    #[test]
    fn a_token_that_another_server_does_not_take_stays() {
        let logged = Logged::at(vec![refusal("401 Unauthorized", ErrorCode::Unauthorized)]);
        fs::remove_file(address_file(&logged.file())).unwrap();
        let why = told_by(logged.out_by(&["--api", &logged.address]).unwrap_err());
        assert!(
            why.contains("so the file stays") && why.contains(&format!("--api ADDRESS token rm {ID}")),
            "{why}"
        );
        assert!(logged.file().exists() && !why.contains("5555"), "{why}");
        logged.asked.join().unwrap();
    }

    #[test]
    fn options_that_are_wrong_are_no_server_that_does_not_answer() {
        let logged = Logged::at(Vec::new());
        logged.keep_address("https://127.0.0.1:1");
        let why = told_by(logged.out_by(&["--ca-file", "/made-up/ca.pem"]).unwrap_err());
        assert!(why.contains("/made-up/ca.pem") && logged.file().exists(), "{why}");
        let out = logged.out_by(&["--pin", "00"]).unwrap();
        assert!(!out.revoked && out.removed && out.message.contains("no answer from"), "{out:?}");
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
        let way = format!("until: vtl --api {} token rm {ID}", logged.address);
        let ways = [way, "no answer from".to_owned()];
        assert!(ways.iter().all(|way| out.message.contains(way)), "{out:?}");
    }

    #[test]
    fn what_the_server_refuses_or_no_log_in_has_made_stays() {
        let forbidden = refusal("403 Forbidden", ErrorCode::Forbidden);
        for (answers, wanted) in [(vec![forbidden], "no"), (vec![tokens("nightly")], "nightly")] {
            let logged = Logged::at(answers);
            let why = told_by(logged.out().unwrap_err());
            assert!(why.contains(wanted) && logged.file().exists(), "{why}");
            logged.asked.join().unwrap();
        }
        let logged = Logged::at(Vec::new());
        fs::write(logged.file(), "0123456789abcdef, as in api.token").unwrap();
        let Failure::Local(why) = logged.out().unwrap_err() else { panic!("nobody was asked") };
        assert!(why.contains("no token of a log-in") && logged.file().exists(), "{why}");
    }
}
