//! An iSCSI target as the daemon knows it: logical units by number, and the nexuses that are open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use scsi::spc::{Identity, missing_unit, report_luns};
use scsi::{InitiatorPort, NexusId, Reset, UnitAttention};

use crate::unit::{Answer, AnswerTo, Failure, TaskKey, UnitFront};

/// A logical unit in a target.
#[derive(Clone)]
pub struct Lun {
    /// Answers INQUIRY without the device.
    pub identity: Identity,
    /// The device's queue.
    pub front: Arc<dyn UnitFront>,
}

/// A target with a name. Units come and go while it runs.
pub struct Target {
    /// iSCSI name.
    pub name: String,
    /// Speaks for the target where no unit is: vendor and product of the absent.
    face: Identity,
    luns: RwLock<BTreeMap<u16, Lun>>,
    nexuses: Mutex<HashMap<NexusId, InitiatorPort>>,
}

impl Target {
    /// A target without units.
    pub fn new(name: String, face: Identity) -> Arc<Self> {
        Arc::new(Self { name, face, luns: RwLock::default(), nexuses: Mutex::default() })
    }

    /// The unit behind `lun`.
    pub fn lun(&self, lun: u16) -> Option<Lun> {
        self.luns.read().unwrap_or_else(PoisonError::into_inner).get(&lun).cloned()
    }

    /// All unit numbers, ascending.
    pub fn lun_numbers(&self) -> Vec<u16> {
        self.luns.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn fronts(&self) -> Vec<Arc<dyn UnitFront>> {
        self.luns.read().unwrap_or_else(PoisonError::into_inner).values().map(|l| l.front.clone()).collect()
    }

    /// Units that do nothing any more.
    pub fn failures(&self) -> Vec<Failure> {
        self.fronts().iter().filter_map(|front| front.failure()).collect()
    }

    /// Adds or replaces a unit; initiators that are logged in hear that the list changed (3Fh/0Eh).
    pub fn add(&self, number: u16, lun: Lun) {
        for (nexus, port) in self.nexuses() {
            lun.front.nexus_opened(nexus, port);
        }
        let others = self.fronts();
        self.luns.write().unwrap_or_else(PoisonError::into_inner).insert(number, lun);
        for front in others {
            front.attention(UnitAttention::ReportedLunsChanged);
        }
    }

    /// Takes a unit out; the others report 3Fh/0Eh.
    pub fn remove(&self, number: u16) -> Option<Lun> {
        let removed = self.luns.write().unwrap_or_else(PoisonError::into_inner).remove(&number)?;
        for front in self.fronts() {
            front.attention(UnitAttention::ReportedLunsChanged);
        }
        Some(removed)
    }

    /// Initiators that are logged in.
    pub fn nexuses(&self) -> Vec<(NexusId, InitiatorPort)> {
        let nexuses = self.nexuses.lock().unwrap_or_else(PoisonError::into_inner);
        nexuses.iter().map(|(nexus, port)| (*nexus, port.clone())).collect()
    }

    /// A session reached full feature phase.
    pub fn open(&self, nexus: NexusId, port: &InitiatorPort) {
        self.nexuses.lock().unwrap_or_else(PoisonError::into_inner).insert(nexus, port.clone());
        for front in self.fronts() {
            front.nexus_opened(nexus, port.clone());
        }
    }

    /// A session is gone.
    pub fn close(&self, nexus: NexusId) {
        self.nexuses.lock().unwrap_or_else(PoisonError::into_inner).remove(&nexus);
        for front in self.fronts() {
            front.nexus_closed(nexus);
        }
    }

    /// TARGET WARM RESET and TARGET COLD RESET.
    pub fn reset(&self, by: NexusId) {
        for front in self.fronts() {
            front.reset(by, Reset::Target);
        }
    }

    /// Runs a command: at once where no device is needed, else in the device's queue.
    pub fn submit(&self, lun: u64, task: TaskKey, command: scsi::Command, answer: &AnswerTo) {
        let unit = decode_lun(lun).and_then(|number| self.lun(number));
        let reply = match (command.cdb.opcode(), unit) {
            (opcode @ INQUIRY, Some(unit)) => {
                let reply = unit.identity.inquiry(&command.cdb);
                unit.front.answered(opcode, &reply);
                reply
            }
            (opcode @ REPORT_LUNS, Some(unit)) => {
                let reply = report_luns(&command.cdb, &self.lun_numbers());
                unit.front.answered(opcode, &reply);
                unit.front.observe(command);
                reply
            }
            (_, Some(unit)) => return unit.front.submit(task, command, answer),
            (_, None) => missing_unit(&command, &self.face, &self.lun_numbers()),
        };
        drop(answer.send(Answer::Done(task, reply)));
    }
}

const INQUIRY: u8 = 0x12;
const REPORT_LUNS: u8 = 0xa0;

/// A unit number from SAM's eight bytes: single-level peripheral (bus 0) and flat space addressing. `None`: a form that we never report.
pub fn decode_lun(lun: u64) -> Option<u16> {
    match lun.to_be_bytes() {
        [0, number, 0, 0, 0, 0, 0, 0] => Some(u16::from(number)),
        [high, low, 0, 0, 0, 0, 0, 0] if high & 0xc0 == 0x40 => Some(u16::from_be_bytes([high & 0x3f, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_small_number_name_the_same_unit() {
        assert_eq!(decode_lun(0x0002_0000_0000_0000), Some(2));
        assert_eq!(decode_lun(0x4002_0000_0000_0000), Some(2));
        assert_eq!(decode_lun(0x4100_0000_0000_0000), Some(256));
    }

    #[test]
    fn other_buses_levels_and_methods_name_no_unit() {
        for lun in
            [0x0100_0000_0000_0000, 0x0001_0001_0000_0000, 0xc100_0000_0000_0000, 0x8000_0000_0000_0000]
        {
            assert_eq!(decode_lun(lun), None, "{lun:x?}");
        }
    }
}
