//! Uploads in parts at a real S3 server: how many go at once, and one that a crash has cut off: what lies whole in the staging folder is sent on, part by part.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::scsi::{DRIVE, ONE_FILEMARK};
use crate::support::{Server, eventually, noise};

const LABEL: &str = "VTL001L8";
const BLOCK: usize = 1 << 18;
/// 30 MiB: six parts of 5 MiB and a rest.
const BLOCKS: u64 = 120;
/// Looks for the server's port, 100 ms apart.
const MAX_LOOKS: u32 = 1_200;
/// So long an answer to a PUT is held back, so that those which go at once are seen together.
const HELD_BACK: Duration = Duration::from_millis(300);

/// moto's S3 server, whose log has every request. It ends when its input does.
struct S3 {
    port: u16,
    folder: tempfile::TempDir,
    _process: Child,
}

impl S3 {
    fn start() -> Self {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(target).join("tools/moto/bin/moto_server");
        assert!(program.exists(), "{} is missing: cargo xtask servers installs it", program.display());
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script =
            r#""$0" -H 127.0.0.1 -p "$1" >log 2>&1 & server=$!; cat >/dev/null; kill $server; wait $server"#;
        let process = Command::new("sh")
            .args(["-c", script])
            .arg(program)
            .arg(port.to_string())
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        for _ in 0..MAX_LOOKS {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let s3 = Self { port, folder, _process: process };
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request =
            "PUT /tapes HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        s3
    }

    /// How often each part was sent, by its number.
    fn parts(&self) -> BTreeMap<u64, u32> {
        let mut parts = BTreeMap::new();
        for line in fs::read_to_string(self.folder.path().join("log")).unwrap().lines() {
            let number = line.contains("\"PUT ").then(|| line.split_once("partNumber=")).flatten();
            let digits =
                number.map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
            if let Some(number) = digits.and_then(|digits| digits.parse().ok()) {
                *parts.entry(number).or_default() += 1;
            }
        }
        parts
    }
}

/// The PUTs that have no answer yet, and the most that there were.
#[derive(Default)]
struct Puts {
    now: AtomicU32,
    most: AtomicU32,
}

impl Puts {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Stands before the server and counts; its port.
fn counted(server: u16, puts: &Arc<Puts>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let puts = Arc::clone(puts);
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            pass(client, TcpStream::connect(("127.0.0.1", server)).unwrap(), &puts);
        }
    });
    port
}

/// One connection, with one request after the other.
fn pass(client: TcpStream, server: TcpStream, puts: &Arc<Puts>) {
    let open = Arc::new(AtomicBool::new(false));
    let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let (begun, opened) = (Arc::clone(puts), Arc::clone(&open));
    std::thread::spawn(move || {
        copy(from_client, to_server, |bytes| {
            if bytes.starts_with(b"PUT ") && !opened.swap(true, Ordering::SeqCst) {
                begun.begin();
            }
        });
    });
    let puts = Arc::clone(puts);
    std::thread::spawn(move || {
        let answered = || {
            if open.swap(false, Ordering::SeqCst) {
                puts.end();
            }
        };
        copy(server, client, |_| {
            if open.load(Ordering::SeqCst) {
                std::thread::sleep(HELD_BACK);
                answered();
            }
        });
        answered();
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8])) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        seen(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other end may have gone already.
    let _ = to.shutdown(Shutdown::Write);
}

