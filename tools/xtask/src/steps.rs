//! What `cargo xtask test` does, in order. Every step runs, so that one run shows everything that is wrong; only a
//! step whose base is broken is left out, and says so. The last line sums the tests of all steps.

use std::io::{BufRead as _, BufReader};
use std::num::NonZero;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::package::SHIPPED;
use crate::{Outcome, deps, packages, servers, tools};

/// Tests of one step or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How a step does its work.
enum Work {
    /// A function of ours.
    Own(fn() -> Outcome<String>),
    /// A function of ours that mostly waits for the network: it runs beside the steps that follow,
    Begin(fn() -> Outcome<String>),
    /// until here.
    End,
    /// A function of ours that does more when the run is a long one.
    Scaled(fn(bool) -> Outcome<String>),
    /// Cargo with these words.
    Cargo(&'static [&'static str]),
    /// The same for tests whose counts grow with `--long`, which then are optimized.
    Tests(&'static [&'static str]),
    /// Cargo with these words, with `--long` only.
    OnlyLong(&'static [&'static str]),
    /// The cases of `integration` on this kind of store: all of them with `--long`, else one that has a bit of everything.
    CasesOn(&'static str),
}

struct Step {
    name: &'static str,
    /// A step that must have succeeded before.
    needs: Option<&'static str>,
    work: Work,
}

const INTEGRATION: &[&str] = &["test", "-p", "integration", "--test", "cases"];
/// The Debian package in a root of its own, the demonstration, and commands that pages mention: all of the release build as it is.
const PRODUCT: &[&str] =
    &["test", "-p", "integration", "--test", "package", "--test", "lab", "--test", "pages", "--no-fail-fast"];
/// The package under systemd, static programs, which are compiled anew, and what lintian says.
const PACKAGES_AT_LENGTH: &[&str] = &["test", "-p", "integration", "--test", "package", "--", "--ignored"];
/// Of the whole workspace, so that what it stands on has the features that it has in the other steps, and is not compiled once more.
const SCHEDULES_LINTS: &[&str] = &[
    "clippy",
    "--workspace",
    "--features",
    "vtl-store/shuttle",
    "--test",
    "schedules",
    "--",
    "-D",
    "warnings",
];
const SCHEDULES: &[&str] = &[
    "test",
    "--workspace",
    "--exclude",
    "integration",
    "--features",
    "vtl-store/shuttle",
    "--test",
    "schedules",
];
/// The case that stands for all on a kind of store that is not the default.
const ONE_CASE: &[&str] = &["--", "step2-tar-kill-restore"];

/// Optimized, with all assertions: the counts of `--long` would take a day without it.
const LONG_PROFILE: &[&str] = &["--profile", "long"];

/// Tests at once for each core: half of the time a test waits for a server, a disk or a clock.
const TESTS_PER_CORE: usize = 2;
const TESTS_AT_ONCE: &str = "RUST_TEST_THREADS";

/// How many times more random cases property tests run with `--long`.
const LONG_FACTOR: &str = "50";

