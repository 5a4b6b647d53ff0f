//! What can be watched: counters that the parts of the daemon keep, and the text of `GET /metrics` made from them when somebody asks.
//!
//! Whoever asks waits for no drive, job or remote, and a moment at most for disks. The hot path pays for atomic additions ([`Meter`]); everything else is
//! read where it is anyway.

pub mod catalogue;
pub mod http;
mod meter;
mod process;
mod remote;
mod text;

use scsi::Vitals;
use vtl_alert::{Rule, State};

pub use meter::{Histogram, Meter, SenseCode};
#[cfg(test)]
pub use remote::Away;
pub use remote::{RemoteCounts, RemoteMeters};
pub use text::CONTENT_TYPE;

use crate::daemon::Daemon;
use crate::portal::DIAGNOSTIC_TARGET;
use crate::survey::{Seen, Sight};
use crate::unit::Gauge;
use catalogue as all;
use text::{Snapshot, Value};

/// No target: discovery.
const DISCOVERY: &str = "";

impl Daemon {
    /// The metrics of this moment as OpenMetrics.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        let mut snapshot = Snapshot::default();
        let seen = self.pools.seen();
        self.about_the_process(&seen, &mut snapshot);
        self.about_sessions(&mut snapshot);
        self.about_libraries(&mut snapshot);
        for (pool, sight) in &seen.open {
            about_pool(&pool.name.to_string(), sight, &mut snapshot);
        }
        self.about_jobs(&mut snapshot);
        self.about_remotes(&mut snapshot);
        self.about_alerts(&mut snapshot);
        snapshot.text().map_err(|error| error.to_string())
    }

    fn about_the_process(&self, seen: &Seen, to: &mut Snapshot) {
        to.add(all::BUILD, [env!("CARGO_PKG_VERSION")], Value::Said);
        to.count(all::START, [], self.started_unix_s);
        if let Some(bytes) = process::resident_bytes() {
            to.count(all::MEMORY, [], bytes);
        }
        if let Some(open) = process::open_descriptors() {
            to.count(all::DESCRIPTORS, [], open);
        }
        to.count(all::PROBLEMS, [], self.problems_of_all(seen).len() as u64);
    }

    fn about_sessions(&self, to: &mut Snapshot) {
        let targets = self.sessions().targets();
        let names = targets.iter().map(|target| target.name.as_str()).chain([DISCOVERY]);
        let rows = self.sessions().list();
        for name in names {
            let is_its =
                |row: &&crate::sessions::SessionRow| row.target.as_deref().unwrap_or(DISCOVERY) == name;
            to.count(all::SESSIONS, [name], rows.iter().filter(is_its).count() as u64);
        }
        to.count(all::IN_FLIGHT, [], self.sessions().in_flight().bytes());
    }

    fn about_libraries(&self, to: &mut Snapshot) {
        for library in self.libraries() {
            about_unit(&format!("{}-changer", library.name), &library.changer.gauge(), to);
            for (number, bay) in library.bays().iter().enumerate() {
                let gauge = bay.unit.gauge();
                about_unit(&format!("{}-drive{number}", library.name), &gauge, to);
                about_drive(&library.name.to_string(), &number.to_string(), gauge.vitals, to);
            }
        }
        if let Some(disk) = self.sessions().target(DIAGNOSTIC_TARGET).and_then(|target| target.lun(0)) {
            about_unit("diagnostic-disk", &disk.front.gauge(), to);
        }
    }

    fn about_jobs(&self, to: &mut Snapshot) {
        // Without a list of jobs the status says why.
        for (kind, state, count) in self.jobs.counts() {
            to.count(all::JOBS, [&kind, state], count);
        }
    }

    fn about_remotes(&self, to: &mut Snapshot) {
        for (name, counts) in self.remotes.meters().counts() {
            to.count(all::REMOTE_SENT, [&name], counts.sent_bytes);
            to.count(all::REMOTE_RECEIVED, [&name], counts.received_bytes);
            for (call, count) in &counts.calls {
                to.count(all::REMOTE_CALLS, [&name, call.word()], *count);
            }
            for ((call, class), count) in &counts.failures {
                to.count(all::REMOTE_FAILURES, [&name, call.word(), class], *count);
            }
            to.count(all::REMOTE_RETRIES, [&name], counts.retries);
            to.count(all::REMOTE_UP, [&name], u64::from(counts.away.is_none()));
        }
    }

    fn about_alerts(&self, to: &mut Snapshot) {
        let open = self.alerts_open();
        for rule in Rule::ALL {
            for state in [State::Raised, State::Acknowledged] {
                let count = open.iter().filter(|alert| alert.rule == rule && alert.state == state).count();
                to.count(all::ALERTS, [rule.word(), state.word()], count as u64);
            }
        }
        for (receiver, told, count) in self.alerts.deliveries() {
            to.count(all::ALERT_DELIVERIES, [receiver, if told { "sent" } else { "failed" }], count);
        }
    }
}

