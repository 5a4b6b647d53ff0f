//! The engine through a device that has everything: the diagnostic disk.

use alloc::{vec, vec::Vec};
use proptest::prelude::*;

use bytes::Bytes;

use crate::{
    command::{Cdb, Command, Instant, NexusId},
    disk::RamDisk,
    spc::Identity,
    testing::{A, B, C, Memory, cases, connect, data, is_conflict, is_good, port, send, send_out, sense},
    unit::{LogicalUnit, Reset, UnitAttention},
};

fn disk() -> RamDisk<Memory> {
    disk_on(Memory::default())
}

fn disk_on(memory: Memory) -> RamDisk<Memory> {
    let identity =
        Identity::new(&RamDisk::<Memory>::personality().unwrap(), "DISK000001", 0xff00_0000_0000_0007)
            .with_port("iqn.2026-11.internal.vtl:diag", 1);
    let mut disk = RamDisk::new(identity, 1 << 20, memory);
    connect(&mut disk);
    disk
}

const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;
const REGISTER_AND_IGNORE: u8 = 6;

/// PERSISTENT RESERVE OUT with its 24 bytes.
fn pr_out(
    unit: &mut RamDisk<Memory>,
    nexus: NexusId,
    action: u8,
    kind: u8,
    keys: (u64, u64),
    flags: u8,
) -> crate::Reply {
    let mut list = keys.0.to_be_bytes().to_vec();
    list.extend(keys.1.to_be_bytes());
    list.extend([0, 0, 0, 0, flags, 0, 0, 0]);
    send_out(unit, nexus, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], &list)
}

fn register(unit: &mut RamDisk<Memory>, nexus: NexusId, key: u64) {
    assert!(is_good(&pr_out(unit, nexus, REGISTER_AND_IGNORE, 0, (0, key), 0)));
}

fn reserve(unit: &mut RamDisk<Memory>, nexus: NexusId, key: u64, kind: u8) {
    assert!(is_good(&pr_out(unit, nexus, RESERVE, kind, (key, 0), 0)));
}

fn pr_in(unit: &mut RamDisk<Memory>, nexus: NexusId, action: u8) -> Vec<u8> {
    data(&send(unit, nexus, &[0x5e, action, 0, 0, 0, 0, 0, 1, 0, 0]))
}

fn attention(unit: &mut RamDisk<Memory>, nexus: NexusId) -> Option<(u8, u8)> {
    let bytes = data(&send(unit, nexus, &[0x03, 0, 0, 0, 252, 0]));
    (bytes[2] & 0x0f == 6).then(|| (bytes[12], bytes[13]))
}

fn can_read(unit: &mut RamDisk<Memory>, nexus: NexusId) -> bool {
    !is_conflict(&send(unit, nexus, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0]))
}

fn can_write(unit: &mut RamDisk<Memory>, nexus: NexusId) -> bool {
    !is_conflict(&send_out(unit, nexus, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0; 512]))
}

#[test]
fn the_six_types_let_through_whom_the_standard_lets_through() {
    // type; a registrant reads, writes; a stranger reads, writes.
    let table = [
        (1, [true, false], [true, false]),
        (3, [false, false], [false, false]),
        (5, [true, true], [true, false]),
        (6, [true, true], [false, false]),
        (7, [true, true], [true, false]),
        (8, [true, true], [false, false]),
    ];
    for (kind, registrant, stranger) in table {
        let mut unit = disk();
        register(&mut unit, A, 1);
        register(&mut unit, B, 2);
        reserve(&mut unit, A, 1, kind);
        assert_eq!([can_read(&mut unit, A), can_write(&mut unit, A)], [true, true], "type {kind}");
        assert_eq!([can_read(&mut unit, B), can_write(&mut unit, B)], registrant, "type {kind}");
        assert_eq!([can_read(&mut unit, C), can_write(&mut unit, C)], stranger, "type {kind}");
    }
}

