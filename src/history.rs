//! How the store has grown: samples of its numbers, kept in the inventory so that plots reach over restarts.
//!
//! A sample is noted for each of three grains: the first one in each five minutes, hour and day. Each grain keeps its newest rows only, so that the
//! table is bounded: two days by the minute, two months by the hour, ten years by the day. What is told is the finest that is there for each time. A
//! sample that cannot be written is left out: a plot with a gap is better than a server that stands.

use vtl_api::{ApiError, HistorySince, StoreSample};
use vtl_meta::{MetaError, Migration, Module, Row, Table, Tx, Value};

use crate::api::field;
use crate::clock::{rfc3339, unix_seconds};
use crate::daemon::Daemon;
use crate::kept::parse_time;
use crate::survey::Sight;

/// Seconds of a grain, and how many rows of it are kept.
const GRAINS: [(u64, usize); 3] = [(EVERY_S, 576), (3600, 1488), (86_400, 3660)];
/// How often a sample is taken.
pub(crate) const EVERY_S: u64 = 300;
/// So many rows are told at most.
const MOST_TOLD: usize = 600;

pub(crate) const MODULE: Module =
    Module { name: "history", migrations: &[Migration { number: 1, sql: MIGRATION_1 }], tables: &[&SAMPLES] };

static SAMPLES: Table = Table {
    name: "store_samples",
    columns: &["grain_s", "at_s", "logical_bytes", "unique_bytes", "stored_bytes", "free_bytes"],
    key_len: 2,
};

const MIGRATION_1: &str = "
    CREATE TABLE store_samples (
        grain_s INTEGER NOT NULL CHECK (grain_s > 0),
        at_s INTEGER NOT NULL CHECK (at_s >= 0),
        logical_bytes INTEGER NOT NULL,
        unique_bytes INTEGER NOT NULL,
        stored_bytes INTEGER NOT NULL,
        free_bytes INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (grain_s, at_s)
    ) STRICT, WITHOUT ROWID;
";

/// The store's numbers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sample {
    at_s: u64,
    logical_bytes: u64,
    unique_bytes: u64,
    stored_bytes: u64,
    free_bytes: u64,
}

impl Daemon {
    /// Notes how the store is now.
    pub(crate) fn note_sample(&self) {
        let Some(now) = self.sample() else { return };
        let noted = self.meta.with(|meta| meta.transaction(|tx| note(tx, now)));
        if let Err(why) = noted {
            tracing::warn!(%why, "how full the store is was not noted: the plots have a gap");
        }
    }

    /// None while the disks of a pool do not answer.
    fn sample(&self) -> Option<Sample> {
        let seen = self.pools.seen();
        let sum =
            |of: fn(&Sight) -> u64| seen.open.iter().map(|(_, sight)| of(sight)).fold(0, u64::saturating_add);
        seen.all_answer().then(|| Sample {
            at_s: unix_seconds(),
            logical_bytes: sum(|sight| sight.stats.logical_bytes),
            unique_bytes: sum(|sight| sight.stats.unique_bytes),
            stored_bytes: sum(|sight| sight.stats.stored_bytes),
            free_bytes: sum(|sight| sight.free_bytes),
        })
    }

    /// What is kept since a time, and how it is now if that can be told.
    pub(crate) fn store_history(&self, asked: &HistorySince) -> Result<Vec<StoreSample>, ApiError> {
        let since_s = field("since", asked.since.as_deref().map_or(Ok(0), since))?;
        let kept = self.meta.read(|tx| Ok(all(tx)?)).map_err(|error| crate::api::refused(&error))?;
        let (now_s, now) = (unix_seconds(), self.sample());
        let mut told = finest(kept);
        told.retain(|one| (since_s..now_s).contains(&one.at_s));
        let mut told = thinned(told, MOST_TOLD - 1);
        told.extend(now);
        Ok(told.into_iter().map(shown).collect())
    }
}

fn since(text: &str) -> Result<u64, ApiError> {
    parse_time(text).map_err(|error| ApiError { message: format!("since cannot be '{text}'"), ..error })
}

fn shown(sample: Sample) -> StoreSample {
    StoreSample {
        at: rfc3339(sample.at_s),
        logical_bytes: sample.logical_bytes,
        unique_bytes: sample.unique_bytes,
        stored_bytes: sample.stored_bytes,
        free_bytes: sample.free_bytes,
    }
}

/// Enters a sample where its span of a grain has none, and lets the oldest go.
fn note(tx: &mut Tx<'_>, sample: Sample) -> Result<(), MetaError> {
    for (grain_s, keep) in GRAINS {
        let mut known = of_grain(tx, grain_s)?;
        if known.last().is_some_and(|last| last.at_s / grain_s >= sample.at_s / grain_s) {
            continue;
        }
        tx.insert(&SAMPLES, &values(grain_s, sample))?;
        known.push(sample);
        let gone = known.len().saturating_sub(keep);
        for old in known.iter().take(gone) {
            tx.delete(&SAMPLES, &[number(grain_s), number(old.at_s)])?;
        }
    }
    Ok(())
}

/// The rows of a grain, oldest first.
fn of_grain(tx: &Tx<'_>, grain_s: u64) -> Result<Vec<Sample>, MetaError> {
    let rows = tx.find(&SAMPLES, "grain_s = ?1", &[number(grain_s)])?;
    let mut all = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|one| one.at_s);
    Ok(all)
}

