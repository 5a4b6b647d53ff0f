//! The web pages in Chromium: a real daemon with tapes, exports and jobs in it, and a browser that does every action of every page (`main.mjs`).
//!
//! Pictures of every page are left in `target/pages`. The browser is Debian's; what drives it is put below `target/tools` by `cargo xtask servers`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with tests that need more of it")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use support::scsi::{CHANGER, DRIVE, ONE_FILEMARK, RESERVE, TEST_UNIT_READY};
use support::{Initiator, Provider, Server, eventually, noise};

const CHROMIUM: &str = "/usr/bin/chromium";

fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// Three files: two that differ, and one with the same content as the first.
fn write_tape(host: &mut Initiator, seed: u64) {
    for file in [seed, seed + 1, seed] {
        for block in 0..4 {
            host.write(DRIVE, &noise(file * 100 + block, 1 << 18)).good();
        }
        host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    }
    host.write(DRIVE, &b"text on a tape ".repeat(9000)).good();
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
}

fn key(server: &Server, folder: &Path) -> PathBuf {
    let file = folder.join("key.pem");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&file).arg("2048").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    server.api("POST", "/keys", &json!({ "name": "site-key", "file": file }));
    file
}

fn remote(server: &Server, name: &str, place: &Path) {
    fs::create_dir(place).unwrap();
    server.api("POST", "/remotes", &json!({ "name": name, "type": "folder", "path": place }));
}

fn ended(server: &Server, job: &Value, state: &str) {
    let id = &job["id"];
    eventually(&format!("job {id} is {state}"), || {
        (server.get(&format!("/jobs/{id}"))["state"] == state).then_some(())
    });
}

/// A pool whose folder is away when the server starts, and back after that: it is closed.
fn close_a_pool(server: &mut Server, folder: &Path) {
    let (place, away) = (folder.join("archive"), folder.join("away"));
    server.api("POST", "/pools", &json!({ "name": "archive", "paths": [place] }));
    assert_eq!(server.stop(), Some(0));
    fs::rename(&place, &away).unwrap();
    server.start_again();
    fs::rename(&away, &place).unwrap();
}

/// The folder of an export that another server has made.
fn foreign(place: &Path) -> Value {
    let other = Server::start(&[]);
    remote(&other, "elsewhere", place);
    let mut host = other.session(1);
    host.load(9, 0);
    host.write(DRIVE, b"made elsewhere").good();
    let elements = host.elements();
    host.move_medium(elements.drive, elements.storage + 8).good();
    let exported = other.api("POST", "/cartridges/VTL009L8/export", &json!({ "remote": "elsewhere" }));
    ended(&other, &exported, "completed");
    other.get(&format!("/jobs/{}", exported["id"]))["folder"].clone()
}

/// A library in use: one tape exported, one from elsewhere in quarantine, one in a drive that a host has reserved, a job that has failed.
fn furnish(server: &Server, folder: &Path, host: &mut Initiator) -> PathBuf {
    let file = key(server, folder);
    remote(server, "off-site", &folder.join("off-site"));
    remote(server, "second", &folder.join("second"));
    let broken = json!({ "name": "broken", "type": "faulty", "over": "second", "faults": ["drop:100%"] });
    server.api("POST", "/remotes", &broken);
    let folder_elsewhere = foreign(&folder.join("elsewhere"));
    let elsewhere = json!({ "name": "elsewhere", "type": "folder", "path": folder.join("elsewhere") });
    server.api("POST", "/remotes", &elsewhere);
    let slow = json!({ "name": "slow", "type": "faulty", "over": "elsewhere", "faults": ["slow:100%:1s"] });
    server.api("POST", "/remotes", &slow);
    let asked = json!({ "remote": "elsewhere", "folder": folder_elsewhere, "as_label": "VTL401L8" });
    let imported = server.api("POST", "/imports", &asked);
    ended(server, &imported, "completed");
    let settings = json!({ "migrate.remote": "off-site", "migrate.key": "site-key" });
    server.api("PATCH", "/libraries/lib0", &json!({ "settings": settings }));

    host.attentions(CHANGER);
    let elements = host.elements();
    host.load(2, 0);
    write_tape(host, 2);
    host.move_medium(elements.drive, elements.storage + 1).good();
    let exported = server.api("POST", "/cartridges/VTL002L8/export", &json!({}));
    ended(server, &exported, "completed");

    host.load(1, 0);
    write_tape(host, 20);
    host.run(DRIVE, &RESERVE, 0, &[]).good();

    let absent = json!({ "remote": "off-site", "folder": "VTL999L8-20260101_000000" });
    let (status, failed) = server.ask("POST", "/imports", &absent);
    assert_eq!(status, 200, "{failed}");
    ended(server, &failed, "failed");
    file
}

