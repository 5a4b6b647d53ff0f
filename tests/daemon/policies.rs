//! What happens to cartridges by rule: clean imports that are put out, and exports that nobody asked for each time.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK};
use crate::support::{Initiator, Server, eventually};
use crate::vault::{ended, exporting, exports_of, place, set};

const LABEL: &str = "VTL001L8";
/// To end of data.
const SPACE_TO_END: [u8; 6] = [0x11, 3, 0, 0, 0, 0];

fn jobs(server: &Server) -> usize {
    server.get("/jobs").as_array().unwrap().len()
}

/// Writes to cartridge 1, exports it, removes it here, imports it, and puts it into slot 1 again.
fn imported(server: &Server) -> (Initiator, Value) {
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(DRIVE, &[7; 4096]).good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    server.api("POST", &format!("/cartridges/{LABEL}/move"), &json!({ "to": "slot:1" }));
    let export = server.api("POST", &format!("/cartridges/{LABEL}/export"), &json!({}));
    assert_eq!(ended(server, &export["id"])["result"]["exported"], true);
    let gone = json!({ "now": true, "confirm": LABEL });
    server.api("DELETE", &format!("/cartridges/{LABEL}"), &gone);
    let import = server.api("POST", "/imports", &json!({ "job": export["id"] }));
    assert_eq!(ended(server, &import["id"])["state"], "completed");
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    assert_eq!(place(server, 1), json!({ "kind": "slot", "number": 1 }));
    (host, import["id"].clone())
}

/// As a host does it, by way of a drive, where it is read.
fn put_out(host: &mut Initiator, block: Option<&[u8]>) {
    host.load(1, 0);
    if let Some(block) = block {
        host.run(DRIVE, &SPACE_TO_END, 0, &[]).good();
        host.write(DRIVE, block).good();
    } else {
        assert_eq!(host.read(DRIVE, 4096).good(), [7; 4096]);
    }
    let elements = host.elements();
    host.move_medium(elements.drive, elements.import_export).good();
}

fn log_of(server: &Server, id: &Value) -> Vec<String> {
    let job = server.get(&format!("/jobs/{id}"));
    let events = job["events"].as_array().unwrap();
    events.iter().map(|one| format!("{}: {}", one["event"], one["text"])).collect()
}

#[test]
fn an_import_that_is_put_out_unchanged_makes_no_job_and_stays_and_one_with_a_block_more_makes_one() {
    let server = Server::start(&["--set", "cartridge.size=64m"]);
    let _remote = exporting(&server);
    let (mut host, import) = imported(&server);
    let before = jobs(&server);
    put_out(&mut host, None);
    assert_eq!((place(&server, 1)["kind"].clone(), jobs(&server)), (json!("vault"), before));
    let log = log_of(&server, &import);
    let told = log.iter().find(|line| line.contains("clean-skip")).unwrap_or_else(|| panic!("{log:?}"));
    assert!(told.contains("stays in the vault"), "{told}");
    assert_eq!(server.get("/vault")[0]["label"], LABEL, "nothing removes it");

    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    put_out(&mut host, Some(b"one block more"));
    assert_eq!(jobs(&server), before + 1);
    let dirty = exports_of(&server, 1).pop().unwrap();
    assert_eq!(ended(&server, &dirty["id"])["result"]["exported"], true);
    // Clean again by that export: still an import, and still no job.
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    put_out(&mut host, None);
    assert_eq!(jobs(&server), before + 1);
}

#[test]
fn a_clean_import_that_is_put_out_goes_when_its_copy_is_proved_and_comes_back_from_there() {
    let server = Server::start(&["--set", "cartridge.size=64m"]);
    let _remote = exporting(&server);
    set(&server, &[("migrate.delete_clean_import", "true")]);
    let (mut host, import) = imported(&server);
    let before = jobs(&server);
    put_out(&mut host, None);
    eventually("it goes", || {
        let (status, _) = server.ask("GET", &format!("/cartridges/{LABEL}"), &Value::Null);
        (status == 404).then_some(())
    });
    assert_eq!(jobs(&server), before);
    let log = eventually("it is told", || {
        let log = log_of(&server, &import);
        log.last().is_some_and(|line| line.contains("clean-import-deleted")).then_some(log)
    });
    assert!(log.iter().any(|line| line.contains("clean-skip")), "{log:?}");
    let exported = exports_of(&server, 1)[0]["id"].clone();
    let again = server.api("POST", "/imports", &json!({ "job": exported }));
    assert_eq!(ended(&server, &again["id"])["state"], "completed");
    host.attentions(CHANGER);
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    host.load(1, 0);
    assert_eq!(host.read(DRIVE, 4096).good(), [7; 4096]);
}

/// Chunk objects below a folder remote.
fn objects(place: &Path) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    files.filter(|file| file.to_string_lossy().contains(".img.")).collect()
}

