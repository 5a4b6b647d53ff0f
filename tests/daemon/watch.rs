//! Metrics, health and logs, as programs that watch see them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::scsi::{DRIVE, ONE_FILEMARK, REWIND};
use crate::support::{PATIENCE, Server, eventually, noise};

/// A page beside the API: status, head, body.
pub(crate) fn page(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let mut socket = TcpStream::connect(server.api).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", server.api).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head and a body");
    let head = String::from_utf8(answer[..at].to_vec()).unwrap().to_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[at + 4..].to_vec())
}

fn with_token(server: &Server, path: &str) -> (u16, String, Vec<u8>) {
    page(server, path, &[("Authorization", &format!("Bearer {}", server.token()))])
}

pub(crate) fn metrics(server: &Server) -> String {
    let (status, head, body) = with_token(server, "/metrics");
    assert_eq!(status, 200);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    String::from_utf8(body).unwrap()
}

/// The value of one sample, written as in the text.
#[track_caller]
pub(crate) fn sample(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{name} in\n{text}")).to_owned()
}

/// What the parser of the Prometheus project makes of it: each sample as name, labels, value.
fn parsed(text: &str) -> Vec<(String, Value, f64)> {
    const PROGRAM: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, sample.value]))
";
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    let lines = String::from_utf8(done.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn secret(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[test]
fn the_metrics_say_what_a_host_has_written_read_and_been_told_and_a_foreign_parser_reads_them() {
    let server = Server::start(&[]);
    let mut host = server.session(1);
    host.load(1, 0);
    for _ in 0..3 {
        host.write(DRIVE, &[7; 1000]).good();
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
    host.run(DRIVE, &REWIND, 0, &[]).good();
    host.run(DRIVE, &[0x08, 0x02, 0, 0x10, 0, 0], 4096, &[]).good();
    let told = host.run(DRIVE, &[0x5e, 0x1f, 0, 0, 0, 0, 0, 0, 8, 0], 8, &[]);
    assert_eq!(told.code(), (0x05, 0x24, 0x00));
    let text = metrics(&server);
    assert_eq!(sample(&text, "vtl_drive_written_bytes_total{library=\"lib0\",drive=\"0\"}"), "3000");
    assert_eq!(sample(&text, "vtl_drive_read_bytes_total{library=\"lib0\",drive=\"0\"}"), "1000");
    assert_eq!(sample(&text, "vtl_drive_loads_total{library=\"lib0\",drive=\"0\"}"), "1");
    assert_eq!(sample(&text, "vtl_drive_written_bytes_total{library=\"lib0\",drive=\"1\"}"), "0");
    assert_eq!(sample(&text, "vtl_commands_total{unit=\"lib0-drive0\",opcode=\"0x0a\"}"), "3");
    assert_eq!(sample(&text, "vtl_commands_total{unit=\"lib0-changer\",opcode=\"0xa5\"}"), "1");
    let refused = "vtl_sense_total{unit=\"lib0-drive0\",key=\"0x05\",asc=\"0x24\",ascq=\"0x00\"}";
    assert_eq!(sample(&text, refused), "1");
    assert_eq!(sample(&text, "vtl_command_latency_seconds_count{unit=\"lib0-drive0\",class=\"write\"}"), "3");
    assert_eq!(sample(&text, "vtl_sessions{target=\"iqn.2026-11.internal.vtl:lib0\"}"), "1");
    assert_eq!(sample(&text, "vtl_queue_depth{unit=\"lib0-drive0\"}"), "0");
    assert_eq!(sample(&text, "vtl_pool_logical_bytes{pool=\"default\"}"), "3000");
    assert!(sample(&text, "vtl_pool_age_seconds{pool=\"default\"}").parse::<f64>().unwrap() < 10.0);
    assert!(!text.contains("VTL001"), "a label of a cartridge is in it");

    let samples = parsed(&text);
    let of =
        |name: &str| samples.iter().find(|(found, ..)| found == name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!(of("vtl_build_info").1, json!({ "version": env!("CARGO_PKG_VERSION") }));
    assert!(of("process_resident_memory_bytes").2 > 1e6);
    let (_, labels, free) = of("vtl_disk_free_bytes");
    assert_eq!(labels["folder"], json!(server.state().join("store")));
    assert!(*free > 0.0 && *free <= of("vtl_disk_total_bytes").2);
    let bucket = |le: &str| {
        let is_it = |(name, labels, _): &&(String, Value, f64)| {
            name == "vtl_command_latency_seconds_bucket"
                && labels["unit"] == "lib0-drive0"
                && labels["class"] == "write"
                && labels["le"] == le
        };
        samples.iter().find(is_it).unwrap().2
    };
    assert!(bucket("0.0001") <= bucket("900.0"));
    assert!((bucket("+Inf") - 3.0).abs() < f64::EPSILON);
}

#[test]
fn the_figures_of_a_pool_are_what_was_written_what_of_it_was_new_and_what_that_takes_compressed() {
    const MIB: u64 = 1 << 20;
    // A commit that comes in the middle, as on a slow machine, cuts a chunk that is new; and packs have headers.
    const LITTLE: u64 = MIB / 8;
    let server = Server::start(&["--set", "store.gc=manual"]);
    let mut host = server.session(1);
    host.load(1, 0);
    let mut put = |content: &[u8]| {
        for block in content.chunks(1 << 18) {
            host.write(DRIVE, block).good();
        }
        host.run(DRIVE, &ONE_FILEMARK, 0, &[]).good();
        let text = metrics(&server);
        let figure = |name: &str| {
            sample(&text, &format!("vtl_pool_{name}_bytes{{pool=\"default\"}}")).parse::<u64>().unwrap()
        };
        (figure("logical"), figure("unique"), figure("stored"))
    };
    let random = noise(1, 1 << 20);
    let (logical, unique, stored) = put(&random);
    assert_eq!((logical, unique), (MIB, MIB));
    assert!((MIB..MIB + LITTLE).contains(&stored), "noise does not compress: {stored}");
    // Deduplication saves all of it.
    let (logical, unique, before) = put(&random);
    assert_eq!(logical, 2 * MIB);
    assert!((MIB..MIB + LITTLE).contains(&unique), "{unique}");
    assert!((stored..stored + LITTLE).contains(&before), "{before} after {stored}");
    // Of what is new and no noise, compression saves more than half.
    let lines: String =
        (0..30_000).map(|n| format!("line {n} of a text that nobody has written\n")).collect();
    let (logical, both, after) = put(&lines.as_bytes()[..1 << 20]);
    assert_eq!((logical, both), (3 * MIB, unique + MIB));
    assert!((before + MIB / 100..before + MIB / 2).contains(&after), "{after} after {before}");
}

#[test]
fn jobs_and_remotes_are_counted_by_kind_and_by_name() {
    let server = Server::start(&[]);
    let disk = tempfile::tempdir().unwrap();
    let place = disk.path().join("shed");
    fs::create_dir(&place).unwrap();
    server.api("POST", "/remotes", &json!({ "name": "shed", "type": "folder", "path": place }));
    server.api("POST", "/remotes/shed/test", &json!({}));
    server.api("POST", "/store/gc", &json!({}));
    let text = metrics(&server);
    assert_eq!(sample(&text, "vtl_jobs{kind=\"gc\",state=\"completed\"}"), "1");
    assert_eq!(sample(&text, "vtl_jobs{kind=\"gc\",state=\"failed\"}"), "0");
    assert_eq!(sample(&text, "vtl_remote_up{remote=\"shed\"}"), "1");
    // The probe tries to make one object twice; the second time must be refused.
    let refused = "vtl_remote_failures_total{remote=\"shed\",call=\"create\",class=\"already there\"}";
    assert_eq!(sample(&text, refused), "1");
    assert_ne!(sample(&text, "vtl_remote_sent_bytes_total{remote=\"shed\"}"), "0");
    parsed(&text);
    // Its disk is not mounted, and then it is.
    let away = disk.path().join("away");
    let up = || sample(&metrics(&server), "vtl_remote_up{remote=\"shed\"}");
    fs::rename(&place, &away).unwrap();
    assert_ne!(server.ask("POST", "/remotes/shed/test", &json!({})).0, 200);
    assert_eq!(up(), "0");
    fs::rename(&away, &place).unwrap();
    server.api("POST", "/remotes/shed/test", &json!({}));
    assert_eq!(up(), "1");
}

#[test]
fn the_metrics_need_a_token_that_opens_them_and_an_open_door_is_open_to_programs_of_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    let closed = Server::start(&[]);
    assert_eq!(page(&closed, "/metrics", &[]).0, 401);
    assert_eq!(page(&closed, "/metrics", &[("Authorization", "Bearer wrong")]).0, 401);
    drop(closed);
    let file = secret(folder.path(), "metrics.token", "made-up-token-for-metrics");
    let server = Server::start(&["--set", &format!("metrics.token_file=\"{file}\"")]);
    let bearer = [("Authorization", "Bearer made-up-token-for-metrics")];
    assert_eq!(page(&server, "/metrics", &bearer).0, 200);
    assert_eq!(page(&server, "/api/v1/libraries", &bearer).0, 401, "it opens nothing else");
    assert_eq!(page(&server, "/metrics", &[]).0, 401);
    drop(server);
    let open = Server::start(&["--set", "metrics.open=true"]);
    assert_eq!(page(&open, "/metrics", &[]).0, 200);
    assert_eq!(page(&open, "/api/v1/libraries", &[]).0, 401);
    assert_eq!(page(&open, "/metrics", &[("Origin", "http://evil.example")]).0, 403, "a page in a browser");
}

#[test]
fn health_needs_no_token_and_says_one_word() {
    let server = Server::start(&[]);
    for path in ["/health/live", "/health/ready"] {
        let (status, _, body) = page(&server, path, &[]);
        assert_eq!((status, body.as_slice()), (200, b"ok\n".as_slice()), "{path}");
    }
    drop(server);
    // A pool whose disk is not there at the next start.
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_at(folder.path(), &[]);
    let pool = folder.path().join("pool");
    server.api("POST", "/pools", &json!({ "name": "far", "paths": [pool] }));
    assert_eq!(server.stop(), Some(0));
    fs::rename(&pool, folder.path().join("elsewhere")).unwrap();
    server.start_again();
    let (status, _, body) = page(&server, "/health/ready", &[]);
    assert_eq!((status, body.as_slice()), (503, b"pool\n".as_slice()));
    assert_eq!(page(&server, "/health/live", &[]).0, 200);
}

#[test]
fn lines_of_a_session_and_of_a_job_carry_a_trace_each() {
    let server = Server::start(&["--set", "log.format=json"]);
    let mut host = server.session(1);
    host.attentions(DRIVE);
    host.logout();
    drop(host);
    server.api("POST", "/store/gc", &json!({}));
    let lines = eventually("the session and the job are in the log", || {
        let text = server.log();
        let done = text.contains("session ended") && text.contains("a job has come back");
        done.then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
    });
    let traces = |span: &str| {
        let spans = lines.iter().flat_map(|line| line["spans"].as_array().into_iter().flatten());
        let mut traces: Vec<String> = spans
            .filter(|found| found["name"] == span)
            .map(|found| found["trace"].as_str().unwrap().to_owned())
            .collect();
        traces.dedup();
        traces
    };
    let (session, job) = (traces("session"), traces("job"));
    assert_eq!((session.len(), job.len()), (1, 1), "{lines:?}");
    for trace in [&session[0], &job[0]] {
        assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()), "{trace}");
    }
    let of = |message: &str| lines.iter().find(|line| line["fields"]["message"] == message).unwrap();
    let initiator = &of("session ended")["spans"][0]["initiator"];
    assert_eq!(initiator, "iqn.2026-11.test.example:host");
    assert_eq!(of("a job has come back")["spans"][0]["kind"], "gc");
}
