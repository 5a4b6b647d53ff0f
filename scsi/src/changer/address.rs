//! Element addresses: which number on the wire is which element.

use crate::{
    inventory::{Element, Geometry},
    personality::ElementAddresses,
};

/// Element type codes (SMC-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum ElementType {
    Transport = 0x1,
    Storage = 0x2,
    ImportExport = 0x3,
    Drive = 0x4,
}

pub(super) const ELEMENT_TYPES: [ElementType; 4] =
    [ElementType::Transport, ElementType::Storage, ElementType::ImportExport, ElementType::Drive];

impl ElementType {
    pub(super) const fn of(element: Element) -> Self {
        match element {
            Element::Transport => Self::Transport,
            Element::Slot(_) => Self::Storage,
            Element::Mailslot(_) => Self::ImportExport,
            Element::Drive(_) => Self::Drive,
        }
    }
}

/// Element addresses of a library, both ways.
///
/// Invariant: ranges of different kinds do not meet. An element that would lie in the next kind's range has no address and is not
/// reported; whoever configures a library asks [`ElementMap::limits`] first.
#[derive(Clone, Copy, Debug)]
pub struct ElementMap {
    bases: ElementAddresses,
}

impl ElementMap {
    /// The map of a personality's addresses.
    #[must_use]
    pub const fn new(bases: ElementAddresses) -> Self {
        Self { bases }
    }

    /// The most elements of each kind that have addresses.
    #[must_use]
    pub fn limits(&self) -> Geometry {
        Geometry {
            drives: self.room(ElementType::Drive),
            slots: self.room(ElementType::Storage),
            mailslots: self.room(ElementType::ImportExport),
        }
    }

    pub(super) const fn base(&self, kind: ElementType) -> u16 {
        match kind {
            ElementType::Transport => self.bases.transport,
            ElementType::Storage => self.bases.storage,
            ElementType::ImportExport => self.bases.import_export,
            ElementType::Drive => self.bases.drive,
        }
    }

    /// Addresses from a kind's first up to the next kind's first.
    fn room(&self, kind: ElementType) -> u16 {
        let base = self.base(kind);
        let next =
            ELEMENT_TYPES.into_iter().map(|other| self.base(other)).filter(|other| *other > base).min();
        next.unwrap_or(u16::MAX) - base
    }

    /// How many of a kind exist and have an address.
    pub(super) fn count(&self, kind: ElementType, geometry: Geometry) -> u16 {
        let exist = match kind {
            ElementType::Transport => 1,
            ElementType::Storage => geometry.slots,
            ElementType::ImportExport => geometry.mailslots,
            ElementType::Drive => geometry.drives,
        };
        exist.min(self.room(kind))
    }

    /// The address of an element.
    #[must_use]
    pub fn address(&self, element: Element) -> Option<u16> {
        let index = match element {
            Element::Transport => 0,
            Element::Slot(n) | Element::Mailslot(n) | Element::Drive(n) => n,
        };
        let kind = ElementType::of(element);
        (index < self.room(kind)).then(|| self.base(kind).saturating_add(index))
    }

    /// The element at an address, if it exists.
    #[must_use]
    pub fn element(&self, address: u16, geometry: Geometry) -> Option<Element> {
        ELEMENT_TYPES.into_iter().find_map(|kind| {
            let index = address.checked_sub(self.base(kind))?;
            let element = match kind {
                ElementType::Transport => Element::Transport,
                ElementType::Storage => Element::Slot(index),
                ElementType::ImportExport => Element::Mailslot(index),
                ElementType::Drive => Element::Drive(index),
            };
            (index < self.count(kind, geometry)).then_some(element)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IBM_3584: ElementMap = ElementMap::new(ElementAddresses {
        transport: 1,
        storage: 0x400,
        import_export: 0x300,
        drive: 0x101,
    });

    #[test]
    fn an_ibm_3584_has_room_for_what_its_addresses_leave() {
        let limits = IBM_3584.limits();
        assert_eq!(limits, Geometry { drives: 0x1ff, slots: 0xfbff, mailslots: 0x100 });
    }

    #[test]
    fn every_address_names_its_element_again() {
        let geometry = Geometry { drives: 2, slots: 10, mailslots: 4 };
        for element in [Element::Transport, Element::Slot(9), Element::Mailslot(0), Element::Drive(1)] {
            let address = IBM_3584.address(element).unwrap();
            assert_eq!(IBM_3584.element(address, geometry), Some(element));
        }
    }

    #[test]
    fn addresses_beyond_the_last_element_name_nothing() {
        let geometry = Geometry { drives: 2, slots: 10, mailslots: 0 };
        for address in [0, 2, 0x103, 0x300, 0x40a, 0xffff] {
            assert_eq!(IBM_3584.element(address, geometry), None, "{address:#x}");
        }
    }
}
