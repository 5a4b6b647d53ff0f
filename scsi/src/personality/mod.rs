//! Personalities: what a device looks like, as data. One text file for each in `personalities/`, read by the parser here.
//!
//! A file has one `key = value` on a line; `#` begins a comment. Numbers are decimal, or hexadecimal with `0x`. Every key stands in
//! `Personality::set`; one that is unknown, missing or wrong is an error that names the line.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use crate::spc::{DeviceType, wire::padded};

/// All personalities that are built in, by name.
const FILES: &[(&str, &str)] = &[
    ("ibm-ult3580-td8", include_str!("../../personalities/ibm-ult3580-td8.txt")),
    ("ibm-03584l32", include_str!("../../personalities/ibm-03584l32.txt")),
    ("vtl-disk", include_str!("../../personalities/vtl-disk.txt")),
];

/// The looks of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personality {
    /// The file's name.
    pub name: String,
    /// Peripheral device type.
    pub device_type: DeviceType,
    /// INQUIRY vendor identification, at most 8 characters.
    pub vendor: String,
    /// INQUIRY product identification, at most 16 characters.
    pub product: String,
    /// INQUIRY product revision level, 4 characters.
    pub revision: String,
    /// RMB.
    pub removable: bool,
    /// VERSION, 06h for SPC-4.
    pub version: u8,
    /// Version descriptors, at most eight.
    pub standards: Vec<u16>,
    /// INQUIRY bytes 5, 6 and 36 to 55 that are not zero, by byte number.
    pub inquiry_bytes: BTreeMap<u8, u8>,
    /// Where INQUIRY holds the unit serial number, right-justified with leading zeros: first byte and length.
    pub inquiry_serial: Option<(u8, u8)>,
    /// VPD pages that are the same in every device: code and what stands behind the header.
    pub vpd: BTreeMap<u8, Vec<u8>>,
    /// VPD pages that hold the unit serial number (B1h of a tape drive).
    pub vpd_serial: Vec<u8>,
    /// Element addresses of a changer.
    pub elements: Option<ElementAddresses>,
    /// What a drive can do.
    pub drive: Option<DriveProfile>,
    /// The drive of a library, by its personality's name.
    pub drive_personality: Option<String>,
}

/// First element addresses of a changer, and what else differs between libraries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ElementAddresses {
    /// Medium transport element.
    pub transport: u16,
    /// First storage element.
    pub storage: u16,
    /// First import/export element.
    pub import_export: u16,
    /// First data transfer element.
    pub drive: u16,
}

/// What differs between tape drives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriveProfile {
    /// The largest block, bytes.
    pub max_block: u32,
    /// Densities that it reads or writes, ascending by code.
    pub densities: Vec<Density>,
}

/// A row of REPORT DENSITY SUPPORT (SSC-4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Density {
    /// Density code.
    pub code: u8,
    /// WRTOK: the drive writes it.
    pub writable: bool,
    /// DEFLT: the drive's own.
    pub default: bool,
    /// Bits per millimetre.
    pub bits_per_mm: u32,
    /// Media width, tenths of a millimetre.
    pub width_tenths_mm: u16,
    /// Tracks.
    pub tracks: u16,
    /// Capacity, millions of bytes.
    pub capacity_mb: u32,
    /// Assigning organization, 8 characters.
    pub organization: String,
    /// Density name, 8 characters.
    pub name: String,
    /// Description, 20 characters.
    pub description: String,
}

/// What is wrong with a personality's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalityError {
    /// Line, from 1; 0 when something is missing.
    pub line: usize,
    /// The key, or what is missing.
    pub key: String,
}

impl fmt::Display for PersonalityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "key '{}' is missing", self.key),
            line => write!(f, "line {line}: key '{}' is unknown or its value is wrong", self.key),
        }
    }
}

impl core::error::Error for PersonalityError {}

