//! Requests about the configuration and the whole.

use std::path::Path;

use serde_json::{Value, json};
use vtl_api::{
    ApiError, BackupFile, CheckConfig, ConfigValue, Done, ErrorCode, Problem, RebuildInventory, RebuildRow,
    SystemStatus, UpgradeStore,
};
use vtl_conf::{ConfErrors, Origin};
use vtl_durable::Blame;
use vtl_library::{Head, LibraryError, Verdict};
use vtl_meta::MetaError;
use vtl_types::CartridgeId;

use super::route::{Nothing, Route, field, get, post};
use super::{Answer, done, refused};
use crate::clock::rfc3339;
use crate::daemon::{Daemon, invalid, not_at};
use crate::own_files::not_among_ours;
use crate::pools::SEE_DISK;
use crate::state::{NotStaged, hexadecimal, stage_restore};

pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/config/effective", "The configuration in effect", |d, (), _: Nothing| d.config_effective()),
        post("/config/check", "Check a configuration file", |d, (), b: CheckConfig| d.config_check(&b)),
        get("/system/status", "Whether all is well", |d, (), _: Nothing| d.system_status()),
        get("/system/diag", "Facts for a fault report", |d, (), _: Nothing| d.system_diag()),
        post("/system/reload", "Read the configuration again", |d, (), _: Nothing| d.system_reload()),
        post("/system/backup", "Copy the inventory to a file", |d, (), b: BackupFile| d.system_backup(&b)),
        post(
            "/system/restore",
            "Put a copy of the inventory back at the next start",
            |d, (), b: BackupFile| d.system_restore(&b),
        ),
        post("/system/upgrade", "Which versions of formats there are", |d, (), b: UpgradeStore| {
            d.store_upgrade(b)
        }),
        post("/system/rebuild", "What the cartridges say of themselves", |d, (), b: RebuildInventory| {
            d.system_rebuild(&b)
        }),
    ]
}

/// In the place of a value that a key does not have.
const NOT_SET: &str = "not set";

/// What helps when the API's certificate cannot be shown.
const NO_CERTIFICATE: &str =
    "name a certificate and its key that the server's user can read, the key's file with mode 0600";

/// A cartridge that says nothing of itself, and what is to be done.
type Broken = (CartridgeId, String);

impl Daemon {
    pub(super) fn config_effective(&self) -> Answer<Vec<ConfigValue>> {
        let config = self.config();
        let next_start = |key: &str| {
            let waiting = config.waiting().iter().find(|one| one.key == key)?;
            Some(waiting.value.clone().unwrap_or_else(|| NOT_SET.to_owned()))
        };
        let rows = config.effective().iter().map(|setting| ConfigValue {
            key: setting.key.clone(),
            value: setting.value.clone(),
            next_start: next_start(&setting.key),
            origin: match &setting.origin {
                Origin::Default => "default".to_owned(),
                other => other.to_string(),
            },
        });
        Ok(rows.collect())
    }

    pub(super) fn config_check(&self, request: &CheckConfig) -> Answer<Done> {
        let Some(file) = request.file.as_deref().map(Path::new).or(self.args.config.as_deref()) else {
            return Ok(done("there is no configuration file; the defaults are in effect", Vec::new()));
        };
        let checked = self.check_file(file);
        match request.file {
            Some(_) => field("file", checked),
            None => checked,
        }?;
        Ok(done(format!("{} is right", file.display()), Vec::new()))
    }

    /// As a start takes it: below the command line, with its certificate, and in front of the targets that there are.
    fn check_file(&self, file: &Path) -> Answer<()> {
        let config = crate::load_from(Some(file), &self.args).map_err(|errors| not_right(&errors))?;
        crate::tls::look(config.api.tls.as_ref()).map_err(|why| invalid(why, NO_CERTIFICATE))?;
        self.check_doors_of(&config)?.map_err(|errors| not_right(&errors))
    }

