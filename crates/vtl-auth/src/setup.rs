//! The one-time link by which the first user is made.

use crate::bearer::{Bearer, Kind, Random};
use crate::session::Moment;

/// So long the link counts.
pub const SETUP_S: u64 = 60 * 60;

/// A link that was printed and not used.
#[derive(Debug)]
pub struct Setup {
    digest: [u8; 32],
    until_count_s: u64,
}

impl Setup {
    /// A new link, and the text in it.
    #[must_use]
    pub fn new(now: Moment, random: Random<'_>) -> (Self, Bearer) {
        let bearer = Bearer::new(Kind::Setup, random);
        let setup = Self { digest: bearer.digest(), until_count_s: now.count_s.saturating_add(SETUP_S) };
        (setup, bearer)
    }

    /// Whether this text is the link's, and in time.
    #[must_use]
    pub fn is_opened_by(&self, bearer: &Bearer, now: Moment) -> bool {
        bearer.kind == Kind::Setup && bearer.is(&self.digest) && now.count_s < self.until_count_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bearer::tests::counting;

    #[test]
    fn the_link_counts_for_an_hour_and_for_its_own_text() {
        let at = |count_s| Moment { wall_s: 0, count_s };
        let (setup, bearer) = Setup::new(at(5), &counting(1));
        assert!(setup.is_opened_by(&bearer, at(3604)));
        assert!(!setup.is_opened_by(&bearer, at(3605)));
        let (_, other) = Setup::new(at(5), &counting(2));
        assert!(!setup.is_opened_by(&other, at(6)));
        let as_token = Bearer::parse(&bearer.expose().replace("vtlu", "vtlt")).unwrap();
        assert!(!setup.is_opened_by(&as_token, at(6)));
    }
}
