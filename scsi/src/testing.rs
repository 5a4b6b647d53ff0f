//! What the tests of all devices share: a place for durable values, commands, bytes of a reply.

use alloc::{collections::BTreeMap, rc::Rc, string::String, vec::Vec};
use bytes::Bytes;
use core::cell::RefCell;

use crate::{
    command::{Cdb, Command, InitiatorPort, Instant, NexusId, Reply},
    persist::{Persist, PersistFault},
    unit::LogicalUnit,
};

/// Durable values in memory; a clone is the same storage after a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    values: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    broken: Rc<RefCell<bool>>,
}

impl Memory {
    pub(crate) fn break_down(&self) {
        *self.broken.borrow_mut() = true;
    }
}

impl Persist for Memory {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.values.borrow().get(key).cloned()
    }

    fn save(&mut self, key: &str, value: &[u8]) -> Result<(), PersistFault> {
        if *self.broken.borrow() {
            return Err(PersistFault);
        }
        if value.is_empty() {
            self.values.borrow_mut().remove(key);
        } else {
            self.values.borrow_mut().insert(key.into(), value.to_vec());
        }
        Ok(())
    }
}

pub(crate) fn port(name: &str) -> InitiatorPort {
    InitiatorPort { name: name.into(), isid: [0x00, 0x02, 0x3d, 0, 0, 1], target_port: 1 }
}

pub(crate) const A: NexusId = NexusId(1);
pub(crate) const B: NexusId = NexusId(2);
pub(crate) const C: NexusId = NexusId(3);

/// Opens the nexuses A, B and C and takes their first unit attention.
pub(crate) fn connect(unit: &mut impl LogicalUnit) {
    for (nexus, name) in [(A, "iqn.2026-11.test:a"), (B, "iqn.2026-11.test:b"), (C, "iqn.2026-11.test:c")] {
        unit.nexus_opened(nexus, &port(name));
        assert_eq!(sense(&send(unit, nexus, &[0x00])), (6, 0x29, 0x00));
    }
}

pub(crate) fn send(unit: &mut impl LogicalUnit, nexus: NexusId, cdb: &[u8]) -> Reply {
    send_out(unit, nexus, cdb, &[])
}

pub(crate) fn send_out(unit: &mut impl LogicalUnit, nexus: NexusId, cdb: &[u8], data: &[u8]) -> Reply {
    // In two pieces, as a socket may bring it.
    let (first, second) = data.split_at(data.len() / 2);
    let data_out = [first, second].into_iter().map(Bytes::copy_from_slice).collect();
    unit.execute(&Command { nexus, from: None, cdb: Cdb::new(cdb), data_out, now: Instant(0) })
}

pub(crate) fn data(reply: &Reply) -> Vec<u8> {
    assert_eq!(reply.status as u8, 0x00, "{reply:?}");
    reply.data_in.concat()
}

/// Sense key, ASC and ASCQ of a CHECK CONDITION.
pub(crate) fn sense(reply: &Reply) -> (u8, u8, u8) {
    assert_eq!(reply.status as u8, 0x02, "{reply:?}");
    let sense = reply.sense.as_ref().expect("CHECK CONDITION has sense data");
    let bytes = sense.as_bytes();
    match bytes[0] & 0x7e {
        0x72 => (bytes[1] & 0x0f, bytes[2], bytes[3]),
        _ => (bytes[2] & 0x0f, bytes[12], bytes[13]),
    }
}

pub(crate) fn is_good(reply: &Reply) -> bool {
    reply.status as u8 == 0x00
}

pub(crate) fn is_conflict(reply: &Reply) -> bool {
    reply.status as u8 == 0x18
}

/// Cases of a property test: `VTL_TEST_CASES` multiplies them.
pub(crate) fn cases(usual: u32) -> proptest::test_runner::Config {
    let factor = std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(1u32);
    proptest::test_runner::Config { cases: usual.saturating_mul(factor), ..Default::default() }
}
