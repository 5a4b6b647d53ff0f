//! The library from outside: behaviour by behaviour here, random operations in `model`, a killed process in `crash`.

mod crash;
mod model;
mod select;

use std::{collections::BTreeMap, path::Path};

use tempfile::TempDir;
use vtl_meta::{Meta, Module, Tx};
use vtl_types::{
    ByteCount, CartridgeId, ChapAccount, ChapLogin, Generation, Label, LibraryName, Place, Secret,
};

use crate::*;

static MODULES: [Module; 1] = [MODULE];

pub(crate) const INSTALLATION: InstallationId = InstallationId([0x5a; 16]);
const CAPACITY: ByteCount = ByteCount(1 << 30);

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> LibraryName {
    text.parse().unwrap()
}

pub(crate) fn new_library(text: &str, drives: u16, slots: u16, mailslots: u16) -> NewLibrary {
    NewLibrary {
        name: name(text),
        profile: "ibm-03584l32".to_owned(),
        drive_profile: "ibm-ult3580-td8".to_owned(),
        drive_generation: Generation::Lto8,
        counts: Counts { drives, slots, mailslots },
        target: default_target(&name(text)).unwrap(),
    }
}

pub(crate) fn open(folder: &Path) -> Meta {
    Meta::open(&folder.join("inventory.db"), &MODULES).unwrap()
}

/// As many distinct ids as asked, none of them used in this inventory.
pub(crate) fn fresh_ids(tx: &Tx<'_>, count: usize) -> Vec<CartridgeId> {
    let mut ids = (0_u128..).map(|n| CartridgeId(n.to_be_bytes()));
    let mut free = Vec::new();
    while free.len() < count {
        let id = ids.next().unwrap();
        if cartridge_by_id(tx, id).unwrap().is_none() {
            free.push(id);
        }
    }
    free
}

pub(crate) fn make(
    tx: &mut Tx<'_>,
    first: &str,
    count: u32,
    library: Option<&str>,
    place: NewPlace,
) -> Result<Vec<Cartridge>, LibraryError> {
    let new = NewCartridges { first: label(first), count, library: library.map(name), place };
    let ids = fresh_ids(tx, usize::try_from(count).unwrap());
    create_cartridges(tx, &new, &ids, CAPACITY, 1_790_000_000)
}

/// An installation with `lib0`: two drives, six slots, two mailslots, `VTL001L8`.. `VTL003L8` in slots 1 to 3.
struct Desk {
    folder: TempDir,
    meta: Meta,
}

impl Desk {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut meta = open(folder.path());
        meta.transaction(|tx| {
            install(tx, INSTALLATION)?;
            create_library(tx, &new_library("lib0", 2, 6, 2))?;
            make(tx, "VTL001L8", 3, Some("lib0"), NewPlace::Slot)
        })
        .unwrap();
        Self { folder, meta }
    }

    fn run<T>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, LibraryError>,
    ) -> Result<T, LibraryError> {
        self.meta.transaction(work)
    }

    fn host(&mut self, from: Place, to: Place) -> Result<Moved, LibraryError> {
        self.run(|tx| move_medium(tx, &name("lib0"), from, to, Mover::Robot, &Gates::open()))
    }

    fn operator(&mut self, text: &str, to: Place) -> Result<Moved, LibraryError> {
        self.run(|tx| move_label(tx, label(text), None, to, &Gates::open()))
    }

    fn places(&mut self) -> BTreeMap<String, String> {
        let all = self.meta.read(cartridges).unwrap();
        all.iter().map(|c| (c.label.to_string(), c.place.to_string())).collect()
    }

    fn cartridge(&mut self, text: &str) -> Cartridge {
        self.meta.read(|tx| cartridge(tx, label(text))).unwrap()
    }

    fn assert_sound(&mut self) {
        assert_eq!(self.meta.read(audit).unwrap(), Vec::<String>::new());
        assert_eq!(self.meta.damaged_rows().unwrap(), []);
    }
}

fn fault<T: std::fmt::Debug>(result: Result<T, LibraryError>) -> MoveFault {
    match result {
        Err(LibraryError::Move(fault)) => fault,
        other => panic!("expected a move's refusal, got {other:?}"),
    }
}

const SLOT_1: Place = Place::Slot(1);
const SLOT_2: Place = Place::Slot(2);
const SLOT_4: Place = Place::Slot(4);
const DRIVE_0: Place = Place::Drive(0);
const DRIVE_1: Place = Place::Drive(1);
const MAILSLOT_1: Place = Place::Mailslot(1);

#[test]
fn a_host_loads_and_unloads_and_the_source_element_follows() {
    let mut desk = Desk::new();
    let moved = desk.host(SLOT_1, DRIVE_0).unwrap();
    assert_eq!((moved.from, moved.to, moved.cartridge.label), (SLOT_1, DRIVE_0, label("VTL001L8")));
    assert_eq!(moved.cartridge.source, Some(SLOT_1));
    desk.host(DRIVE_0, DRIVE_1).unwrap();
    assert_eq!(desk.cartridge("VTL001L8").source, Some(SLOT_1), "a drive is no storage element");
    desk.host(DRIVE_1, SLOT_4).unwrap();
    assert_eq!(desk.cartridge("VTL001L8").source, Some(SLOT_1));
    desk.host(SLOT_4, MAILSLOT_1).unwrap();
    desk.host(MAILSLOT_1, DRIVE_0).unwrap();
    assert_eq!(desk.cartridge("VTL001L8").source, Some(MAILSLOT_1));
    desk.assert_sound();
}

