//! The token that opens the API: where it is looked for, and what is said when it does not open.
//!
//! What the command line names comes first, `--token-file` before `--state`; then `VTL_TOKEN_FILE` and `VTL_TOKEN`; then what `vtl login` has kept;
//! and last the state folder that vtld uses when it is not told another.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use vtl_api::{ApiError, ErrorCode};

use crate::command::Connection;
use crate::http::Failure;

/// The token's file in a state folder.
const IN_STATE: &str = "api.token";
/// Names a file that holds a token.
const FILE_VARIABLE: &str = "VTL_TOKEN_FILE";
/// Is a token.
const VARIABLE: &str = "VTL_TOKEN";

/// What tokens look like (`docs/formats/access.md`): this, an id, `_`, and a secret.
const START: &str = "vtlt_";
const ID_DIGITS: usize = 16;
const SECRET_DIGITS: usize = 64;

/// The id in a token.
pub(crate) fn id_of(token: &str) -> Option<&str> {
    let (id, secret) = token.strip_prefix(START)?.split_once('_')?;
    let has = |text: &str, digits| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    (has(id, ID_DIGITS) && has(secret, SECRET_DIGITS)).then_some(id)
}

/// Where a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file that was named, or in that of a state folder.
    File(PathBuf),
    /// In the environment.
    Variable,
    /// In the file of `vtl login`.
    Login(PathBuf),
}

impl Place {
    /// Where the token is that a command with these options shows.
    #[must_use]
    pub fn find(connection: &Connection) -> Self {
        let kept = crate::login::kept_token().filter(|file| file.exists());
        Self::of(connection, |name| std::env::var_os(name), kept)
    }

    /// The same with this environment, and what `vtl login` has kept.
    fn of(
        connection: &Connection,
        environment: impl Fn(&str) -> Option<OsString>,
        kept: Option<PathBuf>,
    ) -> Self {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let of_state = || connection.state.as_deref().map(|state| state.join(IN_STATE));
        let named = connection.token_file.clone().or_else(of_state);
        named
            .or_else(|| set(FILE_VARIABLE).map(PathBuf::from))
            .map(Self::File)
            .or_else(|| set(VARIABLE).map(|_| Self::Variable))
            .or_else(|| kept.map(Self::Login))
            .unwrap_or_else(|| Self::File(default_state().join(IN_STATE)))
    }

    /// The token.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self) -> Result<String, Failure> {
        let text = match self {
            Self::File(file) | Self::Login(file) => of_file(file)?,
            // The error would have the token in it.
            Self::Variable => {
                std::env::var(VARIABLE).map_err(|_| Failure::Local(format!("{VARIABLE} is no text")))?
            }
        };
        Ok(text.trim().to_owned())
    }

    /// A refusal of the API, with the token that it is about.
    #[must_use]
    pub fn refused(&self, refusal: ApiError) -> ApiError {
        let message = match refusal.code {
            ErrorCode::Unauthorized => format!("{}; the token is {}", refusal.message, self.told()),
            _ => refusal.message,
        };
        let remedy = match (refusal.code, self) {
            (ErrorCode::Unauthorized, Self::Login(file)) => Some(format!(
                "log in again (vtl login USER), name the token's server (--api), remove {} if the token is over, or take the token of the \
                 server's state folder (--state DIR)",
                file.display()
            )),
            (ErrorCode::Forbidden, Self::Login(file)) => Some(format!(
                "{}this was asked with the login in {}: --state DIR takes the token of the server's state folder instead",
                refusal.remedy.map_or_else(String::new, |remedy| format!("{remedy}; ")),
                file.display()
            )),
            (_, _) => refusal.remedy,
        };
        ApiError { message, remedy, ..refusal }
    }

    fn told(&self) -> String {
        match self {
            Self::File(file) => format!("the one in {}", file.display()),
            Self::Variable => format!("that of {VARIABLE}"),
            Self::Login(file) => format!("the one that vtl login keeps in {}", file.display()),
        }
    }
}

fn of_file(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| {
        Failure::Local(format!(
            "cannot read the API token {}: {error}; name it with --token-file or its folder with --state",
            file.display()
        ))
    })
}

/// The state folder that vtld uses when it is not told another.
fn default_state() -> PathBuf {
    let xdg = std::env::var_os("XDG_STATE_HOME").map(|base| PathBuf::from(base).join("vtl"));
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state/vtl"));
    let system = PathBuf::from("/var/lib/vtl");
    if system.join(IN_STATE).exists() {
        return system;
    }
    xdg.or_else(home).unwrap_or(system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Cli;
    use clap::Parser as _;

    /// Where a command with these options finds its token, with these variables set.
    fn place(options: &[&str], variables: &[(&str, &str)], kept: Option<&str>) -> Place {
        let words = [&["vtl", "library", "ls"], options].concat();
        let connection = Cli::try_parse_from(words).unwrap().connection;
        let environment = |name: &str| {
            variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value))
        };
        Place::of(&connection, environment, kept.map(PathBuf::from))
    }

    #[test]
    fn what_the_command_line_names_comes_before_the_environment_and_that_before_a_login() {
        let file = |path: &str| Place::File(PathBuf::from(path));
        let (both, kept) = ([("VTL_TOKEN", "t"), ("VTL_TOKEN_FILE", "/of/variable")], Some("/kept"));
        let cases: [(&[&str], Place); 4] = [
            (&["--token-file", "/named"], file("/named")),
            (&["--state", "/s"], file("/s/api.token")),
            (&["--state", "/s", "--token-file", "/named"], file("/named")),
            (&[], file("/of/variable")),
        ];
        for (options, found) in cases {
            assert_eq!(place(options, &both, kept), found, "{options:?}");
        }
        assert_eq!(place(&[], &both[..1], kept), Place::Variable);
        assert_eq!(
            place(&[], &[("VTL_TOKEN", ""), ("VTL_TOKEN_FILE", "")], kept),
            Place::Login("/kept".into())
        );
        let Place::File(last) = place(&[], &[], None) else { panic!("nobody has named another") };
        assert!(last.ends_with("vtl/api.token"), "{}", last.display());
    }

    #[test]
    fn a_token_that_does_not_open_is_named_and_of_a_login_also_what_helps() {
        let refusal = |code| ApiError::new(code, "no", "ask somebody");
        let login = Place::Login("/home/ann/.config/vtl/token".into());
        let unknown = login.refused(refusal(ErrorCode::Unauthorized));
        assert_eq!(
            unknown.message,
            "no; the token is the one that vtl login keeps in /home/ann/.config/vtl/token"
        );
        let remedy = unknown.remedy.unwrap();
        for way in ["vtl login USER", "--api", "remove /home/ann/.config/vtl/token", "--state DIR"] {
            assert!(remedy.contains(way), "{way}: {remedy}");
        }
        let not_allowed = login.refused(refusal(ErrorCode::Forbidden));
        assert_eq!(not_allowed.message, "no");
        let remedy = not_allowed.remedy.unwrap();
        assert!(remedy.starts_with("ask somebody; ") && remedy.contains("--state DIR"), "{remedy}");

        let of_state = Place::File("/s/api.token".into()).refused(refusal(ErrorCode::Unauthorized));
        assert_eq!(of_state.message, "no; the token is the one in /s/api.token");
        assert_eq!(of_state.remedy.as_deref(), Some("ask somebody"));
        let found = refusal(ErrorCode::NotFound);
        assert_eq!(login.refused(found.clone()), found);
    }
}
