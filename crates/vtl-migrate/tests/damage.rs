//! Damage of a small bundle on its remote: verify and import see all of it, name it, and leave nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Bench, KEY, Watched, done, ended, failed, files, noise, submit};
use serde_json::{Value, json};
use vtl_jobs::{JobId, Manager, NewJob};
use vtl_migrate::{EXPORT, IMPORT, VERIFY};

const LABEL: &str = "VTL001L8";
const MARKER: &[u8] = b"a marker that nobody may find";

/// Two objects without a key or compression: three frames of 524,288 bytes fill the first, as a fourth does not fit into 2 MiB; the second has that
/// one and one of 100.
fn exported(place: &Path) -> Arc<Bench> {
    let mut tape: Vec<Option<Vec<u8>>> = (0..4).map(|at| Some(noise(at, 524_288))).collect();
    tape.extend([None, Some(noise(9, 100)), None]);
    let (bench, objects) = exported_as(place, &tape, &json!({ "compress": "none", "chunk_bytes": 2 << 20 }));
    assert_eq!(objects, 2);
    bench
}

/// This tape, as the request says; and its objects.
fn exported_as(place: &Path, tape: &[Option<Vec<u8>>], request: &Value) -> (Arc<Bench>, Value) {
    let bench = Bench::with_folder(place);
    bench.cartridge(LABEL, tape);
    let manager = bench.start();
    let result = done(&manager, submit(&manager, EXPORT, Some(LABEL), &request.to_string()));
    (bench, result["objects"].clone())
}

/// A job of its own however many there are: nobody reads the list for its key.
fn ask(manager: &Manager, kind: &str, request: &str) -> JobId {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let new = NewJob {
        key: ASKED.fetch_add(1, Ordering::SeqCst).to_string(),
        kind: kind.into(),
        request: request.into(),
        ..NewJob::default()
    };
    manager.submit(&new).unwrap().id
}

/// What verify says of the folder, and what an import on another server does, which leaves nothing.
struct Lookers {
    folder: String,
    here: Manager,
    there: Arc<Bench>,
    other: Manager,
}

impl Lookers {
    fn at(bench: &Arc<Bench>, place: &Path) -> Self {
        let there = Bench::with_folder(place);
        let (here, other) = (bench.start(), there.start());
        Self { folder: bench.rows()[0].folder.clone(), here, there, other }
    }

    fn say(&self, what: &str) -> [String; 2] {
        let request = json!({ "remote": "r", "folder": self.folder }).to_string();
        let verified = failed(&self.here, ask(&self.here, VERIFY, &request));
        let imported = failed(&self.other, ask(&self.other, IMPORT, &request));
        assert_eq!((self.there.store.owners().len(), self.there.rows().len()), (0, 0), "{what}");
        assert!(self.there.id_of(LABEL).is_none() && self.there.staging_is_empty(), "{what}");
        [verified.message, imported.message]
    }

    fn both_name(&self, object: &str, frame: Option<u32>, what: &str) {
        for said in self.say(what) {
            assert!(said.contains(object), "{what}: {said}");
            let place = frame.map(|frame| format!("{object}, frame {frame}: "));
            assert!(place.is_none_or(|place| said.contains(&place)), "{what}, frame {frame:?}: {said}");
        }
    }

    /// A manifest is named with the remote and the folder that it is in.
    fn both_name_the_manifest(&self, what: &str) {
        let place = format!("remote r: folder {}: {MANIFEST}: ", self.folder);
        for said in self.say(what) {
            assert!(said.contains(&place), "{what}: {said}");
        }
    }
}

const FIRST: &str = "VTL001L8.img.000001";
const SECOND: &str = "VTL001L8.img.000002";
const MANIFEST: &str = "VTL001L8.manifest";
/// Of the format: an object's header, a frame's header, a frame.
const HEADER: usize = 80;
const FRAME: usize = 32 + 524_288;
/// The frames of the second object.
const LAST: [usize; 2] = [FRAME, 32 + 100];

/// The frame that a byte of an object is in.
fn frame_of(at: usize, first: u32, frames: &[usize]) -> Option<u32> {
    let mut end = HEADER;
    let found = frames.iter().position(|len| {
        end += len;
        at < end
    });
    found.filter(|_| at >= HEADER).map(|number| first + number as u32)
}

fn many() -> bool {
    let has_more = |text: String| text.parse::<u32>().is_ok_and(|factor| factor > 1);
    std::env::var("VTL_TEST_CASES").is_ok_and(has_more)
        || std::env::var("VTL_LONG").is_ok_and(|text| text == "1")
}

#[test]
fn a_flipped_byte_anywhere_is_named_with_object_and_frame_by_verify_and_import() {
    let place = tempfile::tempdir().unwrap();
    let lookers = Lookers::at(&exported(place.path()), place.path());
    let path = |object: &str| place.path().join(&lookers.folder).join(object);
    let flip = |object: &str, at: usize, frame: Option<u32>| {
        let whole = std::fs::read(path(object)).unwrap();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(path(object), bytes).unwrap();
        lookers.both_name(object, frame, &format!("{object}, byte {at}"));
        std::fs::write(path(object), whole).unwrap();
    };
    // Of the second one each byte of its headers, its small frame and its table in a long run; some of each part of both otherwise.
    let end = std::fs::metadata(path(SECOND)).unwrap().len() as usize;
    for at in (0..112).chain(HEADER + FRAME..end).step_by(if many() { 1 } else { 29 }) {
        flip(SECOND, at, frame_of(at, 3, &LAST));
    }
    for at in [79, 80, 111, HEADER + FRAME - 1, HEADER + FRAME, HEADER + 2 * FRAME + 40, HEADER + 3 * FRAME] {
        flip(FIRST, at, frame_of(at, 0, &[FRAME; 3]));
    }
}

