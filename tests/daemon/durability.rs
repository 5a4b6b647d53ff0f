//! What was made durable is there after the program was killed, byte for byte; and a full disk loses nothing.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::scsi::{CHANGER, DRIVE, ERASE, ONE_FILEMARK, REWIND, TEST_UNIT_READY};
use crate::support::{Initiator, Outcome, Server, eventually, noise, rounds};

/// LUN of drive 1.
const SECOND_DRIVE: u8 = DRIVE + 1;
const POWER_ON: (u8, u8) = (0x29, 0x00);

/// Sizes of blocks that a backup might mix.
fn size(number: u64) -> usize {
    [1, 511, 10_240, 65_536, 262_144][number as usize % 5]
}

#[test]
fn what_stands_before_the_last_filemark_survives_kill_nine_under_load() {
    let mut server = Server::start(&["--set", "cartridge.size=8g"]);
    let mut durable: Vec<(u64, usize)> = Vec::new();
    let mut seed = 0;
    for round in 0..rounds(5, 50) {
        let mut host = server.session(1);
        if round == 0 {
            host.load(1, 0);
        } else {
            assert_eq!(host.attentions(CHANGER)[0], POWER_ON);
            assert_eq!(host.attentions(DRIVE)[0], POWER_ON);
        }
        host.run(DRIVE, &REWIND, 0, &[]).good();
        // Everything so far, then on from there.
        let mut marks = 0;
        for &(seed, length) in &durable {
            if length == 0 {
                // A filemark: 0/00/01, no data.
                assert_eq!(host.read(DRIVE, 262_144).check(), (0x00, 0x00, 0x01));
                marks += 1;
            } else {
                assert!(
                    host.run(DRIVE, &[0x08, 0x02, 4, 0, 0, 0], 262_144, &[]).good() == noise(seed, length)
                );
            }
        }
        assert_eq!(host.position(DRIVE), (durable.len() as u64, marks));
        for _ in 0..3 {
            let mut fresh = Vec::new();
            for _ in 0..12 {
                seed += 1;
                fresh.push((seed, size(seed)));
            }
            let tags: Vec<u32> =
                fresh.iter().map(|&(seed, length)| host.start_write(DRIVE, &noise(seed, length))).collect();
            let mark = host.start(DRIVE, &ONE_FILEMARK, 0, &[]);
            for tag in tags {
                host.wait(tag).good();
            }
            host.wait(mark).good();
            durable.extend(fresh);
            durable.push((0, 0));
        }
        // In the middle of more.
        for n in 0..u64::from(round % 7) + 3 {
            host.start_write(DRIVE, &noise(n, 65_536));
        }
        server.kill();
        server.start_again();
    }
}

