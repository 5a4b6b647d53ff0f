//! Limits by name: a peer that is slow, silent, wrong or hostile costs only itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::initiator::{LoginError, Pdu};
use crate::support::scsi::{CHANGER, DRIVE, INQUIRY, REWIND, TEST_UNIT_READY};
use crate::support::{DIAG, Initiator, LIB0, Login, PATIENCE, Server, eventually, noise};

/// What a daemon with a few sessions may hold at most, in KiB: 64 MiB, and 80 MiB for a drive that writes.
const MEMORY_KIB: u64 = (64 + 80) << 10;

fn raw(portal: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(portal).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Reads until the peer closes; what it sent.
fn read_to_end(mut socket: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match socket.read_to_end(&mut all) {
        Ok(_) => all,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => all,
        Err(error) => panic!("it stays open: {error}"),
    }
}

#[track_caller]
fn works(host: &mut Initiator) {
    host.attentions(CHANGER);
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    assert_eq!(host.run(DRIVE, &INQUIRY, 96, &[]).good().len(), 96);
}

#[test]
fn who_is_silent_or_slow_at_login_is_dropped_and_others_notice_nothing() {
    let server = Server::start(&["--set", "iscsi.login_timeout_s=1"]);
    let mut host = server.session(1);
    let silent: Vec<TcpStream> = (0..20).map(|_| raw(server.portal)).collect();
    let half: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut socket = raw(server.portal);
            socket.write_all(&[0x43, 0x87, 0, 0, 0, 0, 0, 200]).unwrap();
            socket
        })
        .collect();
    let mut dripping = raw(server.portal);
    let begun = Instant::now();
    let mut dropped = false;
    while !dropped && begun.elapsed() < PATIENCE {
        dropped = dripping.write_all(&[0x43]).is_err();
        works(&mut host);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(dropped, "a byte now and then is no login");
    for socket in silent.iter().chain(&half) {
        assert_eq!(read_to_end(socket), b"");
    }
    works(&mut host);
}

#[test]
fn who_says_nothing_makes_room_for_one_who_logs_in() {
    let server = Server::start(&["--set", "iscsi.max_connections=3", "--set", "iscsi.max_sessions=3"]);
    let mut host = server.session(1);
    let silent = [raw(server.portal), raw(server.portal)];
    std::thread::sleep(Duration::from_millis(200));
    let mut second = server.session(2);
    assert_eq!(read_to_end(&silent[0]), b"", "the oldest goes");
    let mut third = server.session(3);
    assert_eq!(read_to_end(&silent[1]), b"");
    for host in [&mut host, &mut second, &mut third] {
        works(host);
    }
}

