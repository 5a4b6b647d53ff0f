//! A disk in memory that keeps only what was synced, for tests of everything that must survive a power cut.
//!
//! Each file has two contents: what readers see now, and what is on the medium. Writes and length changes wait
//! between the two until [`DiskFile::sync_data`]; names wait until [`Disk::sync_folder`]. [`SimDisk::after_crash`]
//! gives the disk as the next start finds it: of what was waiting, a seeded random part has reached the medium, in
//! any order, each write torn at 512 bytes. A part of a file that was extended but not written reads as zeros, as
//! journaling file systems promise; nothing synced is ever lost.
//!
//! Steps are the calls that change or sync something, counted from 1: [`SimDisk::crash_at`] stops the machine at
//! one of them. A file opened for direct writing refuses what is not aligned. Folders can be file systems of their own, with their room and their failures. Calls are all calls: [`SimDisk::fail_call`] makes one of them fail. A file's sync that fails forgets what
//! waited: later syncs succeed without making it durable, as on Linux. Names go on waiting: file systems journal them.
//! [`SimDisk::lie_after`] makes a call succeed that did something else.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{DIRECT_ALIGN, Disk, DiskError, DiskFile, Found, Open};

const SECTOR: usize = 512;
const ROOT: u64 = 0;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The device failed: any call.
    Eio,
    /// No space: calls that may need space. Others are let through.
    Enospc,
}

/// How a disk lies: the call succeeds, and something else has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A write that is never made; the file is as long as if it had been.
    LostWrite,
    /// A write that lands elsewhere in its file, over what was there.
    MisplacedWrite,
    /// A read that gives what lies elsewhere in the file.
    MisplacedRead,
}

/// How far from its place a misplaced call lands.
const MISPLACED_BY: usize = 4096;

fn misplaced(offset: usize) -> usize {
    offset.checked_sub(MISPLACED_BY).unwrap_or(offset + MISPLACED_BY)
}

/// The simulated disk. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    sim: Arc<Mutex<Sim>>,
}

impl SimDisk {
    /// An empty disk with an unlimited capacity. The seed decides what a failing write leaves behind.
    pub fn new(seed: u64) -> Self {
        let root = Node::Folder(Folder::default());
        let sim = Sim {
            nodes: HashMap::from([(ROOT, root)]),
            next_node: 1,
            random: Random(seed),
            ..Sim::default()
        };
        Self { sim: Arc::new(Mutex::new(sim)) }
    }

    /// Changing and syncing calls so far.
    pub fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// All calls so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Stops the machine at the first step after `step`: it may take effect in part, fails, and so does all after.
    pub fn crash_at(&self, step: u64) {
        self.lock().crash_after = Some(step);
    }

