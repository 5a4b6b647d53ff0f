//! PERSISTENT RESERVE IN and OUT (SPC-4) over the [`Registry`].
//!
//! Not offered, and said so by REPORT CAPABILITIES: SPEC_I_PT, ALL_TG_PT, REGISTER AND MOVE, the RESERVE compatibility of CRH.

use alloc::vec::Vec;

use super::{
    common::Common,
    registry::{Registration, Registry, ReservationType},
    reserve::conflict,
    table::SpcOp,
    wire::{be64_at, len16, len32, u8_at},
};
use crate::{
    command::{Command, InitiatorPort, Reply},
    persist::Persist,
    sense::Check,
    unit::UnitAttention,
};

/// PERSISTENT RESERVE IN.
pub(super) fn report<P: Persist>(common: &Common<P>, op: SpcOp, command: &Command) -> Reply {
    // SPC-2: while RESERVE holds the unit, persistent reservation commands conflict whoever sends them.
    if common.reserved_by().is_some() {
        return conflict();
    }
    let registry = &common.registry;
    let bytes = match op {
        SpcOp::PrReadKeys => read_keys(registry),
        SpcOp::PrReadReservation => read_reservation(registry),
        SpcOp::PrReportCapabilities => capabilities(registry),
        _ => read_full_status(registry),
    };
    Reply::allocated(bytes, usize::from(command.cdb.be16(7)))
}

fn with_generation(registry: &Registry, mut list: Vec<u8>) -> Vec<u8> {
    let mut bytes = registry.generation.to_be_bytes().to_vec();
    bytes.extend(len32(list.len()).to_be_bytes());
    bytes.append(&mut list);
    bytes
}

fn read_keys(registry: &Registry) -> Vec<u8> {
    with_generation(registry, registry.registrations().iter().flat_map(|r| r.key.to_be_bytes()).collect())
}

fn read_reservation(registry: &Registry) -> Vec<u8> {
    let Some(held) = registry.held() else { return with_generation(registry, Vec::new()) };
    // With the All Registrants types the key is zero.
    let key = if held.kind.all_registrants() { 0 } else { registry.key_of(&held.holder).unwrap_or(0) };
    let mut list = key.to_be_bytes().to_vec();
    list.extend([0, 0, 0, 0, 0, held.kind as u8, 0, 0]);
    with_generation(registry, list)
}

/// PTPL_C: we can keep reservations over a power cycle.
const PTPL_C: u8 = 0x01;
/// TMV: the type mask is valid.
const TMV: u8 = 0x80;
/// WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX; EX_AC_AR: all six.
const TYPE_MASK: [u8; 2] = [0xea, 0x01];

fn capabilities(registry: &Registry) -> Vec<u8> {
    let [types, more_types] = TYPE_MASK;
    alloc::vec![0, 8, PTPL_C, TMV | u8::from(registry.aptpl), types, more_types, 0, 0]
}

fn read_full_status(registry: &Registry) -> Vec<u8> {
    let mut list = Vec::new();
    for Registration { port, key } in registry.registrations() {
        let held = registry.held().filter(|_| registry.is_holder(port));
        let transport_id = transport_id(port);
        list.extend(key.to_be_bytes());
        list.extend([
            0,
            0,
            0,
            0,
            u8::from(held.is_some()),
            held.map_or(0, |held| held.kind as u8),
            0,
            0,
            0,
            0,
        ]);
        list.extend(port.target_port.to_be_bytes());
        list.extend(len32(transport_id.len()).to_be_bytes());
        list.extend(transport_id);
    }
    with_generation(registry, list)
}

/// Format 01b and protocol identifier 5h (iSCSI).
const ISCSI_PORT: u8 = 0x45;
const MIN_TRANSPORT_ID: usize = 20;

/// TransportID of an iSCSI initiator port: its name and ISID, a zero, padded to a multiple of four.
fn transport_id(port: &InitiatorPort) -> Vec<u8> {
    let [a, b, c, d, e, f] = port.isid;
    let text = alloc::format!("{},i,0x{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}", port.name);
    let mut name = text.into_bytes();
    name.push(0);
    name.resize(name.len().next_multiple_of(4).max(MIN_TRANSPORT_ID), 0);
    let mut bytes = alloc::vec![ISCSI_PORT, 0];
    bytes.extend(len16(name.len()).to_be_bytes());
    bytes.append(&mut name);
    bytes
}

/// Every service action that we know has this parameter list.
const PARAMETER_LEN: u32 = 24;

