//! What begins an export by itself: as text, and as values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What begins an export by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A cartridge is put into a mailslot.
    Mailslot,
    /// A cartridge that has reached early warning was taken out of a drive.
    Full,
    /// A cartridge was not loaded for so long.
    Idle(Duration),
    /// At these times.
    Schedule(Schedule),
}

const MAILSLOT: &str = "mailslot";
const FULL: &str = "full";
const IDLE: &str = "idle:";
const SCHEDULE: &str = "schedule:";
/// The list without any.
const NONE: &str = "none";
/// Before a time zone in a schedule.
const ZONE: &str = "TZ=";
const LONGEST_IDLE_S: u64 = 3650 * 24 * 60 * 60;
/// A time zone's name and a pattern are short.
const MAX_SCHEDULE: usize = 200;
/// A schedule must have a time after this one, 2026-01-01: one that has none never comes.
const SINCE_S: i64 = 1_767_225_600;

impl FromStr for Trigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            MAILSLOT => return Ok(Self::Mailslot),
            FULL => return Ok(Self::Full),
            _ => {}
        }
        if let Some(time) = text.strip_prefix(IDLE) {
            return match seconds(time)? {
                idle @ 1..=LONGEST_IDLE_S => Ok(Self::Idle(Duration::from_secs(idle))),
                _ => Err(format!("{text}: this is too short or too long")),
            };
        }
        match text.strip_prefix(SCHEDULE) {
            Some(schedule) => schedule.parse().map(Self::Schedule),
            None => Err(format!("'{}' is no trigger", text.escape_debug())),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailslot => f.write_str(MAILSLOT),
            Self::Full => f.write_str(FULL),
            Self::Idle(time) => write!(f, "{IDLE}{}", time_text(time.as_secs())),
            Self::Schedule(schedule) => write!(f, "{SCHEDULE}{}", schedule.text),
        }
    }
}

impl Trigger {
    /// Whether a list can have only one of both.
    fn excludes(&self, other: &Self) -> bool {
        self == other || matches!((self, other), (Self::Idle(_), Self::Idle(_)))
    }
}

/// One text with all triggers of a list, as a setting of a library has it: joined by commas, or `none`.
#[must_use]
pub fn triggers_text(triggers: &[Trigger]) -> String {
    match triggers {
        [] => NONE.to_owned(),
        some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// The texts of the triggers in such a text. A schedule has commas of its own: what does not begin as a trigger does belongs to the one before.
#[must_use]
pub fn split_triggers(text: &str) -> Vec<String> {
    if text == NONE {
        return Vec::new();
    }
    let mut all: Vec<String> = Vec::new();
    for piece in text.split(',') {
        let begins =
            [MAILSLOT, FULL].contains(&piece) || [IDLE, SCHEDULE].iter().any(|word| piece.starts_with(word));
        match all.last_mut().filter(|_| !begins) {
            Some(before) => {
                before.push(',');
                before.push_str(piece);
            }
            None => all.push(piece.to_owned()),
        }
    }
    all
}

/// All triggers of such a text.
///
/// # Errors
/// Which one is none, or which exclude each other.
pub fn parse_triggers(text: &str) -> Result<Vec<Trigger>, String> {
    let all: Vec<Trigger> = split_triggers(text).iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
    not_twice(&all)?;
    Ok(all)
}

/// # Errors
/// Which trigger comes twice.
pub(crate) fn not_twice(all: &[Trigger]) -> Result<(), String> {
    let mut left = all;
    while let [first, rest @ ..] = left {
        if let Some(other) = rest.iter().find(|other| first.excludes(other)) {
            return Err(format!("{first} and {other} cannot both be"));
        }
        left = rest;
    }
    Ok(())
}

/// Times that come again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// As it was written: the pattern, after its time zone if it names one.
    text: String,
    zone: TimeZone,
    cron: Box<Cron>,
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl FromStr for Schedule {
    type Err = String;

    /// `[TZ=ZONE ]PATTERN`: five fields of cron (minute, hour, day of month, month, day of week), with seconds before them six. UTC without a zone.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SCHEDULE {
            return Err("the schedule is too long".to_owned());
        }
        let zoned = text.strip_prefix(ZONE);
        let (zone, pattern) = match zoned.map(|rest| rest.split_once(' ').unwrap_or((rest, ""))) {
            None => (TimeZone::UTC, text),
            Some((name, pattern)) => {
                let zone = TimeZone::get(name);
                let unknown =
                    |_| format!("'{}' is no time zone that this machine knows", name.escape_debug());
                (zone.map_err(unknown)?, pattern)
            }
        };
        let cron = pattern.parse::<Cron>();
        let cron = cron.map_err(|why| format!("'{}' is no schedule: {why}", pattern.escape_debug()))?;
        let schedule = Self { text: text.to_owned(), zone, cron: Box::new(cron) };
        match schedule.after(SINCE_S) {
            Some(_) => Ok(schedule),
            None => Err(format!("'{}' never comes", pattern.escape_debug())),
        }
    }
}

