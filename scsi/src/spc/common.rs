//! What every device holds: who is connected, what they have not heard of, reservations, mode pages, prevention of removal.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use super::{
    attention::Attentions, identity::Identity, mode::ModePage, mode::ModePages, registry::Registry,
    timestamp::Clock,
};
use crate::{
    command::{InitiatorPort, NexusId},
    persist::Persist,
    sense::SenseFormat,
    unit::{Reset, UnitAttention},
};

const CONTROL_PAGE: u8 = 0x0a;
const D_SENSE: u8 = 0x04;

/// A nexus that is open.
#[derive(Clone, Debug)]
struct Nexus {
    port: InitiatorPort,
    attentions: Attentions,
}

/// State that the engine keeps for a device; embedded in each of them.
///
/// Invariants: `reserved_by` and every member of `prevented_by` are open nexuses.
#[derive(Debug)]
pub struct Common<P> {
    identity: Identity,
    persist: P,
    nexuses: BTreeMap<NexusId, Nexus>,
    reserved_by: Option<NexusId>,
    prevented_by: BTreeSet<NexusId>,
    pub(super) registry: Registry,
    modes: ModePages,
    luns: Vec<u16>,
    /// Whose commands PREEMPT AND ABORT has ended, until the owner asks.
    aborted: Vec<NexusId>,
    pub(super) clock: Clock,
}

impl<P: Persist> Common<P> {
    /// A device as after power on: saved mode pages and reservations with APTPL are back, everything else is as manufactured.
    #[must_use]
    pub fn new(identity: Identity, pages: Vec<ModePage>, persist: P) -> Self {
        let registry = Registry::load(&persist);
        let modes = ModePages::load(pages, &persist);
        Self {
            identity,
            persist,
            nexuses: BTreeMap::new(),
            reserved_by: None,
            prevented_by: BTreeSet::new(),
            registry,
            modes,
            luns: alloc::vec![0],
            aborted: Vec::new(),
            clock: Clock::default(),
        }
    }

    /// Who we are.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Mode pages.
    #[must_use]
    pub const fn modes(&self) -> &ModePages {
        &self.modes
    }

    /// Mode pages, to change.
    pub const fn modes_mut(&mut self) -> &mut ModePages {
        &mut self.modes
    }

    pub(super) const fn modes_and_persist(&mut self) -> (&mut ModePages, &mut P) {
        (&mut self.modes, &mut self.persist)
    }

    pub(super) const fn registry_and_persist(&mut self) -> (&mut Registry, &mut P) {
        (&mut self.registry, &mut self.persist)
    }

    /// The logical units of the target, for REPORT LUNS; only LUN 0 until the owner says otherwise.
    #[must_use]
    pub fn luns(&self) -> &[u16] {
        &self.luns
    }

    /// The owner added or removed a unit; it raises 3F/0E itself where the standard wants it.
    pub fn set_luns(&mut self, luns: Vec<u16>) {
        self.luns = luns;
    }

    /// The format of sense data: D_SENSE of the control mode page.
    #[must_use]
    pub fn sense_format(&self) -> SenseFormat {
        let descriptor = self.modes.byte(CONTROL_PAGE, 0, 2) & D_SENSE != 0;
        if descriptor { SenseFormat::Descriptor } else { SenseFormat::Fixed }
    }

    /// The initiator port behind an open nexus.
    #[must_use]
    pub fn port(&self, nexus: NexusId) -> Option<&InitiatorPort> {
        self.nexuses.get(&nexus).map(|open| &open.port)
    }

    /// Whether a nexus of this port is open.
    pub(crate) fn is_connected(&self, port: &InitiatorPort) -> bool {
        self.nexuses.values().any(|open| open.port == *port)
    }

    /// A nexus begins. It owes nothing to the past but the news that there was a reset (29/00).
    pub fn nexus_opened(&mut self, nexus: NexusId, port: &InitiatorPort) {
        let mut attentions = Attentions::default();
        attentions.push(UnitAttention::PowerOn);
        self.nexuses.insert(nexus, Nexus { port: port.clone(), attentions });
    }

