//! The one table of places: what may move where, by whom, and why a move is refused.
//!
//! ```text
//!            +--------- robot: any to any ---------+
//!            |   slot <----> drive <----> mailslot |
//!            +---------------- ^ -----------|------+
//!                              | operator   | ejection
//!                              v            v
//!                            vault <--------+
//! ```
//! The robot is what a host commands (MOVE MEDIUM, EXCHANGE MEDIUM); the operator comes by the API and may do what
//! the robot may, and carry cartridges between the library and the vault. An ejection follows a move to a mailslot of a library
//! whose cartridges are exported from there, in the same transaction.

use std::{collections::BTreeSet, fmt};

use vtl_types::{Generation, Label, MediaForm, Place};

/// Who moves a cartridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mover {
    /// The medium transport, at the command of a host.
    Robot,
    /// A person, by the API.
    Operator,
    /// The library by itself, after a move to a mailslot.
    Ejection,
}

impl Mover {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Robot => "robot",
            Self::Operator => "operator",
            Self::Ejection => "ejection",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Robot, Self::Operator].into_iter().find(|mover| mover.word() == word)
    }
}

/// A kind of place, by the words of [`Place::kind`].
type Kind = &'static str;

const BOTH: &[Mover] = &[Mover::Robot, Mover::Operator];
const OPERATOR: &[Mover] = &[Mover::Operator];
const OUT: &[Mover] = &[Mover::Operator, Mover::Ejection];
const NOBODY: &[Mover] = &[];

/// From, to, who may. Each pair stands here once.
const MOVES: [(Kind, Kind, &[Mover]); 16] = [
    ("slot", "slot", BOTH),
    ("slot", "drive", BOTH),
    ("slot", "mailslot", BOTH),
    ("slot", "vault", OPERATOR),
    ("drive", "slot", BOTH),
    ("drive", "drive", BOTH),
    ("drive", "mailslot", BOTH),
    ("drive", "vault", OPERATOR),
    ("mailslot", "slot", BOTH),
    ("mailslot", "drive", BOTH),
    ("mailslot", "mailslot", BOTH),
    ("mailslot", "vault", OUT),
    ("vault", "slot", OPERATOR),
    ("vault", "drive", OPERATOR),
    ("vault", "mailslot", OPERATOR),
    ("vault", "vault", NOBODY),
];

/// Whether such a move exists at all (the device capabilities page of a changer says the same to hosts).
#[must_use]
pub fn exists(from: Place, to: Place, by: Mover) -> bool {
    MOVES.iter().any(|(f, t, who)| *f == from.kind() && *t == to.kind() && who.contains(&by))
}

/// Drive generation and the cartridge generations it takes, to write or only to read (LTO's rule: one back to write,
/// two back to read up to LTO-7, one back with LTO-8 and 9, none with LTO-10).
const TAKES: [(Generation, &[Generation]); 6] = [
    (Generation::Lto5, &[Generation::Lto5]),
    (Generation::Lto6, &[Generation::Lto6, Generation::Lto5]),
    (Generation::Lto7, &[Generation::Lto7, Generation::Lto6, Generation::Lto5]),
    (Generation::Lto8, &[Generation::Lto8, Generation::Lto7]),
    (Generation::Lto9, &[Generation::Lto9, Generation::Lto8]),
    (Generation::Lto10, &[Generation::Lto10]),
];

/// Whether a drive of one generation takes a cartridge of another.
#[must_use]
pub fn takes(drive: Generation, medium: Generation) -> bool {
    TAKES.iter().any(|(generation, media)| *generation == drive && media.contains(&medium))
}

/// What the devices say at this moment; the inventory cannot know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// Drives in which PREVENT ALLOW MEDIUM REMOVAL holds the cartridge.
    pub prevented_drives: BTreeSet<u16>,
    /// Drives that take no cartridge now.
    pub closed_drives: BTreeSet<u16>,
    /// PREVENT ALLOW MEDIUM REMOVAL to the changer: the operator may not open the mailslots.
    pub mailslots_locked: bool,
}

impl Gates {
    /// Nothing is prevented.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }
}

