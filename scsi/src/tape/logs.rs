//! The drive's log pages (SSC-4; 31h: IBM LTO). Only what is counted or known: a parameter that nothing feeds
//! is not there.

use alloc::vec::Vec;

use vtl_types::MediaForm;

use super::{
    alerts::{self, Alerts},
    deck::Deck,
    tally::{Counted, Tally},
};
use crate::{
    medium::Medium,
    spc::{LogParameter, PageCode, wire::padded},
};

/// Ascending. TapeAlert is 2Eh.
pub(super) const PAGES: &[PageCode] = &[
    PageCode::new(0x02),
    PageCode::new(0x03),
    PageCode::new(0x0c),
    PageCode::new(0x11),
    PageCode::new(0x12),
    PageCode::new(0x17),
    PageCode::new(TAPE_ALERT),
    PageCode::new(0x31),
];
/// TapeAlert log page.
pub(super) const TAPE_ALERT: u8 = 0x2e;

const MEGABYTE: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
const ASCII_LIST: u8 = 0x01;

/// All that a page may tell of.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a, M> {
    pub(super) tally: &'a Tally,
    pub(super) alerts: &'a Alerts,
    /// Flags that the asking initiator has not been shown.
    pub(super) pending_alerts: u64,
    /// The cartridge, if it is ready.
    pub(super) deck: Option<&'a Deck<M>>,
    /// There is a cartridge, ready or not.
    pub(super) present: bool,
    pub(super) prevented: bool,
    pub(super) compresses: bool,
}

/// The parameters of one page, ascending by code.
pub(super) fn page<M: Medium>(code: PageCode, sources: Sources<'_, M>) -> Option<Vec<LogParameter>> {
    Some(match code {
        PageCode { page: 0x02, subpage: 0 } => {
            let totals = sources.tally.since_reset(Counted::Write);
            error_counters(totals.written_bytes, totals.write_errors)
        }
        PageCode { page: 0x03, subpage: 0 } => {
            let totals = sources.tally.since_reset(Counted::Read);
            error_counters(totals.read_bytes, totals.read_errors)
        }
        PageCode { page: 0x0c, subpage: 0 } => sequential_access(sources),
        PageCode { page: 0x11, subpage: 0 } => device_status(sources),
        PageCode { page: 0x12, subpage: 0 } => {
            alloc::vec![LogParameter::list(0x0000, sources.alerts.raised().to_be_bytes().to_vec())]
        }
        PageCode { page: 0x17, subpage: 0 } => volume_statistics(sources),
        PageCode { page: TAPE_ALERT, subpage: 0 } => tape_alerts(sources.pending_alerts),
        PageCode { page: 0x31, subpage: 0 } => tape_capacity(sources),
        _ => return None,
    })
}

/// Total errors corrected (there is nothing to correct), total bytes processed, total uncorrected errors.
fn error_counters(bytes: u64, errors: u64) -> Vec<LogParameter> {
    alloc::vec![
        LogParameter::counter(0x0003, 0, 4),
        LogParameter::counter(0x0005, bytes, 8),
        LogParameter::counter(0x0006, errors, 4),
    ]
}

/// Bytes from hosts, bytes to hosts, and megabytes from beginning of partition to end of data.
fn sequential_access<M: Medium>(sources: Sources<'_, M>) -> Vec<LogParameter> {
    let totals = sources.tally.since_reset(Counted::Sequential);
    let mut all = alloc::vec![
        LogParameter::counter(0x0000, totals.written_bytes, 8),
        LogParameter::counter(0x0003, totals.delivered_bytes, 8),
    ];
    if let Some(deck) = sources.deck {
        all.push(LogParameter::counter(0x0004, deck.medium().facts().used_bytes / MEGABYTE, 4));
    }
    all
}

