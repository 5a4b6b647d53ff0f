//! Users and tokens, as the API asks for them.

use vtl_api::{
    AddUser, ApiError, CreateToken, Done, ErrorCode, NewTokenInfo, SetPassword, SetUser, TokenInfo, UserInfo,
};
use vtl_auth::{
    Attempt, AuthError, Bearer, Hashed, Kind, NewToken, Permission, Principal, Role, Roles, Token, User,
    UserName,
};
use vtl_meta::Tx;

use super::caller::nobody;
use super::login::{hashed, secret, user_name};
use super::{Access, Caller, Who, now};
use crate::api::field;
use crate::clock::rfc3339;
use crate::daemon::lock;

/// A token that nobody gave an end.
const TOKEN_LIFE_S: u64 = 90 * 24 * 60 * 60;

type Answer<T> = Result<T, ApiError>;

pub(super) fn done(message: String, name: &str) -> Done {
    Done { message, names: vec![name.to_owned()] }
}

fn roles_of(words: &[String]) -> Answer<Roles> {
    let parsed: Result<Roles, String> = words.iter().map(|word| word.parse::<vtl_auth::Role>()).collect();
    parsed.map_err(|why| {
        ApiError::new(ErrorCode::Invalid, why, "write viewer, operator, administrator or security-officer")
    })
}

pub(super) fn words(roles: Roles) -> Vec<String> {
    roles.iter().map(|role| role.word().to_owned()).collect()
}

fn shown(user: &User) -> UserInfo {
    UserInfo {
        name: user.name.to_string(),
        roles: words(user.roles),
        locked: user.locked,
        origin: if user.password.is_some() { "local" } else { "oidc" }.to_owned(),
        created: rfc3339(user.created_s),
    }
}

fn token_row(token: &Token) -> TokenInfo {
    TokenInfo {
        id: token.id.clone(),
        name: token.name.clone(),
        user: token.user.as_ref().map_or_else(|| super::caller::ROOT.to_owned(), ToString::to_string),
        roles: words(token.roles),
        created: rfc3339(token.created_s),
        expires: rfc3339(token.expires_s),
    }
}

/// Somebody, and the roles that count for what he does to users.
pub(super) type By<'c> = (Option<&'c UserName>, Roles);

fn raising((who, roles): By<'_>, two_persons: bool) -> By<'_> {
    (who, roles.raising(two_persons))
}

/// On whose behalf users are changed. A program governs nobody, whatever its token may do: a token that leaks makes no users.
pub(super) fn by(caller: &Caller) -> Answer<By<'_>> {
    match &caller.who {
        Who::Program(_) => Err(ApiError::new(
            ErrorCode::Forbidden,
            "a token of the server changes no users",
            "use the token of a user, or that of the state folder",
        )),
        who => Ok((who.user(), caller.roles)),
    }
}

fn no_tokens_of_programs() -> ApiError {
    ApiError::new(
        ErrorCode::Forbidden,
        "a token of the server makes and lists no tokens",
        "use the token of the state folder",
    )
}

/// Whose tokens a caller makes: a user's own, or the server's.
fn owner(caller: &Caller) -> Answer<Option<&UserName>> {
    match &caller.who {
        Who::Root => Ok(None),
        Who::User(name) => Ok(Some(name)),
        // Nobody would end it when the provider does not vouch for him any more.
        Who::Oidc(_) => Err(ApiError::new(
            ErrorCode::Forbidden,
            "who logs in by OIDC has no tokens",
            "have an administrator make a user of this server for the program",
        )),
        Who::Program(_) => Err(no_tokens_of_programs()),
    }
}

impl Access {
    pub(crate) fn user_list(&self) -> Answer<Vec<UserInfo>> {
        Ok(self.read(vtl_auth::users)?.iter().map(shown).collect())
    }

    pub(crate) fn user_show(&self, name: &str) -> Answer<UserInfo> {
        let name = user_name(name)?;
        let found = self.read(|tx| vtl_auth::user(tx, &name))?;
        found.as_ref().map(shown).ok_or_else(|| super::refused(&AuthError::UnknownUser(name)))
    }

    /// `two_persons`: the rule is on.
    pub(crate) fn user_add(&self, caller: &Caller, ask: &AddUser, two_persons: bool) -> Answer<Done> {
        let (_, roles) = raising(by(caller)?, two_persons);
        let name = field("name", user_name(&ask.name))?;
        let password = Some(hashed(&name, &ask.password)?);
        let asked = field("roles", roles_of(&ask.roles))?;
        let user = User { roles: asked, locked: false, password, created_s: now().wall_s, name };
        self.change(|tx| vtl_auth::add_user(tx, roles, &user))?;
        *lock(&self.setup) = None;
        Ok(done(format!("user {} is {}", user.name, user.roles), user.name.as_str()))
    }

