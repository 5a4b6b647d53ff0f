//! The management API: who may ask, what every request answers, and which words errors carry.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{LIB0, Server};

#[track_caller]
fn fields(value: &Value, names: &[&str]) {
    for name in names {
        assert!(value.get(name).is_some(), "{name} in {value}");
    }
}

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() >= 20 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b'T' && text.ends_with('Z')
}

#[test]
fn without_the_token_no_request_is_answered() {
    let server = Server::start(&[]);
    for path in ["/libraries", "/system/status", "/no-such-thing"] {
        for headers in
            [&[][..], &[("Authorization", "Bearer wrong")][..], &[("Authorization", "Basic eDp5")][..]]
        {
            let (status, answer) = server.ask_with("GET", path, &Value::Null, headers);
            assert_eq!((status, &answer["code"]), (401, &json!("unauthorized")), "{path}");
        }
    }
}

#[test]
fn pages_of_other_origins_and_rebound_names_are_refused() {
    let server = Server::start(&[]);
    let bearer = format!("Bearer {}", server.token());
    let token = ("Authorization", bearer.as_str());
    let own = format!("http://{}", server.api);
    for (bad, expected) in [
        (("Host", "vtl.example"), 403),
        (("Host", "127.0.0.1.example:8460"), 403),
        (("Origin", "http://vtl.example"), 403),
        (("Origin", "null"), 403),
        (("Origin", "http://localhost:8460"), 403),
        (("Origin", own.as_str()), 200),
        (("Host", "localhost"), 200),
    ] {
        let (status, _) = server.ask_with("GET", "/libraries", &Value::Null, &[token, bad]);
        assert_eq!(status, expected, "{bad:?}");
    }
}

#[test]
fn every_list_has_the_fields_that_stay() {
    let server = Server::start(&["--set", "iscsi.diagnostic_disk=16m"]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(1, &[1; 1000]).good();

    let libraries = server.get("/libraries");
    assert_eq!(libraries.as_array().unwrap().len(), 1);
    let expected = json!({
        "name": "lib0", "target": LIB0, "drives": 2, "slots": 24, "mailslots": 4, "cartridges": 10
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&libraries[0][key], value, "{key}");
    }
    fields(&libraries[0], &["profile", "drive_profile", "serial"]);

    let library = server.get("/libraries/lib0");
    let elements = library["elements"].as_array().unwrap();
    assert_eq!(elements.len(), 2 + 24 + 4);
    let mailslot = elements.iter().find(|e| e["kind"] == "mailslot" && e["number"] == 1).unwrap();
    assert_eq!(mailslot["mtx_number"], 25);
    fields(mailslot, &["address", "label"]);

    let drives = server.get("/drives");
    for (key, value) in [
        ("library", json!("lib0")),
        ("number", json!(0)),
        ("lun", json!(1)),
        ("cartridge", json!("VTL001L8")),
    ] {
        assert_eq!(drives[0][key], value);
    }
    assert_eq!(
        (&drives[0]["block"], &drives[0]["file"], &drives[0]["partition"]),
        (&json!(1), &json!(0), &json!(0))
    );
    fields(&drives[0], &["serial", "profile", "state", "initiator"]);
    assert_eq!(server.get("/libraries/lib0/drives/0"), drives[0]);
    host.run(1, &crate::support::scsi::RESERVE, 0, &[]).good();
    assert_eq!(server.get("/libraries/lib0/drives/0")["initiator"], "iqn.2026-11.test.example:host");

    let cartridges = server.get("/cartridges");
    assert_eq!(cartridges.as_array().unwrap().len(), 10);
    let first = &cartridges[0];
    fields(first, &["write_protected", "worm"]);
    assert_eq!((&first["label"], &first["library"]), (&json!("VTL001L8"), &json!("lib0")));
    assert_eq!(first["place"], json!({ "kind": "drive", "number": 0 }));
    assert_eq!((&first["used_bytes"], &first["generation"]), (&json!(1000), &json!(8)));
    assert_eq!((&first["exports"], &first["capacity_bytes"]), (&json!([]), &json!(12_000_000_000_000_u64)));
    assert!(is_time(&first["created"]), "{first}");

    let stats = server.get("/store/stats");
    for name in [
        "logical_bytes",
        "unique_bytes",
        "stored_bytes",
        "chunks",
        "packs",
        "reclaimable_bytes",
        "memory_bytes",
    ] {
        assert!(stats[name].is_u64(), "{name} in {stats}");
    }

    let sessions = server.get("/iscsi/sessions");
    assert_eq!(sessions[0]["initiator"], "iqn.2026-11.test.example:host");
    assert_eq!((&sessions[0]["target"], &sessions[0]["tsih"]), (&json!(LIB0), &json!(host.tsih)));
    assert!(is_time(&sessions[0]["since"]));
    let targets = server.get("/iscsi/targets");
    let library = targets.as_array().unwrap().iter().find(|t| t["name"] == LIB0).unwrap();
    assert_eq!((&library["luns"], &library["library"]), (&json!([0, 1, 2]), &json!("lib0")));
    assert_eq!(targets.as_array().unwrap().len(), 2);
    assert_eq!(server.get("/iscsi/portals")[0]["address"], server.portal.to_string());

    let status = server.get("/system/status");
    assert_eq!(
        (&status["state"], &status["sessions"], &status["problems"]),
        (&json!("ok"), &json!(1), &json!([]))
    );
    assert!(is_time(&status["started"]) && status["free_bytes"].as_u64().unwrap() > 0);
    fields(&status, &["version", "installation", "portals"]);
    fields(&server.get("/system/diag"), &["status", "config", "libraries", "drives", "sessions", "store"]);
    let config = server.get("/config/effective");
    let disk = config.as_array().unwrap().iter().find(|row| row["key"] == "iscsi.diagnostic_disk").unwrap();
    assert!(disk["origin"].as_str().is_some_and(|origin| origin != "default"), "{disk}");
}

#[test]
fn the_store_check_reads_everything_and_finds_nothing_wrong() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(1, &crate::support::noise(1, 100_000)).good();
    host.run(1, &crate::support::scsi::ONE_FILEMARK, 0, &[]).good();
    let report = server.api("POST", "/store/check", &Value::Null);
    assert_eq!(report["damage"], json!([]));
    assert!(report["bytes"].as_u64().unwrap() >= 100_000 && report["chunks"].as_u64().unwrap() >= 1);
}

