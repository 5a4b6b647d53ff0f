//! The catalogue: which cartridge lies in which folder of which remote, with the hashes that what is there must have.
//!
//! A row is written when a bundle is complete, in one transaction. It stays when the cartridge goes. Bytes: `docs/formats/inventory.md`.
//!
//! A row has the name of its remote and not the place: who gives a name to another place asks [`noted`] first.

use std::fmt;

use serde::{Deserialize, Serialize};
use vtl_bundle::Stored;
use vtl_meta::{MetaError, Migration, Module, Row as MetaRow, Table, Tx, Value};
use vtl_types::{CartridgeId, Label};

/// What this crate keeps in the inventory file.
pub const MODULE: Module = Module {
    name: "exports",
    migrations: &[
        Migration { number: 1, sql: MIGRATION_1 },
        Migration { number: 2, sql: crate::spare::MIGRATION },
        Migration { number: 3, sql: crate::sent::MIGRATION },
    ],
    tables: &[&EXPORTS, &crate::spare::SPARES, &crate::sent::SENT],
};

static EXPORTS: Table = Table {
    name: "exports",
    columns: &[
        "remote",
        "folder",
        "cartridge",
        "label",
        "generation",
        "origin",
        "made_s",
        "image_bytes",
        "stored_bytes",
        "manifest_sha256",
        "proof",
        "objects",
    ],
    key_len: 3,
};

const MIGRATION_1: &str = "
    CREATE TABLE exports (
        remote TEXT NOT NULL,
        folder TEXT NOT NULL,
        cartridge BLOB NOT NULL CHECK (length(cartridge) = 16),
        label TEXT NOT NULL,
        generation INTEGER NOT NULL CHECK (generation >= 0),
        origin TEXT NOT NULL CHECK (origin IN ('export', 'import')),
        made_s INTEGER NOT NULL,
        image_bytes INTEGER NOT NULL CHECK (image_bytes >= 0),
        stored_bytes INTEGER NOT NULL CHECK (stored_bytes >= 0),
        manifest_sha256 TEXT NOT NULL,
        proof TEXT NOT NULL,
        objects TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (remote, folder, cartridge)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX exports_by_cartridge ON exports (cartridge);
";

/// How a row came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The cartridge was exported from here.
    Export,
    /// The cartridge here was made from what is there.
    Import,
}

const ORIGINS: [(Origin, &str); 2] = [(Origin::Export, "export"), (Origin::Import, "import")];

/// An object as it is stored, and what is needed to verify it once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Name, length, hashes.
    #[serde(flatten)]
    pub object: Stored,
    /// What the remote gave back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receipt: String,
}

/// One complete bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the remote.
    pub remote: String,
    /// The folder there.
    pub folder: String,
    /// The cartridge here.
    pub cartridge: CartridgeId,
    /// Its label then.
    pub label: Label,
    /// Its write generation that has this content.
    pub generation: u64,
    /// How it came about.
    pub origin: Origin,
    /// When, in seconds since 1970.
    pub made_s: u64,
    /// Bytes of all blocks.
    pub image_bytes: u64,
    /// Bytes of all chunk objects.
    pub stored_bytes: u64,
    /// Of the manifest's bytes, hexadecimal; while another one takes its place two, the old and the new, with a space between them.
    pub manifest_sha256: String,
    /// What was proved, in words.
    pub proof: String,
    /// The chunk objects, in order.
    pub objects: Vec<StoredObject>,
}

impl Row {
    /// Whether a manifest with this hash is the one that was written or read here.
    #[must_use]
    pub fn has_manifest(&self, sha256: &str) -> bool {
        self.manifest_sha256.split(' ').any(|own| own == sha256)
    }

    fn key(&self) -> [Value; 3] {
        [
            Value::Text(self.remote.clone()),
            Value::Text(self.folder.clone()),
            Value::Blob(self.cartridge.0.to_vec()),
        ]
    }

    fn values(&self) -> [Value; 12] {
        let text = |text: &str| Value::Text(text.to_owned());
        let number = |number: u64| Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        let [remote, folder, cartridge] = self.key();
        let origin =
            ORIGINS.iter().find(|(origin, _)| *origin == self.origin).map_or("export", |(_, word)| word);
        // A list of plain texts and numbers: it can always be written.
        let objects = serde_json::to_string(&self.objects).unwrap_or_default();
        [
            remote,
            folder,
            cartridge,
            text(self.label.as_str()),
            number(self.generation),
            text(origin),
            number(self.made_s),
            number(self.image_bytes),
            number(self.stored_bytes),
            text(&self.manifest_sha256),
            text(&self.proof),
            Value::Text(objects),
        ]
    }

