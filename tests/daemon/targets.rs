//! `vtl library set LIB targets=one|per-device`: how a library's devices are spread over targets.

use serde_json::{Value, json};

use crate::support::initiator::LoginError;
use crate::support::scsi::{CHANGER, DRIVE, INQUIRY, ONE_FILEMARK, REWIND};
use crate::support::{Initiator, LIB0, Login, Server, eventually, noise};

const DRIVE_0: &str = "iqn.2026-11.internal.vtl:lib0:drive-0";
const DRIVE_1: &str = "iqn.2026-11.internal.vtl:lib0:drive-1";
/// Each device's LUN in a target of its own.
const ALONE: u8 = 0;
const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
/// No such target.
const NOT_FOUND: (u8, u8) = (0x02, 0x03);
const RESERVATION_CONFLICT: u8 = 0x18;

fn spread(server: &Server, how: &str) {
    server.api("PATCH", "/libraries/lib0", &json!({ "targets": how }));
}

fn found(server: &Server) -> Vec<String> {
    let mut discovery = Initiator::login(server.portal, &Login::discovery()).unwrap();
    let pairs = discovery.send_targets("All");
    let mut names: Vec<_> =
        pairs.into_iter().filter(|(key, _)| key == "TargetName").map(|(_, name)| name).collect();
    names.sort();
    names
}

fn luns(host: &mut Initiator, lun: u8) -> Vec<u8> {
    let data = host.run(lun, &REPORT_LUNS, 256, &[]).good();
    data[8..].chunks(8).map(|lun| lun[1]).collect()
}

fn vital_page(host: &mut Initiator, lun: u8, page: u8) -> Vec<u8> {
    let data = host.run(lun, &[0x12, 1, page, 0, 255, 0], 255, &[]).good();
    let length = usize::from(u16::from_be_bytes([data[2], data[3]]));
    data[4..4 + length].to_vec()
}

/// Of each drive: byte 6, and the serial number at the end of its identifier (READ ELEMENT STATUS, drives, with DVCID).
fn drives_of(host: &mut Initiator) -> Vec<(u8, String)> {
    host.attentions(CHANGER);
    let drive = host.elements().drive.to_be_bytes();
    let cdb = [0xb8, 0x04, drive[0], drive[1], 0, 2, 0x01, 0, 0x04, 0, 0, 0];
    let data = host.run(CHANGER, &cdb, 1024, &[]).good();
    let length = usize::from(u16::from_be_bytes([data[10], data[11]]));
    let descriptors = data[16..].chunks(length);
    descriptors.map(|one| (one[6], String::from_utf8(one[length - 10..].to_vec()).unwrap())).collect()
}

/// Labels by place.
fn inventory(server: &Server) -> Vec<Value> {
    let library = server.get("/libraries/lib0");
    library["elements"].as_array().unwrap().clone()
}

