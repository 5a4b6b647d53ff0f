//! A case: one shell file in `cases/`, one behaviour. Its head says how it is run:
//!
//! ```text
//! # What was closed survives kill -9.        the first comment line is the description
//! #: server: vtld                            vtld | tgt | vtld-in-guest | none: the guest has a disk and is the server's machine, too
//! #: root: debian                          the guest's root: host (default) | debian: a fresh one under systemd, with our package in /root
//! #: pages: first-hour.md                    pages of docs/ whose commands the script runs, see `crate::page`
//! #: arg: --set iscsi.diagnostic_disk=64m    more words for vtld's command line; may be repeated
//! #: where: host                             guest (default) | host: runs in the namespace, without a guest
//! #: limit: 120                              seconds; boot and server start are included
//! #: long-limit: 3600                        seconds with --long
//! ```
//!
//! A file `NAME.b.sh` beside `NAME.sh` is the script of a second guest, which runs at the same time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Result, Trouble};

/// For a case that names none.
const DEFAULT_LIMIT: Duration = Duration::from_secs(120);

/// Which target serves the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// Ours, as a process on the host.
    Vtld,
    /// Ours, in a guest on an ext4 image, so that its power can be cut.
    VtldInGuest,
    /// Debian's, to prove the harness.
    Tgt,
    /// None on the host: the guest has a disk, and the script starts what it needs.
    None,
}

/// What a guest has for its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// The host's, read-only.
    Host,
    /// A fresh Debian with the packages of the case's pages, its systemd as process 1, and our package not yet installed.
    Debian,
}

/// Where the script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In user-mode Linux, with a real initiator.
    Guest,
    /// On the host inside the namespace, for clients that need no kernel.
    Host,
}

/// A parsed case; see the module's head.
#[derive(Debug)]
pub struct Case {
    /// The file's name without `.sh`.
    pub name: String,
    /// Its script.
    pub script: PathBuf,
    /// The second guest's script.
    pub second: Option<PathBuf>,
    /// The first comment line.
    pub about: String,
    /// The target.
    pub server: ServerKind,
    /// What the guest's root is.
    pub root: Root,
    /// More words for the target's command line.
    pub args: Vec<String>,
    /// Pages of `docs/` that the script runs.
    pub pages: Vec<String>,
    /// Where the script runs.
    pub place: Place,
    /// Time for everything.
    pub limit: Duration,
    /// The same with `--long`.
    pub long_limit: Duration,
}

/// All cases of a folder in the order of their names.
pub fn all(folder: &Path) -> Result<Vec<Case>> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(Trouble::with(folder.display().to_string()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_case(path))
        .collect();
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

fn is_case(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".sh") && !name.ends_with(".b.sh")
}

impl Case {
    /// Reads a case's head.
    pub fn read(script: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(script).map_err(Trouble::with(script.display().to_string()))?;
        let second = script.with_extension("b.sh");
        let mut case = Self {
            name: script.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            script: script.to_owned(),
            second: second.exists().then_some(second),
            about: String::new(),
            server: ServerKind::Vtld,
            root: Root::Host,
            args: Vec::new(),
            pages: Vec::new(),
            place: Place::Guest,
            limit: DEFAULT_LIMIT,
            long_limit: DEFAULT_LIMIT,
        };
        case.apply_head(&text).map_err(Trouble::with(script.display().to_string()))?;
        Ok(case)
    }

    /// Those of its guests, in their order.
    pub fn scripts(&self) -> impl Iterator<Item = &Path> {
        [Some(self.script.as_path()), self.second.as_deref()].into_iter().flatten()
    }

