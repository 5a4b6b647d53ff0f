//! When a pack is read through, the system is asked to read further ahead than the reader does: a disk wants more
//! on its way at a time than the few regions that workers decode.

use std::ops::Range;

/// Regions one behind the other after which a pack is taken to be read through. Fewer may be all that is wanted of it.
const RUN: u32 = 4;
/// So far ahead of what is read the system is asked to be.
const AHEAD_BYTES: u64 = 4 << 20;

/// How one pack has been read of late.
#[derive(Default)]
pub(crate) struct RunAhead {
    /// Where the last region ended.
    end: u64,
    /// Regions one behind the other up to there.
    run: u32,
    /// What has been asked for ends here.
    asked: u64,
}

impl RunAhead {
    /// This part of the file is read next; what the system is to read now, if anything.
    pub(crate) fn read(&mut self, part: Range<u64>) -> Option<Range<u64>> {
        if part.end == self.end {
            // Another chunk of the same region.
            return None;
        }
        self.run = if part.start == self.end { self.run.saturating_add(1) } else { 0 };
        self.end = part.end;
        let until = part.end + AHEAD_BYTES;
        // Half of it is on its way still: seldom, and in large pieces.
        if self.run < RUN || self.asked > part.end + AHEAD_BYTES / 2 {
            return None;
        }
        let wanted = self.asked.max(part.end)..until;
        self.asked = until;
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: u64 = 128 << 10;

    #[test]
    fn a_pack_that_is_read_through_is_asked_for_once_and_ahead() {
        let mut run = RunAhead::default();
        let mut asked: Vec<Range<u64>> = Vec::new();
        for number in 0..256 {
            asked.extend(run.read(number * REGION..(number + 1) * REGION));
            assert_eq!(run.read(number * REGION..(number + 1) * REGION), None, "the same region again");
        }
        assert!(asked.windows(2).all(|pair| pair[0].end == pair[1].start), "{asked:?}");
        // The first region is at the run's beginning, the fourth in a row asks.
        assert_eq!(asked[0], 4 * REGION..4 * REGION + (4 << 20));
        assert!(asked.len() < 20, "{}", asked.len());
        assert!(asked.last().unwrap().end >= 256 * REGION);
    }

    #[test]
    fn scattered_regions_ask_for_nothing() {
        let mut run = RunAhead::default();
        for number in [9, 3, 4, 5, 20, 21, 1, 2, 3, 40] {
            assert_eq!(run.read(number * REGION..(number + 1) * REGION), None, "{number}");
        }
    }

    #[test]
    fn a_pack_that_is_read_again_from_its_start_is_in_memory_or_asked_for_where_it_was_not() {
        let mut run = RunAhead::default();
        let mut read = |number: u64| run.read(number * REGION..(number + 1) * REGION);
        assert_eq!((0..8).filter_map(&mut read).count(), 1);
        assert_eq!((0..8).filter_map(&mut read).count(), 0);
    }
}
