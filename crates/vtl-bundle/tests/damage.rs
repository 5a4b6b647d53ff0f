//! Damage × kind of object: all of it is seen by verify, without the key, and by whoever decodes, and is named with object and frame.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

mod common;

use common::{Folder, Vector, vector};
use vtl_bundle::{BundleError, CHUNK_HEADER_BYTES, Finding, Image, Manifest, verify};

/// The findings of verify, which must be one, and what decoding said.
fn seen(vector: &Vector, folder: &Folder, what: &str) -> (Finding, Finding) {
    let mut findings = verify(&vector.manifest, &mut &*folder, |_, _| {});
    assert!(!findings.is_empty(), "{what}: verify sees nothing");
    let mut image = Image::open(&vector.manifest, vector.key.as_ref(), folder).unwrap();
    match image.copy(|_| Ok(())) {
        Err(BundleError::Finding(finding)) => (findings.remove(0), finding),
        other => panic!("{what}: decoding says {other:?}"),
    }
}

/// The numbers of an object's frames and where each begins; last where its table does.
fn frames(bytes: &[u8], mut number: u64) -> Vec<(usize, Option<u64>)> {
    let (mut at, mut found) = (CHUNK_HEADER_BYTES, Vec::new());
    while !bytes[at..].starts_with(b"VTLX") {
        found.push((at, Some(number)));
        let len = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        at += 32 + len as usize;
        number += 1;
    }
    found.push((at, None));
    found
}

fn frame_of(frames: &[(usize, Option<u64>)], at: usize) -> Option<u64> {
    frames.iter().rev().find(|(start, _)| *start <= at).and_then(|(_, number)| *number)
}

fn objects(vector: &Vector) -> Vec<(String, Vec<u8>, u64)> {
    let firsts = vector.manifest.first_frames();
    let named = vector.manifest.objects.iter().zip(firsts);
    named
        .map(|(object, first)| (object.name.clone(), vector.folder.objects[&object.name].clone(), first))
        .collect()
}

fn every_flip_is_named(name: &str) {
    let vector = vector(name);
    for (object, bytes, first) in objects(&vector) {
        let frames = frames(&bytes, first);
        let mut folder = vector.folder.clone();
        for (at, whole) in bytes.iter().enumerate() {
            folder.objects.get_mut(&object).unwrap()[at] ^= 1 << (at % 8);
            let what = format!("{name}: {object} byte {at}");
            let (verified, decoded) = seen(&vector, &folder, &what);
            for finding in [verified, decoded] {
                assert_eq!((&finding.object, finding.frame), (&object, frame_of(&frames, at)), "{what}");
            }
            folder.objects.get_mut(&object).unwrap()[at] = *whole;
        }
    }
}

#[test]
fn every_flipped_byte_of_a_sealed_bundle_is_named_with_object_and_frame() {
    every_flip_is_named("zstd-sealed");
}

#[test]
fn every_flipped_byte_of_a_plain_bundle_is_named_with_object_and_frame() {
    every_flip_is_named("none-plain");
    every_flip_is_named("marks-only");
}

#[test]
fn every_truncation_and_everything_behind_the_end_is_named() {
    let vector = vector("zstd-sealed");
    for (object, bytes, first) in objects(&vector) {
        let frames = frames(&bytes, first);
        for len in 0..bytes.len() {
            let mut folder = vector.folder.clone();
            folder.objects.insert(object.clone(), bytes[..len].to_vec());
            let (verified, decoded) = seen(&vector, &folder, &format!("{object} of {len} bytes"));
            for finding in [verified, decoded] {
                assert_eq!(
                    (&finding.object, finding.frame),
                    (&object, frame_of(&frames, len)),
                    "{object} of {len} bytes"
                );
                assert!(finding.to_string().contains("cut short"), "{finding}");
            }
        }
        let mut folder = vector.folder.clone();
        folder.objects.get_mut(&object).unwrap().push(0);
        let (verified, decoded) = seen(&vector, &folder, "a byte more");
        assert_eq!((&verified.object, &decoded.object), (&object, &object));
        assert!(verified.to_string().contains("more follows"), "{verified}");
    }
}

