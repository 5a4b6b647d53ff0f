//! Pools as the inventory lists them, and which cartridge is in which. `docs/formats/inventory.md` describes the tables.

use std::path::{Path, PathBuf};

use vtl_conf::StoreKeyMethod;
use vtl_meta::{MetaError, Migration, Module, Row, Table, Tx, Value};
use vtl_types::{CartridgeId, PoolName};

/// What the daemon keeps of pools.
pub(crate) const MODULE: Module = Module {
    name: "pools",
    migrations: &[Migration { number: 1, sql: MIGRATION_1 }],
    tables: &[&POOLS, &FOLDERS, &CARTRIDGES],
};

static POOLS: Table = Table {
    name: "pools",
    columns: &[
        "name",
        "state",
        "store_id",
        "home",
        "key_method",
        "key_file",
        "next_key_method",
        "next_key_file",
        "dedupe",
        "chunk_bytes",
        "compression_level",
        "size_bytes",
        "created_s",
    ],
    key_len: 1,
};

static FOLDERS: Table = Table { name: "pool_folders", columns: &["path", "pool"], key_len: 1 };

static CARTRIDGES: Table = Table { name: "pool_cartridges", columns: &["cartridge", "pool"], key_len: 1 };

const MIGRATION_1: &str = "
    CREATE TABLE pools (
        name TEXT PRIMARY KEY NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('making', 'adopting', 'normal', 'removing')),
        store_id BLOB CHECK (length(store_id) = 16),
        home TEXT NOT NULL UNIQUE,
        key_method TEXT CHECK (key_method IN ('key-file', 'passphrase-file')),
        key_file TEXT,
        next_key_method TEXT CHECK (next_key_method IN ('key-file', 'passphrase-file')),
        next_key_file TEXT,
        dedupe INTEGER NOT NULL CHECK (dedupe IN (0, 1)),
        chunk_bytes INTEGER NOT NULL CHECK (chunk_bytes > 0),
        compression_level INTEGER NOT NULL,
        size_bytes INTEGER CHECK (size_bytes > 0),
        created_s INTEGER NOT NULL,
        row_sum BLOB NOT NULL,
        CHECK ((key_method IS NULL) = (key_file IS NULL)),
        CHECK ((next_key_method IS NULL) = (next_key_file IS NULL)),
        CHECK (state IN ('making', 'removing') OR store_id IS NOT NULL)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE pool_folders (
        path TEXT PRIMARY KEY NOT NULL,
        pool TEXT NOT NULL REFERENCES pools (name),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE pool_cartridges (
        cartridge BLOB PRIMARY KEY NOT NULL CHECK (length(cartridge) = 16),
        pool TEXT NOT NULL REFERENCES pools (name),
        row_sum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// How far a pool is with its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolState {
    /// Its files are being made, and may be there or not.
    Making,
    /// It was there before, and what is in it is being listed.
    Adopting,
    /// It is there.
    Normal,
    /// Its files are being removed.
    Removing,
}

impl PoolState {
    const WORDS: [(&str, Self); 4] = [
        ("making", Self::Making),
        ("adopting", Self::Adopting),
        ("normal", Self::Normal),
        ("removing", Self::Removing),
    ];

    pub(crate) fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, state)| *state == self).map_or("normal", |(word, _)| word)
    }
}

/// What opens an encrypted pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    pub(crate) method: StoreKeyMethod,
    /// An absolute path.
    pub(crate) file: String,
}

const METHODS: [(&str, StoreKeyMethod); 2] =
    [("key-file", StoreKeyMethod::KeyFile), ("passphrase-file", StoreKeyMethod::PassphraseFile)];

/// A pool beside the default one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolRow {
    pub(crate) name: PoolName,
    pub(crate) state: PoolState,
    /// None while it may not have one yet.
    pub(crate) store_id: Option<[u8; 16]>,
    pub(crate) home: PathBuf,
    /// Further folders for its packs.
    pub(crate) folders: Vec<PathBuf>,
    /// None: it is not encrypted.
    pub(crate) key: Option<KeyPlace>,
    /// What may open it as well: a rotation to it has begun.
    pub(crate) next_key: Option<KeyPlace>,
    pub(crate) dedupe: bool,
    pub(crate) chunk_bytes: u64,
    pub(crate) compression_level: i32,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) created_s: u64,
}

impl PoolRow {
    /// All its folders, the home first.
    pub(crate) fn all_folders(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.home).chain(&self.folders)
    }
}

/// All pools but the default one, by name.
pub(crate) fn all(tx: &Tx<'_>) -> Result<Vec<PoolRow>, MetaError> {
    tx.all(&POOLS)?.iter().map(|row| read(tx, row)).collect()
}

/// The pool of this name, if there is one.
pub(crate) fn find(tx: &Tx<'_>, name: &PoolName) -> Result<Option<PoolRow>, MetaError> {
    tx.get(&POOLS, &[text(name.as_str())])?.map(|row| read(tx, &row)).transpose()
}

/// Lists a pool.
pub(crate) fn insert(tx: &mut Tx<'_>, row: &PoolRow) -> Result<(), MetaError> {
    tx.insert(&POOLS, &values(row))?;
    row.folders.iter().try_for_each(|folder| tx.insert(&FOLDERS, &[path(folder), text(row.name.as_str())]))
}

/// Writes what has changed of a pool, but its folders.
pub(crate) fn update(tx: &mut Tx<'_>, row: &PoolRow) -> Result<(), MetaError> {
    tx.update(&POOLS, &values(row))
}

