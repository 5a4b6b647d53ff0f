//! Digests, keep-alive, text, logout, ends, and what a hostile peer tries (RFC 7143, 7.8, 11.9 to 11.19).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::*;
use vtl_iscsi::config::Limits;
use vtl_iscsi::event::{Admission, CloseReason, Event};
use vtl_iscsi::login::LoginStatus;
use vtl_iscsi::pdu::{
    AsyncEvent, Header, LoginResponse, LogoutReason, LogoutResult, NopIn, NopOut, Opcode, RESERVED_TAG,
    Reject, RejectReason, ScsiRequest, TaskFunction,
};

// ---- digests -------------------------------------------------------------------------------------------------

#[test]
fn a_header_digest_is_the_one_of_the_standard() {
    // RFC 7143, appendix A.4 (RFC 3720, B.4): a SCSI Read(10) command PDU and its CRC.
    let example: [u8; 48] = [
        0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, //
        0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00,
        0x18, //
        0x28, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    ];
    let mut pair = Pair::new(Limits::default());
    pair.cmd_sn = 0x14;
    pair.exp_cmd_sn = 0x14;
    pair.max_cmd_sn = 0x14;
    pair.send_login(&format!(
        "InitiatorName={INITIATOR}\0TargetName={TARGET}\0SessionType=Normal\0HeaderDigest=CRC32C\0\
         InitialR2T=Yes\0ImmediateData=No\0MaxBurstLength=262144\0FirstBurstLength=65536\0MaxOutstandingR2T=1\0\
         DefaultTime2Wait=2\0DefaultTime2Retain=0\0"
    ));
    assert!(matches!(pair.target.poll_event(), Some(Event::Admit(_))));
    pair.target.admit(Admission::Accept { tsih: 1 });
    pair.one();
    assert!(matches!(pair.target.poll_event(), Some(Event::LoggedIn)));
    pair.header_digest = true;
    pair.send_bytes(&example).send_bytes(&[0x56, 0x3a, 0x96, 0xd9]);
    let command = pair.expect_command();
    assert_eq!((command.cdb[0], command.expected_len, command.read), (0x28, 0x400, true));
}

#[test]
fn a_session_with_digests_reads_and_writes() {
    let mut pair =
        Pair::logged_in(Setup::default().digests().key("InitialR2T", "No").key("ImmediateData", "Yes"));
    assert!(pair.header_digest && pair.data_digest);
    for len in [1u32, 2, 3, 4, 1021, 4096] {
        let data = pattern(len as usize);
        let write = pair.write(len);
        pair.send(write.encode(), &data);
        let command = pair.expect_command();
        assert_eq!(joined(&command.data_out), data);
        pair.good_write(command.task, u64::from(len));
        pair.expect_response();
        let read = pair.read(len);
        pair.send(read.encode(), b"");
        let task = pair.expect_command().task;
        let (front, back) = data.split_at(data.len() / 3);
        pair.good_read(task, vec![front.to_vec().into(), back.to_vec().into()]);
        assert_eq!(pair.one().data, data);
    }
}

#[test]
fn a_header_that_does_not_match_its_digest_drops_the_connection() {
    for at in 0..52 {
        let mut pair = Pair::logged_in(Setup::default().digests());
        let mut bytes = pair.bytes_of(plain_nop().encode(), b"");
        bytes[at] ^= 1 << (at % 8);
        // A larger AHS length only makes the header longer: the digest is looked for further on.
        bytes.resize(2000, 0);
        pair.send_bytes(&bytes);
        pair.expect_nothing_sent();
        pair.expect_closed(CloseReason::HeaderDigest);
        assert!(pair.wire.is_empty());
    }
}

fn plain_nop() -> NopOut {
    NopOut { immediate: true, lun: 0, task_tag: 5, transfer_tag: RESERVED_TAG, cmd_sn: 0, exp_stat_sn: 0 }
}