    fn apply_head(&mut self, text: &str) -> Result<()> {
        let mut long_limit = None;
        for line in text.lines().take_while(|line| line.starts_with('#')) {
            if let Some(setting) = line.strip_prefix("#: ") {
                let (key, value) = setting
                    .split_once(": ")
                    .ok_or_else(|| Trouble(format!("'{line}' is not '#: KEY: VALUE'")))?;
                match key {
                    "server" => self.server = server_kind(value)?,
                    "root" => self.root = root(value)?,
                    "arg" => self.args.extend(value.split_whitespace().map(str::to_owned)),
                    "pages" => self.pages.extend(value.split_whitespace().map(str::to_owned)),
                    "where" => self.place = place(value)?,
                    "limit" => self.limit = seconds(value)?,
                    "long-limit" => long_limit = Some(seconds(value)?),
                    _ => return Err(Trouble(format!("unknown setting '{key}'"))),
                }
            } else if self.about.is_empty()
                && let Some(about) = line.strip_prefix("# ")
            {
                self.about = about.to_owned();
            }
        }
        self.long_limit = long_limit.unwrap_or(self.limit).max(self.limit);
        if self.root == Root::Debian && self.server != ServerKind::None {
            return Err(Trouble("'root: debian' wants 'server: none', the guest's disk".to_owned()));
        }
        if self.about.is_empty() {
            return Err(Trouble("the head has no description".to_owned()));
        }
        Ok(())
    }
}

fn server_kind(value: &str) -> Result<ServerKind> {
    match value {
        "vtld" => Ok(ServerKind::Vtld),
        "vtld-in-guest" => Ok(ServerKind::VtldInGuest),
        "tgt" => Ok(ServerKind::Tgt),
        "none" => Ok(ServerKind::None),
        _ => Err(Trouble(format!("'{value}' is no server (vtld, vtld-in-guest, tgt, none)"))),
    }
}

fn root(value: &str) -> Result<Root> {
    match value {
        "host" => Ok(Root::Host),
        "debian" => Ok(Root::Debian),
        _ => Err(Trouble(format!("'{value}' is no root (host, debian)"))),
    }
}

fn place(value: &str) -> Result<Place> {
    match value {
        "guest" => Ok(Place::Guest),
        "host" => Ok(Place::Host),
        _ => Err(Trouble(format!("'{value}' is no place (guest, host)"))),
    }
}

fn seconds(value: &str) -> Result<Duration> {
    value
        .parse()
        .map(Duration::from_secs)
        .map_err(Trouble::with(format!("'{value}' is no number of seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Case> {
        let dir = std::env::temp_dir().join(format!("vtl-case-{}-{:p}", std::process::id(), text));
        std::fs::create_dir_all(&dir).expect("folder");
        let path = dir.join("some-case.sh");
        std::fs::write(&path, text).expect("file");
        let case = Case::read(&path);
        std::fs::remove_dir_all(&dir).expect("clean");
        case
    }

    #[test]
    fn a_head_with_every_setting_is_understood() {
        let case = head(
            "#!/bin/bash\n# What it shows.\n#: server: tgt\n#: arg: --set a=b\n#: where: host\n#: limit: 7\n\
             #: long-limit: 70\necho\n#: limit: 9\n",
        )
        .expect("case");
        assert_eq!(case.name, "some-case");
        assert_eq!(case.about, "What it shows.");
        assert_eq!((case.server, case.place), (ServerKind::Tgt, Place::Host));
        assert_eq!(case.args, ["--set", "a=b"]);
        assert_eq!((case.limit.as_secs(), case.long_limit.as_secs()), (7, 70));
    }

    #[test]
    fn pages_are_listed_in_their_order() {
        let case = head(
            "# About.\n#: server: none\n#: pages: first-hour.md initiators/linux.md\n#: pages: disaster.md\n",
        );
        let case = case.expect("case");
        assert_eq!((case.server, case.root), (ServerKind::None, Root::Host));
        assert_eq!(case.pages, ["first-hour.md", "initiators/linux.md", "disaster.md"]);
    }

    #[test]
    fn a_fresh_debian_needs_the_guests_disk() {
        let case = head("# About.\n#: server: none\n#: root: debian\n").expect("case");
        assert_eq!(case.root, Root::Debian);
        assert!(head("# About.\n#: root: debian\n").is_err());
        assert!(head("# About.\n#: server: none\n#: root: fresh\n").is_err());
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        for bad in ["#: servers: vtld\n", "#: server: vtl\n", "#: limit: soon\n", "#: where\n", "echo\n"] {
            assert!(head(&format!("# About.\n{bad}")).is_err() || bad == "echo\n", "{bad}");
        }
        assert!(head("echo no description\n").is_err());
    }

    #[test]
    fn every_case_of_the_project_has_a_head() {
        let cases = all(&crate::here().join("cases")).expect("cases");
        assert!(!cases.is_empty());
    }
}