#[test]
fn each_wrong_move_has_its_own_reason_and_changes_nothing() {
    let mut desk = Desk::new();
    let before = desk.places();
    assert_eq!(fault(desk.host(SLOT_4, DRIVE_0)), MoveFault::SourceEmpty { place: SLOT_4 });
    let full = MoveFault::DestinationFull { place: SLOT_2, holds: label("VTL002L8") };
    assert_eq!(fault(desk.host(SLOT_1, SLOT_2)), full);
    for outside in [Place::Slot(7), Place::Slot(0), Place::Mailslot(3), Place::Drive(2)] {
        assert_eq!(fault(desk.host(SLOT_1, outside)), MoveFault::InvalidElement { place: outside });
        assert_eq!(fault(desk.host(outside, SLOT_4)), MoveFault::InvalidElement { place: outside });
    }
    assert!(matches!(fault(desk.host(SLOT_1, Place::Vault)), MoveFault::NoSuchMove { .. }));
    assert!(matches!(fault(desk.host(Place::Vault, SLOT_4)), MoveFault::NoSuchMove { .. }));
    assert_eq!(desk.places(), before);
}

#[test]
fn a_plan_is_what_the_move_then_does_and_writes_nothing() {
    let mut desk = Desk::new();
    let before = desk.places();
    let lib0 = name("lib0");
    let plan =
        desk.meta.read(|tx| plan_move(tx, &lib0, SLOT_1, DRIVE_0, Mover::Robot, &Gates::open())).unwrap();
    assert_eq!(desk.places(), before);
    assert_eq!(desk.host(SLOT_1, DRIVE_0).unwrap(), plan);
}

#[test]
fn a_mailslot_remembers_who_put_the_cartridge_there() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, MAILSLOT_1).unwrap();
    assert_eq!(desk.cartridge("VTL001L8").placed_by, Some(Mover::Robot));
    desk.operator("VTL002L8", Place::Mailslot(2)).unwrap();
    assert_eq!(desk.cartridge("VTL002L8").placed_by, Some(Mover::Operator));
    desk.host(MAILSLOT_1, SLOT_1).unwrap();
    assert_eq!(desk.cartridge("VTL001L8").placed_by, None);
}

#[test]
fn exchange_moves_two_cartridges_or_none() {
    let mut desk = Desk::new();
    let exchange_at = |desk: &mut Desk, a, b, c| {
        desk.run(|tx| exchange(tx, &name("lib0"), a, b, c, Mover::Robot, &Gates::open()))
    };
    desk.host(SLOT_1, DRIVE_0).unwrap();
    exchange_at(&mut desk, SLOT_2, DRIVE_0, SLOT_1).unwrap();
    let places = desk.places();
    assert_eq!((&*places["VTL002L8"], &*places["VTL001L8"]), ("drive:0", "slot:1"));
    exchange_at(&mut desk, SLOT_1, DRIVE_0, SLOT_1).unwrap();
    let places = desk.places();
    assert_eq!((&*places["VTL001L8"], &*places["VTL002L8"]), ("drive:0", "slot:1"), "a swap");

    let cases = [
        ((SLOT_4, DRIVE_0, SLOT_2), MoveFault::SourceEmpty { place: SLOT_4 }),
        ((SLOT_1, DRIVE_1, SLOT_2), MoveFault::SourceEmpty { place: DRIVE_1 }),
        (
            (SLOT_1, DRIVE_0, Place::Slot(3)),
            MoveFault::DestinationFull { place: Place::Slot(3), holds: label("VTL003L8") },
        ),
        ((SLOT_1, DRIVE_0, Place::Slot(9)), MoveFault::InvalidElement { place: Place::Slot(9) }),
        ((SLOT_1, DRIVE_0, DRIVE_0), MoveFault::DestinationFull { place: DRIVE_0, holds: label("VTL001L8") }),
        ((SLOT_1, SLOT_1, SLOT_1), MoveFault::SourceEmpty { place: SLOT_1 }),
    ];
    let before = desk.places();
    for ((a, b, c), expected) in cases {
        assert_eq!(fault(exchange_at(&mut desk, a, b, c)), expected, "{a} {b} {c}");
    }
    assert_eq!(desk.places(), before);
    desk.assert_sound();
}

#[test]
fn an_exchange_obeys_prevented_removal_at_both_ends() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, DRIVE_0).unwrap();
    let gates = Gates { prevented_drives: [0].into(), ..Gates::open() };
    for (source, first) in [(SLOT_2, DRIVE_0), (DRIVE_0, SLOT_2)] {
        let result = desk.run(|tx| exchange(tx, &name("lib0"), source, first, SLOT_4, Mover::Robot, &gates));
        assert_eq!(fault(result), MoveFault::RemovalPrevented { place: DRIVE_0 });
    }
}