#[test]
fn a_flood_of_silent_connections_does_not_keep_anybody_out() {
    let server = Server::start(&["--set", "iscsi.max_connections=16", "--set", "iscsi.max_sessions=8"]);
    let portal = server.portal;
    let flood = std::thread::spawn(move || {
        let mut held: Vec<_> = Vec::new();
        for _ in 0..400 {
            held.extend(TcpStream::connect(portal));
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    for isid in 1..=8 {
        let mut host = server.session(isid);
        works(&mut host);
        assert_eq!(host.logout(), 0);
    }
    flood.join().unwrap();
    assert!(server.descriptors() < 100);
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once_when_all_are_sessions() {
    let server = Server::start(&["--set", "iscsi.max_connections=3", "--set", "iscsi.max_sessions=3"]);
    let mut hosts = [server.session(1), server.session(2), server.session(3)];
    assert_eq!(read_to_end(&raw(server.portal)), b"");
    hosts.iter_mut().for_each(works);
    drop(hosts);
    eventually("a place is free", || Initiator::login(server.portal, &Login::to(LIB0).isid(2)).ok());
}

#[test]
fn sessions_beyond_the_limit_are_refused_with_out_of_resources() {
    let server = Server::start(&["--set", "iscsi.max_sessions=2"]);
    let mut one = server.session(1);
    let two = server.session(2);
    let third = Login::to(LIB0).isid(3);
    // 0x0302: out of resources.
    assert!(matches!(Initiator::login(server.portal, &third), Err(LoginError::Refused(0x03, 0x02))));
    // One's own place may be taken again even when all are in use.
    let mut again = server.session(1);
    assert!(one.is_closed_by_peer());
    works(&mut again);
    drop(two);
    eventually("a place is free", || Initiator::login(server.portal, &third).ok());
}

#[test]
fn many_sessions_one_after_another_leave_no_descriptor_and_no_row() {
    let server = Server::start(&[]);
    drop(server.session(1));
    let rows = || server.get("/iscsi/sessions").as_array().unwrap().len();
    eventually("no session", || (rows() == 0).then_some(()));
    let before = server.descriptors();
    for number in 0..120_u8 {
        let mut host = server.session(number);
        if number % 3 == 0 {
            assert_eq!(host.logout(), 0);
        }
    }
    eventually("no session", || (rows() == 0).then_some(()));
    eventually("no descriptor", || (server.descriptors() <= before).then_some(()));
    assert!(server.resident_kib() < MEMORY_KIB, "{} KiB", server.resident_kib());
}

#[test]
fn a_data_segment_larger_than_declared_ends_only_its_own_connection() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    let mut bad = server.session(2);
    let mut header = [0_u8; 48];
    (header[0], header[1]) = (0x01, 0xa1);
    header[5..8].copy_from_slice(&[0xff, 0xff, 0xff]);
    header[24..28].copy_from_slice(&bad.cmd_sn.to_be_bytes());
    bad.socket.write_all(&header).unwrap();
    assert!(bad.is_closed_by_peer());
    // 04h: protocol error.
    assert!(bad.other.iter().all(|p| p.opcode() == 0x3f && p.header[2] == 0x04), "{:?}", bad.other);

    let mut at_login = raw(server.portal);
    header[0] = 0x43;
    at_login.write_all(&header).unwrap();
    drop(read_to_end(&at_login));
    works(&mut host);
}

#[test]
fn a_text_without_end_is_refused_before_it_fills_memory() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    let mut bad = Initiator::login(server.portal, &Login::discovery().isid(2)).unwrap();
    let mut transfer = u32::MAX;
    let mut refused = false;
    for _ in 0..200 {
        // C set, F clear: more follows, for ever.
        let mut pdu = Pdu::new(0x04, 0x40);
        let tag = 0x1111;
        pdu.put(16, tag);
        pdu.put(20, transfer);
        pdu.data = vec![b'x'; 8000];
        bad.send_numbered(&mut pdu);
        let Ok(answer) = bad.receive() else {
            refused = true;
            break;
        };
        if answer.opcode() == 0x3f {
            refused = true;
            break;
        }
        transfer = answer.u32(20);
    }
    assert!(refused);
    works(&mut host);

    let mut login = raw(server.portal);
    let mut pdu = [0_u8; 48];
    (pdu[0], pdu[1]) = (0x43, 0x40);
    let [_, a, b, c] = 8000_u32.to_be_bytes();
    pdu[5..8].copy_from_slice(&[a, b, c]);
    let text = vec![b'x'; 8000];
    let mut sent = 0;
    while sent < 200 && login.write_all(&[&pdu[..], &text].concat()).is_ok() {
        sent += 1;
    }
    drop(read_to_end(&login));
    works(&mut host);
}

#[test]
fn who_does_not_read_what_it_asked_for_costs_only_itself() {
    let server = Server::start(&["--set", "iscsi.diagnostic_disk=32m"]);
    let mut slow = server.session_with(DIAG, 1);
    slow.attentions(0);
    let content = noise(1, 1 << 20);
    let tag = slow.start_disk_write(0, &content);
    slow.wait(tag).good();
    let tags: Vec<u32> = (0..24).map(|_| slow.start_disk_read(0, 1 << 20)).collect();

    let mut host = server.session_with(DIAG, 2);
    host.attentions(0);
    for round in 0..20 {
        let mine = noise(round, 65_536);
        let tag = host.start_disk_write(8192, &mine);
        host.wait(tag).good();
        let tag = host.start_disk_read(8192, mine.len());
        assert!(host.wait(tag).good() == mine);
    }
    // The disk itself, 24 answers of a MiB, and what a daemon holds anyway.
    assert!(server.resident_kib() < MEMORY_KIB, "{} KiB", server.resident_kib());
    for tag in tags {
        assert!(slow.wait(tag).good() == content);
    }
}

#[test]
fn small_pieces_of_many_commands_do_not_hold_a_large_buffer_each() {
    const SMALL: usize = 9_000;
    let server = Server::start(&["--set", "iscsi.diagnostic_disk=1m"]);
    let mut host = server.session_with(DIAG, 1);
    host.attentions(0);
    let before = server.resident_kib();
    for _ in 0..100 {
        // A write of 512 KiB that says no more than its first bytes.
        let mut write = Pdu::new(0x01, 0x80 | 0x20 | 1);
        let tag = host.tag();
        write.put(16, tag);
        write.put(20, 512 << 10);
        write.header[32..42].copy_from_slice(&[0x2a, 0, 0, 0, 0, 0, 0, 0x04, 0, 0]);
        write.data = vec![0x77; SMALL];
        host.send_numbered(&mut write);
        // And what fills the rest of a buffer of 1 MiB: NOP-Outs that want no answer.
        for _ in 0..4 {
            let mut ping = Pdu::new(0x40, 0x80);
            ping.put(16, u32::MAX);
            ping.put(20, u32::MAX);
            ping.data = vec![0x55; 256 << 10];
            host.send_numbered(&mut ping);
        }
    }
    // An answer: all of it has been taken.
    let mut echo = Pdu::new(0x40, 0x80);
    let tag = host.tag();
    echo.put(16, tag);
    echo.put(20, u32::MAX);
    host.send_numbered(&mut echo);
    while !host.receive().is_ok_and(|pdu| pdu.opcode() == 0x20 && pdu.tag() == tag) {}
    let grown = server.resident_kib().saturating_sub(before);
    // 32 buffers of 1 MiB at most, and some for everything else; without a bound it would be 100.
    assert!(grown < 48 << 10, "{grown} KiB");
}

#[test]
fn data_is_invited_only_as_far_as_a_session_may_have_bytes_in_flight() {
    let server = Server::start(&[
        "--set",
        "iscsi.diagnostic_disk=32m",
        "--set",
        "iscsi.max_bytes_in_flight_session=16m",
    ]);
    let login = Login { immediate_data: false, ..Login::to(DIAG) };
    let mut host = Initiator::login(server.portal, &login).unwrap();
    host.attentions(0);
    host.hold_data = true;
    let tags: Vec<u32> =
        (0..24).map(|n| host.start_disk_write(n * 2048, &noise(n.into(), 1 << 20))).collect();
    let invited = |host: &Initiator| host.held.iter().map(|r2t| u64::from(r2t.u32(44))).sum::<u64>();
    host.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    while host.step().is_ok() {}
    let asked = invited(&host);
    assert!((1 << 20..=16 << 20).contains(&asked), "{asked} bytes invited");
    host.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    host.release_data();
    for tag in tags {
        host.wait(tag).good();
    }
    for n in 0..24 {
        let tag = host.start_disk_read(n * 2048, 1 << 20);
        assert!(host.wait(tag).good() == noise(n.into(), 1 << 20));
    }
}

#[test]
fn random_bytes_on_the_port_leave_a_good_session_and_memory_alone() {
    let mut server = Server::start(&["--set", "cartridge.size=1g", "--set", "iscsi.login_timeout_s=2"]);
    let mut host = server.session(1);
    host.load(1, 0);
    let portal = server.portal;
    let attackers: Vec<_> = (0..4_u64)
        .map(|attacker| {
            std::thread::spawn(move || {
                for round in 0..60_u64 {
                    let mut bytes = noise(attacker * 1000 + round, 4096 + (round as usize * 97) % 9000);
                    // Every other one begins like a login request, so that more than the first check sees it.
                    if round % 2 == 0 {
                        (bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]) = (0x43, 0x87, 0, 0, 0);
                        (bytes[5], bytes[6]) = (0, 0);
                    }
                    let Ok(mut socket) = TcpStream::connect(portal) else { continue };
                    drop(socket.write_all(&bytes));
                }
            })
        })
        .collect();
    let blocks: Vec<Vec<u8>> = (0..200).map(|n| noise(n, 65_536)).collect();
    for block in &blocks {
        host.write(DRIVE, block).good();
    }
    host.run(DRIVE, &REWIND, 0, &[]).good();
    for block in &blocks {
        assert!(&host.read(DRIVE, 65_536).good() == block);
    }
    for attacker in attackers {
        attacker.join().unwrap();
    }
    assert!(server.is_running());
    assert!(server.resident_kib() < MEMORY_KIB, "{} KiB", server.resident_kib());
    assert!(!server.log().contains("panicked"), "no panic is caught and forgotten");
}

#[test]
fn random_bytes_in_a_session_cost_that_session_only() {
    let mut server = Server::start(&["--set", "iscsi.diagnostic_disk=16m"]);
    let mut host = server.session(1);
    for round in 0..60_u64 {
        let target = if round % 2 == 0 { DIAG } else { LIB0 };
        let mut bad = server.session_with(target, 2);
        let mut bytes = noise(round, 48 * 40);
        for header in bytes.chunks_mut(48) {
            // A known opcode, no additional headers, and a short data segment: the deeper checks are meant.
            header[0] =
                [0x01, 0x41, 0x02, 0x42, 0x04, 0x05, 0x00, 0x40, 0x06, 0x10][usize::from(header[0]) % 10];
            (header[4], header[5], header[6]) = (0, 0, 0);
            header[7] %= 49;
            header[24..28].copy_from_slice(&bad.cmd_sn.to_be_bytes());
        }
        drop(bad.socket.write_all(&bytes));
        works(&mut host);
    }
    assert!(server.is_running());
    assert!(!server.log().contains("panicked"));
    assert!(server.resident_kib() < MEMORY_KIB, "{} KiB", server.resident_kib());
}

#[test]
fn sessions_that_fill_what_all_may_have_in_flight_do_not_stop_another() {
    let server = Server::start(&[
        "--set",
        "iscsi.diagnostic_disk=32m",
        "--set",
        "iscsi.max_bytes_in_flight_session=16m",
        "--set",
        "iscsi.max_bytes_in_flight=16m",
        "--set",
        "cartridge.size=1g",
    ]);
    let mut greedy: Vec<Initiator> = (1..=4)
        .map(|isid| {
            let login = Login { immediate_data: false, ..Login::to(DIAG).isid(isid) };
            let mut host = Initiator::login(server.portal, &login).unwrap();
            host.attentions(0);
            host.hold_data = true;
            for n in 0..16 {
                host.start_disk_write(n * 2048, &noise(n.into(), 1 << 20));
            }
            host
        })
        .collect();
    for host in &mut greedy {
        host.step().unwrap();
    }
    let mut good = server.session(9);
    good.load(1, 0);
    let blocks: Vec<Vec<u8>> = (0..64).map(|n| noise(n, 262_144)).collect();
    for group in blocks.chunks(16) {
        let tags: Vec<u32> = group.iter().map(|block| good.start_write(DRIVE, block)).collect();
        for tag in tags {
            good.wait(tag).good();
        }
    }
    good.run(DRIVE, &REWIND, 0, &[]).good();
    for block in &blocks {
        assert!(&good.read(DRIVE, 262_144).good() == block);
    }
    assert!(server.resident_kib() < MEMORY_KIB, "{} KiB", server.resident_kib());
    // And the greedy ones come to their end once they keep their promise.
    for host in &mut greedy {
        host.release_data();
        let tag = host.start_disk_read(0, 512);
        host.wait(tag).good();
    }
}

#[test]
fn all_sessions_together_are_invited_to_little_more_than_the_limit_of_all() {
    let server = Server::start(&[
        "--set",
        "iscsi.diagnostic_disk=32m",
        "--set",
        "iscsi.max_bytes_in_flight_session=32m",
        "--set",
        "iscsi.max_bytes_in_flight=32m",
        "--set",
        "iscsi.command_window=64",
    ]);
    let mut hosts: Vec<Initiator> = (1..=6)
        .map(|isid| {
            let login = Login { immediate_data: false, ..Login::to(DIAG).isid(isid) };
            let mut host = Initiator::login(server.portal, &login).unwrap();
            host.attentions(0);
            host.hold_data = true;
            for n in 0..30 {
                host.start_disk_write(n * 2048, &noise(n.into(), 1 << 20));
            }
            host.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            while host.step().is_ok() {}
            host
        })
        .collect();
    let invited: u64 = hosts.iter().flat_map(|host| &host.held).map(|r2t| u64::from(r2t.u32(44))).sum();
    // The limit, and for each session its share of 8 MiB and the command in hand.
    assert!(invited <= (32 + 6 * (8 + 1)) << 20, "{} MiB invited", invited >> 20);
    for host in &mut hosts {
        host.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        host.release_data();
        let tag = host.start_disk_read(0, 512);
        host.wait(tag).good();
    }
}
