//! Where sealed packs lie.
//!
//! A [`Backend`] takes whole packs, gives ranges of them, and deletes them. Nothing is ever appended to a pack that it has, renamed or written
//! over: a pack's name has its generation, no name comes twice with other content. That is what an object store can do as well; [`Folder`] does it
//! with files, and is where packs that are still being appended to lie.

use std::collections::BTreeSet;
use std::fmt;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use vtl_durable::{Disk, DiskError, DiskFile, Open, sealed};

use crate::pack::PackId;
use crate::sync::{Arc, Mutex};
use crate::types::{DirectIo, Soon};
use crate::workers::lock;

/// A pack in one generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackName {
    pub(crate) id: PackId,
    pub(crate) generation: u16,
}

/// A place for sealed packs.
pub(crate) trait Backend: Send + Sync + fmt::Debug {
    /// All packs that were put and not deleted, ascending.
    fn list(&self) -> Result<Vec<PackName>, DiskError>;
    /// At start: removes what was on its way at the last [`Backend::list`] and was never published.
    fn sweep(&self) -> Result<(), DiskError>;
    /// A pack's bytes, to be read in ranges and nothing else.
    fn open(&self, name: PackName) -> Result<Arc<dyn DiskFile>, DiskError>;
    /// The same, by whoever reads a region after the other, each once.
    fn open_to_stream(&self, name: PackName) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.open(name)
    }
    /// Begins to put a pack. It is there when [`Put::publish`] returns, and not at all when the `Put` is dropped before.
    fn put(&self, name: PackName) -> Result<Box<dyn Put>, DiskError>;
    /// Takes a pack away; for good after [`Backend::settle`].
    fn delete(&self, name: PackName) -> Result<(), DiskError>;
    /// What was deleted does not come back.
    fn settle(&self) -> Result<(), DiskError>;
    /// Bytes that can still be put.
    fn free_bytes(&self) -> Result<u64, DiskError>;
}

/// A pack on its way.
pub(crate) trait Put {
    /// The next bytes.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), DiskError>;
    /// What was written survives a power cut, and still is no pack. An error costs the work, nothing else.
    fn seal(&mut self) -> Result<(), DiskError>;
    /// Makes it a pack. After an error it may be one or not.
    fn publish(self: Box<Self>) -> Result<(), DiskError>;
}

/// Packs as files: `XX/EPOCH-NUMBER.GENERATION.pack`.
pub(crate) struct Folder {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    direct_io: DirectIo,
    /// Folders that exist for sure.
    made: Mutex<BTreeSet<String>>,
    /// Folders that lost a name.
    dirty: Mutex<BTreeSet<PathBuf>>,
    /// What the last listing found of packs that were never published.
    drafts: Mutex<Vec<PathBuf>>,
}

impl Folder {
    pub(crate) fn new(disk: Arc<dyn Disk>, root: PathBuf, direct_io: DirectIo) -> Self {
        Self {
            disk,
            root,
            direct_io,
            made: Mutex::default(),
            dirty: Mutex::default(),
            drafts: Mutex::default(),
        }
    }

    fn folder(&self, id: PackId) -> PathBuf {
        self.root.join(id.folder())
    }

    pub(crate) fn path(&self, name: PackName) -> PathBuf {
        self.folder(name.id).join(name.id.file_name(name.generation))
    }

    /// The file of a new pack, to be appended to in whole pages, and the folder to be synced before it is relied on.
    pub(crate) fn create(&self, id: PackId, soon: Soon) -> Result<(Arc<dyn DiskFile>, PathBuf), DiskError> {
        self.make_folder(id)?;
        let path = self.path(PackName { id, generation: 0 });
        let file = match self.direct_io.writes_past(&*self.disk, soon) {
            true => self.disk.open_direct(&path, Open::Create)?,
            false => self.disk.open(&path, Open::Create)?,
        };
        Ok((file, self.folder(id)))
    }

    /// The file of a pack without a footer, to be ended.
    pub(crate) fn open_unsealed(&self, id: PackId) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(&self.path(PackName { id, generation: 0 }), Open::Write)
    }

    fn make_folder(&self, id: PackId) -> Result<(), DiskError> {
        let name = id.folder();
        if lock(&self.made).contains(&name) {
            return Ok(());
        }
        self.disk.create_folder(&self.root.join(&name))?;
        self.disk.sync_folder(&self.root)?;
        lock(&self.made).insert(name);
        Ok(())
    }

    /// The names of this pack are on the medium.
    pub(crate) fn sync_names(&self, id: PackId) -> Result<(), DiskError> {
        self.disk.sync_folder(&self.folder(id))
    }

    /// A file that somebody else may have put here survives a power cut.
    pub(crate) fn sync_all(&self, name: PackName) -> Result<(), DiskError> {
        self.disk.open(&self.path(name), Open::Write)?.sync_data()?;
        self.sync_names(name.id)?;
        self.disk.sync_folder(&self.root)
    }
}

impl Backend for Folder {
    fn list(&self) -> Result<Vec<PackName>, DiskError> {
        let (mut names, mut drafts) = (Vec::new(), Vec::new());
        for folder in self.disk.list(&self.root)?.iter().filter(|found| found.is_folder) {
            let path = self.root.join(&folder.name);
            for file in self.disk.list(&path)? {
                if sealed::is_leftover(&file.name) {
                    drafts.push(path.join(&file.name));
                }
                let ours = PackId::parse(&file.name).filter(|(id, _)| id.folder() == folder.name);
                names.extend(ours.map(|(id, generation)| PackName { id, generation }));
            }
        }
        names.sort_unstable();
        *lock(&self.drafts) = drafts;
        Ok(names)
    }

