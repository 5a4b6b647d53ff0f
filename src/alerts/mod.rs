//! Alerts: the daemon looks around now and then, and receivers are told what has changed. `docs/operations.md` is the manual.
//!
//! Threads: one looks and writes rows ([`vtl_alert::apply`]); one for each receiver takes what is due, sends, and writes what came of it. While one
//! sends it holds nothing of the daemon's, so that a receiver that hangs delays itself alone, and a stop does not wait for it: what was not
//! written down as sent is sent again after the next start.

mod look;
mod receivers;
mod requests;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::Duration;

use tracing::{error, info, warn};
use vtl_alert::send::{NotSent, Sender, pause_s};
use vtl_alert::{Judge, Outgoing};
use vtl_api::Problem;

use crate::clock::unix_seconds;
use crate::daemon::Daemon;
use crate::events::Kind;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(10);
/// A receiver's thread looks at its rows at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// What is older is not told any more: the receiver was not there, or is new.
const STALE_S: u64 = 2 * 24 * 60 * 60;
/// Names of receivers, as their senders say them.
const RECEIVERS: [&str; 3] = ["email", "webhook", "syslog"];

/// What alerts need beside the inventory.
#[derive(Debug, Default)]
pub struct Alerts {
    state: Mutex<Shape>,
    changed: Condvar,
    judge: Mutex<Judge>,
}

#[derive(Debug, Default)]
struct Shape {
    senders: Vec<Arc<dyn Sender>>,
    /// Grows when there is something to tell.
    news: u64,
    stopped: bool,
    /// Attempts, by receiver and whether it was told.
    deliveries: BTreeMap<(&'static str, bool), u64>,
    /// Receivers that were not told the last time, and why.
    troubles: BTreeMap<&'static str, String>,
    /// Receivers that cannot be used as they are configured.
    unusable: Vec<String>,
    /// When it was last looked for cartridges without an export.
    exports_looked_s: u64,
}

impl Alerts {
    /// Begins to look and to tell.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(daemon: &Arc<Daemon>) -> Result<(), String> {
        daemon.alerts.heed(daemon);
        let failed = |error: std::io::Error| format!("alerts: the system gives no thread: {error}");
        let weak = daemon.weak();
        Builder::new().name("alerts".to_owned()).spawn(move || look_around(&weak)).map_err(failed)?;
        for name in RECEIVERS {
            let weak = daemon.weak();
            let spawned = Builder::new().name(format!("alert-{name}")).spawn(move || tell_on(&weak, name));
            spawned.map_err(failed)?;
        }
        Ok(())
    }

