//! Random operations on rows and on a model that is plain enough to be believed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use vtl_meta::{Meta, Module, Tx};

use crate::error::JobError;
use crate::retry::Class;
use crate::state::{Event, State};
use crate::table::{self, JobId, NewJob, apply, enqueue};
use crate::work::Failure;

static MODULES: [Module; 1] = [crate::MODULE];

#[derive(Clone, Debug)]
enum Operation {
    Enqueue {
        key: u8,
    },
    Event {
        at: usize,
        event: Event,
    },
    /// All that a start does with what the last server left.
    Restart,
    Clear,
    Prune {
        before_s: u64,
    },
}

/// What is known of a job without any table of moves.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Model {
    state: State,
    finished_s: Option<u64>,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let event = proptest::sample::select(Event::ALL.to_vec());
    let one = prop_oneof![
        2 => (0..6_u8).prop_map(|key| Operation::Enqueue { key }),
        9 => (0..8_usize, event).prop_map(|(at, event)| Operation::Event { at, event }),
        1 => Just(Operation::Restart),
        1 => Just(Operation::Clear),
        1 => (0..80_u64).prop_map(|before_s| Operation::Prune { before_s }),
    ];
    vec(one, 1..80)
}

/// What people expect, written down without looking at the code.
fn expected(state: State, event: Event) -> Option<State> {
    let working = matches!(state, State::Running | State::Pausing);
    let waiting = matches!(state, State::Queued | State::Paused);
    let in_hand = working || state == State::Stopping;
    Some(match event {
        Event::Start if state == State::Queued => State::Running,
        Event::Drop if waiting => State::Cancelled,
        Event::Cancel if waiting || working => State::Stopping,
        Event::Pause if state == State::Queued => State::Paused,
        Event::Pause if state == State::Running => State::Pausing,
        Event::Resume if state == State::Paused => State::Queued,
        Event::Resume if state == State::Pausing => State::Running,
        Event::Done if in_hand => State::Completed,
        Event::Fail if working => State::Failed,
        Event::Undone if state == State::Stopping => State::Cancelled,
        Event::Fail | Event::Again | Event::Stopped | Event::Lost if state == State::Stopping => state,
        Event::Again | Event::Stopped | Event::Lost if state == State::Running => State::Queued,
        Event::Again | Event::Stopped | Event::Lost if state == State::Pausing => State::Paused,
        _ => return None,
    })
}

struct Pair {
    models: BTreeMap<JobId, Model>,
    keys: BTreeMap<u8, (JobId, u64)>,
    next: u64,
}

impl Pair {
    fn run(&mut self, tx: &mut Tx<'_>, operation: &Operation, now_s: u64) -> Result<(), TestCaseError> {
        match operation {
            Operation::Enqueue { key } => self.enqueue(tx, *key, now_s)?,
            Operation::Event { at, event } => self.event(tx, *at, *event, now_s)?,
            Operation::Restart => self.restart(tx, now_s)?,
            Operation::Clear => {
                let ended = self.models.values().filter(|one| one.finished_s.is_some()).count() as u64;
                prop_assert_eq!(table::clear(tx).unwrap(), ended);
                self.models.retain(|_, one| one.finished_s.is_none());
            }
            Operation::Prune { before_s } => {
                prop_assert!(table::prune(tx, *before_s).unwrap());
                self.models.retain(|_, one| one.finished_s.is_none_or(|at| at >= *before_s));
                let models = &self.models;
                self.keys.retain(|_, (id, made_s)| models.contains_key(id) || *made_s >= *before_s);
            }
        }
        self.compare(tx)
    }

    fn enqueue(&mut self, tx: &mut Tx<'_>, key: u8, now_s: u64) -> Result<(), TestCaseError> {
        let new = NewJob { key: format!("event {key}"), kind: "any".to_owned(), ..NewJob::default() };
        let made = enqueue(tx, &new, now_s).unwrap();
        match self.keys.get(&key) {
            Some((id, _)) => prop_assert_eq!((made.id, made.made), (*id, false)),
            None => {
                prop_assert_eq!((made.id, made.made), (JobId(self.next), true));
                self.next += 1;
                self.keys.insert(key, (made.id, now_s));
                self.models.insert(made.id, Model { state: State::Queued, finished_s: None });
            }
        }
        Ok(())
    }

    fn event(&mut self, tx: &mut Tx<'_>, at: usize, event: Event, now_s: u64) -> Result<(), TestCaseError> {
        let Some((id, model)) = self.models.iter_mut().nth(at) else { return Ok(()) };
        let mut job = table::job(tx, *id).unwrap();
        let applied = apply(tx, &mut job, event, now_s, "");
        match expected(model.state, event) {
            Some(state) => {
                prop_assert!(applied.is_ok(), "{:?} {:?}", model.state, event);
                *model = Model { state, finished_s: state.is_terminal().then_some(now_s) };
            }
            None => prop_assert!(
                matches!(applied, Err(JobError::NoSuchMove { .. })),
                "{:?} {:?}",
                model.state,
                event
            ),
        }
        Ok(())
    }

