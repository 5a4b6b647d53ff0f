use alloc::{collections::BTreeMap, string::String, vec, vec::Vec};
use proptest::prelude::*;

use super::*;
use crate::{
    inventory::{DriveFacts, ElementState, Geometry, Occupant},
    testing::{A, B, Memory, cases, connect, data, is_conflict, is_good, send, send_out, sense},
};

const DRIVES: u16 = 2;
const SLOTS: u16 = 5;
const MAILSLOTS: u16 = 2;

/// A library in memory.
#[derive(Debug, Default)]
struct Shelf {
    geometry: Geometry,
    places: BTreeMap<Element, Occupant>,
    fault: Option<MoveFault>,
    /// Who commanded the last movement.
    mover: Option<Host>,
    locked: bool,
    stock_takings: u32,
    /// Mailslots are emptied as soon as something is put into them.
    ejects: bool,
    emptied: bool,
}

impl Shelf {
    fn state(&self, element: Element) -> ElementState {
        let drive = match element {
            Element::Drive(n) => Some(DriveFacts {
                vendor: "IBM".into(),
                product: "ULT3580-TD8".into(),
                serial: alloc::format!("123456789{n}"),
                lun: Some(n + 1),
            }),
            _ => None,
        };
        ElementState { element, occupant: self.places.get(&element).cloned(), accessible: true, drive }
    }
}

impl Inventory for Shelf {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn elements(&self) -> Vec<ElementState> {
        let slots = (0..self.geometry.slots).map(Element::Slot);
        let mailslots = (0..self.geometry.mailslots).map(Element::Mailslot);
        let drives = (0..self.geometry.drives).map(Element::Drive);
        let all = slots.chain(mailslots).chain(drives).chain([Element::Transport]);
        all.map(|element| self.state(element)).collect()
    }

    fn move_medium(&mut self, by: &Host, from: Element, to: Element) -> Result<(), MoveFault> {
        self.mover = Some(by.clone());
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if !self.places.contains_key(&from) {
            return Err(MoveFault::SourceEmpty);
        }
        if self.places.contains_key(&to) {
            return Err(MoveFault::DestinationFull);
        }
        let mut occupant = self.places.remove(&from).unwrap();
        occupant.source = Some(from);
        occupant.placed_by_operator = false;
        self.emptied = self.ejects && matches!(to, Element::Mailslot(_));
        if !self.emptied {
            self.places.insert(to, occupant);
        }
        Ok(())
    }

    fn was_mailslot_emptied(&self) -> bool {
        self.emptied
    }

    fn exchange(
        &mut self,
        by: &Host,
        first: Element,
        to: Element,
        second_to: Element,
    ) -> Result<(), MoveFault> {
        self.mover = Some(by.clone());
        let (Some(moving), Some(_)) = (self.places.get(&first), self.places.get(&to)) else {
            return Err(MoveFault::SourceEmpty);
        };
        if second_to != first && self.places.contains_key(&second_to) {
            return Err(MoveFault::DestinationFull);
        }
        let moving = Occupant { source: Some(first), ..moving.clone() };
        let moved_away = Occupant { source: Some(to), ..self.places[&to].clone() };
        self.places.remove(&first);
        self.places.insert(to, moving);
        self.places.insert(second_to, moved_away);
        Ok(())
    }

    fn take_stock(&mut self) -> Result<(), MoveFault> {
        self.stock_takings += 1;
        Ok(())
    }

    fn lock_mailslots(&mut self, locked: bool) {
        self.locked = locked;
    }
}

fn changer_with(occupied: &[(Element, &str)]) -> Changer<Shelf, Memory> {
    let personality = Personality::named("ibm-03584l32").unwrap();
    let identity = Identity::new(&personality, "78A0000401", 1);
    let occupant = |label: &str| Occupant {
        label: label.into(),
        source: None,
        placed_by_operator: false,
        cleaning: label.starts_with("CLN"),
    };
    let places = occupied.iter().map(|(element, label)| (*element, occupant(label))).collect();
    let geometry = Geometry { drives: DRIVES, slots: SLOTS, mailslots: MAILSLOTS };
    let shelf = Shelf { geometry, places, ..Shelf::default() };
    let mut changer = Changer::new(&personality, identity, shelf, Memory::default()).unwrap();
    connect(&mut changer);
    changer
}

