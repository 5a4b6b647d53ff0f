//! The inventory file as the daemon shares it, and what devices keep in it over a restart.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use scsi::{Persist, PersistFault};
use vtl_cartridge::{Now, Protection, Retention};
use vtl_jobs::{JobError, Ledger};
use vtl_library::LibraryError;
use vtl_meta::{Meta, MetaError, Migration, Module, Row, Table, Tx, Value};
use vtl_types::{CartridgeId, PoolName};

use crate::given_up::GIVEN_UP;
use crate::take_in::UNFINISHED;
use crate::trash::TRASH;

/// One file, one connection, one user at a time: transactions are short.
#[derive(Clone, Debug)]
pub struct SharedMeta(Arc<Mutex<Meta>>);

static DEVICE_STATE: Table = Table { name: "device_state", columns: &["device", "key", "value"], key_len: 2 };

/// Addresses that an operator has added to those of the configuration.
static PORTALS: Table = Table { name: "portals", columns: &["address"], key_len: 1 };

/// What the daemon itself keeps beside the library's tables.
const DEVICES: Module = Module {
    name: "devices",
    migrations: &[
        Migration {
            number: 1,
            sql: "CREATE TABLE device_state (
            device TEXT NOT NULL,
            key TEXT NOT NULL,
            value BLOB NOT NULL,
            row_sum BLOB NOT NULL,
            PRIMARY KEY (device, key)
        ) STRICT, WITHOUT ROWID;",
        },
        Migration {
            number: 2,
            sql: "CREATE TABLE portals (
            address TEXT NOT NULL,
            row_sum BLOB NOT NULL,
            PRIMARY KEY (address)
        ) STRICT, WITHOUT ROWID;",
        },
    ],
    tables: &[&DEVICE_STATE, &PORTALS],
};

/// Whose state the daemon's own notes are.
const DAEMON: &str = "vtld";
/// Whose words are the ids of cartridges that are kept.
pub(crate) const KEPT: &str = "kept";
/// Flag of a copy of the inventory, until a start on it has put right what is old in it.
pub(crate) const PUT_BACK: &str = "put-back";
/// Whose words are the names of pools that were not compared yet with a copy that was put back.
const NOT_COMPARED: &str = "not-compared";
/// Whose words are the ids of cartridges that could not be read when their pool was compared with an inventory that may lack rows, and of those that would be
/// listed if another one did not have their label.
const NOT_READ: &str = "not-read";

/// The daemon's own words under which no note says what a cartridge is kept by.
const OTHER_WORDS: [&str; 9] = [
    DAEMON,
    NOT_COMPARED,
    NOT_READ,
    TRASH.since,
    TRASH.count,
    GIVEN_UP.since,
    GIVEN_UP.count,
    UNFINISHED.since,
    UNFINISHED.count,
];

static MODULES: [Module; 12] = [
    vtl_library::MODULE,
    DEVICES,
    vtl_jobs::MODULE,
    crate::remotes::MODULE,
    vtl_migrate::MODULE,
    vtl_migrate::LAZY_MODULE,
    crate::pools::rows::MODULE,
    crate::policies::rows::MODULE,
    vtl_auth::MODULE,
    crate::history::MODULE,
    vtl_alert::MODULE,
    crate::api::once::MODULE,
];

/// The newest migration of each module.
pub(crate) fn newest_migrations() -> Vec<(&'static str, u32)> {
    let newest =
        |module: &Module| module.migrations.iter().map(|migration| migration.number).max().unwrap_or(0);
    MODULES.iter().map(|module| (module.name, newest(module))).collect()
}

