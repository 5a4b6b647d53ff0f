//! Keys by name. RSA: exports are wrapped for the public part, imports need the private one. Ed25519: the private part signs manifests, and whose
//! public part is here is a known signer. `docs/keys.md` is the design.
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

use vtl_codec::{KeyError, PrivateKey, PublicKey, Randomness, SigningKey, VerifyingKey};
use vtl_durable::sealed::{self, Kind, ReplaceError, SealedError};
use vtl_durable::{Disk, DiskError};
use zeroize::Zeroizing;

use crate::given_name::{BadName, GivenName};
use crate::sealing::{SEALED, Sealing, What, is_sealed};
pub(crate) use requests::refused;

/// In the state folder.
pub(crate) const FOLDER: &str = "keys";
/// `docs/keys.md`.
const FILE: Kind = Kind { magic: *b"VTLRSAK\0", version: 0 };
const SUFFIX: &str = ".key";
/// No key that is taken is longer as PEM.
const MAX_PEM: u64 = 64 << 10;
/// Rights that nobody else may have on the file of a private key.
const OTHERS: u32 = 0o077;

/// The keys of this installation.
#[derive(Debug)]
pub struct Keys {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    sealing: Sealing,
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
    /// It is of another sort than what is wanted needs.
    Sort {
        /// The key.
        name: GivenName,
        /// What it is.
        found: Sort,
    },
    /// There are no random bytes to make a key of.
    Random(String),
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
                write!(f, "of key '{name}' only the public part is here: it can neither open nor sign")
            }
            Self::Sort { name, found: Sort::Rsa } => {
                write!(f, "key '{name}' is an RSA key: it encrypts, and cannot sign")
            }
            Self::Sort { name, found: Sort::Ed25519 } => {
                write!(f, "key '{name}' is an Ed25519 key: it signs, and cannot encrypt")
            }
            Self::Random(why) => write!(f, "no key could be made: there are no random bytes: {why}"),
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

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Wraps data keys, and opens them.
    Rsa,
    /// Signs manifests, and verifies signatures.
    Ed25519,
}

impl Sort {
    /// As operators write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// A key, whole or its public part.
pub enum AnyKey {
    /// RSA, both parts.
    Private(Box<PrivateKey>),
    /// RSA, one part.
    Public(Box<PublicKey>),
    /// Ed25519, both parts.
    Signing(Box<SigningKey>, VerifyingKey),
    /// Ed25519, one part.
    Verifying(VerifyingKey),
}

impl AnyKey {
    fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = VerifyingKey::from_pem(text) {
            return Ok(Self::Verifying(key));
        }
        if let Ok(key) = SigningKey::from_pem(text)
            && let Some(verifying) = key.verifying()
        {
            return Ok(Self::Signing(Box::new(key), verifying));
        }
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

    /// What it is for.
    pub fn sort(&self) -> Sort {
        match self {
            Self::Private(_) | Self::Public(_) => Sort::Rsa,
            Self::Signing(..) | Self::Verifying(_) => Sort::Ed25519,
        }
    }

    /// Its length.
    pub fn bits(&self) -> usize {
        match self {
            Self::Private(key) => key.public().bits(),
            Self::Public(key) => key.bits(),
            Self::Signing(..) | Self::Verifying(_) => 8 * vtl_codec::VERIFYING_KEY_BYTES,
        }
    }

    /// SHA-256 of the SubjectPublicKeyInfo of its public part.
    pub fn fingerprint(&self) -> [u8; 32] {
        match self {
            Self::Private(key) => key.public().fingerprint(),
            Self::Public(key) => key.fingerprint(),
            Self::Signing(_, key) | Self::Verifying(key) => key.fingerprint(),
        }
    }

    /// Its public part, PEM.
    pub fn public_pem(&self) -> String {
        match self {
            Self::Private(key) => key.public().to_pem(),
            Self::Public(key) => key.to_pem(),
            Self::Signing(_, key) | Self::Verifying(key) => key.to_pem(),
        }
    }

    /// Whether it can open what was wrapped, or sign.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private(_) | Self::Signing(..))
    }

