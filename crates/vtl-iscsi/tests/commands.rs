//! Commands, their order and their data (RFC 7143, 4.2.2, 4.2.4, 11.3, 11.4, 11.7, 11.8).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use bytes::Bytes;
use common::*;
use vtl_iscsi::event::{CloseReason, Outcome};
use vtl_iscsi::pdu::{
    DataIn, DataInStatus, DataOut, Header, NopIn, Opcode, R2t, RESERVED_TAG, RejectReason, Residual,
    ScsiRequest,
};

fn with_r2t() -> Setup {
    Setup::default().key("InitialR2T", "Yes").key("ImmediateData", "No")
}

fn unsolicited() -> Setup {
    Setup::default().key("InitialR2T", "No").key("ImmediateData", "Yes")
}

// ---- order ---------------------------------------------------------------------------------------------------

#[test]
fn commands_are_handed_out_in_order_and_answered() {
    let mut pair = Pair::logged_in(Setup::default());
    for lun in [0, 1, 2] {
        let request = ScsiRequest { lun: lun << 48, ..pair.command(TEST_UNIT_READY) };
        pair.send(request.encode(), b"");
        let command = pair.expect_command();
        assert_eq!((command.lun, command.immediate), (lun << 48, false));
        pair.good(command.task);
        let (response, sense) = pair.expect_response();
        assert_eq!((response.task_tag, response.response, response.status), (request.task_tag, 0, 0));
        assert_eq!((response.residual, sense.len()), (Residual::None, 0));
    }
    assert_eq!(pair.exp_cmd_sn, FIRST_CMD_SN.wrapping_add(3), "three commands, around the wrap");
}

#[test]
fn a_command_beyond_max_cmd_sn_is_ignored() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.command_window = 4));
    let beyond = ScsiRequest { cmd_sn: FIRST_CMD_SN.wrapping_add(4), ..pair.command(TEST_UNIT_READY) };
    pair.send(beyond.encode(), b"").expect_no_event().expect_nothing_sent();
}

#[test]
fn a_command_below_exp_cmd_sn_is_ignored() {
    let mut pair = Pair::logged_in(Setup::default());
    let first = pair.command(TEST_UNIT_READY);
    pair.send(first.encode(), b"");
    pair.expect_command();
    let again = ScsiRequest { cmd_sn: first.cmd_sn, ..pair.command(TEST_UNIT_READY) };
    pair.send(again.encode(), b"").expect_no_event().expect_nothing_sent();
}

#[test]
fn a_retry_of_a_command_that_is_with_us_is_ignored() {
    let mut pair = Pair::logged_in(Setup::default());
    let command = pair.command(TEST_UNIT_READY);
    pair.send(command.encode(), b"");
    let task = pair.expect_command().task;
    pair.send(command.encode(), b"").expect_no_event().expect_nothing_sent();
    pair.good(task);
    pair.expect_response();
}

#[test]
fn answers_count_as_unacknowledged_until_the_initiator_expects_the_next() {
    let mut pair = Pair::logged_in(Setup::default());
    for _ in 0..3 {
        let command = ScsiRequest { exp_stat_sn: 1, ..pair.command(TEST_UNIT_READY) };
        pair.send(command.encode(), b"");
        let task = pair.expect_command().task;
        pair.good(task);
        pair.expect_response();
    }
    let unacknowledged = |pair: &Pair| pair.target.session().unwrap().unacknowledged;
    assert_eq!(unacknowledged(&pair), 3);
    let never_sent = ScsiRequest { exp_stat_sn: 5, ..pair.command(TEST_UNIT_READY) };
    pair.send(never_sent.encode(), b"");
    assert_eq!(unacknowledged(&pair), 3);
    let all = ScsiRequest { exp_stat_sn: 4, ..pair.command(TEST_UNIT_READY) };
    pair.send(all.encode(), b"");
    assert_eq!(unacknowledged(&pair), 0);
}

