//! Any bytes as a file that is replaced as a whole: head, pool, keyring, folders of packs, quarantine, scrub, the index's manifest. The first bytes say which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::disk;
use vtl_store::inspect::{self, FileKind};

const KINDS: [FileKind; 9] = [
    FileKind::Keyring,
    FileKind::Members,
    FileKind::Member,
    FileKind::Head,
    FileKind::Pool,
    FileKind::Quarantine,
    FileKind::Scrub,
    FileKind::Manifest,
    FileKind::Newest,
];

fuzz_target!(|data: &[u8]| {
    let said = inspect::kind(data, "").filter(|kind| KINDS.contains(kind));
    let by_first = KINDS[usize::from(data.first().copied().unwrap_or(0)) % KINDS.len()];
    disk::look(said.unwrap_or(by_first), data, disk::mend_sealed);
});
