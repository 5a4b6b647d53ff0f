//! Which packs there are, their tables, and which of them have no footer yet.
//!
//! A *view* is a pack's table in one generation. Views of sealed packs are a cache, dropped longest-unused first; those of packs
//! that are being written stay until the pack is sealed. Files are opened by who reads them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use vtl_durable::{DiskError, DiskFile};

use crate::backend::{Backend, Folder, PackName, Put};
use crate::cipher::Domain;
use crate::members::{Member, Members};
use crate::pack::{self, Frame, PackHeader, PackId, Region, Table};
use crate::recipe::{self, PackEnd};
use crate::sync::{Arc, Mutex};
use crate::types::Soon;
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

impl View {
    /// Regions whose chunks survive a power cut.
    pub(crate) fn durable_regions(&self) -> impl Iterator<Item = &Arc<Region>> {
        let mut chunks = 0;
        self.table.regions.iter().take_while(move |region| {
            chunks += region.chunks.len();
            chunks <= self.durable
        })
    }
}

/// What is known of a pack without opening it: of one that is written, as far as it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) generation: u16,
    /// In which folder of the pool it lies.
    pub(crate) member: u32,
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
    pub(crate) members: Arc<Members>,
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
    pub(crate) member: Arc<Member>,
    pub(crate) file: Arc<dyn DiskFile>,
    /// To be synced before the pack is relied on.
    pub(crate) folder: PathBuf,
    pub(crate) header: Vec<u8>,
}

/// A pack's next generation on its way.
pub(crate) struct Next {
    pub(crate) put: Box<dyn Put>,
    pub(crate) member: Arc<Member>,
}

/// One of the two ways in which a folder opens a pack.
type OpenPack = fn(&Folder, PackName) -> Result<Arc<dyn DiskFile>, DiskError>;

