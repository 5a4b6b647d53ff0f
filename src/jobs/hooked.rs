//! Jobs of cartridges that were put into a mailslot: the site's hook first (`crate::hook`), then the engine.
//!
//! The hook runs while nothing of the job has begun, that is while there is no checkpoint. So it runs again after a crash, a stop or a failure that came
//! before the engine's first checkpoint, and not any more after that.

use std::sync::{Arc, Weak};

use serde::Deserialize;
use vtl_jobs::{Failure, Outcome, Plan, Ticket, Wanted, Work};

use super::upgrade;
use crate::daemon::Daemon;
use crate::hook::{Ending, Hook, Vaulted};

/// An engine whose jobs have a hook, when they are about a cartridge that a library has ejected.
pub(super) struct Hooked {
    pub(super) daemon: Weak<Daemon>,
    pub(super) engine: Arc<dyn Work>,
}

/// What is of interest here of a request.
#[derive(Deserialize)]
struct Ejected {
    label: String,
    library: String,
}

impl Work for Hooked {
    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    fn alone(&self) -> bool {
        self.engine.alone()
    }

    fn plan(&self, request: &str) -> Result<Plan, Failure> {
        self.engine.plan(request)
    }

    fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
        match self.hook(ticket)? {
            Some(Outcome::Stopped) => Ok(Outcome::Stopped),
            _ => self.engine.run(ticket),
        }
    }

    fn undo(&self, ticket: &Ticket) -> Result<(), Failure> {
        self.engine.undo(ticket)
    }
}

impl Hooked {
    fn hook(&self, ticket: &Ticket) -> Result<Option<Outcome>, Failure> {
        // Other requests have no library.
        let Ok(ejected) = serde_json::from_str::<Ejected>(ticket.request()) else { return Ok(None) };
        let daemon = upgrade(&self.daemon)?;
        match daemon.post_vault_hook() {
            Some(hook) if ticket.checkpoint().is_empty() => run(&daemon, &hook, ejected, ticket),
            _ => Ok(None),
        }
    }
}

fn run(daemon: &Daemon, hook: &Hook, ejected: Ejected, ticket: &Ticket) -> Result<Option<Outcome>, Failure> {
    let about = Vaulted {
        bytes: used_bytes(daemon, &ejected.label),
        label: ejected.label,
        library: Some(ejected.library),
        job: ticket.id().0,
    };
    let run = hook.run(&about, &|| ticket.wanted() == Wanted::Stop);
    let said = if run.said.is_empty() { String::new() } else { format!("; it said: {}", run.said) };
    match run.ending {
        Ending::Done => {
            ticket.note(&format!("the hook {} is done{said}", hook.program.display()));
            Ok(Some(Outcome::Done(String::new())))
        }
        Ending::Stopped => {
            ticket.note(&format!("the hook {} was ended and runs again{said}", hook.program.display()));
            Ok(Some(Outcome::Stopped))
        }
        Ending::Failed(failure) => {
            ticket.note(&format!("{}{said}", failure.message));
            Err(failure)
        }
    }
}

