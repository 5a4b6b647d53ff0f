//! What is in the pools and not in the inventory: listed again, kept for a while, or removed. They are apart after a crash, after the loss of the inventory,
//! and after a copy of it was put back; every start compares them, and so does whoever opens a pool.
//!
//! What nobody can be asked about is kept rather than removed: a new inventory, and one that was just put back, cannot tell what was wanted. That is so of a
//! whole pool until it is compared, and from then on of each cartridge in it that could not be read, until it can.

use std::sync::Arc;

use tracing::{info, warn};
use vtl_api::{ApiError, Problem};
use vtl_library::{LibraryError, Placement, Verdict};
use vtl_meta::{MetaError, Tx};
use vtl_types::{CartridgeId, Label, PoolName};

use crate::api::refused;
use crate::clock::rfc3339;
use crate::daemon::{Daemon, FIRST_START_DONE, forget_unused};
use crate::media::ShelfHead;
use crate::meta::{self, PUT_BACK};
use crate::pools::{Pool, rows};
use crate::state::hexadecimal;
use crate::trash::{Wait, Waits};

/// Noted from the moment at which an inventory is found lost until a start has come to its end.
const WAS_EMPTY: &str = "inventory-was-empty";
/// How something unfinished that is kept waits: as long as somebody has for the trash, and by the same clock and count.
pub(crate) const UNFINISHED: Waits = Waits { since: "unfinished", count: "unfinished-count" };

/// The cartridges of a pool that the inventory does not list.
pub(crate) struct Asked {
    read: Vec<CartridgeId>,
    /// Whether there are others.
    pub(crate) has_unread: bool,
}

/// What is noted here of a cartridge goes with it, or with its pool.
///
/// # Errors
/// A failure of the file.
pub(crate) fn forget_notes(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
    UNFINISHED.forget(tx, id)?;
    meta::forget_not_read(tx, id)
}

impl Daemon {
    /// What the cartridges of a pool that the inventory does not list say of themselves, and which could be asked. One that could not is as unsure as the
    /// pool, until it can be. That is noted before anything is listed: a start that comes after one that was cut off may not find the pool unsure.
    ///
    /// # Errors
    /// The inventory cannot be read; it is not durable.
    pub(crate) fn unlisted_heads(
        &self,
        pool: &Pool,
        unlisted: Vec<CartridgeId>,
    ) -> Result<(Vec<ShelfHead>, Asked), ApiError> {
        let pieces = self.pieces()?;
        let (mut heads, mut not_read) = (Vec::new(), Vec::new());
        for id in unlisted.into_iter().filter(|id| !pieces.contains(id)) {
            match self.shelf.head(pool, id) {
                Ok(head) => heads.push(head),
                Err(why) => {
                    not_read.push(id);
                    self.note_anew(self.lost_problem(pool, id, &why));
                }
            }
        }
        let read = heads.iter().map(|head| head.row.id).collect();
        let has_unread = !not_read.is_empty();
        if has_unread && self.may_lack_rows(pool.is_adopted, &pool.name)? {
            let mut unsure = not_read.into_iter();
            let noted = self.meta.change(|tx| Ok(unsure.try_for_each(|id| meta::note_not_read(tx, id))?));
            noted.map_err(|e| refused(&e))?;
        }
        Ok((heads, Asked { read, has_unread }))
    }

    /// A pool is compared with the inventory. `waiting`: cartridges that stay unlisted.
    ///
    /// # Errors
    /// It is not durable: the pool is compared again.
    pub(crate) fn note_compared(
        &self,
        pool: &Pool,
        asked: &Asked,
        waiting: &[CartridgeId],
    ) -> Result<(), ApiError> {
        let noted = self.meta.change(|tx| {
            let mut settled = asked.read.iter().filter(|id| !waiting.contains(id));
            settled.try_for_each(|id| meta::forget_not_read(tx, *id))?;
            Ok(meta::compared(tx, &pool.name)?)
        });
        noted.map_err(|e| refused(&e))?;
        match pool.is_adopted {
            true => self.pools.adopted(pool).map_err(|e| refused(&e)),
            false => Ok(()),
        }
    }

