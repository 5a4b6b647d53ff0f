//! Random operations on a cartridge and on a model of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ID, Model, cases, content, op, open_store, run, settings, spec};
use proptest::{collection::vec, prelude::*};
use vtl_cartridge::{Cartridge, Settings};
use vtl_durable::SimDisk;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(150) as u32))]

    #[test]
    fn a_cartridge_does_what_a_list_of_objects_does(ops in vec(op(), 1..120), seed: u64) {
        let disk = SimDisk::new(seed);
        let store = open_store(&disk).unwrap();
        Cartridge::create(&store, ID, &spec("VTL001L8", 30_000, 8_000)).unwrap();
        let mut model = Model::new(30_000, 8_000);
        let mut tape = Some(Cartridge::load(&store, ID, settings()).unwrap());
        for op in &ops {
            run(op, &mut tape, &store, &mut model).unwrap();
        }
        let mut tape = tape.unwrap();
        prop_assert_eq!(content(&mut tape).unwrap(), model.content.clone());
        tape.flush().unwrap();
        drop((tape, store));

        let store = open_store(&disk.after_crash(seed)).unwrap();
        let mut tape = Cartridge::open(&store, ID, Settings::default()).unwrap();
        prop_assert_eq!(content(&mut tape).unwrap(), model.content);
    }
}