const SLOT_1: u16 = 0x400;
const DRIVE_0: u16 = 0x101;
const MAILSLOT_1: u16 = 0x300;

fn move_cdb(from: u16, to: u16) -> [u8; 12] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]
}

/// READ ELEMENT STATUS: type with VolTag bit, start, count, DVCID and CurData, allocation length.
fn status_cdb(flags: u8, start: u16, count: u16, ids: u8, allocation: u32) -> [u8; 12] {
    let ([a, b], [c, d]) = (start.to_be_bytes(), count.to_be_bytes());
    let [_, e, f, g] = allocation.to_be_bytes();
    [0xb8, flags, a, b, c, d, ids, e, f, g, 0, 0]
}

#[test]
fn the_library_hears_who_commands_a_movement() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8"), (Element::Slot(1), "VTL002L8")]);
    let host = |name: &str, address: [u8; 4]| Host { name: name.into(), address: Some(address.into()) };
    for (nexus, cdb, by) in [
        (A, move_cdb(SLOT_1, DRIVE_0), host("iqn.2026-11.test:a", [192, 0, 2, 1])),
        (
            B,
            [0xa6, 0, 0, 0, 0x04, 0x01, 0x01, 0x01, 0x04, 0x00, 0, 0],
            host("iqn.2026-11.test:b", [192, 0, 2, 2]),
        ),
    ] {
        let (cdb, from) = (Cdb::new(&cdb), by.address);
        let command = Command { nexus, from, cdb, data_out: Vec::new(), now: crate::Instant(0) };
        assert!(is_good(&changer.execute(&command)));
        assert_eq!(changer.inventory().mover, Some(by));
    }
}

#[test]
fn a_mailslot_that_is_emptied_at_once_is_told_to_all_but_the_initiator_that_put_something_into_it() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8"), (Element::Slot(1), "VTL002L8")]);
    assert!(is_good(&send(&mut changer, A, &move_cdb(SLOT_1, MAILSLOT_1))));
    assert!(is_good(&send(&mut changer, B, &[0x00])), "what stays in the mailslot is no news");
    assert!(is_good(&send(&mut changer, A, &move_cdb(MAILSLOT_1, SLOT_1))));
    changer.inventory_mut().ejects = true;
    assert!(is_good(&send(&mut changer, A, &move_cdb(SLOT_1, MAILSLOT_1))));
    assert!(is_good(&send(&mut changer, A, &[0x00])));
    assert_eq!(sense(&send(&mut changer, B, &[0x00])), (6, 0x28, 0x01));
    assert!(is_good(&send(&mut changer, A, &move_cdb(SLOT_1 + 1, DRIVE_0))));
    assert!(is_good(&send(&mut changer, B, &[0x00])), "and told once");
    assert!(is_good(&send(&mut changer, A, &move_cdb(DRIVE_0, MAILSLOT_1))), "it is free");
}

#[test]
fn a_drive_is_reported_with_its_tag_its_name_and_where_its_cartridge_came_from() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8")]);
    assert!(is_good(&send(&mut changer, A, &move_cdb(SLOT_1, DRIVE_0))));
    let reply = send(&mut changer, A, &status_cdb(0x14, 0, 1, 0x01, 0xffff));
    let mut expected = vec![0x01, 0x01, 0, 1, 0, 0, 0, 8 + 86]; // first element 101h, one element, bytes available
    expected.extend([4, 0x80, 0, 86, 0, 0, 0, 86]); // data transfer elements, PVolTag
    expected.extend([0x01, 0x01, 0x09, 0, 0, 0, 0x11, 0, 0, 0x81, 0x04, 0x00]); // full, access, LUN 1, from 400h
    expected.extend(b"VTL001L8                        \0\0\0\0");
    expected.extend([0x02, 0x01, 0, 34]);
    expected.extend(b"IBM     ULT3580-TD8     1234567890");
    assert_eq!(data(&reply), expected);
}

