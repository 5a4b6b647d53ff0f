//! Remotes by name: defined by operators, kept in the inventory, opened for jobs. What a remote is stands in `docs/remotes.md`.
//!
//! Drivers are async and belong to the daemon's runtime. A thread of its own, such as a job's, waits for a call with [`Remotes::wait`]; a
//! request of the API runs beside the runtime and may do the same. A task of the runtime must not: it would wait for itself.

mod clouds;
mod definition;
mod flags;
mod places;
mod rehearsal;
mod requests;
mod rows;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tokio::runtime::Handle;
use vtl_jobs::JobError;
use vtl_library::LibraryError;
use vtl_meta::{MetaError, Tx};
use vtl_migrate::Noted;
use vtl_remote::{
    AzureConfig, DEFAULT_RETRY_EXIT_CODES, FaultyRemote, FolderRemote, GcsConfig, RcloneConfig, RcloneRemote,
    Remote, S3Config, WebDavConfig,
};

use crate::given_name::{BadName, GivenName};
use crate::meta::SharedMeta;
use crate::metrics::RemoteMeters;
use crate::pools::Pools;
use crate::used::NotTold;
use definition::{Bucket, Definition, refuse};
use rehearsal::Plans;
pub(crate) use requests::refused;
pub use rows::MODULE;
use rows::Row;

/// The program, looked for in `PATH`.
const RCLONE: &str = "rclone";
/// Files in the spool begin so.
const SPOOLED: &str = "rclone-";

/// The remotes of this installation.
#[derive(Debug)]
pub struct Remotes {
    meta: SharedMeta,
    spool: PathBuf,
    /// With its own folders: none of them may lie in a remote, nor the other way.
    state: PathBuf,
    pools: Arc<Pools>,
    runtime: OnceLock<Handle>,
    /// Exit codes of rclone after which it is tried again.
    retry_on: RwLock<Vec<u8>>,
    /// Flags of rclone that the configuration allows beside the harmless ones.
    allowed_flags: RwLock<Vec<String>>,
    /// Files with secrets of the configuration.
    secrets: RwLock<Vec<PathBuf>>,
    plans: Plans,
    meters: RemoteMeters,
}

/// Why a remote is not defined, opened or removed.
#[derive(Debug)]
pub enum RemoteRefused {
    /// The text names none.
    Name(BadName),
    /// There is none of this name.
    Unknown(GivenName),
    /// There is one of this name.
    Exists(GivenName),
    /// A setting is wrong.
    Setting {
        /// Which.
        key: String,
        /// What it is.
        value: String,
        /// What is wrong.
        why: String,
        /// What would be right.
        remedy: String,
    },
    /// It lies in a folder of ours, or the other way round.
    Own {
        /// Where it would be.
        path: PathBuf,
        /// Our folder.
        own: PathBuf,
    },
    /// Something uses it.
    InUse {
        /// The remote.
        name: GivenName,
        /// Who.
        by: Vec<String>,
    },
    /// What is kept under its name was made elsewhere, as far as is noted, and nobody has said what becomes of it.
    MadeElsewhere {
        /// The name.
        name: GivenName,
        /// How much it is.
        noted: Noted,
        /// Where that was.
        at: Option<String>,
        /// Where the new one would be.
        place: String,
    },
    /// The driver refuses the settings.
    Driver(vtl_remote::Error),
    /// The daemon is not that far yet.
    NoRuntime,
    /// A folder of ours.
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The inventory.
    Library(LibraryError),
    /// The jobs of the inventory.
    Jobs(JobError),
}

