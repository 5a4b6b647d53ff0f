//! Retention, hold and WORM through every door: initiators, the API, restarts.

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ERASE, ONE_FILEMARK, REWIND, TEST_UNIT_READY};
use crate::support::{Initiator, Server, noise, rounds};

const BLOCK: usize = 65_536;
/// DATA PROTECT, overwrite attempted.
const OVERWRITE: (u8, u8, u8) = (0x07, 0x30, 0x0c);
const FORMAT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
const LONG_ERASE: [u8; 6] = [0x19, 1, 0, 0, 0, 0];
/// To end of data.
const SPACE_TO_END: [u8; 6] = [0x11, 3, 0, 0, 0, 0];
const FAR: &str = "2090-01-01T00:00:00Z";
/// The end by clock and count, which need not begin a second at the same moment.
const FAR_OR_SO: &str = "2090-01-01T00:00:0";

fn locate(object: u32) -> [u8; 10] {
    let [a, b, c, d] = object.to_be_bytes();
    [0x2b, 0, 0, a, b, c, d, 0, 0, 0]
}

fn write_three(host: &mut Initiator) {
    for n in 0..2 {
        host.write(DRIVE, &noise(n, BLOCK)).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    host.write(DRIVE, &noise(2, BLOCK)).good();
}

/// Two blocks, a mark, a block.
#[track_caller]
fn reads_three(host: &mut Initiator) {
    host.attentions(DRIVE);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for n in 0..2 {
        assert!(host.read(DRIVE, BLOCK).good() == noise(n, BLOCK), "block {n}");
    }
    assert_eq!(host.read(DRIVE, BLOCK).check(), (0, 0, 1), "the mark");
    assert!(host.read(DRIVE, BLOCK).good() == noise(2, BLOCK));
}

fn set(server: &Server, label: &str, what: &Value) -> (u16, Value) {
    server.ask("PATCH", &format!("/cartridges/{label}"), what)
}

/// What an initiator may try in the middle of the tape.
#[track_caller]
fn no_command_alters_what_is_there(host: &mut Initiator) {
    host.attentions(DRIVE);
    for object in 0..4 {
        host.run(DRIVE, &locate(object), 0, &[]).good();
        assert_eq!(host.write(DRIVE, &noise(99, BLOCK)).check(), OVERWRITE, "WRITE at {object}");
        for cdb in [ONE_FILEMARK, ERASE, LONG_ERASE] {
            assert_eq!(host.run(DRIVE, &cdb, 0, &[]).check(), OVERWRITE, "{cdb:02x?} at {object}");
        }
        assert_eq!(host.position(DRIVE).0, u64::from(object), "nothing has moved");
    }
    host.run(DRIVE, &REWIND, 0, &[]).good();
    assert_eq!(host.run(DRIVE, &FORMAT, 0, &[]).check(), OVERWRITE);
    reads_three(host);
}

/// What an operator may try.
#[track_caller]
fn no_request_removes_it(server: &Server, label: &str, place: &str) {
    let path = format!("/cartridges/{label}");
    for body in [json!({}), json!({ "now": true, "confirm": label })] {
        let (status, refused) = server.ask("DELETE", &path, &body);
        assert_eq!((status, &refused["code"]), (409, &json!("conflict")), "{refused}");
    }
    let (status, _) = server.ask("DELETE", &format!("/vault/{label}"), &Value::Null);
    assert_eq!(status, 409);
    let (status, _) = server.ask("POST", &format!("{path}/restore"), &Value::Null);
    assert_eq!(status, 409);
    let (status, _) = server.ask("DELETE", "/libraries/lib0", &Value::Null);
    assert_eq!(status, 409, "with its library");
    server.api("POST", "/store/gc", &json!({ "dead_percent": 1 }));
    assert_eq!(server.get(&path)["place"]["kind"], place);
}

fn unload(host: &mut Initiator, slot: u16) {
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + slot - 1).good();
}

