//! Programs from the registry that only tests need. They are built once, into the target folder, where nothing else looks for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// Fuzz targets of `tools/fuzz`.
const TARGETS: &[&str] = &["pdu", "login_text", "cdb", "mode_select", "operations"];
/// How long each target runs: long enough in continuous integration to find what breaks at once.
const SECONDS: u32 = 5;
/// With `--long`.
const LONG_SECONDS: u32 = 60;

/// Every fuzz target for a while. What it finds lies in `tools/fuzz/artifacts` and becomes a test of the crate concerned.
pub fn fuzz(long: bool) -> Outcome<String> {
    let tools = installed("cargo-fuzz")?;
    let seconds = if long { LONG_SECONDS } else { SECONDS };
    for target in TARGETS {
        let mut command = cargo(&tools);
        command
            // Coverage needs flags that the stable compiler has but does not offer.
            .env("RUSTC_BOOTSTRAP", "1")
            // No unsafe code is ours, so that an address sanitizer would only cost time.
            .args(["fuzz", "run", "--fuzz-dir", "tools/fuzz", "--sanitizer", "none", "--target-dir"])
            .arg(target_folder().join("fuzz"))
            .args([*target, "--", "-verbosity=0"])
            .arg(format!("-max_total_time={seconds}"));
        run(command, &format!("fuzz target {target}"))?;
    }
    Ok(format!("{} targets, {seconds} s each, nothing found", TARGETS.len()))
}

/// Licences, advisories and sources of everything in Cargo.lock, by `deny.toml`. Building the tool takes minutes, and
/// advisories come from the network: so only with `--long`.
pub fn deny(long: bool) -> Outcome<String> {
    if !long {
        return Ok("not run: only with --long".to_owned());
    }
    let mut command = cargo(&installed("cargo-deny")?);
    command.args(["deny", "--workspace", "check"]);
    run(command, "cargo deny")?;
    Ok("licences, advisories, bans and sources are as deny.toml wants them".to_owned())
}

/// Builds a tool unless it is there; the folder that it is in.
fn installed(tool: &str) -> Outcome<PathBuf> {
    let root = target_folder().join("tools");
    let folder = root.join("bin");
    if !folder.join(tool).exists() {
        let mut command = cargo(&folder);
        command.args(["install", "--locked", "--quiet", tool, "--root"]).arg(&root);
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

fn run(mut command: Command, what: &str) -> Outcome<()> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{what}: {status}")),
        Err(cause) => Err(format!("{what}: {cause}")),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn target_folder() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

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