fn remote(server: &Server, port: u16, keys: &Path) {
    let file = |name: &str| {
        let path = keys.join(name);
        fs::write(&path, "made-up").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let body = json!({
        "name": "r", "type": "s3", "endpoint": format!("http://127.0.0.1:{port}"), "bucket": "tapes", "allow_http": true,
        "part_size_bytes": 5 << 20, "access_key_file": file("id"), "secret_key_file": file("secret")
    });
    server.api("POST", "/remotes", &body);
}

/// Writes what two runs never have in common, as `seed` says.
fn fill(server: &Server, seed: u64) {
    let mut host = server.session(1);
    host.load(1, 0);
    for at in 0..BLOCKS {
        host.write(DRIVE, &noise(at + seed, BLOCK)).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
}

/// The job as it ended.
fn ended(server: &Server, id: &Value) -> Value {
    eventually("the job ends", || {
        let job = server.get(&format!("/jobs/{id}"));
        ["completed", "failed"].contains(&job["state"].as_str().unwrap()).then_some(job)
    })
}

/// The staged object and the numbers of the parts that it is noted to be sent with.
fn on_its_way(server: &Server, job: &Value) -> Option<(PathBuf, Vec<u64>)> {
    let folder = server.state().join(format!("staging/job-{job}"));
    let note = folder.join(format!("{LABEL}.img.000001.upload"));
    let text = fs::read_to_string(&note).ok()?;
    let note: Value = serde_json::from_str(text.strip_prefix("s3 ")?).ok()?;
    // S3 counts from 1.
    let parts = note["parts"].as_object()?.keys().map(|number| number.parse::<u64>().unwrap() + 1).collect();
    Some((folder.join(format!("{LABEL}.img.000001")), parts))
}

#[test]
fn no_more_parts_of_objects_go_at_once_than_transfers_may_and_as_many_do() {
    let (s3, puts, keys) = (S3::start(), Arc::new(Puts::default()), tempfile::tempdir().unwrap());
    let server = Server::start(&["--set", "cartridge.size=1g", "--set", "jobs.max_transfers=2"]);
    remote(&server, counted(s3.port, &puts), keys.path());
    fill(&server, 0);
    // Four objects of two parts each, and a rest.
    let ask = json!({ "remote": "r", "chunk_size_bytes": 8 << 20, "compress": "none" });
    let id = server.api("POST", &format!("/cartridges/{LABEL}/export"), &ask)["id"].clone();
    let job = ended(&server, &id);
    assert_eq!(job["state"], "completed", "{job}");
    assert!(job["result"]["objects"].as_u64() >= Some(4), "{job}");
    assert!(s3.parts().values().sum::<u32>() >= 6, "{:?}", s3.parts());
    assert_eq!(puts.most.load(Ordering::SeqCst), 2);
}

#[test]
fn one_object_alone_goes_in_as_many_parts_at_once_as_there_are_transfers_for_it() {
    let (s3, keys) = (S3::start(), tempfile::tempdir().unwrap());
    for transfers in [1, 2] {
        let puts = Arc::new(Puts::default());
        let limit = format!("jobs.max_transfers={transfers}");
        let server = Server::start(&["--set", "cartridge.size=1g", "--set", &limit]);
        remote(&server, counted(s3.port, &puts), keys.path());
        fill(&server, 0);
        let ask = json!({ "remote": "r", "chunk_size_bytes": 64 << 20, "compress": "none" });
        let id = server.api("POST", &format!("/cartridges/{LABEL}/export"), &ask)["id"].clone();
        let job = ended(&server, &id);
        assert_eq!((&job["state"], &job["result"]["objects"]), (&json!("completed"), &json!(1)), "{job}");
        assert_eq!(puts.most.load(Ordering::SeqCst), transfers);
    }
}

#[test]
fn killed_in_the_middle_of_an_upload_in_parts_it_goes_on_with_what_is_whole_and_makes_the_damaged_anew() {
    let s3 = S3::start();
    for damage in [false, true] {
        let keys = tempfile::tempdir().unwrap();
        let set = [
            "--set",
            "cartridge.size=1g",
            "--set",
            "transfer.bandwidth=8m",
            "--set",
            "transfer.retry.pause=1s",
        ];
        let mut server = Server::start(&set);
        remote(&server, s3.port, keys.path());
        fill(&server, 1_000 * u64::from(damage));
        let before = s3.parts();
        let ask = json!({ "remote": "r", "chunk_size_bytes": 64 << 20, "compress": "none" });
        let id = server.api("POST", &format!("/cartridges/{LABEL}/export"), &ask)["id"].clone();
        eventually("two parts are sent", || on_its_way(&server, &id).filter(|(_, parts)| parts.len() >= 2));
        server.kill();
        let (staged, sent) = on_its_way(&server, &id).unwrap();
        assert!(sent.len() < 6, "{sent:?}");
        if damage {
            let mut bytes = fs::read(&staged).unwrap();
            bytes[12_345_678] ^= 1;
            fs::write(&staged, bytes).unwrap();
        }
        server.start_again();
        let job = ended(&server, &id);
        assert_eq!((&job["state"], &job["result"]["objects"]), (&json!("completed"), &json!(1)), "{job}");
        let all = s3.parts();
        let times = |number: u64| all.get(&number).unwrap_or(&0) - before.get(&number).unwrap_or(&0);
        for number in 1..=7 {
            let expected = if damage && sent.contains(&number) { 2..=2 } else { 1..=2 };
            assert!(
                expected.contains(&times(number)),
                "part {number}: {} times, {sent:?} before",
                times(number)
            );
        }
        let log = fs::read_to_string(s3.folder.path().join("log")).unwrap();
        let folder = job["result"]["folder"].as_str().unwrap();
        let given_up = format!("DELETE /tapes/{folder}/{LABEL}.img.000001?uploadId=");
        assert_eq!(log.contains(&given_up), damage, "{log}");
        if !damage {
            assert!(sent.iter().all(|number| times(*number) == 1), "{sent:?}: {all:?}");
        }
        let body = json!({ "remote": "r", "folder": job["result"]["folder"] });
        let verify = server.api("POST", "/exports/verify", &body)["id"].clone();
        let job = ended(&server, &verify);
        assert_eq!(job["state"], "completed", "{job}");
        let staging = server.state().join("staging");
        assert!(fs::read_dir(staging).map_or(true, |mut entries| entries.next().is_none()));
    }
}
