//! What there is to find: each rule asks the part that knows. Nobody is waited for: drives tell what they counted last.

use std::collections::BTreeMap;

use vtl_alert::{Finding, Reading, Rule};
use vtl_library::LibraryError;
use vtl_store::{Health, OwnerId, ScrubStatus};
use vtl_types::{CartridgeId, PoolName};

use crate::clock::{rfc3339, unix_seconds};
use crate::daemon::Daemon;
use crate::metrics::RemoteCounts;
use crate::pools::rows::{PoolState, pool_of};
use crate::pools::{Closed, Pool};
use crate::survey::{Seen, Sight};

/// So many percent below its limit a pool must come before its alert is over.
const SPACE_SLACK_PERCENT: u8 = 5;
const DAY_S: u64 = 24 * 60 * 60;
/// How often all cartridges are looked at for exports that are missing.
const EXPORTS_LOOK_S: u64 = 60 * 60;

/// What is found of the API's certificate.
fn ending(ends_s: u64, now_s: u64, ahead_s: u64) -> Option<Finding> {
    let word = if ends_s <= now_s { "has ended" } else { "ends" };
    (ends_s <= now_s.saturating_add(ahead_s)).then(|| Finding {
        rule: Rule::Certificate,
        subject: "api".to_owned(),
        reading: Reading::Bad,
        message: format!("the certificate of the API {word} {}", rfc3339(ends_s)),
        remedy: "put a new one in its place, then: systemctl reload vtld (vtl system reload wants one that has not ended)"
            .to_owned(),
    })
}

impl Daemon {
    /// The rules that were looked at, and what was found.
    pub(super) fn findings(&self) -> (Vec<Rule>, Vec<Finding>) {
        let mut looked = vec![Rule::Space, Rule::Damage, Rule::Pool, Rule::Certificate, Rule::TapeAlert];
        let seen = self.pools.seen();
        let limit = self.config().alerts.space_percent;
        let mut found = Vec::new();
        for (pool, sight) in &seen.open {
            found.extend(too_full(pool, sight, limit));
            found.extend(damaged(pool, sight));
            found.extend(unusable(pool, sight));
        }
        found.extend(seen.closed.iter().flat_map(|closed| not_open(closed)));
        found.extend(self.ending_certificate());
        found.extend(self.raised_flags());
        if let Ok(remotes) = self.remotes.names() {
            looked.push(Rule::RemoteAway);
            let counts: BTreeMap<_, _> = self.remotes.meters().counts().into_iter().collect();
            found.extend(remotes.iter().filter_map(|name| away(name, counts.get(name))));
        }
        if let Some(failed) = self.jobs.failed() {
            looked.push(Rule::JobFailed);
            found.extend(failed.iter().map(job_failed));
        }
        if let Some(unexported) = self.look_for_exports(&seen) {
            looked.push(Rule::NoExport);
            found.extend(unexported);
        }
        (looked, found)
    }

    fn ending_certificate(&self) -> Option<Finding> {
        let ends_s = self.tls.as_ref()?.expires_s();
        let ahead_s = u64::from(self.config().alerts.certificate_days) * DAY_S;
        ending(ends_s, unix_seconds(), ahead_s)
    }

    fn raised_flags(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        for library in self.libraries() {
            for (number, bay) in library.bays().iter().enumerate() {
                let flags = flags(bay.unit.gauge().vitals.tape_alerts);
                if !flags.is_empty() {
                    found.push(Finding {
                        rule: Rule::TapeAlert,
                        subject: format!("{} drive {number}", library.name),
                        reading: Reading::Bad,
                        message: format!("TapeAlert flags are raised: {}", flags.join(", ")),
                        remedy: "see the log, vtl store check and vtl system status".to_owned(),
                    });
                }
            }
        }
        found
    }

    /// `None`: not now, or it cannot be told.
    fn look_for_exports(&self, seen: &Seen) -> Option<Vec<Finding>> {
        // What was raised before it was switched off is over.
        let Some(days) = self.config().alerts.export_days else { return Some(Vec::new()) };
        let now_s = unix_seconds();
        let looked_s = self.alerts.lock().exports_looked_s;
        if now_s.saturating_sub(looked_s) < EXPORTS_LOOK_S {
            return None;
        }
        let found = self.without_export(days, now_s, seen)?;
        self.alerts.lock().exports_looked_s = now_s;
        Some(found)
    }