/// A folder is the pool's from now on; it may be already.
pub(crate) fn add_folder(tx: &mut Tx<'_>, pool: &PoolName, folder: &Path) -> Result<(), MetaError> {
    match tx.get(&FOLDERS, &[path(folder)])? {
        Some(row) if named(&row, "pool")? == *pool => Ok(()),
        _ => tx.insert(&FOLDERS, &[path(folder), text(pool.as_str())]),
    }
}

/// A folder is none of the pool's any more.
pub(crate) fn drop_folder(tx: &mut Tx<'_>, folder: &Path) -> Result<bool, MetaError> {
    tx.delete(&FOLDERS, &[path(folder)])
}

/// Lists a pool no more, nor what is noted for it.
pub(crate) fn remove(tx: &mut Tx<'_>, name: &PoolName) -> Result<(), MetaError> {
    let pool = [text(name.as_str())];
    for row in tx.find(&FOLDERS, "pool = ?1", &pool)? {
        tx.delete(&FOLDERS, &[row.get::<Value>("path")?])?;
    }
    for row in tx.find(&CARTRIDGES, "pool = ?1", &pool)? {
        let cartridge = CartridgeId(row.get("cartridge")?);
        crate::take_in::forget_notes(tx, cartridge)?;
        take_out(tx, cartridge)?;
    }
    crate::meta::compared(tx, name)?;
    tx.delete(&POOLS, &pool).map(drop)
}

/// Which pool a cartridge is in, as far as is noted.
pub(crate) fn pool_of(tx: &Tx<'_>, cartridge: CartridgeId) -> Result<PoolName, MetaError> {
    match tx.get(&CARTRIDGES, &[id(cartridge)])? {
        None => Ok(PoolName::default()),
        Some(row) => named(&row, "pool"),
    }
}

/// Notes which pool a cartridge is in; no note means the default one.
pub(crate) fn put_in(tx: &mut Tx<'_>, cartridge: CartridgeId, pool: &PoolName) -> Result<(), MetaError> {
    take_out(tx, cartridge)?;
    match pool.is_default() {
        true => Ok(()),
        false => tx.insert(&CARTRIDGES, &[id(cartridge), text(pool.as_str())]),
    }
}

/// A cartridge is gone.
pub(crate) fn take_out(tx: &mut Tx<'_>, cartridge: CartridgeId) -> Result<(), MetaError> {
    tx.delete(&CARTRIDGES, &[id(cartridge)]).map(drop)
}

fn text(word: &str) -> Value {
    Value::Text(word.to_owned())
}

fn id(cartridge: CartridgeId) -> Value {
    Value::Blob(cartridge.0.to_vec())
}

/// Only paths that are text are taken.
fn path(path: &Path) -> Value {
    text(&path.to_string_lossy())
}

fn number(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn values(row: &PoolRow) -> [Value; 13] {
    let method = |key: &Option<KeyPlace>| {
        let word = |key: &KeyPlace| METHODS.iter().find(|(_, method)| *method == key.method);
        key.as_ref().and_then(word).map_or(Value::Null, |(word, _)| text(word))
    };
    let file = |key: &Option<KeyPlace>| key.as_ref().map_or(Value::Null, |key| text(&key.file));
    [
        text(row.name.as_str()),
        text(row.state.word()),
        row.store_id.map_or(Value::Null, |id| Value::Blob(id.to_vec())),
        path(&row.home),
        method(&row.key),
        file(&row.key),
        method(&row.next_key),
        file(&row.next_key),
        Value::Integer(i64::from(row.dedupe)),
        number(row.chunk_bytes),
        Value::Integer(i64::from(row.compression_level)),
        row.size_bytes.map_or(Value::Null, number),
        number(row.created_s),
    ]
}

fn read(tx: &Tx<'_>, row: &Row) -> Result<PoolRow, MetaError> {
    let name: PoolName = named(row, "name")?;
    let state: String = row.get("state")?;
    let state = PoolState::WORDS.iter().find(|(word, _)| *word == state).map(|(_, state)| *state);
    let folders = tx.find(&FOLDERS, "pool = ?1", &[text(name.as_str())])?;
    let path = |row: &Row, column: &str| row.get::<String>(column).map(PathBuf::from);
    Ok(PoolRow {
        state: state.ok_or_else(|| row.damaged())?,
        store_id: row.get("store_id")?,
        home: path(row, "home")?,
        folders: folders.iter().map(|folder| path(folder, "path")).collect::<Result<_, _>>()?,
        key: key(row, "key_method", "key_file")?,
        next_key: key(row, "next_key_method", "next_key_file")?,
        dedupe: row.get("dedupe")?,
        chunk_bytes: count(row, "chunk_bytes")?,
        compression_level: row.get("compression_level")?,
        size_bytes: row.get::<Option<i64>>("size_bytes")?.and_then(|bytes| u64::try_from(bytes).ok()),
        created_s: count(row, "created_s")?,
        name,
    })
}

fn count(row: &Row, column: &str) -> Result<u64, MetaError> {
    u64::try_from(row.get::<i64>(column)?).map_err(|_| row.damaged())
}

fn named(row: &Row, column: &str) -> Result<PoolName, MetaError> {
    row.get::<String>(column)?.parse().map_err(|_| row.damaged())
}

fn key(row: &Row, method: &str, file: &str) -> Result<Option<KeyPlace>, MetaError> {
    let (Some(word), Some(file)) = (row.get::<Option<String>>(method)?, row.get::<Option<String>>(file)?)
    else {
        return Ok(None);
    };
    let known = METHODS.iter().find(|(known, _)| *known == word).map(|(_, method)| *method);
    Ok(Some(KeyPlace { method: known.ok_or_else(|| row.damaged())?, file }))
}
