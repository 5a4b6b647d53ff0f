//! Secrets that the server itself keeps, sealed at rest: private keys, the key of checkpoints, the key of the API's own certificate, CHAP
//! secrets of the inventory. `docs/formats/sealing.md` has the bytes, and the order of steps in which sealing is switched on and off.
//!
//! ```text
//! secrets.key_file or a passphrase -> opens secrets/keyring -> data key -> key of AES-256-GCM -> each secret, bound to its kind and name
//! ```
//!
//! The keyring is that of encrypted pools (`vtl_store::Keyring`), with an id of its own.

pub(crate) mod chap;
pub(crate) mod rest;

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_codec::{Key, NotOpened, Randomness, SealError, Sealer};
use vtl_conf::StoreEncryption;
use vtl_durable::sealed::{Kind, is_leftover};
use vtl_durable::{Disk, DiskError, Open};
use vtl_store::{Encryption, Keyring, StoreError};
use zeroize::Zeroizing;

/// A file whose payload is sealed.
pub(crate) const SEALED: Kind = Kind { magic: *b"VTLSEAL\0", version: 0 };
/// In the state folder, with the keyring and nothing else.
const FOLDER: &str = "secrets";
/// No pool has this id: pools draw theirs at random.
const ID: [u8; 16] = *b"vtl state secret";
const CONTEXT: &str = "vtl state secrets key v0";
const ABOUT: &[u8] = b"vtl state secret v0";
const FROM_WHERE: &str = "the file of the same name from a backup of the state folder";

/// What is sealed. It is bound to its number and name, so that no secret opens in the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A file of `keys`, by the key's name.
    Key = 1,
    /// `checkpoint.key`.
    Checkpoint = 2,
    /// `api.pem`.
    Certificate = 3,
    /// What an initiator proves, by the target's name.
    Chap = 4,
    /// What the target proves in return.
    MutualChap = 5,
}

/// Seals and opens, or leaves secrets as they are.
#[derive(Clone, Default)]
pub(crate) struct Sealing(Option<Arc<Sealer>>);

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Sealing(***)" } else { "Sealing(off)" })
    }
}

/// Why sealed bytes give no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSecret {
    /// There is no key to open it with.
    Off,
    /// They are not what was sealed here.
    Wrong,
}

impl fmt::Display for NoSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str(
                "it is sealed, and no key for it is configured (set secrets.key_file or a passphrase)",
            ),
            Self::Wrong => NotOpened.fmt(f),
        }
    }
}

impl Sealing {
    /// As the configuration says and the state folder is: makes the keyring when sealing is switched on.
    ///
    /// # Errors
    /// The key is wrong, missing, or its keyring is lost. Nothing has changed then.
    pub(crate) fn open(configured: &StoreEncryption, disk: &dyn Disk, state: &Path) -> Result<Self, String> {
        let fail = |error: DiskError| error.to_string();
        let folder = state.join(FOLDER);
        let is_made = is_made(disk, &folder).map_err(fail)?;
        let sealed = first_sealed(disk, state).map_err(fail)?;
        let Some(key) = crate::pools::pool_key(configured) else {
            return match is_made || sealed.is_some() {
                true => Err(needs_key(state)),
                false => Ok(Self::default()),
            };
        };
        let encryption = Encryption::with(key);
        match (is_made, sealed) {
            (true, _) => {}
            (false, Some(file)) => return Err(lost(&folder, &file)),
            (false, None) => {
                let inventory = crate::state::next_inventory(state);
                if chap::is_sealed_in(&inventory)? {
                    return Err(lost_with_chap(&folder, &inventory));
                }
                disk.create_folder(&folder).and_then(|()| disk.sync_folder(state)).map_err(fail)?;
                Keyring::make(disk, &folder, ID, &encryption).map_err(|error| refused(state, error))?;
            }
        }
        let keyring = Keyring::open_from(disk, &folder, ID, &encryption, FROM_WHERE);
        let data_key = keyring.map_err(|error| refused(state, error))?.domain();
        Ok(Self::with(&data_key, Randomness::system()))
    }

