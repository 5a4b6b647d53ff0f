//! Why the library refuses, and what the operator can do.

use std::fmt;

use vtl_meta::MetaError;
use vtl_types::{IscsiName, Label, LibraryName, Place};

use crate::moves::MoveFault;

/// A refusal; nothing has changed.
#[derive(Debug)]
pub enum LibraryError {
    /// The inventory file failed.
    Meta(MetaError),
    /// The cartridge cannot be moved so.
    Move(MoveFault),
    /// The inventory has no installation id yet.
    NotInstalled,
    /// The inventory has another installation id.
    OtherInstallation,
    /// No library of this name.
    UnknownLibrary(LibraryName),
    /// The name is in use.
    LibraryExists(LibraryName),
    /// The library still holds cartridges: the first of them, and how many.
    NotEmpty {
        /// The library.
        library: LibraryName,
        /// Some of its cartridges.
        labels: Vec<Label>,
        /// All of them, counted.
        total: usize,
    },
    /// A count outside its range.
    Count {
        /// What is counted: `drives`, `slots`, `mailslots`.
        what: &'static str,
        /// What was asked.
        asked: u16,
        /// The least.
        least: u16,
        /// The most.
        most: u16,
    },
    /// Elements that would disappear hold cartridges.
    Occupied {
        /// The library.
        library: LibraryName,
        /// Which element holds what.
        holders: Vec<(Place, Label)>,
    },
    /// No cartridge with this label.
    UnknownCartridge(Label),
    /// The label is in use.
    LabelTaken(Label),
    /// An id is in use, or fewer ids than cartridges were given: a fault of the caller.
    Ids,
    /// The label's digits end before the series does.
    SeriesEnds {
        /// The first label.
        first: Label,
        /// How many were asked.
        asked: u32,
        /// How many labels there are.
        possible: u32,
    },
    /// Too many cartridges in one request, or none.
    SeriesLength {
        /// How many were asked.
        asked: u32,
        /// The most.
        most: u32,
    },
    /// Not enough empty elements.
    NoRoom {
        /// The library.
        library: LibraryName,
        /// `slot` or `mailslot`.
        kind: &'static str,
        /// Empty ones.
        free: usize,
        /// Cartridges to place.
        needed: usize,
    },
    /// A new cartridge in a library needs a library.
    NoLibraryGiven(Label),
    /// The cartridge is not in the vault.
    NotInVault {
        /// The cartridge.
        label: Label,
        /// Where it is.
        place: Place,
    },
    /// The cartridge is in a drive.
    Loaded {
        /// The cartridge.
        label: Label,
        /// The drive.
        place: Place,
    },
    /// `begin_remove` was not called.
    NotRemoving(Label),
    /// No target of this name.
    UnknownTarget(IscsiName),
    /// The target name is in use.
    TargetExists(IscsiName),
    /// A drive's target would have a name that is too long.
    TargetNameTooLong(String),
    /// What is to follow a move, in the same transaction, cannot.
    Follow {
        /// The cartridge.
        label: Label,
        /// What, why not, and what helps.
        why: String,
    },
    /// The cartridge stays in the vault until somebody releases it.
    Quarantined {
        /// The cartridge.
        label: Label,
        /// Why.
        why: String,
    },
    /// The cartridge is not in quarantine.
    NotQuarantined(Label),
    /// A setting's key or value that cannot be kept.
    Setting {
        /// The key.
        key: String,
    },
    /// All device numbers are used up.
    NoDeviceNumber,
}

impl From<MetaError> for LibraryError {
    fn from(error: MetaError) -> Self {
        Self::Meta(error)
    }
}

