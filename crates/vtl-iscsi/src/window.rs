//! The command window: CmdSN, ExpCmdSN, MaxCmdSN (RFC 7143, 4.2.2.1).
//!
//! Invariants: `max` never moves back; everything in `held` lies between `exp` and `max`; `exp` is not in `held`
//! once [`CommandWindow::next_in_order`] has returned nothing.

use alloc::collections::BTreeMap;

/// `a` before `b` in serial number arithmetic with 32 bits (RFC 1982).
pub(crate) const fn sn_before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

/// What arrived before its turn, by its number.
pub(crate) struct CommandWindow<T> {
    /// ExpCmdSN: the next number in order.
    exp: u32,
    /// MaxCmdSN: the last number that is welcome.
    max: u32,
    /// The last MaxCmdSN that the initiator was told.
    advertised: u32,
    size: u32,
    held: BTreeMap<u32, T>,
}

impl<T> CommandWindow<T> {
    /// A window of `size` commands, the first of which has the number `first`.
    pub(crate) fn new(first: u32, size: u32) -> Self {
        let size = size.clamp(1, (1 << 31) - 1);
        let max = first.wrapping_add(size - 1);
        Self { exp: first, max, advertised: max, size, held: BTreeMap::new() }
    }

    pub(crate) const fn exp(&self) -> u32 {
        self.exp
    }

    /// The initiator has been told MaxCmdSN as it is now.
    pub(crate) const fn told(&mut self) {
        self.advertised = self.max;
    }

    pub(crate) const fn max(&self) -> u32 {
        self.max
    }

    /// True when a command with this number is welcome: inside the window and not a duplicate.
    pub(crate) fn welcomes(&self, sn: u32) -> bool {
        self.contains(sn) && !self.held.contains_key(&sn)
    }

    /// True when the number lies between ExpCmdSN and MaxCmdSN.
    pub(crate) const fn contains(&self, sn: u32) -> bool {
        !sn_before(sn, self.exp) && !sn_before(self.max, sn)
    }

    /// Keeps what came with a welcome number until its turn.
    pub(crate) fn hold(&mut self, sn: u32, item: T) {
        if self.welcomes(sn) {
            self.held.insert(sn, item);
        }
    }

    /// What comes next in order, if it is there. ExpCmdSN moves past it.
    pub(crate) fn next_in_order(&mut self) -> Option<T> {
        let item = self.held.remove(&self.exp)?;
        self.exp = self.exp.wrapping_add(1);
        Some(item)
    }

    /// Lets in as many commands as fit beside the `occupied` ones that passed in order and are not finished.
    pub(crate) fn open(&mut self, occupied: u32) {
        let free = self.size.saturating_sub(occupied);
        let max = self.exp.wrapping_add(free).wrapping_sub(1);
        if sn_before(self.max, max) {
            self.max = max;
        }
    }

    /// True when the initiator believes the window shut and it is not, so that it must be told.
    pub(crate) const fn must_tell(&self) -> bool {
        sn_before(self.advertised, self.exp) && self.contains(self.exp)
    }

    /// Forgets what is held.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_around_the_wrap() {
        assert!(sn_before(0xffff_ffff, 0));
        assert!(!sn_before(0, 0xffff_ffff));
        assert!(!sn_before(7, 7));
        assert!(sn_before(7, 0x7fff_ffff));
    }

    #[test]
    fn a_window_around_the_wrap_holds_and_orders() {
        let mut w = CommandWindow::new(0xffff_fffe, 4);
        assert_eq!((w.exp(), w.max()), (0xffff_fffe, 1));
        for sn in [1, 0, 0xffff_ffff] {
            assert!(w.welcomes(sn));
            w.hold(sn, sn);
            assert!(!w.welcomes(sn), "a duplicate of what is held");
        }
        assert_eq!(w.next_in_order(), None);
        w.hold(0xffff_fffe, 0xffff_fffe);
        let order: std::vec::Vec<u32> = core::iter::from_fn(|| w.next_in_order()).collect();
        assert_eq!(order, [0xffff_fffe, 0xffff_ffff, 0, 1]);
        assert!(!w.welcomes(2), "all four are occupied");
        assert!(!w.welcomes(1), "a duplicate of what is past");
        w.open(3);
        assert_eq!(w.max(), 2);
        w.open(4);
        assert_eq!(w.max(), 2, "it never moves back");
    }

    #[test]
    fn a_shut_window_that_opened_must_be_told() {
        let mut w = CommandWindow::new(10, 1);
        w.hold(10, ());
        assert_eq!(w.next_in_order(), Some(()));
        w.told();
        assert!(!w.must_tell(), "it is shut indeed");
        w.open(0);
        assert!(w.must_tell());
        w.told();
        assert!(!w.must_tell());
    }
}
