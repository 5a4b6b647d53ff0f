//! The command line, and the request that each command is.

mod access;
mod alert;
mod export;
mod ingest;
mod key;
mod lab;
mod remote;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use vtl_api::{
    AddFolder, AddInitiator, AddPortal, BackupFile, CollectStore, CreateCartridges, CreateLibrary,
    CreatePool, Drain, ExportStoreKey, MoveCartridge, OnPool, RemoveCartridge, RemovePool, RemoveUnlisted,
    RepairStore, RotateStoreKey, ScrubStore, SetCartridge, SetChap, SetLibrary, UpgradeStore,
};

use crate::http::{Failure, Method, Request, segment};
use crate::print::View;
pub use access::{ApprovalVerb, AuditVerb, LoginArguments, LogoutArguments, TokenVerb, UserVerb, password};
pub use alert::AlertVerb;
pub use export::{ExportArguments, ExportVerb, ImportArguments};
pub use ingest::IngestArguments;
pub use key::KeyVerb;
pub use lab::LabVerb;
pub use remote::{ObjectsOf, RemoteVerb};

/// For scripts; docs/operations.md has them too.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or something is wrong that was asked about; 2 the command is not understood; \
    4 nothing is done yet, it waits for a second person (vtl approval).";

/// The client of a virtual tape library.
#[derive(Parser)]
#[command(name = "vtl", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Where the API is.
    #[command(flatten)]
    pub connection: Connection,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Noun,
}

/// Where the API is, and what opens it.
#[derive(Args)]
pub struct Connection {
    /// Address of the management API.
    #[arg(long, global = true, env = "VTL_API", default_value = "http://127.0.0.1:8460", value_name = "URL")]
    pub api: String,
    /// File that holds the API token. Without it and --state, VTL_TOKEN_FILE names one, or VTL_TOKEN is the token; else it is that of `vtl login`.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// File with the certificates of whoever vouches for the server, PEM; for an https address.
    #[arg(long, global = true, env = "VTL_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the certificate that the server made for itself, as it prints it when it starts.
    #[arg(long, global = true, env = "VTL_PIN", value_name = "FINGERPRINT")]
    pub pin: Option<String>,
    /// State folder of vtld; its `api.token` is used.
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// A request and how its answer is shown.
pub struct Call {
    /// What to send.
    pub request: Request,
    /// How to print what comes back.
    pub view: View,
    /// What comes between.
    pub then: Then,
}

/// What comes after the answer of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is printed.
    Print,
    /// It is a job, whose end is waited for and printed.
    Job,
    /// It names the job of a scrub, whose end is waited for; what the scrub found is printed.
    Scrub,
}

/// What the command is about.
#[derive(Subcommand)]
pub enum Noun {
    /// Libraries: changers with drives, slots and mailslots.
    #[command(subcommand)]
    Library(LibraryVerb),
    /// Drives.
    #[command(subcommand)]
    Drive(DriveVerb),
    /// Cartridges.
    #[command(subcommand)]
    Cartridge(CartridgeVerb),
    /// Cartridges outside any library.
    #[command(subcommand)]
    Vault(VaultVerb),
    /// What lies on remotes.
    #[command(subcommand)]
    Export(ExportVerb),
    /// The store of all bytes.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Pools and the folders that their packs lie in.
    #[command(subcommand)]
    Pool(PoolVerb),
    /// Remotes: places where exported objects lie.
    #[command(subcommand)]
    Remote(RemoteVerb),
    /// Keys of exports: RSA encrypts, Ed25519 signs.
    #[command(subcommand)]
    Key(KeyVerb),
    /// Programs of the site that the server runs.
    #[command(subcommand)]
    Hook(HookVerb),
    /// Jobs: what takes time and was asked for.
    #[command(subcommand)]
    Job(JobVerb),
    /// Alerts: what somebody should act on.
    #[command(subcommand)]
    Alert(AlertVerb),
    /// Targets, sessions and who may log in.
    #[command(subcommand)]
    Iscsi(IscsiNoun),
    /// Users and their roles.
    #[command(subcommand)]
    User(UserVerb),
    /// Tokens for programs.
    #[command(subcommand)]
    Token(TokenVerb),
    /// Requests that wait for a second security officer.
    #[command(subcommand)]
    Approval(ApprovalVerb),
    /// The audit log.
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Log in as a user: the commands that follow need no other token.
    Login(LoginArguments),
    /// Log out: the token of `vtl login` opens nothing any more, and its file is removed. Also without a server, where the token stays until its end.
    Logout(LogoutArguments),
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// The system as a whole.
    #[command(subcommand)]
    System(SystemVerb),
    /// A demonstration on this machine, with servers of its own.
    #[command(subcommand)]
    Lab(LabVerb),
    /// Write manual pages and completions into a folder, for packages.
    #[command(hide = true)]
    WriteManual {
        /// The folder.
        folder: PathBuf,
    },
}

/// Verbs of `vtl library`.
#[derive(Subcommand)]
pub enum LibraryVerb {
    /// List libraries.
    Ls,
    /// One library with all its elements.
    Show {
        /// Its name.
        library: String,
    },
    /// Make a library.
    Create {
        /// Its name.
        library: String,
        /// Personality of the changer.
        #[arg(long, default_value = "ibm-03584l32")]
        profile: String,
        /// Number of drives.
        #[arg(long)]
        drives: u16,
        /// Number of slots.
        #[arg(long)]
        slots: u16,
        /// Number of mailslots.
        #[arg(long)]
        mailslots: u16,
        /// Pool that its new cartridges go into; the default one when left out.
        #[arg(long)]
        pool: Option<String>,
    },
    /// Change settings: drives=N slots=N mailslots=N targets=one|per-device pool=NAME migrate.KEY=VALUE; `library show` lists those of migrate.
    Set {
        /// Its name.
        library: String,
        /// Settings.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// End the sessions that are in the way of targets=.
        #[arg(long)]
        force: bool,
    },
    /// Remove an empty library.
    Rm {
        /// Its name.
        library: String,
    },
}

/// Verbs of `vtl drive`.
#[derive(Subcommand)]
pub enum DriveVerb {
    /// List drives.
    Ls,
    /// One drive.
    Show {
        /// LIBRARY/NUMBER, such as lib0/0.
        drive: String,
    },
}

