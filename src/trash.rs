//! The trash: a cartridge that was removed waits in it, and goes for good when its time is over.
//!
//! The mark of a removal and the note of how the cartridge waits are written in one transaction, so a crash at any moment leaves either one that waits
//! or one that somebody wanted gone at once, which the next start finishes. A note that is missing or cannot be read never ends the time of a cartridge
//! that has data.
//!
//! The time is over when it has passed by the machine's clock and by the count of seconds that retention goes by ([`crate::retention_clock`]): a clock
//! that was set, or is wrong until somebody corrects it, removes nothing. The bytes of a note stand in `docs/formats/inventory.md`.

use std::sync::Arc;

use tracing::{info, warn};
use vtl_api::{ApiError, Problem};
use vtl_cartridge::Now;
use vtl_library::{Cartridge, CartridgeState, LibraryError};
use vtl_meta::{MetaError, Tx};
use vtl_types::{CartridgeId, Label};

use crate::api::refused;
use crate::daemon::{Daemon, lock};
use crate::meta::{PUT_BACK, drop_flag, drop_numbers, look_at_numbers, number, numbered, set_number};
use crate::pools::Pool;

/// How long a removed cartridge stays in the trash.
pub(crate) const TRASH_SECONDS: u64 = 7 * 24 * 60 * 60;
/// So many labels are named in what is told of a copy's trash; of more, the number.
const NAMED: usize = 10;

/// How removed cartridges wait.
pub(crate) const TRASH: Waits = Waits { since: "trash", count: "trash-count" };
/// In the place of the time: it does not wait.
const AT_ONCE: u64 = 0;

/// How a removed cartridge waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all: it goes as soon as it can.
    Not,
    /// It was put in at this moment.
    Since {
        /// By the clock, in seconds since 1970 UTC.
        wall_s: u64,
        /// By the count; a note that a program without it has written has none.
        counted_s: Option<u64>,
    },
}

impl Wait {
    /// From this moment on.
    pub(crate) const fn from_now_on(now: Now) -> Self {
        Self::Since { wall_s: now.wall_s, counted_s: Some(now.counted_s) }
    }

    /// With a count that can pass: one that is missing, or that a count that was lost had reached and this one has not, begins now.
    pub(crate) fn counted(self, now: Now) -> Self {
        match self {
            Self::Not => Self::Not,
            Self::Since { wall_s, counted_s } => {
                let reached = counted_s.filter(|at| *at <= now.counted_s);
                Self::Since { wall_s, counted_s: Some(reached.unwrap_or(now.counted_s)) }
            }
        }
    }

    /// When it is over at the earliest if the clock is right from now on, in seconds since 1970 UTC. None: it does not wait.
    pub(crate) fn ends_s(self, now: Now) -> Option<u64> {
        let Self::Since { wall_s, counted_s } = self.counted(now) else { return None };
        let passed = now.counted_s.saturating_sub(counted_s.unwrap_or(now.counted_s));
        let left = TRASH_SECONDS.saturating_sub(passed);
        Some(wall_s.saturating_add(TRASH_SECONDS).max(now.wall_s.saturating_add(left)))
    }

    /// Whether it is over.
    pub(crate) fn is_over(self, now: Now) -> bool {
        self.ends_s(now).is_none_or(|end| end <= now.wall_s)
    }
}

/// Notes of how something waits, under two words.
pub(crate) struct Waits {
    /// Under this one stands since when, by the clock.
    pub(crate) since: &'static str,
    /// Under this one the count at that moment.
    pub(crate) count: &'static str,
}

impl Waits {
    /// How it waits; none: nothing is noted of it.
    ///
    /// # Errors
    /// A note that cannot be read; a failure of the file.
    pub(crate) fn noted(&self, tx: &Tx<'_>, id: CartridgeId) -> Result<Option<Wait>, MetaError> {
        Ok(match number(tx, self.since, id)? {
            None => None,
            Some(AT_ONCE) => Some(Wait::Not),
            Some(wall_s) => Some(Wait::Since { wall_s, counted_s: number(tx, self.count, id)? }),
        })
    }

