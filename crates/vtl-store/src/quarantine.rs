//! Chunks that are known to be damaged: nothing new refers to them, and their content is put back when it is found elsewhere.
//!
//! File `quarantine`, byte table in `docs/formats/quarantine.md`. It is a memory of findings, not a truth: without it each finding is made
//! again by the next reader or check.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use vtl_durable::Disk;
use vtl_durable::sealed::{self, Kind};
use vtl_durable::wire::{Malformed, Reader, Writer};

use crate::cipher::{Domain, Use};
use crate::codec::Fingerprint;
use crate::pack::PackId;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, Mutex};
use crate::workers::lock;

const NAME: &str = "quarantine";
pub(crate) const KIND: Kind = Kind { magic: *b"VTLQUAR\0", version: 0 };
const RECORD: usize = 52;
/// More damage than this is remembered by nobody: the disk is dying.
const MAX_ENTRIES: usize = 1 << 20;

/// A damaged chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) pack: PackId,
    /// Raw address.
    pub(crate) at: u32,
    pub(crate) len: u32,
    pub(crate) fingerprint: Fingerprint,
}

pub(crate) struct Quarantine {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    domain: Arc<Domain>,
    /// Whether there is anything: nearly always there is not.
    any: AtomicBool,
    inner: Mutex<Inner>,
    /// Held while the file is written: who writes it last knows what all before knew.
    saving: Mutex<()>,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<(PackId, u32), Damaged>,
    contents: HashSet<Fingerprint>,
    /// Content of a damaged chunk has been stored again.
    came_back: bool,
    unsaved: bool,
}

impl Quarantine {
    /// What earlier findings left. A file that cannot be read is as good as none.
    pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path, domain: Arc<Domain>) -> Self {
        let unreadable = |why: &dyn std::fmt::Display| {
            tracing::warn!(%why, "the list of damaged chunks is not readable, a check makes it again");
            Vec::new()
        };
        let entries = match sealed::read(&*disk, &root.join(NAME), KIND) {
            Ok(payload) => match domain.open_whole(Use::Quarantine, &[], payload) {
                Ok(text) => decode(&text, domain.store_id).unwrap_or_else(|error| unreadable(&error)),
                Err(error) => unreadable(&error),
            },
            Err(sealed::SealedError::Disk(error)) if error.is_not_found() => Vec::new(),
            Err(error) => unreadable(&error),
        };
        let mut inner = Inner::default();
        entries.into_iter().for_each(|damaged| inner.add(damaged));
        inner.unsaved = false;
        let any = AtomicBool::new(!inner.entries.is_empty());
        let (inner, saving) = (Mutex::new(inner), Mutex::default());
        Self { disk, root: root.to_path_buf(), domain, any, inner, saving }
    }

    /// Whether the chunk at this raw address is damaged.
    pub(crate) fn holds(&self, pack: PackId, at: u32) -> bool {
        self.any.load(Ordering::Relaxed) && lock(&self.inner).entries.contains_key(&(pack, at))
    }

    /// Whether it was not known yet.
    pub(crate) fn add(&self, damaged: Damaged) -> bool {
        let mut inner = lock(&self.inner);
        let is_new = !inner.entries.contains_key(&(damaged.pack, damaged.at));
        if is_new && inner.entries.len() < MAX_ENTRIES {
            inner.add(damaged);
            self.any.store(true, Ordering::Relaxed);
        }
        is_new
    }

    /// The chunk is whole again, or gone.
    pub(crate) fn release(&self, pack: PackId, at: u32) {
        lock(&self.inner).remove((pack, at));
    }

    /// The pack is gone.
    pub(crate) fn release_pack(&self, pack: PackId) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = lock(&self.inner);
        let keys: Vec<_> = inner.entries.range((pack, 0)..=(pack, u32::MAX)).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| inner.remove(key));
    }

    /// New content was stored; notes when it is what a damaged chunk lacks.
    pub(crate) fn look_at<'a>(&self, mut fingerprints: impl Iterator<Item = &'a Fingerprint>) {
        if self.any.load(Ordering::Relaxed) {
            let mut inner = lock(&self.inner);
            let back = fingerprints.any(|fingerprint| inner.contents.contains(fingerprint));
            inner.came_back |= back;
        }
    }

    /// Whether content of a damaged chunk has come back since the last asking.
    pub(crate) fn take_came_back(&self) -> bool {
        std::mem::take(&mut lock(&self.inner).came_back)
    }

    /// Damaged chunks that begin in a range of raw addresses of a pack.
    pub(crate) fn within(&self, pack: PackId, raw: std::ops::Range<u64>) -> Vec<Damaged> {
        if !self.any.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let [from, to] = [raw.start, raw.end].map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        lock(&self.inner).entries.range((pack, from)..(pack, to.max(from))).map(|(_, one)| *one).collect()
    }

    /// How many, and the raw bytes in them.
    pub(crate) fn sums(&self) -> (u64, u64) {
        let inner = lock(&self.inner);
        (inner.entries.len() as u64, inner.entries.values().map(|one| u64::from(one.len)).sum())
    }

    /// Why the file does not say what is known here, if so; then it is written anew.
    pub(crate) fn mend(&self) -> Option<String> {
        let why = match sealed::read(&*self.disk, &self.root.join(NAME), KIND) {
            Ok(payload) => match self.domain.open_whole(Use::Quarantine, &[], payload) {
                Ok(text) => decode(&text, self.domain.store_id).err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            },
            Err(sealed::SealedError::Disk(error)) if error.is_not_found() => None,
            Err(error) => Some(error.to_string()),
        }?;
        lock(&self.inner).unsaved = true;
        self.save();
        Some(why)
    }

    pub(crate) fn all(&self) -> Vec<Damaged> {
        lock(&self.inner).entries.values().copied().collect()
    }

    /// Remembers the findings. What cannot be written is written with the next ones, or when the pool is closed.
    pub(crate) fn save(&self) {
        let _one_at_a_time = lock(&self.saving);
        let payload = {
            let mut inner = lock(&self.inner);
            self.any.store(!inner.entries.is_empty(), Ordering::Relaxed);
            if !std::mem::take(&mut inner.unsaved) {
                return;
            }
            encode(self.domain.store_id, inner.entries.values())
        };
        let sealed = self.domain.seal_whole(Use::Quarantine, &[], payload);
        let saved = sealed.and_then(|payload| {
            let replaced = sealed::replace(&*self.disk, &self.root, NAME, KIND, &payload);
            replaced.map_err(sealed::ReplaceError::into_inner)
        });
        if let Err(error) = saved {
            lock(&self.inner).unsaved = true;
            tracing::warn!(%error, "the list of damaged chunks is not saved");
        }
    }
}

