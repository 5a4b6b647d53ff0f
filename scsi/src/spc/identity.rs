//! Who a logical unit is: INQUIRY and vital product data (SPC-4). Immutable, so that it answers while the device works.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::wire::{len16, padded};
use crate::{
    command::{Cdb, Reply},
    personality::Personality,
    sense::Check,
};

/// Peripheral device types (SPC-4) that we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DeviceType {
    /// Direct access block device (SBC).
    Disk = 0x00,
    /// Sequential access device (SSC).
    Tape = 0x01,
    /// Medium changer (SMC).
    Changer = 0x08,
}

/// A port of the target, as VPD page 83h names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TargetPort {
    /// iSCSI target name.
    name: String,
    /// Portal group tag, which is also the relative target port identifier.
    group: u16,
}

/// A logical unit's name and looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    device_type: DeviceType,
    vendor: String,
    product: String,
    serial: String,
    naa: u64,
    standard: Vec<u8>,
    port: Option<TargetPort>,
    /// VPD pages beside 00h, 80h and 83h: what stands behind the four bytes of header.
    pages: BTreeMap<u8, Vec<u8>>,
}

/// NAA 3h: locally assigned. It is made from the installation's random id, so no registered company id belongs to it.
const NAA_LOCALLY_ASSIGNED: u64 = 0x3;
const VENDOR_LEN: usize = 8;
const PRODUCT_LEN: usize = 16;
/// DVCID, and the serial number field of an LTO drive in it.
const DVCID_SERIAL_LEN: usize = 10;

impl Identity {
    /// A unit that looks like `personality`. `serial` is unique for ever (10 characters on LTO drives and their libraries); the lower 60
    /// bits of `naa` are unique too.
    #[must_use]
    pub fn new(personality: &Personality, serial: &str, naa: u64) -> Self {
        Self {
            device_type: personality.device_type,
            vendor: personality.vendor.clone(),
            product: personality.product.clone(),
            serial: serial.into(),
            naa: NAA_LOCALLY_ASSIGNED << 60 | naa & 0x0fff_ffff_ffff_ffff,
            standard: personality.standard_inquiry(serial),
            port: None,
            pages: personality.vpd_pages(serial),
        }
    }

    /// Reached through this iSCSI target name and portal group tag.
    #[must_use]
    pub fn with_port(mut self, name: &str, group: u16) -> Self {
        self.port = Some(TargetPort { name: name.into(), group });
        self
    }

    /// With a vital product data page: `payload` stands behind the page's four bytes of header.
    #[must_use]
    pub fn with_page(mut self, code: u8, payload: Vec<u8>) -> Self {
        self.pages.insert(code, payload);
        self
    }

    /// Peripheral device type.
    #[must_use]
    pub const fn device_type(&self) -> DeviceType {
        self.device_type
    }

    /// INQUIRY vendor identification, without its blanks.
    #[must_use]
    pub fn vendor(&self) -> &str {
        &self.vendor
    }

    /// INQUIRY product identification, without its blanks.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Unit serial number.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// NAA designator.
    #[must_use]
    pub const fn naa(&self) -> u64 {
        self.naa
    }

    /// Answers INQUIRY.
    #[must_use]
    pub fn inquiry(&self, cdb: &Cdb) -> Reply {
        self.inquiry_from(cdb, self.device_type as u8)
    }

    /// Answers INQUIRY to a logical unit number where there is no unit: peripheral qualifier 011b, type 1Fh.
    #[must_use]
    pub fn absent_inquiry(&self, cdb: &Cdb) -> Reply {
        self.inquiry_from(cdb, 0x7f)
    }

    fn inquiry_from(&self, cdb: &Cdb, peripheral: u8) -> Reply {
        let (vital, page) = (cdb.bit(1, 0), cdb.byte(2));
        let mut bytes = match (vital, page) {
            (false, 0) => self.standard.clone(),
            (false, _) => return Check::cdb(2).into(),
            (true, code) => match self.vital_page(code) {
                Some(bytes) => bytes,
                None => return Check::cdb(2).into(),
            },
        };
        if let Some(first) = bytes.first_mut() {
            *first = peripheral;
        }
        Reply::allocated(bytes, usize::from(cdb.be16(3)))
    }

