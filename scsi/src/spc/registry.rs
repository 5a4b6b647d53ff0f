//! Persistent reservations as state: who is registered, who holds what, and what survives a power cycle (SPC-4, persistent reservations).
//!
//! The commands that change it are in `persistent.rs`. With APTPL the whole registry is one durable value; its bytes are described in
//! `docs/scsi-spc.md`.

use alloc::{string::String, vec::Vec};

use super::wire::{array_at, be16_at, be64_at, u8_at};
use crate::{
    command::InitiatorPort,
    persist::{Persist, PersistFault},
};

/// Registrations that fit (one for each initiator port).
pub(super) const MAX_REGISTRATIONS: usize = 256;
/// Name of the durable value.
const PERSIST_KEY: &str = "reservations";

/// The six types (SPC-4, persistent reservation type codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum ReservationType {
    WriteExclusive = 0x1,
    ExclusiveAccess = 0x3,
    WriteExclusiveRegistrantsOnly = 0x5,
    ExclusiveAccessRegistrantsOnly = 0x6,
    WriteExclusiveAllRegistrants = 0x7,
    ExclusiveAccessAllRegistrants = 0x8,
}

impl ReservationType {
    pub(super) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0x1 => Self::WriteExclusive,
            0x3 => Self::ExclusiveAccess,
            0x5 => Self::WriteExclusiveRegistrantsOnly,
            0x6 => Self::ExclusiveAccessRegistrantsOnly,
            0x7 => Self::WriteExclusiveAllRegistrants,
            0x8 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    /// Others may still read.
    pub(super) const fn lets_read(self) -> bool {
        matches!(
            self,
            Self::WriteExclusive | Self::WriteExclusiveRegistrantsOnly | Self::WriteExclusiveAllRegistrants
        )
    }

    /// Whoever is registered may do what the holder may.
    pub(super) const fn for_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Every registrant is a holder.
    pub(super) const fn all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }
}

/// One registered I_T nexus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) port: InitiatorPort,
    pub(super) key: u64,
}

/// A reservation that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its type.
    pub kind: ReservationType,
    /// Who made it; with the All Registrants types every registrant holds it.
    pub holder: InitiatorPort,
}

/// All registrations and the reservation.
///
/// Invariants: a holder is registered; no port is registered twice; no key is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registry {
    /// PRGENERATION: counts changes since power on, never saved.
    pub(super) generation: u32,
    /// APTPL as last set: the registry outlives a power cycle.
    pub(super) aptpl: bool,
    registrations: Vec<Registration>,
    held: Option<Held>,
}

impl Registry {
    pub(super) fn registrations(&self) -> &[Registration] {
        &self.registrations
    }

    pub(super) const fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    pub(super) fn key_of(&self, port: &InitiatorPort) -> Option<u64> {
        self.registrations.iter().find(|r| r.port == *port).map(|r| r.key)
    }

    pub(super) fn is_holder(&self, port: &InitiatorPort) -> bool {
        self.held.as_ref().is_some_and(|held| match held.kind.all_registrants() {
            true => self.key_of(port).is_some(),
            false => held.holder == *port,
        })
    }

    /// Adds or changes a registration; `false` when there is no room.
    pub(super) fn register(&mut self, port: &InitiatorPort, key: u64) -> bool {
        if let Some(known) = self.registrations.iter_mut().find(|r| r.port == *port) {
            known.key = key;
            return true;
        }
        if self.registrations.len() >= MAX_REGISTRATIONS {
            return false;
        }
        self.registrations.push(Registration { port: port.clone(), key });
        true
    }

    /// Removes a registration; says which reservation ended with it. What all registrants hold goes on in the name of one who stays.
    pub(super) fn unregister(&mut self, port: &InitiatorPort) -> Option<ReservationType> {
        self.registrations.retain(|r| r.port != *port);
        let held = self.held.as_mut().filter(|held| held.holder == *port)?;
        match self.registrations.first() {
            Some(heir) if held.kind.all_registrants() => {
                held.holder = heir.port.clone();
                None
            }
            _ => self.held.take().map(|held| held.kind),
        }
    }

    pub(super) fn hold(&mut self, kind: ReservationType, holder: &InitiatorPort) {
        self.held = Some(Held { kind, holder: holder.clone() });
    }

    pub(super) fn release(&mut self) -> Option<Held> {
        self.held.take()
    }

    pub(super) fn clear(&mut self) {
        self.registrations.clear();
        self.held = None;
    }

    /// What was saved; nothing when it was not, or is not ours.
    pub(super) fn load(persist: &impl Persist) -> Self {
        persist.load(PERSIST_KEY).and_then(|bytes| Self::decode(&bytes)).unwrap_or_default()
    }

    /// Makes the registry outlive a power cycle, or (without APTPL) sees to it that it does not.
    pub(super) fn save(&self, persist: &mut impl Persist) -> Result<(), PersistFault> {
        let bytes = if self.aptpl { self.encode() } else { Vec::new() };
        if bytes.is_empty() && persist.load(PERSIST_KEY).is_none() {
            return Ok(());
        }
        persist.save(PERSIST_KEY, &bytes)
    }
}