#[test]
fn the_operator_carries_cartridges_to_the_vault_and_into_another_library() {
    let mut desk = Desk::new();
    desk.run(|tx| create_library(tx, &new_library("lib1", 1, 1, 0))).unwrap();
    let lib1 = name("lib1");
    let direct = desk.run(|tx| move_label(tx, label("VTL001L8"), Some(&lib1), SLOT_1, &Gates::open()));
    assert!(matches!(fault(direct), MoveFault::NoSuchMove { .. }), "not from library to library in one step");
    desk.operator("VTL001L8", Place::Vault).unwrap();
    let vaulted = desk.cartridge("VTL001L8");
    assert_eq!((vaulted.library, vaulted.place, vaulted.source), (None, Place::Vault, None));
    assert!(matches!(desk.operator("VTL001L8", SLOT_1), Err(LibraryError::NoLibraryGiven(_))));
    let load = |desk: &mut Desk, text: &str| {
        desk.run(|tx| load_from_vault(tx, label(text), &lib1, NewPlace::Slot, &Gates::open()))
    };
    let loaded = load(&mut desk, "VTL001L8").unwrap();
    assert_eq!((loaded.cartridge.library, loaded.to), (Some(name("lib1")), SLOT_1));
    desk.operator("VTL002L8", Place::Vault).unwrap();
    let error = load(&mut desk, "VTL002L8").unwrap_err();
    assert_eq!(error.to_string(), "library 'lib1' has 0 empty slots, 1 are needed");
    assert_eq!(
        error.advised(),
        "library 'lib1' has 0 empty slots, 1 are needed: \
         add slots (vtl library set lib1 slots=N) or move cartridges to the vault"
    );
    desk.assert_sound();
}

#[test]
fn a_series_of_cartridges_fills_the_first_empty_slots() {
    let mut desk = Desk::new();
    desk.host(SLOT_2, DRIVE_0).unwrap();
    let made = desk.run(|tx| make(tx, "VTL009L8", 2, Some("lib0"), NewPlace::Slot)).unwrap();
    let made: Vec<_> = made.iter().map(|c| (c.label.to_string(), c.place)).collect();
    assert_eq!(made, [("VTL009L8".to_owned(), SLOT_2), ("VTL010L8".to_owned(), SLOT_4)]);
    let vaulted = desk.run(|tx| make(tx, "CLN001CU", 1, None, NewPlace::Vault)).unwrap();
    assert_eq!(vaulted[0].place, Place::Vault);
    let at_door = desk.run(|tx| make(tx, "WRM001LY", 1, Some("lib0"), NewPlace::Mailslot)).unwrap();
    assert_eq!((at_door[0].place, at_door[0].placed_by), (MAILSLOT_1, Some(Mover::Operator)));
    desk.assert_sound();
}

#[test]
fn a_series_that_cannot_be_made_whole_is_not_begun() {
    let mut desk = Desk::new();
    let before = desk.places();
    let mut refusal = |first: &str, count: u32, library: Option<&str>| {
        desk.run(|tx| make(tx, first, count, library, NewPlace::Slot)).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("VTL000L8", 3, Some("lib0")),
        "label 'VTL001L8' is in use: labels are unique over all libraries and the vault"
    );
    assert_eq!(refusal("NEW998L8", 3, Some("lib0")), "a series from 'NEW998L8' has 2 labels, 3 were asked");
    assert!(refusal("NEWABCL8", 2, Some("lib0")).contains("has 1 labels"));
    assert!(refusal("NEW001L8", 4, Some("lib0")).contains("has 3 empty slots, 4 are needed"));
    assert!(refusal("NEW001L8", 0, Some("lib0")).contains("1 to 65536"));
    assert_eq!(refusal("NEW001L8", 1, None), "cartridge 'NEW001L8' needs a library to go to");
    assert!(refusal("NEW001L8", 1, Some("lib7")).contains("no library 'lib7'"));
    assert_eq!(desk.places(), before);
}

#[test]
fn an_id_is_never_given_twice() {
    let mut desk = Desk::new();
    let used = desk.cartridge("VTL001L8").id;
    let new = NewCartridges { first: label("NEW001L8"), count: 1, library: None, place: NewPlace::Vault };
    for ids in [vec![used], vec![], vec![CartridgeId([9; 16]), CartridgeId([8; 16])]] {
        let result = desk.run(|tx| create_cartridges(tx, &new, &ids, CAPACITY, 0));
        assert!(matches!(result, Err(LibraryError::Ids)), "{ids:?}");
    }
}

