//! The engines with their job manager: what is exported comes back, whatever fails on the way, and a crash at any step loses and doubles nothing.
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

use common::{Bench, KEY, NOW_S, Watched, done, ended, failed, files, noise, submit, tape};
use serde_json::{Value, json};
use vtl_cartridge::Cartridge;
use vtl_jobs::{JobId, Manager, State};
use vtl_migrate::{EXPORT, IMPORT, PRUNE, REPAIR, VERIFY};
use vtl_remote::{Doing, Fault, FaultyRemote, FolderRemote, Limiter, Mode, Plan};
use vtl_store::GcRule;
use vtl_types::CartridgeId;

const LABEL: &str = "VTL001L8";
const FOLDER: &str = "VTL001L8-20261126_031500";

fn export(manager: &Manager, request: &Value) -> JobId {
    submit(manager, EXPORT, Some(LABEL), &request.to_string())
}

fn import(manager: &Manager, folder: &str) -> JobId {
    submit(manager, IMPORT, None, &json!({ "remote": "r", "folder": folder }).to_string())
}

#[test]
fn what_was_exported_for_a_key_comes_back_on_another_server_and_is_clean_then() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(1));
    let manager = here.start();
    let result = done(&manager, export(&manager, &json!({ "key": KEY })));
    assert_eq!(
        (&result["exported"], &result["folder"], &result["remote"]),
        (&json!(true), &json!(FOLDER), &json!("r"))
    );
    assert!(result["objects"].as_u64().unwrap() >= 3 && here.staging_is_empty());
    let all: Vec<u8> = files(place.path()).iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!all.windows(15).any(|window| window == b"text on a tape "), "it is encrypted");
    let again = done(&manager, export(&manager, &json!({})));
    assert_eq!(
        (&again["exported"], &again["skipped"], &again["folder"]),
        (&json!(false), &json!("unchanged"), &json!(FOLDER))
    );

    let there = Bench::with_folder(place.path());
    let other = there.start();
    let result = done(&other, import(&other, FOLDER));
    assert_eq!((&result["label"], &result["known"]), (&json!(LABEL), &json!(false)));
    assert_eq!(there.tape(LABEL), tape(1));
    assert!(there.staging_is_empty());
    let (row, original) = (&there.rows()[0], &here.rows()[0]);
    assert_eq!((row.generation, &row.manifest_sha256), (original.generation, &original.manifest_sha256));
    assert_eq!(done(&other, export(&other, &json!({})))["skipped"], "unchanged");
    there.append(there.id_of(LABEL).unwrap(), &[Some(b"one block more".to_vec())]);
    let dirty = done(&other, export(&other, &json!({})));
    assert_eq!((&dirty["exported"], &dirty["folder"]), (&json!(true), &json!("VTL001L8-20261126_031501")));
}