#[test]
fn data_out_of_an_ignored_command_is_swallowed() {
    let mut pair = Pair::logged_in(unsolicited());
    let low = ScsiRequest { cmd_sn: FIRST_CMD_SN.wrapping_sub(1), last: false, ..pair.write(4096) };
    pair.send(low.encode(), b"");
    let data = pair.data_out(&low, RESERVED_TAG, 0, 0, true);
    pair.send(data.encode(), &[1; 4096]).expect_no_event().expect_nothing_sent();
    assert!(!pair.target.is_closed());
}

#[test]
fn commands_out_of_order_are_held_and_ordered() {
    let mut pair = Pair::logged_in(Setup::default());
    let requests: Vec<_> = (0..4).map(|_| pair.command(TEST_UNIT_READY)).collect();
    for early in [3, 1, 2] {
        pair.send(requests[early].encode(), b"").expect_no_event();
    }
    let duplicate = ScsiRequest { task_tag: 0x999, ..requests[2] };
    pair.send(duplicate.encode(), b"").expect_no_event().expect_nothing_sent();
    pair.send(requests[0].encode(), b"");
    let tasks: Vec<_> = (0..4).map(|_| pair.expect_command().task).collect();
    pair.expect_no_event();
    tasks.iter().for_each(|task| pair.good(*task));
    let tags: Vec<u32> = pair.pdus().iter().map(|pdu| pdu.header.task_tag()).collect();
    assert_eq!(tags, requests.iter().map(|r| r.task_tag).collect::<Vec<_>>());
}

#[test]
fn an_immediate_command_does_not_wait_for_the_gap() {
    let mut pair = Pair::logged_in(Setup::default());
    let _missing = pair.command(TEST_UNIT_READY);
    let held = pair.command(TEST_UNIT_READY);
    let urgent = pair.immediate([0x12; 16]);
    pair.send(held.encode(), b"").send(urgent.encode(), b"");
    let command = pair.expect_command();
    assert_eq!((command.cdb[0], command.immediate), (0x12, true));
    pair.expect_no_event();
}

#[test]
fn too_many_immediate_commands_are_rejected() {
    let mut pair = Pair::logged_in(Setup::default());
    for _ in 0..16 {
        let urgent = pair.immediate(TEST_UNIT_READY);
        pair.send(urgent.encode(), b"");
        pair.expect_command();
    }
    let one_more = pair.immediate(TEST_UNIT_READY).encode();
    pair.send(one_more, b"").expect_no_event();
    pair.expect_reject(RejectReason::TooManyImmediate, &one_more);
}

#[test]
fn the_window_shuts_and_its_opening_is_told() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.command_window = 2));
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let request = pair.command(TEST_UNIT_READY);
            pair.send(request.encode(), b"");
            pair.expect_command().task
        })
        .collect();
    let urgent = pair.nop(true);
    pair.send(urgent.encode(), b"");
    pair.expect_nop_in();
    assert_eq!(pair.max_cmd_sn.wrapping_add(1), pair.exp_cmd_sn, "shut");
    pair.good(tasks[0]);
    pair.expect_response();
    assert_eq!(pair.max_cmd_sn, pair.exp_cmd_sn, "one place");
    pair.good(tasks[1]);
    pair.expect_response();
    assert_eq!(pair.max_cmd_sn, pair.exp_cmd_sn.wrapping_add(1), "two places");
}

#[test]
fn a_write_that_waits_for_data_holds_back_later_commands_but_not_exp_cmd_sn() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = pair.write(512);
    let later = pair.command(TEST_UNIT_READY);
    pair.send(write.encode(), b"").send(later.encode(), b"").expect_no_event();
    let r2ts = pair.expect_r2ts();
    assert_eq!(pair.exp_cmd_sn, FIRST_CMD_SN.wrapping_add(2));
    pair.answer_r2t(&r2ts[0], &pattern(512), 512);
    assert_eq!(pair.expect_command().cdb, write.cdb);
    assert_eq!(pair.expect_command().cdb, later.cdb);
}