    /// Lists cartridges again. A blank one is an interrupted creation and goes, unless the whole inventory is lost, or it could not be read before: then nobody
    /// can tell it from one that was in use. `has_unread`: there are others, which cannot be read. Those that stay unlisted, since others have their labels.
    pub(crate) fn take_in(
        &self,
        pools: &[Arc<Pool>],
        heads: Vec<ShelfHead>,
        has_unread: bool,
    ) -> Result<Vec<CartridgeId>, ApiError> {
        let forget = |head: &ShelfHead| {
            let its = pools.iter().filter(|pool| pool.name == head.pool);
            its.for_each(|pool| forget_unused(pool, &[head.row.id]));
        };
        let (unfinished, heads): (Vec<_>, Vec<_>) = heads.into_iter().partition(|head| head.unfinished);
        let is_new = !self.has_noted(FIRST_START_DONE)?;
        let has_others = has_unread || !unfinished.is_empty();
        for head in unfinished {
            let is_adopted = pools.iter().any(|pool| pool.is_adopted && pool.name == head.pool);
            let is_unsure = self.was_not_read(head.row.id)? || self.may_lack_rows(is_adopted, &head.pool)?;
            if !self.keeps_unfinished(&head, is_unsure)? {
                info!(label = %head.row.label, "an import or ingest that was cut off is removed; its job begins anew");
                forget(&head);
            }
        }
        let is_lost = is_new && self.is_lost(&heads, has_others)?;
        let mut listed = Vec::new();
        for head in heads {
            let is_for_sure = head.blank && !head.protection.is_on() && !is_lost;
            if is_for_sure && !self.was_not_read(head.row.id)? {
                info!(label = %head.row.label, "a cartridge whose creation was interrupted is removed");
                forget(&head);
            } else {
                listed.push(head);
            }
        }
        if is_lost {
            // First of all, so that a start that is cut off or refused leaves it to the next one.
            self.meta.set_flag(WAS_EMPTY).map_err(|e| refused(&e.into()))?;
            self.first_library()?;
        }
        let waiting = self.list_again(listed)?;
        if is_lost {
            self.meta.set_flag(FIRST_START_DONE).map_err(|e| refused(&e.into()))?;
        }
        Ok(waiting)
    }

    /// Notes that the inventory is a copy that was put back, before anything is compared with it: it lacks what came after it, and of each pool
    /// that is not open as well. What is unfinished waits anew.
    pub(crate) fn note_put_back(&self) -> Result<(), ApiError> {
        if !self.state.is_just_restored() && !self.has_noted(PUT_BACK)? {
            return Ok(());
        }
        let listed = self.meta.read(|tx| Ok(rows::all(tx)?)).map_err(|e| refused(&e))?;
        let mut pools: Vec<_> = listed.into_iter().map(|row| row.name).collect();
        pools.push(PoolName::default());
        let noted = self.meta.change(|tx| {
            UNFINISHED.forget_all(tx)?;
            Ok(meta::put_back(tx, &pools)?)
        });
        noted.map_err(|e| refused(&e))?;
        self.state.forget_restored();
        Ok(())
    }

    /// Whether the inventory may lack a row that wants something in this pool: it is new or an older copy, or the pool is taken in from elsewhere.
    fn may_lack_rows(&self, is_adopted: bool, name: &PoolName) -> Result<bool, ApiError> {
        let is_new = !self.has_noted(FIRST_START_DONE)?;
        Ok(is_new || is_adopted || self.meta.is_not_compared(name).map_err(|e| refused(&e.into()))?)
    }

    fn was_not_read(&self, id: CartridgeId) -> Result<bool, ApiError> {
        self.meta.is_not_read(id).map_err(|e| refused(&e.into()))
    }

    /// Whether an inventory that no start has finished is a lost one. A first start that was cut off has its library, and blank cartridges only.
    /// `has_others`: the pools have what is no cartridge that can be listed.
    fn is_lost(&self, heads: &[ShelfHead], has_others: bool) -> Result<bool, ApiError> {
        let libraries = self.meta.read(vtl_library::libraries).map_err(|e| refused(&e))?;
        let is_cut_off = !libraries.is_empty() && !self.has_noted(WAS_EMPTY)?;
        let is_written = heads.iter().any(|head| !head.blank);
        Ok(is_written || (!is_cut_off && (has_others || !heads.is_empty())))
    }

    /// Whether what an import or ingest that was cut off has left stays. Of an inventory that may lack the row that wants it, it does for a while: a newer
    /// copy may have the row. The while does not begin anew with each start.
    fn keeps_unfinished(&self, head: &ShelfHead, is_unsure: bool) -> Result<bool, ApiError> {
        let (id, now) = (head.row.id, self.retention.now());
        let wait = match self.meta.read(|tx| Ok(UNFINISHED.noted(tx, id)?)) {
            Ok(Some(wait)) => wait.counted(now),
            Ok(None) if is_unsure => Wait::from_now_on(now),
            Ok(None) => return Ok(false),
            Err(error) => {
                self.note_anew(not_read(head, &error));
                return Ok(true);
            }
        };
        let Some(end) = wait.ends_s(now).filter(|end| *end > now.wall_s) else {
            // A note that stays behind does no harm.
            let _harmless = self.meta.change(|tx| Ok(UNFINISHED.forget(tx, id)?));
            return Ok(false);
        };
        self.meta.change(|tx| Ok(UNFINISHED.note(tx, id, wait)?)).map_err(|e| refused(&e))?;
        self.note_anew(Problem {
            subject: hexadecimal(&id.0),
            message: format!(
                "a part of {} is here, in pool {}, and this inventory, which was empty or put back or has taken the pool in, does not tell what it belongs to: it stays until {}",
                head.row.label,
                head.pool,
                rfc3339(end)
            ),
            remedy:
                "put a newer copy of the inventory back that lists it (vtl system restore FILE, and restart vtld), or import it once more; \
                 the first start after that time removes this part"
                    .to_owned(),
        });
        Ok(true)
    }

