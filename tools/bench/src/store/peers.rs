//! restic and borg, as Debian packages them, and rustic, on the same bytes by way of a pipe.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::meter::{self, Cost};
use crate::store::engine::{Engine, folder_bytes};
use vtl_initiator::failure;

const PIECE: usize = 256 << 10;
/// The name of the stream in a backup.
const NAME: &str = "stream";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// Always encrypts.
    Restic {
        /// From 0.14 on.
        compresses: bool,
    },
    /// Without encryption, zstd level 1.
    Borg,
    /// Always encrypts; its own level of zstd.
    Rustic,
}

impl Tool {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Restic { .. } => "restic",
            Self::Borg => "borg",
            Self::Rustic => "rustic",
        }
    }
}

/// Those that are there; says which are and which are not.
pub fn installed() -> Vec<Tool> {
    let mut tools = Vec::new();
    match version("restic", "version") {
        Some(version) => {
            let help = Command::new("restic").arg("help").output();
            let compresses = help.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).contains("--compression"));
            println!("restic: {version}");
            tools.push(Tool::Restic { compresses });
        }
        None => println!("restic: not installed"),
    }
    for tool in [Tool::Borg, Tool::Rustic] {
        match version(tool.name(), "--version") {
            Some(version) => {
                println!("{}: {version}", tool.name());
                tools.push(tool);
            }
            None => println!("{}: not installed", tool.name()),
        }
    }
    tools
}

fn version(program: &str, word: &str) -> Option<String> {
    let output = Command::new(program).arg(word).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| text.lines().next().unwrap_or_default().to_owned())
}

/// A repository, and the backups that go into it.
pub struct Peer {
    tool: Tool,
    root: PathBuf,
    backups: Vec<PathBuf>,
    made: usize,
    peak_kib: u64,
}

impl Peer {
    /// Makes the repository.
    pub fn start(tool: Tool, root: &Path, backups: &[PathBuf]) -> io::Result<Self> {
        let peer = Self { tool, root: root.to_owned(), backups: backups.to_vec(), made: 0, peak_kib: 0 };
        let command = match tool {
            Tool::Restic { .. } | Tool::Rustic => peer.command(&["init"]),
            Tool::Borg => peer.command(&["init", "--encryption", "none", &peer.repository()]),
        };
        let status = command?.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        peer.good(status).map(|()| peer)
    }

    fn repository(&self) -> String {
        self.root.join("repository").display().to_string()
    }

    /// Everything that the program keeps is below our folder; what it says goes to a file there.
    fn command(&self, words: &[&str]) -> io::Result<Command> {
        let mut command = Command::new(self.tool.name());
        match self.tool {
            Tool::Restic { .. } => {
                command.env("RESTIC_PASSWORD", "benchmark").env("RESTIC_REPOSITORY", self.repository());
                command.env("RESTIC_CACHE_DIR", self.root.join("cache"));
            }
            Tool::Borg => drop(command.env("BORG_BASE_DIR", self.root.join("base"))),
            Tool::Rustic => {
                command.env("RUSTIC_PASSWORD", "benchmark").env("RUSTIC_REPOSITORY", self.repository());
                command.env("RUSTIC_CACHE_DIR", self.root.join("cache")).env("RUSTIC_NO_PROGRESS", "true");
                // It has no configuration but this.
                command.env("XDG_CONFIG_HOME", self.root.join("base"));
            }
        }
        command.args(words).stderr(File::create(self.log())?);
        Ok(command)
    }

    fn log(&self) -> PathBuf {
        self.root.join("messages")
    }

    fn good(&self, status: ExitStatus) -> io::Result<()> {
        if status.success() {
            return Ok(());
        }
        let said = std::fs::read_to_string(self.log()).unwrap_or_default();
        Err(failure(format!("{} ended with {status}: {}", self.tool.name(), said.trim())))
    }

