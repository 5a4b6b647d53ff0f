//! The store as an operator meets it: content stored once, space that comes back, and collections that are refused for a reason.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK};
use crate::support::{Initiator, Server, eventually, noise};

const MIB: u64 = 1 << 20;

/// Writes the same 4 MiB so many times, and a filemark.
fn write_again_and_again(host: &mut Initiator, seed: u64, times: usize) {
    let content = noise(seed, 4 << 20);
    for _ in 0..times {
        for block in content.chunks(1 << 18) {
            host.write(DRIVE, block).good();
        }
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
}

pub fn unload(host: &mut Initiator, slot: u16) {
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + slot - 1).good();
}

pub fn remove_for_good(server: &Server, label: &str) {
    let path = format!("/cartridges/{label}");
    server.api("DELETE", &path, &json!({ "now": true, "confirm": label }));
}

pub fn stat(server: &Server, name: &str) -> u64 {
    server.get("/store/stats")[name].as_u64().unwrap()
}

#[test]
fn what_came_before_is_stored_once_unless_the_configuration_says_otherwise() {
    let unique_and_chunks = |set: &[&str]| {
        let server = Server::start(set);
        let mut host = server.session(1);
        host.load(1, 0);
        write_again_and_again(&mut host, 1, 3);
        (stat(&server, "unique_bytes"), stat(&server, "chunks"))
    };
    let (unique, chunks) = unique_and_chunks(&[]);
    assert!((4 * MIB..5 * MIB).contains(&unique), "{unique}");
    let (unique, _) = unique_and_chunks(&["--set", "store.dedupe=false"]);
    assert_eq!(unique, 12 * MIB);
    let (unique, longer) = unique_and_chunks(&["--set", "store.chunk_size=64k", "--set", "store.memory=64m"]);
    assert!((4 * MIB..5 * MIB).contains(&unique), "{unique}");
    assert!(longer * 2 < chunks, "{longer} chunks of 64k, {chunks} of 16k");
}

#[test]
fn what_is_told_of_writes_is_what_the_configuration_and_the_file_system_allow() {
    let told = |set: &[&str]| {
        let server = Server::start(set);
        let mut host = server.session(1);
        host.load(1, 0);
        let before = server.get("/store/stats")["writes"].clone();
        write_again_and_again(&mut host, 1, 1);
        assert_eq!(server.get("/store/stats")["writes"], before, "no write turns out another way");
        before
    };
    // Which of the two depends on the file system of the state folder.
    assert!(["direct", "buffered"].map(Value::from).contains(&told(&["--set", "store.direct_io=on"])));
    assert_eq!(told(&["--set", "store.direct_io=off"]), "buffered");
}

#[test]
fn a_collection_asked_for_frees_what_no_cartridge_needs_and_says_how_much() {
    let server = Server::start(&["--set", "store.gc=manual"]);
    share(&server);
    remove_for_good(&server, "VTL001L8");
    let before = stat(&server, "stored_bytes");
    let report = server.api("POST", "/store/gc", &json!({ "dead_percent": 1 }));
    for name in ["packs", "removed", "rewritten", "skipped", "freed_bytes", "reclaimable_bytes"] {
        assert!(report[name].is_u64(), "{name} in {report}");
    }
    let freed = report["freed_bytes"].as_u64().unwrap();
    assert_eq!(before - stat(&server, "stored_bytes"), freed);
    assert!((19 * MIB..21 * MIB).contains(&freed), "five of six parts: {report}");
    let check = server.api("POST", "/store/check", &Value::Null);
    assert_eq!(check["damage"], json!([]), "what another cartridge needs has stayed");
    for wrong in [json!({ "dead_percent": 0 }), json!({ "dead_percent": 101 }), json!({ "dead": 5 })] {
        let (status, answer) = server.ask("POST", "/store/gc", &wrong);
        assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{wrong}");
    }
}