    pub(super) fn system_status(&self) -> Answer<SystemStatus> {
        let seen = self.pools.seen();
        let problems = self.problems_of_all(&seen);
        let (pools, sights): (Vec<_>, Vec<_>) = seen.answering().cloned().unzip();
        let pool_used_percent = sights.iter().filter_map(|sight| sight.used_percent).max().unwrap_or(0);
        Ok(SystemStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: if problems.is_empty() { "ok" } else { "problem" }.to_owned(),
            installation: self.installation(),
            started: rfc3339(self.started_unix_s),
            portals: self.portals().iter().map(ToString::to_string).collect(),
            sessions: u32::try_from(self.sessions().list().len()).unwrap_or(u32::MAX),
            free_bytes: sights.iter().map(|sight| sight.free_bytes).fold(0, u64::saturating_add),
            pool_used_percent,
            pool_alarm: crate::room::alarm(pool_used_percent),
            scrub: self.scrub_lines(&pools),
            problems,
        })
    }

    pub(super) fn system_diag(&self) -> Answer<Value> {
        Ok(json!({
            "status": self.system_status()?,
            "config": self.config_effective()?,
            "libraries": self.library_list()?,
            "drives": self.drive_list()?,
            "sessions": self.session_list()?,
            "store": self.store_stats(None)?,
            "pools": self.pool_list()?,
            "trash": self.trash().map_err(|e| refused(&e))?.iter().map(|c| c.label.to_string()).collect::<Vec<_>>(),
        }))
    }

    pub(super) fn system_reload(&self) -> Answer<Done> {
        self.reload().map(|message| done(message, Vec::new()))
    }

    /// A copy of the inventory. It is not all that a server needs again: see `docs/disaster.md`. In the state folder the next start
    /// could take it for one that is to be put back, which takes another permission.
    pub(super) fn system_backup(&self, request: &BackupFile) -> Answer<Done> {
        let file = absolute(&request.file)?;
        elsewhere(self.state.path(), file)?;
        self.meta.copy_to(file).map_err(|error| not_copied(&error))?;
        Ok(done(
            format!("the inventory is copied to {}; the store itself is {}", request.file, self.pool_homes()),
            Vec::new(),
        ))
    }

    /// The inventory cannot be exchanged under running devices: the copy is checked and takes its place at the next start.
    pub(super) fn system_restore(&self, request: &BackupFile) -> Answer<Done> {
        stage_restore(&self.state, absolute(&request.file)?).map_err(|error| not_staged(&error))?;
        Ok(done("the copy is checked and takes the inventory's place at the next start of vtld", Vec::new()))
    }

    pub(super) fn system_rebuild(&self, request: &RebuildInventory) -> Answer<Vec<RebuildRow>> {
        if !request.plan {
            return Err(ApiError::new(
                ErrorCode::Unsupported,
                "a running inventory is not rebuilt",
                "see --plan. Only when the inventory is lost and there is no copy: docs/disaster.md, 'Lost: the inventory, and there is no copy', \
                 which says what is gone then",
            )
            .about("plan"));
        }
        let (heads, broken) = self.heads().map_err(|e| refused(&e))?;
        let plan = self.meta.read(|tx| vtl_library::plan_rebuild(tx, &heads)).map_err(|e| refused(&e))?;
        let mut rows: Vec<RebuildRow> = plan
            .iter()
            .map(|one| {
                let action = match &one.verdict {
                    Verdict::Listed => "listed already".to_owned(),
                    Verdict::AsHinted => format!(
                        "to {} of {}",
                        one.place,
                        one.library.as_ref().map_or_else(String::new, ToString::to_string)
                    ),
                    Verdict::LabelTaken { .. } => "stays unlisted: its label is in use".to_owned(),
                    _ => "to the vault".to_owned(),
                };
                RebuildRow {
                    label: Some(one.head.label.to_string()),
                    id: hexadecimal(&one.head.id.0),
                    action,
                }
            })
            .collect();
        rows.extend(broken.into_iter().map(|(id, action)| RebuildRow {
            label: None,
            id: id.to_string(),
            action,
        }));
        Ok(rows)
    }

    /// What every cartridge in the store says of itself; and those that say nothing, with what is to be done.
    fn heads(&self) -> Result<(Vec<Head>, Vec<Broken>), LibraryError> {
        let listed = self.meta.read(vtl_library::cartridges)?;
        let pieces = self.owners_of_pieces();
        let (mut heads, mut broken) = (Vec::new(), Vec::new());
        for pool in self.pools.open_ones() {
            // Pieces are no cartridge, and the status tells of those that are damaged.
            for owner in pool.store.owners().into_iter().filter(|owner| !pieces.contains_key(&owner.0)) {
                let id = CartridgeId(owner.0);
                match self.shelf.head(&pool, id) {
                    // An import that runs, or was cut off, is no cartridge.
                    Ok(head) if head.unfinished => {}
                    Ok(head) => heads.push(head.row),
                    Err(why) if listed.iter().any(|one| one.id == id) => broken.push((id, why)),
                    Err(why) => {
                        let Problem { message, remedy, .. } = self.lost_problem(&pool, id, &why);
                        broken.push((id, format!("{message}; {remedy}")));
                    }
                }
            }
        }
        Ok((heads, broken))
    }
}

