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

/// Longer nobody waits for the removal of what was half sent: a cancel is to be quick, and takes it back once more.
const ABANDON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use vtl_jobs::Failure;
    use vtl_remote::{Doing, Fault, FaultyRemote, Folder, FolderRemote, Limiter, Mode, Plan};

    use super::*;
    use crate::pace::{Confirmed, Permission};
    use crate::staging::Staging;

    struct Quiet;

    impl Pace for Quiet {
        fn goes_on(&self) -> bool {
            true
        }

        fn wait(&self, _: Duration) -> bool {
            true
        }

        fn permit(&self) -> Option<Permission> {
            None
        }

        fn confirmed(&self, _: &Confirmed) -> Result<(), Failure> {
            Ok(())
        }

        fn began(&self, _: &str, _: &str) -> Result<(), Failure> {
            Ok(())
        }

        fn sealing(&self, _: &str) -> Result<(), Failure> {
            Ok(())
        }

        fn moved(&self, _: &Stored, _: u64) {}

        fn note(&self, _: &str) {}
    }

    #[test]
    fn a_remote_that_does_not_answer_keeps_no_stop_waiting_for_what_was_half_sent() {
        let (home, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let slow = Plan::script([(Doing::Abandon, Fault::Slow(Duration::from_secs(3600)))]);
        let remote = FaultyRemote::new(Arc::new(FolderRemote::open("r", place.path()).unwrap()), slow);
        let folder = Folder::new("VTL001L8-20261126_031500").unwrap();
        let staging = Staging::open(home.path(), "job-1", 0).unwrap();
        let limiter = Limiter::unlimited();
        let line = Line {
            runtime: runtime.handle(),
            remote: &remote,
            folder: &folder,
            staging: &staging,
            slots: 1,
            limiter: &limiter,
            verify: Mode::RemoteHash,
        };
        let telling = Telling::of_streamed(&Quiet, "VTL001L8.img.000001");
        telling.keep(&Checkpoint::new("its place")).unwrap();
        let began = Instant::now();
        telling.abandon(line);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}