#[test]
fn a_blank_cartridge_is_skipped_and_what_cannot_be_is_refused_with_its_remedy() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &[]);
    let manager = here.start();
    assert_eq!(done(&manager, export(&manager, &json!({})))["skipped"], "blank");
    here.append(here.id_of(LABEL).unwrap(), &tape(2));
    for (request, words) in [
        (json!({ "remote": "nowhere" }), "no remote nowhere"),
        (json!({ "key": "nobody" }), "no such key"),
        (json!({ "compress": "gzip" }), "no compression"),
        (json!({ "chunk_bytes": 5 }), "chunk size"),
    ] {
        let trouble = failed(&manager, export(&manager, &request));
        assert!(trouble.message.contains(words), "{request}: {trouble:?}");
    }
    let unknown = failed(&manager, submit(&manager, EXPORT, Some("VTL009L8"), "{}"));
    assert_eq!(unknown.code, "not-found");
    assert!(files(place.path()).is_empty() && here.rows().is_empty() && here.staging_is_empty());
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_an_export_that_goes_on_and_sends_nothing_confirmed_twice() {
    let mut lived = false;
    for changes in 0..200 {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Watched::on(place.path());
        here.put_remote(remote.clone());
        here.set(|settings| settings.slots = 1);
        here.cartridge(LABEL, &tape(3));
        let manager = here.start();
        let key = if changes % 2 == 0 { json!({ "key": KEY }) } else { json!({}) };
        let id = export(&manager, &key);
        here.dies_after(changes);
        let ended_before = manager
            .wait_until(id, Some(common::PATIENCE), |job| here.is_dead() || job.state.is_terminal())
            .unwrap()
            .is_some_and(|job| job.state == State::Completed);
        manager.stop();
        drop(manager);
        let manager = here.start();
        let row = manager.show(id).unwrap().job;
        let course: Value = serde_json::from_slice(&row.checkpoint).unwrap_or_default();
        let count = here.confirmed(course["folder"].as_str().unwrap_or_default());
        let confirmed: Vec<String> = (1..=count).map(|number| format!("{LABEL}.img.{number:06}")).collect();
        assert!(course["done"].is_null(), "it does not grow with the objects");
        let before = remote.puts.lock().unwrap().len();
        let result = done(&manager, id);
        let sent_after: Vec<String> = remote.puts.lock().unwrap().split_off(before);
        if !ended_before && row.attempts > 0 {
            assert!(
                sent_after.iter().all(|name| !confirmed.contains(name)),
                "after {changes}: {confirmed:?} {sent_after:?}"
            );
        }
        assert_eq!(result["exported"], json!(true), "after {changes}: {result}");
        assert_eq!((here.rows().len(), here.staging_is_empty()), (1, true), "after {changes}");
        let found = here.found();
        assert_eq!(found.len(), 1, "after {changes}: {found:?}");
        assert!(found[0].complete);
        let folder = result["folder"].as_str().unwrap();
        assert_eq!(here.confirmed(folder), 0, "after {changes}: the catalogue has them");
        let there = Bench::with_folder(place.path());
        let other = there.start();
        done(&other, import(&other, folder));
        assert_eq!(there.tape(LABEL), tape(3), "after {changes}");
        lived = ended_before;
        if lived {
            break;
        }
    }
    assert!(lived, "some number of changes is enough");
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_an_import_that_goes_on_and_one_cartridge() {
    let place = tempfile::tempdir().unwrap();
    let source = Bench::with_folder(place.path());
    source.cartridge(LABEL, &tape(4));
    let manager = source.start();
    done(&manager, export(&manager, &json!({})));
    let mut lived = false;
    for changes in 0..60 {
        let here = Bench::with_folder(place.path());
        let manager = here.start();
        let id = import(&manager, FOLDER);
        here.dies_after(changes);
        lived = manager
            .wait_until(id, Some(common::PATIENCE), |job| here.is_dead() || job.state.is_terminal())
            .unwrap()
            .is_some_and(|job| job.state == State::Completed);
        manager.stop();
        drop(manager);
        let manager = here.start();
        done(&manager, id);
        assert_eq!(here.tape(LABEL), tape(4), "after {changes}");
        assert_eq!(
            (here.rows().len(), here.store.owners().len(), here.staging_is_empty()),
            (1, 1, true),
            "after {changes}"
        );
        if lived {
            break;
        }
    }
    assert!(lived, "some number of changes is enough");
}

/// Runs an export that cannot change the inventory after each number of its changes in turn, `meanwhile`, and then the export once more; how often
/// `meanwhile` did something.
fn exports_cut_off(meanwhile: impl Fn(&Arc<Bench>, &Path, &str) -> bool) -> u32 {
    let mut times = 0;
    for changes in 0..40 {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::with_folder(place.path());
        here.set(|settings| settings.slots = 1);
        here.cartridge(LABEL, &tape(3));
        let manager = here.start();
        here.refuses_after(changes);
        let job = ended(&manager, export(&manager, &json!({ "key": KEY })));
        here.refuses_after(i64::MAX);
        if job.state == State::Completed {
            assert!(changes > 3, "it wrote something");
            break;
        }
        let course: Value = serde_json::from_slice(&job.checkpoint).unwrap_or_default();
        if !meanwhile(&here, place.path(), course["folder"].as_str().unwrap_or_default()) {
            continue;
        }
        times += 1;
        let manager = here.start();
        let again = manager.retry(job.id).unwrap().job.id;
        let result = done(&manager, again);
        assert_eq!(result["exported"], json!(true), "after {changes}: {result}");
        let rows = here.rows();
        let row = rows.iter().find(|row| row.folder == result["folder"].as_str().unwrap()).unwrap();
        assert!(!row.objects.is_empty(), "after {changes}");
        let there = Bench::with_folder(place.path());
        let other = there.start();
        done(&other, import(&other, &row.folder));
        assert_eq!(there.tape(LABEL), tape(3), "after {changes}");
    }
    times
}

#[test]
fn what_was_confirmed_and_is_not_there_when_an_export_goes_on_is_exported_anew() {
    let gone = exports_cut_off(|here, place, folder| {
        here.rows().is_empty()
            && here.confirmed(folder) > 0
            && std::fs::remove_file(place.join(folder).join(format!("{LABEL}.img.000001"))).is_ok()
    });
    assert!(gone > 0);
}

#[test]
fn an_import_of_a_bundle_that_is_complete_and_not_entered_yet_takes_nothing_from_its_export() {
    let imported = exports_cut_off(|here, _, folder| {
        if !here.rows().is_empty() || !here.found().iter().any(|found| found.complete) {
            return false;
        }
        let lazies = Arc::new(vtl_migrate::Lazies::new(here.world()));
        let manager = here.start_with(vec![Arc::new(vtl_migrate::Import::new(here.world(), lazies))]);
        let request = json!({ "remote": "r", "folder": folder, "as_label": "VTL099L8" });
        done(&manager, submit(&manager, IMPORT, None, &request.to_string()));
        manager.stop();
        true
    });
    assert!(imported > 0);
}

#[test]
fn what_a_host_has_written_on_an_import_before_its_job_ended_is_not_taken_for_exported() {
    let place = tempfile::tempdir().unwrap();
    let source = Bench::with_folder(place.path());
    source.cartridge(LABEL, &tape(4));
    let manager = source.start();
    done(&manager, export(&manager, &json!({})));
    let mut written = 0;
    for changes in 0..20 {
        let here = Bench::with_folder(place.path());
        let manager = here.start();
        here.refuses_after(changes);
        let job = ended(&manager, import(&manager, FOLDER));
        here.refuses_after(i64::MAX);
        if job.state == State::Completed {
            break;
        }
        let mut owners = here.store.owners().into_iter().map(|owner| CartridgeId(owner.0));
        let Some(copy) = owners.find(|id| !Cartridge::inspect(&here.store, *id).unwrap().unfinished) else {
            continue;
        };
        // As a start lists it, before its job goes on; then a host writes.
        here.list(copy, LABEL);
        here.append(copy, &[Some(b"more".to_vec())]);
        written += 1;
        let again = manager.retry(job.id).unwrap().job.id;
        done(&manager, again);
        let row = here.rows().remove(0);
        let now = Cartridge::inspect(&here.store, copy).unwrap().generation;
        assert!(row.generation < now, "after {changes}: {} {now}", row.generation);
    }
    assert!(written > 0);
}

#[test]
fn through_a_remote_that_fails_by_plan_an_export_is_whole_or_says_that_it_failed() {
    let mut whole = 0;
    for seed in 1..=6 {
        let place = tempfile::tempdir().unwrap();
        let folder = Arc::new(FolderRemote::open("r", place.path()).unwrap());
        let here = Bench::new();
        here.put_remote(Arc::new(FaultyRemote::new(folder, Plan::Seeded { seed, per_mille: 60 })));
        here.cartridge(LABEL, &tape(5));
        let manager = here.start();
        let job = ended(&manager, export(&manager, &json!({})));
        assert!(here.staging_is_empty());
        if job.state != State::Completed {
            assert!(here.rows().is_empty() && !job.trouble.unwrap().message.is_empty());
            continue;
        }
        whole += 1;
        let there = Bench::with_folder(place.path());
        let other = there.start();
        let folder = here.rows()[0].folder.clone();
        done(&other, import(&other, &folder));
        assert_eq!(there.tape(LABEL), tape(5), "seed {seed}");
    }
    assert!(whole > 0, "some got through");
}

#[test]
fn a_byte_that_changes_on_the_way_is_sent_again_and_without_verification_the_result_says_that_nothing_was_verified()
 {
    for (verify, attempts, proof) in [("remote-hash", 2, "verified by"), ("none", 1, "not verified")] {
        let place = tempfile::tempdir().unwrap();
        let folder = Arc::new(FolderRemote::open("r", place.path()).unwrap());
        let here = Bench::new();
        here.put_remote(Arc::new(FaultyRemote::new(folder, Plan::script([(Doing::Put, Fault::Corrupt)]))));
        here.cartridge(LABEL, &[Some(noise(1, 100_000))]);
        let manager = here.start();
        let job = ended(&manager, export(&manager, &json!({ "verify": verify })));
        assert_eq!((job.state, job.attempts), (State::Completed, attempts), "{verify}: {:?}", job.trouble);
        let result: Value = serde_json::from_str(&job.result.unwrap()).unwrap();
        assert!(result["proof"].as_str().unwrap().starts_with(proof), "{result}");
        let request = json!({ "remote": "r", "folder": FOLDER }).to_string();
        let found = ended(&manager, submit(&manager, VERIFY, None, &request));
        assert_eq!(found.state == State::Completed, verify != "none", "{verify}: {:?}", found.trouble);
    }
}

/// Objects that were sent more than once, each time as they were: made anew, a sealed one has another salt.
fn sent_again(remote: &Watched) -> usize {
    let sent = remote.sent.lock().unwrap();
    for (object, times) in &*sent {
        assert!(times.iter().all(|hash| *hash == times[0]), "{object} was made anew");
    }
    sent.values().filter(|times| times.len() > 1).count()
}

#[test]
fn an_upload_that_breaks_off_is_tried_again_with_what_is_staged_and_one_that_fails_leaves_nothing() {
    for breaks in [2, u32::MAX] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Watched::on(place.path());
        *remote.breaks.lock().unwrap() = breaks;
        here.put_remote(remote.clone());
        here.cartridge(LABEL, &tape(5));
        let manager = here.start();
        let job = ended(&manager, export(&manager, &json!({ "key": KEY })));
        let whole = breaks == 2;
        assert_eq!(job.state, if whole { State::Completed } else { State::Failed });
        assert!(sent_again(&remote) > 0 && here.staging_is_empty(), "{:?}", remote.puts);
        assert_eq!(here.rows().len(), usize::from(whole));
    }
}

