//! Medium auxiliary memory: READ ATTRIBUTE and WRITE ATTRIBUTE (SPC-4, medium auxiliary memory attributes).
//!
//! Device and medium attributes are made from what is known; host attributes are stored by the [`Medium`] as
//! one byte of format and the value.

use alloc::vec::Vec;

use super::{alerts::Alerts, commands::AttributeService, deck::Deck, density, tally::Totals};
use crate::{
    medium::{AttributeFault, Medium},
    sense::Check,
    spc::wire::{array_at, be16_at, len16, len32, padded, u8_at},
};

const BINARY: u8 = 0x0;
const ASCII: u8 = 0x1;
const TEXT: u8 = 0x2;
const READ_ONLY: u8 = 0x80;
/// Bytes before an attribute's value: identifier, format, length.
const HEADER_BYTES: usize = 5;
const MIB: u64 = 1 << 20;
/// Who makes these cartridges (0400h).
const MANUFACTURER: &str = "VTL";

/// Largest value of a host attribute whose length the standard leaves open.
const OPEN_VALUE_BYTES: usize = 1_024;
/// Largest parameter list of WRITE ATTRIBUTE that is looked at.
pub(super) const MAX_LIST_BYTES: usize = 64 << 10;

/// What the drive adds to what the cartridge says of itself.
pub(super) struct Facts<'a> {
    pub(super) alerts: &'a Alerts,
    /// Since this cartridge was loaded.
    pub(super) mount: Totals,
    pub(super) vendor: &'a str,
    pub(super) serial: &'a str,
}

/// One attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    id: u16,
    format: u8,
    value: Vec<u8>,
}

/// Host attributes with a length of their own (SPC-4, host type attributes): id, format, length.
const HOST: &[(u16, u8, usize)] = &[
    (0x0800, ASCII, 8),    // application vendor
    (0x0801, ASCII, 32),   // application name
    (0x0802, ASCII, 8),    // application version
    (0x0803, TEXT, 160),   // user medium text label
    (0x0804, ASCII, 12),   // date and time last written
    (0x0805, BINARY, 1),   // text localization identifier
    (0x0806, ASCII, 32),   // barcode
    (0x0807, TEXT, 80),    // owning host textual name
    (0x0808, TEXT, 160),   // media pool
    (0x0809, ASCII, 16),   // partition user text label
    (0x080a, BINARY, 1),   // load/unload at partition
    (0x080b, ASCII, 16),   // application format version
    (0x080c, BINARY, 256), // volume coherency information
    (0x0820, BINARY, 36),  // medium globally unique identifier
    (0x0821, BINARY, 36),  // media pool globally unique identifier
];

/// Identifiers that hosts may write (SPC-4): standard host type, vendor specific host type.
const fn is_host(id: u16) -> bool {
    matches!(id, 0x0800..=0x0bff | 0x1400..=0x17ff)
}

/// READ ATTRIBUTE: the whole answer, before it is cut to the allocation length.
pub(super) fn read<M: Medium>(
    deck: &Deck<M>,
    drive: &Facts<'_>,
    service: AttributeService,
    first: u16,
) -> Result<Vec<u8>, Check> {
    match service {
        AttributeService::Values => {
            let all = existing(deck, drive);
            if !all.iter().any(|attribute| attribute.id == first) {
                return Err(Check::cdb(8));
            }
            Ok(with_length(all.iter().filter(|a| a.id >= first).flat_map(encode).collect()))
        }
        AttributeService::List => {
            Ok(with_length(existing(deck, drive).iter().flat_map(|a| a.id.to_be_bytes()).collect()))
        }
        AttributeService::Supported => {
            let mut ids: Vec<u16> = existing(deck, drive).iter().map(|a| a.id).collect();
            ids.extend(HOST.iter().map(|(id, ..)| *id));
            ids.sort_unstable();
            ids.dedup();
            Ok(with_length(ids.iter().flat_map(|id| id.to_be_bytes()).collect()))
        }
        // One logical volume, one partition, both number 0.
        AttributeService::LogicalVolumes | AttributeService::Partitions => Ok(alloc::vec![0, 2, 0, 1]),
    }
}