#[test]
fn a_tag_in_use_is_rejected_and_its_number_is_free_still() {
    let mut pair = Pair::logged_in(Setup::default());
    let first = pair.command(TEST_UNIT_READY);
    pair.send(first.encode(), b"");
    let task = pair.expect_command().task;
    let second = ScsiRequest { task_tag: first.task_tag, ..pair.command(TEST_UNIT_READY) };
    pair.send(second.encode(), b"").expect_no_event();
    pair.expect_reject(RejectReason::TaskInProgress, &second.encode());
    pair.good(task);
    pair.expect_response();
    pair.send(second.encode(), b"");
    pair.expect_command();
}

#[test]
fn a_stale_completion_is_ignored() {
    let mut pair = Pair::logged_in(Setup::default());
    let request = pair.command(TEST_UNIT_READY);
    pair.send(request.encode(), b"");
    let task = pair.expect_command().task;
    pair.good(task);
    pair.expect_response();
    pair.good(task);
    pair.expect_nothing_sent();
}

// ---- data from the initiator ---------------------------------------------------------------------------------

#[test]
fn immediate_data_arrives_with_its_command() {
    let mut pair = Pair::logged_in(unsolicited());
    let data = pattern(4095);
    let write = pair.write(4095);
    pair.send(write.encode(), &data);
    let command = pair.expect_command();
    assert_eq!((command.write, command.expected_len), (true, 4095));
    assert_eq!(joined(&command.data_out), data);
    pair.good_write(command.task, 4095);
    assert_eq!(pair.expect_response().0.residual, Residual::None);
}

#[test]
fn data_in_tiny_pieces_is_put_together_and_large_pieces_stay_as_they_came() {
    let mut pair = Pair::logged_in(unsolicited().key("FirstBurstLength", 65_536));
    let data = pattern(30_000);
    let write = ScsiRequest { last: false, ..pair.write(30_000) };
    pair.send(write.encode(), &data[..1]);
    let mut ends: Vec<usize> = (2..=5_000).collect();
    ends.push(20_000);
    ends.extend(20_001..=24_000);
    ends.push(30_000);
    let mut at = 1;
    for (data_sn, end) in (0..).zip(ends) {
        let piece = pair.data_out(&write, RESERVED_TAG, data_sn, at as u32, end == 30_000);
        pair.send(piece.encode(), &data[at..end]);
        at = end;
    }
    let command = pair.expect_command();
    let lengths: Vec<usize> = command.data_out.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [5_000, 15_000, 10_000], "the last is small, and joins those before it");
    assert_eq!(joined(&command.data_out), data);
}

#[test]
fn immediate_and_unsolicited_data_fill_the_first_burst_and_r2ts_the_rest() {
    let setup =
        unsolicited().key("FirstBurstLength", 4096).key("MaxBurstLength", 8192).key("MaxOutstandingR2T", 2);
    let mut pair = Pair::logged_in(setup);
    let data = pattern(30_000);
    let write = ScsiRequest { last: false, ..pair.write(30_000) };
    pair.send(write.encode(), &data[..1024]).expect_nothing_sent();
    let first = pair.data_out(&write, RESERVED_TAG, 0, 1024, false);
    let second = pair.data_out(&write, RESERVED_TAG, 1, 3000, true);
    pair.send(first.encode(), &data[1024..3000]).expect_nothing_sent();
    pair.send(second.encode(), &data[3000..4096]);
    let mut r2ts = pair.expect_r2ts();
    let asked = |r: &R2t| (r.r2t_sn, r.offset, r.len, r.task_tag);
    assert_eq!(
        r2ts.iter().map(asked).collect::<Vec<_>>(),
        [(0, 4096, 8192, write.task_tag), (1, 12288, 8192, write.task_tag)]
    );
    assert_ne!(r2ts[0].transfer_tag, r2ts[1].transfer_tag);
    let first = r2ts.remove(0);
    pair.answer_r2t(&first, &data, 3000);
    r2ts.extend(pair.expect_r2ts());
    assert_eq!(asked(&r2ts[1]), (2, 20480, 8192, write.task_tag));
    let second = r2ts.remove(0);
    pair.answer_r2t(&second, &data, 8192);
    r2ts.extend(pair.expect_r2ts());
    assert_eq!(asked(&r2ts[1]), (3, 28672, 1328, write.task_tag));
    pair.expect_no_event();
    r2ts.iter().for_each(|r2t| pair.answer_r2t(r2t, &data, 8192));
    assert_eq!(joined(&pair.expect_command().data_out), data);
    pair.expect_nothing_sent();
}