#[test]
fn an_export_whose_objects_are_sent_while_they_are_made_tells_how_much_of_the_tape_is_sent() {
    const MIB: u64 = 1 << 20;
    let place = tempfile::tempdir().unwrap();
    let here = Bench::roomy();
    here.put_remote(Arc::new(FolderRemote::open("r", place.path()).unwrap()));
    here.set(|settings| {
        settings.limiter = Limiter::new("4m".parse().unwrap(), 1, Arc::new(|| 0));
    });
    // 48 MiB, of which a quarter is sent, in one object.
    let block = |at| [noise(at, 1 << 16), vec![0; 3 << 16]].concat();
    let tape: Vec<_> = (0..192).map(|at| Some(block(at))).collect();
    here.cartridge(LABEL, &tape);
    let manager = here.start();
    let id = export(&manager, &json!({ "chunk_bytes": 64 * MIB }));
    let mut told = vec![0];
    let last = loop {
        let job = manager.show(id).unwrap().job;
        if job.state.is_terminal() {
            break job;
        }
        told.push(job.done_bytes);
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!((last.state, last.done_bytes, last.total_bytes), (State::Completed, 48 * MIB, 48 * MIB));
    assert!(told.is_sorted(), "{told:?}");
    // More than the object's own 12 MiB, before it is whole.
    assert!(told.iter().any(|bytes| (28 * MIB..44 * MIB).contains(bytes)), "{told:?}");
}

#[test]
fn a_paused_export_goes_on_with_what_is_staged() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let id = export(&manager, &json!({ "key": KEY }));
    while remote.puts.lock().unwrap().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    manager.pause(id).unwrap();
    let paused = |job: &vtl_jobs::Job| job.state == State::Paused;
    assert!(manager.wait_until(id, Some(common::PATIENCE), paused).unwrap().is_some_and(|job| paused(&job)));
    assert!(!here.staging_is_empty());
    half_sent(place.path(), FOLDER);
    let parts = [".vtl-part-00ff", ".vtl-part-01ff"].map(|part| place.path().join(FOLDER).join(part));
    std::fs::copy(&parts[0], &parts[1]).unwrap();
    *remote.held.lock().unwrap() = false;
    manager.resume(id).unwrap();
    done(&manager, id);
    assert!(sent_again(&remote) > 0 && here.staging_is_empty());
    assert!(!parts.iter().any(|part| part.exists()), "nobody would look for them any more");
    let there = Bench::with_folder(place.path());
    there.private.lock().unwrap().push(KEY);
    let other = there.start();
    done(&other, import(&other, FOLDER));
    assert_eq!(there.tape(LABEL), tape(5));
}

#[test]
fn an_export_takes_no_folder_that_another_server_has_begun_to_send_to_and_removes_nothing_of_it() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    half_sent(place.path(), FOLDER);
    let result = done(&manager, export(&manager, &json!({})));
    assert_eq!(result["folder"], "VTL001L8-20261126_031501");
    assert!(place.path().join(FOLDER).join(".vtl-part-00ff").exists());
}

#[test]
fn an_export_that_begins_removes_nothing_of_another_server_that_has_chosen_the_same_folder() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(5));
    let manager = here.start();
    let part = place.path().join(FOLDER).join(".vtl-part-00ff");
    *remote.rival.lock().unwrap() = Some(part.clone());
    let result = done(&manager, export(&manager, &json!({})));
    assert!(result["folder"] != FOLDER && part.exists(), "{result}");
}

#[test]
fn a_cancel_takes_the_folder_back_and_the_cartridge_stays() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    here.cartridge(LABEL, &tape(6));
    let manager = here.start();
    // Something is there already when the rest is held up.
    *remote.held.lock().unwrap() = true;
    let id = export(&manager, &json!({}));
    while remote.puts.lock().unwrap().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!here.staging_is_empty());
    half_sent(place.path(), FOLDER);
    let began = std::time::Instant::now();
    manager.cancel(id).unwrap();
    assert_eq!(ended(&manager, id).state, State::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    *remote.held.lock().unwrap() = false;
    assert_eq!((here.found().len(), files(place.path()).len(), here.staging_is_empty()), (0, 0, true));
    assert_eq!((here.tape(LABEL), here.confirmed(FOLDER)), (tape(6), 0));
    assert!(done(&manager, export(&manager, &json!({})))["exported"] == json!(true));
}

