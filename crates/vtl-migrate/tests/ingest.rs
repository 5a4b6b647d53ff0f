//! Ingests from a device that behaves as Linux st: what is on the tape is on the cartridge, and what cannot be read is never left out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/st.rs"]
mod st;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Bench, KEY, PATIENCE, done, ended, failed, noise, submit};
use serde_json::json;
use st::{On, St};
use vtl_jobs::{JobId, Manager, State};
use vtl_library::{Counts, InstallationId, NewLibrary};
use vtl_migrate::{EXPORT, Export, IMPORT, INGEST, Ingest};
use vtl_types::Generation;

const LABEL: &str = "P00001L6";

fn start(here: &Arc<Bench>, st: &St) -> Manager {
    here.start_with(vec![Arc::new(Ingest::new(here.world(), Arc::new(st.clone())))])
}

fn request(library: Option<&str>, capacity: u64) -> String {
    let mut request = json!({ "label": LABEL, "device": "/dev/nst0", "capacity_bytes": capacity, "early_warning_bytes": 0 });
    if let Some(library) = library {
        request["library"] = json!(library);
    }
    request.to_string()
}

fn ingest(manager: &Manager) -> JobId {
    submit(manager, INGEST, Some(LABEL), &request(None, 1 << 30))
}

/// A library with one slot.
fn library(here: &Bench) {
    let name: vtl_types::LibraryName = "lib0".parse().unwrap();
    let new = NewLibrary {
        target: vtl_library::default_target(&name).unwrap(),
        name,
        profile: "ibm-03584l32".to_owned(),
        drive_profile: "ibm-ult3580-td8".to_owned(),
        drive_generation: Generation::Lto8,
        counts: Counts { drives: 1, slots: 1, mailslots: 0 },
    };
    let mut meta = here.meta.lock().unwrap();
    meta.transaction(|tx| vtl_library::install(tx, InstallationId([1; 16]))).unwrap();
    meta.transaction(|tx| vtl_library::create_library(tx, &new)).unwrap();
}

fn record(seed: u64, len: usize) -> On {
    On::Record(noise(seed, len))
}

fn marks(text: &str) -> Vec<On> {
    text.chars().map(|c| if c == '|' { On::Mark } else { record(u64::from(c), 1000) }).collect()
}

/// As the bench reads cartridges.
fn as_read(tape: &[On]) -> Vec<Option<Vec<u8>>> {
    let thing = |on: &On| match on {
        On::Record(bytes) => Some(bytes.clone()),
        On::Mark => None,
        other => panic!("{other:?} cannot be read"),
    };
    tape.iter().map(thing).collect()
}

fn nothing_is_left(here: &Bench) {
    assert_eq!((here.store.owners().len(), here.id_of(LABEL)), (0, None));
}

#[test]
fn every_length_every_filemark_and_the_end_are_those_of_the_tape() {
    let here = Bench::new();
    let mut tape = vec![On::Mark, On::Mark, record(1, 1), record(2, 80), record(3, 262_144), On::Mark];
    // Longer than the buffer, behind a mark and behind a record.
    tape.extend([record(4, (1 << 20) + 1), record(5, 1 << 20), On::Mark, On::Mark, record(6, (4 << 20) + 1)]);
    tape.extend([record(7, 512), On::Mark, On::Mark]);
    let st = St::with(tape.clone());
    let manager = start(&here, &st);
    let result = done(&manager, ingest(&manager));
    assert!(here.tape(LABEL) == as_read(&tape));
    let bytes = 1 + 80 + 262_144 + 1_048_577 + 1_048_576 + 4_194_305 + 512;
    assert_eq!(
        result,
        json!({ "label": LABEL, "device": "/dev/nst0", "blocks": 7, "filemarks": 7, "image_bytes": bytes, "place": "vault" })
    );
    let job = manager.list().unwrap().remove(0).job;
    assert_eq!((job.done_bytes, job.total_bytes), (bytes, bytes));
    assert!(st.appeared.lock().unwrap().is_empty());
}

#[test]
fn what_was_ingested_is_exported_and_comes_back_elsewhere_as_it_was_on_the_tape() {
    let place = tempfile::tempdir().unwrap();
    let here = Bench::with_folder(place.path());
    let mut tape = marks("|ab||c|");
    tape.extend([record(8, (1 << 20) + 1), On::Mark]);
    let manager = here.start_with(vec![
        Arc::new(Ingest::new(here.world(), Arc::new(St::with(tape.clone())))),
        Arc::new(Export::new(here.world(), Arc::default())),
    ]);
    done(&manager, ingest(&manager));
    let request = json!({ "key": KEY }).to_string();
    let result = done(&manager, submit(&manager, EXPORT, Some(LABEL), &request));
    let there = Bench::with_folder(place.path());
    let other = there.start();
    let request = json!({ "remote": "r", "folder": result["folder"] }).to_string();
    done(&other, submit(&other, IMPORT, None, &request));
    assert!(there.tape(LABEL) == as_read(&tape));
}