/// The same PDU with one bit of its data changed.
fn damaged(pair: &Pair, header: Header, data: &[u8]) -> (Vec<u8>, Header) {
    let mut bytes = pair.bytes_of(header, data);
    let last = bytes.len() - 6;
    bytes[last] ^= 0x10;
    let mut sent = header;
    assert!(sent.set_data_len(data.len()));
    (bytes, sent)
}

#[test]
fn a_command_whose_immediate_data_is_damaged_is_discarded_with_its_number() {
    // 7.8: a PDU that is no data PDU needs no further action; the initiator sends it again.
    let mut pair = Pair::logged_in(Setup::default().digests().key("ImmediateData", "Yes"));
    let write = pair.write(512);
    let (bytes, bad) = damaged(&pair, write.encode(), &pattern(512));
    pair.send_bytes(&bytes).expect_no_event();
    pair.expect_reject(RejectReason::DataDigestError, &bad);
    pair.send(write.encode(), &pattern(512));
    assert_eq!(joined(&pair.expect_command().data_out), pattern(512));
}

#[test]
fn damaged_data_out_is_rejected_and_ends_the_command_once_all_has_come() {
    let setup = Setup::default().digests().key("InitialR2T", "Yes").key("ImmediateData", "No");
    let mut pair = Pair::logged_in(setup);
    let write = pair.write(1024);
    pair.send(write.encode(), b"");
    let r2t = pair.expect_r2ts().remove(0);
    let first = pair.data_out(&write, r2t.transfer_tag, 0, 0, false);
    let (bytes, bad) = damaged(&pair, first.encode(), &pattern(512));
    pair.send_bytes(&bytes);
    pair.expect_reject(RejectReason::DataDigestError, &bad);
    let second = pair.data_out(&write, r2t.transfer_tag, 1, 512, true);
    pair.send(second.encode(), &pattern(512)).expect_no_event();
    let (response, sense) = pair.expect_response();
    assert_eq!(response.status, 0x02);
    assert_eq!((sense[2], sense[12], sense[13]), (0x0b, 0x47, 0x05));
    assert!(!pair.target.is_closed());
    assert_eq!(pair.target.session().unwrap().counters.digest_errors, 1);
}

#[test]
fn a_damaged_last_data_out_ends_the_command_at_once() {
    let setup = Setup::default().digests().key("InitialR2T", "No").key("ImmediateData", "No");
    let mut pair = Pair::logged_in(setup);
    let write = ScsiRequest { last: false, ..pair.write(512) };
    pair.send(write.encode(), b"");
    let data = pair.data_out(&write, RESERVED_TAG, 0, 0, true);
    let (bytes, _) = damaged(&pair, data.encode(), &pattern(512));
    pair.send_bytes(&bytes).expect_no_event();
    let opcodes: Vec<_> = pair.pdus().iter().map(Pdu::opcode).collect();
    assert_eq!(opcodes, [Opcode::Reject, Opcode::ScsiResponse]);
}

// ---- framing -------------------------------------------------------------------------------------------------

#[test]
fn a_data_segment_beyond_what_we_take_is_rejected_before_it_is_read() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.max_recv_data_segment_length = 8192));
    let mut header = plain_nop().encode();
    assert!(header.set_data_len(8193));
    pair.send_bytes(header.as_bytes());
    pair.expect_reject(RejectReason::ProtocolError, &header);
    pair.expect_closed(CloseReason::ProtocolError);
}