#[test]
fn what_is_cut_short_too_long_exchanged_doubled_or_dropped_is_named_by_verify_and_import() {
    let place = tempfile::tempdir().unwrap();
    let lookers = Lookers::at(&exported(place.path()), place.path());
    let path = |object: &str| place.path().join(&lookers.folder).join(object);
    let (first, second) = (std::fs::read(path(FIRST)).unwrap(), std::fs::read(path(SECOND)).unwrap());
    let put = |object: &str, bytes: &[u8], frame: Option<u32>, what: &str| {
        std::fs::write(path(object), bytes).unwrap();
        lookers.both_name(object, frame, what);
        std::fs::write(path(object), if object == FIRST { &first } else { &second }).unwrap();
    };
    for len in (0..112).chain(HEADER + FRAME..second.len()).step_by(if many() { 1 } else { 37 }) {
        put(SECOND, &second[..len], frame_of(len, 3, &LAST), &format!("{len} bytes"));
    }
    put(FIRST, &first[..HEADER + FRAME + 5], Some(1), "cut in the second frame");
    put(SECOND, &[&second[..], b"x"].concat(), None, "a byte more");
    put(FIRST, &second, None, "the second in the place of the first");
    put(SECOND, &first, None, "the first in the place of the second");
    let (head, frames) = first.split_at(HEADER);
    let (one, rest) = frames.split_at(FRAME);
    let (two, rest) = rest.split_at(FRAME);
    put(FIRST, &[head, two, one, rest].concat(), Some(0), "frames exchanged");
    put(FIRST, &[head, one, one, rest].concat(), Some(1), "a frame doubled in the place of the next");
    put(FIRST, &[head, one, one, two, rest].concat(), Some(1), "a frame doubled");
    put(FIRST, &[head, one, rest].concat(), Some(1), "a frame dropped");
    std::fs::remove_file(path(SECOND)).unwrap();
    lookers.both_name(SECOND, None, "dropped");
    std::fs::write(path(SECOND), &second).unwrap();
    let manifest = path(MANIFEST);
    let whole = std::fs::read(&manifest).unwrap();
    for at in (0..whole.len()).step_by(if many() { 17 } else { 211 }) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&manifest, bytes).unwrap();
        lookers.both_name_the_manifest(&format!("byte {at}"));
    }
    std::fs::write(&manifest, &whole).unwrap();
    let request = json!({ "remote": "r", "folder": lookers.folder }).to_string();
    done(&lookers.here, submit(&lookers.here, VERIFY, None, &request));
    done(&lookers.other, submit(&lookers.other, IMPORT, None, &request));
}

#[test]
fn a_flipped_byte_anywhere_in_a_sealed_bundle_is_named_by_verify_and_import() {
    /// Its one frame, with the tag.
    const SEALED: usize = 32 + 100 + 16;
    let place = tempfile::tempdir().unwrap();
    let request = json!({ "key": KEY, "compress": "none", "chunk_bytes": 1 << 20 });
    let (bench, objects) = exported_as(place.path(), &[Some(noise(7, 100)), None], &request);
    assert_eq!(objects, 1);
    let lookers = Lookers::at(&bench, place.path());
    let flip_each = |object: &str, step: usize, named: &dyn Fn(usize)| {
        let path = place.path().join(&lookers.folder).join(object);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(if many() { 1 } else { step }) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            named(at);
        }
        std::fs::write(&path, whole).unwrap();
    };
    flip_each(FIRST, 7, &|at| {
        lookers.both_name(FIRST, frame_of(at, 0, &[SEALED]), &format!("{FIRST}, byte {at}"));
    });
    flip_each(MANIFEST, 89, &|at| lookers.both_name_the_manifest(&format!("byte {at}")));
    let request = json!({ "remote": "r", "folder": lookers.folder }).to_string();
    done(&lookers.here, ask(&lookers.here, VERIFY, &request));
    done(&lookers.other, ask(&lookers.other, IMPORT, &request));
}

#[test]
fn with_a_key_nothing_of_the_tape_is_in_the_staging_folder_or_on_the_remote_in_clear() {
    let place = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    let remote = Watched::on(place.path());
    bench.put_remote(remote.clone());
    let tape: Vec<Option<Vec<u8>>> =
        (0..12).map(|at| Some([MARKER, &noise(at, 262_144)[..], MARKER].concat())).collect();
    bench.cartridge(LABEL, &tape);
    let manager = bench.start();
    *remote.held.lock().unwrap() = true;
    let request = json!({ "key": KEY, "compress": "none", "chunk_bytes": 1 << 20 }).to_string();
    let id = submit(&manager, EXPORT, Some(LABEL), &request);
    while remote.puts.lock().unwrap().len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let staging = bench.settings.lock().unwrap().staging.clone();
    let staged: Vec<PathBuf> = files(&staging);
    assert!(staged.len() >= 2, "{staged:?}");
    let has_marker = |path: &PathBuf| {
        std::fs::read(path).unwrap_or_default().windows(MARKER.len()).any(|window| window == MARKER)
    };
    assert!(!staged.iter().any(has_marker));
    *remote.held.lock().unwrap() = false;
    assert_eq!(ended(&manager, id).state, vtl_jobs::State::Completed);
    assert!(!files(place.path()).iter().any(has_marker));
    // Without a key it would be found.
    let without = json!({ "key": "none", "compress": "none", "chunk_bytes": 1 << 20 }).to_string();
    bench.append(bench.id_of(LABEL).unwrap(), &[Some(MARKER.to_vec())]);
    done(&manager, submit(&manager, EXPORT, Some(LABEL), &without));
    assert!(files(place.path()).iter().any(has_marker));
}