/// Verbs of `vtl cartridge`.
#[derive(Subcommand)]
pub enum CartridgeVerb {
    /// Make blank cartridges.
    Create {
        /// First label: six characters and media id.
        label: String,
        /// Library; may be left out when there is only one.
        #[arg(long)]
        library: Option<String>,
        /// Capacity, such as 640m or 12t; as cartridge.size says when left out, and else by generation.
        #[arg(long)]
        size: Option<String>,
        /// Refuse unless the label is that of a WORM cartridge, such as VTL001LY.
        #[arg(long)]
        worm: bool,
        /// How many; labels count up.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Pool for their bytes; the library's when left out. They stay in it.
        #[arg(long)]
        pool: Option<String>,
    },
    /// List cartridges.
    Ls,
    /// One cartridge.
    Show {
        /// Its label.
        label: String,
    },
    /// Remove a cartridge; it stays in the trash for seven days. One that is there already goes for good with --now.
    Rm {
        /// Its label.
        #[arg(required_unless_present = "id", conflicts_with = "id")]
        label: Option<String>,
        /// The id of one that the inventory does not list and that cannot be read, as `system status` names it; wants --confirm.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
        /// Remove the data at once; wants --confirm.
        #[arg(long)]
        now: bool,
        /// The label once more, with --now; the id once more, with --id.
        #[arg(long, value_name = "LABEL")]
        confirm: Option<String>,
    },
    /// List the trash: what was removed, and until when `cartridge restore` brings it back.
    Trash,
    /// Take a removed cartridge back from the trash, into the vault.
    Restore {
        /// Its label.
        #[arg(required_unless_present = "id", conflicts_with = "id")]
        label: Option<String>,
        /// The id of one that was removed by it.
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// Let an imported cartridge out of quarantine: it can be loaded then.
    Release {
        /// Its label.
        label: String,
    },
    /// Move a cartridge.
    Move {
        /// Its label.
        label: String,
        /// slot:N, drive:N, mailslot:N or vault.
        #[arg(long)]
        to: String,
        /// Library to move to, when it is not the one that the cartridge is in.
        #[arg(long)]
        library: Option<String>,
        /// Take it even from a drive that prevents removal.
        #[arg(long)]
        force: bool,
    },
    /// Send what is on a cartridge to a remote, as a job; the cartridge stays as it is.
    Export(ExportArguments),
    /// Make a cartridge of what lies on a remote, as a job; it appears in the vault.
    Import(ImportArguments),
    /// Make a cartridge of what is on a tape in a device of the server's machine, as a job.
    Ingest(IngestArguments),
    /// Change settings: write-protect=on|off retain-until=TIME hold=on|off.
    Set {
        /// Its label.
        label: String,
        /// Settings.
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

/// Verbs of `vtl vault`.
#[derive(Subcommand)]
pub enum VaultVerb {
    /// List cartridges in the vault.
    Ls,
    /// Put a cartridge from the vault into a library.
    Load {
        /// Its label.
        label: String,
        /// Library to put it into.
        #[arg(long)]
        library: String,
    },
    /// Remove a cartridge that is in the vault.
    Rm {
        /// Its label.
        label: String,
    },
}

/// Verbs of `vtl store`.
#[derive(Subcommand)]
pub enum StoreVerb {
    /// Sizes and counts: the sums, and each pool.
    Stats(OfPool),
    /// Find out which space each cartridge has to itself, which it shares, and which nobody needs: for `cartridge show` and `store stats`.
    Account(OfPool),
    /// The key of an encrypted store.
    #[command(subcommand)]
    Key(StoreKeyVerb),
    /// Read every chunk and compare it with its hash.
    Check(OfPool),
    /// Put damaged chunks back whose content is elsewhere in their pool; fails when something stays lost.
    Repair {
        /// And fetch from exports what is nowhere in the pool: a job.
        #[arg(long)]
        from_exports: bool,
        /// Wait for its end.
        #[arg(long, requires = "from_exports")]
        wait: bool,
        /// Put nothing back; print what would be fetched.
        #[arg(long, requires = "from_exports", conflicts_with = "wait")]
        plan: bool,
        /// Which pool.
        #[command(flatten)]
        of: OfPool,
    },
    /// Make the index again from the packs; data does not depend on it.
    RebuildIndex(OfPool),
    /// Begin reading and verifying all that is stored, in the background.
    Scrub {
        /// Bytes a second, such as 200m, or max; as configured when left out.
        #[arg(long, value_name = "SIZE|max")]
        rate: Option<String>,
        /// Wait for its end; fails when something is damaged.
        #[arg(long)]
        wait: bool,
        /// Begin nothing; show how it is doing and all that is damaged.
        #[arg(long, conflicts_with_all = ["rate", "wait"])]
        status: bool,
        /// Begin nothing; print what would be done.
        #[arg(long, conflicts_with_all = ["wait", "status"])]
        plan: bool,
        /// Which pool.
        #[command(flatten)]
        of: OfPool,
    },
    /// Free what no cartridge needs any more, while the library is in use; prints what was done at the end.
    Gc {
        /// Write a pack anew when at least so many percent of it are dead; 100: only remove packs that nothing needs.
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
        dead: Option<u8>,
        /// Wait for its end, as without it.
        #[arg(long, conflicts_with_all = ["background", "plan"])]
        wait: bool,
        /// Do not wait: print the job.
        #[arg(long)]
        background: bool,
        /// Free nothing; print what would be done.
        #[arg(long, conflicts_with = "background")]
        plan: bool,
        /// Which pool.
        #[command(flatten)]
        of: OfPool,
    },
}

/// A pool of several.
#[derive(Args, Clone, Debug, Default)]
pub struct OfPool {
    /// Only this pool; all pools when left out.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
}

impl OfPool {
    fn body(&self) -> Value {
        json!(OnPool { pool: self.pool.clone() })
    }

    /// A path about this pool.
    fn ask(&self, path: &str) -> String {
        let query = self.pool.as_ref().map(|pool| format!("?pool={}", segment(pool)));
        format!("{path}{}", query.unwrap_or_default())
    }
}

/// Verbs of `vtl job`.
#[derive(Subcommand)]
pub enum JobVerb {
    /// List jobs, also those that have ended.
    Ls,
    /// One job with its parts and its log.
    Show(OneJob),
    /// The log of a job.
    Log(OneJob),
    /// Wait for the end of a job; fails unless it was done.
    Wait(OneJob),
    /// Stop a job at its next safe point, for good.
    Cancel(OneJob),
    /// Let a job stand at its next safe point.
    Pause(OneJob),
    /// Let a paused job go on.
    Resume(OneJob),
    /// Try again what failed or was cancelled, as a new job; or end the pause of a job that waits for its next attempt.
    Retry(OneJob),
    /// Remove jobs that have ended from the list.
    Clear,
}

/// A job.
#[derive(Args)]
pub struct OneJob {
    /// Its number.
    id: String,
}

/// Verbs of `vtl hook`.
#[derive(Subcommand)]
pub enum HookVerb {
    /// List hooks and the programs that they run.
    Ls,
    /// Run a hook with made-up facts, and tell how it ended.
    Test {
        /// Its name.
        #[arg(default_value = "post-vault")]
        name: String,
    },
}

impl HookVerb {
    fn call(&self) -> Call {
        match self {
            Self::Ls => get("/hooks", View::Table(&["name", "program", "time_limit_s", "retry_exit_codes"])),
            Self::Test { name } => {
                let path = format!("{}/test", path("hooks", name));
                call(Method::Post, path, Some(json!({})), View::Outcome("ok"))
            }
        }
    }
}

impl JobVerb {
    fn call(&self) -> Call {
        let on = |one: &OneJob, verb: &str| {
            let path = format!("{}/{verb}", path("jobs", &one.id));
            call(Method::Post, path, None, View::JobLine)
        };
        let show = |one: &OneJob, view| get(&path("jobs", &one.id), view);
        match self {
            Self::Ls => get("/jobs", View::Table(JOB_COLUMNS)),
            Self::Show(one) => show(one, View::Job),
            Self::Log(one) => show(one, View::Inner("events", EVENT_COLUMNS)),
            Self::Wait(one) => Call { then: Then::Job, ..show(one, View::Job) },
            Self::Cancel(one) => on(one, "cancel"),
            Self::Pause(one) => on(one, "pause"),
            Self::Resume(one) => on(one, "resume"),
            Self::Retry(one) => on(one, "retry"),
            Self::Clear => call(Method::Delete, "/jobs".to_owned(), None, View::Fields),
        }
    }
}

/// Verbs of `vtl store key`.
#[derive(Subcommand)]
pub enum StoreKeyVerb {
    /// Whether the store is encrypted, what opens it, and whether its keyring has been exported; no secrets.
    Show(KeyOf),
    /// Make another key open the store, at once. Data is not written anew.
    Rotate(NewStoreKey),
    /// Write the keyring to a file: with it and the key the store opens when its own keyring is lost.
    Export {
        /// A file that does not exist yet.
        file: PathBuf,
        /// Which pool.
        #[command(flatten)]
        of: KeyOf,
    },
}

/// The pool of a key.
#[derive(Args, Clone, Debug, Default)]
pub struct KeyOf {
    /// The pool; the default one when left out.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
}

/// The new key of a store. The daemon reads the file, with mode 0600.
#[derive(Args)]
pub struct NewStoreKey {
    /// Which pool.
    #[command(flatten)]
    of: KeyOf,
    /// Which file.
    #[command(flatten)]
    file: NewKeyFile,
}

/// One of two kinds of files.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct NewKeyFile {
    /// File with 32 to 4096 random bytes.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File with a passphrase of 12 to 1024 bytes.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl StoreKeyVerb {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Show(KeyOf { pool }) => get(&OfPool { pool: pool.clone() }.ask("/store/key"), View::Fields),
            Self::Rotate(NewStoreKey { of, file: NewKeyFile { key_file, passphrase_file } }) => {
                let body = RotateStoreKey {
                    pool: of.pool.clone(),
                    key_file: key_file.as_deref().map(absolute).transpose()?,
                    passphrase_file: passphrase_file.as_deref().map(absolute).transpose()?,
                };
                post("/store/key/rotate".to_owned(), &body)
            }
            Self::Export { file, of } => {
                let body = ExportStoreKey { file: absolute(file)?, pool: of.pool.clone() };
                post("/store/key/export".to_owned(), &body)
            }
        })
    }
}

