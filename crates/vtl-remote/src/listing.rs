//! Pages of a listing for drivers that can only list everything.

use std::collections::BTreeMap;

use crate::error::printable;
use crate::name::ObjectName;
use crate::remote::{Entry, Page};

/// At most so many foreign names are shown with a page.
const MAX_FOREIGN: usize = 20;
/// Each is cut to so many characters.
const MAX_FOREIGN_LENGTH: usize = 200;

/// Takes every object of a listing and keeps the first `most` after a name: memory is bounded by the page.
#[derive(Debug)]
pub(crate) struct Pager {
    after: Option<ObjectName>,
    most: usize,
    kept: BTreeMap<ObjectName, u64>,
    more: bool,
    foreign: Vec<String>,
}

impl Pager {
    pub fn new(after: Option<&ObjectName>, most: usize) -> Self {
        let most = most.max(1);
        Self { after: after.cloned(), most, kept: BTreeMap::new(), more: false, foreign: Vec::new() }
    }

    pub fn take(&mut self, name: &str, size: u64) {
        let name = match ObjectName::new(name) {
            Ok(name) => name,
            Err(_) => return self.take_foreign(name),
        };
        if self.after.as_ref().is_some_and(|after| name <= *after) {
            return;
        }
        self.kept.insert(name, size);
        if self.kept.len() > self.most {
            self.kept.pop_last();
            self.more = true;
        }
    }

    /// Something that no object may be named.
    pub fn take_foreign(&mut self, name: &str) {
        if self.foreign.len() < MAX_FOREIGN {
            self.foreign.push(printable(name, MAX_FOREIGN_LENGTH));
        }
    }

    /// How many objects the page may have.
    #[cfg(feature = "http")]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// True when the page has all that it may have and something comes after it.
    #[cfg(feature = "http")]
    pub const fn is_full(&self) -> bool {
        self.more
    }

    pub fn page(self) -> Page {
        let next = if self.more { self.kept.keys().next_back().cloned() } else { None };
        let entries = self.kept.into_iter().map(|(name, size)| Entry { name, size }).collect();
        Page { entries, foreign: self.foreign, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Option<&ObjectName>) -> Page {
        let mut pager = Pager::new(after, 2);
        for name in ["b/c", "a", "b-", "b", "..", "c"] {
            pager.take(name, 1);
        }
        pager.page()
    }

    #[test]
    fn pages_follow_each_other_in_the_order_of_bytes_and_name_what_is_foreign() {
        let mut seen = Vec::new();
        let mut after = None;
        for _ in 0..3 {
            let page = page(after.as_ref());
            assert_eq!(page.foreign, [".."]);
            seen.extend(page.entries.into_iter().map(|entry| entry.name.to_string()));
            after = page.next;
        }
        assert_eq!(seen, ["a", "b", "b-", "b/c", "c"]);
        assert_eq!(after, None);
    }
}
