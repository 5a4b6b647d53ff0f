//! How much room the pool has, and when an operator hears of it: long before drives warn their hosts.

use std::path::Path;

use rustix::fs::statvfs;
use vtl_api::Problem;
use vtl_store::Store;

use crate::daemon::LOW_POOL_BYTES;
use crate::pools::Pool;
use crate::survey::Sight;

/// Percent used at which the status and the log say so.
const ALARMS: [u8; 3] = [80, 90, 95];
/// From here on it is a problem: the status is not ok.
const PROBLEM_PERCENT: u8 = 95;

impl Pool {
    /// What the status says of room.
    pub(crate) fn room_problem(&self, sight: &Sight) -> Option<Problem> {
        let (free, used) = (sight.free_bytes, sight.used_percent.unwrap_or(0));
        let message = if free < LOW_POOL_BYTES {
            format!(
                "the pool is nearly full: {free} bytes can still be stored; drives report early warning, then end of tape"
            )
        } else if used >= PROBLEM_PERCENT {
            format!("{used} % of what the pool may take are used; {free} bytes can still be stored")
        } else {
            return None;
        };
        Some(Problem {
            subject: self.subject(),
            message,
            remedy: "free space on its disk, make store.size (or the size of the pool) larger if it is what ends, or remove cartridges (vtl cartridge rm LABEL --now --confirm LABEL): \
                     what nothing else needs is free after the next collection"
                .to_owned(),
        })
    }
}

/// The highest alarm that this is.
pub(crate) fn alarm(used_percent: u8) -> Option<u8> {
    ALARMS.into_iter().rev().find(|alarm| used_percent >= *alarm)
}

/// How full a pool is: of the file system of its home, or of its size, whichever is nearer to its end. None when the file system does not say.
pub(crate) fn used_percent(store: &Store, home: &Path) -> Option<u8> {
    let of_size = store.size_bytes().map_or(0, |size| percent(store.stored_bytes(), size));
    Some(of_size.max(file_system_percent(home)?))
}

/// As df has it: what is used of what is used or free for others than root.
fn file_system_percent(path: &Path) -> Option<u8> {
    let of = statvfs(path).ok()?;
    let used = of.f_blocks.saturating_sub(of.f_bfree);
    Some(percent(used, used.saturating_add(of.f_bavail)))
}

fn percent(part: u64, whole: u64) -> u8 {
    let hundredths = u128::from(part) * 100 / u128::from(whole.max(1));
    u8::try_from(hundredths.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_begin_at_80_90_and_95_percent() {
        let found = [0, 79, 80, 89, 90, 94, 95, 100].map(alarm);
        let expected = [None, None, Some(80), Some(80), Some(90), Some(90), Some(95), Some(95)];
        assert_eq!(found, expected);
    }

    #[test]
    fn shares_are_rounded_down_and_never_above_the_whole() {
        assert_eq!(
            [percent(799, 1000), percent(800, 1000), percent(3, 2), percent(u64::MAX, 0)],
            [79, 80, 100, 100]
        );
    }
}