impl Inner {
    fn add(&mut self, damaged: Damaged) {
        self.contents.insert(damaged.fingerprint);
        self.entries.insert((damaged.pack, damaged.at), damaged);
        self.unsaved = true;
    }

    fn remove(&mut self, key: (PackId, u32)) {
        let Some(gone) = self.entries.remove(&key) else { return };
        self.unsaved = true;
        if !self.entries.values().any(|other| other.fingerprint == gone.fingerprint) {
            self.contents.remove(&gone.fingerprint);
        }
    }
}

fn encode<'a>(store_id: [u8; 16], entries: impl Iterator<Item = &'a Damaged>) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(&store_id);
    for damaged in entries {
        damaged.pack.put(&mut writer);
        writer.u32(damaged.at).u32(damaged.len).raw(&damaged.fingerprint);
    }
    writer.into_bytes()
}

pub(crate) fn decode(bytes: &[u8], store_id: [u8; 16]) -> Result<Vec<Damaged>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.array::<16>("store id")? != store_id {
        return Err(reader.malformed("store id"));
    }
    let mut entries = Vec::with_capacity(reader.left() / RECORD);
    while reader.left() > 0 {
        let pack = PackId::take(&mut reader)?;
        let (at, len) = (reader.u32("raw address")?, reader.u32("length")?);
        entries.push(Damaged { pack, at, len, fingerprint: reader.array("fingerprint")? });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use vtl_durable::{DiskError, DiskFile, Fault, Found, Open, SimDisk};

    const ROOT: &str = "/pool";

    const PACK: PackId = PackId { epoch: 0x0102_0304_0506_0708, number: 9 };

    fn damaged(at: u32) -> Damaged {
        Damaged { pack: PACK, at, len: 0x0456, fingerprint: [0xab; 32] }
    }

    #[test]
    fn the_list_keeps_its_bytes() {
        let mut expected = [0x55; 16].to_vec();
        expected.extend_from_slice(b"\x08\x07\x06\x05\x04\x03\x02\x01\x09\0\0\0\x23\x01\0\0\x56\x04\0\0");
        expected.extend_from_slice(&[0xab; 32]);
        assert_eq!(encode([0x55; 16], [damaged(0x0123)].iter()), expected);
        assert_eq!(decode(&expected, [0x55; 16]).unwrap(), [damaged(0x0123)]);
        assert!(decode(&expected, [0x56; 16]).is_err());
        assert!((17..expected.len()).all(|len| decode(&expected[..len], [0x55; 16]).is_err()));
    }

    #[test]
    fn findings_are_remembered_and_content_that_comes_back_is_noticed() {
        let disk = Arc::new(SimDisk::new(1));
        let root = Path::new("/pool");
        disk.create_folder(root).unwrap();
        let open =
            || Quarantine::open(Arc::clone(&disk) as Arc<dyn Disk>, root, Arc::new(Domain::plain([7; 16])));
        let quarantine = open();
        assert!(!quarantine.holds(PACK, 5));
        assert!(quarantine.add(damaged(5)) && !quarantine.add(damaged(5)) && quarantine.add(damaged(9)));
        quarantine.save();
        let quarantine = open();
        assert!(quarantine.holds(PACK, 5) && quarantine.holds(PACK, 9) && !quarantine.holds(PACK, 6));
        quarantine.look_at([[1; 32]].iter());
        assert!(!quarantine.take_came_back());
        quarantine.look_at([[1; 32], [0xab; 32]].iter());
        assert!(quarantine.take_came_back() && !quarantine.take_came_back());
        quarantine.release(PACK, 5);
        assert!(!quarantine.holds(PACK, 5));
        quarantine.release_pack(PACK);
        quarantine.save();
        assert!(open().all().is_empty());
    }

    fn blank() -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_folder(Path::new(ROOT)).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        disk
    }

    fn open(disk: Arc<dyn Disk>) -> Quarantine {
        Quarantine::open(disk, Path::new(ROOT), Arc::new(Domain::plain([7; 16])))
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        for fault in [Fault::Eio, Fault::Enospc] {
            for call in 0.. {
                let disk = blank();
                let quarantine = open(Arc::new(disk.clone()));
                quarantine.add(damaged(5));
                disk.fail_call(disk.calls() + call, fault);
                quarantine.save();
                let failed = disk.has_failed();
                disk.heal();
                quarantine.save();
                let after = open(Arc::new(disk.after_crash(call)));
                assert_eq!(after.all(), [damaged(5)], "{fault:?} at call {call}");
                if !failed {
                    assert!(call > 1, "saving makes hardly any calls");
                    break;
                }
            }
        }
    }

    #[test]
    fn of_two_that_save_at_once_the_file_has_the_findings_of_both() {
        let disk = Arc::new(Interrupted { disk: blank(), action: Mutex::default() });
        let quarantine = &open(disk.clone());
        let (begin, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                begun.recv().unwrap();
                quarantine.add(damaged(9));
                quarantine.save();
                // The one that it interrupts may have gone on.
                let _ = end.send(());
            });
            quarantine.add(damaged(5));
            *lock(&disk.action) = Some(Box::new(move || {
                begin.send(()).unwrap();
                // It comes to its end here only when it does not wait for its turn.
                let _ = ended.recv_timeout(Duration::from_millis(300));
            }));
            quarantine.save();
        });
        assert_eq!(open(disk).all(), [damaged(5), damaged(9)]);
    }

    type Action = Box<dyn FnOnce() + Send>;

    /// Does something, once, before a file is made.
    struct Interrupted {
        disk: SimDisk,
        action: Mutex<Option<Action>>,
    }

    impl std::fmt::Debug for Interrupted {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Interrupted")
        }
    }

    impl Disk for Interrupted {
        fn open(&self, path: &Path, how: Open) -> Result<Arc<dyn DiskFile>, DiskError> {
            let action = if how == Open::Create { lock(&self.action).take() } else { None };
            action.into_iter().for_each(|action| action());
            self.disk.open(path, how)
        }

        fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
            self.disk.rename(from, to)
        }

        fn unlink(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.unlink(path)
        }

        fn create_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.create_folder(path)
        }

        fn remove_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.remove_folder(path)
        }

        fn sync_folder(&self, path: &Path) -> Result<(), DiskError> {
            self.disk.sync_folder(path)
        }

        fn list(&self, path: &Path) -> Result<Vec<Found>, DiskError> {
            self.disk.list(path)
        }

        fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
            self.disk.free_bytes(path)
        }
    }
}