#[test]
fn the_vault_takes_and_gives_cartridges() {
    let server = Server::start(&[]);
    server.api("POST", "/cartridges/VTL005L8/move", &json!({ "to": "vault" }));
    let vault = server.get("/vault");
    assert_eq!(vault.as_array().unwrap().len(), 1);
    assert_eq!(vault[0]["place"], json!({ "kind": "vault", "number": null }));
    assert_eq!(vault[0]["library"], Value::Null);
    let (status, answer) = server.ask("DELETE", "/vault/VTL006L8", &Value::Null);
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    server.api("POST", "/vault/VTL005L8/load", &json!({ "library": "lib0" }));
    assert_eq!(server.get("/vault"), json!([]));
    server.api("POST", "/cartridges/VTL005L8/move", &json!({ "to": "drive:1" }));
    assert_eq!(server.get("/drives")[1]["cartridge"], "VTL005L8");
    server.api("POST", "/cartridges/VTL005L8/move", &json!({ "to": "mailslot:2" }));
    assert_eq!(server.get("/cartridges/VTL005L8")["place"], json!({ "kind": "mailslot", "number": 2 }));
}

#[test]
fn errors_carry_a_stable_word_and_the_status_that_goes_with_it() {
    let server = Server::start(&[]);
    let library =
        json!({ "name": "lib0", "profile": "ibm-03584l32", "drives": 1, "slots": 1, "mailslots": 0 });
    let unknown_profile =
        json!({ "name": "libx", "profile": "no-such", "drives": 1, "slots": 1, "mailslots": 0 });
    for (method, path, body, status, code) in [
        ("GET", "/nothing", Value::Null, 404, "not-found"),
        ("GET", "/libraries/lib9", Value::Null, 404, "not-found"),
        ("GET", "/libraries/lib0/drives/7", Value::Null, 404, "not-found"),
        ("GET", "/libraries/lib0/drives/x", Value::Null, 404, "not-found"),
        ("GET", "/cartridges/NOT001L8", Value::Null, 404, "not-found"),
        ("GET", "/cartridges/lower1l8", Value::Null, 400, "invalid"),
        ("POST", "/libraries", library, 409, "exists"),
        ("POST", "/libraries", unknown_profile, 400, "invalid"),
        ("POST", "/libraries", json!({ "name": "x" }), 400, "invalid"),
        ("DELETE", "/libraries/lib0", Value::Null, 409, "conflict"),
        ("POST", "/cartridges", json!({ "label": "VTL001L8" }), 409, "exists"),
        ("POST", "/cartridges", json!({ "label": "TOOLONG01L8" }), 400, "invalid"),
        ("POST", "/cartridges", json!({ "label": "MANY01L8", "count": 30 }), 507, "full"),
        ("POST", "/cartridges", json!({ "label": "ABC001L8", "colour": "red" }), 400, "invalid"),
        ("POST", "/cartridges/VTL001L8/move", json!({ "to": "slot:2" }), 409, "conflict"),
        ("POST", "/cartridges/VTL001L8/move", json!({ "to": "slot:99" }), 400, "invalid"),
        ("POST", "/cartridges/VTL001L8/move", json!({ "to": "shelf:1" }), 400, "invalid"),
        ("POST", "/cartridges/VTL001L8/restore", Value::Null, 409, "conflict"),
        ("PATCH", "/cartridges/VTL001L8", json!({}), 400, "invalid"),
        (
            "POST",
            "/iscsi/targets/lib9/initiators",
            json!({ "initiator": "iqn.2026-11.a.b" }),
            404,
            "not-found",
        ),
        ("POST", "/system/rebuild", json!({ "plan": false }), 501, "unsupported"),
        ("POST", "/system/restore", json!({ "file": "/nonexistent/file" }), 400, "invalid"),
        ("POST", "/config/check", json!({ "file": "/nonexistent/file" }), 400, "invalid"),
    ] {
        let (got, answer) = server.ask(method, path, &body);
        assert_eq!((got, answer["code"].as_str()), (status, Some(code)), "{method} {path} {body}: {answer}");
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    // A failed request has changed nothing.
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10);
}

