//! What an upload tells the job that it is part of.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use vtl_bundle::Stored;
use vtl_remote::{Checkpoint, Held, Watch};

use crate::Line;
use crate::pace::Pace;
use crate::staging::Kept;

/// Tells the job how an upload goes, and knows what to remove when it is cut off.
pub(crate) struct Telling<'a> {
    pace: &'a dyn Pace,
    name: &'a str,
    /// None while it is made.
    object: Option<(&'a Stored, &'a Kept)>,
    kept: Mutex<Option<Checkpoint>>,
}

impl std::fmt::Debug for Telling<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telling").field("object", &self.name).finish_non_exhaustive()
    }
}

impl Watch for Telling<'_> {
    fn sent(&self, bytes: u64) {
        if let Some((object, _)) = self.object {
            self.pace.moved(object, bytes);
        }
    }

    fn keep(&self, checkpoint: &Checkpoint) -> Result<(), String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The first one says what is to be removed, and the job keeps it; how far it came since lies beside the object.
        if kept.is_none() {
            self.pace.began(self.name, checkpoint.as_str()).map_err(|failure| failure.message)?;
        } else if let Some((_, staged)) = self.object
            && let Err(error) = staged.note(checkpoint)
        {
            tracing::warn!(object = self.name, %error, "how far an upload came is not noted");
        }
        *kept = Some(checkpoint.clone());
        Ok(())
    }

    fn beside(&self) -> Option<Held> {
        self.pace.another()
    }
}

impl<'a> Telling<'a> {
    pub(crate) fn of_staged(pace: &'a dyn Pace, object: &'a Stored, kept: &'a Kept) -> Self {
        Self { pace, name: &object.name, object: Some((object, kept)), kept: Mutex::default() }
    }

    pub(crate) fn of_streamed(pace: &'a dyn Pace, name: &'a str) -> Self {
        Self { pace, name, object: None, kept: Mutex::default() }
    }

    /// As far as that is possible now; the job knows of it too.
    pub(crate) fn abandon(&self, line: Line<'_>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(checkpoint) = kept {
            let abandoned = line
                .runtime
                .block_on(async { tokio::time::timeout(ABANDON, line.remote.abandon(&checkpoint)).await });
            if !matches!(abandoned, Ok(Ok(()))) {
                tracing::warn!(object = self.name, "a half-sent object stays on the remote for now");
            }
        }
    }
}

/// Longer nobody waits for the removal of what was half sent: a cancel is to be quick.
const ABANDON: Duration = Duration::from_secs(3);