/// What is wrong with a configuration. Of several errors each has its remedy behind it.
fn not_right(errors: &ConfErrors) -> ApiError {
    match errors.0.as_slice() {
        [only] => invalid(only.fact(), &only.remedy),
        _ => invalid(errors.to_string(), "mend each line; docs/configuration.md has every key"),
    }
}

/// A copy of the inventory was not made.
fn not_copied(error: &MetaError) -> ApiError {
    let told = error.to_string();
    match error {
        MetaError::Exists(_) => invalid(told, &error.remedy()).about("file"),
        MetaError::Io { source, .. } => {
            let remedy = "name a file that does not exist yet, in a folder that vtld may write to";
            not_at("file", told, Blame::of(source.kind()), remedy)
        }
        _ if error.is_disk_full() => not_at("file", told, Blame::Space, ""),
        MetaError::Sqlite(_) | MetaError::Damaged { .. } if error.is_permanent() => {
            let remedy = "see the log, and check the disk of the copy, or name a file on another one";
            ApiError::new(ErrorCode::Internal, told, remedy)
        }
        _ => ApiError::new(ErrorCode::Internal, told, error.remedy()),
    }
}

/// A copy of the inventory does not wait to take its place.
fn not_staged(error: &NotStaged) -> ApiError {
    let told = error.to_string();
    let free = "free space on the disk of the state folder";
    match error {
        // Whatever it is that hinders, another file may be read.
        NotStaged::Named(..) => {
            invalid(told, "name a file that is there and that vtld may read").about("file")
        }
        NotStaged::NoCopy(..) => {
            let remedy = "name what vtl system backup of this version or an older one has written";
            invalid(told, remedy).about("file")
        }
        NotStaged::Own(_, source) if Blame::of(source.kind()) == Blame::Space => {
            ApiError::new(ErrorCode::Full, told, free)
        }
        NotStaged::Look(error) if error.is_disk_full() => ApiError::new(ErrorCode::Full, told, free),
        NotStaged::Look(error) => ApiError::new(ErrorCode::Internal, told, error.remedy()),
        NotStaged::Own(..) => ApiError::new(ErrorCode::Internal, told, SEE_DISK),
    }
}

/// A file that is to be made does not come to lie in the state folder.
fn elsewhere(state: &Path, file: &Path) -> Answer<()> {
    not_among_ours(state, file).map_err(|why| {
        let remedy = "name a file in another folder that vtld may write to, best on another disk";
        invalid(format!("{}: {why}", file.display()), remedy).about("file")
    })
}

