//! Libraries: made, counted, grown, shrunk, removed; and what an audit finds wrong.

use std::collections::BTreeSet;

use vtl_meta::{Row, Tx, Value};
use vtl_types::{Generation, IscsiName, LibraryName, Place};

use crate::{
    access::{self, Layout},
    cartridge::{self, Cartridge},
    error::LibraryError,
    identity::{self, Identity, InstallationId},
    schema::{DRIVES, LIBRARIES, SETTINGS},
};

/// Drives are LUNs 1 to 255 of single-level addressing (SAM-5, peripheral device addressing method).
pub const MAX_DRIVES: u16 = 255;
/// The personalities leave 255 element addresses between mailslots and slots.
pub const MAX_MAILSLOTS: u16 = 255;
/// Element addresses have 16 bits; this leaves room for drives, mailslots and the transport below 65 536.
pub const MAX_SLOTS: u16 = 60_000;
/// A refusal names this many cartridges, not thousands.
const NAMED_IN_ERRORS: usize = 5;
/// Settings are words, names and numbers, not documents.
const MAX_SETTING_LEN: usize = 1024;

/// How many of each element. (Drives count from 0, slots and mailslots from 1.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Data transfer elements.
    pub drives: u16,
    /// Storage elements.
    pub slots: u16,
    /// Import/export elements.
    pub mailslots: u16,
}

/// What a library is made from.
#[derive(Clone, Debug)]
pub struct NewLibrary {
    /// Its name.
    pub name: LibraryName,
    /// The changer's personality, such as `ibm-03584l32`.
    pub profile: String,
    /// The drives' personality, such as `ibm-ult3580-td8`.
    pub drive_profile: String,
    /// What the drives take.
    pub drive_generation: Generation,
    /// How many elements.
    pub counts: Counts,
    /// The iSCSI target that shows its devices; [`crate::default_target`] makes the usual name.
    pub target: IscsiName,
}

/// A drive: a data transfer element and a logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Counts from 0.
    pub number: u16,
    /// LUN on the library's target, when drives have none of their own: the changer is 0, drives follow in order.
    pub lun: u16,
    /// Its personality.
    pub profile: String,
    /// What it takes.
    pub generation: Generation,
    /// Its serial number and designator.
    pub identity: Identity,
}

/// A library as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    pub(crate) id: u32,
    /// Its name.
    pub name: LibraryName,
    /// The changer's personality.
    pub profile: String,
    /// The personality of drives that are added.
    pub drive_profile: String,
    /// The generation of drives that are added.
    pub drive_generation: Generation,
    /// How many slots.
    pub slots: u16,
    /// How many mailslots.
    pub mailslots: u16,
    /// The changer's serial number and designator.
    pub identity: Identity,
    /// In order of their number.
    pub drives: Vec<Drive>,
}

impl Library {
    /// The changer's LUN.
    pub const CHANGER_LUN: u16 = 0;

    /// The counts as one value.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let drives = u16::try_from(self.drives.len()).unwrap_or(u16::MAX);
        Counts { drives, slots: self.slots, mailslots: self.mailslots }
    }

    /// Whether the library has this element.
    #[must_use]
    pub fn has(&self, place: Place) -> bool {
        self.counts().has(place)
    }

    /// All elements: slots, mailslots, drives, each in order.
    pub fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let Counts { drives, slots, mailslots } = self.counts();
        (1..=slots)
            .map(Place::Slot)
            .chain((1..=mailslots).map(Place::Mailslot))
            .chain((0..drives).map(Place::Drive))
    }

    pub(crate) fn drive_generation_at(&self, place: Place) -> Option<Generation> {
        match place {
            Place::Drive(n) => self.drives.get(usize::from(n)).map(|drive| drive.generation),
            _ => None,
        }
    }
}

impl Counts {
    fn has(self, place: Place) -> bool {
        match place {
            Place::Slot(n) => (1..=self.slots).contains(&n),
            Place::Mailslot(n) => (1..=self.mailslots).contains(&n),
            Place::Drive(n) => n < self.drives,
            Place::Vault => false,
        }
    }

    fn check(self) -> Result<(), LibraryError> {
        let rows = [
            ("drives", self.drives, 1, MAX_DRIVES),
            ("slots", self.slots, 1, MAX_SLOTS),
            ("mailslots", self.mailslots, 0, MAX_MAILSLOTS),
        ];
        match rows.into_iter().find(|(_, asked, least, most)| !(least..=most).contains(&asked)) {
            Some((what, asked, least, most)) => Err(LibraryError::Count { what, asked, least, most }),
            None => Ok(()),
        }
    }
}

