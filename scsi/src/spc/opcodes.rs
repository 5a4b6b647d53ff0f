//! REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4), from the table that dispatches.

use alloc::vec::Vec;

use super::{
    table::{Row, Timeouts},
    wire::{len16, len32},
};
use crate::{
    command::{Cdb, Reply},
    sense::Check,
};

/// CTDP and SERVACTV of a command descriptor.
const CTDP: u8 = 0x02;
const SERVACTV: u8 = 0x01;

/// Answers REPORT SUPPORTED OPERATION CODES.
pub(super) fn report<H: Copy>(rows: &[Row<H>], cdb: &Cdb) -> Reply {
    let with_timeouts = cdb.bit(2, 7);
    let (code, action) = (cdb.byte(3), cdb.be16(4));
    let known: Vec<&Row<H>> = rows.iter().filter(|row| row.opcode == code).collect();
    let has_actions = known.iter().any(|row| row.action.is_some());
    let bytes = match cdb.byte(2) & 0x07 {
        0b000 => all(rows, with_timeouts),
        // One operation code that has no service actions.
        0b001 if has_actions => return Check::cdb_bit(2, 2).into(),
        0b001 => one(known.first().copied(), with_timeouts),
        // One that has: the CDB names it.
        0b010 if !known.is_empty() && !has_actions => return Check::cdb_bit(2, 2).into(),
        0b010 | 0b011 => one(known.into_iter().find(|row| action_matches(row, action)), with_timeouts),
        _ => return Check::cdb_bit(2, 2).into(),
    };
    Reply::allocated(bytes, usize::try_from(cdb.be32(6)).unwrap_or(usize::MAX))
}

fn action_matches<H>(row: &Row<H>, action: u16) -> bool {
    u16::from(row.action.unwrap_or(0)) == action
}

fn all<H: Copy>(rows: &[Row<H>], with_timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for row in rows {
        let flags = if with_timeouts { CTDP } else { 0 } | if row.action.is_some() { SERVACTV } else { 0 };
        list.extend([row.opcode, 0, 0, row.action.unwrap_or(0), 0, flags]);
        list.extend(len16(row.usage.len()).to_be_bytes());
        if with_timeouts {
            list.extend(timeouts(row.timeouts));
        }
    }
    let mut bytes = len32(list.len()).to_be_bytes().to_vec();
    bytes.append(&mut list);
    bytes
}

const NOT_SUPPORTED: u8 = 0b001;
const SUPPORTED: u8 = 0b011;

fn one<H: Copy>(row: Option<&Row<H>>, with_timeouts: bool) -> Vec<u8> {
    let Some(row) = row else { return alloc::vec![0, NOT_SUPPORTED, 0, 0] };
    let mut bytes = alloc::vec![0, SUPPORTED | if with_timeouts { 0x80 } else { 0 }];
    bytes.extend(len16(row.usage.len()).to_be_bytes());
    for (at, usage) in row.usage.iter().enumerate() {
        // The service action's field holds the action itself.
        let action = row.action.filter(|_| at == 1);
        bytes.push(action.map_or(*usage, |action| (usage & 0xe0) | action));
    }
    if with_timeouts {
        bytes.extend(timeouts(row.timeouts));
    }
    bytes
}

/// Command timeouts descriptor.
fn timeouts(of: Timeouts) -> [u8; 12] {
    let [n0, n1, n2, n3] = of.nominal_s.to_be_bytes();
    let [r0, r1, r2, r3] = of.recommended_s.to_be_bytes();
    [0x00, 0x0a, 0, 0, n0, n1, n2, n3, r0, r1, r2, r3]
}

/// ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, TARGET RESET: what the transport offers (byte 0). Query functions and
/// I_T nexus reset (byte 1) are not.
const FUNCTIONS: u8 = 0x80 | 0x40 | 0x10 | 0x08 | 0x02;

/// Answers REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS; with REPD the extended form, whose timeouts are not specified.
pub(super) fn report_task_management(cdb: &Cdb) -> Reply {
    let allocation = cdb.be32(6);
    if allocation < 4 {
        return Check::cdb(6).into();
    }
    let mut bytes = alloc::vec![FUNCTIONS, 0, 0, 0];
    if cdb.bit(2, 7) {
        bytes = alloc::vec![0; 16];
        for (at, value) in [(0, FUNCTIONS), (3, 0x0c)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
    }
    Reply::allocated(bytes, usize::try_from(allocation).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spc::{Access, SpcOp};

    const ROWS: &[Row<()>] = &[
        Row::spc(SpcOp::TestUnitReady),
        Row::new(0x01, &[0x01, 0x01, 0, 0, 0, 0], Access::Read, ()).timeouts(2, 0x0102),
        Row::spc(SpcOp::PrReadKeys),
        Row::spc(SpcOp::PrReadReservation),
    ];

    fn ask(cdb: &[u8]) -> Vec<u8> {
        report(ROWS, &Cdb::new(cdb)).data_in.concat()
    }

    #[test]
    fn the_list_has_one_descriptor_for_each_row() {
        let expected = [
            0, 0, 0, 32, // length
            0x00, 0, 0, 0, 0, 0, 0, 6, // TEST UNIT READY
            0x01, 0, 0, 0, 0, 0, 0, 6, // REWIND
            0x5e, 0, 0, 0, 0, 1, 0, 10, // READ KEYS
            0x5e, 0, 0, 1, 0, 1, 0, 10, // READ RESERVATION
        ];
        assert_eq!(ask(&[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), expected);
    }

    #[test]
    fn one_command_comes_with_usage_and_timeouts() {
        let expected = [
            0, 0x83, 0, 6, // supported, timeouts follow
            0x01, 0x01, 0, 0, 0, 0, // usage
            0, 10, 0, 0, 0, 0, 0, 2, 0, 0, 1, 2, // nominal 2 s, recommended 258 s
        ];
        assert_eq!(ask(&[0xa3, 0x0c, 0x81, 0x01, 0, 0, 0, 0, 1, 0, 0, 0]), expected);
    }

    #[test]
    fn a_service_action_stands_in_its_field_of_the_usage_data() {
        let expected = [0, 3, 0, 10, 0x5e, 0x01, 0, 0, 0, 0, 0, 0xff, 0xff, 0];
        assert_eq!(ask(&[0xa3, 0x0c, 0x02, 0x5e, 0, 1, 0, 0, 1, 0, 0, 0]), expected);
        assert_eq!(ask(&[0xa3, 0x0c, 0x03, 0x5e, 0, 1, 0, 0, 1, 0, 0, 0]), expected);
    }

    #[test]
    fn what_we_do_not_have_is_reported_as_such() {
        assert_eq!(ask(&[0xa3, 0x0c, 0x01, 0xff, 0, 0, 0, 0, 1, 0, 0, 0]), [0, 1, 0, 0]);
        assert_eq!(ask(&[0xa3, 0x0c, 0x02, 0x5e, 0, 9, 0, 0, 1, 0, 0, 0]), [0, 1, 0, 0]);
    }

    #[test]
    fn asking_the_wrong_way_is_an_invalid_field() {
        for cdb in [[0xa3, 0x0c, 0x01, 0x5e], [0xa3, 0x0c, 0x02, 0x00], [0xa3, 0x0c, 0x04, 0x00]] {
            let reply = report(ROWS, &Cdb::new(&cdb));
            assert_eq!(reply, Check::cdb_bit(2, 2).into(), "{cdb:x?}");
        }
    }
}
