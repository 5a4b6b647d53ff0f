//! The file from outside: opened, refused, migrated, damaged, copied.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Meta, MetaError, Migration, Module, RowName, Table, Tx, Value, row_sum};

static SHELF: Table = Table { name: "shelf", columns: &["id", "label", "weight", "note"], key_len: 1 };

const SHELF_SQL: &str = "CREATE TABLE shelf (id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE, weight REAL, \
                         note BLOB, row_sum BLOB NOT NULL) STRICT";

static ONE: [Module; 1] =
    [Module { name: "shelf", migrations: &[Migration { number: 1, sql: SHELF_SQL }], tables: &[&SHELF] }];

static TWO: [Module; 1] = [Module {
    name: "shelf",
    migrations: &[
        Migration { number: 1, sql: SHELF_SQL },
        Migration { number: 2, sql: "CREATE TABLE extra (id INTEGER PRIMARY KEY) STRICT" },
    ],
    tables: &[&SHELF],
}];

static BROKEN: [Module; 1] = [Module {
    name: "shelf",
    migrations: &[
        Migration { number: 1, sql: SHELF_SQL },
        Migration { number: 2, sql: "CREATE TABLE half (id INTEGER); CREATE TABLE shelf (id INTEGER)" },
    ],
    tables: &[&SHELF],
}];

static CHANGED: [Module; 1] = [Module {
    name: "shelf",
    migrations: &[Migration { number: 1, sql: "CREATE TABLE shelf (id INTEGER)" }],
    tables: &[],
}];

static NONE: [Module; 0] = [];

struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("inventory.db")
    }

    fn open(&self) -> Meta {
        Meta::open(&self.file(), &ONE).unwrap()
    }

    fn with_rows(&self, count: i64) -> Meta {
        let mut meta = self.open();
        for id in 1..=count {
            add(&mut meta, id).unwrap();
        }
        meta
    }
}

fn sample(id: i64) -> [Value; 4] {
    [id.into(), Value::Text(format!("L{id}")), Value::Real(0.5), Value::Blob(vec![0xff])]
}

fn add(meta: &mut Meta, id: i64) -> Result<(), MetaError> {
    meta.transaction(|tx| tx.insert(&SHELF, &sample(id)))
}

fn count(meta: &mut Meta) -> u64 {
    meta.read(|tx| tx.count(&SHELF, "TRUE", &[])).unwrap()
}

