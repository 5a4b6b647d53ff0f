//! The library as its changer sees it: the inventory's rows, and the drives' bays that must agree with them.
//!
//! Every move, from an initiator or an operator, goes through [`LibraryInventory::carry`] or its like for a host, on the changer's thread:
//!
//! 1. a dry run of the inventory's transaction: refusals cost nothing;
//! 2. drives that give a cartridge up are unloaded, which makes its data durable; it stays open, in our hands;
//! 3. cartridges that go into a drive are opened, and their drives take them in;
//! 4. the transaction: from here on the cartridge is in its new place, whatever happens;
//! 5. what is still in our hands is closed.
//!
//! What fails before 4 is taken back, so that no row ever names a drive that does not hold the cartridge; a host may then have seen it come and
//! go. A crash before 4 leaves the old place, after it the new one; at start every drive takes in what its row says.
//!
//! The medium's write-protect switch is as the row was in 1. Whoever turns it changes the row, and then has the changer follow it, which is behind 5.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use scsi::spc::Identity;
use scsi::{DriveFacts, Element, ElementState, Geometry, Host, Inventory, Occupant};
use tracing::{error, info};
use vtl_library::{Cartridge, Gates, Library, LibraryError, MoveFault, Moved, Mover};
use vtl_meta::{MetaError, Tx};
use vtl_types::{CartridgeId, Label, LibraryName, MediaForm, Place};

use crate::drive::{DriveUnit, LastSeen, Seen};
use crate::eject::{Ejection, Event};
use crate::media::{CartridgeMedium, Shelf};
use crate::meta::SharedMeta;
use crate::unit::{Failed, UnitFront as _};

/// A drive of the library.
#[derive(Clone)]
pub struct Bay {
    /// How it presents itself.
    pub identity: Identity,
    /// Name of the target that it is in. The target itself holds the changer, whose thread holds this.
    pub target: String,
    /// Its LUN there.
    pub lun: u16,
    /// The device.
    pub unit: DriveUnit,
    /// How it was last.
    pub seen: LastSeen,
}

