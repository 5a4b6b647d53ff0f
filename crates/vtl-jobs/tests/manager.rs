//! The manager from outside: limits, order, retries, requests, and a crash between any two writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{
    Clock, Engine, File, OPEN, PATIENCE, eventually, failure, new, open, start, until, until_state,
};
use vtl_jobs::{
    Class, Failure, JobError, JobId, Ledger, Manager, NewJob, Outcome, Plan, Priority, RetryRule, RetryRules,
    Settings, State, Ticket, Wanted, Work, enqueue,
};

fn setting() -> (tempfile::TempDir, File, Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path());
    let clock = Clock::default();
    clock.set(1000);
    (folder, file, Arc::new(Engine::new("any", &clock)))
}

fn at_once(max_running: usize) -> Settings {
    Settings { max_running, ..Settings::default() }
}

/// An engine in the hands of a test. A job whose request is `done` is done at once.
#[derive(Default)]
struct Hand {
    /// While it is set, who asks whether its jobs run alone waits: the manager asks with its list in hand.
    shut: AtomicBool,
    is_asked: AtomicBool,
    /// What its jobs come to, whatever is wanted of them; they work until then.
    end: Mutex<Option<Result<Outcome, Failure>>>,
    /// While it is set, clearing away goes on until a stop is wanted.
    clears: AtomicBool,
    /// What it did, and what was wanted then.
    did: Mutex<Vec<(&'static str, Wanted)>>,
    /// What the manager has told of jobs.
    told: Mutex<Vec<(JobId, State)>>,
}

const MOMENT: Duration = Duration::from_millis(5);

impl Hand {
    /// A manager with this engine, and a job of it that runs.
    fn at_work(self: &Arc<Self>, file: &File, clock: &Clock) -> (Manager, JobId) {
        let (hand, work): (Arc<Self>, Arc<dyn Work>) = (Arc::clone(self), self.clone());
        let (ledger, machine) = (Box::new(file.clone()), Box::new(clock.clone()));
        let manager = Manager::open(ledger, machine, vec![work], Settings::default()).unwrap();
        manager.tell(move |job| hand.told.lock().unwrap().push((job.id, job.state)));
        manager.start().unwrap();
        let id = manager.submit(&new("a", "hand", "")).unwrap().id;
        until_state(&manager, id, State::Running);
        (manager, id)
    }

    fn ends_with(&self, end: Result<Outcome, Failure>) {
        *self.end.lock().unwrap() = Some(end);
    }

    fn does(&self, what: &'static str, ticket: &Ticket) {
        self.did.lock().unwrap().push((what, ticket.wanted()));
    }

    fn did(&self) -> Vec<(&'static str, Wanted)> {
        self.did.lock().unwrap().clone()
    }

    fn times_told(&self, id: JobId, state: State) -> usize {
        self.told.lock().unwrap().iter().filter(|one| **one == (id, state)).count()
    }
}

impl Work for Hand {
    fn kind(&self) -> &'static str {
        "hand"
    }

    fn alone(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.shut.load(Ordering::SeqCst) && Instant::now() < end {
            self.is_asked.store(true, Ordering::SeqCst);
            sleep(MOMENT);
        }
        false
    }

    fn plan(&self, _request: &str) -> Result<Plan, Failure> {
        Ok(Plan::default())
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        if ticket.request() == "done" {
            return Ok(Outcome::Done(String::new()));
        }
        loop {
            let end = self.end.lock().unwrap().clone();
            if let Some(end) = end {
                self.does("ran", ticket);
                return end;
            }
            sleep(MOMENT);
        }
    }

    fn failed(&self, ticket: &Ticket) -> Result<(), Failure> {
        self.does("clears", ticket);
        while self.clears.load(Ordering::SeqCst) && ticket.wanted() == Wanted::GoOn {
            sleep(MOMENT);
        }
        self.does("cleared", ticket);
        Ok(())
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        self.does("undid", ticket);
        Ok(())
    }
}

