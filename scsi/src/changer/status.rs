//! READ ELEMENT STATUS (SMC-3): the inventory as bytes.
//!
//! The report is a header and, for each element type, a page with a header and descriptors of one length. Header and page headers count
//! what is available; the allocation length decides how many whole descriptors are transferred.

use alloc::vec::Vec;
use core::ops::Range;

use super::address::{ElementMap, ElementType};
use crate::{
    command::{Cdb, Reply},
    inventory::{DriveFacts, Element, ElementState, Occupant},
    sense::Check,
    spc::{dvcid, wire::len16, wire::padded},
};

/// What a CDB asks for.
struct Request {
    kinds: Option<ElementType>,
    start: u16,
    count: u16,
    volume_tags: bool,
    device_ids: bool,
    allocation: usize,
}

impl Request {
    fn parse(cdb: &Cdb) -> Result<Self, Check> {
        let kinds = match cdb.byte(1) & 0x0f {
            0x0 => None,
            0x1 => Some(ElementType::Transport),
            0x2 => Some(ElementType::Storage),
            0x3 => Some(ElementType::ImportExport),
            0x4 => Some(ElementType::Drive),
            _ => return Err(Check::cdb_bit(1, 3)),
        };
        Ok(Self {
            kinds,
            start: cdb.be16(2),
            count: cdb.be16(4),
            volume_tags: cdb.bit(1, 4),
            device_ids: cdb.bit(6, 0),
            allocation: usize::try_from(cdb.be24(7)).unwrap_or(usize::MAX),
        })
    }

    fn wants(&self, element: Element) -> bool {
        self.kinds.is_none_or(|kind| kind == ElementType::of(element))
    }
}

/// An element and its address.
type Addressed = (u16, ElementState);

/// Answers READ ELEMENT STATUS.
pub(super) fn read(bases: &ElementMap, elements: Vec<ElementState>, cdb: &Cdb) -> Result<Reply, Check> {
    let request = Request::parse(cdb)?;
    let mut found: Vec<Addressed> = elements
        .into_iter()
        .filter(|state| request.wants(state.element))
        .filter_map(|state| bases.address(state.element).map(|address| (address, state)))
        .collect();
    // A start behind the last element asks for something that is not there; a type without elements is just empty.
    if !found.is_empty() && found.iter().all(|(address, _)| *address < request.start) {
        return Err(Check::InvalidElement);
    }
    found.retain(|(address, _)| *address >= request.start);
    found.sort_by_key(|(address, _)| *address);
    found.truncate(usize::from(request.count));
    Ok(Reply::allocated(report(bases, &found, &request), request.allocation))
}

const PAGE_HEADER_LEN: usize = 8;

fn report(bases: &ElementMap, found: &[Addressed], request: &Request) -> Vec<u8> {
    let pages = pages_of(found);
    let available: usize = pages.iter().map(|page| PAGE_HEADER_LEN + page_len(found, page, request)).sum();
    let first = found.first().map_or(0, |(address, _)| *address);
    let mut bytes = first.to_be_bytes().to_vec();
    bytes.extend(len16(found.len()).to_be_bytes());
    bytes.push(0);
    bytes.extend(len24(available));
    for page in pages {
        let length = descriptor_len(kind_of(found, &page), request);
        // Only whole descriptors are transferred, no page header without one, and nothing behind what was left out.
        let room = request.allocation.saturating_sub(bytes.len() + PAGE_HEADER_LEN) / length;
        if room == 0 {
            break;
        }
        bytes.extend(page_header(found, &page, request));
        let elements = found.get(page).unwrap_or_default();
        for (address, state) in elements.iter().take(room) {
            bytes.extend(descriptor(bases, *address, state, request));
        }
        if room < elements.len() {
            break;
        }
    }
    bytes
}

/// Runs of elements of one type.
fn pages_of(found: &[Addressed]) -> Vec<Range<usize>> {
    let mut pages: Vec<Range<usize>> = Vec::new();
    for at in 0..found.len() {
        match pages.last_mut() {
            Some(page) if kind_of(found, page) == kind_of(found, &(at..at + 1)) => page.end = at + 1,
            _ => pages.push(at..at + 1),
        }
    }
    pages
}

fn kind_of(found: &[Addressed], page: &Range<usize>) -> ElementType {
    found.get(page.start).map_or(ElementType::Storage, |(_, state)| ElementType::of(state.element))
}

fn page_len(found: &[Addressed], page: &Range<usize>, request: &Request) -> usize {
    page.len() * descriptor_len(kind_of(found, page), request)
}

