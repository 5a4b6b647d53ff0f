//! Random operations on the inventory and on the most obvious model of one: a map from label to place.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;
use vtl_meta::{Meta, Tx};
use vtl_types::{Label, Place};

use super::{INSTALLATION, label, make, name, new_library, open};
use crate::*;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Move(Place, Place),
    Exchange(Place, Place, Place),
    Carry(Label, Place),
    Load(Label),
    Create(Label),
    Remove(Label),
    Resize(Counts),
}

/// Few elements and few labels, so that most operations meet each other.
const START: Counts = Counts { drives: 2, slots: 4, mailslots: 1 };
const LABELS: [&str; 8] =
    ["AAA001L8", "AAA002L8", "AAA003L7", "AAA004LY", "AAA005L9", "AAA006L6", "CLN001CU", "AAA007L8"];

#[derive(Clone, Debug)]
pub(super) struct Model {
    counts: Counts,
    places: BTreeMap<Label, Place>,
}

impl Model {
    pub(super) fn start() -> Self {
        let filled = LABELS.iter().take(3).enumerate();
        let places = filled.map(|(at, text)| (label(text), Place::Slot(u16::try_from(at + 1).unwrap())));
        Self { counts: START, places: places.collect() }
    }

    fn has(&self, place: Place) -> bool {
        match place {
            Place::Slot(n) => n >= 1 && n <= self.counts.slots,
            Place::Mailslot(n) => n >= 1 && n <= self.counts.mailslots,
            Place::Drive(n) => n < self.counts.drives,
            Place::Vault => false,
        }
    }

    fn holder(&self, place: Place) -> Option<Label> {
        self.places.iter().find(|(_, at)| **at == place).map(|(label, _)| *label)
    }

    /// An LTO-8 drive: LTO-8 and 7, data and WORM.
    fn fits(label: Label, place: Place) -> bool {
        !matches!(place, Place::Drive(_))
            || ["L8", "LY", "L7", "LX"].iter().any(|id| label.as_str().ends_with(id))
    }

    /// Whether the operation is possible; if so, it is done.
    pub(super) fn apply(&mut self, operation: &Operation) -> bool {
        match operation.clone() {
            Operation::Move(from, to) => self.move_medium(from, to),
            Operation::Exchange(a, b, c) => self.exchange(a, b, c),
            Operation::Carry(label, to) => self.carry(label, to),
            Operation::Load(label) => self.load(label),
            Operation::Create(label) => self.create(label),
            Operation::Remove(label) => self.remove(label),
            Operation::Resize(counts) => self.resize(counts),
        }
    }

    fn move_medium(&mut self, from: Place, to: Place) -> bool {
        let Some(label) = self.holder(from).filter(|_| self.has(from)) else { return false };
        let possible = self.has(to) && self.holder(to).is_none() && Self::fits(label, to);
        if possible {
            self.places.insert(label, to);
        }
        possible
    }

    fn exchange(&mut self, source: Place, first: Place, second: Place) -> bool {
        if ![source, first, second].into_iter().all(|p| self.has(p)) || source == first {
            return false;
        }
        let (Some(incoming), Some(outgoing)) = (self.holder(source), self.holder(first)) else {
            return false;
        };
        let room = second == source || self.holder(second).is_none();
        let possible = room && Self::fits(incoming, first) && Self::fits(outgoing, second);
        if possible {
            self.places.insert(incoming, first);
            self.places.insert(outgoing, second);
        }
        possible
    }

    fn carry(&mut self, label: Label, to: Place) -> bool {
        let Some(from) = self.places.get(&label).copied().filter(|from| *from != Place::Vault) else {
            return false;
        };
        if to != Place::Vault {
            return self.move_medium(from, to);
        }
        self.places.insert(label, Place::Vault);
        true
    }

    fn first_free_slot(&self) -> Option<Place> {
        (1..=self.counts.slots).map(Place::Slot).find(|slot| self.holder(*slot).is_none())
    }

    fn load(&mut self, label: Label) -> bool {
        let vaulted = self.places.get(&label) == Some(&Place::Vault);
        let Some(slot) = self.first_free_slot().filter(|_| vaulted) else { return false };
        self.places.insert(label, slot);
        true
    }

    fn create(&mut self, label: Label) -> bool {
        let new = !self.places.contains_key(&label);
        let Some(slot) = self.first_free_slot().filter(|_| new) else { return false };
        self.places.insert(label, slot);
        true
    }

    fn remove(&mut self, label: Label) -> bool {
        let possible = self.places.get(&label).is_some_and(|place| !matches!(place, Place::Drive(_)));
        possible && self.places.remove(&label).is_some()
    }

