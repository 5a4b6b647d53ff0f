//! Programs from registries that only tests need. They are built or installed once, into the target folder, where nothing else looks for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Fuzz targets of `tools/fuzz`.
const TARGETS: &[&str] = &[
    "pdu",
    "login_text",
    "cdb",
    "mode_select",
    "operations",
    "pack",
    "journal",
    "sealed",
    "index_table",
    "cartridge",
    "bundle",
];
/// How long each target runs: long enough in continuous integration to find what breaks at once.
const SECONDS: u32 = 5;
/// With `--long`.
const LONG_SECONDS: u32 = 60;

/// Every fuzz target for a while. What it finds lies in `tools/fuzz/artifacts` and becomes a test of the crate concerned.
pub fn fuzz(long: bool) -> Outcome<String> {
    let tools = installed("cargo-fuzz")?;
    let seconds = if long { LONG_SECONDS } else { SECONDS };
    for target in TARGETS {
        let [corpus, seeds] =
            ["corpus", "seeds"].map(|folder| root().join("tools/fuzz").join(folder).join(target));
        for folder in [&corpus, &seeds] {
            std::fs::create_dir_all(folder).map_err(|cause| format!("{}: {cause}", folder.display()))?;
        }
        let mut command = cargo(&tools);
        command
            // Coverage needs flags that the stable compiler has but does not offer.
            .env("RUSTC_BOOTSTRAP", "1")
            // No unsafe code is ours, so that an address sanitizer would only cost time.
            .args(["fuzz", "run", "--fuzz-dir", "tools/fuzz", "--sanitizer", "none", "--target-dir"])
            .arg(target_folder().join("fuzz"))
            .arg(target)
            // What is found goes to the first; real files are in the second.
            .args([corpus, seeds])
            .args(["--", "-verbosity=0"])
            .arg(format!("-max_total_time={seconds}"));
        run(command, &format!("fuzz target {target}"))?;
    }
    Ok(format!("{} targets, {seconds} s each, nothing found", TARGETS.len()))
}

/// Licences, bans and sources of everything in Cargo.lock, by `deny.toml`, and published advisories where their list can be had: it
/// comes from the network, and not from a package source. Building the tool takes minutes: so only with `--long`.
pub fn deny(long: bool) -> Outcome<String> {
    if !long {
        return Ok("not run: only with --long".to_owned());
    }
    let tools = installed("cargo-deny")?;
    let mut command = cargo(&tools);
    command.args(["deny", "--workspace", "check", "bans", "licenses", "sources"]);
    run(command, "cargo deny")?;
    let mut command = cargo(&tools);
    command.args(["deny", "--workspace", "check", "advisories"]);
    let output = command.output().map_err(|cause| format!("cargo deny: {cause}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    match advisories(output.status.success(), &said) {
        Advisories::Clean => {
            Ok("licences, advisories, bans and sources are as deny.toml wants them".to_owned())
        }
        Advisories::NotFetched => {
            Ok("licences, bans and sources are as deny.toml wants them; advisories skipped: \
                                      their list cannot be fetched here"
                .to_owned())
        }
        Advisories::Found => Err(format!("cargo deny, advisories: {}\n{said}", output.status)),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Advisories {
    Clean,
    NotFetched,
    Found,
}

fn advisories(success: bool, said: &str) -> Advisories {
    match (success, said.contains("failed to fetch advisory database")) {
        (true, _) => Advisories::Clean,
        (false, true) => Advisories::NotFetched,
        (false, false) => Advisories::Found,
    }
}

/// Builds a tool unless it is there; the folder that it is in.
fn installed(tool: &str) -> Outcome<PathBuf> {
    let root = target_folder().join("tools");
    let folder = root.join("bin");
    if !folder.join(tool).exists() {
        let mut command = cargo(&folder);
        // Optimizing it takes longer than it ever runs.
        command.args(["install", "--locked", "--debug", "--quiet", tool, "--root"]).arg(&root);
        run(command, &format!("installing {tool}"))?;
    }
    Ok(folder)
}

/// Cargo at the root of the workspace, with subcommands from `tools`.
fn cargo(tools: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_owned()).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(mut command: Command, what: &str) -> Outcome<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(cause) => Err(format!("{what}: {cause}")),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo puts what it makes.
pub fn target_folder() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisories_are_skipped_only_when_their_list_cannot_be_had() {
        assert_eq!(advisories(true, ""), Advisories::Clean);
        assert_eq!(
            advisories(false, "[ERROR] failed to fetch advisory database https://"),
            Advisories::NotFetched
        );
        assert_eq!(advisories(false, "error[vulnerability]: a crate"), Advisories::Found);
    }

    #[test]
    fn every_fuzz_target_in_its_folder_is_run() {
        let mut found: Vec<String> = std::fs::read_dir(root().join("tools/fuzz/fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort_unstable();
        let mut run = TARGETS.to_vec();
        run.sort_unstable();
        assert_eq!(found, run);
    }
}