const STEPS: &[Step] = &[
    Step { name: "packages", needs: None, work: Work::Own(packages::install_missing) },
    Step { name: "servers, begun", needs: Some("packages"), work: Work::Begin(servers::install) },
    Step { name: "format", needs: None, work: Work::Cargo(&["fmt", "--all", "--check"]) },
    Step { name: "dependencies", needs: None, work: Work::Own(deps::check) },
    Step {
        name: "lints",
        needs: None,
        work: Work::Cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    },
    Step { name: "lints of the schedules", needs: None, work: Work::Cargo(SCHEDULES_LINTS) },
    Step { name: "servers", needs: Some("packages"), work: Work::End },
    Step {
        name: "unit and whole-daemon tests",
        needs: None,
        work: Work::Tests(&["test", "--workspace", "--exclude", "integration", "--no-fail-fast"]),
    },
    Step { name: "chosen schedules", needs: None, work: Work::Tests(SCHEDULES) },
    Step {
        name: "tests of the harness",
        needs: None,
        work: Work::Cargo(&["test", "-p", "integration", "--lib"]),
    },
    Step { name: "release build", needs: None, work: Work::Own(release_build) },
    Step { name: "foreign clients", needs: Some("release build"), work: Work::Cargo(INTEGRATION) },
    Step {
        name: "foreign clients, no dedupe",
        needs: Some("release build"),
        work: Work::CasesOn("no-dedupe"),
    },
    Step {
        name: "foreign clients, encrypted",
        needs: Some("release build"),
        work: Work::CasesOn("encrypted"),
    },
    Step {
        name: "foreign clients, both",
        needs: Some("release build"),
        work: Work::CasesOn("no-dedupe,encrypted"),
    },
    Step { name: "package and lab", needs: Some("release build"), work: Work::Cargo(PRODUCT) },
    Step {
        name: "packages at length",
        needs: Some("release build"),
        work: Work::OnlyLong(PACKAGES_AT_LENGTH),
    },
    Step { name: "fuzz targets", needs: None, work: Work::Scaled(tools::fuzz) },
    Step { name: "what we depend on", needs: None, work: Work::Scaled(tools::deny) },
];

/// Everything; with `long` in the counts that an issue states.
pub fn test(long: bool) -> Outcome<()> {
    let start = Instant::now();
    let mut total = Counts::default();
    let mut report: Vec<(&str, String, f64)> = Vec::new();
    let mut broken: Vec<&str> = Vec::new();
    let mut beside = None;
    for step in STEPS {
        let begun = Instant::now();
        println!("\n==> {}", step.name);
        if let Some(needed) = step.needs.filter(|needed| broken.contains(needed)) {
            broken.push(step.name);
            total.failed += 1;
            report.push((step.name, format!("not run: {needed} failed"), 0.0));
            continue;
        }
        let (mut counts, outcome) = do_step(&step.work, long, &mut beside);
        let verdict = match outcome {
            Ok(()) => "ok".to_owned(),
            Err(trouble) => {
                println!("{trouble}");
                broken.push(step.name);
                // A failed step is a failure even where no test says so.
                counts.failed = counts.failed.max(1);
                "FAILED".to_owned()
            }
        };
        total.add(counts);
        report.push((step.name, verdict, begun.elapsed().as_secs_f64()));
    }
    println!();
    for (name, verdict, seconds) in &report {
        println!("{name:30} {seconds:7.1} s  {verdict}");
    }
    println!("{:30} {:7.1} s", "all", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    // The sum is the last line; what failed stands in the list above it.
    if broken.is_empty() { Ok(()) } else { Err(String::new()) }
}

/// The programs that cases and packages run, and no other.
fn release_build() -> Outcome<String> {
    run_cargo(&[&["build", "--release"], &SHIPPED[..]].concat(), false)
        .1
        .map(|()| "target/release".to_owned())
}

/// The cases with foreign clients whose names hold one of `names`; all of them for none.
pub fn integration(names: &[&str]) -> Outcome<()> {
    release_build()?;
    run_cargo(&[INTEGRATION, &["--"], names].concat(), long_from_env()).1
}

/// The web pages in a browser, with all that this needs; pictures of them are in `target/pages`.
pub fn web() -> Outcome<()> {
    println!("{}", packages::install_missing()?);
    println!("{}", servers::install()?);
    run_cargo(&["test", "-p", "vtld", "--test", "pages", "--", "--nocapture"], false).1
}

/// One script in a guest, with everything it says.
pub fn guest(file: &str) -> Outcome<()> {
    let file = std::fs::canonicalize(file).map_err(|cause| format!("{file}: {cause}"))?;
    let file = file.to_str().ok_or("the file's name is not UTF-8")?;
    run_cargo(&[INTEGRATION, &["--", "--verbose", "--script", file]].concat(), long_from_env()).1
}

fn long_from_env() -> bool {
    std::env::var_os("VTL_LONG").is_some_and(|value| value == "1")
}

/// What runs beside the steps.
type Beside = Option<JoinHandle<Outcome<String>>>;

fn do_step(work: &Work, long: bool, beside: &mut Beside) -> (Counts, Outcome<()>) {
    match work {
        Work::Begin(function) => {
            *beside = Some(std::thread::spawn(*function));
            (Counts::default(), Ok(()))
        }
        Work::End => (Counts::default(), ended(beside.take()).map(|text| println!("{text}"))),
        Work::Own(function) => (Counts::default(), function().map(|text| println!("{text}"))),
        Work::Scaled(function) => (Counts::default(), function(long).map(|text| println!("{text}"))),
        Work::Cargo(words) => run_cargo(words, long),
        Work::OnlyLong(_) if !long => {
            println!("not run: only with --long");
            (Counts::default(), Ok(()))
        }
        Work::OnlyLong(words) => run_cargo(words, long),
        Work::Tests(words) => run_cargo(&[*words, if long { LONG_PROFILE } else { &[] }].concat(), long),
        // The counts of kills and power cuts are those of the default store; here each case runs as in CI.
        Work::CasesOn(kind) => {
            let only = if long { &[] } else { ONE_CASE };
            run_counted(cargo(&[INTEGRATION, only].concat()).env("VTL_STORE", kind))
        }
    }
}

fn ended(beside: Beside) -> Outcome<String> {
    let thread = beside.ok_or("it was not begun")?;
    thread.join().unwrap_or_else(|_| Err("it ended in a panic, see above".to_owned()))
}

/// Runs cargo and counts the tests that it reports.
fn run_cargo(words: &[&str], long: bool) -> (Counts, Outcome<()>) {
    let mut command = cargo(words);
    if long {
        command.env("VTL_LONG", "1");
        if std::env::var_os("VTL_TEST_CASES").is_none() {
            command.env("VTL_TEST_CASES", LONG_FACTOR);
        }
    }
    run_counted(&mut command)
}

fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    if std::env::var_os(TESTS_AT_ONCE).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env(TESTS_AT_ONCE, (cores * TESTS_PER_CORE).to_string());
    }
    command
}

