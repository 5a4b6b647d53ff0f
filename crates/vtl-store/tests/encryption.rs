//! What somebody finds who has an encrypted pool's files and not its key: nothing, and no way to make the store serve what was never there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::record::{Recorder, Write, joined};
use common::{Op, ROOT, Random, Run, encrypted, key_file, owner, script};
use vtl_durable::{Disk, Open, SimDisk};
use vtl_store::{
    Encryption, GcRule, Options, PassphraseCost, PoolKey, Randomness, ReadError, Store, StoreError,
};
use vtl_types::Secret;

const LABEL: &[u8] = b"VTL001L8";
const SNAPSHOT: &[u8] = b"a snapshot that says what is on the tape";

fn open(disk: &SimDisk, options: &Options) -> Result<Store, StoreError> {
    Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone())
}

fn append(store: &Store, who: u8, bytes: &[u8], note: &[u8]) {
    store.create(owner(who), SNAPSHOT).unwrap();
    let mut stream = store.open_stream(owner(who)).unwrap();
    stream.append(&[Bytes::copy_from_slice(bytes)], false).unwrap();
    stream.commit(note).unwrap();
}

fn read_all(store: &Store, who: u8) -> Result<Vec<u8>, ReadError> {
    let mut stream = store.open_stream(owner(who)).unwrap();
    let len = stream.len();
    stream.read(0, len).map(|pieces| pieces.concat())
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Content that anybody may know: some in chunks, and one thing that is a chunk by itself.
fn known() -> (Vec<u8>, Vec<u8>) {
    (noise(1, 30_000), b"a known letter".to_vec())
}

/// A pool with something in every kind of file: packs of two generations, journal, heads, index, quarantine. Every content of every file that
/// ever was on the disk.
fn everything_ever_written(options: &Options) -> Vec<Vec<u8>> {
    let recorder = Recorder::default();
    let disk = recorder.over(SimDisk::new(1));
    let open = || Store::open(Arc::new(disk.clone()), Path::new(ROOT), options.clone()).unwrap();
    let store = open();
    let (long, short) = known();
    append(&store, 1, &[&long[..], &noise(2, 20_000)].concat(), LABEL);
    append(&store, 2, &short, LABEL);
    append(&store, 3, &noise(3, 9000), LABEL);
    let mut stream = store.open_stream(owner(1)).unwrap();
    stream.truncate(40_000).unwrap();
    stream.commit(LABEL).unwrap();
    drop((stream, store));
    let store = open();
    store.remove(owner(3)).unwrap();
    assert!(store.gc(GcRule { dead_percent: 1, ..GcRule::default() }).unwrap().rewritten > 0);
    drop(store);
    let packs =
        disk.disk.files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack"));
    let pack = packs.max_by_key(|file| disk.disk.contents(file).unwrap().len()).unwrap();
    disk.disk.flip_bit(&pack, 4096 + 2000, 3);
    let store = open();
    assert!(!store.check().findings.is_empty());
    store.rebuild_index().unwrap();
    drop(store);
    for kind in ["pack", "journal", "head", "quarantine", "manifest", "table"] {
        assert!(disk.disk.files().iter().any(|file| file.display().to_string().contains(kind)), "{kind}");
    }
    joined(recorder.take()).into_iter().map(|write| write.bytes).collect()
}

fn holds(writes: &[Vec<u8>], part: &[u8]) -> bool {
    writes.iter().any(|bytes| bytes.windows(part.len()).any(|window| window == part))
}

/// Fingerprints in packs that are not encrypted, as docs/formats/pack.md says where they are.
fn fingerprints(writes: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for bytes in writes {
        for at in regions(bytes) {
            let chunks = u16::from_le_bytes(bytes[at + 6..at + 8].try_into().unwrap()) as usize;
            let entries = bytes.get(at + 40..at + 40 + 40 * chunks).unwrap_or_default();
            all.extend(entries.chunks(40).map(|entry| entry[..32].to_vec()));
        }
    }
    all
}

/// Where region headers begin.
fn regions(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len().saturating_sub(40)).filter(|at| bytes[*at..].starts_with(b"vRgn")).collect()
}