fn with_length(body: Vec<u8>) -> Vec<u8> {
    let mut bytes = len32(body.len()).to_be_bytes().to_vec();
    bytes.extend(body);
    bytes
}

fn encode(attribute: &Attribute) -> Vec<u8> {
    let read_only = if is_host(attribute.id) { 0 } else { READ_ONLY };
    let mut bytes = attribute.id.to_be_bytes().to_vec();
    bytes.push(read_only | attribute.format);
    bytes.extend(len16(attribute.value.len()).to_be_bytes());
    bytes.extend(&attribute.value);
    bytes
}

/// Every attribute that has a value now, ascending.
fn existing<M: Medium>(deck: &Deck<M>, drive: &Facts<'_>) -> Vec<Attribute> {
    let mut all = made(deck, drive);
    all.extend(deck.medium().host_attributes().into_iter().filter_map(|id| {
        let stored = deck.medium().host_attribute(id)?;
        let (format, value) = stored.split_first()?;
        Some(Attribute { id, format: *format, value: value.to_vec() })
    }));
    all.sort_by_key(|attribute| attribute.id);
    all
}

/// Device and medium attributes.
fn made<M: Medium>(deck: &Deck<M>, drive: &Facts<'_>) -> Vec<Attribute> {
    let facts = deck.medium().facts();
    let generation = facts.kind.generation;
    let binary = |id, value: &[u8]| Attribute { id, format: BINARY, value: value.to_vec() };
    let ascii = |id, text: &str, width| Attribute { id, format: ASCII, value: padded(text, width) };
    let remaining = facts.capacity_bytes.saturating_sub(facts.used_bytes) / MIB;
    let last_load = alloc::format!("{:8}{}", drive.vendor, drive.serial);
    let mut all = alloc::vec![
        binary(0x0000, &remaining.to_be_bytes()), // remaining capacity in partition, MiB
        binary(0x0001, &(facts.capacity_bytes / MIB).to_be_bytes()), // maximum capacity in partition, MiB
        binary(0x0002, &drive.alerts.raised().to_be_bytes()), // TapeAlert flags
        binary(0x0003, &deck.medium().load_count().to_be_bytes()), // load count
        ascii(0x0005, density::ORGANIZATION, 8),  // assigning organization
        binary(0x0006, &[generation.density()]),  // formatted density code
        ascii(0x0008, &facts.label, 32),          // volume identifier
        ascii(0x020a, &last_load, 40), // vendor and serial number of the drive of the last load: this one
        binary(0x0222, &(drive.mount.written_bytes / MIB).to_be_bytes()), // MiB written in this load
        binary(0x0223, &(drive.mount.read_bytes / MIB).to_be_bytes()), // MiB read in this load
        ascii(0x0400, MANUFACTURER, 8), // medium manufacturer
        ascii(0x0401, &facts.serial, 32), // medium serial number
        binary(0x0402, &density::length_m(generation).to_be_bytes()), // medium length, m
        binary(0x0403, &u32::from(density::WIDTH_TENTHS_MM).to_be_bytes()), // medium width, 0.1 mm
        ascii(0x0404, density::ORGANIZATION, 8), // assigning organization
        binary(0x0405, &[generation.density()]), // medium density code
    ];
    if !facts.made_on.is_empty() {
        all.push(ascii(0x0406, &facts.made_on, 8)); // medium manufacture date
    }
    all
}

/// WRITE ATTRIBUTE: all of `list` or nothing of it, unless the medium fails in the middle. The write-protect switch is the
/// tape's; attributes are in the cartridge's chip.
pub(super) fn write<M: Medium>(deck: &mut Deck<M>, list: &[u8]) -> Result<(), Check> {
    if list.is_empty() {
        return Ok(());
    }
    for change in parse(list)? {
        let mut stored = Vec::new();
        if !change.value.is_empty() {
            stored.push(change.format);
            stored.extend(change.value);
        }
        deck.medium_mut().set_host_attribute(change.id, &stored).map_err(|fault| match fault {
            AttributeFault::NoRoom => Check::AttributeMemoryFull,
            AttributeFault::NotStored => Check::InternalFailure,
            AttributeFault::Protected => Check::WriteProtected,
        })?;
    }
    Ok(())
}

