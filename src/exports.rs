//! Requests about exports and imports. What they do stands in `docs/export.md`; the engines are in `vtl-migrate`.

mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use vtl_api::{
    ApiError, Done, ErrorCode, ExportCartridge, ExportFolder, FetchExport, ImportCartridge, PruneExports,
    RewrapExport, VerifyExport,
};
use vtl_auth::Permission;
use vtl_jobs::{JobId, State};
use vtl_library::{Cartridge, CartridgeState, LibraryError};
use vtl_meta::Tx;
use vtl_migrate::{
    EXPORT, ExportRequest, ExportResult, FETCH, FetchRequest, FolderName, IMPORT, ImportRequest, PRUNE,
    PruneRequest, REWRAP, RewrapRequest, Row, VERIFY, VerifyRequest,
};
use vtl_remote::Remote;
use vtl_types::{CartridgeId, Label};

use crate::access::rules::Granted;
use crate::api::{field, parse};
use crate::daemon::{Daemon, internal, invalid, lock};
use crate::jobs::{Ask, not_done};
use crate::library_settings::{self, Effective};

/// What the inventory has of a cartridge beside its own row.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    /// Its complete copies.
    pub exports: Vec<String>,
    /// Why they cannot be told: nobody knows then, which is not the same as none.
    pub exports_problem: Option<String>,
    /// Why it is in quarantine; nothing when that cannot be read, which the status tells: it is not let out of the vault
    /// then either.
    pub quarantined: Option<String>,
    /// Not all of it is here, or that cannot be read.
    pub may_be_lazy: bool,
}

impl Beside {
    fn read(tx: &Tx<'_>, id: CartridgeId) -> Self {
        let quarantined = vtl_library::quarantined(tx, id).ok().flatten();
        let may_be_lazy = !matches!(vtl_migrate::lazy_of(tx, id), Ok(None));
        let rest = Self { quarantined, may_be_lazy, ..Self::default() };
        match vtl_migrate::of_cartridge(tx, id) {
            Ok(rows) => {
                let place = |row: Row| format!("{}/{}", row.remote, row.folder);
                Self { exports: rows.into_iter().map(place).collect(), ..rest }
            }
            Err(error) => Self { exports_problem: Self::unread(id, &error.into()).exports_problem, ..rest },
        }
    }

    fn unread(id: CartridgeId, error: &LibraryError) -> Self {
        tracing::error!(cartridge = %id, %error, "where a cartridge was exported to cannot be read");
        let problem = crate::api::refused(error).advised();
        Self { exports_problem: Some(problem), may_be_lazy: true, ..Self::default() }
    }
}

impl Daemon {
    /// Where objects stay on their way.
    pub(crate) fn staging(&self) -> PathBuf {
        let configured = self.config().migrate.staging_dir.clone();
        configured.unwrap_or_else(|| self.state.path().join("staging"))
    }

