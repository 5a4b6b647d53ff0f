//! Data that a host believes written and that is lost: who is to hear of it.
//!
//! A loss is owed to each initiator port that has written since the last durable point, once to each; a port that comes back with a new
//! session is the same port. While none of them is logged in and nobody has heard of the loss, whoever comes next hears it, as long as the
//! cartridge is in the drive: who uses the next cartridge has lost nothing.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::{command::InitiatorPort, sense::Check};

/// When there are more ports than this, those that are not logged in are forgotten: as many sessions as a server may have.
const MAX_PORTS: usize = 4_096;

/// What is owed, and to whom it would be.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Who has written what is not durable yet.
    writers: BTreeSet<InitiatorPort>,
    /// Who has not heard yet.
    owed: BTreeMap<InitiatorPort, Check>,
    /// Nobody at all has heard yet.
    untold: Option<Check>,
}

impl Losses {
    /// Data of this port waits to be made durable.
    pub(super) fn wrote(&mut self, port: &InitiatorPort) {
        if !self.writers.contains(port) {
            self.writers.insert(port.clone());
        }
    }

    /// Nothing waits any more.
    pub(super) fn settled(&mut self) {
        self.writers.clear();
    }

    /// What the writers have written is lost. `told`: who hears of it by the command that met it.
    pub(super) fn add(
        &mut self,
        check: Check,
        told: Option<&InitiatorPort>,
        is_here: impl Fn(&InitiatorPort) -> bool,
    ) {
        let others = self.writers.iter().filter(|port| Some(*port) != told);
        self.owed.extend(others.map(|port| (port.clone(), check)));
        if told.is_none() {
            self.untold = Some(check);
        }
        if self.owed.len() > MAX_PORTS {
            self.owed.retain(|port, _| is_here(port));
        }
        if self.writers.len() > MAX_PORTS {
            self.writers.retain(|port| is_here(port));
        }
    }

    /// What this port is to hear now.
    pub(super) fn take(
        &mut self,
        port: Option<&InitiatorPort>,
        is_here: impl Fn(&InitiatorPort) -> bool,
    ) -> Option<Check> {
        if let Some(check) = port.and_then(|port| self.owed.remove(port)) {
            self.untold = None;
            return Some(check);
        }
        if self.owed.keys().any(is_here) {
            return None;
        }
        self.untold.take()
    }

    /// The cartridge has left: its losses are owed to those who wrote on it, and to nobody else.
    pub(super) fn cartridge_left(&mut self) {
        self.settled();
        self.untold = None;
    }
}
