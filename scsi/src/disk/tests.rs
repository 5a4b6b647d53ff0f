use alloc::vec;
use proptest::prelude::*;

use super::*;
use crate::testing::{A, B, C, Memory, cases, connect, data, is_conflict, is_good, send, send_out, sense};

const BLOCKS: u64 = 2048;

fn disk() -> RamDisk<Memory> {
    disk_on(Memory::default())
}

fn disk_on(memory: Memory) -> RamDisk<Memory> {
    let identity = Identity::new(&RamDisk::<Memory>::personality().unwrap(), "DISK000001", 7)
        .with_port("iqn.2026-11.internal.vtl:diag", 1);
    let mut disk = RamDisk::new(identity, BLOCKS * 512 + 100, memory);
    connect(&mut disk);
    disk
}

fn read10(lba: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = vec![0x28, 0];
    cdb.extend(lba.to_be_bytes());
    cdb.push(0);
    cdb.extend(blocks.to_be_bytes());
    cdb
}

fn write10(lba: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = read10(lba, blocks);
    cdb[0] = 0x2a;
    cdb
}

#[test]
fn the_capacity_is_told_in_both_forms() {
    let mut disk = disk();
    assert_eq!(data(&send(&mut disk, A, &[0x25])), [0, 0, 0x07, 0xff, 0, 0, 2, 0]);
    let long = data(&send(&mut disk, A, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32]));
    assert_eq!(long[..12], [0, 0, 0, 0, 0, 0, 0x07, 0xff, 0, 0, 2, 0]);
    assert_eq!(long.len(), 32);
    assert_eq!(sense(&send(&mut disk, A, &[0x25, 0, 0, 0, 0, 1])), (5, 0x24, 0x00));
}

#[test]
fn what_is_written_is_read_by_every_kind_of_cdb() {
    let mut disk = disk();
    let block: Vec<u8> = (0..1024u32).map(|n| n as u8).collect();
    let reply = send_out(&mut disk, A, &write10(5, 2), &block);
    assert!(is_good(&reply));
    assert_eq!(reply.data_out_wanted, 1024);
    let reads = [
        read10(5, 2),
        vec![0x08, 0, 0, 5, 2, 0],
        vec![0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0],
        vec![0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0],
    ];
    for cdb in reads {
        assert_eq!(data(&send(&mut disk, A, &cdb)), block, "{cdb:x?}");
    }
    assert_eq!(data(&send(&mut disk, A, &[0x08, 0, 0, 5, 0, 0])).len(), 256 * 512, "READ(6): 0 means 256");
}

#[test]
fn nothing_beyond_the_end_is_touched() {
    let mut disk = disk();
    for cdb in [read10(2048, 1), read10(2047, 2), read10(0xffff_ffff, 1), write10(2047, 2), read10(2049, 0)] {
        assert_eq!(sense(&send_out(&mut disk, A, &cdb, &[0; 1024])), (5, 0x21, 0x00), "{cdb:x?}");
    }
    let far = [0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1];
    assert_eq!(sense(&send(&mut disk, A, &far)), (5, 0x21, 0x00));
    assert!(is_good(&send(&mut disk, A, &read10(2048, 0))), "no blocks at the end are no error");
    assert!(data(&send(&mut disk, A, &read10(0, 0))).is_empty());
}

#[test]
fn protection_information_is_not_offered() {
    let mut disk = disk();
    for opcode in [0x28, 0x2a, 0x2e, 0x2f, 0x88, 0x8a, 0x8e, 0x8f, 0xa8, 0xaa, 0xae, 0xaf] {
        let reply = send(&mut disk, A, &[opcode, 0x20]);
        assert_eq!(sense(&reply), (5, 0x24, 0x00), "{opcode:x}");
    }
    assert!(is_good(&send(&mut disk, A, &[0x28, 0x18])), "DPO and FUA");
}

#[test]
fn a_write_takes_the_whole_blocks_that_came_and_refuses_a_part_of_one() {
    let mut disk = disk();
    let reply = send_out(&mut disk, A, &write10(0, 2), &[7; 512]);
    assert!(is_good(&reply));
    assert_eq!(reply.data_out_wanted, 1024);
    assert!(is_good(&send_out(&mut disk, A, &write10(0, 1), &[])));
    let reply = send_out(&mut disk, A, &write10(0, 1), &[9; 200]);
    assert_eq!((sense(&reply), reply.data_out_wanted), ((5, 0x0e, 0x03), 512));
    let too_much = send_out(&mut disk, A, &write10(2, 1), &[8; 1024]);
    assert_eq!(too_much.data_out_wanted, 512);
    let expected = [[7; 512], [0; 512], [8; 512], [0; 512]].concat();
    assert_eq!(data(&send(&mut disk, A, &read10(0, 4))), expected);
}