/// "VRES", version 0.
const MAGIC: [u8; 5] = *b"VRES\0";
const NO_HOLDER: u16 = 0xffff;

impl Registry {
    fn encode(&self) -> Vec<u8> {
        let (kind, holder) = match &self.held {
            Some(held) => (held.kind as u8, self.index_of(&held.holder)),
            None => (0, NO_HOLDER),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.push(kind);
        bytes.extend(holder.to_be_bytes());
        bytes.extend(super::wire::len16(self.registrations.len()).to_be_bytes());
        for Registration { port, key } in &self.registrations {
            bytes.extend(key.to_be_bytes());
            bytes.extend(port.isid);
            bytes.extend(port.target_port.to_be_bytes());
            bytes.extend(super::wire::len16(port.name.len()).to_be_bytes());
            bytes.extend(port.name.as_bytes());
        }
        bytes
    }

    fn index_of(&self, port: &InitiatorPort) -> u16 {
        let index = self.registrations.iter().position(|r| r.port == *port);
        index.and_then(|i| u16::try_from(i).ok()).unwrap_or(NO_HOLDER)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC)?;
        let (kind, holder, count) = (u8_at(rest, 0)?, be16_at(rest, 1)?, be16_at(rest, 3)?);
        let mut registrations = Vec::new();
        let mut at = 5usize;
        for _ in 0..usize::from(count).min(MAX_REGISTRATIONS) {
            let length = usize::from(be16_at(rest, at.checked_add(16)?)?);
            let name = rest.get(at + 18..at.checked_add(18 + length)?)?;
            let name = String::from_utf8(name.to_vec()).ok()?;
            let port =
                InitiatorPort { name, isid: array_at(rest, at + 8)?, target_port: be16_at(rest, at + 14)? };
            registrations.push(Registration { port, key: be64_at(rest, at)? });
            at += 18 + length;
        }
        let held = match ReservationType::from_code(kind) {
            Some(kind) => {
                let holder = registrations.get(usize::from(holder))?.port.clone();
                Some(Held { kind, holder })
            }
            None => None,
        };
        Some(Self { generation: 0, aptpl: true, registrations, held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> InitiatorPort {
        InitiatorPort { name: name.into(), isid: [0, 2, 0x3d, 0, 0, 1], target_port: 1 }
    }

    #[test]
    fn a_saved_registry_keeps_its_bytes() {
        let mut registry = Registry { aptpl: true, ..Registry::default() };
        assert!(registry.register(&port("iqn.a"), 0x1122_3344_5566_7788));
        registry.hold(ReservationType::ExclusiveAccess, &port("iqn.a"));
        let expected = [
            0x56, 0x52, 0x45, 0x53, 0x00, // "VRES", version 0
            0x03, 0x00, 0x00, 0x00, 0x01, // type, holder's index, registrations
            0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, // key
            0x00, 0x02, 0x3d, 0x00, 0x00, 0x01, // ISID
            0x00, 0x01, 0x00, 0x05, 0x69, 0x71, 0x6e, 0x2e, 0x61, // target port, name
        ];
        assert_eq!(registry.encode(), expected);
        assert_eq!(Registry::decode(&expected), Some(registry));
    }

    #[test]
    fn damaged_bytes_are_no_registry() {
        let mut registry = Registry { aptpl: true, ..Registry::default() };
        registry.register(&port("iqn.a"), 7);
        let bytes = registry.encode();
        for length in 0..bytes.len() {
            assert_eq!(Registry::decode(&bytes[..length]), None);
        }
    }

    #[test]
    fn when_the_holder_leaves_its_reservation_ends() {
        let mut registry = Registry::default();
        registry.register(&port("a"), 1);
        registry.register(&port("b"), 2);
        registry.hold(ReservationType::WriteExclusive, &port("a"));
        assert_eq!(registry.unregister(&port("b")), None);
        assert_eq!(registry.unregister(&port("a")), Some(ReservationType::WriteExclusive));
        assert_eq!(registry.held(), None);
    }

    #[test]
    fn an_all_registrants_reservation_ends_with_the_last_of_them() {
        let mut registry = Registry::default();
        registry.register(&port("a"), 1);
        registry.register(&port("b"), 2);
        registry.hold(ReservationType::WriteExclusiveAllRegistrants, &port("a"));
        assert!(registry.is_holder(&port("b")));
        assert_eq!(registry.unregister(&port("a")), None);
        assert_eq!(registry.unregister(&port("b")), Some(ReservationType::WriteExclusiveAllRegistrants));
        assert_eq!(registry.held(), None);
    }

    #[test]
    fn an_all_registrants_reservation_outlives_a_restart_without_whom_made_it() {
        let mut registry = Registry { aptpl: true, ..Registry::default() };
        registry.register(&port("a"), 1);
        registry.register(&port("b"), 2);
        registry.hold(ReservationType::ExclusiveAccessAllRegistrants, &port("a"));
        registry.unregister(&port("a"));
        let again = Registry::decode(&registry.encode()).unwrap();
        assert_eq!(again, registry);
        assert_eq!(again.held().unwrap().kind, ReservationType::ExclusiveAccessAllRegistrants);
        assert!(again.is_holder(&port("b")));
    }
}
