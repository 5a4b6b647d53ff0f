//! What the lab backs up: files that compress and files that do not, the same ones each time; and the comparison of two folders.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::Result;
use super::folder::about;

/// Files of each sort.
const FILES: u64 = 8;
const FILE_BYTES: usize = 1 << 20;

/// Makes the folder and fills it; its files and bytes.
pub fn make(folder: &Path) -> Result<Same> {
    fs::create_dir(folder).map_err(|error| about(folder, &error))?;
    for number in 1..=FILES {
        write(&folder.join(format!("orders-{number:02}.csv")), |line| order(number, line).into_bytes())?;
        let mut state = number;
        write(&folder.join(format!("picture-{number:02}.raw")), move |_| noise(&mut state).to_vec())?;
    }
    Ok(Same { files: 2 * FILES, bytes: 2 * FILES * FILE_BYTES as u64 })
}

/// A file of exactly [`FILE_BYTES`].
fn write(file: &Path, mut piece: impl FnMut(u64) -> Vec<u8>) -> Result<()> {
    let failed = |error: &std::io::Error| about(file, error);
    let mut out = BufWriter::new(File::create_new(file).map_err(|error| failed(&error))?);
    let (mut left, mut line) = (FILE_BYTES, 0);
    while left > 0 {
        let bytes = piece(line);
        let part = bytes.get(..left.min(bytes.len())).unwrap_or_default();
        out.write_all(part).map_err(|error| failed(&error))?;
        left -= part.len();
        line += 1;
    }
    out.flush().map_err(|error| failed(&error))
}

fn order(file: u64, line: u64) -> String {
    format!(
        "2026-{:02}-{:02};order {file:02}-{line:06};{}.00 EUR\n",
        line % 12 + 1,
        line % 28 + 1,
        line * 37 % 9_973
    )
}

/// xorshift64*
fn noise(state: &mut u64) -> [u8; 8] {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
}

/// What two folders have in common when they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Same {
    pub files: u64,
    pub bytes: u64,
}

/// Compares names and every byte.
pub fn compare(one: &Path, other: &Path) -> Result<Same> {
    let (mine, theirs) = (list(one)?, list(other)?);
    let names: [Vec<_>; 2] = [mine.keys().collect(), theirs.keys().collect()];
    if names[0] != names[1] {
        return Err(format!("{} and {} have different files", one.display(), other.display()));
    }
    let mut same = Same { files: 0, bytes: 0 };
    for (file, copy) in mine.values().zip(theirs.values()) {
        let [wanted, got] = [file, copy].map(|path| fs::read(path).map_err(|error| about(path, &error)));
        let (wanted, got) = (wanted?, got?);
        if wanted != got {
            let at = wanted.iter().zip(&got).take_while(|(a, b)| a == b).count();
            return Err(format!("{} and {} differ at byte {at}", file.display(), copy.display()));
        }
        same = Same { files: same.files + 1, bytes: same.bytes + wanted.len() as u64 };
    }
    Ok(same)
}

fn list(folder: &Path) -> Result<BTreeMap<std::ffi::OsString, PathBuf>> {
    let failed = |error: std::io::Error| about(folder, &error);
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|e| (e.file_name(), e.path())).map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_made_each_time_and_compared_to_the_last_byte() {
        let above = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| above.path().join(name));
        let all = Same { files: 16, bytes: 16_777_216 };
        assert_eq!((make(&one), make(&other)), (Ok(all), Ok(all)));
        assert_eq!(compare(&one, &other), Ok(all));
        let file = other.join("picture-08.raw");
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert!(compare(&one, &other).unwrap_err().ends_with("differ at byte 1048575"));
        fs::write(&file, &bytes[..9]).unwrap();
        assert!(compare(&one, &other).unwrap_err().ends_with("differ at byte 9"));
        fs::remove_file(&file).unwrap();
        assert!(compare(&one, &other).unwrap_err().contains("have different files"));
    }
}
