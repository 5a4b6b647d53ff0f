//! Which packs there are, their tables, and which of them have no footer yet.
//!
//! A *view* is a pack's table in one generation. Views of sealed packs are a cache, dropped longest-unused first; those of packs
//! that are being written stay until the pack is sealed. Files are opened by who reads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use vtl_durable::{Disk, DiskError, DiskFile, Open};

use crate::cipher::Domain;
use crate::pack::{self, Frame, PackHeader, PackId, Table};
use crate::recipe::{self, PackEnd};
use crate::workers::lock;

/// A pack's table in one generation.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) id: PackId,
    pub(crate) generation: u16,
    pub(crate) table: Table,
    /// So many chunks from the beginning survive a power cut.
    pub(crate) durable: usize,
}

/// What is known of a pack without opening it: of one that is written, as far as it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) generation: u16,
    pub(crate) file_bytes: u64,
    /// Of these, all but header and footer.
    pub(crate) content_bytes: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) chunks: u64,
    pub(crate) state: PackState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackState {
    /// It has a footer, or had one before it was damaged.
    Sealed,
    /// It has none; the journal names it with this end. Zero: no commit has named it yet.
    Unsealed { durable_end: u64 },
}

/// Sums over all packs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) packs: u64,
    pub(crate) file_bytes: u64,
    pub(crate) content_bytes: u64,
    pub(crate) raw_bytes: u64,
    pub(crate) chunks: u64,
}

pub(crate) struct Packs {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    domain: Arc<Domain>,
    epoch: u64,
    limit_bytes: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: BTreeMap<PackId, Known>,
    /// The sum of their files' lengths, as far as they are committed.
    file_bytes: u64,
    /// Lengths of files that are written.
    written: BTreeMap<PackId, u64>,
    /// Epochs of all packs.
    epochs: BTreeSet<u64>,
    /// Number of the next new pack.
    next: u32,
    /// New packs that no commit has named yet.
    uncommitted: BTreeSet<PackId>,
    /// Views of packs without a footer.
    open: HashMap<PackId, Arc<View>>,
    kept: HashMap<PackId, Kept>,
    kept_bytes: usize,
    tick: u64,
    /// Folders that exist for sure.
    folders: BTreeSet<String>,
    /// Packs that got their footer, or a new generation, and that the scrub has not been told of.
    fresh: BTreeSet<PackId>,
}

struct Kept {
    view: Arc<View>,
    used: u64,
}

/// A new pack's file.
pub(crate) struct Created {
    pub(crate) id: PackId,
    pub(crate) file: Arc<dyn DiskFile>,
    /// To be synced before the pack is relied on.
    pub(crate) folder: PathBuf,
    pub(crate) header: Vec<u8>,
}

