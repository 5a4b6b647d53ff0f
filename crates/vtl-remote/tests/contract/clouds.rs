//! Azure's blob storage by Azurite, which checks signatures; Google's by fake-gcs-server, which takes everybody and knows no
//! uploads in parts.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use tempfile::TempDir;
use vtl_remote::{AzureConfig, Class, Content, GcsConfig, Limiter, Mode, Proof, Span, verify};

use super::places::{Place, private_file};
use super::proxy::{Mischief, Proxy};
use super::server::{Server, tool};
use super::suite::{LARGE, bytes, get, name, put};

/// The smallest part that is taken.
const PART: u64 = 5 << 20;
/// Larger than every object of these tests.
const ONE_REQUEST: u64 = 64 << 20;
const ACCOUNT: &str = "tapes";
/// `made-up-secret-of-an-account` in base64.
const KEY: &str = "bWFkZS11cC1zZWNyZXQtb2YtYW4tYWNjb3VudA==";

fn next(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A request that makes a container, signed by hand as the account's owner: nothing of ours has a part in it.
const MAKE_CONTAINER: &str = r#"
import base64, hashlib, hmac, sys, urllib.request
from email.utils import formatdate
port, account, key, container = sys.argv[1:]
date, version = formatdate(usegmt=True), "2021-08-06"
headers = f"x-ms-date:{date}\nx-ms-version:{version}"
text = "PUT" + "\n" * 12 + headers + f"\n/{account}/{account}/{container}\nrestype:container"
sign = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
request = urllib.request.Request(
    f"http://127.0.0.1:{port}/{account}/{container}?restype=container", method="PUT",
    headers={"x-ms-date": date, "x-ms-version": version, "Authorization": f"SharedKey {account}:{sign}"})
urllib.request.urlopen(request).read()
"#;

static AZURITE: LazyLock<Server> = LazyLock::new(|| {
    Server::start(Path::new("/usr/bin/env"), |port, _| {
        let program = tool("azurite/node_modules/.bin/azurite-blob");
        assert!(program.exists(), "Azurite is not installed; `cargo xtask servers` installs it");
        [
            &format!("AZURITE_ACCOUNTS={ACCOUNT}:{KEY}"),
            &program.display().to_string(),
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--inMemoryPersistence",
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port.to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    })
});

fn container() -> String {
    let container = next("container");
    let made = Command::new("python3")
        .args(["-c", MAKE_CONTAINER, &AZURITE.port.to_string(), ACCOUNT, KEY, &container])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}\n{}", String::from_utf8_lossy(&made.stderr), AZURITE.log());
    container
}

fn azure(folder: &Path, port: u16, container: &str) -> AzureConfig {
    private_file(&folder.join("key"), &format!("{KEY}\n"));
    AzureConfig {
        name: "cloud".to_owned(),
        account: ACCOUNT.to_owned(),
        container: container.to_owned(),
        prefix: "exports/here".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}/{ACCOUNT}")),
        ca_file: None,
        allow_http: true,
        secret_key_file: folder.join("key"),
        part_size: PART,
    }
}