/// Verbs of `vtl pool`.
#[derive(Subcommand)]
pub enum PoolVerb {
    /// List pools with their folders.
    Ls,
    /// One pool with its folders.
    Show {
        /// Its name.
        name: String,
    },
    /// Make a pool, or take one in that is there.
    Create(NewPool),
    /// Remove a pool that no cartridge is in, with its files.
    Rm {
        /// Its name.
        name: String,
        /// Leave its files alone, and only list it no more: for a pool whose folders are gone for good.
        #[arg(long)]
        forget: bool,
    },
    /// Open a pool that was closed, because a disk or its key was not there.
    Open {
        /// Its name.
        name: String,
    },
    /// Give a pool one more folder for packs, while it is in use.
    AddFolder {
        /// Its name.
        name: String,
        /// The folder, empty or still to be made.
        #[arg(long)]
        path: PathBuf,
    },
    /// Move all packs of a folder to the others, so that the pool can do without it.
    Drain {
        /// The folder.
        path: PathBuf,
        /// Of which pool.
        #[arg(long, default_value = "default")]
        pool: String,
    },
}

/// Arguments of `vtl pool create`.
#[derive(Args)]
pub struct NewPool {
    /// Its name.
    name: String,
    /// A folder for it, empty or still to be made; one for each disk, its home first.
    #[arg(long = "path", required = true, num_args = 1..)]
    paths: Vec<PathBuf>,
    /// Take in the pool that is there, with the cartridges in it.
    #[arg(long)]
    adopt: bool,
    /// Encrypt it; wants one of the two files.
    #[arg(long)]
    encrypted: bool,
    /// File of mode 0600 with 32 to 4096 random bytes that opens it; stays where it is.
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    key_file: Option<PathBuf>,
    /// The same with a passphrase of 12 to 1024 bytes.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Whether content that is there already is found: on or off; as configured when left out.
    #[arg(long, value_name = "on|off")]
    dedupe: Option<String>,
    /// Average length of chunks: 8k, 16k, 32k or 64k; as configured when left out.
    #[arg(long, value_name = "SIZE")]
    chunk_size: Option<String>,
    /// The zstd level, 1 to 19; as configured when left out.
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,
    /// The most that its packs may take; what its disks have when left out.
    #[arg(long)]
    size: Option<String>,
}

impl NewPool {
    fn call(&self) -> Result<Call, Failure> {
        let body = CreatePool {
            name: self.name.clone(),
            paths: self.paths.iter().map(|path| absolute(path)).collect::<Result<_, _>>()?,
            adopt: self.adopt,
            encrypted: self.encrypted,
            key_file: self.key_file.as_deref().map(absolute).transpose()?,
            passphrase_file: self.passphrase_file.as_deref().map(absolute).transpose()?,
            dedupe: self.dedupe.as_deref().map(|word| switch("--dedupe", word)).transpose()?,
            chunk_bytes: self.chunk_size.as_deref().map(parse_size).transpose()?,
            compression_level: self.compression_level,
            size_bytes: self.size.as_deref().map(parse_size).transpose()?,
        };
        Ok(post("/pools".to_owned(), &body))
    }
}

/// Nouns of `vtl iscsi`.
#[derive(Subcommand)]
pub enum IscsiNoun {
    /// Addresses that iSCSI listens on.
    #[command(subcommand)]
    Portal(PortalVerb),
    /// Targets.
    #[command(subcommand)]
    Target(ListVerb),
    /// Sessions.
    #[command(subcommand)]
    Session(ListVerb),
    /// CHAP credentials of a library's target.
    #[command(subcommand)]
    Chap(ChapVerb),
    /// Initiators that may log in to a library's target.
    #[command(subcommand)]
    Initiator(InitiatorVerb),
}

/// Listing only.
#[derive(Subcommand)]
pub enum ListVerb {
    /// List them.
    Ls,
}

/// Verbs of `vtl iscsi portal`.
#[derive(Subcommand)]
pub enum PortalVerb {
    /// List them.
    Ls,
    /// Listen on an address at once, and after every restart.
    Add {
        /// Address and port; on another address than loopback every target needs CHAP or a list of initiators.
        #[arg(value_name = "ADDR:PORT")]
        address: String,
    },
    /// Take no new connections on an address that was added; sessions that exist stay.
    Rm {
        /// Address and port.
        #[arg(value_name = "ADDR:PORT")]
        address: String,
    },
}

/// Verbs of `vtl iscsi chap`.
#[derive(Subcommand)]
pub enum ChapVerb {
    /// Demand CHAP from initiators.
    Set(ChapSet),
    /// Demand it no more.
    Rm {
        /// The library.
        library: String,
    },
}

/// Arguments of `vtl iscsi chap set`.
#[derive(Args)]
pub struct ChapSet {
    /// The library.
    library: String,
    /// User that initiators give.
    #[arg(long)]
    user: String,
    /// File with their secret, 12 to 255 bytes.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// User that the target gives back.
    #[arg(long, requires = "mutual_secret_file")]
    mutual_user: Option<String>,
    /// File with the target's own secret.
    #[arg(long, value_name = "FILE", requires = "mutual_user")]
    mutual_secret_file: Option<PathBuf>,
}

/// Verbs of `vtl iscsi initiator`.
#[derive(Subcommand)]
pub enum InitiatorVerb {
    /// Allow this initiator; from the first one on, nobody else may log in.
    Add {
        /// The library.
        library: String,
        /// iSCSI name of the initiator.
        initiator: String,
    },
    /// Take an initiator off the list; without the last one, any may log in.
    Rm {
        /// The library.
        library: String,
        /// iSCSI name of the initiator.
        initiator: String,
    },
}