#[test]
fn each_device_has_a_target_of_its_own_and_is_found_by_its_serial_number() {
    let server = Server::start(&[]);
    let before = inventory(&server);
    let in_one = drives_of(&mut server.session(1));
    assert_eq!(
        in_one.iter().map(|drive| drive.0).collect::<Vec<_>>(),
        [0x11, 0x12],
        "LU VALID, LUNs 1 and 2"
    );
    spread_when_free(&server, "per-device");

    assert_eq!(found(&server), [LIB0, DRIVE_0, DRIVE_1]);
    let shown = server.get("/libraries/lib0");
    assert_eq!(shown["layout"], "per-device");
    assert_eq!(
        shown["targets"],
        json!([
            { "name": LIB0, "shows": "changer", "drive": null, "luns": [0] },
            { "name": DRIVE_0, "shows": "drive", "drive": 0, "luns": [0] },
            { "name": DRIVE_1, "shows": "drive", "drive": 1, "luns": [0] },
        ])
    );
    let drives = server.get("/drives");
    let serial = |drive: usize| drives[drive]["serial"].as_str().unwrap().to_owned();
    assert_eq!((&drives[1]["target"], &drives[1]["lun"]), (&json!(DRIVE_1), &json!(0)));
    assert_eq!(server.get("/iscsi/targets").as_array().unwrap().len(), 3);
    assert!(
        server.get("/iscsi/targets").as_array().unwrap().iter().all(|target| target["library"] == "lib0")
    );

    let mut robot = server.session(1);
    assert_eq!(luns(&mut robot, CHANGER), [0]);
    assert_eq!(robot.run(CHANGER, &INQUIRY, 96, &[]).good()[0], 0x08);
    // What maps drives to elements: the serial numbers stay, and no LUN is claimed that the changer's target does not have.
    assert_eq!(drives_of(&mut robot), [(0, serial(0)), (0, serial(1))]);
    assert_eq!(in_one.into_iter().map(|drive| drive.1).collect::<Vec<_>>(), [serial(0), serial(1)]);
    for (number, name) in [(0, DRIVE_0), (1, DRIVE_1)] {
        let mut host = server.session_with(name, 1);
        assert_eq!(host.run(ALONE, &INQUIRY, 96, &[]).good()[0], 0x01);
        assert_eq!(luns(&mut host, ALONE), [0]);
        assert_eq!(vital_page(&mut host, ALONE, 0x80), serial(number).as_bytes());
        let page = String::from_utf8_lossy(&vital_page(&mut host, ALONE, 0x83)).into_owned();
        assert!(page.contains(&serial(number)) && page.contains(&format!("{name},t,0x0001")), "{page}");
    }
    assert_eq!(inventory(&server), before);
}

/// As soon as the sessions before have been noticed to be over.
fn spread_when_free(server: &Server, how: &str) {
    eventually("no session", || server.get("/iscsi/sessions").as_array().unwrap().is_empty().then_some(()));
    spread(server, how);
}

/// Through the changer's target; the drive hears of it in its own.
fn load(robot: &mut Initiator, slot: u16, drive: u16) {
    robot.attentions(CHANGER);
    let elements = robot.elements();
    robot.move_medium(elements.storage + slot - 1, elements.drive + drive).good();
}

#[test]
fn drives_work_in_their_targets_and_the_setting_survives_a_kill_and_can_be_taken_back() {
    let mut server = Server::start(&[]);
    spread(&server, "per-device");
    let mut robot = server.session(1);
    for (number, name) in [(0_u16, DRIVE_0), (1, DRIVE_1)] {
        load(&mut robot, number + 1, number);
        let mut host = server.session_with(name, 1);
        host.attentions(ALONE);
        host.write(ALONE, &noise(u64::from(number), 65_536)).good();
        host.run(ALONE, &ONE_FILEMARK, 0, &[]).good();
    }
    drop(robot);
    let before = inventory(&server);
    server.kill();
    server.start_again();
    assert!(server.welcome.iter().any(|line| line.contains("each in a target of its own")));
    assert_eq!(found(&server), [LIB0, DRIVE_0, DRIVE_1]);
    assert_eq!(inventory(&server), before);
    for (number, name) in [(0, DRIVE_0), (1, DRIVE_1)] {
        let mut host = server.session_with(name, 1);
        host.attentions(ALONE);
        host.run(ALONE, &REWIND, 0, &[]).good();
        assert!(host.read(ALONE, 65_536).good() == noise(number, 65_536));
    }

    spread_when_free(&server, "one");
    assert_eq!(found(&server), [LIB0]);
    assert_eq!(inventory(&server), before);
    let gone = Initiator::login(server.portal, &Login::to(DRIVE_0));
    assert!(matches!(gone, Err(LoginError::Refused(class, detail)) if (class, detail) == NOT_FOUND));
    let mut host = server.session(1);
    assert_eq!(luns(&mut host, CHANGER), [0, 1, 2]);
    for lun in [DRIVE, DRIVE + 1] {
        host.attentions(lun);
        host.run(lun, &REWIND, 0, &[]).good();
        assert!(host.read(lun, 65_536).good() == noise(u64::from(lun - DRIVE), 65_536));
    }
    assert_eq!(drives_of(&mut host).iter().map(|drive| drive.0).collect::<Vec<_>>(), [0x11, 0x12]);
}