#[test]
fn a_cartridge_says_what_it_has_to_itself_and_what_it_shares_and_the_store_adds_up() {
    let mut server = Server::start(&["--set", "store.gc=manual"]);
    share(&server);
    let show = |server: &Server, number: u8| server.get(&format!("/cartridges/VTL00{number}L8"));
    let (one, two, blank) = (show(&server, 1), show(&server, 2), show(&server, 3));
    let bytes = |of: &Value, name: &str| of[name].as_u64().unwrap_or_else(|| panic!("{name} in {of}"));
    assert_eq!((bytes(&one, "logical_bytes"), bytes(&two, "logical_bytes")), (24 * MIB, 4 * MIB));
    assert!((24 * MIB..25 * MIB).contains(&bytes(&one, "arrived_bytes")), "{one}");
    assert!(bytes(&two, "arrived_bytes") < MIB / 8, "{two}");
    assert_eq!((bytes(&blank, "logical_bytes"), bytes(&blank, "arrived_bytes")), (0, 0));
    assert_eq!(one["exclusive_bytes"], Value::Null, "nobody has looked");

    let stats = server.api("POST", "/store/account", &json!({}));
    let reclaimed = stats["reclaimed_bytes"].as_i64().unwrap();
    let sum = (bytes(&stats, "arrived_bytes") + bytes(&stats, "metadata_bytes")).cast_signed() - reclaimed;
    assert_eq!(sum, bytes(&stats, "stored_bytes").cast_signed(), "{stats}");
    let (one, two) = (show(&server, 1), show(&server, 2));
    // A commit that comes in the middle, as on a slow machine, cuts a chunk that the other does not have.
    let some = MIB / 8;
    assert!((20 * MIB..21 * MIB + some).contains(&bytes(&one, "exclusive_bytes")), "{one}");
    assert!((4 * MIB - some..5 * MIB).contains(&bytes(&one, "shared_bytes")), "{one}");
    assert!((4 * MIB - some..5 * MIB).contains(&bytes(&two, "shared_bytes")), "{two}");
    assert_eq!(show(&server, 3)["shared_bytes"], 0);

    // What arrived survives a restart; shares are looked at again.
    let arrived = bytes(&one, "arrived_bytes");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    let one = show(&server, 1);
    assert_eq!((bytes(&one, "arrived_bytes"), &one["exclusive_bytes"]), (arrived, &Value::Null));
}

/// The folder of each cartridge in the store.
fn owners(server: &Server) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(server.state().join("store/owners")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// A daemon with 4 MiB on VTL001L8 and as much on VTL002L8, stopped; and the folder of VTL001L8 in the store.
pub fn two_written(set: &[&str]) -> (Server, PathBuf) {
    let mut server = Server::start(set);
    // Of two cartridges the first is removed and made again, so that its folder is known as the one that is new.
    remove_for_good(&server, "VTL001L8");
    let before = owners(&server);
    server.api("POST", "/cartridges", &json!({ "label": "VTL001L8" }));
    let folder = owners(&server).into_iter().find(|path| !before.contains(path)).unwrap();
    let mut host = server.session(1);
    for number in [1, 2] {
        host.load(number, 0);
        write_again_and_again(&mut host, number.into(), 1);
        unload(&mut host, number);
    }
    drop(host);
    assert_eq!(server.stop(), Some(0));
    (server, folder)
}

#[test]
fn a_cartridge_that_the_store_has_lost_stops_collections_until_it_is_given_up() {
    let (mut server, folder) = two_written(&["--set", "store.gc=manual"]);
    let aside = server.state().join("aside");
    std::fs::rename(&folder, &aside).unwrap();
    // The stop was a clean one. The store knows all the same which cartridges there were.
    server.start_again();
    remove_for_good(&server, "VTL003L8");
    let (status, answer) = server.ask("POST", "/store/gc", &json!({}));
    assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("VTL001L8") && message.contains("folder is missing"), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("vtl cartridge rm VTL001L8 --now"), "{answer}");

    // It comes back from a copy, and nothing of it is missing.
    assert_eq!(server.stop(), Some(0));
    std::fs::rename(&aside, &folder).unwrap();
    server.start_again();
    server.api("POST", "/store/gc", &json!({}));
    reads_whole(&server, 1, 1);

    // Or it is given up.
    assert_eq!(server.stop(), Some(0));
    std::fs::rename(&folder, &aside).unwrap();
    server.start_again();
    assert_eq!(server.ask("POST", "/store/gc", &json!({})).0, 500);
    remove_for_good(&server, "VTL001L8");
    server.api("POST", "/store/gc", &json!({}));
}

