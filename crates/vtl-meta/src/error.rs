//! What can be wrong with the inventory file, and what the operator does about it.

use std::{fmt, io, path::PathBuf};

/// One row, named so that an operator can find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    /// The table.
    pub table: &'static str,
    /// The key columns and what they hold.
    pub key: String,
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.table, self.key)
    }
}

/// A failure of the inventory file.
#[derive(Debug)]
pub enum MetaError {
    /// Others than the owner may read or write the file.
    LooseMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file of this name exists but another program made it.
    NotOurs {
        /// The file.
        path: PathBuf,
        /// Its `application_id`.
        application_id: i64,
    },
    /// A file that must hold an inventory holds nothing.
    Empty(PathBuf),
    /// A newer program has written the file.
    Newer {
        /// The file.
        path: PathBuf,
        /// Which part of the schema.
        module: String,
        /// The version in the file.
        found: u32,
        /// The newest version that this program knows; 0 when it does not know the module.
        known: u32,
    },
    /// A migration was changed after it had been applied: a fault of this program.
    MigrationChanged {
        /// The module.
        module: &'static str,
        /// The migration.
        number: u32,
    },
    /// A migration could not be applied; nothing of it is in the file.
    MigrationFailed {
        /// The module.
        module: &'static str,
        /// The migration.
        number: u32,
        /// Why.
        source: rusqlite::Error,
    },
    /// SQLite found the file's structure damaged.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What `PRAGMA quick_check` said.
        findings: Vec<String>,
    },
    /// A row does not have the content that was written.
    DamagedRow(RowName),
    /// A row that must be there is not, or one that must not be is: a fault of this program.
    Absent(RowName),
    /// A copy was asked onto a file that exists.
    Exists(PathBuf),
    /// A file operation failed.
    Io {
        /// What was done, such as "create".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite refused or failed.
    Sqlite(rusqlite::Error),
}

const REBUILD: &str = "stop vtld, move inventory.db* of the state folder away and start it, which makes the inventory again from the store; \
                       if there is a copy, then vtl system restore FILE and restart vtld (docs/disaster.md)";

/// It may be the program that is wrong and not the file: nobody is sent to give the inventory up for that.
const REPORT: &str = "run the version that was used before, and report what its log says; if that one takes the inventory no more, and there is a copy: \
                      stop vtld and put the copy in its place (docs/disaster.md)";

/// The newer program would bring a copy that it puts back to its own version.
const GO_BACK: &str = "start that newer version; or, with a copy made before the upgrade: stop vtld, move inventory.* of the state folder away, \
                       put the copy there as inventory.restore, and start this version (docs/operations.md)";

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LooseMode { path, mode } => {
                write!(f, "inventory {} has mode {mode:04o}, but it holds secrets", path.display())
            }
            Self::NotOurs { path, application_id } => {
                write!(f, "{} is no vtl inventory (application id {application_id:#x})", path.display())
            }
            Self::Empty(path) => write!(f, "{} holds no inventory", path.display()),
            Self::Newer { path, module, found, known } => write!(
                f,
                "inventory {} was written by a newer vtl \
                 (schema '{module}' is at {found}, this program knows {known})",
                path.display()
            ),
            Self::MigrationChanged { module, number } => write!(
                f,
                "migration {number} of '{module}' is not the one this inventory was made with: \
                 this is a fault of the program"
            ),
            Self::MigrationFailed { module, number, source } => {
                write!(f, "migration {number} of '{module}' failed, the inventory is as it was: {source}")
            }
            Self::Damaged { path, findings } => {
                write!(f, "inventory {} is damaged ({})", path.display(), findings.join("; "))
            }
            Self::DamagedRow(row) => write!(f, "inventory row {row} is damaged, its checksum is wrong"),
            Self::Absent(row) => {
                write!(f, "inventory row {row} is not there: this is a fault of the program")
            }
            Self::Exists(path) => write!(f, "{} exists and is not overwritten", path.display()),
            Self::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Self::Sqlite(source) if crate::file::not_a_database(source) => {
                write!(f, "the inventory is damaged ({source})")
            }
            Self::Sqlite(source) => write!(f, "inventory: {source}"),
        }
    }
}

impl MetaError {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        let remedy = match self {
            Self::LooseMode { path, .. } => return format!("chmod 600 {}", path.display()),
            Self::NotOurs { .. } => "move it away, or use another state folder",
            Self::Empty(_) => "name what vtl system backup has written",
            Self::Newer { .. } => GO_BACK,
            Self::MigrationChanged { .. } => "run the version that was used before, and report it",
            Self::Damaged { .. } | Self::DamagedRow(_) => REBUILD,
            Self::Sqlite(source) if crate::file::not_a_database(source) => REBUILD,
            _ if self.is_of_content() => REPORT,
            _ if self.is_disk_full() => "free space on the disk of the state folder",
            _ if !self.is_permanent() => "end the other program that has the inventory open, and do it again",
            Self::Absent(_) => "restart vtld, and report what its log says",
            Self::Exists(_) => "choose another name",
            Self::Io { .. } | Self::Sqlite(_) | Self::MigrationFailed { .. } => {
                "see the log, and check the disk of the state folder"
            }
        };
        remedy.to_owned()
    }

    /// Both in one text, for a log or a start that fails.
    #[must_use]
    pub fn advised(&self) -> String {
        format!("{self}: {}", self.remedy())
    }
}

impl std::error::Error for MetaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::MigrationFailed { source, .. } | Self::Sqlite(source) => Some(source),
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for MetaError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl MetaError {
    /// True when trying the same again cannot help: damage, versions, faults of the program. A full disk or a busy
    /// file may pass.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Sqlite(source) | Self::MigrationFailed { source, .. } => !matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::DatabaseBusy)
            ),
            _ => true,
        }
    }

    /// True when SQLite fails for what is in the file, such as a table that is not there; not for the disk, or for another that has it open.
    #[must_use]
    pub fn is_of_content(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OutOfMemory,
            PermissionDenied, ReadOnly, SystemIoFailure,
        };
        match self {
            Self::Sqlite(source) | Self::MigrationFailed { source, .. } => !matches!(
                source.sqlite_error_code(),
                Some(
                    CannotOpen
                        | DatabaseBusy
                        | DatabaseLocked
                        | DiskFull
                        | FileLockingProtocolFailed
                        | OutOfMemory
                        | PermissionDenied
                        | ReadOnly
                        | SystemIoFailure
                )
            ),
            _ => false,
        }
    }

    /// True when the disk that holds the inventory is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Sqlite(source) | Self::MigrationFailed { source, .. }
            if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull))
    }
}