#[test]
fn the_bytes_that_are_missing_are_known_exactly() {
    let mut pair = Pair::logged_in(Setup::default().digests());
    assert_eq!(pair.target.bytes_needed(&pair.wire), 52);
    let nop = pair.nop(true);
    let bytes = pair.bytes_of(nop.encode(), &[7; 4097]);
    pair.send_bytes(&bytes[..20]);
    assert_eq!(pair.target.bytes_needed(&pair.wire), 32);
    pair.send_bytes(&bytes[20..48]);
    assert_eq!(pair.target.bytes_needed(&pair.wire), 4, "the header digest");
    pair.send_bytes(&bytes[48..52]);
    assert_eq!(pair.target.bytes_needed(&pair.wire), 4100 + 4, "data, pad and digest");
    pair.send_bytes(&bytes[52..1000]);
    assert_eq!(pair.target.bytes_needed(&pair.wire), 4100 + 4 - 948);
    pair.send_bytes(&bytes[1000..]);
    assert_eq!(pair.expect_nop_in().1, [7; 4097]);
}

#[test]
fn payload_is_not_copied_and_small_payload_does_not_hold_a_large_buffer() {
    let mut pair = Pair::logged_in(Setup::default().key("InitialR2T", "No").key("ImmediateData", "Yes"));
    for (len, is_shared) in [(65536usize, true), (100, false)] {
        let write = pair.write(u32::try_from(len).unwrap());
        let bytes = pair.bytes_of(write.encode(), &pattern(len));
        let mut buffer = bytes::BytesMut::with_capacity(1 << 20);
        buffer.extend_from_slice(&bytes);
        let range = buffer.as_ptr_range();
        pair.target.receive(&mut buffer, pair.instant());
        let command = pair.expect_command();
        assert_eq!(command.data_out.len(), 1);
        assert_eq!(range.contains(&command.data_out[0].as_ptr()), is_shared);
    }
}

// ---- NOP -----------------------------------------------------------------------------------------------------

#[test]
fn a_nop_out_is_echoed_with_its_data() {
    let mut pair = Pair::logged_in(Setup::default().key("MaxRecvDataSegmentLength", 512));
    for immediate in [true, false] {
        let nop = pair.nop(immediate);
        pair.send(nop.encode(), b"hello");
        assert_eq!(pair.expect_nop_in(), (NopIn::Echo { task_tag: nop.task_tag }, b"hello".to_vec()));
    }
    assert_eq!(pair.exp_cmd_sn, FIRST_CMD_SN.wrapping_add(1), "one was in the order");
    let nop = pair.nop(true);
    pair.send(nop.encode(), &[1; 600]);
    assert_eq!(pair.expect_nop_in().1, [1; 512], "no more than the initiator takes");
}

#[test]
fn a_nop_out_without_a_tag_wants_no_answer() {
    let mut pair = Pair::logged_in(Setup::default());
    let nop = NopOut { task_tag: RESERVED_TAG, ..pair.nop(true) };
    pair.send(nop.encode(), b"").expect_nothing_sent();
}

#[test]
fn a_silent_initiator_is_asked_and_then_dropped() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| {
        l.nop_interval_ns = 10 * S;
        l.nop_timeout_ns = 5 * S;
    }));
    pair.pass(10 * S - 1);
    pair.expect_nothing_sent();
    pair.pass(1);
    let (nop, _) = pair.expect_nop_in();
    let NopIn::Ping { transfer_tag } = nop else { panic!("{nop:?}") };
    assert_ne!(transfer_tag, RESERVED_TAG, "an answer is wanted");
    pair.pass(4 * S);
    let answer = NopOut { task_tag: RESERVED_TAG, transfer_tag, ..pair.nop(true) };
    pair.send(answer.encode(), b"").expect_nothing_sent();
    pair.pass(10 * S);
    pair.expect_nop_in();
    pair.pass(5 * S);
    pair.expect_nothing_sent();
    pair.expect_closed(CloseReason::Silent);
    assert_eq!(pair.target.poll_timeout(), None);
}

#[test]
fn half_a_pdu_is_no_sign_of_life_however_often_it_is_looked_at() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.send_bytes(&[0x40; 20]);
    for _ in 0..70 {
        pair.pass(S);
        pair.send_bytes(b"");
    }
    assert_eq!(pair.pdus().len(), 1, "one question");
    pair.expect_closed(CloseReason::Silent);
}