#[test]
fn objects_that_are_swapped_doubled_or_dropped_are_named() {
    let vector = vector("zstd-sealed");
    let objects = objects(&vector);
    assert!(objects.len() > 2);
    for (name, _, _) in &objects {
        for (other, bytes, _) in objects.iter().filter(|(other, _, _)| other != name) {
            let mut folder = vector.folder.clone();
            folder.objects.insert(name.clone(), bytes.clone());
            let (verified, decoded) = seen(&vector, &folder, &format!("{other} in the place of {name}"));
            for finding in [verified, decoded] {
                assert_eq!((&finding.object, finding.frame), (name, None));
                assert!(finding.to_string().contains("belongs elsewhere: object is"), "{finding}");
            }
        }
        let mut folder = vector.folder.clone();
        folder.objects.remove(name);
        let (verified, decoded) = seen(&vector, &folder, "dropped");
        assert_eq!(verified.to_string(), format!("{name}: it is missing"));
        assert_eq!(decoded.object, *name);
    }
}

#[test]
fn frames_that_are_swapped_doubled_or_dropped_are_named() {
    let vector = vector("zstd-sealed");
    for (object, bytes, first) in objects(&vector) {
        let frames = frames(&bytes, first);
        let [(one, number), (two, next), (table, None)] = frames[..] else { panic!("two frames in each") };
        let (head, a, b) = (&bytes[..one], &bytes[one..two], &bytes[two..table]);
        let cases = [
            ([head, b, a].concat(), number),
            ([head, a, a, b].concat(), next),
            ([head, b].concat(), number),
            ([head, a].concat(), next),
        ];
        for (bytes, frame) in cases {
            let mut folder = vector.folder.clone();
            folder.objects.insert(object.clone(), bytes);
            let (verified, decoded) = seen(&vector, &folder, &object);
            for finding in [verified, decoded] {
                assert_eq!((&finding.object, finding.frame), (&object, frame), "{finding}");
            }
        }
    }
}

/// What no checksum tells: someone wrote the objects anew, with checksums and hashes that fit.
#[test]
fn objects_that_were_forged_with_checksums_that_fit_do_not_open() {
    let vector = vector("zstd-sealed");
    let forge = |change: &dyn Fn(&mut Vec<u8>)| {
        let (object, mut bytes, _) = objects(&vector).remove(0);
        change(&mut bytes);
        let body_len = u32::from_le_bytes(bytes[84..88].try_into().unwrap()) as usize;
        let head = crc32fast::hash(&bytes[..76]).to_le_bytes();
        bytes[76..80].copy_from_slice(&head);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[80..108]);
        hasher.update(&bytes[112..112 + body_len]);
        bytes[108..112].copy_from_slice(&hasher.finalize().to_le_bytes());
        let mut folder = vector.folder.clone();
        folder.objects.insert(object, bytes);
        let mut image = Image::open(&vector.manifest, vector.key.as_ref(), &folder).unwrap();
        image.copy(|_| Ok(())).unwrap_err().to_string()
    };
    for at in [32, 63, 112, 113] {
        let said = forge(&|bytes| bytes[at] ^= 1);
        assert_eq!(said, "VTL001L8.img.000001, frame 0: it is not what was sealed here", "byte {at}");
    }
    let said = forge(&|bytes| bytes[104] = 0);
    assert!(said.contains("frame 0: it is not what was sealed here"), "another codec: {said}");
}