#[test]
fn a_cartridge_that_an_older_copy_took_the_place_of_stops_collections_until_it_is_given_up() {
    let (mut server, folder) = two_written(&["--set", "store.gc=manual"]);
    let head = folder.join("head");
    let old = std::fs::read(&head).unwrap();
    server.start_again();
    let mut host = server.session(1);
    host.load(1, 0);
    write_again_and_again(&mut host, 7, 1);
    unload(&mut host, 1);
    drop(host);
    assert_eq!(server.stop(), Some(0));
    std::fs::write(&head, old).unwrap();
    server.start_again();
    let (status, answer) = server.ask("POST", "/store/gc", &json!({}));
    assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("VTL001L8") && message.contains("older copy"), "{answer}");
    reads_whole(&server, 2, 2);
    remove_for_good(&server, "VTL001L8");
    server.api("POST", "/store/gc", &json!({}));
    reads_whole(&server, 2, 2);
}

#[test]
fn a_cartridge_whose_head_is_damaged_is_named_by_the_collection_that_it_stops() {
    let (mut server, folder) = two_written(&["--set", "store.gc=manual"]);
    let head = folder.join("head");
    let mut bytes = std::fs::read(&head).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&head, bytes).unwrap();
    server.start_again();
    let (status, answer) = server.ask("POST", "/store/gc", &json!({}));
    assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("VTL001L8"), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains("head"), "{answer}");
    remove_for_good(&server, "VTL001L8");
    server.api("POST", "/store/gc", &json!({}));
    reads_whole(&server, 2, 2);
}

#[test]
fn a_cartridge_whose_head_and_row_are_lost_stops_collections_until_it_is_given_up_by_its_id() {
    let (mut server, folder) = two_written(&["--set", "store.gc=manual"]);
    let head = folder.join("head");
    let mut bytes = std::fs::read(&head).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    std::fs::write(&head, bytes).unwrap();
    for entry in std::fs::read_dir(server.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("inventory.db") {
            std::fs::remove_file(path).unwrap();
        }
    }
    server.start_again();
    let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let collect = |server: &Server| server.ask("POST", "/store/gc", &json!({ "dead_percent": 1 }));
    let now = format!("vtl cartridge rm --id {id} --now --confirm {id}");
    let (status, answer) = collect(&server);
    assert_eq!((status, &answer["code"]), (500, &json!("internal")), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains(&id), "{answer}");
    assert!(answer["remedy"].as_str().unwrap().contains(&now), "{answer}");
    let remedy = |server: &Server| {
        let status = server.get("/system/status");
        let named = status["problems"].as_array().unwrap().iter().find(|one| one["subject"] == id).cloned();
        named.map(|one| one["remedy"].as_str().unwrap().to_owned())
    };
    let into_trash = format!("vtl cartridge rm --id {id} --confirm {id}");
    assert!(remedy(&server).unwrap().contains(&into_trash));
    let plan = server.api("POST", "/system/rebuild", &json!({ "plan": true }));
    let row = plan.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap().clone();
    assert!(row["action"].as_str().unwrap().contains(&into_trash), "{row}");

    let path = format!("/unlisted/{id}");
    let (status, refused) = server.ask("DELETE", &path, &json!({ "now": true }));
    assert_eq!((status, &refused["field"]), (400, &json!("confirm")), "{refused}");
    for wrong in ["0A", "VTL002L8", &id[1..]] {
        let (status, refused) =
            server.ask("DELETE", &format!("/unlisted/{wrong}"), &json!({ "confirm": wrong }));
        assert_eq!((status, &refused["code"]), (400, &json!("invalid")), "{refused}");
    }
    server.api("DELETE", &path, &json!({ "confirm": id }));
    let trash = server.get("/trash");
    assert_eq!(
        (&trash[0]["id"], &trash[0]["label"], &trash[0]["pool"]),
        (&json!(id), &json!(""), &json!("default"))
    );
    assert!(trash[0]["removed"].is_string() && trash[0]["until"].is_string(), "{trash}");
    assert_eq!(collect(&server).0, 500, "what it needs is kept as long as it can be taken back");
    server.api("POST", &format!("{path}/restore"), &json!(null));
    assert_eq!(server.get("/trash"), json!([]));

    let before = stat(&server, "stored_bytes");
    server.api("DELETE", &path, &json!({ "now": true, "confirm": id }));
    assert_eq!(collect(&server).0, 200);
    assert!(stat(&server, "stored_bytes") < before && !folder.exists());
    assert_eq!(remedy(&server), None);
    assert_eq!(server.ask("DELETE", &path, &json!({ "now": true, "confirm": id })).0, 404);
    assert_eq!(server.get("/cartridges").as_array().unwrap().len(), 9);
    reads_whole(&server, 2, 2);
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!((collect(&server).0, remedy(&server)), (200, None));
    assert_eq!(server.api("POST", "/store/check", &Value::Null)["damage"], json!([]));
}

