//! Sessions: discovery, reinstatement, handles, logout, what a lost nexus leaves behind.

use rustix::process::Signal;

use crate::support::scsi::{CHANGER, DRIVE, RESERVE, REWIND, TEST_UNIT_READY};
use crate::support::{DIAG, Initiator, LIB0, Login, Server, eventually, initiator::LoginError};

const RESERVATION_CONFLICT: u8 = 0x18;

fn session_count(server: &Server) -> usize {
    server.get("/iscsi/sessions").as_array().unwrap().len()
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn discovery_names_every_target_or_the_one_asked_for() {
    let server = Server::start(&["--set", "iscsi.diagnostic_disk=16m"]);
    let address = format!("{},1", server.portal);
    let of = |target: &str| [pair("TargetName", target), pair("TargetAddress", &address)];
    let mut discovery = Initiator::login(server.portal, &Login::discovery()).unwrap();
    let all = discovery.send_targets("All");
    for target in [LIB0, DIAG] {
        assert!(all.windows(2).any(|two| two == of(target)), "{target} in {all:?}");
    }
    assert_eq!(all.len(), 4);
    assert_eq!(discovery.send_targets(DIAG), of(DIAG));
    assert_eq!(discovery.send_targets("iqn.2026-11.internal.vtl:nobody"), []);
    assert_eq!(discovery.logout(), 0);
    assert!(discovery.is_closed_by_peer());
}

#[test]
fn a_normal_session_that_names_no_target_hears_of_its_own() {
    let server = Server::start(&["--set", "iscsi.diagnostic_disk=16m"]);
    let mut host = server.session(1);
    let own = [pair("TargetName", LIB0), pair("TargetAddress", &format!("{},1", server.portal))];
    assert_eq!(host.send_targets(""), own);
    assert_eq!(host.send_targets(LIB0), own);
    assert_eq!(host.attentions(CHANGER), [(0x29, 0x00)]);
}

#[test]
fn a_new_login_of_the_same_port_ends_the_old_session_and_its_reservation() {
    let server = Server::start(&[]);
    let mut old = server.session(1);
    let mut other = server.session(2);
    old.attentions(DRIVE);
    other.attentions(DRIVE);
    old.run(DRIVE, &RESERVE, 0, &[]).good();
    assert_eq!(other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).status, RESERVATION_CONFLICT);

    let mut new = server.session(1);
    assert!(old.is_closed_by_peer());
    assert_ne!(new.tsih, old.tsih);
    // 29h: power on, reset or bus device reset occurred, or one of its kinds such as nexus loss.
    let seen = new.attentions(DRIVE);
    assert_eq!(seen.first().map(|(asc, _)| *asc), Some(0x29), "{seen:02x?}");
    assert_eq!(other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).check().0, 0x02, "not ready, and no conflict");
    assert_eq!(session_count(&server), 2);
}

#[test]
fn commands_of_a_displaced_session_die_with_it() {
    let server = Server::start(&["--set", "cartridge.size=1g"]);
    let mut old = server.session(1);
    old.load(1, 0);
    let block = vec![0x5a; 65_536];
    for _ in 0..24 {
        old.start_write(DRIVE, &block);
    }
    let mut new = server.session(1);
    assert!(old.is_closed_by_peer());
    new.attentions(DRIVE);
    let (before, _) = new.position(DRIVE);
    assert!(before <= 24);
    new.write(DRIVE, &block).good();
    assert_eq!(new.position(DRIVE).0, before + 1, "nothing of the old session comes later");
}

#[test]
fn a_handle_that_names_no_session_is_refused() {
    let server = Server::start(&[]);
    let login = Login { tsih: 0x7777, ..Login::to(LIB0).isid(9) };
    // 0x020a: session does not exist.
    assert!(matches!(Initiator::login(server.portal, &login), Err(LoginError::Refused(0x02, 0x0a))));
    assert_eq!(session_count(&server), 0);
}

#[test]
fn the_same_connection_may_take_its_place_again_and_another_one_may_not_join() {
    let server = Server::start(&[]);
    let mut first = server.session(1);
    let join = Login { tsih: first.tsih, cid: 2, ..Login::to(LIB0).isid(1) };
    match Initiator::login(server.portal, &join) {
        // 0x0206: too many connections; 0x0208: cannot be included in this session.
        Err(LoginError::Refused(0x02, 0x06 | 0x08)) => {}
        other => panic!("{:?}", other.map(|_| "a second connection")),
    }
    first.attentions(CHANGER);
    let again = Login { tsih: first.tsih, ..Login::to(LIB0).isid(1) };
    let mut second = Initiator::login(server.portal, &again).unwrap();
    assert!(first.is_closed_by_peer());
    assert_eq!(second.tsih, first.tsih);
    second.attentions(CHANGER);
    second.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
}

