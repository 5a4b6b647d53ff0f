//! Who may log in: targets, CHAP accounts, initiator lists. A target without CHAP and without a list is open.

use vtl_meta::{Row, Tx, Value};
use vtl_types::{ChapAccount, ChapLogin, IscsiName, IscsiNameError, LibraryName, Secret};

use crate::{
    error::LibraryError,
    library,
    schema::{CHAP, INITIATORS, TARGETS},
};

/// What every target name of ours begins with.
const TARGET_PREFIX: &str = "iqn.2026-11.internal.vtl:";

/// The target name that a library gets when nobody names another.
///
/// # Errors
/// Never for a [`LibraryName`]; the type of names decides.
pub fn default_target(library: &LibraryName) -> Result<IscsiName, IscsiNameError> {
    format!("{TARGET_PREFIX}{library}").parse()
}

/// All targets and the library that each shows.
///
/// # Errors
/// A failure of the file.
pub fn targets(tx: &Tx<'_>) -> Result<Vec<(IscsiName, LibraryName)>, LibraryError> {
    let mut found = Vec::new();
    for row in tx.all(&TARGETS)? {
        let library = library::by_id(tx, row.get("library")?)?.ok_or_else(|| row.damaged())?;
        found.push((name(&row, "iqn")?, library));
    }
    Ok(found)
}

/// The target that shows a library; it has exactly one.
///
/// # Errors
/// No such library; a failure of the file.
pub fn target_of(tx: &Tx<'_>, library: &LibraryName) -> Result<Option<IscsiName>, LibraryError> {
    Ok(targets(tx)?.into_iter().find(|(_, shown)| shown == library).map(|(iqn, _)| iqn))
}

pub(crate) fn add_target(tx: &mut Tx<'_>, iqn: &IscsiName, library: u32) -> Result<(), LibraryError> {
    if exists(tx, iqn)? {
        return Err(LibraryError::TargetExists(iqn.clone()));
    }
    Ok(tx.insert(&TARGETS, &[key(iqn), library.into()])?)
}

pub(crate) fn remove_targets(tx: &mut Tx<'_>, library: u32) -> Result<(), LibraryError> {
    for row in tx.find(&TARGETS, "library = ?1", &[library.into()])? {
        let iqn = name(&row, "iqn")?;
        for initiator in initiators(tx, &iqn)? {
            tx.delete(&INITIATORS, &[key(&iqn), key(&initiator)])?;
        }
        tx.delete(&CHAP, &[key(&iqn)])?;
        tx.delete(&TARGETS, &[key(&iqn)])?;
    }
    Ok(())
}

/// Asks for CHAP at a target from now on.
///
/// # Errors
/// No such target; a failure of the file.
pub fn set_chap(tx: &mut Tx<'_>, iqn: &IscsiName, account: &ChapAccount) -> Result<(), LibraryError> {
    require(tx, iqn)?;
    let login = account.login();
    let mutual = account.mutual();
    tx.delete(&CHAP, &[key(iqn)])?;
    let values = [
        key(iqn),
        login.user().to_owned().into(),
        Value::Blob(login.secret().expose().to_vec()),
        mutual.map(|m| m.user().to_owned()).into(),
        mutual.map(|m| m.secret().expose().to_vec()).into(),
    ];
    Ok(tx.insert(&CHAP, &values)?)
}

/// The account of a target; `None` when it asks for none.
///
/// # Errors
/// A damaged row; a failure of the file. The caller must then refuse logins, not open the door.
pub fn chap(tx: &Tx<'_>, iqn: &IscsiName) -> Result<Option<ChapAccount>, LibraryError> {
    let Some(row) = tx.get(&CHAP, &[key(iqn)])? else { return Ok(None) };
    let damaged = |_| LibraryError::from(row.damaged());
    let login = |user: String, secret: Vec<u8>| ChapLogin::new(&user, Secret::new(secret)).map_err(damaged);
    let mutual = match (row.get("mutual_user")?, row.get("mutual_secret")?) {
        (Some(user), Some(secret)) => Some(login(user, secret)?),
        _ => None,
    };
    let account = ChapAccount::new(login(row.get("user")?, row.get("secret")?)?, mutual);
    Ok(Some(account.map_err(damaged)?))
}

/// Stops asking for CHAP; false when the target did not.
///
/// # Errors
/// No such target; a failure of the file.
pub fn clear_chap(tx: &mut Tx<'_>, iqn: &IscsiName) -> Result<bool, LibraryError> {
    require(tx, iqn)?;
    Ok(tx.delete(&CHAP, &[key(iqn)])?)
}

/// Puts an initiator on the target's list; while the list is empty, any name may log in. Harmless when repeated.
///
/// # Errors
/// No such target; a failure of the file.
pub fn add_initiator(tx: &mut Tx<'_>, iqn: &IscsiName, initiator: &IscsiName) -> Result<(), LibraryError> {
    require(tx, iqn)?;
    let row = [key(iqn), key(initiator)];
    match tx.get(&INITIATORS, &row)? {
        Some(_) => Ok(()),
        None => Ok(tx.insert(&INITIATORS, &row)?),
    }
}

/// Takes an initiator off the list; false when it was not on it. Taking off the last one opens the list: the caller
/// asks first.
///
/// # Errors
/// No such target; a failure of the file.
pub fn remove_initiator(
    tx: &mut Tx<'_>,
    iqn: &IscsiName,
    initiator: &IscsiName,
) -> Result<bool, LibraryError> {
    require(tx, iqn)?;
    Ok(tx.delete(&INITIATORS, &[key(iqn), key(initiator)])?)
}

/// The target's list; empty: any name may log in.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn initiators(tx: &Tx<'_>, iqn: &IscsiName) -> Result<Vec<IscsiName>, LibraryError> {
    let rows = tx.find(&INITIATORS, "iqn = ?1", &[key(iqn)])?;
    rows.iter().map(|row| name(row, "initiator")).collect()
}

fn require(tx: &Tx<'_>, iqn: &IscsiName) -> Result<(), LibraryError> {
    match exists(tx, iqn)? {
        true => Ok(()),
        false => Err(LibraryError::UnknownTarget(iqn.clone())),
    }
}

fn exists(tx: &Tx<'_>, iqn: &IscsiName) -> Result<bool, LibraryError> {
    Ok(tx.get(&TARGETS, &[key(iqn)])?.is_some())
}

fn key(iqn: &IscsiName) -> Value {
    Value::Text(iqn.to_string())
}

fn name(row: &Row, column: &str) -> Result<IscsiName, LibraryError> {
    let text: String = row.get(column)?;
    Ok(text.parse().map_err(|_| row.damaged())?)
}
