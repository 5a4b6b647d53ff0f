//! Lazy imports: what is read first is fetched first, little is fetched for it, and whatever fails, nothing but the right bytes is served.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Bench, KEY, Watched, done, ended, failed, noise, submit};
use serde_json::{Value, json};
use vtl_cartridge::{Cartridge, CartridgeError, Object};
use vtl_jobs::{JobId, Manager, State};
use vtl_migrate::{EXPORT, IMPORT, PRUNE, REWRAP};
use vtl_remote::{FaultyRemote, FolderRemote, Plan};

const LABEL: &str = "VTL001L8";
const FOLDER: &str = "VTL001L8-20261126_031500";
const BLOCK: usize = 1 << 18;

type Thing = Option<Vec<u8>>;

/// Files of four blocks that are an object each, nearly, and text in blocks of many lengths at the end.
fn tape(seed: u64, files: u64) -> Vec<Thing> {
    let mut tape = vec![None];
    for file in 0..files {
        tape.extend((0..4).map(|block| Some(noise(seed * 1000 + file * 4 + block, BLOCK))));
        tape.push(None);
    }
    tape.extend((1..20).map(|at| Some(b"text on a tape ".repeat(at * 7))));
    tape.push(None);
    tape
}

fn on_folder(place: &Path) -> Arc<Bench> {
    let here = Bench::roomy();
    here.put_remote(Arc::new(FolderRemote::open("r", place).unwrap()));
    here
}

/// A bundle in `place`; the write generation of what is in it.
fn bundle(place: &Path, tape: &[Thing], request: &Value) -> u64 {
    let source = on_folder(place);
    source.cartridge(LABEL, tape);
    let manager = source.start();
    assert_eq!(done(&manager, submit(&manager, EXPORT, Some(LABEL), &request.to_string()))["folder"], FOLDER);
    source.rows()[0].generation
}

fn import(manager: &Manager, lazy: bool) -> JobId {
    let request = json!({ "remote": "r", "folder": FOLDER, "lazy": lazy }).to_string();
    submit(manager, IMPORT, Some(LABEL), &request)
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if is() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: it never came to that");
}

