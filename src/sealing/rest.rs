//! All secrets of a state folder together: sealed at a start, opened by `vtld --unseal-secrets`. Each step is done again by the next start when a
//! crash comes between; until the last one both forms are read.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use tracing::info;
use vtl_api::Problem;
use vtl_durable::{Disk, RealDisk};
use vtl_library::{LibraryError, all_chap, set_chap};
use vtl_store::Keyring;

use super::chap::is_sealed;
use super::{FOLDER, Sealing};
use crate::args::Args;
use crate::keys::Keys;
use crate::meta::SharedMeta;
use crate::state::{BEFORE_RESTORE, StateFolder};

/// Noted in the inventory when nothing of a secret that lay open is left in its file.
const SWEPT: &str = "secrets-swept";
/// What a crash leaves of a restore. Here nobody stages one yet.
const CUT_OFF: [&str; 3] =
    ["inventory.restore.new", "inventory.restore.new-wal", "inventory.restore.new-shm"];

/// Seals what lies open. Order: files, CHAP secrets, what is left of them in the inventory's file, the inventory before a restore. That one is of no
/// use to the server, so what is wrong with it is a problem that is told, and keeps nothing from starting.
///
/// # Errors
/// The disk, or the inventory. What is sealed by then stays so.
pub(crate) fn seal_all(
    state: &StateFolder,
    meta: &SharedMeta,
    keys: &Keys,
    sealing: &Sealing,
) -> Result<Option<Problem>, String> {
    if !sealing.is_on() {
        return Ok(None);
    }
    for name in CUT_OFF {
        forget(&state.path().join(name))?;
    }
    let files = state.reseal(sealing).map_err(|e| e.to_string())?;
    let sealed = files + keys.reseal(sealing).map_err(|e| e.to_string())?;
    seal_inventory(meta, sealing, LibraryError::advised)?;
    let left = seal_old(&state.path().join(BEFORE_RESTORE), sealing);
    info!(sealed, "the secrets of the state folder are sealed");
    Ok(left)
}

fn seal_old(before: &Path, sealing: &Sealing) -> Option<Problem> {
    if !before.exists() {
        return None;
    }
    let opened = SharedMeta::open(before).map_err(|e| e.to_string());
    let why = opened.and_then(|old| seal_inventory(&old, sealing, LibraryError::to_string)).err()?;
    Some(Problem {
        subject: BEFORE_RESTORE.to_owned(),
        message: format!(
            "its CHAP secrets cannot be sealed, and may lie open in {}: {why}",
            before.display()
        ),
        remedy: "remove the file, or move it away, with the -wal beside it, then restart vtld".to_owned(),
    })
}

/// `told`: with its remedy, or without where the caller has another.
fn seal_inventory(
    meta: &SharedMeta,
    sealing: &Sealing,
    told: fn(&LibraryError) -> String,
) -> Result<(), String> {
    let fail = |error: LibraryError| told(&error);
    let rows = meta.read(all_chap).map_err(fail)?;
    let open = rows.into_iter().filter(|(_, kept)| !is_sealed(&kept.secret));
    let mut sealed = Vec::new();
    for (iqn, kept) in open {
        // Secrets that are none let nobody in either way.
        let Ok(account) = kept.account() else { continue };
        sealed.push((iqn.clone(), sealing.keep_chap(&iqn, &account).map_err(|e| e.to_string())?));
    }
    if sealed.is_empty() && meta.flag(SWEPT).map_err(|e| fail(e.into()))? {
        return Ok(());
    }
    meta.change(|tx| sealed.iter().try_for_each(|(iqn, kept)| set_chap(tx, iqn, kept))).map_err(fail)?;
    meta.with(vtl_meta::Meta::sweep).map_err(|e| fail(e.into()))?;
    meta.set_flag(SWEPT).map_err(|e| fail(e.into()))
}

/// Lets all secrets of the state folder lie open again, and forgets the keyring: `vtld --unseal-secrets`.
///
/// # Errors
/// Another user than the server's does it, no key is configured, it is wrong, or a secret does not open; the keyring stays then.
pub fn unseal(args: &Args) -> Result<String, String> {
    let config = crate::load(args).map_err(|errors| errors.to_string())?;
    // Before anything is made there.
    as_owner_only(&config.state, rustix::process::geteuid().as_raw())?;
    let mut state = StateFolder::open(&config.state).map_err(|e| e.to_string())?;
    let disk = Arc::new(RealDisk::new());
    if !super::is_made(disk.as_ref(), &state.path().join(FOLDER)).map_err(|e| e.to_string())? {
        return Err(format!("the secrets in {} are not sealed", state.path().display()));
    }
    let sealing = Sealing::open(&config.secrets, disk.as_ref(), state.path())?;
    state.put_restored().map_err(|e| e.to_string())?;
    state.seal_with(sealing.clone());
    let keys = Keys::open(disk.clone(), state.path(), sealing.clone()).map_err(|e| e.to_string())?;
    let open = Sealing::default();
    state.reseal(&open).map_err(|e| e.to_string())?;
    keys.reseal(&open).map_err(|e| e.to_string())?;
    open_inventories(&state, &sealing)?;
    forget_keyring(disk.as_ref(), state.path())?;
    Ok(format!(
        "the secrets in {} lie open: take secrets.* out of the configuration, or the next start seals them again",
        state.path().display()
    ))
}

