//! Exports, imports, and what lies on remotes.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use vtl_api::{
    ExportCartridge, FetchExport, ImportCartridge, JobPriority, PruneExports, RewrapExport, VerifyExport,
};

use super::{Call, PLAN, Then, absolute, call, get, parse_size_with_unit, path};
use crate::http::{Failure, Method, segment};
use crate::print::View;

/// When the turn of a job comes.
#[derive(Args)]
pub struct Turn {
    /// Before or after other jobs that wait; normal when left out.
    #[arg(long, value_parser = JobPriority::ALL.map(JobPriority::word))]
    priority: Option<String>,
}

impl Turn {
    pub(super) fn priority(&self) -> Option<JobPriority> {
        self.priority.as_deref().and_then(JobPriority::of)
    }
}

/// Arguments of `vtl cartridge export`. What is left out is as configured.
#[derive(Args)]
pub struct ExportArguments {
    /// Label of the cartridge.
    label: String,
    /// Name of the remote.
    #[arg(long)]
    remote: Option<String>,
    /// Name of the key for whose owner it is encrypted; once for each, if there are several.
    #[arg(long)]
    key: Vec<String>,
    /// Name of the Ed25519 key that signs it, or none.
    #[arg(long, value_name = "KEY")]
    sign_with: Option<String>,
    /// The most that an object may have, with its unit, such as 512m.
    #[arg(long, value_name = "SIZE")]
    chunk_size: Option<String>,
    /// What bytes are compressed with before they are encrypted.
    #[arg(long, value_parser = ["zstd", "lz4", "none"])]
    compress: Option<String>,
    /// How what is sent is verified: by the remote's own hash, by fetching it again, or not.
    #[arg(long, value_parser = ["remote-hash", "readback", "none"])]
    verify: Option<String>,
    #[command(flatten)]
    turn: Turn,
    /// Wait for its end.
    #[arg(long)]
    wait: bool,
    /// Send nothing; print what would be done.
    #[arg(long, conflicts_with = "wait")]
    plan: bool,
}

/// Arguments of `vtl cartridge import`.
#[derive(Args)]
pub struct ImportArguments {
    /// Number of the export job that made it.
    #[arg(long, conflicts_with_all = ["remote", "folder"], required_unless_present_all = ["remote", "folder"])]
    job: Option<u64>,
    /// Name of the remote.
    #[arg(long, requires = "folder")]
    remote: Option<String>,
    /// Folder on the remote, such as VTL001L8-20261126_031500.
    #[arg(long, requires = "remote")]
    folder: Option<String>,
    /// Label here, when it is not to be the one that it had.
    #[arg(long = "as", value_name = "LABEL")]
    as_label: Option<String>,
    /// Pool for its bytes; the default one when left out.
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
    /// Loadable at once; blocks are fetched when they are read, and the rest meanwhile.
    #[arg(long)]
    lazy: bool,
    #[command(flatten)]
    turn: Turn,
    /// Wait for its end.
    #[arg(long)]
    wait: bool,
    /// Take nothing in; print what would be done.
    #[arg(long, conflicts_with = "wait")]
    plan: bool,
}

/// Verbs of `vtl export`.
#[derive(Subcommand)]
pub enum ExportVerb {
    /// List folders of exports on a remote, whoever wrote them.
    Ls {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
    },
    /// What an export is, who can open it, and, when the key is here, what is in it.
    Show {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
        /// Folder on the remote.
        #[arg(long)]
        folder: String,
    },
    /// Copy an export as it is to a folder of the server's machine, each object verified, such as for vtl-decode; waits for the end. No key is needed.
    Fetch {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
        /// Folder on the remote.
        #[arg(long)]
        folder: String,
        /// Where it goes: a folder that is there; one with the export's name is made in it.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
        /// Who starts first.
        #[command(flatten)]
        turn: Turn,
        /// Copy nothing; print what would be done.
        #[arg(long)]
        plan: bool,
    },
    /// Encrypt an export for other keys without sending its objects again; waits for the end. A private key that opens it must be here.
    Rewrap {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
        /// Folder on the remote.
        #[arg(long)]
        folder: String,
        /// Name of a key whose owner can open it then; once for each. Nobody else can.
        #[arg(long, required = true)]
        key: Vec<String>,
        /// Name of the Ed25519 key that signs it, or none.
        #[arg(long, value_name = "KEY")]
        sign_with: Option<String>,
        /// Who starts first.
        #[command(flatten)]
        turn: Turn,
        /// Write nothing; print what would be done.
        #[arg(long)]
        plan: bool,
    },
    /// Fetch objects and compare them with their hashes; waits for the end. No key is needed.
    Verify {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
        /// Folder on the remote.
        #[arg(long)]
        folder: String,
        /// So many percent of the objects, by chance, such as 10%.
        #[arg(long, value_name = "N%", value_parser = percent)]
        sample: Option<u8>,
        /// Who starts first.
        #[command(flatten)]
        turn: Turn,
        /// Fetch no object; print what would be done.
        #[arg(long)]
        plan: bool,
    },
    /// Remove incomplete folders that are a week old, or one folder; waits for the end.
    Prune {
        /// Name of the remote.
        #[arg(long)]
        remote: String,
        /// Only this folder, however old.
        #[arg(long)]
        folder: Option<String>,
        /// The folder once more, when it is complete.
        #[arg(long, value_name = "FOLDER", requires = "folder")]
        confirm: Option<String>,
        /// Remove nothing; print each folder that would go.
        #[arg(long)]
        plan: bool,
    },
}

