//! Connections that have not logged in yet, oldest first. Whoever takes the last place drives out the oldest of them.
//!
//! A connection leaves the lobby in one step: either it gets its session, or it is shown out. So a session is never cut off here.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::{AbortHandle, Id};

/// Those who wait. Bounded by `iscsi.max_connections`.
#[derive(Debug, Default)]
pub struct Lobby {
    waiting: Mutex<VecDeque<AbortHandle>>,
}

impl Lobby {
    /// Runs a connection, which waits here from now on.
    pub fn enter(&self, connection: impl Future<Output = ()> + Send + 'static) {
        // Under the lock: it cannot leave before it is in.
        let mut waiting = self.waiting();
        waiting.push_back(tokio::spawn(connection).abort_handle());
    }

    /// The connection whose task this is leaves; false when it had left or been shown out.
    pub fn leave(&self) -> bool {
        let Some(own) = tokio::task::try_id() else { return false };
        self.take(own)
    }

    /// Ends the connection that has waited longest; false when nobody waits.
    pub fn show_out_oldest(&self) -> bool {
        let oldest = self.waiting().pop_front();
        oldest.inspect(AbortHandle::abort).is_some()
    }

    fn take(&self, own: Id) -> bool {
        let mut waiting = self.waiting();
        let place = waiting.iter().position(|handle| handle.id() == own);
        place.and_then(|place| waiting.remove(place)).is_some()
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<AbortHandle>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    /// A connection that logs in when told, says whether it could, and then stays.
    fn arrive(lobby: &Arc<Lobby>) -> (oneshot::Sender<()>, oneshot::Receiver<bool>) {
        let (log_in, told) = oneshot::channel::<()>();
        let (answer, got_in) = oneshot::channel();
        let here = lobby.clone();
        lobby.enter(async move {
            if told.await.is_ok() && answer.send(here.leave()).is_ok() {
                std::future::pending().await
            }
        });
        (log_in, got_in)
    }

    #[tokio::test]
    async fn the_oldest_that_has_not_logged_in_is_shown_out_and_a_session_never() {
        let lobby = Arc::new(Lobby::default());
        let ((first_in, first), (_second_in, second), (third_in, third)) =
            (arrive(&lobby), arrive(&lobby), arrive(&lobby));
        first_in.send(()).unwrap();
        assert_eq!(first.await, Ok(true));
        assert!(lobby.show_out_oldest());
        assert!(second.await.is_err(), "its task has ended");
        third_in.send(()).unwrap();
        assert_eq!(third.await, Ok(true));
        assert!(!lobby.show_out_oldest(), "only sessions are left");
    }
}