/// The cartridge is in drive 0 and kept as `what` says; whatever is tried, also after a kill, it reads back the same.
fn stays(what: &Value, lift: &Value, lifted: bool) {
    let label = "VTL001L8";
    let mut server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    write_three(&mut host);
    assert_eq!(set(&server, label, what).0, 200);
    for killed in [false, true] {
        if killed {
            server.kill();
            server.start_again();
            host = server.session(1);
        }
        no_command_alters_what_is_there(&mut host);
        no_request_removes_it(&server, label, "drive");
    }
    unload(&mut host, 1);
    no_request_removes_it(&server, label, "slot");
    server.api("POST", &format!("/cartridges/{label}/move"), &json!({ "to": "vault" }));
    no_request_removes_it(&server, label, "vault");
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    no_request_removes_it(&server, label, "vault");
    server.api("POST", &format!("/vault/{label}/load"), &json!({ "library": "lib0" }));
    assert_eq!(set(&server, label, lift).0 == 200, lifted);
    host = server.session(1);
    host.load(1, 0);
    reads_three(&mut host);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    let overwritten = host.write(DRIVE, &noise(99, BLOCK));
    assert_eq!(overwritten.status == 0, lifted);
}

#[test]
fn what_is_on_hold_stays_whatever_is_tried_until_the_hold_is_lifted() {
    stays(&json!({ "hold": true }), &json!({ "hold": false }), true);
}

#[test]
fn what_is_retained_stays_whatever_is_tried() {
    stays(&json!({ "retain_until": FAR }), &json!({ "retain_until": "2030-01-01" }), false);
}

#[test]
fn what_is_retained_and_on_hold_stays_whatever_is_tried() {
    stays(&json!({ "retain_until": FAR, "hold": true }), &json!({ "hold": false }), false);
}

#[test]
fn a_kept_cartridge_takes_more_at_its_end_and_keeps_that_too() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    write_three(&mut host);
    assert_eq!(set(&server, "VTL001L8", &json!({ "hold": true })).0, 200);
    host.run(DRIVE, &SPACE_TO_END, 0, &[]).good();
    host.run(DRIVE, &ERASE, 0, &[]).good();
    host.write(DRIVE, &noise(3, BLOCK)).good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    host.run(DRIVE, &locate(4), 0, &[]).good();
    assert_eq!(host.write(DRIVE, &noise(99, BLOCK)).check(), OVERWRITE);
    assert!(host.read(DRIVE, BLOCK).good() == noise(3, BLOCK));
}

