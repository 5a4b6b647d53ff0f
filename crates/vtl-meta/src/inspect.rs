//! Every row of an inventory file as text, for tools: nothing is changed, migrated or judged beyond each row's checksum.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, types::Value};

use crate::error::MetaError;
use crate::table::{SUM_COLUMN, sum_of};

/// Columns that are never shown.
const SECRET: [&str; 2] = ["secret", "mutual_secret"];

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRow {
    /// Its table.
    pub table: String,
    /// Its columns by name.
    pub columns: Vec<(String, String)>,
    /// Its checksum does not match. Tables of the container have none.
    pub is_damaged: bool,
}

/// Tells every row of every table.
///
/// # Errors
/// What SQLite says of a file that it cannot read.
pub fn rows(path: &Path, each: &mut dyn FnMut(ShownRow)) -> Result<(), MetaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mut names =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    names.iter().try_for_each(|table| table_rows(&connection, table, each))
}

/// The newest migration that was applied, by module.
///
/// # Errors
/// What SQLite says of a file that it cannot read.
pub fn migrations(path: &Path) -> Result<Vec<(String, u32)>, MetaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mut statement = connection
        .prepare("SELECT module, max(number) FROM schema_migrations GROUP BY module ORDER BY module")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether a table has a secret of so many bytes. A file that has no such table yet has none.
///
/// # Errors
/// What SQLite says of a file that it cannot read.
pub fn has_secret_of(path: &Path, table: &str, bytes: usize) -> Result<bool, MetaError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let mut tables = connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    if !tables.exists([table])? {
        return Ok(false);
    }
    let (quoted, [one, other]) = (table.replace('"', "\"\""), SECRET);
    let mut secrets = connection
        .prepare(&format!("SELECT 1 FROM \"{quoted}\" WHERE length({one}) = ?1 OR length({other}) = ?1"))?;
    Ok(secrets.exists([i64::try_from(bytes).unwrap_or(i64::MAX)])?)
}

fn table_rows(connection: &Connection, table: &str, each: &mut dyn FnMut(ShownRow)) -> Result<(), MetaError> {
    let quoted = table.replace('"', "\"\"");
    let mut query = connection.prepare(&format!("SELECT * FROM \"{quoted}\""))?;
    let columns: Vec<String> = query.column_names().map(str::to_owned).collect();
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(columns.len());
        for at in 0..columns.len() {
            values.push(row.get::<_, Value>(at)?);
        }
        let sum = columns.iter().position(|name| name == SUM_COLUMN).map(|at| values.remove(at));
        let right = |sum: Value| sum == Value::Blob(sum_of(table, &values).to_vec());
        let is_damaged = sum.is_some_and(|sum| !right(sum));
        let named = columns.iter().filter(|name| *name != SUM_COLUMN).zip(&values);
        let columns = named.map(|(name, value)| (name.clone(), shown(name, value))).collect();
        each(ShownRow { table: table.to_owned(), columns, is_damaged });
    }
    Ok(())
}

fn shown(column: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        _ if SECRET.contains(&column) => "(not shown)".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
