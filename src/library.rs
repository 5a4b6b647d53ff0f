//! A library while it runs: its changer, its drives, its target.

use std::sync::{Arc, PoisonError, RwLock};

use scsi::spc::Identity;
use scsi::{Personality, UnitAttention};
use tracing::error;
use vtl_api::ApiError;
use vtl_library::{Drive, Library, LibraryError, LibraryTargets};
use vtl_types::{CartridgeId, LibraryName};

use crate::api::refused;
use crate::daemon::internal;
use crate::drive::new_drive;
use crate::eject::Ejection;
use crate::inventory::{Bay, Bays, LeftOut, LibraryInventory};
use crate::media::Shelf;
use crate::meta::{DeviceState, SharedMeta};
use crate::target::{Lun, Target};
use crate::unit::{Failed, Unit};

/// The changer's device model.
pub type Changer = scsi::changer::Changer<LibraryInventory, DeviceState>;

/// Portal group tag and relative port of each target.
const PORT: u16 = 1;
/// LUN of a drive in a target of its own.
const OWN_LUN: u16 = 0;

/// A library that initiators can use.
pub struct LiveLibrary {
    /// Its name.
    pub name: LibraryName,
    /// Where its changer is found, and its drives unless they have targets of their own.
    pub target: Arc<Target>,
    /// The owner of every move.
    pub changer: Unit<Changer>,
    bays: Bays,
    /// Targets of drives that have one of their own.
    own_targets: RwLock<Vec<Arc<Target>>>,
    meta: SharedMeta,
}

/// Why a library did not start.
#[derive(Debug)]
pub enum LiveError {
    /// The inventory.
    Library(LibraryError),
    /// It names a personality that this version does not have.
    Profile(String),
    /// The system gave no thread.
    Thread(std::io::Error),
    /// A device has failed.
    Failed(Failed),
}

impl std::fmt::Display for LiveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Profile(name) => {
                let known: Vec<_> = Personality::names().collect();
                write!(f, "there is no profile '{name}'; known are: {}", known.join(", "))
            }
            Self::Thread(error) => write!(f, "the system gives no thread: {error}"),
            Self::Failed(failed) => failed.fmt(f),
        }
    }
}

impl From<LibraryError> for LiveError {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<Failed> for LiveError {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<LiveError> for ApiError {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Library(error) => refused(&error),
            other => internal(&other.to_string()),
        }
    }
}

/// The personality of this name.
///
/// # Errors
/// [`LiveError::Profile`].
pub fn personality(name: &str) -> Result<Personality, LiveError> {
    Personality::named(name).ok_or_else(|| LiveError::Profile(name.to_owned()))
}

/// The personalities that a library can have.
pub fn changers() -> impl Iterator<Item = &'static str> {
    Personality::names().filter(|name| Personality::named(name).is_some_and(|known| known.elements.is_some()))
}

