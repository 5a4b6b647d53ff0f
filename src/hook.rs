//! The post-vault hook: a program of the site that a job runs when its cartridge has come to the vault, before anything is sent. `docs/hooks.md` tells
//! operators.
//!
//! It gets its facts as arguments and in its environment; no shell reads them. It may run more than once for one job: again after a crash, a pause, a
//! stop of the server, or when its exit code asks for another attempt. What it has started and not ended goes with it.

mod requests;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use vtl_jobs::{Class, Failure};

use crate::daemon::lock;

/// How often it is looked whether it has ended, and whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// So many bytes of what it says are kept, the last ones.
const KEPT: usize = 4096;
/// So long what it said is read after its end. Whoever has left its group may hold standard error open for ever.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// What it gets of our environment.
const INHERITED: [&str; 5] = ["PATH", "HOME", "TZ", "LANG", "TMPDIR"];

/// A hook that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program.
    pub program: PathBuf,
    /// The longest that it may take.
    pub limit: Duration,
    /// Exit codes that ask for another attempt.
    pub retry_on: Vec<u8>,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vaulted {
    /// Label of the cartridge, which is its bar code.
    pub label: String,
    /// Library that it comes from.
    pub library: Option<String>,
    /// Number of the job.
    pub job: u64,
    /// Bytes of host data on it.
    pub bytes: u64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did what it does.
    Done,
    /// It was ended because that was wanted.
    Stopped,
    /// It did not.
    Failed(Failure),
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// The end of what it said on standard error, without control characters.
    pub said: String,
}

impl Vaulted {
    fn arguments(&self) -> [String; 4] {
        let library = self.library.clone().unwrap_or_default();
        [self.label.clone(), library, self.job.to_string(), self.bytes.to_string()]
    }

    fn environment(&self) -> [(&'static str, String); 6] {
        let [label, library, job, bytes] = self.arguments();
        [
            ("VTL_EVENT", "post-vault".to_owned()),
            ("VTL_BARCODE", label.clone()),
            ("VTL_LABEL", label),
            ("VTL_LIBRARY", library),
            ("VTL_JOB", job),
            ("VTL_SIZE_BYTES", bytes),
        ]
    }
}

impl Hook {
    /// Runs it, and waits for its end; `is_stopping` is asked all the time, and ends it.
    pub fn run(&self, about: &Vaulted, is_stopping: &dyn Fn() -> bool) -> Run {
        let running = match self.start(about) {
            Ok(running) => running,
            Err(error) => return Run { ending: self.not_started(&error), said: String::new() },
        };
        let end = Instant::now() + self.limit;
        let forced = loop {
            match running.has_ended() {
                Ok(true) => break None,
                Err(error) => break Some(self.not_started(&error)),
                Ok(false) if is_stopping() => break Some(Ending::Stopped),
                Ok(false) if Instant::now() >= end => break Some(self.late()),
                Ok(false) => std::thread::sleep(LOOK),
            }
        };
        let (status, said) = running.end();
        let by_itself = || status.map_or_else(|error| self.not_started(&error), |status| self.judge(status));
        Run { ending: forced.unwrap_or_else(by_itself), said }
    }

    fn start(&self, about: &Vaulted) -> io::Result<Running> {
        let inherited = INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let told = about.environment().map(|(name, value)| (name, OsString::from(value)));
        let mut child = Command::new(&self.program)
            .args(about.arguments())
            .env_clear()
            .envs(inherited.chain(told))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A group of its own, so that all of it can be ended.
            .process_group(0)
            .spawn()?;
        let stderr = child.stderr.take();
        let said = Arc::new(Mutex::new(Vec::new()));
        let (over, is_over) = channel();
        let listener = std::thread::Builder::new().name("vtld-hook".to_owned());
        let to = said.clone();
        let listen = move || {
            if let Some(stderr) = stderr {
                keep_the_end_of(stderr, &to, over);
            }
        };
        match listener.spawn(listen) {
            Ok(_) => Ok(Running { child, said, is_over }),
            Err(error) => {
                end_group(&mut child)?;
                Err(error)
            }
        }
    }

