//! Changes while a session is logged in: what the initiator is told, and what is refused.

use serde_json::json;

use crate::support::initiator::LoginError;
use crate::support::scsi::{ALLOW, CHANGER, DRIVE, INQUIRY, ONE_FILEMARK, PREVENT, REWIND};
use crate::support::{Initiator, Login, Server, noise};

/// 28h/01h: import or export element accessed, medium changed.
const CONTENTS: (u8, u8) = (0x28, 0x01);
/// 2Ah/01h: mode parameters changed.
const MODE_PARAMETERS: (u8, u8) = (0x2a, 0x01);
/// 3Fh/0Eh: reported LUNs data has changed.
const LUNS: (u8, u8) = (0x3f, 0x0e);

fn place(server: &Server, label: &str) -> (String, u64) {
    let place = &server.get(&format!("/cartridges/{label}"))["place"];
    (place["kind"].as_str().unwrap().to_owned(), place["number"].as_u64().unwrap_or(0))
}

#[test]
fn a_new_drive_appears_in_a_session_that_is_logged_in() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    for lun in [CHANGER, DRIVE, DRIVE + 1] {
        host.attentions(lun);
    }
    server.api("PATCH", "/libraries/lib0", &json!({ "drives": 3 }));
    let changer = host.attentions(CHANGER);
    assert!(changer.contains(&LUNS) && changer.contains(&MODE_PARAMETERS), "{changer:02x?}");
    assert!(host.attentions(DRIVE).contains(&LUNS));
    assert_eq!(host.run(3, &INQUIRY, 96, &[]).good()[0], 0x01);
    host.load(1, 2);
    host.write(3, b"on the new drive").good();
    let drives = server.get("/drives");
    assert_eq!(drives.as_array().unwrap().len(), 3);
    assert_eq!(drives[2]["cartridge"], "VTL001L8");
}

#[test]
fn reading_the_list_of_units_is_what_the_attention_asked_for() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    host.attentions(DRIVE);
    server.api("PATCH", "/libraries/lib0", &json!({ "drives": 3 }));
    let luns = host.run(DRIVE, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64, &[]).good();
    assert_eq!(luns[..4], [0, 0, 0, 32], "four units");
    assert!(!host.attentions(DRIVE).contains(&LUNS), "REPORT LUNS ends it");
}

#[test]
fn new_slots_and_cartridges_are_told_and_usable() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    server.api("PATCH", "/libraries/lib0", &json!({ "slots": 30, "mailslots": 6 }));
    let seen = host.attentions(CHANGER);
    assert!(seen.contains(&MODE_PARAMETERS), "{seen:02x?}");
    server.api("POST", "/cartridges", &json!({ "label": "NEW001L8", "count": 15, "size_bytes": 1 << 30 }));
    let seen = host.attentions(CHANGER);
    assert!(seen.contains(&CONTENTS), "{seen:02x?}");
    // Fourteen were free of the first 24; the fifteenth is in one of the new slots.
    assert_eq!(place(&server, "NEW015L8"), ("slot".to_owned(), 25));
    host.load(25, 0);
    assert_eq!(server.get("/cartridges/NEW015L8")["capacity_bytes"], 1 << 30);
}

#[test]
fn a_new_library_is_found_and_works_beside_the_first() {
    let server = Server::start(&[]);
    let mut first = server.session(1);
    first.load(1, 0);
    let body = json!({ "name": "lib1", "profile": "ibm-03584l32", "drives": 1, "slots": 4, "mailslots": 0 });
    server.api("POST", "/libraries", &body);
    server.api("POST", "/cartridges", &json!({ "label": "SEC001L8", "library": "lib1", "count": 2 }));
    let mut second = server.session_with("iqn.2026-11.internal.vtl:lib1", 1);
    second.load(2, 0);
    second.write(DRIVE, b"second library").good();
    first.write(DRIVE, b"first library").good();
    let (status, _) = server.ask("DELETE", "/libraries/lib1", &json!(null));
    assert_eq!(status, 409, "it holds cartridges");
}

#[test]
fn a_library_does_not_shrink_below_what_is_in_it() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(2, 1);
    for body in [json!({ "slots": 9 }), json!({ "drives": 1 })] {
        let (status, answer) = server.ask("PATCH", "/libraries/lib0", &body);
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{body}: {answer}");
    }
    server.api("POST", "/cartridges/VTL003L8/move", &json!({ "to": "mailslot:4" }));
    let (status, _) = server.ask("PATCH", "/libraries/lib0", &json!({ "mailslots": 3 }));
    assert_eq!(status, 409);
    host.attentions(CHANGER);
    host.write(DRIVE + 1, b"still there").good();
    server.api("PATCH", "/libraries/lib0", &json!({ "slots": 10, "mailslots": 4 }));
    host.attentions(CHANGER);
    assert_eq!(server.get("/libraries/lib0")["slots"], 10);
}

#[test]
fn a_drive_that_is_empty_goes_and_its_unit_with_it() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.attentions(CHANGER);
    host.attentions(DRIVE);
    server.api("PATCH", "/libraries/lib0", &json!({ "drives": 1 }));
    assert!(host.attentions(DRIVE).contains(&LUNS));
    assert_eq!(host.run(2, &[0; 6], 0, &[]).check(), (0x05, 0x25, 0x00));
}