/// mtx gives up on a drive descriptor shorter than 12 bytes and reads the tag at offset 12; LTO libraries put the identifier behind the
/// tag, of 36 bytes. There is never an alternate tag.
#[test]
fn drives_are_reported_with_and_without_tags_names_and_movement() {
    let mut changer = changer_with(&[(Element::Drive(1), "VTL001L8")]);
    for (tags, ids, length) in [(0x00, 0x00, 16), (0x10, 0x00, 52), (0x00, 0x01, 50), (0x10, 0x01, 86)] {
        for current_data in [0x00, 0x02] {
            let cdb = status_cdb(0x04 | tags, 0, 0xffff, ids | current_data, 0xffff);
            let report = data(&send(&mut changer, A, &cdb));
            let bytes = 8 + 2 * length;
            assert_eq!(report[..8], [0x01, 0x01, 0, 2, 0, 0, 0, bytes as u8]);
            let voltag = if tags == 0 { 0x00 } else { 0x80 };
            assert_eq!(report[8..16], [4, voltag, 0, length as u8, 0, 0, 0, 2 * length as u8]);
            assert_eq!(report.len(), 8 + bytes);
            let drive = &report[16 + length..];
            assert_eq!(drive[..4], [0x01, 0x02, 0x09, 0]);
            let mut at = 12;
            if tags != 0 {
                assert_eq!(drive[12..48], *b"VTL001L8                        \0\0\0\0");
                at = 48;
            }
            let name: &[u8] = if ids == 0 { &[0; 4] } else { b"\x02\x01\0\x22IBM     ULT3580-TD8     " };
            assert_eq!(drive[at..at + name.len()], *name);
        }
    }
}

/// Linux ch looks the drive up by host, channel and id of the changer and this LUN; without LU VALID it says "ID/LUN unknown".
#[test]
fn a_drive_tells_its_unit_number_where_three_bits_are_enough() {
    let mut changer = changer_with(&[]);
    changer.inventory_mut().geometry.drives = 9;
    let report = data(&send(&mut changer, A, &status_cdb(0x04, 0, 9, 0, 0xffff)));
    let units: Vec<[u8; 2]> = report[16..].chunks(16).map(|drive| [drive[6], drive[7]]).collect();
    let expected = [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x00, 0x00].map(|byte_6| [byte_6, 0]);
    assert_eq!(units, expected);
}

#[test]
fn a_slot_without_tags_has_the_short_descriptor_of_an_ibm_library() {
    let mut changer = changer_with(&[(Element::Slot(0), "CLN001CU")]);
    let reply = send(&mut changer, A, &status_cdb(0x02, 0x400, 2, 0, 0xffff));
    let mut expected = vec![0x04, 0x00, 0, 2, 0, 0, 0, 40];
    expected.extend([2, 0, 0, 16, 0, 0, 0, 32]);
    expected.extend([0x04, 0x00, 0x09, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0]); // a cleaning cartridge
    expected.extend([0x04, 0x01, 0x08, 0, 0, 0, 0, 0, 0, 0x00, 0, 0, 0, 0, 0, 0]);
    assert_eq!(data(&reply), expected);
}

#[test]
fn a_mailslot_tells_who_filled_it_and_that_both_ways_are_open() {
    let mut changer = changer_with(&[(Element::Mailslot(0), "VTL001L8"), (Element::Slot(0), "VTL002L8")]);
    changer.inventory_mut().places.get_mut(&Element::Mailslot(0)).unwrap().placed_by_operator = true;
    assert!(is_good(&send(&mut changer, A, &move_cdb(SLOT_1, MAILSLOT_1 + 1))));
    let report = data(&send(&mut changer, A, &status_cdb(0x03, 0, 9, 0, 0xffff)));
    assert_eq!((report[16 + 2], report[32 + 2]), (0x3b, 0x39));
}

#[test]
fn a_report_that_is_cut_still_tells_how_long_it_would_be() {
    let mut changer = changer_with(&[]);
    let whole = data(&send(&mut changer, A, &status_cdb(0x12, 0, 0xffff, 0, 0xffff)));
    assert_eq!(whole.len(), 8 + 8 + 5 * 52);
    let cut = data(&send(&mut changer, A, &status_cdb(0x12, 0, 0xffff, 0, 8 + 8 + 2 * 52 + 51)));
    assert_eq!(cut.len(), 8 + 8 + 2 * 52, "only whole descriptors");
    assert_eq!(cut[..16], whole[..16]);
    assert_eq!(data(&send(&mut changer, A, &status_cdb(0x12, 0, 0xffff, 0, 8))), whole[..8]);
    let no_room = data(&send(&mut changer, A, &status_cdb(0x12, 0, 0xffff, 0, 67)));
    assert_eq!(no_room, whole[..8], "no page without a descriptor");
}