#[test]
fn bodies_that_are_too_large_or_no_json_are_refused() {
    let server = Server::start(&[]);
    let (status, _) = server.ask("POST", "/cartridges", &json!("text"));
    assert_eq!(status, 400);
    let (status, _) = server.ask("POST", "/cartridges", &json!({ "label": "x".repeat(100_000) }));
    assert_eq!(status, 413);
    let (status, answer) = server.ask("PUT", "/cartridges", &Value::Null);
    assert_eq!((status, &answer["code"]), (405, &json!("method-not-allowed")));
    server.get("/system/status");
}

#[test]
fn backup_and_restore_bring_the_inventory_back() {
    let mut server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db").display().to_string();
    server.api("POST", "/system/backup", &json!({ "file": copy }));
    let (status, _) = server.ask("POST", "/system/backup", &json!({ "file": copy }));
    assert_eq!(status, 400, "it is not written over");
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    server.api("POST", "/system/restore", &json!({ "file": copy }));
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.get("/cartridges/VTL001L8")["place"], json!({ "kind": "slot", "number": 1 }));
    let plan = server.api("POST", "/system/rebuild", &json!({ "plan": true }));
    assert_eq!(plan.as_array().unwrap().len(), 10);
}

#[test]
fn a_copy_that_is_put_in_the_inventorys_place_by_hand_is_served_as_it_stands() {
    let mut server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    server.api("POST", "/system/backup", &json!({ "file": copy }));
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    assert_eq!(server.stop(), Some(0));
    // As docs/disaster.md has it: everything of the old one goes away first.
    let state = server.state();
    for entry in fs::read_dir(&state).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_str().unwrap().starts_with("inventory.") {
            fs::rename(state.join(&name), folder.path().join(&name)).unwrap();
        }
    }
    fs::copy(&copy, state.join("inventory.db")).unwrap();
    server.start_again();
    assert_eq!(server.get("/cartridges/VTL001L8")["place"], json!({ "kind": "slot", "number": 1 }));
}

#[test]
fn a_label_whose_data_went_with_the_store_can_be_given_again_once_it_is_removed() {
    let mut server = Server::start(&[]);
    assert_eq!(server.stop(), Some(0));
    let state = server.state();
    fs::rename(state.join("store"), state.join("store-lost")).unwrap();
    server.start_again();
    let told = server.get("/system/status").to_string();
    assert!(told.contains("the store has no data of it"), "{told}");
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    server.api("POST", "/cartridges", &json!({ "label": "VTL001L8" }));
}

#[test]
fn a_copy_of_the_inventory_wants_an_absolute_path() {
    let server = Server::start(&[]);
    for request in ["/system/backup", "/system/restore"] {
        let (status, answer) = server.ask("POST", request, &json!({ "file": "inventory.copy" }));
        assert_eq!(status, 400, "{request}");
        assert_eq!(answer["message"], "inventory.copy is no absolute path", "{request}: {answer}");
    }
    assert!(
        !std::path::Path::new("inventory.copy").exists(),
        "nothing is written where the server was started"
    );
}