    pub(crate) fn user_set(
        &self,
        caller: &Caller,
        name: &str,
        ask: &SetUser,
        two_persons: bool,
    ) -> Answer<Done> {
        let (by, name) = (by(caller)?, user_name(name)?);
        let roles = field("roles", ask.roles.as_deref().map(roles_of).transpose())?;
        let raises = roles.is_some_and(|roles| roles.has(Role::SecurityOfficer)) || ask.locked == Some(false);
        let by = raising(by, two_persons && raises);
        let change = |tx: &mut Tx<'_>| {
            roles.map(|roles| vtl_auth::set_roles(tx, by, &name, roles)).transpose()?;
            ask.locked.map(|locked| vtl_auth::set_locked(tx, by, &name, locked)).transpose()?;
            Ok::<(), AuthError>(())
        };
        match ask.locked {
            Some(true) => self.change_and_log_out(&name, change),
            _ => self.change(change),
        }?;
        Ok(done(format!("user {name} is changed"), name.as_str()))
    }

    pub(crate) fn user_set_password(
        &self,
        caller: &Caller,
        name: &str,
        ask: &SetPassword,
        two_persons: bool,
    ) -> Answer<Done> {
        let (by, name) = (raising(by(caller)?, two_persons), user_name(name)?);
        let is_own = by.0 == Some(&name);
        if !is_own && !caller.may(Permission::ManageUsers) {
            let why = "you may change your own password only";
            return Err(ApiError::new(ErrorCode::Forbidden, why, "ask an administrator"));
        }
        let current = ask.current.as_deref().unwrap_or_default();
        let seen = is_own.then(|| self.current(&name, current, caller)).transpose()?;
        let password = hashed(&name, &ask.password)?;
        self.set_password(by, (&name, seen.as_ref()), password)?;
        Ok(done(
            format!("user {name} has another password, is logged out everywhere, and has no tokens any more"),
            name.as_str(),
        ))
    }

    /// `seen`: the password that he has shown who changes his own; if another has changed it meanwhile, that counts.
    fn set_password(
        &self,
        by: By<'_>,
        (name, seen): (&UserName, Option<&Hashed>),
        password: Hashed,
    ) -> Answer<()> {
        self.change_and_log_out(name, |tx| {
            seen.map(|seen| vtl_auth::user_with(tx, name, seen)).transpose()?;
            vtl_auth::set_password(tx, by, name, password)
        })
    }

    /// What is kept of the present password, when it is this. A page that somebody left open must not give him away.
    fn current(&self, name: &UserName, current: &str, caller: &Caller) -> Answer<Hashed> {
        self.patiently(&Attempt::new(name.as_str(), caller.from), || {
            let user = self.read(|tx| vtl_auth::user(tx, name))?;
            let kept = user.and_then(|user| user.password).filter(|kept| kept.is(&secret(current)));
            kept.ok_or_else(|| {
                let why = "the present password is missing or wrong";
                ApiError::new(ErrorCode::Forbidden, why, "send it as current").about("current")
            })
        })
    }

    pub(crate) fn user_remove(&self, caller: &Caller, name: &str) -> Answer<Done> {
        let (by, name) = (by(caller)?, user_name(name)?);
        self.change_and_log_out(&name, |tx| vtl_auth::remove_user(tx, by, &name))?;
        Ok(done(format!("user {name} is removed, and so are the user's tokens"), name.as_str()))
    }

    pub(crate) fn token_list(&self, caller: &Caller) -> Answer<Vec<TokenInfo>> {
        let of = match (&caller.who, caller.may(Permission::ManageUsers)) {
            (_, true) => None,
            // He has none.
            (Who::Oidc(_), false) => return Ok(Vec::new()),
            (_, false) => owner(caller)?,
        };
        Ok(self.read(|tx| vtl_auth::tokens(tx, of))?.iter().map(token_row).collect())
    }

    pub(crate) fn token_create(&self, caller: &Caller, ask: &CreateToken) -> Answer<NewTokenInfo> {
        let user = owner(caller)?;
        if caller.is_by_token() {
            let why = "a token makes no other token";
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                why,
                "log in with your password: vtl login, or the pages",
            ));
        }
        let roles = match (&ask.role, &ask.roles) {
            (Some(role), None) => field("role", roles_of(std::slice::from_ref(role)))?,
            (None, Some(roles)) => field("roles", roles_of(roles))?,
            (None, None) => caller.roles,
            (Some(_), Some(_)) => {
                let error = ApiError::new(ErrorCode::Invalid, "there are role and roles", "send one of them");
                return Err(error.about("role"));
            }
        };
        let now_s = now().wall_s;
        let expires_s = match ask.expires.as_deref() {
            None => now_s.saturating_add(TOKEN_LIFE_S),
            Some(text) => crate::kept::parse_time(text).map_err(|_| {
                let remedy = "write a time such as 2030-01-31T00:00:00Z, or a date such as 2030-01-31";
                ApiError::new(ErrorCode::Invalid, format!("expires cannot be '{text}'"), remedy)
                    .about("expires")
            })?,
        };
        let bearer = Bearer::new(Kind::Token, &crate::random::fill);
        let new = NewToken { name: &ask.name, user, roles, expires_s };
        // Who was logged out since the door let him in, such as by another password, has no token that outlives that.
        let token = self.change(|tx| match self.is_still_in(caller) {
            true => vtl_auth::create_token(tx, caller.roles, &new, &bearer, now_s).map(Some),
            false => Ok(None),
        });
        let token = token.map_err(|error| match error.field.as_deref() {
            Some("roles") if ask.role.is_some() => error.about("role"),
            _ => error,
        })?;
        let token = token.ok_or_else(nobody)?;
        Ok(NewTokenInfo { info: token_row(&token), token: bearer.expose().to_string() })
    }

    pub(crate) fn token_remove(&self, caller: &Caller, id: &str) -> Answer<Done> {
        let who = match &caller.who {
            Who::Root => Principal::Root,
            Who::User(name) => Principal::User(name.clone()),
            Who::Oidc(user) => Principal::Oidc(user.clone()),
            Who::Program(_) => return Err(no_tokens_of_programs()),
        };
        let found = self.change(|tx| vtl_auth::revoke_token(tx, (&who, caller.roles), id))?;
        Ok(done(format!("token {} opens nothing any more", found.name), id))
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use serde_json::json;

    use super::*;
    use crate::access::{Presence, Shown};
    use crate::daemon::Daemon;
    use crate::daemon::tests::open;

    const PASSWORD: &str = "made-up password one";
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn root(daemon: &Daemon) -> Caller {
        daemon.access.by_bearer(&daemon.state.token().unwrap(), HERE).unwrap()
    }

    /// Ann, as the door has let her in with her cookie.
    fn ann(daemon: &Daemon) -> Caller {
        let ask = json!({ "name": "ann", "password": PASSWORD, "roles": ["administrator"] });
        daemon.access.user_add(&root(daemon), &serde_json::from_value(ask).unwrap(), false).unwrap();
        let ask = json!({ "user": "ann", "password": PASSWORD });
        let session = daemon.access.log_in(&serde_json::from_value(ask).unwrap(), HERE, None).unwrap();
        daemon.access.by(&Shown::Cookie(session.cookie), HERE, Presence::Attended).unwrap()
    }

    fn reset(daemon: &Daemon) {
        let ask = json!({ "password": "made-up password two" });
        let ask = serde_json::from_value(ask).unwrap();
        daemon.access.user_set_password(&root(daemon), "ann", &ask, false).unwrap();
    }

    #[test]
    fn who_is_logged_out_after_the_door_has_let_him_in_makes_no_token_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let ann = ann(&daemon);
        let make = |name: &str| {
            let ask = serde_json::from_value(json!({ "name": name })).unwrap();
            daemon.access.token_create(&ann, &ask).map(drop)
        };
        make("before").unwrap();
        reset(&daemon);
        assert_eq!(make("after").unwrap_err().code, ErrorCode::Unauthorized);
        assert!(daemon.access.token_list(&root(&daemon)).unwrap().is_empty());
        daemon.stop();
    }

    #[test]
    fn a_password_that_another_sets_while_its_user_changes_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let ann = ann(&daemon);
        let access = &daemon.access;
        let name: UserName = "ann".parse().unwrap();
        let seen = access.current(&name, PASSWORD, &ann).unwrap();
        reset(&daemon);
        let third = hashed(&name, "made-up password three").unwrap();
        let refused = access.set_password(by(&ann).unwrap(), (&name, Some(&seen)), third).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unauthorized);
        assert!(access.current(&name, "made-up password two", &ann).is_ok());
        daemon.stop();
    }
}
