//! Any bytes as a pack: header, regions, chunks, footer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::disk;
use vtl_store::inspect::FileKind;

fuzz_target!(|data: &[u8]| disk::look(FileKind::Pack, data, disk::mend_pack));