#[test]
fn a_removal_has_two_halves_and_a_crash_between_them_is_found() {
    let mut desk = Desk::new();
    desk.host(SLOT_2, DRIVE_0).unwrap();
    let loaded = desk.run(|tx| begin_remove(tx, label("VTL002L8"))).unwrap_err();
    assert_eq!(loaded.to_string(), "cartridge 'VTL002L8' is in drive:0");
    let id = desk.cartridge("VTL001L8").id;
    assert!(matches!(desk.run(|tx| finish_remove(tx, id)), Err(LibraryError::NotRemoving(_))));

    desk.run(|tx| begin_remove(tx, label("VTL001L8"))).unwrap();
    let elements = desk.meta.read(|tx| elements(tx, &name("lib0"))).unwrap();
    assert!(elements.iter().all(|e| e.cartridge.as_ref().is_none_or(|c| c.id != id)), "hosts see it no more");
    assert!(matches!(fault(desk.operator("VTL001L8", Place::Vault)), MoveFault::Reserved { .. }));
    assert!(desk.run(|tx| set_write_protect(tx, label("VTL001L8"), true)).is_err());
    assert!(matches!(
        desk.run(|tx| make(tx, "VTL001L8", 1, None, NewPlace::Vault)),
        Err(LibraryError::LabelTaken(_))
    ));

    let stored: Vec<_> = desk.meta.read(cartridges).unwrap().iter().map(|c| c.id).collect();
    let halves = desk.meta.read(|tx| reconcile(tx, &stored)).unwrap();
    assert_eq!(halves.to_finish.iter().map(|c| c.id).collect::<Vec<_>>(), [id]);
    desk.run(|tx| finish_remove(tx, id)).unwrap();
    desk.run(|tx| finish_remove(tx, id)).unwrap(); // a replay is harmless
    desk.run(|tx| make(tx, "VTL001L8", 1, None, NewPlace::Vault)).unwrap(); // the label is free
    desk.assert_sound();
}

#[test]
fn the_label_of_a_cartridge_that_is_gone_counts_as_used_for_ever() {
    let mut desk = Desk::new();
    let here: Vec<Label> = desk.meta.read(cartridges).unwrap().iter().map(|c| c.label).collect();
    assert_eq!(desk.meta.read(used_labels).unwrap().into_iter().collect::<Vec<_>>(), here);
    let remove = |desk: &mut Desk| {
        let id = desk.run(|tx| begin_remove(tx, label("VTL001L8"))).unwrap().id;
        desk.run(|tx| finish_remove(tx, id)).unwrap();
    };
    remove(&mut desk);
    assert!(desk.meta.read(used_labels).unwrap().contains(&label("VTL001L8")));
    // Somebody who names it may have it again, and remove it again.
    desk.run(|tx| make(tx, "VTL001L8", 1, None, NewPlace::Vault)).unwrap();
    remove(&mut desk);
    assert_eq!(desk.meta.read(used_labels).unwrap().into_iter().collect::<Vec<_>>(), here);
    desk.assert_sound();
}

#[test]
fn a_removal_that_was_taken_back_leaves_the_cartridge_in_the_vault() {
    let mut desk = Desk::new();
    let before = desk.cartridge("VTL001L8");
    let refused = desk.run(|tx| cancel_remove(tx, label("VTL001L8")));
    assert!(matches!(refused, Err(LibraryError::NotRemoving(_))));
    desk.run(|tx| begin_remove(tx, label("VTL001L8"))).unwrap();
    let kept = desk.run(|tx| cancel_remove(tx, label("VTL001L8"))).unwrap();
    assert_eq!((kept.id, kept.place, kept.state), (before.id, Place::Vault, CartridgeState::Normal));
    desk.run(|tx| load_from_vault(tx, label("VTL001L8"), &name("lib0"), NewPlace::Slot, &Gates::open()))
        .unwrap();
    desk.assert_sound();
}

#[test]
fn start_up_tells_interrupted_creations_from_lost_data() {
    let mut desk = Desk::new();
    let [first, second, third] = ["VTL001L8", "VTL002L8", "VTL003L8"].map(|text| desk.cartridge(text).id);
    let newborn = CartridgeId([0xee; 16]);
    let found = desk.meta.read(|tx| reconcile(tx, &[newborn, second, third])).unwrap();
    assert_eq!(found.unlisted, [newborn]);
    assert_eq!(found.missing.iter().map(|c| c.id).collect::<Vec<_>>(), [first]);
    assert_eq!(found.to_finish, []);
}

#[test]
fn drives_keep_number_lun_and_serial_while_others_come_and_go() {
    let mut desk = Desk::new();
    let serials = |library: &Library| -> Vec<String> {
        library.drives.iter().map(|d| d.identity.serial.clone()).collect()
    };
    let counts = |drives, slots, mailslots| Counts { drives, slots, mailslots };
    let before = desk.meta.read(|tx| library(tx, &name("lib0"))).unwrap();
    let four = desk.run(|tx| set_counts(tx, &name("lib0"), counts(4, 9, 2))).unwrap();
    assert_eq!(serials(&four)[..2], serials(&before));
    assert_eq!(
        four.drives.iter().map(|d| (d.number, d.lun)).collect::<Vec<_>>(),
        [(0, 1), (1, 2), (2, 3), (3, 4)]
    );
    desk.run(|tx| set_counts(tx, &name("lib0"), counts(2, 9, 2))).unwrap();
    let again = desk.run(|tx| set_counts(tx, &name("lib0"), counts(4, 9, 2))).unwrap();
    let (old, new) = (serials(&four), serials(&again));
    assert_eq!(old[..2], new[..2]);
    assert!(old[2..].iter().all(|serial| !new.contains(serial)), "a serial number is never given again");
    assert_eq!(desk.meta.read(|tx| library(tx, &name("lib0"))).unwrap(), again);
}