#[test]
fn an_initiator_that_takes_nothing_is_dropped() {
    let mut pair = Pair::logged_in(Setup::default());
    let read = pair.read(1 << 20);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![pattern(1 << 20).into()]);
    assert!(pair.poll_once());
    pair.pass(70 * S);
    pair.expect_closed(CloseReason::Silent);
}

#[test]
fn a_device_side_that_is_slow_is_not_held_against_the_initiator() {
    let setup = Setup::default().key("ImmediateData", "Yes").limits(|l| l.max_bytes_in_flight = 4096);
    let mut pair = Pair::logged_in(setup);
    let write = pair.write(4096);
    pair.send(write.encode(), &pattern(4096));
    let task = pair.expect_command().task;
    assert!(!pair.target.wants_input(), "so that no answer of the initiator could be heard");
    pair.pass(600 * S);
    pair.expect_nothing_sent().expect_no_event();
    pair.good_write(task, 4096);
    pair.expect_response();
}

#[test]
fn keep_alive_can_be_switched_off() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.nop_interval_ns = 0));
    assert_eq!(pair.target.poll_timeout(), None);
    pair.pass(3600 * S);
    pair.expect_nothing_sent().expect_no_event();
}

// ---- logout --------------------------------------------------------------------------------------------------

#[test]
fn logout_ends_the_session_and_its_commands() {
    for (reason, cid) in [(LogoutReason::CloseSession, 0), (LogoutReason::CloseConnection, 9)] {
        let mut pair = Pair::logged_in(Setup::default().key("InitialR2T", "Yes").key("ImmediateData", "No"));
        let running = pair.command(TEST_UNIT_READY);
        let write = pair.write(512);
        pair.send(running.encode(), b"").send(write.encode(), b"");
        let task = pair.expect_command().task;
        pair.expect_r2ts();
        let unseen = pair.immediate(TEST_UNIT_READY);
        let logout = pair.logout(reason, cid);
        pair.send(unseen.encode(), b"").send(logout.encode(), b"");
        assert!(
            matches!(pair.target.poll_event(), Some(Event::LoggedOut)),
            "the unseen command is withdrawn"
        );
        pair.expect_no_event();
        assert!(pair.target.is_closed());
        let response = pair.expect_logout();
        assert_eq!((response.task_tag, response.result), (logout.task_tag, LogoutResult::Success));
        pair.good(task);
        pair.expect_nothing_sent();
    }
}

#[test]
fn nothing_follows_a_logout_response() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.command_window = 1));
    let command = pair.command(TEST_UNIT_READY);
    pair.send(command.encode(), b"");
    let nop = pair.nop(true);
    pair.send(nop.encode(), b"");
    pair.expect_nop_in();
    assert_ne!(pair.max_cmd_sn, pair.exp_cmd_sn, "the initiator believes the window shut");
    let logout = pair.logout(LogoutReason::CloseSession, 0);
    pair.send(logout.encode(), b"");
    pair.expect_logout();
    pair.expect_nothing_sent();
}

#[test]
fn a_logout_in_order_waits_for_its_turn() {
    let mut pair = Pair::logged_in(Setup::default());
    let command = pair.command(TEST_UNIT_READY);
    let logout =
        vtl_iscsi::pdu::LogoutRequest { immediate: false, ..pair.logout(LogoutReason::CloseSession, 0) };
    pair.send(logout.encode(), b"").expect_nothing_sent();
    pair.send(command.encode(), b"");
    assert_eq!(pair.expect_logout().result, LogoutResult::Success);
}

#[test]
fn a_logout_that_cannot_be_served_says_so_and_the_session_goes_on() {
    let cases = [
        (LogoutReason::CloseConnection, 8, LogoutResult::CidNotFound),
        (LogoutReason::RemoveForRecovery, 9, LogoutResult::RecoveryNotSupported),
    ];
    for (reason, cid, result) in cases {
        let mut pair = Pair::logged_in(Setup::default());
        let logout = pair.logout(reason, cid);
        pair.send(logout.encode(), b"").expect_no_event();
        assert_eq!(pair.expect_logout().result, result);
        assert!(!pair.target.is_closed());
    }
}