    fn judge(&self, status: ExitStatus) -> Ending {
        let program = self.program.display();
        let failed = |class, what: String, remedy: &str| {
            Ending::Failed(failure(class, format!("the hook {program} {what}"), remedy))
        };
        match (status.code(), status.signal()) {
            (Some(0), _) => Ending::Done,
            (Some(code), _) if u8::try_from(code).is_ok_and(|code| self.retry_on.contains(&code)) => {
                failed(Class::Temporary, format!("ended with {code}, which asks for another attempt"), "")
            }
            (Some(code), _) => failed(
                Class::Permanent,
                format!("ended with {code}"),
                "see what it said in the log of the job, and try again: vtl job retry ID",
            ),
            (None, signal) => {
                failed(Class::Temporary, format!("was ended by signal {}", signal.unwrap_or(0)), "")
            }
        }
    }

    fn late(&self) -> Ending {
        let message = format!(
            "the hook {} did not end in {} s and was ended",
            self.program.display(),
            self.limit.as_secs()
        );
        Ending::Failed(failure(Class::Temporary, message, "see what it waits for, or raise hooks.time_limit"))
    }

    fn not_started(&self, error: &io::Error) -> Ending {
        let message = format!("the hook {} cannot be run: {error}", self.program.display());
        Ending::Failed(failure(
            Class::Permanent,
            message,
            "name an executable file in hooks.post_vault, and try again: vtl job retry ID",
        ))
    }
}

fn failure(class: Class, message: String, remedy: &str) -> Failure {
    Failure {
        class,
        code: "hook".to_owned(),
        message,
        remedy: (!remedy.is_empty()).then(|| remedy.to_owned()),
    }
}

/// A hook that has been started.
struct Running {
    child: Child,
    /// The last bytes that it said, as a thread reads them.
    said: Arc<Mutex<Vec<u8>>>,
    /// Its other end goes when nobody can say any more.
    is_over: Receiver<()>,
}

impl Running {
    /// Looks without taking its status, so that its process id is nobody else's before [`Running::end`].
    fn has_ended(&self) -> io::Result<bool> {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.child)), look)?.is_some())
    }

    /// Ends what is left of it; its status, and what it said. Who has left its group is not ended and not waited for: the thread reads on for it.
    fn end(mut self) -> (io::Result<ExitStatus>, String) {
        let status = end_group(&mut self.child);
        // Nothing is ever sent: this is the end of the sender, or of the wait.
        let _over = self.is_over.recv_timeout(AFTERWARDS);
        (status, printable(&lock(&self.said)))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("child", &self.child.id()).finish_non_exhaustive()
    }
}

/// Nobody of the group may be left, and no zombie.
fn end_group(child: &mut Child) -> io::Result<ExitStatus> {
    // That a group cannot be ended which has ended already is no error.
    let _ended = kill_process_group(Pid::from_child(child), Signal::KILL);
    child.wait()
}