/// Verbs of `vtl config`.
#[derive(Subcommand)]
pub enum ConfigVerb {
    /// Check a configuration file as the server takes it at its next start: with its command line, and with the targets that there are.
    Check {
        /// The file; the daemon's own when left out.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print what the configuration files of an older product are here, and the commands that come first; asks no server. Fails when a line is not taken
    /// over; each such line is named.
    ImportQuadstor {
        /// quadstor.conf, and rclone.conf of its migration script.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Print the configuration.
    Show {
        /// Every key with its value, where the value comes from, and what waits for the next start: what is shown without this, too.
        #[arg(long)]
        effective: bool,
    },
}

/// Verbs of `vtl system`.
#[derive(Subcommand)]
pub enum SystemVerb {
    /// Whether all is well; the exit code says it too.
    Status,
    /// Read the configuration file again.
    Reload,
    /// Write a bundle for a fault report, without secrets: configuration, versions, status, jobs, metrics, the last of the log. With --json only
    /// print the facts.
    Diag {
        /// The file to write, tar.gz, which must not be there yet; in this folder, with the time in its name, when left out.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Copy the inventory to a file while the daemon runs. It is not all that a server needs again: docs/disaster.md.
    Backup {
        /// Where to.
        file: PathBuf,
    },
    /// Put an inventory copy back at the next start.
    Restore {
        /// Where from.
        file: PathBuf,
    },
    /// Which versions of formats lie in state and pools, and what is to be done about them. This version rewrites none: what it can open stays as it is. Before a new
    /// version starts, vtld --upgrade-plan of that version says what it would do.
    UpgradeStore {
        /// Only say what would be done.
        #[arg(long, alias = "dry-run")]
        plan: bool,
    },
    /// Say what would be listed if the inventory were made again from the cartridges; changes nothing.
    Rebuild {
        /// Only say it: there is no other way while the server runs.
        #[arg(long, required = true)]
        plan: bool,
    },
}

const CARTRIDGE_COLUMNS: &[&str] = &[
    "label",
    "library",
    "pool",
    "place",
    "capacity_bytes",
    "used_bytes",
    "generation",
    "write_protected",
    "retain_until",
    "hold",
    "quarantined",
];
const TRASH_COLUMNS: &[&str] = &["label", "pool", "capacity_bytes", "used_bytes", "removed", "until", "id"];
const DRIVE_COLUMNS: &[&str] =
    &["library", "number", "target", "lun", "serial", "profile", "state", "cartridge", "block", "file"];
const LIBRARY_COLUMNS: &[&str] = &["name", "profile", "drives", "slots", "mailslots", "cartridges", "target"];
const STATS_COLUMNS: &[&str] = &[
    "pool",
    "logical_bytes",
    "unique_bytes",
    "stored_bytes",
    "reclaimable_bytes",
    "memory_bytes",
    "encrypted",
];
const FOLDER_COLUMNS: &[&str] = &["number", "path", "state", "packs", "stored_bytes", "free_bytes", "why"];
const JOB_COLUMNS: &[&str] =
    &["id", "kind", "label", "state", "done_bytes", "total_bytes", "attempts", "left_s", "skipped", "error"];
const EVENT_COLUMNS: &[&str] = &["at", "event", "text"];
const ELEMENT_COLUMNS: &[&str] = &["kind", "number", "mtx_number", "address", "label"];

impl Noun {
    /// The request that this command is.
    ///
    /// # Errors
    /// What is wrong with its arguments.
    pub fn call(&self) -> Result<Call, Failure> {
        match self {
            Self::Library(verb) => verb.call(),
            Self::Drive(verb) => verb.call(),
            Self::Cartridge(verb) => verb.call(),
            Self::Vault(verb) => Ok(verb.call()),
            Self::Alert(verb) => Ok(verb.call()),
            Self::WriteManual { .. } | Self::Lab(_) => Err(Failure::Local("this asks no server".to_owned())),
            Self::Export(verb) => verb.call(),
            Self::Store(StoreVerb::Stats(of)) => Ok(get(&of.ask("/store/stats"), STATS)),
            Self::Store(StoreVerb::Account(of)) => {
                Ok(call(Method::Post, "/store/account".to_owned(), Some(of.body()), STATS))
            }
            Self::Store(StoreVerb::Key(verb)) => verb.call(),
            Self::Store(StoreVerb::Check(of)) => {
                let view = View::Findings("damage", &["cartridge", "offset", "length", "why"]);
                Ok(call(Method::Post, "/store/check".to_owned(), Some(of.body()), view))
            }
            Self::Store(StoreVerb::Repair { from_exports, wait, plan, of }) => {
                Ok(repair(*from_exports, *wait, *plan, of))
            }
            Self::Store(StoreVerb::Scrub { status: true, of, .. }) => Ok(get(&of.ask(SCRUB), scrub_view())),
            Self::Store(StoreVerb::Scrub { rate, wait, plan, of, .. }) => {
                Ok(scrub(rate.clone(), *wait, *plan, of))
            }
            Self::Store(StoreVerb::RebuildIndex(of)) => {
                Ok(call(Method::Post, "/store/rebuild-index".to_owned(), Some(of.body()), View::Message))
            }
            Self::Store(StoreVerb::Gc { dead, background, plan, of, .. }) => {
                let body = CollectStore {
                    dead_percent: *dead,
                    background: *background,
                    plan: *plan,
                    pool: of.pool.clone(),
                };
                let view = match (*plan, *background) {
                    (true, _) => PLAN,
                    (_, true) => View::JobLine,
                    _ => View::Fields,
                };
                Ok(call(Method::Post, "/store/gc".to_owned(), Some(json!(body)), view))
            }
            Self::Remote(verb) => verb.call(),
            Self::Key(verb) => verb.call(),
            Self::Hook(verb) => Ok(verb.call()),
            Self::Job(verb) => Ok(verb.call()),
            Self::Pool(verb) => verb.call(),
            Self::Iscsi(noun) => noun.call(),
            Self::User(verb) => verb.call(),
            Self::Token(verb) => Ok(verb.call()),
            Self::Approval(verb) => Ok(verb.call()),
            Self::Audit(verb) => Ok(verb.call()),
            // They are not one request: see `login` and `logout`.
            Self::Login(_) | Self::Logout(_) => Ok(get("/session", View::Fields)),
            Self::Config(verb) => verb.call(),
            Self::System(verb) => verb.call(),
        }
    }
}

impl Noun {
    /// Files to read, when the command asks no server.
    #[must_use]
    pub fn files_to_import(&self) -> Option<&[PathBuf]> {
        match self {
            Self::Config(ConfigVerb::ImportQuadstor { files }) => Some(files),
            _ => None,
        }
    }

    /// What to log in with, when that is the command.
    #[must_use]
    pub fn login(&self) -> Option<&LoginArguments> {
        match self {
            Self::Login(arguments) => Some(arguments),
            _ => None,
        }
    }

    /// What to log out of, when that is the command.
    #[must_use]
    pub fn logout(&self) -> Option<&LogoutArguments> {
        match self {
            Self::Logout(arguments) => Some(arguments),
            _ => None,
        }
    }

    /// What to do with a lab, when that is the command.
    #[must_use]
    pub fn lab(&self) -> Option<&LabVerb> {
        match self {
            Self::Lab(verb) => Some(verb),
            _ => None,
        }
    }

    /// The folder to write a manual into, when the command is that.
    #[must_use]
    pub fn manual(&self) -> Option<&Path> {
        match self {
            Self::WriteManual { folder } => Some(folder),
            _ => None,
        }
    }

    /// Whether it prints all lines of the audit log.
    #[must_use]
    pub fn exports_audit(&self) -> bool {
        matches!(self, Self::Audit(AuditVerb::Export))
    }

    /// The objects to list, when the command is that.
    #[must_use]
    pub fn objects(&self) -> Option<ObjectsOf<'_>> {
        match self {
            Self::Remote(verb) => verb.objects(),
            _ => None,
        }
    }

    /// The file to write, if one is named, when the command is to fetch a diagnostic bundle.
    #[must_use]
    pub fn bundle(&self) -> Option<Option<&Path>> {
        match self {
            Self::System(SystemVerb::Diag { output }) => Some(output.as_deref()),
            _ => None,
        }
    }
}

impl LibraryVerb {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Ls => get("/libraries", View::Table(LIBRARY_COLUMNS)),
            Self::Show { library } => {
                get(&path("libraries", library), View::FieldsAndTable("elements", ELEMENT_COLUMNS))
            }
            Self::Create { library, profile, drives, slots, mailslots, pool } => post(
                "/libraries".to_owned(),
                &CreateLibrary {
                    name: library.clone(),
                    profile: profile.clone(),
                    drives: *drives,
                    slots: *slots,
                    mailslots: *mailslots,
                    pool: pool.clone(),
                },
            ),
            Self::Set { library, settings, force } => {
                let mut body = SetLibrary { force: *force, ..SetLibrary::default() };
                for setting in settings {
                    let (key, value) = key_value(setting)?;
                    let field = match key {
                        "drives" => &mut body.drives,
                        "slots" => &mut body.slots,
                        "mailslots" => &mut body.mailslots,
                        "targets" => {
                            body.targets = Some(value.to_owned());
                            continue;
                        }
                        "pool" => {
                            body.pool = Some(value.to_owned());
                            continue;
                        }
                        dotted if dotted.contains('.') => {
                            body.settings.insert(dotted.to_owned(), value.to_owned());
                            continue;
                        }
                        _ => {
                            return Err(unknown_key(
                                key,
                                "drives, slots, mailslots, targets, pool, migrate.…",
                            ));
                        }
                    };
                    *field =
                        Some(value.parse().map_err(|_| bad_value(key, value, "a whole number up to 65535"))?);
                }
                call(Method::Patch, path("libraries", library), Some(json!(body)), View::Message)
            }
            Self::Rm { library } => call(Method::Delete, path("libraries", library), None, View::Message),
        })
    }
}