/// A host that stays: while the file is there it writes some four megabytes a second, and else it only answers.
fn stay(mut host: Initiator, write: &Path, over: &AtomicBool) {
    let mut block = 0;
    while !over.load(Ordering::Relaxed) {
        if write.exists() {
            host.write(DRIVE, &noise(1_000_000 + block, 1 << 18)).good();
            host.write(DRIVE, format!("line {block} of a text on a tape ").repeat(9000).as_bytes()).good();
            block += 1;
        } else {
            drop(host.run(DRIVE, &TEST_UNIT_READY, 0, &[]));
        }
        thread::sleep(Duration::from_millis(120));
    }
}

/// A hook, a receiver of alerts, a provider of identities, and quarantine for what is foreign.
fn write_config(config: &Path, folder: &Path, provider: &Provider) {
    let hook = folder.join("post-vault");
    fs::write(&hook, "#!/bin/sh\necho \"ready for $VTL_LABEL\" >&2\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o700)).unwrap();
    let log = folder.join("log");
    let text = format!(
        "log.level = \"info\"\nhooks.post_vault = {hook:?}\nalerts.syslog.to = \"unix:{}\"\n\
         migrate.foreign_bundles = \"quarantine\"\n{}roles.operator = [\"tape-operators\"]\n",
        log.display(),
        provider.settings(folder, true)
    );
    fs::write(config, text).unwrap();
}

#[test]
fn every_page_and_every_action_works_in_a_browser() {
    let tools = target().join("tools/browser");
    for needed in [Path::new(CHROMIUM), &tools.join("node_modules/axe-core/axe.js")] {
        assert!(
            needed.exists(),
            "{} is missing: run cargo xtask packages and cargo xtask servers",
            needed.display()
        );
    }
    let out = target().join("pages");
    drop(fs::remove_dir_all(&out));
    fs::create_dir_all(&out).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("in-effect.toml");
    let people = json!({ "otto": ["tape-operators"] });
    let provider = Provider::start(folder.path(), "ES256", true, &people);
    write_config(&config, folder.path(), &provider);
    let _log = UnixDatagram::bind(folder.path().join("log")).unwrap();
    let mut server = Server::start(&["--config", config.to_str().unwrap(), "--api", &provider.api]);
    close_a_pool(&mut server, folder.path());
    let mut host = server.session(1);
    let key_file = furnish(&server, folder.path(), &mut host);

    let link = server.welcome.iter().find_map(|line| line.split_once("first user: ")).unwrap().1;
    let settings = json!({
        "setup": link.split(' ').next().unwrap(),
        "url": format!("http://{}", server.api), "token": server.token(), "folder": folder.path(), "key_file": key_file,
        "provider": provider.issuer, "tools": tools, "chromium": CHROMIUM, "out": out,
    });
    let file = folder.path().join("settings.json");
    fs::write(&file, settings.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/main.mjs");
    let (write, over) = (folder.path().join("write"), AtomicBool::new(false));
    let done = thread::scope(|scope| {
        let guest = scope.spawn(|| stay(host, &write, &over));
        let done = Command::new("node").arg(script).arg(&file).stdin(Stdio::null()).output();
        over.store(true, Ordering::Relaxed);
        // Where it failed, the script has seen that nobody writes.
        drop(guest.join());
        done.unwrap()
    });
    let said = String::from_utf8_lossy(&done.stdout);
    println!("{said}");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}\n{errors}\npictures are in {}", out.display());
}