/// The cartridge is listed, and its job is paused with nothing of an object fetched.
fn begun(here: &Bench, remote: &Watched, manager: &Manager) -> JobId {
    *remote.gets_held.lock().unwrap() = true;
    let id = import(manager, true);
    eventually("the cartridge is listed", || !here.lazy_rows().is_empty());
    manager.pause(id).unwrap();
    manager.wait_until(id, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    *remote.gets_held.lock().unwrap() = false;
    remote.gets.lock().unwrap().clear();
    id
}

/// The command that leaves nothing of the cartridge, as the client takes it.
fn for_good() -> String {
    format!("vtl cartridge rm {LABEL} --now --confirm {LABEL}")
}

fn objects(remote: &Watched) -> Vec<String> {
    let mut names: Vec<String> = remote.gets.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// What a host reads from the position on.
fn read(tape: &mut Cartridge) -> Result<Thing, CartridgeError> {
    match tape.read(u32::MAX)? {
        Object::Block { data, .. } => Ok(Some(data.concat())),
        Object::Filemark => Ok(None),
        Object::EndOfData => panic!("nothing follows"),
    }
}

fn read_all(tape: &mut Cartridge) -> Vec<Thing> {
    tape.rewind();
    let mut all = Vec::new();
    while !tape.position().end_of_data {
        all.push(read(tape).unwrap());
    }
    all
}

#[test]
fn a_file_in_the_middle_is_read_first_from_few_objects_and_the_rest_follows_with_its_right_hash() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(1, 12);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    assert!(here.rows().is_empty(), "the catalogue has it when it is whole");
    let mut drive = here.in_drive(LABEL);
    assert_eq!(drive.facts().filemarks, 14);
    assert_eq!(drive.used_bytes(), content.iter().flatten().map(Vec::len).sum::<usize>() as u64);
    assert!(drive.write_protected());
    assert!(matches!(drive.write_block(&[vec![1].into()], true), Err(CartridgeError::WriteProtected)));
    assert!(matches!(drive.erase(), Err(CartridgeError::WriteProtected)));
    assert!(matches!(drive.set_host_attribute(0x0800, b"x"), Err(CartridgeError::Incomplete)));
    assert!(matches!(drive.set_hold(true), Err(CartridgeError::Incomplete)));
    assert!(drive.locate_file(7).is_none());
    assert_eq!(drive.space_filemarks(-1).moved, 1);
    drive.locate_file(7);
    let at = drive.position().object as usize;
    assert!(remote.gets.lock().unwrap().is_empty(), "positions cost nothing");
    assert_eq!(read(&mut drive).unwrap(), content[at]);
    // A piece is a MiB, and so is an object: it lies in two at most, one of which is read for its header, its table and its frames.
    let gets = remote.gets.lock().unwrap().clone();
    assert!(objects(&remote).len() <= 2 && gets.len() <= 6, "{gets:?}");
    assert!(gets.iter().all(|(_, span)| span.is_some()), "ranges alone: {gets:?}");
    let first = gets.len();
    drive.locate_file(7);
    assert_eq!(read(&mut drive).unwrap(), content[at]);
    assert_eq!(remote.gets.lock().unwrap().len(), first, "it is kept");
    drop(drive);
    // It is kept over a restart, too.
    manager.stop();
    drop(manager);
    let manager = here.start();
    let mut drive = here.in_drive(LABEL);
    drive.locate_file(7);
    assert_eq!(read(&mut drive).unwrap(), content[at]);
    assert_eq!(remote.gets.lock().unwrap().len(), first);

    manager.resume(id).unwrap();
    let result = done(&manager, id);
    assert_eq!((&result["label"], &result["known"]), (&json!(LABEL), &json!(false)));
    assert_eq!(here.tape(LABEL), content);
    assert_eq!((here.lazy_rows().len(), here.store.owners().len(), here.rows().len()), (0, 1, 1));
    assert!(matches!(read(&mut drive), Err(CartridgeError::Away { .. })), "it is to be opened anew");
    let again = done(&manager, submit(&manager, EXPORT, Some(LABEL), "{}"));
    assert_eq!(again["skipped"], "unchanged", "the generation is the original's");
}

#[test]
fn who_reads_on_has_all_of_it_and_finds_what_was_fetched_ahead() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(2, 12);
    bundle(place.path(), &content, &json!({}));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    begun(&here, &remote, &manager);
    let mut drive = here.in_drive(LABEL);
    for _ in 0..4 {
        read(&mut drive).unwrap();
    }
    eventually("more comes than was read", || objects(&remote).len() > 2);
    assert_eq!(read_all(&mut drive), content);
    let fetched = remote.gets.lock().unwrap().len();
    assert_eq!(read_all(&mut drive), content);
    assert_eq!(remote.gets.lock().unwrap().len(), fetched, "all of it is here");
    // Each byte of each object at most once.
    let gets = remote.gets.lock().unwrap().clone();
    let bytes: u64 = gets.iter().filter_map(|(_, span)| span.map(|(_, len)| len)).sum();
    let stored: u64 = common::files(place.path()).iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!(bytes <= stored, "{bytes} of {stored}");
}

