//! The checked configuration: what the rest of the program sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use vtl_types::{ByteCount, ChapAccount, IscsiName, LabelTemplate, Secret};

use crate::{
    error::Origin,
    oidc::Oidc,
    remotes::Remotes,
    running::Waiting,
    trigger::Trigger,
    watch::{Alerts, Metrics},
};

/// Everything, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder.
    pub state: PathBuf,
    /// The iSCSI side.
    pub iscsi: Iscsi,
    /// The management API.
    pub api: Api,
    /// Who may do what.
    pub access: Access,
    /// What seals the secrets that the server itself keeps; none: they lie open.
    pub secrets: StoreEncryption,
    /// What an empty state begins with.
    pub library: Library,
    /// New cartridges.
    pub cartridge: CartridgeDefaults,
    /// The chunk store.
    pub store: Store,
    /// What takes time and is asked for.
    pub jobs: Jobs,
    /// What definitions of remotes may say.
    pub remotes: Remotes,
    /// How objects go to remotes and come back.
    pub transfer: Transfer,
    /// What exports are made with when nobody says otherwise.
    pub migrate: Migrate,
    /// Programs of the site.
    pub hooks: Hooks,
    /// How time is judged for retained cartridges.
    pub retention: Retention,
    /// Logs.
    pub log: Log,
    /// Who may read the metrics.
    pub metrics: Metrics,
    /// When somebody is told, and who.
    pub alerts: Alerts,
    pub(crate) settings: Vec<Setting>,
    pub(crate) secret_files: Vec<PathBuf>,
    pub(crate) waiting: Vec<Waiting>,
}

/// `iscsi.*`
#[derive(Clone, Debug)]
pub struct Iscsi {
    /// Never empty.
    pub listen: Vec<SocketAddr>,
    /// A wide listener without CHAP and lists is wanted.
    pub allow_any_initiator: bool,
    /// Size of the RAM disk; `None`: there is none.
    pub diagnostic_disk: Option<ByteCount>,
    /// Sessions in all.
    pub max_sessions: u32,
    /// TCP connections in all, logging in or in a session.
    pub max_connections: u32,
    /// From accept to full feature phase.
    pub login_timeout: Duration,
    /// Data of commands of one session that is in memory.
    pub max_bytes_in_flight_session: ByteCount,
    /// The same over all sessions.
    pub max_bytes_in_flight: ByteCount,
    /// Header digests that are accepted.
    pub header_digest: Vec<Digest>,
    /// Data digests that are accepted.
    pub data_digest: Vec<Digest>,
    /// What we declare (RFC 7143, 13.12).
    pub max_recv_data_segment_length: u32,
    /// Our side of the negotiation (13.13).
    pub max_burst_length: u32,
    /// Our side of the negotiation (13.14).
    pub first_burst_length: u32,
    /// Our side of the negotiation (13.17).
    pub max_outstanding_r2t: u16,
    /// Commands that an initiator may have outstanding.
    pub command_window: u32,
    /// Asked of discovery sessions.
    pub discovery_chap: Option<ChapAccount>,
    /// Asked of normal sessions, by target.
    pub targets: BTreeMap<IscsiName, TargetAccess>,
}

/// What the file says about one target.
#[derive(Clone, Debug)]
pub struct TargetAccess {
    /// Replaces the inventory's account.
    pub chap: Option<ChapAccount>,
    /// Adds to the inventory's list.
    pub initiators: BTreeSet<IscsiName>,
}

/// A digest over PDUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// CRC32C.
    Crc32c,
    /// None.
    None,
}

/// `api.*`
#[derive(Clone, Debug)]
pub struct Api {
    /// Loopback, unless there is TLS.
    pub listen: SocketAddr,
    /// Names by which clients and browsers may call this machine, beside those of loopback.
    pub hosts: Vec<String>,
    /// None: plain HTTP.
    pub tls: Option<Tls>,
    /// Where browsers find the pages, such as `https://vtl.example.com:8460`.
    pub public_url: Option<String>,
}

impl Api {
    /// Whether others than this machine can reach it.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        !crate::doors::is_loopback(&self.listen)
    }
}

/// What the API shows that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// A certificate made here, for whom nobody vouches.
    SelfSigned,
    /// PEM files: the certificate with its chain, and its key.
    Files {
        /// Certificates, the server's own first.
        cert: PathBuf,
        /// Its private key, for its owner only.
        key: PathBuf,
    },
}

/// `access.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Deletion, key export and retention want a second security officer.
    pub two_person: bool,
    /// Log-in by a provider of identities.
    pub oidc: Option<Oidc>,
}

/// `library.*`
#[derive(Clone, Debug)]
pub struct Library {
    /// What an empty state gets.
    pub default: DefaultLibrary,
}

/// What an empty state begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultLibrary {
    /// Library `lib0` with ten blank cartridges.
    Lib0,
    /// No library.
    None,
}

/// `cartridge.*`
#[derive(Clone, Debug)]
pub struct CartridgeDefaults {
    /// `None`: what the generation holds natively.
    pub size: Option<ByteCount>,
    pub(crate) early_warning: ByteCount,
}

/// The early-warning zone is at most this part of a small cartridge.
const EARLY_WARNING_PART: u64 = 8;

impl CartridgeDefaults {
    /// How far before its end a cartridge of this size warns: `cartridge.early_warning`, but never more than an
    /// eighth, so that a small cartridge of a test is not all warning.
    #[must_use]
    pub fn early_warning(&self, capacity: ByteCount) -> ByteCount {
        self.early_warning.min(ByteCount(capacity.0 / EARLY_WARNING_PART))
    }
}