impl SharedMeta {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// See [`Meta::open`].
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        Meta::open(path, &MODULES).map(|meta| Self(Arc::new(Mutex::new(meta))))
    }

    /// What a start would find in this file, which is only read.
    ///
    /// # Errors
    /// See [`Meta::open_copy`].
    pub(crate) fn open_copy(path: &Path) -> Result<Self, MetaError> {
        Meta::open_copy(path, &MODULES).map(|meta| Self(Arc::new(Mutex::new(meta))))
    }

    /// Looks at a copy of an inventory: its structure, its schema, which becomes the newest, and the sum of each row. It stands alone afterwards, with
    /// the flag [`PUT_BACK`].
    ///
    /// # Errors
    /// See [`Meta::open_existing`] and [`Meta::close`]; the first row that is damaged.
    pub(crate) fn check(path: &Path) -> Result<(), MetaError> {
        let mut meta = Meta::open_existing(path, &MODULES)?;
        match meta.damaged_rows()?.into_iter().next() {
            Some(row) => Err(MetaError::DamagedRow(row)),
            None => {
                meta.transaction(|tx| put_flag(tx, PUT_BACK))?;
                meta.close()
            }
        }
    }

    /// Copies the inventory to a new file. The copy has the flag [`PUT_BACK`], so that it is known as one however it comes to its place.
    ///
    /// # Errors
    /// See [`Meta::copy_with`].
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), MetaError> {
        self.with(|meta| meta.copy_with(to, |tx| put_flag(tx, PUT_BACK)))
    }

    /// Whether this is a copy that was put back, and that pool was not compared with it yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn is_not_compared(&self, pool: &PoolName) -> Result<bool, MetaError> {
        let key = word_key(NOT_COMPARED, &pool.to_string());
        self.with(|meta| meta.read(|tx| Ok(tx.get(&DEVICE_STATE, &key)?.is_some())))
    }

    /// Whether a cartridge could not be read when its pool was compared with an inventory that may lack rows, or waits for its label since.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn is_not_read(&self, id: CartridgeId) -> Result<bool, MetaError> {
        let key = number_key(NOT_READ, id);
        self.with(|meta| meta.read(|tx| Ok(tx.count(&DEVICE_STATE, "device = ?1 AND key = ?2", &key)? > 0)))
    }

    /// One transaction.
    ///
    /// # Errors
    /// Whatever `work` returns; nothing has changed then.
    pub fn change<T>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, LibraryError>,
    ) -> Result<T, LibraryError> {
        self.with(|meta| meta.transaction(work))
    }

    /// One consistent view.
    ///
    /// # Errors
    /// Whatever `work` returns.
    pub fn read<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T, LibraryError>) -> Result<T, LibraryError> {
        self.with(|meta| meta.read(work))
    }

    /// The file itself, for copies and checks.
    pub fn with<T>(&self, work: impl FnOnce(&mut Meta) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the daemon has noted `flag`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn flag(&self, flag: &str) -> Result<bool, MetaError> {
        self.with(|meta| meta.read(|tx| Ok(tx.get(&DEVICE_STATE, &flag_key(flag))?.is_some())))
    }

    /// Notes `flag`.
    ///
    /// # Errors
    /// It is not durable.
    pub fn set_flag(&self, flag: &str) -> Result<(), MetaError> {
        self.with(|meta| meta.transaction(|tx| put_flag(tx, flag)))
    }

    /// Takes the note of `flag` back.
    ///
    /// # Errors
    /// It is not durable.
    pub fn clear_flag(&self, flag: &str) -> Result<(), MetaError> {
        self.with(|meta| meta.transaction(|tx| drop_flag(tx, flag)))
    }

    /// Addresses to listen on beside those of the configuration.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn portals(&self) -> Result<Vec<SocketAddr>, MetaError> {
        self.with(|meta| {
            meta.read(|tx| {
                let address = |row: Row| row.get::<String>("address")?.parse().map_err(|_| row.damaged());
                tx.all(&PORTALS)?.into_iter().map(address).collect()
            })
        })
    }

    /// Listens on this address at the next start, too.
    ///
    /// # Errors
    /// It is not durable.
    pub fn add_portal(&self, address: SocketAddr) -> Result<(), MetaError> {
        let row = [Value::Text(address.to_string())];
        self.with(|meta| {
            meta.transaction(|tx| {
                tx.delete(&PORTALS, &row)?;
                tx.insert(&PORTALS, &row)
            })
        })
    }

    /// Does not; false when it would not have.
    ///
    /// # Errors
    /// It is not durable.
    pub fn forget_portal(&self, address: SocketAddr) -> Result<bool, MetaError> {
        let row = [Value::Text(address.to_string())];
        self.with(|meta| meta.transaction(|tx| tx.delete(&PORTALS, &row)))
    }

    /// What a cartridge was last known to be kept by.
    ///
    /// # Errors
    /// The note cannot be read, or there is none and a damaged row may be it: whether it is kept is not known.
    pub fn kept(&self, id: CartridgeId) -> Result<Protection, MetaError> {
        self.with(|meta| {
            meta.read(|tx| match tx.get(&DEVICE_STATE, &number_key(KEPT, id))? {
                Some(row) => Ok(protection_of(&row.get::<Vec<u8>>("value")?)),
                None => look_for_lost_note(tx, id).map(|()| Protection::default()),
            })
        })
    }

    /// Notes what a cartridge is kept by, for the day on which it cannot say so itself.
    ///
    /// # Errors
    /// It is not durable.
    pub fn note_kept(&self, id: CartridgeId, protection: Protection) -> Result<(), MetaError> {
        let note = if protection.is_on() { note_of(protection) } else { Vec::new() };
        self.device(KEPT).write(&crate::state::hexadecimal(&id.0), &note)
    }

    /// A cartridge is gone. A note that stays behind does no harm.
    pub fn forget_kept(&self, id: CartridgeId) {
        let _harmless = self.note_kept(id, Protection::default());
    }

    /// Whether any cartridge was last known to be retained and that is not over.
    pub fn any_retained(&self, now: Now) -> bool {
        let notes = self.with(|meta| {
            meta.read(|tx| tx.find(&DEVICE_STATE, "device = ?1", &[Value::Text(KEPT.to_owned())]))
        });
        let retained = |row: &Row| {
            let note: Vec<u8> = row.get("value").unwrap_or_default();
            protection_of(&note).at(now).retention.is_some()
        };
        notes.is_ok_and(|notes: Vec<Row>| notes.iter().any(retained))
    }

    /// Where the device with this serial number keeps its state.
    pub fn device(&self, serial: &str) -> DeviceState {
        DeviceState { meta: self.clone(), device: serial.to_owned() }
    }
}