/// What another user writes here would be his, and the server could not read it.
fn as_owner_only(state: &Path, us: u32) -> Result<(), String> {
    let about = fs::metadata(state).map_err(|error| format!("{}: {error}", state.display()))?;
    match about.uid() == us {
        true => Ok(()),
        false => Err(format!(
            "state folder {} belongs to user {}, and this is user {us}: the server could not read what is written so; run it as the server's user, for \
             the packaged server: runuser -u vtl -- vtld --unseal-secrets, with the server's options",
            state.display(),
            about.uid()
        )),
    }
}

fn open_inventories(state: &StateFolder, sealing: &Sealing) -> Result<(), String> {
    let (inventory, before) = (state.inventory(), state.path().join(BEFORE_RESTORE));
    if inventory.exists() {
        let meta = SharedMeta::open(&inventory).map_err(|e| e.advised())?;
        let told = |why: String| {
            format!(
                "{}: {why}; start vtld with the key, set it anew (vtl iscsi chap set LIBRARY), stop vtld, and do this again",
                inventory.display()
            )
        };
        open_inventory(&meta, sealing).map_err(told)?;
    }
    if before.exists() {
        let old = SharedMeta::open(&before).map_err(|e| e.to_string());
        let opened = old.and_then(|meta| open_inventory(&meta, sealing));
        opened.map_err(|why| {
            format!(
                "{}: {why}; move the file away, with the -wal beside it, and do this again",
                before.display()
            )
        })?;
    }
    Ok(())
}

/// What helps is for the caller to say.
fn open_inventory(meta: &SharedMeta, sealing: &Sealing) -> Result<(), String> {
    let fail = |error: LibraryError| error.to_string();
    meta.clear_flag(SWEPT).map_err(|e| e.to_string())?;
    let mut opened = Vec::new();
    for (iqn, kept) in
        meta.read(all_chap).map_err(fail)?.into_iter().filter(|(_, kept)| is_sealed(&kept.secret))
    {
        let account = sealing.chap(&iqn, kept).map_err(|why| format!("the CHAP secret of {iqn}: {why}"))?;
        opened.push((iqn, vtl_library::KeptChap::from(&account)));
    }
    meta.change(|tx| opened.iter().try_for_each(|(iqn, kept)| set_chap(tx, iqn, kept))).map_err(fail)
}

/// Last of all: without it nothing that is sealed opens.
fn forget_keyring(disk: &dyn Disk, state: &Path) -> Result<(), String> {
    let folder = state.join(FOLDER);
    for name in Keyring::FILES {
        match disk.unlink(&folder.join(name)) {
            Err(error) if !error.is_not_found() => return Err(error.to_string()),
            _ => {}
        }
    }
    disk.sync_folder(&folder).map_err(|e| e.to_string())
}

fn forget(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_opened_by_the_owner_of_the_state_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        assert_eq!(as_owner_only(folder.path(), owner), Ok(()));
        let why = as_owner_only(folder.path(), owner + 1).unwrap_err();
        assert!(why.contains("runuser -u vtl -- vtld --unseal-secrets"), "{why}");
        assert!(why.contains(&format!("belongs to user {owner},")), "{why}");
        assert!(as_owner_only(&folder.path().join("nothing"), owner).is_err());
    }

    #[test]
    fn what_is_no_inventory_beside_the_one_in_use_is_told_by_name_and_one_that_is_not_there_is_fine() {
        let folder = tempfile::tempdir().unwrap();
        let before = folder.path().join(BEFORE_RESTORE);
        let sealing = Sealing::with(&vtl_codec::Key::new([7; 32]), vtl_codec::Randomness::system());
        assert!(seal_old(&before, &sealing).is_none());
        drop(SharedMeta::open(&before).unwrap());
        assert!(seal_old(&before, &sealing).is_none());
        fs::write(&before, [0xa5; 8192]).unwrap();
        let problem = seal_old(&before, &sealing).unwrap();
        assert!(problem.message.contains(&before.display().to_string()), "{}", problem.message);
        assert!(problem.remedy.contains("move it away"), "{}", problem.remedy);
    }
}
