//! Who is asking.

use std::net::IpAddr;

use vtl_api::{ApiError, ErrorCode, SessionState};
use vtl_auth::{
    Asked, AuthError, Bearer, Kind, Moment, OidcUser, Permission, Principal, Roles, Session, Sessions, Token,
    UserName,
};
use vtl_meta::Tx;
use zeroize::Zeroizing;

use super::{Access, now};
use crate::api::field;
use crate::clock::rfc3339;
use crate::daemon::lock;

/// Somebody who has shown who he is.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) who: Who,
    /// What he may do now.
    pub(crate) roles: Roles,
    /// Where he is.
    pub(crate) from: IpAddr,
    /// When what he showed ends, in seconds since 1970.
    expires_s: Option<u64>,
    /// He came with a cookie.
    session: Option<Session>,
    /// He has shown a token that somebody made, now or when he opened the session.
    by_token: bool,
}

/// What somebody shows at the door.
#[derive(Clone)]
pub(crate) enum Shown {
    /// The text behind `Authorization: Bearer`.
    Bearer(Zeroizing<String>),
    /// The value of our cookie.
    Cookie(Zeroizing<String>),
}

/// Whether somebody is there who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// His session counts as used.
    Attended,
    /// A page asks by itself: the session counts as used no more than before.
    Unattended,
}

impl Presence {
    /// How a session is looked for.
    fn find(self) -> fn(&mut Sessions, &Bearer, Moment) -> Option<Session> {
        match self {
            Self::Attended => Sessions::find,
            Self::Unattended => Sessions::look,
        }
    }
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever can read `api.token` of the state folder.
    Root,
    /// A user.
    User(UserName),
    /// Somebody for whom a provider vouches.
    Oidc(OidcUser),
    /// A program with a token that belongs to the server: the token's name.
    Program(String),
}

impl Who {
    /// As the log and approvals have it. No user is called so: their names have no colon, and `root` is reserved.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Root => ROOT.to_owned(),
            Self::User(name) => name.to_string(),
            Self::Oidc(user) => user.to_string(),
            Self::Program(name) => format!("{PROGRAM}{name}"),
        }
    }

    /// Whose text that is.
    fn of(text: &str) -> Option<Self> {
        match text.strip_prefix(PROGRAM) {
            Some(name) => Some(Self::Program(name.to_owned())),
            None if text == ROOT => Some(Self::Root),
            None => text.parse().map(Self::Oidc).ok().or_else(|| text.parse().ok().map(Self::User)),
        }
    }

    pub(crate) fn user(&self) -> Option<&UserName> {
        match self {
            Self::User(name) => Some(name),
            Self::Root | Self::Oidc(_) | Self::Program(_) => None,
        }
    }

    /// What to show beside [`Who::text`].
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Oidc(user) => user.name.as_deref(),
            Self::Root | Self::User(_) | Self::Program(_) => None,
        }
    }
}

impl From<&Principal> for Who {
    fn from(principal: &Principal) -> Self {
        match principal {
            Principal::Root => Self::Root,
            Principal::User(name) => Self::User(name.clone()),
            Principal::Oidc(user) => Self::Oidc(user.clone()),
        }
    }
}

/// The name of who has the token of the state folder.
pub(crate) const ROOT: &str = "root";
/// Before the name of a token of the server.
const PROGRAM: &str = "token:";

impl Caller {
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.roles.may(permission)
    }

    /// Whether a token that somebody made is all that he has shown. It makes no other: who has stolen one loses it at its end.
    pub(crate) fn is_by_token(&self) -> bool {
        self.by_token
    }

    /// One who asked earlier, and whose request another has approved.
    pub(super) fn approved((who, roles): (Who, Roles), from: IpAddr) -> Self {
        Self { who, roles, from, expires_s: None, session: None, by_token: false }
    }

    /// What `GET /session` answers.
    pub(crate) fn state(&self) -> SessionState {
        state(&self.who, self.roles, self.expires_s, self.session.as_ref())
    }

    /// Pages that change something show that they are pages of this session. Who has a token is no page.
    pub(crate) fn is_page(&self, csrf: &str) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_page(csrf))
    }
}

pub(super) fn state(
    who: &Who,
    roles: Roles,
    expires_s: Option<u64>,
    session: Option<&Session>,
) -> SessionState {
    SessionState {
        user: who.text(),
        name: who.name().map(str::to_owned),
        roles: roles.iter().map(|role| role.word().to_owned()).collect(),
        permissions: roles.permissions().map(|permission| permission.word().to_owned()).collect(),
        expires: expires_s.map(rfc3339),
        csrf: session.map(|session| session.csrf.to_string()),
    }
}

impl Access {
    /// Who sends this `Authorization: Bearer` text.
    pub(crate) fn by_bearer(&self, text: &str, from: IpAddr) -> Result<Caller, ApiError> {
        if self.is_root(text) {
            let (who, roles) = (Who::Root, Roles::ALL);
            return Ok(Caller { who, roles, from, expires_s: None, session: None, by_token: false });
        }
        let found = match super::bearer(text, Kind::Token) {
            Some(bearer) => self.by_token(&bearer)?,
            None => None,
        };
        let (who, roles, expires_s) = found.ok_or_else(nobody)?;
        Ok(Caller { who, roles, from, expires_s: Some(expires_s), session: None, by_token: true })
    }