#[test]
fn what_is_no_plain_file_is_no_copy_of_the_inventory() {
    let server = Server::start(&[]);
    for file in ["/dev/zero", "/tmp"] {
        let (status, answer) = server.ask("POST", "/system/restore", &json!({ "file": file }));
        assert_eq!(status, 400, "{file}");
        assert_eq!(answer["message"], format!("{file}: this is no plain file"), "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("vtl system backup"), "{answer}");
    }
    server.get("/system/status");
}

/// Runs SQL on a file, as another program would.
fn by_hand(file: &Path, sql: &str) {
    const PROGRAM: &str = "
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.executescript(sys.argv[2])
connection.close()
";
    let done = Command::new("/usr/bin/python3").args(["-c", PROGRAM]).arg(file).arg(sql).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn what_is_no_whole_copy_is_not_put_back_and_the_inventory_stays() {
    let mut server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let good = path("good.db");
    server.api("POST", "/system/backup", &json!({ "file": good }));
    let bytes = fs::read(&good).unwrap();
    fs::write(path("empty.db"), b"").unwrap();
    fs::write(path("half.db"), &bytes[..bytes.len() / 2]).unwrap();
    by_hand(&path("foreign.db"), "CREATE TABLE somebodys (word TEXT);");
    fs::copy(&good, path("changed.db")).unwrap();
    by_hand(
        &path("changed.db"),
        "UPDATE device_state SET value = x'02' WHERE device = 'vtld' AND key = 'first-start-done';",
    );
    fs::copy(&good, path("torn.db")).unwrap();
    by_hand(&path("torn.db"), "DROP TABLE device_state;");
    fs::copy(&good, path("odd.db")).unwrap();
    by_hand(&path("odd.db"), "DELETE FROM schema_migrations WHERE module = 'history';");
    fs::copy(&good, path("other.db")).unwrap();
    by_hand(
        &path("other.db"),
        "UPDATE schema_migrations SET digest = x'00' WHERE module = 'history' AND number = 1;",
    );
    for (name, why) in [
        ("torn.db", "it is damaged ("),
        ("other.db", "migration 1 of 'history' is not the one it was made with"),
        ("odd.db", "it cannot be brought to this version (migration 1 of 'history': "),
        ("empty.db", "it holds no inventory"),
        ("half.db", "it is damaged ("),
        ("foreign.db", "it holds no inventory"),
        ("changed.db", "its row device_state [device=vtld, key=first-start-done] is damaged"),
    ] {
        let (status, answer) = server.ask("POST", "/system/restore", &json!({ "file": path(name) }));
        assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{name}: {answer}");
        let told = answer["message"].as_str().unwrap();
        assert!(told.starts_with(&format!("{}: {why}", path(name).display())), "{told}");
        assert!(answer["remedy"].as_str().unwrap().contains("vtl system backup"), "{answer}");
    }
    assert!(!server.state().join("inventory.restore").exists());
    assert!(!server.state().join("inventory.restore.new").exists());
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10);
    assert_eq!(server.get("/system/status")["problems"], json!([]));
}

#[test]
fn of_many_restores_at_once_one_is_put_back_whole() {
    let mut server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let copies = ["one.db", "two.db"].map(|name| folder.path().join(name));
    for (copy, slot) in copies.iter().zip([20, 21]) {
        server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": format!("slot:{slot}") }));
        server.api("POST", "/system/backup", &json!({ "file": copy }));
    }
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:1" }));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (server, copy) = (&server, &copies[n % 2]);
            scope.spawn(move || server.api("POST", "/system/restore", &json!({ "file": copy })));
        }
    });
    assert!(!server.state().join("inventory.restore.new").exists());
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 10);
    let place = server.get("/cartridges/VTL001L8")["place"]["number"].as_u64();
    assert!(place == Some(20) || place == Some(21), "{place:?}");
}

#[test]
fn a_lost_inventory_is_made_again_from_the_store() {
    let mut server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(3, 0);
    host.write(1, b"worth keeping").good();
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + 2).good();
    drop(host);
    assert_eq!(server.stop(), Some(0));
    for entry in std::fs::read_dir(server.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("inventory.db")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    server.start_again();
    let labels = server.get("/cartridges");
    let found = labels.as_array().unwrap().iter().find(|c| c["label"] == "VTL003L8");
    assert_eq!(found.map(|c| &c["used_bytes"]), Some(&json!(13)), "{labels}");
    assert_eq!(found.map(|c| &c["place"]), Some(&json!({ "kind": "slot", "number": 3 })));
    assert_eq!(labels.as_array().unwrap().len(), 10, "the blank ones, too");
    assert_eq!(server.get("/system/status")["state"], "problem", "an operator must hear of it");
    let mut host = server.session(1);
    host.load(3, 0);
    assert_eq!(host.read(1, 13).good(), b"worth keeping");
    // Once only: the next start is an ordinary one.
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.get("/system/status")["state"], "ok");
}