#[test]
fn all_types_come_in_order_of_their_addresses() {
    let mut changer = changer_with(&[]);
    let report = Report::decode(&data(&send(&mut changer, A, &status_cdb(0x10, 0, 0xffff, 1, 0xffff))));
    let addresses: Vec<u16> = report.elements.iter().map(|element| element.address).collect();
    assert_eq!(addresses, [1, 0x101, 0x102, 0x300, 0x301, 0x400, 0x401, 0x402, 0x403, 0x404]);
}

#[test]
fn start_and_count_choose_elements_and_a_start_behind_all_is_an_error() {
    let mut changer = changer_with(&[]);
    let report = Report::decode(&data(&send(&mut changer, A, &status_cdb(0x00, 0x102, 3, 0, 0xffff))));
    let addresses: Vec<u16> = report.elements.iter().map(|element| element.address).collect();
    assert_eq!(addresses, [0x102, 0x300, 0x301]);
    assert_eq!(sense(&send(&mut changer, A, &status_cdb(0x02, 0x405, 1, 0, 0xffff))), (5, 0x21, 0x01));
    assert_eq!(sense(&send(&mut changer, A, &status_cdb(0x05, 0, 1, 0, 0xffff))), (5, 0x24, 0x00));
}

#[test]
fn a_type_without_elements_gives_a_report_without_pages() {
    let mut changer = changer_with(&[]);
    changer.inventory_mut().geometry.mailslots = 0;
    for start in [0, 0x300] {
        assert_eq!(data(&send(&mut changer, A, &status_cdb(0x03, start, 9, 0, 0xffff))), [0; 8]);
    }
}

#[test]
fn old_lun_bits_mean_nothing() {
    let mut changer = changer_with(&[]);
    for cdb in [status_cdb(0x20 | 0x12, 0, 5, 0, 0xffff), status_cdb(0xe0 | 0x12, 0, 5, 0, 0xffff)] {
        assert_eq!(data(&send(&mut changer, A, &cdb)).len(), 8 + 8 + 5 * 52);
    }
    let mut cdb = move_cdb(SLOT_1, DRIVE_0);
    cdb[1] = 0x60;
    assert_eq!(sense(&send(&mut changer, A, &cdb)), (5, 0x3b, 0x0e));
}

#[test]
fn refused_movements_have_their_sense() {
    let cases = [
        (MoveFault::InvalidElement, (5, 0x21, 0x01)),
        (MoveFault::SourceEmpty, (5, 0x3b, 0x0e)),
        (MoveFault::DestinationFull, (5, 0x3b, 0x0d)),
        (MoveFault::RemovalPrevented, (5, 0x53, 0x02)),
        (MoveFault::IncompatibleMedium, (5, 0x30, 0x00)),
        (MoveFault::EjectFailed, (4, 0x53, 0x00)),
        (MoveFault::LoadFailed, (4, 0x53, 0x00)),
        (MoveFault::CartridgeBusy, (2, 0x04, 0x07)),
        (MoveFault::Hardware, (4, 0x44, 0x00)),
    ];
    let mut changer = changer_with(&[]);
    for (fault, expected) in cases {
        changer.inventory_mut().fault = Some(fault);
        assert_eq!(sense(&send(&mut changer, A, &move_cdb(SLOT_1, DRIVE_0))), expected);
    }
}

#[test]
fn the_picker_neither_gives_nor_takes_and_another_picker_does_not_exist() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8")]);
    assert_eq!(sense(&send(&mut changer, A, &move_cdb(SLOT_1, 1))), (5, 0x21, 0x01));
    let mut cdb = move_cdb(SLOT_1, DRIVE_0);
    cdb[3] = 2;
    assert_eq!(sense(&send(&mut changer, A, &cdb)), (5, 0x21, 0x01));
    cdb[3] = 1;
    assert!(is_good(&send(&mut changer, A, &cdb)));
}