#[test]
fn neither_content_nor_its_fingerprints_nor_labels_nor_notes_are_ever_on_the_disk() {
    let plain = everything_ever_written(&Options::small());
    let sealed = everything_ever_written(&encrypted(&Options::small()));
    let (long, short) = known();
    let mut parts: Vec<Vec<u8>> = long.chunks(997).map(|part| part[..16.min(part.len())].to_vec()).collect();
    parts.extend([LABEL.to_vec(), SNAPSHOT.to_vec(), short.clone()]);
    let prints = fingerprints(&plain);
    assert!(prints.contains(&blake3::hash(&short).as_bytes()[..]) && prints.len() > 50);
    // The index has the first half of each.
    parts.extend(prints.iter().map(|print| print[..8].to_vec()));
    // What lies across the end of a region is not in one piece even where nothing is sealed.
    let found: Vec<_> = parts.iter().filter(|part| holds(&plain, part)).collect();
    assert!(found.len() * 10 > parts.len() * 9, "a search that finds nothing proves nothing");
    for part in [LABEL, SNAPSHOT, &short] {
        assert!(holds(&plain, part), "{part:02x?}");
    }
    for part in parts {
        assert!(!holds(&sealed, &part), "{part:02x?}");
    }
}

#[test]
fn two_pools_of_the_same_content_share_nothing_but_what_every_pool_has() {
    let pool = |start_random| {
        let options = Options { start_random, ..Options::small() };
        everything_ever_written(&encrypted(&options))
    };
    let windows = |writes: &[Vec<u8>]| -> BTreeSet<[u8; 12]> {
        let all = writes.iter().flat_map(|bytes| bytes.windows(12).map(|window| window.try_into().unwrap()));
        // Headers have zeros and small numbers in common; sealed bytes hardly ever have two zeros in twelve.
        all.filter(|window: &[u8; 12]| window.iter().filter(|byte| **byte == 0).count() < 2).collect()
    };
    let (one, two) = (windows(&pool(1)), windows(&pool(2)));
    let both: Vec<_> = one.intersection(&two).filter(|window| !window.is_ascii()).collect();
    assert!(one.len() > 50_000 && both.is_empty(), "{both:02x?}");
    let control = windows(&everything_ever_written(&Options { start_random: 1, ..Options::small() }));
    let other = windows(&everything_ever_written(&Options { start_random: 2, ..Options::small() }));
    assert!(control.intersection(&other).count() > 10_000, "without keys they do");
}

/// A pool whose regions all have the same lengths, and its one pack.
fn alike() -> (SimDisk, Options, PathBuf) {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options { dedupe: false, pack_bytes: 64 << 10, ..Options::small() });
    let store = open(&disk, &options).unwrap();
    append(&store, 1, &noise(4, 40 * 1024), b"");
    drop(store);
    let pack =
        disk.files().into_iter().find(|file| file.extension().is_some_and(|end| end == "pack")).unwrap();
    (disk, options, pack)
}

fn put(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    let file = disk.open(path, Open::Write).unwrap();
    file.set_size(0).unwrap();
    file.write_at(0, &[IoSlice::new(bytes)]).unwrap();
    file.sync_data().unwrap();
}

/// Header fields of a region, in the middle of a pack that has no other use: pack id and both checksums made right.
fn forge(region: &mut [u8], pack_id: &[u8], head_len: usize) {
    region[16..28].copy_from_slice(pack_id);
    let crc = crc32c::crc32c(&region[head_len..]);
    region[28..32].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&region[..36]), &region[40..head_len]);
    region[36..40].copy_from_slice(&crc.to_le_bytes());
}

/// Whole regions of a pack: those behind the last are the footer's copies of headers.
fn whole_regions(bytes: &[u8]) -> (Vec<usize>, usize, usize) {
    let all = regions(bytes);
    let (first, second) = (all[0], all[1]);
    let chunks = u16::from_le_bytes(bytes[first + 6..first + 8].try_into().unwrap()) as usize;
    let len = second - first;
    let whole = all.windows(2).filter(|pair| pair[1] - pair[0] == len).map(|pair| pair[0]).collect();
    (whole, len, 40 + 1 + 40 * chunks + 28)
}

#[derive(PartialEq)]
enum Moved {
    /// With its header and entries.
    Region,
    /// The stored bytes alone.
    Stored,
}