#[test]
fn max_outstanding_r2t_is_kept() {
    for count in [1, 4] {
        let setup = with_r2t()
            .key("MaxOutstandingR2T", count)
            .key("MaxBurstLength", 512)
            .key("FirstBurstLength", 512);
        let mut pair = Pair::logged_in(setup);
        let write = pair.write(5120);
        pair.send(write.encode(), b"");
        assert_eq!(pair.expect_r2ts().len(), count);
    }
}

/// Sends what is wrong and expects CHECK CONDITION with this ASC and ASCQ (RFC 7143, 11.4.7.2), after everything
/// that was promised has come.
#[track_caller]
fn expect_condition(pair: &mut Pair, write: &ScsiRequest, asc: [u8; 2]) {
    pair.expect_no_event();
    let (response, sense) = pair.expect_response();
    assert_eq!((response.task_tag, response.status), (write.task_tag, 0x02));
    assert_eq!(sense, [0x70, 0, 0x0b, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc[0], asc[1], 0, 0, 0, 0]);
    assert_eq!(response.residual, Residual::Underflow(write.expected_len));
    let next = pair.command(TEST_UNIT_READY);
    pair.send(next.encode(), b"");
    pair.expect_command();
}

#[test]
fn immediate_data_that_was_not_agreed_upon_ends_the_command() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = pair.write(512);
    pair.send(write.encode(), &[1; 512]);
    expect_condition(&mut pair, &write, [0x0c, 0x0c]);
}

#[test]
fn unsolicited_data_that_was_not_agreed_upon_ends_the_command_after_its_last_data() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = ScsiRequest { last: false, ..pair.write(512) };
    pair.send(write.encode(), b"").expect_nothing_sent();
    let data = pair.data_out(&write, RESERVED_TAG, 0, 0, true);
    pair.send(data.encode(), &[1; 512]);
    expect_condition(&mut pair, &write, [0x0c, 0x0c]);
}

#[test]
fn more_than_the_first_burst_ends_the_command() {
    let mut pair = Pair::logged_in(unsolicited().key("FirstBurstLength", 1024));
    let write = ScsiRequest { last: false, ..pair.write(4096) };
    pair.send(write.encode(), &[1; 1000]);
    let data = pair.data_out(&write, RESERVED_TAG, 0, 1000, true);
    pair.send(data.encode(), &[1; 25]);
    expect_condition(&mut pair, &write, [0x0c, 0x0d]);
    let write = pair.write(4096);
    pair.send(write.encode(), &[1; 1025]);
    let _ = pair.expect_response();
}

#[test]
fn more_immediate_data_than_the_command_expects_ends_the_command() {
    let mut pair = Pair::logged_in(unsolicited());
    let write = pair.write(100);
    pair.send(write.encode(), &[1; 104]);
    expect_condition(&mut pair, &write, [0x0c, 0x0d]);
}

#[test]
fn an_r2t_answered_with_less_ends_the_command() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = pair.write(1024);
    pair.send(write.encode(), b"");
    let r2t = pair.expect_r2ts().remove(0);
    let short = pair.data_out(&write, r2t.transfer_tag, 0, 0, true);
    pair.send(short.encode(), &[1; 512]);
    expect_condition(&mut pair, &write, [0x0c, 0x0d]);
}