#[test]
fn inverting_a_cartridge_is_refused_at_its_bit() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8")]);
    let mut cdb = move_cdb(SLOT_1, DRIVE_0);
    cdb[10] = 1;
    let reply = send(&mut changer, A, &cdb);
    assert_eq!(reply.sense.unwrap().as_bytes()[12..], [0x24, 0, 0, 0xc8, 0, 10]);
}

#[test]
fn mode_pages_have_the_bytes_that_mtx_and_ch_read() {
    let mut changer = changer_with(&[]);
    let page = data(&send(&mut changer, A, &[0x1a, 0x08, 0x1d, 0, 136, 0]));
    let expected = [
        23, 0, 0, 0, // mode parameter header
        0x1d, 0x12, 0x00, 0x01, 0, 1, // picker
        0x04, 0x00, 0, 5, 0x03, 0x00, 0, 2, 0x01, 0x01, 0, 2, 0, 0, // storage, import/export, drives
    ];
    assert_eq!(page, expected);
    let geometry = data(&send(&mut changer, A, &[0x1a, 0x08, 0x1e, 0, 255, 0]));
    assert_eq!(geometry, [7, 0, 0, 0, 0x1e, 0x02, 0, 0]);
    let capabilities = data(&send(&mut changer, A, &[0x1a, 0x08, 0x1f, 0, 255, 0]));
    assert_eq!(capabilities[4..10], [0x1f, 0x12, 0x0e, 0, 0, 0x0e]);
    assert_eq!(capabilities.len(), 24);
}

#[test]
fn a_library_that_grew_shows_at_once() {
    let mut changer = changer_with(&[]);
    changer.inventory_mut().geometry.slots = 300;
    let page = data(&send(&mut changer, A, &[0x5a, 0x08, 0x1d, 0, 0, 0, 0, 0, 255, 0]));
    assert_eq!(page[8 + 6..8 + 10], [0x04, 0x00, 0x01, 0x2c]);
    let report = data(&send(&mut changer, A, &status_cdb(0x02, 0, 0xffff, 0, 0x00ff_ffff)));
    assert_eq!(report[2..4], [0x01, 0x2c]);
}

#[test]
fn preventing_removal_locks_the_mailslots_until_the_last_nexus_allows_it() {
    let mut changer = changer_with(&[]);
    let open = [0x1b, 0, 0x03, 0x00, 0x00, 0];
    assert!(is_good(&send(&mut changer, A, &open)));
    assert!(is_good(&send(&mut changer, A, &[0x1e, 0, 0, 0, 1, 0])));
    assert!(is_good(&send(&mut changer, B, &[0x1e, 0, 0, 0, 1, 0])));
    assert!(changer.inventory().locked);
    assert_eq!(sense(&send(&mut changer, A, &open)), (5, 0x53, 0x02));
    assert!(is_good(&send(&mut changer, A, &[0x1e, 0, 0, 0, 0, 0])));
    assert!(changer.inventory().locked);
    changer.nexus_closed(B);
    assert!(!changer.inventory().locked);
    assert_eq!(sense(&send(&mut changer, A, &[0x1b, 0, 0x04, 0x00, 0x00, 0])), (5, 0x21, 0x01));
}

#[test]
fn initializing_looks_at_every_element_again() {
    let mut changer = changer_with(&[]);
    for cdb in [&[0x07][..], &[0x37, 0x01, 0x04, 0, 0, 0, 0, 5], &[0xe7, 0, 0, 0]] {
        assert!(is_good(&send(&mut changer, A, cdb)));
    }
    assert_eq!(changer.inventory().stock_takings, 3);
    assert_eq!(sense(&send(&mut changer, A, &[0x37, 0x01, 0x09, 0])), (5, 0x21, 0x01));
}

#[test]
fn an_operator_at_the_mailslot_is_news_for_everybody() {
    let mut changer = changer_with(&[]);
    changer.attention(UnitAttention::ImportExportAccessed, None);
    for nexus in [A, B] {
        assert_eq!(sense(&send(&mut changer, nexus, &[0x00])), (6, 0x28, 0x01));
        assert!(is_good(&send(&mut changer, nexus, &[0x00])));
    }
}