/// DT device status: the very high frequency data (ADC-3).
fn device_status<M: Medium>(sources: Sources<'_, M>) -> Vec<LogParameter> {
    let flag = |on: bool, bit: u8| u8::from(on) << bit;
    let loaded = sources.deck.is_some();
    let protected = sources.deck.is_some_and(|deck| deck.medium().facts().write_protected);
    // PAMR, MACC, CMPR, WRTP, DINIT
    let first = flag(sources.prevented, 7)
        | flag(loaded, 5)
        | flag(sources.compresses, 4)
        | flag(protected, 3)
        | flag(true, 0);
    // RAA, MPRSNT, MSTD, MTHRD, MOUNTED
    let second = flag(!sources.prevented, 5)
        | flag(sources.present, 4)
        | flag(sources.present, 2)
        | flag(loaded, 1)
        | flag(loaded, 0);
    // TAFC
    let fourth = flag(sources.pending_alerts != 0, 0);
    alloc::vec![LogParameter::list(0x0000, alloc::vec![first, second, 0, fourth])]
}

/// Volume statistics; without a cartridge only that the page is not valid.
fn volume_statistics<M: Medium>(sources: Sources<'_, M>) -> Vec<LogParameter> {
    let Some(deck) = sources.deck else { return alloc::vec![LogParameter::list(0x0000, alloc::vec![0])] };
    let facts = deck.medium().facts();
    let mount = sources.tally.mount;
    let (capacity, used) = (facts.capacity_bytes / MEGABYTE, facts.used_bytes / MEGABYTE);
    let text =
        |code, text: &str, width| LogParameter { code, control: ASCII_LIST, value: padded(text, width) };
    let personality = alloc::format!("Ultrium-{}", facts.kind.generation.number());
    let flag = |code, on: bool| LogParameter::list(code, alloc::vec![u8::from(on)]);
    alloc::vec![
        flag(0x0000, true),                                               // page valid
        LogParameter::counter(0x0001, deck.medium().load_count(), 4),     // thread count
        LogParameter::counter(0x000c, mount.write_errors, 2), // last mount unrecovered write errors
        LogParameter::counter(0x000d, mount.read_errors, 2),  // last mount unrecovered read errors
        LogParameter::counter(0x000e, mount.written_bytes / MEGABYTE, 4), // last mount megabytes written
        LogParameter::counter(0x000f, mount.read_bytes / MEGABYTE, 4), // last mount megabytes read
        LogParameter::counter(0x0016, capacity, 4),           // native capacity, megabytes
        LogParameter::counter(0x0017, used, 4),               // used native capacity, megabytes
        text(0x0040, &facts.serial, 32),                      // volume serial number
        text(0x0042, &facts.label, 32),                       // volume barcode
        text(0x0045, &personality, 9),                        // volume personality
        flag(0x0080, facts.write_protected),                  // write protect
        flag(0x0081, facts.kind.form == MediaForm::Worm),     // WORM
        per_partition(0x0202, capacity),                      // native capacity of partitions
        per_partition(0x0203, used),                          // used native capacity of partitions
        per_partition(0x0204, capacity.saturating_sub(used)), // remaining native capacity of partitions
    ]
}

/// One partition record: length of what follows, reserved, partition 0, four bytes of counter.
fn per_partition(code: u16, megabytes: u64) -> LogParameter {
    let counter = u32::try_from(megabytes).unwrap_or(u32::MAX);
    let mut value = alloc::vec![0x07, 0, 0, 0];
    value.extend(counter.to_be_bytes());
    LogParameter::list(code, value)
}

fn tape_alerts(pending: u64) -> Vec<LogParameter> {
    let flag = |number| LogParameter::list(number, alloc::vec![u8::from(pending & alerts::bit(number) != 0)]);
    (1..=Alerts::COUNT).map(flag).collect()
}

/// Tape capacity (IBM LTO): main partition's remaining, alternate's, main partition's maximum, alternate's,
/// MiB.
fn tape_capacity<M: Medium>(sources: Sources<'_, M>) -> Vec<LogParameter> {
    let facts = sources.deck.map(|deck| deck.medium().facts());
    let (maximum, used) = facts.map_or((0, 0), |facts| (facts.capacity_bytes, facts.used_bytes));
    let values = [maximum.saturating_sub(used) / MIB, 0, maximum / MIB, 0];
    values.iter().zip(1..).map(|(value, code)| LogParameter::counter(code, *value, 4)).collect()
}
