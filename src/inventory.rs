//! The library as its changer sees it: the inventory's rows, and the drives' bays that must agree with them.
//!
//! Every move, from an initiator or an operator, goes through [`LibraryInventory::carry`], on the changer's thread:
//!
//! 1. a dry run of the inventory's transaction: refusals cost nothing;
//! 2. drives that give a cartridge up are unloaded, which makes its data durable;
//! 3. cartridges that go into a drive are opened;
//! 4. the transaction: from here on the cartridge is in its new place, whatever happens;
//! 5. drives take their cartridges in.
//!
//! A crash before 4 leaves the old place, after it the new one; at start every drive takes in what its row says.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use scsi::spc::Identity;
use scsi::{DriveFacts, Element, ElementState, Geometry, Inventory, Occupant};
use tracing::{error, info};
use vtl_library::{Cartridge, Gates, LibraryError, MoveFault, Moved, Mover};
use vtl_meta::{MetaError, Tx};
use vtl_types::{Label, LibraryName, MediaForm, Place};

use crate::drive::{DriveUnit, Ejected};
use crate::media::{CartridgeMedium, Shelf};
use crate::meta::SharedMeta;
use crate::unit::Failed;

/// A drive of the library.
#[derive(Clone)]
pub struct Bay {
    /// How it presents itself.
    pub identity: Identity,
    /// Its LUN.
    pub lun: u16,
    /// The device.
    pub unit: DriveUnit,
}

/// Cartridges that their drive could not take at start, and why.
pub type LeftOut = Vec<(Label, String)>;

/// The drives of a library in order of their number; the owner adds and removes, others look.
pub type Bays = Arc<RwLock<Vec<Bay>>>;

/// One library's inventory. Owned by its changer's thread.
pub struct LibraryInventory {
    name: LibraryName,
    meta: SharedMeta,
    shelf: Shelf,
    bays: Bays,
    mailslots_locked: bool,
}

/// Why a cartridge was not carried.
#[derive(Debug)]
pub enum CarryError {
    /// The inventory refuses.
    Refused(LibraryError),
    /// The drive could not make the cartridge's data durable; it keeps it.
    Eject {
        /// The drive.
        drive: u16,
        /// What it said.
        why: String,
    },
    /// The cartridge cannot be opened.
    Load {
        /// The cartridge.
        label: Label,
        /// What the store said.
        why: String,
    },
    /// A device has failed.
    Failed(Failed),
}

