//! Any bytes as what a cartridge tells the store: a snapshot, and deltas that apply to it. Two bytes of length before each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_cartridge::inspect;
use vtl_fuzz::{Input, disk};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut notes = Vec::new();
    while !input.0.is_empty() && notes.len() < 16 {
        let len = input.word();
        let mut note = input.take(len).to_vec();
        let len = note.len() as u32;
        // The length is not what is to be found out.
        if let Some(place) = note.get_mut(8..12) {
            place.copy_from_slice(&len.to_le_bytes());
        }
        notes.push(note);
    }
    disk::bounded(data.len(), || {
        for note in &notes {
            drop((inspect::snapshot(note), inspect::delta(note)));
        }
        if let Some((snapshot, deltas)) = notes.split_first() {
            // Damage is an answer.
            let _ = inspect::replay(snapshot, deltas);
        }
    });
});