    /// Notes how it waits, in the place of what was noted.
    ///
    /// # Errors
    /// A failure of the file.
    pub(crate) fn note(&self, tx: &mut Tx<'_>, id: CartridgeId, wait: Wait) -> Result<(), MetaError> {
        let (since, count) = match wait {
            Wait::Not => (AT_ONCE, None),
            // A clock that stands at its very beginning does not say that it is to go.
            Wait::Since { wall_s, counted_s } => (wall_s.max(AT_ONCE + 1), counted_s),
        };
        set_number(tx, self.since, id, Some(since))?;
        set_number(tx, self.count, id, count)
    }

    /// Looks whether each note can be read.
    ///
    /// # Errors
    /// The first that cannot.
    pub(crate) fn look(&self, tx: &Tx<'_>) -> Result<(), MetaError> {
        [self.since, self.count].into_iter().try_for_each(|word| look_at_numbers(tx, word))
    }

    /// All of which it is noted, also where the note cannot be read.
    ///
    /// # Errors
    /// A failure of the file.
    pub(crate) fn all(&self, tx: &Tx<'_>) -> Result<Vec<CartridgeId>, MetaError> {
        numbered(tx, self.since)
    }

    /// It does not wait any more.
    ///
    /// # Errors
    /// A failure of the file.
    pub(crate) fn forget(&self, tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
        set_number(tx, self.since, id, None)?;
        set_number(tx, self.count, id, None)
    }

    /// Nothing waits any more, nor what has a note that cannot be read.
    ///
    /// # Errors
    /// A failure of the file.
    pub(crate) fn forget_all(&self, tx: &mut Tx<'_>) -> Result<(), MetaError> {
        [self.since, self.count].into_iter().try_for_each(|word| drop_numbers(tx, word))
    }
}

/// How a removed cartridge waits; none: nothing is noted of it.
fn noted(tx: &Tx<'_>, id: CartridgeId) -> Result<Option<Wait>, MetaError> {
    TRASH.noted(tx, id)
}

/// Notes how a removed cartridge waits, in the place of what was noted.
///
/// # Errors
/// A failure of the file.
pub(crate) fn note(tx: &mut Tx<'_>, id: CartridgeId, wait: Wait) -> Result<(), MetaError> {
    TRASH.note(tx, id, wait)
}

/// A cartridge is not in the trash any more.
///
/// # Errors
/// A failure of the file.
pub(crate) fn forget(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
    TRASH.forget(tx, id)
}

/// The first half of a removal, and how the cartridge waits for the second. One that waits already is not put off; it can be wanted gone at once.
///
/// # Errors
/// It is in a drive; there is none with this label; a failure of the file.
pub(crate) fn put_in(tx: &mut Tx<'_>, label: Label, wait: Wait) -> Result<Cartridge, LibraryError> {
    let before = vtl_library::cartridge(tx, label)?;
    let waits = before.state == CartridgeState::Removing && matches!(noted(tx, before.id), Ok(Some(_)));
    let going = vtl_library::begin_remove(tx, label)?;
    if !waits || wait == Wait::Not {
        note(tx, going.id, wait)?;
    }
    Ok(going)
}

/// Takes a removal back: the cartridge is in the vault.
///
/// # Errors
/// It is not being removed; a failure of the file.
pub(crate) fn take_back(tx: &mut Tx<'_>, label: Label) -> Result<(), LibraryError> {
    let kept = vtl_library::cancel_remove(tx, label)?;
    Ok(forget(tx, kept.id)?)
}

impl Daemon {
    /// Frees what has been in the trash of a pool long enough, while the daemon runs.
    pub(crate) fn empty_trash_now(&self, pool: &Pool) {
        let _one_at_a_time = lock(&self.changes);
        match self.listed_in(&pool.name) {
            Ok(mut removing) => {
                removing.retain(|one| one.state == CartridgeState::Removing);
                self.empty_trash(removing);
            }
            Err(error) => warn!(%error, "what is in the trash cannot be read"),
        }
        self.empty_given_up(pool);
    }