#[test]
fn what_never_conflicts_passes_an_exclusive_access_reservation() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    reserve(&mut unit, A, 1, 3);
    for cdb in
        [&[0x00][..], &[0x03, 0, 0, 0, 18], &[0x12, 0, 0, 0, 36], &[0x1e], &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 9]]
    {
        assert!(is_good(&send(&mut unit, B, cdb)), "{cdb:x?}");
    }
    let report_luns = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16];
    assert!(is_good(&send(&mut unit, B, &report_luns)));
    for cdb in [&[0x1a, 0, 0x3f, 0, 9][..], &[0x1e, 0, 0, 0, 1], &[0x15, 0x10], &[0x1d, 4]] {
        assert!(is_conflict(&send(&mut unit, B, cdb)), "{cdb:x?}");
    }
}

#[test]
fn registering_needs_the_key_that_is_registered() {
    let mut unit = disk();
    assert!(is_conflict(&pr_out(&mut unit, A, REGISTER, 0, (5, 6), 0)), "nothing is registered");
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (0, 6), 0)));
    assert!(is_conflict(&pr_out(&mut unit, A, REGISTER, 0, (7, 8), 0)));
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (6, 8), 0)));
    assert_eq!(pr_in(&mut unit, B, 0), [0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 8]);
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (8, 0), 0)));
    assert_eq!(pr_in(&mut unit, B, 0), [0, 0, 0, 3, 0, 0, 0, 0]);
}

#[test]
fn only_registrants_reserve_and_a_second_type_conflicts() {
    let mut unit = disk();
    assert!(is_conflict(&pr_out(&mut unit, A, RESERVE, 1, (0, 0), 0)));
    register(&mut unit, A, 1);
    register(&mut unit, B, 2);
    assert!(is_conflict(&pr_out(&mut unit, A, RESERVE, 1, (9, 0), 0)));
    assert_eq!(sense(&pr_out(&mut unit, A, RESERVE, 2, (1, 0), 0)), (5, 0x24, 0));
    assert_eq!(sense(&pr_out(&mut unit, A, RESERVE, 0x11, (1, 0), 0)), (5, 0x24, 0));
    reserve(&mut unit, A, 1, 1);
    reserve(&mut unit, A, 1, 1);
    assert!(is_conflict(&pr_out(&mut unit, A, RESERVE, 3, (1, 0), 0)));
    assert!(is_conflict(&pr_out(&mut unit, B, RESERVE, 1, (2, 0), 0)));
    let expected = [0, 0, 0, 2, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x01, 0, 0];
    assert_eq!(pr_in(&mut unit, C, 1), expected);
}

#[test]
fn release_wants_the_same_type_and_tells_registrants_that_had_a_share() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    register(&mut unit, B, 2);
    reserve(&mut unit, A, 1, 5);
    assert!(is_good(&pr_out(&mut unit, B, RELEASE, 5, (2, 0), 0)), "not the holder: no effect, no error");
    assert_eq!(pr_in(&mut unit, A, 1).len(), 24);
    assert_eq!(sense(&pr_out(&mut unit, A, RELEASE, 6, (1, 0), 0)), (5, 0x26, 0x04));
    assert!(is_good(&pr_out(&mut unit, A, RELEASE, 5, (1, 0), 0)));
    assert_eq!(pr_in(&mut unit, A, 1).len(), 8);
    assert_eq!(attention(&mut unit, B), Some((0x2a, 0x04)));
    assert_eq!((attention(&mut unit, A), attention(&mut unit, C)), (None, None));
}

#[test]
fn clear_ends_everything_and_tells_the_other_registrants() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    register(&mut unit, B, 2);
    reserve(&mut unit, B, 2, 3);
    assert!(is_good(&pr_out(&mut unit, A, CLEAR, 0, (1, 0), 0)));
    assert_eq!(attention(&mut unit, B), Some((0x2a, 0x03)));
    assert_eq!((attention(&mut unit, A), attention(&mut unit, C)), (None, None));
    assert_eq!(pr_in(&mut unit, C, 0), [0, 0, 0, 3, 0, 0, 0, 0]);
    assert!(can_write(&mut unit, C));
}

