//! Where content goes: a file that has its name only when all of it is right.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file in the making, or standard output.
pub enum Output {
    /// Renamed when it is finished; until then it is removed when this is dropped.
    File { file: File, part: PathBuf, path: PathBuf },
    /// What was written cannot be called back: the exit code tells whether it was right.
    Standard,
}

impl Output {
    pub fn create(path: &Path) -> Result<Self, String> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        if path.exists() {
            return Err(format!("{}: it is there already (choose another name)", path.display()));
        }
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::create_new(&part).map_err(|error| {
            format!("{}: {error} (remove what an earlier run left, or choose another name)", part.display())
        })?;
        Ok(Self::File { file, part, path: path.to_owned() })
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::File { file, .. } => file.write_all(bytes),
            Self::Standard => io::stdout().write_all(bytes),
        }
    }

    /// All of it is right.
    pub fn finish(mut self) -> Result<(), String> {
        match &mut self {
            Self::File { file, part, path } => {
                let done = file.sync_all().and_then(|()| fs::rename(&*part, &*path));
                done.map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Self::Standard => io::stdout().flush().map_err(|error| format!("standard output: {error}"))?,
        }
        // The part has its name by now, so that dropping removes nothing.
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { part, .. } = self {
            let _ = fs::remove_file(part);
        }
    }
}
