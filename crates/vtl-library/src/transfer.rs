//! Moves: by element, as hosts ask; by label, as operators ask.

use vtl_meta::Tx;
use vtl_types::{Label, LibraryName, Place};

use crate::{
    cartridge::{self, Cartridge, NewPlace},
    error::LibraryError,
    library::{self, Library},
    moves::{self, End, Gates, MoveFault, Mover},
    quarantine,
};

/// A move that was done, or is about to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The cartridge as it is afterwards.
    pub cartridge: Cartridge,
    /// Where it was.
    pub from: Place,
    /// Where it is.
    pub to: Place,
}

/// What [`move_medium`] would do: for the caller that has to unload a drive before the row changes. Writes nothing.
///
/// # Errors
/// As [`move_medium`].
pub fn plan_move(
    tx: &Tx<'_>,
    name: &LibraryName,
    from: Place,
    to: Place,
    by: Mover,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    let library = library::library(tx, name)?;
    let held = cartridge::at(tx, &library, from)?;
    moves::check(end(&library, from, held.as_ref()), destination(tx, &library, to)?, by, gates)?;
    match held {
        Some(cartridge) => Ok(moved(cartridge, &library, to, by)),
        None => Err(MoveFault::SourceEmpty { place: from }.into()),
    }
}

/// Moves what is in `from` to `to`, both in one library. The vault is no element: to carry there, see [`move_label`].
///
/// # Errors
/// [`LibraryError::Move`] with the reason for the sense data.
pub fn move_medium(
    tx: &mut Tx<'_>,
    name: &LibraryName,
    from: Place,
    to: Place,
    by: Mover,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    let done = plan_move(tx, name, from, to, by, gates)?;
    cartridge::update(tx, &done.cartridge)?;
    Ok(done)
}

/// EXCHANGE MEDIUM (SMC-3): what is in `source` goes to `first`, what was in `first` goes to `second`; `second` may be
/// `source`, then the two swap. Both moves happen or none.
///
/// # Errors
/// [`LibraryError::Move`] with the reason for the sense data.
pub fn exchange(
    tx: &mut Tx<'_>,
    name: &LibraryName,
    source: Place,
    first: Place,
    second: Place,
    by: Mover,
    gates: &Gates,
) -> Result<[Moved; 2], LibraryError> {
    let library = library::library(tx, name)?;
    let incoming = cartridge::at(tx, &library, source)?;
    let outgoing = cartridge::at(tx, &library, first)?;
    let from = end(&library, source, incoming.as_ref());
    let middle = end(&library, first, outgoing.as_ref());
    let last = match second == source {
        true => End { holds: None, ..from }, // it will have left
        false => destination(tx, &library, second)?,
    };
    let label = moves::check_source(from, middle, by, gates)?;
    moves::check(middle, last, by, gates)?;
    moves::check_entry(label, middle, by, gates)?;
    match (incoming, outgoing) {
        // One element cannot give two cartridges.
        (Some(_), Some(_)) if source == first => Err(MoveFault::SourceEmpty { place: first }.into()),
        (Some(incoming), Some(outgoing)) => {
            let swap = [moved(incoming, &library, first, by), moved(outgoing, &library, second, by)];
            write_exchange(tx, &swap)?;
            Ok(swap)
        }
        (None, _) => Err(MoveFault::SourceEmpty { place: source }.into()),
        (_, None) => Err(MoveFault::SourceEmpty { place: first }.into()),
    }
}

/// An element holds at most one cartridge at each step, too: the outgoing one waits in the vault.
fn write_exchange(tx: &mut Tx<'_>, [incoming, outgoing]: &[Moved; 2]) -> Result<(), LibraryError> {
    let mut waiting = outgoing.cartridge.clone();
    waiting.put_in_vault();
    cartridge::update(tx, &waiting)?;
    cartridge::update(tx, &incoming.cartridge)?;
    cartridge::update(tx, &outgoing.cartridge)
}

