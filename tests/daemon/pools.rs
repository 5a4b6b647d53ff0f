//! Several pools as hosts and operators meet them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK};
use crate::support::{Server, eventually, noise};

const PART: usize = 4 << 20;
/// Slot of the first cartridge that is made beside the ten of the default library.
const ELEVENTH: u16 = 11;

fn unload(host: &mut crate::support::Initiator, slot: u16) {
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + slot - 1).good();
}

fn write(server: &Server, slot: u16, seed: u64) {
    let mut host = server.session(1);
    host.load(slot, 0);
    for block in noise(seed, PART).chunks(1 << 18) {
        host.write(DRIVE, block).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    unload(&mut host, slot);
}

fn reads_whole(server: &Server, slot: u16, seed: u64) {
    let mut host = server.session(1);
    host.load(slot, 0);
    for block in noise(seed, PART).chunks(1 << 18) {
        assert!(host.read(DRIVE, 1 << 18).good() == block);
    }
    unload(&mut host, slot);
}

fn pool(server: &Server, name: &str) -> Option<Value> {
    let pools = server.get("/pools").as_array().unwrap().clone();
    pools.into_iter().find(|pool| pool["name"] == name)
}

fn problem_of(server: &Server, subject: &str) -> Option<Value> {
    let problems = server.get("/system/status")["problems"].as_array().unwrap().clone();
    problems.into_iter().find(|problem| problem["subject"] == subject)
}

/// An encrypted pool `safe` beside the plain default one, each with a cartridge that is written.
fn plain_and_encrypted(folder: &Path, disks: &Path) -> Server {
    let key = folder.join("key");
    std::fs::write(&key, b"0123456789abcdef0123456789abcdef").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start_at(folder, &[]);
    let paths = [disks.join("home"), disks.join("far")];
    let request = json!({ "name": "safe", "paths": paths, "encrypted": true, "key_file": key });
    server.api("POST", "/pools", &request);
    server.api("POST", "/cartridges", &json!({ "label": "SAF001L8", "pool": "safe" }));
    write(&server, 1, 1);
    write(&server, ELEVENTH, 2);
    server
}

#[test]
fn a_pool_whose_folder_is_away_takes_its_own_cartridges_with_it_and_nothing_else() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = plain_and_encrypted(folder.path(), disks.path());
    assert_eq!(server.get("/cartridges/VTL001L8")["pool"], "default");
    assert_eq!(server.get("/cartridges/SAF001L8")["pool"], "safe");
    let asked = problem_of(&server, "pool safe").unwrap();
    assert!(asked["remedy"].as_str().unwrap().contains("key export FILE --pool safe"), "{asked}");
    let export = folder.path().join("export");
    server.api("POST", "/store/key/export", &json!({ "pool": "safe", "file": export }));
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    reads_whole(&server, 1, 1);
    reads_whole(&server, ELEVENTH, 2);
    assert_eq!(server.get("/system/status")["state"], "ok");
    assert_eq!(server.stop(), Some(0));

    let (far, away) = (disks.path().join("far"), disks.path().join("away"));
    std::fs::rename(&far, &away).unwrap();
    server.start_again();
    let told = problem_of(&server, "pool safe").unwrap();
    assert!(told["message"].as_str().unwrap().contains("far"), "{told}");
    let closed = pool(&server, "safe").unwrap();
    assert_eq!((&closed["state"], &closed["cartridges"]), (&json!("closed"), &json!(1)));
    reads_whole(&server, 1, 1);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    let elements = host.elements();
    let (key, ..) = host.move_medium(elements.storage + ELEVENTH - 1, elements.drive).check();
    assert!(key == 4, "sense key {key:x}: hardware error");
    drop(host);
    assert_eq!(server.get("/cartridges/SAF001L8")["place"]["number"], ELEVENTH);
    server.api("POST", "/store/gc", &json!({}));
    assert_eq!(server.ask("POST", "/store/gc", &json!({ "pool": "safe" })).0, 409);
    assert_eq!(server.ask("POST", "/cartridges", &json!({ "label": "SAF002L8", "pool": "safe" })).0, 409);
    let (status, answer) = server.ask("DELETE", "/pools/safe", &json!({}));
    assert!(status == 409 && answer["message"].as_str().unwrap().contains("SAF001L8"), "{answer}");
    assert_eq!(server.stop(), Some(0));

    // An empty folder in its place is no pool either, and nothing is written to it.
    std::fs::create_dir(&far).unwrap();
    server.start_again();
    assert_eq!(pool(&server, "safe").unwrap()["state"], "closed");
    assert_eq!((server.stop(), std::fs::read_dir(&far).unwrap().count()), (Some(0), 0));
    std::fs::remove_dir(&far).unwrap();
    std::fs::rename(&away, &far).unwrap();
    server.start_again();
    assert_eq!(pool(&server, "safe").unwrap()["state"], "ok");
    reads_whole(&server, ELEVENTH, 2);
    assert_eq!(server.get("/system/status")["state"], "ok");
}