#[test]
fn serials_differ_over_all_libraries_and_survive_removal_of_one() {
    let mut desk = Desk::new();
    desk.run(|tx| create_library(tx, &new_library("lib1", 2, 1, 0))).unwrap();
    let gone = desk.meta.read(|tx| library(tx, &name("lib1"))).unwrap();
    desk.run(|tx| remove_library(tx, &name("lib1"))).unwrap();
    let back = desk.run(|tx| create_library(tx, &new_library("lib1", 2, 1, 0))).unwrap();
    let identities = |l: &Library| -> Vec<Identity> {
        l.drives.iter().map(|d| d.identity.clone()).chain([l.identity.clone()]).collect()
    };
    let first = desk.meta.read(|tx| library(tx, &name("lib0"))).unwrap();
    let mut all = [identities(&gone), identities(&back), identities(&first)].concat();
    let total = all.len();
    all.sort_by_key(|i| i.serial.clone());
    all.dedup_by_key(|i| i.serial.clone());
    assert_eq!((all.len(), total), (9, 9));
}

#[test]
fn shrinking_is_refused_while_elements_hold_cartridges_and_names_them() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, DRIVE_1).unwrap();
    desk.host(SLOT_2, Place::Mailslot(2)).unwrap();
    let error = desk
        .run(|tx| set_counts(tx, &name("lib0"), Counts { drives: 1, slots: 2, mailslots: 1 }))
        .unwrap_err();
    let text = error.to_string();
    for holder in ["slot:3 (VTL003L8)", "drive:1 (VTL001L8)", "mailslot:2 (VTL002L8)"] {
        assert!(text.contains(holder), "{text}");
    }
    let error = desk
        .run(|tx| set_counts(tx, &name("lib0"), Counts { drives: 0, slots: 6, mailslots: 2 }))
        .unwrap_err();
    assert_eq!(error.to_string(), "drives=0 is not possible: 1 to 255");
}

#[test]
fn a_source_element_that_is_gone_is_not_reported() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, Place::Slot(6)).unwrap();
    desk.host(Place::Slot(6), DRIVE_0).unwrap();
    desk.run(|tx| set_counts(tx, &name("lib0"), Counts { drives: 2, slots: 5, mailslots: 2 })).unwrap();
    let elements = desk.meta.read(|tx| elements(tx, &name("lib0"))).unwrap();
    let drive = elements.iter().find(|e| e.place == DRIVE_0).unwrap();
    assert_eq!(drive.cartridge.as_ref().unwrap().source, None);
}

#[test]
fn the_snapshot_has_every_element_once_in_order() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, DRIVE_1).unwrap();
    let elements = desk.meta.read(|tx| elements(tx, &name("lib0"))).unwrap();
    let shown: Vec<_> = elements
        .iter()
        .map(|e| {
            format!("{} {}", e.place, e.cartridge.as_ref().map_or("-".to_owned(), |c| c.label.to_string()))
        })
        .collect();
    let expected = [
        "slot:1 -",
        "slot:2 VTL002L8",
        "slot:3 VTL003L8",
        "slot:4 -",
        "slot:5 -",
        "slot:6 -",
        "mailslot:1 -",
        "mailslot:2 -",
        "drive:0 -",
        "drive:1 VTL001L8",
    ];
    assert_eq!(shown, expected);
    assert_eq!(elements[9].drive.as_ref().map(|d| d.lun), Some(2));
    assert!(elements[..8].iter().all(|e| e.drive.is_none()));
}

#[test]
fn a_library_is_removed_only_when_it_is_empty_and_leaves_nothing() {
    let mut desk = Desk::new();
    let error = desk.run(|tx| remove_library(tx, &name("lib0"))).unwrap_err().to_string();
    assert!(error.contains("3 cartridges (VTL001L8, VTL002L8, VTL003L8)"), "{error}");
    let iqn = default_target(&name("lib0")).unwrap();
    let account = account(b"a-secret-of-ours");
    desk.run(|tx| set_chap(tx, &iqn, &KeptChap::from(&account))).unwrap();
    desk.run(|tx| add_initiator(tx, &iqn, &"iqn.2000-01.com.example:a".parse().unwrap())).unwrap();
    desk.run(|tx| set_setting(tx, &name("lib0"), "migrate.remote", Some("east"))).unwrap();
    for text in ["VTL001L8", "VTL002L8", "VTL003L8"] {
        desk.operator(text, Place::Vault).unwrap();
    }
    desk.run(|tx| remove_library(tx, &name("lib0"))).unwrap();
    assert_eq!(desk.meta.read(libraries).unwrap(), []);
    assert_eq!(desk.meta.read(targets).unwrap(), []);
    desk.run(|tx| create_library(tx, &new_library("lib0", 1, 1, 0))).unwrap();
    assert!(desk.meta.read(|tx| chap(tx, &iqn)).unwrap().is_none(), "the new library has no old account");
    assert_eq!(desk.meta.read(|tx| settings(tx, &name("lib0"))).unwrap(), []);
}

