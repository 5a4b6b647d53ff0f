//! What the program says of a small pool that is the same each time, and of each kind of damage to it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use vtl_cartridge::{Cartridge, CartridgeSpec, Settings};
use vtl_durable::RealDisk;
use vtl_store::{Encryption, Options, PassphraseCost, PoolKey, Randomness, Store};
use vtl_types::{ByteCount, CartridgeId, Label, Secret};

/// A pool with one cartridge, stopped.
fn pool(root: &Path) {
    pool_with(root, Options::small());
}

fn pool_with(root: &Path, options: Options) {
    let store = Store::open(Arc::new(RealDisk::new()), root, options).unwrap();
    let label: Label = "VTL001L8".parse().unwrap();
    let spec = CartridgeSpec {
        label,
        serial: "SN0000001".into(),
        kind: label.media(),
        capacity: ByteCount(1 << 20),
        early_warning: Some(ByteCount(1 << 17)),
        write_protected: false,
        created_s: 1_700_000_000,
        place: None,
    };
    let id = CartridgeId([7; 16]);
    Cartridge::create(&store, id, &spec).unwrap();
    let mut tape = Cartridge::load(&store, id, Settings::default()).unwrap();
    for number in 0..3_u64 {
        let block: Vec<u8> = (0..1500).map(|at| ((at * at * (number + 3)) >> 5) as u8).collect();
        tape.write_block(&[Bytes::from(block)], false).unwrap();
    }
    tape.write_filemarks(1).unwrap();
    tape.close().unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Its exit code and what it says.
fn inspect(args: &[&str], file: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vtl-inspect")).args(args).arg(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

/// Files with a format of ours.
fn formatted(root: &Path) -> Vec<PathBuf> {
    let others = ["lock", "made"];
    let ours = |path: &PathBuf| !others.contains(&path.file_name().unwrap().to_str().unwrap());
    files(root).into_iter().filter(ours).collect()
}

#[test]
fn a_pool_is_told_as_it_always_was() {
    let folder = tempfile::tempdir().unwrap();
    pool(folder.path());
    let mut all = String::new();
    for file in formatted(folder.path()) {
        let (code, said) = inspect(&[], &file);
        assert_eq!(code, Some(0), "{}: {said}", file.display());
        all += &format!("== {}\n{said}", file.strip_prefix(folder.path()).unwrap().display());
    }
    if std::env::var_os("VTL_WRITE_GOLDEN").is_some() {
        std::fs::write("tests/golden.txt", &all).unwrap();
    }
    for (line, (now, then)) in all.lines().zip(include_str!("golden.txt").lines()).enumerate() {
        assert_eq!(now, then, "line {}", line + 1);
    }
    assert_eq!(all.lines().count(), include_str!("golden.txt").lines().count());
    for kind in ["pool", ".log", "head", ".pack", "scrub", "newest", "manifest", ".table"] {
        assert!(all.lines().any(|line| line.starts_with("==") && line.ends_with(kind)), "{kind}");
    }
}

#[test]
fn of_an_encrypted_pool_in_two_folders_all_files_are_told_without_what_is_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let (home, far) = (folder.path().join("home"), folder.path().join("far"));
    std::fs::create_dir(&far).unwrap();
    let key = PoolKey::File(Secret::new(vec![7; 32]));
    let next = AtomicU8::new(1);
    let random = Randomness::from_fn(move |bytes| {
        bytes.fill(next.fetch_add(1, Ordering::Relaxed));
        Ok(())
    });
    let encryption = Encryption { key, cost: PassphraseCost::default(), random };
    let options = Options { encryption: Some(encryption), folders: vec![far], ..Options::small() };
    pool_with(&home, options);
    let mut all = String::new();
    for file in formatted(folder.path()) {
        let (code, said) = inspect(&[], &file);
        assert_eq!(code, Some(0), "{}: {said}", file.display());
        all += &said;
    }
    assert!(!all.contains("VTL001L8") && !all.contains("blake3"), "{all}");
    for what in ["keyring", "members", "member", "sealed", "record", "header"] {
        assert!(all.lines().any(|line| line.split_whitespace().any(|word| word == what)), "{what}: {all}");
    }
}

#[test]
fn json_has_one_object_for_each_thing() {
    let folder = tempfile::tempdir().unwrap();
    pool(folder.path());
    let (code, said) = inspect(&["--json"], &folder.path().join("pool"));
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["at"], &lines[1]["what"]), (&32.into(), &"pool".into()));
    assert_eq!(
        (&lines[1]["fields"]["chunk_bytes"], &lines[1]["wrong"]),
        (&"256".into(), &serde_json::Value::Null)
    );
}