#[test]
fn preempting_the_holder_takes_its_reservation_over() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    register(&mut unit, B, 2);
    register(&mut unit, C, 3);
    reserve(&mut unit, A, 1, 3);
    assert!(is_good(&send(&mut unit, A, &[0x1e, 0, 0, 0, 1])));
    assert!(is_good(&pr_out(&mut unit, B, PREEMPT_AND_ABORT, 5, (2, 1), 0)));
    assert_eq!(attention(&mut unit, A), Some((0x2a, 0x05)));
    assert_eq!(attention(&mut unit, C), Some((0x2a, 0x04)), "the type changed");
    assert_eq!(attention(&mut unit, B), None);
    assert_eq!(pr_in(&mut unit, B, 1)[8..], [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 5, 0, 0]);
    assert!(is_good(&send(&mut unit, B, &[0x1b, 0, 0, 0, 2])), "A no longer prevents removal");
}

#[test]
fn preempting_a_registrant_leaves_the_reservation_alone() {
    let mut unit = disk();
    for (nexus, key) in [(A, 1), (B, 2), (C, 3)] {
        register(&mut unit, nexus, key);
    }
    reserve(&mut unit, A, 1, 1);
    assert!(is_conflict(&pr_out(&mut unit, B, PREEMPT, 1, (2, 99), 0)), "no such key");
    assert_eq!(sense(&pr_out(&mut unit, B, PREEMPT, 1, (2, 0), 0)), (5, 0x26, 0x00));
    assert!(is_good(&pr_out(&mut unit, B, PREEMPT, 1, (2, 3), 0)));
    assert_eq!(attention(&mut unit, C), Some((0x2a, 0x05)));
    assert_eq!(pr_in(&mut unit, A, 1)[15], 1);
    assert_eq!(pr_in(&mut unit, A, 0).len(), 8 + 16);
}

#[test]
fn only_preempt_and_abort_ends_commands_and_only_those_of_the_preempted() {
    for (action, ended) in [(PREEMPT, vec![]), (PREEMPT_AND_ABORT, vec![B])] {
        let mut unit = disk();
        for (nexus, key) in [(A, 1), (B, 2), (C, 3)] {
            register(&mut unit, nexus, key);
        }
        assert!(is_good(&pr_out(&mut unit, A, action, 1, (1, 2), 0)));
        assert_eq!(unit.take_aborted(), ended);
        assert_eq!(unit.take_aborted(), [], "told once");
    }
}

#[test]
fn with_all_registrants_key_zero_preempts_everybody_else() {
    let mut unit = disk();
    for (nexus, key) in [(A, 1), (B, 2), (C, 3)] {
        register(&mut unit, nexus, key);
    }
    reserve(&mut unit, A, 1, 8);
    assert_eq!(pr_in(&mut unit, A, 1)[8..16], [0; 8], "the key of an All Registrants reservation is zero");
    assert!(is_good(&pr_out(&mut unit, C, PREEMPT, 3, (3, 0), 0)));
    assert_eq!((attention(&mut unit, A), attention(&mut unit, B)), (Some((0x2a, 5)), Some((0x2a, 5))));
    assert_eq!(pr_in(&mut unit, C, 0)[8..], [0, 0, 0, 0, 0, 0, 0, 3]);
    assert!(!can_read(&mut unit, A));
}

#[test]
fn full_status_names_every_port_by_its_transport_id() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    reserve(&mut unit, A, 1, 1);
    let mut expected = vec![0, 0, 0, 1, 0, 0, 0, 64];
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x01, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0, 40]);
    expected.extend([0x45, 0, 0, 36]);
    expected.extend(b"iqn.2026-11.test:a,i,0x00023d000001\0");
    assert_eq!(pr_in(&mut unit, B, 3), expected);
}

#[test]
fn capabilities_say_what_is_there() {
    let mut unit = disk();
    assert_eq!(pr_in(&mut unit, A, 2), [0, 8, 0x01, 0x80, 0xea, 0x01, 0, 0]);
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0x01)));
    assert_eq!(pr_in(&mut unit, A, 2)[3], 0x81, "APTPL is active");
    assert_eq!(sense(&pr_out(&mut unit, A, REGISTER, 0, (1, 1), 0x08)), (5, 0x26, 0), "SPEC_I_PT");
    assert_eq!(sense(&pr_out(&mut unit, A, REGISTER, 0, (1, 1), 0x04)), (5, 0x26, 0), "ALL_TG_PT");
}

