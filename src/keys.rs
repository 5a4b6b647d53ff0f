//! RSA keys by name: exports are wrapped for the public part, imports need the private one. `docs/keys.md` is the design.
//!
//! Each key is one sealed file, `keys/NAME.key` in the state folder, replaced as a whole: a crash leaves the old file, the new one or none. What a
//! private key says is in memory only while it is used, in buffers that are wiped, and in no answer, log or error.

mod requests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vtl_codec::{KeyError, PrivateKey, PublicKey};
use vtl_durable::sealed::{self, Kind, ReplaceError, SealedError};
use vtl_durable::{Disk, DiskError};
use zeroize::Zeroizing;

use crate::given_name::{BadName, GivenName};
pub(crate) use requests::refused;

/// `docs/keys.md`.
const FILE: Kind = Kind { magic: *b"VTLRSAK\0", version: 0 };
const SUFFIX: &str = ".key";
/// No RSA key of at most 8192 bits is longer as PEM.
const MAX_PEM: u64 = 64 << 10;
/// Rights that nobody else may have on the file of a private key.
const OTHERS: u32 = 0o077;

/// The keys of this installation.
#[derive(Debug)]
pub struct Keys {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

/// Why a key is not taken, used or removed.
#[derive(Debug)]
pub enum KeyRefused {
    /// The text names none.
    Name(BadName),
    /// There is none of this name.
    Unknown(GivenName),
    /// Another key has this name.
    Exists(GivenName),
    /// Only its public part is here.
    PublicOnly(GivenName),
    /// A file that is to be imported.
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// What is kept under a name is no key any more.
    Damaged {
        /// The key.
        name: GivenName,
        /// What is wrong.
        why: String,
    },
    /// The disk of the state folder.
    Disk(DiskError),
}

impl fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(bad) => bad.fmt(f),
            Self::Unknown(name) => write!(f, "there is no key '{name}'"),
            Self::Exists(name) => write!(f, "another key has the name '{name}'"),
            Self::PublicOnly(name) => {
                write!(f, "of key '{name}' only the public part is here: it can wrap, and cannot open")
            }
            Self::File { path, why } => write!(f, "{}: {why}", path.display()),
            Self::Damaged { name, why } => write!(f, "the file of key '{name}' is damaged: {why}"),
            Self::Disk(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyRefused {}

impl From<DiskError> for KeyRefused {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// A key of the list, or why it cannot be used.
pub type Listed = (GivenName, Result<AnyKey, KeyRefused>);

/// A key, whole or its public part.
pub enum AnyKey {
    /// Both parts.
    Private(Box<PrivateKey>),
    /// One part.
    Public(Box<PublicKey>),
}

impl AnyKey {
    fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        match PrivateKey::from_pem(text) {
            Ok(key) => Ok(Self::Private(Box::new(key))),
            // A file of another kind: perhaps a public key. Its refusal is the one to tell, unless it is of another kind, too.
            Err(KeyError::Other { found, wanted }) if !found.contains("PUBLIC KEY") => {
                Err(KeyError::Other { found, wanted })
            }
            Err(KeyError::Other { .. }) => PublicKey::from_pem(text).map(Box::new).map(Self::Public),
            Err(error) => Err(error),
        }
    }

    /// The part that wraps.
    pub fn public(&self) -> &PublicKey {
        match self {
            Self::Private(key) => key.public(),
            Self::Public(key) => key,
        }
    }

    /// Whether it can open what was wrapped.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }
}

impl fmt::Debug for AnyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Keys {
    /// Those in the folder `keys` of the state folder, which is made if it is not there. What a crash has left half written is removed.
    ///
    /// # Errors
    /// The disk.
    pub fn open(disk: Arc<dyn Disk>, state: &Path) -> Result<Self, DiskError> {
        let folder = state.join("keys");
        disk.create_folder(&folder)?;
        disk.sync_folder(state)?;
        for found in disk.list(&folder)?.into_iter().filter(|found| sealed::is_leftover(&found.name)) {
            disk.unlink(&folder.join(found.name))?;
        }
        Ok(Self { disk, folder })
    }

    /// The public part of a key.
    ///
    /// # Errors
    /// There is no such key; its file is damaged.
    pub fn public(&self, name: &str) -> Result<PublicKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name)? {
            AnyKey::Public(key) => Ok(*key),
            AnyKey::Private(key) => PublicKey::from_der(key.public().der()).map_err(|e| damaged(&name, &e)),
        }
    }

