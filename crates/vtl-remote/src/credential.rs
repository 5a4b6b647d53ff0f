//! Credentials: each in a file of its own that only its owner may read. They come neither from the command line nor from
//! the environment, which others can see, and never leave as text.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use vtl_types::Secret;

use crate::error::{Class, Doing, Error};

/// The longest credential, in bytes.
const MAX_LENGTH: u64 = 4_096;
/// The longest credential that is a file of lines, in bytes.
#[cfg(feature = "http")]
const MAX_TEXT: u64 = 65_536;
/// Rights that nobody but the owner may have.
const OTHERS: u32 = 0o077;

/// Reads the one line of a credential's file.
///
/// # Errors
///
/// [`Class::Misconfigured`]: the file is missing, is not a file, belongs to somebody else, can be read by others, is empty,
/// longer than 4 KiB, or has more than one line of printable ASCII.
pub fn read(path: &Path) -> Result<Secret, Error> {
    one_line(read_private(path, MAX_LENGTH)?).map_err(|why| refuse(path, why))
}

/// Reads a credential that is a whole file of ASCII, such as a key in JSON.
///
/// # Errors
///
/// As [`read`]; it may have lines, and 64 KiB.
#[cfg(feature = "http")]
pub(crate) fn read_text(path: &Path) -> Result<Secret, Error> {
    let secret = Secret::new(read_private(path, MAX_TEXT)?);
    let fits = secret.len() as u64 <= MAX_TEXT && secret.expose().is_ascii();
    if fits {
        Ok(secret)
    } else {
        Err(refuse(path, "it must hold the credential as at most 64 KiB of ASCII"))
    }
}

fn refuse(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Class::Misconfigured, Doing::Open, format!("credential file {}: {why}", path.display()))
}

/// The bytes of a file that only its owner may read: as many as may be, and two more.
fn read_private(path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let refuse = |why: String| refuse(path, why);
    let unreadable = |error: std::io::Error| refuse(error.to_string());
    // Opening a pipe would wait for its writer, so ask first; what is then opened is asked again.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refuse("it is not a file".to_owned()));
    }
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if about.mode() & OTHERS != 0 {
        let mode = about.mode() & 0o7777;
        return Err(refuse(format!("others have rights on it (mode {mode:04o}): chmod 600 it")));
    }
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us && about.uid() != 0 {
        return Err(refuse(format!("it belongs to user {} and not to {us}: chown it", about.uid())));
    }
    // The room is there from the beginning: no copy stays behind when it grows.
    let mut bytes = Vec::with_capacity(most as usize * 2);
    file.take(most + 2).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn one_line(mut bytes: Vec<u8>) -> Result<Secret, &'static str> {
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    let secret = Secret::new(bytes);
    if secret.is_empty() {
        return Err("it is empty: it must hold the credential and nothing else");
    }
    if secret.len() as u64 > MAX_LENGTH {
        return Err("it is longer than 4 KiB: it must hold the credential and nothing else");
    }
    if !secret.expose().iter().all(u8::is_ascii_graphic) {
        return Err(
            "it must hold one line of printable ASCII without spaces: the credential and nothing else",
        );
    }
    Ok(secret)
}

/// The text of a credential, for the one place that signs with it.
#[cfg(feature = "http")]
pub(crate) fn text(secret: &Secret) -> String {
    // `read` lets only ASCII pass.
    String::from_utf8_lossy(secret.expose()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn read_with(mode: u32, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        read(&path).map(|secret| secret.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_that_only_its_owner_reads_is_taken_without_its_line_end() {
        assert_eq!(read_with(0o600, b"made-up+/key=\n").unwrap(), b"made-up+/key=");
        assert_eq!(read_with(0o400, b"k\r\n").unwrap(), b"k");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy_and_without_its_content() {
        for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
            let error = read_with(mode, b"made-up").unwrap_err();
            assert!(error.contains("chmod 600") && error.contains(&format!("{mode:04o}")), "{error}");
            assert!(!error.contains("made-up"));
        }
    }

    #[test]
    fn what_is_no_single_line_is_refused() {
        for bytes in [&b""[..], b"\n", b"a b", b"a\nb", b"\xff", &[b'x'; 5_000]] {
            assert!(read_with(0o600, bytes).is_err());
        }
        assert!(read(Path::new("/")).is_err());
        assert!(read(Path::new("/none/such")).unwrap_err().to_string().contains("/none/such"));
    }
}