    fn vital_page(&self, code: u8) -> Option<Vec<u8>> {
        let payload = match code {
            0x00 => self.page_codes(),
            0x80 => self.serial.as_bytes().to_vec(),
            0x83 => self.designators(),
            _ => self.pages.get(&code)?.clone(),
        };
        let mut bytes = alloc::vec![self.device_type as u8, code];
        bytes.extend(len16(payload.len()).to_be_bytes());
        bytes.extend(payload);
        Some(bytes)
    }

    /// Page 00h: ascending, as Linux and libiscsi want it.
    fn page_codes(&self) -> Vec<u8> {
        let mut codes: Vec<u8> = [0x00, 0x80, 0x83].into_iter().chain(self.pages.keys().copied()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// Page 83h: T10 vendor id, NAA, and (when known) relative target port, target port name and target device name.
    fn designators(&self) -> Vec<u8> {
        let mut page = Vec::new();
        let t10 = [
            padded(&self.vendor, VENDOR_LEN),
            padded(&self.product, PRODUCT_LEN),
            self.serial.clone().into(),
        ];
        designator(&mut page, CODE_ASCII, LOGICAL_UNIT | TYPE_T10, &t10.concat());
        designator(&mut page, CODE_BINARY, LOGICAL_UNIT | TYPE_NAA, &self.naa.to_be_bytes());
        if let Some(TargetPort { name, group }) = &self.port {
            let [high, low] = group.to_be_bytes();
            designator(
                &mut page,
                ISCSI | CODE_BINARY,
                PIV | TARGET_PORT | TYPE_RELATIVE_PORT,
                &[0, 0, high, low],
            );
            let port = alloc::format!("{name},t,0x{group:04x}");
            designator(&mut page, ISCSI | CODE_UTF8, PIV | TARGET_PORT | TYPE_NAME, &name_string(&port));
            designator(&mut page, ISCSI | CODE_UTF8, PIV | TARGET_DEVICE | TYPE_NAME, &name_string(name));
        }
        page
    }

    /// The designator by which a changer names this drive (DVCID): vendor, product and ten characters of serial number.
    #[must_use]
    pub fn dvcid(&self) -> Vec<u8> {
        dvcid(&self.vendor, &self.product, &self.serial)
    }
}

/// Vendor 8, product 16, serial 10 bytes.
pub(crate) fn dvcid(vendor: &str, product: &str, serial: &str) -> Vec<u8> {
    [padded(vendor, VENDOR_LEN), padded(product, PRODUCT_LEN), padded(serial, DVCID_SERIAL_LEN)].concat()
}

const CODE_BINARY: u8 = 0x01;
const CODE_ASCII: u8 = 0x02;
const CODE_UTF8: u8 = 0x03;
/// Protocol identifier 5h.
const ISCSI: u8 = 0x50;
const PIV: u8 = 0x80;
const LOGICAL_UNIT: u8 = 0x00;
const TARGET_PORT: u8 = 0x10;
const TARGET_DEVICE: u8 = 0x20;
const TYPE_T10: u8 = 0x01;
const TYPE_NAA: u8 = 0x03;
const TYPE_RELATIVE_PORT: u8 = 0x04;
const TYPE_NAME: u8 = 0x08;

/// One designation descriptor: protocol and code set, PIV, association and type, reserved, length, designator.
fn designator(page: &mut Vec<u8>, first: u8, second: u8, value: &[u8]) {
    let length = u8::try_from(value.len()).unwrap_or(u8::MAX);
    page.extend([first, second, 0, length]);
    page.extend(value.iter().take(usize::from(length)));
}

/// SCSI name string: UTF-8, a zero at the end, a multiple of four bytes. iSCSI names have at most 223 bytes.
fn name_string(text: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.bytes().take(251).collect();
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