#[test]
fn open_sessions_keep_the_targets_as_they_are_unless_forced_and_what_was_written_is_durable_then() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(DRIVE, &noise(1, 65_536)).good();
    let (status, refused) = server.ask("PATCH", "/libraries/lib0", &json!({ "targets": "per-device" }));
    assert_eq!((status, &refused["code"]), (409, &json!("conflict")));
    assert!(refused["message"].as_str().unwrap().contains("iqn.2026-11.test.example:host"), "{refused}");
    assert!(refused["remedy"].as_str().unwrap().contains("--force"), "{refused}");
    spread(&server, "one");
    host.attentions(DRIVE);
    assert_eq!(found(&server), [LIB0]);

    server.api("PATCH", "/libraries/lib0", &json!({ "targets": "per-device", "force": true }));
    assert!(host.is_closed_by_peer());
    let mut host = server.session_with(DRIVE_0, 1);
    assert!(host.attentions(ALONE).contains(&(0x29, 0x00)), "as after a power-on");
    host.run(ALONE, &REWIND, 0, &[]).good();
    assert!(host.read(ALONE, 65_536).good() == noise(1, 65_536));
}

#[test]
fn words_that_are_no_layout_are_refused_with_those_that_are() {
    let server = Server::start(&[]);
    for word in ["", "both", "ONE", "per-drive"] {
        let (status, refused) = server.ask("PATCH", "/libraries/lib0", &json!({ "targets": word }));
        assert_eq!((status, &refused["code"]), (400, &json!("invalid")), "{word}");
        assert!(refused["message"].as_str().unwrap().contains(&format!("'{word}'")), "{refused}");
        assert_eq!(refused["remedy"], "write one or per-device");
    }
    let (status, _) = server.ask("PATCH", "/libraries/lib9", &json!({ "targets": "one" }));
    assert_eq!(status, 404);
    assert_eq!(server.get("/libraries/lib0")["layout"], "one");
}

#[test]
fn a_drive_that_is_added_or_removed_brings_or_takes_its_target() {
    let server = Server::start(&[]);
    spread(&server, "per-device");
    server.api("PATCH", "/libraries/lib0", &json!({ "drives": 3 }));
    let third = "iqn.2026-11.internal.vtl:lib0:drive-2";
    assert_eq!(found(&server), [LIB0, DRIVE_0, DRIVE_1, third]);
    let mut host = server.session_with(third, 1);
    assert_eq!(host.run(ALONE, &INQUIRY, 96, &[]).good()[0], 0x01);
    server.api("PATCH", "/libraries/lib0", &json!({ "drives": 1 }));
    assert!(host.is_closed_by_peer());
    assert_eq!(found(&server), [LIB0, DRIVE_0]);
    server.api(
        "POST",
        "/libraries",
        &json!({ "name": "lib1", "profile": "ibm-03584l32", "drives": 1, "slots": 2, "mailslots": 0 }),
    );
    server.api("PATCH", "/libraries/lib1", &json!({ "targets": "per-device" }));
    assert_eq!(found(&server).len(), 4);
    server.api("DELETE", "/libraries/lib1", &Value::Null);
    assert_eq!(found(&server), [LIB0, DRIVE_0]);
}

#[test]
fn who_may_not_use_the_library_may_not_use_its_drives_either() {
    let server = Server::start(&[]);
    let (user, secret) = ("backup-host", "made-up-secret-one");
    server.api("PUT", "/iscsi/targets/lib0/chap", &json!({ "user": user, "secret": secret }));
    let friend = "iqn.2026-11.test.example:friend";
    server.api("POST", "/iscsi/targets/lib0/initiators", &json!({ "initiator": friend }));
    spread(&server, "per-device");
    for name in [LIB0, DRIVE_0, DRIVE_1] {
        let login = Login::to(name).named(friend);
        let refused = |login: &Login| match Initiator::login(server.portal, login) {
            Err(LoginError::Refused(class, detail)) => (class, detail),
            _ => panic!("let in to {name}"),
        };
        assert_eq!(refused(&login), (0x02, 0x01), "without a proof");
        assert_eq!(refused(&Login::to(name).chap(user, secret)), (0x02, 0x02), "not on the list");
        Initiator::login(server.portal, &login.chap(user, secret)).unwrap();
    }
    assert_eq!(found(&server), [""; 0], "nor does it learn their names");
    let mut discovery =
        Initiator::login(server.portal, &Login { target: None, ..Login::to("").named(friend) }).unwrap();
    let names = discovery.send_targets("All");
    assert_eq!(names.iter().filter(|(key, _)| key == "TargetName").count(), 3);
}

