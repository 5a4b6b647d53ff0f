//! Alerts as an operator meets them: raised, told to real receivers, acknowledged, over; and the bundle for a fault report.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::exports::{BLOCK, tape, write};
use crate::listeners::Stream;
use crate::store::{packs_in, unload};
use crate::support::scsi::{DRIVE, ONE_FILEMARK};
use crate::support::{PATIENCE, Server, eventually, noise};
use crate::watch::page;

/// An HTTP server of one purpose: the bodies that are posted to it.
fn web() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (to, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(socket);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            write!(reader.get_mut(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            if to.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

/// A job that fails for good: what it is to import is not there.
fn failing_job(server: &Server, place: &Path) -> Value {
    server.api("POST", "/remotes", &json!({ "name": "shed", "type": "folder", "path": place }));
    let asked = json!({ "remote": "shed", "folder": "ZZZ001L8-20261126_031500" });
    drop(server.ask("POST", "/imports", &asked));
    eventually("the job has failed", || {
        let jobs = server.get("/jobs");
        jobs.as_array().unwrap().iter().find(|job| job["state"] == "failed").map(|job| job["id"].clone())
    })
}

#[test]
fn a_failed_job_is_told_once_can_be_acknowledged_and_is_over_when_it_is_cleared() {
    let (url, bodies) = web();
    let place = tempfile::tempdir().unwrap();
    let mut server = Server::start(&["--set", &format!("alerts.webhook.url=\"{url}\"")]);
    let mut stream = Stream::open(&server, "?types=alert", "");
    let id = failing_job(&server, place.path());
    let told = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&told["event"], &told["rule"]), (&json!("raised"), &json!("job-failed")));
    assert_eq!(told["subject"], json!(format!("job {id}")));
    // Who listens to events hears the same.
    let heard = stream.next();
    assert_eq!((heard.kind.as_str(), &heard.data), ("alert", &server.get("/alerts")[0]));
    drop(stream);
    let alert = &server.get("/alerts")[0];
    assert_eq!((&alert["state"], &alert["id"]), (&json!("raised"), &told["id"]));
    let known = server.api("POST", &format!("/alerts/{}/ack", alert["id"]), &json!({}));
    assert_eq!(known["state"], "acknowledged");
    // Nothing is told again, over a restart neither.
    assert_eq!(server.stop(), Some(0));
    server.start_again();
    assert_eq!(server.get("/alerts")[0]["state"], "acknowledged");
    let mut stream = Stream::open(&server, "?types=alert", "");
    server.api("DELETE", "/jobs", &Value::Null);
    let heard = stream.next().data;
    assert_eq!((&heard["state"], &heard["id"]), (&json!("cleared"), &alert["id"]));
    let told = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&told["event"], &told["id"]), (&json!("cleared"), &alert["id"]));
    assert_eq!(server.get("/alerts")[0]["state"], "cleared");
    let (status, refused) = server.ask("POST", "/alerts/77/ack", &json!({}));
    assert_eq!((status, &refused["code"]), (404, &json!("not-found")));
}

/// The alert of this rule, in this state.
fn alert(server: &Server, rule: &str, state: &str) -> Option<Value> {
    let alerts = server.get("/alerts").as_array().unwrap().clone();
    alerts.into_iter().find(|alert| alert["rule"] == rule && alert["state"] == state)
}

