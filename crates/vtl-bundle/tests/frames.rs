//! Frames by their place: any of them, from the bytes of its object that are asked for and no others, or what is wrong with them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use std::ops::Range;

use common::{Folder, VECTORS, Vector, vector};
use vtl_bundle::{BundleError, Finding, Frames, Image};

/// Bytes of the image in a frame, typed out of the format's text.
fn frame_of(vector: &str) -> usize {
    if vector == "zstd-several" { 524_288 } else { 262_144 }
}

fn open(vector: &Vector) -> Frames {
    Frames::open(vector.manifest.clone(), vector.key.as_ref()).unwrap()
}

/// Read in order, as the tests of the vectors compare it with what the other program says.
fn image(vector: &Vector) -> Vec<u8> {
    let mut all = Vec::new();
    let mut image = Image::open(&vector.manifest, vector.key.as_ref(), &vector.folder).unwrap();
    let mut each = |bytes: &[u8]| {
        all.extend_from_slice(bytes);
        Ok(())
    };
    image.copy(|bytes| each(&bytes)).unwrap();
    all
}

/// The image in these frames, and how many bytes of objects were asked for.
fn raw(frames: &Frames, folder: &Folder, wanted: Range<u64>) -> Result<(Vec<u8>, usize), Finding> {
    let (mut out, mut asked) = (Vec::new(), 0);
    for (at, part) in frames.parts(wanted) {
        let object = &folder.objects[&frames.object(at).unwrap().name];
        let mut get = |range: Range<u64>| {
            asked += (range.end - range.start) as usize;
            object.get(range.start as usize..range.end as usize).unwrap_or_default().to_vec()
        };
        let [header, table] = frames.outline(at)?;
        let index = frames.index(at, &get(header), &get(table))?;
        let bytes = get(index.range(&part).unwrap());
        frames.raw(&index, part, &bytes, &mut out)?;
    }
    Ok((out, asked))
}

#[test]
fn any_frames_of_bundles_that_another_program_made_are_that_part_of_the_image() {
    for name in VECTORS {
        let vector = vector(name);
        let image = image(&vector);
        let frames = open(&vector);
        // An image of no bytes is one frame.
        let frame_bytes = frame_of(name);
        let count = image.len().div_ceil(frame_bytes).max(1) as u64;
        assert_eq!(frames.count(), count, "{name}");
        let stored: usize = vector.folder.objects.values().map(Vec::len).sum();
        for start in 0..=count {
            for end in [start, start + 1, start + 3, count, count + 2] {
                let (found, asked) = raw(&frames, &vector.folder, start..end).unwrap();
                let place = |frame: u64| (frame as usize * frame_bytes).min(image.len());
                let wanted = image.get(place(start)..place(end)).unwrap_or_default();
                assert!(found == wanted, "{name}: frames {start} to {end}");
                assert!(asked <= stored, "{name}: {asked} of {stored}");
            }
        }
    }
}

#[test]
fn what_is_damaged_exchanged_or_cut_is_named_and_never_taken_for_the_image() {
    for name in ["none-plain", "none-sealed", "zstd-sealed"] {
        let vector = vector(name);
        let image = image(&vector);
        let frames = open(&vector);
        for stored in &vector.manifest.objects {
            let whole = &vector.folder.objects[&stored.name];
            let mut wrong: Vec<Vec<u8>> = (0..whole.len())
                .step_by((whole.len() / 150).max(1))
                .map(|at| {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 1 << (at % 8);
                    bytes
                })
                .collect();
            wrong.push(whole[..whole.len() / 2].to_vec());
            wrong.push(Vec::new());
            wrong.extend(vector.manifest.objects.iter().filter(|one| one.name != stored.name).map(|one| {
                let mut bytes = vector.folder.objects[&one.name].clone();
                bytes.resize(whole.len(), 0);
                bytes
            }));
            for bytes in wrong {
                let mut folder = vector.folder.clone();
                folder.objects.insert(stored.name.clone(), bytes);
                match raw(&frames, &folder, 0..frames.count()) {
                    Err(finding) => assert_eq!(finding.object, stored.name, "{name}"),
                    Ok((found, _)) => panic!("{name}: {} bytes of {} were taken", found.len(), image.len()),
                }
            }
        }
    }
}

#[test]
fn a_sealed_bundle_opens_with_its_key_alone_and_no_object_is_beyond_the_last() {
    let vector = vector("none-sealed");
    assert!(matches!(Frames::open(vector.manifest.clone(), None), Err(BundleError::NeedsKey { .. })));
    let frames = open(&vector);
    let beyond = vector.manifest.objects.len();
    assert!(frames.object(beyond).is_none() && frames.outline(beyond).is_err());
    assert!(frames.index(beyond, &[], &[]).is_err());
    // Its inside is about other objects, so it does not even open.
    let mut short = vector.manifest.clone();
    short.objects[0].bytes = 10;
    assert!(Frames::open(short, vector.key.as_ref()).is_err());
}