/// The attributes of a parameter list: 4 bytes of length, then attributes in ascending order.
fn parse(list: &[u8]) -> Result<Vec<Attribute>, Check> {
    let announced = array_at::<4>(list, 0).map(u32::from_be_bytes).ok_or(Check::ParameterListLength)?;
    let body = list.get(4..).unwrap_or_default();
    if announced as usize != body.len() {
        return Err(Check::ParameterListLength);
    }
    let mut changes: Vec<Attribute> = Vec::new();
    let mut at = 4;
    while at < list.len() {
        let attribute = parse_one(list, at)?;
        if changes.last().is_some_and(|before| before.id >= attribute.id) {
            return Err(parameter(at));
        }
        at += HEADER_BYTES + attribute.value.len();
        changes.push(attribute);
    }
    Ok(changes)
}

fn parse_one(list: &[u8], at: usize) -> Result<Attribute, Check> {
    let cut = Check::ParameterListLength;
    let id = be16_at(list, at).ok_or(cut)?;
    let format = u8_at(list, at + 2).ok_or(cut)? & 0x03;
    let length: usize = be16_at(list, at + 3).ok_or(cut)?.into();
    let value_at = at + HEADER_BYTES;
    let value = list.get(value_at..value_at + length).ok_or(cut)?.to_vec();
    if !is_host(id) {
        return Err(parameter(at));
    }
    let known = HOST.iter().find(|(host, ..)| *host == id);
    let (format_fits, limit) =
        known.map_or((format <= TEXT, OPEN_VALUE_BYTES), |(_, f, len)| (format == *f, *len));
    if !format_fits && length > 0 {
        return Err(parameter(at + 2));
    }
    if length > limit {
        return Err(parameter(at + 3));
    }
    Ok(Attribute { id, format, value })
}