pub fn azure_place() -> Place {
    let folder = TempDir::new().unwrap();
    let remote = azure(folder.path(), AZURITE.port, &container()).open().unwrap();
    Place { remote: Arc::new(remote), behind: vec![Box::new(folder)] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_tells_the_hash_of_an_object_in_one_request_and_none_of_one_in_blocks() {
    let place = azure_place();
    for (size, told) in [(1 << 20, true), (LARGE, false)] {
        let sent = bytes(size, 1);
        let receipt = put(place.remote.as_ref(), "x", &sent).await.unwrap();
        let content = Content::of(&sent);
        let limiter = Limiter::unlimited();
        let check =
            async |mode| verify(place.remote.as_ref(), &name("x"), &content, &receipt, mode, &limiter).await;
        match check(Mode::RemoteHash).await {
            Ok(proof) => assert_eq!((proof, told), (Proof::RemoteHash("MD5"), true)),
            Err(error) => assert_eq!((error.class(), told), (Class::Unverifiable, false), "{error}"),
        }
        assert_eq!(check(Mode::Readback).await, Ok(Proof::Readback));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_refuses_another_key_and_a_container_that_is_not_there() {
    let folder = TempDir::new().unwrap();
    let config = azure(folder.path(), AZURITE.port, "no-such-container");
    let error = put(&config.clone().open().unwrap(), "x", &bytes(10, 2)).await.unwrap_err();
    assert_eq!(error.class(), Class::Misconfigured, "{error}");
    assert!(error.to_string().contains("create the container"), "{error}");
    let error = config.clone().open().unwrap();
    let error = vtl_remote::Remote::head(&error, &name("x")).await.unwrap_err();
    assert_eq!(error.class(), Class::Misconfigured, "{error}");
    private_file(&folder.path().join("other"), "YW5vdGhlci1tYWRlLXVwLWtleQ==");
    let config = AzureConfig { secret_key_file: folder.path().join("other"), ..config };
    let remote = config.open().unwrap();
    let error = put(&remote, "x", &bytes(10, 2)).await.unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{error}");
    assert!(error.to_string().contains("the key is not the account's"), "{error}");
    assert!(!error.to_string().contains("YW5vdGhl"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_azure_that_breaks_is_an_error_that_may_pass() {
    let folder = TempDir::new().unwrap();
    let container = container();
    put(&azure(folder.path(), AZURITE.port, &container).open().unwrap(), "x", &bytes(3 << 20, 3))
        .await
        .unwrap();
    let proxy = Proxy::start(AZURITE.port, Mischief::CloseAfterAnswering(1 << 20)).await;
    let remote = azure(folder.path(), proxy.port, &container).open().unwrap();
    let error = get(&remote, "x", Span::whole()).await.unwrap_err();
    assert_eq!(error.class(), Class::Interrupted, "{error}");
}

static GOOGLE: LazyLock<Server> = LazyLock::new(|| {
    Server::start(&fake_gcs(), |port, _| {
        let port = port.to_string();
        let host = format!("127.0.0.1:{port}");
        ["-scheme", "http", "-host", "127.0.0.1", "-port", &port, "-backend", "memory", "-public-host", &host]
            .map(str::to_owned)
            .to_vec()
    })
});

/// The port at which Google's server can be used. It takes plain PUTs only with the mark of a signed address, and answers them
/// without an ETag, which Google never leaves out: whoever stands here adds both, and closes after each request.
static AS_GOOGLE: LazyLock<u16> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = GOOGLE.port;
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || drop(as_google(client, server)));
        }
    });
    port
});

fn as_google(mut client: TcpStream, server: u16) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", server))?;
    let head = head_of(&mut client)?;
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    let own = format!("127.0.0.1:{}", client.local_addr()?.port());
    let rest = rest.replace(&own, &format!("127.0.0.1:{}", server.peer_addr()?.port()));
    let is_put = first.starts_with("PUT ");
    let first =
        if is_put { first.replace(" HTTP/", "?X-Goog-Algorithm=none HTTP/") } else { first.to_owned() };
    server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes())?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    let head = head_of(&mut server)?;
    let tag = if is_put { "ETag: \"none\"\r\n" } else { "" };
    let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
    client.write_all(format!("{first}\r\n{tag}{rest}").as_bytes())?;
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn head_of(stream: &mut TcpStream) -> std::io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? == 1 {
        head.extend(byte);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The program lies in a folder that has Python's version in its name.
fn fake_gcs() -> PathBuf {
    let found = Command::new("find")
        .arg(tool("fake-gcs"))
        .args(["-name", "fake-gcs-server-linux-*", "-type", "f"])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    PathBuf::from(found.lines().next().unwrap_or("target/tools/fake-gcs"))
}

fn google(folder: &Path, port: u16) -> GcsConfig {
    let bucket = next("bucket");
    let made = Command::new("curl")
        .args(["-sf", "-H", "Content-Type: application/json", "-d", &format!("{{\"name\": \"{bucket}\"}}")])
        .arg(format!("http://127.0.0.1:{}/storage/v1/b?project=x", GOOGLE.port))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?} {}", GOOGLE.log());
    let key = r#"{"client_email": "x@example.com", "private_key": "", "private_key_id": "", "disable_oauth": true}"#;
    private_file(&folder.join("key.json"), key);
    GcsConfig {
        name: "cloud".to_owned(),
        bucket,
        prefix: "exports/here".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        ca_file: None,
        allow_http: true,
        credentials_file: folder.join("key.json"),
        part_size: ONE_REQUEST,
    }
}

pub fn google_place() -> Place {
    let folder = TempDir::new().unwrap();
    let remote = google(folder.path(), *AS_GOOGLE).open().unwrap();
    Place { remote: Arc::new(remote), behind: vec![Box::new(folder)] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn google_tells_an_md5_and_a_bucket_that_is_not_there_is_a_matter_of_settings() {
    let folder = TempDir::new().unwrap();
    let config = google(folder.path(), *AS_GOOGLE);
    let remote = config.clone().open().unwrap();
    let sent = bytes(1 << 20, 4);
    let receipt = put(&remote, "x", &sent).await.unwrap();
    let (content, limiter) = (Content::of(&sent), Limiter::unlimited());
    let proof = verify(&remote, &name("x"), &content, &receipt, Mode::RemoteHash, &limiter).await;
    assert_eq!(proof, Ok(Proof::RemoteHash("MD5")));
    let gone = GcsConfig { bucket: "no-such-bucket".to_owned(), ..config }.open().unwrap();
    let error = put(&gone, "x", &sent).await.unwrap_err();
    assert!(matches!(error.class(), Class::Misconfigured | Class::NotThere), "{error}");
}