#[test]
fn a_pool_that_is_not_open_raises_one_alert_which_is_not_over_the_moment_that_it_is() {
    let (url, bodies) = web();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_at(folder.path(), &["--set", &format!("alerts.webhook.url=\"{url}\"")]);
    let (pool, away) = (folder.path().join("pool"), folder.path().join("away"));
    server.api("POST", "/pools", &json!({ "name": "far", "paths": [pool] }));
    assert_eq!(server.stop(), Some(0));
    fs::rename(&pool, &away).unwrap();
    server.start_again();
    let raised = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&raised["event"], &raised["rule"]), (&json!("raised"), &json!("pool")));
    assert_eq!((&raised["subject"], &raised["severity"]), (&json!("pool far"), &json!("critical")));
    assert!(raised["message"].as_str().unwrap().starts_with("the pool is not open: "), "{raised}");
    assert!(raised["remedy"].as_str().unwrap().ends_with("vtl pool open far"), "{raised}");
    // It is told once, over a restart too.
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    assert_eq!(alert(&server, "pool", "raised").unwrap()["id"], raised["id"]);
    fs::rename(&away, &pool).unwrap();
    server.api("POST", "/pools/far/open", &Value::Null);
    // Five minutes later it is.
    next_told_is_a_failed_job(&server, &bodies);
    assert_eq!(alert(&server, "pool", "raised").unwrap()["id"], raised["id"]);
}

/// Chunks here and there are not what was written.
fn flip_bits(pool: &Path) {
    for pack in packs_in(pool) {
        let mut bytes = fs::read(&pack).unwrap();
        for at in (200_000..bytes.len()).step_by(900_000) {
            bytes[at] ^= 0x10;
        }
        fs::write(&pack, bytes).unwrap();
    }
}

#[test]
fn damage_is_not_told_as_over_because_the_pool_is_not_open() {
    let (url, bodies) = web();
    let folder = tempfile::tempdir().unwrap();
    let set = ["--set", "cartridge.size=1g", "--set", &format!("alerts.webhook.url=\"{url}\"")];
    let mut server = Server::start_at(folder.path(), &set);
    let (pool, away) = (folder.path().join("pool"), folder.path().join("away"));
    server.api("POST", "/pools", &json!({ "name": "far", "paths": [pool] }));
    server.api("POST", "/cartridges", &json!({ "label": "FAR001L8", "pool": "far" }));
    let mut host = server.session(1);
    host.load(11, 0);
    write(&mut host, &tape(5, 8));
    unload(&mut host, 11);
    drop(host);
    assert_eq!(server.stop(), Some(0));
    flip_bits(&pool);
    server.start_again();
    server.api("POST", "/store/scrub", &json!({ "pool": "far", "rate": "max" }));
    let raised = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&raised["event"], &raised["subject"]), (&json!("raised"), &json!("pool far")));
    assert!(raised["message"].as_str().unwrap().starts_with("the scrub found"), "{raised}");
    assert_eq!(server.stop(), Some(0));
    fs::rename(&pool, &away).unwrap();
    server.start_again();
    let closed = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&closed["event"], &closed["rule"]), (&json!("raised"), &json!("pool")));
    let now = alert(&server, "damage", "raised").expect("it is told as over");
    assert_eq!(now["id"], raised["id"]);
    assert!(now["message"].as_str().unwrap().starts_with("the scrub found"), "{now}");
    assert!(bodies.try_recv().is_err());
}

/// A job that has failed is told, and nothing before it.
fn next_told_is_a_failed_job(server: &Server, bodies: &Receiver<Value>) {
    let place = tempfile::tempdir().unwrap();
    failing_job(server, place.path());
    let told = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&told["event"], &told["rule"]), (&json!("raised"), &json!("job-failed")));
}

#[test]
fn damaged_chunks_are_not_told_as_whole_after_a_restart() {
    let (url, bodies) = web();
    let mut server = Server::start(&["--set", &format!("alerts.webhook.url=\"{url}\"")]);
    let mut host = server.session(1);
    host.load(1, 0);
    write(&mut host, &tape(5, 8));
    unload(&mut host, 1);
    drop(host);
    assert_eq!(server.stop(), Some(0));
    flip_bits(&server.state().join("store"));
    server.start_again();
    server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    let raised = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&raised["event"], &raised["rule"]), (&json!("raised"), &json!("damage")));
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    next_told_is_a_failed_job(&server, &bodies);
    assert_eq!(alert(&server, "damage", "raised").unwrap()["id"], raised["id"]);
}