impl Schedule {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first time after this one, both in seconds since 1970; none when there is none any more.
    #[must_use]
    pub fn next_after(&self, unix_s: u64) -> Option<u64> {
        let next = self.after(i64::try_from(unix_s).ok()?)?;
        u64::try_from(next).ok()
    }

    fn after(&self, unix_s: i64) -> Option<i64> {
        let from = Timestamp::from_second(unix_s).ok()?.to_zoned(self.zone.clone());
        let next = self.cron.find_next_occurrence(&from, false).ok()?;
        Some(next.timestamp().as_second()).filter(|next| *next > unix_s)
    }
}

const UNITS: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// A number with its unit (s, m, h or d), in seconds.
///
/// # Errors
/// It is none.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let (number, unit_s) = unit.ok_or_else(|| "this has no unit: s, m, h or d".to_owned())?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse::<u64>().ok().filter(|_| digits).and_then(|number| number.checked_mul(*unit_s));
    number.ok_or_else(|| "this is no whole number with a unit".to_owned())
}

/// As people write it.
fn time_text(time_s: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit_s)| time_s.is_multiple_of(*unit_s));
    whole.map_or_else(|| format!("{time_s}s"), |(unit, unit_s)| format!("{}{unit}", time_s / unit_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-26 03:15:00 UTC, a Thursday.
    const NOW_S: u64 = 1_795_662_900;
    const HOUR_S: u64 = 3600;

    fn schedule(text: &str) -> Schedule {
        text.parse().unwrap()
    }

    #[test]
    fn a_schedule_is_in_utc_unless_it_names_a_zone_and_its_next_time_is_after_the_one_asked_for() {
        let next = |text: &str| schedule(text).next_after(NOW_S).unwrap();
        assert_eq!(next("30 3 * * *"), NOW_S + 15 * 60);
        assert_eq!(next("15 3 * * *"), NOW_S + 24 * HOUR_S, "never the same moment again");
        assert_eq!(next("0 0 1 1 *"), 1_798_761_600, "2027-01-01 00:00 UTC");
        // 04:15 in Berlin, in winter; 05:00 there is 04:00 UTC.
        assert_eq!(next("TZ=Europe/Berlin 0 5 * * *"), NOW_S + 45 * 60);
        assert_eq!(next("*/2 * * * * *"), NOW_S + 2);
    }

    #[test]
    fn an_hour_that_a_zone_has_twice_or_not_at_all_is_one_time_a_day() {
        // 2026-10-25: 02:30 comes twice in Berlin; 2027-03-28: not at all.
        let daily = schedule("TZ=Europe/Berlin 30 2 * * *");
        for (from, times) in [(1_792_800_000, 3), (1_806_019_200, 3)] {
            let mut at = from;
            let mut gaps = Vec::new();
            for _ in 0..times {
                let next = daily.next_after(at).unwrap();
                gaps.push(next - at);
                at = next;
            }
            assert!(gaps[1..].iter().all(|gap| (22 * HOUR_S..=26 * HOUR_S).contains(gap)), "{gaps:?}");
        }
    }

    #[test]
    fn a_list_is_one_text_in_which_a_schedule_keeps_its_commas() {
        let text = "mailslot,full,idle:7d,schedule:0 2,14 * * MON,FRI,schedule:TZ=Europe/Berlin 5 4 * * *";
        let all = parse_triggers(text).unwrap();
        assert_eq!(all.len(), 5);
        assert_eq!(
            (&all[1], &all[2]),
            (&Trigger::Full, &Trigger::Idle(Duration::from_secs(7 * 24 * HOUR_S)))
        );
        assert!(matches!(&all[3], Trigger::Schedule(one) if one.as_str() == "0 2,14 * * MON,FRI"));
        assert_eq!(triggers_text(&all), text);
        assert_eq!((parse_triggers("none").unwrap(), triggers_text(&[])), (vec![], "none".to_owned()));
    }

    #[test]
    fn what_is_no_trigger_is_refused_by_its_name() {
        for (wrong, word) in [
            ("never", "'never' is no trigger"),
            ("", "is no trigger"),
            ("mailslot,mailslot", "cannot both be"),
            ("idle:1d,idle:2d", "idle:1d and idle:2d"),
            ("idle:7", "unit"),
            ("idle:0s", "too short"),
            ("idle:4000d", "too long"),
            ("schedule:", "is no schedule"),
            ("schedule:61 * * * *", "is no schedule"),
            ("schedule:0 0 31 2 *", "never comes"),
            ("schedule:TZ=Middle/Earth 0 0 * * *", "Middle/Earth"),
            ("schedule:TZ=UTC", "is no schedule"),
        ] {
            let refused = parse_triggers(wrong).unwrap_err();
            assert!(refused.contains(word), "{wrong}: {refused}");
        }
    }
}
