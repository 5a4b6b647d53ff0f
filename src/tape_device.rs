//! Tape devices of this machine: Linux st, read by its device file and positioned by `mt`. `docs/ingest.md` is the design.
//!
//! Positioning is a matter of ioctls, which cannot be had without `unsafe`; `mt` does the same, and is where tapes are. st lets one opener in, so the
//! file is closed while `mt` runs. A device without rewind keeps its place, and st what it knows of it.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Weak;

use rustix::io::Errno;
use vtl_jobs::{Class, Failure};
use vtl_migrate::{FoundOnTape as Found, TapeDevice, Tapes};
use vtl_types::{CartridgeId, LibraryName, Place};

use crate::daemon::Daemon;

/// Major number of SCSI tapes (Linux, Documentation/admin-guide/devices.txt).
const ST_MAJOR: u32 = 9;
/// The bit of their minor number that says: no rewind when it is closed.
const NO_REWIND: u32 = 0x80;
/// The program that positions tapes.
const MT: &str = "mt";
/// So much of what it says is told.
const TOLD_BYTES: usize = 400;

fn failure(class: Class, code: &str, message: String, remedy: &str) -> Failure {
    Failure { class, code: code.to_owned(), message, remedy: Some(remedy.to_owned()) }
}

fn permanent(code: &str, message: String, remedy: &str) -> Failure {
    failure(Class::Permanent, code, message, remedy)
}

/// The device's own file, if this is a tape device that does not rewind by itself. Nothing is opened for that.
///
/// # Errors
/// It is none.
pub(crate) fn look(device: &str) -> Result<PathBuf, Failure> {
    const NAME: &str =
        "name the server's tape device without rewind, such as /dev/nst0; lsscsi -g lists them";
    let invalid = |why: &str| permanent("invalid", format!("{device} {why}"), NAME);
    if !Path::new(device).is_absolute() {
        return Err(invalid("is no absolute path"));
    }
    let found = std::fs::canonicalize(device).and_then(|path| Ok((std::fs::metadata(&path)?, path)));
    let (metadata, path) = found.map_err(|why| match why.kind() {
        ErrorKind::NotFound => permanent("not-found", format!("there is no {device}"), NAME),
        _ => invalid(&format!("cannot be looked at: {why}")),
    })?;
    if !is_tape(&metadata) {
        return Err(invalid("is no SCSI tape device"));
    }
    if rustix::fs::minor(metadata.rdev()) & NO_REWIND == 0 {
        return Err(invalid("rewinds whenever it is closed"));
    }
    Ok(path)
}

fn is_tape(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && rustix::fs::major(metadata.rdev()) == ST_MAJOR
}

/// An open device.
struct LinuxTape {
    path: PathBuf,
    /// While it is being read.
    file: Option<File>,
    mt: Mt,
}

impl LinuxTape {
    fn open(device: &str) -> Result<Self, Failure> {
        let path = look(device)?;
        let mut tape = Self { mt: Mt { program: PathBuf::from(MT), device: path.clone() }, path, file: None };
        tape.file()?;
        Ok(tape)
    }

    /// The file, opened if it is not.
    fn file(&mut self) -> Result<&mut File, Failure> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    fn mt(&mut self, words: &[&str]) -> Result<String, Failure> {
        self.file = None;
        self.mt.run(words)
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    let file = File::open(path).map_err(|why| not_opened(path, &why))?;
    let metadata = file.metadata().map_err(|why| not_opened(path, &why))?;
    if !is_tape(&metadata) {
        let text = format!("{} was another device when it was looked at", path.display());
        return Err(permanent("conflict", text, "let nobody change /dev meanwhile, then vtl job retry ID"));
    }
    Ok(file)
}

fn not_opened(path: &Path, why: &std::io::Error) -> Failure {
    let text = format!("{} cannot be opened: {why}", path.display());
    match Errno::from_io_error(why) {
        Some(Errno::BUSY) => {
            failure(Class::Temporary, "conflict", text, "end what else uses it; it is tried again")
        }
        Some(Errno::ACCESS | Errno::PERM) => permanent(
            "forbidden",
            text,
            "let the server's user read it, as a rule by the group tape, then vtl job retry ID",
        ),
        Some(Errno::NOMEDIUM | Errno::IO | Errno::NXIO) => permanent(
            "conflict",
            text,
            "load a tape and wait until the drive is ready, then vtl job retry ID",
        ),
        _ => permanent("internal", text, "see what the kernel says of it: dmesg"),
    }
}

impl TapeDevice for LinuxTape {
    fn rewind(&mut self) -> Result<(), Failure> {
        self.mt(&["rewind"])?;
        // Fixed blocks would be cut where the buffer ends.
        self.mt(&["setblk", "0"]).map(drop)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Found, Failure> {
        let asked = buffer.len();
        loop {
            let why = match self.file()?.read(buffer) {
                Ok(0) => return Ok(Found::Nothing),
                Ok(length) => return Ok(Found::Record(length)),
                Err(why) => why,
            };
            match Errno::from_io_error(&why) {
                Some(Errno::INTR) => {}
                Some(Errno::NOMEM) => return Ok(Found::TooLong),
                Some(Errno::IO) => return Ok(Found::Refused),
                _ => {
                    let text = format!("{} takes no read of {asked} bytes: {why}", self.path.display());
                    let remedy = "see what the kernel says of it: dmesg; then vtl job retry ID";
                    return Err(permanent("conflict", text, remedy));
                }
            }
        }
    }

    fn back(&mut self) -> Result<(), Failure> {
        self.mt(&["bsr", "1"]).map(drop)
    }

    fn filemarks(&mut self) -> Result<Option<u64>, Failure> {
        let said = self.mt(&["status"])?;
        let number = self.mt.number(&said, "file number")?;
        Ok(u64::try_from(number).ok())
    }

    fn position(&mut self) -> Result<u64, Failure> {
        let said = self.mt(&["tell"])?;
        let number = self.mt.number(&said, "at block")?;
        u64::try_from(number).map_err(|_| self.mt.failed(&["tell"], &said))
    }

    fn to_end(&mut self) -> Result<(), Failure> {
        self.mt(&["eod"]).map(drop)
    }
}

/// `mt`, for one device.
struct Mt {
    program: PathBuf,
    device: PathBuf,
}

impl Mt {
    /// Runs it and gives what it prints.
    fn run(&self, words: &[&str]) -> Result<String, Failure> {
        let ended = Command::new(&self.program)
            .arg("-f")
            .arg(&self.device)
            .args(words)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| (OsStr::new("PATH"), path)))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output();
        let ended = ended.map_err(|why| {
            let text = format!("{} cannot be run: {why}", self.program.display());
            let remedy = "install it (Debian: apt install mt-st), then vtl job retry ID";
            permanent(if why.kind() == ErrorKind::NotFound { "not-found" } else { "internal" }, text, remedy)
        })?;
        if ended.status.success() {
            return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
        }
        Err(self.failed(words, &String::from_utf8_lossy(&ended.stderr)))
    }

