//! Exports and imports as an operator meets them: written over iSCSI, sent to a folder with a key, taken in by another server with the private key,
//! read over iSCSI again; `crashes` does it with a server that is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK, REWIND};
use crate::support::{Initiator, Server, eventually, noise};

pub(crate) const LABEL: &str = "VTL001L8";
pub(crate) const BLOCK: usize = 1 << 18;

/// A block, or a filemark.
pub(crate) type Thing = Option<Vec<u8>>;

pub fn tape(seed: u64, blocks: u64) -> Vec<Thing> {
    let mut tape = vec![None];
    tape.extend((0..blocks).map(|at| Some(noise(seed * 1000 + at, BLOCK))));
    tape.extend([None, None]);
    tape.extend((1..30).map(|at| Some(b"text on a tape ".repeat(at * 11))));
    tape.push(None);
    tape
}

pub(crate) fn write(host: &mut Initiator, tape: &[Thing]) {
    for thing in tape {
        match thing {
            Some(block) => host.write(DRIVE, block).good(),
            None => host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good(),
        };
    }
}

pub(crate) fn read(host: &mut Initiator) -> Vec<Thing> {
    host.attentions(DRIVE);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    let mut things = Vec::new();
    loop {
        // Any length is right.
        let outcome = host.run(DRIVE, &[0x08, 0x02, 4, 0, 0, 0], BLOCK, &[]);
        match (outcome.status, outcome.code()) {
            (0, _) => things.push(Some(outcome.good())),
            (_, (0x00, 0x00, 0x01)) => things.push(None),
            (_, (0x08, 0x00, 0x05)) => return things,
            other => panic!("object {}: {other:02x?}", things.len()),
        }
    }
}

pub(crate) fn remote(server: &Server, place: &Path) {
    server.api("POST", "/remotes", &json!({ "name": "r", "type": "folder", "path": place }));
}

pub(crate) fn key(server: &Server, folder: &Path) {
    let file = folder.join("key.pem");
    if !file.exists() {
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&file).arg("2048").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    server.api("POST", "/keys", &json!({ "name": "k", "file": file }));
}

pub(crate) fn until_ended(server: &Server, id: &Value) -> Value {
    eventually(&format!("job {id} ends"), || {
        let job = server.get(&format!("/jobs/{id}"));
        ["completed", "failed", "cancelled"].contains(&job["state"].as_str().unwrap()).then_some(job)
    })
}

pub(crate) fn done(server: &Server, id: &Value) -> Value {
    let job = until_ended(server, id);
    assert_eq!(job["state"], "completed", "{job}");
    job["result"].clone()
}

pub(crate) fn export(server: &Server, body: &Value) -> Value {
    server.api("POST", &format!("/cartridges/{LABEL}/export"), body)["id"].clone()
}

pub(crate) fn import(server: &Server, body: &Value) -> Value {
    server.api("POST", "/imports", body)["id"].clone()
}

pub(crate) fn staging_is_empty(server: &Server) -> bool {
    fs::read_dir(server.state().join("staging")).map_or(true, |mut entries| entries.next().is_none())
}

/// A second server without a library of its own: it gets one with the cartridge's slot.
pub(crate) fn second() -> Server {
    let server = Server::start(&["--set", "library.default=none"]);
    let library =
        json!({ "name": "lib0", "profile": "ibm-03584l32", "drives": 1, "slots": 4, "mailslots": 1 });
    server.api("POST", "/libraries", &library);
    server
}

pub(crate) fn load_from_vault(server: &Server) -> Initiator {
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    let mut host = server.session(2);
    host.load(1, 0);
    host
}

