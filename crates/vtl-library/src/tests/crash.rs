//! A process that is killed while it works: what it acknowledged is there, and nothing is half done.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tempfile::TempDir;

use super::{
    model::{Model, Operation, apply, assert_sound, begin, cases, matches, operation},
    open,
};

const FOLDER: &str = "VTL_LIBRARY_CRASH_FOLDER";
const CHILD: &str = "tests::crash::child_of_the_crash_test_works_until_it_is_killed";
/// The child never comes so far; if it does, the test fails instead of hanging.
const MOST_OPERATIONS: usize = 20_000;
const MARK: &str = "done ";

/// Parent and child make the same operations from the same seed.
fn script(seed: u8) -> impl Iterator<Item = Operation> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = operation();
    std::iter::from_fn(move || Some(strategy.new_tree(&mut runner).ok()?.current()))
}

#[test]
fn a_killed_process_leaves_what_it_acknowledged_and_nothing_half_done() {
    for round in 0..cases(5) {
        let seed = u8::try_from(round % 251).unwrap();
        let folder = TempDir::new().unwrap();
        let acknowledged = kill_after(folder.path(), seed, 3 + usize::try_from(round).unwrap() * 7 % 60);
        let mut meta = open(folder.path());
        assert_sound(&mut meta);

        let mut script = script(seed);
        let mut model = Model::start();
        script.by_ref().take(acknowledged).for_each(|operation| _ = model.apply(&operation));
        // The operation in hand may have been committed before its word got out; the ones after it cannot.
        let as_acknowledged = matches(&mut meta, &model);
        script.next().map(|operation| model.apply(&operation));
        assert!(as_acknowledged || matches(&mut meta, &model), "seed {seed}, {acknowledged} acknowledged");
    }
}

/// Lets the child work until it has acknowledged `wanted` operations, kills it, and returns how many it acknowledged
/// in all.
fn kill_after(folder: &Path, seed: u8, wanted: usize) -> usize {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--ignored", "--nocapture"])
        .env(FOLDER, format!("{seed}:{}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = 0;
    while acknowledged < wanted {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged += usize::from(line.contains(MARK));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    acknowledged + lines.filter(|line| line.as_ref().is_ok_and(|text| text.contains(MARK))).count()
}

#[test]
#[ignore = "it is the process that the crash test starts and kills"]
fn child_of_the_crash_test_works_until_it_is_killed() {
    let order = std::env::var(FOLDER).expect("only the crash test starts this");
    let (seed, folder) = order.split_once(':').unwrap();
    let mut meta = begin(Path::new(folder));
    let mut out = std::io::stdout();
    for operation in script(seed.parse().unwrap()).take(MOST_OPERATIONS) {
        // A refusal is an acknowledgement, too: nothing happened.
        let _ = meta.transaction(|tx| apply(tx, &operation));
        writeln!(out, "{MARK}").unwrap();
        out.flush().unwrap();
    }
}