/// All rows by grain, the finest first.
fn all(tx: &Tx<'_>) -> Result<Vec<Vec<Sample>>, MetaError> {
    GRAINS.iter().map(|(grain_s, _)| of_grain(tx, *grain_s)).collect()
}

/// One line of time: of each grain what is older than all finer ones.
fn finest(grains: Vec<Vec<Sample>>) -> Vec<Sample> {
    let mut line: Vec<Sample> = Vec::new();
    for grain in grains {
        let begin_s = line.first().map_or(u64::MAX, |first| first.at_s);
        let mut older: Vec<Sample> = grain.into_iter().filter(|one| one.at_s < begin_s).collect();
        older.append(&mut line);
        line = older;
    }
    line
}

/// At most so many, evenly, the newest among them.
fn thinned(line: Vec<Sample>, most: usize) -> Vec<Sample> {
    let step = line.len().div_ceil(most.max(1)).max(1);
    let skip = line.len().saturating_sub(1) % step;
    line.into_iter().skip(skip).step_by(step).collect()
}

fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn values(grain_s: u64, sample: Sample) -> [Value; 6] {
    let Sample { at_s, logical_bytes, unique_bytes, stored_bytes, free_bytes } = sample;
    [grain_s, at_s, logical_bytes, unique_bytes, stored_bytes, free_bytes].map(number)
}

fn read(row: &Row) -> Result<Sample, MetaError> {
    let get = |column| row.get::<i64>(column).map(|value| u64::try_from(value).unwrap_or(0));
    Ok(Sample {
        at_s: get("at_s")?,
        logical_bytes: get("logical_bytes")?,
        unique_bytes: get("unique_bytes")?,
        stored_bytes: get("stored_bytes")?,
        free_bytes: get("free_bytes")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::SharedMeta;

    fn at(at_s: u64) -> Sample {
        Sample { at_s, stored_bytes: at_s, ..Sample::default() }
    }

    fn times(line: &[Sample]) -> Vec<u64> {
        line.iter().map(|one| one.at_s).collect()
    }

    fn noted(each: impl Iterator<Item = u64>) -> Vec<Vec<Sample>> {
        let folder = tempfile::tempdir().unwrap();
        let meta = SharedMeta::open(&folder.path().join("inventory.db")).unwrap();
        for at_s in each {
            meta.change(|tx| Ok(note(tx, at(at_s))?)).unwrap();
        }
        meta.read(|tx| Ok(all(tx)?)).unwrap()
    }

    #[test]
    fn each_span_of_a_grain_keeps_the_first_sample_in_it() {
        let grains = noted([1000, 1100, 1200, 1500, 4000].into_iter());
        assert_eq!(times(&grains[0]), [1000, 1200, 1500, 4000]);
        assert_eq!(times(&grains[1]), [1000, 4000]);
        assert_eq!(times(&grains[2]), [1000]);
        assert_eq!(grains[0][1], at(1200));
    }

    #[test]
    fn a_clock_that_was_set_back_adds_nothing_before_what_is_there() {
        let grains = noted([90_000, 50_000, 90_300].into_iter());
        assert_eq!(times(&grains[0]), [90_000, 90_300]);
    }

    #[test]
    fn the_oldest_go_when_a_grain_is_full() {
        let grains = noted((0..600).map(|n| 1_000_200 + n * 300));
        assert_eq!(grains[0].len(), 576);
        assert_eq!(grains[0][0].at_s, 1_000_200 + 24 * 300);
        assert_eq!(grains[1].len(), 51);
    }

    #[test]
    fn what_is_told_is_the_finest_that_is_there_for_each_time() {
        let line = finest(vec![vec![at(900), at(1200)], vec![at(0), at(600), at(900)], vec![at(0)]]);
        assert_eq!(times(&line), [0, 600, 900, 1200]);
    }

    #[test]
    fn a_long_line_is_thinned_evenly_and_ends_with_its_newest() {
        assert_eq!(times(&thinned((0..10).map(at).collect(), 4)), [0, 3, 6, 9]);
        assert_eq!(times(&thinned((0..11).map(at).collect(), 4)), [1, 4, 7, 10]);
        assert_eq!(times(&thinned(vec![at(7)], 4)), [7]);
        assert!(thinned(Vec::new(), 4).is_empty());
    }

    #[test]
    fn a_daemon_tells_what_it_has_noted_and_how_it_is_now() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = crate::daemon::tests::open(folder.path(), &[]);
        daemon.meta.change(|tx| Ok(note(tx, at(1_774_224_000))?)).unwrap();
        let all = daemon.store_history(&HistorySince::default()).unwrap();
        assert_eq!(all.len(), 2, "{all:?}");
        assert_eq!((all[0].at.as_str(), all[0].stored_bytes), ("2026-03-23T00:00:00Z", 1_774_224_000));
        assert!(all[1].free_bytes > 0);
        let later = HistorySince { since: Some("2026-03-23T00:00:01Z".to_owned()) };
        assert_eq!(daemon.store_history(&later).unwrap().len(), 1);
        let wrong = HistorySince { since: Some("yesterday".to_owned()) };
        assert!(daemon.store_history(&wrong).unwrap_err().message.contains("yesterday"));
        // Of what the disks do not tell there is no sample.
        crate::survey::tests::hang(daemon.pools.default());
        daemon.note_sample();
        assert_eq!(daemon.store_history(&HistorySince::default()).unwrap(), all[..1]);
        daemon.stop();
    }
}