fn about_drive(library: &str, drive: &str, vitals: Vitals, to: &mut Snapshot) {
    let of = [library, drive];
    to.count(all::DRIVE_WRITTEN, of, vitals.written_bytes);
    to.count(all::DRIVE_READ, of, vitals.read_bytes);
    to.count(all::DRIVE_LOADS, of, vitals.loads);
    to.count(all::DRIVE_ALERTS, of, u64::from(vitals.tape_alerts.count_ones()));
}

fn about_unit(unit: &str, gauge: &Gauge, to: &mut Snapshot) {
    for (opcode, count) in &gauge.commands {
        to.count(all::COMMANDS, [unit, &format!("0x{opcode:02x}")], *count);
    }
    for ((key, asc, ascq), count) in &gauge.sense {
        let [key, asc, ascq] = [key, asc, ascq].map(|code| format!("0x{code:02x}"));
        to.count(all::SENSE, [unit, &key, &asc, &ascq], *count);
    }
    for (class, times) in &gauge.latencies {
        to.add(all::LATENCY, [unit, class], Value::Times(times.clone()));
    }
    to.count(all::QUEUE, [unit], gauge.waiting as u64);
}

fn about_pool(name: &str, sight: &Sight, to: &mut Snapshot) {
    let of = [name];
    to.add(all::POOL_AGE, of, Value::Share(sight.age().as_secs_f64()));
    // What was so a while ago must not be taken for what is so now.
    if sight.is_stale() {
        return;
    }
    let stats = &sight.stats;
    to.count(all::POOL_LOGICAL, of, stats.logical_bytes);
    to.count(all::POOL_UNIQUE, of, stats.unique_bytes);
    to.count(all::POOL_STORED, of, stats.stored_bytes);
    to.count(all::POOL_RECLAIMABLE, of, stats.reclaimable_bytes);
    to.count(all::POOL_ARRIVED, of, stats.arrived_bytes);
    to.count(all::POOL_CHUNKS, of, stats.chunks);
    to.count(all::POOL_PACKS, of, stats.packs);
    to.count(all::POOL_MEMORY, of, stats.memory_bytes);
    to.count(all::POOL_FREE, of, sight.free_bytes);
    if let Some(used) = sight.used_percent {
        to.add(all::POOL_USED, of, Value::Share(f64::from(used) / 100.0));
    }
    to.count(all::POOL_DAMAGED, of, sight.scrub.findings);
    for disk in &sight.disks {
        let path = disk.folder.display().to_string();
        to.count(all::DISK_FREE, [name, &path], disk.free_bytes);
        to.count(all::DISK_TOTAL, [name, &path], disk.total_bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::survey::tests::sight;

    #[test]
    fn of_a_pool_whose_disks_have_not_answered_for_a_minute_only_that_is_told() {
        let told = |age_s| {
            let mut snapshot = Snapshot::default();
            about_pool("far", &sight(Duration::from_secs(age_s), 7), &mut snapshot);
            snapshot.text().unwrap()
        };
        let fresh = told(0);
        for line in [
            "vtl_pool_free_bytes{pool=\"far\"} 7",
            "vtl_pool_used_ratio{pool=\"far\"} 0.95",
            "vtl_disk_free_bytes{pool=\"far\",folder=\"/far\"} 7",
        ] {
            assert!(fresh.lines().any(|found| found == line), "{line}\n{fresh}");
        }
        let stale = told(61);
        let samples: Vec<&str> = stale.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(
            matches!(samples[..], [age] if age.starts_with("vtl_pool_age_seconds{pool=\"far\"} 61")),
            "{stale}"
        );
    }
}