    fn restart(&mut self, tx: &mut Tx<'_>, now_s: u64) -> Result<(), TestCaseError> {
        for mut job in table::jobs_in(tx, &[State::Running, State::Pausing, State::Stopping]).unwrap() {
            apply(tx, &mut job, Event::Lost, now_s, "").unwrap();
        }
        for model in self.models.values_mut() {
            model.state = expected(model.state, Event::Lost).unwrap_or(model.state);
            prop_assert!(![State::Running, State::Pausing].contains(&model.state));
        }
        Ok(())
    }

    fn compare(&self, tx: &Tx<'_>) -> Result<(), TestCaseError> {
        let found: BTreeMap<JobId, Model> = table::jobs(tx)
            .unwrap()
            .into_iter()
            .map(|job| (job.id, Model { state: job.state, finished_s: job.finished_s }))
            .collect();
        prop_assert_eq!(&found, &self.models);
        Ok(())
    }
}

#[test]
fn rows_agree_with_a_model_over_random_operations() {
    let folder = tempfile::tempdir().unwrap();
    let meta = RefCell::new(Meta::open(&folder.path().join("db"), &MODULES).unwrap());
    let mut runner = TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
    let tested = runner.run(&operations(), |operations| {
        let mut pair = Pair { models: BTreeMap::new(), keys: BTreeMap::new(), next: 1 };
        let mut outcome = Ok(());
        // Each case is taken back, so that the next one finds an empty file.
        let taken_back = meta.borrow_mut().transaction(|tx| {
            let steps = operations.iter().zip(1_u64..);
            outcome = steps.into_iter().try_for_each(|(operation, now_s)| pair.run(tx, operation, now_s));
            Err::<(), JobError>(JobError::TooMany(0))
        });
        assert!(taken_back.is_err());
        outcome
    });
    tested.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn no_more_jobs_wait_than_may_and_the_one_that_is_there_is_no_further_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut meta = Meta::open(&folder.path().join("db"), &MODULES).unwrap();
    meta.transaction(|tx| {
        let mut put = |key: &str| {
            let new = NewJob { key: key.to_owned(), ..NewJob::default() };
            table::enqueue_within(tx, &new, 1, 2)
        };
        assert!(put("a")?.made && put("b")?.made);
        assert!(matches!(put("c"), Err(JobError::TooMany(2))));
        assert!(!put("b")?.made);
        // One that ends makes room.
        let mut job = table::job(tx, JobId(1))?;
        apply(tx, &mut job, Event::Drop, 2, "")?;
        table::enqueue_within(tx, &NewJob { key: "c".to_owned(), ..NewJob::default() }, 3, 2)
    })
    .map_err(|error: JobError| error.to_string())
    .unwrap();
}

#[test]
fn a_log_keeps_the_last_hundred_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut meta = Meta::open(&folder.path().join("db"), &MODULES).unwrap();
    let entries = meta.transaction(|tx| {
        let id = enqueue(tx, &NewJob { key: "k".to_owned(), ..NewJob::default() }, 1)?.id;
        for at in 0..250 {
            table::log(tx, id, at, "note", "")?;
        }
        table::events(tx, id)
    });
    let entries: Vec<_> = entries.map_err(|error: JobError| error.to_string()).unwrap();
    assert_eq!((entries.len(), entries[0].at_s, entries[99].at_s), (100, 150, 249));
}

#[test]
fn a_row_that_was_changed_by_nobody_of_ours_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let mut meta = Meta::open(&folder.path().join("db"), &MODULES).unwrap();
    let id = meta
        .transaction(|tx| {
            let id = enqueue(tx, &NewJob { key: "k".to_owned(), ..NewJob::default() }, 1)?.id;
            let mut job = table::job(tx, id)?;
            job.checkpoint = b"place".to_vec();
            table::save(tx, &job)?;
            Ok::<_, JobError>(id)
        })
        .unwrap();
    drop(meta);
    let path = folder.path().join("db");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"place").expect("the checkpoint in the file");
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut meta = Meta::open(&path, &MODULES).unwrap();
    let read = meta.read(|tx| table::job(tx, id));
    assert!(read.unwrap_err().to_string().contains("jobs"), "it names the table");
}

#[test]
fn a_failure_that_is_told_in_one_text_keeps_what_to_do_about_it() {
    for (remedy, told) in [(Some("unload it"), "it is loaded: unload it"), (None, "it is loaded")] {
        let failure = Failure {
            class: Class::Permanent,
            code: "conflict".to_owned(),
            message: "it is loaded".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        assert_eq!(failure.advised(), told);
    }
}
