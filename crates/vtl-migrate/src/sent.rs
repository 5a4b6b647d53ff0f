//! Confirmed objects of exports that are not complete yet: a row for each, so that confirming one costs the same however many came before.
//!
//! They are known by remote and folder, which an export has for itself. They go in the transaction that enters the complete bundle into the
//! catalogue, and with the folder when that is removed.

use serde::{Deserialize, Serialize};
use vtl_meta::{MetaError, Row, Table, Tx, Value};

use crate::catalogue::StoredObject;

pub(crate) static SENT: Table =
    Table { name: "export_objects", columns: &["remote", "folder", "number", "object", "proof"], key_len: 3 };

pub(crate) const MIGRATION: &str = "
    CREATE TABLE export_objects (
        remote TEXT NOT NULL,
        folder TEXT NOT NULL,
        number INTEGER NOT NULL CHECK (number >= 0),
        object TEXT NOT NULL,
        proof TEXT NOT NULL,
        row_sum BLOB NOT NULL,
        PRIMARY KEY (remote, folder, number)
    ) STRICT, WITHOUT ROWID;
";

/// An object that is on the remote, and what was proved of it, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) object: StoredObject,
    pub(crate) proof: String,
}

/// All of a folder, in order.
pub(crate) fn all(tx: &Tx<'_>, remote: &str, folder: &str) -> Result<Vec<Sent>, MetaError> {
    tx.find(&SENT, OF_FOLDER, &key(remote, folder))?.iter().map(read).collect()
}

/// How many there are.
///
/// # Errors
/// A failure of the file.
pub fn confirmed(tx: &Tx<'_>, remote: &str, folder: &str) -> Result<u64, MetaError> {
    tx.count(&SENT, OF_FOLDER, &key(remote, folder))
}

/// One more.
pub(crate) fn add(
    tx: &mut Tx<'_>,
    remote: &str,
    folder: &str,
    number: u64,
    sent: &Sent,
) -> Result<(), MetaError> {
    let [remote, folder] = key(remote, folder);
    // A list of plain texts and numbers: it can always be written.
    let object = serde_json::to_string(&sent.object).unwrap_or_default();
    let values = [remote, folder, int(number), Value::Text(object), Value::Text(sent.proof.clone())];
    tx.insert(&SENT, &values)
}

/// None of them is of use any more.
pub(crate) fn forget(tx: &mut Tx<'_>, remote: &str, folder: &str) -> Result<(), MetaError> {
    for number in 0..confirmed(tx, remote, folder)? {
        let [remote, folder] = key(remote, folder);
        tx.delete(&SENT, &[remote, folder, int(number)])?;
    }
    Ok(())
}

/// How many there are in all folders of a remote.
pub(crate) fn of_remote(tx: &Tx<'_>, remote: &str) -> Result<u64, MetaError> {
    tx.count(&SENT, OF_REMOTE, &[Value::Text(remote.to_owned())])
}

/// None of these is of use any more.
pub(crate) fn forget_remote(tx: &mut Tx<'_>, remote: &str) -> Result<(), MetaError> {
    for row in tx.find(&SENT, OF_REMOTE, &[Value::Text(remote.to_owned())])? {
        let [remote, folder] = key(remote, &row.get::<String>("folder")?);
        tx.delete(&SENT, &[remote, folder, Value::Integer(row.get("number")?)])?;
    }
    Ok(())
}

const OF_REMOTE: &str = "remote = ?1";
const OF_FOLDER: &str = "remote = ?1 AND folder = ?2";

fn key(remote: &str, folder: &str) -> [Value; 2] {
    [Value::Text(remote.to_owned()), Value::Text(folder.to_owned())]
}

fn int(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn read(row: &Row) -> Result<Sent, MetaError> {
    let object: String = row.get("object")?;
    Ok(Sent { object: serde_json::from_str(&object).map_err(|_| row.damaged())?, proof: row.get("proof")? })
}