/// Writes 24 MiB to VTL001L8, of which VTL002L8 has the first 4 too; both are in their slots then. It is more than half a pack, so the
/// pack is sealed when the cartridge leaves the drive.
pub fn share(server: &Server) {
    let mut host = server.session(1);
    host.load(1, 0);
    for seed in 1..=6 {
        write_again_and_again(&mut host, seed, 1);
    }
    unload(&mut host, 1);
    host.load(2, 0);
    write_again_and_again(&mut host, 1, 1);
    unload(&mut host, 2);
}

fn reads_whole(server: &Server, slot: u16, seed: u64) {
    let mut host = server.session(1);
    host.load(slot, 0);
    for block in noise(seed, 4 << 20).chunks(1 << 18) {
        assert!(host.read(DRIVE, 1 << 18).good() == block);
    }
    unload(&mut host, slot);
}

#[test]
fn the_space_of_a_cartridge_that_is_removed_for_good_comes_back_by_itself() {
    let mut server = Server::start(&[]);
    share(&server);
    let before = stat(&server, "stored_bytes");
    assert!(before >= 24 * MIB, "{before}");
    server.api("DELETE", "/cartridges/VTL001L8", &Value::Null);
    server.api("POST", "/cartridges/VTL001L8/restore", &Value::Null);
    server.api("POST", "/vault/VTL001L8/load", &json!({ "library": "lib0" }));
    reads_whole(&server, 1, 1);
    remove_for_good(&server, "VTL001L8");
    eventually("space", || (stat(&server, "stored_bytes") < 5 * MIB).then_some(()));
    assert!(stat(&server, "stored_bytes") >= 4 * MIB, "what the other one needs stays");
    reads_whole(&server, 2, 1);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_stop_right_after_a_removal_is_clean_and_harms_nothing() {
    let mut server = Server::start(&[]);
    share(&server);
    remove_for_good(&server, "VTL001L8");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.api("POST", "/store/check", &Value::Null)["damage"], json!([]));
    reads_whole(&server, 2, 1);
}

