//! Remotes as rows of the inventory (`docs/formats/inventory.md`).

use vtl_meta::{MetaError, Migration, Module, Table, Tx, Value};

use super::RemoteRefused;
use super::definition::{Definition, Rows};
use crate::given_name::GivenName;

/// What is kept.
pub const MODULE: Module = Module {
    name: "remotes",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }, Migration { number: 2, sql: MIGRATION_2 }],
    tables: &[&REMOTES, &SETTINGS, &PLACES],
};

static REMOTES: Table = Table { name: "remotes", columns: &["name", "type", "created_s"], key_len: 1 };

static SETTINGS: Table =
    Table { name: "remote_settings", columns: &["remote", "number", "key", "value"], key_len: 2 };

static PLACES: Table = Table { name: "remote_places", columns: &["name", "place"], key_len: 1 };

const MIGRATION_1: &str = "
    CREATE TABLE remotes (
        name TEXT PRIMARY KEY NOT NULL,
        type TEXT NOT NULL,
        created_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE remote_settings (
        remote TEXT NOT NULL REFERENCES remotes (name) ON DELETE CASCADE,
        number INTEGER NOT NULL CHECK (number >= 0),
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (remote, number)
    ) STRICT, WITHOUT ROWID;
";

const MIGRATION_2: &str = "
    CREATE TABLE remote_places (
        name TEXT PRIMARY KEY NOT NULL,
        place TEXT NOT NULL,
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// A remote of the inventory.
#[derive(Clone, Debug)]
pub struct Row {
    pub(super) name: GivenName,
    pub(super) created_s: u64,
    pub(super) definition: Definition,
}

pub(super) fn insert(
    tx: &mut Tx<'_>,
    name: &GivenName,
    definition: &Definition,
    created_s: u64,
) -> Result<(), RemoteRefused> {
    if tx.get(&REMOTES, &[text(name.as_str())])?.is_some() {
        return Err(RemoteRefused::Exists(name.clone()));
    }
    let created = i64::try_from(created_s).unwrap_or(i64::MAX);
    tx.insert(&REMOTES, &[text(name.as_str()), text(definition.kind()), Value::Integer(created)])?;
    for (number, (key, value)) in (0_i64..).zip(definition.rows()) {
        tx.insert(&SETTINGS, &[text(name.as_str()), Value::Integer(number), text(&key), text(&value)])?;
    }
    Ok(())
}

pub(super) fn delete(tx: &mut Tx<'_>, name: &GivenName) -> Result<(), MetaError> {
    tx.delete(&REMOTES, &[text(name.as_str())]).map(drop)
}

/// Where the remote was that had this name last, if that was noted when it was forgotten.
pub(super) fn former_place(tx: &Tx<'_>, name: &GivenName) -> Result<Option<String>, MetaError> {
    tx.get(&PLACES, &[text(name.as_str())])?.map(|row| row.get("place")).transpose()
}

/// Notes it; or, when the name is in use again, that its definition says it.
pub(super) fn set_former_place(
    tx: &mut Tx<'_>,
    name: &GivenName,
    place: Option<&str>,
) -> Result<(), MetaError> {
    tx.delete(&PLACES, &[text(name.as_str())])?;
    match place {
        Some(place) => tx.insert(&PLACES, &[text(name.as_str()), text(place)]),
        None => Ok(()),
    }
}

pub(super) fn get(tx: &Tx<'_>, name: &GivenName) -> Result<Option<Row>, RemoteRefused> {
    let found = tx.get(&REMOTES, &[text(name.as_str())])?;
    found.map(|row| read(tx, &row)).transpose()
}

pub(super) fn all(tx: &Tx<'_>) -> Result<Vec<Row>, RemoteRefused> {
    tx.all(&REMOTES)?.iter().map(|row| read(tx, row)).collect()
}

fn read(tx: &Tx<'_>, row: &vtl_meta::Row) -> Result<Row, RemoteRefused> {
    let name: String = row.get("name")?;
    let kind: String = row.get("type")?;
    let created: i64 = row.get("created_s")?;
    let rows = tx.find(&SETTINGS, "remote = ?1", &[text(&name)])?;
    let settings: Rows =
        rows.iter().map(|row| Ok((row.get("key")?, row.get("value")?))).collect::<Result<_, MetaError>>()?;
    Ok(Row {
        name: name.parse().map_err(|_| row.damaged())?,
        created_s: u64::try_from(created).map_err(|_| row.damaged())?,
        definition: Definition::read(&kind, settings)?,
    })
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