fn parameter(at: usize) -> Check {
    Check::parameter(u16::try_from(at).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::test_medium::TestMedium;

    fn deck() -> Deck<TestMedium> {
        Deck::new(TestMedium::blank("VTL001L8", 64 << 20))
    }

    /// READ ATTRIBUTE in a drive that has read 5 MiB of this cartridge.
    fn read_in_drive(
        deck: &Deck<TestMedium>,
        service: AttributeService,
        first: u16,
    ) -> Result<Vec<u8>, Check> {
        let mount = Totals { read_bytes: 5 << 20, ..Totals::default() };
        let drive = Facts { alerts: &Alerts::default(), mount, vendor: "IBM", serial: "1234567890" };
        read(deck, &drive, service, first)
    }

    fn list(attributes: &[(u16, u8, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (id, format, value) in attributes {
            body.extend(id.to_be_bytes());
            body.push(*format);
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
        }
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend(body);
        bytes
    }

    fn values(deck: &Deck<TestMedium>, first: u16) -> Result<Vec<u8>, Check> {
        read_in_drive(deck, AttributeService::Values, first)
    }

    #[test]
    fn the_drive_of_the_last_load_is_named_with_what_this_load_moved() {
        let bytes = values(&deck(), 0x020a).unwrap();
        let expected = [
            &[0x02, 0x0a, 0x81, 0, 40][..],
            b"IBM     1234567890                      ",
            &[0x02, 0x22, 0x80, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0x02, 0x23, 0x80, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0x04, 0x00, 0x81, 0, 8],
        ]
        .concat();
        assert_eq!(bytes[4..4 + expected.len()], expected);
    }

    #[test]
    fn capacities_are_told_in_mebibytes() {
        let bytes = values(&deck(), 0x0000).unwrap();
        let expected = [
            0x00, 0x00, 0x80, 0, 8, 0, 0, 0, 0, 0, 0, 0, 64, // remaining
            0x00, 0x01, 0x80, 0, 8, 0, 0, 0, 0, 0, 0, 0, 64, // maximum
        ];
        assert_eq!(bytes[4..30], expected);
        assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len() - 4);
    }

    #[test]
    fn the_serial_number_is_an_ascii_attribute_of_32_bytes() {
        let bytes = values(&deck(), 0x0401).unwrap();
        assert_eq!(bytes[4..9], [0x04, 0x01, 0x81, 0, 32]);
        assert_eq!(&bytes[9..41], b"SERIAL-VTL001L8                 ");
        assert_eq!(bytes[41..50], [0x04, 0x02, 0x80, 0, 4, 0, 0, 0x03, 0xc0]);
    }

    #[test]
    fn an_attribute_that_does_not_exist_is_refused() {
        assert_eq!(values(&deck(), 0x0800), Err(Check::cdb(8)));
        assert_eq!(values(&deck(), 0x0007), Err(Check::cdb(8)));
    }

    #[test]
    fn what_a_host_writes_it_reads_back_and_removes_with_length_0() {
        let mut deck = deck();
        write(&mut deck, &list(&[(0x0800, 1, b"ACME    "), (0x0803, 2, b"monday"), (0x1400, 0, &[1, 2])]))
            .unwrap();
        let bytes = values(&deck, 0x0800).unwrap();
        let expected = [
            &[0, 0, 0, 31, 0x08, 0x00, 0x01, 0, 8][..],
            b"ACME    ",
            &[0x08, 0x03, 0x02, 0, 6],
            b"monday",
            &[0x14, 0x00, 0x00, 0, 2, 1, 2],
        ]
        .concat();
        assert_eq!(bytes, expected);
        write(&mut deck, &list(&[(0x0800, 1, b"")])).unwrap();
        assert_eq!(values(&deck, 0x0800), Err(Check::cdb(8)));
    }

    #[test]
    fn a_list_with_one_bad_attribute_changes_nothing() {
        let mut deck = deck();
        let bad = list(&[(0x0800, 1, b"ACME    "), (0x0c00, 0, b"x")]);
        assert_eq!(write(&mut deck, &bad), Err(Check::parameter(4 + 5 + 8)));
        assert_eq!(values(&deck, 0x0800), Err(Check::cdb(8)));
    }

    #[test]
    fn wrong_lists_are_refused_where_they_are_wrong() {
        let mut deck = deck();
        assert_eq!(write(&mut deck, &list(&[(0x0401, 1, b"FORGED")])), Err(Check::parameter(4)));
        assert_eq!(write(&mut deck, &list(&[(0x0800, 0, b"ACME")])), Err(Check::parameter(6)));
        assert_eq!(write(&mut deck, &list(&[(0x0800, 1, b"123456789")])), Err(Check::parameter(7)));
        assert_eq!(
            write(&mut deck, &list(&[(0x0801, 1, b"b"), (0x0800, 1, b"a")])),
            Err(Check::parameter(10))
        );
        assert_eq!(write(&mut deck, &[0, 0, 0, 9, 8, 0]), Err(Check::ParameterListLength));
        assert_eq!(write(&mut deck, &[0, 0]), Err(Check::ParameterListLength));
        assert_eq!(write(&mut deck, &[]), Ok(()));
    }

    #[test]
    fn one_volume_and_one_partition_are_listed() {
        let of = |service| read_in_drive(&deck(), service, 0).unwrap();
        assert_eq!(of(AttributeService::LogicalVolumes), [0, 2, 0, 1]);
        assert_eq!(of(AttributeService::Partitions), [0, 2, 0, 1]);
        let supported = of(AttributeService::Supported);
        assert!(supported[4..].chunks(2).any(|id| id == [0x08, 0x0c]));
        assert!(supported[4..].chunks(2).is_sorted());
    }
}