    /// A job that exports a cartridge, or what it would do.
    pub(crate) fn cartridge_export(
        &self,
        label: &str,
        asked: &ExportCartridge,
        granted: &Granted,
    ) -> Result<Value, ApiError> {
        let label: Label = parse(label)?;
        let cartridge =
            self.meta.read(|tx| vtl_library::cartridge(tx, label)).map_err(|e| crate::api::refused(&e))?;
        if cartridge.state != CartridgeState::Normal {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{label} is in the trash"),
                format!("take it back first: vtl cartridge restore {label}"),
            ));
        }
        let settings = self.settings_for(cartridge.library.as_ref())?;
        self.check_export(asked, &settings)?;
        let request =
            |settings: &Effective| filled(asked, settings.request(label, cartridge.library.as_ref()));
        let about = Some(label.to_string());
        let ask = Ask::of(asked.plan, asked.priority);
        if ask == Ask::Plan {
            return self.plan_or_begin(ask, EXPORT, about, &request(&settings));
        }
        // What changes settings and remotes comes before, and counts, or after, and finds the job.
        let _one_at_a_time = lock(&self.changes);
        let settings = self.settings_for(cartridge.library.as_ref())?;
        let deletes = settings.would_delete(&library_settings::of_export(asked));
        granted.covers(deletes.then_some(Permission::Destroy))?;
        self.plan_or_begin(ask, EXPORT, about, &request(&settings))
    }

    /// What is wrong is told at once, and not by a job that fails.
    fn check_export(&self, asked: &ExportCartridge, settings: &Effective) -> Result<(), ApiError> {
        let remote = asked.remote.as_deref().or_else(|| settings.remote());
        let Some(remote) = remote else {
            let remedy = "name one with --remote, or set migrate.remote; vtl remote ls shows them";
            return Err(invalid("no remote is named".to_owned(), remedy).about("remote"));
        };
        self.opened("remote", remote)?;
        let key = asked.key.as_deref().or_else(|| settings.key());
        if let Some(key) = key.filter(|key| *key != "none") {
            field("key", self.keys.publics(key).map_err(crate::keys::refused))?;
        }
        self.can_sign(asked.sign_with.as_deref().or_else(|| settings.sign_with()))?;
        let sizes = vtl_migrate::CHUNK_SIZES;
        if let Some(bytes) = asked.chunk_size_bytes.filter(|bytes| !sizes.contains(bytes)) {
            let why = format!("objects of {bytes} bytes cannot be");
            return Err(invalid(why, "write a size from 1m to 1t").about("chunk_size_bytes"));
        }
        let compress = is_one_of(asked.compress.as_deref(), &["zstd", "lz4", "none"], "compression");
        field("compress", compress)?;
        let ways = ["remote-hash", "readback", "none"];
        field("verify", is_one_of(asked.verify.as_deref(), &ways, "way to verify"))
    }

    /// The remote that a member of a request names.
    fn opened(&self, member: &str, remote: &str) -> Result<Arc<dyn Remote>, ApiError> {
        field(member, self.remotes.open(remote).map_err(crate::remotes::refused))
    }

    /// Whether the key that is named in `sign_with` signs.
    fn can_sign(&self, signer: Option<&str>) -> Result<(), ApiError> {
        match signer {
            None | Some("none") => Ok(()),
            Some(name) => field("sign_with", self.keys.signing(name).map(drop).map_err(crate::keys::refused)),
        }
    }

    /// A job that imports a cartridge, or what it would do.
    pub(crate) fn cartridge_import(&self, asked: &ImportCartridge) -> Result<Value, ApiError> {
        let (remote, folder) = match (asked.job, &asked.remote, &asked.folder) {
            (Some(job), None, None) => field("job", self.exported_by(JobId(job)))?,
            (None, Some(remote), Some(folder)) => (remote.clone(), folder.clone()),
            _ => {
                let remedy = "name either a job, or a remote and a folder on it";
                let error = invalid("what is to be imported is not named".to_owned(), remedy);
                return Err(error.about(misnamed(asked)));
            }
        };
        let name = parse_folder(&folder)?;
        self.opened(if asked.job.is_some() { "job" } else { "remote" }, &remote)?;
        let label = asked.as_label.as_deref().map(parse).transpose();
        let label: Label = field("as_label", label)?.unwrap_or(name.label);
        let here = self.meta.read(|tx| vtl_library::cartridge(tx, label)).ok();
        // One that is here in part is gone on with.
        let is_begun = here.as_ref().and_then(|here| self.lazy_row(here.id));
        let is_begun = is_begun.is_some_and(|row| row.remote == remote && row.folder == folder);
        if here.is_some() && !is_begun {
            return Err(ApiError::new(
                ErrorCode::Exists,
                format!("a cartridge {label} is here already"),
                "take it in under another label: --as LABEL; or remove the one that is here",
            )
            .about("as_label"));
        }
        if asked.lazy && asked.pool.as_deref().is_some_and(|name| name != "default") {
            return Err(ApiError::new(
                ErrorCode::Unsupported,
                "a lazy import into another pool than default is not supported",
                "leave --lazy out, or --pool",
            )
            .about("lazy"));
        }
        // A removal of the pool comes before, and there is none, or after, and finds the job.
        let one_at_a_time = lock(&self.changes);
        let pool = asked.pool.as_deref().map(|name| self.pools.one(Some(name))).transpose();
        let pool = field("pool", pool)?.map(|pool| pool.name.to_string());
        let request =
            ImportRequest { remote, folder, as_label: asked.as_label.clone(), pool, lazy: asked.lazy };
        if asked.plan {
            // It may wait for a remote, and nobody waits for it.
            drop(one_at_a_time);
        }
        let ask = Ask::of(asked.plan, asked.priority);
        self.plan_or_begin(ask, IMPORT, Some(label.to_string()), &request)
    }

    /// Where the bundle lies that an export job has made, or found.
    fn exported_by(&self, id: JobId) -> Result<(String, String), ApiError> {
        let job = self.jobs.manager()?.show(id).map_err(|error| not_done(Some(id), &error))?.job;
        let none = |why: &str| {
            ApiError::new(
                ErrorCode::Conflict,
                format!("job {id} {why}"),
                "name a remote and a folder on it; vtl export ls --remote REMOTE shows them",
            )
        };
        if job.kind != EXPORT {
            return Err(none("is no export"));
        }
        if job.state != State::Completed {
            return Err(none(&format!("is {}", job.state.word())));
        }
        let result: Option<ExportResult> = job.result.and_then(|text| serde_json::from_str(&text).ok());
        let place = result.and_then(|result| Some((result.remote, result.folder?)));
        place.ok_or_else(|| none("has made nothing: the cartridge was blank"))
    }

    /// Folders of exports on a remote.
    pub(crate) fn export_list(&self, remote: &str) -> Result<Vec<ExportFolder>, ApiError> {
        let opened = self.opened("remote", remote)?;
        let listed = self.remotes.wait(vtl_migrate::found_in(&*opened)).map_err(crate::remotes::refused)?;
        let found = listed.map_err(|error| not_listed(&error))?;
        let known = self.meta.read(|tx| Ok(vtl_migrate::all(tx)?)).map_err(|e| crate::api::refused(&e))?;
        let row = |one: vtl_migrate::Found| {
            let folder = one.name.to_string();
            let rows: Vec<&Row> =
                known.iter().filter(|row| row.remote == remote && row.folder == folder).collect();
            ExportFolder {
                label: one.name.label.to_string(),
                objects: one.objects,
                bytes: one.bytes,
                complete: one.complete,
                known: !rows.is_empty(),
                cartridge: rows.iter().find_map(|row| self.has_content(row)),
                folder,
            }
        };
        Ok(found.into_iter().map(row).collect())
    }

    /// The label of the cartridge here that has the content of a row still.
    fn has_content(&self, row: &Row) -> Option<String> {
        let found = self.meta.read(|tx| vtl_library::cartridge_by_id(tx, row.cartridge)).ok()??;
        let pool = self.pools.of(row.cartridge).ok()?;
        let facts = vtl_cartridge::Cartridge::inspect(&pool.store, row.cartridge).ok()?;
        (facts.generation == row.generation).then(|| found.label.to_string())
    }

    /// What the inventory has of cartridges beside their own rows. A long list asks once, not once for each of its rows
    /// between the changes of others.
    pub(crate) fn besides(&self, cartridges: &[Cartridge]) -> Vec<Beside> {
        let read = self.meta.read(|tx| Ok(cartridges.iter().map(|one| Beside::read(tx, one.id)).collect()));
        read.unwrap_or_else(|error| cartridges.iter().map(|one| Beside::unread(one.id, &error)).collect())
    }

    /// Takes a cartridge out of quarantine.
    pub(crate) fn cartridge_release(&self, label: &str) -> Result<Done, ApiError> {
        let label: Label = parse(label)?;
        let released =
            self.meta.change(|tx| vtl_library::release(tx, label)).map_err(|e| crate::api::refused(&e))?;
        let label = released.label.to_string();
        tracing::info!(label, "a cartridge is released from quarantine");
        Ok(Done { message: format!("{label} is released: it can be loaded"), names: vec![label] })
    }

    /// A job that compares what is on a remote with its hashes, or what it would do.
    pub(crate) fn export_verify(&self, asked: &VerifyExport) -> Result<Value, ApiError> {
        let name = parse_folder(&asked.folder)?;
        self.opened("remote", &asked.remote)?;
        if asked.sample_percent.is_some_and(|percent| !(1..=100).contains(&percent)) {
            let error = invalid("no such share can be verified".to_owned(), "write 1 to 100 percent");
            return Err(error.about("sample_percent"));
        }
        let VerifyExport { remote, folder, sample_percent, priority, plan } = asked.clone();
        let request = VerifyRequest { remote, folder, sample_percent };
        self.plan_or_begin(Ask::of(plan, priority), VERIFY, Some(name.label.to_string()), &request)
    }

    /// A job that removes folders from a remote, or what it would do.
    pub(crate) fn export_prune(&self, asked: &PruneExports) -> Result<Value, ApiError> {
        let name = asked.folder.as_deref().map(parse_folder).transpose()?;
        self.opened("remote", &asked.remote)?;
        // Whether the folder is complete and needs it, its job sees.
        let is_other = |confirm: &&str| asked.folder.as_deref() != Some(*confirm);
        if let Some(confirm) = asked.confirm.as_deref().filter(is_other) {
            let message = format!("'{}' is not the folder that is to go", confirm.escape_debug());
            return Err(invalid(message, "write the folder's name once more").about("confirm"));
        }
        let PruneExports { remote, folder, confirm, plan } = asked.clone();
        let request = PruneRequest { remote, folder, confirm, left_by: None };
        self.plan_or_begin(Ask::of(plan, None), PRUNE, name.map(|name| name.label.to_string()), &request)
    }

    /// A job that copies a folder of a remote to this machine, or what it would do.
    pub(crate) fn export_fetch(&self, asked: &FetchExport) -> Result<Value, ApiError> {
        let name = parse_folder(&asked.folder)?;
        self.opened("remote", &asked.remote)?;
        if !Path::new(&asked.to).is_absolute() {
            let remedy = "write an absolute path, since the server has its own working folder";
            return Err(invalid(format!("'{}' is no absolute path", asked.to), remedy).about("to"));
        }
        let FetchExport { remote, folder, to, priority, plan } = asked.clone();
        let request = FetchRequest { remote, folder, to };
        self.plan_or_begin(Ask::of(plan, priority), FETCH, Some(name.label.to_string()), &request)
    }

    /// A job that wraps the data key of a bundle for other keys, or what it would do.
    pub(crate) fn export_rewrap(&self, asked: &RewrapExport) -> Result<Value, ApiError> {
        let name = parse_folder(&asked.folder)?;
        self.opened("remote", &asked.remote)?;
        field("key", self.keys.publics(&asked.key).map_err(crate::keys::refused))?;
        self.can_sign(asked.sign_with.as_deref())?;
        let RewrapExport { remote, folder, key, sign_with, priority, plan } = asked.clone();
        let request = RewrapRequest { remote, folder, key, sign_with };
        self.plan_or_begin(Ask::of(plan, priority), REWRAP, Some(name.label.to_string()), &request)
    }

    /// What a job of this kind would do; or one, and what it is at its beginning.
    pub(crate) fn plan_or_begin(
        &self,
        ask: Ask,
        kind: &str,
        label: Option<String>,
        request: &impl serde::Serialize,
    ) -> Result<Value, ApiError> {
        let request = serde_json::to_string(request).map_err(|why| internal(&why.to_string()))?;
        match ask {
            Ask::Plan => Ok(json!(self.job_plan(kind, &request)?)),
            Ask::Job(priority) => {
                let id = self.jobs.submit_with(priority, kind, label, request)?;
                Ok(json!(self.job_show(&id.to_string())?))
            }
        }
    }
}