/// The parameter list of PERSISTENT RESERVE OUT.
struct Parameters {
    key: u64,
    action_key: u64,
    spec_i_pt: bool,
    all_tg_pt: bool,
    aptpl: bool,
}

impl Parameters {
    fn parse(list: &[u8]) -> Option<Self> {
        let flags = u8_at(list, 20)?;
        Some(Self {
            key: be64_at(list, 0)?,
            action_key: be64_at(list, 8)?,
            spec_i_pt: flags & 0x08 != 0,
            all_tg_pt: flags & 0x04 != 0,
            aptpl: flags & 0x01 != 0,
        })
    }
}

/// Why nothing was changed.
enum Refusal {
    Conflict,
    Check(Check),
}

impl From<Check> for Refusal {
    fn from(check: Check) -> Self {
        Self::Check(check)
    }
}

/// Who is to hear of a change.
#[derive(Default)]
struct News {
    /// 2A/04.
    released: Vec<InitiatorPort>,
    /// 2A/05.
    registrations_preempted: Vec<InitiatorPort>,
    /// 2A/03.
    reservations_preempted: Vec<InitiatorPort>,
}

/// PERSISTENT RESERVE OUT: the change is made on a copy, saved, and then takes effect with its unit attentions.
pub(super) fn change<P: Persist>(common: &mut Common<P>, op: SpcOp, command: &Command) -> Reply {
    let length = command.cdb.be32(5);
    let reply = match try_change(common, op, command, length) {
        Ok(()) => Reply::good(),
        Err(Refusal::Conflict) => conflict(),
        Err(Refusal::Check(check)) => check.into(),
    };
    reply.wanting(u64::from(length))
}

fn try_change<P: Persist>(
    common: &mut Common<P>,
    op: SpcOp,
    command: &Command,
    length: u32,
) -> Result<(), Refusal> {
    if common.reserved_by().is_some() {
        return Err(Refusal::Conflict);
    }
    if length != PARAMETER_LEN {
        return Err(Check::ParameterListLength.into());
    }
    let list = command.parameter_list(PARAMETER_LEN as usize);
    let parameters = Parameters::parse(&list).ok_or(Check::ParameterListLength)?;
    let port = common.port(command.nexus).cloned().ok_or(Check::Aborted)?;
    let mut next = common.registry.clone();
    let mut action =
        Action { registry: &mut next, port: &port, parameters, scope_and_type: command.cdb.byte(2) };
    let news = action.run(op)?;
    if next != common.registry {
        let (registry, persist) = common.registry_and_persist();
        if next.aptpl || registry.aptpl {
            next.save(persist).map_err(|_| Check::InternalFailure)?;
        }
        *registry = next;
    }
    common.attention_to_ports(UnitAttention::ReservationsReleased, &news.released, command.nexus);
    common.attention_to_ports(
        UnitAttention::RegistrationsPreempted,
        &news.registrations_preempted,
        command.nexus,
    );
    common.attention_to_ports(
        UnitAttention::ReservationsPreempted,
        &news.reservations_preempted,
        command.nexus,
    );
    common.allow_removal_of(&news.registrations_preempted);
    if matches!(op, SpcOp::PrPreemptAndAbort) {
        common.abort_commands_of(&news.registrations_preempted);
    }
    Ok(())
}

/// One service action at work on a copy of the registry.
struct Action<'a> {
    registry: &'a mut Registry,
    port: &'a InitiatorPort,
    parameters: Parameters,
    scope_and_type: u8,
}