    /// Whether the machine has stopped.
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Makes the first call after `call` fail once; later ones work again.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.lock().fault = Some((call, fault, false));
    }

    /// Makes every call after `call` fail until [`SimDisk::heal`].
    pub fn fail_from(&self, call: u64, fault: Fault) {
        self.lock().fault = Some((call, fault, true));
    }

    /// Makes the disk lie once: at the first call after `call` that it can be said of.
    pub fn lie_after(&self, call: u64, lie: Lie) {
        self.lock().lie = Some((call, lie));
    }

    /// No more failing calls.
    pub fn heal(&self) {
        let mut sim = self.lock();
        (sim.fault, sim.broken, sim.lie) = (None, None, None);
        sim.unreadable.clear();
    }

    /// Whether the ordered fault or lie has happened.
    pub fn has_failed(&self) -> bool {
        self.lock().failed
    }

    /// The sum of file lengths that fits; `u64::MAX` for no limit.
    pub fn set_capacity(&self, bytes: u64) {
        self.mount(Path::new("/"), bytes);
    }

    /// Makes a folder a file system of its own, with room for so many bytes.
    pub fn mount(&self, folder: &Path, bytes: u64) {
        self.lock().mounts.insert(folder.to_path_buf(), bytes);
    }

    /// From now on the system has memory that lies idle, or none.
    pub fn idle_memory(&self, idle: bool) {
        self.lock().idle_memory = idle;
    }

    /// From now on files below this folder that are opened for direct writing are not direct: a file system that cannot do it.
    pub fn refuse_direct(&self, below: &Path) {
        self.lock().refuses_direct = Some(below.to_path_buf());
    }

    /// From now on every change and every sync below this folder fails, until [`SimDisk::heal`]: a disk that has died.
    pub fn fail_below(&self, folder: &Path) {
        self.lock().broken = Some(folder.to_path_buf());
    }

    /// From now on a read of any of these bytes of a file fails, until [`SimDisk::heal`]: a bad sector, or a path to the disk that is down for a while.
    pub fn fail_reads(&self, path: &Path, bytes: Range<u64>) {
        self.lock().unreadable.push((path.to_path_buf(), bytes));
    }

    /// Takes a folder away with all that is in it, as a disk that is not mounted; [`SimDisk::put_back`] brings it back.
    pub fn take_away(&self, folder: &Path) -> Option<TakenAway> {
        let mut sim = self.lock();
        let (parent, name) = sim.place(folder).ok()?;
        let parent = sim.folder(parent).ok()?;
        let visible = parent.visible.remove(&name)?;
        parent.durable.remove(&name);
        Some(TakenAway(visible))
    }

    /// Puts what was taken away at this path, on the medium too. What was there is gone.
    pub fn put_back(&self, folder: &Path, taken: TakenAway) {
        let mut sim = self.lock();
        let Ok((parent, name)) = sim.place(folder) else { return };
        if let Ok(parent) = sim.folder(parent) {
            parent.visible.insert(name.clone(), taken.0);
            parent.durable.insert(name, taken.0);
        }
    }

    /// The disk as the next start finds it after the power was cut now. The old disk answers nothing any more.
    pub fn after_crash(&self, seed: u64) -> Self {
        let mut sim = self.lock();
        sim.crashed = true;
        sim.survivor(seed)
    }

    /// The disk as a start would find it were the power cut now; this one goes on.
    pub fn survivor(&self, seed: u64) -> Self {
        self.lock().survivor(seed)
    }

    /// From now on, at each step, keeps the disk as a start would find it had the power been cut right before: for tests of every step
    /// that run their script once. Seeds count up from `seed`.
    pub fn watch(&self, seed: u64) {
        self.lock().watch = Some(seed);
    }

    /// What [`SimDisk::watch`] has kept since the last call, in order.
    pub fn take_watched(&self) -> Vec<Self> {
        std::mem::take(&mut self.lock().watched)
    }

    /// Paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        let sim = self.lock();
        let mut found = Vec::new();
        let mut todo = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, id)) = todo.pop() {
            match sim.nodes.get(&id) {
                Some(Node::Folder(folder)) => {
                    todo.extend(folder.visible.iter().map(|(name, id)| (path.join(name), *id)));
                }
                Some(Node::File(_)) => found.push(path),
                None => {}
            }
        }
        found.sort();
        found
    }

    /// The content of a file as readers see it.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let mut sim = self.lock();
        let id = sim.find(path).ok()?;
        sim.file(id).map(|file| file.visible.clone())
    }

    /// Turns one bit of a file, on the medium and for readers. Nothing happens beyond the file's end.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u8) {
        let mut sim = self.lock();
        let Ok(id) = sim.find(path) else { return };
        let (Some(file), Ok(byte)) = (sim.file(id), usize::try_from(byte)) else { return };
        for content in [&mut file.visible, &mut file.durable] {
            if let Some(byte) = content.get_mut(byte) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A folder that was taken away.
#[derive(Debug)]
pub struct TakenAway(u64);

#[derive(Debug, Default)]
struct Sim {
    nodes: HashMap<u64, Node>,
    next_node: u64,
    random: Random,
    steps: u64,
    calls: u64,
    crash_after: Option<u64>,
    crashed: bool,
    fault: Option<(u64, Fault, bool)>,
    lie: Option<(u64, Lie)>,
    failed: bool,
    /// File systems by the folder that they are mounted at, with their capacity; what is in none has no limit.
    mounts: BTreeMap<PathBuf, u64>,
    broken: Option<PathBuf>,
    unreadable: Vec<(PathBuf, Range<u64>)>,
    refuses_direct: Option<PathBuf>,
    idle_memory: bool,
    watch: Option<u64>,
    watched: Vec<SimDisk>,
}

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Default)]
struct File {
    visible: Vec<u8>,
    durable: Vec<u8>,
    waiting: Vec<Change>,
    locked: bool,
}

#[derive(Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

/// Names by their node. A change is a set of names that move together: a rename is one change.
#[derive(Debug, Default)]
struct Folder {
    visible: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    waiting: Vec<Vec<(String, Option<u64>)>>,
}

/// What a call is, for counting and failing it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Look,
    Free,
    NeedsSpace,
}

/// How far a call gets.
enum Verdict {
    Go,
    /// Take effect in part, then fail with this.
    Fail(io::Error),
}