#[test]
fn another_initiators_reservation_stops_movements_but_not_a_look_with_curdata() {
    let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8")]);
    let register = {
        let mut list = [0; 24];
        list[15] = 1;
        list
    };
    assert!(is_good(&send_out(&mut changer, B, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24], &register)));
    let mut reserve = [0; 24];
    reserve[7] = 1;
    assert!(is_good(&send_out(&mut changer, B, &[0x5f, 1, 3, 0, 0, 0, 0, 0, 24], &reserve)));
    assert!(is_conflict(&send(&mut changer, A, &move_cdb(SLOT_1, DRIVE_0))));
    assert!(is_conflict(&send(&mut changer, A, &status_cdb(0x12, 0, 5, 0, 0xffff))));
    assert!(is_good(&send(&mut changer, A, &status_cdb(0x12, 0, 5, 0x02, 0xffff))));
    assert!(changer.is_reserved());
}

#[test]
fn what_a_changer_does_not_have_is_an_unknown_operation_code() {
    let mut changer = changer_with(&[]);
    for opcode in [0x05, 0x08, 0x28, 0xb5, 0xb6, 0xff] {
        assert_eq!(sense(&send(&mut changer, A, &[opcode])), (5, 0x20, 0x00), "{opcode:#x}");
    }
}

/// READ ELEMENT STATUS data as a second reader of the standard would decode them; panics when the layout does not hold together.
#[derive(Debug, PartialEq, Eq)]
struct Report {
    available: usize,
    elements: Vec<Seen>,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    address: u16,
    kind: u8,
    full: bool,
    source: Option<u16>,
    label: Option<String>,
    id: Option<Vec<u8>>,
}

impl Report {
    fn decode(bytes: &[u8]) -> Self {
        let be = |at: usize, n: usize| {
            bytes[at..at + n].iter().fold(0usize, |value, byte| value << 8 | *byte as usize)
        };
        let available = be(5, 3);
        let mut elements = Vec::new();
        let mut at = 8;
        while at < bytes.len() {
            let (kind, tagged) = (bytes[at], bytes[at + 1] & 0x80 != 0);
            assert_eq!(bytes[at + 1] & 0x7f, 0, "no alternate tags");
            let (length, page) = (be(at + 2, 2), be(at + 5, 3));
            assert!(page > 0 && page % length == 0);
            at += 8;
            let end = (at + page).min(bytes.len());
            while at < end {
                elements.push(Seen::decode(&bytes[at..at + length], kind, tagged));
                at += length;
            }
        }
        assert_eq!(at, bytes.len());
        if let Some(first) = elements.first() {
            assert_eq!(be(0, 2), first.address as usize);
        }
        if available + 8 == bytes.len() {
            assert_eq!(be(2, 2), elements.len());
        }
        Self { available, elements }
    }
}

impl Seen {
    fn decode(d: &[u8], kind: u8, tagged: bool) -> Self {
        let word = |at: usize| (d[at] as u16) << 8 | d[at + 1] as u16;
        let tag = tagged.then(|| String::from_utf8(d[12..44].to_vec()).unwrap());
        let id_at = if tagged { 48 } else { 12 };
        let id = (d[id_at + 3] > 0).then(|| d[id_at + 4..id_at + 4 + d[id_at + 3] as usize].to_vec());
        Self {
            address: word(0),
            kind,
            full: d[2] & 1 != 0,
            source: (d[9] & 0x80 != 0).then(|| word(10)),
            label: tag.map(|t| t.trim_matches([' ', '\0']).into()).filter(|t: &String| !t.is_empty()),
            id,
        }
    }
}

/// The obvious library: what is at which address, and where it came from.
type Model = BTreeMap<u16, (String, Option<u16>)>;

fn model_move(model: &mut Model, from: u16, to: u16) -> Result<(), (u8, u8, u8)> {
    let holds = |address: u16| {
        (0x101..0x103).contains(&address)
            || (0x300..0x302).contains(&address)
            || (0x400..0x405).contains(&address)
    };
    if !holds(from) || !holds(to) {
        return Err((5, 0x21, 0x01));
    }
    if !model.contains_key(&from) {
        return Err((5, 0x3b, 0x0e));
    }
    if model.contains_key(&to) {
        return Err((5, 0x3b, 0x0d));
    }
    let (label, _) = model.remove(&from).unwrap();
    model.insert(to, (label, Some(from)));
    Ok(())
}