#[test]
fn a_table_that_lies_leads_to_no_other_frame_and_is_named() {
    let vector = vector("zstd-sealed");
    let (object, bytes, _) = objects(&vector).remove(0);
    let table = bytes.len() - 20;
    for (first, second) in [(0, 0), (1, u32::MAX), (u32::MAX, u32::MAX)] {
        let lengths = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut lies = bytes.clone();
        lies[table + 8..table + 12].copy_from_slice(&lengths(table + 8).wrapping_add(first).to_le_bytes());
        lies[table + 12..table + 16].copy_from_slice(&lengths(table + 12).wrapping_add(second).to_le_bytes());
        let crc = crc32fast::hash(&lies[table..table + 16]).to_le_bytes();
        lies[table + 16..].copy_from_slice(&crc);
        let is_lie = lies != bytes;
        let mut folder = vector.folder.clone();
        folder.objects.insert(object.clone(), lies);
        let mut image = Image::open(&vector.manifest, vector.key.as_ref(), &folder).unwrap();
        for range in [0..10, 262_144..262_154] {
            assert_eq!(image.read(range, |_| Ok(())).is_err(), is_lie, "{first} {second}");
        }
        let findings = verify(&vector.manifest, &mut &folder, |_, _| {});
        assert_eq!(findings.len(), usize::from(is_lie));
        if is_lie {
            let said = findings[0].to_string();
            assert_eq!(said, format!("{object}: its frame table is none of this format"));
        }
    }
}

#[test]
fn every_flipped_byte_and_truncation_of_a_manifest_is_seen() {
    for name in ["zstd-sealed", "none-plain", "lz4-plain"] {
        let manifest = vector(name).folder.objects["VTL001L8.manifest"].clone();
        for at in 0..manifest.len() {
            for bit in [0, 5, at % 8] {
                let mut wrong = manifest.clone();
                wrong[at] ^= 1 << bit;
                assert!(Manifest::decode(&wrong, None).is_err(), "{name}: byte {at} bit {bit}");
            }
            assert!(Manifest::decode(&manifest[..at], None).is_err(), "{name}: {at} bytes");
        }
        assert!(Manifest::decode(&[&manifest[..], b"\n"].concat(), None).is_err());
    }
}

#[test]
fn a_manifest_that_claims_more_than_an_object_or_an_image_can_have_is_refused() {
    let refused = |bytes: u64, frames: u64, image_bytes: u64| {
        let mut manifest = vector("none-plain").manifest;
        manifest.objects.truncate(1);
        (manifest.objects[0].bytes, manifest.objects[0].frames) = (bytes, frames);
        manifest.image_bytes = image_bytes;
        Manifest::decode(&manifest.encode(None).unwrap(), None).err().map(|error| error.to_string())
    };
    // Version 0 has frames of 256 KiB. A header of 80 bytes; for each frame one of 32 and a length of 4; 12 bytes more of the table.
    assert_eq!(refused(36_092, 1000, 1000 << 18), None);
    let said = refused(36_092, 1001, 1001 << 18).unwrap();
    assert!(said.contains("objects[0] has 1001 frames, which 36092 bytes cannot hold"), "{said}");
    assert_eq!(refused(1 << 40, 1 << 28, 64 << 40), None);
    let said = refused(1 << 40, (1 << 28) + 1, (64 << 40) + 1).unwrap();
    assert!(said.contains("image_bytes is 70368744177665, at most 70368744177664"), "{said}");
    assert!(refused(1 << 40, u64::MAX >> 18, u64::MAX).is_some());
}

#[test]
fn a_manifest_of_another_bundle_is_seen_by_every_object() {
    let (mut one, other) = (vector("none-plain"), vector("marks-only"));
    one.folder.objects.extend(other.folder.objects.clone());
    let findings = verify(&one.manifest, &mut &one.folder, |_, _| {});
    assert!(findings[0].to_string().contains("belongs elsewhere: bundle is"), "{findings:?}");
}

#[test]
fn an_object_of_another_version_than_its_manifest_is_named() {
    for (name, other) in [("none-plain", 1_u32), ("zstd-several", 0)] {
        let vector = vector(name);
        let mut folder = vector.folder.clone();
        let bytes = folder.objects.get_mut("VTL001L8.img.000001").unwrap();
        bytes[8..12].copy_from_slice(&other.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..76]);
        bytes[76..80].copy_from_slice(&crc.to_le_bytes());
        let (verified, decoded) = seen(&vector, &folder, name);
        for finding in [verified, decoded] {
            let told = finding.to_string();
            assert!(told.contains("VTL001L8.img.000001") && told.contains("version"), "{told}");
        }
    }
}