/// A file's path: one that is relative would be below whatever folder the server was started in.
pub(super) fn absolute(file: &str) -> Answer<&Path> {
    let path = Path::new(file);
    match path.is_absolute() {
        true => Ok(path),
        false => {
            let remedy = "write one, since the server has its own working folder";
            Err(invalid(format!("{file} is no absolute path"), remedy).about("file"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use vtl_conf::ConfError;

    use super::*;
    use crate::daemon::tests::{GUARDED, open, open_file, write_file};

    const WIDE: &str = "iscsi.listen = [\"192.0.2.10:3260\"]\n";

    fn checked(daemon: &Daemon) -> Answer<Done> {
        daemon.config_check(&CheckConfig::default())
    }

    #[test]
    fn a_file_whose_target_the_inventory_guards_is_right_for_the_check_and_for_a_reload() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), WIDE);
        let config = folder.path().join("vtl.toml").display().to_string();
        let daemon = open(folder.path(), &[]);
        let check = || daemon.config_check(&CheckConfig { file: Some(config.clone()) });
        let refused = check().unwrap_err();
        assert!(refused.message.contains("target iqn.2026-11.internal.vtl:lib0 is open"), "{refused:?}");
        let initiator = json!({ "initiator": "iqn.1993-08.org.debian:01:abc" });
        daemon.initiator_add("lib0", &serde_json::from_value(initiator).unwrap()).unwrap();
        assert_eq!(check().unwrap().message, format!("{config} is right"));
        daemon.stop();
        drop(daemon);
        write_file(folder.path(), "");
        let daemon = open_file(folder.path(), &[]);
        write_file(folder.path(), WIDE);
        checked(&daemon).unwrap();
        daemon.reload().unwrap();
        daemon.stop();
    }

    #[test]
    fn a_file_that_guards_one_of_two_targets_is_refused_by_the_check_as_by_a_start() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), "");
        let daemon = open_file(folder.path(), &[]);
        write_file(folder.path(), &format!("{WIDE}iscsi.diagnostic_disk = \"64m\"\n{GUARDED}"));
        let refused = checked(&daemon).unwrap_err();
        assert!(refused.message.contains("target iqn.2026-11.internal.vtl:diag is open"), "{refused:?}");
        assert!(refused.remedy.as_ref().unwrap().contains("vtl iscsi chap set"), "{refused:?}");
        daemon.stop();
    }

    #[test]
    fn a_file_whose_certificate_cannot_be_read_is_refused_by_the_check_as_by_a_start() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), "");
        let daemon = open_file(folder.path(), &[]);
        write_file(folder.path(), "api.tls.cert = \"renewed.pem\"\napi.tls.key = \"renewed.key\"\n");
        let refused = checked(&daemon).unwrap_err();
        assert!(refused.message.contains("api.tls.cert: "), "{refused:?}");
        assert!(refused.message.contains("renewed.pem: No such file"), "{refused:?}");
        assert!(refused.remedy.as_ref().unwrap().contains("can read"), "{refused:?}");
        daemon.stop();
    }

    #[test]
    fn a_file_is_checked_below_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), WIDE);
        let daemon = open_file(folder.path(), &["iscsi.allow_any_initiator=true"]);
        checked(&daemon).unwrap();
        daemon.stop();
    }

    #[test]
    fn a_value_that_waits_for_a_start_stands_beside_the_one_that_is_in_effect() {
        let folder = tempfile::tempdir().unwrap();
        write_file(folder.path(), "");
        let daemon = open_file(folder.path(), &[]);
        write_file(folder.path(), "log.level = \"debug\"\njobs.max_running = 3\n");
        daemon.reload().unwrap();
        let told: Vec<(String, Option<String>)> = daemon
            .config_effective()
            .unwrap()
            .into_iter()
            .filter(|one| ["log.level", "jobs.max_running"].contains(&one.key.as_str()))
            .map(|one| (one.value, one.next_start))
            .collect();
        let waiting = ("\"info\"".to_owned(), Some("\"debug\"".to_owned()));
        assert_eq!(told, [("3".to_owned(), None), waiting]);
        daemon.stop();
    }

    #[test]
    fn an_inventory_that_is_there_is_not_made_again_and_nobody_is_told_to_move_it_away() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let refused = daemon.system_rebuild(&RebuildInventory { plan: false }).unwrap_err();
        let remedy = refused.remedy.unwrap();
        assert_eq!(refused.code, ErrorCode::Unsupported);
        assert!(remedy.contains("--plan") && remedy.contains("what is gone then"), "{remedy}");
        assert!(!remedy.contains("move inventory"), "{remedy}");
        daemon.stop();
    }

    #[test]
    fn a_copy_of_the_inventory_in_the_state_folder_is_refused_and_put_back_by_no_start() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let backup = |file: std::path::PathBuf| {
            let refused = daemon.system_backup(&BackupFile { file: file.display().to_string() });
            refused.map_err(|error| (error.code, error.field.unwrap_or_default()))
        };
        for name in ["inventory.restore", "checkpoint.key", "copy.db", "keys/copy.db"] {
            let file = daemon.state.path().join(name);
            let there = file.exists();
            assert_eq!(backup(file.clone()), Err((ErrorCode::Invalid, "file".to_owned())), "{name}");
            assert_eq!(file.exists(), there, "{name}");
        }
        let copy = folder.path().join("copy.db");
        backup(copy.clone()).unwrap();
        daemon.stop();
        assert!(crate::meta::SharedMeta::open(&copy).unwrap().flag(crate::meta::PUT_BACK).unwrap());
    }

    #[test]
    fn one_error_of_a_configuration_has_its_remedy_apart_and_several_have_theirs_behind_them() {
        let error = |key: &str| ConfError {
            origin: Origin::Default,
            key: key.to_owned(),
            value: String::new(),
            problem: "made up".to_owned(),
            remedy: format!("leave {key} out"),
        };
        for (errors, message, remedy) in [
            (vec![error("a")], "default: a: made up", "leave a out"),
            (
                vec![error("a"), error("b")],
                "default: a: made up; leave a out\ndefault: b: made up; leave b out",
                "mend each line; docs/configuration.md has every key",
            ),
        ] {
            let told = not_right(&ConfErrors(errors));
            assert_eq!((told.message.as_str(), told.remedy.as_deref()), (message, Some(remedy)));
        }
    }

    #[test]
    fn a_copy_names_the_file_where_another_one_would_help_and_nothing_where_the_disk_fails() {
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let file = || "/made-up".into();
        let at = |kind| MetaError::Io { operation: "create", path: file(), source: io(kind) };
        let damaged = || MetaError::Damaged { path: file(), findings: vec!["made up".to_owned()] };
        for (refused, code, named) in [
            (not_copied(&MetaError::Exists(file())), ErrorCode::Invalid, Some("file")),
            (not_copied(&at(io::ErrorKind::PermissionDenied)), ErrorCode::Invalid, Some("file")),
            (not_copied(&at(io::ErrorKind::ReadOnlyFilesystem)), ErrorCode::Invalid, Some("file")),
            (not_copied(&at(io::ErrorKind::StorageFull)), ErrorCode::Full, Some("file")),
            (not_copied(&at(io::ErrorKind::Other)), ErrorCode::Internal, None),
            (not_copied(&damaged()), ErrorCode::Internal, None),
            (
                not_staged(&NotStaged::Named(file(), io(io::ErrorKind::NotFound))),
                ErrorCode::Invalid,
                Some("file"),
            ),
            (
                not_staged(&NotStaged::Named(file(), io(io::ErrorKind::Other))),
                ErrorCode::Invalid,
                Some("file"),
            ),
            (not_staged(&NotStaged::NoCopy(file(), "made up".to_owned())), ErrorCode::Invalid, Some("file")),
            (not_staged(&NotStaged::Own(file(), io(io::ErrorKind::StorageFull))), ErrorCode::Full, None),
            (not_staged(&NotStaged::Own(file(), io(io::ErrorKind::Other))), ErrorCode::Internal, None),
            (not_staged(&NotStaged::Look(at(io::ErrorKind::Other))), ErrorCode::Internal, None),
        ] {
            assert_eq!((refused.code, refused.field.as_deref()), (code, named), "{refused:?}");
            assert!(refused.remedy.is_some(), "{refused:?}");
        }
        assert!(not_copied(&damaged()).remedy.unwrap().contains("check the disk of the copy"));
    }
}