#[test]
fn names_and_targets_are_given_once() {
    let mut desk = Desk::new();
    let twice = desk.run(|tx| create_library(tx, &new_library("lib0", 1, 1, 0))).unwrap_err();
    assert_eq!(twice.to_string(), "library 'lib0' exists");
    let stolen =
        NewLibrary { target: default_target(&name("lib0")).unwrap(), ..new_library("lib1", 1, 1, 0) };
    assert!(matches!(desk.run(|tx| create_library(tx, &stolen)), Err(LibraryError::TargetExists(_))));
    assert_eq!(desk.meta.read(libraries).unwrap().len(), 1, "the refused library left nothing");
    let unknown = desk.meta.read(|tx| library(tx, &name("lib9"))).unwrap_err();
    assert_eq!(unknown.to_string(), "no library 'lib9'");
    assert_eq!(unknown.remedy().as_deref(), Some("vtl library ls shows those that there are"));
}

#[test]
fn another_installations_inventory_is_refused() {
    let mut desk = Desk::new();
    assert!(desk.run(|tx| install(tx, INSTALLATION)).is_ok());
    let other = desk.run(|tx| install(tx, InstallationId([1; 16])));
    assert!(matches!(other, Err(LibraryError::OtherInstallation)));
    let empty = TempDir::new().unwrap();
    let early = open(empty.path()).transaction(|tx| create_library(tx, &new_library("lib0", 1, 1, 0)));
    assert!(matches!(early, Err(LibraryError::NotInstalled)));
}

#[test]
fn settings_are_kept_changed_and_removed() {
    let mut desk = Desk::new();
    let lib0 = name("lib0");
    desk.run(|tx| set_setting(tx, &lib0, "migrate.remote", Some("east"))).unwrap();
    desk.run(|tx| set_setting(tx, &lib0, "targets", Some("one"))).unwrap();
    desk.run(|tx| set_setting(tx, &lib0, "migrate.remote", Some("west"))).unwrap();
    let kept = desk.meta.read(|tx| settings(tx, &lib0)).unwrap();
    assert_eq!(
        kept,
        [("migrate.remote", "west"), ("targets", "one")].map(|(k, v)| (k.to_owned(), v.to_owned()))
    );
    desk.run(|tx| set_setting(tx, &lib0, "targets", None)).unwrap();
    assert_eq!(desk.meta.read(|tx| settings(tx, &lib0)).unwrap().len(), 1);
    for key in ["", "a..b", "A", "a b", "ä", ".a"] {
        let refused = desk.run(|tx| set_setting(tx, &lib0, key, Some("x")));
        assert!(matches!(refused, Err(LibraryError::Setting { .. })), "{key}");
    }
}

fn account(secret: &[u8]) -> ChapAccount {
    let login = |user: &str, secret: &[u8]| ChapLogin::new(user, Secret::new(secret.to_vec())).unwrap();
    ChapAccount::new(login("op", secret), Some(login("vtl", b"another-secret"))).unwrap()
}

#[test]
fn accounts_and_lists_are_kept_by_target() {
    let mut desk = Desk::new();
    let iqn = desk.meta.read(|tx| targets_of(tx, &name("lib0"))).unwrap().main;
    assert_eq!(iqn.as_str(), "iqn.2026-11.internal.vtl:lib0");
    assert!(desk.meta.read(|tx| chap(tx, &iqn)).unwrap().is_none());
    for secret in [b"the-first-secret", b"the-other-secret"] {
        desk.run(|tx| set_chap(tx, &iqn, &KeptChap::from(&account(secret)))).unwrap();
        let kept = desk.meta.read(|tx| chap(tx, &iqn)).unwrap().unwrap();
        assert!(!format!("{kept:?}").contains("secret-"));
        let all = desk.meta.read(all_chap).unwrap();
        assert_eq!((all.len(), &all[0].0), (1, &iqn));
        let kept = kept.account().unwrap();
        assert_eq!((kept.login().user(), kept.login().secret().expose()), ("op", secret.as_slice()));
        assert_eq!(kept.mutual().unwrap().secret().expose(), b"another-secret");
        assert!(!format!("{kept:?}").contains("secret-"));
    }
    assert!(desk.run(|tx| clear_chap(tx, &iqn)).unwrap());
    assert!(!desk.run(|tx| clear_chap(tx, &iqn)).unwrap());

    let host: vtl_types::IscsiName = "iqn.2000-01.com.example:A".parse().unwrap();
    desk.run(|tx| add_initiator(tx, &iqn, &host)).unwrap();
    desk.run(|tx| add_initiator(tx, &iqn, &host)).unwrap();
    assert_eq!(desk.meta.read(|tx| initiators(tx, &iqn)).unwrap(), std::slice::from_ref(&host));
    assert!(desk.run(|tx| remove_initiator(tx, &iqn, &host)).unwrap());
    assert!(!desk.run(|tx| remove_initiator(tx, &iqn, &host)).unwrap());
    let unknown = default_target(&name("lib9")).unwrap();
    assert!(matches!(desk.run(|tx| add_initiator(tx, &unknown, &host)), Err(LibraryError::UnknownTarget(_))));
}

