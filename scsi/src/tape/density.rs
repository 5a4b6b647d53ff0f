//! What the drive can read and write: READ BLOCK LIMITS and REPORT DENSITY SUPPORT (SSC-4).

use alloc::vec::Vec;

use vtl_types::{Generation, MediaForm, MediaKind};

use crate::{
    personality::{Density, DriveProfile},
    spc::wire::{len16, padded},
};

/// The largest block that any profile may ask for: the field of READ(6) has 24 bits.
pub(super) const LARGEST_BLOCK: u32 = 0x00ff_ffff;
/// The largest logical object number: SPACE and LOCATE count with a sign.
const LARGEST_OBJECT: u64 = i64::MAX as u64;

/// How a drive gets on with a cartridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    ReadWrite,
    ReadOnly,
    Refused,
}

/// Assigning organization of every LTO density and medium.
pub(super) const ORGANIZATION: &str = "LTO-CVE";

/// Tape length in metres as cartridges of a generation carry it; 0 where we have seen no public document.
pub(super) const fn length_m(generation: Generation) -> u32 {
    match generation {
        Generation::Lto5 | Generation::Lto6 => 846,
        Generation::Lto7 | Generation::Lto8 => 960,
        Generation::Lto9 => 1_035,
        Generation::Lto10 => 0,
    }
}

/// Tape width in tenths of a millimetre: half an inch.
pub(super) const WIDTH_TENTHS_MM: u16 = 127;

/// Whether a drive of this profile reads and writes this medium.
pub(super) fn fit(profile: &DriveProfile, media: MediaKind) -> Fit {
    let row = profile.densities.iter().find(|row| row.code == media.generation.density());
    match row {
        _ if media.form == MediaForm::Cleaning => Fit::Refused,
        None => Fit::Refused,
        Some(Density { writable: true, .. }) => Fit::ReadWrite,
        Some(_) => Fit::ReadOnly,
    }
}

/// READ BLOCK LIMITS, 6 bytes: granularity 0, maximum, minimum.
pub(super) fn block_limits(max_block: u32) -> Vec<u8> {
    let [_, a, b, c] = max_block.to_be_bytes();
    alloc::vec![0, a, b, c, 0, 1]
}

/// READ BLOCK LIMITS with MLOI, 20 bytes.
pub(super) fn largest_object() -> Vec<u8> {
    let mut bytes = alloc::vec![0; 12];
    bytes.extend(LARGEST_OBJECT.to_be_bytes());
    bytes
}

/// REPORT DENSITY SUPPORT with MEDIUM TYPE 0, for all or for the generation of the medium in the drive.
pub(super) fn densities(profile: &DriveProfile, only: Option<MediaKind>) -> Vec<u8> {
    let wanted = |row: &&Density| only.is_none_or(|media| media.generation.density() == row.code);
    with_header(profile.densities.iter().filter(wanted).flat_map(density_descriptor).collect())
}

/// 52 bytes. DUP and DLV stay 0.
fn density_descriptor(row: &Density) -> Vec<u8> {
    let flags = u8::from(row.writable) << 7 | u8::from(row.default) << 5;
    let [_, a, b, c] = row.bits_per_mm.to_be_bytes();
    let mut bytes = alloc::vec![row.code, row.code, flags, 0, 0, a, b, c];
    bytes.extend(row.width_tenths_mm.to_be_bytes());
    bytes.extend(row.tracks.to_be_bytes());
    bytes.extend(row.capacity_mb.to_be_bytes());
    bytes.extend(padded(&row.organization, 8));
    bytes.extend(padded(&row.name, 8));
    bytes.extend(padded(&row.description, 20));
    bytes
}

/// REPORT DENSITY SUPPORT with MEDIUM TYPE 1.
pub(super) fn medium_types(profile: &DriveProfile, only: Option<MediaKind>) -> Vec<u8> {
    let every = profile.densities.iter().flat_map(|row| {
        let generation = (5..=u8::MAX).map_while(Generation::from_number).find(|g| g.density() == row.code);
        let kinds = generation.map(|generation| {
            [MediaForm::Data, MediaForm::Worm].map(|form| (MediaKind { generation, form }, row))
        });
        kinds.into_iter().flatten()
    });
    let wanted = every.filter(|(media, _)| only.is_none_or(|wanted| wanted == *media));
    with_header(wanted.flat_map(|(media, row)| medium_descriptor(media, row)).collect())
}