    /// Receivers are those of the configuration from now on.
    pub fn heed(&self, daemon: &Daemon) {
        let (senders, unusable) = receivers::of(&daemon.config().alerts, &daemon.installation());
        unusable.iter().for_each(|why| error!(why, "a receiver of alerts cannot be used"));
        let mut state = self.lock();
        (state.senders, state.unusable) = (senders, unusable);
        state.troubles.clear();
        state.news += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// No thread begins anything any more.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Attempts to tell, by receiver and whether it was told.
    pub fn deliveries(&self) -> Vec<(&'static str, bool, u64)> {
        self.lock().deliveries.iter().map(|((name, told), count)| (*name, *told, *count)).collect()
    }

    /// What an operator should know.
    pub fn problems(&self) -> Vec<Problem> {
        let state = self.lock();
        let failing = state.troubles.iter().map(|(name, why)| Problem {
            subject: format!("alerts by {name}"),
            message: format!("the last alert was not taken: {why}"),
            remedy: "check alerts.* of the configuration and the receiver, then: vtl alert test".to_owned(),
        });
        let unusable = state.unusable.iter().map(|why| Problem {
            subject: "alerts".to_owned(),
            message: format!("a receiver cannot be used: {why}"),
            remedy: "check alerts.* of the configuration, then: vtl system reload".to_owned(),
        });
        failing.chain(unusable).collect()
    }

    fn senders(&self) -> Vec<Arc<dyn Sender>> {
        self.lock().senders.clone()
    }

    fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    fn news(&self) -> u64 {
        self.lock().news
    }

    fn tell(&self) {
        self.lock().news += 1;
        self.changed.notify_all();
    }

    /// Until something is new since `seen`, it stops, or the time is over.
    fn wait(&self, longest: Duration, seen: Option<u64>) {
        let is_quiet = |state: &mut Shape| !state.stopped && seen.is_none_or(|seen| state.news == seen);
        drop(self.changed.wait_timeout_while(self.lock(), longest, is_quiet));
    }

    fn note(&self, name: &'static str, outcome: &Result<(), NotSent>) {
        let mut state = self.lock();
        *state.deliveries.entry((name, outcome.is_ok())).or_default() += 1;
        match outcome {
            Ok(()) => drop(state.troubles.remove(name)),
            Err(error) => drop(state.troubles.insert(name, error.to_string())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shape> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks.
fn look_around(daemon: &Weak<Daemon>) {
    while let Some(daemon) = daemon.upgrade() {
        if daemon.alerts.has_stopped() {
            return;
        }
        daemon.look();
        daemon.alerts.wait(LOOK, None);
    }
}

/// The thread of one receiver.
fn tell_on(daemon: &Weak<Daemon>, name: &'static str) {
    loop {
        let Some(strong) = daemon.upgrade() else { return };
        if strong.alerts.has_stopped() {
            return;
        }
        let seen = strong.alerts.news();
        let sender = strong.alerts.senders().into_iter().find(|sender| sender.name() == name);
        let due = sender.as_ref().map_or_else(Vec::new, |_| strong.due(name));
        if due.is_empty() {
            strong.alerts.wait(strong.until_next(name), Some(seen));
            continue;
        }
        drop(strong);
        for outgoing in due {
            let Some(sender) = &sender else { break };
            let outcome = sender.send(&outgoing.notice);
            let Some(strong) = daemon.upgrade() else { return };
            strong.told(name, &outgoing, &outcome);
        }
    }
}

impl Daemon {
    /// One look: what follows from it is written, and receivers hear of it.
    pub(crate) fn look(&self) {
        let (looked, findings) = self.findings();
        let now_s = unix_seconds();
        let senders = self.alerts.senders();
        let names: Vec<&str> = senders.iter().map(|sender| sender.name()).collect();
        let mut judge = self.alerts.judge.lock().unwrap_or_else(PoisonError::into_inner);
        let done = self.meta.change(|tx| {
            let changes = judge.judge(&vtl_alert::open(tx)?, &looked, &findings, now_s);
            Ok(vtl_alert::apply(tx, &changes, &names, now_s)?)
        });
        drop(judge);
        match done {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => {
                for alert in changed {
                    let (rule, state) = (alert.rule.word(), alert.state.word());
                    info!(
                        alert = alert.id.0,
                        rule,
                        state,
                        subject = alert.subject,
                        alert.message,
                        "an alert"
                    );
                    self.events.publish(Kind::Alert, &requests::shown(&alert));
                }
                self.alerts.tell();
            }
            Err(error) => warn!(%error, "alerts cannot be written"),
        }
    }

    fn due(&self, name: &str) -> Vec<Outgoing> {
        let found = self.meta.read(|tx| Ok(vtl_alert::due(tx, name, unix_seconds())?));
        found.unwrap_or_else(|error| {
            warn!(%error, receiver = name, "what a receiver is to be told cannot be read");
            Vec::new()
        })
    }

    fn until_next(&self, name: &str) -> Duration {
        let next = self.meta.read(|tx| Ok(vtl_alert::next_due(tx, name)?)).ok().flatten();
        let left = next.map(|due_s| Duration::from_secs(due_s.saturating_sub(unix_seconds()).max(1)));
        left.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)
    }

    /// Writes down what became of an attempt.
    fn told(&self, name: &'static str, outgoing: &Outgoing, outcome: &Result<(), NotSent>) {
        let now_s = unix_seconds();
        self.alerts.note(name, outcome);
        let is_stale = now_s.saturating_sub(outgoing.notice.at_s) > STALE_S;
        let again = outcome.as_ref().err().and_then(|error| pause_s(outgoing.attempts + 1, error));
        let written = match again.filter(|_| !is_stale) {
            Some(pause_s) => {
                self.meta.change(|tx| Ok(vtl_alert::postpone(tx, name, outgoing, now_s + pause_s)?))
            }
            None => self.meta.change(|tx| Ok(vtl_alert::sent(tx, outgoing.id)?)),
        };
        if let Err(error) = outcome {
            let given_up = again.is_none() || is_stale;
            warn!(receiver = name, alert = outgoing.notice.id, %error, given_up, "a receiver was not told of an alert");
        }
        if let Err(error) = written {
            warn!(%error, receiver = name, "that a receiver was told cannot be written; it may be told again");
        }
    }
}