#[test]
fn a_cartridge_that_is_erased_and_written_while_its_export_runs_is_exported_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::roomy();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    // One object is on its way and one waits, of at least eight: most of the tape has not been read when the rest is held up.
    here.set(|settings| settings.slots = 1);
    let before: Vec<_> = (0..32).map(|at| Some(noise(27_000 + at, 262_144))).collect();
    let id = here.cartridge(LABEL, &before);
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let job = export(&manager, &json!({ "key": KEY }));
    while remote.puts.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut cartridge = Cartridge::open(&here.store, id, vtl_cartridge::Settings::default()).unwrap();
    cartridge.rewind();
    cartridge.erase().unwrap();
    cartridge.close().unwrap();
    let after = [Some(b"another tape".to_vec()), None];
    here.append(id, &after);
    let all = GcRule { dead_percent: 1, ..GcRule::default() };
    here.store.gc(all).unwrap();
    *remote.held.lock().unwrap() = false;
    let result = done(&manager, job);
    assert_eq!((&result["exported"], &result["folder"]), (&json!(true), &json!(FOLDER)));
    assert!(here.store.gc(all).unwrap().freed_bytes > 1 << 20, "only the export needed it");

    let there = Bench::roomy();
    there.put_remote(Arc::new(FolderRemote::open("r", place.path()).unwrap()));
    let other = there.start();
    done(&other, import(&other, FOLDER));
    assert!(there.tape(LABEL) == before, "every block as it was");
    assert_eq!(here.tape(LABEL), after);
    assert_eq!(done(&manager, export(&manager, &json!({})))["exported"], true, "it has other content now");
}

#[test]
fn what_was_written_between_two_attempts_goes_to_another_folder_and_the_first_one_goes() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::new();
    let remote = Watched::on(place.path());
    here.put_remote(remote.clone());
    let id = here.cartridge(LABEL, &tape(7));
    let manager = here.start();
    *remote.held.lock().unwrap() = true;
    let job = export(&manager, &json!({}));
    while remote.puts.lock().unwrap().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    manager.pause(job).unwrap();
    manager.wait_until(job, Some(common::PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    *remote.held.lock().unwrap() = false;
    // An object of the first attempt, as one that was on its way may arrive late.
    std::fs::create_dir_all(place.path().join(FOLDER)).unwrap();
    std::fs::write(place.path().join(FOLDER).join("VTL001L8.img.000001"), b"late").unwrap();
    here.append(id, &[Some(noise(9, 1000))]);
    manager.resume(job).unwrap();
    let result = done(&manager, job);
    assert_eq!(here.found().len(), 1);
    let there = Bench::with_folder(place.path());
    let other = there.start();
    done(&other, import(&other, result["folder"].as_str().unwrap()));
    assert_eq!(there.tape(LABEL), [tape(7), vec![Some(noise(9, 1000))]].concat());
}

#[test]
fn a_cartridge_goes_here_only_when_what_is_there_is_proved_by_hashes_kept_here() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(8));
    let manager = here.start();
    let result = done(&manager, export(&manager, &json!({ "delete_after_export": true })));
    assert_eq!(
        (&result["deleted_here"], here.deleted.lock().unwrap().as_slice()),
        (&json!(true), &[(id, here.rows()[0].generation)][..])
    );

    // The same with a remote whose content changes behind the back of an export that does not look.
    let other_place = tempfile::tempdir().unwrap();
    let there = Bench::new();
    let folder = Arc::new(FolderRemote::open("r", other_place.path()).unwrap());
    let corrupt = Plan::script([(vtl_remote::Doing::Put, vtl_remote::Fault::Corrupt)]);
    there.put_remote(Arc::new(FaultyRemote::new(folder, corrupt)));
    there.set(|settings| settings.verify = Mode::None);
    there.cartridge(LABEL, &tape(8));
    let manager = there.start();
    let job = ended(&manager, export(&manager, &json!({ "delete_after_export": true })));
    assert_eq!(there.deleted.lock().unwrap().len(), 0, "{job:?}");
    assert_eq!(job.state, State::Failed);
}

#[test]
fn before_a_cartridge_goes_here_all_of_it_is_read_from_a_remote_that_may_tell_what_was_sent_along() {
    for may_be_sent in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::new();
        let remote = Watched::on(place.path());
        *remote.tells_what_was_sent.lock().unwrap() = may_be_sent;
        here.put_remote(remote.clone());
        here.cartridge(LABEL, &tape(8));
        let manager = here.start();
        let result = done(&manager, export(&manager, &json!({ "delete_after_export": true })));
        assert_eq!(result["deleted_here"], true);
        let gets = remote.gets.lock().unwrap();
        let objects = gets.iter().filter(|(object, _)| object.contains(".img.")).count() as u64;
        assert_eq!(objects, if may_be_sent { result["objects"].as_u64().unwrap() } else { 0 });
    }
}

fn spare() -> Value {
    json!({ "library": "lib0", "label": "series" })
}

#[test]
fn an_exported_cartridge_is_followed_by_one_blank_of_its_kind_with_a_label_that_nobody_ever_had() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.library(2);
    let id = here.cartridge(LABEL, &tape(1));
    // One that was exported from here once, and is only on the remote now.
    let gone = here.cartridge("VTL004L8", &tape(2));
    let manager = here.start();
    done(&manager, submit(&manager, EXPORT, Some("VTL004L8"), "{}"));
    let mut meta = here.meta.lock().unwrap();
    meta.transaction(|tx| vtl_library::begin_remove(tx, "VTL004L8".parse().unwrap())).unwrap();
    meta.transaction(|tx| vtl_library::finish_remove(tx, gone)).unwrap();
    drop(meta);

    let result = done(&manager, export(&manager, &json!({ "spare": spare() })));
    assert_eq!((&result["spare"], &result["no_spare_because"]), (&json!("VTL005L8"), &Value::Null));
    assert_eq!(here.in_slots(), ["VTL005L8"]);
    let made = here.meta.lock().unwrap().read(vtl_library::cartridges).unwrap();
    assert_eq!(made.iter().map(|one| one.capacity.0).max(), Some(1 << 30), "as large as the exported one");
    // Unchanged: nothing is exported, and there is no spare for that.
    let again = done(&manager, export(&manager, &json!({ "spare": spare() })));
    assert_eq!((&again["skipped"], &again["spare"]), (&json!("unchanged"), &Value::Null));
    // Exported once more, it takes no other blank.
    here.append(id, &[Some(noise(1, 100))]);
    let once_more = done(&manager, export(&manager, &json!({ "spare": spare() })));
    assert_eq!(once_more["exported"], true);
    assert!(once_more["no_spare_because"].as_str().unwrap().contains("VTL005L8"), "{once_more}");
    assert_eq!(here.in_slots(), ["VTL005L8"]);
}