#[test]
fn the_daemon_does_not_collect_while_a_cartridge_is_lost_and_says_so_until_it_does() {
    let (mut server, folder) = two_written(&[]);
    std::fs::rename(&folder, server.state().join("aside")).unwrap();
    server.start_again();
    let before = stat(&server, "stored_bytes");
    remove_for_good(&server, "VTL002L8");
    let told = |server: &Server| {
        let problems = server.get("/system/status")["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|one| one["message"].as_str().unwrap().contains("does not come back"))
    };
    let problem = eventually("it is told", || told(&server));
    assert_eq!(problem["subject"], "store");
    assert!(problem["message"].as_str().unwrap().contains("VTL001L8"), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("vtl cartridge rm VTL001L8 --now"), "{problem}");
    assert_eq!(stat(&server, "stored_bytes"), before);
    remove_for_good(&server, "VTL001L8");
    eventually("space", || (stat(&server, "stored_bytes") == 0).then_some(()));
    eventually("all is said", || told(&server).is_none().then_some(()));
}

#[test]
fn by_hand_nothing_is_collected_until_it_is_asked_for_and_the_status_asks_for_it() {
    let server = Server::start(&["--set", "store.gc=manual"]);
    share(&server);
    let before = stat(&server, "stored_bytes");
    remove_for_good(&server, "VTL001L8");
    let status = server.get("/system/status");
    assert_eq!(status["state"], "problem");
    let problem = &status["problems"][0];
    assert_eq!(problem["subject"], "store");
    assert!(problem["message"].as_str().unwrap().contains("store.gc = \"manual\""), "{problem}");
    assert!(problem["remedy"].as_str().unwrap().contains("vtl store gc"), "{problem}");
    assert_eq!(stat(&server, "stored_bytes"), before);
    server.api("POST", "/store/gc", &json!({}));
    assert!(stat(&server, "stored_bytes") < 5 * MIB);
    assert_eq!(server.get("/system/status")["state"], "ok");
}

#[test]
fn a_reload_sets_the_keeper_free_and_says_which_settings_wait_for_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vtl.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("store.gc = \"manual\"\n");
    let server = Server::start(&["--config", &file.display().to_string()]);
    share(&server);
    remove_for_good(&server, "VTL001L8");
    let before = stat(&server, "stored_bytes");
    write("store.chunk_size = \"64k\"\n");
    let message = server.api("POST", "/system/reload", &Value::Null)["message"].clone();
    assert_eq!(message, "configuration read; store.chunk_size changes at the next start");
    eventually("space", || (stat(&server, "stored_bytes") < before / 2).then_some(()));
}

/// All pack files of the store.
pub fn packs(server: &Server) -> Vec<PathBuf> {
    packs_in(&server.state().join("store"))
}