#[test]
fn of_what_comes_slowly_each_piece_is_read_when_it_is_there_and_what_came_stays() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(14, 4);
    bundle(place.path(), &content, &json!({ "chunk_bytes": 16 << 20, "compress": "none" }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    let here_bytes = || here.lazies.lock().unwrap().as_ref().unwrap().here_bytes(&here.lazy_rows()[0]);
    // All of it is one object, and its pieces are asked for at once.
    *remote.flows.lock().unwrap() = Some(7 << 19);
    manager.resume(id).unwrap();
    eventually("what has come is kept", || here_bytes() == 2 << 20);
    here.set(|settings| settings.read_wait = Duration::from_millis(200));
    let mut drive = here.in_drive(LABEL);
    for wanted in &content[..8] {
        assert_eq!(read(&mut drive).unwrap(), *wanted);
    }
    drive.locate_file(4);
    assert!(matches!(read(&mut drive), Err(CartridgeError::Away { .. })), "what has not come is waited for");
    manager.pause(id).unwrap();
    manager.wait_until(id, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    assert_eq!(here_bytes(), 2 << 20);
    *remote.flows.lock().unwrap() = None;
    manager.resume(id).unwrap();
    done(&manager, id);
    assert_eq!(here.tape(LABEL), content);
}

#[test]
fn a_remote_that_is_away_costs_a_read_its_time_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(3, 8);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    let mut drive = here.in_drive(LABEL);
    assert_eq!(read(&mut drive).unwrap(), None);
    assert_eq!(read(&mut drive).unwrap(), content[1]);
    eventually("what is fetched ahead is here", || {
        here.lazies.lock().unwrap().as_ref().unwrap().here_bytes(&here.lazy_rows()[0]) >= 2 << 20
    });
    *remote.gone.lock().unwrap() = true;
    here.set(|settings| settings.read_wait = Duration::ZERO);
    drive.locate_file(6);
    let at = drive.position();
    for _ in 0..2 {
        let error = read(&mut drive).unwrap_err();
        assert!(
            matches!(&error, CartridgeError::Away { object, why } if *object == at.object && why.contains("made to be away")),
            "{error}"
        );
        assert_eq!(drive.position(), at, "it may be asked once more");
    }
    drive.locate_object(1);
    assert_eq!(read(&mut drive).unwrap(), content[1], "what is here is served");
    // It may come back while a read waits.
    here.set(|settings| settings.read_wait = common::PATIENCE);
    let away = remote.clone();
    let back = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        *away.gone.lock().unwrap() = false;
    });
    drive.locate_file(6);
    assert_eq!(read(&mut drive).unwrap(), content[at.object as usize]);
    back.join().unwrap();
    // The job fails for good after its attempts, and a new one goes on with what is here.
    *remote.gone.lock().unwrap() = true;
    manager.resume(id).unwrap();
    assert!(failed(&manager, id).message.contains("made to be away"));
    assert_eq!(here.lazy_rows().len(), 1);
    *remote.gone.lock().unwrap() = false;
    let before = remote.gets.lock().unwrap().len();
    done(&manager, import(&manager, true));
    assert!(remote.gets.lock().unwrap().len() > before);
    assert_eq!((here.tape(LABEL), here.store.owners().len()), (content, 1));
}

#[test]
fn a_server_that_stops_and_a_wait_that_is_over_end_a_read_that_hangs() {
    let place = tempfile::tempdir().unwrap();
    bundle(place.path(), &tape(4, 2), &json!({}));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    begun(&here, &remote, &manager);
    *remote.gets_held.lock().unwrap() = true;
    here.set(|settings| settings.read_wait = Duration::ZERO);
    let mut drive = here.in_drive(LABEL);
    drive.locate_object(1);
    assert!(matches!(read(&mut drive), Err(CartridgeError::Away { .. })));
    here.set(|settings| settings.read_wait = Duration::from_secs(3600));
    let lazies = here.lazies.lock().unwrap().clone().unwrap();
    let reads = std::thread::spawn(move || matches!(read(&mut drive), Err(CartridgeError::Away { .. })));
    std::thread::sleep(Duration::from_millis(50));
    lazies.stop();
    assert!(reads.join().unwrap());
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_an_import_that_goes_on_and_one_cartridge() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(5, 3);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let mut lived = false;
    for changes in 0..60 {
        let here = on_folder(place.path());
        let manager = here.start();
        let id = import(&manager, true);
        here.dies_after(changes);
        lived = manager
            .wait_until(id, Some(common::PATIENCE), |job| here.is_dead() || job.state.is_terminal())
            .unwrap()
            .is_some_and(|job| job.state == State::Completed);
        manager.stop();
        drop(manager);
        let manager = here.start();
        if let Some(row) = here.lazy_rows().first()
            && Cartridge::inspect(&here.store, row.cartridge).unwrap().unfinished
        {
            // The job may end in this moment.
            match read(&mut here.in_drive(LABEL)) {
                Ok(thing) => assert_eq!(thing, content[0]),
                Err(error) => assert!(matches!(error, CartridgeError::Away { .. }), "{error}"),
            }
        }
        done(&manager, id);
        assert_eq!(here.tape(LABEL), content, "after {changes}");
        let left = (here.rows().len(), here.lazy_rows().len(), here.store.owners().len());
        assert_eq!(left, (1, 0, 1), "after {changes}");
        if lived {
            break;
        }
    }
    assert!(lived, "some number of changes is enough");
}

