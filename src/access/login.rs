//! Logging in and out, and the first user.

use std::net::IpAddr;

use serde_json::Value;
use vtl_api::{ApiError, ErrorCode, FirstUser, LogIn, SessionState};
use vtl_auth::{Attempt, Bearer, Hashed, Kind, Opened, Principal, Role, Roles, User, UserName};
use vtl_types::Secret;
use zeroize::Zeroizing;

use super::caller::{ROOT, state};
use super::{Access, Who, bearer, now};
use crate::api::field;
use crate::daemon::lock;

/// What a log-in gives: the cookie's value, and what the page needs to know.
pub(crate) struct LoggedIn {
    pub(crate) cookie: Zeroizing<String>,
    pub(crate) state: SessionState,
}

/// Who it is, what he may do, and what he has shown.
type Proved = (Who, Roles, Proof);

/// With what somebody has shown who he is.
enum Proof {
    /// What was kept of his password when he was looked at.
    Password(Hashed),
    /// A token with this id.
    Token(String),
    /// The token of the state folder.
    Root,
}

/// What is done, in the log.
const LOG_IN: &str = "log in";
/// Whoever tries a token, in the log.
const TOKEN: &str = "token";
/// Whoever tries a name that no user has, in the log: what was typed there may be a password.
pub(super) const UNKNOWN: &str = "unknown";
/// Names that mean somebody else already.
const RESERVED: [&str; 4] = [ROOT, "vtld", TOKEN, UNKNOWN];

pub(super) fn user_name(text: &str) -> Result<UserName, ApiError> {
    let how = "write a name such as ann or ann@example.org: letters, digits, '.', '_', '-' and '@', a letter or digit first";
    let name: UserName = text.parse().map_err(|why: String| ApiError::new(ErrorCode::Invalid, why, how))?;
    if RESERVED.contains(&name.as_str()) {
        let why = format!("no user can be called '{name}'");
        return Err(ApiError::new(ErrorCode::Invalid, why, "choose another name"));
    }
    Ok(name)
}

/// The name of the first user. What was typed may be a password: no answer and no log has it.
fn first_name(text: &str) -> Result<UserName, ApiError> {
    let untold = |error: ApiError| ApiError { message: "no user can be called so".to_owned(), ..error };
    user_name(text).map_err(untold)
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

pub(super) fn hashed(user: &UserName, password: &str) -> Result<Hashed, ApiError> {
    let mut salt = [0; 16];
    crate::random::fill(&mut salt);
    Hashed::new(user.as_str(), &secret(password), salt).map_err(|error| super::refused(&error))
}

/// The member of a log-in that is missing, or one too many.
const fn misfit(ask: &LogIn) -> &'static str {
    match ask {
        LogIn { token: Some(_), .. } => "token",
        LogIn { user: Some(_), .. } => "password",
        LogIn { .. } => "user",
    }
}

/// The same words whatever was wrong.
fn not_in() -> ApiError {
    ApiError::new(
        ErrorCode::Unauthorized,
        "the user, the password or the token is wrong",
        "try again, or ask an administrator",
    )
}

impl Access {
    /// Opens a session. The session before, if the page had one, ends: nobody goes on with a session that another has given him.
    pub(crate) fn log_in(
        &self,
        ask: &LogIn,
        from: IpAddr,
        before: Option<&str>,
    ) -> Result<LoggedIn, ApiError> {
        let (tried, outcome) = match ask {
            LogIn { user: Some(user), password: Some(password), token: None } => {
                (self.known_name(user), self.with_password(user, password, from))
            }
            LogIn { user: None, password: None, token: Some(token) } => {
                (TOKEN.to_owned(), self.with_token(token))
            }
            _ => {
                let why = "a log-in has a user and a password, or a token";
                let error = ApiError::new(ErrorCode::Invalid, why, "send {user, password} or {token}");
                return Err(error.about(misfit(ask)));
            }
        };
        let name = outcome.as_ref().map_or(tried, |(who, ..)| who.text());
        self.note_login(LOG_IN, (&name, Value::Null), from, outcome.as_ref().map(|_| ()))?;
        self.admit(outcome?, from, before).inspect_err(|error| {
            self.note_login_undone(LOG_IN, (&name, Value::Null), from, error);
        })
    }

