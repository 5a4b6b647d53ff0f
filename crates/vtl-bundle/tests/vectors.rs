//! Bundles that another program made from the text of the format (`tools/decode/make_vectors.py`).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::process::Command;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Folder, VECTORS, vector};
use sha2::{Digest as _, Sha256};
use vtl_bundle::{Event, Image, Manifest, Signed, Source, verify};
use vtl_codec::{PrivateKey, VerifyingKey};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_vector_is_verified_without_a_key_and_gives_its_image() {
    for name in VECTORS {
        let vector = vector(name);
        let findings = verify(&vector.manifest, &mut &vector.folder, |_, _| {});
        assert!(findings.is_empty(), "{name}: {findings:?}");
        let mut image = Image::open(&vector.manifest, vector.key.as_ref(), &vector.folder).unwrap();
        let mut hasher = Sha256::new();
        image
            .copy(|bytes| {
                hasher.update(bytes);
                Ok(())
            })
            .unwrap();
        assert_eq!(hex(&hasher.finalize()), vector.expected["image_sha256"], "{name}");
        assert_eq!(image.inside().attributes["serial"], "VTLTEST001");
    }
}

#[test]
fn an_object_longer_than_the_format_knows_is_refused() {
    let plain = vector("none-plain");
    let (mut manifest, _) = Manifest::decode(&plain.folder.objects["VTL001L8.manifest"], None).unwrap();
    for (bytes, is_taken) in [(1 << 40, true), ((1 << 40) + 1, false), (u64::MAX, false)] {
        manifest.objects[0].bytes = bytes;
        let decoded = Manifest::decode(&manifest.encode(None).unwrap(), None);
        assert_eq!(decoded.is_ok(), is_taken, "{bytes}: {decoded:?}");
        if let Err(error) = decoded {
            assert!(error.to_string().contains("objects[0] has"), "{error}");
        }
    }
}

#[test]
fn blocks_and_filemarks_come_in_the_order_that_the_maker_wrote() {
    let vector = vector("none-plain");
    let mut image = Image::open(&vector.manifest, None, &vector.folder).unwrap();
    let mut seen = Vec::new();
    let note = |event: Event<'_>| match event {
        Event::Block(block) => block.iter().map(|piece| piece.len()).sum::<usize>(),
        Event::Filemark => 0,
    };
    image
        .events(|event| {
            seen.push(note(event));
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [128, 0, 100, 0, 0]);
    assert_eq!(image.file(0).unwrap(), 0..128);
    assert_eq!(image.file(1).unwrap(), 128..228);
    assert_eq!(image.file(2).unwrap(), 228..228, "between two filemarks there is nothing");
    assert_eq!(image.file(3).unwrap(), 228..228, "nor behind the last one");
    assert!(image.file(4).unwrap_err().to_string().contains("the files are 0 to 3"));
    assert_eq!(image.block(1).unwrap(), 128..228);
    assert!(image.block(2).is_err());
}

#[test]
fn any_recipient_opens_it_and_nobody_else_does() {
    let zstd = vector("zstd-sealed");
    for name in ["made-up-key-1.pem", "made-up-key-2.pem"] {
        let key = PrivateKey::from_pem(&std::fs::read(zstd.home.join(name)).unwrap()).unwrap();
        let data_key = zstd.manifest.data_key(&key).unwrap();
        assert_eq!(hex(data_key.expose()), zstd.expected["data_key"], "{name}");
    }
    let stranger = vector("none-sealed").key;
    let error = Image::open(&zstd.manifest, stranger.as_ref(), &zstd.folder).err().unwrap().to_string();
    assert!(error.contains("no data key for this private key"), "{error}");
    let error = Image::open(&zstd.manifest, None, &zstd.folder).err().unwrap().to_string();
    assert!(
        error.contains("is encrypted for") && error.contains(&zstd.manifest.recipients[1].key),
        "{error}"
    );
}

#[test]
fn openssl_unwraps_the_data_key() {
    let sealed = vector("none-sealed");
    let scratch = tempfile::tempdir().unwrap();
    let wrapped = STANDARD.decode(&sealed.manifest.recipients[0].wrapped).unwrap();
    std::fs::write(scratch.path().join("wrapped"), wrapped).unwrap();
    let output = Command::new("openssl")
        .args(["pkeyutl", "-decrypt", "-in", "wrapped", "-pkeyopt", "rsa_padding_mode:oaep"])
        .args(["-pkeyopt", "rsa_oaep_md:sha256", "-inkey"])
        .arg(sealed.home.join("made-up-key-1.pem"))
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(hex(&output.stdout), sealed.expected["data_key"]);
}