/// Those of the pool in this folder.
pub fn packs_in(pool: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(pool.join("packs")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_damaged_chunk_is_told_and_healed_when_a_backup_brings_its_content_again() {
    let (mut server, _) = two_written(&[]);
    for pack in packs(&server) {
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[200_000] ^= 0x10;
        std::fs::write(&pack, bytes).unwrap();
    }
    server.start_again();
    let damage = |server: &Server| server.api("POST", "/store/check", &Value::Null)["damage"].clone();
    let found = damage(&server);
    assert!(found.to_string().contains("VTL001L8"), "{found}");
    let repaired = server.api("POST", "/store/repair", &json!({}));
    assert_eq!(
        (&repaired["healed"], repaired["lost"].as_u64().unwrap() > 0),
        (&json!(0), true),
        "{repaired}"
    );

    // The same content on two other cartridges.
    let mut host = server.session(1);
    for number in [3, 4] {
        host.load(number, 0);
        write_again_and_again(&mut host, u64::from(number) - 2, 1);
        unload(&mut host, number);
    }
    drop(host);
    eventually("the keeper heals it", || (damage(&server) == json!([])).then_some(()));
    reads_whole(&server, 1, 1);
    reads_whole(&server, 2, 2);
    let report = server.api("POST", "/store/rebuild-index", &json!({}));
    assert!(report["message"].as_str().unwrap().contains("chunks"), "{report}");
}

/// Waits for the pass that begins now.
pub fn scrub(server: &Server) -> Value {
    let begun = server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    eventually("the pass ends", || {
        let now = server.get("/store/scrub");
        (now["last_pass"] == begun["pass"]).then_some(now)
    })
}

#[test]
fn the_scrub_finds_damage_names_it_until_it_is_repaired_and_heals_what_has_another_copy() {
    let (mut server, _) = two_written(&[]);
    server.start_again();
    let told = scrub(&server);
    assert_eq!((&told["last_damaged"], &told["damage"]), (&json!(0), &json!([])), "{told}");
    assert_eq!(server.get("/system/status")["state"], "ok");
    assert_eq!(server.stop(), Some(0));
    for pack in packs(&server) {
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[200_000] ^= 0x10;
        std::fs::write(&pack, bytes).unwrap();
    }
    server.start_again();
    assert_eq!(server.get("/store/scrub")["last_pass"], told["last_pass"], "it survives a restart");
    let told = scrub(&server);
    assert!(told["last_damaged"].as_u64().unwrap() > 0, "{told}");
    let damage = told["damage"].as_array().unwrap();
    let labels: Vec<_> = damage.iter().map(|one| one["cartridge"].as_str().unwrap()).collect();
    assert!(
        labels.iter().all(|label| ["VTL001L8", "VTL002L8"].contains(label)) && !labels.is_empty(),
        "{told}"
    );
    assert!(damage.iter().all(|one| one["length"].as_u64().unwrap() > 0), "{told}");
    let check = server.api("POST", "/store/check", &Value::Null)["damage"].as_array().unwrap().len();
    assert_eq!(check, damage.len());
    let status = server.get("/system/status");
    let problem = &status["problems"][0];
    assert_eq!((&status["state"], &problem["subject"]), (&json!("problem"), &json!("store")));
    assert!(problem["message"].as_str().unwrap().contains(labels[0]), "{problem}");

    // The same content on two other cartridges; then the warning goes.
    let mut host = server.session(1);
    for number in [3, 4] {
        host.load(number, 0);
        write_again_and_again(&mut host, u64::from(number) - 2, 1);
        unload(&mut host, number);
    }
    drop(host);
    eventually("all is well", || (server.get("/system/status")["state"] == "ok").then_some(()));
    assert_eq!(scrub(&server)["damage"], json!([]));
    reads_whole(&server, 1, 1);
    let (status, answer) = server.ask("POST", "/store/scrub", &json!({ "rate": "fast" }));
    assert_eq!((status, &answer["code"]), (400, &json!("invalid")));
}

/// A made-up file that only its owner can read.
fn secret_file(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn encrypted_with(setting: &str, file: &str) -> [String; 4] {
    let encryption = "store.encryption=aes-256-gcm".to_owned();
    ["--set".to_owned(), encryption, "--set".to_owned(), format!("store.{setting}={file:?}")]
}

/// Every file of the store, with its content.
fn store_files(server: &Server) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![server.state().join("store")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let content = std::fs::read(&path).unwrap();
                found.push((path, content));
            }
        }
    }
    found
}

fn places_of(server: &Server, part: &[u8]) -> Vec<PathBuf> {
    let holds = |content: &[u8]| content.windows(part.len()).any(|window| window == part);
    store_files(server).into_iter().filter(|(_, content)| holds(content)).map(|(path, _)| path).collect()
}

