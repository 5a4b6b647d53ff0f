//! What the drive counts for its log pages and metrics: only what it sees itself.

/// Totals over several spans of time, all fed by the same events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Since the drive was made.
    pub drive: Totals,
    /// Since the cartridge now in the drive was loaded, or the last one was.
    pub mount: Totals,
    /// Cartridges loaded since the drive was made.
    pub loads: u64,
    /// Since the host reset a log page that counts.
    since_reset: [Totals; Counted::ALL.len()],
}

/// Log pages that LOG SELECT can reset, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// 02h, write errors.
    Write,
    /// 03h, read errors.
    Read,
    /// 0Ch, sequential access device.
    Sequential,
}

impl Counted {
    pub(super) const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Sequential];

    pub(super) const fn page(self) -> u8 {
        match self {
            Self::Write => 0x02,
            Self::Read => 0x03,
            Self::Sequential => 0x0c,
        }
    }
}

/// One set of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Host bytes that WRITE commands put on the tape.
    pub written_bytes: u64,
    /// Bytes that READ and VERIFY commands took off the tape.
    pub read_bytes: u64,
    /// Of these, what READ commands gave to hosts.
    pub delivered_bytes: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Reads that failed.
    pub read_errors: u64,
}

impl Tally {
    /// A cartridge was loaded: its totals begin.
    pub(super) fn begin_mount(&mut self) {
        self.mount = Totals::default();
        self.loads = self.loads.saturating_add(1);
    }

    pub(super) fn count_written(&mut self, bytes: usize) {
        self.each(|totals| totals.written_bytes = totals.written_bytes.saturating_add(bytes as u64));
    }

    pub(super) fn count_read(&mut self, bytes: usize) {
        self.each(|totals| totals.read_bytes = totals.read_bytes.saturating_add(bytes as u64));
    }

    pub(super) fn count_delivered(&mut self, bytes: usize) {
        self.each(|totals| totals.delivered_bytes = totals.delivered_bytes.saturating_add(bytes as u64));
    }

    pub(super) fn count_write_error(&mut self) {
        self.each(|totals| totals.write_errors = totals.write_errors.saturating_add(1));
    }

    pub(super) fn count_read_error(&mut self) {
        self.each(|totals| totals.read_errors = totals.read_errors.saturating_add(1));
    }

    pub(super) const fn since_reset(&self, page: Counted) -> Totals {
        let [write, read, sequential] = self.since_reset;
        match page {
            Counted::Write => write,
            Counted::Read => read,
            Counted::Sequential => sequential,
        }
    }

    /// Resets the page with this code, or all; `false` when it does not count.
    pub(super) fn reset(&mut self, page: Option<u8>) -> bool {
        let chosen = |counted: &Counted| page.is_none_or(|code| code == counted.page());
        for (counted, totals) in Counted::ALL.iter().zip(&mut self.since_reset) {
            if chosen(counted) {
                *totals = Totals::default();
            }
        }
        Counted::ALL.iter().any(chosen)
    }

    fn each(&mut self, change: impl Fn(&mut Totals)) {
        change(&mut self.drive);
        change(&mut self.mount);
        self.since_reset.iter_mut().for_each(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_of_one_page_leaves_the_others() {
        let mut tally = Tally::default();
        tally.count_written(5);
        tally.count_read(7);
        assert!(tally.reset(Some(0x02)));
        assert_eq!(tally.since_reset(Counted::Write).written_bytes, 0);
        assert_eq!(tally.since_reset(Counted::Sequential).written_bytes, 5);
        assert_eq!((tally.drive.written_bytes, tally.mount.read_bytes), (5, 7));
        assert!(!tally.reset(Some(0x2e)));
        assert!(tally.reset(None));
        assert_eq!(tally.since_reset(Counted::Sequential), Totals::default());
    }
}