impl std::fmt::Display for CarryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Eject { drive, why } => write!(f, "drive {drive} cannot give its cartridge up: {why}"),
            Self::Load { label, why } => write!(f, "cartridge {label} cannot be loaded: {why}"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl From<LibraryError> for CarryError {
    fn from(error: LibraryError) -> Self {
        Self::Refused(error)
    }
}

/// Ends a dry run: its transaction must not be committed.
enum Dry {
    Planned(Vec<Moved>),
    Refused(LibraryError),
}

impl From<MetaError> for Dry {
    fn from(error: MetaError) -> Self {
        Self::Refused(error.into())
    }
}

/// What the operator may override.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Force(pub bool);

impl LibraryInventory {
    /// The inventory of library `name`.
    pub fn new(name: LibraryName, meta: SharedMeta, shelf: Shelf, bays: Bays) -> Self {
        Self { name, meta, shelf, bays, mailslots_locked: false }
    }

    /// The drives.
    pub fn bays(&self) -> Vec<Bay> {
        self.bays.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts every drive's cartridge, as the rows say, into the drive: at start. The tape then stands at end of data, not at its beginning: a host
    /// that had it open and does not notice that we were away (Linux st writes a filemark when it closes) must not overwrite anything.
    ///
    /// Gives what did not work: a drive that stays empty although its row names a cartridge, and why.
    pub fn fill_drives(&mut self) -> LeftOut {
        let mut left_out = Vec::new();
        let cartridges = self.meta.read(|tx| vtl_library::elements(tx, &self.name)).unwrap_or_else(|error| {
            error!(library = %self.name, %error, "the inventory cannot be read");
            Vec::new()
        });
        for cartridge in cartridges.into_iter().filter_map(|e| e.cartridge) {
            if let Place::Drive(number) = cartridge.place
                && let Err(error) =
                    self.open(&cartridge).and_then(|medium| self.insert_at_end(number, medium))
            {
                left_out
                    .push((cartridge.label, format!("drive {number} of {} stays empty: {error}", self.name)));
            }
        }
        left_out
    }

    /// Moves cartridges as `change` says. `sources`: places that it takes cartridges from.
    ///
    /// # Errors
    /// Nothing has moved then.
    pub fn carry(
        &mut self,
        sources: &[Place],
        force: Force,
        change: impl Fn(&mut Tx<'_>, &Gates) -> Result<Vec<Moved>, LibraryError>,
    ) -> Result<Vec<Moved>, CarryError> {
        let gates = self.gates(sources, force)?;
        let planned = self.dry_run(|tx| change(tx, &gates))?;
        let ejected = self.eject_sources(&planned)?;
        let prepared = self.open_destinations(&planned).and_then(|media| {
            let done = self.meta.change(|tx| change(tx, &gates))?;
            Ok((media, done))
        });
        match prepared {
            Ok((media, done)) => {
                for (number, medium) in media {
                    self.insert(number, medium)?;
                }
                for moved in &done {
                    self.tell_place(moved);
                    info!(library = %self.name, label = %moved.cartridge.label, from = %moved.from, to = %moved.to, "moved");
                }
                Ok(done)
            }
            Err(error) => {
                self.put_back(&ejected);
                Err(error)
            }
        }
    }

    /// The cartridge learns where it is, so that a lost inventory can be made again. In a drive it learned it when it was opened.
    fn tell_place(&self, moved: &Moved) {
        if drive_number(&moved.to).is_none() {
            let place = moved.cartridge.library.clone().map(|library| (library, moved.to));
            self.shelf.tell_place(moved.cartridge.id, place);
        }
    }

    fn dry_run(
        &self,
        change: impl FnOnce(&mut Tx<'_>) -> Result<Vec<Moved>, LibraryError>,
    ) -> Result<Vec<Moved>, CarryError> {
        let outcome = self.meta.with(|meta| {
            meta.transaction(|tx| match change(tx) {
                Ok(planned) => Err::<(), Dry>(Dry::Planned(planned)),
                Err(error) => Err(Dry::Refused(error)),
            })
        });
        match outcome {
            Err(Dry::Planned(planned)) => Ok(planned),
            Err(Dry::Refused(error)) => Err(error.into()),
            Ok(()) => Ok(Vec::new()),
        }
    }

    /// What the devices say at this moment.
    fn gates(&self, sources: &[Place], force: Force) -> Result<Gates, CarryError> {
        let mut prevented_drives = BTreeSet::new();
        if !force.0 {
            for number in sources.iter().filter_map(drive_number) {
                if let Some(bay) = self.bay(number)
                    && bay.unit.call(|drive| drive.is_prevented()).map_err(CarryError::Failed)?
                {
                    prevented_drives.insert(number);
                }
            }
        }
        Ok(Gates { prevented_drives, mailslots_locked: self.mailslots_locked && !force.0, ..Gates::open() })
    }

    /// Unloads the drives that cartridges come from; gives what to put back if the move fails after all.
    fn eject_sources(&self, planned: &[Moved]) -> Result<Vec<(u16, Cartridge)>, CarryError> {
        let mut ejected = Vec::new();
        for moved in planned {
            let Place::Drive(number) = moved.from else { continue };
            match self.eject(number) {
                Ok(()) => ejected.push((number, moved.cartridge.clone())),
                Err(error) => {
                    self.put_back(&ejected);
                    return Err(error);
                }
            }
        }
        Ok(ejected)
    }

    fn eject(&self, number: u16) -> Result<(), CarryError> {
        let Some(bay) = self.bay(number) else { return Ok(()) };
        match bay.unit.call(crate::drive::eject).map_err(CarryError::Failed)? {
            Ejected::Medium | Ejected::Empty => Ok(()),
            Ejected::Failed(why) => Err(CarryError::Eject { drive: number, why }),
        }
    }

    fn put_back(&self, ejected: &[(u16, Cartridge)]) {
        for (number, cartridge) in ejected {
            if let Err(error) = self.open(cartridge).and_then(|medium| self.insert(*number, medium)) {
                error!(library = %self.name, drive = number, %error, "the drive could not take its cartridge back");
            }
        }
    }

    fn open_destinations(&self, planned: &[Moved]) -> Result<Vec<(u16, CartridgeMedium)>, CarryError> {
        planned
            .iter()
            .filter_map(|moved| drive_number(&moved.to).map(|number| (number, &moved.cartridge)))
            .map(|(number, cartridge)| Ok((number, self.open(cartridge)?)))
            .collect()
    }

    fn open(&self, cartridge: &Cartridge) -> Result<CartridgeMedium, CarryError> {
        self.shelf.open(cartridge).map_err(|why| CarryError::Load { label: cartridge.label, why })
    }

    fn insert(&self, number: u16, medium: CartridgeMedium) -> Result<(), CarryError> {
        let Some(bay) = self.bay(number) else { return Ok(()) };
        bay.unit.call(|drive| crate::drive::insert(drive, medium)).map_err(CarryError::Failed)
    }

    fn insert_at_end(&self, number: u16, medium: CartridgeMedium) -> Result<(), CarryError> {
        let Some(bay) = self.bay(number) else { return Ok(()) };
        let insert = |drive: &mut crate::drive::Drive| {
            crate::drive::insert(drive, medium);
            drive.medium_mut().map(crate::media::go_to_end);
        };
        bay.unit.call(insert).map_err(CarryError::Failed)
    }

    fn bay(&self, number: u16) -> Option<Bay> {
        self.bays.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(number)).cloned()
    }
}

fn drive_number(place: &Place) -> Option<u16> {
    match place {
        Place::Drive(number) => Some(*number),
        _ => None,
    }
}

/// An element as a place: slots and mailslots count from 1 there.
fn place(element: Element) -> Result<Place, scsi::MoveFault> {
    let next = |n: u16| n.checked_add(1).ok_or(scsi::MoveFault::InvalidElement);
    match element {
        Element::Transport => Err(scsi::MoveFault::InvalidElement),
        Element::Slot(n) => next(n).map(Place::Slot),
        Element::Mailslot(n) => next(n).map(Place::Mailslot),
        Element::Drive(n) => Ok(Place::Drive(n)),
    }
}

fn element(place: Place) -> Option<Element> {
    match place {
        Place::Slot(n) => n.checked_sub(1).map(Element::Slot),
        Place::Mailslot(n) => n.checked_sub(1).map(Element::Mailslot),
        Place::Drive(n) => Some(Element::Drive(n)),
        Place::Vault => None,
    }
}

/// The one place where a refusal becomes what the changer reports.
fn fault(error: CarryError) -> scsi::MoveFault {
    let fault = match &error {
        CarryError::Refused(LibraryError::Move(fault)) => match fault {
            MoveFault::InvalidElement { .. } | MoveFault::NoSuchMove { .. } => {
                scsi::MoveFault::InvalidElement
            }
            MoveFault::SourceEmpty { .. } => scsi::MoveFault::SourceEmpty,
            MoveFault::DestinationFull { .. } => scsi::MoveFault::DestinationFull,
            MoveFault::RemovalPrevented { .. } => scsi::MoveFault::RemovalPrevented,
            MoveFault::IncompatibleMedium { .. } | MoveFault::CleaningCartridge { .. } => {
                scsi::MoveFault::IncompatibleMedium
            }
            MoveFault::DriveClosed { .. } | MoveFault::Reserved { .. } => scsi::MoveFault::CartridgeBusy,
        },
        CarryError::Eject { .. } => scsi::MoveFault::EjectFailed,
        CarryError::Load { .. } => scsi::MoveFault::LoadFailed,
        CarryError::Refused(_) | CarryError::Failed(_) => scsi::MoveFault::Hardware,
    };
    if matches!(fault, scsi::MoveFault::Hardware | scsi::MoveFault::EjectFailed | scsi::MoveFault::LoadFailed)
    {
        error!(%error, "a move failed");
    }
    fault
}

impl Inventory for LibraryInventory {
    fn geometry(&self) -> Geometry {
        match self.meta.read(|tx| vtl_library::library(tx, &self.name)) {
            Ok(library) => {
                let counts = library.counts();
                Geometry { drives: counts.drives, slots: counts.slots, mailslots: counts.mailslots }
            }
            Err(error) => {
                error!(library = %self.name, %error, "the inventory cannot be read");
                Geometry::default()
            }
        }
    }

    fn elements(&self) -> Vec<ElementState> {
        let bays = self.bays();
        let elements = self.meta.read(|tx| vtl_library::elements(tx, &self.name)).unwrap_or_else(|error| {
            error!(library = %self.name, %error, "the inventory cannot be read");
            Vec::new()
        });
        elements.into_iter().filter_map(|found| state(&found, &bays)).collect()
    }

    fn move_medium(&mut self, from: Element, to: Element) -> Result<(), scsi::MoveFault> {
        let (from, to, name) = (place(from)?, place(to)?, self.name.clone());
        self.carry(&[from], Force(false), |tx, gates| {
            vtl_library::move_medium(tx, &name, from, to, Mover::Robot, gates).map(|moved| vec![moved])
        })
        .map(drop)
        .map_err(fault)
    }

    fn exchange(&mut self, first: Element, to: Element, second_to: Element) -> Result<(), scsi::MoveFault> {
        let (source, middle, last, name) = (place(first)?, place(to)?, place(second_to)?, self.name.clone());
        self.carry(&[source, middle], Force(false), |tx, gates| {
            vtl_library::exchange(tx, &name, source, middle, last, Mover::Robot, gates).map(Vec::from)
        })
        .map(drop)
        .map_err(fault)
    }

    fn take_stock(&mut self) -> Result<(), scsi::MoveFault> {
        self.meta.read(|tx| vtl_library::elements(tx, &self.name)).map(drop).map_err(|e| fault(e.into()))
    }

    fn lock_mailslots(&mut self, locked: bool) {
        self.mailslots_locked = locked;
    }
}

fn state(found: &vtl_library::Element, bays: &[Bay]) -> Option<ElementState> {
    let bay = drive_number(&found.place).and_then(|number| bays.get(usize::from(number)));
    let occupant = found.cartridge.as_ref().map(|cartridge| Occupant {
        label: cartridge.label.to_string(),
        source: cartridge.source.and_then(element),
        placed_by_operator: cartridge.placed_by == Some(Mover::Operator),
        cleaning: cartridge.label.media().form == MediaForm::Cleaning,
    });
    let drive = bay.map(|bay| DriveFacts {
        vendor: bay.identity.vendor().to_owned(),
        product: bay.identity.product().to_owned(),
        serial: bay.identity.serial().to_owned(),
        lun: Some(bay.lun),
    });
    Some(ElementState { element: element(found.place)?, occupant, accessible: true, drive })
}