/// Runs it to its end; its output passes through, and the tests that it reports are counted.
fn run_counted(command: &mut Command) -> (Counts, Outcome<()>) {
    let mut counts = Counts::default();
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(cause) => return (counts, Err(format!("cargo: {cause}"))),
    };
    let lines = child.stdout.take().into_iter().flat_map(|pipe| BufReader::new(pipe).lines());
    for line in lines.map_while(Result::ok) {
        println!("{line}");
        if let Some(more) = counted(&line) {
            counts.add(more);
        }
    }
    match child.wait() {
        Ok(status) if status.success() => (counts, Ok(())),
        Ok(status) => (counts, Err(format!("{command:?}: {status}"))),
        Err(cause) => (counts, Err(format!("cargo: {cause}"))),
    }
}

/// The counts in a line `test result: ok. 3 passed; 0 failed; 1 ignored; ..`.
fn counted(line: &str) -> Option<Counts> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut counts = Counts::default();
    for part in rest.split("; ") {
        let Some((number, word)) = part.trim().split_once(' ') else { continue };
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.skipped = number,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_harness_line_is_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 4 ignored; 0 measured; 5 filtered out; finished in 0.1s";
        assert_eq!(counted(line), Some(Counts { passed: 12, failed: 3, skipped: 4 }));
        assert_eq!(counted("test some::name ... ok"), None);
    }

    #[test]
    fn a_needed_step_stands_before_the_one_that_needs_it() {
        for (number, step) in STEPS.iter().enumerate() {
            let before: Vec<&str> = STEPS.iter().take(number).map(|step| step.name).collect();
            assert!(step.needs.is_none_or(|needed| before.contains(&needed)), "{}", step.name);
        }
    }
}
