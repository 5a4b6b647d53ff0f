//! A lab's folder: everything that a lab has, and a record of its processes. The record is what makes a folder a lab's: nothing else is removed.

use std::fs::{self, DirBuilder, DirEntry, File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde::{Deserialize, Serialize};

use super::Result;
use super::process::{self, Identity, boot};

const RECORD: &str = "lab.json";
const NEW_RECORD: &str = "lab.json.new";
const FORMAT: &str = "vtl-lab";
/// A longer record is none of ours.
const LONGEST_RECORD: u64 = 64 << 10;
/// Folders and files that a lab makes beside the record and the logs.
pub const PARTS: [&str; 9] = [
    "data",
    "restored",
    "restored-2",
    "off-site",
    "key.pem",
    "public.pem",
    "access-key",
    "secret-key",
    "password",
];
/// Names of its processes; each has a log, what it printed, and perhaps a state folder of its name.
pub const PROCESSES: [&str; 3] = ["a", "b", "s3"];

/// One of the lab's processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub name: String,
    #[serde(flatten)]
    pub identity: Identity,
    /// Where it answers: web pages and API, or S3. None until it does.
    pub address: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    format: String,
    boot: String,
    processes: Vec<Process>,
}

/// A lab in its folder.
#[derive(Debug)]
pub struct Lab {
    folder: PathBuf,
    record: Record,
    /// The folder, locked: by whoever makes the lab, until all is told, and by whoever removes it.
    _held: Option<File>,
}

impl Lab {
    /// Takes a new or empty folder. Of two who do so at once, one gets it.
    pub fn create(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(|error| about(folder, &error))?;
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|error| about(parent, &error))?;
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(about(&folder, &error)),
        }
        refuse_what_is_there(&folder)?;
        let held = hold(&folder)?;
        // Somebody may have been faster.
        refuse_what_is_there(&folder)?;
        let record = Record { format: FORMAT.to_owned(), boot: boot()?, processes: Vec::new() };
        let lab = Self { record, folder, _held: Some(held) };
        lab.save()?;
        Ok(lab)
    }

    /// The lab that is there.
    pub fn open(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(|error| about(folder, &error))?;
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(no_lab(&folder, "it is no folder")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(format!("no lab is up: there is no {}; vtl lab up makes one", folder.display()));
            }
            Err(error) => return Err(about(&folder, &error)),
        }
        let mut text = String::new();
        let file = folder.join(RECORD);
        File::open(&file)
            .and_then(|open| open.take(LONGEST_RECORD).read_to_string(&mut text))
            .map_err(|error| no_lab(&folder, &format!("{RECORD}: {error}")))?;
        let record: Record = serde_json::from_str(&text)
            .map_err(|error| no_lab(&folder, &format!("{RECORD} is not as a lab writes it: {error}")))?;
        if record.format != FORMAT {
            return Err(no_lab(&folder, &format!("{RECORD} is of format '{}'", record.format)));
        }
        Ok(Self { folder, record, _held: None })
    }

    /// The same for who ends and removes it: nobody makes it any more, and nothing is in it that no lab makes.
    pub fn for_removal(self) -> Result<Self> {
        let held = hold(&self.folder)?;
        // What was noted before it was held may not be all.
        let lab = Self { _held: Some(held), ..Self::open(&self.folder)? };
        lab.entries()?;
        Ok(lab)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts one of the lab's processes. What cannot be noted is not left running: nobody would find it.
    pub fn start(&mut self, name: &str, command: &mut Command) -> Result<Child> {
        let (mut child, identity) = process::start(command, &self.output(name), &self.log(name))?;
        if let Err(why) = self.note(name, identity) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(why);
        }
        Ok(child)
    }

    /// What a process prints.
    pub fn output(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.out"))
    }

    /// What it says of itself.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.log"))
    }

    /// Notes a process as soon as there is one.
    fn note(&mut self, name: &str, identity: Identity) -> Result<()> {
        self.record.processes.push(Process { name: name.to_owned(), identity, address: None });
        self.save()
    }

    /// Notes where it answers.
    pub fn note_address(&mut self, name: &str, address: &str) -> Result<()> {
        for process in self.record.processes.iter_mut().filter(|process| process.name == name) {
            process.address = Some(address.to_owned());
        }
        self.save()
    }

    /// Its processes, and whether each runs. After another boot none does.
    pub fn processes(&self) -> Result<Vec<(Process, bool)>> {
        let same_boot = boot()? == self.record.boot;
        let of = |process: &Process| (process.clone(), same_boot && process.identity.is_running());
        Ok(self.record.processes.iter().map(of).collect())
    }

    /// Removes the folder, the record last: as long as anything is there, it can be told and removed. What no lab makes is not removed, and then
    /// nothing is.
    pub fn remove(self) -> Result<()> {
        for entry in self.entries()? {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| about(&path, &error))?;
        }
        let record = self.path(RECORD);
        fs::remove_file(&record).map_err(|error| about(&record, &error))?;
        fs::remove_dir(&self.folder).map_err(|error| about(&self.folder, &error))
    }

    /// What is in the folder beside the record; an error when not all of it is a lab's.
    fn entries(&self) -> Result<Vec<DirEntry>> {
        let fault = |error: std::io::Error| about(&self.folder, &error);
        let entries = fs::read_dir(&self.folder).map_err(fault)?;
        let entries = entries.collect::<std::io::Result<Vec<_>>>().map_err(fault)?;
        let is_ours = |entry: &DirEntry| entry.file_name().to_str().is_some_and(is_ours);
        if let Some(foreign) = entries.iter().find(|entry| !is_ours(entry)) {
            return Err(format!(
                "{} has {} in it, which no lab makes: nothing is ended or removed; move it elsewhere and say vtl lab down again",
                self.folder.display(),
                foreign.file_name().to_string_lossy()
            ));
        }
        Ok(entries.into_iter().filter(|entry| entry.file_name() != RECORD).collect())
    }

    fn text(&self) -> std::io::Result<String> {
        serde_json::to_string_pretty(&self.record).map_err(std::io::Error::other)
    }

    /// Replaces the record as a whole.
    fn save(&self) -> Result<()> {
        let (new, file) = (self.path(NEW_RECORD), self.path(RECORD));
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut open| open.write_all(self.text()?.as_bytes()))
            .and_then(|()| fs::rename(&new, &file));
        written.map_err(|error| about(&file, &error))
    }
}