#[test]
fn a_data_sn_out_of_order_ends_the_command_once_all_has_come() {
    // RFC 7143, 7.9; the cases of libiscsi's iSCSIDataSnInvalid: twice 0, 27, -1, and 1 before 0.
    for [first_sn, second_sn] in [[0, 0], [27, 28], [u32::MAX, 0], [1, 0]] {
        for solicited in [true, false] {
            let mut pair = Pair::logged_in(if solicited { with_r2t() } else { unsolicited() });
            let write = ScsiRequest { last: solicited, ..pair.write(1024) };
            pair.send(write.encode(), b"");
            let r2ts = pair.expect_r2ts();
            let transfer_tag = r2ts.first().map_or(RESERVED_TAG, |r2t| r2t.transfer_tag);
            let first = pair.data_out(&write, transfer_tag, first_sn, 0, false);
            let second = pair.data_out(&write, transfer_tag, second_sn, 512, true);
            pair.send(first.encode(), &[1; 512]).expect_nothing_sent();
            pair.send(second.encode(), &[1; 512]);
            expect_condition(&mut pair, &write, [0x47, 0x05]);
        }
    }
}

/// Data-Out that break the order of PDUs: the connection ends, because nothing after it can be trusted.
#[test]
fn a_broken_data_sequence_is_rejected_and_ends_the_connection() {
    type Spoil = fn(&mut DataOut);
    let cases: [(&str, Spoil); 4] = [
        ("offset", |pdu| pdu.offset = 4),
        ("transfer tag", |pdu| pdu.transfer_tag ^= 0x10),
        ("unsolicited after F", |pdu| pdu.transfer_tag = RESERVED_TAG),
        ("offset at the end of numbers", |pdu| pdu.offset = u32::MAX),
    ];
    for (what, spoil) in cases {
        let mut pair = Pair::logged_in(with_r2t());
        let write = pair.write(1024);
        pair.send(write.encode(), b"");
        let r2t = pair.expect_r2ts().remove(0);
        let mut data = pair.data_out(&write, r2t.transfer_tag, 0, 0, false);
        spoil(&mut data);
        pair.send(data.encode(), &[1; 512]);
        let mut bad = data.encode();
        assert!(bad.set_data_len(512));
        pair.expect_reject(RejectReason::ProtocolError, &bad);
        pair.expect_closed(CloseReason::ProtocolError);
        assert!(pair.target.is_closed(), "{what}");
    }
}

#[test]
fn more_than_an_r2t_asked_for_ends_the_connection() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = pair.write(512);
    pair.send(write.encode(), b"");
    let r2t = pair.expect_r2ts().remove(0);
    let data = pair.data_out(&write, r2t.transfer_tag, 0, 0, true);
    pair.send(data.encode(), &[1; 516]);
    assert_eq!(pair.one().opcode(), Opcode::Reject);
    pair.expect_closed(CloseReason::ProtocolError);
}

#[test]
fn a_write_of_nothing_needs_no_data() {
    let mut pair = Pair::logged_in(with_r2t());
    let write = pair.write(0);
    pair.send(write.encode(), b"");
    let command = pair.expect_command();
    assert!(command.data_out.is_empty());
}

#[test]
fn a_write_larger_than_the_session_may_hold_is_refused() {
    let mut pair = Pair::logged_in(with_r2t().limits(|l| l.max_bytes_in_flight = 1 << 20));
    let write = pair.write(u32::MAX);
    pair.send(write.encode(), b"").expect_no_event();
    let (response, sense) = pair.expect_response();
    assert_eq!((response.status, response.residual), (0x02, Residual::Underflow(u32::MAX)));
    assert_eq!((sense[2], sense[12], sense[13]), (0x05, 0x24, 0x00));
}

// ---- data to the initiator -----------------------------------------------------------------------------------

/// F, whether there is a status, DataSN, offset, length.
type Shape = (bool, bool, u32, u32, usize);

/// The Data-In PDUs of one read, and their data.
fn data_in(pair: &mut Pair) -> (Vec<Shape>, Vec<u8>) {
    let pdus = pair.pdus();
    let mut data = Vec::new();
    let shape = pdus
        .iter()
        .filter(|pdu| pdu.opcode() == Opcode::DataIn)
        .map(|pdu| {
            let d = DataIn::decode(&pdu.header);
            data.extend_from_slice(&pdu.data);
            (d.last, d.status.is_some(), d.data_sn, d.offset, pdu.data.len())
        })
        .collect();
    (shape, data)
}