#[test]
fn the_configuration_can_guard_one_drive_more_closely_than_its_library() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("vtl.toml");
    let (all, own) = ("iqn.2026-11.test.example:all", "iqn.2026-11.test.example:own");
    std::fs::write(
        &config,
        format!("[iscsi.target.\"{LIB0}\"]\ninitiators = [\"{all}\"]\n[iscsi.target.\"{DRIVE_1}\"]\ninitiators = [\"{own}\"]\n"),
    )
    .unwrap();
    let server = Server::start(&["--config", config.to_str().unwrap()]);
    spread(&server, "per-device");
    let gets_in =
        |who: &str, name: &str| Initiator::login(server.portal, &Login::to(name).named(who)).is_ok();
    for (name, who) in [(LIB0, all), (DRIVE_0, all), (DRIVE_1, own)] {
        assert!(gets_in(who, name), "{who} at {name}");
    }
    for (name, who) in [(LIB0, own), (DRIVE_0, own), (DRIVE_1, all)] {
        assert!(!gets_in(who, name), "{who} at {name}");
    }
}

/// PERSISTENT RESERVE OUT, exclusive access: service action, key, service action key; the registration outlives a power loss.
fn persistent(host: &mut Initiator, lun: u8, action: u8, key: u8, action_key: u8) -> u8 {
    let mut list = [0; 24];
    (list[7], list[15], list[20]) = (key, action_key, u8::from(action == 0));
    host.attentions(lun);
    host.run(lun, &[0x5f, action, 0x03, 0, 0, 0, 0, 0, 24, 0], 0, &list).status
}

#[test]
fn a_persistent_reservation_follows_its_drive_from_one_target_to_another() {
    let server = Server::start(&[]);
    let mut holder = server.session(1);
    assert_eq!(persistent(&mut holder, DRIVE, 0x00, 0, 7), 0, "register");
    assert_eq!(persistent(&mut holder, DRIVE, 0x01, 7, 0), 0, "reserve");
    drop(holder);
    spread_when_free(&server, "per-device");
    let mut other =
        Initiator::login(server.portal, &Login::to(DRIVE_0).named("iqn.2026-11.test.example:other")).unwrap();
    other.attentions(ALONE);
    assert_eq!(other.run(ALONE, &REWIND, 0, &[]).status, RESERVATION_CONFLICT);
    let mut free =
        Initiator::login(server.portal, &Login::to(DRIVE_1).named("iqn.2026-11.test.example:other")).unwrap();
    free.attentions(ALONE);
    assert_ne!(free.run(ALONE, &REWIND, 0, &[]).status, RESERVATION_CONFLICT);
    let mut holder = server.session_with(DRIVE_0, 1);
    assert_eq!(persistent(&mut holder, ALONE, 0x02, 7, 0), 0, "release, by the one who holds it");
    other.attentions(ALONE);
    assert_ne!(other.run(ALONE, &REWIND, 0, &[]).status, RESERVATION_CONFLICT);
}

#[test]
fn devices_that_are_spread_anew_leave_no_thread_behind() {
    let server = Server::start(&[]);
    let named = |server: &Server| {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
        let name = |task: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
        };
        tasks.filter_map(name).filter(|name| name.starts_with("lib0-")).count()
    };
    assert_eq!(named(&server), 3, "the changer and two drives");
    for _ in 0..3 {
        spread(&server, "per-device");
        spread(&server, "one");
    }
    eventually("three threads", || (named(&server) == 3).then_some(()));
}