/// `store.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The store's folder.
    pub path: PathBuf,
    /// The most bytes that packs may take; `None`: what the file system has.
    pub size: Option<ByteCount>,
    /// Further folders for its packs.
    pub folders: Vec<PathBuf>,
    /// Whether it is opened for reading when one of them is missing.
    pub degraded: bool,
    /// When packs go past the page cache where that works.
    pub direct_io: DirectIo,
    /// zstd's level.
    pub compression_level: i32,
    /// Whether content that is there already is found.
    pub dedupe: bool,
    /// Average chunk length of a pool that is made now.
    pub chunk_size: ByteCount,
    /// Whether the pool is encrypted, and what opens it.
    pub encryption: StoreEncryption,
    /// What index and caches may take.
    pub memory: ByteCount,
    /// Who starts a collection.
    pub gc: Collections,
    /// Within so many days all that is stored is read and verified.
    pub scrub_days: u32,
    /// And not faster than so many bytes a second.
    pub scrub_rate: ByteCount,
}

/// Whether the pool is encrypted, and what opens it.
#[derive(Clone, Debug)]
pub enum StoreEncryption {
    /// It is not.
    None,
    /// AES-256-GCM, opened by a key file.
    KeyFile(Secret),
    /// AES-256-GCM, opened by a passphrase.
    Passphrase(Secret),
}

/// For the question whether a reload changes anything.
impl PartialEq for StoreEncryption {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::KeyFile(one), Self::KeyFile(two)) | (Self::Passphrase(one), Self::Passphrase(two)) => {
                one.expose() == two.expose()
            }
            _ => false,
        }
    }
}

impl Eq for StoreEncryption {}

/// When packs go past the page cache, where the file system can do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// When no memory lies idle.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Who frees what nothing in the store needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collections {
    /// The daemon by itself, and the operator.
    Auto,
    /// Only the operator.
    Manual,
}

/// `jobs.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jobs {
    /// So many run at once.
    pub max_running: u32,
    /// How long one that has ended stays in the list.
    pub history_keep: Duration,
    /// Transfers at once, over all jobs.
    pub max_transfers: u32,
}

/// `transfer.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Attempts of a job in all, when what went wrong may pass.
    pub retry_attempts: u32,
    /// Before the second attempt.
    pub retry_pause: Duration,
    /// The longest pause.
    pub retry_max_pause: Duration,
    /// Exit codes of rclone and of hooks that ask for another attempt.
    pub retry_on_exit_codes: Vec<u8>,
    /// Rates by time of day, as text that has been checked.
    pub bandwidth: String,
}

/// `migrate.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// Name of a remote.
    pub remote: Option<String>,
    /// Names of keys, with commas between them.
    pub key: Option<String>,
    /// Name of the key that signs.
    pub sign_with: Option<String>,
    /// What becomes of a bundle that nobody known here has made.
    pub foreign_bundles: ForeignBundles,
    /// The most that an object may have.
    pub chunk_size: ByteCount,
    /// What frames are tried with.
    pub compress: Compress,
    /// How what was sent is verified: a word that `vtl-remote` knows.
    pub verify: &'static str,
    /// Whether a cartridge goes when its export is proved.
    pub delete_after_export: bool,
    /// Whether one that comes back unchanged from its import goes.
    pub delete_clean_import: bool,
    /// Whether a blank cartridge takes its place.
    pub create_spare: bool,
    /// How the labels of such look.
    pub spare_label: LabelTemplate,
    /// What begins an export by itself.
    pub triggers: Vec<Trigger>,
    /// Where objects stay on their way; none: in the state folder.
    pub staging_dir: Option<PathBuf>,
    /// How long a host's read waits for a block that is not here.
    pub read_wait: Duration,
}

/// What becomes of a bundle that was not made here and that nobody known here has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignBundles {
    /// It is taken as any other.
    Accept,
    /// It is taken, and cannot be loaded until somebody releases it.
    Quarantine,
    /// It is not taken.
    Refuse,
}

/// What exports are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// Zstandard.
    Zstd,
    /// LZ4.
    Lz4,
    /// Nothing.
    None,
}

/// `hooks.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// Runs in the job of a cartridge that has come to the vault, before anything is sent.
    pub post_vault: Option<PathBuf>,
    /// The longest that it may take.
    pub time_limit: Duration,
}

/// `retention.*`
#[derive(Clone, Debug)]
pub struct Retention {
    /// What is believed at most of a time in which the machine was off.
    pub max_clock_step_s: u64,
}

/// `log.*`
#[derive(Clone, Debug)]
pub struct Log {
    /// What is logged at least.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Faults only.
    Error,
    /// And what may become one.
    Warn,
    /// And what an operator follows.
    Info,
    /// And what a developer follows.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// The word of the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }
}

/// One key as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The dotted key.
    pub key: String,
    /// The value as TOML. Secrets are never values, only the names of their files and variables; of an address that posts go to only the host is
    /// here, since the rest may be as good as a password.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}  # {}", self.key, self.value, self.origin)
    }
}

impl Config {
    /// Every key in effect with its origin, in the order of [`crate::KEYS`]. Printed line by line it is a
    /// configuration file that means the same, but for what is not shown.
    #[must_use]
    pub fn effective(&self) -> &[Setting] {
        &self.settings
    }

    /// The files that it takes secrets from: keys, passphrases, passwords, tokens, the key of the certificate.
    #[must_use]
    pub fn secret_files(&self) -> &[PathBuf] {
        &self.secret_files
    }
}
