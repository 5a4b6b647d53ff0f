//! A bundle in a folder, and key files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use vtl_bundle::{MAX_MANIFEST_BYTES, Manifest, Signed, Source, counting};
use vtl_codec::{PrivateKey, Secret, VerifyingKey};

/// No key file is longer.
const MAX_KEY_BYTES: u64 = 64 << 10;
/// Permissions that a private key must not give.
const OTHERS: u32 = 0o077;

/// A folder whose manifest was read.
pub struct Bundle {
    folder: PathBuf,
    pub manifest: Manifest,
    pub signed: Signed,
}

/// Opens the objects of a folder.
pub struct Objects(PathBuf);

impl Source for Objects {
    type Object = File;

    fn open(&mut self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
    }
}

impl Bundle {
    pub fn open(folder: PathBuf, signer: Option<&VerifyingKey>) -> Result<Self, String> {
        let names = names(&folder)?;
        let (name, path, bytes) = counting_manifest(&folder, &names)?;
        let decoded = Manifest::decode(&bytes, signer);
        let (manifest, signed) = decoded.map_err(|error| format!("{}: {error}", path.display()))?;
        let wanted = vtl_bundle::manifest_name(manifest.label);
        if name != wanted {
            return Err(format!(
                "{}: it is the manifest of {} (rename it to {wanted}, or what has .new behind that to this)",
                path.display(),
                manifest.label
            ));
        }
        Ok(Self { folder, manifest, signed })
    }

    pub fn source(&self) -> Objects {
        Objects(self.folder.clone())
    }

    /// Chunk objects that the manifest does not name.
    pub fn strangers(&self) -> Result<Vec<String>, String> {
        let known = |name: &String| self.manifest.objects.iter().any(|object| object.name == *name);
        let mut strangers = names(&self.folder)?;
        strangers.retain(|name| name.contains(".img.") && !known(name));
        strangers.sort();
        Ok(strangers)
    }
}

/// The manifest that counts: what its name would be when it has taken the other one's place, its path and its bytes.
fn counting_manifest(folder: &Path, names: &[String]) -> Result<(String, PathBuf, Vec<u8>), String> {
    let stem = |name: &String| name.strip_suffix(".new").unwrap_or(name).to_owned();
    let found: BTreeSet<String> = names.iter().map(stem).filter(|name| name.ends_with(".manifest")).collect();
    let [name] = Vec::from_iter(found).try_into().map_err(|found: Vec<String>| {
        format!(
            "{} has {} manifests: a bundle has one, and a folder without one is an export that was cut off",
            folder.display(),
            found.len()
        )
    })?;
    let both = [folder.join(&name), folder.join(format!("{name}.new"))];
    let [named, new] = both.map(|path| match path.exists() {
        true => read(&path, MAX_MANIFEST_BYTES as u64).map(|bytes| Some(Found { path, bytes })),
        false => Ok(None),
    });
    match counting(named?, new?) {
        Some(Found { path, bytes }) => Ok((name, path, bytes)),
        None => Err(format!("{}: its manifest is gone", folder.display())),
    }
}

/// A manifest, and where it is.
struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl AsRef<[u8]> for Found {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let why = |error: io::Error| format!("{}: {error}", path.display());
    // Room for any key, so that none is copied while it is read.
    let mut bytes = Vec::with_capacity(MAX_KEY_BYTES as usize + 1);
    File::open(path).map_err(why)?.take(most + 1).read_to_end(&mut bytes).map_err(why)?;
    match bytes.len() as u64 > most {
        true => Err(format!("{}: it is longer than {most} bytes", path.display())),
        false => Ok(bytes),
    }
}

/// A private key that nobody else may read.
pub fn read_private(path: &Path) -> Result<PrivateKey, String> {
    let why = |error: io::Error| format!("{}: {error}", path.display());
    let mode = fs::metadata(path).map_err(why)?.mode();
    if mode & OTHERS != 0 {
        return Err(format!(
            "{}: its mode is {:04o}, so others than its owner may use the key (chmod 600 {0})",
            path.display(),
            mode & 0o7777
        ));
    }
    let text = Secret::new(read(path, MAX_KEY_BYTES)?);
    PrivateKey::from_pem(text.expose()).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn read_signer(path: &Path) -> Result<VerifyingKey, String> {
    let text = read(path, MAX_KEY_BYTES)?;
    VerifyingKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()))
}