impl Sim {
    /// The disk after a power cut at this moment.
    fn survivor(&self, seed: u64) -> SimDisk {
        let mut fate = Fate { random: Random(seed ^ 0x9e37_79b9), mode: seed % 4 };
        let mut nodes = HashMap::new();
        let mut todo = vec![ROOT];
        while let Some(id) = todo.pop() {
            if nodes.contains_key(&id) {
                continue;
            }
            let survivor = match self.nodes.get(&id) {
                Some(Node::File(file)) => Node::File(file.after_crash(&mut fate)),
                Some(Node::Folder(folder)) => Node::Folder(folder.after_crash(&mut fate)),
                None => continue,
            };
            if let Node::Folder(folder) = &survivor {
                todo.extend(folder.visible.values());
            }
            nodes.insert(id, survivor);
        }
        let after = Sim {
            nodes,
            next_node: self.next_node,
            random: Random(seed),
            mounts: self.mounts.clone(),
            refuses_direct: self.refuses_direct.clone(),
            idle_memory: self.idle_memory,
            ..Sim::default()
        };
        SimDisk { sim: Arc::new(Mutex::new(after)) }
    }

    /// Counts a call and decides its fate.
    fn begin(&mut self, sort: Sort) -> Verdict {
        if self.crashed {
            return Verdict::Fail(io::Error::other("the simulated machine has stopped"));
        }
        self.calls += 1;
        if sort != Sort::Look {
            if let Some(seed) = self.watch {
                self.watched.push(self.survivor(seed.wrapping_add(self.steps)));
            }
            self.steps += 1;
            if self.crash_after.is_some_and(|after| self.steps > after) {
                self.crashed = true;
                return Verdict::Fail(io::Error::other("the simulated machine stops here"));
            }
        }
        match self.fault {
            Some((after, fault, sticky)) if self.calls > after => {
                if fault == Fault::Enospc && sort != Sort::NeedsSpace {
                    return Verdict::Go;
                }
                if !sticky {
                    self.fault = None;
                }
                self.failed = true;
                Verdict::Fail(match fault {
                    Fault::Eio => io::Error::from_raw_os_error(5),
                    Fault::Enospc => io::Error::from(io::ErrorKind::StorageFull),
                })
            }
            _ => Verdict::Go,
        }
    }

    /// The lie that is due, once, if it is one of these.
    fn lie_of(&mut self, kinds: &[Lie]) -> Option<Lie> {
        let (_, lie) = self.lie.filter(|(after, lie)| self.calls > *after && kinds.contains(lie))?;
        self.lie = None;
        self.failed = true;
        Some(lie)
    }

    /// As [`Sim::begin`], for calls that do nothing when they fail.
    fn begin_whole(&mut self, sort: Sort) -> io::Result<()> {
        match self.begin(sort) {
            Verdict::Go => Ok(()),
            Verdict::Fail(error) => Err(error),
        }
    }

    fn file(&mut self, id: u64) -> Option<&mut File> {
        match self.nodes.get_mut(&id) {
            Some(Node::File(file)) => Some(file),
            _ => None,
        }
    }

    fn open_file(&mut self, id: u64) -> io::Result<&mut File> {
        self.file(id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn folder(&mut self, id: u64) -> io::Result<&mut Folder> {
        match self.nodes.get_mut(&id) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn find(&mut self, path: &Path) -> io::Result<u64> {
        let mut id = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                let name = name.to_string_lossy();
                let found = self.folder(id)?.visible.get(name.as_ref()).copied();
                id = found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            }
        }
        Ok(id)
    }

    /// The folder that holds `path`, and the name in it.
    fn place(&mut self, path: &Path) -> io::Result<(u64, String)> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let parent = path.parent().ok_or_else(invalid)?;
        let name = path.file_name().ok_or_else(invalid)?.to_string_lossy().into_owned();
        Ok((self.find(parent)?, name))
    }

