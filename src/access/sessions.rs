//! Sessions of others, for who manages users: who is logged in, and an end to it.

use vtl_api::{ApiError, Done, EndSessions, ErrorCode, WebSessionInfo};
use vtl_auth::{AuthError, Moment, OidcUser, Principal, Session};
use vtl_meta::Tx;

use super::caller::{ROOT, is_in_time};
use super::login::user_name;
use super::users::{by, done, words};
use super::{Access, Caller, Who, now};
use crate::api::field;
use crate::clock::rfc3339;
use crate::daemon::lock;

/// Whose sessions a text means.
fn principal(text: &str) -> Result<Principal, ApiError> {
    if text == ROOT {
        return Ok(Principal::Root);
    }
    match text.parse::<OidcUser>() {
        Ok(user) => Ok(Principal::Oidc(user)),
        Err(_) => user_name(text).map(Principal::User),
    }
}

fn row(session: &Session, now: Moment) -> WebSessionInfo {
    let who = Who::from(&session.who);
    WebSessionInfo {
        user: who.text(),
        name: who.name().map(str::to_owned),
        roles: words(session.roles),
        by_token: session.token.is_some(),
        from: session.from.to_string(),
        since: rfc3339(session.opened_s()),
        last_used: rfc3339(session.used_s(now)),
        expires: rfc3339(session.expires_s),
    }
}

/// One that a token opened ends with it.
fn opens(tx: &Tx<'_>, session: &Session) -> Result<bool, AuthError> {
    let Some(id) = session.token.as_deref() else { return Ok(true) };
    Ok(vtl_auth::find_token(tx, id)?.is_some_and(|token| is_in_time(&token)))
}

fn not_there(user: &str) -> ApiError {
    let why = format!("nobody is logged in as '{user}'");
    ApiError::new(ErrorCode::NotFound, why, "see vtl user sessions").about("user")
}

impl Access {
    /// Who is logged in; `user`: only that one.
    pub(crate) fn session_list(&self, user: Option<&str>) -> Result<Vec<WebSessionInfo>, ApiError> {
        let whose = field("user", user.map(principal).transpose())?;
        let now = now();
        let mut open = lock(&self.sessions).list(now);
        open.retain(|session| whose.as_ref().is_none_or(|whose| session.who == *whose));
        let mut rows = self.read(|tx| {
            let mut rows = Vec::new();
            for session in &open {
                if opens(tx, session)? {
                    rows.push(row(session, now));
                }
            }
            Ok(rows)
        })?;
        rows.sort_by(|a, b| (&a.user, &a.since).cmp(&(&b.user, &b.since)));
        Ok(rows)
    }

    /// Ends all sessions of one: the caller's own, or those of somebody whose roles he governs.
    pub(crate) fn sessions_end(&self, caller: &Caller, ask: &EndSessions) -> Result<Done, ApiError> {
        let (_, roles) = by(caller)?;
        let whose = field("user", principal(&ask.user))?;
        // Of a user the inventory says what he may, of others their sessions do.
        let listed = match &whose {
            Principal::User(name) => {
                let user = self.read(|tx| vtl_auth::user(tx, name))?;
                let unknown = || super::refused(&AuthError::UnknownUser(name.clone())).about("user");
                Some(user.ok_or_else(unknown)?.roles)
            }
            Principal::Root | Principal::Oidc(_) => None,
        };
        let mut sessions = lock(&self.sessions);
        let may = listed.or_else(|| sessions.all_roles_of(&whose, now()));
        let may = may.ok_or_else(|| not_there(&ask.user))?;
        let who = Who::from(&whose);
        if caller.who != who {
            vtl_auth::governed(roles, may).map_err(|error| super::refused(&error))?;
        }
        let ended = sessions.end(&whose, now());
        let who = who.text();
        Ok(done(format!("{who} is logged out everywhere (sessions: {ended})"), &who))
    }
}
