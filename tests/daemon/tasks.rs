//! Order of commands and task management, seen by the one who asks and by the others.

use std::time::Duration;

use crate::support::scsi::{CHANGER, DRIVE, INQUIRY, ONE_FILEMARK, RESERVE, REWIND, TEST_UNIT_READY};
use crate::support::{Initiator, PATIENCE, Server, initiator::Pdu, noise};

const ABORT_TASK: u8 = 1;
const ABORT_TASK_SET: u8 = 2;
const CLEAR_TASK_SET: u8 = 4;
const LOGICAL_UNIT_RESET: u8 = 5;
const TARGET_WARM_RESET: u8 = 6;
const TARGET_COLD_RESET: u8 = 7;

const COMPLETE: u8 = 0;
const NO_SUCH_TASK: u8 = 1;

fn loaded() -> (Server, Initiator) {
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let mut host = server.session(1);
    host.load(1, 0);
    (server, host)
}

/// Commands that keep the drive at work for a while: each filemark waits for the disk.
fn keep_busy(host: &mut Initiator, count: usize) -> Vec<u32> {
    (0..count).map(|_| host.start(DRIVE, &ONE_FILEMARK, 0, &[])).collect()
}

/// Takes everything that still comes, until a NOP-Out that was sent last is answered.
fn settle(host: &mut Initiator) {
    let mut ping = Pdu::new(0x40, 0x80);
    let tag = host.tag();
    ping.put(16, tag);
    ping.put(20, u32::MAX);
    host.send_numbered(&mut ping);
    while !host.other.iter().any(|pdu| pdu.opcode() == 0x20 && pdu.tag() == tag) {
        host.step().unwrap();
    }
}

#[test]
fn simple_tape_commands_at_full_depth_run_in_the_order_of_their_numbers() {
    let (_server, mut host) = loaded();
    let blocks: Vec<Vec<u8>> = (0..96).map(|n| noise(n, 4096 + 512 * (n as usize % 7))).collect();
    for group in blocks.chunks(32) {
        let depth = host.max_cmd_sn.wrapping_sub(host.cmd_sn).wrapping_add(1);
        assert!(depth >= 32, "the window is {depth}");
        let tags: Vec<u32> = group.iter().map(|block| host.start_write(DRIVE, block)).collect();
        for &tag in &tags {
            host.wait(tag).good();
        }
    }
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for group in blocks.chunks(32) {
        let tags: Vec<u32> =
            group.iter().map(|_| host.start(DRIVE, &[0x08, 0x02, 0, 0x40, 0, 0], 0x4000, &[])).collect();
        for (tag, block) in tags.into_iter().zip(group) {
            assert!(&host.wait(tag).good() == block);
        }
    }
    assert!(host.finished.is_sorted(), "answers in order, too");
}

#[test]
fn the_command_window_is_as_wide_as_configured() {
    let server = Server::start(&["--set", "iscsi.command_window=64"]);
    let host = server.session(1);
    let depth = host.max_cmd_sn.wrapping_sub(host.cmd_sn).wrapping_add(1);
    assert_eq!(depth, 64);
}

#[test]
fn an_aborted_task_is_never_answered_and_one_that_was_answered_does_not_exist() {
    let (_server, mut host) = loaded();
    let mut aborted = 0;
    for _ in 0..10 {
        let tags = keep_busy(&mut host, 20);
        let last = tags[19];
        match host.manage(ABORT_TASK, DRIVE, last) {
            COMPLETE => {
                aborted += 1;
                for &tag in &tags[..19] {
                    host.wait(tag).good();
                }
                settle(&mut host);
                assert!(!host.is_done(last), "no status after a successful abort");
            }
            NO_SUCH_TASK => {
                for &tag in &tags {
                    host.wait(tag).good();
                }
            }
            other => panic!("response {other}"),
        }
    }
    assert!(aborted > 0, "it was always too late");
    assert_eq!(host.manage(ABORT_TASK, DRIVE, 0x00de_ad00), NO_SUCH_TASK);
}

#[test]
fn abort_task_set_ends_all_of_ones_own_and_none_of_anothers() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    let mine = keep_busy(&mut host, 24);
    let theirs = keep_busy(&mut other, 4);
    assert_eq!(host.manage(ABORT_TASK_SET, DRIVE, 0), COMPLETE);
    settle(&mut host);
    let answered = mine.iter().filter(|tag| host.is_done(**tag)).count();
    for tag in theirs {
        other.wait(tag).good();
    }
    settle(&mut host);
    assert_eq!(mine.iter().filter(|tag| host.is_done(**tag)).count(), answered, "no late answer");
    host.run(DRIVE, &TEST_UNIT_READY, 0, &[]).good();
    let (objects, _) = host.position(DRIVE);
    assert!(objects <= 28);
}

#[test]
fn clear_task_set_takes_anothers_tasks_and_tells_it() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    for _ in 0..30 {
        let tags = keep_busy(&mut host, 24);
        assert_eq!(other.manage(CLEAR_TASK_SET, DRIVE, 0), COMPLETE);
        settle(&mut host);
        let mut attentions = host.attentions(DRIVE);
        settle(&mut host);
        let (done, lost): (Vec<u32>, Vec<u32>) = tags.into_iter().partition(|tag| host.is_done(*tag));
        let lost = lost.len();
        // A command that the server read only after the others were cleared is one that comes after: it may be the first to hear of it.
        attentions.extend(done.into_iter().filter_map(|tag| match host.wait(tag).code() {
            (0x06, asc, ascq) => Some((asc, ascq)),
            _ => None,
        }));
        assert_eq!(other.attentions(DRIVE), [], "not the one who asked");
        if lost > 0 {
            assert_eq!(attentions, [(0x2f, 0x00)], "commands cleared by another initiator");
            return;
        }
        assert_eq!(attentions, []);
    }
    panic!("no task was ever waiting");
}