/// Makes a library, its drives and its target.
///
/// # Errors
/// The name or target is in use; counts out of range.
pub fn create_library(tx: &mut Tx<'_>, new: &NewLibrary) -> Result<Library, LibraryError> {
    new.counts.check()?;
    if find(tx, &new.name)?.is_some() {
        return Err(LibraryError::LibraryExists(new.name.clone()));
    }
    let identity = identity::next_identity(tx)?;
    let mut made = Library {
        id: identity.device,
        name: new.name.clone(),
        profile: new.profile.clone(),
        drive_profile: new.drive_profile.clone(),
        drive_generation: new.drive_generation,
        slots: new.counts.slots,
        mailslots: new.counts.mailslots,
        identity,
        drives: Vec::new(),
    };
    tx.insert(&LIBRARIES, &library_values(&made))?;
    add_drives(tx, &mut made, new.counts.drives)?;
    access::add_target(tx, &new.target, made.id, None)?;
    Ok(made)
}

/// Adds drives up to `wanted`, each with a new serial number and the next LUN.
fn add_drives(tx: &mut Tx<'_>, library: &mut Library, wanted: u16) -> Result<(), LibraryError> {
    for number in library.counts().drives..wanted {
        let drive = Drive {
            number,
            lun: lun(number),
            profile: library.drive_profile.clone(),
            generation: library.drive_generation,
            identity: identity::next_identity(tx)?,
        };
        tx.insert(&DRIVES, &drive_values(library.id, &drive))?;
        library.drives.push(drive);
    }
    Ok(())
}

const fn lun(drive: u16) -> u16 {
    Library::CHANGER_LUN + 1 + drive
}

/// All libraries in the order in which they were made.
///
/// # Errors
/// A failure of the file.
pub fn libraries(tx: &Tx<'_>) -> Result<Vec<Library>, LibraryError> {
    let id = match identity::installation(tx)? {
        Some(id) => id,
        None => return Ok(Vec::new()),
    };
    tx.all(&LIBRARIES)?.iter().map(|row| read_library(tx, id, row)).collect()
}

/// The library of this name.
///
/// # Errors
/// There is none; a failure of the file.
pub fn library(tx: &Tx<'_>, name: &LibraryName) -> Result<Library, LibraryError> {
    find(tx, name)?.ok_or_else(|| LibraryError::UnknownLibrary(name.clone()))
}

pub(crate) fn find(tx: &Tx<'_>, name: &LibraryName) -> Result<Option<Library>, LibraryError> {
    let id = identity::required(tx)?;
    let rows = tx.find(&LIBRARIES, "name = ?1", &[name.to_string().into()])?;
    rows.first().map(|row| read_library(tx, id, row)).transpose()
}

/// Makes the counts as asked. Growing happens at once; shrinking only when the elements that go are empty. Drives
/// come and go at the end of the list, so that the others keep number, LUN and serial number.
///
/// # Errors
/// [`LibraryError::Occupied`] with the cartridges that are in the way; counts out of range.
pub fn set_counts(tx: &mut Tx<'_>, name: &LibraryName, counts: Counts) -> Result<Library, LibraryError> {
    counts.check()?;
    let mut changed = library(tx, name)?;
    refuse_to_drop_cartridges(tx, &changed, counts)?;
    for drive in changed.drives.iter().skip(usize::from(counts.drives)) {
        tx.delete(&DRIVES, &[changed.id.into(), drive.number.into()])?;
    }
    changed.drives.truncate(usize::from(counts.drives));
    add_drives(tx, &mut changed, counts.drives)?;
    changed.slots = counts.slots;
    changed.mailslots = counts.mailslots;
    tx.update(&LIBRARIES, &library_values(&changed))?;
    let layout = access::targets_of(tx, name)?.layout();
    access::spread(tx, &changed, layout)?;
    Ok(changed)
}

/// Spreads the devices over targets as asked.
///
/// # Errors
/// No such library; a target's name is in use or too long.
pub fn set_layout(tx: &mut Tx<'_>, name: &LibraryName, layout: Layout) -> Result<(), LibraryError> {
    let library = library(tx, name)?;
    access::spread(tx, &library, layout)
}

fn refuse_to_drop_cartridges(tx: &Tx<'_>, library: &Library, counts: Counts) -> Result<(), LibraryError> {
    let held = cartridge::in_library(tx, library)?;
    let holders: Vec<_> = held.iter().filter(|c| !counts.has(c.place)).map(|c| (c.place, c.label)).collect();
    match holders.is_empty() {
        true => Ok(()),
        false => Err(LibraryError::Occupied { library: library.name.clone(), holders }),
    }
}

/// Removes an empty library with its drives, settings, target and who may log in.
///
/// # Errors
/// [`LibraryError::NotEmpty`] while it holds a cartridge.
pub fn remove_library(tx: &mut Tx<'_>, name: &LibraryName) -> Result<(), LibraryError> {
    let gone = library(tx, name)?;
    let held = cartridge::in_library(tx, &gone)?;
    if !held.is_empty() {
        let labels = held.iter().take(NAMED_IN_ERRORS).map(|c| c.label).collect();
        return Err(LibraryError::NotEmpty { library: gone.name, labels, total: held.len() });
    }
    access::remove_targets(tx, gone.id)?;
    for key in settings(tx, name)?.into_iter().map(|(key, _)| key) {
        tx.delete(&SETTINGS, &[gone.id.into(), key.into()])?;
    }
    for drive in &gone.drives {
        tx.delete(&DRIVES, &[gone.id.into(), drive.number.into()])?;
    }
    tx.delete(&LIBRARIES, &[gone.id.into()])?;
    Ok(())
}