    /// A nexus ends, and with it its RESERVE and its prevention of removal. Persistent reservations stay.
    pub fn nexus_closed(&mut self, nexus: NexusId) {
        self.nexuses.remove(&nexus);
        self.prevented_by.remove(&nexus);
        if self.reserved_by == Some(nexus) {
            self.reserved_by = None;
        }
    }

    /// A task management reset: RESERVE, prevention and unsaved mode pages go, persistent reservations stay.
    pub fn reset(&mut self, reset: Reset) {
        self.reserved_by = None;
        self.prevented_by.clear();
        self.modes.restore_saved();
        let what = match reset {
            Reset::LogicalUnit => UnitAttention::DeviceReset,
            Reset::Target => UnitAttention::BusReset,
        };
        if reset == Reset::Target {
            self.clock = Clock::default();
        }
        self.attention(what, None);
    }

    /// Every open nexus but `except` is to hear of it.
    pub fn attention(&mut self, what: UnitAttention, except: Option<NexusId>) {
        for (_, open) in self.nexuses.iter_mut().filter(|(id, _)| Some(**id) != except) {
            open.attentions.push(what);
        }
    }

    /// The nexuses of these ports, but not `except`, are to hear of it.
    pub(super) fn attention_to_ports(
        &mut self,
        what: UnitAttention,
        ports: &[InitiatorPort],
        except: NexusId,
    ) {
        for (_, open) in
            self.nexuses.iter_mut().filter(|(id, open)| **id != except && ports.contains(&open.port))
        {
            open.attentions.push(what);
        }
    }

    /// The commands of these ports are to be aborted.
    pub(super) fn abort_commands_of(&mut self, ports: &[InitiatorPort]) {
        self.aborted.extend(
            self.nexuses.iter().filter(|(_, open)| ports.contains(&open.port)).map(|(nexus, _)| *nexus),
        );
    }

    /// For [`crate::LogicalUnit::take_aborted`].
    pub fn take_aborted(&mut self) -> Vec<NexusId> {
        core::mem::take(&mut self.aborted)
    }

    /// What this nexus has not heard of and now hears.
    pub fn take_attention(&mut self, nexus: NexusId) -> Option<UnitAttention> {
        self.nexuses.get_mut(&nexus)?.attentions.pop()
    }

    pub(super) fn clear_attention(&mut self, nexus: NexusId, what: UnitAttention) {
        if let Some(open) = self.nexuses.get_mut(&nexus) {
            open.attentions.clear(what);
        }
    }

    /// Who holds the RESERVE reservation (SPC-2).
    #[must_use]
    pub const fn reserved_by(&self) -> Option<NexusId> {
        self.reserved_by
    }

    pub(super) const fn set_reserved_by(&mut self, nexus: Option<NexusId>) {
        self.reserved_by = nexus;
    }

    /// Who holds a reservation, by RESERVE or persistently.
    #[must_use]
    pub fn reservation_holder(&self) -> Option<&InitiatorPort> {
        let persistent = || self.registry.held().map(|held| &held.holder);
        self.reserved_by.and_then(|nexus| self.port(nexus)).or_else(persistent)
    }

    /// Whether the medium may not be taken out now: at least one nexus said so.
    #[must_use]
    pub fn removal_prevented(&self) -> bool {
        !self.prevented_by.is_empty()
    }

    pub(super) fn set_prevented(&mut self, nexus: NexusId, prevented: bool) {
        if prevented && self.nexuses.contains_key(&nexus) {
            self.prevented_by.insert(nexus);
        } else {
            self.prevented_by.remove(&nexus);
        }
    }

    /// PREEMPT ends the prevention of those whose registration it removed (SPC-4).
    pub(super) fn allow_removal_of(&mut self, ports: &[InitiatorPort]) {
        let nexuses = &self.nexuses;
        self.prevented_by.retain(|id| nexuses.get(id).is_none_or(|open| !ports.contains(&open.port)));
    }

    /// Whether anybody reserved the unit so that others cannot move its medium: the library asks before an operator takes a cartridge.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.reserved_by.is_some() || self.registry.held().is_some()
    }
}
