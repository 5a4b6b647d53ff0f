//! Clean cartridges that came back and are to go: `migrate.delete_clean_import`.
//!
//! The ejection notes them in its transaction. This thread proves at that moment that the copy on the remote is whole, and then removes the cartridge
//! here. In this order:
//!
//! 1. it is in the vault still: who has loaded it again has changed his mind, and its note went with the move; and no export of it is in the list;
//! 2. every object is verified by hashes kept here, and the manifest is fetched and compared;
//! 3. it is removed as after an export, and 1 holds still: not when it was written since, or is kept;
//! 4. the note goes, and the job that imported it gets a line in its log.
//!
//! A crash before 4 leaves the note; the next start begins with 1 again. Nothing of it is a job: that would be one for each tape that goes round.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{info, warn};
use vtl_api::Problem;
use vtl_jobs::{Class, Failure};
use vtl_library::{Cartridge, CartridgeState, LibraryError};
use vtl_meta::Tx;
use vtl_migrate::{Clean, EXPORT, IMPORT, Stored};
use vtl_transfer::{Confirmed, Pace, Permission, Trouble};
use vtl_types::{CartridgeId, Label, Place};

use super::bell::Bell;
use super::rows;
use crate::daemon::{Daemon, lock};

/// How often it looks when nothing rings.
const LOOK: Duration = Duration::from_secs(60);

/// The thread, and what it has tried so far.
#[derive(Debug, Default)]
pub(super) struct Returns {
    bell: Bell,
    waiting: Mutex<BTreeMap<CartridgeId, Waiting>>,
}

/// A removal that could not be yet.
#[derive(Debug)]
struct Waiting {
    label: Label,
    attempts: u32,
    /// By [`crate::clock::now_ns`].
    not_before: Duration,
    why: String,
}

/// How a look at one cartridge ended.
#[derive(Debug)]
enum Settled {
    Gone,
    Stays(String),
    /// Nobody wants it to go any more.
    Void,
    /// It may be possible later.
    Later(String),
    Stopped,
}

