//! A byte stream into a connection: from its first byte, or after a good login; in pieces, with time passing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::{Input, Peer};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut peer = if input.byte().unwrap_or(0) & 1 == 0 { Peer::logged_in() } else { Peer::new() };
    while !peer.is_closed() {
        let Some(what) = input.byte() else { return };
        match what {
            // A header whose lengths are kept short, so that what is behind it is reached.
            0..=159 => {
                let mut header = [0; 48];
                let given = input.take(48);
                header[..given.len()].copy_from_slice(given);
                if what & 1 == 0 {
                    (header[4], header[5], header[6]) = (0, 0, 0);
                }
                let length = usize::from(header[7]);
                peer.feed(&header);
                let mut segment = input.take(length).to_vec();
                segment.resize(length.next_multiple_of(4), 0);
                peer.feed(&segment);
            }
            160..=249 => peer.feed(input.take(usize::from(what))),
            _ => peer.wait(u64::from(what) << 30),
        }
    }
});
