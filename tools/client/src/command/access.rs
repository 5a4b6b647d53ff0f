//! `vtl user`, `vtl token`, `vtl approval`, `vtl audit`, `vtl login` and `vtl logout`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use vtl_api::{AddUser, AuditQuery, CreateToken, EndSessions, SetPassword, SetUser};

use super::{Call, call, get, path, post, read_secret};
use crate::http::{Failure, Method, segment};
use crate::print::View;

/// Verbs of `vtl user`.
#[derive(Subcommand)]
pub enum UserVerb {
    /// List users.
    Ls,
    /// Add a user.
    Add {
        /// The name.
        name: String,
        /// viewer, operator, administrator or security-officer; may be given several times.
        #[arg(long = "role", required = true, value_name = "ROLE")]
        roles: Vec<String>,
        /// File that holds the password; asked for at the terminal when left out.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Give a user these roles, and no others.
    Role {
        /// The name.
        name: String,
        /// Roles.
        roles: Vec<String>,
    },
    /// Give a user another password: yours, or that of somebody whom you manage.
    Password {
        /// The name.
        name: String,
        /// File that holds the new password; asked for at the terminal when left out.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// File that holds the present one; needed for your own.
        #[arg(long, value_name = "FILE")]
        current_file: Option<PathBuf>,
    },
    /// Lock a user out.
    Lock {
        /// The name.
        name: String,
    },
    /// Let a user in again.
    Unlock {
        /// The name.
        name: String,
    },
    /// Remove a user, and the user's tokens.
    Rm {
        /// The name.
        name: String,
    },
    /// List who is logged in with a browser: users, people who came by OIDC, root.
    Sessions {
        /// Only this one: a name, or oidc:ISSUER#SUBJECT as the list has it.
        user: Option<String>,
    },
    /// Log somebody out of all browsers at once. Tokens stay, and who still may log in can do so again.
    EndSessions {
        /// A name, or oidc:ISSUER#SUBJECT as `user sessions` has it.
        user: String,
    },
}

impl UserVerb {
    pub(super) fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Ls => get("/users", View::Table(&["name", "roles", "locked", "origin", "created"])),
            Self::Add { name, roles, password_file } => {
                let password = password(password_file.as_ref())?;
                post("/users".to_owned(), &AddUser { name: name.clone(), password, roles: roles.clone() })
            }
            Self::Role { name, roles } => set(name, SetUser { roles: Some(roles.clone()), locked: None }),
            Self::Lock { name } => set(name, SetUser { roles: None, locked: Some(true) }),
            Self::Unlock { name } => set(name, SetUser { roles: None, locked: Some(false) }),
            Self::Password { name, password_file, current_file } => {
                let current = current_file.as_ref().map(|file| read_secret(file)).transpose()?;
                let body = SetPassword { current, password: password(password_file.as_ref())? };
                let path = format!("{}/password", path("users", name));
                call(Method::Put, path, Some(json!(body)), View::Message)
            }
            Self::Rm { name } => call(Method::Delete, path("users", name), None, View::Message),
            Self::Sessions { user } => {
                let of = user.as_deref().map_or_else(String::new, |user| format!("?user={}", segment(user)));
                let columns = &["user", "name", "roles", "from", "since", "last_used", "expires", "by_token"];
                get(&format!("/sessions{of}"), View::Table(columns))
            }
            Self::EndSessions { user } => {
                let body = json!(EndSessions { user: user.clone() });
                call(Method::Delete, "/sessions".to_owned(), Some(body), View::Message)
            }
        })
    }
}

fn set(name: &str, change: SetUser) -> Call {
    call(Method::Patch, path("users", name), Some(json!(change)), View::Message)
}

/// From a file, or from the terminal without an echo.
pub fn password(file: Option<&PathBuf>) -> Result<String, Failure> {
    match file {
        Some(file) => read_secret(file),
        None => rpassword::prompt_password("Password: ").map_err(|e| {
            Failure::Local(format!(
                "no password can be asked for: {e}; put it into a file: --password-file FILE"
            ))
        }),
    }
}

