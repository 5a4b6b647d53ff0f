//! The folders of a pool at work: which of them takes the next pack, and which takes none any more.
//!
//! Member 0 is the home, where journal, heads and index lie too; the others hold packs only. New packs go to all folders in the proportion of
//! their room, so that they fill alike and work at the same time. A folder where a write or a sync failed gets no new packs until the pool is
//! opened anew; a full one gets none until it has room again; what they hold is read as ever.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::backend::{Backend, Folder};
use crate::error::StoreError;
use crate::roster::{self, Entry, PACKS, Roster, Seen, Stage, noted, refused};
use crate::store::{GRANT_BYTES, PLENTY_BYTES};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};
use crate::types::{Options, Soon};
use crate::workers::lock;

const LOCK: &str = "lock";
/// Of the bytes that other folders can still take, this part is left free in the home: for the index of what they will hold (26 bytes for each
/// chunk, twice while tables are merged).
const HOME_SHARE: u64 = 128;

/// A folder of packs.
pub(crate) struct Member {
    pub(crate) number: u32,
    /// As configured; for the home the pool's folder.
    pub(crate) path: PathBuf,
    pub(crate) folder: Folder,
    file_system: u64,
    leaving: AtomicBool,
    /// Whether writes to its packs go past the page cache, as far as is known.
    direct: AtomicBool,
    trouble: Mutex<Option<Trouble>>,
    /// Bytes that may be written before the file system is asked again.
    granted: AtomicU64,
    _lock: Option<Arc<dyn DiskFile>>,
}

/// Why a folder takes no new packs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Failed(String),
    /// It refused bytes when its file system said that so many were free.
    Full(u64),
}

pub(crate) struct Members {
    disk: Arc<dyn Disk>,
    home: PathBuf,
    home_member: Arc<Member>,
    /// The home first, then by number. It grows while the pool is used, at its end only.
    all: Mutex<Arc<[Arc<Member>]>>,
    missing: Vec<Entry>,
    roster: Mutex<Roster>,
    reserve_bytes: u64,
    pack_bytes: u64,
    /// What each member is owed, by its place in `all`.
    credits: Mutex<Vec<i128>>,
}

