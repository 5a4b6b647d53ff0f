//! Login requests with any text, cut into PDUs anyhow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::{Input, Peer};

fuzz_target!(|data: &[u8]| {
    drop(vtl_iscsi::text::pairs(data));
    if let Ok(text) = std::str::from_utf8(data) {
        drop((vtl_iscsi::text::number(text), vtl_iscsi::text::boolean(text), vtl_iscsi::text::binary(text)));
    }
    let mut input = Input(data);
    let mut peer = Peer::new();
    while let Some(flags) = input.byte() {
        let length = input.word() % 9000;
        let text = input.take(length);
        let mut header = [0_u8; 48];
        (header[0], header[1], header[13]) = (0x43, flags, 1);
        header[5..8].copy_from_slice(&(text.len() as u32).to_be_bytes()[1..]);
        let mut bytes = [&header[..], text].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        peer.feed(&bytes);
        if peer.is_closed() {
            return;
        }
    }
});
