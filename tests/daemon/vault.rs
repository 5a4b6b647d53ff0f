//! What is put into a mailslot: to the vault, with a job that exports it, exactly once.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::CHANGER;
use crate::support::{Server, eventually, rounds};

/// A remote, and the library set to use it.
pub(crate) fn exporting(server: &Server) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    server.api("POST", "/remotes", &json!({ "name": "off-site", "type": "folder", "path": place.path() }));
    let settings = json!({ "settings": { "migrate.remote": "off-site", "migrate.chunk_size": "64m" } });
    server.api("PATCH", "/libraries/lib0", &settings);
    place
}

fn label(number: u16) -> String {
    format!("VTL{number:03}L8")
}

pub(crate) fn place(server: &Server, number: u16) -> Value {
    server.get(&format!("/cartridges/{}", label(number)))["place"].clone()
}

pub(crate) fn exports_of(server: &Server, number: u16) -> Vec<Value> {
    let jobs = server.get("/jobs");
    let mine = |job: &&Value| job["kind"] == "export" && job["label"] == json!(label(number));
    jobs.as_array().unwrap().iter().filter(mine).cloned().collect()
}

fn in_mailslot(server: &Server, number: u64) -> Value {
    let library = server.get("/libraries/lib0");
    let elements = library["elements"].as_array().unwrap();
    let found = elements.iter().find(|e| e["kind"] == "mailslot" && e["number"] == number);
    found.unwrap()["label"].clone()
}

#[test]
fn a_tape_that_a_host_puts_into_a_mailslot_is_in_the_vault_at_once_and_its_export_in_the_list() {
    let server = Server::start(&[]);
    let remote = exporting(&server);
    let (mut host, mut other) = (server.session(1), server.session(2));
    host.load(1, 0);
    host.write(1, &[7; 4096]).good();
    let elements = host.elements();
    other.attentions(CHANGER);
    host.move_medium(elements.drive, elements.import_export).good();
    assert_eq!(host.attentions(CHANGER), [], "it knows what it has done");
    assert_eq!(other.attentions(CHANGER), [(0x28, 0x01)]);
    assert_eq!(
        (in_mailslot(&server, 1), place(&server, 1)),
        (Value::Null, json!({ "kind": "vault", "number": null }))
    );
    let vault = server.get("/vault");
    assert_eq!(vault.as_array().unwrap().iter().map(|c| &c["label"]).collect::<Vec<_>>(), ["VTL001L8"]);

    let jobs = exports_of(&server, 1);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let job = server.get(&format!("/jobs/{}", jobs[0]["id"]));
    let words: Vec<&str> =
        job["events"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(words[..3], ["element-cleared", "vaulted", "queued"]);
    let done = ended(&server, &jobs[0]["id"]);
    assert_eq!(done["state"], "completed", "{done}");
    let folders: Vec<String> = std::fs::read_dir(remote.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.starts_with("VTL001L8-"))
        .collect();
    assert_eq!(folders.len(), 1, "{folders:?}");

    server.api("POST", "/vault/VTL001L8/load", &json!({ "library": "lib0" }));
    assert_eq!(place(&server, 1)["kind"], "slot");
    assert_eq!(host.attentions(CHANGER), [(0x28, 0x01)]);
    // Ejected again without a change: a job that says so, and no second folder.
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "mailslot:2" }));
    assert_eq!((in_mailslot(&server, 2), place(&server, 1)["kind"].clone()), (Value::Null, json!("vault")));
    let again = exports_of(&server, 1);
    assert_eq!(again.len(), 2);
    assert_eq!(ended(&server, &again[1]["id"])["result"]["skipped"], "unchanged");
}

pub(crate) fn ended(server: &Server, id: &Value) -> Value {
    eventually("the job ends", || {
        let job = server.get(&format!("/jobs/{id}"));
        ["completed", "failed"].contains(&job["state"].as_str().unwrap()).then_some(job)
    })
}

#[test]
fn the_hook_of_the_site_runs_before_anything_is_sent_and_may_hold_the_export_back() {
    let folder = tempfile::tempdir().unwrap();
    let (hook, told) = (folder.path().join("hook"), folder.path().join("told"));
    let script = format!(
        "#!/bin/sh\necho \"$VTL_LABEL $VTL_BARCODE $VTL_LIBRARY $VTL_JOB $VTL_SIZE_BYTES\" >> {}\necho no robot >&2\ntest -e {}.robot || exit 7\n",
        told.display(),
        told.display()
    );
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o700)).unwrap();
    let server = Server::start(&["--set", &format!("hooks.post_vault={}", hook.display())]);
    let remote = exporting(&server);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(1, &[7; 4096]).good();
    let elements = host.elements();
    host.move_medium(elements.drive, elements.import_export).good();
    let failed = ended(&server, &exports_of(&server, 1)[0]["id"]);
    assert!(
        failed["state"] == "failed" && failed["error"].as_str().unwrap().contains("ended with 7"),
        "{failed}"
    );
    assert!(failed["events"].to_string().contains("no robot"), "{failed}");
    assert_eq!(
        std::fs::read_to_string(&told).unwrap(),
        format!("VTL001L8 VTL001L8 lib0 {} 4096\n", failed["id"])
    );
    assert_eq!(std::fs::read_dir(remote.path()).unwrap().count(), 0, "nothing is sent");
    std::fs::write(format!("{}.robot", told.display()), "").unwrap();
    let again = server.api("POST", &format!("/jobs/{}/retry", failed["id"]), &json!({}));
    let done = ended(&server, &again["id"]);
    assert_eq!((&done["state"], &done["result"]["exported"]), (&json!("completed"), &json!(true)), "{done}");
}