#[test]
fn drives_get_targets_of_their_own_and_lose_them_with_the_drive_or_the_layout() {
    let mut desk = Desk::new();
    let lib0 = name("lib0");
    let names = |desk: &mut Desk| {
        let all = desk.meta.read(targets).unwrap();
        all.into_iter().map(|target| (target.iqn.to_string(), target.drive)).collect::<Vec<_>>()
    };
    let main = ("iqn.2026-11.internal.vtl:lib0".to_owned(), None);
    let of = |drive: u16| (format!("iqn.2026-11.internal.vtl:lib0:drive-{drive}"), Some(drive));
    assert_eq!(names(&mut desk), std::slice::from_ref(&main));
    for _ in 0..2 {
        desk.run(|tx| set_layout(tx, &lib0, Layout::PerDevice)).unwrap();
        assert_eq!(names(&mut desk), [main.clone(), of(0), of(1)]);
    }
    let counts = |drives| Counts { drives, slots: 6, mailslots: 2 };
    desk.run(|tx| set_counts(tx, &lib0, counts(3))).unwrap();
    assert_eq!(names(&mut desk), [main.clone(), of(0), of(1), of(2)]);
    desk.run(|tx| set_counts(tx, &lib0, counts(1))).unwrap();
    assert_eq!(names(&mut desk), [main.clone(), of(0)]);
    assert_eq!(desk.meta.read(|tx| targets_of(tx, &lib0)).unwrap().layout(), Layout::PerDevice);
    desk.run(|tx| set_layout(tx, &lib0, Layout::One)).unwrap();
    desk.run(|tx| set_counts(tx, &lib0, counts(2))).unwrap();
    assert_eq!(names(&mut desk), [main]);
}

#[test]
fn the_write_protect_tab_is_kept() {
    let mut desk = Desk::new();
    desk.run(|tx| set_write_protect(tx, label("VTL001L8"), true)).unwrap();
    assert!(desk.cartridge("VTL001L8").write_protected);
    desk.host(SLOT_1, DRIVE_0).unwrap();
    assert!(desk.cartridge("VTL001L8").write_protected);
}

#[test]
fn a_damaged_cartridge_is_named_and_the_others_still_move() {
    let mut desk = Desk::new();
    let by_hand = rusqlite::Connection::open(desk.folder.path().join("inventory.db")).unwrap();
    by_hand.execute_batch("UPDATE cartridges SET number = 5 WHERE label = 'VTL002L8'").unwrap();
    let id = CartridgeId(1_u128.to_be_bytes()); // the second of the series
    let named = desk.meta.damaged_rows().unwrap();
    assert_eq!(named.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("cartridges [id={id}]")]);
    let error = desk.host(Place::Slot(5), DRIVE_0).unwrap_err();
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    assert!(error.remedy().unwrap().contains("move inventory.db* of the state folder away"), "{error:?}");
    assert!(desk.host(SLOT_1, DRIVE_0).is_ok());
}

#[test]
fn the_tables_refuse_what_the_code_would_never_write() {
    let desk = Desk::new();
    let by_hand = rusqlite::Connection::open(desk.folder.path().join("inventory.db")).unwrap();
    for (why, change) in [
        ("two cartridges in one slot", "number = 2 WHERE number = 1"),
        ("a place outside any library", "library = NULL WHERE number = 1"),
        ("the vault with a number", "place = 'vault' WHERE number = 1"),
        ("a place of no kind", "place = 'shelf' WHERE number = 1"),
        ("a removal outside the vault", "state = 'removing' WHERE number = 1"),
        ("a mailslot that nobody filled", "place = 'mailslot' WHERE number = 1"),
        ("a label twice", "label = 'VTL001L8' WHERE number = 2"),
    ] {
        assert!(by_hand.execute_batch(&format!("UPDATE cartridges SET {change}")).is_err(), "{why}");
    }
}

#[test]
fn an_audit_finds_a_cartridge_in_an_element_that_is_not_there() {
    let mut desk = Desk::new();
    desk.meta
        .transaction(|tx| {
            let mut lost = cartridge(tx, label("VTL003L8"))?;
            lost.place = Place::Slot(77);
            cartridge::update(tx, &lost)
        })
        .unwrap();
    let findings = desk.meta.read(audit).unwrap();
    assert_eq!(findings, ["'VTL003L8' is in slot:77, which library 'lib0' has not"]);
}

fn head(id: u8, text: &str, hint: Option<(&str, Place)>) -> Head {
    Head {
        id: CartridgeId([id; 16]),
        label: label(text),
        capacity: CAPACITY,
        write_protected: id == 0xa1,
        created_s: i64::from(id),
        hint: hint.map(|(library, place)| (name(library), place)),
    }
}