/// Verbs of `vtl token`.
#[derive(Subcommand)]
pub enum TokenVerb {
    /// List your tokens, or all when you manage users.
    Ls,
    /// Make a token; it is shown once.
    Create {
        /// What it is for.
        name: String,
        /// What it may do, of what you may; all of that when left out. May be given several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// When it ends, such as 2030-01-31; in 90 days when left out.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Revoke a token.
    Rm {
        /// Its id.
        id: String,
    },
}

impl TokenVerb {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::Ls => get("/tokens", View::Table(&["id", "name", "user", "roles", "created", "expires"])),
            Self::Create { name, roles, expires } => {
                let roles = (!roles.is_empty()).then(|| roles.clone());
                let body = CreateToken { name: name.clone(), role: None, roles, expires: expires.clone() };
                Call { view: View::Text("token"), ..post("/tokens".to_owned(), &body) }
            }
            Self::Rm { id } => call(Method::Delete, path("tokens", id), None, View::Message),
        }
    }
}

/// Verbs of `vtl approval`.
#[derive(Subcommand)]
pub enum ApprovalVerb {
    /// List what waits for a second security officer, and what was decided.
    Ls,
    /// One request.
    Show {
        /// Its id.
        id: String,
    },
    /// Have it done: another has asked for it. Prints what it answers, such as the job that it has made.
    Approve {
        /// Its id.
        id: String,
    },
    /// Have it not done.
    Refuse {
        /// Its id.
        id: String,
    },
}

impl ApprovalVerb {
    pub(super) fn call(&self) -> Call {
        let decide = |id: &str, verb: &str, view| {
            call(Method::Post, format!("{}/{verb}", path("approvals", id)), None, view)
        };
        match self {
            Self::Ls => {
                let columns =
                    &["id", "state", "method", "path", "asked_by", "asked", "expires", "decided_by"];
                get("/approvals", View::Table(columns))
            }
            Self::Show { id } => get(&path("approvals", id), View::Fields),
            Self::Approve { id } => decide(id, "approve", View::Approved),
            Self::Refuse { id } => decide(id, "refuse", View::Message),
        }
    }
}

/// Verbs of `vtl audit`.
#[derive(Subcommand)]
pub enum AuditVerb {
    /// List entries, the newest first.
    Ls {
        /// request, outcome, login or event.
        #[arg(long)]
        kind: Option<String>,
        /// Only by this one.
        #[arg(long)]
        who: Option<String>,
        /// Only those whose request or event has this text.
        #[arg(long)]
        what: Option<String>,
        /// Only those whose result or names have this text.
        #[arg(long)]
        text: Option<String>,
        /// Not those before this time.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Not those from this time on.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// At most so many.
        #[arg(long)]
        limit: Option<u32>,
    },
    /// Look whether an entry was changed, taken away or put elsewhere; prints the head to note.
    Verify {
        /// A head that was noted elsewhere: NUMBER:HASH.
        #[arg(long, value_name = "HEAD")]
        against: Option<String>,
    },
    /// Print the log as it is: one line of JSON for each entry.
    Export,
}

impl AuditVerb {
    pub(super) fn call(&self) -> Call {
        match self {
            Self::Ls { kind, who, what, text, since, until, limit } => {
                let ask = AuditQuery {
                    limit: *limit,
                    cursor: None,
                    kind: kind.clone(),
                    who: who.clone(),
                    what: what.clone(),
                    text: text.clone(),
                    since: since.clone(),
                    until: until.clone(),
                };
                let columns = &["number", "at", "kind", "who", "from", "what", "detail.path", "result"];
                get(&format!("/audit{}", query(&ask)), View::Table(columns))
            }
            Self::Verify { against } => {
                let question =
                    against.as_deref().map_or_else(String::new, |head| format!("?against={}", segment(head)));
                get(&format!("/audit/verify{question}"), View::Outcome("whole"))
            }
            Self::Export => get("/audit/export", View::Fields),
        }
    }
}

