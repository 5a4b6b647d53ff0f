//! What the writer makes is what was given to it, whatever its settings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::io;
use std::process::Command;

use bytes::Bytes;
use common::{Folder, vector};
use vtl_bundle::{Event, Identity, Image, Manifest, Settings, Signed, Sink, Stored, Version, Writer, verify};
use vtl_codec::{Compressed, Compressors, Method, Portion, PublicKey, Randomness, SigningKey};

fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Block(Vec<u8>),
    Mark,
}

/// A tape: noise and text, blocks of all lengths, marks alone and side by side.
fn tape() -> Vec<Thing> {
    let mut things = vec![Thing::Mark];
    things.extend((0..40).map(|at| Thing::Block(noise(65_536, at))));
    things.extend([Thing::Mark, Thing::Mark]);
    things.extend((1..200).map(|at| Thing::Block("text on a tape ".repeat(at * 5).into_bytes())));
    things.push(Thing::Block(noise(1 << 20, 99)));
    things.push(Thing::Mark);
    things
}

fn settings(codec: Method) -> Settings {
    Settings {
        version: Version::default(),
        label: "VTL002L8".parse().unwrap(),
        created: "20260101_000000".parse().unwrap(),
        generation: 3,
        attributes: [("serial".to_owned(), "VTLTEST002".to_owned())].into(),
        codec,
        level: 1,
        chunk_bytes: 1 << 20,
        recipients: Vec::new(),
        signing: None,
        random: Randomness::system(),
    }
}

fn public() -> PublicKey {
    PublicKey::from_der(vector("none-sealed").key.unwrap().public().der()).unwrap()
}

fn write(settings: Settings, tape: &[Thing]) -> (Manifest, Folder) {
    write_with(Writer::new(settings, Folder::default()).unwrap(), tape)
}

fn write_with(mut writer: Writer<Folder>, tape: &[Thing]) -> (Manifest, Folder) {
    for thing in tape {
        match thing {
            Thing::Block(bytes) => writer.block(bytes).unwrap(),
            Thing::Mark => writer.filemarks(1).unwrap(),
        }
    }
    writer.finish().unwrap()
}

fn read(folder: &Folder) -> Vec<Thing> {
    let (manifest, _) = folder.manifest();
    assert!(verify(&manifest, &mut &*folder, |_, _| {}).is_empty());
    let mut image = Image::open(&manifest, vector("none-sealed").key.as_ref(), folder).unwrap();
    let mut things = Vec::new();
    let thing = |event: Event<'_>| match event {
        Event::Block(block) => Thing::Block(block.concat()),
        Event::Filemark => Thing::Mark,
    };
    image
        .events(|event| {
            things.push(thing(event));
            Ok(())
        })
        .unwrap();
    things
}

#[test]
fn every_codec_with_and_without_a_key_gives_the_tape_back() {
    for codec in [Method::Raw, Method::Zstd, Method::Lz4] {
        for recipients in [0, 1] {
            let recipients = (0..recipients).map(|_| public()).collect();
            let (manifest, folder) = write(Settings { recipients, ..settings(codec) }, &tape());
            assert!(read(&folder) == tape(), "{codec:?}");
            assert_eq!(manifest, folder.manifest().0);
        }
    }
}

/// 100,000 bytes of a text that no other has, and a compression of it that the writer, with its lower level, would not come to.
fn compressed_before(number: usize) -> (Bytes, Compressed) {
    so_much_compressed_before(number, 100_000)
}

fn so_much_compressed_before(number: usize, len: usize) -> (Bytes, Compressed) {
    let line = format!("line of text number {number} ");
    let raw: Vec<u8> = (0..).flat_map(|at| format!("{line}{}", at % 977).into_bytes()).take(len).collect();
    let mut zstd = Vec::new();
    Compressors::new(Method::Zstd, 19).append(&raw, &mut zstd).unwrap();
    (raw.into(), Compressed::new(len, zstd.into()))
}