    fn resize(&mut self, counts: Counts) -> bool {
        let smaller = Self { counts, places: BTreeMap::new() };
        let possible = self.places.values().all(|place| *place == Place::Vault || smaller.has(*place));
        if possible {
            self.counts = counts;
        }
        possible
    }
}

/// The same with the inventory.
pub(super) fn apply(tx: &mut Tx<'_>, operation: &Operation) -> Result<(), LibraryError> {
    let (lib0, gates) = (name("lib0"), Gates::open());
    match operation.clone() {
        Operation::Move(from, to) => move_medium(tx, &lib0, from, to, Mover::Robot, &gates).map(drop),
        Operation::Exchange(a, b, c) => exchange(tx, &lib0, a, b, c, Mover::Robot, &gates).map(drop),
        Operation::Carry(label, to) => move_label(tx, label, None, to, &gates).map(drop),
        Operation::Load(label) => load_from_vault(tx, label, &lib0, NewPlace::Slot, &gates).map(drop),
        Operation::Create(label) => make(tx, label.as_str(), 1, Some("lib0"), NewPlace::Slot).map(drop),
        Operation::Remove(label) => {
            let going = begin_remove(tx, label)?;
            finish_remove(tx, going.id)
        }
        Operation::Resize(counts) => set_counts(tx, &lib0, counts).map(drop),
    }
}

pub(super) fn begin(folder: &std::path::Path) -> Meta {
    let mut meta = open(folder);
    meta.transaction(|tx| {
        install(tx, INSTALLATION)?;
        create_library(tx, &new_library("lib0", START.drives, START.slots, START.mailslots))?;
        for text in &LABELS[..3] {
            make(tx, text, 1, Some("lib0"), NewPlace::Slot)?;
        }
        Ok::<_, LibraryError>(())
    })
    .unwrap();
    meta
}

pub(super) fn matches(meta: &mut Meta, model: &Model) -> bool {
    let rows = meta.read(cartridges).unwrap();
    let found: BTreeMap<_, _> = rows.iter().map(|c| (c.label, c.place)).collect();
    found.len() == rows.len() && found == model.places
}

/// What holds after every operation, whatever it was.
pub(super) fn assert_sound(meta: &mut Meta) {
    assert_eq!(meta.read(audit).unwrap(), Vec::<String>::new());
    assert_eq!(meta.damaged_rows().unwrap(), []);
    let elements = meta.read(|tx| elements(tx, &name("lib0"))).unwrap();
    let held: Vec<_> = elements.iter().filter_map(|e| e.cartridge.as_ref()).collect();
    assert!(held.iter().all(|c| c.library == Some(name("lib0"))));
    let mut labels: Vec<_> = held.iter().map(|c| c.label).collect();
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), held.len(), "one cartridge in two elements");
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        4 => (1_u16..=5).prop_map(Place::Slot),
        3 => (0_u16..=2).prop_map(Place::Drive),
        2 => (1_u16..=2).prop_map(Place::Mailslot),
    ]
}

fn a_label() -> impl Strategy<Value = Label> {
    prop::sample::select(&LABELS[..]).prop_map(label)
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (place(), place()).prop_map(|(from, to)| Operation::Move(from, to)),
        3 => (place(), place(), place()).prop_map(|(a, b, c)| Operation::Exchange(a, b, c)),
        3 => (a_label(), prop_oneof![place(), Just(Place::Vault)]).prop_map(|(l, to)| Operation::Carry(l, to)),
        2 => a_label().prop_map(Operation::Load),
        2 => a_label().prop_map(Operation::Create),
        1 => a_label().prop_map(Operation::Remove),
        1 => (1_u16..=3, 1_u16..=5, 0_u16..=2)
            .prop_map(|(drives, slots, mailslots)| Operation::Resize(Counts { drives, slots, mailslots })),
    ]
}

/// Longer runs multiply: `VTL_TEST_CASES=100 cargo test -p vtl-library`.
pub(super) fn cases(base: u32) -> u32 {
    std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1).max(1) * base
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_operations_leave_each_cartridge_in_exactly_the_place_of_the_model(
        operations in prop::collection::vec(operation(), 1..60)
    ) {
        let folder = TempDir::new().unwrap();
        let mut meta = begin(folder.path());
        let mut model = Model::start();
        prop_assert!(matches(&mut meta, &model));
        for operation in &operations {
            let possible = model.apply(operation);
            let done = meta.transaction(|tx| apply(tx, operation));
            prop_assert_eq!(done.is_ok(), possible, "{:?}: {:?}", operation, done);
            prop_assert!(matches(&mut meta, &model), "{:?}", operation);
        }
        assert_sound(&mut meta);
        drop(meta);
        prop_assert!(matches(&mut open(folder.path()), &model), "after reopening");
    }
}