#[test]
fn without_an_empty_slot_or_a_free_label_the_export_is_done_and_says_why_there_is_no_spare() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.library(1);
    here.cartridge("VTL001L8", &tape(1));
    here.cartridge("VTL002L8", &tape(2));
    here.cartridge("SPARE0L8", &tape(3));
    let manager = here.start();
    let asked = |label: &str, pattern: &str| {
        let request = json!({ "spare": { "library": "lib0", "label": pattern } }).to_string();
        done(&manager, submit(&manager, EXPORT, Some(label), &request))
    };
    assert_eq!(asked("VTL001L8", "SPARE#")["spare"], "SPARE1L8");
    let full = asked("VTL002L8", "SPARE#");
    assert_eq!((&full["exported"], &full["spare"]), (&json!(true), &Value::Null));
    assert!(full["no_spare_because"].as_str().unwrap().contains("0 empty slots"), "{full}");
    let nowhere = json!({ "spare": { "library": "lib9", "label": "series" } }).to_string();
    let nowhere = done(&manager, submit(&manager, EXPORT, Some("SPARE0L8"), &nowhere));
    assert!(nowhere["no_spare_because"].as_str().unwrap().contains("lib9"), "{nowhere}");
    assert_eq!(here.in_slots(), ["SPARE1L8"]);
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_one_spare() {
    let mut lived = false;
    for changes in 0..60 {
        let place = tempfile::tempdir().unwrap();
        let here = Bench::with_folder(place.path());
        here.library(4);
        here.cartridge(LABEL, &[Some(noise(changes, 1000))]);
        let manager = here.start();
        let id = export(&manager, &json!({ "spare": spare(), "delete_after_export": true }));
        here.dies_after(i64::try_from(changes).unwrap());
        lived = manager
            .wait_until(id, Some(common::PATIENCE), |job| here.is_dead() || job.state.is_terminal())
            .unwrap()
            .is_some_and(|job| job.state == State::Completed);
        manager.stop();
        drop(manager);
        let manager = here.start();
        let result = done(&manager, id);
        assert_eq!(
            (&result["spare"], here.in_slots()),
            (&json!("VTL002L8"), vec!["VTL002L8".to_owned()]),
            "after {changes}"
        );
        if lived {
            break;
        }
    }
    assert!(lived, "some number of changes is enough");
}

#[test]
fn a_damaged_missing_or_exchanged_object_is_found_by_verify_and_no_import_leaves_anything_of_it() {
    let place = tempfile::tempdir().unwrap();
    let source = Bench::with_folder(place.path());
    source.cartridge(LABEL, &tape(10));
    let manager = source.start();
    done(&manager, export(&manager, &json!({ "key": KEY })));
    let request = json!({ "remote": "r", "folder": FOLDER }).to_string();
    let good = done(&manager, submit(&manager, VERIFY, None, &request));
    assert_eq!((&good["checked"], &good["known"]), (&good["objects"], &json!(true)));
    let home = place.path().join(FOLDER);
    let object = |number: u32| home.join(format!("VTL001L8.img.{number:06}"));
    let (second, third) = (std::fs::read(object(2)).unwrap(), std::fs::read(object(3)).unwrap());
    let mut flipped = second.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let wrongs: [(&str, Option<&[u8]>); 4] = [
        ("flipped", Some(&flipped)),
        ("cut", Some(&second[..second.len() - 1])),
        ("exchanged", Some(&third)),
        ("missing", None),
    ];
    for (what, bytes) in wrongs {
        match bytes {
            Some(bytes) => std::fs::write(object(2), bytes).unwrap(),
            None => std::fs::remove_file(object(2)).unwrap(),
        }
        let trouble = failed(&manager, submit(&manager, VERIFY, None, &request));
        assert!(trouble.message.contains("VTL001L8.img.000002"), "{what}: {trouble:?}");
        let there = Bench::with_folder(place.path());
        let other = there.start();
        let trouble = failed(&other, import(&other, FOLDER));
        assert!(trouble.message.contains("VTL001L8.img.000002"), "{what}: {trouble:?}");
        assert!(
            there.id_of(LABEL).is_none() && there.store.owners().is_empty() && there.rows().is_empty(),
            "{what}"
        );
        assert!(there.staging_is_empty());
        std::fs::write(object(2), &second).unwrap();
    }
    // The manifest of another bundle is not the one that was written here.
    let manifest = home.join("VTL001L8.manifest");
    let mut text = std::fs::read(&manifest).unwrap();
    text.truncate(text.len() - 2);
    std::fs::write(&manifest, text).unwrap();
    failed(&manager, submit(&manager, VERIFY, None, &request));
}

#[test]
fn a_label_that_is_taken_is_refused_and_another_one_is_taken() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(11));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    let trouble = failed(&manager, import(&manager, FOLDER));
    assert!(trouble.code == "exists" && trouble.remedy.unwrap().contains("--as"));
    let as_label = |label: &str| {
        let request = json!({ "remote": "r", "folder": FOLDER, "as_label": label }).to_string();
        submit(&manager, IMPORT, None, &request)
    };
    assert!(failed(&manager, as_label("VTL002LY")).message.contains("another kind"));
    let result = done(&manager, as_label("VTL002L8"));
    assert_eq!((&result["label"], &result["known"]), (&json!("VTL002L8"), &json!(true)));
    assert_eq!(here.tape("VTL002L8"), tape(11));
    assert_eq!((here.store.owners().len(), here.rows().len()), (2, 2));
    let unknown = failed(&manager, import(&manager, "VTL003L8-20261126_031500"));
    assert_eq!(unknown.code, "not-found");
    for odd in ["../VTL001L8-20261126_031500", "VTL001L8", ""] {
        assert_eq!(failed(&manager, import(&manager, odd)).code, "invalid", "{odd}");
    }
}

