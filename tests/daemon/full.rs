//! A pool that fills up: alarms, warnings in time, a clean end of tape, and the way out.

use serde_json::{Value, json};

use crate::support::scsi::{CHANGER, DRIVE, ONE_FILEMARK, REWIND};
use crate::support::{Initiator, Outcome, Server, eventually, noise};

const SECOND_DRIVE: u8 = DRIVE + 1;
const BLOCK: usize = 256 << 10;
/// NO SENSE, end of partition detected: taken, and the end is near.
const WARNING: (u8, u8, u8) = (0x00, 0x00, 0x02);
/// VOLUME OVERFLOW, end of partition detected: not taken.
const OVERFLOW: (u8, u8, u8) = (0x0d, 0x00, 0x02);

#[track_caller]
fn is_warned(outcome: &Outcome) -> bool {
    match (outcome.status, outcome.code()) {
        (0, _) => false,
        (2, WARNING) => {
            assert_eq!(outcome.sense[2] & 0x40, 0x40, "end of medium");
            true
        }
        other => panic!("{other:02x?}"),
    }
}

/// Writes blocks of noise until the first warning; how many it took, that one included.
fn until_warned(host: &mut Initiator, lun: u8, seed: u64) -> u64 {
    (0..4000).find(|n| is_warned(&host.write(lun, &noise(seed + n, BLOCK)))).expect("a warning") + 1
}

fn status(server: &Server) -> Value {
    server.get("/system/status")
}

#[track_caller]
fn reads(host: &mut Initiator, lun: u8, seed: u64, blocks: u64) {
    host.attentions(lun);
    host.run(lun, &REWIND, 0, &[]).good();
    for n in 0..blocks {
        assert!(host.read(lun, BLOCK).good() == noise(seed + n, BLOCK), "block {n} of {blocks}");
    }
}

#[test]
fn a_pool_of_a_given_size_warns_all_drives_ends_their_tapes_cleanly_and_recovers_by_itself() {
    let mut server = Server::start(&["--set", "store.size=320m", "--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.load(2, 1);
    assert!(!is_warned(&host.write(SECOND_DRIVE, &noise(500_000, BLOCK))), "there is room yet");
    let mut first = until_warned(&mut host, DRIVE, 0);
    // The other one has not written since; it hears with its first block that the end is near.
    assert!(is_warned(&host.write(SECOND_DRIVE, &noise(500_001, BLOCK))));
    assert!(is_warned(&host.run(SECOND_DRIVE, &ONE_FILEMARK, 0, &[])), "and can close its tape");

    let overflow = loop {
        let outcome = host.write(DRIVE, &noise(first, BLOCK));
        if outcome.status == 2 && outcome.code() != WARNING {
            break outcome;
        }
        assert!(is_warned(&outcome));
        first += 1;
        assert!(first < 4000, "320 MiB hold no more");
    };
    assert_eq!((overflow.code(), overflow.sense[2] & 0x40), (OVERFLOW, 0x40));
    assert!(first as usize * BLOCK > 300 << 20, "{first} blocks");
    for lun in [DRIVE, SECOND_DRIVE] {
        assert_eq!(host.write(lun, &noise(900_000, BLOCK)).check(), OVERFLOW);
        for _ in 0..3 {
            assert!(is_warned(&host.run(lun, &ONE_FILEMARK, 0, &[])), "marks still close a tape");
        }
    }
    let full = status(&server);
    assert_eq!((&full["pool_alarm"], &full["state"]), (&json!(95), &json!("problem")), "{full}");
    assert!(full["free_bytes"].as_u64().unwrap() < BLOCK as u64);
    assert!(full["problems"][0]["remedy"].as_str().unwrap().contains("store.size"), "{full}");
    reads(&mut host, DRIVE, 0, first);

    // Nothing of it was lost, and the pool is as full as before.
    server.kill();
    server.start_again();
    let mut host = server.session(1);
    reads(&mut host, DRIVE, 0, first);
    reads(&mut host, SECOND_DRIVE, 500_000, 2);

    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    eventually("room", || (status(&server)["free_bytes"].as_u64().unwrap() > 300 << 20).then_some(()));
    let emptied = status(&server);
    assert_eq!((&emptied["pool_alarm"], &emptied["state"]), (&Value::Null, &json!("ok")), "{emptied}");
    host.attentions(SECOND_DRIVE);
    host.run(SECOND_DRIVE, &REWIND, 0, &[]).good();
    assert!(!is_warned(&host.write(SECOND_DRIVE, &noise(1, BLOCK))), "the drive goes on without a restart");
    assert!(!is_warned(&host.run(SECOND_DRIVE, &ONE_FILEMARK, 0, &[])));
}

#[test]
fn each_alarm_is_in_the_log_once_and_its_end_too() {
    let mut server = Server::start(&["--set", "store.size=64m", "--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    let mut written = 0;
    for (alarm, mebibytes) in [(80, 53), (90, 59), (95, 62)] {
        while written < mebibytes * 4 {
            assert!(is_warned(&host.write(DRIVE, &noise(written, BLOCK))), "less than 256 MiB can be stored");
            written += 1;
        }
        assert!(is_warned(&host.run(DRIVE, &ONE_FILEMARK, 0, &[])));
        eventually("the alarm", || (status(&server)["pool_alarm"] == alarm).then_some(()));
        let told = || {
            server
                .log()
                .lines()
                .filter(|line| line.contains("WARN") && line.contains(&format!(" {alarm} % of what")))
                .count()
        };
        eventually("the log", || (told() > 0).then_some(()));
        assert_eq!(told(), 1, "{alarm}");
    }
    host.run(DRIVE, &REWIND, 0, &[]).good();
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    eventually("room", || status(&server)["pool_alarm"].is_null().then_some(()));
    eventually("the log", || server.log().contains("the pool has more room again").then_some(()));
    assert_eq!(server.stop(), Some(0));
}