#[test]
fn what_the_scrub_found_before_a_restart_is_over_when_a_pass_of_after_it_has_found_nothing() {
    let (url, bodies) = web();
    let mut server = Server::start(&["--set", &format!("alerts.webhook.url=\"{url}\"")]);
    let file = server.state().join("store/pool");
    let right = fs::read(&file).unwrap();
    let mut wrong = right.clone();
    wrong[40] ^= 0x10;
    fs::write(&file, wrong).unwrap();
    server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    let raised = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&raised["event"], &raised["rule"]), (&json!("raised"), &json!("damage")));
    assert_eq!(raised["message"], "the scrub found 1 damaged range");
    // It is whole again, but nobody has looked.
    fs::write(&file, right).unwrap();
    assert_eq!((server.stop(), server.start_again()), (Some(0), ()));
    next_told_is_a_failed_job(&server, &bodies);
    assert_eq!(alert(&server, "damage", "raised").unwrap()["id"], raised["id"]);
    server.api("POST", "/store/scrub", &json!({ "rate": "max" }));
    let over = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&over["event"], &over["id"]), (&json!("cleared"), &raised["id"]));
}

#[test]
fn a_pool_that_fills_and_a_drive_that_raises_a_flag_are_told() {
    let (url, bodies) = web();
    let server = Server::start(&[
        "--set",
        "store.size=64m",
        "--set",
        "cartridge.size=4g",
        "--set",
        "alerts.space_percent=70",
        "--set",
        &format!("alerts.webhook.url=\"{url}\""),
    ]);
    server.api("PATCH", "/cartridges/VTL002L8", &json!({ "write_protect": true }));
    let mut host = server.session(1);
    host.load(1, 0);
    host.load(2, 1);
    for at in 0..208 {
        // 52 of 64 MiB. In so small a pool the end is always near.
        let outcome = host.write(DRIVE, &noise(at, BLOCK));
        assert!([(0, 0, 0), (0x00, 0x00, 0x02)].contains(&outcome.code()), "{outcome:02x?}");
    }
    host.run(DRIVE, &ONE_FILEMARK, 0, &[]);
    assert_eq!(host.write(DRIVE + 1, b"x").check(), (0x07, 0x27, 0x00));
    // One look finds both, or each is found by a look of its own.
    let mut told: Vec<Value> = (0..2).map(|_| bodies.recv_timeout(PATIENCE).unwrap()).collect();
    told.sort_by_key(|body| body["rule"].to_string());
    let terms = |body: &Value| ["event", "rule", "subject", "severity"].map(|name| body[name].clone());
    assert_eq!(
        told.iter().map(terms).collect::<Vec<_>>(),
        [
            ["raised", "space", "store", "critical"].map(Value::from),
            ["raised", "tape-alert", "lib0 drive 1", "warning"].map(Value::from),
        ]
    );
    let used = told[0]["message"].as_str().unwrap().split_once(" % are used; ").unwrap().0;
    assert!((70..=100).contains(&used.parse::<u8>().unwrap()), "{told:?}");
    // SSC-4: flag 9 is write protect.
    assert_eq!(told[1]["message"], "TapeAlert flags are raised: 9");
}