#[test]
fn a_read_is_cut_by_segment_and_burst_and_ends_with_its_status() {
    let setup = Setup::default().key("MaxRecvDataSegmentLength", 1000).key("MaxBurstLength", 2048);
    let mut pair = Pair::logged_in(setup);
    let read = pair.read(5001);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    let data = pattern(5001);
    let pieces = [&data[..1], &data[1..1], &data[1..1500], &data[1500..]];
    pair.good_read(task, pieces.iter().map(|p| Bytes::copy_from_slice(p)).collect());
    let (shape, got) = data_in(&mut pair);
    assert_eq!(
        shape,
        [
            (false, false, 0, 0, 1000),
            (false, false, 1, 1000, 1000),
            (true, false, 2, 2000, 48),
            (false, false, 3, 2048, 1000),
            (false, false, 4, 3048, 1000),
            (true, false, 5, 4048, 48),
            (true, true, 6, 4096, 905),
        ]
    );
    assert_eq!(got, data);
}

#[test]
fn the_collapsed_status_carries_the_residual() {
    let mut pair = Pair::logged_in(Setup::default());
    let cases = [
        (100u32, 100usize, Residual::None),
        (100, 60, Residual::Underflow(40)),
        (60, 100, Residual::Overflow(40)),
    ];
    for (expected, yielded, residual) in cases {
        let read = pair.read(expected);
        pair.send(read.encode(), b"");
        let task = pair.expect_command().task;
        pair.good_read(task, vec![pattern(yielded).into()]);
        let pdu = pair.one();
        let got = DataIn::decode(&pdu.header);
        assert_eq!(got.status, Some(DataInStatus { status: 0, residual }));
        assert_eq!(pdu.data, pattern(yielded.min(expected as usize)));
    }
}

#[test]
fn a_read_with_check_condition_sends_its_data_then_sense_and_residual() {
    let mut pair = Pair::logged_in(Setup::default().key("MaxRecvDataSegmentLength", 512));
    let read = pair.read(2048);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    let outcome = Outcome {
        status: 0x02,
        sense: vec![0x70; 18],
        data_in: vec![pattern(700).into()],
        data_out_wanted: 0,
    };
    pair.target.complete(task, outcome);
    let pdus = pair.pdus();
    let opcodes: Vec<_> = pdus.iter().map(Pdu::opcode).collect();
    assert_eq!(opcodes, [Opcode::DataIn, Opcode::DataIn, Opcode::ScsiResponse]);
    assert!(pdus[..2].iter().all(|p| DataIn::decode(&p.header).status.is_none()));
    let response = vtl_iscsi::pdu::ScsiResponse::decode(&pdus[2].header);
    assert_eq!((response.status, response.exp_data_sn), (0x02, 2));
    assert_eq!(response.residual, Residual::Underflow(1348));
    assert_eq!(pdus[2].data, [&[0, 18][..], &[0x70; 18]].concat());
}

#[test]
fn residuals_of_commands_without_data_in() {
    // (R, W, expected, yielded, wanted) and the residual, RFC 7143, 11.4.5.
    let cases = [
        (true, false, 100, 0, 0, Residual::Underflow(100)),
        (false, false, 0, 36, 0, Residual::Overflow(36)),
        (false, false, 0, 0, 24, Residual::Overflow(24)),
        (false, false, 0, 0, 0, Residual::None),
        (false, true, 512, 0, 512, Residual::None),
        (false, true, 512, 0, 256, Residual::Underflow(256)),
        (false, true, 512, 0, 1024, Residual::Overflow(512)),
        (false, true, 512, 36, 0, Residual::Underflow(512)),
    ];
    for (read, write, expected_len, yielded, wanted, residual) in cases {
        for status in [0x00, 0x02] {
            let mut pair = Pair::logged_in(unsolicited());
            let request = ScsiRequest { read, write, expected_len, ..pair.command([1; 16]) };
            pair.send(request.encode(), &vec![1; if write { 512 } else { 0 }]);
            let task = pair.expect_command().task;
            let data_in = if yielded > 0 { vec![pattern(yielded).into()] } else { Vec::new() };
            pair.target
                .complete(task, Outcome { status, data_in, data_out_wanted: wanted, ..Outcome::default() });
            let (response, _) = pair.expect_response();
            assert_eq!((response.residual, response.status), (residual, status), "{request:?}");
        }
    }
}

