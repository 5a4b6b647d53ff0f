//! Which table gets how much memory: a plain function of what tables would cost, so that the sum is kept by construction.
//!
//! Tables are given youngest first, and no table gets more than a younger one as far as filters, hooks and blindness go: what a young
//! table says must not be overlooked while an older one is still asked.

use super::header::{HOOK_LEVELS, Header};
use super::resident::Mode;
use super::stats::IndexMode;
use super::table::TableFile;

/// What to do with each table, youngest first. Tables beyond the end of `modes` must go: not even their directories fit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    pub(crate) modes: Vec<Mode>,
}

impl Plan {
    pub(crate) fn new(headers: &[&Header], memory: usize) -> Self {
        let mut left = memory;
        // Twice: while tables are merged the new one is there beside the old ones.
        let base = |header: &Header| 2 * TableFile::base_bytes(header.segments);
        let fits = |header: &&&Header| left.checked_sub(base(header)).map(|rest| left = rest).is_some();
        let kept = headers.iter().take_while(fits).count();
        let headers = headers.get(..kept).unwrap_or_default();
        let modes = filters(headers, left).or_else(|| hooks(headers, left));
        Self { modes: modes.unwrap_or_else(|| sparsest(headers, left)) }
    }

    pub(crate) fn mode(&self) -> IndexMode {
        match self.modes.iter().min() {
            None | Some(Mode::Whole) => IndexMode::Memory,
            Some(Mode::Filter) => IndexMode::Filters,
            Some(Mode::Hooks(_) | Mode::Blind) => IndexMode::Samples,
        }
    }
}

/// Filters for all, and pages of as many as fit.
fn filters(headers: &[&Header], memory: usize) -> Option<Vec<Mode>> {
    let sum: usize = headers.iter().map(|header| Mode::Filter.bytes(header)).sum();
    let mut left = memory.checked_sub(sum)?;
    let mut choose = |header: &&Header| {
        let more = Mode::Whole.bytes(header).saturating_sub(Mode::Filter.bytes(header));
        match left.checked_sub(more) {
            Some(rest) => {
                left = rest;
                Mode::Whole
            }
            None => Mode::Filter,
        }
    };
    Some(headers.iter().map(&mut choose).collect())
}

/// Hooks, as dense as fits, for the oldest; filters for the youngest.
fn hooks(headers: &[&Header], memory: usize) -> Option<Vec<Mode>> {
    let levels = 0..HOOK_LEVELS as u32;
    let (mode, mut left) = levels.into_iter().find_map(|level| {
        let sum: usize = headers.iter().map(|header| Mode::Hooks(level).bytes(header)).sum();
        Some((Mode::Hooks(level), memory.checked_sub(sum)?))
    })?;
    Some(upgrade(headers, mode, Mode::Filter, &mut left))
}

/// The sparsest hooks for the youngest, nothing for the others.
fn sparsest(headers: &[&Header], mut memory: usize) -> Vec<Mode> {
    upgrade(headers, Mode::Blind, Mode::Hooks(HOOK_LEVELS as u32 - 1), &mut memory)
}

/// `high` for the youngest as far as it fits, `low` for the rest.
fn upgrade(headers: &[&Header], low: Mode, high: Mode, left: &mut usize) -> Vec<Mode> {
    let fits = |header: &&&Header| {
        let more = high.bytes(header).saturating_sub(low.bytes(header));
        left.checked_sub(more).map(|rest| *left = rest).is_some()
    };
    let upgraded = headers.iter().take_while(fits).count();
    (0..headers.len()).map(|index| if index < upgraded { high } else { low }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(records: u64) -> Header {
        let hooks = std::array::from_fn(|level| (records >> (6 + level)) as u32);
        let segments = records.div_ceil(65_520);
        Header {
            store_id: [0; 16],
            table: 0,
            records,
            least_pack: 0,
            most_pack: 0,
            segment_pages: 420,
            segments: segments as u32,
            directory_at: 0,
            filter_bytes: records * 19 / 16,
            hooks,
            last: 0,
            directory_crc: 0,
        }
    }

    fn cost(headers: &[&Header], plan: &Plan) -> usize {
        let pairs = headers.iter().zip(&plan.modes);
        pairs.map(|(header, mode)| TableFile::base_bytes(header.segments) + mode.bytes(header)).sum()
    }

    #[test]
    fn a_plan_never_costs_more_than_it_may_and_never_prefers_the_old() {
        let tables: Vec<Header> = [1000, 5000, 3, 2_000_000, 40_000_000].into_iter().map(header).collect();
        let headers: Vec<&Header> = tables.iter().collect();
        for shift in 0..330 {
            let memory = 1.1_f64.powi(shift) as usize;
            let plan = Plan::new(&headers, memory);
            assert!(cost(&headers, &plan) <= memory, "{memory} {plan:?}");
            let levels = plan.modes.iter().map(|mode| (*mode).min(Mode::Filter));
            assert!(levels.rev().is_sorted(), "{memory} {plan:?}");
        }
    }

    #[test]
    fn modes_follow_the_budget() {
        let tables = [header(100_000), header(10_000_000)];
        let headers: Vec<&Header> = tables.iter().collect();
        let modes = |mib: usize| Plan::new(&headers, mib << 20).modes;
        assert_eq!(modes(400), [Mode::Whole, Mode::Whole]);
        assert_eq!(modes(20), [Mode::Whole, Mode::Filter]);
        assert_eq!(modes(8), [Mode::Filter, Mode::Hooks(0)]);
        assert_eq!(modes(1), [Mode::Filter, Mode::Hooks(2)]);
        assert_eq!(Plan::new(&headers, 8 << 20).mode(), IndexMode::Samples);
        assert_eq!(Plan::new(&headers, 100).modes, []);
    }
}