/// A certificate for this machine that ends in so many days, and its key.
fn certificate(folder: &Path, days: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", days])
        .args(["-keyout", "api.key", "-out", "api.crt"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(folder.join("api.key"), fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_certificate_that_ends_soon_is_told_until_another_one_is_read() {
    let (url, bodies) = web();
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "3");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let server = Server::start(&[
        "--set",
        &format!("api.tls.cert=\"{}\"", path("api.crt")),
        "--set",
        &format!("api.tls.key=\"{}\"", path("api.key")),
        "--set",
        "alerts.certificate_days=4",
        "--set",
        &format!("alerts.webhook.url=\"{url}\""),
    ]);
    let raised = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&raised["event"], &raised["rule"]), (&json!("raised"), &json!("certificate")));
    assert_eq!((&raised["subject"], &raised["severity"]), (&json!("api"), &json!("warning")));
    let message = raised["message"].as_str().unwrap();
    assert!(message.starts_with("the certificate of the API ends 20"), "{message}");
    certificate(folder.path(), "30");
    server.signal(Signal::HUP);
    let over = bodies.recv_timeout(PATIENCE).unwrap();
    assert_eq!((&over["event"], &over["id"]), (&json!("cleared"), &raised["id"]));
}

#[test]
fn a_receiver_that_hangs_delays_no_other_and_nothing_else() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", hanging.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let log = UnixDatagram::bind(folder.path().join("log")).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = Server::start(&[
        "--set",
        &format!("alerts.webhook.url=\"{url}\""),
        "--set",
        &format!("alerts.syslog.to=\"unix:{}\"", folder.path().join("log").display()),
    ]);
    failing_job(&server, folder.path());
    // The web receiver has the connection and says nothing.
    let (_held, _) = hanging.accept().unwrap();
    let mut bytes = [0; 8192];
    let length = log.recv(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
    assert!(text.starts_with("<28>1 ") && text.contains("rule=\"job-failed\""), "{text}");
    server.session(1).logout();
    assert_eq!(server.get("/alerts").as_array().unwrap().len(), 1);
    assert_eq!(server.stop(), Some(0), "a stop does not wait for it either");
}

#[test]
fn a_receiver_that_is_away_gets_what_it_missed_and_the_status_names_it_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("log");
    let server = Server::start(&["--set", &format!("alerts.syslog.to=\"unix:{}\"", place.display())]);
    let (status, _) = server.ask("POST", "/alerts/test", &json!({}));
    assert_eq!(status, 200);
    let named = |server: &Server| {
        let status = server.get("/system/status");
        status["problems"].as_array().unwrap().iter().any(|one| one["subject"] == "alerts by syslog")
    };
    assert!(named(&server));
    let log = UnixDatagram::bind(&place).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = server.api("POST", "/alerts/test", &json!({}));
    assert_eq!(told, json!([{ "receiver": "syslog", "ok": true, "why": null }]));
    assert!(log.recv(&mut [0; 8192]).unwrap() > 0);
    assert!(!named(&server));
}

/// A mail server from Debian's python3-aiosmtpd, which prints what it gets.
struct MailServer(Child);

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_real_mail_server_takes_the_mail() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new("/usr/bin/python3")
        .args([
            "-u",
            "-m",
            "aiosmtpd",
            "-n",
            "-l",
            &format!("127.0.0.1:{port}"),
            "-c",
            "aiosmtpd.handlers.Debugging",
            "stdout",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let _server = MailServer(child);
    let (to, lines) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).all(|line| to.send(line).is_ok())
    });
    eventually("the mail server listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let server = Server::start(&[
        "--set",
        &format!("alerts.email.server=\"127.0.0.1:{port}\""),
        "--set",
        "alerts.email.tls=none",
        "--set",
        "alerts.email.from=\"vtl@example.org\"",
        "--set",
        "alerts.email.to=[\"ann@example.org\", \"bob@example.org\"]",
    ]);
    let told = server.api("POST", "/alerts/test", &json!({}));
    assert_eq!(told, json!([{ "receiver": "email", "ok": true, "why": null }]));
    let mut mail = Vec::new();
    while !mail.iter().any(|line: &String| line.contains("END MESSAGE")) {
        mail.push(lines.recv_timeout(PATIENCE).unwrap());
    }
    let has = |text: &str| assert!(mail.iter().any(|line| line.contains(text)), "{text} in {mail:?}");
    has("To: ann@example.org, bob@example.org");
    has("From: vtl@example.org");
    has("this is a test: nothing is wrong");
    // One that offers no STARTTLS gets nothing when that is asked for.
    drop(server);
    let strict = Server::start(&[
        "--set",
        &format!("alerts.email.server=\"127.0.0.1:{port}\""),
        "--set",
        "alerts.email.from=\"vtl@example.org\"",
        "--set",
        "alerts.email.to=\"ann@example.org\"",
    ]);
    let told = strict.api("POST", "/alerts/test", &json!({}));
    assert_eq!(told[0]["ok"], false, "{told}");
    assert!(lines.recv_timeout(Duration::from_millis(300)).is_err());
}

