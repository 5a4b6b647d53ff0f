//! Users as the inventory lists them, and who may change whom.

use vtl_meta::{MetaError, Row, Tx, Value};

use crate::error::AuthError;
use crate::name::UserName;
use crate::password::{Cost, Hashed};
use crate::role::Roles;
use crate::schema::{USERS, count, number, parsed, text};
use crate::token::remove_tokens_of;

/// More are not kept: one server has a few dozen.
pub const MOST_USERS: u64 = 1000;

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// What the user may do.
    pub roles: Roles,
    /// Cannot log in, and neither can the user's tokens.
    pub locked: bool,
    /// None: the user logs in elsewhere (OIDC).
    pub password: Option<Hashed>,
    /// Seconds since 1970 UTC.
    pub created_s: u64,
}

/// All users by name.
///
/// # Errors
/// The inventory cannot be read.
pub fn users(tx: &Tx<'_>) -> Result<Vec<User>, AuthError> {
    Ok(tx.all(&USERS)?.iter().map(read).collect::<Result<_, _>>()?)
}

/// Whether there is any user.
///
/// # Errors
/// The inventory cannot be read.
pub fn any_user(tx: &Tx<'_>) -> Result<bool, AuthError> {
    Ok(tx.count(&USERS, "TRUE", &[])? > 0)
}

/// The user of this name.
///
/// # Errors
/// The inventory cannot be read.
pub fn user(tx: &Tx<'_>, name: &UserName) -> Result<Option<User>, AuthError> {
    Ok(tx.get(&USERS, &[text(name.as_str())])?.map(|row| read(&row)).transpose()?)
}

/// The user of this name, if he may still log in with the password that was looked at. Hashing takes its time, and he may get
/// another one meanwhile: what comes of the look is done in the transaction that asks this, or in none.
///
/// # Errors
/// It is another password by now, or he is locked or gone ([`AuthError::OtherPassword`]).
pub fn user_with(tx: &Tx<'_>, name: &UserName, password: &Hashed) -> Result<User, AuthError> {
    let found = user(tx, name)?.filter(|user| !user.locked && user.password.as_ref() == Some(password));
    found.ok_or_else(|| AuthError::OtherPassword(name.clone()))
}

/// Lists a new user, in the name of a caller with these roles.
///
/// # Errors
/// There is one, there are too many, or the caller does not govern the roles.
pub fn add_user(tx: &mut Tx<'_>, caller: Roles, user: &User) -> Result<(), AuthError> {
    may_give(caller, user.roles)?;
    if self::user(tx, &user.name)?.is_some() {
        return Err(AuthError::UserExists(user.name.clone()));
    }
    if tx.count(&USERS, "TRUE", &[])? >= MOST_USERS {
        return Err(AuthError::TooMany("users", MOST_USERS));
    }
    Ok(tx.insert(&USERS, &values(user))?)
}

/// Gives a user other roles.
///
/// # Errors
/// There is none, it is the caller, or the caller does not govern what the user had or gets.
pub fn set_roles(
    tx: &mut Tx<'_>,
    (who, caller): (Option<&UserName>, Roles),
    name: &UserName,
    roles: Roles,
) -> Result<(), AuthError> {
    may_give(caller, roles)?;
    change(tx, (who, caller), name, |user| user.roles = roles)
}

/// Locks a user out, or lets him in again.
///
/// # Errors
/// As [`set_roles`].
pub fn set_locked(
    tx: &mut Tx<'_>,
    by: (Option<&UserName>, Roles),
    name: &UserName,
    locked: bool,
) -> Result<(), AuthError> {
    change(tx, by, name, |user| user.locked = locked)
}