    /// What verifies its signatures, if it is of that sort.
    pub fn verifying(&self) -> Option<VerifyingKey> {
        match self {
            Self::Signing(_, key) | Self::Verifying(key) => Some(*key),
            Self::Private(_) | Self::Public(_) => None,
        }
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
    pub(crate) fn open(disk: Arc<dyn Disk>, state: &Path, sealing: Sealing) -> Result<Self, DiskError> {
        let folder = state.join(FOLDER);
        disk.create_folder(&folder)?;
        disk.sync_folder(state)?;
        for found in disk.list(&folder)?.into_iter().filter(|found| sealed::is_leftover(&found.name)) {
            disk.unlink(&folder.join(found.name))?;
        }
        Ok(Self { disk, folder, sealing })
    }

    /// A key of any sort.
    ///
    /// # Errors
    /// There is no such key; its file is damaged.
    pub fn any(&self, name: &str) -> Result<AnyKey, KeyRefused> {
        self.read(&given(name)?)
    }

    /// The public part of an RSA key.
    ///
    /// # Errors
    /// There is no such key; it is of another sort; its file is damaged.
    pub fn public(&self, name: &str) -> Result<PublicKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name)? {
            AnyKey::Public(key) => Ok(*key),
            AnyKey::Private(key) => PublicKey::from_der(key.public().der()).map_err(|e| damaged(&name, &e)),
            other => Err(KeyRefused::Sort { name, found: other.sort() }),
        }
    }

    /// The public parts of RSA keys whose names stand in a text, with commas between them and nothing else: blanks would push a
    /// name out of sight of who reads the list.
    ///
    /// # Errors
    /// As [`Self::public`], of the first that is refused.
    pub fn publics(&self, names: &str) -> Result<Vec<PublicKey>, KeyRefused> {
        names.split(',').map(|name| self.public(name)).collect()
    }

    /// An RSA key with its private part.
    ///
    /// # Errors
    /// There is no such key, or only its public part; it is of another sort; its file is damaged.
    pub fn private(&self, name: &str) -> Result<PrivateKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name)? {
            AnyKey::Private(key) => Ok(*key),
            AnyKey::Public(_) => Err(KeyRefused::PublicOnly(name)),
            other => Err(KeyRefused::Sort { name, found: other.sort() }),
        }
    }

    /// An Ed25519 key with its private part.
    ///
    /// # Errors
    /// As [`Self::private`].
    pub fn signing(&self, name: &str) -> Result<SigningKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name)? {
            AnyKey::Signing(key, _) => Ok(*key),
            AnyKey::Verifying(_) => Err(KeyRefused::PublicOnly(name)),
            other => Err(KeyRefused::Sort { name, found: other.sort() }),
        }
    }

    /// Every known signer. One whose file is damaged is not known.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn signers(&self) -> Result<Vec<(GivenName, VerifyingKey)>, KeyRefused> {
        let known = |(name, key): Listed| Some((name, key.ok()?.verifying()?));
        Ok(self.all()?.into_iter().filter_map(known).collect())
    }

    /// Makes an Ed25519 key and keeps it under a name that is free.
    ///
    /// # Errors
    /// Another key has the name; no random bytes; the disk.
    pub fn create(&self, name: &str, random: &Randomness) -> Result<AnyKey, KeyRefused> {
        let name = given(name)?;
        match self.read(&name) {
            Err(KeyRefused::Unknown(_)) => {}
            Ok(_) => return Err(KeyRefused::Exists(name)),
            Err(error) => return Err(error),
        }
        let pem = SigningKey::new_pem(random).map_err(|why| KeyRefused::Random(why.to_string()))?;
        let key = AnyKey::from_pem(&pem).map_err(|error| damaged(&name, &error))?;
        self.keep(&name, &pem)?;
        Ok(key)
    }

    fn keep(&self, name: &GivenName, pem: &[u8]) -> Result<(), KeyRefused> {
        self.keep_as(name, pem, &self.sealing)
    }

    fn keep_as(&self, name: &GivenName, pem: &[u8], sealing: &Sealing) -> Result<(), KeyRefused> {
        let bytes = sealing.seal(What::Key, name.as_str(), pem);
        let bytes = bytes.map_err(|error| KeyRefused::Random(error.to_string()))?;
        let (kind, payload) = bytes.as_deref().map_or((FILE, pem), |sealed| (SEALED, sealed));
        let kept = sealed::replace(self.disk.as_ref(), &self.folder, &file_name(name), kind, payload);
        Ok(kept.map_err(ReplaceError::into_inner)?)
    }

    /// Every key's file as `into` says, sealed or open; how many were written. One that is damaged stays as it is when all are to be sealed.
    ///
    /// # Errors
    /// The disk; a sealed one that does not open.
    pub(crate) fn reseal(&self, into: &Sealing) -> Result<usize, KeyRefused> {
        let mut written = 0;
        for name in self.names()? {
            if is_sealed(self.disk.as_ref(), &self.path(&name))? == into.is_on() {
                continue;
            }
            match self.pem(&name) {
                Ok(pem) => self.keep_as(&name, &pem, into)?,
                Err(KeyRefused::Damaged { .. }) if into.is_on() => continue,
                Err(error) => return Err(error),
            }
            written += 1;
        }
        Ok(written)
    }

    fn names(&self) -> Result<Vec<GivenName>, KeyRefused> {
        let files = self.disk.list(&self.folder)?.into_iter().filter(|found| !found.is_folder);
        Ok(files.filter_map(|found| found.name.strip_suffix(SUFFIX)?.parse().ok()).collect())
    }

    /// Every key by name; one whose file is damaged with the reason.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(&self) -> Result<Vec<Listed>, KeyRefused> {
        Ok(self.names()?.into_iter().map(|name| (name.clone(), self.read(&name))).collect())
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
        self.keep(&name, &pem)?;
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
        AnyKey::from_pem(&self.pem(name)?).map_err(|error| damaged(name, &error))
    }

    fn pem(&self, name: &GivenName) -> Result<Zeroizing<Vec<u8>>, KeyRefused> {
        let refused = |error: SealedError| match error {
            SealedError::Disk(error) if error.is_not_found() => KeyRefused::Unknown(name.clone()),
            SealedError::Disk(error) => error.into(),
            error => damaged(name, &error),
        };
        let path = self.path(name);
        let is_sealed = is_sealed(self.disk.as_ref(), &path).map_err(|error| refused(error.into()))?;
        let kind = if is_sealed { SEALED } else { FILE };
        let payload = sealed::read(self.disk.as_ref(), &path, kind).map_err(refused)?;
        match is_sealed {
            false => Ok(Zeroizing::new(payload)),
            true => {
                let opened = self.sealing.open_bytes(What::Key, name.as_str(), payload);
                opened.map_err(|error| damaged(name, &error))
            }
        }
    }
}

/// The same key again, or its private part beside its public one.
fn may_replace(there: &AnyKey, new: &AnyKey) -> bool {
    let same = there.sort() == new.sort() && there.fingerprint() == new.fingerprint();
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
        return Err(refused("this is no absolute path".to_owned()));
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
