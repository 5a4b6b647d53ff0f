//! Logging in and out, and the first user.

use std::net::IpAddr;

use vtl_api::{ApiError, ErrorCode, FirstUser, LogIn, SessionState};
use vtl_auth::{Bearer, Hashed, Kind, Opened, Role, Roles, Subject, User, UserName};
use vtl_types::Secret;
use zeroize::Zeroizing;

use super::caller::{ROOT, state};
use super::{Access, Who, bearer, now, refusal};
use crate::daemon::lock;

/// What a log-in gives: the cookie's value, and what the page needs to know.
pub(crate) struct LoggedIn {
    pub(crate) cookie: Zeroizing<String>,
    pub(crate) state: SessionState,
}

/// Who it is, what he may do, and by which token.
type Proved = (Who, Roles, Option<String>);

/// Names that mean somebody else already.
const RESERVED: [&str; 2] = [ROOT, "vtld"];

pub(super) fn user_name(text: &str) -> Result<UserName, ApiError> {
    let name: UserName = text.parse().map_err(|why: String| refusal(ErrorCode::Invalid, why, ""))?;
    if RESERVED.contains(&name.as_str()) {
        let why = format!("no user can be called '{name}'");
        return Err(refusal(ErrorCode::Invalid, why, "choose another name"));
    }
    Ok(name)
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

pub(super) fn hashed(user: &UserName, password: &str) -> Result<Hashed, ApiError> {
    let mut salt = [0; 16];
    crate::random::fill(&mut salt);
    Hashed::new(user.as_str(), &secret(password), salt).map_err(|error| super::refused(&error))
}

/// The same words whatever was wrong.
fn not_in() -> ApiError {
    refusal(
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
        let (who, outcome) = match ask {
            LogIn { user: Some(user), password: Some(password), token: None } => {
                (user.clone(), self.with_password(user, password, from))
            }
            LogIn { user: None, password: None, token: Some(token) } => {
                ("token".to_owned(), self.with_token(token, from))
            }
            _ => {
                let why = "a log-in has a user and a password, or a token";
                return Err(refusal(ErrorCode::Invalid, why, "send {user, password} or {token}"));
            }
        };
        let who = outcome.as_ref().map_or(who, |(who, ..)| who.text());
        self.note_login("log in", &who, from, outcome.as_ref().map(|_| ()))?;
        let (who, roles, token) = outcome?;
        self.log_out(before);
        Ok(self.open_session(&who, roles, token))
    }

    fn open_session(&self, who: &Who, roles: Roles, token: Option<String>) -> LoggedIn {
        let whose = (who.user().cloned(), roles);
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
        self.patiently(&[Subject::user(user), Subject::address(from)], || {
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
            Ok((Who::User(known.name), known.roles, None))
        })
    }

    fn with_token(&self, text: &str, from: IpAddr) -> Result<Proved, ApiError> {
        self.patiently(&[Subject::address(from)], || {
            if self.is_root(text) {
                return Ok((Who::Root, Roles::ALL, None));
            }
            let given = bearer(text, Kind::Token).ok_or_else(not_in)?;
            match self.by_token(&given)? {
                // A program's token opens no session: nobody sits there.
                Some((who @ Who::User(_), roles, _)) => Ok((who, roles, Some(given.id))),
                _ => Err(not_in()),
            }
        })
    }

    /// One attempt, when those who try need not wait.
    pub(super) fn patiently<T>(
        &self,
        subjects: &[Subject],
        attempt: impl FnOnce() -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        lock(&self.throttle).attempt(subjects, now().count_s).map_err(|wait_s| {
            let remedy = format!("wait {wait_s} seconds");
            refusal(ErrorCode::TooManyRequests, "too many attempts have failed", &remedy)
        })?;
        let outcome = attempt();
        if outcome.is_ok() {
            lock(&self.throttle).succeeded(subjects);
        }
        outcome
    }

    /// Makes the first user, who administers and is the security officer until he makes others, and logs him in.
    pub(crate) fn set_up(&self, ask: &FirstUser, from: IpAddr) -> Result<LoggedIn, ApiError> {
        let outcome = self.patiently(&[Subject::address(from)], || self.first_user(ask));
        self.note_login("set up", &ask.user, from, outcome.as_ref().map(|_| ()))?;
        let name = outcome?;
        Ok(self.open_session(&Who::User(name), first_roles(), None))
    }

    fn first_user(&self, ask: &FirstUser) -> Result<UserName, ApiError> {
        let over = || {
            let remedy = "take the link that vtld printed last, within an hour; restart vtld for a new one";
            refusal(ErrorCode::Unauthorized, "the one-time link is wrong, used or over", remedy)
        };
        let given: Option<Bearer> = bearer(&ask.token, Kind::Setup);
        let name = user_name(&ask.user)?;
        // Held until the user is there: one link makes one user.
        let mut setup = lock(&self.setup);
        let is_it =
            setup.as_ref().zip(given.as_ref()).is_some_and(|(link, given)| link.is_opened_by(given, now()));
        if !is_it {
            return Err(over());
        }
        let password = Some(hashed(&name, &ask.password)?);
        let created_s = now().wall_s;
        let user = User { name: name.clone(), roles: first_roles(), locked: false, password, created_s };
        let made = self.change(|tx| match vtl_auth::any_user(tx)? {
            true => Ok(false),
            false => vtl_auth::add_user(tx, Roles::ALL, &user).map(|()| true),
        })?;
        *setup = None;
        if made { Ok(name) } else { Err(over()) }
    }
}

fn first_roles() -> Roles {
    Roles::NONE.with(Role::Administrator).with(Role::SecurityOfficer)
}
