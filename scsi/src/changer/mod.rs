//! The medium changer (SMC-3): moves cartridges and tells where they are. The library behind it is an [`Inventory`].
//!
//! It keeps no state of its own but the engine's: every answer is made from the inventory as it is at that moment, so a library that
//! grows or that an operator touches is never reported from memory. The owner calls [`LogicalUnit::attention`] for what initiators must
//! hear (28/01 a mailslot was touched, 2A/01 the number of elements changed).

mod address;
mod commands;
mod pages;
mod status;

use alloc::{string::String, vec::Vec};

pub use address::ElementMap;
use commands::{COMMANDS, Op};

use crate::{
    command::{Cdb, Command, InitiatorPort, NexusId, Reply},
    inventory::{Element, Host, Inventory, MoveFault},
    persist::Persist,
    personality::Personality,
    sense::Check,
    spc::{self, Common, Device, Identity, Row},
    unit::{LogicalUnit, Reset, UnitAttention},
};

/// A medium changer.
#[derive(Debug)]
pub struct Changer<I, P> {
    common: Common<P>,
    inventory: I,
    bases: ElementMap,
}

impl<I: Inventory, P: Persist> Changer<I, P> {
    /// A changer with the looks of `personality` (element addresses) and this identity. `None` when the personality is not a changer's.
    #[must_use]
    pub fn new(personality: &Personality, identity: Identity, inventory: I, persist: P) -> Option<Self> {
        let bases = ElementMap::new(personality.elements?);
        let pages = pages::as_manufactured(&bases, inventory.geometry());
        Some(Self { common: Common::new(identity, pages, persist), inventory, bases })
    }

    /// Logical units of the target, for REPORT LUNS.
    pub fn set_luns(&mut self, luns: Vec<u16>) {
        self.common.set_luns(luns);
    }

    /// The library behind it.
    pub const fn inventory(&self) -> &I {
        &self.inventory
    }

    /// The library behind it, for its owner.
    pub const fn inventory_mut(&mut self) -> &mut I {
        &mut self.inventory
    }

    /// Somebody holds a reservation on the changer: an operator's move needs force.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.common.is_reserved()
    }

    /// Some initiator prevents removal: operators may not use the mailslots.
    #[must_use]
    pub fn removal_prevented(&self) -> bool {
        self.common.removal_prevented()
    }

    fn element(&self, address: u16) -> Result<Element, Check> {
        self.bases.element(address, self.inventory.geometry()).ok_or(Check::InvalidElement)
    }

    /// An element that can hold a cartridge: all but the picker, which only carries them.
    fn holder(&self, address: u16) -> Result<Element, Check> {
        match self.element(address)? {
            Element::Transport => Err(Check::InvalidElement),
            element => Ok(element),
        }
    }

    /// The medium transport element of a movement: 0 means the default one, which is the only one.
    fn check_transport(&self, address: u16) -> Result<(), Check> {
        let known = address == 0 || self.element(address)? == Element::Transport;
        if known { Ok(()) } else { Err(Check::InvalidElement) }
    }

    /// A movement, after which the other initiators hear of a mailslot that was emptied at once: 28/01. Who commanded it expects that.
    fn moved(
        &mut self,
        command: &Command,
        movement: fn(&mut Self, &Host, &Cdb) -> Result<(), Check>,
    ) -> Result<(), Check> {
        let by = self.host(command);
        movement(self, &by, &command.cdb)?;
        if self.inventory.was_mailslot_emptied() {
            self.common.attention(UnitAttention::ImportExportAccessed, Some(command.nexus));
        }
        Ok(())
    }

    fn host(&self, command: &Command) -> Host {
        let name = self.common.port(command.nexus).map_or_else(String::new, |port| port.name.clone());
        Host { name, address: command.from }
    }

    fn move_medium(&mut self, by: &Host, cdb: &Cdb) -> Result<(), Check> {
        self.check_transport(cdb.be16(2))?;
        let (from, to) = (self.holder(cdb.be16(4))?, self.holder(cdb.be16(6))?);
        refuse_inversion(cdb, 10, 0x01)?;
        self.inventory.move_medium(by, from, to).map_err(check_of)
    }

    fn exchange(&mut self, by: &Host, cdb: &Cdb) -> Result<(), Check> {
        self.check_transport(cdb.be16(2))?;
        let (from, to) = (self.holder(cdb.be16(4))?, self.holder(cdb.be16(6))?);
        let second = self.holder(cdb.be16(8))?;
        refuse_inversion(cdb, 10, 0x03)?;
        self.inventory.exchange(by, from, to, second).map_err(check_of)
    }

    fn position(&self, cdb: &Cdb) -> Result<(), Check> {
        self.check_transport(cdb.be16(2))?;
        self.element(cdb.be16(4))?;
        refuse_inversion(cdb, 8, 0x01)
    }

    /// INITIALIZE ELEMENT STATUS WITH RANGE: RANGE = 1 wants a range that begins at an element; all of them are looked at anyway.
    fn initialize_range(&mut self, cdb: &Cdb) -> Result<(), Check> {
        if cdb.bit(1, 0) {
            self.element(cdb.be16(2))?;
        }
        self.inventory.take_stock().map_err(check_of)
    }

    /// OPEN/CLOSE IMPORT/EXPORT ELEMENT: 00h opens, 01h closes (SMC-3). The only lock there is belongs to PREVENT ALLOW MEDIUM REMOVAL.
    fn open_close(&mut self, cdb: &Cdb) -> Result<(), Check> {
        let open = match cdb.byte(4) & 0x1f {
            0x00 => true,
            0x01 => false,
            _ => return Err(Check::cdb_bit(4, 4)),
        };
        if !matches!(self.element(cdb.be16(2))?, Element::Mailslot(_)) {
            return Err(Check::InvalidElement);
        }
        let prevented = self.common.removal_prevented();
        if open && prevented {
            return Err(Check::RemovalPrevented);
        }
        self.inventory.lock_mailslots(prevented);
        Ok(())
    }
}