#[test]
fn an_inventory_made_again_from_heads_is_the_same_inventory() {
    let mut desk = Desk::new();
    desk.host(SLOT_1, DRIVE_0).unwrap();
    desk.operator("VTL003L8", Place::Vault).unwrap();
    let before = desk.meta.read(cartridges).unwrap();
    let heads: Vec<_> = before
        .iter()
        .map(|c| Head {
            id: c.id,
            label: c.label,
            capacity: c.capacity,
            write_protected: c.write_protected,
            created_s: c.created_s,
            hint: c.library.clone().map(|library| (library, c.place)),
        })
        .collect();
    let folder = TempDir::new().unwrap();
    let mut meta = open(folder.path());
    let (plan, done, after) = meta
        .transaction(|tx| {
            install(tx, INSTALLATION)?;
            create_library(tx, &new_library("lib0", 2, 6, 2))?;
            let plan = plan_rebuild(tx, &heads)?;
            let done = rebuild(tx, &heads)?;
            Ok::<_, LibraryError>((plan, done, cartridges(tx)?))
        })
        .unwrap();
    assert_eq!(plan, done, "what was printed is what was done");
    let bare = |all: Vec<Cartridge>| -> Vec<_> {
        all.into_iter().map(|c| (c.id, c.label, c.library, c.place, c.capacity)).collect()
    };
    assert_eq!(bare(after), bare(before));
    let again = meta.transaction(|tx| rebuild(tx, &heads)).unwrap();
    assert!(again.iter().all(|p| p.verdict == Verdict::Listed), "doing it again changes nothing");
}

#[test]
fn a_rebuild_puts_what_clashes_into_the_vault_and_says_why() {
    let mut desk = Desk::new();
    let heads = [
        head(0xa1, "NEW001L8", Some(("lib0", SLOT_4))),
        head(0xa2, "NEW002L8", Some(("lib0", SLOT_4))),
        head(0xa3, "NEW003L8", Some(("lib0", SLOT_1))),
        head(0xa4, "NEW004L8", Some(("lib9", SLOT_1))),
        head(0xa5, "NEW005L8", Some(("lib0", Place::Slot(99)))),
        head(0xa6, "NEW006L8", None),
        head(0xa7, "VTL001L8", Some(("lib0", Place::Slot(5)))),
        head(0xa8, "NEW001L8", Some(("lib0", Place::Slot(6)))),
    ];
    let done = desk.run(|tx| rebuild(tx, &heads)).unwrap();
    let verdicts: Vec<_> = done.iter().map(|p| (p.head.id.0[0], p.place, p.verdict.clone())).collect();
    let expected = [
        (0xa1, SLOT_4, Verdict::AsHinted),
        (0xa8, Place::Vault, Verdict::LabelTaken { by: CartridgeId([0xa1; 16]) }),
        (0xa2, Place::Vault, Verdict::ElementTaken { place: SLOT_4, by: label("NEW001L8") }),
        (0xa3, Place::Vault, Verdict::ElementTaken { place: SLOT_1, by: label("VTL001L8") }),
        (0xa4, Place::Vault, Verdict::NoLibrary(name("lib9"))),
        (0xa5, Place::Vault, Verdict::NoElement(Place::Slot(99))),
        (0xa6, Place::Vault, Verdict::NoHint),
        (0xa7, Place::Vault, Verdict::LabelTaken { by: CartridgeId(0_u128.to_be_bytes()) }),
    ];
    assert_eq!(verdicts, expected);
    assert!(desk.cartridge("NEW001L8").write_protected);
    assert_eq!(desk.places().len(), 3 + 6, "all but the two clashing labels are listed");
    desk.assert_sound();
}

#[test]
fn the_format_text_has_every_column_of_every_table() {
    let page = include_str!("../../../../docs/formats/inventory.md");
    for table in MODULE.tables {
        assert!(page.contains(&format!("| `{}` |", table.name)), "{}", table.name);
        for column in table.columns {
            assert!(page.contains(&format!("`{column}`")), "{} {column}", table.name);
        }
    }
}

#[test]
fn the_largest_library_is_made_filled_and_shown() {
    let mut desk = Desk::new();
    let name = name("big");
    desk.run(|tx| create_library(tx, &new_library("big", MAX_DRIVES, MAX_SLOTS, MAX_MAILSLOTS))).unwrap();
    desk.run(|tx| make(tx, "BIG000L8", 1000, Some("big"), NewPlace::Slot)).unwrap();
    let elements = desk.meta.read(|tx| elements(tx, &name)).unwrap();
    assert_eq!(elements.len(), 60_000 + 255 + 255);
    assert_eq!(elements.iter().filter(|e| e.cartridge.is_some()).count(), 1000);
    let last = desk.run(|tx| {
        move_medium(tx, &name, SLOT_1, Place::Slot(60_000), Mover::Robot, &Gates::open())?;
        move_medium(tx, &name, Place::Slot(60_000), Place::Drive(254), Mover::Robot, &Gates::open())
    });
    assert_eq!(last.unwrap().to, Place::Drive(254));
}

#[test]
fn a_copy_of_the_inventory_is_an_inventory() {
    let mut desk = Desk::new();
    let folder = TempDir::new().unwrap();
    desk.meta.copy_to(&folder.path().join("inventory.db")).unwrap();
    let copied = open(folder.path()).read(cartridges).unwrap();
    assert_eq!(copied, desk.meta.read(cartridges).unwrap());
}