/// Why a cartridge cannot be moved so. Each variant names the sense data (SMC-3, SPC-4) that fits a host's command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveFault {
    /// No such element in the library: 5/21/01, INVALID ELEMENT ADDRESS.
    InvalidElement {
        /// The place.
        place: Place,
    },
    /// No such move, whatever the elements hold: 5/21/01 too, as hosts only see it with a wrong element.
    NoSuchMove {
        /// From here.
        from: Place,
        /// To here.
        to: Place,
    },
    /// Nothing to move: 5/3B/0E, MEDIUM SOURCE ELEMENT EMPTY.
    SourceEmpty {
        /// The place.
        place: Place,
    },
    /// No room: 5/3B/0D, MEDIUM DESTINATION ELEMENT FULL.
    DestinationFull {
        /// The place.
        place: Place,
        /// What is there.
        holds: Label,
    },
    /// A host or the changer holds the medium: 5/53/02, MEDIUM REMOVAL PREVENTED.
    RemovalPrevented {
        /// The place.
        place: Place,
    },
    /// The drive takes no cartridge now (it is stopping, or under test): 2/04/03, LOGICAL UNIT NOT READY.
    DriveClosed {
        /// The drive's number.
        drive: u16,
    },
    /// The drive cannot read this generation: 5/30/00, INCOMPATIBLE MEDIUM INSTALLED.
    IncompatibleMedium {
        /// The drive's number.
        drive: u16,
        /// What the drive is.
        generation: Generation,
        /// The cartridge.
        label: Label,
    },
    /// A cleaning cartridge: virtual drives are always clean and refuse it: 5/30/03, CLEANING CARTRIDGE INSTALLED.
    CleaningCartridge {
        /// The drive's number.
        drive: u16,
        /// The cartridge.
        label: Label,
    },
    /// An operation of ours holds the cartridge, such as its removal. A host never meets it, as such
    /// cartridges are in the vault.
    Reserved {
        /// The cartridge.
        label: Label,
    },
}

impl fmt::Display for MoveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidElement { place } => {
                write!(f, "there is no {place} in this library")
            }
            Self::NoSuchMove { from, to } => {
                write!(f, "nothing can be moved from {from} to {to} in this way")
            }
            Self::SourceEmpty { place } => write!(f, "{place} is empty"),
            Self::DestinationFull { place, holds } => write!(f, "{place} holds '{holds}'"),
            Self::RemovalPrevented { place } => write!(f, "a host prevents removal from {place}"),
            Self::DriveClosed { drive } => write!(f, "drive:{drive} takes no cartridge now"),
            Self::IncompatibleMedium { drive, generation, label } => write!(
                f,
                "drive:{drive} is LTO-{}, it cannot take '{label}' (LTO-{})",
                generation.number(),
                label.media().generation.number()
            ),
            Self::CleaningCartridge { drive, label } => {
                write!(f, "'{label}' is a cleaning cartridge, drive:{drive} needs none")
            }
            Self::Reserved { label } => write!(f, "'{label}' is being removed"),
        }
    }
}

impl MoveFault {
    /// What the operator can do.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::InvalidElement { .. } | Self::NoSuchMove { .. } | Self::SourceEmpty { .. } => {
                "vtl library show NAME shows what is where"
            }
            Self::DestinationFull { .. } => {
                "move that first, or choose another place; vtl library show NAME shows what is where"
            }
            Self::RemovalPrevented { .. } => {
                "unload there (mt offline), or end the session of that host; --force moves it all the same"
            }
            Self::DriveClosed { .. } => "try again",
            Self::IncompatibleMedium { .. } => "choose another drive or cartridge",
            Self::CleaningCartridge { .. } => "leave it in a slot",
            Self::Reserved { label } => {
                return Some(format!("vtl cartridge restore {label} takes it back from the trash"));
            }
        };
        Some(remedy.to_owned())
    }
}

impl std::error::Error for MoveFault {}

/// One end of a move, as the inventory sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub place: Place,
    /// The element exists.
    pub exists: bool,
    /// What it holds; always nothing for the vault as a destination.
    pub holds: Option<Label>,
    /// The drive's generation, when it is a drive.
    pub drive: Option<Generation>,
}

/// The checks, in the order in which a host is told: addresses first, then contents, then doors, then media.
pub(crate) fn check(from: End, to: End, by: Mover, gates: &Gates) -> Result<Label, MoveFault> {
    let label = check_source(from, to, by, gates)?;
    if let Some(holds) = to.holds {
        return Err(MoveFault::DestinationFull { place: to.place, holds });
    }
    check_entry(label, to, by, gates)?;
    Ok(label)
}

/// What must hold at the source, for a plain move and for both moves of an exchange.
pub(crate) fn check_source(from: End, to: End, by: Mover, gates: &Gates) -> Result<Label, MoveFault> {
    for end in [from, to] {
        if !end.exists {
            return Err(MoveFault::InvalidElement { place: end.place });
        }
    }
    if !exists(from.place, to.place, by) {
        return Err(MoveFault::NoSuchMove { from: from.place, to: to.place });
    }
    let label = from.holds.ok_or(MoveFault::SourceEmpty { place: from.place })?;
    if locked(from.place, by, gates) {
        return Err(MoveFault::RemovalPrevented { place: from.place });
    }
    Ok(label)
}

fn locked(from: Place, by: Mover, gates: &Gates) -> bool {
    match from {
        Place::Drive(number) => gates.prevented_drives.contains(&number),
        Place::Mailslot(_) => by == Mover::Operator && gates.mailslots_locked,
        Place::Slot(_) | Place::Vault => false,
    }
}