#[test]
fn a_reset_of_the_unit_is_told_to_the_other_and_ends_its_reservation() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    other.attentions(CHANGER);
    host.run(DRIVE, &RESERVE, 0, &[]).good();
    assert_eq!(other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).status, 0x18, "reservation conflict");
    assert_eq!(other.manage(LOGICAL_UNIT_RESET, DRIVE, 0), COMPLETE);
    let seen = host.attentions(DRIVE);
    assert_eq!((seen.len(), seen[0].0), (1, 0x29), "{seen:02x?}");
    other.attentions(DRIVE);
    other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).good();
    assert_eq!(other.attentions(CHANGER), [], "only that unit");
}

#[test]
fn a_target_reset_reaches_every_unit_and_the_session_stays() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    for lun in [CHANGER, DRIVE, DRIVE + 1] {
        host.attentions(lun);
        other.attentions(lun);
    }
    host.write(DRIVE, b"before the reset").good();
    assert_eq!(other.manage(TARGET_WARM_RESET, 0, 0), COMPLETE);
    for lun in [CHANGER, DRIVE, DRIVE + 1] {
        let seen = host.attentions(lun);
        assert_eq!((seen.len(), seen[0].0), (1, 0x29), "unit {lun}: {seen:02x?}");
    }
    host.run(DRIVE, &TEST_UNIT_READY, 0, &[]).good();
}

#[test]
fn a_cold_reset_ends_every_session_with_the_target_and_leaves_the_tape_whole() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    host.write(DRIVE, b"before the reset").good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    other.manage(TARGET_COLD_RESET, 0, 0);
    assert!(other.is_closed_by_peer());
    let mut again = server.session(1);
    assert_eq!(again.attentions(DRIVE).first().map(|(asc, _)| *asc), Some(0x29));
    again.run(DRIVE, &REWIND, 0, &[]).good();
    assert_eq!(again.read(DRIVE, 16).good(), b"before the reset");
}

#[test]
fn an_echo_brings_back_its_own_bytes_and_nothing_else() {
    let (_server, mut host) = loaded();
    let mut ping = Pdu::new(0x40, 0x80);
    let tag = host.tag();
    ping.put(16, tag);
    ping.put(20, u32::MAX);
    ping.data = noise(5, 1001);
    host.send_numbered(&mut ping);
    let pong = host.receive().unwrap();
    assert_eq!((pong.opcode(), pong.tag(), pong.u32(20)), (0x20, tag, u32::MAX));
    assert!(pong.data == noise(5, 1001));
}

#[test]
fn task_management_and_inquiry_are_answered_while_a_drive_works() {
    let (server, mut host) = loaded();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    other.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    host.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let block = noise(1, 65_536);
    for _ in 0..5 {
        let mut tags: Vec<u32> = (0..16).map(|_| host.start_write(DRIVE, &block)).collect();
        tags.extend(keep_busy(&mut host, 12));
        assert_eq!(other.run(DRIVE, &INQUIRY, 96, &[]).good()[0], 0x01, "a tape drive");
        let luns = other.run(DRIVE, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], 64, &[]).good();
        assert_eq!(luns[..4], [0, 0, 0, 24], "three units");
        assert_eq!(other.manage(ABORT_TASK, DRIVE, 0x00de_ad00), NO_SUCH_TASK);
        for tag in tags {
            host.wait(tag).good();
        }
    }
}

#[test]
fn a_unit_that_does_not_exist_is_told_apart() {
    let (_server, mut host) = loaded();
    assert_eq!(host.manage(LOGICAL_UNIT_RESET, 9, 0), 2, "LUN does not exist");
    let inquiry = host.run(9, &INQUIRY, 96, &[]).good();
    assert_eq!(inquiry[0], 0x7f, "no unit here and never one");
    // 25h/00h: logical unit not supported.
    assert_eq!(host.run(9, &TEST_UNIT_READY, 0, &[]).check(), (0x05, 0x25, 0x00));
}

#[test]
fn a_command_that_comes_early_waits_for_the_one_before_it() {
    let (_server, mut host) = loaded();
    let (first, second) = (noise(1, 1000), noise(2, 2000));
    let at = host.cmd_sn;
    host.cmd_sn = at.wrapping_add(1);
    let late = host.start_write(DRIVE, &second);
    host.cmd_sn = at;
    let early = host.start_write(DRIVE, &first);
    host.cmd_sn = at.wrapping_add(2);
    host.wait(early).good();
    host.wait(late).good();
    host.run(DRIVE, &REWIND, 0, &[]).good();
    assert!(host.run(DRIVE, &[0x08, 0x02, 0, 0x10, 0, 0], 4096, &[]).good() == first);
    assert!(host.run(DRIVE, &[0x08, 0x02, 0, 0x10, 0, 0], 4096, &[]).good() == second);
}
