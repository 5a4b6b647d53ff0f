//! Requests about cartridges in the vault.

use vtl_api::{
    ApiError, CartridgeInfo, Done, ErrorCode, ListCartridges, LoadFromVault, Paged, PlaceKind,
    RemoveCartridge,
};
use vtl_library::{Gates, LibraryError, Moved, NewPlace};
use vtl_meta::Tx;
use vtl_types::{Label, LibraryName, Place};

use super::page::Page;
use super::route::{Nothing, Route, delete, field, list, post};
use super::{Answer, done, failed, not_carried};
use crate::daemon::Daemon;
use crate::inventory::Force;

/// What is in the vault is a cartridge.
const CARTRIDGE: &str = "/cartridges/{label}";

pub(super) fn routes() -> Vec<Route> {
    vec![
        list("/vault", "Cartridges in the vault", |d, (), q: Paged| d.vault_list(q)),
        post("/vault/{label}/load", "Load a cartridge into a library", |d, l: String, b: LoadFromVault| {
            d.vault_load(&l, &b)
        })
        .about(CARTRIDGE),
        delete("/vault/{label}", "Remove a cartridge in the vault", |d, l: String, _: Nothing| {
            d.vault_remove(&l)
        })
        .about(CARTRIDGE),
    ]
}

/// Out of the vault into the first free slot, or else into a mailslot.
fn from_vault(
    tx: &mut Tx<'_>,
    label: Label,
    library: &LibraryName,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    match vtl_library::load_from_vault(tx, label, library, NewPlace::Slot, gates) {
        Err(LibraryError::NoRoom { .. }) => {
            vtl_library::load_from_vault(tx, label, library, NewPlace::Mailslot, gates)
        }
        outcome => outcome,
    }
}

impl Daemon {
    pub(super) fn vault_list(&self, asked: Paged) -> Result<Page<CartridgeInfo>, ApiError> {
        let Paged { limit, cursor } = asked;
        let place = Some(PlaceKind::Vault);
        self.cartridge_list(&ListCartridges { place, limit, cursor, ..ListCartridges::default() })
    }

    pub(super) fn vault_load(&self, label: &str, request: &LoadFromVault) -> Answer<Done> {
        let cartridge = self.find(label)?;
        let live = field("library", self.live(&request.library))?;
        let (label, name) = (cartridge.label, live.name.clone());
        let moved = live
            .changer
            .call(move |changer| {
                changer.inventory_mut().carry(&[cartridge.place], Force(false), |tx, gates| {
                    from_vault(tx, label, &name, gates).map(|moved| vec![moved])
                })
            })
            .map_err(failed)?
            .map_err(|e| not_carried(&e))?;
        live.contents_changed();
        let place = moved.first().map_or_else(String::new, |m| m.to.to_string());
        Ok(done(format!("{label} is in {place} of {}", live.name), vec![label.to_string()]))
    }

    pub(super) fn vault_remove(&self, label: &str) -> Answer<Done> {
        if self.find(label)?.place != Place::Vault {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{label} is not in the vault"),
                format!("use vtl cartridge rm {label}"),
            ));
        }
        self.cartridge_remove(label, &RemoveCartridge::default())
    }
}