impl Bay {
    /// How the drive was after the last thing that it did, and whether it is at something now: it is not waited for. A drive that has failed says nothing.
    pub fn seen(&self) -> Option<(Seen, bool)> {
        let is_busy = self.unit.is_busy();
        self.unit.failure().is_none().then(|| (self.seen.copy(), is_busy))
    }
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
    ejection: Ejection,
    /// The last movement has let a cartridge go on from a mailslot.
    ejected: bool,
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
    /// A drive has failed, and what is in it keeps its switch as it was.
    Switch {
        /// The drive.
        drive: u16,
        /// How it failed.
        failed: Failed,
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
            Self::Switch { drive, failed } => write!(f, "drive {drive}: {failed}"),
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

/// A cartridge that a move takes along.
struct Hand {
    /// What the move is to do with it.
    moved: Moved,
    /// The drive that it was taken out of.
    source: Option<u16>,
    held: Held,
}

/// Where it is in the middle of the move.
enum Held {
    /// Nobody has it open.
    Closed,
    /// In our hands, open.
    Here(Box<CartridgeMedium>),
    /// Its new drive has taken it.
    InDrive,
    /// A drive failed with it, or does not give it back.
    Lost,
}

impl Hand {
    fn close(self) {
        if let Held::Here(medium) = self.held {
            medium.close();
        }
    }
}

/// What the operator may override.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Force(pub bool);

impl LibraryInventory {
    /// The inventory of library `name`.
    pub fn new(name: LibraryName, meta: SharedMeta, shelf: Shelf, bays: Bays, ejection: Ejection) -> Self {
        Self { name, meta, shelf, bays, ejection, ejected: false, mailslots_locked: false }
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
        self.fill_drives_with(|_| true)
    }

    /// The same with these cartridges only.
    pub fn fill_drives_with(&mut self, wanted: impl Fn(CartridgeId) -> bool) -> LeftOut {
        let mut left_out = Vec::new();
        let cartridges = self.meta.read(|tx| vtl_library::elements(tx, &self.name)).unwrap_or_else(|error| {
            error!(library = %self.name, %error, "the inventory cannot be read");
            Vec::new()
        });
        let cartridges = cartridges.into_iter().filter_map(|e| e.cartridge);
        for cartridge in cartridges.filter(|cartridge| wanted(cartridge.id)) {
            if let Place::Drive(number) = cartridge.place
                && let Err(error) = self
                    .open(&cartridge)
                    .and_then(|medium| self.insert_at_end(number, cartridge.label, medium))
            {
                left_out
                    .push((cartridge.label, format!("drive {number} of {} stays empty: {error}", self.name)));
            }
        }
        left_out
    }

    /// Moves cartridges as `change` says, for the operator. `sources`: places that it takes cartridges from.
    ///
    /// # Errors
    /// Nothing has moved then.
    pub fn carry(
        &mut self,
        sources: &[Place],
        force: Force,
        change: impl Fn(&mut Tx<'_>, &Gates) -> Result<Vec<Moved>, LibraryError>,
    ) -> Result<Vec<Moved>, CarryError> {
        self.carry_for(None, sources, force, change)
    }

    /// The same for this host.
    fn carry_for(
        &mut self,
        host: Option<&Host>,
        sources: &[Place],
        force: Force,
        change: impl Fn(&mut Tx<'_>, &Gates) -> Result<Vec<Moved>, LibraryError>,
    ) -> Result<Vec<Moved>, CarryError> {
        let gates = self.gates(sources, force)?;
        let event = Event::new(host.cloned());
        let change = |tx: &mut Tx<'_>, gates: &Gates| {
            let moved = change(tx, gates)?;
            self.ejection.follow(tx, &self.name, moved, &event)
        };
        let planned = self.dry_run(|tx| change(tx, &gates))?;
        let mut hands = Vec::new();
        let done = self
            .take_out_all(planned, &mut hands)
            .and_then(|()| self.put_in_all(&mut hands))
            .and_then(|()| Ok(self.meta.change(|tx| change(tx, &gates))?));
        match done {
            Ok(done) => {
                hands.into_iter().for_each(Hand::close);
                for moved in &done {
                    self.tell_place(moved);
                    info!(library = %self.name, label = %moved.cartridge.label, from = %moved.from, to = %moved.to, "moved");
                }
                self.ejected = self.ejection.done(&self.name, &event, &done);
                Ok(done)
            }
            Err(error) => {
                self.take_back(hands);
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

    /// Unloads the drives that cartridges come from.
    fn take_out_all(&self, planned: Vec<Moved>, hands: &mut Vec<Hand>) -> Result<(), CarryError> {
        for moved in planned {
            let from = drive_number(&moved.from);
            let held = match from.map(|number| self.take_out(number)).transpose()?.flatten() {
                Some(medium) => Held::Here(Box::new(medium)),
                None => Held::Closed,
            };
            let source = from.filter(|_| matches!(held, Held::Here(_)));
            hands.push(Hand { moved, source, held });
        }
        Ok(())
    }

    /// Opens what goes into drives, and then lets the drives take it.
    fn put_in_all(&self, hands: &mut [Hand]) -> Result<(), CarryError> {
        for hand in hands.iter_mut().filter(|hand| drive_number(&hand.moved.to).is_some()) {
            match &mut hand.held {
                Held::Here(medium) => medium.load_again((self.name.clone(), hand.moved.to)),
                _ => hand.held = Held::Here(Box::new(self.open(&hand.moved.cartridge)?)),
            }
        }
        for hand in hands {
            if let Some(number) = drive_number(&hand.moved.to) {
                self.put_in(number, hand, at_beginning)?;
            }
        }
        Ok(())
    }

    /// The move does not take place: everything goes back to where its row says it is. A tape that its drive had given up stands at end of data
    /// then, as after a start and for the same reason.
    fn take_back(&self, mut hands: Vec<Hand>) {
        for hand in &mut hands {
            if let (Held::InDrive, Some(number)) = (&hand.held, drive_number(&hand.moved.to)) {
                // A second try succeeds where the first one has said that writes of this moment are lost.
                let medium = self.take_out(number).or_else(|_| self.take_out(number)).unwrap_or_else(|error| {
                    error!(library = %self.name, label = %hand.moved.cartridge.label, %error, "a drive keeps a cartridge that it should not have");
                    None
                });
                hand.held = medium.map_or(Held::Lost, |medium| Held::Here(Box::new(medium)));
            }
        }
        for mut hand in hands {
            let old = hand.moved.from;
            if let Some(number) = hand.source {
                let put_back = self
                    .reopen(&mut hand)
                    .and_then(|()| self.put_in(number, &mut hand, crate::media::go_to_end));
                if let Err(error) = put_back {
                    error!(library = %self.name, drive = number, %error, "the drive could not take its cartridge back");
                    self.to_the_vault(hand);
                }
            } else if let Held::Here(medium) = hand.held {
                medium.close();
                let place = (old != Place::Vault).then(|| (self.name.clone(), old));
                self.shelf.tell_place(hand.moved.cartridge.id, place);
            }
        }
    }

    /// A failed drive takes what it was given with it, unless it never had it.
    fn reopen(&self, hand: &mut Hand) -> Result<(), CarryError> {
        if matches!(hand.held, Held::Lost) {
            hand.held = Held::Here(Box::new(self.open(&hand.moved.cartridge)?));
        }
        if let Held::Here(medium) = &mut hand.held {
            medium.tell_place((self.name.clone(), hand.moved.from));
        }
        Ok(())
    }

    /// What no drive has must not be listed in one: the operator finds it in the vault.
    fn to_the_vault(&self, hand: Hand) {
        let label = hand.moved.cartridge.label;
        hand.close();
        let moved =
            self.meta.change(|tx| vtl_library::move_label(tx, label, None, Place::Vault, &Gates::open()));
        match moved {
            Ok(moved) => {
                error!(library = %self.name, %label, "a cartridge that no drive holds is in the vault now");
                self.tell_place(&moved);
            }
            Err(error) => {
                error!(library = %self.name, %label, %error, "a cartridge is listed in a drive that does not hold it")
            }
        }
    }

    /// Does something with a cartridge where it is, in a drive or not; no move takes place meanwhile.
    ///
    /// # Errors
    /// It cannot be opened, or its drive has failed.
    pub fn on_cartridge<T: Send + 'static>(
        &self,
        label: Label,
        work: impl FnOnce(&mut CartridgeMedium) -> T + Send + 'static,
    ) -> Result<T, CarryError> {
        let cartridge = self.meta.read(|tx| vtl_library::cartridge(tx, label))?;
        let work = match self.bay_of(&cartridge) {
            None => work,
            Some((_, bay)) => {
                // A drive that stays empty although its row names the cartridge gives the work back.
                let done = bay.unit.call(move |drive| match drive.medium_mut() {
                    Some(medium) => Ok(work(medium)),
                    None => Err(work),
                });
                match done.map_err(CarryError::Failed)? {
                    Ok(done) => return Ok(done),
                    Err(work) => work,
                }
            }
        };
        self.shelf.use_closed(cartridge.id, work).map_err(|why| CarryError::Load { label, why })
    }

    /// Turns the write-protect switch of a cartridge in one of the drives as its row says; no move takes place meanwhile. One that no drive has is
    /// turned when it is opened.
    ///
    /// # Errors
    /// There is no such cartridge, or its drive has failed.
    pub fn follow_switch(&self, label: Label) -> Result<(), CarryError> {
        let cartridge = self.meta.read(|tx| vtl_library::cartridge(tx, label))?;
        let Some((drive, bay)) = self.bay_of(&cartridge) else { return Ok(()) };
        let on = cartridge.write_protected;
        bay.unit
            .call(move |drive| {
                drive.medium_mut().into_iter().for_each(|medium| medium.set_write_protected(on))
            })
            .map_err(|failed| CarryError::Switch { drive, failed })
    }

    /// The drive that the row of a cartridge names, and its number, when it is one of these.
    fn bay_of(&self, cartridge: &Cartridge) -> Option<(u16, Bay)> {
        drive_number(&cartridge.place)
            .filter(|_| cartridge.library.as_ref() == Some(&self.name))
            .and_then(|number| Some((number, self.bay(number)?)))
    }

    fn open(&self, cartridge: &Cartridge) -> Result<CartridgeMedium, CarryError> {
        self.shelf.open(cartridge).map_err(|why| CarryError::Load { label: cartridge.label, why })
    }

    fn take_out(&self, number: u16) -> Result<Option<CartridgeMedium>, CarryError> {
        let Some(bay) = self.bay(number) else { return Ok(None) };
        let out = bay.unit.call(crate::drive::take_out).map_err(CarryError::Failed)?;
        out.map_err(|why| CarryError::Eject { drive: number, why })
    }

    /// The drive takes what is in our hands; initiators hear of it, and find it where `stand` puts it. A refusal leaves it there.
    fn put_in(
        &self,
        number: u16,
        hand: &mut Hand,
        stand: fn(&mut CartridgeMedium),
    ) -> Result<(), CarryError> {
        let Held::Here(medium) = std::mem::replace(&mut hand.held, Held::Lost) else { return Ok(()) };
        match self.insert(number, *medium, stand)? {
            Ok(()) => hand.held = Held::InDrive,
            Err((medium, why)) => {
                hand.held = Held::Here(medium);
                return Err(CarryError::Load { label: hand.moved.cartridge.label, why });
            }
        }
        Ok(())
    }

    /// The drive takes the cartridge in, and before anybody can use it, `stand` puts it where it is to stand. It comes back with the reason when
    /// the drive does not take it; it is gone when the drive fails.
    fn insert(
        &self,
        number: u16,
        medium: CartridgeMedium,
        stand: fn(&mut CartridgeMedium),
    ) -> Result<Result<(), (Box<CartridgeMedium>, String)>, CarryError> {
        let Some(bay) = self.bay(number) else {
            return Ok(Err((Box::new(medium), format!("there is no drive {number}"))));
        };
        let insert = move |drive: &mut crate::drive::Drive| {
            let taken = drive.insert(medium).map_err(|refused| (Box::new(refused.medium), refused.why));
            taken.map(|()| drive.medium_mut().into_iter().for_each(stand))
        };
        let taken = bay.unit.call(insert).map_err(CarryError::Failed)?;
        Ok(taken.map_err(|(medium, why)| (medium, format!("drive {number} refuses it: {why:?}"))))
    }

    fn insert_at_end(&self, number: u16, label: Label, medium: CartridgeMedium) -> Result<(), CarryError> {
        self.insert(number, medium, crate::media::go_to_end)?.map_err(|(medium, why)| {
            medium.close();
            CarryError::Load { label, why }
        })
    }

    fn bay(&self, number: u16) -> Option<Bay> {
        self.bays.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(number)).cloned()
    }
}

/// Where a drive has put what it takes in.
fn at_beginning(_: &mut CartridgeMedium) {}

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
        CarryError::Refused(LibraryError::Follow { .. }) => scsi::MoveFault::CartridgeBusy,
        CarryError::Eject { .. } => scsi::MoveFault::EjectFailed,
        CarryError::Load { .. } => scsi::MoveFault::LoadFailed,
        CarryError::Refused(_) | CarryError::Switch { .. } | CarryError::Failed(_) => {
            scsi::MoveFault::Hardware
        }
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

    fn move_medium(&mut self, by: &Host, from: Element, to: Element) -> Result<(), scsi::MoveFault> {
        let (from, to, name) = (place(from)?, place(to)?, self.name.clone());
        self.carry_for(Some(by), &[from], Force(false), |tx, gates| {
            vtl_library::move_medium(tx, &name, from, to, Mover::Robot, gates).map(|moved| vec![moved])
        })
        .map(drop)
        .map_err(fault)
    }

    fn exchange(
        &mut self,
        by: &Host,
        first: Element,
        to: Element,
        second_to: Element,
    ) -> Result<(), scsi::MoveFault> {
        let (source, middle, last, name) = (place(first)?, place(to)?, place(second_to)?, self.name.clone());
        self.carry_for(Some(by), &[source, middle], Force(false), |tx, gates| {
            vtl_library::exchange(tx, &name, source, middle, last, Mover::Robot, gates).map(Vec::from)
        })
        .map(drop)
        .map_err(fault)
    }

    fn was_mailslot_emptied(&self) -> bool {
        self.ejected
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
        // As the changer's target has it. The changer is LUN 0 there, so a drive on LUN 0 has a target of its own.
        lun: Some(bay.lun).filter(|lun| *lun != Library::CHANGER_LUN),
    });
    Some(ElementState { element: element(found.place)?, occupant, accessible: true, drive })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use scsi::Medium as _;

    use super::*;
    use crate::args::Args;
    use crate::daemon::Daemon;
    use crate::daemon::tests::open;
    use crate::library::LiveLibrary;
    use crate::state::StateFolder;
    use crate::take_in::tests::{DamagedHead, stop};

    /// The default library: two drives, cartridges 1 to 10 in slots of that number.
    struct Bench {
        daemon: Arc<Daemon>,
        library: Arc<LiveLibrary>,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let args = Args { state: Some(folder.path().join("state")), ..Args::default() };
            let config = crate::load(&args).unwrap();
            let state = StateFolder::open(&config.state).unwrap();
            let daemon = Daemon::open(args, config, state).unwrap();
            let library = daemon.libraries()[0].clone();
            Self { daemon, library, _folder: folder }
        }

        fn carry(&self, sources: &[Place], change: Change) -> Result<Vec<Moved>, CarryError> {
            let sources = sources.to_vec();
            self.library
                .changer
                .call(move |changer| changer.inventory_mut().carry(&sources, Force(false), change))
                .unwrap()
        }

        fn row(&self, cartridge: u32) -> Cartridge {
            let label = label(cartridge).parse().unwrap();
            self.daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap()
        }

        /// Label of what the drive has in it.
        fn held(&self, drive: u16) -> Option<String> {
            self.library.bay(drive).unwrap().unit.call(|drive| drive.status().label).unwrap()
        }

        fn fail(&self, drive: u16) {
            assert!(self.library.bay(drive).unwrap().unit.call(|_| panic!("made to fail")).is_err());
        }

        /// Loads cartridges 1 and 2 into drives 0 and 1.
        fn loaded() -> Self {
            let bench = Self::new();
            for n in [0, 1] {
                bench.carry(&[Place::Slot(n + 1)], from_to(Place::Slot(n + 1), Place::Drive(n))).unwrap();
            }
            assert_eq!((bench.held(0), bench.held(1)), (Some(label(1)), Some(label(2))));
            bench
        }
    }

    type Change = Box<dyn Fn(&mut Tx<'_>, &Gates) -> Result<Vec<Moved>, LibraryError> + Send>;

    fn label(cartridge: u32) -> String {
        format!("VTL{cartridge:03}L8")
    }

    fn name() -> LibraryName {
        "lib0".parse().unwrap()
    }

    fn from_to(from: Place, to: Place) -> Change {
        Box::new(move |tx, gates| {
            vtl_library::move_medium(tx, &name(), from, to, Mover::Robot, gates).map(|moved| vec![moved])
        })
    }

    /// What was in drive 0 to drive 1, what was in drive 1 to slot 24.
    fn exchange() -> Change {
        let (a, b) = (Place::Drive(0), Place::Drive(1));
        Box::new(move |tx, gates| {
            vtl_library::exchange(tx, &name(), a, b, Place::Slot(24), Mover::Robot, gates).map(Vec::from)
        })
    }

    /// The same, but it cannot be committed; `before` happens in that moment.
    fn uncommitted(change: Change, before: impl Fn() + Send + 'static) -> Change {
        let calls = AtomicU32::new(0);
        Box::new(move |tx, gates| {
            let moved = change(tx, gates)?;
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                return Ok(moved);
            }
            before();
            Err(LibraryError::NoLibraryGiven(moved[0].cartridge.label))
        })
    }

    /// The table of cartridges that are here in part.
    static LAZY: vtl_meta::Table = vtl_meta::Table {
        name: "lazy",
        columns: &[
            "cartridge",
            "pieces",
            "label",
            "remote",
            "folder",
            "manifest_sha256",
            "manifest_bytes",
            "image_bytes",
            "keys",
            "wrong",
        ],
        key_len: 1,
    };

    /// A row whose label is none, as damage leaves it.
    fn damaged_lazy_row(id: CartridgeId) -> Vec<vtl_meta::Value> {
        let text = |text: &str| vtl_meta::Value::Text(text.to_owned());
        let id = vtl_meta::Value::Blob(id.0.to_vec());
        let bytes = vtl_meta::Value::Integer(1);
        let (label, manifest) = (text("no label"), text("00"));
        vec![id.clone(), id, label, text("r"), text("f"), manifest, bytes.clone(), bytes, text(""), text("")]
    }

    #[test]
    fn a_cartridge_whose_rest_is_known_to_nobody_is_not_opened_as_a_blank_one() {
        use vtl_cartridge::{Cartridge as Tape, CartridgeSpec};
        let bench = Bench::new();
        let row = bench.row(1);
        let store = bench.daemon.pools.of(row.id).unwrap().store.clone();
        store.remove(vtl_store::OwnerId(row.id.0)).unwrap();
        let spec = CartridgeSpec {
            label: row.label,
            serial: "SERIAL01".to_owned(),
            kind: row.label.media(),
            capacity: vtl_types::ByteCount(1 << 30),
            early_warning: None,
            write_protected: false,
            created_s: 1,
            place: None,
        };
        Tape::begin_copy(&store, row.id, &spec).unwrap();
        let shelf = &bench.daemon.shelf;
        let refused = |part: &str| {
            let opened = shelf.open(&row).map(CartridgeMedium::close).unwrap_err();
            let used = shelf.use_closed(row.id, |_| ()).unwrap_err();
            assert!(opened.contains(part) && used.contains(part), "{opened}; {used}");
        };
        refused("vtl cartridge rm VTL001L8 --now --confirm VTL001L8, then import it once more");
        let values = damaged_lazy_row(row.id);
        bench.daemon.meta.change(|tx| Ok::<(), LibraryError>(tx.insert(&LAZY, &values)?)).unwrap();
        refused("whether all of it is here");
        let load = bench.carry(&[Place::Slot(1)], from_to(Place::Slot(1), Place::Drive(0)));
        assert!(matches!(load, Err(CarryError::Load { .. })));
        assert_eq!((bench.row(1).place, bench.held(0)), (Place::Slot(1), None));
    }

    #[test]
    fn a_cartridge_that_its_drive_refuses_is_listed_where_it_was() {
        let bench = Bench::new();
        // Something that no row tells of.
        let stray = bench.daemon.shelf.open(&bench.row(9)).unwrap();
        bench.library.bay(0).unwrap().unit.call(|drive| drive.insert(stray).is_ok()).unwrap();
        let load = || bench.carry(&[Place::Slot(1)], from_to(Place::Slot(1), Place::Drive(0)));
        assert!(matches!(load(), Err(CarryError::Load { why, .. }) if why.contains("Occupied")));
        assert_eq!(bench.row(1).place, Place::Slot(1));
        bench.daemon.shelf.open(&bench.row(1)).unwrap().close();
        bench.library.bay(0).unwrap().unit.call(crate::drive::eject).unwrap().unwrap();
        load().unwrap();
        assert_eq!((bench.row(1).place, bench.held(0)), (Place::Drive(0), Some(label(1))));
    }

    #[test]
    fn a_drive_whose_cartridge_cannot_be_read_at_a_start_stays_empty_and_the_other_one_has_its_own() {
        let bench = Bench::loaded();
        let id = bench.row(1).id;
        let Bench { daemon, library, _folder: folder } = bench;
        drop(library);
        stop(daemon);
        let head = DamagedHead::of(&folder.path().join("state/store"), id);
        let start = |folder: tempfile::TempDir| {
            let daemon = open(folder.path(), &[]);
            Bench { library: daemon.libraries()[0].clone(), daemon, _folder: folder }
        };
        let bench = start(folder);
        assert_eq!((bench.held(0), bench.held(1)), (None, Some(label(2))));
        let told = bench.daemon.problems().into_iter().find(|problem| problem.subject == label(1)).unwrap();
        assert!(told.message.contains("drive 0 of lib0 stays empty"), "{told:?}");
        assert_eq!(bench.row(1).place, Place::Drive(0));
        bench.carry(&[Place::Drive(1)], from_to(Place::Drive(1), Place::Slot(2))).unwrap();
        let Bench { daemon, library, _folder: folder } = bench;
        drop(library);
        stop(daemon);
        assert!(head.is_left_alone());
        head.mend();
        let bench = start(folder);
        assert_eq!((bench.held(0), bench.held(1)), (Some(label(1)), None));
    }

    #[test]
    fn a_move_that_is_not_committed_leaves_each_cartridge_in_the_drive_that_lists_it() {
        let bench = Bench::loaded();
        let sources = [Place::Drive(0), Place::Drive(1)];
        assert!(bench.carry(&sources, uncommitted(exchange(), || ())).is_err());
        assert_eq!((bench.held(0), bench.held(1)), (Some(label(1)), Some(label(2))));
        assert_eq!((bench.row(1).place, bench.row(2).place), (Place::Drive(0), Place::Drive(1)));
        bench.carry(&sources, exchange()).unwrap();
        assert_eq!((bench.held(0), bench.held(1)), (None, Some(label(1))));
        assert_eq!((bench.row(1).place, bench.row(2).place), (Place::Drive(1), Place::Slot(24)));
        let told = bench.daemon.shelf.head(bench.daemon.pools.default(), bench.row(2).id).unwrap().row.hint;
        assert_eq!(told, Some((name(), Place::Slot(24))), "and it knows where it is");
    }

    #[test]
    fn a_tape_that_comes_back_from_a_move_stands_behind_its_data() {
        let bench = Bench::loaded();
        let written = |drive: &mut crate::drive::Drive| {
            let medium = drive.medium_mut().unwrap();
            for _ in 0..3 {
                medium.write(&[Bytes::from_static(b"data")], false).unwrap();
            }
            medium.flush().unwrap();
        };
        bench.library.bay(0).unwrap().unit.call(written).unwrap();
        let unload = uncommitted(from_to(Place::Drive(0), Place::Slot(1)), || ());
        assert!(bench.carry(&[Place::Drive(0)], unload).is_err());
        let block = || bench.library.bay(0).unwrap().unit.call(|drive| drive.status().block).unwrap();
        assert_eq!((bench.held(0), block()), (Some(label(1)), 3));
        // What comes to the drive by a move that takes place stands at its beginning.
        bench.carry(&[Place::Drive(0)], from_to(Place::Drive(0), Place::Slot(1))).unwrap();
        bench.carry(&[Place::Slot(1)], from_to(Place::Slot(1), Place::Drive(0))).unwrap();
        assert_eq!((bench.held(0), block()), (Some(label(1)), 0));
    }

    #[test]
    fn a_load_that_is_not_committed_leaves_the_drive_empty_and_the_cartridge_closed() {
        let bench = Bench::new();
        let load = from_to(Place::Slot(1), Place::Drive(0));
        assert!(bench.carry(&[Place::Slot(1)], uncommitted(load, || ())).is_err());
        assert_eq!((bench.row(1).place, bench.held(0)), (Place::Slot(1), None));
        let told = bench.daemon.shelf.head(bench.daemon.pools.default(), bench.row(1).id).unwrap().row.hint;
        assert_eq!(told, Some((name(), Place::Slot(1))));
        bench.daemon.shelf.open(&bench.row(1)).unwrap().close();
    }

    #[test]
    fn a_cartridge_whose_new_drive_fails_is_in_the_old_one_again() {
        let bench = Bench::loaded();
        bench.carry(&[Place::Drive(1)], from_to(Place::Drive(1), Place::Slot(2))).unwrap();
        bench.fail(1);
        let moved = bench.carry(&[Place::Drive(0)], from_to(Place::Drive(0), Place::Drive(1)));
        assert!(matches!(moved, Err(CarryError::Failed(_))), "{moved:?}");
        assert_eq!((bench.row(1).place, bench.held(0)), (Place::Drive(0), Some(label(1))));
    }

    #[test]
    fn a_cartridge_that_no_drive_takes_any_more_is_listed_in_the_vault() {
        let bench = Bench::loaded();
        let drive = bench.library.bay(0).unwrap().unit;
        let fail = move || assert!(drive.call(|_| panic!("made to fail")).is_err());
        let unload = uncommitted(from_to(Place::Drive(0), Place::Slot(1)), fail);
        assert!(bench.carry(&[Place::Drive(0)], unload).is_err());
        assert_eq!(bench.row(1).place, Place::Vault);
        bench.daemon.shelf.open(&bench.row(1)).unwrap().close();
    }
}
