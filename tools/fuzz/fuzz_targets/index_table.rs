//! Any bytes as a table of the index: header, directory, pages, hooks, filter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vtl_fuzz::disk;
use vtl_store::inspect::FileKind;

fuzz_target!(|data: &[u8]| disk::look(FileKind::Table, data, disk::mend_table));
