//! Packages: `cargo xtask deb` and `cargo xtask tarball`.
//!
//! The Debian package is put together here and packed by `dpkg-deb`, which every Debian has: what is in it, and what its scripts do, stands in
//! `packaging/` and in the tables below, and no tool of a registry decides about a conffile. The tarball has the same programs linked
//! statically (`-C target-feature=+crt-static`): they run where nothing else is, but look up host names only where the system has glibc's NSS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

const PROGRAMS: [&str; 5] = ["vtld", "vtl", "impexp", "vtl-decode", "vtl-inspect"];
/// Packages of cargo that they come from; tests run the same ones.
pub const SHIPPED: [&str; 8] = ["-p", "vtld", "-p", "vtl-client", "-p", "vtl-decode", "-p", "vtl-inspect"];
/// How programs are built that are given away: see `profile.dist` in `Cargo.toml`. Tests and chores are not.
const BUILD: [&str; 3] = ["build", "--profile", "dist"];
/// Where cargo puts them, and where it puts those that tests run.
const BUILT: &str = "dist";
const BUILT_FOR_TESTS: &str = "release";
/// Without glibc's loader randomness would be looked for in files of /dev, which an empty root does not have: the system call needs none.
const STATIC_FLAGS: &str = "-C target-feature=+crt-static --cfg getrandom_backend=\"linux_getrandom\"";
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// How each program is told to write its manual.
const MANUALS: [(&str, &str); 5] = [
    ("vtld", "--write-manual"),
    ("vtl", "write-manual"),
    ("impexp", "--write-manual"),
    ("vtl-decode", "write-manual"),
    ("vtl-inspect", "--write-manual"),
];
/// File of the package, where it comes from, its mode.
const FILES: &[(&str, &str, u32)] = &[
    ("etc/vtl/vtl.toml", "packaging/vtl.toml", 0o644),
    ("lib/systemd/system/vtld.service", "packaging/vtld.service", 0o644),
    ("usr/share/doc/vtl/copyright", "packaging/debian/copyright", 0o644),
    ("usr/share/doc/vtl/examples/grafana-dashboard.json", "packaging/grafana/vtl.json", 0o644),
];
/// Folders of `docs`; the first is itself.
const DOCUMENTS: [&str; 3] = ["", "formats", "initiators"];
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const MAINTAINER: &str = "The vtl project <vtl@example.invalid>";

/// What the Debian package is made of, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deb {
    /// For operators: built now, and packed small.
    Release,
    /// For tests: the programs of the last release build as they are, packed quickly.
    AsBuilt,
}

impl Deb {
    fn packing(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["-Zxz"],
            Self::AsBuilt => &["-Zgzip", "-z1"],
        }
    }

    /// The folder of its programs. Tests of a build that lies elsewhere name that.
    fn built(self, target: &Path) -> PathBuf {
        match self {
            Self::Release => target.join(BUILT),
            Self::AsBuilt => {
                std::env::var_os("VTL_BIN_DIR").map_or_else(|| target.join(BUILT_FOR_TESTS), PathBuf::from)
            }
        }
    }
}

/// Builds the Debian package; the text says where it is.
pub fn deb(what: Deb) -> Outcome<String> {
    if what == Deb::Release {
        cargo(&[&BUILD[..], &SHIPPED].concat(), None)?;
    }
    let target = target_folder();
    let root = target.join("package/deb");
    let built = what.built(&target);
    fresh(&root)?;
    programs(&built, &root.join("usr/bin"))?;
    manuals(&built, &target.join("package/manual"), &root)?;
    for (to, from, mode) in FILES {
        copy(Path::new(from), &root.join(to), *mode)?;
    }
    documentation(&root.join("usr/share/doc/vtl"))?;
    let version = version()?;
    control(&root, &version)?;
    let file = target.join("package").join(format!("vtl_{version}_{}.deb", architecture()?));
    let folder = root.to_string_lossy().into_owned();
    let to = file.to_string_lossy();
    run("dpkg-deb", &[what.packing(), &["--root-owner-group", "--build", &folder, &to]].concat())?;
    Ok(file.display().to_string())
}

