//! Task management (RFC 7143, 4.2.3, 11.5 and 11.6).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod common;

use common::*;
use vtl_iscsi::event::{CloseReason, Event, TaskId, TmfFunction, TmfResponse};
use vtl_iscsi::pdu::{Opcode, RESERVED_TAG, RejectReason, ScsiRequest, TaskFunction, TaskRequest};

const LUN_1: u64 = 1 << 48;

/// A command that the device side has and does not finish.
fn running(pair: &mut Pair, lun: u64) -> (ScsiRequest, TaskId) {
    let request = ScsiRequest { lun, ..pair.command(TEST_UNIT_READY) };
    pair.send(request.encode(), b"");
    let task = pair.expect_command().task;
    (request, task)
}

#[track_caller]
fn expect_answer(pair: &mut Pair, request: &TaskRequest, response: TmfResponse) {
    let got = pair.expect_task_response();
    assert_eq!((got.task_tag, got.response), (request.task_tag, response));
}

// ---- ABORT TASK ----------------------------------------------------------------------------------------------

#[test]
fn abort_task_ends_a_running_command_without_an_answer() {
    let mut pair = Pair::logged_in(Setup::default());
    let (command, task) = running(&mut pair, 0);
    let abort = pair.abort(&command);
    pair.send(abort.encode(), b"").expect_nothing_sent();
    let (id, function) = pair.expect_task_management();
    assert_eq!(function, TmfFunction::AbortTask { task });
    pair.target.task_management_done(id, TmfResponse::Complete);
    expect_answer(&mut pair, &abort, TmfResponse::Complete);
    pair.good(task);
    pair.expect_nothing_sent();
    let again = ScsiRequest { task_tag: command.task_tag, ..pair.command(TEST_UNIT_READY) };
    pair.send(again.encode(), b"");
    let new = pair.expect_command().task;
    pair.good(task);
    pair.expect_nothing_sent();
    pair.good(new);
    pair.expect_response();
}

#[test]
fn a_command_that_finishes_before_its_abort_is_answered_first() {
    let mut pair = Pair::logged_in(Setup::default());
    let (command, task) = running(&mut pair, 0);
    let abort = pair.abort(&command);
    pair.send(abort.encode(), b"");
    let (id, _) = pair.expect_task_management();
    pair.good(task);
    pair.target.task_management_done(id, TmfResponse::TaskDoesNotExist);
    let opcodes: Vec<_> = pair.pdus().iter().map(Pdu::opcode).collect();
    assert_eq!(opcodes, [Opcode::ScsiResponse, Opcode::TaskResponse]);
}

#[test]
fn abort_task_of_an_answered_command_says_that_it_does_not_exist() {
    let mut pair = Pair::logged_in(Setup::default());
    let (command, task) = running(&mut pair, 0);
    pair.good(task);
    pair.expect_response();
    let abort = pair.abort(&command);
    pair.send(abort.encode(), b"").expect_no_event();
    expect_answer(&mut pair, &abort, TmfResponse::TaskDoesNotExist);
}

#[test]
fn abort_task_with_another_unit_does_not_touch_the_command() {
    let mut pair = Pair::logged_in(Setup::default());
    let (command, task) = running(&mut pair, 0);
    let abort = TaskRequest { lun: LUN_1, ..pair.abort(&command) };
    pair.send(abort.encode(), b"").expect_no_event();
    expect_answer(&mut pair, &abort, TmfResponse::TaskDoesNotExist);
    pair.good(task);
    pair.expect_response();
}

#[test]
fn abort_task_of_a_command_that_never_came_fills_its_place() {
    // 11.6.1 (b): its number is in the window and before that of the request.
    let mut pair = Pair::logged_in(Setup::default());
    let lost = pair.command(TEST_UNIT_READY);
    let held = pair.command(TEST_UNIT_READY);
    pair.send(held.encode(), b"").expect_no_event();
    let abort = pair.abort(&lost);
    pair.send(abort.encode(), b"");
    assert_eq!(pair.expect_command().cdb, held.cdb, "the gap is closed");
    expect_answer(&mut pair, &abort, TmfResponse::Complete);
    pair.send(lost.encode(), b"").expect_no_event().expect_nothing_sent();
}