impl LiveLibrary {
    /// Starts the units of `library` and loads the cartridges that are in its drives; those that could not be loaded come with the reason.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn start(
        library: &Library,
        targets: &LibraryTargets,
        meta: &SharedMeta,
        shelf: &Shelf,
        ejection: &Ejection,
    ) -> Result<(Arc<Self>, LeftOut), LiveError> {
        let profile = personality(&library.profile)?;
        let target = targets.main.as_str();
        let identity =
            Identity::new(&profile, &library.identity.serial, library.identity.naa).with_port(target, PORT);
        let bays = Bays::default();
        let inventory = LibraryInventory::new(
            library.name.clone(),
            meta.clone(),
            shelf.clone(),
            bays.clone(),
            ejection.clone(),
        );
        let state = meta.device(&library.identity.serial);
        let device = Changer::new(&profile, identity.clone(), inventory, state)
            .ok_or_else(|| LiveError::Profile(library.profile.clone()))?;
        let changer = Unit::start(&format!("{}-changer", library.name), device).map_err(LiveError::Thread)?;
        let target = Target::new(target.to_owned(), identity.clone());
        target.add(Library::CHANGER_LUN, Lun { identity, front: Arc::new(changer.clone()) });
        let live = Arc::new(Self {
            name: library.name.clone(),
            target,
            changer,
            bays,
            own_targets: RwLock::default(),
            meta: meta.clone(),
        });
        for drive in &library.drives {
            live.add_drive(drive, targets)?;
        }
        let left_out = live.changer.call(|changer| changer.inventory_mut().fill_drives())?;
        Ok((live, left_out))
    }

    /// The drives.
    pub fn bays(&self) -> Vec<Bay> {
        self.bays.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One drive.
    pub fn bay(&self, number: u16) -> Option<Bay> {
        self.bays.read().unwrap_or_else(PoisonError::into_inner).get(usize::from(number)).cloned()
    }

    /// The targets that its devices are in.
    pub fn targets(&self) -> Vec<Arc<Target>> {
        let own = self.own_targets.read().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(&self.target).chain(own.iter()).cloned().collect()
    }

    /// Makes the running units match the inventory after counts have changed, and tells initiators. Gives the targets that are empty now.
    ///
    /// # Errors
    /// See [`LiveError`].
    pub fn follow(&self) -> Result<Vec<Arc<Target>>, LiveError> {
        let (library, targets) = self.meta.read(|tx| {
            Ok((vtl_library::library(tx, &self.name)?, vtl_library::targets_of(tx, &self.name)?))
        })?;
        let running = self.bays().len();
        for drive in library.drives.iter().skip(running) {
            self.add_drive(drive, &targets)?;
        }
        let gone: Vec<Bay> = {
            let mut bays = self.bays.write().unwrap_or_else(PoisonError::into_inner);
            let keep = library.drives.len().min(bays.len());
            bays.split_off(keep)
        };
        let emptied = self.take_out(&gone);
        self.changer.post(|changer| {
            scsi::LogicalUnit::attention(changer, UnitAttention::ModeParametersChanged, None)
        });
        Ok(emptied)
    }

    /// Takes drives out of their targets; those that had them alone are the library's no more.
    fn take_out(&self, gone: &[Bay]) -> Vec<Arc<Target>> {
        let mut own = self.own_targets.write().unwrap_or_else(PoisonError::into_inner);
        let is_in = |target: &Target, bay: &Bay| target.name == bay.target;
        for bay in gone {
            let target = own.iter().find(|target| is_in(target, bay)).unwrap_or(&self.target);
            target.remove(bay.lun);
        }
        own.extract_if(.., |target| gone.iter().any(|bay| is_in(target, bay))).collect()
    }

    /// Loads these cartridges where they should be in drives and could not be loaded before; those that still cannot, with the reason.
    ///
    /// # Errors
    /// The changer has failed.
    pub fn fill_drives_with(&self, cartridges: Vec<CartridgeId>) -> Result<LeftOut, LiveError> {
        let fill = move |changer: &mut Changer| {
            changer.inventory_mut().fill_drives_with(|id| cartridges.contains(&id))
        };
        Ok(self.changer.call(fill)?)
    }

    /// An operator changed what is in the elements: initiators must look again.
    pub fn contents_changed(&self) {
        self.changer
            .post(|changer| scsi::LogicalUnit::attention(changer, UnitAttention::ImportExportAccessed, None));
    }

    /// Ends the sessions' view of all units; data in the drives is made durable by ejecting.
    pub fn stop(&self) {
        for bay in self.bays() {
            let why = match bay.unit.call(crate::drive::eject) {
                Ok(Ok(())) => continue,
                Ok(Err(why)) => why,
                Err(failed) => failed.to_string(),
            };
            error!(library = %self.name, lun = bay.lun, why, "a cartridge's last data is not durable");
        }
    }

    fn add_drive(&self, drive: &Drive, targets: &LibraryTargets) -> Result<(), LiveError> {
        let profile = personality(&drive.profile)?;
        let own = targets.of_drives.get(&drive.number);
        let identity = Identity::new(&profile, &drive.identity.serial, drive.identity.naa)
            .with_port(own.map_or(&self.target.name, |name| name.as_str()), PORT);
        let (target, lun) = match own {
            Some(name) => (Target::new(name.to_string(), identity.clone()), OWN_LUN),
            None => (self.target.clone(), drive.lun),
        };
        let device = new_drive(identity.clone(), &profile, self.meta.device(&drive.identity.serial));
        let name = format!("{}-drive{}", self.name, drive.number);
        let (unit, seen) = crate::drive::start(&name, device).map_err(LiveError::Thread)?;
        let bay =
            Bay { identity: identity.clone(), target: target.name.clone(), lun, unit: unit.clone(), seen };
        self.bays.write().unwrap_or_else(PoisonError::into_inner).push(bay);
        target.add(lun, Lun { identity, front: Arc::new(unit) });
        if own.is_some() {
            self.own_targets.write().unwrap_or_else(PoisonError::into_inner).push(target);
        }
        Ok(())
    }
}