#[test]
fn only_what_is_incomplete_and_old_is_pruned_and_a_complete_folder_wants_its_name_twice() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(12));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    for folder in ["VTL002L8-20261101_000000", "VTL003L8-20261126_000000", "notes"] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
        std::fs::write(place.path().join(folder).join("VTL002L8.img.000001"), b"x").unwrap();
    }
    let prune = |request: Value| submit(&manager, PRUNE, None, &request.to_string());
    let result = done(&manager, prune(json!({ "remote": "r" })));
    assert_eq!(result["folders"], json!(["VTL002L8-20261101_000000"]));
    assert_eq!(result["left"], json!(["VTL003L8-20261126_000000"]));
    assert!(place.path().join("notes/VTL002L8.img.000001").exists());
    assert!(
        failed(&manager, prune(json!({ "remote": "r", "folder": FOLDER })))
            .remedy
            .unwrap()
            .contains("--confirm")
    );
    assert_eq!(here.rows().len(), 1);
    done(&manager, prune(json!({ "remote": "r", "folder": FOLDER, "confirm": FOLDER })));
    assert_eq!((here.rows().len(), here.found().len()), (0, 1));
    *here.now_s.lock().unwrap() = NOW_S + 60;
    assert_eq!(done(&manager, export(&manager, &json!({})))["exported"], json!(true));
}

/// Names and bytes of what a job would do, and what else its plan says.
fn plan(manager: &Manager, kind: &str, request: &Value) -> (Vec<(String, u64)>, String) {
    let plan = manager.plan(kind, &request.to_string()).unwrap().unwrap();
    (plan.tasks.into_iter().map(|task| (task.name, task.bytes)).collect(), plan.notes.join("\n"))
}

fn not_planned(manager: &Manager, kind: &str, request: &Value) -> vtl_jobs::Failure {
    manager.plan(kind, &request.to_string()).unwrap().unwrap_err()
}

#[test]
fn the_plan_of_a_removal_names_each_folder_with_its_bytes_and_what_stays_and_removes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(12));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    for (folder, bytes) in [("VTL002L8-20261101_000000", 5), ("VTL003L8-20261126_000000", 7)] {
        std::fs::create_dir(place.path().join(folder)).unwrap();
        std::fs::write(place.path().join(folder).join("VTL002L8.img.000001"), vec![0; bytes]).unwrap();
    }
    let before = (files(place.path()), here.rows().len());
    let (tasks, notes) = plan(&manager, PRUNE, &json!({ "remote": "r" }));
    let removal = "remove VTL002L8-20261101_000000: incomplete, a week old, 1 objects";
    assert_eq!(tasks, [(removal.to_owned(), 5)]);
    assert!(
        notes.contains("1 incomplete folders stay") && notes.contains("VTL003L8-20261126_000000"),
        "{notes}"
    );
    // What the job would refuse its plan refuses.
    let named = |confirm: Option<&str>| json!({ "remote": "r", "folder": FOLDER, "confirm": confirm });
    let refused = not_planned(&manager, PRUNE, &named(None));
    assert!(refused.remedy.as_deref().unwrap().contains("--confirm"), "{refused:?}");
    let (tasks, _) = plan(&manager, PRUNE, &named(Some(FOLDER)));
    assert!(tasks[0].0.contains(FOLDER) && tasks[0].0.contains("complete, named"), "{tasks:?}");
    assert_eq!(tasks[0].1, here.found()[0].bytes);
    let absent = json!({ "remote": "r", "folder": "VTL009L8-20261101_000000" });
    assert_eq!(not_planned(&manager, PRUNE, &absent).code, "not-found");
    assert_eq!((files(place.path()), here.rows().len()), before);
    for number in 100..250 {
        let folder = place.path().join(format!("VTL{number}L8-20261101_000000"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("x"), b"xy").unwrap();
    }
    let (tasks, notes) = plan(&manager, PRUNE, &json!({ "remote": "r" }));
    assert_eq!((tasks.len(), &tasks[100].0), (101, &"and 51 more".to_owned()));
    let all = 5 + 150 * 2;
    assert_eq!(tasks.iter().map(|task| task.1).sum::<u64>(), all);
    assert!(notes.contains(&format!("go 151 folders with {all} bytes")), "{notes}");
}

#[test]
fn plans_of_an_import_and_a_verification_tell_objects_and_bytes_and_take_nothing_in() {
    let place = tempfile::tempdir().unwrap();
    let source = Bench::with_folder(place.path());
    source.cartridge(LABEL, &tape(11));
    let manager = source.start();
    let result = done(&manager, export(&manager, &json!({ "key": KEY })));
    let (objects, stored) = (result["objects"].as_u64().unwrap(), result["stored_bytes"].as_u64().unwrap());
    let request = json!({ "remote": "r", "folder": FOLDER });
    let (tasks, notes) = plan(&manager, VERIFY, &request);
    assert_eq!(tasks, [("fetch and compare".to_owned(), stored)]);
    assert!(notes.contains(&format!("{objects} of {objects} objects")), "{notes}");
    let sampled = json!({ "remote": "r", "folder": FOLDER, "sample_percent": 1 });
    let (tasks, notes) = plan(&manager, VERIFY, &sampled);
    assert!((1..stored).contains(&tasks[0].1), "{tasks:?}");
    assert!(notes.contains(&format!("1 of {objects} objects")), "{notes}");
    assert_eq!(not_planned(&manager, IMPORT, &request).code, "exists");

    let there = Bench::with_folder(place.path());
    let other = there.start();
    let (tasks, notes) = plan(&other, IMPORT, &request);
    assert_eq!(tasks, [("fetch".to_owned(), stored)]);
    let sizes = format!("{objects} objects, {} bytes of blocks", result["image_bytes"]);
    for words in [LABEL, FOLDER, sizes.as_str()] {
        assert!(notes.contains(words), "{words}: {notes}");
    }
    there.private.lock().unwrap().clear();
    assert_eq!(not_planned(&other, IMPORT, &request).code, "not-found", "the key is not here");
    assert!(there.id_of(LABEL).is_none() && there.store.owners().is_empty() && there.rows().is_empty());
    assert!(there.staging_is_empty() && other.list().unwrap().is_empty());
    // A remote that cannot be reached is told as the job tells it.
    let good: Arc<dyn vtl_remote::Remote> = Arc::new(FolderRemote::open("r", place.path()).unwrap());
    let script = || Plan::script((0..9).map(|_| (Doing::Get, Fault::Drop)));
    for kind in [IMPORT, VERIFY] {
        there.put_remote(Arc::new(FaultyRemote::new(good.clone(), script())));
        let refused = not_planned(&other, kind, &request);
        assert!(refused.message.contains("the connection was dropped"), "{kind}: {refused:?}");
    }
    std::fs::remove_dir_all(place.path().join(FOLDER)).unwrap();
    there.put_remote(good);
    assert_eq!(not_planned(&other, IMPORT, &request).code, "not-found");
}