#[test]
fn a_region_that_was_moved_within_its_pack_is_refused_and_others_are_served() {
    let cases = [
        // What is moved, whether the footer is there to contradict it, what is told.
        (Moved::Region, true, "sealed bytes are damaged"),
        (Moved::Region, false, "header is lost"),
        (Moved::Stored, false, "not the one that was sealed for this place"),
    ];
    for (what, with_footer, told) in cases {
        let (disk, options, pack) = alike();
        let right = noise(4, 40 * 1024);
        let mut bytes = disk.contents(&pack).unwrap();
        let (regions, len, head_len) = whole_regions(&bytes);
        assert!(regions.len() > 10, "{regions:?}");
        let (from, to) = (regions[2], regions[5]);
        let id = bytes[from + 16..from + 28].to_vec();
        let mut moved = bytes[from..from + len].to_vec();
        if what == Moved::Stored {
            moved[..head_len].copy_from_slice(&bytes[to..to + head_len]);
        }
        forge(&mut moved, &id, head_len);
        bytes[to..to + len].copy_from_slice(&moved);
        if !with_footer {
            let end = bytes.len();
            bytes[end - 64..].fill(0);
        }
        put(&disk, &pack, &bytes);
        let store = open(&disk, &options).unwrap();
        let mut stream = store.open_stream(owner(1)).unwrap();
        let (mut lost, mut why) = (0, String::new());
        for at in (0..right.len()).step_by(1024) {
            match stream.read(at as u64, 1024) {
                Ok(found) => assert_eq!(found.concat(), right[at..at + 1024]),
                Err(ReadError::Damaged { why: what, .. }) => (lost, why) = (lost + 1024, what),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(lost, 2048, "one region: {why}");
        assert!(why.contains(told), "{why}");
        drop(stream);
        assert!(!store.check().findings.is_empty());
    }
}

#[test]
fn a_region_of_another_pool_or_pack_with_the_same_key_file_is_refused() {
    let (disk, options, pack) = alike();
    let other_disk = SimDisk::new(2);
    let other = encrypted(&Options { start_random: 99, ..options.clone() });
    let store = open(&other_disk, &other).unwrap();
    append(&store, 1, &noise(4, 40 * 1024), b"");
    drop(store);
    // A second pack of the first pool.
    let store = open(&disk, &options).unwrap();
    append(&store, 2, &noise(5, 40 * 1024), b"");
    drop(store);
    let packs = |disk: &SimDisk| -> Vec<PathBuf> {
        disk.files().into_iter().filter(|file| file.extension().is_some_and(|end| end == "pack")).collect()
    };
    let donors =
        packs(&disk).into_iter().filter(|file| *file != pack).map(|file| disk.contents(&file).unwrap());
    let donors: Vec<_> =
        donors.chain(packs(&other_disk).iter().map(|file| other_disk.contents(file).unwrap())).collect();
    assert!(donors.len() >= 2);
    let whole = disk.contents(&pack).unwrap();
    for donor in donors {
        let mut bytes = whole.clone();
        let (regions, len, head_len) = whole_regions(&bytes);
        let id = bytes[regions[3] + 16..regions[3] + 28].to_vec();
        let mut moved = donor[regions[3]..regions[3] + len].to_vec();
        forge(&mut moved, &id, head_len);
        bytes[regions[3]..regions[3] + len].copy_from_slice(&moved);
        put(&disk, &pack, &bytes);
        let store = open(&disk, &options).unwrap();
        assert!(matches!(read_all(&store, 1), Err(ReadError::Damaged { .. })));
    }
}

#[test]
fn a_journal_record_that_was_put_in_the_place_of_another_is_refused() {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options::small());
    let store = open(&disk, &options).unwrap();
    store.create(owner(1), b"").unwrap();
    let mut stream = store.open_stream(owner(1)).unwrap();
    (0..4).for_each(|number| stream.commit(&[number; 100]).unwrap());
    let disk = disk.after_crash(1);
    let journal = disk.files().into_iter().find(|file| file.starts_with("/pool/journal")).unwrap();
    let mut bytes = disk.contents(&journal).unwrap();
    // The last records: the same length, each in a block of its own (docs/formats/framing.md).
    let blocks: Vec<usize> =
        (0..bytes.len()).step_by(4096).filter(|at| bytes[*at..].starts_with(b"vRec")).collect();
    let &[.., from, to, _] = &blocks[..] else { panic!("{blocks:?}") };
    let len = u32::from_le_bytes(bytes[to + 4..to + 8].try_into().unwrap()) as usize;
    assert_eq!(bytes[from + 4..from + 8], bytes[to + 4..to + 8]);
    bytes.copy_within(from + 32..from + 32 + len, to + 32);
    let crc = crc32c::crc32c(&bytes[to + 32..to + 32 + len]);
    bytes[to + 24..to + 28].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[to..to + 28]);
    bytes[to + 28..to + 32].copy_from_slice(&crc.to_le_bytes());
    put(&disk, &journal, &bytes);
    let error = open(&disk, &options).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == journal), "{error}");
    assert!(error.to_string().contains("not what was sealed here"), "{error}");
}

