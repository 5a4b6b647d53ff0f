//! Cartridges: made in series, shown, write-protected, removed.

use std::collections::{BTreeMap, BTreeSet};

use vtl_meta::{MetaError, Row, Tx, Value};
use vtl_types::{ByteCount, CartridgeId, Label, LibraryName, Place};

use crate::{
    error::LibraryError,
    library::{self, Library},
    moves::{MoveFault, Mover},
    quarantine,
    schema::{CARTRIDGES, LIBRARIES, RETIRED_LABELS},
};

/// Most cartridges in one request; more than the largest library has slots.
const MAX_SERIES: u32 = 65_536;

/// Whether a cartridge can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CartridgeState {
    /// It can.
    Normal,
    /// Its store is being freed; only [`finish_remove`] may follow.
    Removing,
}

impl CartridgeState {
    const ALL: [Self; 2] = [Self::Normal, Self::Removing];

    const fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Removing => "removing",
        }
    }
}

/// A cartridge as the inventory knows it. How full it is, only the store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cartridge {
    /// For its whole life; the store's owner id.
    pub id: CartridgeId,
    /// The bar code; it also says generation and form.
    pub label: Label,
    /// `None` exactly in the vault.
    pub library: Option<LibraryName>,
    /// Where it is.
    pub place: Place,
    /// The slot or mailslot that it was last taken from, while that still exists (SValid and source element).
    pub source: Option<Place>,
    /// Who put it into the mailslot it is in; `None` elsewhere. ImpExp is set for the operator.
    pub placed_by: Option<Mover>,
    /// What it may hold.
    pub capacity: ByteCount,
    /// The write-protect tab.
    pub write_protected: bool,
    /// Normal or going.
    pub state: CartridgeState,
    /// Seconds since 1970 UTC.
    pub created_s: i64,
    pub(crate) library_id: Option<u32>,
}

/// Where a new cartridge goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewPlace {
    /// The first empty slots.
    Slot,
    /// The first empty mailslots, as if the operator had put it there.
    Mailslot,
    /// Outside any library.
    Vault,
}

/// A series of new cartridges.
#[derive(Clone, Debug)]
pub struct NewCartridges {
    /// The first label; the next ones count its last digits up.
    pub first: Label,
    /// How many.
    pub count: u32,
    /// Where to; needed unless the place is the vault.
    pub library: Option<LibraryName>,
    /// Which kind of place.
    pub place: NewPlace,
}

/// One cartridge of a series before it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its label.
    pub label: Label,
    /// Where it will be.
    pub place: Place,
}

/// What [`create_cartridges`] will make, in order. The caller makes the store's part with it first, then the rows.
///
/// # Errors
/// A label is in use, the series ends before its count, there is no room.
pub fn plan_cartridges(tx: &Tx<'_>, new: &NewCartridges) -> Result<Vec<Planned>, LibraryError> {
    let labels = series(new.first, new.count)?;
    for label in &labels {
        if find(tx, *label)?.is_some() {
            return Err(LibraryError::LabelTaken(*label));
        }
    }
    let places = room(tx, new)?;
    Ok(labels.into_iter().zip(places).map(|(label, place)| Planned { label, place }).collect())
}

fn series(first: Label, count: u32) -> Result<Vec<Label>, LibraryError> {
    if count == 0 || count > MAX_SERIES {
        return Err(LibraryError::SeriesLength { asked: count, most: MAX_SERIES });
    }
    let wanted = usize::try_from(count).unwrap_or(usize::MAX);
    let labels: Vec<_> = std::iter::successors(Some(first), Label::successor).take(wanted).collect();
    match u32::try_from(labels.len()) {
        Ok(possible) if possible < count => Err(LibraryError::SeriesEnds { first, asked: count, possible }),
        _ => Ok(labels),
    }
}