#[test]
fn through_a_remote_that_fails_by_plan_a_host_reads_what_was_written_or_nothing() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(6, 6);
    // Which call meets a fault hangs on threads: that enough are met is asked of all seeds together.
    let (mut right, mut not) = (0, 0);
    for (seed, request) in [(1, json!({ "key": KEY })), (2, json!({})), (3, json!({ "compress": "none" }))] {
        let _ = std::fs::remove_dir_all(place.path().join(FOLDER));
        bundle(place.path(), &content, &request);
        let here = Bench::roomy();
        let watched = Watched::on(place.path());
        here.put_remote(watched.clone());
        let manager = here.start();
        let id = begun(&here, &watched, &manager);
        let folder = Arc::new(FolderRemote::open("r", place.path()).unwrap());
        here.put_remote(Arc::new(FaultyRemote::new(folder.clone(), Plan::Seeded { seed, per_mille: 300 })));
        // The way that is open still leads to the other one.
        *watched.gone.lock().unwrap() = true;
        here.set(|settings| settings.read_wait = Duration::ZERO);
        let mut drive = here.in_drive(LABEL);
        for at in (0..content.len() as u64).chain(0..content.len() as u64) {
            drive.locate_object(at);
            match read(&mut drive) {
                Ok(thing) => {
                    assert_eq!(thing, content[at as usize], "seed {seed}, object {at}");
                    right += 1;
                }
                Err(CartridgeError::Away { .. } | CartridgeError::Unreadable { .. }) => not += 1,
                Err(error) => panic!("{error}"),
            }
        }
        drop(drive);
        here.put_remote(folder);
        manager.resume(id).unwrap();
        if ended(&manager, id).state != State::Completed {
            done(&manager, import(&manager, true));
        }
        assert_eq!((here.tape(LABEL), here.store.owners().len()), (content.clone(), 1), "seed {seed}");
    }
    assert!(right > 120 && not > 0, "{right} right, {not} not");
}

#[test]
fn a_damaged_object_is_named_and_never_served_and_one_that_was_put_back_is_read() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(7, 8);
    for request in [json!({ "key": KEY }), json!({})] {
        let _ = std::fs::remove_dir_all(place.path().join(FOLDER));
        bundle(place.path(), &content, &request);
        let object = place.path().join(FOLDER).join("VTL001L8.img.000005");
        let good = std::fs::read(&object).unwrap();
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let other = std::fs::read(place.path().join(FOLDER).join("VTL001L8.img.000004")).unwrap();
        let mut exchanged = other;
        exchanged.resize(good.len(), 0);
        for wrong in [&flipped[..], &good[..good.len() / 2], &exchanged] {
            std::fs::write(&object, wrong).unwrap();
            let here = Bench::roomy();
            let remote = Watched::on(place.path());
            here.put_remote(remote.clone());
            let manager = here.start();
            let id = begun(&here, &remote, &manager);
            let mut drive = here.in_drive(LABEL);
            let mut unreadable = 0;
            for at in 0..content.len() as u64 {
                drive.locate_object(at);
                match read(&mut drive) {
                    Ok(thing) => assert_eq!(thing, content[at as usize], "object {at}"),
                    Err(CartridgeError::Unreadable { object, why }) => {
                        assert!(object == at && why.contains("VTL001L8.img.000005"), "{why}");
                        assert_eq!(drive.position().object, at + 1, "it is behind the block");
                        unreadable += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert!((1..=8).contains(&unreadable), "{unreadable}");
            manager.resume(id).unwrap();
            let trouble = failed(&manager, id);
            assert!(trouble.message.contains("VTL001L8.img.000005"), "{trouble:?}");
            std::fs::write(&object, &good).unwrap();
            assert_eq!(read_all(&mut drive), content);
            drop(drive);
            done(&manager, manager.retry(id).unwrap().job.id);
            assert_eq!((here.tape(LABEL), here.lazy_rows().len()), (content.clone(), 0));
        }
    }
}

#[test]
fn a_whole_that_is_not_what_its_manifest_says_is_served_no_more() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(8, 4);
    bundle(place.path(), &content, &json!({ "compress": "none" }));
    // Somebody changes a frame and its checksum: zlib's CRC-32 over bytes 0 to 28 of the frame's header and the body, at 28.
    let object = place.path().join(FOLDER).join("VTL001L8.img.000002");
    let mut bytes = std::fs::read(&object).unwrap();
    let (header, body) = (80, 80 + 32);
    let len = u32::from_le_bytes(bytes[header + 4..header + 8].try_into().unwrap()) as usize;
    bytes[body + 5] ^= 1;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[header..header + 28]);
    crc.update(&bytes[body..body + len]);
    bytes[header + 28..header + 32].copy_from_slice(&crc.finalize().to_le_bytes());
    std::fs::write(&object, bytes).unwrap();

    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let trouble = failed(&manager, import(&manager, true));
    assert!(trouble.message.contains("BLAKE3"), "{trouble:?}");
    let remedy = trouble.remedy.unwrap();
    assert!(remedy.contains("vtl export verify"), "{remedy}");
    // In the trash it would keep its label.
    assert!(remedy.ends_with(&format!("{}, then import it once more", for_good())), "{remedy}");
    for _ in 0..2 {
        let mut drive = here.in_drive(LABEL);
        drive.locate_object(1);
        assert!(matches!(read(&mut drive), Err(CartridgeError::Unreadable { .. })));
        assert!(here.lazy_rows()[0].wrong.is_some());
        drop(drive);
        drop(here.start());
    }
    assert!(failed(&manager, import(&manager, false)).message.contains("BLAKE3"));
}

