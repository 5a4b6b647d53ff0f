//! Work on pools while the server runs: imports into them, opening one that was closed, and more folders.

use std::fs;

use serde_json::{Value, json};

use crate::exports::{LABEL, done, export, import, load_from_vault, read, remote, second, tape, write};
use crate::support::Server;

#[test]
fn an_import_goes_into_the_pool_that_is_named_which_cannot_be_removed_meanwhile() {
    let (place, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = Server::start(&["--set", "cartridge.size=1g"]);
    remote(&source, place.path());
    let mut host = source.session(1);
    host.load(1, 0);
    write(&mut host, &tape(3, 12));
    drop(host);
    let folder = done(&source, &export(&source, &json!({ "remote": "r" })))["folder"].clone();

    let mut server = second();
    remote(&server, place.path());
    let asked = |pool: &str| json!({ "remote": "r", "folder": folder, "pool": pool });
    let (status, answer) = server.ask("POST", "/imports", &asked("far"));
    assert!(status == 404 && answer["remedy"].as_str().unwrap().contains("vtl pool ls"), "{answer}");
    let paths = json!([disks.path().join("home")]);
    server.api("POST", "/pools", &json!({ "name": "far", "paths": paths }));
    let result = done(&server, &import(&server, &asked("far")));
    assert_eq!((&result["label"], &result["pool"]), (&json!(LABEL), &json!("far")));
    assert_eq!(server.get(&format!("/cartridges/{LABEL}"))["pool"], "far");
    let check = |pool: &str| server.api("POST", "/store/check", &json!({ "pool": pool }))["chunks"].clone();
    assert!(check("far").as_u64().unwrap() > 0 && check("default") == 0);
    let (status, answer) = server.ask("DELETE", "/pools/far", &json!({}));
    assert!(status == 409 && answer["message"].as_str().unwrap().contains(LABEL), "{answer}");
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    assert_eq!(server.get(&format!("/cartridges/{LABEL}"))["pool"], "far");
    let mut host = load_from_vault(&server);
    assert!(read(&mut host) == tape(3, 12), "every block and mark");
    drop(host);

    let lazily =
        json!({ "remote": "r", "folder": folder, "pool": "far", "as_label": "VTL009L8", "lazy": true });
    let (status, answer) = server.ask("POST", "/imports", &lazily);
    assert!(status == 501 && answer["message"].as_str().unwrap().contains("lazy"), "{answer}");

    // Without its disk the pool takes nothing in.
    assert_eq!(server.stop(), Some(0));
    let (home, away) = (disks.path().join("home"), disks.path().join("away"));
    fs::rename(&home, &away).unwrap();
    server.start_again();
    let again = json!({ "remote": "r", "folder": folder, "pool": "far", "as_label": "VTL009L8" });
    let (status, answer) = server.ask("POST", "/imports", &again);
    assert!(status == 409 && answer["message"].as_str().unwrap().contains("not open"), "{answer}");
}

#[test]
fn a_closed_pool_is_opened_when_its_disk_is_back_and_the_drive_that_stayed_empty_has_its_cartridge() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let key = folder.path().join("key");
    fs::write(&key, [0x5a; 32]).unwrap();
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut server = Server::start_at(folder.path(), &["--set", "cartridge.size=1g"]);
    let (home, far, away) = (disks.path().join("home"), disks.path().join("far"), disks.path().join("away"));
    let request = json!({ "name": "safe", "paths": [home, far], "encrypted": true, "key_file": key });
    server.api("POST", "/pools", &request);
    let export = folder.path().join("export");
    server.api("POST", "/store/key/export", &json!({ "pool": "safe", "file": export }));
    server.api("POST", "/cartridges", &json!({ "label": "SAF001L8", "pool": "safe" }));
    let mut host = server.session(1);
    host.load(11, 0);
    write(&mut host, &tape(5, 8));
    drop(host);
    assert_eq!(server.stop(), Some(0));
    fs::rename(&far, &away).unwrap();
    server.start_again();
    let state = |server: &Server| server.get("/pools/safe")["state"].clone();
    let open = |server: &Server| server.ask("POST", "/pools/safe/open", &Value::Null);
    assert_eq!(state(&server), "closed");
    let told = server.get("/system/status")["problems"].to_string();
    assert!(told.contains("SAF001L8") && told.contains("vtl pool open safe"), "{told}");

    let (status, answer) = open(&server);
    assert!(status == 409 && answer["message"].as_str().unwrap().contains("far"), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("vtl pool open safe"), "{answer}");
    assert_eq!(state(&server), "closed");
    // An empty folder in its place is no folder of the pool, and stays empty.
    fs::create_dir(&far).unwrap();
    assert_eq!((open(&server).0, fs::read_dir(&far).unwrap().count()), (409, 0));
    fs::remove_dir(&far).unwrap();
    fs::rename(&away, &far).unwrap();

    let mut host = server.session(1);
    let (status, answer) = open(&server);
    assert_eq!((status, &answer["names"]), (200, &json!(["safe"])), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("1 cartridges"), "{answer}");
    assert!(read(&mut host) == tape(5, 8), "every block and mark, in the drive where it was");
    assert_eq!((state(&server), &server.get("/system/status")["state"]), (json!("ok"), &json!("ok")));
    assert!(open(&server).1["message"].as_str().unwrap().contains("open already"));
    assert_eq!(server.ask("POST", "/pools/none/open", &Value::Null).0, 404);
    server.api("POST", "/store/gc", &json!({ "pool": "safe" }));
    drop(host);
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    assert_eq!(state(&server), "ok");
}

#[test]
fn a_pool_gets_a_folder_while_a_drive_writes_to_it_and_a_kill_at_any_moment_leaves_it_in_or_away() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start_at(folder.path(), &["--set", "cartridge.size=1g"]);
    server.api("POST", "/pools", &json!({ "name": "p1", "paths": [disks.path().join("home")] }));
    server.api("POST", "/cartridges", &json!({ "label": "ADD001L8", "pool": "p1" }));
    let mut host = server.session(1);
    host.load(11, 0);
    let whole = tape(8, 24);
    let (before, after) = whole.split_at(whole.len() / 2);
    write(&mut host, before);
    let added = server.api("POST", "/pools/p1/folders", &json!({ "path": disks.path().join("far") }));
    assert_eq!(added["names"], json!(["p1"]));
    write(&mut host, after);
    assert!(read(&mut host) == whole);
    drop(host);
    let folders = |server: &Server| server.get("/pools/p1")["folders"].as_array().unwrap().len();
    assert_eq!(folders(&server), 2);
    for round in 0..4 {
        let path = disks.path().join(format!("more{round}"));
        let had = folders(&server);
        let _unanswered = server.send("POST", "/pools/p1/folders", &json!({ "path": path }));
        std::thread::sleep(std::time::Duration::from_millis(round * 7));
        server.kill();
        server.start_again();
        assert_eq!(server.get("/pools/p1")["state"], "ok", "round {round}");
        if folders(&server) == had {
            server.api("POST", "/pools/p1/folders", &json!({ "path": path }));
        }
        assert_eq!(folders(&server), had + 1, "round {round}");
    }
    assert_eq!(server.api("POST", "/store/check", &json!({ "pool": "p1" }))["damage"], json!([]));
    let mut host = server.session(2);
    assert!(read(&mut host) == whole, "in the drive where it was");
}