/// Exactly `new.count` places.
fn room(tx: &Tx<'_>, new: &NewCartridges) -> Result<Vec<Place>, LibraryError> {
    let needed = usize::try_from(new.count).unwrap_or(usize::MAX);
    if new.place == NewPlace::Vault {
        return Ok(vec![Place::Vault; needed]);
    }
    let name = new.library.as_ref().ok_or(LibraryError::NoLibraryGiven(new.first))?;
    let library = library::library(tx, name)?;
    let mut free = free_places(tx, &library, new.place)?;
    if free.len() < needed {
        let kind = if new.place == NewPlace::Slot { "slot" } else { "mailslot" };
        return Err(LibraryError::NoRoom { library: library.name, kind, free: free.len(), needed });
    }
    free.truncate(needed);
    Ok(free)
}

/// The library's empty elements of a kind, in order.
pub(crate) fn free_places(
    tx: &Tx<'_>,
    library: &Library,
    kind: NewPlace,
) -> Result<Vec<Place>, LibraryError> {
    let taken: BTreeSet<Place> = in_library(tx, library)?.iter().map(|c| c.place).collect();
    let all = library.places().filter(|place| match kind {
        NewPlace::Slot => matches!(place, Place::Slot(_)),
        NewPlace::Mailslot => matches!(place, Place::Mailslot(_)),
        NewPlace::Vault => false,
    });
    Ok(all.filter(|place| !taken.contains(place)).collect())
}

/// Writes the rows of a series; `ids` are the store's owners, in the plan's order. Everything is checked again.
///
/// # Errors
/// As [`plan_cartridges`]; [`LibraryError::Ids`] when an id is missing or in use.
pub fn create_cartridges(
    tx: &mut Tx<'_>,
    new: &NewCartridges,
    ids: &[CartridgeId],
    capacity: ByteCount,
    created_s: i64,
) -> Result<Vec<Cartridge>, LibraryError> {
    let planned = plan_cartridges(tx, new)?;
    if planned.len() != ids.len() {
        return Err(LibraryError::Ids);
    }
    let library = match (new.place, &new.library) {
        (NewPlace::Vault, _) | (_, None) => None,
        (_, Some(name)) => Some(library::library(tx, name)?),
    };
    let mut made = Vec::with_capacity(planned.len());
    for (Planned { label, place }, id) in planned.into_iter().zip(ids) {
        let cartridge = Cartridge {
            id: *id,
            label,
            library: library.as_ref().map(|l| l.name.clone()),
            place,
            source: None,
            placed_by: matches!(place, Place::Mailslot(_)).then_some(Mover::Operator),
            capacity,
            write_protected: false,
            state: CartridgeState::Normal,
            created_s,
            library_id: library.as_ref().map(|l| l.id),
        };
        insert(tx, &cartridge)?;
        made.push(cartridge);
    }
    Ok(made)
}

pub(crate) fn insert(tx: &mut Tx<'_>, cartridge: &Cartridge) -> Result<(), LibraryError> {
    if cartridge_by_id(tx, cartridge.id)?.is_some() {
        return Err(LibraryError::Ids);
    }
    Ok(tx.insert(&CARTRIDGES, &values(cartridge))?)
}

pub(crate) fn update(tx: &mut Tx<'_>, cartridge: &Cartridge) -> Result<(), LibraryError> {
    Ok(tx.update(&CARTRIDGES, &values(cartridge))?)
}

/// All cartridges by label, also those that are being removed.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn cartridges(tx: &Tx<'_>) -> Result<Vec<Cartridge>, LibraryError> {
    let mut names: BTreeMap<u32, LibraryName> = BTreeMap::new();
    for row in tx.all(&LIBRARIES)? {
        let name: String = row.get("name")?;
        names.insert(row.get::<u32>("id")?, name.parse().map_err(|_| row.damaged())?);
    }
    let rows = tx.all(&CARTRIDGES)?;
    let mut all =
        rows.iter().map(|row| read(row, |id| Ok(names.get(&id).cloned()))).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|c| c.label);
    Ok(all)
}