/// Sets one setting, or removes it. Which keys mean something is their owner's business.
///
/// # Errors
/// A key that is none.
pub fn set_setting(
    tx: &mut Tx<'_>,
    name: &LibraryName,
    key: &str,
    value: Option<&str>,
) -> Result<(), LibraryError> {
    if !is_setting_key(key) || value.is_some_and(|value| value.len() > MAX_SETTING_LEN) {
        return Err(LibraryError::Setting { key: key.to_owned() });
    }
    let id = library(tx, name)?.id;
    tx.delete(&SETTINGS, &[id.into(), key.to_owned().into()])?;
    match value {
        Some(value) => {
            Ok(tx.insert(&SETTINGS, &[id.into(), key.to_owned().into(), value.to_owned().into()])?)
        }
        None => Ok(()),
    }
}

fn is_setting_key(key: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    key.len() <= MAX_SETTING_LEN && key.split('.').all(word)
}

/// A library's settings, by key.
///
/// # Errors
/// No such library; a failure of the file.
pub fn settings(tx: &Tx<'_>, name: &LibraryName) -> Result<Vec<(String, String)>, LibraryError> {
    let id = library(tx, name)?.id;
    let rows = tx.find(&SETTINGS, "library = ?1", &[id.into()])?;
    rows.iter().map(|row| Ok((row.get("key")?, row.get("value")?))).collect()
}

/// What contradicts the invariants in spite of constraints and checksums; empty in a healthy inventory. One line for
/// each finding, for the operator.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn audit(tx: &Tx<'_>) -> Result<Vec<String>, LibraryError> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for library in libraries(tx)? {
        let numbers = library.drives.iter().map(|drive| drive.number);
        if !numbers.eq(0..library.counts().drives) {
            findings.push(format!("the drives of library '{}' have gaps", library.name));
        }
        for held in cartridge::in_library(tx, &library)? {
            findings.extend(misplaced(&library, &held));
            if !seen.insert((library.id, held.place)) {
                findings.push(format!("{} of library '{}' holds two cartridges", held.place, library.name));
            }
        }
    }
    Ok(findings)
}

fn misplaced(library: &Library, held: &Cartridge) -> Option<String> {
    let Cartridge { label, place, .. } = held;
    (!library.has(*place))
        .then(|| format!("'{label}' is in {place}, which library '{}' has not", library.name))
}

fn library_values(library: &Library) -> [Value; LIBRARIES_COLUMNS] {
    [
        library.id.into(),
        library.name.to_string().into(),
        library.profile.clone().into(),
        library.drive_profile.clone().into(),
        library.drive_generation.number().into(),
        library.slots.into(),
        library.mailslots.into(),
        library.identity.serial.clone().into(),
    ]
}

const LIBRARIES_COLUMNS: usize = 8;

fn drive_values(library: u32, drive: &Drive) -> [Value; 6] {
    [
        library.into(),
        drive.number.into(),
        drive.profile.clone().into(),
        drive.generation.number().into(),
        drive.identity.device.into(),
        drive.identity.serial.clone().into(),
    ]
}

fn read_library(tx: &Tx<'_>, installation: InstallationId, row: &Row) -> Result<Library, LibraryError> {
    let id: u32 = row.get("id")?;
    let name: String = row.get("name")?;
    let drives = tx.find(&DRIVES, "library = ?1", &[id.into()])?;
    Ok(Library {
        id,
        name: name.parse().map_err(|_| row.damaged())?,
        profile: row.get("profile")?,
        drive_profile: row.get("drive_profile")?,
        drive_generation: generation(row, "drive_generation")?,
        slots: row.get("slots")?,
        mailslots: row.get("mailslots")?,
        identity: Identity { serial: row.get("serial")?, ..installation.identity(id) },
        drives: drives.iter().map(|row| read_drive(installation, row)).collect::<Result<_, _>>()?,
    })
}

fn read_drive(installation: InstallationId, row: &Row) -> Result<Drive, LibraryError> {
    let number = row.get("number")?;
    Ok(Drive {
        number,
        lun: lun(number),
        profile: row.get("profile")?,
        generation: generation(row, "generation")?,
        identity: Identity { serial: row.get("serial")?, ..installation.identity(row.get("device")?) },
    })
}

fn generation(row: &Row, column: &str) -> Result<Generation, LibraryError> {
    Ok(Generation::from_number(row.get(column)?).ok_or_else(|| row.damaged())?)
}

pub(crate) fn by_id(tx: &Tx<'_>, id: u32) -> Result<Option<LibraryName>, LibraryError> {
    let Some(row) = tx.get(&LIBRARIES, &[id.into()])? else { return Ok(None) };
    let name: String = row.get("name")?;
    Ok(Some(name.parse().map_err(|_| row.damaged())?))
}
