//! Any bytes as a manifest and as the objects that it names: whoever gets a folder from somewhere reads both.
#![no_main]

use std::io::{self, Cursor};

use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use vtl_bundle::{CHUNK_HEADER_BYTES, Event, FRAME_HEADER_BYTES, Image, Manifest, Map, Source, verify};

/// Every object is the same bytes.
struct Same<'a>(&'a [u8]);

impl<'a> Source for Same<'a> {
    type Object = Cursor<&'a [u8]>;

    fn open(&mut self, _: &str) -> io::Result<Self::Object> {
        Ok(Cursor::new(self.0))
    }
}

/// A manifest for objects that begin as the seeds: the fuzzer finds no hashes.
const MANIFEST: &[u8] = include_bytes!(
    "../../../crates/vtl-bundle/tests/vectors/lz4-plain/VTL001L8-20261126_031500/VTL001L8.manifest"
);

/// Filemarks cost a map nothing.
const MAX_EVENTS: u32 = 100_000;

fn look(manifest: &[u8], object: &[u8]) {
    let Ok((manifest, _)) = Manifest::decode(manifest, None) else { return };
    let findings = verify(&manifest, &mut Same(object), |_, _| {});
    let Ok(mut image) = Image::open(&manifest, None, Same(object)) else { return };
    let (mut bytes, mut events) = (0, 0);
    let done = image.events(|event| {
        if let Event::Block(block) = event {
            bytes += block.iter().map(|piece| piece.len() as u64).sum::<u64>();
        }
        events += 1;
        if events < MAX_EVENTS { Ok(()) } else { Err(io::ErrorKind::Other.into()) }
    });
    if done.is_ok() {
        assert!(findings.is_empty(), "what decodes is what verifies");
        assert_eq!(bytes, manifest.image_bytes);
    }
    for number in 0..4 {
        if let Ok(range) = image.file(number) {
            let _ = image.read(range, |_| Ok(()));
        }
    }
}

/// The fuzzer's line with the second line that belongs to it.
fn sealed(line: &[u8]) -> Vec<u8> {
    let hash: String = Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect();
    [line, format!("\n{{\"sha256\":\"{hash}\"}}\n").as_bytes()].concat()
}

/// An object whose checksums are right, as far as its lengths go.
fn mended(object: &[u8]) -> Vec<u8> {
    let mut bytes = object.to_vec();
    mend(&mut bytes, 0, CHUNK_HEADER_BYTES, 0);
    let mut at = CHUNK_HEADER_BYTES;
    while let Some(length) = bytes.get(at + 4..at + 8).and_then(|field| field.try_into().ok()) {
        if bytes[at..].starts_with(b"VTLX") {
            let table = bytes.len() - at;
            mend(&mut bytes, at, table, 0);
            break;
        }
        let body = u32::from_le_bytes(length) as usize;
        mend(&mut bytes, at, FRAME_HEADER_BYTES, body);
        at += FRAME_HEADER_BYTES + body;
    }
    bytes
}

/// The checksum that ends a header.
fn mend(bytes: &mut [u8], at: usize, header: usize, body: usize) {
    let Some(whole) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..header + body)) else { return };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&whole[..header - 4]);
    hasher.update(&whole[header..]);
    whole[header - 4..header].copy_from_slice(&hasher.finalize().to_le_bytes());
}

/// The inside of a manifest may become 128 MiB, whatever its length, and a map of half of that.
const MAX_MEMORY: usize = 512 << 20;

fuzz_target!(|data: &[u8]| vtl_fuzz::disk::limited(MAX_MEMORY, || look_at_all(data)));

fn look_at_all(data: &[u8]) {
    if let Ok(map) = Map::decode(data) {
        assert_eq!(map.encode(), data);
    }
    look(data, data);
    look(&sealed(data), data);
    look(MANIFEST, data);
    look(MANIFEST, &mended(data));
}