#[derive(Clone, Debug)]
enum Step {
    Move(u16, u16),
    Look { kind: u8, tags: bool, ids: bool, start: u16, count: u16, allocation: u32 },
}

fn any_address() -> impl Strategy<Value = u16> {
    prop_oneof![8 => 0x400..0x406u16, 4 => 0x101..0x104u16, 3 => 0x300..0x303u16, 1 => any::<u16>()]
}

fn any_step() -> impl Strategy<Value = Step> {
    let look =
        (0..5u8, any::<bool>(), any::<bool>(), prop_oneof![Just(0u16), any_address()], 0..12u16, 0..1000u32);
    prop_oneof![
        (any_address(), any_address()).prop_map(|(from, to)| Step::Move(from, to)),
        look.prop_map(|(kind, tags, ids, start, count, allocation)| Step::Look {
            kind,
            tags,
            ids,
            start,
            count,
            allocation
        }),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn the_changer_does_what_an_obvious_library_does(steps in prop::collection::vec(any_step(), 1..60)) {
        let labels = [(Element::Slot(0), "VTL001L8"), (Element::Slot(1), "VTL002L8"), (Element::Mailslot(0), "CLN001CU")];
        let mut changer = changer_with(&labels);
        let mut model: Model = [(0x400, "VTL001L8"), (0x401, "VTL002L8"), (0x300, "CLN001CU")]
            .into_iter().map(|(address, label)| (address, (label.into(), None))).collect();
        for step in steps {
            match step {
                Step::Move(from, to) => {
                    let reply = send(&mut changer, A, &move_cdb(from, to));
                    match model_move(&mut model, from, to) {
                        Ok(()) => prop_assert!(is_good(&reply)),
                        Err(expected) => prop_assert_eq!(sense(&reply), expected),
                    }
                }
                Step::Look { kind, tags, ids, start, count, allocation } => {
                    let flags = kind | if tags { 0x10 } else { 0 };
                    let reply = send(&mut changer, A, &status_cdb(flags, start, count, u8::from(ids), allocation));
                    if start > last_address(kind) {
                        prop_assert_eq!(sense(&reply), (5, 0x21, 0x01));
                        continue;
                    }
                    let bytes = data(&reply);
                    prop_assert!(bytes.len() <= allocation as usize);
                    if bytes.len() < 8 {
                        continue;
                    }
                    let report = Report::decode(&bytes);
                    prop_assert!(report.available + 8 >= bytes.len());
                    prop_assert!(report.elements.len() <= usize::from(count));
                    for seen in &report.elements {
                        check_seen(&model, seen, tags, ids);
                        prop_assert!(seen.address >= start && (kind == 0 || seen.kind == kind));
                    }
                }
            }
        }
    }

    #[test]
    fn any_command_with_any_data_is_answered(cdb: [u8; 16], list in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut changer = changer_with(&[(Element::Slot(0), "VTL001L8")]);
        for opcode in [cdb[0], 0x5f, 0x5e, 0x15, 0x55, 0xb8, 0x4d, 0x12, 0xa3] {
            let mut cdb = cdb;
            cdb[0] = opcode;
            let reply = send_out(&mut changer, A, &cdb, &list);
            prop_assert_eq!(reply.sense.is_some(), reply.status as u8 == 0x02);
        }
    }
}

fn last_address(kind: u8) -> u16 {
    match kind {
        1 => 0x001,
        3 => 0x301,
        4 => 0x102,
        _ => 0x404,
    }
}

fn check_seen(model: &Model, seen: &Seen, tags: bool, ids: bool) {
    let expected = model.get(&seen.address);
    assert_eq!(seen.full, expected.is_some(), "{seen:?}");
    assert_eq!(seen.source, expected.and_then(|(_, source)| *source), "{seen:?}");
    let label = expected.map(|(label, _)| label.clone()).filter(|_| tags);
    assert_eq!(seen.label, label, "{seen:?}");
    let id = match seen.address {
        0x101 if ids => Some(b"IBM     ULT3580-TD8     1234567890".to_vec()),
        0x102 if ids => Some(b"IBM     ULT3580-TD8     1234567891".to_vec()),
        _ => None,
    };
    assert_eq!(seen.id, id, "{seen:?}");
}