    /// A session for who has shown who he is. A password is looked at once more while the inventory is held: with another one his
    /// sessions have ended, and this one would not.
    fn admit(
        &self,
        (who, roles, proof): Proved,
        from: IpAddr,
        before: Option<&str>,
    ) -> Result<LoggedIn, ApiError> {
        let open = |roles, token| {
            self.log_out(before);
            self.open_session((&who, roles), token, from)
        };
        match (proof, who.user()) {
            (Proof::Password(seen), Some(name)) => self.read(|tx| {
                let user = vtl_auth::user_with(tx, name, &seen)?;
                Ok(open(user.roles, None))
            }),
            // With its token a session ends by itself.
            (Proof::Token(id), _) => Ok(open(roles, Some(id))),
            (Proof::Root, _) => Ok(open(roles, None)),
            (Proof::Password(_), None) => Err(not_in()),
        }
    }

    /// The name of a user as the log may have it.
    fn known_name(&self, typed: &str) -> String {
        let found = match typed.parse::<UserName>() {
            Ok(name) => self.read(|tx| vtl_auth::user(tx, &name)).ok().flatten(),
            Err(_) => None,
        };
        found.map_or_else(|| UNKNOWN.to_owned(), |user| user.name.to_string())
    }

    pub(super) fn open_session(
        &self,
        (who, roles): (&Who, Roles),
        token: Option<String>,
        from: IpAddr,
    ) -> LoggedIn {
        let principal = match who {
            Who::User(name) => Principal::User(name.clone()),
            Who::Oidc(user) => Principal::Oidc(user.clone()),
            Who::Root | Who::Program(_) => Principal::Root,
        };
        let whose = (principal, roles, from);
        let Opened { cookie, session } = lock(&self.sessions).open(whose, token, now(), &crate::random::fill);
        LoggedIn {
            cookie: cookie.expose(),
            state: state(who, roles, Some(session.expires_s), Some(&session)),
        }
    }

    /// Ends the session of a cookie.
    pub(crate) fn log_out(&self, cookie: Option<&str>) {
        if let Some(cookie) = cookie.and_then(|text| bearer(text, Kind::Session)) {
            lock(&self.sessions).close(&cookie);
        }
    }

    fn with_password(&self, user: &str, password: &str, from: IpAddr) -> Result<Proved, ApiError> {
        self.patiently(&Attempt::new(user, from), || {
            let known = match user.parse::<UserName>() {
                Ok(name) => self.read(|tx| vtl_auth::user(tx, &name))?,
                Err(_) => None,
            };
            let password = secret(password);
            let is_right = match known.as_ref().and_then(|known| known.password.as_ref()) {
                Some(kept) => kept.is(&password),
                None => vtl_auth::verify_nobody(&password),
            };
            let known = known.filter(|known| is_right && !known.locked).ok_or_else(not_in)?;
            let seen = known.password.ok_or_else(not_in)?;
            Ok((Who::User(known.name), known.roles, Proof::Password(seen)))
        })
    }

    /// Nobody waits here: 256 random bits are not guessed, and each attempt is one look-up.
    fn with_token(&self, text: &str) -> Result<Proved, ApiError> {
        if self.is_root(text) {
            return Ok((Who::Root, Roles::ALL, Proof::Root));
        }
        let given = bearer(text, Kind::Token).ok_or_else(not_in)?;
        match self.by_token(&given)? {
            // A program's token opens no session: nobody sits there.
            Some((who @ Who::User(_), roles, _)) => Ok((who, roles, Proof::Token(given.id))),
            _ => Err(not_in()),
        }
    }

