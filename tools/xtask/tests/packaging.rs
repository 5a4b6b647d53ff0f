//! What packages bring, looked at by foreign programs: the systemd unit, the scripts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::process::Command;

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