#[test]
fn what_is_told_of_the_store_is_the_sum_and_each_pool_and_work_is_done_in_the_one_that_is_named() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = plain_and_encrypted(folder.path(), disks.path());
    let (sum, safe) = (server.get("/store/stats"), server.get("/store/stats?pool=safe"));
    let plain = server.get("/store/stats?pool=default");
    for name in ["logical_bytes", "unique_bytes", "stored_bytes", "chunks", "packs"] {
        let number = |of: &Value| of[name].as_u64().unwrap();
        assert!(number(&safe) > 0 && number(&plain) > 0, "{name}");
        assert_eq!(number(&sum), number(&safe) + number(&plain), "{name}");
    }
    assert_eq!(
        (&safe["encrypted"], &plain["encrypted"], &sum["encrypted"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert_eq!(sum["pools"][0]["pool"], "default");
    assert_eq!(sum["pools"][1]["stored_bytes"], safe["stored_bytes"]);
    assert_eq!(server.get("/store/key?pool=safe")["encryption"], "aes-256-gcm");
    assert_eq!(server.get("/store/key")["encryption"], "none");
    assert_eq!(server.ask("GET", "/store/stats?pool=none", &Value::Null).0, 404);

    let check = |body: &Value| server.api("POST", "/store/check", body)["chunks"].as_u64().unwrap();
    assert_eq!(check(&json!({})), check(&json!({ "pool": "safe" })) + check(&json!({ "pool": "default" })));

    // A start ends the packs that were being written; before that none of them goes.
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    let plain = server.get("/store/stats?pool=default");
    server.api("DELETE", "/cartridges/SAF001L8", &json!({ "now": true, "confirm": "SAF001L8" }));
    let job =
        server.api("POST", "/store/gc", &json!({ "pool": "safe", "dead_percent": 1, "background": true }));
    assert_eq!(job["label"], "safe");
    eventually("it is collected", || {
        (server.get("/store/stats?pool=safe")["stored_bytes"].as_u64().unwrap() < PART as u64 / 2)
            .then_some(())
    });
    assert_eq!(server.get("/store/stats?pool=default")["stored_bytes"], plain["stored_bytes"]);

    let begun = server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    let ended = eventually("both are read", || {
        let job = server.get(&format!("/jobs/{}", begun["job"]));
        (job["state"] == "completed").then_some(job)
    });
    assert_eq!((ended["tasks"].as_array().unwrap().len(), &ended["label"]), (2, &Value::Null));
    assert_eq!(ended["result"]["pools"].as_array().unwrap().len(), 2);
    let told = server.get("/store/scrub");
    assert_eq!((&told["damage"], told["pools"].as_array().unwrap().len()), (&json!([]), 2));

    eventually("the jobs have ended", || {
        let (status, _) = server.ask("DELETE", "/pools/safe", &json!({}));
        (status == 200).then_some(())
    });
    for name in ["home", "far"] {
        assert_eq!(std::fs::read_dir(disks.path().join(name)).unwrap().count(), 0, "{name}");
    }
    reads_whole(&server, 1, 1);
}

#[test]
fn a_remote_and_a_pool_do_not_lie_one_in_the_other() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start_at(folder.path(), &[]);
    let [remote, home] = ["remote", "home"].map(|name| disks.path().join(name));
    std::fs::create_dir(&remote).unwrap();
    let folder_remote = |name: &str, path: &Path| json!({ "name": name, "type": "folder", "path": path });
    server.api("POST", "/remotes", &folder_remote("r1", &remote));
    let (status, answer) =
        server.ask("POST", "/pools", &json!({ "name": "p1", "paths": [remote.join("below")] }));
    assert!(status == 409 && answer["message"].as_str().unwrap().contains("remote"), "{answer}");
    server.api("POST", "/pools", &json!({ "name": "p1", "paths": [home] }));
    // Live, and after a start.
    for _ in 0..2 {
        let (status, answer) = server.ask("POST", "/remotes", &folder_remote("r2", &home));
        assert!(
            status >= 400 && answer["message"].as_str().unwrap().contains("this server's own"),
            "{answer}"
        );
        assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    }
}

#[test]
fn a_kill_while_a_pool_is_made_or_removed_leaves_none_or_a_whole_one() {
    let (folder, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut server = Server::start_at(folder.path(), &[]);
    let request = json!({ "name": "p1", "paths": [disks.path().join("home"), disks.path().join("far")] });
    for round in 0..6 {
        // Wherever it is then: the sleep only spreads the places.
        let kill = |server: &mut Server, method: &str, path: &str, body: &Value| {
            let _unanswered = server.send(method, path, body);
            std::thread::sleep(Duration::from_millis(round * 7));
            server.kill();
            server.start_again();
        };
        kill(&mut server, "POST", "/pools", &request);
        match pool(&server, "p1") {
            None => drop(server.api("POST", "/pools", &request)),
            Some(pool) => assert_eq!(pool["state"], "ok"),
        }
        assert_eq!(server.api("POST", "/store/check", &json!({ "pool": "p1" }))["damage"], json!([]));
        kill(&mut server, "DELETE", "/pools/p1", &json!({}));
        if let Some(pool) = pool(&server, "p1") {
            assert_eq!(pool["state"], "ok", "{pool}");
            server.api("DELETE", "/pools/p1", &json!({}));
        }
        for name in ["home", "far"] {
            assert_eq!(std::fs::read_dir(disks.path().join(name)).unwrap().count(), 0, "{name}, {round}");
        }
    }
    assert_eq!(server.get("/system/status")["state"], "ok");
}
