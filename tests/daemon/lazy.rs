//! Lazy imports as a host meets them: a cartridge that can be loaded while its blocks are elsewhere, with its remote away, damaged and back, and with the
//! server killed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::exports::{
    BLOCK, LABEL, Thing, done, export, import, key, kill_until_ended, load_from_vault, read, remote, second,
    until_ended, write,
};
use crate::support::scsi::{DRIVE, ERASE, ONE_FILEMARK, REWIND, TEST_UNIT_READY};
use crate::support::{Initiator, Server, eventually, noise, rounds};
use crate::watch::{metrics, sample};

/// What says that a block is elsewhere and cannot be reached: ABORTED COMMAND, LOGICAL UNIT COMMUNICATION FAILURE.
const AWAY: (u8, u8, u8) = (0x0b, 0x08, 0x00);

/// Files of four blocks, a MiB each.
fn tape(files: u64) -> Vec<Thing> {
    let blocks = |file| (0..4).map(move |block| Some(noise(file * 10 + block, BLOCK)));
    (0..files).flat_map(|file| blocks(file).chain([None])).collect()
}

fn exported(server: &Server, place: &Path, keys: &Path, tape: &[Thing]) -> String {
    remote(server, place);
    key(server, keys);
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, tape);
    let id = export(server, &json!({ "remote": "r", "key": "k", "chunk_size_bytes": 1 << 20 }));
    done(server, &id)["folder"].as_str().unwrap().to_owned()
}

