//! Cartridges that are given up by their id: they are in a pool, the inventory does not list them, and what they say of themselves cannot be read. So nobody
//! can list them again, and since what they need is not known, nothing is collected in their pool ([`crate::collect`]).
//!
//! One that is given up waits as a removed cartridge waits in the trash, and by the same clock and count ([`crate::trash`]). Its files are left as they are, still
//! nothing is collected, and it can be taken back. When its time is over, or at once when that was asked for, the store removes it as it removes any
//! other, and the next collection frees what nothing else needs.
//!
//! A note alone removes nothing: what is listed or can be read again by then stays, and its note goes. A head that somebody has put back under the running
//! server is looked at by the next start, and stays until then. The bytes of a note stand in
//! `docs/formats/inventory.md`.

use std::sync::Arc;

use tracing::{info, warn};
use vtl_api::{ApiError, ErrorCode, Problem};
use vtl_cartridge::{Cartridge, CartridgeError, Now};
use vtl_library::LibraryError;
use vtl_meta::{MetaError, Tx};
use vtl_store::{OwnerId, StoreError};
use vtl_types::{CartridgeId, Label};

use crate::api::refused;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, lock};
use crate::pools::{Pool, SEE_DISK, rows};
use crate::take_in::free_the_label;
use crate::trash::{Wait, Waits};

/// How those that are given up wait.
pub(crate) const GIVEN_UP: Waits = Waits { since: "given-up", count: "given-up-count" };

/// What an id stands for.
enum Found {
    /// What can be given up: a cartridge in this pool that the inventory does not list and that cannot be read, and why not.
    Lost(Arc<Pool>, String),
    /// A cartridge that the inventory lists, in the trash or not.
    Listed(Label),
    /// No cartridge, but what is here of this one; and the command that removes that.
    Part(Label, String),
    /// A cartridge that can be read, or a part of one that an import or ingest makes.
    Whole { label: Label, is_unfinished: bool },
    /// A cartridge in an open pool that could not be read when that was opened, and whose head is there again.
    Mended,
    /// Whether it can be read is not known.
    Unsure(String),
    /// No open pool has it.
    Nowhere,
}

/// The command that gives one up, first into the trash.
pub(crate) fn give_up_command(id: CartridgeId) -> String {
    format!("vtl cartridge rm --id {id} --confirm {id}")
}

/// The command that removes one at once.
pub(crate) fn give_up_now_command(id: CartridgeId) -> String {
    format!("vtl cartridge rm --id {id} --now --confirm {id}")
}

/// What a copy of the inventory that was put back says of this is old: since then one may have been taken back. So each waits from now on, also one
/// whose note cannot be read.
///
/// # Errors
/// A failure of the file.
pub(crate) fn wait_anew(tx: &mut Tx<'_>, now: Now) -> Result<(), MetaError> {
    GIVEN_UP.all(tx)?.into_iter().try_for_each(|id| GIVEN_UP.note(tx, id, Wait::from_now_on(now)))
}

/// Whether this is damage, and no failure that another try may not meet.
fn is_damage(error: &CartridgeError) -> bool {
    match error {
        CartridgeError::FormatCorrupted { .. } | CartridgeError::Store(StoreError::Damaged { .. }) => true,
        CartridgeError::Store(StoreError::Io(error)) => error.is_not_found(),
        _ => false,
    }
}