#[test]
fn a_head_that_was_put_in_the_place_of_another_is_refused() {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options::small());
    let store = open(&disk, &options).unwrap();
    append(&store, 1, &noise(1, 3000), b"one");
    append(&store, 2, &noise(2, 3000), b"two");
    drop(store);
    let head = |who| PathBuf::from(format!("{ROOT}/owners/{}/head", owner(who)));
    put(&disk, &head(1), &disk.contents(&head(2)).unwrap());
    let store = open(&disk, &options).unwrap();
    let error = store.head(owner(1)).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { path, .. } if *path == head(1)), "{error}");
    assert!(error.to_string().contains("not what was sealed here"), "{error}");
    store.head(owner(2)).unwrap();
}

#[test]
fn a_key_and_a_pool_that_do_not_go_together_are_refused_by_name_before_anything_is_changed() {
    let plain = SimDisk::new(1);
    drop(open(&plain, &Options::small()).unwrap());
    let sealed = SimDisk::new(1);
    drop(open(&sealed, &encrypted(&Options::small())).unwrap());
    let with = |key| Options { encryption: Some(Encryption::with(key)), ..Options::small() };
    let passphrase = PoolKey::Passphrase(Secret::new(b"a made-up passphrase".to_vec()));
    let cases = [
        (&plain, with(key_file(1)), "it is not encrypted, and a key was given"),
        (&sealed, Options::small(), "it is encrypted, and no key was given"),
        (&sealed, with(key_file(2)), "this key file does not open it"),
        (&sealed, with(passphrase), "it opens with a key file, and a passphrase was given"),
    ];
    for (disk, options, told) in cases {
        let before: BTreeMap<_, _> =
            disk.files().into_iter().map(|file| (file.clone(), disk.contents(&file))).collect();
        let error = open(disk, &options).unwrap_err();
        assert!(matches!(&error, StoreError::Key { pool, .. } if pool == Path::new(ROOT)), "{error}");
        assert!(error.to_string().contains(told) && error.is_permanent(), "{error}");
        let after = disk.files().into_iter().map(|file| (file.clone(), disk.contents(&file))).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn a_rotated_pool_opens_with_its_new_key_alone_and_has_everything() {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options::small());
    let store = open(&disk, &options).unwrap();
    append(&store, 1, &noise(1, 20_000), b"one");
    assert_eq!(store.key_status().unwrap().revision, 1);
    let cost = PassphraseCost { memory_kib: 64, passes: 1 };
    let passphrase = PoolKey::Passphrase(Secret::new(b"a made-up passphrase".to_vec()));
    let packs = |disk: &SimDisk| -> Vec<_> {
        let files = disk.files().into_iter().filter(|file| file.starts_with("/pool/packs"));
        files.map(|file| disk.contents(&file)).collect()
    };
    let before = packs(&disk);
    let status = store.rotate_key(passphrase.clone(), cost).unwrap();
    assert_eq!((status.revision, status.method.to_string()), (2, "passphrase".to_owned()));
    assert_eq!(packs(&disk), before, "only the keyring is written");
    append(&store, 2, &noise(2, 20_000), b"two");
    drop(store);
    assert!(matches!(open(&disk, &options), Err(StoreError::Key { .. })));
    let random = options.encryption.as_ref().unwrap().random.clone();
    let new = Options { encryption: Some(Encryption { key: passphrase, cost, random }), ..options };
    let store = open(&disk, &new).unwrap();
    assert_eq!(read_all(&store, 1).unwrap(), noise(1, 20_000));
    assert_eq!(read_all(&store, 2).unwrap(), noise(2, 20_000));
    assert!(matches!(
        store.rotate_key(PoolKey::File(Secret::new(vec![1; 5])), cost),
        Err(StoreError::Key { .. })
    ));
    drop(store);
    open(&disk, &new).unwrap();
}

#[test]
fn a_pool_whose_keyring_is_lost_opens_again_with_an_export_of_it() {
    let disk = SimDisk::new(1);
    let options = encrypted(&Options::small());
    let store = open(&disk, &options).unwrap();
    append(&store, 1, &noise(1, 20_000), b"one");
    let (revision, export) = store.export_keyring().unwrap();
    assert!(!store.key_status().unwrap().exported);
    assert!(store.keyring_exported(revision).unwrap().exported);
    drop(store);
    for name in ["keyring", "keyring.copy"] {
        disk.unlink(&Path::new(ROOT).join(name)).unwrap();
    }
    let error = open(&disk, &options).unwrap_err();
    assert!(matches!(error, StoreError::Key { .. }), "{error}");
    assert!(error.to_string().contains("put an export"), "{error}");
    let file = disk.open(Path::new("/pool/keyring"), Open::Create).unwrap();
    file.append(&[IoSlice::new(&export)]).unwrap();
    let store = open(&disk, &options).unwrap();
    assert_eq!(read_all(&store, 1).unwrap(), noise(1, 20_000));
    assert!(store.key_status().unwrap().exported);
    let plain = open(&SimDisk::new(2), &Options::small()).unwrap();
    assert!(matches!(plain.export_keyring(), Err(StoreError::Key { .. })));
    assert!(plain.key_status().is_none());
}

#[test]
fn without_random_numbers_nothing_is_written_and_nothing_is_lost() {
    let disk = SimDisk::new(1);
    let mut options = encrypted(&Options::small());
    let works = Arc::new(Mutex::new(true));
    let (state, row) = (Arc::clone(&works), Mutex::new(Random(5)));
    options.encryption.as_mut().unwrap().random = Randomness::from_fn(move |bytes| {
        if !*state.lock().unwrap() {
            return Err(std::io::Error::other("no entropy"));
        }
        bytes.iter_mut().for_each(|byte| *byte = row.lock().unwrap().next() as u8);
        Ok(())
    });
    let store = open(&disk, &options).unwrap();
    append(&store, 1, &noise(1, 5000), b"one");
    *works.lock().unwrap() = false;
    let mut stream = store.open_stream(owner(1)).unwrap();
    let appended = stream.append(&[Bytes::from(noise(2, 5000))], false);
    let result = appended.and_then(|()| stream.commit(b"two"));
    assert!(matches!(result, Err(StoreError::LateWrite { kept_bytes: 5000, .. })), "{result:?}");
    assert_eq!(stream.read(0, 5000).unwrap().concat(), noise(1, 5000));
    *works.lock().unwrap() = true;
    stream.append(&[Bytes::from(noise(2, 5000))], false).unwrap();
    stream.commit(b"two").unwrap();
    assert_eq!(stream.read(5000, 5000).unwrap().concat(), noise(2, 5000));
}

/// What was sealed, by the name of its key and its nonce.
#[derive(Default)]
struct Sealings {
    seen: HashMap<(Vec<u8>, [u8; 12]), Vec<u8>>,
    /// How many by kind of file.
    kinds: BTreeMap<&'static str, usize>,
}

impl Sealings {
    fn add(&mut self, kind: &'static str, key: &[u8], sealed: &[u8]) {
        let (text, nonce) = sealed.split_last_chunk::<12>().unwrap();
        let key = [kind.as_bytes(), key].concat();
        let before = self.seen.insert((key, *nonce), text.to_vec());
        // A keyring whose copy is behind is written again, the very bytes.
        let again = kind == "keyring" && before.as_deref() == Some(text);
        assert!(before.is_none() || again, "{kind}: a nonce came twice");
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// What one write holds, as docs/formats/encryption.md says where it is.
    fn read(&mut self, write: &Write) {
        let name = write.path.file_name().unwrap().to_str().unwrap();
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        let bytes = &write.bytes[..];
        match name {
            "head" => self.read_whole("head", bytes),
            "quarantine" => self.read_whole("quarantine", bytes),
            "keyring" => self.add("keyring", &bytes[32 + 40..32 + 72], &bytes[32 + 72..32 + 132]),
            // The same bytes as the keyring.
            "keyring.copy" | "pool" | "lock" | "made" | "newest" | "scrub" => {}
            _ if write.path.starts_with("/pool/index") => {
                bytes.chunks(4124).for_each(|block| self.add("index", name.as_bytes(), block));
            }
            _ if name.ends_with(".log") => self.read_record(bytes),
            _ if name.ends_with(".pack") => self.read_regions(name.as_bytes(), bytes),
            _ => panic!("a file that this test does not know: {} at {}", write.path.display(), write.offset),
        }
    }

    fn read_whole(&mut self, kind: &'static str, bytes: &[u8]) {
        let (sealed, salt) = bytes.split_last_chunk::<32>().unwrap();
        self.add(kind, salt, &sealed[32..]);
    }

    fn read_record(&mut self, bytes: &[u8]) {
        if let Some(rest) = bytes.strip_prefix(b"vRec") {
            let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            // The log id is the epoch of a start; a file's number would only make keys more.
            self.add("journal", &bytes[16..24], &bytes[32..32 + len]);
        }
    }

    fn read_regions(&mut self, name: &[u8], bytes: &[u8]) {
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        for at in regions(bytes) {
            let chunks = u16::from_le_bytes(bytes[at + 6..at + 8].try_into().unwrap()) as usize;
            let head = at + 40 + 1 + 40 * chunks + 28;
            let Some(entries) = bytes.get(at + 40..head) else { continue };
            let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at..at + 36]), entries);
            if crc != number(at + 36) {
                continue;
            }
            self.add("entries", name, entries);
            let stored = bytes.get(head..head + number(at + 12) as usize);
            // A footer has headers alone.
            if let Some(stored) = stored.filter(|stored| crc32c::crc32c(stored) == number(at + 28)) {
                self.add("stored", name, stored);
            }
        }
    }
}