    /// One attempt at a password, when who tries need not wait.
    pub(super) fn patiently<T>(
        &self,
        who: &Attempt,
        attempt: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let trial = lock(&self.throttle).attempt(who, now().count_s).map_err(|wait_s| {
            let remedy = format!("wait {wait_s} seconds");
            ApiError::new(ErrorCode::TooManyRequests, "too many attempts have failed", remedy)
        })?;
        let outcome = attempt();
        if outcome.is_ok() {
            lock(&self.throttle).succeeded(trial, now().count_s);
        }
        outcome
    }

    /// Makes the first user, who administers and is the security officer until he makes others, and logs him in.
    pub(crate) fn set_up(&self, ask: &FirstUser, from: IpAddr) -> Result<LoggedIn, ApiError> {
        let outcome = self.first_user(ask, from);
        let who = outcome.as_ref().map_or_else(|_| UNKNOWN.to_owned(), ToString::to_string);
        self.note_login("set up", (&who, Value::Null), from, outcome.as_ref().map(|_| ()))?;
        let name = outcome?;
        Ok(self.open_session((&Who::User(name), first_roles()), None, from))
    }

    fn first_user(&self, ask: &FirstUser, from: IpAddr) -> Result<UserName, ApiError> {
        let over = || {
            let remedy = "take the link that vtld printed last, within an hour; restart vtld for a new one";
            let why = "the one-time link is wrong, used or over";
            ApiError::new(ErrorCode::Unauthorized, why, remedy).about("token")
        };
        let given: Option<Bearer> = bearer(&ask.token, Kind::Setup);
        // Held until the user is there: one link makes one user.
        let mut setup = lock(&self.setup);
        let is_it =
            setup.as_ref().zip(given.as_ref()).is_some_and(|(link, given)| link.is_opened_by(given, now()));
        if !is_it {
            return Err(over());
        }
        let name = field("user", first_name(&ask.user))?;
        let password = Some(hashed(&name, &ask.password)?);
        let created_s = now().wall_s;
        let user = User { name: name.clone(), roles: first_roles(), locked: false, password, created_s };
        let begun = self.note_first_user(&user, from)?;
        let made = self.change(|tx| match vtl_auth::any_user(tx)? {
            true => Ok(false),
            false => vtl_auth::add_user(tx, Roles::ALL, &user).map(|()| true),
        });
        let made = made.and_then(|made| if made { Ok(name) } else { Err(over()) });
        if made.is_ok() {
            *setup = None;
        }
        self.note_outcome(begun, super::trail::result_of(made.as_ref()))?;
        made
    }
}

fn first_roles() -> Roles {
    Roles::NONE.with(Role::Administrator).with(Role::SecurityOfficer)
}

#[cfg(test)]
mod tests {
    use vtl_api::AuditQuery;
    use vtl_audit::AuditLog;
    use vtl_durable::SimDisk;

    use super::*;
    use crate::daemon::Daemon;
    use crate::daemon::tests::open;

    const PASSWORD: &str = "made-up password one";

    fn here() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    fn first(daemon: &Daemon) -> FirstUser {
        let link = daemon.access.new_setup().unwrap().unwrap();
        FirstUser { token: link.to_string(), user: "ann".to_owned(), password: PASSWORD.to_owned() }
    }

    /// Kind, who, what and result of the newest entries, the oldest first.
    fn newest(daemon: &Daemon, limit: u32) -> Vec<[String; 4]> {
        let ask = AuditQuery { limit: Some(limit), ..AuditQuery::default() };
        let (rows, _) = daemon.access.audit_page(&ask).unwrap();
        rows.into_iter().rev().map(|row| [row.kind, row.who, row.what, row.result]).collect()
    }

