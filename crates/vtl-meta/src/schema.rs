//! Whose file it is, and how its schema grows: numbered migrations of each module, applied once, in order.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::{error::MetaError, file, table::Table};

/// `vtlm`, so that `file` and we can tell whose database it is.
const APPLICATION_ID: i64 = 0x7674_6c6d;
/// Version of the container: the migrations table and the row checksum.
const CONTAINER_VERSION: i64 = 0;

const MIGRATIONS_TABLE: &str = "
    CREATE TABLE schema_migrations (
        module TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (module, number)
    ) STRICT, WITHOUT ROWID";

/// What one owner keeps in the file.
#[derive(Debug)]
pub struct Module {
    /// The owner's name, for ever.
    pub name: &'static str,
    /// In order, numbered from 1 without gaps; never changed after a release.
    pub migrations: &'static [Migration],
    /// The tables as they are after the last migration.
    pub tables: &'static [&'static Table],
}

/// One step of a module's schema.
#[derive(Debug)]
pub struct Migration {
    /// Counts from 1.
    pub number: u32,
    /// The statements. Rows that they change lose their checksums' truth: a migration that does must come with
    /// code that writes those rows again through [`crate::Tx`].
    pub sql: &'static str,
}

/// Application id and number of tables of a file that nobody has written to.
const BLANK: (i64, i64) = (0, 0);

/// A fresh file becomes ours; a file that is another's, or of a newer container, is refused untouched.
pub(crate) fn claim(connection: &mut Connection, path: &Path) -> Result<(), MetaError> {
    match whose(connection, path)? {
        BLANK => {
            file::set_journal(connection)?;
            mark_as_ours(connection)
        }
        (APPLICATION_ID, _) => {
            let found = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
            refuse_newer_container(found, path)?;
            file::set_journal(connection)
        }
        (application_id, _) => Err(MetaError::NotOurs { path: path.to_path_buf(), application_id }),
    }
}

/// The same for a file that must be ours already: one that holds nothing is refused, and stays so.
pub(crate) fn claim_existing(connection: &mut Connection, path: &Path) -> Result<(), MetaError> {
    let empty = || MetaError::Empty(path.to_path_buf());
    if whose(connection, path)? == BLANK {
        return Err(empty());
    }
    claim(connection, path)?;
    // Made by a start that went no further.
    let applied: i64 = connection.query_row("SELECT count(*) FROM schema_migrations", [], |r| r.get(0))?;
    if applied == 0 { Err(empty()) } else { Ok(()) }
}

/// Application id and number of tables.
fn whose(connection: &Connection, path: &Path) -> Result<(i64, i64), MetaError> {
    let unreadable = |error: rusqlite::Error| match file::not_a_database(&error) {
        true => MetaError::Damaged { path: path.to_path_buf(), findings: vec![error.to_string()] },
        false => error.into(),
    };
    let objects =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0)).map_err(unreadable)?;
    let application_id = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    Ok((application_id, objects))
}

fn mark_as_ours(connection: &mut Connection) -> Result<(), MetaError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", CONTAINER_VERSION)?;
    tx.execute_batch(MIGRATIONS_TABLE)?;
    Ok(tx.commit()?)
}

fn refuse_newer_container(found: i64, path: &Path) -> Result<(), MetaError> {
    if found == CONTAINER_VERSION {
        return Ok(());
    }
    Err(MetaError::Newer {
        path: path.to_path_buf(),
        module: "container".to_owned(),
        found: u32::try_from(found).unwrap_or(u32::MAX),
        known: u32::try_from(CONTAINER_VERSION).unwrap_or(0),
    })
}

/// Applies what is missing, each migration in its own transaction.
pub(crate) fn migrate(
    connection: &mut Connection,
    path: &Path,
    modules: &'static [Module],
) -> Result<(), MetaError> {
    refuse_newer_modules(connection, path, modules)?;
    for module in modules {
        for migration in module.migrations {
            apply_once(connection, module.name, migration)?;
        }
    }
    Ok(())
}

fn refuse_newer_modules(
    connection: &Connection,
    path: &Path,
    modules: &'static [Module],
) -> Result<(), MetaError> {
    let mut statement =
        connection.prepare("SELECT module, max(number) FROM schema_migrations GROUP BY module")?;
    let applied = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?)))?;
    for row in applied {
        let (module, found) = row?;
        let known = modules.iter().find(|m| m.name == module).map_or(0, newest);
        if found > known {
            return Err(MetaError::Newer { path: path.to_path_buf(), module, found, known });
        }
    }
    Ok(())
}

fn newest(module: &Module) -> u32 {
    module.migrations.iter().map(|m| m.number).max().unwrap_or(0)
}

fn apply_once(
    connection: &mut Connection,
    module: &'static str,
    migration: &Migration,
) -> Result<(), MetaError> {
    let number = migration.number;
    let digest = blake3::hash(migration.sql.as_bytes());
    let applied: Option<Vec<u8>> = connection
        .query_row(
            "SELECT digest FROM schema_migrations WHERE module = ?1 AND number = ?2",
            params![module, number],
            |row| row.get(0),
        )
        .optional()?;
    match applied {
        Some(found) if found == digest.as_bytes() => Ok(()),
        Some(_) => Err(MetaError::MigrationChanged { module, number }),
        None => apply(connection, module, migration, &digest).map_err(|source| MetaError::MigrationFailed {
            module,
            number,
            source,
        }),
    }
}

fn apply(
    connection: &mut Connection,
    module: &'static str,
    migration: &Migration,
    digest: &blake3::Hash,
) -> Result<(), rusqlite::Error> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.execute_batch(migration.sql)?;
    tx.execute(
        "INSERT INTO schema_migrations (module, number, digest) VALUES (?1, ?2, ?3)",
        params![module, migration.number, digest.as_bytes()],
    )?;
    tx.commit()
}
