//! What is put into a mailslot: to the vault, with a job that exports it, exactly once.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::CHANGER;
use crate::support::{Server, eventually, rounds};

/// A remote, and the library set to use it.
fn exporting(server: &Server) -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    server.api("POST", "/remotes", &json!({ "name": "off-site", "type": "folder", "path": place.path() }));
    let settings = json!({ "settings": { "migrate.remote": "off-site", "migrate.chunk_size": "64m" } });
    server.api("PATCH", "/libraries/lib0", &settings);
    place
}

fn label(number: u16) -> String {
    format!("VTL{number:03}L8")
}

fn place(server: &Server, number: u16) -> Value {
    server.get(&format!("/cartridges/{}", label(number)))["place"].clone()
}

fn exports_of(server: &Server, number: u16) -> Vec<Value> {
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

fn ended(server: &Server, id: &Value) -> Value {
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
        ("migrate.create_spare", "true", 400),
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
