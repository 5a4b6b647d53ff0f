//! Where secrets come from: a file that only its owner can read, or an environment variable.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::RangeInclusive,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use vtl_types::{ChapLogin, Secret};

use crate::Surroundings;

const OTHERS: u32 = 0o077;

/// What is wrong, and what to do when the key's own advice does not fit.
pub(crate) type Wrong = (String, Option<String>);

/// What the key file of a store may have. Below, it is no 256-bit key; above, it is the wrong file.
const KEY_FILE_BYTES: RangeInclusive<usize> = 32..=4096;
/// The same for a passphrase.
const PASSPHRASE_BYTES: RangeInclusive<usize> = 12..=1024;
/// What providers of identities give their clients.
const CLIENT_SECRET_BYTES: RangeInclusive<usize> = 1..=1024;

pub(crate) fn from_file(path: &Path) -> Result<Secret, Wrong> {
    read(path, ChapLogin::MAX_LEN).map(without_line_end)
}

/// The key file of a store: every byte of it.
pub(crate) fn key_file(path: &Path) -> Result<Secret, Wrong> {
    let secret = Secret::new(read(path, *KEY_FILE_BYTES.end())?);
    of_length(secret, "key file", &KEY_FILE_BYTES)
}

/// The passphrase of a store.
pub(crate) fn passphrase_file(path: &Path) -> Result<Secret, Wrong> {
    passphrase(without_line_end(read(path, *PASSPHRASE_BYTES.end())?))
}

/// What a client of a provider of identities proves itself with.
pub(crate) fn client_secret(path: &Path) -> Result<Secret, Wrong> {
    let secret = without_line_end(read(path, *CLIENT_SECRET_BYTES.end())?);
    of_length(secret, "client secret", &CLIENT_SECRET_BYTES)
}

pub(crate) fn passphrase(secret: Secret) -> Result<Secret, Wrong> {
    of_length(secret, "passphrase", &PASSPHRASE_BYTES)
}

fn of_length(secret: Secret, what: &str, bounds: &RangeInclusive<usize>) -> Result<Secret, Wrong> {
    if bounds.contains(&secret.len()) {
        return Ok(secret);
    }
    let found = match secret.len() > *bounds.end() {
        true => "more".to_owned(),
        false => secret.len().to_string(),
    };
    Err((format!("a {what} has {} to {} bytes, this one has {found}", bounds.start(), bounds.end()), None))
}

/// A file's bytes, some more than `most` at most: so that a longer file is seen and none is read whole.
fn read(path: &Path, most: usize) -> Result<Vec<u8>, Wrong> {
    let unreadable = |error: io::Error| (format!("cannot read the secret file: {error}"), None);
    // Opening a pipe would wait for its writer, so ask first; what is then opened is asked again.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(("this is no regular file".to_owned(), None));
    }
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        let remedy = format!("chmod 600 {}", path.display());
        return Err((format!("others can use the secret file, its mode is {mode:04o}"), Some(remedy)));
    }
    // One more than the longest secret and a line end. The room is there from the beginning: no copy stays behind when it grows.
    let most = most.saturating_add(3);
    let mut bytes = Vec::with_capacity(most.saturating_add(1));
    file.take(u64::try_from(most).unwrap_or(u64::MAX)).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

pub(crate) fn from_environment(name: &str, surroundings: &Surroundings) -> Result<Secret, Wrong> {
    match surroundings.environment.get(name) {
        Some(value) => Ok(without_line_end(value.as_bytes().to_vec())),
        None => Err(("this environment variable is not set".to_owned(), None)),
    }
}

/// Editors and `echo` end a file with a line end that nobody means.
fn without_line_end(mut bytes: Vec<u8>) -> Secret {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Secret::new(bytes)
}
