//! The packages in roots of their own: the Debian package in a fresh Debian, the static programs where nothing else is.
//!
//! Needs root, mmdebstrap and the machine's apt sources; both take minutes and are run by hand:
//! `cargo test -p integration --test package -- --ignored`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const USER_OF_THE_PACKAGE: &str = "vtl";

fn workspace() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// A chore of the workspace; what it printed last is a file.
fn chore(words: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(["run", "--quiet", "--package", "xtask", "--"]).args(words);
    let done = good(&mut command);
    PathBuf::from(String::from_utf8(done.stdout).unwrap().lines().last().unwrap())
}

#[track_caller]
fn good(command: &mut Command) -> Output {
    let done = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        done.status.success(),
        "{command:?}: {}\n{}{}",
        done.status,
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    done
}

/// A daemon that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts it and waits until it is ready; the address of its API.
fn start(command: &mut Command) -> (Running, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let running = Running(child);
    let mut api = None;
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("http://") {
            api = rest.split(' ').next().map(|address| format!("http://{address}"));
        }
        if line.starts_with("ready") {
            return (running, api.unwrap());
        }
    }
    panic!("it ended before it was ready");
}

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];

#[test]
#[ignore = "the static build compiles everything anew: cargo test -p integration --test package -- --ignored"]
fn static_programs_run_in_an_empty_root() {
    let tarball = chore(&["tarball", "--debug"]);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    good(Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(root).arg("--strip-components=1"));
    for name in ["bin/vtld", "bin/vtl", "bin/impexp", "bin/vtl-decode"] {
        let told = good(Command::new("file").arg(root.join(name)));
        let told = String::from_utf8(told.stdout).unwrap();
        assert!(told.contains("static"), "{told}");
    }
    fs::create_dir(root.join("tmp")).unwrap();
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/vtld", "--state", "/state"]).args(LISTEN);
    let (_running, api) = start(&mut command);
    let listed = good(Command::new("chroot").arg(root).args([
        "/bin/vtl",
        "--api",
        &api,
        "--state",
        "/state",
        "--json",
        "cartridge",
        "ls",
    ]));
    assert!(String::from_utf8(listed.stdout).unwrap().contains("VTL001L8"));
    let jobs = good(Command::new("chroot").arg(root).args([
        "/bin/impexp",
        "--api",
        &api,
        "--state",
        "/state",
        "--json",
        "-l",
    ]));
    assert_eq!(String::from_utf8(jobs.stdout).unwrap().trim(), "[]");
}

fn in_root(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root).args(words).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

#[test]
#[ignore = "a fresh Debian takes more than a minute: cargo test -p integration --test package -- --ignored"]
fn the_debian_package_is_installed_used_upgraded_and_purged_without_touching_tapes() {
    let deb = chore(&["deb", "--debug"]);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    // The release of this machine, from its own sources.
    let sources = good(
        Command::new("sh")
            .args(["-c", "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null; true"]),
    );
    assert!(!sources.stdout.is_empty(), "this machine has no apt sources");
    good(
        Command::new("mmdebstrap")
            .args(["--variant=minbase", "--include=adduser,ca-certificates", "bookworm"])
            .arg(&root),
    );
    fs::copy(&deb, root.join("vtl.deb")).unwrap();
    good(&mut in_root(&root, &["dpkg", "-i", "/vtl.deb"]));

    let state = fs::metadata(root.join("var/lib/vtl")).unwrap();
    assert_eq!(state.permissions().mode() & 0o7777, 0o700);
    let config = fs::metadata(root.join("etc/vtl")).unwrap();
    assert_eq!((config.permissions().mode() & 0o7777, config.uid(), config.gid()), (0o750, 0, state.gid()));
    let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
    assert!(passwd.lines().any(|line| line.starts_with("vtl:")), "{passwd}");
    for page in [
        "man8/vtld.8.gz",
        "man1/vtl.1.gz",
        "man1/vtl-cartridge-move.1.gz",
        "man1/impexp.1.gz",
        "man1/vtl-decode.1.gz",
    ] {
        assert!(root.join("usr/share/man").join(page).exists(), "{page}");
    }

    // By hand, as the unit starts it.
    let as_user = format!("--userspec={USER_OF_THE_PACKAGE}:{USER_OF_THE_PACKAGE}");
    let mut command = Command::new("chroot");
    command.arg(&as_user).arg(&root).args(["/usr/bin/vtld", "--config", "/etc/vtl/vtl.toml"]).args(LISTEN);
    let (running, api) = start(&mut command);
    let vtl = |words: &[&str]| {
        let told = good(in_root(&root, &["vtl", "--api", &api]).args(words));
        String::from_utf8(told.stdout).unwrap()
    };
    assert!(vtl(&["system", "status"]).contains("state: ok"));
    assert!(vtl(&["cartridge", "ls"]).contains("VTL010L8"));
    vtl(&["cartridge", "create", "ABC123L8", "--size", "100g"]);
    assert!(vtl(&["library", "show", "lib0"]).contains("ABC123L8"));
    vtl(&["library", "set", "lib0", "drives=4"]);
    vtl(&["cartridge", "move", "ABC123L8", "--to", "drive:3"]);
    assert!(vtl(&["drive", "ls"]).contains("ABC123L8"));
    drop(running);

    // What an operator has changed stays over an upgrade, and the tapes stay over everything.
    let file = root.join("etc/vtl/vtl.toml");
    let changed = format!("{}\nlog.level = \"debug\"\n", fs::read_to_string(&file).unwrap());
    fs::write(&file, &changed).unwrap();
    good(&mut in_root(&root, &["dpkg", "-i", "/vtl.deb"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    good(&mut in_root(&root, &["dpkg", "--remove", "vtl"]));
    assert!(file.exists() && !root.join("usr/bin/vtld").exists());
    let purged = good(&mut in_root(&root, &["dpkg", "--purge", "vtl"]));
    let said = String::from_utf8_lossy(&purged.stderr).into_owned();
    assert!(said.contains("/var/lib/vtl"), "{said}");
    assert!(!file.exists());
    assert!(root.join("var/lib/vtl/inventory.db").exists());
}
