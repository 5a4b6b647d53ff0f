//! After a loss: the inventory again from the heads in the store; and at every start, what a crash left half done.
//!
//! The store has the cartridges, so their bytes are never in question here; only where they stand is. A head's hint
//! is taken when it fits, otherwise the cartridge goes to the vault and the report says why. Nothing is ever dropped:
//! a head whose label is taken stays in the store, unlisted, until an operator gives it another label.

use std::collections::{BTreeMap, BTreeSet};

use vtl_meta::Tx;
use vtl_types::{ByteCount, CartridgeId, Label, LibraryName, Place};

use crate::{
    cartridge::{self, Cartridge, CartridgeState},
    error::LibraryError,
    library::{self, Library},
    moves::Mover,
};

/// What the store knows of one cartridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The store's owner id.
    pub id: CartridgeId,
    /// The label it was written with.
    pub label: Label,
    /// What it may hold.
    pub capacity: ByteCount,
    /// Whether it was write-protected.
    pub write_protected: bool,
    /// Seconds since 1970 UTC.
    pub created_s: i64,
    /// Where it was, as far as its head knows.
    pub hint: Option<(LibraryName, Place)>,
}

/// Why a head gets the place it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The inventory has it already, unchanged.
    Listed,
    /// It goes where its hint says.
    AsHinted,
    /// To the vault: it has no hint, or was there.
    NoHint,
    /// To the vault: no such library.
    NoLibrary(LibraryName),
    /// To the vault: the library has no such element.
    NoElement(Place),
    /// To the vault: the element holds another cartridge.
    ElementTaken {
        /// The element.
        place: Place,
        /// What it holds.
        by: Label,
    },
    /// Not listed: another cartridge has the label. The data stays in the store.
    LabelTaken {
        /// Who has it.
        by: CartridgeId,
    },
}

/// What a rebuild does with one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The cartridge.
    pub head: Head,
    /// Its library; `None` in the vault.
    pub library: Option<LibraryName>,
    /// Its place.
    pub place: Place,
    /// Why.
    pub verdict: Verdict,
}

/// What [`rebuild`] will do, in order of label and then age. Writes nothing.
///
/// # Errors
/// A damaged row (a rebuild begins with an empty inventory in its place); a failure of the file.
pub fn plan_rebuild(tx: &Tx<'_>, heads: &[Head]) -> Result<Vec<Placement>, LibraryError> {
    let libraries: BTreeMap<_, _> =
        library::libraries(tx)?.into_iter().map(|l| (l.name.clone(), l)).collect();
    let mut shelves =
        Shelves { libraries, ids: BTreeSet::new(), labels: BTreeMap::new(), places: BTreeMap::new() };
    for listed in cartridge::cartridges(tx)? {
        shelves.take(listed.id, listed.label, listed.library, listed.place);
    }
    let mut heads = heads.to_vec();
    heads.sort_by_key(|head| (head.label, head.created_s, head.id));
    Ok(heads.into_iter().map(|head| shelves.place(head)).collect())
}

/// What is taken so far.
struct Shelves {
    libraries: BTreeMap<LibraryName, Library>,
    ids: BTreeSet<CartridgeId>,
    labels: BTreeMap<Label, CartridgeId>,
    places: BTreeMap<(LibraryName, Place), Label>,
}

impl Shelves {
    fn take(&mut self, id: CartridgeId, label: Label, library: Option<LibraryName>, place: Place) {
        self.ids.insert(id);
        self.labels.insert(label, id);
        if let Some(library) = library {
            self.places.insert((library, place), label);
        }
    }

    fn place(&mut self, head: Head) -> Placement {
        let verdict = self.judge(&head);
        let (library, place) = match (&verdict, &head.hint) {
            (Verdict::AsHinted, Some((library, place))) => (Some(library.clone()), *place),
            _ => (None, Place::Vault),
        };
        if !matches!(verdict, Verdict::Listed | Verdict::LabelTaken { .. }) {
            self.take(head.id, head.label, library.clone(), place);
        }
        Placement { head, library, place, verdict }
    }

    fn judge(&self, head: &Head) -> Verdict {
        if self.ids.contains(&head.id) {
            return Verdict::Listed;
        }
        if let Some(by) = self.labels.get(&head.label) {
            return Verdict::LabelTaken { by: *by };
        }
        let Some((name, place)) = head.hint.clone() else { return Verdict::NoHint };
        if place == Place::Vault {
            return Verdict::NoHint;
        }
        match (self.libraries.get(&name), self.places.get(&(name.clone(), place))) {
            (None, _) => Verdict::NoLibrary(name),
            (Some(library), _) if !library.has(place) => Verdict::NoElement(place),
            (_, Some(by)) => Verdict::ElementTaken { place, by: *by },
            _ => Verdict::AsHinted,
        }
    }
}

/// Lists every head that the inventory does not list, as [`plan_rebuild`] says. Doing it again changes nothing.
///
/// # Errors
/// As [`plan_rebuild`].
pub fn rebuild(tx: &mut Tx<'_>, heads: &[Head]) -> Result<Vec<Placement>, LibraryError> {
    let plan = plan_rebuild(tx, heads)?;
    for placement in &plan {
        if !matches!(placement.verdict, Verdict::Listed | Verdict::LabelTaken { .. }) {
            let listed = as_cartridge(tx, placement)?;
            cartridge::insert(tx, &listed)?;
        }
    }
    Ok(plan)
}

fn as_cartridge(tx: &Tx<'_>, placement: &Placement) -> Result<Cartridge, LibraryError> {
    let Placement { head, library, place, .. } = placement;
    let library_id = match library {
        Some(name) => Some(library::library(tx, name)?.id),
        None => None,
    };
    Ok(Cartridge {
        id: head.id,
        label: head.label,
        library: library.clone(),
        place: *place,
        source: None,
        placed_by: matches!(place, Place::Mailslot(_)).then_some(Mover::Operator),
        capacity: head.capacity,
        write_protected: head.write_protected,
        state: CartridgeState::Normal,
        created_s: head.created_s,
        library_id,
    })
}

/// Where inventory and store differ after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Rows whose removal began: free the store if it is still there, then [`crate::finish_remove`].
    pub to_finish: Vec<Cartridge>,
    /// Store owners without a row: an interrupted creation, or a lost row. Free it only when it is blank; list it with
    /// [`rebuild`] otherwise.
    pub unlisted: Vec<CartridgeId>,
    /// Rows without a store owner: damage. The cartridge's data is gone or the pool is not the right one; tell the
    /// operator and do not load it.
    pub missing: Vec<Cartridge>,
}

/// Compares the inventory with the store's owners at start. Writes nothing.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn reconcile(tx: &Tx<'_>, in_store: &[CartridgeId]) -> Result<Reconciliation, LibraryError> {
    let mut unlisted: BTreeSet<CartridgeId> = in_store.iter().copied().collect();
    let mut found = Reconciliation::default();
    for row in cartridge::cartridges(tx)? {
        let stored = unlisted.remove(&row.id);
        match (row.state, stored) {
            (CartridgeState::Removing, _) => found.to_finish.push(row),
            (CartridgeState::Normal, false) => found.missing.push(row),
            (CartridgeState::Normal, true) => {}
        }
    }
    found.unlisted = unlisted.into_iter().collect();
    Ok(found)
}