/// Two blocks, cut within the second text, and in pieces.
fn blocks_of(texts: &[(Bytes, Compressed)]) -> Vec<Vec<Portion>> {
    let piece = |text: usize, from: usize, to: usize| {
        let (raw, whole) = &texts[text];
        Portion { bytes: raw.slice(from..to), of: Some((whole.clone(), from)) }
    };
    let first = vec![piece(0, 0, 30_000), piece(0, 30_000, 100_000), piece(1, 0, 50_000)];
    let rest = (2..texts.len()).map(|text| piece(text, 0, 100_000));
    vec![first, [piece(1, 50_000, 100_000)].into_iter().chain(rest).collect()]
}

fn write_portions(codec: Method, blocks: &[Vec<Portion>], threads: usize) -> Folder {
    let mut writer = Writer::new(settings(codec), Folder::default()).unwrap().with_threads(threads);
    blocks.iter().for_each(|block| writer.block_of(block).unwrap());
    writer.finish().unwrap().1
}

fn is_in(folder: &Folder, wanted: &[u8]) -> bool {
    folder.objects.values().any(|object| object.windows(wanted.len()).any(|window| window == wanted))
}

#[test]
fn what_was_compressed_before_is_taken_as_it_is_when_a_frame_has_all_of_it() {
    let texts: Vec<_> = (0..7).map(compressed_before).collect();
    let blocks = blocks_of(&texts);
    let tape: Vec<Thing> = blocks
        .iter()
        .map(|block| Thing::Block(block.iter().flat_map(|piece| piece.bytes.to_vec()).collect()))
        .collect();
    for threads in [0, 2] {
        let folder = write_portions(Method::Zstd, &blocks, threads);
        let taken: Vec<bool> = texts.iter().map(|(_, whole)| is_in(&folder, whole.zstd())).collect();
        // The sixth one lies on both sides of 524,288.
        assert_eq!(taken, [true, true, true, true, true, false, true]);
        assert!(read(&folder) == tape);
    }
    for codec in [Method::Raw, Method::Lz4] {
        let folder = write_portions(codec, &blocks, 0);
        assert!(texts.iter().all(|(_, whole)| !is_in(&folder, whole.zstd())), "{codec:?}");
        assert!(read(&folder) == tape);
    }
}

#[test]
fn what_was_compressed_before_is_taken_when_it_saves_a_twentieth_of_its_frame_and_not_for_less() {
    let (small, whole) = so_much_compressed_before(0, 10_000);
    assert!((200..4_000).contains(&whole.zstd().len()), "{}", whole.zstd().len());
    // A twentieth is 5,500 bytes here and 10,500 there.
    for (rest, is_taken) in [(100_000, true), (200_000, false)] {
        let (rest, _) = so_much_compressed_before(1, rest);
        let block = vec![
            Portion { bytes: small.clone(), of: Some((whole.clone(), 0)) },
            Portion { bytes: rest.clone(), of: None },
        ];
        let folder = write_portions(Method::Zstd, &[block], 0);
        assert_eq!(is_in(&folder, whole.zstd()), is_taken, "{} bytes", rest.len());
        assert!(read(&folder) == [Thing::Block([small.to_vec(), rest.to_vec()].concat())]);
    }
}

#[test]
fn what_was_compressed_before_is_not_taken_for_bytes_in_another_order_or_with_a_gap() {
    let (raw, whole) = compressed_before(0);
    let piece =
        |from: usize, to: usize| Portion { bytes: raw.slice(from..to), of: Some((whole.clone(), from)) };
    for block in [
        vec![piece(50_000, 100_000), piece(0, 50_000)],
        vec![piece(0, 50_000), piece(50_001, 100_000)],
        vec![piece(0, 99_999)],
    ] {
        let bytes: Vec<u8> = block.iter().flat_map(|piece| piece.bytes.to_vec()).collect();
        let folder = write_portions(Method::Zstd, &[block], 0);
        assert!(!is_in(&folder, whole.zstd()));
        assert!(read(&folder) == [Thing::Block(bytes)]);
    }
}

