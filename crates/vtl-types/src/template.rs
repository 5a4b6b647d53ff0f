//! Labels that the library makes up itself: a pattern with digits that count.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use crate::label::Label;

/// How labels of cartridges that are made without anybody naming one look. The media id is always that of the cartridge that they follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelTemplate {
    /// The last digits of the cartridge that they follow count on: `VTL001L8` → `VTL011L8`.
    Series,
    /// Six characters; each `#` is a digit of the number that counts: `SPR###`.
    Pattern(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError(String);

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is no template of labels: write series, or six characters of A-Z, 0-9 and # with one # at least, such as SPR###",
            self.0.escape_debug()
        )
    }
}

impl core::error::Error for TemplateError {}

/// The word for [`LabelTemplate::Series`].
const SERIES: &str = "series";
const VOLUME_LEN: usize = 6;
const DIGIT: char = '#';
/// Volume names that only cleaning cartridges have.
const OF_CLEANING: [&str; 2] = ["CLN", "CLR"];

impl FromStr for LabelTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text == SERIES {
            return Ok(Self::Series);
        }
        let right = |c: char| c == DIGIT || c.is_ascii_uppercase() || c.is_ascii_digit();
        let is_pattern = text.len() == VOLUME_LEN
            && text.chars().all(right)
            && text.contains(DIGIT)
            && !OF_CLEANING.iter().any(|prefix| text.starts_with(prefix));
        if is_pattern { Ok(Self::Pattern(text.to_string())) } else { Err(TemplateError(text.to_string())) }
    }
}

impl fmt::Display for LabelTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Series => SERIES,
            Self::Pattern(pattern) => pattern,
        })
    }
}

impl LabelTemplate {
    /// The pattern for cartridges that follow `like`, with its media id; none when its name ends in no digit and there is no other.
    #[must_use]
    pub fn pattern(&self, like: Label) -> Option<String> {
        let (volume, media) = (like.volume(), like.as_str().get(VOLUME_LEN..)?);
        let pattern = match self {
            Self::Pattern(pattern) => pattern.clone(),
            Self::Series => {
                let fixed = volume.trim_end_matches(|c: char| c.is_ascii_digit());
                let digits = volume.get(fixed.len()..).filter(|digits| !digits.is_empty())?;
                format!("{fixed}{}", DIGIT.to_string().repeat(digits.len()))
            }
        };
        Some(format!("{pattern}{media}"))
    }

    /// The first label after the highest one that is in `used`, or one in a gap when there is none behind it; none: all are used.
    #[must_use]
    pub fn next(&self, like: Label, used: &BTreeSet<Label>) -> Option<Label> {
        let pattern = self.pattern(like)?;
        let highest = used.iter().filter_map(|label| number_in(&pattern, *label)).max();
        let first = highest.map_or(1, |number| number + 1);
        let numbers = 10_u32.pow(digits_of(&pattern));
        let label = |number| label_of(&pattern, number);
        (first..numbers).chain(0..first.min(numbers)).filter_map(label).find(|label| !used.contains(label))
    }
}

/// At most six, so the power fits.
fn digits_of(pattern: &str) -> u32 {
    pattern.chars().map(|c| u32::from(c == DIGIT)).sum()
}

/// The number that a label of this pattern has.
fn number_in(pattern: &str, label: Label) -> Option<u32> {
    let mut number = 0;
    for (wanted, found) in pattern.chars().zip(label.as_str().chars()) {
        match found.to_digit(10).filter(|_| wanted == DIGIT) {
            Some(digit) => number = number * 10 + digit,
            None if wanted == found => {}
            None => return None,
        }
    }
    Some(number)
}

fn label_of(pattern: &str, number: u32) -> Option<Label> {
    let width = usize::try_from(digits_of(pattern)).ok()?;
    let digits = format!("{number:0width$}");
    let mut digits = digits.chars();
    let put = |c: char| if c == DIGIT { digits.next() } else { Some(c) };
    pattern.chars().map(put).collect::<Option<String>>()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> Label {
        text.parse().unwrap()
    }

    fn next(template: &str, like: &str, used: &[&str]) -> Option<String> {
        let used = used.iter().map(|text| label(text)).collect();
        template.parse::<LabelTemplate>().unwrap().next(label(like), &used).map(|label| label.to_string())
    }

    #[test]
    fn a_series_counts_on_behind_its_highest_label_and_keeps_the_media_id() {
        assert_eq!(
            next("series", "VTL001L8", &["VTL001L8", "VTL010L8", "OTH500L8"]).as_deref(),
            Some("VTL011L8")
        );
        assert_eq!(next("series", "A1B009LY", &["A1B009LY", "A1B020L8"]).as_deref(), Some("A1B010LY"));
        assert_eq!(next("series", "VTLABCL8", &["VTLABCL8"]), None, "it has no digits that count");
    }

    #[test]
    fn a_pattern_counts_from_one_and_fills_gaps_when_its_numbers_are_over() {
        assert_eq!(next("SPR###", "VTL001L8", &["VTL001L8"]).as_deref(), Some("SPR001L8"));
        assert_eq!(next("SPR###", "VTL001L8", &["SPR041L8"]).as_deref(), Some("SPR042L8"));
        assert_eq!(next("A#B#C#", "VTL001L7", &["A0B1C9L7"]).as_deref(), Some("A0B2C0L7"));
        assert_eq!(next("SPARE#", "VTL001L8", &["SPARE9L8", "SPARE0L8"]).as_deref(), Some("SPARE1L8"));
        let all: BTreeSet<Label> = (0..10).map(|n| label(&format!("SPARE{n}L8"))).collect();
        assert_eq!("SPARE#".parse::<LabelTemplate>().unwrap().next(label("VTL001L8"), &all), None);
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_would_be() {
        for wrong in ["", "SPR001", "SPR####", "SPR##", "spr###", "CLN###", "SPÄ##", "Series"] {
            let refused = wrong.parse::<LabelTemplate>().unwrap_err().to_string();
            assert!(refused.contains("SPR###"), "{refused}");
        }
        for right in ["series", "######", "SPR###"] {
            assert_eq!(right.parse::<LabelTemplate>().unwrap().to_string(), right);
        }
    }
}