    /// Those that stay unlisted, since others have their labels.
    fn list_again(&self, mut heads: Vec<ShelfHead>) -> Result<Vec<CartridgeId>, ApiError> {
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        // The same order at every start, should two say the same place.
        heads.sort_by_key(|head| head.row.label.to_string());
        for head in heads.iter().filter(|head| head.protection.is_on()) {
            self.meta.note_kept(head.row.id, head.protection).map_err(|e| refused(&e.into()))?;
        }
        let placed = self
            .meta
            .change(|tx| {
                heads.iter().try_for_each(|head| rows::put_in(tx, head.row.id, &head.pool))?;
                let rows: Vec<_> = heads.iter().map(|head| head.row.clone()).collect();
                let placed = vtl_library::rebuild(tx, &rows)?;
                // The next start is to take a blank one for no creation that was interrupted.
                waiting(&placed).try_for_each(|id| meta::note_not_read(tx, id))?;
                Ok(placed)
            })
            .map_err(|e| refused(&e))?;
        for one in &placed {
            match &one.verdict {
                Verdict::Listed => {}
                Verdict::LabelTaken { .. } => self.note_label_taken(one, &heads),
                why => {
                    warn!(label = %one.head.label, place = %one.place, ?why, "a cartridge that the inventory did not list is back")
                }
            }
        }
        Ok(waiting(&placed).collect())
    }

    fn note_label_taken(&self, one: &Placement, heads: &[ShelfHead]) {
        let (id, label) = (one.head.id, one.head.label);
        let its = heads.iter().find(|head| head.row.id == id);
        let pool = its.map_or_else(String::new, |head| format!(", in pool {},", head.pool));
        self.note_anew(Problem {
            subject: hexadecimal(&id.0),
            message: format!(
                "a cartridge with the label {label}{pool} is not listed, since another one has that label: its data stays, and it cannot be loaded"
            ),
            remedy: free_the_label(label),
        });
    }

    /// Tells that the inventory was made again from the store, at this start or at one before it that came to no end.
    pub(crate) fn tell_if_it_was_lost(&self) -> Result<(), ApiError> {
        if self.has_noted(WAS_EMPTY)? {
            self.note_problem(Problem {
                subject: "inventory".to_owned(),
                message: "it was empty, and the store is not: it is made again from what the cartridges say"
                    .to_owned(),
                remedy:
                    "see where the cartridges are; set drives and slots, CHAP and initiators as they were"
                        .to_owned(),
            });
        }
        Ok(())
    }

    /// This start has come to its end, and tells what it found: the next one need not.
    pub(crate) fn note_started(&self) {
        let is_told = || match self.meta.flag(WAS_EMPTY)? {
            true => self.meta.clear_flag(WAS_EMPTY),
            false => Ok(()),
        };
        if let Err(error) = is_told() {
            warn!(%error, "the next start tells once more that the inventory was empty");
        }
    }

    fn has_noted(&self, flag: &str) -> Result<bool, ApiError> {
        self.meta.flag(flag).map_err(|e| refused(&e.into()))
    }

    /// What is found more than once, as by each attempt to open a pool, is told once.
    pub(crate) fn note_anew(&self, problem: Problem) {
        self.forget_problem(&problem.subject);
        self.note_problem(problem);
    }
}

/// Those of them that another one's label keeps from being listed.
fn waiting(placed: &[Placement]) -> impl Iterator<Item = CartridgeId> {
    let taken = placed.iter().filter(|one| matches!(one.verdict, Verdict::LabelTaken { .. }));
    taken.map(|one| one.head.id)
}

/// What lists a cartridge whose label another one has.
pub(crate) fn free_the_label(label: Label) -> String {
    format!(
        "when the listed one is not wanted any more, export it if need be, free the label with vtl cartridge rm {label} --now --confirm {label}, \
         and restart vtld, which lists this one"
    )
}