/// What a backup of a known text leaves on the disk, and after a kill and a restart it reads as it was.
fn write_a_known_text_and_kill(server: &mut Server) -> Vec<PathBuf> {
    const TEXT: &[u8] = b"what is written here must not be found on the disk in clear; ";
    let mut block = TEXT.to_vec();
    block.extend(noise(9, (1 << 16) - block.len()));
    let mut host = server.session(1);
    host.load(1, 0);
    for _ in 0..20 {
        host.write(DRIVE, &block).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    server.kill();
    let mut places = places_of(server, &TEXT[..24]);
    places.extend(places_of(server, b"VTL001L8"));
    server.start_again();
    let mut host = server.session(1);
    host.attentions(DRIVE);
    host.run(DRIVE, &[1, 0, 0, 0, 0, 0], 0, &[]).good();
    for _ in 0..20 {
        assert!(host.read(DRIVE, 1 << 16).good() == block);
    }
    places
}

#[test]
fn what_a_host_wrote_to_an_encrypted_store_survives_a_kill_and_is_nowhere_in_clear() {
    let folder = tempfile::tempdir().unwrap();
    let key = secret_file(folder.path(), "key", "0123456789abcdef0123456789abcdef");
    let set = encrypted_with("key_file", &key);
    let set = set.each_ref().map(String::as_str);
    let mut server = Server::start(&set);
    assert_eq!(write_a_known_text_and_kill(&mut server), [] as [PathBuf; 0]);
    assert_eq!(server.get("/store/stats")["encrypted"], true);
    let mut plain = Server::start(&[]);
    assert!(
        !write_a_known_text_and_kill(&mut plain).is_empty(),
        "a search that finds nothing proves nothing"
    );
    assert_eq!(plain.get("/store/stats")["encrypted"], false);
    assert_eq!(plain.get("/store/key"), json!({ "encryption": "none" }));
    assert_eq!(plain.ask("POST", "/store/key/export", &json!({ "file": "/nowhere/x" })).0, 409);
}

#[test]
fn a_start_with_the_wrong_key_or_none_is_refused_with_the_pool_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let words = secret_file(folder.path(), "words", "made-up words for a test\n");
    let other = secret_file(folder.path(), "other", "other made-up words, too\n");
    let set = encrypted_with("passphrase_file", &words);
    let set = set.each_ref().map(String::as_str);
    let mut server = Server::start_at(folder.path(), &set);
    assert_eq!(server.stop(), Some(0));
    let pool = server.state().join("store").display().to_string();
    let wrong = encrypted_with("passphrase_file", &other);
    let wrong = wrong.each_ref().map(String::as_str);
    for (set, told) in
        [(&wrong[..], "this passphrase does not open it"), (&[], "it is encrypted, and no key was given")]
    {
        let (code, said) = Server::refused(folder.path(), set);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(told) && said.contains(&pool), "{said}");
        assert!(!said.contains("made-up"), "{said}");
    }
    server.start_again();
    assert_eq!(server.get("/store/key")["method"], "passphrase");
}

#[test]
fn the_status_asks_for_an_export_until_there_is_one_and_again_after_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let old = secret_file(folder.path(), "old", "0123456789abcdef0123456789abcdef");
    let new = secret_file(folder.path(), "new", "fedcba9876543210fedcba9876543210");
    let set = encrypted_with("key_file", &old);
    let set = set.each_ref().map(String::as_str);
    let mut server = Server::start_at(folder.path(), &set);
    let asked = |server: &Server| {
        let problems = server.get("/system/status")["problems"].clone();
        problems.to_string().contains("vtl store key export")
    };
    assert!(asked(&server));
    let export = folder.path().join("export");
    let file = json!({ "file": export });
    server.api("POST", "/store/key/export", &file);
    assert!(!asked(&server) && server.get("/store/key")["exported"] == true);
    assert_eq!(std::fs::metadata(&export).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, answer) = server.ask("POST", "/store/key/export", &file);
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("invalid")),
        "an old file is not written over: {answer}"
    );

    for wrong in
        [json!({}), json!({ "key_file": new, "passphrase_file": new }), json!({ "key_file": "/nowhere/x" })]
    {
        assert_eq!(server.ask("POST", "/store/key/rotate", &wrong).0, 400, "{wrong}");
    }
    let told = server.api("POST", "/store/key/rotate", &json!({ "key_file": new }))["message"].clone();
    assert!(told.as_str().unwrap().contains("before the next start"), "{told}");
    assert!(asked(&server) && server.get("/store/key")["revision"] == 2);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(Server::refused(folder.path(), &set).0, Some(1), "the old key");

    // The keyring is lost. The export is of before: with the key of before it opens the pool.
    for name in ["keyring", "keyring.copy"] {
        std::fs::remove_file(server.state().join("store").join(name)).unwrap();
    }
    let (code, said) = Server::refused(folder.path(), &set);
    assert!(
        code == Some(1) && said.contains("its keyring is lost") && said.contains("put an export"),
        "{said}"
    );
    std::fs::copy(&export, server.state().join("store/keyring")).unwrap();
    server.start_again();
    assert!(!asked(&server));
}

