//! Unit attentions that one nexus has not heard of yet.

use alloc::collections::VecDeque;

use crate::unit::UnitAttention;

/// More than one of every kind cannot be pending.
const MAX_PENDING: usize = 16;

/// A queue without repetitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Attentions(VecDeque<UnitAttention>);

impl Attentions {
    /// Something happened. What is already pending is not told twice; a reset or power on makes everything before it moot (SAM-5).
    pub(super) fn push(&mut self, what: UnitAttention) {
        if matches!(what, UnitAttention::PowerOn | UnitAttention::BusReset | UnitAttention::DeviceReset) {
            self.0.clear();
        }
        if !self.0.contains(&what) && self.0.len() < MAX_PENDING {
            self.0.push_back(what);
        }
    }

    /// The oldest, which is thereby told.
    pub(super) fn pop(&mut self) -> Option<UnitAttention> {
        self.0.pop_front()
    }

    /// Forgets one kind (REPORT LUNS clears 3F/0E).
    pub(super) fn clear(&mut self, what: UnitAttention) {
        self.0.retain(|pending| *pending != what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_is_told_once_and_in_order() {
        let mut queue = Attentions::default();
        for what in [UnitAttention::PowerOn, UnitAttention::MediumChanged, UnitAttention::MediumChanged] {
            queue.push(what);
        }
        assert_eq!(queue.pop(), Some(UnitAttention::PowerOn));
        assert_eq!(queue.pop(), Some(UnitAttention::MediumChanged));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn a_reset_replaces_what_was_pending() {
        let mut queue = Attentions::default();
        queue.push(UnitAttention::MediumChanged);
        queue.push(UnitAttention::DeviceReset);
        assert_eq!(queue.pop(), Some(UnitAttention::DeviceReset));
        assert_eq!(queue.pop(), None);
    }
}