impl DriveVerb {
    fn call(&self) -> Result<Call, Failure> {
        match self {
            Self::Ls => Ok(get("/drives", View::Table(DRIVE_COLUMNS))),
            Self::Show { drive } => {
                let (library, number) = drive
                    .split_once('/')
                    .ok_or_else(|| bad_value("drive", drive, "LIBRARY/NUMBER, such as lib0/0"))?;
                Ok(get(&format!("{}/drives/{}", path("libraries", library), segment(number)), View::Fields))
            }
        }
    }
}

impl CartridgeVerb {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Create { label, library, size, worm, count, pool } => {
                let size_bytes = size.as_deref().map(parse_size).transpose()?;
                let body = CreateCartridges {
                    label: label.clone(),
                    library: library.clone(),
                    size_bytes,
                    pool: pool.clone(),
                    worm: *worm,
                    count: *count,
                };
                post("/cartridges".to_owned(), &body)
            }
            Self::Ls => get("/cartridges", View::Table(CARTRIDGE_COLUMNS)),
            Self::Show { label } => get(&path("cartridges", label), View::Fields),
            Self::Rm { label, id, now, confirm } => {
                let (now, confirm) = (*now, confirm.clone());
                let body = match id {
                    Some(_) => json!(RemoveUnlisted { now, confirm }),
                    None => json!(RemoveCartridge { now, confirm }),
                };
                call(Method::Delete, one_of(label.as_deref(), id.as_deref()), Some(body), View::Message)
            }
            Self::Trash => get("/trash", View::Table(TRASH_COLUMNS)),
            Self::Restore { label, id } => {
                let one = one_of(label.as_deref(), id.as_deref());
                call(Method::Post, format!("{one}/restore"), None, View::Message)
            }
            Self::Release { label } => {
                call(Method::Post, format!("{}/release", path("cartridges", label)), None, View::Message)
            }
            Self::Move { label, to, library, force } => {
                let body = MoveCartridge { to: to.clone(), library: library.clone(), force: *force };
                post(format!("{}/move", path("cartridges", label)), &body)
            }
            Self::Export(arguments) => arguments.call()?,
            Self::Import(arguments) => arguments.call(),
            Self::Ingest(arguments) => arguments.call()?,
            Self::Set { label, settings } => {
                let mut body = SetCartridge::default();
                for setting in settings {
                    let (key, value) = key_value(setting)?;
                    match key {
                        "write-protect" => body.write_protect = Some(switch(key, value)?),
                        "hold" => body.hold = Some(switch(key, value)?),
                        "retain-until" => body.retain_until = Some(value.to_owned()),
                        _ => return Err(unknown_key(key, "write-protect, retain-until, hold")),
                    }
                }
                call(Method::Patch, path("cartridges", label), Some(json!(body)), View::Message)
            }
        })
    }
}

/// The path of a cartridge that is named by its label, or by its id where it has no other name.
fn one_of(label: Option<&str>, id: Option<&str>) -> String {
    match id {
        Some(id) => path("unlisted", id),
        None => path("cartridges", label.unwrap_or_default()),
    }
}

impl VaultVerb {
    fn call(&self) -> Call {
        match self {
            Self::Ls => get("/vault", View::Table(CARTRIDGE_COLUMNS)),
            Self::Load { label, library } => call(
                Method::Post,
                format!("{}/load", path("vault", label)),
                Some(json!({ "library": library })),
                View::Message,
            ),
            Self::Rm { label } => call(Method::Delete, path("vault", label), None, View::Message),
        }
    }
}

impl IscsiNoun {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Portal(PortalVerb::Ls) => get("/iscsi/portals", View::Table(&["address", "origin"])),
            Self::Portal(PortalVerb::Add { address }) => {
                post("/iscsi/portals".to_owned(), &AddPortal { address: address.clone() })
            }
            Self::Portal(PortalVerb::Rm { address }) => {
                call(Method::Delete, path("iscsi/portals", address), None, View::Message)
            }
            Self::Target(ListVerb::Ls) => {
                get("/iscsi/targets", View::Table(&["name", "library", "luns", "chap_user", "initiators"]))
            }
            Self::Session(ListVerb::Ls) => {
                get("/iscsi/sessions", View::Table(&["tsih", "initiator", "target", "peer", "since"]))
            }
            Self::Chap(ChapVerb::Set(set)) => {
                let body = SetChap {
                    user: set.user.clone(),
                    secret: read_secret(&set.secret_file)?,
                    mutual_user: set.mutual_user.clone(),
                    mutual_secret: set.mutual_secret_file.as_deref().map(read_secret).transpose()?,
                };
                call(
                    Method::Put,
                    format!("{}/chap", path("iscsi/targets", &set.library)),
                    Some(json!(body)),
                    View::Message,
                )
            }
            Self::Chap(ChapVerb::Rm { library }) => {
                call(Method::Delete, format!("{}/chap", path("iscsi/targets", library)), None, View::Message)
            }
            Self::Initiator(InitiatorVerb::Rm { library, initiator }) => call(
                Method::Delete,
                format!("{}/initiators/{}", path("iscsi/targets", library), segment(initiator)),
                None,
                View::Message,
            ),
            Self::Initiator(InitiatorVerb::Add { library, initiator }) => {
                let body = AddInitiator { initiator: initiator.clone() };
                post(format!("{}/initiators", path("iscsi/targets", library)), &body)
            }
        })
    }
}

impl PoolVerb {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Ls => get("/pools", View::Each("folders", FOLDER_COLUMNS)),
            Self::Show { name } => get(&path("pools", name), View::FieldsAndTable("folders", FOLDER_COLUMNS)),
            Self::Create(new) => new.call()?,
            Self::Rm { name, forget } => {
                let body = json!(RemovePool { forget: *forget });
                call(Method::Delete, path("pools", name), Some(body), View::Message)
            }
            Self::AddFolder { name, path: folder } => {
                let body = json!(AddFolder { path: absolute(folder)? });
                call(Method::Post, format!("{}/folders", path("pools", name)), Some(body), View::Message)
            }
            Self::Open { name } => {
                call(Method::Post, format!("{}/open", path("pools", name)), None, View::Message)
            }
            Self::Drain { path: folder, pool } => {
                let body = json!(Drain { path: absolute(folder)? });
                call(Method::Post, format!("{}/drain", path("pools", pool)), Some(body), View::Fields)
            }
        })
    }
}