#[test]
fn verify_compares_only_when_asked() {
    let mut disk = disk();
    assert!(is_good(&send(&mut disk, A, &[0x2f, 0, 0, 0, 0, 0, 0, 0, 1, 0])));
    let compare = [0x2f, 0x02, 0, 0, 0, 0, 0, 0, 1, 0];
    let mut block = [0; 512];
    assert!(is_good(&send_out(&mut disk, A, &compare, &block)));
    block[300] = 1;
    let reply = send_out(&mut disk, A, &compare, &block);
    assert_eq!(sense(&reply), (0x0e, 0x1d, 0x00));
    assert_eq!(reply.sense.unwrap().as_bytes()[..7], [0xf0, 0, 0x0e, 0, 0, 0x01, 0x2c]);
    assert_eq!(sense(&send(&mut disk, A, &[0x2f, 0x04, 0, 0, 0, 0, 0, 0, 1, 0])), (5, 0x24, 0x00));
}

#[test]
fn write_and_verify_writes_in_every_length_and_keeps_the_residuals_of_a_write() {
    let mut disk = disk();
    for (fill, cdb) in [
        (1, vec![0x2e, 0, 0, 0, 0, 5, 0, 0, 2, 0]),
        (2, vec![0xae, 0x02, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0]),
        (3, vec![0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 0, 0]),
    ] {
        let reply = send_out(&mut disk, A, &cdb, &[fill; 1024]);
        assert!(is_good(&reply));
        assert_eq!(reply.data_out_wanted, 1024);
        assert_eq!(data(&send(&mut disk, A, &read10(5, 2))), [fill; 1024], "{cdb:x?}");
    }
    let compared = [0x2e, 0x02, 0, 0, 0, 5, 0, 0, 2, 0];
    let short = send_out(&mut disk, A, &compared, &[4; 512]);
    assert!(is_good(&short));
    assert_eq!(short.data_out_wanted, 1024);
    let part = send_out(&mut disk, A, &compared, &[5; 100]);
    assert_eq!((sense(&part), part.data_out_wanted), ((5, 0x0e, 0x03), 1024));
    assert_eq!(data(&send(&mut disk, A, &read10(5, 2))), [[4; 512], [3; 512]].concat());
    let reserved = [0x2e, 0x04, 0, 0, 0, 5, 0, 0, 2, 0];
    assert_eq!(sense(&send_out(&mut disk, A, &reserved, &[6; 1024])), (5, 0x24, 0x00));
    assert_eq!(data(&send(&mut disk, A, &read10(5, 1))), [4; 512], "refused before anything is written");
}

#[test]
fn ejecting_and_loading_work_unless_prevented() {
    let mut disk = disk();
    let (eject, load) = ([0x1b, 0, 0, 0, 0x02, 0], [0x1b, 0, 0, 0, 0x03, 0]);
    assert!(is_good(&send(&mut disk, A, &[0x1e, 0, 0, 0, 1, 0])));
    assert_eq!(sense(&send(&mut disk, A, &eject)), (5, 0x53, 0x02));
    disk.nexus_closed(A);
    disk.nexus_opened(A, &crate::testing::port("iqn.2026-11.test:a"));
    assert_eq!(sense(&send(&mut disk, A, &eject)), (6, 0x29, 0x00));
    assert!(is_good(&send(&mut disk, A, &eject)));
    for cdb in [vec![0x00], read10(0, 1), vec![0x25], vec![0x35, 0, 0, 0, 0, 0, 0, 0, 1]] {
        assert_eq!(sense(&send(&mut disk, A, &cdb)), (2, 0x3a, 0x00), "{cdb:x?}");
    }
    assert!(is_good(&send(&mut disk, A, &load)));
    assert!(is_good(&send(&mut disk, A, &[0x00])));
    assert_eq!(sense(&send(&mut disk, B, &[0x00])), (6, 0x28, 0x00));
}

#[test]
fn without_loej_or_with_a_power_condition_nothing_is_ejected() {
    let mut disk = disk();
    for byte_4 in (0u8..16).map(|condition| condition << 4 | 0x02).skip(1).chain([0x00, 0x01, 0x04, 0x05]) {
        assert!(is_good(&send(&mut disk, A, &[0x1b, 1, 0, 0, byte_4, 0])), "{byte_4:x}");
        assert!(is_good(&send(&mut disk, A, &[0x00])));
    }
}

