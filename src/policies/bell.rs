//! A thread that sleeps until it is called.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tracing::warn;

use crate::daemon::{Daemon, lock};

/// Calls one thread, and stops it.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    stopped: bool,
    thread: Option<JoinHandle<()>>,
}

impl Bell {
    /// Starts a thread that does `turn` at once, whenever this bell is rung, and when the time is over that `turn` gave.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(
        daemon: &Arc<Daemon>,
        name: &str,
        bell: fn(&Daemon) -> &Self,
        turn: fn(&Daemon) -> Duration,
    ) -> Result<(), String> {
        let held = daemon.clone();
        let work = move || {
            let mut pause = Duration::ZERO;
            while bell(&held).rest(pause) {
                pause = turn(&held);
            }
        };
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(work)
            .map_err(|error| format!("the system gives no thread: {error}"))?;
        bell(daemon).state().thread = Some(thread);
        Ok(())
    }

    /// Something has happened.
    pub(super) fn ring(&self) {
        self.state().rung = true;
        self.changed.notify_all();
    }

    /// No turn begins any more.
    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits for the end of the turn in hand.
    pub(super) fn join(&self) {
        let thread = self.state().thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("a policy had failed; the log says why");
        }
    }

    /// Whether the thread has ended without being stopped.
    pub(super) fn has_failed(&self) -> bool {
        let state = self.state();
        !state.stopped && state.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// Waits so long, or until it is stopped; whether to go on.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.stopped);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.stopped
    }

    /// The same, or until it is rung.
    fn rest(&self, time: Duration) -> bool {
        let waited =
            self.changed.wait_timeout_while(self.state(), time, |state| !state.rung && !state.stopped);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.rung = false;
        !state.stopped
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}
