//! `vtl lab`, whole: up, a second up, status, down; and what a step leaves that fails.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use integration::{bin_dir, here};

/// A place for a lab; whatever a test leaves there is ended and removed.
struct Place {
    above: tempfile::TempDir,
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.lab("down", None));
    }
}

impl Place {
    fn new() -> Self {
        Self { above: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> PathBuf {
        self.above.path().join("lab")
    }

    /// `vtl lab VERB` on this folder, with this folder of programs before others.
    fn lab(&self, verb: &str, programs: Option<&Path>) -> (bool, String) {
        let mut path: Vec<PathBuf> = programs.map(Path::to_owned).into_iter().collect();
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
        self.run(&["lab", verb, "--folder"], std::env::join_paths(path).unwrap())
    }

    fn run(&self, words: &[&str], path: OsString) -> (bool, String) {
        let mut command = Command::new(bin_dir().join("vtl"));
        // A token of the caller's must not get in the way.
        command.args(words).arg(self.folder()).env("PATH", path).env("VTL_TOKEN", "of another server");
        let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
        let said = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (status.success(), said.concat())
    }

    /// Name, number and address of what `status` lists, and whether it runs.
    fn processes(&self) -> BTreeMap<String, (u32, bool, String)> {
        let (_, told) = self.lab("status", None);
        let rows = told.lines().skip_while(|line| !line.starts_with("NAME")).skip(1);
        rows.map(|row| {
            let words: Vec<&str> = row.split_whitespace().collect();
            let [name, pid, running, address] = words[..] else { panic!("{told}") };
            (name.to_owned(), (pid.parse().unwrap(), running == "true", address.to_owned()))
        })
        .collect()
    }
}

/// Whether it runs: one that has ended and was not asked for does not.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

/// The status line and the body that a server at this address answers.
fn ask(address: &str, request: &str, body: &str) -> (String, String) {
    let host = address.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    socket.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// The files of a folder with their bytes.
fn content(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_tape_comes_back_on_the_second_server_both_run_on_and_down_ends_them_and_removes_all() {
    let place = Place::new();
    let folder = place.folder();
    // Where the tests have an S3 server, the lab finds it.
    let servers = here().join("../target/tools/moto/bin");
    let has_s3 = servers.join("moto_server").exists();
    let (up, told) = place.lab("up", Some(&servers));
    assert!(up, "{told}");
    let data = content(&folder.join("data"));
    assert_eq!((data.len(), data.values().map(Vec::len).sum::<usize>()), (16, 16_777_216));
    assert!(content(&folder.join("restored")) == data, "{told}");
    if has_s3 {
        assert!(content(&folder.join("restored-2")) == data, "{told}");
    }
    // What is exported can be read with the key alone.
    let exports: Vec<PathBuf> =
        fs::read_dir(folder.join("off-site")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [export] = &exports[..] else { panic!("one export: {exports:?}") };
    assert!(export.file_name().unwrap().to_str().unwrap().starts_with("LAB001L8-"));
    let plain = b"2026-01-01;order 01-000000;0.00 EUR";
    assert!(data.values().any(|bytes| bytes.starts_with(plain)));
    for (name, bytes) in content(export) {
        assert!(!bytes.windows(plain.len()).any(|part| part == plain), "{name:?}");
    }

    let processes = place.processes();
    let password = fs::read_to_string(folder.join("password")).unwrap();
    assert!(!told.contains(&password), "a password is not printed");
    for name in ["a", "b"] {
        let (_, running, address) = &processes[name];
        assert!(running & told.contains(address), "{told}");
        let (status, page) = ask(address, "GET /", "");
        assert!(status.contains(" 200 ") && page.contains("<title>"), "{status} {page}");
        let log_in = format!(r#"{{"user":"lab","password":"{password}"}}"#);
        assert!(ask(address, "POST /api/v1/session", &log_in).0.contains(" 200 "));
        assert!(
            ask(address, "POST /api/v1/session", r#"{"user":"lab","password":"another one"}"#)
                .0
                .contains(" 401 ")
        );
    }

    let (again, told) = place.lab("up", None);
    assert!(!again && told.contains("a lab is up in") && told.contains("vtl lab down"), "{told}");
    assert_eq!(place.processes(), processes, "the refusal has changed nothing");

    // One that has ended is told, and is not in the way.
    let (b, ..) = processes["b"];
    let killed = Command::new("kill").args(["-KILL", &b.to_string()]).status().unwrap();
    assert!(killed.success());
    while runs(b) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!place.lab("status", None).0);
    assert!(!place.processes()["b"].1 && place.processes()["a"].1);

    fs::write(folder.join("thesis.txt"), "mine").unwrap();
    let (down, told) = place.lab("down", None);
    assert!(!down && told.contains("thesis.txt") && folder.join("data").exists(), "{told}");
    fs::remove_file(folder.join("thesis.txt")).unwrap();
    let (down, told) = place.lab("down", None);
    assert!(down && !folder.exists(), "{told}");
    assert!(processes.values().all(|(pid, ..)| !runs(*pid)));
    let (down, told) = place.lab("down", None);
    assert!(!down && told.contains("no lab is up"), "{told}");
}

#[test]
fn a_step_that_fails_is_named_with_the_servers_log_and_leaves_all_for_a_look_until_down() {
    let place = Place::new();
    let programs = tempfile::tempdir().unwrap();
    let openssl = programs.path().join("openssl");
    fs::write(&openssl, "#!/bin/sh\necho no keys today >&2\nexit 7\n").unwrap();
    fs::set_permissions(&openssl, fs::Permissions::from_mode(0o755)).unwrap();
    let (up, told) = place.lab("up", Some(programs.path()));
    assert!(!up, "{told}");
    assert!(told.contains("step 3 (a key pair;") && told.contains("no keys today"), "{told}");
    let log = place.folder().join("a.log");
    assert!(told.contains(&format!("the end of {}:", log.display())), "{told}");
    let last = fs::read_to_string(&log).unwrap().lines().last().unwrap().to_owned();
    assert!(told.contains(&last), "{told}");
    let processes = place.processes();
    assert!(processes["a"].1 && processes["b"].1, "{processes:?}");
    assert!(place.lab("down", None).0 && !place.folder().exists());
    assert!(processes.values().all(|(pid, ..)| !runs(*pid)));
}

#[test]
fn a_folder_that_is_not_a_labs_is_neither_taken_nor_removed() {
    let place = Place::new();
    fs::create_dir(place.folder()).unwrap();
    fs::write(place.folder().join("thesis.txt"), "mine").unwrap();
    let (up, told) = place.lab("up", None);
    assert!(!up && told.contains("not a lab's"), "{told}");
    let (down, told) = place.lab("down", None);
    assert!(!down && told.contains("is no folder of a lab"), "{told}");
    assert_eq!(fs::read_to_string(place.folder().join("thesis.txt")).unwrap(), "mine");
}
