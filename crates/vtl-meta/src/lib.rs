//! The one SQLite file: connection, pragmas, migrations, row checksums, online copy.
//!
//! Who uses it: every crate whose metadata changes in small transactions hands over a [`Module`] (its tables and
//! migrations) and later gets a [`Tx`]. What a table means is unknown here. The format is in
//! `docs/formats/inventory.md`.
//!
//! States: a file is opened, found whole ([`Meta::open`] refuses everything else, with the remedy), migrated, and
//! then used by one owner at a time. A crash leaves the last committed transaction: the journal is a WAL with
//! `synchronous=FULL`, so a commit that returned survives a power cut.

mod error;
mod file;
pub mod inspect;
mod schema;
mod table;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

pub use error::{MetaError, RowName};
pub use rusqlite::types::Value;
pub use schema::{Migration, Module};
pub use table::{Row, Table, Tx, row_sum};

/// The open inventory file. One owner; others ask it.
#[derive(Debug)]
pub struct Meta {
    connection: Connection,
    path: PathBuf,
    modules: &'static [Module],
}

impl Meta {
    /// Opens the file, or creates it with mode 0600, checks it and brings it to the newest schema.
    ///
    /// # Errors
    /// A file that others can read, that is not ours, that is newer than this program, or that is damaged.
    pub fn open(path: &Path, modules: &'static [Module]) -> Result<Self, MetaError> {
        file::create_or_check_mode(path)?;
        let mut connection = file::connect(path)?;
        schema::claim(&mut connection, path)?;
        Self::checked(connection, path, modules)
    }

    /// Opens a file that holds an inventory, checks it and brings it to the newest schema. Where there is none, none is made.
    ///
    /// # Errors
    /// As [`Meta::open`]; there is no such file, or it holds nothing.
    pub fn open_existing(path: &Path, modules: &'static [Module]) -> Result<Self, MetaError> {
        file::check_mode(path)?;
        let mut connection = file::connect(path)?;
        schema::claim_existing(&mut connection, path)?;
        Self::checked(connection, path, modules)
    }

    /// What [`Meta::open_existing`] would find of the file: a copy in memory, checked and brought to the newest schema. The file is only read, also while
    /// another program uses it.
    ///
    /// # Errors
    /// As [`Meta::open_existing`]; another program has the file locked.
    pub fn open_copy(path: &Path, modules: &'static [Module]) -> Result<Self, MetaError> {
        file::check_mode(path)?;
        Self::checked(file::in_memory(path)?, path, modules)
    }

    fn checked(
        mut connection: Connection,
        path: &Path,
        modules: &'static [Module],
    ) -> Result<Self, MetaError> {
        file::quick_check(&connection, path)?;
        schema::migrate(&mut connection, path, modules)?;
        Ok(Self { connection, path: path.to_path_buf(), modules })
    }

    /// Runs `work` in one transaction: all of it is durable when this returns `Ok`, none of it otherwise.
    ///
    /// # Errors
    /// Whatever `work` returns, or a failed begin or commit.
    pub fn transaction<T, E: From<MetaError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(MetaError::from)?;
        let mut tx = Tx::new(begun);
        let value = work(&mut tx)?;
        tx.commit()?;
        Ok(value)
    }

    /// Runs `work` on one consistent view, without the right to change it.
    ///
    /// # Errors
    /// Whatever `work` returns, or a failed begin.
    pub fn read<T, E: From<MetaError>>(
        &mut self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .map_err(MetaError::from)?;
        work(&Tx::new(begun)) // dropped without commit
    }

    /// Every row of every module's tables whose checksum is wrong.
    ///
    /// # Errors
    /// Only when the file cannot be read at all.
    pub fn damaged_rows(&mut self) -> Result<Vec<RowName>, MetaError> {
        let tables: Vec<_> = self.modules.iter().flat_map(|m| m.tables).collect();
        self.read(|tx| {
            let mut damaged = Vec::new();
            for table in tables {
                damaged.extend(tx.damaged_rows(table)?);
            }
            Ok(damaged)
        })
    }

    /// Reads the whole file again, as at start.
    ///
    /// # Errors
    /// [`MetaError::Damaged`] with what SQLite found.
    pub fn quick_check(&self) -> Result<(), MetaError> {
        file::quick_check(&self.connection, &self.path)
    }

    /// Writes the whole file anew, so that nothing of what was removed or replaced is left in it or in its journal.
    ///
    /// # Errors
    /// There is no room for another copy meanwhile, or somebody else reads the file.
    pub fn sweep(&mut self) -> Result<(), MetaError> {
        file::sweep(&self.connection)
    }

    /// Closes the file, which stands alone then: all of it is in it. Without this a last write that fails is not heard of.
    ///
    /// # Errors
    /// Not all of it is in the file: there is no room for it, or somebody else reads it.
    pub fn close(self) -> Result<(), MetaError> {
        file::checkpoint(&self.connection)?;
        self.connection.close().map_err(|(_, error)| error.into())
    }

    /// Copies the inventory, as one consistent view, to a new file while it is in use. The copy is whole and durable
    /// when this returns; on failure nothing is left under `to`.
    ///
    /// # Errors
    /// `to` exists, or it cannot be written.
    pub fn copy_to(&self, to: &Path) -> Result<(), MetaError> {
        file::copy(&self.connection, to, |_| Ok(()))
    }

    /// The same, with a change that the copy alone has: it is in it before there is anything under `to`.
    ///
    /// # Errors
    /// As [`Meta::copy_to`]; whatever `work` returns.
    pub fn copy_with(
        &self,
        to: &Path,
        work: impl FnOnce(&mut Tx<'_>) -> Result<(), MetaError>,
    ) -> Result<(), MetaError> {
        file::copy(&self.connection, to, |copy| {
            let mut tx = Tx::new(copy.transaction_with_behavior(TransactionBehavior::Immediate)?);
            work(&mut tx)?;
            tx.commit()
        })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