#[test]
fn a_signature_is_known_and_one_that_is_wanted_must_be_there() {
    let signed = vector("zstd-sealed");
    let pem = |name: &str| std::fs::read(vector(name).home.join("signer.pub.pem")).unwrap();
    let signer = VerifyingKey::from_pem(&pem("zstd-sealed")).unwrap();
    assert_eq!(signed.signed, Signed::By(signer));
    let bytes = &signed.folder.objects["VTL001L8.manifest"];
    assert!(Manifest::decode(bytes, Some(&signer)).is_ok());
    let other = VerifyingKey::from_pem(&pem("none-plain")).unwrap();
    assert!(Manifest::decode(bytes, Some(&other)).unwrap_err().to_string().contains("signed by another"));
    let plain = vector("lz4-plain");
    assert_eq!(plain.signed, Signed::No);
    let error = Manifest::decode(&plain.folder.objects["VTL001L8.manifest"], Some(&signer)).unwrap_err();
    assert!(error.to_string().contains("is not signed"), "{error}");
}

#[test]
fn a_marker_is_in_an_object_in_clear_without_key_and_compression_and_nowhere_else() {
    let has = |name: &str| {
        let objects = vector(name).folder.objects;
        objects.values().any(|bytes| bytes.windows(15).any(|window| window == b"MARKER in clear"))
    };
    assert!(has("none-plain"));
    assert!(!has("none-sealed"));
}

#[test]
fn any_part_of_the_image_is_read_from_where_it_lies() {
    for (name, frame) in [("zstd-sealed", 262_144), ("zstd-several", 524_288)] {
        parts_are_read(name, frame);
    }
}

fn parts_are_read(name: &str, frame: u64) {
    let zstd = vector(name);
    let mut image = Image::open(&zstd.manifest, zstd.key.as_ref(), &zstd.folder).unwrap();
    let mut whole = Vec::new();
    image
        .copy(|bytes| {
            whole.extend_from_slice(&bytes);
            Ok(())
        })
        .unwrap();
    let len = whole.len() as u64;
    let ranges = [
        0..0,
        0..1,
        frame - 1..frame + 1,
        frame..len.min(frame * 3),
        5..len - 5,
        len - 1..len,
        len..len,
        0..len,
    ];
    for range in ranges {
        let mut part = Vec::new();
        image
            .read(range.clone(), |bytes| {
                part.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        assert!(part == whole[range.start as usize..range.end as usize], "{range:?}");
    }
    assert!(image.read(len..len + 1, |_| Ok(())).is_err());
    let last = image.block(zstd_blocks(&image) - 1).unwrap();
    let mut block = Vec::new();
    image
        .read(last, |bytes| {
            block.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
    assert_eq!(block, b"d", "the last block is the last letter of 'end'");
}

/// Counts what is read.
struct Counted<'a>(&'a Folder, Rc<Cell<u64>>);
struct CountedObject(Cursor<Vec<u8>>, Rc<Cell<u64>>);

impl Source for Counted<'_> {
    type Object = CountedObject;

    fn open(&mut self, name: &str) -> io::Result<CountedObject> {
        Ok(CountedObject(self.0.clone().objects.remove(name).map(Cursor::new).unwrap(), Rc::clone(&self.1)))
    }
}

impl Read for CountedObject {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let len = self.0.read(room)?;
        self.1.set(self.1.get() + len as u64);
        Ok(len)
    }
}

impl Seek for CountedObject {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

#[test]
fn a_frame_is_reached_without_reading_what_is_before_it() {
    let vector = vector("zstd-sealed");
    let counted = Rc::new(Cell::new(0));
    let source = Counted(&vector.folder, Rc::clone(&counted));
    let mut image = Image::open(&vector.manifest, vector.key.as_ref(), source).unwrap();
    // The second frame of the first object, which has two.
    image.read(262_144..262_145, |_| Ok(())).unwrap();
    let object = &vector.folder.objects["VTL001L8.img.000001"];
    let body = |at: usize| u64::from(u32::from_le_bytes(object[at..at + 4].try_into().unwrap()));
    let second = 80 + 32 + body(84) as usize;
    assert_eq!(counted.get(), 80 + (12 + 2 * 4) + 32 + body(second + 4), "header, table, one frame");
}

fn zstd_blocks<S: Source>(image: &Image<'_, S>) -> u64 {
    image.inside().map.blocks()
}