#[test]
fn unknown_service_actions_and_wrong_lengths_are_refused() {
    let mut unit = disk();
    for action in 4..0x20 {
        assert_eq!(sense(&send(&mut unit, A, &[0x5e, action])), (5, 0x24, 0), "IN {action:x}");
    }
    for action in 7..0x20 {
        assert_eq!(sense(&send(&mut unit, A, &[0x5f, action])), (5, 0x24, 0), "OUT {action:x}");
    }
    let short = send_out(&mut unit, A, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0], &[0; 23]);
    assert_eq!(sense(&short), (5, 0x1a, 0));
}

#[test]
fn without_room_for_its_state_a_registration_with_aptpl_fails_and_changes_nothing() {
    let memory = Memory::default();
    let mut unit = disk_on(memory.clone());
    memory.break_down();
    assert_eq!(sense(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0x01)), (4, 0x44, 0));
    assert_eq!(pr_in(&mut unit, A, 0), [0; 8]);
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0x00)));
}

#[test]
fn the_registry_has_a_limit_and_says_so() {
    let mut unit = disk();
    for n in 0..256u64 {
        let nexus = NexusId(100 + n);
        unit.nexus_opened(nexus, &port(&alloc::format!("iqn.2026-11.test:{n}")));
        assert!(attention(&mut unit, nexus).is_some());
        register(&mut unit, nexus, n + 1);
    }
    assert_eq!(sense(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0)), (5, 0x55, 0x04));
    register(&mut unit, NexusId(100), 77);
    register(&mut unit, NexusId(100), 0);
    register(&mut unit, A, 1);
    let status = data(&send(&mut unit, A, &[0x5e, 3, 0, 0, 0, 0, 0, 0xff, 0xff, 0]));
    // Names of one digit or letter fill 36 bytes of TransportID, longer ones 40.
    assert_eq!(status[4..8], (10 * 64 + 246 * 68u32).to_be_bytes());
}

#[test]
fn without_aptpl_a_restart_forgets_reservations() {
    let memory = Memory::default();
    let mut unit = disk_on(memory.clone());
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0x01)));
    assert!(is_good(&pr_out(&mut unit, A, REGISTER, 0, (1, 1), 0x00)));
    assert_eq!(pr_in(&mut disk_on(memory), A, 0), [0; 8]);
}

#[test]
fn a_registration_belongs_to_the_port_and_outlives_the_session() {
    let mut unit = disk();
    register(&mut unit, A, 1);
    reserve(&mut unit, A, 1, 3);
    unit.nexus_closed(A);
    assert!(!can_read(&mut unit, B));
    let again = NexusId(77);
    unit.nexus_opened(again, &port("iqn.2026-11.test:a"));
    assert_eq!(sense(&send(&mut unit, again, &[0x00])), (6, 0x29, 0x00));
    assert!(can_read(&mut unit, again));
    unit.reset(Reset::Target);
    assert_eq!(attention(&mut unit, again), Some((0x29, 0x02)));
    assert_eq!(attention(&mut unit, B), Some((0x29, 0x02)));
    assert!(!can_read(&mut unit, B));
}

#[test]
fn reserve_keeps_others_out_until_release_logout_or_reset() {
    let mut unit = disk();
    let (take, give) = ([0x16, 0, 0, 0, 0, 0], [0x17, 0, 0, 0, 0, 0]);
    assert!(is_good(&send(&mut unit, A, &take)));
    assert!(is_good(&send(&mut unit, A, &take)));
    assert!(is_conflict(&send(&mut unit, B, &take)));
    assert!(is_conflict(&send(&mut unit, B, &[0x00])));
    assert!(is_conflict(&send(&mut unit, B, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 8])));
    assert!(is_good(&send(&mut unit, B, &[0x12, 0, 0, 0, 36])));
    assert!(is_good(&send(&mut unit, B, &give)), "a stranger's RELEASE is no error and has no effect");
    assert!(is_conflict(&send(&mut unit, B, &[0x00])));
    assert!(is_good(&send(&mut unit, A, &give)));
    assert!(is_good(&send(&mut unit, B, &[0x56])));
    unit.nexus_closed(B);
    assert!(is_good(&send(&mut unit, A, &take)));
    unit.reset(Reset::LogicalUnit);
    assert_eq!(attention(&mut unit, C), Some((0x29, 0x03)));
    assert!(is_good(&send(&mut unit, C, &[0x00])));
}