fn secret(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// What `checkpoint.key` is, typed.
const CHECKPOINT: &str = "made-up-checkpoint-key-32-bytes!";

/// A server whose configuration and state folder name a secret of each kind that is kept in files. Each secret goes onto the list.
fn with_secret_files(folder: &Path, secrets: &mut Vec<String>) -> Server {
    let mut file = |name: &str, text: &str| {
        secrets.push(text.to_owned());
        secret(folder, name, text)
    };
    let target = "iqn.2026-11.internal.vtl:lib0";
    let settings = [
        "log.level=trace".to_owned(),
        format!("metrics.token_file=\"{}\"", file("metrics", "made-up-metrics-token")),
        "alerts.webhook.url=\"http://127.0.0.1:1/made-up-webhook-path?key=made-up-webhook-query\"".to_owned(),
        format!("alerts.webhook.secret_file=\"{}\"", file("hook", "made-up-webhook-secret")),
        "alerts.email.server=\"127.0.0.1:1\"".to_owned(),
        "alerts.email.from=\"vtl@example.org\"".to_owned(),
        "alerts.email.to=\"ann@example.org\"".to_owned(),
        "alerts.email.user=vtl".to_owned(),
        format!("alerts.email.password_file=\"{}\"", file("mail", "made-up-mail-password")),
        "store.encryption=aes-256-gcm".to_owned(),
        format!("store.passphrase_file=\"{}\"", file("pool", "made-up passphrase of the pool")),
        format!("secrets.passphrase_file=\"{}\"", file("sealing", "made-up passphrase of the seal")),
        "iscsi.discovery_chap.user=finder".to_owned(),
        format!("iscsi.discovery_chap.secret_file=\"{}\"", file("find", "made-up-chap-discovery")),
        format!("iscsi.target.\"{target}\".user=host"),
        format!("iscsi.target.\"{target}\".secret_file=\"{}\"", file("chap", "made-up-chap-of-a-file")),
        "api.public_url=\"http://127.0.0.1:8460\"".to_owned(),
        "access.oidc.issuer=\"http://127.0.0.1:1\"".to_owned(),
        "access.oidc.client_id=vtl".to_owned(),
        format!("access.oidc.client_secret_file=\"{}\"", file("client", "made-up-client-secret")),
        "access.oidc.roles.viewer=[\"tape-readers\"]".to_owned(),
    ];
    secrets.extend(["made-up-webhook-path", "made-up-webhook-query"].map(str::to_owned));
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let mut server = Server::start_at(folder, &arguments);
    assert_eq!(server.stop(), Some(0));
    let checkpoint = server.state().join("checkpoint.key");
    fs::write(&checkpoint, CHECKPOINT).unwrap();
    fs::set_permissions(&checkpoint, fs::Permissions::from_mode(0o600)).unwrap();
    server.start_again();
    assert!(!fs::read_to_string(&checkpoint).is_ok_and(|text| text == CHECKPOINT), "it is sealed");
    let link = server.welcome.iter().find_map(|line| line.split_once("#setup=")).expect("a one-time link").1;
    secrets.extend([CHECKPOINT.to_owned(), link.split(' ').next().unwrap().to_owned(), server.token()]);
    server
}

/// Gives it a secret of each kind that comes over the API, and lets it use those that it can try.
fn with_secrets_of_the_api(server: &Server, folder: &Path, secrets: &mut Vec<String>) {
    let mut planted = |text: &str| {
        secrets.push(text.to_owned());
        text.to_owned()
    };
    let password = planted("made-up password of a user");
    server.api("POST", "/users", &json!({ "name": "ann", "password": password, "roles": ["administrator"] }));
    let log_in = json!({ "user": "ann", "password": password });
    let (status, head, session) = server.ask_whole("POST", "/session", &log_in, &[]);
    assert_eq!(status, 200, "{session}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: vtl=")).unwrap();
    planted(cookie.split(';').next().unwrap());
    planted(session["csrf"].as_str().unwrap());
    let token = server.api("POST", "/tokens", &json!({ "name": "watch", "role": "viewer" }));
    planted(token["token"].as_str().unwrap());

    let library =
        json!({ "name": "lib1", "profile": "ibm-03584l32", "drives": 1, "slots": 2, "mailslots": 1 });
    server.api("POST", "/libraries", &library);
    let chap = json!({
        "user": "host", "secret": planted("made-up-chap-of-api"),
        "mutual_user": "vtl", "mutual_secret": planted("made-up-mutual-of-api"),
    });
    server.api("PUT", "/iscsi/targets/lib1/chap", &chap);

    let key = folder.join("key.pem");
    let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    server.api("POST", "/keys", &json!({ "name": "off-site", "file": key }));
    planted(fs::read_to_string(&key).unwrap().lines().nth(3).unwrap());

    let mut file = |name: &str, text: &str| secret(folder, name, &planted(text));
    let remotes = [
        json!({
            "name": "cloud", "type": "s3", "endpoint": "http://127.0.0.1:1", "bucket": "tapes",
            "allow_http": true, "access_key_file": file("access", "made-up-access-key"),
            "secret_key_file": file("secret", "made-up-secret-key"),
        }),
        json!({
            "name": "dav", "type": "webdav", "endpoint": "http://127.0.0.1:1/dav", "allow_http": true,
            "user": "u", "password_file": file("dav", "made-up-dav-password"),
        }),
    ];
    for remote in &remotes {
        server.api("POST", "/remotes", remote);
    }
    for name in ["cloud", "dav"] {
        drop(server.ask("POST", &format!("/remotes/{name}/test"), &json!({})));
    }
    drop(server.ask("POST", "/alerts/test", &json!({})));
}

