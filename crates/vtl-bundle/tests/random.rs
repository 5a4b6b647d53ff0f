//! Random tapes with random settings: what is read is what was written, whole and from any place.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use common::{Folder, vector};
use proptest::collection::vec;
use proptest::prelude::*;
use vtl_bundle::{Event, Image, Settings, Writer, verify};
use vtl_codec::{Method, PublicKey, Randomness};

/// A run of equal blocks of one byte each, or filemarks.
#[derive(Clone, Debug)]
struct Run {
    len: usize,
    count: usize,
    fill: u8,
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let len = prop_oneof![Just(0), 1..3_usize, 1..70_000_usize, Just(262_144), 200_000..400_000_usize];
    let run = (len, 1..4_usize, any::<u8>()).prop_map(|(len, count, fill)| Run { len, count, fill });
    vec(run, 0..12)
}

/// Bytes that repeat, or that do not, by the number.
fn block(run: &Run, number: usize) -> Vec<u8> {
    if run.fill.is_multiple_of(2) {
        return vec![run.fill; run.len];
    }
    let mut bytes = vec![0; run.len];
    blake3::Hasher::new().update(&[run.fill, number as u8]).finalize_xof().fill(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_tape_comes_back_whole_and_block_by_block(
        runs in runs(),
        codec in prop_oneof![Just(Method::Raw), Just(Method::Zstd), Just(Method::Lz4)],
        sealed in any::<bool>(),
    ) {
        let key = vector("none-sealed").key.unwrap();
        let public = || PublicKey::from_der(key.public().der()).unwrap();
        let settings = Settings {
            version: vtl_bundle::Version::default(),
            label: "VTL003L8".parse().unwrap(),
            created: "20260101_000000".parse().unwrap(),
            generation: 1,
            attributes: Default::default(),
            codec,
            level: 1,
            chunk_bytes: 1 << 20,
            recipients: if sealed { vec![public()] } else { Vec::new() },
            signing: None,
            random: Randomness::system(),
        };
        let mut writer = Writer::new(settings, Folder::default()).unwrap();
        let mut tape = Vec::new();
        for run in &runs {
            for number in 0..run.count {
                let block = block(run, number);
                match run.len {
                    0 => writer.filemarks(1).unwrap(),
                    _ => writer.block(&block).unwrap(),
                }
                tape.push(block);
            }
        }
        let (manifest, folder) = writer.finish().unwrap();
        let findings = verify(&manifest, &mut &folder, |_, _| ());
        prop_assert!(findings.is_empty(), "{findings:?}");
        let mut image = Image::open(&manifest, Some(&key), &folder).unwrap();
        let mut back = Vec::new();
        let thing = |event: Event<'_>| match event {
            Event::Block(block) => block.concat(),
            Event::Filemark => Vec::new(),
        };
        image.events(|event| { back.push(thing(event)); Ok(()) }).unwrap();
        prop_assert!(back == tape);
        for (number, wanted) in tape.iter().filter(|block| !block.is_empty()).enumerate() {
            let range = image.block(number as u64).unwrap();
            let mut read = Vec::new();
            image.read(range, |bytes| { read.extend_from_slice(bytes); Ok(()) }).unwrap();
            prop_assert!(read == *wanted, "block {number}");
        }
    }
}