    fn sweep(&self) -> Result<(), DiskError> {
        let drafts = std::mem::take(&mut *lock(&self.drafts));
        drafts.iter().try_for_each(|draft| self.disk.unlink(draft))
    }

    fn open(&self, name: PackName) -> Result<Arc<dyn DiskFile>, DiskError> {
        self.disk.open(&self.path(name), Open::Read)
    }

    fn open_to_stream(&self, name: PackName) -> Result<Arc<dyn DiskFile>, DiskError> {
        match self.direct_io {
            DirectIo::Off => self.open(name),
            DirectIo::Auto | DirectIo::On => self.disk.open_direct(&self.path(name), Open::Read),
        }
    }

    fn put(&self, name: PackName) -> Result<Box<dyn Put>, DiskError> {
        self.make_folder(name.id)?;
        let path = self.path(name);
        let draft = sealed::leftover(&path);
        match self.disk.unlink(&draft) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        let file = self.disk.open(&draft, Open::Create)?;
        let disk = Arc::clone(&self.disk);
        Ok(Box::new(FilePut { disk, file, draft, path, end: 0, named: false }))
    }

    fn delete(&self, name: PackName) -> Result<(), DiskError> {
        self.disk.unlink(&self.path(name))?;
        lock(&self.dirty).insert(self.folder(name.id));
        Ok(())
    }

    fn settle(&self) -> Result<(), DiskError> {
        let dirty = std::mem::take(&mut *lock(&self.dirty));
        let mut result = Ok(());
        for folder in dirty {
            result = result.and(self.disk.sync_folder(&folder));
        }
        result
    }

    fn free_bytes(&self) -> Result<u64, DiskError> {
        self.disk.free_bytes(&self.root)
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A file under a name that no start takes for a pack.
struct FilePut {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    draft: PathBuf,
    path: PathBuf,
    end: u64,
    named: bool,
}

impl Put for FilePut {
    fn write(&mut self, parts: &[IoSlice<'_>]) -> Result<(), DiskError> {
        self.file.write_at(self.end, parts)?;
        self.end += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        Ok(())
    }

    fn seal(&mut self) -> Result<(), DiskError> {
        self.file.sync_data()
    }

    fn publish(mut self: Box<Self>) -> Result<(), DiskError> {
        self.disk.rename(&self.draft, &self.path)?;
        self.named = true;
        self.disk.sync_folder(self.path.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for FilePut {
    fn drop(&mut self) {
        if !self.named {
            // Best effort: a start removes what is left.
            let _ = self.disk.unlink(&self.draft);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtl_durable::SimDisk;

    const NAME: PackName = PackName { id: PackId { epoch: 1 << 32, number: 0x1234 }, generation: 2 };

    fn folder(disk: &SimDisk) -> Folder {
        disk.create_folder(Path::new("/packs")).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        Folder::new(Arc::new(disk.clone()), PathBuf::from("/packs"), DirectIo::On)
    }

    /// What every backend has to do.
    fn behaves(backend: &dyn Backend) {
        assert_eq!(backend.list().unwrap(), []);
        assert!(backend.open(NAME).unwrap_err().is_not_found());
        assert!(backend.delete(NAME).unwrap_err().is_not_found());
        drop(backend.put(NAME).unwrap());
        let mut put = backend.put(NAME).unwrap();
        put.write(&[IoSlice::new(b"hel"), IoSlice::new(b"lo ")]).unwrap();
        put.write(&[IoSlice::new(b"pack")]).unwrap();
        put.seal().unwrap();
        assert_eq!(backend.list().unwrap(), [], "not before it is published");
        put.publish().unwrap();
        assert_eq!(backend.list().unwrap(), [NAME]);
        let mut bytes = Vec::new();
        let pack = backend.open(NAME).unwrap();
        assert_eq!(pack.read_at(4, 100, &mut bytes).unwrap(), 6);
        assert_eq!((bytes.as_slice(), pack.size().unwrap()), (&b"o pack"[..], 10));
        backend.delete(NAME).unwrap();
        backend.settle().unwrap();
        assert_eq!(backend.list().unwrap(), []);
    }

    #[test]
    fn a_folder_takes_gives_and_deletes_whole_packs() {
        behaves(&folder(&SimDisk::new(1)));
    }

    #[test]
    fn a_power_cut_while_a_pack_is_put_leaves_all_of_it_or_nothing() {
        for seed in 0..20 {
            for step in 0.. {
                let disk = SimDisk::new(seed);
                let place = folder(&disk);
                disk.crash_at(disk.steps() + step);
                let put = || -> Result<(), DiskError> {
                    let mut put = place.put(NAME)?;
                    put.write(&[IoSlice::new(&[7; 3000])])?;
                    put.seal()?;
                    put.publish()
                };
                let done = put().is_ok();
                let after = disk.after_crash(seed * 100 + step);
                let place = folder(&after);
                let found = place.list().unwrap();
                place.sweep().unwrap();
                assert!(found == [NAME] || (found.is_empty() && !done), "seed {seed}, step {step}");
                if let [name] = *found {
                    assert_eq!(after.contents(&place.path(name)).unwrap(), [7; 3000]);
                }
                assert_eq!(after.files().len(), found.len());
                if done {
                    break;
                }
            }
        }
    }
}