    /// The same with what is in it.
    pub(crate) fn empty_trash(&self, removing: Vec<Cartridge>) {
        for cartridge in removing {
            // What is in a pool that is not open waits for it: its space could not come back, and it would.
            let Ok(pool) = self.pools.of(cartridge.id) else { continue };
            match self.is_due(&pool, &cartridge) {
                Ok(false) => {}
                Ok(true) => {
                    if let Err(error) = self.destroy(&cartridge) {
                        warn!(label = %cartridge.label, message = error.advised(), "a removed cartridge is not freed yet");
                    }
                }
                Err(error) => {
                    warn!(label = %cartridge.label, %error, "a removed cartridge stays in the trash: how long it has been there cannot be read");
                }
            }
        }
    }

    /// Whether a removed cartridge is to go now. What lacks in its note is put there, and counts from now on.
    fn is_due(&self, pool: &Pool, cartridge: &Cartridge) -> Result<bool, LibraryError> {
        let (id, now) = (cartridge.id, self.retention.now());
        let before = self.trash_note(id)?;
        let wait = match before {
            Some(wait) => wait.counted(now),
            // A program that noted nothing of a removal at once was cut off in it: its row is all that is left.
            None if !pool.has(id) => Wait::Not,
            None => {
                info!(label = %cartridge.label, "it is not known since when a removed cartridge has been in the trash: it waits from now on");
                Wait::from_now_on(now)
            }
        };
        if before != Some(wait) {
            self.meta.change(|tx| Ok(note(tx, id, wait)?))?;
        }
        Ok(wait.is_over(now))
    }

    fn trash_note(&self, id: CartridgeId) -> Result<Option<Wait>, LibraryError> {
        self.meta.read(|tx| Ok(noted(tx, id)?))
    }

    /// When a removed cartridge was put into the trash, in seconds since 1970. None: it does not wait there, or that cannot be read.
    pub(crate) fn trash_since(&self, id: CartridgeId) -> Option<u64> {
        match self.trash_note(id) {
            Ok(Some(Wait::Since { wall_s, .. })) => Some(wall_s),
            _ => None,
        }
    }

    /// When it is to go for good. None as above.
    pub(crate) fn trash_ends(&self, id: CartridgeId) -> Option<u64> {
        let wait = self.trash_note(id).ok().flatten()?;
        wait.ends_s(self.retention.now())
    }

    /// Whether a removed cartridge that the store does not have is missed by nobody. One of which nothing is noted, or that does not wait, was removed there.
    pub(crate) fn trash_time_is_over(&self, id: CartridgeId, now: Now) -> bool {
        self.trash_note(id).is_ok_and(|wait| wait.is_none_or(|wait| wait.is_over(now)))
    }

    /// Removes the rows that are all that is left of removed cartridges which nobody misses: they are to keep no label from what is listed next. These pools
    /// are open, and others may not find them yet.
    ///
    /// # Errors
    /// The inventory cannot be read. A row that stays is no failure.
    pub(crate) fn remove_lone_rows(&self, pools: &[Arc<Pool>]) -> Result<(), ApiError> {
        let now = self.retention.now();
        let mut over = self.trash().map_err(|e| refused(&e))?;
        over.retain(|one| self.trash_time_is_over(one.id, now));
        for one in over {
            let its = self.pools.name_of(one.id)?;
            if let Some(pool) = pools.iter().find(|pool| pool.name == its && !pool.has(one.id))
                && let Err(error) = self.destroy_in(Some(pool), &one)
            {
                warn!(label = %one.label, message = error.advised(), "the row of a removed cartridge stays for now");
            }
        }
        Ok(())
    }

    /// What a copy of the inventory that was put back says of its trash is old: since then a cartridge may have been taken back and written. So each
    /// waits from now on. Rows that are all that is left are gone before.
    pub(crate) fn let_trash_of_copy_wait(&self, removing: &[Cartridge]) -> Result<(), LibraryError> {
        if !self.meta.flag(PUT_BACK)? {
            return Ok(());
        }
        let now = self.retention.now();
        self.meta.change(|tx| {
            removing.iter().try_for_each(|one| note(tx, one.id, Wait::from_now_on(now)))?;
            crate::given_up::wait_anew(tx, now)?;
            Ok(drop_flag(tx, PUT_BACK)?)
        })?;
        if !removing.is_empty() {
            let labels: Vec<_> = removing.iter().map(|one| one.label).collect();
            self.note_problem(of_copy(&labels));
        }
        Ok(())
    }

