//! Processes that live longer than the program that started them: known by number and start time, so that no other process that has got the
//! same number is ever taken for one of them.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::Result;

/// A server brings drives and jobs to a safe point before it ends.
const STOP: Duration = Duration::from_secs(60);
/// What is killed is gone in a moment.
const KILLED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// One process of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks since the boot, as the kernel tells them.
    pub start: u64,
}

impl Identity {
    /// The process that has this number now; none when it has ended, also when nobody has asked how.
    pub fn of(pid: u32) -> Option<Self> {
        let start = start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some(Self { pid, start })
    }

    pub fn is_running(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Asks it to end, and kills it when it does not; says how it went.
    pub fn end(self) -> Result<&'static str> {
        let Some(process) = self.open() else { return Ok("had ended before") };
        let send = |signal| {
            pidfd_send_signal(&process, signal)
                .map_err(|error| format!("process {} cannot be ended: {error}", self.pid))
        };
        for (signal, patience, how) in [(Signal::TERM, STOP, "ended"), (Signal::KILL, KILLED, "killed")] {
            // It may have gone in between.
            if self.is_running() {
                send(signal)?;
            }
            if self.is_gone_within(patience) {
                return Ok(how);
            }
        }
        Err(format!("process {} does not end", self.pid))
    }

    /// A descriptor stays with its process: looked at after it was opened, it is the right one or none.
    fn open(self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        self.is_running().then_some(process)
    }

    fn is_gone_within(self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        while self.is_running() {
            if Instant::now() > end {
                return false;
            }
            sleep(LOOK);
        }
        true
    }
}

/// The start time in `/proc/PID/stat`: field 22. Field 2 is a name in parentheses that may have anything in it.
fn start_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if ["Z", "X", "x"].contains(&state) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Start times count from here.
pub fn boot() -> Result<String> {
    const FILE: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}; is /proc mounted?"))?;
    Ok(text.trim().to_owned())
}

/// Of a site's proxies; all that the lab talks to is on this machine.
const PROXIES: [&str; 6] =
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// Takes the site's proxies out of its environment.
pub fn without_proxies(command: &mut Command) -> &mut Command {
    PROXIES.iter().fold(command, |command, name| command.env_remove(name))
}

/// Starts it in a process group of its own, so that an interrupt at the terminal is not for it.
pub fn start(command: &mut Command, output: &Path, log: &Path) -> Result<(Child, Identity)> {
    let file = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    let mut child = without_proxies(command)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file(output)?)
        .stderr(file(log)?)
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().to_string_lossy()))?;
    match Identity::of(child.id()) {
        Some(identity) => Ok((child, identity)),
        None => {
            // It must not be left to itself when it cannot be found again.
            let _ = child.kill();
            let how = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(format!("{}: {how}", command.get_program().to_string_lossy()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_name_with_parentheses_and_spaces() {
        let stat = "4711 (a) R (b) S 1 4711 4711 0 -1 4194560 101 102 0 0 7 8 0 0 20 0 5 0 987654 1 2 3";
        assert_eq!(start_in(stat), Some(987_654));
        assert_eq!(
            start_in("4711 (dead) Z 1 4711 4711 0 -1 4194560 1 2 0 0 7 8 0 0 20 0 5 0 987654 1"),
            None
        );
        assert_eq!(start_in("4711 (short) S 1 2 3"), None);
        assert_eq!(start_in(""), None);
    }

    fn sleeper(script: &str) -> (tempfile::TempDir, Child, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let (child, identity) =
            start(&mut command, &folder.path().join("out"), &folder.path().join("log")).unwrap();
        (folder, child, identity)
    }

    #[test]
    fn a_process_is_ended_and_one_that_started_at_another_time_is_left_alone() {
        let (_folder, mut child, identity) = sleeper("exec sleep 600");
        let other = Identity { start: identity.start + 1, ..identity };
        assert_eq!(other.end(), Ok("had ended before"));
        assert!(identity.is_running() && !other.is_running());
        assert_eq!(identity.end(), Ok("ended"));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(15));
        assert_eq!(identity.end(), Ok("had ended before"));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let told =
            start(&mut Command::new("/there/is/none"), &folder.path().join("o"), &folder.path().join("l"));
        assert!(told.unwrap_err().starts_with("/there/is/none: No such file"));
    }
}
