//! Where CHAP secrets come from: a file that only its owner can read, or an environment variable.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use vtl_types::{ChapLogin, Secret};

use crate::Surroundings;

const OTHERS: u32 = 0o077;

/// What is wrong, and what to do when the key's own advice does not fit.
pub(crate) type Wrong = (String, Option<String>);

pub(crate) fn from_file(path: &Path) -> Result<Secret, Wrong> {
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
    let mut bytes = Vec::new();
    // One more than the longest secret and a line end, so that a longer file is seen and none is read whole.
    let most = u64::try_from(ChapLogin::MAX_LEN).unwrap_or(u64::MAX).saturating_add(3);
    file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(without_line_end(bytes))
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