/// Host data on a cartridge; 0 when there is none of this label any more, which the engine will say.
fn used_bytes(daemon: &Daemon, label: &str) -> u64 {
    let Ok(label) = label.parse() else { return 0 };
    let cartridge = daemon.meta.read(|tx| vtl_library::cartridge(tx, label));
    cartridge.map_or(0, |cartridge| daemon.shelf.summary(cartridge.id).0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::time::Duration;

    use serde_json::json;
    use vtl_jobs::{Job, JobId, Manager, NewJob, RetryRule, RetryRules, Settings, State};

    use super::*;
    use crate::daemon::tests::open;
    use crate::eject::EXPORT;
    use crate::jobs::Clocks;

    const PATIENCE: Duration = Duration::from_secs(300);

    /// Remembers which attempts came to it; fails once after its first checkpoint.
    #[derive(Default)]
    struct Engine {
        ran: Mutex<Vec<u32>>,
    }

    impl Work for Engine {
        fn kind(&self) -> &'static str {
            EXPORT
        }

        fn plan(&self, _request: &str) -> Result<Plan, Failure> {
            Ok(Plan::default())
        }

        fn run(&self, ticket: &Ticket) -> Result<Outcome, Failure> {
            self.ran.lock().unwrap().push(ticket.attempt());
            if !ticket.checkpoint().is_empty() {
                return Ok(Outcome::Done("{}".to_owned()));
            }
            ticket.save(b"begun".to_vec())?;
            Err(Failure {
                class: vtl_jobs::Class::Temporary,
                code: "internal".to_owned(),
                message: "made to fail".to_owned(),
                remedy: None,
            })
        }

        fn undo(&self, _ticket: &Ticket) -> Result<(), Failure> {
            Ok(())
        }
    }

    struct Bench {
        folder: tempfile::TempDir,
        daemon: Arc<Daemon>,
        engine: Arc<Engine>,
        manager: Manager,
    }

    impl Bench {
        /// `script`: what the hook does; each run adds its job's number to the file `runs` first.
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("hook");
            crate::hook::tests::write_script(
                &path,
                &format!(
                    "echo \"$VTL_JOB $VTL_LABEL $VTL_LIBRARY $VTL_SIZE_BYTES\" >> {}\n{script}",
                    runs(folder.path())
                ),
            );
            let set = format!("hooks.post_vault={}", path.display());
            let daemon = open(folder.path(), &[&set]);
            let engine = Arc::new(Engine::default());
            let hooked = Hooked { daemon: Arc::downgrade(&daemon), engine: engine.clone() };
            let temporary = RetryRule { attempts: Some(3), pause_s: 0, max_pause_s: 0 };
            let settings =
                Settings { retry: RetryRules { temporary, ..RetryRules::default() }, ..Settings::default() };
            let ledger = Box::new(daemon.meta.clone());
            let manager = Manager::open(ledger, Box::new(Clocks), vec![Arc::new(hooked)], settings).unwrap();
            manager.start().unwrap();
            Self { folder, daemon, engine, manager }
        }

        fn job(&self, request: serde_json::Value) -> (Job, Vec<String>) {
            let new = NewJob {
                key: "k".to_owned(),
                kind: EXPORT.to_owned(),
                request: request.to_string(),
                ..NewJob::default()
            };
            let id: JobId = self.manager.submit(&new).unwrap().id;
            let ended =
                self.manager.wait_until(id, Some(PATIENCE), |job| job.state.is_terminal()).unwrap().unwrap();
            let (_, log) = self.manager.detail(id).unwrap();
            (ended, log.into_iter().map(|line| line.text).collect())
        }

        fn runs(&self) -> Vec<String> {
            let text = std::fs::read_to_string(runs(self.folder.path())).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        }

        fn stop(self) {
            self.manager.stop();
            self.daemon.stop();
        }
    }

    fn runs(folder: &Path) -> String {
        folder.join("runs").display().to_string()
    }

    fn ejected() -> serde_json::Value {
        json!({ "label": "VTL001L8", "library": "lib0", "remote": "r" })
    }

    #[test]
    fn an_ejected_cartridge_has_its_hook_once_before_the_engine_and_not_again_when_that_goes_on() {
        let bench = Bench::new("echo fetched >&2");
        let (job, log) = bench.job(ejected());
        assert_eq!((job.state, bench.runs()), (State::Completed, vec!["1 VTL001L8 lib0 0".to_owned()]));
        assert_eq!(*bench.engine.ran.lock().unwrap(), [1, 2]);
        assert!(log.iter().any(|line| line.contains("is done; it said: fetched")), "{log:?}");
        bench.stop();
    }

    #[test]
    fn a_hook_that_fails_keeps_the_engine_from_beginning_and_one_that_asks_for_it_is_tried_again() {
        let bench = Bench::new("echo no robot >&2; exit 7");
        let (job, log) = bench.job(ejected());
        assert_eq!((job.state, job.attempts, bench.runs().len()), (State::Failed, 1, 1));
        assert!(job.trouble.unwrap().message.contains("ended with 7"));
        assert!(log.iter().any(|line| line.contains("it said: no robot")), "{log:?}");
        assert!(bench.engine.ran.lock().unwrap().is_empty());
        bench.stop();
        let bench = Bench::new("test -e \"$0.again\" || { touch \"$0.again\"; exit 5; }");
        let (job, _) = bench.job(ejected());
        assert_eq!((job.state, bench.runs().len()), (State::Completed, 2));
        bench.stop();
        let bench = Bench::new("exit 5");
        let (job, _) = bench.job(ejected());
        assert_eq!((job.state, job.attempts, bench.runs().len()), (State::Failed, 3, 3));
        bench.stop();
    }

    #[test]
    fn an_export_that_somebody_asked_for_has_no_hook() {
        let bench = Bench::new("exit 7");
        let (job, _) = bench.job(json!({ "label": "VTL001L8", "remote": "r" }));
        assert_eq!((job.state, bench.runs().len()), (State::Completed, 0));
        bench.stop();
    }
}