#[test]
fn reserve_and_persistent_reservations_exclude_each_other() {
    let mut unit = disk();
    assert!(is_good(&send(&mut unit, A, &[0x16])));
    assert!(is_conflict(&pr_out(&mut unit, A, REGISTER, 0, (0, 1), 0)));
    assert!(is_good(&send(&mut unit, A, &[0x17])));
    register(&mut unit, A, 1);
    assert!(is_conflict(&send(&mut unit, A, &[0x16])));
    assert!(is_conflict(&send(&mut unit, A, &[0x17])));
    assert_eq!(sense(&send(&mut unit, A, &[0x1d, 0x20])), (5, 0x24, 0));
}

#[test]
fn a_unit_attention_is_told_once_by_whatever_comes_first() {
    let mut unit = disk();
    unit.attention(UnitAttention::ModeParametersChanged, Some(A));
    assert!(is_good(&send(&mut unit, A, &[0x00])), "A caused it");
    assert!(is_good(&send(&mut unit, B, &[0x12, 0, 0, 0, 36])), "INQUIRY does not tell");
    assert_eq!(sense(&send(&mut unit, B, &[0x28, 0, 0, 0, 0, 0, 0, 0, 1])), (6, 0x2a, 0x01));
    assert!(is_good(&send(&mut unit, B, &[0x00])));
    assert_eq!(attention(&mut unit, C), Some((0x2a, 0x01)));
    assert_eq!(attention(&mut unit, C), None);
}

