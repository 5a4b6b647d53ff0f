//! Any CDB with any data, on the drive, the changer and the disk.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scsi::LogicalUnit;
use vtl_fuzz::{Input, devices};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte().unwrap_or(0) % 3 {
        0 => all(&mut devices::drive(), &mut input),
        1 => all(&mut devices::changer(), &mut input),
        _ => all(&mut devices::disk(), &mut input),
    }
});

fn all(unit: &mut impl LogicalUnit, input: &mut Input<'_>) {
    for _ in 0..64 {
        let Some(shape) = input.byte() else { return };
        let cdb = input.take(16);
        let length = if shape & 0x80 == 0 { usize::from(shape) } else { input.word() };
        devices::run(unit, 1 + (shape & 1), cdb, input.take(length));
    }
}