/// What is asked for, and the settings for what is not.
fn filled(asked: &ExportCartridge, otherwise: ExportRequest) -> ExportRequest {
    ExportRequest {
        remote: asked.remote.clone().or(otherwise.remote),
        key: asked.key.clone().or(otherwise.key),
        sign_with: asked.sign_with.clone().or(otherwise.sign_with),
        chunk_bytes: asked.chunk_size_bytes.or(otherwise.chunk_bytes),
        compress: asked.compress.clone().or(otherwise.compress),
        verify: asked.verify.clone().or(otherwise.verify),
        ..otherwise
    }
}

/// The member that is missing in what names an export, or one too many.
const fn misnamed(asked: &ImportCartridge) -> &'static str {
    match asked {
        ImportCartridge { job: None, remote: Some(_), .. } => "folder",
        ImportCartridge { job: None, folder: Some(_), .. } => "remote",
        ImportCartridge { .. } => "job",
    }
}

fn is_one_of(asked: Option<&str>, words: &[&str], what: &str) -> Result<(), ApiError> {
    match asked {
        Some(other) if !words.contains(&other) => Err(invalid(
            format!("'{}' is no {what}", other.escape_debug()),
            &format!("write one of {}", words.join(", ")),
        )),
        _ => Ok(()),
    }
}

