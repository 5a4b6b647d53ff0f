//! Clean imports: cartridges that were made of a bundle here, and whose content lies complete on a remote as it is now.

use vtl_meta::{MetaError, Tx};
use vtl_transfer::{Pace, Trouble};
use vtl_types::CartridgeId;

use crate::catalogue::{self, Origin};
use crate::fail;
use crate::folder::FolderName;
use crate::job::{End, known};
use crate::world::World;

/// Where the content of a cartridge lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clean {
    /// Name of the remote.
    pub remote: String,
    /// The folder there.
    pub folder: String,
    /// The cartridge's write generation that has this content.
    pub generation: u64,
}

/// Whether a cartridge was imported here, and this generation of it is complete on this remote.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn clean_import(
    tx: &Tx<'_>,
    id: CartridgeId,
    remote: &str,
    generation: impl FnOnce() -> Option<u64>,
) -> Result<Option<Clean>, MetaError> {
    let rows = catalogue::of_cartridge(tx, id)?;
    if !rows.iter().any(|row| row.origin == Origin::Import) {
        return Ok(None);
    }
    let Some(generation) = generation() else { return Ok(None) };
    let same = rows.into_iter().find(|row| row.remote == remote && row.generation == generation);
    Ok(same.map(|row| Clean { remote: row.remote, folder: row.folder, generation }))
}

/// Proves at this moment that it is there, whole, by hashes kept here.
///
/// # Errors
/// It is not, or that could not be found out.
pub fn prove(world: &dyn World, id: CartridgeId, clean: &Clean, pace: &dyn Pace) -> Result<(), Trouble> {
    let row = known(world, &clean.remote, &clean.folder)?.into_iter().find(|row| row.cartridge == id);
    let row = row.filter(|row| row.generation == clean.generation).ok_or_else(|| {
        fail::permanent(
            "not-found",
            format!("nothing is known any more of folder {} of remote {}", clean.folder, clean.remote),
            "vtl cartridge export LABEL",
        )
    })?;
    let end = End::open(world, &row.remote, FolderName::asked(&row.folder)?)?;
    end.prove(&row, end.settings.verify, pace)
}
