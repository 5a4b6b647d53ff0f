//! What packages bring, looked at by foreign programs: the systemd unit, the scripts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn packaging(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(file)
}

/// What systemd says of a unit without running it.
fn exposure(unit: &PathBuf) -> f64 {
    let mut command = Command::new("systemd-analyze");
    let told = command.args(["security", "--offline=true", "--no-pager"]).arg(unit).output().unwrap();
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let line = text
        .lines()
        .find(|line| line.contains("Overall exposure level"))
        .unwrap_or_else(|| panic!("{told:?}"));
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn systemd_finds_the_exposure_of_the_unit_below_two_and_that_of_a_bare_one_high() {
    let found = exposure(&packaging("vtld.service"));
    assert!(found < 2.0, "{found}");
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare.service");
    std::fs::write(&bare, "[Service]\nExecStart=/usr/bin/vtld\n").unwrap();
    assert!(exposure(&bare) > 8.0);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(packaging("vtld.service")).unwrap();
    // The program and its page are not installed where this runs.
    let unit = folder.path().join("vtld.service");
    std::fs::write(
        &unit,
        text.replace("/usr/bin/vtld", "/bin/true").replace("Documentation=man:vtld(8)\n", ""),
    )
    .unwrap();
    let told = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("vtld.service")).collect();
    assert!(ours.is_empty(), "{said}");
}

#[test]
fn the_scripts_of_the_package_are_scripts_that_dash_can_read() {
    for script in ["postinst", "prerm", "postrm"] {
        let told = Command::new("dash").arg("-n").arg(packaging("debian").join(script)).output().unwrap();
        assert!(told.status.success(), "{script}: {told:?}");
    }
}

/// The script that runs after an installation as it is, but for its paths and its patience, among commands that are made up.
struct Installing {
    folder: tempfile::TempDir,
}

