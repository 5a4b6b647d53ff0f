//! Sequences of sensible operations: the drive against a list of blocks and marks, the changer against a count of cartridges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::{Input, devices};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte().unwrap_or(0) & 1 {
        0 => tape(&mut input),
        _ => library(&mut input),
    }
});

/// The smallest model: objects, and a position.
fn tape(input: &mut Input<'_>) {
    let mut drive = devices::drive();
    let mut objects: Vec<Option<Vec<u8>>> = Vec::new();
    let mut at = 0;
    for step in 0..200_u8 {
        let Some(what) = input.byte() else { return };
        let length = usize::from(input.byte().unwrap_or(0)) + 1;
        let [_, a, b, c] = (length as u32).to_be_bytes();
        match what % 6 {
            0 | 1 => {
                let block = vec![step ^ what; length];
                let reply = devices::run(&mut drive, 1, &[0x0a, 0, a, b, c, 0], &block);
                assert_eq!(reply.status as u8, 0, "there is room");
                objects.truncate(at);
                objects.push(Some(block));
                at += 1;
            }
            2 => {
                let count = usize::from(what >> 6);
                devices::run(&mut drive, 1, &[0x10, 0, 0, 0, count as u8, 0], &[]);
                if count > 0 {
                    objects.truncate(at);
                    objects.extend((0..count).map(|_| None));
                    at += count;
                }
            }
            3 => {
                // Longer than any block here, with SILI: the length is not complained about.
                let reply = devices::run(&mut drive, 1, &[0x08, 0x02, 0, 2, 0, 0], &[]);
                let expected = objects.get(at);
                match expected {
                    Some(Some(block)) => assert_eq!(&reply.data_in.concat(), block),
                    _ => assert_eq!(reply.status as u8, 2, "a mark or the end"),
                }
                at += usize::from(expected.is_some());
            }
            4 => {
                let to = if objects.is_empty() { 0 } else { length % (objects.len() + 1) };
                let [a, b, c, d] = (to as u32).to_be_bytes();
                let reply = devices::run(&mut drive, 1, &[0x2b, 0, 0, a, b, c, d, 0, 0, 0], &[]);
                assert_eq!(reply.status as u8, 0);
                at = to;
            }
            _ => {
                devices::run(&mut drive, 1, &[0x01, 0, 0, 0, 0, 0], &[]);
                at = 0;
            }
        }
        let told = devices::run(&mut drive, 1, &[0x34, 0x06, 0, 0, 0, 0, 0, 0, 0, 0], &[]).data_in.concat();
        let word = |from: usize| u64::from_be_bytes(told[from..from + 8].try_into().expect("32 bytes"));
        let marks = objects[..at].iter().filter(|object| object.is_none()).count();
        assert_eq!((word(8), word(16)), (at as u64, marks as u64), "position after {what}");
    }
}

/// No cartridge is ever lost or doubled.
fn library(input: &mut Input<'_>) {
    let mut changer = devices::changer();
    let count = changer.inventory().count();
    for _ in 0..100 {
        let Some(what) = input.byte() else { return };
        let mut address = || {
            let pick = u16::from(input.byte().unwrap_or(0));
            [0x0001, 0x0100, 0x0300, 0x0400][usize::from(pick & 3)] + (pick >> 2) % 8
        };
        let ([a, b], [c, d], [e, f]) =
            (address().to_be_bytes(), address().to_be_bytes(), address().to_be_bytes());
        match what % 4 {
            0 | 1 => devices::run(&mut changer, 1, &[0xa5, 0, 0, 0, a, b, c, d, 0, 0, 0, 0], &[]),
            2 => devices::run(&mut changer, 1, &[0xa6, 0, 0, 0, a, b, c, d, e, f, 0, 0], &[]),
            _ => devices::run(&mut changer, 1, &[0xb8, what & 0x10, a, b, c, d, 0, 0, e, f, 0, 0], &[]),
        };
        assert_eq!(changer.inventory().count(), count);
    }
}