// ---- text ----------------------------------------------------------------------------------------------------

#[test]
fn send_targets_on_a_discovery_session() {
    let mut pair = Pair::discovery(Setup::default());
    let request = pair.text(true, false, RESERVED_TAG);
    pair.send(request.encode(), b"SendTargets=All\0");
    let (response, data) = pair.expect_text();
    assert_eq!((response.last, response.continues, response.transfer_tag), (true, false, RESERVED_TAG));
    let expected = format!("TargetName={TARGET}\0TargetAddress=127.0.0.1:3260,1\0");
    assert_eq!(String::from_utf8(data).unwrap(), expected);
}

#[test]
fn a_discovery_session_serves_nothing_else() {
    let mut pair = Pair::discovery(Setup::default());
    let command = pair.command(TEST_UNIT_READY).encode();
    let reset = pair.task_request(TaskFunction::TargetColdReset, 0).encode();
    for bad in [command, reset] {
        pair.send(bad, b"").expect_no_event();
        pair.expect_reject(RejectReason::CommandNotSupported, &bad);
    }
    let logout = pair.logout(LogoutReason::CloseSession, 0);
    pair.send(logout.encode(), b"");
    assert_eq!(pair.expect_logout().result, LogoutResult::Success);
}

#[test]
fn an_idle_discovery_session_is_dropped_without_a_question() {
    let mut pair = Pair::discovery(Setup::default());
    pair.pass(60 * S);
    pair.expect_nothing_sent();
    pair.expect_closed(CloseReason::Silent);
}

#[test]
fn a_text_may_come_in_pieces() {
    let mut pair = Pair::discovery(Setup::default());
    let first = pair.text(false, true, RESERVED_TAG);
    pair.send(first.encode(), b"SendTar");
    let (response, data) = pair.expect_text();
    assert_eq!((response.last, response.continues, data.len()), (false, false, 0));
    assert_ne!(response.transfer_tag, RESERVED_TAG);
    let second = pair.text(true, false, response.transfer_tag);
    pair.send(second.encode(), b"gets=All\0");
    let (response, data) = pair.expect_text();
    assert!(response.last && data.starts_with(b"TargetName="));
}

#[test]
fn a_long_answer_goes_in_pieces() {
    let mut pair = Pair::discovery(Setup::default().key("MaxRecvDataSegmentLength", 512));
    let long: String = (0..40).map(|i| format!("X-invalid.example.key{i}=1\0")).collect();
    let first = pair.text(true, false, RESERVED_TAG);
    pair.send(first.encode(), long.as_bytes());
    let mut answer = Vec::new();
    let mut pieces = 0;
    loop {
        let (response, data) = pair.expect_text();
        answer.extend(data);
        pieces += 1;
        assert_eq!(response.last, !response.continues);
        if response.last {
            assert_eq!(response.transfer_tag, RESERVED_TAG);
            break;
        }
        let next = pair.text(true, false, response.transfer_tag);
        pair.send(next.encode(), b"");
    }
    let expected: String = (0..40).map(|i| format!("X-invalid.example.key{i}=NotUnderstood\0")).collect();
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
    assert!(pieces >= 3);
}