#[test]
fn abort_task_with_a_number_outside_the_window_says_that_it_does_not_exist() {
    let mut pair = Pair::logged_in(Setup::default());
    let (command, _) = running(&mut pair, 0);
    for ref_cmd_sn in [command.cmd_sn, command.cmd_sn.wrapping_add(1), command.cmd_sn.wrapping_add(5000)] {
        let abort = TaskRequest { referenced_tag: 0x4444, ref_cmd_sn, ..pair.abort(&command) };
        pair.send(abort.encode(), b"").expect_no_event();
        expect_answer(&mut pair, &abort, TmfResponse::TaskDoesNotExist);
    }
}

#[test]
fn abort_task_of_a_write_that_waits_for_data_is_done_at_once_and_late_data_is_swallowed() {
    let mut pair = Pair::logged_in(Setup::default().key("InitialR2T", "Yes").key("ImmediateData", "No"));
    let write = pair.write(1024);
    let later = pair.command(TEST_UNIT_READY);
    pair.send(write.encode(), b"").send(later.encode(), b"");
    let r2t = pair.expect_r2ts().remove(0);
    let abort = pair.abort(&write);
    pair.send(abort.encode(), b"");
    assert_eq!(pair.expect_command().cdb, later.cdb, "what waited behind it goes on");
    expect_answer(&mut pair, &abort, TmfResponse::Complete);
    pair.answer_r2t(&r2t, &pattern(1024), 512);
    pair.expect_no_event().expect_nothing_sent();
    assert!(!pair.target.is_closed());
}

#[test]
fn abort_task_takes_back_an_r2t_that_was_not_sent() {
    let mut pair = Pair::logged_in(Setup::default().key("InitialR2T", "Yes").key("ImmediateData", "No"));
    let write = pair.write(1024);
    let abort = pair.abort(&write);
    pair.send(write.encode(), b"").send(abort.encode(), b"");
    expect_answer(&mut pair, &abort, TmfResponse::Complete);
}

#[test]
fn abort_task_stops_data_on_its_way_out() {
    let mut pair = Pair::logged_in(Setup::default());
    let read = pair.read(4 << 20);
    pair.send(read.encode(), b"");
    let task = pair.expect_command().task;
    pair.good_read(task, vec![pattern(4 << 20).into()]);
    assert!(pair.poll_once(), "some of it is out");
    pair.target.transmitted(pair.instant());
    let abort = pair.abort(&read);
    pair.send(abort.encode(), b"").expect_no_event();
    let pdus = pair.pdus();
    let (last, data) = pdus.split_last().unwrap();
    assert_eq!(last.opcode(), Opcode::TaskResponse);
    let sent: usize = data.iter().map(|pdu| pdu.data.len()).sum();
    assert!(sent < 4 << 20 && data.iter().all(|pdu| pdu.opcode() == Opcode::DataIn));
}

#[test]
fn a_task_request_in_order_waits_for_its_turn() {
    let mut pair = Pair::logged_in(Setup::default());
    let first = pair.command(TEST_UNIT_READY);
    let abort = TaskRequest { immediate: false, ..pair.abort(&first) };
    pair.cmd_sn = pair.cmd_sn.wrapping_add(1);
    pair.send(abort.encode(), b"").expect_no_event().expect_nothing_sent();
    pair.send(first.encode(), b"");
    pair.expect_command();
    pair.expect_task_management();
    assert_eq!(pair.exp_cmd_sn, FIRST_CMD_SN);
}

// ---- sets, units, targets ------------------------------------------------------------------------------------