    /// Whose token this is, what it may do now, and when it ends.
    pub(super) fn by_token(&self, bearer: &Bearer) -> Result<Option<(Who, Roles, u64)>, ApiError> {
        let (token, user) = self.read(|tx| {
            let token = vtl_auth::find_token(tx, &bearer.id)?;
            let owner = token.as_ref().and_then(|token| token.user.clone());
            let user = owner.map(|name| vtl_auth::user(tx, &name)).transpose()?.flatten();
            Ok((token, user))
        })?;
        let Some(token) = token.filter(|token| token.is_opened_by(bearer, now().wall_s)) else {
            return Ok(None);
        };
        Ok(match (&token.user, user) {
            (None, _) => Some((Who::Program(token.name), token.roles, token.expires_s)),
            (Some(_), Some(user)) if !user.locked => {
                Some((Who::User(user.name), token.roles.within(user.roles), token.expires_s))
            }
            _ => None,
        })
    }

    /// Who has shown this, in a request.
    pub(crate) fn by(&self, shown: &Shown, from: IpAddr, presence: Presence) -> Result<Caller, ApiError> {
        match shown {
            Shown::Bearer(text) => field("Authorization", self.by_bearer(text, from)),
            Shown::Cookie(text) => self.by_cookie(text, from, presence),
        }
    }

    /// Whether it still opens the door, to look at what is there. No session lasts longer for being asked.
    pub(crate) fn still_opens(&self, shown: &Shown, from: IpAddr) -> bool {
        self.by(shown, from, Presence::Unattended).is_ok_and(|caller| caller.may(Permission::Read))
    }

    /// Whether who came with a cookie was not logged out since. Asked while the inventory is held, with which sessions of a
    /// user end.
    pub(super) fn is_still_in(&self, caller: &Caller) -> bool {
        caller.session.as_ref().is_none_or(|session| lock(&self.sessions).is_open(session))
    }

    /// Whose session this cookie opens.
    fn by_cookie(&self, text: &str, from: IpAddr, presence: Presence) -> Result<Caller, ApiError> {
        let cookie = super::bearer(text, Kind::Session).ok_or_else(nobody)?;
        let session = presence.find()(&mut lock(&self.sessions), &cookie, now()).ok_or_else(nobody)?;
        let (who, roles) = match &session.who {
            Principal::Root => (Who::Root, session.roles),
            // What the provider said at the log-in counts until the session ends.
            Principal::Oidc(user) => (Who::Oidc(user.clone()), session.roles),
            Principal::User(name) => {
                let (user, token) = self.read(|tx| {
                    let token =
                        session.token.as_deref().map(|id| vtl_auth::find_token(tx, id)).transpose()?;
                    Ok((vtl_auth::user(tx, name)?, token.map(|found| found.filter(is_in_time))))
                })?;
                let user = user.filter(|user| !user.locked && token != Some(None)).ok_or_else(nobody)?;
                (Who::User(user.name), session.roles.within(user.roles))
            }
        };
        let (expires_s, by_token) = (Some(session.expires_s), session.token.is_some());
        Ok(Caller { who, roles, from, expires_s, session: Some(session), by_token })
    }
}

/// Who asked, and what that one may do now of what he came with then. `by_provider`: what somebody may do for whom a provider vouches;
/// of one who is not logged in nobody knows.
pub(super) fn asker(
    tx: &Tx<'_>,
    asked: &Asked,
    by_provider: impl FnOnce(&OidcUser) -> Option<Roles>,
) -> Result<(Who, Roles), AuthError> {
    let may_not = || AuthError::AskerMayNot(asked.by.clone());
    let who = Who::of(&asked.by).ok_or_else(may_not)?;
    let now_has = match &who {
        Who::Root => Some(Roles::ALL),
        Who::Oidc(user) => by_provider(user),
        Who::User(name) => vtl_auth::user(tx, name)?.filter(|user| !user.locked).map(|user| user.roles),
        Who::Program(name) => {
            let is_it = |token: &Token| token.user.is_none() && token.name == *name && is_in_time(token);
            vtl_auth::tokens(tx, None)?.into_iter().find(is_it).map(|token| token.roles)
        }
    };
    let roles = asked.roles.within(now_has.ok_or_else(may_not)?);
    if asked.may_be_done_with(roles) { Ok((who, roles)) } else { Err(may_not()) }
}

pub(super) fn is_in_time(token: &vtl_auth::Token) -> bool {
    now().wall_s < token.expires_s
}

/// The same words for every way not to be let in.
pub(crate) fn nobody() -> ApiError {
    ApiError::new(
        ErrorCode::Unauthorized,
        "the token or session is missing, wrong or over",
        "send the text of api.token or of a token (vtl --token-file FILE), or log in (vtl login)",
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn what_a_page_asks_by_itself_keeps_no_session_open() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let access = &daemon.access;
        let from = IpAddr::from([127, 0, 0, 1]);
        let token = daemon.state.token().unwrap();
        let ask = serde_json::from_value(json!({ "token": token.as_str() })).unwrap();
        let [left, used] = [(); 2].map(|()| access.log_in(&ask, from, None).unwrap().cookie);
        let opened = now();
        while now().count_s == opened.count_s {
            std::thread::sleep(Duration::from_millis(20));
        }
        for (cookie, presence) in [(&left, Presence::Unattended), (&used, Presence::Attended)] {
            access.by(&Shown::Cookie(cookie.clone()), from, presence).map(drop).unwrap();
        }
        let half_an_hour_later = Moment { count_s: opened.count_s + 1800, ..opened };
        let is_open = |cookie: &str| {
            let cookie = Bearer::parse(cookie).unwrap();
            lock(&access.sessions).look(&cookie, half_an_hour_later).is_some()
        };
        assert_eq!([&left, &used].map(|cookie| is_open(cookie)), [false, true]);
        daemon.stop();
    }
}