/// As a process leaves it that is killed before a checkpoint names it: no listing shows it.
fn half_sent(place: &Path, folder: &str) {
    std::fs::create_dir_all(place.join(folder)).unwrap();
    std::fs::write(place.join(folder).join(".vtl-part-00ff"), b"half").unwrap();
}

#[test]
fn what_is_half_sent_and_nothing_else_is_seen_and_pruned_as_a_folder_of_objects_is() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let manager = here.start();
    for folder in ["VTL002L8-20261101_000000", "VTL003L8-20261126_000000", "notes"] {
        half_sent(place.path(), folder);
    }
    let found: Vec<_> = here.found().into_iter().map(|one| (one.name.to_string(), one.objects)).collect();
    assert_eq!(
        found,
        [("VTL002L8-20261101_000000".to_owned(), 0), ("VTL003L8-20261126_000000".to_owned(), 0)]
    );
    let prune = |request: Value| done(&manager, submit(&manager, PRUNE, None, &request.to_string()));
    let result = prune(json!({ "remote": "r" }));
    assert_eq!(result["folders"], json!(["VTL002L8-20261101_000000"]));
    assert_eq!(result["left"], json!(["VTL003L8-20261126_000000"]));
    prune(json!({ "remote": "r", "folder": "VTL003L8-20261126_000000" }));
    assert_eq!(files(place.path()), [place.path().join("notes/.vtl-part-00ff")], "it is no folder of ours");
}

#[test]
fn the_site_is_told_of_a_cartridge_that_was_put_out_before_anything_is_sent_and_may_hold_it_back() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.set(|settings| settings.defaults.key = Some("nobody".into()));
    here.cartridge(LABEL, &[Some(b"on the tape".to_vec())]);
    let manager = here.start();
    let told =
        |class| vtl_jobs::Failure { class, code: "conflict".into(), message: "not now".into(), remedy: None };
    let asked =
        json!({ "label": LABEL, "library": "lib0", "remote": "r", "key": "none", "verify": "readback" });
    *here.hook_fails.lock().unwrap() = Some(told(vtl_jobs::Class::Permanent));
    assert_eq!(failed(&manager, export(&manager, &asked)).message, "not now");
    assert!(files(place.path()).is_empty());
    *here.hook_fails.lock().unwrap() = Some(told(vtl_jobs::Class::Temporary));
    let result = done(&manager, export(&manager, &asked));
    assert_eq!((&result["exported"], &result["proof"]), (&json!(true), &json!("verified by reading back")));
    // What is skipped is not sent, and nobody is told.
    assert_eq!(done(&manager, export(&manager, &asked))["skipped"], "unchanged");
    assert_eq!(*here.vaulted.lock().unwrap(), ["VTL001L8 of lib0, 11 bytes"; 3]);
}

#[test]
fn a_bundle_that_somebody_has_removed_is_no_reason_to_skip() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    here.cartridge(LABEL, &tape(14));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    assert_eq!(done(&manager, export(&manager, &json!({})))["skipped"], "unchanged");
    std::fs::remove_dir_all(place.path().join(FOLDER)).unwrap();
    assert_eq!(done(&manager, export(&manager, &json!({})))["exported"], true);
    assert_eq!((here.rows().len(), here.found().len()), (1, 1));
}

#[test]
fn without_a_staging_folder_nothing_is_sent() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    std::fs::write(here.folder.path().join("file"), b"").unwrap();
    let inside = here.folder.path().join("file/staging");
    here.set(|settings| settings.staging = inside);
    here.cartridge(LABEL, &tape(13));
    let new = here.clone();
    std::fs::remove_file(here.folder.path().join("file")).unwrap();
    let manager = new.start();
    std::fs::write(here.folder.path().join("file"), b"").unwrap();
    let trouble = failed(&manager, export(&manager, &json!({})));
    assert!(trouble.message.contains("staging"), "{trouble:?}");
    assert!(files(place.path()).is_empty());
}

fn repair(manager: &Manager) -> JobId {
    submit(manager, REPAIR, None, "{}")
}

#[test]
fn what_was_lost_comes_back_from_an_export_also_from_an_older_one_as_far_as_the_tape_is_the_same() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(20));
    let manager = here.start();
    assert_eq!(done(&manager, repair(&manager))["cartridges"], json!([]), "nothing is lost");
    done(&manager, export(&manager, &json!({ "key": KEY })));
    // What is only here, in packs of its own.
    here.append(id, &[Some(noise(77, 300_000))]);
    let plan = manager.plan(REPAIR, "{}").unwrap().unwrap();
    assert!(plan.tasks.is_empty(), "{plan:?}");
    let lost = here.damage(id);
    assert!(lost > 0);
    let plan = manager.plan(REPAIR, "{}").unwrap().unwrap();
    assert!(plan.tasks[0].name.contains(LABEL) && plan.tasks[0].bytes > 0, "{plan:?}");
    assert!(plan.notes[0].contains(FOLDER), "{plan:?}");

    let result = done(&manager, repair(&manager));
    let told = &result["cartridges"][0];
    assert_eq!((&told["label"], &told["damaged_bytes"]), (&json!(LABEL), &json!(lost)));
    assert_eq!(told["from"], json!([format!("r/{FOLDER}")]));
    let left = told["remaining_bytes"].as_u64().unwrap();
    assert_eq!(told["healed_bytes"].as_u64().unwrap() + left, lost, "{told}");
    assert!(left > 0 && left < 300_000 && left == here.lost(id), "what came after the export: {told}");
    assert!(told["why"].to_string().contains("not what was lost"), "{told}");
    assert!(here.staging_is_empty());
    let mut reading = vtl_cartridge::Reading::open(&here.store, id).unwrap();
    for thing in tape(20) {
        let found = match reading.next_object().unwrap() {
            vtl_cartridge::Kept::Block(portions) => {
                Some(portions.iter().flat_map(|one| one.bytes.to_vec()).collect::<Vec<_>>())
            }
            _ => None,
        };
        assert!(found == thing);
    }
}