/// Reads until nobody can say any more. `_over` goes then.
fn keep_the_end_of(mut stderr: ChildStderr, kept: &Mutex<Vec<u8>>, _over: Sender<()>) {
    let mut piece = [0; 1024];
    while let Ok(read @ 1..) = stderr.read(&mut piece) {
        let mut kept = lock(kept);
        kept.extend_from_slice(piece.get(..read).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

fn printable(said: &[u8]) -> String {
    let shown = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
    String::from_utf8_lossy(said).chars().map(shown).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A shell script as a site would write it. Another process writes it: a file that this one has open for writing while another test forks
    /// cannot be run.
    fn write_script(path: &Path, script: &str) {
        let mut shell = Command::new("sh")
            .args(["-c", "cat > \"$1\" && chmod 700 \"$1\"", "sh"])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("#!/bin/sh\n{script}\n");
        io::Write::write_all(&mut shell.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    fn hook(folder: &Path, script: &str) -> Hook {
        let program = folder.join("hook");
        write_script(&program, script);
        Hook { program, limit: PATIENCE, retry_on: vec![2, 5] }
    }

    fn about() -> Vaulted {
        Vaulted { label: "VTL001L8".to_owned(), library: Some("lib0".to_owned()), job: 7, bytes: 1 << 40 }
    }

    fn run(hook: &Hook) -> Run {
        hook.run(&about(), &|| false)
    }

    fn failed(run: &Run) -> (Class, String) {
        match &run.ending {
            Ending::Failed(failure) => (failure.class, failure.message.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_told_of_the_cartridge_in_environment_and_arguments_and_gets_nothing_else_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let script = format!(
            "{{ env | grep ^VTL_ | sort; echo \"$#:$1:$2:$3:$4\"; env | grep -c ^CARGO_; }} > {}",
            told.display()
        );
        // grep -c ends with 1 when it counts none.
        run(&hook(folder.path(), &script));
        let lines = std::fs::read_to_string(told).unwrap();
        assert_eq!(
            lines.lines().collect::<Vec<_>>(),
            [
                "VTL_BARCODE=VTL001L8",
                "VTL_EVENT=post-vault",
                "VTL_JOB=7",
                "VTL_LABEL=VTL001L8",
                "VTL_LIBRARY=lib0",
                "VTL_SIZE_BYTES=1099511627776",
                "4:VTL001L8:lib0:7:1099511627776",
                "0"
            ]
        );
    }

    #[test]
    fn no_shell_reads_what_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let library = Some(format!("x; touch {}", mark.display()));
        let run = hook(folder.path(), "exit 0").run(&Vaulted { library, ..about() }, &|| false);
        assert_eq!((run.ending, mark.exists()), (Ending::Done, false));
    }

    #[test]
    fn its_exit_code_says_whether_to_try_again_and_what_it_said_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let ended =
            |code: &str| run(&hook(folder.path(), &format!("echo \"no robot $VTL_LABEL\" >&2; {code}")));
        assert_eq!(ended("exit 0"), Run { ending: Ending::Done, said: "no robot VTL001L8".to_owned() });
        for (code, class) in [
            ("2", Class::Temporary),
            ("5", Class::Temporary),
            ("1", Class::Permanent),
            ("7", Class::Permanent),
        ] {
            let run = ended(&format!("exit {code}"));
            let (found, message) = failed(&run);
            assert_eq!((found, run.said.as_str()), (class, "no robot VTL001L8"), "{code}");
            assert!(message.contains(&format!("ended with {code}")), "{message}");
        }
        let (class, message) = failed(&ended("kill -KILL $$"));
        assert!(class == Class::Temporary && message.contains("signal 9"), "{message}");
    }

    #[test]
    fn of_much_that_it_says_the_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(&hook(
            folder.path(),
            "i=0; while [ $i -lt 2000 ]; do echo \"line $i\" >&2; i=$((i+1)); done; printf 'bell\\007' >&2",
        ));
        assert!(run.said.len() <= KEPT + 8 && run.said.ends_with("line 1999\nbell\u{fffd}"), "{}", run.said);
    }

    #[test]
    fn one_that_hangs_is_ended_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let mut late = hook(folder.path(), "sleep 600 & echo $! > \"$0.child\"; echo waiting >&2; wait");
        late.limit = Duration::from_secs(2);
        let run = run(&late);
        let (class, message) = failed(&run);
        assert!(class == Class::Temporary && message.contains("did not end in 2 s"), "{message}");
        let child = std::fs::read_to_string(folder.path().join("hook.child")).unwrap();
        // It is killed; going takes a moment.
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        let end = Instant::now() + PATIENCE;
        while !(state().is_empty() || state().contains(") Z")) {
            assert!(Instant::now() < end, "it still runs: {}", state());
            std::thread::sleep(LOOK);
        }
    }

    #[test]
    fn one_that_leaves_a_process_outside_its_group_is_over_when_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let script = "setsid sh -c 'echo $$ > \"$0.child\"; exec sleep 60' \"$0\" &
            until [ -s \"$0.child\" ]; do sleep 0.05; done
            echo gone >&2";
        let hook = hook(folder.path(), script);
        let began = Instant::now();
        let run = run(&hook);
        assert_eq!(run, Run { ending: Ending::Done, said: "gone".to_owned() });
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let child = std::fs::read_to_string(folder.path().join("hook.child")).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        // It has not gone with the hook.
        rustix::process::kill_process(child, Signal::KILL).unwrap();
    }

    #[test]
    fn a_stop_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let hook = hook(folder.path(), "touch \"$0.began\"; sleep 600");
        let began = folder.path().join("hook.began");
        let asked = AtomicBool::new(false);
        let run = hook.run(&about(), &|| {
            asked.store(true, Ordering::Relaxed);
            began.exists()
        });
        assert!(run.ending == Ending::Stopped && asked.load(Ordering::Relaxed));
    }

    #[test]
    fn one_that_cannot_be_run_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = Hook { program: folder.path().join("none"), ..hook(folder.path(), "") };
        let (class, message) = failed(&run(&missing));
        assert!(class == Class::Permanent && message.contains("none cannot be run"), "{message}");
        let plain = hook(folder.path(), "");
        std::fs::set_permissions(&plain.program, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(failed(&run(&plain)).1.contains("cannot be run"));
    }
}