#[test]
fn report_luns_tells_the_list_and_forgets_that_it_changed() {
    let mut unit = disk();
    unit.set_luns(vec![0, 1]);
    unit.attention(UnitAttention::ReportedLunsChanged, None);
    let list = data(&send(&mut unit, A, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 24]));
    assert_eq!(list, [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert!(is_good(&send(&mut unit, A, &[0x00])));
    assert_eq!(sense(&send(&mut unit, B, &[0x00])), (6, 0x3f, 0x0e));
}

#[test]
fn request_sense_gives_the_format_that_is_asked_for() {
    let mut unit = disk();
    assert_eq!(data(&send(&mut unit, A, &[0x03, 0, 0, 0, 252]))[..8], [0x70, 0, 0, 0, 0, 0, 0, 10]);
    assert_eq!(data(&send(&mut unit, A, &[0x03, 1, 0, 0, 252])), [0x72, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(data(&send(&mut unit, A, &[0x03, 0, 0, 0, 4])), [0x70, 0, 0, 0]);
}

#[test]
fn an_unknown_operation_code_is_told_after_the_unit_attention() {
    let mut unit = disk();
    unit.attention(UnitAttention::PowerOn, None);
    assert_eq!(sense(&send(&mut unit, A, &[0xff])), (6, 0x29, 0));
    assert_eq!(sense(&send(&mut unit, A, &[0xff])), (5, 0x20, 0));
}

#[test]
fn the_serial_number_is_the_same_everywhere_and_unpadded() {
    let mut unit = disk();
    assert_eq!(data(&send(&mut unit, A, &[0x12, 1, 0x80, 0, 255])), b"\0\x80\0\x0aDISK000001");
    let page = data(&send(&mut unit, A, &[0x12, 1, 0x83, 0, 255]));
    let mut expected = vec![0x00, 0x83, 0, 142];
    expected.extend([0x02, 0x01, 0, 34]);
    expected.extend(b"VTL     DIAGNOSTIC DISK DISK000001");
    expected.extend([0x01, 0x03, 0, 8, 0x3f, 0, 0, 0, 0, 0, 0, 7]);
    expected.extend([0x51, 0x94, 0, 4, 0, 0, 0, 1]);
    expected.extend([0x53, 0x98, 0, 40]);
    expected.extend(b"iqn.2026-11.internal.vtl:diag,t,0x0001\0\0");
    expected.extend([0x53, 0xa8, 0, 32]);
    expected.extend(b"iqn.2026-11.internal.vtl:diag\0\0\0");
    expected[3] = (expected.len() - 4) as u8;
    assert_eq!(page, expected);
}

#[test]
fn a_missing_unit_answers_what_it_must_and_refuses_the_rest() {
    use crate::{Cdb, Command, Instant, spc::missing_unit};
    let identity = Identity::new(&RamDisk::<Memory>::personality().unwrap(), "DISK000001", 7);
    let ask = |cdb: &[u8]| {
        let command =
            Command { nexus: A, from: None, cdb: Cdb::new(cdb), data_out: Vec::new(), now: Instant(0) };
        missing_unit(&command, &identity, &[0])
    };
    assert_eq!(data(&ask(&[0x12, 0, 0, 0, 36]))[..2], [0x7f, 0x80]);
    assert_eq!(data(&ask(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16])).len(), 16);
    assert_eq!(data(&ask(&[0x03, 0, 0, 0, 18]))[12..14], [0x25, 0]);
    assert_eq!(sense(&ask(&[0x00])), (5, 0x25, 0));
}

#[test]
fn mode_sense_speaks_both_lengths_with_and_without_block_descriptor() {
    let mut unit = disk();
    let six = data(&send(&mut unit, A, &[0x1a, 0, 0x0a, 0, 255]));
    assert_eq!(six[..12], [23, 0, 0x10, 8, 0, 0, 8, 0, 0, 0, 2, 0]);
    let ten = data(&send(&mut unit, A, &[0x5a, 0, 0x0a, 0, 0, 0, 0, 0, 255]));
    assert_eq!(ten[..16], [0, 26, 0, 0x10, 0, 0, 0, 8, 0, 0, 8, 0, 0, 0, 2, 0]);
    assert_eq!(ten[16..], six[12..]);
    let changeable = data(&send(&mut unit, A, &[0x1a, 0x08, 0x4a, 0, 255]));
    assert_eq!(changeable[4..], [0x8a, 0x0a, 0x04, 0, 0x08, 0, 0, 0, 0, 0, 0, 0]);
    let all = data(&send(&mut unit, A, &[0x1a, 0x08, 0x3f, 0xff, 255]));
    assert_eq!((all[4], all[4 + 20], all.len()), (0x08, 0x8a, 36));
    assert_eq!(sense(&send(&mut unit, A, &[0x1a, 0x08, 0x1d, 0, 255])), (5, 0x24, 0));
    assert_eq!(sense(&send(&mut unit, A, &[0x1a, 0x08, 0x0a, 1, 255])), (5, 0x24, 0));
}

#[test]
fn mode_select_refuses_what_may_not_change_and_points_at_it() {
    let mut unit = disk();
    let good = [0, 0, 0, 0, 0x8a, 0x0a, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let select = |unit: &mut RamDisk<Memory>, list: &[u8]| {
        send_out(unit, A, &[0x15, 0x10, 0, 0, list.len() as u8, 0], list)
    };
    for (at, value, pointer) in [(4, 0x1d, 4u8), (5, 0x0b, 5), (9, 1, 9), (6, 0x01, 6), (3, 7, 3)] {
        let mut list = good;
        list[at] = value;
        let reply = select(&mut unit, &list);
        let (key, asc, _) = sense(&reply);
        assert!((key, asc) == (5, 0x26) || (key, asc) == (5, 0x1a), "{at}");
        if asc == 0x26 {
            assert_eq!(reply.sense.unwrap().as_bytes()[15..], [0x80, 0, pointer], "{at}");
        }
    }
    assert_eq!(sense(&select(&mut unit, &good[..15])), (5, 0x1a, 0), "a page that is cut");
    assert_eq!(sense(&send_out(&mut unit, A, &[0x15, 0x10, 0, 0, 16, 0], &good[..8])), (5, 0x1a, 0));
    assert_eq!(data(&send(&mut unit, A, &[0x1a, 0x08, 0x0a, 0, 255]))[6], 0, "nothing was changed");
    assert!(is_good(&send(&mut unit, A, &[0x15, 0x10, 0, 0, 0, 0])), "no list is no error");
    let reply = select(&mut unit, &good);
    assert!(is_good(&reply));
    assert_eq!(reply.data_out_wanted, 16);
}

#[test]
fn the_timestamp_counts_from_power_on_until_it_is_set_and_again_after_a_hard_reset() {
    let mut unit = disk();
    let command = |nexus, cdb: &[u8], data: &[u8], ms: u64| Command {
        nexus,
        from: None,
        cdb: Cdb::new(cdb),
        data_out: vec![Bytes::copy_from_slice(data)],
        now: Instant(ms * 1_000_000),
    };
    let report = [0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
    let set = [0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
    let at = |unit: &mut RamDisk<Memory>, ms| data(&unit.execute(&command(A, &report, &[], ms)));
    assert_eq!(at(&mut unit, 5000), [0, 10, 0, 0, 0, 0, 0, 0, 0x13, 0x88, 0, 0]);
    let reply = unit.execute(&command(A, &set, &[0, 0, 0, 0, 0x01, 0x8c, 0, 0, 0, 1, 0, 0], 6000));
    assert!(is_good(&reply));
    assert_eq!(reply.data_out_wanted, 12);
    assert_eq!((attention(&mut unit, A), attention(&mut unit, B)), (None, Some((0x2a, 0x10))));
    assert_eq!(at(&mut unit, 6255), [0, 10, 2, 0, 0x01, 0x8c, 0, 0, 0x01, 0x00, 0, 0]);
    let too_late = unit.execute(&command(A, &set, &[0, 0, 0, 0, 0xf1, 0, 0, 0, 0, 0, 0, 0], 7000));
    assert_eq!(sense(&too_late), (5, 0x26, 0x00));
    assert_eq!(sense(&unit.execute(&command(A, &set, &[0; 11], 7000))), (5, 0x1a, 0x00));
    unit.reset(Reset::LogicalUnit);
    assert_eq!(attention(&mut unit, A), Some((0x29, 0x03)));
    assert_eq!(at(&mut unit, 7000)[2], 2, "a logical unit reset leaves it alone");
    unit.reset(Reset::Target);
    assert_eq!(attention(&mut unit, A), Some((0x29, 0x02)));
    assert_eq!(at(&mut unit, 8000), [0, 10, 0, 0, 0, 0, 0, 0, 0x1f, 0x40, 0, 0]);
}

#[test]
fn diagnostics_know_the_self_test_and_the_list_of_pages() {
    let mut unit = disk();
    assert!(is_good(&send(&mut unit, A, &[0x1d, 0x04, 0, 0, 0, 0])));
    assert_eq!(data(&send(&mut unit, A, &[0x1c, 0x01, 0x00, 0, 255, 0])), [0, 0, 0, 1, 0]);
    assert_eq!(sense(&send(&mut unit, A, &[0x1c, 0x01, 0x10, 0, 255, 0])), (5, 0x24, 0));
    assert!(is_good(&send_out(&mut unit, A, &[0x1d, 0x10, 0, 0, 4, 0], &[0, 0, 0, 0])));
    assert_eq!(sense(&send_out(&mut unit, A, &[0x1d, 0x10, 0, 0, 4, 0], &[1, 0, 0, 0])), (5, 0x26, 0));
}

#[test]
fn log_sense_lists_its_pages() {
    let mut unit = disk();
    assert_eq!(data(&send(&mut unit, A, &[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255])), [0, 0, 0, 1, 0]);
    assert_eq!(
        data(&send(&mut unit, A, &[0x4d, 0, 0x40, 0xff, 0, 0, 0, 0, 255])),
        [0x40, 0xff, 0, 4, 0, 0, 0, 0xff]
    );
    assert_eq!(sense(&send(&mut unit, A, &[0x4d, 0, 0x6e, 0, 0, 0, 0, 0, 255])), (5, 0x24, 0));
}

#[test]
fn what_the_list_of_operation_codes_names_is_dispatched() {
    let mut unit = disk();
    let list = data(&send(&mut unit, A, &[0xa3, 0x0c, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]));
    for descriptor in list[4..].chunks(8) {
        let (opcode, action) = (descriptor[0], descriptor[3]);
        let byte_1 = if descriptor[5] & 1 != 0 { action } else { 0 };
        let reply = send(&mut unit, A, &[opcode, byte_1]);
        assert!(reply.sense.is_none_or(|sense| sense.check() != crate::Check::InvalidOpcode), "{opcode:x}");
    }
}

/// Persistent reservations as the obvious model: keys by initiator, and who holds what.
#[derive(Default)]
struct Model {
    keys: [Option<u64>; 3],
    held: Option<(usize, u8)>,
}

impl Model {
    fn holder(&self, who: usize) -> bool {
        self.held
            .is_some_and(|(holder, kind)| if kind >= 7 { self.keys[who].is_some() } else { holder == who })
    }

    fn drop_key(&mut self, who: usize) {
        self.keys[who] = None;
        if let Some((holder, kind)) = self.held {
            let ends = if kind >= 7 { self.keys.iter().all(Option::is_none) } else { holder == who };
            if ends {
                self.held = None;
            }
        }
    }

    /// `None`: RESERVATION CONFLICT or an error; nothing changed.
    fn step(&mut self, who: usize, action: u8, kind: u8, keys: (u64, u64)) -> Option<()> {
        let mine = self.keys[who];
        match action {
            REGISTER if mine.unwrap_or(0) != keys.0 => return None,
            REGISTER | REGISTER_AND_IGNORE if keys.1 != 0 => self.keys[who] = Some(keys.1),
            REGISTER | REGISTER_AND_IGNORE => self.drop_key(who),
            _ if mine != Some(keys.0) => return None,
            RESERVE => match self.held {
                None => self.held = Some((who, kind)),
                Some((_, held)) => return (held == kind && self.holder(who)).then_some(()),
            },
            RELEASE if self.holder(who) => {
                if self.held.is_some_and(|(_, held)| held != kind) {
                    return None;
                }
                self.held = None;
            }
            RELEASE => {}
            CLEAR => *self = Self::default(),
            _ => return self.preempt(who, kind, keys.1),
        }
        Some(())
    }

    fn preempt(&mut self, who: usize, kind: u8, victim: u64) -> Option<()> {
        let takes = match self.held {
            Some((_, held)) if held >= 7 => victim == 0,
            Some((holder, _)) => self.keys[holder] == Some(victim),
            None => false,
        };
        if takes {
            let all = victim == 0;
            for other in (0..3).filter(|other| *other != who) {
                if all || self.keys[other] == Some(victim) {
                    self.keys[other] = None;
                }
            }
            self.held = Some((who, kind));
            return Some(());
        }
        let victims: Vec<usize> = (0..3).filter(|i| victim != 0 && self.keys[*i] == Some(victim)).collect();
        victims.iter().for_each(|i| self.drop_key(*i));
        (!victims.is_empty()).then_some(())
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn reservations_follow_the_obvious_model(
        steps in prop::collection::vec(
            (0..3usize, 0..7u8, prop::sample::select(vec![1u8, 3, 5, 6, 7, 8]), 0..4u64, 0..4u64), 1..50)
    ) {
        let mut unit = disk();
        let mut model = Model::default();
        for (who, action, kind, key, action_key) in steps {
            let nexus = [A, B, C][who];
            while attention(&mut unit, nexus).is_some() {}
            let reply = pr_out(&mut unit, nexus, action, kind, (key, action_key), 0);
            let done = model.step(who, action, kind, (key, action_key));
            prop_assert_eq!(is_good(&reply), done.is_some(), "{} {} {:?}", who, action, reply);
            for (index, nexus) in [A, B, C].into_iter().enumerate() {
                while attention(&mut unit, nexus).is_some() {}
                let registered = model.keys[index].is_some();
                let free = model.held.is_none_or(|(_, kind)| model.holder(index) || (kind >= 5 && registered));
                let reads = free || model.held.is_some_and(|(_, kind)| matches!(kind, 1 | 5 | 7));
                prop_assert_eq!([can_read(&mut unit, nexus), can_write(&mut unit, nexus)], [reads, free]);
            }
            let keys = pr_in(&mut unit, A, 0);
            prop_assert_eq!((keys.len() - 8) / 8, model.keys.iter().flatten().count());
        }
    }
}