/// Element type, PVOLTAG, descriptor length, byte count of descriptor data available.
fn page_header(found: &[Addressed], page: &Range<usize>, request: &Request) -> Vec<u8> {
    let kind = kind_of(found, page);
    let volume_tags = if request.volume_tags { 0x80 } else { 0 };
    let mut bytes = alloc::vec![kind as u8, volume_tags];
    bytes.extend(len16(descriptor_len(kind, request)).to_be_bytes());
    bytes.push(0);
    bytes.extend(len24(page_len(found, page, request)));
    bytes
}

/// Twelve bytes of status, and four that describe the identifier even where there is none, as IBM libraries report it.
const DESCRIPTOR_LEN: usize = 16;
const VOLUME_TAG_LEN: usize = 36;
/// Vendor 8, product 16, serial number 10.
const DEVICE_ID_LEN: usize = 34;

fn descriptor_len(kind: ElementType, request: &Request) -> usize {
    let tag = if request.volume_tags { VOLUME_TAG_LEN } else { 0 };
    let id = if request.device_ids && kind == ElementType::Drive { DEVICE_ID_LEN } else { 0 };
    DESCRIPTOR_LEN + tag + id
}

const FULL: u8 = 0x01;
const IMP_EXP: u8 = 0x02;
const ACCESS: u8 = 0x08;
const EX_ENAB: u8 = 0x10;
const IN_ENAB: u8 = 0x20;
const S_VALID: u8 = 0x80;
/// The drive's LUN follows in the low three bits; it is in the changer's own target.
const LU_VALID: u8 = 0x10;

fn descriptor(bases: &ElementMap, address: u16, state: &ElementState, request: &Request) -> Vec<u8> {
    let occupant = state.occupant.as_ref();
    let mut bytes = address.to_be_bytes().to_vec();
    bytes.extend([flags(state), 0, 0, 0, drive_lun(state), 0, 0]);
    let source = occupant.and_then(|occupant| occupant.source).and_then(|source| bases.address(source));
    let valid = if source.is_some() { S_VALID } else { 0 };
    bytes.push(valid | occupant.map_or(0, medium_type));
    bytes.extend(source.unwrap_or(0).to_be_bytes());
    if request.volume_tags {
        bytes.extend(volume_tag(occupant));
    }
    let id = state.drive.as_ref().filter(|_| request.device_ids).map(device_id);
    bytes.extend(id.unwrap_or_else(|| alloc::vec![0; 4]));
    bytes.resize(descriptor_len(ElementType::of(state.element), request), 0);
    bytes
}

fn flags(state: &ElementState) -> u8 {
    let full = if state.occupant.is_some() { FULL } else { 0 };
    let access = if state.accessible { ACCESS } else { 0 };
    match state.element {
        Element::Transport => full,
        Element::Slot(_) | Element::Drive(_) => full | access,
        Element::Mailslot(_) => {
            let by_operator = state.occupant.as_ref().is_some_and(|occupant| occupant.placed_by_operator);
            full | access | EX_ENAB | IN_ENAB | if by_operator { IMP_EXP } else { 0 }
        }
    }
}

/// LU VALID and LUN, by which Linux `ch` finds the drive; a LUN above 7 does not fit and is left out.
fn drive_lun(state: &ElementState) -> u8 {
    let lun = state.drive.as_ref().and_then(|drive| drive.lun);
    lun.and_then(|lun| u8::try_from(lun).ok()).filter(|lun| *lun < 8).map_or(0, |lun| LU_VALID | lun)
}

/// MEDIUM TYPE: data or cleaning.
const fn medium_type(occupant: &Occupant) -> u8 {
    if occupant.cleaning { 2 } else { 1 }
}

/// Volume identification of 32 characters, two reserved bytes, sequence number 0. An element without a cartridge has a blank
/// identification, as libraries give it and as `mtx` shows it (`Empty:VolumeTag=`).
fn volume_tag(occupant: Option<&Occupant>) -> Vec<u8> {
    let mut tag = padded(occupant.map_or("", |occupant| &occupant.label), 32);
    tag.resize(VOLUME_TAG_LEN, 0);
    tag
}

/// Code set ASCII, T10 vendor identification, length, and the drive's name as in its own VPD page 83h.
fn device_id(drive: &DriveFacts) -> Vec<u8> {
    let mut bytes = alloc::vec![0x02, 0x01, 0, 0x22];
    bytes.extend(dvcid(&drive.vendor, &drive.product, &drive.serial));
    bytes
}

/// Lengths in 24 bits: 64512 slots with tags are far below the limit.
fn len24(length: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(length).unwrap_or(u32::MAX).min(0x00ff_ffff).to_be_bytes();
    [a, b, c]
}