#[test]
fn each_function_covers_its_scope_and_nothing_that_came_later() {
    let lun = 0;
    let cases = [
        (TaskFunction::AbortTaskSet, TmfFunction::AbortTaskSet { lun }, true),
        (TaskFunction::ClearTaskSet, TmfFunction::ClearTaskSet { lun }, true),
        (TaskFunction::LogicalUnitReset, TmfFunction::LogicalUnitReset { lun }, true),
        (TaskFunction::TargetWarmReset, TmfFunction::TargetWarmReset, false),
    ];
    for (function, asked, one_unit) in cases {
        let mut pair = Pair::logged_in(Setup::default());
        let (_, covered) = running(&mut pair, lun);
        let (_, other_unit) = running(&mut pair, LUN_1);
        let request = pair.task_request(function, lun);
        pair.send(request.encode(), b"").expect_nothing_sent();
        let (id, got) = pair.expect_task_management();
        assert_eq!(got, asked);
        let (_, later) = running(&mut pair, lun);
        pair.target.task_management_done(id, TmfResponse::Complete);
        expect_answer(&mut pair, &request, TmfResponse::Complete);
        [covered, other_unit, later].iter().for_each(|task| pair.good(*task));
        assert_eq!(pair.pdus().len(), if one_unit { 2 } else { 1 }, "{function:?}");
    }
}

#[test]
fn a_refused_function_ends_nothing() {
    let mut pair = Pair::logged_in(Setup::default());
    let (_, task) = running(&mut pair, 0);
    let request = pair.task_request(TaskFunction::LogicalUnitReset, 0);
    pair.send(request.encode(), b"");
    let (id, _) = pair.expect_task_management();
    pair.target.task_management_done(id, TmfResponse::Rejected);
    expect_answer(&mut pair, &request, TmfResponse::Rejected);
    pair.good(task);
    pair.expect_response();
}

#[test]
fn a_reset_ends_writes_that_wait_for_data_before_the_device_side_sees_them() {
    let mut pair = Pair::logged_in(Setup::default().key("InitialR2T", "Yes").key("ImmediateData", "No"));
    let write = pair.write(512);
    pair.send(write.encode(), b"");
    let r2t = pair.expect_r2ts().remove(0);
    let request = pair.task_request(TaskFunction::LogicalUnitReset, 0);
    pair.send(request.encode(), b"");
    let (id, _) = pair.expect_task_management();
    pair.answer_r2t(&r2t, &pattern(512), 512);
    pair.expect_no_event();
    pair.target.task_management_done(id, TmfResponse::Complete);
    expect_answer(&mut pair, &request, TmfResponse::Complete);
}

#[test]
fn an_immediate_function_over_many_tasks_waits_for_commands_numbered_before_it() {
    // 4.2.3.3
    let mut pair = Pair::logged_in(Setup::default());
    let missing = pair.command(TEST_UNIT_READY);
    let request = pair.task_request(TaskFunction::AbortTaskSet, 0);
    pair.send(request.encode(), b"").expect_no_event().expect_nothing_sent();
    pair.send(missing.encode(), b"");
    let task = pair.expect_command().task;
    let (id, _) = pair.expect_task_management();
    pair.target.task_management_done(id, TmfResponse::Complete);
    expect_answer(&mut pair, &request, TmfResponse::Complete);
    pair.good(task);
    pair.expect_nothing_sent();
}

#[test]
fn a_cold_reset_ends_the_session_after_its_answer() {
    let mut pair = Pair::logged_in(Setup::default());
    running(&mut pair, 0);
    let request = pair.task_request(TaskFunction::TargetColdReset, 0);
    pair.send(request.encode(), b"");
    let (id, function) = pair.expect_task_management();
    assert_eq!(function, TmfFunction::TargetColdReset);
    pair.target.task_management_done(id, TmfResponse::Complete);
    expect_answer(&mut pair, &request, TmfResponse::Complete);
    pair.expect_closed(CloseReason::ColdReset);
}

#[test]
fn what_is_not_supported_says_so_without_the_device_side() {
    let cases = [
        (TaskFunction::TaskReassign, TmfResponse::ReassignNotSupported),
        (TaskFunction::Other(9), TmfResponse::NotSupported),
        (TaskFunction::Other(0), TmfResponse::NotSupported),
    ];
    for (function, response) in cases {
        let mut pair = Pair::logged_in(Setup::default());
        let request = pair.task_request(function, 0);
        pair.send(request.encode(), b"").expect_no_event();
        expect_answer(&mut pair, &request, response);
    }
}

