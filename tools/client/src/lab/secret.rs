//! Secrets that are made for the lab: they go from the system's randomness into a file for its owner's eyes, and nowhere else.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::Result;
use super::folder::about;

/// Bits enough, in digits that a person can type.
const BYTES: usize = 12;

/// Makes a new file with a new secret in hexadecimal.
pub fn make(file: &Path) -> Result<()> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("there is no randomness: {error}"))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut open| open.write_all(digits.as_bytes()))
        .map_err(|error| about(file, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_another_one_each_time_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        make(&one).unwrap();
        make(&other).unwrap();
        let [first, second] = [&one, &other].map(|file| std::fs::read_to_string(file).unwrap());
        assert!(first != second && first.len() == 24 && first.chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(make(&one).unwrap_err().contains("exists"), "none is replaced");
    }
}
