//! The keyring: a pool's domain key, wrapped with what the operator has.
//!
//! Two files, `keyring` and `keyring.copy`, because whoever loses this loses everything. Each is replaced atomically, one after the other:
//!
//! | moment | found by the next start |
//! |---|---|
//! | before the first is replaced | the old key opens both |
//! | between the two | the old key opens the copy, the new one the keyring; whichever is given, its file is written over the other |
//! | after the second | the new key opens both |
//!
//! Whether a key is right is told by the tag of the wrapped key, before anything else of the pool is read.
//! Byte table: `docs/formats/encryption.md`.

use std::fmt;
use std::path::{Path, PathBuf};

use vtl_codec::{Cost, KEY_BYTES, Sealer, from_passphrase};
use vtl_durable::sealed::{self, Kind, SealedError};
use vtl_durable::wire::{Malformed, Reader, Writer};
use vtl_durable::{Disk, DiskError};
use vtl_types::Secret;

use crate::cipher::{Key, NotOpened, OVERHEAD, Randomness, no_random, not_sealed};
use crate::error::StoreError;
use crate::sync::Mutex;
use crate::workers::lock;

pub(crate) const NAME: &str = "keyring";
const COPY: &str = "keyring.copy";
pub(crate) const KIND: Kind = Kind { magic: *b"VTLKEYS\0", version: 0 };
/// What the wrapped key is sealed along with, before the fields in front of it.
const ABOUT: &[u8] = b"vtl keyring v0";
const KEY_FILE_CONTEXT: &str = "vtl store key file v0";
const FIELDS: usize = 72;
const WRAPPED: usize = KEY_BYTES + OVERHEAD;
/// A key file is as good as a key: it has at least as many bytes.
pub const MIN_KEY_FILE_BYTES: usize = 32;
/// A shorter passphrase is guessed, whatever its derivation costs.
pub const MIN_PASSPHRASE_BYTES: usize = 12;

/// What opens a pool.
#[derive(Clone, Debug)]
pub enum PoolKey {
    /// The bytes of a key file, random, at least 32.
    File(Secret),
    /// A passphrase, at least 12 bytes.
    Passphrase(Secret),
}

impl PoolKey {
    /// The bytes of a key file.
    pub fn from_file(bytes: Vec<u8>) -> Self {
        Self::File(Secret::new(bytes))
    }

    fn method(&self) -> Method {
        match self {
            Self::File(_) => Method::File,
            Self::Passphrase(_) => Method::Passphrase,
        }
    }

    fn check(&self) -> Result<(), String> {
        let (len, least, what) = match self {
            Self::File(secret) => (secret.len(), MIN_KEY_FILE_BYTES, "a key file"),
            Self::Passphrase(secret) => (secret.len(), MIN_PASSPHRASE_BYTES, "a passphrase"),
        };
        match len >= least {
            true => Ok(()),
            false => {
                Err(format!("{what} has at least {least} bytes, this one has {len} (make a longer one)"))
            }
        }
    }
}

/// What making a key from a passphrase costs (Argon2id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for PassphraseCost {
    /// 64 MiB and three passes (RFC 9106, 4): a fifth of a second at each start.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3 }
    }
}

/// That a pool is encrypted, and what opens it.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The key.
    pub key: PoolKey,
    /// Asked when a keyring is made with a passphrase.
    pub cost: PassphraseCost,
    /// Where keys, salts and nonces come from.
    pub random: Randomness,
}

impl Encryption {
    /// With this key; the rest as usual.
    pub fn with(key: PoolKey) -> Self {
        Self { key, cost: PassphraseCost::default(), random: Randomness::system() }
    }
}

/// What may be told of a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// 1, and one more with each rotation.
    pub revision: u64,
    /// What opens it.
    pub method: Method,
    /// What a passphrase costs; zeros with a key file.
    pub cost: PassphraseCost,
    /// Whether it has been exported since its last change.
    pub exported: bool,
}

/// What sort of key opens a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A key file.
    File,
    /// A passphrase.
    Passphrase,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "key file",
            Self::Passphrase => "passphrase",
        })
    }
}

/// Where a lost keyring of a pool is found again.
const EXPORT: &str = "an export of `vtl store key export`";