#[test]
fn what_is_here_in_part_keeps_its_folder_and_is_exported_when_it_is_whole() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(9, 4);
    bundle(place.path(), &content, &json!({}));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    let prune = json!({ "remote": "r", "folder": FOLDER, "confirm": FOLDER }).to_string();
    let trouble = failed(&manager, submit(&manager, PRUNE, None, &prune));
    assert!(trouble.message.contains(LABEL) && place.path().join(FOLDER).exists(), "{trouble:?}");
    assert!(trouble.remedy.unwrap().ends_with(&for_good()));
    let export = submit(&manager, EXPORT, Some(LABEL), "{}");
    let waits =
        |job: &vtl_jobs::Job| job.trouble.as_ref().is_some_and(|why| why.message.contains("not all of"));
    manager.wait_until(export, Some(common::PATIENCE), waits).unwrap().unwrap();
    manager.resume(id).unwrap();
    done(&manager, id);
    assert_eq!(done(&manager, export)["skipped"], "unchanged");
}

#[test]
fn what_an_import_has_begun_with_is_not_rewrapped_before_that_has_ended() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(9, 4);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let request = json!({ "remote": "r", "folder": FOLDER, "key": common::OTHER_KEY }).to_string();
    let refused = || failed(&manager, submit(&manager, REWRAP, None, &request));
    let manifest = || std::fs::read(place.path().join(FOLDER).join(format!("{LABEL}.manifest"))).unwrap();
    let before = manifest();
    // One that is not lazy.
    *remote.gets_held.lock().unwrap() = true;
    let whole = import(&manager, false);
    let trouble = refused();
    assert!(trouble.message.contains(&format!("job {whole} imports it")), "{trouble:?}");
    manager.cancel(whole).unwrap();
    *remote.gets_held.lock().unwrap() = false;
    ended(&manager, whole);

    let id = begun(&here, &remote, &manager);
    let trouble = refused();
    assert!(trouble.message.contains("VTL001L8 is here in part") && manifest() == before, "{trouble:?}");
    let remedy = trouble.remedy.unwrap();
    assert!(remedy.contains("let its import end") && remedy.contains(&for_good()), "{remedy}");
    manager.resume(id).unwrap();
    done(&manager, id);
    done(&manager, submit(&manager, REWRAP, None, &request));
    assert_eq!((here.rows().len(), manifest() == before), (1, false));
}