impl From<MoveFault> for LibraryError {
    fn from(fault: MoveFault) -> Self {
        Self::Move(fault)
    }
}

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta(error) => error.fmt(f),
            Self::Move(fault) => fault.fmt(f),
            Self::NotInstalled => f.write_str("the inventory has no installation id"),
            Self::OtherInstallation => f.write_str("the inventory belongs to another installation"),
            Self::UnknownLibrary(name) => write!(f, "no library '{name}'"),
            Self::LibraryExists(name) => write!(f, "library '{name}' exists"),
            Self::NotEmpty { library, labels, total } => write!(
                f,
                "library '{library}' holds {total} cartridges ({}{})",
                list(labels),
                if labels.len() < *total { ", ..." } else { "" }
            ),
            Self::Count { what, asked, least, most } => {
                write!(f, "{what}={asked} is not possible: {least} to {most}")
            }
            Self::Occupied { library, holders } => write!(
                f,
                "library '{library}' cannot shrink, these elements hold cartridges: {}",
                list(holders.iter().map(|(place, label)| format!("{place} ({label})")))
            ),
            Self::UnknownCartridge(label) => write!(f, "no cartridge '{label}'"),
            Self::LabelTaken(label) => {
                write!(f, "label '{label}' is in use: labels are unique over all libraries and the vault")
            }
            Self::Ids => f.write_str("cartridge ids are missing or in use: this is a fault of the program"),
            Self::SeriesEnds { first, asked, possible } => {
                write!(f, "a series from '{first}' has {possible} labels, {asked} were asked")
            }
            Self::SeriesLength { asked, most } => {
                write!(f, "{asked} cartridges in one request are not possible: 1 to {most}")
            }
            Self::NoRoom { library, kind, free, needed } => {
                write!(f, "library '{library}' has {free} empty {kind}s, {needed} are needed")
            }
            Self::NoLibraryGiven(label) => write!(f, "cartridge '{label}' needs a library to go to"),
            Self::NotInVault { label, place } => {
                write!(f, "cartridge '{label}' is in {place}, not in the vault")
            }
            Self::Loaded { label, place } => write!(f, "cartridge '{label}' is in {place}"),
            Self::NotRemoving(label) => {
                write!(f, "cartridge '{label}' is not being removed: this is a fault of the program")
            }
            Self::UnknownTarget(iqn) => write!(f, "no target '{iqn}'"),
            Self::TargetExists(iqn) => write!(f, "target '{iqn}' exists"),
            Self::TargetNameTooLong(name) => write!(f, "'{name}' is too long for a target's name"),
            Self::Follow { label, why } => write!(f, "'{label}' stays where it is: {why}"),
            Self::Quarantined { label, why } => write!(f, "cartridge '{label}' is in quarantine: {why}"),
            Self::NotQuarantined(label) => write!(f, "cartridge '{label}' is not in quarantine"),
            Self::Setting { key } => write!(f, "setting '{key}' cannot be kept"),
            Self::NoDeviceNumber => f.write_str("all serial numbers of this installation are used"),
        }
    }
}

impl LibraryError {
    /// What the operator can do; none where it is a fault of the program.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Meta(error) => return Some(error.remedy()),
            Self::Move(fault) => return fault.remedy(),
            Self::NotInstalled => "start vtld once",
            Self::OtherInstallation => {
                "restore the copy that was made here, or use the state folder it came from"
            }
            Self::UnknownLibrary(_) => "vtl library ls shows those that there are",
            Self::LibraryExists(_) => "choose another name; vtl library ls shows those that are taken",
            Self::NotEmpty { .. } => "move them to the vault, or remove them",
            Self::Count { .. } | Self::SeriesLength { .. } => "write a number within these bounds",
            Self::Occupied { .. } => "move these cartridges first, or ask for more",
            Self::UnknownCartridge(_) => "vtl cartridge ls shows those that there are",
            Self::LabelTaken(_) => "choose another label; vtl cartridge ls shows those in use",
            Self::SeriesEnds { .. } => "ask for fewer, or begin with a label that has more trailing digits",
            Self::NoRoom { library, kind, .. } => {
                return Some(format!(
                    "add {kind}s (vtl library set {library} {kind}s=N) or move cartridges to the vault"
                ));
            }
            Self::NoLibraryGiven(_) => "name one with --library; vtl library ls shows those that there are",
            Self::NotInVault { label, .. } => {
                return Some(format!("move it with vtl cartridge move {label} --to PLACE"));
            }
            Self::Loaded { label, .. } => {
                return Some(format!("unload it first: vtl cartridge move {label} --to slot:N"));
            }
            Self::UnknownTarget(_) => "vtl iscsi target ls shows those that there are",
            Self::Follow { .. } => "see to that, then move it again",
            Self::Quarantined { label, .. } => {
                return Some(format!("when you know where it comes from: vtl cartridge release {label}"));
            }
            Self::NotQuarantined(_) => "use it as it is",
            Self::Setting { .. } => {
                "write a key of words of a-z, 0-9 and '_' joined by '.'; key and value have at most 1024 bytes"
            }
            Self::NoDeviceNumber => "start a new state folder",
            Self::Ids | Self::NotRemoving(_) | Self::TargetExists(_) | Self::TargetNameTooLong(_) => {
                return None;
            }
        };
        Some(remedy.to_owned())
    }

    /// Both in one text, for a log or a start that fails.
    #[must_use]
    pub fn advised(&self) -> String {
        self.remedy().map_or_else(|| self.to_string(), |remedy| format!("{self}: {remedy}"))
    }
}

impl std::error::Error for LibraryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Meta(error) => Some(error),
            Self::Move(fault) => Some(fault),
            _ => None,
        }
    }
}