#[test]
fn a_cartridge_goes_to_a_folder_for_a_key_and_every_block_and_mark_comes_back_on_another_server() {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    remote(&server, place.path());
    key(&server, keys.path());
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(1, 12));
    // It may stay in the drive; what is written when the export has ended is not in it.
    let asked = json!({ "remote": "r", "key": "k", "chunk_size_bytes": 1 << 20, "compress": "zstd" });
    let plan =
        server.api("POST", &format!("/cartridges/{LABEL}/export"), &json!({ "remote": "r", "plan": true }));
    assert!(plan["tasks"][0]["total_bytes"].as_u64().unwrap() > 12 * BLOCK as u64, "{plan}");
    let id = export(&server, &asked);
    let result = done(&server, &id);
    host.write(DRIVE, b"after the export").good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    let folder = result["folder"].as_str().unwrap().to_owned();
    assert!(staging_is_empty(&server) && result["objects"].as_u64().unwrap() >= 3, "{result}");
    let shown = server.get(&format!("/cartridges/{LABEL}"));
    assert_eq!(shown["exports"], json!([format!("r/{folder}")]));
    let listed = server.get("/exports?remote=r");
    assert_eq!(
        (&listed[0]["folder"], &listed[0]["complete"], &listed[0]["known"], &listed[0]["cartridge"]),
        (&json!(folder), &json!(true), &json!(true), &Value::Null),
        "the cartridge has other content by now"
    );
    let verify = server.api("POST", "/exports/verify", &json!({ "remote": "r", "folder": folder }));
    assert_eq!(done(&server, &verify["id"])["known"], true);

    let other = second();
    remote(&other, place.path());
    let without = import(&other, &json!({ "remote": "r", "folder": folder }));
    let refused = until_ended(&other, &without);
    assert_eq!(refused["state"], "failed");
    assert!(refused["remedy"].as_str().unwrap().contains("vtl key import"), "{refused}");
    assert_eq!(other.get("/cartridges"), json!([]));
    key(&other, keys.path());
    let jobs = || other.get("/jobs").as_array().unwrap().len();
    let before = jobs();
    for (path, task) in [("/imports", "fetch"), ("/exports/verify", "fetch and compare")] {
        let plan = other.api("POST", path, &json!({ "remote": "r", "folder": folder, "plan": true }));
        assert_eq!(plan["tasks"][0]["name"], task, "{plan}");
        assert!(plan["tasks"][0]["total_bytes"].as_u64().unwrap() > 0, "{plan}");
    }
    let plan = other.api("POST", "/exports/prune", &json!({ "remote": "r", "plan": true }));
    assert_eq!(plan["tasks"], json!([]), "it is complete");
    assert_eq!((other.get("/cartridges"), jobs()), (json!([]), before), "a plan is no job");
    let result = done(&other, &import(&other, &json!({ "remote": "r", "folder": folder })));
    assert_eq!(result["label"], LABEL);
    assert_eq!(other.get("/vault")[0]["label"], LABEL);
    assert!(staging_is_empty(&other));
    let mut host = load_from_vault(&other);
    assert!(read(&mut host) == tape(1, 12), "every block and mark");
}

#[test]
fn what_cannot_be_is_refused_at_once_with_its_remedy_and_an_unchanged_cartridge_is_skipped() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let path = format!("/cartridges/{LABEL}/export");
    let refused = |method: &str, path: &str, body: Value, status: u16| {
        let (found, told) = server.ask(method, path, &body);
        assert_eq!(found, status, "{path} {body}: {told}");
        assert!(told["message"].is_string(), "{told}");
    };
    refused("POST", &path, json!({}), 400);
    refused("POST", &path, json!({ "remote": "nowhere" }), 404);
    remote(&server, place.path());
    refused("POST", &path, json!({ "remote": "r", "key": "nobody" }), 404);
    refused("POST", &path, json!({ "remote": "r", "chunk_size_bytes": 1 }), 400);
    let (_, told) = server.ask("POST", &path, &json!({ "remote": "r", "chunk_size_bytes": 1 }));
    assert_eq!(told["message"], "objects of 1 bytes cannot be");
    refused("POST", &path, json!({ "remote": "r", "compress": "gzip" }), 400);
    refused("POST", &path, json!({ "remote": "r", "verify": "md5" }), 400);
    refused("POST", "/cartridges/VTL099L8/export", json!({ "remote": "r" }), 404);
    refused("POST", "/imports", json!({}), 400);
    refused("POST", "/imports", json!({ "remote": "r", "folder": "../x" }), 400);
    refused("POST", "/imports", json!({ "job": 99 }), 404);
    refused("GET", "/exports?remote=nowhere", Value::Null, 404);
    // Why nothing was sent stands in the list, too, where a completed export could be taken for one that has sent something.
    let listed = |id: &Value| {
        let jobs = server.get("/jobs");
        let row = jobs.as_array().unwrap().iter().find(|job| job["id"] == *id).unwrap();
        (row["state"].clone(), row.get("skipped").cloned())
    };
    let blank = export(&server, &json!({ "remote": "r" }));
    assert_eq!(done(&server, &blank)["skipped"], "blank");
    assert_eq!(listed(&blank), (json!("completed"), Some(json!("blank"))));
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(2, 2));
    let first = export(&server, &json!({ "remote": "r", "verify": "readback" }));
    let result = done(&server, &first);
    assert_eq!(result["proof"], "verified by reading back");
    let folder = result["folder"].clone();
    let unchanged = export(&server, &json!({ "remote": "r" }));
    let again = done(&server, &unchanged);
    assert_eq!((&again["skipped"], &again["folder"]), (&json!("unchanged"), &folder));
    assert_eq!(listed(&unchanged), (json!("completed"), Some(json!("unchanged"))));
    assert_eq!(listed(&first), (json!("completed"), None));
    refused("POST", "/imports", json!({ "job": first }), 409);
    let copy = server.api("POST", "/imports", &json!({ "job": first, "as_label": "VTL050L8" }));
    assert_eq!(done(&server, &copy["id"])["label"], "VTL050L8");
}