#[test]
fn damage_of_any_kind_to_any_file_is_told_and_never_ends_the_program_early() {
    let folder = tempfile::tempdir().unwrap();
    pool(folder.path());
    for file in formatted(folder.path()) {
        let whole = std::fs::read(&file).unwrap();
        let turned = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        let ends = |wanted: &str| file.extension().is_some_and(|end| end == wanted);
        let (log, table) = (ends("log"), ends("table"));
        let damages = [
            ("first byte", turned(1)),
            ("header", turned(20)),
            // Behind its last record a journal's block is padding that nobody looks at.
            ("content", turned(if log || table { 4096 + 50 } else { whole.len() * 3 / 4 })),
            ("last byte but three", turned(if log { 4096 + 9 } else { whole.len() - 3 })),
            ("cut", whole[..if log { 4096 + 33 } else { whole.len() - 1 }].to_vec()),
            ("short", whole[..11].to_vec()),
            ("zeros", vec![0; whole.len()]),
        ];
        for (what, bytes) in damages {
            std::fs::write(&file, bytes).unwrap();
            let (code, said) = inspect(&[], &file);
            assert_eq!(code, Some(1), "{}, {what}: {said}", file.display());
            assert!(said.contains("WRONG"), "{}, {what}: {said}", file.display());
        }
        std::fs::write(&file, whole).unwrap();
    }
}

#[test]
fn behind_a_damaged_header_the_regions_of_a_pack_are_told_and_the_damaged_chunk_is_named() {
    let folder = tempfile::tempdir().unwrap();
    pool(folder.path());
    let file = files(&folder.path().join("packs")).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let good = |said: &str| {
        said.lines().filter(|line| line.contains("  chunk  ") && !line.contains("WRONG")).count()
    };
    let before = good(&inspect(&[], &file).1);
    bytes[9] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (_, said) = inspect(&[], &file);
    assert!(good(&said) == before && said.starts_with("0000000000  header  WRONG"), "{said}");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (_, said) = inspect(&[], &file);
    assert_eq!(good(&said), before - 1, "{said}");
}

#[test]
fn rows_of_an_inventory_are_told_without_secrets_and_a_changed_one_is_named() {
    static MODULE: [vtl_meta::Module; 1] = [vtl_meta::Module {
        name: "test",
        tables: &[&CHAP],
        migrations: &[vtl_meta::Migration {
            number: 1,
            sql: "CREATE TABLE chap (iqn TEXT PRIMARY KEY, user TEXT, secret BLOB, row_sum BLOB NOT NULL)",
        }],
    }];
    static CHAP: vtl_meta::Table =
        vtl_meta::Table { name: "chap", columns: &["iqn", "user", "secret"], key_len: 1 };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("inventory.db");
    let mut meta = vtl_meta::Meta::open(&file, &MODULE).unwrap();
    let text = |text: &str| vtl_meta::Value::Text(text.to_owned());
    let row = [text("iqn.2026-11.test.example:a"), text("backup"), text("only-made-up-here")];
    meta.transaction(|tx| tx.insert(&CHAP, &row)).unwrap();
    drop(meta);
    let (code, said) = inspect(&[], &file);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("user=backup  secret=(not shown)") && !said.contains("only-made-up"), "{said}");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(6).rposition(|window| window == b"backup").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (code, said) = inspect(&[], &file);
    assert_eq!(code, Some(1));
    assert!(said.contains("user=cackup  secret=(not shown)  WRONG: the checksum of the row"), "{said}");
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_with_what_is() {
    let (code, said) = inspect(&[], Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml").as_path());
    assert_eq!(code, Some(2));
    assert!(said.contains("usage: vtl-inspect"), "{said}");
    assert_eq!(inspect(&[], Path::new("/nothing/here")).0, Some(2));
}