#[test]
fn no_more_jobs_run_than_may_and_they_come_in_order() {
    let (_folder, file, engine) = setting();
    engine.gate.store(0, Ordering::SeqCst);
    let manager = start(&file, &engine, at_once(1));
    let ids: Vec<JobId> =
        (0..3).map(|at| manager.submit(&new(&format!("{at}"), "any", "steps:2")).unwrap().id).collect();
    until_state(&manager, ids[0], State::Running);
    let states: Vec<State> = manager.list().unwrap().iter().map(|one| one.job.state).collect();
    assert_eq!(states, [State::Running, State::Queued, State::Queued]);
    let urgent = vtl_jobs::NewJob { priority: Priority::High, ..new("urgent", "any", "steps:1") };
    let urgent = manager.submit(&urgent).unwrap().id;
    engine.gate.store(OPEN, Ordering::SeqCst);
    ids.iter().chain([&urgent]).for_each(|id| drop(until_state(&manager, *id, State::Completed)));
    let begun: Vec<JobId> = engine.world.lock().unwrap().begun.iter().map(|(id, _)| *id).collect();
    assert_eq!(begun, [ids[0], urgent, ids[1], ids[2]]);
    eventually("what has ended is on disk only", || manager.held() == 0);
}

#[test]
fn a_job_that_fails_for_a_while_is_tried_as_often_as_the_rule_says_with_its_pauses() {
    let (_folder, file, engine) = setting();
    let rule = RetryRule { attempts: Some(3), pause_s: 30, max_pause_s: 100 };
    let retry = RetryRules { temporary: rule, ..RetryRules::default() };
    let manager = start(&file, &engine, Settings { retry, ..Settings::default() });
    engine.world.lock().unwrap().failures =
        (1..=3).map(|at| failure(Class::Temporary, &format!("cut off {at}"))).collect();
    let id = manager.submit(&new("a", "any", "flaky:1")).unwrap().id;
    for (attempt, due_s) in [(1, 1030), (2, 1090)] {
        let job = until(&manager, id, |job| job.state == State::Queued && job.attempts == attempt);
        assert_eq!((job.not_before_s, job.trouble.unwrap().message), (due_s, format!("cut off {attempt}")));
        // Another job comes and goes: there has been a look, and this one has not begun.
        engine.clock.set(due_s - 1);
        let other = manager.submit(&new(&format!("b{attempt}"), "any", "steps:0")).unwrap().id;
        until_state(&manager, other, State::Completed);
        assert_eq!(manager.show(id).unwrap().job.attempts, attempt);
        engine.clock.set(due_s);
        manager.poke();
    }
    let job = until_state(&manager, id, State::Failed);
    assert_eq!((job.attempts, job.trouble.unwrap().message), (3, "cut off 3".to_owned()));
}

#[test]
fn a_busy_job_waits_without_an_attempt_and_a_permanent_failure_has_one() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    engine.world.lock().unwrap().failures.push_back(failure(Class::Busy, "somebody else has it"));
    let id = manager.submit(&new("a", "any", "flaky:1")).unwrap().id;
    until(&manager, id, |job| job.state == State::Queued && job.trouble.is_some());
    engine.clock.set(1005);
    manager.poke();
    let job = until_state(&manager, id, State::Completed);
    assert_eq!((job.attempts, job.trouble), (1, None));
    engine.world.lock().unwrap().failures.push_back(failure(Class::Permanent, "no such thing"));
    let id = manager.submit(&new("b", "any", "flaky:1")).unwrap().id;
    assert_eq!(until_state(&manager, id, State::Failed).attempts, 1);
}

#[test]
fn the_pause_of_a_waiting_job_ends_on_request_and_a_failed_one_goes_on_as_a_new_one() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    engine.world.lock().unwrap().failures =
        [failure(Class::Temporary, "cut off"), failure(Class::Permanent, "gone")].into();
    let id = manager.submit(&new("a", "any", "flaky:3")).unwrap().id;
    until(&manager, id, |job| job.state == State::Queued && job.attempts == 1);
    assert_eq!(manager.retry(id).unwrap().job.id, id);
    until_state(&manager, id, State::Failed);
    let again = manager.retry(id).unwrap().job.id;
    assert_eq!((again == id, manager.retry(id).unwrap().job.id), (false, again), "asked twice it is one");
    until_state(&manager, again, State::Completed);
    let refused = manager.retry(again).unwrap_err();
    assert!(matches!(refused, JobError::NotRetried { state: State::Completed, .. }), "{refused}");
}

