//! Which versions of formats lie in a state, and what this program would do with them: read only, with or without a server that runs.
//!
//! Every file of a pool begins with eight bytes that say its kind, and four of its version (`docs/formats/framing.md`). The inventory counts
//! migrations of each module, which a start applies. Nothing else changes a format; what is newer than the program is refused by a start, untouched.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use vtl_api::FormatInfo;
use vtl_conf::Config;
use vtl_store::inspect;

use crate::state::INVENTORY;

/// Kind and version.
const FIRST_BYTES: usize = 12;
/// Folders of a pool lie so deep at most.
const DEEPEST: u32 = 4;
/// Above the heads and packs, of which there are too many for a glance.
const AT_A_GLANCE: u32 = 1;
const DEFAULT_POOL: &str = "default";
const NOTHING: &str = "nothing";
const REFUSED: &str = "refused: it is newer than this program";

/// What is found in the state of this configuration.
///
/// # Errors
/// What cannot be read.
pub fn found(config: &Config) -> Result<Vec<FormatInfo>, String> {
    let inventory = config.state.join(INVENTORY);
    if !inventory.exists() {
        return Err(format!("{} holds no state: there is nothing to upgrade", config.state.display()));
    }
    let mut rows = migrations(&inventory)?;
    for (pool, folder) in folders(config, &inventory)? {
        rows.extend(file_rows(&pool, &folder, DEEPEST)?);
    }
    Ok(rows)
}

/// What a start would refuse of the inventory and of the default pool, without which there is no start: as far as that is told in a moment, since
/// it is asked in the middle of an upgrade. A first start refuses nothing.
///
/// # Errors
/// What cannot be read.
pub fn refused_at_a_glance(config: &Config) -> Result<Vec<FormatInfo>, String> {
    let is_there = |path: &Path| path.try_exists().map_err(|error| format!("{}: {error}", path.display()));
    let (inventory, pool) = (config.state.join(INVENTORY), &config.store.path);
    let mut rows = Vec::new();
    if is_there(&inventory)? {
        rows.extend(migrations(&inventory)?);
    }
    if is_there(pool)? {
        rows.extend(file_rows(DEFAULT_POOL, pool, AT_A_GLANCE)?);
    }
    rows.retain(is_row_refused);
    Ok(rows)
}

/// Whether this program would refuse any of it.
pub fn is_refused(rows: &[FormatInfo]) -> bool {
    rows.iter().any(is_row_refused)
}

fn is_row_refused(row: &FormatInfo) -> bool {
    row.action == REFUSED
}