/// 56 bytes: one density code in a field for nine.
fn medium_descriptor(media: MediaKind, row: &Density) -> Vec<u8> {
    let mut bytes = alloc::vec![media.medium_type(), 0, 0, 52, 1, row.code];
    bytes.extend([0; 8]);
    bytes.extend(row.width_tenths_mm.to_be_bytes());
    bytes.extend(len16(length_m(media.generation) as usize).to_be_bytes());
    bytes.extend([0; 2]);
    bytes.extend(padded(&row.organization, 8));
    bytes.extend(padded(media.id(), 8));
    let form = if media.form == MediaForm::Worm { "WORM" } else { "Data" };
    bytes.extend(padded(&row.description, 15));
    bytes.extend(padded(form, 5));
    bytes
}

/// AVAILABLE DENSITY SUPPORT LENGTH does not count itself.
fn with_header(body: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(body.len() + 4);
    bytes.extend(len16(body.len() + 2).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(body);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn td8() -> DriveProfile {
        crate::Personality::named("ibm-ult3580-td8").unwrap().drive.unwrap()
    }

    #[test]
    fn block_limits_are_one_byte_to_eight_mebibytes() {
        assert_eq!(block_limits(td8().max_block), [0x00, 0x80, 0x00, 0x00, 0x00, 0x01]);
    }

    #[test]
    fn an_lto_8_drive_reports_lto_7_and_lto_8() {
        let report = densities(&td8(), None);
        let expected_lto8 = [
            &[0x5e, 0x5e, 0xa0, 0, 0, 0x00, 0x50, 0xbc][..], // density, WRTOK and DEFLT, 20668 bits per mm
            &[0x00, 0x7f, 0x1a, 0x00, 0x00, 0xb7, 0x1b, 0x00], // 12.7 mm, 6656 tracks, 12,000,000 MB
            b"LTO-CVE U-832   Ultrium 8/32T       ",
        ]
        .concat();
        assert_eq!(report.len(), 4 + 2 * 52);
        assert_eq!(report[..4], [0, 106, 0, 0]);
        assert_eq!(report[4..7], [0x5c, 0x5c, 0x80]);
        assert_eq!(report[56..], expected_lto8);
    }

    #[test]
    fn for_the_medium_in_the_drive_one_density_is_left() {
        let report = densities(&td8(), MediaKind::from_id("L7"));
        assert_eq!(report.len(), 56);
        assert_eq!(report[4..7], [0x5c, 0x5c, 0x80]);
    }

    #[test]
    fn medium_types_have_56_bytes_each() {
        let report = medium_types(&td8(), MediaKind::from_id("L8"));
        let expected = [
            &[0x00, 58, 0, 0, 0x88, 0, 0, 52, 1, 0x5e, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x00, 0x7f, 0x03, 0xc0, 0, 0],
            b"LTO-CVE L8      Ultrium 8/32T  Data ",
        ]
        .concat();
        assert_eq!(report, expected);
    }

    #[test]
    fn an_lto_8_drive_refuses_what_a_real_one_refuses() {
        let fit = |id| fit(&td8(), MediaKind::from_id(id).unwrap());
        assert_eq!([fit("L8"), fit("LY"), fit("L7")], [Fit::ReadWrite; 3]);
        assert_eq!([fit("L6"), fit("L9"), fit("CU")], [Fit::Refused; 3]);
    }

    #[test]
    fn no_drive_takes_a_cleaning_cartridge_for_a_tape() {
        let mut newest = td8();
        newest.densities[1].code = 0x62;
        assert_eq!(fit(&newest, MediaKind::from_id("LA").unwrap()), Fit::ReadWrite);
        assert_eq!(fit(&newest, MediaKind::CLEANING), Fit::Refused);
    }

    #[test]
    fn the_largest_object_number_has_its_own_form() {
        let expected = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(largest_object(), expected);
    }
}
