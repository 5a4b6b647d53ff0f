//! Debian packages that the tests use. Only what dpkg says is missing is installed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// Package and what needs it.
const PACKAGES: &[(&str, &str)] = &[
    ("user-mode-linux", "the guest's kernel"),
    ("uml-utilities", "the guest's network"),
    ("iproute2", "network namespaces"),
    ("kmod", "modprobe in the guest"),
    ("procps", "kill with process groups"),
    ("openssl", "test data that does not compress"),
    ("e2fsprogs", "the disk of a server whose power is cut"),
    ("open-iscsi", "the initiator"),
    ("mt-st", "tape control"),
    ("mtx", "changer control"),
    ("lsscsi", "device names"),
    ("sg3-utils", "every page decoded by foreign code"),
    ("bacula-sd", "btape and mtx-changer"),
    ("bacula-director", "the page about Bacula"),
    ("bacula-director-sqlite3", "its catalog"),
    ("bacula-fd", "its client"),
    ("bacula-console", "its console"),
    ("amanda-server", "the page about Amanda"),
    ("amanda-client", "its client"),
    ("udev", "names of devices in the guest that stay"),
    ("tgt", "the target by which the harness is proved"),
    ("libiscsi-bin", "iscsi-test-cu"),
    ("curl", "buckets of the S3 server"),
    ("rclone", "remotes through rclone"),
    ("python3-venv", "the S3 server, and the second decoder of bundles"),
    ("zstd", "the second decoder of bundles"),
    ("chromium", "the web pages"),
    ("python3-prometheus-client", "a foreign parser of the metrics"),
    ("python3-aiosmtpd", "a mail server for alerts"),
    ("mandoc", "a foreign reader of the manual pages"),
    ("lintian", "rules of Debian packages"),
    ("mmdebstrap", "a fresh root to install the package in"),
    ("systemd", "what the package's unit may do"),
];

/// Package, its program and what needs it: for programs that often come from elsewhere.
const PROGRAMS: &[(&str, &str, &str)] =
    &[("npm", "npm", "the Azure server, and what drives the browser"), ("nodejs", "node", "the same")];

/// While it exists, Debian starts no service at installation; tests start what they need, in a namespace.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs what is missing; the text says what was done.
pub fn install_missing() -> Outcome<String> {
    let packages = PACKAGES.iter().map(|(name, _)| *name).filter(|name| !is_installed(name));
    let programs = PROGRAMS.iter().filter(|(_, program, _)| !is_in_path(program)).map(|(name, ..)| *name);
    let missing: Vec<&str> = packages.chain(programs).collect();
    if missing.is_empty() {
        return Ok(format!("{} packages present", PACKAGES.len() + PROGRAMS.len()));
    }
    println!("installing: {}", missing.join(" "));
    let ours = forbid_services();
    let done = apt(&["update", "-q"]).and_then(|()| {
        apt(&[&["install", "-q", "-y", "--no-install-recommends"], missing.as_slice()].concat())
    });
    if ours {
        let _ = std::fs::remove_file(POLICY);
    }
    done?;
    match missing.iter().find(|name| !is_installed(name)) {
        None => Ok(format!("installed {}", missing.join(" "))),
        Some(name) => Err(format!("{name} is still missing after apt-get install")),
    }
}

fn is_installed(name: &str) -> bool {
    Command::new("dpkg-query")
        .args(["-W", "-f", "${db:Status-Status}", name])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|output| output.stdout == b"installed")
}

fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// True when the policy file is ours to remove.
fn forbid_services() -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    if Path::new(POLICY).exists() || std::fs::write(POLICY, "#!/bin/sh\nexit 101\n").is_err() {
        return false;
    }
    let _ = std::fs::set_permissions(POLICY, std::fs::Permissions::from_mode(0o755));
    true
}

fn apt(args: &[&str]) -> Outcome<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .status()
        .map_err(|cause| format!("apt-get: {cause}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("apt-get {} failed ({status}); it needs root and a package source", args.join(" ")))
}