/// Gives a user another password: one's own is always one's own affair. The user's tokens end: one of them may be why.
///
/// # Errors
/// As [`set_roles`].
pub fn set_password(
    tx: &mut Tx<'_>,
    (who, caller): (Option<&UserName>, Roles),
    name: &UserName,
    password: Hashed,
) -> Result<(), AuthError> {
    let mut found = known(tx, name)?;
    if who != Some(name) {
        governed(caller, found.roles)?;
    }
    found.password = Some(password);
    remove_tokens_of(tx, name)?;
    Ok(tx.update(&USERS, &values(&found))?)
}

/// Lists a user no more, nor the user's tokens.
///
/// # Errors
/// As [`set_roles`].
pub fn remove_user(
    tx: &mut Tx<'_>,
    (who, caller): (Option<&UserName>, Roles),
    name: &UserName,
) -> Result<(), AuthError> {
    others((who, caller), &known(tx, name)?)?;
    remove_tokens_of(tx, name)?;
    tx.delete(&USERS, &[text(name.as_str())])?;
    Ok(())
}

fn change(
    tx: &mut Tx<'_>,
    by: (Option<&UserName>, Roles),
    name: &UserName,
    change: impl FnOnce(&mut User),
) -> Result<(), AuthError> {
    let mut found = known(tx, name)?;
    others(by, &found)?;
    change(&mut found);
    Ok(tx.update(&USERS, &values(&found))?)
}

fn known(tx: &Tx<'_>, name: &UserName) -> Result<User, AuthError> {
    user(tx, name)?.ok_or_else(|| AuthError::UnknownUser(name.clone()))
}

/// Another than the caller himself, with roles that the caller governs.
fn others((who, caller): (Option<&UserName>, Roles), user: &User) -> Result<(), AuthError> {
    if who == Some(&user.name) {
        return Err(AuthError::OwnRoles);
    }
    governed(caller, user.roles)
}

/// Whether who has the first roles gives somebody the others.
fn may_give(caller: Roles, roles: Roles) -> Result<(), AuthError> {
    governed(caller, roles).map_err(|error| match error {
        AuthError::NotGoverned(beyond) => AuthError::NotToGive(beyond),
        other => other,
    })
}

/// Whether who has the first roles changes users who have the others.
///
/// # Errors
/// He does not govern them.
pub fn governed(caller: Roles, roles: Roles) -> Result<(), AuthError> {
    let beyond: Roles = roles.iter().filter(|role| !caller.governs().has(*role)).collect();
    // Without any role there is still somebody to govern: at least one role that governs is needed.
    match beyond.is_empty() && !caller.governs().is_empty() {
        true => Ok(()),
        false => Err(AuthError::NotGoverned(beyond)),
    }
}

fn values(user: &User) -> [Value; 10] {
    let of = |value: fn(&Hashed) -> Value| user.password.as_ref().map_or(Value::Null, value);
    [
        text(user.name.as_str()),
        text(&user.roles.to_string()),
        Value::Integer(user.locked.into()),
        text(if user.password.is_some() { "local" } else { "oidc" }),
        of(|p| Value::Integer(p.cost.memory_kib.into())),
        of(|p| Value::Integer(p.cost.passes.into())),
        of(|p| Value::Integer(p.cost.lanes.into())),
        of(|p| Value::Blob(p.salt.clone())),
        of(|p| Value::Blob(p.hash.clone())),
        number(user.created_s),
    ]
}

fn read(row: &Row) -> Result<User, MetaError> {
    Ok(User {
        name: parsed(row, "name")?,
        roles: parsed(row, "roles")?,
        locked: row.get("locked")?,
        password: password(row)?,
        created_s: count(row, "created_s")?,
    })
}

fn password(row: &Row) -> Result<Option<Hashed>, MetaError> {
    let (Some(salt), Some(hash)) = (row.get::<Option<Vec<u8>>>("salt")?, row.get::<Option<Vec<u8>>>("hash")?)
    else {
        return Ok(None);
    };
    let number = |column| u32::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged());
    let cost = Cost { memory_kib: number("memory_kib")?, passes: number("passes")?, lanes: number("lanes")? };
    Ok(Some(Hashed { cost, salt, hash }))
}