impl Members {
    /// Looks at the configured folders, refuses what is not as it was, and takes new ones in.
    ///
    /// In this order: every folder is looked at; all that is refused is refused; new folders are marked, then the home notes them; each is locked.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        home: &Path,
        store_id: [u8; 16],
        options: &Options,
    ) -> Result<Self, StoreError> {
        let mut roster = Roster::read(&**disk, home, store_id)?;
        let mut seen = Sighting::of(&**disk, home, store_id, options)?;
        let missing = seen.missing(&roster, options.degraded)?;
        let mut changed = false;
        if missing.is_empty() {
            for folder in std::mem::take(&mut seen.blank) {
                let number = roster.next_number().max(seen.next_number());
                roster::mark(&**disk, &folder, store_id, number)?;
                tracing::info!(folder = %folder.display(), number, "the pool has a new folder for packs");
                seen.members.insert(number, folder);
            }
            // One that is empty for good and not configured any more has left.
            roster.entries.retain(|entry| {
                let stays = entry.stage != Stage::Empty || seen.members.contains_key(&entry.number);
                changed |= !stays;
                stays
            });
        }
        for (number, folder) in &seen.members {
            changed |= roster.enter(*number, folder);
        }
        if changed {
            roster.save(&**disk, home)?;
        }
        let home_member = Arc::new(Member::home(disk, home, options)?);
        let mut all = vec![Arc::clone(&home_member)];
        for (number, folder) in seen.members {
            let stage = roster.get(number).map_or(Stage::InUse, |entry| entry.stage);
            all.push(Arc::new(Member::open(disk, number, &folder, stage, options)?));
        }
        Ok(Self {
            disk: Arc::clone(disk),
            home: home.to_path_buf(),
            home_member,
            credits: Mutex::new(vec![0; all.len()]),
            all: Mutex::new(all.into()),
            missing,
            roster: Mutex::new(roster),
            reserve_bytes: options.reserve_bytes,
            pack_bytes: options.pack_bytes,
        })
    }

    pub(crate) fn all(&self) -> Arc<[Arc<Member>]> {
        Arc::clone(&lock(&self.all))
    }

    /// Takes a further folder in while the pool is used.
    ///
    /// In this order: it is looked at; it is marked; it is locked; the home notes it; packs may go there. A crash leaves a folder that is blank, marked
    /// or noted, and a start that names it takes it in from any of these.
    pub(crate) fn add(&self, folder: &Path, store_id: [u8; 16], options: &Options) -> Result<(), StoreError> {
        let mut roster = lock(&self.roster);
        let number = match self.check(folder, store_id)? {
            Seen::Blank => self.mark_next(&roster, folder, store_id)?,
            Seen::Member(number) => number,
        };
        let member = Member::open(&self.disk, number, folder, Stage::InUse, options)?;
        if !member.folder.list()?.is_empty() {
            let why =
                "it was a folder of this pool and holds packs, which a start has to look at (restart vtld)";
            return Err(refused(folder, why.to_owned()));
        }
        let mut next = roster.clone();
        next.enter(number, folder);
        next.set_stage(number, Stage::InUse);
        next.save(&*self.disk, &self.home)?;
        *roster = next;
        lock(&self.credits).push(0);
        let mut all = lock(&self.all);
        *all = all.iter().cloned().chain([Arc::new(member)]).collect();
        tracing::info!(folder = %folder.display(), number, "the pool has a new folder for packs");
        Ok(())
    }

    /// Looks at a folder that is to be taken in, and writes nothing.
    pub(crate) fn check(&self, folder: &Path, store_id: [u8; 16]) -> Result<Seen, StoreError> {
        if folder.starts_with(&self.home) {
            return Err(in_home(folder));
        }
        match roster::look(&*self.disk, folder, store_id)? {
            Seen::Member(number) if self.all().iter().any(|member| member.number == number) => {
                Err(refused(folder, "it is a folder of this pool already (see vtl pool ls)".to_owned()))
            }
            seen => Ok(seen),
        }
    }

    /// Whether the home's file has a folder.
    pub(crate) fn has_noted(&self, folder: &Path, store_id: [u8; 16]) -> Result<bool, StoreError> {
        let _not_while_it_is_written = lock(&self.roster);
        let roster = Roster::read(&*self.disk, &self.home, store_id)?;
        let path = noted(folder);
        Ok(roster.entries.iter().any(|entry| entry.path == path))
    }

    /// Marks a blank folder with a number that none has had.
    fn mark_next(&self, roster: &Roster, folder: &Path, store_id: [u8; 16]) -> Result<u32, StoreError> {
        let last = self.all().last().map_or(0, |member| member.number);
        let number = roster.next_number().max(last.saturating_add(1));
        roster::mark(&*self.disk, folder, store_id, number)?;
        Ok(number)
    }

    /// Folders that the pool was opened without.
    pub(crate) fn missing(&self) -> &[Entry] {
        &self.missing
    }

    pub(crate) fn stage(&self, number: u32) -> Stage {
        lock(&self.roster).get(number).map_or(Stage::InUse, |entry| entry.stage)
    }

    /// Notes what becomes of a folder; durable when it returns.
    pub(crate) fn set_stage(&self, member: &Member, stage: Stage) -> Result<(), StoreError> {
        let mut roster = lock(&self.roster);
        let mut next = roster.clone();
        next.set_stage(member.number, stage);
        next.save(&*self.disk, &self.home)?;
        *roster = next;
        member.leaving.store(stage != Stage::InUse, Ordering::SeqCst);
        Ok(())
    }

    /// The folder for a new pack. When none has room it is the one that has most: what was taken from a caller has to go somewhere.
    pub(crate) fn for_new_pack(&self) -> Arc<Member> {
        let all = self.all();
        let [home] = &*all else {
            let rooms = self.rooms(|member| self.room(member));
            let roomy: Vec<_> = rooms.iter().copied().filter(|(_, room)| *room >= self.pack_bytes).collect();
            let best = rooms.iter().filter(|(_, room)| *room > 0).max_by_key(|(_, room)| *room);
            let at = self.next_in_turn(&roomy).or(best.map(|(at, _)| *at)).unwrap_or_else(|| self.fullest());
            return self.at(at);
        };
        Arc::clone(home)
    }

    /// The folder for the next generation of a pack of this length, if any has room for it twice. It may live on the reserve: it frees more.
    pub(crate) fn for_next(&self, bytes: u64) -> Result<Option<Arc<Member>>, DiskError> {
        let enough = bytes.saturating_mul(2);
        if let [home] = &*self.all() {
            return Ok((home.folder.free_bytes()? >= enough).then(|| Arc::clone(home)));
        }
        let mut rooms = self.rooms(|member| member.folder.free_bytes());
        rooms.retain(|(_, room)| *room >= enough);
        Ok(self.next_in_turn(&rooms).map(|at| self.at(at)))
    }

    /// The folder for a pack that has to leave another one, if any has room for it beside its reserve.
    pub(crate) fn for_moved(&self, bytes: u64) -> Option<Arc<Member>> {
        let mut rooms = self.rooms(|member| self.room(member));
        rooms.retain(|(_, room)| *room >= bytes);
        self.next_in_turn(&rooms).map(|at| self.at(at))
    }

    /// Whether a pack that is being written here should be ended, because there is no room for so many bytes and another folder has some.
    pub(crate) fn is_better_left(&self, member: &Member, bytes: u64) -> bool {
        if self.all().len() == 1 {
            return false;
        }
        if self.takes_packs(member) && self.take_grant(member, bytes) {
            return false;
        }
        let others = self.rooms(|other| if other.number == member.number { Ok(0) } else { self.room(other) });
        others.iter().any(|(_, room)| *room >= bytes)
    }

    fn take_grant(&self, member: &Member, bytes: u64) -> bool {
        let relaxed = Ordering::Relaxed;
        if member.granted.fetch_update(relaxed, relaxed, |granted| granted.checked_sub(bytes)).is_ok() {
            return true;
        }
        let room = self.room(member).unwrap_or(0);
        if room >= PLENTY_BYTES {
            member.granted.store(GRANT_BYTES, relaxed);
        }
        room >= bytes
    }

    /// What may still be stored in all folders together.
    pub(crate) fn free_bytes(&self) -> Result<u64, DiskError> {
        let home = self.disk.free_bytes(&self.home)?;
        let all = self.all();
        if all.len() == 1 {
            return Ok(home.saturating_sub(self.reserve_bytes));
        }
        // Without room in the home nothing can be committed, wherever the bytes are.
        if home < self.reserve_bytes / 2 {
            return Ok(0);
        }
        let mut rooms = BTreeMap::new();
        for (at, room) in self.rooms(|member| self.room(member)) {
            let file_system = all.get(at).map(|member| member.file_system);
            let most = rooms.entry(file_system).or_insert(0);
            *most = room.max(*most);
        }
        Ok(rooms.into_values().fold(0, u64::saturating_add))
    }

    /// A call on a file in this folder failed.
    pub(crate) fn blame(&self, member: &Member, error: &DiskError) {
        let trouble = if error.is_full() {
            Trouble::Full(member.folder.free_bytes().unwrap_or(0))
        } else {
            Trouble::Failed(error.to_string())
        };
        if self.all().len() > 1 && matches!(trouble, Trouble::Failed(_)) {
            tracing::error!(folder = %member.path.display(), %error, "a folder of the pool gets no new packs until the next start");
        }
        *lock(&member.trouble) = Some(trouble);
    }

    /// What is wrong with a folder, if anything is.
    pub(crate) fn trouble(&self, member: &Member) -> Option<Trouble> {
        let mut trouble = lock(&member.trouble);
        if let Some(Trouble::Full(then)) = *trouble {
            let now = member.folder.free_bytes().unwrap_or(0);
            if now > then.saturating_add(self.pack_bytes) {
                *trouble = None;
            }
        }
        trouble.clone()
    }

    fn takes_packs(&self, member: &Member) -> bool {
        !member.is_leaving() && self.trouble(member).is_none()
    }

    /// Members that take packs, by their place, with the room that `room` says.
    fn rooms(&self, room: impl Fn(&Member) -> Result<u64, DiskError>) -> Vec<(usize, u64)> {
        let all = self.all();
        let taking = all.iter().enumerate().filter(|(_, member)| self.takes_packs(member));
        taking.map(|(at, member)| (at, room(member).unwrap_or(0))).collect()
    }

    /// Bytes of packs that the folder can still take.
    pub(crate) fn room(&self, member: &Member) -> Result<u64, DiskError> {
        let mut kept = self.reserve_bytes;
        if member.number == 0 {
            let all = self.all();
            let others = all.iter().filter(|other| other.file_system != member.file_system);
            let free = others.map(|other| other.folder.free_bytes().unwrap_or(0));
            kept = kept.saturating_add(free.fold(0, u64::saturating_add) / HOME_SHARE);
        }
        Ok(member.folder.free_bytes()?.saturating_sub(kept))
    }

    /// Each gets its turn in the proportion of its weight.
    fn next_in_turn(&self, weights: &[(usize, u64)]) -> Option<usize> {
        let mut credits = lock(&self.credits);
        let total: i128 = weights.iter().map(|(_, weight)| i128::from(*weight)).sum();
        for (at, weight) in weights {
            // Nobody is owed more than a round: a folder that had no room for long does not get all packs when it has.
            if let Some(credit) = credits.get_mut(*at) {
                *credit = (*credit + i128::from(*weight)).min(total);
            }
        }
        let owed = |(at, _): &&(usize, u64)| credits.get(*at).copied().unwrap_or(0);
        let chosen = weights.iter().rev().max_by_key(owed).map(|(at, _)| *at)?;
        if let Some(credit) = credits.get_mut(chosen) {
            *credit = (*credit - total).max(-total);
        }
        Some(chosen)
    }

    /// Where a pack goes although no folder has room: where it can hurt least.
    fn fullest(&self) -> usize {
        let free = |member: &Member| {
            let sound = !matches!(self.trouble(member), Some(Trouble::Failed(_)));
            (sound && !member.is_leaving(), member.folder.free_bytes().unwrap_or(0))
        };
        let all = self.all();
        all.iter().enumerate().rev().max_by_key(|(_, member)| free(member)).map_or(0, |(at, _)| at)
    }

    /// The folder with this number; the home for a number that no folder has.
    pub(crate) fn by_number(&self, number: u32) -> Arc<Member> {
        let all = self.all();
        Arc::clone(all.iter().find(|member| member.number == number).unwrap_or(&self.home_member))
    }

    fn at(&self, at: usize) -> Arc<Member> {
        Arc::clone(self.all().get(at).unwrap_or(&self.home_member))
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("number", &self.number)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Member {
    fn home(disk: &Arc<dyn Disk>, home: &Path, options: &Options) -> Result<Self, StoreError> {
        Self::new(disk, 0, home, Stage::InUse, None, options)
    }

    fn open(
        disk: &Arc<dyn Disk>,
        number: u32,
        path: &Path,
        stage: Stage,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let file = disk.open(&path.join(LOCK), Open::CreateIfMissing)?;
        if !file.try_lock()? {
            let why = "another process uses this folder of the pool (stop it)";
            return Err(refused(path, why.to_owned()));
        }
        // Its disk may have lost the folder for packs while it had none.
        disk.create_folder(&path.join(PACKS))?;
        disk.sync_folder(path)?;
        Self::new(disk, number, path, stage, Some(file), options)
    }

    /// What the last write to a pack in this folder went through.
    pub(crate) fn note_writes(&self, file: &dyn DiskFile) {
        self.direct.store(file.is_direct(), Ordering::Relaxed);
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    fn new(
        disk: &Arc<dyn Disk>,
        number: u32,
        path: &Path,
        stage: Stage,
        lock: Option<Arc<dyn DiskFile>>,
        options: &Options,
    ) -> Result<Self, StoreError> {
        // Asked of a file that is there; nothing is written to it.
        let past = options.direct_io.writes_past(&**disk, Soon::Maybe);
        let asked = past.then(|| disk.open_direct(&path.join(LOCK), Open::Read));
        let direct = asked.is_some_and(|file| file.is_ok_and(|file| file.is_direct()));
        Ok(Self {
            number,
            path: path.to_path_buf(),
            folder: Folder::new(Arc::clone(disk), path.join(PACKS), options.direct_io),
            direct: AtomicBool::new(direct),
            file_system: disk.file_system(path)?,
            leaving: AtomicBool::new(stage != Stage::InUse),
            trouble: Mutex::default(),
            granted: AtomicU64::new(0),
            _lock: lock,
        })
    }
}

fn in_home(folder: &Path) -> StoreError {
    let why = "this folder lies in the pool's home, which is a place for packs already (name one outside)";
    refused(folder, why.to_owned())
}

/// What the configured folders turned out to be.
struct Sighting {
    members: BTreeMap<u32, PathBuf>,
    blank: Vec<PathBuf>,
}

impl Sighting {
    fn of(disk: &dyn Disk, home: &Path, store_id: [u8; 16], options: &Options) -> Result<Self, StoreError> {
        let mut sighting = Self { members: BTreeMap::new(), blank: Vec::new() };
        for folder in &options.folders {
            if folder.starts_with(home) {
                return Err(in_home(folder));
            }
            match roster::look(disk, folder, store_id) {
                Ok(seen) => sighting.note(folder, seen)?,
                // Told as missing, or left out.
                Err(StoreError::Folder { why, .. }) if options.degraded => {
                    tracing::error!(folder = %folder.display(), why, "a folder of the pool is left out");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(sighting)
    }

    fn note(&mut self, folder: &Path, seen: Seen) -> Result<(), StoreError> {
        match seen {
            Seen::Blank if !self.blank.iter().any(|other| other == folder) => {
                self.blank.push(folder.to_path_buf());
            }
            Seen::Blank => {}
            Seen::Member(number) => {
                if let Some(other) = self.members.insert(number, folder.to_path_buf()) {
                    let why = format!(
                        "it is folder {number} of the pool, and so is {}: one is a copy of the other, or both are the same (name it once; never \
                         both)",
                        other.display()
                    );
                    return Err(refused(folder, why));
                }
            }
        }
        Ok(())
    }

    fn next_number(&self) -> u32 {
        self.members.keys().next_back().map_or(1, |last| last.saturating_add(1))
    }

    /// Folders that must be there and are not: refused, unless reading what is left has been asked for.
    fn missing(&self, roster: &Roster, degraded: bool) -> Result<Vec<Entry>, StoreError> {
        let due = |entry: &&Entry| entry.stage != Stage::Empty && !self.members.contains_key(&entry.number);
        let missing: Vec<Entry> = roster.entries.iter().filter(due).cloned().collect();
        match missing.first() {
            Some(entry) if !degraded => Err(self.refuse(entry)),
            _ => Ok(missing),
        }
    }

    fn refuse(&self, entry: &Entry) -> StoreError {
        let path = Path::new(&entry.path);
        let blank = self.blank.iter().any(|folder| noted(folder) == entry.path);
        let number = entry.number;
        let why = match (blank, self.members.iter().find(|(_, folder)| noted(folder) == entry.path)) {
            (true, _) => format!(
                "folder {number} of the pool was here, and here is an empty folder: its disk is not mounted, or was emptied (mount it)"
            ),
            (_, Some((other, _))) => format!(
                "folder {number} of the pool was here, and here is folder {other}; folder {number} is nowhere (name it in store.folders too)"
            ),
            _ => format!(
                "folder {number} of the pool was here, and store.folders does not name it (name it where it is now; to do without it, empty it \
                 first with vtl pool drain)"
            ),
        };
        refused(
            path,
            format!("{why}; store.degraded = true opens the pool without it, for reading what is left"),
        )
    }
}