fn by_hand(path: &Path, sql: &str) {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_copy_in_memory_has_the_newest_schema_and_leaves_the_file_as_it_is() {
    let desk = Desk::new();
    let mut used = desk.with_rows(3);
    let mut copy = Meta::open_copy(&desk.file(), &TWO).unwrap();
    assert_eq!(count(&mut copy), 3);
    add(&mut copy, 4).unwrap();
    assert_eq!((count(&mut copy), count(&mut used)), (4, 3));
    assert_eq!(crate::inspect::migrations(&desk.file()).unwrap(), [("shelf".to_owned(), 1)]);
    add(&mut used, 5).unwrap();
}

#[test]
fn a_row_sum_keeps_its_bytes() {
    // BLAKE3 derive_key("vtl inventory row 0") of the canonical bytes, written out:
    let mut canonical = vec![0x03, 0x05, 0x00, 0x00, 0x00];
    canonical.extend(b"shelf");
    canonical.extend([0x01, 0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]);
    canonical.extend([0x03, 0x02, 0x00, 0x00, 0x00]);
    canonical.extend(b"L7");
    canonical.extend([0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe0, 0x3f]);
    canonical.extend([0x04, 0x01, 0x00, 0x00, 0x00, 0xff]);
    let whole = blake3::derive_key("vtl inventory row 0", &canonical);
    assert_eq!(row_sum(&SHELF, &sample(7)), whole[..16]);
    assert_eq!(
        row_sum(&SHELF, &sample(7)),
        GOLDEN,
        "the checksum of a row must never change: files of the past carry it"
    );
    let null = [7.into(), Value::Text("L7".to_owned()), Value::Null, Value::Null];
    assert_ne!(row_sum(&SHELF, &null), row_sum(&SHELF, &sample(7)));
}

const GOLDEN: [u8; 16] =
    [0xab, 0x50, 0x73, 0x75, 0x25, 0xa3, 0x28, 0xe8, 0x9a, 0xa8, 0x1c, 0x30, 0x55, 0x45, 0x90, 0xff];

#[test]
fn the_file_is_made_with_mode_0600_and_says_whose_it_is() {
    let desk = Desk::new();
    desk.with_rows(1);
    assert_eq!(fs::metadata(desk.file()).unwrap().permissions().mode() & 0o7777, 0o600);
    let bytes = fs::read(desk.file()).unwrap();
    assert_eq!(bytes[68..72], *b"vtlm"); // SQLite's header: application id, big-endian at offset 68
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_remedy() {
    let desk = Desk::new();
    desk.with_rows(1);
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Meta::open(&desk.file(), &ONE).unwrap_err();
    let (told, remedy) = (error.to_string(), error.remedy());
    assert!(told.ends_with("has mode 0644, but it holds secrets"), "{told}");
    assert_eq!(remedy, format!("chmod 600 {}", desk.file().display()));
    assert_eq!(error.advised(), format!("{told}: {remedy}"));
}

#[test]
fn another_programs_database_is_refused_and_not_touched() {
    let desk = Desk::new();
    by_hand(&desk.file(), "CREATE TABLE theirs (a); PRAGMA application_id = 5");
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let before = fs::read(desk.file()).unwrap();
    let error = Meta::open(&desk.file(), &ONE).unwrap_err();
    assert!(matches!(error, MetaError::NotOurs { application_id: 5, .. }), "{error}");
    assert_eq!(fs::read(desk.file()).unwrap(), before);
}

#[test]
fn where_an_inventory_must_be_none_is_made() {
    let desk = Desk::new();
    let opened = || Meta::open_existing(&desk.file(), &ONE);
    assert!(matches!(opened(), Err(MetaError::Io { operation: "look at", .. })));
    assert!(!desk.file().exists());
    fs::write(desk.file(), b"").unwrap();
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = opened().unwrap_err();
    assert!(matches!(error, MetaError::Empty(_)), "{error}");
    assert_eq!(error.remedy(), "name what vtl system backup has written");
    assert_eq!(fs::read(desk.file()).unwrap(), b"");
    // Ours, and nothing in it: a start that was cut off.
    drop(Meta::open(&desk.file(), &NONE).unwrap());
    assert!(matches!(opened(), Err(MetaError::Empty(_))));
    fs::remove_file(desk.file()).unwrap();
    drop(desk.with_rows(3));
    assert_eq!(count(&mut opened().unwrap()), 3);
}

#[test]
fn commits_are_durable_and_foreign_keys_hold() {
    let desk = Desk::new();
    let mut meta = desk.open();
    meta.read(|tx| {
        for (pragma, value) in [("synchronous", "2"), ("foreign_keys", "1"), ("journal_mode", "wal")] {
            assert_eq!(tx.pragma(pragma), value, "{pragma}");
        }
        Ok::<_, MetaError>(())
    })
    .unwrap();
}

#[test]
fn what_a_transaction_wrote_is_there_after_reopening_and_what_failed_is_not() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(1);
    let failed = meta.transaction(|tx| {
        tx.insert(&SHELF, &sample(2))?;
        tx.insert(&SHELF, &sample(1)) // the key is taken
    });
    assert!(failed.is_err());
    assert_eq!(count(&mut meta), 1);
    drop(meta);
    assert_eq!(count(&mut desk.open()), 1);
}

#[test]
fn a_reader_cannot_leave_a_change_behind() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(3);
    let seen = meta.read(|tx| tx.all(&SHELF)).unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[0].get::<String>("label").unwrap(), "L1");
    assert_eq!(seen[0].get::<f64>("weight").unwrap(), 0.5);
    assert!(seen[0].get::<i64>("label").is_err(), "a text is no number");
}

#[test]
fn update_and_delete_say_when_there_is_no_such_row() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(1);
    let absent = meta.transaction(|tx| tx.update(&SHELF, &sample(9))).unwrap_err();
    assert!(matches!(absent, MetaError::Absent(_)), "{absent}");
    let deleted = |tx: &mut Tx<'_>, id: i64| tx.delete(&SHELF, &[id.into()]);
    assert!(!meta.transaction(|tx| deleted(tx, 9)).unwrap());
    assert!(meta.transaction(|tx| deleted(tx, 1)).unwrap());
}

