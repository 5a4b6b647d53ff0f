//! Who we are on the wire: serial numbers and designators.
//!
//! They follow from the installation id and a counter that never goes back, and from nothing else: a drive keeps its
//! serial number when others come and go, and no two devices of no two servers ever look like one to multipath.

use vtl_meta::{Tx, Value};

use crate::{error::LibraryError, schema::INSTALLATION};

/// The random id that the caller made at first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstallationId(pub [u8; 16]);

/// What tells one device from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number of the device within the installation; never given again.
    pub device: u32,
    /// Ten characters `0-9A-Z`: VPD page 80h and the T10 designator.
    pub serial: String,
    /// NAA 3h (locally assigned) designator.
    pub naa: u64,
}

const BASE: u64 = 36;
const INSTALLATION_CHARACTERS: u32 = 6;
const DEVICE_CHARACTERS: u32 = 4;
const NAA_LOCALLY_ASSIGNED: u64 = 0x3 << 60;
const NAA_VALUE_MASK: u64 = (1 << 60) - 1;

impl InstallationId {
    /// The identity of device `device`.
    #[must_use]
    pub fn identity(&self, device: u32) -> Identity {
        let mut serial = String::new();
        push_base_36(&mut serial, hash("vtl serial 0", &self.0), INSTALLATION_CHARACTERS);
        push_base_36(&mut serial, u64::from(device), DEVICE_CHARACTERS);
        let mut seed = self.0.to_vec();
        seed.extend(device.to_le_bytes());
        let naa = NAA_LOCALLY_ASSIGNED | (hash("vtl naa 0", &seed) & NAA_VALUE_MASK);
        Identity { device, serial, naa }
    }
}

fn hash(context: &str, seed: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    blake3::Hasher::new_derive_key(context).update(seed).finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The last `count` base-36 digits of `number`, most significant first.
fn push_base_36(text: &mut String, number: u64, count: u32) {
    for power in (0..count).rev() {
        let digit = number / BASE.pow(power) % BASE;
        text.extend(char::from_digit(u32::try_from(digit).unwrap_or(0), 36).map(|c| c.to_ascii_uppercase()));
    }
}

/// Writes the installation id at first start; later it only confirms it.
///
/// # Errors
/// [`LibraryError::OtherInstallation`] when the file has another id: it was copied from another server.
pub fn install(tx: &mut Tx<'_>, id: InstallationId) -> Result<(), LibraryError> {
    match find(tx)? {
        Some((found, _)) if found == id => Ok(()),
        Some(_) => Err(LibraryError::OtherInstallation),
        None => Ok(tx.insert(&INSTALLATION, &values(id, 0))?),
    }
}

/// The installation id; `None` before the first start is through.
///
/// # Errors
/// A failure of the file.
pub fn installation(tx: &Tx<'_>) -> Result<Option<InstallationId>, LibraryError> {
    Ok(find(tx)?.map(|(id, _)| id))
}

/// A new device: the next number, for ever.
pub(crate) fn next_identity(tx: &mut Tx<'_>) -> Result<Identity, LibraryError> {
    let (id, device) = find(tx)?.ok_or(LibraryError::NotInstalled)?;
    if u64::from(device) >= BASE.pow(DEVICE_CHARACTERS) {
        return Err(LibraryError::NoDeviceNumber);
    }
    tx.update(&INSTALLATION, &values(id, device + 1))?;
    Ok(id.identity(device))
}

pub(crate) fn required(tx: &Tx<'_>) -> Result<InstallationId, LibraryError> {
    installation(tx)?.ok_or(LibraryError::NotInstalled)
}

fn values(id: InstallationId, next_device: u32) -> [Value; 3] {
    [1.into(), Value::Blob(id.0.to_vec()), next_device.into()]
}

fn find(tx: &Tx<'_>) -> Result<Option<(InstallationId, u32)>, LibraryError> {
    let Some(row) = tx.get(&INSTALLATION, &[1.into()])? else { return Ok(None) };
    Ok(Some((InstallationId(row.get("id")?), row.get("next_device")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_has_six_characters_of_the_installation_and_four_of_the_device() {
        let one = InstallationId([1; 16]);
        let (first, second, last) = (one.identity(0), one.identity(1), one.identity(36 * 36 * 36 * 36 - 1));
        assert_eq!(first.serial.len(), 10);
        assert_eq!(&first.serial[6..], "0000");
        assert_eq!(&second.serial[6..], "0001");
        assert_eq!(&last.serial[6..], "ZZZZ");
        assert_eq!(first.serial[..6], second.serial[..6]);
        assert_ne!(first.serial[..6], InstallationId([2; 16]).identity(0).serial[..6]);
    }

    #[test]
    fn identities_of_an_installation_never_change() {
        let one = InstallationId([0x5a; 16]).identity(12);
        assert_eq!((one.serial.as_str(), one.naa), ("BNW60E000C", 0x3da47aa6cd8addf4));
    }

    #[test]
    fn a_designator_is_naa_3_and_differs_for_each_device() {
        let one = InstallationId([7; 16]);
        let mut all: Vec<u64> = (0..1000).map(|device| one.identity(device).naa).collect();
        assert!(all.iter().all(|naa| naa >> 60 == 0x3));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 1000);
    }
}