impl Daemon {
    /// Gives a cartridge up. With `at_once` it is gone when this returns, else it is in the trash; what is said of it.
    ///
    /// # Errors
    /// It is none that can be given up, and what to do instead; it is kept; a failure of pool or inventory.
    pub(crate) fn give_up_unlisted(&self, id: CartridgeId, at_once: bool) -> Result<String, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        let (pool, why) = self.lost_one(id)?;
        self.refuse_kept_unlisted(&pool.store, id)?;
        if at_once {
            self.remove_lost(&pool, id)?;
            return Ok(format!("{id} is removed for good"));
        }
        let now = self.retention.now();
        let wait = self.meta.change(|tx| {
            // Again does not put it off. A note that cannot be read is written anew.
            let before = GIVEN_UP.noted(tx, id).ok().flatten();
            let wait = before.map_or(Wait::from_now_on(now), |wait| wait.counted(now));
            GIVEN_UP.note(tx, id, wait)?;
            Ok(wait)
        });
        let until_s = wait.map_err(|e| refused(&e))?.ends_s(now).unwrap_or(now.wall_s);
        self.note_anew(self.lost_problem(&pool, id, &why));
        Ok(format!("{id} is in the trash until {}; what it may need stays until then", rfc3339(until_s)))
    }

    /// Takes one back from the trash; it is as it was.
    ///
    /// # Errors
    /// It is not there; a failure of the inventory.
    pub(crate) fn take_given_up_back(&self, id: CartridgeId) -> Result<String, ApiError> {
        let _one_at_a_time = lock(&self.changes);
        if matches!(self.given_up_note(id), Ok(None)) {
            return Err(ApiError::new(
                ErrorCode::Conflict,
                format!("{id} is not in the trash"),
                "vtl cartridge trash shows what is there",
            ));
        }
        self.forget_given_up(id)?;
        self.forget_problem(&id.to_string());
        if let Ok(Found::Lost(pool, why)) = self.stands_for(id) {
            self.note_anew(self.lost_problem(&pool, id, &why));
        }
        Ok(format!("{id} is not in the trash any more"))
    }

    /// What is given up and waits, also where its note cannot be read.
    ///
    /// # Errors
    /// The inventory cannot be read.
    pub(crate) fn given_up(&self) -> Result<Vec<CartridgeId>, LibraryError> {
        self.meta.read(|tx| {
            let listed = vtl_library::cartridges(tx)?;
            let mut waiting = GIVEN_UP.all(tx)?;
            waiting.retain(|id| listed.iter().all(|one| one.id != *id));
            Ok(waiting)
        })
    }

    /// Since when one waits, and when it is to go, in seconds since 1970 UTC. None: that cannot be read.
    pub(crate) fn given_up_times(&self, id: CartridgeId) -> (Option<u64>, Option<u64>) {
        let wait = self.given_up_note(id).ok().flatten();
        let since_s = match wait {
            Some(Wait::Since { wall_s, .. }) => Some(wall_s),
            _ => None,
        };
        (since_s, wait.and_then(|wait| wait.ends_s(self.retention.now())))
    }

    /// What is given up and stays, because nobody can tell since when.
    pub(crate) fn given_up_problems(&self) -> Vec<Problem> {
        if self.meta.read(|tx| Ok(GIVEN_UP.look(tx)?)).is_ok() {
            return Vec::new();
        }
        let told = |id: CartridgeId| self.given_up_note(id).err().map(|error| note_not_read(id, &error));
        self.given_up().unwrap_or_default().into_iter().filter_map(told).collect()
    }

    /// Removes what was given up in a pool and whose time is over. Changes are locked.
    pub(crate) fn empty_given_up(&self, pool: &Pool) {
        let noted = match self.meta.read(|tx| Ok(GIVEN_UP.all(tx)?)) {
            Ok(noted) => noted,
            Err(error) => {
                warn!(%error, "what is given up stays: since when cannot be read");
                return;
            }
        };
        for id in noted {
            if let Err(error) = self.look_at_given_up(pool, id) {
                warn!(cartridge = %id, message = error.advised(), "a cartridge that is given up is not removed yet");
            }
        }
    }

    fn look_at_given_up(&self, pool: &Pool, id: CartridgeId) -> Result<(), ApiError> {
        match self.stands_for(id).map_err(|e| refused(&e))? {
            Found::Lost(its, _) if its.name == pool.name => {
                if !self.is_given_up_for_good(id).map_err(|e| refused(&e))? {
                    return Ok(());
                }
                self.refuse_kept_unlisted(&pool.store, id)?;
                self.remove_lost(pool, id)
            }
            // It is in a pool that has a look of its own, or may be in one that is not open.
            Found::Lost(..) | Found::Unsure(_) => Ok(()),
            // The next start reads it, and the note goes then.
            Found::Mended => Ok(()),
            Found::Nowhere if !self.pools.closed_ones().is_empty() => Ok(()),
            Found::Listed(_) | Found::Part(..) | Found::Whole { .. } | Found::Nowhere => {
                self.forget_given_up(id)
            }
        }
    }

    /// Whether its time is over. A count that is missing begins now.
    fn is_given_up_for_good(&self, id: CartridgeId) -> Result<bool, LibraryError> {
        let now = self.retention.now();
        let before = self.given_up_note(id)?;
        let Some(wait) = before.map(|wait| wait.counted(now)) else { return Ok(false) };
        if before != Some(wait) {
            self.meta.change(|tx| Ok(GIVEN_UP.note(tx, id, wait)?))?;
        }
        Ok(wait.is_over(now))
    }

    fn given_up_note(&self, id: CartridgeId) -> Result<Option<Wait>, LibraryError> {
        self.meta.read(|tx| Ok(GIVEN_UP.noted(tx, id)?))
    }

    fn forget_given_up(&self, id: CartridgeId) -> Result<(), ApiError> {
        self.meta.change(|tx| Ok(GIVEN_UP.forget(tx, id)?)).map_err(|e| refused(&e))
    }

    /// First the store, then what is noted: a crash between leaves notes of what is not there, which the next look takes away.
    fn remove_lost(&self, pool: &Pool, id: CartridgeId) -> Result<(), ApiError> {
        self.remove_from(pool, id)?;
        pool.keeper.removed();
        self.forget_problem(&id.to_string());
        let forgotten = self.meta.change(|tx| {
            rows::take_out(tx, id)?;
            crate::take_in::forget_notes(tx, id)?;
            vtl_migrate::lazy_forget(tx, id)?;
            vtl_library::forget_quarantine(tx, id)?;
            Ok(GIVEN_UP.forget(tx, id)?)
        });
        forgotten.map_err(|e| refused(&e))?;
        self.meta.forget_kept(id);
        info!(cartridge = %id, pool = %pool.name, "a cartridge that was not listed and could not be read is removed for good");
        Ok(())
    }

    /// What the status says of one.
    pub(crate) fn lost_problem(&self, pool: &Pool, id: CartridgeId, why: &str) -> Problem {
        let (state, remedy) = match self.given_up_note(id) {
            Ok(None) => (
                "what it may need stays",
                format!(
                    "put its folder back from a copy of the store, and restart vtld; or give it up: {}",
                    give_up_command(id)
                ),
            ),
            Ok(Some(_)) | Err(_) => (
                "it is given up, and waits in the trash",
                format!(
                    "vtl cartridge trash says until when; vtl cartridge restore --id {id} takes it back; {} removes it at once",
                    give_up_now_command(id)
                ),
            ),
        };
        Problem {
            subject: id.to_string(),
            message: format!(
                "a cartridge in pool {} that the inventory does not list cannot be read: {state}: {why}",
                pool.name
            ),
            remedy,
        }
    }

    /// The one of this id that can be given up, its pool, and why it cannot be read.
    fn lost_one(&self, id: CartridgeId) -> Result<(Arc<Pool>, String), ApiError> {
        let conflict = |message: String, remedy: String| ApiError::new(ErrorCode::Conflict, message, remedy);
        Err(match self.stands_for(id).map_err(|e| refused(&e))? {
            Found::Lost(pool, why) => return Ok((pool, why)),
            Found::Listed(label) => conflict(
                format!("{id} is listed: it is {label}"),
                format!("name it by its label: vtl cartridge rm {label}"),
            ),
            Found::Part(label, command) => {
                conflict(
                    format!("{id} is no cartridge, but what is here of {label}"),
                    format!("remove that one: {command}"),
                )
            }
            Found::Whole { label, is_unfinished: true } => conflict(
                format!("{id} can be read: it is a part of {label}, of an import or ingest"),
                "wait for its job, or cancel it: vtl job ls; what no job wants is removed by a start of vtld, seven days later at most"
                    .to_owned(),
            ),
            Found::Whole { label, is_unfinished: false } => {
                conflict(
                    format!("{id} can be read: it is {label}, and need not be given up"),
                    self.how_to_list(label),
                )
            }
            Found::Mended => conflict(
                format!("{id} could not be read when its pool was opened, and its head is there again"),
                "restart vtld, which reads it".to_owned(),
            ),
            Found::Unsure(why) => ApiError::new(
                ErrorCode::Internal,
                format!("whether {id} can be read is not known: {why}"),
                SEE_DISK,
            ),
            Found::Nowhere => ApiError::new(
                ErrorCode::NotFound,
                format!("no open pool has a cartridge with the id {id}"),
                "vtl system status names those that can be given up, and pools that are not open",
            ),
        })
    }

    /// What lists a cartridge that can be read.
    fn how_to_list(&self, label: Label) -> String {
        match self.meta.read(|tx| vtl_library::cartridge(tx, label)) {
            Ok(_) => free_the_label(label),
            Err(_) => format!("restart vtld, which lists it; vtl cartridge rm {label} removes it then"),
        }
    }

    fn stands_for(&self, id: CartridgeId) -> Result<Found, LibraryError> {
        let (listed, parts) =
            self.meta.read(|tx| Ok((vtl_library::cartridges(tx)?, vtl_migrate::lazy_all(tx)?)))?;
        let label_of = |id: CartridgeId| listed.iter().find(|one| one.id == id).map(|one| one.label);
        if let Some(label) = label_of(id) {
            return Ok(Found::Listed(label));
        }
        if let Some(row) = parts.iter().find(|row| row.pieces == id) {
            let command = match label_of(row.cartridge) {
                Some(label) => format!("vtl cartridge rm {label}"),
                None => give_up_command(row.cartridge),
            };
            return Ok(Found::Part(row.label, command));
        }
        let Some(pool) = self.pools.open_ones().into_iter().find(|pool| pool.has(id)) else {
            return Ok(Found::Nowhere);
        };
        Ok(match Cartridge::inspect(&pool.store, id) {
            Ok(facts) => Found::Whole { label: facts.label, is_unfinished: facts.unfinished },
            Err(error) if is_damage(&error) => match pool.store.is_mended(OwnerId(id.0)) {
                Ok(false) => Found::Lost(pool, error.to_string()),
                Ok(true) => Found::Mended,
                Err(error) => Found::Unsure(error.to_string()),
            },
            Err(error) => Found::Unsure(error.to_string()),
        })
    }
}

