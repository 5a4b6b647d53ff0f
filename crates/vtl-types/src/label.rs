//! Cartridge labels as LTO bar codes carry them: six characters and a media identifier.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

use crate::media::MediaKind;

/// A bar code label: six volume characters (A-Z, 0-9) and two of media identifier, such as `VTL001L8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label([u8; Self::LEN]);

/// Why a text is not a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelError {
    /// Not eight characters.
    Length(String),
    /// A character other than A-Z and 0-9.
    Character(String),
    /// The last two characters name no medium that we know.
    Media(String),
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, reason) = match self {
            Self::Length(text) => (text, "it must have six characters and a two-character media id"),
            Self::Character(text) => (text, "only A-Z and 0-9 are allowed"),
            Self::Media(text) => (text, "its last two characters are no known media id"),
        };
        write!(f, "'{text}' is not a label: {reason}")
    }
}

impl core::error::Error for LabelError {}

impl Label {
    /// Characters in a label.
    pub const LEN: usize = 8;
    /// Characters that name the volume; the rest is the media id.
    const VOLUME_LEN: usize = 6;

    /// The label's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The six characters that name the volume.
    #[must_use]
    pub fn volume(&self) -> &str {
        self.as_str().get(..6).unwrap_or_default()
    }

    /// What medium the label says this is.
    #[must_use]
    pub fn media(&self) -> MediaKind {
        MediaKind::from_id(self.media_id()).unwrap_or(MediaKind::CLEANING)
    }

    /// The label that follows: the digits that end the volume name count one up, `VTL001L8` → `VTL002L8`.
    /// None when the volume name ends in no digit or all its digits are nines.
    #[must_use]
    pub fn successor(&self) -> Option<Self> {
        let mut next = self.0;
        for byte in next.get_mut(..Self::VOLUME_LEN)?.iter_mut().rev() {
            match byte {
                b'9' => *byte = b'0',
                b'0'..=b'8' => {
                    *byte += 1;
                    return Some(Self(next));
                }
                _ => return None,
            }
        }
        None
    }

    fn media_id(&self) -> &str {
        self.as_str().get(6..).unwrap_or_default()
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let bytes: [u8; Self::LEN] =
            text.as_bytes().try_into().map_err(|_| LabelError::Length(text.to_string()))?;
        if !bytes.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            return Err(LabelError::Character(text.to_string()));
        }
        let label = Self(bytes);
        let media =
            MediaKind::from_id(label.media_id()).ok_or_else(|| LabelError::Media(text.to_string()))?;
        let cleaning_prefix = text.starts_with("CLN") || text.starts_with("CLR");
        if (media == MediaKind::CLEANING) != cleaning_prefix {
            return Err(LabelError::Media(text.to_string()));
        }
        Ok(label)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Generation, MediaForm};

    #[test]
    fn a_label_is_six_characters_and_a_media_id() {
        let label: Label = "VTL001L8".parse().unwrap();
        assert_eq!(label.volume(), "VTL001");
        assert_eq!(label.media(), MediaKind { generation: Generation::Lto8, form: MediaForm::Data });
    }

    #[test]
    fn a_series_of_labels_counts_its_last_digits_up() {
        let after = |text: &str| text.parse::<Label>().unwrap().successor().map(|l| l.to_string());
        assert_eq!(after("VTL001L8").as_deref(), Some("VTL002L8"));
        assert_eq!(after("VTL099L8").as_deref(), Some("VTL100L8"));
        assert_eq!(after("A1B009LY").as_deref(), Some("A1B010LY"));
        assert_eq!(after("123456L8").as_deref(), Some("123457L8"));
        for last in ["VTL999L8", "999999L8", "VTLABCL8", "VTL00AL8"] {
            assert_eq!(after(last), None, "{last}");
        }
    }

    #[test]
    fn worm_and_cleaning_labels_are_known() {
        let worm: Label = "AAA001LY".parse().unwrap();
        assert_eq!(worm.media().form, MediaForm::Worm);
        let cleaning: Label = "CLN001CU".parse().unwrap();
        assert_eq!(cleaning.media().form, MediaForm::Cleaning);
    }

    #[test]
    fn a_wrong_label_says_what_is_wrong() {
        assert!(matches!("VTL01L8".parse::<Label>(), Err(LabelError::Length(_))));
        assert!(matches!("vtl001L8".parse::<Label>(), Err(LabelError::Character(_))));
        assert!(matches!("VTL001Q8".parse::<Label>(), Err(LabelError::Media(_))));
        assert!(matches!("CLN001L8".parse::<Label>(), Err(LabelError::Media(_))));
        assert!(matches!("VTL001CU".parse::<Label>(), Err(LabelError::Media(_))));
        assert!(matches!("VTLÄ01L8".parse::<Label>(), Err(LabelError::Length(_) | LabelError::Character(_))));
    }
}
