//! API tokens: for programs, with roles of their own and an end.

use vtl_meta::{MetaError, Row, Tx, Value};

use crate::bearer::Bearer;
use crate::error::AuthError;
use crate::name::UserName;
use crate::principal::Principal;
use crate::role::{Permission, Roles};
use crate::schema::{TOKENS, count, number, parsed, text};
use crate::user::{governed, user};

/// Of one user; more are not kept.
pub const MOST_TOKENS: u64 = 100;
/// The longest name.
const MOST_NAME: usize = 64;
/// The longest life of a token: ten years.
const MOST_LIFE_S: u64 = 3650 * 24 * 60 * 60;

/// A token as it is listed: its secret is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What finds it.
    pub id: String,
    /// What its maker calls it.
    pub name: String,
    /// Whose it is; none: it was made with the token of the state folder, and belongs to the server.
    pub user: Option<UserName>,
    /// The most that it may do; its user's roles bound it, too.
    pub roles: Roles,
    /// Seconds since 1970 UTC.
    pub created_s: u64,
    /// From then on it opens nothing.
    pub expires_s: u64,
    digest: Vec<u8>,
}

impl Token {
    /// Whether this text is the token, and its time is not over.
    #[must_use]
    pub fn is_opened_by(&self, bearer: &Bearer, now_s: u64) -> bool {
        bearer.is(&self.digest) && now_s < self.expires_s
    }
}

/// What is asked of a new token.
#[derive(Clone, Debug)]
pub struct NewToken<'a> {
    /// What its maker calls it.
    pub name: &'a str,
    /// Whose it is.
    pub user: Option<&'a UserName>,
    /// What it may do.
    pub roles: Roles,
    /// When it ends.
    pub expires_s: u64,
}

/// Keeps a token, in the name of a caller with these roles.
///
/// # Errors
/// Its name is none or taken, its user is not there or locked, it would have more than its maker, its end is past or too
/// far, or there are too many.
pub fn create_token(
    tx: &mut Tx<'_>,
    caller: Roles,
    new: &NewToken<'_>,
    bearer: &Bearer,
    now_s: u64,
) -> Result<Token, AuthError> {
    check_name(new.name)?;
    let beyond: Roles = new.roles.iter().filter(|role| !caller.covers(*role)).collect();
    if !beyond.is_empty() {
        return Err(AuthError::MoreThanMaker(beyond));
    }
    if new.roles.is_empty() {
        return Err(bad("roles", "a token without a role opens nothing".to_owned()));
    }
    if new.expires_s <= now_s || new.expires_s > now_s.saturating_add(MOST_LIFE_S) {
        let why = "the end of a token lies in the future, and not more than ten years";
        return Err(bad("expires", why.to_owned()));
    }
    if let Some(name) = new.user {
        // Who asked may have been removed or locked since he was let in.
        let found = crate::user::user(tx, name)?.filter(|user| !user.locked);
        found.ok_or_else(|| AuthError::UnknownUser(name.clone()))?;
    }
    let user = new.user.map_or("", UserName::as_str);
    let same = [text(user), text(new.name)];
    if tx.count(&TOKENS, "user = ?1 AND name = ?2", &same)? > 0 {
        return Err(AuthError::TokenExists(new.name.to_owned()));
    }
    if tx.count(&TOKENS, "user = ?1", &[text(user)])? >= MOST_TOKENS {
        return Err(AuthError::TooMany("tokens", MOST_TOKENS));
    }
    let token = Token {
        id: bearer.id.clone(),
        name: new.name.to_owned(),
        user: new.user.cloned(),
        roles: new.roles,
        created_s: now_s,
        expires_s: new.expires_s,
        digest: bearer.digest().to_vec(),
    };
    tx.insert(&TOKENS, &values(&token))?;
    Ok(token)
}

/// Tokens of one user, or all.
///
/// # Errors
/// The inventory cannot be read.
pub fn tokens(tx: &Tx<'_>, of: Option<&UserName>) -> Result<Vec<Token>, AuthError> {
    let rows = match of {
        None => tx.all(&TOKENS)?,
        Some(user) => tx.find(&TOKENS, "user = ?1", &[text(user.as_str())])?,
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// The token with this id.
///
/// # Errors
/// The inventory cannot be read.
pub fn find_token(tx: &Tx<'_>, id: &str) -> Result<Option<Token>, AuthError> {
    Ok(tx.get(&TOKENS, &[text(id)])?.map(|row| read(&row)).transpose()?)
}

/// A token opens nothing from now on, in the name of a caller with these roles. One's own is one's own affair; another's takes
/// who governs that user, and the server's own the token of the state folder.
///
/// # Errors
/// There is none, or none that this caller may know of; the caller does not govern its user; it is not durable.
pub fn revoke_token(
    tx: &mut Tx<'_>,
    (who, caller): (&Principal, Roles),
    id: &str,
) -> Result<Token, AuthError> {
    let unknown = || AuthError::UnknownToken(id.to_owned());
    let found = find_token(tx, id)?.ok_or_else(unknown)?;
    let is_own = matches!((who, &found.user), (Principal::User(me), Some(owner)) if me == owner);
    if *who != Principal::Root && !is_own {
        // Who may not know of others' tokens hears what he would hear of none.
        if !caller.may(Permission::ManageUsers) {
            return Err(unknown());
        }
        let owner = found.user.as_ref().ok_or(AuthError::ServersToken)?;
        // Of a user who is gone nothing is known but what the token was for.
        governed(caller, user(tx, owner)?.map_or(found.roles, |owner| owner.roles))?;
    }
    remove_token(tx, id)?;
    Ok(found)
}

/// It opens nothing from now on; false when there is none.
fn remove_token(tx: &mut Tx<'_>, id: &str) -> Result<bool, AuthError> {
    Ok(tx.delete(&TOKENS, &[text(id)])?)
}

/// All tokens of a user who is there no more.
pub(crate) fn remove_tokens_of(tx: &mut Tx<'_>, user: &UserName) -> Result<(), AuthError> {
    for token in tokens(tx, Some(user))? {
        remove_token(tx, &token.id)?;
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), AuthError> {
    let is_usual = |c: char| c.is_ascii_graphic() || c == ' ';
    if (1..=MOST_NAME).contains(&name.len()) && name.chars().all(is_usual) {
        return Ok(());
    }
    let shown: String = name.chars().take(MOST_NAME).flat_map(char::escape_debug).collect();
    Err(bad("name", format!("'{shown}' is no name of a token: write 1 to {MOST_NAME} printable characters")))
}

fn bad(what: &'static str, why: String) -> AuthError {
    AuthError::BadToken { what, why }
}

fn values(token: &Token) -> [Value; 7] {
    [
        text(&token.id),
        text(&token.name),
        text(token.user.as_ref().map_or("", UserName::as_str)),
        text(&token.roles.to_string()),
        Value::Blob(token.digest.clone()),
        number(token.created_s),
        number(token.expires_s),
    ]
}

fn read(row: &Row) -> Result<Token, MetaError> {
    let user: String = row.get("user")?;
    let user = match user.is_empty() {
        true => None,
        false => Some(user.parse().map_err(|_| row.damaged())?),
    };
    Ok(Token {
        id: row.get("id")?,
        name: row.get("name")?,
        user,
        roles: parsed(row, "roles")?,
        created_s: count(row, "created_s")?,
        expires_s: count(row, "expires_s")?,
        digest: row.get("digest")?,
    })
}