impl ConfigVerb {
    fn call(&self) -> Result<Call, Failure> {
        match self {
            Self::Check { config } => {
                let file = config.as_deref().map(absolute).transpose()?;
                Ok(call(
                    Method::Post,
                    "/config/check".to_owned(),
                    Some(json!({ "file": file })),
                    View::Message,
                ))
            }
            Self::Show { .. } => {
                Ok(get("/config/effective", View::Table(&["key", "value", "origin", "next_start"])))
            }
            Self::ImportQuadstor { .. } => Err(Failure::Local("this asks no server".to_owned())),
        }
    }
}

impl SystemVerb {
    fn call(&self) -> Result<Call, Failure> {
        Ok(match self {
            Self::Status => get("/system/status", View::Status),
            Self::Reload => call(Method::Post, "/system/reload".to_owned(), Some(json!({})), View::Message),
            Self::Diag { .. } => get("/system/diag", View::Fields),
            Self::Backup { file } => post("/system/backup".to_owned(), &BackupFile { file: absolute(file)? }),
            Self::Restore { file } => {
                post("/system/restore".to_owned(), &BackupFile { file: absolute(file)? })
            }
            Self::UpgradeStore { plan } => {
                let view = View::Table(&["place", "what", "found", "known", "files", "action"]);
                let body = Some(json!(UpgradeStore { plan: *plan }));
                call(Method::Post, "/system/upgrade".to_owned(), body, view)
            }
            Self::Rebuild { plan } => {
                let view = View::Table(&["label", "id", "action"]);
                call(Method::Post, "/system/rebuild".to_owned(), Some(json!({ "plan": plan })), view)
            }
        })
    }
}

fn call(method: Method, path: String, body: Option<Value>, view: View) -> Call {
    Call { request: Request { method, path, body }, view, then: Then::Print }
}

fn scrub(rate: Option<String>, wait: bool, plan: bool, of: &OfPool) -> Call {
    let view = if plan { PLAN } else { View::Fields };
    let body = ScrubStore { rate, plan, pool: of.pool.clone() };
    let begin = call(Method::Post, SCRUB.to_owned(), Some(json!(body)), view);
    if wait { Call { view: scrub_view(), then: Then::Scrub, ..begin } } else { begin }
}

fn repair(from_exports: bool, wait: bool, plan: bool, of: &OfPool) -> Call {
    let body = RepairStore { pool: of.pool.clone(), from_exports, plan };
    let (view, then) = match (plan, from_exports, wait) {
        (true, ..) => (PLAN, Then::Print),
        (_, true, true) => (View::Repair, Then::Job),
        (_, true, false) => (View::JobLine, Then::Print),
        _ => (View::NoneOf("lost"), Then::Print),
    };
    Call { then, ..call(Method::Post, "/store/repair".to_owned(), Some(json!(body)), view) }
}

fn scrub_view() -> View {
    View::Findings("damage", &["cartridge", "offset", "length", "why"])
}

/// The sums, and each pool.
const STATS: View = View::FieldsAndTable("pools", STATS_COLUMNS);

/// What a job would do.
const PLAN: View = View::FieldsAndTable("tasks", &["name", "total_bytes"]);

/// Where the scrub answers.
const SCRUB: &str = "/store/scrub";

/// How it is doing.
#[must_use]
pub fn scrub_status() -> Request {
    get(SCRUB, View::Fields).request
}

fn get(path: &str, view: View) -> Call {
    call(Method::Get, path.to_owned(), None, view)
}

fn post(path: String, body: &impl serde::Serialize) -> Call {
    call(Method::Post, path, Some(json!(body)), View::Message)
}

fn path(noun: &str, name: &str) -> String {
    format!("/{noun}/{}", segment(name))
}

fn key_value(setting: &str) -> Result<(&str, &str), Failure> {
    setting.split_once('=').ok_or_else(|| bad_value("setting", setting, "KEY=VALUE"))
}

fn switch(key: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad_value(key, value, "on or off")),
    }
}

fn unknown_key(key: &str, known: &str) -> Failure {
    Failure::Local(format!("'{key}' is no setting; known are: {known}"))
}

fn bad_value(key: &str, value: &str, right: &str) -> Failure {
    Failure::Local(format!("{key} cannot be '{value}'; it must be {right}"))
}

fn parse_size(text: &str) -> Result<u64, Failure> {
    let malformed = || bad_value("size", text, "a whole number and k, m, g or t, such as 640m");
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        Some((at, 't' | 'T')) => (&text[..at], 40),
        _ => (text, 0),
    };
    let number: u64 = number.parse().map_err(|_| malformed())?;
    number.checked_mul(1 << shift).ok_or_else(malformed)
}

/// A size of what others may measure in megabytes: a number alone could be either.
fn parse_size_with_unit(option: &str, text: &str) -> Result<u64, Failure> {
    if text.parse::<u64>().is_ok() {
        return Err(bad_value(option, text, "a whole number with its unit, k, m, g or t, such as 512m"));
    }
    parse_size(text)
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let absolute =
        std::path::absolute(path).map_err(|e| Failure::Local(format!("{}: {e}", path.display())))?;
    absolute
        .into_os_string()
        .into_string()
        .map_err(|_| bad_value("file", &path.display().to_string(), "a path in UTF-8"))
}

