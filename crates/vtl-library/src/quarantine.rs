//! Cartridges in quarantine: in the vault, and there they stay until somebody releases them. A mark has the cartridge's id and may be there before the
//! cartridge is listed, so that no crash shows one without its mark.

use vtl_meta::{Row, Tx, Value};
use vtl_types::{CartridgeId, Label};

use crate::{
    cartridge::{self, Cartridge},
    error::LibraryError,
    schema::QUARANTINE,
};

/// Marks a cartridge, or one that is about to be listed; `why` is told to whoever wants to load it. Again replaces it.
///
/// # Errors
/// A failure of the file.
pub fn quarantine(tx: &mut Tx<'_>, id: CartridgeId, why: &str) -> Result<(), LibraryError> {
    tx.delete(&QUARANTINE, &[key(id)])?;
    Ok(tx.insert(&QUARANTINE, &[key(id), Value::Text(why.to_owned())])?)
}

/// Why a cartridge is in quarantine, if it is.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn quarantined(tx: &Tx<'_>, id: CartridgeId) -> Result<Option<String>, LibraryError> {
    let row: Option<Row> = tx.get(&QUARANTINE, &[key(id)])?;
    Ok(row.map(|row| row.get("why")).transpose()?)
}

/// Takes a cartridge out of quarantine.
///
/// # Errors
/// No such cartridge; it is being removed; [`LibraryError::NotQuarantined`].
pub fn release(tx: &mut Tx<'_>, label: Label) -> Result<Cartridge, LibraryError> {
    let found = cartridge::usable(tx, label)?;
    match quarantined(tx, found.id)? {
        Some(_) => forget_quarantine(tx, found.id).map(|()| found),
        None => Err(LibraryError::NotQuarantined(label)),
    }
}

/// Removes the mark of an id that will not be listed, or is gone. Harmless when there is none.
///
/// # Errors
/// A failure of the file.
pub fn forget_quarantine(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), LibraryError> {
    tx.delete(&QUARANTINE, &[key(id)])?;
    Ok(())
}

/// What may leave the vault.
pub(crate) fn check(tx: &Tx<'_>, cartridge: &Cartridge) -> Result<(), LibraryError> {
    match quarantined(tx, cartridge.id)? {
        Some(why) => Err(LibraryError::Quarantined { label: cartridge.label, why }),
        None => Ok(()),
    }
}

fn key(id: CartridgeId) -> Value {
    Value::Blob(id.0.to_vec())
}

#[cfg(test)]
mod tests {
    use vtl_types::Place;

    use super::*;
    use crate::tests::{INSTALLATION, label, name, new_library, open};
    use crate::{
        Gates, NewCartridges, NewPlace, begin_remove, cancel_remove, create_cartridges, create_library,
        finish_remove, install, load_from_vault, move_label,
    };

    fn lib0(tx: &mut Tx<'_>) -> Result<(), LibraryError> {
        install(tx, INSTALLATION)?;
        create_library(tx, &new_library("lib0", 2, 6, 2)).map(drop)
    }

    fn in_vault(tx: &mut Tx<'_>, text: &str, id: CartridgeId) -> Result<(), LibraryError> {
        let new = NewCartridges { first: label(text), count: 1, library: None, place: NewPlace::Vault };
        create_cartridges(tx, &new, &[id], vtl_types::ByteCount(1 << 30), 0).map(drop)
    }

    #[test]
    fn a_quarantined_cartridge_leaves_the_vault_when_it_is_released_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut meta = open(folder.path());
        let id = CartridgeId([9; 16]);
        meta.transaction(|tx| {
            lib0(tx)?;
            // Before it is listed: a crash between the two shows no cartridge without its mark.
            quarantine(tx, id, "nobody signed it")?;
            in_vault(tx, "VTL001L8", id)
        })
        .unwrap();
        drop(meta);
        let mut meta = open(folder.path());
        for refused in [
            meta.transaction(|tx| {
                load_from_vault(tx, label("VTL001L8"), &name("lib0"), NewPlace::Slot, &Gates::open())
            }),
            meta.transaction(|tx| {
                move_label(tx, label("VTL001L8"), Some(&name("lib0")), Place::Drive(0), &Gates::open())
            }),
        ] {
            let error = refused.unwrap_err();
            assert_eq!(error.to_string(), "cartridge 'VTL001L8' is in quarantine: nobody signed it");
            let remedy = "when you know where it comes from: vtl cartridge release VTL001L8";
            assert_eq!(error.remedy().as_deref(), Some(remedy));
        }
        // The trash does not wash it.
        meta.transaction(|tx| begin_remove(tx, label("VTL001L8"))).unwrap();
        assert!(meta.transaction(|tx| release(tx, label("VTL001L8"))).is_err());
        meta.transaction(|tx| cancel_remove(tx, label("VTL001L8"))).unwrap();
        assert_eq!(meta.read(|tx| quarantined(tx, id)).unwrap().as_deref(), Some("nobody signed it"));
        meta.transaction(|tx| release(tx, label("VTL001L8"))).unwrap();
        assert!(matches!(
            meta.transaction(|tx| release(tx, label("VTL001L8"))),
            Err(LibraryError::NotQuarantined(_))
        ));
        let moved = meta.transaction(|tx| {
            load_from_vault(tx, label("VTL001L8"), &name("lib0"), NewPlace::Slot, &Gates::open())
        });
        assert_eq!(moved.unwrap().to, Place::Slot(1));
    }

    #[test]
    fn a_mark_goes_with_its_cartridge() {
        let folder = tempfile::tempdir().unwrap();
        let mut meta = open(folder.path());
        let id = CartridgeId([9; 16]);
        meta.transaction(|tx| {
            lib0(tx)?;
            in_vault(tx, "VTL001L8", id)?;
            quarantine(tx, id, "first")?;
            quarantine(tx, id, "second")
        })
        .unwrap();
        assert_eq!(meta.read(|tx| quarantined(tx, id)).unwrap().as_deref(), Some("second"));
        meta.transaction(|tx| {
            begin_remove(tx, label("VTL001L8"))?;
            finish_remove(tx, id)
        })
        .unwrap();
        assert_eq!(meta.read(|tx| quarantined(tx, id)).unwrap(), None);
    }
}