/// The keyring of an open pool, or of other secrets that have a domain key of their own.
pub struct Keyring {
    root: PathBuf,
    random: Randomness,
    domain: Key,
    now: Mutex<Wrapped>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Its files.
    pub const FILES: [&'static str; 2] = [NAME, COPY];

    /// For a pool that is being made. What an unfinished start left is replaced: nothing is sealed before the pool file is there.
    ///
    /// # Errors
    /// A key that is too short, no random bytes, or the disk.
    pub fn make(
        disk: &dyn Disk,
        root: &Path,
        store_id: [u8; 16],
        encryption: &Encryption,
    ) -> Result<(), StoreError> {
        let domain = Key::random(&encryption.random).map_err(no_random)?;
        Wrapped::make(root, store_id, 1, encryption, &domain)?.write(disk, root)
    }

    /// Opens the keyring of a pool.
    pub(crate) fn open(
        disk: &dyn Disk,
        root: &Path,
        store_id: [u8; 16],
        encryption: &Encryption,
    ) -> Result<Self, StoreError> {
        Self::open_from(disk, root, store_id, encryption, EXPORT)
    }

    /// The same, for one that is found again elsewhere when it is lost.
    ///
    /// # Errors
    /// The key is wrong, or both files are lost.
    pub fn open_from(
        disk: &dyn Disk,
        root: &Path,
        store_id: [u8; 16],
        encryption: &Encryption,
        from_where: &str,
    ) -> Result<Self, StoreError> {
        encryption.key.check().map_err(|why| refused(root, why))?;
        let found = [NAME, COPY].map(|name| read(disk, &root.join(name), store_id));
        let mut good: Vec<&Wrapped> = found.iter().flatten().collect();
        if good.is_empty() {
            return Err(lost(root, &found, from_where));
        }
        good.dedup();
        let fits = good.iter().filter(|wrapped| wrapped.method == encryption.key.method());
        let opened = fits.filter_map(|wrapped| Some((wrapped.open(encryption)?, (*wrapped).clone()))).next();
        let Some((domain, now)) = opened else {
            return Err(wrong_key(root, &found, &good, encryption));
        };
        // A rotation was cut off, or one of the two is lost or damaged.
        if found.iter().any(|file| file.as_ref().ok() != Some(&now)) {
            tracing::warn!(root = %root.display(), "the two copies of the keyring are not the same; both are written again");
            now.write(disk, root)?;
        }
        Ok(Self { root: root.to_path_buf(), random: encryption.random.clone(), domain, now: Mutex::new(now) })
    }

    /// What everything else is derived from.
    pub fn domain(&self) -> Key {
        self.domain.clone()
    }

    pub(crate) fn status(&self) -> KeyStatus {
        lock(&self.now).status()
    }

    /// From here on another key opens the pool. After an error either may.
    pub(crate) fn rotate(
        &self,
        disk: &dyn Disk,
        key: PoolKey,
        cost: PassphraseCost,
    ) -> Result<(), StoreError> {
        let mut now = lock(&self.now);
        let encryption = Encryption { key, cost, random: self.random.clone() };
        let next = Wrapped::make(&self.root, now.store_id, now.revision + 1, &encryption, &self.domain)?;
        next.write(disk, &self.root)?;
        *now = next;
        Ok(())
    }

    /// The bytes of a file that opens the pool elsewhere, with the key, and their revision.
    pub(crate) fn export(&self) -> (u64, Vec<u8>) {
        let now = lock(&self.now);
        (now.revision, sealed::encode(KIND, &Wrapped { exported: true, ..now.clone() }.encode()))
    }

    /// The export of this revision is kept somewhere.
    pub(crate) fn exported(&self, disk: &dyn Disk, revision: u64) -> Result<(), StoreError> {
        let mut now = lock(&self.now);
        if now.revision != revision {
            let why =
                format!("revision {revision} was exported, it has {} by now (export it again)", now.revision);
            return Err(refused(&self.root, why));
        }
        let next = Wrapped { exported: true, ..now.clone() };
        next.write(disk, &self.root)?;
        *now = next;
        Ok(())
    }
}

/// A keyring's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrapped {
    store_id: [u8; 16],
    revision: u64,
    method: Method,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 32],
    domain: [u8; WRAPPED],
    exported: bool,
}