    /// The number behind these words.
    fn number(&self, said: &str, words: &str) -> Result<i64, Failure> {
        number_behind(said, words).ok_or_else(|| self.failed(&[words], said))
    }

    fn failed(&self, words: &[&str], said: &str) -> Failure {
        let said: String = said.trim().chars().take(TOLD_BYTES).collect();
        let text =
            format!("{} -f {} {}: {said}", self.program.display(), self.device.display(), words.join(" "));
        permanent("conflict", text, "see what the kernel says of the device: dmesg; then vtl job retry ID")
    }
}

/// `At block 7.`, `File number=7, ..`, `file number = 7`.
fn number_behind(said: &str, words: &str) -> Option<i64> {
    let said = said.to_ascii_lowercase();
    let (_, rest) = said.split_once(words)?;
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// The devices of the daemon's machine.
pub(crate) struct LinuxTapes(pub(crate) Weak<Daemon>);

impl Tapes for LinuxTapes {
    fn open(&self, device: &str) -> Result<Box<dyn TapeDevice>, Failure> {
        Ok(Box::new(LinuxTape::open(device)?))
    }

    fn appeared(&self, id: CartridgeId, library: &LibraryName, place: Place) {
        let Some(daemon) = self.0.upgrade() else { return };
        daemon.shelf.tell_place(id, Some((library.clone(), place)));
        if let Some(live) = daemon.library(library) {
            live.contents_changed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tape_device_without_rewind_is_taken_and_nothing_else_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tape");
        std::fs::write(&file, b"no tape").unwrap();
        let refused = |device: &str, words: &str| {
            let failure = look(device).unwrap_err();
            assert!(failure.message.contains(words), "{device}: {failure:?}");
            assert!(failure.remedy.unwrap().contains("/dev/nst0"));
        };
        refused("dev/nst0", "is no absolute path");
        refused("/dev/no-such-tape", "there is no /dev/no-such-tape");
        refused("/dev/null", "is no SCSI tape device");
        refused(file.to_str().unwrap(), "is no SCSI tape device");
        refused(folder.path().to_str().unwrap(), "is no SCSI tape device");
    }

    #[test]
    fn numbers_are_read_from_what_either_mt_prints() {
        let st = "SCSI 2 tape drive:\nFile number=3, block number=-1, partition=0.\nTape block size 0 bytes.";
        assert_eq!(number_behind(st, "file number"), Some(3));
        assert_eq!(number_behind("file number = 12\nblock number = 0\n", "file number"), Some(12));
        assert_eq!(number_behind("File number=-1, block number=-1", "file number"), Some(-1));
        assert_eq!(number_behind("At block 4294967296.\n", "at block"), Some(4_294_967_296));
        for odd in ["", "At block", "At block ?.", "At block -.", "At block 99999999999999999999."] {
            assert_eq!(number_behind(odd, "at block"), None, "{odd}");
        }
    }

    #[test]
    fn a_program_that_is_missing_fails_or_says_nothing_of_use_is_told_with_its_remedy() {
        let mt = |program: &str| Mt { program: program.into(), device: "/dev/nst9".into() };
        let missing = mt("no-such-mt").run(&["rewind"]).unwrap_err();
        assert_eq!(missing.code, "not-found");
        assert!(missing.message.contains("no-such-mt"), "{missing:?}");
        assert!(missing.remedy.unwrap().contains("apt install mt-st"));
        let fails = mt("ls").run(&["rewind"]).unwrap_err();
        assert!(fails.message.starts_with("ls -f /dev/nst9 rewind: ls: "), "{fails:?}");
        let says = mt("echo");
        let said = says.run(&["tell"]).unwrap();
        assert_eq!(said, "-f /dev/nst9 tell\n");
        let why = says.number(&said, "at block").unwrap_err();
        assert!(why.message.contains("at block: -f /dev/nst9 tell"), "{why:?}");
    }
}