/// The cartridges in a library's elements.
pub(crate) fn in_library(tx: &Tx<'_>, library: &Library) -> Result<Vec<Cartridge>, LibraryError> {
    let rows = tx.find(&CARTRIDGES, "library = ?1", &[library.id.into()])?;
    rows.iter().map(|row| read(row, |_| Ok(Some(library.name.clone())))).collect()
}

/// What an element holds.
pub(crate) fn at(tx: &Tx<'_>, library: &Library, place: Place) -> Result<Option<Cartridge>, LibraryError> {
    let Some(number) = place.number() else { return Ok(None) };
    let key = [library.id.into(), place.kind().to_owned().into(), number.into()];
    let rows = tx.find(&CARTRIDGES, "library = ?1 AND place = ?2 AND number = ?3", &key)?;
    rows.first().map(|row| read(row, |_| Ok(Some(library.name.clone())))).transpose()
}

/// The cartridge with this label.
///
/// # Errors
/// There is none; a damaged row; a failure of the file.
pub fn cartridge(tx: &Tx<'_>, label: Label) -> Result<Cartridge, LibraryError> {
    find(tx, label)?.ok_or(LibraryError::UnknownCartridge(label))
}

pub(crate) fn find(tx: &Tx<'_>, label: Label) -> Result<Option<Cartridge>, LibraryError> {
    let rows = tx.find(&CARTRIDGES, "label = ?1", &[label.to_string().into()])?;
    rows.first().map(|row| read(row, |id| library::by_id(tx, id))).transpose()
}

/// The cartridge with this id.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn cartridge_by_id(tx: &Tx<'_>, id: CartridgeId) -> Result<Option<Cartridge>, LibraryError> {
    let row = tx.get(&CARTRIDGES, &[Value::Blob(id.0.to_vec())])?;
    row.map(|row| read(&row, |id| library::by_id(tx, id))).transpose()
}

/// Moves the write-protect tab. A drive that holds the cartridge, or is about to, has to be told.
///
/// # Errors
/// No such cartridge; it is being removed.
pub fn set_write_protect(tx: &mut Tx<'_>, label: Label, on: bool) -> Result<Cartridge, LibraryError> {
    let mut changed = usable(tx, label)?;
    changed.write_protected = on;
    update(tx, &changed)?;
    Ok(changed)
}

/// The cartridge, unless it is being removed.
pub(crate) fn usable(tx: &Tx<'_>, label: Label) -> Result<Cartridge, LibraryError> {
    let found = cartridge(tx, label)?;
    match found.state {
        CartridgeState::Normal => Ok(found),
        CartridgeState::Removing => Err(MoveFault::Reserved { label }.into()),
    }
}

/// First half of a removal: the cartridge leaves its library at once and cannot be used. The caller then frees the
/// store, now or after a time in the trash, and calls [`finish_remove`]. Asking again for one that is already going is harmless.
///
/// # Errors
/// [`LibraryError::Loaded`] while it is in a drive.
pub fn begin_remove(tx: &mut Tx<'_>, label: Label) -> Result<Cartridge, LibraryError> {
    let mut going = cartridge(tx, label)?;
    if let Place::Drive(_) = going.place {
        return Err(LibraryError::Loaded { label, place: going.place });
    }
    going.put_in_vault();
    going.state = CartridgeState::Removing;
    update(tx, &going)?;
    Ok(going)
}

/// Takes a removal back, as long as the caller has not begun to free the store: the cartridge is usable again, in the
/// vault.
///
/// # Errors
/// [`LibraryError::NotRemoving`] when it is not being removed.
pub fn cancel_remove(tx: &mut Tx<'_>, label: Label) -> Result<Cartridge, LibraryError> {
    let mut kept = cartridge(tx, label)?;
    if kept.state != CartridgeState::Removing {
        return Err(LibraryError::NotRemoving(label));
    }
    kept.state = CartridgeState::Normal;
    update(tx, &kept)?;
    Ok(kept)
}

