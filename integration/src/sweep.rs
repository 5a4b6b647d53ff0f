//! What a test killed with SIGKILL could not clean: namespaces and folders named after a process that is gone.

use std::path::{Path, PathBuf};

use crate::net::{self, NAME_PREFIX};
use crate::process::output;
use crate::{Result, Trouble};

/// Folders of runs. Not under /tmp: the guest hides that behind a tmpfs of its own.
const BASE: &str = "/var/tmp";

/// A folder for one run, removed when dropped unless `VTL_KEEP=1`.
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes an empty folder for the run called `name`.
    pub fn new(name: &str) -> Result<Self> {
        let path = Path::new(BASE).join(format!("{NAME_PREFIX}{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(Trouble::with(path.display().to_string()))?;
        Ok(Self(path))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if std::env::var_os("VTL_KEEP").is_some_and(|v| v == "1") {
            crate::log::line("kept", &self.0.display().to_string());
            return;
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes what runs that are gone left behind.
pub fn sweep() {
    for line in output(std::process::Command::new("ip").args(["netns", "list"])).unwrap_or_default().lines() {
        if let Some(name) = line.split_whitespace().next().filter(|name| is_orphan(name)) {
            net::remove(name);
        }
    }
    for entry in std::fs::read_dir(BASE).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_orphan) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn is_orphan(name: &str) -> bool {
    owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The process id in one of our names.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(NAME_PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        assert_eq!(owner("vtl-it-4711-0"), Some(4711));
        assert_eq!(owner("vtl-it-4711-some-case"), Some(4711));
        for foreign in ["vtl-4711-0", "vtl-it-x-0", "vtl-it-", "other"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_living_owner_keeps_its_things() {
        assert!(!is_orphan(&format!("vtl-it-{}-0", std::process::id())));
        assert!(is_orphan("vtl-it-4294967295-0"));
    }
}