#[test]
fn a_cancelled_job_comes_to_a_safe_point_and_what_is_half_done_is_taken_back() {
    let (_folder, file, engine) = setting();
    engine.gate.store(2, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let id = manager.submit(&new("a", "any", "steps:4")).unwrap().id;
    until(&manager, id, |job| job.done_bytes == 2);
    let told = manager.cancel(id).unwrap().job.state;
    assert!([State::Stopping, State::Cancelled].contains(&told), "{told:?}");
    let job = until_state(&manager, id, State::Cancelled);
    assert!(job.finished_s.is_some());
    let world = engine.world.lock().unwrap();
    assert_eq!((world.undone.clone(), world.half_done.clone()), (vec![id], vec![]));
    drop(world);
    assert_eq!(manager.cancel(id).unwrap().job.state, State::Cancelled, "again is no error");
    for refused in [manager.pause(id), manager.resume(id)] {
        assert!(matches!(refused, Err(JobError::NoSuchMove { state: State::Cancelled, .. })));
    }
    assert!(matches!(manager.cancel(JobId(77)), Err(JobError::Unknown(JobId(77)))));
}

#[test]
fn what_a_cancel_leaves_behind_is_gone_on_with_by_a_job_that_the_cancelled_one_names() {
    let (_folder, file, engine) = setting();
    engine.gate.store(2, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let id = manager.submit(&new("a", "any", "steps:4")).unwrap().id;
    until(&manager, id, |job| job.done_bytes == 2);
    let left = Failure { remedy: Some("do it".to_owned()), ..failure(Class::Temporary, "some is left") };
    engine.world.lock().unwrap().leaves = Some((left, new("b", "any", "steps:1")));
    manager.cancel(id).unwrap();
    let trouble = until_state(&manager, id, State::Cancelled).trouble.unwrap();
    let follower = manager.list().unwrap().last().unwrap().job.id;
    assert_ne!(follower, id);
    let remedy = format!("job {follower} (any) goes on with it by itself; by hand: do it");
    assert_eq!((trouble.message.as_str(), trouble.remedy), ("some is left", Some(remedy)));
    until_state(&manager, follower, State::Completed);
}

#[test]
fn what_never_began_is_cancelled_at_once_and_nothing_is_taken_back() {
    let (_folder, file, engine) = setting();
    engine.gate.store(0, Ordering::SeqCst);
    let manager = start(&file, &engine, at_once(1));
    let first = manager.submit(&new("a", "any", "steps:1")).unwrap().id;
    until_state(&manager, first, State::Running);
    let second = manager.submit(&new("b", "any", "steps:1")).unwrap().id;
    assert_eq!(manager.cancel(second).unwrap().job.state, State::Cancelled);
    assert!(engine.world.lock().unwrap().undone.is_empty());
}

#[test]
fn what_never_began_and_took_over_from_another_job_is_taken_back_when_it_is_cancelled() {
    let (_folder, file, engine) = setting();
    engine.gate.store(0, Ordering::SeqCst);
    let manager = start(&file, &engine, at_once(1));
    let first = manager.submit(&new("a", "any", "steps:1")).unwrap().id;
    until_state(&manager, first, State::Running);
    let second = NewJob { checkpoint: vec![1], ..new("b", "any", "steps:3") };
    let second = manager.submit(&second).unwrap().id;
    manager.cancel(second).unwrap();
    assert_eq!(until_state(&manager, second, State::Cancelled).started_s, None);
    assert_eq!(engine.world.lock().unwrap().undone, [second]);
}

#[test]
fn a_paused_job_goes_on_where_it_was_in_the_same_attempt_also_after_a_restart() {
    let (folder, file, engine) = setting();
    engine.gate.store(2, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let id = manager.submit(&new("a", "any", "steps:4")).unwrap().id;
    until(&manager, id, |job| job.done_bytes == 2);
    manager.pause(id).unwrap();
    until_state(&manager, id, State::Paused);
    drop(manager);
    drop(file);
    engine.gate.store(OPEN, Ordering::SeqCst);
    let file = File::open(folder.path());
    let manager = start(&file, &engine, Settings::default());
    let other = manager.submit(&new("b", "any", "steps:0")).unwrap().id;
    until_state(&manager, other, State::Completed);
    assert_eq!(manager.show(id).unwrap().job.state, State::Paused);
    manager.resume(id).unwrap();
    let job = until_state(&manager, id, State::Completed);
    assert_eq!((job.attempts, job.result.as_deref()), (1, Some("4 steps")));
    let world = engine.world.lock().unwrap();
    assert!((0..4).all(|step| world.steps.get(&(id, step)) == Some(&1)), "{:?}", world.steps);
    drop(world);
    let (tasks, log) = manager.detail(id).unwrap();
    assert_eq!((tasks[0].done_bytes, tasks[0].state.word()), (4, "done"));
    let words: Vec<&str> = log.iter().map(|entry| entry.event.as_str()).collect();
    assert_eq!(words, ["queued", "start", "pause", "stopped", "resume", "start", "done"]);
}

#[test]
fn a_cancel_after_a_resume_is_what_the_engine_hears_last() {
    let (_folder, file, engine) = setting();
    let hand = Arc::new(Hand::default());
    let (manager, id) = hand.at_work(&file, &engine.clock);
    manager.pause(id).unwrap();
    hand.shut.store(true, Ordering::SeqCst);
    file.change(&mut |tx| enqueue(tx, &new("b", "hand", "done"), 1000).map(drop)).unwrap();
    let was_early = std::thread::scope(|scope| {
        scope.spawn(|| manager.poke());
        eventually("the manager has its list in hand", || hand.is_asked.load(Ordering::SeqCst));
        scope.spawn(|| manager.resume(id).unwrap());
        eventually("the resume is in the row", || hand.times_told(id, State::Running) == 2);
        // The engine cannot hear of it yet.
        scope.spawn(|| manager.cancel(id).unwrap());
        sleep(Duration::from_millis(300));
        let was_early = hand.times_told(id, State::Stopping) > 0;
        hand.shut.store(false, Ordering::SeqCst);
        was_early
    });
    hand.ends_with(Ok(Outcome::Stopped));
    until_state(&manager, id, State::Cancelled);
    assert!(!was_early, "the row says stopping before the engine has heard of the resume");
    assert_eq!(hand.did(), [("ran", Wanted::Stop), ("undid", Wanted::GoOn)]);
}

#[test]
fn what_a_job_that_fails_clears_away_is_cut_short_by_a_stop_of_the_server_alone() {
    use Wanted::{GoOn, Stop};
    let gone = || Err(failure(Class::Permanent, "gone"));
    let begins_to_clear = |hand: &Hand| {
        hand.clears.store(true, Ordering::SeqCst);
        hand.ends_with(gone());
        eventually("it clears away", || hand.did().len() == 2);
    };
    for case in ["paused before", "cancelled before", "cancelled meanwhile", "stopped meanwhile"] {
        let (_folder, file, engine) = setting();
        let hand = Arc::new(Hand::default());
        let (manager, id) = hand.at_work(&file, &engine.clock);
        let (state, did) = match case {
            "paused before" => {
                manager.pause(id).unwrap();
                hand.ends_with(gone());
                (State::Failed, vec![("ran", Stop), ("clears", GoOn), ("cleared", GoOn)])
            }
            "cancelled before" => {
                manager.cancel(id).unwrap();
                hand.ends_with(gone());
                (State::Cancelled, vec![("ran", Stop), ("undid", GoOn)])
            }
            "cancelled meanwhile" => {
                begins_to_clear(&hand);
                manager.cancel(id).unwrap();
                hand.clears.store(false, Ordering::SeqCst);
                let did = vec![("ran", GoOn), ("clears", GoOn), ("cleared", GoOn), ("undid", GoOn)];
                (State::Cancelled, did)
            }
            _ => {
                begins_to_clear(&hand);
                manager.stop();
                (State::Failed, vec![("ran", GoOn), ("clears", GoOn), ("cleared", Stop)])
            }
        };
        eventually("its end is told", || hand.times_told(id, state) == 1);
        assert_eq!(hand.did(), did, "{case}");
    }
}

#[test]
fn a_stop_of_the_manager_lets_jobs_come_to_a_safe_point_and_the_next_one_goes_on() {
    let (_folder, file, engine) = setting();
    engine.gate.store(1, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let id = manager.submit(&new("a", "any", "steps:3")).unwrap().id;
    until(&manager, id, |job| job.done_bytes == 1);
    manager.stop();
    assert_eq!(manager.show(id).unwrap().job.state, State::Queued);
    drop(manager);
    engine.gate.store(OPEN, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    assert_eq!(until_state(&manager, id, State::Completed).attempts, 1);
    assert_eq!(engine.world.lock().unwrap().steps.values().sum::<u32>(), 3);
}

#[test]
fn an_engine_that_panics_fails_its_job_and_nothing_else() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    let bad = manager.submit(&new("a", "any", "burn")).unwrap().id;
    let good = manager.submit(&new("b", "any", "steps:1")).unwrap().id;
    let job = until_state(&manager, bad, State::Failed);
    assert_eq!((job.attempts, job.trouble.unwrap().code.as_str()), (1, "internal"));
    until_state(&manager, good, State::Completed);
    assert!(!manager.has_failed());
}

#[test]
fn transfers_are_counted_over_all_jobs_and_waiting_for_one_is_a_safe_point() {
    let (_folder, file, engine) = setting();
    engine.gate.store(0, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings { max_running: 8, max_transfers: 2, ..Settings::default() });
    let ids: Vec<JobId> =
        (0..5).map(|at| manager.submit(&new(&format!("{at}"), "any", "transfer:3")).unwrap().id).collect();
    eventually("two transfer", || engine.world.lock().unwrap().now == 2);
    eventually("all have begun", || engine.world.lock().unwrap().begun.len() == 5);
    ids.iter().for_each(|id| drop(manager.cancel(*id).unwrap()));
    ids.iter().for_each(|id| drop(until_state(&manager, *id, State::Cancelled)));
    engine.gate.store(OPEN, Ordering::SeqCst);
    let more: Vec<JobId> =
        (5..9).map(|at| manager.submit(&new(&format!("{at}"), "any", "transfer:30")).unwrap().id).collect();
    more.iter().for_each(|id| drop(until_state(&manager, *id, State::Completed)));
    assert_eq!(engine.world.lock().unwrap().most, 2);
}

#[test]
fn a_second_transfer_beside_its_own_is_given_while_one_is_free_and_holds_up_nobody() {
    let (_folder, file, engine) = setting();
    engine.gate.store(0, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings { max_running: 8, max_transfers: 2, ..Settings::default() });
    let pair = manager.submit(&new("pair", "any", "pair")).unwrap().id;
    eventually("the second one is free", || engine.world.lock().unwrap().beside);
    let other = manager.submit(&new("other", "any", "transfer:3")).unwrap().id;
    eventually("the other job has its turn", || engine.world.lock().unwrap().now == 1);
    eventually("none is free", || !engine.world.lock().unwrap().beside);
    drop(manager.cancel(other).unwrap());
    until_state(&manager, other, State::Cancelled);
    eventually("it is free again", || engine.world.lock().unwrap().beside);
    engine.gate.store(OPEN, Ordering::SeqCst);
    until_state(&manager, pair, State::Completed);
}

#[test]
fn a_kind_that_nobody_does_is_refused_and_a_plan_makes_no_job() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    assert!(
        matches!(manager.submit(&new("a", "other", "")), Err(JobError::UnknownKind(kind)) if kind == "other")
    );
    let plan = manager.plan("any", "steps:7").unwrap().unwrap();
    assert_eq!((plan.tasks[0].bytes, manager.list().unwrap().len()), (7, 0));
}

#[test]
fn a_job_and_the_reason_for_it_are_in_one_transaction() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    let refused = file.change(&mut |tx| {
        enqueue(tx, &new("event", "any", "steps:1"), 1000)?;
        Err(JobError::NotRun)
    });
    assert!(refused.is_err() && manager.list().unwrap().is_empty(), "what was taken back wants no job");
    let mut made = None;
    file.change(&mut |tx| {
        made = Some(enqueue(tx, &new("event", "any", "steps:1"), 1000)?);
        Ok(())
    })
    .unwrap();
    manager.poke();
    let made = made.unwrap();
    assert!(made.made);
    until_state(&manager, made.id, State::Completed);
    // The event is found again by a start: nothing is done twice, also when the list was cleared.
    assert_eq!(manager.clear().unwrap(), 1);
    let again = manager.submit(&new("event", "any", "steps:1")).unwrap();
    assert_eq!((again.id, again.made), (made.id, false));
    assert_eq!(engine.world.lock().unwrap().begun.len(), 1);
}

#[test]
fn an_end_that_cannot_be_written_is_written_later_and_the_job_does_not_run_again() {
    let (_folder, file, engine) = setting();
    engine.gate.store(1, Ordering::SeqCst);
    let manager = start(&file, &engine, Settings::default());
    let id = manager.submit(&new("a", "any", "steps:1")).unwrap().id;
    let held = manager.submit(&new("b", "any", "steps:2")).unwrap().id;
    until_state(&manager, id, State::Completed);
    until(&manager, held, |job| job.done_bytes == 1);
    file.dies_after(0);
    assert!(manager.cancel(held).is_err());
    engine.gate.store(OPEN, Ordering::SeqCst);
    eventually("its end waits", || manager.unwritten() == 1);
    assert_eq!(manager.show(held).unwrap().job.state, State::Running);
    file.dies_after(i64::MAX);
    manager.poke();
    // Its second step could not be saved: that is a failure which may have gone.
    let job = until(&manager, held, |job| job.state == State::Queued);
    assert!(job.trouble.unwrap().message.contains("could not be saved"));
    eventually("it is let go", || manager.held() == 0);
}

/// Three jobs: one that ends, one that is paused and resumed, one that is cancelled while it works. True when nothing died on the way.
fn a_life(file: &File, engine: &Arc<Engine>) -> bool {
    let Ok(manager) = open(file, engine, at_once(3)) else { return false };
    if manager.start().is_err() {
        return false;
    }
    let mut ids = Vec::new();
    for key in ["whole", "paused", "cancelled"] {
        match manager.submit(&new(key, "any", "steps:3")) {
            Ok(made) => ids.push(made.id),
            Err(_) => return false,
        }
    }
    eventually("they stand at the gate", || {
        let at_gate = |id: &JobId| manager.show(*id).is_ok_and(|one| one.job.done_bytes == 1);
        file.is_dead() || ids.iter().all(at_gate)
    });
    let asked = manager.pause(ids[1]).is_ok() && manager.cancel(ids[2]).is_ok();
    eventually("it is paused", || {
        file.is_dead() || manager.show(ids[1]).is_ok_and(|one| one.job.state == State::Paused)
    });
    engine.gate.store(OPEN, Ordering::SeqCst);
    let resumed = manager.resume(ids[1]).is_ok();
    eventually("all have ended", || {
        file.is_dead() || manager.list().is_ok_and(|all| all.iter().all(|one| one.job.state.is_terminal()))
    });
    asked && resumed && !file.is_dead()
}

#[test]
fn a_crash_between_any_two_writes_leaves_each_job_done_or_going_on_once() {
    let mut survived = false;
    for changes in 0..200 {
        let (folder, file, engine) = setting();
        engine.gate.store(1, Ordering::SeqCst);
        file.dies_after(changes);
        survived = a_life(&file, &engine);
        drop(file);
        engine.gate.store(OPEN, Ordering::SeqCst);
        let file = File::open(folder.path());
        let manager = start(&file, &engine, at_once(3));
        // Whoever wanted the jobs finds its event again, and wants them again.
        for (at, key) in ["whole", "paused", "cancelled"].into_iter().enumerate() {
            let id = manager.submit(&new(key, "any", "steps:3")).unwrap().id;
            assert_eq!(id, JobId(at as u64 + 1), "crash after {changes} changes");
            if manager.show(id).unwrap().job.state == State::Paused {
                manager.resume(id).unwrap();
            }
            let job = until(&manager, id, |job| job.state.is_terminal());
            let world = engine.world.lock().unwrap();
            let done = |step| world.steps.get(&(id, step)).copied().unwrap_or(0);
            match job.state {
                State::Completed => assert!((0..3).all(|step| (1..=2).contains(&done(step)))),
                State::Cancelled => assert_eq!(key, "cancelled"),
                other => panic!("crash after {changes} changes: {key} is {other:?}"),
            }
            // Between a deed and its checkpoint the crash comes once.
            assert!((0..3).filter(|step| done(*step) > 1).count() <= 1, "crash after {changes} changes");
        }
        assert!(engine.world.lock().unwrap().half_done.is_empty(), "crash after {changes} changes");
        assert_eq!(manager.list().unwrap().len(), 3);
        if survived {
            break;
        }
    }
    assert!(survived, "the last life had no crash");
}

#[test]
fn a_job_is_known_by_its_key_and_by_what_it_is_about_and_the_last_one_of_a_label_gets_the_line() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings::default());
    let about = |key: &str, label: &str| NewJob { label: Some(label.into()), ..new(key, "any", "steps:0") };
    let ids = ["one", "two"].map(|key| manager.submit(&about(key, "A")).unwrap().id);
    let other = manager.submit(&about("three", "B")).unwrap().id;
    for id in [ids[0], ids[1], other] {
        until_state(&manager, id, State::Completed);
    }
    file.change(&mut |tx| {
        let are_completed =
            |tx: &vtl_meta::Tx<'_>| ["one", "four"].map(|key| vtl_jobs::is_completed(tx, key).unwrap());
        assert_eq!(are_completed(tx), [Some(true), None]);
        assert!(!vtl_jobs::is_about(tx, "any", "A")?, "they have ended");
        enqueue(tx, &about("four", "A"), 1000)?;
        assert_eq!(are_completed(tx), [Some(true), Some(false)]);
        assert!(vtl_jobs::is_about(tx, "any", "A")? && !vtl_jobs::is_about(tx, "other", "A")?);
        vtl_jobs::note_last(tx, "any", "B", 1000, "kept", "it stays")?;
        // One that is not there, or not any more, is no failure.
        vtl_jobs::note_last(tx, "any", "C", 1000, "kept", "it stays")
    })
    .unwrap();
    let noted = |id| manager.detail(id).unwrap().1.iter().any(|line| line.event == "kept");
    assert_eq!((noted(ids[0]), noted(ids[1]), noted(other)), (false, false, true));
    manager.clear().unwrap();
    file.read(&mut |tx| {
        assert_eq!(vtl_jobs::is_completed(tx, "one")?, Some(false), "nobody knows any more");
        Ok(())
    })
    .unwrap();
}

#[test]
fn what_is_no_job_takes_its_turn_among_the_transfers_until_it_is_given_up() {
    let (_folder, file, engine) = setting();
    let manager = start(&file, &engine, Settings { max_transfers: 1, ..Settings::default() });
    let held = manager.transfer(|| false).unwrap();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let gives_up = || asked.fetch_add(1, Ordering::SeqCst) > 0;
    assert!(manager.transfer(gives_up).is_none());
    drop(held);
    assert!(manager.transfer(|| false).is_some());
    manager.stop();
    assert!(manager.transfer(|| false).is_none());
}