fn note_not_read(id: CartridgeId, error: &LibraryError) -> Problem {
    Problem {
        subject: id.to_string(),
        message: format!(
            "it is given up, and stays in the trash: how long it has been there cannot be read: {error}"
        ),
        remedy: format!(
            "vtl cartridge restore --id {id} takes it back; {} lets its seven days begin now",
            give_up_command(id)
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use bytes::Bytes;
    use scsi::Medium as _;
    use vtl_cartridge::Protection;
    use vtl_store::{GcReport, GcRule};

    use super::*;
    use crate::kept::tests::{DAY, Hands, START};
    use crate::meta::KEPT;
    use crate::state::stage_restore;
    use crate::take_in::tests::{begin_copy, damage_note, labels, lose_inventory, spec, stop, told};
    use crate::trash::{TRASH_SECONDS, put_in};

    const LABEL: &str = "VTL001L8";
    const HOLD: Protection = Protection { hold: true, retention: None };

    fn head_of(folder: &Path, id: CartridgeId) -> PathBuf {
        folder.join("state/store/owners").join(id.to_string()).join("head")
    }

    /// A daemon that does not list a cartridge with something on it any more, and cannot read its head. As the head was it lies beside the state.
    fn lose(hands: &Hands, folder: &Path) -> (Arc<Daemon>, CartridgeId) {
        let daemon = hands.daemon(folder);
        let label: Label = LABEL.parse().unwrap();
        let id = daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap().id;
        let write = |medium: &mut crate::media::CartridgeMedium| {
            medium.write(&[Bytes::from_static(b"something")], false).map(drop)
        };
        daemon.shelf.use_closed(id, write).unwrap().unwrap();
        daemon
            .meta
            .change(|tx| {
                vtl_library::begin_remove(tx, label)?;
                vtl_library::finish_remove(tx, id)
            })
            .unwrap();
        stop(daemon);
        let head = head_of(folder, id);
        let mut bytes = fs::read(&head).unwrap();
        fs::write(folder.join("head"), &bytes).unwrap();
        bytes[40] ^= 1;
        fs::write(&head, bytes).unwrap();
        (hands.daemon(folder), id)
    }

    fn restarted(hands: &Hands, folder: &Path, daemon: Arc<Daemon>) -> Arc<Daemon> {
        stop(daemon);
        hands.daemon(folder)
    }

    fn has(daemon: &Daemon, id: CartridgeId) -> bool {
        daemon.pools.default().has(id)
    }

    fn look(daemon: &Daemon) {
        daemon.empty_trash_now(daemon.pools.default());
    }

    fn collect(daemon: &Daemon) -> Result<GcReport, ApiError> {
        daemon.collect(daemon.pools.default(), GcRule::default())
    }

    #[test]
    fn what_nobody_can_list_stops_collections_until_it_is_given_up_and_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        let refused = collect(&daemon).unwrap_err();
        assert!(refused.message.contains(&format!("cartridge {id}, which")), "{}", refused.message);
        assert!(refused.remedy.unwrap().contains(&give_up_now_command(id)));
        assert!(told(&daemon, &id.to_string()).unwrap().remedy.contains(&give_up_command(id)));

        let until = format!("until {};", rfc3339(START + TRASH_SECONDS));
        assert!(daemon.give_up_unlisted(id, false).unwrap().contains(&until));
        hands.pass(DAY);
        assert!(daemon.give_up_unlisted(id, false).unwrap().contains(&until), "again does not put it off");
        assert!(collect(&daemon).is_err());
        let daemon = restarted(&hands, folder.path(), daemon);
        let problem = told(&daemon, &id.to_string()).unwrap();
        assert!(problem.remedy.contains(&format!("vtl cartridge restore --id {id}")), "{problem:?}");
        hands.pass(6 * DAY - 1);
        look(&daemon);
        assert!(has(&daemon, id));
        hands.pass(1);
        look(&daemon);
        assert!(!has(&daemon, id) && daemon.given_up().unwrap().is_empty());
        collect(&daemon).unwrap();
        assert_eq!((told(&daemon, &id.to_string()), labels(&daemon).len()), (None, 9));
        let daemon = restarted(&hands, folder.path(), daemon);
        assert_eq!((told(&daemon, &id.to_string()), labels(&daemon).len()), (None, 9));
        daemon.stop();
    }

    #[test]
    fn what_is_given_up_at_once_is_gone_from_the_trash_too_and_collections_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (daemon, id) = lose(&Hands::new(), folder.path());
        daemon.give_up_unlisted(id, false).unwrap();
        daemon.give_up_unlisted(id, true).unwrap();
        assert!(!has(&daemon, id) && !head_of(folder.path(), id).exists());
        assert_eq!((daemon.given_up().unwrap(), told(&daemon, &id.to_string())), (Vec::new(), None));
        collect(&daemon).unwrap();
        assert_eq!(labels(&daemon).len(), 9);
        assert_eq!(daemon.give_up_unlisted(id, true).unwrap_err().code, ErrorCode::NotFound);
        daemon.stop();
    }

    #[test]
    fn what_was_taken_back_stays_and_what_was_mended_meanwhile_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        daemon.give_up_unlisted(id, false).unwrap();
        daemon.take_given_up_back(id).unwrap();
        assert_eq!(daemon.take_given_up_back(id).unwrap_err().code, ErrorCode::Conflict);
        assert!(told(&daemon, &id.to_string()).unwrap().remedy.contains(&give_up_command(id)));
        hands.pass(2 * TRASH_SECONDS);
        look(&daemon);
        assert!(has(&daemon, id), "it was taken back");

        daemon.give_up_unlisted(id, false).unwrap();
        stop(daemon);
        fs::copy(folder.path().join("head"), head_of(folder.path(), id)).unwrap();
        hands.pass(2 * TRASH_SECONDS);
        let daemon = hands.daemon(folder.path());
        assert!(daemon.given_up().unwrap().is_empty(), "what is listed is not in the trash");
        look(&daemon);
        assert!(has(&daemon, id) && labels(&daemon).contains(&LABEL.to_owned()));
        assert_eq!(daemon.given_up_note(id).unwrap(), None);
        collect(&daemon).unwrap();
        daemon.stop();
    }

    #[test]
    fn only_what_is_not_listed_and_cannot_be_read_is_given_up_and_a_refusal_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let (daemon, lost) = lose(&Hands::new(), folder.path());
        let row = |label: &str| {
            daemon.meta.read(|tx| vtl_library::cartridge(tx, label.parse().unwrap())).unwrap().id
        };
        let [listed, removed] = ["VTL002L8", "VTL004L8"].map(row);
        let wait = Wait::from_now_on(daemon.retention.now());
        daemon.meta.change(|tx| put_in(tx, "VTL004L8".parse().unwrap(), wait)).unwrap();
        let part = begin_copy(&daemon, "UNF001L8");
        let [free, taken] = ["FRE001L8", "VTL003L8"].map(|label| {
            let id = CartridgeId(crate::random::id());
            Cartridge::create(&daemon.pools.default().store, id, &spec(label)).unwrap();
            id
        });
        let unknown = CartridgeId([7; 16]);
        for (id, code, told, remedy) in [
            (listed, ErrorCode::Conflict, "it is VTL002L8", "vtl cartridge rm VTL002L8"),
            (removed, ErrorCode::Conflict, "it is VTL004L8", "vtl cartridge rm VTL004L8"),
            (part, ErrorCode::Conflict, "a part of UNF001L8", "vtl job ls"),
            (free, ErrorCode::Conflict, "it is FRE001L8", "restart vtld, which lists it"),
            (taken, ErrorCode::Conflict, "it is VTL003L8", "free the label with vtl cartridge rm VTL003L8"),
            (unknown, ErrorCode::NotFound, "no open pool", "vtl system status"),
        ] {
            for at_once in [false, true] {
                let refused = daemon.give_up_unlisted(id, at_once).unwrap_err();
                assert_eq!(refused.code, code, "{refused:?}");
                assert!(refused.message.contains(told), "{refused:?}");
                assert!(refused.remedy.as_ref().is_some_and(|how| how.contains(remedy)), "{refused:?}");
            }
        }
        assert!([listed, removed, part, free, taken, lost].iter().all(|id| has(&daemon, *id)));
        assert!(daemon.given_up().unwrap().is_empty());
        daemon.stop();
    }

    #[test]
    fn what_was_kept_is_not_given_up_and_does_not_go_while_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        let refused = |id: CartridgeId, why: &str| {
            for at_once in [false, true] {
                let refused = daemon.give_up_unlisted(id, at_once).unwrap_err();
                assert_eq!(refused.code, ErrorCode::Conflict);
                assert!(refused.message.contains(why), "{refused:?}");
            }
        };
        daemon.meta.note_kept(id, HOLD).unwrap();
        refused(id, "it is on hold");
        daemon.meta.forget_kept(id);
        daemon.give_up_unlisted(id, false).unwrap();
        daemon.meta.note_kept(id, HOLD).unwrap();
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(has(&daemon, id));
        daemon.meta.forget_kept(id);
        look(&daemon);
        assert!(!has(&daemon, id));

        // The store can read this one, and nobody can make a cartridge of it: the guard counts.
        let (store, guarded) = (&daemon.pools.default().store, OwnerId([9; 16]));
        store.create(guarded, b"no cartridge").unwrap();
        let mut stream = store.open_stream(guarded).unwrap();
        stream.guard(true);
        stream.commit(b"").unwrap();
        drop(stream);
        refused(CartridgeId(guarded.0), "is retained or on hold");
        daemon.stop();
    }

    #[test]
    fn what_a_copy_of_the_inventory_has_given_up_waits_anew_when_the_copy_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        daemon.give_up_unlisted(id, false).unwrap();
        let copy = folder.path().join("copy.db");
        daemon.meta.copy_to(&copy).unwrap();
        daemon.take_given_up_back(id).unwrap();
        hands.pass(TRASH_SECONDS);
        stage_restore(&daemon.state, &copy).unwrap();
        let daemon = restarted(&hands, folder.path(), daemon);
        look(&daemon);
        assert!(has(&daemon, id));
        assert_eq!(daemon.given_up_times(id), (Some(START + TRASH_SECONDS), Some(START + 2 * TRASH_SECONDS)));
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(!has(&daemon, id));
        daemon.stop();
    }

    #[test]
    fn what_is_put_back_under_the_running_server_stays_until_a_start_lists_it() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        daemon.give_up_unlisted(id, false).unwrap();
        fs::copy(folder.path().join("head"), head_of(folder.path(), id)).unwrap();
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(has(&daemon, id));
        for at_once in [false, true] {
            let refused = daemon.give_up_unlisted(id, at_once).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Conflict);
            assert!(refused.message.contains("its head is there again"), "{refused:?}");
            assert!(refused.remedy.unwrap().contains("restart vtld"));
        }
        let refused = daemon.remove_from(daemon.pools.default(), id).unwrap_err();
        assert_eq!((refused.code, has(&daemon, id)), (ErrorCode::Conflict, true), "the store refuses it too");
        let daemon = restarted(&hands, folder.path(), daemon);
        look(&daemon);
        assert!(has(&daemon, id) && labels(&daemon).contains(&LABEL.to_owned()));
        assert_eq!(daemon.given_up_note(id).unwrap(), None);
        daemon.stop();
    }

    #[test]
    fn what_may_be_kept_and_whose_note_of_that_cannot_be_read_is_not_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        daemon.give_up_unlisted(id, false).unwrap();
        daemon.meta.note_kept(id, HOLD).unwrap();
        stop(daemon);
        damage_note(folder.path(), KEPT, id);
        let daemon = hands.daemon(folder.path());
        for at_once in [false, true] {
            let refused = daemon.give_up_unlisted(id, at_once).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Conflict);
            assert!(refused.message.contains("whether it is kept cannot be read"), "{refused:?}");
        }
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(has(&daemon, id));
        daemon.stop();
    }

    /// A second one that can be given up.
    fn lose_another(daemon: &Daemon) -> CartridgeId {
        let id = CartridgeId([9; 16]);
        daemon.pools.default().store.create(OwnerId(id.0), b"no cartridge").unwrap();
        id
    }

    #[test]
    fn a_note_that_cannot_be_read_is_told_and_keeps_its_own_cartridge_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        let other = lose_another(&daemon);
        for id in [id, other] {
            daemon.give_up_unlisted(id, false).unwrap();
        }
        stop(daemon);
        damage_note(folder.path(), GIVEN_UP.since, id);
        let daemon = hands.daemon(folder.path());
        let mut waiting = daemon.given_up().unwrap();
        waiting.sort_unstable_by_key(|one| one.0 != id.0);
        assert_eq!((waiting, daemon.given_up_times(id)), (vec![id, other], (None, None)));
        let problems = daemon.trash_problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].subject == id.to_string() && problems[0].message.contains("cannot be read"));
        assert!(problems[0].remedy.contains(&give_up_command(id)), "{problems:?}");
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert_eq!([id, other].map(|id| has(&daemon, id)), [true, false]);
        daemon.give_up_unlisted(id, false).unwrap();
        assert_eq!(daemon.trash_problems(), []);
        daemon.stop();
    }

    #[test]
    fn a_note_that_cannot_be_read_lets_all_wait_anew_when_a_copy_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let (daemon, id) = lose(&hands, folder.path());
        let other = lose_another(&daemon);
        for id in [id, other] {
            daemon.give_up_unlisted(id, false).unwrap();
        }
        let copy = folder.path().join("copy.db");
        daemon.meta.copy_to(&copy).unwrap();
        hands.pass(TRASH_SECONDS);
        stop(daemon);
        lose_inventory(folder.path());
        fs::copy(&copy, folder.path().join("state/inventory.db")).unwrap();
        damage_note(folder.path(), GIVEN_UP.since, id);
        let daemon = hands.daemon(folder.path());
        look(&daemon);
        let anew = (Some(START + TRASH_SECONDS), Some(START + 2 * TRASH_SECONDS));
        for id in [id, other] {
            assert!(has(&daemon, id));
            assert_eq!(daemon.given_up_times(id), anew, "{id}");
        }
        daemon.stop();
    }
}