/// The folder with this path, as the pool lists it.
fn folder(server: &Server, path: &std::path::Path) -> Value {
    let pools = server.get("/pools");
    let folders = pools[0]["folders"].as_array().unwrap().clone();
    folders.into_iter().find(|folder| folder["path"] == path.to_str().unwrap()).unwrap()
}

#[test]
fn packs_lie_in_all_configured_folders_and_one_can_be_emptied_and_left_out() {
    let state = tempfile::tempdir().unwrap();
    let disk = tempfile::tempdir().unwrap();
    let far = disk.path().join("far");
    std::fs::create_dir(&far).unwrap();
    let folders = format!("store.folders=[{:?}]", far.to_str().unwrap());
    let set = ["--set", folders.as_str()];
    let content: Vec<u8> = (0..40).flat_map(|seed| noise(seed, 4 << 20)).collect();
    let mut server = Server::start_at(state.path(), &set);
    {
        let mut host = server.session(1);
        host.load(1, 0);
        content.chunks(1 << 18).for_each(|block| drop(host.write(DRIVE, block).good()));
        host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
        unload(&mut host, 1);
    }
    let told = folder(&server, &far);
    assert_eq!((told["number"].as_u64(), told["state"].as_str()), (Some(1), Some("in-use")));
    assert!(
        told["packs"].as_u64().unwrap() > 0 && told["stored_bytes"].as_u64().unwrap() > 16 * MIB,
        "{told}"
    );
    assert_eq!(server.stop(), Some(0));

    // Without the folder's disk, and without its name, the start is refused and nothing is lost.
    let gone = disk.path().join("unmounted");
    std::fs::rename(&far, &gone).unwrap();
    let (code, log) = Server::refused(state.path(), &set);
    assert!(
        code != Some(0) && log.contains(far.to_str().unwrap()) && log.contains("mount its disk"),
        "{log}"
    );
    std::fs::create_dir(&far).unwrap();
    let (_, log) = Server::refused(state.path(), &set);
    assert!(log.contains("its disk is not mounted"), "{log}");
    assert_eq!(std::fs::read_dir(&far).unwrap().count(), 0);
    std::fs::remove_dir(&far).unwrap();
    std::fs::rename(&gone, &far).unwrap();
    let (_, log) = Server::refused(state.path(), &[]);
    assert!(log.contains("store.folders does not name it"), "{log}");

    let mut server = Server::start_at(state.path(), &set);
    let (status, answer) = server.ask("POST", "/pools/default/drain", &json!({ "path": "/nowhere" }));
    assert!(status == 400 && answer["message"].as_str().unwrap().contains("/nowhere"), "{answer}");
    let drained = server.api("POST", "/pools/default/drain", &json!({ "path": far.to_str().unwrap() }));
    assert!(drained["moved"].as_u64().unwrap() > 0 && drained["left"] == 0, "{drained}");
    assert_eq!(folder(&server, &far)["state"], "empty");
    assert_eq!(server.stop(), Some(0));
    std::fs::remove_dir_all(&far).unwrap();
    let server = Server::start_at(state.path(), &[]);
    assert_eq!(server.api("POST", "/store/check", &Value::Null)["damage"], json!([]));
    assert_eq!(server.get("/pools")[0]["folders"].as_array().unwrap().len(), 1);
    let (status, answer) = server.ask("DELETE", "/pools/default", &Value::Null);
    assert!(status == 409 && answer["remedy"].is_string(), "{answer}");
    assert_eq!(server.ask("DELETE", "/pools/fast", &Value::Null).0, 404);
}