#[test]
fn no_nonce_comes_twice_with_a_key_whatever_is_cut_off_tried_again_or_rewritten() {
    let recorder = Recorder::default();
    let options = encrypted(&Options { segment_bytes: 24 << 10, ..Options::small() });
    let mut sealings = Sealings::default();
    let mut disk = SimDisk::new(3);
    for round in 0..60 {
        let recording = recorder.over(disk.clone());
        let mut random = Random(round);
        // Some rounds end with a cut, some have a call that fails, in the middle of whatever is done then.
        if round % 3 == 0 {
            disk.crash_at(disk.steps() + random.below(400));
        } else if round % 3 == 1 {
            disk.fail_call(disk.calls() + random.below(600), vtl_durable::Fault::Eio);
        } else if let Some(pack) = disk.files().iter().find(|file| file.starts_with("/pool/packs")) {
            disk.flip_bit(pack, 4096 + 300, 3);
        }
        let options = Options { start_random: round, ..options.clone() };
        if let Ok(store) = Store::open(Arc::new(recording), Path::new(ROOT), options) {
            busy(&store, &mut random);
        }
        disk = disk.after_crash(round);
        // A region may lie in two writes.
        joined(recorder.take()).iter().for_each(|write| sealings.read(write));
    }
    for kind in ["head", "quarantine", "keyring", "index", "journal", "entries", "stored"] {
        assert!(sealings.kinds.contains_key(kind), "{kind} is missing from {:?}", sealings.kinds);
    }
    assert!(sealings.seen.len() > 3000, "{:?}", sealings.kinds);
}