fn query(ask: &AuditQuery) -> String {
    let limit = ask.limit.map(|limit| limit.to_string());
    let pairs = [
        ("limit", &limit),
        ("kind", &ask.kind),
        ("who", &ask.who),
        ("what", &ask.what),
        ("text", &ask.text),
        ("since", &ask.since),
        ("until", &ask.until),
    ];
    let given =
        pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_deref()?))));
    let given: Vec<String> = given.collect();
    if given.is_empty() { String::new() } else { format!("?{}", given.join("&")) }
}

/// `vtl login`: makes a token that ends by itself and keeps it for the commands that follow.
#[derive(Args)]
pub struct LoginArguments {
    /// The user.
    pub user: String,
    /// File that holds the password; asked for at the terminal when left out.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// File for the token; `vtl/token` in the folder of the user's configuration when left out.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// `vtl logout`: ends the token that `vtl login` keeps, and forgets it.
#[derive(Args)]
pub struct LogoutArguments {
    /// File that `vtl login --save` has put the token into; `vtl/token` in the folder of the user's configuration when left out.
    #[arg(long, value_name = "FILE")]
    pub saved: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Cli;
    use super::*;

    fn call_of(line: &str) -> Call {
        Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap()
    }

    #[test]
    fn a_password_goes_by_its_file_and_never_by_the_command_line() {
        let folder = std::env::temp_dir().join(format!("vtl-password-{}", std::process::id()));
        std::fs::write(&folder, "made-up password\n").unwrap();
        let line = format!(
            "vtl user add ann --role administrator --role viewer --password-file {}",
            folder.display()
        );
        let add = call_of(&line).request;
        std::fs::remove_file(&folder).unwrap();
        assert_eq!((add.method, add.path.as_str()), (Method::Post, "/users"));
        let wanted =
            json!({ "name": "ann", "password": "made-up password", "roles": ["administrator", "viewer"] });
        assert_eq!(add.body, Some(wanted));
        assert!(
            Cli::try_parse_from(["vtl", "user", "add", "ann", "--role", "viewer", "--password", "x"])
                .is_err()
        );
        assert!(Cli::try_parse_from(["vtl", "user", "add", "ann"]).is_err(), "it needs a role");
    }

    #[test]
    fn each_command_is_the_request_that_its_page_says() {
        for (line, method, path, body) in [
            (
                "vtl user role ann viewer operator",
                Method::Patch,
                "/users/ann",
                json!({ "roles": ["viewer", "operator"] }),
            ),
            ("vtl user lock ann", Method::Patch, "/users/ann", json!({ "locked": true })),
            ("vtl user unlock ann", Method::Patch, "/users/ann", json!({ "locked": false })),
            ("vtl user rm ann", Method::Delete, "/users/ann", json!(null)),
            ("vtl user sessions", Method::Get, "/sessions", json!(null)),
            (
                "vtl user sessions oidc:https://id.example.org#7f3a",
                Method::Get,
                "/sessions?user=oidc%3Ahttps%3A%2F%2Fid.example.org%237f3a",
                json!(null),
            ),
            (
                "vtl user end-sessions oidc:https://id.example.org#7f3a",
                Method::Delete,
                "/sessions",
                json!({ "user": "oidc:https://id.example.org#7f3a" }),
            ),
            (
                "vtl token create nightly --role viewer",
                Method::Post,
                "/tokens",
                json!({ "name": "nightly", "roles": ["viewer"] }),
            ),
            ("vtl token rm 0123", Method::Delete, "/tokens/0123", json!(null)),
            ("vtl approval approve 0123", Method::Post, "/approvals/0123/approve", json!(null)),
            ("vtl approval refuse 0123", Method::Post, "/approvals/0123/refuse", json!(null)),
            ("vtl audit ls --who ann --limit 5", Method::Get, "/audit?limit=5&who=ann", json!(null)),
            ("vtl audit verify --against 7:ab", Method::Get, "/audit/verify?against=7%3Aab", json!(null)),
        ] {
            let request = call_of(line).request;
            let found = request.body.unwrap_or(json!(null));
            assert_eq!((request.method, request.path.as_str(), found), (method, path, body), "{line}");
        }
    }
}