#[test]
fn objects_are_named_in_order_full_but_for_the_last_and_the_manifest_is_last() {
    let (manifest, folder) = write(settings(Method::Raw), &tape());
    let names: Vec<&str> = folder.told.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(&names[..2], ["VTL002L8.img.000001", "VTL002L8.img.000002"]);
    assert_eq!(names.last(), Some(&"VTL002L8.manifest"));
    assert_eq!(folder.told[..names.len() - 1], manifest.objects);
    for object in &manifest.objects {
        assert_eq!(folder.objects[&object.name].len() as u64, object.bytes);
        assert!(object.bytes <= 1 << 20);
    }
    let full = &manifest.objects[..manifest.objects.len() - 1];
    assert!(full.iter().all(|object| object.bytes > (1 << 20) - 524_320), "less than one frame is missing");
    assert_eq!(manifest.folder(), "VTL002L8-20260101_000000");
}

#[test]
fn md5_and_sha256_are_those_of_other_programs() {
    let (manifest, folder) = write(settings(Method::Zstd), &tape());
    let scratch = tempfile::tempdir().unwrap();
    let object = &manifest.objects[0];
    std::fs::write(scratch.path().join("object"), &folder.objects[&object.name]).unwrap();
    for (program, hash) in [("md5sum", &object.md5), ("sha256sum", &object.sha256)] {
        let output = Command::new(program).arg("object").current_dir(scratch.path()).output().unwrap();
        assert!(String::from_utf8(output.stdout).unwrap().starts_with(hash.as_str()), "{program}");
    }
}

#[test]
fn zeros_become_small_and_noise_does_not_grow_by_a_thousandth() {
    let size = |tape: &[Thing], codec| {
        let (manifest, _) = write(Settings { recipients: vec![public()], ..settings(codec) }, tape);
        manifest.objects.iter().map(|object| object.bytes).sum::<u64>()
    };
    let zeros: Vec<Thing> = (0..64).map(|_| Thing::Block(vec![0; 65_536])).collect();
    assert!(size(&zeros, Method::Zstd) < (4 << 20) / 100);
    assert!(size(&zeros, Method::Raw) >= 4 << 20);
    let random: Vec<Thing> = (0..64).map(|at| Thing::Block(noise(65_536, at))).collect();
    assert!(size(&random, Method::Zstd) < (4 << 20) + (4 << 10));
}

/// Shannon's, in bits for each byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let shares =
        counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / bytes.len() as f64);
    shares.map(|share| -share * share.log2()).sum()
}

#[test]
fn sealed_objects_have_nearly_eight_bits_in_each_byte_and_were_compressed_before() {
    // Four bits in each.
    let digits: String = noise(1 << 20, 7).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(entropy(digits.as_bytes()) < 4.01);
    let tape: Vec<Thing> =
        digits.as_bytes().chunks(65_536).map(|block| Thing::Block(block.to_vec())).collect();
    for (codec, percent) in [(Method::Raw, 101), (Method::Zstd, 60)] {
        let (manifest, folder) = write(Settings { recipients: vec![public()], ..settings(codec) }, &tape);
        let objects: Vec<&[u8]> =
            manifest.objects.iter().map(|object| folder.objects[&object.name].as_slice()).collect();
        let sealed = objects.concat();
        assert!(sealed.len() * 100 < digits.len() * percent, "{codec:?}: {} bytes", sealed.len());
        let bits = entropy(&sealed);
        assert!(bits > 7.99, "{codec:?}: {bits}");
    }
}

#[test]
fn two_bundles_of_one_tape_share_no_sealed_bytes() {
    let seal = || write(Settings { recipients: vec![public()], ..settings(Method::Raw) }, &tape()).1;
    let (one, two) = (seal(), seal());
    let (one, two) = (&one.objects["VTL002L8.img.000001"], &two.objects["VTL002L8.img.000001"]);
    assert_eq!(one.len(), two.len());
    assert!(one[112..4096].chunks(16).zip(two[112..4096].chunks(16)).all(|(a, b)| a != b));
}