#[test]
fn what_was_exported_to_a_place_is_exported_again_when_the_name_of_its_remote_is_given_to_another() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    remote(&server, first.path());
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(2, 2));
    let exported = done(&server, &export(&server, &json!({ "remote": "r" })));
    server.api("DELETE", "/remotes/r", &Value::Null);
    let mut elsewhere = json!({ "name": "r", "type": "folder", "path": second.path() });
    let (status, told) = server.ask("POST", "/remotes", &elsewhere);
    assert_eq!((status, &told["field"]), (409, &json!("known_exports")), "{told}");
    assert!(told["message"].as_str().unwrap().contains(first.path().to_str().unwrap()), "{told}");

    remote(&server, first.path());
    let again = done(&server, &export(&server, &json!({ "remote": "r" })));
    assert_eq!((&again["skipped"], &again["folder"]), (&json!("unchanged"), &exported["folder"]));

    server.api("DELETE", "/remotes/r", &Value::Null);
    elsewhere["known_exports"] = json!("forget");
    server.api("POST", "/remotes", &elsewhere);
    let plan =
        server.api("POST", &format!("/cartridges/{LABEL}/export"), &json!({ "remote": "r", "plan": true }));
    assert!(!plan.to_string().contains("unchanged"), "{plan}");
    let anew = done(&server, &export(&server, &json!({ "remote": "r" })));
    assert_eq!(anew["exported"], true, "{anew}");
    assert!(second.path().join(anew["folder"].as_str().unwrap()).is_dir(), "{anew}");
    let listed = server.get("/exports?remote=r");
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_cartridge_whose_export_is_proved_goes_here_when_that_is_wanted_and_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(&["--set", "cartridge.size=1g", "--set", "migrate.delete_after_export=true"]);
    remote(&server, place.path());
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(3, 2));
    let kept = done(&server, &export(&server, &json!({ "remote": "r" })));
    let why = kept["kept_because"].as_str().unwrap();
    assert!(why.contains("drive") && why.contains("unload it first"), "{kept}");
    host.write(DRIVE, b"more").good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    server.api("POST", &format!("/cartridges/{LABEL}/move"), &json!({ "to": "slot:1" }));
    let gone = done(&server, &export(&server, &json!({ "remote": "r" })));
    assert_eq!(gone["deleted_here"], true, "{gone}");
    let (status, _) = server.ask("GET", &format!("/cartridges/{LABEL}"), &Value::Null);
    assert_eq!(status, 404);
    done(&server, &import(&server, &json!({ "remote": "r", "folder": gone["folder"] })));
    assert_eq!(server.get("/vault")[0]["label"], LABEL);
}