/// Settings of the library beside those of [`exporting`].
pub(crate) fn set(server: &Server, settings: &[(&str, &str)]) {
    let settings: Value = settings.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    server.api("PATCH", "/libraries/lib0", &json!({ "settings": settings }));
}

/// Blank cartridges in slots, by the slot's number.
fn blanks(server: &Server) -> Vec<(u16, String)> {
    let all = server.get("/cartridges");
    let blank = |one: &&Value| one["used_bytes"] == 0 && one["place"]["kind"] == "slot";
    let row = |one: &Value| {
        let number = one["place"]["number"].as_u64().unwrap();
        (u16::try_from(number).unwrap(), one["label"].as_str().unwrap().to_owned())
    };
    let mut blanks: Vec<_> = all.as_array().unwrap().iter().filter(blank).map(row).collect();
    blanks.sort();
    blanks
}

#[test]
fn written_put_out_and_exported_twenty_times_a_library_has_as_many_blanks_as_before_and_no_label_twice() {
    let server = Server::start(&["--set", "cartridge.size=64m"]);
    let _remote = exporting(&server);
    set(&server, &[("migrate.delete_after_export", "true"), ("migrate.create_spare", "true")]);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    let elements = host.elements();
    let mut labels: Vec<String> = blanks(&server).into_iter().map(|(_, label)| label).collect();
    assert_eq!(labels.len(), 10);
    for round in 0..20 {
        let (slot, label) = blanks(&server)[0].clone();
        host.attentions(CHANGER);
        host.load(slot, 0);
        host.write(1, &[round; 512]).good();
        host.move_medium(elements.drive, elements.import_export).good();
        let jobs = server.get("/jobs");
        let done = ended(&server, &jobs.as_array().unwrap().last().unwrap()["id"]);
        let result = &done["result"];
        assert_eq!((&done["label"], &result["deleted_here"]), (&json!(label), &json!(true)), "{done}");
        let spare = result["spare"].as_str().unwrap().to_owned();
        assert!(!labels.contains(&spare) && spare.ends_with("L8"), "{spare}");
        labels.push(spare);
        assert_eq!(blanks(&server).len(), 10, "round {round}");
    }
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10);
    assert_eq!(labels.last().unwrap(), "VTL030L8");
    assert_eq!(server.get("/vault"), json!([]));
    assert!(host.attentions(CHANGER).contains(&(0x28, 0x01)), "hosts hear of a new cartridge");
}

#[test]
fn what_a_library_uses_cannot_be_removed_and_what_is_not_there_cannot_be_set() {
    let server = Server::start(&[]);
    let _remote = exporting(&server);
    let shown = server.get("/libraries/lib0");
    let settings = shown["settings"].as_array().unwrap();
    let remote = settings.iter().find(|s| s["key"] == "migrate.remote").unwrap();
    assert_eq!((&remote["value"], &remote["origin"]), (&json!("off-site"), &json!("library")));
    let (status, told) = server.ask("DELETE", "/remotes/off-site", &Value::Null);
    assert!(status == 409 && told["message"].as_str().unwrap().contains("library lib0"), "{told}");
    for (key, value, code) in [
        ("migrate.remote", "nowhere", 404),
        ("migrate.key", "nobody", 404),
        ("migrate.chunk_size", "64", 400),
        ("migrate.create_spare", "1", 400),
        ("migrate.spare_label", "SPARE1", 400),
        ("migrate.shelves", "3", 400),
    ] {
        let (status, told) = server.ask("PATCH", "/libraries/lib0", &json!({ "settings": { key: value } }));
        assert_eq!(status, code, "{key}={value}: {told}");
        assert!(told["remedy"].is_string(), "{told}");
    }
    server.api("PATCH", "/libraries/lib0", &json!({ "settings": { "migrate.remote": "" } }));
    server.api("DELETE", "/remotes/off-site", &Value::Null);
}

#[test]
fn a_server_that_is_killed_while_a_host_puts_tapes_out_has_each_in_its_slot_without_a_job_or_in_the_vault_with_one()
 {
    let mut server = Server::start(&[]);
    let _remote = exporting(&server);
    for round in 0..rounds(8, 40) {
        let number = (round % 8 + 1) as u16;
        let before = exports_of(&server, number).len();
        let mut host = server.session(1);
        host.attentions(CHANGER);
        let elements = host.elements();
        let ([a, b], [c, d]) = (
            (elements.storage + number - 1).to_be_bytes(),
            (elements.import_export + round as u16 % 4).to_be_bytes(),
        );
        host.start(CHANGER, &[0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0], 0, &[]);
        std::thread::sleep(Duration::from_micros(u64::from(round) * 1_500 % 12_000));
        server.kill();
        drop(host);
        server.start_again();
        let (place, made) = (place(&server, number), exports_of(&server, number).len() - before);
        match place["kind"].as_str().unwrap() {
            "slot" => assert_eq!(made, 0, "round {round}"),
            "vault" => {
                assert_eq!(made, 1, "round {round}");
                let back = json!({ "to": format!("slot:{number}"), "library": "lib0" });
                server.api("POST", &format!("/cartridges/{}/move", label(number)), &back);
            }
            other => panic!("round {round}: it is in a {other}"),
        }
    }
}