    fn add_node(&mut self, node: Node) -> u64 {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    /// The call's fate on this path.
    fn begin_at(&mut self, sort: Sort, path: &Path) -> Verdict {
        let verdict = self.begin(sort);
        let broken = self.broken.as_ref().is_some_and(|broken| path.starts_with(broken));
        match verdict {
            Verdict::Go if broken && sort != Sort::Look => {
                self.failed = true;
                Verdict::Fail(io::Error::from_raw_os_error(5))
            }
            verdict => verdict,
        }
    }

    /// The fate of a read.
    fn begin_read(&mut self, path: &Path, bytes: &Range<u64>) -> io::Result<()> {
        self.begin_whole(Sort::Look)?;
        let touches = |bad: &Range<u64>| bad.start < bytes.end && bytes.start < bad.end;
        if self.unreadable.iter().any(|(at, bad)| at == path && touches(bad)) {
            self.failed = true;
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    /// The folder that the file system of a path is mounted at.
    fn mount_of(&self, path: &Path) -> Option<(PathBuf, u64)> {
        let holds = |(folder, _): &(&PathBuf, &u64)| path.starts_with(folder);
        let mounts = self.mounts.iter().filter(holds);
        let nearest = mounts.max_by_key(|(folder, _)| folder.components().count());
        nearest.map(|(folder, capacity)| (folder.clone(), *capacity))
    }

    /// Bytes that may still be written on the file system of a path.
    fn room(&mut self, path: &Path) -> u64 {
        let Some((mount, capacity)) = self.mount_of(path) else { return u64::MAX / 2 };
        let Ok(start) = self.find(&mount) else { return 0 };
        let mut used = 0_u64;
        let mut todo = vec![(mount.clone(), start)];
        while let Some((path, id)) = todo.pop() {
            match self.nodes.get(&id) {
                Some(Node::File(file)) => used += file.visible.len() as u64,
                Some(Node::Folder(folder)) => {
                    let below = folder.visible.iter().map(|(name, id)| (path.join(name), *id));
                    todo.extend(below.filter(|(path, _)| !self.mounts.contains_key(path)));
                }
                None => {}
            }
        }
        capacity.saturating_sub(used)
    }

    fn room_for(&mut self, path: &Path, growth: usize) -> bool {
        growth == 0 || self.mounts.is_empty() || growth as u64 <= self.room(path)
    }
}

impl Folder {
    fn change(&mut self, names: Vec<(String, Option<u64>)>) {
        apply_names(&mut self.visible, &names);
        self.waiting.push(names);
    }

    fn sync(&mut self) {
        for names in self.waiting.drain(..) {
            apply_names(&mut self.durable, &names);
        }
    }

    fn after_crash(&self, fate: &mut Fate) -> Self {
        let mut names = self.durable.clone();
        for change in &self.waiting {
            if fate.survives() {
                apply_names(&mut names, change);
            }
        }
        Self { visible: names.clone(), durable: names, waiting: Vec::new() }
    }
}

fn apply_names(names: &mut BTreeMap<String, u64>, change: &[(String, Option<u64>)]) {
    for (name, id) in change {
        match id {
            Some(id) => names.insert(name.clone(), *id),
            None => names.remove(name),
        };
    }
}

impl File {
    fn write(&mut self, offset: usize, bytes: Vec<u8>) {
        put(&mut self.visible, offset, &bytes);
        self.waiting.push(Change::Write { offset, bytes });
    }

    /// The file is as long as after the right write.
    fn write_wrongly(&mut self, offset: usize, bytes: Vec<u8>, lie: Lie) {
        let end = offset + bytes.len();
        if self.visible.len() < end {
            self.set_size(end);
        }
        if lie == Lie::MisplacedWrite {
            self.write(misplaced(offset), bytes);
        }
    }

    fn set_size(&mut self, size: usize) {
        self.visible.resize(size, 0);
        self.waiting.push(Change::Size(size));
    }

    fn sync(&mut self) {
        for change in self.waiting.drain(..) {
            match change {
                Change::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Change::Size(size) => self.durable.resize(size, 0),
            }
        }
    }

    fn after_crash(&self, fate: &mut Fate) -> Self {
        let mut content = self.durable.clone();
        for change in &self.waiting {
            match change {
                Change::Size(size) => {
                    if fate.survives() {
                        content.resize(*size, 0);
                    }
                }
                Change::Write { offset, bytes } => fate.write(&mut content, *offset, bytes),
            }
        }
        Self { visible: content.clone(), durable: content, ..Self::default() }
    }
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

/// What becomes of unsynced things: nothing of them, all of them, or a coin for each.
struct Fate {
    random: Random,
    mode: u64,
}

impl Fate {
    fn survives(&mut self) -> bool {
        match self.mode {
            0 => false,
            1 => true,
            _ => self.random.below(2) == 0,
        }
    }

    /// A write reaches the medium sector by sector; how far the file grows is decided apart from that.
    fn write(&mut self, content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > content.len() {
            let grown = if self.survives() {
                end
            } else if self.mode >= 2 && self.survives() {
                // The length was written back while only some of the sectors were there.
                offset + self.random.below(bytes.len() as u64 + 1) as usize
            } else {
                content.len()
            };
            let grown = grown.max(content.len());
            content.resize(grown, 0);
        }
        let mut at = offset;
        while at < end {
            let stop = ((at / SECTOR + 1) * SECTOR).min(end);
            if self.survives() {
                let stop = stop.min(content.len());
                if let (Some(place), Some(piece)) =
                    (content.get_mut(at..stop), bytes.get(at - offset..stop.saturating_sub(offset)))
                {
                    place.copy_from_slice(piece);
                }
            }
            at = stop;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for choosing what a crash leaves.
#[derive(Clone, Copy, Debug, Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

impl SimDisk {
    fn open_file(&self, path: &Path, how: Open) -> Result<SimFile, DiskError> {
        let open = |sim: &mut Sim| -> io::Result<u64> {
            let creates = matches!(how, Open::Create | Open::CreateIfMissing);
            let verdict = sim.begin_at(if creates { Sort::NeedsSpace } else { Sort::Look }, path);
            let made = if creates && (matches!(verdict, Verdict::Go) || sim.crashed) {
                let (parent, name) = sim.place(path)?;
                match sim.folder(parent)?.visible.get(&name).copied() {
                    Some(_) if how == Open::Create => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                    Some(id) => Ok(id),
                    None => {
                        let id = sim.add_node(Node::File(File::default()));
                        sim.folder(parent)?.change(vec![(name, Some(id))]);
                        Ok(id)
                    }
                }
            } else {
                sim.find(path)
            };
            match verdict {
                Verdict::Go => made,
                Verdict::Fail(error) => Err(error),
            }
        };
        let op = if how == Open::Create { "create" } else { "open" };
        let mut sim = self.lock();
        let id = open(&mut sim).map_err(|error| DiskError::new(op, path, error))?;
        Ok(SimFile {
            sim: Arc::clone(&self.sim),
            id,
            path: path.to_path_buf(),
            holds_lock: AtomicBool::new(false),
            direct: false,
        })
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        Ok(Arc::new(self.open_file(path, how)?))
    }

    fn open_direct(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
        let mut file = self.open_file(path, how)?;
        file.direct = self.lock().refuses_direct.as_ref().is_none_or(|below| !path.starts_with(below));
        Ok(Arc::new(file))
    }

    fn has_idle_memory(&self) -> bool {
        self.lock().idle_memory
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.change_names("rename to", to, |sim| {
            let ((parent, old), (new_parent, new)) = (sim.place(from)?, sim.place(to)?);
            if parent != new_parent {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
            let folder = sim.folder(parent)?;
            let id = folder.visible.get(&old).copied();
            let id = id.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            folder.change(vec![(old, None), (new, Some(id))]);
            Ok(())
        })
    }

    fn unlink(&self, path: &Path) -> Result<(), DiskError> {
        self.change_names("unlink", path, |sim| {
            let id = sim.find(path)?;
            sim.open_file(id)?;
            let (parent, name) = sim.place(path)?;
            sim.folder(parent)?.change(vec![(name, None)]);
            Ok(())
        })
    }

    fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.change_names("create folder", path, |sim| {
            if let Ok(id) = sim.find(path) {
                return sim.folder(id).map(|_| ());
            }
            let (parent, name) = sim.place(path)?;
            let id = sim.add_node(Node::Folder(Folder::default()));
            sim.folder(parent)?.change(vec![(name, Some(id))]);
            Ok(())
        })
    }

    fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
        self.change_names("remove folder", path, |sim| {
            let id = sim.find(path)?;
            if !sim.folder(id)?.visible.is_empty() {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
            let (parent, name) = sim.place(path)?;
            sim.folder(parent)?.change(vec![(name, None)]);
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
        let mut sim = self.lock();
        let mut sync = || {
            let verdict = sim.begin_at(Sort::Free, path);
            if sim.crashed {
                verdict.into_result()?;
            } else {
                let id = sim.find(path)?;
                let folder = sim.folder(id)?;
                verdict.into_result()?;
                folder.sync();
            }
            Ok(())
        };
        sync().map_err(|error| DiskError::new("sync folder", path, error))
    }

    fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
        let mut sim = self.lock();
        let mut list = || {
            sim.begin_whole(Sort::Look)?;
            let id = sim.find(path)?;
            let names = sim.folder(id)?.visible.clone();
            let is_folder = |id| matches!(sim.nodes.get(&id), Some(Node::Folder(_)));
            Ok(names.into_iter().map(|(name, id)| Found { name, is_folder: is_folder(id) }).collect())
        };
        list().map_err(|error| DiskError::new("list", path, error))
    }

    fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        let mut sim = self.lock();
        sim.begin_whole(Sort::Look).map_err(|error| DiskError::new("ask free space of", path, error))?;
        Ok(sim.room(path))
    }

    fn file_system(&self, path: &Path) -> Result<u64, DiskError> {
        let mut sim = self.lock();
        sim.begin_whole(Sort::Look).map_err(|error| DiskError::new("look at", path, error))?;
        let mount = sim.mount_of(path).map(|(mount, _)| mount);
        Ok(mount.map_or(0, |mount| 1 + sim.mounts.range(..mount).count() as u64))
    }
}

impl Verdict {
    fn into_result(self) -> io::Result<()> {
        match self {
            Self::Go => Ok(()),
            Self::Fail(error) => Err(error),
        }
    }
}

impl SimDisk {
    /// A change of names. At a crash it takes effect (and may survive or not); a failing call does nothing.
    fn change_names(
        &self,
        op: &'static str,
        path: &Path,
        change: impl FnOnce(&mut Sim) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let mut sim = self.lock();
        let was_crashed = sim.crashed;
        let sort = if op == "create folder" { Sort::NeedsSpace } else { Sort::Free };
        let result = match sim.begin_at(sort, path) {
            Verdict::Go => change(&mut sim),
            Verdict::Fail(error) => {
                if sim.crashed && !was_crashed {
                    let _ = change(&mut sim);
                }
                Err(error)
            }
        };
        result.map_err(|error| DiskError::new(op, path, error))
    }
}

struct SimFile {
    sim: Arc<Mutex<Sim>>,
    id: u64,
    path: PathBuf,
    holds_lock: AtomicBool,
    direct: bool,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SimFile {
    fn with<T>(
        &self,
        op: &'static str,
        act: impl FnOnce(&mut Sim, u64) -> io::Result<T>,
    ) -> Result<T, DiskError> {
        let mut sim = self.sim.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut sim, self.id).map_err(|error| DiskError::new(op, &self.path, error))
    }
}

/// What the strictest of real disks refuses.
fn check_aligned(offset: u64, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let odd = |value: usize| !value.is_multiple_of(DIRECT_ALIGN);
    let in_memory = parts.iter().any(|part| odd(part.len()) || odd(part.as_ptr() as usize));
    if in_memory || !offset.is_multiple_of(DIRECT_ALIGN as u64) {
        return Err(misused("a direct write is not aligned"));
    }
    Ok(())
}

fn misused(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn position(value: u64) -> io::Result<usize> {
    // Tests that write beyond this have a bug; a simulated file lives in memory.
    match usize::try_from(value) {
        Ok(value) if value < 1 << 34 => Ok(value),
        _ => Err(io::Error::from(io::ErrorKind::FileTooLarge)),
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, offset: u64, len: usize, out: &mut Vec<u8>) -> Result<usize, DiskError> {
        self.with("read", |sim, id| {
            sim.begin_read(&self.path, &(offset..offset.saturating_add(len as u64)))?;
            let mut offset = usize::try_from(offset).unwrap_or(usize::MAX);
            if sim.lie_of(&[Lie::MisplacedRead]).is_some() {
                offset = misplaced(offset);
            }
            let content = &sim.open_file(id)?.visible;
            let start = offset.min(content.len());
            let end = start.saturating_add(len).min(content.len());
            let found = content.get(start..end).unwrap_or_default();
            out.extend_from_slice(found);
            Ok(found.len())
        })
    }

    fn write_at(&self, offset: u64, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        self.with("write", |sim, id| {
            if self.direct {
                check_aligned(offset, parts)?;
            }
            let was_crashed = sim.crashed;
            // Whole parts at once: not optimized, byte by byte takes half of the time of some tests.
            let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            let offset = position(offset)?;
            let growth = (offset + bytes.len()).saturating_sub(sim.open_file(id)?.visible.len());
            let verdict = match sim.begin_at(Sort::NeedsSpace, &self.path) {
                Verdict::Go if !sim.room_for(&self.path, growth) => {
                    Verdict::Fail(io::Error::from(io::ErrorKind::StorageFull))
                }
                verdict => verdict,
            };
            match verdict {
                Verdict::Go => match sim.lie_of(&[Lie::LostWrite, Lie::MisplacedWrite]) {
                    None => sim.open_file(id)?.write(offset, bytes),
                    Some(lie) => sim.open_file(id)?.write_wrongly(offset, bytes, lie),
                },
                Verdict::Fail(error) => {
                    if !was_crashed {
                        if !sim.crashed {
                            let kept = sim.random.below(bytes.len() as u64 + 1) as usize;
                            let kept = if sim.room_for(&self.path, growth) { kept } else { 0 };
                            bytes.truncate(kept);
                        }
                        sim.open_file(id)?.write(offset, bytes);
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn is_direct(&self) -> bool {
        self.direct
    }

    fn size(&self) -> Result<u64, DiskError> {
        self.with("ask size of", |sim, id| {
            sim.begin_whole(Sort::Look)?;
            Ok(sim.open_file(id)?.visible.len() as u64)
        })
    }

    fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        self.with("truncate", |sim, id| {
            let size = position(bytes)?;
            let was_crashed = sim.crashed;
            match sim.begin_at(Sort::Free, &self.path) {
                Verdict::Go => sim.open_file(id)?.set_size(size),
                Verdict::Fail(error) => {
                    if sim.crashed && !was_crashed {
                        sim.open_file(id)?.set_size(size);
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn allocate(&self, _bytes: u64) -> Result<(), DiskError> {
        self.with("allocate", |sim, _| sim.begin_whole(Sort::NeedsSpace))
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.with("sync", |sim, id| {
            let verdict = sim.begin_at(Sort::Free, &self.path);
            let crashed = sim.crashed;
            let file = sim.open_file(id)?;
            match verdict {
                Verdict::Go => file.sync(),
                Verdict::Fail(error) => {
                    if !crashed {
                        file.waiting.clear();
                    }
                    return Err(error);
                }
            }
            Ok(())
        })
    }

    fn try_lock(&self) -> Result<bool, DiskError> {
        self.with("lock", |sim, id| {
            sim.begin_whole(Sort::Look)?;
            let file = sim.open_file(id)?;
            let taken = !std::mem::replace(&mut file.locked, true);
            self.holds_lock.fetch_or(taken, Ordering::AcqRel);
            Ok(taken)
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.holds_lock.load(Ordering::Acquire) {
            let mut sim = self.sim.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = sim.file(self.id) {
                file.locked = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(disk: &SimDisk, path: &str) -> Arc<dyn DiskFile> {
        disk.open(Path::new(path), Open::Create).unwrap()
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            let file = create(&disk, "/a");
            file.write_at(0, &[IoSlice::new(&[1; 3000])]).unwrap();
            file.sync_data().unwrap();
            disk.sync_folder(Path::new("/")).unwrap();
            file.write_at(1000, &[IoSlice::new(&[2; 3000])]).unwrap();
            let after = disk.after_crash(seed).contents(Path::new("/a")).unwrap();
            assert_eq!(after[..1000], [1; 1000]);
            assert!(after[1000..].iter().all(|byte| [0, 1, 2].contains(byte)));
            assert!(after.len() >= 3000);
        }
    }

    #[test]
    fn an_unsynced_name_or_write_can_be_lost_kept_or_torn() {
        let (mut lost_name, mut empty, mut torn, mut whole) = (0, 0, 0, 0);
        for seed in 0..400 {
            let disk = SimDisk::new(seed);
            create(&disk, "/a").write_at(0, &[IoSlice::new(&[7; 2048])]).unwrap();
            match disk.after_crash(seed).contents(Path::new("/a")) {
                None => lost_name += 1,
                Some(bytes) if bytes.is_empty() => empty += 1,
                Some(bytes) if bytes == [7; 2048] => whole += 1,
                Some(_) => torn += 1,
            }
        }
        assert!(
            lost_name > 50 && empty > 10 && torn > 20 && whole > 50,
            "{lost_name} {empty} {torn} {whole}"
        );
    }

    #[test]
    fn a_rename_is_all_or_nothing_after_a_crash() {
        for seed in 0..100 {
            let disk = SimDisk::new(seed);
            create(&disk, "/old");
            disk.sync_folder(Path::new("/")).unwrap();
            disk.rename(Path::new("/old"), Path::new("/new")).unwrap();
            assert_eq!(disk.after_crash(seed).files().len(), 1);
        }
    }

    #[test]
    fn after_a_failed_sync_a_good_one_does_not_bring_the_bytes_back() {
        let disk = SimDisk::new(1);
        let file = create(&disk, "/a");
        disk.sync_folder(Path::new("/")).unwrap();
        file.write_at(0, &[IoSlice::new(b"lost")]).unwrap();
        disk.fail_call(disk.calls(), Fault::Eio);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(disk.contents(Path::new("/a")).unwrap(), b"lost");
        assert_eq!(disk.after_crash(1).contents(Path::new("/a")).unwrap(), b"");
    }

    #[test]
    fn a_lie_is_told_once_and_succeeds() {
        let path = Path::new("/a");
        let written = |lie| {
            let disk = SimDisk::new(1);
            let file = create(&disk, "/a");
            file.write_at(0, &[IoSlice::new(&[1; 8192])]).unwrap();
            disk.lie_after(disk.calls(), lie);
            file.write_at(8192, &[IoSlice::new(&[2; 100])]).unwrap();
            file.write_at(8292, &[IoSlice::new(&[3; 100])]).unwrap();
            let mut read = Vec::new();
            file.read_at(8192, 1, &mut read).unwrap();
            assert!(disk.has_failed());
            (read, disk.contents(path).unwrap())
        };
        let right = [vec![1; 8192], vec![2; 100], vec![3; 100]].concat();
        assert_eq!(written(Lie::MisplacedRead), (vec![1], right.clone()));
        let mut lost = right.clone();
        lost[8192..8292].fill(0);
        assert_eq!(written(Lie::LostWrite), (vec![0], lost.clone()));
        lost[4096..4196].fill(2);
        assert_eq!(written(Lie::MisplacedWrite), (vec![0], lost));
    }

    #[test]
    fn nothing_answers_after_the_crash_step() {
        let disk = SimDisk::new(1);
        let file = create(&disk, "/a");
        disk.crash_at(disk.steps());
        assert!(file.sync_data().is_err());
        assert!(file.size().is_err());
        assert!(disk.list(Path::new("/")).is_err());
        assert!(disk.has_crashed());
    }

    #[test]
    fn a_full_disk_refuses_growth_and_takes_it_again_after_an_unlink() {
        let disk = SimDisk::new(1);
        disk.set_capacity(1000);
        let (a, b) = (create(&disk, "/a"), create(&disk, "/b"));
        a.write_at(0, &[IoSlice::new(&[0; 900])]).unwrap();
        assert!(b.write_at(0, &[IoSlice::new(&[0; 200])]).unwrap_err().is_full());
        a.write_at(0, &[IoSlice::new(&[1; 900])]).unwrap();
        disk.unlink(Path::new("/a")).unwrap();
        b.write_at(0, &[IoSlice::new(&[0; 200])]).unwrap();
        assert_eq!(disk.free_bytes(Path::new("/")).unwrap(), 800);
    }

    #[test]
    fn a_direct_file_takes_whole_pages_from_aligned_memory_and_nothing_else() {
        let disk = SimDisk::new(1);
        let path = Path::new("/a");
        let file = disk.open_direct(path, Open::Create).unwrap();
        let mut pages = crate::PageBuffer::new(8192);
        pages.fill(&[7; 8192]);
        let bytes = pages.bytes();
        file.write_at(4096, &[IoSlice::new(bytes)]).unwrap();
        file.write_at(0, &[IoSlice::new(&bytes[..4096]), IoSlice::new(&bytes[4096..])]).unwrap();
        for (offset, part) in [(1, bytes), (512, bytes), (0, &bytes[..512]), (0, &bytes[1..4097])] {
            assert!(file.write_at(offset, &[IoSlice::new(part)]).is_err(), "{offset}, {}", part.len());
        }
        let mut read = Vec::new();
        assert!(file.is_direct() && file.read_at(5, 3, &mut read).unwrap() == 3);
        assert_eq!(disk.contents(path).unwrap(), [7; 12288]);
        assert_eq!(disk.after_crash(0).contents(path), None, "direct is not durable");
        let other = SimDisk::new(1);
        other.refuse_direct(Path::new("/"));
        let file = other.open_direct(path, Open::Create).unwrap();
        file.write_at(1, &[IoSlice::new(b"x")]).unwrap();
        assert!(!file.is_direct());
        assert!(!other.survivor(1).open_direct(Path::new("/b"), Open::Create).unwrap().is_direct());
    }

    #[test]
    fn bytes_that_cannot_be_read_are_there_again_when_the_disk_is_healed() {
        let disk = SimDisk::new(1);
        let file = create(&disk, "/a");
        file.write_at(0, &[IoSlice::new(&[7; 3000])]).unwrap();
        disk.fail_reads(Path::new("/a"), 1000..1001);
        let read = |at, len| file.read_at(at, len, &mut Vec::new());
        assert!(read(0, 1001).is_err() && read(1000, 5).is_err() && disk.has_failed());
        assert_eq!((read(0, 1000).unwrap(), read(1001, 3000).unwrap()), (1000, 1999));
        disk.heal();
        assert_eq!(read(0, 3000).unwrap(), 3000);
    }

    #[test]
    fn a_mounted_folder_has_its_own_room_fails_alone_and_can_be_taken_away() {
        let disk = SimDisk::new(1);
        let (near, far) = (Path::new("/near"), Path::new("/far"));
        disk.create_folder(near).unwrap();
        disk.create_folder(far).unwrap();
        disk.set_capacity(1000);
        disk.mount(far, 300);
        let (a, b) = (create(&disk, "/near/a"), create(&disk, "/far/b"));
        a.write_at(0, &[IoSlice::new(&[0; 900])]).unwrap();
        assert!(b.write_at(0, &[IoSlice::new(&[0; 400])]).unwrap_err().is_full());
        b.write_at(0, &[IoSlice::new(&[1; 200])]).unwrap();
        assert_eq!((disk.free_bytes(near).unwrap(), disk.free_bytes(far).unwrap()), (100, 100));
        assert_ne!(disk.file_system(near).unwrap(), disk.file_system(far).unwrap());
        disk.fail_below(far);
        assert!(b.write_at(0, &[IoSlice::new(&[2; 10])]).is_err() && b.sync_data().is_err());
        a.write_at(0, &[IoSlice::new(&[2; 10])]).unwrap();
        disk.heal();
        let taken = disk.take_away(far).unwrap();
        assert!(disk.contents(Path::new("/far/b")).is_none());
        disk.put_back(far, taken);
        assert_eq!(disk.contents(Path::new("/far/b")).unwrap().len(), 200);
    }
}
