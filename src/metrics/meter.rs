//! What a logical unit counts while it works: atomic additions and nothing else, whatever watches.
//!
//! The unit's thread writes, a request for the metrics reads. Numbers of one moment may be of slightly different commands.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use scsi::{Command, Reply, Vitals};

/// Upper bounds of the latency histogram in nanoseconds: from what a cached read takes to what st waits for a command.
pub const BOUNDS_NS: [u64; 20] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    900_000_000_000,
];

/// Commands whose latencies can be compared with each other, and their operation codes (SPC-4, SSC-4, SMC-3, SBC-3). All others: [`OTHER`].
const CLASSES: [(&str, &[u8]); 5] = [
    ("read", &[0x08, 0x28, 0x88]),
    ("write", &[0x0a, 0x2a, 0x8a]),
    ("filemarks", &[0x10, 0x80]),
    ("position", &[0x01, 0x11, 0x2b, 0x91, 0x92]),
    ("load", &[0x1b, 0xa5, 0xa6]),
];
const OTHER: &str = "other";
const CLASS_COUNT: usize = CLASSES.len() + 1;

/// Which class an operation code is in.
const CLASS_OF: [u8; 256] = {
    let mut of = [CLASSES.len() as u8; 256];
    let mut class = 0;
    while class < CLASSES.len() {
        let codes = CLASSES[class].1;
        let mut at = 0;
        while at < codes.len() {
            of[codes[at] as usize] = class as u8;
            at += 1;
        }
        class += 1;
    }
    of
};

/// Sense key, ASC and ASCQ.
pub type SenseCode = (u8, u8, u8);

/// The counts of one unit.
#[derive(Debug)]
pub struct Meter {
    commands: [AtomicU64; 256],
    latencies: [Latencies; CLASS_COUNT],
    /// Not on the way of a command that ends well.
    sense: Mutex<BTreeMap<SenseCode, u64>>,
    written_bytes: AtomicU64,
    read_bytes: AtomicU64,
    loads: AtomicU64,
    tape_alerts: AtomicU64,
}

/// How long commands of one class took.
#[derive(Debug)]
struct Latencies {
    /// The last one: longer than all bounds.
    buckets: [AtomicU64; BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

/// A copy of [`Latencies`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// Commands of each bucket; the last one: longer than all bounds.
    pub buckets: Vec<u64>,
    /// How long they took together.
    pub sum_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BOUNDS_NS.len() + 1], sum_ns: AtomicU64::new(0) }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            commands: [const { AtomicU64::new(0) }; 256],
            latencies: std::array::from_fn(|_| Latencies::default()),
            sense: Mutex::default(),
            written_bytes: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            loads: AtomicU64::new(0),
            tape_alerts: AtomicU64::new(0),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Meter {
    /// A command that came at `command.now` has ended now, with this reply.
    pub fn ended(&self, command: &Command, reply: &Reply, now_ns: u64) {
        let opcode = command.cdb.opcode();
        let class = CLASS_OF.get(usize::from(opcode)).map_or(CLASSES.len(), |class| usize::from(*class));
        if let Some(latencies) = self.latencies.get(class) {
            latencies.took(now_ns.saturating_sub(command.now.0));
        }
        self.answered(opcode, reply);
    }

    /// A command was answered without the unit's thread.
    pub fn answered(&self, opcode: u8, reply: &Reply) {
        if let Some(count) = self.commands.get(usize::from(opcode)) {
            add(count, 1);
        }
        if let Some(sense) = &reply.sense {
            let (key, asc, ascq) = sense.check().code();
            let mut counts = self.sense.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((key as u8, asc, ascq)).or_default() += 1;
        }
    }

    /// What the device itself has counted.
    pub fn note(&self, vitals: Vitals) {
        let Vitals { written_bytes, read_bytes, loads, tape_alerts } = vitals;
        let to = [&self.written_bytes, &self.read_bytes, &self.loads, &self.tape_alerts];
        for (count, value) in to.into_iter().zip([written_bytes, read_bytes, loads, tape_alerts]) {
            count.store(value, Ordering::Relaxed);
        }
    }

    /// The device's own counts as last noted.
    pub fn vitals(&self) -> Vitals {
        Vitals {
            written_bytes: get(&self.written_bytes),
            read_bytes: get(&self.read_bytes),
            loads: get(&self.loads),
            tape_alerts: get(&self.tape_alerts),
        }
    }

    /// Operation codes that have come, and how often.
    pub fn commands(&self) -> Vec<(u8, u64)> {
        let counted = (0..=u8::MAX).zip(&self.commands).map(|(opcode, count)| (opcode, get(count)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Sense data that was given, and how often.
    pub fn sense(&self) -> Vec<(SenseCode, u64)> {
        let counts = self.sense.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// Latencies by class of command.
    pub fn latencies(&self) -> Vec<(&'static str, Histogram)> {
        let names = CLASSES.iter().map(|(name, _)| *name).chain([OTHER]);
        names.zip(self.latencies.iter().map(Latencies::copy)).collect()
    }
}

impl Latencies {
    fn took(&self, ns: u64) {
        let at = BOUNDS_NS.partition_point(|bound| *bound < ns);
        if let Some(bucket) = self.buckets.get(at) {
            add(bucket, 1);
        }
        add(&self.sum_ns, ns);
    }

    fn copy(&self) -> Histogram {
        Histogram { buckets: self.buckets.iter().map(get).collect(), sum_ns: get(&self.sum_ns) }
    }
}

#[cfg(test)]
mod tests {
    use scsi::{Cdb, Check, Instant, NexusId};

    use super::*;

    fn command(opcode: u8, now_ns: u64) -> Command {
        Command {
            nexus: NexusId(1),
            from: None,
            cdb: Cdb::new(&[opcode, 0, 0, 0, 0, 0]),
            data_out: Vec::new(),
            now: Instant(now_ns),
        }
    }

    #[test]
    fn a_command_counts_in_its_class_and_in_the_bucket_that_its_time_is_in() {
        let meter = Meter::default();
        meter.ended(&command(0x08, 1_000), &Reply::good(), 101_000);
        meter.ended(&command(0x08, 1_000), &Reply::good(), 101_001);
        meter.ended(&command(0x01, 0), &Reply::good(), 2_000_000_000_000);
        meter.ended(&command(0x5f, 7), &Reply::good(), 7);
        let of = |class: &str| meter.latencies().into_iter().find(|(name, _)| *name == class).unwrap().1;
        let read = of("read");
        assert_eq!((read.buckets[0], read.buckets[1], read.sum_ns), (1, 1, 200_001));
        assert_eq!(of("position").buckets[20], 1, "longer than all bounds");
        assert_eq!((of("other").buckets[0], of("write").sum_ns), (1, 0));
        assert_eq!(meter.commands(), [(0x01, 1), (0x08, 2), (0x5f, 1)]);
    }

    #[test]
    fn sense_is_counted_by_key_and_code_with_and_without_the_units_thread() {
        let meter = Meter::default();
        let filemark = Reply::check(Check::Filemark { left: 1, past_warning: false });
        meter.ended(&command(0x08, 0), &filemark, 1);
        meter.ended(&command(0x08, 0), &filemark, 1);
        meter.answered(0x12, &Reply::check(Check::InvalidOpcode));
        assert_eq!(meter.sense(), [((0x0, 0x00, 0x01), 2), ((0x5, 0x20, 0x00), 1)]);
        assert_eq!(meter.commands(), [(0x08, 2), (0x12, 1)]);
    }
}