impl Personality {
    /// A built-in one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (name, text) = FILES.iter().find(|(known, _)| *known == name)?;
        Self::parse(name, text).ok()
    }

    /// Names of all built-in ones.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// Reads a personality's text.
    ///
    /// # Errors
    /// The first line that is wrong, or the key that is missing.
    pub fn parse(name: &str, text: &str) -> Result<Self, PersonalityError> {
        let mut personality = Self::empty(name);
        let mut kind = None;
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once('=').map_or((line, ""), |(k, v)| (k.trim(), v.trim()));
            let done = match key {
                "device" => device_type(value).map(|found| kind = Some(found)),
                _ => personality.set(key, value),
            };
            done.ok_or_else(|| PersonalityError { line: index + 1, key: key.into() })?;
        }
        personality.device_type = kind.ok_or(PersonalityError { line: 0, key: "device".into() })?;
        personality.check()
    }

    fn empty(name: &str) -> Self {
        Self {
            name: name.into(),
            device_type: DeviceType::Disk,
            vendor: String::new(),
            product: String::new(),
            revision: String::new(),
            removable: false,
            version: 0,
            standards: Vec::new(),
            inquiry_bytes: BTreeMap::new(),
            inquiry_serial: None,
            vpd: BTreeMap::new(),
            vpd_serial: Vec::new(),
            elements: None,
            drive: None,
            drive_personality: None,
        }
    }

    /// Every key; `None` when the key is unknown or the value is wrong.
    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "vendor" => self.vendor = ascii(value, 8)?,
            "product" => self.product = ascii(value, 16)?,
            "revision" => self.revision = ascii(value, 4)?,
            "removable" => self.removable = yes_or_no(value)?,
            "version" => self.version = number(value)?,
            "standards" => self.standards = numbers(value, 8)?,
            "inquiry-byte" => {
                let (at, byte) = value.split_once(' ')?;
                let at: u8 = number(at)?;
                if !(5..=6).contains(&at) && !VENDOR_BYTES.contains(&at) {
                    return None;
                }
                self.inquiry_bytes.insert(at, number(byte)?);
            }
            "inquiry-serial" => {
                let (at, length) = value.split_once(' ')?;
                let (at, length): (u8, u8) = (number(at)?, number(length)?);
                let fits = VENDOR_BYTES.contains(&at) && at.checked_add(length)? <= VENDOR_BYTES.end;
                self.inquiry_serial = fits.then_some(Some((at, length)))?;
            }
            "vpd" => {
                let (code, bytes) = value.split_once(' ')?;
                self.vpd.insert(number(code)?, hex(bytes)?);
            }
            "vpd-serial" => self.vpd_serial.push(number(value)?),
            "element-transport" => self.elements.get_or_insert_default().transport = number(value)?,
            "element-storage" => self.elements.get_or_insert_default().storage = number(value)?,
            "element-import-export" => self.elements.get_or_insert_default().import_export = number(value)?,
            "element-drive" => self.elements.get_or_insert_default().drive = number(value)?,
            "drive-personality" => self.drive_personality = Some(ascii(value, 64)?),
            "max-block" => self.drive.get_or_insert_default().max_block = number(value)?,
            "density" => self.drive.get_or_insert_default().densities.push(density(value)?),
            _ => return None,
        }
        Some(())
    }

    fn check(self) -> Result<Self, PersonalityError> {
        let present = [
            ("vendor", !self.vendor.is_empty()),
            ("product", !self.product.is_empty()),
            ("revision", !self.revision.is_empty()),
            ("version", self.version != 0),
            ("element-storage", self.device_type != DeviceType::Changer || self.elements.is_some()),
            ("max-block", self.device_type != DeviceType::Tape || self.drive.is_some()),
        ];
        match present.iter().find(|(_, there)| !there) {
            Some((key, _)) => Err(PersonalityError { line: 0, key: (*key).into() }),
            None => Ok(self),
        }
    }

    /// Standard INQUIRY data, 96 bytes (SPC-4).
    pub(crate) fn standard_inquiry(&self, serial: &str) -> Vec<u8> {
        let removable = if self.removable { 0x80 } else { 0 };
        let mut bytes = alloc::vec![self.device_type as u8, removable, self.version, RESPONSE_DATA_FORMAT];
        let other = |at: u8| self.inquiry_bytes.get(&at).copied().unwrap_or(0);
        bytes.extend([STANDARD_LEN - 5, other(5), other(6), CMDQUE]);
        bytes.extend(padded(&self.vendor, 8));
        bytes.extend(padded(&self.product, 16));
        bytes.extend(padded(&self.revision, 4));
        bytes.extend(VENDOR_BYTES.map(|at| self.serial_byte(serial, at).unwrap_or_else(|| other(at))));
        bytes.extend([0, 0]);
        bytes.extend(self.standards.iter().flat_map(|code| code.to_be_bytes()));
        bytes.resize(usize::from(STANDARD_LEN), 0);
        bytes
    }

    /// The byte at `at` when it belongs to the serial number.
    fn serial_byte(&self, serial: &str, at: u8) -> Option<u8> {
        let (first, length) = self.inquiry_serial?;
        let index = usize::from(at.checked_sub(first).filter(|index| *index < length)?);
        let blank = usize::from(length).saturating_sub(serial.len());
        let digits = serial.as_bytes();
        Some(index.checked_sub(blank).and_then(|index| digits.get(index)).copied().unwrap_or(b'0'))
    }

    /// The fixed pages, and those that hold the serial number.
    pub(crate) fn vpd_pages(&self, serial: &str) -> BTreeMap<u8, Vec<u8>> {
        let serial_pages = self.vpd_serial.iter().map(|code| (*code, serial.as_bytes().to_vec()));
        self.vpd.iter().map(|(code, bytes)| (*code, bytes.clone())).chain(serial_pages).collect()
    }
}