/// The rows for people.
pub fn table(rows: &[FormatInfo]) -> String {
    let line = |row: &FormatInfo| {
        let FormatInfo { place, what, found, known, files, action } = row;
        format!("{place}: {what} {found}, {files} files, this program has {known}: {action}")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn migrations(inventory: &Path) -> Result<Vec<FormatInfo>, String> {
    let applied = vtl_meta::inspect::migrations(inventory).map_err(|error| error.advised())?;
    let known = crate::meta::newest_migrations();
    let mut names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.extend(
        applied.iter().map(|(name, _)| name.as_str()).filter(|name| !known.iter().any(|(n, _)| n == name)),
    );
    let row = |name: &str| {
        let found = applied.iter().find(|(module, _)| module == name).map_or(0, |(_, number)| *number);
        let newest = known.iter().find(|(module, _)| *module == name).map_or(0, |(_, number)| *number);
        let action = match found.cmp(&newest) {
            std::cmp::Ordering::Equal => NOTHING.to_owned(),
            std::cmp::Ordering::Greater => REFUSED.to_owned(),
            std::cmp::Ordering::Less => {
                format!("the next start applies migrations {} to {newest}", found + 1)
            }
        };
        let what = format!("module {name}, migration");
        FormatInfo { place: "inventory".to_owned(), what, found, known: newest, files: 1, action }
    };
    Ok(names.into_iter().map(row).collect())
}

/// A row for each kind and version of the files so deep in a folder of a pool.
fn file_rows(pool: &str, folder: &Path, deepest: u32) -> Result<Vec<FormatInfo>, String> {
    let mut counts = BTreeMap::new();
    let is_of_pool = |name: &OsStr| name.to_str().is_some_and(vtl_store::site::is_of_pool);
    walk(folder, deepest, &is_of_pool, &mut counts)
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    let row = |((kind, version), files)| file_row(pool, folder, kind, version, files);
    Ok(counts.into_iter().map(row).collect())
}

fn file_row(pool: &str, folder: &Path, kind: inspect::FileKind, version: u32, files: u64) -> FormatInfo {
    let known = inspect::known_version(kind);
    let action = match version.cmp(&known) {
        std::cmp::Ordering::Equal => NOTHING,
        std::cmp::Ordering::Greater => REFUSED,
        std::cmp::Ordering::Less => "read as it is",
    };
    FormatInfo {
        place: format!("pool {pool}, {}", folder.display()),
        what: format!("{kind:?}, version").to_lowercase(),
        found: version,
        known,
        files,
        action: action.to_owned(),
    }
}

/// Pools by name, each with its folders.
fn folders(config: &Config, inventory: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut all = vec![(DEFAULT_POOL.to_owned(), config.store.path.clone())];
    all.extend(config.store.folders.iter().map(|folder| (DEFAULT_POOL.to_owned(), folder.clone())));
    let mut each = |row: vtl_meta::inspect::ShownRow| {
        let of =
            |name: &str| row.columns.iter().find(|(column, _)| column == name).map(|(_, text)| text.clone());
        let (name, path) = match row.table.as_str() {
            "pools" => (of("name"), of("home")),
            "pool_folders" => (of("pool"), of("path")),
            _ => return,
        };
        all.extend(name.zip(path.map(PathBuf::from)));
    };
    vtl_meta::inspect::rows(inventory, &mut each).map_err(|error| error.advised())?;
    all.dedup();
    Ok(all)
}

type Counts = BTreeMap<(inspect::FileKind, u32), u64>;

/// In a folder that is mounted lie the file system's own things as well, such as `lost+found` or snapshots, some for root alone: only what `is_ours` by
/// its name is looked at, and all that is in it.
fn walk(
    folder: &Path,
    deepest: u32,
    is_ours: &dyn Fn(&OsStr) -> bool,
    counts: &mut Counts,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !is_ours(&entry.file_name()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() && deepest > 0 {
            walk(&entry.path(), deepest - 1, &|_| true, counts)?;
        } else if kind.is_file()
            && let Some(found) = version_of(&entry.path())?
        {
            *counts.entry(found).or_default() += 1;
        }
    }
    Ok(())
}

/// None: no file of ours, one that is cut short, or one that went meanwhile.
fn version_of(path: &Path) -> io::Result<Option<(inspect::FileKind, u32)>> {
    let mut first = Vec::with_capacity(FIRST_BYTES);
    match File::open(path) {
        Ok(file) => file.take(FIRST_BYTES as u64).read_to_end(&mut first)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some((magic, [a, b, c, d])) = first.split_first_chunk::<8>() else { return Ok(None) };
    let kind = inspect::kind_by_magic(*magic);
    Ok(kind.map(|kind| (kind, u32::from_le_bytes([*a, *b, *c, *d]))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tests::open;

    fn config(folder: &Path) -> Config {
        let args = crate::args::Args { state: Some(folder.join("state")), ..Default::default() };
        crate::load(&args).unwrap()
    }

    fn make_pool_newer(config: &Config) {
        let pool = config.store.path.join("pool");
        let mut bytes = fs::read(&pool).unwrap();
        bytes[8] = 9;
        fs::write(&pool, bytes).unwrap();
    }

    #[test]
    fn what_a_server_of_this_version_writes_needs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(found(&config).unwrap_err().contains("nothing to upgrade"));
        open(folder.path(), &[]).stop();
        let rows = found(&config).unwrap();
        assert!(rows.iter().all(|row| row.action == "nothing" && row.found == row.known), "{}", table(&rows));
        let has = |what: &str| rows.iter().any(|row| row.what == what && row.files > 0);
        for what in [
            "module library, migration",
            "module alerts, migration",
            "pool, version",
            "journal, version",
            "head, version",
        ] {
            assert!(has(what), "{what}\n{}", table(&rows));
        }
    }

    #[test]
    fn what_is_newer_than_the_program_is_named() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), &[]).stop();
        let config = config(folder.path());
        make_pool_newer(&config);
        let rows = found(&config).unwrap();
        let row = rows.iter().find(|row| row.what == "pool, version").unwrap();
        assert_eq!(
            (row.found, row.known, row.action.as_str()),
            (9, 0, "refused: it is newer than this program")
        );
        assert!(is_refused(&rows));
    }

    #[test]
    fn what_lies_beside_a_pool_and_is_none_of_its_own_is_not_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path(), &[]).stop();
        let config = config(folder.path());
        let of_pool = fs::read(config.store.path.join("pool")).unwrap();
        make_pool_newer(&config);
        let snapshots = config.store.path.join(".snapshots");
        fs::create_dir(&snapshots).unwrap();
        for other in [snapshots.join("pool"), config.store.path.join("aquota.user")] {
            fs::rename(config.store.path.join("pool"), &other).unwrap();
            fs::copy(&other, config.store.path.join("pool")).unwrap();
        }
        fs::write(config.store.path.join("pool"), of_pool).unwrap();
        assert!(refused_at_a_glance(&config).unwrap().is_empty());
        assert!(!is_refused(&found(&config).unwrap()));
    }

    #[test]
    fn a_check_refuses_a_listener_that_a_start_would_beside_a_server_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let check = || {
            let set = vec!["iscsi.listen=[\"192.0.2.10:3260\"]".to_owned()];
            crate::check(&crate::args::Args {
                state: Some(folder.path().join("state")),
                set,
                ..Default::default()
            })
        };
        let is_refused = |told: Result<String, String>| {
            let why = told.unwrap_err();
            assert!(why.contains("192.0.2.10:3260 is reachable"), "{why}");
        };
        is_refused(check());
        let daemon = open(folder.path(), &[]);
        is_refused(check());
        let target = "iqn.2026-11.internal.vtl:lib0".parse().unwrap();
        let initiator = "iqn.1993-08.org.debian:01:abc".parse().unwrap();
        daemon.meta.change(|tx| vtl_library::add_initiator(tx, &target, &initiator)).unwrap();
        check().unwrap();
        daemon.stop();
    }

    #[test]
    fn a_glance_finds_what_a_start_would_refuse_and_nothing_before_a_first_start() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        assert!(refused_at_a_glance(&config).unwrap().is_empty());
        open(folder.path(), &[]).stop();
        assert!(refused_at_a_glance(&config).unwrap().is_empty());
        make_pool_newer(&config);
        let rows = refused_at_a_glance(&config).unwrap();
        assert_eq!(rows.iter().map(|row| row.what.as_str()).collect::<Vec<_>>(), ["pool, version"]);
    }
}
