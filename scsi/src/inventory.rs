//! What a medium changer needs of the library.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

/// How many elements there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Geometry {
    /// Data transfer elements.
    pub drives: u16,
    /// Storage elements.
    pub slots: u16,
    /// Import/export elements.
    pub mailslots: u16,
}

/// One element. Every kind counts from 0 here; addresses on the wire come from the personality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// The medium transport (picker).
    Transport,
    /// A storage element.
    Slot(u16),
    /// An import/export element.
    Mailslot(u16),
    /// A data transfer element.
    Drive(u16),
}

/// The cartridge in an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Bar code.
    pub label: String,
    /// Where it was moved from last, if that is known (SValid).
    pub source: Option<Element>,
    /// In a mailslot: an operator put it there, not the robot (ImpExp).
    pub placed_by_operator: bool,
    /// It is a cleaning cartridge.
    pub cleaning: bool,
}

/// A drive as the changer names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveFacts {
    /// INQUIRY vendor identification of the drive.
    pub vendor: String,
    /// INQUIRY product identification of the drive.
    pub product: String,
    /// Unit serial number of the drive.
    pub serial: String,
    /// The drive's LUN in the same target, if it is there.
    pub lun: Option<u16>,
}

/// One element as READ ELEMENT STATUS reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementState {
    /// Which one.
    pub element: Element,
    /// What is in it.
    pub occupant: Option<Occupant>,
    /// The robot can reach it: a drive that holds a loaded, not ejected cartridge may still be accessed, since the library ejects by itself.
    pub accessible: bool,
    /// Only for drives.
    pub drive: Option<DriveFacts>,
}

/// Who commands a movement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Name of its initiator port.
    pub name: String,
    /// Where it is, if the transport has addresses.
    pub address: Option<IpAddr>,
}

/// Why a movement was refused; nothing has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveFault {
    /// No such element, or one of the wrong kind: 5/21/01.
    InvalidElement,
    /// 5/3B/0E.
    SourceEmpty,
    /// 5/3B/0D.
    DestinationFull,
    /// The drive refuses to give the medium up: 5/53/02.
    RemovalPrevented,
    /// The drive cannot take this medium: 5/30/00.
    IncompatibleMedium,
    /// Data of the cartridge in the source drive could not be made durable: 4/53/00 (media load or eject failed).
    EjectFailed,
    /// The drive could not load it: 4/53/00.
    LoadFailed,
    /// Another operation holds this cartridge: 2/04/07 (operation in progress).
    CartridgeBusy,
    /// The inventory could not be changed: 4/44/00.
    Hardware,
}

/// The library behind a changer.
pub trait Inventory {
    /// Numbers of elements now; they can grow while we run.
    fn geometry(&self) -> Geometry;

    /// All elements of all kinds in any order, as they are now.
    fn elements(&self) -> Vec<ElementState>;

    /// Moves a cartridge, as this host commands. Durable when it returns.
    ///
    /// # Errors
    /// See [`MoveFault`].
    fn move_medium(&mut self, by: &Host, from: Element, to: Element) -> Result<(), MoveFault>;

    /// Moves `first` to `to` and what was there to `second_to` (which may equal `first`), as one step.
    ///
    /// # Errors
    /// See [`MoveFault`].
    fn exchange(
        &mut self,
        by: &Host,
        first: Element,
        to: Element,
        second_to: Element,
    ) -> Result<(), MoveFault>;

    /// Whether the last movement has made somebody take a cartridge out of a mailslot, so that the element is empty although it was a destination.
    fn was_mailslot_emptied(&self) -> bool {
        false
    }

    /// INITIALIZE ELEMENT STATUS: looks at every element again.
    ///
    /// # Errors
    /// See [`MoveFault`].
    fn take_stock(&mut self) -> Result<(), MoveFault>;

    /// PREVENT ALLOW MEDIUM REMOVAL and OPEN/CLOSE IMPORT/EXPORT ELEMENT: whether operators may use the mailslots.
    fn lock_mailslots(&mut self, locked: bool);
}