fn not_read(head: &ShelfHead, error: &LibraryError) -> Problem {
    Problem {
        subject: hexadecimal(&head.row.id.0),
        message: format!(
            "a part of {} is here, in pool {}, and stays: since when it is kept cannot be read: {error}",
            head.row.label, head.pool
        ),
        remedy: "put a copy of the inventory back (vtl system restore FILE, and restart vtld): the seven days begin anew then"
            .to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use scsi::Persist as _;
    use vtl_cartridge::{Cartridge, CartridgeSpec, Settings};
    use vtl_library::{NewCartridges, NewPlace};
    use vtl_migrate::{LazyRow, import_anew, lazy_put};
    use vtl_store::OwnerId;
    use vtl_types::ByteCount;

    use super::*;
    use crate::args::Args;
    use crate::daemon::tests::{open, try_open};
    use crate::kept::tests::{DAY, Hands, START};
    use crate::retention_clock::machine;
    use crate::state::stage_restore;
    use crate::trash::TRASH_SECONDS;

    /// A thread may have the inventory open for a moment still; when nobody has, its journal is gone.
    pub(crate) fn stop(daemon: Arc<Daemon>) {
        let journal = daemon.state.path().join("inventory.db-wal");
        daemon.stop();
        drop(daemon);
        for _ in 0..100 {
            if !journal.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn lose_inventory(folder: &Path) {
        let path = |side: &str| folder.join("state").join(format!("inventory.db{side}"));
        fs::remove_file(path("")).unwrap();
        ["-wal", "-shm"].into_iter().for_each(|side| drop(fs::remove_file(path(side))));
    }

    /// Why a start is refused.
    fn refused_start(folder: &Path, set: &[&str]) -> String {
        let set = set.iter().map(|&text| text.to_owned()).collect();
        let args = Args { state: Some(folder.join("state")), set, ..Args::default() };
        for _ in 0..1000 {
            if let Some(opened) = try_open(&args, &machine()) {
                return opened.err().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the daemon before does not let go of the store");
    }

    pub(crate) fn spec(label: &str) -> CartridgeSpec {
        let label: Label = label.parse().unwrap();
        CartridgeSpec {
            label,
            serial: "SERIAL01".to_owned(),
            kind: label.media(),
            capacity: ByteCount(1 << 30),
            early_warning: None,
            write_protected: false,
            created_s: 1,
            place: None,
        }
    }

    /// What an import leaves in the store when it is cut off.
    pub(crate) fn begin_copy(daemon: &Daemon, label: &str) -> CartridgeId {
        let id = CartridgeId(crate::random::id());
        Cartridge::begin_copy(&daemon.pools.default().store, id, &spec(label)).unwrap();
        id
    }

    /// What a lazy import has of a cartridge with these pieces.
    fn lazy_row(cartridge: CartridgeId, label: &str, pieces: CartridgeId) -> LazyRow {
        LazyRow {
            cartridge,
            pieces,
            label: label.parse().unwrap(),
            remote: "r".to_owned(),
            folder: label.to_owned(),
            manifest_sha256: String::new(),
            manifest_bytes: 0,
            image_bytes: 0,
            keys: Vec::new(),
            wrong: None,
        }
    }

    /// A cartridge that is listed and here in part, and its pieces.
    pub(crate) fn begin_lazily(daemon: &Daemon, label: &str) -> [CartridgeId; 2] {
        let [cartridge, pieces] = [begin_copy(daemon, label), begin_copy(daemon, label)];
        let first = label.parse().unwrap();
        let new = NewCartridges { first, count: 1, library: None, place: NewPlace::Vault };
        daemon
            .meta
            .change(|tx| {
                vtl_library::create_cartridges(tx, &new, &[cartridge], ByteCount(1 << 30), 1)?;
                Ok(lazy_put(tx, &lazy_row(cartridge, label, pieces))?)
            })
            .unwrap();
        [cartridge, pieces]
    }

    /// A cartridge in the store that has been written to, and that the inventory does not list.
    fn written(daemon: &Daemon, label: &str) -> CartridgeId {
        let id = begin_copy(daemon, label);
        let copy = Cartridge::open(&daemon.pools.default().store, id, Settings::default()).unwrap();
        copy.finish_copy(5).unwrap();
        id
    }

    /// The head of a cartridge, damaged while nobody has the store open.
    pub(crate) struct DamagedHead {
        path: PathBuf,
        whole: Vec<u8>,
    }

    impl DamagedHead {
        /// In the pool with this home.
        pub(crate) fn of(home: &Path, id: CartridgeId) -> Self {
            let path = home.join("owners").join(OwnerId(id.0).to_string()).join("head");
            let whole = fs::read(&path).unwrap();
            let head = Self { path, whole };
            fs::write(&head.path, head.damaged()).unwrap();
            head
        }

        fn damaged(&self) -> Vec<u8> {
            let mut bytes = self.whole.clone();
            bytes[40] ^= 1;
            bytes
        }

        /// Nobody has written or removed it since.
        pub(crate) fn is_left_alone(&self) -> bool {
            fs::read(&self.path).is_ok_and(|bytes| bytes == self.damaged())
        }

        pub(crate) fn mend(&self) {
            fs::write(&self.path, &self.whole).unwrap();
        }
    }

    /// Damages the value of a note, while nobody has the inventory open. In the file it lies behind the two columns of its key.
    pub(crate) fn damage_note(folder: &Path, word: &str, id: CartridgeId) {
        damage_before_note(folder, word, id, 0);
    }

    /// The same for a byte of its key, so far before the value.
    pub(crate) fn damage_before_note(folder: &Path, word: &str, id: CartridgeId, back: usize) {
        damage_behind(folder, &format!("{word}{}", hexadecimal(&id.0)), back);
    }

    /// Damages the byte that comes behind this text wherever it stands in the inventory, or one so far before that byte.
    pub(crate) fn damage_behind(folder: &Path, text: &str, back: usize) {
        let path = folder.join("state/inventory.db");
        let mut bytes = fs::read(&path).unwrap();
        let is_end = |end: &usize| bytes[..*end].ends_with(text.as_bytes());
        let ends: Vec<_> = (text.len()..bytes.len()).filter(is_end).collect();
        assert!(!ends.is_empty(), "{text} stands nowhere");
        for end in ends {
            bytes[end - back] ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn told(daemon: &Daemon, subject: &str) -> Option<Problem> {
        daemon.problems().into_iter().find(|problem| problem.subject == subject)
    }

    pub(crate) fn labels(daemon: &Daemon) -> Vec<String> {
        let listed = daemon.meta.read(vtl_library::cartridges).unwrap();
        listed.iter().map(|one| one.label.to_string()).collect()
    }

    #[test]
    fn a_part_of_a_cartridge_outlives_a_lost_inventory_and_an_older_copy_of_it_for_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let copy = folder.path().join("copy.db");
        let daemon = hands.daemon(folder.path());
        daemon.meta.with(|meta| meta.copy_to(&copy)).unwrap();
        let id = begin_copy(&daemon, "UNF001L8");
        let subject = hexadecimal(&id.0);
        stop(daemon);
        lose_inventory(folder.path());
        let is_kept = |daemon: &Daemon, when: &str| {
            assert!(daemon.pools.default().has(id), "{when}");
            let told = told(daemon, &subject).unwrap();
            assert!(told.message.contains("UNF001L8") && told.remedy.contains("vtl system restore"));
            assert!(!labels(daemon).contains(&"UNF001L8".to_owned()), "{when}");
        };
        let daemon = hands.daemon(folder.path());
        is_kept(&daemon, "the inventory is new");
        stage_restore(&daemon.state, &copy).unwrap();
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        is_kept(&daemon, "a copy that does not have it is put back");
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        is_kept(&daemon, "an ordinary start");
        hands.set_clock(START + 4_000 * DAY);
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        is_kept(&daemon, "the clock is ahead, and the days have not passed by the count");
        hands.set_clock(START);
        hands.pass(TRASH_SECONDS);
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        assert!(!daemon.pools.default().has(id), "its time is over");
        assert_eq!(told(&daemon, &subject), None);
        let noted = daemon.meta.read(|tx| Ok(UNFINISHED.noted(tx, id)?)).unwrap();
        assert_eq!(noted, None);
        stop(daemon);
    }

    #[test]
    fn a_cartridge_that_cannot_be_read_does_not_put_off_when_a_part_goes() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let copy = folder.path().join("copy.db");
        let daemon = hands.daemon(folder.path());
        daemon.meta.copy_to(&copy).unwrap();
        let (part, lost) = (begin_copy(&daemon, "UNF001L8"), CartridgeId([9; 16]));
        daemon.pools.default().store.create(OwnerId(lost.0), b"no cartridge").unwrap();
        stage_restore(&daemon.state, &copy).unwrap();
        stop(daemon);
        for day in 0..2 {
            let daemon = hands.daemon(folder.path());
            let problem = told(&daemon, &hexadecimal(&part.0)).unwrap();
            assert!(problem.message.contains(&rfc3339(START + TRASH_SECONDS)), "{day}: {problem:?}");
            assert!(told(&daemon, &lost.to_string()).is_some(), "{day}");
            hands.pass(DAY);
            stop(daemon);
        }
        hands.pass(5 * DAY);
        let daemon = hands.daemon(folder.path());
        assert_eq!([part, lost].map(|id| daemon.pools.default().has(id)), [false, true]);
        stop(daemon);
    }

    #[test]
    fn what_could_not_be_read_after_a_copy_was_put_back_is_kept_for_a_week_once_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let copy = folder.path().join("copy.db");
        let daemon = hands.daemon(folder.path());
        daemon.meta.copy_to(&copy).unwrap();
        let part = begin_copy(&daemon, "UNF001L8");
        stage_restore(&daemon.state, &copy).unwrap();
        stop(daemon);
        let head = folder.path().join("state/store/owners").join(part.to_string()).join("head");
        let whole = fs::read(&head).unwrap();
        let mut damaged = whole.clone();
        damaged[40] ^= 1;
        fs::write(&head, damaged).unwrap();
        let daemon = hands.daemon(folder.path());
        assert!(told(&daemon, &part.to_string()).unwrap().message.contains("cannot be read"));
        assert!(!daemon.meta.is_not_compared(&PoolName::default()).unwrap());
        stop(daemon);
        fs::write(&head, whole).unwrap();
        hands.pass(30 * DAY);
        for _ in 0..2 {
            let daemon = hands.daemon(folder.path());
            let problem = told(&daemon, &hexadecimal(&part.0)).unwrap();
            assert!(problem.message.contains(&rfc3339(START + 30 * DAY + TRASH_SECONDS)), "{problem:?}");
            hands.pass(DAY);
            stop(daemon);
        }
        hands.pass(5 * DAY);
        let daemon = hands.daemon(folder.path());
        assert!(!daemon.pools.default().has(part));
        stop(daemon);
    }

    #[test]
    fn what_a_copy_notes_of_parts_is_not_what_they_wait_by_when_it_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let copy = folder.path().join("copy.db");
        let daemon = hands.daemon(folder.path());
        let parts = ["UNF001L8", "UNF002L8"].map(|label| begin_copy(&daemon, label));
        let [noted, unreadable] = parts.map(|id| hexadecimal(&id.0));
        let wait = Wait::from_now_on(daemon.retention.now());
        daemon.meta.change(|tx| Ok(UNFINISHED.note(tx, parts[0], wait)?)).unwrap();
        daemon.meta.device(UNFINISHED.since).save(&unreadable, b"noise").unwrap();
        daemon.meta.copy_to(&copy).unwrap();
        hands.pass(6 * DAY);
        stage_restore(&daemon.state, &copy).unwrap();
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        for subject in [noted, unreadable] {
            let problem = told(&daemon, &subject).unwrap();
            assert!(problem.message.contains(&rfc3339(START + 6 * DAY + TRASH_SECONDS)), "{problem:?}");
        }
        stop(daemon);
    }

    #[test]
    fn a_note_of_a_part_that_cannot_be_read_keeps_it_and_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let hands = Hands::new();
        let daemon = hands.daemon(folder.path());
        let id = begin_copy(&daemon, "UNF001L8");
        let subject = hexadecimal(&id.0);
        daemon.meta.device(UNFINISHED.since).save(&subject, b"noise").unwrap();
        hands.pass(30 * DAY);
        stop(daemon);
        let daemon = hands.daemon(folder.path());
        assert!(daemon.pools.default().has(id));
        let problem = told(&daemon, &subject).unwrap();
        assert!(problem.message.contains("cannot be read"), "{problem:?}");
        stop(daemon);
    }

    #[test]
    fn a_copy_that_was_put_in_place_by_hand_keeps_a_part_that_it_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        let daemon = open(folder.path(), &[]);
        daemon.meta.copy_to(&copy).unwrap();
        let id = begin_copy(&daemon, "UNF001L8");
        stop(daemon);
        lose_inventory(folder.path());
        fs::copy(&copy, folder.path().join("state/inventory.db")).unwrap();
        let daemon = open(folder.path(), &[]);
        assert!(daemon.pools.default().has(id));
        assert!(!daemon.meta.is_not_compared(&PoolName::default()).unwrap(), "once is enough");
        let later = begin_copy(&daemon, "UNF002L8");
        stop(daemon);
        let daemon = open(folder.path(), &[]);
        assert_eq!([id, later].map(|id| daemon.pools.default().has(id)), [true, false]);
        stop(daemon);
    }

    #[test]
    fn a_lost_inventory_is_made_again_with_all_cartridges_where_all_of_them_are_blank() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let new = NewCartridges {
            first: "ARC001L8".parse().unwrap(),
            count: 1,
            library: None,
            place: NewPlace::Vault,
        };
        daemon.make_cartridges(&new, None).unwrap();
        let ids = |daemon: &Daemon| {
            let listed = daemon.meta.read(vtl_library::cartridges).unwrap();
            listed.into_iter().map(|one| (one.label, one.id, one.place)).collect::<Vec<_>>()
        };
        let before = ids(&daemon);
        assert_eq!(before.len(), 11);
        stop(daemon);
        lose_inventory(folder.path());
        let daemon = open(folder.path(), &[]);
        assert_eq!(ids(&daemon), before);
        assert!(told(&daemon, "inventory").is_some());
        stop(daemon);
    }

    #[test]
    fn a_first_start_that_was_cut_off_is_gone_on_with_and_nothing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        // The library is listed, and of the cartridges that the store has none is.
        let made = daemon.meta.read(vtl_library::cartridges).unwrap();
        daemon
            .meta
            .change(|tx| {
                made.iter().try_for_each(|one| {
                    vtl_library::begin_remove(tx, one.label)?;
                    vtl_library::finish_remove(tx, one.id)
                })
            })
            .unwrap();
        daemon.meta.clear_flag(FIRST_START_DONE).unwrap();
        stop(daemon);
        let daemon = open(folder.path(), &[]);
        assert_eq!(labels(&daemon).len(), 10);
        assert!(made.iter().all(|one| !daemon.pools.default().has(one.id)), "they are made anew");
        assert_eq!(told(&daemon, "inventory"), None);
        stop(daemon);
    }

    #[test]
    fn that_the_inventory_was_lost_is_told_by_each_start_until_one_comes_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        stop(open(folder.path(), &[]));
        lose_inventory(folder.path());
        let why = refused_start(folder.path(), &["iscsi.listen=0.0.0.0:0"]);
        assert!(why.contains("is open to all who reach it"), "{why}");
        let daemon = open(folder.path(), &[]);
        assert!(told(&daemon, "inventory").unwrap().message.contains("it was empty"));
        assert_eq!(labels(&daemon).len(), 10);
        daemon.note_started();
        stop(daemon);
        let daemon = open(folder.path(), &[]);
        assert_eq!(told(&daemon, "inventory"), None);
        stop(daemon);
    }

    #[test]
    fn a_cartridge_that_a_lost_inventory_or_an_older_copy_cannot_ask_is_named_and_stays() {
        for is_lost in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let copy = folder.path().join("copy.db");
            let daemon = open(folder.path(), &[]);
            daemon.meta.copy_to(&copy).unwrap();
            let [unread, read] = ["UNR001L8", "RED001L8"].map(|label| written(&daemon, label));
            let part = begin_copy(&daemon, "UNF001L8");
            let subject = hexadecimal(&unread.0);
            if !is_lost {
                stage_restore(&daemon.state, &copy).unwrap();
            }
            stop(daemon);
            if is_lost {
                lose_inventory(folder.path());
            }
            let head = DamagedHead::of(&folder.path().join("state/store"), unread);
            for start in 0..2 {
                let when = format!("lost: {is_lost}, start {start}");
                let daemon = open(folder.path(), &[]);
                let pool = daemon.pools.default();
                assert!([unread, read, part].iter().all(|id| pool.has(*id)), "{when}");
                let listed = labels(&daemon);
                let is_listed = |label: &str| listed.iter().any(|one| one == label);
                assert_eq!(["UNR001L8", "RED001L8"].map(is_listed), [false, true], "{when}");
                let problem = told(&daemon, &subject).unwrap();
                assert!(problem.message.contains("cannot be read"), "{when}: {problem:?}");
                assert!(problem.remedy.contains("vtl cartridge rm --id"), "{when}: {problem:?}");
                stop(daemon);
                assert!(head.is_left_alone(), "{when}");
            }
            head.mend();
            let daemon = open(folder.path(), &[]);
            assert!(labels(&daemon).contains(&"UNR001L8".to_owned()), "lost: {is_lost}");
            assert_eq!(told(&daemon, &subject), None);
            assert!(!daemon.meta.is_not_compared(&PoolName::default()).unwrap());
            stop(daemon);
        }
    }

    #[test]
    fn a_part_that_could_not_be_read_when_the_inventory_was_lost_is_kept_when_it_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let id = begin_copy(&daemon, "UNF001L8");
        let subject = hexadecimal(&id.0);
        stop(daemon);
        lose_inventory(folder.path());
        let head = DamagedHead::of(&folder.path().join("state/store"), id);
        stop(open(folder.path(), &[]));
        head.mend();
        for start in 0..2 {
            let daemon = open(folder.path(), &[]);
            assert!(daemon.pools.default().has(id), "start {start}");
            let problem = told(&daemon, &subject).unwrap();
            assert!(problem.message.contains("UNF001L8"), "start {start}: {problem:?}");
            stop(daemon);
        }
    }

    #[test]
    fn a_start_on_a_lost_inventory_that_is_cut_off_has_noted_what_it_could_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let part = begin_copy(&daemon, "UNF001L8");
        let subject = hexadecimal(&part.0);
        stop(daemon);
        let head = DamagedHead::of(&folder.path().join("state/store"), part);
        let daemon = open(folder.path(), &[]);
        assert!(!daemon.meta.is_not_read(part).unwrap(), "this inventory lacks no row");
        daemon.meta.set_flag(WAS_EMPTY).unwrap();
        daemon.meta.clear_flag(FIRST_START_DONE).unwrap();
        let pool = Arc::clone(daemon.pools.default());
        let (heads, asked) = daemon.unlisted_heads(&pool, vec![part]).unwrap();
        daemon.take_in(&[pool], heads, asked.has_unread).unwrap();
        assert!(daemon.meta.flag(FIRST_START_DONE).unwrap());
        // Here it is cut off.
        stop(daemon);
        stop(open(folder.path(), &[]));
        head.mend();
        for start in 0..2 {
            let daemon = open(folder.path(), &[]);
            assert!(daemon.pools.default().has(part), "start {start}");
            let problem = told(&daemon, &subject).unwrap();
            assert!(problem.message.contains("UNF001L8"), "start {start}: {problem:?}");
            stop(daemon);
        }
    }

    #[test]
    fn a_blank_cartridge_whose_label_is_taken_stays_and_is_listed_when_the_label_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label: Label = "VTL001L8".parse().unwrap();
        let listed = |daemon: &Daemon| daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap().id;
        // The older one is listed first.
        let (newer, older) = (listed(&daemon), CartridgeId(crate::random::id()));
        Cartridge::create(&daemon.pools.default().store, older, &spec("VTL001L8")).unwrap();
        stop(daemon);
        lose_inventory(folder.path());
        for start in 0..3 {
            let daemon = open(folder.path(), &[]);
            assert!([newer, older].iter().all(|id| daemon.pools.default().has(*id)), "start {start}");
            assert_eq!(listed(&daemon), older);
            let problem = told(&daemon, &hexadecimal(&newer.0)).unwrap();
            assert!(problem.remedy.contains("restart vtld, which lists this one"), "{start}: {problem:?}");
            stop(daemon);
        }
        let daemon = open(folder.path(), &[]);
        daemon.pools.default().store.remove(OwnerId(older.0)).unwrap();
        daemon
            .meta
            .change(|tx| {
                vtl_library::begin_remove(tx, label)?;
                vtl_library::finish_remove(tx, older)
            })
            .unwrap();
        stop(daemon);
        let daemon = open(folder.path(), &[]);
        assert_eq!((listed(&daemon), told(&daemon, &hexadecimal(&newer.0))), (newer, None));
        assert!(!daemon.meta.is_not_read(newer).unwrap());
        stop(daemon);
    }

    #[test]
    fn an_inventory_is_a_lost_one_too_where_no_cartridge_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let made = daemon.meta.read(vtl_library::cartridges).unwrap();
        stop(daemon);
        lose_inventory(folder.path());
        let store = folder.path().join("state/store");
        let heads: Vec<_> = made.iter().map(|one| DamagedHead::of(&store, one.id)).collect();
        let daemon = open(folder.path(), &[]);
        assert!(labels(&daemon).is_empty(), "none is made in their place");
        assert_eq!(daemon.libraries().len(), 1);
        assert!(told(&daemon, "inventory").unwrap().message.contains("it was empty"));
        stop(daemon);
        heads.iter().for_each(DamagedHead::mend);
        let daemon = open(folder.path(), &[]);
        let listed = daemon.meta.read(vtl_library::cartridges).unwrap();
        let ids = |all: &[vtl_library::Cartridge]| all.iter().map(|one| one.id).collect::<Vec<_>>();
        assert_eq!(ids(&listed), ids(&made));
        stop(daemon);
    }

    #[test]
    fn an_inventory_is_a_lost_one_too_where_all_that_is_there_is_a_part() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &["library.default=none"]);
        let part = begin_copy(&daemon, "UNF001L8");
        stop(daemon);
        lose_inventory(folder.path());
        let daemon = open(folder.path(), &[]);
        assert!(labels(&daemon).is_empty() && daemon.pools.default().has(part));
        assert!(told(&daemon, "inventory").is_some());
        stop(daemon);
    }

    #[test]
    fn damaged_pieces_are_told_as_those_of_their_cartridge_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label: Label = "UNF001L8".parse().unwrap();
        let [cartridge, pieces] = begin_lazily(&daemon, "UNF001L8");
        stop(daemon);
        DamagedHead::of(&folder.path().join("state/store"), pieces);
        let daemon = open(folder.path(), &[]);
        assert_eq!(told(&daemon, &pieces.to_string()), None, "they are no cartridge");
        let problem = told(&daemon, "UNF001L8").unwrap();
        assert!(problem.message.contains("what is here of it cannot be read"), "{problem:?}");
        assert_eq!(problem.remedy, import_anew(label));
        let going = daemon.meta.change(|tx| vtl_library::begin_remove(tx, label)).unwrap();
        daemon.destroy(&going).unwrap();
        assert_eq!(told(&daemon, "UNF001L8"), None);
        assert!(![pieces, cartridge].iter().any(|id| daemon.pools.default().has(*id)));
        stop(daemon);
    }

    #[test]
    fn damaged_pieces_of_a_whole_cartridge_are_removed_by_a_start_and_nobody_is_told_to_remove_it() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = open(folder.path(), &[]);
        let label: Label = "VTL001L8".parse().unwrap();
        let whole = daemon.meta.read(|tx| vtl_library::cartridge(tx, label)).unwrap().id;
        let pieces = begin_copy(&daemon, "VTL001L8");
        let row = lazy_row(whole, "VTL001L8", pieces);
        daemon.meta.change(|tx| Ok(lazy_put(tx, &row)?)).unwrap();
        stop(daemon);
        let store = folder.path().join("state/store");
        let head = DamagedHead::of(&store, whole);
        DamagedHead::of(&store, pieces);

        let daemon = open(folder.path(), &[]);
        assert!(daemon.pools.default().has(pieces), "whether the cartridge is whole is not known");
        let problem = told(&daemon, "VTL001L8").unwrap();
        assert!(problem.remedy.starts_with("put its folder back"), "{problem:?}");
        stop(daemon);
        head.mend();

        let daemon = open(folder.path(), &[]);
        let has = [whole, pieces].map(|id| daemon.pools.default().has(id));
        assert_eq!((has, told(&daemon, "VTL001L8")), ([true, false], None));
        assert!(daemon.meta.read(|tx| Ok(vtl_migrate::lazy_all(tx)?)).unwrap().is_empty());

        let left = begin_copy(&daemon, "VTL001L8");
        stop(daemon);
        DamagedHead::of(&store, left);
        let daemon = open(folder.path(), &[]);
        daemon.meta.change(|tx| Ok(lazy_put(tx, &lazy_row(whole, "VTL001L8", left))?)).unwrap();
        let problem = told(&daemon, "VTL001L8").unwrap();
        assert!(problem.message.contains("all of it is here"), "{problem:?}");
        assert!(!problem.remedy.contains("cartridge rm"), "{problem:?}");
        stop(daemon);
    }
}