impl fmt::Display for RemoteRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(bad) => bad.fmt(f),
            Self::Unknown(name) => write!(f, "there is no remote '{name}'"),
            Self::Exists(name) => write!(f, "there is a remote '{name}' already"),
            Self::Setting { key, value, why, .. } if value.is_empty() => write!(f, "{key}: {why}"),
            Self::Setting { key, value, why, .. } => write!(f, "{key} '{}': {why}", value.escape_debug()),
            Self::Own { path, own } => write!(
                f,
                "{} and {}, which is a folder of this server's own, lie one in the other: exported tapes would be lost together with the originals",
                path.display(),
                own.display()
            ),
            Self::InUse { name, by } => write!(f, "remote '{name}' is in use: {}", by.join(", ")),
            Self::MadeElsewhere { name, noted, at: Some(at), place } => write!(
                f,
                "{noted} are known under the name '{name}': they were made at {at}, and this remote would be at {place}"
            ),
            Self::MadeElsewhere { name, noted, at: None, place } => write!(
                f,
                "{noted} are known under the name '{name}': it is not noted where they were made, and this remote would be at {place}"
            ),
            Self::Driver(error) => error.fmt(f),
            Self::NoRuntime => f.write_str("remotes cannot be reached before the server has started"),
            Self::Io { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Library(error) => error.fmt(f),
            Self::Jobs(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemoteRefused {}

impl From<MetaError> for RemoteRefused {
    fn from(error: MetaError) -> Self {
        Self::Library(error.into())
    }
}

impl From<LibraryError> for RemoteRefused {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<NotTold> for RemoteRefused {
    fn from(error: NotTold) -> Self {
        match error {
            NotTold::Library(error) => Self::Library(error),
            NotTold::Jobs(error) => Self::Jobs(error),
        }
    }
}

impl From<JobError> for RemoteRefused {
    fn from(error: JobError) -> Self {
        Self::Jobs(error)
    }
}

impl From<vtl_remote::Error> for RemoteRefused {
    fn from(error: vtl_remote::Error) -> Self {
        Self::Driver(error)
    }
}

impl Remotes {
    /// Those of the inventory. `state`: the state folder, in which the spool is; what an earlier run left there is removed. `pools`: whose folders are no places for remotes.
    ///
    /// # Errors
    /// The spool cannot be made.
    pub(crate) fn new(meta: SharedMeta, state: &Path, pools: Arc<Pools>) -> Result<Self, RemoteRefused> {
        let spool = state.join("spool");
        clean(&spool).map_err(|why| RemoteRefused::Io { path: spool.clone(), why: why.to_string() })?;
        Ok(Self {
            meta,
            spool,
            state: state.to_owned(),
            pools,
            runtime: OnceLock::new(),
            retry_on: RwLock::new(DEFAULT_RETRY_EXIT_CODES.to_vec()),
            allowed_flags: RwLock::default(),
            secrets: RwLock::default(),
            plans: Plans::default(),
            meters: RemoteMeters::default(),
        })
    }

    /// Remotes that are opened from now on try again after these exit codes of rclone.
    pub fn retry_on(&self, codes: &[u8]) {
        *self.retry_on.write().unwrap_or_else(PoisonError::into_inner) = codes.to_vec();
    }

    /// Remotes that are defined or opened from now on may have these flags of rclone, too.
    pub fn allow_flags(&self, names: &[String]) {
        *self.allowed_flags.write().unwrap_or_else(PoisonError::into_inner) = names.to_vec();
    }

    /// Remotes that are defined or opened from now on send none of these files anywhere.
    pub fn keep_here(&self, secrets: &[PathBuf]) {
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets.to_vec();
    }

    /// Files with secrets of the configuration, and those with keys of pools.
    fn secrets(&self) -> Result<Vec<PathBuf>, RemoteRefused> {
        let pools = self.read(|tx| Ok(crate::pools::rows::all(tx)?))?;
        let keys = pools.into_iter().flat_map(|pool| [pool.key, pool.next_key]).flatten();
        let configured = self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(configured.into_iter().chain(keys.map(|key| PathBuf::from(key.file))).collect())
    }

    /// Whether there is a remote of this name, usable or not.
    ///
    /// # Errors
    /// There is none.
    pub fn is_known(&self, name: &str) -> Result<(), RemoteRefused> {
        self.row(&given(name)?).map(drop)
    }

    /// From now on calls can be waited for. Said once, when the runtime is there.
    pub fn use_runtime(&self, runtime: Handle) {
        drop(self.runtime.set(runtime));
    }

    /// Waits for a call of a remote, on a thread that is none of the runtime's own.
    ///
    /// # Errors
    /// [`RemoteRefused::NoRuntime`].
    pub fn wait<T>(&self, call: impl Future<Output = T>) -> Result<T, RemoteRefused> {
        Ok(self.runtime()?.block_on(call))
    }

    /// The runtime that drivers need.
    ///
    /// # Errors
    /// [`RemoteRefused::NoRuntime`].
    pub fn runtime(&self) -> Result<&Handle, RemoteRefused> {
        self.runtime.get().ok_or(RemoteRefused::NoRuntime)
    }

    /// The remote of this name, with its settings checked and its credentials read; nothing is sent.
    ///
    /// # Errors
    /// There is none; its settings or credentials are wrong now.
    pub fn open(&self, name: &str) -> Result<Arc<dyn Remote>, RemoteRefused> {
        let row = self.row(&given(name)?)?;
        let opened = self.connect(&row.name, &row.definition);
        if let Err(RemoteRefused::Driver(error)) = &opened {
            self.meters.not_opened(&row.name.to_string(), error);
        }
        Ok(self.meters.metered(opened?))
    }

    /// What calls of remotes have counted.
    pub fn meters(&self) -> &RemoteMeters {
        &self.meters
    }

    fn connect(&self, name: &GivenName, definition: &Definition) -> Result<Arc<dyn Remote>, RemoteRefused> {
        let name = name.to_string();
        let definition = definition.with_files(&self.state, &self.secrets()?)?;
        Ok(match &definition {
            Definition::Folder { path } => {
                self.refuse_own(path)?;
                Arc::new(FolderRemote::open(&name, path)?)
            }
            Definition::S3(bucket) => Arc::new(s3_config(name, bucket).open()?),
            Definition::Rclone { remote, flags } => Arc::new(self.rclone(name, remote, flags)?),
            Definition::Azure(config) => Arc::new(AzureConfig { name, ..config.clone() }.open()?),
            Definition::Gcs(config) => Arc::new(GcsConfig { name, ..config.clone() }.open()?),
            Definition::WebDav(config) => Arc::new(WebDavConfig { name, ..config.clone() }.open()?),
            Definition::Faulty(rehearsal) => {
                let over = self.row(&given(&rehearsal.over)?)?;
                if let Definition::Faulty(_) = over.definition {
                    let why = "it has faults itself";
                    return Err(refuse("over", &rehearsal.over, why, "name one that works"));
                }
                let plan = self.plans.of(&name, rehearsal)?;
                Arc::new(FaultyRemote::rehearsing(&name, self.connect(&over.name, &over.definition)?, plan))
            }
        })
    }

    fn rclone(&self, name: String, remote: &str, flags: &[String]) -> Result<RcloneRemote, RemoteRefused> {
        flags::check(flags, &self.allowed_flags.read().unwrap_or_else(PoisonError::into_inner))?;
        Ok(RcloneRemote::open(RcloneConfig {
            name,
            program: PathBuf::from(RCLONE),
            remote: remote.to_owned(),
            flags: flags.to_vec(),
            spool: self.spool.clone(),
            retry_exit_codes: self.retry_on.read().unwrap_or_else(PoisonError::into_inner).clone(),
        })?)
    }

    /// Compares real paths, so that no link hides where a folder is.
    fn refuse_own(&self, path: &Path) -> Result<(), RemoteRefused> {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let there = real(path);
        let meets = |own: &&PathBuf| {
            let own = real(own);
            there.starts_with(&own) || own.starts_with(&there)
        };
        let pools = self.pools.folders().into_iter().map(|(_, folder)| folder);
        let own: Vec<PathBuf> = std::iter::once(self.state.clone()).chain(pools).collect();
        match own.iter().find(meets) {
            Some(own) => Err(RemoteRefused::Own { path: path.to_owned(), own: own.clone() }),
            None => Ok(()),
        }
    }

    /// The folders of remotes that are folders of this machine.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub fn folders(&self) -> Result<Vec<PathBuf>, RemoteRefused> {
        let folder = |row: Row| match row.definition {
            Definition::Folder { path } => Some(path),
            _ => None,
        };
        Ok(self.read(rows::all)?.into_iter().filter_map(folder).collect())
    }

    fn row(&self, name: &GivenName) -> Result<Row, RemoteRefused> {
        self.read(|tx| rows::get(tx, name))?.ok_or_else(|| RemoteRefused::Unknown(name.clone()))
    }

    fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, RemoteRefused>) -> Result<T, RemoteRefused> {
        self.meta.with(|meta| meta.read(work))
    }

    fn change<T>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, RemoteRefused>,
    ) -> Result<T, RemoteRefused> {
        self.meta.with(|meta| meta.transaction(work))
    }
}

fn given(name: &str) -> Result<GivenName, RemoteRefused> {
    name.parse().map_err(RemoteRefused::Name)
}

fn s3_config(name: String, bucket: &Bucket) -> S3Config {
    let Bucket {
        endpoint,
        region,
        bucket,
        prefix,
        style,
        ca_file,
        allow_http,
        checksums,
        part_size,
        access_key_file,
        secret_key_file,
    } = bucket.clone();
    S3Config {
        name,
        endpoint,
        region,
        bucket,
        prefix,
        style,
        ca_file,
        allow_http,
        access_key_file,
        secret_key_file,
        checksums,
        part_size,
    }
}

/// Makes the spool, and removes what a crash has left in it.
fn clean(spool: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(spool)?;
    for entry in std::fs::read_dir(spool)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SPOOLED) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