#[test]
fn a_bundle_tells_everything_but_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let mut secrets = Vec::new();
    let server = with_secret_files(folder.path(), &mut secrets);
    with_secrets_of_the_api(&server, folder.path(), &mut secrets);
    assert!(secrets.iter().all(|planted| planted.len() >= 12), "{secrets:?}");
    let (status, head, bytes) = page(
        &server,
        "/api/v1/system/diag/bundle",
        &[("Authorization", &format!("Bearer {}", server.token()))],
    );
    assert!(status == 200 && head.contains("application/gzip"), "{head}");
    assert_eq!(page(&server, "/api/v1/system/diag/bundle", &[]).0, 401);
    let archive = folder.path().join("bundle.tar.gz");
    fs::write(&archive, bytes).unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&out).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let mut names = Vec::new();
    for entry in fs::read_dir(out.join("vtl-diag")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for planted in &secrets {
            assert!(!text.contains(planted), "{planted} is in {}", path.display());
        }
        assert!(!text.is_empty(), "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "alerts.json",
            "config.toml",
            "formats.json",
            "jobs.json",
            "libraries.json",
            "log.txt",
            "metrics.txt",
            "pools.json",
            "remotes.json",
            "scrub.json",
            "sessions.json",
            "status.json",
            "store.json",
            "units.json",
            "versions.json",
        ]
    );
    let read = |name: &str| fs::read_to_string(out.join("vtl-diag").join(name)).unwrap();
    assert!(read("config.toml").contains("alerts.webhook.secret_file = "));
    assert!(read("config.toml").contains("alerts.webhook.url = \"http://127.0.0.1:1/***\""));
    // What everybody who may look is told.
    let told = server.get("/config/effective").to_string() + &server.get("/system/status").to_string();
    assert!(!secrets.iter().any(|planted| told.contains(planted)), "{told}");
    assert!(read("metrics.txt").ends_with("# EOF\n"));
    assert!(read("log.txt").contains("vtld"), "the last of the log");
    let versions: Value = serde_json::from_str(&read("versions.json")).unwrap();
    assert_eq!(versions["vtld"], env!("CARGO_PKG_VERSION"));
}