impl ExportArguments {
    pub(super) fn call(&self) -> Result<Call, Failure> {
        let body = ExportCartridge {
            remote: self.remote.clone(),
            key: names(&self.key),
            sign_with: self.sign_with.clone(),
            chunk_size_bytes: self
                .chunk_size
                .as_deref()
                .map(|size| parse_size_with_unit("--chunk-size", size))
                .transpose()?,
            compress: self.compress.clone(),
            verify: self.verify.clone(),
            priority: self.turn.priority(),
            plan: self.plan,
        };
        let path = format!("{}/export", path("cartridges", &self.label));
        let view = if self.plan { PLAN } else { job_view(self.wait) };
        Ok(Call { then: then(self.wait), ..call(Method::Post, path, Some(json!(body)), view) })
    }
}

impl ImportArguments {
    pub(super) fn call(&self) -> Call {
        let body = ImportCartridge {
            job: self.job,
            remote: self.remote.clone(),
            folder: self.folder.clone(),
            as_label: self.as_label.clone(),
            pool: self.pool.clone(),
            lazy: self.lazy,
            priority: self.turn.priority(),
            plan: self.plan,
        };
        let view = if self.plan { PLAN } else { job_view(self.wait) };
        let request = call(Method::Post, "/imports".to_owned(), Some(json!(body)), view);
        Call { then: then(self.wait), ..request }
    }
}

impl ExportVerb {
    pub(super) fn call(&self) -> Result<Call, Failure> {
        let job = |path: &str, body, plan: bool| Call {
            then: then(!plan),
            ..call(Method::Post, path.to_owned(), Some(body), if plan { PLAN } else { job_view(true) })
        };
        Ok(match self {
            Self::Show { remote, folder } => get(
                &format!("/exports/show?remote={}&folder={}", segment(remote), segment(folder)),
                View::Export,
            ),
            Self::Fetch { remote, folder, to, turn, plan } => {
                let body = FetchExport {
                    remote: remote.clone(),
                    folder: folder.clone(),
                    to: absolute(to)?,
                    priority: turn.priority(),
                    plan: *plan,
                };
                job("/exports/fetch", json!(body), *plan)
            }
            Self::Rewrap { remote, folder, key, sign_with, turn, plan } => {
                let body = RewrapExport {
                    remote: remote.clone(),
                    folder: folder.clone(),
                    key: key.join(","),
                    sign_with: sign_with.clone(),
                    priority: turn.priority(),
                    plan: *plan,
                };
                job("/exports/rewrap", json!(body), *plan)
            }
            Self::Ls { remote } => get(&format!("/exports?remote={}", segment(remote)), View::Table(COLUMNS)),
            Self::Verify { remote, folder, sample, turn, plan } => {
                let body = VerifyExport {
                    remote: remote.clone(),
                    folder: folder.clone(),
                    sample_percent: *sample,
                    priority: turn.priority(),
                    plan: *plan,
                };
                job("/exports/verify", json!(body), *plan)
            }
            Self::Prune { remote, folder, confirm, plan } => {
                let body = PruneExports {
                    remote: remote.clone(),
                    folder: folder.clone(),
                    confirm: confirm.clone(),
                    plan: *plan,
                };
                job("/exports/prune", json!(body), *plan)
            }
        })
    }
}

/// As the API has them.
fn names(keys: &[String]) -> Option<String> {
    (!keys.is_empty()).then(|| keys.join(","))
}

const COLUMNS: &[&str] = &["folder", "label", "objects", "bytes", "complete", "known", "cartridge"];

pub(super) fn then(wait: bool) -> Then {
    if wait { Then::Job } else { Then::Print }
}

pub(super) fn job_view(wait: bool) -> View {
    if wait { View::Job } else { View::JobLine }
}

/// `10%`, or the number alone.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number.filter(|number| (1..=100).contains(number)).ok_or_else(|| "write 1% to 100%".to_owned())
}