#[test]
fn a_text_that_breaks_the_rules_is_rejected_and_the_next_one_is_served() {
    let mut pair = Pair::discovery(Setup::default().limits(|l| l.max_text_bytes = 8192));
    let both = pair.text(true, true, RESERVED_TAG);
    let stray = pair.text(true, false, 0x1234);
    let none_open = pair.text(true, false, 1);
    let garbage = pair.text(true, false, RESERVED_TAG);
    let cases = [
        (both, &b""[..], RejectReason::InvalidPduField),
        (stray, b"", RejectReason::InvalidPduField),
        (none_open, b"", RejectReason::ProtocolError),
        (garbage, b"no pair\0", RejectReason::InvalidPduField),
    ];
    for (request, data, reason) in cases {
        pair.send(request.encode(), data);
        let mut bad = request.encode();
        assert!(bad.set_data_len(data.len()));
        pair.expect_reject(reason, &bad);
    }
    let mut transfer_tag = RESERVED_TAG;
    let endless = loop {
        let request = pair.text(false, true, transfer_tag);
        pair.send(request.encode(), &[b'a'; 1024]);
        let pdu = pair.one();
        match pdu.opcode() {
            Opcode::TextResponse => transfer_tag = 1,
            other => break other,
        }
    };
    assert_eq!(endless, Opcode::Reject);
    let request = pair.text(true, false, RESERVED_TAG);
    pair.send(request.encode(), b"SendTargets=All\0");
    assert!(pair.expect_text().0.last);
}

#[test]
fn a_new_max_recv_data_segment_length_holds_from_then_on() {
    let mut pair = Pair::logged_in(Setup::default().key("MaxRecvDataSegmentLength", 512));
    let request = pair.text(true, false, RESERVED_TAG);
    pair.send(request.encode(), b"MaxRecvDataSegmentLength=4096\0");
    pair.expect_text();
    let read = pair.read(4096);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![pattern(4096).into()]);
    assert_eq!(pair.one().data.len(), 4096);
}

// ---- Reject --------------------------------------------------------------------------------------------------

#[test]
fn what_nobody_serves_is_rejected() {
    for (opcode, flags, reason) in [
        (0x10u8, 0x80u8, RejectReason::SnackReject),
        (0x10, 0x8f, RejectReason::InvalidPduField),
        (0x1c, 0x80, RejectReason::CommandNotSupported),
        (0x21, 0x80, RejectReason::CommandNotSupported),
        (0x3f, 0x80, RejectReason::CommandNotSupported),
        (0x46, 0x83, RejectReason::InvalidPduField),
    ] {
        let mut pair = Pair::logged_in(Setup::default());
        let mut bytes = [0; 48];
        (bytes[0], bytes[1]) = (opcode, flags);
        pair.send_bytes(&bytes).expect_no_event();
        pair.expect_reject(reason, &Header::from_bytes(bytes));
        assert!(!pair.target.is_closed());
    }
}

#[test]
fn a_login_request_in_full_feature_phase_ends_the_connection() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.send_login("InitiatorName=iqn.2026-01.invalid.example:host\0");
    let pdu = pair.one();
    assert_eq!(Reject::decode(&pdu.header), Some(Reject { reason: RejectReason::ProtocolError }));
    pair.expect_closed(CloseReason::ProtocolError);
}

#[test]
fn early_pdus_with_much_data_end_the_connection() {
    let mut pair = Pair::logged_in(Setup::default());
    let _missing = pair.command(TEST_UNIT_READY);
    for _ in 0..3 {
        let nop = pair.nop(false);
        pair.send(nop.encode(), &[0; 30_000]);
    }
    pair.expect_closed(CloseReason::ProtocolError);
}

// ---- login, from outside -------------------------------------------------------------------------------------

#[test]
fn a_login_that_takes_too_long_is_dropped_without_an_event() {
    let mut pair = Pair::new(Limits::default());
    pair.send_bytes(&[0x43]);
    pair.pass(15 * S);
    assert!(pair.target.is_closed());
    pair.expect_no_event().expect_nothing_sent();
}

#[test]
fn a_pdu_that_is_no_login_request_is_refused_before_the_login() {
    let mut pair = Pair::new(Limits::default());
    let nop = pair.nop(true);
    pair.send(nop.encode(), b"");
    let response = LoginResponse::decode(&pair.one().header);
    assert_eq!((response.status_class, response.status_detail), (0x02, 0x0b));
    assert!(pair.target.is_closed());
}