/// The operator moves a cartridge by label: within its library, or to the vault. From the vault into a library it
/// goes with [`load_from_vault`], or here with `library` named.
///
/// # Errors
/// [`LibraryError::Move`] with the reason; [`LibraryError::NoLibraryGiven`] from the vault without `library`; another
/// library than the one it is in is refused: carry it to the vault first.
pub fn move_label(
    tx: &mut Tx<'_>,
    label: Label,
    library: Option<&LibraryName>,
    to: Place,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    let found = cartridge::usable(tx, label)?;
    let name = match (&found.library, library) {
        (None, Some(asked)) => asked.clone(),
        (None, None) => return Err(LibraryError::NoLibraryGiven(label)),
        (Some(own), None) => own.clone(),
        (Some(own), Some(asked)) if own == asked => own.clone(),
        (Some(_), Some(_)) => return Err(MoveFault::NoSuchMove { from: found.place, to }.into()),
    };
    if found.place == Place::Vault {
        quarantine::check(tx, &found)?;
    }
    let library = library::library(tx, &name)?;
    let from = end(&library, found.place, Some(&found));
    moves::check(from, destination(tx, &library, to)?, Mover::Operator, gates)?;
    let done = moved(found, &library, to, Mover::Operator);
    cartridge::update(tx, &done.cartridge)?;
    Ok(done)
}

/// What a move of the same transaction has put into a mailslot goes on to the vault: nobody ever sees it in the mailslot.
///
/// # Errors
/// [`LibraryError::Move`]: it is not in a mailslot. A failure of the file.
pub fn eject(tx: &mut Tx<'_>, put: Moved) -> Result<Moved, LibraryError> {
    let Moved { mut cartridge, from, to } = put;
    if !moves::exists(to, Place::Vault, Mover::Ejection) {
        return Err(MoveFault::NoSuchMove { from: to, to: Place::Vault }.into());
    }
    cartridge.put_in_vault();
    cartridge::update(tx, &cartridge)?;
    Ok(Moved { cartridge, from, to: Place::Vault })
}

/// The operator puts a cartridge of the vault into the first empty slot or mailslot of a library.
///
/// # Errors
/// As [`move_label`]; [`LibraryError::NotInVault`], [`LibraryError::NoRoom`].
pub fn load_from_vault(
    tx: &mut Tx<'_>,
    label: Label,
    library: &LibraryName,
    into: NewPlace,
    gates: &Gates,
) -> Result<Moved, LibraryError> {
    let found = cartridge::usable(tx, label)?;
    if found.place != Place::Vault {
        return Err(LibraryError::NotInVault { label, place: found.place });
    }
    quarantine::check(tx, &found)?;
    let target = library::library(tx, library)?;
    let kind = if into == NewPlace::Mailslot { "mailslot" } else { "slot" };
    match cartridge::free_places(tx, &target, into)?.first() {
        Some(place) => move_label(tx, label, Some(library), *place, gates),
        None => Err(LibraryError::NoRoom { library: target.name, kind, free: 0, needed: 1 }),
    }
}

fn destination(tx: &Tx<'_>, library: &Library, to: Place) -> Result<End, LibraryError> {
    let held = cartridge::at(tx, library, to)?;
    Ok(end(library, to, held.as_ref()))
}

fn end(library: &Library, place: Place, held: Option<&Cartridge>) -> End {
    End {
        place,
        exists: place == Place::Vault || library.has(place),
        holds: held.map(|c| c.label),
        drive: library.drive_generation_at(place),
    }
}

/// The cartridge after the move.
fn moved(before: Cartridge, library: &Library, to: Place, by: Mover) -> Moved {
    let from = before.place;
    let mut cartridge = before;
    if to == Place::Vault {
        cartridge.put_in_vault();
    } else {
        cartridge.source = source_after(from, cartridge.source);
        cartridge.library = Some(library.name.clone());
        cartridge.library_id = Some(library.id);
        cartridge.place = to;
        cartridge.placed_by = matches!(to, Place::Mailslot(_)).then_some(by);
    }
    Moved { cartridge, from, to }
}

/// The source element is the last storage or import/export element: a drive does not change it, the vault ends it.
fn source_after(from: Place, before: Option<Place>) -> Option<Place> {
    match from {
        Place::Slot(_) | Place::Mailslot(_) => Some(from),
        Place::Drive(_) => before,
        Place::Vault => None,
    }
}