#[test]
fn after_a_kill_without_a_filemark_the_tape_ends_at_a_block() {
    let mut server = Server::start(&["--set", "cartridge.size=1g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    for n in 0..40 {
        host.write(DRIVE, &noise(n, 65_536)).good();
    }
    server.kill();
    server.start_again();
    let mut host = server.session(1);
    host.attentions(DRIVE);
    let (end, _) = host.position(DRIVE);
    assert!(end <= 40, "at end of data: {end}");
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for n in 0..end {
        assert!(host.read(DRIVE, 65_536).good() == noise(n, 65_536));
    }
    // BLANK CHECK, end of data detected.
    assert_eq!(host.read(DRIVE, 65_536).check(), (0x08, 0x00, 0x05));
}

#[test]
fn what_was_written_before_a_host_fell_silent_is_durable_without_a_filemark() {
    let mut server = Server::start(&["--set", "cartridge.size=1g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    for n in 0..40 {
        host.write(DRIVE, &noise(n, 65_536)).good();
    }
    // The host says nothing, not even goodbye, for longer than the two seconds after which a drive commits.
    std::thread::sleep(Duration::from_secs(4));
    server.kill();
    server.start_again();
    let mut host = server.session(1);
    host.attentions(DRIVE);
    assert_eq!(host.position(DRIVE), (40, 0));
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for n in 0..40 {
        assert!(host.read(DRIVE, 65_536).good() == noise(n, 65_536), "block {n}");
    }
}

#[test]
fn killed_moves_leave_each_cartridge_in_exactly_one_place() {
    let mut server = Server::start(&[]);
    for round in 0..rounds(3, 20) {
        let mut host = server.session(1);
        host.attentions(CHANGER);
        let elements = host.elements();
        let (from, to) = if round % 2 == 0 { (0, 12) } else { (12, 0) };
        for n in 0..3 {
            let [a, b] = (elements.storage + from + n).to_be_bytes();
            let [c, d] = (elements.storage + to + n).to_be_bytes();
            host.start(CHANGER, &[0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0], 0, &[]);
        }
        drop(host.step());
        server.kill();
        server.start_again();
        let library = server.get("/libraries/lib0");
        let mut labels: Vec<&str> =
            library["elements"].as_array().unwrap().iter().filter_map(|e| e["label"].as_str()).collect();
        labels.sort_unstable();
        let expected: Vec<String> = (1..=10).map(|n| format!("VTL{n:03}L8")).collect();
        assert_eq!(labels, expected);
        // Finish the move, so that the next round starts from a known place.
        let mut host = server.session(1);
        host.attentions(CHANGER);
        for n in 0..3 {
            host.move_medium(elements.storage + from + n, elements.storage + to + n);
        }
    }
}

/// A tmpfs, unmounted at the end. The store keeps 128 MiB of it free for what must always be possible.
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Of 192 MiB.
    fn mount() -> Option<Self> {
        Self::of_mib(192)
    }

    /// None, with the reason on standard error, where nothing can be mounted.
    pub(crate) fn of_mib(mib: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0700"), "none"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            assert!(!in_ci(), "no tmpfs can be mounted here: where CI is set all tests run, as root");
            eprintln!("not run: no tmpfs can be mounted here (needs root)");
            return None;
        }
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        Some(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[test]
fn a_full_disk_warns_then_refuses_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut server = Server::start_at(disk.path(), &["--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    let kept = fill(&mut host);
    assert!(server.is_running());
    // What was acknowledged can be made durable even now.
    let mark = host.run(DRIVE, &ONE_FILEMARK, 0, &[]);
    assert!(matches!(mark.code(), (0, 0, 0) | (0x00, 0x00, 0x02)), "{:02x?}", mark.sense);
    let status = server.get("/system/status");
    assert!(status["free_bytes"].is_u64(), "{status}");

    server.kill();
    server.start_again();
    let mut host = server.session(1);
    host.attentions(DRIVE);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for n in 0..kept {
        assert!(host.read(DRIVE, 65_536).good() == noise(n, 65_536), "block {n} of {kept}");
    }

    // The way out: unload it, remove it for good, and there is room again.
    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    wait_for_room(&server);
    host.load(2, 0);
    for n in 0..100 {
        assert!(is_kept(&host.write(DRIVE, &noise(n, 65_536))), "block {n}");
    }
    assert!(is_kept(&host.run(DRIVE, &ONE_FILEMARK, 0, &[])));
    host.run(DRIVE, &TEST_UNIT_READY, 0, &[]).good();
}

#[test]
fn on_a_full_disk_what_is_removed_for_good_makes_room_without_a_restart() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::start_at(disk.path(), &["--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    fill(&mut host);
    for (slot, next) in [(1, 2), (2, 3)] {
        host.attentions(CHANGER);
        let elements = host.elements();
        host.move_medium(elements.drive, elements.storage + slot - 1).good();
        let label = format!("VTL{slot:03}L8");
        server.api("DELETE", &format!("/cartridges/{label}"), &json!({ "now": true, "confirm": label }));
        wait_for_room(&server);
        host.load(next, 0);
        let outcome = host.write(DRIVE, &noise(1, 65_536));
        assert_eq!(outcome.code(), (0x00, 0x00, 0x02), "there is room, and little: the warning goes on");
        fill(&mut host);
    }
}

#[test]
fn on_a_full_disk_what_is_erased_makes_room_while_the_cartridge_is_in_the_drive() {
    let Some(disk) = SmallDisk::mount() else { return };
    let server = Server::start_at(disk.path(), &["--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    fill(&mut host);
    host.run(DRIVE, &REWIND, 0, &[]);
    assert!(is_kept(&host.run(DRIVE, &ERASE, 0, &[])));
    wait_for_room(&server);
    for n in 0..100 {
        assert!(is_kept(&host.write(DRIVE, &noise(9000 + n, 65_536))), "block {n}");
    }
    assert!(is_kept(&host.run(DRIVE, &ONE_FILEMARK, 0, &[])));
}

/// Writes to the drive until the disk is full, which is told as the end of a tape is; how many blocks of 64 KiB it took.
fn fill(host: &mut Initiator) -> u64 {
    let mut warned = false;
    let mut kept = 0;
    let overflow = loop {
        let outcome = host.write(DRIVE, &noise(kept, 65_536));
        match (outcome.status, outcome.code()) {
            (0, _) => kept += 1,
            // NO SENSE, end of medium (bit 40h of byte 2): written, and a warning.
            (2, (0x00, 0x00, 0x02)) => {
                assert_eq!(outcome.sense[2] & 0x40, 0x40);
                warned = true;
                kept += 1;
            }
            (2, code) => break code,
            other => panic!("{other:?}"),
        }
        assert!(kept < 4000, "the disk holds no more than that");
    };
    assert!(warned, "early warning comes first");
    // VOLUME OVERFLOW, end of partition detected.
    assert_eq!(overflow, (0x0d, 0x00, 0x02), "after {kept} blocks");
    kept
}

/// A cartridge that was removed for good gives its space back by a collection, which the daemon begins at once.
fn wait_for_room(server: &Server) {
    let free = || server.get("/system/status")["free_bytes"].as_u64().unwrap();
    eventually("space", || (free() >= 16 << 20).then_some(()));
}

/// Good, or written with a warning of the end.
fn is_kept(outcome: &Outcome) -> bool {
    outcome.status == 0 || outcome.code() == (0x00, 0x00, 0x02)
}

#[test]
fn a_disk_that_others_fill_to_the_last_byte_takes_nothing_more_and_still_gives_everything() {
    let Some(disk) = SmallDisk::mount() else { return };
    let mut server = Server::start_at(disk.path(), &["--set", "cartridge.size=4g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    for n in 0..20 {
        assert!(is_kept(&host.write(DRIVE, &noise(n, 65_536))));
    }
    assert!(is_kept(&host.run(DRIVE, &ONE_FILEMARK, 0, &[])));
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0xaa; 4096]).is_ok() {}
    drop(file);
    let refused = (0..40).find(|n| !is_kept(&host.write(DRIVE, &noise(100 + n, 65_536))));
    assert!(refused.is_some(), "there is no room");
    assert!(server.is_running());
    host.run(DRIVE, &REWIND, 0, &[]);
    for again in [false, true] {
        if again {
            server.kill();
            std::fs::remove_file(&filler).unwrap();
            server.start_again();
            host = server.session(1);
        }
        host.attentions(DRIVE);
        host.run(DRIVE, &REWIND, 0, &[]).good();
        for n in 0..20 {
            assert!(host.read(DRIVE, 65_536).good() == noise(n, 65_536), "block {n}");
        }
    }
}

#[test]
fn on_a_file_system_without_a_free_byte_it_starts_reads_removes_and_then_writes_again() {
    let Some(disk) = SmallDisk::of_mib(512) else { return };
    let mut server = Server::start_at(disk.path(), &["--set", "cartridge.size=4g"]);
    let ballast = server.state().join("ballast");
    assert!(std::fs::metadata(&ballast).unwrap().blocks() * 512 >= 64 << 20, "space is kept");
    let mut host = server.session(1);
    host.load(1, 0);
    host.load(2, 1);
    for n in 0..600 {
        assert!(is_kept(&host.write(DRIVE, &noise(n, 262_144))), "block {n}");
    }
    for n in 0..20 {
        assert!(is_kept(&host.write(SECOND_DRIVE, &noise(n, 65_536))));
    }
    for drive in [DRIVE, SECOND_DRIVE] {
        assert!(is_kept(&host.run(drive, &ONE_FILEMARK, 0, &[])));
    }
    let filler = disk.path().join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while file.write_all(&[0xaa; 4096]).is_ok() {}
    drop(file);

    server.kill();
    server.start_again();
    assert_eq!(std::fs::metadata(&ballast).unwrap().len(), 0, "it was needed");
    let told = |server: &Server| {
        let status = server.get("/system/status");
        let problems = status["problems"].as_array().unwrap().clone();
        problems.into_iter().find(|problem| problem["subject"] == "state folder")
    };
    let problem = told(&server).unwrap();
    assert!(problem["remedy"].as_str().unwrap().contains("vtl cartridge rm"), "{problem}");
    let mut host = server.session(1);
    for drive in [DRIVE, SECOND_DRIVE] {
        host.attentions(drive);
        host.run(drive, &REWIND, 0, &[]).good();
    }
    for n in 0..600 {
        assert!(host.read(DRIVE, 262_144).good() == noise(n, 262_144), "block {n}");
    }
    for n in 0..20 {
        assert!(host.read(SECOND_DRIVE, 65_536).good() == noise(n, 65_536), "block {n}");
    }
    assert!(!is_kept(&host.write(SECOND_DRIVE, &noise(99, 65_536))), "there is no room yet");

    host.attentions(CHANGER);
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage).good();
    server.api("DELETE", "/cartridges/VTL001L8", &json!({ "now": true, "confirm": "VTL001L8" }));
    wait_for_room(&server);
    for n in 0..100 {
        assert!(is_kept(&host.write(SECOND_DRIVE, &noise(n, 65_536))), "block {n}");
    }
    assert!(is_kept(&host.run(SECOND_DRIVE, &ONE_FILEMARK, 0, &[])));

    // Once there is plenty again, so is the space that is kept.
    std::fs::remove_file(&filler).unwrap();
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert!(std::fs::metadata(&ballast).unwrap().blocks() * 512 >= 64 << 20);
    assert_eq!(told(&server), None);
}