/// Something of everything; errors are what this is about.
fn busy(store: &Store, random: &mut Random) {
    for _ in 0..12 {
        let who = random.below(3) as u8;
        let _ = store.create(owner(who), SNAPSHOT);
        if let Ok(mut stream) = store.open_stream(owner(who)) {
            let len = random.below(9000) as usize;
            let _ = stream.append(&[Bytes::from(random.familiar(len))], random.below(2) == 0);
            let _ = stream.commit(LABEL);
            if random.below(3) == 0 {
                let to = random.below(stream.len() + 1);
                let _ = stream.truncate(to).and_then(|()| stream.commit_snapshot(SNAPSHOT));
            }
        }
        match random.below(10) {
            0 => drop(store.remove(owner(who))),
            1..4 => drop(store.gc(GcRule { dead_percent: 1, ..GcRule::default() })),
            4 => drop(store.rebuild_index()),
            5 => drop(store.check()),
            6 => drop(store.rotate_key(key_file(1), PassphraseCost::default())),
            _ => {}
        }
    }
}

#[test]
fn two_runs_with_the_same_random_bytes_do_the_same() {
    let contents = || {
        let mut run = Run::new(SimDisk::new(5), encrypted(&Options::small()));
        run.run(&script(5, 3, 60, 5000)).unwrap();
        run.step(&Op::Reopen).unwrap();
        run.close();
        let files = run.disk.files();
        files.into_iter().map(|file| (file.clone(), run.disk.contents(&file))).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(contents(), contents(), "so that a failure of a crash test can be found again");
}
