//! What policies keep over a restart. `docs/formats/inventory.md` describes the tables.

use std::collections::BTreeSet;

use vtl_meta::{MetaError, Migration, Module, Row, Table, Tx, Value};
use vtl_migrate::Clean;
use vtl_types::{CartridgeId, LibraryName};

/// The daemon's policies.
pub(crate) const MODULE: Module = Module {
    name: "policies",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }],
    tables: &[&RETURNS, &IDLE, &SCHEDULES],
};

static RETURNS: Table =
    Table { name: "clean_returns", columns: &["cartridge", "remote", "folder", "generation"], key_len: 1 };

static IDLE: Table = Table {
    name: "policy_idle",
    columns: &["cartridge", "generation", "load_count", "since_count_s"],
    key_len: 1,
};

static SCHEDULES: Table =
    Table { name: "policy_schedules", columns: &["library", "schedule", "over_s"], key_len: 2 };

const MIGRATION_1: &str = "
    CREATE TABLE clean_returns (
        cartridge BLOB PRIMARY KEY NOT NULL CHECK (length(cartridge) = 16),
        remote TEXT NOT NULL,
        folder TEXT NOT NULL,
        generation INTEGER NOT NULL CHECK (generation >= 0),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE policy_idle (
        cartridge BLOB PRIMARY KEY NOT NULL CHECK (length(cartridge) = 16),
        generation INTEGER NOT NULL CHECK (generation >= 0),
        load_count INTEGER NOT NULL CHECK (load_count >= 0),
        since_count_s INTEGER NOT NULL CHECK (since_count_s >= 0),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE policy_schedules (
        library TEXT NOT NULL,
        schedule TEXT NOT NULL,
        over_s INTEGER NOT NULL CHECK (over_s >= 0),
        row_sum BLOB NOT NULL,
        PRIMARY KEY (library, schedule)
    ) STRICT, WITHOUT ROWID;
";

/// A cartridge outside a drive as it was first seen so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    pub(super) generation: u64,
    pub(super) load_count: u64,
    /// By the count of seconds that nobody can set.
    pub(super) since_count_s: u64,
}

/// Since when a cartridge is as it is.
pub(super) fn idle(tx: &Tx<'_>, cartridge: CartridgeId) -> Result<Option<Idle>, MetaError> {
    let Some(row) = tx.get(&IDLE, &[id(cartridge)])? else { return Ok(None) };
    Ok(Some(Idle {
        generation: number(&row, "generation")?,
        load_count: number(&row, "load_count")?,
        since_count_s: number(&row, "since_count_s")?,
    }))
}

/// Cartridges of which that is known.
pub(super) fn idle_ones(tx: &Tx<'_>) -> Result<Vec<CartridgeId>, MetaError> {
    tx.all(&IDLE)?.iter().map(|row| Ok(CartridgeId(row.get("cartridge")?))).collect()
}

/// It is idle since then, or not any more.
pub(super) fn set_idle(
    tx: &mut Tx<'_>,
    cartridge: CartridgeId,
    idle: Option<&Idle>,
) -> Result<(), MetaError> {
    tx.delete(&IDLE, &[id(cartridge)])?;
    let Some(idle) = idle else { return Ok(()) };
    let values = [id(cartridge), int(idle.generation), int(idle.load_count), int(idle.since_count_s)];
    tx.insert(&IDLE, &values)
}

/// Up to when the times of a schedule are over, in seconds since 1970; none when it is new.
pub(super) fn schedule(tx: &Tx<'_>, library: &LibraryName, schedule: &str) -> Result<Option<u64>, MetaError> {
    let row = tx.get(&SCHEDULES, &[Value::Text(library.to_string()), Value::Text(schedule.to_owned())])?;
    row.map(|row| number(&row, "over_s")).transpose()
}

/// They are over up to then.
pub(super) fn set_schedule(
    tx: &mut Tx<'_>,
    library: &LibraryName,
    schedule: &str,
    over_s: u64,
) -> Result<(), MetaError> {
    let [library, schedule] = [Value::Text(library.to_string()), Value::Text(schedule.to_owned())];
    tx.delete(&SCHEDULES, &[library.clone(), schedule.clone()])?;
    tx.insert(&SCHEDULES, &[library, schedule, int(over_s)])
}

/// Schedules of libraries, by name and text.
pub(super) type Schedules = BTreeSet<(String, String)>;

/// Whether something is known of schedules that are none of these.
pub(super) fn has_other_schedules(tx: &Tx<'_>, these: &Schedules) -> Result<bool, MetaError> {
    Ok(schedules(tx)?.iter().any(|one| !these.contains(one)))
}

/// Forgets what is known of all others.
pub(super) fn keep_schedules(tx: &mut Tx<'_>, these: &Schedules) -> Result<(), MetaError> {
    for (library, schedule) in schedules(tx)?.into_iter().filter(|one| !these.contains(one)) {
        tx.delete(&SCHEDULES, &[Value::Text(library), Value::Text(schedule)])?;
    }
    Ok(())
}

fn schedules(tx: &Tx<'_>) -> Result<Vec<(String, String)>, MetaError> {
    tx.all(&SCHEDULES)?.iter().map(|row| Ok((row.get("library")?, row.get("schedule")?))).collect()
}

fn int(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn number(row: &Row, column: &str) -> Result<u64, MetaError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged())
}

/// A clean cartridge is to go when it is proved that its copy is there. Said again it is the same.
pub(crate) fn let_go(tx: &mut Tx<'_>, cartridge: CartridgeId, clean: &Clean) -> Result<(), MetaError> {
    forget_return(tx, cartridge)?;
    let values = [
        id(cartridge),
        Value::Text(clean.remote.clone()),
        Value::Text(clean.folder.clone()),
        int(clean.generation),
    ];
    tx.insert(&RETURNS, &values)
}

/// Those that are to go.
pub(crate) fn returns(tx: &Tx<'_>) -> Result<Vec<(CartridgeId, Clean)>, MetaError> {
    tx.all(&RETURNS)?.iter().map(read_return).collect()
}

/// Whether it is to go.
pub(crate) fn is_to_go(tx: &Tx<'_>, cartridge: CartridgeId) -> Result<bool, MetaError> {
    Ok(tx.get(&RETURNS, &[id(cartridge)])?.is_some())
}

/// It is gone, or stays.
pub(crate) fn forget_return(tx: &mut Tx<'_>, cartridge: CartridgeId) -> Result<(), MetaError> {
    tx.delete(&RETURNS, &[id(cartridge)]).map(drop)
}

fn read_return(row: &Row) -> Result<(CartridgeId, Clean), MetaError> {
    let clean = Clean {
        remote: row.get("remote")?,
        folder: row.get("folder")?,
        generation: number(row, "generation")?,
    };
    Ok((CartridgeId(row.get("cartridge")?), clean))
}

fn id(cartridge: CartridgeId) -> Value {
    Value::Blob(cartridge.0.to_vec())
}