impl Packs {
    pub(crate) fn new(members: Arc<Members>, domain: Arc<Domain>, epoch: u64, limit_bytes: usize) -> Self {
        Self { members, domain, epoch, limit_bytes, inner: Mutex::default() }
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

    /// Makes the file of a new pack; nothing is written to it.
    pub(crate) fn create(&self, soon: Soon) -> Result<Created, DiskError> {
        let mut member = self.members.for_new_pack();
        let id = self.reserve_id(&member);
        // Who empties a folder says so first and looks for packs afterwards: one of the two is seen.
        if member.is_leaving() {
            member = self.members.by_number(0);
            self.moved(id, member.number);
        }
        match member.folder.create(id, soon) {
            Ok((file, folder)) => Ok(Created { id, member, file, folder, header: self.header(id, 0) }),
            Err(error) => {
                self.members.blame(&member, &error);
                self.forget(id);
                Err(error)
            }
        }
    }

    fn reserve_id(&self, member: &Member) -> PackId {
        let state = PackState::Unsealed { durable_end: 0 };
        let member = member.number;
        let known =
            Known { generation: 0, member, file_bytes: 0, content_bytes: 0, raw_bytes: 0, chunks: 0, state };
        let mut inner = lock(&self.inner);
        let id = PackId { epoch: self.epoch, number: inner.next };
        inner.next += 1;
        inner.epochs.insert(id.epoch);
        inner.known.insert(id, known);
        inner.uncommitted.insert(id);
        id
    }

    /// Whether the next generation of a pack of this length has room anywhere.
    pub(crate) fn has_room_for_next(&self, bytes: u64) -> Result<bool, DiskError> {
        Ok(self.members.for_next(bytes)?.is_some())
    }

    /// Begins a pack's next generation. Without room for it anywhere it is tried where the pack lies.
    pub(crate) fn put_next(&self, id: PackId, generation: u16) -> Result<Next, DiskError> {
        let known = self.known(id);
        let chosen = self.members.for_next(known.map_or(0, |known| known.file_bytes))?;
        let member = chosen.unwrap_or_else(|| self.member_of(id));
        let put = member.folder.put(PackName { id, generation });
        let mut put = put.inspect_err(|error| self.members.blame(&member, error))?;
        put.write(&[io::IoSlice::new(&self.header(id, generation))])?;
        Ok(Next { put, member })
    }

    fn header(&self, id: PackId, generation: u16) -> Vec<u8> {
        PackHeader { store_id: self.domain.store_id, id, generation }.encode()
    }

    /// The folder that the pack lies in; the home for one that is nowhere.
    pub(crate) fn member_of(&self, id: PackId) -> Arc<Member> {
        self.members.by_number(self.known(id).map_or(0, |known| known.member))
    }

    /// The pack's file is in this folder from now on.
    pub(crate) fn moved(&self, id: PackId, member: u32) {
        if let Some(known) = lock(&self.inner).known.get_mut(&id) {
            known.member = member;
        }
    }

    /// Takes a pack's file away, in the generation and from the folder that it is known in.
    pub(crate) fn delete(&self, id: PackId) -> Result<(), DiskError> {
        let Some(known) = self.known(id) else { return Ok(()) };
        self.members.by_number(known.member).folder.delete(PackName { id, generation: known.generation })
    }

    /// What was deleted does not come back.
    pub(crate) fn settle_deletions(&self) -> Result<(), DiskError> {
        // One that fails does not keep the others from being settled.
        let mut result = Ok(());
        for member in self.members.all().iter() {
            result = result.and(member.folder.settle());
        }
        result
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
                        true => self.content_bytes(*end, known.generation, table.regions.len(), table.len()),
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
        let member = self.known(view.id).map_or(0, |known| known.member);
        self.sealed_in(member, view, file_bytes);
    }

    /// The same, in this folder.
    pub(crate) fn sealed_in(&self, member: u32, view: View, file_bytes: u64) {
        let mut inner = lock(&self.inner);
        inner.open.remove(&view.id);
        inner.uncommitted.remove(&view.id);
        let known = Known {
            generation: view.generation,
            member,
            file_bytes,
            content_bytes: self.content_bytes(
                file_bytes,
                view.generation,
                view.table.regions.len(),
                view.table.len(),
            ),
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

    /// The pack is gone for good.
    pub(crate) fn forget(&self, id: PackId) {
        lock(&self.inner).forget(id);
    }

    /// The pack, which no commit has named, is gone, and may be there again after a power cut. No journal file that is begun meanwhile leaves it out.
    pub(crate) fn may_come_back(&self, id: PackId) {
        let mut inner = lock(&self.inner);
        inner.forget(id);
        inner.uncommitted.insert(id);
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
    pub(crate) fn content_bytes(
        &self,
        file_bytes: u64,
        generation: u16,
        regions: usize,
        chunks: usize,
    ) -> u64 {
        let footer = pack::footer_len(&self.domain, generation, regions, chunks);
        file_bytes.saturating_sub(pack::PAGE + footer)
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
        let (generation, file) = self.open_file(view.id, Backend::open_to_stream)?;
        if generation == view.generation { Ok(file) } else { Err(not_found(&self.path(view.id))) }
    }

    /// The pack's file in its newest generation, wherever it lies by now.
    fn open_file(&self, id: PackId, open: OpenPack) -> Result<(u16, Arc<dyn DiskFile>), DiskError> {
        let mut known = self.known(id);
        loop {
            let Some(at) = known else { return Err(not_found(&self.path(id))) };
            let name = PackName { id, generation: at.generation };
            match open(&self.members.by_number(at.member).folder, name) {
                Err(error) if error.is_not_found() => {
                    let place = |known: Option<Known>| known.map(|known| (known.generation, known.member));
                    let now = self.known(id);
                    if place(now) == place(known) {
                        return Err(error);
                    }
                    known = now;
                }
                other => return other.map(|file| (at.generation, file)),
            }
        }
    }

    /// Where the pack is, or would be.
    pub(crate) fn path(&self, id: PackId) -> PathBuf {
        let generation = self.known(id).map_or(0, |known| known.generation);
        self.member_of(id).folder.path(PackName { id, generation })
    }

    fn load(&self, id: PackId) -> Result<Arc<View>, DiskError> {
        // Of one that is being written, and whose writer has told nothing yet, nothing is committed, and in a moment the file has more.
        let is_sealed = self.known(id).is_some_and(|known| known.state == PackState::Sealed);
        let (generation, file) = self.open_file(id, Backend::open)?;
        let table = pack::load_table(&*file, &self.frame(id, generation))?;
        let durable = if is_sealed { table.len() } else { 0 };
        let view = Arc::new(View { id, generation, durable, table });
        let mut inner = lock(&self.inner);
        if is_sealed && inner.known.get(&id).is_some_and(|known| known.generation == generation) {
            inner.keep(Arc::clone(&view), self.limit_bytes);
        }
        Ok(view)
    }
}

fn not_found(path: &Path) -> DiskError {
    DiskError::new("open", path, io::Error::from(io::ErrorKind::NotFound))
}

impl Inner {
    fn know(&mut self, id: PackId, known: Known) {
        self.written.remove(&id);
        let before = self.known.insert(id, known).map_or(0, |before| before.file_bytes);
        self.file_bytes = self.file_bytes - before + known.file_bytes;
    }

    fn forget(&mut self, id: PackId) {
        let gone = self.known.remove(&id).map_or(0, |known| known.file_bytes);
        self.file_bytes -= gone;
        self.written.remove(&id);
        self.uncommitted.remove(&id);
        self.open.remove(&id);
        self.drop_kept(id);
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