#[test]
fn a_refused_admission_is_told_and_ends_the_connection() {
    let mut pair = Pair::new(Limits::default());
    pair.send_login(&format!(
        "InitiatorName={INITIATOR}\0TargetName={TARGET}\0SessionType=Normal\0MaxBurstLength=262144\0\
         FirstBurstLength=65536\0InitialR2T=Yes\0ImmediateData=Yes\0MaxOutstandingR2T=1\0DefaultTime2Wait=2\0\
         DefaultTime2Retain=0\0"
    ));
    assert!(matches!(pair.target.poll_event(), Some(Event::Admit(_))));
    assert!(!pair.target.wants_input());
    pair.expect_nothing_sent();
    pair.target.admit(Admission::Refuse(LoginStatus::OutOfResources));
    let response = LoginResponse::decode(&pair.one().header);
    assert_eq!((response.status_class, response.status_detail), (0x03, 0x02));
    assert!(pair.target.is_closed());
    assert!(matches!(pair.target.poll_event(), Some(Event::Closed(CloseReason::LoginFailed))));
    pair.expect_no_event();
}

// ---- ends from outside ---------------------------------------------------------------------------------------

#[test]
fn a_shutdown_asks_for_a_logout_and_serves_on_until_it_comes() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.target.close(CloseReason::Shutdown);
    assert_eq!(pair.expect_async().event, AsyncEvent::LogoutRequested { within_s: 5 });
    let command = pair.command(TEST_UNIT_READY);
    pair.send(command.encode(), b"");
    let task = pair.expect_command().task;
    pair.good(task);
    pair.expect_response();
    let logout = pair.logout(LogoutReason::CloseSession, 0);
    pair.send(logout.encode(), b"");
    assert!(matches!(pair.target.poll_event(), Some(Event::LoggedOut)));
    pair.expect_logout();
}

#[test]
fn an_initiator_that_does_not_log_out_is_dropped() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.target.close(CloseReason::Shutdown);
    pair.expect_async();
    pair.pass(5 * S);
    pair.expect_closed(CloseReason::LogoutOverdue);
}

#[test]
fn a_second_shutdown_ends_at_once() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.target.close(CloseReason::Shutdown);
    pair.target.close(CloseReason::Shutdown);
    assert_eq!(pair.pdus().len(), 2);
    pair.expect_closed(CloseReason::Shutdown);
}

#[test]
fn a_session_whose_target_goes_is_told() {
    let mut pair = Pair::logged_in(Setup::default());
    pair.target.close(CloseReason::TargetRemoved);
    assert_eq!(pair.expect_async().event, AsyncEvent::SessionDropped { time2wait_s: 0, time2retain_s: 0 });
    pair.expect_closed(CloseReason::TargetRemoved);
    pair.target.close(CloseReason::TargetRemoved);
    pair.expect_no_event().expect_nothing_sent();
}

#[test]
fn a_displaced_session_ends_at_once() {
    let mut pair = Pair::logged_in(Setup::default());
    let command = pair.command(TEST_UNIT_READY);
    pair.send(command.encode(), b"");
    pair.target.close(CloseReason::Reinstated);
    pair.expect_nothing_sent();
    pair.expect_closed(CloseReason::Reinstated);
}

#[test]
fn the_session_can_be_looked_at() {
    let mut pair = Pair::logged_in(Setup::default().key("MaxRecvDataSegmentLength", 4096));
    let read = pair.read(100);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    assert_eq!(pair.target.session().unwrap().commands, 1);
    pair.good_read(task, vec![pattern(100).into()]);
    let session = pair.target.session().unwrap();
    assert_eq!((session.login.initiator.as_str(), session.login.tsih, session.login.cid), (INITIATOR, 7, 9));
    assert_eq!((session.counters.commands, session.counters.bytes_out, session.commands), (1, 100, 0));
    assert_eq!(session.params.max_recv_theirs, 4096);
}
