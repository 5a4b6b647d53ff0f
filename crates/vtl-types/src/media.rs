//! LTO media: generations, what a media identifier means, and the numbers a drive reports for each.

use crate::size::ByteCount;

/// An LTO generation that a cartridge can belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// LTO-5.
    Lto5,
    /// LTO-6.
    Lto6,
    /// LTO-7.
    Lto7,
    /// LTO-8.
    Lto8,
    /// LTO-9.
    Lto9,
    /// LTO-10.
    Lto10,
}

/// What a cartridge may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaForm {
    /// Rewritable data cartridge.
    Data,
    /// Write once, read many.
    Worm,
    /// Cleaning cartridge.
    Cleaning,
}

/// Generation and form together: what the two characters of media identifier say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKind {
    /// The LTO generation; a universal cleaning cartridge is listed as the newest.
    pub generation: Generation,
    /// Data, WORM or cleaning.
    pub form: MediaForm,
}

struct Row {
    generation: Generation,
    number: u8,
    data_id: &'static str,
    worm_id: &'static str,
    density: u8,
    medium_type: u8,
    native_bytes: u64,
}

const fn row(
    generation: Generation,
    number: u8,
    ids: (&'static str, &'static str),
    density: u8,
    medium_type: u8,
    native_gb: u64,
) -> Row {
    let native_bytes = native_gb * 1_000_000_000;
    Row { generation, number, data_id: ids.0, worm_id: ids.1, density, medium_type, native_bytes }
}

/// IBM's medium types and densities, and native capacities by generation.
const ROWS: [Row; 6] = [
    row(Generation::Lto5, 5, ("L5", "LV"), 0x58, 0x58, 1_500),
    row(Generation::Lto6, 6, ("L6", "LW"), 0x5a, 0x68, 2_500),
    row(Generation::Lto7, 7, ("L7", "LX"), 0x5c, 0x78, 6_000),
    row(Generation::Lto8, 8, ("L8", "LY"), 0x5e, 0x88, 12_000),
    row(Generation::Lto9, 9, ("L9", "LZ"), 0x60, 0x98, 18_000),
    row(Generation::Lto10, 10, ("LA", "LH"), 0x62, 0xa8, 30_000),
];

const CLEANING_ID: &str = "CU";
/// A WORM medium's type is the data medium's with this in its low nibble.
const WORM_MEDIUM_TYPE_NIBBLE: u8 = 0x0c;

impl Generation {
    fn row(self) -> &'static Row {
        let [lto5, lto6, lto7, lto8, lto9, lto10] = &ROWS;
        match self {
            Self::Lto5 => lto5,
            Self::Lto6 => lto6,
            Self::Lto7 => lto7,
            Self::Lto8 => lto8,
            Self::Lto9 => lto9,
            Self::Lto10 => lto10,
        }
    }

    /// 8 for LTO-8.
    #[must_use]
    pub fn number(self) -> u8 {
        self.row().number
    }

    /// The generation with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        ROWS.iter().find(|r| r.number == number).map(|r| r.generation)
    }

    /// Density code in mode parameter block descriptors and REPORT DENSITY SUPPORT.
    #[must_use]
    pub fn density(self) -> u8 {
        self.row().density
    }

    /// Uncompressed capacity of a cartridge as sold.
    #[must_use]
    pub fn native_capacity(self) -> ByteCount {
        ByteCount(self.row().native_bytes)
    }
}

impl MediaKind {
    /// A universal cleaning cartridge.
    pub const CLEANING: Self = Self { generation: Generation::Lto10, form: MediaForm::Cleaning };

    /// What a label's last two characters mean.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        if id == CLEANING_ID {
            return Some(Self::CLEANING);
        }
        ROWS.iter().find_map(|r| match id {
            _ if id == r.data_id => Some(Self { generation: r.generation, form: MediaForm::Data }),
            _ if id == r.worm_id => Some(Self { generation: r.generation, form: MediaForm::Worm }),
            _ => None,
        })
    }

    /// The two characters that a label of this medium ends in.
    #[must_use]
    pub fn id(self) -> &'static str {
        match self.form {
            MediaForm::Data => self.generation.row().data_id,
            MediaForm::Worm => self.generation.row().worm_id,
            MediaForm::Cleaning => CLEANING_ID,
        }
    }

    /// Medium type byte of the mode parameter header (IBM LTO).
    #[must_use]
    pub fn medium_type(self) -> u8 {
        let data = self.generation.row().medium_type;
        match self.form {
            MediaForm::Worm => (data & 0xf0) | WORM_MEDIUM_TYPE_NIBBLE,
            MediaForm::Data | MediaForm::Cleaning => data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lto_8_reports_the_numbers_of_a_real_drive() {
        let data = MediaKind::from_id("L8").unwrap();
        assert_eq!((data.generation.density(), data.medium_type()), (0x5e, 0x88));
        assert_eq!(MediaKind::from_id("LY").unwrap().medium_type(), 0x8c);
        assert_eq!(data.generation.native_capacity(), ByteCount(12_000_000_000_000));
    }

    #[test]
    fn every_media_id_names_its_medium_again() {
        for id in ["L5", "L6", "L7", "L8", "L9", "LA", "LV", "LW", "LX", "LY", "LZ", "LH", "CU"] {
            assert_eq!(MediaKind::from_id(id).map(MediaKind::id), Some(id));
        }
        assert_eq!(MediaKind::from_id("M8"), None);
    }

    #[test]
    fn rows_are_in_the_order_of_their_generation() {
        for number in 5..=10 {
            assert_eq!(Generation::from_number(number).map(Generation::number), Some(number));
        }
    }
}
