//! State folders that other versions have written: this one serves them, writes on, and collects.
//!
//! `tests/formats` has one for each set of formats that has been released or landed, named by number; they are never made again. A new one, beside
//! them: `cargo test -p vtld --test daemon -- --ignored makes_the_archives`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK, REWIND};
use crate::support::{Server, eventually, noise};

/// The archives, by the number of the formats in them.
const PLAIN: &str = "state-0.tar.gz";
const ENCRYPTED: &str = "state-0-encrypted.tar.gz";
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What stands on the first cartridge: two files of odd blocks, the second ends with two filemarks.
fn files() -> [Vec<Vec<u8>>; 2] {
    let text = "a line of text that compresses well, number ".bytes().cycle().take(40_000).collect();
    let first = vec![noise(1, 100_000), text, noise(2, 1)];
    [first, vec![noise(3, 4095), noise(1, 100_000), noise(4, 65_537)]]
}

/// `file` put in a folder with what opens an encrypted store.
fn arguments(folder: &Path, archive: &str) -> Vec<String> {
    let key = folder.join("store.key");
    std::fs::write(&key, KEY).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    match archive {
        ENCRYPTED => ["--set", "store.encryption=aes-256-gcm", "--set"]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("store.key_file={key:?}")])
            .collect(),
        _ => Vec::new(),
    }
}

fn start(folder: &Path, archive: &str) -> Server {
    let arguments = arguments(folder, archive);
    Server::start_at(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn archive(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats").join(name)
}

fn tar(words: &[&str], archive: &Path, folder: &Path) {
    let status =
        Command::new("tar").args(words).arg(archive).arg("-C").arg(folder).arg("state").status().unwrap();
    assert!(status.success(), "tar: {status}");
}

fn unload(server: &Server, slot: u16) {
    let mut host = server.session(1);
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + slot - 1).good();
}

fn write_files(server: &Server, slot: u16) {
    let mut host = server.session(1);
    host.load(slot, 0);
    for file in files() {
        file.iter().for_each(|block| drop(host.write(DRIVE, block).good()));
        host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    drop(host);
    unload(server, slot);
}

fn reads_files(server: &Server, slot: u16) {
    let mut host = server.session(1);
    host.load(slot, 0);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for file in files() {
        for block in file {
            assert!(host.read(DRIVE, block.len()).good() == block, "{} bytes", block.len());
        }
        assert_eq!(host.read(DRIVE, 1).check(), (0, 0, 1), "a filemark");
    }
    assert_eq!(host.read(DRIVE, 1).check(), (0, 0, 1), "a second filemark");
    assert_eq!(host.read(DRIVE, 1).check(), (8, 0, 5), "end of data");
    drop(host);
    unload(server, slot);
}

/// A state with a cartridge in each place that there is, a retained one, and one in the trash.
fn fill(server: &Server) {
    write_files(server, 1);
    write_files(server, 2);
    write_files(server, 3);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "vault" }));
    server.api("POST", "/cartridges/VTL004L8/move", &json!({ "to": "mailslot:2" }));
    server.api("PATCH", "/cartridges/VTL002L8", &json!({ "retain_until": "2099-01-01T00:00:00Z" }));
    server.api("DELETE", "/cartridges/VTL003L8", &json!({}));
}

fn serves(name: &str) {
    let folder = tempfile::tempdir().unwrap();
    tar(&["-xzf"], &archive(name), folder.path());
    let mut server = start(folder.path(), name);
    assert_eq!(server.get("/cartridges/VTL001L8")["place"]["kind"], "vault");
    assert_eq!(server.get("/cartridges/VTL004L8")["place"], json!({ "kind": "mailslot", "number": 2 }));
    let (status, _) = server.ask("DELETE", "/cartridges/VTL002L8", &json!({}));
    assert_eq!(status, 409, "it is retained");
    reads_files(&server, 2);
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:1", "library": "lib0" }));
    reads_files(&server, 1);
    // Written on, by this version, and read after a kill.
    write_files(&server, 5);
    server.kill();
    server.start_again();
    [1, 2, 5].into_iter().for_each(|slot| reads_files(&server, slot));
    server.api("POST", "/store/gc", &json!({}));
    eventually("the collection is done", || {
        let jobs = server.get("/jobs").as_array().unwrap().clone();
        jobs.iter().all(|job| job["state"] == "completed").then_some(())
    });
    [1, 2, 5].into_iter().for_each(|slot| reads_files(&server, slot));
    let begun = server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    let told = eventually("the pass ends", || {
        let now = server.get("/store/scrub");
        (now["last_pass"] == begun["pass"]).then_some(now)
    });
    assert_eq!((&told["last_damaged"], &told["damage"]), (&json!(0), &json!([])), "{told}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_state_of_formats_0_is_served_written_on_and_collected() {
    serves(PLAIN);
}

#[test]
fn an_encrypted_state_of_formats_0_is_served_written_on_and_collected() {
    serves(ENCRYPTED);
}

#[test]
fn a_check_beside_a_server_that_runs_tells_what_a_start_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_at(folder.path(), &[]);
    assert_eq!(Server::refused(folder.path(), &["--check"]), (Some(0), String::new()));
    let (code, said) = Server::refused(folder.path(), &["--check", "--set", "log.colour=red"]);
    assert!(code == Some(1) && said.contains("log.colour"), "{said}");
    assert_eq!(server.get("/cartridges/VTL001L8")["label"], "VTL001L8");
    assert_eq!(server.stop(), Some(0));
}

#[test]
#[ignore = "makes the archives that the other tests read, where they are missing"]
fn makes_the_archives() {
    for name in [PLAIN, ENCRYPTED].into_iter().filter(|name| !archive(name).exists()) {
        let folder = tempfile::tempdir().unwrap();
        let mut server = start(folder.path(), name);
        fill(&server);
        server.kill();
        tar(&["--owner=0", "--group=0", "--numeric-owner", "-czf"], &archive(name), folder.path());
    }
}