#[test]
fn a_signed_bundle_names_its_signer_and_new_recipients_open_it_without_new_objects() {
    let scratch = tempfile::tempdir().unwrap();
    let key = scratch.path().join("sign.pem");
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success());
    let signing = || SigningKey::from_pem(&std::fs::read(&key).unwrap()).unwrap();
    let settings =
        Settings { recipients: vec![public()], signing: Some(signing()), ..settings(Method::Zstd) };
    let (mut manifest, mut folder) = write(settings, &tape());
    let signer = signing().verifying().unwrap();
    assert_eq!(folder.manifest().1, Signed::By(signer));

    let old = vector("none-sealed").key.unwrap();
    let new = vector("zstd-sealed").key.unwrap();
    assert!(manifest.data_key(&new).is_err());
    let data_key = manifest.data_key(&old).unwrap();
    manifest.rewrap(&data_key, &[PublicKey::from_der(new.public().der()).unwrap()]).unwrap();
    let bytes = manifest.encode(Some(&signing())).unwrap();
    folder.objects.insert("VTL002L8.manifest".to_owned(), bytes);
    let (manifest, signed) = folder.manifest();
    assert_eq!(signed, Signed::By(signer));
    assert!(manifest.data_key(&old).is_err());
    let mut bytes = 0;
    Image::open(&manifest, Some(&new), &folder)
        .unwrap()
        .copy(|raw| {
            bytes += raw.len();
            Ok(())
        })
        .unwrap();
    assert_eq!(bytes as u64, manifest.image_bytes);
    assert!(manifest.clone().rewrap(&data_key, &[]).is_err(), "somebody must be able to open it");
    assert!(manifest.clone().rewrap(&data_key, &[public(), public()]).is_err(), "one key twice");
}

#[test]
fn a_tape_of_marks_alone_and_a_blank_one_are_bundles_too() {
    for tape in [Vec::new(), vec![Thing::Mark; 5]] {
        let (manifest, folder) = write(settings(Method::Zstd), &tape);
        assert_eq!((manifest.image_bytes, manifest.objects.len()), (0, 1));
        assert_eq!(read(&folder), tape);
    }
}

#[test]
fn an_image_that_ends_with_a_frame_has_no_empty_frame_behind() {
    for (version, len, frames) in [
        (Version::V0, 262_143, 1),
        (Version::V0, 262_144, 1),
        (Version::V0, 262_145, 2),
        (Version::V0, 524_288, 2),
        (Version::V1, 524_287, 1),
        (Version::V1, 524_288, 1),
        (Version::V1, 524_289, 2),
    ] {
        let settings = Settings { version, ..settings(Method::Raw) };
        let (manifest, folder) = write(settings, &[Thing::Block(noise(len, 1))]);
        assert_eq!(manifest.objects[0].frames, frames, "{len}");
        assert_eq!(read(&folder), [Thing::Block(noise(len, 1))]);
    }
}

#[test]
fn settings_that_cannot_be_are_refused_with_what_would_be_right() {
    let why = |settings| Writer::new(settings, Folder::default()).err().unwrap().to_string();
    for chunk_bytes in [0, (1 << 20) - 1, (1 << 40) + 1] {
        let error = why(Settings { chunk_bytes, ..settings(Method::Raw) });
        assert!(error.contains("it is 1m to 1048576m"), "{error}");
    }
    let recipients = (0..17).map(|_| public()).collect();
    assert!(why(Settings { recipients, ..settings(Method::Raw) }).contains("at most 16"));
    let none = Randomness::from_fn(|_| Err(io::Error::other("made up")));
    assert!(why(Settings { random: none, ..settings(Method::Raw) }).contains("no random bytes"));
    let mut writer = Writer::new(settings(Method::Raw), Folder::default()).unwrap();
    assert!(writer.block(&[]).unwrap_err().to_string().contains("a block of 0 bytes"));
}

/// Fails at the n-th call.
struct Failing {
    left: usize,
    folder: Folder,
}

impl Failing {
    fn step(&mut self) -> io::Result<&mut Folder> {
        self.left = self.left.checked_sub(1).ok_or_else(|| io::Error::other("made up"))?;
        Ok(&mut self.folder)
    }
}

impl Sink for Failing {
    fn begin(&mut self, name: &str) -> io::Result<()> {
        self.step()?.begin(name)
    }

    fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.step()?.write(bytes)
    }

    fn end(&mut self, object: &Stored) -> io::Result<()> {
        self.step()?.end(object)
    }
}

