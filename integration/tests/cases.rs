//! Runs every file of `cases/` as one test, as many at a time as there are processors but two at most, since guests want
//! memory and time limits are real; `VTL_JOBS=N` says otherwise.
//!
//! `cargo test -p integration --test cases -- [NAME-PART..] [--list] [--verbose] [--script FILE]`
//!
//! With `VTL_STORE` set (see [`integration::store_kind`]) only the cases against a daemon that the harness starts are run.
//!
//! Needs root and the Debian packages that `cargo xtask test` installs. Without them a case is skipped with the
//! reason, but with `CI` set that is a failure. The last line has the form that the standard test harness prints.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use integration::case::{self, Case, ServerKind};
use integration::run::{Verdict, run};
use integration::store_kind::StoreKind;
use integration::{Result, Trouble, here, log, sweep};

/// One run at a time on a machine, whoever started it.
const LOCK: &str = "/run/lock/vtl-integration.lock";
/// Programs without which nothing here works.
const NEEDED: [&str; 7] = ["linux.uml", "ip", "setpriv", "kill", "iscsiadm", "modprobe", "mmdebstrap"];
/// How much of a failed case's log is printed.
const TAIL_LINES: usize = 120;

fn main() -> ExitCode {
    match Wanted::from_args().and_then(|wanted| run_all(&wanted)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::FAILURE
        }
    }
}

/// The command line.
#[derive(Default)]
struct Wanted {
    parts: Vec<String>,
    list: bool,
    verbose: bool,
    script: Option<PathBuf>,
}

impl Wanted {
    fn from_args() -> Result<Self> {
        let mut wanted = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--list" => wanted.list = true,
                "--verbose" | "--nocapture" | "--show-output" => wanted.verbose = true,
                "--script" => wanted.script = args.next().map(PathBuf::from),
                // Flags of the standard harness that change nothing here.
                flag if flag.starts_with('-') => {}
                _ => wanted.parts.push(arg),
            }
        }
        Ok(wanted)
    }

    fn cases(&self) -> Result<Vec<Case>> {
        if let Some(script) = &self.script {
            return Ok(vec![Case::read(script)?]);
        }
        let mut cases = case::all(&here().join("cases"))?;
        let is_ours_only = !StoreKind::from_env()?.is_default();
        cases.retain(|case| {
            let is_named = self.parts.is_empty() || self.parts.iter().any(|part| case.name.contains(part));
            is_named && !(is_ours_only && matches!(case.server, ServerKind::Tgt | ServerKind::None))
        });
        Ok(cases)
    }
}

/// Runs what is wanted; the number of failures.
fn run_all(wanted: &Wanted) -> Result<usize> {
    let cases = wanted.cases()?;
    if wanted.list {
        cases.iter().for_each(|case| println!("{}: test    {}", case.name, case.about));
        return Ok(0);
    }
    println!("\nrunning {} tests", cases.len());
    let obstacle = obstacle();
    let _lock = obstacle.is_none().then(lock).transpose()?;
    if obstacle.is_none() {
        sweep::sweep();
    }
    let queue = Mutex::new(cases.iter());
    let tally = Mutex::new(Tally::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs() {
            // A worker lives as long as its cases: their processes die with it.
            scope.spawn(|| {
                while let Some(case) = take(&queue) {
                    let start = Instant::now();
                    let outcome = match &obstacle {
                        Some(obstacle) if in_ci() => Err(Trouble(obstacle.clone())),
                        Some(obstacle) => Ok(Verdict::Skipped(obstacle.clone())),
                        None => run_case(case, wanted.verbose),
                    };
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.report(case, outcome, start.elapsed(), wanted.verbose);
                }
            });
        }
    });
    let Tally { passed, failed, skipped } = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} ignored; 0 measured; 0 filtered out\n",
        failed.len()
    );
    Ok(failed.len())
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
    skipped: usize,
}

impl Tally {
    fn report(&mut self, case: &Case, outcome: Result<Verdict>, took: Duration, verbose: bool) {
        let seconds = took.as_secs_f64();
        match outcome {
            Ok(Verdict::Passed) => {
                self.passed += 1;
                println!("test {} ... ok ({seconds:.1} s)", case.name);
            }
            Ok(Verdict::Skipped(reason)) => {
                self.skipped += 1;
                println!("test {} ... ignored, {reason}", case.name);
            }
            Err(trouble) => {
                println!(
                    "test {} ... FAILED ({seconds:.1} s)\n     {}\n     {trouble}",
                    case.name, case.about
                );
                if !verbose {
                    print_tail(&log_path(case));
                }
                self.failed.push(case.name.clone());
            }
        }
    }
}

fn take<'a>(queue: &Mutex<std::slice::Iter<'a, Case>>) -> Option<&'a Case> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}

/// How many cases run at a time.
fn jobs() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::env::var("VTL_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(processors.min(2)).clamp(1, 8)
}

fn run_case(case: &Case, verbose: bool) -> Result<Verdict> {
    log::begin(&log_path(case), verbose)?;
    catch_unwind(AssertUnwindSafe(|| run(case)))
        .unwrap_or_else(|_| Err(Trouble("the harness panicked; see above".to_owned())))
}

/// What keeps all cases from running here.
fn obstacle() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    if !matches!(uid, Ok(0)) {
        return Some("guests and network namespaces need root".to_owned());
    }
    let missing: Vec<&str> = NEEDED.into_iter().filter(|program| !is_installed(program)).collect();
    (!missing.is_empty())
        .then(|| format!("not installed: {}; cargo xtask test installs it", missing.join(" ")))
}

fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$1\" >/dev/null", "sh", program])
        .status()
        .is_ok_and(|s| s.success())
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}

fn lock() -> Result<File> {
    let file = File::create(LOCK).map_err(Trouble::with(LOCK))?;
    file.lock().map_err(Trouble::with(LOCK))?;
    Ok(file)
}

fn log_path(case: &Case) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.log", case.name))
}

fn print_tail(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines.iter().skip(from).for_each(|line| println!("     {line}"));
    println!("     whole log: {}", path.display());
}