#[test]
fn what_a_host_puts_into_a_mailslot_is_exported_from_the_vault_after_the_hook_and_not_again_when_it_comes_unchanged()
 {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let hook = keys.path().join("hook");
    let said = keys.path().join("said");
    fs::write(
        &hook,
        format!("#!/bin/sh\necho \"$VTL_LABEL of $VTL_LIBRARY, job $VTL_JOB\" >> {}\n", said.display()),
    )
    .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    let named = format!("hooks.post_vault=\"{}\"", hook.display());
    let server = Server::start(&["--set", "cartridge.size=1g", "--set", &named]);
    remote(&server, place.path());
    key(&server, keys.path());
    let settings = json!({ "settings": { "migrate.remote": "r", "migrate.key": "k", "migrate.chunk_size": "1m", "migrate.verify": "readback" } });
    server.api("PATCH", "/libraries/lib0", &settings);
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(5, 6));
    server.api("POST", &format!("/cartridges/{LABEL}/move"), &json!({ "to": "slot:1" }));
    let library = server.get("/libraries/lib0");
    let mailslot =
        library["elements"].as_array().unwrap().iter().find(|one| one["kind"] == "mailslot").unwrap();
    let address = u16::try_from(mailslot["address"].as_u64().unwrap()).unwrap();
    let put_out = |host: &mut Initiator| {
        host.attentions(CHANGER);
        let from = host.elements().storage;
        host.move_medium(from, address).good();
        assert_eq!(server.get("/vault")[0]["label"], LABEL);
        let jobs = server.get("/jobs");
        jobs.as_array().unwrap().last().unwrap()["id"].clone()
    };
    let id = put_out(&mut host);
    let result = done(&server, &id);
    assert_eq!(
        (&result["exported"], &result["proof"]),
        (&json!(true), &json!("verified by reading back")),
        "{result}"
    );
    assert_eq!(fs::read_to_string(&said).unwrap(), format!("{LABEL} of lib0, job {id}\n"));
    server.api("POST", &format!("/vault/{LABEL}/load"), &json!({ "library": "lib0" }));
    let again = put_out(&mut host);
    assert_ne!(again, id);
    assert_eq!(done(&server, &again)["skipped"], "unchanged");
    assert_eq!(fs::read_to_string(&said).unwrap().lines().count(), 1, "nothing was sent");
}
/// Kills the server some time after `begun`, starts it again, until the job has ended.
pub(crate) fn kill_until_ended(server: &mut Server, id: &Value, kills: u32, seed: u64) -> Value {
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis((seed * 7919 + u64::from(kill) * 104_729) % 180));
        server.kill();
        server.start_again();
        let job = server.get(&format!("/jobs/{id}"));
        if ["completed", "failed", "cancelled"].contains(&job["state"].as_str().unwrap()) {
            break;
        }
    }
    done(server, id)
}

/// Two servers on one remote; the first has exported, signed, for its key.
fn signed_export(place: &Path, keys: &Path) -> (Server, String) {
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    remote(&server, place);
    key(&server, keys);
    server.api("POST", "/keys/signer", &json!({ "type": "ed25519" }));
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(4, 3));
    let result =
        done(&server, &export(&server, &json!({ "remote": "r", "key": "k", "sign_with": "signer" })));
    assert_eq!(result["signed_with"], "signer");
    let folder = result["folder"].as_str().unwrap().to_owned();
    (server, folder)
}

#[test]
fn a_foreign_cartridge_cannot_be_loaded_until_it_is_released_and_that_of_a_known_signer_can() {
    let (keys, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, folder) = signed_export(place.path(), keys.path());
    let mut other =
        Server::start(&["--set", "library.default=none", "--set", "migrate.foreign_bundles=quarantine"]);
    let library =
        json!({ "name": "lib0", "profile": "ibm-03584l32", "drives": 1, "slots": 4, "mailslots": 1 });
    other.api("POST", "/libraries", &library);
    remote(&other, place.path());
    key(&other, keys.path());
    let asked = json!({ "remote": "r", "folder": folder });
    assert!(
        done(&other, &import(&other, &asked))["quarantined"].as_str().unwrap().contains("not known here")
    );
    other.kill();
    other.start_again();
    let row = other.get("/cartridges")[0].clone();
    assert!(row["quarantined"].as_str().unwrap().contains("foreign"), "{row}");
    let load = |method: &str, path: String, body: Value| {
        let (status, told) = other.ask(method, &path, &body);
        assert!(
            status == 409 && told["remedy"].as_str().unwrap().contains("vtl cartridge release"),
            "{told}"
        );
    };
    load("POST", format!("/vault/{LABEL}/load"), json!({ "library": "lib0" }));
    load("POST", format!("/cartridges/{LABEL}/move"), json!({ "to": "drive:0", "library": "lib0" }));
    let refused = until_ended(&other, &export(&other, &json!({ "remote": "r" })));
    assert_eq!(
        (&refused["state"], &refused["remedy"]),
        (&json!("failed"), &json!("vtl cartridge release VTL001L8"))
    );
    other.api("POST", &format!("/cartridges/{LABEL}/release"), &Value::Null);
    let (status, _) = other.ask("POST", &format!("/cartridges/{LABEL}/release"), &Value::Null);
    assert_eq!((status, &other.get("/cartridges")[0]["quarantined"]), (409, &Value::Null));
    let mut host = load_from_vault(&other);
    assert!(read(&mut host) == tape(4, 3));

    let pem = keys.path().join("signer.pem");
    fs::write(&pem, server.get("/keys/signer/public")["pem"].as_str().unwrap()).unwrap();
    other.api("POST", "/keys", &json!({ "name": "site-a", "file": pem }));
    let copy = json!({ "remote": "r", "folder": folder, "as_label": "VTL050L8" });
    let result = done(&other, &import(&other, &copy));
    assert_eq!((&result["signed"], result.get("quarantined")), (&json!("signed by site-a"), None));
    other.api("POST", "/vault/VTL050L8/load", &json!({ "library": "lib0" }));
}