impl Wrapped {
    fn make(
        root: &Path,
        store_id: [u8; 16],
        revision: u64,
        encryption: &Encryption,
        domain: &Key,
    ) -> Result<Self, StoreError> {
        encryption.key.check().map_err(|why| refused(root, why))?;
        let method = encryption.key.method();
        let (memory_kib, passes, lanes) = match method {
            Method::File => (0, 0, 0),
            Method::Passphrase => (encryption.cost.memory_kib, encryption.cost.passes, 1),
        };
        let (mut salt, domain_wrapped) = ([0; 32], [0; WRAPPED]);
        encryption.random.fill(&mut salt).map_err(no_random)?;
        let mut wrapped = Self {
            store_id,
            revision,
            method,
            memory_kib,
            passes,
            lanes,
            salt,
            domain: domain_wrapped,
            exported: false,
        };
        let sealer = wrapped.sealer(&encryption.key, &encryption.random).map_err(|why| refused(root, why))?;
        let mut text = zeroize::Zeroizing::new(domain.expose().to_vec());
        // Room for what is added, so that no copy is left behind.
        text.reserve_exact(OVERHEAD);
        sealer.seal(&wrapped.fields(), &mut text).map_err(not_sealed)?;
        wrapped.domain =
            text.as_slice().try_into().map_err(|_| refused(root, "it has another length".to_owned()))?;
        Ok(wrapped)
    }

    /// The domain key, if this is the key.
    fn open(&self, encryption: &Encryption) -> Option<Key> {
        let sealer = self.sealer(&encryption.key, &encryption.random).ok()?;
        let mut text = zeroize::Zeroizing::new(self.domain.to_vec());
        match sealer.open(&self.fields(), &mut text) {
            Ok(()) => Some(Key::new(*text.first_chunk()?)),
            Err(NotOpened) => None,
        }
    }

    /// With the key-encryption key.
    fn sealer(&self, key: &PoolKey, random: &Randomness) -> Result<Sealer, String> {
        let key = match key {
            PoolKey::File(secret) => Key::derive(KEY_FILE_CONTEXT, &[&self.salt, secret.expose()]),
            PoolKey::Passphrase(secret) => from_passphrase(secret, &self.salt, self.cost())?,
        };
        Ok(Sealer::new(&key, ABOUT.to_vec(), random.clone()))
    }

    fn cost(&self) -> Cost {
        Cost { memory_kib: self.memory_kib, passes: self.passes, lanes: self.lanes }
    }

    /// What is sealed along with the domain key.
    fn fields(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(FIELDS);
        let method = match self.method {
            Method::File => 0,
            Method::Passphrase => 1,
        };
        writer.raw(&self.store_id).u64(self.revision).u32(method);
        writer.u32(self.memory_kib).u32(self.passes).u32(self.lanes).raw(&self.salt);
        writer.into_bytes()
    }

    fn status(&self) -> KeyStatus {
        let cost = PassphraseCost { memory_kib: self.memory_kib, passes: self.passes };
        KeyStatus { revision: self.revision, method: self.method, cost, exported: self.exported }
    }

    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(FIELDS + WRAPPED + 4);
        writer.raw(&self.fields()).raw(&self.domain).u32(u32::from(self.exported));
        writer.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (store_id, revision) = (reader.array("store id")?, reader.u64("revision")?);
        let method = match reader.u32("method")? {
            0 => Method::File,
            1 => Method::Passphrase,
            _ => return Err(reader.malformed("method")),
        };
        let (memory_kib, passes) = (reader.u32("memory")?, reader.u32("passes")?);
        let lanes = reader.u32("lanes")?;
        if !(Cost { memory_kib, passes, lanes }).is_bearable() {
            return Err(reader.malformed("cost of a passphrase"));
        }
        let (salt, domain) = (reader.array("salt")?, reader.array("wrapped key")?);
        let exported = reader.u32("exported")? != 0;
        reader.end("keyring")?;
        Ok(Self { store_id, revision, method, memory_kib, passes, lanes, salt, domain, exported })
    }

    /// Both files, one after the other.
    fn write(&self, disk: &dyn Disk, root: &Path) -> Result<(), StoreError> {
        let payload = self.encode();
        for name in [NAME, COPY] {
            sealed::replace(disk, root, name, KIND, &payload)?;
        }
        Ok(())
    }
}