#[test]
fn a_damaged_row_is_named_and_the_others_are_served() {
    for damage in
        ["label = 'L9'", "weight = 0.25", "note = NULL", "row_sum = x'00'", "label = CAST(x'ff' AS TEXT)"]
    {
        let desk = Desk::new();
        drop(desk.with_rows(3));
        by_hand(&desk.file(), &format!("UPDATE shelf SET {damage} WHERE id = 2"));
        let mut meta = desk.open();
        let named = RowName { table: "shelf", key: "id=2".to_owned() };
        assert_eq!(meta.damaged_rows().unwrap(), std::slice::from_ref(&named), "{damage}");
        let error = meta.read(|tx| tx.get(&SHELF, &[2.into()])).unwrap_err();
        assert!(matches!(&error, MetaError::DamagedRow(row) if *row == named));
        let text = error.to_string();
        assert!(text.contains("shelf [id=2]") && !text.contains("vtl system"), "{text}");
        assert!(error.remedy().contains("vtl system restore FILE"), "{}", error.remedy());
        assert!(meta.read(|tx| tx.get(&SHELF, &[1.into()])).unwrap().is_some());
        assert!(meta.read(|tx| tx.all(&SHELF)).is_err(), "a list with a damaged row is no list");
        let unproved = meta.read(|tx| tx.find_unproved(&SHELF, "TRUE", &[])).unwrap();
        let ids: Vec<i64> = unproved.iter().map(|row| row.get("id").unwrap()).collect();
        assert_eq!(ids, [1, 2, 3], "{damage}");
    }
}

#[test]
fn rows_that_are_deleted_together_need_not_be_whole() {
    let desk = Desk::new();
    drop(desk.with_rows(4));
    by_hand(&desk.file(), "UPDATE shelf SET note = NULL WHERE id = 2");
    let mut meta = desk.open();
    let deleted = meta.transaction(|tx| tx.delete_each(&SHELF, "id < ?1", &[4.into()]));
    assert_eq!((deleted.unwrap(), count(&mut meta)), (3, 1));
    assert!(meta.read(|tx| tx.get(&SHELF, &[4.into()])).unwrap().is_some());
}

#[test]
fn a_row_moved_under_another_key_is_damaged() {
    let desk = Desk::new();
    drop(desk.with_rows(1));
    by_hand(&desk.file(), "UPDATE shelf SET id = 5");
    assert_eq!(desk.open().damaged_rows().unwrap().len(), 1);
}

#[test]
fn damaged_pages_are_refused_at_start_with_the_remedy() {
    let desk = Desk::new();
    drop(desk.with_rows(500));
    by_hand(&desk.file(), "PRAGMA wal_checkpoint(TRUNCATE)");
    let whole = fs::read(desk.file()).unwrap();
    assert!(whole.len() > 4 * 4096);
    for page in 1..whole.len() / 4096 {
        let mut bytes = whole.clone();
        bytes[page * 4096..page * 4096 + 64].fill(0xa5); // the page's header and first cell pointers
        fs::write(desk.file(), &bytes).unwrap();
        let error = Meta::open(&desk.file(), &ONE).expect_err("a page of noise must not open");
        let text = error.to_string();
        assert!(matches!(error, MetaError::Damaged { .. } | MetaError::Sqlite(_)), "page {page}: {text}");
        assert!(error.remedy().contains("vtl system restore FILE"), "page {page}: {text}");
        let _ = fs::remove_file(desk.0.path().join("inventory.db-wal"));
        let _ = fs::remove_file(desk.0.path().join("inventory.db-shm"));
    }
}

#[test]
fn a_file_of_noise_is_refused_as_damaged() {
    let desk = Desk::new();
    fs::write(desk.file(), [0xa5; 8192]).unwrap();
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();
    let error = Meta::open(&desk.file(), &ONE).unwrap_err();
    assert!(matches!(error, MetaError::Damaged { .. }), "{error:?}");
}

#[test]
fn migrations_are_applied_once_in_order_and_keep_the_rows() {
    let desk = Desk::new();
    drop(desk.with_rows(2));
    for _ in 0..2 {
        let mut meta = Meta::open(&desk.file(), &TWO).unwrap();
        assert_eq!(count(&mut meta), 2);
    }
}

