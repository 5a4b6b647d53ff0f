//! All secrets of a state folder together: sealed at a start, opened by `vtld --unseal-secrets`. Each step is done again by the next start when a
//! crash comes between; until the last one both forms are read.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tracing::info;
use vtl_durable::{Disk, RealDisk};
use vtl_library::{LibraryError, all_chap, set_chap};
use vtl_store::Keyring;

use super::chap::is_sealed;
use super::{FOLDER, Sealing};
use crate::args::Args;
use crate::keys::Keys;
use crate::meta::SharedMeta;
use crate::state::StateFolder;

/// Noted in the inventory when nothing of a secret that lay open is left in its file.
const SWEPT: &str = "secrets-swept";
/// Copies of the inventory that a restore leaves: the one before it, and what a crash cut off.
const BEFORE_RESTORE: &str = "inventory.before-restore.db";
const CUT_OFF: [&str; 3] =
    ["inventory.restore.new", "inventory.restore.new-wal", "inventory.restore.new-shm"];

/// Seals what lies open. Order: files, CHAP secrets, what is left of them in the inventory's file, the inventory before a restore.
///
/// # Errors
/// The disk, or the inventory. What is sealed by then stays so.
pub(crate) fn seal_all(
    state: &StateFolder,
    meta: &SharedMeta,
    keys: &Keys,
    sealing: &Sealing,
) -> Result<(), String> {
    if !sealing.is_on() {
        return Ok(());
    }
    for name in CUT_OFF {
        forget(&state.path().join(name))?;
    }
    let files = state.reseal(sealing).map_err(|e| e.to_string())?;
    let sealed = files + keys.reseal(sealing).map_err(|e| e.to_string())?;
    seal_inventory(meta, sealing)?;
    let before = state.path().join(BEFORE_RESTORE);
    if before.exists() {
        let told = |why: String| {
            format!(
                "{}: its CHAP secrets cannot be sealed: {why}; remove the file, or move it away",
                before.display()
            )
        };
        let old = SharedMeta::open(&before).map_err(|e| told(e.to_string()))?;
        seal_inventory(&old, sealing).map_err(told)?;
    }
    info!(sealed, "the secrets of the state folder are sealed");
    Ok(())
}

fn seal_inventory(meta: &SharedMeta, sealing: &Sealing) -> Result<(), String> {
    let fail = |error: LibraryError| error.to_string();
    let rows = meta.read(all_chap).map_err(fail)?;
    let open = rows.into_iter().filter(|(_, kept)| !is_sealed(&kept.secret));
    let mut sealed = Vec::new();
    for (iqn, kept) in open {
        // Secrets that are none let nobody in either way.
        let Ok(account) = kept.account() else { continue };
        sealed.push((iqn.clone(), sealing.keep_chap(&iqn, &account).map_err(|e| e.to_string())?));
    }
    if sealed.is_empty() && meta.flag(SWEPT).map_err(|e| e.to_string())? {
        return Ok(());
    }
    meta.change(|tx| sealed.iter().try_for_each(|(iqn, kept)| set_chap(tx, iqn, kept))).map_err(fail)?;
    meta.with(vtl_meta::Meta::sweep).map_err(|e| e.to_string())?;
    meta.set_flag(SWEPT).map_err(|e| e.to_string())
}

/// Lets all secrets of the state folder lie open again, and forgets the keyring: `vtld --unseal-secrets`.
///
/// # Errors
/// No key is configured, it is wrong, or a secret does not open; the keyring stays then.
pub fn unseal(args: &Args) -> Result<String, String> {
    let config = crate::load(args)?;
    let mut state = StateFolder::open(&config.state).map_err(|e| e.to_string())?;
    let disk = Arc::new(RealDisk::new());
    if !super::is_made(disk.as_ref(), &state.path().join(FOLDER)).map_err(|e| e.to_string())? {
        return Err(format!("the secrets in {} are not sealed", state.path().display()));
    }
    let sealing = Sealing::open(&config.secrets, disk.as_ref(), state.path())?;
    state.seal_with(sealing.clone());
    let keys = Keys::open(disk.clone(), state.path(), sealing.clone()).map_err(|e| e.to_string())?;
    let open = Sealing::default();
    state.reseal(&open).map_err(|e| e.to_string())?;
    keys.reseal(&open).map_err(|e| e.to_string())?;
    let before = state.path().join(BEFORE_RESTORE);
    for inventory in [state.inventory(), before].into_iter().filter(|path| path.exists()) {
        open_inventory(&SharedMeta::open(&inventory).map_err(|e| e.to_string())?, &sealing)?;
    }
    forget_keyring(disk.as_ref(), state.path())?;
    Ok(format!(
        "the secrets in {} lie open: take secrets.* out of the configuration, or the next start seals them again",
        state.path().display()
    ))
}

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
