//! Damage, by kind of file.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::{FOLDER, STORE, fingerprint, open, open_with};
use crate::index::{Index, Place};
use vtl_durable::{Disk, Open, SimDisk};

/// A memtable of this index takes 9,000 chunks.
const MEMORY: usize = 8 << 20;
const CHUNKS: u16 = 900;

/// Three tables: packs 0 to 2, 3 to 5 and 6 to 8.
fn made() -> SimDisk {
    let disk = SimDisk::new(1);
    let index = open(&disk, MEMORY);
    for pack in 0..9 {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
        if pack % 3 == 2 {
            index.flush().unwrap();
        }
    }
    assert_eq!(index.stats().tables, 3);
    disk
}

fn chunks(pack: u64) -> Vec<(u16, [u8; 32])> {
    (0..CHUNKS).map(|chunk| (chunk, fingerprint(pack << 16 | u64::from(chunk)))).collect()
}

/// Asks everything; what is covered afterwards must have been answered.
fn ask_all(index: &Index, context: &str) -> usize {
    let mut found = 0;
    let mut missing = Vec::new();
    for pack in 0..9 {
        for (chunk, fingerprint) in chunks(pack) {
            match index.lookup(&fingerprint) {
                Some(place) => assert_eq!(place, Place { pack, chunk }, "{context}"),
                None => missing.push(pack),
            }
            found += usize::from(!missing.ends_with(&[pack]));
        }
    }
    missing.dedup();
    assert!(
        missing.iter().all(|pack| !index.covers(*pack)),
        "{context}: {missing:?} are covered and missing"
    );
    found
}

fn tables(disk: &SimDisk) -> Vec<PathBuf> {
    disk.files().into_iter().filter(|path| path.extension().is_some_and(|end| end == "table")).collect()
}

fn rewrite(disk: &SimDisk, path: &Path, bytes: &[u8]) {
    disk.unlink(path).unwrap();
    let file = disk.open(path, Open::Create).unwrap();
    file.write_at(0, &[IoSlice::new(bytes)]).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_drops_one_table_or_all_and_never_gives_a_wrong_answer() {
    let sizes: Vec<(PathBuf, u64)> = {
        let disk = made();
        disk.files()
            .into_iter()
            .map(|path| (path.clone(), disk.contents(&path).unwrap().len() as u64))
            .collect()
    };
    for (path, size) in sizes {
        let is_manifest = path.ends_with("manifest");
        let stride = if is_manifest { 7 } else { 4001 };
        for byte in (0..size).step_by(stride) {
            let disk = made();
            disk.flip_bit(&path, byte, (byte % 8) as u8);
            let context = format!("byte {byte} of {}", path.display());
            let index = open(&disk, MEMORY);
            let found = ask_all(&index, &context);
            let dropped = index.stats().dropped;
            assert!(if is_manifest { found == 0 } else { dropped <= 1 }, "{context}: {dropped} {found}");
            assert!(is_manifest || dropped == 1 || found == 9 * 900, "{context}");
            index.flush().unwrap();
            drop(index);
            let index = open(&disk, MEMORY);
            ask_all(&index, &context);
            assert_eq!(index.stats().dropped, 0, "{context}: dropped again");
        }
    }
}

#[test]
fn a_truncated_missing_swapped_or_foreign_table_is_dropped_and_named() {
    type Damage = fn(&SimDisk, &[PathBuf]);
    let kinds: [(&str, u64, Damage); 5] = [
        ("truncated", 1, |disk, paths| {
            let bytes = disk.contents(&paths[0]).unwrap();
            rewrite(disk, &paths[0], &bytes[..bytes.len() - 1]);
        }),
        ("empty", 1, |disk, paths| rewrite(disk, &paths[1], &[])),
        ("missing", 1, |disk, paths| disk.unlink(&paths[2]).unwrap()),
        ("swapped", 2, |disk, paths| {
            let bytes: Vec<_> = paths.iter().map(|path| disk.contents(path).unwrap()).collect();
            rewrite(disk, &paths[0], &bytes[1]);
            rewrite(disk, &paths[1], &bytes[0]);
        }),
        ("random", 1, |disk, paths| {
            let len = disk.contents(&paths[0]).unwrap().len();
            rewrite(disk, &paths[0], &super::Random(3).bytes(len));
        }),
    ];
    for (kind, dropped, damage) in kinds {
        let disk = made();
        damage(&disk, &tables(&disk));
        let index = open(&disk, MEMORY);
        assert_eq!(index.stats().dropped, dropped, "{kind}");
        assert_eq!(ask_all(&index, kind), (9 - 3 * dropped as usize) * 900, "{kind}");
        index.flush().unwrap();
        assert_eq!(tables(&disk).len(), 3 - dropped as usize, "{kind}");
    }
}

#[test]
fn pages_swapped_within_a_table_are_found() {
    let disk = made();
    let path = &tables(&disk)[0];
    let mut bytes = disk.contents(path).unwrap();
    let (one, other) = bytes[4096..].split_at_mut(4096);
    one.swap_with_slice(&mut other[..4096]);
    rewrite(&disk, path, &bytes);
    let index = open(&disk, MEMORY);
    ask_all(&index, "swapped pages");
    assert_eq!(index.stats().dropped, 1);
}

#[test]
fn an_old_manifest_beside_newer_tables_covers_only_what_its_tables_have() {
    let disk = SimDisk::new(1);
    let index = open(&disk, MEMORY);
    let mut manifests = Vec::new();
    for pack in 0..9 {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
        index.flush().unwrap();
        while index.compact_step().unwrap() {}
        manifests.push(disk.contents(Path::new("/index/manifest")).unwrap());
    }
    drop(index);
    for (age, manifest) in manifests.iter().enumerate() {
        let disk = disk.clone();
        rewrite(&disk, Path::new("/index/manifest"), manifest);
        let index = open(&disk, MEMORY);
        ask_all(&index, &format!("manifest {age}"));
    }
}

#[test]
fn the_index_of_another_store_or_version_is_removed() {
    let disk = made();
    let index = open_with(&disk, MEMORY, [8; 16]).unwrap();
    assert_eq!(ask_all(&index, "other store"), 0);
    assert_eq!(disk.files(), [] as [PathBuf; 0]);

    let disk = made();
    let mut bytes = disk.contents(Path::new("/index/manifest")).unwrap();
    bytes[8] = 1;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    rewrite(&disk, Path::new("/index/manifest"), &bytes);
    assert_eq!(ask_all(&open(&disk, MEMORY), "other version"), 0);
    assert_eq!(disk.files(), [] as [PathBuf; 0]);
}

#[test]
fn files_that_are_not_the_indexs_are_removed_at_the_start_and_folders_are_left() {
    let disk = made();
    for name in ["manifest.tmp", "00000000000000ff.table", "0F.table", "note"] {
        disk.open(&Path::new(FOLDER).join(name), Open::Create).unwrap();
    }
    disk.create_folder(&Path::new(FOLDER).join("folder")).unwrap();
    let index = open_with(&disk, MEMORY, STORE).unwrap();
    assert_eq!(disk.files().len(), 4);
    assert_eq!(ask_all(&index, "orphans"), 9 * 900);
}