/// What must hold at the destination besides room.
pub(crate) fn check_entry(label: Label, to: End, by: Mover, gates: &Gates) -> Result<(), MoveFault> {
    match (to.place, to.drive) {
        (Place::Mailslot(_), _) if by == Mover::Operator && gates.mailslots_locked => {
            Err(MoveFault::RemovalPrevented { place: to.place })
        }
        (Place::Drive(drive), _) if gates.closed_drives.contains(&drive) => {
            Err(MoveFault::DriveClosed { drive })
        }
        (Place::Drive(drive), _) if label.media().form == MediaForm::Cleaning => {
            Err(MoveFault::CleaningCartridge { drive, label })
        }
        (Place::Drive(drive), Some(generation)) if !takes(generation, label.media().generation) => {
            Err(MoveFault::IncompatibleMedium { drive, generation, label })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(place: Place, holds: Option<&str>) -> End {
        let drive = matches!(place, Place::Drive(_)).then_some(Generation::Lto8);
        End { place, exists: true, holds: holds.map(|text| text.parse().unwrap()), drive }
    }

    const SLOT: Place = Place::Slot(1);
    const DRIVE: Place = Place::Drive(0);
    const MAILSLOT: Place = Place::Mailslot(1);
    const KINDS: [Place; 4] = [SLOT, DRIVE, MAILSLOT, Place::Vault];

    #[test]
    fn each_pair_of_kinds_stands_in_the_table_once() {
        for from in KINDS {
            for to in KINDS {
                let rows = MOVES.iter().filter(|(f, t, _)| *f == from.kind() && *t == to.kind()).count();
                assert_eq!(rows, 1, "{from} {to}");
            }
        }
    }

    #[test]
    fn a_host_reaches_every_element_but_never_the_vault() {
        for from in KINDS {
            for to in KINDS {
                let inside = from != Place::Vault && to != Place::Vault;
                assert_eq!(exists(from, to, Mover::Robot), inside, "{from} {to}");
            }
        }
    }

    #[test]
    fn whatever_the_robot_may_the_operator_may() {
        assert!(MOVES.iter().all(|(.., who)| !who.contains(&Mover::Robot) || who.contains(&Mover::Operator)));
    }

    #[test]
    fn an_ejection_goes_from_a_mailslot_to_the_vault_and_nowhere_else() {
        for from in KINDS {
            for to in KINDS {
                let expected = from == MAILSLOT && to == Place::Vault;
                assert_eq!(exists(from, to, Mover::Ejection), expected, "{from} {to}");
            }
        }
    }

    #[test]
    fn an_lto_8_drive_takes_lto_8_and_7_only() {
        let taken: Vec<u8> =
            (5..=10).filter(|n| takes(Generation::Lto8, Generation::from_number(*n).unwrap())).collect();
        assert_eq!(taken, [7, 8]);
    }

    #[test]
    fn an_empty_source_is_told_before_a_full_destination() {
        let fault = check(end(SLOT, None), end(DRIVE, Some("VTL002L8")), Mover::Robot, &Gates::open());
        assert_eq!(fault, Err(MoveFault::SourceEmpty { place: SLOT }));
    }

    #[test]
    fn an_address_outside_the_library_is_told_first() {
        let outside = End { exists: false, ..end(Place::Slot(99), None) };
        let fault = check(end(SLOT, None), outside, Mover::Robot, &Gates::open());
        assert_eq!(fault, Err(MoveFault::InvalidElement { place: Place::Slot(99) }));
    }

    #[test]
    fn prevented_removal_holds_the_cartridge_in_its_drive_for_robot_and_operator() {
        let gates = Gates { prevented_drives: [0].into(), ..Gates::open() };
        for by in BOTH {
            let fault = check(end(DRIVE, Some("VTL001L8")), end(SLOT, None), *by, &gates);
            assert_eq!(fault, Err(MoveFault::RemovalPrevented { place: DRIVE }));
        }
    }

    #[test]
    fn a_locked_mailslot_stops_the_operator_but_not_the_robot() {
        let gates = Gates { mailslots_locked: true, ..Gates::open() };
        let out = |by| check(end(MAILSLOT, Some("VTL001L8")), end(SLOT, None), by, &gates);
        let into = |by| check(end(SLOT, Some("VTL001L8")), end(MAILSLOT, None), by, &gates);
        assert!(out(Mover::Robot).is_ok() && into(Mover::Robot).is_ok());
        assert_eq!(out(Mover::Operator), Err(MoveFault::RemovalPrevented { place: MAILSLOT }));
        assert_eq!(into(Mover::Operator), Err(MoveFault::RemovalPrevented { place: MAILSLOT }));
    }

    #[test]
    fn a_drive_refuses_media_of_the_wrong_kind() {
        let load =
            |label: &str| check(end(SLOT, Some(label)), end(DRIVE, None), Mover::Robot, &Gates::open());
        assert!(load("VTL001L8").is_ok() && load("VTL001L7").is_ok() && load("VTL001LY").is_ok());
        assert!(matches!(load("VTL001L9"), Err(MoveFault::IncompatibleMedium { drive: 0, .. })));
        assert!(matches!(load("VTL001L6"), Err(MoveFault::IncompatibleMedium { drive: 0, .. })));
        assert!(matches!(load("CLN001CU"), Err(MoveFault::CleaningCartridge { drive: 0, .. })));
    }
}
