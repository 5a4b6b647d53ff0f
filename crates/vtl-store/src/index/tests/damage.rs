//! Damage, by kind of file.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::{FOLDER, STORE, fingerprint, open, open_sealed, open_with};
use crate::index::{Index, IndexMode, Place};
use vtl_durable::{Disk, Open, SimDisk};

/// A memtable of this index takes 9,000 chunks.
const MEMORY: usize = 8 << 20;
const CHUNKS: u16 = 900;
/// Records of a full page, as the format text has it.
const PAGE_RECORDS: u64 = 156;

/// Three tables: packs 0 to 2, 3 to 5 and 6 to 8.
fn made() -> SimDisk {
    made_with(open)
}

fn made_with(open: fn(&SimDisk, usize) -> Index) -> SimDisk {
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

/// Asks everything. What is covered afterwards must have been answered, but for the records of damaged pages.
fn ask_all(index: &Index, context: &str) -> usize {
    let missing = missing(index, 9, context);
    let hidden = missing.iter().filter(|(pack, _)| index.covers(*pack)).count();
    let allowed = index.stats().bad_pages * PAGE_RECORDS;
    assert!(hidden as u64 <= allowed, "{context}: {hidden} are covered and missing");
    9 * usize::from(CHUNKS) - missing.len()
}

/// Chunks that are not answered, as pack and fingerprint; each answer must be right.
fn missing(index: &Index, packs: u64, context: &str) -> Vec<(u64, [u8; 32])> {
    let mut missing = Vec::new();
    for pack in 0..packs {
        for (chunk, fingerprint) in chunks(pack) {
            match index.lookup(&fingerprint) {
                Some(place) => assert_eq!(place, Place { pack, chunk }, "{context}"),
                None => missing.push((pack, fingerprint)),
            }
        }
    }
    missing
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
fn a_flipped_bit_anywhere_costs_a_page_a_table_or_all_and_never_gives_a_wrong_answer() {
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
            let (dropped, bad) = (index.stats().dropped, index.stats().bad_pages);
            assert!(if is_manifest { found == 0 } else { dropped + bad <= 1 }, "{context}: {dropped} {bad}");
            let lost = 9 * 900 - found as u64;
            let allowed = dropped * 2700 + bad * PAGE_RECORDS;
            assert!(is_manifest || lost == allowed || bad == 1 && lost < allowed, "{context}: {lost}");
            index.flush().unwrap();
            while index.compact_step().unwrap() {}
            drop(index);
            let index = open(&disk, MEMORY);
            assert_eq!(9 * 900 - missing(&index, 9, &context).len(), found, "{context}");
            assert_eq!((index.stats().dropped, index.stats().bad_pages), (0, 0), "{context}: found again");
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

/// The pages of a table of one segment whose blocks take so many bytes, all full but the last: where each begins, and its records.
fn pages(records: u64, block: u64) -> impl Iterator<Item = (u64, u64)> {
    let last = records.div_ceil(PAGE_RECORDS) - 1;
    (0..=last).map(move |page| ((page + 1) * block, (records - page * PAGE_RECORDS).min(PAGE_RECORDS)))
}

/// Damages every `stride`th page of the first table, one at a time; `first` is the first to meet it.
fn damage_pages(open: fn(&SimDisk, usize) -> Index, block: u64, stride: usize, first: fn(&Index)) {
    for (at, records) in pages(2700, block).step_by(stride) {
        let context = format!("page at {at}");
        let disk = made_with(open);
        let table = tables(&disk).remove(0);
        disk.flip_bit(&table, at + at / 5 % block, (at % 8) as u8);
        let index = open(&disk, MEMORY);
        first(&index);
        let lost = missing(&index, 9, &context);
        assert_eq!(lost.len() as u64, records, "{context}");
        assert_eq!(missing(&index, 9, &context), lost, "{context}: asked again");
        assert_eq!((index.stats().bad_pages, index.stats().dropped), (1, 0), "{context}");
        assert!((0..9).all(|pack| index.covers(pack)), "{context}");
        while index.compact_step().unwrap() {}
        assert!(!tables(&disk).contains(&table), "{context}: the table is still there");
        drop(index);
        let index = open(&disk, MEMORY);
        assert_eq!(missing(&index, 9, &context), lost, "{context}: after a merge");
        assert_eq!((index.stats().bad_pages, index.stats().dropped), (0, 0), "{context}: after a merge");
        for (pack, fingerprint) in &lost {
            let chunk = chunks(*pack).iter().find(|(_, other)| other == fingerprint).unwrap().0;
            index.insert(*pack, &[(chunk, *fingerprint)]);
        }
        assert_eq!(missing(&index, 9, &context), [], "{context}: stored again");
    }
}

#[test]
fn a_damaged_page_that_a_lookup_meets_costs_its_records_until_they_come_again() {
    damage_pages(open, 4096, 1, |_| ());
}

#[test]
fn a_damaged_page_that_a_merge_meets_costs_its_records_until_they_come_again() {
    damage_pages(open, 4096, 3, |index| while index.compact_step().unwrap() {});
}

#[test]
fn a_damaged_page_of_an_encrypted_pool_costs_its_records_until_they_come_again() {
    damage_pages(open_sealed, 4124, 4, |_| ());
}

/// Forty packs under a ceiling of 1 MiB: pages are read for each lookup.
#[test]
fn a_damaged_page_that_is_not_kept_in_memory_costs_its_records_and_is_counted_once() {
    const MIB: usize = 1 << 20;
    let disk = SimDisk::new(1);
    let index = open(&disk, MIB);
    for pack in 0..40 {
        index.insert(pack, &chunks(pack));
        index.pack_complete(pack);
    }
    index.flush().unwrap();
    while index.compact_step().unwrap() {}
    assert_eq!(missing(&index, 40, "whole"), []);
    drop(index);
    let largest = tables(&disk).into_iter().max_by_key(|path| disk.contents(path).unwrap().len()).unwrap();
    for page in [0, 1, 7] {
        let disk = disk.survivor(1);
        disk.flip_bit(&largest, (page + 1) * 4096 + 2000, 4);
        let index = open(&disk, MIB);
        let lost = missing(&index, 40, "filters");
        assert_eq!(index.stats().mode, IndexMode::Filters);
        assert_eq!(lost.len() as u64, PAGE_RECORDS, "page {page}");
        assert_eq!(missing(&index, 40, "asked again"), lost, "page {page}");
        let stats = index.stats();
        assert_eq!((stats.bad_pages, stats.dropped), (1, 0), "page {page}");
        assert!(stats.memory_peak <= MIB);
        while index.compact_step().unwrap() {}
        assert!(!tables(&disk).contains(&largest), "page {page}: the table is still there");
        assert_eq!(missing(&index, 40, "after a merge"), lost, "page {page}");
    }
}

#[test]
fn a_table_with_more_than_32_damaged_pages_is_dropped() {
    for (damaged, dropped) in [(32, 0), (33, 1)] {
        let disk = SimDisk::new(1);
        let index = open(&disk, MEMORY);
        for pack in 0..9 {
            index.insert(pack, &chunks(pack));
            index.pack_complete(pack);
        }
        index.flush().unwrap();
        drop(index);
        let table = tables(&disk).remove(0);
        for page in 1..=damaged {
            disk.flip_bit(&table, page * 4096 + 100, 1);
        }
        let index = open(&disk, MEMORY);
        let found = ask_all(&index, "many pages") as u64;
        assert_eq!(index.stats().dropped, dropped, "{damaged} pages");
        assert_eq!(found, (1 - dropped) * (8100 - damaged * PAGE_RECORDS), "{damaged} pages");
        assert!((0..9).all(|pack| index.covers(pack) == (dropped == 0)), "{damaged} pages");
        while index.compact_step().unwrap() {}
        assert_eq!(ask_all(&index, "after a merge") as u64, found, "{damaged} pages");
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
    assert_eq!(ask_all(&index, "swapped pages") as u64, 8100 - 2 * PAGE_RECORDS);
    assert_eq!((index.stats().bad_pages, index.stats().dropped), (2, 0));
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
