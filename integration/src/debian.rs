//! A fresh Debian made by mmdebstrap, and the Debian package of the release build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::output;
use crate::{Result, Trouble, checkout};

/// The release that the package is made for.
const RELEASE: &str = "bookworm";
/// Where apt of this machine reads what it installs from: files of both forms.
const APT: &str = "/etc/apt";

/// What a Debian that is installed on a machine has, and the least one has not. `adduser` is what our package depends on.
pub const MACHINE: &[&str] = &["adduser", "systemd-sysv", "udev", "kmod", "openssl", "tzdata"];

/// Makes one in `root`: essential packages and these.
pub fn fresh(root: &Path, packages: &[&str]) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=essential", &format!("--include={}", packages.join(",")), RELEASE]);
    output(command.arg(root).args(sources()?)).map(drop)
}

fn sources() -> Result<Vec<PathBuf>> {
    let list = Path::new(APT).join("sources.list.d");
    let listed = std::fs::read_dir(&list).map_err(Trouble::with(list.display().to_string()))?;
    let of_apt = |path: &PathBuf| path.extension().is_some_and(|end| end == "list" || end == "sources");
    let main = [Path::new(APT).join("sources.list")].into_iter().filter(|file| file.exists());
    Ok(main.chain(listed.flatten().map(|entry| entry.path()).filter(of_apt)).collect())
}

/// A chore of the workspace; what it printed last is a file.
pub fn chore(words: &[&str]) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(checkout()).args(["run", "--quiet", "--package", "xtask", "--"]).args(words);
    let told = output(&mut command)?;
    told.lines()
        .last()
        .map(PathBuf::from)
        .ok_or_else(|| Trouble(format!("{} names no file", words.join(" "))))
}

/// The Debian package of the release build as it is, made once for all that want it.
pub fn package() -> Result<&'static Path> {
    static MADE: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let made = MADE.get_or_init(|| chore(&["deb", "--as-built"]).map_err(|trouble| trouble.0));
    made.as_deref().map_err(|trouble| Trouble(trouble.clone()))
}