    /// `None`: it cannot be told.
    fn without_export(&self, days: u32, now_s: u64, seen: &Seen) -> Option<Vec<Finding>> {
        let since_s = now_s.saturating_sub(u64::from(days) * DAY_S);
        let labels = self.unexported(since_s, seen).ok()?;
        // Of what is in a pool that is not open or does not answer nobody knows.
        let Some(first) = labels.first() else {
            return (seen.closed.is_empty() && seen.all_answer()).then(Vec::new);
        };
        Some(vec![Finding {
            rule: Rule::NoExport,
            subject: "cartridges".to_owned(),
            reading: Reading::Bad,
            message: format!(
                "{} cartridges with data have no export of the last {days} days, such as {first}",
                labels.len()
            ),
            remedy: "vtl cartridge export LABEL, or see vtl job ls for what failed".to_owned(),
        }])
    }

    /// Labels of cartridges that have data and no export since then, nor were made since then. The disks are asked when the inventory is free again.
    fn unexported(&self, since_s: u64, seen: &Seen) -> Result<Vec<String>, LibraryError> {
        let old = self.meta.read(|tx| {
            let mut old = Vec::new();
            for one in vtl_library::cartridges(tx)? {
                let is_old = u64::try_from(one.created_s).unwrap_or(0) < since_s;
                let is_recent = |export: &vtl_migrate::Row| export.made_s >= since_s;
                if is_old && !vtl_migrate::of_cartridge(tx, one.id)?.iter().any(is_recent) {
                    old.push((one.id, one.label, pool_of(tx, one.id)?));
                }
            }
            Ok(old)
        })?;
        let has_data = |id: CartridgeId, name: &PoolName| {
            let pool = seen.answering().find(|(pool, _)| pool.name == *name);
            let usage = pool.and_then(|(pool, _)| pool.store.usage(OwnerId(id.0)).ok());
            usage.is_some_and(|usage| usage.logical_bytes > 0)
        };
        let unexported = old.into_iter().filter(|(id, _, pool)| has_data(*id, pool));
        Ok(unexported.map(|(_, label, _)| label.to_string()).collect())
    }
}

fn too_full(pool: &Pool, sight: &Sight, limit: u8) -> Option<Finding> {
    let Some(used) = sight.used_percent.filter(|_| !sight.is_stale()) else {
        return Some(Finding::unknown(Rule::Space, pool.subject()));
    };
    let reading = match used {
        used if used >= limit => Reading::Bad,
        used if used > limit.saturating_sub(SPACE_SLACK_PERCENT) => Reading::Between,
        _ => return None,
    };
    Some(Finding {
        rule: Rule::Space,
        subject: pool.subject(),
        reading,
        message: format!("{used} % are used; {} bytes can still be stored", sight.free_bytes),
        remedy: "free space on its disk, raise its size if that is what ends, or remove cartridges"
            .to_owned(),
    })
}

fn damaged(pool: &Pool, sight: &Sight) -> Option<Finding> {
    if sight.is_stale() || (sight.forgotten && !sight.scrub.is_damaged()) {
        return Some(Finding::unknown(Rule::Damage, pool.subject()));
    }
    sight.scrub.is_damaged().then(|| Finding {
        rule: Rule::Damage,
        subject: pool.subject(),
        reading: Reading::Bad,
        message: found_by_scrub(&sight.scrub),
        remedy: "see vtl store scrub --status".to_owned(),
    })
}

fn unusable(pool: &Pool, sight: &Sight) -> Option<Finding> {
    let (message, remedy) = match (pool.store.health(), pool.hung_problem(sight)) {
        (Health::ReadOnly { why }, _) => {
            (format!("the pool takes no writes: {why}"), "check the disk, then restart vtld".to_owned())
        }
        (Health::Ok, Some(hung)) => (hung.message, hung.remedy),
        (Health::Ok, None) => return None,
    };
    Some(Finding { rule: Rule::Pool, subject: pool.subject(), reading: Reading::Bad, message, remedy })
}

/// Chunks that are damaged count until it is known which ranges need them.
fn found_by_scrub(scrub: &ScrubStatus) -> String {
    let (count, what) = match scrub.findings {
        0 => (scrub.damaged_chunks, "chunk"),
        ranges => (ranges, "range"),
    };
    let many = if count == 1 { "" } else { "s" };
    format!("the scrub found {count} damaged {what}{many}")
}