#[test]
fn a_cancel_leaves_the_cartridge_and_a_removal_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(10, 4);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    manager.cancel(id).unwrap();
    assert_eq!(ended(&manager, id).state, State::Cancelled);
    let mut drive = here.in_drive(LABEL);
    assert_eq!(read_all(&mut drive), content, "it is fetched as it is read");
    // An import that is not lazy goes on with it, too.
    done(&manager, import(&manager, false));
    assert_eq!((here.tape(LABEL), here.store.owners().len()), (content.clone(), 1));
    drop(drive);

    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    begun(&here, &remote, &manager);
    let mut drive = here.in_drive(LABEL);
    let row = here.lazy_rows().remove(0);
    let lazies = here.lazies.lock().unwrap().clone().unwrap();
    lazies.give_up(&row).unwrap();
    drive.locate_object(1);
    assert!(matches!(read(&mut drive), Err(CartridgeError::Away { .. })));
    assert_eq!(here.store.owners().len(), 1, "the cartridge's own owner is the caller's");
}

#[test]
fn without_its_key_nothing_appears_and_a_label_that_is_taken_is_refused() {
    let place = tempfile::tempdir().unwrap();
    bundle(place.path(), &tape(11, 1), &json!({}));
    let here = on_folder(place.path());
    here.cartridge(LABEL, &[]);
    let manager = here.start();
    assert_eq!(failed(&manager, import(&manager, true)).code, "exists");
    assert_eq!((here.store.owners().len(), here.lazy_rows().len()), (1, 0));
}

#[test]
fn a_tape_of_marks_alone_and_a_tape_of_one_byte_come_whole() {
    for content in [vec![None, None], vec![Some(vec![7])]] {
        let place = tempfile::tempdir().unwrap();
        bundle(place.path(), &content, &json!({}));
        let here = on_folder(place.path());
        let manager = here.start();
        done(&manager, import(&manager, true));
        assert_eq!((here.tape(LABEL), here.lazy_rows().len(), here.store.owners().len()), (content, 0, 1));
    }
}

#[test]
fn what_an_attempt_before_has_written_is_written_anew_and_a_finished_copy_is_only_settled() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(12, 2);
    let generation = bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    let row = here.lazy_rows().remove(0);
    // As if the server had been killed while the copy was written.
    here.append(row.cartridge, &[Some(noise(1, 5_000)), None, Some(noise(2, 70_000))]);
    assert_eq!(read_all(&mut here.in_drive(LABEL)), content, "a drive takes no notice of it");
    manager.resume(id).unwrap();
    done(&manager, id);
    assert_eq!((here.tape(LABEL), here.store.owners().len()), (content.clone(), 1));

    // And between the last record of the copy and the inventory.
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    let row = here.lazy_rows().remove(0);
    here.append(row.cartridge, &content);
    let copy = Cartridge::open(&here.store, row.cartridge, vtl_cartridge::Settings::default()).unwrap();
    copy.finish_copy(generation).unwrap();
    // It is an ordinary cartridge by then, and a host writes to it.
    here.append(row.cartridge, &[None]);
    manager.resume(id).unwrap();
    done(&manager, id);
    assert!(remote.gets.lock().unwrap().is_empty(), "nothing is fetched any more");
    assert_eq!(
        (here.tape(LABEL).len(), here.rows().len(), here.lazy_rows().len()),
        (content.len() + 1, 1, 0)
    );
    assert_eq!((here.rows()[0].generation, here.store.owners().len()), (generation, 1));
    let again = done(&manager, submit(&manager, EXPORT, Some(LABEL), "{}"));
    assert!(again["skipped"].is_null(), "it is another one than the bundle has: {again}");
}

#[test]
fn a_store_that_is_full_serves_what_it_cannot_keep() {
    let place = tempfile::tempdir().unwrap();
    let content = tape(13, 6);
    bundle(place.path(), &content, &json!({ "key": KEY }));
    let (here, remote) = (Bench::roomy(), Watched::on(place.path()));
    here.put_remote(remote.clone());
    let manager = here.start();
    let id = begun(&here, &remote, &manager);
    here.disk.set_capacity(3 << 20);
    assert_eq!(read_all(&mut here.in_drive(LABEL)), content);
    manager.resume(id).unwrap();
    let trouble = failed(&manager, id);
    assert!(trouble.code == "full" || trouble.message.contains("no storage space"), "{trouble:?}");
    here.disk.set_capacity(u64::MAX);
    done(&manager, import(&manager, true));
    assert_eq!((here.tape(LABEL), here.store.owners().len()), (content, 1));
}