#[test]
fn a_clean_import_whose_copy_is_damaged_or_gone_stays_in_the_vault_and_the_log_says_why() {
    for damage in ["flipped", "gone"] {
        let server = Server::start(&["--set", "cartridge.size=64m", "--set", "transfer.retry.attempts=1"]);
        let remote = exporting(&server);
        set(&server, &[("migrate.delete_clean_import", "true")]);
        let (mut host, import) = imported(&server);
        let object = objects(remote.path()).pop().unwrap();
        let mut bytes = std::fs::read(&object).unwrap();
        match damage {
            "flipped" => {
                bytes[40] ^= 1;
                std::fs::write(&object, bytes).unwrap();
            }
            _ => std::fs::remove_file(&object).unwrap(),
        }
        put_out(&mut host, None);
        let told = eventually("it is settled", || {
            log_of(&server, &import).into_iter().find(|line| line.contains("clean-import-kept"))
        });
        assert!(told.contains("VTL001L8.img.000001"), "{damage}: {told}");
        assert_eq!(place(&server, 1)["kind"], "vault", "{damage}");
        server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
        host.load(1, 0);
        assert_eq!(host.read(DRIVE, 4096).good(), [7; 4096]);
    }
}

#[test]
fn a_clean_import_waits_over_a_restart_while_its_copy_may_be_right_later_and_one_that_is_loaded_again_stays()
{
    let again = ["--set", "transfer.retry.pause=1s", "--set", "transfer.retry.attempts=1000"];
    let mut server = Server::start(&[&["--set", "cartridge.size=64m"][..], &again[..]].concat());
    let remote = exporting(&server);
    set(&server, &[("migrate.delete_clean_import", "true")]);
    let (mut host, _) = imported(&server);
    let object = objects(remote.path()).pop().unwrap();
    let right = std::fs::read(&object).unwrap();
    std::fs::write(&object, vec![0; right.len()]).unwrap();
    put_out(&mut host, None);
    let waits = |server: &Server| {
        let status = server.get("/system/status");
        status["problems"].as_array().unwrap().iter().any(|one| one["subject"] == LABEL)
    };
    eventually("it waits", || waits(&server).then_some(()));
    server.kill();
    server.start_again();
    eventually("it waits again", || waits(&server).then_some(()));
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    std::fs::write(&object, right).unwrap();
    eventually("nothing waits", || (!waits(&server)).then_some(()));
    assert_eq!(place(&server, 1)["kind"], "slot");
}

#[test]
fn a_full_tape_that_a_host_takes_out_of_a_drive_is_exported_where_it_is_once_over_a_restart() {
    let mut server = Server::start(&["--set", "cartridge.size=1m"]);
    let _remote = exporting(&server);
    set(&server, &[("migrate.triggers", "full"), ("migrate.create_spare", "true")]);
    let mut host = server.session(1);
    host.load(1, 0);
    for block in 0..4 {
        // The last ones end with early warning.
        host.write(DRIVE, &[block; 230_000]);
    }
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    let job = eventually("its export begins", || exports_of(&server, 1).pop());
    let done = ended(&server, &job["id"]);
    assert_eq!((&done["result"]["exported"], &done["result"]["spare"]), (&json!(true), &json!("VTL011L8")));
    assert!(done["events"][0].to_string().contains("by full in library lib0"), "{done}");
    assert_eq!(place(&server, 1), json!({ "kind": "slot", "number": 1 }), "it stays where it is");
    assert_eq!(place(&server, 11), json!({ "kind": "slot", "number": 11 }));
    server.kill();
    server.start_again();
    let mut host = server.session(1);
    host.load(1, 0);
    host.move_medium(elements.drive, elements.storage).good();
    // What is put into a mailslot stays there without that trigger.
    host.move_medium(elements.storage + 1, elements.import_export).good();
    assert_eq!((place(&server, 2)["kind"].clone(), exports_of(&server, 1).len()), (json!("mailslot"), 1));
}

#[test]
fn what_was_written_is_exported_at_the_next_time_of_a_schedule_and_not_at_the_one_after_that() {
    let server = Server::start(&["--set", "cartridge.size=64m"]);
    let _remote = exporting(&server);
    set(&server, &[("migrate.triggers", "schedule:* * * * * *")]);
    let mut host = server.session(1);
    for number in [1, 2, 3] {
        host.load(number, 0);
        host.write(DRIVE, &[7; 4096]).good();
        let elements = host.elements();
        host.move_medium(elements.drive, elements.storage + number - 1).good();
        let job = eventually("its export begins", || exports_of(&server, number).pop());
        assert_eq!(ended(&server, &job["id"])["result"]["exported"], true);
    }
    assert_eq!(jobs(&server), 3, "some times have passed since the first one");
    let (status, told) = server.ask(
        "PATCH",
        "/libraries/lib0",
        &json!({ "settings": { "migrate.triggers": "schedule:0 0 31 2 *" } }),
    );
    assert!(status == 400 && told["message"].as_str().unwrap().contains("never comes"), "{told}");
}
