//! Programs of the site, which the server runs: whether it can, and whether it should.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// Somebody may run it.
const EXECUTE: u32 = 0o111;
/// Others than the owner may change it.
const WRITE_OTHERS: u32 = 0o022;

const ROOT: u32 = 0;

/// The user that this process runs as, which owns its own entry there.
fn us() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|about| about.uid())
}

/// A file that can be run, and that nobody but root or the user of this process can change.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn program(path: PathBuf) -> Result<PathBuf, String> {
    let about = std::fs::metadata(&path).map_err(|error| error.to_string())?;
    let mode = about.mode() & 0o7777;
    if !about.is_file() {
        return Err("this is not a file".to_owned());
    }
    if mode & EXECUTE == 0 {
        return Err(format!("this is not executable, its mode is {mode:04o}: chmod +x it"));
    }
    if let Some(us) = us()
        && about.uid() != us
        && about.uid() != ROOT
    {
        return Err(format!(
            "user {} owns it, who could change it: chown it to user {us} or to root",
            about.uid()
        ));
    }
    if mode & WRITE_OTHERS != 0 {
        return Err(format!("others can change it, its mode is {mode:04o}: chmod go-w it"));
    }
    Ok(path)
}