    fn ingest_command(&self) -> io::Result<Command> {
        match self.tool {
            Tool::Restic { compresses } => {
                let tag = format!("b{}", self.made);
                let mut command =
                    self.command(&["backup", "--quiet", "--stdin", "--stdin-filename", NAME])?;
                command.args(["--tag", &tag]);
                command.args(["--compression", "auto"].iter().take(if compresses { 2 } else { 0 }));
                Ok(command)
            }
            Tool::Borg => {
                let archive = format!("{}::b{}", self.repository(), self.made);
                self.command(&["create", "--compression", "zstd,1", "--stdin-name", NAME, &archive, "-"])
            }
            Tool::Rustic => {
                let tag = format!("b{}", self.made);
                // Without a parent: it takes the stream for the file of the last backup and does not read it.
                self.command(&["backup", "--force", "--stdin-filename", NAME, "--tag", &tag, "-"])
            }
        }
    }

    fn restore_command(&self, number: usize) -> io::Result<Command> {
        match self.tool {
            Tool::Restic { .. } => {
                self.command(&["dump", "--quiet", "--tag", &format!("b{number}"), "latest", NAME])
            }
            Tool::Borg => {
                self.command(&["extract", "--stdout", &format!("{}::b{number}", self.repository())])
            }
            Tool::Rustic => {
                let file = format!("latest:{NAME}");
                self.command(&["dump", "--filter-tags", &format!("b{number}"), &file])
            }
        }
    }

    /// Peak memory of the program as it was when it had all its input.
    fn feed(&self, child: &mut Child, backup: &Path) -> io::Result<u64> {
        let mut input = child.stdin.take().ok_or_else(|| failure("no way to the program"))?;
        let mut file = File::open(backup)?;
        let mut piece = vec![0; PIECE];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(meter::peak_kib(&child.id().to_string())),
                len => input.write_all(&piece[..len])?,
            }
        }
    }
}

impl Engine for Peer {
    fn ingest(&mut self, backup: usize) -> io::Result<Cost> {
        self.made += 1;
        let path = &self.backups[backup];
        let bytes = path.metadata()?.len();
        let mut peak_kib = 0;
        let cost = meter::children(|| {
            let mut command = self.ingest_command()?;
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            let fed = self.feed(&mut child, path);
            self.good(child.wait()?)?;
            peak_kib = fed?;
            // Ours are on the disk when a commit returns; so shall theirs be.
            rustix::fs::syncfs(File::open(&self.root)?)?;
            Ok(bytes)
        })?;
        self.peak_kib = self.peak_kib.max(peak_kib);
        Ok(cost)
    }

    fn restore(&mut self, backup: usize) -> io::Result<Cost> {
        meter::children(|| {
            let mut command = self.restore_command(backup + 1)?;
            let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
            let output = child.stdout.take().ok_or_else(|| failure("no way from the program"))?;
            let compared = compare(output, File::open(&self.backups[backup])?);
            self.good(child.wait()?)?;
            compared
        })
    }

    fn stored_bytes(&self) -> io::Result<u64> {
        folder_bytes(&self.root.join("repository"))
    }

    fn files_bytes(&self) -> io::Result<u64> {
        folder_bytes(&self.root)
    }

    fn peak_mib(&self) -> u64 {
        self.peak_kib >> 10
    }
}

/// Reads to the end of both; how many bytes.
fn compare(mut got: impl Read, mut expected: impl Read) -> io::Result<u64> {
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    let mut bytes = 0;
    loop {
        let len = got.read(&mut a)?;
        if len == 0 {
            let ended = expected.read(&mut b)? == 0;
            return if ended { Ok(bytes) } else { Err(failure("bytes are missing at the end")) };
        }
        expected.read_exact(&mut b[..len])?;
        if a[..len] != b[..len] {
            return Err(failure(format!("bytes from {bytes} came back different")));
        }
        bytes += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_is_compared_to_the_end() {
        assert_eq!(compare(&b"abc"[..], &b"abc"[..]).unwrap(), 3);
        for (got, expected) in [("abc", "abd"), ("ab", "abc"), ("abc", "ab"), ("", "a")] {
            assert!(compare(got.as_bytes(), expected.as_bytes()).is_err(), "{got} {expected}");
        }
    }
}