    fn read(row: &MetaRow) -> Result<Self, MetaError> {
        let number = |name: &str| {
            let value: i64 = row.get(name)?;
            u64::try_from(value).map_err(|_| row.damaged())
        };
        let (label, origin, objects): (String, String, String) =
            (row.get("label")?, row.get("origin")?, row.get("objects")?);
        let known = ORIGINS.iter().find(|(_, word)| *word == origin).map(|(origin, _)| *origin);
        Ok(Self {
            remote: row.get("remote")?,
            folder: row.get("folder")?,
            cartridge: CartridgeId(row.get("cartridge")?),
            label: label.parse().map_err(|_| row.damaged())?,
            generation: number("generation")?,
            origin: known.ok_or_else(|| row.damaged())?,
            made_s: number("made_s")?,
            image_bytes: number("image_bytes")?,
            stored_bytes: number("stored_bytes")?,
            manifest_sha256: row.get("manifest_sha256")?,
            proof: row.get("proof")?,
            objects: serde_json::from_str(&objects).map_err(|_| row.damaged())?,
        })
    }
}

/// Enters a bundle; the same again replaces the row.
pub(crate) fn put(tx: &mut Tx<'_>, row: &Row) -> Result<(), MetaError> {
    tx.delete(&EXPORTS, &row.key())?;
    tx.insert(&EXPORTS, &row.values())
}

/// Enters another manifest of a folder, by its hash, or by two while it takes the place of another one.
pub(crate) fn set_manifest(
    tx: &mut Tx<'_>,
    remote: &str,
    folder: &str,
    sha256: &str,
) -> Result<(), MetaError> {
    for row in of_folder(tx, remote, folder)? {
        put(tx, &Row { manifest_sha256: sha256.to_owned(), ..row })?;
    }
    Ok(())
}

/// Whether a bundle with this manifest was exported from here.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn made_here(tx: &Tx<'_>, sha256: &str) -> Result<bool, MetaError> {
    let found = tx.find(
        &EXPORTS,
        "origin = 'export' AND instr(manifest_sha256, ?1) > 0",
        &[Value::Text(sha256.to_owned())],
    )?;
    Ok(rows(found)?.iter().any(|row| row.has_manifest(sha256)))
}

/// Forgets which bundles are complete in a folder.
pub(crate) fn forget(tx: &mut Tx<'_>, remote: &str, folder: &str) -> Result<(), MetaError> {
    for row in of_folder(tx, remote, folder)? {
        tx.delete(&EXPORTS, &row.key())?;
    }
    Ok(())
}

/// How much is kept here under the name of a remote, wherever that is or was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Rows of complete bundles.
    pub exports: u64,
    /// Confirmed objects of bundles that are not complete.
    pub objects: u64,
}

impl Noted {
    /// Whether there is none of it.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.exports == 0 && self.objects == 0
    }
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.objects {
            0 => write!(f, "{} exports", self.exports),
            objects => write!(f, "{} exports and {objects} objects of incomplete ones", self.exports),
        }
    }
}

/// How much that is.
///
/// # Errors
/// A failure of the file.
pub fn noted(tx: &Tx<'_>, remote: &str) -> Result<Noted, MetaError> {
    let exports = tx.count(&EXPORTS, OF_REMOTE, &[Value::Text(remote.to_owned())])?;
    Ok(Noted { exports, objects: crate::sent::of_remote(tx, remote)? })
}

/// Forgets all of it, and tells how much it was. Nothing is removed from a remote.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn forget_remote(tx: &mut Tx<'_>, remote: &str) -> Result<Noted, MetaError> {
    let noted = noted(tx, remote)?;
    for row in rows(tx.find(&EXPORTS, OF_REMOTE, &[Value::Text(remote.to_owned())])?)? {
        tx.delete(&EXPORTS, &row.key())?;
    }
    crate::sent::forget_remote(tx, remote)?;
    Ok(noted)
}

const OF_REMOTE: &str = "remote = ?1";

fn rows(found: Vec<MetaRow>) -> Result<Vec<Row>, MetaError> {
    found.iter().map(Row::read).collect()
}

