//! The three devices over memory, and commands for them.

use std::collections::BTreeMap;

use bytes::Bytes;
use scsi::changer::Changer;
use scsi::disk::RamDisk;
use scsi::tape::TapeDrive;
use scsi::{
    Cdb, Command, Element, ElementState, Geometry, Host, Identity, InitiatorPort, Instant, Inventory,
    LogicalUnit, MoveFault, NexusId, Occupant, Persist, PersistFault, Personality, Reply,
};

use crate::tape::Tape;

/// Saved values.
#[derive(Default)]
pub struct Memory(BTreeMap<String, Vec<u8>>);

impl Persist for Memory {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.0.get(key).cloned()
    }

    fn save(&mut self, key: &str, value: &[u8]) -> Result<(), PersistFault> {
        self.0.insert(key.into(), value.to_vec());
        Ok(())
    }
}

/// A library in memory: what is where.
#[derive(Default)]
pub struct Shelf(BTreeMap<Element, Occupant>);

const GEOMETRY: Geometry = Geometry { drives: 2, slots: 6, mailslots: 2 };

fn places() -> impl Iterator<Item = Element> {
    let slots = (1..=GEOMETRY.slots).map(Element::Slot);
    let mailslots = (1..=GEOMETRY.mailslots).map(Element::Mailslot);
    slots.chain(mailslots).chain((0..GEOMETRY.drives).map(Element::Drive))
}

impl Shelf {
    fn with_cartridges() -> Self {
        let occupant = |n: u16| Occupant {
            label: format!("FUZ00{n}L8"),
            source: None,
            placed_by_operator: false,
            cleaning: false,
        };
        Self((1..=4).map(|n| (Element::Slot(n), occupant(n))).collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Inventory for Shelf {
    fn geometry(&self) -> Geometry {
        GEOMETRY
    }

    fn elements(&self) -> Vec<ElementState> {
        let state = |element| ElementState {
            element,
            occupant: self.0.get(&element).cloned(),
            accessible: true,
            drive: None,
        };
        std::iter::once(Element::Transport).chain(places()).map(state).collect()
    }

    fn move_medium(&mut self, _by: &Host, from: Element, to: Element) -> Result<(), MoveFault> {
        if places().all(|place| place != to) {
            return Err(MoveFault::InvalidElement);
        }
        if from != to && self.0.contains_key(&to) {
            return Err(MoveFault::DestinationFull);
        }
        let moved = self.0.remove(&from).ok_or(MoveFault::SourceEmpty)?;
        self.0.insert(to, moved);
        Ok(())
    }

    fn exchange(
        &mut self,
        _by: &Host,
        first: Element,
        to: Element,
        second_to: Element,
    ) -> Result<(), MoveFault> {
        if second_to != first && self.0.contains_key(&second_to) {
            return Err(MoveFault::DestinationFull);
        }
        if first == to || !self.0.contains_key(&first) || places().all(|place| place != second_to) {
            return Err(MoveFault::SourceEmpty);
        }
        let second = self.0.remove(&to).ok_or(MoveFault::DestinationFull)?;
        let moved = self.0.remove(&first).ok_or(MoveFault::SourceEmpty)?;
        self.0.insert(to, moved);
        self.0.insert(second_to, second);
        Ok(())
    }

    fn take_stock(&mut self) -> Result<(), MoveFault> {
        Ok(())
    }

    fn lock_mailslots(&mut self, _locked: bool) {}
}

fn identity(name: &str) -> (Personality, Identity) {
    let personality = Personality::named(name).expect("a personality of ours");
    let identity = Identity::new(&personality, "FUZZ000001", 0x0123_4567_89ab);
    (personality, identity)
}

fn connected<U: LogicalUnit>(mut unit: U) -> U {
    for nexus in [1, 2] {
        let port = InitiatorPort {
            name: format!("iqn.2026-11.test.example:h{nexus}"),
            isid: [0x80, 0, 0, 0, 0, nexus],
            target_port: 1,
        };
        unit.nexus_opened(NexusId(nexus.into()), &port);
        run(&mut unit, nexus, &[0; 6], &[]);
    }
    unit
}

pub fn drive() -> TapeDrive<Tape, Memory> {
    let (personality, identity) = identity("ibm-ult3580-td8");
    let profile = personality.drive.unwrap_or_default();
    let mut drive = TapeDrive::new(identity, profile, Memory::default());
    assert!(drive.insert(Tape::default()).is_ok());
    let mut drive = connected(drive);
    run(&mut drive, 1, &[0; 6], &[]);
    drive
}

pub fn changer() -> Changer<Shelf, Memory> {
    let (personality, identity) = identity("ibm-03584l32");
    connected(
        Changer::new(&personality, identity, Shelf::with_cartridges(), Memory::default()).expect("a changer"),
    )
}

pub fn disk() -> RamDisk<Memory> {
    let (_, identity) = identity("vtl-disk");
    connected(RamDisk::new(identity, 1 << 20, Memory::default()))
}

/// Runs a command and holds its reply against what every reply must be.
pub fn run(unit: &mut impl LogicalUnit, nexus: u8, cdb: &[u8], data: &[u8]) -> Reply {
    let command = Command {
        nexus: NexusId(nexus.into()),
        from: None,
        cdb: Cdb::new(cdb),
        data_out: vec![Bytes::copy_from_slice(data)],
        now: Instant(0),
    };
    let reply = unit.execute(&command);
    let status = reply.status as u8;
    assert!([0x00, 0x02, 0x08, 0x18, 0x40].contains(&status), "status {status:02x}");
    assert_eq!(status == 0x02, reply.sense.is_some(), "sense goes with CHECK CONDITION");
    if let Some(sense) = &reply.sense {
        let bytes = sense.as_bytes();
        assert!((8..=252).contains(&bytes.len()) && matches!(bytes[0] & 0x7f, 0x70..=0x73));
    }
    reply
}