/// A pool that is not open cannot be used, and how full it is and what is damaged cannot be told. One that is being removed is not missed.
fn not_open(closed: &Closed) -> [Finding; 3] {
    let unknown = |rule| Finding::unknown(rule, closed.subject());
    let pool = match closed.row.state {
        PoolState::Removing => unknown(Rule::Pool),
        _ => Finding {
            rule: Rule::Pool,
            subject: closed.subject(),
            reading: Reading::Bad,
            message: format!("the pool is not open: {}", closed.why),
            remedy: closed.remedy(),
        },
    };
    [pool, unknown(Rule::Damage), unknown(Rule::Space)]
}

/// What is found of a remote. Of one that has answered nothing since the start nobody knows whether it is back.
fn away(name: &str, counts: Option<&RemoteCounts>) -> Option<Finding> {
    let subject = format!("remote {name}");
    match counts {
        Some(RemoteCounts { away: Some(away), .. }) => Some(Finding {
            rule: Rule::RemoteAway,
            subject,
            reading: Reading::Bad,
            message: format!("it cannot be used since {}: {}", rfc3339(away.since_unix_s), away.why),
            remedy: format!("vtl remote test {name}"),
        }),
        Some(RemoteCounts { has_answered: true, .. }) => None,
        _ => Some(Finding::unknown(Rule::RemoteAway, subject)),
    }
}

fn job_failed(job: &vtl_jobs::Job) -> Finding {
    let of = job.label.as_ref().map_or_else(String::new, |label| format!(" of {label}"));
    let (why, remedy) = match &job.trouble {
        Some(trouble) => (trouble.message.clone(), trouble.remedy.clone()),
        None => ("it did not say why".to_owned(), None),
    };
    let then =
        format!("vtl job retry {}; vtl job clear forgets this one and all others that have ended", job.id);
    Finding {
        rule: Rule::JobFailed,
        subject: format!("job {}", job.id),
        reading: Reading::Bad,
        message: format!("{}{of} has failed: {why}", job.kind),
        remedy: remedy.map_or_else(|| then.clone(), |remedy| format!("{remedy}; then {then}")),
    }
}

