//! Damage that only an export can repair, as an operator meets it: a disk turns bits, the scrub finds it, and what was lost comes back from a remote.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::exports::{LABEL, done, export, key, kill_until_ended, read, remote, tape, until_ended, write};
use crate::store::{packs, scrub};
use crate::support::scsi::CHANGER;
use crate::support::{Initiator, Server, eventually};

const SET: [&str; 6] =
    ["--set", "cartridge.size=1g", "--set", "transfer.retry.pause=1s", "--set", "transfer.retry.attempts=1"];

fn unload(host: &mut Initiator) {
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
}

/// A server with one written cartridge that was exported as asked; the folder on the remote.
fn exported(set: &[&str], place: &Path, keys: &Path, asked: &Value) -> (Server, String) {
    let server = Server::start(&[&SET, set].concat());
    remote(&server, place);
    key(&server, keys);
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(7, 24));
    unload(&mut host);
    let folder = done(&server, &export(&server, asked))["folder"].as_str().unwrap().to_owned();
    (server, folder)
}

/// Turns bits in every pack while the server is down, and has the scrub find them.
fn damage(server: &mut Server) -> u64 {
    assert_eq!(server.stop(), Some(0));
    for pack in packs(server) {
        let mut bytes = fs::read(&pack).unwrap();
        for at in (200_000..bytes.len()).step_by(900_000) {
            bytes[at] ^= 0x10;
        }
        fs::write(&pack, bytes).unwrap();
    }
    server.start_again();
    let told = scrub(server);
    assert!(told["damage"].to_string().contains(LABEL), "{told}");
    // The keeper may be at it already.
    let repaired = eventually("a repair in the store", || {
        let (status, repaired) = server.ask("POST", "/store/repair", &json!({}));
        (status == 200).then_some(repaired)
    });
    assert!(repaired["lost"].as_u64().unwrap() > 0, "nobody else has it: {repaired}");
    let lost = told["damage"].as_array().unwrap().iter().map(|one| one["length"].as_u64().unwrap());
    lost.sum()
}

fn repair(server: &Server) -> Value {
    let job = server.api("POST", "/store/repair", &json!({ "from_exports": true }));
    assert_eq!(job["kind"], "repair");
    job["id"].clone()
}

fn contents(server: &Server) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> =
        packs(server).into_iter().map(|pack| (pack.clone(), fs::read(pack).unwrap())).collect();
    all.sort();
    all
}

fn reads_whole(server: &Server) {
    let mut host = server.session(1);
    host.load(1, 0);
    assert!(read(&mut host) == tape(7, 24), "every block and mark");
    unload(&mut host);
}

#[test]
fn what_the_scrub_found_comes_back_from_a_remote_also_without_dedupe_in_an_encrypted_store_and_over_kills() {
    let encrypted = tempfile::tempdir().unwrap();
    let secret = encrypted.path().join("store.key");
    fs::write(&secret, [0x5a; 32]).unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let with_key = format!("store.key_file={secret:?}");
    let sets: [&[&str]; 3] = [
        &[],
        &["--set", "store.dedupe=false"],
        &["--set", "store.encryption=aes-256-gcm", "--set", &with_key],
    ];
    for (round, set) in sets.into_iter().enumerate() {
        let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let asked = json!({ "remote": "r", "key": "k", "chunk_size_bytes": 1 << 20 });
        let (mut server, folder) = exported(set, place.path(), keys.path(), &asked);
        let lost = damage(&mut server);
        let plan = server.api("POST", "/store/repair", &json!({ "from_exports": true, "plan": true }));
        assert!(plan["tasks"][0]["total_bytes"].as_u64().unwrap() > 0, "{plan}");
        assert!(plan["notes"].to_string().contains(&folder), "{plan}");
        let id = repair(&server);
        let result = match round {
            0 => kill_until_ended(&mut server, &id, 2, 3),
            _ => done(&server, &id),
        };
        let told = &result["cartridges"][0];
        assert_eq!((&told["label"], &told["pool"]), (&json!(LABEL), &json!("default")), "{result}");
        assert_eq!((&told["damaged_bytes"], &told["remaining_bytes"]), (&json!(lost), &json!(0)), "{result}");
        assert_eq!(told["why"], json!([]), "{result}");
        // What was put back right before a kill is not counted.
        if round > 0 {
            assert!(told["healed_bytes"].as_u64().unwrap() > 0, "{result}");
            assert_eq!(told["from"], json!([format!("r/{folder}")]));
        }
        assert_eq!(scrub(&server)["damage"], json!([]), "{result}");
        assert_eq!(server.api("POST", "/store/check", &json!({}))["damage"], json!([]));
        reads_whole(&server);
    }
}

