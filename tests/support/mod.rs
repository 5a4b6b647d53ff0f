//! What whole-daemon tests stand on: the real program in a folder of its own, a small initiator written from RFC 7143 alone,
//! and plain HTTP. Nothing here shares code with the program.

pub mod hash;
pub mod initiator;
pub mod provider;
pub mod scsi;
pub mod server;

use std::time::{Duration, Instant};

pub use initiator::{Initiator, Login, Outcome};
pub use provider::Provider;
pub use server::{Answer, Server};

/// Target of the library that an empty state begins with.
pub const LIB0: &str = "iqn.2026-11.internal.vtl:lib0";
/// Target of the diagnostic disk.
pub const DIAG: &str = "iqn.2026-11.internal.vtl:diag";

/// No single wait of a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many rounds a repeated test runs: `few`, or `many` in a long run.
pub fn rounds(few: u32, many: u32) -> u32 {
    match std::env::var("VTL_TEST_CASES").ok().and_then(|text| text.parse::<u32>().ok()) {
        Some(factor) if factor > 1 => many,
        _ => few,
    }
}

/// Waits until `what` gives something.
pub fn eventually<T>(about: &str, mut what: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < end, "it did not come to this: {about}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that depend on `seed` alone and repeat nowhere near (xorshift64*).
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes());
    }
    bytes.truncate(len);
    bytes
}