    fn with(data_key: &Key, random: Randomness) -> Self {
        let key = Key::derive(CONTEXT, &[data_key.expose()]);
        Self(Some(Arc::new(Sealer::new(&key, ABOUT.to_vec(), random))))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The bytes to keep: sealed, or none when sealing is off.
    ///
    /// # Errors
    /// There are no random bytes.
    pub(crate) fn seal(&self, what: What, name: &str, secret: &[u8]) -> Result<Option<Vec<u8>>, SealError> {
        let Some(sealer) = &self.0 else { return Ok(None) };
        // Room for tag and nonce, so that no copy of the secret stays behind when it grows.
        let mut text = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(vtl_codec::OVERHEAD)));
        text.extend_from_slice(secret);
        sealer.seal(&place(what, name), &mut text)?;
        Ok(Some(std::mem::take(&mut *text)))
    }

    /// The secret of sealed bytes.
    ///
    /// # Errors
    /// See [`NoSecret`].
    pub(crate) fn open_bytes(
        &self,
        what: What,
        name: &str,
        sealed: Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, NoSecret> {
        let sealer = self.0.as_ref().ok_or(NoSecret::Off)?;
        let mut text = Zeroizing::new(sealed);
        sealer.open(&place(what, name), &mut text).map_err(|NotOpened| NoSecret::Wrong)?;
        Ok(text)
    }
}

fn place(what: What, name: &str) -> Vec<u8> {
    [&[what as u8], name.as_bytes()].concat()
}

/// Whether a file begins as a sealed one does.
///
/// # Errors
/// It cannot be read, or is not there.
pub(crate) fn is_sealed(disk: &dyn Disk, path: &Path) -> Result<bool, DiskError> {
    let mut first = Vec::new();
    disk.open(path, Open::Read)?.read_at(0, SEALED.magic.len(), &mut first)?;
    Ok(first == SEALED.magic)
}

/// The same without a [`Disk`], for files that are read whole.
pub(crate) fn begins_sealed(path: &Path) -> io::Result<bool> {
    let mut first = Vec::with_capacity(SEALED.magic.len());
    std::fs::File::open(path)?.take(SEALED.magic.len() as u64).read_to_end(&mut first)?;
    Ok(first == SEALED.magic)
}

fn is_made(disk: &dyn Disk, folder: &Path) -> Result<bool, DiskError> {
    match disk.list(folder) {
        Ok(found) => Ok(found.iter().any(|found| Keyring::FILES.contains(&found.name.as_str()))),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A sealed file of the state folder, when there is one.
fn first_sealed(disk: &dyn Disk, state: &Path) -> Result<Option<PathBuf>, DiskError> {
    let keys = state.join(crate::keys::FOLDER);
    let mut files: Vec<PathBuf> = crate::state::SECRETS.iter().map(|(_, name)| state.join(name)).collect();
    match disk.list(&keys) {
        Ok(found) => {
            let whole = found.into_iter().filter(|found| !found.is_folder && !is_leftover(&found.name));
            files.extend(whole.map(|found| keys.join(found.name)));
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    for file in files {
        match is_sealed(disk, &file) {
            Ok(true) => return Ok(Some(file)),
            Ok(false) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn needs_key(state: &Path) -> String {
    format!(
        "the secrets in {} are sealed, and no key is configured: set secrets.key_file, secrets.passphrase_file or secrets.passphrase_env to the key that they \
         were sealed with; to have them lie open again, give that key and run vtld --unseal-secrets",
        state.display()
    )
}

fn lost(folder: &Path, file: &Path) -> String {
    format!(
        "{} is sealed, and the keyring that it was sealed with is lost: put {}/keyring back from a backup of the state folder (without it: remove the sealed \
         files, import the keys again, and set CHAP secrets anew)",
        file.display(),
        folder.display()
    )
}

/// The inventory itself is nothing to remove. A start without a key makes no keyring, and there secrets can be set anew.
fn lost_with_chap(folder: &Path, inventory: &Path) -> String {
    format!(
        "CHAP secrets in {} are sealed, and the keyring that they were sealed with is lost: put {}/keyring back from a backup of the state folder (without \
         it: take secrets.* out of the configuration, start, set the CHAP secrets that vtl system status names anew (vtl iscsi chap set LIBRARY), and start \
         with secrets.* again)",
        inventory.display(),
        folder.display()
    )
}

fn refused(state: &Path, error: StoreError) -> String {
    let why = match error {
        StoreError::Key { why, .. } => why,
        other => other.to_string(),
    };
    format!("the sealed secrets in {}: {why}", state.display())
}

#[cfg(test)]
mod tests;