#[test]
fn the_plan_of_an_ingest_tells_device_and_label_and_leaves_the_device_alone() {
    let here = Bench::new();
    let st = St::with(marks("a|"));
    let manager = start(&here, &st);
    let plan = || manager.plan(INGEST, &request(None, 1 << 30)).unwrap();
    let notes = plan().unwrap().notes.join("\n");
    assert!(notes.contains("/dev/nst0 becomes P00001L6, in the vault"), "{notes}");
    assert!(notes.contains("up to 1073741824 bytes"), "{notes}");
    assert_eq!((st.calls(), st.rewound.load(Ordering::SeqCst)), (0, 0));
    nothing_is_left(&here);
    done(&manager, ingest(&manager));
    assert_eq!(plan().unwrap_err().code, "exists");
}

#[test]
fn tapes_end_as_they_end() {
    for text in ["", "|", "||", "|||", "a", "ab", "a|", "a||", "a|||", "a||b", "|a", "||a|", "a|b|c||"] {
        let here = Bench::new();
        let manager = start(&here, &St::with(marks(text)));
        done(&manager, ingest(&manager));
        assert_eq!(here.tape(LABEL), as_read(&marks(text)), "{text:?}");
    }
}

#[test]
fn a_record_that_cannot_be_read_fails_the_job_wherever_it_is_and_leaves_nothing() {
    for text in ["abc", "a|b", "a||b|", "|a|", "||", "a||"] {
        for at in 0..=text.len() {
            for damage in [On::Damaged, On::DamagedLikeAMark] {
                let here = Bench::new();
                let mut tape = marks(text);
                tape.insert(at, damage.clone());
                let manager = start(&here, &St::with(tape));
                let trouble = failed(&manager, ingest(&manager));
                let about = format!("{text:?} with {damage:?} at {at}: {trouble:?}");
                assert!(trouble.message.contains("cannot be read"), "{about}");
                assert!(trouble.message.contains("/dev/nst0") && trouble.remedy.is_some(), "{about}");
                if damage == On::Damaged {
                    let before = &text[..at];
                    let (file, block) =
                        (before.matches('|').count(), before.rsplit('|').next().unwrap().len());
                    let place = format!("file {file}, block {block} (object {at} of {})", text.len() + 1);
                    assert!(trouble.message.contains(&place), "{about}");
                }
                nothing_is_left(&here);
            }
        }
    }
}

#[test]
fn a_device_that_fails_at_any_call_costs_the_job_and_nothing_else() {
    let mut tape = marks("a|b||");
    tape.push(On::Record(vec![5; (1 << 20) + 1]));
    let mut whole = false;
    for call in 0..60 {
        let here = Bench::new();
        let st = St::with(tape.clone());
        st.fails_at.store(call, Ordering::SeqCst);
        let manager = start(&here, &st);
        let id = ingest(&manager);
        let job = ended(&manager, id);
        whole = st.calls() <= call;
        if whole {
            assert_eq!(job.state, State::Completed);
            break;
        }
        assert_eq!((job.state, job.trouble.unwrap().message), (State::Failed, format!("call {call} fails")));
        nothing_is_left(&here);
        if call % 8 != 3 {
            continue;
        }
        // A retry begins at the beginning of the tape.
        let again = manager.retry(id).unwrap().job.id;
        done(&manager, again);
        assert_eq!(here.tape(LABEL), as_read(&tape), "call {call}");
    }
    assert!(whole, "some number of calls is enough");
}

#[test]
fn a_drive_that_does_not_count_objects_a_record_that_no_block_can_be_and_a_driver_that_counts_no_marks_are_refused()
 {
    let here = Bench::new();
    let other = St { counts_from: 7, ..St::with(marks("a|")) };
    let manager = start(&here, &other);
    let trouble = failed(&manager, ingest(&manager));
    assert!(trouble.message.contains("at object 7 after a rewind"), "{trouble:?}");
    assert!(trouble.remedy.unwrap().contains("scsi2logical"));
    nothing_is_left(&here);
    drop(manager);
    let long = St::with(vec![On::Mark, record(1, 5), On::Record(vec![0; 1 << 24])]);
    let manager = start(&here, &long);
    let trouble = failed(&manager, ingest(&manager));
    assert_eq!(trouble.message, "/dev/nst0: file 1, block 1 has a record of more than 16777215 bytes");
    nothing_is_left(&here);
    drop(manager);
    let unsure = St { knows_files: false, ..St::with(marks("a|")) };
    let manager = start(&here, &unsure);
    let trouble = failed(&manager, ingest(&manager));
    assert!(trouble.message.contains("does not know how many filemarks"), "{trouble:?}");
    nothing_is_left(&here);
}