fn read_secret(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|e| Failure::Local(format!("cannot read the secret in {}: {e}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str) -> Request {
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
        cli.command.call().unwrap_or_else(|e| panic!("{line}: {e:?}")).request
    }

    #[test]
    fn the_commands_that_stay_are_understood() {
        for (line, method, path) in [
            ("vtl library ls", Method::Get, "/libraries"),
            (
                "vtl library create lib1 --profile ibm-03584l32 --drives 2 --slots 9 --mailslots 1",
                Method::Post,
                "/libraries",
            ),
            ("vtl library set lib0 drives=3 slots=30", Method::Patch, "/libraries/lib0"),
            ("vtl library set lib0 targets=per-device --force", Method::Patch, "/libraries/lib0"),
            ("vtl library set lib0 migrate.remote=off-site", Method::Patch, "/libraries/lib0"),
            ("vtl drive show lib0/1", Method::Get, "/libraries/lib0/drives/1"),
            ("vtl cartridge create VTL011L8 --size 640m --count 3", Method::Post, "/cartridges"),
            ("vtl cartridge move VTL001L8 --to mailslot:1", Method::Post, "/cartridges/VTL001L8/move"),
            ("vtl cartridge set VTL001L8 write-protect=on", Method::Patch, "/cartridges/VTL001L8"),
            (
                "vtl cartridge set VTL001L8 retain-until=2030-01-31 hold=on",
                Method::Patch,
                "/cartridges/VTL001L8",
            ),
            ("vtl cartridge create VTL001LY --worm", Method::Post, "/cartridges"),
            ("vtl cartridge rm VTL001L8 --now --confirm VTL001L8", Method::Delete, "/cartridges/VTL001L8"),
            ("vtl cartridge rm --id 0aff --now --confirm 0aff", Method::Delete, "/unlisted/0aff"),
            ("vtl cartridge trash", Method::Get, "/trash"),
            ("vtl cartridge restore VTL001L8", Method::Post, "/cartridges/VTL001L8/restore"),
            ("vtl cartridge restore --id 0aff", Method::Post, "/unlisted/0aff/restore"),
            ("vtl vault load VTL001L8 --library lib0", Method::Post, "/vault/VTL001L8/load"),
            ("vtl --json store stats", Method::Get, "/store/stats"),
            ("vtl store account", Method::Post, "/store/account"),
            ("vtl store gc --dead 10", Method::Post, "/store/gc"),
            ("vtl store scrub --rate max --wait", Method::Post, "/store/scrub"),
            ("vtl store scrub --status", Method::Get, "/store/scrub"),
            ("vtl store scrub --plan", Method::Post, "/store/scrub"),
            ("vtl store gc --wait", Method::Post, "/store/gc"),
            (
                "vtl cartridge export VTL001L8 --remote r --key k --chunk-size 64m --compress none --wait",
                Method::Post,
                "/cartridges/VTL001L8/export",
            ),
            ("vtl cartridge export VTL001L8 --plan", Method::Post, "/cartridges/VTL001L8/export"),
            ("vtl cartridge import --job 7 --wait", Method::Post, "/imports"),
            (
                "vtl cartridge import --remote r --folder VTL001L8-20261126_031500 --lazy",
                Method::Post,
                "/imports",
            ),
            (
                "vtl cartridge ingest --from-device /dev/nst0 --label ABC123L8 --library lib0 --wait",
                Method::Post,
                "/ingests",
            ),
            ("vtl export ls --remote r", Method::Get, "/exports?remote=r"),
            ("vtl export show --remote r --folder F", Method::Get, "/exports/show?remote=r&folder=F"),
            ("vtl export fetch --remote r --folder F --to /keep", Method::Post, "/exports/fetch"),
            ("vtl export rewrap --remote r --folder F --key k", Method::Post, "/exports/rewrap"),
            ("vtl cartridge release VTL001L8", Method::Post, "/cartridges/VTL001L8/release"),
            ("vtl key create s", Method::Post, "/keys/s"),
            (
                "vtl export verify --remote r --folder VTL001L8-20261126_031500 --sample 10%",
                Method::Post,
                "/exports/verify",
            ),
            ("vtl export prune --remote r", Method::Post, "/exports/prune"),
            ("vtl job ls", Method::Get, "/jobs"),
            ("vtl job show 7", Method::Get, "/jobs/7"),
            ("vtl job log 7", Method::Get, "/jobs/7"),
            ("vtl job wait 7", Method::Get, "/jobs/7"),
            ("vtl job cancel 7", Method::Post, "/jobs/7/cancel"),
            ("vtl job pause 7", Method::Post, "/jobs/7/pause"),
            ("vtl job resume 7", Method::Post, "/jobs/7/resume"),
            ("vtl job retry 7", Method::Post, "/jobs/7/retry"),
            ("vtl job clear", Method::Delete, "/jobs"),
            ("vtl store key show", Method::Get, "/store/key"),
            ("vtl store key export /keep/keyring", Method::Post, "/store/key/export"),
            ("vtl store key rotate --key-file /keep/new", Method::Post, "/store/key/rotate"),
            ("vtl store key rotate --passphrase-file /keep/new", Method::Post, "/store/key/rotate"),
            ("vtl pool ls", Method::Get, "/pools"),
            ("vtl pool create fast --path /d1 /d2", Method::Post, "/pools"),
            ("vtl pool create fast --path /d1 --path /d2", Method::Post, "/pools"),
            ("vtl pool create safe --path /d1 --encrypted --key-file /keep/key", Method::Post, "/pools"),
            ("vtl pool create old --path /d1 --adopt", Method::Post, "/pools"),
            ("vtl pool show fast", Method::Get, "/pools/fast"),
            ("vtl pool rm fast", Method::Delete, "/pools/fast"),
            ("vtl pool open fast", Method::Post, "/pools/fast/open"),
            ("vtl pool add-folder fast --path /d3", Method::Post, "/pools/fast/folders"),
            ("vtl pool rm fast --forget", Method::Delete, "/pools/fast"),
            ("vtl store stats --pool fast", Method::Get, "/store/stats?pool=fast"),
            ("vtl store scrub --status --pool fast", Method::Get, "/store/scrub?pool=fast"),
            ("vtl store check --pool fast", Method::Post, "/store/check"),
            ("vtl store key show --pool fast", Method::Get, "/store/key?pool=fast"),
            ("vtl library set lib0 pool=fast", Method::Patch, "/libraries/lib0"),
            ("vtl pool drain /d1", Method::Post, "/pools/default/drain"),
            (
                "vtl iscsi initiator add lib0 iqn.1993-08.org.debian:01:abc",
                Method::Post,
                "/iscsi/targets/lib0/initiators",
            ),
            ("vtl iscsi portal ls", Method::Get, "/iscsi/portals"),
            ("vtl iscsi portal add 192.0.2.10:3260", Method::Post, "/iscsi/portals"),
            ("vtl iscsi portal rm [::1]:3260", Method::Delete, "/iscsi/portals/%5B%3A%3A1%5D%3A3260"),
            ("vtl iscsi chap rm lib0", Method::Delete, "/iscsi/targets/lib0/chap"),
            (
                "vtl iscsi initiator rm lib0 iqn.1993-08.org.debian:01:abc",
                Method::Delete,
                "/iscsi/targets/lib0/initiators/iqn.1993-08.org.debian%3A01%3Aabc",
            ),
            ("vtl config show --effective", Method::Get, "/config/effective"),
            ("vtl config show", Method::Get, "/config/effective"),
            ("vtl system rebuild --plan", Method::Post, "/system/rebuild"),
        ] {
            let request = request(line);
            assert_eq!((request.method, request.path.as_str()), (method, path), "{line}");
        }
    }

    #[test]
    fn an_export_says_what_was_typed_and_leaves_the_rest_to_the_server() {
        let body = |line: &str| request(line).body.unwrap();
        assert_eq!(body("vtl cartridge export VTL001L8"), json!({}));
        let all = body(
            "vtl cartridge export VTL001L8 --remote r --key k --chunk-size 64m --compress lz4 --verify readback --plan",
        );
        let wanted = json!({ "remote": "r", "key": "k", "chunk_size_bytes": 67_108_864, "compress": "lz4", "verify": "readback", "plan": true });
        assert_eq!(all, wanted);
        let several = body("vtl cartridge export VTL001L8 --key k --key l --sign-with s");
        assert_eq!(several, json!({ "key": "k,l", "sign_with": "s" }));
        let rewrap = body("vtl export rewrap --remote r --folder F --key l --key m --sign-with none");
        assert_eq!(rewrap, json!({ "remote": "r", "folder": "F", "key": "l,m", "sign_with": "none" }));
        let fetch = body("vtl export fetch --remote r --folder F --to /keep");
        assert_eq!(fetch, json!({ "remote": "r", "folder": "F", "to": "/keep" }));
        assert_eq!(body("vtl cartridge import --job 7"), json!({ "job": 7 }));
        assert_eq!(body("vtl cartridge import --job 7 --pool fast"), json!({ "job": 7, "pool": "fast" }));
        let folder = body("vtl cartridge import --remote r --folder F --as VTL009L8");
        assert_eq!(folder, json!({ "remote": "r", "folder": "F", "as_label": "VTL009L8" }));
        let sampled = body("vtl export verify --remote r --folder F --sample 5%");
        assert_eq!(sampled, json!({ "remote": "r", "folder": "F", "sample_percent": 5 }));
        for wrong in [
            "import",
            "import --job 7 --remote r --folder F",
            "import --remote r",
            "export VTL001L8 --compress gzip",
            "export VTL001L8 --verify md5",
        ] {
            let words = format!("vtl cartridge {wrong}");
            assert!(Cli::try_parse_from(words.split_whitespace()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cartridge_is_removed_and_taken_back_by_its_label_or_its_id_and_not_by_both_or_neither() {
        let body = request("vtl cartridge rm --id 0aff --confirm 0aff").body;
        assert_eq!(body, Some(json!({ "now": false, "confirm": "0aff" })));
        for wrong in ["rm", "rm VTL001L8 --id 0aff", "restore", "restore VTL001L8 --id 0aff"] {
            let words = format!("vtl cartridge {wrong}");
            assert!(Cli::try_parse_from(words.split_whitespace()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_inventory_is_only_said_to_be_made_again() {
        assert!(Cli::try_parse_from(["vtl", "system", "rebuild"]).is_err());
        assert_eq!(request("vtl system rebuild --plan").body, Some(json!({ "plan": true })));
    }

    #[test]
    fn a_size_becomes_bytes_in_the_request() {
        let body = request("vtl cartridge create SML001L8 --size 640m").body;
        assert_eq!(body.map(|b| b["size_bytes"].clone()), Some(json!(671_088_640)));
    }

    #[test]
    fn the_size_of_objects_has_its_unit() {
        let refused = |size: &str| {
            let line = ["vtl", "cartridge", "export", "VTL001L8", "--chunk-size", size];
            let Err(Failure::Local(told)) = Cli::try_parse_from(line).unwrap().command.call() else {
                panic!("{size} was taken")
            };
            told
        };
        let told = refused("10485760");
        assert!(told.contains("--chunk-size cannot be '10485760'") && told.contains("512m"), "{told}");
        assert!(refused("x").contains("'x'"));
    }

    #[test]
    fn each_job_about_an_export_can_be_asked_for_its_plan_which_is_printed_and_not_waited_for() {
        let folder = json!({ "remote": "r", "folder": "F", "plan": true });
        let with = |name: &str, value: Value| {
            let mut body = folder.clone();
            body[name] = value;
            body
        };
        for (line, body) in [
            ("vtl cartridge export VTL001L8 --plan", json!({ "plan": true })),
            ("vtl cartridge import --job 7 --plan", json!({ "job": 7, "plan": true })),
            (
                "vtl cartridge ingest --from-device /dev/nst0 --label ABC123L8 --plan",
                json!({ "device": "/dev/nst0", "label": "ABC123L8", "plan": true }),
            ),
            ("vtl export verify --remote r --folder F --plan", folder.clone()),
            ("vtl export fetch --remote r --folder F --to /keep --plan", with("to", json!("/keep"))),
            ("vtl export rewrap --remote r --folder F --key k --plan", with("key", json!("k"))),
            ("vtl export prune --remote r --plan", json!({ "remote": "r", "plan": true })),
        ] {
            let call = Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap();
            assert_eq!(call.then, Then::Print, "{line}");
            assert!(matches!(call.view, View::FieldsAndTable("tasks", _)), "{line}");
            assert_eq!(call.request.body, Some(body), "{line}");
        }
        for wrong in ["import --job 7", "ingest --from-device /dev/nst0 --label ABC123L8"] {
            let words = format!("vtl cartridge {wrong} --plan --wait");
            assert!(Cli::try_parse_from(words.split_whitespace()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_priority_that_was_typed_is_in_the_request_and_none_when_none_was() {
        for line in [
            "vtl cartridge export VTL001L8",
            "vtl cartridge import --job 7",
            "vtl cartridge ingest --from-device /dev/nst0 --label ABC123L8",
            "vtl export verify --remote r --folder F",
            "vtl export fetch --remote r --folder F --to /keep",
            "vtl export rewrap --remote r --folder F --key k",
        ] {
            let priority = |line: &str| request(line).body.unwrap().get("priority").cloned();
            assert_eq!(priority(line), None, "{line}");
            for word in ["low", "normal", "high"] {
                assert_eq!(priority(&format!("{line} --priority {word}")), Some(json!(word)), "{line}");
            }
            let wrong = format!("{line} --priority urgent");
            assert!(Cli::try_parse_from(wrong.split_whitespace()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_repair_leaves_lost_is_looked_at_whether_it_is_a_job_or_not() {
        let view =
            |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap().command.call().unwrap().view;
        assert!(matches!(view("vtl store repair"), View::NoneOf("lost")));
        assert!(matches!(view("vtl store repair --from-exports --wait"), View::Repair));
    }

    #[test]
    fn the_pool_that_was_named_is_in_the_request_and_none_when_none_was() {
        for (line, body) in [
            ("vtl store gc --pool fast", json!({ "pool": "fast" })),
            ("vtl store scrub --pool fast", json!({ "pool": "fast" })),
            ("vtl store repair", json!({})),
            ("vtl store repair --from-exports --pool fast", json!({ "pool": "fast", "from_exports": true })),
            ("vtl store repair --from-exports --plan", json!({ "from_exports": true, "plan": true })),
            (
                "vtl store key export /keep/keyring --pool fast",
                json!({ "pool": "fast", "file": "/keep/keyring" }),
            ),
            ("vtl library set lib0 pool=fast", json!({ "pool": "fast", "force": false })),
            (
                "vtl pool create fast --path /d1 /d2 --dedupe off --size 2t --chunk-size 64k",
                json!({ "name": "fast", "paths": ["/d1", "/d2"], "dedupe": false, "size_bytes": 2_199_023_255_552_u64, "chunk_bytes": 65_536 }),
            ),
        ] {
            assert_eq!(request(line).body, Some(body), "{line}");
        }
        let body = request("vtl cartridge create VTL011L8 --pool fast").body.unwrap();
        assert_eq!(body["pool"], "fast");
    }

    #[test]
    fn retention_and_hold_are_in_the_request_as_they_were_typed() {
        let body = request("vtl cartridge set VTL001L8 retain-until=2030-01-31 hold=off").body;
        assert_eq!(body, Some(json!({ "retain_until": "2030-01-31", "hold": false })));
        let cli = Cli::try_parse_from(["vtl", "cartridge", "set", "VTL001L8", "hold=yes"]).unwrap();
        let Err(Failure::Local(message)) = cli.command.call() else { panic!("yes is no switch") };
        assert!(message.contains("hold cannot be 'yes'") && message.contains("on or off"), "{message}");
    }

    #[test]
    fn a_collection_asks_for_the_share_that_is_given_and_for_no_other() {
        assert_eq!(request("vtl store gc --dead 10").body, Some(json!({ "dead_percent": 10 })));
        assert_eq!(request("vtl store gc").body, Some(json!({})));
        assert_eq!(request("vtl store gc --plan").body, Some(json!({ "plan": true })));
        assert_eq!(request("vtl store gc --background").body, Some(json!({ "background": true })));
        assert_eq!(request("vtl store scrub --rate 2m").body, Some(json!({ "rate": "2m" })));
        assert_eq!(request("vtl store scrub").body, Some(json!({})));
        for wrong in ["0", "101", "many"] {
            assert!(Cli::try_parse_from(["vtl", "store", "gc", "--dead", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_rotation_names_one_new_key_and_no_secret_is_in_the_request() {
        let body = request("vtl store key rotate --key-file /keep/new").body;
        assert_eq!(body, Some(json!({ "key_file": "/keep/new" })));
        for wrong in [&[][..], &["--key-file", "/a", "--passphrase-file", "/b"]] {
            let words = [&["vtl", "store", "key", "rotate"], wrong].concat();
            assert!(Cli::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn settings_with_a_dot_go_to_the_server_as_they_were_typed() {
        let body = request("vtl library set lib0 migrate.remote=off-site migrate.key= slots=30").body;
        let settings = json!({ "migrate.remote": "off-site", "migrate.key": "" });
        assert_eq!(body, Some(json!({ "slots": 30, "settings": settings, "force": false })));
    }

    #[test]
    fn a_wrong_setting_is_named_with_what_would_be_right() {
        let cli = Cli::try_parse_from(["vtl", "library", "set", "lib0", "shelves=3"]).unwrap();
        let Err(Failure::Local(message)) = cli.command.call() else { panic!("shelves are no setting") };
        assert!(message.contains("shelves") && message.contains("drives, slots, mailslots"), "{message}");
    }
}
