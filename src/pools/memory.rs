//! How `store.memory` is shared out: no pool is given what another one has, so that all together stay below it.
//!
//! A pool has its share for as long as it is open, because what an index sets aside is set aside at once. At a start all that are listed
//! get the same, and a part is kept back for pools that are made while the server runs; the next start shares all of it out anew.

/// This part is kept back for pools that are made later.
const KEPT_BACK: usize = 8;
/// A pool made later gets half of what is left, so that there is some for the next one.
const OF_THE_REST: usize = 2;
/// With less an index would find too little.
const LEAST_BYTES: usize = 2 << 20;

/// What nobody has yet.
#[derive(Debug)]
pub(crate) struct Shares {
    left: usize,
}

impl Shares {
    /// The shares of so many pools at a start: what each gets, and what is left.
    pub(crate) fn of(total: usize, pools: usize) -> (Self, usize) {
        let each = (total - total / KEPT_BACK) / pools.max(1);
        (Self { left: total.saturating_sub(each.saturating_mul(pools.max(1))) }, each)
    }

    /// A share for one more pool; none when so little is left that it would be of no use.
    pub(crate) fn take(&mut self) -> Option<usize> {
        let share = self.left / OF_THE_REST;
        (share >= LEAST_BYTES).then(|| {
            self.left -= share;
            share
        })
    }

    /// A pool is closed.
    pub(crate) fn give_back(&mut self, share: usize) {
        self.left = self.left.saturating_add(share);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_comes_and_goes_the_shares_are_never_more_than_all_of_it() {
        for total in [64 << 20, 512 << 20, (512 << 20) + 7] {
            for pools in 1..=16 {
                let (mut shares, each) = Shares::of(total, pools);
                let mut given = vec![each; pools];
                let mut chance = 7_u64;
                for _ in 0..200 {
                    chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    if chance >> 63 == 0 {
                        given.extend(shares.take());
                    } else if given.len() > 1 {
                        shares.give_back(given.swap_remove((chance >> 8) as usize % given.len()));
                    }
                    assert!(given.iter().sum::<usize>() <= total, "{given:?} of {total}");
                }
                assert!(each >= LEAST_BYTES && each > total / pools / 2);
            }
        }
    }

    #[test]
    fn one_pool_has_seven_eighths_and_the_first_that_is_made_beside_it_a_sixteenth() {
        let (mut shares, each) = Shares::of(512 << 20, 1);
        assert_eq!((each, shares.take()), (448 << 20, Some(32 << 20)));
        let more = std::iter::from_fn(|| shares.take()).collect::<Vec<_>>();
        assert_eq!(more, [16 << 20, 8 << 20, 4 << 20, 2 << 20]);
        shares.give_back(32 << 20);
        assert_eq!(shares.take(), Some(17 << 20));
    }
}