/// Numbers of the flags that are raised (SSC-4: the first one is the most significant bit).
fn flags(raised: u64) -> Vec<String> {
    (1..=u64::BITS).filter(|number| raised >> (u64::BITS - number) & 1 == 1).map(|n| n.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::tests::open;
    use crate::survey::tests::{answer_again, hang, sight};

    #[test]
    fn what_helps_with_a_failed_job_says_that_a_clear_forgets_the_others_too() {
        let job = vtl_jobs::Job {
            id: vtl_jobs::JobId(7),
            kind: "export".to_owned(),
            label: None,
            request: String::new(),
            priority: vtl_jobs::Priority::Normal,
            state: vtl_jobs::State::Failed,
            attempts: 1,
            in_attempt: false,
            not_before_s: 0,
            done_bytes: 0,
            total_bytes: 0,
            checkpoint: Vec::new(),
            result: None,
            trouble: None,
            created_s: 0,
            started_s: None,
            finished_s: None,
        };
        assert_eq!(
            job_failed(&job).remedy,
            "vtl job retry 7; vtl job clear forgets this one and all others that have ended"
        );
    }

    #[test]
    fn a_pool_whose_disks_hang_is_told_and_what_cannot_be_looked_at_there_is_not_good() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let of = |rule: Rule| {
            let (_, found) = daemon.findings();
            found.into_iter().filter(|one| one.rule == rule).collect::<Vec<_>>()
        };
        assert_eq!(of(Rule::Pool), []);
        hang(daemon.pools.default());
        for rule in [Rule::Space, Rule::Damage] {
            assert_eq!(of(rule), [Finding::unknown(rule, "store".to_owned())]);
        }
        let told = of(Rule::Pool);
        let [pool] = &told[..] else { panic!("{told:?}") };
        assert_eq!((pool.subject.as_str(), pool.reading), ("store", Reading::Bad));
        assert!(pool.message.starts_with("its disks have not answered since 2"), "{pool:?}");
        assert!(pool.remedy.contains("vtl pool ls"), "{pool:?}");
        // In the same words for as long as it lasts.
        std::thread::sleep(Duration::from_millis(1100));
        assert_eq!(of(Rule::Pool), told);
        daemon.stop();
    }

    #[test]
    fn exports_are_looked_for_again_as_soon_as_all_pools_answer_and_then_once_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &["alerts.export_days=1"]);
        let look_for_exports = || daemon.look_for_exports(&daemon.pools.seen());
        hang(daemon.pools.default());
        assert_eq!(look_for_exports(), None);
        answer_again(daemon.pools.default());
        assert_eq!(look_for_exports(), Some(Vec::new()));
        assert_eq!(look_for_exports(), None);
        daemon.stop();
    }

    #[test]
    fn damaged_chunks_are_told_before_they_have_names_and_what_a_start_forgot_is_not_good() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let told = |sight: &Sight| {
            damaged(daemon.pools.default(), sight).map(|found| (found.reading, found.message))
        };
        let bad = |message: &str| Some((Reading::Bad, message.to_owned()));
        let mut seen = sight(Duration::ZERO, 1);
        assert_eq!(told(&seen), None);
        seen.forgotten = true;
        assert_eq!(told(&seen), Some((Reading::Unknown, String::new())));
        seen.scrub.damaged_chunks = 2;
        assert_eq!(told(&seen), bad("the scrub found 2 damaged chunks"));
        seen.scrub.findings = 1;
        assert_eq!(told(&seen), bad("the scrub found 1 damaged range"));
        assert_eq!(unusable(daemon.pools.default(), &seen), None);
        let mut stale = sight(Duration::from_secs(61), 1);
        stale.scrub = seen.scrub;
        assert_eq!(told(&stale), Some((Reading::Unknown, String::new())), "its disks do not answer");
        daemon.stop();
    }

    #[test]
    fn a_certificate_is_told_of_so_many_days_before_its_end_and_after_it() {
        let told = |now_s| ending(1_000_000, now_s, 86_400).map(|found| found.message);
        assert_eq!(told(1_000_000 - 86_401), None);
        let before = told(1_000_000 - 86_400).unwrap();
        assert_eq!(before, "the certificate of the API ends 1970-01-12T13:46:40Z");
        let after = told(1_000_000).unwrap();
        assert_eq!(after, "the certificate of the API has ended 1970-01-12T13:46:40Z");
        // No client talks to a server whose certificate has ended.
        let remedy = ending(1_000_000, 1_000_000, 86_400).unwrap().remedy;
        assert!(remedy.contains("then: systemctl reload vtld"), "{remedy}");
    }

    #[test]
    fn a_remote_is_good_again_when_a_call_has_come_through_and_not_because_none_was_made() {
        let told =
            |counts: &RemoteCounts| away("cloud", Some(counts)).map(|found| (found.reading, found.message));
        let unknown = Some((Reading::Unknown, String::new()));
        assert_eq!(away("cloud", None), Some(Finding::unknown(Rule::RemoteAway, "remote cloud".to_owned())));
        let mut counts = RemoteCounts::default();
        assert_eq!(told(&counts), unknown);
        counts.away =
            Some(crate::metrics::Away { since_unix_s: 86_400, failures: 2, why: "no route".to_owned() });
        let message = "it cannot be used since 1970-01-02T00:00:00Z: no route".to_owned();
        assert_eq!(told(&counts), Some((Reading::Bad, message)));
        (counts.away, counts.has_answered) = (None, true);
        assert_eq!(told(&counts), None);
    }

    #[test]
    fn a_remote_whose_folder_is_gone_when_it_is_to_be_used_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let place = folder.path().join("shed");
        std::fs::create_dir(&place).unwrap();
        let remote = vtl_api::CreateRemote {
            name: "shed".to_owned(),
            kind: "folder".to_owned(),
            path: Some(place.display().to_string()),
            ..Default::default()
        };
        daemon.remote_create(&remote).unwrap();
        let told = || {
            let (_, found) = daemon.findings();
            let of = found.into_iter().find(|one| one.rule == Rule::RemoteAway);
            of.map(|one| (one.subject, one.reading, one.message))
        };
        assert!(daemon.remotes.open("shed").is_ok());
        assert_eq!(told(), Some(("remote shed".to_owned(), Reading::Unknown, String::new())));
        std::fs::remove_dir(&place).unwrap();
        assert!(daemon.remotes.open("shed").is_err());
        let (subject, reading, message) = told().unwrap();
        assert_eq!((subject.as_str(), reading), ("remote shed", Reading::Bad));
        assert!(message.starts_with("it cannot be used since 20"), "{message}");
        daemon.stop();
    }

    #[test]
    fn flags_are_told_by_their_numbers_in_the_standard() {
        assert_eq!(flags(0), [""; 0]);
        assert_eq!(flags(1 << 63 | 1 << 58 | 1), ["1", "6", "64"]);
    }
}