/// Everything.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn all(tx: &Tx<'_>) -> Result<Vec<Row>, MetaError> {
    rows(tx.all(&EXPORTS)?)
}

/// Whether this generation of a cartridge is complete on this remote.
///
/// # Errors
/// A failure of the file.
pub fn is_exported(tx: &Tx<'_>, id: CartridgeId, remote: &str, generation: u64) -> Result<bool, MetaError> {
    let key = [
        Value::Blob(id.0.to_vec()),
        Value::Text(remote.to_owned()),
        Value::Integer(i64::try_from(generation).unwrap_or(i64::MAX)),
    ];
    Ok(tx.count(&EXPORTS, "cartridge = ?1 AND remote = ?2 AND generation = ?3", &key)? > 0)
}

/// Labels of all that was ever complete.
pub(crate) fn labels(tx: &Tx<'_>) -> Result<Vec<Label>, MetaError> {
    let label = |row: &MetaRow| row.get::<String>("label")?.parse().map_err(|_| row.damaged());
    tx.all(&EXPORTS)?.iter().map(label).collect()
}

/// What is known of a folder: one row for each cartridge here that has its content.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn of_folder(tx: &Tx<'_>, remote: &str, folder: &str) -> Result<Vec<Row>, MetaError> {
    let key = [Value::Text(remote.to_owned()), Value::Text(folder.to_owned())];
    rows(tx.find(&EXPORTS, "remote = ?1 AND folder = ?2", &key)?)
}

/// Where a cartridge lies.
///
/// # Errors
/// A damaged row; a failure of the file.
pub fn of_cartridge(tx: &Tx<'_>, id: CartridgeId) -> Result<Vec<Row>, MetaError> {
    rows(tx.find(&EXPORTS, "cartridge = ?1", &[Value::Blob(id.0.to_vec())])?)
}

#[cfg(test)]
mod tests {
    use vtl_meta::Meta;

    use super::*;
    use crate::sent::{self, Sent};

    static MODULES: [Module; 1] = [MODULE];
    const FOLDER: &str = "VTL001L8-20261126_031500";

    fn object() -> StoredObject {
        let object = Stored {
            name: "VTL001L8.img.000001".to_owned(),
            bytes: 1,
            md5: String::new(),
            sha256: String::new(),
            frames: 1,
        };
        StoredObject { object, receipt: String::new() }
    }

    fn row(remote: &str, cartridge: u8) -> Row {
        Row {
            remote: remote.to_owned(),
            folder: FOLDER.to_owned(),
            cartridge: CartridgeId([cartridge; 16]),
            label: "VTL001L8".parse().unwrap(),
            generation: 1,
            origin: Origin::Export,
            made_s: 1,
            image_bytes: 1,
            stored_bytes: 1,
            manifest_sha256: "00".to_owned(),
            proof: String::new(),
            objects: vec![object()],
        }
    }

    #[test]
    fn what_is_kept_under_the_name_of_a_remote_is_forgotten_whole_and_nothing_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let mut meta = Meta::open(&folder.path().join("inventory.db"), &MODULES).unwrap();
        let enter = |tx: &mut Tx<'_>| {
            for remote in ["gone", "other"] {
                put(tx, &row(remote, 1))?;
                put(tx, &row(remote, 2))?;
                for number in 0..3 {
                    let sent = Sent { object: object(), proof: String::new() };
                    sent::add(tx, remote, "VTL002L8-20261126_031500", number, &sent)?;
                }
            }
            Ok::<_, MetaError>(())
        };
        meta.transaction(enter).unwrap();
        let all = Noted { exports: 2, objects: 3 };
        assert_eq!(all.to_string(), "2 exports and 3 objects of incomplete ones");
        assert_eq!(meta.transaction(|tx| forget_remote(tx, "gone")).unwrap(), all);
        let left = |tx: &Tx<'_>| Ok::<_, MetaError>((noted(tx, "gone")?, noted(tx, "other")?));
        assert_eq!(meta.read(left).unwrap(), (Noted::default(), all));
        assert!(meta.read(|tx| is_exported(tx, CartridgeId([1; 16]), "other", 1)).unwrap());
        assert!(!meta.read(|tx| is_exported(tx, CartridgeId([1; 16]), "gone", 1)).unwrap());
    }
}
