//! Mode pages of the changer (SMC-3): 1Dh element address assignment, 1Eh transport geometry, 1Fh device capabilities.

use alloc::{vec, vec::Vec};

use super::address::{ElementMap, ElementType};
use crate::{inventory::Geometry, spc::ModePage};

pub(super) const ELEMENT_ADDRESS_ASSIGNMENT: u8 = 0x1d;
const TRANSPORT_GEOMETRY: u8 = 0x1e;
const DEVICE_CAPABILITIES: u8 = 0x1f;

pub(super) fn as_manufactured(bases: &ElementMap, geometry: Geometry) -> Vec<ModePage> {
    vec![
        ModePage::new(ELEMENT_ADDRESS_ASSIGNMENT, &element_addresses(bases, geometry)),
        // One transport element that does not rotate, member 0 of its set.
        ModePage::new(TRANSPORT_GEOMETRY, &[0x00, 0x00]),
        ModePage::new(DEVICE_CAPABILITIES, &CAPABILITIES),
    ]
}

/// First address and number of elements: transport, storage, import/export, data transfer; two reserved bytes.
pub(super) fn element_addresses(bases: &ElementMap, geometry: Geometry) -> Vec<u8> {
    let kinds = [ElementType::Transport, ElementType::Storage, ElementType::ImportExport, ElementType::Drive];
    let mut page = Vec::with_capacity(18);
    for kind in kinds {
        page.extend(bases.base(kind).to_be_bytes());
        page.extend(bases.count(kind, geometry).to_be_bytes());
    }
    page.extend([0, 0]);
    page
}

/// Bits of page 1Fh: data transfer, import/export, storage; the picker (bit 0) holds nothing between commands.
const ALL_BUT_TRANSPORT: u8 = 0x0e;

/// Which elements store (byte 2), what moves from where to where (4 to 7), what can be exchanged (12 to 15); each from the
/// transport, storage, import/export, data transfer element.
const CAPABILITIES: [u8; 18] = {
    let all = ALL_BUT_TRANSPORT;
    [all, 0, 0, all, all, all, 0, 0, 0, 0, 0, all, all, all, 0, 0, 0, 0]
};