#[test]
fn nothing_is_sent_beyond_what_was_expected() {
    let mut pair = Pair::logged_in(Setup::default());
    let read = pair.read(10);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![pattern(6).into(), vec![0xee; 100].into()]);
    let pdu = pair.one();
    assert_eq!(pdu.data, [&pattern(6)[..], &[0xee; 4]].concat());
}

// ---- what is refused -----------------------------------------------------------------------------------------

#[test]
fn a_long_cdb_is_refused_as_an_operation_code_that_does_not_exist() {
    let mut pair = Pair::logged_in(Setup::default());
    let request = pair.command([0x7f; 16]);
    let mut header = request.encode();
    header.set_ahs_words(5);
    // AHSLength 17 = a CDB of 32 bytes, less 16, and one reserved byte (11.2.2.3).
    let ahs = [&[0, 17, 1, 0][..], &[0xcd; 16]].concat();
    let bytes = pair.bytes_as_is(header, &ahs, b"");
    pair.send_bytes(&bytes).expect_no_event();
    let (response, sense) = pair.expect_response();
    assert_eq!((response.task_tag, response.status), (request.task_tag, 0x02));
    assert_eq!((sense[2], sense[12], sense[13]), (0x05, 0x20, 0x00));
    assert_eq!(pair.exp_cmd_sn, FIRST_CMD_SN.wrapping_add(1), "its number is used up");
}

#[test]
fn a_bidirectional_command_is_refused_after_its_data() {
    let mut pair = Pair::logged_in(unsolicited());
    let request = ScsiRequest { read: true, last: false, ..pair.write(512) };
    let mut header = request.encode();
    header.set_ahs_words(2);
    let bytes = pair.bytes_as_is(header, &[0, 5, 2, 0, 0, 0, 2, 0], b"");
    pair.send_bytes(&bytes).expect_nothing_sent();
    let data = pair.data_out(&request, RESERVED_TAG, 0, 0, true);
    pair.send(data.encode(), &[1; 512]).expect_no_event();
    assert_eq!(pair.expect_response().0.status, 0x02);
}

#[test]
fn additional_headers_that_make_no_sense_are_rejected() {
    for ahs in [&[0, 17, 1, 0, 0, 0, 0, 0][..], &[0, 5, 9, 0, 0, 0, 0, 0], &[0, 0, 1, 0]] {
        let mut pair = Pair::logged_in(Setup::default());
        let mut header = pair.command(TEST_UNIT_READY).encode();
        header.set_ahs_words(u8::try_from(ahs.len() / 4).unwrap());
        let bytes = pair.bytes_as_is(header, ahs, b"");
        pair.send_bytes(&bytes).expect_no_event();
        pair.expect_reject(RejectReason::InvalidPduField, &header);
    }
}

#[test]
fn impossible_fields_of_a_command_are_rejected() {
    let spoil: [fn(&mut [u8; 48]); 3] = [
        |bytes| bytes[1] = 0x80 | 5,      // an attribute that does not exist
        |bytes| bytes[1] = 0x01,          // F clear without W
        |bytes| bytes[16..20].fill(0xff), // the reserved tag
    ];
    for spoil in spoil {
        let mut pair = Pair::logged_in(Setup::default());
        let mut bytes = *pair.command(TEST_UNIT_READY).encode().as_bytes();
        spoil(&mut bytes);
        pair.send_bytes(&bytes).expect_no_event();
        pair.expect_reject(RejectReason::InvalidPduField, &Header::from_bytes(bytes));
        assert!(!pair.target.is_closed());
    }
}

// ---- limits --------------------------------------------------------------------------------------------------

