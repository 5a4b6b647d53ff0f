//! What packages bring, looked at by foreign programs: the systemd unit, the scripts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
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

/// The script as it is, but for its paths and its patience, among commands that find nothing to do.
#[test]
fn a_server_that_never_comes_up_holds_up_no_installation() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(packaging("debian").join("postinst")).unwrap();
    let here = folder.path().display().to_string();
    let text = text.replace("/run/systemd/system", &here).replace("/var/lib/vtl", &here);
    let script = folder.path().join("postinst");
    std::fs::write(&script, text.replace("timeout 90 ", "timeout 1 ")).unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for command in ["getent", "dpkg-statoverride", "deb-systemd-helper", "systemctl", "deb-systemd-invoke"] {
        let does = if command == "deb-systemd-invoke" { "echo $1 $2 >> $0.asked; exec sleep 60" } else { "" };
        let path = bin.join(command);
        std::fs::write(&path, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let paths = format!("{}:/usr/bin:/bin", bin.display());
    let begun = Instant::now();
    for old in ["", "0.1.0"] {
        let ran =
            Command::new("dash").arg(&script).args(["configure", old]).env("PATH", &paths).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(50), "{:?}", begun.elapsed());
    let asked = std::fs::read_to_string(bin.join("deb-systemd-invoke.asked")).unwrap();
    assert_eq!(asked, "start vtld.service\nrestart vtld.service\n");
}