#[test]
fn what_an_export_has_in_place_of_what_was_lost_is_not_taken_when_it_is_other_content() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(21));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    let mut cartridge =
        vtl_cartridge::Cartridge::open(&here.store, id, vtl_cartridge::Settings::default()).unwrap();
    cartridge.rewind();
    cartridge.erase().unwrap();
    cartridge.close().unwrap();
    let other: Vec<_> = (0..16).map(|at| Some(noise(9000 + at, 262_144))).collect();
    here.append(id, &other);
    let lost = here.damage(id);
    let before = here.disk.files().into_iter().map(|file| (here.disk.contents(&file), file));
    let before: Vec<_> =
        before.filter(|(_, file)| file.extension().is_some_and(|end| end == "pack")).collect();
    let result = done(&manager, repair(&manager));
    let told = &result["cartridges"][0];
    assert_eq!((&told["healed_chunks"], &told["remaining_bytes"]), (&json!(0), &json!(lost)), "{told}");
    assert!(told["why"].to_string().contains("not what was lost"), "{told}");
    for (bytes, file) in before {
        assert!(here.disk.contents(&file) == bytes, "{} has changed", file.display());
    }
}

#[test]
fn a_damaged_export_gives_what_is_whole_of_it_and_the_rest_is_named_by_object_and_frame() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(23));
    let manager = here.start();
    done(&manager, export(&manager, &json!({ "key": KEY })));
    let object = place.path().join(FOLDER).join("VTL001L8.img.000002");
    let whole = std::fs::read(&object).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&object, flipped).unwrap();
    let lost = here.damage(id);
    let told = done(&manager, repair(&manager))["cartridges"][0].clone();
    let left = told["remaining_bytes"].as_u64().unwrap();
    assert!(left > 0 && left < lost && left == here.lost(id), "{told}");
    assert!(told["why"].to_string().contains("VTL001L8.img.000002, frame"), "{told}");

    std::fs::remove_file(&object).unwrap();
    let told = done(&manager, repair(&manager))["cartridges"][0].clone();
    assert!(told["why"].to_string().contains("VTL001L8.img.000002"), "{told}");
    assert_eq!((&told["remaining_bytes"], here.lost(id)), (&json!(left), left), "{told}");

    std::fs::write(&object, whole).unwrap();
    let told = done(&manager, repair(&manager))["cartridges"][0].clone();
    assert_eq!((&told["remaining_bytes"], here.lost(id)), (&json!(0), 0), "{told}");
    assert_eq!(here.tape(LABEL), tape(23));
}

#[test]
fn a_manifest_that_somebody_has_exchanged_gives_nothing() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(24));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    let lost = here.damage(id);
    // The same cartridge, exported by another server at the same time: all of it is right but for the hash that is kept here.
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Bench::with_folder(elsewhere.path());
    other.cartridge(LABEL, &tape(24));
    let exporter = other.start();
    done(&exporter, export(&exporter, &json!({})));
    for file in files(elsewhere.path()) {
        std::fs::copy(&file, place.path().join(FOLDER).join(file.file_name().unwrap())).unwrap();
    }
    let told = done(&manager, repair(&manager))["cartridges"][0].clone();
    assert_eq!((&told["healed_chunks"], here.lost(id)), (&json!(0), lost), "{told}");
    assert!(told["why"].to_string().contains("not the one that was written or read here"), "{told}");
}

#[test]
fn through_a_remote_that_fails_by_plan_a_repair_brings_back_what_was_lost_or_says_what_is_left() {
    let place = tempfile::tempdir().unwrap();
    let tape = [Some(noise(25, 262_144)), None, Some(noise(26, 100_000))];
    let mut whole = 0;
    for seed in 1..=6 {
        let here = Bench::with_folder(place.path());
        let id = here.cartridge(LABEL, &tape);
        let manager = here.start();
        let result = done(&manager, export(&manager, &json!({})));
        let good = here.remotes.lock().unwrap()["r"].clone();
        here.put_remote(Arc::new(FaultyRemote::new(good.clone(), Plan::Seeded { seed, per_mille: 60 })));
        let lost = here.damage(id);
        let job = ended(&manager, repair(&manager));
        let left = here.lost(id);
        if job.state == State::Completed && left == 0 {
            whole += 1;
        } else {
            let said = format!("{:?}{:?}", job.result, job.trouble);
            assert!(left <= lost && said.contains(result["folder"].as_str().unwrap()), "seed {seed}: {said}");
            here.put_remote(good);
            done(&manager, repair(&manager));
        }
        assert!(here.tape(LABEL) == tape, "seed {seed}");
        std::fs::remove_dir_all(place.path().join(result["folder"].as_str().unwrap())).unwrap();
    }
    assert!(whole > 0, "some got through");
}

#[test]
fn a_repair_that_is_cancelled_keeps_what_is_back_and_leaves_the_rest_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let id = here.cartridge(LABEL, &tape(26));
    let manager = here.start();
    done(&manager, export(&manager, &json!({})));
    let lost = here.damage(id);
    // Each read of an object takes a while, so that the cancel comes in between.
    let good = here.remotes.lock().unwrap()["r"].clone();
    let slow = (0..400).map(|_| (Doing::Get, Fault::Slow(Duration::from_millis(50))));
    here.put_remote(Arc::new(FaultyRemote::new(good.clone(), Plan::script(slow))));
    let job = repair(&manager);
    manager.wait_until(job, Some(common::PATIENCE), |job| job.state == State::Running).unwrap();
    manager.cancel(job).unwrap();
    assert_eq!(ended(&manager, job).state, State::Cancelled);
    assert!(here.lost(id) <= lost);
    here.put_remote(good);
    done(&manager, repair(&manager));
    assert_eq!((here.lost(id), here.tape(LABEL) == tape(26)), (0, true));
}
