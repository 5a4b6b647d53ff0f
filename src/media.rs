//! Cartridges as drives use them: the adapter between [`scsi::Medium`] and the store's cartridges.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scsi::{AttributeFault, Fault, Instant, Medium, MediumFacts, Object, Position, Spaced, Stop, Written};
use tracing::{error, warn};
use vtl_cartridge::{Cartridge, CartridgeError, CartridgeSpec, Now, Protection, Settings};
use vtl_conf::CartridgeDefaults;
use vtl_library::{Head, Planned};
use vtl_migrate::Lazies;
use vtl_store::{OwnerId, Store, StoreError};
use vtl_types::{ByteCount, CartridgeId, LibraryName, Place, PoolName};

use crate::clock;
use crate::lazy::{Part, is_finished, row_if_read, row_of};
use crate::pools::{Pool, Pools};
use crate::retention_clock::RetentionClock;
use crate::state::hexadecimal;

/// Where cartridges are made and opened.
#[derive(Clone)]
pub struct Shelf {
    pools: Arc<Pools>,
    defaults: CartridgeDefaults,
    retention: Arc<RetentionClock>,
    lazies: Arc<Lazies>,
}

/// What a cartridge says of itself.
pub struct ShelfHead {
    /// For the inventory.
    pub row: Head,
    /// The pool that it is in.
    pub pool: PoolName,
    /// Nothing has ever been written to it, and nobody has listed it.
    pub blank: bool,
    /// An import or ingest that was cut off: nobody may use it.
    pub unfinished: bool,
    /// Retention and hold.
    pub protection: Protection,
}

impl Shelf {
    /// Cartridges of these pools.
    pub(crate) fn new(
        pools: Arc<Pools>,
        defaults: CartridgeDefaults,
        retention: Arc<RetentionClock>,
        lazies: Arc<Lazies>,
    ) -> Self {
        Self { pools, defaults, retention, lazies }
    }

    /// Cartridges that are here in part.
    pub(crate) fn lazies(&self) -> &Arc<Lazies> {
        &self.lazies
    }

    /// The store that a cartridge is in.
    fn store_of(&self, id: CartridgeId) -> Result<Store, String> {
        self.pools.of(id).map(|pool| pool.store.clone()).map_err(|error| error.to_string())
    }

    /// Makes a blank cartridge; durable when it returns.
    pub(crate) fn create(
        &self,
        pool: &Pool,
        id: CartridgeId,
        planned: &Planned,
        library: Option<&LibraryName>,
        capacity: ByteCount,
        created_s: u64,
    ) -> Result<(), String> {
        let spec = CartridgeSpec {
            label: planned.label,
            serial: medium_serial(id),
            kind: planned.label.media(),
            capacity,
            early_warning: Some(self.defaults.early_warning(capacity)),
            write_protected: false,
            created_s: i64::try_from(created_s).unwrap_or(0),
            place: library.map(|name| (name.clone(), planned.place)),
        };
        Cartridge::create(&pool.store, id, &spec).map_err(|e| e.to_string())
    }

    /// Opens a cartridge for a drive.
    pub fn open(&self, row: &vtl_library::Cartridge) -> Result<CartridgeMedium, String> {
        let (shelf, again) = (self.clone(), row.clone());
        let again = move || shelf.open_whole(&again);
        if let Some((mut cartridge, part)) = Part::open(&self.lazies, &self.store_of(row.id)?, row.id, again)?
        {
            cartridge.count_load();
            return Ok(CartridgeMedium { cartridge, retention: self.retention.clone(), part: Some(part) });
        }
        let cartridge = self.open_whole(row)?;
        Ok(CartridgeMedium { cartridge, retention: self.retention.clone(), part: None })
    }

    /// One of which all is here.
    fn open_whole(&self, row: &vtl_library::Cartridge) -> Result<Cartridge, String> {
        let store = self.store_of(row.id)?;
        is_finished(&store, row.id)?;
        let mut cartridge =
            Cartridge::load(&store, row.id, Settings::default()).map_err(|e| e.to_string())?;
        turn_switch(&mut cartridge, row.write_protected)?;
        let place = row.library.clone().map(|library| (library, row.place));
        if let Err(error) = cartridge.set_place(place) {
            warn!(label = %row.label, %error, "a cartridge could not be told its place; only a rebuild would miss it");
        }
        Ok(cartridge)
    }

    /// Does something with a cartridge that no drive has; it is closed again afterwards.
    pub fn use_closed<T>(
        &self,
        id: CartridgeId,
        work: impl FnOnce(&mut CartridgeMedium) -> T,
    ) -> Result<T, String> {
        let store = self.store_of(id)?;
        let open = move || {
            is_finished(&store, id)?;
            Cartridge::open(&store, id, Settings::default()).map_err(|e| e.to_string())
        };
        let (cartridge, part) = match Part::open(&self.lazies, &self.store_of(id)?, id, open.clone())? {
            Some((cartridge, part)) => (cartridge, Some(part)),
            None => (open()?, None),
        };
        let mut medium = CartridgeMedium { cartridge, retention: self.retention.clone(), part };
        let done = work(&mut medium);
        medium.close();
        Ok(done)
    }