/// A cartridge has one way up: INVERT bits (`mask` of the byte at `at`) are refused, as page 1Eh says.
fn refuse_inversion(cdb: &Cdb, at: usize, mask: u8) -> Result<(), Check> {
    match cdb.byte(at) & mask {
        0 => Ok(()),
        1 => Err(Check::cdb_bit(u16::try_from(at).unwrap_or(0), 0)),
        _ => Err(Check::cdb_bit(u16::try_from(at).unwrap_or(0), 1)),
    }
}

/// What a refused movement means to the initiator: the only place where this is decided.
const fn check_of(fault: MoveFault) -> Check {
    match fault {
        MoveFault::InvalidElement => Check::InvalidElement,
        MoveFault::SourceEmpty => Check::SourceEmpty,
        MoveFault::DestinationFull => Check::DestinationFull,
        MoveFault::RemovalPrevented => Check::RemovalPrevented,
        MoveFault::IncompatibleMedium => Check::IncompatibleMedium,
        MoveFault::EjectFailed | MoveFault::LoadFailed => Check::LoadOrEjectFailed,
        MoveFault::CartridgeBusy => Check::OperationInProgress,
        MoveFault::Hardware => Check::InternalFailure,
    }
}

impl<I: Inventory, P: Persist> Device for Changer<I, P> {
    type Op = Op;
    type Store = P;

    fn commands(&self) -> &'static [Row<Op>] {
        COMMANDS
    }

    fn common(&self) -> &Common<P> {
        &self.common
    }

    fn common_mut(&mut self) -> &mut Common<P> {
        &mut self.common
    }

    fn run(&mut self, op: Op, command: &Command) -> Reply {
        let cdb = &command.cdb;
        let done = match op {
            Op::ReadElementStatus => {
                return status::read(&self.bases, self.inventory.elements(), cdb)
                    .unwrap_or_else(Reply::check);
            }
            Op::MoveMedium => self.moved(command, Self::move_medium),
            Op::ExchangeMedium => self.moved(command, Self::exchange),
            Op::PositionToElement => self.position(cdb),
            Op::InitializeElementStatus => self.inventory.take_stock().map_err(check_of),
            Op::InitializeWithRange => self.initialize_range(cdb),
            Op::OpenCloseImportExport => self.open_close(cdb),
        };
        done.map_or_else(Reply::check, |()| Reply::good())
    }

    fn refresh_modes(&mut self) {
        let assignment = pages::element_addresses(&self.bases, self.inventory.geometry());
        self.common.modes_mut().set_live(pages::ELEMENT_ADDRESS_ASSIGNMENT, 0, &assignment);
    }

    fn removal_prevention_changed(&mut self, prevented: bool) {
        self.inventory.lock_mailslots(prevented);
    }
}

impl<I: Inventory, P: Persist> LogicalUnit for Changer<I, P> {
    fn execute(&mut self, command: &Command) -> Reply {
        spc::execute(self, command)
    }

    fn nexus_opened(&mut self, nexus: NexusId, port: &InitiatorPort) {
        self.common.nexus_opened(nexus, port);
    }

    fn nexus_closed(&mut self, nexus: NexusId) {
        self.watch_lock(|changer| changer.common.nexus_closed(nexus));
    }

    fn reset(&mut self, reset: Reset) {
        self.watch_lock(|changer| changer.common.reset(reset));
    }

    fn take_aborted(&mut self) -> Vec<NexusId> {
        self.common.take_aborted()
    }

    fn attention(&mut self, what: UnitAttention, except: Option<NexusId>) {
        self.common.attention(what, except);
    }
}

impl<I: Inventory, P: Persist> Changer<I, P> {
    /// The mailslots are unlocked when the last prevention ends with a nexus or a reset.
    fn watch_lock(&mut self, action: impl FnOnce(&mut Self)) {
        let before = self.common.removal_prevented();
        action(self);
        if before && !self.common.removal_prevented() {
            self.inventory.lock_mailslots(false);
        }
    }
}

#[cfg(test)]
mod tests;
