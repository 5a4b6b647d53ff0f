//! Who is asking.

use std::net::IpAddr;

use vtl_api::{ApiError, ErrorCode, SessionState};
use vtl_auth::{Bearer, Kind, Permission, Roles, Session, UserName};

use super::{Access, now, refusal};
use crate::clock::rfc3339;

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
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever can read `api.token` of the state folder.
    Root,
    /// A user.
    User(UserName),
    /// A program with a token that belongs to the server: the token's name.
    Program(String),
}

impl Who {
    /// As the log and approvals have it. No user is called so: their names have no colon, and `root` is reserved.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Root => ROOT.to_owned(),
            Self::User(name) => name.to_string(),
            Self::Program(name) => format!("token:{name}"),
        }
    }

    pub(crate) fn user(&self) -> Option<&UserName> {
        match self {
            Self::User(name) => Some(name),
            Self::Root | Self::Program(_) => None,
        }
    }
}

/// The name of who has the token of the state folder.
pub(crate) const ROOT: &str = "root";

impl Caller {
    pub(crate) fn may(&self, permission: Permission) -> bool {
        self.roles.may(permission)
    }

    /// One who asked earlier, and whose request another has approved.
    pub(crate) fn approved(text: &str, from: IpAddr) -> Self {
        let who = match text.parse::<UserName>() {
            Ok(name) if text != ROOT => Who::User(name),
            _ => Who::Root,
        };
        let roles = Roles::NONE.with(vtl_auth::Role::SecurityOfficer).with(vtl_auth::Role::Administrator);
        Self { who, roles, from, expires_s: None, session: None }
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
            return Ok(Caller { who: Who::Root, roles: Roles::ALL, from, expires_s: None, session: None });
        }
        let found = match super::bearer(text, Kind::Token) {
            Some(bearer) => self.by_token(&bearer)?,
            None => None,
        };
        let (who, roles, expires_s) = found.ok_or_else(nobody)?;
        Ok(Caller { who, roles, from, expires_s: Some(expires_s), session: None })
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

    /// Whose session this cookie opens.
    pub(crate) fn by_cookie(&self, text: &str, from: IpAddr) -> Result<Caller, ApiError> {
        let cookie = super::bearer(text, Kind::Session).ok_or_else(nobody)?;
        let session = crate::daemon::lock(&self.sessions).find(&cookie, now()).ok_or_else(nobody)?;
        let (who, roles) = match &session.user {
            None => (Who::Root, session.roles),
            Some(name) => {
                let (user, token) = self.read(|tx| {
                    let token =
                        session.token.as_deref().map(|id| vtl_auth::find_token(tx, id)).transpose()?;
                    Ok((vtl_auth::user(tx, name)?, token.map(|found| found.filter(is_in_time))))
                })?;
                let user = user.filter(|user| !user.locked && token != Some(None)).ok_or_else(nobody)?;
                (Who::User(user.name), session.roles.within(user.roles))
            }
        };
        Ok(Caller { who, roles, from, expires_s: Some(session.expires_s), session: Some(session) })
    }
}

fn is_in_time(token: &vtl_auth::Token) -> bool {
    now().wall_s < token.expires_s
}

/// The same words for every way not to be let in.
pub(crate) fn nobody() -> ApiError {
    refusal(
        ErrorCode::Unauthorized,
        "the token or session is missing, wrong or over",
        "send the text of api.token or of a token (vtl --token-file FILE), or log in (vtl login)",
    )
}