#[test]
fn a_newer_file_is_refused() {
    let desk = Desk::new();
    drop(Meta::open(&desk.file(), &TWO).unwrap());
    let error = Meta::open(&desk.file(), &ONE).unwrap_err();
    assert!(
        matches!(&error, MetaError::Newer { module, found: 2, known: 1, .. } if module == "shelf"),
        "{error}"
    );
    let error = Meta::open(&desk.file(), &NONE).unwrap_err();
    assert!(matches!(error, MetaError::Newer { found: 2, known: 0, .. }), "{error}");
    assert!(error.to_string().contains("newer vtl"));
    let remedy = error.remedy();
    // The newer program's restore makes a copy as new as itself.
    assert!(
        remedy.contains("stop vtld, move inventory.*") && !remedy.contains("vtl system restore"),
        "{remedy}"
    );
    assert!(remedy.contains("as inventory.restore"), "it is known as a copy then: {remedy}");
    by_hand(&desk.file(), "PRAGMA user_version = 1");
    let error = Meta::open(&desk.file(), &TWO).unwrap_err();
    assert!(matches!(&error, MetaError::Newer { module, found: 1, .. } if module == "container"), "{error}");
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind() {
    let desk = Desk::new();
    drop(desk.with_rows(1));
    let error = Meta::open(&desk.file(), &BROKEN).unwrap_err();
    assert!(matches!(error, MetaError::MigrationFailed { number: 2, .. }), "{error}");
    let remedy = error.remedy();
    assert!(remedy.contains("stop vtld and put the copy in its place"), "{remedy}");
    assert!(!remedy.contains("vtl system restore"), "no server runs that could: {remedy}");
    assert_eq!(count(&mut Meta::open(&desk.file(), &TWO).unwrap()), 1);
}

#[test]
fn a_migration_that_was_changed_after_its_release_is_noticed() {
    let desk = Desk::new();
    drop(desk.with_rows(1));
    let error = Meta::open(&desk.file(), &CHANGED).unwrap_err();
    assert!(matches!(error, MetaError::MigrationChanged { module: "shelf", number: 1 }), "{error}");
}

#[test]
fn an_online_copy_opens_with_all_that_was_committed() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(100);
    let copy = desk.0.path().join("copy.db");
    meta.copy_to(&copy).unwrap();
    add(&mut meta, 101).unwrap();
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(count(&mut Meta::open(&copy, &ONE).unwrap()), 100);
    assert_eq!(count(&mut meta), 101);
    let error = meta.copy_to(&copy).unwrap_err();
    assert!(matches!(error, MetaError::Exists(_)), "{error}");
}

#[test]
fn a_change_that_is_for_the_copy_is_in_it_alone_and_one_that_fails_leaves_no_copy() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(1);
    let copy = desk.0.path().join("copy.db");
    let failed = meta.copy_with(&copy, |_| Err(MetaError::Empty("made up".into())));
    assert!(matches!(failed, Err(MetaError::Empty(_))), "{failed:?}");
    assert!(!copy.exists() && !desk.0.path().join("copy.db.part").exists());
    meta.copy_with(&copy, |tx| tx.insert(&SHELF, &sample(2))).unwrap();
    assert_eq!(count(&mut Meta::open(&copy, &ONE).unwrap()), 2);
    assert_eq!(count(&mut meta), 1);
}

#[test]
fn a_copy_replaces_the_leftover_of_an_interrupted_one_and_leaves_none() {
    let desk = Desk::new();
    let meta = desk.with_rows(1);
    let copy = desk.0.path().join("copy.db");
    let part = desk.0.path().join("copy.db.part");
    fs::write(&part, b"half").unwrap();
    meta.copy_to(&copy).unwrap();
    assert!(!part.exists());
    let nowhere = desk.0.path().join("no/folder/copy.db");
    assert!(matches!(meta.copy_to(&nowhere), Err(MetaError::Io { .. })));
}

#[test]
fn a_copy_waits_a_moment_for_who_has_a_file_locked_and_is_none_when_that_lasts() {
    let desk = Desk::new();
    let meta = desk.with_rows(3);
    let file = desk.0.path().join("copy.db");
    let other = rusqlite::Connection::open(&file).unwrap();
    let mut target = rusqlite::Connection::open(&file).unwrap();
    target.busy_timeout(Duration::ZERO).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = crate::file::copy_all(&meta.connection, &mut target).unwrap_err();
    assert!(error.to_string().contains("nothing is copied") && !error.is_permanent(), "{error}");
    assert!(error.remedy().contains("end the other program"), "{}", error.remedy());
    let lets_go = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        other.execute_batch("ROLLBACK").unwrap();
    });
    crate::file::copy_all(&meta.connection, &mut target).unwrap();
    lets_go.join().unwrap();
    let rows: i64 = target.query_row("SELECT count(*) FROM shelf", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 3);
}

#[test]
fn a_full_disk_is_told_as_such_and_takes_nothing_away() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(1);
    let pages: i64 = meta.connection.pragma_query_value(None, "page_count", |r| r.get(0)).unwrap();
    // The same error code as from a disk without space, without filling one.
    meta.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let error = (2..1000).find_map(|id| add(&mut meta, id).err()).expect("the file cannot grow");
    assert!(error.is_disk_full() && !error.is_permanent(), "{error}");
    assert_eq!(error.remedy(), "free space on the disk of the state folder");
    let rows = count(&mut meta);
    drop(meta);
    let mut meta = desk.open();
    assert_eq!(count(&mut meta), rows);
    add(&mut meta, 1000).unwrap();
}