#[test]
fn a_target_that_does_not_exist_is_refused_as_not_found() {
    let server = Server::start(&[]);
    let login = Login::to("iqn.2026-11.internal.vtl:nobody");
    assert!(matches!(Initiator::login(server.portal, &login), Err(LoginError::Refused(0x02, 0x03))));
}

#[test]
fn logout_is_answered_closes_and_leaves_nothing() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    let mut other = server.session(2);
    host.attentions(DRIVE);
    other.attentions(DRIVE);
    host.run(DRIVE, &RESERVE, 0, &[]).good();
    assert_eq!(host.logout(), 0);
    assert!(host.is_closed_by_peer());
    eventually("one session is left", || (session_count(&server) == 1).then_some(()));
    assert_ne!(other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).status, RESERVATION_CONFLICT);
}

#[test]
fn a_lost_connection_gives_the_reservation_back() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.attentions(DRIVE);
    host.run(DRIVE, &RESERVE, 0, &[]).good();
    drop(host);
    let mut other = server.session(2);
    other.attentions(DRIVE);
    eventually("the reservation is gone", || {
        (other.run(DRIVE, &TEST_UNIT_READY, 0, &[]).status != RESERVATION_CONFLICT).then_some(())
    });
}

#[test]
fn ipv6_loopback_serves_and_is_named_in_brackets() {
    let server = Server::start(&["--listen", "[::1]:0"]);
    assert!(server.portal.is_ipv6());
    let mut discovery = Initiator::login(server.portal, &Login::discovery()).unwrap();
    let address = format!("[::1]:{},1", server.portal.port());
    assert_eq!(discovery.send_targets("All"), [pair("TargetName", LIB0), pair("TargetAddress", &address)]);
    let mut host = server.session(1);
    host.load(1, 0);
}

#[test]
fn a_clean_stop_ends_sessions_and_the_program_with_code_zero() {
    let mut server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    host.write(DRIVE, b"not yet on disk").good();
    assert_eq!(server.stop(), Some(0));
    assert!(host.is_closed_by_peer());
    server.start_again();
    let mut host = server.session(1);
    host.attentions(DRIVE);
    assert_eq!(host.position(DRIVE).0, 1, "a clean stop makes everything durable");
}

#[test]
fn a_signal_that_comes_with_the_line_ready_finds_its_handler() {
    let mut server = Server::start(&[]);
    for _ in 0..5 {
        server.signal(Signal::HUP);
        assert_eq!(server.stop(), Some(0), "neither signal has its default effect");
        server.start_again();
    }
}

#[test]
fn names_mean_the_same_in_any_case() {
    let server = Server::start(&[]);
    let shouted = Login::to(&LIB0.to_uppercase().replace("IQN", "iqn"));
    let mut host = Initiator::login(server.portal, &shouted).unwrap();
    host.attentions(CHANGER);
    host.run(CHANGER, &TEST_UNIT_READY, 0, &[]).good();
    let same = Login::to(LIB0).named("iqn.2026-11.TEST.example:HOST");
    let mut again = Initiator::login(server.portal, &same).unwrap();
    assert!(host.is_closed_by_peer(), "the same initiator port");
    again.attentions(CHANGER);
    assert_eq!(session_count(&server), 1);
}

#[test]
fn a_persistent_reservation_that_was_to_last_outlives_a_kill() {
    let mut server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    let mut list = [0_u8; 24];
    list[8..16].copy_from_slice(&0x1122_3344_5566_7788_u64.to_be_bytes());
    list[20] = 0x01; // APTPL
    // REGISTER, then RESERVE as exclusive access.
    host.run(DRIVE, &[0x5f, 0x00, 0, 0, 0, 0, 0, 0, 24, 0], 0, &list).good();
    list.copy_within(8..16, 0);
    list[8..].fill(0);
    host.run(DRIVE, &[0x5f, 0x01, 0x03, 0, 0, 0, 0, 0, 24, 0], 0, &list).good();
    server.kill();
    server.start_again();
    let mut other = server.session(2);
    other.attentions(DRIVE);
    assert_eq!(other.run(DRIVE, &REWIND, 0, &[]).status, RESERVATION_CONFLICT);
    let mut host = server.session(1);
    host.attentions(DRIVE);
    host.run(DRIVE, &REWIND, 0, &[]).good();
    // READ KEYS: one key of eight bytes, ours.
    let keys = other.run(DRIVE, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0], 64, &[]).good();
    assert_eq!(keys[4..16], [0, 0, 0, 8, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
}
