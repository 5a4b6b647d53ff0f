//! The drive's mouth: empty, or with a cartridge that is ready or not.
//!
//! ```text
//!             insert               unload
//!   Empty  ─────────────▶ Loaded ─────────▶ Unloaded
//!     ▲                    │  ▲    load      │
//!     │       eject        │  └──────────────┘
//!     └────────────────────┴─────────────────┘ eject
//! ```
//!
//! A cartridge is ready as soon as it is in: a load takes no time here. A host's LOAD UNLOAD leaves it in the
//! drive; only the owner takes it out. A crash leaves nothing here: which cartridge is in which drive is the
//! library's knowledge.

use super::deck::Deck;
use crate::sense::Check;

/// What `drive ls` calls the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No cartridge.
    Empty,
    /// A cartridge that a host has unloaded.
    Unloaded,
    /// A cartridge, ready.
    Loaded,
}

/// What can happen to a bay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The owner puts a cartridge in.
    Insert,
    /// LOAD UNLOAD with LOAD 1.
    Load,
    /// LOAD UNLOAD with LOAD 0 or HOLD 1.
    Unload,
    /// The owner takes the cartridge out.
    Eject,
}

/// All moves; what is not here is refused.
const TRANSITIONS: &[(State, Event, State)] = &[
    (State::Empty, Event::Insert, State::Loaded),
    (State::Loaded, Event::Load, State::Loaded), // rewinds
    (State::Loaded, Event::Unload, State::Unloaded),
    (State::Unloaded, Event::Load, State::Loaded),
    (State::Unloaded, Event::Unload, State::Unloaded), // `mt offline` twice is no error
    (State::Loaded, Event::Eject, State::Empty),
    (State::Unloaded, Event::Eject, State::Empty),
];

impl State {
    /// Where `event` leads, if it is possible.
    pub(super) fn after(self, event: Event) -> Option<Self> {
        TRANSITIONS.iter().find(|(from, by, _)| (*from, *by) == (self, event)).map(|(.., to)| *to)
    }
}

/// The bay with what is in it.
#[derive(Debug)]
pub(super) enum Bay<M> {
    Empty,
    Unloaded(Deck<M>),
    Loaded(Deck<M>),
}

impl<M> Bay<M> {
    pub(super) const fn state(&self) -> State {
        match self {
            Self::Empty => State::Empty,
            Self::Unloaded(_) => State::Unloaded,
            Self::Loaded(_) => State::Loaded,
        }
    }

    /// The cartridge, ready or not.
    pub(super) const fn deck(&self) -> Option<&Deck<M>> {
        match self {
            Self::Empty => None,
            Self::Unloaded(deck) | Self::Loaded(deck) => Some(deck),
        }
    }

    /// The cartridge, ready or not.
    pub(super) const fn deck_mut(&mut self) -> Option<&mut Deck<M>> {
        match self {
            Self::Empty => None,
            Self::Unloaded(deck) | Self::Loaded(deck) => Some(deck),
        }
    }

    /// The cartridge if it is ready.
    pub(super) const fn loaded(&self) -> Option<&Deck<M>> {
        match self {
            Self::Loaded(deck) => Some(deck),
            Self::Empty | Self::Unloaded(_) => None,
        }
    }

    /// The cartridge if it is ready, or why there is none.
    pub(super) const fn ready(&mut self) -> Result<&mut Deck<M>, Check> {
        match self {
            Self::Loaded(deck) => Ok(deck),
            Self::Empty => Err(Check::MediumNotPresent),
            Self::Unloaded(_) => Err(Check::InitializingCommandRequired),
        }
    }

    /// Moves to the state that the table gives for `event`, which must concern a cartridge already in the
    /// bay.
    pub(super) fn step(&mut self, event: Event) -> Result<(), Check> {
        let next = self.state().after(event).ok_or(Check::MediumNotPresent)?;
        *self = match (core::mem::replace(self, Self::Empty), next) {
            (Self::Unloaded(deck) | Self::Loaded(deck), State::Loaded) => Self::Loaded(deck),
            (Self::Unloaded(deck) | Self::Loaded(deck), State::Unloaded) => Self::Unloaded(deck),
            (_, _) => Self::Empty,
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_fills_and_empties_a_bay() {
        for (from, event, to) in TRANSITIONS {
            assert_eq!(*from == State::Empty, *event == Event::Insert, "{from:?} {event:?}");
            assert_eq!(*to == State::Empty, *event == Event::Eject, "{from:?} {event:?}");
        }
    }

    #[test]
    fn no_move_is_listed_twice() {
        for (at, (from, event, _)) in TRANSITIONS.iter().enumerate() {
            assert!(!TRANSITIONS[..at].iter().any(|(f, e, _)| (f, e) == (from, event)));
        }
    }

    #[test]
    fn an_empty_bay_cannot_load_or_unload() {
        for event in [Event::Load, Event::Unload, Event::Eject] {
            assert_eq!(State::Empty.after(event), None);
        }
    }
}