/// Builds the static tarball; the text says where it is.
pub fn tarball() -> Outcome<String> {
    cargo(&[&BUILD[..], &SHIPPED, &["--target", TARGET]].concat(), Some(STATIC_FLAGS))?;
    let target = target_folder();
    let built = target.join(TARGET).join(BUILT);
    let name = format!("vtl-{}-{TARGET}", version()?);
    let root = target.join("package").join(&name);
    fresh(&root)?;
    programs(&built, &root.join("bin"))?;
    manuals(&built, &target.join("package/manual-static"), &root.join("share-root"))?;
    rename(&root.join("share-root/usr/share"), &root.join("share"))?;
    fs::remove_dir_all(root.join("share-root")).map_err(|cause| cause.to_string())?;
    for (to, from) in [
        ("vtl.toml", "packaging/vtl.toml"),
        ("vtld.service", "packaging/vtld.service"),
        ("LICENSE", "LICENSE"),
        ("README.md", "README.md"),
    ] {
        copy(Path::new(from), &root.join(to), 0o644)?;
    }
    let file = target.join("package").join(format!("{name}.tar.gz"));
    let parent = target.join("package").to_string_lossy().into_owned();
    run(
        "tar",
        &[
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--sort=name",
            "-C",
            &parent,
            "-czf",
            &file.to_string_lossy(),
            &name,
        ],
    )?;
    Ok(file.display().to_string())
}

/// The programs without what only a debugger wants.
fn programs(from: &Path, to: &Path) -> Outcome<()> {
    for program in PROGRAMS {
        let file = to.join(program);
        copy(&from.join(program), &file, 0o755)?;
        run("strip", &["--strip-unneeded", "--remove-section=.comment", &file.to_string_lossy()])?;
    }
    Ok(())
}

/// Manual pages and completions, as the programs write them, into the places where Debian looks.
fn manuals(programs: &Path, scratch: &Path, root: &Path) -> Outcome<()> {
    fresh(scratch)?;
    for (program, word) in MANUALS {
        run(&programs.join(program).to_string_lossy(), &[word, &scratch.to_string_lossy()])?;
    }
    for page in files(&scratch.join("man"))? {
        let section =
            page.extension().map_or_else(String::new, |section| section.to_string_lossy().into_owned());
        let to = root.join(format!("usr/share/man/man{section}")).join(page.file_name().unwrap_or_default());
        copy(&page, &to, 0o644)?;
        run("gzip", &["-9nf", &to.to_string_lossy()])?;
    }
    for (shell, place) in [
        ("bash", "usr/share/bash-completion/completions"),
        ("zsh", "usr/share/zsh/vendor-completions"),
        ("fish", "usr/share/fish/vendor_completions.d"),
    ] {
        for file in files(&scratch.join(shell))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // bash finds a file by the command's own name.
            let name = name.strip_suffix(".bash").unwrap_or(&name);
            copy(&file, &root.join(place).join(name), 0o644)?;
        }
    }
    Ok(())
}

/// The pages of `docs`, in its folders since they point to each other, and a changelog.
fn documentation(to: &Path) -> Outcome<()> {
    for folder in DOCUMENTS {
        for page in files(&Path::new("docs").join(folder))? {
            copy(&page, &to.join(folder).join(page.file_name().unwrap_or_default()), 0o644)?;
        }
    }
    let changelog = to.join("changelog");
    let text = format!(
        "vtl ({}) unstable; urgency=medium\n\n  * See the project's history.\n\n -- {MAINTAINER}  Thu, 01 Jan 2026 00:00:00 +0000\n",
        version()?
    );
    write(&changelog, &text, 0o644)?;
    run("gzip", &["-9nf", &changelog.to_string_lossy()]).map(drop)
}

fn control(root: &Path, version: &str) -> Outcome<()> {
    let to = root.join("DEBIAN");
    for script in SCRIPTS {
        copy(&Path::new("packaging/debian").join(script), &to.join(script), 0o755)?;
    }
    write(&to.join("conffiles"), "/etc/vtl/vtl.toml\n", 0o644)?;
    let text = format!(
        "Package: vtl\nVersion: {version}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nInstalled-Size: {}\nDepends: {}, adduser\n\
         Recommends: ca-certificates\nSuggests: rclone, open-iscsi\nSection: admin\nPriority: optional\nHomepage: https://example.invalid/vtl\n\
         Description: virtual tape library over iSCSI\n An LTO library with changer and drives, as backup software knows it, on\n \
         disks: each content is stored once, compressed, verified, and exported to\n object stores when it is wanted.\n",
        architecture()?,
        size_kib(root)?,
        libraries(root)?,
    );
    write(&to.join("control"), &text, 0o644)
}