/// The folder for oneself, until this is dropped or the program ends.
fn hold(folder: &Path) -> Result<File> {
    let file = File::open(folder).map_err(|error| about(folder, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "a vtl lab up or down is at work in {}: let it end, or interrupt it",
            folder.display()
        )),
        Err(TryLockError::Error(error)) => Err(about(folder, &error)),
    }
}

/// Fails unless what is there is an empty folder, which then is for its owner only.
fn refuse_what_is_there(folder: &Path) -> Result<()> {
    if folder.join(RECORD).exists() {
        let running = Lab::open(folder)?.processes()?.iter().any(|(_, runs)| *runs);
        let what = if running { "a lab is up" } else { "a lab was left" };
        return Err(format!(
            "{what} in {}: vtl lab status tells of it, vtl lab down removes it, --folder makes another one elsewhere",
            folder.display()
        ));
    }
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    let is_empty = is_folder && fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        // Secrets come into it; somebody else's folder is none for them, and cannot be changed.
        let ours = fs::Permissions::from_mode(0o700);
        return fs::set_permissions(folder, ours).map_err(|error| about(folder, &error));
    }
    Err(format!("{} is there already and not a lab's; name a new folder with --folder", folder.display()))
}

fn is_ours(name: &str) -> bool {
    let of_process =
        |process: &&str| name.strip_prefix(*process).is_some_and(|rest| ["", ".log", ".out"].contains(&rest));
    [RECORD, NEW_RECORD].contains(&name) || PARTS.contains(&name) || PROCESSES.iter().any(of_process)
}

fn no_lab(folder: &Path, why: &str) -> String {
    format!("{} is no folder of a lab: {why}; it is left as it is", folder.display())
}

pub fn about(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("below/lab");
        (above, folder)
    }

    #[test]
    fn a_lab_is_made_in_a_new_or_empty_folder_and_in_no_other() {
        let (_above, folder) = place();
        fs::create_dir_all(&folder).unwrap();
        let lab = Lab::create(&folder).unwrap();
        assert_eq!(lab.processes().unwrap(), []);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let again = Lab::create(&folder).unwrap_err();
        assert!(again.starts_with("a lab was left in") && again.contains("vtl lab down"), "{again}");
        lab.remove().unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("thesis.txt"), "mine").unwrap();
        assert!(Lab::create(&folder).unwrap_err().contains("not a lab's"));
        assert_eq!(fs::read_to_string(folder.join("thesis.txt")).unwrap(), "mine");
    }

    #[test]
    fn a_second_lab_is_refused_while_one_is_up() {
        let (_above, folder) = place();
        let mut lab = Lab::create(&folder).unwrap();
        lab.note("a", Identity::of(std::process::id()).unwrap()).unwrap();
        assert!(Lab::create(&folder).unwrap_err().starts_with("a lab is up in"));
    }

    #[test]
    fn processes_and_addresses_are_found_again_and_those_of_another_boot_do_not_run() {
        let (_above, folder) = place();
        let mut lab = Lab::create(&folder).unwrap();
        let me = Identity::of(std::process::id()).unwrap();
        lab.note("a", me).unwrap();
        lab.note("b", Identity { start: me.start + 1, ..me }).unwrap();
        lab.note_address("a", "http://127.0.0.1:1").unwrap();
        let found = Lab::open(&folder).unwrap().processes().unwrap();
        let told: Vec<_> =
            found.iter().map(|(p, runs)| (p.name.as_str(), p.address.as_deref(), *runs)).collect();
        assert_eq!(told, [("a", Some("http://127.0.0.1:1"), true), ("b", None, false)]);
        let file = folder.join(RECORD);
        let text = fs::read_to_string(&file).unwrap().replace(&boot().unwrap(), "another");
        fs::write(&file, text).unwrap();
        assert!(Lab::open(&folder).unwrap().processes().unwrap().iter().all(|(_, runs)| !runs));
    }

    #[test]
    fn only_a_lab_is_removed_and_only_when_all_in_it_is_the_labs() {
        let (above, folder) = place();
        assert!(Lab::open(&folder).unwrap_err().starts_with("no lab is up"));
        fs::create_dir_all(&folder).unwrap();
        assert!(Lab::open(&folder).unwrap_err().contains("is no folder of a lab: lab.json: No such file"));
        fs::write(folder.join(RECORD), r#"{"format":"other","boot":"","processes":[]}"#).unwrap();
        assert!(Lab::open(&folder).unwrap_err().contains("of format 'other'"));
        fs::remove_file(folder.join(RECORD)).unwrap();
        let lab = Lab::create(&folder).unwrap();
        for name in ["a.log", "password", "thesis.txt"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let link = above.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(Lab::open(&link).unwrap_err().contains("it is no folder"));
        assert!(lab.remove().unwrap_err().contains("thesis.txt"));
        assert!(folder.join("password").exists());
        fs::remove_file(folder.join("thesis.txt")).unwrap();
        Lab::open(&folder).unwrap().remove().unwrap();
        assert!(!folder.exists());
    }
}
