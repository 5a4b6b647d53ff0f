//! Who may log in: targets, CHAP accounts, initiator lists. A target without CHAP and without a list is open.

use std::collections::BTreeMap;

use vtl_meta::{Row, Tx, Value};
use vtl_types::{ChapAccount, ChapError, ChapLogin, IscsiName, IscsiNameError, LibraryName, Secret};

use crate::{
    error::LibraryError,
    library::{self, Library},
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

/// How a library's devices are spread over targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The changer on LUN 0 and the drives from LUN 1 on, in one target.
    One,
    /// The changer and each drive in a target of its own, each on LUN 0.
    PerDevice,
}

impl Layout {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::One, Self::PerDevice];

    /// As operators write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::PerDevice => "per-device",
        }
    }

    /// What a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layout| layout.word() == word)
    }
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub iqn: IscsiName,
    /// The library whose devices it shows.
    pub library: LibraryName,
    /// The one drive that it shows; `None`: the changer, with all drives unless these have targets of their own.
    pub drive: Option<u16>,
}

/// The targets of one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryTargets {
    /// The one with the changer. Who may log in is said of this one, and holds for all.
    pub main: IscsiName,
    /// Those of drives that have one of their own: of all drives or of none.
    pub of_drives: BTreeMap<u16, IscsiName>,
}

impl LibraryTargets {
    /// How the devices are spread.
    #[must_use]
    pub fn layout(&self) -> Layout {
        if self.of_drives.is_empty() { Layout::One } else { Layout::PerDevice }
    }
}

/// All targets.
///
/// # Errors
/// A failure of the file.
pub fn targets(tx: &Tx<'_>) -> Result<Vec<Target>, LibraryError> {
    let mut found = Vec::new();
    for row in tx.all(&TARGETS)? {
        let library = library::by_id(tx, row.get("library")?)?.ok_or_else(|| row.damaged())?;
        found.push(Target { iqn: name(&row, "iqn")?, library, drive: row.get("drive")? });
    }
    Ok(found)
}

/// The targets that show a library.
///
/// # Errors
/// It has none; a failure of the file.
pub fn targets_of(tx: &Tx<'_>, library: &LibraryName) -> Result<LibraryTargets, LibraryError> {
    let own: Vec<Target> = targets(tx)?.into_iter().filter(|target| target.library == *library).collect();
    let main = own.iter().find(|target| target.drive.is_none());
    let main = main.ok_or_else(|| LibraryError::UnknownLibrary(library.clone()))?.iqn.clone();
    let of_drives = own.into_iter().filter_map(|target| Some((target.drive?, target.iqn))).collect();
    Ok(LibraryTargets { main, of_drives })
}

pub(crate) fn add_target(
    tx: &mut Tx<'_>,
    iqn: &IscsiName,
    library: u32,
    drive: Option<u16>,
) -> Result<(), LibraryError> {
    if exists(tx, iqn)? {
        return Err(LibraryError::TargetExists(iqn.clone()));
    }
    Ok(tx.insert(&TARGETS, &[key(iqn), library.into(), drive.into()])?)
}

/// Spreads a library's devices as `layout` says: makes the targets that drives lack and removes those that are not wanted.
pub(crate) fn spread(tx: &mut Tx<'_>, library: &Library, layout: Layout) -> Result<(), LibraryError> {
    let now = targets_of(tx, &library.name)?;
    let drives = match layout {
        Layout::One => 0,
        Layout::PerDevice => library.counts().drives,
    };
    for (_, iqn) in now.of_drives.iter().filter(|(drive, _)| **drive >= drives) {
        tx.delete(&TARGETS, &[key(iqn)])?;
    }
    for drive in (0..drives).filter(|drive| !now.of_drives.contains_key(drive)) {
        let text = format!("{}:drive-{drive}", now.main);
        let iqn = text.parse().map_err(|_| LibraryError::TargetNameTooLong(text))?;
        add_target(tx, &iqn, library.id, Some(drive))?;
    }
    Ok(())
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

/// An account as it is kept: secrets as the caller gave them, sealed or not.
#[derive(Clone, Debug)]
pub struct KeptChap {
    /// Whom the target asks for.
    pub user: String,
    /// What that one proves.
    pub secret: Secret,
    /// As whom the target answers, and what it proves.
    pub mutual: Option<(String, Secret)>,
}

impl From<&ChapAccount> for KeptChap {
    fn from(account: &ChapAccount) -> Self {
        let of = |login: &ChapLogin| (login.user().to_owned(), login.secret().clone());
        let (user, secret) = of(account.login());
        Self { user, secret, mutual: account.mutual().map(of) }
    }
}

impl KeptChap {
    /// The account, when its secrets are not sealed.
    ///
    /// # Errors
    /// These are no secrets of CHAP.
    pub fn account(self) -> Result<ChapAccount, ChapError> {
        let Self { user, secret, mutual } = self;
        let mutual = mutual.map(|(user, secret)| ChapLogin::new(&user, secret)).transpose()?;
        ChapAccount::new(ChapLogin::new(&user, secret)?, mutual)
    }
}

/// Asks for CHAP at a target from now on.
///
/// # Errors
/// No such target; a failure of the file.
pub fn set_chap(tx: &mut Tx<'_>, iqn: &IscsiName, kept: &KeptChap) -> Result<(), LibraryError> {
    require(tx, iqn)?;
    let bytes = |secret: &Secret| secret.expose().to_vec();
    tx.delete(&CHAP, &[key(iqn)])?;
    let values = [
        key(iqn),
        kept.user.clone().into(),
        Value::Blob(bytes(&kept.secret)),
        kept.mutual.as_ref().map(|(user, _)| user.clone()).into(),
        kept.mutual.as_ref().map(|(_, secret)| bytes(secret)).into(),
    ];
    Ok(tx.insert(&CHAP, &values)?)
}

/// The account of a target; `None` when it asks for none.
///
/// # Errors
/// A damaged row; a failure of the file. The caller must then refuse logins, not open the door.
pub fn chap(tx: &Tx<'_>, iqn: &IscsiName) -> Result<Option<KeptChap>, LibraryError> {
    tx.get(&CHAP, &[key(iqn)])?.map(|row| kept_chap(&row)).transpose()
}

/// The accounts of all targets.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn all_chap(tx: &Tx<'_>) -> Result<Vec<(IscsiName, KeptChap)>, LibraryError> {
    tx.all(&CHAP)?.iter().map(|row| Ok((name(row, "iqn")?, kept_chap(row)?))).collect()
}

fn kept_chap(row: &Row) -> Result<KeptChap, LibraryError> {
    let secret = |bytes: Vec<u8>| Secret::new(bytes);
    let mutual = match (row.get("mutual_user")?, row.get("mutual_secret")?) {
        (Some(user), Some(bytes)) => Some((user, secret(bytes))),
        _ => None,
    };
    Ok(KeptChap { user: row.get("user")?, secret: secret(row.get("secret")?), mutual })
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