#[test]
fn a_crash_at_any_change_of_the_inventory_leaves_an_ingest_that_goes_on_and_one_cartridge() {
    let tape = marks("ab|c||");
    let mut lived = false;
    for changes in 0..60 {
        let here = Bench::new();
        library(&here);
        let st = St::with(tape.clone());
        let manager = start(&here, &st);
        let id = submit(&manager, INGEST, Some(LABEL), &request(Some("lib0"), 1 << 30));
        here.dies_after(changes);
        lived = manager
            .wait_until(id, Some(PATIENCE), |job| here.is_dead() || job.state.is_terminal())
            .unwrap()
            .is_some_and(|job| job.state == State::Completed);
        manager.stop();
        drop(manager);
        let manager = start(&here, &st);
        let result = done(&manager, id);
        assert_eq!(
            (&result["place"], &result["library"]),
            (&json!("slot:1"), &json!("lib0")),
            "after {changes}"
        );
        assert_eq!(here.tape(LABEL), as_read(&tape), "after {changes}");
        assert_eq!(here.store.owners().len(), 1, "after {changes}");
        assert!(st.appeared.lock().unwrap().contains(&"slot:1 of lib0".to_owned()), "after {changes}");
        if lived {
            break;
        }
    }
    assert!(lived, "some number of changes is enough");
}

#[test]
fn a_cancel_leaves_nothing_and_a_pause_begins_anew() {
    let here = Bench::new();
    let st = St::with(marks("abc|de||"));
    st.held.store(true, Ordering::SeqCst);
    let manager = start(&here, &st);
    let id = ingest(&manager);
    while here.store.owners().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(here.id_of(LABEL), None, "it is not listed before it is whole");
    let shown = manager.show(id).unwrap();
    assert_eq!((shown.job.total_bytes, shown.left_s), (0, None), "nobody knows how much there is");
    manager.pause(id).unwrap();
    st.held.store(false, Ordering::SeqCst);
    manager.wait_until(id, Some(PATIENCE), |job| job.state == State::Paused).unwrap().unwrap();
    nothing_is_left(&here);
    st.held.store(true, Ordering::SeqCst);
    manager.resume(id).unwrap();
    while here.store.owners().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(st.rewound.load(Ordering::SeqCst), 2);
    manager.cancel(id).unwrap();
    st.held.store(false, Ordering::SeqCst);
    assert_eq!(ended(&manager, id).state, State::Cancelled);
    nothing_is_left(&here);
}

#[test]
fn a_label_that_is_taken_and_a_tape_that_has_more_are_refused_with_their_remedy() {
    let here = Bench::new();
    let st = St::with(marks("abc|"));
    let manager = start(&here, &st);
    let trouble = failed(&manager, submit(&manager, INGEST, Some(LABEL), &request(None, 2500)));
    assert_eq!(
        (trouble.code.as_str(), trouble.message.as_str()),
        ("full", "the tape in /dev/nst0 has more than the 2500 bytes that P00001L6 would hold")
    );
    assert!(trouble.remedy.unwrap().contains("--size"));
    nothing_is_left(&here);
    done(&manager, submit(&manager, INGEST, Some(LABEL), &request(None, 3000)));
    let before = st.calls();
    let trouble = failed(&manager, ingest(&manager));
    assert_eq!((trouble.code.as_str(), st.calls()), ("exists", before), "the device is left alone");
    assert_eq!(here.tape(LABEL), as_read(&marks("abc|")));
}

#[test]
fn one_job_at_a_time_has_a_device_and_the_other_waits_for_it() {
    let here = Bench::new();
    let st = St::with(marks("abc|"));
    st.held.store(true, Ordering::SeqCst);
    let manager = start(&here, &st);
    let first = ingest(&manager);
    while here.store.owners().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let other = request(None, 1 << 30).replace(LABEL, "P00002L6");
    let second = submit(&manager, INGEST, Some("P00002L6"), &other);
    let waits = |job: &vtl_jobs::Job| job.state == State::Queued && job.trouble.is_some();
    manager.wait_until(second, Some(PATIENCE), waits).unwrap().unwrap();
    assert_eq!(st.rewound.load(Ordering::SeqCst), 1);
    st.held.store(false, Ordering::SeqCst);
    done(&manager, first);
    done(&manager, second);
    assert_eq!(here.tape("P00002L6"), as_read(&marks("abc|")));
}

#[test]
fn a_library_that_has_no_free_slot_by_then_does_not_cost_the_work() {
    let here = Bench::new();
    library(&here);
    let st = St::with(marks("a|"));
    let manager = start(&here, &st);
    done(&manager, submit(&manager, INGEST, Some(LABEL), &request(Some("lib0"), 1 << 30)));
    let other = request(Some("lib0"), 1 << 30).replace(LABEL, "P00002L6");
    let result = done(&manager, submit(&manager, INGEST, Some("P00002L6"), &other));
    assert_eq!((&result["place"], &result["library"]), (&json!("vault"), &json!(null)));
    assert!(result["vaulted_because"].as_str().unwrap().contains("lib0"), "{result}");
}