#[test]
fn an_export_is_looked_into_copied_for_other_programs_and_given_to_another_key() {
    let (keys, place, home) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, folder) = signed_export(place.path(), keys.path());
    let path = format!("/exports/show?remote=r&folder={folder}");
    let shown = server.get(&path);
    assert_eq!(
        (&shown["label"], &shown["made_by"], &shown["known"]),
        (&json!(LABEL), &json!("exported from this server"), &json!(true))
    );
    assert_eq!(
        (&shown["recipients"][0]["key"], &shown["recipients"][0]["private"]),
        (&json!("k"), &json!(true))
    );
    // A mark; three blocks of noise; two marks; 29 blocks of text; a mark.
    let inside = &shown["inside"];
    assert_eq!((&inside["blocks"], &inside["filemarks"]), (&json!(32), &json!(4)));
    assert_eq!((&inside["smallest_block"], &inside["largest_block"]), (&json!(165), &json!(BLOCK)));
    let files: Vec<u64> =
        inside["files"].as_array().unwrap().iter().map(|file| file["blocks"].as_u64().unwrap()).collect();
    assert_eq!(files, [0, 3, 0, 29]);

    let to = json!({ "remote": "r", "folder": folder, "to": home.path() });
    let fetched = server.api("POST", "/exports/fetch", &to);
    assert_eq!(done(&server, &fetched["id"])["known"], true);
    let copy = home.path().join(&folder);
    let same = Command::new("diff").arg("-r").arg(&copy).arg(place.path().join(&folder)).output().unwrap();
    assert!(same.status.success(), "{same:?}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o700);
    let (status, _) =
        server.ask("POST", "/exports/fetch", &json!({ "remote": "r", "folder": folder, "to": "here" }));
    assert_eq!(status, 400);

    let other_key = keys.path().join("other.pem");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&other_key).arg("2048").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&other_key, fs::Permissions::from_mode(0o600)).unwrap();
    server.api("POST", "/keys", &json!({ "name": "other", "file": other_key }));
    let rewrap =
        server.api("POST", "/exports/rewrap", &json!({ "remote": "r", "folder": folder, "key": "other" }));
    assert_eq!(done(&server, &rewrap["id"])["signed_with"], "signer");
    let shown = server.get(&path);
    assert_eq!(
        (&shown["recipients"][0]["key"], &shown["recipients"][1], &shown["known"]),
        (&json!("other"), &Value::Null, &json!(true))
    );
    server.api("DELETE", "/keys/other", &json!({ "confirm": "other" }));
    let shown = server.get(&path);
    assert!(
        shown["inside"].is_null() && shown["inside_problem"].as_str().unwrap().contains("encrypted"),
        "{shown}"
    );
    // Whoever kept the old manifest and its key can still read: so says docs/export.md.
    server.api("POST", "/keys", &json!({ "name": "other", "file": other_key }));
    let copy = json!({ "remote": "r", "folder": folder, "as_label": "VTL050L8" });
    assert_eq!(done(&server, &import(&server, &copy))["label"], "VTL050L8");
}

#[test]
fn a_rehearsal_with_faults_ends_well_by_retries_and_deletes_nothing_here() {
    let place = tempfile::tempdir().unwrap();
    let server = Server::start(&[
        "--set",
        "cartridge.size=1g",
        "--set",
        "migrate.delete_after_export=true",
        "--set",
        "transfer.retry.pause=1s",
        "--set",
        "transfer.retry.max_pause=1s",
        "--set",
        "transfer.retry.attempts=100",
    ]);
    remote(&server, place.path());
    let faults =
        ["drop:10%", "drop-answer:10%", "error:10%", "corrupt:5%", "half:5%", "throttle:5%", "slow:5%:0s"];
    let drill = json!({ "name": "drill", "type": "faulty", "over": "r", "faults": faults, "seed": 3 });
    server.api("POST", "/remotes", &drill);
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(7, 3));
    server.api("POST", &format!("/cartridges/{LABEL}/move"), &json!({ "to": "slot:1" }));
    let sent = done(&server, &export(&server, &json!({ "remote": "drill" })));
    assert_eq!((&sent["exported"], &sent["deleted_here"]), (&json!(true), &json!(false)), "{sent}");
    assert!(sent["kept_because"].as_str().unwrap().contains("for rehearsals"), "{sent}");
    // What went through the faults is whole on the remote that has none.
    let body = json!({ "remote": "r", "folder": sent["folder"] });
    done(&server, &server.api("POST", "/exports/verify", &body)["id"].clone());
}