#[test]
fn a_loaded_cartridge_is_not_removed_and_a_removed_one_comes_back_from_the_trash() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(DRIVE, b"precious").good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    let (status, answer) = server.ask("DELETE", "/cartridges/VTL001L8", &json!({}));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
    let body = json!({ "now": true, "confirm": "VTL001L8" });
    assert_eq!(server.ask("DELETE", "/cartridges/VTL001L8", &body).0, 409);

    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    server.api("DELETE", "/cartridges/VTL001L8", &json!({}));
    let seen = host.attentions(CHANGER);
    assert!(seen.contains(&CONTENTS), "{seen:02x?}");
    let labels = server.get("/cartridges");
    assert!(labels.as_array().unwrap().iter().all(|c| c["label"] != "VTL001L8"));

    server.api("POST", "/cartridges/VTL001L8/restore", &json!(null));
    assert_eq!(place(&server, "VTL001L8").0, "vault");
    server.api("POST", "/vault/VTL001L8/load", &json!({ "library": "lib0" }));
    let (kind, slot) = place(&server, "VTL001L8");
    assert_eq!(kind, "slot");
    host.load(slot as u16, 0);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    assert_eq!(host.read(DRIVE, 8).good(), b"precious");
}

#[test]
fn the_trash_lists_what_was_removed_until_it_is_taken_back_or_removed_at_once() {
    let server = Server::start(&[]);
    assert_eq!(server.get("/trash"), json!([]));
    for label in ["VTL003L8", "VTL001L8", "VTL002L8"] {
        server.api("DELETE", &format!("/cartridges/{label}"), &json!({}));
    }
    let labels = |path: &str| -> Vec<String> {
        let rows = server.get(path);
        rows.as_array().unwrap().iter().map(|row| row["label"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels("/trash"), ["VTL001L8", "VTL002L8", "VTL003L8"]);
    assert_eq!(labels("/trash?limit=2"), ["VTL001L8", "VTL002L8"]);
    let row = &server.get("/trash")[0];
    assert_eq!((&row["pool"], &row["used_bytes"]), (&json!("default"), &json!(0)));
    assert!(row["removed"].as_str().unwrap() < row["until"].as_str().unwrap(), "{row}");
    let (status, refused) = server.ask("GET", "/trash?limit=0", &json!(null));
    assert_eq!((status, &refused["field"]), (400, &json!("limit")), "{refused}");

    server.api("POST", "/cartridges/VTL002L8/restore", &json!(null));
    server.api("DELETE", "/cartridges/VTL003L8", &json!({ "now": true, "confirm": "VTL003L8" }));
    assert_eq!(labels("/trash"), ["VTL001L8"]);
    assert_eq!(labels("/vault"), ["VTL002L8"]);
    assert_eq!(server.ask("POST", "/cartridges/VTL003L8/restore", &json!(null)).0, 404, "gone for good");
}

#[test]
fn removal_at_once_wants_the_label_typed_again() {
    let server = Server::start(&[]);
    for body in [json!({ "now": true }), json!({ "now": true, "confirm": "VTL002L8" })] {
        let (status, answer) = server.ask("DELETE", "/cartridges/VTL001L8", &body);
        assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{answer}");
        assert!(answer["remedy"].as_str().unwrap().contains("VTL001L8"));
    }
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    assert_eq!(server.ask("GET", "/cartridges/VTL001L8", &json!(null)).0, 404);
    assert_eq!(server.ask("POST", "/cartridges/VTL001L8/restore", &json!(null)).0, 404);
}

#[test]
fn the_api_obeys_prevented_removal_unless_forced_and_then_tells() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    let block = noise(1, 65_536);
    host.write(DRIVE, &block).good();
    host.run(DRIVE, &PREVENT, 0, &[]).good();
    let (status, answer) = server.ask("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20", "force": true }));
    assert!(!host.attentions(CHANGER).is_empty());
    // 3Ah/00h: medium not present.
    let gone = host.run(DRIVE, &[0; 6], 0, &[]).check();
    assert!(gone == (0x02, 0x3a, 0x00) || gone.0 == 0x06, "{gone:02x?}");
    host.attentions(DRIVE);
    host.run(DRIVE, &ALLOW, 0, &[]).good();
    host.load(20, 0);
    assert!(host.read(DRIVE, 65_536).good() == block, "made durable before it was taken");
}

#[test]
fn the_api_does_not_take_a_cartridge_from_a_reserved_drive() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.run(DRIVE, &crate::support::scsi::RESERVE, 0, &[]).good();
    let (status, answer) = server.ask("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20" }));
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
    server.api("POST", "/cartridges/VTL001L8/move", &json!({ "to": "slot:20", "force": true }));
}

#[test]
fn write_protection_acts_on_a_loaded_cartridge() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    server.api("PATCH", "/cartridges/VTL001L8", &json!({ "write_protect": true }));
    // DATA PROTECT, write protected.
    let (key, asc, _) = host.write(DRIVE, b"no").check();
    assert_eq!((key, asc), (0x07, 0x27));
    server.api("PATCH", "/cartridges/VTL001L8", &json!({ "write_protect": false }));
    host.attentions(DRIVE);
    host.write(DRIVE, b"yes").good();
}

#[test]
fn a_library_that_is_removed_ends_its_sessions_and_is_found_no_more() {
    let server = Server::start(&[]);
    let body = json!({ "name": "lib1", "profile": "ibm-03584l32", "drives": 1, "slots": 4, "mailslots": 0 });
    server.api("POST", "/libraries", &body);
    let target = "iqn.2026-11.internal.vtl:lib1";
    let mut host = server.session_with(target, 1);
    host.attentions(CHANGER);
    server.api("DELETE", "/libraries/lib1", &json!(null));
    assert!(host.is_closed_by_peer());
    let again = Initiator::login(server.portal, &Login::to(target));
    assert!(matches!(again, Err(LoginError::Refused(0x02, 0x03))));
    server.session(1).attentions(CHANGER);
}