#[test]
fn r2ts_stop_at_the_limit_of_bytes_in_flight_and_go_on_when_there_is_room() {
    let setup = with_r2t().key("MaxBurstLength", 65536).limits(|l| l.max_bytes_in_flight = 128 << 10);
    let mut pair = Pair::logged_in(setup);
    let data = pattern(65536);
    let writes: Vec<_> = (0..4).map(|_| pair.write(65536)).collect();
    for write in &writes {
        pair.send(write.encode(), b"");
    }
    let mut r2ts = pair.expect_r2ts();
    assert_eq!(r2ts.len(), 2, "128 KiB are two bursts");
    let mut served = 0;
    while let Some(r2t) = r2ts.pop() {
        r2ts.insert(0, r2t);
        let next = r2ts.remove(0);
        pair.answer_r2t(&next, &data, 8192);
        while let Some(vtl_iscsi::event::Event::Command(command)) = pair.target.poll_event() {
            assert_eq!(joined(&command.data_out), data);
            pair.good_write(command.task, 65536);
            served += 1;
        }
        for pdu in pair.pdus() {
            if pdu.opcode() == Opcode::R2t {
                r2ts.push(R2t::decode(&pdu.header));
            }
        }
        assert!(r2ts.len() <= 2);
    }
    assert_eq!(served, 4);
}

#[test]
fn input_stops_while_the_device_side_has_enough_and_goes_on_after() {
    let mut pair = Pair::logged_in(unsolicited().limits(|l| l.max_bytes_in_flight = 8192));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        assert!(pair.target.wants_input());
        let write = pair.write(4096);
        pair.send(write.encode(), &pattern(4096));
        tasks.push(pair.expect_command().task);
    }
    assert!(!pair.target.wants_input());
    let waits = pair.write(4096);
    pair.send(waits.encode(), &pattern(4096)).expect_no_event();
    assert_eq!(pair.wire.len(), 48 + 4096, "not taken off the wire");
    pair.good_write(tasks[0], 4096);
    assert!(pair.target.wants_input());
    pair.send_bytes(b"");
    assert_eq!(joined(&pair.expect_command().data_out), pattern(4096));
}

#[test]
fn a_read_that_is_not_taken_stops_input_and_shuts_the_window_until_it_is() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| {
        l.max_bytes_in_flight = 8192;
        l.command_window = 1;
    }));
    let read = pair.read(8192);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![pattern(8192).into()]);
    assert!(!pair.target.wants_input());
    assert!(pair.poll_once());
    assert!(!pair.target.wants_input(), "given out, not written");
    pair.target.transmitted(pair.instant());
    assert!(pair.target.wants_input());
    let pdus = pair.pdus();
    assert_eq!(pdus.len(), 2);
    assert_eq!(pdus[0].numbers().max_cmd.wrapping_add(1), pdus[0].numbers().exp_cmd, "shut");
    assert_eq!(NopIn::decode(&pdus[1].header), NopIn::Ping { transfer_tag: RESERVED_TAG });
    assert_eq!(pdus[1].numbers().max_cmd, pdus[1].numbers().exp_cmd, "open again, and told");
}

#[test]
fn answers_that_are_not_taken_stop_input() {
    let mut pair = Pair::logged_in(Setup::default());
    for _ in 0..5000 {
        let nop = pair.nop(true);
        pair.send(nop.encode(), b"ping");
    }
    assert!(!pair.target.wants_input());
    let waiting = pair.wire.len();
    assert_eq!(waiting, (5000 - 512) * 52);
    let mut echoes = 0;
    while !pair.wire.is_empty() || echoes < 5000 {
        echoes += pair.pdus().len();
        pair.send_bytes(b"");
    }
    assert_eq!(echoes, 5000);
}

#[test]
fn one_call_gives_out_a_bounded_amount() {
    let mut pair = Pair::logged_in(Setup::default().key("MaxRecvDataSegmentLength", 262144));
    let read = pair.read(16 << 20);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![Bytes::from(pattern(16 << 20))]);
    let mut pieces = Vec::new();
    assert!(pair.target.poll_transmit(&mut pieces));
    let given: usize = pieces.iter().map(Bytes::len).sum();
    assert!((1 << 20..2 << 20).contains(&given), "{given}");
}