#[test]
fn clear_aca_is_passed_on_and_ends_nothing() {
    let mut pair = Pair::logged_in(Setup::default());
    let (_, task) = running(&mut pair, 0);
    let request = pair.task_request(TaskFunction::ClearAca, 0);
    pair.send(request.encode(), b"");
    let (id, function) = pair.expect_task_management();
    assert_eq!(function, TmfFunction::ClearAca { lun: 0 });
    pair.target.task_management_done(id, TmfResponse::NotSupported);
    expect_answer(&mut pair, &request, TmfResponse::NotSupported);
    pair.good(task);
    pair.expect_response();
}

#[test]
fn too_many_task_requests_at_once_are_rejected() {
    let mut pair = Pair::logged_in(Setup::default());
    for _ in 0..16 {
        let request = pair.task_request(TaskFunction::LogicalUnitReset, 0);
        pair.send(request.encode(), b"");
        pair.expect_task_management();
    }
    let request = pair.task_request(TaskFunction::LogicalUnitReset, 0).encode();
    pair.send(request, b"").expect_no_event();
    pair.expect_reject(RejectReason::TooManyImmediate, &request);
}

#[test]
fn the_tag_of_a_task_request_is_in_use_until_it_is_answered() {
    let mut pair = Pair::logged_in(Setup::default());
    let request = pair.task_request(TaskFunction::LogicalUnitReset, 0);
    pair.send(request.encode(), b"");
    let (id, _) = pair.expect_task_management();
    pair.send(request.encode(), b"").expect_no_event();
    pair.expect_reject(RejectReason::TaskInProgress, &request.encode());
    pair.target.task_management_done(id, TmfResponse::Complete);
    pair.target.task_management_done(id, TmfResponse::Complete);
    expect_answer(&mut pair, &request, TmfResponse::Complete);
    assert_ne!(request.task_tag, RESERVED_TAG);
}

#[test]
fn commands_that_another_session_cleared_get_no_answer() {
    let mut pair = Pair::logged_in(Setup::default());
    let (_, cleared) = running(&mut pair, 0);
    let (_, kept) = running(&mut pair, LUN_1);
    pair.target.abort_tasks(Some(0));
    pair.good(cleared);
    pair.expect_nothing_sent();
    pair.good(kept);
    pair.expect_response();
    let (_, last) = running(&mut pair, LUN_1);
    pair.target.abort_tasks(None);
    pair.good(last);
    pair.expect_nothing_sent();
}

#[test]
fn a_forgotten_command_gets_no_answer_and_gives_its_place_back() {
    let mut pair = Pair::logged_in(Setup::default());
    let (_, forgotten) = running(&mut pair, 0);
    let (_, kept) = running(&mut pair, 0);
    for _ in 0..2 {
        pair.target.forget(forgotten);
        pair.good(forgotten);
        pair.expect_nothing_sent();
    }
    pair.good(kept);
    pair.expect_response();
    let session = pair.target.session().unwrap();
    assert_eq!((session.commands, session.counters.aborted), (0, 1));
    let window = Setup::default().limits.command_window;
    assert_eq!(pair.max_cmd_sn, pair.exp_cmd_sn.wrapping_add(window - 1));
}

#[test]
fn aborted_commands_give_their_places_in_the_window_back() {
    let mut pair = Pair::logged_in(Setup::default().limits(|l| l.command_window = 2));
    running(&mut pair, 0);
    running(&mut pair, 0);
    let request = pair.task_request(TaskFunction::AbortTaskSet, 0);
    pair.send(request.encode(), b"");
    let Some(Event::TaskManagement { id, .. }) = pair.target.poll_event() else { panic!() };
    pair.target.task_management_done(id, TmfResponse::Complete);
    pair.expect_task_response();
    assert_eq!(pair.max_cmd_sn, pair.exp_cmd_sn.wrapping_add(1));
    assert_eq!(pair.target.session().unwrap().counters.aborted, 2);
}
