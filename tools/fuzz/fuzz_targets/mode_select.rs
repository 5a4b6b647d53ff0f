//! MODE SELECT with any parameter list; MODE SENSE afterwards must still answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scsi::LogicalUnit;
use vtl_fuzz::{Input, devices};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte().unwrap_or(0) % 3 {
        0 => select(&mut devices::drive(), &mut input),
        1 => select(&mut devices::changer(), &mut input),
        _ => select(&mut devices::disk(), &mut input),
    }
});

fn select(unit: &mut impl LogicalUnit, input: &mut Input<'_>) {
    for _ in 0..16 {
        let Some(flags) = input.byte() else { break };
        let length = usize::from(input.byte().unwrap_or(0));
        let list = input.take(length);
        let cdb: &[u8] = match flags & 0x80 {
            0 => &[0x15, flags & 0x11, 0, 0, list.len() as u8, 0],
            _ => &[0x55, flags & 0x11, 0, 0, 0, 0, 0, 0, list.len() as u8, 0],
        };
        devices::run(unit, 1, cdb, list);
        // Someone else may have been told of the change first.
        for _ in 0..3 {
            devices::run(unit, 2, &[0x1a, 0, 0x3f, 0xff, 255, 0], &[]);
        }
        let sensed = devices::run(unit, 2, &[0x1a, 0, 0x3f, 0, 255, 0], &[]);
        assert_eq!(sensed.status as u8, 0, "MODE SENSE of all pages");
        assert!(sensed.data_in.concat().len() <= 255);
    }
}