#[test]
fn a_sink_that_fails_at_any_call_is_named_with_its_object_and_no_manifest_follows() {
    let run = |left| {
        let mut writer =
            Writer::new(settings(Method::Zstd), Failing { left, folder: Folder::default() }).unwrap();
        (0..30).try_for_each(|at| writer.block(&noise(100_000, at)))?;
        writer.finish().map(|(_, sink)| sink)
    };
    let calls = usize::MAX - run(usize::MAX).unwrap().left;
    assert!(calls > 20);
    for left in 0..calls {
        let error = run(left).err().unwrap().to_string();
        assert!(error.starts_with("VTL002L8.") && error.contains("made up"), "{left}: {error}");
    }
    assert!(run(calls).is_ok());
}

#[test]
fn a_bundle_that_was_cut_off_after_any_object_is_gone_on_with_and_no_salt_comes_twice() {
    let (whole, first) = write(Settings { recipients: vec![public()], ..settings(Method::Zstd) }, &tape());
    let count = whole.objects.len();
    assert!(count >= 4);
    let data_key = whole.data_key(&vector("none-sealed").key.unwrap()).unwrap();
    let salt = |bytes: &[u8]| bytes[32..64].to_vec();
    for kept in 0..=count {
        let mut folder = Folder::default();
        let done = whole.objects[..kept].to_vec();
        for object in &done {
            folder.objects.insert(object.name.clone(), first.objects[&object.name].clone());
        }
        let settings = Settings { recipients: vec![public()], ..settings(Method::Zstd) };
        let identity = Identity { bundle: whole.bundle, data_key: Some(data_key.clone()) };
        let mut writer = Writer::resume(settings, identity, done, folder).unwrap();
        for thing in tape() {
            match thing {
                Thing::Block(bytes) => writer.block(&bytes).unwrap(),
                Thing::Mark => writer.filemarks(1).unwrap(),
            }
        }
        let (manifest, folder) = writer.finish().unwrap();
        assert!(read(&folder) == tape(), "{kept} objects were kept");
        assert_eq!(manifest.objects[..kept], whole.objects[..kept]);
        for object in &manifest.objects[kept..] {
            assert_ne!(
                salt(&folder.objects[&object.name]),
                salt(&first.objects[&object.name]),
                "{}",
                object.name
            );
        }
    }
}

#[test]
fn what_cannot_go_on_is_refused() {
    let (whole, _) = write(settings(Method::Raw), &tape());
    let resume = |settings, done| {
        let identity = Identity { bundle: whole.bundle, data_key: None };
        Writer::resume(settings, identity, done, Folder::default())
    };
    assert!(resume(settings(Method::Raw), whole.objects[1..].to_vec()).is_err(), "the first is missing");
    let sealed = Settings { recipients: vec![public()], ..settings(Method::Raw) };
    assert!(resume(sealed, Vec::new()).is_err(), "there is no data key");
    let writer = resume(settings(Method::Raw), whole.objects.clone()).unwrap();
    let error = writer.finish().err().unwrap();
    assert!(error.to_string().contains("shorter"), "{error}");
}

#[test]
fn a_bundle_is_the_same_tape_however_many_threads_compress() {
    for threads in [0, 1, 2, 5] {
        for codec in [Method::Raw, Method::Zstd, Method::Lz4] {
            let writer =
                Writer::new(Settings { recipients: vec![public()], ..settings(codec) }, Folder::default());
            let (manifest, folder) = write_with(writer.unwrap().with_threads(threads), &tape());
            assert!(manifest.objects.len() > 2, "{} objects", manifest.objects.len());
            assert_eq!(read(&folder), tape(), "{threads} threads, {codec:?}");
        }
    }
}

#[test]
fn a_sink_that_fails_ends_a_writer_whose_threads_are_at_work() {
    struct Full(u64);
    impl Sink for Full {
        fn begin(&mut self, _: &str) -> io::Result<()> {
            Ok(())
        }
        fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
            self.0 = self.0.checked_sub(bytes.len() as u64).ok_or_else(|| io::Error::other("no more"))?;
            Ok(())
        }
        fn end(&mut self, _: &Stored) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = Writer::new(settings(Method::Zstd), Full(400_000)).unwrap().with_threads(3);
    let failed = (0..100).find_map(|at| writer.block(&noise(65_536, at)).err());
    assert_eq!(failed.unwrap().to_string(), "VTL002L8.img.000001 cannot be written: no more");
}