impl Installing {
    /// Nothing is found to do, and no server runs.
    fn new() -> Self {
        let installing = Self { folder: tempfile::tempdir().unwrap() };
        let here = installing.folder.path().display().to_string();
        std::fs::create_dir(installing.bin()).unwrap();
        let text = std::fs::read_to_string(packaging("debian").join("postinst")).unwrap();
        let changes = [
            ("/run/systemd/system", here.clone()),
            ("/var/lib/vtl", here.clone()),
            ("/usr/bin/vtld", format!("{here}/bin/vtld")),
            ("timeout 90 ", "timeout 1 ".to_owned()),
            ("timeout -k 5 60 ", "timeout -k 1 1 ".to_owned()),
            ("left=70", "left=4".to_owned()),
        ];
        let text = changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(*from), "{from}");
            text.replace(*from, to)
        });
        std::fs::write(installing.script(), text).unwrap();
        for command in ["getent", "dpkg-statoverride", "deb-systemd-helper", "systemctl"] {
            installing.make(command, "");
        }
        installing.make("deb-systemd-invoke", "");
        installing
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn script(&self) -> PathBuf {
        self.folder.path().join("postinst")
    }

    /// A command that notes its words, and then does this.
    fn make(&self, command: &str, does: &str) {
        let path = self.bin().join(command);
        std::fs::write(&path, format!("#!/bin/sh\necho \"$*\" >>\"$0.asked\"\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What all commands were asked, but the new program itself.
    fn command_lines(&self) -> String {
        let all = std::fs::read_dir(self.bin()).unwrap().map(|entry| entry.unwrap().path());
        let asked = all.filter(|path| path.extension().is_some_and(|end| end == "asked"));
        asked
            .filter(|path| !path.ends_with("vtld.asked"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    /// What a command was asked, a line each time.
    fn asked(&self, command: &str) -> String {
        std::fs::read_to_string(self.bin().join(format!("{command}.asked"))).unwrap_or_default()
    }

    /// What the script says, after this version; it succeeds.
    #[track_caller]
    fn configure(&self, old: &str) -> String {
        let mut script = Command::new("dash");
        script.arg(self.script()).args(["configure", old]);
        script.env("PATH", format!("{}:/usr/bin:/bin", self.bin().display()));
        // Whoever types brings a locale that is not made here.
        let ran = script.env("LC_ALL", "xx_XX.UTF-8").output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stderr).unwrap()
    }

    /// A server of before runs, and the new program does this.
    fn upgrading(new_one_does: &str) -> (Self, Old) {
        let installing = Self::new();
        let mut old = Command::new("/bin/dash");
        old.args(["-c", "read nothing", "vtld"]).args(OLD_WORDS).stdin(Stdio::piped());
        let old = Old(old.env_clear().envs(OLD_ENVIRONMENT).spawn().unwrap());
        installing.make("systemctl", &format!("[ \"$1\" != show ] || echo {}", old.0.id()));
        // Nobody but root can become another.
        installing.make("setpriv", "while [ \"${1#--}\" != \"$1\" ]; do shift; done\nexec \"$@\"");
        for seen in ["env", "perl", "xargs"] {
            installing.make(seen, &format!("exec /usr/bin/{seen} \"$@\""));
        }
        let tells =
            "echo \"$OF_A_DROP_IN, ${LD_OF_IT-none}, ${GCONV_PATH-none}, $(env | grep -c 'no name')\"";
        installing.make("vtld", &format!("{tells} >>\"$0.asked\"\n{new_one_does}"));
        (installing, old)
    }
}

/// What the process of before was started with.
const OLD_WORDS: [&str; 6] = [
    "--config",
    "/etc/vtl/vtl.toml",
    "--write-manual",
    "/made-up",
    "--set=log.level=debug",
    "--unseal-secrets",
];
/// A server that is taken over can write what it likes there.
const OLD_ENVIRONMENT: [(&str, &str); 4] = [
    ("OF_A_DROP_IN", "a secret"),
    ("LD_OF_IT", "of the loader"),
    ("GCONV_PATH", "/made-up"),
    ("no name", "for a key"),
];

/// A process that is told to be the server; it ends with this value.
struct Old(Child);

impl Drop for Old {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_server_that_never_comes_up_holds_up_no_installation() {
    let installing = Installing::new();
    installing.make("deb-systemd-invoke", "exec sleep 60");
    let begun = Instant::now();
    for old in ["", "0.1.0"] {
        installing.configure(old);
    }
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    assert_eq!(installing.asked("deb-systemd-invoke"), "start vtld.service\nrestart vtld.service\n");
}

#[test]
fn an_upgrade_asks_the_new_program_as_the_old_one_was_started_and_then_starts_it_anew() {
    let (installing, _old) = Installing::upgrading("");
    assert_eq!(installing.configure("0.1.0"), "");
    assert_eq!(
        installing.asked("vtld"),
        "--config /etc/vtl/vtl.toml --set=log.level=debug --check\na secret, none, none, 0\n"
    );
    let us = std::fs::metadata("/proc/self").unwrap();
    let as_whom = format!("--reuid={} --regid={} --", us.uid(), us.gid());
    assert!(installing.asked("setpriv").starts_with(&as_whom), "{}", installing.asked("setpriv"));
    let without = " --no-new-privs --bounding-set=-all --inh-caps=-all perl ";
    assert!(installing.asked("setpriv").contains(without), "{}", installing.asked("setpriv"));
    assert_eq!(installing.asked("deb-systemd-invoke"), "restart vtld.service\n");
}

#[test]
fn an_upgrade_asks_the_new_program_in_the_groups_that_the_old_one_has() {
    for (groups, word) in
        [("4 112 ", " --groups=4,112 "), ("112 ", " --groups=112 "), (" ", " --clear-groups ")]
    {
        let (installing, _old) = Installing::upgrading("");
        let status = installing.folder.path().join("status");
        std::fs::write(&status, format!("Uid:\t7\t8\t9\t10\nGid:\t7\t8\t9\t10\nGroups:\t{groups}\n"))
            .unwrap();
        let text = std::fs::read_to_string(installing.script()).unwrap();
        let text = text.replace("/proc/$1/status", &status.display().to_string());
        std::fs::write(installing.script(), text).unwrap();
        installing.configure("0.1.0");
        let asked = installing.asked("setpriv");
        assert!(asked.starts_with("--reuid=8 --regid=8 ") && asked.contains(word), "{asked}");
    }
}

#[test]
fn an_upgrade_shows_nothing_of_the_environment_of_the_old_server_on_a_command_line() {
    let (installing, _old) = Installing::upgrading("");
    installing.configure("0.1.0");
    assert!(installing.asked("vtld").contains("a secret"));
    let lines = installing.command_lines();
    assert!(lines.contains("restart vtld.service") && !lines.contains("a secret"), "{lines}");
}

#[test]
fn an_upgrade_ends_also_when_the_question_cannot_be_ended_or_its_output_stays_open() {
    let hangs = "exec /bin/sleep 30";
    let stays_open = "setsid /bin/sleep 30 & exit 1";
    for (timeout, new_one_does) in [(Some(hangs), ""), (None, stays_open)] {
        let (installing, _old) = Installing::upgrading(new_one_does);
        // Who waits for a process that hangs in a disk does not come back.
        timeout.into_iter().for_each(|does| installing.make("timeout", does));
        let begun = Instant::now();
        let said = installing.configure("0.1.0");
        assert!(begun.elapsed() < Duration::from_secs(20), "{new_one_does}: {:?}", begun.elapsed());
        assert!(said.contains("NOT started anew"), "{said}");
        assert_eq!(installing.asked("deb-systemd-invoke"), "", "{new_one_does}");
    }
}

#[test]
fn an_upgrade_leaves_the_old_server_alone_where_the_new_program_would_not_start() {
    let refuses = "echo 'vtld: vtl.toml:3: log.colour: there is no such key' >&2; exit 1";
    let hangs = "echo 'vtld: a warning' >&2; exec sleep 60";
    let cases = [
        (refuses, "log.colour", false),
        (hangs, "a warning", true),
        ("exit 3", "ended with 3, and said nothing", false),
    ];
    for (new_one_does, told, is_hang) in cases {
        let (installing, mut old) = Installing::upgrading(new_one_does);
        let said = installing.configure("0.1.0");
        assert_eq!(installing.asked("deb-systemd-invoke"), "", "{new_one_does}");
        assert!(old.0.try_wait().unwrap().is_none(), "{new_one_does}");
        for part in [told, "NOT started anew", "systemctl restart vtld"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(said.contains("has not ended"), is_hang, "{said}");
        assert!(!said.contains("a secret") && !said.contains("locale"), "{said}");
    }
}