impl Returns {
    pub(super) fn start(daemon: &Arc<Daemon>) -> Result<(), String> {
        Bell::start(daemon, "vtld-returns", |daemon| &daemon.policies.returns.bell, turn)
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    pub(super) fn stop(&self) {
        self.bell.stop();
    }

    pub(super) fn join(&self) {
        self.bell.join();
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let failed = self.bell.has_failed().then(|| Problem {
            subject: "policies".to_owned(),
            message: "clean imports that are put out do not go any more: the thread that proves their copies has failed"
                .to_owned(),
            remedy: "restart vtld, and report what its log says: this is a fault of the program".to_owned(),
        });
        let waiting = lock(&self.waiting);
        let told = |one: &Waiting| Problem {
            subject: one.label.to_string(),
            message: format!("it waits in the vault to be removed, as a clean import: {}", one.why),
            remedy: "it is tried again; load it to keep it, or remove it: vtl vault rm LABEL".to_owned(),
        };
        failed.into_iter().chain(waiting.values().map(told)).collect()
    }

    /// Whether the pause of this one is over.
    fn is_due(&self, id: CartridgeId, now: Duration) -> bool {
        lock(&self.waiting).get(&id).is_none_or(|one| one.not_before <= now)
    }

    /// When the next pause is over.
    fn next_look(&self, now: Duration) -> Duration {
        let waiting = lock(&self.waiting);
        let left = |one: &Waiting| one.not_before.saturating_sub(now);
        waiting.values().map(left).min().map_or(LOOK, |left| left.clamp(Duration::from_secs(1), LOOK))
    }
}

/// Looks at all once; how long until the next look.
fn turn(daemon: &Daemon) -> Duration {
    let returns = &daemon.policies.returns;
    let now = Duration::from_nanos(crate::clock::now_ns());
    let all = match daemon.meta.read(|tx| Ok(rows::returns(tx)?)) {
        Ok(all) => all,
        Err(error) => {
            warn!(%error, "which clean imports are to go cannot be read");
            return LOOK;
        }
    };
    lock(&returns.waiting).retain(|id, _| all.iter().any(|(one, _)| one == id));
    for (id, clean) in all {
        if returns.bell.is_stopped() {
            break;
        }
        if returns.is_due(id, now) {
            settle(daemon, id, &clean, now);
        }
    }
    returns.next_look(now)
}

/// Looks at one, and notes what came of it.
fn settle(daemon: &Daemon, id: CartridgeId, clean: &Clean, now: Duration) {
    let cartridge = match daemon.meta.read(|tx| vtl_library::cartridge_by_id(tx, id)) {
        Ok(Some(cartridge)) => cartridge,
        // Gone already: a crash came before its note went.
        Ok(None) => return daemon.forget_return(id, None),
        Err(error) => return warn!(%error, "a clean import cannot be looked at"),
    };
    let label = cartridge.label;
    match daemon.give_up(&cartridge, clean) {
        Settled::Stopped => {}
        Settled::Void => daemon.forget_return(id, None),
        Settled::Gone => {
            let told = format!(
                "{label} was removed here: folder {} of remote {} is proved",
                clean.folder, clean.remote
            );
            daemon.forget_return(id, Some((label, "clean-import-deleted", told)));
        }
        Settled::Stays(why) => {
            daemon.forget_return(
                id,
                Some((label, "clean-import-kept", format!("{label} stays in the vault: {why}"))),
            );
        }
        Settled::Later(why) => daemon.try_later(label, id, why, now),
    }
}

impl Daemon {
    fn give_up(&self, cartridge: &Cartridge, clean: &Clean) -> Settled {
        if cartridge.place != Place::Vault || cartridge.state != CartridgeState::Normal {
            return Settled::Void;
        }
        // An export may be to another remote, and is not to find it gone.
        match self.meta.read(|tx| is_being_exported(tx, cartridge.label)) {
            Ok(false) => {}
            Ok(true) => return Settled::Later("an export of it has not ended".to_owned()),
            Err(error) => return Settled::Later(error.to_string()),
        }
        let pace = Quiet { daemon: self, label: cartridge.label };
        let proved = self.proved(cartridge.id, clean, &pace).and_then(|()| {
            self.delete_returned(cartridge.id, clean.generation)
                .map_err(|refused| crate::jobs::failure(Class::Permanent, refused).into())
        });
        match proved {
            Ok(()) => Settled::Gone,
            Err(Trouble::Stopped) => Settled::Stopped,
            Err(Trouble::Failed(failure)) if failure.class == Class::Permanent => {
                Settled::Stays(failure.advised())
            }
            Err(Trouble::Failed(failure)) => Settled::Later(failure.advised()),
        }
    }

    fn proved(&self, id: CartridgeId, clean: &Clean, pace: &dyn Pace) -> Result<(), Trouble> {
        vtl_migrate::prove(&*crate::jobs::world(self.weak()), id, clean, pace)
    }

    /// The same pauses and the same number of attempts as a job has.
    fn try_later(&self, label: Label, id: CartridgeId, why: String, now: Duration) {
        let transfer = &self.config().transfer;
        let attempts = lock(&self.policies.returns.waiting).get(&id).map_or(0, |one| one.attempts) + 1;
        warn!(%label, why, attempts, "a clean import stays for now");
        if attempts >= transfer.retry_attempts {
            let told = format!("{label} stays in the vault: {why}");
            return self.forget_return(id, Some((label, "clean-import-kept", told)));
        }
        let doubled = 2_u32.saturating_pow(attempts - 1);
        let pause = transfer.retry_pause.saturating_mul(doubled).min(transfer.retry_max_pause);
        let waiting = Waiting { label, attempts, not_before: now + pause, why };
        lock(&self.policies.returns.waiting).insert(id, waiting);
    }