    /// A key with its private part.
    ///
    /// # Errors
    /// There is no such key, or only its public part; its file is damaged.
    pub fn private(&self, name: &str) -> Result<PrivateKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name)? {
            AnyKey::Private(key) => Ok(*key),
            AnyKey::Public(_) => Err(KeyRefused::PublicOnly(name)),
        }
    }

    /// Every key by name; one whose file is damaged with the reason.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<Vec<Listed>, KeyRefused> {
        let files = self.disk.list(&self.folder)?.into_iter().filter(|found| !found.is_folder);
        let names = files.filter_map(|found| found.name.strip_suffix(SUFFIX)?.parse::<GivenName>().ok());
        Ok(names.map(|name| (name.clone(), self.read(&name))).collect())
    }

    /// Keeps the key in a file under a name. The private part of a key whose public part has this name already joins it.
    ///
    /// # Errors
    /// The file is no key, or others may read a private one; another key has the name; the disk.
    pub fn import(&self, file: &Path, name: &str) -> Result<AnyKey, KeyRefused> {
        let name = given(name)?;
        let (pem, mode) = read_file(file)?;
        let refused = |why: String| KeyRefused::File { path: file.to_owned(), why };
        let key = AnyKey::from_pem(&pem).map_err(|error| refused(error.to_string()))?;
        if key.is_private() && mode & OTHERS != 0 {
            return Err(refused(format!(
                "others have rights on this private key (mode {mode:04o}): chmod 600 it, and ask yourself who has read it"
            )));
        }
        match self.read(&name) {
            Err(KeyRefused::Unknown(_)) => {}
            Ok(there) if may_replace(&there, &key) => {}
            Ok(_) => return Err(KeyRefused::Exists(name)),
            Err(error) => return Err(error),
        }
        sealed::replace(self.disk.as_ref(), &self.folder, &file_name(&name), FILE, &pem)
            .map_err(ReplaceError::into_inner)?;
        Ok(key)
    }

    /// Forgets a key; durable when it returns.
    ///
    /// # Errors
    /// There is none; the disk.
    pub fn remove(&self, name: &GivenName) -> Result<(), KeyRefused> {
        match self.disk.unlink(&self.path(name)) {
            Err(error) if error.is_not_found() => Err(KeyRefused::Unknown(name.clone())),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(self.disk.sync_folder(&self.folder)?),
        }
    }

    fn path(&self, name: &GivenName) -> PathBuf {
        self.folder.join(file_name(name))
    }

    fn read(&self, name: &GivenName) -> Result<AnyKey, KeyRefused> {
        let pem = match sealed::read(self.disk.as_ref(), &self.path(name), FILE) {
            Ok(pem) => Zeroizing::new(pem),
            Err(SealedError::Disk(error)) if error.is_not_found() => {
                return Err(KeyRefused::Unknown(name.clone()));
            }
            Err(SealedError::Disk(error)) => return Err(error.into()),
            Err(error) => return Err(damaged(name, &error)),
        };
        AnyKey::from_pem(&pem).map_err(|error| damaged(name, &error))
    }
}

/// The same key again, or its private part beside its public one.
fn may_replace(there: &AnyKey, new: &AnyKey) -> bool {
    let same = there.public().fingerprint() == new.public().fingerprint();
    same && (new.is_private() || !there.is_private())
}

fn given(name: &str) -> Result<GivenName, KeyRefused> {
    name.parse().map_err(KeyRefused::Name)
}

fn damaged(name: &GivenName, why: &dyn fmt::Display) -> KeyRefused {
    KeyRefused::Damaged { name: name.clone(), why: why.to_string() }
}

fn file_name(name: &GivenName) -> String {
    format!("{name}{SUFFIX}")
}

/// A key's file, and who may use it.
fn read_file(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), KeyRefused> {
    let refused = |why: String| KeyRefused::File { path: path.to_owned(), why };
    let unreadable = |error: std::io::Error| refused(error.to_string());
    if !path.is_absolute() {
        return Err(refused(
            "write an absolute path, since the server has its own working folder".to_owned(),
        ));
    }
    // Opening a pipe would wait for its writer, so ask first; what is then opened is asked again.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refused("it is not a file".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    // The room is there from the beginning: no copy stays behind when it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PEM as usize * 2));
    file.take(MAX_PEM + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok((bytes, mode))
}