impl Packs {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        root: &Path,
        domain: Arc<Domain>,
        epoch: u64,
        limit_bytes: usize,
    ) -> Self {
        Self { disk, root: root.to_path_buf(), domain, epoch, limit_bytes, inner: Mutex::default() }
    }

    /// Notes a pack found at start.
    pub(crate) fn note(&self, id: PackId, known: Known) {
        let mut inner = lock(&self.inner);
        inner.epochs.insert(id.epoch);
        inner.know(id, known);
    }

    /// How the bytes of this generation of a pack are written.
    pub(crate) fn frame(&self, id: PackId, generation: u16) -> Frame {
        Frame::new(&self.domain, id, generation)
    }

    pub(crate) fn folder(&self, id: PackId) -> PathBuf {
        self.root.join(id.folder())
    }

    pub(crate) fn path(&self, id: PackId, generation: u16) -> PathBuf {
        self.folder(id).join(id.file_name(generation))
    }

    /// Makes the file of a new pack; nothing is written to it.
    pub(crate) fn create(&self) -> Result<Created, DiskError> {
        let id = self.reserve_id();
        let made = self.make_folder(id).and_then(|()| self.disk.open(&self.path(id, 0), Open::Create));
        match made {
            Ok(file) => Ok(Created { id, file, folder: self.folder(id), header: self.header(id, 0) }),
            Err(error) => {
                self.forget(id);
                Err(error)
            }
        }
    }

    fn reserve_id(&self) -> PackId {
        let state = PackState::Unsealed { durable_end: 0 };
        let known = Known { generation: 0, file_bytes: 0, content_bytes: 0, raw_bytes: 0, chunks: 0, state };
        let mut inner = lock(&self.inner);
        let id = PackId { epoch: self.epoch, number: inner.next };
        inner.next += 1;
        inner.epochs.insert(id.epoch);
        inner.known.insert(id, known);
        inner.uncommitted.insert(id);
        id
    }

    /// Makes the file of a pack's next generation, under a name that no start takes for a pack; one that a crash left is replaced.
    pub(crate) fn create_next(&self, id: PackId, generation: u16) -> Result<Created, DiskError> {
        let path = self.draft(id, generation);
        match self.disk.unlink(&path) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        let file = self.disk.open(&path, Open::Create)?;
        Ok(Created { id, file, folder: self.folder(id), header: self.header(id, generation) })
    }

    fn draft(&self, id: PackId, generation: u16) -> PathBuf {
        self.folder(id).join(format!("{}.tmp", id.file_name(generation)))
    }

    /// The next generation, synced, takes its place beside the one before; from here on a start finds it.
    pub(crate) fn publish_next(&self, id: PackId, generation: u16) -> Result<(), DiskError> {
        self.disk.rename(&self.draft(id, generation), &self.path(id, generation))?;
        self.disk.sync_folder(&self.folder(id))
    }

    /// The next generation did not come about.
    pub(crate) fn drop_next(&self, id: PackId, generation: u16) {
        // Best effort: a start removes what is left.
        let _ = self.disk.unlink(&self.draft(id, generation));
    }

    fn header(&self, id: PackId, generation: u16) -> Vec<u8> {
        PackHeader { store_id: self.domain.store_id, id, generation }.encode()
    }

    fn make_folder(&self, id: PackId) -> Result<(), DiskError> {
        let name = id.folder();
        if lock(&self.inner).folders.contains(&name) {
            return Ok(());
        }
        self.disk.create_folder(&self.root.join(&name))?;
        self.disk.sync_folder(&self.root)?;
        lock(&self.inner).folders.insert(name);
        Ok(())
    }

    /// What a pack that is written holds by now, and how long its file is.
    pub(crate) fn publish(&self, view: View, file_bytes: u64) {
        let mut inner = lock(&self.inner);
        inner.written.insert(view.id, file_bytes);
        inner.open.insert(view.id, Arc::new(view));
    }

    /// The journal names these packs with these ends.
    pub(crate) fn named(&self, packs: &[PackEnd]) {
        let inner = &mut *lock(&self.inner);
        for PackEnd { pack, end, sealed } in packs {
            inner.uncommitted.remove(pack);
            if let Some(known) = inner.known.get_mut(pack) {
                if let Some(View { table, .. }) = inner.open.get(pack).map(|view| &**view) {
                    known.raw_bytes = table.raw_bytes();
                    known.chunks = table.len() as u64;
                    known.content_bytes = match sealed {
                        true => self.content_bytes(*end, table.regions.len(), table.len()),
                        false => end.saturating_sub(pack::PAGE),
                    };
                }
                inner.file_bytes = inner.file_bytes - known.file_bytes + *end;
                known.file_bytes = *end;
                if *sealed {
                    inner.written.remove(pack);
                }
                // One with a footer is not sealed for us before its writer has said so: until then its view here may be an older one, and a collection
                // would take what that lacks. A journal file need not name it any more: 0.
                known.state = PackState::Unsealed { durable_end: if *sealed { 0 } else { *end } };
            }
        }
    }

    /// The pack has its footer, on the disk.
    pub(crate) fn sealed(&self, view: View, file_bytes: u64) {
        let mut inner = lock(&self.inner);
        inner.open.remove(&view.id);
        inner.uncommitted.remove(&view.id);
        let known = Known {
            generation: view.generation,
            file_bytes,
            content_bytes: self.content_bytes(file_bytes, view.table.regions.len(), view.table.len()),
            raw_bytes: view.table.raw_bytes(),
            chunks: view.table.len() as u64,
            state: PackState::Sealed,
        };
        inner.know(view.id, known);
        inner.fresh.insert(view.id);
        inner.keep(Arc::new(view), self.limit_bytes);
    }

    /// Packs sealed since the last asking.
    pub(crate) fn take_fresh(&self) -> BTreeSet<PackId> {
        std::mem::take(&mut lock(&self.inner).fresh)
    }

    /// The first pack that is not before `id`.
    pub(crate) fn first_from(&self, id: PackId) -> Option<(PackId, Known)> {
        lock(&self.inner).known.range(id..).next().map(|(id, known)| (*id, *known))
    }

    /// The id of the next new pack, and all packs that are not sealed.
    pub(crate) fn unsealed(&self) -> (PackId, Vec<PackId>) {
        let inner = lock(&self.inner);
        let open = inner.known.iter().filter(|(_, known)| known.state != PackState::Sealed);
        (PackId { epoch: self.epoch, number: inner.next }, open.map(|(id, _)| *id).collect())
    }

    /// What a new journal file has to begin with.
    pub(crate) fn for_journal(&self) -> recipe::Packs {
        let inner = lock(&self.inner);
        let next = PackId { epoch: self.epoch, number: inner.next };
        let end = |(pack, known): (&PackId, &Known)| match known.state {
            PackState::Unsealed { durable_end: end } if end > 0 => {
                Some(PackEnd { pack: *pack, end, sealed: false })
            }
            _ => None,
        };
        recipe::Packs {
            next,
            uncommitted: inner.uncommitted.iter().copied().collect(),
            unsealed: inner.known.iter().filter_map(end).collect(),
        }
    }

    /// The pack is gone.
    pub(crate) fn forget(&self, id: PackId) {
        let mut inner = lock(&self.inner);
        let gone = inner.known.remove(&id).map_or(0, |known| known.file_bytes);
        inner.file_bytes -= gone;
        inner.written.remove(&id);
        inner.uncommitted.remove(&id);
        inner.open.remove(&id);
        inner.drop_kept(id);
    }

    /// The pack, which no commit has named, is gone, and may be there again after a power cut.
    pub(crate) fn may_come_back(&self, id: PackId) {
        lock(&self.inner).uncommitted.insert(id);
    }

    /// The pack that the index knows by this number.
    pub(crate) fn by_key(&self, key: u64) -> Option<PackId> {
        // Of one start there is one random part: two histories in one folder are refused at start.
        let first = PackId { epoch: key >> 32 << 32, number: 0 };
        let inner = lock(&self.inner);
        let epoch = *inner.epochs.range(first.epoch..).next()?;
        let id = PackId { epoch, number: key as u32 };
        (id.key() == key && inner.known.contains_key(&id)).then_some(id)
    }

    pub(crate) fn known(&self, id: PackId) -> Option<Known> {
        lock(&self.inner).known.get(&id).copied()
    }

    /// What a pack of this length that has its footer holds between its header and that.
    pub(crate) fn content_bytes(&self, file_bytes: u64, regions: usize, chunks: usize) -> u64 {
        file_bytes.saturating_sub(pack::PAGE + pack::footer_len(&self.domain, regions, chunks))
    }

    pub(crate) fn content_bytes_of(&self, id: PackId) -> u64 {
        self.known(id).map_or(0, |known| known.content_bytes)
    }

    /// Whether the pack has been rewritten since.
    pub(crate) fn is_outdated(&self, view: &View) -> bool {
        self.known(view.id).is_some_and(|known| known.generation != view.generation)
    }

    pub(crate) fn all(&self) -> Vec<(PackId, Known)> {
        lock(&self.inner).known.iter().map(|(id, known)| (*id, *known)).collect()
    }

    pub(crate) fn sums(&self) -> Sums {
        let inner = lock(&self.inner);
        inner.known.values().fold(Sums::default(), |sums, known| Sums {
            packs: sums.packs + 1,
            file_bytes: sums.file_bytes + known.file_bytes,
            content_bytes: sums.content_bytes + known.content_bytes,
            raw_bytes: sums.raw_bytes + known.raw_bytes,
            chunks: sums.chunks + known.chunks,
        })
    }

    /// Length of all pack files, committed or not, without going through them.
    pub(crate) fn file_bytes(&self) -> u64 {
        let inner = lock(&self.inner);
        let committed = |id: &PackId| inner.known.get(id).map_or(0, |known| known.file_bytes);
        inner.file_bytes
            + inner.written.iter().map(|(id, len)| len.saturating_sub(committed(id))).sum::<u64>()
    }

    /// Bytes of memory in views.
    pub(crate) fn memory_bytes(&self) -> usize {
        let inner = lock(&self.inner);
        inner.kept_bytes + inner.open.values().map(|view| view.table.memory_bytes()).sum::<usize>()
    }

    /// The pack's table, from memory or from the disk.
    pub(crate) fn view(&self, id: PackId) -> Result<Arc<View>, DiskError> {
        if let Some(view) = lock(&self.inner).get(id) {
            return Ok(view);
        }
        self.load(id)
    }

    /// The file that a view is of. One that was rewritten meanwhile is not found: the caller has to ask for the view again.
    pub(crate) fn file(&self, view: &View) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(&self.path(view.id, view.generation), Open::Read)
    }

    fn load(&self, id: PackId) -> Result<Arc<View>, DiskError> {
        let mut generation = self.known(id).map_or(0, |known| known.generation);
        let file = loop {
            match self.disk.open(&self.path(id, generation), Open::Read) {
                Err(error) if error.is_not_found() => {
                    let now = self.known(id).map_or(0, |known| known.generation);
                    if now == generation {
                        return Err(error);
                    }
                    generation = now;
                }
                other => break other?,
            }
        };
        let table = pack::load_table(&*file, &self.frame(id, generation))?;
        let view = Arc::new(View { id, generation, durable: table.len(), table });
        let mut inner = lock(&self.inner);
        if inner.known.get(&id).is_some_and(|known| known.generation == generation) {
            inner.keep(Arc::clone(&view), self.limit_bytes);
        }
        Ok(view)
    }
}