impl Action<'_> {
    fn run(&mut self, op: SpcOp) -> Result<News, Refusal> {
        match op {
            SpcOp::PrRegister => {
                // The key must be the registered one, or zero when nothing is registered.
                if self.registry.key_of(self.port).unwrap_or(0) != self.parameters.key {
                    return Err(Refusal::Conflict);
                }
                return self.register();
            }
            SpcOp::PrRegisterAndIgnore => return self.register(),
            _ => {}
        }
        if self.registry.key_of(self.port) != Some(self.parameters.key) {
            return Err(Refusal::Conflict);
        }
        match op {
            SpcOp::PrReserve => self.reserve(),
            SpcOp::PrRelease => self.release(),
            SpcOp::PrClear => Ok(self.clear()),
            _ => self.preempt(),
        }
    }

    fn register(&mut self) -> Result<News, Refusal> {
        let Parameters { action_key, spec_i_pt, all_tg_pt, aptpl, .. } = self.parameters;
        if spec_i_pt {
            return Err(Check::InvalidFieldInParameters { byte: 20, bit: Some(3) }.into());
        }
        if all_tg_pt {
            return Err(Check::InvalidFieldInParameters { byte: 20, bit: Some(2) }.into());
        }
        let registered = self.registry.key_of(self.port).is_some();
        if !registered && action_key == 0 {
            return Ok(News::default());
        }
        self.registry.aptpl = aptpl;
        self.count_generation();
        if action_key != 0 {
            let room = self.registry.register(self.port, action_key);
            return room.then(News::default).ok_or_else(|| Check::InsufficientRegistrations.into());
        }
        let ended = self.registry.unregister(self.port);
        // Only the types whose registrants had a share in it are told (SPC-4, unregistering).
        let released =
            if ended.is_some_and(ReservationType::for_registrants) { self.others() } else { Vec::new() };
        Ok(News { released, ..News::default() })
    }

    fn reserve(&mut self) -> Result<News, Refusal> {
        let kind = self.kind()?;
        match self.registry.held() {
            None => self.registry.hold(kind, self.port),
            Some(held) if held.kind == kind && self.registry.is_holder(self.port) => {}
            Some(_) => return Err(Refusal::Conflict),
        }
        Ok(News::default())
    }

    fn release(&mut self) -> Result<News, Refusal> {
        let Some(held) = self.registry.held().filter(|_| self.registry.is_holder(self.port)) else {
            return Ok(News::default());
        };
        if held.kind as u8 != self.scope_and_type {
            return Err(Check::InvalidRelease.into());
        }
        let kind = held.kind;
        self.registry.release();
        let released = if kind.for_registrants() { self.others() } else { Vec::new() };
        Ok(News { released, ..News::default() })
    }

    fn clear(&mut self) -> News {
        let reservations_preempted = self.others();
        self.registry.clear();
        self.count_generation();
        News { reservations_preempted, ..News::default() }
    }

    /// PREEMPT and PREEMPT AND ABORT. A unit runs one command at a time, so those that the second ends wait with the unit's owner.
    fn preempt(&mut self) -> Result<News, Refusal> {
        let victim = self.parameters.action_key;
        let held = self.registry.held().cloned();
        let all_registrants = held.as_ref().is_some_and(|held| held.kind.all_registrants());
        let takes_over = match &held {
            Some(_) if all_registrants => victim == 0,
            Some(held) => self.registry.key_of(&held.holder) == Some(victim),
            None => false,
        };
        if takes_over {
            let kind = self.kind()?;
            return Ok(self.take_over(kind, held.map(|held| held.kind), all_registrants));
        }
        if victim == 0 {
            return Err(Check::parameter(8).into());
        }
        let gone = self.ports_with(|r| r.key == victim);
        if gone.is_empty() {
            return Err(Refusal::Conflict);
        }
        let ended: Vec<_> = gone.iter().filter_map(|port| self.registry.unregister(port)).collect();
        self.count_generation();
        let released =
            if ended.into_iter().any(ReservationType::for_registrants) { self.others() } else { Vec::new() };
        Ok(News { registrations_preempted: gone, released, ..News::default() })
    }

    /// The reservation becomes this nexus's; those who held it lose their registration.
    fn take_over(
        &mut self,
        kind: ReservationType,
        old: Option<ReservationType>,
        all_registrants: bool,
    ) -> News {
        let victim = self.parameters.action_key;
        let me = self.port.clone();
        let gone = self.ports_with(|r| r.port != me && (all_registrants || r.key == victim));
        self.registry.release();
        for port in &gone {
            self.registry.unregister(port);
        }
        self.registry.hold(kind, self.port);
        self.count_generation();
        let released = if old == Some(kind) { Vec::new() } else { self.others() };
        News { registrations_preempted: gone, released, ..News::default() }
    }

    /// Scope (only the logical unit) and type.
    fn kind(&self) -> Result<ReservationType, Refusal> {
        if self.scope_and_type & 0xf0 != 0 {
            return Err(Check::cdb_bit(2, 7).into());
        }
        ReservationType::from_code(self.scope_and_type).ok_or_else(|| Check::cdb_bit(2, 3).into())
    }

    fn count_generation(&mut self) {
        self.registry.generation = self.registry.generation.wrapping_add(1);
    }

    /// Registered ports but this one.
    fn others(&self) -> Vec<InitiatorPort> {
        let me = self.port.clone();
        self.ports_with(|r| r.port != me)
    }

    fn ports_with(&self, wanted: impl Fn(&Registration) -> bool) -> Vec<InitiatorPort> {
        self.registry.registrations().iter().filter(|r| wanted(r)).map(|r| r.port.clone()).collect()
    }
}
