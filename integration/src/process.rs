//! Children that cannot outlive the test.
//!
//! Every child leads a process group of its own and asks the kernel to be killed when the thread that started it
//! ends (`setpriv --pdeathsig`), so neither a panic nor a killed test leaves one behind. Output is collected line
//! by line and copied to the test's output.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use crate::{Result, Trouble, log};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(20);
/// More output than this is dropped at its oldest end: a server that logs in a loop must not eat the machine.
const LINES_KEPT: usize = 20_000;

/// A running child with its collected output.
pub struct Running {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

/// A command that is killed with the calling thread; further arguments are the program and its own.
pub fn bound() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    command
}

/// Runs a short helper to its end; its output, or [`Trouble`] with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(Trouble::with(&shown))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(Trouble(format!("{shown}: {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr))))
}

impl Running {
    /// Starts `command` in a process group of its own; each output line is printed after `name`.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Trouble::with(format!("{name}: {command:?}")))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| collect(name, pipe, &lines)));
        readers.extend(child.stderr.take().map(|pipe| collect(name, pipe, &lines)));
        Ok(Self { name: name.to_owned(), child, lines, readers })
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status when the child has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(Trouble::with(&self.name))
    }

    /// Waits for the end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                return Err(Trouble(format!("{} still runs after {} s", self.name, limit.as_secs())));
            }
            sleep(POLL);
        }
    }

    /// Waits for a line that begins with `start`; an early end of the child is an error with its output.
    pub fn wait_for_line(&mut self, start: &str, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            let ended = self.ended()?;
            if let Some(line) = self.lines().into_iter().find(|line| line.starts_with(start)) {
                return Ok(line);
            }
            if let Some(status) = ended {
                self.join_readers();
                return Err(Trouble(format!(
                    "{} ended ({status}) before '{start}':\n{}",
                    self.name,
                    self.text()
                )));
            }
            if Instant::now() >= end {
                return Err(Trouble(format!("no '{start}' from {} in {} s", self.name, limit.as_secs())));
            }
            sleep(POLL);
        }
    }

    /// Sends a signal by name to the child alone, as an operator's `kill` would.
    pub fn signal(&self, signal: &str) -> Result<()> {
        output(Command::new("kill").args(["-s", signal, &self.pid().to_string()])).map(drop)
    }

    /// Ends the whole group at once and reaps the child. No error when it has ended already.
    pub fn kill(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = format!("-{}", self.pid());
            let _ = output(Command::new("kill").args(["-s", "KILL", "--", &group]));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        self.join_readers();
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every line so far as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// A reader ends with the last holder of the pipe, which may be a grandchild: give up on it after a moment.
    fn join_readers(&mut self) {
        let end = Instant::now() + Duration::from_secs(1);
        while self.readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < end {
            sleep(POLL);
        }
        self.readers.retain(|reader| !reader.is_finished());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(name: &str, pipe: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let (name, lines, log) = (name.to_owned(), Arc::clone(lines), log::current());
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut raw = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut raw), Ok(1..)) {
            let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
            raw.clear();
            log.line(&name, &line);
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= LINES_KEPT {
                lines.drain(..LINES_KEPT / 2);
            }
            lines.push(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = bound();
        command.args(["sh", "-c", script]);
        command
    }

    #[test]
    fn a_line_is_found_while_the_child_runs_on() {
        let mut child = Running::start("t", &mut shell("echo one; echo ready 7; sleep 60")).expect("starts");
        let line = child.wait_for_line("ready", Duration::from_secs(10)).expect("line");
        assert_eq!(line, "ready 7");
        assert!(child.ended().expect("state").is_none());
    }

    #[test]
    fn an_early_end_is_an_error_that_holds_the_output() {
        let mut child = Running::start("t", &mut shell("echo broken >&2; exit 3")).expect("starts");
        let trouble = child.wait_for_line("ready", Duration::from_secs(10)).expect_err("must not be found");
        assert!(trouble.0.contains("broken"), "{trouble}");
    }

    #[test]
    fn a_time_limit_is_kept_and_drop_ends_the_whole_group() {
        let mut child = Running::start("t", &mut shell("sleep 61 & echo $!; wait")).expect("starts");
        let grandchild = child.wait_for_line("", Duration::from_secs(10)).expect("its id");
        assert!(child.wait(Duration::from_millis(100)).is_err());
        drop(child);
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}