#[test]
fn the_owner_may_live_on_any_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Meta>();
}

#[test]
fn what_was_removed_or_replaced_is_in_no_file_after_a_sweep_and_the_rest_is_whole() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(3);
    let secret = "made-up-text-of-before";
    let row = [9.into(), Value::Text(secret.to_owned()), Value::Real(0.5), Value::Null];
    meta.transaction(|tx| tx.insert(&SHELF, &row)).unwrap();
    meta.transaction(|tx| tx.delete(&SHELF, &[9.into()])).unwrap();
    let found = |desk: &Desk| {
        let all = fs::read_dir(desk.file().parent().unwrap()).unwrap().flatten();
        let holds =
            |path: &Path| fs::read(path).unwrap().windows(secret.len()).any(|part| part == secret.as_bytes());
        all.filter(|entry| holds(&entry.path())).count()
    };
    assert!(found(&desk) > 0, "its journal still has it");
    meta.sweep().unwrap();
    assert_eq!((found(&desk), count(&mut meta)), (0, 3));
    assert_eq!(meta.damaged_rows().unwrap(), []);
    add(&mut meta, 4).unwrap();
    assert_eq!(count(&mut meta), 4);
}

#[test]
fn a_close_puts_all_into_the_file_or_says_that_it_cannot() {
    let desk = Desk::new();
    let mut meta = desk.with_rows(1);
    let reader = rusqlite::Connection::open(desk.file()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let seen: i64 = reader.query_row("SELECT count(*) FROM shelf", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 1);
    add(&mut meta, 2).unwrap();
    meta.connection.busy_timeout(Duration::ZERO).unwrap();
    let error = meta.close().unwrap_err().to_string();
    assert!(error.contains("another program reads the inventory"), "{error}");
    drop(reader);
    desk.open().close().unwrap();
    let alone = desk.0.path().join("alone.db");
    fs::copy(desk.file(), &alone).unwrap();
    assert_eq!(count(&mut Meta::open_existing(&alone, &ONE).unwrap()), 2);
}

static ACCOUNTS: Table = Table { name: "accounts", columns: &["id", "secret", "mutual_secret"], key_len: 1 };

static GUARDED: [Module; 1] = [Module {
    name: "accounts",
    migrations: &[Migration {
        number: 1,
        sql: "CREATE TABLE accounts (id INTEGER PRIMARY KEY, secret BLOB NOT NULL, mutual_secret BLOB, \
              row_sum BLOB NOT NULL) STRICT",
    }],
    tables: &[&ACCOUNTS],
}];

#[test]
fn a_secret_is_found_by_its_length_on_either_side_while_it_is_in_the_journal_only() {
    let desk = Desk::new();
    let file = desk.file();
    let mut meta = Meta::open(&file, &GUARDED).unwrap();
    let found = |bytes| crate::inspect::has_secret_of(&file, "accounts", bytes).unwrap();
    let mut keep = |id, secret: usize, mutual: Value| {
        let row = [Value::Integer(id), Value::Blob(vec![7; secret]), mutual];
        meta.transaction(|tx| tx.insert(&ACCOUNTS, &row)).unwrap();
    };
    assert!(!found(284));
    keep(1, 255, Value::Null);
    assert!(found(255) && !found(284));
    keep(2, 12, Value::Blob(vec![7; 284]));
    assert!(found(284) && !found(283));
    keep(3, 283, Value::Null);
    assert!(found(283));
    assert!(!crate::inspect::has_secret_of(&file, "no such table", 284).unwrap());
    let nothing = desk.0.path().join("nothing.db");
    assert!(crate::inspect::has_secret_of(&nothing, "accounts", 284).is_err());
    assert!(!nothing.exists(), "and none is made");
}

#[test]
fn what_sqlite_fails_for_is_in_the_file_or_is_the_disk_or_another_who_has_it_open() {
    let desk = Desk::new();
    drop(desk.with_rows(1));
    assert!(Meta::open(&desk.file(), &BROKEN).unwrap_err().is_of_content(), "a migration");
    by_hand(&desk.file(), "DROP TABLE shelf");
    let error = desk.open().damaged_rows().unwrap_err();
    assert!(error.is_of_content(), "no such table");
    assert!(!error.remedy().contains("move inventory.db"), "a fault of the program costs no inventory");
    // Result codes of SQLite, sqlite.org/rescode.html.
    for (code, of_content) in [(5, false), (10, false), (11, true), (13, false), (14, false), (26, true)] {
        let error = MetaError::Sqlite(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None));
        assert_eq!(error.is_of_content(), of_content, "{code}");
    }
}