    #[test]
    fn the_first_user_is_in_the_log_before_he_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        daemon.access.set_up(&first(&daemon), here()).map(drop).unwrap();
        assert_eq!(
            newest(&daemon, 3),
            [
                ["request", "ann", "POST /setup", ""],
                ["outcome", "ann", "POST /setup", "ok"],
                ["login", "ann", "set up", "ok"],
            ]
        );
        daemon.stop();
    }

    #[test]
    fn a_log_in_with_a_password_that_is_changed_meanwhile_opens_no_session() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        daemon.access.set_up(&first(&daemon), here()).map(drop).unwrap();
        let prove = |password: &str| daemon.access.with_password("ann", password, here());
        let proved = prove(PASSWORD).unwrap();
        let root = daemon.access.by_bearer(&daemon.state.token().unwrap(), here()).unwrap();
        let ask = vtl_api::SetPassword { current: None, password: "made-up password two".to_owned() };
        daemon.access.user_set_password(&root, "ann", &ask, false).unwrap();
        let refused = daemon.access.admit(proved, here(), None).map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unauthorized);
        assert_eq!(lock(&daemon.access.sessions).len(), 0);
        let proved = prove("made-up password two").unwrap();
        daemon.access.admit(proved, here(), None).map(drop).unwrap();
        assert_eq!(lock(&daemon.access.sessions).len(), 1);
        daemon.stop();
    }

    #[test]
    fn without_room_for_his_line_there_is_no_first_user() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let ask = first(&daemon);
        let disk = SimDisk::new(1);
        *lock(&daemon.access.audit) = AuditLog::open(&disk, std::path::Path::new("/audit")).unwrap().0;
        disk.fail_from(disk.calls(), vtl_durable::Fault::Enospc);
        let refused = daemon.access.set_up(&ask, here()).map(drop).unwrap_err();
        assert!(refused.message.contains("nothing was done"), "{}", refused.message);
        assert!(daemon.access.user_list().unwrap().is_empty());
        daemon.stop();
    }

    #[test]
    fn what_no_user_is_called_is_not_written_when_it_is_tried() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        daemon.access.set_up(&first(&daemon), here()).map(drop).unwrap();
        let log_in = |user: &str| {
            let (user, password) = (Some(user.to_owned()), Some("wrong".to_owned()));
            let outcome = daemon.access.log_in(&LogIn { user, password, token: None }, here(), None);
            assert_eq!(outcome.map(drop).unwrap_err().code, ErrorCode::Unauthorized);
        };
        ["made-up password two", "madeup2", "Ann"].into_iter().for_each(log_in);
        let setup =
            FirstUser { token: "none".to_owned(), user: "madeup3".to_owned(), password: PASSWORD.to_owned() };
        assert!(daemon.access.set_up(&setup, here()).is_err());
        let names: Vec<_> = newest(&daemon, 4).into_iter().map(|[kind, who, ..]| [kind, who]).collect();
        assert_eq!(
            names,
            [["login", "unknown"], ["login", "unknown"], ["login", "ann"], ["login", "unknown"]]
        );
        daemon.stop();
        nothing_typed_is_in_the_log_of(folder.path());
    }

    #[test]
    fn what_the_first_user_cannot_be_called_is_told_to_whoever_has_the_link_and_written_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let ask = first(&daemon);
        let refused = |token: &str, user: &str| {
            let ask =
                FirstUser { token: token.to_owned(), user: user.to_owned(), password: PASSWORD.to_owned() };
            let error = daemon.access.set_up(&ask, here()).map(drop).unwrap_err();
            assert!(!format!("{error:?}").contains("made-up"), "{error:?}");
            (error.code, error.field.unwrap(), error.message)
        };
        let over = "the one-time link is wrong, used or over".to_owned();
        let unnamable = "no user can be called so".to_owned();
        for user in ["made-up password two", "root"] {
            assert_eq!(
                refused("none", user),
                (ErrorCode::Unauthorized, "token".to_owned(), over.clone()),
                "{user}"
            );
            assert_eq!(
                refused(&ask.token, user),
                (ErrorCode::Invalid, "user".to_owned(), unnamable.clone()),
                "{user}"
            );
        }
        // The link is as good as it was.
        daemon.access.set_up(&ask, here()).map(drop).unwrap();
        daemon.stop();
        nothing_typed_is_in_the_log_of(folder.path());
    }

    fn nothing_typed_is_in_the_log_of(folder: &std::path::Path) {
        let text = std::fs::read_to_string(folder.join("state/audit/audit.log")).unwrap();
        assert!(!text.contains("made-up") && !text.contains("madeup"), "{text}");
    }
}