    /// What a cartridge is kept by at this moment. A retention that is over is let go on the way.
    pub fn protection(&self, id: CartridgeId) -> Result<Protection, String> {
        let known = Cartridge::inspect(&self.store_of(id)?, id).map_err(|e| e.to_string())?.protection;
        let left = known.at(self.retention.now());
        if left != known {
            // In a drive it goes with the next write.
            self.use_closed(id, |medium| medium.release_if_over().map(drop))
                .and_then(|released| released.map_err(|e| e.to_string()))?;
        }
        Ok(left)
    }

    /// What a cartridge in this pool says of itself, open or not.
    pub(crate) fn head(&self, pool: &Pool, id: CartridgeId) -> Result<ShelfHead, String> {
        let facts = Cartridge::inspect(&pool.store, id).map_err(|e| e.to_string())?;
        let row = Head {
            id,
            label: facts.label,
            capacity: ByteCount(facts.capacity_bytes),
            write_protected: facts.write_protected,
            created_s: facts.created_s,
            hint: facts.place.clone(),
        };
        Ok(ShelfHead {
            row,
            pool: pool.name.clone(),
            blank: facts.generation == 0 && !pool.is_adopted,
            unfinished: facts.unfinished,
            protection: facts.protection,
        })
    }

    /// Bytes of host data on a cartridge, and what it is kept by; nothing when it cannot be read, which `store check` tells.
    pub fn summary(&self, id: CartridgeId) -> (u64, Protection) {
        let Ok(store) = self.store_of(id) else { return (0, Protection::default()) };
        let Ok(facts) = Cartridge::inspect(&store, id) else { return (0, Protection::default()) };
        let absent = facts.unfinished.then(|| row_if_read(&self.lazies, &store, id)).flatten();
        let used_bytes = absent.map_or(facts.used_bytes, |row| row.image_bytes);
        (used_bytes, facts.protection.at(self.retention.now()))
    }

    /// A cartridge is told where it is now, for rebuilding the inventory. Only a hint: failing is no failure.
    pub fn tell_place(&self, id: CartridgeId, place: Option<(LibraryName, Place)>) {
        let Ok(store) = self.store_of(id) else { return };
        // What cannot be told from a part of a cartridge is left alone.
        if !store.owners().contains(&OwnerId(id.0)) || !matches!(row_of(&self.lazies, &store, id), Ok(None)) {
            return;
        }
        let told = Cartridge::open(&store, id, Settings::default())
            .and_then(|mut cartridge| cartridge.set_place(place).and_then(|()| cartridge.close()));
        if let Err(error) = told {
            warn!(%error, "a cartridge could not be told its place; only a rebuild would miss it");
        }
    }
}

/// Turns the write-protect switch of an open cartridge. What its pool does not take holds while it is open, and each load does it again: a pool that
/// takes no writes can be read.
///
/// # Errors
/// The switch is as it was.
pub(crate) fn turn_switch(cartridge: &mut Cartridge, on: bool) -> Result<(), String> {
    let Err(error) = cartridge.set_write_protected(on) else { return Ok(()) };
    if cartridge.write_protected() != on {
        return Err(error.to_string());
    }
    warn!(label = %cartridge.label(), %error, "a write-protect switch is turned, and its cartridge could not be told; only a rebuild would miss it");
    Ok(())
}

/// Ten characters that follow from the cartridge's id.
fn medium_serial(id: CartridgeId) -> String {
    hexadecimal(&id.0).chars().take(10).collect::<String>().to_uppercase()
}

/// A cartridge in a drive.
pub struct CartridgeMedium {
    cartridge: Cartridge,
    retention: Arc<RetentionClock>,
    /// While not all of it is here.
    part: Option<Part>,
}

impl CartridgeMedium {
    /// Makes everything durable and lets go of the cartridge.
    pub fn close(self) {
        let label = self.cartridge.label();
        if let Err(error) = self.cartridge.close() {
            error!(%label, %error, "a cartridge was not closed cleanly");
        }
    }

    /// It came out of one drive and goes into another, which is `place`.
    pub fn load_again(&mut self, place: (LibraryName, Place)) {
        self.cartridge.count_load();
        self.tell_place(place);
    }

    /// It learns where it is, for rebuilding the inventory. Only a hint: failing is no failure.
    pub fn tell_place(&mut self, place: (LibraryName, Place)) {
        self.grow();
        if self.part.is_some() {
            return;
        }
        if let Err(error) = self.cartridge.set_place(Some(place)) {
            warn!(label = %self.cartridge.label(), %error, "a cartridge could not be told its place; only a rebuild would miss it");
        }
    }