#[test]
fn a_cartridge_tells_what_it_is_kept_by_and_refusals_say_why() {
    let server = Server::start(&[]);
    let path = "/cartridges/VTL001L8";
    let before = server.get(path);
    assert_eq!(
        (&before["hold"], &before["retain_until"], &before["retention_ends"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    let (status, done) = set(&server, "VTL001L8", &json!({ "retain_until": FAR, "hold": true }));
    assert_eq!((status, done["message"].as_str().unwrap().contains(FAR)), (200, true), "{done}");
    // It ends by the server's count of seconds, which falls on one second or the next.
    let get = || {
        let mut told = server.get(path);
        let ends = told["retention_ends"].take();
        assert!(ends.as_str().unwrap().starts_with(FAR_OR_SO), "{ends}");
        told
    };
    let kept = get();
    assert_eq!((&kept["hold"], &kept["retain_until"]), (&json!(true), &json!(FAR)));
    for (body, code, word) in [
        (json!({ "retain_until": "2089-12-31" }), "conflict", FAR_OR_SO),
        (json!({ "retain_until": "2000-01-01" }), "invalid", "2000-01-01"),
        (json!({ "retain_until": "9999-01-01" }), "invalid", "9999-01-01"),
        (json!({ "retain_until": "soon" }), "invalid", "'soon'"),
        (json!({ "hold": false }), "conflict", FAR_OR_SO),
        (json!({}), "invalid", "nothing to set"),
    ] {
        let (_, refused) = set(&server, "VTL001L8", &body);
        assert_eq!(refused["code"], code, "{body}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(word), "{refused}");
        assert!(refused["remedy"].is_string(), "{refused}");
    }
    assert_eq!(get(), kept);
    let (_, refused) = server.ask("DELETE", path, &json!({}));
    assert!(refused["message"].as_str().unwrap().contains(FAR_OR_SO), "{refused}");
    assert_eq!(set(&server, "VTL001L8", &json!({ "retain_until": "2091-01-01" })).0, 200);
    server.api("DELETE", "/cartridges/VTL002L8", &json!({}));
    let (_, refused) = set(&server, "VTL002L8", &json!({ "hold": true }));
    assert!(refused["remedy"].as_str().unwrap().contains("vtl cartridge restore"), "{refused}");
}

#[test]
fn a_worm_cartridge_is_made_by_its_label_and_takes_data_at_its_end_only() {
    let server = Server::start(&[]);
    let (status, refused) = server.ask("POST", "/cartridges", &json!({ "label": "WRM001L8", "worm": true }));
    assert_eq!((status, &refused["code"]), (400, &json!("invalid")));
    assert!(refused["remedy"].as_str().unwrap().contains("WRM001LY"), "{refused}");
    server.api("POST", "/cartridges", &json!({ "label": "WRM001LY", "worm": true }));
    assert_eq!(server.get("/cartridges/WRM001LY")["worm"], true);
    let mut host = server.session(1);
    host.load(11, 0);
    assert_eq!(host.run(DRIVE, &[0x1a, 0x08, 0x0f, 0, 255, 0], 255, &[]).good()[1], 0x8c, "medium type");
    write_three(&mut host);
    no_command_alters_what_is_there(&mut host);
    host.run(DRIVE, &SPACE_TO_END, 0, &[]).good();
    host.write(DRIVE, &noise(3, BLOCK)).good();
}

/// SplitMix64.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

#[test]
fn no_sequence_of_commands_and_requests_alters_what_is_kept() {
    let label = "VTL001L8";
    let mut server = Server::start(&[]);
    for seed in 0..u64::from(rounds(2, 20)) {
        let mut host = server.session(1);
        if seed == 0 {
            host.load(1, 0);
            write_three(&mut host);
            set(&server, label, &json!({ "retain_until": FAR }));
        }
        let mut state = seed;
        for step in 0..150 {
            host.attentions(CHANGER);
            host.attentions(DRIVE);
            let elements = host.elements();
            match draw(&mut state, 16) {
                0..=2 => drop(host.write(DRIVE, &noise(1000 + step, 1 + draw(&mut state, 70_000) as usize))),
                3 => drop(host.run(DRIVE, &ONE_FILEMARK, 0, &[])),
                4 => drop(host.run(DRIVE, &ERASE, 0, &[])),
                5 => drop(host.run(DRIVE, &LONG_ERASE, 0, &[])),
                6 => drop(host.run(DRIVE, &FORMAT, 0, &[])),
                7 => drop(host.run(DRIVE, &REWIND, 0, &[])),
                8 => drop(host.run(DRIVE, &SPACE_TO_END, 0, &[])),
                9 | 10 => drop(host.run(DRIVE, &locate(draw(&mut state, 8) as u32), 0, &[])),
                11 => drop(host.move_medium(elements.drive, elements.storage)),
                12 => drop(host.move_medium(elements.storage, elements.drive)),
                13 => drop(server.ask(
                    "DELETE",
                    &format!("/cartridges/{label}"),
                    &json!({ "now": true, "confirm": label }),
                )),
                14 => drop(set(&server, label, &json!({ "write_protect": draw(&mut state, 2) == 0 }))),
                _ => drop(server.ask("POST", "/store/gc", &json!({ "dead_percent": 1 }))),
            }
        }
        server.kill();
        server.start_again();
        let mut host = server.session(1);
        host.attentions(CHANGER);
        let elements = host.elements();
        drop(host.move_medium(elements.storage, elements.drive));
        host.attentions(DRIVE);
        host.run(DRIVE, &TEST_UNIT_READY, 0, &[]).good();
        reads_three(&mut host);
    }
}
