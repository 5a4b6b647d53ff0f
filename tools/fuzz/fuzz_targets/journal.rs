//! Any bytes as a file of the journal: as a tool looks at it, and as a start believes it.
#![no_main]

use std::io::IoSlice;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vtl_durable::log::{self, LogError};
use vtl_durable::sealed::Kind;
use vtl_durable::{Disk, Open, SimDisk};
use vtl_fuzz::disk;
use vtl_store::inspect::FileKind;

const KIND: Kind = Kind { magic: *b"VTLJRNL\0", version: 0 };

fuzz_target!(|data: &[u8]| {
    disk::look(FileKind::Journal, data, disk::mend_log);
    let mut bytes = data.to_vec();
    disk::mend_log(&mut bytes);
    let (sim, path) = (SimDisk::new(1), Path::new("/log"));
    let file = sim.open(path, Open::Create).expect("a new file");
    file.write_at(0, &[IoSlice::new(&bytes)]).expect("a disk that does not fail");
    disk::bounded(bytes.len(), || {
        // Damage is an answer.
        let _ = log::scan(&sim, path, KIND, |_, _| Ok::<(), LogError>(()));
    });
});