/// What the programs are linked with, as Debian names it.
fn libraries(root: &Path) -> Outcome<String> {
    let scratch = root.with_file_name("shlibs");
    write(&scratch.join("debian/control"), "Source: vtl\n\nPackage: vtl\nArchitecture: any\n", 0o644)?;
    let files: Vec<String> =
        PROGRAMS.iter().map(|p| root.join("usr/bin").join(p).to_string_lossy().into_owned()).collect();
    let mut command = Command::new("dpkg-shlibdeps");
    command.current_dir(&scratch).arg("-O").args(files.iter().map(|file| format!("-e{file}")));
    let told = output(&mut command)?;
    let depends = told.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    depends.map(str::to_owned).ok_or_else(|| format!("dpkg-shlibdeps said: {told}"))
}

fn size_kib(root: &Path) -> Outcome<String> {
    let told = output(Command::new("du").args(["-sk", "--apparent-size"]).arg(root))?;
    Ok(told.split_whitespace().next().unwrap_or("0").to_owned())
}

fn architecture() -> Outcome<String> {
    output(Command::new("dpkg").arg("--print-architecture")).map(|text| text.trim().to_owned())
}

/// The workspace's.
fn version() -> Outcome<String> {
    let text = fs::read_to_string("Cargo.toml").map_err(|cause| format!("Cargo.toml: {cause}"))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("version = \""))
        .and_then(|rest| rest.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| "Cargo.toml names no version".to_owned())
}

fn target_folder() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::path::absolute(&folder).unwrap_or(folder)
}

fn cargo(words: &[&str], flags: Option<&str>) -> Outcome<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).stdin(Stdio::null());
    if let Some(flags) = flags {
        command.env("RUSTFLAGS", flags);
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo {}: {status}", words.join(" "))),
        Err(cause) => Err(format!("cargo: {cause}")),
    }
}

fn fresh(folder: &Path) -> Outcome<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|cause| format!("{}: {cause}", folder.display()))?;
    }
    make(folder)
}

/// Folders of a package are 0755, whatever the umask is.
fn make(folder: &Path) -> Outcome<()> {
    let failed = |cause: std::io::Error| format!("{}: {cause}", folder.display());
    let mut missing: Vec<&Path> = folder.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(folder).map_err(failed)?;
    missing.reverse();
    missing
        .iter()
        .try_for_each(|one| fs::set_permissions(one, fs::Permissions::from_mode(0o755)).map_err(failed))
}

fn copy(from: &Path, to: &Path, mode: u32) -> Outcome<()> {
    let bytes = fs::read(from).map_err(|cause| format!("{}: {cause}", from.display()))?;
    put(to, &bytes, mode)
}

fn write(to: &Path, text: &str, mode: u32) -> Outcome<()> {
    put(to, text.as_bytes(), mode)
}

fn put(to: &Path, bytes: &[u8], mode: u32) -> Outcome<()> {
    let failed = |cause: std::io::Error| format!("{}: {cause}", to.display());
    make(to.parent().unwrap_or(Path::new(".")))?;
    fs::write(to, bytes).map_err(failed)?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn rename(from: &Path, to: &Path) -> Outcome<()> {
    fs::rename(from, to).map_err(|cause| format!("{}: {cause}", from.display()))
}

/// The plain files in a folder, in the order of their names.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |cause: std::io::Error| format!("{}: {cause}", folder.display());
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut found: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    found.sort();
    Ok(found)
}

fn run(program: &str, words: &[&str]) -> Outcome<String> {
    output(Command::new(program).args(words))
}

fn output(command: &mut Command) -> Outcome<String> {
    let done = command.stdin(Stdio::null()).output().map_err(|cause| format!("{command:?}: {cause}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!("{command:?}: {}\n{}", done.status, String::from_utf8_lossy(&done.stderr))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_folder_of_the_documents_is_packed() {
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let folders: Vec<String> = std::fs::read_dir(docs)
            .expect("docs")
            .map(|entry| entry.expect("entry"))
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().expect("name"))
            .collect();
        assert!(folders.len() >= 2, "{folders:?}");
        for folder in folders {
            assert!(super::DOCUMENTS.contains(&folder.as_str()), "{folder}");
        }
    }
}