/// Second half: the row goes. The label may be given again by somebody who names it, and is in [`used_labels`] for ever. Harmless when it is
/// gone already.
///
/// # Errors
/// [`LibraryError::NotRemoving`] without the first half.
pub fn finish_remove(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), LibraryError> {
    match cartridge_by_id(tx, id)? {
        None => Ok(()),
        Some(Cartridge { state: CartridgeState::Removing, label, .. }) => {
            tx.delete(&CARTRIDGES, &[Value::Blob(id.0.to_vec())])?;
            quarantine::forget_quarantine(tx, id)?;
            let retired = [label.to_string().into()];
            tx.delete(&RETIRED_LABELS, &retired)?;
            Ok(tx.insert(&RETIRED_LABELS, &retired)?)
        }
        Some(other) => Err(LibraryError::NotRemoving(other.label)),
    }
}

/// Labels of all cartridges that are here, and of those that were: none of them is made up again.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn used_labels(tx: &Tx<'_>) -> Result<BTreeSet<Label>, LibraryError> {
    let rows = [tx.all(&CARTRIDGES)?, tx.all(&RETIRED_LABELS)?];
    let label = |row: &Row| row.get::<String>("label")?.parse().map_err(|_| row.damaged());
    Ok(rows.iter().flatten().map(label).collect::<Result<_, MetaError>>()?)
}

impl Cartridge {
    pub(crate) fn put_in_vault(&mut self) {
        self.library = None;
        self.library_id = None;
        self.place = Place::Vault;
        self.source = None;
        self.placed_by = None;
    }
}

fn values(c: &Cartridge) -> [Value; 12] {
    let text = |word: &str| Value::Text(word.to_owned());
    [
        Value::Blob(c.id.0.to_vec()),
        text(c.label.as_str()),
        c.library_id.into(),
        text(c.place.kind()),
        c.place.number().into(),
        c.source.map(|place| place.kind().to_owned()).into(),
        c.source.and_then(Place::number).into(),
        c.placed_by.map(|mover| mover.word().to_owned()).into(),
        // No medium comes near 2^63 bytes; a larger wish is cut there.
        i64::try_from(c.capacity.0).unwrap_or(i64::MAX).into(),
        i64::from(c.write_protected).into(),
        text(c.state.word()),
        c.created_s.into(),
    ]
}

pub(crate) fn read(
    row: &Row,
    library_name: impl Fn(u32) -> Result<Option<LibraryName>, LibraryError>,
) -> Result<Cartridge, LibraryError> {
    let library_id: Option<u32> = row.get("library")?;
    let (label, state): (String, String) = (row.get("label")?, row.get("state")?);
    let (kind, mover): (String, Option<String>) = (row.get("place")?, row.get("placed_by")?);
    let source: Option<String> = row.get("source_place")?;
    let capacity: i64 = row.get("capacity_bytes")?;
    let number = row.get("number")?;
    let source_number = row.get("source_number")?;
    let known = |word: &Option<String>| {
        word.as_deref().map(|word| Mover::from_word(word).ok_or_else(|| row.damaged()))
    };
    Ok(Cartridge {
        id: CartridgeId(row.get("id")?),
        label: label.parse().map_err(|_| row.damaged())?,
        library: library_id.map(library_name).transpose()?.flatten(),
        place: Place::from_parts(&kind, number).ok_or_else(|| row.damaged())?,
        source: source.and_then(|kind| Place::from_parts(&kind, source_number)),
        placed_by: known(&mover).transpose()?,
        capacity: ByteCount(u64::try_from(capacity).map_err(|_| row.damaged())?),
        write_protected: row.get("write_protect")?,
        state: *CartridgeState::ALL.iter().find(|s| s.word() == state).ok_or_else(|| row.damaged())?,
        created_s: row.get("created_s")?,
        library_id,
    })
}