#[test]
fn software_write_protection_is_a_mode_parameter() {
    let mut disk = disk();
    let mut control = data(&send(&mut disk, A, &[0x1a, 0x08, 0x0a, 0, 255, 0]));
    assert_eq!(control, [15, 0, 0x10, 0, 0x8a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    control[0] = 0;
    control[4 + 4] = 0x08;
    assert!(is_good(&send_out(&mut disk, A, &[0x15, 0x10, 0, 0, 16, 0], &control)));
    assert_eq!(sense(&send_out(&mut disk, A, &write10(0, 1), &[1; 512])), (7, 0x27, 0x00));
    assert_eq!(data(&send(&mut disk, A, &[0x1a, 0, 0x3f, 0, 255, 0]))[2], 0x90);
    assert!(is_good(&send(&mut disk, A, &read10(0, 1))));
    assert_eq!(sense(&send(&mut disk, B, &[0x00])), (6, 0x2a, 0x01), "others hear of it");
}

#[test]
fn d_sense_changes_the_format_of_sense_data() {
    let mut disk = disk();
    let mut list = [0; 16];
    list[4..6].copy_from_slice(&[0x0a, 0x0a]);
    list[6] = 0x04;
    assert!(is_good(&send_out(&mut disk, A, &[0x15, 0x10, 0, 0, 16, 0], &list)));
    let reply = send(&mut disk, A, &read10(0xffff, 1));
    assert_eq!(reply.sense.unwrap().as_bytes(), [0x72, 5, 0x21, 0, 0, 0, 0, 0]);
    disk.reset(Reset::LogicalUnit);
    assert_eq!(send(&mut disk, A, &[0x00]).sense.unwrap().as_bytes()[0], 0x70, "the page was not saved");
}

#[test]
fn saved_pages_and_aptpl_reservations_outlive_a_restart() {
    let memory = Memory::default();
    {
        let mut disk = disk_on(memory.clone());
        let mut list = [0; 16];
        list[4..6].copy_from_slice(&[0x0a, 0x0a]);
        list[8] = 0x08;
        assert!(is_good(&send_out(&mut disk, A, &[0x15, 0x11, 0, 0, 16, 0], &list)));
        let mut register = [0; 24];
        (register[15], register[20]) = (9, 1);
        assert!(is_good(&send_out(&mut disk, A, &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24], &register)));
        register[7] = 9;
        assert!(is_good(&send_out(&mut disk, A, &[0x5f, 1, 1, 0, 0, 0, 0, 0, 24], &register)));
    }
    let mut disk = disk_on(memory);
    assert_eq!(data(&send(&mut disk, A, &[0x1a, 0x08, 0x0a, 0, 255, 0]))[8], 0x08);
    let keys = data(&send(&mut disk, B, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0]));
    assert_eq!(keys, [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9]);
    assert!(is_conflict(&send_out(&mut disk, B, &write10(0, 1), &[0; 512])));
    assert!(is_good(&send(&mut disk, B, &read10(0, 1))));
}

#[test]
fn vpd_pages_are_listed_in_order_and_all_answer() {
    let mut disk = disk();
    let list = data(&send(&mut disk, A, &[0x12, 1, 0, 0, 255, 0]));
    assert_eq!(list, [0, 0, 0, 6, 0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1]);
    for code in &list[4..] {
        let page = data(&send(&mut disk, A, &[0x12, 1, *code, 0, 255, 0]));
        assert_eq!((page[1], page.len()), (*code, 4 + page[3] as usize));
    }
    let limits = data(&send(&mut disk, A, &[0x12, 1, 0xb0, 0, 255, 0]));
    assert_eq!((limits.len(), &limits[8..12]), (64, &[0, 0, 0x40, 0][..]));
    assert_eq!(sense(&send(&mut disk, A, &[0x12, 1, 0xb5, 0, 255, 0])), (5, 0x24, 0x00));
    assert_eq!(sense(&send(&mut disk, A, &[0x12, 0, 0x80, 0, 255, 0])), (5, 0x24, 0x00));
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_command_with_any_data_is_answered(cdb: [u8; 16], list in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut disk = disk();
        for opcode in COMMANDS.iter().map(|row| row.opcode).chain([cdb[0]]) {
            let mut cdb = cdb;
            cdb[0] = opcode;
            let reply = send_out(&mut disk, A, &cdb, &list);
            prop_assert_eq!(reply.sense.is_some(), reply.status as u8 == 0x02);
        }
    }

    #[test]
    fn the_disk_keeps_what_a_plain_array_keeps(
        writes in prop::collection::vec((0..BLOCKS - 8, 1..8u16, any::<u8>()), 1..40)
    ) {
        let mut disk = disk();
        let mut model = vec![0u8; BLOCKS as usize];
        for (lba, blocks, fill) in writes {
            let data = vec![fill; usize::from(blocks) * 512];
            prop_assert!(is_good(&send_out(&mut disk, C, &write10(lba as u32, blocks), &data)));
            model[lba as usize..lba as usize + usize::from(blocks)].fill(fill);
        }
        let all = data(&send(&mut disk, B, &read10(0, BLOCKS as u16)));
        prop_assert!(all.chunks(512).zip(&model).all(|(block, fill)| block.iter().all(|byte| byte == fill)));
    }
}