const STANDARD_LEN: u8 = 96;
/// Vendor specific part of standard INQUIRY data.
const VENDOR_BYTES: core::ops::Range<u8> = 36..56;
/// HISUP (REPORT LUNS is hierarchical) and response data format 2.
const RESPONSE_DATA_FORMAT: u8 = 0x12;
/// CMDQUE: commands may be queued.
const CMDQUE: u8 = 0x02;

fn device_type(value: &str) -> Option<DeviceType> {
    Some(match value {
        "tape" => DeviceType::Tape,
        "changer" => DeviceType::Changer,
        "disk" => DeviceType::Disk,
        _ => return None,
    })
}

fn ascii(value: &str, limit: usize) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= limit && value.bytes().all(|b| (0x20..0x7f).contains(&b));
    fits.then(|| value.into())
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let text = text.trim();
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    T::try_from(value).ok()
}

fn numbers(text: &str, limit: usize) -> Option<Vec<u16>> {
    let all: Option<Vec<u16>> = text.split_whitespace().map(number).collect();
    all.filter(|list| list.len() <= limit)
}

/// Pairs of hexadecimal digits with blanks between them where one likes.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// `code | rw or ro, default | bits per mm | width | tracks | capacity MB | organization | name | description`.
fn density(text: &str) -> Option<Density> {
    let fields: Vec<&str> = text.split('|').map(str::trim).collect();
    let [code, use_, bits, width, tracks, capacity, organization, name, description] = fields.as_slice()
    else {
        return None;
    };
    let (writable, default) = match *use_ {
        "ro" => (false, false),
        "rw" => (true, false),
        "rw default" => (true, true),
        _ => return None,
    };
    Some(Density {
        code: number(code)?,
        writable,
        default,
        bits_per_mm: number(bits)?,
        width_tenths_mm: number(width)?,
        tracks: number(tracks)?,
        capacity_mb: number(capacity)?,
        organization: ascii(organization, 8)?,
        name: ascii(name, 8)?,
        description: ascii(description, 20)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_personality_parses() {
        for (name, text) in FILES {
            let personality = Personality::parse(name, text);
            assert!(personality.is_ok(), "{name}: {personality:?}");
        }
    }

    #[test]
    fn the_drive_looks_like_an_ibm_lto_8() {
        let bytes = Personality::named("ibm-ult3580-td8").unwrap().standard_inquiry("1234567890");
        assert_eq!(bytes.len(), 96);
        assert_eq!(bytes[..8], [0x01, 0x80, 0x06, 0x12, 0x5b, 0, 0, 0x02]);
        assert_eq!(&bytes[8..32], b"IBM     ULT3580-TD8     ");
        assert!(bytes[32..36] >= b"HB81"[..], "LTFS refuses older firmware");
    }

    #[test]
    fn the_library_has_the_addresses_of_an_ibm_3584() {
        let library = Personality::named("ibm-03584l32").unwrap();
        let elements = library.elements.unwrap();
        assert_eq!((elements.drive, elements.import_export, elements.storage), (0x101, 0x300, 0x400));
        let inquiry = library.standard_inquiry("78A0000401");
        assert_eq!(inquiry[..8], [0x08, 0x80, 0x06, 0x12, 0x5b, 0, 0x20, 0x02], "with a bar code reader");
        assert_eq!(&inquiry[8..56], b"IBM     03584L32        0402\0\x00\x30078A0000401\0\0\0\0\0\0");
        assert!(Personality::named(&library.drive_personality.unwrap()).is_some());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let text = "device = tape\n# comment\nvendor = IBM\ncolour = blue\n";
        let error = Personality::parse("x", text).unwrap_err();
        assert_eq!(error, PersonalityError { line: 4, key: "colour".into() });
        let missing = Personality::parse("x", "device = disk\nvendor = IBM\n").unwrap_err();
        assert_eq!(missing, PersonalityError { line: 0, key: "product".into() });
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for line in [
            "vendor = TOOLONGNAME",
            "version = 256",
            "vpd = 0xb0 0",
            "removable = perhaps",
            "density = 1|2",
            "inquiry-byte = 4 1",
            "inquiry-serial = 50 12",
        ] {
            let text = alloc::format!("device = tape\n{line}\n");
            assert_eq!(Personality::parse("x", &text).map_err(|e| e.line), Err(2), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in ".{0,200}") {
            let _ = Personality::parse("x", &text);
        }
    }
}