    /// Turns the write-protect switch.
    pub fn set_write_protected(&mut self, on: bool) {
        self.grow();
        if let Some(part) = &mut self.part {
            return part.set_write_protected(on);
        }
        if let Err(why) = turn_switch(&mut self.cartridge, on) {
            warn!(label = %self.cartridge.label(), why, "the write-protect switch is set at the next load");
        }
    }

    /// The cartridge itself, for retention and hold.
    pub fn cartridge_mut(&mut self) -> &mut Cartridge {
        &mut self.cartridge
    }

    /// Lets a retention go that is over; what time it is for that.
    pub fn release_if_over(&mut self) -> Result<Now, CartridgeError> {
        let now = self.retention.now();
        self.cartridge.release_if_over(now)?;
        Ok(now)
    }

    /// Before whatever a retention may forbid.
    fn release_first(&mut self) -> Result<(), Fault> {
        match self.cartridge.protection().retention {
            None => Ok(()),
            Some(_) => self.release_if_over().map(drop).map_err(|error| self.fault(&error)),
        }
    }

    fn fault(&self, error: &CartridgeError) -> Fault {
        let label = self.cartridge.label();
        match error {
            CartridgeError::EndOfPartition | CartridgeError::WriteProtected | CartridgeError::WriteOnce => {}
            CartridgeError::Away { .. } => warn!(%label, why = %error, "a read waited in vain"),
            other => error!(%label, error = %other, "a drive reports a fault of its cartridge"),
        }
        fault_of(error)
    }

    fn do_it<T>(
        &mut self,
        work: impl FnOnce(&mut Cartridge) -> Result<T, CartridgeError>,
    ) -> Result<T, Fault> {
        self.grow();
        work(&mut self.cartridge).map_err(|error| self.fault(&error))
    }

    /// A cartridge of which all is here by now is opened as the ordinary one that it is; whether it was just now.
    fn grow(&mut self) -> bool {
        let Some(part) = self.part.take_if(|part| part.is_over()) else { return false };
        match part.whole(&self.cartridge) {
            Ok(whole) => {
                self.cartridge = whole;
                true
            }
            Err(why) => {
                warn!(label = %self.cartridge.label(), why, "all of a cartridge is here, and it cannot be opened yet");
                self.part = Some(part);
                false
            }
        }
    }

    /// Writes when what has waited long enough is durable: a loss that this finds ends the call before it has done anything.
    fn write_with(
        &mut self,
        write: impl FnOnce(&mut Cartridge) -> Result<vtl_cartridge::Written, CartridgeError>,
    ) -> Result<Written, Fault> {
        self.commit_due(Instant(clock::now_ns()))?;
        self.release_first()?;
        let written = self.do_it(write)?;
        Ok(Written { early_warning: written.early_warning })
    }
}

/// To end of data.
pub fn go_to_end(medium: &mut CartridgeMedium) {
    medium.cartridge.space_to_end();
}

/// Bytes of blocks before the position.
pub fn position_bytes(medium: &CartridgeMedium) -> u64 {
    medium.cartridge.position_bytes()
}

/// Bytes of host data on a cartridge that is in a drive, and what it is kept by unless that is over.
pub fn summary(medium: &CartridgeMedium) -> (u64, Protection) {
    (medium.cartridge.used_bytes(), medium.cartridge.protection())
}

/// The one place where what the store says becomes what a drive reports.
fn fault_of(error: &CartridgeError) -> Fault {
    match error {
        CartridgeError::Unreadable { object, .. } => Fault::Unreadable { object: *object },
        CartridgeError::Away { .. } => Fault::Away,
        CartridgeError::LateWrite(_) => Fault::LateWrite,
        CartridgeError::WriteFailed { .. } => Fault::WriteFailed,
        CartridgeError::EndOfPartition => Fault::EndOfPartition,
        CartridgeError::PoolFull => Fault::PoolFull,
        CartridgeError::PoolReadOnly { .. } | CartridgeError::WriteProtected | CartridgeError::Incomplete => {
            Fault::WriteProtected
        }
        CartridgeError::WriteOnce => Fault::WriteOnce,
        CartridgeError::FormatCorrupted { .. } => Fault::FormatCorrupted,
        CartridgeError::Store(StoreError::Full { .. }) => Fault::PoolFull,
        CartridgeError::BlockTooLong { .. }
        | CartridgeError::AttributesFull { .. }
        | CartridgeError::RetentionTime { .. }
        | CartridgeError::RetentionShortened { .. }
        | CartridgeError::HoldUnderRetention { .. }
        | CartridgeError::InvalidSpec { .. }
        | CartridgeError::Broken { .. }
        | CartridgeError::Store(_) => Fault::Hardware,
    }
}