    /// What stays in the trash, because nobody can tell how long it has been there.
    pub(crate) fn trash_problems(&self) -> Vec<Problem> {
        let mut problems = self.given_up_problems();
        if self.meta.read(|tx| Ok(TRASH.look(tx)?)).is_err() {
            let told =
                |one: Cartridge| self.trash_note(one.id).err().map(|error| not_read(one.label, &error));
            problems.extend(self.trash().unwrap_or_default().into_iter().filter_map(told));
        }
        problems
    }
}

fn of_copy(labels: &[Label]) -> Problem {
    let named: Vec<_> = labels.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match labels.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Problem {
        subject: "trash".to_owned(),
        message: format!(
            "the inventory is a copy that was put back, and what it has in the trash may have been taken back since: {}{more}; the seven days there begin now",
            named.join(", ")
        ),
        remedy: "see vtl cartridge trash; vtl cartridge restore LABEL takes one back".to_owned(),
    }
}

fn not_read(label: Label, error: &LibraryError) -> Problem {
    Problem {
        subject: label.to_string(),
        message: format!("it stays in the trash: how long it has been there cannot be read: {error}"),
        remedy: format!(
            "vtl cartridge restore {label} takes it back; vtl cartridge rm {label} lets its seven days begin now"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use scsi::Persist as _;
    use vtl_cartridge::Settings;
    use vtl_store::OwnerId;

    use super::*;
    use crate::kept::tests::{DAY, Hands, START};
    use crate::state::{hexadecimal, stage_restore};
    use crate::take_in::tests::{DamagedHead, begin_copy, lose_inventory, stop, told};

    fn remove(daemon: &Daemon, label: &str) -> Cartridge {
        let wait = Wait::from_now_on(daemon.retention.now());
        daemon.meta.change(|tx| put_in(tx, label.parse().unwrap(), wait)).unwrap()
    }

    /// As a program that knew no notes of removals at once has left it.
    fn remove_without_a_note(daemon: &Daemon, label: &str) -> Cartridge {
        daemon.meta.change(|tx| vtl_library::begin_remove(tx, label.parse().unwrap())).unwrap()
    }

    fn in_trash(daemon: &Daemon) -> Vec<String> {
        daemon.trash().unwrap().iter().map(|one| one.label.to_string()).collect()
    }

    fn look(daemon: &Daemon) {
        daemon.empty_trash_now(daemon.pools.default());
    }

    fn restarted(hands: &Hands, folder: &Path, daemon: Arc<Daemon>) -> Arc<Daemon> {
        daemon.stop();
        drop(daemon);
        hands.daemon(folder)
    }

    #[test]
    fn what_a_copy_of_the_inventory_has_in_its_trash_waits_anew_once_when_the_copy_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let [taken_back, gone] = ["VTL001L8", "VTL002L8"].map(|label| remove(&daemon, label));
        hands.pass(DAY);
        let copy = folder.path().join("copy.db");
        daemon.meta.with(|meta| meta.copy_to(&copy)).unwrap();
        daemon.meta.change(|tx| take_back(tx, taken_back.label)).unwrap();
        daemon.destroy(&gone).unwrap();
        hands.pass(7 * DAY);
        stage_restore(&daemon.state, &copy).unwrap();

        let daemon = restarted(&hands, folder.path(), daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"], "of the other only the row was left");
        assert!(daemon.pools.default().has(taken_back.id));
        let ends_s = START + 8 * DAY + TRASH_SECONDS;
        assert_eq!(daemon.trash_ends(taken_back.id), Some(ends_s));
        let told = daemon.problems().into_iter().find(|problem| problem.subject == "trash").unwrap();
        assert!(told.message.contains("VTL001L8") && !told.message.contains("VTL002L8"), "{told:?}");

        hands.pass(DAY);
        let daemon = restarted(&hands, folder.path(), daemon);
        assert_eq!(daemon.trash_ends(taken_back.id), Some(ends_s));
        hands.pass(6 * DAY);
        look(&daemon);
        assert!(in_trash(&daemon).is_empty() && !daemon.pools.default().has(taken_back.id));
        daemon.stop();
    }

    #[test]
    fn a_row_that_is_all_that_is_left_keeps_its_label_from_no_cartridge_that_is_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let gone = remove(&daemon, "VTL001L8");
        let copy = folder.path().join("copy.db");
        daemon.meta.copy_to(&copy).unwrap();
        hands.pass(TRASH_SECONDS);
        daemon.destroy(&gone).unwrap();
        let written = begin_copy(&daemon, "VTL001L8");
        let store = &daemon.pools.default().store;
        let cartridge = vtl_cartridge::Cartridge::open(store, written, Settings::default()).unwrap();
        cartridge.finish_copy(5).unwrap();
        stage_restore(&daemon.state, &copy).unwrap();
        let daemon = restarted(&hands, folder.path(), daemon);
        let listed = daemon.meta.read(|tx| vtl_library::cartridge(tx, gone.label)).unwrap();
        assert_eq!((listed.id, listed.state), (written, CartridgeState::Normal));
        assert_eq!((in_trash(&daemon), told(&daemon, &hexadecimal(&written.0))), (Vec::new(), None));
        daemon.stop();
    }

    #[test]
    fn a_copy_that_was_put_in_place_by_hand_destroys_nothing() {
        for (is_marked, name) in
            [(true, "inventory.db"), (true, "inventory.restore"), (false, "inventory.restore")]
        {
            let folder = tempfile::tempdir().unwrap();
            let hands = Hands::new();
            let daemon = hands.daemon(folder.path());
            let id = remove(&daemon, "VTL001L8").id;
            let copy = folder.path().join("copy.db");
            match is_marked {
                true => daemon.meta.copy_to(&copy).unwrap(),
                // As a program without the mark has made it.
                false => daemon.meta.with(|meta| meta.copy_to(&copy)).unwrap(),
            }
            daemon.meta.change(|tx| take_back(tx, "VTL001L8".parse().unwrap())).unwrap();
            assert!(!daemon.meta.flag(PUT_BACK).unwrap(), "the copy alone is one");
            hands.pass(30 * DAY);
            stop(daemon);
            lose_inventory(folder.path());
            std::fs::copy(&copy, folder.path().join("state").join(name)).unwrap();

            let daemon = hands.daemon(folder.path());
            let ends_s = Some(START + 30 * DAY + TRASH_SECONDS);
            assert!(daemon.pools.default().has(id), "{is_marked} {name}");
            assert_eq!((in_trash(&daemon), daemon.trash_ends(id)), (vec!["VTL001L8".to_owned()], ends_s));
            assert!(daemon.problems().iter().any(|problem| problem.subject == "trash"));
            hands.pass(DAY);
            let daemon = restarted(&hands, folder.path(), daemon);
            assert_eq!(daemon.trash_ends(id), ends_s, "it is put back once: {is_marked} {name}");
            daemon.stop();
        }
    }

    #[test]
    fn what_a_copy_has_in_its_trash_waits_anew_also_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let removed = remove(&daemon, "VTL001L8");
        let copy = folder.path().join("copy.db");
        daemon.meta.copy_to(&copy).unwrap();
        daemon.meta.change(|tx| take_back(tx, removed.label)).unwrap();
        hands.pass(30 * DAY);
        stage_restore(&daemon.state, &copy).unwrap();
        stop(daemon);
        let head = DamagedHead::of(&folder.path().join("state/store"), removed.id);

        let daemon = hands.daemon(folder.path());
        look(&daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"]);
        assert_eq!(daemon.trash_ends(removed.id), Some(START + 30 * DAY + TRASH_SECONDS));
        let told = daemon.problems().into_iter().find(|problem| problem.subject == "trash").unwrap();
        assert!(told.message.contains("VTL001L8"), "{told:?}");
        assert!(daemon.pools.default().has(removed.id) && head.is_left_alone());
        assert_eq!(daemon.libraries().len(), 1, "the library runs");
        daemon.stop();
    }

    #[test]
    fn a_machine_that_starts_with_its_clock_ahead_empties_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let removed = remove(&daemon, "VTL001L8");
        hands.boot();
        hands.set_clock(START + 8 * DAY);
        let daemon = restarted(&hands, folder.path(), daemon);
        look(&daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"]);
        // Of the time in which the machine was off one day is believed.
        assert_eq!(daemon.trash_ends(removed.id), Some(START + 14 * DAY));
        hands.pass(6 * DAY - 1);
        look(&daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"]);
        hands.pass(1);
        look(&daemon);
        assert!(in_trash(&daemon).is_empty());
        daemon.stop();
    }

    #[test]
    fn a_note_that_cannot_be_read_keeps_the_cartridge_until_somebody_says_what_becomes_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let removed = remove(&daemon, "VTL001L8");
        daemon.meta.device(TRASH.since).save(&hexadecimal(&removed.id.0), b"noise").unwrap();
        hands.pass(30 * DAY);
        look(&daemon);
        let daemon = restarted(&hands, folder.path(), daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"]);
        assert!(daemon.pools.default().has(removed.id));
        let told = daemon.problems().into_iter().find(|problem| problem.subject == "VTL001L8").unwrap();
        assert!(told.message.contains("cannot be read"), "{told:?}");

        remove(&daemon, "VTL001L8");
        assert_eq!(daemon.trash_problems(), []);
        look(&daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8"]);
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(in_trash(&daemon).is_empty());
        daemon.stop();
    }

    #[test]
    fn what_an_older_program_has_left_waits_for_seven_days_from_the_first_look_if_it_has_data() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let [waiting, at_once, cut_off] =
            ["VTL001L8", "VTL002L8", "VTL003L8"].map(|label| remove_without_a_note(&daemon, label));
        // 20 000 days since 1970.
        let note = [0x00, 0x30, 0xff, 0x66, 0x00, 0x00, 0x00, 0x00];
        daemon.meta.device("trash").save(&hexadecimal(&waiting.id.0), &note).unwrap();
        daemon.pools.default().store.remove(OwnerId(cut_off.id.0)).unwrap();
        hands.pass(DAY);
        look(&daemon);
        assert_eq!(in_trash(&daemon), ["VTL001L8", "VTL002L8"]);
        assert_eq!(daemon.trash_since(waiting.id), Some(START));
        let ends_s = Some(START + DAY + TRASH_SECONDS);
        assert_eq!([waiting.id, at_once.id].map(|id| daemon.trash_ends(id)), [ends_s; 2]);
        hands.pass(TRASH_SECONDS);
        look(&daemon);
        assert!(in_trash(&daemon).is_empty());
        daemon.stop();
    }

    #[test]
    fn a_note_keeps_its_bytes_and_goes_with_the_cartridge() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Hands::new().daemon(folder.path());
        let id = remove(&daemon, "VTL001L8").id;
        let kept = |word: &str| daemon.meta.device(word).load(&hexadecimal(&id.0));
        let write = |wait: Wait| daemon.meta.change(|tx| Ok(note(tx, id, wait)?)).unwrap();
        write(Wait::Since { wall_s: 0x0102, counted_s: Some(0x0304) });
        assert_eq!(kept("trash"), Some(b"\x02\x01\0\0\0\0\0\0".to_vec()));
        assert_eq!(kept("trash-count"), Some(b"\x04\x03\0\0\0\0\0\0".to_vec()));
        write(Wait::Not);
        assert_eq!((kept("trash"), kept("trash-count")), (Some(vec![0; 8]), None));
        daemon.meta.change(|tx| take_back(tx, "VTL001L8".parse().unwrap())).unwrap();
        assert_eq!((kept("trash"), kept("trash-count")), (None, None));
        daemon.stop();
    }

    #[test]
    fn a_count_that_was_lost_begins_anew_and_a_clock_at_its_beginning_does_not_say_at_once() {
        let now = Now { wall_s: START, counted_s: 10 };
        let lost = Wait::Since { wall_s: START - 30 * DAY, counted_s: Some(1_000_000) };
        assert_eq!(lost.counted(now), Wait::Since { wall_s: START - 30 * DAY, counted_s: Some(10) });
        assert_eq!((lost.is_over(now), lost.ends_s(now)), (false, Some(START + TRASH_SECONDS)));

        let folder = tempfile::tempdir().unwrap();
        let daemon = Hands::new().daemon(folder.path());
        let id = remove(&daemon, "VTL001L8").id;
        let at_zero = Wait::from_now_on(Now { wall_s: 0, counted_s: 0 });
        daemon.meta.change(|tx| Ok(note(tx, id, at_zero)?)).unwrap();
        assert_eq!(daemon.trash_since(id), Some(1));
        daemon.stop();
    }
}