    /// It is settled; what there is to say of it goes into the log of the import.
    fn forget_return(&self, id: CartridgeId, told: Option<(Label, &'static str, String)>) {
        lock(&self.policies.returns.waiting).remove(&id);
        if let Some((label, event, text)) = &told {
            info!(%label, event, text);
        }
        let now_s = crate::clock::unix_seconds();
        let forgotten = self.meta.change(|tx| {
            rows::forget_return(tx, id)?;
            match &told {
                Some((label, event, text)) => note_import(tx, *label, now_s, event, text),
                None => Ok(()),
            }
        });
        if let Err(error) = forgotten {
            warn!(%error, "that a clean import is settled could not be written down; it is looked at again");
        }
    }
}

/// Refuses a removal that nobody wants any more, or that an export is in the way of.
pub(crate) fn still_goes(tx: &Tx<'_>, id: CartridgeId, label: Label) -> Result<(), LibraryError> {
    let stays = |why: &str| Err(LibraryError::Follow { label, why: why.to_owned() });
    if !rows::is_to_go(tx, id)? {
        return stays("it was loaded since");
    }
    match is_being_exported(tx, label)? {
        true => stays("an export of it has not ended"),
        false => Ok(()),
    }
}

fn is_being_exported(tx: &Tx<'_>, label: Label) -> Result<bool, LibraryError> {
    match vtl_jobs::is_about(tx, EXPORT, label.as_str()) {
        Ok(is_about) => Ok(is_about),
        Err(vtl_jobs::JobError::Meta(error)) => Err(error.into()),
        Err(error) => Err(LibraryError::Follow { label, why: error.to_string() }),
    }
}

/// A line for the log of the last import of a cartridge, if it is in the list still.
pub(crate) fn note_import(
    tx: &mut Tx<'_>,
    label: Label,
    now_s: u64,
    event: &str,
    text: &str,
) -> Result<(), LibraryError> {
    match vtl_jobs::note_last(tx, IMPORT, label.as_str(), now_s, event, text) {
        Ok(()) => Ok(()),
        Err(vtl_jobs::JobError::Meta(error)) => Err(error.into()),
        Err(error) => Err(LibraryError::Follow { label, why: error.to_string() }),
    }
}

/// The pace of a proof that is nobody's job.
struct Quiet<'a> {
    daemon: &'a Daemon,
    label: Label,
}

impl Quiet<'_> {
    fn bell(&self) -> &Bell {
        &self.daemon.policies.returns.bell
    }
}

impl Pace for Quiet<'_> {
    fn goes_on(&self) -> bool {
        !self.bell().is_stopped()
    }

    fn wait(&self, time: Duration) -> bool {
        self.bell().pause(time)
    }

    fn permit(&self) -> Option<Permission> {
        let manager = self.daemon.jobs.manager().ok()?;
        manager.transfer(|| self.bell().is_stopped()).map(|permit| Box::new(permit) as Permission)
    }

    fn confirmed(&self, _object: &Confirmed) -> Result<(), Failure> {
        Ok(())
    }

    fn began(&self, _object: &str, _checkpoint: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn sealing(&self, _sha256: &str) -> Result<(), Failure> {
        Ok(())
    }

    fn moved(&self, _object: &Stored, _bytes: u64) {}

    fn note(&self, text: &str) {
        info!(label = %self.label, text);
    }
}

#[cfg(test)]
mod tests {
    use vtl_jobs::NewJob;

    use super::*;
    use crate::daemon::tests::open;

    #[test]
    fn what_is_not_to_go_any_more_and_what_an_export_is_at_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label: Label = "VTL001L8".parse().unwrap();
        let remove = |tx: &mut Tx<'_>| {
            let row = vtl_library::begin_remove(tx, label)?;
            vtl_library::cancel_remove(tx, label)?;
            Ok::<_, LibraryError>(row)
        };
        let id = daemon.meta.change(remove).unwrap().id;
        let cartridge = daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap();
        assert_eq!(cartridge.place, Place::Vault);
        let refused = daemon.delete_returned(id, 0).unwrap_err();
        assert_eq!(refused.message, "'VTL001L8' stays where it is: it was loaded since");

        let clean = Clean { remote: "cloud".to_owned(), folder: "f".to_owned(), generation: 0 };
        daemon.meta.change(|tx| Ok(rows::let_go(tx, id, &clean)?)).unwrap();
        let new = NewJob {
            key: "asked".to_owned(),
            kind: EXPORT.to_owned(),
            label: Some(label.to_string()),
            request: "{}".to_owned(),
            ..NewJob::default()
        };
        daemon.meta.with(|meta| meta.transaction(|tx| vtl_jobs::enqueue(tx, &new, 1))).unwrap();
        let refused = daemon.delete_returned(id, 0).unwrap_err();
        assert!(refused.message.contains("has not ended"), "{refused:?}");
        let waits = daemon.give_up(&cartridge, &clean);
        assert!(matches!(&waits, Settled::Later(why) if why.contains("has not ended")), "{waits:?}");
        let here = daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap();
        assert_eq!(here.state, CartridgeState::Normal);
        daemon.stop();
    }
}