fn stop_of(stop: vtl_cartridge::Stop) -> Stop {
    match stop {
        vtl_cartridge::Stop::Filemark => Stop::Filemark,
        vtl_cartridge::Stop::EndOfData => Stop::EndOfData,
        vtl_cartridge::Stop::Beginning => Stop::Beginning,
    }
}

fn spaced_of(spaced: vtl_cartridge::Spaced) -> Spaced {
    Spaced { moved: spaced.moved, stop: spaced.stop.map(stop_of) }
}

impl Medium for CartridgeMedium {
    fn facts(&self) -> MediumFacts {
        let facts = self.cartridge.facts();
        let made_on = clock::rfc3339(u64::try_from(facts.created_s).unwrap_or(0));
        MediumFacts {
            label: facts.label.to_string(),
            serial: facts.serial.clone(),
            kind: facts.kind,
            made_on: made_on.split('T').next().unwrap_or_default().replace('-', ""),
            capacity_bytes: facts.capacity_bytes,
            used_bytes: facts.used_bytes,
            write_protected: facts.write_protected,
        }
    }

    fn position(&self) -> Position {
        let at = self.cartridge.position();
        Position {
            object: at.object,
            file: at.file,
            end_of_data: at.end_of_data,
            early_warning: at.early_warning,
        }
    }

    fn read(&mut self, limit: u32) -> Result<Object, Fault> {
        self.grow();
        let mut read = self.cartridge.read(limit);
        // The last of it may have come in this moment.
        if matches!(read, Err(CartridgeError::Away { .. })) && self.grow() {
            read = self.cartridge.read(limit);
        }
        let object = read.map_err(|error| self.fault(&error))?;
        Ok(match object {
            vtl_cartridge::Object::Block { length, data } => Object::Block { length, data },
            vtl_cartridge::Object::Filemark => Object::Filemark,
            vtl_cartridge::Object::EndOfData => Object::EndOfData,
        })
    }

    fn write(&mut self, block: &[Bytes], compress: bool) -> Result<Written, Fault> {
        self.write_with(|cartridge| cartridge.write_block(block, compress))
    }

    fn write_filemarks(&mut self, count: u32) -> Result<Written, Fault> {
        self.write_with(|cartridge| cartridge.write_filemarks(count))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.do_it(Cartridge::flush)
    }

    fn due_at(&self) -> Option<Instant> {
        let at = self.cartridge.commit_due_at()?;
        Some(Instant(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)))
    }

    fn commit_due(&mut self, now: Instant) -> Result<bool, Fault> {
        self.do_it(|cartridge| cartridge.commit_if_due(Duration::from_nanos(now.0)))
    }

    fn space_blocks(&mut self, count: i64) -> Result<Spaced, Fault> {
        Ok(spaced_of(self.cartridge.space_blocks(count)))
    }

    fn space_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        Ok(spaced_of(self.cartridge.space_filemarks(count)))
    }

    fn space_sequential_filemarks(&mut self, count: i64) -> Result<Spaced, Fault> {
        Ok(spaced_of(self.cartridge.space_sequential_filemarks(count)))
    }

    fn space_to_end(&mut self) -> Result<(), Fault> {
        self.cartridge.space_to_end();
        Ok(())
    }

    fn locate_object(&mut self, object: u64) -> Result<Option<Stop>, Fault> {
        Ok(self.cartridge.locate_object(object).map(stop_of))
    }

    fn locate_file(&mut self, file: u64) -> Result<Option<Stop>, Fault> {
        Ok(self.cartridge.locate_file(file).map(stop_of))
    }

    fn erase(&mut self, _long: bool) -> Result<(), Fault> {
        self.release_first()?;
        // Both forms make the bytes unreachable at once; the store frees their space.
        self.do_it(Cartridge::erase)
    }

    fn format(&mut self) -> Result<(), Fault> {
        self.release_first()?;
        self.do_it(Cartridge::format)
    }

    fn host_attribute(&self, id: u16) -> Option<Vec<u8>> {
        self.cartridge.host_attribute(id).map(<[u8]>::to_vec)
    }

    fn host_attributes(&self) -> Vec<u16> {
        self.cartridge.host_attributes()
    }

    fn set_host_attribute(&mut self, id: u16, value: &[u8]) -> Result<(), AttributeFault> {
        self.grow();
        self.cartridge.set_host_attribute(id, value).map_err(|error| match error {
            CartridgeError::AttributesFull { .. } => AttributeFault::NoRoom,
            CartridgeError::Incomplete => AttributeFault::Protected,
            other => {
                error!(label = %self.cartridge.label(), error = %other, "a host attribute is not stored");
                AttributeFault::NotStored
            }
        })
    }

    fn load_count(&self) -> u64 {
        self.cartridge.load_count()
    }
}