/// Moves chunk objects from one folder to another: those with these numbers, or all.
fn carry(from: &Path, to: &Path, numbers: Option<&[u32]>) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((_, number)) = name.split_once(".img.") else { continue };
        if numbers.is_none_or(|numbers| numbers.contains(&number.parse().unwrap())) {
            fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

fn to_file(host: &mut Initiator, file: u8) {
    host.run(DRIVE, &[0x01, 0, 0, 0, 0, 0], 0, &[]).good();
    host.run(DRIVE, &[0x11, 0x01, 0, 0, file, 0], 0, &[]).good();
}

fn block(host: &mut Initiator) -> Result<Vec<u8>, (u8, u8, u8)> {
    let outcome = host.run(DRIVE, &[0x08, 0x02, 4, 0, 0, 0], BLOCK, &[]);
    if outcome.status == 0 { Ok(outcome.good()) } else { Err(outcome.code()) }
}

#[test]
fn a_cartridge_is_read_where_it_is_needed_first_and_is_an_ordinary_one_when_all_is_here() {
    let (keys, place, aside) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = tape(6);
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let folder = exported(&server, place.path(), keys.path(), &content);
    let home = place.path().join(&folder);
    let mut other = second_with(&["--set", "migrate.read_wait=1s", "--set", "transfer.retry.pause=1s"]);
    remote(&other, place.path());
    key(&other, keys.path());

    // Its objects are away: the job fails, and the cartridge is there.
    carry(&home, aside.path(), None);
    let id = import(&other, &json!({ "remote": "r", "folder": folder, "lazy": true }));
    assert_eq!(until_ended(&other, &id)["state"], "failed");
    let shown = other.get(&format!("/cartridges/{LABEL}"));
    let bytes = 24 * BLOCK as u64;
    assert_eq!(
        (&shown["used_bytes"], &shown["lazy"]["image_bytes"], &shown["lazy"]["here_bytes"]),
        (&json!(bytes), &json!(bytes), &json!(0)),
        "{shown}"
    );
    let mut host = load_from_vault(&other);
    host.attentions(DRIVE);
    to_file(&mut host, 3);
    assert_eq!(host.position(DRIVE), (15, 3));
    assert_eq!(block(&mut host), Err(AWAY));
    assert_eq!(host.position(DRIVE), (15, 3), "it may be asked once more");
    assert_eq!(host.write(DRIVE, b"x").check(), (0x07, 0x27, 0x00));
    assert_eq!(host.run(DRIVE, &ONE_FILEMARK, 0, &[]).check(), (0x07, 0x27, 0x00));
    assert_eq!(host.run(DRIVE, &ERASE, 0, &[]).check(), (0x07, 0x27, 0x00));

    // With one frame of 512 KiB in an object, file 3 is in the objects 7 and 8: they are enough.
    carry(aside.path(), &home, Some(&[7, 8]));
    for wanted in &content[15..19] {
        assert!(block(&mut host).ok() == *wanted);
    }
    let here = other.get(&format!("/cartridges/{LABEL}"))["lazy"]["here_bytes"].clone();
    assert_eq!(here, json!(4 * BLOCK), "nothing else was fetched");

    // An operator hears that nothing fetches the rest. A switch that is turned counts when all is here.
    let problems = other.get("/system/status")["problems"].clone();
    let told = problems.as_array().unwrap().iter().find(|problem| problem["subject"] == LABEL).unwrap();
    assert!(told["remedy"].as_str().unwrap().contains(&folder), "{told}");
    other.api("PATCH", &format!("/cartridges/{LABEL}"), &json!({ "write_protect": true }));

    // What needs it is refused.
    let refused = |method: &str, path: &str, body: &Value| {
        let (status, told) = other.ask(method, path, body);
        assert_eq!(status, 409, "{path}: {told}");
        assert!(told["message"].as_str().unwrap().contains(LABEL), "{told}");
    };
    refused("DELETE", "/remotes/r", &Value::Null);
    refused("DELETE", "/keys/k", &json!({ "confirm": "k" }));
    refused("PATCH", &format!("/cartridges/{LABEL}"), &json!({ "hold": true }));
    let prune = json!({ "remote": "r", "folder": folder, "confirm": folder });
    let prune = other.api("POST", "/exports/prune", &prune)["id"].clone();
    assert!(until_ended(&other, &prune)["error"].as_str().unwrap().contains(LABEL));

    // Killed, with its remote away: what was read is here.
    carry(&home, aside.path(), None);
    drop(host);
    other.kill();
    other.start_again();
    let mut host = other.session(3);
    host.attentions(DRIVE);
    to_file(&mut host, 3);
    assert!(block(&mut host).as_ref() == Ok(content[15].as_ref().unwrap()));
    to_file(&mut host, 1);
    assert_eq!(block(&mut host), Err(AWAY));

    // Back, with one bit of it turned.
    carry(aside.path(), &home, None);
    let damaged = home.join(format!("{LABEL}.img.000003"));
    let good = fs::read(&damaged).unwrap();
    let mut flipped = good.clone();
    flipped[300_000] ^= 1;
    fs::write(&damaged, flipped).unwrap();
    assert_eq!(block(&mut host), Err((0x03, 0x11, 0x00)));
    assert!(other.log().contains("img.000003"), "it is named");
    to_file(&mut host, 5);
    assert!(block(&mut host).as_ref() == Ok(content[25].as_ref().unwrap()), "others are read");
    fs::write(&damaged, good).unwrap();

    let again = other.api("POST", &format!("/jobs/{id}/retry"), &Value::Null)["id"].clone();
    assert_eq!(done(&other, &again)["label"], LABEL);
    let shown = other.get(&format!("/cartridges/{LABEL}"));
    assert_eq!((&shown["lazy"], &shown["exports"]), (&Value::Null, &json!([format!("r/{folder}")])));
    // The drive has had it all the while.
    assert!(read(&mut host) == content, "every block and mark");
    assert_eq!(host.write(DRIVE, b"x").check(), (0x07, 0x27, 0x00));
    other.api("PATCH", &format!("/cartridges/{LABEL}"), &json!({ "write_protect": false }));
    host.write(DRIVE, b"it takes writes").good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    assert_eq!(read(&mut host).len(), content.len() + 2);
    assert_eq!(other.api("POST", "/store/check", &Value::Null)["damage"], json!([]));
    let (status, told) = other.ask("DELETE", "/remotes/r", &Value::Null);
    assert_eq!(status, 200, "{told}");
}

#[test]
fn a_read_that_waits_for_its_remote_and_what_waits_behind_it_are_the_depth_of_the_queue() {
    let (keys, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let place = disk.path().join("place");
    fs::create_dir(&place).unwrap();
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let folder = exported(&server, &place, keys.path(), &tape(1));
    let other = second_with(&["--set", "migrate.read_wait=4s", "--set", "transfer.retry.pause=1s"]);
    remote(&other, &place);
    key(&other, keys.path());
    carry(&place.join(&folder), &disk.path().join("aside"), None);
    let id = import(&other, &json!({ "remote": "r", "folder": folder, "lazy": true }));
    assert_eq!(until_ended(&other, &id)["state"], "failed");
    let mut host = load_from_vault(&other);
    host.attentions(DRIVE);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    let depth = || sample(&metrics(&other), "vtl_queue_depth{unit=\"lib0-drive0\"}");
    assert_eq!(depth(), "0");
    // The remote does not answer, so the drive waits as long as it is to.
    fs::rename(&place, disk.path().join("away")).unwrap();
    let waits = host.start(DRIVE, &[0x08, 0x02, 4, 0, 0, 0], BLOCK, &[]);
    let behind = [(); 2].map(|()| host.start(DRIVE, &TEST_UNIT_READY, 0, &[]));
    eventually("three commands are owed an answer", || (depth() == "3").then_some(()));
    assert_eq!(host.wait(waits).code(), AWAY);
    for tag in behind {
        host.wait(tag).good();
    }
    assert_eq!(depth(), "0");
}

fn second_with(set: &[&str]) -> Server {
    let mut arguments = vec!["--set", "library.default=none"];
    arguments.extend(set);
    let server = Server::start(&arguments);
    let library =
        json!({ "name": "lib0", "profile": "ibm-03584l32", "drives": 1, "slots": 4, "mailslots": 1 });
    server.api("POST", "/libraries", &library);
    server
}

#[test]
fn killed_at_any_moment_a_lazy_import_goes_on_and_one_that_is_removed_leaves_nothing() {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = tape(12);
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let folder = exported(&server, place.path(), keys.path(), &content);
    for round in 0..u64::from(rounds(1, 17)) {
        let mut other = second();
        remote(&other, place.path());
        key(&other, keys.path());
        let id = import(&other, &json!({ "remote": "r", "folder": folder, "lazy": true }));
        kill_until_ended(&mut other, &id, 3, round + 90);
        let mut host = load_from_vault(&other);
        assert!(read(&mut host) == content, "round {round}");
        assert_eq!(other.get("/cartridges").as_array().unwrap().len(), 1, "round {round}");
        assert_eq!(other.api("POST", "/store/check", &Value::Null)["damage"], json!([]));
    }

    let other = second();
    remote(&other, place.path());
    key(&other, keys.path());
    let id = import(&other, &json!({ "remote": "r", "folder": folder, "lazy": true }));
    eventually("the cartridge is listed", || {
        let (status, _) = other.ask("GET", &format!("/cartridges/{LABEL}"), &Value::Null);
        (status == 200).then_some(())
    });
    let removed = json!({ "now": true, "confirm": LABEL });
    let (status, told) = other.ask("DELETE", &format!("/cartridges/{LABEL}"), &removed);
    assert_eq!(status, 200, "{told}");
    // It was removed while its import ran, or after that.
    until_ended(&other, &id);
    assert_eq!(other.get("/cartridges"), json!([]));
    let (status, told) = other.ask("DELETE", "/remotes/r", &Value::Null);
    assert_eq!(status, 200, "{told}");
    assert_eq!(other.get("/store/stats")["logical_bytes"], 0, "nothing is left of it");
}