/// What a remote says to a request that is no job.
fn not_listed(error: &vtl_remote::Error) -> ApiError {
    let vtl_jobs::Failure { code, message, remedy, .. } = vtl_transfer::failure(error);
    crate::jobs::refusal(&vtl_jobs::Trouble { code, message, remedy })
}

fn parse_folder(text: &str) -> Result<FolderName, ApiError> {
    text.parse().map_err(|why| invalid(why, "see vtl export ls --remote REMOTE").about("folder"))
}

#[cfg(test)]
mod tests {
    use vtl_meta::{Table, Value};

    /// The catalogue with two columns exchanged, so that what is written by it has no right checksum.
    static EXCHANGED: Table = Table {
        name: "exports",
        columns: &[
            "remote",
            "folder",
            "cartridge",
            "label",
            "generation",
            "origin",
            "made_s",
            "image_bytes",
            "stored_bytes",
            "manifest_sha256",
            "objects",
            "proof",
        ],
        key_len: 3,
    };

    #[test]
    fn copies_that_cannot_be_told_are_a_problem_and_not_none() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = crate::daemon::tests::open(folder.path(), &[]);
        let cartridge =
            |label: &str| daemon.meta.read(|tx| vtl_library::cartridge(tx, label.parse().unwrap())).unwrap();
        let damaged = cartridge("VTL001L8").id;
        let text = |text: &str| Value::Text(text.to_owned());
        let one = Value::Integer(1);
        let row = [
            text("r"),
            text("VTL001L8-20261126_031500"),
            Value::Blob(damaged.0.to_vec()),
            text("VTL001L8"),
            one.clone(),
            text("export"),
            one.clone(),
            one.clone(),
            one,
            text("00"),
            text("[]"),
            text("verified"),
        ];
        daemon.meta.change(|tx| Ok(tx.insert(&EXCHANGED, &row)?)).unwrap();
        let told = daemon.besides(&[cartridge("VTL001L8"), cartridge("VTL002L8")]);
        let problem = told[0].exports_problem.as_deref().unwrap();
        assert!(problem.contains("exports") && problem.contains("VTL001L8-20261126_031500"), "{told:?}");
        assert_eq!((told[1].exports.len(), &told[1].exports_problem), (0, &None));
        daemon.stop();
    }
}