impl Inner {
    fn know(&mut self, id: PackId, known: Known) {
        self.written.remove(&id);
        let before = self.known.insert(id, known).map_or(0, |before| before.file_bytes);
        self.file_bytes = self.file_bytes - before + known.file_bytes;
    }

    fn get(&mut self, id: PackId) -> Option<Arc<View>> {
        if let Some(view) = self.open.get(&id) {
            return Some(Arc::clone(view));
        }
        self.tick += 1;
        let kept = self.kept.get_mut(&id)?;
        kept.used = self.tick;
        Some(Arc::clone(&kept.view))
    }

    fn keep(&mut self, view: Arc<View>, limit_bytes: usize) {
        self.drop_kept(view.id);
        self.tick += 1;
        self.kept_bytes += view.table.memory_bytes();
        self.kept.insert(view.id, Kept { view, used: self.tick });
        if self.kept_bytes > limit_bytes {
            self.shrink(limit_bytes / 8 * 7);
        }
    }

    /// Drops the eighth that was used longest ago at once, so that looking for it costs little for each.
    fn shrink(&mut self, limit_bytes: usize) {
        let mut ages: Vec<(u64, PackId)> = self.kept.iter().map(|(id, kept)| (kept.used, *id)).collect();
        ages.sort_unstable();
        for (_, id) in ages {
            if self.kept_bytes <= limit_bytes {
                break;
            }
            self.drop_kept(id);
        }
    }

    fn drop_kept(&mut self, id: PackId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.kept_bytes = self.kept_bytes.saturating_sub(kept.view.table.memory_bytes());
        }
    }
}
