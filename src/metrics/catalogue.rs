//! Every metric that there is: name, form, unit and meaning in one table, which `docs/operations.md` shows and the dashboard is held against.

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It only grows while the server runs; `_total` at the end of its samples.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
    /// 1, with what there is to say in its labels.
    Info,
}

/// A family of metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// With its unit, without what the form adds.
    pub name: &'static str,
    /// What its samples are.
    pub form: Form,
    /// The last part of the name, where it is a unit.
    pub unit: Option<&'static str>,
    /// Labels, in the order in which they are written.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

macro_rules! families {
    ($($constant:ident: $form:ident $name:literal $unit:expr, [$($label:literal),*], $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: &Family = &Family {
                name: $name, form: Form::$form, unit: $unit, labels: &[$($label),*], help: $help,
            };
        )*
        /// All of them, in the order in which they are written.
        pub const ALL: &[&Family] = &[$($constant),*];
    };
}

const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");

families! {
    BUILD: Info "vtl_build" None, ["version"], "The program that runs";
    START: Gauge "process_start_time_seconds" SECONDS, [], "When it was started, in seconds since 1970";
    MEMORY: Gauge "process_resident_memory_bytes" BYTES, [], "Memory that it has, as the kernel counts it";
    DESCRIPTORS: Gauge "process_open_fds" None, [], "Open file descriptors";
    PROBLEMS: Gauge "vtl_problems" None, [], "What vtl system status names";
    SESSIONS: Gauge "vtl_sessions" None, ["target"], "iSCSI sessions; those of discovery have no target";
    IN_FLIGHT: Gauge "vtl_in_flight_bytes" BYTES, [], "Data of commands that is in memory, over all sessions";
    DRIVE_WRITTEN: Counter "vtl_drive_written_bytes" BYTES, ["library", "drive"], "Host bytes that WRITE commands put on tapes";
    DRIVE_READ: Counter "vtl_drive_read_bytes" BYTES, ["library", "drive"], "Bytes that READ commands gave to hosts";
    DRIVE_LOADS: Counter "vtl_drive_loads" None, ["library", "drive"], "Cartridges loaded";
    DRIVE_ALERTS: Gauge "vtl_drive_tape_alerts" None, ["library", "drive"], "TapeAlert flags that are raised";
    COMMANDS: Counter "vtl_commands" None, ["unit", "opcode"], "SCSI commands by operation code";
    SENSE: Counter "vtl_sense" None, ["unit", "key", "asc", "ascq"], "Sense data given to hosts; filemarks and ends of data are among it";
    LATENCY: Histogram "vtl_command_latency_seconds" SECONDS, ["unit", "class"], "From a command with all its data to its answer";
    QUEUE: Gauge "vtl_queue_depth" None, ["unit"], "Commands that wait or run";
    POOL_AGE: Gauge "vtl_pool_age_seconds" SECONDS, ["pool"], "How long ago the disks of this pool told the figures that follow; after a minute those are left out";
    POOL_LOGICAL: Gauge "vtl_pool_logical_bytes" BYTES, ["pool"], "What hosts have written and not overwritten";
    POOL_UNIQUE: Gauge "vtl_pool_unique_bytes" BYTES, ["pool"], "The same with each content once";
    POOL_STORED: Gauge "vtl_pool_stored_bytes" BYTES, ["pool"], "The same compressed, as it lies in packs";
    POOL_RECLAIMABLE: Gauge "vtl_pool_reclaimable_bytes" BYTES, ["pool"], "What the next collection may free of it";
    POOL_ARRIVED: Counter "vtl_pool_arrived_bytes" BYTES, ["pool"], "By so much packs have grown";
    POOL_CHUNKS: Gauge "vtl_pool_chunks" None, ["pool"], "Chunks in packs";
    POOL_PACKS: Gauge "vtl_pool_packs" None, ["pool"], "Pack files";
    POOL_MEMORY: Gauge "vtl_pool_memory_bytes" BYTES, ["pool"], "What index, buffers and caches take";
    POOL_FREE: Gauge "vtl_pool_free_bytes" BYTES, ["pool"], "What can still be stored";
    POOL_USED: Gauge "vtl_pool_used_ratio" Some("ratio"), ["pool"], "How full it is: of its file system or its size, whichever is nearer";
    POOL_DAMAGED: Gauge "vtl_pool_damaged_ranges" None, ["pool"], "Ranges of cartridges that the scrub found damaged";
    DISK_FREE: Gauge "vtl_disk_free_bytes" BYTES, ["pool", "folder"], "Free in the file system of a pool's folder";
    DISK_TOTAL: Gauge "vtl_disk_total_bytes" BYTES, ["pool", "folder"], "Size of that file system";
    JOBS: Gauge "vtl_jobs" None, ["kind", "state"], "Jobs in the list";
    REMOTE_SENT: Counter "vtl_remote_sent_bytes" BYTES, ["remote"], "Bytes of objects that were sent whole";
    REMOTE_RECEIVED: Counter "vtl_remote_received_bytes" BYTES, ["remote"], "Bytes that came";
    REMOTE_CALLS: Counter "vtl_remote_calls" None, ["remote", "call"], "Calls";
    REMOTE_FAILURES: Counter "vtl_remote_failures" None, ["remote", "call", "class"], "Calls that failed";
    REMOTE_RETRIES: Counter "vtl_remote_retries" None, ["remote"], "Calls for an object whose last call of that kind had failed";
    REMOTE_UP: Gauge "vtl_remote_up" None, ["remote"], "0 after a call that the remote did not answer or refused, until one comes through";
    ALERTS: Gauge "vtl_alerts" None, ["rule", "state"], "Alerts that are open";
    ALERT_DELIVERIES: Counter "vtl_alert_deliveries" None, ["receiver", "outcome"], "Attempts to tell a receiver of an alert";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The word of OpenMetrics.
    const fn word(form: Form) -> &'static str {
        match form {
            Form::Counter => "counter",
            Form::Gauge => "gauge",
            Form::Histogram => "histogram",
            Form::Info => "info",
        }
    }

    #[test]
    fn names_are_unique_and_end_with_their_unit() {
        for (at, family) in ALL.iter().enumerate() {
            assert!(!ALL[..at].iter().any(|other| other.name == family.name), "{}", family.name);
            if let Some(unit) = family.unit {
                assert!(family.name.ends_with(&format!("_{unit}")), "{}", family.name);
            }
        }
    }

    #[test]
    fn no_label_names_a_cartridge() {
        for family in ALL {
            for label in family.labels {
                assert!(!["label", "barcode", "cartridge", "volume"].contains(label), "{}", family.name);
            }
        }
    }

    #[test]
    fn the_page_of_the_manual_has_every_metric() {
        let page = include_str!("../../docs/operations.md");
        for family in ALL {
            let labels =
                family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let row = format!("| `{}` | {} | {labels} | {} |", family.name, word(family.form), family.help);
            assert!(page.lines().any(|line| line == row), "docs/operations.md lacks:\n{row}");
        }
    }

    /// Names in the dashboard that look like ours, without what a form or a histogram adds.
    fn named_in(dashboard: &str) -> Vec<String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words = dashboard.split(|c| !is_name(c));
        let ours = words.filter(|word| word.starts_with("vtl_") || word.starts_with("process_"));
        let suffixes = ["_total", "_info", "_bucket", "_sum", "_count"];
        ours.map(|word| {
            suffixes.iter().find_map(|suffix| word.strip_suffix(suffix)).unwrap_or(word).to_owned()
        })
        .collect()
    }

    #[test]
    fn every_metric_of_the_dashboard_exists() {
        let named = named_in(include_str!("../../packaging/grafana/vtl.json"));
        assert!(named.len() > 30, "{} names", named.len());
        for name in named {
            assert!(ALL.iter().any(|family| family.name == name), "there is no {name}");
        }
        assert_eq!(named_in("rate(vtl_sense_total{a=\"b\"}[5m])"), ["vtl_sense"]);
    }
}
