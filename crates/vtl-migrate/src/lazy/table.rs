//! Which cartridges are here in part only, and where the rest of them is. A row is written when the cartridge appears, and goes when all of it is here or
//! the cartridge goes. Bytes: `docs/formats/inventory.md`.

use vtl_meta::{MetaError, Migration, Module, Row as MetaRow, Table, Tx, Value};
use vtl_types::{CartridgeId, Label};

/// What is kept of it in the inventory file.
pub const MODULE: Module =
    Module { name: "lazy", migrations: &[Migration { number: 1, sql: MIGRATION_1 }], tables: &[&LAZY] };

static LAZY: Table = Table {
    name: "lazy",
    columns: &[
        "cartridge",
        "pieces",
        "label",
        "remote",
        "folder",
        "manifest_sha256",
        "manifest_bytes",
        "image_bytes",
        "keys",
        "wrong",
    ],
    key_len: 1,
};

const MIGRATION_1: &str = "
    CREATE TABLE lazy (
        cartridge BLOB NOT NULL CHECK (length(cartridge) = 16),
        pieces BLOB NOT NULL CHECK (length(pieces) = 16),
        label TEXT NOT NULL,
        remote TEXT NOT NULL,
        folder TEXT NOT NULL,
        manifest_sha256 TEXT NOT NULL,
        manifest_bytes INTEGER NOT NULL CHECK (manifest_bytes >= 0),
        image_bytes INTEGER NOT NULL CHECK (image_bytes >= 0),
        keys TEXT NOT NULL,
        wrong TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (cartridge)
    ) STRICT, WITHOUT ROWID;
";

/// A cartridge that is here in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LazyRow {
    /// The cartridge; its owner in the store has head and attributes, and no blocks before all is here.
    pub cartridge: CartridgeId,
    /// The owner in the store that has what is here.
    pub pieces: CartridgeId,
    /// Label of the cartridge when it appeared.
    pub label: Label,
    /// Name of the remote.
    pub remote: String,
    /// The bundle's folder there.
    pub folder: String,
    /// Of the manifest's bytes, hexadecimal.
    pub manifest_sha256: String,
    /// Bytes of the manifest; they are the first of what `pieces` has.
    pub manifest_bytes: u64,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// Fingerprints (hexadecimal) of keys that open the bundle; none when it is not encrypted.
    pub keys: Vec<String>,
    /// What is wrong with the whole, once all was here and its hash was another one.
    pub wrong: Option<String>,
}

impl LazyRow {
    fn key(&self) -> [Value; 1] {
        [key(self.cartridge)]
    }

    fn values(&self) -> [Value; 10] {
        let text = |text: &str| Value::Text(text.to_owned());
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let [cartridge] = self.key();
        [
            cartridge,
            key(self.pieces),
            text(self.label.as_str()),
            text(&self.remote),
            text(&self.folder),
            text(&self.manifest_sha256),
            number(self.manifest_bytes),
            number(self.image_bytes),
            Value::Text(self.keys.join(" ")),
            text(self.wrong.as_deref().unwrap_or_default()),
        ]
    }

    fn read(row: &MetaRow) -> Result<Self, MetaError> {
        let number = |name: &str| {
            let value: i64 = row.get(name)?;
            u64::try_from(value).map_err(|_| row.damaged())
        };
        let (label, keys, wrong): (String, String, String) =
            (row.get("label")?, row.get("keys")?, row.get("wrong")?);
        Ok(Self {
            cartridge: CartridgeId(row.get("cartridge")?),
            pieces: CartridgeId(row.get("pieces")?),
            label: label.parse().map_err(|_| row.damaged())?,
            remote: row.get("remote")?,
            folder: row.get("folder")?,
            manifest_sha256: row.get("manifest_sha256")?,
            manifest_bytes: number("manifest_bytes")?,
            image_bytes: number("image_bytes")?,
            keys: keys.split_whitespace().map(str::to_owned).collect(),
            wrong: Some(wrong).filter(|wrong| !wrong.is_empty()),
        })
    }
}

fn key(id: CartridgeId) -> Value {
    Value::Blob(id.0.to_vec())
}

/// Enters a row; the same cartridge again replaces it.
///
/// # Errors
/// A failure of the file.
pub fn put(tx: &mut Tx<'_>, row: &LazyRow) -> Result<(), MetaError> {
    tx.delete(&LAZY, &row.key())?;
    tx.insert(&LAZY, &row.values())
}

/// Forgets a cartridge: all of it is here, or it is gone. That there is no row is no error.
///
/// # Errors
/// A failure of the file.
pub fn forget(tx: &mut Tx<'_>, cartridge: CartridgeId) -> Result<(), MetaError> {
    tx.delete(&LAZY, &[key(cartridge)]).map(drop)
}

/// All of them.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn all(tx: &Tx<'_>) -> Result<Vec<LazyRow>, MetaError> {
    tx.all(&LAZY)?.iter().map(LazyRow::read).collect()
}

/// One cartridge, if it is here in part.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn of(tx: &Tx<'_>, cartridge: CartridgeId) -> Result<Option<LazyRow>, MetaError> {
    let found = tx.find(&LAZY, "cartridge = ?1", &[key(cartridge)])?;
    found.first().map(LazyRow::read).transpose()
}

/// Cartridges whose rest is in this folder.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn from_folder(tx: &Tx<'_>, remote: &str, folder: &str) -> Result<Vec<LazyRow>, MetaError> {
    let place = [Value::Text(remote.to_owned()), Value::Text(folder.to_owned())];
    tx.find(&LAZY, "remote = ?1 AND folder = ?2", &place)?.iter().map(LazyRow::read).collect()
}
