//! The packages in roots of their own: the Debian package in a fresh Debian, the static programs where nothing else is.
//!
//! Needs root, mmdebstrap and the machine's apt sources. The Debian package is made of the release build as it is; the static programs are
//! compiled anew, which takes minutes: `cargo xtask test --long` does it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use integration::debian;

/// Exposure of the unit as systemd counts it, in tenths; 20 is 2.0.
const MOST_EXPOSURE: &str = "20";

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
        if let Some(rest) = line.strip_prefix("API and web address: ") {
            api = rest.split(' ').next().map(str::to_owned);
        }
        if line.starts_with("ready") {
            return (running, api.unwrap());
        }
    }
    panic!("it ended before it was ready");
}

const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--api", "127.0.0.1:0"];

#[test]
#[ignore = "compiles everything anew, for minutes: cargo xtask test --long runs it"]
fn static_programs_run_in_an_empty_root() {
    let tarball = debian::chore(&["tarball"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    good(Command::new("tar").arg("-xzf").arg(&tarball).arg("-C").arg(root).arg("--strip-components=1"));
    for name in ["bin/vtld", "bin/vtl", "bin/impexp", "bin/vtl-decode", "bin/vtl-inspect"] {
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

/// The Debian package of the release build.
fn deb() -> &'static Path {
    debian::package().unwrap()
}

/// The package as the next version would be.
fn next_version(deb: &Path, folder: &Path) -> PathBuf {
    let (tree, next) = (folder.join("next"), folder.join("next.deb"));
    good(Command::new("dpkg-deb").arg("-R").arg(deb).arg(&tree));
    let control = fs::read_to_string(tree.join("DEBIAN/control")).unwrap();
    let version = control.lines().find(|line| line.starts_with("Version: ")).unwrap();
    fs::write(tree.join("DEBIAN/control"), control.replace(version, &format!("{version}+next"))).unwrap();
    good(Command::new("dpkg-deb").args(["-Znone", "-b"]).arg(&tree).arg(&next));
    next
}

fn modes(path: &Path) -> (u32, u32, u32) {
    let found = fs::metadata(path).unwrap();
    (found.permissions().mode() & 0o7777, found.uid(), found.gid())
}

fn id_of(root: &Path, file: &str) -> u32 {
    let table = fs::read_to_string(root.join(file)).unwrap();
    let row = table.lines().find(|line| line.starts_with("vtl:")).unwrap_or_else(|| panic!("{table}"));
    row.split(':').nth(2).unwrap().parse().unwrap()
}

#[test]
#[ignore = "reads every page for its spelling: cargo xtask test --long runs it"]
fn lintian_has_nothing_to_say_about_the_debian_package() {
    let deb = deb();
    let told = good(Command::new("lintian").args(["--fail-on", "error,warning", "--allow-root"]).arg(deb));
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), "");
}

/// A unit that is enabled, that systemd understands, and that it finds closed enough.
fn expect_a_closed_unit(root: &Path) {
    let of_root = format!("--root={}", root.display());
    let security = ["security", "--offline=true", "--threshold", MOST_EXPOSURE, "vtld.service"];
    good(Command::new("systemd-analyze").arg(&of_root).args(security));
    let wanted = root.join("etc/systemd/system/multi-user.target.wants/vtld.service");
    assert_eq!(
        fs::read_link(wanted).unwrap(),
        Path::new("/lib/systemd/system/vtld.service"),
        "it is enabled"
    );
}

/// The server as the unit starts it, by hand: the same user, the same words, and ports that are free.
fn as_the_unit(root: &Path) -> (Running, String) {
    let unit = fs::read_to_string(root.join("lib/systemd/system/vtld.service")).unwrap();
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    let user = format!("--userspec={}:{}", value("User="), value("Group="));
    let exec = value("ExecStart=");
    let mut command = Command::new("chroot");
    command.arg(user).arg(root).args(exec.split(' ')).args(LISTEN);
    start(&mut command)
}

#[test]
fn the_debian_package_is_installed_used_upgraded_removed_and_purged_without_touching_tapes() {
    let deb = deb();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    debian::fresh(&root, &["adduser"]).unwrap();
    fs::copy(deb, root.join("vtl.deb")).unwrap();
    good(&mut in_root(&root, &["dpkg", "-i", "/vtl.deb"]));

    let (user, group) = (id_of(&root, "etc/passwd"), id_of(&root, "etc/group"));
    assert_eq!(modes(&root.join("var/lib/vtl")), (0o700, user, group));
    assert_eq!(modes(&root.join("etc/vtl")), (0o750, 0, group));
    for page in [
        "man8/vtld.8.gz",
        "man1/vtl.1.gz",
        "man1/vtl-cartridge-move.1.gz",
        "man1/vtl-lab-up.1.gz",
        "man1/impexp.1.gz",
        "man1/vtl-decode.1.gz",
        "man1/vtl-inspect.1.gz",
    ] {
        assert!(root.join("usr/share/man").join(page).exists(), "{page}");
    }
    expect_a_closed_unit(&root);

    let (running, api) = as_the_unit(&root);
    let vtl = |api: &str, words: &[&str]| {
        let told = good(in_root(&root, &["vtl", "--api", api]).args(words));
        String::from_utf8(told.stdout).unwrap()
    };
    assert!(vtl(&api, &["system", "status"]).contains("state: ok"));
    assert!(vtl(&api, &["cartridge", "ls"]).contains("VTL010L8"));
    vtl(&api, &["cartridge", "create", "ABC123L8", "--size", "100g"]);
    assert!(vtl(&api, &["library", "show", "lib0"]).contains("ABC123L8"));
    vtl(&api, &["library", "set", "lib0", "drives=4"]);
    vtl(&api, &["cartridge", "move", "ABC123L8", "--to", "drive:3"]);
    assert!(vtl(&api, &["drive", "ls"]).contains("ABC123L8"));
    let inventory = modes(&root.join("var/lib/vtl/inventory.db"));
    assert_eq!((inventory.0 & 0o077, inventory.1), (0, user), "for the server only");
    drop(running);

    // What an operator has changed stays over an upgrade, and so does the state; then it is said where the tapes are.
    let file = root.join("etc/vtl/vtl.toml");
    let changed = format!("{}\nlog.level = \"debug\"\n", fs::read_to_string(&file).unwrap());
    fs::write(&file, &changed).unwrap();
    fs::copy(next_version(deb, folder.path()), root.join("next.deb")).unwrap();
    good(&mut in_root(&root, &["dpkg", "-i", "/next.deb"]));
    assert_eq!(fs::read_to_string(&file).unwrap(), changed);
    let (running, api) = as_the_unit(&root);
    assert!(vtl(&api, &["cartridge", "show", "ABC123L8"]).contains("107374182400"));
    drop(running);

    good(&mut in_root(&root, &["dpkg", "--remove", "vtl"]));
    assert!(file.exists() && !root.join("usr/bin/vtld").exists());
    let purged = good(&mut in_root(&root, &["dpkg", "--purge", "vtl"]));
    let said = String::from_utf8_lossy(&purged.stderr).into_owned();
    assert!(said.contains("the tapes and their inventory stay in /var/lib/vtl"), "{said}");
    assert!(!file.exists() && !root.join("etc/systemd/system/multi-user.target.wants/vtld.service").exists());
    assert_eq!(modes(&root.join("var/lib/vtl/inventory.db")), inventory);
    assert_eq!(id_of(&root, "etc/passwd"), user, "their owner");
}

/// A Debian whose systemd runs; it ends with this value.
struct Booted {
    outside: Child,
    group: String,
}

impl Drop for Booted {
    fn drop(&mut self) {
        drop(self.outside.kill());
        drop(self.outside.wait());
        let group = &self.group;
        let remove = format!(
            "top=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)/{group}; for i in 1 2 3 4 5 6 7 8 9; do \
             find $top -depth -type d -exec rmdir {{}} + 2>/dev/null; test -e $top || break; sleep 0.2; done"
        );
        drop(Command::new("sh").args(["-c", &remove]).status());
    }
}

impl Booted {
    fn boot(root: &Path) -> Self {
        let group = format!("vtl-package-{}", std::process::id());
        let mut command = Command::new(integration::here().join("guest/boot.sh"));
        let outside = command.arg(root).arg(&group).stdin(Stdio::null()).spawn().unwrap();
        Self { outside, group }
    }

    /// Its process 1, when there is one.
    fn init(&self) -> Option<String> {
        let pid = self.outside.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }

    /// Whether it succeeds in there, and what it says.
    fn run(&self, words: &[&str]) -> (bool, String) {
        let Some(init) = self.init() else { return (false, String::new()) };
        let mut command = Command::new("nsenter");
        command.args(["-t", &init, "-m", "-p", "-C", "-n", "-r", "-w"]).args(words);
        let done = command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).output().unwrap();
        let said = [done.stdout, done.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (done.status.success(), said.concat())
    }

    #[track_caller]
    fn good(&self, words: &[&str]) -> String {
        let (good, said) = self.run(words);
        assert!(good, "{words:?}: {said}");
        said
    }

    /// Waits until this succeeds; what it says then.
    #[track_caller]
    fn eventually(&self, words: &[&str]) -> String {
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let (good, said) = self.run(words);
            if good {
                return said;
            }
            if Instant::now() > end {
                let (_, state) = self.run(&["systemctl", "status", "--no-pager", "-l", "vtld"]);
                panic!("{words:?}: {said}\n{state}");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn main_pid(&self) -> String {
        self.good(&["systemctl", "show", "-P", "MainPID", "vtld"]).trim().to_owned()
    }
}

#[test]
#[ignore = "boots a Debian of its own: cargo xtask test --long runs it"]
fn under_systemd_the_server_starts_reloads_goes_over_an_upgrade_or_on_without_it_and_stops_when_removed() {
    let deb = deb();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    debian::fresh(&root, &["adduser", "systemd", "systemd-sysv"]).unwrap();
    fs::copy(deb, root.join("vtl.deb")).unwrap();
    fs::copy(next_version(deb, folder.path()), root.join("next.deb")).unwrap();
    good(&mut in_root(&root, &["dpkg", "-i", "/vtl.deb"]));

    let debian = Booted::boot(&root);
    assert!(debian.eventually(&["vtl", "system", "status"]).contains("state: ok"));
    let first = debian.main_pid();
    let status = debian.good(&["cat", &format!("/proc/{first}/status")]);
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    debian.good(&["vtl", "cartridge", "create", "ABC123L8", "--size", "100g"]);
    debian.good(&["systemctl", "reload", "vtld"]);
    assert_eq!(debian.main_pid(), first, "a reload is no restart");

    // What the new program would not start with leaves the old one alone.
    let file = root.join("etc/vtl/vtl.toml");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{right}\nlog.colour = \"red\"\n")).unwrap();
    let said = debian.good(&["dpkg", "-i", "/next.deb"]);
    assert!(said.contains("log.colour") && said.contains("systemctl restart vtld"), "{said}");
    assert_eq!(debian.main_pid(), first, "the old program runs");
    assert!(debian.good(&["vtl", "cartridge", "show", "ABC123L8"]).contains("107374182400"));
    fs::write(&file, right).unwrap();

    let said = debian.good(&["dpkg", "-i", "/next.deb"]);
    assert!(!said.contains("NOT started anew"), "{said}");
    assert!(debian.eventually(&["vtl", "cartridge", "show", "ABC123L8"]).contains("107374182400"));
    assert_ne!(debian.main_pid(), first, "the new program runs");
    debian.good(&["dpkg", "--remove", "vtl"]);
    assert!(!debian.run(&["systemctl", "is-active", "vtld"]).0);
    assert!(debian.good(&["ls", "/var/lib/vtl"]).contains("inventory.db"));
}