impl Ledger for SharedMeta {
    fn change(&self, work: &mut dyn FnMut(&mut Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        self.with(|meta| meta.transaction(|tx| work(tx)))
    }

    fn read(&self, work: &mut dyn FnMut(&Tx<'_>) -> Result<(), JobError>) -> Result<(), JobError> {
        self.with(|meta| meta.read(|tx| work(tx)))
    }
}

/// This is a copy that was put back, and none of these pools was compared with it.
///
/// # Errors
/// A failure of the file.
pub(crate) fn put_back(tx: &mut Tx<'_>, pools: &[PoolName]) -> Result<(), MetaError> {
    put_flag(tx, PUT_BACK)?;
    pools.iter().try_for_each(|pool| put_word(tx, word_key(NOT_COMPARED, &pool.to_string())))
}

/// A cartridge cannot be read while its pool is compared with an inventory that may lack rows, or it waits for its label.
///
/// # Errors
/// A failure of the file.
pub(crate) fn note_not_read(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
    put_word(tx, number_key(NOT_READ, id))
}

/// A cartridge was read and compared, and is listed if it is to be; or it is gone.
///
/// # Errors
/// A failure of the file.
pub(crate) fn forget_not_read(tx: &mut Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
    tx.delete(&DEVICE_STATE, &number_key(NOT_READ, id)).map(drop)
}

/// Nothing of this pool waits to be compared with a copy that was put back.
pub(crate) fn compared(tx: &mut Tx<'_>, pool: &PoolName) -> Result<(), MetaError> {
    tx.delete(&DEVICE_STATE, &word_key(NOT_COMPARED, &pool.to_string())).map(drop)
}

fn word_key(device: &str, word: &str) -> [Value; 2] {
    [Value::Text(device.to_owned()), Value::Text(word.to_owned())]
}

fn flag_key(flag: &str) -> [Value; 2] {
    word_key(DAEMON, flag)
}

/// From now on this word is there.
fn put_word(tx: &mut Tx<'_>, key: [Value; 2]) -> Result<(), MetaError> {
    tx.delete(&DEVICE_STATE, &key)?;
    let [device, key] = key;
    tx.insert(&DEVICE_STATE, &[device, key, Value::Blob(vec![1])])
}

/// Notes `flag` in this transaction.
fn put_flag(tx: &mut Tx<'_>, flag: &str) -> Result<(), MetaError> {
    put_word(tx, flag_key(flag))
}

/// Takes the note of `flag` back in this transaction.
pub(crate) fn drop_flag(tx: &mut Tx<'_>, flag: &str) -> Result<(), MetaError> {
    tx.delete(&DEVICE_STATE, &flag_key(flag)).map(drop)
}

fn number_key(word: &str, id: CartridgeId) -> [Value; 2] {
    [Value::Text(word.to_owned()), Value::Text(crate::state::hexadecimal(&id.0))]
}

fn number_in(row: &Row) -> Result<u64, MetaError> {
    let value: Vec<u8> = row.get("value")?;
    let bytes: [u8; 8] = value.try_into().map_err(|_| row.damaged())?;
    Ok(u64::from_le_bytes(bytes))
}

/// The number that the daemon keeps of a cartridge under this word.
///
/// # Errors
/// A damaged row, or one that holds no number; a failure of the file.
pub(crate) fn number(tx: &Tx<'_>, word: &str, id: CartridgeId) -> Result<Option<u64>, MetaError> {
    tx.get(&DEVICE_STATE, &number_key(word, id))?.map(|row| number_in(&row)).transpose()
}

/// Looks whether each number under this word can be read.
///
/// # Errors
/// The first that cannot.
pub(crate) fn look_at_numbers(tx: &Tx<'_>, word: &str) -> Result<(), MetaError> {
    let rows = tx.find(&DEVICE_STATE, "device = ?1", &[Value::Text(word.to_owned())])?;
    rows.iter().try_for_each(|row| number_in(row).map(drop))
}

/// The cartridges of which there is a number under this word, also one that cannot be read. A row of no cartridge is none.
///
/// # Errors
/// A failure of the file.
pub(crate) fn numbered(tx: &Tx<'_>, word: &str) -> Result<Vec<CartridgeId>, MetaError> {
    let rows = tx.find_unproved(&DEVICE_STATE, "device = ?1", &[Value::Text(word.to_owned())])?;
    let id = |row: &Row| row.get::<String>("key").ok()?.parse::<CartridgeId>().ok();
    Ok(rows.iter().filter_map(id).collect())
}

/// No number is kept under this word any more, nor one that cannot be read.
///
/// # Errors
/// A failure of the file.
pub(crate) fn drop_numbers(tx: &mut Tx<'_>, word: &str) -> Result<(), MetaError> {
    tx.delete_each(&DEVICE_STATE, "device = ?1", &[Value::Text(word.to_owned())]).map(drop)
}

/// Keeps this number of a cartridge under this word, in the place of the one before; or none.
///
/// # Errors
/// A failure of the file.
pub(crate) fn set_number(
    tx: &mut Tx<'_>,
    word: &str,
    id: CartridgeId,
    number: Option<u64>,
) -> Result<(), MetaError> {
    let key = number_key(word, id);
    tx.delete(&DEVICE_STATE, &key)?;
    let Some(number) = number else { return Ok(()) };
    let [device, key] = key;
    tx.insert(&DEVICE_STATE, &[device, key, Value::Blob(number.to_le_bytes().to_vec())])
}

/// `docs/formats/inventory.md`: 1 hold, 8 retained until, 8 release, 8 count.
fn note_of(Protection { hold, retention }: Protection) -> Vec<u8> {
    let numbers = retention.map_or([0; 3], |r| [r.until_s, r.release_at_s, r.noted_at_s]);
    std::iter::once(u8::from(hold)).chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
}

/// Looks for a damaged row that may be the note of what this cartridge is kept by: where its word or its key is damaged, that cannot be told.
fn look_for_lost_note(tx: &Tx<'_>, id: CartridgeId) -> Result<(), MetaError> {
    let damaged = tx.find_damaged(&DEVICE_STATE, "TRUE", &[])?;
    let lost = damaged.iter().find(|row| may_be_note_of(tx, id, row));
    lost.map_or(Ok(()), |row| Err(row.damaged()))
}

/// Damage changes bytes and not their number: serial numbers and other words of another length are what they were, and an id does not become that of
/// another cartridge that is listed.
fn may_be_note_of(tx: &Tx<'_>, id: CartridgeId, row: &Row) -> bool {
    let is_listed = |other| vtl_library::cartridge_by_id(tx, other).is_ok_and(|found| found.is_some());
    let is_of_another = |key: String| key.parse().is_ok_and(|other| other != id && is_listed(other));
    match row.get::<String>("device") {
        Ok(device) if device == KEPT => !row.get("key").is_ok_and(is_of_another),
        Ok(device) => device.len() == KEPT.len() && !OTHER_WORDS.contains(&device.as_str()),
        Err(_) => true,
    }
}

/// A note that is none of ours keeps the cartridge: whoever wrote it meant something.
fn protection_of(note: &[u8]) -> Protection {
    let (numbers, rest) = note.get(1..).unwrap_or_default().as_chunks::<8>();
    match (note.first(), numbers.iter().copied().map(u64::from_le_bytes).collect::<Vec<_>>().as_slice()) {
        (Some(hold), &[until_s, release_at_s, noted_at_s]) if rest.is_empty() => {
            let retention = Retention { until_s, release_at_s, noted_at_s };
            Protection { hold: *hold != 0, retention: (until_s != 0).then_some(retention) }
        }
        _ => Protection { hold: !note.is_empty(), retention: None },
    }
}

/// What one device keeps: reservations that outlive a power loss, saved mode pages.
pub struct DeviceState {
    meta: SharedMeta,
    device: String,
}

impl DeviceState {
    fn key(&self, key: &str) -> [Value; 2] {
        [Value::Text(self.device.clone()), Value::Text(key.to_owned())]
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, MetaError> {
        self.meta.with(|meta| {
            meta.read(|tx| match tx.get(&DEVICE_STATE, &self.key(key))? {
                Some(row) => row.get::<Vec<u8>>("value").map(Some),
                None => Ok(None),
            })
        })
    }

    /// Saves a value; an empty one removes it.
    fn write(&self, key: &str, value: &[u8]) -> Result<(), MetaError> {
        let names = self.key(key);
        self.meta.with(|meta| {
            meta.transaction(|tx| {
                tx.delete(&DEVICE_STATE, &names)?;
                if !value.is_empty() {
                    let [device, key] = names;
                    tx.insert(&DEVICE_STATE, &[device, key, Value::Blob(value.to_vec())])?;
                }
                Ok(())
            })
        })
    }
}

impl Persist for DeviceState {
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        self.read(key).unwrap_or_else(|error| {
            tracing::error!(device = self.device, key, %error, "a device's saved state cannot be read; it starts without");
            None
        })
    }

    fn save(&mut self, key: &str, value: &[u8]) -> Result<(), PersistFault> {
        self.write(key, value).map_err(|error| {
            tracing::error!(device = self.device, key, %error, "a device's state could not be saved");
            PersistFault
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_saves_is_there_after_a_restart_and_no_other_device_sees_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inventory.db");
        let meta = SharedMeta::open(&path).unwrap();
        meta.device("A").save("reservations", b"one").unwrap();
        meta.device("A").save("reservations", b"two").unwrap();
        drop(meta);
        let meta = SharedMeta::open(&path).unwrap();
        assert_eq!(meta.device("A").load("reservations"), Some(b"two".to_vec()));
        assert_eq!(meta.device("B").load("reservations"), None);
        meta.device("A").save("reservations", b"").unwrap();
        assert_eq!(meta.device("A").load("reservations"), None);
    }
}