#[test]
fn a_remote_that_is_lost_and_an_export_that_is_damaged_are_named_and_nothing_wrong_is_taken() {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mounted, away) = (place.path().join("mounted"), place.path().join("away"));
    fs::create_dir(&mounted).unwrap();
    let asked = json!({ "remote": "r", "chunk_size_bytes": 1 << 20 });
    let (mut server, folder) = exported(&[], &mounted, keys.path(), &asked);
    let lost = damage(&mut server);
    let before = contents(&server);

    fs::rename(&mounted, &away).unwrap();
    let job = until_ended(&server, &repair(&server));
    let said = format!("{}{}", job["result"], job["error"]);
    assert!(said.contains(&format!("r/{folder}")) && said.contains(LABEL), "{job}");
    assert!(contents(&server) == before, "nothing is written");
    fs::rename(&away, &mounted).unwrap();

    let objects = fs::read_dir(mounted.join(&folder)).unwrap().map(|entry| entry.unwrap().path());
    let objects: Vec<_> = objects.filter(|path| path.to_str().unwrap().contains(".img.")).collect();
    let whole: Vec<_> = objects.iter().map(|path| fs::read(path).unwrap()).collect();
    for (path, bytes) in objects.iter().zip(&whole) {
        // One bit in each of the frames of this object.
        let mut wrong = bytes.clone();
        (1000..wrong.len()).step_by(100_000).for_each(|at| wrong[at] ^= 1);
        fs::write(path, wrong).unwrap();
    }
    let told = done(&server, &repair(&server))["cartridges"][0].clone();
    assert_eq!((&told["healed_chunks"], &told["remaining_bytes"]), (&json!(0), &json!(lost)), "{told}");
    assert!(told["why"].to_string().contains(&format!("{LABEL}.img.0000")), "{told}");
    assert!(contents(&server) == before, "nothing is written");
    assert!(server.get("/system/status")["problems"].to_string().contains(LABEL));

    for (path, bytes) in objects.iter().zip(&whole) {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(done(&server, &repair(&server))["cartridges"][0]["remaining_bytes"], 0);
    reads_whole(&server);
}

#[test]
fn an_export_for_a_key_that_is_not_here_is_named_with_the_key_and_helps_when_the_key_has_come() {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut server, folder) =
        exported(&[], place.path(), keys.path(), &json!({ "remote": "r", "key": "k" }));
    let fingerprint = server.get("/keys")[0]["fingerprint"].as_str().unwrap().to_owned();
    server.api("DELETE", "/keys/k", &json!({ "confirm": "k" }));
    let public = keys.path().join("public.pem");
    let made = Command::new("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(keys.path().join("key.pem"))
        .arg("-out")
        .arg(&public)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    server.api("POST", "/keys", &json!({ "name": "public", "file": public }));
    let lost = damage(&mut server);
    let before = contents(&server);
    let told = done(&server, &repair(&server))["cartridges"][0].clone();
    let why = told["why"].to_string();
    assert!(why.contains(&folder) && why.contains(&fingerprint) && why.contains("vtl key import"), "{told}");
    assert_eq!(told["remaining_bytes"], json!(lost));
    assert!(contents(&server) == before, "nothing is written");
    key(&server, keys.path());
    assert_eq!(done(&server, &repair(&server))["cartridges"][0]["remaining_bytes"], 0);
    reads_whole(&server);
}