/// What the payload of a keyring tells without a key.
pub(crate) fn told(payload: &[u8]) -> Result<KeyStatus, Malformed> {
    Wrapped::decode(payload).map(|wrapped| wrapped.status())
}

/// Why one of the two files is of no use.
enum Unusable {
    Missing,
    Disk(DiskError),
    Wrong(String),
}

fn read(disk: &dyn Disk, path: &Path, store_id: [u8; 16]) -> Result<Wrapped, Unusable> {
    let payload = match sealed::read(disk, path, KIND) {
        Ok(payload) => payload,
        Err(SealedError::Disk(error)) if error.is_not_found() => return Err(Unusable::Missing),
        Err(SealedError::Disk(error)) => return Err(Unusable::Disk(error)),
        Err(error) => return Err(Unusable::Wrong(error.to_string())),
    };
    match Wrapped::decode(&payload) {
        Ok(wrapped) if wrapped.store_id == store_id => Ok(wrapped),
        Ok(_) => Err(Unusable::Wrong(format!("{} belongs to another pool", path.display()))),
        Err(error) => Err(Unusable::Wrong(format!("{}: {error}", path.display()))),
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Disk(error) => error.fmt(f),
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

fn refused(root: &Path, why: String) -> StoreError {
    StoreError::Key { pool: root.to_path_buf(), why }
}

/// What is wrong with those of the two that are of no use.
fn reasons(found: &[Result<Wrapped, Unusable>; 2]) -> String {
    let told = found.iter().zip([NAME, COPY]);
    let told = told.filter_map(|(file, name)| Some(format!("{name}: {}", file.as_ref().err()?)));
    told.collect::<Vec<_>>().join("; ")
}

fn lost(root: &Path, found: &[Result<Wrapped, Unusable>; 2], from_where: &str) -> StoreError {
    let reasons = reasons(found);
    let why = format!(
        "its keyring is lost, and without it nothing in it can be read: {} (put {from_where} at {}, then start with the \
         key that it was made with)",
        reasons,
        root.join(NAME).display()
    );
    refused(root, why)
}

fn wrong_key(
    root: &Path,
    found: &[Result<Wrapped, Unusable>; 2],
    good: &[&Wrapped],
    encryption: &Encryption,
) -> StoreError {
    let given = encryption.key.method();
    let why = match good.iter().find(|wrapped| wrapped.method == given) {
        Some(_) => format!(
            "this {given} does not open it (give the one that it was made with, or that it was rotated to last)"
        ),
        None => {
            let needed = good.first().map_or(given, |wrapped| wrapped.method);
            format!("it opens with a {needed}, and a {given} was given (configure the {needed})")
        }
    };
    // Perhaps it is the one that cannot be read that this key opens.
    let unread = reasons(found);
    refused(root, if unread.is_empty() { why } else { format!("{why}; {unread}") })
}

/// What the caller brought and what the pool is do not go together.
pub(crate) fn mismatch(root: &Path, pool_is_encrypted: bool) -> StoreError {
    let why = match pool_is_encrypted {
        true => {
            "it is encrypted, and no key was given (configure the key file or passphrase that it was made with)"
        }
        false => {
            "it is not encrypted, and a key was given: encryption is chosen when a pool is made (take the key out of the configuration, or begin \
             with an empty folder)"
        }
    };
    refused(root, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtl_durable::SimDisk;

    const STORE: [u8; 16] = [0x55; 16];
    const ROOT: &str = "/pool";

    /// Sealed by another program (Python, `cryptography` 48): domain key 80h to 9Fh, nonce A0h to ABh, passphrase as below, salt 40h to 5Fh.
    const WRAPPED_KEY: [u8; 60] = [
        0x1b, 0xde, 0x4c, 0xcc, 0x5a, 0x2b, 0x7a, 0x8c, 0x7f, 0x42, 0x0c, 0x00, 0xa4, 0x02, 0x0e,
        0x44, //
        0x7b, 0x3c, 0x75, 0x5d, 0x94, 0x54, 0x23, 0x32, 0x9c, 0x4b, 0xb2, 0x2c, 0x29, 0x7e, 0x4a,
        0x7b, //
        0xed, 0x31, 0xaa, 0xc1, 0x87, 0xd9, 0x4d, 0xf8, 0xbf, 0x72, 0x67, 0x3c, 0x1f, 0xf8, 0x82,
        0x37, //
        0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab,
    ];

    fn passphrase(text: &str) -> Encryption {
        let cost = PassphraseCost { memory_kib: 64, passes: 3 };
        Encryption { cost, ..Encryption::with(PoolKey::Passphrase(Secret::new(text.as_bytes().to_vec()))) }
    }

    fn key_file(byte: u8) -> Encryption {
        Encryption::with(PoolKey::File(Secret::new(vec![byte; 32])))
    }

    /// Typed out from docs/formats/encryption.md.
    fn typed() -> Vec<u8> {
        let mut bytes = [0x55; 16].to_vec();
        bytes.extend_from_slice(b"\x07\0\0\0\0\0\0\0\x01\0\0\0\x40\0\0\0\x03\0\0\0\x01\0\0\0");
        bytes.extend(0x40..0x60);
        bytes.extend_from_slice(&WRAPPED_KEY);
        bytes.extend_from_slice(b"\x01\0\0\0");
        bytes
    }

    #[test]
    fn a_keyring_keeps_its_bytes_and_opens_with_the_passphrase_that_another_program_made_it_with() {
        let wrapped = Wrapped::decode(&typed()).unwrap();
        assert_eq!((wrapped.revision, wrapped.exported, wrapped.encode()), (7, true, typed()));
        let domain = wrapped.open(&passphrase("made-up passphrase")).unwrap();
        assert!(domain.expose().iter().copied().eq(0x80..0xa0));
        assert!(wrapped.open(&passphrase("made-up passphrasf")).is_none());
        // A fact that was changed, such as a lower cost, does not open it either.
        assert!(Wrapped { revision: 8, ..wrapped.clone() }.open(&passphrase("made-up passphrase")).is_none());
        assert!((0..typed().len()).all(|len| Wrapped::decode(&typed()[..len]).is_err()));
        let mut greedy = typed();
        greedy[28..32].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Wrapped::decode(&greedy).is_err(), "4 TiB of memory");
    }

    fn disk_with(encryption: &Encryption) -> SimDisk {
        let disk = SimDisk::new(1);
        disk.create_folder(Path::new(ROOT)).unwrap();
        disk.sync_folder(Path::new("/")).unwrap();
        Keyring::make(&disk, Path::new(ROOT), STORE, encryption).unwrap();
        disk
    }

    fn open(disk: &SimDisk, encryption: &Encryption) -> Result<Keyring, StoreError> {
        Keyring::open(disk, Path::new(ROOT), STORE, encryption)
    }

    fn same(one: &Keyring, other: &Keyring) -> bool {
        one.domain.expose() == other.domain.expose()
    }

    #[test]
    fn a_power_cut_at_any_step_of_a_rotation_leaves_the_old_key_or_the_new_one() {
        let (old, new) = (key_file(1), passphrase("the new one, made up"));
        let (mut with_old, mut with_new) = (0, 0);
        for seed in 0..12 {
            for step in 0.. {
                let disk = disk_with(&old);
                let keyring = open(&disk, &old).unwrap();
                disk.crash_at(disk.steps() + step);
                let rotated = keyring.rotate(&disk, new.key.clone(), new.cost);
                let after = disk.after_crash(seed * 1000 + step);
                let opened = [&old, &new].map(|key| open(&after, key));
                with_old += u32::from(opened[0].is_ok());
                let opens = opened.iter().flatten().next().expect("one of them opens it");
                assert!(same(opens, &keyring), "seed {seed} step {step}");
                if rotated.is_ok() {
                    with_new += u32::from(opened[1].is_ok());
                    assert!(opened[0].is_err() && opened[1].is_ok(), "seed {seed}");
                    break;
                }
            }
        }
        assert!(with_old > 12 && with_new == 12, "{with_old} {with_new}");
    }

    #[test]
    fn a_rotation_that_fails_at_any_call_leaves_the_old_key_or_the_new_one() {
        let (old, new) = (key_file(1), key_file(2));
        for call in 0.. {
            let disk = disk_with(&old);
            let keyring = open(&disk, &old).unwrap();
            disk.fail_call(disk.calls() + call, vtl_durable::Fault::Eio);
            let rotated = keyring.rotate(&disk, new.key.clone(), new.cost);
            let now = keyring.status().revision;
            let after = disk.after_crash(call);
            let opened = [&old, &new].iter().filter(|key| open(&after, key).is_ok()).count();
            assert!(opened > 0, "call {call}");
            if rotated.is_ok() && !disk.has_failed() {
                assert_eq!(now, 2);
                assert!(call > 8, "two files are replaced");
                break;
            }
        }
    }

    #[test]
    fn whichever_key_opens_a_keyring_whose_rotation_was_cut_off_is_the_only_one_afterwards() {
        let (old, new) = (key_file(1), key_file(2));
        for (first, other) in [(&old, &new), (&new, &old)] {
            let disk = disk_with(&old);
            let keyring = open(&disk, &old).unwrap();
            let before = disk.contents(&Path::new(ROOT).join(COPY)).unwrap();
            keyring.rotate(&disk, new.key.clone(), new.cost).unwrap();
            let file = disk.open(&Path::new(ROOT).join(COPY), vtl_durable::Open::Write).unwrap();
            file.write_at(0, &[std::io::IoSlice::new(&before)]).unwrap();
            open(&disk, first).unwrap();
            assert!(open(&disk, other).is_err());
            open(&disk, first).unwrap();
        }
    }

    #[test]
    fn one_of_the_two_files_is_enough_whatever_bit_is_turned_in_the_other_and_is_made_whole_again() {
        let key = key_file(1);
        let disk = disk_with(&key);
        for name in [NAME, COPY] {
            let path = Path::new(ROOT).join(name);
            let whole = disk.contents(&path).unwrap();
            for byte in 0..whole.len() as u64 {
                disk.flip_bit(&path, byte, (byte % 8) as u8);
                open(&disk, &key).unwrap_or_else(|error| panic!("{name} {byte}: {error}"));
                assert_eq!(disk.contents(&path).unwrap(), whole, "{name} {byte}");
            }
        }
    }

    #[test]
    fn a_lost_keyring_is_named_with_what_to_do_and_an_export_takes_its_place() {
        let key = key_file(1);
        let disk = disk_with(&key);
        let keyring = open(&disk, &key).unwrap();
        assert!(!keyring.status().exported);
        let (revision, export) = keyring.export();
        assert!(!keyring.status().exported, "who asked may not have kept it");
        keyring.exported(&disk, revision).unwrap();
        assert!(open(&disk, &key).unwrap().status().exported, "it is remembered");
        keyring.rotate(&disk, key_file(2).key, PassphraseCost::default()).unwrap();
        assert!(!keyring.status().exported);
        assert!(keyring.exported(&disk, revision).is_err(), "that was another one");

        disk.unlink(&Path::new(ROOT).join(NAME)).unwrap();
        disk.flip_bit(&Path::new(ROOT).join(COPY), 60, 1);
        let error = open(&disk, &key).map(|_| ()).unwrap_err().to_string();
        for part in [
            "/pool: its keyring is lost",
            "it is missing",
            "keyring.copy is damaged",
            "vtl store key export",
            "/pool/keyring",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let file = disk.open(&Path::new(ROOT).join(NAME), vtl_durable::Open::Create).unwrap();
        file.append(&[std::io::IoSlice::new(&export)]).unwrap();
        assert!(same(&open(&disk, &key).unwrap(), &keyring), "the key that it was exported with");
    }

    #[test]
    fn a_key_that_is_wrong_short_or_of_another_sort_is_refused_and_named() {
        let disk = disk_with(&key_file(1));
        let refusal = |encryption: &Encryption| open(&disk, encryption).map(|_| ()).unwrap_err().to_string();
        let wrong = refusal(&key_file(2));
        assert!(wrong.contains("/pool: this key file does not open it"), "{wrong}");
        let other = refusal(&passphrase("a made-up passphrase"));
        assert!(other.contains("it opens with a key file, and a passphrase was given"), "{other}");
        let short = refusal(&Encryption::with(PoolKey::File(Secret::new(vec![1; 31]))));
        assert!(short.contains("at least 32 bytes, this one has 31"), "{short}");
        let short = refusal(&passphrase("too short"));
        assert!(short.contains("at least 12 bytes"), "{short}");
        let text = format!("{:?}", passphrase("a made-up passphrase"));
        assert!(!text.contains("made-up"), "{text}");
    }
}
