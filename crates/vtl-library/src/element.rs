//! The elements of a library as READ ELEMENT STATUS and `vtl library show` need them.

use std::collections::BTreeMap;

use vtl_meta::Tx;
use vtl_types::{LibraryName, Place};

use crate::{
    cartridge::{self, Cartridge},
    error::LibraryError,
    library::{self, Drive, Library},
};

/// One element and what it holds. Addresses are the personality's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Which one; never the vault.
    pub place: Place,
    /// What it holds. Its `source` is only given while that element exists.
    pub cartridge: Option<Cartridge>,
    /// The drive, when it is one.
    pub drive: Option<Drive>,
}

/// All elements, as one consistent view: slots, mailslots, drives, each in order.
///
/// # Errors
/// No such library; a damaged row; a failure of the file.
pub fn elements(tx: &Tx<'_>, name: &LibraryName) -> Result<Vec<Element>, LibraryError> {
    let library = library::library(tx, name)?;
    let mut held: BTreeMap<Place, Cartridge> =
        cartridge::in_library(tx, &library)?.into_iter().map(|c| (c.place, c)).collect();
    Ok(library.places().map(|place| element(&library, place, held.remove(&place))).collect())
}

fn element(library: &Library, place: Place, cartridge: Option<Cartridge>) -> Element {
    let cartridge = cartridge.map(|mut c| {
        c.source = c.source.filter(|source| library.has(*source));
        c
    });
    let drive = match place {
        Place::Drive(number) => library.drives.get(usize::from(number)).cloned(),
        _ => None,
    };
    Element { place, cartridge, drive }
}
